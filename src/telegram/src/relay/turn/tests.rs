//! The client against a server in virtual time.

use rand::SeedableRng;

use super::*;
use crate::relay::testing::{PASSWORD, TurnServer, USERNAME};
use crate::testing::start;

struct Scene {
    now: Instant,
    server: TurnServer,
    client: TurnClient,
    /// Requests that get lost, from now on.
    lose: usize,
    sent: usize,
    /// What peers got.
    delivered: Vec<(SocketAddr, Vec<u8>)>,
}

fn us() -> SocketAddr {
    "192.0.2.1:40000".parse().unwrap()
}

fn peer() -> SocketAddr {
    "198.51.100.7:5000".parse().unwrap()
}

impl Scene {
    fn new() -> Self {
        Self::with(PASSWORD)
    }

    fn with(password: &str) -> Self {
        let now = start();
        let rng = StdRng::seed_from_u64(1);
        Self {
            now,
            server: TurnServer::new(now, "203.0.113.1:3478".parse().unwrap()),
            client: TurnClient::new(now, false, USERNAME, password, rng),
            lose: 0,
            sent: 0,
            delivered: Vec::new(),
        }
    }

    /// An allocation and a permission for the peer.
    fn permitted() -> Self {
        let mut scene = Self::new();
        scene.client.permit(scene.now, peer().ip());
        scene.exchange();
        assert!(scene.server.is_permitted(scene.now, peer().ip()));
        scene
    }

    fn exchange(&mut self) {
        while let Some(bytes) = self.client.poll_transmit() {
            self.deliver(&bytes);
        }
    }

    fn deliver(&mut self, bytes: &[u8]) {
        self.sent += 1;
        if self.lose > 0 {
            self.lose -= 1;
            return;
        }
        let parcel = self
            .server
            .receive(self.now, us(), self.server.address, bytes);
        match parcel {
            Some((_, target, bytes)) if target == us() => {
                assert_eq!(self.client.receive(self.now, &bytes), Received::Control);
            }
            Some((_, target, bytes)) => self.delivered.push((target, bytes)),
            None => {}
        }
    }

    fn send(&mut self, data: &[u8]) -> Option<usize> {
        let bytes = self.client.send(self.now, peer(), data)?;
        self.deliver(&bytes);
        self.exchange();
        Some(bytes.len() - data.len())
    }

    fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(at) = self.client.timeout().filter(|at| *at <= until) {
            self.now = at;
            self.client.handle_timeout(at);
            self.exchange();
        }
        self.now = until;
    }
}

const MEDIA: [u8; 40] = [0x80; 40];
const CHECK: [u8; 40] = [0; 40];

#[test]
fn an_allocation_is_made_with_the_credentials_after_the_challenge() {
    let mut scene = Scene::new();
    scene.exchange();
    assert_eq!(scene.sent, 2);
    assert!(scene.server.relays(scene.client.relayed().unwrap()));
}

#[test]
fn lost_requests_are_repeated_at_the_times_of_rfc_8489() {
    let mut scene = Scene::new();
    scene.lose = 6;
    let mut times = Vec::new();
    let begin = scene.now;
    scene.exchange();
    while scene.client.relayed().is_none() {
        scene.now = scene.client.timeout().unwrap();
        times.push((scene.now - begin).as_millis());
        scene.client.handle_timeout(scene.now);
        scene.exchange();
    }
    assert_eq!(times, [500, 1500, 3500, 7500, 15_500, 31_500]);
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let mut scene = Scene::new();
    scene.lose = 1000;
    scene.exchange();
    scene.run(Duration::from_millis(39_499));
    assert!(!scene.client.is_over());
    scene.run(Duration::from_millis(1));
    assert!(scene.client.is_over());
    assert_eq!((scene.sent, scene.client.timeout()), (7, None));
}

#[test]
fn a_wrong_password_is_tried_once() {
    let mut scene = Scene::with("wrong");
    scene.exchange();
    assert!(scene.client.is_over());
    assert_eq!(scene.sent, 2);
}

#[test]
fn a_peer_gets_indications_for_checks_and_a_channel_for_media() {
    let mut scene = Scene::permitted();
    assert_eq!(scene.send(&CHECK), Some(36));
    assert_eq!(scene.server.asked.get(&method::CHANNEL_BIND), None);
    assert_eq!(scene.send(&MEDIA), Some(36));
    assert_eq!(scene.send(&MEDIA), Some(4));
    assert_eq!(scene.send(&CHECK), Some(4));
    let got: Vec<_> = scene
        .delivered
        .iter()
        .map(|(to, b)| (*to, b.len()))
        .collect();
    assert_eq!(got, [(peer(), 40); 4]);
}

#[test]
fn what_a_peer_sends_arrives_by_indication_and_by_channel() {
    let mut scene = Scene::permitted();
    for _ in 0..2 {
        let relayed = scene.client.relayed().unwrap();
        let parcel = scene.server.receive(scene.now, peer(), relayed, &MEDIA);
        let (_, target, bytes) = parcel.unwrap();
        assert_eq!(target, us());
        let got = scene.client.receive(scene.now, &bytes);
        assert_eq!(got, Received::Peer(peer(), &MEDIA));
        scene.send(&MEDIA);
    }
}

