//! How the switch stops (REL-O1), and what of it is there again after a start.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::deadline::{s, until};
use crate::house::{BRANCH, House, PASSWORD, SESSION, TRUNK};
use crate::pbx::{SipMessage, Sipp};
use crate::survival::{Conversation, harm, talked_ms};
use crate::telegram::Behaviour;

/// How long calls have for their last words.
const LAST_WORDS: Duration = Duration::from_secs(5);

fn is_bye(message: &SipMessage) -> bool {
    !message.sent && message.start().starts_with("BYE")
}

/// What OPTIONS of a PBX is answered.
fn pinged(house: &House) -> SipMessage {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(s(1))).unwrap();
    let (me, switch) = (socket.local_addr().unwrap(), house.sip());
    let ping = format!(
        "OPTIONS sip:{switch} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bKping{};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:pbx@{me}>;tag=ping\r\nTo: <sip:{switch}>\r\nCall-ID: ping-{me}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
        me.port()
    );
    socket.send_to(ping.as_bytes(), switch).unwrap();
    let mut answer = [0; 4096];
    let length = socket.recv(&mut answer).expect("an answer to OPTIONS");
    SipMessage {
        sent: false,
        text: String::from_utf8_lossy(&answer[..length]).replace("\r\n", "\n"),
    }
}

#[test]
fn sigterm_sends_new_calls_elsewhere_at_once_and_calls_that_are_up_go_on() {
    let provider = crate::ports::one();
    let record = format!(
        "\n[[trunk]]\nname = \"provider\"\nkind = \"outbound_register\"\nlogin = \"1001\"\npassword = \"{PASSWORD}\"\n\
         domain = \"127.0.0.1:{provider}\"\n\n[[route]]\ntrunk = \"provider\"\nsession = \"{SESSION}\"\npriority = 200\n"
    );
    let mut house = House::new()
        .peer_trunk(&["alaw"])
        .records(&record)
        .variable("STROWGER__SHUTDOWN__DRAIN_S", "600")
        .build();
    let registrar = Sipp::on(house.dir(), "registrar", provider)
        .login("1001", PASSWORD)
        .start("registrar_again");
    house.start();
    let state = |state: &str| {
        let labels = [("trunk", "provider"), ("state", state)];
        house.wait_metric("strowger_registration_state", &labels, 1.0);
    };
    state("registered");
    let talk = Conversation::with_bobby(&house);
    let carol = Behaviour::accepts().speaking("13.0.0");
    house.telegram.user("carol", "15550004", &carol);
    assert_eq!(pinged(&house).start(), "200 OK");

    house.ask_to_end();
    let asked = Instant::now();
    // Our registration ends.
    let is_goodbye = |m: &SipMessage| !m.sent && m.header("Expires") == Some("0");
    until("the end of the registration", s(2), || {
        registrar.messages().iter().any(is_goodbye).then_some(())
    });
    state("off");
    registrar.wait(s(10)).expect_ok();
    // Who asks, and who calls, is told to go elsewhere, and when to come back.
    let ping = pinged(&house);
    assert_eq!(ping.start(), "503 Service Unavailable");
    assert_eq!(ping.header("Retry-After"), Some("30"), "{}", ping.text);
    let refused = Sipp::new(house.dir(), "refused")
        .to(house.sip())
        .number("carol")
        .key("code", "503")
        .run("uac_refused");
    let last = refused.expect_ok().last_final();
    assert_eq!(last.start(), "503 Worker is not ready");
    assert_eq!(last.header("Retry-After"), Some("30"), "{}", last.text);
    // For a Telegram user it is busy.
    let call = house.telegram.call("carol", SESSION, "13.0.0");
    let declined = house.telegram.wait_call(&call, "discarded", s(5));
    assert_eq!(declined["reason"], "busy", "{declined}");
    // The conversation has heard nothing of it.
    talk.ear.wait_heard_until(asked + s(3));
    let heard = talk.ear.heard(asked, Instant::now());
    assert_eq!(heard.lost, 0, "{heard:?}");
    assert!(talk.pbx.messages().iter().all(|message| !is_bye(message)));

    // Told twice, the switch waits no more, and says why it hangs up.
    house.ask_to_end();
    let asked = Instant::now();
    let bye = until("the BYE", LAST_WORDS, || {
        talk.pbx.messages().into_iter().find(is_bye)
    });
    let reason = bye.header("Reason").unwrap_or_default();
    assert!(reason.contains("Worker is not ready"), "{}", bye.text);
    house.telegram.wait_call(&talk.call, "discarded", s(5));
    assert_eq!(house.wait_gone(LAST_WORDS), Some(0));
    assert!(asked.elapsed() <= LAST_WORDS + s(1));
    talk.pbx.wait(s(5)).expect_ok();
    talk.talker.finish();
}

