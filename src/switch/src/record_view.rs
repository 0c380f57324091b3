//! The columns of call records by the names that programs know them by: the same in JSON and in comma-separated values.

use model::{CallRecord, MediaPath, Missing, Side};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::cdr;

/// What a call record says beside its members of old; null is what is not known.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct RecordView {
    /// The call that this one came from; none has one yet.
    pub(crate) parent_id: Option<String>,
    /// The node that had the call.
    pub(crate) node: Option<String>,
    /// `gateway`: the account is of this switch.
    pub(crate) mode: String,
    /// The Telegram user's id.
    pub(crate) tg_user_id: Option<i64>,
    /// His name at Telegram, without `@`.
    pub(crate) tg_username: Option<String>,
    /// His phone number, digits only, where it is known.
    pub(crate) tg_phone: Option<String>,
    /// The address in From of the INVITE.
    pub(crate) sip_from: Option<String>,
    /// The address in To.
    pub(crate) sip_to: Option<String>,
    /// The number that was dialled.
    pub(crate) dialed: String,
    /// The `match` of the route that took the number; null for one that takes every number.
    pub(crate) rule: Option<String>,
    /// When it rang, RFC 3339 in UTC.
    pub(crate) ringing_at: Option<String>,
    /// When it was answered.
    pub(crate) answered_at: Option<String>,
    /// When it was over.
    pub(crate) ended_at: Option<String>,
    /// Post-dial delay: milliseconds from the attempt to the first ringing.
    pub(crate) pdd_ms: Option<u64>,
    /// Seconds from answer to end.
    pub(crate) talk_s: f64,
    /// The side that caused the end: `sip`, `telegram`, `here`.
    pub(crate) side: Option<String>,
    /// The code that tells most of the end: that of the first leg that did not end normally.
    pub(crate) code: Option<u16>,
    /// The name of the cause, as in `docs/errors.md`.
    pub(crate) reason: Option<String>,
    /// The phrase that goes with the code.
    pub(crate) phrase: Option<String>,
    /// Of an answered call: the side that ended it.
    pub(crate) hung_up_by: Option<String>,
    /// The Call-ID of the SIP side.
    pub(crate) sip_call_id: Option<String>,
    /// Where the SIP peer signals from, such as `udp:192.0.2.7:5060`.
    pub(crate) sip_peer: Option<String>,
    /// What the SIP side spoke: `pcma`, `pcmu`, `opus`, `g722`, `l16`.
    pub(crate) codec_sip: Option<String>,
    /// What the Telegram side spoke.
    pub(crate) codec_tg: Option<String>,
    /// The version of Telegram's call library that was agreed on.
    pub(crate) tg_protocol: Option<String>,
    /// How media of the Telegram side went: `direct`, `turn`, `reflector`, `reflector_tcp`.
    pub(crate) tg_path: Option<String>,
    /// The share of packets from the SIP side that were lost, 0 to 1.
    pub(crate) loss_in_sip: Option<f64>,
    /// The share of packets from the Telegram side that were lost.
    pub(crate) loss_in_tg: Option<f64>,
    /// Interarrival jitter of the SIP side at the end (RFC 3550), milliseconds.
    pub(crate) jitter_ms_sip: Option<f64>,
    /// The same of the Telegram side.
    pub(crate) jitter_ms_tg: Option<f64>,
    /// Round trip to the SIP peer by RTCP, milliseconds.
    pub(crate) rtt_ms_sip: Option<f64>,
    /// Round trip to the Telegram peer by the checks of ICE, milliseconds.
    pub(crate) rtt_ms_tg: Option<f64>,
    /// Estimated mean opinion score of what came from the SIP side, 1 to 4.5 (E-model, ITU-T G.107, simplified).
    pub(crate) mos_sip: Option<f64>,
    /// The same of the Telegram side.
    pub(crate) mos_tg: Option<f64>,
    /// Keys that went from one side to the other.
    pub(crate) dtmf_count: u32,
    /// Who was not heard within 5 s after the answer: `sip`, `telegram`, `both`.
    pub(crate) one_way: Option<String>,
    /// The file of the recording; none is made yet.
    pub(crate) recording: Option<String>,
    /// The name of the Telegram error behind the end, such as `USER_PRIVACY_RESTRICTED`.
    pub(crate) error_tg: Option<String>,
}

