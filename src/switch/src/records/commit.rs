//! The one way in which records change, whoever asks for it: the command line, the HTTP interface, a file.
//!
//! A commit is checked as a whole against everything there is, then it is made as a whole, or not at all, and raises the generation by one.

use model::{
    QuotaError, QuotaName, RouteTerms, SessionName, SpecError, TermsError, TransitSpec, TrunkName,
    TrunkSpec, UserError, UserName, WebhookError, WorkerName,
};
use routing::{Conflict, DialPlan, DialPlanError, Table};
use store::{Change, Space, Store, StoreError};

use super::{Current, MOST_WEBHOOKS};

/// Why a commit is refused; nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The store has another generation by now, lacks what is to be removed, or does not work.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A trunk that could not work.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Rules that cannot be used.
    #[error("trunk {1}: {0}: {2}")]
    Rules(&'static str, TrunkName, DialPlanError),
    /// Terms that the route cannot have.
    #[error("route {0}: {1}")]
    Terms(String, TermsError),
    /// Rules of a route that cannot be used.
    #[error("route {0}: {1}: {2}")]
    RouteRules(String, &'static str, DialPlanError),
    /// Records that do not fit together.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// A way that begins or ends nowhere.
    #[error("the way from trunk {0} to trunk {1} needs both of them: make the missing one first")]
    NoWay(TrunkName, TrunkName),
    /// Nobody would carry its calls.
    #[error("trunk {0}: there is no worker {1}: write `auto`, or `local` for this switch")]
    NoWorker(TrunkName, WorkerName),
    /// A way that leads nowhere else.
    #[error("trunk {0} has no way to itself")]
    Circle(TrunkName),
    /// A user that cannot be.
    #[error(transparent)]
    User(#[from] UserError),
    /// A webhook that could not work.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// Each may take threads and a part of the queue.
    #[error("there are {MOST_WEBHOOKS} webhooks already: remove one that nobody needs")]
    ManyWebhooks,
    /// Nobody could tell whose line it is.
    #[error("users {0} and {1} are the same person: both have the telegram_id {2}")]
    SameUser(UserName, UserName, i64),
    /// A profile that could not work.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// Somebody has a profile that is not there.
    #[error("{0} has the quota {1}, which does not exist: make it, or give {0} another one")]
    NoQuota(String, QuotaName),
    /// Its connection would write its keys again.
    #[error(
        "session {0} is connected: switch it off with `strowger session disable {0}`, and remove it when its last call has ended"
    )]
    Connected(SessionName),
}

impl Refusal {
    /// Whether the records asked for are at fault, and no other time would be better.
    pub(crate) fn is_invalid(&self) -> bool {
        match self {
            Refusal::Spec(_)
            | Refusal::Rules(..)
            | Refusal::Terms(..)
            | Refusal::RouteRules(..)
            | Refusal::Conflict(_)
            | Refusal::NoWay(..)
            | Refusal::NoWorker(..)
            | Refusal::User(_)
            | Refusal::SameUser(..)
            | Refusal::Webhook(_)
            | Refusal::ManyWebhooks
            | Refusal::Quota(_)
            | Refusal::NoQuota(..)
            | Refusal::Circle(_) => true,
            Refusal::Store(_) | Refusal::Connected(_) => false,
        }
    }
}

/// What there will be after the changes, if they can be made. Costs what they touch: everything else is shared with what there was.
pub(crate) fn revise(before: &Table, changes: &[Change]) -> Result<Table, Refusal> {
    let mut next = before.clone();
    for change in changes {
        make(&mut next, change)?;
    }
    for change in changes {
        complete(&next, change)?;
    }
    routing::check(before, &next)?;
    Ok(next)
}

fn check_terms(
    terms: &RouteTerms,
    checked: Result<(), TermsError>,
    route: impl Fn() -> String,
) -> Result<(), Refusal> {
    checked.map_err(|error| Refusal::Terms(route(), error))?;
    for (key, rules) in terms.dial_rules() {
        DialPlan::new(rules).map_err(|error| Refusal::RouteRules(route(), key, error))?;
    }
    Ok(())
}

