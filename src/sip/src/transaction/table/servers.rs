//! Server transactions: birth, answers, end.

use std::net::SocketAddr;
use std::time::Instant;

use rand::Rng;

use super::{Owner, ServerEntry, ServerMachine, Transactions};
use crate::Hop;
use crate::message::{HeaderName, Method, Request, Response, respond};
use crate::transaction::action::{Action, sends};
use crate::transaction::driver::{Output, ServerKey};
use crate::transaction::invite_server::{self, InviteServer};
use crate::transaction::matching::{MergeMatch, ServerMatch};
use crate::transaction::server::{self, Server};
use crate::transaction::timer::Timer;

/// When to come back after finding the table full, seconds.
const COME_BACK: std::ops::RangeInclusive<u64> = 5..=30;

impl Transactions {
    pub(super) fn start_server(
        &mut self,
        now: Instant,
        source: Hop,
        target: Hop,
        request: &Request,
        identity: ServerMatch,
        merge: Option<MergeMatch>,
    ) -> Option<ServerKey> {
        if !self.has_room() {
            self.have_no_room(source, target, request);
            return None;
        }
        let tx = ServerKey(self.next_key());
        let mut actions = Vec::new();
        let machine = if request.method == Method::Invite {
            let mut trying = respond(request, 100, "", None);
            self.load.write(&mut trying);
            let trying = trying.encode();
            ServerMachine::Invite(InviteServer::new(trying, &self.config.times, &mut actions))
        } else {
            ServerMachine::Other(Server::new(&self.config.times, &mut actions))
        };
        self.server_matches.insert(identity.clone(), tx);
        if let Some(merge) = &merge {
            self.merge_matches.insert(merge.clone(), tx);
        }
        self.strangers.insert(tx);
        self.servers.insert(
            tx,
            ServerEntry {
                machine,
                target,
                back: way_back(target, request),
                identity,
                merge,
                to_tag: None,
            },
        );
        self.run_server(now, tx, actions);
        Some(tx)
    }

    /// Makes room for one more server transaction at the cost of the oldest stranger.
    pub(super) fn has_room(&mut self) -> bool {
        if !self.is_full() {
            return true;
        }
        match self.strangers.first().copied() {
            Some(oldest) => {
                self.forget_server(oldest);
                true
            }
            None => false,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.servers.len() >= self.config.servers
    }

    /// RFC 3261 21.5.4: the caller is told when to come back, each at another time.
    fn have_no_room(&mut self, source: Hop, target: Hop, request: &Request) {
        let tag = self.tag_of(request);
        let mut response = respond(request, 503, "", Some(&tag));
        let wait = self.rng.random_range(COME_BACK);
        response.headers.push(HeaderName::from("Retry-After"), wait);
        self.answer_once(source, target, &response);
        let why = "too many transactions";
        self.outputs.push_back(Output::Malformed { source, why });
    }

    /// Answers without a transaction.
    pub(super) fn refuse(
        &mut self,
        source: Hop,
        target: Hop,
        request: &Request,
        status: u16,
        why: &'static str,
    ) {
        let tag = self.tag_of(request);
        self.answer_once(source, target, &respond(request, status, "", Some(&tag)));
        self.outputs.push_back(Output::Malformed { source, why });
    }

    pub(super) fn new_tag(&mut self) -> String {
        format!("{:016x}", self.rng.random::<u64>())
    }

    pub(super) fn on_respond(&mut self, now: Instant, tx: ServerKey, mut response: Response) {
        let Some(entry) = self.servers.get_mut(&tx) else {
            return;
        };
        if let Some(tag) = response.headers.to().as_ref().and_then(|to| to.tag()) {
            entry.to_tag = Some(tag.to_owned());
        }
        if (101..300).contains(&response.status) {
            self.strangers.remove(&tx);
        }
        self.load.write(&mut response);
        let bytes = response.encode();
        let mut actions = Vec::new();
        // A success is repeated by the dialog until its ACK comes (RFC 3261 13.3.1.4).
        let is_again =
            matches!(&entry.machine, ServerMachine::Invite(invite) if invite.is_accepted());
        match &mut entry.machine {
            ServerMachine::Invite(invite) => {
                let event = match response.status {
                    ..200 => invite_server::Event::Provisional(bytes),
                    200..300 => invite_server::Event::Success(bytes),
                    300.. => invite_server::Event::Failure(bytes),
                };
                invite.on(&self.config.times, event, &mut actions);
            }
            ServerMachine::Other(other) => {
                let event = match response.status {
                    ..200 => server::Event::Provisional(bytes),
                    200.. => server::Event::Final(bytes),
                };
                other.on(&self.config.times, event, &mut actions);
            }
        }
        if is_again {
            self.repeats_out.add(&Method::Invite, sends(&actions));
        }
        self.run_server(now, tx, actions);
    }

    pub(super) fn on_server_timer(&mut self, now: Instant, tx: ServerKey, timer: Timer) {
        let mut actions = Vec::new();
        match self.servers.get_mut(&tx).map(|entry| &mut entry.machine) {
            Some(ServerMachine::Invite(invite)) => {
                invite.on(
                    &self.config.times,
                    invite_server::Event::Timer(timer),
                    &mut actions,
                );
            }
            Some(ServerMachine::Other(other)) => {
                other.on(
                    &self.config.times,
                    server::Event::Timer(timer),
                    &mut actions,
                );
            }
            None => {}
        }
        // The one timer of a server that sends again; `Trying` sends the first 100.
        if timer == Timer::G {
            self.repeats_out.add(&Method::Invite, sends(&actions));
        }
        self.run_server(now, tx, actions);
    }

    pub(super) fn run_server(&mut self, now: Instant, tx: ServerKey, actions: Vec<Action>) {
        let Some(entry) = self.servers.get(&tx) else {
            return;
        };
        let (target, is_over) = (entry.target, entry.machine.is_terminated());
        for action in actions {
            match action {
                Action::Send(bytes) => self.transmit(target, bytes),
                Action::Set(timer, after) => {
                    if let Some(after) = timer.over(target.transport, after) {
                        self.timers.set(Owner::Server(tx), timer, now + after);
                    }
                }
                Action::Stop(timer) => self.timers.stop(Owner::Server(tx), timer),
                // Handed up where the ACK is at hand; the others are a client's.
                Action::DeliverAck | Action::Deliver(_) | Action::Fail(_) | Action::Cancel => {}
            }
        }
        if is_over {
            self.forget_server(tx);
        }
    }

    pub(super) fn forget_server(&mut self, tx: ServerKey) {
        let Some(entry) = self.servers.remove(&tx) else {
            return;
        };
        self.timers.stop_all(Owner::Server(tx));
        self.strangers.remove(&tx);
        self.server_matches.remove(&entry.identity);
        if let Some(merge) = entry.merge
            && self.merge_matches.get(&merge) == Some(&tx)
        {
            self.merge_matches.remove(&merge);
        }
    }
}

impl ServerMachine {
    pub(super) fn is_terminated(&self) -> bool {
        match self {
            Self::Invite(machine) => machine.is_terminated(),
            Self::Other(machine) => machine.is_terminated(),
        }
    }
}

/// The host that a request over a stream came from, at the port where its Via says it listens (RFC 3261 18.2.2).
fn way_back(target: Hop, request: &Request) -> Hop {
    let via = request.headers.via().filter(|_| target.is_reliable());
    via.map_or(target, |via| {
        let port = via.port.unwrap_or(target.transport.default_port());
        Hop::new(target.transport, SocketAddr::new(target.ip(), port))
    })
}
