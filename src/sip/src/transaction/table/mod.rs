//! The table of all transactions: keys, matching, timers. The rules are in the machines.

mod arrivals;
mod clients;
mod servers;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::Transport;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::action::Failure;
use super::client::Client;
use super::driver::{ClientKey, Input, Output, SentBy, ServerKey, TransactionsConfig};
use super::invite_client::{self, InviteClient};
use super::invite_server::InviteServer;
use super::matching::{ClientMatch, MergeMatch, ServerMatch};
use super::repeats::Repeats;
use super::server::Server;
use super::timer::Timers;
use crate::Hop;
use crate::message::{HeaderName, Host, MAGIC_COOKIE, Request, Response, Via};
use crate::oc::{self, Load, Restraints};

/// What a Via adds to a request, at most: one with an address of IPv4, and with one of IPv6.
const VIA: [usize; 2] = [120, 140];
/// What is drawn from when a server wants fewer calls.
const LOTS: std::ops::Range<u8> = 0..100;

/// The transport and transaction layers (RFC 3261 17, 18; RFC 6026; RFC 3581). One per process.
///
/// After every input the caller drains [`Transactions::poll_output`] until it gives [`Output::Timeout`]; only then comes
/// the next input. ACKs are never answered, stray responses never heard of again.
#[derive(Debug)]
pub struct Transactions {
    config: TransactionsConfig,
    rng: StdRng,
    /// Our address towards the peer of the next request.
    here: Option<IpAddr>,
    last_key: u64,
    outputs: VecDeque<Output>,
    timers: Timers<Owner>,
    servers: HashMap<ServerKey, ServerEntry>,
    clients: HashMap<ClientKey, ClientEntry>,
    server_matches: HashMap<ServerMatch, ServerKey>,
    merge_matches: HashMap<MergeMatch, ServerKey>,
    client_matches: HashMap<ClientMatch, ClientKey>,
    /// Server transactions that got no answer above 100 and below 300 yet: the first to go when the table is full.
    strangers: BTreeSet<ServerKey>,
    /// The octets of the datagram that is being looked at.
    arriving: usize,
    /// What makes the tags of answers without a transaction ours.
    tag_key: u64,
    repeats_in: Repeats,
    repeats_out: Repeats,
    /// What servers have asked for that have too much to do.
    restraints: Restraints,
    /// What clients are asked for that offer it.
    load: Load,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Owner {
    Server(ServerKey),
    Client(ClientKey),
}

#[derive(Debug)]
struct ServerEntry {
    machine: ServerMachine,
    target: Hop,
    /// Where a new connection for the answer leads, when that of the request has ended (RFC 3261 18.2.2).
    back: Hop,
    identity: ServerMatch,
    merge: Option<MergeMatch>,
    /// The To tag of our last response, for the 200 to a CANCEL (RFC 3261 9.2).
    to_tag: Option<String>,
}

#[derive(Debug)]
enum ServerMachine {
    Invite(InviteServer),
    Other(Server),
}

#[derive(Debug)]
struct ClientEntry {
    machine: ClientMachine,
    target: Hop,
    identity: ClientMatch,
    /// The request without Via, when it went by TCP for its length and may yet go by UDP: until somebody has answered it.
    plain: Option<Box<Request>>,
    /// `None` for a CANCEL, whose responses interest nobody.
    user: Option<u64>,
    /// The Reason of a CANCEL that waits.
    cancel_reason: Option<String>,
}

#[derive(Debug)]
enum ClientMachine {
    Invite(Box<InviteClient>),
    Other(Client),
}

impl Transactions {
    /// Returns an empty table; the seed must be unpredictable to strangers, as branches are made of it.
    pub fn new(config: TransactionsConfig, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        Self {
            config,
            tag_key: rng.random(),
            rng,
            here: None,
            last_key: 0,
            outputs: VecDeque::new(),
            timers: Timers::new(),
            servers: HashMap::new(),
            clients: HashMap::new(),
            server_matches: HashMap::new(),
            merge_matches: HashMap::new(),
            client_matches: HashMap::new(),
            strangers: BTreeSet::new(),
            arriving: 0,
            repeats_in: Repeats::default(),
            repeats_out: Repeats::default(),
            restraints: Restraints::default(),
            load: Load::new(0, Duration::ZERO),
        }
    }

