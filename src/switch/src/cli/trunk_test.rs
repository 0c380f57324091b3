//! `strowger trunk test`: whether the other end of a trunk is there, and what to do next.
//!
//! Where no switch runs, its SIP address is free, and the PBX is asked from it. A switch that runs asks itself, from another port.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actors::TrunkReport;
use model::{HostPort, TrunkKind, TrunkName, TrunkSpec};
use net::probe::{Probed, options};
use sip::{Hop, Host, Response, Uri};
use store::{Space, Store};

use super::Operator;
use super::book::Book;
use crate::api::{TrunkTest, TrunkTestStep};
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
    let test: TrunkTest = match operator.book()? {
        Book::Store(store) => {
            let settings = operator.settings()?;
            let trunk = super::trunk::find(&Current::read(&*store)?, name)?;
            let report = without_switch(&settings, &*store, &trunk)?;
            report.of(&trunk)
        }
        Book::Switch(operator) => {
            operator.api("POST", &format!("/trunks/{name}/test"), None::<&()>)?
        }
    };
    print(&test, operator.output);
    if test.ok {
        Ok(())
    } else {
        Err(Failure::TrunkTest(name.clone(), test.next))
    }
}

fn without_switch(
    settings: &Settings,
    store: &dyn Store,
    trunk: &TrunkSpec,
) -> Result<Report, Failure> {
    let Some((host, domain)) = far_end(trunk) else {
        return registered(store, trunk);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let report = match runtime {
        Ok(runtime) => runtime.block_on(ask(settings, trunk, &host, &domain, false)),
        Err(error) => Report::default().verdict(false, error),
    };
    Ok(report)
}

/// Whom to ask, and as what; nobody where the PBX comes to us.
fn far_end(trunk: &TrunkSpec) -> Option<(HostPort, HostPort)> {
    match &trunk.kind {
        TrunkKind::InboundRegister { .. } => None,
        TrunkKind::OutboundRegister { domain, proxy, .. } => {
            Some((proxy.as_ref().unwrap_or(domain).clone(), domain.clone()))
        }
        TrunkKind::Peer { address } => {
            let peer: HostPort = address.to_string().parse().ok()?;
            Some((peer.clone(), peer))
        }
    }
}

/// The same in the switch that runs, which knows how the trunk is.
pub(crate) async fn test_trunk(
    settings: &Settings,
    trunk: &TrunkSpec,
    state: Option<TrunkReport>,
) -> TrunkTest {
    let contacts = state.as_ref().map(|state| state.contacts.clone());
    let is_up = state.is_some_and(|state| state.up);
    let contacts = contacts.unwrap_or_default();
    let report = if let Some((host, domain)) = far_end(trunk) {
        let report = ask(settings, trunk, &host, &domain, true).await;
        let registers = matches!(trunk.kind, TrunkKind::OutboundRegister { .. });
        if report.is_good && !is_up && trunk.enabled {
            let next = if registers {
                "the PBX is there, and our registration does not hold: the log says what it answers"
            } else {
                "the PBX is there, and counts as gone: it did not answer when it was asked last"
            };
            report.verdict(false, next)
        } else {
            report
        }
    } else {
        let mut report = Report::default();
        for contact in &contacts {
            report.step("registered", contact, None);
        }
        if contacts.is_empty() {
            report.step("registered", "nobody", None);
            report.verdict(false, unregistered(trunk))
        } else {
            report.verdict(true, "call")
        }
    };
    report.of(trunk)
}

/// What to do about a PBX that should register, and has not.
fn unregistered(trunk: &TrunkSpec) -> String {
    format!(
        "no PBX is registered: enter what `strowger trunk show {0} --secrets` prints, or paste `strowger trunk snippet {0} --for PBX`, \
         and start the switch; a PBX that tries and is refused is in its log",
        trunk.name
    )
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

    /// As whoever asked is told.
    fn of(mut self, trunk: &TrunkSpec) -> TrunkTest {
        if !trunk.enabled {
            self.is_good = false;
            self.next = format!("the trunk is off: `strowger trunk enable {}`", trunk.name);
        }
        let ms = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let steps = self.steps.into_iter().map(|step| TrunkTestStep {
            step: step.what.to_owned(),
            said: step.said,
            ms: step.took.map(ms),
        });
        TrunkTest {
            trunk: trunk.name.to_string(),
            ok: self.is_good,
            steps: steps.collect(),
            next: self.next,
        }
    }
}

fn print(test: &TrunkTest, output: Output) {
    if output == Output::Json {
        return print::json(test);
    }
    for step in &test.steps {
        let took = step.ms.map(|ms| format!("  ({ms} ms)"));
        print::line(format_args!(
            "{:<10}{}{}",
            step.step,
            step.said,
            took.unwrap_or_default()
        ));
    }
    // A failure says it at the end, where failures are told.
    if test.ok {
        print::line(format_args!("{:<10}{}", "next", test.next));
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
    Ok(report.verdict(false, unregistered(trunk)))
}

/// Resolves the host and asks it for its capabilities.
async fn ask(
    settings: &Settings,
    trunk: &TrunkSpec,
    host: &HostPort,
    domain: &HostPort,
    is_running: bool,
) -> Report {
    let mut report = Report::default();
    let begun = Instant::now();
    let resolver = net::Resolver::new(&settings.sip.name_servers);
    let located = resolver.locate(host, trunk.transport).await;
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
    // A switch that runs has the port itself.
    let port = |from: SocketAddr| if is_running { 0 } else { from.port() };
    let from = settings.sip.udp.first();
    let from = from.map(|from| SocketAddr::new(from.ip(), port(*from)));
    let begun = Instant::now();
    let probed = options(from, hop, uri, agent.as_deref()).await;
    let took = Some(begun.elapsed());
    match probed {
        Ok(Probed::Answered(response)) => {
            report.step("OPTIONS", said(&response), took);
            let (is_good, next) = meaning(&response, trunk, is_running);
            report.verdict(is_good, next)
        }
        Ok(Probed::Connected) => {
            report.step("connect", format!("{hop} accepts connections"), took);
            let next = if is_running {
                "what is said over TLS is tried by calls"
            } else {
                "start the switch: what is said over TLS is tried by its own calls"
            };
            report.verdict(true, next)
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

fn meaning(response: &Response, trunk: &TrunkSpec, is_running: bool) -> (bool, String) {
    let registers = matches!(trunk.kind, TrunkKind::OutboundRegister { .. });
    let start = if is_running {
        "call"
    } else if registers {
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
