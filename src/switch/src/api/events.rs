//! Events as they happen: `text/event-stream` of the HTML standard, 9.2.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Bytes, Data, Query};
use actix_web::{HttpRequest, HttpResponse, get};
use actors::{Again, Event, House, Listener, Missed};
use futures_util::stream;
use model::{EventId, EventKind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::access::{Guest, Read};
use super::calls::bare;
use super::house::Process;
use crate::problem::Problem;
use crate::veil::Veil;

/// How many may listen at the same time.
const MOST_LISTENERS: usize = 32;
/// How long a stream may be silent before a line says that it is still there, so that neither end nor a proxy between gives it up.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Says which event somebody had last.
const LAST_EVENT_ID: &str = "last-event-id";

/// Which events are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Kinds of events with commas between them, such as `call.started,call.ended`; all unless said
    types: Option<String>,
}

impl Wanted {
    /// The kinds; nothing for all.
    fn kinds(&self) -> Result<Option<Vec<EventKind>>, Problem> {
        let Some(types) = &self.types else {
            return Ok(None);
        };
        let kinds = types.split(',').map(|kind| kind.trim().parse());
        let kinds: Result<_, model::UnknownEvent> = kinds.collect();
        let kinds = kinds.map_err(|error| Problem::bad_request(error.to_string()))?;
        Ok(Some(kinds))
    }
}

/// An event. What is not known here must be ignored: members are only ever added.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Envelope {
    /// Its id, a ULID.
    pub(crate) id: String,
    /// What kind of event it is, such as `call.ended`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// When it happened, RFC 3339 in UTC.
    pub(crate) at: String,
    /// The node it happened on.
    pub(crate) node: String,
    /// The call it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) call: String,
    /// The trunk it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) trunk: String,
    /// The session it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) session: String,
    /// What else there is to say, as `docs/events.md` has it for each kind.
    pub(crate) data: serde_json::Value,
}

impl Envelope {
    pub(crate) fn of(event: &Event, node: &str, veil: &Veil) -> Self {
        let at = UNIX_EPOCH + Duration::from_millis(event.id.unix_ms());
        Self {
            id: event.id.to_string(),
            kind: event.kind.label().to_owned(),
            at: humantime::format_rfc3339_millis(at).to_string(),
            node: node.to_owned(),
            call: event.call.map(bare).unwrap_or_default(),
            trunk: event.trunk.clone(),
            session: event.session.clone(),
            data: veil.over_data(&event.data),
        }
    }
}

/// How many listen.
#[derive(Default)]
pub(crate) struct Listeners(Arc<AtomicUsize>);

impl Listeners {
    /// A place, if there is one left.
    fn enter(&self, house: &Data<House>) -> Option<Place> {
        let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        let place = Place {
            count: Arc::clone(&self.0),
            house: house.clone(),
        };
        house.metrics().event_listeners(count.min(MOST_LISTENERS));
        (count <= MOST_LISTENERS).then_some(place)
    }
}

/// The place of a listener, which is free again when he has gone.
struct Place {
    count: Arc<AtomicUsize>,
    house: Data<House>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let left = self.count.fetch_sub(1, Ordering::Relaxed) - 1;
        self.house.metrics().event_listeners(left);
    }
}

/// A stream to one listener.
struct Stream {
    listener: Listener,
    kinds: Option<Vec<EventKind>>,
    node: String,
    veil: Veil,
    place: Place,
    guest: Guest,
    /// What somebody who comes back is told first.
    again: VecDeque<Arc<Event>>,
    state: State,
}

/// How far it has come.
enum State {
    /// Nothing has been said yet; of somebody who comes back, how many events he may have missed.
    Fresh(Option<u64>),
    /// Events are told.
    Open,
    /// The last word is said.
    Over,
}