#[test]
fn a_drain_goes_on_while_the_registry_stands_still_and_when_it_dies() {
    let mut house = House::new()
        .peer_trunk(&["alaw"])
        .variable("STROWGER__SHUTDOWN__DRAIN_S", "600")
        .start();
    let talk = Conversation::with_bobby(&house);
    house.ask_to_end();
    let drained = || pinged(&house).start().starts_with("503").then_some(());
    until("the drain", s(5), drained);
    let began = Instant::now();
    harm(&house, json!({"victim": "registry", "stall_ms": 2500}));
    talk.ear.wait_heard_until(began + s(4));
    harm(&house, json!({"victim": "registry"}));
    let died = Instant::now();
    talk.ear.wait_heard_until(died + s(3));
    assert_eq!(talk.ear.heard(died, Instant::now()).lost, 0);
    assert!(talk.pbx.messages().iter().all(|message| !is_bye(message)));
    // The next registry knows of it.
    let refused = Sipp::new(house.dir(), "refused")
        .to(house.sip())
        .number("bobby")
        .key("code", "503")
        .run("uac_refused");
    let last = refused.expect_ok().last_final();
    assert_eq!(last.start(), "503 Worker is not ready");
    // With the last call the switch ends.
    let Conversation {
        pbx, talker, call, ..
    } = talk;
    talker.hang_up(&house.telegram, "bobby", &call);
    pbx.wait(s(10)).expect_ok();
    assert_eq!(house.wait_gone(s(10)), Some(0));
}

#[test]
fn twenty_calls_go_on_until_the_drain_is_over_and_then_hear_why_they_end() {
    const CALLS: u32 = 20;
    const DRAIN: Duration = Duration::from_secs(6);
    let mut house = House::new()
        .peer_trunk(&["alaw"])
        .leaves_by(&["alaw"])
        .rtp_ports(100)
        // Nobody speaks, which is not the subject.
        .setting("rtp.timeout_s = 60")
        .variable("STROWGER__SHUTDOWN__DRAIN_S", "6")
        .start();
    let called = Sipp::on(house.dir(), BRANCH, house.branch_port())
        .calls(CALLS)
        .limit(s(60))
        .start("uas");
    let caller = Sipp::on(house.dir(), "pbx", house.peer_port())
        .to(house.sip())
        .number("6001")
        .calls(CALLS)
        .rate(10)
        .limit(s(60))
        .start("uac_peer_hangs_up");
    let active = || {
        let state = [("state", "established")];
        house.metrics().sum_of("strowger_calls_active", &state)
    };
    let all = f64::from(CALLS) - 0.5;
    until("all calls to be up", s(20), || {
        (active() > all).then_some(())
    });
    house.ask_to_end();
    let asked = Instant::now();
    // A moment before the end nobody has been hung up on.
    let nearly = DRAIN.saturating_sub(Duration::from_millis(700));
    until("the drain to be nearly over", DRAIN, || {
        (asked.elapsed() >= nearly).then_some(())
    });
    assert!(active() > all, "{} calls are left", active());
    for pbx in [&caller, &called] {
        assert!(pbx.messages().iter().all(|message| !is_bye(message)));
    }
    assert_eq!(house.wait_gone(DRAIN + LAST_WORDS), Some(0));
    let took = asked.elapsed();
    assert!(DRAIN <= took && took <= DRAIN + LAST_WORDS, "{took:?}");
    for pbx in [caller, called] {
        let verdict = pbx.wait(s(10));
        let byes = verdict.expect_ok().messages.iter().filter(|m| is_bye(m));
        let byes: Vec<_> = byes.collect();
        assert_eq!(byes.len(), 20);
        let says_why = |bye: &&SipMessage| {
            let reason = bye.header("Reason").unwrap_or_default();
            reason.contains("Worker is not ready")
        };
        assert!(byes.iter().all(says_why), "{}", byes[0].text);
    }
    let records = house.records();
    assert_eq!(records.len(), 20, "{records:#?}");
}

