//! One OPTIONS and its answer (RFC 3261 11), outside of a running switch: what `strowger trunk test` asks a PBX.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use model::Transport;
use sip::{
    CSeq, HeaderName, Hop, Host, Limits, MAGIC_COOKIE, Message, Method, NameAddr, Parsed, Request,
    Response, StreamFramer, StreamInput, StreamOutput, Uri, Via,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long an answer may take: a PBX that is there answers in milliseconds, one across the world in half a second.
const PATIENCE: Duration = Duration::from_secs(5);
/// T1 of RFC 3261 section 17.1.2.2: the first pause before a datagram is sent again, doubled each time.
const T1: Duration = Duration::from_millis(500);
/// The largest datagram read.
const DATAGRAM: usize = 65_535;

/// What came back.
#[derive(Debug)]
pub enum Probed {
    /// A final answer.
    Answered(Response),
    /// A connection was accepted; what is said on it is encrypted, and is not tried here.
    Connected,
}

/// Asks for the capabilities of whoever is at `to`. `from` is the address to send from, if it is free: a PBX may know us by it.
/// An error of kind `TimedOut` means that nothing came back, `ConnectionRefused` that nobody listens there.
pub async fn options(
    from: Option<SocketAddr>,
    to: Hop,
    uri: Uri,
    agent: Option<&str>,
) -> io::Result<Probed> {
    let asked = async {
        match to.transport {
            Transport::Udp => by_datagrams(from, to, uri, agent).await,
            Transport::Tcp => by_connection(to, uri, agent).await,
            Transport::Tls => {
                TcpStream::connect(to.address).await?;
                Ok(Probed::Connected)
            }
        }
    };
    timeout(PATIENCE, asked)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn by_datagrams(
    from: Option<SocketAddr>,
    to: Hop,
    uri: Uri,
    agent: Option<&str>,
) -> io::Result<Probed> {
    let any = match to.address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let ours = from.filter(|from| from.is_ipv4() == to.address.is_ipv4());
    let socket = match UdpSocket::bind(ours.unwrap_or(any)).await {
        Ok(socket) => socket,
        Err(_) => UdpSocket::bind(any).await?,
    };
    // A socket that is connected hears when nobody listens at the other end.
    socket.connect(to.address).await?;
    let request = question(socket.local_addr()?, to, uri, agent);
    let (datagram, mut pause) = (request.encode(), T1);
    let mut buffer = vec![0; DATAGRAM];
    loop {
        socket.send(&datagram).await?;
        let again = Instant::now() + pause;
        while let Ok(received) = timeout(
            again.saturating_duration_since(Instant::now()),
            socket.recv(&mut buffer),
        )
        .await
        {
            let octets = buffer.get(..received?).unwrap_or_default();
            if let Some(response) = answer(&request, octets) {
                return Ok(Probed::Answered(response));
            }
        }
        pause *= 2;
    }
}

async fn by_connection(to: Hop, uri: Uri, agent: Option<&str>) -> io::Result<Probed> {
    let mut stream = TcpStream::connect(to.address).await?;
    let request = question(stream.local_addr()?, to, uri, agent);
    stream.write_all(&request.encode()).await?;
    let mut framer = StreamFramer::new(Limits::default());
    let mut buffer = vec![0; 4096];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let octets = buffer.get(..length).unwrap_or_default();
        framer.handle_input(Instant::now(), StreamInput::Octets(octets));
        loop {
            match framer.poll_output() {
                StreamOutput::Message(message) => {
                    if let Some(response) = answer(&request, &message) {
                        return Ok(Probed::Answered(response));
                    }
                }
                StreamOutput::Refused(_) | StreamOutput::Pong => {}
                StreamOutput::Close(_) => return Err(io::ErrorKind::InvalidData.into()),
                StreamOutput::Timeout(_) => break,
            }
        }
    }
}

fn question(here: SocketAddr, to: Hop, uri: Uri, agent: Option<&str>) -> Request {
    let mark = format!("{:016x}", rand::random::<u64>());
    let here = Hop::new(to.transport, here);
    let me = Uri::reached(Some("strowger"), here);
    let mut via = Via::new(
        to.transport,
        Host::from(here.ip()),
        Some(here.address.port()),
        &format!("{MAGIC_COOKIE}{mark}"),
    );
    via.params.set("rport", None);
    let mut request = Request::new(Method::Options, uri.clone());
    let headers = &mut request.headers;
    headers.push(HeaderName::Via, via);
    headers.push(HeaderName::MaxForwards, 70);
    headers.push(HeaderName::From, NameAddr::new(me.clone()).with_tag(&mark));
    headers.push(HeaderName::To, NameAddr::new(uri));
    headers.push(HeaderName::CallId, &mark);
    let number = 1;
    headers.push(
        HeaderName::CSeq,
        CSeq {
            number,
            method: Method::Options,
        },
    );
    headers.push(HeaderName::Contact, NameAddr::new(me));
    headers.push(HeaderName::Accept, "application/sdp");
    if let Some(agent) = agent {
        headers.push(HeaderName::UserAgent, agent);
    }
    request
}

/// The final answer to this request, if these octets are one.
fn answer(request: &Request, octets: &[u8]) -> Option<Response> {
    let Parsed::Message(Message::Response(response)) = sip::parse(octets) else {
        return None;
    };
    let is_ours = response.headers.call_id() == request.headers.call_id();
    (is_ours && !response.is_provisional()).then_some(response)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn replies(octets: &[u8], status: u16, to: Option<&str>) -> Bytes {
        let Parsed::Message(Message::Request(request)) = sip::parse(octets) else {
            panic!("no request: {}", String::from_utf8_lossy(octets));
        };
        assert_eq!(request.method, Method::Options);
        assert!(request.headers.via().is_some_and(|via| via.has_cookie()));
        let mut response = sip::respond(&request, status, "", to);
        response.headers.push(HeaderName::Allow, sip::ALLOW);
        response.encode()
    }

    fn target(hop: Hop) -> Uri {
        Uri::reached(None, hop)
    }

    #[tokio::test]
    async fn a_pbx_that_answers_late_and_first_for_somebody_else_has_answered() {
        let pbx = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let hop = Hop::udp(pbx.local_addr().unwrap());
        let serve = async {
            let mut buffer = [0; 2048];
            // The first one is lost.
            pbx.recv_from(&mut buffer).await.unwrap();
            let (length, from) = pbx.recv_from(&mut buffer).await.unwrap();
            for noise in [&b"SIP/2.0 200"[..], &b"\r\n\r\n"[..]] {
                pbx.send_to(noise, from).await.unwrap();
            }
            for status in [100, 404] {
                let reply = replies(&buffer[..length], status, Some("t"));
                pbx.send_to(&reply, from).await.unwrap();
            }
        };
        let (probed, ()) = tokio::join!(options(None, hop, target(hop), Some("test")), serve);
        let Ok(Probed::Answered(response)) = probed else {
            panic!("{probed:?}");
        };
        assert_eq!(response.status, 404);
    }

    #[tokio::test]
    async fn nobody_there_is_told_from_nobody_answering() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let hop = Hop::udp(socket.local_addr().unwrap());
        let silent = options(None, hop, target(hop), None).await.unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        drop(socket);
        for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
            let hop = Hop::new(transport, hop.address);
            let nobody = options(None, hop, target(hop), None).await.unwrap_err();
            assert_eq!(nobody.kind(), io::ErrorKind::ConnectionRefused, "{hop}");
        }
    }

    #[tokio::test]
    async fn a_connection_is_asked_too_and_one_that_is_encrypted_is_only_opened() {
        let pbx = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        let address = pbx.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = pbx.accept().await.unwrap();
            let mut buffer = [0; 2048];
            let length = stream.read(&mut buffer).await.unwrap();
            let reply = replies(&buffer[..length], 200, None);
            let (head, tail) = reply.split_at(20);
            stream.write_all(head).await.unwrap();
            tokio::task::yield_now().await;
            stream.write_all(tail).await.unwrap();
            pbx.accept().await.unwrap();
        };
        let ask = async {
            let hop = Hop::new(Transport::Tcp, address);
            let probed = options(None, hop, target(hop), None).await;
            assert!(
                matches!(probed, Ok(Probed::Answered(ref response)) if response.status == 200),
                "{probed:?}"
            );
            let hop = Hop::new(Transport::Tls, address);
            let probed = options(None, hop, target(hop), None).await;
            assert!(matches!(probed, Ok(Probed::Connected)), "{probed:?}");
        };
        tokio::join!(ask, serve);
    }
}
