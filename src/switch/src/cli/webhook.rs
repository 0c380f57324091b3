//! `strowger webhook`: who is told over HTTP of what happens.

use clap::{Args, Subcommand};
use model::{EventKind, WebhookName, WebhookSpec, WebhookUrl};
use serde_json::json;
use store::Change;

use super::Operator;
use super::book::Book;
use crate::api::{DeliveryView, WebhookTest};
use crate::failure::Failure;
use crate::print::{self, Output, Table};
use crate::records::{Current, WebhookDraft, new_webhook_secret};

/// How long a test may take: the switch gives the receiver ten seconds.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(15);

#[derive(Debug, Subcommand)]
pub(super) enum Webhook {
    /// Make a webhook, and print the secret that what is posted is signed with
    #[command(
        after_help = "Example: strowger webhook add crm https://crm.example.com/strowger --events call.started,call.ended"
    )]
    Add {
        /// Its name
        name: WebhookName,
        /// Where events are posted to
        url: WebhookUrl,
        #[command(flatten)]
        options: Options,
    },
    /// Change a webhook; what is not named stays
    Set {
        /// Its name
        name: WebhookName,
        /// Where events are posted to
        #[arg(long)]
        url: Option<WebhookUrl>,
        /// Make another secret, and print it
        #[arg(long, conflicts_with = "secret")]
        new_secret: bool,
        #[command(flatten)]
        options: Options,
    },
    /// List all webhooks
    List,
    /// Show one webhook
    Show {
        /// Its name
        name: WebhookName,
        /// The secret too
        #[arg(long)]
        secrets: bool,
    },
    /// Remove a webhook; what waits for it is dropped
    Remove {
        /// Its name
        name: WebhookName,
    },
    /// Post a test now, and print what the receiver says
    Test {
        /// Its name
        name: WebhookName,
    },
    /// List what waits for a webhook, and the last that was posted to it, the newest first
    Deliveries {
        /// Its name
        name: WebhookName,
    },
}

/// What a webhook is made of.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Which events, with commas between them, such as `call.started,call.ended`
    #[arg(long, value_delimiter = ',', conflicts_with = "all_events")]
    events: Option<Vec<EventKind>>,
    /// All events, those to come too, but for the chatty ones; so it is unless said
    #[arg(long)]
    all_events: bool,
    /// Whether http may lead elsewhere than to loopback and private addresses
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    insecure: Option<bool>,
    /// Whether anything is posted
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    enabled: Option<bool>,
    /// Ask for the secret; without one is made, or stays
    #[arg(long)]
    secret: bool,
}

impl Options {
    /// Writes what was given over what there is.
    fn apply(self, draft: &mut WebhookDraft) -> Result<(), Failure> {
        draft.events = self
            .events
            .or(draft.events.take())
            .filter(|_| !self.all_events);
        draft.insecure = self.insecure.or(draft.insecure);
        draft.enabled = self.enabled.or(draft.enabled);
        if self.secret {
            draft.secret = Some(super::conversation::ask("Secret of the webhook: ", true)?);
        }
        Ok(())
    }
}

impl Webhook {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        match self {
            Webhook::Add { name, url, options } => add(operator, &name, url, options),
            Webhook::Set {
                name,
                url,
                new_secret,
                options,
            } => set(operator, &name, url, new_secret, options),
            Webhook::List => list(operator),
            Webhook::Show { name, secrets } => {
                let book = operator.book()?;
                let current = if secrets {
                    book.current_with_secrets()?
                } else {
                    book.current()?
                };
                show(&find(&current, &name)?, operator.output, secrets);
                Ok(())
            }
            Webhook::Remove { name } => {
                let book = operator.book()?;
                let current = book.current()?;
                find(&current, &name)?;
                book.commit(&current, vec![Change::RemoveWebhook(name.clone())])?;
                print::line(format_args!("webhook {name} removed"));
                Ok(())
            }
            Webhook::Test { name } => test(operator, &name),
            Webhook::Deliveries { name } => deliveries(operator, &name),
        }
    }
}

fn find(current: &Current, name: &WebhookName) -> Result<WebhookSpec, Failure> {
    let found = current.webhooks.iter().find(|it| it.name == *name);
    found.cloned().ok_or_else(|| Failure::NotFound {
        kind: "webhook",
        name: name.to_string(),
    })
}

fn add(
    operator: &Operator,
    name: &WebhookName,
    url: WebhookUrl,
    options: Options,
) -> Result<(), Failure> {
    let book = operator.book()?;
    let current = book.current()?;
    if find(&current, name).is_ok() {
        return Err(Failure::Exists {
            kind: "webhook",
            name: name.to_string(),
        });
    }
    let mut draft = WebhookDraft {
        url: Some(url),
        ..WebhookDraft::default()
    };
    options.apply(&mut draft)?;
    let spec = draft.spec(name, None).map_err(Failure::Record)?;
    commit(&book, &current, &spec)?;
    show(&spec, operator.output, true);
    if operator.output == Output::Table {
        print::note(format_args!(
            "the receiver checks `X-Strowger-Signature` with the secret (docs/events.md); `strowger webhook test {name}` posts a test"
        ));
    }
    Ok(())
}

