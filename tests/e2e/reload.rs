//! SIGHUP reads the settings again, or changes nothing.

use std::fs;
use std::process::Command;

use crate::deadline::{s, until};
use crate::house::House;

/// Tells the switch to read its settings again.
pub(crate) fn hang_up(house: &House) {
    let killed = Command::new("kill")
        .args(["-HUP", &house.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
}

fn logs(house: &House, what: &str) -> String {
    until(format!("`{what}` in the log"), s(10), || {
        let log = house.log();
        log.lines()
            .find(|line| line.contains(what))
            .map(str::to_owned)
    })
}

#[test]
fn a_good_file_is_in_force_and_a_bad_one_changes_nothing() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    let path = house.dir().join("strowger.toml");
    let good = fs::read_to_string(&path).unwrap();
    let last = "strowger_config_last_reload_successful";

    fs::write(&path, format!("{good}sip.tl_ms = 400\n")).unwrap();
    hang_up(&house);
    house.wait_metric(last, &[], 0.0);
    let line = good.lines().count() + 1;
    let said = logs(&house, "the settings are not read again");
    assert!(said.contains(&format!("strowger.toml:{line}")), "{said}");
    assert!(said.contains("t1_ms"), "what was meant: {said}");

    let debug = good.replace("log.level = \"info\"", "log.level = \"debug\"");
    assert_ne!(debug, good);
    fs::write(&path, format!("{debug}sip.t1_ms = 400\n")).unwrap();
    hang_up(&house);
    house.wait_metric(last, &[], 1.0);
    assert!(logs(&house, "the settings are read again").contains("log.level"));
    assert!(logs(&house, "wait for the next start").contains("sip.t1_ms"));
    house.assert_clean(&[]);
}
