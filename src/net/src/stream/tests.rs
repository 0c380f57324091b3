use std::net::Ipv4Addr;
use std::path::Path;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc as channel;

use super::*;

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const OPTIONS: &str =
    "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nContent-Length: 3\r\n\r\nabc";

/// One end, and what it hears.
struct End {
    streams: Streams,
    heard: channel::UnboundedReceiver<Arrival>,
}

impl End {
    fn new(transport: Transport, tls: Tls, patience: Patience) -> Self {
        let (tell, heard) = channel::unbounded_channel();
        let listener = Listener::bind(transport, ANY).unwrap();
        let metrics = metrics::Metrics::new("0");
        let deliver = move |arrival| tell.send(arrival).is_ok();
        let streams = Streams::start(
            vec![listener],
            tls,
            Limits::default(),
            patience,
            metrics,
            deliver,
        );
        Self {
            streams: streams.unwrap(),
            heard,
        }
    }

    fn tcp() -> Self {
        Self::new(Transport::Tcp, plain(), Patience::default())
    }

    fn hop(&self) -> Hop {
        self.streams.local().next().unwrap()
    }

    async fn next(&mut self) -> Arrival {
        let wait = tokio::time::timeout(Duration::from_secs(10), self.heard.recv());
        wait.await.expect("in time").expect("something")
    }

    async fn message(&mut self) -> (Hop, Bytes) {
        match self.next().await {
            Arrival::Message { source, bytes } => (source, bytes),
            other => panic!("{other:?}"),
        }
    }
}

fn plain() -> Tls {
    Tls::new(None, None).unwrap()
}

/// A certificate for 127.0.0.1 and its key in files, and its digest.
fn certificate(dir: &Path) -> (Certificate, [u8; 32]) {
    certificate_for(dir, "127.0.0.1")
}

fn certificate_for(dir: &Path, name: &str) -> (Certificate, [u8; 32]) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let (chain, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&chain, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    (
        Certificate { chain, key },
        Sha256::digest(cert.der()).into(),
    )
}

#[tokio::test]
async fn what_is_cut_into_octets_or_glued_together_comes_as_whole_messages() {
    let mut end = End::tcp();
    let mut peer = TcpStream::connect(end.hop().address).await.unwrap();
    peer.set_nodelay(true).unwrap();
    for octet in OPTIONS.bytes() {
        peer.write_all(&[octet]).await.unwrap();
    }
    let (source, bytes) = end.message().await;
    assert_eq!(source.address, peer.local_addr().unwrap());
    assert_eq!(bytes, OPTIONS);
    peer.write_all(OPTIONS.repeat(200).as_bytes())
        .await
        .unwrap();
    for _ in 0..200 {
        assert_eq!(end.message().await.1, OPTIONS);
    }
    // What is sent to where it came from goes back on the same connection.
    end.streams
        .send(source, Bytes::from_static(b"SIP/2.0 200 OK\r\n"));
    let mut answer = [0; 16];
    peer.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"SIP/2.0 200 OK\r\n");
    assert_eq!(end.streams.count_open(), 1);
    drop(peer);
    assert_eq!(end.next().await, Arrival::Ended { hop: source });
    assert!(!end.streams.has(source));
}

#[tokio::test]
async fn a_ping_that_comes_while_something_is_sent_gets_its_pong_behind_it() {
    // RFC 5626 4.4.1: who waits for ten seconds in vain takes the connection for dead.
    let mut end = End::tcp();
    let mut peer = TcpStream::connect(end.hop().address).await.unwrap();
    peer.write_all(OPTIONS.as_bytes()).await.unwrap();
    let (source, _) = end.message().await;
    // More than the network holds for a peer that does not read.
    let long = vec![b'x'; 16 << 20];
    let length = long.len();
    end.streams.send(source, long.into());
    tokio::time::sleep(Duration::from_millis(100)).await;
    peer.write_all(b"\r\n\r\n").await.unwrap();
    peer.write_all(OPTIONS.as_bytes()).await.unwrap();
    end.message().await;
    let mut all = vec![0; length + 2];
    let read = tokio::time::timeout(Duration::from_secs(5), peer.read_exact(&mut all));
    read.await.expect("a pong").unwrap();
    assert_eq!(all.get(length..), Some(&b"\r\n"[..]));
}

