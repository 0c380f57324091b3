//! Compares a file with the store: what has to change, or why it cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use model::{
    QuotaName, QuotaSpec, Role, RoleSpec, RouteSpec, RouteTerms, Secret, SessionName, SessionSpec,
    TermsError, TransitSpec, TrunkKind, TrunkName, TrunkSpec, UserName, UserSpec, WebhookSpec,
};
use routing::{DialPlan, Table};
use serde::{Deserialize, Serialize};
use store::{Change, Store, StoreError};

use super::{
    Kind, PRIORITY, Placed, QuotaDraft, Records, RouteDraft, SessionDraft, Spot, TrunkDraft,
    UserDraft, is_kept,
};
use crate::credentials;
use crate::fault::{Fault, FaultKind};

/// What the store holds.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Current {
    pub(crate) generation: u64,
    pub(crate) trunks: Vec<TrunkSpec>,
    pub(crate) sessions: Vec<SessionSpec>,
    pub(crate) routes: Vec<RouteSpec>,
    pub(crate) transits: Vec<TransitSpec>,
    pub(crate) quotas: Vec<QuotaSpec>,
    /// Those that were ever switched; the others are on.
    #[serde(default)]
    pub(crate) roles: Vec<RoleSpec>,
    #[serde(default)]
    pub(crate) users: Vec<UserSpec>,
    #[serde(default)]
    pub(crate) webhooks: Vec<WebhookSpec>,
}

/// What has to change.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) changes: Vec<Change>,
    /// One line for each change.
    pub(crate) said: Vec<String>,
    faults: Vec<Fault>,
}

/// Where a route leads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum To<'a> {
    Session(&'a SessionName),
    Trunk(&'a TrunkName),
}

impl<'a> To<'a> {
    fn name(self) -> &'a str {
        match self {
            To::Session(session) => session.as_str(),
            To::Trunk(trunk) => trunk.as_str(),
        }
    }
}

impl Current {
    /// Reads everything an owner edits.
    pub(crate) fn read(store: &dyn Store) -> Result<Self, StoreError> {
        Ok(Self {
            generation: store.generation()?,
            trunks: store.trunks()?,
            sessions: store.sessions()?,
            routes: store.routes()?,
            transits: store.transits()?,
            quotas: store.quotas()?,
            roles: store.roles()?,
            users: store.users()?,
            webhooks: store.webhooks()?,
        })
    }

    /// The trunk of this name.
    pub(crate) fn trunk(&self, name: &TrunkName) -> Option<&TrunkSpec> {
        self.trunks.iter().find(|trunk| trunk.name == *name)
    }

    /// The session of this name.
    pub(crate) fn session(&self, name: &SessionName) -> Option<&SessionSpec> {
        self.sessions.iter().find(|session| session.name == *name)
    }

    /// The quota profile of this name.
    pub(crate) fn quota(&self, name: &QuotaName) -> Option<&QuotaSpec> {
        self.quotas.iter().find(|quota| quota.name == *name)
    }

    /// The user of this name.
    pub(crate) fn user(&self, name: &UserName) -> Option<&UserSpec> {
        self.users.iter().find(|user| user.name == *name)
    }

    /// Whether a role is switched on.
    pub(crate) fn has_role(&self, role: Role) -> bool {
        let found = self.roles.iter().find(|spec| spec.role == role);
        found.is_none_or(|spec| spec.enabled)
    }

    /// The same as a decision needs it.
    pub(crate) fn table(&self) -> Table {
        Table::new(
            self.trunks.clone(),
            self.sessions.clone(),
            self.routes.clone(),
        )
        .with_transits(self.transits.clone())
        .with_quotas(self.quotas.clone())
        .with_roles(self.roles.clone())
        .with_users(self.users.clone())
        .with_webhooks(self.webhooks.clone())
    }

    /// The records that a decision is made by.
    pub(crate) fn of(table: &Table, generation: u64) -> Self {
        Self {
            generation,
            trunks: table.trunks().cloned().collect(),
            sessions: table.sessions().cloned().collect(),
            routes: table.routes().cloned().collect(),
            transits: table.transits().cloned().collect(),
            quotas: table.quotas().cloned().collect(),
            roles: table.roles().copied().collect(),
            users: table.users().cloned().collect(),
            webhooks: table.webhooks().map(|it| (**it).clone()).collect(),
        }
    }

