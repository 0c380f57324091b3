//! A TURN client over UDP (RFC 8656) with long-term credentials (RFC 8489 9.2): one allocation, its permissions and
//! channels.
//!
//! ```text
//! Asking --401--> Asking (signed) --success--> Ready --437, no answer, lifetime 0--> Over
//!    \--any other error, no answer in 39.5 s--> Over                \--release--> Over
//! ```
//!
//! The socket belongs to the call: what is to be sent is polled, and goes to the server alone.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand::RngCore;
use rand::rngs::StdRng;

use super::stun::{Key, Message, TransactionId, Writer, attribute, class, method};

/// First wait for a response (RFC 8489 6.2.1); each wait is twice the one before.
const RTO: Duration = Duration::from_millis(500);
/// Times a request is sent (Rc), and the last wait in units of the first (Rm).
const SENDS: u32 = 7;
const LAST_WAIT: u32 = 16;
/// New nonces accepted for one request.
const NONCES: u8 = 3;
/// Longest realm and nonce accepted, octets (RFC 8489 14.9 and 14.10).
const LONGEST: usize = 763;
/// The relay is asked for UDP (RFC 8656 18.6).
const UDP: [u8; 4] = [17, 0, 0, 0];
const IPV6: [u8; 4] = [2, 0, 0, 0];
/// Assumed when the server does not say (RFC 8656 3.2).
const LIFETIME: u32 = 600;
/// An allocation and a channel are refreshed so long before they end.
const EARLY: Duration = Duration::from_secs(60);
/// A permission lasts 300 s (RFC 8656 9).
const PERMISSION_REFRESH: Duration = Duration::from_secs(240);
/// A channel lasts 600 s (RFC 8656 12).
const CHANNEL_REFRESH: Duration = Duration::from_secs(540);
/// Peers that may send through one allocation; a phone has a few addresses.
const PERMISSIONS: usize = 32;
/// Peers with a channel: those that get more than connectivity checks.
const CHANNELS: usize = 8;
const FIRST_CHANNEL: u16 = 0x4000;
/// STUN messages begin with 0 to 3, channel data with 64 to 79 (RFC 8656 12).
const STUN: std::ops::RangeInclusive<u8> = 0..=3;
const CHANNEL_DATA: std::ops::RangeInclusive<u8> = 0x40..=0x4f;

/// A datagram of the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received<'a> {
    /// A peer sent this.
    Peer(SocketAddr, &'a [u8]),
    /// It was for the client itself.
    Control,
    /// It was nothing.
    Garbage,
}

/// One allocation at one server.
pub(super) struct TurnClient {
    username: String,
    password: String,
    rng: StdRng,
    auth: Option<Auth>,
    allocation: Allocation,
    /// Where the server saw us.
    mapped: Option<SocketAddr>,
    wants_ipv6: bool,
    requests: Vec<Request>,
    permissions: Vec<Permission>,
    channels: Vec<Channel>,
    transmits: VecDeque<Vec<u8>>,
}

