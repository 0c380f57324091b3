//! Trunks, sessions, routes, quotas, users and webhooks as one file: what `apply` reads and `export` writes.
//!
//! One TOML with `[[trunk]]`, `[[session]]`, `[[route]]`, `[[quota]]`, `[[user]]` and `[[webhook]]`. Reading is strict: a key nobody reads or a value of the wrong kind
//! is a fault with its line. A trunk without login or password keeps those it has; a PBX that registers here gets new ones when there are none.

mod commit;
mod kept;
mod plan;
mod read;
#[cfg(test)]
mod tests;
mod webhook;

use std::net::SocketAddr;

use model::{
    AllowedCallers, BareDigits, BotName, CallerIdRules, CallerNameRules, Codec, DialRules,
    DtmfMethod, HeaderField, HostPort, QueryTemplate, QuotaName, QuotaSpec, RouteSpec, RouteTerms,
    Secret, SessionName, SessionSpec, Srtp, SrtpOverPlain, TransitSpec, Transport, TrunkKind,
    TrunkName, TrunkSpec, TrustedIps, UserName, UserSpec, WorkerChoice,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fault::Place;

pub(crate) use commit::{Refusal, commit, revise};
pub(crate) use kept::{KEPT, is_kept, unveiled, veiled};
pub(crate) use plan::{Current, Plan};
pub(crate) use webhook::{MOST_WEBHOOKS, WebhookDraft, new_webhook_secret};

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) trunks: Vec<Placed<TrunkDraft>>,
    pub(crate) sessions: Vec<Placed<SessionDraft>>,
    pub(crate) routes: Vec<Placed<RouteDraft>>,
    pub(crate) quotas: Vec<Placed<QuotaDraft>>,
    pub(crate) users: Vec<Placed<UserDraft>>,
    pub(crate) webhooks: Vec<Placed<WebhookDraft>>,
    /// Whether it speaks of webhooks at all, be it that there are none.
    pub(crate) has_webhooks: bool,
}

/// A record and where it stands.
#[derive(Debug)]
pub(crate) struct Placed<T> {
    pub(crate) record: T,
    pub(crate) place: Spot,
}

/// Where a record begins, and where the values of its keys do.
#[derive(Debug, Clone)]
pub(crate) struct Spot {
    pub(crate) record: Place,
    /// Line and column of each value.
    values: Vec<(&'static str, (usize, usize))>,
}

impl Spot {
    /// That of a record that is in no file.
    pub(crate) fn nowhere() -> Self {
        Self {
            record: Place::Nowhere,
            values: Vec::new(),
        }
    }

    /// The place of the value of a key; that of the record where the key is not written.
    pub(crate) fn of(&self, key: &str) -> Place {
        let found = self.values.iter().find(|(name, _)| *name == key);
        match (&self.record, found) {
            (Place::File { file, .. }, Some((_, (line, column)))) => Place::File {
                file: file.clone(),
                line: *line,
                column: *column,
            },
            (place, _) => place.clone(),
        }
    }
}

/// A trunk as written: what is absent has its default, or is kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TrunkDraft {
    #[schema(value_type = Option<String>)]
    pub(crate) name: Option<TrunkName>,
    pub(crate) kind: Option<Kind>,
    pub(crate) login: Option<String>,
    #[schema(value_type = Option<String>)]
    pub(crate) password: Option<Secret<String>>,
    #[schema(value_type = Option<String>)]
    pub(crate) domain: Option<HostPort>,
    #[schema(value_type = Option<String>)]
    pub(crate) proxy: Option<HostPort>,
    pub(crate) auth_user: Option<String>,
    #[schema(value_type = Option<String>)]
    pub(crate) address: Option<SocketAddr>,
    #[schema(value_type = Option<String>)]
    pub(crate) trusted_ips: Option<TrustedIps>,
    #[schema(value_type = Option<String>)]
    pub(crate) header: Option<HeaderField>,
    pub(crate) qualify: Option<bool>,
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) codecs: Option<Vec<Codec>>,
    #[schema(value_type = Option<String>)]
    pub(crate) transport: Option<Transport>,
    pub(crate) tls_pin: Option<String>,
    #[schema(value_type = Option<String>)]
    pub(crate) srtp: Option<Srtp>,
    #[schema(value_type = Option<String>)]
    pub(crate) srtp_over_plain: Option<SrtpOverPlain>,
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) dtmf: Option<Vec<DtmfMethod>>,
    pub(crate) lines: Option<u32>,
    pub(crate) number: Option<String>,
    #[schema(value_type = Option<String>)]
    pub(crate) inbound_rules: Option<DialRules>,
    #[schema(value_type = Option<String>)]
    pub(crate) dial_rules: Option<DialRules>,
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) caller_id: Option<CallerIdRules>,
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) caller_name: Option<CallerNameRules>,
    #[schema(value_type = Option<String>)]
    pub(crate) bare_digits: Option<BareDigits>,
    pub(crate) tg_headers: Option<bool>,
    pub(crate) refer: Option<bool>,
    pub(crate) priority: Option<u32>,
    pub(crate) ring_seconds: Option<u32>,
    #[schema(value_type = Option<String>)]
    pub(crate) quota: Option<QuotaName>,
    pub(crate) failure_limit: Option<u32>,
    pub(crate) failure_wait_seconds: Option<u32>,
    #[schema(value_type = Option<String>)]
    pub(crate) worker: Option<WorkerChoice>,
    pub(crate) enabled: Option<bool>,
}

