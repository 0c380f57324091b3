//! What a call asks Telegram for before it can be placed (`messages.getDhConfig`), fetched beforehand: it saves the caller a round trip.

use std::time::{Duration, Instant};

use actix::Context;
use routing::{Group, SessionState};
use telegram::dh::DhConfig;
use telegram::{Reply, Rpc};

use super::Session;

/// How old the answer may be: Telegram could name other parameters meanwhile, though it never has.
const FRESH: Duration = Duration::from_secs(3600);

/// Random bytes of the server, for one call.
#[derive(Default)]
pub(super) struct Ready {
    random: Option<(Instant, Vec<u8>)>,
    asking: bool,
}

impl Ready {
    /// Takes the bytes for a call; nothing when there are none that are fresh.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        self.random
            .take_if(|(since, _)| since.elapsed() > FRESH * 2);
        self.random.take().map(|(_, random)| random)
    }

    fn is_wanted(&self) -> bool {
        let is_fresh = |(since, _): &(Instant, Vec<u8>)| since.elapsed() <= FRESH;
        !self.asking && !self.random.as_ref().is_some_and(is_fresh)
    }
}

impl Session {
    /// Asks for what the next call needs, unless it is there, or nothing that belongs to calls may be asked just now.
    pub(super) fn make_ready(&mut self, ctx: &mut Context<Self>) {
        let is_open = self
            .limiter
            .open(crate::house::steady_millis(), Group::Call)
            .is_ok();
        if self.link != SessionState::Running || !is_open || !self.ready.is_wanted() {
            return;
        }
        self.ready.asking = true;
        let version = self.dh.as_ref().map_or(0, DhConfig::version);
        self.ask(Rpc::GetDhConfig { version }, ctx, |session, result, _| {
            session.ready.asking = false;
            let Ok(Reply::DhConfig(reported)) = result else {
                return; // the call itself will ask, and tell what is wrong
            };
            match DhConfig::received(reported, session.dh.as_ref(), &mut rand::rng()) {
                Ok((config, random)) => {
                    session.dh = Some(config);
                    session.ready.random = Some((Instant::now(), random));
                }
                Err(error) => {
                    tracing::error!(session = %session.spec.name, %error, "the parameters of the key agreement are refused");
                }
            }
        });
    }
}
