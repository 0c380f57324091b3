//! Against a name server on loopback that has the zone of the test, and nothing else.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, NAPTR, SOA, SRV};
use hickory_resolver::proto::rr::{Name, Record};
use tokio::net::UdpSocket;

use super::*;

/// A name server with a zone, and how many questions it was asked.
struct Zone {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).unwrap()
}

fn naptr(order: u16, service: &str, replacement: &str) -> RData {
    RData::NAPTR(NAPTR::new(
        order,
        10,
        Box::from(*b"s"),
        service.as_bytes().into(),
        Box::from(*b""),
        name(replacement),
    ))
}

fn srv(priority: u16, port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(priority, 0, port, name(target)))
}

fn a(last: u8) -> RData {
    RData::A(A(Ipv4Addr::new(127, 0, 0, last)))
}

impl Zone {
    async fn serve(zone: Vec<(&str, RData)>) -> Self {
        let zone: Vec<_> = zone
            .into_iter()
            .map(|(at, data)| (name(at), data))
            .collect();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut room = [0; 4096];
            while let Ok((length, source)) = socket.recv_from(&mut room).await {
                let Ok(question) = Message::from_vec(&room[..length]) else {
                    continue;
                };
                count.fetch_add(1, Ordering::SeqCst);
                let query = question.queries[0].clone();
                let mut answer =
                    Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
                answer.add_query(query.clone());
                let is_known = zone.iter().any(|(at, _)| at == query.name());
                for (at, data) in &zone {
                    if at == query.name() && data.record_type() == query.query_type() {
                        answer.add_answer(Record::from_rdata(at.clone(), 60, data.clone()));
                    }
                }
                if !is_known {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
                if answer.answers.is_empty() {
                    // How long it is not there (RFC 2308).
                    let soa = SOA::new(name("test"), name("test"), 1, 60, 60, 60, 60);
                    answer.add_authority(Record::from_rdata(name("test"), 60, RData::SOA(soa)));
                }
                let _ = socket.send_to(&answer.to_vec().unwrap(), source).await;
            }
        });
        Self { address, asked }
    }

    fn resolver(&self) -> Resolver {
        Resolver::new(&[self.address])
    }
}

async fn found(resolver: &Resolver, host: &str, transport: Transport) -> Result<String, String> {
    let host = host.parse().unwrap();
    let hops = resolver.locate(&host, transport).await;
    let hops = hops.map_err(|error| error.to_string())?;
    let hops: Vec<_> = hops.iter().map(|hop| hop.address.to_string()).collect();
    Ok(hops.join(" "))
}

#[tokio::test]
async fn addresses_and_this_host_need_no_name_server() {
    let resolver = Resolver::new(&["127.0.0.1:1".parse().unwrap()]);
    for (host, address) in [
        ("192.0.2.7", "192.0.2.7:5060"),
        ("[2001:db8::1]:5062", "[2001:db8::1]:5062"),
        ("192.0.2.7:5070", "192.0.2.7:5070"),
    ] {
        let found = found(&resolver, host, Transport::Udp).await;
        assert_eq!(found.as_deref(), Ok(address));
    }
    let here = found(&resolver, "localhost:5060", Transport::Udp)
        .await
        .unwrap();
    assert!(here.contains("127.0.0.1:5060"), "{here}");
}

