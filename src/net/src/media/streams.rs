//! The TCP connections of a call's Telegram legs: reflectors, where UDP does not get through (telegram-calls 9.4).
//!
//! A connection begins with four times ee; then each packet follows its length, 32 bits in little-endian. One that breaks is made
//! anew for as long as the leg lives, because the call may have no other way; one that was never there is given up, so that a
//! call that has no other way ends at once.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use model::LegId;
use tokio::net::{TcpSocket, TcpStream};

use super::sockets::MAX_DATAGRAM;

const INTRODUCTION: [u8; 4] = [0xee; 4];
/// Octets that wait for a connection which takes no more; packets beyond are dropped, for late media is worth nothing.
const WAITING: usize = 16 * 1024;
/// Reads of one connection before the others have their turn.
const BURST: usize = 16;
/// How long an attempt to connect may take: SYN is repeated after 1, 3 and 7 s.
const ATTEMPT: Duration = Duration::from_secs(10);
/// Before a broken connection is made anew, doubled each time until it has carried something. A peer waits for 20 s.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// What happened on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It is there.
    Opened,
    /// A packet came.
    Packet,
    /// It is lost; [`News::Opened`] follows when it is there again.
    Lost,
}

/// The connections of one call.
#[derive(Debug, Default)]
pub(super) struct Streams {
    all: Vec<Stream>,
}

struct Stream {
    leg: LegId,
    server: SocketAddr,
    /// Written to while another one is read; one thread holds the whole call.
    inner: RefCell<Inner>,
}

struct Inner {
    local: IpAddr,
    server: SocketAddr,
    state: State,
    /// It was there before.
    was_open: bool,
    /// Before it is made anew.
    pause: Duration,
    received: Vec<u8>,
    unsent: Vec<u8>,
}

enum State {
    Connecting(Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>),
    Open(TcpStream),
    /// It was never there.
    GivenUp,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.leg, self.server)
    }
}

impl Streams {
    /// Begins to connect from an address of this host.
    pub(super) fn add(&mut self, leg: LegId, local: IpAddr, server: SocketAddr) {
        let inner = RefCell::new(Inner::new(local, server));
        self.all.push(Stream { leg, server, inner });
    }

    /// Closes those of a leg.
    pub(super) fn remove(&mut self, leg: LegId) {
        self.all.retain(|stream| stream.leg != leg);
    }

    /// Sends a packet if there is a connection of this leg to the target; returns whether there is one.
    pub(super) fn send(&self, leg: LegId, target: SocketAddr, bytes: &[u8]) -> bool {
        let mut all = self.all.iter();
        let stream = all.find(|stream| stream.leg == leg && stream.server == target);
        if let Some(stream) = stream {
            stream.inner.borrow_mut().send(bytes);
        }
        stream.is_some()
    }

    /// Hands on what has happened; returns whether there is more.
    pub(super) fn poll(
        &self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(LegId, SocketAddr, News, &[u8]),
    ) -> bool {
        let mut is_more = false;
        for stream in &self.all {
            // Nothing is borrowed while the news is taken, for that sends.
            let (news, more) = stream.inner.borrow_mut().poll(cx);
            is_more |= more;
            for (news, packet) in news {
                take(stream.leg, stream.server, news, &packet);
            }
        }
        is_more
    }
}

