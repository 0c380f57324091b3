//! What an owner does with calls: he orders them, presses keys in them, holds and transfers them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, LOCATION};
use actix_web::web::{Data, Json, Path};
use actix_web::{HttpRequest, HttpResponse, post};
use actors::{CallOrder, DialOrder, House, Ordered};
use model::{CallId, Cause, Key, LegId, Peer};
use serde::{Deserialize, Serialize};
use store::Store;
use utoipa::ToSchema;

use super::BASE;
use super::access::Calls;
use super::calls::{bare, from_store, id};
use crate::problem::Problem;

/// How long an order is remembered that may be repeated.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// How many of them; the oldest is forgotten then.
const MOST_ORDERS: usize = 1024;
/// The longest `Idempotency-Key`, octets.
const LONGEST_KEY: usize = 255;

/// A call that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedDial {
    /// The session that calls the Telegram user.
    pub(crate) session: String,
    /// The Telegram user, who is called first: `@username`, `+phone`, or the id of somebody whom the account has met.
    pub(crate) to: String,
    /// The trunk by which the number is called when he has answered; it must belong to the session by a route.
    pub(crate) trunk: String,
    /// The number. The dial rules of the trunk rewrite it, if it has any.
    pub(crate) number: String,
}

/// A call that is under way.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Dialling {
    /// Its id, a ULID: `GET /calls/{id}` says how it goes, and later `GET /cdr/{id}` how it went.
    pub(crate) id: String,
}

/// An order that carried a key.
struct Kept {
    at: Instant,
    wanted: WantedDial,
    id: CallId,
    /// The switch has said that the call is under way.
    is_placed: bool,
}

/// Orders that may be repeated by whoever has not heard the answer, by their `Idempotency-Key`.
#[derive(Default)]
pub(crate) struct Orders(Mutex<HashMap<String, Kept>>);

impl Orders {
    /// The id under which this order is given, that of the first time or `fresh`, and whether it is carried out already. Refused is another order
    /// under the same key.
    fn claim(
        &self,
        now: Instant,
        key: &str,
        wanted: &WantedDial,
        fresh: CallId,
    ) -> Result<(CallId, bool), Problem> {
        let mut orders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = orders.get(key) {
            if now.saturating_duration_since(kept.at) >= REMEMBERED {
                orders.remove(key);
            } else if kept.wanted == *wanted {
                return Ok((kept.id, kept.is_placed));
            } else {
                return Err(Problem::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "idempotency_key_reused",
                    "this Idempotency-Key was sent with another order",
                    "send a fresh key with each order, and the same one only to repeat it",
                ));
            }
        }
        if orders.len() >= MOST_ORDERS {
            let oldest = orders.iter().min_by_key(|(_, kept)| kept.at);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                orders.remove(&oldest);
            }
        }
        let kept = Kept {
            at: now,
            wanted: wanted.clone(),
            id: fresh,
            is_placed: false,
        };
        orders.insert(key.to_owned(), kept);
        Ok((fresh, false))
    }

    /// The order is carried out: whoever repeats it is told so.
    fn placed(&self, key: &str) {
        let mut orders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = orders.get_mut(key) {
            kept.is_placed = true;
        }
    }

    /// What was refused may be ordered again.
    fn forget(&self, key: &str) {
        let mut orders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        orders.remove(key);
    }
}

/// The key of a request that may be repeated.
fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default().trim();
    if (1..=LONGEST_KEY).contains(&key.len()) {
        Ok(Some(key.to_owned()))
    } else {
        let what = "Idempotency-Key has 1 to 255 characters of ASCII";
        Err(Problem::bad_request(what))
    }
}

/// A refusal of the switch, in the words that a PBX would hear.
fn refused(cause: &Cause) -> Problem {
    let row = cause.reason().row();
    let said = format!("{} {}", cause.code(), cause.phrase());
    Problem::new(StatusCode::CONFLICT, row.name, said, row.hint)
}

