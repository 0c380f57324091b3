//! A PBX that calls, is called, hangs up, and remembers of each call how far it came.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sip::{HeaderName, Message, Method, Parsed, Request, Response};

/// How long it waits for a packet before it looks what is due.
const LOOK: Duration = Duration::from_millis(2);

/// How a call went, seen from here.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// What was dialled.
    pub(crate) number: String,
    /// When the other side first said something.
    pub(crate) began: Option<Instant>,
    pub(crate) answered: Option<Instant>,
    /// When the call was over for both sides: after a refusal, or after a BYE and its answer.
    pub(crate) ended: Option<Instant>,
    /// Whether we called.
    pub(crate) calls: bool,
    /// When we hang up, and whether we have.
    hang_up: Option<Instant>,
    hung_up: bool,
    /// Our tag and the other side's dialog: From, To, target, where it comes from.
    bye: Option<String>,
}

impl Seen {
    /// Whether somebody here is left in the call at `now` for whom it was up at least this long.
    pub(crate) fn is_left(&self, killed: Instant, age: Duration) -> bool {
        let since = self.answered.or(self.began);
        self.ended.is_none()
            && !self.hung_up
            && since.is_some_and(|since| killed.saturating_duration_since(since) >= age)
    }
}

struct Shared {
    calls: Mutex<HashMap<String, Seen>>,
    /// It makes calls.
    busy: AtomicBool,
    over: AtomicBool,
}

