//! Whether a peer is there: OPTIONS now and then.

use std::time::Instant;

use actix::{AsyncContext, Context};
use bytes::Bytes;
use model::{HeaderField, TrunkKind};
use sip::qualify::{Qualify, QualifyConfig, QualifyEvent, QualifyInput, QualifyOutput};
use sip::{Hop, Uri};

use super::{Account, Trunk};
use crate::message::SendRequest;

/// A header as `sip` takes it.
pub(crate) fn pair(header: &HeaderField) -> (String, String) {
    (header.name().to_owned(), header.value().to_owned())
}

impl Trunk {
    /// Begins to ask a peer whether it is there.
    pub(super) fn ask_peer(&mut self, ctx: &mut Context<Self>) {
        let TrunkKind::Peer { address } = &self.spec.kind else {
            return;
        };
        let peer = Hop::new(self.spec.transport, *address);
        let config = QualifyConfig {
            send_to: peer,
            peer: Uri::reached(None, peer),
            here: Uri::reached(None, self.common.sip_address(peer)),
            agent: self.common.sip_local(peer).agent,
            header: self.spec.header.as_ref().map(pair),
        };
        self.qualify = Some(Qualify::new(config, rand::random()));
        self.bind(ctx);
        self.qualify_input(QualifyInput::Start, ctx);
    }

    pub(super) fn qualify_input(&mut self, input: QualifyInput, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let Some(qualify) = &mut self.qualify else {
            return;
        };
        qualify.handle_input(now, input);
        let mut has_changed = false;
        loop {
            match qualify.poll_output() {
                QualifyOutput::Send { target, request } => {
                    self.common.to_endpoint(SendRequest {
                        owner: Some(self.owner),
                        target,
                        request: *request,
                    });
                }
                QualifyOutput::Event(QualifyEvent::Answered(took)) => {
                    self.common.metrics.options_answered(&self.spec.name, took);
                }
                QualifyOutput::Event(QualifyEvent::Up) => {
                    tracing::info!(trunk = %self.spec.name, "the peer answers again");
                    has_changed = true;
                }
                QualifyOutput::Event(QualifyEvent::Down) => {
                    tracing::warn!(trunk = %self.spec.name, "the peer does not answer OPTIONS: it is not called");
                    has_changed = true;
                }
                QualifyOutput::Timeout(at) => {
                    if let Some(timer) = self.qualify_timer.take() {
                        ctx.cancel_future(timer);
                    }
                    self.qualify_timer = at.map(|at| {
                        let wait = at.saturating_duration_since(now);
                        ctx.run_later(wait, |trunk, ctx| {
                            trunk.qualify_timer = None;
                            trunk.qualify_input(QualifyInput::Timeout, ctx);
                        })
                    });
                    break;
                }
            }
        }
        if has_changed {
            self.tell(now, ctx);
        }
    }

    /// Sends an empty packet to the registrar that has us (RFC 5626 3.5.1), so that a NAT in between stays open.
    pub(super) fn keep_alive(&self) {
        let has_us = |account: &&Account| {
            let until = account.registration.registered_until();
            until > Some(Instant::now()) && !account.registrar().is_reliable()
        };
        if let Some(account) = self.account.as_ref().filter(has_us) {
            self.common
                .send_sip(account.registrar(), Bytes::from_static(b"\r\n\r\n"));
        }
    }
}
