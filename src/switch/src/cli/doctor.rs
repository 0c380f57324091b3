//! `strowger doctor`: whether this machine, these settings and these records can carry calls, and what to do where not.
//!
//! Each check is one line: `ok`, `warn` or `fail`, a sentence, and a cure. It looks at what can be seen from here, and asks the switch
//! that runs for what only that knows. It changes nothing and calls nobody. Of the outside it asks name servers, and one server of Telegram for the
//! time; what needs more (STUN, the way back through a router) is not in it.

mod clock;
mod speed;

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use model::TrunkKind;
use net::Resolver;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use store::{OpenError, SledStore};

use super::Operator;
use crate::api::Status;
use crate::failure::Failure;
use crate::fault::Fault;
use crate::print::{self, Output};
use crate::records::Current;
use crate::settings::{self, Loaded, Settings};

/// How much of the disk should be free.
const ROOM: u64 = 1_000_000_000;
/// What a socket of SIP should be able to hold, octets.
const RECEIVE_BUFFER: u64 = 1 << 20;
/// Ports of RTP that a call takes: one for packets, one for reports.
const PORTS_A_CALL: usize = 2;
/// Files that a call has open at most: sockets of both sides.
const FILES_A_CALL: u64 = 4;
/// Calls for which the limit of open files must do at least; more are a matter of the range of ports.
const FEW_CALLS: u64 = 50;
/// How long ago somebody should have read `/metrics`, seconds.
const WATCHED_S: u64 = 300;
/// Application ids that stand in the source of well-known clients: Telegram limits or refuses them elsewhere.
const PUBLISHED: [i32; 7] = [4, 6, 8, 2040, 2496, 10_840, 17_349];

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
    /// It could not be looked at, and need not be.
    Skipped,
}

/// One line.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    said: String,
    /// What to do; nothing where nothing is amiss.
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
}

/// All lines.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, check: &'static str, said: impl Into<String>) {
        self.0.push(Finding {
            check,
            verdict: Verdict::Ok,
            said: said.into(),
            cure: None,
        });
    }

    fn amiss(
        &mut self,
        verdict: Verdict,
        check: &'static str,
        said: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.0.push(Finding {
            check,
            verdict,
            said: said.into(),
            cure: Some(cure.into()),
        });
    }

    fn warn(&mut self, check: &'static str, said: impl Into<String>, cure: impl Into<String>) {
        self.amiss(Verdict::Warn, check, said, cure);
    }

    fn fail(&mut self, check: &'static str, said: impl Into<String>, cure: impl Into<String>) {
        self.amiss(Verdict::Fail, check, said, cure);
    }

    fn skipped(&mut self, check: &'static str, said: impl Into<String>) {
        self.0.push(Finding {
            check,
            verdict: Verdict::Skipped,
            said: said.into(),
            cure: None,
        });
    }

    fn print(&self, output: Output) {
        if output == Output::Json {
            return print::json(&self.0);
        }
        for Finding {
            check,
            verdict,
            said,
            cure,
        } in &self.0
        {
            let verdict = match verdict {
                Verdict::Ok => "ok",
                Verdict::Warn => "warn",
                Verdict::Fail => "fail",
                Verdict::Skipped => "skipped",
            };
            print::line(format_args!("{verdict:<7} {check:<10} {said}"));
            if let Some(cure) = cure {
                print::line(format_args!("                   {cure}"));
            }
        }
    }

    fn failed(&self) -> usize {
        let failed = self.0.iter().filter(|it| it.verdict == Verdict::Fail);
        failed.count()
    }
}

/// Looks at everything, tells it, and fails when something has failed.
pub(super) fn run(operator: &Operator) -> Result<(), Failure> {
    let mut findings = Findings::default();
    match settings::load(&operator.sources) {
        Ok(loaded) => examine(operator, &loaded, &mut findings),
        Err(faults) => {
            for fault in faults.iter().map(Fault::to_string) {
                let cure = "mend the line; `strowger check-config` says when it is good";
                findings.fail("settings", fault, cure);
            }
        }
    }
    findings.print(operator.output);
    match findings.failed() {
        0 => Ok(()),
        failed => Err(Failure::Doctor(failed)),
    }
}

