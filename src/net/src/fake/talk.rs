//! The voice of a player: a task that speaks and listens over one transport.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use media::{PlainRtp, RtpIn, RtpOut, Transport, TransportEvent, TransportOutput};
use telegram::RtcTransport;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

use super::coder::Coder;
use super::keys::Keys;
use super::recording::Recording;
use super::speech::{Said, Speech};

/// The largest datagram read.
const DATAGRAM: usize = 2048;

/// What a player said and heard in one call.
#[derive(Debug, Clone)]
pub struct Audio {
    /// What it said.
    pub said: Said,
    /// What it heard.
    pub heard: Recording,
}

/// What carries the voice.
pub(super) enum Carrier {
    Plain(Box<PlainRtp>),
    Rtc(Box<RtcTransport>),
}

impl Carrier {
    fn transport(&mut self) -> &mut dyn Transport {
        match self {
            Carrier::Plain(plain) => &mut **plain,
            Carrier::Rtc(rtc) => &mut **rtc,
        }
    }
}

/// What happens on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TalkEvent {
    Connected,
    Signal(Bytes),
    Failed(&'static str),
}

/// A voice at work; it stops when this is dropped.
pub(super) struct Talk {
    signals: mpsc::UnboundedSender<Vec<u8>>,
    events: mpsc::UnboundedReceiver<TalkEvent>,
    audio: oneshot::Receiver<Audio>,
}

impl Talk {
    /// Starts to speak, unless it is mute, and to listen; `keys` reads the packets that are no audio.
    pub(super) fn start(
        carrier: Carrier,
        sockets: Vec<UdpSocket>,
        coder: Coder,
        payload_type: u8,
        speech: Speech,
        is_mute: bool,
        keys: Option<Keys>,
    ) -> Self {
        let (signals, signals_rx) = mpsc::unbounded_channel();
        let (events_tx, events) = mpsc::unbounded_channel();
        let (audio_tx, audio) = oneshot::channel();
        // Plain RTP needs no leave to speak; a Telegram call must be connected first.
        let next = (!is_mute && matches!(carrier, Carrier::Plain(_))).then(Instant::now);
        let voice = Voice {
            carrier,
            coder,
            payload_type,
            next,
            is_mute,
            keys,
            frames: 0,
            audio: Audio {
                said: Said {
                    speech,
                    since: None,
                },
                heard: Recording::default(),
            },
            events: events_tx,
        };
        tokio::spawn(async move {
            let audio = voice.run(sockets, signals_rx).await;
            let _ = audio_tx.send(audio);
        });
        Self {
            signals,
            events,
            audio,
        }
    }

    /// Hands in signalling of the peer.
    pub(super) fn signal(&self, data: Vec<u8>) {
        let _ = self.signals.send(data);
    }

    /// Waits for something to happen; for ever once nothing more can.
    pub(super) async fn event(&mut self) -> TalkEvent {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Stops, and returns what was said and heard.
    pub(super) async fn stop(self) -> Option<Audio> {
        let Self { signals, audio, .. } = self;
        drop(signals);
        audio.await.ok()
    }
}

struct Voice {
    carrier: Carrier,
    coder: Coder,
    payload_type: u8,
    /// When the next packet is due; absent before the transport can send.
    next: Option<Instant>,
    is_mute: bool,
    keys: Option<Keys>,
    frames: u32,
    audio: Audio,
    events: mpsc::UnboundedSender<TalkEvent>,
}

impl Voice {
    /// `sockets` are the one in use and others that only keep their ports.
    async fn run(
        mut self,
        sockets: Vec<UdpSocket>,
        mut signals: mpsc::UnboundedReceiver<Vec<u8>>,
    ) -> Audio {
        let Some(socket) = sockets.first() else {
            return self.audio;
        };
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let timeout = self.drain(socket);
            let wake = [timeout, self.next].into_iter().flatten().min();
            tokio::select! {
                signal = signals.recv() => match signal {
                    Some(data) => if let Carrier::Rtc(rtc) = &mut self.carrier {
                        rtc.signal(Instant::now(), &data);
                    },
                    None => break,
                },
                got = socket.recv_from(&mut buffer) => {
                    if let Ok((length, source)) = got {
                        let data = buffer.get(..length).unwrap_or_default();
                        self.carrier.transport().handle_datagram(Instant::now(), source, data);
                    }
                }
                () = until(wake) => self.on_time(timeout),
            }
        }
        if let Carrier::Rtc(rtc) = &mut self.carrier {
            rtc.close(Instant::now());
        }
        self.drain(socket);
        self.audio
    }

    fn on_time(&mut self, timeout: Option<Instant>) {
        let now = Instant::now();
        if timeout.is_some_and(|at| at <= now) {
            self.carrier.transport().handle_timeout(now);
        }
        if self.next.is_some_and(|at| at <= now) {
            self.speak(now);
        }
    }

    /// Sends the next packet; a late one keeps its place in time.
    fn speak(&mut self, now: Instant) {
        let since = *self.audio.said.since.get_or_insert(now);
        let frame = self.coder.frame();
        let length = |rate: u32| u64::from(rate) * u64::from(frame.subsec_millis()) / 1000;
        let (samples, ticks) = (length(self.coder.rate()), length(self.coder.clock()));
        let mut pcm = vec![0; usize::try_from(samples).unwrap_or(0)];
        let from = u64::from(self.frames) * samples;
        self.audio
            .said
            .speech
            .samples(self.coder.rate(), from, &mut pcm);
        let packet = RtpOut {
            payload_type: self.payload_type,
            timestamp: u32::try_from(u64::from(self.frames) * ticks % (1 << 32)).unwrap_or(0),
            marker: self.frames == 0,
            payload: self.coder.encode(&pcm),
        };
        self.carrier.transport().send(now, &packet);
        self.frames += 1;
        self.next = Some(since + frame * self.frames);
    }

    fn drain(&mut self, socket: &UdpSocket) -> Option<Instant> {
        loop {
            match self.carrier.transport().poll_output() {
                TransportOutput::Transmit { target, bytes } => transmit(socket, target, &bytes),
                TransportOutput::TransmitRtcp { .. } => {}
                TransportOutput::Rtp(packet) => self.hear(&packet),
                TransportOutput::Event(event) => self.on_event(event),
                TransportOutput::Timeout(at) => return at,
            }
        }
    }

    fn hear(&mut self, packet: &RtpIn) {
        let now = Instant::now();
        let is_key = self.keys.as_mut().is_some_and(|keys| keys.take(packet));
        if !is_key && !packet.payload.is_empty() {
            let pcm = self.coder.decode(&packet.payload);
            self.audio.heard.push(now, packet, self.coder.clock(), &pcm);
        }
    }

    fn on_event(&mut self, event: TransportEvent) {
        let event = match event {
            TransportEvent::Connected => {
                if !self.is_mute {
                    self.next.get_or_insert_with(Instant::now);
                }
                TalkEvent::Connected
            }
            TransportEvent::Signal(bytes) => TalkEvent::Signal(bytes),
            TransportEvent::Failed(why) => TalkEvent::Failed(why),
            TransportEvent::Silent { .. }
            | TransportEvent::Reported { .. }
            | TransportEvent::Turned(_)
            | TransportEvent::RemoteMuted(_) => return,
        };
        let _ = self.events.send(event);
    }
}

/// A datagram the system does not take at once is lost, as on any network.
fn transmit(socket: &UdpSocket, target: SocketAddr, bytes: &[u8]) {
    let _ = socket.try_send_to(bytes, target);
}

/// Waits until then; for ever without a time.
pub(super) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
