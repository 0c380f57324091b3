//! The task of one call: waits for commands, datagrams and the time, and lets the exchange do the rest.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use grammers_tl_types as tl;
use metrics::MediaCounters;
use model::{CallId, LegId};
use rand::Rng;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::Sleep;

use super::config::MediaConfig;
use super::exchange::{Exchange, Way};
use super::message::{MediaCommand, MediaEvent};
use super::outlet::Outlet;
use super::port::Port;
use super::rtc::Rtc;
use super::sockets::{MAX_DATAGRAM, Sockets};

/// The timer of the runtime counts whole milliseconds; a deadline that has passed already waits for one.
const SHORTEST: Duration = Duration::from_millis(1);

/// What a task begins with.
pub(super) struct Start {
    pub(super) call: CallId,
    pub(super) config: Arc<MediaConfig>,
    pub(super) counters: MediaCounters,
    pub(super) commands: Receiver<MediaCommand>,
    pub(super) events: Sender<MediaEvent>,
}

/// Carries the media of a call until its handle is dropped.
pub(super) async fn run(start: Start) {
    let mut task = Box::new(Task::new(start));
    std::future::poll_fn(|cx| task.poll(cx)).await;
    // What it has to say last waits for a call that is slow, and for none that is gone.
    task.close().flush().await;
}

struct Task {
    call: CallId,
    config: Arc<MediaConfig>,
    commands: Receiver<MediaCommand>,
    events: Outlet,
    sockets: Sockets,
    exchange: Exchange,
    buffer: Vec<u8>,
    timer: Pin<Box<Sleep>>,
    /// When the timer will wake the task.
    armed: Option<Instant>,
}

impl Task {
    fn new(start: Start) -> Self {
        let now = Instant::now();
        Self {
            call: start.call,
            config: start.config,
            commands: start.commands,
            events: Outlet::new(start.events),
            sockets: Sockets::default(),
            exchange: Exchange::new(now, start.call, start.counters, rand::rng().random()),
            buffer: vec![0; MAX_DATAGRAM],
            timer: Box::pin(tokio::time::sleep_until(now.into())),
            armed: None,
        }
    }

    /// One wake-up: everything that has come, then what is due, then the next deadline. Ready when the call is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        while let Poll::Ready(command) = self.commands.poll_recv(cx) {
            match command {
                Some(command) => self.obey(now, command),
                None => return Poll::Ready(()),
            }
        }
        let (exchange, sockets) = (&mut self.exchange, &self.sockets);
        let mut way = Way {
            now,
            sockets,
            events: &mut self.events,
        };
        let more = sockets.poll_receive(cx, &mut self.buffer, |leg, door, source, data| {
            exchange.handle_datagram(&mut way, leg, door, source, data);
        });
        if exchange.deadline() <= now {
            exchange.handle_timeout(&mut way);
        }
        self.events.poll_flush(cx);
        if self.events.is_broken() {
            tracing::error!(call = %self.call, "the call does not listen to its media");
            return Poll::Ready(());
        }
        self.arm(cx, now);
        if more {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Sets the timer, when the next deadline is not the one it is set to.
    fn arm(&mut self, cx: &mut Context<'_>, now: Instant) {
        let deadline = self.exchange.deadline().max(now + SHORTEST);
        if self.armed == Some(deadline) {
            return;
        }
        self.armed = Some(deadline);
        self.timer.as_mut().reset(deadline.into());
        if self.timer.as_mut().poll(cx).is_ready() {
            self.armed = None;
            cx.waker().wake_by_ref();
        }
    }

    fn obey(&mut self, now: Instant, command: MediaCommand) {
        let port = match command {
            MediaCommand::AddSip {
                leg,
                rtp,
                media,
                signalling,
            } => match self.sockets.add_rtp(leg, rtp) {
                Ok(()) => {
                    let (timeout, seed) = (self.config.rtp_timeout, rand::rng().random());
                    Port::sip(now, leg, *media, signalling, timeout, seed)
                }
                Err(error) => return self.fail(leg, "no socket", &error),
            },
            MediaCommand::AddTelegram { leg, start } => {
                let towards = relay_address(&start);
                let local = self.sockets.add_candidates(leg, &self.config, towards);
                match Rtc::new(now, &start, &local) {
                    Ok(rtc) => {
                        self.sockets.add_streams(leg, rtc.streams());
                        Port::telegram(leg, rtc, self.config.frame_ms)
                    }
                    Err(why) => return self.fail(leg, why, &"no transport"),
                }
            }
            other => return self.pass_on(now, other),
        };
        let (exchange, mut way) = self.way(now);
        exchange.add(&mut way, port);
    }

    /// Carries out a command that needs no new socket.
    fn pass_on(&mut self, now: Instant, command: MediaCommand) {
        let (exchange, mut way) = self.way(now);
        match command {
            MediaCommand::UpdateSip { leg, media } => exchange.update_sip(&mut way, leg, *media),
            MediaCommand::Signal { leg, bytes } => exchange.signal(&mut way, leg, &bytes),
            MediaCommand::Connect { a, b } => exchange.connect(&mut way, a, b),
            MediaCommand::SendDtmf {
                leg,
                digits,
                method,
            } => exchange.send_dtmf(&mut way, leg, &digits, method),
            MediaCommand::ListenForTones { leg, on } => exchange.listen_for_tones(leg, on),
            MediaCommand::Tone { leg, tone } => exchange.tone(&mut way, leg, tone),
            MediaCommand::Remove { leg } => {
                exchange.remove(&mut way, leg);
                self.sockets.remove(leg);
            }
            MediaCommand::AddSip { .. } | MediaCommand::AddTelegram { .. } => {}
        }
    }

    /// Ends every leg and closes its sockets; returns what the call is yet to be told.
    fn close(mut self: Box<Self>) -> Outlet {
        let (exchange, mut way) = self.way(Instant::now());
        let legs = exchange.close(&mut way);
        self.events.tell(MediaEvent::Closed { legs });
        self.events
    }

    fn way(&mut self, now: Instant) -> (&mut Exchange, Way<'_>) {
        let way = Way {
            now,
            sockets: &self.sockets,
            events: &mut self.events,
        };
        (&mut self.exchange, way)
    }

    fn fail(&mut self, leg: LegId, why: &'static str, error: &dyn std::fmt::Display) {
        tracing::error!(call = %self.call, %leg, why, %error, "a leg has no media");
        self.sockets.remove(leg);
        self.events.tell(MediaEvent::Failed { leg, why });
    }
}

/// A relay of the call: a host to find the way out by.
fn relay_address(start: &telegram::MediaStart) -> Option<IpAddr> {
    start.connections.iter().find_map(|connection| {
        let ip = match connection {
            tl::enums::PhoneConnection::Connection(relay) => &relay.ip,
            tl::enums::PhoneConnection::Webrtc(relay) => &relay.ip,
        };
        ip.parse().ok()
    })
}