fn examine(operator: &Operator, loaded: &Loaded, findings: &mut Findings) {
    let settings = &loaded.settings;
    let file = loaded.file.as_ref();
    findings.ok(
        "settings",
        file.map_or_else(
            || "no file: the defaults and the environment are good".to_owned(),
            |file| format!("{} is good", file.display()),
        ),
    );
    let runs = operator
        .reach()
        .is_ok_and(|reach| reach.is_there().unwrap_or(false));
    folders(loaded, findings);
    let current = records(operator, loaded, runs, findings);
    sip(settings, runs, findings);
    rtp(settings, runs, findings);
    files(settings, findings);
    address(settings, findings);
    let said = "only somebody outside can tell what a router makes of SIP and RTP: let a PBX there call, `strowger trunk test NAME` shows the rest";
    findings.skipped("nat", said);
    if let Some(current) = &current {
        names(settings, current, findings);
    }
    application(settings, findings);
    clock::telegram(settings, current.as_ref(), findings);
    if runs {
        neighbours(operator, settings, findings);
    }
    speed::codecs(current.as_ref(), findings);
    clock::scheduler(findings);
}

/// What keeps these settings from being used on this host just now: ports that others have, and a range of RTP that is too small.
pub(super) fn ports(settings: &Settings, runs: bool) -> Vec<String> {
    let mut findings = Findings::default();
    sip(settings, runs, &mut findings);
    rtp(settings, runs, &mut findings);
    let amiss = findings.0.into_iter().filter_map(|finding| {
        let Finding { said, cure, .. } = finding;
        cure.map(|cure| format!("{said}; {cure}"))
    });
    amiss.collect()
}

/// Folders that can be written, a key that nobody else reads, and room.
fn folders(loaded: &Loaded, findings: &mut Findings) {
    let dir = &loaded.settings.data.dir;
    let shown = dir.display();
    let probe = dir.join(".doctor");
    let written = fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe));
    match written {
        Ok(()) => findings.ok("folder", format!("{shown} can be written")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            findings.ok("folder", format!("{shown} is made at the first start"));
        }
        Err(error) => {
            let cure = format!("give it to the user of the switch: chown strowger {shown}");
            findings.fail(
                "folder",
                format!("{shown} cannot be written: {error}"),
                cure,
            );
        }
    }
    let place = loaded.key.place().display();
    match loaded.key.read() {
        Ok(Some(_)) => findings.ok("key", format!("{place} can be read, and by nobody else")),
        Ok(None) => findings.ok("key", format!("{place} is made with the first secret")),
        Err(error) => {
            let cure = "see `strowger key --help`; without this key nothing in the store opens";
            findings.fail("key", error.to_string(), cure);
        }
    }
    if let Some(free) = store::free_bytes(dir) {
        let said = format!("{} MB are free on the disk of {shown}", free / 1_000_000);
        if free < ROOM {
            let cure = "make room: when it is full, no call record is kept";
            findings.warn("disk", said, cure);
        } else {
            findings.ok("disk", said);
        }
    }
}

/// The records, if they can be read.
fn records(
    operator: &Operator,
    loaded: &Loaded,
    runs: bool,
    findings: &mut Findings,
) -> Option<Current> {
    if runs {
        let read = operator.get("/records");
        return match read {
            Ok(current) => {
                findings.ok("store", "it is that of the switch that runs");
                Some(current)
            }
            Err(error) => {
                let cure = "look at the log of the switch";
                findings.fail("store", format!("the switch does not tell: {error}"), cure);
                None
            }
        };
    }
    let folder = loaded.settings.data.store();
    if !folder.exists() {
        findings.ok("store", "it is made at the first start");
        return None;
    }
    let opened = SledStore::open(&folder, &loaded.key).and_then(|store| {
        store.check_sound()?;
        Ok(store)
    });
    let store = match opened {
        Ok(store) => store,
        Err(error) => {
            let cure = match &error {
                OpenError::Newer { .. } => {
                    "install the newer version again, or restore a backup that this one wrote"
                }
                OpenError::Locked { .. } => {
                    "another process has it: `fuser` on its file `db` says which"
                }
                OpenError::Damaged { .. } | OpenError::Unreadable { .. } => {
                    "`strowger run` takes the newest backup, or `strowger backup restore`"
                }
                OpenError::Folder { .. } => "look at the owner and the rights of the folder",
                OpenError::Migrating { .. } => {
                    "look at the room and the rights of the folder, and start again"
                }
                OpenError::Key(_) | OpenError::WrongKey { .. } | OpenError::Sealing { .. } => {
                    "bring back the key file that belongs to this store"
                }
            };
            findings.fail("store", error.to_string(), cure);
            return None;
        }
    };
    match Current::read(&store) {
        Ok(current) => {
            let (trunks, sessions) = (current.trunks.len(), current.sessions.len());
            let said = format!("it opens: {trunks} trunks, {sessions} sessions");
            findings.ok("store", said);
            Some(current)
        }
        Err(error) => {
            findings.fail("store", error.to_string(), "restore a backup");
            None
        }
    }
}