    /// Removing a trunk removes its routes with it.
    pub(crate) fn remove_trunk(&self, name: &TrunkName) -> Vec<Change> {
        let routes = self.routes.iter().filter(|route| route.trunk == *name);
        let routes =
            routes.map(|route| Change::RemoveRoute(route.trunk.clone(), route.session.clone()));
        let transits = self
            .transits
            .iter()
            .filter(|transit| transit.trunk == *name || transit.to == *name);
        let transits = transits.map(|way| Change::RemoveTransit(way.trunk.clone(), way.to.clone()));
        let trunk = [Change::RemoveTrunk(name.clone())];
        routes.chain(transits).chain(trunk).collect()
    }

    /// Removing a session removes its routes with it.
    pub(crate) fn remove_session(&self, name: &SessionName) -> Vec<Change> {
        let routes = self.routes.iter().filter(|route| route.session == *name);
        let routes =
            routes.map(|route| Change::RemoveRoute(route.trunk.clone(), route.session.clone()));
        routes
            .chain([Change::RemoveSession(name.clone())])
            .collect()
    }
}

impl Plan {
    /// Compares; with `prune`, trunks, routes, quotas and users that the file does not have are removed, and webhooks, if it has any or says that
    /// there are none: files are older than these. Sessions never are: their keys cannot be brought back.
    pub(crate) fn new(
        records: &Records,
        current: &Current,
        prune: bool,
    ) -> Result<Self, Vec<Fault>> {
        let mut plan = Self::default();
        // By name: a file may bring ten thousand of them.
        let known = current.table();
        let mut wanted = known.clone();
        // Before those who name them.
        plan.quotas(&records.quotas, &known, &mut wanted);
        if prune {
            let written = records.quotas.iter().map(|draft| &draft.record.name);
            let written: BTreeSet<_> = written.flatten().collect();
            for quota in known.quotas().filter(|it| !written.contains(&it.name)) {
                wanted.remove_quota(&quota.name);
            }
        }
        plan.trunks(&records.trunks, &known, &mut wanted);
        plan.sessions(&records.sessions, &known, &mut wanted);
        plan.routes(&records.routes, &known, &wanted);
        plan.users(&records.users, &known, &wanted);
        plan.webhooks(&records.webhooks, &known);
        plan.distinct(records, &wanted);
        if prune {
            plan.prune(records, current);
            if records.has_webhooks {
                plan.prune_webhooks(&records.webhooks, &known);
            }
        }
        if plan.faults.is_empty() {
            Ok(plan)
        } else {
            plan.faults.sort_by_key(|fault| fault.place.line());
            Err(plan.faults)
        }
    }

    /// A fault of a key, or of the record as a whole where it has no such key.
    pub(super) fn fault(&mut self, place: &Spot, key: &str, what: impl Into<String>) {
        let kind = FaultKind::Value {
            key: key.to_owned(),
            what: what.into(),
        };
        self.faults.push(Fault {
            place: place.of(key),
            kind,
        });
    }

    pub(super) fn change(&mut self, sign: char, what: String, change: Change) {
        self.said.push(format!("{sign} {what}"));
        self.changes.push(change);
    }

    fn quotas(&mut self, drafts: &[Placed<QuotaDraft>], known: &Table, wanted: &mut Table) {
        let mut seen = BTreeSet::new();
        for Placed { record, place } in drafts {
            let Some(name) = &record.name else {
                self.fault(place, "name", "every [[quota]] needs a name");
                continue;
            };
            if !seen.insert(name) {
                self.fault(place, "name", format!("there are two quotas `{name}`"));
                continue;
            }
            let spec = record.spec(name);
            if let Err(error) = spec.check() {
                self.fault(place, "quota", error.to_string());
            }
            let before = known.quota(name);
            if before != Some(&spec) {
                let sign = if before.is_some() { '~' } else { '+' };
                self.change(
                    sign,
                    format!("quota {name}"),
                    Change::PutQuota(spec.clone()),
                );
            }
            wanted.put_quota(spec);
        }
    }

