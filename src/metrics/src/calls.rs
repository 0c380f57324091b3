//! Calls: attempts, outcomes, delays.

use std::time::Duration;

use model::{CallRecord, Cause, Direction, LegKind, Outcome, Reason, Side, TrunkName};
use prometheus::{CounterVec, HistogramVec, IntCounterVec, IntGaugeVec};

use crate::Metrics;
use crate::family::Maker;

/// Where a call is, as an operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallState {
    /// Nobody has been rung yet.
    Setup,
    /// A device rings.
    Ringing,
    /// Answered.
    Established,
}

impl CallState {
    const ALL: [CallState; 3] = [CallState::Setup, CallState::Ringing, CallState::Established];

    fn label(self) -> &'static str {
        match self {
            CallState::Setup => "setup",
            CallState::Ringing => "ringing",
            CallState::Established => "established",
        }
    }
}

/// How a digit came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtmfMethod {
    /// telephone-event.
    Rfc4733,
    /// SIP INFO.
    Info,
}

impl DtmfMethod {
    fn label(self) -> &'static str {
        match self {
            DtmfMethod::Rfc4733 => "rfc4733",
            DtmfMethod::Info => "info",
        }
    }
}

/// The codes that are labels of their own; others become their class.
const CODES: [u16; 16] = [
    402, 403, 404, 405, 408, 470, 480, 482, 486, 487, 488, 500, 503, 603, 401, 423,
];

pub(crate) fn code_label(code: u16) -> &'static str {
    match code {
        401 => "401",
        402 => "402",
        403 => "403",
        404 => "404",
        405 => "405",
        408 => "408",
        423 => "423",
        470 => "470",
        480 => "480",
        482 => "482",
        486 => "486",
        487 => "487",
        488 => "488",
        500 => "500",
        503 => "503",
        603 => "603",
        _ => match code / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => "6xx",
        },
    }
}

/// Why an answered call ended.
const TEARDOWNS: [&str; 4] = ["normal", "media_timeout", "shutdown", "error"];

fn teardown(reason: Reason) -> &'static str {
    match reason {
        Reason::NormalClearing | Reason::Cancelled | Reason::CallerGaveUp => "normal",
        Reason::RtpTimeout | Reason::MediaLost | Reason::MediaNotConnected => "media_timeout",
        Reason::WorkerNotReady => "shutdown",
        _ => "error",
    }
}

pub(crate) struct Calls {
    attempts: IntCounterVec,
    completed: IntCounterVec,
    failures: IntCounterVec,
    active: IntGaugeVec,
    talk: CounterVec,
    post_dial: HistogramVec,
    answer: HistogramVec,
    duration: HistogramVec,
    teardown: IntCounterVec,
    dtmf: IntCounterVec,
}

impl Calls {
    pub(crate) fn new(make: &mut Maker) -> Self {
        let by = ["direction", "trunk"];
        let calls = Self {
            attempts: make.counters("call_attempts_total", "Calls that reached routing.", &by),
            completed: make.counters(
                "calls_completed_total",
                "Final outcome, one for each attempt.",
                &["direction", "trunk", "result"],
            ),
            failures: make.counters(
                "call_failures_total",
                "Attempts that were not answered.",
                &["direction", "trunk", "side", "code", "reason"],
            ),
            active: make.gauges(
                "calls_active",
                "Calls now.",
                &["direction", "trunk", "state"],
            ),
            talk: make.seconds(
                "call_talk_seconds_total",
                "Answered seconds, added when a call ends.",
                &by,
            ),
            post_dial: make.histograms(
                "call_post_dial_delay_seconds",
                "Attempt to first ringing.",
                &["direction"],
                &[
                    0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 60.0,
                ],
            ),
            answer: make.histograms(
                "call_answer_delay_seconds",
                "Attempt to answer.",
                &["direction"],
                &[
                    1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0,
                ],
            ),
            duration: make.histograms(
                "call_duration_seconds",
                "Conversation time.",
                &["direction"],
                &[
                    5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0,
                ],
            ),
            teardown: make.counters(
                "call_teardown_total",
                "Who ended an answered call, and why.",
                &["side", "cause"],
            ),
            dtmf: make.counters("dtmf_digits_total", "Digits carried.", &["from", "method"]),
        };
        for direction in Direction::ALL {
            calls.post_dial.with_label_values(&[direction.label()]);
            calls.answer.with_label_values(&[direction.label()]);
            calls.duration.with_label_values(&[direction.label()]);
        }
        for side in Side::ALL {
            for cause in TEARDOWNS {
                calls.teardown.with_label_values(&[side.label(), cause]);
            }
        }
        for method in [DtmfMethod::Rfc4733, DtmfMethod::Info] {
            calls
                .dtmf
                .with_label_values(&[LegKind::Sip.label(), method.label()]);
        }
        calls
    }

