//! Streams, packets and tables made to break the media room, each against what its `expected.json` and its own file say.
//! `make torture` prints the figures; `TORTURE=<folder>` runs another folder than that of this room.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use model::{Codec, LegKind};
use serde_json::Value;

use super::{hex, start};
use crate::codec::{Decoder, Encoder};
use crate::dtmf::DtmfReceiver;
use crate::pcm::Pcm;
use crate::rtcp::reports;
use crate::rtp::{RtpPacket, looks_like_rtcp};
use crate::{LegAudio, PlainConfig, PlainRtp, Remote, Transport, TransportOutput};

/// Generous for unoptimised code on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// How many of a hundred must do as expected.
const BAR: usize = 98;
/// Values of the ITU's tool that lie on a decision point of mu-law below zero: both neighbours are as near.
const ON_THE_EDGE: usize = 508;

#[test]
#[allow(clippy::disallowed_methods)] // time is one of the things measured here
fn everything_gets_its_verdict() {
    let folder = std::env::var_os("TORTURE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata"),
        PathBuf::from,
    );
    let index = std::fs::read(folder.join("expected.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let (mut sets, mut all, mut good) = (BTreeMap::new(), 0, 0);
    for entry in index["messages"].as_array().unwrap() {
        let file = entry["file"].as_str().unwrap();
        let kind = entry["kind"].as_str().unwrap();
        let began = Instant::now();
        let judged = catch_unwind(|| judge(&folder, file, kind));
        let in_time = began.elapsed() < TIME_LIMIT;
        let Some(verdict) = judged.unwrap_or(Some(false)) else {
            continue;
        };
        let is_good = verdict && in_time;
        if !is_good {
            println!("  {file}: not as expected");
        }
        let set: &mut (usize, usize) = sets.entry(kind.to_owned()).or_default();
        set.0 += usize::from(is_good);
        set.1 += 1;
        good += usize::from(is_good);
        all += 1;
    }
    for (kind, (good, all)) in sets {
        println!("{kind:<14} media     {good} of {all} as expected");
    }
    assert!(
        good * 100 >= all * BAR,
        "{good} of {all}: fewer than {BAR} of 100"
    );
}

/// Whether a file did as expected; `None` when it is nothing for this room: SIP, a codec we have not.
fn judge(folder: &Path, file: &str, kind: &str) -> Option<bool> {
    let bytes = std::fs::read(folder.join(file)).unwrap();
    let json = || -> Value { serde_json::from_slice(&bytes).unwrap() };
    match kind {
        "rtp-events" => Some(hears_each_press_once(&json())),
        "rtp-bad" => Some(is_dropped(&json())),
        "rtp" | "rtcp" | "stun" => {
            harmless(&bytes);
            Some(true)
        }
        "vectors" if file.ends_with("g711-tables.json") => Some(follows_tables(&json())),
        "vectors" if file.ends_with("srtp-vectors.json") => {
            Some(crate::srtp::tests::follow(&json()) > 0)
        }
        "vectors" => vector(folder, file),
        _ => None,
    }
}

fn hears_each_press_once(stream: &Value) -> bool {
    let mut receiver = DtmfReceiver::default();
    let mut heard = String::new();
    for packet in stream["packets_ms_hex"].as_array().unwrap() {
        let bytes = hex(packet[1].as_str().unwrap());
        let packet = RtpPacket::parse(&bytes).unwrap();
        heard.extend(receiver.receive(packet.payload, packet.timestamp, packet.marker));
    }
    let expected = stream["expect_events"].as_array().unwrap().iter();
    let digit = |event: &Value| {
        let event = usize::try_from(event.as_u64().unwrap()).unwrap();
        char::from(b"0123456789*#ABCD"[event])
    };
    heard.chars().eq(expected.map(digit))
}

fn is_dropped(packets: &Value) -> bool {
    assert_eq!(packets["expect"], "drop");
    let mut packets = packets["packets_hex"].as_array().unwrap().iter();
    packets.all(|packet| {
        let bytes = hex(packet.as_str().unwrap());
        harmless(&bytes);
        if looks_like_rtcp(&bytes) {
            return reports(&bytes).next().is_none();
        }
        // What is RTP in good order is an event that is none.
        RtpPacket::parse(&bytes).map_or(true, |packet| {
            let mut receiver = DtmfReceiver::default();
            receiver
                .receive(packet.payload, packet.timestamp, packet.marker)
                .is_none()
        })
    })
}

/// Shows a datagram to both doors of a transport and takes what comes out.
fn harmless(bytes: &[u8]) {
    let now = start();
    let source = "192.0.2.1:4000".parse().unwrap();
    let audio = LegAudio {
        codec: Codec::Alaw,
        payload_type: 8,
        dtmf_payload_type: Some(101),
        received: None,
        dtmf_clock: 8000,
        send_ptime: Duration::from_millis(20),
        kind: LegKind::Sip,
    };
    let remote = Remote {
        rtp: source,
        rtcp: None,
        signalling: source.ip(),
    };
    let mut plain = PlainRtp::new(now, PlainConfig::default(), audio, Some(remote), 1);
    plain.handle_datagram(now, source, bytes);
    plain.handle_rtcp(now, source, bytes);
    plain.handle_timeout(now + Duration::from_secs(6));
    while !matches!(plain.poll_output(), TransportOutput::Timeout(_)) {}
}

fn decoded(codec: Codec, octets: &[u8]) -> Vec<i16> {
    let mut pcm = Pcm::default();
    let mut decoder = Decoder::new(codec, codec.sample_rate()).unwrap();
    let mut samples = Vec::new();
    for piece in octets.chunks(160) {
        decoder.decode(piece, &mut pcm);
        samples.extend_from_slice(pcm.all());
        pcm.clear();
    }
    samples
}

fn encoded(codec: Codec, samples: &[i16]) -> Vec<u8> {
    let mut encoder = Encoder::new(codec, codec.sample_rate()).unwrap();
    let (mut all, mut octets) = (Vec::new(), Vec::new());
    for piece in samples.chunks(160) {
        octets.clear();
        encoder.encode(piece, &mut octets);
        all.extend_from_slice(&octets);
    }
    all
}

/// The decoding tables; `codec::tests` also has the digests of all that can be encoded.
fn follows_tables(tables: &Value) -> bool {
    let laws = [(Codec::Alaw, "alaw"), (Codec::Mulaw, "ulaw")];
    laws.into_iter().all(|(codec, name)| {
        let octets: Vec<u8> = (0..=255).collect();
        let table = tables[format!("{name}_to_linear")].as_array().unwrap();
        let ours = decoded(codec, &octets);
        let theirs = table.iter().map(Value::as_i64);
        let again = encoded(codec, &ours);
        // What is decoded is encoded the same, but for the second zero of mu-law.
        theirs.eq(ours.iter().map(|sample| Some(i64::from(*sample))))
            && again
                .iter()
                .zip(&octets)
                .all(|(a, b)| a == b || (*a, *b) == (0xff, 0x7f))
    })
}

/// One file of the ITU's test vectors: 16-bit words, compressed.
fn vector(folder: &Path, file: &str) -> Option<bool> {
    let (place, name) = file.rsplit_once('/')?;
    if !place.ends_with("g711-itu-stl") {
        return None;
    }
    let read = |name: &str| words(&folder.join(place).join(name));
    let octets = |name: &str| -> Vec<u8> {
        let words = read(name);
        words.iter().map(|word| word.to_le_bytes()[0]).collect()
    };
    let source = read("sweep.src.gz");
    let differ = |codec| {
        let (ours, theirs) = (encoded(codec, &source), octets(name));
        assert_eq!(ours.len(), theirs.len());
        ours.iter().zip(&theirs).filter(|(a, b)| a != b).count()
    };
    Some(match name {
        "sweep.src.gz" => source.len() == 65_536,
        "sweep-r.a.gz" => differ(Codec::Alaw) == 0,
        "sweep-r.u.gz" => differ(Codec::Mulaw) <= ON_THE_EDGE,
        "sweep-r.rea.gz" => decoded(Codec::Alaw, &octets("sweep-r.a.gz")) == read(name),
        "sweep-r.reu.gz" => decoded(Codec::Mulaw, &octets("sweep-r.u.gz")) == read(name),
        _ => return None,
    })
}

fn words(file: &Path) -> Vec<i16> {
    let output = Command::new("gzip").arg("-dc").arg(file).output().unwrap();
    assert!(output.status.success());
    let pairs = output.stdout.chunks_exact(2);
    pairs
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}
