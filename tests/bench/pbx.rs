//! The PBX: places the calls by SIP over UDP and talks on them in A-law, 50 packets a second each.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::dialog::{Dialog, Message};
use crate::proc::wall;
use crate::signal::{self, NARROW, samples};
use crate::track::{CallReport, Ear, Track};

const FRAME: Duration = Duration::from_millis(20);
const FRAME_SAMPLES: usize = 160;
const ALAW: u8 = 8;
/// A call must be answered within this.
const ANSWER: Duration = Duration::from_secs(30);

/// What the calls do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Talk,
    /// Listen only, until what is on its way has arrived.
    Hush,
    HangUp,
}

/// The calls of one run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The address of this PBX, known to the switch.
    pub(crate) local: SocketAddr,
    pub(crate) switch: SocketAddr,
    /// Whom each call is for.
    pub(crate) users: Vec<String>,
    /// Every which call is listened to.
    pub(crate) listen: usize,
    /// From one call to the next.
    pub(crate) pace: Duration,
}

/// A PBX at work, in a thread of its own.
#[derive(Debug)]
pub(crate) struct Pbx {
    thread: JoinHandle<Vec<CallReport>>,
    phase: watch::Sender<Phase>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    talking: AtomicUsize,
    faults: Mutex<Vec<String>>,
    set_up_ms: Mutex<Vec<f64>>,
}

impl Shared {
    fn fault(&self, call: usize, what: impl std::fmt::Display) {
        self.faults
            .lock()
            .unwrap()
            .push(format!("call {call}: {what}"));
    }
}

impl Pbx {
    /// Starts dialling.
    pub(crate) fn start(plan: Plan) -> Self {
        let (phase, watched) = watch::channel(Phase::Talk);
        let shared = Arc::new(Shared::default());
        let inner = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("pbx".into())
            .spawn(move || crate::beat::runtime().block_on(run(plan, watched, inner)))
            .unwrap();
        Self {
            thread,
            phase,
            shared,
        }
    }

    /// Calls that were answered.
    pub(crate) fn talking(&self) -> usize {
        self.shared.talking.load(Ordering::Relaxed)
    }

    /// What went wrong so far.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.shared.faults.lock().unwrap().clone()
    }

    /// From INVITE to 200 of each call, ms.
    pub(crate) fn set_up_ms(&self) -> Vec<f64> {
        self.shared.set_up_ms.lock().unwrap().clone()
    }

    /// Sends no more audio.
    pub(crate) fn hush(&self) {
        self.phase.send_replace(Phase::Hush);
    }

    /// Hangs up everywhere and tells what was.
    pub(crate) fn hang_up(self) -> Vec<CallReport> {
        self.phase.send_replace(Phase::HangUp);
        self.thread.join().expect("the PBX")
    }
}

async fn run(plan: Plan, phase: watch::Receiver<Phase>, shared: Arc<Shared>) -> Vec<CallReport> {
    let socket = Arc::new(UdpSocket::bind(plan.local).await.unwrap());
    let speech: Arc<[u8]> = signal::make(NARROW)
        .into_iter()
        .map(signal::to_alaw)
        .collect();
    let mut doors = HashMap::new();
    let mut calls = Vec::new();
    for (index, user) in plan.users.iter().enumerate() {
        let (door, letters) = mpsc::unbounded_channel();
        let dialog = Dialog::new(index, plan.local, plan.switch, user);
        doors.insert(dialog.call_id().to_owned(), door);
        let call = Call {
            index,
            dialog,
            letters,
            sip: Arc::clone(&socket),
            switch: plan.switch,
            speech: Arc::clone(&speech),
            shared: Arc::clone(&shared),
            phase: phase.clone(),
            step: FRAME / plan.users.len() as u32 * index as u32,
            track: Track::new(index % plan.listen == 0),
            sent: 0,
            said: Vec::new(),
        };
        let starts = Instant::now() + plan.pace * index as u32;
        calls.push(tokio::spawn(async move {
            sleep_until(starts).await;
            call.live().await
        }));
    }
    let post = tokio::spawn(deliver(socket, doors));
    let mut reports = Vec::new();
    for call in calls {
        reports.push(call.await.expect("a call of the PBX"));
    }
    post.abort();
    reports
}

