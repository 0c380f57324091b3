//! `strowger trunk test`: whether the other end of a trunk is there, and what to do next.
//!
//! The switch does not run meanwhile, for its store is open here; so its SIP address is free, and the PBX is asked from it.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::{HostPort, TrunkKind, TrunkName, TrunkSpec};
use net::probe::{Probed, options};
use serde_json::json;
use sip::{Hop, Host, Response, Uri};
use store::{Space, Store};

use super::Operator;
use crate::failure::Failure;
use crate::print::{self, Output};
use crate::records::Current;
use crate::settings::Settings;

/// What was tried, one after the other, and what it means.
#[derive(Debug, Default)]
struct Report {
    steps: Vec<Step>,
    /// Whether calls can be expected to work.
    is_good: bool,
    /// What to do now.
    next: String,
}

#[derive(Debug)]
struct Step {
    what: &'static str,
    said: String,
    took: Option<Duration>,
}

/// Tries the trunk, says what came of it, and fails when that is not good.
pub(super) fn run(operator: &Operator, name: &TrunkName) -> Result<(), Failure> {
    let settings = operator.settings()?;
    let store = operator.store()?;
    let trunk = super::trunk::find(&Current::read(&store)?, name)?;
    let mut report = match &trunk.kind {
        TrunkKind::InboundRegister { .. } => registered(&store, &trunk)?,
        TrunkKind::OutboundRegister { domain, proxy, .. } => {
            let host = proxy.as_ref().unwrap_or(domain);
            ask(&settings, &trunk, host, domain)
        }
        TrunkKind::Peer { address } => {
            let peer = address.to_string().parse();
            match peer {
                Ok(peer) => ask(&settings, &trunk, &peer, &peer),
                Err(_) => Report::default(),
            }
        }
    };
    if !trunk.enabled {
        report.is_good = false;
        report.next = format!("the trunk is off: `strowger trunk enable {name}`");
    }
    report.print(&trunk, operator.output);
    if report.is_good {
        Ok(())
    } else {
        Err(Failure::TrunkTest(trunk.name, report.next))
    }
}

impl Report {
    fn step(&mut self, what: &'static str, said: impl ToString, took: Option<Duration>) {
        self.steps.push(Step {
            what,
            said: said.to_string(),
            took,
        });
    }

    fn verdict(mut self, is_good: bool, next: impl ToString) -> Self {
        self.is_good = is_good;
        self.next = next.to_string();
        self
    }

    fn print(&self, trunk: &TrunkSpec, output: Output) {
        let ms = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if output == Output::Json {
            let steps = self.steps.iter().map(
                |step| json!({ "step": step.what, "said": step.said, "ms": step.took.map(ms) }),
            );
            print::json(&json!({
                "trunk": trunk.name, "ok": self.is_good, "steps": steps.collect::<Vec<_>>(), "next": self.next,
            }));
            return;
        }
        for step in &self.steps {
            let took = step.took.map(|took| format!("  ({} ms)", ms(took)));
            print::line(format_args!(
                "{:<10}{}{}",
                step.what,
                step.said,
                took.unwrap_or_default()
            ));
        }
        // A failure says it at the end, where failures are told.
        if self.is_good {
            print::line(format_args!("{:<10}{}", "next", self.next));
        }
    }
}

/// Whether the PBX is registered, as the switch last wrote it down.
fn registered(store: &dyn Store, trunk: &TrunkSpec) -> Result<Report, Failure> {
    let kept = store.get(Space::Bindings, trunk.name.as_str().as_bytes())?;
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let bindings = kept.as_deref().map(actors::kept_bindings);
    let mut report = Report::default();
    let mut is_registered = false;
    for binding in bindings.unwrap_or_default() {
        let left = binding.expires_at.saturating_sub(unix);
        is_registered |= left > 0;
        let until = if left > 0 {
            format!("for another {left} s")
        } else {
            "but that ran out".to_owned()
        };
        let said = format!("{} from {}, {until}", binding.contact, binding.source);
        report.step("registered", said, None);
    }
    if is_registered {
        return Ok(report.verdict(true, "start the switch with `strowger run`"));
    }
    if report.steps.is_empty() {
        report.step("registered", "never, or it has unregistered", None);
    }
    Ok(report.verdict(
        false,
        format!(
            "no PBX is registered: enter what `strowger trunk show {0} --secrets` prints, or paste `strowger trunk snippet {0} --for PBX`, \
             and start the switch; a PBX that tries and is refused is in its log",
            trunk.name
        ),
    ))
}

