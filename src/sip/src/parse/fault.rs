//! What can be wrong with a message, and the status that says so.

use crate::message::{HeaderName, Response};

/// The methods named in Allow (RFC 3261 20.5).
pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, INFO, UPDATE, PRACK";

/// One fault of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// 400; the text names the part (RFC 3261 21.4.1).
    Bad(&'static str),
    /// 513.
    TooLarge(&'static str),
    /// 413.
    BodyTooLarge,
    /// 483: more Vias than a request can have hops.
    TooManyVias,
    /// 416.
    Scheme,
    /// 501.
    Method,
    /// 505.
    Version,
}

impl Fault {
    /// Returns the fault in a few words, for counting.
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::Bad(what) | Self::TooLarge(what) => what,
            Self::BodyTooLarge => super::limits::BODY,
            Self::TooManyVias => super::limits::VIAS,
            Self::Scheme => "unknown URI scheme",
            Self::Method => "unknown method",
            Self::Version => "unknown SIP version",
        }
    }

    /// Returns the start of the answer.
    pub(super) fn response(self) -> Response {
        match self {
            // RFC 3261 21.4.1: the phrase should name the problem.
            Self::Bad(what) => Response::new(400, &format!("Bad Request ({what})")),
            Self::TooLarge(_) => Response::new(513, ""),
            Self::BodyTooLarge => Response::new(413, ""),
            Self::TooManyVias => Response::new(483, ""),
            Self::Scheme => Response::new(416, ""),
            Self::Method => {
                let mut response = Response::new(501, "");
                response.headers.push(HeaderName::Allow, ALLOW);
                response
            }
            Self::Version => Response::new(505, ""),
        }
    }
}
