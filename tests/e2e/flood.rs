//! A stranger who floods the SIP port: calls, and whoever else asks, notice nothing; it costs no memory and gains the stranger nothing.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::deadline::s;
use crate::house::{House, LOGIN};
use crate::pbx::Sipp;
use crate::talk::{ALAW, Caller, Ends, Talk};
use crate::telegram::Behaviour;

/// Requests a second of the flood.
const RATE: u32 = 2_000;
/// How long it lasts at most, whatever happens in the test.
const LONGEST: Duration = Duration::from_secs(90);
/// One request with each method in turn.
const METHODS: [&str; 7] = [
    "REGISTER",
    "SUBSCRIBE",
    "NOTIFY",
    "PUBLISH",
    "MESSAGE",
    "INVITE",
    "OPTIONS",
];

fn request(method: &str, from: SocketAddr, to: SocketAddr, number: u64) -> String {
    format!(
        "{method} sip:1000@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};rport;branch=z9hG4bK{number}\r\nMax-Forwards: 70\r\n\
         From: <sip:1000@{to}>;tag={number}\r\nTo: <sip:1000@{to}>\r\nCall-ID: {number}@{from}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:1000@{from}>\r\nUser-Agent: friendly-scanner\r\nContent-Length: 0\r\n\r\n"
    )
}

/// What a flood came to.
#[derive(Debug, Default)]
struct Flooded {
    sent: u64,
    octets_out: u64,
    answers: u64,
    octets_back: u64,
    took: Duration,
}

/// A flood that goes on until it is stopped.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Flooded>,
}

