//! Client transactions: birth, CANCEL, end.

use std::time::Instant;

use super::{ClientEntry, ClientMachine, Owner, Transactions};
use crate::Hop;
use crate::message::{Method, Request};
use crate::transaction::action::{Action, Failure, sends};
use crate::transaction::client::{self, Client};
use crate::transaction::driver::{ClientKey, Output};
use crate::transaction::invite_client::{self, InviteClient};
use crate::transaction::matching::ClientMatch;
use crate::transaction::timer::Timer;

impl Transactions {
    pub(super) fn start_client(
        &mut self,
        now: Instant,
        tx: ClientKey,
        target: Hop,
        request: Request,
        user: Option<u64>,
        plain: Option<Box<Request>>,
    ) {
        let identity = ClientMatch::of(&request.headers);
        let Some(identity) = identity.filter(|_| self.clients.len() < self.config.clients) else {
            if let Some(user) = user {
                self.outputs.push_back(Output::Failed {
                    user,
                    tx,
                    why: Failure::Overload,
                });
            }
            return;
        };
        let mut actions = Vec::new();
        let machine = if request.method == Method::Invite {
            ClientMachine::Invite(Box::new(InviteClient::new(
                request,
                &self.config.times,
                &mut actions,
            )))
        } else {
            ClientMachine::Other(Client::new(&request, &self.config.times, &mut actions))
        };
        self.client_matches.insert(identity.clone(), tx);
        self.clients.insert(
            tx,
            ClientEntry {
                machine,
                target,
                identity,
                plain,
                user,
                cancel_reason: None,
            },
        );
        self.run_client(now, tx, actions);
    }

    /// RFC 3261 18.1.1: what was too long for a datagram, and finds nobody who listens to streams, goes as one after all.
    pub(super) fn try_by_datagram(&mut self, now: Instant, tx: ClientKey) -> bool {
        let Some(mut request) = self
            .clients
            .get_mut(&tx)
            .and_then(|entry| entry.plain.take())
        else {
            return false;
        };
        let Some(entry) = self.clients.remove(&tx) else {
            return false;
        };
        self.timers.stop_all(Owner::Client(tx));
        self.client_matches.remove(&entry.identity);
        let target = Hop::udp(entry.target.address);
        self.add_via(target, &mut request);
        self.start_client(now, tx, target, *request, entry.user, None);
        let is_cancelled =
            matches!(&entry.machine, ClientMachine::Invite(invite) if invite.is_to_be_cancelled());
        if is_cancelled {
            if let Some(again) = self.clients.get_mut(&tx) {
                again.cancel_reason = entry.cancel_reason;
            }
            self.invite_client(now, tx, invite_client::Event::Cancel);
        }
        true
    }

    pub(super) fn invite_client(
        &mut self,
        now: Instant,
        tx: ClientKey,
        event: invite_client::Event,
    ) {
        let mut actions = Vec::new();
        if let Some(ClientEntry {
            machine: ClientMachine::Invite(invite),
            ..
        }) = self.clients.get_mut(&tx)
        {
            invite.on(&self.config.times, event, &mut actions);
        }
        self.run_client(now, tx, actions);
    }

    pub(super) fn on_client_timer(&mut self, now: Instant, tx: ClientKey, timer: Timer) {
        let mut actions = Vec::new();
        match self.clients.get_mut(&tx).map(|entry| &mut entry.machine) {
            Some(ClientMachine::Invite(invite)) => {
                let event = invite_client::Event::Timer(timer);
                invite.on(&self.config.times, event, &mut actions);
            }
            Some(ClientMachine::Other(other)) => {
                let event = client::Event::Timer(timer);
                other.on(&self.config.times, event, &mut actions);
            }
            None => {}
        }
        // No timer of a client sends anything for the first time.
        if let Some(entry) = self.clients.get(&tx) {
            self.repeats_out
                .add(entry.identity.method(), sends(&actions));
        }
        self.run_client(now, tx, actions);
    }

    pub(super) fn run_client(&mut self, now: Instant, tx: ClientKey, actions: Vec<Action>) {
        let Some(entry) = self.clients.get(&tx) else {
            return;
        };
        let (target, user, is_over) = (entry.target, entry.user, entry.machine.is_terminated());
        for action in actions {
            match action {
                Action::Send(bytes) => self.transmit(target, bytes),
                Action::Set(timer, after) => {
                    if let Some(after) = timer.over(target.transport, after) {
                        self.timers.set(Owner::Client(tx), timer, now + after);
                    }
                }
                Action::Stop(timer) => self.timers.stop(Owner::Client(tx), timer),
                Action::Deliver(response) => {
                    if let Some(user) = user {
                        self.outputs
                            .push_back(Output::Response { user, tx, response });
                    }
                }
                Action::Fail(why) => {
                    if let Some(user) = user {
                        self.outputs.push_back(Output::Failed { user, tx, why });
                    }
                }
                Action::Cancel => self.send_cancel(now, tx),
                Action::DeliverAck => {}
            }
        }
        if is_over {
            self.forget_client(tx);
        }
    }

    pub(super) fn forget_client(&mut self, tx: ClientKey) {
        if let Some(entry) = self.clients.remove(&tx) {
            self.timers.stop_all(Owner::Client(tx));
            self.client_matches.remove(&entry.identity);
        }
    }

    /// Returns the CANCEL of an INVITE that has no final response, with the Via of the INVITE, and where it goes: whoever sends it so may be
    /// somebody else, later.
    pub fn cancel_of(&self, tx: ClientKey, reason: &str) -> Option<(Hop, Request)> {
        let entry = self.clients.get(&tx)?;
        match &entry.machine {
            ClientMachine::Invite(invite) if !invite.is_answered() => {
                Some((entry.target, invite.cancel(Some(reason))))
            }
            ClientMachine::Invite(_) | ClientMachine::Other(_) => None,
        }
    }

    /// RFC 3261 9.1: the CANCEL is a transaction of its own with the branch of the INVITE.
    pub(super) fn send_cancel(&mut self, now: Instant, tx: ClientKey) {
        let Some(ClientEntry {
            machine: ClientMachine::Invite(invite),
            target,
            cancel_reason,
            ..
        }) = self.clients.get(&tx)
        else {
            return;
        };
        let (cancel, target) = (invite.cancel(cancel_reason.as_deref()), *target);
        let tx = ClientKey(self.next_key());
        self.start_client(now, tx, target, cancel, None, None);
    }
}

impl ClientMachine {
    /// Returns whether a final response has come.
    pub(super) fn is_answered(&self) -> bool {
        match self {
            Self::Invite(machine) => machine.is_answered(),
            Self::Other(machine) => machine.is_answered(),
        }
    }

    pub(super) fn is_terminated(&self) -> bool {
        match self {
            Self::Invite(machine) => machine.is_terminated(),
            Self::Other(machine) => machine.is_terminated(),
        }
    }
}
