//! One end of a plain SCTP association on ports 5000/5000, for signalling (framing B, telegram-calls 6.3) and for the data
//! channel where it is not str0m's (telegram-calls 8.5 and 10). What its messages say is the matter of those who own it.
//!
//! `sctp-proto` makes a second association, with another tag, of an INIT that crosses its own. So the roles are fixed: the
//! caller of the call initiates and drops every INIT of the peer (which, by RFC 9260 5.2.1, answers ours with its own tag
//! and is established by our COOKIE ECHO); the callee only answers (telegram-calls 14.3, item 5).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use sctp_proto::{
    AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier as Ppid, ServerConfig, StreamEvent, TransportConfig,
};

use crate::crypt::Role;

const CHUNK_INIT: u8 = 1;
/// Where a chunk begins, and where an INIT carries its tag.
const CHUNK: usize = 12;
const INITIATE_TAG: usize = 16;
/// The stream that messages of ours take.
const STREAM: u16 = 0;
/// A message larger than this is dropped in any case.
const MAX_MESSAGE: u32 = 131_072;
const RECEIVE_BUFFER: u32 = 1 << 20;
/// How often a call may lose its association and start over.
const MAX_RESTARTS: u32 = 8;

/// A message of the peer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    /// The stream it came by.
    pub(crate) stream: u16,
    /// What it is said to be.
    pub(crate) ppid: Ppid,
    /// The message; empty when it was larger than it may be.
    pub(crate) data: Vec<u8>,
}

/// One end.
pub(crate) struct Association {
    role: Role,
    endpoint: Endpoint,
    inner: Option<(AssociationHandle, sctp_proto::Association)>,
    established: bool,
    /// The tag of the INIT that made the association (callee only).
    peer_tag: Option<[u8; 4]>,
    restarts: u32,
    packets: VecDeque<Vec<u8>>,
    messages: VecDeque<Message>,
}

