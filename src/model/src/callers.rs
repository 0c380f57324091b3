//! Who may call a Telegram account of the switch.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{NumberError, Peer};

/// People who may call an account (product 2.2): user ids (`4242`), usernames (`@alice`, in any case) and phone numbers
/// (`+15550001`). An empty list allows everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct AllowedCallers(Vec<Peer>);

/// An entry that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names nobody: expected a user id such as 4242, a username such as @alice or a phone number such as +15550001"
)]
pub struct CallerError(String);

impl AllowedCallers {
    /// Whether somebody may call; `username` without `@` and `phone` in digits, as far as Telegram shows them.
    pub fn allow(&self, user_id: i64, username: Option<&str>, phone: Option<&str>) -> bool {
        let is_he = |peer: &Peer| match peer {
            Peer::UserId(id) => *id == user_id,
            Peer::Username(name) => username.is_some_and(|his| his.eq_ignore_ascii_case(name)),
            Peer::Phone(number) => phone.is_some_and(|his| his == number.digits()),
        };
        self.0.is_empty() || self.0.iter().any(is_he)
    }

    /// Whether everybody may call.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads one entry.
fn entry(text: &str) -> Result<Peer, CallerError> {
    let text = text.trim();
    let peer = Peer::from_written(text);
    peer.map_err(|NumberError| CallerError(text.to_owned()))
}

impl TryFrom<Vec<String>> for AllowedCallers {
    type Error = CallerError;

    fn try_from(list: Vec<String>) -> Result<Self, CallerError> {
        list.iter()
            .map(|text| entry(text))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl From<AllowedCallers> for Vec<String> {
    fn from(callers: AllowedCallers) -> Self {
        callers.entries().collect()
    }
}

impl AllowedCallers {
    fn entries(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|peer| match peer {
            Peer::UserId(id) => id.to_string(),
            Peer::Username(name) => format!("@{name}"),
            Peer::Phone(number) => number.to_string(),
        })
    }
}

/// Entries with commas between them; an empty text is an empty list.
impl FromStr for AllowedCallers {
    type Err = CallerError;

    fn from_str(text: &str) -> Result<Self, CallerError> {
        text.split(',')
            .filter(|text| !text.trim().is_empty())
            .map(entry)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for AllowedCallers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.entries().collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_known_by_each_of_their_names_and_an_empty_list_is_open() {
        let list: AllowedCallers = "4242, @Alice,+15550001,".parse().unwrap();
        assert!(list.allow(4242, None, None));
        assert!(list.allow(1, Some("aLICE"), None));
        assert!(list.allow(1, None, Some("15550001")));
        assert!(!list.allow(1, Some("bobby"), Some("15550002")));
        assert!(!list.allow(1, None, None));
        assert!(AllowedCallers::default().allow(1, None, None));
    }

    #[test]
    fn a_list_is_read_back_as_written_and_a_wrong_entry_is_named() {
        let list: AllowedCallers =
            serde_json::from_str(r#"["4242","@alice","+15550001"]"#).unwrap();
        assert_eq!(list.to_string(), "4242,@alice,+15550001");
        assert_eq!(list.to_string().parse(), Ok(list.clone()));
        let text = serde_json::to_string(&list).unwrap();
        assert_eq!(text, r#"["4242","@alice","+15550001"]"#);
        for wrong in ["alice", "@al", "+0", "042", "7 8"] {
            let error = wrong.parse::<AllowedCallers>().unwrap_err();
            assert!(error.to_string().contains(wrong), "{error}");
        }
    }
}
