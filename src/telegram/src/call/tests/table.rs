//! What each state does with each input.

use super::*;

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
fn what_was_fetched_before_spares_the_first_request() {
    let mut settings = settings();
    settings.dh = Some(group());
    settings.random = Some(vec![5; 256]);
    let mut call = Machine::outgoing(settings);
    assert_eq!(call.deadline, Some(call.now + Duration::from_secs(40)));
    call.reply("RequestCall", Ok(Reply::PhoneCall(waiting(None))));
    call.input(Input::Update(accepted(a_half().public().to_vec())));
    call.take("ConfirmCall");
    let asked = |(_, rpc): &(_, Rpc)| matches!(rpc, Rpc::GetDhConfig { .. });
    assert!(!call.invoked.iter().any(asked));
    assert!(call.events.is_empty(), "{:?}", call.events);
}

#[test]
fn random_bytes_without_parameters_spare_nothing() {
    let mut settings = settings();
    settings.random = Some(vec![5; 256]);
    let mut call = Machine::outgoing(settings);
    call.reply("GetDhConfig", Ok(dh_config()));
    call.take("RequestCall");
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
fn a_discard_lost_with_the_connection_is_sent_again() {
    let mut call = outgoing_until("Ringing");
    call.input(Input::HangUp);
    call.reply("DiscardCall", Err(RpcError::Connection));
    call.reply("DiscardCall", Err(RpcError::Connection));
    assert!(call.is_finished());
    assert!(call.discards().is_empty(), "twice is enough");
}
