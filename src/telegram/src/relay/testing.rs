//! Relays for tests in virtual time: a TURN server that forgets what is not refreshed and whose nonce grows stale, and a
//! reflector (telegram-calls 12).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::stun::{Key, Message, Writer, attribute, class, method};

pub(crate) const USERNAME: &str = "caller";
pub(crate) const PASSWORD: &str = "secret";
const REALM: &[u8] = b"example.org";

/// A datagram on its way: from, to, bytes.
pub(crate) type Parcel = (SocketAddr, SocketAddr, Vec<u8>);

/// One server with one allocation for each client address.
pub(crate) struct TurnServer {
    pub(crate) address: SocketAddr,
    /// Seconds an allocation lives.
    pub(crate) lifetime: u32,
    /// How long a nonce is good.
    pub(crate) nonce_life: Duration,
    /// Peers it does not relay to.
    pub(crate) refuses: Option<IpAddr>,
    pub(crate) password: &'static str,
    /// The address a NAT has given to every client.
    pub(crate) mapped: Option<SocketAddr>,
    /// What was asked, by method.
    pub(crate) asked: HashMap<u16, usize>,
    clients: Vec<Client>,
    begin: Instant,
    next_port: u16,
}

struct Client {
    source: SocketAddr,
    relayed: SocketAddr,
    until: Instant,
    permissions: HashMap<IpAddr, Instant>,
    channels: HashMap<u16, (SocketAddr, Instant)>,
}

impl TurnServer {
    pub(crate) fn new(begin: Instant, address: SocketAddr) -> Self {
        Self {
            address,
            lifetime: 600,
            nonce_life: Duration::from_secs(3600),
            refuses: None,
            password: PASSWORD,
            mapped: None,
            asked: HashMap::new(),
            clients: Vec::new(),
            begin,
            next_port: 50_000,
        }
    }

    /// How many allocations there are.
    pub(crate) fn allocations(&self, now: Instant) -> usize {
        self.clients.iter().filter(|c| c.until > now).count()
    }

    /// Whether somebody may send this client something.
    pub(crate) fn is_permitted(&self, now: Instant, peer: IpAddr) -> bool {
        let mut clients = self.clients.iter();
        clients.any(|c| c.permissions.get(&peer).is_some_and(|until| *until > now))
    }

    /// Whether this address is one of the relay's.
    pub(crate) fn relays(&self, address: SocketAddr) -> bool {
        self.clients.iter().any(|c| c.relayed == address)
    }

