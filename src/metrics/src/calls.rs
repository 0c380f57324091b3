//! Calls: attempts, outcomes, delays. Counted where a call ends, never where messages pass.

use std::time::Duration;

use model::{CallRecord, Cause, Direction, LegKind, Missing, Outcome, Reason, Side, TrunkName};
use prometheus::{CounterVec, HistogramVec, IntCounterVec, IntGaugeVec};

use crate::Metrics;
use crate::family::{Column, Families, all, some, trunk};
use crate::label::{CallCode, Closed, Limit, OTHER, Teardown, TransferResult, labelled};

labelled! {
    /// Where a call is, as an operator sees it.
    pub enum CallState {
        /// Nobody has been rung yet.
        Setup = "setup",
        /// A device rings.
        Ringing = "ringing",
        /// Answered.
        Established = "established",
        /// Answered, and a PBX is held: by an owner, or it holds us.
        Held = "held",
    }

    /// How a PBX hands a call on.
    pub enum TransferKind {
        /// To somebody who has not been asked: REFER, or an owner's order.
        Blind = "blind",
        /// Into a call that is up already (Replaces, RFC 3891).
        Attended = "attended",
    }

    /// How a digit came.
    pub enum DtmfMethod {
        /// telephone-event.
        Rfc4733 = "rfc4733",
        /// SIP INFO.
        Info = "info",
        /// Tones in the voice.
        Inband = "inband",
    }
}

impl Closed for Missing {
    fn values() -> Vec<&'static str> {
        Missing::ALL.map(Missing::label).to_vec()
    }
}

/// Why an answered call ended. None of its two ends but an owner clears a call from here.
fn teardown(reason: Reason, side: Side) -> &'static str {
    match reason {
        Reason::NormalClearing if side == Side::Here => "operator",
        Reason::NormalClearing | Reason::Cancelled | Reason::CallerGaveUp => "normal",
        Reason::RtpTimeout | Reason::MediaLost | Reason::MediaNotConnected => "media_timeout",
        Reason::SessionExpired => "session_timer",
        Reason::CallDuration | Reason::TotalDuration => "max_duration",
        Reason::WorkerNotReady => "shutdown",
        _ => "error",
    }
}

/// Most houses let no call go from trunk to trunk: the series of that direction appear with the first one.
const DIRECTIONS: [Direction; 2] = [Direction::SipToTg, Direction::TgToSip];

fn direction() -> Column {
    some::<Direction>("direction", DIRECTIONS.map(Direction::label).to_vec())
}

/// In which direction an attempt can fail for a reason.
enum Fails {
    FromSip,
    FromTelegram,
    EitherWay,
    /// Not the end of an unanswered call, or only of one from trunk to trunk.
    Never,
}

fn fails(reason: Reason) -> Fails {
    match reason {
        Reason::NormalClearing
        | Reason::AnsweredByAnother
        | Reason::SessionInactive
        | Reason::WorkerAddressNotSet
        | Reason::IntervalTooBrief
        | Reason::TooManyHops
        | Reason::RtpTimeout
        | Reason::MediaLost
        | Reason::CallDuration
        // Of texts.
        | Reason::NoText
        | Reason::TextTooLong
        | Reason::UnsupportedText => Fails::Never,
        Reason::DatabaseError
        | Reason::NoResponseFromManager
        | Reason::LinesLimit
        | Reason::TotalDuration
        | Reason::FailCalls
        | Reason::RouteNotPermitted
        | Reason::StorageInactive
        | Reason::RpcTimeout
        | Reason::NotAcceptable
        | Reason::VersionOutdated
        | Reason::CallProtocol
        | Reason::KeyMismatch
        | Reason::TelegramError
        | Reason::InternalError
        | Reason::SessionNotRunning
        | Reason::StorageUnavailable
        | Reason::TooManyRequests
        | Reason::WorkerNotReady
        | Reason::NoRtpPorts
        | Reason::MediaNotConnected
        | Reason::BusyHere
        // What somebody is called in vain for, who may also be called first: back, or by order.
        | Reason::NoAnswer
        | Reason::UserPrivacyRestricted
        | Reason::UserIsBlocked
        | Reason::NotFound
        | Reason::ChatNotFound
        | Reason::UsernameNotOccupied
        | Reason::NotAUser
        | Reason::AnonymousUser
        | Reason::TemporarilyUnavailable
        | Reason::LoopDetected
        | Reason::UserDeclined
        | Reason::PeerFlood
        | Reason::Crashed => Fails::EitherWay,
        Reason::CallerGaveUp
        | Reason::AnsweredElsewhere
        | Reason::CallerIsGateway
        | Reason::CallbackRestricted
        | Reason::SipAccountUnavailable
        | Reason::WorkerUnavailable
        | Reason::SipRefused
        | Reason::SipTimeout
        | Reason::SipHeldBack
        | Reason::SipNoAnswer => Fails::FromTelegram,
        _ => Fails::FromSip,
    }
}

