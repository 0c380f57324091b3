//! The data channel without DTLS (telegram-calls 8.5 and 10): an SCTP association on ports 5000/5000 whose stream 0 the caller
//! opens by DCEP (RFC 8832), and JSON as text on it.
//!
//! As for signalling the roles are fixed, because `sctp-proto` makes a second association of an INIT that crosses its own: the
//! caller initiates and drops every INIT of the peer. A call does not end because of this channel.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, Event, Payload,
    PayloadProtocolIdentifier as Ppid, StreamEvent,
};

use crate::crypt::Role;
use crate::framing::sctp::{CHUNK, CHUNK_INIT, endpoint, peer, transport};

/// `DATA_CHANNEL_OPEN` of a reliable, ordered channel named `data`.
const OPEN: [u8; 16] = *b"\x03\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00data";
const OPEN_TYPE: u8 = 3;
/// `DATA_CHANNEL_ACK`.
const ACK: [u8; 1] = [2];
/// Texts of ours that wait for the association; a call says a handful.
const WAITING: usize = 16;
/// Texts of the peer that are read from one packet.
const READ: usize = 64;

/// One end of the channel.
pub(super) struct Channel {
    role: Role,
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    established: bool,
    waiting: Vec<(Ppid, Vec<u8>)>,
    packets: VecDeque<Vec<u8>>,
    texts: VecDeque<Vec<u8>>,
}

impl Channel {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            endpoint: endpoint(),
            association: None,
            established: false,
            waiting: Vec::new(),
            packets: VecDeque::new(),
            texts: VecDeque::new(),
        }
    }

    /// Begins, now that packets reach the peer; the callee waits for the caller.
    pub(super) fn start(&mut self, now: Instant) {
        if self.role == Role::Callee || self.association.is_some() {
            return;
        }
        let mut client = ClientConfig::new();
        client.transport = Arc::new(transport());
        match self.endpoint.connect(client, peer()) {
            Ok(association) => self.association = Some(association),
            Err(error) => tracing::debug!(%error, "no association for the data channel"),
        }
        self.waiting.insert(0, (Ppid::Dcep, OPEN.to_vec()));
        self.turn(now);
    }

    /// Sends a text once the association is there.
    pub(super) fn write(&mut self, now: Instant, text: &str) {
        if self.waiting.len() < WAITING {
            self.waiting.push((Ppid::String, text.as_bytes().to_vec()));
        }
        self.turn(now);
    }

    /// Takes a packet of the peer.
    pub(super) fn receive(&mut self, now: Instant, packet: Vec<u8>) {
        // In an association that is up an INIT would end it.
        let is_init = packet.get(CHUNK) == Some(&CHUNK_INIT);
        if is_init && (self.role == Role::Caller || self.established) {
            return;
        }
        match self.endpoint.handle(now, peer(), None, None, packet.into()) {
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                self.association = Some((handle, association));
            }
            Some((handle, DatagramEvent::AssociationEvent(event))) => match &mut self.association {
                Some((known, association)) if *known == handle => association.handle_event(event),
                Some(_) | None => {}
            },
            None => {}
        }
        self.turn(now);
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.association.as_ref()?.1.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some((_, association)) = &mut self.association
            && association.poll_timeout().is_some_and(|at| at <= now)
        {
            association.handle_timeout(now);
            self.turn(now);
        }
    }

    /// Returns the next packet for the peer.
    pub(super) fn poll_packet(&mut self) -> Option<Vec<u8>> {
        self.packets.pop_front()
    }

    /// Returns the next text of the peer.
    pub(super) fn poll_text(&mut self) -> Option<Vec<u8>> {
        self.texts.pop_front()
    }

    fn turn(&mut self, now: Instant) {
        self.poll_events();
        self.flush_texts();
        let Some((handle, association)) = &mut self.association else {
            return;
        };
        while let Some(transmit) = association.poll_transmit(now) {
            if let Payload::RawEncode(packets) = transmit.payload {
                self.packets.extend(packets.iter().map(|p| p.to_vec()));
            }
        }
        while let Some(event) = association.poll_endpoint_event() {
            let _ = self.endpoint.handle_event(*handle, event);
        }
    }

    fn poll_events(&mut self) {
        let mut is_readable = false;
        while let Some((_, association)) = &mut self.association {
            match association.poll() {
                Some(Event::Connected) => self.established = true,
                Some(Event::HandshakeFailed { .. } | Event::AssociationLost { .. }) => {
                    tracing::debug!("the data channel is lost; the call goes on");
                    self.association = None;
                    self.established = false;
                }
                Some(Event::Stream(StreamEvent::Readable { id: 0 })) => is_readable = true,
                Some(_) => {}
                None => break,
            }
        }
        if is_readable {
            self.read();
        }
    }

    fn read(&mut self) {
        let Some((_, association)) = &mut self.association else {
            return;
        };
        let Ok(mut stream) = association.stream(0) else {
            return;
        };
        while let Ok(Some(chunks)) = stream.read_sctp() {
            let mut message = vec![0; chunks.len()];
            if chunks.read(&mut message).is_err() {
                continue;
            }
            match chunks.ppi {
                Ppid::Dcep if message.first() == Some(&OPEN_TYPE) => {
                    if self.waiting.len() < WAITING {
                        self.waiting.push((Ppid::Dcep, ACK.to_vec()));
                    }
                }
                // A binary message is no text, as for official clients.
                Ppid::String if self.texts.len() < READ => self.texts.push_back(message),
                Ppid::String
                | Ppid::Dcep
                | Ppid::Binary
                | Ppid::StringEmpty
                | Ppid::BinaryEmpty
                | Ppid::Unknown => {}
            }
        }
    }

    fn flush_texts(&mut self) {
        let Some((_, association)) = &mut self.association else {
            return;
        };
        if !self.established || self.waiting.is_empty() {
            return;
        }
        // Fails when the peer wrote first: the stream exists then.
        let _ = association.open_stream(0, Ppid::String);
        let Ok(mut stream) = association.stream(0) else {
            return;
        };
        let mut left = Vec::new();
        for (ppid, text) in self.waiting.drain(..) {
            if stream.write_with_ppi(&text, ppid).is_err() {
                left.push((ppid, text));
            }
        }
        self.waiting = left;
    }
}