/// A time in UTC with milliseconds, as in RFC 3339.
pub(crate) fn at(unix_ms: u64) -> String {
    humantime::format_rfc3339_millis(cdr::writable(unix_ms)).to_string()
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The user part of a SIP address; what is none is a number already.
fn user_part(text: &str) -> String {
    let rest = text
        .strip_prefix("sip:")
        .or_else(|| text.strip_prefix("sips:"));
    let Some(rest) = rest else {
        return text.to_owned();
    };
    rest.split_once('@')
        .map_or(String::new(), |(user, _)| user.to_owned())
}

impl From<&CallRecord> for RecordView {
    fn from(record: &CallRecord) -> Self {
        let (sip, telegram) = (&record.details.sip, &record.details.telegram);
        let (sip_sound, telegram_sound) = (sip.quality, telegram.quality);
        let after = |ms: Option<u64>| ms.map(|ms| at(record.started_ms.saturating_add(ms)));
        let leg = cdr::telling(record);
        let side = record.ended_by.map(Side::label).map(str::to_owned);
        let was_answered = record.answered_after_ms.is_some();
        Self {
            parent_id: None,
            node: some(&record.details.node),
            mode: "gateway".to_owned(),
            tg_user_id: telegram.user_id,
            tg_username: telegram.username.clone(),
            tg_phone: telegram.phone.clone(),
            sip_from: some(&sip.from),
            sip_to: some(&sip.to),
            dialed: user_part(&record.to),
            rule: some(&record.details.rule),
            ringing_at: after(record.ringing_after_ms),
            answered_at: after(record.answered_after_ms),
            ended_at: after(record.ended_after_ms),
            pdd_ms: record.ringing_after_ms,
            talk_s: record.talk_seconds(),
            hung_up_by: side.clone().filter(|_| was_answered),
            side,
            code: leg.map(|leg| leg.code),
            reason: leg.map(|leg| leg.reason.clone()),
            phrase: leg.map(|leg| leg.phrase.clone()),
            sip_call_id: some(&sip.call_id),
            sip_peer: some(&sip.peer),
            codec_sip: sip.codec.map(|codec| codec.label().to_owned()),
            codec_tg: telegram.codec.map(|codec| codec.label().to_owned()),
            tg_protocol: telegram.protocol.clone(),
            tg_path: telegram.path.map(MediaPath::label).map(str::to_owned),
            loss_in_sip: sip_sound.loss(),
            loss_in_tg: telegram_sound.loss(),
            jitter_ms_sip: sip_sound.jitter_ms(),
            jitter_ms_tg: telegram_sound.jitter_ms(),
            rtt_ms_sip: sip_sound.rtt_ms(),
            rtt_ms_tg: telegram_sound.rtt_ms(),
            mos_sip: sip_sound.mos(),
            mos_tg: telegram_sound.mos(),
            dtmf_count: record.details.dtmf_count,
            one_way: record
                .details
                .one_way
                .map(Missing::label)
                .map(str::to_owned),
            recording: None,
            error_tg: telegram.error.clone(),
        }
    }
}

/// The columns in the order in which they were promised.
const ORDER: [&str; 44] = [
    "id",
    "parent_id",
    "node",
    "mode",
    "direction",
    "session",
    "trunk",
    "tg_user_id",
    "tg_username",
    "tg_phone",
    "sip_from",
    "sip_to",
    "dialed",
    "rule",
    "started_at",
    "ringing_at",
    "answered_at",
    "ended_at",
    "pdd_ms",
    "talk_s",
    "result",
    "side",
    "code",
    "reason",
    "phrase",
    "hung_up_by",
    "sip_call_id",
    "sip_peer",
    "codec_sip",
    "codec_tg",
    "tg_protocol",
    "tg_path",
    "loss_in_sip",
    "loss_in_tg",
    "jitter_ms_sip",
    "jitter_ms_tg",
    "rtt_ms_sip",
    "rtt_ms_tg",
    "mos_sip",
    "mos_tg",
    "dtmf_count",
    "one_way",
    "recording",
    "error_tg",
];

/// A record as one JSON object: every column by its name, in order, then the other members that it is kept with.
#[derive(Debug)]
pub(crate) struct RecordObject(Map<String, Value>);

impl Serialize for RecordObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = ORDER.iter().filter_map(|name| self.0.get_key_value(*name));
        let others = self
            .0
            .iter()
            .filter(|(name, _)| !ORDER.contains(&name.as_str()));
        serializer.collect_map(columns.chain(others))
    }
}

impl From<&CallRecord> for RecordObject {
    fn from(record: &CallRecord) -> Self {
        let members = |value| match value {
            Ok(Value::Object(members)) => members,
            Ok(_) | Err(_) => Map::new(),
        };
        let mut all = members(serde_json::to_value(record));
        all.remove("details");
        all.insert("started_at".to_owned(), at(record.started_ms).into());
        let result = record.outcome.map(model::Outcome::label);
        all.insert("result".to_owned(), result.into());
        all.extend(members(serde_json::to_value(RecordView::from(record))));
        Self(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_promised_column_is_in_json_and_in_csv() {
        let record = cdr::tests::record(1, "office", 486);
        let object = RecordObject::from(&record);
        let text = serde_json::to_string(&object).unwrap();
        let object = object.0;
        let head: Vec<&str> = cdr::HEAD.split(',').collect();
        let (mut last, mut last_in_json) = (0, 0);
        for name in ORDER {
            assert!(object.contains_key(name), "{name} is not in JSON");
            let at = text.find(&format!("\"{name}\":")).unwrap();
            assert!(at > last_in_json, "{name} is not in its place");
            last_in_json = at;
            let at = head.iter().position(|column| *column == name);
            let at = at.unwrap_or_else(|| panic!("{name} is not in CSV"));
            // Those that were there before the promise stay where they were.
            if at >= 17 {
                assert!(at > last, "{name} is not in its place");
                last = at;
            }
        }
        assert_eq!(object["side"], "sip");
        assert_eq!(object["hung_up_by"], Value::Null, "nobody answered");
        assert_eq!(object["outcome"], "busy", "what was there stays");
    }

    #[test]
    fn what_was_dialled_is_a_number_and_no_address() {
        assert_eq!(user_part("sip:300@192.0.2.7:5060"), "300");
        assert_eq!(user_part("+15550001"), "+15550001");
        assert_eq!(user_part("sip:192.0.2.7"), "");
    }
}
