//! Calls that an owner orders: the Telegram user is called first, as in a call back, then the number.

use actix::{Context, Handler, MessageResult};
use model::{CallId, Cause, Direction, Peer, Reason, SessionName};
use routing::Order;

use super::Registry;
use super::offer::{Attempt, of_person, shown_from};
use crate::call::{Held, Origin, Plan};
use crate::house::DialOrder;
use crate::message::{Caller, Calling, DialCall};

/// What is known of somebody who has not been looked up yet.
fn stranger(session: &SessionName, peer: &Peer) -> Caller {
    Caller {
        session: session.clone(),
        user_id: match peer {
            Peer::UserId(id) => *id,
            Peer::Phone(_) | Peer::Username(_) => 0,
        },
        phone: match peer {
            Peer::Phone(number) => Some(number.digits().to_owned()),
            Peer::Username(_) | Peer::UserId(_) => None,
        },
        username: match peer {
            Peer::Username(name) => Some(name.clone()),
            Peer::Phone(_) | Peer::UserId(_) => None,
        },
        first_name: String::new(),
        last_name: String::new(),
        dialled: None,
    }
}

impl Handler<DialCall> for Registry {
    type Result = MessageResult<DialCall>;

    fn handle(&mut self, dial: DialCall, ctx: &mut Self::Context) -> Self::Result {
        self.watch.handled();
        let DialCall { id, order } = dial;
        // Ordered once more, by somebody who has not heard the answer.
        if self.known.calls.contains_key(&id) {
            return MessageResult(Ok(()));
        }
        // Which trunks can be called is known when they have said so.
        if self.draining || self.calling_roll {
            return MessageResult(Err(Cause::new(Reason::WorkerNotReady)));
        }
        let refused = self.dial(id, &order, ctx);
        if let Err(cause) = &refused {
            tracing::info!(trunk = %order.trunk, session = %order.session, %cause, "an ordered call is refused");
        }
        MessageResult(refused)
    }
}

impl Registry {
    /// Decides, takes the line of the session and starts the call; the line of the trunk is taken when the number is called.
    fn dial(
        &mut self,
        id: CallId,
        order: &DialOrder,
        ctx: &mut Context<Self>,
    ) -> Result<(), Cause> {
        let session = order.session.clone();
        let caller = stranger(&session, &order.peer);
        let from = match &order.peer {
            Peer::UserId(_) => shown_from(&self.table, &order.trunk, &caller),
            Peer::Phone(_) | Peer::Username(_) => order.peer.to_string(),
        };
        let direction = Direction::TgToSip;
        // Only what names a trunk that there is may become a label.
        if self.table.trunk(&order.trunk).is_some() {
            self.common.metrics.call_attempt(direction, &order.trunk);
        }
        let decided = routing::decide_order(
            &self.table,
            &self.known,
            &Order {
                session: &session,
                peer: &order.peer,
                trunk: &order.trunk,
                number: &order.number,
            },
        );
        let user = self.user_of(&order.peer);
        let known = user.as_ref().map(|user| &user.name);
        let subjects = self.subjects_with(None, Some(&session), known);
        let admitted = decided.and_then(|decided| {
            self.admit(&subjects)?;
            let limit = self.table.session(&session).map_or(0, |spec| spec.lines);
            let opened = self.lines.open(id, Some(&session), limit);
            opened.map_err(|_| Cause::new(Reason::LinesLimit))?;
            self.take_user(id, user.as_ref())?;
            Ok(decided)
        });
        let (dialled, hunt) = admitted.inspect_err(|cause| {
            self.lines.release(id);
            if self.table.trunk(&order.trunk).is_some() {
                let attempt = Attempt {
                    direction,
                    trunk: &order.trunk,
                    session: session.to_string(),
                    from: from.clone(),
                    to: order.number.clone(),
                    details: of_person(&caller),
                };
                self.refused_attempt(attempt, cause);
            }
        })?;
        self.known.give(&session, &order.peer);
        self.counters.quotas.begin(id, subjects);
        let to = dialled.first().unwrap_or_default().to_owned();
        let held = Held {
            direction,
            trunk: order.trunk.clone(),
            lines: Vec::new(),
            session: Some(session),
            peer: Some(order.peer.clone()),
            user: known.cloned(),
        };
        let caller = Caller {
            dialled: Some(dialled),
            ..caller
        };
        let plan = Plan::ToSip {
            origin: Origin::Ordered,
            caller: Box::new(Calling::Telegram(caller)),
            hunt: Box::new(hunt),
            targets: Vec::new(),
        };
        self.start_call(id, held, plan, from, to, ctx);
        Ok(())
    }
}
