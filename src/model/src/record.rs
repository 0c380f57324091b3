//! Records: what stays of a call, and of those who are banned.

use serde::{Deserialize, Serialize};

use crate::{CallDetails, CallId, IpPrefix, Side};

/// Which way a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The PBX called a Telegram user.
    SipToTg,
    /// A Telegram user called the PBX.
    TgToSip,
    /// One trunk called another.
    SipToSip,
}

impl Direction {
    /// Every direction.
    pub const ALL: [Direction; 3] = [Direction::SipToTg, Direction::TgToSip, Direction::SipToSip];

    /// The value of the metric label `direction`.
    pub fn label(self) -> &'static str {
        match self {
            Direction::SipToTg => "sip_to_tg",
            Direction::TgToSip => "tg_to_sip",
            Direction::SipToSip => "sip_to_sip",
        }
    }
}

/// What kind of party a leg leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegKind {
    /// A SIP dialog.
    Sip,
    /// A Telegram call.
    Telegram,
}

impl LegKind {
    /// The value of the metric label `leg`.
    pub fn label(self) -> &'static str {
        match self {
            LegKind::Sip => "sip",
            LegKind::Telegram => "telegram",
        }
    }
}

/// How a call came out: the metric label `result`, one for each attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Both sides talked.
    Answered,
    /// The called person was busy.
    Busy,
    /// Nobody answered.
    NoAnswer,
    /// The called person declined.
    Declined,
    /// The caller gave up.
    Cancelled,
    /// The called number is the reason: privacy, not found, anonymous.
    Rejected,
    /// Our own limits.
    Limited,
    /// Network, peer, timeout, codec, or a fault of ours.
    Failed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 8] = [
        Outcome::Answered,
        Outcome::Busy,
        Outcome::NoAnswer,
        Outcome::Declined,
        Outcome::Cancelled,
        Outcome::Rejected,
        Outcome::Limited,
        Outcome::Failed,
    ];

    /// The value of the metric label `result`.
    pub fn label(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Busy => "busy",
            Outcome::NoAnswer => "no_answer",
            Outcome::Declined => "declined",
            Outcome::Cancelled => "cancelled",
            Outcome::Rejected => "rejected",
            Outcome::Limited => "limited",
            Outcome::Failed => "failed",
        }
    }
}

/// How one leg ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegEnd {
    /// SIP or Telegram.
    pub kind: LegKind,
    /// The trunk or session the leg went over.
    pub via: String,
    /// The code as sent to, or received from, the party.
    pub code: u16,
    /// The phrase that goes with it.
    pub phrase: String,
    /// Stable name of the reason.
    pub reason: String,
    /// What a SIP peer wrote in its Reason header (RFC 3326), such as `Q.850;cause=17`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_reason: Option<String>,
}

/// What stays of a call: written when it is routed, closed when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    /// The call.
    pub id: CallId,
    /// Which way it went.
    pub direction: Direction,
    /// The trunk.
    pub trunk: String,
    /// The Telegram session.
    pub session: String,
    /// Who called, as shown to the called side.
    pub from: String,
    /// Who was called, as dialled.
    pub to: String,
    /// Who was called in the PBX first and passed the call on (RFC 5806).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverted_from: Option<String>,
    /// Seizure, milliseconds since 1970.
    pub started_ms: u64,
    /// First ringing, milliseconds after the seizure.
    pub ringing_after_ms: Option<u64>,
    /// Answer, milliseconds after the seizure.
    pub answered_after_ms: Option<u64>,
    /// End, milliseconds after the seizure; absent while the call is up.
    pub ended_after_ms: Option<u64>,
    /// Which side ended it.
    pub ended_by: Option<Side>,
    /// How it came out.
    pub outcome: Option<Outcome>,
    /// How each leg ended, in the order the legs were made.
    pub legs: Vec<LegEnd>,
    /// Of a call from trunk to trunk, the one it left by: that answered, or else that rang first. Empty for all others, and in
    /// records of versions before there were such calls.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub to_trunk: String,
    /// Who the two sides were, and how they sounded; records of earlier versions have none.
    #[serde(default, skip_serializing_if = "CallDetails::is_empty")]
    pub details: CallDetails,
}

impl CallRecord {
    /// Seconds of conversation, from answer to end.
    pub fn talk_seconds(&self) -> f64 {
        match (self.answered_after_ms, self.ended_after_ms) {
            (Some(answered), Some(ended)) => ended.saturating_sub(answered) as f64 / 1000.0,
            _ => 0.0,
        }
    }
}

/// What ends one leg of a call for whoever is at its other end, when the process that held it is gone (REL-P4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Farewell {
    /// A SIP message: the BYE of the dialog, or the answer to an INVITE that waits for one.
    Sip {
        /// Where it goes: transport, address and port, as in `udp:192.0.2.1:5060`.
        to: String,
        /// The message.
        message: String,
    },
    /// A phone call of Telegram, to be discarded.
    Telegram {
        /// The session it goes over.
        session: String,
        /// Its id.
        id: i64,
        /// What goes with it.
        access_hash: i64,
        /// Whether the Telegram user called: as long as nobody has answered, he is told that it is busy here.
        #[serde(default)]
        theirs: bool,
    },
}

/// A call that goes on: its record so far, and what would end it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenCall {
    /// The record, without an end.
    #[serde(flatten)]
    pub record: CallRecord,
    /// One for each leg that has somebody at its other end; earlier versions wrote none.
    #[serde(default)]
    pub farewells: Vec<Farewell>,
}

/// A sender that is not listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanRecord {
    /// Who.
    pub prefix: IpPrefix,
    /// Until when, in seconds since 1970.
    pub until: u64,
    /// How many bans it has had, this one included; 0 when an owner set it.
    #[serde(default)]
    pub times: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_an_earlier_version_has_no_details() {
        let old = r#"{"id":"01JDT4Q0ZV2V9Y2T6S1R8H3B7C","direction":"sip_to_tg","trunk":"office","session":"gateway","from":"600",
            "to":"alice","started_ms":5,"ringing_after_ms":null,"answered_after_ms":7,"ended_after_ms":9,"ended_by":"sip",
            "outcome":"answered","legs":[]}"#;
        let record: CallRecord = serde_json::from_str(old).unwrap();
        assert!(record.details.is_empty());
        let text = serde_json::to_string(&record).unwrap();
        assert!(!text.contains("details"), "{text}");
    }
}