impl Flood {
    fn start(from: &str, to: SocketAddr) -> Self {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || flood(&socket, to, &told));
        Self { stop, thread }
    }

    fn stop(self) -> Flooded {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn flood(socket: &UdpSocket, to: SocketAddr, stop: &AtomicBool) -> Flooded {
    let (begun, from) = (Instant::now(), socket.local_addr().unwrap());
    let mut done = Flooded::default();
    let mut buffer = [0; 2_048];
    while !stop.load(Ordering::Relaxed) && begun.elapsed() < LONGEST {
        let due = u64::try_from(begun.elapsed().as_micros()).unwrap() * u64::from(RATE) / 1_000_000;
        // What a stall has kept back comes a little faster, not in one heap that no buffer holds.
        let due = due.min(done.sent + u64::from(RATE) / 20);
        while done.sent < due {
            let method = METHODS[usize::try_from(done.sent).unwrap() % METHODS.len()];
            let text = request(method, from, to, done.sent);
            match socket.send_to(text.as_bytes(), to) {
                Ok(octets) => done.octets_out += octets as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
            done.sent += 1;
        }
        while let Ok((octets, _)) = socket.recv_from(&mut buffer) {
            done.answers += 1;
            done.octets_back += octets as u64;
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    done.took = begun.elapsed();
    done
}

/// Asks ten times a second and notes how long each answer took; what is never answered took five seconds.
struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Probe {
    fn start(from: &str, to: SocketAddr) -> Self {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.set_read_timeout(Some(s(5))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let own = socket.local_addr().unwrap();
            let mut times = Vec::new();
            let mut buffer = [0; 2_048];
            while !told.load(Ordering::Relaxed) {
                let text = request("OPTIONS", own, to, times.len() as u64);
                let asked = Instant::now();
                socket.send_to(text.as_bytes(), to).unwrap();
                let answered = socket.recv_from(&mut buffer).is_ok();
                times.push(if answered { asked.elapsed() } else { s(5) });
                thread::park_timeout(Duration::from_millis(100).saturating_sub(asked.elapsed()));
            }
            times
        });
        Self { stop, thread }
    }

    /// How long 99 of 100 answers took at most, and the longest one.
    fn stop(self) -> (Duration, Duration, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let mut times = self.thread.join().unwrap();
        times.sort();
        let rank = (times.len() * 99).div_ceil(100) - 1;
        (times[rank], *times.last().unwrap(), times.len())
    }
}

#[test]
fn calls_and_other_strangers_notice_nothing_of_a_flood() {
    let house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    house
        .telegram
        .user("dora", "15550005", &Behaviour::declines());
    let resident = |house: &House| house.metrics().sum("process_resident_memory_bytes");
    let dropped = |house: &House| {
        let labels = [("reason", "rate_limit")];
        house
            .metrics()
            .sum_of("strowger_sip_dropped_total", &labels)
    };
    // Once before: what a call needs is in memory then, and it shows how late this machine is by itself.
    let calm = Probe::start("127.0.0.67", house.sip());
    let house = Talk::start_in(house, Caller::Pbx, "13.0.0", ALAW).end(Ends::Pbx);
    let (calm_p99, calm_longest, _) = calm.stop();
    let before = resident(&house);
    let flood = Flood::start("127.0.0.66", house.sip());
    let probe = Probe::start("127.0.0.67", house.sip());
    let talk = Talk::start_in(house, Caller::Pbx, "13.0.0", ALAW);
    for n in 0..10 {
        let pbx = Sipp::new(talk.house.dir(), &format!("pbx-{n}")).to(talk.house.sip());
        let verdict = pbx.number("dora").key("code", "486").run("uac_refused");
        verdict.expect_ok();
    }
    let mut house = talk.end(Ends::Pbx);
    let flooded = flood.stop();
    let (p99, longest, asked) = probe.stop();
    let after = resident(&house);
    let seconds = flooded.took.as_secs_f64();
    eprintln!(
        "{flooded:?}: {:.0} a second; {} octets back for each 100 sent; OPTIONS of another p99 {p99:?}, longest {longest:?} of {asked} \
         (without a flood {calm_p99:?}, {calm_longest:?}); resident {before} then {after}; dropped {}",
        flooded.sent as f64 / seconds,
        flooded.octets_back * 100 / flooded.octets_out.max(1),
        dropped(&house),
    );
    assert!(
        flooded.sent as f64 > f64::from(RATE) * 0.8 * seconds,
        "the flood was no flood"
    );
    // Its budget is 40 at once and 20 a second; each answer is one datagram of at most one and a half of its request.
    assert!(flooded.answers as f64 <= 45.0 + 20.0 * seconds);
    assert!(flooded.answers > 0 && flooded.octets_back * 2 <= flooded.octets_out * 3);
    assert!(dropped(&house) > flooded.sent as f64 * 0.9);
    // What it takes on a busy machine without a flood is not the flood's doing.
    assert!(p99 <= Duration::from_millis(20) + calm_p99, "{p99:?}");
    assert!(
        longest <= Duration::from_millis(200) + calm_longest,
        "{longest:?}"
    );
    assert!(after < before + 10e6, "{before} then {after}");
    house.assert_clean(&["discard_reason", "call_duration"]);
}

/// Whether an OPTIONS from there is answered.
fn is_heard(from: &str, to: SocketAddr) -> bool {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket.set_read_timeout(Some(s(1))).unwrap();
    let text = request("OPTIONS", socket.local_addr().unwrap(), to, 1);
    socket.send_to(text.as_bytes(), to).unwrap();
    socket.recv_from(&mut [0; 2_048]).is_ok()
}

#[test]
fn bans() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    let (guesser, other) = ("127.0.0.71", "127.0.0.72");
    assert!(is_heard(guesser, house.sip()) && is_heard(other, house.sip()));
    // Ten guesses, each after a challenge; sipp says that it was refused, or in the end that nobody answers.
    for n in 0..10 {
        let name = format!("guess-{n}");
        let guess = Sipp::new(house.dir(), &name).ip(guesser).to(house.sip());
        let guess = guess.login(LOGIN, "a wrong password").limit(s(5));
        guess.run("register_bad");
    }
    assert!(!is_heard(guesser, house.sip()) && is_heard(other, house.sip()));
    let labels = [("reason", "ban_list")];
    assert!(
        house
            .metrics()
            .sum_of("strowger_sip_dropped_total", &labels)
            > 0.5
    );
    house.wait_metric("strowger_sip_banned_addresses", &[], 1.0);
    let said = house.expect_command(&["ban", "list"], "");
    assert!(said.contains(guesser) && !said.contains(other), "{said}");

    house.expect_command(&["ban", "add", other, "--for", "1h"], "");
    assert!(!is_heard(other, house.sip()));
    house.expect_command(&["ban", "remove", guesser], "");
    assert!(is_heard(guesser, house.sip()));
    assert_eq!(house.command(&["ban", "remove", guesser], "").0, 5);

    // A ban outlives the process.
    house.stop();
    house.start();
    assert!(is_heard(guesser, house.sip()) && !is_heard(other, house.sip()));
    house.expect_command(&["ban", "remove", other], "");
    assert!(is_heard(other, house.sip()));
    house.assert_clean(&[]);
}