/// Makes one change, if it makes sense by itself.
fn make(next: &mut Table, change: &Change) -> Result<(), Refusal> {
    let was_there = |is_there, kind, name: String| {
        let missing = StoreError::Missing { kind, name };
        if is_there {
            Ok(())
        } else {
            Err(missing.into())
        }
    };
    match change {
        Change::PutTrunk(spec) => {
            spec.check()?;
            if let Some(worker) = spec.worker.missing() {
                return Err(Refusal::NoWorker(spec.name.clone(), worker.clone()));
            }
            DialPlan::check(&spec.inbound_rules)
                .map_err(|error| Refusal::Rules("inbound_rules", spec.name.clone(), error))?;
            DialPlan::check(&spec.dial_rules)
                .map_err(|error| Refusal::Rules("dial_rules", spec.name.clone(), error))?;
            next.put_trunk((**spec).clone());
        }
        Change::RemoveTrunk(name) => {
            return was_there(next.remove_trunk(name), "trunk", name.to_string());
        }
        Change::PutSession(spec) => next.put_session(spec.clone()),
        Change::RemoveSession(name) => {
            return was_there(next.remove_session(name), "session", name.to_string());
        }
        Change::PutRoute(spec) => {
            let route = || format!("{} {}", spec.trunk, spec.session);
            check_terms(&spec.terms, spec.terms.check_to_session(), route)?;
            next.put_route(spec.clone());
        }
        Change::RemoveRoute(trunk, session) => {
            let gone = next.remove_route(trunk, session);
            return was_there(gone, "route", format!("{trunk} {session}"));
        }
        Change::PutTransit(spec) => {
            if spec.trunk == spec.to {
                return Err(Refusal::Circle(spec.to.clone()));
            }
            let route = || format!("{} --to {}", spec.trunk, spec.to);
            check_terms(&spec.terms, spec.terms.check_to_trunk(), route)?;
            next.put_transit(spec.clone());
        }
        // Whether it came from a backup is the store's to know.
        Change::AdoptSession(_) => {}
        Change::PutQuota(spec) => {
            spec.check()?;
            next.put_quota(spec.clone());
        }
        Change::PutRole(spec) => next.put_role(*spec),
        Change::PutUser(spec) => {
            spec.check()?;
            next.put_user(spec.clone());
        }
        Change::PutWebhook(spec) => {
            spec.check()?;
            next.put_webhook((**spec).clone());
            if next.webhooks().count() > MOST_WEBHOOKS {
                return Err(Refusal::ManyWebhooks);
            }
        }
        Change::RemoveWebhook(name) => {
            return was_there(next.remove_webhook(name), "webhook", name.to_string());
        }
        Change::RemoveUser(name) => {
            return was_there(next.remove_user(name), "user", name.to_string());
        }
        Change::RemoveQuota(name) => {
            return was_there(next.remove_quota(name), "quota", name.to_string());
        }
        Change::RemoveTransit(trunk, to) => {
            let gone = next.remove_transit(trunk, to);
            return was_there(gone, "route", format!("{trunk} --to {to}"));
        }
    }
    Ok(())
}

