//! `testdata/srtp-vectors.json` has RFC 3711 B.2 and B.3, packets of libsrtp's `srtp_validate` (BSD), and others that were
//! computed with an AES of their own; the file may be copied freely.

use model::{SrtpKey, SrtpKeys, SrtpSuite};

use super::*;
use crate::rtp::header_len;
use crate::tests::{hex, testdata};

const SSRC: u32 = 0xcafe_babe;

fn key(suite: SrtpSuite, seed: u8) -> SrtpKey {
    SrtpKey::generate(suite, |room| room.fill(seed))
}

/// The two ends of one direction.
fn ends(suite: SrtpSuite) -> (Sender, Receiver) {
    let key = key(suite, 7);
    (Sender::new(&key).unwrap(), Receiver::new(&key, 0).unwrap())
}

fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let [s0, s1] = sequence.to_be_bytes();
    let mut packet = vec![0x80, 8, s0, s1, 0, 0, 0, 160];
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&[0xd5; 160]);
    packet
}

fn sealed(sender: &mut Sender, ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = rtp(ssrc, sequence);
    sender.seal(&mut packet, 12, ssrc, sequence).unwrap();
    packet
}

fn open(receiver: &mut Receiver, packet: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut into = Vec::new();
    receiver.open(packet, &mut into).map(|()| into)
}

#[test]
fn packets_are_those_of_the_vectors_both_ways() {
    assert_eq!(follow(&testdata("srtp-vectors.json")), 18);
}

/// Seals and opens the packets of a file of vectors; returns how many there are.
pub(crate) fn follow(file: &serde_json::Value) -> usize {
    let mut seen = 0;
    for vector in file["srtp_packets"].as_array().unwrap() {
        let text = |name: &str| hex(vector[name].as_str().unwrap());
        let number = |name: &str| u32::try_from(vector[name].as_u64().unwrap()).unwrap();
        let suite = SrtpSuite::ALL
            .into_iter()
            .find(|suite| vector["suite"] == suite.name())
            .unwrap();
        let octets = [text("master_key"), text("master_salt")].concat();
        let key = SrtpKey::new(suite, &octets).unwrap();
        let (sender, mut receiver) = (Sender::new(&key).unwrap(), Receiver::new(&key, 0).unwrap());
        let (mut packet, mut opened);
        if vector["rtcp"].is_string() {
            packet = text("rtcp");
            let ssrc = u32::from_be_bytes(packet[4..8].try_into().unwrap());
            let mut sender = sender.at(0, number("srtcp_index"));
            sender.seal_rtcp(&mut packet, ssrc).unwrap();
            assert_eq!(packet, text("srtcp"), "{vector}");
            opened = Vec::new();
            receiver.open_rtcp(&packet, &mut opened).unwrap();
            assert_eq!(opened, text("rtcp"), "{vector}");
        } else {
            packet = text("rtp");
            let ssrc = u32::from_be_bytes(packet[8..12].try_into().unwrap());
            let sequence = u16::from_be_bytes(packet[2..4].try_into().unwrap());
            let roc = number("roc");
            let header = header_len(&packet).unwrap();
            let mut sender = sender.at(roc, 0);
            sender.seal(&mut packet, header, ssrc, sequence).unwrap();
            assert_eq!(packet, text("srtp"), "{vector}");
            if roc > 0 {
                // The packet before, perhaps on the other side of the wrap.
                let index = u64::from(roc) << 16 | u64::from(sequence);
                receiver.heard(ssrc, index - 1);
            }
            opened = open(&mut receiver, &packet).unwrap();
            assert_eq!(opened, text("rtp"), "{vector}");
        }
        seen += 1;
    }
    seen
}

#[test]
fn the_negative_vectors_are_dropped() {
    let file = testdata("srtp-vectors.json");
    let file = &file["srtp_negative"];
    let text = |name: &str| hex(file[name].as_str().unwrap());
    let octets = [text("master_key"), text("master_salt")].concat();
    let key = SrtpKey::new(SrtpSuite::AesCm128HmacSha1_80, &octets).unwrap();
    for case in file["cases"].as_array().unwrap() {
        let mut receiver = Receiver::new(&key, 0).unwrap();
        let mut into = Vec::new();
        if let Some(srtcp) = case["srtcp"].as_str() {
            let result = receiver.open_rtcp(&hex(srtcp), &mut into);
            assert_eq!(result, Err(Refused::Unauthentic), "{case}");
            continue;
        }
        let packet = hex(case["srtp"].as_str().unwrap());
        let result = open(&mut receiver, &packet);
        if case["case"] == "replayed" {
            assert!(result.is_ok(), "{case}");
            assert_eq!(open(&mut receiver, &packet), Err(Refused::Replayed));
        } else {
            assert_eq!(result, Err(Refused::Unauthentic), "{case}");
            assert_eq!(receiver.streams(), 0);
        }
    }
}