#[tokio::test]
async fn naptr_leads_to_srv_and_srv_to_addresses_in_order() {
    let zone = Zone::serve(vec![
        ("pbx.test", naptr(20, "SIP+D2U", "_sip._udp.pbx.test")),
        ("pbx.test", naptr(10, "SIP+D2T", "_stream.pbx.test")),
        ("_sip._udp.pbx.test", srv(20, 5070, "two.pbx.test")),
        ("_sip._udp.pbx.test", srv(10, 5080, "one.pbx.test")),
        ("_stream.pbx.test", srv(10, 5090, "two.pbx.test")),
        ("_sips._tcp.pbx.test", srv(10, 5091, "one.pbx.test")),
        ("one.pbx.test", a(11)),
        ("two.pbx.test", a(21)),
        ("two.pbx.test", a(22)),
    ])
    .await;
    let resolver = zone.resolver();
    for (transport, hops) in [
        (
            Transport::Udp,
            "127.0.0.11:5080 127.0.0.21:5070 127.0.0.22:5070",
        ),
        (Transport::Tcp, "127.0.0.21:5090 127.0.0.22:5090"),
        // No NAPTR for this one: the usual name.
        (Transport::Tls, "127.0.0.11:5091"),
    ] {
        let found = found(&resolver, "pbx.test", transport).await;
        assert_eq!(found.as_deref(), Ok(hops), "{transport}");
    }
    // Whoever names a port wants no SRV.
    let fixed = found(&resolver, "one.pbx.test:5066", Transport::Udp).await;
    assert_eq!(fixed.as_deref(), Ok("127.0.0.11:5066"));
    // TTLs are kept: nobody is asked twice.
    let asked = zone.asked.load(Ordering::SeqCst);
    found(&resolver, "pbx.test", Transport::Udp).await.unwrap();
    assert_eq!(zone.asked.load(Ordering::SeqCst), asked);
}

#[tokio::test]
async fn a_domain_without_srv_is_its_addresses() {
    let zone = Zone::serve(vec![("plain.test", a(31)), ("plain.test", a(32))]).await;
    let resolver = zone.resolver();
    let hops = found(&resolver, "plain.test", Transport::Udp)
        .await
        .unwrap();
    assert!(
        [
            "127.0.0.31:5060 127.0.0.32:5060",
            "127.0.0.32:5060 127.0.0.31:5060"
        ]
        .contains(&hops.as_str()),
        "{hops}"
    );
    let tls = found(&resolver, "plain.test", Transport::Tls)
        .await
        .unwrap();
    assert!(tls.contains("127.0.0.31:5061"), "{tls}");
}

#[tokio::test]
async fn addresses_without_a_way_come_last_and_so_do_those_to_avoid() {
    let nowhere = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let zone = Zone::serve(vec![
        ("both.test", RData::AAAA(AAAA(nowhere))),
        ("both.test", a(41)),
    ])
    .await;
    let resolver = zone.resolver();
    let hops = found(&resolver, "both.test", Transport::Udp).await.unwrap();
    let first =
        if crate::udp::source_address_for(SocketAddr::new(nowhere.into(), 5060)).is_unspecified() {
            "127.0.0.41:5060"
        } else {
            "[2001:db8::1]:5060"
        };
    assert!(hops.starts_with(first), "{hops}");
    assert_eq!(hops.split(' ').count(), 2, "{hops}");
    resolver.avoid(Hop::udp(first.parse().unwrap()));
    let hops = found(&resolver, "both.test", Transport::Udp).await.unwrap();
    assert!(hops.ends_with(first), "{hops}");
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let zone = Zone::serve(vec![
        (
            "_sip._udp.none.test",
            RData::SRV(SRV::new(0, 0, 0, Name::root())),
        ),
        ("_sip._udp.lost.test", srv(1, 5060, "gone.lost.test")),
    ])
    .await;
    let resolver = zone.resolver();
    for (host, says) in [
        (
            "none.test",
            "the domain none.test says that it has no SIP over udp",
        ),
        (
            "lost.test",
            "no address is known for the name gone.lost.test",
        ),
        (
            "nobody.test",
            "no address is known for the name nobody.test",
        ),
    ] {
        let error = found(&resolver, host, Transport::Udp).await.unwrap_err();
        assert!(error.starts_with(says), "{error}");
    }
    let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let resolver = Resolver::new(&[deaf.local_addr().unwrap()]);
    let begun = Instant::now();
    let error = found(&resolver, "silent.test", Transport::Udp)
        .await
        .unwrap_err();
    assert!(error.contains("do not answer"), "{error}");
    assert!(begun.elapsed() < PATIENCE * 2, "{:?}", begun.elapsed());
}