    fn users(&mut self, drafts: &[Placed<UserDraft>], known: &Table, wanted: &Table) {
        let (mut seen, mut ids) = (Vec::new(), BTreeMap::new());
        for Placed { record, place } in drafts {
            let Some(name) = &record.name else {
                self.fault(place, "name", "every [[user]] needs a name");
                continue;
            };
            if seen.contains(&name) {
                self.fault(place, "name", format!("there are two users `{name}`"));
                continue;
            }
            seen.push(name);
            let spec = match record.spec(name) {
                Ok(spec) => spec,
                Err(what) => {
                    self.fault(place, "telegram_id", what);
                    continue;
                }
            };
            if let Some(other) = ids.insert(spec.telegram_id, name) {
                let what = format!("users {other} and {name} have the same telegram_id");
                self.fault(place, "telegram_id", what);
            }
            self.known_quota(place, spec.quota.as_ref(), wanted);
            let before = known.user(name);
            if before != Some(&spec) {
                let sign = if before.is_some() { '~' } else { '+' };
                self.change(sign, format!("user {name}"), Change::PutUser(spec));
            }
        }
    }

    /// Nobody may name a profile that is not there.
    fn known_quota(&mut self, place: &Spot, name: Option<&QuotaName>, wanted: &Table) {
        if let Some(name) = name.filter(|name| wanted.quota(name).is_none()) {
            self.fault(place, "quota", format!("there is no quota `{name}`"));
        }
    }

    fn trunks(&mut self, drafts: &[Placed<TrunkDraft>], known: &Table, wanted: &mut Table) {
        let mut seen = BTreeSet::new();
        for Placed { record, place } in drafts {
            let Some(name) = &record.name else {
                self.fault(place, "name", "every [[trunk]] needs a name");
                continue;
            };
            if !seen.insert(name) {
                self.fault(place, "name", format!("there are two trunks `{name}`"));
                continue;
            }
            let before = known.trunk(name);
            match record.spec(name, before) {
                Ok(spec) => {
                    if let Err(error) = spec.check() {
                        self.fault(place, "trunk", error.to_string());
                    }
                    self.known_quota(place, spec.quota.as_ref(), wanted);
                    if let Some(worker) = spec.worker.missing() {
                        let what = format!("trunk {name}: there is no worker `{worker}`");
                        self.fault(place, "worker", what);
                    }
                    if let Err(error) = DialPlan::check(&spec.inbound_rules) {
                        self.fault(place, "inbound_rules", format!("trunk {name}: {error}"));
                    }
                    if let Err(error) = DialPlan::check(&spec.dial_rules) {
                        self.fault(place, "dial_rules", format!("trunk {name}: {error}"));
                    }
                    if before != Some(&spec) {
                        let sign = if before.is_some() { '~' } else { '+' };
                        self.change(
                            sign,
                            format!("trunk {name}"),
                            Change::PutTrunk(Box::new(spec.clone())),
                        );
                    }
                    wanted.put_trunk(spec);
                }
                Err((key, what)) => self.fault(place, key, format!("trunk {name}: {what}")),
            }
        }
    }

    fn sessions(&mut self, drafts: &[Placed<SessionDraft>], known: &Table, wanted: &mut Table) {
        let mut seen = BTreeSet::new();
        for Placed { record, place } in drafts {
            let Some(name) = &record.name else {
                self.fault(place, "name", "every [[session]] needs a name");
                continue;
            };
            if !seen.insert(name) {
                self.fault(place, "name", format!("there are two sessions `{name}`"));
                continue;
            }
            let spec = record.spec(name.clone());
            self.known_quota(place, spec.quota.as_ref(), wanted);
            let before = known.session(name);
            if before != Some(&spec) {
                let sign = if before.is_some() { '~' } else { '+' };
                self.change(
                    sign,
                    format!("session {name}"),
                    Change::PutSession(spec.clone()),
                );
            }
            wanted.put_session(spec);
        }
    }

