//! Calls whose connection dies (RFC 3261 18).

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::deadline::{s, until};
use crate::house::House;
use crate::pbx::{SipMessage, Sipp};

/// A house whose PBX speaks TCP, in the middle of a call that this PBX made, from another port than that of its Contact, as is
/// usual; then the PBX is killed.
fn cut_off() -> (House, crate::telegram::Talker, String, Vec<SipMessage>) {
    let house = House::new().by("tcp").peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let contact = house.peer_port().to_string();
    let pbx = Sipp::new(house.dir(), "pbx")
        .by_tcp()
        .key("contact", &contact)
        .to(house.sip())
        .number("bobby")
        .pause(s(60))
        .echo()
        .start("uac_elsewhere");
    let call = house.telegram.next_call(0, s(10));
    talker.wait_heard(s(20));
    let messages = pbx.messages();
    pbx.kill();
    let gone = [("transport", "tcp")];
    house.wait_metric("strowger_sip_connections", &gone, 0.0);
    (house, talker, call, messages)
}

#[test]
fn the_end_of_a_call_is_told_over_a_new_connection_when_that_of_the_call_is_gone() {
    let (mut house, talker, call, _) = cut_off();
    // The PBX is back at the address of its Contact, before its silence ends the call.
    let again = Sipp::on(house.dir(), "again", house.peer_port())
        .by_tcp()
        .limit(s(20))
        .start("uas_bye");
    talker.hang_up(&house.telegram, "bobby", &call);
    again.wait(s(20)).expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn a_call_whose_pbx_is_gone_for_good_ends_at_once_when_its_end_cannot_be_told() {
    let (mut house, talker, call, _) = cut_off();
    talker.hang_up(&house.telegram, "bobby", &call);
    until("the leg to end", s(5), || {
        (house.metrics().sum("strowger_calls_active") < 0.5).then_some(())
    });
    house.assert_clean(&[]);
}

#[test]
fn a_pbx_may_hang_up_over_a_new_connection() {
    let (mut house, talker, call, messages) = cut_off();
    let ack = messages
        .iter()
        .rfind(|m| m.sent && m.start().starts_with("ACK"))
        .unwrap();
    let mut bye = ack
        .text
        .trim_end()
        .replacen("ACK ", "BYE ", 1)
        .replace("1 ACK", "2 BYE")
        .replace("branch=z9hG4bK", "branch=z9hG4bKbye")
        .replace('\n', "\r\n");
    bye.push_str("\r\n\r\n");
    let mut connection = TcpStream::connect(house.sip()).unwrap();
    connection.set_read_timeout(Some(s(5))).unwrap();
    connection.write_all(bye.as_bytes()).unwrap();
    let mut answer = [0; 2048];
    let length = connection.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}\nto\n{bye}");
    let ended = house.telegram.wait_call(&call, "discarded", s(5));
    assert_eq!(ended["reason"], "hangup", "{ended}");
    talker.finish();
    house.assert_clean(&[]);
}
