//! A trunk: who may call on it, and where it can be called.
//!
//! Owns the bindings of a PBX that registers here; for an IP⇿IP peer its address. Tells the registry where the trunk can be reached.
//! Bindings are kept (soft), so a new incarnation, or a new process, knows them. Its death ends no call.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler, SpawnHandle};
use model::{TrunkKind, TrunkSpec};
use serde::{Deserialize, Serialize};
use sip::Uri;
use sip::registration::{Binding, Change, Inbound};

use crate::house::{Common, tag};
use crate::message::{Contact, RegisterArrived, Respond, SaveBindings, TrunkState};
use crate::supervise::Watch;

/// A binding as it is kept: times on the wall clock.
#[derive(Serialize, Deserialize)]
struct Kept {
    uri: String,
    send_to: SocketAddr,
    expires_at: u64,
    q: u16,
    call_id: String,
    cseq: u32,
}

/// The trunk.
pub(crate) struct Trunk {
    common: Common,
    spec: TrunkSpec,
    bindings: Inbound,
    timer: Option<SpawnHandle>,
    _watch: Watch,
}

impl Trunk {
    /// `kept` are the bindings of an earlier incarnation, as [`SaveBindings`] carried them.
    pub(crate) fn new(common: Common, spec: TrunkSpec, kept: Option<&[u8]>, watch: Watch) -> Self {
        let kept: Vec<Kept> = kept
            .and_then(|bytes| serde_json::from_slice(bytes).ok())
            .unwrap_or_default();
        let (now, unix) = (Instant::now(), crate::house::unix_seconds());
        let bindings = kept.into_iter().filter_map(|kept| {
            let left = kept.expires_at.checked_sub(unix).filter(|left| *left > 0)?;
            Some(Binding {
                uri: kept.uri.parse::<Uri>().ok()?,
                send_to: kept.send_to,
                expires_at: now + Duration::from_secs(left),
                q: kept.q,
                call_id: kept.call_id,
                cseq: kept.cseq,
            })
        });
        let bindings = Inbound::restore(rand::random(), bindings.collect());
        Self {
            common,
            spec,
            bindings,
            timer: None,
            _watch: watch,
        }
    }

    /// Where the trunk can be called just now.
    fn contacts(&self, now: Instant) -> Vec<Contact> {
        match &self.spec.kind {
            TrunkKind::Peer { address } => {
                vec![Contact {
                    uri: Uri::at(None, *address),
                    send_to: *address,
                }]
            }
            TrunkKind::InboundRegister { .. } => {
                let bindings = self.bindings.contacts(now).into_iter();
                bindings
                    .map(|binding| Contact {
                        uri: binding.uri,
                        send_to: binding.send_to,
                    })
                    .collect()
            }
        }
    }

    fn tell(&mut self, now: Instant, ctx: &mut Context<Self>) {
        let contacts = self.contacts(now);
        self.common
            .metrics
            .trunk_state(&self.spec.name, !contacts.is_empty(), contacts.len());
        self.common.to_registry(TrunkState {
            trunk: self.spec.name.clone(),
            address: ctx.address(),
            contacts,
        });
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(at) = self.bindings.next_expiry() {
            self.timer = Some(ctx.run_later(at.saturating_duration_since(now), Self::expire));
        }
    }

    fn expire(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        for binding in self.bindings.expire(now) {
            tracing::warn!(trunk = %self.spec.name, contact = %binding.uri, "a registration ran out");
        }
        self.tell(now, ctx);
    }

    fn save(&self, now: Instant) {
        let unix = crate::house::unix_seconds();
        let kept: Vec<Kept> = self
            .bindings
            .contacts(now)
            .into_iter()
            .map(|binding| Kept {
                uri: binding.uri.to_string(),
                send_to: binding.send_to,
                expires_at: unix + binding.expires_at.saturating_duration_since(now).as_secs(),
                q: binding.q,
                call_id: binding.call_id,
                cseq: binding.cseq,
            })
            .collect();
        if let Ok(bindings) = serde_json::to_vec(&kept) {
            self.common.to_keeper(SaveBindings {
                trunk: self.spec.name.clone(),
                bindings,
            });
        }
    }
}

impl Actor for Trunk {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(256);
        self.tell(Instant::now(), ctx);
        // A registry that was restarted knows no contacts until it is told.
        let mut registry = self.common.registry.clone();
        let me = ctx.address();
        let _present = registry.open();
        ctx.spawn(actix::fut::wrap_future(async move {
            while registry.next().await.is_some() {
                me.do_send(TellAgain);
            }
        }));
    }
}

/// Trunk -> itself: there is a new registry.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct TellAgain;

impl Handler<TellAgain> for Trunk {
    type Result = ();

    fn handle(&mut self, _: TellAgain, ctx: &mut Self::Context) {
        self.tell(Instant::now(), ctx);
    }
}

impl Handler<RegisterArrived> for Trunk {
    type Result = ();

    fn handle(&mut self, register: RegisterArrived, ctx: &mut Self::Context) {
        let now = Instant::now();
        let response = match self
            .bindings
            .update(now, &register.request, register.source)
        {
            Ok(done) => {
                for uri in &done.replaced {
                    tracing::warn!(trunk = %self.spec.name, contact = %uri, "too many contacts: the oldest was dropped");
                }
                match done.change {
                    Change::Registered => {
                        tracing::info!(trunk = %self.spec.name, source = %register.source, "the PBX registered");
                    }
                    Change::Removed => {
                        tracing::info!(trunk = %self.spec.name, "the PBX unregistered")
                    }
                    Change::Refreshed | Change::None => {}
                }
                if done.change != Change::None {
                    self.save(now);
                    self.tell(now, ctx);
                }
                done.response
            }
            Err(error) => {
                tracing::info!(trunk = %self.spec.name, %error, "a registration is refused");
                error.respond(&register.request, &tag())
            }
        };
        self.common.to_endpoint(Respond {
            tx: register.tx,
            response,
        });
    }
}
