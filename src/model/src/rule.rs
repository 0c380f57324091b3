//! Caller ID and Caller Name rules, as an owner writes them: templates with tags, one a line.
//!
//! Here is what a rule may say; what comes of it is decided in `routing`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many rules a list holds.
const MAX_RULES: usize = 16;
/// How many characters a rule has.
const MAX_LENGTH: usize = 128;

/// What a rule can say of a Telegram user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tag {
    /// `{phone}`: digits without `+`, when Telegram reveals them.
    Phone,
    /// `{username}`: without `@`.
    Username,
    /// `{userid}`: decimal.
    UserId,
    /// `{name}`: first and last name.
    Name,
    /// `{name_ascii}`: the name in ASCII letters.
    NameAscii,
}

impl Tag {
    /// The tags of an identifier.
    const IDS: &'static [Tag] = &[Tag::Phone, Tag::Username, Tag::UserId];
    /// The tags of a name.
    const NAMES: &'static [Tag] = &[
        Tag::Phone,
        Tag::Username,
        Tag::UserId,
        Tag::Name,
        Tag::NameAscii,
    ];

    fn word(self) -> &'static str {
        match self {
            Tag::Phone => "phone",
            Tag::Username => "username",
            Tag::UserId => "userid",
            Tag::Name => "name",
            Tag::NameAscii => "name_ascii",
        }
    }
}

/// A piece of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Piece {
    /// Stands as it is.
    Text(String),
    /// Is replaced by the value.
    Tag(Tag),
}

/// A template: text and tags.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule(Vec<Piece>);

impl Rule {
    /// Its pieces, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    fn parse(text: &str, number: usize, tags: &'static [Tag]) -> Result<Self, RuleError> {
        if text.chars().count() > MAX_LENGTH {
            return Err(RuleError::TooLong(number));
        }
        if text.chars().any(char::is_control) {
            return Err(RuleError::Control(number));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let inside = from.strip_prefix('{').and_then(|from| from.split_once('}'));
            let Some((word, after)) = inside.filter(|(word, _)| !word.contains('{')) else {
                return Err(RuleError::Brace(number));
            };
            let tag = tags.iter().find(|tag| tag.word() == word);
            let tag = tag.ok_or_else(|| RuleError::Tag {
                rule: number,
                word: word.to_owned(),
                tags: listed(tags),
            })?;
            pieces.push(Piece::Tag(*tag));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }
}

/// Prints what `Rule::parse` reads.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Tag(tag) => write!(f, "{{{}}}", tag.word()),
        })
    }
}

fn listed(tags: &[Tag]) -> String {
    let words: Vec<String> = tags
        .iter()
        .map(|tag| format!("{{{}}}", tag.word()))
        .collect();
    words.join(", ")
}

/// Reads rules, one a line: blank lines, blanks around a rule and back quotes around it are no part of it.
fn read(text: &str, tags: &'static [Tag]) -> Result<Vec<Rule>, RuleError> {
    let lines = text
        .lines()
        .map(|line| line.trim().trim_matches('`').trim())
        .filter(|line| !line.is_empty());
    let rules = lines
        .zip(1..)
        .map(|(line, number)| Rule::parse(line, number, tags))
        .collect::<Result<Vec<_>, _>>()?;
    if rules.len() > MAX_RULES {
        return Err(RuleError::TooMany(rules.len()));
    }
    Ok(rules)
}

/// Why rules are refused when they are saved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A tag nobody has a value for.
    #[error("rule {rule}: unknown tag `{{{word}}}`; there are {tags}")]
    Tag {
        /// Which rule, from 1.
        rule: usize,
        /// What stands in the braces.
        word: String,
        /// What may stand there.
        tags: String,
    },
    /// A brace without its partner.
    #[error("rule {0}: unbalanced brace; a tag is written as in `{{phone}}`")]
    Brace(usize),
    /// Longer than any sensible number or name.
    #[error("rule {0}: longer than {MAX_LENGTH} characters")]
    TooLong(usize),
    /// Something that cannot stand in a header.
    #[error("rule {0}: a control character in it")]
    Control(usize),
    /// More rules than anybody needs.
    #[error("{0} rules, but at most {MAX_RULES} are allowed")]
    TooMany(usize),
}

macro_rules! rules {
    ($(#[$doc:meta])* $name:ident, $tags:expr, $default:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "Vec<String>", into = "Vec<String>")]
        pub struct $name(Vec<Rule>);

        impl $name {
            /// The rules in order: the first all of whose tags have a value is used.
            pub fn rules(&self) -> &[Rule] {
                &self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self($default)
            }
        }

        /// Reads rules, one a line.
        impl FromStr for $name {
            type Err = RuleError;

            fn from_str(text: &str) -> Result<Self, RuleError> {
                read(text, $tags).map(Self)
            }
        }

        impl TryFrom<Vec<String>> for $name {
            type Error = RuleError;

            fn try_from(rules: Vec<String>) -> Result<Self, RuleError> {
                rules.join("\n").parse()
            }
        }

        impl From<$name> for Vec<String> {
            fn from(rules: $name) -> Self {
                rules.0.iter().map(Rule::to_string).collect()
            }
        }

        /// Prints the rules, one a line.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&Vec::from(self.clone()).join("\n"))
            }
        }
    };
}

