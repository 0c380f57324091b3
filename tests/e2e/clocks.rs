//! The clock of the machine is set while the switch runs, an hour on or back, as after a pause of a virtual machine or the first word of NTP: nothing
//! but the times in logs and records follows it (REL-O4). libfaketime stands between the switch and that clock; the one that nobody sets is left alone.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::deadline::{s, until};
use crate::house::{BRANCH, House, HouseBuilder, TRUNK};
use crate::pbx::Sipp;
use crate::telegram::Behaviour;

/// The clock that the switch sees.
struct Clock(TempDir);

impl Clock {
    fn new() -> Self {
        let clock = Self(tempfile::tempdir().unwrap());
        clock.write(0);
        clock
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("time")
    }

    /// So many hours on from the true time; a process that reads the file never finds half of it.
    fn write(&self, hours: i8) {
        let fresh = self.0.path().join("fresh");
        fs::write(&fresh, format!("{hours:+}h\n")).unwrap();
        fs::rename(fresh, self.file()).unwrap();
    }

    /// A house that goes by it.
    fn over(&self, house: HouseBuilder) -> HouseBuilder {
        let libraries = fs::read_dir("/usr/lib").unwrap().flatten();
        let libraries = libraries.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
        let library = { libraries }.find(|path| path.exists()).unwrap();
        house
            .variable("LD_PRELOAD", library.to_str().unwrap())
            .variable("FAKETIME_TIMESTAMP_FILE", self.file().to_str().unwrap())
            .variable("FAKETIME_CACHE_DURATION", "1")
            .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    }

    /// Sets it, and waits until the switch tells that time.
    fn set(&self, house: &House, hours: i8) {
        self.write(hours);
        let hour = || {
            let date = Command::new("date")
                .args(["-u", "-d", &format!("{hours:+} hours"), "+%Y-%m-%dT%H"])
                .output()
                .unwrap();
            String::from_utf8(date.stdout).unwrap().trim().to_owned()
        };
        let mut priority = 10;
        until("the switch to tell that time", s(10), || {
            priority += 1;
            let priority = priority.to_string();
            house.expect_command(&["trunk", "set", TRUNK, "--priority", &priority], "");
            let log = house.log();
            let last = log.lines().rfind(|line| line.contains("records changed"))?;
            last.contains(&hour()).then_some(())
        });
    }
}

#[test]
fn a_call_is_neither_cut_nor_prolonged_and_a_trunk_is_left_alone_as_long_as_was_said() {
    let clock = Clock::new();
    let house = House::new()
        .quota("call_seconds = 9")
        .saying("quota = \"small\"")
        .peer_trunk(&["alaw"])
        .branch_saying("failure_limit = 1\nfailure_wait_seconds = 600")
        .leaves_by(&["alaw"]);
    let mut house = clock.over(house).start();
    let branch = Sipp::on(house.dir(), "branch", house.branch_port()).start("uas");
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port());
    let pbx = pbx.to(house.sip()).number("6001").limit(s(40));
    let pbx = pbx.start("uac_peer_hangs_up");
    let talking = [("state", "established")];
    house.wait_metric("strowger_calls_active", &talking, 1.0);
    clock.set(&house, 1);
    clock.set(&house, -1);
    pbx.wait(s(30)).expect_ok();
    branch.wait(s(10)).expect_ok();
    house.assert_clean(&[]);

    // One failure, and nobody is sent there for ten minutes, whatever the time.
    let refused = |house: &House, name: &str, code: &str| {
        let pbx = Sipp::on(house.dir(), name, house.peer_port());
        let pbx = pbx.to(house.sip()).number("6001").key("code", code);
        pbx.run("uac_refused").expect_ok();
    };
    let branch = Sipp::on(house.dir(), "fails", house.branch_port());
    let branch = branch.key("code", "503").key("reason", "Out of Order");
    let branch = branch.start("uas_reject");
    refused(&house, "pbx-1", "503");
    branch.wait(s(10)).expect_ok();
    let blocked = [("trunk", BRANCH)];
    house.wait_metric("strowger_trunk_blocked", &blocked, 1.0);
    clock.set(&house, 1);
    house.wait_metric("strowger_trunk_blocked", &blocked, 1.0);
    refused(&house, "pbx-2", "503");
    house.stop();
    let records = house.records();
    let answered = |record: &&Value| record["outcome"] == "answered";
    let call = records.iter().find(answered).unwrap();
    let after = |name: &str| call[name].as_u64().unwrap();
    let ms = after("ended_after_ms") - after("answered_after_ms");
    assert!((9000..9500).contains(&ms), "{call:#}");
    assert_eq!(call["legs"][0]["reason"], "call_duration", "{call:#}");
}

#[test]
fn a_session_waits_as_long_as_telegram_has_ordered() {
    let clock = Clock::new();
    let house = clock.over(House::new().peer_trunk(&["alaw"])).start();
    house.wait_session_up();
    let telegram = &house.telegram;
    telegram.user("bobby", "15550002", &Behaviour::declines());
    let refused = |name: &str| {
        let pbx = Sipp::on(house.dir(), name, house.peer_port());
        let pbx = pbx.to(house.sip()).number("bobby").key("code", "503");
        let verdict = pbx.run("uac_refused");
        let last = verdict.expect_ok().last_final();
        let wait = last.header("Retry-After");
        wait.map(|seconds| seconds.parse::<u64>().unwrap())
    };
    telegram.fault(json!({"method": "phone.requestCall", "error": "FLOOD_WAIT_600"}));
    assert_eq!(refused("ordered"), Some(600));
    for (name, hours) in [("an-hour-on", 1), ("an-hour-back", -1)] {
        clock.set(&house, hours);
        let left = refused(name);
        assert!(
            left.is_some_and(|left| (540..=600).contains(&left)),
            "{name}: {left:?}"
        );
    }
}
