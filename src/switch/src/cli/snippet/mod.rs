//! `strowger trunk snippet`: the other side of a trunk, ready to paste or to type.
//!
//! Where a PBX is configured by files, these are pieces of its files; where it has forms, their fields with the exact values. The
//! texts hold the password of the trunk. Those for Asterisk and Kamailio are started as printed in `tests/e2e/snippet.rs`.

mod asterisk;
mod forms;
mod freeswitch;
mod kamailio;

use std::net::{IpAddr, SocketAddr};

use clap::{Args, ValueEnum as _};
use model::{Codec, DtmfMethod, HostPort, Transport, TrunkKind, TrunkName, TrunkSpec};
use serde_json::json;

use super::Operator;
use super::book::Book;
use crate::failure::Failure;
use crate::print::{self, Output};
use crate::reach::escaped;
use crate::records::Current;
use crate::settings::Settings;

/// Stands where the address of the switch would, if it cannot be known.
const PLACEHOLDER: &str = "ADDRESS-OF-STROWGER";

#[derive(Debug, Args)]
pub(super) struct Snippet {
    /// Its name
    name: TrunkName,
    /// The PBX it is for
    #[arg(long = "for", value_enum)]
    pbx: Pbx,
    /// Where the PBX finds this switch, if that is not the address it listens on
    #[arg(long, value_name = "HOST[:PORT]")]
    server: Option<HostPort>,
}

/// The PBXs there is a text for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pbx {
    /// Asterisk 16 and newer: pjsip.conf, extensions.conf
    AsteriskPjsip,
    /// FreePBX 16 and newer: its forms
    Freepbx,
    /// 3CX 18 and newer: its forms
    #[value(name = "3cx")]
    ThreeCx,
    /// FusionPBX 5: its forms
    Fusionpbx,
    /// FreeSWITCH 1.10: XML files
    Freeswitch,
    /// Kamailio 5.5 and newer: pieces of kamailio.cfg
    Kamailio,
    /// MikoPBX: its forms
    Mikopbx,
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// What goes into a file.
    File {
        /// Its path in a usual installation.
        path: String,
        /// How a comment begins, and ends.
        comment: (&'static str, &'static str),
        /// The lines.
        text: String,
    },
    /// The fields of a form.
    Form {
        /// Where it is in the menu.
        place: &'static str,
        /// Labels and values; what is not listed stays as it is.
        fields: Vec<(&'static str, String)>,
    },
    /// What else is to be known.
    Note(String),
}

/// What a text is made from.
struct Facts<'a> {
    trunk: &'a TrunkSpec,
    /// Where the PBX finds us.
    host: String,
    port: u16,
    realm: &'a str,
}

impl Snippet {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        let (answer, text) = match operator.book()? {
            Book::Switch(operator) => {
                let pbx = self.pbx.to_possible_value();
                let pbx = pbx.as_ref().map_or("", |pbx| pbx.get_name());
                let server = self.server.map(|server| escaped(&server.to_string()));
                let server = server.map(|server| format!("&server={server}"));
                let path = format!(
                    "/trunks/{}/snippet?for={pbx}{}",
                    self.name,
                    server.unwrap_or_default()
                );
                let mut answer: serde_json::Value = operator.get(&path)?;
                // For people alone.
                let text = answer.as_object_mut().and_then(|map| map.remove("text"));
                let text = text.as_ref().and_then(serde_json::Value::as_str);
                let text = text.unwrap_or_default().to_owned();
                (answer, text)
            }
            Book::Store(store) => {
                let trunk = super::trunk::find(&Current::read(&*store)?, &self.name)?;
                let settings = operator.settings()?;
                let facts = Facts::new(&trunk, &settings, self.server);
                let parts = facts.parts(self.pbx)?;
                (as_json(&trunk, &parts), as_text(&parts))
            }
        };
        match operator.output {
            Output::Json => print::json(&answer),
            Output::Table | Output::Csv => print::raw(&text),
        }
        if text.contains(PLACEHOLDER) {
            print::note(format_args!(
                "write the address of this host in place of {PLACEHOLDER}, or say it with --server, or set sip.public_address"
            ));
        }
        Ok(())
    }
}

/// The other side of a trunk, as a program reads it.
pub(crate) fn snippet(
    trunk: &TrunkSpec,
    settings: &Settings,
    pbx: Pbx,
    server: Option<HostPort>,
) -> Result<serde_json::Value, Failure> {
    let facts = Facts::new(trunk, settings, server);
    let parts = facts.parts(pbx)?;
    let mut answer = as_json(trunk, &parts);
    if let Some(map) = answer.as_object_mut() {
        map.insert("text".to_owned(), as_text(&parts).into());
    }
    Ok(answer)
}

impl<'a> Facts<'a> {
    fn parts(&self, pbx: Pbx) -> Result<Vec<Part>, Failure> {
        Ok(match pbx {
            Pbx::AsteriskPjsip => asterisk::parts(self),
            Pbx::Freepbx => forms::freepbx(self),
            Pbx::ThreeCx => forms::three_cx(self),
            Pbx::Fusionpbx => forms::fusionpbx(self),
            Pbx::Mikopbx => forms::mikopbx(self),
            Pbx::Freeswitch => freeswitch::parts(self),
            Pbx::Kamailio => kamailio::parts(self)?,
        })
    }

