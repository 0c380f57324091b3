//! The switch itself: the real binary, with Telegram's servers beside it.

mod builder;
mod played;

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use crate::deadline::{s, until, within};
use crate::http::Http;
use crate::metrics::Metrics;
use crate::pbx::{Baresip, Phone, Sipp};
use crate::process::{Process, said};
use crate::telegram::{Behaviour, Server, Talker, Voice};

/// The program under test.
pub(crate) const STROWGER: &str = env!("CARGO_BIN_EXE_strowger");

/// The address that ntgcalls takes for a candidate (tests/netns.sh).
pub(crate) const MEDIA_ADDRESS: &str = "10.77.0.1";

/// The Telegram account that is logged in here: session, username and phone number.
pub(crate) const SESSION: &str = "gateway";
pub(crate) const SESSION_PHONE: &str = "15550001";

/// The trunk of most tests, and what its PBX registers with.
pub(crate) const TRUNK: &str = "office";
pub(crate) const LOGIN: &str = "office7k2m9";
pub(crate) const PASSWORD: &str = "correct-horse-9";

/// The trunk of a second PBX.
pub(crate) const BRANCH: &str = "branch";

/// The tone each side speaks with.
pub(crate) const PBX_TONE: u32 = 440;
pub(crate) const TELEGRAM_TONE: u32 = 660;

/// Seconds of a tone that have to be heard. Asked of the first listener is a little more, so that the second, who began to
/// listen a moment later, has heard enough when the first is content.
pub(crate) const HEARD: f64 = 1.5;
const FIRST_HEARD: f64 = 2.2;

/// How many ports the RTP range of a house has.
const RTP_PORTS: u16 = 60;

/// What a house is built from.
#[derive(Debug)]
pub(crate) struct HouseBuilder {
    records: String,
    /// Further sessions with their phones.
    sessions: Vec<(String, String)>,
    logged_in: bool,
    peer_port: Option<u16>,
    branch_port: Option<u16>,
    number: String,
    transport: &'static str,
    /// The switch listens by IPv6 too, and its PBX speaks nothing else.
    six: bool,
    /// How many RTP ports there are.
    rtp_ports: u16,
    /// Further lines of the settings.
    settings: String,
    /// Further keys of the second trunk.
    branch_more: String,
    /// Further keys of the trunk.
    more: String,
    /// Further keys of the session.
    session_more: String,
    log: &'static str,
    /// `telegram.pace`.
    pace: &'static str,
    /// Telegram's servers of another house.
    world: Option<Rc<Server>>,
    /// Username and phone number of the account.
    account: [&'static str; 2],
    /// Further variables of the environment.
    variables: Vec<(&'static str, String)>,
}

/// A running switch; ends when dropped.
#[derive(Debug)]
pub(crate) struct House {
    dir: PathBuf,
    sip: SocketAddr,
    tls: SocketAddr,
    admin: Http,
    /// Telegram's servers.
    pub(crate) telegram: Rc<Server>,
    /// The phone number of the account.
    phone: &'static str,
    process: Option<Process>,
    peer_port: Option<u16>,
    branch_port: Option<u16>,
    variables: Vec<(&'static str, String)>,
    /// The folder of credentials that systemd would give.
    credentials: Option<PathBuf>,
    runs: u32,
}

impl House {
    /// A house with one session that is logged in, and no trunk yet.
    #[allow(clippy::new_ret_no_self, reason = "a house is built before it stands")]
    pub(crate) fn new() -> HouseBuilder {
        HouseBuilder {
            records: String::new(),
            sessions: Vec::new(),
            logged_in: true,
            peer_port: None,
            branch_port: None,
            number: "600".to_owned(),
            transport: "udp",
            six: false,
            rtp_ports: RTP_PORTS,
            settings: String::new(),
            branch_more: String::new(),
            more: String::new(),
            session_more: String::new(),
            log: "info",
            pace: "calls_per_minute = 0, phones_per_hour = 0, usernames_per_hour = 0",
            world: None,
            account: [SESSION, SESSION_PHONE],
            variables: Vec::new(),
        }
    }

    /// Starts the switch and waits until it is ready and its session is up.
    pub(crate) fn start(&mut self) {
        self.start_unready();
        until("the switch to be ready", s(20), || {
            self.assert_running();
            (self.admin.text("/readyz")?.0 == 200).then_some(())
        });
    }

    /// From now on the switch and its commands are given this folder of credentials, as by systemd's `LoadCredential=`.
    pub(crate) fn give_credentials(&mut self, folder: &Path) {
        self.credentials = Some(folder.to_owned());
    }

    fn environment(&self) -> Option<(&'static str, &Path)> {
        let folder = self.credentials.as_deref()?;
        Some(("CREDENTIALS_DIRECTORY", folder))
    }

    /// Starts the switch and waits until it can be asked how it is, ready or not.
    pub(crate) fn start_unready(&mut self) {
        self.spawn();
        until("the switch to answer", s(20), || {
            self.assert_running();
            self.admin.text("/livez").map(drop)
        });
    }

    /// Starts the switch, and waits for nothing.
    pub(crate) fn spawn(&mut self) {
        self.runs += 1;
        let mut command = Command::new(STROWGER);
        command
            .current_dir(&self.dir)
            .args(["--config", "strowger.toml", "run"]);
        command.env("RUST_BACKTRACE", "1");
        command.envs(self.variables.iter().cloned());
        command.envs(self.environment());
        self.process = Some(Process::start(
            &format!("strowger-{}", self.runs),
            &self.dir,
            &mut command,
            false,
        ));
    }

    /// Waits until calls can go over the session.
    pub(crate) fn wait_session_up(&self) {
        self.wait_metric("strowger_telegram_session_up", &[("session", SESSION)], 1.0);
    }

    /// Waits for a value of a metric.
    pub(crate) fn wait_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        until(format_args!("{name}{labels:?} = {value}"), s(15), || {
            let found = self.metrics().value(name, labels)?;
            ((found - value).abs() < 1e-9).then_some(())
        });
    }

    /// Waits until the store has been flushed once more: what was told to it before is on disk.
    pub(crate) fn wait_flushed(&self) {
        const FLUSHES: &str = "strowger_store_flushes_total";
        // One that is under way began before.
        let good = [("result", "ok")];
        let before = self.metrics().sum_of(FLUSHES, &good);
        self.wait_metric_above(FLUSHES, &good, before + 0.5);
    }

    /// Waits until the sum over these series is above a value.
    pub(crate) fn wait_metric_above(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        until(format_args!("{name}{labels:?} > {value}"), s(15), || {
            (self.metrics().sum_of(name, labels) > value).then_some(())
        });
    }

    /// What `/metrics` says now.
    pub(crate) fn metrics(&self) -> Metrics {
        // A connection that was kept may be closed in the moment in which it is used again.
        let answered = within(s(5), || self.admin.text("/metrics"));
        let (status, text) = answered.expect("/metrics answers");
        assert_eq!(status, 200);
        Metrics::parse(&text)
    }

    /// The admin listener.
    pub(crate) fn admin(&self) -> &Http {
        &self.admin
    }

    /// The address of the admin listener.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Its SIP address.
    pub(crate) fn sip(&self) -> SocketAddr {
        self.sip
    }

    /// The same by IPv6, where it listens there.
    pub(crate) fn sip_by_ipv6(&self) -> SocketAddr {
        SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, self.sip.port()))
    }

