//! The configuration as a decision needs it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use model::{
    DEFAULT_QUOTA, DialRules, HeaderField, QuotaName, QuotaSpec, RouteSpec, SessionName,
    SessionSpec, TransitSpec, TrunkKind, TrunkName, TrunkSpec,
};

use crate::route::AllTerms;
use crate::{DialPlan, Subject};

/// An immutable snapshot of trunks, sessions and routes, with the indexes a decision needs.
#[derive(Debug, Default)]
pub struct Table {
    trunks: HashMap<TrunkName, TrunkSpec>,
    sessions: HashMap<SessionName, SessionSpec>,
    /// Where the calls of a trunk go, by priority.
    routes_of_trunk: HashMap<TrunkName, Vec<RouteSpec>>,
    /// The same routes by the other end.
    routes_of_session: HashMap<SessionName, Vec<RouteSpec>>,
    transits: HashMap<TrunkName, Vec<TransitSpec>>,
    /// The rules of both.
    terms: AllTerms,
    /// Trunks at which a way ends.
    way_ends: HashSet<TrunkName>,
    logins: HashMap<String, TrunkName>,
    peers: HashMap<SocketAddr, Vec<TrunkName>>,
    peers_by_ip: HashMap<IpAddr, Vec<TrunkName>>,
    inbound: HashMap<TrunkName, DialPlan>,
    quotas: HashMap<QuotaName, QuotaSpec>,
    default_quota: Option<QuotaSpec>,
    /// Of trunks that dial what Telegram users write.
    dialling: HashMap<TrunkName, DialPlan>,
}

impl Table {
    /// Builds a snapshot; routes are kept in order of priority, then trunk.
    pub fn new(
        trunks: Vec<TrunkSpec>,
        sessions: Vec<SessionSpec>,
        mut routes: Vec<RouteSpec>,
    ) -> Self {
        let mut logins = HashMap::new();
        let mut peers: HashMap<SocketAddr, Vec<TrunkName>> = HashMap::new();
        let mut peers_by_ip: HashMap<IpAddr, Vec<TrunkName>> = HashMap::new();
        for trunk in &trunks {
            match &trunk.kind {
                TrunkKind::InboundRegister { login, .. } => {
                    // A login that was given twice stays with the first: see [`crate::check`].
                    logins
                        .entry(login.clone())
                        .or_insert_with(|| trunk.name.clone());
                }
                // Known by the address of its registrar, which the table does not know.
                TrunkKind::OutboundRegister { .. } => {}
                TrunkKind::Peer { address } => {
                    let address = canonical(*address);
                    peers.entry(address).or_default().push(trunk.name.clone());
                    let beside = peers_by_ip.entry(address.ip()).or_default();
                    beside.push(trunk.name.clone());
                }
            }
        }
        // Rules are tried when they are saved; those that no longer compile take no number rather than any.
        let plan = |rules| DialPlan::new(rules).unwrap_or_else(|_| DialPlan::closed());
        let inbound = trunks
            .iter()
            .filter(|trunk| !trunk.inbound_rules.is_empty());
        let inbound = inbound.map(|trunk| (trunk.name.clone(), plan(&trunk.inbound_rules)));
        let inbound = inbound.collect();
        // Nearly all trunks have the rule that dials nothing, which need not be compiled for each.
        let nothing = DialRules::dial_nothing();
        let dialling = trunks.iter().filter(|trunk| trunk.dial_rules != nothing);
        let dialling = dialling.map(|trunk| (trunk.name.clone(), plan(&trunk.dial_rules)));
        let dialling = dialling.collect();
        routes.sort_by(|a, b| (a.priority, &a.trunk).cmp(&(b.priority, &b.trunk)));
        let mut routes_of_trunk: HashMap<TrunkName, Vec<RouteSpec>> = HashMap::new();
        let mut routes_of_session: HashMap<SessionName, Vec<RouteSpec>> = HashMap::new();
        let mut terms = AllTerms::default();
        for route in routes {
            terms.add_route(&route);
            let of_trunk = routes_of_trunk.entry(route.trunk.clone()).or_default();
            of_trunk.push(route.clone());
            let of_session = routes_of_session.entry(route.session.clone()).or_default();
            of_session.push(route);
        }
        Self {
            trunks: trunks
                .into_iter()
                .map(|trunk| (trunk.name.clone(), trunk))
                .collect(),
            sessions: sessions
                .into_iter()
                .map(|session| (session.name.clone(), session))
                .collect(),
            routes_of_trunk,
            routes_of_session,
            transits: HashMap::new(),
            terms,
            way_ends: HashSet::new(),
            logins,
            peers,
            peers_by_ip,
            inbound,
            quotas: HashMap::new(),
            default_quota: None,
            dialling,
        }
    }

    /// The same with ways between trunks; without any, no call of a trunk leaves by another (SEC-F4).
    pub fn with_transits(mut self, transits: Vec<TransitSpec>) -> Self {
        for way in transits {
            self.way_ends.insert(way.to.clone());
            self.terms.add_way(&way);
            let ways = self.transits.entry(way.trunk.clone()).or_default();
            ways.push(way);
        }
        self
    }

    /// The same with quota profiles; without any, nothing is limited.
    pub fn with_quotas(mut self, quotas: Vec<QuotaSpec>) -> Self {
        let default = quotas
            .iter()
            .find(|quota| quota.name.as_str() == DEFAULT_QUOTA);
        self.default_quota = default.cloned();
        let quotas = quotas.into_iter();
        self.quotas = quotas.map(|quota| (quota.name.clone(), quota)).collect();
        self
    }

