//! What happens within a call with Asterisk: hold, keys, reliable ringing and session timers of every kind of trunk.

use super::{Kind, asterisk_with, heard, talker};
use crate::deadline::{s, until, within};
use crate::house::{HEARD, House, PASSWORD, SESSION, TELEGRAM_TONE};
use crate::pbx::{Asterisk, Phone, Sipp};

/// A phone behind Asterisk holds, which Asterisk passes on by re-INVITE, and resumes.
#[test]
fn asterisk_holds_a_telegram_user_and_takes_him_back() {
    let account = format!("1002:{PASSWORD}");
    let options = ["--ext", &account, "--pass-hold"];
    let (mut house, asterisk, _) = asterisk_with("udp", Kind::ByAddress, "alaw", "1002", &options);
    house.wait_session_up();
    let mut phone = house.phone_at(&Phone {
        server: ([127, 0, 0, 1], house.peer_port()).into(),
        login: "1002".into(),
        registers: true,
        port: 0,
        ..house.phone_settings("pcma")
    });
    asterisk.trace();
    let mut bobby = house.bobby("13.0.0");
    let call = house.telegram.call("bobby", SESSION, "13.0.0");
    phone.wait_established();
    bobby.wait_heard(s(20));
    let out = [("leg", "sip"), ("direction", "out")];
    let packets = || house.metrics().sum_of("strowger_rtp_packets_total", &out);
    let answers = |direction: &str| {
        let line = format!("a={direction}");
        let log = asterisk.log();
        log.lines().filter(|found| found.trim() == line).count()
    };

    let both = answers("sendrecv");
    phone.hold(true);
    until("the hold", s(10), || {
        (answers("sendonly") + answers("recvonly") + answers("inactive") > 0).then_some(())
    });
    // Those that were on their way still count.
    within(s(1), || None::<()>);
    let held = packets();
    within(s(3), || None::<()>);
    let during = packets() - held;
    phone.hold(false);
    until("the end of the hold", s(10), || {
        (answers("sendrecv") >= both + 2).then_some(())
    });
    let resumed = packets();
    until("audio after the hold", s(10), || {
        (packets() > resumed + 100.0).then_some(())
    });
    assert!(during < 0.5, "{during} packets during the hold");
    bobby.hang_up(&house.telegram, "bobby", &call);
    phone.wait_closed();
    phone.assert_heard(TELEGRAM_TONE, HEARD);
    house.assert_clean(&[]);
}

/// Keys from a PBX to Asterisk, which reads four and presses them in turn: the method of its trunk both ways.
fn keys(ours: &str, theirs: &str, method: &str) {
    let line = format!("dtmf = [\"{ours}\"]");
    let mut house = House::new()
        .peer_trunk(&["alaw"])
        .branch_saying(&line)
        .leaves_by(&["alaw"])
        .start();
    let to = house.sip().to_string();
    let options = ["--trunk", &to, "--codecs", "alaw", "--dtmf", theirs];
    let asterisk = Asterisk::on(house.dir(), house.branch_port(), &options);
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port())
        .to(house.sip())
        .number("602")
        .key("digits", "2468")
        .pause(s(6));
    // It ends in its own way, for Asterisk hangs up after the keys.
    pbx.run("uac_dtmf_rfc4733");
    let globals = asterisk.cli("dialplan show globals");
    assert!(globals.contains("LASTDIGITS=2468"), "{globals}");
    let labels = |method| [("from", "sip"), ("method", method)];
    let counted = |method| {
        let metrics = house.metrics();
        metrics.sum_of("strowger_dtmf_digits_total", &labels(method))
    };
    // Four of the PBX, as events, and four of Asterisk.
    let expected = if method == "rfc4733" { 8.0 } else { 4.0 };
    let found = counted(method);
    assert!((found - expected).abs() < 0.5, "{found} keys by {method}");
    house.assert_clean(&[]);
}