    /// Takes a datagram sent to the server or to an address it relays for.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        source: SocketAddr,
        target: SocketAddr,
        bytes: &[u8],
    ) -> Option<Parcel> {
        self.clients.retain(|client| client.until > now);
        if target != self.address {
            return self.of_peer(now, source, target, bytes);
        }
        if (0x40..0x50).contains(bytes.first()?) {
            let number = u16::from_be_bytes([bytes[0], bytes[1]]);
            let client = self.clients.iter().find(|c| c.source == source)?;
            let (peer, until) = client.channels.get(&number)?;
            let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
            let fine = *until > now && bytes.len() == 4 + length;
            return fine.then(|| (client.relayed, *peer, bytes[4..].to_vec()));
        }
        let message = Message::parse(bytes)?;
        if message.class() == class::INDICATION {
            let client = self.clients.iter().find(|c| c.source == source)?;
            let peer = message.address(attribute::XOR_PEER_ADDRESS)?;
            let data = message.attribute(attribute::DATA)?.to_vec();
            let fine = client.permissions.get(&peer.ip()).is_some_and(|u| *u > now);
            return fine.then_some((client.relayed, peer, data));
        }
        *self.asked.entry(message.method()).or_default() += 1;
        let answer = self.answer(now, source, &message)?;
        Some((self.address, source, answer))
    }

    fn of_peer(
        &mut self,
        now: Instant,
        source: SocketAddr,
        target: SocketAddr,
        bytes: &[u8],
    ) -> Option<Parcel> {
        let client = self.clients.iter().find(|c| c.relayed == target)?;
        let permitted = client.permissions.get(&source.ip());
        permitted.filter(|until| **until > now)?;
        let channel = client
            .channels
            .iter()
            .find(|(_, (peer, until))| *peer == source && *until > now);
        let bytes = match channel {
            Some((number, _)) => {
                let mut data = number.to_be_bytes().to_vec();
                data.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
                data.extend(bytes);
                data
            }
            None => Writer::new(method::DATA, class::INDICATION, &[3; 12])
                .add_address(attribute::XOR_PEER_ADDRESS, source)
                .add(attribute::DATA, bytes)
                .finish(),
        };
        Some((self.address, client.source, bytes))
    }

    fn nonce(&self, now: Instant) -> Vec<u8> {
        let age = (now - self.begin).as_millis() / self.nonce_life.as_millis();
        format!("nonce-{age}").into_bytes()
    }

    fn answer(
        &mut self,
        now: Instant,
        source: SocketAddr,
        message: &Message<'_>,
    ) -> Option<Vec<u8>> {
        let key = Key::new(USERNAME, REALM, self.password);
        let error = |code: u16, nonce: bool| {
            let [class_, number] = [code / 100, code % 100].map(|n| u8::try_from(n).unwrap());
            let answer = Writer::new(message.method(), class::ERROR, &message.id)
                .add(attribute::ERROR_CODE, &[0, 0, class_, number]);
            let answer = if nonce {
                let answer = answer.add(attribute::REALM, REALM);
                answer.add(attribute::NONCE, &self.nonce(now))
            } else {
                answer
            };
            Some(answer.finish())
        };
        if !message.is_signed(&key) {
            return error(401, true);
        }
        if message.attribute(attribute::NONCE) != Some(&self.nonce(now)) {
            return error(438, true);
        }
        let success = Writer::new(message.method(), class::SUCCESS, &message.id);
        let at = self.clients.iter().position(|c| c.source == source);
        let peer = message.address(attribute::XOR_PEER_ADDRESS);
        let success = match (message.method(), at) {
            (method::ALLOCATE, None) => {
                let relayed = SocketAddr::new(self.address.ip(), self.next_port);
                self.next_port += 1;
                self.clients.push(Client {
                    source,
                    relayed,
                    until: now + Duration::from_secs(self.lifetime.into()),
                    permissions: HashMap::new(),
                    channels: HashMap::new(),
                });
                success
                    .add_address(attribute::XOR_RELAYED_ADDRESS, relayed)
                    .add_address(attribute::XOR_MAPPED_ADDRESS, self.mapped.unwrap_or(source))
                    .add(attribute::LIFETIME, &self.lifetime.to_be_bytes())
            }
            (method::REFRESH, Some(at)) => {
                let wanted = message.number(attribute::LIFETIME).unwrap();
                let lifetime = wanted.min(self.lifetime);
                self.clients[at].until = now + Duration::from_secs(lifetime.into());
                success.add(attribute::LIFETIME, &lifetime.to_be_bytes())
            }
            (method::CREATE_PERMISSION, Some(at)) => {
                let ip = peer?.ip();
                if self.refuses == Some(ip) {
                    return error(403, false);
                }
                let until = now + Duration::from_secs(300);
                self.clients[at].permissions.insert(ip, until);
                success
            }
            (method::CHANNEL_BIND, Some(at)) => {
                let number = message.attribute(attribute::CHANNEL_NUMBER)?;
                let number = u16::from_be_bytes([number[0], number[1]]);
                let until = now + Duration::from_secs(600);
                self.clients[at].channels.insert(number, (peer?, until));
                success
            }
            _ => return error(437, false),
        };
        Some(success.sign(&key).finish())
    }
}

/// A reflector that knows its ends by their ids.
pub(crate) struct ReflectorServer {
    pub(crate) address: SocketAddr,
    ends: HashMap<Vec<u8>, SocketAddr>,
}

impl ReflectorServer {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let ends = HashMap::new();
        Self { address, ends }
    }

    /// Answers a hello, passes anything else on to the end it names.
    pub(crate) fn receive(&mut self, source: SocketAddr, bytes: &[u8]) -> Option<Parcel> {
        let id = bytes.get(..16)?.to_vec();
        if bytes.get(16..28) == Some(&[0xff; 12]) {
            self.ends.insert(id.clone(), source);
            let answer = [id, vec![0xff; 12]].concat();
            return Some((self.address, source, answer));
        }
        let target = self.ends.get(&id)?;
        Some((self.address, *target, bytes.to_vec()))
    }
}
