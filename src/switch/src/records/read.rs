//! Reads the file, with every fault it has.

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::webhook::WEBHOOK;
use super::{Placed, Records, Spot};
use crate::fault::{Fault, FaultKind, Source, alone, blame, meant};

const TRUNK: &[&str] = &[
    "name",
    "kind",
    "login",
    "password",
    "domain",
    "proxy",
    "auth_user",
    "address",
    "trusted_ips",
    "header",
    "qualify",
    "codecs",
    "transport",
    "tls_pin",
    "srtp",
    "srtp_over_plain",
    "dtmf",
    "lines",
    "number",
    "inbound_rules",
    "dial_rules",
    "caller_id",
    "caller_name",
    "bare_digits",
    "tg_headers",
    "refer",
    "priority",
    "ring_seconds",
    "quota",
    "failure_limit",
    "failure_wait_seconds",
    "worker",
    "enabled",
];
const SESSION: &[&str] = &[
    "name",
    "phone",
    "lines",
    "stop_on_6xx",
    "allowed_callers",
    "messages_processing",
    "callback",
    "text_bridge",
    "inline_bot",
    "inline_query",
    "autoreply",
    "quota",
    "enabled",
];
const ROUTE: &[&str] = &[
    "trunk",
    "session",
    "to",
    "priority",
    "match",
    "rules",
    "caller_id",
    "caller_name",
    "caller_rules",
    "quota",
];
const QUOTA: &[&str] = &[
    "name",
    "call_seconds",
    "total_seconds",
    "total_window_seconds",
    "fail_calls",
    "fail_window_seconds",
];

const USER: &[&str] = &["name", "telegram_id", "lines", "quota", "note"];

impl Records {
    /// Reads the text of a file, or returns every fault in it.
    pub(crate) fn read(file: &str, text: &str) -> Result<Self, Vec<Fault>> {
        let source = Source::new(file, text);
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut faults: Vec<Fault> = errors.iter().map(|error| source.syntax(error)).collect();
        let mut records = Self::default();
        for (key, value) in table.get_ref() {
            match key.get_ref().as_ref() {
                "trunk" => records.trunks = elements(&source, "trunk", value, TRUNK, &mut faults),
                "session" => {
                    records.sessions = elements(&source, "session", value, SESSION, &mut faults)
                }
                "route" => records.routes = elements(&source, "route", value, ROUTE, &mut faults),
                "quota" => records.quotas = elements(&source, "quota", value, QUOTA, &mut faults),
                "webhook" => {
                    records.has_webhooks = true;
                    records.webhooks = elements(&source, "webhook", value, WEBHOOK, &mut faults);
                }
                "user" => records.users = elements(&source, "user", value, USER, &mut faults),
                other => faults.push(Fault {
                    place: source.place(key.span().start),
                    kind: FaultKind::UnknownKey {
                        key: other.to_owned(),
                        section: String::new(),
                        meant: meant(
                            other,
                            ["trunk", "session", "route", "quota", "user", "webhook"].into_iter(),
                        ),
                    },
                }),
            }
        }
        faults.sort_by_key(|fault| fault.place.line());
        if faults.is_empty() {
            Ok(records)
        } else {
            Err(faults)
        }
    }
}

fn elements<T: DeserializeOwned>(
    source: &Source<'_>,
    kind: &str,
    value: &Spanned<DeValue<'_>>,
    known: &[&'static str],
    faults: &mut Vec<Fault>,
) -> Vec<Placed<T>> {
    let DeValue::Array(elements) = value.get_ref() else {
        faults.push(source.value(
            &value.span(),
            kind.to_owned(),
            format!("write [[{kind}]], once for each {kind}"),
        ));
        return Vec::new();
    };
    let mut found = Vec::new();
    for element in elements {
        let DeValue::Table(table) = element.get_ref() else {
            faults.push(source.value(
                &element.span(),
                kind.to_owned(),
                format!("write [[{kind}]] and its keys below"),
            ));
            continue;
        };
        let before = faults.len();
        let mut values = Vec::with_capacity(table.len());
        for (key, value) in table {
            let name = key.get_ref().to_string();
            if let Some(name) = known.iter().find(|known| ***known == name) {
                values.push((*name, source.place(value.span().start).line()));
            }
            if known.contains(&name.as_str()) {
                faults.extend(blame::<T>(source, &[name], value));
            } else {
                faults.push(Fault {
                    place: source.place(key.span().start),
                    kind: FaultKind::UnknownKey {
                        meant: meant(&name, known.iter().copied()),
                        key: name,
                        section: format!("[{kind}]"),
                    },
                });
            }
        }
        if faults.len() == before {
            match alone(&[], element.clone()) {
                Ok(record) => found.push(Placed {
                    record,
                    place: Spot {
                        record: source.place(element.span().start),
                        values,
                    },
                }),
                Err(what) => faults.push(source.value(&element.span(), kind.to_owned(), what)),
            }
        }
    }
    found
}
