//! A Telegram user with a device: the other end of a call, driven by the same state machines in the opposite role.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::Codec;
use telegram::{
    Event, Incoming, Input, MediaStart, Outgoing, Output, Refusal, Reply, RequestKey, Rpc,
    RpcError, RtcLimits, RtcTransport, User,
};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::coder::Coder;
use super::line::{Board, End, Line};
use super::server::{ACCESS_HASH, Asker, Mailbox, Update};
use super::speech::Speech;
use super::talk::{Carrier, Talk, TalkEvent, until};
use super::telegram::World;

/// The payload type of Opus in Telegram calls.
const OPUS: u8 = 111;

/// What a user does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Answers so long after the device began to ring.
    Answer {
        /// How long.
        after: Duration,
    },
    /// Lets it ring.
    Ring,
    /// Declines so long after the device began to ring.
    Decline {
        /// How long.
        after: Duration,
    },
    /// Has no device that could be reached.
    Ignore,
    /// Does not let strangers call.
    Privacy,
    /// Is called too often for Telegram's liking.
    Flood {
        /// The wait that is ordered, in seconds.
        seconds: u32,
    },
}

/// A Telegram user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The user id.
    pub id: i64,
    /// The username, without `@`.
    pub username: String,
    /// The phone number, digits without `+`.
    pub phone: String,
    /// What the user does with calls.
    pub manner: Manner,
}

impl Person {
    /// What others see of the user.
    pub(super) fn user(&self) -> User {
        User {
            id: self.id,
            access_hash: Some(ACCESS_HASH),
            is_self: false,
            is_bot: false,
            is_deleted: false,
            first_name: self.username.clone(),
            last_name: String::new(),
            username: Some(self.username.clone()),
            phone: Some(self.phone.clone()),
        }
    }
}

/// The state machine of either direction.
pub(super) enum Machine {
    Outgoing(Box<Outgoing>),
    Incoming(Box<Incoming>),
}

impl From<Outgoing> for Machine {
    fn from(machine: Outgoing) -> Self {
        Machine::Outgoing(Box::new(machine))
    }
}

impl From<Incoming> for Machine {
    fn from(machine: Incoming) -> Self {
        Machine::Incoming(Box::new(machine))
    }
}

impl Machine {
    fn handle_input(&mut self, now: Instant, input: Input) {
        match self {
            Machine::Outgoing(machine) => machine.handle_input(now, input),
            Machine::Incoming(machine) => machine.handle_input(now, input),
        }
    }

    fn poll_output(&mut self) -> Output {
        match self {
            Machine::Outgoing(machine) => machine.poll_output(),
            Machine::Incoming(machine) => machine.poll_output(),
        }
    }
}

/// The result of a request.
type Answered = (RequestKey, Result<Reply, RpcError>);

/// A user's device in one call.
pub(super) struct Device {
    world: Arc<World>,
    person: Person,
    mailbox: Mailbox,
}

impl Device {
    pub(super) fn new(world: Arc<World>, person: Person, mailbox: Mailbox) -> Self {
        Self {
            world,
            person,
            mailbox,
        }
    }

    /// Lets the device play its part until the call is over.
    pub(super) fn start(
        self,
        machine: impl Into<Machine>,
        updates: mpsc::UnboundedReceiver<Update>,
    ) -> Line {
        let (hang_up, orders) = mpsc::unbounded_channel();
        let (line, board) = Line::new(move || {
            let _ = hang_up.send(());
        });
        let machine = machine.into();
        let (answers, answers_rx) = mpsc::unbounded_channel();
        let (after, input) = match (&machine, self.person.manner) {
            (Machine::Incoming(_), Manner::Answer { after }) => (Some(after), Input::Answer),
            (Machine::Incoming(_), Manner::Decline { after }) => {
                (Some(after), Input::Refuse(Refusal::Busy))
            }
            _ => (None, Input::Answer),
        };
        let conversation = Conversation {
            device: self,
            machine,
            board,
            answers,
            talk: None,
            decision: after.map(|after| (Instant::now() + after, input)),
            end: None,
            finished: false,
        };
        let runtime = conversation.device.world.runtime().clone();
        runtime.spawn(conversation.run(updates, answers_rx, orders));
        line
    }
}

