//! What breaks in a call ends that call on both sides, and nothing else.

use std::net::UdpSocket;
use std::time::Duration;

use crate::deadline::{s, until};
use crate::house::{House, MEDIA_ADDRESS, SESSION};
use crate::pbx::Sipp;
use crate::talk::{ALAW, Caller, Ends, Talk};
use crate::telegram::Behaviour;

#[test]
fn a_telegram_user_who_goes_off_the_air_ends_both_legs() {
    let talk = Talk::start(Caller::Pbx, "9.0.0", ALAW);
    let (mut house, mut phone) = (talk.house, talk.phone);
    talk.talker.vanish();
    phone.wait("CALL_CLOSED", s(40));
    let ended = house.telegram.wait_call(&talk.call, "discarded", s(5));
    assert_eq!(ended["reason"], "disconnect", "{ended}");
    house.assert_clean(&[]);
    house.stop();
    assert_eq!(house.records()[0]["ended_by"], "telegram");
}

#[test]
fn a_pbx_whose_rtp_stops_ends_both_legs() {
    let talk = Talk::start(Caller::Telegram, "13.0.0", ALAW);
    let mut house = talk.house;
    talk.phone.vanish();
    let ended = house.telegram.wait_call(&talk.call, "discarded", s(40));
    assert_eq!(ended["reason"], "disconnect", "{ended}");
    talk.talker.finish();
    house.assert_clean(&[]);
    house.stop();
    let record = &house.records()[0];
    assert_eq!(record["ended_by"], "sip", "{record}");
    assert!(
        record["legs"]
            .as_array()
            .unwrap()
            .iter()
            .any(|leg| leg["reason"] == "rtp_timeout"),
        "{record}"
    );
}

