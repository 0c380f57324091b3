//! Backups: made while people talk, and brought back where nobody else runs the session.

use std::fs;

use crate::house::SESSION;
use crate::talk::{ALAW, Caller, Ends, Talk};

/// Whether the session is connected.
const UP: &str = "strowger_telegram_session_up";

#[test]
fn a_backup_made_during_a_call_comes_back_with_its_session_off_until_it_is_adopted() {
    let talk = Talk::start(Caller::Pbx, "9.0.0", ALAW);
    let said = talk
        .house
        .expect_command(&["backup", "create", "safe.backup"], "");
    assert!(
        said.contains("whole, and the key fits") && said.contains("1 sessions, 1 trunks"),
        "{said}"
    );
    let (code, said) = talk.house.command(&["backup", "create", "safe.backup"], "");
    assert_eq!(code, 6, "never overwritten: {said}");
    talk.house
        .expect_command(&["backup", "verify", "safe.backup"], "");
    let sum = talk
        .house
        .metrics()
        .value("strowger_backups_total", &[("result", "ok")]);
    assert_eq!(sum, Some(1.0));
    let mut house = talk.end(Ends::Pbx);
    house.stop();

    // The other machine.
    let (store, aside) = (
        house.dir().join("data/store"),
        house.dir().join("data/aside"),
    );
    let (code, said) = house.command(&["backup", "restore", "safe.backup"], "");
    assert_eq!(code, 6, "there is one already: {said}");
    fs::rename(&store, &aside).unwrap();
    let said = house.expect_command(&["backup", "restore", "safe.backup"], "");
    assert!(said.contains("session adopt gateway"), "{said}");
    // The call was up when the backup was made.
    house.start();
    let up = house.metrics().value(UP, &[("session", SESSION)]);
    assert!(up.unwrap_or_default() < 0.5);
    house.stop();
    assert_eq!(house.records().len(), 1);
    for refused in [
        &["session", "enable", SESSION][..],
        &["session", "logout", SESSION, "--yes"],
    ] {
        let (code, said) = house.command(refused, "");
        assert!(code == 6 && said.contains("--old-is-gone"), "{said}");
    }
    house.expect_command(&["session", "adopt", SESSION, "--old-is-gone"], "");
    let (code, said) = house.command(&["session", "adopt", SESSION, "--old-is-gone"], "");
    assert_eq!(code, 6, "once: {said}");
    // A backup without a switch, where the settings say.
    let said = house.expect_command(&["backup", "create"], "");
    assert!(said.contains("data/backups/manual-"), "{said}");
    house.start();
    house.wait_session_up();
    Talk::start_in(house, Caller::Telegram, "9.0.0", ALAW).end(Ends::Telegram);
}