    /// Its address for SIP by TLS, when it has one.
    pub(crate) fn tls(&self) -> SocketAddr {
        self.tls
    }

    /// The process id of the switch.
    pub(crate) fn id(&self) -> u32 {
        self.process.as_ref().expect("the switch runs").id()
    }

    /// Every UDP socket that the switch has bound.
    pub(crate) fn udp_sockets(&self) -> Vec<SocketAddr> {
        self.sockets("udp")
    }

    /// Every TCP socket that the switch holds, by its own address.
    pub(crate) fn tcp_sockets(&self) -> Vec<SocketAddr> {
        self.sockets("tcp")
    }

    fn sockets(&self, kind: &str) -> Vec<SocketAddr> {
        let id = self.id();
        let held: Vec<String> = fs::read_dir(format!("/proc/{id}/fd"))
            .unwrap()
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .map(|link| link.to_string_lossy().into_owned())
            .collect();
        let table = fs::read_to_string(format!("/proc/net/{kind}")).unwrap();
        table
            .lines()
            .skip(1)
            .filter_map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let (address, port) = words[1].split_once(':')?;
                let address = u32::from_str_radix(address, 16).ok()?;
                let port = u16::from_str_radix(port, 16).ok()?;
                held.contains(&format!("socket:[{}]", words[9]))
                    .then(|| SocketAddr::from((address.to_ne_bytes(), port)))
            })
            .collect()
    }

    /// The port of the PBX of a peer trunk.
    pub(crate) fn peer_port(&self) -> u16 {
        self.peer_port.expect("a peer trunk")
    }

    /// The port of the second PBX.
    pub(crate) fn branch_port(&self) -> u16 {
        self.branch_port.expect("a second PBX")
    }

    /// The folder of this house, for its peers.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs a command of the program beside the switch; exit code and everything it said.
    pub(crate) fn command(&self, args: &[&str], input: &str) -> (i32, String) {
        let mut child = Command::new(STROWGER)
            .current_dir(&self.dir)
            .envs(self.environment())
            .args(["--config", "strowger.toml"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that needs no input may be gone already.
        child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap_or(-1), said(&output))
    }

    /// The same, failing the test unless it exits with 0.
    pub(crate) fn expect_command(&self, args: &[&str], input: &str) -> String {
        let (code, said) = self.command(args, input);
        assert_eq!(code, 0, "strowger {}: {said}", args.join(" "));
        said
    }

    /// Logs the session in by code, with a key the server made.
    pub(crate) fn log_in(&self) {
        self.log_in_as(SESSION, self.phone);
    }

    /// The same for any session.
    fn log_in_as(&self, session: &str, phone: &str) {
        let line = Self::login_line_of(session, phone, &self.telegram.new_key());
        self.expect_command(&line.each_ref().map(String::as_str), "12345\n");
    }

    /// The command that logs the session in.
    pub(crate) fn login_line(key: &str) -> [String; 7] {
        Self::login_line_of(SESSION, SESSION_PHONE, key)
    }

    fn login_line_of(session: &str, phone: &str, key: &str) -> [String; 7] {
        [
            "session",
            "login",
            session,
            "--phone",
            &format!("+{phone}"),
            "--test-key",
            key,
        ]
        .map(str::to_owned)
    }

    /// The call records as the program prints them.
    pub(crate) fn records(&self) -> Vec<Value> {
        let said = self.expect_command(&["cdr", "export", "--format", "json"], "");
        said.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Ends the switch as systemd would; it must exit with 0.
    pub(crate) fn stop(&mut self) {
        let status = self
            .process
            .take()
            .expect("the switch runs")
            .terminate(s(15));
        assert_eq!(
            status.and_then(|status| status.code()),
            Some(0),
            "the switch did not end well"
        );
    }

    /// Lets the switch stand still, until [`House::go_on`].
    pub(crate) fn stand_still(&self) {
        let process = self.process.as_ref().expect("the switch runs");
        process.signal("STOP");
    }

    /// Goes on.
    pub(crate) fn go_on(&self) {
        let process = self.process.as_ref().expect("the switch runs");
        process.signal("CONT");
    }

    /// Asks the switch to end; whether it has is [`House::wait_gone`].
    pub(crate) fn ask_to_end(&self) {
        let process = self.process.as_ref().expect("the switch runs");
        process.signal("TERM");
    }

    /// Waits until the switch has ended, and returns its exit code.
    pub(crate) fn wait_gone(&mut self, limit: Duration) -> Option<i32> {
        self.wait_ended(limit)?.code()
    }

    /// Waits until the switch has ended, and returns how.
    pub(crate) fn wait_ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        let mut process = self.process.take().expect("the switch was started");
        process.wait(limit)
    }

    /// Ends the switch as a power failure would.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("the switch runs").kill();
    }

    /// Fails the test when the switch has ended, or says in its log that it panicked.
    pub(crate) fn assert_running(&mut self) {
        let process = self.process.as_mut().expect("the switch was started");
        assert!(process.is_running(), "the switch has ended");
        let log = process.log();
        assert!(!log.contains("panicked at"), "the switch panicked");
    }

    /// What the switch has logged since it was started.
    pub(crate) fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// A phone on the trunk that registers; it has registered when this returns.
    pub(crate) fn phone(&self, codecs: &str) -> Baresip {
        Baresip::start(&self.dir, "phone", &self.phone_settings(codecs))
    }

    /// A phone with settings of its own, such as one at a provider.
    pub(crate) fn phone_at(&self, settings: &Phone) -> Baresip {
        Baresip::start(&self.dir, "phone", settings)
    }

    /// The settings of such a phone.
    pub(crate) fn phone_settings(&self, codecs: &str) -> Phone {
        Phone {
            server: self.sip,
            login: LOGIN.into(),
            password: PASSWORD.into(),
            registers: self.peer_port.is_none(),
            codecs: codecs.into(),
            answers: true,
            says: PBX_TONE,
            ptime: 20,
            srtp: "no",
            port: self.peer_port.unwrap_or(0),
        }
    }

    /// A phone in the place of the second PBX, at number 6001; it speaks the tone of Telegram's side.
    pub(crate) fn branch_phone(&self, codecs: &str) -> Baresip {
        let phone = Phone {
            login: "6001".into(),
            registers: false,
            says: TELEGRAM_TONE,
            port: self.branch_port(),
            ..self.phone_settings(codecs)
        };
        Baresip::start(&self.dir, BRANCH, &phone)
    }

    /// A scripted PBX that talks to this house with the right login.
    pub(crate) fn sipp(&self, name: &str) -> Sipp {
        Sipp::new(&self.dir, name)
            .to(self.sip)
            .login(LOGIN, PASSWORD)
    }

    /// A Telegram user with a voice, who takes calls.
    pub(crate) fn talker(&self, user: &str) -> Talker {
        self.late_talker(user, 0.0)
    }

    /// The same, whose media begins so many seconds after the answer.
    pub(crate) fn late_talker(&self, user: &str, late: f64) -> Talker {
        let voice = Voice {
            says: TELEGRAM_TONE,
            hears: PBX_TONE,
            seconds: FIRST_HEARD,
        };
        Talker::start_late(&self.dir, &self.telegram, user, voice, &[], late)
    }

    /// A Telegram user who answers and wants to hear his own tone, from an echo.
    pub(crate) fn talker_of_own_tone(&self, user: &str, version: &str) -> Talker {
        self.telegram
            .user(user, "15550002", &Behaviour::accepts().speaking(version));
        let voice = Voice {
            says: TELEGRAM_TONE,
            hears: TELEGRAM_TONE,
            seconds: HEARD,
        };
        Talker::start(&self.dir, &self.telegram, user, voice)
    }

    /// A Telegram user who answers, speaking this version of the call library, and his voice.
    pub(crate) fn bobby(&self, version: &str) -> Talker {
        self.telegram
            .user("bobby", "15550002", &Behaviour::accepts().speaking(version));
        self.talker("bobby")
    }

    /// Waits until the record of the last call is closed.
    pub(crate) fn wait_no_calls(&self) {
        until("all calls to end", s(15), || {
            let metrics = self.metrics();
            (metrics.sum("strowger_calls_active") < 0.5).then_some(())
        });
    }

    /// What must be true at the end of every test: still running, no panic, and Telegram has nothing to complain about.
    pub(crate) fn assert_clean(&mut self, understood: &[&str]) {
        self.assert_running();
        self.telegram.assert_clean(understood);
        self.wait_no_calls();
        self.wait_no_lines();
    }

    /// Waits until as many lines are taken as there are calls, none.
    pub(crate) fn wait_no_lines(&self) {
        until("every line to be returned", s(15), || {
            let page: Value = serde_json::from_str(&self.admin.text("/readyz")?.1).ok()?;
            let kinds = ["calls", "lines", "session_lines", "user_lines"];
            let none = kinds.into_iter().all(|kind| page[kind] == 0);
            let taken = self.metrics().sum("strowger_trunk_lines_in_use");
            (none && taken < 0.5).then_some(())
        });
    }
}

