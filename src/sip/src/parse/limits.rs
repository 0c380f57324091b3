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
