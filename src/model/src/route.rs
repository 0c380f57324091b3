//! Routes: where calls go, which calls, and what becomes of their numbers.

use serde::{Deserialize, Serialize};

use crate::spec::default_priority;
use crate::{
    CallerIdRules, CallerNameRules, DialRule, DialRuleKind, DialRules, QuotaName, SessionName,
    TrunkName,
};

/// A pairing of a trunk and a session: calls of one go to the other, both ways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSpec {
    /// The trunk.
    pub trunk: TrunkName,
    /// The session.
    pub session: SessionName,
    /// Order in which the trunks of one session are tried, and the sessions of one trunk, lower first; among equals the priority of the
    /// trunk decides, and sessions share the calls (a pool).
    #[serde(default = "default_priority")]
    pub priority: u32,
    /// Which calls go this way, and how.
    #[serde(flatten)]
    pub terms: RouteTerms,
}

/// A way from one trunk to another: calls that come from the first leave by the second. One way only, and never there unless an
/// owner asked for it (SEC-F4). A record of its own, beside [`RouteSpec`]: versions that know no transit read on as before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitSpec {
    /// The trunk the calls come from.
    pub trunk: TrunkName,
    /// The trunk they leave by.
    pub to: TrunkName,
    /// Order among the ways out of one trunk, lower first; among equals the priority of the trunk they lead to decides.
    #[serde(default = "default_priority")]
    pub priority: u32,
    /// Which calls go this way, and how.
    #[serde(flatten)]
    pub terms: RouteTerms,
}

/// Which calls go by a route, and what becomes of their numbers: by default all of them, as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteTerms {
    /// Conditions on the number as it was dialled, of which every one must hold; a call whose number does not is looked for another
    /// route. A Telegram user dials the trunk's number, or what he wrote.
    #[serde(rename = "match", skip_serializing_if = "DialRules::is_empty")]
    pub matches: DialRules,
    /// What the number becomes on this way, after the rules of the trunk it came from.
    #[serde(skip_serializing_if = "DialRules::is_empty")]
    pub rules: DialRules,
    /// Under which number the PBX sees a Telegram user, instead of by the rules of the trunk; of routes to sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_id: Option<CallerIdRules>,
    /// Under which name, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_name: Option<CallerNameRules>,
    /// What the number of the caller becomes on the way to another trunk; a caller whose number they do not take is anonymous.
    #[serde(skip_serializing_if = "DialRules::is_empty")]
    pub caller_rules: DialRules,
    /// What all calls of this route may use over time; without a name as much as both ends may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaName>,
}

/// Why terms are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// A rule that rewrites among those that only ask.
    #[error(
        "match, character {0}: only conditions choose a route; a rule with `=` rewrites, and belongs to `rules`"
    )]
    Rewrites(usize),
    /// Caller ID rules for a caller who is no Telegram user.
    #[error(
        "caller_id and caller_name are about Telegram users; on the way to another trunk write caller_rules"
    )]
    CallerId,
    /// Rules for the number of a caller who has none but by Caller ID rules.
    #[error(
        "caller_rules are for the way to another trunk; how a Telegram user is shown say caller_id and caller_name"
    )]
    CallerRules,
}

impl RouteTerms {
    /// Returns the dial rules, by the name of their setting.
    pub fn dial_rules(&self) -> [(&'static str, &DialRules); 3] {
        [
            ("match", &self.matches),
            ("rules", &self.rules),
            ("caller_rules", &self.caller_rules),
        ]
    }

    /// Checks what a route to a session may have.
    pub fn check_to_session(&self) -> Result<(), TermsError> {
        self.check_match()?;
        if self.caller_rules.is_empty() {
            Ok(())
        } else {
            Err(TermsError::CallerRules)
        }
    }

    /// Checks what a way between trunks may have.
    pub fn check_to_trunk(&self) -> Result<(), TermsError> {
        self.check_match()?;
        if self.caller_id.is_none() && self.caller_name.is_none() {
            Ok(())
        } else {
            Err(TermsError::CallerId)
        }
    }

    fn check_match(&self) -> Result<(), TermsError> {
        let mut rules = self.matches.rules().iter();
        let rewrites = |rule: &&DialRule| matches!(rule.kind, DialRuleKind::Replace(_));
        match rules.find(rewrites) {
            Some(rule) => Err(TermsError::Rewrites(rule.at)),
            None => Ok(()),
        }
    }
}

impl RouteSpec {
    /// A route with every default.
    pub fn new(trunk: TrunkName, session: SessionName) -> Self {
        Self {
            trunk,
            session,
            priority: default_priority(),
            terms: RouteTerms::default(),
        }
    }
}

impl TransitSpec {
    /// A way with every default.
    pub fn new(trunk: TrunkName, to: TrunkName) -> Self {
        Self {
            trunk,
            to,
            priority: default_priority(),
            terms: RouteTerms::default(),
        }
    }
}