/// Connects once, after a pause.
async fn connect(local: IpAddr, server: SocketAddr, pause: Duration) -> io::Result<TcpStream> {
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    let socket = match server {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_nodelay(true)?;
    socket.bind(SocketAddr::new(local, 0))?;
    tokio::time::timeout(ATTEMPT, socket.connect(server)).await?
}

impl Inner {
    fn new(local: IpAddr, server: SocketAddr) -> Self {
        Self {
            local,
            server,
            state: State::Connecting(Box::pin(connect(local, server, Duration::ZERO))),
            was_open: false,
            pause: FIRST_PAUSE,
            received: Vec::new(),
            unsent: Vec::new(),
        }
    }

    /// Begins anew, a little later than the last time.
    fn again(&mut self) {
        let connecting = connect(self.local, self.server, self.pause);
        self.state = State::Connecting(Box::pin(connecting));
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
    }

    fn send(&mut self, bytes: &[u8]) {
        let (State::Open(_), Ok(length)) = (&self.state, u32::try_from(bytes.len())) else {
            return;
        };
        if self.unsent.len() + bytes.len() > WAITING {
            return;
        }
        self.unsent.extend(length.to_le_bytes());
        self.unsent.extend(bytes);
        self.flush();
    }

    /// Writes what the connection takes now.
    fn flush(&mut self) {
        let State::Open(socket) = &self.state else {
            return;
        };
        while !self.unsent.is_empty() {
            match socket.try_write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The end of the connection is told where it is read.
                Err(_) => return self.unsent.clear(),
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> (Vec<(News, Vec<u8>)>, bool) {
        let mut news = Vec::new();
        // Also an attempt that has just begun is polled, for that is what wakes us.
        while let State::Connecting(connecting) = &mut self.state {
            match connecting.as_mut().poll(cx) {
                Poll::Pending => return (news, false),
                Poll::Ready(Ok(socket)) => {
                    self.state = State::Open(socket);
                    self.was_open = true;
                    self.received.clear();
                    self.unsent = INTRODUCTION.to_vec();
                    news.push((News::Opened, Vec::new()));
                }
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, server = %self.server, "a reflector is not reached by TCP");
                    if self.was_open {
                        self.again();
                    } else {
                        self.state = State::GivenUp;
                        news.push((News::Lost, Vec::new()));
                    }
                }
            }
        }
        self.flush();
        let State::Open(socket) = &self.state else {
            return (news, false);
        };
        if !self.unsent.is_empty() {
            // Only to be woken; what can be written is written above or next time.
            let _ = socket.poll_write_ready(cx);
        }
        let mut left = BURST;
        let mut is_lost = false;
        while !is_lost && left > 0 {
            let Poll::Ready(ready) = socket.poll_read_ready(cx) else {
                break;
            };
            left -= 1;
            let mut buffer = [0; MAX_DATAGRAM];
            match ready.and_then(|()| socket.try_read(&mut buffer)) {
                Ok(0) => is_lost = true,
                Ok(length) => {
                    self.pause = FIRST_PAUSE;
                    let read = buffer.get(..length).unwrap_or_default();
                    self.received.extend(read);
                    is_lost = !take_packets(&mut self.received, &mut news);
                }
                Err(error) => is_lost = error.kind() != io::ErrorKind::WouldBlock,
            }
        }
        if is_lost {
            tracing::debug!(server = %self.server, "the connection to a reflector is lost");
            news.push((News::Lost, Vec::new()));
            self.again();
        }
        (news, is_lost || left == 0)
    }
}

/// Takes the whole packets from the front; false when what follows is none.
fn take_packets(received: &mut Vec<u8>, news: &mut Vec<(News, Vec<u8>)>) -> bool {
    while let Some((head, rest)) = received.split_first_chunk::<4>() {
        let Ok(length) = usize::try_from(u32::from_le_bytes(*head)) else {
            return false;
        };
        if length > MAX_DATAGRAM {
            return false;
        }
        let Some(packet) = rest.get(..length) else {
            return true;
        };
        news.push((News::Packet, packet.to_vec()));
        received.drain(..4 + length);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(parts: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
        let (mut received, mut news) = (Vec::new(), Vec::new());
        let fine = parts.iter().all(|part| {
            received.extend(*part);
            take_packets(&mut received, &mut news)
        });
        (news.into_iter().map(|(_, packet)| packet).collect(), fine)
    }

    /// The next news of the one connection, which sends the packet while it is there.
    async fn next(streams: &Streams, leg: LegId, server: SocketAddr) -> (News, Vec<u8>) {
        let waited = std::future::poll_fn(|cx| {
            let mut first = None;
            let mut is_more = true;
            while is_more && first.is_none() {
                is_more = streams.poll(cx, |_, _, news, packet| {
                    first.get_or_insert((news, packet.to_vec()));
                });
            }
            first.map_or(Poll::Pending, Poll::Ready)
        });
        let news = tokio::time::timeout(Duration::from_secs(10), waited).await;
        assert!(streams.send(leg, server, b"hello"));
        news.expect("something happens")
    }

    async fn accepted(listener: &tokio::net::TcpListener) -> TcpStream {
        use tokio::io::AsyncReadExt;
        let (mut end, _) = listener.accept().await.unwrap();
        let mut first = [0; 13];
        end.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"\xee\xee\xee\xee\x05\0\0\0hello");
        end
    }

    #[tokio::test]
    async fn a_connection_that_breaks_is_made_anew() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let listener = tokio::net::TcpListener::bind((here, 0)).await.unwrap();
        let (server, leg) = (listener.local_addr().unwrap(), LegId(1));
        let mut streams = Streams::default();
        streams.add(leg, here, server);
        for round in 0..3 {
            assert_eq!(next(&streams, leg, server).await.0, News::Opened, "{round}");
            drop(accepted(&listener).await);
            assert_eq!(next(&streams, leg, server).await.0, News::Lost, "{round}");
        }
        // Nobody is there for a while, which is no news.
        drop(listener);
        let nothing = tokio::time::timeout(Duration::from_secs(2), next(&streams, leg, server));
        assert!(nothing.await.is_err());
        let listener = tokio::net::TcpListener::bind(server).await.unwrap();
        assert_eq!(next(&streams, leg, server).await.0, News::Opened);
        accepted(&listener).await;
    }

    #[tokio::test]
    async fn a_connection_that_never_was_is_given_up() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let listener = tokio::net::TcpListener::bind((here, 0)).await.unwrap();
        let (server, leg) = (listener.local_addr().unwrap(), LegId(1));
        drop(listener);
        let mut streams = Streams::default();
        streams.add(leg, here, server);
        assert_eq!(next(&streams, leg, server).await.0, News::Lost);
        let again = tokio::time::timeout(Duration::from_secs(1), next(&streams, leg, server));
        assert!(again.await.is_err());
    }

    #[test]
    fn packets_are_found_however_they_are_cut() {
        let all = [&[3, 0, 0, 0, 7, 8, 9][..], &[0; 4], &[1, 0, 0, 0, 5]].concat();
        for cut in 0..=all.len() {
            let (one, other) = all.split_at(cut);
            let (found, fine) = packets(&[one, other]);
            assert_eq!(found, [vec![7, 8, 9], vec![], vec![5]], "cut at {cut}");
            assert!(fine);
        }
    }

    #[test]
    fn a_length_beyond_all_measure_ends_the_connection() {
        assert_eq!(packets(&[&[0, 0, 1, 0, 1]]), (vec![], false));
    }
}
