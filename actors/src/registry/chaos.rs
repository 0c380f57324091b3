//! Lets a test of the whole process find those whom the registry supervises.

use actix::{Addr, Handler, Message};
use model::TrunkName;

use super::Registry;
use crate::call::Call;
use crate::trunk::Trunk;

/// House -> Registry: where is this trunk?
#[derive(Message)]
#[rtype(result = "Option<Addr<Trunk>>")]
pub(crate) struct TrunkNamed(pub(crate) TrunkName);

impl Handler<TrunkNamed> for Registry {
    type Result = Option<Addr<Trunk>>;

    fn handle(&mut self, TrunkNamed(name): TrunkNamed, _: &mut Self::Context) -> Self::Result {
        self.watch.handled();
        self.known.trunks.get(&name)?.address.clone()
    }
}

/// House -> Registry: which of the living calls began first?
#[derive(Message)]
#[rtype(result = "Option<Addr<Call>>")]
pub(crate) struct OldestCall;

impl Handler<OldestCall> for Registry {
    type Result = Option<Addr<Call>>;

    fn handle(&mut self, _: OldestCall, _: &mut Self::Context) -> Self::Result {
        self.watch.handled();
        let calls = self.known.calls.iter();
        let (_, oldest) = calls.min_by_key(|(id, _)| **id)?;
        Some(oldest.address.clone())
    }
}