fn order(wanted: &WantedDial) -> Result<DialOrder, Problem> {
    let peer = Peer::from_written(&wanted.to).map_err(|_| {
        let what = "`to` is @username, +phone or a user id";
        Problem::bad_request(what)
    })?;
    let session = wanted.session.parse();
    let trunk = wanted.trunk.parse();
    Ok(DialOrder {
        session: session.map_err(|_| Problem::not_found("session", &wanted.session))?,
        peer,
        trunk: trunk.map_err(|_| Problem::not_found("trunk", &wanted.trunk))?,
        number: wanted.number.clone(),
    })
}

/// Calls a Telegram user, and when he has answered a number, and joins the two
#[utoipa::path(tag = "calls", request_body = WantedDial,
    params(("Idempotency-Key" = Option<String>, Header, description = "the same order with the same key within a day is carried out once; the last 1,024 keys are remembered, until the switch ends")),
    security(("token" = ["calls"])),
    responses((status = 202, body = Dialling), (status = 404, body = crate::problem::Body), (status = 409, description = "refused, with the cause of `docs/errors.md`", body = crate::problem::Body)))]
#[post("/calls")]
pub(super) async fn dial(
    _: Calls,
    request: HttpRequest,
    house: Data<House>,
    orders: Data<Orders>,
    store: Data<dyn Store>,
    wanted: Json<WantedDial>,
) -> Result<HttpResponse, Problem> {
    let key = key(request.headers())?;
    let order = order(&wanted)?;
    let silent = || Problem::busy(actors::SILENT);
    let sessions = house.sessions().await.ok_or_else(silent)?;
    if !sessions.iter().any(|it| it.spec.name == order.session) {
        return Err(Problem::not_found("session", &wanted.session));
    }
    let trunks = house.trunks().await.ok_or_else(silent)?;
    if !trunks.iter().any(|it| it.name == order.trunk) {
        return Err(Problem::not_found("trunk", &wanted.trunk));
    }
    let fresh = house.new_call();
    let (id, is_placed) = match &key {
        Some(key) => orders.claim(Instant::now(), key, &wanted, fresh)?,
        None => (fresh, false),
    };
    // The answer of the first time may have come too late, and the call may be over by now. One that goes on is not placed twice.
    let is_placed = is_placed
        || id != fresh
            && from_store(store, move |store| store.call(id))
                .await?
                .is_some();
    if !is_placed {
        match (house.dial(id, order).await, &key) {
            (Some(Ok(())), Some(key)) => orders.placed(key),
            (Some(Ok(())), None) => {}
            (Some(Err(cause)), key) => {
                if let Some(key) = key {
                    orders.forget(key);
                }
                return Err(refused(&cause));
            }
            (None, _) => return Err(silent()),
        }
    }
    let id = bare(id);
    Ok(HttpResponse::Accepted()
        .insert_header((LOCATION, format!("{BASE}/calls/{id}")))
        .json(Dialling { id }))
}

/// Keys that are to be pressed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedKeys {
    /// `0-9`, `*`, `#`, `A-D`; a comma waits a second. Up to 32.
    pub(crate) digits: String,
    /// Which leg, counted from 0; unless said that of the PBX, of two the one that was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) leg: Option<u16>,
}

/// A hold that is wanted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedHold {
    /// Whether the PBX is to be held, or let go on.
    pub(crate) on: bool,
}

/// A transfer that is wanted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedTransfer {
    /// The number of the same trunk that takes the place of the PBX's leg.
    pub(crate) to: String,
}

async fn give(house: &House, name: &str, order: CallOrder) -> Result<HttpResponse, Problem> {
    match house.order_call(id(name)?, order).await {
        Some(Ordered::Done) => Ok(HttpResponse::Accepted().finish()),
        Some(Ordered::NotNow(why)) => Err(Problem::new(
            StatusCode::CONFLICT,
            "not_now",
            why,
            "see `strowger calls show` for how the call is",
        )),
        Some(Ordered::Refused(cause)) => Err(refused(&cause)),
        None => Err(Problem::not_found("call", name)),
    }
}

