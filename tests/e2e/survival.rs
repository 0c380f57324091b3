//! What survives what (REL-A3, REL-A4): actors of the real switch die, or do not come to their work, while people talk. `SURVIVAL.md` says which
//! test proves which row.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::deadline::{s, until};
use crate::house::{House, PASSWORD, SESSION, TRUNK};
use crate::link::connections;
use crate::pbx::{Ear, SipMessage, Sipp};
use crate::telegram::{Behaviour, Talker, Voice};

/// The longest time without a packet that nobody notices: one packet of 20 ms may be late by as much.
const PAUSE: Duration = Duration::from_millis(40);
/// How often harm is done before its pause is believed. What the switch does shows each time; a machine that is busy with something else
/// does not.
const TRIES: usize = 4;

/// What a process that aborts ends by; systemd starts it again.
const SIGABRT: i32 = 6;

const DEATHS: &str = "strowger_actor_restarts_total";
const STALLS: &str = "strowger_thread_stalls_total";

/// Does harm to an actor, or a thread, of the switch (src/switch/src/chaos.rs).
pub(crate) fn harm(house: &House, wish: Value) {
    house.admin().post("/chaos", &wish);
}

/// It dies.
fn kill(house: &House, victim: &str, name: &str) {
    harm(house, json!({"victim": victim, "name": name}));
}

/// Deaths of actors of a kind so far.
fn deaths(house: &House, kind: &str) -> f64 {
    house.metrics().sum_of(DEATHS, &[("actor", kind)])
}

/// A PBX and a Telegram user in conversation; the PBX's audio is heard by an ear, which sends it back.
pub(crate) struct Conversation {
    pub(crate) pbx: Sipp,
    pub(crate) ear: Ear,
    pub(crate) talker: Talker,
    user: &'static str,
    pub(crate) call: String,
}

impl Conversation {
    /// The PBX calls this user, who hears himself.
    fn begin(house: &House, user: &'static str, phone: &str) -> Self {
        let accepts = Behaviour::accepts().speaking("13.0.0");
        house.telegram.user(user, phone, &accepts);
        let voice = Voice {
            says: 660,
            hears: 660,
            seconds: 1.5,
        };
        let mut talker = Talker::start(house.dir(), &house.telegram, user, voice);
        let ear = Ear::open();
        let known = house.telegram.calls();
        let pbx = Sipp::new(house.dir(), &format!("pbx-{user}"))
            .to(house.sip())
            .number(user)
            .heard_at(ear.port())
            .limit(s(120))
            .start("uac_peer_hangs_up");
        let call = house.telegram.next_call(known, s(10));
        talker.wait_heard(s(20));
        Self {
            pbx,
            ear,
            talker,
            user,
            call,
        }
    }

    /// The same with bobby, in a house of its own.
    pub(crate) fn with_bobby(house: &House) -> Self {
        house.wait_session_up();
        Self::begin(house, "bobby", "15550002")
    }

    /// Does something to the switch, and again if this seems to cost the PBX a pause: nothing is lost, and no pause is longer than [`PAUSE`],
    /// from that moment until `watched` after.
    fn hears_nothing_of(&self, watched: Duration, mut harm: impl FnMut()) {
        let mut pauses = Vec::new();
        for _ in 0..TRIES {
            let began = Instant::now();
            harm();
            self.ear.wait_heard_until(began + watched);
            let heard = self.ear.heard(began, Instant::now());
            assert_eq!(heard.lost, 0, "{heard:?}");
            if heard.pause <= PAUSE {
                return;
            }
            pauses.push(heard.pause);
        }
        panic!("every time the PBX heard nothing for a while: {pauses:?}");
    }

