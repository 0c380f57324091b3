//! Webhooks as they are written in a file, and in the HTTP interface.

use std::collections::BTreeSet;

use model::{EventKind, Secret, WebhookName, WebhookSpec, WebhookUrl};
use rand::Rng as _;
use routing::Table;
use serde::{Deserialize, Serialize};
use store::Change;
use utoipa::ToSchema;

use super::{Placed, Plan, is_kept, unveiled};

/// How many there can be: each may take some threads, and a part of the queue.
pub(crate) const MOST_WEBHOOKS: usize = 32;

/// The keys of a webhook.
pub(super) const WEBHOOK: &[&str] = &["name", "url", "secret", "events", "insecure", "enabled"];

/// A webhook as written: what is absent has its default; the secret is kept, or made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WebhookDraft {
    #[schema(value_type = Option<String>)]
    pub(crate) name: Option<WebhookName>,
    #[schema(value_type = Option<String>)]
    pub(crate) url: Option<WebhookUrl>,
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Secret<String>>,
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) events: Option<Vec<EventKind>>,
    pub(crate) insecure: Option<bool>,
    pub(crate) enabled: Option<bool>,
}

impl From<&WebhookSpec> for WebhookDraft {
    fn from(spec: &WebhookSpec) -> Self {
        Self {
            name: Some(spec.name.clone()),
            url: Some(spec.url.clone()),
            secret: Some(spec.secret.clone()),
            events: Some(spec.events.clone()).filter(|events| !events.is_empty()),
            insecure: Some(spec.insecure),
            enabled: Some(spec.enabled),
        }
    }
}

impl WebhookDraft {
    /// The same without its secret, which `apply` leaves as it is then.
    pub(crate) fn without_secret(self) -> Self {
        Self {
            secret: None,
            ..self
        }
    }

    /// The whole webhook, if it is said where it leads; or what is wrong. A secret that is neither written nor known is made.
    pub(crate) fn spec(
        &self,
        name: &WebhookName,
        before: Option<&WebhookSpec>,
    ) -> Result<WebhookSpec, String> {
        let Some(url) = &self.url else {
            return Err(format!("webhook {name} needs a url"));
        };
        let needs = |what| {
            format!(
                "webhook {name} needs a {what}: the one that is written stands for one that is kept, and there is none"
            )
        };
        let url = unveiled(url, before.map(|webhook| &webhook.url));
        let url = url.ok_or_else(|| needs("url"))?;
        let kept = before.map(|webhook| &webhook.secret);
        let written = self.secret.as_ref();
        let secret = written.filter(|secret| !is_kept(secret)).or(kept).cloned();
        if secret.is_none() && written.is_some() {
            return Err(needs("secret"));
        }
        let mut events = self.events.clone().unwrap_or_default();
        events.sort_unstable();
        events.dedup();
        let enabled = self.enabled.unwrap_or(true);
        let why = before.and_then(|webhook| webhook.disabled_because.clone());
        let spec = WebhookSpec {
            events,
            insecure: self.insecure.unwrap_or(false),
            enabled,
            disabled_because: why.filter(|_| !enabled),
            ..WebhookSpec::new(
                name.clone(),
                url.clone(),
                secret.unwrap_or_else(new_webhook_secret),
            )
        };
        spec.check().map_err(|error| error.to_string())?;
        Ok(spec)
    }
}

/// 32 random octets in hexadecimal digits.
pub(crate) fn new_webhook_secret() -> Secret<String> {
    let octets: Secret<[u8; 32]> = Secret::new(rand::rng().random());
    // Room for all of it at once: a text that grows leaves copies behind.
    let mut text = String::with_capacity(64);
    for octet in octets.expose() {
        for half in [octet >> 4, octet & 15] {
            text.push(char::from_digit(half.into(), 16).unwrap_or('0'));
        }
    }
    Secret::new(text)
}

impl Plan {
    pub(super) fn webhooks(&mut self, drafts: &[Placed<WebhookDraft>], known: &Table) {
        let mut seen = BTreeSet::new();
        for Placed { record, place } in drafts {
            let Some(name) = &record.name else {
                self.fault(place, "name", "every [[webhook]] needs a name");
                continue;
            };
            if !seen.insert(name) {
                self.fault(place, "name", format!("there are two webhooks `{name}`"));
                continue;
            }
            let before = known.webhook(name).map(AsRef::as_ref);
            match record.spec(name, before) {
                Ok(spec) if before == Some(&spec) => {}
                Ok(spec) => {
                    let sign = if before.is_some() { '~' } else { '+' };
                    let change = Change::PutWebhook(Box::new(spec));
                    self.change(sign, format!("webhook {name}"), change);
                }
                Err(what) => self.fault(place, "webhook", what),
            }
        }
    }