/// The kinds of trunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The PBX registers here with a login and a password.
    InboundRegister,
    /// We register at the PBX or provider, as a phone does.
    OutboundRegister,
    /// IP to IP: the PBX is known by its address.
    Peer,
}

/// A session as written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SessionDraft {
    #[schema(value_type = Option<String>)]
    pub(crate) name: Option<SessionName>,
    pub(crate) phone: Option<String>,
    pub(crate) lines: Option<u32>,
    pub(crate) stop_on_6xx: Option<bool>,
    #[schema(value_type = Option<String>)]
    pub(crate) allowed_callers: Option<AllowedCallers>,
    pub(crate) messages_processing: Option<bool>,
    pub(crate) callback: Option<bool>,
    pub(crate) text_bridge: Option<bool>,
    #[schema(value_type = Option<String>)]
    pub(crate) inline_bot: Option<BotName>,
    #[schema(value_type = Option<String>)]
    pub(crate) inline_query: Option<QueryTemplate>,
    pub(crate) autoreply: Option<String>,
    #[schema(value_type = Option<String>)]
    pub(crate) quota: Option<QuotaName>,
    pub(crate) enabled: Option<bool>,
}

/// A route as written: to a session, or with `to` to another trunk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RouteDraft {
    #[schema(value_type = Option<String>)]
    pub(crate) trunk: Option<TrunkName>,
    #[schema(value_type = Option<String>)]
    pub(crate) session: Option<SessionName>,
    #[schema(value_type = Option<String>)]
    pub(crate) to: Option<TrunkName>,
    pub(crate) priority: Option<u32>,
    #[serde(rename = "match")]
    #[schema(value_type = Option<String>)]
    pub(crate) matches: Option<DialRules>,
    #[schema(value_type = Option<String>)]
    pub(crate) rules: Option<DialRules>,
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) caller_id: Option<CallerIdRules>,
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) caller_name: Option<CallerNameRules>,
    #[schema(value_type = Option<String>)]
    pub(crate) caller_rules: Option<DialRules>,
    #[schema(value_type = Option<String>)]
    pub(crate) quota: Option<QuotaName>,
}

/// What a route as written says of its calls.
impl From<&RouteDraft> for RouteTerms {
    fn from(draft: &RouteDraft) -> Self {
        Self {
            matches: draft.matches.clone().unwrap_or_default(),
            rules: draft.rules.clone().unwrap_or_default(),
            caller_id: draft.caller_id.clone(),
            caller_name: draft.caller_name.clone(),
            caller_rules: draft.caller_rules.clone().unwrap_or_default(),
            quota: draft.quota.clone(),
        }
    }
}

