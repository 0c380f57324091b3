//! `strowger trunk`.

use std::net::SocketAddr;

use clap::{Args, Subcommand};
use model::{
    BareDigits, Codec, DialRules, DtmfMethod, HeaderField, HostPort, QuotaName, RuleError, Secret,
    Srtp, SrtpOverPlain, Transport, TrunkKind, TrunkName, TrunkSpec, TrustedIps, WorkerChoice,
};
use routing::DialPlan;
use serde_json::json;
use store::Change;

use super::Operator;
use super::book::Book;
use crate::api::TrunkFacts;
use crate::failure::Failure;
use crate::print::{self, Output, Table};
use crate::records::{Current, Kind, TrunkDraft};

#[derive(Debug, Subcommand)]
pub(super) enum Trunk {
    /// Make a trunk, and print what has to be entered in the PBX
    Add(Box<Add>),
    /// Change a trunk; what is not named stays, and calls go on with what they began with
    #[command(after_help = "Example: strowger trunk set office --lines 10 --codecs opus,alaw")]
    Set(Box<Set>),
    /// List all trunks
    List,
    /// Show one trunk: what is entered in the PBX, and its settings
    Show {
        /// Its name
        name: TrunkName,
        /// The password too
        #[arg(long)]
        secrets: bool,
    },
    /// Make a new password for a PBX that registers here, and show it once
    ResetPassword {
        /// Its name
        name: TrunkName,
    },
    /// Print the other side of a trunk: text to paste into the PBX's files, or the fields of its forms; with the password
    #[command(after_help = "Example: strowger trunk snippet office --for asterisk-pjsip")]
    Snippet(super::snippet::Snippet),
    /// Try whether the PBX is there, and say what to do next
    Test {
        /// Its name
        name: TrunkName,
    },
    /// Let it take and place calls again
    Enable {
        /// Its name
        name: TrunkName,
    },
    /// Place calls on it again that was blocked because too many failed
    Unblock {
        /// Its name
        name: TrunkName,
    },
    /// Begin anew with it: register, or ask whether the peer is there, at once; its calls go on
    Reconnect {
        /// Its name
        name: TrunkName,
    },
    /// Let it neither take nor place calls, and keep it
    Disable {
        /// Its name
        name: TrunkName,
    },
    /// Remove a trunk and its routes
    Remove {
        /// Its name
        name: TrunkName,
    },
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// Its name: letters, digits, `-`, `_`, `.`
    name: TrunkName,
    /// How the PBX and the switch know each other
    #[arg(long, value_enum, default_value = "inbound_register")]
    kind: Kind,
    #[command(flatten)]
    options: Options,
}

