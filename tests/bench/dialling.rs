//! How fast calls to Telegram are set up: until Telegram is asked for the call, and from the key until there is media.
//!
//! One call at a time, from a little PBX of its own (a socket that blocks), so that nothing else is in the way.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::deadline::{s, until};
use crate::dialog::{Dialog, Message};
use crate::house::{House, Peer, Up};
use crate::options::Options;
use crate::peer::Orders;
use crate::proc::{self, wall};
use crate::report::{quantile, rounded, spread};
use crate::switchboard::{busy_since, verdicts};

/// The bars: 95 of 100 calls, and the median.
const ASKED_MS: f64 = 5.0;
const MEDIA_MS: f64 = 100.0;
/// A response must come within this.
const PATIENCE: Duration = Duration::from_secs(10);
/// From the end of one call to the next: what is left of the one before has been done, also in the simulator. There is no event for that: right after
/// the record of the call the next one is asked for three times as late.
const PAUSE: Duration = Duration::from_millis(100);
/// Calls before those that are timed: the person is looked up, the connection is warm.
const WARM_UP: usize = 5;

/// What was found, ms, sorted.
#[derive(Debug)]
pub(crate) struct Dialling {
    /// From the INVITE until Telegram had `phone.requestCall`.
    asked: Vec<f64>,
    /// From the moment both sides have the key until both sides have media.
    media: Vec<f64>,
    /// From the INVITE to its 200.
    answered: Vec<f64>,
    /// How busy the machine was, by everything.
    busy: f64,
}

/// Makes the calls.
pub(crate) fn measure(options: &Options, dir: &Path) -> Dialling {
    // A port is not used again for a minute.
    let calls = options.answered + WARM_UP + options.dials;
    let house = House::start(dir, calls, options.switch_frame);
    house.ringing("ringing");
    let names: Vec<String> = (0..options.answered)
        .map(|n| format!("bench{n:03}"))
        .collect();
    let orders = Orders {
        control: house.telegram.control().to_owned(),
        users: house.users(&names),
        frame_ms: options.tg_frame,
        listen: names.len().max(1),
        address: house.sip.ip(),
    };
    let mut peer = Peer::start(dir, &orders);
    house.wait_settled();
    let pbx = Pbx::new(&house);
    let machine = proc::machine();
    let asked = asked(&house, &pbx, options.dials);
    let mut media = Vec::new();
    let mut answered = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let (ring, up, set_up) = pbx.talk(1_000_000 + n, name, || {
            let found = peer.up().iter().find(|up| up.call == n);
            found.copied()
        });
        answered.push(set_up);
        // Whoever is later: the user's own media, or the 200, which the switch sends when its media is up.
        media.push(milliseconds(up.agreed, up.connected.max(ring)));
    }
    let busy = busy_since(machine);
    drop(peer);
    house.stop();
    Dialling {
        asked: sorted(asked),
        media: sorted(media),
        answered: sorted(answered),
        busy,
    }
}

/// Calls somebody who lets it ring, again and again, and gives up. The time of `phone.requestCall` is that at which the simulator
/// had read its packet from the socket, by the same clock as that of the INVITE.
fn asked(house: &House, pbx: &Pbx, count: usize) -> Vec<f64> {
    let left: Vec<u64> = (0..WARM_UP + count)
        .map(|n| pbx.give_up(n, "ringing"))
        .collect();
    let filter = "kind=rpc&method=phone.requestCall";
    let arrived = house.telegram.events(filter, Duration::ZERO);
    assert_eq!(arrived.len(), left.len(), "one request a call");
    let took = left.iter().zip(&arrived).map(|(left, event)| {
        let arrived = event["arrived"].as_f64().unwrap();
        (arrived - *left as f64 / 1e9) * 1000.0
    });
    took.skip(WARM_UP).collect()
}

fn milliseconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e6
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

struct Pbx {
    socket: UdpSocket,
    /// A place for the audio, which nobody listens to.
    media: UdpSocket,
    switch: SocketAddr,
}