impl Association {
    /// One end of which there is nothing yet: the caller's begins with [`Association::connect`], the callee's with the peer's.
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            endpoint: endpoint(),
            inner: None,
            established: false,
            peer_tag: None,
            restarts: 0,
            packets: VecDeque::new(),
            messages: VecDeque::new(),
        }
    }

    /// Begins, if that is our part and not done.
    pub(crate) fn connect(&mut self) {
        if self.role == Role::Callee || self.inner.is_some() {
            return;
        }
        let mut client = ClientConfig::new();
        client.transport = Arc::new(transport());
        match self.endpoint.connect(client, peer()) {
            Ok(association) => self.inner = Some(association),
            Err(error) => tracing::error!(%error, "no association"),
        }
    }

    /// Takes a packet of the peer; returns whether it was anything. An INIT that crosses ours, or comes late, is expected.
    pub(crate) fn receive(&mut self, now: Instant, packet: Vec<u8>) -> bool {
        if is_init(&packet) {
            // In an association that is up an INIT would end it.
            if self.role == Role::Caller || self.established {
                return true;
            }
            self.peer_tag = initiate_tag(&packet);
        }
        match self.endpoint.handle(now, peer(), None, None, packet.into()) {
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                self.inner = Some((handle, association));
                true
            }
            Some((handle, DatagramEvent::AssociationEvent(event))) => match &mut self.inner {
                Some((known, association)) if *known == handle => {
                    association.handle_event(event);
                    true
                }
                Some(_) | None => false,
            },
            None => false,
        }
    }

    /// Whether this packet is the INIT of a peer that has started over, which [`Association::restart`] gives way to.
    pub(crate) fn is_replaced_by(&self, packet: &[u8]) -> bool {
        let tag = initiate_tag(packet).filter(|_| is_init(packet));
        let is_other = tag.is_some_and(|tag| Some(tag) != self.peer_tag);
        let may_be = self.role == Role::Callee && self.restarts < MAX_RESTARTS;
        is_other && may_be && self.established
    }

    /// Forgets the association; the next one begins with nothing.
    pub(crate) fn restart(&mut self) {
        self.restarts += 1;
        self.established = false;
        self.peer_tag = None;
        self.inner = None;
        self.endpoint = endpoint();
    }

    /// When there is something to do.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.inner.as_ref()?.1.poll_timeout()
    }

    /// Does what is due; returns whether anything was.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        match &mut self.inner {
            Some((_, association)) if association.poll_timeout().is_some_and(|at| at <= now) => {
                association.handle_timeout(now);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Looks at what has happened; returns whether the association was lost and is forgotten, which a call bears so many times.
    pub(crate) fn turn(&mut self, now: Instant) -> bool {
        let Some((_, association)) = &mut self.inner else {
            return false;
        };
        let mut lost = false;
        let mut readable = Vec::new();
        // The events of another library, which may grow.
        while let Some(event) = association.poll() {
            if let Event::Connected = event {
                self.established = true;
            } else if let Event::HandshakeFailed { .. } | Event::AssociationLost { .. } = event {
                lost = true;
            } else if let Event::Stream(StreamEvent::Readable { id }) = event {
                readable.push(id);
            }
        }
        for id in readable {
            self.read(id);
        }
        if lost && self.restarts < MAX_RESTARTS {
            self.flush(now);
            self.restart();
            return true;
        }
        false
    }

    fn read(&mut self, id: u16) {
        let Some((_, association)) = &mut self.inner else {
            return;
        };
        let Ok(mut stream) = association.stream(id) else {
            return;
        };
        while let Ok(Some(chunks)) = stream.read_sctp() {
            let mut data = vec![0; chunks.len()];
            if chunks.read(&mut data).is_err() {
                data.clear();
            }
            self.messages.push_back(Message {
                stream: id,
                ppid: chunks.ppi,
                data,
            });
        }
    }

    /// Returns the next message of the peer.
    pub(crate) fn poll_message(&mut self) -> Option<Message> {
        self.messages.pop_front()
    }

    /// Gives it a message for the peer; returns whether it was taken, which it is not before the association is up.
    pub(crate) fn write(&mut self, ppid: Ppid, data: &[u8]) -> bool {
        let Some((_, association)) = self.inner.as_mut().filter(|_| self.established) else {
            return false;
        };
        // Fails when the stream is there, because it was written to or the peer wrote first.
        let _ = association.open_stream(STREAM, ppid);
        let written = association
            .stream(STREAM)
            .and_then(|mut stream| stream.write_with_ppi(data, ppid));
        written.is_ok()
    }

    /// Makes packets of what waits.
    pub(crate) fn flush(&mut self, now: Instant) {
        let Some((handle, association)) = &mut self.inner else {
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

    /// Returns the next packet for the peer.
    pub(crate) fn poll_packet(&mut self) -> Option<Vec<u8>> {
        self.packets.pop_front()
    }
}

fn is_init(packet: &[u8]) -> bool {
    packet.get(CHUNK) == Some(&CHUNK_INIT)
}

/// The tag that an INIT carries, if it is long enough to have one.
fn initiate_tag(packet: &[u8]) -> Option<[u8; 4]> {
    packet.get(INITIATE_TAG..)?.first_chunk::<4>().copied()
}

fn transport() -> TransportConfig {
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

fn endpoint() -> Endpoint {
    let mut server = ServerConfig::new();
    server.transport = Arc::new(transport());
    Endpoint::new(Arc::new(EndpointConfig::new()), Some(Arc::new(server)))
}

/// There is no network address here; the crate wants one.
fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5000))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::start;

    const TICK: Duration = Duration::from_millis(10);

    /// Carries packets both ways for so many ticks, and tells both ends the time.
    fn run(now: &mut Instant, ends: &mut [Association; 2], ticks: u32) {
        for _ in 0..ticks {
            *now += TICK;
            for end in &mut *ends {
                end.handle_timeout(*now);
                end.turn(*now);
                end.flush(*now);
            }
            let [one, other] = &mut *ends;
            while let Some(packet) = one.poll_packet() {
                other.receive(*now, packet);
            }
            while let Some(packet) = other.poll_packet() {
                one.receive(*now, packet);
            }
        }
    }

    /// A caller and a callee that are connected.
    fn pair() -> (Instant, [Association; 2]) {
        let mut now = start();
        let mut ends = [Role::Caller, Role::Callee].map(Association::new);
        for end in &mut ends {
            assert!(!end.write(Ppid::Binary, b"early"), "nothing is up");
            end.connect();
            end.connect();
        }
        run(&mut now, &mut ends, 10);
        assert!(ends.iter().all(|end| end.established));
        (now, ends)
    }

    /// The INIT of a caller who knows nothing of the others.
    fn init_of_another() -> Vec<u8> {
        let mut other = Association::new(Role::Caller);
        other.connect();
        other.flush(start());
        other.poll_packet().unwrap()
    }

    #[test]
    fn messages_go_both_ways_with_what_they_are() {
        let (mut now, mut ends) = pair();
        assert!(ends[0].write(Ppid::Binary, b"one"));
        assert!(ends[0].write(Ppid::String, b"two"));
        assert!(ends[1].write(Ppid::Dcep, b"three"));
        run(&mut now, &mut ends, 10);
        let message = |ppid, data: &[u8]| Message {
            stream: 0,
            ppid,
            data: data.to_vec(),
        };
        assert_eq!(ends[1].poll_message(), Some(message(Ppid::Binary, b"one")));
        assert_eq!(ends[1].poll_message(), Some(message(Ppid::String, b"two")));
        assert_eq!(ends[0].poll_message(), Some(message(Ppid::Dcep, b"three")));
        assert_eq!(ends.each_mut().map(Association::poll_message), [None, None]);
    }

    #[test]
    fn what_is_lost_on_the_way_is_sent_again() {
        let (mut now, mut ends) = pair();
        assert!(ends[0].write(Ppid::Binary, b"one"));
        ends[0].flush(now);
        assert!(ends[0].poll_packet().is_some(), "and nobody gets it");
        assert!(ends[0].timeout().is_some_and(|at| at > now));
        run(&mut now, &mut ends, 300);
        assert_eq!(ends[1].poll_message().unwrap().data, b"one");
    }

    #[test]
    fn an_init_ends_no_association_that_is_up() {
        let (mut now, mut ends) = pair();
        let init = init_of_another();
        for end in &mut ends {
            assert!(end.receive(now, init.clone()), "expected");
            end.flush(now);
            assert_eq!(end.poll_packet(), None, "and not answered");
        }
        assert!(ends[0].write(Ppid::Binary, b"one"));
        run(&mut now, &mut ends, 10);
        assert_eq!(ends[1].poll_message().unwrap().data, b"one");
    }

    #[test]
    fn a_callee_may_follow_a_peer_that_starts_over_so_many_times() {
        let (mut now, mut ends) = pair();
        let own = ends[1].peer_tag.expect("a tag");
        let mut late = init_of_another();
        assert!(!ends[0].is_replaced_by(&late), "a caller never");
        for other in [
            &b"no INIT at all, although long enough"[..],
            &late[..=CHUNK],
        ] {
            assert!(!ends[1].is_replaced_by(other));
        }
        late[INITIATE_TAG..INITIATE_TAG + 4].copy_from_slice(&own);
        assert!(!ends[1].is_replaced_by(&late), "that one is late");
        for _ in 0..MAX_RESTARTS {
            ends[0] = Association::new(Role::Caller);
            ends[0].connect();
            ends[0].flush(now);
            let init = ends[0].poll_packet().unwrap();
            assert!(ends[1].is_replaced_by(&init));
            ends[1].restart();
            assert!(ends[1].receive(now, init));
            run(&mut now, &mut ends, 200);
            assert!(ends.iter().all(|end| end.established));
        }
        assert!(!ends[1].is_replaced_by(&init_of_another()));
    }

    #[test]
    fn an_association_that_is_lost_is_forgotten_so_many_times() {
        let (mut now, mut ends) = pair();
        for round in 0..=MAX_RESTARTS {
            // What an ABORT of the peer comes to.
            let (_, association) = ends[0].inner.as_mut().unwrap();
            association.close().unwrap();
            let lost = ends[0].turn(now);
            assert_eq!(lost, round < MAX_RESTARTS, "{round}");
            if lost {
                assert!(!ends[0].write(Ppid::Binary, b"x"), "nothing is up");
                ends[0].connect();
                ends[1] = Association::new(Role::Callee);
                run(&mut now, &mut ends, 200);
            }
        }
    }

    #[test]
    fn what_is_no_packet_of_sctp_is_nothing() {
        for role in [Role::Caller, Role::Callee] {
            let mut end = Association::new(role);
            end.connect();
            for packet in [&b""[..], b"hello", &[0; 12], &[7; 40]] {
                assert!(!end.receive(start(), packet.to_vec()));
            }
        }
    }
}
