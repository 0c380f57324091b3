//! `strowger session`, without what asks Telegram.

use clap::Subcommand;
use model::{
    AllowedCallers, BotName, PhoneNumber, QueryTemplate, QuotaName, SessionName, SessionSpec,
};
use store::{Change, Space, Store, StoreError};

use super::Operator;
use super::book::Book;
use super::harden::Harden;
use super::login::Login;
use super::logout::Logout;
use super::session_view;
use crate::api::{Adoption, WantedAdoption};
use crate::failure::Failure;
use crate::print;
use crate::records::Current;

#[derive(Debug, Subcommand)]
pub(super) enum Session {
    /// Log an account in: asks for the code that Telegram sends, and for the cloud password if there is one
    Login(Login),
    /// Make a session that is logged in later
    Add {
        /// Its name: letters, digits, `-`, `_`, `.`
        name: SessionName,
        /// The account's number with its country code, as in +15551234567
        #[arg(long)]
        phone: Option<PhoneNumber>,
        /// Simultaneous calls, 0 = unlimited
        #[arg(long, default_value_t = 0)]
        lines: u32,
        /// End a hunt with the first trunk that answers 6xx, instead of trying the others
        #[arg(long = "stop-on-6xx")]
        stop_on_6xx: bool,
        #[command(flatten)]
        people: People,
    },
    /// Change a session; what is not named stays
    #[command(
        after_help = "Example: strowger session set gateway --allowed-callers @alice,+15550001"
    )]
    Set {
        /// Its name
        name: SessionName,
        /// Simultaneous calls, 0 = unlimited
        #[arg(long)]
        lines: Option<u32>,
        /// Whether a hunt ends with the first trunk that answers 6xx
        #[arg(long = "stop-on-6xx")]
        stop_on_6xx: Option<bool>,
        #[command(flatten)]
        people: People,
    },
    /// List all sessions and what they can do just now
    List,
    /// Show one session, its state and what it waits for
    Show {
        /// Its name
        name: SessionName,
    },
    /// Connect it again
    Enable {
        /// Its name
        name: SessionName,
    },
    /// Connect one that came from a backup: its login must not be in use elsewhere, or Telegram voids it for good
    #[command(after_help = "Example: strowger session adopt gateway --old-is-gone")]
    Adopt {
        /// Its name
        name: SessionName,
        #[command(flatten)]
        how: Adopted,
    },
    /// Do not connect it, and keep it logged in
    Disable {
        /// Its name
        name: SessionName,
    },
    /// Make the account's settings at Telegram suit a switch
    #[command(after_help = "Example: strowger session harden gateway")]
    Harden(Harden),
    /// Log the account out at Telegram and delete its keys; the session and its routes stay
    #[command(after_help = "Example: strowger session logout gateway")]
    Logout(Logout),
    /// Forget a session, its keys and its routes
    Remove {
        /// Its name
        name: SessionName,
    },
}

/// Why no other switch can be in the way.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Adopted {
    /// No other switch runs this session, now or later
    #[arg(long)]
    old_is_gone: bool,
    /// The other switch goes on: delete the keys here, so that the account is logged in anew
    #[arg(long)]
    new_login: bool,
}

/// How an account deals with people.
#[derive(Debug, clap::Args)]
pub(super) struct People {
    /// Who may call it: user ids, usernames and numbers, as in 4242,@alice,+15550001; an empty text lets everybody
    #[arg(long)]
    allowed_callers: Option<AllowedCallers>,
    /// Whether what people write to it is looked at: it may be a number to dial, by the `dial_rules` of its trunks
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    messages_processing: Option<bool>,
    /// Whether who wrote a number is called back and put through, instead of being asked to call
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    callback: Option<bool>,
    /// Whether texts pass between it and the PBXs of its trunks, by SIP MESSAGE
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    text_bridge: Option<bool>,
    /// A bot that is asked inline about what people write, if it is no number; an empty text asks none
    #[arg(long, value_name = "@NAME")]
    inline_bot: Option<BotName>,
    /// What that bot is asked; with {text}, {userid}, {username}, {phone}, {name}, {session}
    #[arg(long, value_name = "TEMPLATE")]
    inline_query: Option<QueryTemplate>,
    /// What people are answered who write to it and are in no call with it, with `messages-processing`, which this turns on unless that is
    /// said; an empty text answers nothing
    #[arg(long)]
    autoreply: Option<String>,
    /// Its quota profile
    #[arg(long, conflicts_with = "no_quota")]
    quota: Option<QuotaName>,
    /// No quota profile of its own: `default` holds, where there is one
    #[arg(long)]
    no_quota: bool,
}

impl People {
    fn apply(self, spec: &mut SessionSpec) {
        if let Some(callers) = self.allowed_callers {
            spec.allowed_callers = callers;
        }
        // An answer that is never given is not what anybody wants who asks for one.
        let answers = self.autoreply.as_ref().is_some_and(|text| !text.is_empty());
        let known = spec.messages_processing || answers;
        spec.messages_processing = self.messages_processing.unwrap_or(known);
        spec.callback = self.callback.unwrap_or(spec.callback);
        if let Some(bot) = self.inline_bot {
            spec.inline_bot = bot;
        }
        if let Some(query) = self.inline_query {
            spec.inline_query = query;
        }
        spec.text_bridge = self.text_bridge.unwrap_or(spec.text_bridge);
        if let Some(text) = self.autoreply {
            spec.autoreply = text;
        }
        if self.quota.is_some() || self.no_quota {
            spec.quota = self.quota;
        }
    }
}

