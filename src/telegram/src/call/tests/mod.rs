//! The control plane against tables, and both directions against each other over a small server.

mod hostile;
mod table;

use std::time::{Duration, Instant};

use grammers_tl_types as tl;
use tl::enums::PhoneCall;
use tl::enums::PhoneCallDiscardReason as Discard;

use super::*;
use crate::dh::DhConfig;
use crate::testing::{hex, start};

const CALLER: i64 = 1001;
const CALLEE: i64 = 2002;
const CALL: i64 = 77;
const HASH: i64 = 88;

fn prime() -> Vec<u8> {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../../../testdata/dh.json")).unwrap();
    hex(file["cases"][0]["p"].as_str().unwrap())
}

fn settings() -> CallSettings {
    CallSettings {
        library_versions: ["13.0.0", "12.0.0", "9.0.0", "8.0.0"]
            .map(String::from)
            .to_vec(),
        timers: Timers::default(),
        p2p: true,
        dh: None,
        random: None,
    }
}

fn protocol(version: &str) -> tl::enums::PhoneCallProtocol {
    tl::types::PhoneCallProtocol {
        udp_p2p: true,
        udp_reflector: true,
        min_layer: 65,
        max_layer: 92,
        library_versions: vec![version.to_owned()],
    }
    .into()
}

fn rpc_error(name: &str) -> RpcError {
    RpcError::Rpc {
        code: 400,
        name: name.to_owned(),
    }
}

fn dh_config() -> Reply {
    Reply::DhConfig(
        tl::types::messages::DhConfig {
            g: 3,
            p: prime(),
            version: 4,
            random: vec![9; 256],
        }
        .into(),
    )
}

fn waiting(receive_date: Option<i32>) -> PhoneCall {
    tl::types::PhoneCallWaiting {
        video: false,
        id: CALL,
        access_hash: HASH,
        date: 0,
        admin_id: CALLER,
        participant_id: CALLEE,
        protocol: protocol("13.0.0"),
        receive_date,
    }
    .into()
}

fn requested(g_a_hash: Vec<u8>) -> tl::types::PhoneCallRequested {
    tl::types::PhoneCallRequested {
        video: false,
        id: CALL,
        access_hash: HASH,
        date: 1000,
        admin_id: CALLER,
        participant_id: CALLEE,
        g_a_hash,
        protocol: protocol("13.0.0"),
    }
}

fn accepted(g_b: Vec<u8>) -> PhoneCall {
    tl::types::PhoneCallAccepted {
        video: false,
        id: CALL,
        access_hash: HASH,
        date: 0,
        admin_id: CALLER,
        participant_id: CALLEE,
        g_b,
        protocol: protocol("13.0.0"),
    }
    .into()
}

fn confirmed(g_a_or_b: Vec<u8>, key_fingerprint: i64) -> tl::types::PhoneCall {
    tl::types::PhoneCall {
        p2p_allowed: true,
        video: false,
        conference_supported: false,
        id: CALL,
        access_hash: HASH,
        date: 0,
        admin_id: CALLER,
        participant_id: CALLEE,
        g_a_or_b,
        key_fingerprint,
        protocol: protocol("13.0.0"),
        connections: vec![],
        start_date: 0,
        custom_parameters: None,
    }
}

fn discarded(reason: Option<Discard>) -> PhoneCall {
    tl::types::PhoneCallDiscarded {
        need_rating: false,
        need_debug: false,
        video: false,
        id: CALL,
        reason,
        duration: None,
    }
    .into()
}

/// Either machine, with what it has said so far.
struct Machine {
    call: Either,
    now: Instant,
    deadline: Option<Instant>,
    invoked: Vec<(RequestKey, Rpc)>,
    media: Vec<MediaStart>,
    signals: Vec<Vec<u8>>,
    events: Vec<String>,
}

enum Either {
    Out(Outgoing),
    In(Incoming),
}

impl Machine {
    fn outgoing(settings: CallSettings) -> Machine {
        let now = start();
        let user = tl::types::InputUser {
            user_id: CALLEE,
            access_hash: 5,
        };
        Machine::new(
            Either::Out(Outgoing::new(now, user, settings, [1; 32])),
            now,
        )
    }