    /// A request in the dialog of the call, as its PBX would send it; the answer, at once.
    fn asks(&self, house: &House, method: &str, number: u32) -> String {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(s(1))).unwrap();
        let messages = self.pbx.messages();
        let is_ack = |m: &&SipMessage| m.sent && m.start().starts_with("ACK");
        let ack = messages.iter().rfind(is_ack).unwrap();
        let request = ack
            .text
            .trim_end()
            .replacen("ACK ", &format!("{method} "), 1)
            .replace("CSeq: 1 ACK", &format!("CSeq: {number} {method}"))
            .replace("branch=z9hG4bK", &format!("branch=z9hG4bK{method}{number}"))
            .replace('\n', "\r\n")
            + "\r\n\r\n";
        socket.send_to(request.as_bytes(), house.sip()).unwrap();
        let mut answer = [0; 4096];
        let length = socket
            .recv(&mut answer)
            .unwrap_or_else(|error| panic!("no answer ({error}) to\n{request}"));
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        answer.lines().next().unwrap_or_default().to_owned()
    }

    /// The PBX hangs up, from where it asked last, for that is where it is heard from now on.
    fn hangs_up(self, house: &House) {
        assert_eq!(self.asks(house, "BYE", 1000), "SIP/2.0 200 OK");
        let ended = house.telegram.wait_call(&self.call, "discarded", s(5));
        assert_eq!(ended["reason"], "hangup", "{ended}");
        assert_ne!(ended["discarded_by"], "server", "{ended}");
        self.talker.finish();
    }

    /// The Telegram user hangs up, and all is well; for how many seconds he heard nothing of what he should have heard.
    fn end(self, house: &House) -> f64 {
        let result = self.talker.hang_up(&house.telegram, self.user, &self.call);
        self.pbx.wait(s(10)).expect_ok();
        let seconds = |what: &str| result[what].as_f64().unwrap();
        seconds("rx_seconds") - seconds("rx_loud_seconds")
    }
}

/// What a trunk has talked, as the registry counts it.
pub(crate) fn talked_ms(house: &House) -> u64 {
    let used = ["--output", "json", "quota", "show", "trunk/office"];
    let used: Value = serde_json::from_str(&house.expect_command(&used, "")).unwrap();
    used[0]["talked_ms"].as_u64().unwrap()
}

/// A house whose PBX has a quota that is never used up, so that its talk is counted.
fn counting() -> House {
    House::new()
        .quota("total_seconds = 6000\ntotal_window_seconds = 60000")
        .saying("quota = \"small\"")
        .peer_trunk(&["alaw"])
        .start()
}

#[test]
fn a_trunk_that_dies_costs_its_call_no_packet_and_no_answer() {
    let mut house = counting();
    let talk = Conversation::with_bobby(&house);
    let before = talked_ms(&house);
    let mut number = 100;
    talk.hears_nothing_of(s(1), || {
        kill(&house, "trunk", TRUNK);
        // The next incarnation comes 0.1 s after the death.
        number += 1;
        assert_eq!(talk.asks(&house, "OPTIONS", number), "SIP/2.0 200 OK");
    });
    assert!(deaths(&house, "trunk") > 0.5);
    assert!(
        talked_ms(&house) >= before,
        "what was counted is counted no more"
    );
    house.wait_metric("strowger_trunk_up", &[("trunk", TRUNK)], 1.0);
    talk.hangs_up(&house);
    let labels = [("trunk", TRUNK), ("result", "answered")];
    house.wait_metric_above("strowger_calls_completed_total", &labels, 0.5);
    house.assert_clean(&[]);
}

#[test]
fn a_trunk_that_died_registers_again_within_2_s_in_the_same_series() {
    let port = crate::ports::one();
    let mut house = House::new().outbound_trunk(port, &["alaw"]).build();
    let registrar = Sipp::on(house.dir(), "registrar", port)
        .login("1001", PASSWORD)
        .start("registrar_again");
    house.start();
    let attempts = [("trunk", TRUNK), ("result", "ok")];
    house.wait_metric("strowger_registration_attempts_total", &attempts, 1.0);
    kill(&house, "trunk", TRUNK);
    let died = Instant::now();
    until("another registration", s(2), || {
        let name = "strowger_registration_attempts_total";
        let done = house.metrics().value(name, &attempts)?;
        (done > 1.5).then_some(())
    });
    eprintln!("registered again after {:?}", died.elapsed());
    let verdict = registrar.wait(s(10));
    verdict.expect_ok();
    let messages = verdict.messages.iter().filter(|message| !message.sent);
    let mut series: Vec<(&str, u32)> = messages
        .map(|message| {
            let number = message.header("CSeq").unwrap().split(' ').next().unwrap();
            (message.header("Call-ID").unwrap(), number.parse().unwrap())
        })
        .collect();
    // What is answered late is sent once more.
    series.dedup();
    assert_eq!(series.len(), 4, "{series:?}");
    assert!(
        series
            .windows(2)
            .all(|pair| pair[0].0 == pair[1].0 && pair[0].1 < pair[1].1),
        "{series:?}"
    );
    house.assert_clean(&["not registered at the PBX"]);
}

