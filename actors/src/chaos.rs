//! Harm on purpose, for tests (REL-A1, REL-A4): an actor that dies, or a thread that does not come to its work. No release has any of
//! this: it is there under the feature `chaos` alone, which the end-to-end tests ask for as a dev-dependency.

use std::time::Duration;

use actix::{Handler, Message};

use crate::call::Call;
use crate::endpoint::Endpoint;
use crate::keeper::Keeper;
use crate::leg::sip::SipLeg;
use crate::leg::telegram::TelegramLeg;
use crate::registry::Registry;
use crate::session::Session;
use crate::supervise::Watched as _;
use crate::trunk::Trunk;

/// Test -> any actor: die, as by a panic in a handler.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Crash;

/// Test -> any actor: do not come back from your handler for so long, nor does anybody else on the same thread.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Stall(pub(crate) Duration);

macro_rules! mortal {
    ($($actor:ty)*) => {$(
        impl Handler<Crash> for $actor {
            type Result = ();

            fn handle(&mut self, _: Crash, _: &mut Self::Context) {
                self.watch().handled();
                // Unwinds as a panic does, but is none that a log would have to explain.
                std::panic::resume_unwind(Box::new(concat!(stringify!($actor), " dies on purpose")));
            }
        }

        impl Handler<Stall> for $actor {
            type Result = ();

            fn handle(&mut self, Stall(time): Stall, _: &mut Self::Context) {
                self.watch().handled();
                std::thread::sleep(time);
            }
        }
    )*};
}

mortal!(Registry Endpoint Keeper Trunk Session Call SipLeg TelegramLeg);

#[cfg(feature = "chaos")]
pub(crate) use house::harm;
#[cfg(feature = "chaos")]
pub use house::{Harm, Victim};

/// What a test of the whole process can ask for.
#[cfg(feature = "chaos")]
mod house {
    use std::time::Duration;

    use actix::{Actor, Addr, Context, Handler};
    use model::{LegKind, SessionName, TrunkName};

    use super::{Crash, Stall};
    use crate::call::Call;
    use crate::call::chaos::HarmLeg;
    use crate::house::House;
    use crate::registry::chaos::{OldestCall, TrunkNamed};

    /// Whom harm is done to.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Victim {
        /// The registry.
        Registry,
        /// The SIP front door.
        Endpoint,
        /// The store's one actor, and its thread.
        Keeper,
        /// A trunk.
        Trunk(TrunkName),
        /// A Telegram session.
        Session(SessionName),
        /// The oldest call.
        Call,
        /// The legs of this kind of the oldest call.
        Leg(LegKind),
        /// The threads of the media plane, which can only stall.
        Media,
    }

    /// What is done.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Harm {
        /// It dies.
        Dies,
        /// Its thread does not come to anything else for so long.
        Stalls(Duration),
    }

    pub(crate) fn harm<A>(actor: &Addr<A>, what: Harm)
    where
        A: Actor<Context = Context<A>> + Handler<Crash> + Handler<Stall>,
    {
        match what {
            Harm::Dies => actor.do_send(Crash),
            Harm::Stalls(time) => actor.do_send(Stall(time)),
        }
    }

    impl House {
        /// Does it; nothing when there is no such victim just now. That it is done can be a moment later.
        pub async fn harm(&self, victim: Victim, what: Harm) -> Option<()> {
            let common = &self.common;
            match victim {
                Victim::Registry => harm(&common.registry.open()?, what),
                Victim::Endpoint => harm(&common.endpoint.open()?, what),
                Victim::Keeper => harm(&common.keeper.open()?, what),
                Victim::Session(name) => {
                    harm(&common.sessions.get(&name)?.door.door().open()?, what)
                }
                Victim::Trunk(name) => {
                    let registry = common.registry.open()?;
                    harm(&registry.send(TrunkNamed(name)).await.ok()??, what);
                }
                Victim::Call => harm(&self.oldest_call().await?, what),
                Victim::Leg(kind) => self.oldest_call().await?.do_send(HarmLeg { kind, what }),
                Victim::Media => {
                    let Harm::Stalls(time) = what else {
                        return None;
                    };
                    for runtime in common.media.runtimes() {
                        runtime.spawn(async move { std::thread::sleep(time) });
                    }
                }
            }
            Some(())
        }

        async fn oldest_call(&self) -> Option<Addr<Call>> {
            let registry = self.common.registry.open()?;
            registry.send(OldestCall).await.ok()?
        }
    }
}