    /// From now on responses ask this of clients that offer to hold back (RFC 7339).
    pub fn set_load(&mut self, load: Load) {
        self.load = load;
    }

    /// Returns how many server transactions there are.
    pub fn server_count(&self) -> usize {
        self.servers.len()
    }

    /// Returns how many client transactions there are.
    pub fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// Returns whether a request of ours is under way: not one that was held back, or found no room.
    pub fn is_under_way(&self, tx: ClientKey) -> bool {
        self.clients.contains_key(&tx)
    }

    /// Returns how many messages came again: requests and final responses, also a second success to an INVITE.
    pub fn repeats_in(&self) -> Repeats {
        self.repeats_in
    }

    /// Returns how many messages were sent again: by a timer, or because the peer repeated its own.
    pub fn repeats_out(&self) -> Repeats {
        self.repeats_out
    }

    /// Takes one input.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Received { source, bytes } => self.on_datagram(now, source, &bytes),
            Input::Refused { source, parsed } => self.on_parsed(now, source, parsed),
            Input::Timeout => self.on_timeout(now),
            Input::Request {
                target,
                request,
                user,
            } => {
                self.request(now, target, request, user);
            }
            Input::Cancel { tx, reason } => {
                if let Some(entry) = self.clients.get_mut(&tx) {
                    entry.cancel_reason = reason;
                    self.invite_client(now, tx, invite_client::Event::Cancel);
                }
            }
            Input::GiveUp { tx } => self.forget_client(tx),
            Input::Respond { tx, response } => self.on_respond(now, tx, response),
            Input::Stateless { tx, mut response } => {
                if let Some(target) = self.servers.get(&tx).map(|entry| entry.target) {
                    self.forget_server(tx);
                    self.load.write(&mut response);
                    self.transmit(target, response.encode());
                }
            }
            Input::Reply { source, response } => {
                if let Some(mut via) = response.headers.via() {
                    let target = self.reply_target(&mut via, source);
                    self.answer_once(source, target, &response);
                }
            }
            Input::Ack {
                target,
                mut request,
            } => {
                self.add_via(target, &mut request);
                self.transmit(target, request.encode());
            }
            Input::Unreachable { target } => self.on_unreachable(now, target),
        }
    }

    /// Returns the next effect; [`Output::Timeout`] when there is no other.
    pub fn poll_output(&mut self) -> Output {
        self.outputs
            .pop_front()
            .unwrap_or_else(|| Output::Timeout(self.timers.next()))
    }

    /// Sends a request in a new client transaction and returns its key; the same as [`Input::Request`]. One that begins a call may be held
    /// back, when its target asked for that: it fails with [`super::Failure::HeldBack`].
    pub fn request(
        &mut self,
        now: Instant,
        target: Hop,
        mut request: Request,
        user: u64,
    ) -> ClientKey {
        let tx = ClientKey(self.next_key());
        if !self.restraints.is_empty() {
            let lot = self.rng.random_range(LOTS);
            if self.restraints.holds_back(now, target, &request, lot) {
                let why = Failure::HeldBack;
                self.outputs.push_back(Output::Failed { user, tx, why });
                return tx;
            }
        }
        let [via, long_via] = VIA;
        let via = if target.address.is_ipv4() {
            via
        } else {
            long_via
        };
        let is_long = |most| request.encode().len() + via > most;
        if target.transport == Transport::Udp && self.config.datagram.is_some_and(is_long) {
            let plain = Some(Box::new(request.clone()));
            let stream = Hop::new(Transport::Tcp, target.address);
            self.add_via(stream, &mut request);
            self.start_client(now, tx, stream, request, Some(user), plain);
        } else {
            self.add_via(target, &mut request);
            self.start_client(now, tx, target, request, Some(user), None);
        }
        tx
    }

    /// Says which of our addresses leads to the peer of the next request: its Via names it where we are bound to all of them. Only
    /// who can ask for the route knows it, and `received` corrects what the peer sees otherwise (RFC 3261 18.2.1).
    pub fn set_here(&mut self, here: IpAddr) {
        self.here = Some(here);
    }

    /// Returns where an answer to a request to this hop finds us.
    fn sent_by(&self, target: Hop) -> Option<&SentBy> {
        let ours = || self.config.sent_by.iter();
        let serves = |ours: &&SentBy| ours.transport == target.transport;
        let reaches = |ours: &&SentBy| {
            let ip = ours.host.ip();
            ip.is_none_or(|ip| ip.is_ipv4() == target.address.is_ipv4())
        };
        let both = |ours: &&SentBy| serves(ours) && reaches(ours);
        ours()
            .find(both)
            .or_else(|| ours().find(serves))
            .or_else(|| ours().find(reaches))
            .or_else(|| ours().next())
    }

    /// Returns whether a Via is one of ours.
    fn is_sent_by_us(&self, via: &Via) -> bool {
        self.config.sent_by.iter().any(|ours| {
            let any = is_any(&ours.host);
            (any || via.host == ours.host) && via.port == ours.port
        })
    }

    /// Returns the To tag of an answer without a transaction: the same for the same request (RFC 3261 8.2.7).
    pub fn tag_of(&self, request: &Request) -> String {
        let mut hasher = DefaultHasher::new();
        self.tag_key.hash(&mut hasher);
        for name in [
            HeaderName::Via,
            HeaderName::CallId,
            HeaderName::From,
            HeaderName::CSeq,
        ] {
            request.headers.get(&name).hash(&mut hasher);
        }
        format!("{:08x}", hasher.finish() >> 32)
    }

    /// Sends an answer that nothing remembers. By datagram it is never more than one and a half of what it answers (SEC-D3):
    /// its headers get their short names if need be, then what is asked of a client that offers to hold back is left out, and what is
    /// still too long is not sent.
    fn answer_once(&mut self, source: Hop, target: Hop, response: &Response) {
        let most = self.arriving + self.arriving / 2;
        let fits = |bytes: &Bytes| source.is_reliable() || bytes.len() <= most;
        let mut asking = response.clone();
        self.load.write(&mut asking);
        let bytes = Some(asking.encode())
            .filter(fits)
            .or_else(|| Some(asking.encode_short()).filter(fits))
            .or_else(|| Some(response.encode_short()).filter(fits));
        let Some(bytes) = bytes else {
            let why = "shorter than its answer";
            return self.outputs.push_back(Output::Malformed { source, why });
        };
        self.transmit(target, bytes);
    }

    fn transmit(&mut self, target: Hop, bytes: Bytes) {
        self.outputs.push_back(Output::Transmit { target, bytes });
    }

    fn next_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }

    /// RFC 3261 8.1.1.7: every request has a branch of its own; RFC 3581 3: and asks for its source port.
    fn add_via(&mut self, target: Hop, request: &mut Request) {
        let branch = format!(
            "{MAGIC_COOKIE}{:016x}{:016x}",
            self.rng.random::<u64>(),
            self.rng.random::<u64>()
        );
        let host = |ours: &SentBy| {
            let here = self.here.filter(|_| is_any(&ours.host));
            let here = here.filter(|here| here.is_ipv4() == target.address.is_ipv4());
            here.map_or_else(|| ours.host.clone(), Host::from)
        };
        let via = self
            .sent_by(target)
            .map(|ours| Via::new(target.transport, host(ours), ours.port, &branch));
        if let Some(mut via) = via {
            oc::offer(&mut via);
            request.headers.push_front(HeaderName::Via, via);
        }
        if !request.headers.has(&HeaderName::MaxForwards) {
            request.headers.push(HeaderName::MaxForwards, 70);
        }
    }
}

/// Whether a host is no address, but all of them.
fn is_any(host: &Host) -> bool {
    host.ip().is_some_and(|ip| ip.is_unspecified())
}

#[cfg(test)]
mod tests;
