//! The control plane against tables, and both directions against each other over a small server.

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
        serde_json::from_str(include_str!("../../testdata/dh.json")).unwrap();
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

#[test]
fn hanging_up_discards_once_with_the_reason_of_the_state() {
    let outgoing = [
        ("Preparing", None, "487 Request Terminated"),
        ("Requesting", None, "487 Request Terminated"),
        ("Waiting", Some(Discard::Missed), "487 Request Terminated"),
        ("Ringing", Some(Discard::Missed), "487 Request Terminated"),
        (
            "Confirming",
            Some(Discard::Hangup),
            "487 Request Terminated",
        ),
        (
            "Connecting",
            Some(Discard::Hangup),
            "487 Request Terminated",
        ),
        ("Established", Some(Discard::Hangup), "200 Normal Clearing"),
    ];
    let incoming = [
        ("Ringing", Some(Discard::Busy), "486 Busy Here"),
        ("Answering", Some(Discard::Busy), "486 Busy Here"),
        ("Accepting", Some(Discard::Hangup), "200 Normal Clearing"),
        ("Connecting", Some(Discard::Hangup), "200 Normal Clearing"),
        ("Established", Some(Discard::Hangup), "200 Normal Clearing"),
    ];
    let out = outgoing.map(|row| (outgoing_until(row.0), row));
    let inc = incoming.map(|row| (incoming_until(row.0), row));
    for (mut call, (state, reason, cause)) in out.into_iter().chain(inc) {
        for _ in 0..2 {
            call.input(Input::HangUp);
        }
        let expected: Vec<_> = reason.clone().into_iter().map(|r| (r, 0)).collect();
        assert_eq!(call.discards(), expected, "{state}");
        assert_eq!(call.ended(), [cause], "{state}");
        if reason.is_some() {
            assert_eq!(call.time_out(), Duration::from_secs(5), "{state}");
            assert!(call.is_finished(), "{state}");
            assert_eq!(call.deadline, None);
        }
    }
}

#[test]
fn a_call_cancelled_while_it_is_requested_is_discarded_when_its_id_is_known() {
    for by_update in [false, true] {
        let mut call = outgoing_until("Requesting");
        call.input(Input::HangUp);
        assert_eq!(call.ended(), ["487 Request Terminated"]);
        assert!(!call.is_finished());
        if by_update {
            let Either::Out(machine) = &call.call else {
                panic!()
            };
            assert!(machine.may_own(&waiting(Some(1))));
            call.input(Input::Update(waiting(Some(1))));
        } else {
            call.reply("RequestCall", Ok(Reply::PhoneCall(waiting(None))));
        }
        assert_eq!(call.discards(), [(Discard::Missed, 0)]);
        call.reply("DiscardCall", Ok(Reply::Done));
        assert!(call.is_finished());
        assert_eq!(call.ended().len(), 1);
    }
}

#[test]
fn a_discard_of_the_peer_ends_the_call_without_one_of_ours() {
    let outgoing = [
        ("Waiting", Discard::Busy, "486 User declined the call"),
        ("Ringing", Discard::Busy, "486 User declined the call"),
        ("Ringing", Discard::Missed, "480 No answer"),
        (
            "Ringing",
            Discard::Disconnect,
            "480 Temporarily Unavailable",
        ),
        ("Confirming", Discard::Hangup, "480 No answer"),
        (
            "Connecting",
            Discard::Disconnect,
            "480 Temporarily Unavailable",
        ),
        ("Established", Discard::Hangup, "200 Normal Clearing"),
        (
            "Established",
            Discard::Disconnect,
            "503 Media connection lost",
        ),
    ];
    let incoming = [
        ("Ringing", Discard::Missed, "487 Request Terminated"),
        ("Ringing", Discard::Busy, "200 Call completed elsewhere"),
        ("Answering", Discard::Missed, "487 Request Terminated"),
        ("Accepting", Discard::Hangup, "487 Request Terminated"),
        ("Established", Discard::Hangup, "200 Normal Clearing"),
    ];
    let out = outgoing.map(|row| (outgoing_until(row.0), row));
    let inc = incoming.map(|row| (incoming_until(row.0), row));
    for (mut call, (state, reason, cause)) in out.into_iter().chain(inc) {
        call.input(Input::Update(discarded(Some(reason))));
        call.input(Input::HangUp);
        assert_eq!(call.ended(), [cause], "{state}");
        assert!(call.is_finished() && call.discards().is_empty(), "{state}");
    }
}