/// The PBX; ends when dropped.
pub(crate) struct Peer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    /// At this port of loopback; calls so many times a second while it is busy, numbers that begin so, and answers calls unless it is
    /// `silent`.
    pub(crate) fn start(port: u16, switch: SocketAddr, rate: u32, silent: bool) -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(LOOK)).unwrap();
        let shared = Arc::new(Shared {
            calls: Mutex::default(),
            busy: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let line = Line {
            me: SocketAddr::from(([127, 0, 0, 1], port)),
            socket,
            switch,
            silent,
            shared: Arc::clone(&shared),
        };
        let thread = thread::spawn(move || line.run(rate));
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Whether it makes calls from now on.
    pub(crate) fn busy(&self, busy: bool) {
        self.shared.busy.store(busy, Ordering::Relaxed);
    }

    /// All calls so far.
    pub(crate) fn calls(&self) -> Vec<Seen> {
        self.shared
            .calls
            .lock()
            .unwrap()
            .values()
            .cloned()
            .collect()
    }

    /// Forgets all calls.
    pub(crate) fn forget(&self) {
        self.shared.calls.lock().unwrap().clear();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

struct Line {
    socket: UdpSocket,
    me: SocketAddr,
    switch: SocketAddr,
    silent: bool,
    shared: Arc<Shared>,
}

impl Line {
    fn run(self, rate: u32) {
        let mut next = Instant::now();
        let mut count = 0_u32;
        let mut room = [0; 8192];
        while !self.shared.over.load(Ordering::Relaxed) {
            // What a switch that is gone has sent to us is an error at the next call, and of no interest.
            if let Ok((length, _)) = self.socket.recv_from(&mut room) {
                match sip::parse(&room[..length]) {
                    Parsed::Message(Message::Request(request)) => self.asked(&request),
                    Parsed::Message(Message::Response(response)) => self.told(&response),
                    Parsed::Reject { .. } | Parsed::Drop(_) | Parsed::KeepAlive => {}
                }
            }
            let now = Instant::now();
            self.hang_up(now);
            if rate > 0 && self.shared.busy.load(Ordering::Relaxed) && now >= next {
                next = now + Duration::from_secs(1) / rate;
                count += 1;
                self.call(count, now);
            }
        }
    }

    fn send(&self, text: &str) {
        self.socket.send_to(text.as_bytes(), self.switch).ok();
    }

    /// Holds from 0.1 to 3 s, a different time each.
    fn call(&self, count: u32, now: Instant) {
        let (me, switch) = (self.me, self.switch);
        let port = me.port();
        // Different in each run of a test: what is counted is found again in the records.
        let number = format!("7{port}{count:06}");
        let id = format!("c{number}");
        let sdp = sdp();
        self.send(&format!(
            "INVITE sip:{number}@{switch} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK{id};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:1001@{me}>;tag={id}\r\nTo: <sip:{number}@{switch}>\r\nCall-ID: {id}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:1001@{me}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        ));
        let hold = Duration::from_millis(100 + u64::from(count.wrapping_mul(7919) % 2900));
        let seen = Seen {
            number,
            began: None,
            answered: None,
            ended: None,
            calls: true,
            hang_up: Some(now + hold),
            hung_up: false,
            bye: None,
        };
        self.shared.calls.lock().unwrap().insert(id, seen);
    }

    /// Sends the BYEs that are due.
    fn hang_up(&self, now: Instant) {
        let mut calls = self.shared.calls.lock().unwrap();
        for seen in calls.values_mut() {
            let due = seen.hang_up.is_some_and(|at| at <= now) && !seen.hung_up;
            if let Some(bye) = seen.bye.as_ref().filter(|_| due && seen.ended.is_none()) {
                seen.hung_up = true;
                self.send(bye);
            }
        }
    }

    fn told(&self, response: &Response) {
        let headers = &response.headers;
        let Some(id) = headers.call_id() else { return };
        let (me, switch) = (self.me, self.switch);
        let mut calls = self.shared.calls.lock().unwrap();
        let Some(seen) = calls.get_mut(id) else {
            return;
        };
        let now = Instant::now();
        let to = headers.get(&HeaderName::To).unwrap_or_default();
        let number = &seen.number;
        let of = headers.cseq().map(|cseq| cseq.method);
        let ack = |branch: &str| {
            format!(
                "ACK sip:{number}@{switch} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch={branch};rport\r\nMax-Forwards: 70\r\n\
                 From: <sip:1001@{me}>;tag={id}\r\nTo: {to}\r\nCall-ID: {id}\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"
            )
        };
        match (of, response.status) {
            (Some(Method::Invite), 100..200) => {
                seen.began.get_or_insert(now);
            }
            (Some(Method::Invite), 200..300) => {
                self.send(&ack(&format!("z9hG4bKa{id}")));
                seen.began.get_or_insert(now);
                seen.answered.get_or_insert(now);
                seen.bye = Some(format!(
                    "BYE sip:{number}@{switch} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bKb{id};rport\r\nMax-Forwards: 70\r\n\
                     From: <sip:1001@{me}>;tag={id}\r\nTo: {to}\r\nCall-ID: {id}\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n"
                ));
            }
            (Some(Method::Invite), _) => {
                self.send(&ack(&format!("z9hG4bK{id}")));
                seen.ended.get_or_insert(now);
            }
            (Some(Method::Bye), 200..) => {
                seen.ended.get_or_insert(now);
            }
            _ => {}
        }
    }

    fn answer(&self, request: &Request, status: u16, sdp: Option<&str>) {
        let mut response = sip::respond(request, status, "", Some("peer"));
        if status < 300 {
            let contact = format!("<sip:{}>", self.me);
            response.headers.push(HeaderName::Contact, contact);
        }
        if let Some(sdp) = sdp {
            let kind = "application/sdp";
            response.headers.push(HeaderName::ContentType, kind);
            response.body = sdp.as_bytes().to_vec().into();
        }
        self.socket.send_to(&response.encode(), self.switch).ok();
    }

    fn asked(&self, request: &Request) {
        let Some(id) = request.headers.call_id().map(str::to_owned) else {
            return;
        };
        let mut calls = self.shared.calls.lock().unwrap();
        let now = Instant::now();
        match request.method {
            Method::Invite => {
                let number = request.uri.user().unwrap_or_default().into_owned();
                let answers = !self.silent;
                calls.entry(id).or_insert(Seen {
                    number,
                    began: Some(now),
                    answered: answers.then_some(now),
                    ended: None,
                    calls: false,
                    hang_up: None,
                    hung_up: false,
                    bye: None,
                });
                self.answer(request, 180, None);
                if answers {
                    self.answer(request, 200, Some(&sdp()));
                }
            }
            Method::Bye => {
                self.answer(request, 200, None);
                if let Some(seen) = calls.get_mut(&id) {
                    seen.ended.get_or_insert(now);
                }
            }
            Method::Cancel => {
                self.answer(request, 200, None);
                if let Some(seen) = calls.get_mut(&id) {
                    seen.ended.get_or_insert(now);
                }
            }
            Method::Ack => {}
            _ => self.answer(request, 200, None),
        }
    }
}

/// A-law at a port where nobody listens: what counts here is signalling.
fn sdp() -> String {
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
        .to_owned()
}
