//! A disk that is full (REL-P3).

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::crash::peer::Peer;
use crate::deadline::{s, until};
use crate::house::{House, TRUNK};

/// A disk of its own with a folder on it, until it is taken away.
pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// One of so many megabytes, with what is in the folder.
    pub(crate) fn of(folder: PathBuf, megabytes: u32) -> Self {
        let script = "set -e; cp -a \"$1\" \"$1.old\"; mount -t tmpfs -o size=\"$2\"m tmpfs \"$1\"; cp -a \"$1.old/.\" \"$1\"";
        let done = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(&folder)
            .arg(megabytes.to_string())
            .status()
            .unwrap();
        assert!(done.success(), "no disk for {}", folder.display());
        Self { folder }
    }

    /// Takes all the room there is.
    pub(crate) fn fill(&self) {
        let piece = vec![0; 4096];
        let mut filler = fs::File::create(self.filler()).unwrap();
        while std::io::Write::write_all(&mut filler, &piece).is_ok() {}
    }

    /// Gives back what was taken.
    pub(crate) fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    /// Nothing may be open on it any more.
    pub(crate) fn take_away(self) {
        let unmounted = Command::new("umount").arg(&self.folder).status().unwrap();
        assert!(unmounted.success(), "{} is in use", self.folder.display());
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }
}

/// A house with its data on a small disk, between a PBX that places 60 calls a second while it is busy and one that takes them.
pub(crate) fn small_disk_between_pbxs() -> (House, Disk, Peer, Peer) {
    let mut house = House::new()
        .peer_trunk(&["alaw"])
        .leaves_by(&["alaw"])
        .rtp_ports(1000)
        .build();
    let disk = Disk::of(house.dir().join("data"), 16);
    let office = Peer::start(house.peer_port(), house.sip(), 60, true);
    let branch = Peer::start(house.branch_port(), house.sip(), 0, false);
    house.start();
    (house, disk, office, branch)
}

#[test]
fn calls_go_on_while_the_disk_is_full_and_what_cannot_be_written_is_told() {
    let (mut house, disk, office, branch) = small_disk_between_pbxs();
    let answered = |house: &House| {
        let labels = [("result", "answered")];
        house
            .metrics()
            .sum_of("strowger_calls_completed_total", &labels)
    };
    office.busy(true);
    until("calls to be made", s(20), || {
        (answered(&house) > 20.0).then_some(())
    });
    disk.fill();
    let failed = [("sink", "store"), ("result", "failed")];
    until("a record to be lost", s(90), || {
        let lost = house
            .metrics()
            .sum_of("strowger_cdr_records_total", &failed);
        (lost > 0.5).then_some(())
    });
    // Whoever calls notices nothing.
    let before = answered(&house);
    until("calls to go on", s(20), || {
        (answered(&house) > before + 50.0).then_some(())
    });
    house.assert_running();
    // Whoever looks is told.
    let told = "the store takes nothing: see whether its disk is full";
    let page = |house: &House| house.admin().text("/readyz").unwrap().1;
    assert!(page(&house).contains(told), "{}", page(&house));
    let status = house.expect_command(&["status"], "");
    assert!(status.contains(told), "{status}");
    assert!(house.log().contains("ERROR"), "nothing is said");
    // What is to be durable is refused, and what there was is there.
    let change = ["trunk", "set", TRUNK, "--lines", "77"];
    let (code, said) = house.command(&change, "");
    assert_ne!(code, 0, "{said}");
    let shown = house.expect_command(&["trunk", "show", TRUNK], "");
    assert!(!shown.contains("77"), "{shown}");
    disk.free();
    let freed = Instant::now();
    let stored = |house: &House| {
        let labels = [("sink", "store"), ("result", "ok")];
        house
            .metrics()
            .sum_of("strowger_cdr_records_total", &labels)
    };
    let before = stored(&house);
    until("records to be written again", s(10), || {
        (stored(&house) > before).then_some(())
    });
    eprintln!("written again {:?} after there was room", freed.elapsed());
    until("it to be told", s(10), || {
        house
            .log()
            .contains("the store is written again")
            .then_some(())
    });
    house.expect_command(&change, "");
    assert!(!page(&house).contains(told), "{}", page(&house));
    // The alert is over when it is looked for the next time.
    until("the alert to be over", s(10), || {
        let status = house.expect_command(&["status"], "");
        (status.contains("schema 2") && !status.contains(told)).then_some(())
    });
    office.busy(false);
    let active = |house: &House| house.metrics().sum("strowger_calls_active");
    until("the last call to end", s(20), || {
        (active(&house) < 0.5).then_some(())
    });
    house.wait_flushed();
    let calls = house.metrics().sum("strowger_calls_completed_total");
    drop((office, branch));
    house.stop();
    // Those of the time without room are there too.
    let records = house.records().len();
    assert!(
        (records as f64 - calls).abs() < 0.5,
        "{records} records of {calls} calls"
    );
    // And so is what was there before, at the next start.
    house.start();
    let shown = house.expect_command(&["trunk", "show", TRUNK], "");
    assert!(shown.contains("77"), "{shown}");
    house.stop();
    disk.take_away();
}