fn set(
    operator: &Operator,
    name: &WebhookName,
    url: Option<WebhookUrl>,
    new_secret: bool,
    options: Options,
) -> Result<(), Failure> {
    let book = operator.book()?;
    let current = book.current()?;
    let before = find(&current, name)?;
    let mut draft = WebhookDraft::from(&before);
    draft.url = url.or(draft.url);
    options.apply(&mut draft)?;
    if new_secret {
        draft.secret = Some(new_webhook_secret());
    }
    let spec = draft.spec(name, Some(&before)).map_err(Failure::Record)?;
    if spec == before {
        print::line(format_args!("webhook {name} is so already"));
        return Ok(());
    }
    commit(&book, &current, &spec)?;
    if new_secret {
        show(&spec, operator.output, true);
    } else {
        print::line(format_args!("webhook {name} changed"));
    }
    Ok(())
}

fn commit(book: &Book<'_>, current: &Current, spec: &WebhookSpec) -> Result<(), Failure> {
    let changes = vec![Change::PutWebhook(Box::new(spec.clone()))];
    book.commit(current, changes).map(|_| ())
}

fn events(spec: &WebhookSpec) -> String {
    if spec.events.is_empty() {
        return "all".to_owned();
    }
    let labels: Vec<&str> = spec.events.iter().map(|kind| kind.label()).collect();
    labels.join(",")
}

fn state(spec: &WebhookSpec) -> String {
    match (spec.enabled, &spec.disabled_because) {
        (true, _) => "enabled".to_owned(),
        (false, None) => "disabled".to_owned(),
        (false, Some(why)) => format!("disabled: {why}"),
    }
}

fn show(spec: &WebhookSpec, output: Output, secrets: bool) {
    let draft = WebhookDraft::from(spec);
    let draft = if secrets {
        draft
    } else {
        draft.without_secret()
    };
    if output == Output::Json {
        print::json(&json!({ "record": draft, "disabled_because": spec.disabled_because }));
        return;
    }
    let secret = draft.secret.as_ref();
    let rows = [
        ("webhook", spec.name.to_string()),
        ("url", spec.url.to_string()),
        (
            "secret",
            secret.map_or_else(|| "*** (--secrets)".to_owned(), |it| it.expose().clone()),
        ),
        ("events", events(spec)),
        (
            "insecure",
            if spec.insecure { "yes" } else { "no" }.to_owned(),
        ),
        ("state", state(spec)),
    ];
    for (what, value) in rows {
        print::line(format_args!("{what:10}{value}"));
    }
}

fn list(operator: &Operator) -> Result<(), Failure> {
    let webhooks = operator.current()?.webhooks;
    if operator.output == Output::Json {
        let views = webhooks.iter().map(|spec| {
            let draft = WebhookDraft::from(spec).without_secret();
            json!({ "record": draft, "disabled_because": spec.disabled_because })
        });
        print::json(&views.collect::<Vec<_>>());
        return Ok(());
    }
    let mut table = Table::new(["webhook", "url", "events", "state"]);
    for spec in webhooks {
        let state = state(&spec);
        table.row([
            spec.name.to_string(),
            spec.url.to_string(),
            events(&spec),
            state,
        ]);
    }
    table.print(
        operator.output,
        "no webhooks yet: make one with `strowger webhook add NAME URL`",
    );
    Ok(())
}

fn test(operator: &Operator, name: &WebhookName) -> Result<(), Failure> {
    let target = format!("{}/webhooks/{name}/test", crate::api::BASE);
    let reach = operator.reach()?;
    let answer = reach.ask_within(PATIENCE, "POST", &target, "")?;
    let answer = answer.ok_or_else(|| reach.nobody())?;
    let test: WebhookTest = super::book::answered(Some(answer))?;
    if operator.output == Output::Json {
        print::json(&test);
    } else {
        let came = match (test.status, &test.error) {
            (Some(status), _) => status.to_string(),
            (None, Some(error)) => error.clone(),
            (None, None) => "no answer".to_owned(),
        };
        print::line(format_args!("{came} after {} ms  {}", test.ms, test.said));
    }
    if test.ok {
        Ok(())
    } else {
        Err(Failure::WebhookTest(name.clone()))
    }
}

fn deliveries(operator: &Operator, name: &WebhookName) -> Result<(), Failure> {
    let deliveries: Vec<DeliveryView> = operator.list(&format!("/webhooks/{name}/deliveries"))?;
    if operator.output == Output::Json {
        print::json(&deliveries);
        return Ok(());
    }
    let mut table = Table::new(["delivery", "event", "state", "tries", "last", "next"]);
    for it in deliveries {
        let last = it.status.map(|status| status.to_string()).or(it.error);
        table.row([
            it.id,
            it.event,
            it.state,
            it.tries.to_string(),
            last.unwrap_or_else(|| "-".to_owned()),
            it.next.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table.print(
        operator.output,
        "nothing was posted since the start of the switch, and nothing waits",
    );
    Ok(())
}
