//! What an owner asks: which calls there are, how the trunks are, and what would become of a call.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix::{Addr, Handler, MessageResult};
use model::{Cause, Peer, Reason, SessionSpec, TrunkName, TrunkSpec, UserSpec};
use routing::{CallerIdentity, Hunt, SipOffer, Step, TelegramOffer};

use super::Registry;
use crate::call::Call;
use crate::house::{NoSuch, RefusalReport, RouteReport, TrunkReport, TryCall, Via};
use crate::message::{FindCall, FoundCalls, ListCalls, ListTrunks, TryRoute};

impl Handler<ListCalls> for Registry {
    type Result = MessageResult<ListCalls>;

    fn handle(&mut self, list: ListCalls, _: &mut Self::Context) -> Self::Result {
        self.watch.handled();
        let calls = self.known.calls.iter();
        let mut calls: Vec<_> = calls
            .filter(|(id, _)| list.after.is_none_or(|after| **id > after))
            .collect();
        calls.sort_by_key(|(id, _)| **id);
        let is_more = calls.len() > list.limit;
        calls.truncate(list.limit);
        MessageResult(FoundCalls {
            next: calls.last().map(|(id, _)| **id).filter(|_| is_more),
            calls: calls.iter().map(|(_, unit)| unit.address.clone()).collect(),
        })
    }
}

impl Handler<FindCall> for Registry {
    type Result = MessageResult<FindCall>;

    fn handle(&mut self, FindCall { call }: FindCall, _: &mut Self::Context) -> Self::Result {
        self.watch.handled();
        let unit = self.known.calls.get(&call);
        MessageResult(unit.map(|unit| -> Addr<Call> { unit.address.clone() }))
    }
}

impl Handler<ListTrunks> for Registry {
    type Result = MessageResult<ListTrunks>;

    fn handle(&mut self, _: ListTrunks, _: &mut Self::Context) -> Self::Result {
        self.watch.handled();
        let report = |spec: &model::TrunkSpec| {
            let unit = self.known.trunks.get(&spec.name);
            let contacts = unit.map(|unit| unit.contacts.as_slice());
            let contacts = contacts.unwrap_or_default().iter();
            let contacts: Vec<String> = contacts.map(|at| at.send_to.to_string()).collect();
            TrunkReport {
                name: spec.name.clone(),
                enabled: spec.enabled,
                up: !contacts.is_empty(),
                blocked: unit.is_some_and(|unit| unit.failures.is_blocked()),
                contacts,
                lines_in_use: self.lines.trunk_in_use(&spec.name),
            }
        };
        let mut trunks: Vec<_> = self.table.trunks().map(report).collect();
        trunks.sort_by(|a, b| a.name.cmp(&b.name));
        MessageResult(trunks)
    }
}

impl Handler<TryRoute> for Registry {
    type Result = Result<RouteReport, NoSuch>;

    fn handle(&mut self, TryRoute(call): TryRoute, _: &mut Self::Context) -> Self::Result {
        self.watch.handled();
        match call.via.clone() {
            Via::Trunk(trunk) => self.try_from_trunk(&trunk, &call).ok_or(NoSuch(call.via)),
            Via::Session(session) => match self.table.session(&session) {
                Some(session) => Ok(self.try_from_session(session, &call.from)),
                None => Err(NoSuch(call.via)),
            },
        }
    }
}

impl Registry {
    /// A PBX calls. Decided as an INVITE is, on lines that are counted and not taken.
    fn try_from_trunk(&self, name: &TrunkName, call: &TryCall) -> Option<RouteReport> {
        let trunk = self.table.trunk(name)?;
        let offer = SipOffer {
            trunk,
            source: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            request_user: &call.to,
            to_user: &call.to,
        };
        let steps = routing::steps_of_sip(&self.table, &self.known, &offer);
        if offer.is_transit(&self.table) {
            let decided = routing::decide_transit(&self.table, &self.known, &offer);
            return Some(match decided {
                Ok(to) => {
                    let report = RouteReport {
                        number: Some(to.number),
                        ..empty(steps)
                    };
                    let party = Party {
                        from: Some(trunk),
                        ..Party::default()
                    };
                    self.hunted(report, to.hunt, &party)
                }
                Err(cause) => refused(empty(steps), &cause),
            });
        }
        Some(
            match routing::decide_sip(&self.table, &self.known, &offer) {
                Ok(to) => {
                    let report = RouteReport {
                        decision: format!("session {} calls {}", to.session.name, to.peer),
                        number: Some(to.peer.to_string()),
                        ..empty(steps)
                    };
                    let user = self.user_of(&to.peer);
                    let report = self.with_user(report, &to.peer, user.as_ref());
                    let party = Party {
                        session: Some(&to.session),
                        from: Some(trunk),
                        user: user.as_ref(),
                    };
                    self.with_lines(report, &party)
                }
                Err(cause) => refused(empty(steps), &cause),
            },
        )
    }

