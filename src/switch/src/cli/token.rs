//! `strowger token`: who may use the HTTP interface.

use clap::Subcommand;
use model::Scope;
use store::Store;

use super::book::Book;
use super::{Operator, unix};
use crate::api::access::{self, MOST_TOKENS};
use crate::api::{Made, TokenView, WantedToken};
use crate::failure::Failure;
use crate::print::{self, Output, Table};

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a token, and show it once
    Create {
        /// What it is for, so that you know it again
        name: String,
        /// What it may be used for: read, calls, write, admin
        #[arg(long = "scope", value_delimiter = ',', default_value = "read")]
        scopes: Vec<Scope>,
    },
    /// List all tokens
    List,
    /// Make a token worthless
    Revoke {
        /// Its id, as the list shows it
        id: String,
    },
}

impl Token {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        match self {
            Token::Create { name, scopes } => create(operator, name, scopes),
            Token::List => list(operator),
            Token::Revoke { id } => revoke(operator, &id),
        }
    }
}

fn create(operator: &Operator, name: String, scopes: Vec<Scope>) -> Result<(), Failure> {
    let made = match operator.book()? {
        Book::Switch(_) => {
            let scopes = scopes.iter().map(ToString::to_string).collect();
            let wanted = WantedToken { name, scopes };
            operator.api("POST", "/tokens", Some(&wanted))?
        }
        Book::Store(store) => {
            let mut tokens = store::read_tokens(&*store)?;
            if tokens.len() >= MOST_TOKENS {
                return Err(Failure::Refused(format!(
                    "there are {MOST_TOKENS} tokens already: revoke some that nobody uses"
                )));
            }
            let (record, token) = access::make(name, scopes, unix());
            let id = record.id.clone();
            tokens.push(record);
            store::write_tokens(&*store, &tokens)?;
            Made { id, token }
        }
    };
    if operator.output == Output::Json {
        print::json(&made);
        return Ok(());
    }
    print::line(&made.token);
    print::note(format_args!(
        "send it as `Authorization: Bearer TOKEN`; it is shown this once. `strowger token revoke {}` makes it worthless",
        made.id
    ));
    Ok(())
}

fn list(operator: &Operator) -> Result<(), Failure> {
    let tokens: Vec<TokenView> = match operator.book()? {
        Book::Switch(_) => operator.get("/tokens")?,
        Book::Store(store) => {
            let tokens = store::read_tokens(&*store)?;
            tokens.iter().map(TokenView::from).collect()
        }
    };
    if operator.output == Output::Json {
        print::json(&tokens);
        return Ok(());
    }
    let mut table = Table::new(["id", "name", "scopes", "made"]);
    for token in tokens {
        let made = crate::hardening::moment(i64::try_from(token.created).unwrap_or_default());
        table.row([token.id, token.name, token.scopes.join(","), made]);
    }
    table.print(
        operator.output,
        "no tokens yet: make one with `strowger token create NAME`",
    );
    Ok(())
}

fn revoke(operator: &Operator, id: &str) -> Result<(), Failure> {
    let missing = || Failure::NotFound {
        kind: "token",
        name: id.to_owned(),
    };
    // It becomes a part of a path.
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(missing());
    }
    match operator.book()? {
        Book::Switch(_) => {
            operator.api::<()>("DELETE", &format!("/tokens/{id}"), None::<&()>)?;
        }
        Book::Store(store) => {
            let mut tokens = store::read_tokens(&*store)?;
            let before = tokens.len();
            tokens.retain(|token| token.id != id);
            if tokens.len() == before {
                return Err(missing());
            }
            store::write_tokens(&*store, &tokens)?;
            store.flush()?;
        }
    }
    print::line(format_args!("token {id} is worthless now"));
    Ok(())
}