impl From<&RouteTerms> for RouteDraft {
    fn from(terms: &RouteTerms) -> Self {
        let written = |rules: &DialRules| Some(rules.clone()).filter(|rules| !rules.is_empty());
        Self {
            matches: written(&terms.matches),
            rules: written(&terms.rules),
            caller_id: terms.caller_id.clone(),
            caller_name: terms.caller_name.clone(),
            caller_rules: written(&terms.caller_rules),
            quota: terms.quota.clone(),
            ..Self::default()
        }
    }
}

/// A quota profile as written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QuotaDraft {
    #[schema(value_type = Option<String>)]
    pub(crate) name: Option<QuotaName>,
    pub(crate) call_seconds: Option<u32>,
    pub(crate) total_seconds: Option<u32>,
    pub(crate) total_window_seconds: Option<u32>,
    pub(crate) fail_calls: Option<u32>,
    pub(crate) fail_window_seconds: Option<u32>,
}

/// A user as written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UserDraft {
    #[schema(value_type = Option<String>)]
    pub(crate) name: Option<UserName>,
    pub(crate) telegram_id: Option<i64>,
    pub(crate) lines: Option<u32>,
    #[schema(value_type = Option<String>)]
    pub(crate) quota: Option<QuotaName>,
    pub(crate) note: Option<String>,
}

/// The order of a new route.
pub(crate) const PRIORITY: u32 = 100;

impl From<&TrunkSpec> for TrunkDraft {
    fn from(spec: &TrunkSpec) -> Self {
        let mut draft = Self {
            name: Some(spec.name.clone()),
            codecs: Some(spec.codecs.clone()),
            transport: Some(spec.transport),
            tls_pin: spec.tls_pin.clone(),
            srtp: Some(spec.srtp),
            srtp_over_plain: Some(spec.srtp_over_plain),
            dtmf: Some(spec.dtmf.clone()),
            lines: Some(spec.lines),
            number: spec.number.clone(),
            inbound_rules: Some(spec.inbound_rules.clone()).filter(|rules| !rules.is_empty()),
            dial_rules: Some(spec.dial_rules.clone()),
            caller_id: Some(spec.caller_id.clone()),
            caller_name: Some(spec.caller_name.clone()),
            bare_digits: Some(spec.bare_digits),
            tg_headers: Some(spec.tg_headers),
            refer: Some(spec.refer),
            priority: Some(spec.priority),
            ring_seconds: Some(spec.ring_seconds),
            quota: spec.quota.clone(),
            failure_limit: Some(spec.failure_limit),
            failure_wait_seconds: Some(spec.failure_wait_seconds),
            worker: Some(spec.worker.clone()),
            enabled: Some(spec.enabled),
            ..Self::default()
        };
        match &spec.kind {
            TrunkKind::InboundRegister { login, password } => {
                draft.kind = Some(Kind::InboundRegister);
                draft.trusted_ips = Some(spec.trusted_ips.clone());
                draft.login = Some(login.clone());
                draft.password = Some(password.clone());
            }
            TrunkKind::OutboundRegister {
                login,
                password,
                domain,
                proxy,
                auth_user,
            } => {
                draft.kind = Some(Kind::OutboundRegister);
                draft.login = Some(login.clone());
                draft.password = Some(password.clone());
                draft.domain = Some(domain.clone());
                draft.proxy.clone_from(proxy);
                draft.auth_user.clone_from(auth_user);
            }
            TrunkKind::Peer { address } => {
                draft.kind = Some(Kind::Peer);
                draft.address = Some(*address);
                draft.header.clone_from(&spec.header);
                draft.qualify = Some(spec.qualify);
            }
        }
        draft
    }
}

impl From<&SessionSpec> for SessionDraft {
    fn from(spec: &SessionSpec) -> Self {
        Self {
            name: Some(spec.name.clone()),
            phone: Some(spec.phone.clone()),
            lines: Some(spec.lines),
            stop_on_6xx: Some(spec.stop_on_6xx),
            allowed_callers: Some(spec.allowed_callers.clone()),
            messages_processing: Some(spec.messages_processing),
            callback: Some(spec.callback),
            text_bridge: Some(spec.text_bridge),
            inline_bot: Some(spec.inline_bot.clone()).filter(|bot| bot.get().is_some()),
            inline_query: Some(spec.inline_query.clone())
                .filter(|query| *query != QueryTemplate::default()),
            autoreply: Some(spec.autoreply.clone()),
            quota: spec.quota.clone(),
            enabled: Some(spec.enabled),
        }
    }
}