#[test]
fn signalling_that_is_lost_or_doubled_on_the_way_is_made_good() {
    for version in ["9.0.0", "13.0.0"] {
        let house = House::new().registering_trunk(&["alaw"]).start();
        house
            .telegram
            .user("bobby", "15550002", &Behaviour::accepts().speaking(version));
        for (action, receiver) in [
            ("drop_signaling", "bobby"),
            ("duplicate_signaling", SESSION),
            ("drop_signaling", SESSION),
        ] {
            house.telegram.fault(
                serde_json::json!({"on": "call", "action": action, "account": receiver, "skip": 1}),
            );
        }
        Talk::start_in(house, Caller::Pbx, version, ALAW).end(Ends::Pbx);
    }
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

const INVITE: &str = "INVITE sip:bobby@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx;rport\r\n\
    From: <sip:mallory@127.0.0.1>;tag=1\r\nTo: <sip:bobby@127.0.0.1>\r\nCall-ID: bad@127.0.0.1\r\nCSeq: 1 INVITE\r\n\
    Contact: <sip:mallory@127.0.0.1:9>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: 118\r\n\r\n\
    v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n";

#[test]
fn malformed_datagrams_do_not_hurt_a_running_call() {
    let mut talk = Talk::start(Caller::Pbx, "9.0.0", ALAW);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let media = UdpSocket::bind((MEDIA_ADDRESS, 0)).unwrap();
    let mut dice = Dice(0x5eed_5eed);
    let mut sockets = Vec::new();
    for round in 0..2_000 {
        let mut datagram = INVITE.as_bytes().to_vec();
        datagram.truncate(1 + dice.roll(datagram.len()));
        for _ in 0..dice.roll(8) {
            let at = dice.roll(datagram.len());
            datagram[at] = u8::try_from(dice.roll(256)).unwrap();
        }
        socket.send_to(&datagram, talk.house.sip()).ok();
        let noise: Vec<u8> = (0..dice.roll(300))
            .map(|_| u8::try_from(dice.roll(256)).unwrap())
            .collect();
        if round % 100 == 0 {
            sockets = talk.house.udp_sockets();
            assert!(sockets.len() >= 3, "SIP, RTP and Telegram: {sockets:?}");
        }
        for &to in &sockets {
            let from = if to.ip().is_loopback() {
                &socket
            } else {
                &media
            };
            from.send_to(&noise, to).ok();
        }
        if round % 200 == 0 {
            talk.house
                .sipp(&format!("options-{round}"))
                .limit(s(5))
                .run("options")
                .expect_ok();
        }
    }
    assert!(!talk.phone.has("CALL_CLOSED"), "the call has ended");
    let played = talk.house.metrics().sum_of(
        "strowger_rtp_packets_total",
        &[("leg", "sip"), ("direction", "in")],
    );
    talk.house.wait_metric_above(
        "strowger_rtp_packets_total",
        &[("leg", "sip"), ("direction", "in")],
        played + 50.0,
    );
    let dropped = talk.house.metrics().sum("strowger_sip_parse_errors_total");
    assert!(
        dropped > 100.0,
        "only {dropped} datagrams were found malformed"
    );
    let house = talk.end(Ends::Telegram);
    assert!((house.metrics().sum("strowger_panics_total")).abs() < 0.1);
}

#[test]
fn a_call_outlives_the_connection_to_telegram() {
    let mut talk = Talk::start(Caller::Pbx, "9.0.0", ALAW);
    talk.house.telegram.http().post(
        "/connections/drop",
        &serde_json::json!({"account": SESSION}),
    );
    talk.house.wait_metric_above(
        "strowger_telegram_reconnects_total",
        &[("session", SESSION)],
        0.5,
    );
    talk.house.wait_session_up();
    assert!(!talk.phone.has("CALL_CLOSED"), "the call has ended");
    talk.end(Ends::Pbx);
}

/// RTP that looks like that of the PBX, from elsewhere, sprayed at the port of the switch (SEC-M1, SEC-M2).
#[test]
fn a_stranger_who_sprays_rtp_is_neither_heard_nor_answered() {
    let mut house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port());
    let pbx = pbx.to(house.sip()).number("bobby").pause(s(9)).echo();
    let pbx = pbx.start("uac");
    let media = until("the answer", s(15), || {
        let answer = pbx
            .messages()
            .into_iter()
            .find(|m| !m.sent && m.text.contains("m=audio"))?;
        let line = answer
            .text
            .lines()
            .find(|line| line.starts_with("m=audio"))?
            .to_owned();
        line.split(' ').nth(1)?.parse::<u16>().ok()
    });
    // From another host, and from the PBX's own at another port.
    let sprayers = ["127.0.0.2:0", "127.0.0.1:0"].map(|from| {
        let socket = UdpSocket::bind(from).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    });
    // They may begin only when the PBX has been heard.
    let labels = [("leg", "sip"), ("direction", "in")];
    house.wait_metric_above("strowger_rtp_packets_total", &labels, 20.0);
    for sequence in 0..200_u16 {
        for (socket, ssrc) in sprayers.iter().zip([1_u32, 2]) {
            let mut packet = vec![0x80, 8];
            packet.extend(sequence.to_be_bytes());
            packet.extend((u32::from(sequence) * 160).to_be_bytes());
            packet.extend(ssrc.to_be_bytes());
            // As loud as A-law can be.
            packet.extend([0x2a_u8, 0xaa].repeat(80));
            socket.send_to(&packet, ("127.0.0.1", media)).unwrap();
        }
        // As fast as four callers speak.
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let dropped = [("leg", "sip"), ("reason", "bad_source")];
    house.wait_metric_above("strowger_rtp_packets_discarded_total", &dropped, 399.0);
    for socket in &sprayers {
        let mut answer = [0; 256];
        assert!(
            socket.recv(&mut answer).is_err(),
            "the stranger was answered"
        );
    }
    talker.wait_heard(s(10));
    pbx.wait(s(20)).expect_ok();
    talker.finish();
    house.assert_clean(&[]);
}