impl Session {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        match self {
            Session::Login(login) => login.run(operator),
            Session::Add {
                name,
                phone,
                lines,
                stop_on_6xx,
                people,
            } => {
                let phone = phone.map(|phone| phone.to_string()).unwrap_or_default();
                let mut spec = SessionSpec {
                    phone,
                    lines,
                    stop_on_6xx,
                    ..SessionSpec::new(name)
                };
                people.apply(&mut spec);
                add(operator, spec)
            }
            Session::Set {
                name,
                lines,
                stop_on_6xx,
                people,
            } => change(operator, &name, |spec| {
                spec.lines = lines.unwrap_or(spec.lines);
                spec.stop_on_6xx = stop_on_6xx.unwrap_or(spec.stop_on_6xx);
                people.apply(spec);
            }),
            Session::List => session_view::list(operator),
            Session::Show { name } => session_view::show(operator, &name),
            Session::Enable { name } => switch(operator, &name, true),
            Session::Adopt { name, how } => adopt(operator, &name, &how),
            Session::Disable { name } => switch(operator, &name, false),
            Session::Logout(logout) => logout.run(operator),
            Session::Harden(harden) => harden.run(operator),
            Session::Remove { name } => {
                let book = operator.book()?;
                let current = book.current()?;
                find(&current, &name)?;
                book.commit(&current, current.remove_session(&name))?;
                print::line(format_args!(
                    "session {name}, its keys and its routes are removed; Telegram lists it under Devices until it is ended there"
                ));
                Ok(())
            }
        }
    }
}

fn add(operator: &Operator, spec: SessionSpec) -> Result<(), Failure> {
    let book = operator.book()?;
    let current = book.current()?;
    let name = spec.name.clone();
    if current.session(&name).is_some() {
        return Err(Failure::Exists {
            kind: "session",
            name: name.to_string(),
        });
    }
    book.commit(&current, vec![Change::PutSession(spec)])?;
    print::line(format_args!(
        "session {name} added; log it in with `strowger session login {name}`"
    ));
    Ok(())
}

pub(super) fn find(current: &Current, name: &SessionName) -> Result<SessionSpec, Failure> {
    let missing = || Failure::NotFound {
        kind: "session",
        name: name.to_string(),
    };
    current.session(name).cloned().ok_or_else(missing)
}

fn change(
    operator: &Operator,
    name: &SessionName,
    how: impl FnOnce(&mut SessionSpec),
) -> Result<(), Failure> {
    let book = operator.book()?;
    let current = book.current()?;
    let mut spec = find(&current, name)?;
    how(&mut spec);
    book.commit(&current, vec![Change::PutSession(spec)])?;
    print::line(format_args!("session {name} is changed"));
    Ok(())
}

fn switch(operator: &Operator, name: &SessionName, enabled: bool) -> Result<(), Failure> {
    let book = operator.book()?;
    let current = book.current()?;
    let spec = SessionSpec {
        enabled,
        ..find(&current, name)?
    };
    book.commit(&current, vec![Change::PutSession(spec)])?;
    print::line(format_args!(
        "session {name} is {}",
        if enabled { "on" } else { "off" }
    ));
    Ok(())
}

fn adopt(operator: &Operator, name: &SessionName, how: &Adopted) -> Result<(), Failure> {
    match operator.book()? {
        Book::Store(store) => adopt_in(&*store, name, how)?,
        Book::Switch(operator) => {
            let because = if how.new_login {
                Adoption::NewLogin
            } else {
                Adoption::OldIsGone
            };
            let path = format!("/sessions/{name}/adopt");
            let _: serde_json::Value =
                operator.api("POST", &path, Some(&WantedAdoption { because }))?;
        }
    }
    if how.new_login {
        print::line(format_args!(
            "session {name} has no keys here any more: `strowger session login {name}`"
        ));
    } else {
        print::line(format_args!("session {name} is on"));
    }
    Ok(())
}

/// The same in a store that no switch runs on.
fn adopt_in(store: &dyn Store, name: &SessionName, how: &Adopted) -> Result<(), Failure> {
    let current = Current::read(store)?;
    let spec = SessionSpec {
        enabled: true,
        ..find(&current, name)?
    };
    if !store.is_restored(name)? {
        return Err(Failure::Refused(format!(
            "session {name} did not come from a backup, or was adopted: `strowger session enable {name}` switches it on"
        )));
    }
    let mut changes = vec![Change::AdoptSession(name.clone()), Change::PutSession(spec)];
    if how.new_login {
        changes.insert(0, Change::RemoveSession(name.clone()));
    }
    store.commit(Some(current.generation), &changes)?;
    Ok(())
}

/// Refuses what would connect a session whose login may be in use elsewhere.
pub(super) fn must_be_ours(store: &dyn Store, name: &SessionName) -> Result<(), Failure> {
    if store.is_restored(name)? {
        return Err(StoreError::NotAdopted {
            session: name.clone(),
        }
        .into());
    }
    Ok(())
}

/// Whether there are keys; whether Telegram still accepts them, only a connection tells.
pub(super) fn has_keys(store: &dyn Store, name: &SessionName) -> Result<bool, Failure> {
    Ok(!store.scan(Space::Telegram(name), b"dc/")?.is_empty())
}
