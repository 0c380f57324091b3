//! Call records as owners look for them: which ones, and the columns in which spreadsheets read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::{CallId, CallRecord, Direction, Outcome, Side};
use store::{Store, StoreError, Unreadable};

use crate::record_view::{self, RecordView};
use crate::veil::Veil;

/// How many records are read at once.
const AT_ONCE: usize = 500;
/// How many are looked at for one answer; the rest is for the next page.
const MOST_LOOKED_AT: usize = 20_000;

/// Which records are wanted, as they are asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words {
    pub(crate) since: Option<String>,
    pub(crate) until: Option<String>,
    pub(crate) trunk: Option<String>,
    pub(crate) session: Option<String>,
    pub(crate) code: Option<u16>,
    pub(crate) number: Option<String>,
    pub(crate) direction: Option<String>,
    pub(crate) result: Option<String>,
}

/// Which records are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Milliseconds since 1970; what began before is not wanted.
    since: Option<u64>,
    /// The same for what began then, or later.
    until: Option<u64>,
    trunk: Option<String>,
    session: Option<String>,
    code: Option<u16>,
    number: Option<String>,
    direction: Option<Direction>,
    result: Option<Outcome>,
}

/// A word that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is {1}")]
pub(crate) struct Strange(String, &'static str);

/// A time as in RFC 3339, with or without the time of the day, or how long ago it was.
fn moment(text: &str, now: SystemTime) -> Result<u64, Strange> {
    let whole = if text.len() == "2026-01-31".len() {
        format!("{text}T00:00:00Z")
    } else {
        text.to_owned()
    };
    let ago = || {
        let ago = humantime::parse_duration(text).ok();
        ago.and_then(|ago| now.checked_sub(ago))
    };
    let at = humantime::parse_rfc3339_weak(&whole).ok().or_else(ago);
    let since = at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let millis = since.and_then(|since| u64::try_from(since.as_millis()).ok());
    let what = "no time such as 2026-01-31, 2026-01-31T08:00:00Z or 2h";
    millis.ok_or_else(|| Strange(text.to_owned(), what))
}

fn named<T: Copy>(
    text: &str,
    all: &[T],
    label: impl Fn(T) -> &'static str,
    what: &'static str,
) -> Result<T, Strange> {
    let found = all.iter().find(|value| label(**value) == text);
    found.copied().ok_or_else(|| Strange(text.to_owned(), what))
}

/// What was found of what is wanted, newest first.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) records: Vec<CallRecord>,
    /// The cursor of the next page, if there may be more.
    pub(crate) next: Option<CallId>,
    /// Those that were looked at and cannot be read: whether they are wanted nobody knows. The next page may have some of them again.
    pub(crate) unreadable: Vec<Unreadable>,
}

impl Words {
    /// What they mean.
    pub(crate) fn read(self, now: SystemTime) -> Result<Filter, Strange> {
        let time = |text: Option<String>| text.map(|text| moment(&text, now)).transpose();
        let direction = self.direction.map(|text| {
            let what = "no direction: sip_to_tg, tg_to_sip, sip_to_sip";
            named(&text, &Direction::ALL, Direction::label, what)
        });
        let result = self.result.map(|text| {
            let what = "no result: answered, busy, no_answer, declined, cancelled, rejected, limited, failed";
            named(&text, &Outcome::ALL, Outcome::label, what)
        });
        Ok(Filter {
            since: time(self.since)?,
            until: time(self.until)?,
            trunk: self.trunk,
            session: self.session,
            code: self.code,
            number: self.number,
            direction: direction.transpose()?,
            result: result.transpose()?,
        })
    }
}

impl Filter {
    /// Where to begin, going back in time: behind the cursor, and before the end of what is wanted.
    pub(crate) fn before(&self, cursor: Option<CallId>) -> Option<CallId> {
        let until = self.until.map(|until| CallId::new(until, 0));
        match (cursor, until) {
            (Some(cursor), Some(until)) => Some(cursor.min(until)),
            (cursor, until) => cursor.or(until),
        }
    }

    /// Whether this record and all that are older are not wanted any more.
    pub(crate) fn is_past(&self, record: &CallRecord) -> bool {
        self.since.is_some_and(|since| record.started_ms < since)
    }