#[tokio::test]
async fn a_ping_gets_its_pong_and_what_is_no_sip_the_door() {
    let end = End::tcp();
    let mut peer = TcpStream::connect(end.hop().address).await.unwrap();
    peer.write_all(b"\r\n\r\n").await.unwrap();
    let mut pong = [0; 2];
    peer.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"\r\n");
    let mut stranger = TcpStream::connect(end.hop().address).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(2), stranger.read_to_end(&mut rest));
    let _ = closed.await.expect("closed within a moment");
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_message_that_is_refused_before_its_end_is_told_of_and_its_answer_leaves_before_the_end()
{
    let mut end = End::tcp();
    let mut peer = TcpStream::connect(end.hop().address).await.unwrap();
    peer.write_all(b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: -1\r\n\r\n").await.unwrap();
    let Arrival::Refused { source, parsed } = end.next().await else {
        panic!("not refused")
    };
    assert!(matches!(parsed, Parsed::Reject { .. }), "{parsed:?}");
    end.streams
        .send(source, Bytes::from_static(b"SIP/2.0 400 Bad\r\n"));
    let mut said = Vec::new();
    peer.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"SIP/2.0 400 Bad\r\n");
}

#[tokio::test]
async fn two_ends_share_one_connection_and_nobody_there_is_heard_of() {
    let (a, mut b) = (End::tcp(), End::tcp());
    let to = b.hop();
    for _ in 0..3 {
        a.streams.send(to, Bytes::from_static(OPTIONS.as_bytes()));
    }
    let (source, _) = b.message().await;
    assert_eq!(b.message().await.0, source);
    assert_eq!(b.message().await.0, source);
    assert_eq!((a.streams.count_open(), b.streams.count_open()), (1, 1));
    let mut a = a;
    b.streams
        .send(source, Bytes::from_static(OPTIONS.as_bytes()));
    assert_eq!(a.message().await.0, to);
    let nobody = Hop::new(
        Transport::Tcp,
        std::net::TcpListener::bind(ANY)
            .unwrap()
            .local_addr()
            .unwrap(),
    );
    a.streams
        .send(nobody, Bytes::from_static(OPTIONS.as_bytes()));
    assert_eq!(a.next().await, Arrival::Ended { hop: nobody });
}

#[tokio::test]
async fn strangers_who_say_nothing_go_and_those_who_are_known_stay() {
    let patience = Patience {
        first: Duration::from_millis(300),
        stranger: Duration::from_millis(300),
        ..Patience::default()
    };
    let mut end = End::new(Transport::Tcp, plain(), patience);
    let mut known = TcpStream::connect(end.hop().address).await.unwrap();
    known.write_all(OPTIONS.as_bytes()).await.unwrap();
    let (source, _) = end.message().await;
    end.streams.vouch(source);
    let mut silent = TcpStream::connect(end.hop().address).await.unwrap();
    let (began, mut nothing) = (Instant::now(), [0; 1]);
    assert_eq!(silent.read(&mut nothing).await.unwrap(), 0);
    assert!(began.elapsed() >= Duration::from_millis(250));
    assert!(matches!(end.next().await, Arrival::Ended { hop } if hop != source));
    known.write_all(OPTIONS.as_bytes()).await.unwrap();
    assert_eq!(end.message().await.0, source);
}

#[tokio::test]
async fn one_stranger_has_so_many_connections_and_no_more() {
    let end = End::tcp();
    let mut peers = Vec::new();
    for _ in 0..OF_A_STRANGER + 3 {
        peers.push(TcpStream::connect(end.hop().address).await.unwrap());
    }
    let mut open = 0;
    for peer in &mut peers {
        let _ = peer.write_all(b"\r\n\r\n").await;
        let mut pong = [0; 2];
        let read = tokio::time::timeout(Duration::from_secs(2), peer.read_exact(&mut pong)).await;
        open += usize::from(matches!(read, Ok(Ok(_))));
    }
    assert_eq!(open, OF_A_STRANGER);
}

