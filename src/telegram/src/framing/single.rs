//! Framing B without its association, where Telegram wants that (`network_signaling_nosctp`, telegram-calls 10): each
//! message is a packet by itself, compressed and encrypted as in an SCTP user message.
//!
//! Nothing is acknowledged or repeated here: `phone.sendSignalingData` is, by the session layer, until Telegram has it.

use std::collections::VecDeque;

use super::sctp::{pack, unpack};
use super::{Dropped, MESSAGES};
use crate::crypt::{CallKey, ReplayWindow, Role};

/// One end.
pub struct Single {
    key: CallKey,
    role: Role,
    counter: u32,
    window: ReplayWindow,
    packets: VecDeque<Vec<u8>>,
    inbox: VecDeque<Vec<u8>>,
    dropped: Dropped,
}

impl Single {
    /// Begins with nothing to say.
    pub fn new(key: CallKey, role: Role) -> Single {
        Single {
            key,
            role,
            counter: 0,
            window: ReplayWindow::default(),
            packets: VecDeque::new(),
            inbox: VecDeque::new(),
            dropped: Dropped::default(),
        }
    }

    pub(super) fn send(&mut self, json: &str) {
        if self.packets.len() == MESSAGES {
            self.dropped.sent += 1;
            return;
        }
        self.counter += 1;
        let packet = pack(&self.key, self.role, self.counter, json.as_bytes());
        self.packets.push_back(packet);
    }

    pub(super) fn receive(&mut self, packet: &[u8]) {
        let message = unpack(&self.key, self.role.other(), packet);
        match message.filter(|(counter, _)| self.window.accept(*counter)) {
            Some((_, json)) if self.inbox.len() < MESSAGES => self.inbox.push_back(json),
            Some(_) | None => self.dropped.received += 1,
        }
    }

    pub(super) fn poll_packet(&mut self) -> Option<Vec<u8>> {
        self.packets.pop_front()
    }

    pub(super) fn poll_message(&mut self) -> Option<Vec<u8>> {
        self.inbox.pop_front()
    }

    pub(super) fn dropped(&self) -> Dropped {
        self.dropped
    }
}