impl Stream {
    /// What is to be sent next.
    async fn next(mut self) -> Option<(Result<Bytes, actix_web::Error>, Self)> {
        match self.state {
            State::Fresh(missed) => {
                // The answer is seen before anything happens.
                self.state = State::Open;
                let text = match missed {
                    None => ": listening\n\n".to_owned(),
                    Some(missed) => format!(
                        ": listening\n: the last event is not known any more, of this run of the switch up to {missed} events may be missing\n\n"
                    ),
                };
                return Some((Ok(Bytes::from(text)), self));
            }
            State::Open => {}
            State::Over => return None,
        }
        while let Some(event) = self.again.pop_front() {
            if let Some(text) = self.written(&event).filter(|_| self.guest.may_stay()) {
                return Some((Ok(Bytes::from(text)), self));
            }
        }
        loop {
            let text = match tokio::time::timeout(HEARTBEAT, self.listener.next()).await {
                Err(_) => ":\n\n".to_owned(),
                Ok(None) => return None,
                Ok(Some(Err(Missed(missed)))) => {
                    self.state = State::Over;
                    self.place.house.metrics().event_listener_dropped();
                    tracing::warn!(missed, "a listener to events is too slow and is left");
                    format!(": too slow, {missed} events were missed; ask again\n\n")
                }
                Ok(Some(Ok(event))) => match self.written(&event) {
                    Some(text) => text,
                    None => continue,
                },
            };
            if !self.guest.may_stay() {
                self.state = State::Over;
                let text = ": the token was revoked\n\n";
                return Some((Ok(Bytes::from(text)), self));
            }
            return Some((Ok(Bytes::from(text)), self));
        }
    }

    /// An event as it is sent, if it is wanted. JSON has no line breaks, so that it is one line.
    fn written(&self, event: &Event) -> Option<String> {
        let kinds = self.kinds.as_ref();
        if kinds.is_some_and(|kinds| !kinds.contains(&event.kind)) {
            return None;
        }
        let envelope = Envelope::of(event, &self.node, &self.veil);
        let data = serde_json::to_string(&envelope).ok()?;
        let (id, kind) = (&envelope.id, &envelope.kind);
        Some(format!("id: {id}\nevent: {kind}\ndata: {data}\n\n"))
    }
}

/// The event that somebody had last who comes back; browsers say so by themselves (HTML standard, 9.2.4).
fn last_event(request: &HttpRequest) -> Result<Option<EventId>, Problem> {
    let Some(header) = request.headers().get(LAST_EVENT_ID) else {
        return Ok(None);
    };
    let id = header.to_str().ok().and_then(|text| text.parse().ok());
    let strange = || Problem::bad_request("`Last-Event-ID` is the id of an event");
    id.map(Some).ok_or_else(strange)
}

/// Events as they happen: server-sent events, each with an envelope as its data. With the header `Last-Event-ID`, first those behind that one, of the last 1,024
#[utoipa::path(tag = "events", params(Wanted), security(("token" = ["read"])),
    responses((status = 200, description = "`text/event-stream`: the data of each event is one envelope", content_type = "text/event-stream", body = Envelope), (status = 400, body = crate::problem::Body), (status = 503, body = crate::problem::Body)))]
#[get("/events")]
pub(super) async fn listen(
    _: Read,
    house: Data<House>,
    process: Data<Process>,
    listeners: Data<Listeners>,
    veil: Data<Veil>,
    wanted: Query<Wanted>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let kinds = wanted.kinds()?;
    let last = last_event(&request)?;
    let place = listeners.enter(&house).ok_or_else(|| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_listeners",
            format!("{MOST_LISTENERS} listen already"),
            "close streams that nobody reads",
        )
    })?;
    let (again, listener) = if let Some(last) = last {
        house.listen_behind(last)
    } else {
        (Again::default(), house.listen())
    };
    let stream = Stream {
        listener,
        again: again.events.into(),
        kinds,
        node: process.node.clone(),
        veil: (**veil).clone(),
        place,
        guest: Guest::of(&request),
        state: State::Fresh(again.missed),
    };
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(stream::unfold(stream, Stream::next)))
}