/// What the server said about how to sign.
struct Auth {
    realm: Vec<u8>,
    nonce: Vec<u8>,
    key: Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allocation {
    Asking,
    Ready {
        relayed: SocketAddr,
        refresh_at: Instant,
    },
    Over,
}

/// A request without a response so far (RFC 8489 6.2.1).
struct Request {
    id: TransactionId,
    what: What,
    bytes: Vec<u8>,
    sent: u32,
    next: Instant,
    nonces: u8,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Allocate,
    Refresh,
    Permission(IpAddr),
    Channel(u16),
}

struct Permission {
    ip: IpAddr,
    state: PermissionState,
    /// The last datagram that came too early: it saves the time until ICE repeats it.
    held: Option<(SocketAddr, Vec<u8>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PermissionState {
    /// There is no allocation yet.
    Wanted,
    Asked,
    Granted {
        refresh_at: Instant,
    },
    /// The server does not relay to there; the pair is dead, not the call.
    Refused,
}

struct Channel {
    number: u16,
    peer: SocketAddr,
    state: ChannelState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChannelState {
    Asked,
    Bound {
        refresh_at: Instant,
    },
    /// The peer is sent indications.
    Refused,
}

impl TurnClient {
    /// Begins to ask for an allocation, of IPv6 or IPv4. `rng` makes transaction ids, which must not be guessed.
    pub(super) fn new(
        now: Instant,
        wants_ipv6: bool,
        username: &str,
        password: &str,
        rng: StdRng,
    ) -> Self {
        let mut client = Self {
            username: username.to_owned(),
            password: password.to_owned(),
            rng,
            auth: None,
            allocation: Allocation::Asking,
            mapped: None,
            wants_ipv6,
            requests: Vec::new(),
            permissions: Vec::new(),
            channels: Vec::new(),
            transmits: VecDeque::new(),
        };
        client.ask(now, What::Allocate, 0);
        client
    }

    /// Returns the address at which peers reach us, while there is an allocation.
    pub(super) fn relayed(&self) -> Option<SocketAddr> {
        match self.allocation {
            Allocation::Ready { relayed, .. } => Some(relayed),
            Allocation::Asking | Allocation::Over => None,
        }
    }

    /// Returns the address from which our requests reached the server: our own, or that of the last NAT before it.
    pub(super) fn mapped(&self) -> Option<SocketAddr> {
        self.mapped
    }

    /// Whether there is no allocation and will be none.
    pub(super) fn is_over(&self) -> bool {
        self.allocation == Allocation::Over
    }

    /// Lets a peer send to us, as soon as there is an allocation.
    pub(super) fn permit(&mut self, now: Instant, ip: IpAddr) {
        let is_known = self.permissions.iter().any(|known| known.ip == ip);
        let may_be_asked = ip.is_ipv6() == self.wants_ipv6 && !self.is_over();
        if is_known || !may_be_asked || self.permissions.len() == PERMISSIONS {
            return;
        }
        self.permissions.push(Permission {
            ip,
            state: PermissionState::Wanted,
            held: None,
        });
        self.ask_for_permissions(now);
    }

    /// Returns what to send to the server so that it sends `data` to `peer`; `None` when it would not, or not yet.
    pub(super) fn send(&mut self, now: Instant, peer: SocketAddr, data: &[u8]) -> Option<Vec<u8>> {
        self.relayed()?;
        let Some(permission) = self.permissions.iter_mut().find(|p| p.ip == peer.ip()) else {
            self.permit(now, peer.ip());
            return None;
        };
        match permission.state {
            PermissionState::Wanted | PermissionState::Asked => {
                permission.held = Some((peer, data.to_vec()));
                return None;
            }
            PermissionState::Refused => return None,
            PermissionState::Granted { .. } => {}
        }
        match self.channels.iter().find(|channel| channel.peer == peer) {
            Some(Channel {
                number,
                state: ChannelState::Bound { .. },
                ..
            }) => return channel_data(*number, data),
            Some(_) => {}
            None => self.bind_if_worth(now, peer, data),
        }
        Some(self.indication(peer, data))
    }

    /// Gives the allocation back; it is said once, for the socket closes then.
    pub(super) fn release(&mut self) {
        if self.relayed().is_some() {
            let id = self.new_id();
            let message =
                Writer::new(method::REFRESH, class::REQUEST, &id).add(attribute::LIFETIME, &[0; 4]);
            self.transmits.push_back(self.signed(message));
        }
        self.end();
    }

    fn end(&mut self) {
        self.allocation = Allocation::Over;
        self.requests.clear();
        self.permissions.clear();
        self.channels.clear();
    }

    /// Returns the next datagram for the server.
    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    // -- time ----------------------------------------------------------------------------------------------------

    /// When to call [`TurnClient::handle_timeout`].
    pub(super) fn timeout(&self) -> Option<Instant> {
        let allocation = match self.allocation {
            Allocation::Ready { refresh_at, .. } => Some(refresh_at),
            Allocation::Asking | Allocation::Over => None,
        };
        let requests = self.requests.iter().map(|request| request.next);
        let permissions = self.permissions.iter().filter_map(|p| p.state.refresh_at());
        let channels = self.channels.iter().filter_map(|c| c.state.refresh_at());
        let all = requests.chain(permissions).chain(channels);
        all.chain(allocation).min()
    }

    /// Repeats requests and refreshes what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.repeat(now);
        if let Allocation::Ready { refresh_at, .. } = &mut self.allocation
            && *refresh_at <= now
        {
            *refresh_at = now + EARLY; // the response says when next
            self.ask(now, What::Refresh, 0);
        }
        for at in 0..self.permissions.len() {
            if let Some(permission) = self.permissions.get_mut(at)
                && let PermissionState::Granted { refresh_at } = &mut permission.state
                && *refresh_at <= now
            {
                *refresh_at = now + PERMISSION_REFRESH;
                let what = What::Permission(permission.ip);
                self.ask(now, what, 0);
            }
        }
        for at in 0..self.channels.len() {
            if let Some(channel) = self.channels.get_mut(at)
                && let ChannelState::Bound { refresh_at } = &mut channel.state
                && *refresh_at <= now
            {
                *refresh_at = now + CHANNEL_REFRESH;
                let what = What::Channel(channel.number);
                self.ask(now, what, 0);
            }
        }
    }

    fn repeat(&mut self, now: Instant) {
        let mut unanswered = Vec::new();
        for request in &mut self.requests {
            if request.next > now {
                continue;
            }
            if request.sent == SENDS {
                unanswered.push(request.id);
                continue;
            }
            request.sent += 1;
            let wait = match request.sent {
                SENDS => RTO * LAST_WAIT,
                sent => RTO * (1 << (sent - 1)),
            };
            request.next = now + wait;
            self.transmits.push_back(request.bytes.clone());
        }
        for id in unanswered {
            if let Some(request) = self.take_request(&id) {
                self.on_silence(now, request.what);
            }
        }
    }

    fn on_silence(&mut self, now: Instant, what: What) {
        match what {
            What::Allocate | What::Refresh => {
                tracing::debug!(?what, "the TURN server does not answer");
                self.end();
            }
            // A path that is broken for so long; as soon as it is mended, the peer is wanted again.
            What::Permission(_) => self.ask(now, what, 0),
            What::Channel(number) => self.set_channel(number, ChannelState::Refused),
        }
    }

    // -- requests ------------------------------------------------------------------------------------------------

    fn new_id(&mut self) -> TransactionId {
        let mut id = [0; 12];
        self.rng.fill_bytes(&mut id);
        id
    }

    fn ask(&mut self, now: Instant, what: What, nonces: u8) {
        let id = self.new_id();
        let message = match what {
            What::Allocate => {
                let message = Writer::new(method::ALLOCATE, class::REQUEST, &id)
                    .add(attribute::REQUESTED_TRANSPORT, &UDP);
                // Without it the family is IPv4; servers of RFC 5766 alone do not know it.
                if self.wants_ipv6 {
                    message.add(attribute::REQUESTED_ADDRESS_FAMILY, &IPV6)
                } else {
                    message
                }
            }
            What::Refresh => Writer::new(method::REFRESH, class::REQUEST, &id)
                .add(attribute::LIFETIME, &LIFETIME.to_be_bytes()),
            What::Permission(ip) => Writer::new(method::CREATE_PERMISSION, class::REQUEST, &id)
                .add_address(attribute::XOR_PEER_ADDRESS, SocketAddr::new(ip, 0)),
            What::Channel(number) => {
                let Some(channel) = self.channels.iter().find(|c| c.number == number) else {
                    return;
                };
                let [high, low] = number.to_be_bytes();
                Writer::new(method::CHANNEL_BIND, class::REQUEST, &id)
                    .add(attribute::CHANNEL_NUMBER, &[high, low, 0, 0])
                    .add_address(attribute::XOR_PEER_ADDRESS, channel.peer)
            }
        };
        let bytes = self.signed(message);
        self.transmits.push_back(bytes.clone());
        self.requests.push(Request {
            id,
            what,
            bytes,
            sent: 1,
            next: now + RTO,
            nonces,
        });
    }

    fn signed(&self, message: Writer) -> Vec<u8> {
        match &self.auth {
            Some(auth) => message
                .add(attribute::USERNAME, self.username.as_bytes())
                .add(attribute::REALM, &auth.realm)
                .add(attribute::NONCE, &auth.nonce)
                .sign(&auth.key)
                .finish(),
            None => message.finish(),
        }
    }

    fn take_request(&mut self, id: &TransactionId) -> Option<Request> {
        let at = self.requests.iter().position(|known| known.id == *id)?;
        Some(self.requests.swap_remove(at))
    }

    fn ask_for_permissions(&mut self, now: Instant) {
        if self.relayed().is_none() {
            return;
        }
        let mut wanted = Vec::new();
        for permission in &mut self.permissions {
            if permission.state == PermissionState::Wanted {
                permission.state = PermissionState::Asked;
                wanted.push(permission.ip);
            }
        }
        for ip in wanted {
            self.ask(now, What::Permission(ip), 0);
        }
    }

    /// A peer that gets media is worth a channel: 32 octets less a packet.
    fn bind_if_worth(&mut self, now: Instant, peer: SocketAddr, data: &[u8]) {
        let is_check = data.first().is_some_and(|first| STUN.contains(first));
        let taken = u16::try_from(self.channels.len()).unwrap_or(u16::MAX);
        if is_check || self.channels.len() == CHANNELS {
            return;
        }
        let number = FIRST_CHANNEL.saturating_add(taken);
        self.channels.push(Channel {
            number,
            peer,
            state: ChannelState::Asked,
        });
        self.ask(now, What::Channel(number), 0);
    }

    fn indication(&mut self, peer: SocketAddr, data: &[u8]) -> Vec<u8> {
        let id = self.new_id();
        Writer::new(method::SEND, class::INDICATION, &id)
            .add_address(attribute::XOR_PEER_ADDRESS, peer)
            .add(attribute::DATA, data)
            .finish()
    }

    // -- the server ----------------------------------------------------------------------------------------------

    /// Takes a datagram that came from the server's address.
    pub(super) fn receive<'a>(&mut self, now: Instant, bytes: &'a [u8]) -> Received<'a> {
        match bytes.first() {
            Some(first) if CHANNEL_DATA.contains(first) => self.on_channel_data(bytes),
            Some(first) if STUN.contains(first) => match Message::parse(bytes) {
                Some(message) => self.on_message(now, &message),
                None => Received::Garbage,
            },
            Some(_) | None => Received::Garbage,
        }
    }

