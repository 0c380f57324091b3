//! The configuration as a decision needs it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use model::{
    DEFAULT_QUOTA, DialRules, HeaderField, QuotaName, QuotaSpec, Role, RoleSpec, RouteSpec,
    SessionName, SessionSpec, TransitSpec, TrunkKind, TrunkName, TrunkSpec, UserName, UserSpec,
    WebhookName, WebhookSpec,
};

use crate::route::AllTerms;
use crate::sheet::Sheet;
use crate::{DialPlan, Subject};

/// A snapshot of trunks, sessions and routes, with the indexes a decision needs.
///
/// Once it is shared nobody changes it: a change of records is made on a copy, which costs next to nothing, and costs what it touches itself.
#[derive(Debug, Default, Clone)]
pub struct Table {
    trunks: Sheet<TrunkName, Arc<TrunkSpec>>,
    sessions: Sheet<SessionName, Arc<SessionSpec>>,
    routes: Sheet<(TrunkName, SessionName), Arc<RouteSpec>>,
    transits: Sheet<(TrunkName, TrunkName), Arc<TransitSpec>>,
    quotas: Sheet<QuotaName, Arc<QuotaSpec>>,
    default_quota: Option<Arc<QuotaSpec>>,
    /// Where the calls of a trunk go, by priority.
    routes_of_trunk: Sheet<TrunkName, Vec<Arc<RouteSpec>>>,
    /// The same routes by the other end.
    routes_of_session: Sheet<SessionName, Vec<Arc<RouteSpec>>>,
    ways_of_trunk: Sheet<TrunkName, Vec<Arc<TransitSpec>>>,
    /// Ways by where they end.
    ways_to_trunk: Sheet<TrunkName, Vec<Arc<TransitSpec>>>,
    /// Trunks by login, address and so on. Where several have the same, that of the first name counts: see [`crate::check`].
    logins: Sheet<String, Vec<TrunkName>>,
    accounts: Sheet<(String, String), Vec<TrunkName>>,
    peers: Sheet<SocketAddr, Vec<TrunkName>>,
    peers_by_ip: Sheet<IpAddr, Vec<TrunkName>>,
    /// The rules of routes and ways.
    terms: AllTerms,
    inbound: Sheet<TrunkName, Arc<DialPlan>>,
    users: Sheet<UserName, Arc<UserSpec>>,
    /// The same by their ids at Telegram.
    users_by_id: Sheet<i64, Vec<UserName>>,
    /// No decision needs them; they are records like the others, and changed with them.
    webhooks: BTreeMap<WebhookName, Arc<WebhookSpec>>,
    /// Roles that were ever switched; the others are on.
    roles: BTreeMap<Role, RoleSpec>,
    /// Of trunks that dial what Telegram users write.
    dialling: Sheet<TrunkName, Arc<DialPlan>>,
}

/// What became of a record from one table to another: absent before, absent after, or different.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference<'a, T> {
    /// As it was.
    pub before: Option<&'a T>,
    /// As it is.
    pub after: Option<&'a T>,
}

fn differences<'a, K: Ord + Clone, T: PartialEq>(
    before: &'a Sheet<K, Arc<T>>,
    after: &'a Sheet<K, Arc<T>>,
) -> Vec<Difference<'a, T>> {
    let found = before.differences(after).into_iter();
    let found = found.map(|(_, before, after)| Difference {
        before: before.map(Arc::as_ref),
        after: after.map(Arc::as_ref),
    });
    found.collect()
}

/// Adds a name to a list that is in order.
fn enter(list: &mut Vec<TrunkName>, name: &TrunkName) {
    if let Err(at) = list.binary_search(name) {
        list.insert(at, name.clone());
    }
}

impl Table {
    /// Builds a snapshot; routes are kept in order of priority, then trunk.
    pub fn new(trunks: Vec<TrunkSpec>, sessions: Vec<SessionSpec>, routes: Vec<RouteSpec>) -> Self {
        let mut table = Self::default();
        for trunk in trunks {
            table.put_trunk(trunk);
        }
        for session in sessions {
            table.put_session(session);
        }
        for route in routes {
            table.put_route(route);
        }
        table
    }