    /// Whether a record is wanted, but for its time.
    pub(crate) fn takes(&self, record: &CallRecord) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        let is_by_trunk = is(&self.trunk, &record.trunk)
            || !record.to_trunk.is_empty() && is(&self.trunk, &record.to_trunk);
        let has_code = |code: u16| record.legs.iter().any(|leg| leg.code == code);
        let has_number = |number: &String| {
            record.from.contains(number.as_str()) || record.to.contains(number.as_str())
        };
        is_by_trunk
            && is(&self.session, &record.session)
            && self.code.is_none_or(has_code)
            && self.number.as_ref().is_none_or(has_number)
            && self
                .direction
                .is_none_or(|wanted| wanted == record.direction)
            && self
                .result
                .is_none_or(|wanted| Some(wanted) == record.outcome)
    }

    /// Looks through a store, newest first. Each record is looked at as it may be shown: who may not see a number must not find out by
    /// asking for it.
    pub(crate) fn search(
        &self,
        store: &dyn Store,
        veil: &Veil,
        cursor: Option<CallId>,
        limit: usize,
    ) -> Result<Found, StoreError> {
        let mut before = self.before(cursor);
        let (mut found, mut looked_at) = (Found::default(), 0);
        loop {
            let part = store.calls_before(before, AT_ONCE)?;
            let is_last = part.count() < AT_ONCE;
            looked_at += part.count();
            found.unreadable.extend(part.unreadable);
            let has_none = part.records.is_empty();
            for record in part.records {
                let record = veil.over(record);
                if self.is_past(&record) {
                    return Ok(found);
                }
                if self.takes(&record) {
                    if found.records.len() == limit {
                        found.next = found.records.last().map(|last| last.id);
                        return Ok(found);
                    }
                    found.records.push(record);
                }
            }
            // Of one that cannot be read its id tells when it began.
            let began = part.last.map(CallId::unix_ms).filter(|_| has_none);
            let is_past = |began| self.since.is_some_and(|since| began < since);
            if is_last || began.is_some_and(is_past) {
                return Ok(found);
            }
            before = part.last;
            if looked_at >= MOST_LOOKED_AT {
                found.next = before;
                return Ok(found);
            }
        }
    }
}

macro_rules! columns {
    ($first:literal = $cell_of_first:expr, $($name:literal = $cell:expr,)*) => {
        /// The columns of [`row`]: those that were there first, then the others in the order in which they were promised.
        pub(crate) const HEAD: &str = concat!($first $(, ",", $name)*);
        /// What stands in each.
        const CELLS: &[fn(&CallRecord, &RecordView) -> String] = &[$cell_of_first $(, $cell)*];
    };
}

/// What there is, or nothing.
fn known<T: ToString>(value: Option<&T>) -> String {
    value.map(T::to_string).unwrap_or_default()
}

