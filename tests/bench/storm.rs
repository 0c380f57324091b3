//! More calls than anybody can carry: two PBXs, one of which calls the other through the switch at a rate that nothing slows down. Calls
//! that are refused are counted, not tried again; those that are answered are hung up at once, and every tenth that rings is cancelled.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The word by which the benchmark knows that it is this.
pub(crate) const WORD: &str = "sip-storm";
/// A request is sent again when nothing came after this (T1), then after twice as long, and so on.
const AGAIN: f64 = 0.5;
/// How often.
const TRIES: u32 = 6;
/// After the last INVITE, what is open may still end within this.
const AFTER: Duration = Duration::from_secs(8);
/// Every call whose number this divides is cancelled.
const CANCELLED: usize = 10;

/// What to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) switch: SocketAddr,
    pub(crate) caller: SocketAddr,
    pub(crate) called: SocketAddr,
    pub(crate) per_second: f64,
    pub(crate) seconds: f64,
    /// What is done before so many seconds does not count.
    pub(crate) settle: f64,
    /// No two runs have the same.
    pub(crate) run: u64,
}

/// What became of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Said {
    /// INVITEs, without repetitions.
    pub(crate) offered: u64,
    /// Calls that were answered and hung up, or cancelled: all, and each second of those that count.
    pub(crate) carried: u64,
    pub(crate) goodput: f64,
    /// With a final response of 300 or more.
    pub(crate) refused: u64,
    /// Of these with 503 and Retry-After of 5 to 30 s.
    pub(crate) told: u64,
    /// INVITEs that nobody answered by the end.
    pub(crate) unanswered: u64,
    /// BYE and CANCEL: how many, and how many nobody answered.
    pub(crate) ends: u64,
    pub(crate) ends_unanswered: u64,
    /// Times from BYE or CANCEL to its answer, ms, sorted.
    pub(crate) end_ms: Vec<f64>,
    /// How many calls a second it came to send.
    pub(crate) sent_per_second: f64,
}

/// Where a call is.
const INVITED: u8 = 1;
const HEARD: u8 = 2;
const ENDING: u8 = 3;
const CARRIED: u8 = 4;
const REFUSED: u8 = 5;
const LOST: u8 = 6;

#[derive(Debug, Default)]
struct Call {
    state: AtomicU8,
    /// When, microseconds since the start: sent, ended.
    sent: AtomicU64,
    over: AtomicU64,
}

/// A request that waits for its answer.
struct Waiting {
    since: Instant,
    tries: u32,
    text: String,
}

struct Storm {
    orders: Orders,
    began: Instant,
    calls: Vec<Call>,
    ends: Mutex<HashMap<usize, Waiting>>,
    end_ms: Mutex<Vec<f64>>,
    asked: AtomicU64,
    told: AtomicU64,
    is_over: AtomicBool,
}

/// Does as it was told.
pub(crate) fn run(orders: Orders) -> Said {
    let count = (orders.per_second * orders.seconds) as usize;
    let bind = |address| {
        let socket = UdpSocket::bind(address).unwrap();
        let patience = Some(Duration::from_millis(100));
        socket.set_read_timeout(patience).unwrap();
        socket
    };
    let (caller, called) = (bind(orders.caller), bind(orders.called));
    let storm = Storm {
        orders,
        began: Instant::now(),
        calls: (0..count).map(|_| Call::default()).collect(),
        ends: Mutex::default(),
        end_ms: Mutex::default(),
        asked: AtomicU64::new(0),
        told: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    };
    let took = thread::scope(|scope| {
        scope.spawn(|| storm.listen(&caller, Storm::on_answer));
        scope.spawn(|| storm.listen(&called, Storm::answer));
        scope.spawn(|| storm.repeat(&caller));
        let took = storm.call(&caller);
        storm.wait();
        storm.is_over.store(true, Ordering::Relaxed);
        took
    });
    storm.said(took)
}

