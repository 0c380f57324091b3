//! Datagrams and their way to the machines (RFC 3261 17.1.3, 17.2.3, 18).

use std::time::Instant;

use super::{ClientMachine, Owner, ServerEntry, ServerMachine, Transactions};
use crate::Hop;
use crate::message::{HeaderName, Message, Method, Request, Response, Via, respond};
use crate::oc::Report;
use crate::parse::{Parsed, parse_with};
use crate::transaction::action::{Action, sends};
use crate::transaction::driver::{ClientKey, Output, ServerKey};
use crate::transaction::matching::{ClientMatch, MergeMatch, ServerMatch};
use crate::transaction::{client, invite_client, invite_server, server};

/// RFC 4028 6: the request is wanted again, with a longer interval.
const INTERVAL_TOO_SMALL: u16 = 422;

impl Transactions {
    pub(super) fn on_datagram(&mut self, now: Instant, source: Hop, bytes: &[u8]) {
        self.arriving = bytes.len();
        self.on_parsed(now, source, parse_with(bytes, &self.config.limits));
    }

    pub(super) fn on_parsed(&mut self, now: Instant, source: Hop, parsed: Parsed) {
        match parsed {
            Parsed::KeepAlive => {}
            Parsed::Drop(why) => self.outputs.push_back(Output::Malformed { source, why }),
            Parsed::Reject { mut response, why } => {
                let mut target = source;
                if let Some(mut via) = response.headers.via() {
                    target = self.reply_target(&mut via, source);
                    response.headers.set_first(HeaderName::Via, via);
                }
                self.answer_once(source, target, &response);
                self.outputs.push_back(Output::Malformed { source, why });
            }
            Parsed::Message(Message::Request(request)) => self.on_request(now, source, request),
            Parsed::Message(Message::Response(response)) => self.on_response(now, source, response),
        }
    }

    /// Stamps the Via with the source and returns where the response goes (RFC 3261 18.2, RFC 3581 4).
    pub(super) fn reply_target(&self, via: &mut Via, source: Hop) -> Hop {
        via.stamp(source.address);
        // RFC 3261 18.2.2: over a stream the answer goes where the request came from.
        if self.config.force_rport || source.is_reliable() {
            source
        } else {
            via.reply_to().map_or(source, Hop::udp)
        }
    }

    pub(super) fn on_request(&mut self, now: Instant, source: Hop, mut request: Request) {
        let Some(mut via) = request.headers.via() else {
            return;
        };
        let identity = ServerMatch::of(&request, &via);
        let target = self.reply_target(&mut via, source);
        request.headers.set_first(HeaderName::Via, via);
        let known = self.server_matches.get(&identity).copied();
        match (&request.method, known) {
            (Method::Ack, known) => self.on_ack(now, known, source, request),
            (_, Some(tx)) => self.on_repeat(now, tx),
            (Method::Cancel, None) => self.on_cancel(now, source, target, &request, identity),
            (_, None) if self.config.screened => {
                self.outputs.push_back(Output::Arrived { source, request });
            }
            (_, None) => {
                if let Some(tx) = self.admit(now, source, &request) {
                    self.outputs.push_back(Output::Request {
                        tx,
                        source,
                        request,
                    });
                }
            }
        }
    }

    /// Gives a request that [`Output::Arrived`] brought a server transaction; `None` when it had to be refused: it came before on
    /// another way (482), or there is no room (503).
    pub fn admit(&mut self, now: Instant, source: Hop, request: &Request) -> Option<ServerKey> {
        let mut via = request.headers.via()?;
        let identity = ServerMatch::of(request, &via);
        let target = self.reply_target(&mut via, source);
        let merge = MergeMatch::of(request);
        if merge.as_ref().is_some_and(|merge| self.is_merged(merge)) {
            self.refuse(source, target, request, 482, "merged request");
            return None;
        }
        self.start_server(now, source, target, request, identity, merge)
    }

    /// An ACK to a failure ends here; an ACK to a success has a branch of its own and goes up, as does a stray one.
    pub(super) fn on_ack(
        &mut self,
        now: Instant,
        known: Option<ServerKey>,
        source: Hop,
        request: Request,
    ) {
        let Some(tx) = known else {
            return self.outputs.push_back(Output::Ack { source, request });
        };
        let mut actions = Vec::new();
        if let Some(ServerEntry {
            machine: ServerMachine::Invite(invite),
            ..
        }) = self.servers.get_mut(&tx)
        {
            invite.on(&self.config.times, invite_server::Event::Ack, &mut actions);
        }
        if actions.contains(&Action::DeliverAck) {
            self.outputs.push_back(Output::Ack { source, request });
        }
        self.run_server(now, tx, actions);
    }

    pub(super) fn on_repeat(&mut self, now: Instant, tx: ServerKey) {
        let mut actions = Vec::new();
        match self.servers.get_mut(&tx).map(|entry| &mut entry.machine) {
            Some(ServerMachine::Invite(invite)) => {
                invite.on(
                    &self.config.times,
                    invite_server::Event::Invite,
                    &mut actions,
                );
            }
            Some(ServerMachine::Other(other)) => {
                other.on(&self.config.times, server::Event::Request, &mut actions);
            }
            None => {}
        }
        if let Some(entry) = self.servers.get(&tx) {
            let method = entry.identity.method();
            self.repeats_in.add(method, 1);
            self.repeats_out.add(method, sends(&actions));
        }
        self.run_server(now, tx, actions);
    }