columns! {
    "id" = |record, _| record.id.to_string(),
    "start" = |record, _| time(record.started_ms),
    "direction" = |record, _| record.direction.label().to_owned(),
    "trunk" = |record, _| record.trunk.clone(),
    "session" = |record, _| record.session.clone(),
    "from" = |record, _| record.from.clone(),
    "to" = |record, _| record.to.clone(),
    "ringing_ms" = |record, _| known(record.ringing_after_ms.as_ref()),
    "answered_ms" = |record, _| known(record.answered_after_ms.as_ref()),
    "ended_ms" = |record, _| known(record.ended_after_ms.as_ref()),
    "talk_s" = |_, view| format!("{:.3}", view.talk_s),
    "result" = |record, _| record.outcome.map_or("open", Outcome::label).to_owned(),
    "ended_by" = |record, _| record.ended_by.map_or("", Side::label).to_owned(),
    "why" = |record, _| why(record),
    "to_trunk" = |record, _| record.to_trunk.clone(),
    "code" = |_, view| known(view.code.as_ref()),
    "cause" = |_, view| known(view.reason.as_ref()),
    "parent_id" = |_, view| known(view.parent_id.as_ref()),
    "node" = |_, view| known(view.node.as_ref()),
    "mode" = |_, view| view.mode.clone(),
    "tg_user_id" = |_, view| known(view.tg_user_id.as_ref()),
    "tg_username" = |_, view| known(view.tg_username.as_ref()),
    "tg_phone" = |_, view| known(view.tg_phone.as_ref()),
    "sip_from" = |_, view| known(view.sip_from.as_ref()),
    "sip_to" = |_, view| known(view.sip_to.as_ref()),
    "dialed" = |_, view| view.dialed.clone(),
    "rule" = |_, view| known(view.rule.as_ref()),
    "started_at" = |record, _| record_view::at(record.started_ms),
    "ringing_at" = |_, view| known(view.ringing_at.as_ref()),
    "answered_at" = |_, view| known(view.answered_at.as_ref()),
    "ended_at" = |_, view| known(view.ended_at.as_ref()),
    "pdd_ms" = |_, view| known(view.pdd_ms.as_ref()),
    "side" = |_, view| known(view.side.as_ref()),
    "reason" = |_, view| known(view.reason.as_ref()),
    "phrase" = |_, view| known(view.phrase.as_ref()),
    "hung_up_by" = |_, view| known(view.hung_up_by.as_ref()),
    "sip_call_id" = |_, view| known(view.sip_call_id.as_ref()),
    "sip_peer" = |_, view| known(view.sip_peer.as_ref()),
    "codec_sip" = |_, view| known(view.codec_sip.as_ref()),
    "codec_tg" = |_, view| known(view.codec_tg.as_ref()),
    "tg_protocol" = |_, view| known(view.tg_protocol.as_ref()),
    "tg_path" = |_, view| known(view.tg_path.as_ref()),
    "loss_in_sip" = |_, view| known(view.loss_in_sip.as_ref()),
    "loss_in_tg" = |_, view| known(view.loss_in_tg.as_ref()),
    "jitter_ms_sip" = |_, view| known(view.jitter_ms_sip.as_ref()),
    "jitter_ms_tg" = |_, view| known(view.jitter_ms_tg.as_ref()),
    "rtt_ms_sip" = |_, view| known(view.rtt_ms_sip.as_ref()),
    "rtt_ms_tg" = |_, view| known(view.rtt_ms_tg.as_ref()),
    "mos_sip" = |_, view| known(view.mos_sip.as_ref()),
    "mos_tg" = |_, view| known(view.mos_tg.as_ref()),
    "dtmf_count" = |_, view| view.dtmf_count.to_string(),
    "one_way" = |_, view| known(view.one_way.as_ref()),
    "recording" = |_, view| known(view.recording.as_ref()),
    "error_tg" = |_, view| known(view.error_tg.as_ref()),
}

/// A record as comma-separated values (RFC 4180).
pub(crate) fn row(record: &CallRecord) -> String {
    let view = RecordView::from(record);
    let cells = CELLS.iter().map(|cell| quoted(&cell(record, &view)));
    cells.collect::<Vec<String>>().join(",")
}

/// The first leg that did not end normally, or else the last one.
pub(crate) fn telling(record: &CallRecord) -> Option<&model::LegEnd> {
    let bad = record.legs.iter().find(|leg| leg.code >= 300);
    bad.or(record.legs.last())
}

/// Why a call ended, in code and words.
pub(crate) fn why(record: &CallRecord) -> String {
    telling(record).map_or_else(String::new, |leg| format!("{} {}", leg.code, leg.phrase))
}