    fn routes(&mut self, drafts: &[Placed<RouteDraft>], known: &Table, wanted: &Table) {
        let mut seen = BTreeSet::new();
        for Placed { record, place } in drafts {
            let (trunk, to) = match (&record.trunk, &record.session, &record.to) {
                (Some(trunk), Some(session), None) => (trunk, To::Session(session)),
                (Some(trunk), None, Some(other)) => (trunk, To::Trunk(other)),
                _ => {
                    self.fault(
                        place,
                        "route",
                        "every [[route]] needs a trunk and a session, or a trunk and `to`, the trunk its calls leave by",
                    );
                    continue;
                }
            };
            if !seen.insert((trunk, to)) {
                let what = format!("there are two routes from {trunk} to {}", to.name());
                self.fault(place, "route", what);
                continue;
            }
            if wanted.trunk(trunk).is_none() {
                self.fault(place, "trunk", format!("there is no trunk `{trunk}`"));
            }
            let priority = record.priority.unwrap_or(PRIORITY);
            match to {
                To::Session(session) => {
                    if wanted.session(session).is_none() {
                        self.fault(place, "session", format!("there is no session `{session}`"));
                    }
                    let spec = RouteSpec {
                        trunk: trunk.clone(),
                        session: session.clone(),
                        priority,
                        terms: RouteTerms::from(record),
                    };
                    self.terms(place, &spec.terms, spec.terms.check_to_session(), wanted);
                    let before = known.route(trunk, session);
                    if before != Some(&spec) {
                        let sign = if before.is_some() { '~' } else { '+' };
                        let what = format!("route {trunk} {session}");
                        self.change(sign, what, Change::PutRoute(spec));
                    }
                }
                To::Trunk(other) => {
                    if other == trunk {
                        self.fault(place, "to", "a trunk has no way to itself");
                    } else if wanted.trunk(other).is_none() {
                        self.fault(place, "to", format!("there is no trunk `{other}`"));
                    }
                    let spec = TransitSpec {
                        trunk: trunk.clone(),
                        to: other.clone(),
                        priority,
                        terms: RouteTerms::from(record),
                    };
                    self.terms(place, &spec.terms, spec.terms.check_to_trunk(), wanted);
                    let before = known.transit(trunk, other);
                    if before != Some(&spec) {
                        let sign = if before.is_some() { '~' } else { '+' };
                        let what = format!("route {trunk} --to {other}");
                        self.change(sign, what, Change::PutTransit(spec));
                    }
                }
            }
        }
    }

    /// The rules of a route, and the quota it names.
    fn terms(
        &mut self,
        place: &Spot,
        terms: &RouteTerms,
        checked: Result<(), TermsError>,
        wanted: &Table,
    ) {
        if let Err(error) = checked {
            self.fault(place, "route", error.to_string());
        }
        for (key, rules) in terms.dial_rules() {
            if let Err(error) = DialPlan::new(rules) {
                self.fault(place, key, format!("{key}: {error}"));
            }
        }
        self.known_quota(place, terms.quota.as_ref(), wanted);
    }

    /// Two trunks that a request could not be told apart by.
    fn distinct(&mut self, records: &Records, wanted: &Table) {
        let mut logins: BTreeMap<&str, &TrunkName> = BTreeMap::new();
        let mut accounts: BTreeMap<(&str, String), &TrunkName> = BTreeMap::new();
        let mut addresses: BTreeMap<(SocketAddr, String), &TrunkName> = BTreeMap::new();
        for trunk in wanted.trunks() {
            let (other, what) = match &trunk.kind {
                TrunkKind::InboundRegister { login, .. } => {
                    (logins.insert(login, &trunk.name), format!("login {login}"))
                }
                TrunkKind::OutboundRegister { login, domain, .. } => (
                    accounts.insert((login, domain.to_string()), &trunk.name),
                    format!("login {login} at {domain}"),
                ),
                TrunkKind::Peer { address } => {
                    let header = trunk.header.as_ref();
                    let header = header.map_or_else(String::new, ToString::to_string);
                    let name = header.split(':').next().unwrap_or_default();
                    let header = header.replacen(name, &name.to_ascii_lowercase(), 1);
                    (
                        addresses.insert((*address, header), &trunk.name),
                        format!("address {address}"),
                    )
                }
            };
            if let Some(other) = other {
                let written = records
                    .trunks
                    .iter()
                    .find(|draft| draft.record.name.as_ref() == Some(&trunk.name));
                let place = written.map_or_else(Spot::nowhere, |draft| draft.place.clone());
                self.fault(
                    &place,
                    "trunk",
                    format!("trunks {other} and {} have the same {what}", trunk.name),
                );
            }
        }
    }

