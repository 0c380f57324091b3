//! The threads of the media plane, and how a call gets its task.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::MediaCounters;
use model::CallId;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::config::{MediaConfig, StartError};
use super::message::{MediaCommand, MediaEvent, Stuck};
use super::ports::{NoRtpPorts, RtpPorts, RtpReservation};
use super::rehearsal;
use super::task;
use crate::pace::{Held, Pace, Work};

/// Commands that wait for a task: a call gives a dozen in its life, and the signals of one connecting peer, in one go what came early.
const COMMANDS: usize = telegram::call::EARLY_PACKETS + 32;
/// Events that wait for a call; beyond it those that matter wait with the task.
const EVENTS: usize = 64;
/// The time between two beats of a busy thread: as long as a packet is expected early, half a frame. Each beat costs cold caches as well
/// as the waking: 5 ms cost a call a twelfth more.
const BEAT: Duration = Duration::from_millis(10);
/// How long a port is left alone after a call (SEC-M7).
const PORT_REST: Duration = Duration::from_secs(60);

/// The media of all calls; cheap to clone. The threads end with the last clone.
#[derive(Clone)]
pub struct MediaPlane {
    shared: Arc<Shared>,
}

struct Shared {
    config: Arc<MediaConfig>,
    counters: MediaCounters,
    ports: Arc<RtpPorts>,
    threads: Vec<Thread>,
}

struct Thread {
    runtime: Handle,
    work: Arc<Work>,
    /// Dropped to stop the thread.
    _stop: oneshot::Sender<()>,
}

impl MediaPlane {
    /// Starts the threads.
    pub fn start(config: MediaConfig, counters: MediaCounters) -> Result<Self, StartError> {
        let (first, last) = config.rtp_range.clone().into_inner();
        let ports = RtpPorts::new(
            config.rtp_address,
            config.rtp_range.clone(),
            config.public_address,
            PORT_REST,
        );
        if ports.free() == 0 {
            return Err(StartError::NoPorts(first, last));
        }
        let ports = Arc::new(ports.shown_in(counters.clone()));
        let threads = (0..config.thread_count())
            .map(Thread::start)
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(thread) = threads.first() {
            thread.runtime.spawn(async {
                let began = Instant::now();
                let heard = rehearsal::run();
                tracing::debug!(heard, took = ?began.elapsed(), "media rehearsed");
            });
        }
        let shared = Shared {
            config: Arc::new(config),
            counters,
            ports,
            threads,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Takes a pair of RTP ports for a leg whose peer is, or signals from, `peer`.
    pub fn reserve_rtp(&self, peer: SocketAddr) -> Result<RtpReservation, NoRtpPorts> {
        self.shared.ports.reserve(peer)
    }

    /// Makes room for the media of a call. Its task starts with the first command; it ends, and so do its events, when the
    /// handle is dropped.
    pub fn open_call(&self, call: CallId) -> (MediaHandle, mpsc::Receiver<MediaEvent>) {
        let (commands_in, commands) = mpsc::channel(COMMANDS);
        let (events, events_out) = mpsc::channel(EVENTS);
        let start = task::Start {
            call,
            config: Arc::clone(&self.shared.config),
            counters: self.shared.counters.clone(),
            commands,
            events,
        };
        let threads = self.shared.threads.iter();
        let idlest = threads.min_by_key(|thread| thread.work.held());
        let handle = MediaHandle {
            commands: commands_in,
            waits: idlest.map(|thread| Waits {
                runtime: thread.runtime.clone(),
                held: thread.work.hold(),
                start,
            }),
        };
        (handle, events_out)
    }

    /// Returns the runtime of each thread.
    pub fn runtimes(&self) -> impl Iterator<Item = &Handle> {
        self.shared.threads.iter().map(|thread| &thread.runtime)
    }

    /// Returns how many calls have room.
    pub fn calls(&self) -> usize {
        let threads = self.shared.threads.iter();
        threads.map(|thread| thread.work.held()).sum()
    }
}

/// Commands the media task of one call; dropped, it ends the task.
#[derive(Debug)]
pub struct MediaHandle {
    commands: mpsc::Sender<MediaCommand>,
    /// A task that has had no command yet.
    waits: Option<Waits>,
}

/// What starts a task.
struct Waits {
    runtime: Handle,
    held: Held,
    start: task::Start,
}

impl std::fmt::Debug for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waits")
    }
}