/// What a trunk is made of; what is not given has its default, or stays.
#[derive(Debug, Args)]
struct Options {
    /// Our login at the PBX or provider, for --kind outbound_register; its password is asked for
    #[arg(long)]
    login: Option<String>,
    /// The domain of that account, with a port if it is not 5060
    #[arg(long)]
    domain: Option<HostPort>,
    /// Where packets go, if not to the domain
    #[arg(long)]
    proxy: Option<HostPort>,
    /// The user name for its password, if it is not the login
    #[arg(long)]
    auth_user: Option<String>,
    /// Address and port of the PBX, for --kind peer
    #[arg(long)]
    address: Option<SocketAddr>,
    /// Where the account may be used from: addresses and networks with commas between them, for --kind inbound_register
    #[arg(long, value_name = "IPS")]
    trusted_ips: Option<TrustedIps>,
    /// A header that tells this peer from others at the same address, such as `X-Line:7`; sent with every request to it
    #[arg(long, value_name = "NAME:VALUE")]
    header: Option<HeaderField>,
    /// Ask the peer every minute whether it is there, and do not call it while it is not
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    qualify: Option<bool>,
    /// Codecs in order of preference: opus, alaw, mulaw, g722, l16
    #[arg(long, value_delimiter = ',')]
    codecs: Option<Vec<Codec>>,
    /// What carries SIP to the PBX: udp, tcp, tls; one that registers chooses for itself
    #[arg(long)]
    transport: Option<Transport>,
    /// The SHA-256 of the PBX's certificate, to be trusted instead of names and roots
    #[arg(long, value_name = "SHA256")]
    tls_pin: Option<String>,
    /// Whether the audio is encrypted: off, optional, required
    #[arg(long)]
    srtp: Option<Srtp>,
    /// Whether that is done although SIP travels without TLS, so that its keys can be read on the way: refuse, allow
    #[arg(long)]
    srtp_over_plain: Option<SrtpOverPlain>,
    /// Ways of keypad digits in order of preference: rfc2833, info, inband
    #[arg(long, value_delimiter = ',')]
    dtmf: Option<Vec<DtmfMethod>>,
    /// Simultaneous calls, 0 = unlimited
    #[arg(long)]
    lines: Option<u32>,
    /// The number dialled in the PBX when a Telegram user simply calls
    #[arg(long)]
    number: Option<String>,
    /// Rules for the numbers that the PBX dials, such as `^0=+49`, with spaces between them
    #[arg(long, value_name = "RULES", allow_hyphen_values = true)]
    inbound_rules: Option<DialRules>,
    /// What is dialled of a text that a Telegram user writes to the account, such as `!\D`; `.*=` dials nothing
    #[arg(long, value_name = "RULES", allow_hyphen_values = true)]
    dial_rules: Option<DialRules>,
    /// How a Telegram user is numbered in the PBX, such as `+{phone}`; once for each rule, the first that applies is used
    #[arg(long, value_name = "RULE")]
    caller_id: Option<Vec<String>>,
    /// How a Telegram user is named in the PBX, such as `{name_ascii}`; once for each rule
    #[arg(long, value_name = "RULE")]
    caller_name: Option<Vec<String>>,
    /// What bare digits that no Caller ID rule matches mean: `phone` or `userid`
    #[arg(long, value_name = "KIND")]
    bare_digits: Option<BareDigits>,
    /// Whether the PBX is told of the Telegram caller in headers `X-TG-*`
    #[arg(long, value_name = "true|false")]
    tg_headers: Option<bool>,
    /// Whether the PBX may transfer calls, by REFER and by INVITE with Replaces
    #[arg(long, value_name = "true|false")]
    refer: Option<bool>,
    /// The order among the trunks of a session, lower first; equal ones ring at the same time
    #[arg(long)]
    priority: Option<u32>,
    /// How many seconds the PBX may ring
    #[arg(long)]
    ring_seconds: Option<u32>,
    /// The quota profile of the trunk
    #[arg(long, conflicts_with = "no_quota")]
    quota: Option<QuotaName>,
    /// No quota profile of its own: `default` holds, where there is one
    #[arg(long)]
    no_quota: bool,
    /// After so many calls in a row that the trunk itself failed, none is placed there for a while; 0 = never
    #[arg(long)]
    failure_limit: Option<u32>,
    /// How many seconds that is the first time; twice as many after each trial that fails
    #[arg(long)]
    failure_wait_seconds: Option<u32>,
    /// Which worker carries its calls: auto, or local, which is this switch
    #[arg(long)]
    worker: Option<WorkerChoice>,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// Its name
    name: TrunkName,
    /// Ask for a new password of the account at the PBX or provider
    #[arg(long)]
    password: bool,
    #[command(flatten)]
    options: Options,
}

impl Trunk {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        match self {
            Trunk::Add(add) => add.run(operator),
            Trunk::Set(set) => set.run(operator),
            Trunk::List => list(operator),
            Trunk::Show { name, secrets } => {
                let book = operator.book()?;
                let current = if secrets {
                    book.current_with_secrets()?
                } else {
                    book.current()?
                };
                let trunk = find(&current, &name)?;
                show(
                    &trunk,
                    &facts(operator, &book, &name)?,
                    operator.output,
                    secrets,
                );
                Ok(())
            }
            Trunk::ResetPassword { name } => reset_password(operator, &name),
            Trunk::Snippet(snippet) => snippet.run(operator),
            Trunk::Test { name } => super::trunk_test::run(operator, &name),
            Trunk::Enable { name } => switch(operator, &name, true),
            Trunk::Disable { name } => switch(operator, &name, false),
            Trunk::Unblock { name } => {
                let done = format!("calls are placed on trunk {name} again");
                act(operator, &name, "unblock", &done)
            }
            Trunk::Reconnect { name } => act(
                operator,
                &name,
                "reconnect",
                &format!("trunk {name} begins anew"),
            ),
            Trunk::Remove { name } => {
                let book = operator.book()?;
                let current = book.current()?;
                find(&current, &name)?;
                book.commit(&current, current.remove_trunk(&name))?;
                print::line(format_args!("trunk {name} removed"));
                Ok(())
            }
        }
    }
}

