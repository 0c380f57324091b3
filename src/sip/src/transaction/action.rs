//! What the machines ask of the table that drives them.

use std::time::Duration;

use bytes::Bytes;

use super::timer::Timer;
use crate::message::Response;

/// Why a client transaction ended without a final response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No response within 64*T1 (Timer B or F).
    TimedOut,
    /// The network said that the target cannot be reached.
    Transport,
    /// The table of client transactions is full; nothing was sent.
    Overload,
    /// The other side has too much to do and asked for fewer calls (RFC 7339); nothing was sent.
    HeldBack,
}

/// Returns how many messages these effects send.
pub(super) fn sends(actions: &[Action]) -> usize {
    let is_send = |action: &&Action| matches!(action, Action::Send(_));
    actions.iter().filter(is_send).count()
}

/// One effect of a transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Send these octets to the other side.
    Send(Bytes),
    /// Start a timer.
    Set(Timer, Duration),
    /// Stop a timer.
    Stop(Timer),
    /// Hand a response to the user of a client transaction.
    Deliver(Response),
    /// Tell the user of a client transaction that no final response will come.
    Fail(Failure),
    /// Hand the ACK to the dialogs.
    DeliverAck,
    /// Send a CANCEL for this INVITE.
    Cancel,
}
