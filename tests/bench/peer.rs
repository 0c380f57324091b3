//! The Telegram users: a process of its own, in which every user has the media of an official app, made by the room
//! `telegram`, on a real UDP socket.
//!
//! It is this same program with the word `peer`. A line of JSON on its standard input says what to do ([`Orders`]); it writes
//! a line for each event. Another line ends the talking, and the answer to it is the report of all calls.

use std::io::{self, BufRead, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::{RtpOut, Transport, TransportEvent, TransportOutput};
use opus::{Channels, Decoder};
use serde::{Deserialize, Serialize};
use telegram::{RtcLimits, RtcTransport};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use crate::beat;
use crate::floor::wide_packets;
use crate::proc::wall;
use crate::signal::{self, NARROW, WIDE, samples};
use crate::signalling::{self, NewCall};
use crate::track::{CallReport, Ear, Track};

/// The word on the command line that makes this program the peer.
pub(crate) const WORD: &str = "peer";
/// Opus (telegram-calls 8.4).
const OPUS: u8 = 111;

/// What the peer is told to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Orders {
    /// The simulator's control API.
    pub(crate) control: String,
    /// The accounts, by the number of their call.
    pub(crate) users: Vec<u64>,
    /// Audio in a packet, ms.
    pub(crate) frame_ms: u32,
    /// Every which call is listened to.
    pub(crate) listen: usize,
    /// The address of its host candidates.
    pub(crate) address: IpAddr,
}

/// What the peer says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Said {
    /// Media of one more call is up; how many are.
    Connected(usize),
    /// When a call had its key, and when its media was up, nanoseconds of the wall clock.
    Up {
        call: usize,
        agreed: u64,
        connected: u64,
    },
    Failed(usize, String),
    Report(Vec<CallReport>),
}

/// Plays all the users until told to stop.
pub(crate) fn play() {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).unwrap();
    let orders: Orders = serde_json::from_str(&line).expect("orders");
    let (stop, stopped) = watch::channel(false);
    thread::spawn(move || {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).ok();
        stop.send_replace(true);
        // The end of the driver is our end, too.
        io::stdin().lock().read_line(&mut line).ok();
        std::process::exit(0);
    });
    beat::runtime().block_on(all(orders, stopped));
}

fn say(what: &Said) {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(what).unwrap()).unwrap();
    out.flush().unwrap();
}

async fn all(orders: Orders, mut stopped: watch::Receiver<bool>) {
    let speech: Arc<[Bytes]> = wide_packets(orders.frame_ms).into();
    let mut calls = signalling::watch(orders.control.clone(), orders.users.clone());
    let connected = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut running = Vec::new();
    loop {
        tokio::select! {
            Some(new) = calls.recv() => {
                let user = User::new(&orders, new, Arc::clone(&speech)).await;
                running.push(tokio::spawn(user.talk(stopped.clone(), Arc::clone(&connected))));
            }
            _ = stopped.changed() => break,
        }
    }
    let mut reports = Vec::new();
    for call in running {
        reports.push(call.await.expect("a Telegram user"));
    }
    say(&Said::Report(reports));
    // The users go on being connected until they are hung up on.
    std::future::pending::<()>().await;
}

struct User {
    index: usize,
    socket: UdpSocket,
    local: SocketAddr,
    transport: RtcTransport,
    wire: signalling::Wire,
    speech: Arc<[Bytes]>,
    frame: Duration,
    frame_ticks: u32,
    /// Where in a frame this user sends, so that not all send at once.
    step: Duration,
    track: Track,
    sent: u64,
    said: Vec<u64>,
    /// When the key was there, nanoseconds of the wall clock.
    agreed: u64,
    /// Since when media can flow.
    since: Option<Instant>,
    failed: bool,
}