/// Whether a change leaves nobody in the end who needs what is not there.
fn complete(next: &Table, change: &Change) -> Result<(), Refusal> {
    let ends_nowhere = |way: &&TransitSpec| {
        let ends = [&way.trunk, &way.to];
        ends.into_iter().any(|end| next.trunk(end).is_none())
    };
    let no_way = |way: Option<&TransitSpec>| match way {
        Some(way) => Err(Refusal::NoWay(way.trunk.clone(), way.to.clone())),
        None => Ok(()),
    };
    let has_quota = |who: String, quota: Option<&QuotaName>| match quota {
        Some(quota) if next.quota(quota).is_none() => Err(Refusal::NoQuota(who, quota.clone())),
        Some(_) | None => Ok(()),
    };
    match change {
        Change::PutTrunk(spec) => has_quota(format!("trunk {}", spec.name), spec.quota.as_ref()),
        Change::PutSession(spec) => {
            has_quota(format!("session {}", spec.name), spec.quota.as_ref())
        }
        Change::PutRoute(spec) => {
            let who = format!("route {} {}", spec.trunk, spec.session);
            has_quota(who, spec.terms.quota.as_ref())
        }
        Change::PutTransit(spec) => {
            no_way(Some(spec).filter(ends_nowhere))?;
            let who = format!("route {} --to {}", spec.trunk, spec.to);
            has_quota(who, spec.terms.quota.as_ref())
        }
        Change::PutUser(spec) => {
            if let Some(other) = next.same_user(spec) {
                let (one, two) = (other.clone(), spec.name.clone());
                return Err(Refusal::SameUser(one, two, spec.telegram_id));
            }
            has_quota(format!("user {}", spec.name), spec.quota.as_ref())
        }
        Change::RemoveTrunk(name) => no_way(next.ways_at(name).find(ends_nowhere)),
        Change::RemoveQuota(gone) => {
            let trunks = next.trunks();
            for trunk in trunks.filter(|trunk| trunk.quota.as_ref() == Some(gone)) {
                has_quota(format!("trunk {}", trunk.name), Some(gone))?;
            }
            let sessions = next.sessions();
            for session in sessions.filter(|session| session.quota.as_ref() == Some(gone)) {
                has_quota(format!("session {}", session.name), Some(gone))?;
            }
            let users = next.users();
            for user in users.filter(|user| user.quota.as_ref() == Some(gone)) {
                has_quota(format!("user {}", user.name), Some(gone))?;
            }
            let has = |terms: &RouteTerms| terms.quota.as_ref() == Some(gone);
            for route in next.routes().filter(|route| has(&route.terms)) {
                let who = format!("route {} {}", route.trunk, route.session);
                has_quota(who, Some(gone))?;
            }
            for way in next.transits().filter(|way| has(&way.terms)) {
                has_quota(format!("route {} --to {}", way.trunk, way.to), Some(gone))?;
            }
            Ok(())
        }
        Change::RemoveSession(_)
        | Change::AdoptSession(_)
        | Change::RemoveRoute(..)
        | Change::PutRole(_)
        | Change::RemoveUser(_)
        | Change::PutWebhook(_)
        | Change::RemoveWebhook(_)
        | Change::RemoveTransit(..)
        | Change::PutQuota(_) => Ok(()),
    }
}

/// The same of records that are read and written whole.
fn after(current: &Current, changes: &[Change]) -> Result<Current, Refusal> {
    let next = revise(&current.table(), changes)?;
    Ok(Current::of(&next, current.generation + 1))
}

/// Makes the changes in a store that no switch runs on; returns the new generation.
pub(crate) fn commit(
    store: &dyn Store,
    expected: Option<u64>,
    changes: &[Change],
) -> Result<u64, Refusal> {
    let current = Current::read(store)?;
    after(&current, changes)?;
    let generation = store.commit(expected.or(Some(current.generation)), changes)?;
    // Whoever registered as somebody else, or with another password, is not this PBX.
    for trunk in changes.iter().filter_map(|change| match change {
        Change::PutTrunk(spec) => Some(&**spec),
        _ => None,
    }) {
        if current.trunk(&trunk.name).is_some_and(is_another(trunk)) {
            store.remove(Space::Bindings, trunk.name.as_str().as_bytes())?;
            store.flush()?;
        }
    }
    Ok(generation)
}

fn is_another(new: &TrunkSpec) -> impl Fn(&TrunkSpec) -> bool {
    |old| old.kind != new.kind
}