/// A PBX that has registered, and another one that talks.
fn registered_and_talking() -> (House, Conversation) {
    let desk = "\n[[trunk]]\nname = \"desk\"\nkind = \"inbound_register\"\nlogin = \"desk7k2m9\"\npassword = \"correct-horse-9\"\n\n\
                [[route]]\ntrunk = \"desk\"\nsession = \"gateway\"\npriority = 200\n";
    let house = House::new()
        .quota("total_seconds = 6000\ntotal_window_seconds = 60000")
        .saying("quota = \"small\"")
        .peer_trunk(&["alaw"])
        .records(desk)
        .start();
    let desk = Sipp::new(house.dir(), "desk").to(house.sip());
    desk.login("desk7k2m9", PASSWORD)
        .run("register")
        .expect_ok();
    house.wait_metric("strowger_registrar_bindings", &[("trunk", "desk")], 1.0);
    house.wait_flushed();
    let talk = Conversation::with_bobby(&house);
    (house, talk)
}

/// Starts the switch, and waits until the PBX that had registered can be called again.
fn starts_with_its_registration(house: &mut House) {
    let began = Instant::now();
    house.spawn();
    until("the registration to be back", s(5), || {
        let (_, page) = house.admin().text("/metrics")?;
        let metrics = crate::metrics::Metrics::parse(&page);
        let bindings = metrics.value("strowger_registrar_bindings", &[("trunk", "desk")])?;
        let up = metrics.value("strowger_trunk_up", &[("trunk", "desk")])?;
        (bindings > 0.5 && up > 0.5).then_some(())
    });
    eprintln!("registered again after {:?}", began.elapsed());
}

#[test]
fn kill_9_costs_a_second_of_what_was_counted_and_no_registration() {
    let (mut house, talk) = registered_and_talking();
    talk.ear.wait_heard_until(Instant::now() + s(2));
    let before = talked_ms(&house);
    house.kill();
    assert!(before > 2000, "{before}");
    starts_with_its_registration(&mut house);
    house.wait_session_up();
    let after = talked_ms(&house);
    assert!(after + 1000 >= before, "{before} ms, and then {after} ms");
    // Both ends have heard that it is over.
    talk.pbx.wait(s(10)).expect_ok();
    house.telegram.wait_call(&talk.call, "discarded", s(10));
    talk.talker.vanish();
    house.assert_clean(&[]);
}

#[test]
fn sigterm_costs_nothing_of_what_was_counted_and_no_registration() {
    let (mut house, talk) = registered_and_talking();
    talk.ear.wait_heard_until(Instant::now() + s(1));
    house.stop();
    talk.pbx.wait(s(10)).expect_ok();
    talk.talker.finish();
    let record: &Value = &house.records()[0];
    let at = |what: &str| record[what].as_u64().unwrap();
    let talked = at("ended_after_ms") - at("answered_after_ms");
    starts_with_its_registration(&mut house);
    house.wait_session_up();
    let counted = talked_ms(&house);
    assert!(
        counted.abs_diff(talked) <= 100,
        "{talked} ms were talked and {counted} ms are counted"
    );
    house.wait_metric("strowger_trunk_up", &[("trunk", TRUNK)], 1.0);
    house.assert_clean(&[]);
}