    /// Returns what somebody may use: by the name he was given, else by default; nothing where nothing is limited.
    fn quota(&self, name: Option<&QuotaName>) -> Option<&QuotaSpec> {
        let named = name.and_then(|name| self.quotas.get(name));
        named.or(self.default_quota.as_ref())
    }

    /// Returns a trunk as somebody whose use is counted, with what it may use; nothing where that is not limited.
    pub fn quota_of_trunk(&self, name: &TrunkName) -> Option<(Subject, QuotaSpec)> {
        let trunk = self.trunks.get(name)?;
        let quota = self.quota(trunk.quota.as_ref())?;
        Some((Subject::Trunk(name.clone()), quota.clone()))
    }

    /// The same for a session.
    pub fn quota_of_session(&self, name: &SessionName) -> Option<(Subject, QuotaSpec)> {
        let session = self.sessions.get(name)?;
        let quota = self.quota(session.quota.as_ref())?;
        Some((Subject::Session(name.clone()), quota.clone()))
    }

    /// The same for the route between the two, which has no quota unless it was given one.
    pub fn quota_of_route(
        &self,
        trunk: &TrunkName,
        session: &SessionName,
    ) -> Option<(Subject, QuotaSpec)> {
        let route = self.route(trunk, session)?;
        let quota = self.quotas.get(route.terms.quota.as_ref()?)?;
        let subject = Subject::Route(trunk.clone(), session.clone());
        Some((subject, quota.clone()))
    }

    /// The same for the way from one trunk to another.
    pub fn quota_of_way(&self, trunk: &TrunkName, to: &TrunkName) -> Option<(Subject, QuotaSpec)> {
        let way = self.ways_from(trunk).find(|way| way.to == *to)?;
        let quota = self.quotas.get(way.terms.quota.as_ref()?)?;
        let subject = Subject::Transit(trunk.clone(), to.clone());
        Some((subject, quota.clone()))
    }

    /// Returns all routes to sessions.
    pub fn routes(&self) -> impl Iterator<Item = &RouteSpec> {
        self.routes_of_trunk.values().flatten()
    }

    /// Returns all ways between trunks.
    pub fn ways(&self) -> impl Iterator<Item = &TransitSpec> {
        self.transits.values().flatten()
    }

    /// Returns the rules of routes and ways.
    pub(crate) fn terms(&self) -> &AllTerms {
        &self.terms
    }

    /// Returns the route between the two.
    pub(crate) fn route(&self, trunk: &TrunkName, session: &SessionName) -> Option<&RouteSpec> {
        self.routes_from(trunk)
            .find(|route| route.session == *session)
    }

    /// Returns the trunk of this name.
    pub fn trunk(&self, name: &TrunkName) -> Option<&TrunkSpec> {
        self.trunks.get(name)
    }

    /// Returns the rules for the numbers that a trunk dials, if it has any.
    pub(crate) fn inbound(&self, name: &TrunkName) -> Option<&DialPlan> {
        self.inbound.get(name)
    }

    /// Returns the rules for what Telegram users write, if the trunk dials any of it.
    pub(crate) fn dialling(&self, name: &TrunkName) -> Option<&DialPlan> {
        self.dialling.get(name)
    }

    /// Returns the session of this name.
    pub fn session(&self, name: &SessionName) -> Option<&SessionSpec> {
        self.sessions.get(name)
    }

    /// Returns all trunks.
    pub fn trunks(&self) -> impl Iterator<Item = &TrunkSpec> {
        self.trunks.values()
    }

    /// Returns all sessions.
    pub fn sessions(&self) -> impl Iterator<Item = &SessionSpec> {
        self.sessions.values()
    }

    /// Returns the trunk with this login.
    pub fn by_login(&self, login: &str) -> Option<&TrunkSpec> {
        self.trunks.get(self.logins.get(login)?)
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
        let here: Vec<&TrunkSpec> = here.filter_map(|name| self.trunks.get(name)).collect();
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
        self.sessions.get(&first.session)
    }

    /// Returns the first route of a trunk by priority whose session is switched on, else the first; of those that take the number, if one is
    /// dialled.
    fn first_route(&self, trunk: &TrunkName, dialled: Option<&str>) -> Option<&RouteSpec> {
        let is_on = |route: &&RouteSpec| {
            let session = self.sessions.get(&route.session);
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
            self.sessions.contains_key(session) && dialled.is_none_or(takes)
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
            let session = self.sessions.get(&route.session);
            session.map(|session| session.enabled)
        };
        let is_on = enabled(first);
        let beside = self
            .routes_for(trunk, dialled)
            .filter(|route| route.priority == first.priority && enabled(route) == is_on);
        beside
            .filter_map(|route| self.sessions.get(&route.session))
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
        self.transits.contains_key(trunk) || self.way_ends.contains(trunk)
    }

    pub(crate) fn routes_from(&self, trunk: &TrunkName) -> impl Iterator<Item = &RouteSpec> {
        self.routes_of_trunk.get(trunk).into_iter().flatten()
    }

    fn routes_to(&self, session: &SessionName) -> impl Iterator<Item = &RouteSpec> {
        self.routes_of_session.get(session).into_iter().flatten()
    }

    /// Returns the ways from a trunk that take a number.
    fn ways_for(&self, trunk: &TrunkName, dialled: &str) -> impl Iterator<Item = &TransitSpec> {
        self.ways_from(trunk)
            .filter(move |way| self.terms.way_takes(&way.trunk, &way.to, dialled))
    }

    pub(crate) fn ways_from(&self, trunk: &TrunkName) -> impl Iterator<Item = &TransitSpec> {
        self.transits.get(trunk).into_iter().flatten()
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
            if let Some(to) = self.trunks.get(&way.to).filter(|to| to.enabled) {
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
            if let Some(trunk) = self.trunks.get(&route.trunk).filter(|trunk| trunk.enabled) {
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