    fn prune(&mut self, records: &Records, current: &Current) {
        for user in &current.users {
            let mut drafts = records.users.iter();
            let name = &user.name;
            if !drafts.any(|draft| draft.record.name.as_ref() == Some(name)) {
                self.change(
                    '-',
                    format!("user {name}"),
                    Change::RemoveUser(name.clone()),
                );
            }
        }
        let ends = records.routes.iter().map(|draft| &draft.record);
        let ends = ends.map(|draft| (&draft.trunk, &draft.session, &draft.to));
        let ends: Vec<_> = ends.collect();
        let sessions = ends.iter().filter_map(|(trunk, session, _)| {
            let (trunk, session) = (trunk.as_ref()?, session.as_ref()?);
            Some((trunk, session))
        });
        let sessions: BTreeSet<_> = sessions.collect();
        let ways = ends.iter().filter_map(|(trunk, _, to)| {
            let (trunk, to) = (trunk.as_ref()?, to.as_ref()?);
            Some((trunk, to))
        });
        let ways: BTreeSet<_> = ways.collect();
        let kept = |route: &RouteSpec| sessions.contains(&(&route.trunk, &route.session));
        for route in current.routes.iter().filter(|route| !kept(route)) {
            let change = Change::RemoveRoute(route.trunk.clone(), route.session.clone());
            self.change(
                '-',
                format!("route {} {}", route.trunk, route.session),
                change,
            );
        }
        for way in &current.transits {
            if !ways.contains(&(&way.trunk, &way.to)) {
                let change = Change::RemoveTransit(way.trunk.clone(), way.to.clone());
                self.change('-', format!("route {} --to {}", way.trunk, way.to), change);
            }
        }
        for quota in &current.quotas {
            let mut drafts = records.quotas.iter();
            if drafts.any(|draft| draft.record.name.as_ref() == Some(&quota.name)) {
                continue;
            }
            let name = &quota.name;
            // Sessions are never removed, so that one that the file does not have may still need it.
            let mut sessions = current.sessions.iter();
            let user = sessions.find(|session| {
                let mut drafts = records.sessions.iter();
                session.quota.as_ref() == Some(name)
                    && !drafts.any(|draft| draft.record.name.as_ref() == Some(&session.name))
            });
            if let Some(user) = user {
                let what = format!("session {} has the quota `{name}`", user.name);
                self.fault(&Spot::nowhere(), "quota", what);
                continue;
            }
            self.change(
                '-',
                format!("quota {name}"),
                Change::RemoveQuota(name.clone()),
            );
        }
        let written = records.trunks.iter().map(|draft| &draft.record.name);
        let written: BTreeSet<_> = written.flatten().collect();
        for trunk in &current.trunks {
            if !written.contains(&trunk.name) {
                self.change(
                    '-',
                    format!("trunk {}", trunk.name),
                    Change::RemoveTrunk(trunk.name.clone()),
                );
            }
        }
    }
}

impl QuotaDraft {
    /// The whole profile: what the file does not say is not limited.
    pub(crate) fn spec(&self, name: &QuotaName) -> QuotaSpec {
        let default = QuotaSpec::new(name.clone());
        QuotaSpec {
            call_seconds: self.call_seconds.unwrap_or(default.call_seconds),
            total_seconds: self.total_seconds.unwrap_or(default.total_seconds),
            total_window_seconds: self
                .total_window_seconds
                .unwrap_or(default.total_window_seconds),
            fail_calls: self.fail_calls.unwrap_or(default.fail_calls),
            fail_window_seconds: self
                .fail_window_seconds
                .unwrap_or(default.fail_window_seconds),
            name: default.name,
        }
    }
}

