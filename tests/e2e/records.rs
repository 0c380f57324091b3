//! Records that change while the switch runs: by commands, without a restart, and without disturbing calls.

use std::fs;
use std::time::Instant;

use crate::deadline::{s, until};
use crate::house::{BRANCH, House, SESSION, TRUNK};
use crate::pbx::Sipp;
use crate::ports;
use crate::talk::{ALAW, Caller, Ends, Talk};

/// The generation of the records.
pub(crate) fn generation(house: &House) -> u64 {
    let said = house.expect_command(&["--output", "json", "apply", "--dry-run", "/dev/null"], "");
    let said: serde_json::Value = serde_json::from_str(said.trim()).unwrap();
    said["generation"].as_u64().unwrap()
}

/// A PBX at this port calls nobody's number; what it is answered.
fn answered(house: &House, port: u16, code: &str) -> String {
    let name = format!("{BRANCH}-{code}-{}", ports::one());
    let pbx = Sipp::on(house.dir(), &name, port);
    let verdict = pbx
        .to(house.sip())
        .number("nobodyhere")
        .key("code", code)
        .run("uac_refused");
    verdict.expect_ok().last_final().start().to_owned()
}

#[test]
fn trunks_are_made_changed_and_removed_while_a_call_on_another_goes_on() {
    let house = House::new().registering_trunk(&["alaw"]).start();
    let talk = Talk::start_in(house, Caller::Pbx, "13.0.0", ALAW);
    let house = &talk.house;
    let before = generation(house);
    let port = ports::one();
    let address = format!("127.0.0.1:{port}");
    let (add, route) = (
        [
            "trunk",
            "add",
            BRANCH,
            "--kind",
            "peer",
            "--address",
            &address,
        ],
        ["route", "add", BRANCH, SESSION],
    );
    house.expect_command(&add, "");
    house.expect_command(&route, "");
    // It is known, its session looks the number up, and Telegram knows nobody of that name.
    let said = answered(house, port, "404");
    assert!(said.contains("USERNAME_NOT_OCCUPIED"), "{said}");
    house.expect_command(&["trunk", "set", BRANCH, "--lines", "3"], "");
    house.wait_metric("strowger_trunk_lines_limit", &[("trunk", BRANCH)], 3.0);
    house.expect_command(&["trunk", "disable", BRANCH], "");
    assert_eq!(answered(house, port, "503"), "503 Account is not running");
    house.expect_command(&["trunk", "enable", BRANCH], "");
    answered(house, port, "404");
    let said = house.expect_command(&["trunk", "reset-password", TRUNK], "");
    assert!(said.contains("password"), "{said}");
    house.expect_command(&["trunk", "disable", TRUNK], "");
    house.expect_command(&["trunk", "remove", BRANCH], "");
    until("its series to be gone", s(10), || {
        let (_, text) = house.admin().text("/metrics")?;
        (!text.contains(BRANCH)).then_some(())
    });
    assert_eq!(generation(house), before + 8);
    talk.end(Ends::Telegram);
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut house = House::new().peer_trunk(&["alaw"]).start();
    let before = generation(&house);
    let address = format!("127.0.0.1:{}", house.peer_port());
    let same = house.command(
        &[
            "trunk",
            "add",
            BRANCH,
            "--kind",
            "peer",
            "--address",
            &address,
        ],
        "",
    );
    assert_eq!(same.0, 6, "{}", same.1);
    assert!(same.1.contains(TRUNK), "{}", same.1);
    let missing = house.command(&["trunk", "disable", "nobody"], "");
    assert_eq!(missing.0, 5, "{}", missing.1);
    let rules = house.command(&["trunk", "set", TRUNK, "--inbound-rules", "^(=1"], "");
    assert_eq!(rules.0, 2, "{}", rules.1);
    let connected = house.command(&["session", "remove", SESSION], "");
    assert_eq!(connected.0, 6, "{}", connected.1);
    assert!(
        connected.1.contains("session disable"),
        "what to do first: {}",
        connected.1
    );
    let records = house.dir().join("records.toml");
    let text = fs::read_to_string(&records).unwrap();
    let second = format!(
        "{text}\n[[trunk]]\nname = \"{BRANCH}\"\nkind = \"peer\"\naddress = \"{address}\"\n"
    );
    fs::write(&records, second).unwrap();
    let clash = house.command(&["apply", "records.toml"], "");
    assert_eq!(clash.0, 3, "{}", clash.1);
    assert_eq!(generation(&house), before);
    house.assert_clean(&[]);
}

#[test]
fn a_session_is_switched_off_and_on_again_without_a_restart() {
    let mut house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    house.expect_command(&["session", "disable", SESSION], "");
    let port = house.peer_port();
    assert_eq!(answered(&house, port, "503"), "503 Session is not running");
    let begun = Instant::now();
    house.expect_command(&["session", "enable", SESSION], "");
    house.wait_session_up();
    let said = answered(&house, port, "404");
    assert!(said.contains("USERNAME_NOT_OCCUPIED"), "{said}");
    assert!(begun.elapsed() < s(60));
    house.expect_command(
        &["session", "set", SESSION, "--allowed-callers", "@alice"],
        "",
    );
    let shown = house.expect_command(&["session", "show", SESSION], "");
    assert!(shown.contains("@alice"), "{shown}");
    house.assert_clean(&[]);
}
