//! The TCP connections of a call's Telegram legs: reflectors, where UDP does not get through (telegram-calls 9.4).
//!
//! A connection begins with four times ee; then each packet follows its length, 32 bits in little-endian.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use model::LegId;
use tokio::net::{TcpSocket, TcpStream};

use super::sockets::MAX_DATAGRAM;

const INTRODUCTION: [u8; 4] = [0xee; 4];
/// Octets that wait for a connection which takes no more; packets beyond are dropped, for late media is worth nothing.
const WAITING: usize = 16 * 1024;
/// Reads of one connection before the others have their turn.
const BURST: usize = 16;

/// What happened on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It is there.
    Opened,
    /// A packet came.
    Packet,
    /// It is lost, and nothing follows.
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
    state: State,
    received: Vec<u8>,
    unsent: Vec<u8>,
}

enum State {
    Connecting(Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>),
    Open(TcpStream),
    Lost,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.leg, self.server)
    }
}

impl Streams {
    /// Begins to connect from an address of this host.
    pub(super) fn add(&mut self, leg: LegId, local: IpAddr, server: SocketAddr) {
        let connecting = async move {
            let socket = match server {
                SocketAddr::V4(_) => TcpSocket::new_v4(),
                SocketAddr::V6(_) => TcpSocket::new_v6(),
            }?;
            socket.set_nodelay(true)?;
            socket.bind(SocketAddr::new(local, 0))?;
            socket.connect(server).await
        };
        let inner = Inner {
            state: State::Connecting(Box::pin(connecting)),
            received: Vec::new(),
            unsent: INTRODUCTION.to_vec(),
        };
        self.all.push(Stream {
            leg,
            server,
            inner: RefCell::new(inner),
        });
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

impl Inner {
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
        if let State::Connecting(connecting) = &mut self.state {
            match connecting.as_mut().poll(cx) {
                Poll::Pending => return (news, false),
                Poll::Ready(Ok(socket)) => {
                    self.state = State::Open(socket);
                    news.push((News::Opened, Vec::new()));
                }
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "a reflector is not reached by TCP");
                    news.push((News::Lost, Vec::new()));
                    self.state = State::Lost;
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
                    let read = buffer.get(..length).unwrap_or_default();
                    self.received.extend(read);
                    is_lost = !take_packets(&mut self.received, &mut news);
                }
                Err(error) => is_lost = error.kind() != io::ErrorKind::WouldBlock,
            }
        }
        if is_lost {
            self.state = State::Lost;
            news.push((News::Lost, Vec::new()));
        }
        (news, left == 0)
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
