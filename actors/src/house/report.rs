//! What an owner is told about the house.

use model::{
    CallId, CallRecord, Cause, Codec, Key, LegId, LegKind, MediaPath, Peer, Quality, SessionName,
    SessionSpec, TrunkName,
};
use routing::{SessionState, Step, Waits};
use serde::{Deserialize, Serialize};

/// What [`Report::missing`] says when nobody answers.
pub const SILENT: &str = "the registry does not answer";

/// What is missing while a registry that begins anew hears who lives.
pub(crate) const CALLING_ROLL: &str = "the registry is being restarted";

/// How the house is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What has not started, or does not run, in words; empty when the house is ready.
    pub missing: Vec<String>,
    /// Whether the store takes what is written to it.
    pub stores: bool,
    /// Calls now.
    pub calls: usize,
    /// Calls that hold lines; the same number unless something is wrong.
    pub lines: usize,
    /// Lines of trunks that are taken: one for each trunk that a call is on or rings at.
    pub trunk_lines: u32,
    /// Lines of sessions that are taken: one for each call that has a session.
    pub session_lines: u32,
    /// Lines of users that are taken: one for each call with somebody who is a user.
    pub user_lines: u32,
    /// Manager, Worker and Storage.
    pub roles: Vec<super::RoleReport>,
}

impl Report {
    /// Whether it is certain that there is no call.
    pub(super) fn is_empty(&self) -> bool {
        let is_unknown = |what: &String| what == SILENT || what == CALLING_ROLL;
        self.calls == 0 && !self.missing.iter().any(is_unknown)
    }

    /// What is wrong with the lines, in words: that there are lines without a call, or calls without lines.
    pub fn imbalance(&self) -> Option<String> {
        let calls = u32::try_from(self.calls).unwrap_or(u32::MAX);
        let beside = self.session_lines.max(self.user_lines);
        let is_empty = calls > 0 || self.trunk_lines == 0;
        let is_balanced = self.lines == self.calls && beside <= calls && is_empty;
        (!is_balanced).then(|| {
            format!(
                "{} calls, {} with lines: {} of trunks, {} of sessions, {} of users",
                self.calls, self.lines, self.trunk_lines, self.session_lines, self.user_lines
            )
        })
    }
}

/// How a session is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionReport {
    /// Its record.
    #[serde(flatten)]
    pub spec: SessionSpec,
    /// The trunks it is paired with.
    pub trunks: Vec<TrunkName>,
    /// Its state, as the metric label `state` has it.
    pub state: String,
    /// When that state ends by itself, in seconds since 1970.
    pub until: Option<u64>,
    /// What it waits for.
    #[serde(flatten)]
    pub waits: Waits,
}

impl SessionReport {
    /// Puts together what is known of a session.
    pub fn new(
        spec: SessionSpec,
        trunks: Vec<TrunkName>,
        state: SessionState,
        waits: Waits,
    ) -> Self {
        let state = state.with(&waits);
        let (state, until) = (state.label().to_owned(), state.until(&waits));
        Self {
            spec,
            trunks,
            state,
            until,
            waits,
        }
    }
}

/// A call that goes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CallReport {
    /// Its record so far.
    #[serde(flatten)]
    pub record: CallRecord,
    /// Where it is: `setup`, `ringing`, `established`, `held`.
    pub state: String,
    /// How it sounds; nothing within the first 10 s.
    #[serde(default)]
    pub sound: Option<Sound>,
}

/// Calls that go on.
#[derive(Debug, Clone)]
pub struct CallPage {
    /// The calls, oldest first.
    pub calls: Vec<CallReport>,
    /// Behind which call the next ones begin; nothing where there are none.
    pub next: Option<CallId>,
}

/// How a call sounded for 10 s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sound {
    /// When they were over, in milliseconds since 1970.
    pub at_ms: u64,
    /// Every leg that there was.
    pub legs: Vec<LegSound>,
}