/// Presses keys in the PBX
#[utoipa::path(tag = "calls", params(("id" = String, Path, description = "its id")), request_body = WantedKeys, security(("token" = ["calls"])),
    responses((status = 202), (status = 404, body = crate::problem::Body), (status = 409, body = crate::problem::Body)))]
#[post("/calls/{id}/dtmf")]
pub(super) async fn press(
    _: Calls,
    house: Data<House>,
    name: Path<String>,
    wanted: Json<WantedKeys>,
) -> Result<HttpResponse, Problem> {
    let keys = Key::read(&wanted.digits);
    let keys = keys.ok_or_else(|| {
        Problem::bad_request(
            "`digits` are up to 32 of 0-9, *, #, A-D and the comma, one of them no comma",
        )
    })?;
    let leg = wanted.leg.map(LegId);
    give(&house, &name, CallOrder::Press { leg, keys }).await
}

/// Holds the PBX, or lets it go on: while it is held nobody hears anybody
#[utoipa::path(tag = "calls", params(("id" = String, Path, description = "its id")), request_body = WantedHold, security(("token" = ["calls"])),
    responses((status = 202), (status = 404, body = crate::problem::Body), (status = 409, body = crate::problem::Body)))]
#[post("/calls/{id}/hold")]
pub(super) async fn hold(
    _: Calls,
    house: Data<House>,
    name: Path<String>,
    wanted: Json<WantedHold>,
) -> Result<HttpResponse, Problem> {
    give(&house, &name, CallOrder::Hold { on: wanted.on }).await
}

/// Lets another number of the same trunk take the place of the PBX's leg, when it has answered
#[utoipa::path(tag = "calls", params(("id" = String, Path, description = "its id")), request_body = WantedTransfer, security(("token" = ["calls"])),
    responses((status = 202), (status = 404, body = crate::problem::Body), (status = 409, body = crate::problem::Body)))]
#[post("/calls/{id}/transfer")]
pub(super) async fn transfer(
    _: Calls,
    house: Data<House>,
    name: Path<String>,
    wanted: Json<WantedTransfer>,
) -> Result<HttpResponse, Problem> {
    let number = wanted.into_inner().to;
    give(&house, &name, CallOrder::Transfer { number }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(number: &str) -> WantedDial {
        WantedDial {
            session: "gateway".to_owned(),
            to: "@alice".to_owned(),
            trunk: "office".to_owned(),
            number: number.to_owned(),
        }
    }

    #[test]
    fn an_order_that_is_repeated_is_the_same_for_a_day() {
        let (orders, now) = (Orders::default(), Instant::now());
        let (first, second) = (CallId::new(1, 1), CallId::new(2, 2));
        let claim = |at, key: &str, number: &str, fresh| {
            let claimed = orders.claim(at, key, &wanted(number), fresh);
            claimed.map_err(|problem| problem.status())
        };
        assert_eq!(claim(now, "a", "600", first), Ok((first, false)));
        assert_eq!(claim(now, "a", "600", second), Ok((first, false)));
        orders.placed("a");
        assert_eq!(claim(now, "a", "600", second), Ok((first, true)));
        assert_eq!(claim(now, "b", "600", second), Ok((second, false)));
        assert_eq!(claim(now, "a", "601", second), Err(422));
        orders.forget("a");
        assert_eq!(claim(now, "a", "601", second), Ok((second, false)));
        let late = claim(now + REMEMBERED, "b", "602", first);
        assert_eq!(late, Ok((first, false)));
    }

    #[test]
    fn orders_that_are_remembered_are_bounded() {
        let (orders, now) = (Orders::default(), Instant::now());
        for n in 0..3000_u64 {
            let at = now + Duration::from_millis(n);
            let id = CallId::new(n, 0);
            let claimed = orders.claim(at, &n.to_string(), &wanted("600"), id);
            assert_eq!(claimed.unwrap(), (id, false));
        }
        let kept = orders.0.lock().unwrap();
        assert_eq!(kept.len(), MOST_ORDERS);
        assert!(kept.contains_key("2999") && !kept.contains_key("0"));
    }
}
