//! Objects that are late, repeated, foreign or forged.

use super::*;

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
fn a_group_whose_modulus_is_no_safe_prime_is_refused() {
    let mut call = outgoing_until("Preparing");
    // Divisible by three; every safe prime may have 4.
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
fn custom_parameters_are_handed_to_the_media() {
    for parameters in [r#"{"network_use_mtproto":true}"#, "not json"] {
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
        let data = parameters.to_owned();
        object.custom_parameters = Some(tl::types::DataJson { data }.into());
        call.input(Input::Reply(key, Ok(Reply::PhoneCall(object.into()))));
        let handed = call.media[0].custom_parameters.as_deref();
        assert_eq!(handed, Some(parameters));
        assert!(call.discards().is_empty());
    }
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
