//! A login code that was sent.

use std::time::Duration;

use grammers_tl_types as tl;
use tl::enums::auth::{CodeType, SentCodeType};

use super::interface::{Again, Ask, CodeWay};

/// How and where it was sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sent {
    /// Names the code in requests.
    pub(super) hash: String,
    pub(super) way: CodeWay,
    /// The address, where the way is e-mail.
    email: Option<String>,
    length: Option<u32>,
    pub(super) next: Option<CodeWay>,
    resend_after: Option<Duration>,
}

/// What came of a request for a code.
pub(super) enum Delivery {
    /// It is on its way.
    Sent(Sent),
    /// First Telegram wants an e-mail address; the hash names the login.
    EmailFirst(String),
}

impl Delivery {
    pub(super) fn read(code: tl::types::auth::SentCode) -> Delivery {
        let mut email = None;
        let (way, length) = match code.r#type {
            SentCodeType::App(kind) => (CodeWay::App, Some(kind.length)),
            SentCodeType::Sms(kind) => (CodeWay::Sms, Some(kind.length)),
            SentCodeType::FirebaseSms(kind) => (CodeWay::Sms, Some(kind.length)),
            SentCodeType::SmsWord(_) | SentCodeType::SmsPhrase(_) => (CodeWay::Sms, None),
            SentCodeType::Call(kind) => (CodeWay::Call, Some(kind.length)),
            SentCodeType::FlashCall(_) => (CodeWay::MissedCall, None),
            SentCodeType::MissedCall(kind) => (CodeWay::MissedCall, Some(kind.length)),
            SentCodeType::FragmentSms(kind) => (CodeWay::Fragment, Some(kind.length)),
            SentCodeType::EmailCode(kind) => {
                email = Some(kind.email_pattern);
                (CodeWay::Email, Some(kind.length))
            }
            SentCodeType::SetUpEmailRequired(_) => {
                return Delivery::EmailFirst(code.phone_code_hash);
            }
        };
        let next = code.next_type.map(|next| match next {
            CodeType::Sms => CodeWay::Sms,
            CodeType::Call => CodeWay::Call,
            CodeType::FlashCall | CodeType::MissedCall => CodeWay::MissedCall,
            CodeType::FragmentSms => CodeWay::Fragment,
        });
        let seconds = code.timeout.and_then(|seconds| u64::try_from(seconds).ok());
        Delivery::Sent(Sent {
            hash: code.phone_code_hash,
            way,
            email,
            length: length.and_then(|length| u32::try_from(length).ok()),
            next,
            resend_after: seconds.map(Duration::from_secs),
        })
    }
}

impl Sent {
    /// The question for it.
    pub(super) fn ask(&self, again: Option<Again>) -> Ask {
        Ask::Code {
            way: self.way,
            email: self.email.clone(),
            length: self.length,
            next: self.next,
            resend_after: self.resend_after,
            again,
        }
    }
}