impl Add {
    fn run(self, operator: &Operator) -> Result<(), Failure> {
        let book = operator.book()?;
        let current = book.current()?;
        if current.trunk(&self.name).is_some() {
            return Err(Failure::Exists {
                kind: "trunk",
                name: self.name.to_string(),
            });
        }
        let mut draft = TrunkDraft {
            kind: Some(self.kind),
            password: match self.kind {
                Kind::OutboundRegister => {
                    Some(super::conversation::ask("Password of the account: ", true)?)
                }
                Kind::InboundRegister | Kind::Peer => None,
            },
            ..TrunkDraft::default()
        };
        self.options.apply(&mut draft)?;
        let spec = draft
            .spec(&self.name, None)
            .map_err(|(_, what)| Failure::Usage(what))?;
        spec.check()?;
        DialPlan::new(&spec.inbound_rules)
            .map_err(|error| Failure::DialRules("--inbound-rules", error))?;
        DialPlan::new(&spec.dial_rules)
            .map_err(|error| Failure::DialRules("--dial-rules", error))?;
        let is_peer = matches!(spec.kind, TrunkKind::Peer { .. });
        if let Some(other) = current
            .trunks
            .iter()
            .find(|other| is_peer && other.kind == spec.kind && other.header == spec.header)
        {
            return Err(Failure::SameAddress(other.name.clone()));
        }
        book.commit(&current, vec![Change::PutTrunk(Box::new(spec.clone()))])?;
        // Its one chance to be written down.
        let facts = facts(operator, &book, &self.name)?;
        show(&spec, &facts, operator.output, true);
        Ok(())
    }
}

impl Set {
    fn run(self, operator: &Operator) -> Result<(), Failure> {
        let book = operator.book()?;
        let current = book.current()?;
        let before = find(&current, &self.name)?;
        let mut draft = TrunkDraft::from(&before);
        if self.password {
            if !matches!(before.kind, TrunkKind::OutboundRegister { .. }) {
                return Err(Failure::Usage(
                    "only a trunk that registers at a PBX or provider has a password of theirs; `strowger trunk reset-password` makes a new one of ours",
                ));
            }
            draft.password = Some(super::conversation::ask("Password of the account: ", true)?);
        }
        self.options.apply(&mut draft)?;
        let spec = draft
            .spec(&self.name, Some(&before))
            .map_err(|(_, what)| Failure::Usage(what))?;
        spec.check()?;
        DialPlan::new(&spec.inbound_rules)
            .map_err(|error| Failure::DialRules("--inbound-rules", error))?;
        DialPlan::new(&spec.dial_rules)
            .map_err(|error| Failure::DialRules("--dial-rules", error))?;
        if spec == before {
            print::line(format_args!("trunk {} is so already", self.name));
            return Ok(());
        }
        book.commit(&current, vec![Change::PutTrunk(Box::new(spec))])?;
        print::line(format_args!("trunk {} is changed", self.name));
        Ok(())
    }
}