impl Storm {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros())
            .unwrap()
            .max(1)
    }

    /// Sends all INVITEs, each when it is due, and returns how long that took.
    fn call(&self, socket: &UdpSocket) -> Duration {
        let mut next = 0;
        while next < self.calls.len() {
            let due = self.began.elapsed().as_secs_f64() * self.orders.per_second;
            let due = (due as usize + 1).min(self.calls.len());
            for index in next..due {
                let call = &self.calls[index];
                call.sent.store(self.now(), Ordering::Relaxed);
                call.state.store(INVITED, Ordering::Relaxed);
                self.invite(socket, index);
            }
            next = due;
            thread::sleep(Duration::from_millis(1));
        }
        self.began.elapsed()
    }

    /// Until nothing is open any more, or for long enough.
    fn wait(&self) {
        let until = Instant::now() + AFTER;
        let is_open =
            |call: &Call| matches!(call.state.load(Ordering::Relaxed), INVITED | HEARD | ENDING);
        while Instant::now() < until && self.calls.iter().any(is_open) {
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn invite(&self, socket: &UdpSocket, index: usize) {
        let text = self.request(index, "INVITE", 1, "", &sdp(self.orders.caller));
        socket.send_to(text.as_bytes(), self.orders.switch).ok();
    }

    fn request(&self, index: usize, method: &str, cseq: u32, to: &str, body: &str) -> String {
        let Orders {
            switch,
            caller,
            run,
            ..
        } = &self.orders;
        // A CANCEL, and the ACK to a refusal, have the branch of their INVITE.
        let branch = if matches!(method, "CANCEL" | "REFUSED") {
            "INVITE"
        } else {
            method
        };
        let method = if method == "REFUSED" { "ACK" } else { method };
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{method} sip:6{index:07}@{switch} SIP/2.0\r\nVia: SIP/2.0/UDP {caller};branch=z9hG4bK{run}-{index}-{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:1000@{switch}>;tag=s{index}\r\nTo: <sip:6{index:07}@{switch}>{to}\r\n\
             Call-ID: {index}@storm{run}\r\nCSeq: {cseq} {method}\r\nContact: <sip:1000@{caller}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn listen(&self, socket: &UdpSocket, reader: fn(&Self, &UdpSocket, &str, SocketAddr)) {
        let mut buffer = vec![0; 8192];
        while !self.is_over.load(Ordering::Relaxed) {
            if let Ok((length, source)) = socket.recv_from(&mut buffer)
                && let Ok(text) = std::str::from_utf8(&buffer[..length])
            {
                reader(self, socket, text, source);
            }
        }
    }

    /// Sends again what was not answered.
    fn repeat(&self, socket: &UdpSocket) {
        let mut tries = vec![0; self.calls.len()];
        let is_due =
            |passed: f64, tries: u32| passed >= AGAIN * f64::from((1_u32 << (tries + 1)) - 1);
        while !self.is_over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(100));
            let now = self.now();
            for (index, call) in self.calls.iter().enumerate() {
                if call.state.load(Ordering::Relaxed) != INVITED || tries[index] >= TRIES {
                    continue;
                }
                let sent = call.sent.load(Ordering::Relaxed);
                if is_due(now.saturating_sub(sent) as f64 / 1e6, tries[index]) {
                    tries[index] += 1;
                    self.invite(socket, index);
                }
            }
            for waiting in self.ends.lock().unwrap().values_mut() {
                let passed = waiting.since.elapsed().as_secs_f64();
                if waiting.tries < TRIES && is_due(passed, waiting.tries) {
                    waiting.tries += 1;
                    let text = waiting.text.as_bytes();
                    socket.send_to(text, self.orders.switch).ok();
                }
            }
        }
    }

    fn goes(&self, index: usize, from: &[u8], to: u8) -> bool {
        let state = &self.calls[index].state;
        from.iter().any(|from| {
            state
                .compare_exchange(*from, to, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        })
    }

    /// A BYE or CANCEL, which has to be answered whatever there is to do.
    fn end(&self, socket: &UdpSocket, index: usize, text: String) {
        let (bytes, switch) = (text.clone(), self.orders.switch);
        let waiting = Waiting {
            since: Instant::now(),
            tries: 0,
            text,
        };
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.ends.lock().unwrap().insert(index, waiting);
        socket.send_to(bytes.as_bytes(), switch).ok();
    }

    fn ended(&self, index: usize) {
        if let Some(waiting) = self.ends.lock().unwrap().remove(&index) {
            let took = waiting.since.elapsed().as_secs_f64() * 1e3;
            self.end_ms.lock().unwrap().push(took);
        }
    }

    fn carried(&self, index: usize) {
        if self.goes(index, &[ENDING], CARRIED) {
            self.calls[index].over.store(self.now(), Ordering::Relaxed);
        }
    }

    // ------------------------------------------------------------ the calling PBX

    fn on_answer(&self, socket: &UdpSocket, text: &str, _: SocketAddr) {
        let (Some(status), Some((call_id, run))) = (
            text.strip_prefix("SIP/2.0 "),
            header(text, "Call-ID").split_once("@storm"),
        ) else {
            return;
        };
        let index = call_id.parse().unwrap_or(usize::MAX);
        if run.parse() != Ok(self.orders.run) || index >= self.calls.len() {
            return;
        }
        let (code, cseq) = (&status[..3], header(text, "CSeq"));
        let to = header(text, "To");
        let to = to.split_once('>').map_or("", |(_, tag)| tag);
        match (code, cseq) {
            ("180", "1 INVITE")
                if index.is_multiple_of(CANCELLED)
                    && self.goes(index, &[INVITED, HEARD], ENDING) =>
            {
                self.end(socket, index, self.request(index, "CANCEL", 1, "", ""));
            }
            (_, "1 INVITE") if code < "200" => {
                self.goes(index, &[INVITED], HEARD);
            }
            ("200", "1 INVITE") => {
                let ack = self.request(index, "ACK", 1, to, "");
                socket.send_to(ack.as_bytes(), self.orders.switch).ok();
                if self.goes(index, &[INVITED, HEARD], ENDING) {
                    self.end(socket, index, self.request(index, "BYE", 2, to, ""));
                }
            }
            ("200", "1 CANCEL") => self.ended(index),
            ("200", "2 BYE") => {
                self.ended(index);
                self.carried(index);
            }
            (_, "1 INVITE") => {
                let ack = self.request(index, "REFUSED", 1, to, "");
                socket.send_to(ack.as_bytes(), self.orders.switch).ok();
                if code == "487" {
                    self.carried(index);
                } else if self.goes(index, &[INVITED, HEARD], REFUSED) {
                    let wait = header(text, "Retry-After").parse().unwrap_or(0);
                    let is_told = code == "503" && (5..=30).contains(&wait);
                    self.told.fetch_add(is_told.into(), Ordering::Relaxed);
                }
            }
            // A BYE or CANCEL that is refused is answered, but no call was carried.
            (_, "2 BYE" | "1 CANCEL") => {
                self.ended(index);
                self.goes(index, &[ENDING], LOST);
            }
            _ => {}
        }
    }

    // ------------------------------------------------------------ the called PBX

    fn answer(&self, socket: &UdpSocket, text: &str, source: SocketAddr) {
        let respond = |status: &str, cseq: &str, more: &str, body: &str| {
            let mut out = format!("SIP/2.0 {status}\r\n");
            for line in text.lines().take_while(|line| !line.is_empty()) {
                if line.starts_with("Via: ") {
                    write!(out, "{line}\r\n").unwrap();
                }
            }
            for name in ["From", "To", "Call-ID"] {
                let value = header(text, name);
                let is_new = name == "To" && !value.contains(";tag=");
                let tag = if is_new { ";tag=called" } else { "" };
                write!(out, "{name}: {value}{tag}\r\n").unwrap();
            }
            write!(
                out,
                "CSeq: {cseq}\r\n{more}Content-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
            socket.send_to(out.as_bytes(), source).ok();
        };
        let cseq = header(text, "CSeq");
        match text.split(' ').next().unwrap_or_default() {
            "INVITE" => {
                let contact = format!("Contact: <sip:600@{}>\r\n", self.orders.called);
                respond("180 Ringing", cseq, &contact, "");
                let user = text.strip_prefix("INVITE sip:6").unwrap_or_default();
                let number = user.split('@').next().unwrap_or_default();
                if number
                    .parse::<usize>()
                    .is_ok_and(|index| !index.is_multiple_of(CANCELLED))
                {
                    let answer = contact + "Content-Type: application/sdp\r\n";
                    respond("200 OK", cseq, &answer, &sdp(self.orders.called));
                }
            }
            "BYE" => respond("200 OK", cseq, "", ""),
            "CANCEL" => {
                respond("200 OK", cseq, "", "");
                let invite = cseq.replace("CANCEL", "INVITE");
                respond("487 Request Terminated", &invite, "", "");
            }
            _ => {}
        }
    }

    fn said(&self, took: Duration) -> Said {
        let of = |state: u8| {
            let calls = self.calls.iter();
            calls
                .filter(|call| call.state.load(Ordering::Relaxed) == state)
                .count() as u64
        };
        let (from, to) = (self.orders.settle * 1e6, self.orders.seconds * 1e6);
        let counts = self.calls.iter().filter(|call| {
            let over = call.over.load(Ordering::Relaxed) as f64;
            over >= from && over < to
        });
        let mut end_ms = self.end_ms.lock().unwrap().clone();
        end_ms.sort_by(f64::total_cmp);
        Said {
            offered: self.calls.len() as u64,
            carried: of(CARRIED),
            goodput: counts.count() as f64 * 1e6 / (to - from),
            refused: of(REFUSED),
            told: self.told.load(Ordering::Relaxed),
            unanswered: of(INVITED),
            ends: self.asked.load(Ordering::Relaxed),
            ends_unanswered: self.ends.lock().unwrap().len() as u64,
            end_ms,
            sent_per_second: self.calls.len() as f64 / took.as_secs_f64(),
        }
    }
}

fn header<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_default()
}

fn sdp(address: SocketAddr) -> String {
    let ip = address.ip();
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n",
        // Where its SIP is: nobody listens there for RTP, and nobody is told that there is nobody.
        address.port()
    )
}