    /// Puts a trunk in the place of the one that has its name, if there is one.
    pub fn put_trunk(&mut self, trunk: TrunkSpec) {
        self.remove_trunk(&trunk.name);
        let name = &trunk.name;
        self.index(&trunk, |list| enter(list, name));
        // Rules are tried when they are saved; those that no longer compile take no number rather than any.
        let plan = |rules| Arc::new(DialPlan::new(rules).unwrap_or_else(|_| DialPlan::closed()));
        if !trunk.inbound_rules.is_empty() {
            self.inbound.put(name.clone(), plan(&trunk.inbound_rules));
        }
        // Nearly all trunks have the rule that dials nothing, which need not be compiled for each.
        if trunk.dial_rules != DialRules::dial_nothing() {
            self.dialling.put(name.clone(), plan(&trunk.dial_rules));
        }
        self.trunks.put(name.clone(), Arc::new(trunk));
    }

    /// Takes a trunk away; its routes stay. False when there is none.
    pub fn remove_trunk(&mut self, name: &TrunkName) -> bool {
        let Some(trunk) = self.trunks.remove(name) else {
            return false;
        };
        self.index(&trunk, |list| list.retain(|other| other != name));
        self.inbound.remove(name);
        self.dialling.remove(name);
        true
    }

    /// Changes the lists by which a trunk is found.
    fn index(&mut self, trunk: &TrunkSpec, change: impl Fn(&mut Vec<TrunkName>)) {
        match &trunk.kind {
            TrunkKind::InboundRegister { login, .. } => self.logins.alter(login.clone(), change),
            // Known by the address of its registrar, which the table does not know.
            TrunkKind::OutboundRegister { login, domain, .. } => {
                let account = (login.clone(), domain.to_string());
                self.accounts.alter(account, change);
            }
            TrunkKind::Peer { address } => {
                let address = canonical(*address);
                self.peers.alter(address, &change);
                self.peers_by_ip.alter(address.ip(), change);
            }
        }
    }

    /// Puts a session in the place of the one that has its name, if there is one.
    pub fn put_session(&mut self, session: SessionSpec) {
        self.sessions.put(session.name.clone(), Arc::new(session));
    }

    /// Takes a session away; its routes stay. False when there is none.
    pub fn remove_session(&mut self, name: &SessionName) -> bool {
        self.sessions.remove(name).is_some()
    }

    /// Puts a route in the place of the one between the same ends, if there is one.
    pub fn put_route(&mut self, route: RouteSpec) {
        self.remove_route(&route.trunk, &route.session);
        self.terms.add_route(&route);
        let route = Arc::new(route);
        let order = |it: &Arc<RouteSpec>| (it.priority, it.trunk.clone(), it.session.clone());
        let enter = |list: &mut Vec<Arc<RouteSpec>>| {
            let new = order(&route);
            let at = list.partition_point(|other| order(other) <= new);
            list.insert(at, Arc::clone(&route));
        };
        self.routes_of_trunk.alter(route.trunk.clone(), enter);
        self.routes_of_session.alter(route.session.clone(), enter);
        let ends = (route.trunk.clone(), route.session.clone());
        self.routes.put(ends, route);
    }

    /// Takes a route away; false when there is none.
    pub fn remove_route(&mut self, trunk: &TrunkName, session: &SessionName) -> bool {
        let Some(route) = self.routes.remove(&(trunk.clone(), session.clone())) else {
            return false;
        };
        let leave = |list: &mut Vec<Arc<RouteSpec>>| list.retain(|it| !Arc::ptr_eq(it, &route));
        self.routes_of_trunk.alter(trunk.clone(), leave);
        self.routes_of_session.alter(session.clone(), leave);
        self.terms.remove_route(trunk, session);
        true
    }

