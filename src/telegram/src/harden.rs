//! Making an account fit for a switch (product 2.3): four settings at Telegram, each done for itself.
//!
//! The contract is that of every core: [`Harden::handle_reply`], then [`Harden::poll_output`] until `None`.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::call::RequestKey;
use crate::rpc::{Device, Reply, Rpc, RpcError};

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Calls no longer ring on the account's other devices, where whoever answers first takes them.
    CallsHereOnly,
    /// Everybody may call, also who is no contact.
    CallsFromAll,
    /// Everybody's audio may come directly. It shows the address of the switch to whoever calls.
    P2pFromAll,
    /// Nobody adds the account to groups.
    NoGroups,
}

impl Action {
    /// All four, in the order in which they are done.
    pub const ALL: [Action; 4] = [
        Action::CallsHereOnly,
        Action::CallsFromAll,
        Action::P2pFromAll,
        Action::NoGroups,
    ];
}

/// What became of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is as it should be.
    Done,
    /// Telegram allows it only when the login is a day old (`FRESH_…`).
    TooFresh,
    /// Telegram refuses, or did not answer.
    Failed(RpcError),
}

/// What it wants.
#[derive(Debug, Clone, PartialEq)]
pub enum HardenOutput {
    /// Ask Telegram this.
    Invoke(RequestKey, Rpc),
    /// This one is over.
    Outcome(Action, Outcome),
}

/// Does some of the actions, one after the other.
#[derive(Debug)]
pub struct Harden {
    left: VecDeque<Action>,
    state: State,
    next_key: u32,
    outputs: VecDeque<HardenOutput>,
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    /// Nothing left.
    Idle,
    /// Which devices there are.
    Listing { key: RequestKey },
    /// One device after the other.
    Silencing {
        key: RequestKey,
        left: VecDeque<i64>,
    },
    /// A privacy setting.
    Setting { key: RequestKey, action: Action },
}

impl Harden {
    /// Begins with the first.
    pub fn new(actions: &[Action]) -> Self {
        let mut harden = Self {
            left: actions.iter().copied().collect(),
            state: State::Idle,
            next_key: 0,
            outputs: VecDeque::new(),
        };
        harden.next();
        harden
    }

    /// Takes the result of a request; one that was not asked for is ignored.
    pub fn handle_reply(&mut self, key: RequestKey, result: Result<Reply, RpcError>) {
        match (self.state.clone(), result) {
            (State::Listing { key: asked }, result) if asked == key => match result {
                Ok(Reply::Devices(devices)) => self.silence(others(&devices)),
                Ok(_) => self.over(Action::CallsHereOnly, unexpected()),
                Err(error) => self.over(Action::CallsHereOnly, outcome(error)),
            },
            (State::Silencing { key: asked, left }, result) if asked == key => match result {
                Ok(_) => self.silence(left),
                // It was logged out meanwhile.
                Err(error) if error.is("HASH_INVALID") => self.silence(left),
                Err(error) => self.over(Action::CallsHereOnly, outcome(error)),
            },
            (State::Setting { key: asked, action }, result) if asked == key => match result {
                Ok(_) => self.over(action, Outcome::Done),
                Err(error) => self.over(action, outcome(error)),
            },
            (
                State::Idle
                | State::Listing { .. }
                | State::Silencing { .. }
                | State::Setting { .. },
                _,
            ) => {}
        }
    }

    /// Returns the next output.
    pub fn poll_output(&mut self) -> Option<HardenOutput> {
        self.outputs.pop_front()
    }

    fn next(&mut self) {
        let Some(action) = self.left.pop_front() else {
            self.state = State::Idle;
            return;
        };
        let rpc = match action {
            Action::CallsHereOnly => Rpc::GetAuthorizations,
            Action::CallsFromAll => Rpc::AllowCalls,
            Action::P2pFromAll => Rpc::AllowP2p,
            Action::NoGroups => Rpc::RefuseInvitations,
        };
        let key = self.invoke(rpc);
        self.state = match action {
            Action::CallsHereOnly => State::Listing { key },
            Action::CallsFromAll | Action::P2pFromAll | Action::NoGroups => {
                State::Setting { key, action }
            }
        };
    }

    fn silence(&mut self, mut left: VecDeque<i64>) {
        match left.pop_front() {
            Some(hash) => {
                let key = self.invoke(Rpc::DisableCalls { hash });
                self.state = State::Silencing { key, left };
            }
            None => self.over(Action::CallsHereOnly, Outcome::Done),
        }
    }

    fn over(&mut self, action: Action, outcome: Outcome) {
        self.outputs
            .push_back(HardenOutput::Outcome(action, outcome));
        self.next();
    }

    fn invoke(&mut self, rpc: Rpc) -> RequestKey {
        let key = RequestKey(self.next_key);
        self.next_key = self.next_key.wrapping_add(1);
        self.outputs.push_back(HardenOutput::Invoke(key, rpc));
        key
    }
}

/// The devices whose calls are still to be switched off.
fn others(devices: &[Device]) -> VecDeque<i64> {
    let ringing = devices
        .iter()
        .filter(|device| !device.current && !device.calls_disabled);
    ringing.map(|device| device.hash).collect()
}

