//! The configuration as a decision needs it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use model::{
    DEFAULT_QUOTA, DialRules, HeaderField, QuotaName, QuotaSpec, RouteSpec, SessionName,
    SessionSpec, TransitSpec, TrunkKind, TrunkName, TrunkSpec,
};

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
        for route in routes {
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

    /// Returns the session a trunk's calls go to: the first by priority that is switched on, else the first.
    pub fn session_of(&self, trunk: &TrunkName) -> Option<&SessionSpec> {
        let routes = self.routes_from(trunk);
        let mut sessions = routes.filter_map(|route| self.sessions.get(&route.session));
        let first = sessions.next()?;
        if first.enabled {
            return Some(first);
        }
        Some(sessions.find(|session| session.enabled).unwrap_or(first))
    }

    /// Returns the sessions among which a trunk's calls are shared out: those whose routes have the same priority as that of
    /// [`Table::session_of`], without those that are off while it is on.
    pub(crate) fn pool_of(&self, trunk: &TrunkName) -> Vec<&SessionSpec> {
        let Some(first) = self.session_of(trunk) else {
            return Vec::new();
        };
        let routes = || self.routes_from(trunk);
        let priority = |name: &SessionName| {
            let mut routes = routes().filter(|route| route.session == *name);
            routes.next().map(|route| route.priority)
        };
        let (wanted, enabled) = (priority(&first.name), first.enabled);
        let beside = routes().filter(|route| Some(route.priority) == wanted);
        beside
            .filter_map(|route| self.sessions.get(&route.session))
            .filter(|session| session.enabled == enabled)
            .collect()
    }

    /// Whether the texts of a trunk's PBX may go to Telegram.
    pub fn passes_texts(&self, trunk: &TrunkName) -> bool {
        let pool = self.pool_of(trunk);
        pool.iter().any(|session| session.text_bridge)
    }

    /// Returns the trunks that are paired with a session, on or off, by priority.
    pub fn trunks_of(&self, session: &SessionName) -> impl Iterator<Item = &TrunkName> {
        self.routes_to(session).map(|route| &route.trunk)
    }

    /// Whether the calls of a trunk go to other trunks: it has such a way, and none to a session that comes before or beside it.
    pub fn is_transit(&self, trunk: &TrunkName) -> bool {
        let Some(first) = self.ways_from(trunk).map(|way| way.priority).min() else {
            return false;
        };
        self.routes_from(trunk)
            .map(|route| route.priority)
            .min()
            .is_none_or(|session| first < session)
    }

    /// Whether a way between trunks begins or ends at this one.
    pub(crate) fn is_on_a_way(&self, trunk: &TrunkName) -> bool {
        self.transits.contains_key(trunk) || self.way_ends.contains(trunk)
    }

    fn routes_from(&self, trunk: &TrunkName) -> impl Iterator<Item = &RouteSpec> {
        self.routes_of_trunk.get(trunk).into_iter().flatten()
    }

    fn routes_to(&self, session: &SessionName) -> impl Iterator<Item = &RouteSpec> {
        self.routes_of_session.get(session).into_iter().flatten()
    }

    fn ways_from(&self, trunk: &TrunkName) -> impl Iterator<Item = &TransitSpec> {
        self.transits.get(trunk).into_iter().flatten()
    }

    /// Returns the trunks that calls of a trunk leave by, without those that are off: in groups of equal priority, lower first, as
    /// [`Table::groups_of`] does for a session.
    pub(crate) fn groups_from(&self, trunk: &TrunkName) -> impl Iterator<Item = Vec<TrunkName>> {
        let mut groups: BTreeMap<(u32, u32), Vec<TrunkName>> = BTreeMap::new();
        // A way of a trunk to itself is never made; one in a store that something else wrote leads nowhere.
        let is_way = |way: &&TransitSpec| way.to != *trunk;
        for way in self.ways_from(trunk).filter(is_way) {
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
