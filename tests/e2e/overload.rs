//! Too much to do: new calls are refused, and everything else goes on.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::deadline::{s, until};
use crate::house::{BRANCH, House, LOGIN, PASSWORD, SESSION};
use crate::pbx::Sipp;
use crate::storm::{self, Orders, Said};
use crate::telegram::Behaviour;

/// More memory than there is: as long as so much is to be free, nobody is let in.
const MEMORY: &str = "overload.memory_mib = 16777216\n";

/// Changes the settings of a running switch.
fn settings(house: &House, text: &str) {
    fs::write(house.dir().join("strowger.toml"), text).unwrap();
    let killed = Command::new("kill")
        .args(["-HUP", &house.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
}

/// A PBX by hand: one socket, and a request at a time.
struct Pbx {
    socket: UdpSocket,
    switch: SocketAddr,
}

impl Pbx {
    fn on(port: u16, switch: SocketAddr) -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(s(1))).unwrap();
        Self { socket, switch }
    }

    fn send(&self, method: &str, call: &str, cseq: u32, to: &str, body: &str) {
        let (own, switch) = (self.socket.local_addr().unwrap(), self.switch);
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        // A CANCEL, and the ACK to a refusal, have the branch of their INVITE.
        let of = if matches!(method, "CANCEL" | "ACK") {
            "INVITE"
        } else {
            method
        };
        let text = format!(
            "{method} sip:carol@{switch} SIP/2.0\r\nVia: SIP/2.0/UDP {own};rport;branch=z9hG4bK{call}{of}{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:1000@{own}>;tag=f{call}\r\nTo: <sip:carol@{switch}>{to}\r\nCall-ID: {call}@pbx\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:1000@{own}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.socket.send_to(text.as_bytes(), switch).unwrap();
    }

    fn invite(&self, call: &str) {
        let port = self.socket.local_addr().unwrap().port();
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
        );
        self.send("INVITE", call, 1, "", &sdp);
    }

    /// The next message that begins like this and is of this call, within five seconds; others are left out.
    fn next(&self, start: &str, call: &str) -> String {
        let began = Instant::now();
        let mut buffer = [0; 4096];
        while began.elapsed() < s(5) {
            let Ok((length, _)) = self.socket.recv_from(&mut buffer) else {
                continue;
            };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.starts_with(start) && header(&text, "Call-ID").starts_with(call) {
                return text;
            }
        }
        panic!("no {start} to {call}");
    }

    /// Calls and is refused; the seconds until it may come back.
    fn refused(&self, call: &str) -> u64 {
        self.invite(call);
        let refusal = self.next("SIP/2.0 ", call);
        assert!(
            refusal.starts_with("SIP/2.0 503 Switch is overloaded\r\n"),
            "{refusal}"
        );
        let tag = format!(";tag={}", tag(&refusal));
        self.send("ACK", call, 1, &tag, "");
        header(&refusal, "Retry-After").parse().unwrap()
    }
}

fn header<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_default()
}

fn tag(response: &str) -> &str {
    let (_, tag) = header(response, "To").split_once(";tag=").unwrap();
    tag
}

