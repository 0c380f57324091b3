//! Asterisk, registering here and as IP⇿IP, both ways: `make interop`.

mod digits;
mod inside;
mod list;
mod snippet;

use crate::deadline::{s, until};
use crate::house::{HEARD, House, LOGIN, PASSWORD, SESSION, TELEGRAM_TONE, folder};
use crate::pbx::{Asterisk, Sipp};
use crate::talk::Caller;
use crate::telegram::{Behaviour, Talker, Voice};

/// What `Playtones(1004)` of its number 601 plays.
const ASTERISK_TONE: u32 = 1_004;

/// The PBX may transfer.
const REFER: &str = "refer = true";

#[derive(Debug, Clone, Copy)]
enum Kind {
    Registers,
    ByAddress,
    /// We register there.
    Registrar,
}

/// Asterisk beside a house, connected with it, and the name of its endpoint for us.
fn asterisk(kind: Kind, codec: &str, number: &str) -> (House, Asterisk, &'static str) {
    asterisk_by("udp", kind, codec, number)
}

/// The same by another transport.
fn asterisk_by(
    transport: &'static str,
    kind: Kind,
    codec: &str,
    number: &str,
) -> (House, Asterisk, &'static str) {
    asterisk_with(transport, kind, codec, number, &[])
}

/// The same, started with these options, too.
fn asterisk_with(
    transport: &'static str,
    kind: Kind,
    codec: &str,
    number: &str,
    options: &[&str],
) -> (House, Asterisk, &'static str) {
    let ours = codec;
    let theirs = match codec {
        "mulaw" => "ulaw",
        "l16" => "slin48",
        same => same,
    };
    let house = House::new().number(number).saying(REFER).by(transport);
    let at = |house: &House| match transport {
        "tls" => house.tls().to_string(),
        _ => house.sip().to_string(),
    };
    // Where it is called: over TLS at a port beside the one it answers by UDP.
    let begin = |house: &House, port: u16, more: &[&str]| {
        let called = port.to_string();
        let (port, mut args) = match transport {
            "tls" => (crate::ports::one(), vec!["--tls", &called]),
            _ => (port, Vec::new()),
        };
        args.extend(["--transport", transport]);
        args.extend(["--codecs", theirs, "--named", number]);
        args.extend(more);
        args.extend(options);
        Asterisk::on(house.dir(), port, &args)
    };
    match kind {
        Kind::Registers => {
            let house = house.registering_trunk(&[ours]).start();
            let to = format!("{LOGIN}:{PASSWORD}@{}", at(&house));
            let asterisk = begin(&house, crate::ports::one(), &["--register", &to]);
            house.wait_metric("strowger_registrar_bindings", &[("trunk", "office")], 1.0);
            (house, asterisk, "reg")
        }
        Kind::Registrar => {
            let port = crate::ports::one();
            let mut house = house.outbound_trunk(port, &[ours]).build();
            let account = format!("1001:{PASSWORD}");
            let asterisk = begin(&house, port, &["--ext", &account]);
            house.start();
            let labels = [("trunk", "office"), ("state", "registered")];
            house.wait_metric("strowger_registration_state", &labels, 1.0);
            (house, asterisk, "1001")
        }
        Kind::ByAddress => {
            let house = house.peer_trunk(&[ours]).start();
            let to = at(&house);
            let asterisk = begin(&house, house.peer_port(), &["--trunk", &to]);
            (house, asterisk, "trunk")
        }
    }
}

fn talker(house: &House, version: &str) -> Talker {
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts().speaking(version));
    let voice = Voice {
        says: TELEGRAM_TONE,
        hears: ASTERISK_TONE,
        // Asterisk records from its own answer to the hang-up, so the call must outlast what it has to hear.
        seconds: 2.0 * HEARD + 1.0,
    };
    Talker::start(house.dir(), &house.telegram, "bobby", voice)
}

/// Asterisk calls a Telegram user; it plays its tone, and records what it hears.
fn asterisk_calls(kind: Kind, version: &str, codec: &str) {
    asterisk_calls_by("udp", kind, version, codec);
}