impl House {
    /// What no run of the switch may have said, whatever the test was about.
    fn assert_said_nothing_amiss(&self) {
        for run in 1..=self.runs {
            let log = self.dir.join(format!("strowger-{run}.log"));
            let log = fs::read(log).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            for amiss in ["panicked at", "lines were not returned"] {
                let said = log.lines().find(|line| line.contains(amiss));
                assert!(said.is_none(), "run {run}: {said:?}");
            }
        }
    }
}

impl Drop for House {
    /// Ends the switch. When all its calls are over every line of a trunk, a session and a user must have been returned, which it looks at
    /// itself before it ends: so no test can leave this out.
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Told twice, it does not wait for calls that the test has left.
            if process.is_running() {
                process.signal("TERM");
            }
            if process.wait(Duration::from_millis(300)).is_none() {
                process.terminate(s(8));
            }
        }
        if !std::thread::panicking() {
            self.assert_said_nothing_amiss();
        }
        if std::thread::panicking() {
            eprintln!("--- everything of this test is in {}", self.dir.display());
        } else {
            fs::remove_dir_all(&self.dir).ok();
        }
    }
}

/// A folder for one test, under `target/e2e`, kept when the test fails.
pub(crate) fn folder() -> PathBuf {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/e2e");
    fs::create_dir_all(&base).unwrap();
    let thread = std::thread::current();
    let name: String = thread
        .name()
        .unwrap_or("test")
        .replace("::", "-")
        .chars()
        .take(60)
        .collect();
    tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .tempdir_in(base)
        .unwrap()
        .keep()
}

/// Makes the certificate of a house, which its PBX shows as well, and which both trust.
fn certificate(dir: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let asterisk = dir.join("asterisk");
    fs::create_dir_all(&asterisk).unwrap();
    for dir in [dir, &asterisk] {
        fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    }
}