rules! {
    /// How a Telegram user is numbered in the PBX, and how the PBX's numbers are understood.
    CallerIdRules, Tag::IDS, vec![
        Rule(vec![Piece::Text("+".to_owned()), Piece::Tag(Tag::Phone)]),
        Rule(vec![Piece::Tag(Tag::Username)]),
        Rule(vec![Piece::Text("0".to_owned()), Piece::Tag(Tag::UserId)]),
    ]
}

rules! {
    /// The name under which a Telegram user is shown in the PBX.
    CallerNameRules, Tag::NAMES, {
        let name = || [
            Piece::Text(" (".to_owned()),
            Piece::Tag(Tag::NameAscii),
            Piece::Text(")".to_owned()),
        ];
        let behind = |mark: &str, tag| {
            let head = [Piece::Text(mark.to_owned()), Piece::Tag(tag)];
            Rule(head.into_iter().chain(name()).collect())
        };
        vec![
            behind("+", Tag::Phone),
            behind("@", Tag::Username),
            Rule(vec![Piece::Tag(Tag::NameAscii)]),
        ]
    }
}

/// What 7 to 15 bare digits that no Caller ID rule matches are taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BareDigits {
    /// A phone number.
    #[default]
    Phone,
    /// A user id, as in dialplans written for tg2sip.
    UserId,
}

impl FromStr for BareDigits {
    type Err = BareDigitsError;

    fn from_str(text: &str) -> Result<Self, BareDigitsError> {
        match text {
            "phone" => Ok(Self::Phone),
            "userid" => Ok(Self::UserId),
            _ => Err(BareDigitsError),
        }
    }
}

impl fmt::Display for BareDigits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Phone => "phone",
            Self::UserId => "userid",
        })
    }
}

/// Neither of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `phone` or `userid`")]
pub struct BareDigitsError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_what_the_manual_says() {
        let ids = "+{phone}\n{username}\n0{userid}";
        assert_eq!(CallerIdRules::default().to_string(), ids);
        assert_eq!(ids.parse(), Ok(CallerIdRules::default()));
        let names = "+{phone} ({name_ascii})\n@{username} ({name_ascii})\n{name_ascii}";
        assert_eq!(CallerNameRules::default().to_string(), names);
        assert_eq!(names.parse(), Ok(CallerNameRules::default()));
    }

    #[test]
    fn blanks_blank_lines_and_back_quotes_are_no_part_of_a_rule() {
        let rules: CallerIdRules = "\n  `tg-{userid}`  \n\n ` {phone} `\n``\n".parse().unwrap();
        assert_eq!(rules.to_string(), "tg-{userid}\n{phone}");
        assert_eq!("".parse::<CallerIdRules>().unwrap().rules(), []);
    }

    #[test]
    fn a_wrong_rule_is_refused_with_its_place_and_what_would_be_right() {
        let long = "x".repeat(129);
        let many = "{phone}\n".repeat(17);
        let table = [
            (
                "+{phone}\n{fone}",
                "rule 2: unknown tag `{fone}`; there are {phone}, {username}, {userid}",
            ),
            (
                "{name}",
                "rule 1: unknown tag `{name}`; there are {phone}, {username}, {userid}",
            ),
            (
                "{}",
                "rule 1: unknown tag `{}`; there are {phone}, {username}, {userid}",
            ),
            (
                "{Phone}",
                "rule 1: unknown tag `{Phone}`; there are {phone}, {username}, {userid}",
            ),
            (
                "+{phone",
                "rule 1: unbalanced brace; a tag is written as in `{phone}`",
            ),
            (
                "+phone}",
                "rule 1: unbalanced brace; a tag is written as in `{phone}`",
            ),
            (
                "{{phone}}",
                "rule 1: unbalanced brace; a tag is written as in `{phone}`",
            ),
            (
                "{phone}}",
                "rule 1: unbalanced brace; a tag is written as in `{phone}`",
            ),
            (&long, "rule 1: longer than 128 characters"),
            ("a\u{7}b", "rule 1: a control character in it"),
            (&many, "17 rules, but at most 16 are allowed"),
        ];
        for (text, expected) in table {
            let error = text.parse::<CallerIdRules>().unwrap_err();
            assert_eq!(error.to_string(), expected, "{text}");
        }
        assert!("{name} {name_ascii}".parse::<CallerNameRules>().is_ok());
        assert!("x".repeat(128).parse::<CallerIdRules>().is_ok());
    }

    #[test]
    fn rules_are_kept_as_a_list_of_texts() {
        let rules: CallerIdRules = "{phone}\n0{userid}".parse().unwrap();
        let json = serde_json::to_string(&rules).unwrap();
        assert_eq!(json, r#"["{phone}","0{userid}"]"#);
        assert_eq!(serde_json::from_str::<CallerIdRules>(&json).unwrap(), rules);
        let error = serde_json::from_str::<CallerIdRules>(r#"["{a}"]"#).unwrap_err();
        assert!(error.to_string().contains("unknown tag `{a}`"), "{error}");
    }
}
