//! What the PBX is shown of a Telegram caller: number, name, and headers of our own.

use std::borrow::Cow;

use model::{CallId, CallerIdRules, CallerNameRules, Piece, Rule, Tag};

/// The longest number, name or header value that is shown, in characters.
const LONGEST: usize = 128;

/// What Telegram reveals of a caller.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallerIdentity<'a> {
    /// The phone number, if shown to us.
    pub phone: Option<&'a str>,
    /// Primary username.
    pub username: Option<&'a str>,
    /// The user id.
    pub user_id: i64,
    /// First name.
    pub first_name: &'a str,
    /// Last name.
    pub last_name: &'a str,
}

impl CallerIdentity<'_> {
    fn phone(&self) -> Option<String> {
        let digits = self.phone?.chars().filter(char::is_ascii_digit);
        present(digits.collect())
    }

    fn username(&self) -> Option<String> {
        present(clean(self.username?.trim().trim_start_matches('@')))
    }

    fn name(&self) -> Option<String> {
        present(clean(&format!("{} {}", self.first_name, self.last_name)))
    }

    fn name_ascii(&self) -> Option<String> {
        let name: String = deunicode::deunicode(&self.name()?)
            .chars()
            .filter(|c| (' '..='~').contains(c) && !matches!(c, '"' | '\\'))
            .collect();
        present(clean(&name))
    }

    /// The value of a tag, if there is one.
    fn value(&self, tag: Tag) -> Option<String> {
        match tag {
            Tag::Phone => self.phone(),
            Tag::Username => self.username(),
            Tag::UserId => Some(self.user_id.to_string()),
            Tag::Name => self.name(),
            Tag::NameAscii => self.name_ascii(),
        }
    }

    /// What comes of the first rule all of whose tags have a value.
    fn shown_by(&self, rules: &[Rule]) -> Option<String> {
        let filled = |rule: &Rule| {
            let pieces = rule.pieces().iter().map(|piece| match piece {
                Piece::Text(text) => Some(Cow::Borrowed(text.as_str())),
                Piece::Tag(tag) => self.value(*tag).map(Cow::Owned),
            });
            pieces.collect::<Option<String>>()
        };
        let shown = rules.iter().find_map(filled)?;
        Some(shown.chars().take(LONGEST).collect())
    }
}

/// Returns the number under which the PBX sees a caller; without a rule that applies the caller is anonymous.
pub fn caller_id(rules: &CallerIdRules, caller: &CallerIdentity<'_>) -> Option<String> {
    caller.shown_by(rules.rules())
}

/// Returns the name under which the PBX sees a caller.
pub fn caller_name(rules: &CallerNameRules, caller: &CallerIdentity<'_>) -> Option<String> {
    caller.shown_by(rules.rules())
}

/// Returns the headers in which a dialplan finds what is known of a caller: tg2sip's names, each only if known.
pub fn caller_headers(caller: &CallerIdentity<'_>, call: CallId) -> Vec<(&'static str, String)> {
    let known = [
        ("X-TG-ID", Some(caller.user_id.to_string())),
        ("X-TG-FirstName", present(clean(caller.first_name))),
        ("X-TG-LastName", present(clean(caller.last_name))),
        ("X-TG-Username", caller.username()),
        ("X-TG-Phone", caller.phone()),
        ("X-GW-Context", Some(call.to_string())),
    ];
    known
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// What people write of themselves, fit for a header: no control characters, no blanks around it, not endless.
fn clean(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    let short: String = text.trim().chars().take(LONGEST).collect();
    short.trim_end().to_owned()
}

fn present(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
