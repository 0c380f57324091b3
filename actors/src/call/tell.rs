//! What a call tells those who listen to events.

use model::{CallRecord, Direction, EventKind, MediaPath, Missing, Outcome, Side};
use serde_json::{Value, json};

use super::Call;
use crate::events::{About, Events};
use crate::house::LegSound;

impl Call {
    /// Tells that something has happened in this call.
    pub(super) fn tell(&self, kind: EventKind) {
        tell(&self.common.events, kind, &self.record, || {
            data(&self.record)
        });
    }

    /// Tells that an owner holds it, or does no more.
    pub(super) fn tell_held(&self, on: bool) {
        tell(
            &self.common.events,
            EventKind::CallHeld,
            &self.record,
            || {
                let mut data = data(&self.record);
                if let Value::Object(members) = &mut data {
                    members.insert("on".to_owned(), on.into());
                }
                data
            },
        );
    }
}

impl Call {
    /// Tells how the legs sounded in the last 10 s.
    pub(super) fn tell_quality(&self, legs: &[LegSound]) {
        tell(
            &self.common.events,
            EventKind::CallQuality,
            &self.record,
            || {
                let one_way = self.record.details.one_way.map(Missing::label);
                json!({"legs": legs.iter().map(sound).collect::<Vec<_>>(), "one_way": one_way})
            },
        );
    }
}

/// How a leg sounded; null is what was not measured.
fn sound(leg: &LegSound) -> Value {
    json!({
        "leg": leg.leg.0,
        "kind": leg.kind.label(),
        "via": leg.via,
        "codec": leg.codec.label(),
        "path": leg.path.map(MediaPath::label),
        "loss": leg.quality.loss(),
        "jitter_ms": leg.quality.jitter_ms(),
        "rtt_ms": leg.quality.rtt_ms(),
        "mos": leg.quality.mos(),
    })
}

fn tell(events: &Events, kind: EventKind, record: &CallRecord, data: impl FnOnce() -> Value) {
    let about = About {
        call: Some(record.id),
        trunk: &record.trunk,
        session: &record.session,
    };
    events.tell(kind, about, data);
}

/// Tells that an attempt is over that is no call any more, or was refused before it was one.
pub(crate) fn tell_over(events: &Events, record: &CallRecord) {
    tell(events, EventKind::CallEnded, record, || data(record));
}

/// What is known of a call so far; what is not known yet is absent.
fn data(record: &CallRecord) -> Value {
    let mut data = json!({
        "direction": record.direction.label(),
        "from": record.from,
        "to": record.to,
        "started_ms": record.started_ms,
    });
    if let Value::Object(members) = &mut data {
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        };
        let to_trunk = (record.direction == Direction::SipToSip).then(|| record.to_trunk.clone());
        put("to_trunk", to_trunk.map(Value::from));
        put("ringing_after_ms", record.ringing_after_ms.map(Value::from));
        put(
            "answered_after_ms",
            record.answered_after_ms.map(Value::from),
        );
        put("ended_after_ms", record.ended_after_ms.map(Value::from));
        put(
            "result",
            record.outcome.map(Outcome::label).map(Value::from),
        );
        put(
            "ended_by",
            record.ended_by.map(Side::label).map(Value::from),
        );
        let legs = record.legs.iter().map(|leg| {
            json!({"via": leg.via, "code": leg.code, "phrase": leg.phrase, "cause": leg.reason})
        });
        let legs: Vec<Value> = legs.collect();
        put("legs", (!legs.is_empty()).then_some(legs.into()));
    }
    data
}
