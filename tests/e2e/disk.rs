//! A disk that is full (REL-P3).

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::crash::peer::Peer;
use crate::deadline::{s, until};
use crate::house::House;

/// Puts a folder on a disk of its own, of so many megabytes, with what is in it.
pub(crate) fn on_a_disk(folder: &Path, megabytes: u32) {
    let script = "set -e; cp -a \"$1\" \"$1.old\"; mount -t tmpfs -o size=\"$2\"m tmpfs \"$1\"; cp -a \"$1.old/.\" \"$1\"";
    let done = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(folder)
        .arg(megabytes.to_string())
        .status()
        .unwrap();
    assert!(done.success(), "no disk for {}", folder.display());
}

/// Takes all the room there is.
pub(crate) fn fill(disk: &Path) {
    let piece = vec![0; 4096];
    let mut filler = fs::File::create(disk.join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &piece).is_ok() {}
}

#[test]
fn calls_go_on_while_the_disk_is_full_and_what_cannot_be_written_is_told() {
    let mut house = House::new()
        .peer_trunk(&["alaw"])
        .leaves_by(&["alaw"])
        .rtp_ports(1000)
        .build();
    let disk = house.dir().join("data");
    on_a_disk(&disk, 16);
    let office = Peer::start(house.peer_port(), house.sip(), 60, true);
    let branch = Peer::start(house.branch_port(), house.sip(), 0, false);
    house.start();
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
    fill(&disk);
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
    assert!(house.log().contains("ERROR"), "nothing is said");
    office.busy(false);
    drop((office, branch));
    house.stop();
    fs::remove_file(disk.join("filler")).unwrap();
    // What was there before is there again.
    house.start();
    house.stop();
    assert!(house.records().len() > 20);
    let unmounted = Command::new("umount").arg(&disk).status().unwrap();
    assert!(unmounted.success());
}
