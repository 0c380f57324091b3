//! Two peers with a transaction layer each, a network that can lose datagrams, and a clock that only the test moves.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use std::net::SocketAddr;

use crate::Hop;
use crate::message::{HeaderName, Method, NameAddr, Request};
use crate::transaction::{ClientKey, Input, Output, Transactions, TransactionsConfig};

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Alice,
    Bob,
}

impl Side {
    pub(crate) fn address(self) -> Hop {
        let ip = if self == Self::Alice {
            [192, 0, 2, 1]
        } else {
            [192, 0, 2, 2]
        };
        Hop::udp(SocketAddr::from((ip, 5060)))
    }

    pub(crate) fn other(self) -> Self {
        if self == Self::Alice {
            Self::Bob
        } else {
            Self::Alice
        }
    }
}

/// The two peers.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) alice: Transactions,
    pub(crate) bob: Transactions,
    /// What the two hand to their users, in order.
    pub(crate) seen: VecDeque<(Side, Output)>,
    /// The first lines of all datagrams sent, lost ones included.
    pub(crate) wire: Vec<(Side, String)>,
    /// The last datagram sent.
    pub(crate) last: Option<(Side, Bytes)>,
    flying: VecDeque<(Side, Bytes)>,
    lose: usize,
    /// How many datagrams of a hundred get lost, and the dice that say which.
    weather: (u8, SmallRng),
}

impl Pair {
    #[allow(clippy::disallowed_methods)] // an arbitrary start of virtual time
    pub(crate) fn new() -> Self {
        let transactions = |side: Side, seed| {
            let address = side.address();
            Transactions::new(
                TransactionsConfig::new(address.ip().into(), Some(address.address.port())),
                seed,
            )
        };
        Self {
            now: Instant::now(),
            alice: transactions(Side::Alice, 1),
            bob: transactions(Side::Bob, 2),
            seen: VecDeque::new(),
            wire: Vec::new(),
            last: None,
            flying: VecDeque::new(),
            lose: 0,
            weather: (0, SmallRng::seed_from_u64(0)),
        }
    }

    pub(crate) fn peer(&mut self, side: Side) -> &mut Transactions {
        if side == Side::Alice {
            &mut self.alice
        } else {
            &mut self.bob
        }
    }

    /// Gives an input to one peer and keeps what it sends in the air.
    pub(crate) fn input(&mut self, side: Side, input: Input) {
        let now = self.now;
        self.peer(side).handle_input(now, input);
        self.drain(side);
    }

    /// Sends a request from one peer to the other and keeps it in the air.
    pub(crate) fn request(&mut self, from: Side, request: Request) -> ClientKey {
        let (now, target) = (self.now, from.other().address());
        let tx = self.peer(from).request(now, target, request, 7);
        self.drain(from);
        tx
    }

    /// Loses the next datagrams.
    pub(crate) fn lose(&mut self, count: usize) {
        self.lose += count;
    }

    /// Loses so many datagrams of a hundred from now on.
    pub(crate) fn weather(&mut self, percent: u8, seed: u64) {
        self.weather = (percent, SmallRng::seed_from_u64(seed));
    }

    /// Delivers everything in the air, and what is sent in reply.
    pub(crate) fn deliver(&mut self) {
        while let Some((from, bytes)) = self.flying.pop_front() {
            self.input(
                from.other(),
                Input::Received {
                    source: from.address(),
                    bytes,
                },
            );
        }
    }

    /// Delivers, then moves the clock, stopping at every timer and delivering in between.
    pub(crate) fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        self.deliver();
        loop {
            let next = [Side::Alice, Side::Bob]
                .into_iter()
                .filter_map(|side| self.next_timeout(side))
                .min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            for side in [Side::Alice, Side::Bob] {
                if self.next_timeout(side).is_some_and(|at| at <= self.now) {
                    self.input(side, Input::Timeout);
                }
            }
            self.deliver();
        }
        self.now = end;
    }

    fn next_timeout(&mut self, side: Side) -> Option<Instant> {
        match self.peer(side).poll_output() {
            Output::Timeout(at) => at,
            other => panic!("not drained: {other:?}"),
        }
    }

    fn drain(&mut self, side: Side) {
        loop {
            match self.peer(side).poll_output() {
                Output::Timeout(_) => return,
                Output::Transmit { target, bytes } => {
                    assert_eq!(target, side.other().address());
                    let line = String::from_utf8_lossy(&bytes)
                        .lines()
                        .next()
                        .unwrap_or_default()
                        .to_owned();
                    self.wire.push((side, line));
                    self.last = Some((side, bytes.clone()));
                    let (percent, dice) = &mut self.weather;
                    if self.lose > 0 {
                        self.lose -= 1;
                    } else if dice.random_range(0..100) >= *percent {
                        self.flying.push_back((side, bytes));
                    }
                }
                other => self.seen.push_back((side, other)),
            }
        }
    }

    /// Takes the next thing handed up, which must be at this side.
    pub(crate) fn next_at(&mut self, side: Side) -> Output {
        match self.seen.pop_front() {
            Some((at, output)) if at == side => output,
            other => panic!("expected something at {side:?}, saw {other:?}"),
        }
    }

    /// Counts the datagrams of one side whose first line starts so.
    pub(crate) fn sent(&self, side: Side, start: &str) -> usize {
        self.wire
            .iter()
            .filter(|(from, line)| *from == side && line.starts_with(start))
            .count()
    }
}

/// Returns a request of Alice to Bob.
pub(crate) fn request(method: Method) -> Request {
    let address =
        |user: &str, side: Side| NameAddr::new(crate::Uri::at(Some(user), side.address().address));
    let to = address("bob", Side::Bob);
    let mut request = Request::new(method.clone(), to.uri.clone());
    request.headers.push(
        HeaderName::From,
        address("alice", Side::Alice).with_tag("a1"),
    );
    request.headers.push(HeaderName::To, to);
    request.headers.push(HeaderName::CallId, "call-1@192.0.2.1");
    request
        .headers
        .push(HeaderName::CSeq, crate::CSeq { number: 1, method });
    request
        .headers
        .push(HeaderName::Contact, address("alice", Side::Alice));
    request
}