#[test]
fn new_calls_are_refused_and_everything_else_is_served() {
    let mut house = House::new().peer_trunk(&["alaw"]).records(&format!(
        "\n[[trunk]]\nname = \"phone\"\nlogin = \"{LOGIN}\"\npassword = \"{PASSWORD}\"\n\n[[route]]\ntrunk = \"phone\"\nsession = \"{SESSION}\"\n"
    ));
    house = house.setting("overload.delay_ms = 0");
    house = house.setting("overload.cpu_percent = 0");
    let mut house = house.start();
    house.wait_session_up();
    let calm = fs::read_to_string(house.dir().join("strowger.toml")).unwrap();
    for (name, phone, behaviour) in [
        ("carol", "15550003", Behaviour::rings()),
        ("dora", "15550005", Behaviour::rings()),
    ] {
        house.telegram.user(name, phone, &behaviour);
    }
    let pbx = Pbx::on(house.peer_port(), house.sip());
    // One call that rings, and a phone that is registered.
    pbx.invite("before");
    let ringing = pbx.next("SIP/2.0 180", "before");
    let inside = format!(";tag={}", tag(&ringing));
    let phone = Sipp::new(house.dir(), "phone").to(house.sip());
    phone.login(LOGIN, PASSWORD).run("register").expect_ok();

    settings(&house, &format!("{calm}{MEMORY}"));
    house.wait_metric("strowger_overloaded", &[], 1.0);
    let signs = [("reason", "memory")];
    house.wait_metric("strowger_overload_signs", &signs, 1.0);

    for call in 0..20 {
        let wait = pbx.refused(&format!("new{call}"));
        assert!((5..=30).contains(&wait), "{wait}");
    }
    // The INVITE of the call that rings, once more: it gets what it got.
    pbx.invite("before");
    pbx.next("SIP/2.0 180", "before");
    // OPTIONS of that call, and of nobody's.
    pbx.send("OPTIONS", "before", 2, &inside, "");
    pbx.next("SIP/2.0 200", "before");
    pbx.send("OPTIONS", "ping", 1, "", "");
    pbx.next("SIP/2.0 200", "ping");
    // A call of a Telegram user hears busy.
    let call = house.telegram.call("dora", SESSION, "9.0.0");
    let ended = house.telegram.wait_call(&call, "discarded", s(5));
    assert_eq!(ended["reason"], "busy", "{ended}");
    // A registration is refreshed.
    let phone = Sipp::new(house.dir(), "phone-again").to(house.sip());
    phone.login(LOGIN, PASSWORD).run("register").expect_ok();
    let said = house.expect_command(&["status"], "");
    let line = "overloaded (memory): 0 % of new calls are let in; 21 calls refused";
    assert!(said.contains(line), "{said}");
    // CANCEL.
    pbx.send("CANCEL", "before", 1, "", "");
    let cancelled = pbx.next("SIP/2.0 487", "before");
    assert!(header(&cancelled, "CSeq").contains("INVITE"));
    pbx.send("ACK", "before", 1, &inside, "");
    let shed = |from| {
        let labels = [("from", from), ("reason", "memory")];
        house.metrics().sum_of("strowger_calls_shed_total", &labels)
    };
    assert!((shed("sip") - 20.0).abs() < 0.5 && (shed("telegram") - 1.0).abs() < 0.5);

    settings(&house, &calm);
    let began = Instant::now();
    house.wait_metric("strowger_overloaded", &[], 0.0);
    let took = began.elapsed();
    assert!(took <= s(5), "{took:?}");
    pbx.invite("after");
    pbx.next("SIP/2.0 180", "after");
    pbx.send("CANCEL", "after", 1, "", "");
    let cancelled = pbx.next("SIP/2.0 487", "after");
    pbx.send("ACK", "after", 1, &format!(";tag={}", tag(&cancelled)), "");
    let log = house.log();
    for said in ["overload begins", "reason=\"memory\"", "overload is over"] {
        assert!(log.contains(said), "{said}");
    }
    house.wait_no_calls();
    house.assert_clean(&["discard_reason"]);
}

/// A call that is up when it begins ends as ever.
#[test]
fn bye_is_answered_while_new_calls_are_refused() {
    let house = House::new()
        .peer_trunk(&["alaw"])
        .setting("overload.delay_ms = 0")
        .setting("overload.cpu_percent = 0");
    let house = house.start();
    let calm = fs::read_to_string(house.dir().join("strowger.toml")).unwrap();
    let talk =
        crate::talk::Talk::start_in(house, crate::talk::Caller::Pbx, "13.0.0", crate::talk::ALAW);
    settings(&talk.house, &format!("{calm}{MEMORY}"));
    talk.house.wait_metric("strowger_overloaded", &[], 1.0);
    let stranger = Sipp::new(talk.house.dir(), "new").to(talk.house.sip());
    let verdict = stranger
        .number("bobby")
        .key("code", "503")
        .run("uac_refused");
    let wait = verdict.expect_ok().last_final().header("Retry-After");
    assert!((5..=30).contains(&wait.unwrap().parse::<u64>().unwrap()));
    let mut house = talk.end(crate::talk::Ends::Pbx);
    settings(&house, &calm);
    until("new calls to be let in", s(5), || {
        let now = house.metrics().value("strowger_overloaded", &[]);
        (now == Some(0.0)).then_some(())
    });
    house.assert_clean(&[]);
}

/// Waits until all new calls are let in again; how long that took. It is looked at seldom: to write the metrics of a debug build forty times
/// a second takes more of the processor than the settings of a storm leave.
fn over(house: &House, limit: Duration) -> Duration {
    let began = Instant::now();
    while house.metrics().value("strowger_overloaded", &[]) != Some(0.0) {
        assert!(began.elapsed() < limit, "not over within {limit:?}");
        std::thread::sleep(Duration::from_millis(250));
    }
    began.elapsed()
}

/// Goodput of calls between two PBXs: what is carried, of so many a second.
fn storm(house: &House, per_second: f64, run: u64) -> Said {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    over(house, s(20));
    storm::run(Orders {
        switch: house.sip(),
        caller: local(house.peer_port()),
        called: local(house.branch_port()),
        per_second,
        seconds: 6.0,
        settle: 3.0,
        run,
    })
}