    /// Removes those that the file does not have.
    pub(super) fn prune_webhooks(&mut self, drafts: &[Placed<WebhookDraft>], known: &Table) {
        let written = drafts.iter().map(|draft| &draft.record.name);
        let written: BTreeSet<_> = written.flatten().collect();
        for webhook in known.webhooks() {
            let name = &webhook.name;
            if !written.contains(name) {
                let change = Change::RemoveWebhook(name.clone());
                self.change('-', format!("webhook {name}"), change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Current, Records, write};
    use super::*;

    const FILE: &str = "[[webhook]]\nname = \"crm\"\nurl = \"https://crm.example.com/x\"\nevents = [\"call.ended\", \"call.started\", \"call.ended\"]\n";

    fn plan(text: &str, current: &Current, prune: bool) -> Plan {
        Plan::new(&Records::read("x.toml", text).unwrap(), current, prune).unwrap()
    }

    fn faults(text: &str) -> Vec<String> {
        let read = Records::read("x.toml", text);
        let planned = read.and_then(|it| Plan::new(&it, &Current::default(), false).map(|_| ()));
        planned
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn after(plan: &Plan) -> Current {
        let webhooks = plan.changes.iter().map(|change| match change {
            Change::PutWebhook(spec) => (**spec).clone(),
            other => panic!("{other:?}"),
        });
        Current {
            webhooks: webhooks.collect(),
            ..Current::default()
        }
    }

    #[test]
    fn a_secret_is_made_once_and_kept_and_in_a_file_only_when_it_is_asked_for() {
        let first = plan(FILE, &Current::default(), false);
        assert_eq!(first.said, ["+ webhook crm"]);
        let current = after(&first);
        let secret = current.webhooks[0].secret.expose().clone();
        assert_eq!(secret.len(), 64);
        let kinds = [EventKind::CallStarted, EventKind::CallEnded];
        assert_eq!(current.webhooks[0].events, kinds);
        assert!(
            plan(FILE, &current, true).changes.is_empty(),
            "it is kept as it is"
        );
        let unseen = FILE.replace("com/x", "com/***kept-by-the-switch***");
        let unseen = format!("{unseen}secret = \"***kept-by-the-switch***\"\n");
        assert!(plan(&unseen, &current, true).changes.is_empty(), "{unseen}");
        let open = write(&current, true).unwrap();
        let closed = write(&current, false).unwrap();
        assert!(open.contains(&secret) && !closed.contains(&secret));
        for text in [&open, &closed] {
            assert!(plan(text, &current, true).changes.is_empty(), "{text}");
        }
        assert_eq!(after(&plan(&open, &Current::default(), false)), current);
        let another = after(&plan(&closed, &Current::default(), false));
        assert_ne!(another.webhooks[0].secret, current.webhooks[0].secret);
        assert!(
            plan("", &current, true).changes.is_empty(),
            "none are named"
        );
        let none = plan("webhook = []\n", &current, true);
        assert_eq!(none.said, ["- webhook crm"]);
        assert!(plan("", &current, false).changes.is_empty());
        assert!(!write(&Current::default(), true).unwrap().contains('['));
    }

    #[test]
    fn why_it_was_disabled_is_kept_until_it_is_enabled() {
        let mut current = after(&plan(FILE, &Current::default(), false));
        current.webhooks[0].enabled = false;
        current.webhooks[0].disabled_because = Some("410".into());
        let still = format!("{FILE}enabled = false\n");
        assert!(plan(&still, &current, false).changes.is_empty());
        let again = after(&plan(FILE, &current, false));
        assert!(again.webhooks[0].enabled);
        assert_eq!(again.webhooks[0].disabled_because, None);
    }

    #[test]
    fn what_could_not_work_is_refused_with_its_line_and_without_its_secret() {
        let with = |line: &str| faults(&format!("[[webhook]]\nname = \"crm\"\n{line}\n")).concat();
        for (line, expected) in [
            ("", "needs a url"),
            ("url = \"ftp://x\"", "x.toml:3:7"),
            ("url = \"http://crm.example.com/\"", "write https"),
            ("url = \"https://x\"\nsecret = \"too-short\"", "16 to 128"),
            (
                "url = \"https://x\"\nevents = [\"call.over\"]",
                "`call.over`",
            ),
            (
                "url = \"https://x\"\nevent = []",
                "unknown key `event` in [[webhook]]",
            ),
            (
                "url = \"https://x\"\nsecret = \"***kept-by-the-switch***\"",
                "needs a secret",
            ),
            (
                "url = \"https://x/***kept-by-the-switch***\"",
                "needs a url",
            ),
        ] {
            let said = with(line);
            assert!(said.contains(expected), "{line}: {said}");
            assert!(!said.contains("too-short"), "{said}");
        }
        let twice = faults(&format!("{FILE}{FILE}")).concat();
        assert!(twice.contains("two webhooks"), "{twice}");
    }
}
