//! Encrypted audio towards the PBX, with baresip; Asterisk is in `interop`.

use crate::house::{HEARD, House, TELEGRAM_TONE};
use crate::pbx::{Baresip, Phone};
use crate::talk::{ALAW, Caller, Ends, OPUS, Talk};

/// What the log says of a leg whose keys travelled in the clear.
const ENCRYPTED: &str = "the audio of the leg is encrypted";

fn phone(house: &House, codec: &str, srtp: &'static str) -> Phone {
    Phone {
        srtp,
        ..house.phone_settings(codec)
    }
}

/// A whole call between a trunk and a phone with these wishes.
fn talk(caller: Caller, ours: &str, theirs: &'static str, codec: [&str; 3], encrypted: bool) {
    let house = House::new()
        .srtp(ours)
        .logging("trace")
        .registering_trunk(&[codec[0]])
        .start();
    let phone = phone(&house, codec[1], theirs);
    let house = Talk::start_with(house, &phone, caller, "13.0.0").end(Ends::Pbx);
    let log = house.log();
    assert_eq!(log.contains(ENCRYPTED), encrypted, "{ours} {theirs}");
    assert!(!log.contains("inline:"), "a key in the log");
    // baresip opens the way for RTCP by a packet in the clear, and may say good-bye in one.
    let auth = [("leg", "sip"), ("reason", "auth")];
    let discarded = "strowger_rtp_packets_discarded_total";
    let refused = house.metrics().sum_of(discarded, &auth);
    let expected = if encrypted { 0.5..5.0 } else { -0.5..0.5 };
    assert!(expected.contains(&refused), "{refused} packets refused");
    if encrypted {
        assert!(
            log.contains("private=false"),
            "it is said that SIP was not private"
        );
    }
}

#[test]
fn a_phone_that_demands_srtp_calls_and_both_hear_each_other() {
    talk(Caller::Pbx, "required", "srtp-mand", ALAW, true);
}

#[test]
fn a_phone_that_demands_srtp_is_called_and_opus_passes_untouched() {
    talk(Caller::Telegram, "required", "srtp-mand", OPUS, true);
}

#[test]
fn opus_of_a_phone_that_demands_srtp_passes_untouched() {
    talk(Caller::Pbx, "optional", "srtp-mand", OPUS, true);
}

#[test]
fn a_phone_that_can_do_srtp_calls_a_trunk_that_can() {
    talk(Caller::Pbx, "optional", "srtp", ALAW, true);
}

#[test]
fn a_phone_that_can_do_srtp_is_called_by_a_trunk_that_can() {
    talk(Caller::Telegram, "optional", "srtp", ALAW, true);
}

#[test]
fn a_phone_that_can_do_srtp_calls_a_trunk_that_demands_it() {
    talk(Caller::Pbx, "required", "srtp", ALAW, true);
}

#[test]
fn a_phone_without_srtp_calls_a_trunk_that_could() {
    talk(Caller::Pbx, "optional", "no", ALAW, false);
}

#[test]
fn a_phone_without_srtp_is_called_by_a_trunk_that_could() {
    talk(Caller::Telegram, "optional", "no", ALAW, false);
}

#[test]
fn a_phone_that_could_is_answered_without_srtp_where_it_is_off() {
    talk(Caller::Pbx, "off", "srtp", ALAW, false);
}

/// A call that must be refused before anybody is rung.
fn refused(house: House, theirs: &'static str) {
    house.wait_session_up();
    let _bobby = house.bobby("13.0.0");
    let settings = phone(&house, "pcma", theirs);
    let mut phone = Baresip::start(house.dir(), "phone", &settings);
    phone.dial("bobby");
    let closed = phone.wait_closed();
    assert!(closed.starts_with("488"), "{closed}");
    assert_eq!(house.telegram.calls(), 0);
}

#[test]
fn a_phone_that_demands_srtp_is_refused_where_it_is_off() {
    let house = House::new().registering_trunk(&["alaw"]).start();
    refused(house, "srtp-mand");
}

#[test]
fn a_phone_without_srtp_is_refused_where_it_is_required() {
    let house = House::new().srtp("required");
    refused(house.registering_trunk(&["alaw"]).start(), "no");
}

#[test]
fn keys_in_the_clear_are_refused_unless_the_owner_allows_them() {
    let house = House::new().saying("srtp = \"required\"");
    refused(house.registering_trunk(&["alaw"]).start(), "srtp-mand");
}

#[test]
fn an_encrypted_call_is_held_and_taken_back() {
    let house = House::new()
        .srtp("required")
        .registering_trunk(&["alaw"])
        .start();
    let phone = phone(&house, "pcma", "srtp-mand");
    let mut talk = Talk::start_with(house, &phone, Caller::Pbx, "13.0.0");
    let packets = |talk: &Talk, way| {
        let labels = [("leg", "sip"), ("direction", way)];
        let metrics = talk.house.metrics();
        metrics.sum_of("strowger_rtp_packets_total", &labels)
    };
    let reinvite = |talk: &mut Talk, on| {
        let labels = [
            ("direction", "in"),
            ("kind", "request"),
            ("method", "INVITE"),
        ];
        let messages = "strowger_sip_messages_total";
        let before = talk.house.metrics().sum_of(messages, &labels);
        talk.phone.hold(on);
        talk.house
            .wait_metric_above(messages, &labels, before + 0.5);
    };
    reinvite(&mut talk, true);
    reinvite(&mut talk, false);
    // Every change of the media writes the figures.
    let sent = packets(&talk, "out");
    for way in ["in", "out"] {
        let labels = [("leg", "sip"), ("direction", way)];
        let enough = packets(&talk, way) + 150.0;
        talk.house
            .wait_metric_above("strowger_rtp_packets_total", &labels, enough);
    }
    talk.phone.hang_up();
    talk.phone.wait_closed();
    // Its recording ends with the hold; what it could open it has counted.
    let received = talk.phone.packets_received();
    assert!(f64::from(received) > sent + 100.0, "{received} received");
    talk.talker.finish();
    talk.phone.assert_heard(TELEGRAM_TONE, HEARD);
    let auth = [("leg", "sip"), ("reason", "auth")];
    let discarded = "strowger_rtp_packets_discarded_total";
    assert!(talk.house.metrics().sum_of(discarded, &auth) < 5.0);
    talk.house.assert_clean(&[]);
}