impl Options {
    /// Writes what was given over what there is.
    fn apply(self, draft: &mut TrunkDraft) -> Result<(), Failure> {
        fn over<T>(place: &mut Option<T>, given: Option<T>) {
            if given.is_some() {
                *place = given;
            }
        }
        over(&mut draft.login, self.login);
        over(&mut draft.domain, self.domain);
        over(&mut draft.proxy, self.proxy);
        over(&mut draft.auth_user, self.auth_user);
        over(&mut draft.address, self.address);
        over(&mut draft.trusted_ips, self.trusted_ips);
        over(&mut draft.header, self.header);
        over(&mut draft.qualify, self.qualify);
        over(&mut draft.codecs, self.codecs);
        over(&mut draft.transport, self.transport);
        over(&mut draft.tls_pin, self.tls_pin);
        over(&mut draft.srtp, self.srtp);
        over(&mut draft.srtp_over_plain, self.srtp_over_plain);
        over(&mut draft.dtmf, self.dtmf);
        over(&mut draft.lines, self.lines);
        over(&mut draft.number, self.number);
        over(&mut draft.inbound_rules, self.inbound_rules);
        over(&mut draft.dial_rules, self.dial_rules);
        over(&mut draft.caller_id, rules("--caller-id", self.caller_id)?);
        over(
            &mut draft.caller_name,
            rules("--caller-name", self.caller_name)?,
        );
        over(&mut draft.bare_digits, self.bare_digits);
        over(&mut draft.tg_headers, self.tg_headers);
        over(&mut draft.refer, self.refer);
        over(&mut draft.priority, self.priority);
        over(&mut draft.ring_seconds, self.ring_seconds);
        over(&mut draft.quota, self.quota);
        if self.no_quota {
            draft.quota = None;
        }
        over(&mut draft.failure_limit, self.failure_limit);
        over(&mut draft.failure_wait_seconds, self.failure_wait_seconds);
        over(&mut draft.worker, self.worker);
        Ok(())
    }
}

/// The rules of an option that was given once for each.
pub(super) fn rules<T>(
    option: &'static str,
    given: Option<Vec<String>>,
) -> Result<Option<T>, Failure>
where
    T: TryFrom<Vec<String>, Error = RuleError>,
{
    let rules = given.map(T::try_from).transpose();
    rules.map_err(|error| Failure::Rule(option, error))
}

pub(super) fn find(current: &Current, name: &TrunkName) -> Result<TrunkSpec, Failure> {
    let missing = || Failure::NotFound {
        kind: "trunk",
        name: name.to_string(),
    };
    current.trunk(name).cloned().ok_or_else(missing)
}

/// Has something done with it by the switch that runs.
fn act(operator: &Operator, name: &TrunkName, what: &str, done: &str) -> Result<(), Failure> {
    let () = operator.api("POST", &format!("/trunks/{name}/{what}"), None::<&()>)?;
    print::line(format_args!("{done}"));
    Ok(())
}

fn switch(operator: &Operator, name: &TrunkName, enabled: bool) -> Result<(), Failure> {
    let book = operator.book()?;
    let current = book.current()?;
    let spec = TrunkSpec {
        enabled,
        ..find(&current, name)?
    };
    book.commit(&current, vec![Change::PutTrunk(Box::new(spec))])?;
    print::line(format_args!(
        "trunk {name} is {}",
        if enabled { "on" } else { "off" }
    ));
    Ok(())
}

/// A new password for the PBX. Whoever registered with the old one is forgotten.
fn reset_password(operator: &Operator, name: &TrunkName) -> Result<(), Failure> {
    let book = operator.book()?;
    let current = book.current()?;
    let trunk = find(&current, name)?;
    let login = match trunk.kind {
        TrunkKind::InboundRegister { login, .. } => login,
        TrunkKind::OutboundRegister { .. } => {
            return Err(Failure::Refused(format!(
                "the password of trunk {name} is the PBX's to change: change it there, then in a file for `strowger apply`"
            )));
        }
        TrunkKind::Peer { .. } => {
            return Err(Failure::Refused(format!(
                "trunk {name} has no password: a peer is known by its address"
            )));
        }
    };
    let password = crate::credentials::password();
    let spec = TrunkSpec {
        kind: TrunkKind::InboundRegister {
            login: login.clone(),
            password: Secret::new(password.clone()),
        },
        ..trunk
    };
    // Who has registered with the old one is forgotten by that.
    book.commit(&current, vec![Change::PutTrunk(Box::new(spec))])?;
    let server = facts(operator, &book, name)?.server;
    if operator.output == Output::Json {
        print::json(
            &json!({ "name": name, "login": login, "password": password, "server": server }),
        );
        return Ok(());
    }
    let line = |what: &str, value: &str| print::line(format_args!("{what:<10}{value}"));
    line("trunk", name.as_str());
    line("server", &server);
    line("login", &login);
    line("password", &password);
    print::note(format_args!(
        "enter the password in the PBX, in its trunk to {server} with login {login}: until then it is refused with `403 Wrong password`. \
         It is shown this once; `strowger trunk show {name} --secrets` has it, and `strowger trunk snippet {name} --for PBX` puts it into the text to paste"
    ));
    Ok(())
}