    fn on_channel_data<'a>(&self, bytes: &'a [u8]) -> Received<'a> {
        let read = || {
            let (head, rest) = bytes.split_at_checked(4)?;
            let [a, b, c, d]: [u8; 4] = head.try_into().ok()?;
            let number = u16::from_be_bytes([a, b]);
            let channel = self.channels.iter().find(|c| c.number == number)?;
            let data = rest.get(..usize::from(u16::from_be_bytes([c, d])))?;
            Some(Received::Peer(channel.peer, data))
        };
        read().unwrap_or(Received::Garbage)
    }

    fn on_message<'a>(&mut self, now: Instant, message: &Message<'a>) -> Received<'a> {
        match (message.class(), message.method()) {
            (class::INDICATION, method::DATA) => {
                let peer = message.address(attribute::XOR_PEER_ADDRESS);
                match (peer, message.attribute(attribute::DATA)) {
                    (Some(peer), Some(data)) if self.is_permitted(peer.ip()) => {
                        Received::Peer(peer, data)
                    }
                    _ => Received::Garbage,
                }
            }
            (class::SUCCESS | class::ERROR, _) if self.on_response(now, message) => {
                Received::Control
            }
            _ => Received::Garbage,
        }
    }

    fn is_permitted(&self, ip: IpAddr) -> bool {
        let mut known = self.permissions.iter();
        known.any(|p| p.ip == ip && p.state != PermissionState::Refused)
    }

    /// Takes a response; false when it is to nothing we asked, or not by who knows the password.
    fn on_response(&mut self, now: Instant, message: &Message<'_>) -> bool {
        let is_success = message.class() == class::SUCCESS;
        let is_signed = match &self.auth {
            Some(auth) => message.is_signed(&auth.key),
            None => true,
        };
        // Errors may come unsigned (RFC 8489 9.2.5); whoever knows the transaction's id sees our packets anyway.
        if is_success && !is_signed {
            return false;
        }
        let Some(request) = self.take_request(&message.id) else {
            return false;
        };
        if is_success {
            self.on_success(now, request.what, message);
        } else {
            self.on_error(now, &request, message);
        }
        true
    }

    fn on_success(&mut self, now: Instant, what: What, message: &Message<'_>) {
        match what {
            What::Allocate => match message.address(attribute::XOR_RELAYED_ADDRESS) {
                Some(relayed) if relayed.is_ipv6() == self.wants_ipv6 => {
                    let refresh_at = now + refresh_after(message);
                    self.mapped = message.address(attribute::XOR_MAPPED_ADDRESS);
                    self.allocation = Allocation::Ready {
                        relayed,
                        refresh_at,
                    };
                    self.ask_for_permissions(now);
                }
                Some(_) | None => self.end(),
            },
            What::Refresh => match (message.number(attribute::LIFETIME), &mut self.allocation) {
                (Some(0), _) => self.end(),
                (_, Allocation::Ready { refresh_at, .. }) => {
                    *refresh_at = now + refresh_after(message);
                }
                (_, Allocation::Asking | Allocation::Over) => {}
            },
            What::Permission(ip) => {
                let refresh_at = now + PERMISSION_REFRESH;
                self.set_permission(ip, PermissionState::Granted { refresh_at });
            }
            What::Channel(number) => {
                let refresh_at = now + CHANNEL_REFRESH;
                self.set_channel(number, ChannelState::Bound { refresh_at });
            }
        }
    }

    fn on_error(&mut self, now: Instant, request: &Request, message: &Message<'_>) {
        let what = request.what;
        let code = message.error_code();
        let is_stale = match code {
            Some(401) => self.auth.is_none(),
            Some(438) => true,
            Some(_) | None => false,
        };
        if is_stale && request.nonces < NONCES && self.learn(message) {
            return self.ask(now, what, request.nonces + 1);
        }
        tracing::debug!(?what, code, "the TURN server refuses");
        match what {
            What::Allocate | What::Refresh => self.end(),
            What::Permission(ip) => self.set_permission(ip, PermissionState::Refused),
            What::Channel(number) => self.set_channel(number, ChannelState::Refused),
        }
    }

    /// Takes realm and nonce of a challenge.
    fn learn(&mut self, message: &Message<'_>) -> bool {
        let value = |kind| {
            let value = message.attribute(kind);
            value.filter(|value| !value.is_empty() && value.len() <= LONGEST)
        };
        let known = self.auth.take().map(|auth| auth.realm);
        let realm = value(attribute::REALM).map(<[u8]>::to_vec).or(known);
        let (Some(realm), Some(nonce)) = (realm, value(attribute::NONCE)) else {
            return false;
        };
        self.auth = Some(Auth {
            key: Key::new(&self.username, &realm, &self.password),
            realm,
            nonce: nonce.to_vec(),
        });
        true
    }

    fn set_permission(&mut self, ip: IpAddr, state: PermissionState) {
        let Some(permission) = self.permissions.iter_mut().find(|p| p.ip == ip) else {
            return;
        };
        permission.state = state;
        let held = permission.held.take();
        if let (Some((peer, data)), PermissionState::Granted { .. }) = (held, state) {
            let bytes = self.indication(peer, &data);
            self.transmits.push_back(bytes);
        }
    }

    fn set_channel(&mut self, number: u16, state: ChannelState) {
        if let Some(channel) = self.channels.iter_mut().find(|c| c.number == number) {
            channel.state = state;
        }
    }
}

impl PermissionState {
    fn refresh_at(self) -> Option<Instant> {
        match self {
            PermissionState::Granted { refresh_at } => Some(refresh_at),
            PermissionState::Wanted | PermissionState::Asked | PermissionState::Refused => None,
        }
    }
}

impl ChannelState {
    fn refresh_at(self) -> Option<Instant> {
        match self {
            ChannelState::Bound { refresh_at } => Some(refresh_at),
            ChannelState::Asked | ChannelState::Refused => None,
        }
    }
}

/// How long to wait with the next refresh: a minute less than the lifetime, or half of a short one.
fn refresh_after(message: &Message<'_>) -> Duration {
    let lifetime = message.number(attribute::LIFETIME).unwrap_or(LIFETIME);
    let lifetime = Duration::from_secs(lifetime.into());
    let wait = lifetime.saturating_sub(EARLY).max(lifetime / 2);
    wait.max(Duration::from_secs(1))
}

/// Over UDP there is no padding (RFC 8656 12.5).
fn channel_data(number: u16, data: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(data.len()).ok()?;
    let mut bytes = Vec::with_capacity(4 + data.len());
    bytes.extend(number.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(data);
    Some(bytes)
}

#[cfg(test)]
mod tests;