/// The benchmark `overload` measures it; this fails when it is not there: without it five times of what can be carried leave nothing.
#[test]
fn five_times_of_what_can_be_carried_leaves_most_of_it_and_every_bye_is_answered() {
    // A fifth of one processor: so little that it is what the setting leaves, and not the machine or whatever else it has to do.
    let processors = std::thread::available_parallelism().unwrap().get();
    let percent = (20 / processors).max(1);
    let mut house = House::new()
        .peer_trunk(&["alaw"])
        .leaves_by(&["alaw"])
        .rtp_ports(6000)
        .setting("overload.delay_ms = 0")
        // Finished transactions are forgotten after 6.4 s instead of 32.
        .setting("sip.t1_ms = 100")
        .setting("sip.guard.peer_rate = 0")
        .setting(&format!("overload.cpu_percent = {percent}"))
        .start();
    // What it carries: the best of rates that double until one is too much.
    let (mut rate, mut best, mut run) = (25.0, 0.0_f64, 0);
    while run < 7 {
        run += 1;
        let said = storm(&house, rate, run);
        assert_eq!(said.ends_unanswered, 0, "{rate}: {said:?}");
        best = best.max(said.goodput);
        if said.goodput < rate * 0.8 {
            break;
        }
        rate *= 2.0;
    }
    let said = storm(&house, best * 5.0, run + 1);
    let shed = house.metrics().sum("strowger_calls_shed_total");
    let took = over(&house, s(20));
    let Said {
        goodput,
        refused,
        told,
        ends_unanswered,
        ..
    } = said.clone();
    eprintln!(
        "carried {best:.0} a second; of five times that {goodput:.0}, {refused} refused, {shed} by overload control, over after {took:?}"
    );
    assert!(goodput >= best * 0.4, "{goodput} of {best}");
    assert_eq!(ends_unanswered, 0);
    assert!(refused > 0 && told == refused, "{told} of {refused}");
    assert!(took <= s(5), "{took:?}");
    // It was the processor, and not the table of transactions, a mailbox or anything else.
    let by = |reason| {
        let labels = [("reason", reason)];
        house.metrics().sum_of("strowger_calls_shed_total", &labels)
    };
    let (cpu, table) = (by("cpu"), by("transactions"));
    assert!(
        cpu > 0.0 && cpu >= shed * 0.95,
        "{cpu} of {shed}, for the table {table}"
    );
    assert!(said.ends > 0, "nothing was hung up or cancelled");
    // What can be carried is let in again, all of it.
    let calm = storm(&house, best / 4.0, run + 2);
    assert_eq!(
        (calm.refused, calm.unanswered, calm.ends_unanswered),
        (0, 0, 0),
        "{calm:?}"
    );
    house.wait_no_calls();
    house.assert_running();
}

/// A PBX that has too much to do is left alone for as long as it says, and then called again.
#[test]
fn a_pbx_that_says_when_to_come_back_is_left_alone_until_then() {
    let mut house = House::new()
        .peer_trunk(&["alaw"])
        .branch_saying("failure_limit = 0")
        .leaves_by(&["alaw"])
        .start();
    let trunk = [("trunk", BRANCH)];
    let refused = |house: &House, name: &str| {
        let pbx = Sipp::on(house.dir(), name, house.peer_port());
        let pbx = pbx.to(house.sip()).number("6001").key("code", "503");
        let verdict = pbx.run("uac_refused");
        verdict.expect_ok().last_final().start().to_owned()
    };
    let branch = Sipp::on(house.dir(), "branch", house.branch_port());
    let branch = branch.start("uas_503_retry");
    let began = Instant::now();
    assert_eq!(refused(&house, "first"), "503 Service Unavailable");
    branch.wait(s(10)).expect_ok();
    house.wait_metric("strowger_trunk_blocked", &trunk, 1.0);
    // Nobody is asked.
    let phrase = "503 SIP account is unavailable";
    assert_eq!(refused(&house, "second"), phrase);
    house.wait_metric("strowger_trunk_blocked", &trunk, 0.0);
    let took = began.elapsed();
    assert!(took >= s(5) && took < s(10), "{took:?}");
    let branch = Sipp::on(house.dir(), "branch-again", house.branch_port()).start("uas");
    let pbx = Sipp::on(house.dir(), "third", house.peer_port());
    let pbx = pbx.to(house.sip()).number("6001").pause(s(1));
    pbx.run("uac").expect_ok();
    branch.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}
