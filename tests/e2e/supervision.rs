//! What whoever starts the switch is told, and how it ends.

use std::os::unix::net::UnixDatagram;

use crate::deadline::{s, until};
use crate::house::House;
use crate::talk::{ALAW, Caller, Talk};

#[test]
fn systemd_hears_that_it_is_ready_alive_and_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(s(20))).unwrap();
    let hear = || {
        let mut room = [0; 1024];
        let length = socket.recv(&mut room).unwrap();
        String::from_utf8_lossy(&room[..length]).into_owned()
    };
    let wait = |what: &str| while !hear().lines().any(|line| line.starts_with(what)) {};
    let mut house = House::new()
        .registering_trunk(&["alaw"])
        .variable("NOTIFY_SOCKET", path.to_str().unwrap())
        .variable("WATCHDOG_USEC", "1500000")
        .build();
    house.spawn();
    wait("READY=1");
    wait("STATUS=");
    wait("WATCHDOG=1");
    wait("WATCHDOG=1");
    house.ask_to_end();
    wait("STOPPING=1");
    assert_eq!(house.wait_gone(s(15)), Some(0));
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