    fn incoming(settings: CallSettings, g_a_hash: Vec<u8>) -> Machine {
        let now = start();
        let call = Incoming::new(now, &requested(g_a_hash), settings, [2; 32]);
        Machine::new(Either::In(call), now)
    }

    fn new(call: Either, now: Instant) -> Machine {
        let mut machine = Machine {
            call,
            now,
            deadline: None,
            invoked: vec![],
            media: vec![],
            signals: vec![],
            events: vec![],
        };
        machine.drain();
        machine
    }

    fn input(&mut self, input: Input) {
        match &mut self.call {
            Either::Out(call) => call.handle_input(self.now, input),
            Either::In(call) => call.handle_input(self.now, input),
        }
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            let output = match &mut self.call {
                Either::Out(call) => call.poll_output(),
                Either::In(call) => call.poll_output(),
            };
            match output {
                Output::Invoke(key, rpc) => self.invoked.push((key, rpc)),
                Output::StartMedia(start) => self.media.push(*start),
                Output::Signal(data) => self.signals.push(data),
                Output::Event(event) => self.events.push(match event {
                    Event::Ended { cause } => format!("Ended {cause}"),
                    Event::DhConfig(_) => "DhConfig".into(),
                    Event::Accepted { version, .. } => format!("Accepted {version}"),
                    other => format!("{other:?}"),
                }),
                Output::Timeout(at) => {
                    self.deadline = at;
                    return;
                }
            }
        }
    }

    /// The latest request whose name this is, taken out.
    fn take(&mut self, name: &str) -> (RequestKey, Rpc) {
        let at = self
            .invoked
            .iter()
            .position(|(_, rpc)| format!("{rpc:?}").starts_with(name))
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.invoked));
        self.invoked.remove(at)
    }

    fn reply(&mut self, name: &str, result: Result<Reply, RpcError>) -> Rpc {
        let (key, rpc) = self.take(name);
        self.input(Input::Reply(key, result));
        rpc
    }

    /// Lets the time of the next deadline come.
    fn time_out(&mut self) -> Duration {
        let at = self.deadline.expect("a deadline");
        let waited = at - self.now;
        self.now = at;
        self.input(Input::Timeout);
        waited
    }

    fn discards(&self) -> Vec<(Discard, i32)> {
        let discard = |rpc: &Rpc| match rpc {
            Rpc::DiscardCall {
                duration,
                reason,
                peer,
            } => {
                assert_eq!((peer.id, peer.access_hash), (CALL, HASH));
                Some((reason.clone(), *duration))
            }
            _ => None,
        };
        self.invoked
            .iter()
            .filter_map(|(_, rpc)| discard(rpc))
            .collect()
    }

    fn ended(&self) -> Vec<&str> {
        self.events
            .iter()
            .filter_map(|e| e.strip_prefix("Ended "))
            .collect()
    }

    fn is_finished(&self) -> bool {
        let count = self.events.iter().filter(|e| *e == "Finished").count();
        assert!(count < 2, "finished twice");
        count == 1
    }
}

/// An outgoing call up to the state of this name, with the peer's half.
fn outgoing_until(state: &str) -> Machine {
    let mut call = Machine::outgoing(settings());
    if state == "Preparing" {
        return call;
    }
    call.reply("GetDhConfig", Ok(dh_config()));
    if state == "Requesting" {
        return call;
    }
    call.reply("RequestCall", Ok(Reply::PhoneCall(waiting(None))));
    if state == "Waiting" {
        return call;
    }
    call.input(Input::Update(waiting(Some(1))));
    if state == "Ringing" {
        return call;
    }
    call.input(Input::Update(accepted(a_half().public().to_vec())));
    if state == "Confirming" {
        return call;
    }
    let Rpc::ConfirmCall {
        key_fingerprint, ..
    } = call.invoked.last().unwrap().1.clone()
    else {
        panic!("{:?}", call.invoked);
    };
    let call_object = confirmed(vec![], key_fingerprint).into();
    call.reply("ConfirmCall", Ok(Reply::PhoneCall(call_object)));
    if state == "Connecting" {
        return call;
    }
    call.input(Input::MediaConnected);
    assert_eq!(state, "Established");
    call
}

