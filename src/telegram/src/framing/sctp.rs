//! Framing B: JSON, gzip, encryption, then a plain SCTP association on ports 5000/5000 (telegram-calls 6.3).
//!
//! `sctp-proto` makes a second association, with another tag, of an INIT that crosses its own. So the roles are fixed:
//! the caller of the call initiates and drops every INIT of the peer (which, by RFC 9260 5.2.1, answers ours with its
//! own tag and is established by our COOKIE ECHO); the callee only answers (telegram-calls 14.3, item 5).

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event,
    Payload, PayloadProtocolIdentifier, ServerConfig, StreamEvent, TransportConfig,
};

use super::{Dropped, MESSAGES};
use crate::crypt::{CallKey, Plane, ReplayWindow, Role};

pub(crate) const CHUNK_INIT: u8 = 1;
/// Where a chunk begins, and where an INIT carries its tag.
pub(crate) const CHUNK: usize = 12;
const INITIATE_TAG: usize = 16;
/// A text larger than this after decompression is no negotiation.
const MAX_JSON: usize = 2 << 20;
/// An encrypted message larger than this is dropped in any case.
const MAX_MESSAGE: u32 = 131_072;
const RECEIVE_BUFFER: u32 = 1 << 20;
/// How often a call may lose its association and start over.
const MAX_RESTARTS: u32 = 8;

/// Returns one SCTP user message: the counter and the compressed text, encrypted.
pub(super) fn pack(key: &CallKey, sender: Role, counter: u32, json: &[u8]) -> Vec<u8> {
    let plain = counter.to_be_bytes().to_vec();
    let mut gzip = GzEncoder::new(plain, Compression::default());
    let packed = match gzip.write_all(json).and_then(|()| gzip.finish()) {
        Ok(packed) => packed,
        // Writing to memory does not fail; uncompressed text is legal too.
        Err(_) => [&counter.to_be_bytes(), json].concat(),
    };
    key.seal(Plane::Signalling, sender, &packed)
}

/// Returns the counter and the JSON text of one SCTP user message.
pub(super) fn unpack(key: &CallKey, sender: Role, message: &[u8]) -> Option<(u32, Vec<u8>)> {
    let plain = key.open(Plane::Signalling, sender, message)?;
    let (counter, body) = plain.split_first_chunk::<4>()?;
    let json = if body.starts_with(&[0x1f, 0x8b]) {
        let mut json = Vec::new();
        let limit = u64::try_from(MAX_JSON + 1).ok()?;
        GzDecoder::new(body)
            .take(limit)
            .read_to_end(&mut json)
            .ok()?;
        json
    } else {
        body.to_vec()
    };
    (json.len() <= MAX_JSON).then_some((u32::from_be_bytes(*counter), json))
}

/// One end of framing B.
pub struct Sctp {
    key: CallKey,
    role: Role,
    counter: u32,
    window: ReplayWindow,
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    established: bool,
    /// The tag of the INIT that made the association (callee only).
    peer_tag: Option<[u8; 4]>,
    restarts: u32,
    /// Every message of ours, sealed: a new association begins by repeating them.
    messages: Vec<Vec<u8>>,
    /// How many of them the present association has.
    written: usize,
    packets: VecDeque<Vec<u8>>,
    inbox: VecDeque<Vec<u8>>,
    dropped: Dropped,
}

impl Sctp {
    /// Begins; the caller's INIT goes out with the first input.
    pub fn new(key: CallKey, role: Role) -> Sctp {
        let mut sctp = Sctp {
            key,
            role,
            counter: 0,
            window: ReplayWindow::default(),
            endpoint: endpoint(),
            association: None,
            established: false,
            peer_tag: None,
            restarts: 0,
            messages: Vec::new(),
            written: 0,
            packets: VecDeque::new(),
            inbox: VecDeque::new(),
            dropped: Dropped::default(),
        };
        sctp.associate();
        sctp
    }

    pub(super) fn send(&mut self, now: Instant, json: &str) {
        if self.messages.len() == MESSAGES {
            self.dropped.sent += 1;
            return;
        }
        self.counter += 1;
        let message = pack(&self.key, self.role, self.counter, json.as_bytes());
        self.messages.push(message);
        self.turn(now);
    }