    /// Puts a way between trunks in the place of the one between the same ends, if there is one.
    pub fn put_transit(&mut self, way: TransitSpec) {
        self.remove_transit(&way.trunk, &way.to);
        self.terms.add_way(&way);
        let way = Arc::new(way);
        let enter = |list: &mut Vec<Arc<TransitSpec>>| {
            let ends = |it: &Arc<TransitSpec>| (it.trunk.clone(), it.to.clone());
            let at = list.partition_point(|other| ends(other) <= ends(&way));
            list.insert(at, Arc::clone(&way));
        };
        self.ways_of_trunk.alter(way.trunk.clone(), enter);
        self.ways_to_trunk.alter(way.to.clone(), enter);
        let ends = (way.trunk.clone(), way.to.clone());
        self.transits.put(ends, way);
    }

    /// Takes a way between trunks away; false when there is none.
    pub fn remove_transit(&mut self, trunk: &TrunkName, to: &TrunkName) -> bool {
        let Some(way) = self.transits.remove(&(trunk.clone(), to.clone())) else {
            return false;
        };
        let leave = |list: &mut Vec<Arc<TransitSpec>>| list.retain(|it| !Arc::ptr_eq(it, &way));
        self.ways_of_trunk.alter(trunk.clone(), leave);
        self.ways_to_trunk.alter(to.clone(), leave);
        self.terms.remove_way(trunk, to);
        true
    }

    /// Puts a quota profile in the place of the one that has its name, if there is one.
    pub fn put_quota(&mut self, quota: QuotaSpec) {
        let quota = Arc::new(quota);
        if quota.name.as_str() == DEFAULT_QUOTA {
            self.default_quota = Some(Arc::clone(&quota));
        }
        self.quotas.put(quota.name.clone(), quota);
    }

    /// Takes a quota profile away; false when there is none.
    pub fn remove_quota(&mut self, name: &QuotaName) -> bool {
        if name.as_str() == DEFAULT_QUOTA {
            self.default_quota = None;
        }
        self.quotas.remove(name).is_some()
    }

    /// Returns the trunks that differ in another table, by name; costs what differs.
    pub fn changed_trunks<'a>(&'a self, after: &'a Self) -> Vec<Difference<'a, TrunkSpec>> {
        differences(&self.trunks, &after.trunks)
    }

    /// Returns the sessions that differ in another table, by name.
    pub fn changed_sessions<'a>(&'a self, after: &'a Self) -> Vec<Difference<'a, SessionSpec>> {
        differences(&self.sessions, &after.sessions)
    }

    /// Returns the routes that differ in another table, by trunk and session.
    pub fn changed_routes<'a>(&'a self, after: &'a Self) -> Vec<Difference<'a, RouteSpec>> {
        differences(&self.routes, &after.routes)
    }

    /// Returns all routes, by trunk and session.
    pub fn routes(&self) -> impl Iterator<Item = &RouteSpec> {
        self.routes.values().map(Arc::as_ref)
    }

    /// Returns the route between these two.
    pub fn route(&self, trunk: &TrunkName, session: &SessionName) -> Option<&RouteSpec> {
        let route = self.routes.get(&(trunk.clone(), session.clone()));
        route.map(Arc::as_ref)
    }

    /// Returns the way from the first trunk to the second.
    pub fn transit(&self, trunk: &TrunkName, to: &TrunkName) -> Option<&TransitSpec> {
        let way = self.transits.get(&(trunk.clone(), to.clone()));
        way.map(Arc::as_ref)
    }

    /// Returns all ways between trunks, by the first and the second.
    pub fn transits(&self) -> impl Iterator<Item = &TransitSpec> {
        self.transits.values().map(Arc::as_ref)
    }

    /// Returns all quota profiles, by name.
    pub fn quotas(&self) -> impl Iterator<Item = &QuotaSpec> {
        self.quotas.values().map(Arc::as_ref)
    }

    /// Returns the quota profile of this name.
    pub fn quota(&self, name: &QuotaName) -> Option<&QuotaSpec> {
        self.quotas.get(name).map(Arc::as_ref)
    }

    /// Returns the ways that begin or end at a trunk.
    pub fn ways_at(&self, trunk: &TrunkName) -> impl Iterator<Item = &TransitSpec> {
        let ends = self.ways_to_trunk.get(trunk).into_iter().flatten();
        self.ways_from(trunk).chain(ends.map(Arc::as_ref))
    }