impl UserDraft {
    /// The whole user, if it is said who that is at Telegram; or what is wrong.
    pub(crate) fn spec(&self, name: &UserName) -> Result<UserSpec, String> {
        let Some(telegram_id) = self.telegram_id else {
            return Err(format!("user {name} needs a telegram_id"));
        };
        let spec = UserSpec {
            lines: self.lines.unwrap_or(0),
            quota: self.quota.clone(),
            note: self.note.clone().unwrap_or_default(),
            ..UserSpec::new(name.clone(), telegram_id)
        };
        spec.check().map_err(|error| error.to_string())?;
        Ok(spec)
    }
}

impl SessionDraft {
    /// Whether it has an answer for people who write. Files of earlier versions say no more than that, and mean
    /// `messages_processing`, without which nobody is answered.
    fn answers(&self) -> bool {
        self.autoreply.as_ref().is_some_and(|text| !text.is_empty())
    }

    /// The whole session: what the file does not say is the default.
    pub(crate) fn spec(&self, name: SessionName) -> SessionSpec {
        SessionSpec {
            name,
            phone: self.phone.clone().unwrap_or_default(),
            lines: self.lines.unwrap_or(0),
            stop_on_6xx: self.stop_on_6xx.unwrap_or(false),
            allowed_callers: self.allowed_callers.clone().unwrap_or_default(),
            messages_processing: self.messages_processing.unwrap_or_else(|| self.answers()),
            callback: self.callback.unwrap_or(false),
            text_bridge: self.text_bridge.unwrap_or(false),
            inline_bot: self.inline_bot.clone().unwrap_or_default(),
            inline_query: self.inline_query.clone().unwrap_or_default(),
            autoreply: self.autoreply.clone().unwrap_or_default(),
            quota: self.quota.clone(),
            enabled: self.enabled.unwrap_or(true),
        }
    }
}

impl TrunkDraft {
    /// The whole trunk: what the file does not say is the default, credentials are those of before, or new.
    pub(crate) fn spec(
        &self,
        name: &TrunkName,
        before: Option<&TrunkSpec>,
    ) -> Result<TrunkSpec, (&'static str, &'static str)> {
        let kind = match self.kind.unwrap_or(Kind::InboundRegister) {
            Kind::InboundRegister => {
                if self.address.is_some() {
                    return Err((
                        "address",
                        "a PBX that registers has no fixed address; write kind = \"peer\"",
                    ));
                }
                self.no_account(
                    "a PBX that registers here needs none; write kind = \"outbound_register\"",
                )?;
                self.credentials(before)?
            }
            Kind::OutboundRegister => self.account(before)?,
            Kind::Peer => {
                if self.login.is_some() || self.password.is_some() {
                    return Err((
                        "login",
                        "a peer has neither login nor password: it is known by its address",
                    ));
                }
                self.no_account("a peer has none: it is known by its address")?;
                let Some(address) = self.address else {
                    return Err(("address", "a peer needs one, such as \"192.0.2.10:5060\""));
                };
                TrunkKind::Peer { address }
            }
        };
        if self.trusted_ips.as_ref().is_some_and(|ips| !ips.is_empty())
            && !matches!(kind, TrunkKind::InboundRegister { .. })
        {
            return Err((
                "trusted_ips",
                "only the account of a PBX that registers here can be limited to addresses",
            ));
        }
        if !matches!(kind, TrunkKind::Peer { .. }) {
            let what = "only a peer has it: others are known by their registration";
            if self.header.is_some() {
                return Err(("header", what));
            }
            if self.qualify == Some(true) {
                return Err(("qualify", what));
            }
        }
        let default = TrunkSpec::new(name.clone(), kind);
        Ok(TrunkSpec {
            codecs: self.codecs.clone().unwrap_or(default.codecs),
            trusted_ips: self.trusted_ips.clone().unwrap_or(default.trusted_ips),
            header: self.header.clone(),
            qualify: self.qualify.unwrap_or(default.qualify),
            transport: self.transport.unwrap_or(default.transport),
            tls_pin: self.tls_pin.clone().filter(|pin| !pin.is_empty()),
            srtp: self.srtp.unwrap_or(default.srtp),
            srtp_over_plain: self.srtp_over_plain.unwrap_or(default.srtp_over_plain),
            dtmf: self.dtmf.clone().unwrap_or(default.dtmf),
            lines: self.lines.unwrap_or(default.lines),
            number: self.number.clone().filter(|number| !number.is_empty()),
            inbound_rules: self.inbound_rules.clone().unwrap_or_default(),
            dial_rules: self.dial_rules.clone().unwrap_or(default.dial_rules),
            caller_id: self.caller_id.clone().unwrap_or(default.caller_id),
            caller_name: self.caller_name.clone().unwrap_or(default.caller_name),
            bare_digits: self.bare_digits.unwrap_or(default.bare_digits),
            tg_headers: self.tg_headers.unwrap_or(default.tg_headers),
            refer: self.refer.unwrap_or(default.refer),
            priority: self.priority.unwrap_or(default.priority),
            ring_seconds: self.ring_seconds.unwrap_or(default.ring_seconds),
            quota: self.quota.clone(),
            failure_limit: self.failure_limit.unwrap_or(default.failure_limit),
            failure_wait_seconds: self
                .failure_wait_seconds
                .unwrap_or(default.failure_wait_seconds),
            worker: self.worker.clone().unwrap_or(default.worker),
            enabled: self.enabled.unwrap_or(default.enabled),
            name: default.name,
            kind: default.kind,
        })
    }