    /// A Telegram user calls.
    fn try_from_session(&self, session: &SessionSpec, from: &str) -> RouteReport {
        let (phone, username) = (from.strip_prefix('+'), from.strip_prefix('@'));
        let caller = CallerIdentity {
            phone,
            username,
            user_id: from.parse().unwrap_or_default(),
            first_name: "",
            last_name: "",
        };
        let steps = routing::steps_of_telegram(&self.table, &self.known, &session.name, &caller);
        let callers = &session.allowed_callers;
        if !callers.is_empty() && !callers.allow(caller.user_id, username, phone) {
            return RouteReport {
                decision: "the call is left to the account's other devices".to_owned(),
                ..empty(steps)
            };
        }
        let offer = TelegramOffer {
            session: &session.name,
            user_id: caller.user_id,
            dialled: None,
        };
        let decided = routing::decide_telegram(&self.table, &self.known, &offer);
        match decided.and_then(|hunt| self.worker_answers().map(|()| hunt)) {
            Ok(hunt) => {
                let user = self.table.user_at(caller.user_id);
                // Telegram always says who calls.
                let peer = match (phone, username) {
                    (Some(phone), _) => format!("+{phone}").parse().map(Peer::Phone).ok(),
                    (None, Some(name)) => Some(Peer::Username(name.to_owned())),
                    (None, None) => Some(Peer::UserId(caller.user_id)),
                };
                let report = match &peer {
                    Some(peer) => self.with_user(empty(steps), peer, user),
                    None => empty(steps),
                };
                let party = Party {
                    session: Some(session),
                    user,
                    ..Party::default()
                };
                self.hunted(report, hunt, &party)
            }
            Err(cause) => refused(empty(steps), &cause),
        }
    }

    /// Whether somebody is a user, who may use so much.
    fn with_user(
        &self,
        mut report: RouteReport,
        peer: &Peer,
        user: Option<&UserSpec>,
    ) -> RouteReport {
        let is_unknown = matches!(peer, Peer::Phone(_) | Peer::Username(_));
        let what = match user {
            Some(user) => format!("user {}: {peer}", user.name),
            None if is_unknown && self.table.users().next().is_some() => format!(
                "whether {peer} is a user, and what he may use, is told when Telegram has said his id: try it with that"
            ),
            None => return report,
        };
        report.steps.push(Step { what, number: None });
        report
    }

    /// The groups that ring one after the other, as far as they can be called now.
    fn hunted(&self, report: RouteReport, mut hunt: Hunt, party: &Party<'_>) -> RouteReport {
        let mut groups = Vec::new();
        while let Some(group) = hunt.next_group() {
            let running = routing::running(&self.table, &self.known, &group);
            let names: Vec<TrunkName> = running.iter().map(|it| it.name.clone()).collect();
            if !names.is_empty() {
                groups.push(names);
            }
        }
        let first: Vec<&TrunkSpec> = groups
            .first()
            .into_iter()
            .flatten()
            .filter_map(|name| self.table.trunk(name))
            .collect();
        let words: Vec<String> = groups.iter().map(|group| words(group)).collect();
        let report = RouteReport {
            decision: format!("rings {}", words.join(", then ")),
            trunks: groups,
            ..report
        };
        let mut report = self.with_lines(report, party);
        if report.refusal.is_none() {
            // A group in which nobody has a line is passed over: it is refused only when that is true of all.
            report.steps.extend(first.iter().map(|trunk| {
                let used = self.lines.trunk_in_use(&trunk.name);
                lines_step("trunk", trunk.name.as_str(), used, trunk.lines)
            }));
            let is_full = |name: &TrunkName| {
                let limit = self.table.trunk(name).map_or(0, |trunk| trunk.lines);
                limit != 0 && self.lines.trunk_in_use(name) >= limit
            };
            if report.trunks.iter().flatten().all(is_full) {
                return refused(report, &Cause::new(Reason::LinesLimit));
            }
        }
        report
    }

