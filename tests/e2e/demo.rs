//! `strowger demo` as its user meets it: what the lines say, how long it takes, how it ends.

use std::process::Command;
use std::time::Instant;

use crate::deadline::s;
use crate::house::STROWGER;

/// What the demo says on standard error where the machine had no time for it; then the figures prove nothing.
const BUSY: &str = "this machine was busy with something else meanwhile";
/// Beside other tests that is often so.
const TRIES: usize = 5;

#[test]
fn the_demo_says_what_is_simulated_and_measures_a_call_each_way() {
    for left in (0..TRIES).rev() {
        let folder = tempfile::tempdir().unwrap();
        let began = Instant::now();
        let mut demo = Command::new(STROWGER);
        let ended = demo.arg("demo").current_dir(&folder).output().unwrap();
        let took = began.elapsed();
        let said = String::from_utf8(ended.stdout).unwrap();
        let notes = String::from_utf8(ended.stderr).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        for line in [lines.first(), lines.last()] {
            let line = line.unwrap();
            let is_told = line.starts_with("The Telegram side is a simulator inside this process");
            assert!(is_told, "{line:?} of\n{said}");
        }
        for measured in [
            "rings after",
            "ms after the answer",
            "similarity 0.",
            ", delay ",
            " packets lost",
        ] {
            assert!(said.contains(measured), "nothing of {measured:?}:\n{said}");
        }
        let is_good = said.contains("36 of 36 checks hold");
        assert_eq!(ended.status.code(), Some(i32::from(!is_good)), "{said}");
        if is_good {
            assert!(took < s(20), "{took:?}");
            return;
        }
        assert!(left > 0 && notes.contains(BUSY), "{notes}\n{said}");
    }
}
