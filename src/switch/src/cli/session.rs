//! `strowger session`, without what asks Telegram.

use clap::Subcommand;
use model::{PhoneNumber, SessionName, SessionSpec};
use store::{Change, Space, Store};

use super::Operator;
use super::login::Login;
use super::logout::Logout;
use super::trunk::lines;
use crate::failure::Failure;
use crate::print::{self, Output, Table};
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
    },
    /// List all sessions
    List,
    /// Show one session
    Show {
        /// Its name
        name: SessionName,
    },
    /// Connect it again
    Enable {
        /// Its name
        name: SessionName,
    },
    /// Do not connect it, and keep it logged in
    Disable {
        /// Its name
        name: SessionName,
    },
    /// Log the account out at Telegram and delete its keys; the session and its routes stay
    #[command(after_help = "Example: strowger session logout gateway")]
    Logout(Logout),
    /// Forget a session, its keys and its routes
    Remove {
        /// Its name
        name: SessionName,
    },
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
            } => {
                let phone = phone.map(|phone| phone.to_string()).unwrap_or_default();
                let spec = SessionSpec {
                    phone,
                    lines,
                    stop_on_6xx,
                    ..SessionSpec::new(name)
                };
                add(operator, spec)
            }
            Session::List => list(operator),
            Session::Show { name } => show(operator, &name),
            Session::Enable { name } => switch(operator, &name, true),
            Session::Disable { name } => switch(operator, &name, false),
            Session::Logout(logout) => logout.run(operator),
            Session::Remove { name } => {
                let store = operator.store()?;
                let current = Current::read(&store)?;
                find(&current, &name)?;
                store.commit(Some(current.generation), &current.remove_session(&name))?;
                print::line(format_args!(
                    "session {name}, its keys and its routes are removed; Telegram lists it under Devices until it is ended there"
                ));
                Ok(())
            }
        }
    }
}

fn add(operator: &Operator, spec: SessionSpec) -> Result<(), Failure> {
    let store = operator.store()?;
    let current = Current::read(&store)?;
    let name = spec.name.clone();
    if current.session(&name).is_some() {
        return Err(Failure::Exists {
            kind: "session",
            name: name.to_string(),
        });
    }
    store.commit(Some(current.generation), &[Change::PutSession(spec)])?;
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

fn switch(operator: &Operator, name: &SessionName, enabled: bool) -> Result<(), Failure> {
    let store = operator.store()?;
    let current = Current::read(&store)?;
    let spec = SessionSpec {
        enabled,
        ..find(&current, name)?
    };
    store.commit(Some(current.generation), &[Change::PutSession(spec)])?;
    print::line(format_args!(
        "session {name} is {}",
        if enabled { "on" } else { "off" }
    ));
    Ok(())
}

/// Whether there are keys; whether Telegram still accepts them, only a connection tells.
pub(super) fn has_keys(store: &dyn Store, name: &SessionName) -> Result<bool, Failure> {
    Ok(!store.scan(Space::Telegram(name), b"dc/")?.is_empty())
}

fn list(operator: &Operator) -> Result<(), Failure> {
    let store = operator.store()?;
    let current = Current::read(&store)?;
    if operator.output == Output::Json {
        print::json(&current.sessions);
        return Ok(());
    }
    let mut table = Table::new(["name", "phone", "lines", "trunks", "keys", "on"]);
    let yes = |yes| if yes { "yes" } else { "no" }.to_owned();
    for session in &current.sessions {
        table.row([
            session.name.to_string(),
            or_dash(session.phone.clone()),
            lines(session.lines),
            or_dash(trunks(&current, &session.name)),
            yes(has_keys(&store, &session.name)?),
            yes(session.enabled),
        ]);
    }
    table.print("no sessions yet: make one with `strowger session login NAME --phone N`");
    Ok(())
}

fn show(operator: &Operator, name: &SessionName) -> Result<(), Failure> {
    let store = operator.store()?;
    let current = Current::read(&store)?;
    let session = find(&current, name)?;
    if operator.output == Output::Json {
        print::json(&session);
        return Ok(());
    }
    let line = |what: &str, value: &str| print::line(format_args!("{what:<10}{value}"));
    let keys = has_keys(&store, name)?;
    line("session", session.name.as_str());
    line("phone", &or_dash(session.phone));
    line("lines", &lines(session.lines));
    line("trunks", &or_dash(trunks(&current, name)));
    line(
        "keys",
        if keys {
            "yes"
        } else {
            "none: log it in with `strowger session login`"
        },
    );
    if session.stop_on_6xx {
        line("hunt", "ends with the first trunk that answers 6xx");
    }
    line("state", if session.enabled { "on" } else { "off" });
    Ok(())
}

fn trunks(current: &Current, session: &SessionName) -> String {
    let routes = current
        .routes
        .iter()
        .filter(|route| route.session == *session);
    let names: Vec<&str> = routes.map(|route| route.trunk.as_str()).collect();
    names.join(",")
}

fn or_dash(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}