fn group() -> DhConfig {
    DhConfig::check(3, &prime(), 4, &mut rng()).unwrap()
}

fn rng() -> rand::rngs::StdRng {
    rand::SeedableRng::from_seed([3; 32])
}

fn a_half() -> crate::dh::Half {
    group().draw(&[], &mut rng())
}

/// An incoming call up to the state of this name; the caller's half is [`a_half`].
fn incoming_until(state: &str) -> Machine {
    let mut call = Machine::incoming(settings(), a_half().commitment().to_vec());
    call.reply("ReceivedCall", Ok(Reply::Bool(true)));
    if state == "Ringing" {
        return call;
    }
    if state == "Answering" {
        call.input(Input::Answer);
        return call;
    }
    call.reply("GetDhConfig", Ok(dh_config()));
    call.input(Input::Answer);
    if state == "Accepting" {
        return call;
    }
    let Rpc::AcceptCall { g_b, .. } = call.invoked.last().unwrap().1.clone() else {
        panic!("{:?}", call.invoked);
    };
    call.reply("AcceptCall", Ok(Reply::PhoneCall(waiting(None))));
    let key = a_half().agree(&group(), &g_b).unwrap();
    let object = confirmed(a_half().public().to_vec(), key.fingerprint());
    call.input(Input::Update(object.into()));
    if state == "Connecting" {
        return call;
    }
    call.input(Input::MediaConnected);
    assert_eq!(state, "Established");
    call
}

#[test]
fn a_caller_and_a_callee_agree_on_a_key_and_talk() {
    let mut out = Machine::outgoing(settings());
    out.reply("GetDhConfig", Ok(dh_config()));
    let Rpc::RequestCall {
        g_a_hash,
        protocol,
        random_id,
        ..
    } = out.reply("RequestCall", Ok(Reply::PhoneCall(waiting(None))))
    else {
        panic!()
    };
    assert_ne!(random_id, 0);
    assert_eq!((protocol.min_layer, protocol.max_layer), (65, 92));
    let mut inc = Machine::incoming(settings(), g_a_hash);
    inc.reply("ReceivedCall", Ok(Reply::Bool(true)));
    assert_eq!(inc.events, ["Ringing"]);
    inc.reply("GetDhConfig", Ok(dh_config()));
    out.input(Input::Update(waiting(Some(1))));
    assert_eq!(out.events, ["DhConfig", "Ringing"]);

    inc.input(Input::Answer);
    let Rpc::AcceptCall { g_b, .. } = inc.reply("AcceptCall", Ok(Reply::PhoneCall(waiting(None))))
    else {
        panic!()
    };
    // The peer's media speaks before its call object is here.
    inc.input(Input::SignalReceived(vec![1]));
    out.input(Input::Update(accepted(g_b.clone())));
    let (
        key,
        Rpc::ConfirmCall {
            g_a,
            key_fingerprint,
            ..
        },
    ) = out.take("ConfirmCall")
    else {
        panic!()
    };
    inc.input(Input::Update(confirmed(g_a, key_fingerprint).into()));
    let object = confirmed(g_b, key_fingerprint).into();
    out.input(Input::Reply(key, Ok(Reply::PhoneCall(object))));

    assert_eq!(out.media[0].key, inc.media[0].key);
    assert_eq!(
        (out.media[0].role, inc.media[0].role),
        (Role::Caller, Role::Callee)
    );
    assert!(out.media[0].p2p_allowed);
    assert_eq!(inc.signals, [vec![1]]);
    out.input(Input::MediaConnected);
    assert_eq!(out.events[2..], ["Accepted 13.0.0", "Established"]);
    assert_eq!(out.deadline, None);
    out.now += Duration::from_secs(61);
    out.input(Input::HangUp);
    assert_eq!(out.discards(), [(Discard::Hangup, 61)]);
    assert_eq!(out.ended(), ["200 Normal Clearing"]);
    assert!(!out.is_finished());
    out.reply("DiscardCall", Err(rpc_error("CALL_ALREADY_DECLINED")));
    assert!(out.is_finished());
    inc.input(Input::Update(discarded(Some(Discard::Hangup))));
    assert_eq!(inc.ended(), ["200 Normal Clearing"]);
    assert!(inc.is_finished() && inc.discards().is_empty());
}