#[cfg(test)]
mod tests {
    use model::{QuotaSpec, RouteSpec, SessionSpec, TrunkKind};

    use super::*;

    fn peer(name: &str, address: &str) -> Change {
        let address = address.parse().unwrap();
        let name = name.parse().unwrap();
        Change::PutTrunk(Box::new(TrunkSpec::new(name, TrunkKind::Peer { address })))
    }

    fn session(name: &str) -> Change {
        Change::PutSession(SessionSpec::new(name.parse().unwrap()))
    }

    fn route(trunk: &str, session: &str) -> Change {
        Change::PutRoute(RouteSpec {
            trunk: trunk.parse().unwrap(),
            session: session.parse().unwrap(),
            priority: 100,
            terms: model::RouteTerms::default(),
        })
    }

    fn said(current: &Current, change: Change) -> String {
        after(current, &[change]).unwrap_err().to_string()
    }

    #[test]
    fn a_commit_is_checked_as_a_whole_and_in_the_end_alone() {
        let changes = [
            route("office", "gateway"),
            session("gateway"),
            peer("office", "192.0.2.1:5060"),
        ];
        let made = after(&Current::default(), &changes).unwrap();
        assert_eq!((made.generation, made.trunks.len()), (1, 1));
        let same = peer("branch", "192.0.2.1:5060");
        assert!(said(&made, same).contains("same address"));
        assert!(said(&made, route("branch", "gateway")).contains("does not exist"));
        let gone = Change::RemoveTrunk("office".parse().unwrap());
        assert!(said(&made, gone).contains("does not exist"), "its route");
        let way = |to: &str| {
            Change::PutTransit(TransitSpec {
                trunk: "office".parse().unwrap(),
                to: to.parse().unwrap(),
                priority: 1,
                terms: model::RouteTerms::default(),
            })
        };
        assert!(said(&made, way("office")).contains("itself"));
        assert!(said(&made, way("branch")).contains("both"));
        let changes = made.remove_trunk(&"office".parse().unwrap());
        assert!(after(&made, &changes).unwrap().routes.is_empty());
    }

    #[test]
    fn a_profile_must_be_there_for_those_who_have_it() {
        let small: QuotaName = "small".parse().unwrap();
        let with_quota = Change::PutSession(SessionSpec {
            quota: Some(small.clone()),
            ..SessionSpec::new("gateway".parse().unwrap())
        });
        let refused = said(&Current::default(), with_quota.clone());
        assert!(
            refused.contains("session gateway has the quota small"),
            "{refused}"
        );
        let changes = [with_quota, Change::PutQuota(QuotaSpec::new(small.clone()))];
        let made = after(&Current::default(), &changes).unwrap();
        let refused = said(&made, Change::RemoveQuota(small.clone()));
        assert!(refused.contains("does not exist"), "{refused}");
        assert!(after(&made, &[session("gateway"), Change::RemoveQuota(small)]).is_ok());
    }

    #[test]
    fn a_trunk_names_a_worker_that_is_there() {
        let with = |worker: &str| {
            let Change::PutTrunk(mut spec) = peer("office", "192.0.2.1:5060") else {
                unreachable!()
            };
            spec.worker = worker.parse().unwrap();
            Change::PutTrunk(spec)
        };
        for fine in ["auto", "local"] {
            assert!(after(&Current::default(), &[with(fine)]).is_ok(), "{fine}");
        }
        let refused = said(&Current::default(), with("far"));
        assert!(refused.contains("there is no worker far"), "{refused}");
    }

    #[test]
    fn an_old_conflict_can_be_mended() {
        let mut old = Current::default();
        for name in ["one", "two"] {
            let Change::PutTrunk(spec) = peer(name, "192.0.2.1:5060") else {
                unreachable!()
            };
            old.trunks.push(*spec);
        }
        assert!(after(&old, &[session("gateway")]).is_ok());
        assert!(after(&old, &[peer("two", "192.0.2.2:5060")]).is_ok());
    }
}
