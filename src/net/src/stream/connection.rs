//! One connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use model::Transport;
use sip::{Hop, StreamFramer, StreamInput, StreamOutput};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::{Arrival, HANDSHAKE, Patience, Streams};

/// Octets read at a time.
const CHUNK: usize = 16 * 1024;
/// How long a peer may take nothing of what is to be sent to it.
const STUCK: Duration = Duration::from_secs(10);
/// How long a message waits for room at our own door, and how often it tries: the peer's window is its brake.
const DOOR: Duration = Duration::from_secs(2);
const TRY: Duration = Duration::from_millis(5);
/// CS3, the class of call signalling (RFC 4594 s.4.2), in its octet.
const SIGNALLING_CLASS: u32 = 24 << 2;

/// A connection that somebody opened to us.
pub(super) async fn server(
    streams: &Streams,
    hop: Hop,
    tcp: TcpStream,
    messages: mpsc::Receiver<Bytes>,
    is_known: Arc<AtomicBool>,
) {
    mark(&tcp, hop);
    if hop.transport != Transport::Tls {
        return carry(streams, hop, tcp, messages, is_known).await;
    }
    let Ok(permit) = Arc::clone(&streams.0.handshakes).try_acquire_owned() else {
        tracing::debug!(%hop, "too many handshakes");
        return;
    };
    let accepted = tokio::time::timeout(HANDSHAKE, streams.0.tls.accept(tcp)).await;
    drop(permit);
    match accepted {
        Ok(Ok(tls)) => carry(streams, hop, tls, messages, is_known).await,
        Ok(Err(error)) => tracing::debug!(%hop, %error, "a handshake failed"),
        Err(_) => tracing::debug!(%hop, "a handshake took too long"),
    }
}

/// A connection of ours.
pub(super) async fn client(
    streams: &Streams,
    hop: Hop,
    tcp: TcpStream,
    messages: mpsc::Receiver<Bytes>,
    is_known: Arc<AtomicBool>,
) {
    mark(&tcp, hop);
    if hop.transport != Transport::Tls {
        return carry(streams, hop, tcp, messages, is_known).await;
    }
    let peer = streams.0.peers.lock().get(&hop).cloned();
    let connected =
        tokio::time::timeout(HANDSHAKE, streams.0.tls.connect(hop, peer.as_ref(), tcp)).await;
    match connected {
        Ok(Ok(tls)) => carry(streams, hop, tls, messages, is_known).await,
        Ok(Err(error)) => tracing::warn!(%hop, %error, "TLS with a peer failed"),
        Err(_) => tracing::warn!(%hop, "TLS with a peer took too long"),
    }
}

/// Wishes the system may refuse.
fn mark(tcp: &TcpStream, hop: Hop) {
    let socket = socket2::SockRef::from(tcp);
    let class = match hop.address {
        std::net::SocketAddr::V4(_) => socket.set_tos_v4(SIGNALLING_CLASS),
        std::net::SocketAddr::V6(_) => socket.set_tclass_v6(SIGNALLING_CLASS),
    };
    for error in [tcp.set_nodelay(true), socket.set_keepalive(true), class]
        .into_iter()
        .filter_map(Result::err)
    {
        tracing::debug!(%hop, %error, "a socket option was refused");
    }
}

/// What has to happen next by the clock.
struct Clock {
    patience: Patience,
    opened: Instant,
    last_message: Option<Instant>,
    last_heard: Instant,
    last_sent: Instant,
    /// Since when the peer takes nothing.
    stuck: Option<Instant>,
    framer: Option<Instant>,
}

impl Clock {
    /// When a connection with nothing to say ends.
    fn idle(&self, is_known: bool) -> Instant {
        match (is_known, self.last_message) {
            (true, _) => self.last_heard + self.patience.known,
            (false, Some(last)) => last + self.patience.stranger,
            (false, None) => self.opened + self.patience.first,
        }
    }

    fn next(&self, is_known: bool) -> Instant {
        let ping = is_known.then_some(self.last_sent + self.patience.ping);
        let stuck = self.stuck.map(|since| since + STUCK);
        [ping, stuck, self.framer]
            .into_iter()
            .flatten()
            .fold(self.idle(is_known), Instant::min)
    }
}