/// Whether the addresses of SIP are free, or ours.
fn sip(settings: &Settings, runs: bool, findings: &mut Findings) {
    let sip = &settings.sip;
    let udp = sip.udp.iter().map(|it| ("udp", *it));
    let tcp = sip.tcp().into_iter().map(|it| ("tcp", it));
    let tls = sip.tls().into_iter().map(|it| ("tls", it));
    for (kind, address) in udp.chain(tcp).chain(tls) {
        let bound = match kind {
            "udp" => UdpSocket::bind(address).map(drop),
            _ => TcpListener::bind(address).map(drop),
        };
        match bound {
            Ok(()) if runs => {
                let said = format!("nobody listens at {kind} {address}, though a switch runs");
                let cure = "it began with other settings: restart it";
                findings.warn("sip", said, cure);
            }
            Ok(()) => findings.ok("sip", format!("{kind} {address} is free")),
            Err(error) if error.kind() == ErrorKind::AddrInUse && runs => {
                findings.ok("sip", format!("{kind} {address} is that of the switch"));
            }
            Err(error) => {
                let said = format!("{kind} {address} cannot be listened on: {error}");
                let cure = "stop whoever has it (`ss -lunpt`), or choose another sip.udp";
                findings.fail("sip", said, cure);
            }
        }
    }
    let limit = fs::read_to_string("/proc/sys/net/core/rmem_max");
    let limit = limit.ok().and_then(|text| text.trim().parse::<u64>().ok());
    match limit {
        Some(limit) if limit < RECEIVE_BUFFER => {
            let said = format!("a socket holds {limit} octets at most: bursts are lost");
            findings.warn("buffer", said, "sysctl -w net.core.rmem_max=4194304");
        }
        Some(limit) => findings.ok("buffer", format!("a socket may hold {limit} octets")),
        None => {}
    }
}

/// Whether the ports of RTP are free, and for how many calls they do.
fn rtp(settings: &Settings, runs: bool, findings: &mut Findings) {
    let range = settings.rtp.range;
    let ip = settings
        .rtp
        .address
        .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let is_taken = |port: &u16| UdpSocket::bind(SocketAddr::new(ip, *port)).is_err();
    let taken: Vec<u16> = (range.first..=range.last).filter(is_taken).collect();
    let all = usize::from(range.last - range.first) + 1;
    let calls = (all - taken.len()) / PORTS_A_CALL;
    let said = format!("of rtp.range {range} {} ports are taken", taken.len());
    if calls == 0 {
        let cure = "choose another rtp.range, and open it in the firewall";
        findings.fail("rtp", format!("{said}: there is no room for a call"), cure);
    } else if let Some(first) = taken.first().filter(|_| !runs) {
        let said = format!("{said}, {first} first, room for {calls} calls is left");
        let cure = "`ss -lunp` says by whom; an rtp.range of its own is best";
        findings.warn("rtp", said, cure);
    } else {
        findings.ok(
            "rtp",
            format!("rtp.range {range} has room for {calls} calls"),
        );
    }
}

/// The limit of open files.
fn files(settings: &Settings, findings: &mut Findings) {
    let range = settings.rtp.range;
    let calls = (u64::from(range.last - range.first) + 1) / PORTS_A_CALL as u64;
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(limit);
    let said = format!(
        "{limit} files may be open, enough for {} calls",
        limit / FILES_A_CALL
    );
    let cure = "LimitNOFILE=65536 in the unit, or `ulimit -n 65536` before";
    if limit < FEW_CALLS * FILES_A_CALL {
        findings.fail("files", said, cure);
    } else if limit < calls * FILES_A_CALL {
        findings.warn(
            "files",
            format!("{said}; rtp.range has room for {calls}"),
            cure,
        );
    } else {
        findings.ok("files", said);
    }
}

/// Under which address the world finds us.
fn address(settings: &Settings, findings: &mut Findings) {
    if let Some(public) = settings.sip.public_address {
        return findings.ok("address", format!("peers are told {public}"));
    }
    // Nothing is sent: the kernel says from where it would be.
    let route = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    match route.map(|local| local.ip()) {
        Ok(IpAddr::V4(local)) if local.is_private() || local.is_link_local() => {
            let said = format!("this host is {local}, which nobody outside can reach");
            let cure =
                "where PBXs are outside, set sip.public_address to the address of the router";
            findings.warn("address", said, cure);
        }
        Ok(local) => findings.ok("address", format!("peers are told {local}")),
        Err(_) => findings.warn(
            "address",
            "this host has no route to the outside",
            "look at `ip route`, unless everybody is on this host",
        ),
    }
}

