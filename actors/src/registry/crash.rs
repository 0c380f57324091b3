//! Lets a test find those whom the registry supervises.

use std::time::Duration;

use actix::{ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, MessageResult};

use super::Registry;
use crate::call::Call;
use crate::trunk::Trunk;

/// Test -> Registry: whom do you supervise?
#[derive(Message)]
#[rtype(result = "Children")]
pub(crate) struct Supervised;

/// The trunks, and the calls in the order they began.
pub(crate) struct Children {
    pub(crate) trunks: Vec<Addr<Trunk>>,
    pub(crate) calls: Vec<Addr<Call>>,
}

impl Handler<Supervised> for Registry {
    type Result = MessageResult<Supervised>;

    fn handle(&mut self, _: Supervised, _: &mut Self::Context) -> Self::Result {
        self.watch.handled();
        let mut calls: Vec<_> = self.known.calls.iter().collect();
        calls.sort_by_key(|(id, _)| **id);
        let trunks = self.known.trunks.values();
        MessageResult(Children {
            trunks: trunks.filter_map(|unit| unit.address.clone()).collect(),
            calls: calls
                .into_iter()
                .map(|(_, unit)| unit.address.clone())
                .collect(),
        })
    }
}

/// Test -> Registry: hear nothing for so long, and die with what came meanwhile.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Faint(pub(crate) Duration);

impl Handler<Faint> for Registry {
    type Result = ();

    fn handle(&mut self, Faint(time): Faint, ctx: &mut Context<Self>) {
        let waits = actix::fut::wrap_future::<_, Self>(tokio::time::sleep(time));
        ctx.wait(waits.map(|(), _, _| panic!("Registry dies on purpose")));
    }
}