#[test]
fn each_state_has_its_timer() {
    let outgoing = [
        (
            "Waiting",
            20,
            Discard::Missed,
            "480 Temporarily Unavailable",
        ),
        ("Ringing", 90, Discard::Missed, "480 No answer"),
        (
            "Confirming",
            20,
            Discard::Disconnect,
            "408 Timeout of waiting RPC result",
        ),
        (
            "Connecting",
            30,
            Discard::Disconnect,
            "503 Media is not connected",
        ),
    ];
    let incoming = [
        ("Ringing", 90, Discard::Missed, "480 No answer"),
        (
            "Accepting",
            20,
            Discard::Disconnect,
            "408 Timeout of waiting RPC result",
        ),
        (
            "Connecting",
            30,
            Discard::Disconnect,
            "503 Media is not connected",
        ),
    ];
    let out = outgoing.map(|row| (outgoing_until(row.0), row));
    let inc = incoming.map(|row| (incoming_until(row.0), row));
    for (mut call, (state, seconds, reason, cause)) in out.into_iter().chain(inc) {
        call.input(Input::Timeout); // too early: nothing happens
        assert_eq!(call.time_out(), Duration::from_secs(seconds), "{state}");
        assert_eq!(call.discards(), [(reason, 0)], "{state}");
        assert_eq!(call.ended(), [cause], "{state}");
    }
    assert_eq!(outgoing_until("Established").deadline, None);
}