/// Brings what arrives to the call it belongs to.
async fn deliver(socket: Arc<UdpSocket>, doors: HashMap<String, mpsc::UnboundedSender<Message>>) {
    let mut buffer = vec![0; 8192];
    loop {
        let Ok((length, source)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let Some(message) = Message::parse(&buffer[..length]) else {
            continue;
        };
        if let Some(answer) = message.answer() {
            socket.send_to(answer.as_bytes(), source).await.ok();
        }
        if let Some(door) = doors.get(message.header("Call-ID").unwrap_or_default()) {
            door.send(message).ok();
        }
    }
}

struct Call {
    index: usize,
    dialog: Dialog,
    letters: mpsc::UnboundedReceiver<Message>,
    sip: Arc<UdpSocket>,
    switch: SocketAddr,
    speech: Arc<[u8]>,
    shared: Arc<Shared>,
    phase: watch::Receiver<Phase>,
    /// Where in the 20 ms this call sends, so that the calls do not send all at once.
    step: Duration,
    track: Track,
    sent: u64,
    said: Vec<u64>,
}

impl Call {
    async fn live(mut self) -> CallReport {
        let rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let began = Instant::now();
        match self.dial(rtp.local_addr().unwrap()).await {
            Ok(remote) => {
                let took = began.elapsed().as_secs_f64() * 1000.0;
                self.shared.set_up_ms.lock().unwrap().push(took);
                self.shared.talking.fetch_add(1, Ordering::Relaxed);
                self.talk(&rtp, remote).await;
                self.hang_up().await;
            }
            Err(why) => self.shared.fault(self.index, why),
        }
        self.track
            .report(self.index, self.sent, self.said, Ear::Alaw)
    }

    /// Sends the INVITE until the switch has it, and waits for the answer.
    async fn dial(&mut self, media: SocketAddr) -> Result<SocketAddr, String> {
        let invite = self.dialog.invite(media);
        let gives_up = Instant::now() + ANSWER;
        let mut has_it = false;
        loop {
            if !has_it {
                self.send(&invite).await;
            }
            if Instant::now() > gives_up {
                return Err("no answer".to_owned());
            }
            let Ok(Some(message)) = timeout(Duration::from_secs(1), self.letters.recv()).await
            else {
                continue;
            };
            has_it = true;
            match message.status() {
                Some(200) => {
                    self.dialog.established(&message);
                    self.send(&self.dialog.ack()).await;
                    return message.media().ok_or_else(|| "200 without SDP".to_owned());
                }
                Some(300..) => {
                    let ack = self.dialog.ack_refusal(&message);
                    self.send(&ack).await;
                    return Err(message.start().to_owned());
                }
                _ => {}
            }
        }
    }

    async fn talk(&mut self, rtp: &UdpSocket, remote: SocketAddr) {
        let mut buffer = [0; 2048];
        let mut due = Instant::now() + self.step;
        let mut packet = vec![0; 12 + FRAME_SAMPLES];
        loop {
            let phase = *self.phase.borrow_and_update();
            if phase == Phase::HangUp {
                return;
            }
            tokio::select! {
                biased;
                () = sleep_until(due), if phase == Phase::Talk => {
                    due += FRAME;
                    self.write(&mut packet);
                    let now = wall();
                    if rtp.try_send_to(&packet, remote).is_err() {
                        self.shared.fault(self.index, "a packet could not be sent");
                    }
                    let frames = samples(NARROW, signal::PERIOD_MS) / FRAME_SAMPLES;
                    if self.sent.is_multiple_of(frames as u64) {
                        self.said.push(now);
                    }
                    self.sent += 1;
                }
                Ok((length, _)) = rtp.recv_from(&mut buffer) => self.read(&buffer[..length]),
                Some(message) = self.letters.recv() => {
                    if message.method() == Some("BYE") {
                        self.shared.fault(self.index, format!("the switch hung up: {}", message.header("Reason").unwrap_or("no reason")));
                    } else if message.status() == Some(200) {
                        self.send(&self.dialog.ack()).await;
                    }
                }
                _ = self.phase.changed() => {}
            }
        }
    }

    fn write(&self, packet: &mut [u8]) {
        let number = self.sent as u32;
        let first = if number == 0 { 0x80 } else { 0 };
        packet[..2].copy_from_slice(&[0x80, ALAW | first]);
        packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&(number.wrapping_mul(FRAME_SAMPLES as u32)).to_be_bytes());
        packet[8..12].copy_from_slice(&(0x5000_0000 + self.index as u32).to_be_bytes());
        let at = number as usize * FRAME_SAMPLES % self.speech.len();
        packet[12..].copy_from_slice(&self.speech[at..at + FRAME_SAMPLES]);
    }

    fn read(&mut self, packet: &[u8]) {
        if packet.len() < 12 || packet[0] >> 6 != 2 || packet[1] & 0x7f != ALAW {
            return;
        }
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        let sequence = self.track.extend(sequence);
        let payload = Bytes::copy_from_slice(&packet[12..]);
        self.track.take(wall(), sequence, &payload);
    }

    async fn hang_up(&mut self) {
        let bye = self.dialog.bye();
        for _ in 0..5 {
            self.send(&bye).await;
            while let Ok(Some(message)) = timeout(Duration::from_secs(1), self.letters.recv()).await
            {
                if message.status().is_some()
                    && message
                        .header("CSeq")
                        .is_some_and(|cseq| cseq.ends_with("BYE"))
                {
                    return;
                }
            }
        }
        self.shared.fault(self.index, "BYE is not answered");
    }

    async fn send(&self, text: &str) {
        self.sip.send_to(text.as_bytes(), self.switch).await.ok();
    }
}