    /// RFC 3261 9.2: the CANCEL gets its own answer; an INVITE that is still open is reported to its owner.
    fn on_cancel(
        &mut self,
        now: Instant,
        source: Hop,
        target: Hop,
        request: &Request,
        identity: ServerMatch,
    ) {
        let invite = self
            .server_matches
            .get(&identity.cancelled_invite())
            .copied();
        let Some((invite, entry)) = invite.and_then(|tx| Some((tx, self.servers.get(&tx)?))) else {
            return self.refuse(source, target, request, 481, "stray CANCEL");
        };
        let is_open =
            matches!(&entry.machine, ServerMachine::Invite(machine) if machine.is_proceeding());
        let tag = entry.to_tag.clone();
        let tag = tag.unwrap_or_else(|| self.new_tag());
        let response = respond(request, 200, "", Some(&tag));
        if self.is_full() {
            // Making room could cost the very INVITE, and a repeated CANCEL does no harm.
            self.transmit(target, response.encode());
        } else if let Some(tx) = self.start_server(now, source, target, request, identity, None) {
            self.on_respond(now, tx, response);
        }
        if is_open {
            let reason = request.headers.get(&HeaderName::Reason).map(str::to_owned);
            self.outputs
                .push_back(Output::Cancelled { tx: invite, reason });
        }
    }

    /// RFC 3261 8.2.2.2: the same request on another way, while the first is being answered or was accepted.
    pub(super) fn is_merged(&self, merge: &MergeMatch) -> bool {
        let first = self
            .merge_matches
            .get(merge)
            .and_then(|tx| self.servers.get(tx));
        first.is_some_and(|first| match &first.machine {
            ServerMachine::Invite(machine) => machine.is_proceeding() || machine.is_accepted(),
            // A finished one may come again: peers exist that repeat the CSeq when they authenticate.
            ServerMachine::Other(machine) => machine.is_open(),
        })
    }

    pub(super) fn on_response(&mut self, now: Instant, source: Hop, response: Response) {
        let stray = Output::Malformed {
            source,
            why: "stray response",
        };
        // RFC 3261 18.1.2 and 8.1.3.3: our sent-by, and no other Via below it.
        let via = response.headers.via();
        let via = via.filter(|_| response.headers.count(&HeaderName::Via) == 1);
        let is_ours = via.as_ref().is_some_and(|via| self.is_sent_by_us(via));
        let tx = ClientMatch::of(&response.headers)
            .and_then(|identity| self.client_matches.get(&identity).copied());
        let Some(tx) = tx.filter(|_| is_ours) else {
            return self.outputs.push_back(stray);
        };
        let report = via.as_ref().and_then(Report::of);
        if let Some((report, entry)) = report.zip(self.clients.get(&tx)) {
            self.restraints.heard(now, entry.target, report);
        }
        if response.status == INTERVAL_TOO_SMALL
            && let Some(entry) = self.clients.get(&tx)
        {
            self.restraints.wants_again(entry.target, &response);
        }
        let mut actions = Vec::new();
        let is_again = !response.is_provisional()
            && self
                .clients
                .get(&tx)
                .is_some_and(|entry| entry.machine.is_answered());
        if let Some(entry) = self.clients.get_mut(&tx) {
            // RFC 3261 18.1.1: only what nobody took goes by datagram instead. Who has answered has it, and would take it for another one.
            entry.plain = None;
        }
        match self.clients.get_mut(&tx).map(|entry| &mut entry.machine) {
            Some(ClientMachine::Invite(invite)) => {
                invite.on(&self.config.times, response.into(), &mut actions);
            }
            Some(ClientMachine::Other(other)) => {
                other.on(&self.config.times, response.into(), &mut actions);
            }
            None => {}
        }
        if let Some(entry) = self.clients.get(&tx).filter(|_| is_again) {
            let method = entry.identity.method();
            self.repeats_in.add(method, 1);
            self.repeats_out.add(method, sends(&actions));
        }
        self.run_client(now, tx, actions);
    }

    pub(super) fn on_timeout(&mut self, now: Instant) {
        while let Some((owner, timer)) = self.timers.due(now) {
            match owner {
                Owner::Server(tx) => self.on_server_timer(now, tx, timer),
                Owner::Client(tx) => self.on_client_timer(now, tx, timer),
            }
        }
    }

    pub(super) fn on_unreachable(&mut self, now: Instant, target: Hop) {
        let hit: Vec<ClientKey> = self
            .clients
            .iter()
            .filter(|(_, entry)| entry.target == target)
            .map(|(tx, _)| *tx)
            .collect();
        for tx in hit {
            if self.try_by_datagram(now, tx) {
                continue;
            }
            let mut actions = Vec::new();
            match self.clients.get_mut(&tx).map(|entry| &mut entry.machine) {
                Some(ClientMachine::Invite(invite)) => {
                    invite.on(
                        &self.config.times,
                        invite_client::Event::TransportError,
                        &mut actions,
                    );
                }
                Some(ClientMachine::Other(other)) => {
                    other.on(
                        &self.config.times,
                        client::Event::TransportError,
                        &mut actions,
                    );
                }
                None => {}
            }
            self.run_client(now, tx, actions);
        }
        // What is not answered yet is answered over a new connection.
        let answers = self.servers.values_mut();
        for entry in answers.filter(|entry| target.is_reliable() && entry.target == target) {
            entry.target = entry.back;
        }
    }
}