impl User {
    async fn new(orders: &Orders, call: NewCall, speech: Arc<[Bytes]>) -> Self {
        let socket = UdpSocket::bind((orders.address, 0)).await.unwrap();
        let local = socket.local_addr().unwrap();
        let mut seed = [0; 32];
        std::fs::File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(&mut seed))
            .unwrap();
        let limits = RtcLimits::default();
        let transport = RtcTransport::new(Instant::now(), &call.start, local, limits, seed);
        let frame = Duration::from_millis(orders.frame_ms.into());
        Self {
            index: call.index,
            socket,
            local,
            transport,
            wire: call.wire,
            speech,
            frame,
            frame_ticks: samples(WIDE, orders.frame_ms) as u32,
            step: frame / orders.users.len() as u32 * call.index as u32,
            track: Track::new(call.index.is_multiple_of(orders.listen)),
            sent: 0,
            said: Vec::new(),
            agreed: call.agreed,
            since: None,
            failed: false,
        }
    }

    async fn talk(
        mut self,
        mut stopped: watch::Receiver<bool>,
        connected: Arc<std::sync::atomic::AtomicUsize>,
    ) -> CallReport {
        let mut buffer = vec![0; 2048];
        let mut due = None;
        loop {
            let deadline = self.drain();
            if self.failed || *stopped.borrow_and_update() {
                break;
            }
            if due.is_none() && self.since.is_some() {
                let count = connected.fetch_add(1, Ordering::Relaxed) + 1;
                say(&Said::Connected(count));
                due = Some(Instant::now() + self.step);
            }
            let is_over = self
                .since
                .is_some_and(|since| since.elapsed() > Duration::from_secs(3));
            self.wire.settled.store(is_over, Ordering::Relaxed);
            let next = [deadline, due].into_iter().flatten().min();
            let next = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(1));
            tokio::select! {
                biased;
                () = sleep_until(next.into()) => {
                    let now = Instant::now();
                    if let Some(at) = due.filter(|at| *at <= now) {
                        due = Some(at + self.frame);
                        self.speak(now);
                    } else {
                        self.transport.handle_timeout(now);
                    }
                }
                Ok((length, source)) = self.socket.recv_from(&mut buffer) => {
                    self.transport.handle_datagram(Instant::now(), source, &buffer[..length]);
                }
                Some(bytes) = self.wire.incoming.recv() => {
                    self.transport.signal(Instant::now(), &bytes);
                }
                _ = stopped.changed() => {}
            }
        }
        self.finish()
    }

    /// Carries out what the transport wants; returns when it wants to be called.
    fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.transport.poll_output() {
                TransportOutput::Transmit { target, bytes }
                | TransportOutput::TransmitRtcp { target, bytes } => {
                    if self.socket.try_send_to(&bytes, target).is_err() {
                        eprintln!("call {}: {} could not send", self.index, self.local);
                    }
                }
                TransportOutput::Rtp(packet) => {
                    self.track.take(wall(), packet.sequence, &packet.payload);
                }
                TransportOutput::Event(event) => self.on_event(event),
                TransportOutput::Timeout(at) => return at,
            }
        }
    }

    fn on_event(&mut self, event: TransportEvent) {
        match event {
            TransportEvent::Connected => {
                self.since = Some(Instant::now());
                say(&Said::Up {
                    call: self.index,
                    agreed: self.agreed,
                    connected: wall(),
                });
            }
            TransportEvent::Signal(bytes) => {
                self.wire.out.send(bytes).ok();
            }
            TransportEvent::Failed(why) => {
                self.failed = true;
                say(&Said::Failed(self.index, why.to_owned()));
            }
            TransportEvent::Silent { .. }
            | TransportEvent::Reported { .. }
            | TransportEvent::Turned(_)
            | TransportEvent::RemoteMuted(_) => {}
        }
    }

    fn speak(&mut self, now: Instant) {
        let at = self.sent as usize % self.speech.len();
        let packet = RtpOut {
            payload_type: OPUS,
            timestamp: (self.sent as u32).wrapping_mul(self.frame_ticks),
            marker: self.sent == 0,
            payload: self.speech[at].clone(),
        };
        let left = wall();
        self.transport.send(now, &packet);
        let every = u64::from(signal::PERIOD_MS) / self.frame.as_millis() as u64;
        if self.sent.is_multiple_of(every) {
            self.said.push(left);
        }
        self.sent += 1;
    }

    /// Keeps the path open in the background and reports.
    fn finish(mut self) -> CallReport {
        let decoder = Decoder::new(NARROW, Channels::Mono).unwrap();
        let report =
            self.track
                .report(self.index, self.sent, self.said.clone(), Ear::Opus(decoder));
        tokio::spawn(async move {
            let mut buffer = vec![0; 2048];
            while !self.failed {
                let wait = self.drain().map_or(Duration::from_secs(1), |at| {
                    at.duration_since(Instant::now())
                });
                match timeout(wait, self.socket.recv_from(&mut buffer)).await {
                    Ok(Ok((length, source))) => {
                        self.transport
                            .handle_datagram(Instant::now(), source, &buffer[..length]);
                    }
                    Ok(Err(_)) => return,
                    Err(_) => self.transport.handle_timeout(Instant::now()),
                }
            }
        });
        report
    }
}
