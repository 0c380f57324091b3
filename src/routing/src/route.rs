//! Routes at work: which of them take a number, and what they make of it.

use std::sync::Arc;

use model::{
    CallerIdRules, CallerNameRules, RouteSpec, RouteTerms, SessionName, TransitSpec, TrunkName,
};

use crate::sheet::Sheet;
use crate::{DialPlan, Table};

/// The rules of one route, ready to be applied; without rules a route takes every number as it is.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    matches: Option<DialPlan>,
    rules: Option<DialPlan>,
    caller_rules: Option<DialPlan>,
}

impl Terms {
    /// Compiles them; nothing where there are none, as in most routes.
    fn new(terms: &RouteTerms) -> Option<Self> {
        // Rules are tried when they are saved; those that no longer compile take no number rather than any.
        let plan = |rules: &model::DialRules| {
            let plan = || DialPlan::new(rules).unwrap_or_else(|_| DialPlan::closed());
            (!rules.is_empty()).then(plan)
        };
        let terms = Self {
            matches: plan(&terms.matches),
            rules: plan(&terms.rules),
            caller_rules: plan(&terms.caller_rules),
        };
        let is_plain =
            terms.matches.is_none() && terms.rules.is_none() && terms.caller_rules.is_none();
        (!is_plain).then_some(terms)
    }

    fn takes(&self, dialled: &str) -> bool {
        let matches = self.matches.as_ref();
        matches.is_none_or(|plan| plan.apply(dialled).is_some())
    }
}

/// The rules of all routes that have some, by both ends.
#[derive(Debug, Default, Clone)]
pub(crate) struct AllTerms {
    to_sessions: Sheet<(TrunkName, SessionName), Arc<Terms>>,
    to_trunks: Sheet<(TrunkName, TrunkName), Arc<Terms>>,
}

impl AllTerms {
    pub(crate) fn add_route(&mut self, route: &RouteSpec) {
        if let Some(terms) = Terms::new(&route.terms) {
            let ends = (route.trunk.clone(), route.session.clone());
            self.to_sessions.put(ends, Arc::new(terms));
        }
    }

    pub(crate) fn add_way(&mut self, way: &TransitSpec) {
        if let Some(terms) = Terms::new(&way.terms) {
            let ends = (way.trunk.clone(), way.to.clone());
            self.to_trunks.put(ends, Arc::new(terms));
        }
    }

    pub(crate) fn remove_route(&mut self, trunk: &TrunkName, session: &SessionName) {
        self.to_sessions.remove(&(trunk.clone(), session.clone()));
    }

    pub(crate) fn remove_way(&mut self, trunk: &TrunkName, to: &TrunkName) {
        self.to_trunks.remove(&(trunk.clone(), to.clone()));
    }

    fn of_route(&self, trunk: &TrunkName, session: &SessionName) -> Option<&Terms> {
        // Most houses have no such rules, and their calls no use for copies of names.
        if self.to_sessions.is_empty() {
            return None;
        }
        let terms = self.to_sessions.get(&(trunk.clone(), session.clone()));
        terms.map(Arc::as_ref)
    }

    fn of_way(&self, trunk: &TrunkName, to: &TrunkName) -> Option<&Terms> {
        if self.to_trunks.is_empty() {
            return None;
        }
        let terms = self.to_trunks.get(&(trunk.clone(), to.clone()));
        terms.map(Arc::as_ref)
    }

    /// Whether calls that dial this go by the route.
    pub(crate) fn route_takes(
        &self,
        trunk: &TrunkName,
        session: &SessionName,
        dialled: &str,
    ) -> bool {
        let terms = self.of_route(trunk, session);
        terms.is_none_or(|terms| terms.takes(dialled))
    }

    /// The same for the way to another trunk.
    pub(crate) fn way_takes(&self, trunk: &TrunkName, to: &TrunkName, dialled: &str) -> bool {
        let terms = self.of_way(trunk, to);
        terms.is_none_or(|terms| terms.takes(dialled))
    }

    /// The rules for the numbers on a route, if it has any.
    pub(crate) fn route_rules(
        &self,
        trunk: &TrunkName,
        session: &SessionName,
    ) -> Option<&DialPlan> {
        self.of_route(trunk, session)?.rules.as_ref()
    }

    /// The same for the way to another trunk.
    pub(crate) fn way_rules(&self, trunk: &TrunkName, to: &TrunkName) -> Option<&DialPlan> {
        self.of_way(trunk, to)?.rules.as_ref()
    }
}

impl Table {
    /// Returns what is dialled in a trunk for a Telegram user: what he wrote, or the trunk's number, as the route from his session makes it.
    /// Nothing where nothing is dialled; `Err` where the route does not take the number.
    pub fn number_in(
        &self,
        trunk: &TrunkName,
        session: &SessionName,
        wrote: Option<&str>,
    ) -> Result<Option<String>, NotTaken> {
        let number = self.trunk(trunk).and_then(|trunk| trunk.number.as_deref());
        let number = wrote.or(number);
        let terms = self.terms();
        if !terms.route_takes(trunk, session, number.unwrap_or_default()) {
            return Err(NotTaken);
        }
        match (number, terms.route_rules(trunk, session)) {
            (Some(number), Some(plan)) => {
                let number = plan.apply(number).filter(|number| !number.is_empty());
                number.map(Some).ok_or(NotTaken)
            }
            (number, _) => Ok(number.map(str::to_owned)),
        }
    }

    /// Returns the Caller ID rules by which a trunk sees the callers of a session: those of the route, else the trunk's own.
    pub fn caller_rules(
        &self,
        trunk: &TrunkName,
        session: &SessionName,
    ) -> Option<(&CallerIdRules, &CallerNameRules)> {
        let spec = self.trunk(trunk)?;
        let terms = self.route(trunk, session).map(|route| &route.terms);
        let id = terms.and_then(|terms| terms.caller_id.as_ref());
        let name = terms.and_then(|terms| terms.caller_name.as_ref());
        Some((
            id.unwrap_or(&spec.caller_id),
            name.unwrap_or(&spec.caller_name),
        ))
    }

    /// Returns the number under which the caller of a trunk is seen by another one; nothing: he is anonymous there.
    pub fn caller_on_way(&self, trunk: &TrunkName, to: &TrunkName, user: &str) -> Option<String> {
        let terms = self.terms().of_way(trunk, to);
        match terms.and_then(|terms| terms.caller_rules.as_ref()) {
            Some(plan) => plan.apply(user).filter(|user| !user.is_empty()),
            None => Some(user.to_owned()),
        }
    }
}

/// The route does not take the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotTaken;