impl From<&QuotaSpec> for QuotaDraft {
    fn from(spec: &QuotaSpec) -> Self {
        Self {
            name: Some(spec.name.clone()),
            call_seconds: Some(spec.call_seconds),
            total_seconds: Some(spec.total_seconds),
            total_window_seconds: Some(spec.total_window_seconds),
            fail_calls: Some(spec.fail_calls),
            fail_window_seconds: Some(spec.fail_window_seconds),
        }
    }
}

impl From<&UserSpec> for UserDraft {
    fn from(spec: &UserSpec) -> Self {
        Self {
            name: Some(spec.name.clone()),
            telegram_id: Some(spec.telegram_id),
            lines: Some(spec.lines),
            quota: spec.quota.clone(),
            note: Some(spec.note.clone()).filter(|note| !note.is_empty()),
        }
    }
}

impl From<&RouteSpec> for RouteDraft {
    fn from(spec: &RouteSpec) -> Self {
        Self {
            trunk: Some(spec.trunk.clone()),
            session: Some(spec.session.clone()),
            priority: Some(spec.priority),
            ..Self::from(&spec.terms)
        }
    }
}

impl From<&TransitSpec> for RouteDraft {
    fn from(spec: &TransitSpec) -> Self {
        Self {
            trunk: Some(spec.trunk.clone()),
            to: Some(spec.to.clone()),
            priority: Some(spec.priority),
            ..Self::from(&spec.terms)
        }
    }
}

impl TrunkDraft {
    /// The same without its password, which `apply` leaves as it is then.
    pub(crate) fn without_password(self) -> Self {
        Self {
            password: None,
            ..self
        }
    }
}

/// How TOML writes that there are none of a kind.
const NONE: [&str; 6] = [
    "trunk = []",
    "session = []",
    "route = []",
    "quota = []",
    "user = []",
    "webhook = []",
];

/// Everything of a store as the text of a file, with the passwords of trunks and the secrets of webhooks if they are wanted; never the keys of sessions.
pub(crate) fn write(current: &Current, secrets: bool) -> Result<String, toml::ser::Error> {
    #[derive(Serialize)]
    struct File {
        trunk: Vec<TrunkDraft>,
        session: Vec<SessionDraft>,
        route: Vec<RouteDraft>,
        quota: Vec<QuotaDraft>,
        user: Vec<UserDraft>,
        webhook: Vec<WebhookDraft>,
    }
    let file = File {
        trunk: {
            let drafts = current.trunks.iter().map(TrunkDraft::from);
            let drafts = drafts.map(|draft| {
                if secrets {
                    draft
                } else {
                    draft.without_password()
                }
            });
            drafts.collect()
        },
        session: current.sessions.iter().map(SessionDraft::from).collect(),
        route: {
            let transits = current.transits.iter().map(RouteDraft::from);
            let routes = current.routes.iter().map(RouteDraft::from);
            routes.chain(transits).collect()
        },
        quota: current.quotas.iter().map(QuotaDraft::from).collect(),
        user: current.users.iter().map(UserDraft::from).collect(),
        webhook: {
            let drafts = current.webhooks.iter().map(WebhookDraft::from);
            let kept = |draft: WebhookDraft| {
                if secrets {
                    draft
                } else {
                    draft.without_secret()
                }
            };
            drafts.map(kept).collect()
        },
    };
    let text = toml::to_string(&file)?;
    // No records at all have no other form in TOML than a key of their own, which nobody wants to read.
    let shown = text
        .lines()
        .filter(|line| !NONE.contains(line))
        .fold(String::new(), |text, line| text + line + "\n");
    let what = if secrets {
        "Holds passwords."
    } else {
        "Without passwords: those that there are stay."
    };
    Ok(format!(
        "# Trunks, sessions, routes, quotas, users and webhooks: read back with `strowger apply`. {what}\n\n{}",
        shown.trim_start()
    ))
}
