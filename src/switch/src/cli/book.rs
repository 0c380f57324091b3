//! Where a command finds the records: at the switch that runs, else in its store.

use model::SessionName;
use store::{Change, SledStore};

use super::Operator;
use super::conversation::LoginFailure;
use crate::api::{BASE, Changed, LONGEST_PAGE, Page, WantedCommit};
use crate::failure::Failure;
use crate::problem::{Problem, WRONG_TOKENS};
use crate::records::{self, Current};

/// The records, wherever they are.
pub(super) enum Book<'a> {
    /// Nobody has the store open.
    Store(Box<SledStore>),
    /// A switch has.
    Switch(&'a Operator),
}

impl Operator {
    /// Opens the records.
    pub(super) fn book(&self) -> Result<Book<'_>, Failure> {
        if self.reach()?.is_there()? {
            return Ok(Book::Switch(self));
        }
        Ok(Book::Store(Box::new(self.store()?)))
    }

    /// All records; where a switch runs without their secrets.
    pub(super) fn current(&self) -> Result<Current, Failure> {
        self.book()?.current()
    }

    /// Asks `/api/v1` of the switch that runs; fails when none does.
    pub(super) fn api<T: serde::de::DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&impl serde::Serialize>,
    ) -> Result<T, Failure> {
        let body = body.map(serde_json::to_string).transpose();
        let body = body.map_err(Failure::Strange)?.unwrap_or_default();
        let answer = self.tell(method, &format!("{BASE}{path}"), &body)?;
        let Some(answer) = answer else {
            return Err(self.reach()?.nobody());
        };
        answered(Some(answer))
    }

    /// The same about the account of a session; none when no switch runs. A refusal of Telegram's, or of the one who logs in, is a login
    /// that did not come to its end, as without a switch.
    pub(super) fn api_of_session<T: serde::de::DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&impl serde::Serialize>,
        session: &SessionName,
    ) -> Result<Option<T>, Failure> {
        let body = body.map(serde_json::to_string).transpose();
        let body = body.map_err(Failure::Strange)?.unwrap_or_default();
        let Some((status, text)) = self.tell(method, &format!("{BASE}{path}"), &body)? else {
            return Ok(None);
        };
        let is_told = matches!(status, 410 | 422 | 429 | 502);
        match serde_json::from_str::<Problem>(&text) {
            Ok(problem) if is_told && problem.cause() != WRONG_TOKENS => Err(Failure::Login(
                session.clone(),
                LoginFailure::Told(problem.detail().to_owned()),
            )),
            Ok(_) | Err(_) => answered(Some((status, text))).map(Some),
        }
    }

    /// All pages of a list.
    pub(super) fn list<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Vec<T>, Failure> {
        let mut page: Page<T> = self.get(&format!("{path}?limit={LONGEST_PAGE}"))?;
        let mut items = page.items;
        while let Some(cursor) = page.next {
            page = self.get(&format!("{path}?limit={LONGEST_PAGE}&cursor={cursor}"))?;
            items.append(&mut page.items);
        }
        Ok(items)
    }

    /// The same without a body.
    pub(super) fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.api("GET", path, None::<&()>)
    }
}

impl Book<'_> {
    /// All records; of a switch that runs without their secrets, which it keeps where a change brings none.
    pub(super) fn current(&self) -> Result<Current, Failure> {
        match self {
            Book::Store(store) => Ok(Current::read(&**store)?),
            Book::Switch(operator) => operator.get("/records"),
        }
    }

    /// All records, with their secrets.
    pub(super) fn current_with_secrets(&self) -> Result<Current, Failure> {
        match self {
            Book::Store(store) => Ok(Current::read(&**store)?),
            Book::Switch(operator) => operator.get("/records/secrets"),
        }
    }

    /// Makes all changes, or none, if nobody has changed anything since `current` was read; returns the new generation.
    pub(super) fn commit(&self, current: &Current, changes: Vec<Change>) -> Result<u64, Failure> {
        let expected = current.generation;
        match self {
            Book::Store(store) => Ok(records::commit(&**store, Some(expected), &changes)?),
            Book::Switch(operator) => {
                let wanted = WantedCommit { expected, changes };
                let done: Changed = operator.api("POST", "/records", Some(&wanted))?;
                Ok(done.generation)
            }
        }
    }
}

/// What the switch answers, or why it refuses.
pub(super) fn answered<T: serde::de::DeserializeOwned>(
    answer: Option<(u16, String)>,
) -> Result<T, Failure> {
    let Some((status, body)) = answer else {
        return Err(Failure::Answered {
            status: 503,
            said: "the switch has just stopped: repeat the command".to_owned(),
        });
    };
    if (200..300).contains(&status) {
        // What is done and has nothing to say.
        let body = if body.is_empty() { "null" } else { &body };
        return serde_json::from_str(body).map_err(Failure::Strange);
    }
    let said = match serde_json::from_str::<Problem>(&body) {
        // Whose token does not do must know what to do.
        Ok(problem) if matches!(status, 401 | 403 | 429) => {
            format!("{}: {}", problem.detail(), problem.hint())
        }
        Ok(problem) => problem.detail().to_owned(),
        Err(_) => format!("the switch answers {status}"),
    };
    Err(Failure::Answered { status, said })
}