fn asterisk_calls_by(transport: &'static str, kind: Kind, version: &str, codec: &str) {
    let (mut house, asterisk, endpoint) = asterisk_by(transport, kind, codec, "619");
    house.wait_session_up();
    let mut talker = talker(&house, version);
    let called = match kind {
        Kind::Registers | Kind::ByAddress => format!("bobby@{endpoint}"),
        // A phone that is registered is called at its contact; this one has many names.
        Kind::Registrar if transport == "udp" => format!("{endpoint}/sip:bobby@{}", house.sip()),
        Kind::Registrar => {
            let at = if transport == "tls" {
                house.tls()
            } else {
                house.sip()
            };
            format!("{endpoint}/sip:bobby@{at};transport={transport}")
        }
    };
    asterisk.cli(&format!(
        "channel originate PJSIP/{called} extension 619@services"
    ));
    let call = house.telegram.next_call(0, s(10));
    talker.wait_heard(s(25));
    carried_by(&house, transport);
    talker.hang_up(&house.telegram, "bobby", &call);
    heard(&asterisk);
    house.assert_clean(&[]);
}

/// A Telegram user calls Asterisk, whose number 619 plays and records at once.
fn telegram_calls(kind: Kind, version: &str, codec: &str) {
    telegram_calls_by("udp", kind, version, codec);
}

fn telegram_calls_by(transport: &'static str, kind: Kind, version: &str, codec: &str) {
    let (mut house, asterisk, _) = asterisk_by(transport, kind, codec, "619");
    house.wait_session_up();
    let mut talker = talker(&house, version);
    let call = house.telegram.call("bobby", SESSION, version);
    talker.wait_heard(s(25));
    carried_by(&house, transport);
    talker.hang_up(&house.telegram, "bobby", &call);
    heard(&asterisk);
    house.assert_clean(&[]);
}

/// The call went by the transport it should.
fn carried_by(house: &House, transport: &str) {
    for name in ["tcp", "tls"] {
        let open = house
            .metrics()
            .value("strowger_sip_connections", &[("transport", name)]);
        assert_eq!(
            open > Some(0.0),
            name == transport,
            "{name}: {open:?} connections"
        );
    }
}

/// Asterisk must have heard the Telegram user.
fn heard(asterisk: &Asterisk) {
    until("all channels of Asterisk to end", s(10), || {
        asterisk
            .cli("core show channels count")
            .contains("0 active channels")
            .then_some(())
    });
    let recording = asterisk
        .recording("-in.wav")
        .expect("Asterisk recorded something");
    let tone = recording.tone_seconds(f64::from(TELEGRAM_TONE));
    assert!(
        tone >= HEARD,
        "Asterisk heard {tone} s of {TELEGRAM_TONE} Hz in {:.1} s",
        recording.seconds()
    );
}

