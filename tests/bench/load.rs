//! The load generator for SIP: this program in a process of its own. Two PBXs that call each other through the switch, or phones
//! that register; a thread each for sending and for every socket, nothing parsed but what decides the next step.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The word by which this program knows that it is the load.
pub(crate) const WORD: &str = "sip-load";
/// A request is sent again when nothing came after this (T1), and so often.
const AGAIN: Duration = Duration::from_millis(500);
const TRIES: u64 = 7;

/// What to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) switch: SocketAddr,
    /// The addresses of the two PBXs; phones register from the first.
    pub(crate) caller: SocketAddr,
    pub(crate) called: SocketAddr,
    /// Calls, or registrations, and the number of the first one.
    pub(crate) count: usize,
    pub(crate) first: usize,
    pub(crate) per_second: f64,
    /// Logins and passwords of the phones; none for calls.
    pub(crate) accounts: Vec<(String, String)>,
    pub(crate) realm: String,
}

/// What became of it; times in ms.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) done: usize,
    /// One line for each of the first few that failed.
    pub(crate) faults: Vec<String>,
    pub(crate) failed: usize,
    pub(crate) repeated: u64,
    /// INVITE to 180, less what the called PBX needed in between.
    pub(crate) added_pdd: Vec<f64>,
    /// INVITE to 200, or REGISTER to 200.
    pub(crate) set_up: Vec<f64>,
    /// CPU-seconds of the generator itself.
    pub(crate) own_cpu: f64,
}

/// One call: microseconds since the start, 0 for not yet.
#[derive(Debug, Default)]
struct Times {
    invited: AtomicU64,
    arrived: AtomicU64,
    rang: AtomicU64,
    heard: AtomicU64,
    answered: AtomicU64,
    over: AtomicU64,
}

struct Shared {
    orders: Orders,
    began: Instant,
    times: Vec<Times>,
    /// What each one has sent last and is not answered yet, and since when.
    waiting: Mutex<std::collections::HashMap<usize, (u64, u64, String)>>,
    done: AtomicUsize,
    failed: AtomicUsize,
    repeated: AtomicU64,
    faults: Mutex<Vec<String>>,
}

impl Shared {
    fn now(&self) -> u64 {
        self.began.elapsed().as_micros().max(1) as u64
    }

    fn fault(&self, index: usize, what: &str) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.waiting.lock().unwrap().remove(&index);
        let mut faults = self.faults.lock().unwrap();
        if faults.len() < 10 {
            faults.push(format!("{index}: {what}"));
        }
    }

    fn send(&self, socket: &UdpSocket, index: usize, text: String) {
        // Noted first: the answer may be faster than we.
        let noted = (self.now(), 1, text.clone());
        self.waiting.lock().unwrap().insert(index, noted);
        socket.send_to(text.as_bytes(), self.orders.switch).ok();
    }

    fn over(&self) -> bool {
        self.done.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed) >= self.orders.count
    }
}