    /// The account we register by, all of it as somebody else gave it.
    fn account(
        &self,
        before: Option<&TrunkSpec>,
    ) -> Result<TrunkKind, (&'static str, &'static str)> {
        if self.address.is_some() {
            return Err((
                "address",
                "a trunk that registers elsewhere has a domain, and a proxy if packets go to another host",
            ));
        }
        let what = "the PBX or provider has given you a login, a password and a domain: all three are needed";
        let Some(login) = &self.login else {
            return Err(("login", what));
        };
        let Some(domain) = &self.domain else {
            let is_missing = self.password.as_ref().map_or("login", |_| "domain");
            return Err((is_missing, what));
        };
        // That of another account is nobody's business there.
        let kept = before.and_then(|trunk| match &trunk.kind {
            TrunkKind::OutboundRegister {
                login: old_login,
                password,
                domain: old_domain,
                ..
            } if old_login == login && old_domain == domain => Some(password),
            TrunkKind::OutboundRegister { .. }
            | TrunkKind::InboundRegister { .. }
            | TrunkKind::Peer { .. } => None,
        });
        let written = self.password.as_ref();
        let Some(password) = written.filter(|it| !is_kept(it)).or(kept) else {
            return Err(("password", what));
        };
        Ok(TrunkKind::OutboundRegister {
            login: login.clone(),
            password: password.clone(),
            domain: domain.clone(),
            proxy: self.proxy.clone(),
            auth_user: self.auth_user.clone(),
        })
    }

    fn no_account(&self, what: &'static str) -> Result<(), (&'static str, &'static str)> {
        let written = [
            ("domain", self.domain.is_some()),
            ("proxy", self.proxy.is_some()),
            ("auth_user", self.auth_user.is_some()),
        ];
        match written.into_iter().find(|(_, is_there)| *is_there) {
            Some((key, _)) => Err((key, what)),
            None => Ok(()),
        }
    }

    fn credentials(
        &self,
        before: Option<&TrunkSpec>,
    ) -> Result<TrunkKind, (&'static str, &'static str)> {
        let (old_login, old_password) = match before.map(|trunk| &trunk.kind) {
            Some(TrunkKind::InboundRegister { login, password }) => {
                (Some(login.clone()), Some(password.clone()))
            }
            _ => (None, None),
        };
        let written = self.password.clone();
        let password = written.filter(|it| !is_kept(it)).or(old_password);
        if password.is_none() && self.password.is_some() {
            let what = "it stands for one that is kept, and there is none: leave it out";
            return Err(("password", what));
        }
        Ok(TrunkKind::InboundRegister {
            login: self
                .login
                .clone()
                .or(old_login)
                .unwrap_or_else(credentials::login),
            password: password.unwrap_or_else(|| Secret::new(credentials::password())),
        })
    }
}
