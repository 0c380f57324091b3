//! Telegram users whom the owner knows by name: what they may use of the switch, whichever trunk or session they use it by.

use serde::{Deserialize, Serialize};

use crate::{QuotaName, UserName};

/// The longest note, in octets.
const LONGEST_NOTE: usize = 256;

/// One Telegram user. Who has no record is not limited as a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSpec {
    /// The name by which the owner knows him; it is told to nobody.
    pub name: UserName,
    /// Who he is at Telegram.
    pub telegram_id: i64,
    /// Simultaneous calls with him, 0 = unlimited.
    #[serde(default)]
    pub lines: u32,
    /// What he may use over time; without a name the profile `default`, where there is one.
    #[serde(default)]
    pub quota: Option<QuotaName>,
    /// What the owner wants to remember.
    #[serde(default)]
    pub note: String,
}

impl UserSpec {
    /// A user with every default.
    pub fn new(name: UserName, telegram_id: i64) -> Self {
        Self {
            name,
            telegram_id,
            lines: 0,
            quota: None,
            note: String::new(),
        }
    }

    /// Checks what the types cannot say.
    pub fn check(&self) -> Result<(), UserError> {
        if self.telegram_id <= 0 {
            return Err(UserError::Id(self.name.clone(), self.telegram_id));
        }
        if self.note.len() > LONGEST_NOTE || self.note.chars().any(char::is_control) {
            return Err(UserError::Note(self.name.clone()));
        }
        Ok(())
    }
}

/// Why a user is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// No user has such an id.
    #[error(
        "user {0}: {1} is no id of a Telegram user: it is a positive number, which `strowger cdr list` shows of who has called"
    )]
    Id(UserName, i64),
    /// Too long, or not to be printed.
    #[error("user {0}: a note has 256 octets at most, without control characters")]
    Note(UserName),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_positive_id_and_a_note_of_one_line() {
        let name: UserName = "ann".parse().unwrap();
        assert_eq!(UserSpec::new(name.clone(), 7).check(), Ok(()));
        for id in [0, -7] {
            let refused = UserSpec::new(name.clone(), id).check();
            assert_eq!(refused, Err(UserError::Id(name.clone(), id)));
        }
        for note in ["two\nlines", &"x".repeat(257)] {
            let spec = UserSpec {
                note: note.to_owned(),
                ..UserSpec::new(name.clone(), 7)
            };
            assert_eq!(spec.check(), Err(UserError::Note(name.clone())));
        }
        let old = r#"{"name":"ann","telegram_id":7}"#;
        let read: UserSpec = serde_json::from_str(old).unwrap();
        assert_eq!(read, UserSpec::new(name, 7));
    }
}