fn outcome(error: RpcError) -> Outcome {
    match &error {
        RpcError::Rpc { name, .. } if name.starts_with("FRESH_") => Outcome::TooFresh,
        RpcError::Rpc { .. } | RpcError::TimedOut | RpcError::Connection => Outcome::Failed(error),
    }
}

fn unexpected() -> Outcome {
    Outcome::Failed(RpcError::Rpc {
        code: 500,
        name: "RESULT_UNEXPECTED".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(hash: i64, current: bool, calls_disabled: bool) -> Device {
        Device {
            hash,
            current,
            calls_disabled,
        }
    }

    fn error(code: i32, name: &str) -> Result<Reply, RpcError> {
        Err(RpcError::Rpc {
            code,
            name: name.to_owned(),
        })
    }

    type Outcomes = Vec<(Action, Outcome)>;

    /// The request that comes now, after these outcomes.
    fn request(harden: &mut Harden) -> (Outcomes, Option<(RequestKey, Rpc)>) {
        let mut outcomes = Vec::new();
        while let Some(output) = harden.poll_output() {
            match output {
                HardenOutput::Outcome(action, outcome) => outcomes.push((action, outcome)),
                HardenOutput::Invoke(key, rpc) => return (outcomes, Some((key, rpc))),
            }
        }
        (outcomes, None)
    }

    /// Answers every request; what was asked, and what came of it.
    fn play(
        actions: &[Action],
        answer: impl Fn(&Rpc) -> Result<Reply, RpcError>,
    ) -> (Vec<Rpc>, Outcomes) {
        let (mut asked, mut outcomes) = (Vec::new(), Vec::new());
        let mut harden = Harden::new(actions);
        loop {
            let (over, next) = request(&mut harden);
            outcomes.extend(over);
            let Some((key, rpc)) = next else {
                return (asked, outcomes);
            };
            harden.handle_reply(key, answer(&rpc));
            asked.push(rpc);
        }
    }

    fn good(rpc: &Rpc) -> Reply {
        match rpc {
            Rpc::GetAuthorizations => Reply::Devices(vec![
                device(0, true, false),
                device(11, false, false),
                device(12, false, true),
                device(13, false, false),
            ]),
            _ => Reply::Done,
        }
    }

    #[test]
    fn all_four_are_done_and_only_other_devices_are_touched() {
        let (asked, outcomes) = play(&Action::ALL, |rpc| Ok(good(rpc)));
        assert_eq!(
            asked,
            [
                Rpc::GetAuthorizations,
                Rpc::DisableCalls { hash: 11 },
                Rpc::DisableCalls { hash: 13 },
                Rpc::AllowCalls,
                Rpc::AllowP2p,
                Rpc::RefuseInvitations,
            ]
        );
        assert_eq!(outcomes, Action::ALL.map(|action| (action, Outcome::Done)));
    }

    #[test]
    fn a_login_too_fresh_for_one_does_the_others() {
        let (_, outcomes) = play(&Action::ALL, |rpc| match rpc {
            Rpc::DisableCalls { .. } => error(406, "FRESH_RESET_AUTHORISATION_FORBIDDEN"),
            rpc => Ok(good(rpc)),
        });
        assert_eq!(outcomes[0], (Action::CallsHereOnly, Outcome::TooFresh));
        assert!(outcomes[1..].iter().all(|(_, o)| *o == Outcome::Done));
    }

    #[test]
    fn a_device_that_is_gone_meanwhile_is_no_failure() {
        let (asked, outcomes) = play(&[Action::CallsHereOnly], |rpc| match rpc {
            Rpc::DisableCalls { hash: 11 } => error(400, "HASH_INVALID"),
            rpc => Ok(good(rpc)),
        });
        assert_eq!(asked.len(), 3);
        assert_eq!(outcomes, [(Action::CallsHereOnly, Outcome::Done)]);
    }

    #[test]
    fn a_refusal_is_told_and_the_next_one_begins() {
        let (asked, outcomes) = play(&[Action::NoGroups, Action::CallsFromAll], |rpc| match rpc {
            Rpc::RefuseInvitations => Err(RpcError::TimedOut),
            rpc => Ok(good(rpc)),
        });
        assert_eq!(asked, [Rpc::RefuseInvitations, Rpc::AllowCalls]);
        let failed = Outcome::Failed(RpcError::TimedOut);
        assert_eq!(
            outcomes,
            [
                (Action::NoGroups, failed),
                (Action::CallsFromAll, Outcome::Done)
            ]
        );
    }

    #[test]
    fn a_reply_that_nobody_waits_for_is_ignored() {
        let mut harden = Harden::new(&[Action::NoGroups]);
        let (_, asked) = request(&mut harden);
        harden.handle_reply(RequestKey(99), Ok(Reply::Done));
        assert_eq!(harden.poll_output(), None);
        harden.handle_reply(asked.unwrap().0, Ok(Reply::Done));
        let (outcomes, none) = request(&mut harden);
        assert_eq!((outcomes.len(), none), (1, None));
        harden.handle_reply(RequestKey(0), Ok(Reply::Done));
        assert_eq!(harden.poll_output(), None);
        assert_eq!(Harden::new(&[]).poll_output(), None);
    }
}