impl MediaHandle {
    /// Returns whether there was no command yet: there is no task, and nothing to be told of it.
    pub fn is_idle(&self) -> bool {
        self.waits.is_some()
    }

    /// Gives a command, without waiting.
    pub fn command(&mut self, command: MediaCommand) -> Result<(), Stuck> {
        self.commands.try_send(command).map_err(|_| Stuck)?;
        if let Some(Waits {
            runtime,
            held,
            start,
        }) = self.waits.take()
        {
            runtime.spawn(async move {
                let _held = held;
                task::run(start).await;
            });
        }
        Ok(())
    }
}

impl Thread {
    fn start(number: usize) -> Result<Self, StartError> {
        let work = Arc::default();
        let runtime = Pace::new(BEAT, Arc::clone(&work)).runtime()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        std::thread::Builder::new()
            .name(format!("media-{number}"))
            .spawn(move || {
                // An error is what is waited for: the other end has been dropped.
                let _ = runtime.block_on(stopped);
            })?;
        Ok(Self {
            runtime: handle,
            work,
            _stop: stop,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_go_to_the_thread_with_the_fewest() {
        let config = MediaConfig {
            threads: 3,
            ..MediaConfig::default()
        };
        let plane = MediaPlane::start(config, metrics::Metrics::new("test").media()).unwrap();
        let calls: Vec<_> = (0..9)
            .map(|n| plane.open_call(CallId::new(n, n.into())))
            .collect();
        let loads = || {
            let threads = plane.shared.threads.iter();
            threads.map(|thread| thread.work.held())
        };
        assert!(loads().all(|load| load == 3));
        for (handle, mut events) in calls {
            drop(handle);
            while events.blocking_recv().is_some() {}
        }
    }

    /// What a Telegram leg has kept of its peer's signalling comes in one go, and the thread may have other work just then.
    #[test]
    fn all_that_a_peer_has_signalled_early_is_taken_by_a_thread_that_is_busy() {
        let config = MediaConfig {
            threads: 1,
            ..MediaConfig::default()
        };
        let plane = MediaPlane::start(config, metrics::Metrics::new("test").media()).unwrap();
        let (busy, is_busy) = std::sync::mpsc::channel();
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        plane.runtimes().next().unwrap().spawn(async move {
            busy.send(()).unwrap();
            let _ = is_done.recv();
        });
        is_busy.recv().unwrap();
        let (mut handle, _events) = plane.open_call(CallId::new(1, 1));
        let leg = model::LegId(1);
        for _ in 0..telegram::call::EARLY_PACKETS {
            let bytes = bytes::Bytes::from_static(b"signal");
            let signal = MediaCommand::Signal { leg, bytes };
            assert_eq!(handle.command(signal), Ok(()));
        }
        for _ in 0..12 {
            assert_eq!(handle.command(MediaCommand::Remove { leg }), Ok(()));
        }
        drop(done);
    }

    #[test]
    fn a_task_that_does_not_listen_any_more_is_told_of() {
        let plane = MediaPlane::start(
            MediaConfig::default(),
            metrics::Metrics::new("test").media(),
        )
        .unwrap();
        let (mut handle, mut events) = plane.open_call(CallId::new(1, 1));
        let command = || MediaCommand::Remove {
            leg: model::LegId(0),
        };
        assert_eq!(handle.command(command()), Ok(()));
        drop(plane);
        while events.blocking_recv().is_some() {}
        assert_eq!(handle.command(command()), Err(Stuck));
    }
}
