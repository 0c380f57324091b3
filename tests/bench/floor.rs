//! The floor: what libopus alone needs for a call, on this machine, now.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use opus::{Application, Bitrate, Channels, Decoder, Encoder};

use crate::proc;
use crate::signal::{self, NARROW, WIDE, samples};

/// Frames of 20 ms in a second.
const STEPS: usize = 50;
/// A packet of G.711: the header of RTP and 20 ms.
const PCMA_PACKET: usize = 12 + 160;
/// Audio that one measurement takes through the codec, in rounds of the signal: a minute.
const ROUNDS: u32 = 60_000 / signal::LOOP_MS;

/// CPU-seconds for each minute of a call.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Floor {
    pub(crate) encode: f64,
    pub(crate) decode: f64,
}

impl Floor {
    pub(crate) fn sum(self) -> f64 {
        self.encode + self.decode
    }

    pub(crate) fn mean(self, other: Self) -> Self {
        Self {
            encode: f64::midpoint(self.encode, other.encode),
            decode: f64::midpoint(self.decode, other.decode),
        }
    }
}

/// Encodes a minute as the switch does for a G.711 leg, and decodes at 8 kHz a minute of what the Telegram peer sends: one
/// encoder and one decoder, all in the cache. CPU time of the thread; the better of three goes.
pub(crate) fn measure(frame_ms: u32) -> Floor {
    let speech = signal::make(NARROW);
    let packets = wide_packets(frame_ms);
    let best = |work: &mut dyn FnMut()| {
        (0..3)
            .map(|_| {
                let before = proc::thread_cpu();
                work();
                proc::thread_cpu() - before
            })
            .fold(f64::INFINITY, f64::min)
    };
    let mut encoder = narrow_encoder();
    let mut out = [0; 1275];
    let encode = best(&mut || {
        for _ in 0..ROUNDS {
            for frame in speech.chunks_exact(samples(NARROW, 20)) {
                encoder.encode(frame, &mut out).unwrap();
            }
        }
    });
    let mut decoder = Decoder::new(NARROW, Channels::Mono).unwrap();
    let mut pcm = [0; 960];
    let decode = best(&mut || {
        for _ in 0..ROUNDS {
            for packet in &packets {
                decoder.decode(packet, &mut pcm, false).unwrap();
            }
        }
    });
    Floor { encode, decode }
}

/// The same work at the pace of so many calls: every 20 ms one frame of each, one after the other, then sleep until the next.
/// No transcoder in real time can spend less. CPU time of the thread, CPU-seconds for each minute of a call, one figure a
/// second.
pub(crate) fn in_step(calls: usize, frame_ms: u32, seconds: usize) -> Vec<f64> {
    paced(calls, frame_ms, seconds, &[])
}

/// The same again, and each packet comes and goes by UDP on loopback: what is left to a switch that does nothing but its codecs
/// and its system calls, without RTP, SRTP, a jitter buffer or anybody to tell one packet from another. The other ends are
/// a thread that looks at its sockets by a beat, as the peers do.
pub(crate) fn with_packets(calls: usize, frame_ms: u32, seconds: usize) -> Vec<f64> {
    let (near, far): (Vec<Ends>, Vec<Ends>) = (0..calls).map(|_| Ends::pair()).unzip();
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let peer = thread::spawn(move || answer(&far, frame_ms, &over));
    let figures = paced(calls, frame_ms, seconds, &near);
    is_over.store(true, Ordering::Relaxed);
    let (sent, back) = peer.join().unwrap();
    assert!(
        back * 10 > sent * 9,
        "{sent} packets were sent to the floor, {back} came back"
    );
    figures
}

/// The sockets of a call.
struct Ends {
    sip: UdpSocket,
    telegram: UdpSocket,
}

impl Ends {
    /// Ours and those of the peers.
    fn pair() -> (Self, Self) {
        let ((sip, phone), (telegram, user)) = (connected(), connected());
        let far = Self {
            sip: phone,
            telegram: user,
        };
        (Self { sip, telegram }, far)
    }
}

fn connected() -> (UdpSocket, UdpSocket) {
    let open = || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    };
    let (one, other) = (open(), open());
    one.connect(other.local_addr().unwrap()).unwrap();
    other.connect(one.local_addr().unwrap()).unwrap();
    (one, other)
}

/// Sends on all calls what their peers would send, until it is over; how many packets of the PBX, and how many came back to it.
fn answer(ends: &[Ends], frame_ms: u32, is_over: &AtomicBool) -> (usize, usize) {
    let packets = wide_packets(frame_ms);
    let (began, mut buffer) = (Instant::now(), [0; 2048]);
    let mut done = vec![0; ends.len()];
    let (mut sent, mut back) = (0, 0);
    while !is_over.load(Ordering::Relaxed) {
        for (n, (ends, done)) in ends.iter().zip(&mut done).enumerate() {
            while ends.telegram.recv(&mut buffer).is_ok() {}
            while ends.sip.recv(&mut buffer).is_ok() {
                back += 1;
            }
            let since = began.elapsed() + Duration::from_millis(7) * n as u32;
            let frames = since.as_millis() as usize / 20;
            if *done < frames {
                *done = frames;
                sent += 1;
                ends.sip.send(&[0; PCMA_PACKET]).unwrap();
                let in_packet = frame_ms as usize / 20;
                if frames.is_multiple_of(in_packet) {
                    let packet = &packets[frames / in_packet % packets.len()];
                    ends.telegram.send(packet).unwrap();
                }
            }
        }
        thread::sleep(crate::beat::BEAT);
    }
    (sent, back)
}

