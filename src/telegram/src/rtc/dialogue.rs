//! The signalling half of a transport: what is said to the peer, and what its messages do to str0m (telegram-calls 7).

use std::time::Instant;

use media::TransportEvent;
use str0m::channel::ChannelConfig;
use str0m::config::Fingerprint;
use str0m::net::Protocol;
use str0m::rtp::Ssrc;
use str0m::{Candidate, IceCreds};

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
                    self.rtc.add_local_candidate(candidate);
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
                continue;
            };
            self.on_message(now, message);
        }
    }

    pub(super) fn on_message(&mut self, now: Instant, message: Message) {
        match message {
            Message::InitialSetup(setup) => match &self.remote_ufrag {
                None => self.on_setup(now, setup),
                Some(known) if *known != setup.ufrag => self.on_restart(now, setup),
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

    fn on_setup(&mut self, now: Instant, setup: Setup) {
        let is_caller = self.role == Role::Caller;
        let is_client = match setup.setup.as_str() {
            "active" => false,
            "passive" => true,
            _ => is_caller,
        };
        self.remote_ufrag = Some(setup.ufrag.clone());
        let mut api = self.rtc.direct_api();
        api.set_remote_ice_credentials(IceCreds {
            ufrag: setup.ufrag,
            pass: setup.pwd,
        });
        api.set_remote_fingerprint(Fingerprint {
            hash_func: setup.hash,
            bytes: setup.fingerprint,
        });
        if let Err(error) = api.start_dtls(is_client) {
            tracing::warn!(%error, "DTLS does not start");
            return self.fail("DTLS does not start");
        }
        api.start_sctp(is_client);
        if is_caller {
            // In-band, stream 0. When the callee's unasked messages overtake the COOKIE ACK the channel never opens;
            // the call goes on without it (14.3, item 3).
            api.create_data_channel(ChannelConfig {
                label: "data".into(),
                ..Default::default()
            });
        } else {
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
    fn on_restart(&mut self, now: Instant, setup: Setup) {
        if self.restarts == RESTARTS {
            return;
        }
        self.restarts += 1;
        self.remote_ufrag = Some(setup.ufrag.clone());
        let (forgotten, early) = self.path.forget(&setup.ufrag);
        let mut api = self.rtc.direct_api();
        api.set_remote_ice_credentials(IceCreds {
            ufrag: setup.ufrag,
            pass: setup.pwd,
        });
        for candidate in forgotten {
            api.invalidate_candidate(&candidate);
        }
        for line in self.relays.fixed() {
            self.add_candidate(now, &line);
        }
        for candidate in early {
            if let Some(candidate) = self.path.take(candidate) {
                self.rtc.add_remote_candidate(candidate);
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
            self.rtc.add_remote_candidate(candidate);
        }
    }

    /// The peer sends this stream from now on.
    fn expect(&mut self, stream: Option<(u32, u8)>) {
        let old = self.receiver.stream.map(|(ssrc, _)| ssrc);
        let new = stream.map(|(ssrc, _)| ssrc);
        if old != new {
            let mut api = self.rtc.direct_api();
            if let Some(old) = old {
                api.remove_stream_rx(Ssrc::from(old));
            }
            if let Some(new) = new {
                // Nobody negotiated NACK for audio.
                api.expect_stream_rx(Ssrc::from(new), None, self.mid, None)
                    .suppress_nack(true);
            }
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
        let api = self.rtc.direct_api();
        let creds = api.local_ice_credentials();
        let print = &api.local_dtls_fingerprint().bytes;
        let text = messages::initial_setup(&creds.ufrag, &creds.pass, print, setup);
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