    /// Returns the routes of a trunk to sessions, by priority.
    pub fn routes_from(&self, trunk: &TrunkName) -> impl Iterator<Item = &RouteSpec> {
        let routes = self.routes_of_trunk.get(trunk).into_iter().flatten();
        routes.map(Arc::as_ref)
    }

    /// Returns the routes to a session, by priority.
    pub fn routes_to(&self, session: &SessionName) -> impl Iterator<Item = &RouteSpec> {
        let routes = self.routes_of_session.get(session).into_iter().flatten();
        routes.map(Arc::as_ref)
    }

    /// Returns another trunk with the same login, or the same account at the same registrar; the first by name.
    pub(crate) fn same_login(&self, trunk: &TrunkSpec) -> Option<&TrunkName> {
        let same = match &trunk.kind {
            TrunkKind::InboundRegister { login, .. } => self.logins.get(login),
            TrunkKind::OutboundRegister { login, domain, .. } => {
                self.accounts.get(&(login.clone(), domain.to_string()))
            }
            TrunkKind::Peer { .. } => None,
        };
        same?.iter().find(|other| **other != trunk.name)
    }

    /// Returns another peer that requests could not be told apart from this one's by; the first by name.
    pub(crate) fn same_peer(&self, trunk: &TrunkSpec) -> Option<&TrunkName> {
        let TrunkKind::Peer { address } = &trunk.kind else {
            return None;
        };
        let here = self.peers.get(&canonical(*address))?.iter();
        let mut same = here.filter(|name| {
            let other = self.trunk(name);
            **name != trunk.name && other.is_some_and(|other| other.header == trunk.header)
        });
        same.next()
    }

    /// The same with ways between trunks; without any, no call of a trunk leaves by another (SEC-F4).
    pub fn with_transits(mut self, transits: Vec<TransitSpec>) -> Self {
        for way in transits {
            self.put_transit(way);
        }
        self
    }

    /// The same with quota profiles; without any, nothing is limited.
    pub fn with_quotas(mut self, quotas: Vec<QuotaSpec>) -> Self {
        for quota in quotas {
            self.put_quota(quota);
        }
        self
    }

    /// The same with users; who is none of them is not limited as a user.
    pub fn with_users(mut self, users: Vec<UserSpec>) -> Self {
        for user in users {
            self.put_user(user);
        }
        self
    }

    /// Puts a user in the place of the one that has his name, if there is one.
    pub fn put_user(&mut self, user: UserSpec) {
        self.remove_user(&user.name);
        let name = &user.name;
        self.users_by_id.alter(user.telegram_id, |list| {
            if let Err(at) = list.binary_search(name) {
                list.insert(at, name.clone());
            }
        });
        self.users.put(name.clone(), Arc::new(user));
    }

    /// Takes a user away; false when there is none.
    pub fn remove_user(&mut self, name: &UserName) -> bool {
        let Some(user) = self.users.remove(name) else {
            return false;
        };
        let leave = |list: &mut Vec<UserName>| list.retain(|other| other != name);
        self.users_by_id.alter(user.telegram_id, leave);
        true
    }

    /// Returns the user of this name.
    pub fn user(&self, name: &UserName) -> Option<&UserSpec> {
        self.users.get(name).map(Arc::as_ref)
    }

    /// Returns the user of this id at Telegram.
    pub fn user_at(&self, telegram_id: i64) -> Option<&UserSpec> {
        self.user(self.users_by_id.get(&telegram_id)?.first()?)
    }

    /// Returns another user with the same id at Telegram; the first by name.
    pub fn same_user(&self, user: &UserSpec) -> Option<&UserName> {
        let mut same = self.users_by_id.get(&user.telegram_id)?.iter();
        same.find(|other| **other != user.name)
    }

    /// Returns all users, by name.
    pub fn users(&self) -> impl Iterator<Item = &UserSpec> {
        self.users.values().map(Arc::as_ref)
    }

    /// The same with webhooks.
    pub fn with_webhooks(mut self, webhooks: Vec<WebhookSpec>) -> Self {
        for webhook in webhooks {
            self.put_webhook(webhook);
        }
        self
    }

