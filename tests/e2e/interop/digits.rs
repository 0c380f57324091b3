//! Asterisk's service number 602: it reads four keys and presses them itself.

use super::talker;
use crate::deadline::{s, until};
use crate::house::{House, SESSION};
use crate::pbx::Asterisk;

/// Asterisk reads four keys that a Telegram user types, and presses them itself.
fn typed(ours: &str, theirs: &str, counted: &str) {
    let house = House::new().number("602");
    let house = house.saying(&format!("dtmf = [\"{ours}\"]"));
    let mut house = house.peer_trunk(&["alaw"]).start();
    let to = house.sip().to_string();
    let options = [
        "--trunk", &to, "--codecs", "alaw", "--named", "602", "--dtmf", theirs,
    ];
    let asterisk = Asterisk::on(house.dir(), house.peer_port(), &options);
    house.wait_session_up();
    // He speaks all the time; tones take the place of his voice.
    let talker = talker(&house, "9.0.0");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    house.telegram.wait_call(&call, "established", s(15));
    until("the two to be joined", s(15), || {
        house.log().contains("call bridged").then_some(())
    });
    house.telegram.write("bobby", SESSION, "47,1#");
    until("Asterisk to have read the keys", s(20), || {
        let globals = asterisk.cli("dialplan show globals");
        globals.contains("LASTDIGITS=471").then_some(())
    });
    let labels = [("from", "telegram"), ("method", counted)];
    house.wait_metric("strowger_dtmf_digits_total", &labels, 4.0);
    let labels = [("from", "sip"), ("method", counted)];
    house.wait_metric("strowger_dtmf_digits_total", &labels, 3.0);
    house.telegram.wait_call(&call, "discarded", s(10));
    talker.vanish();
    house.assert_clean(&[]);
}

#[test]
fn asterisk_reads_typed_keys_as_rtp_events() {
    typed("rfc2833", "rfc4733", "rfc4733");
}

#[test]
fn asterisk_reads_typed_keys_by_info() {
    typed("info", "info", "info");
}

#[test]
fn asterisk_reads_typed_keys_as_tones() {
    typed("inband", "inband", "inband");
}
