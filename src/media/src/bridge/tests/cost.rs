//! What 20 ms of a call cost, beside what libopus alone costs: `cargo test -p media --release -- --ignored --nocapture`.

use super::*;
use crate::codec::OPUS_SILENCE;
use crate::plain::{PlainConfig, PlainRtp, Remote};
use crate::rtp::RtpPacket;
use crate::transport::{Transport, TransportOutput};

/// Speech-like: two tones that come and go.
fn speech(rate: u32, length: Duration) -> Vec<i16> {
    let count = rate as usize * length.as_millis() as usize / 1000;
    let (a, b) = (sine(rate, 310.0, count), sine(rate, 1130.0, count));
    let envelope = sine(rate, 0.7, count);
    let mixed = a.iter().zip(&b).zip(&envelope);
    mixed
        .map(|((a, b), e)| {
            ((i32::from(*a) + i32::from(*b) / 2) * i32::from(e.abs()) / 8000).clamp(-32_000, 32_000)
        })
        .map(|sample| i16::try_from(sample).unwrap())
        .collect()
}

#[allow(clippy::disallowed_methods, reason = "the one test about real time")]
fn measured(frames: u32, work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64() * 1e6 / f64::from(frames)
}

fn stream(audio: LegAudio, frame: u32, pcm: &[i16]) -> Vec<RtpIn> {
    let rate = audio.codec.clock_rate();
    let step = (rate / 1000 * frame) as usize;
    let mut encoder = Encoder::new(audio.codec, rate).unwrap();
    let mut payload = Vec::new();
    pcm.chunks_exact(step)
        .zip(0_u32..)
        .map(|(samples, n)| {
            encoder.encode(samples, &mut payload);
            let payload = Bytes::copy_from_slice(&payload);
            let timestamp = n * rate / 1000 * frame;
            RtpIn {
                payload_type: audio.payload_type,
                sequence: n.into(),
                timestamp,
                marker: false,
                payload,
            }
        })
        .collect()
}

#[test]
#[ignore = "a measurement"]
fn cost_of_20_ms_each_way() {
    const FRAMES: u32 = 3000;
    let length = MS * 20 * FRAMES;
    let (pbx, user) = (sip(Codec::Alaw, 20), telegram(20));
    let (up, down) = (
        stream(pbx, 20, &speech(8000, length)),
        stream(user, 20, &speech(48_000, length)),
    );
    let long = stream(user, 60, &speech(48_000, length));

    let mut encoder = Encoder::new(Codec::Opus, 8000).unwrap();
    let mut out = Vec::new();
    let pcm = speech(8000, length);
    let encode = measured(FRAMES, || {
        pcm.chunks_exact(160)
            .for_each(|frame| encoder.encode(frame, &mut out));
    });
    let mut decoder = Decoder::new(Codec::Opus, 8000).unwrap();
    let mut heard = Pcm::default();
    let decode = measured(FRAMES, || {
        for packet in &down {
            decoder.decode(&packet.payload, &mut heard);
            heard.clear();
        }
    });

    let mut bench = Bench::new(pbx, user);
    let to_telegram = measured(FRAMES, || {
        for packet in &up {
            bench.bridge.handle_rtp(bench.now, SIP, packet);
            while !matches!(bench.bridge.poll_output(), BridgeOutput::Timeout(_)) {}
            bench.now += MS * 20;
        }
    });
    let run = |stream: &[RtpIn], every: u32| {
        let mut bench = Bench::new(pbx, user);
        bench.say(TELEGRAM, stream.to_vec(), steady(every));
        bench.sent.reserve(FRAMES as usize + 10);
        let cost = measured(FRAMES, || bench.advance(length));
        (cost, bench.stats(TELEGRAM))
    };
    let (to_sip, _) = run(&down, 20);
    let (to_sip_long, _) = run(&long, 60);
    let mut idle = Bench::new(pbx, user);
    let silence = measured(FRAMES, || idle.advance(length));

    let remote = Remote {
        rtp: "127.0.0.1:4000".parse().unwrap(),
        rtcp: None,
        signalling: "127.0.0.1".parse().unwrap(),
    };
    let mut plain = PlainRtp::new(idle.now, PlainConfig::default(), pbx, Some(remote), 1);
    let mut datagram = vec![0; 172];
    let packet = RtpOut {
        payload_type: 8,
        timestamp: 0,
        marker: false,
        payload: Bytes::from_static(&OPUS_SILENCE),
    };
    let transport = measured(FRAMES, || {
        for n in 0..FRAMES {
            let sequence = u16::try_from(n).unwrap();
            let header = RtpPacket {
                payload_type: 8,
                sequence,
                timestamp: n * 160,
                ssrc: 1,
                marker: false,
                payload: &[],
            };
            datagram[..12].copy_from_slice(&header.header());
            plain.handle_datagram(idle.now, remote.rtp, &datagram);
            plain.send(idle.now, &packet);
            while !matches!(plain.poll_output(), TransportOutput::Timeout(_)) {}
        }
    });

    println!("libopus alone: encode {encode:.1} us, decode {decode:.1} us");
    println!("SIP to Telegram: {to_telegram:.1} us");
    println!(
        "Telegram to SIP: {to_sip:.1} us, in 60 ms packets {to_sip_long:.1} us, while silent {silence:.2} us"
    );
    println!("plain RTP, one packet each way: {transport:.2} us");
    assert!(to_telegram + to_sip < (encode + decode) * 1.4);
}
