//! What a decision looks at, step by step, for an owner who asks why a call goes where it goes.
//!
//! The steps only tell; the decision itself is that of [`crate::decide_sip`], [`crate::decide_transit`] or [`crate::decide_telegram`], as a call has it.

use model::{DialRuleKind, SessionName, SessionSpec, TrunkKind, TrunkName, TrunkSpec};
use serde::{Deserialize, Serialize};

use crate::number::dialled;
use crate::{CallerIdentity, SipOffer, Table, World, called_peer, caller_id, caller_name};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What was looked at, and what was found.
    pub what: String,
    /// The number after it, where the step is about the number.
    pub number: Option<String>,
}

fn step(what: impl Into<String>) -> Step {
    let what = what.into();
    Step { what, number: None }
}

fn with_number(what: impl Into<String>, number: impl Into<String>) -> Step {
    Step {
        what: what.into(),
        number: Some(number.into()),
    }
}

/// What is looked at when a PBX calls.
pub fn steps_of_sip(table: &Table, world: &impl World, offer: &SipOffer<'_>) -> Vec<Step> {
    let trunk = offer.trunk;
    let mut steps = vec![trunk_step(world, trunk)];
    let number = dialled(trunk, offer.request_user, offer.to_user);
    steps.push(with_number("dialled", number));
    if table.is_transit(&trunk.name) {
        steps.push(step(
            "its calls leave by other trunks; the number goes with them as it is",
        ));
        let groups = table.groups_from(&trunk.name);
        steps.extend(groups.enumerate().flat_map(group_steps(table, world)));
        return steps;
    }
    if let Some(plan) = table.inbound(&trunk.name) {
        let rules = trunk.inbound_rules.rules();
        let mut at = 0;
        plan.trace(number, |after| {
            let rule = rules.get(at).map_or("", |rule| rule.regex.as_str());
            let kind = match rules.get(at).map(|rule| &rule.kind) {
                Some(DialRuleKind::Condition { negated: true }) => "must not match",
                Some(DialRuleKind::Condition { negated: false }) => "must match",
                Some(DialRuleKind::Replace(_)) | None => "rewrites",
            };
            at += 1;
            steps.push(match after {
                Some(number) => with_number(format!("inbound rule {at} {kind} `{rule}`"), number),
                None => step(format!("inbound rule {at} {kind} `{rule}`: not taken")),
            });
        });
    }
    let peer = called_peer(
        trunk,
        table.inbound(&trunk.name),
        offer.request_user,
        offer.to_user,
    );
    steps.push(match &peer {
        Ok(peer) => with_number("understood as", peer.to_string()),
        Err(_) => step("understood as nobody"),
    });
    let pool = table.pool_of(&trunk.name);
    if pool.is_empty() {
        steps.push(step(format!(
            "no route leads from trunk {} to a session",
            trunk.name
        )));
    }
    steps.extend(pool.into_iter().map(|session| session_step(world, session)));
    steps
}

/// What is looked at when a Telegram user calls.
pub fn steps_of_telegram(
    table: &Table,
    world: &impl World,
    session: &SessionName,
    caller: &CallerIdentity<'_>,
) -> Vec<Step> {
    let Some(session) = table.session(session) else {
        return vec![step("there is no such session")];
    };
    let mut steps = vec![session_step(world, session)];
    let allowed = &session.allowed_callers;
    if !allowed.is_empty() {
        let may = allowed.allow(caller.user_id, caller.username, caller.phone);
        steps.push(step(if may {
            "allowed_callers has the caller"
        } else {
            "allowed_callers does not have the caller: the call is left to the account's other devices"
        }));
    }
    let mut groups = table.groups_of(&session.name).peekable();
    if groups.peek().is_none() {
        let why = format!(
            "no route leads from session {} to a trunk that is on",
            session.name
        );
        steps.push(step(why));
    }
    for (at, group) in groups.enumerate() {
        steps.extend(group_steps(table, world)((at, group.clone())));
        for trunk in group.iter().filter_map(|name| table.trunk(name)) {
            let name = caller_name(&trunk.caller_name, caller).unwrap_or_default();
            let number = caller_id(&trunk.caller_id, caller);
            let number = number.unwrap_or_else(|| "anonymous".to_owned());
            let what = format!("trunk {} shows the caller as `{name}`", trunk.name);
            steps.push(with_number(what, number));
        }
    }
    steps
}

fn trunk_step(world: &impl World, trunk: &TrunkSpec) -> Step {
    let is_on = if trunk.enabled { "on" } else { "off" };
    let reached = match (&trunk.kind, world.is_reachable(&trunk.name)) {
        (TrunkKind::Peer { .. }, true) => "known by its address",
        (TrunkKind::Peer { .. }, false) => "not there",
        (TrunkKind::InboundRegister { .. } | TrunkKind::OutboundRegister { .. }, true) => {
            "registered"
        }
        (TrunkKind::InboundRegister { .. } | TrunkKind::OutboundRegister { .. }, false) => {
            "not registered"
        }
    };
    step(format!("trunk {} is {is_on}, {reached}", trunk.name))
}

fn session_step(world: &impl World, session: &SessionSpec) -> Step {
    let is_on = if session.enabled { "on" } else { "off" };
    let state = world.session_state(&session.name).label();
    step(format!("session {} is {is_on}, {state}", session.name))
}

fn group_steps<W: World>(
    table: &Table,
    world: &W,
) -> impl Fn((usize, Vec<TrunkName>)) -> Vec<Step> {
    move |(at, group)| {
        let trunks = group.iter().filter_map(|name| table.trunk(name));
        let says = |trunk: &TrunkSpec| {
            let what = trunk_step(world, trunk).what;
            step(format!("rings in group {}: {what}", at + 1))
        };
        trunks.map(says).collect()
    }
}