    /// Puts a webhook in the place of the one that has its name, if there is one.
    pub fn put_webhook(&mut self, webhook: WebhookSpec) {
        self.webhooks
            .insert(webhook.name.clone(), Arc::new(webhook));
    }

    /// Takes a webhook away; false when there is none.
    pub fn remove_webhook(&mut self, name: &WebhookName) -> bool {
        self.webhooks.remove(name).is_some()
    }

    /// Returns the webhook of this name.
    pub fn webhook(&self, name: &WebhookName) -> Option<&Arc<WebhookSpec>> {
        self.webhooks.get(name)
    }

    /// Returns all webhooks, by name.
    pub fn webhooks(&self) -> impl Iterator<Item = &Arc<WebhookSpec>> {
        self.webhooks.values()
    }

    /// The same with roles, of which those without a record are on.
    pub fn with_roles(mut self, roles: Vec<RoleSpec>) -> Self {
        for role in roles {
            self.put_role(role);
        }
        self
    }

    /// Switches a role on or off.
    pub fn put_role(&mut self, role: RoleSpec) {
        self.roles.insert(role.role, role);
    }

    /// Returns the roles that were ever switched.
    pub fn roles(&self) -> impl Iterator<Item = &RoleSpec> {
        self.roles.values()
    }

    /// Whether a role is switched on.
    pub fn has_role(&self, role: Role) -> bool {
        self.roles.get(&role).is_none_or(|spec| spec.enabled)
    }

    /// Whether the worker of a trunk is there and switched on.
    pub fn works(&self, trunk: &TrunkSpec) -> bool {
        self.has_role(Role::Worker) && trunk.worker.missing().is_none()
    }

    /// Returns what somebody may use: by the name he was given, else by default; nothing where nothing is limited.
    fn quota_or_default(&self, name: Option<&QuotaName>) -> Option<&QuotaSpec> {
        let named = name.and_then(|name| self.quota(name));
        named.or(self.default_quota.as_deref())
    }

    /// Returns a trunk as somebody whose use is counted, with what it may use; nothing where that is not limited.
    pub fn quota_of_trunk(&self, name: &TrunkName) -> Option<(Subject, QuotaSpec)> {
        let trunk = self.trunk(name)?;
        let quota = self.quota_or_default(trunk.quota.as_ref())?;
        Some((Subject::Trunk(name.clone()), quota.clone()))
    }

    /// The same for a session.
    pub fn quota_of_session(&self, name: &SessionName) -> Option<(Subject, QuotaSpec)> {
        let session = self.session(name)?;
        let quota = self.quota_or_default(session.quota.as_ref())?;
        Some((Subject::Session(name.clone()), quota.clone()))
    }

    /// The same for the route between the two, which has no quota unless it was given one.
    pub fn quota_of_route(
        &self,
        trunk: &TrunkName,
        session: &SessionName,
    ) -> Option<(Subject, QuotaSpec)> {
        let route = self.route(trunk, session)?;
        let quota = self.quota(route.terms.quota.as_ref()?)?;
        let subject = Subject::Route(trunk.clone(), session.clone());
        Some((subject, quota.clone()))
    }

    /// The same for the way from one trunk to another.
    pub fn quota_of_way(&self, trunk: &TrunkName, to: &TrunkName) -> Option<(Subject, QuotaSpec)> {
        let way = self.transit(trunk, to)?;
        let quota = self.quota(way.terms.quota.as_ref()?)?;
        let subject = Subject::Transit(trunk.clone(), to.clone());
        Some((subject, quota.clone()))
    }

    /// Returns the rules of routes and ways.
    pub(crate) fn terms(&self) -> &AllTerms {
        &self.terms
    }

    /// The same for a user.
    pub fn quota_of_user(&self, name: &UserName) -> Option<(Subject, QuotaSpec)> {
        let user = self.user(name)?;
        let quota = self.quota_or_default(user.quota.as_ref())?;
        Some((Subject::User(name.clone()), quota.clone()))
    }

    /// Returns the trunk of this name.
    pub fn trunk(&self, name: &TrunkName) -> Option<&TrunkSpec> {
        self.trunks.get(name).map(Arc::as_ref)
    }