#[test]
fn what_one_end_seals_the_other_opens_over_three_wraps() {
    for suite in SrtpSuite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        let mut sequence = 30_000_u16;
        for _ in 0..200_000 {
            let packet = sealed(&mut sender, SSRC, sequence);
            assert_eq!(open(&mut receiver, &packet), Ok(rtp(SSRC, sequence)));
            sequence = sequence.wrapping_add(1);
        }
        assert!(format!("{sender:?}").contains("ROC 3"), "{sender:?}");
    }
}

/// A PBX may begin near the wrap and play music before it answers, when nobody listens yet.
#[test]
fn a_stream_is_heard_whose_first_wrap_nobody_heard() {
    for suite in SrtpSuite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        for sequence in 65_000..=65_535 {
            sealed(&mut sender, SSRC, sequence);
        }
        for sequence in 0..500 {
            let packet = sealed(&mut sender, SSRC, sequence);
            if sequence > 400 {
                assert_eq!(open(&mut receiver, &packet), Ok(rtp(SSRC, sequence)));
            }
        }
    }
}

#[test]
fn packets_cross_each_other_at_the_wrap() {
    let (mut sender, mut receiver) = ends(SrtpSuite::AesCm128HmacSha1_80);
    let numbers = [65_533_u16, 65_534, 65_535, 0, 1, 2];
    let packets = numbers.map(|sequence| sealed(&mut sender, SSRC, sequence));
    for at in [0, 3, 1, 5, 2, 4] {
        assert!(open(&mut receiver, &packets[at]).is_ok(), "{}", numbers[at]);
    }
    for packet in &packets {
        assert_eq!(open(&mut receiver, packet), Err(Refused::Replayed));
    }
}

#[test]
fn a_packet_is_heard_once_and_within_128_of_the_newest() {
    for suite in SrtpSuite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        let packets: Vec<Vec<u8>> = (1000..1300).map(|n| sealed(&mut sender, SSRC, n)).collect();
        assert!(open(&mut receiver, &packets[0]).is_ok());
        assert!(open(&mut receiver, &packets[299]).is_ok());
        assert_eq!(open(&mut receiver, &packets[171]), Err(Refused::Replayed));
        assert!(open(&mut receiver, &packets[172]).is_ok());
        assert_eq!(open(&mut receiver, &packets[172]), Err(Refused::Replayed));
        assert_eq!(open(&mut receiver, &packets[299]), Err(Refused::Replayed));
    }
}

#[test]
fn forged_packets_change_nothing_and_are_not_remembered() {
    for suite in SrtpSuite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        open(&mut receiver, &sealed(&mut sender, SSRC, 5)).unwrap();
        for n in 0..10_000_u32 {
            // Of the stream itself, with every number there is, and of others.
            let ssrc = if n % 2 == 0 { SSRC } else { n };
            let mut packet = rtp(ssrc, (n * 7 % 65_536).try_into().unwrap());
            packet.extend_from_slice(&[0; 16]);
            assert_ne!(open(&mut receiver, &packet), Ok(packet.clone()));
            packet[1] = 200;
            let mut into = Vec::new();
            assert!(receiver.open_rtcp(&packet, &mut into).is_err());
        }
        assert_eq!(receiver.streams(), 1);
        assert!(open(&mut receiver, &sealed(&mut sender, SSRC, 6)).is_ok());
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    for suite in SrtpSuite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        let packet = sealed(&mut sender, SSRC, 5);
        for at in 0..packet.len() * 8 {
            let mut bent = packet.clone();
            bent[at / 8] ^= 1 << (at % 8);
            assert_eq!(
                open(&mut receiver, &bent),
                Err(Refused::Unauthentic),
                "{at}"
            );
        }
        for length in 0..packet.len() {
            let short = open(&mut receiver, &packet[..length]);
            assert_eq!(short, Err(Refused::Unauthentic), "{length}");
        }
        assert!(open(&mut receiver, &packet).is_ok());
    }
}

#[test]
fn a_peer_that_begins_many_streams_is_heard_and_the_oldest_forgotten() {
    let (mut sender, mut receiver) = ends(SrtpSuite::AeadAes128Gcm);
    for ssrc in 0..100 {
        assert!(open(&mut receiver, &sealed(&mut sender, ssrc, 9)).is_ok());
    }
    assert_eq!(receiver.streams(), 8);
    assert_eq!(
        open(&mut receiver, &sealed(&mut sender, 99, 9)),
        Err(Refused::Replayed)
    );
}