#[test]
fn asterisk_hears_and_presses_keys_as_events() {
    keys("rfc2833", "rfc4733", "rfc4733");
}

#[test]
fn asterisk_hears_and_presses_keys_by_info() {
    keys("info", "info", "info");
}

#[test]
fn asterisk_hears_and_presses_keys_as_tones() {
    keys("inband", "inband", "inband");
}

/// The reports of both sides (RFC 3550 6.4) are read by the other, and say what it knows itself.
#[test]
fn asterisk_and_the_switch_tell_each_other_what_they_received() {
    let (mut house, asterisk, _) = asterisk_with("udp", Kind::ByAddress, "alaw", "619", &[]);
    house.wait_session_up();
    asterisk.cli("rtcp set debug on");
    let mut bobby = talker(&house, "9.0.0");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    let log = until("two reports of the switch", s(20), || {
        let log = asterisk.log();
        (log.matches("SPC:").count() >= 2).then_some(log)
    });
    let stats = asterisk.cli("pjsip show channelstats");
    bobby.wait_heard(s(25));

    // How many packets our report says we sent, how many Asterisk counted a moment later, and what either missed.
    let sent = log.rsplit("SPC:").next().unwrap();
    let sent: u64 = sent.split_whitespace().next().unwrap().parse().unwrap();
    let row = stats.lines().find(|line| line.contains("trunk-")).unwrap();
    let row: Vec<f64> = row
        .split_whitespace()
        .skip_while(|word| *word != "alaw")
        .filter_map(|word| word.parse().ok())
        .collect();
    let [received, missed, _, _, _, missed_by_us, _, _, round_trip] = row[..] else {
        panic!("{stats}")
    };
    let behind = received - f64::from(u32::try_from(sent).unwrap());
    assert!(
        sent > 100 && (-1.0..100.0).contains(&behind),
        "{sent} sent\n{stats}"
    );
    assert!(missed < 3.0 && missed_by_us < 3.0, "{stats}");
    assert!(round_trip < 0.3, "{stats}");
    // And its own report has brought us a round trip.
    let trips = ("strowger_rtp_round_trip_seconds_count", [("leg", "sip")]);
    house.wait_metric_above(trips.0, &trips.1, 0.5);

    bobby.hang_up(&house.telegram, "bobby", &call);
    house.assert_clean(&[]);
}

/// Both call, and Asterisk insists on PRACK and session timers.
fn insists(transport: &'static str, kind: Kind) {
    let options = ["--prack", "required", "--timers", "required"];
    let (mut house, asterisk, endpoint) = asterisk_with(transport, kind, "alaw", "619", &options);
    house.wait_session_up();
    let mut bobby = talker(&house, "9.0.0");
    let called = match kind {
        Kind::Registers | Kind::ByAddress => format!("bobby@{endpoint}"),
        Kind::Registrar => format!("{endpoint}/sip:bobby@{}", house.sip()),
    };
    asterisk.cli(&format!(
        "channel originate PJSIP/{called} extension 619@services"
    ));
    let call = house.telegram.next_call(0, s(10));
    bobby.wait_heard(s(25));
    bobby.hang_up(&house.telegram, "bobby", &call);
    house.wait_no_calls();
    let mut bobby = talker(&house, "9.0.0");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    bobby.wait_heard(s(25));
    bobby.hang_up(&house.telegram, "bobby", &call);
    heard(&asterisk);
    house.assert_clean(&[]);
}

#[test]
fn asterisk_that_requires_reliable_ringing_and_session_timers_talks_both_ways() {
    insists("udp", Kind::ByAddress);
}

#[test]
fn asterisk_that_registers_by_tcp_may_require_reliable_ringing_and_session_timers() {
    insists("tcp", Kind::Registers);
}

#[test]
fn asterisk_that_we_register_at_may_require_reliable_ringing_and_session_timers() {
    insists("udp", Kind::Registrar);
}
