//! What a decision looks at, step by step, for an owner who asks why a call goes where it goes.
//!
//! The steps only tell; the decision itself is that of [`crate::decide_sip`], [`crate::decide_transit`] or [`crate::decide_telegram`], as a call has it.

use model::{
    DialRule, DialRuleKind, LOCAL_WORKER, Role, SessionName, SessionSpec, TrunkKind, TrunkName,
    TrunkSpec,
};
use serde::{Deserialize, Serialize};

use crate::{
    CallerIdentity, DialPlan, SipOffer, Table, World, called_peer, caller_id, caller_name,
};

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
    let mut steps = vec![trunk_step(world, trunk), worker_step(table, trunk)];
    let number = offer.dialled();
    steps.push(with_number("dialled", number));
    steps.extend(passed_over(table, trunk, number));
    if offer.is_transit(table) {
        steps.push(step("the call leaves by other trunks"));
        for (at, group) in table.groups_from(&trunk.name, number).enumerate() {
            for to in &group {
                if let Some(plan) = table.terms().way_rules(&trunk.name, to) {
                    let rules = table.transit(&trunk.name, to);
                    let rules = rules.map(|way| way.terms.rules.rules());
                    let whose = format!("rule of the route to {to},");
                    trace(&mut steps, &whose, plan, rules.unwrap_or_default(), number);
                }
            }
            steps.extend(group_steps(table, world)((at, group)));
        }
        return steps;
    }
    let mut read = Some(number.to_owned());
    if let Some(plan) = table.inbound(&trunk.name) {
        read = trace(
            &mut steps,
            "inbound rule",
            plan,
            trunk.inbound_rules.rules(),
            number,
        );
    }
    steps.push(storage_step(table));
    let pool = table.pool_of(&trunk.name, Some(number));
    if pool.is_empty() {
        steps.push(step(format!(
            "no route leads from trunk {} to a session for this number",
            trunk.name
        )));
    }
    let rewriting = |session: &SessionSpec| table.terms().route_rules(&trunk.name, &session.name);
    if pool.iter().all(|session| rewriting(session).is_none()) {
        steps.push(understood(table, offer, None));
    }
    for session in pool {
        steps.push(session_step(world, session));
        if let (Some(plan), Some(number)) = (rewriting(session), &read) {
            let route = table.route(&trunk.name, &session.name);
            let rules = route.map(|route| route.terms.rules.rules());
            let whose = format!("rule of the route to {},", session.name);
            trace(&mut steps, &whose, plan, rules.unwrap_or_default(), number);
            steps.push(understood(table, offer, Some(plan)));
        }
    }
    steps
}

/// Whom the number means.
fn understood(table: &Table, offer: &SipOffer<'_>, rules: Option<&DialPlan>) -> Step {
    let inbound = table.inbound(&offer.trunk.name);
    match called_peer(
        offer.trunk,
        inbound,
        rules,
        offer.request_user,
        offer.to_user,
    ) {
        Ok(peer) => with_number("understood as", peer.to_string()),
        Err(_) => step("understood as nobody"),
    }
}

/// The routes that do not take a number.
fn passed_over(table: &Table, trunk: &TrunkSpec, number: &str) -> Vec<Step> {
    let name = &trunk.name;
    let terms = table.terms();
    let routes = table
        .routes_from(name)
        .filter(|route| !terms.route_takes(name, &route.session, number))
        .map(|route| (route.session.to_string(), &route.terms.matches));
    let ways = table
        .ways_from(name)
        .filter(|way| !terms.way_takes(name, &way.to, number))
        .map(|way| (way.to.to_string(), &way.terms.matches));
    let says = |(to, matches)| {
        step(format!(
            "the route to {to} does not take it: match `{matches}`"
        ))
    };
    routes.chain(ways).map(says).collect()
}

/// What each rule makes of a number; returns what is left of it.
fn trace(
    steps: &mut Vec<Step>,
    whose: &str,
    plan: &DialPlan,
    rules: &[DialRule],
    number: &str,
) -> Option<String> {
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
            Some(number) => with_number(format!("{whose} {at} {kind} `{rule}`"), number),
            None => step(format!("{whose} {at} {kind} `{rule}`: not taken")),
        });
    })
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
    let mut steps = vec![session_step(world, session), storage_step(table)];
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
            match table.number_in(&trunk.name, &session.name, None) {
                Ok(Some(number)) => steps.push(with_number(
                    format!("trunk {} is called", trunk.name),
                    number,
                )),
                Ok(None) => {}
                Err(_) => {
                    let what = format!(
                        "the route to {} does not take the number it would call",
                        trunk.name
                    );
                    steps.push(step(what));
                    continue;
                }
            }
            let rules = table.caller_rules(&trunk.name, &session.name);
            let (id, name) = rules.unwrap_or((&trunk.caller_id, &trunk.caller_name));
            let name = caller_name(name, caller).unwrap_or_default();
            let number = caller_id(id, caller);
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
    let blocked = if world.is_blocked(&trunk.name) {
        ", blocked: too many calls failed, or its PBX said so (503)"
    } else {
        ""
    };
    step(format!(
        "trunk {} is {is_on}, {reached}{blocked}",
        trunk.name
    ))
}

/// Whether the worker that carries the calls of a trunk takes any.
fn worker_step(table: &Table, trunk: &TrunkSpec) -> Step {
    step(match trunk.worker.missing() {
        Some(worker) => format!("worker {worker} of trunk {} is not there", trunk.name),
        None => format!(
            "worker {LOCAL_WORKER} is {}",
            on_or_off(table, Role::Worker)
        ),
    })
}

/// Whether anything new is asked of Telegram.
fn storage_step(table: &Table) -> Step {
    step(format!(
        "the storage is {}",
        on_or_off(table, Role::Storage)
    ))
}

fn on_or_off(table: &Table, role: Role) -> &'static str {
    if table.has_role(role) {
        "on"
    } else {
        "switched off"
    }
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
        let says = |trunk: &TrunkSpec| {
            // Of those that it can ring only what is amiss.
            let amiss = Some(worker_step(table, trunk)).filter(|_| !table.works(trunk));
            std::iter::once(says(trunk))
                .chain(amiss)
                .collect::<Vec<Step>>()
        };
        trunks.flat_map(says).collect()
    }
}