    pub(crate) fn touch(&self, trunk: &str) {
        for direction in Direction::ALL {
            let direction = direction.label();
            self.attempts.with_label_values(&[direction, trunk]);
            self.talk.with_label_values(&[direction, trunk]);
            for outcome in Outcome::ALL {
                self.completed
                    .with_label_values(&[direction, trunk, outcome.label()]);
            }
            for state in CallState::ALL {
                self.active
                    .with_label_values(&[direction, trunk, state.label()]);
            }
            for row in Reason::TABLE {
                if row.outcome != Outcome::Answered && row.code != 0 {
                    let labels = [
                        direction,
                        trunk,
                        row.side.label(),
                        code_label(row.code),
                        row.name,
                    ];
                    self.failures.with_label_values(&labels);
                }
            }
        }
    }

    pub(crate) fn remove(&self, trunk: &str) {
        for direction in Direction::ALL {
            let direction = direction.label();
            let _ = self.attempts.remove_label_values(&[direction, trunk]);
            let _ = self.talk.remove_label_values(&[direction, trunk]);
            for outcome in Outcome::ALL {
                let _ = self
                    .completed
                    .remove_label_values(&[direction, trunk, outcome.label()]);
            }
            for state in CallState::ALL {
                let _ = self
                    .active
                    .remove_label_values(&[direction, trunk, state.label()]);
            }
            for row in Reason::TABLE {
                for code in CODES
                    .map(code_label)
                    .into_iter()
                    .chain(["1xx", "2xx", "3xx", "4xx", "5xx", "6xx"])
                {
                    let labels = [direction, trunk, row.side.label(), code, row.name];
                    let _ = self.failures.remove_label_values(&labels);
                }
            }
        }
    }
}

impl Metrics {
    /// A call reached routing.
    pub fn call_attempt(&self, direction: Direction, trunk: &TrunkName) {
        self.all
            .calls
            .attempts
            .with_label_values(&[direction.label(), self.trunk(trunk)])
            .inc();
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
            self.all
                .calls
                .active
                .with_label_values(&[direction.label(), trunk, state.label()])
        };
        if let Some(state) = from {
            gauge(state).dec();
        }
        if let Some(state) = to {
            gauge(state).inc();
        }
    }

    /// A call is over; its record says how it came out, `cause` and `side` why and by whom.
    pub fn call_over(&self, record: &CallRecord, cause: &Cause, side: Side) {
        let calls = &self.all.calls;
        let trunk = record.trunk.parse().ok();
        let trunk = trunk
            .as_ref()
            .map_or(crate::OTHER, |name: &TrunkName| self.trunk(name))
            .to_owned();
        let direction = record.direction.label();
        let outcome = record.outcome.unwrap_or(Outcome::Failed);
        calls
            .completed
            .with_label_values(&[direction, &trunk, outcome.label()])
            .inc();
        if record.answered_after_ms.is_some() {
            let seconds = record.talk_seconds();
            calls
                .talk
                .with_label_values(&[direction, &trunk])
                .inc_by(seconds);
            calls
                .duration
                .with_label_values(&[direction])
                .observe(seconds);
            calls
                .teardown
                .with_label_values(&[side.label(), teardown(cause.reason())])
                .inc();
        } else {
            let labels = [
                direction,
                &trunk,
                cause.side().label(),
                code_label(cause.code()),
                cause.name(),
            ];
            calls.failures.with_label_values(&labels).inc();
        }
    }

    /// The first device rings.
    pub fn post_dial_delay(&self, direction: Direction, delay: Duration) {
        self.all
            .calls
            .post_dial
            .with_label_values(&[direction.label()])
            .observe(delay.as_secs_f64());
    }

    /// The call is answered.
    pub fn answer_delay(&self, direction: Direction, delay: Duration) {
        self.all
            .calls
            .answer
            .with_label_values(&[direction.label()])
            .observe(delay.as_secs_f64());
    }

    /// A digit came.
    pub fn dtmf(&self, from: LegKind, method: DtmfMethod) {
        self.all
            .calls
            .dtmf
            .with_label_values(&[from.label(), method.label()])
            .inc();
    }
}