/// Where there are sockets, packets are received and sent besides.
fn paced(calls: usize, frame_ms: u32, seconds: usize, ends: &[Ends]) -> Vec<f64> {
    let speech = signal::make(NARROW);
    let frames: Vec<&[i16]> = speech.chunks_exact(samples(NARROW, 20)).collect();
    let packets = wide_packets(frame_ms);
    let mut codecs: Vec<(Encoder, Decoder)> = (0..calls)
        .map(|_| {
            let decoder = Decoder::new(NARROW, Channels::Mono).unwrap();
            (narrow_encoder(), decoder)
        })
        .collect();
    let (mut out, mut pcm, mut buffer) = ([0; 1275], [0; 960], [0; 2048]);
    let (began, mut cpu) = (Instant::now(), proc::thread_cpu());
    let mut figures = Vec::new();
    for step in 0..seconds * STEPS {
        // Every call is at another place of the signal.
        for (n, (encoder, decoder)) in codecs.iter_mut().enumerate() {
            let at = step + n * 7;
            let ends = ends.get(n);
            let frame = frames[at % frames.len()];
            // One that is late is found in the next step.
            let came = ends.filter(|ends| ends.sip.recv(&mut buffer).is_ok());
            let length = encoder.encode(frame, &mut out).unwrap();
            if let Some(ends) = came {
                ends.telegram.send(&out[..length]).unwrap();
                ends.sip.send(&[0; PCMA_PACKET]).unwrap();
            }
            let in_packet = frame_ms as usize / 20;
            if at.is_multiple_of(in_packet) {
                if let Some(ends) = ends {
                    let _ = ends.telegram.recv(&mut buffer);
                }
                let packet = &packets[at / in_packet % packets.len()];
                decoder.decode(packet, &mut pcm, false).unwrap();
            }
        }
        let next = began + Duration::from_millis(20) * (step + 1) as u32;
        thread::sleep(next.saturating_duration_since(Instant::now()));
        if (step + 1).is_multiple_of(STEPS) {
            let now = proc::thread_cpu();
            figures.push((now - cpu) * 60.0 / calls as f64);
            cpu = now;
        }
    }
    figures
}

/// The delay of the codec itself, ms: where the chirps come out of encoder and decoder when nothing is between them.
pub(crate) fn codec_delay() -> f64 {
    let speech = signal::make(NARROW);
    let mut encoder = narrow_encoder();
    let mut decoder = Decoder::new(NARROW, Channels::Mono).unwrap();
    let mut heard = Vec::new();
    let mut pcm = [0; 960];
    for frame in speech.chunks_exact(samples(NARROW, 20)) {
        let packet = encoder.encode_vec(frame, 1275).unwrap();
        let count = decoder.decode(&packet, &mut pcm, false).unwrap();
        heard.extend_from_slice(&pcm[..count]);
    }
    let period = samples(NARROW, signal::PERIOD_MS);
    let mut late: Vec<usize> = signal::find(&heard).iter().map(|at| at % period).collect();
    late.sort_unstable();
    late[late.len() / 2] as f64 * 1000.0 / f64::from(NARROW)
}

/// One round of the signal as an official app would send it: Opus at 48 kHz, mono, 32 kbit/s.
pub(crate) fn wide_packets(frame_ms: u32) -> Vec<Bytes> {
    let mut encoder = Encoder::new(WIDE, Channels::Mono, Application::Voip).unwrap();
    encoder.set_bitrate(Bitrate::Bits(32_000)).unwrap();
    encoder.set_complexity(9).unwrap();
    encoder.set_inband_fec(true).unwrap();
    encoder.set_packet_loss_perc(5).unwrap();
    signal::make(WIDE)
        .chunks_exact(samples(WIDE, frame_ms))
        .map(|frame| Bytes::from(encoder.encode_vec(frame, 1275).unwrap()))
        .collect()
}

/// An encoder set as the switch sets its own (`src/media/src/codec.rs`).
fn narrow_encoder() -> Encoder {
    let mut encoder = Encoder::new(NARROW, Channels::Mono, Application::Voip).unwrap();
    encoder.set_bitrate(Bitrate::Bits(16_000)).unwrap();
    encoder.set_complexity(5).unwrap();
    encoder.set_inband_fec(true).unwrap();
    encoder.set_packet_loss_perc(10).unwrap();
    encoder.set_dtx(false).unwrap();
    encoder
}

/// Prints the floor and nothing else.
pub(crate) fn show(frame_ms: u32) {
    let began = Instant::now();
    let floor = measure(frame_ms);
    println!(
        "libopus alone: {:.4} CPU-s per call-minute (encode {:.4}, decode {:.4} of {frame_ms} ms frames), codec delay {:.1} ms; measured in {:.1} s",
        floor.sum(),
        floor.encode,
        floor.decode,
        codec_delay(),
        began.elapsed().as_secs_f64()
    );
}