    fn new(trunk: &'a TrunkSpec, settings: &'a Settings, server: Option<HostPort>) -> Self {
        let sip = &settings.sip;
        let (tcp, tls) = (sip.tcp(), sip.tls());
        let listen = match trunk.transport {
            Transport::Udp => sip.udp.first(),
            Transport::Tcp => tcp.first(),
            Transport::Tls => tls.first(),
        };
        let usual = trunk.transport.default_port();
        let port = server.as_ref().and_then(HostPort::port);
        let port = port.or(listen.map(SocketAddr::port));
        let listens_on = || {
            let ip = listen.map(SocketAddr::ip);
            ip.filter(|ip| !ip.is_unspecified())
        };
        let host = match (
            server,
            sip.public_address.or_else(listens_on).or(towards(trunk)),
        ) {
            (Some(server), _) => bracketed(server.host()),
            (None, Some(ip)) => bracketed(&ip.to_string()),
            (None, None) => PLACEHOLDER.to_owned(),
        };
        Self {
            trunk,
            host,
            port: port.unwrap_or(usual),
            realm: settings.sip.realm.as_str(),
        }
    }

    /// Host and port.
    fn server(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The login, of a trunk that has one.
    fn login(&self) -> &str {
        match &self.trunk.kind {
            TrunkKind::InboundRegister { login, .. }
            | TrunkKind::OutboundRegister { login, .. } => login,
            TrunkKind::Peer { .. } => "",
        }
    }

    /// The name its password belongs to.
    fn auth_user(&self) -> &str {
        match &self.trunk.kind {
            TrunkKind::OutboundRegister {
                auth_user: Some(user),
                ..
            } => user,
            TrunkKind::OutboundRegister { .. }
            | TrunkKind::InboundRegister { .. }
            | TrunkKind::Peer { .. } => self.login(),
        }
    }

    fn password(&self) -> &str {
        super::trunk::password(self.trunk).unwrap_or_default()
    }

    /// The number at which the calls of Telegram users arrive in the PBX.
    fn arrival(&self) -> &str {
        let number = self.trunk.number.as_deref();
        number.unwrap_or(match &self.trunk.kind {
            TrunkKind::InboundRegister { login, .. } => login,
            TrunkKind::OutboundRegister { .. } | TrunkKind::Peer { .. } => "s",
        })
    }

    /// The codecs as a PBX calls them.
    fn codecs(&self, name: fn(Codec) -> &'static str, between: &str) -> String {
        let names: Vec<&str> = self.trunk.codecs.iter().copied().map(name).collect();
        names.join(between)
    }

    /// How digits should travel: the way that comes first on the trunk's list.
    fn dtmf(&self) -> DtmfMethod {
        let first = self.trunk.dtmf.first().copied();
        first.unwrap_or(DtmfMethod::Rfc2833)
    }

    /// `;transport=tcp` and the like, where it is not UDP.
    fn transport_parameter(&self) -> &'static str {
        match self.trunk.transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
        }
    }

    /// UDP, TCP or TLS.
    fn transport(&self) -> String {
        self.trunk.transport.in_via().to_owned()
    }

    /// `0` for as many calls as come, else how many.
    fn lines(&self) -> String {
        self.trunk.lines.to_string()
    }
}

/// The address that packets to the PBX leave from.
fn towards(trunk: &TrunkSpec) -> Option<IpAddr> {
    let ip = match &trunk.kind {
        TrunkKind::Peer { address } => Some(address.ip()),
        TrunkKind::OutboundRegister { domain, proxy, .. } => proxy.as_ref().unwrap_or(domain).ip(),
        TrunkKind::InboundRegister { .. } => None,
    };
    let ours = net::udp::source_address_for((ip?, trunk.transport.default_port()).into());
    Some(ours).filter(|ours| !ours.is_unspecified())
}

/// An IPv6 address stands in brackets where a port follows.
fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

fn as_text(parts: &[Part]) -> String {
    let part = |part: &Part| match part {
        Part::File {
            path,
            comment: (begin, end),
            text,
        } => format!("{begin} ==== {path} ===={end}\n{text}\n"),
        Part::Form { place, fields } => {
            let width = fields.iter().map(|(label, _)| label.chars().count()).max();
            let width = width.unwrap_or_default();
            let fields = fields
                .iter()
                .map(|(label, value)| format!("    {label:width$}  {value}\n"));
            format!("{place}\n{}\n", fields.collect::<String>())
        }
        Part::Note(note) => format!("{note}\n\n"),
    };
    let text: String = parts.iter().map(part).collect();
    format!("{}\n", text.trim_end())
}

fn as_json(trunk: &TrunkSpec, parts: &[Part]) -> serde_json::Value {
    let parts = parts.iter().map(|part| match part {
        Part::File { path, text, .. } => json!({ "file": path, "text": text }),
        Part::Form { place, fields } => {
            let fields = fields
                .iter()
                .map(|(field, value)| json!({ "field": field, "value": value }));
            json!({ "form": place, "fields": fields.collect::<Vec<_>>() })
        }
        Part::Note(note) => json!({ "note": note }),
    });
    json!({ "trunk": trunk.name, "parts": parts.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests;