/// RFC 4180 section 2; a cell that a spreadsheet would take for a formula is shown as text.
pub(crate) fn quoted(cell: &str) -> String {
    let formula = cell.starts_with(['=', '@', '-'])
        || cell.starts_with('+') && !cell.get(1..).is_some_and(digits);
    let cell = if formula {
        format!("'{cell}")
    } else {
        cell.to_owned()
    };
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The last millisecond that RFC 3339 has a text for: the end of the year 9999.
const LAST_MS: u64 = 253_402_300_799_999;

/// A time in milliseconds since 1970, or the last one that can be written: of a damaged record.
pub(crate) fn writable(unix_ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(unix_ms.min(LAST_MS))
}

/// A time in UTC, as in RFC 3339.
pub(crate) fn time(unix_ms: u64) -> String {
    humantime::format_rfc3339_seconds(writable(unix_ms)).to_string()
}

#[cfg(test)]
pub(crate) mod tests {
    use model::{LegEnd, LegKind};
    use store::{MasterKey, SledStore};

    use super::*;

    #[test]
    fn a_cell_of_a_stranger_is_no_formula() {
        assert_eq!(quoted("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(quoted("+15550001"), "+15550001");
        assert_eq!(quoted("a,b"), "\"a,b\"");
    }

    #[test]
    fn times_are_in_utc() {
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20Z");
    }

    #[test]
    fn times_are_understood_as_people_write_them() {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (text, seconds) in [
            ("2023-11-14T22:13:20Z", 1_700_000_000),
            ("2023-11-14", 1_699_920_000),
            ("2h", 1_699_992_800),
        ] {
            assert_eq!(moment(text, now), Ok(seconds * 1000), "{text}");
        }
        for text in ["", "yesterday", "2023-13-14", "99999y"] {
            assert!(moment(text, now).is_err(), "{text}");
        }
    }

    pub(crate) fn record(n: u64, trunk: &str, code: u16) -> CallRecord {
        CallRecord {
            id: CallId::new(n, 1),
            direction: Direction::SipToTg,
            trunk: trunk.to_owned(),
            session: "gateway".to_owned(),
            from: "600".to_owned(),
            to: format!("+1555{n}"),
            diverted_from: None,
            started_ms: n,
            ringing_after_ms: None,
            answered_after_ms: None,
            ended_after_ms: Some(5),
            ended_by: Some(Side::Sip),
            outcome: Some(if code == 486 {
                Outcome::Busy
            } else {
                Outcome::Failed
            }),
            legs: vec![LegEnd {
                kind: LegKind::Sip,
                via: trunk.to_owned(),
                code,
                phrase: "x".to_owned(),
                reason: "busy_here".to_owned(),
                peer_reason: None,
            }],
            to_trunk: String::new(),
            details: model::CallDetails::default(),
        }
    }

    #[test]
    fn records_are_found_by_all_that_is_asked_for_page_by_page() {
        let folder = tempfile::tempdir().unwrap();
        let key = MasterKey::from_octets([7; 32]);
        let store = SledStore::open(folder.path(), &key).unwrap();
        let mut records = Vec::new();
        for n in 1..=1200 {
            let trunk = if n % 2 == 0 { "even" } else { "odd" };
            let code = if n % 3 == 0 { 486 } else { 503 };
            records.push(record(n, trunk, code));
        }
        let all: Vec<&CallRecord> = records.iter().collect();
        store.close_calls(&all).unwrap();
        let at = |ms: u64| {
            Some(
                humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms))
                    .to_string(),
            )
        };
        let words = Words {
            since: at(600),
            until: at(1201),
            trunk: Some("even".to_owned()),
            code: Some(486),
            ..Words::default()
        };
        let filter = words.read(SystemTime::now()).unwrap();
        let (mut ids, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let found = filter.search(&store, &Veil::default(), cursor, 40).unwrap();
            ids.extend(found.records.iter().map(|record| record.started_ms));
            pages += 1;
            cursor = found.next;
            if cursor.is_none() {
                break;
            }
        }
        let expected: Vec<u64> = (600..=1200).rev().filter(|n| n % 6 == 0).collect();
        assert_eq!(ids, expected);
        assert_eq!(pages, 3);
        let count = |words: Words| {
            let filter = words.read(SystemTime::now()).unwrap();
            filter
                .search(&store, &Veil::default(), None, 5000)
                .unwrap()
                .records
                .len()
        };
        let number = Some("+15551200".to_owned());
        assert_eq!(
            count(Words {
                number,
                ..Words::default()
            }),
            1
        );
        // Who may not see a number does not find it either, only what he is shown of it.
        let veiled = |number: &str| {
            let number = Some(number.to_owned());
            let words = Words {
                number,
                ..Words::default()
            };
            let filter = words.read(SystemTime::now()).unwrap();
            let veil = Veil::new(crate::settings::Privacy::Masked);
            filter
                .search(&store, &veil, None, 5000)
                .unwrap()
                .records
                .len()
        };
        assert_eq!((veiled("+15551200"), veiled("***200")), (0, 2));
        let result = Some("busy".to_owned());
        assert_eq!(
            count(Words {
                result,
                ..Words::default()
            }),
            400
        );
        let direction = Some("tg_to_sip".to_owned());
        assert_eq!(
            count(Words {
                direction,
                ..Words::default()
            }),
            0
        );
        let wrong = Words {
            result: Some("bussy".to_owned()),
            ..Words::default()
        };
        let error = wrong.read(SystemTime::now()).unwrap_err().to_string();
        assert!(error.contains("no_answer"), "{error}");
        assert_eq!(
            row(&record(1, "a,b", 486)).split(',').count(),
            HEAD.split(',').count() + 1
        );
    }
}
