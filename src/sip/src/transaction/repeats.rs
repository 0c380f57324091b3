//! Messages that passed more than once, for counting: on UDP they are the first sign of a path that loses datagrams.

use crate::message::Method;

/// Messages that were not the first of their kind, by the method of their transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repeats {
    /// INVITE and what is said about it: responses, the ACK to a refusal.
    pub invite: u64,
    /// REGISTER and its responses.
    pub register: u64,
    /// BYE and its responses.
    pub bye: u64,
    /// All others.
    pub other: u64,
}

impl Repeats {
    /// Counts messages.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all other methods are counted together"
    )]
    pub(super) fn add(&mut self, method: &Method, count: usize) {
        let counter = match method {
            Method::Invite => &mut self.invite,
            Method::Register => &mut self.register,
            Method::Bye => &mut self.bye,
            _ => &mut self.other,
        };
        *counter += count as u64;
    }
}