#[test]
fn asterisk_hears_its_own_tone_from_an_echo() {
    let dir = folder();
    let echo = Sipp::new(&dir, "echo").echo().pause(s(0)).start("uas");
    let to = format!("127.0.0.1:{}", echo.port());
    let asterisk = Asterisk::start(&dir, &["--trunk", &to, "--codecs", "alaw"]);
    asterisk.cli("channel originate PJSIP/777@trunk extension 619@services");
    until("the tone to be recorded", s(20), || {
        let recording = asterisk.recording("-in.wav")?;
        (recording.tone_seconds(f64::from(ASTERISK_TONE)) >= HEARD).then_some(())
    });
    drop(asterisk);
    drop(echo);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn asterisk_registers_and_calls_a_telegram_user_by_9_0_0() {
    asterisk_calls(Kind::Registers, "9.0.0", "alaw");
}

#[test]
fn asterisk_registers_and_calls_a_telegram_user_by_13_0_0() {
    asterisk_calls(Kind::Registers, "13.0.0", "opus");
}

#[test]
fn asterisk_known_by_its_address_calls_a_telegram_user_by_9_0_0() {
    asterisk_calls(Kind::ByAddress, "9.0.0", "opus");
}

#[test]
fn asterisk_known_by_its_address_calls_a_telegram_user_by_13_0_0() {
    asterisk_calls(Kind::ByAddress, "13.0.0", "mulaw");
}

#[test]
fn a_telegram_user_by_9_0_0_calls_asterisk_that_registers() {
    telegram_calls(Kind::Registers, "9.0.0", "alaw");
}

#[test]
fn a_telegram_user_by_13_0_0_calls_asterisk_that_registers() {
    telegram_calls(Kind::Registers, "13.0.0", "mulaw");
}

#[test]
fn a_telegram_user_by_9_0_0_calls_asterisk_known_by_its_address() {
    telegram_calls(Kind::ByAddress, "9.0.0", "mulaw");
}

#[test]
fn a_telegram_user_by_13_0_0_calls_asterisk_known_by_its_address() {
    telegram_calls(Kind::ByAddress, "13.0.0", "alaw");
}

#[test]
fn asterisk_that_we_register_at_calls_a_telegram_user() {
    asterisk_calls(Kind::Registrar, "9.0.0", "alaw");
}

#[test]
fn a_telegram_user_calls_asterisk_that_we_register_at() {
    telegram_calls(Kind::Registrar, "13.0.0", "alaw");
}

/// A call over a trunk by address with SRTP as these wish, in both directions; whether it was encrypted.
fn secured(ours: &str, theirs: &str, caller: Caller, encrypted: bool) {
    let house = House::new().number("619").srtp(ours);
    let mut house = house.peer_trunk(&["alaw"]).start();
    let to = house.sip().to_string();
    let options = [
        "--trunk", &to, "--codecs", "alaw", "--named", "619", "--srtp", theirs,
    ];
    let asterisk = Asterisk::on(house.dir(), house.peer_port(), &options);
    house.wait_session_up();
    let mut talker = talker(&house, "13.0.0");
    let call = match caller {
        Caller::Pbx => {
            asterisk.cli("channel originate PJSIP/bobby@trunk extension 619@services");
            house.telegram.next_call(0, s(10))
        }
        Caller::Telegram => house.telegram.call("bobby", SESSION, "13.0.0"),
    };
    talker.wait_heard(s(25));
    talker.hang_up(&house.telegram, "bobby", &call);
    heard(&asterisk);
    let said = house.log().contains("the audio of the leg is encrypted");
    assert_eq!(said, encrypted, "{ours} {theirs}");
    let auth = [("leg", "sip"), ("reason", "auth")];
    let refused = house
        .metrics()
        .sum_of("strowger_rtp_packets_discarded_total", &auth);
    assert!(refused < 5.0, "{refused} packets refused");
    house.assert_clean(&[]);
}

#[test]
fn asterisk_with_srtp_calls_a_trunk_that_requires_it() {
    secured("required", "sdes", Caller::Pbx, true);
}

#[test]
fn asterisk_with_srtp_is_called_by_a_trunk_that_requires_it() {
    secured("required", "sdes", Caller::Telegram, true);
}

#[test]
fn asterisk_with_srtp_calls_a_trunk_that_can() {
    secured("optional", "sdes", Caller::Pbx, true);
}

#[test]
fn asterisk_with_srtp_is_called_by_a_trunk_that_can() {
    secured("optional", "sdes", Caller::Telegram, true);
}

#[test]
fn asterisk_that_leaves_the_choice_calls_a_trunk_that_can() {
    secured("optional", "sdes-optional", Caller::Pbx, true);
}

#[test]
fn asterisk_without_srtp_is_called_by_a_trunk_that_could() {
    secured("optional", "no", Caller::Telegram, false);
}

#[test]
fn asterisk_that_leaves_the_choice_calls_a_trunk_without_srtp() {
    secured("off", "sdes-optional", Caller::Pbx, false);
}

#[test]
fn asterisk_registers_by_tcp_and_both_call() {
    asterisk_calls_by("tcp", Kind::Registers, "13.0.0", "alaw");
    telegram_calls_by("tcp", Kind::Registers, "13.0.0", "alaw");
}

#[test]
fn asterisk_known_by_its_address_and_both_call_by_tcp() {
    asterisk_calls_by("tcp", Kind::ByAddress, "13.0.0", "opus");
    telegram_calls_by("tcp", Kind::ByAddress, "9.0.0", "alaw");
}

#[test]
fn asterisk_that_we_register_at_by_tcp_and_both_call() {
    asterisk_calls_by("tcp", Kind::Registrar, "13.0.0", "alaw");
    telegram_calls_by("tcp", Kind::Registrar, "13.0.0", "mulaw");
}

#[test]
fn asterisk_registers_by_tls_and_both_call() {
    asterisk_calls_by("tls", Kind::Registers, "13.0.0", "alaw");
    telegram_calls_by("tls", Kind::Registers, "13.0.0", "alaw");
}

#[test]
fn asterisk_known_by_its_address_and_both_call_by_tls() {
    asterisk_calls_by("tls", Kind::ByAddress, "13.0.0", "opus");
    telegram_calls_by("tls", Kind::ByAddress, "9.0.0", "alaw");
}

#[test]
fn asterisk_that_we_register_at_by_tls_and_both_call() {
    asterisk_calls_by("tls", Kind::Registrar, "13.0.0", "alaw");
    telegram_calls_by("tls", Kind::Registrar, "13.0.0", "mulaw");
}

/// A Telegram user calls a number that refuses, which he must be told in this way; and what the record must say.
fn refusal(number: &str, told: &str, code: u64, cause: &str) {
    let (mut house, _asterisk, _) = asterisk(Kind::ByAddress, "alaw", number);
    house.wait_session_up();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    let ended = house.telegram.wait_call(&call, "discarded", s(20));
    assert_eq!(ended["reason"], told, "{ended}");
    house.wait_no_calls();
    house.stop();
    let records = house.records();
    let legs = records[0]["legs"].as_array().unwrap();
    let leg = legs.iter().find(|leg| leg["kind"] == "sip").unwrap();
    assert_eq!(leg["code"], code, "{leg}");
    let peer_reason = leg["peer_reason"].as_str().unwrap_or_default();
    assert!(peer_reason.contains(&format!("cause={cause}")), "{leg}");
}

#[test]
fn asterisk_is_busy() {
    refusal("606", "busy", 486, "17");
}

#[test]
fn asterisk_is_congested() {
    refusal("607", "missed", 503, "42");
}

#[test]
fn asterisk_does_not_know_the_number() {
    refusal("611", "missed", 404, "1");
}

#[test]
fn asterisk_rejects_the_call() {
    refusal("612", "missed", 403, "21");
}

#[test]
fn asterisk_says_something_before_it_refuses() {
    refusal("609", "missed", 408, "18");
}

/// Whoever is transferred to the echo of Asterisk hears himself.
fn transferred(kind: Kind, called_by_asterisk: bool) {
    let (mut house, asterisk, endpoint) = asterisk(kind, "alaw", "614");
    house.wait_session_up();
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let call = if called_by_asterisk {
        asterisk.cli(&format!(
            "channel originate PJSIP/bobby@{endpoint} extension 614@services"
        ));
        house.telegram.next_call(0, s(10))
    } else {
        house.telegram.call("bobby", SESSION, "9.0.0")
    };
    talker.wait_heard(s(25));
    talker.hang_up(&house.telegram, "bobby", &call);
    house.wait_no_calls();
    house.stop();
    let records = house.records();
    let legs = records[0]["legs"].as_array().unwrap();
    assert_eq!(legs.len(), 3, "{records:#?}");
    assert!(
        legs.iter().any(|leg| leg["reason"] == "transferred"),
        "{records:#?}"
    );
}

#[test]
fn asterisk_transfers_a_telegram_user_who_called() {
    transferred(Kind::ByAddress, false);
}

#[test]
fn asterisk_transfers_a_telegram_user_whom_it_called() {
    transferred(Kind::ByAddress, true);
}

#[test]
fn asterisk_s_own_refusals_reach_the_telegram_user() {
    let (mut house, _asterisk, _) = asterisk(Kind::ByAddress, "alaw", "606");
    house.wait_session_up();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    assert_eq!(
        house.telegram.wait_call(&call, "discarded", s(10))["reason"],
        "busy"
    );
    house.assert_clean(&[]);
}