    pub(super) fn receive(&mut self, now: Instant, packet: &[u8]) {
        if packet.get(CHUNK) == Some(&CHUNK_INIT) && !self.wants_init(packet) {
            return;
        }
        let data = packet.to_vec().into();
        match self.endpoint.handle(now, peer(), None, None, data) {
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                self.association = Some((handle, association));
            }
            Some((handle, DatagramEvent::AssociationEvent(event))) => match &mut self.association {
                Some((known, association)) if *known == handle => association.handle_event(event),
                _ => self.dropped.received += 1,
            },
            None => self.dropped.received += 1,
        }
        self.turn(now);
    }

    /// Whether an INIT begins an association: not one that crosses ours or comes late, but one after a restart.
    fn wants_init(&mut self, packet: &[u8]) -> bool {
        if self.role == Role::Caller {
            return false;
        }
        let tag = packet
            .get(INITIATE_TAG..)
            .and_then(|rest| rest.first_chunk::<4>());
        if self.established {
            if tag == self.peer_tag.as_ref() || self.restarts == MAX_RESTARTS {
                return false;
            }
            self.restart();
        }
        self.peer_tag = tag.copied();
        true
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.association.as_ref()?.1.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some((_, association)) = &mut self.association
            && association.poll_timeout().is_some_and(|at| at <= now)
        {
            association.handle_timeout(now);
        }
        self.turn(now);
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

    /// Begins an association, if that is our part.
    pub(super) fn associate(&mut self) {
        if self.role == Role::Callee {
            return;
        }
        let mut client = ClientConfig::new();
        client.transport = Arc::new(transport());
        match self.endpoint.connect(client, peer()) {
            Ok(association) => self.association = Some(association),
            Err(error) => tracing::error!(%error, "no association for signalling"),
        }
    }

    /// Forgets the association; the next one repeats all messages, and the peer's window drops what it has.
    pub(super) fn restart(&mut self) {
        self.restarts += 1;
        self.established = false;
        self.peer_tag = None;
        self.association = None;
        self.endpoint = endpoint();
        self.written = 0;
    }

    /// Moves everything that can move: events, messages both ways, packets.
    fn turn(&mut self, now: Instant) {
        if self.poll_events() && self.restarts < MAX_RESTARTS {
            self.flush(now);
            self.restart();
            self.associate();
        }
        self.write();
        self.flush(now);
    }

    /// Returns whether the association is lost.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the events of another library, which may grow"
    )]
    fn poll_events(&mut self) -> bool {
        let Some((_, association)) = &mut self.association else {
            return false;
        };
        let mut lost = false;
        let mut readable = Vec::new();
        while let Some(event) = association.poll() {
            match event {
                Event::Connected => self.established = true,
                Event::HandshakeFailed { .. } | Event::AssociationLost { .. } => lost = true,
                Event::Stream(StreamEvent::Readable { id }) => readable.push(id),
                _ => {}
            }
        }
        for id in readable {
            self.read(id);
        }
        lost
    }

    fn read(&mut self, id: u16) {
        let Some((_, association)) = &mut self.association else {
            return;
        };
        let Ok(mut stream) = association.stream(id) else {
            return;
        };
        while let Ok(Some(chunks)) = stream.read_sctp() {
            let ours = id == 0 && chunks.ppi == PayloadProtocolIdentifier::Binary;
            let mut message = vec![0; chunks.len()];
            let unpacked = chunks
                .read(&mut message)
                .ok()
                .filter(|_| ours)
                .and_then(|_| unpack(&self.key, self.role.other(), &message));
            match unpacked {
                Some((counter, json)) if self.window.accept(counter) => self.inbox.push_back(json),
                _ => self.dropped.received += 1,
            }
        }
    }

    fn write(&mut self) {
        if !self.established || self.written == self.messages.len() {
            return;
        }
        let Some((_, association)) = &mut self.association else {
            return;
        };
        // Fails when the peer wrote first: the stream exists then.
        let _ = association.open_stream(0, PayloadProtocolIdentifier::Binary);
        let Ok(mut stream) = association.stream(0) else {
            return;
        };
        for message in self.messages.iter().skip(self.written) {
            let written = stream.write_with_ppi(message, PayloadProtocolIdentifier::Binary);
            if written.is_err() {
                return;
            }
            self.written += 1;
        }
    }

    fn flush(&mut self, now: Instant) {
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
}

/// How associations of a call behave: signalling, and the data channel where it is not str0m's.
pub(crate) fn transport() -> TransportConfig {
    TransportConfig::default()
        // The crate's 3 s would cost the user 3 s of silence for each lost packet.
        .with_rto_initial_ms(500)
        .with_rto_min_ms(500)
        .with_rto_max_ms(2000)
        .with_max_init_retransmits(None)
        .with_max_data_retransmits(None)
        .with_max_receive_message_size(MAX_MESSAGE)
        .with_max_receive_buffer_size(RECEIVE_BUFFER)
}

/// One that takes an association.
pub(crate) fn endpoint() -> Endpoint {
    let mut server = ServerConfig::new();
    server.transport = Arc::new(transport());
    Endpoint::new(Arc::new(EndpointConfig::new()), Some(Arc::new(server)))
}

/// There is no network address here; the crate wants one.
pub(crate) fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5000))
}
