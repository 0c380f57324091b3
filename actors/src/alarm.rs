//! The next time of a core, as a timer of the actor around it.

use std::time::Instant;

use actix::{Actor, AsyncContext, Context, SpawnHandle};

/// The timer that runs, if one does.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<(Instant, SpawnHandle)>);

impl Alarm {
    /// Sees to it that `ring` is called at this time, or not at all; it has to put a new alarm in the place of this one.
    ///
    /// A core names its next time after every input, and mostly a later one: a timer that rings too early finds nothing to do and is
    /// set anew, which costs less than to stop and set it every time.
    pub(crate) fn set<A: Actor<Context = Context<A>>>(
        &mut self,
        now: Instant,
        at: Option<Instant>,
        ctx: &mut Context<A>,
        ring: impl FnOnce(&mut A, &mut Context<A>) + 'static,
    ) {
        if let (Some(at), Some((set, _))) = (at, &self.0)
            && *set <= at
            && *set > now
        {
            return;
        }
        if let Some((_, timer)) = self.0.take() {
            ctx.cancel_future(timer);
        }
        self.0 = at.map(|at| (at, ctx.run_later(at.saturating_duration_since(now), ring)));
    }
}