#[tokio::test]
async fn tls_shows_our_certificate_and_believes_only_what_it_knows() {
    let dir = tempfile::tempdir().unwrap();
    let (files, pin) = certificate(dir.path());
    let server = Tls::new(Some(files.clone()), None).unwrap();
    let mut server = End::new(Transport::Tls, server, Patience::default());
    let to = server.hop();

    let trusting = Tls::new(None, Some(&files.chain)).unwrap();
    let trusting = End::new(Transport::Tcp, trusting, Patience::default());
    trusting
        .streams
        .send(to, Bytes::from_static(OPTIONS.as_bytes()));
    let (source, bytes) = server.message().await;
    assert_eq!(
        (source.transport, &bytes[..]),
        (Transport::Tls, OPTIONS.as_bytes())
    );

    let mut strict = End::tcp();
    strict
        .streams
        .send(to, Bytes::from_static(OPTIONS.as_bytes()));
    assert_eq!(
        strict.next().await,
        Arrival::Ended { hop: to },
        "no root leads there"
    );

    let peer = |name: Option<&str>, pin| TlsPeer {
        name: name.map(str::to_owned),
        pin,
    };
    strict.streams.expect(to, peer(None, Some([7; 32])));
    strict
        .streams
        .send(to, Bytes::from_static(OPTIONS.as_bytes()));
    assert_eq!(
        strict.next().await,
        Arrival::Ended { hop: to },
        "another pin"
    );
    strict
        .streams
        .expect(to, peer(Some("anything.example"), Some(pin)));
    strict
        .streams
        .send(to, Bytes::from_static(OPTIONS.as_bytes()));
    while !matches!(server.next().await, Arrival::Message { .. }) {}

    let misled = Tls::new(None, Some(&files.chain)).unwrap();
    let mut misled = End::new(Transport::Tcp, misled, Patience::default());
    misled.streams.expect(to, peer(Some("pbx.example"), None));
    misled
        .streams
        .send(to, Bytes::from_static(OPTIONS.as_bytes()));
    assert_eq!(
        misled.next().await,
        Arrival::Ended { hop: to },
        "another name"
    );
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_a_bad_one_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (files, first) = certificate(dir.path());
    let server = Tls::new(Some(files.clone()), None).unwrap();
    let mut server = End::new(Transport::Tls, server, Patience::default());
    let to = server.hop();
    let client = |pin| {
        let end = End::tcp();
        end.streams.expect(
            to,
            TlsPeer {
                name: None,
                pin: Some(pin),
            },
        );
        end.streams.send(to, Bytes::from_static(OPTIONS.as_bytes()));
        end
    };
    let mut old = client(first);
    let (old_one, _) = server.message().await;

    std::fs::write(&files.chain, "nonsense").unwrap();
    assert!(server.streams.reload().is_err());
    let _still_the_first = client(first);
    assert!(matches!(server.next().await, Arrival::Message { .. }));

    // The clock of the file system may be coarse.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let (_, second) = certificate(dir.path());
    server.streams.reload().unwrap();
    let mut refused = client(first);
    assert_eq!(refused.next().await, Arrival::Ended { hop: to });
    let _new = client(second);
    while !matches!(server.next().await, Arrival::Message { .. }) {}
    server
        .streams
        .send(old_one, Bytes::from_static(OPTIONS.as_bytes()));
    assert_eq!(
        old.message().await.0,
        to,
        "the connection of before goes on"
    );
}

#[test]
fn a_certificate_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = certificate(dir.path());
    let missing = Certificate {
        key: dir.path().join("nowhere.pem"),
        ..files.clone()
    };
    let error = Tls::new(Some(missing), None).unwrap_err().to_string();
    assert!(error.contains("nowhere.pem"), "{error}");
    let other = tempfile::tempdir().unwrap();
    let (stranger, _) = certificate_for(other.path(), "other.example");
    let mixed = Certificate {
        key: stranger.key,
        chain: files.chain,
    };
    assert!(matches!(
        Tls::new(Some(mixed), None),
        Err(TlsError::Pair { .. })
    ));
}

#[test]
fn a_taken_port_is_named_in_the_error() {
    let first = Listener::bind(Transport::Tcp, ANY).unwrap();
    let again = Listener::bind(Transport::Tcp, first.local().address).unwrap_err();
    let said = again.to_string();
    assert!(said.contains(&first.local().address.to_string()), "{said}");
}