/// Every combination of direction, trunk, side, code and reason that can occur.
fn failure_rows() -> Vec<Vec<&'static str>> {
    let mut rows = Vec::new();
    for direction in DIRECTIONS {
        for row in Reason::TABLE {
            let possible = match fails(row.reason) {
                Fails::FromSip => direction == Direction::SipToTg,
                Fails::FromTelegram => direction == Direction::TgToSip,
                Fails::EitherWay => true,
                Fails::Never => false,
            };
            if !possible {
                continue;
            }
            let codes = match row.reason {
                // The codes a PBX refuses with most often; a rarer one appears with its first call.
                Reason::SipRefused => vec!["403", "404", "480", "486", "488", "500", "503", "603"],
                _ => vec![CallCode::of(row.code)],
            };
            for code in codes {
                rows.push(vec![
                    direction.label(),
                    OTHER,
                    row.side.label(),
                    code,
                    row.name,
                ]);
            }
        }
    }
    rows
}

pub(crate) struct Calls {
    attempts: IntCounterVec,
    completed: IntCounterVec,
    failures: IntCounterVec,
    active: IntGaugeVec,
    talk: CounterVec,
    farewells: IntCounterVec,
    post_dial: HistogramVec,
    answer: HistogramVec,
    media_setup: HistogramVec,
    duration: HistogramVec,
    teardown: IntCounterVec,
    one_way: IntCounterVec,
    transfers: IntCounterVec,
    dtmf: IntCounterVec,
    quota: IntCounterVec,
}

impl Calls {
    pub(crate) fn new(make: &mut Families) -> Self {
        Self {
            attempts: make.counter(
                "call_attempts_total",
                "Seizures: every INVITE or Telegram call that reached routing; a hunt counts once, under the trunk that rang first.",
                vec![direction(), trunk()],
            ),
            completed: make.counter(
                "calls_completed_total",
                "Final outcome of calls, exactly one per attempt.",
                vec![direction(), trunk(), all::<Outcome>("result")],
            ),
            failures: make.counter_rows(
                "call_failures_total",
                "Attempts that were not answered, by the side that caused it, final status and reason.",
                vec![
                    direction(),
                    trunk(),
                    all::<Side>("side"),
                    all::<CallCode>("code"),
                    all::<Reason>("reason"),
                ],
                failure_rows(),
            ),
            active: make.gauge(
                "calls_active",
                "Calls now, by state; held are those in which a PBX holds, or is held by an owner.",
                vec![direction(), trunk(), all::<CallState>("state")],
            ),
            talk: make.seconds_counter(
                "call_talk_seconds_total",
                "Answered seconds, added when a call ends.",
                vec![direction(), trunk()],
            ),
            farewells: make.counter(
                "farewells_total",
                "Ends of calls that were told after a crash that the call is over.",
                vec![all::<LegKind>("leg")],
            ),
            post_dial: make.histogram(
                "call_post_dial_delay_seconds",
                "Attempt to first ringing.",
                &[0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 60.0],
                vec![direction()],
            ),
            answer: make.histogram(
                "call_answer_delay_seconds",
                "Attempt to answer.",
                &[1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0],
                vec![direction()],
            ),
            media_setup: make.histogram(
                "call_media_setup_seconds",
                "Answer to first audio in both directions.",
                &[0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0],
                vec![direction()],
            ),
            duration: make.histogram(
                "call_duration_seconds",
                "Conversation time of answered calls.",
                &[
                    5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0,
                ],
                vec![direction()],
            ),
            teardown: make.counter(
                "call_teardown_total",
                "Answered calls that ended, by the side that ended them and why.",
                vec![all::<Side>("side"), all::<Teardown>("cause")],
            ),
            one_way: make.counter(
                "calls_one_way_total",
                "Answered calls in which a side was not heard within 5 s after the answer, unless it was on hold or muted.",
                vec![direction(), all::<Missing>("missing")],
            ),
            transfers: make.counter(
                "call_transfers_total",
                "Transfers that were wanted, by a PBX or an owner, and how they came out.",
                vec![all::<TransferKind>("kind"), all::<TransferResult>("result")],
            ),
            dtmf: make.counter(
                "dtmf_digits_total",
                "Digits carried.",
                vec![all::<LegKind>("from"), all::<DtmfMethod>("method")],
            ),
            quota: make.counter(
                "quota_refusals_total",
                "Attempts refused, and calls cut, by a limit of our own (402).",
                vec![all::<Limit>("limit")],
            ),
        }
    }
}