#[test]
fn a_session_that_dies_costs_its_call_no_packet_and_a_hang_up_then_is_told() {
    let mut house = counting();
    let talk = Conversation::with_bobby(&house);
    talk.hears_nothing_of(s(1), || kill(&house, "session", SESSION));
    let before = deaths(&house, "session");
    assert!(before > 0.5);
    house.wait_session_up();
    kill(&house, "session", SESSION);
    talk.hangs_up(&house);
    assert!(deaths(&house, "session") > before + 0.5);
    house.wait_session_up();
    assert!(talked_ms(&house) > 0);
    house.assert_clean(&[]);
}

#[test]
fn a_conversation_loses_no_packet_in_30_s_without_telegram() {
    let mut house = counting();
    let talk = Conversation::with_bobby(&house);
    connections(&house, "refuse");
    connections(&house, "drop");
    let cut = Instant::now();
    talk.ear.wait_heard_until(cut + s(30));
    let heard = talk.ear.heard(cut, Instant::now());
    assert_eq!(heard.lost, 0, "{heard:?}");
    // 50 a second, but for those that a busy machine made late.
    assert!(heard.packets >= 1490, "{heard:?}");
    assert!(heard.pause < s(1), "{heard:?}");
    // A hang-up is queued for when there is somebody to be told. He is gone as well, who would notice by himself.
    assert_eq!(talk.asks(&house, "BYE", 200), "SIP/2.0 200 OK");
    talk.talker.vanish();
    connections(&house, "accept");
    let ended = house.telegram.wait_call(&talk.call, "discarded", s(40));
    assert_eq!(ended["reason"], "hangup", "{ended}");
    house.wait_session_up();
    // It says how long they talked, which is less than Telegram counts.
    house.assert_clean(&["call_duration"]);
}

/// Two conversations; a leg of the first dies, and the other leg ends with a cause within a second.
fn a_leg_dies(kind: &str) {
    let mut house = counting();
    let first = Conversation::with_bobby(&house);
    let second = Conversation::begin(&house, "carol", "15550004");
    let died = Instant::now();
    kill(&house, kind, "");
    let ended = house.telegram.wait_call(&first.call, "discarded", s(1));
    assert_ne!(ended["discarded_by"], "server", "{ended}");
    let is_bye = |m: &SipMessage| !m.sent && m.start().starts_with("BYE");
    let limit = s(1).saturating_sub(died.elapsed());
    let bye = until("the BYE", limit, || {
        let mut messages = first.pbx.messages().into_iter();
        messages.find(is_bye)
    });
    eprintln!("both have heard of it after {:?}", died.elapsed());
    let reason = bye.header("Reason").unwrap_or_default();
    assert!(reason.contains("cause="), "{}", bye.text);
    first.pbx.wait(s(10)).expect_ok();
    first.talker.finish();
    // Nobody else notices.
    second.ear.wait_heard_until(died + s(2));
    let heard = second.ear.heard(died, Instant::now());
    assert_eq!(heard.lost, 0, "{heard:?}");
    assert!(heard.pause < Duration::from_millis(250), "{heard:?}");
    assert!((deaths(&house, "leg") - 1.0).abs() < 0.1);
    assert!(deaths(&house, "call") < 0.1);
    let missed = second.end(&house);
    assert!(missed < 1.0, "{missed} s");
    // Both were answered, and are counted once each.
    let all = house.metrics().sum("strowger_calls_completed_total");
    assert!((all - 2.0).abs() < 0.1, "{all}");
    house.assert_clean(&[]);
    house.stop();
    let records = house.records();
    assert_eq!(records.len(), 2, "{records:#?}");
    let reasons = |n: usize| -> Vec<Value> {
        let legs = records[n]["legs"].as_array().unwrap();
        legs.iter().map(|leg| leg["reason"].clone()).collect()
    };
    assert!(
        reasons(0).contains(&"internal_error".into()),
        "{records:#?}"
    );
    assert_eq!(reasons(1), ["normal_clearing", "normal_clearing"]);
}

#[test]
fn a_sip_leg_that_dies_ends_the_other_within_a_second_and_nobody_else_notices() {
    a_leg_dies("sip_leg");
}

#[test]
fn a_telegram_leg_that_dies_ends_the_other_within_a_second_and_nobody_else_notices() {
    a_leg_dies("telegram_leg");
}