/// How what came from a leg sounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegSound {
    /// The leg.
    pub leg: LegId,
    /// SIP or Telegram.
    pub kind: LegKind,
    /// The trunk or session that it goes over.
    pub via: String,
    /// What its audio is carried in.
    pub codec: Codec,
    /// How the media of a Telegram leg goes.
    pub path: Option<MediaPath>,
    /// The figures.
    pub quality: Quality,
}

/// How a trunk is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrunkReport {
    /// Its name.
    pub name: TrunkName,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Whether it can be called: registered, or a peer that is there.
    pub up: bool,
    /// Whether no call is placed on it for a while: too many have failed, or its PBX has said so (503).
    pub blocked: bool,
    /// Where, as `udp:192.0.2.7:5060`.
    pub contacts: Vec<String>,
    /// How many of its lines are taken.
    pub lines_in_use: u32,
}

/// A call that might be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TryCall {
    /// Who calls: a number of the PBX, or of a Telegram user his id, `@username` or `+phone`.
    pub from: String,
    /// Who is called; a Telegram user's call goes to the account.
    pub to: String,
    /// What it comes over.
    pub via: Via,
}

/// What a call comes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// A PBX.
    Trunk(TrunkName),
    /// A Telegram account.
    Session(SessionName),
}

/// A call that an owner orders: the Telegram user is called, and when he has answered the number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialOrder {
    /// The session that calls him.
    pub session: SessionName,
    /// The Telegram user.
    pub peer: Peer,
    /// The trunk by which the number is called.
    pub trunk: TrunkName,
    /// The number.
    pub number: String,
}

/// What an owner wants of a call that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOrder {
    /// Press keys in a PBX.
    Press {
        /// Which leg; nothing: that of the PBX, of two the one that was called.
        leg: Option<LegId>,
        /// The keys.
        keys: Vec<Key>,
    },
    /// Hold the PBX, or let it go on.
    Hold {
        /// Whether to hold it.
        on: bool,
    },
    /// Let another number of the same trunk take the place of the PBX's leg.
    Transfer {
        /// The number.
        number: String,
    },
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ordered {
    /// It is done, or under way.
    Done,
    /// The call is not such that it can be done, in words.
    NotNow(&'static str),
    /// It is refused.
    Refused(Cause),
}

/// There is no such trunk, or session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoSuch(pub Via);

/// What would become of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteReport {
    /// What is looked at.
    pub steps: Vec<Step>,
    /// What is decided, in words.
    pub decision: String,
    /// The session that places the call, where one does.
    pub session: Option<SessionName>,
    /// The trunks that ring, those of a group at the same time.
    pub trunks: Vec<Vec<TrunkName>>,
    /// Who is called then.
    pub number: Option<String>,
    /// What the caller is told instead.
    pub refusal: Option<RefusalReport>,
}

/// A refusal as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalReport {
    /// The code.
    pub code: u16,
    /// The exact phrase.
    pub phrase: String,
    /// The name of the cause.
    pub cause: String,
    /// What an owner can do about it.
    pub hint: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_calls_and_calls_without_lines_are_told() {
        let none = Report::default();
        assert_eq!(none.imbalance(), None);
        // Two calls: one between two trunks, the other one rings at three, of a user.
        let busy = Report {
            calls: 2,
            lines: 2,
            trunk_lines: 5,
            session_lines: 1,
            user_lines: 1,
            ..Report::default()
        };
        assert_eq!(busy.imbalance(), None);
        let wrong = [
            Report {
                lines: 1,
                ..none.clone()
            },
            Report {
                trunk_lines: 1,
                ..none.clone()
            },
            Report {
                session_lines: 1,
                ..none.clone()
            },
            Report {
                user_lines: 1,
                ..none.clone()
            },
            Report {
                lines: 1,
                ..busy.clone()
            },
            Report {
                user_lines: 3,
                ..busy
            },
        ];
        for report in wrong {
            assert!(report.imbalance().is_some(), "{report:?}");
        }
    }
}