/// Resolves the host and asks it for its capabilities.
fn ask(settings: &Settings, trunk: &TrunkSpec, host: &HostPort, domain: &HostPort) -> Report {
    let mut report = Report::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return report.verdict(false, error),
    };
    let begun = Instant::now();
    let located = runtime.block_on(async {
        let resolver = net::Resolver::new(&settings.sip.name_servers);
        resolver.locate(host, trunk.transport).await
    });
    let hops = match located {
        Ok(hops) => hops,
        Err(error) => {
            report.step("resolve", format!("{host}: {error}"), Some(begun.elapsed()));
            let next = format!(
                "the name {} leads nowhere: correct it, ask the name server of this host (`getent hosts {0}`), or write the address",
                host.host()
            );
            return report.verdict(false, next);
        }
    };
    let Some(hop) = hops.first().copied() else {
        return report.verdict(false, format!("{host} has no address"));
    };
    let found: Vec<_> = hops.iter().map(|hop| hop.address.to_string()).collect();
    let found = match host.ip() {
        Some(_) => found.join(", "),
        None => format!("{host} is {}", found.join(", then ")),
    };
    report.step("resolve", found, Some(begun.elapsed()));
    let uri = match domain.ip() {
        Some(_) => Uri::reached(None, hop),
        None => Uri::sip(None, Host::Name(domain.host().to_owned()), domain.port()),
    };
    let agent = Some(settings.sip.user_agent.to_string()).filter(|agent| !agent.is_empty());
    let from = settings.sip.udp.first().copied();
    let begun = Instant::now();
    let probed = runtime.block_on(options(from, hop, uri, agent.as_deref()));
    let took = Some(begun.elapsed());
    match probed {
        Ok(Probed::Answered(response)) => {
            report.step("OPTIONS", said(&response), took);
            let (is_good, next) = meaning(&response, trunk);
            report.verdict(is_good, next)
        }
        Ok(Probed::Connected) => {
            report.step("connect", format!("{hop} accepts connections"), took);
            report.verdict(
                true,
                "start the switch: what is said over TLS is tried by its own calls",
            )
        }
        Err(error) => {
            let (said, next) = nothing(&error, hop);
            report.step("OPTIONS", said, took);
            report.verdict(false, next)
        }
    }
}

/// The status line, and who says it.
fn said(response: &Response) -> String {
    let mut said = format!("{} {}", response.status, response.reason);
    let agent = [sip::HeaderName::Server, sip::HeaderName::UserAgent];
    if let Some(agent) = agent.iter().find_map(|name| response.headers.get(name)) {
        let agent: String = agent.chars().filter(|c| !c.is_control()).take(80).collect();
        said = format!("{said}, by {agent}");
    }
    said
}

fn meaning(response: &Response, trunk: &TrunkSpec) -> (bool, String) {
    let registers = matches!(trunk.kind, TrunkKind::OutboundRegister { .. });
    let start = if registers {
        "start the switch: it registers, and its log says so"
    } else {
        "start the switch, and call"
    };
    match response.status {
        200..300 => (true, start.to_owned()),
        401 | 407 => (
            true,
            format!("it asks even this for a password, which is its right; {start}"),
        ),
        403 => (
            false,
            "the PBX is there, and refuses this host: allow our address there".to_owned(),
        ),
        300..500 => (
            true,
            format!("the PBX is there, and does not answer OPTIONS, which is no fault; {start}"),
        ),
        _ => (
            false,
            "the PBX is there, but not well: look at its log".to_owned(),
        ),
    }
}

fn nothing(error: &io::Error, hop: Hop) -> (String, String) {
    let transport = hop.transport.in_via();
    match error.kind() {
        io::ErrorKind::TimedOut => (
            "no answer in 5 s".to_owned(),
            format!(
                "nothing comes back from {} over {transport}: check address and port, the firewalls on the way, and whether the PBX \
                 drops what comes from addresses it does not know (fail2ban does)",
                hop.address
            ),
        ),
        io::ErrorKind::ConnectionRefused => (
            "refused".to_owned(),
            format!(
                "the host is there, but nobody listens at {} over {transport}: start the PBX, or correct the port or the transport",
                hop.address
            ),
        ),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => (
            error.to_string(),
            format!(
                "there is no route to {}: check the network of this host",
                hop.ip()
            ),
        ),
        _ => (
            error.to_string(),
            format!(
                "what listens at {} over {transport} speaks no SIP",
                hop.address
            ),
        ),
    }
}