#[test]
fn a_registry_that_dies_costs_no_packet_no_registration_and_no_count() {
    let desk = "\n[[trunk]]\nname = \"desk\"\nkind = \"inbound_register\"\nlogin = \"desk7k2m9\"\npassword = \"correct-horse-9\"\n\n\
                [[route]]\ntrunk = \"desk\"\nsession = \"gateway\"\npriority = 200\n";
    let mut house = House::new()
        .quota("total_seconds = 6000\ntotal_window_seconds = 60000")
        .saying("quota = \"small\"")
        .peer_trunk(&["alaw"])
        .records(desk)
        .start();
    house.wait_session_up();
    let registers = Sipp::new(house.dir(), "desk").to(house.sip());
    let registers = registers.login("desk7k2m9", PASSWORD);
    registers.run("register").expect_ok();
    let bindings = [("trunk", "desk")];
    house.wait_metric("strowger_registrar_bindings", &bindings, 1.0);
    let talk = Conversation::with_bobby(&house);
    let before = talked_ms(&house);
    let known = Instant::now();
    let mut killed = 0;
    talk.hears_nothing_of(s(1), || {
        killed += 1;
        kill(&house, "registry", "");
    });
    assert!(deaths(&house, "registry") > 0.5);
    // It talks on all the time; a second of that may be forgotten, each time.
    let now = until("the next registry", s(5), || {
        let (code, said) =
            house.command(&["--output", "json", "quota", "show", "trunk/office"], "");
        let said: Value = serde_json::from_str(&said).ok().filter(|_| code == 0)?;
        said[0]["talked_ms"].as_u64()
    });
    let talked = u64::try_from(known.elapsed().as_millis()).unwrap();
    assert!(
        now + 500 + 1000 * killed >= before + talked,
        "{before} ms, and {talked} ms later {now} ms"
    );
    assert_eq!(talk.asks(&house, "OPTIONS", 100), "SIP/2.0 200 OK");
    let up = |trunk: &str| {
        let page = house.metrics();
        page.value("strowger_trunk_up", &[("trunk", trunk)])
    };
    assert_eq!((up(TRUNK), up("desk")), (Some(1.0), Some(1.0)));
    house.wait_metric("strowger_registrar_bindings", &bindings, 1.0);
    talk.hangs_up(&house);
    let labels = [("trunk", TRUNK), ("result", "answered")];
    house.wait_metric("strowger_calls_completed_total", &labels, 1.0);
    house.assert_clean(&[]);
}

#[test]
fn actors_that_stall_for_a_second_cost_no_packet() {
    let mut house = counting();
    let talk = Conversation::with_bobby(&house);
    for (victim, name) in [("trunk", TRUNK), ("session", SESSION), ("registry", "")] {
        let thread = [("thread", "actors")];
        let before = house.metrics().sum_of(STALLS, &thread);
        talk.hears_nothing_of(s(2), || {
            let wish = json!({"victim": victim, "name": name, "stall_ms": 1000});
            harm(&house, wish);
        });
        // It was one.
        house.wait_metric_above(STALLS, &thread, before + 0.5);
    }
    // At the other end as well: of three seconds and more he has missed less than the beginning and one stall.
    let missed = talk.end(&house);
    assert!(missed < 1.0, "{missed} s");
    house.assert_clean(&[]);
}

#[test]
fn a_media_thread_that_stalls_is_seen_and_heard() {
    // What the tests above hear, they can also miss.
    let mut house = counting();
    let talk = Conversation::with_bobby(&house);
    let began = Instant::now();
    harm(&house, json!({"victim": "media", "stall_ms": 1000}));
    talk.ear.wait_heard_until(began + s(2));
    let heard = talk.ear.heard(began, Instant::now());
    assert!(heard.pause >= Duration::from_millis(900), "{heard:?}");
    house.wait_metric_above(STALLS, &[("thread", "media")], 0.5);
    let missed = talk.end(&house);
    assert!(missed >= 0.8, "{missed} s");
    house.assert_clean(&[]);
}

/// A thread hangs, and the process is gone a little more than ten seconds later, by what systemd starts it again for.
fn hangs(victim: &str) {
    let mut house = counting();
    harm(&house, json!({"victim": victim, "stall_ms": 60_000}));
    let hung = Instant::now();
    let ended = house.wait_ended(s(16)).expect("the process ends");
    let took = hung.elapsed();
    assert!(took >= s(9), "{took:?}");
    assert_eq!(ended.signal(), Some(SIGABRT), "{ended}");
    let log = fs::read_to_string(house.dir().join("strowger-1.log")).unwrap();
    assert!(log.contains("a thread hangs"), "{log}");
    house.start();
    house.assert_clean(&[]);
}

#[test]
fn an_actor_that_hangs_for_10_s_ends_the_process() {
    hangs("registry");
}

#[test]
fn a_media_thread_that_hangs_for_10_s_ends_the_process() {
    hangs("media");
}