/// Where the names of trunks lead.
fn names(settings: &Settings, current: &Current, findings: &mut Findings) {
    let hosts = current.trunks.iter().filter_map(|trunk| match &trunk.kind {
        TrunkKind::OutboundRegister { domain, proxy, .. } => {
            let host = proxy.as_ref().unwrap_or(domain);
            (trunk.enabled && host.ip().is_none()).then_some((trunk, host))
        }
        TrunkKind::InboundRegister { .. } | TrunkKind::Peer { .. } => None,
    });
    let hosts: Vec<_> = hosts.collect();
    if hosts.is_empty() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let resolver = Resolver::new(&settings.sip.name_servers);
        for (trunk, host) in hosts {
            let name = &trunk.name;
            match resolver.locate(host, trunk.transport).await {
                Ok(hops) => {
                    let lost = hops.iter().find(|hop| !has_route(hop.ip()));
                    if let Some(hop) = lost {
                        let said = format!(
                            "trunk {name}: {host} is {} too, to which this host has no route",
                            hop.ip()
                        );
                        let cure = "look at `ip route` and `ip -6 route`, or let the provider's name lead elsewhere: it costs each call the time of an attempt";
                        findings.warn("dns", said, cure);
                    }
                    let hops: Vec<String> = hops.iter().map(ToString::to_string).collect();
                    let said = format!("trunk {name}: {host} is {}", hops.join(", then "));
                    findings.ok("dns", said);
                }
                Err(error) => {
                    let cure = "look at the name, and at sip.name_servers or /etc/resolv.conf";
                    findings.fail("dns", format!("trunk {name}: {error}"), cure);
                }
            }
        }
    });
}

/// Whether the kernel would know where to send what goes there; nothing is sent.
fn has_route(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    UdpSocket::bind((any, 0)).is_ok_and(|socket| socket.connect((ip, 9)).is_ok())
}

/// The application's id at Telegram.
fn application(settings: &Settings, findings: &mut Findings) {
    let id = settings.telegram.api_id;
    let cure = "make your own at https://my.telegram.org, and set telegram.api_id and api_hash";
    if id == 0 {
        findings.warn("api id", "there is none: no session can run", cure);
    } else if PUBLISHED.contains(&id) {
        let said = format!("{id} is that of a well-known client, which Telegram may refuse here");
        findings.warn("api id", said, cure);
    } else {
        findings.ok("api id", format!("{id} is none of the published ones"));
    }
}

/// How trunks and sessions are, as the switch that runs sees them.
fn neighbours(operator: &Operator, settings: &Settings, findings: &mut Findings) {
    let status: Status = match operator.get("/status") {
        Ok(status) => status,
        Err(error) => {
            let said = format!("the switch does not say how it is: {error}");
            return findings.fail("switch", said, "look at its log");
        }
    };
    if status.missing.is_empty() {
        findings.ok("switch", format!("version {} runs", status.version));
    } else {
        let said = format!("it is not ready: {}", status.missing.join("; "));
        findings.warn("switch", said, "wait, or look at its log");
    }
    for session in status.sessions.iter().filter(|session| session.enabled) {
        let (name, state) = (&session.name, &session.state);
        match state.as_str() {
            "running" => findings.ok("session", format!("{name} is up")),
            "unauthorized" => findings.fail(
                "session",
                format!("{name} has no login"),
                format!("strowger session login {name} --phone NUMBER"),
            ),
            _ => {
                let cure = format!("`strowger session show {name}` says why");
                let left = session
                    .until
                    .map(|until| Duration::from_secs(until.saturating_sub(super::unix())));
                let left = left.map_or_else(String::new, |left| {
                    format!(", for {} more", humantime::format_duration(left))
                });
                findings.warn("session", format!("{name} is in state {state}{left}"), cure);
            }
        }
    }
    for trunk in status.trunks.iter().filter(|trunk| trunk.enabled) {
        let name = &trunk.name;
        if trunk.up {
            let at = trunk.contacts.join(", ");
            findings.ok("trunk", format!("{name} is up at {at}"));
        } else {
            let cure = format!("`strowger trunk test {name}` says what is answered");
            let last = trunk.last_error.map_or_else(String::new, |code| {
                format!("; the last error on it was {code}")
            });
            findings.warn("trunk", format!("{name} is not up{last}"), cure);
        }
    }
    watched(status.scraped_s_ago, settings, findings);
}

/// Whether somebody watches it.
fn watched(ago: Option<u64>, settings: &Settings, findings: &mut Findings) {
    let listen = settings.admin.listen;
    let cure = format!("let Prometheus read http://{listen}/metrics (docs/metrics.md)");
    match ago {
        None => {
            let said = "nobody has read /metrics since the start: no alert will come";
            findings.warn("metrics", said, cure);
        }
        Some(ago) if ago > WATCHED_S => {
            let said = format!("nobody has read /metrics for {ago} s: no alert will come");
            findings.warn("metrics", said, cure);
        }
        Some(ago) => findings.ok("metrics", format!("they were read {ago} s ago")),
    }
}
