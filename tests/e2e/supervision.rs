//! What whoever starts the switch is told, and how it ends.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::deadline::{s, until, within};
use crate::house::House;
use crate::link::connections;
use crate::survival::harm;
use crate::talk::{ALAW, Caller, Talk};

/// What systemd has to hear within, or it starts the switch again.
const WATCHDOG: Duration = Duration::from_millis(1500);

/// Who would start the switch: systemd, as far as it listens.
struct Systemd {
    socket: UnixDatagram,
    _folder: tempfile::TempDir,
}

impl Systemd {
    /// It has started a switch.
    fn starts() -> (Self, House) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(s(20))).unwrap();
        let mut house = House::new()
            .registering_trunk(&["alaw"])
            .variable("NOTIFY_SOCKET", path.to_str().unwrap())
            .variable("WATCHDOG_USEC", &WATCHDOG.as_micros().to_string())
            .build();
        house.spawn();
        let systemd = Self {
            socket,
            _folder: folder,
        };
        systemd.wait("READY=1");
        (systemd, house)
    }

    /// Waits until it is told this.
    fn wait(&self, what: &str) {
        let hear = || {
            let mut room = [0; 1024];
            let length = self.socket.recv(&mut room).unwrap();
            String::from_utf8_lossy(&room[..length]).into_owned()
        };
        while !hear().lines().any(|line| line.starts_with(what)) {}
    }
}

#[test]
fn systemd_hears_that_it_is_ready_alive_and_stopping() {
    let (systemd, mut house) = Systemd::starts();
    systemd.wait("STATUS=");
    systemd.wait("WATCHDOG=1");
    systemd.wait("WATCHDOG=1");
    house.ask_to_end();
    systemd.wait("STOPPING=1");
    assert_eq!(house.wait_gone(s(15)), Some(0));
}

#[test]
fn systemd_does_not_hear_that_a_switch_lives_whose_registry_stands_still() {
    let (systemd, house) = Systemd::starts();
    systemd.wait("WATCHDOG=1");
    harm(&house, json!({"victim": "registry", "stall_ms": 4000}));
    // One may have been on its way.
    let mut last = Instant::now();
    let longest = within(s(15), || {
        systemd.wait("WATCHDOG=1");
        let silence = last.elapsed();
        last = Instant::now();
        (silence > WATCHDOG).then_some(silence)
    });
    let longest = longest.expect("it is told all the time");
    assert!(longest >= s(3), "{longest:?}");
}

/// The status of both probes.
fn probes(house: &House) -> Option<(u16, u16)> {
    let status = |path| house.admin().text(path).map(|(status, _)| status);
    Some((status("/livez")?, status("/readyz")?))
}

#[test]
fn a_switch_whose_registry_stands_still_is_neither_alive_nor_ready_until_it_goes_on() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    assert_eq!(probes(&house), Some((200, 200)));
    harm(&house, json!({"victim": "registry", "stall_ms": 5000}));
    until("both to fail", s(5), || {
        (probes(&house)? == (503, 503)).then_some(())
    });
    let (_, page) = house.admin().text("/readyz").unwrap();
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!(page["ready"], false, "{page}");
    until("both to succeed", s(15), || {
        (probes(&house)? == (200, 200)).then_some(())
    });
    house.assert_clean(&[]);
}

#[test]
fn a_switch_whose_session_is_cut_off_is_alive_and_not_ready_until_it_is_back() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    connections(&house, "refuse");
    connections(&house, "drop");
    until("it to be unready", s(15), || {
        (probes(&house)? == (200, 503)).then_some(())
    });
    let (_, page) = house.admin().text("/readyz").unwrap();
    assert!(page.contains("session gateway is offline"), "{page}");
    connections(&house, "accept");
    until("it to be ready", s(30), || {
        (probes(&house)? == (200, 200)).then_some(())
    });
    house.assert_clean(&[]);
}

/// An actor that everything stands on dies again as soon as it is back; the process ends with this code.
fn is_given_up(victim: &str, code: i32) {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    let wish = json!({ "victim": victim });
    for death in 1..=5 {
        until(format_args!("{victim} to be there, {death}"), s(5), || {
            let (status, _) = house.admin().try_post("/chaos", &[], &wish);
            (status == 200).then_some(())
        });
        if death < 5 {
            let labels = [("actor", victim), ("cause", "panic")];
            let deaths = "strowger_actor_restarts_total";
            house.wait_metric(deaths, &labels, f64::from(death));
        }
    }
    assert_eq!(house.wait_gone(s(15)), Some(code));
    // What it had counts again after a start.
    house.start();
    house.wait_session_up();
    house.assert_clean(&[]);
}

#[test]
fn a_registry_that_dies_again_and_again_ends_the_process_with_70() {
    is_given_up("registry", 70);
}

#[test]
fn a_keeper_that_dies_again_and_again_ends_the_process_with_74() {
    is_given_up("keeper", 74);
}

#[test]
fn a_call_may_go_on_after_sigterm_until_the_second_one() {
    let house = House::new()
        .registering_trunk(&["alaw"])
        .variable("STROWGER__SHUTDOWN__DRAIN_S", "600")
        .start();
    let talk = Talk::start_in(house, Caller::Pbx, "9.0.0", ALAW);
    let (mut house, mut phone) = (talk.house, talk.phone);
    house.ask_to_end();
    until("new calls to be refused", s(10), || {
        (house.admin().text("/readyz")?.0 == 503).then_some(())
    });
    // Whoever asks is told to go elsewhere, and the call goes on.
    let labels = [("leg", "sip"), ("direction", "out")];
    let before = house
        .metrics()
        .sum_of("strowger_rtp_packets_total", &labels);
    house.wait_metric_above("strowger_rtp_packets_total", &labels, before + 50.0);
    assert!(!phone.has("CALL_CLOSED"));
    house.assert_running();
    house.ask_to_end();
    phone.wait_closed();
    house.telegram.wait_call(&talk.call, "discarded", s(10));
    assert_eq!(house.wait_gone(s(15)), Some(0));
}