    /// Returns the rules for the numbers that a trunk dials, if it has any.
    pub(crate) fn inbound(&self, name: &TrunkName) -> Option<&DialPlan> {
        self.inbound.get(name).map(Arc::as_ref)
    }

    /// Returns the rules for what Telegram users write, if the trunk dials any of it.
    pub(crate) fn dialling(&self, name: &TrunkName) -> Option<&DialPlan> {
        self.dialling.get(name).map(Arc::as_ref)
    }

    /// Returns the session of this name.
    pub fn session(&self, name: &SessionName) -> Option<&SessionSpec> {
        self.sessions.get(name).map(Arc::as_ref)
    }

    /// Returns all trunks, by name.
    pub fn trunks(&self) -> impl Iterator<Item = &TrunkSpec> {
        self.trunks.values().map(Arc::as_ref)
    }

    /// Returns all sessions, by name.
    pub fn sessions(&self) -> impl Iterator<Item = &SessionSpec> {
        self.sessions.values().map(Arc::as_ref)
    }

    /// Returns the trunk with this login.
    pub fn by_login(&self, login: &str) -> Option<&TrunkSpec> {
        self.trunk(self.logins.get(login)?.first()?)
    }

    /// Whether anybody could prove itself by a password; where nobody can, a stranger need not be challenged.
    pub fn takes_logins(&self) -> bool {
        !self.logins.is_empty()
    }

    /// Returns the peer trunk at exactly this address and port, or with `by_ip` at this IP address if there is none at exactly that.
    ///
    /// Several at one address are told apart by the header they were given: the one whose header the request carries, else the only
    /// one without. One that is alone is known without it.
    pub(crate) fn peer_at(
        &self,
        source: SocketAddr,
        by_ip: bool,
        carries: &dyn Fn(&HeaderField) -> bool,
    ) -> Option<&TrunkSpec> {
        let source = canonical(source);
        let exactly = self.peers.get(&source);
        let beside = || self.peers_by_ip.get(&source.ip()).filter(|_| by_ip);
        let here = exactly.or_else(beside).into_iter().flatten();
        let here: Vec<&TrunkSpec> = here.filter_map(|name| self.trunk(name)).collect();
        if let [only] = here.as_slice() {
            return Some(only);
        }
        let marked = here
            .iter()
            .find(|trunk| trunk.header.as_ref().is_some_and(carries));
        let mut plain = here.iter().filter(|trunk| trunk.header.is_none());
        match (marked, plain.next(), plain.next()) {
            (Some(trunk), _, _) | (None, Some(trunk), None) => Some(trunk),
            (None, _, _) => None,
        }
    }

    /// Returns the session a trunk's calls go to, whatever they dial: the first by priority that is switched on, else the first.
    pub fn session_of(&self, trunk: &TrunkName) -> Option<&SessionSpec> {
        let first = self.first_route(trunk, None)?;
        self.session(&first.session)
    }

    /// Returns the first route of a trunk by priority whose session is switched on, else the first; of those that take the number, if one is
    /// dialled.
    fn first_route(&self, trunk: &TrunkName, dialled: Option<&str>) -> Option<&RouteSpec> {
        let is_on = |route: &&RouteSpec| {
            let session = self.session(&route.session);
            session.is_some_and(|session| session.enabled)
        };
        let first = self.routes_for(trunk, dialled).find(is_on);
        first.or_else(|| self.routes_for(trunk, dialled).next())
    }

    /// Returns the routes of a trunk that take a number, if one is dialled, in order of priority.
    fn routes_for(
        &self,
        trunk: &TrunkName,
        dialled: Option<&str>,
    ) -> impl Iterator<Item = &RouteSpec> {
        let takes = move |route: &&RouteSpec| {
            let session = &route.session;
            let takes = |number| self.terms.route_takes(&route.trunk, session, number);
            self.sessions.has(session) && dialled.is_none_or(takes)
        };
        self.routes_from(trunk).filter(takes)
    }