struct Conversation {
    device: Device,
    machine: Machine,
    board: Board,
    answers: mpsc::UnboundedSender<Answered>,
    talk: Option<Talk>,
    /// What the user does by and by.
    decision: Option<(Instant, Input)>,
    end: Option<End>,
    finished: bool,
}

impl Conversation {
    async fn run(
        mut self,
        mut updates: mpsc::UnboundedReceiver<Update>,
        mut answers: mpsc::UnboundedReceiver<Answered>,
        mut orders: mpsc::UnboundedReceiver<()>,
    ) {
        loop {
            let timeout = self.drain().await;
            if let Some(end) = self.end.take() {
                let audio = match self.talk.take() {
                    Some(talk) => talk.stop().await,
                    None => None,
                };
                self.board.over(end, audio);
            }
            if self.finished {
                return;
            }
            let decision = self.decision.as_ref().map(|(at, _)| *at);
            let input = tokio::select! {
                Some(update) = updates.recv() => match update {
                    Update::PhoneCall(call) => Input::Update(*call),
                    Update::Signaling(data) => Input::SignalReceived(data),
                },
                Some((key, result)) = answers.recv() => Input::Reply(key, result),
                Some(()) = orders.recv() => Input::HangUp,
                event = event(&mut self.talk) => match event {
                    TalkEvent::Connected => Input::MediaConnected,
                    TalkEvent::Signal(bytes) => Input::SignalToSend(bytes),
                    TalkEvent::Failed(why) => Input::MediaFailed(why),
                },
                () = until(timeout) => Input::Timeout,
                () = until(decision) => match self.decision.take() {
                    Some((_, input)) => input,
                    None => continue,
                },
            };
            self.machine.handle_input(Instant::now(), input);
        }
    }

    async fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.machine.poll_output() {
                Output::Invoke(key, rpc) => self.invoke(key, rpc),
                Output::StartMedia(start) => self.start_media(&start).await,
                Output::Signal(data) => {
                    if let Some(talk) = &self.talk {
                        talk.signal(data);
                    }
                }
                Output::Event(event) => self.on_event(event),
                Output::Timeout(at) => return at,
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Ringing => self.board.ringing(),
            Event::Established => self.board.talking(Codec::Opus),
            Event::Accepted { .. } | Event::DhConfig(_) => {}
            Event::Ended { cause } => {
                self.end = Some(End {
                    code: cause.code(),
                    phrase: cause.phrase().into_owned(),
                    retry_after: None,
                });
            }
            Event::Finished => self.finished = true,
        }
    }

    fn invoke(&self, key: RequestKey, rpc: Rpc) {
        let (world, answers) = (Arc::clone(&self.device.world), self.answers.clone());
        let asker = Asker::User(self.device.person.id, self.device.mailbox.clone());
        tokio::spawn(async move {
            let result = world.ask(&asker, rpc).await;
            let _ = answers.send((key, result));
        });
    }

    /// Starts the media engine; without a socket or a codec it stays silent and the call ends by its timer.
    async fn start_media(&mut self, start: &MediaStart) {
        let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await else {
            return;
        };
        let Ok(local) = socket.local_addr() else {
            return;
        };
        let Some(coder) = Coder::new(Codec::Opus, self.device.world.frame()) else {
            return;
        };
        let (now, limits) = (Instant::now(), RtcLimits::default());
        let transport = RtcTransport::new(now, start, local, limits, rand::random());
        let carrier = Carrier::Rtc(Box::new(transport));
        let speech = Speech::new(self.device.person.id.unsigned_abs());
        self.talk = Some(Talk::start(
            carrier,
            vec![socket],
            coder,
            OPUS,
            speech,
            self.device.world.is_mute(),
            None,
        ));
    }
}

async fn event(talk: &mut Option<Talk>) -> TalkEvent {
    match talk {
        Some(talk) => talk.event().await,
        None => std::future::pending().await,
    }
}