/// Reads its orders, does as it was told, says what became of it.
pub(crate) fn play() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let orders: Orders = serde_json::from_str(&line).unwrap();
    let phones = !orders.accounts.is_empty();
    let caller = bind(orders.caller);
    let shared = Arc::new(Shared {
        times: (0..orders.count).map(|_| Times::default()).collect(),
        began: Instant::now(),
        waiting: Mutex::default(),
        done: AtomicUsize::new(0),
        failed: AtomicUsize::new(0),
        repeated: AtomicU64::new(0),
        faults: Mutex::default(),
        orders,
    });
    let mut threads = Vec::new();
    if !phones {
        let (called, state) = (bind(shared.orders.called), Arc::clone(&shared));
        threads.push(thread::spawn(move || listen(&state, &called, answer_calls)));
    }
    let (socket, state) = (caller.try_clone().unwrap(), Arc::clone(&shared));
    let reader: Reader = if phones { on_registered } else { on_called };
    threads.push(thread::spawn(move || listen(&state, &socket, reader)));
    let (socket, state) = (caller.try_clone().unwrap(), Arc::clone(&shared));
    threads.push(thread::spawn(move || repeat(&state, &socket)));
    let step = Duration::from_secs_f64(1.0 / shared.orders.per_second);
    for index in 0..shared.orders.count {
        let due = shared.began + step * index as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let text = if phones {
            register(&shared, index, None)
        } else {
            invite(&shared, index)
        };
        shared.times[index]
            .invited
            .store(shared.now(), Ordering::Relaxed);
        shared.send(&caller, index, text);
    }
    // They end when all is over.
    for thread in threads {
        thread.join().unwrap();
    }
    let own_cpu = crate::proc::cpu(std::process::id());
    let said = report(&shared, own_cpu);
    let mut out = std::io::stdout();
    writeln!(out, "{}", serde_json::to_string(&said).unwrap()).unwrap();
}

fn bind(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    socket
}

type Reader = fn(&Shared, &UdpSocket, &str, SocketAddr);

fn listen(shared: &Shared, socket: &UdpSocket, reader: Reader) {
    let mut buffer = vec![0; 8192];
    while !shared.over() {
        if let Ok((length, source)) = socket.recv_from(&mut buffer)
            && let Ok(text) = std::str::from_utf8(&buffer[..length])
        {
            reader(shared, socket, text, source);
        }
    }
}

/// Sends again what was not answered.
fn repeat(shared: &Shared, socket: &UdpSocket) {
    while !shared.over() {
        thread::sleep(Duration::from_millis(100));
        let now = shared.now();
        let mut lost = Vec::new();
        for (index, (since, tries, text)) in shared.waiting.lock().unwrap().iter_mut() {
            if now < *since + AGAIN.as_micros() as u64 * *tries {
                continue;
            }
            *tries += 1;
            if *tries > TRIES {
                lost.push((*index, text.lines().next().unwrap_or_default().to_owned()));
            } else {
                shared.repeated.fetch_add(1, Ordering::Relaxed);
                socket.send_to(text.as_bytes(), shared.orders.switch).ok();
            }
        }
        for (index, start) in lost {
            shared.fault(index, &format!("no answer to {start}"));
        }
    }
}

fn header<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_default()
}

/// Every field of this name as whole lines, in their order.
fn fields(text: &str, name: &str) -> Vec<String> {
    text.lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .map(str::to_owned)
        .collect()
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split_once(before).map_or("", |(_, rest)| rest);
    rest.split_once(after).map_or(rest, |(found, _)| found)
}

fn sdp(address: SocketAddr) -> String {
    let ip = address.ip();
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP 8 101\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n",
        // Where its SIP is: nobody listens there for RTP, and nobody is told that there is nobody.
        address.port()
    )
}

// ---------------------------------------------------------------- the calling PBX

fn invite(shared: &Shared, index: usize) -> String {
    let target = format!("sip:6{index:06}@{}", shared.orders.switch);
    let to = format!("<{target}>");
    request(
        shared,
        index,
        "INVITE",
        1,
        (&target, &to, ""),
        &sdp(shared.orders.caller),
    )
}

fn request(
    shared: &Shared,
    index: usize,
    method: &str,
    cseq: u32,
    (target, to, route): (&str, &str, &str),
    body: &str,
) -> String {
    let (caller, switch) = (shared.orders.caller, shared.orders.switch);
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    // The ACK of a 200 is a transaction of its own.
    format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {caller};branch=z9hG4bK{}-{index}-{method};rport\r\n\
         Max-Forwards: 70\r\nFrom: \"Load\" <sip:1000@{switch}>;tag=l{index}\r\nTo: {to}\r\nCall-ID: {index}@load-{}\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:1000@{caller}>\r\nUser-Agent: load\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS\r\n\
         {route}{kind}Content-Length: {}\r\n\r\n{body}",
        std::process::id(),
        std::process::id(),
        body.len()
    )
}