#[test]
fn a_known_random_id_is_replaced_a_few_times() {
    let mut call = outgoing_until("Requesting");
    let mut ids = Vec::new();
    for _ in 0..3 {
        let rpc = call.reply("RequestCall", Err(rpc_error("RANDOM_ID_DUPLICATE")));
        let Rpc::RequestCall { random_id, .. } = rpc else {
            panic!()
        };
        ids.push(random_id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
    assert_eq!(call.ended(), ["500 RANDOM_ID_DUPLICATE"]);
    assert!(call.is_finished());
}

#[test]
fn refusals_of_a_request_become_causes() {
    let rows = [
        ("USER_PRIVACY_RESTRICTED", "403 USER_PRIVACY_RESTRICTED"),
        (
            "PARTICIPANT_VERSION_OUTDATED",
            "488 PARTICIPANT_VERSION_OUTDATED",
        ),
        ("FLOOD_WAIT_17", "503 Too Many Requests: retry after 17"),
        ("CALL_OCCUPY_FAILED", "500 CALL_OCCUPY_FAILED"),
    ];
    for (name, cause) in rows {
        let mut call = outgoing_until("Requesting");
        call.reply("RequestCall", Err(rpc_error(name)));
        assert_eq!(call.ended(), [cause]);
        assert!(call.is_finished() && call.discards().is_empty());
    }
}

#[test]
fn a_request_in_doubt_is_discarded_when_it_turns_out_to_ring() {
    let mut call = outgoing_until("Requesting");
    call.reply("RequestCall", Err(RpcError::TimedOut));
    assert_eq!(call.ended(), ["408 Timeout of waiting RPC result"]);
    call.input(Input::Update(waiting(Some(1))));
    assert_eq!(call.discards(), [(Discard::Missed, 0)]);
    assert_eq!(call.ended().len(), 1);
}

#[test]
fn the_acceptance_may_come_before_anything_rings() {
    let mut call = outgoing_until("Waiting");
    call.input(Input::Update(accepted(a_half().public().to_vec())));
    call.take("ConfirmCall");
    assert_eq!(call.deadline, Some(call.now + Duration::from_secs(20)));
}

#[test]
fn duplicates_change_nothing() {
    let mut call = outgoing_until("Ringing");
    call.input(Input::Update(waiting(Some(1))));
    call.input(Input::Update(waiting(None)));
    call.input(Input::Update(accepted(a_half().public().to_vec())));
    call.input(Input::Update(accepted(a_half().public().to_vec())));
    let (
        _,
        Rpc::ConfirmCall {
            key_fingerprint, ..
        },
    ) = call.take("ConfirmCall")
    else {
        panic!()
    };
    let object: PhoneCall = confirmed(vec![], key_fingerprint).into();
    call.input(Input::Update(object.clone()));
    call.input(Input::Update(object.clone()));
    call.input(Input::Reply(RequestKey(2), Ok(Reply::PhoneCall(object))));
    assert_eq!(call.media.len(), 1);
    assert_eq!(call.events, ["DhConfig", "Ringing", "Accepted 13.0.0"]);
    assert!(call.invoked.is_empty());
}

#[test]
fn updates_of_other_calls_are_ignored() {
    for mut call in [outgoing_until("Ringing"), incoming_until("Accepting")] {
        let before = call.events.len();
        let mut other = confirmed(vec![], 1);
        other.id = CALL + 1;
        call.input(Input::Update(other.into()));
        assert_eq!(call.events.len(), before);
        assert!(call.discards().is_empty());
    }
}

#[test]
fn tampered_objects_end_the_call() {
    let good_g_b = a_half().public().to_vec();
    let forged = |change: fn(&mut tl::types::PhoneCallAccepted)| {
        let PhoneCall::Accepted(mut call) = accepted(a_half().public().to_vec()) else {
            panic!()
        };
        change(&mut call);
        PhoneCall::Accepted(call)
    };
    let cases = [
        forged(|call| call.access_hash += 1),
        forged(|call| call.admin_id += 1),
        forged(|call| call.participant_id += 1),
        accepted(vec![1]),
        accepted(vec![0xff; 256]),
        accepted([vec![0], good_g_b].concat()),
        accepted(vec![]),
    ];
    for (index, case) in cases.into_iter().enumerate() {
        let mut call = outgoing_until("Ringing");
        call.input(Input::Update(case));
        assert_eq!(
            call.ended(),
            ["500 Encryption key mismatch"],
            "case {index}"
        );
        assert_eq!(call.discards(), [(Discard::Disconnect, 0)], "case {index}");
        assert!(call.media.is_empty());
    }
}

#[test]
fn a_wrong_fingerprint_or_commitment_ends_the_call() {
    let mut call = outgoing_until("Confirming");
    let object = confirmed(vec![], 1).into();
    call.reply("ConfirmCall", Ok(Reply::PhoneCall(object)));
    assert_eq!(call.ended(), ["500 Encryption key mismatch"]);
    assert_eq!(call.discards(), [(Discard::Disconnect, 0)]);

    let changed = group().draw(&[7], &mut rng()).public().to_vec();
    let own = a_half().public().to_vec();
    for (g_a, fingerprint) in [(changed, 1), (own, 1), (vec![], 1)] {
        let mut call = incoming_until("Accepting");
        call.input(Input::Update(confirmed(g_a, fingerprint).into()));
        assert_eq!(call.ended(), ["500 Encryption key mismatch"]);
        assert_eq!(call.discards(), [(Discard::Disconnect, 0)]);
        assert!(call.media.is_empty());
    }
}

#[test]
fn a_promise_to_a_value_out_of_range_is_no_use() {
    let one = vec![1];
    let mut call = Machine::incoming(settings(), crate::dh::commitment(&one).to_vec());
    call.reply("GetDhConfig", Ok(dh_config()));
    call.input(Input::Answer);
    call.input(Input::Update(confirmed(one, 1).into()));
    assert_eq!(call.ended(), ["500 Encryption key mismatch"]);
}

#[test]
fn an_unsafe_group_is_refused() {
    let mut call = outgoing_until("Preparing");
    let p = vec![0xff; 256];
    let reply = tl::types::messages::DhConfig {
        g: 4,
        p,
        version: 1,
        random: vec![],
    };
    call.reply("GetDhConfig", Ok(Reply::DhConfig(reply.into())));
    assert_eq!(call.ended(), ["500 Encryption key mismatch"]);
}

#[test]
fn a_known_group_is_not_sent_again() {
    let mut settings = settings();
    settings.dh = Some(group());
    let mut call = Machine::outgoing(settings);
    let same = tl::types::messages::DhConfigNotModified {
        random: vec![5; 256],
    };
    let rpc = call.reply("GetDhConfig", Ok(Reply::DhConfig(same.into())));
    assert_eq!(rpc, Rpc::GetDhConfig { version: 4 });
    call.take("RequestCall");
    assert!(call.events.is_empty());
}

#[test]
fn a_version_that_was_not_offered_ends_the_call() {
    for version in ["14.0.0", ""] {
        let mut call = outgoing_until("Confirming");
        let (
            key,
            Rpc::ConfirmCall {
                key_fingerprint, ..
            },
        ) = call.take("ConfirmCall")
        else {
            panic!()
        };
        let mut object = confirmed(vec![], key_fingerprint);
        object.protocol = protocol(version);
        call.input(Input::Reply(key, Ok(Reply::PhoneCall(object.into()))));
        assert_eq!(call.ended(), ["488 CALL_PROTOCOL_COMPAT_LAYER_INVALID"]);
        assert_eq!(call.discards(), [(Discard::Disconnect, 0)]);
    }
}

#[test]
fn media_without_dtls_is_refused() {
    for (parameters, refused) in [
        (r#"{"network_use_mtproto":true}"#, true),
        (r#"{"network_use_mtproto":false,"x":1}"#, false),
        ("not json", false),
    ] {
        let mut call = outgoing_until("Confirming");
        let (
            key,
            Rpc::ConfirmCall {
                key_fingerprint, ..
            },
        ) = call.take("ConfirmCall")
        else {
            panic!()
        };
        let mut object = confirmed(vec![], key_fingerprint);
        object.custom_parameters = Some(
            tl::types::DataJson {
                data: parameters.to_owned(),
            }
            .into(),
        );
        call.input(Input::Reply(key, Ok(Reply::PhoneCall(object.into()))));
        assert_eq!(call.media.is_empty(), refused, "{parameters}");
        assert_eq!(call.discards().is_empty(), !refused, "{parameters}");
    }
}

#[test]
fn only_relays_are_used_when_our_setting_says_so() {
    let mut settings = settings();
    settings.p2p = false;
    let mut call = Machine::outgoing(settings);
    call.reply("GetDhConfig", Ok(dh_config()));
    call.reply("RequestCall", Ok(Reply::PhoneCall(waiting(None))));
    call.input(Input::Update(accepted(a_half().public().to_vec())));
    let (
        key,
        Rpc::ConfirmCall {
            key_fingerprint, ..
        },
    ) = call.take("ConfirmCall")
    else {
        panic!()
    };
    let object = confirmed(vec![], key_fingerprint).into();
    call.input(Input::Reply(key, Ok(Reply::PhoneCall(object))));
    assert!(!call.media[0].p2p_allowed);
}

#[test]
fn the_call_may_be_confirmed_before_our_acceptance_is_answered() {
    let mut call = incoming_until("Accepting");
    let (key, Rpc::AcceptCall { g_b, .. }) = call.take("AcceptCall") else {
        panic!()
    };
    let shared = a_half().agree(&group(), &g_b).unwrap();
    let object: PhoneCall = confirmed(a_half().public().to_vec(), shared.fingerprint()).into();
    call.input(Input::Update(object.clone()));
    assert_eq!(call.media.len(), 1);
    call.input(Input::Reply(key, Ok(Reply::PhoneCall(waiting(None)))));
    assert_eq!(call.media.len(), 1);

    let mut call = incoming_until("Accepting");
    call.reply("AcceptCall", Ok(Reply::PhoneCall(object)));
    assert_eq!(
        call.media.len(),
        1,
        "or the result itself is the confirmed call"
    );
}

#[test]
fn another_device_that_was_first_keeps_the_call() {
    for name in ["CALL_ALREADY_ACCEPTED", "CALL_ALREADY_DECLINED"] {
        let mut call = incoming_until("Accepting");
        call.reply("AcceptCall", Err(rpc_error(name)));
        assert_eq!(call.ended(), ["200 Call completed elsewhere"]);
        assert!(
            call.is_finished() && call.discards().is_empty(),
            "a discard would end it for all"
        );
    }
    let mut call = incoming_until("Ringing");
    call.input(Input::Update(discarded(None)));
    assert_eq!(call.ended(), ["200 Call completed elsewhere"]);
}

#[test]
fn an_answer_waits_for_the_group() {
    let mut call = incoming_until("Answering");
    assert!(
        call.invoked
            .iter()
            .all(|(_, rpc)| !matches!(rpc, Rpc::AcceptCall { .. }))
    );
    call.reply("GetDhConfig", Err(RpcError::Connection));
    call.reply("GetDhConfig", Ok(dh_config()));
    call.take("AcceptCall");
    let mut call = incoming_until("Answering");
    call.reply("GetDhConfig", Err(RpcError::Connection));
    call.reply("GetDhConfig", Err(RpcError::Connection));
    assert_eq!(call.discards(), [(Discard::Disconnect, 0)]);
}

#[test]
fn a_replayed_request_is_stale() {
    let request = requested(vec![]);
    let timers = Timers::default();
    assert!(!Incoming::is_stale(&request, 1000, &timers));
    assert!(!Incoming::is_stale(&request, 1090, &timers));
    assert!(Incoming::is_stale(&request, 1091, &timers));
    assert!(
        !Incoming::is_stale(&request, 990, &timers),
        "our clock may be slow"
    );
}

#[test]
fn refusing_an_incoming_call_uses_the_reason_asked_for() {
    let rows = [
        (Refusal::Busy, Discard::Busy),
        (Refusal::Missed, Discard::Missed),
        (Refusal::Disconnect, Discard::Disconnect),
    ];
    for (refusal, reason) in rows {
        let mut call = incoming_until("Ringing");
        call.input(Input::Refuse(refusal));
        assert_eq!(call.discards(), [(reason, 0)]);
    }
}

#[test]
fn media_that_fails_ends_the_call() {
    let rows = [
        ("Connecting", "503 Media is not connected", 0),
        ("Established", "503 Media connection lost", 7),
    ];
    for (state, cause, seconds) in rows {
        let mut call = outgoing_until(state);
        call.now += Duration::from_secs(7);
        call.input(Input::MediaFailed("no datagram for 20 s"));
        assert_eq!(call.ended(), [cause]);
        assert_eq!(call.discards(), [(Discard::Disconnect, seconds)]);
    }
}

#[test]
fn media_closed_by_the_peer_waits_for_its_discard() {
    let mut call = outgoing_until("Established");
    call.input(Input::MediaFailed(CLOSED_BY_PEER));
    assert!(call.ended().is_empty());
    call.input(Input::Update(discarded(Some(Discard::Hangup))));
    assert_eq!(call.ended(), ["200 Normal Clearing"]);
    assert!(call.discards().is_empty());

    let mut call = outgoing_until("Established");
    call.now += Duration::from_secs(3);
    call.input(Input::MediaFailed(CLOSED_BY_PEER));
    assert_eq!(call.time_out(), Duration::from_secs(2));
    assert_eq!(call.discards(), [(Discard::Hangup, 5)]);
    assert_eq!(call.ended(), ["200 Normal Clearing"]);
}

#[test]
fn signalling_that_is_refused_is_repeated_once() {
    let mut call = outgoing_until("Connecting");
    call.input(Input::SignalToSend(Bytes::from_static(b"one")));
    call.reply("SendSignalingData", Ok(Reply::Bool(true)));
    call.input(Input::SignalToSend(Bytes::from_static(b"two")));
    call.reply("SendSignalingData", Ok(Reply::Bool(false)));
    let rpc = call.reply("SendSignalingData", Err(rpc_error("CALL_PEER_INVALID")));
    assert!(matches!(rpc, Rpc::SendSignalingData { data, .. } if data == b"two"));
    assert_eq!(call.ended(), ["500 CALL_PEER_INVALID"]);
    assert_eq!(call.discards(), [(Discard::Disconnect, 0)]);

    let mut call = outgoing_until("Established");
    call.input(Input::SignalToSend(Bytes::from_static(b"late")));
    call.reply("SendSignalingData", Err(RpcError::Connection));
    assert!(
        call.ended().is_empty(),
        "media needs no signalling any more"
    );
}

#[test]
fn early_signalling_is_bounded() {
    let mut call = outgoing_until("Confirming");
    for _ in 0..1000 {
        call.input(Input::SignalReceived(vec![0; 10_000]));
    }
    let (
        key,
        Rpc::ConfirmCall {
            key_fingerprint, ..
        },
    ) = call.take("ConfirmCall")
    else {
        panic!()
    };
    let object = confirmed(vec![], key_fingerprint).into();
    call.input(Input::Reply(key, Ok(Reply::PhoneCall(object))));
    assert_eq!(call.signals.len(), 52);
}

#[test]
fn a_discard_lost_with_the_connection_is_sent_again() {
    let mut call = outgoing_until("Ringing");
    call.input(Input::HangUp);
    call.reply("DiscardCall", Err(RpcError::Connection));
    call.reply("DiscardCall", Err(RpcError::Connection));
    assert!(call.is_finished());
    assert!(call.discards().is_empty(), "twice is enough");
}