    /// Returns the sessions among which a trunk's calls are shared out that dial this number, or any: those whose routes have the same
    /// priority as the first, without those that are off while its session is on.
    pub(crate) fn pool_of(&self, trunk: &TrunkName, dialled: Option<&str>) -> Vec<&SessionSpec> {
        let Some(first) = self.first_route(trunk, dialled) else {
            return Vec::new();
        };
        let enabled = |route: &RouteSpec| {
            let session = self.session(&route.session);
            session.map(|session| session.enabled)
        };
        let is_on = enabled(first);
        let beside = self
            .routes_for(trunk, dialled)
            .filter(|route| route.priority == first.priority && enabled(route) == is_on);
        beside
            .filter_map(|route| self.session(&route.session))
            .collect()
    }

    /// Whether the texts of a trunk's PBX may go to Telegram.
    pub fn passes_texts(&self, trunk: &TrunkName) -> bool {
        let pool = self.pool_of(trunk, None);
        pool.iter().any(|session| session.text_bridge)
    }

    /// Returns the trunks that are paired with a session, on or off, by priority.
    pub fn trunks_of(&self, session: &SessionName) -> impl Iterator<Item = &TrunkName> {
        self.routes_to(session).map(|route| &route.trunk)
    }

    /// Whether a call of a trunk that dials this goes to other trunks: there is such a way that takes the number, and no route to a session
    /// that takes it and comes before or beside it.
    pub fn is_transit(&self, trunk: &TrunkName, dialled: &str) -> bool {
        let ways = self.ways_for(trunk, dialled);
        let Some(first) = ways.map(|way| way.priority).min() else {
            return false;
        };
        let mut routes = self.routes_for(trunk, Some(dialled));
        routes.next().is_none_or(|route| first < route.priority)
    }

    /// Whether a way between trunks begins or ends at this one.
    pub(crate) fn is_on_a_way(&self, trunk: &TrunkName) -> bool {
        self.ways_of_trunk.has(trunk) || self.ways_to_trunk.has(trunk)
    }

    /// Returns the ways from a trunk that take a number.
    fn ways_for(&self, trunk: &TrunkName, dialled: &str) -> impl Iterator<Item = &TransitSpec> {
        self.ways_from(trunk)
            .filter(move |way| self.terms.way_takes(&way.trunk, &way.to, dialled))
    }

    pub(crate) fn ways_from(&self, trunk: &TrunkName) -> impl Iterator<Item = &TransitSpec> {
        let ways = self.ways_of_trunk.get(trunk).into_iter().flatten();
        ways.map(Arc::as_ref)
    }

    /// Returns the trunks that calls of a trunk leave by which dial this number, without those that are off: in groups of equal priority,
    /// lower first, as [`Table::groups_of`] does for a session.
    pub(crate) fn groups_from(
        &self,
        trunk: &TrunkName,
        dialled: &str,
    ) -> impl Iterator<Item = Vec<TrunkName>> {
        let mut groups: BTreeMap<(u32, u32), Vec<TrunkName>> = BTreeMap::new();
        // A way of a trunk to itself is never made; one in a store that something else wrote leads nowhere.
        let is_way = |way: &&TransitSpec| way.to != *trunk;
        for way in self.ways_for(trunk, dialled).filter(is_way) {
            if let Some(to) = self.trunk(&way.to).filter(|to| to.enabled) {
                let group = groups.entry((way.priority, to.priority)).or_default();
                group.push(to.name.clone());
            }
        }
        groups.into_values()
    }

    /// Returns the trunks a session's calls go to, without those that are off: in groups of equal priority, lower first. The
    /// priority of the route goes before that of the trunk.
    pub(crate) fn groups_of(&self, session: &SessionName) -> impl Iterator<Item = Vec<TrunkName>> {
        let mut groups: BTreeMap<(u32, u32), Vec<TrunkName>> = BTreeMap::new();
        for route in self.routes_to(session) {
            if let Some(trunk) = self.trunk(&route.trunk).filter(|trunk| trunk.enabled) {
                let group = groups.entry((route.priority, trunk.priority)).or_default();
                group.push(trunk.name.clone());
            }
        }
        groups.into_values()
    }
}

/// An IPv4 peer is the same peer when a dual-stack socket shows it as `::ffff:192.0.2.1`.
fn canonical(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = address.ip().to_canonical();
    SocketAddr::new(ip, address.port())
}
