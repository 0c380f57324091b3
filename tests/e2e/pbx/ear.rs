//! An ear on the wire: a PBX's RTP port that says back what it hears, and remembers when each packet came.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::deadline::{s, until};
use crate::ports;

/// How often the thread looks whether it is wanted.
const LOOK: Duration = Duration::from_millis(50);

/// A packet: when it came, and its sequence number (RFC 3550 5.1).
#[derive(Debug, Clone, Copy)]
struct Packet {
    at: Instant,
    sequence: u16,
}

/// What was heard in a span of time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    /// How many packets came.
    pub(crate) packets: usize,
    /// The longest time without any.
    pub(crate) pause: Duration,
    /// How many were sent between those that came, and did not come in order.
    pub(crate) lost: usize,
}

/// The port; closed when dropped.
#[derive(Debug)]
pub(crate) struct Ear {
    port: u16,
    packets: Arc<Mutex<Vec<Packet>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ear {
    /// On a port of its own.
    pub(crate) fn open() -> Self {
        let port = ports::block(2);
        let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(LOOK)).unwrap();
        let packets = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let thread = {
            let (packets, over) = (Arc::clone(&packets), Arc::clone(&over));
            thread::spawn(move || listen(&socket, &packets, &over))
        };
        Self {
            port,
            packets,
            over,
            thread: Some(thread),
        }
    }

    /// Where it listens, on loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What was heard between two moments, their edges included.
    pub(crate) fn heard(&self, from: Instant, to: Instant) -> Heard {
        let packets = self.packets.lock().unwrap();
        let within = packets.iter().filter(|p| (from..=to).contains(&p.at));
        let within: Vec<Packet> = within.copied().collect();
        let moments = within.iter().map(|packet| packet.at);
        let moments: Vec<Instant> = [from].into_iter().chain(moments).chain([to]).collect();
        let pauses = moments.windows(2).map(|pair| pair[1] - pair[0]);
        let steps = within.windows(2);
        let steps = steps.map(|pair| pair[1].sequence.wrapping_sub(pair[0].sequence));
        Heard {
            packets: within.len(),
            pause: pauses.max().unwrap_or_default(),
            lost: steps.map(|step| usize::from(step.wrapping_sub(1))).sum(),
        }
    }

    /// Waits until something was heard this long after a moment.
    pub(crate) fn wait_heard_until(&self, moment: Instant) {
        let limit = moment.saturating_duration_since(Instant::now()) + s(15);
        until("a packet later on", limit, || {
            let packets = self.packets.lock().unwrap();
            packets.last().is_some_and(|p| p.at >= moment).then_some(())
        });
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn listen(socket: &UdpSocket, packets: &Mutex<Vec<Packet>>, over: &AtomicBool) {
    let mut room = [0; 2048];
    while !over.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut room) else {
            continue;
        };
        let at = Instant::now();
        // RTP of version 2 with a whole header; RTCP has a port of its own.
        if length < 12 || room[0] >> 6 != 2 {
            continue;
        }
        let sequence = u16::from_be_bytes([room[2], room[3]]);
        packets.lock().unwrap().push(Packet { at, sequence });
        socket.send_to(&room[..length], from).ok();
    }
}

#[test]
fn pauses_and_losses_are_heard() {
    let ear = Ear::open();
    let speaker = UdpSocket::bind("127.0.0.1:0").unwrap();
    let say = |sequence: u8| {
        let mut packet = [0; 12];
        packet[0] = 0x80;
        packet[3] = sequence;
        speaker.send_to(&packet, ("127.0.0.1", ear.port())).unwrap();
    };
    let began = Instant::now();
    say(1);
    say(2);
    ear.wait_heard_until(began);
    // Nothing is waited for: the pause is the point.
    thread::sleep(Duration::from_millis(120));
    let later = Instant::now();
    say(5);
    ear.wait_heard_until(later);
    let heard = ear.heard(began, Instant::now());
    assert_eq!((heard.packets, heard.lost), (3, 2), "{heard:?}");
    assert!(heard.pause >= Duration::from_millis(100), "{heard:?}");
    assert_eq!(ear.heard(later, Instant::now()).packets, 1);
}