    /// Whether the lines can be taken that the call begins with, by taking them of a copy.
    fn with_lines(&self, mut report: RouteReport, party: &Party<'_>) -> RouteReport {
        let Party {
            session,
            from,
            user,
        } = *party;
        let mut lines = self.lines.clone();
        let id = crate::house::call_id();
        let name = session.map(|session| &session.name);
        let own = from.map(|trunk| &trunk.name);
        let subjects = self.subjects_with(own, name, user.map(|user| &user.name));
        let mut quotas = self.counters.quotas.clone();
        let now = crate::house::steady_millis();
        let can_count = self.can_count(&subjects);
        let admitted = can_count.and_then(|()| quotas.admit(now, &subjects));
        report.steps.extend(subjects.iter().map(|(subject, quota)| {
            let usage = quotas.usage(now, subject, quota);
            Step {
                what: format!(
                    "quota {} of {subject}: {} s talked, {} calls failed",
                    quota.name,
                    usage.talked.value / 1000,
                    usage.failed.value
                ),
                number: None,
            }
        }));
        if let Err(cause) = admitted {
            return refused(report, &cause);
        }
        if let Some(session) = session {
            let used = lines.session_in_use(&session.name);
            let step = lines_step("session", session.name.as_str(), used, session.lines);
            report.steps.push(step);
        }
        let mut taken = lines.open(id, name, session.map_or(0, |session| session.lines));
        if let Some(trunk) = from {
            let used = lines.trunk_in_use(&trunk.name);
            let step = lines_step("trunk", trunk.name.as_str(), used, trunk.lines);
            report.steps.push(step);
            taken = taken.and_then(|()| lines.take(id, &trunk.name, trunk.lines));
        }
        if let Some(user) = user {
            let used = lines.user_in_use(&user.name);
            let step = lines_step("user", user.name.as_str(), used, user.lines);
            report.steps.push(step);
            taken = taken.and_then(|()| lines.take_user(id, &user.name, user.lines));
        }
        report.session = name.cloned();
        match taken {
            Ok(()) => report,
            Err(_) => refused(report, &Cause::new(Reason::LinesLimit)),
        }
    }
}

/// Those whose lines and quotas a call begins with.
#[derive(Default, Clone, Copy)]
struct Party<'a> {
    session: Option<&'a SessionSpec>,
    /// The trunk that it comes from.
    from: Option<&'a TrunkSpec>,
    user: Option<&'a UserSpec>,
}

fn lines_step(kind: &str, name: &str, used: u32, limit: u32) -> Step {
    let limit = match limit {
        0 => "no limit".to_owned(),
        limit => format!("of {limit}"),
    };
    Step {
        what: format!("lines of {kind} {name}: {used} in use, {limit}"),
        number: None,
    }
}

fn words(group: &[TrunkName]) -> String {
    let names: Vec<&str> = group.iter().map(TrunkName::as_str).collect();
    names.join(" and ")
}

fn empty(steps: Vec<Step>) -> RouteReport {
    RouteReport {
        steps,
        decision: String::new(),
        session: None,
        trunks: Vec::new(),
        number: None,
        refusal: None,
    }
}

fn refused(report: RouteReport, cause: &Cause) -> RouteReport {
    let (code, phrase) = (cause.code(), cause.phrase().into_owned());
    RouteReport {
        decision: format!("refused with {code} {phrase}"),
        refusal: Some(RefusalReport {
            code,
            phrase,
            cause: cause.name().to_owned(),
            hint: cause.reason().row().hint.to_owned(),
        }),
        trunks: Vec::new(),
        ..report
    }
}