impl Metrics {
    /// A call reached routing.
    pub fn call_attempt(&self, direction: Direction, trunk: &TrunkName) {
        let labels = [direction.label(), self.trunk(trunk)];
        self.all.calls.attempts.with_label_values(&labels).inc();
    }

    /// A call moved between states; absent before it began and after it ended.
    pub fn call_state(
        &self,
        direction: Direction,
        trunk: &TrunkName,
        from: Option<CallState>,
        to: Option<CallState>,
    ) {
        let trunk = self.trunk(trunk);
        let gauge = |state: CallState| {
            let labels = [direction.label(), trunk, state.label()];
            self.all.calls.active.with_label_values(&labels)
        };
        if let Some(gauge) = from.map(gauge) {
            // A trunk that was deleted under its call took the call's count with it.
            if gauge.get() > 0 {
                gauge.dec();
            }
        }
        if let Some(state) = to {
            gauge(state).inc();
        }
    }

    /// A call is over; its record says how it came out, `cause` and `side` why and by whom.
    pub fn call_over(&self, record: &CallRecord, cause: &Cause, side: Side) {
        let calls = &self.all.calls;
        let trunk = self.all.trunk_names.label(&record.trunk);
        let direction = record.direction.label();
        let outcome = record.outcome.unwrap_or(Outcome::Failed);
        calls
            .completed
            .with_label_values(&[direction, trunk, outcome.label()])
            .inc();
        if record.answered_after_ms.is_some() {
            let seconds = record.talk_seconds();
            calls
                .talk
                .with_label_values(&[direction, trunk])
                .inc_by(seconds);
            calls
                .duration
                .with_label_values(&[direction])
                .observe(seconds);
            calls
                .teardown
                .with_label_values(&[side.label(), teardown(cause.reason(), side)])
                .inc();
        } else {
            let labels = [
                direction,
                trunk,
                cause.side().label(),
                CallCode::of(cause.code()),
                cause.name(),
            ];
            calls.failures.with_label_values(&labels).inc();
            self.quota_refused(cause.reason());
        }
    }

    /// An attempt was refused, or a call cut, by a limit of our own; any other reason counts nothing.
    pub fn quota_refused(&self, reason: Reason) {
        let limit = match reason {
            Reason::LinesLimit => "lines",
            Reason::TotalDuration => "total_duration",
            Reason::FailCalls => "fail_calls",
            Reason::CallDuration => "call_duration",
            _ => return,
        };
        self.all.calls.quota.with_label_values(&[limit]).inc();
    }

    /// Whoever had a call with a process that is gone is told that it is over.
    pub fn farewell(&self, leg: LegKind) {
        let labels = [leg.label()];
        self.all.calls.farewells.with_label_values(&labels).inc();
    }

    /// The first device rings.
    pub fn post_dial_delay(&self, direction: Direction, delay: Duration) {
        observe(&self.all.calls.post_dial, direction, delay);
    }

    /// The call is answered.
    pub fn answer_delay(&self, direction: Direction, delay: Duration) {
        observe(&self.all.calls.answer, direction, delay);
    }

    /// Audio has come from both sides; `delay` is since the answer.
    pub fn media_setup(&self, direction: Direction, delay: Duration) {
        observe(&self.all.calls.media_setup, direction, delay);
    }

    /// Somebody was not heard although the call is answered.
    pub fn one_way(&self, direction: Direction, missing: Missing) {
        let labels = [direction.label(), missing.label()];
        self.all.calls.one_way.with_label_values(&labels).inc();
    }

    /// A transfer that was wanted is done, or has come to nothing.
    pub fn transfer(&self, kind: TransferKind, done: bool) {
        let labels = [kind.label(), if done { "ok" } else { "failed" }];
        self.all.calls.transfers.with_label_values(&labels).inc();
    }

    /// A digit was carried.
    pub fn dtmf(&self, from: LegKind, method: DtmfMethod) {
        let labels = [from.label(), method.label()];
        self.all.calls.dtmf.with_label_values(&labels).inc();
    }
}

fn observe(histogram: &HistogramVec, direction: Direction, value: Duration) {
    histogram
        .with_label_values(&[direction.label()])
        .observe(value.as_secs_f64());
}
