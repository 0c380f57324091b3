//! The signalling half of a transport: what is said to the peer, and what its messages do to str0m (telegram-calls 7).

use std::time::Instant;

use media::TransportEvent;
use str0m::Candidate;
use str0m::net::Protocol;

use super::negotiation::Step;
use super::{RESTARTS, RtcTransport, path};
use crate::crypt::Role;
use crate::messages::{self, Message, Setup};

impl RtcTransport {
    pub(super) fn begin(&mut self, now: Instant, is_known: bool) {
        if !is_known {
            return self.fail("a library version that is not implemented");
        }
        if !self.is_direct && self.relays.is_hopeless() {
            return self.fail("no relay is offered, and direct connections are not allowed");
        }
        if self.role == Role::Caller {
            self.send_setup(now);
            self.send_offer(now);
        }
        // Otherwise the host candidate would give the address away, and a relayed peer never pairs with one (8.2).
        if self.is_direct {
            match Candidate::host(self.local, Protocol::Udp) {
                Ok(candidate) => {
                    let line = candidate.to_sdp_string();
                    self.engine.add_local_candidate(candidate);
                    self.tell_candidate(now, line);
                }
                Err(error) => {
                    tracing::error!(%error, local = %self.local, "no local candidate");
                    return self.fail("the local address is no candidate");
                }
            }
        }
        self.poll(now);
    }

    pub(super) fn read_messages(&mut self, now: Instant) {
        while let Some(text) = self.framing.poll_message() {
            let Some(message) = messages::parse(&text) else {
                tracing::debug!(bytes = text.len(), "a signalling message does not read");
                self.stats.signalling.received += 1;
                continue;
            };
            self.on_message(now, message);
        }
    }

    pub(super) fn on_message(&mut self, now: Instant, message: Message) {
        match message {
            Message::InitialSetup(setup) => match &self.remote_ufrag {
                None => self.on_setup(now, &setup),
                Some(known) if *known != setup.ufrag => self.on_restart(now, &setup),
                Some(_) => {}
            },
            Message::Candidates(lines) => {
                if self.remote_ufrag.is_none() {
                    return self.path.keep(lines);
                }
                for line in lines {
                    self.add_candidate(now, &line);
                }
            }
            Message::Negotiate { exchange, audio } => {
                let step = self.negotiation.on_message(exchange, audio, &mut self.rng);
                match step {
                    Step::Ignore | Step::Answered(true) => {}
                    Step::Answered(false) => tracing::warn!("the peer refuses our audio"),
                    Step::Answer { stream, messages } => {
                        self.expect(stream);
                        for message in messages {
                            self.framing.send(now, &message);
                        }
                    }
                }
            }
            Message::MediaState { muted } => self.on_media_state(muted),
            Message::Unknown => {}
        }
    }

    fn on_setup(&mut self, now: Instant, setup: &Setup) {
        self.remote_ufrag = Some(setup.ufrag.clone());
        if let Err(why) = self.engine.begin(self.role, setup) {
            return self.fail(why);
        }
        if self.role == Role::Callee {
            self.send_setup(now);
            let lines = std::mem::take(&mut self.untold);
            if !lines.is_empty() {
                self.framing.send(now, &messages::candidates(&lines));
            }
        }
        let early = self.path.early();
        for line in self.relays.fixed().into_iter().chain(early) {
            self.add_candidate(now, &line);
        }
    }

    /// A web client restarts ICE: new credentials and candidates, same DTLS, and no second InitialSetup of ours.
    fn on_restart(&mut self, now: Instant, setup: &Setup) {
        if self.stats.restarts == RESTARTS {
            return;
        }
        self.stats.restarts += 1;
        self.remote_ufrag = Some(setup.ufrag.clone());
        let (forgotten, early) = self.path.forget(&setup.ufrag);
        self.engine.set_remote_credentials(setup);
        self.detour.restart();
        for candidate in forgotten {
            self.engine.invalidate_candidate(&candidate);
        }
        for line in self.relays.fixed() {
            self.add_candidate(now, &line);
        }
        for candidate in early {
            if let Some(candidate) = self.path.take(candidate) {
                self.engine.add_remote_candidate(candidate);
            }
        }
    }

    fn add_candidate(&mut self, now: Instant, line: &str) {
        let candidate = match self.relays.candidate(line) {
            Some(candidate) => self.path.take(candidate),
            None => path::usable(line, self.local).and_then(|candidate| {
                let candidate = self.path.take(candidate)?;
                self.relays.permit(now, candidate.addr().ip());
                Some(candidate)
            }),
        };
        if let Some(candidate) = candidate {
            self.engine.add_remote_candidate(candidate);
        }
    }

    /// The peer sends this stream from now on.
    fn expect(&mut self, stream: Option<(u32, u8)>) {
        let old = self.receiver.stream.map(|(ssrc, _)| ssrc);
        let new = stream.map(|(ssrc, _)| ssrc);
        if old != new {
            self.engine.expect(old, new);
            self.receiver.shift = None;
        }
        self.receiver.stream = stream;
    }

    pub(super) fn on_media_state(&mut self, muted: bool) {
        if self.remote_muted != muted {
            self.remote_muted = muted;
            self.event(TransportEvent::RemoteMuted(muted));
        }
    }

    pub(super) fn send_setup(&mut self, now: Instant) {
        let setup = match self.role {
            Role::Caller => "actpass",
            Role::Callee => "passive",
        };
        let (creds, print) = self.engine.introduction();
        let text = messages::initial_setup(&creds.ufrag, &creds.pass, &print, setup);
        self.framing.send(now, &text);
    }

    pub(super) fn send_offer(&mut self, now: Instant) {
        let text = self.negotiation.offer(&mut self.rng);
        self.framing.send(now, &text);
    }

    /// Tells the peer of a candidate of ours, the callee not before its InitialSetup.
    pub(super) fn tell_candidate(&mut self, now: Instant, line: String) {
        if self.role == Role::Caller || self.remote_ufrag.is_some() {
            self.framing.send(now, &messages::candidates(&[line]));
        } else {
            self.untold.push(line);
        }
    }
}