fn list(operator: &Operator) -> Result<(), Failure> {
    let current = operator.current()?;
    if operator.output == Output::Json {
        print::json(&current.trunks.iter().map(public).collect::<Vec<_>>());
        return Ok(());
    }
    let mut table = Table::new([
        "name",
        "kind",
        "login or address",
        "codecs",
        "lines",
        "number",
        "sessions",
        "on",
    ]);
    for trunk in &current.trunks {
        let sessions = current
            .routes
            .iter()
            .filter(|route| route.trunk == trunk.name);
        let sessions: Vec<&str> = sessions.map(|route| route.session.as_str()).collect();
        let (kind, who) = match &trunk.kind {
            TrunkKind::InboundRegister { login, .. } => ("inbound_register", login.clone()),
            TrunkKind::OutboundRegister { login, domain, .. } => {
                ("outbound_register", format!("{login}@{domain}"))
            }
            TrunkKind::Peer { address } => ("peer", address.to_string()),
        };
        table.row([
            trunk.name.to_string(),
            kind.to_owned(),
            who,
            words(&trunk.codecs),
            lines(trunk.lines),
            trunk.number.clone().unwrap_or_else(|| "-".to_owned()),
            if sessions.is_empty() {
                "-".to_owned()
            } else {
                sessions.join(",")
            },
            if trunk.enabled { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table.print(
        operator.output,
        "no trunks yet: make one with `strowger trunk add NAME`",
    );
    Ok(())
}

/// What an operator enters in the PBX. The password is shown to who asks for it, as is the one of an account at a provider.
fn show(trunk: &TrunkSpec, facts: &TrunkFacts, output: Output, secrets: bool) {
    if output == Output::Json {
        let mut value = public(trunk);
        if let Some(map) = value.as_object_mut() {
            map.insert("server".to_owned(), facts.server.as_str().into());
            map.insert("realm".to_owned(), facts.realm.as_str().into());
            if let (true, Some(password)) = (secrets, password(trunk)) {
                map.insert("password".to_owned(), password.into());
            }
        }
        print::json(&value);
        return;
    }
    let password = match password(trunk) {
        Some(password) if secrets => password.to_owned(),
        _ => "*** (--secrets shows it)".to_owned(),
    };
    let line = |what: &str, value: &str| print::line(format_args!("{what:<10}{value}"));
    line("trunk", trunk.name.as_str());
    match &trunk.kind {
        TrunkKind::InboundRegister { login, .. } => {
            line("kind", "inbound_register: the PBX registers here");
            line("server", &facts.server);
            line("login", login);
            line("password", &password);
            line("realm", &facts.realm);
            if !trunk.trusted_ips.is_empty() {
                line("only from", &trunk.trusted_ips.to_string());
            }
        }
        TrunkKind::OutboundRegister {
            login,
            domain,
            proxy,
            auth_user,
            ..
        } => {
            line("kind", "outbound_register: we register at the PBX");
            line("login", login);
            line("password", &password);
            line("domain", &domain.to_string());
            if let Some(proxy) = proxy {
                line("proxy", &proxy.to_string());
            }
            if let Some(user) = auth_user {
                line("auth user", user);
            }
        }
        TrunkKind::Peer { address } => {
            line(
                "kind",
                "peer: no registration, the PBX is known by its address",
            );
            line("address", &address.to_string());
            if let Some(header) = &trunk.header {
                line("header", &header.to_string());
            }
            if trunk.qualify {
                line("qualify", "asked every 60 s, not called while it is down");
            }
            line("server", &facts.server);
        }
    }
    line("codecs", &words(&trunk.codecs));
    if !matches!(trunk.kind, TrunkKind::InboundRegister { .. }) {
        line("transport", trunk.transport.as_str());
        if let Some(pin) = &trunk.tls_pin {
            line("tls pin", pin);
        }
    }
    let over_plain = match (trunk.srtp, trunk.srtp_over_plain) {
        (Srtp::Off, _) | (_, SrtpOverPlain::Refuse) => "",
        (Srtp::Optional | Srtp::Required, SrtpOverPlain::Allow) => ", also without TLS",
    };
    line("srtp", &format!("{}{over_plain}", trunk.srtp));
    line("dtmf", &words(&trunk.dtmf));
    line("lines", &lines(trunk.lines));
    let none = match &trunk.kind {
        TrunkKind::InboundRegister { .. } => "none: the PBX is called at what it registered",
        TrunkKind::OutboundRegister { .. } | TrunkKind::Peer { .. } => "none",
    };
    line("number", trunk.number.as_deref().unwrap_or(none));
    if !trunk.inbound_rules.is_empty() {
        line("inbound", &trunk.inbound_rules.to_string());
    }
    if trunk.dial_rules != DialRules::dial_nothing() {
        line("dials", &trunk.dial_rules.to_string());
    }
    line("priority", &trunk.priority.to_string());
    if let Some(quota) = &trunk.quota {
        line("quota", quota.as_str());
    }
    let blocked = match trunk.failure_limit {
        0 => "never".to_owned(),
        limit => format!(
            "after {limit} failures in a row, for {} s",
            trunk.failure_wait_seconds
        ),
    };
    line("blocked", &blocked);
    line("worker", &trunk.worker.to_string());
    line("caller id", &shown(trunk.caller_id.clone().into()));
    line("its name", &shown(trunk.caller_name.clone().into()));
    if !trunk.enabled {
        line("state", "off");
    }
}

/// The password of a trunk that has one.
pub(super) fn password(trunk: &TrunkSpec) -> Option<&str> {
    match &trunk.kind {
        TrunkKind::InboundRegister { password, .. }
        | TrunkKind::OutboundRegister { password, .. } => Some(password.expose()),
        TrunkKind::Peer { .. } => None,
    }
}

/// Rules in one line.
fn shown(rules: Vec<String>) -> String {
    if rules.is_empty() {
        return "none".to_owned();
    }
    rules.join(", else ")
}

/// What is entered in the PBX beside the login: as the switch has it that runs, else as its settings say.
fn facts(operator: &Operator, book: &Book<'_>, name: &TrunkName) -> Result<TrunkFacts, Failure> {
    match book {
        Book::Switch(operator) => operator.get(&format!("/trunks/{name}")),
        Book::Store(_) => Ok(TrunkFacts::from(&operator.settings()?)),
    }
}

fn public(trunk: &TrunkSpec) -> serde_json::Value {
    let (kind, login, address) = match &trunk.kind {
        TrunkKind::InboundRegister { login, .. } => ("inbound_register", Some(login), None),
        TrunkKind::OutboundRegister { login, domain, .. } => {
            ("outbound_register", Some(login), Some(domain.to_string()))
        }
        TrunkKind::Peer { address } => ("peer", None, Some(address.to_string())),
    };
    json!({
        "name": trunk.name, "kind": kind, "login": login, "address": address, "trusted_ips": trunk.trusted_ips, "header": trunk.header, "qualify": trunk.qualify, "codecs": trunk.codecs, "transport": trunk.transport, "tls_pin": trunk.tls_pin,
        "srtp": trunk.srtp, "srtp_over_plain": trunk.srtp_over_plain, "dtmf": trunk.dtmf,
        "lines": trunk.lines, "number": trunk.number, "inbound_rules": trunk.inbound_rules, "dial_rules": trunk.dial_rules, "caller_id": trunk.caller_id, "caller_name": trunk.caller_name,
        "bare_digits": trunk.bare_digits, "tg_headers": trunk.tg_headers, "refer": trunk.refer, "priority": trunk.priority, "ring_seconds": trunk.ring_seconds,
        "quota": trunk.quota, "failure_limit": trunk.failure_limit, "failure_wait_seconds": trunk.failure_wait_seconds, "worker": trunk.worker,
        "enabled": trunk.enabled,
    })
}

fn words<T: ToString>(list: &[T]) -> String {
    let names: Vec<String> = list.iter().map(ToString::to_string).collect();
    names.join(",")
}

/// 0 is how unlimited is written, and the last thing one reads it as.
pub(super) fn lines(lines: u32) -> String {
    if lines == 0 {
        "unlimited".to_owned()
    } else {
        lines.to_string()
    }
}