/// Reads, frames and writes until either side has enough.
async fn carry(
    streams: &Streams,
    hop: Hop,
    stream: impl AsyncRead + AsyncWrite,
    mut messages: mpsc::Receiver<Bytes>,
    is_known: Arc<AtomicBool>,
) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut framer = StreamFramer::new(streams.0.limits.clone());
    let now = Instant::now();
    let mut clock = Clock {
        patience: streams.0.patience,
        opened: now,
        last_message: None,
        last_heard: now,
        last_sent: now,
        stuck: None,
        framer: None,
    };
    let mut chunk = vec![0; CHUNK];
    let mut pending = Bytes::new();
    let mut is_flushed = true;
    // RFC 5626 4.4.1: one that comes while something else is on its way is answered behind it.
    let mut owes_pong = false;
    loop {
        if pending.is_empty() && std::mem::take(&mut owes_pong) {
            pending = Bytes::from_static(b"\r\n");
        }
        let known = is_known.load(Ordering::Relaxed);
        let at = tokio::time::Instant::from_std(clock.next(known));
        let mut heard = None;
        tokio::select! {
            read = reader.read(&mut chunk) => match read {
                Ok(0) | Err(_) => break,
                Ok(length) => heard = Some(StreamInput::Octets(chunk.get(..length).unwrap_or_default())),
            },
            wrote = push(&mut writer, &pending), if !pending.is_empty() || !is_flushed => match wrote {
                Ok(0) if !pending.is_empty() => break,
                Err(_) => break,
                Ok(length) => {
                    clock.last_sent = Instant::now();
                    is_flushed = pending.is_empty();
                    pending.advance(length.min(pending.len()));
                    clock.stuck = (!pending.is_empty()).then_some(clock.last_sent);
                }
            },
            message = messages.recv(), if pending.is_empty() && is_flushed => match message {
                Some(message) => {
                    pending = message;
                    clock.stuck = Some(Instant::now());
                }
                None => break,
            },
            () = tokio::time::sleep_until(at) => {
                // It may have become known meanwhile.
                let (now, known) = (Instant::now(), is_known.load(Ordering::Relaxed));
                if clock.idle(known) <= now || clock.stuck.is_some_and(|since| since + STUCK <= now) {
                    tracing::debug!(%hop, "a connection is idle");
                    break;
                }
                if known && clock.last_sent + clock.patience.ping <= now {
                    clock.last_sent = now;
                    if pending.is_empty() {
                        pending = Bytes::from_static(b"\r\n\r\n");
                    }
                }
                heard = Some(StreamInput::Timeout);
            }
        }
        let Some(input) = heard else { continue };
        let now = Instant::now();
        if matches!(input, StreamInput::Octets(_)) {
            clock.last_heard = now;
        }
        framer.handle_input(now, input);
        let mut is_over = false;
        loop {
            let arrival = match framer.poll_output() {
                StreamOutput::Message(bytes) => Arrival::Message { source: hop, bytes },
                StreamOutput::Refused(parsed) => Arrival::Refused {
                    source: hop,
                    parsed,
                },
                StreamOutput::Pong => {
                    owes_pong = true;
                    continue;
                }
                StreamOutput::Close(why) => {
                    tracing::debug!(%hop, why, "a connection is closed");
                    is_over = true;
                    continue;
                }
                StreamOutput::Timeout(at) => {
                    clock.framer = at;
                    break;
                }
            };
            clock.last_message = Some(now);
            hand_in(streams, arrival).await;
        }
        if is_over {
            // What was refused is answered before the end; the answer comes from the endpoint by our own queue.
            let last = tokio::time::timeout(LAST_WORD, messages.recv()).await;
            if let Ok(Some(bytes)) = last {
                let word = async {
                    writer.write_all(&bytes).await?;
                    writer.flush().await
                };
                let _ = tokio::time::timeout(LAST_WORD, word).await;
            }
            break;
        }
    }
    let _ = tokio::time::timeout(LAST_WORD, writer.shutdown()).await;
}

/// Writes what there is, or else sees that it leaves; returns how much was taken. May be dropped at any time.
async fn push(writer: &mut (impl AsyncWrite + Unpin), pending: &[u8]) -> std::io::Result<usize> {
    if pending.is_empty() {
        writer.flush().await.map(|()| 0)
    } else {
        writer.write(pending).await
    }
}

/// How long a connection that is to be closed waits for the answer to what was wrong.
const LAST_WORD: Duration = Duration::from_millis(500);

/// Waits for room: that is the flow control of a stream.
async fn hand_in(streams: &Streams, arrival: Arrival) {
    let mut waited = Duration::ZERO;
    while !(streams.0.deliver)(arrival.clone()) {
        if waited >= DOOR {
            return;
        }
        tokio::time::sleep(TRY).await;
        waited += TRY;
    }
}
