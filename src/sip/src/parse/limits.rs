//! How much of everything one message may have.

/// The limits of one message; sizes in octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The whole message. No datagram is so long, a message on a connection may be.
    pub message: usize,
    /// Start line and headers together.
    pub head: usize,
    /// The start line, or one header with its continuation lines.
    pub line: usize,
    /// Header values, those of comma lists counted apart.
    pub headers: usize,
    /// Via values; more is answered 483.
    pub vias: usize,
    /// Route values, and as many Record-Route values.
    pub routes: usize,
    /// Contact values in a REGISTER.
    pub contacts: usize,
    /// The body; more is answered 413.
    pub body: usize,
}

impl Limits {
    /// The names of the limits.
    pub const NAMES: [&str; 8] = [
        "message", "head", "line", "headers", "vias", "routes", "contacts", "body",
    ];

    /// Returns which limit a fault of [`crate::Parsed`] is about, if about one.
    pub fn named_by(why: &str) -> Option<&'static str> {
        Some(match why {
            MESSAGE => "message",
            HEAD => "head",
            START_LINE | LINE => "line",
            HEADERS => "headers",
            VIAS => "vias",
            ROUTES => "routes",
            CONTACTS => "contacts",
            BODY => "body",
            _ => return None,
        })
    }
}

// What is said about messages that go over them.
pub(super) const MESSAGE: &str = "message too large";
pub(super) const HEAD: &str = "header part too long";
pub(super) const START_LINE: &str = "start line too long";
pub(super) const LINE: &str = "header line too long";
pub(super) const HEADERS: &str = "too many headers";
pub(super) const VIAS: &str = "too many Via headers";
pub(super) const ROUTES: &str = "too many Route headers";
pub(super) const CONTACTS: &str = "too many Contact headers";
pub(super) const BODY: &str = "body too large";

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 128 * 1024,
            head: 32 * 1024,
            line: 8 * 1024,
            headers: 256,
            vias: 70,
            routes: 32,
            contacts: 10,
            body: 64 * 1024,
        }
    }
}