impl Pbx {
    fn new(house: &House) -> Self {
        let socket = UdpSocket::bind(house.pbx).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            media: UdpSocket::bind((house.pbx.ip(), 0)).unwrap(),
            switch: house.sip,
        }
    }

    fn send(&self, text: &str) {
        self.socket.send_to(text.as_bytes(), self.switch).unwrap();
    }

    /// The next message of the switch; its requests are answered.
    fn next(&self) -> Message {
        let mut buffer = [0; 8192];
        loop {
            let (length, _) = self
                .socket
                .recv_from(&mut buffer)
                .expect("the switch answers");
            let Some(message) = Message::parse(&buffer[..length]) else {
                continue;
            };
            match message.answer() {
                Some(answer) => self.send(&answer),
                None => return message,
            }
        }
    }

    /// Waits for a response to such a request of this call.
    fn response(&self, dialog: &Dialog, method: &str, wanted: impl Fn(u16) -> bool) -> Message {
        loop {
            let message = self.next();
            let is_ours = message.header("Call-ID") == Some(dialog.call_id())
                && message
                    .header("CSeq")
                    .is_some_and(|cseq| cseq.ends_with(method));
            if is_ours && message.status().is_some_and(&wanted) {
                return message;
            }
        }
    }

    /// Sends an INVITE; when it left, nanoseconds of the wall clock.
    fn dial(&self, number: usize, user: &str) -> (Dialog, u64) {
        let local = self.socket.local_addr().unwrap();
        let dialog = Dialog::new(number, local, self.switch, user);
        let invite = dialog.invite(self.media.local_addr().unwrap());
        let left = wall();
        self.send(&invite);
        (dialog, left)
    }

    /// Calls, lets it ring, and gives up; when the INVITE left.
    fn give_up(&self, number: usize, user: &str) -> u64 {
        let (mut dialog, left) = self.dial(number, user);
        let ringing = self.response(&dialog, "INVITE", |status| status >= 180);
        assert_eq!(ringing.status(), Some(180), "{}", ringing.start());
        self.send(&dialog.cancel());
        let refusal = self.response(&dialog, "INVITE", |status| status >= 200);
        self.send(&dialog.ack_refusal(&refusal));
        thread::sleep(PAUSE);
        left
    }

    /// Calls, is answered, waits until the user has media, too, and hangs up: when the 200 came, what the user says of his media,
    /// and the ms from the INVITE to the 200.
    fn talk(
        &self,
        number: usize,
        user: &str,
        mut look: impl FnMut() -> Option<Up>,
    ) -> (u64, Up, f64) {
        let began = Instant::now();
        let (mut dialog, _) = self.dial(number, user);
        let answer = self.response(&dialog, "INVITE", |status| status >= 200);
        let (at, took) = (wall(), began.elapsed());
        assert_eq!(answer.status(), Some(200), "{}", answer.start());
        dialog.established(&answer);
        self.send(&dialog.ack());
        let up = until("media of the Telegram user", s(10), &mut look);
        self.send(&dialog.bye());
        self.response(&dialog, "BYE", |status| status >= 200);
        thread::sleep(PAUSE);
        (at, up, took.as_secs_f64() * 1000.0)
    }
}

impl Dialling {
    fn bars(&self) -> Vec<(String, bool)> {
        let (asked, media) = (quantile(&self.asked, 0.95), quantile(&self.media, 0.5));
        vec![
            (
                format!("Telegram asked {asked:.1} ms after the INVITE (p95), bar {ASKED_MS:.0}"),
                asked <= ASKED_MS,
            ),
            (
                format!("media {media:.1} ms after the key (median), bar {MEDIA_MS:.0}"),
                media <= MEDIA_MS,
            ),
        ]
    }

    pub(crate) fn is_good(&self) -> bool {
        self.bars().iter().all(|(_, good)| *good)
    }

    pub(crate) fn print(&self) {
        println!(
            "\ncalls from the PBX to Telegram, one at a time: {} to somebody who was looked up before, {} answered",
            self.asked.len(),
            self.answered.len()
        );
        println!(
            "  INVITE to requestCall  {}, p95 {:.1}; until Telegram has read it",
            spread(&self.asked),
            quantile(&self.asked, 0.95)
        );
        println!(
            "  key to media           {}, p95 {:.1}; from the key at both sides to media at both",
            spread(&self.media),
            quantile(&self.media, 0.95)
        );
        println!("  INVITE to 200          {}", spread(&self.answered));
        println!("  machine                {:.0} % busy", self.busy * 100.0);
        verdicts(self.bars(), &[]);
    }

    pub(crate) fn figures(&self, all: &mut Map<String, Value>) {
        let figures = [
            ("invite_to_request_ms.median", quantile(&self.asked, 0.5), 2),
            ("invite_to_request_ms.p95", quantile(&self.asked, 0.95), 2),
            ("key_to_media_ms.median", quantile(&self.media, 0.5), 1),
            ("key_to_media_ms.p95", quantile(&self.media, 0.95), 1),
            (
                "invite_to_answer_ms.median",
                quantile(&self.answered, 0.5),
                1,
            ),
            ("dialling_machine_busy_ratio", self.busy, 2),
        ];
        all.extend(
            figures
                .map(|(name, value, digits)| (format!("telegram.{name}"), rounded(value, digits))),
        );
    }
}