fn on_called(shared: &Shared, socket: &UdpSocket, text: &str, _: SocketAddr) {
    let Some(status) = text.strip_prefix("SIP/2.0 ") else {
        return;
    };
    let Ok(index) = header(text, "Call-ID")
        .split('@')
        .next()
        .unwrap_or_default()
        .parse::<usize>()
    else {
        return;
    };
    let (Some(times), cseq) = (shared.times.get(index), header(text, "CSeq")) else {
        return;
    };
    let first = |time: &AtomicU64| {
        time.compare_exchange(0, shared.now(), Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    };
    match (&status[..3], cseq) {
        ("100", _) => {
            shared.waiting.lock().unwrap().remove(&index);
        }
        ("180", "1 INVITE") => {
            first(&times.heard);
            shared.waiting.lock().unwrap().remove(&index);
        }
        ("200", "1 INVITE") => {
            let (to, target) = (
                header(text, "To"),
                between(header(text, "Contact"), "<", ">"),
            );
            // A proxy on the way wants to stay there (RFC 3261 12.1.2).
            let mut route = String::new();
            for proxy in fields(text, "Record-Route").iter().rev() {
                write!(route, "Route: {proxy}\r\n").unwrap();
            }
            let ack = request(shared, index, "ACK", 1, (target, to, &route), "");
            socket.send_to(ack.as_bytes(), shared.orders.switch).ok();
            if first(&times.answered) {
                let bye = request(shared, index, "BYE", 2, (target, to, &route), "");
                shared.send(socket, index, bye);
            }
        }
        ("200", "2 BYE") if first(&times.over) => {
            shared.waiting.lock().unwrap().remove(&index);
            shared.done.fetch_add(1, Ordering::Relaxed);
        }
        (code, _) if code >= "300" => {
            let target = format!("sip:6{index:06}@{}", shared.orders.switch);
            let to = header(text, "To");
            let ack = request(shared, index, "ACK", 1, (&target, to, ""), "")
                .replace("-ACK;", "-INVITE;");
            socket.send_to(ack.as_bytes(), shared.orders.switch).ok();
            if first(&times.over) {
                shared.fault(index, status.lines().next().unwrap_or_default());
            }
        }
        _ => {}
    }
}

// ---------------------------------------------------------------- the called PBX

fn answer_calls(shared: &Shared, socket: &UdpSocket, text: &str, source: SocketAddr) {
    let method = text.split(' ').next().unwrap_or_default();
    let respond = |status: &str, more: &str, body: &str| {
        let mut out = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "Record-Route"] {
            for value in fields(text, name) {
                write!(out, "{name}: {value}\r\n").unwrap();
            }
        }
        for name in ["From", "To", "Call-ID", "CSeq"] {
            let value = header(text, name);
            let is_new = name == "To" && !value.contains(";tag=");
            let tag = if is_new { ";tag=called" } else { "" };
            write!(out, "{name}: {value}{tag}\r\n").unwrap();
        }
        write!(out, "{more}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        socket.send_to(out.as_bytes(), source).ok();
    };
    match method {
        "INVITE" => {
            let user = between(text, "INVITE sip:6", "@");
            let Some(times) = user
                .parse()
                .ok()
                .and_then(|index: usize| shared.times.get(index))
            else {
                return;
            };
            let contact = format!("Contact: <sip:600@{}>\r\n", shared.orders.called);
            times
                .arrived
                .compare_exchange(0, shared.now(), Ordering::Relaxed, Ordering::Relaxed)
                .ok();
            respond("180 Ringing", &contact, "");
            times
                .rang
                .compare_exchange(0, shared.now(), Ordering::Relaxed, Ordering::Relaxed)
                .ok();
            let answer = contact + "Content-Type: application/sdp\r\n";
            respond("200 OK", &answer, &sdp(shared.orders.called));
        }
        "BYE" | "CANCEL" => respond("200 OK", "", ""),
        _ => {}
    }
}

// ---------------------------------------------------------------- phones

fn register(shared: &Shared, index: usize, nonce: Option<&str>) -> String {
    let (login, password) = &shared.orders.accounts[index % shared.orders.accounts.len()];
    let (caller, switch, realm) = (
        shared.orders.caller,
        shared.orders.switch,
        &shared.orders.realm,
    );
    let uri = format!("sip:{switch}");
    let number = (shared.orders.first + index) * 2;
    let (cseq, credentials) = match nonce {
        None => (number + 1, String::new()),
        Some(nonce) => {
            let md5 = |text: String| format!("{:x}", md5::compute(text));
            let (a1, a2) = (
                md5(format!("{login}:{realm}:{password}")),
                md5(format!("REGISTER:{uri}")),
            );
            let response = md5(format!("{a1}:{nonce}:00000001:c{index}:auth:{a2}"));
            let line = format!(
                "Authorization: Digest username=\"{login}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
                 response=\"{response}\", algorithm=MD5, cnonce=\"c{index}\", qop=auth, nc=00000001\r\n"
            );
            (number + 2, line)
        }
    };
    format!(
        "REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {caller};branch=z9hG4bKr{index}-{cseq};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:{login}@{switch}>;tag=r{index}\r\nTo: <sip:{login}@{switch}>\r\nCall-ID: {login}@load\r\n\
         CSeq: {cseq} REGISTER\r\nContact: <sip:{login}@{caller}>;expires=3600\r\n{credentials}Content-Length: 0\r\n\r\n"
    )
}

fn on_registered(shared: &Shared, socket: &UdpSocket, text: &str, _: SocketAddr) {
    let cseq = between(header(text, "CSeq"), "", " ");
    let Some(number) = cseq.parse::<usize>().ok().filter(|number| *number > 0) else {
        return;
    };
    let Some(index) = ((number - 1) / 2).checked_sub(shared.orders.first) else {
        return;
    };
    let Some(times) = shared.times.get(index) else {
        return;
    };
    let first = |time: &AtomicU64| {
        let now = shared.now();
        time.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    };
    match text.get(8..11) {
        Some("401") if number % 2 == 1 => {
            let nonce = between(header(text, "WWW-Authenticate"), "nonce=\"", "\"");
            let again = register(shared, index, Some(nonce));
            shared.send(socket, index, again);
        }
        Some("200") if first(&times.answered) => {
            shared.waiting.lock().unwrap().remove(&index);
            shared.done.fetch_add(1, Ordering::Relaxed);
        }
        Some(code) if code >= "300" => shared.fault(index, text.lines().next().unwrap_or_default()),
        _ => {}
    }
}

fn report(shared: &Shared, own_cpu: f64) -> Said {
    let at = |time: &AtomicU64| time.load(Ordering::Relaxed);
    let ms = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e3;
    let answered = || shared.times.iter().filter(|times| at(&times.answered) > 0);
    let mut added_pdd: Vec<f64> = answered()
        .filter(|times| at(&times.heard) > 0)
        .map(|times| {
            ms(at(&times.invited), at(&times.heard)) - ms(at(&times.arrived), at(&times.rang))
        })
        .collect();
    let mut set_up: Vec<f64> = answered()
        .map(|times| ms(at(&times.invited), at(&times.answered)))
        .collect();
    added_pdd.sort_by(f64::total_cmp);
    set_up.sort_by(f64::total_cmp);
    Said {
        done: shared.done.load(Ordering::Relaxed),
        faults: shared.faults.lock().unwrap().clone(),
        failed: shared.failed.load(Ordering::Relaxed),
        repeated: shared.repeated.load(Ordering::Relaxed),
        added_pdd,
        set_up,
        own_cpu,
    }
}