#[test]
fn what_came_too_early_is_sent_with_the_permission() {
    let mut scene = Scene::new();
    scene.client.permit(scene.now, peer().ip());
    // Allocate, its repetition with credentials; then the permission is asked for.
    for _ in 0..2 {
        let bytes = scene.client.poll_transmit().unwrap();
        scene.deliver(&bytes);
    }
    assert_eq!(scene.client.send(scene.now, peer(), &CHECK), None);
    assert!(scene.delivered.is_empty());
    scene.exchange();
    assert_eq!(scene.delivered, [(peer(), CHECK.to_vec())]);
}

#[test]
fn everything_is_refreshed_in_time_for_hours() {
    let mut scene = Scene::permitted();
    scene.server.nonce_life = Duration::from_secs(1000); // it grows stale again and again
    scene.send(&MEDIA);
    for minute in 0..180 {
        scene.run(Duration::from_secs(60));
        assert_eq!(scene.send(&MEDIA), Some(4), "minute {minute}");
        assert_eq!(scene.server.allocations(scene.now), 1);
    }
    assert_eq!(scene.delivered.len(), 181);
    // Media aside: an allocation, its permission and channel, every 540, 240 and 540 s; and ten new nonces.
    let asked = scene.sent - 181;
    assert!(asked < 120, "{asked}");
}

#[test]
fn a_short_lifetime_is_refreshed_at_its_half() {
    let mut scene = Scene::new();
    scene.server.lifetime = 20;
    scene.exchange();
    scene.run(Duration::from_secs(100));
    assert_eq!(scene.server.allocations(scene.now), 1);
    assert_eq!(scene.server.asked[&method::REFRESH], 10);
}

#[test]
fn a_peer_the_server_refuses_is_dead_and_nothing_else() {
    let mut scene = Scene::new();
    scene.server.refuses = Some(peer().ip());
    scene.client.permit(scene.now, peer().ip());
    scene.exchange();
    assert!(scene.client.relayed().is_some());
    for _ in 0..10 {
        assert_eq!(scene.send(&CHECK), None);
        scene.client.permit(scene.now, peer().ip());
        scene.exchange();
    }
    assert_eq!(scene.server.asked[&method::CREATE_PERMISSION], 1);
}

#[test]
fn a_server_that_forgot_the_allocation_ends_it() {
    let mut scene = Scene::permitted();
    scene.server = TurnServer::new(scene.now, scene.server.address);
    scene.run(Duration::from_secs(600));
    assert!(scene.client.is_over());
    assert_eq!(scene.send(&MEDIA), None);
}

#[test]
fn the_allocation_is_given_back() {
    let mut scene = Scene::permitted();
    assert_eq!(scene.server.allocations(scene.now), 1);
    scene.client.release();
    let bytes = scene.client.poll_transmit().unwrap();
    let now = scene.now;
    scene
        .server
        .receive(now, us(), scene.server.address, &bytes);
    assert_eq!(scene.server.allocations(now), 0);
    assert!(scene.client.is_over() && scene.client.timeout().is_none());
}

#[test]
fn a_server_with_endless_new_nonces_is_left() {
    let mut scene = Scene::new();
    scene.server.nonce_life = Duration::from_millis(1);
    for _ in 0..20 {
        let Some(bytes) = scene.client.poll_transmit() else {
            break;
        };
        scene.deliver(&bytes);
        scene.now += Duration::from_millis(1);
    }
    assert!(scene.client.is_over());
    assert!(scene.sent <= 1 + usize::from(NONCES));
}

#[test]
fn success_without_the_right_signature_is_not_believed() {
    let mut scene = Scene::new();
    let ask = scene.client.poll_transmit().unwrap();
    scene.deliver(&ask);
    let signed = scene.client.poll_transmit().unwrap();
    let id = Message::parse(&signed).unwrap().id;
    let forged = Writer::new(method::ALLOCATE, class::SUCCESS, &id)
        .add_address(attribute::XOR_RELAYED_ADDRESS, peer());
    let other = Key::new(USERNAME, b"example.org", "guess");
    for forged in [forged.sign(&other).finish(), vec![0; 20], vec![]] {
        assert_eq!(scene.client.receive(scene.now, &forged), Received::Garbage);
    }
    assert_eq!(scene.client.relayed(), None);
    scene.deliver(&signed);
    assert!(scene.client.relayed().is_some());
}

#[test]
fn a_flood_of_candidates_costs_a_bounded_number_of_requests() {
    let mut scene = Scene::new();
    scene.exchange();
    for n in 0..1000_u32 {
        let ip = IpAddr::from((0xc633_6400 + n).to_be_bytes());
        scene.client.permit(scene.now, ip);
        scene
            .client
            .send(scene.now, SocketAddr::new(ip, 5000), &MEDIA);
        scene.exchange();
        scene
            .client
            .send(scene.now, SocketAddr::new(ip, 5000), &MEDIA);
        scene.exchange();
    }
    assert_eq!(scene.server.asked[&method::CREATE_PERMISSION], PERMISSIONS);
    assert_eq!(scene.server.asked[&method::CHANNEL_BIND], CHANNELS);
}

#[test]
fn data_of_peers_nobody_named_is_dropped() {
    let mut scene = Scene::permitted();
    let stranger: SocketAddr = "198.51.100.8:5000".parse().unwrap();
    let data = Writer::new(method::DATA, class::INDICATION, &[1; 12])
        .add_address(attribute::XOR_PEER_ADDRESS, stranger)
        .add(attribute::DATA, &MEDIA)
        .finish();
    assert_eq!(scene.client.receive(scene.now, &data), Received::Garbage);
    let unknown = [0x40, 0x05, 0, 1, 9];
    assert_eq!(scene.client.receive(scene.now, &unknown), Received::Garbage);
}