#[test]
fn reports_are_opened_once_and_never_without_encryption() {
    for suite in SrtpSuite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        let clear = hex("81c8000bcafebabeabababababababababababababababab");
        let mut into = Vec::new();
        for _ in 0..300 {
            let mut packet = clear.clone();
            sender.seal_rtcp(&mut packet, SSRC).unwrap();
            receiver.open_rtcp(&packet, &mut into).unwrap();
            assert_eq!(into, clear);
            assert_eq!(
                receiver.open_rtcp(&packet, &mut into),
                Err(Refused::Replayed)
            );
            for length in 0..packet.len() {
                let short = receiver.open_rtcp(&packet[..length], &mut into);
                assert!(short.is_err(), "{length}");
            }
        }
        let mut open = clear.clone();
        sender.seal_rtcp(&mut open, SSRC).unwrap();
        let at = open.len()
            - if suite == SrtpSuite::AeadAes128Gcm {
                4
            } else {
                14
            };
        open[at] &= 0x7f;
        assert!(receiver.open_rtcp(&open, &mut into).is_err());
        // RFC 3711 s.9.2: the key is worn out.
        let mut sender = sender.at(0, (1 << 31) - 1);
        assert!(sender.seal_rtcp(&mut clear.clone(), SSRC).is_some());
        assert!(sender.seal_rtcp(&mut clear.clone(), SSRC).is_none());
    }
}

#[test]
fn a_key_identifier_is_stepped_over() {
    for suite in SrtpSuite::ALL {
        let key = key(suite, 7);
        let mut sender = Sender::new(&key).unwrap();
        let mut receiver = Receiver::new(&key, 4).unwrap();
        let mut packet = sealed(&mut sender, SSRC, 5);
        let tag = match suite {
            SrtpSuite::AesCm128HmacSha1_80 => 10,
            SrtpSuite::AesCm128HmacSha1_32 => 4,
            SrtpSuite::AeadAes128Gcm => 0,
        };
        let at = packet.len() - tag;
        packet.splice(at..at, [0, 0, 0, 1]);
        assert_eq!(open(&mut receiver, &packet), Ok(rtp(SSRC, 5)));
        let clear = hex("81c8000bcafebabeabababababababababababababababab");
        let mut packet = clear.clone();
        sender.seal_rtcp(&mut packet, SSRC).unwrap();
        let at = packet.len() - if tag == 0 { 0 } else { 10 };
        packet.splice(at..at, [0, 0, 0, 1]);
        let mut into = Vec::new();
        receiver.open_rtcp(&packet, &mut into).unwrap();
        assert_eq!(into, clear);
    }
}

#[test]
fn a_new_key_takes_over_and_the_old_one_is_heard_until_then() {
    let suite = SrtpSuite::AesCm128HmacSha1_80;
    let (old, new, ours) = (key(suite, 1), key(suite, 2), key(suite, 3));
    let keys = |receive: &SrtpKey, send: &SrtpKey| SrtpKeys {
        send: send.clone(),
        receive: receive.clone(),
        mki_len: 0,
    };
    for continues in [false, true] {
        let mut srtp = Srtp::new(&keys(&old, &ours)).unwrap();
        let mut before = Sender::new(&old).unwrap().at(3, 0);
        srtp.receiver.heard(SSRC, 3 << 16 | 9);
        // The same again changes nothing, for both directions.
        assert_eq!(srtp.change(&keys(&old, &ours)), Some(false));
        assert!(open(&mut srtp.receiver, &sealed(&mut before, SSRC, 10)).is_ok());
        assert_eq!(srtp.change(&keys(&new, &ours)), Some(false));
        let on_its_way = sealed(&mut before, SSRC, 11);
        assert!(open(&mut srtp.receiver, &on_its_way).is_ok());
        assert_eq!(
            open(&mut srtp.receiver, &on_its_way),
            Err(Refused::Replayed)
        );
        // RFC 3711 has the ROC go on, most peers begin anew.
        let mut after = Sender::new(&new).unwrap();
        after = if continues { after.at(3, 0) } else { after };
        for sequence in 12..20 {
            let packet = sealed(&mut after, SSRC, sequence);
            assert!(open(&mut srtp.receiver, &packet).is_ok(), "{sequence}");
        }
        let late = sealed(&mut before, SSRC, 12);
        assert_eq!(open(&mut srtp.receiver, &late), Err(Refused::Replayed));
        let late = sealed(&mut before, SSRC, 22);
        assert_eq!(open(&mut srtp.receiver, &late), Err(Refused::Unauthentic));
        assert_eq!(srtp.change(&keys(&new, &old)), Some(true));
    }
}
