//! An inline bot that is asked what people write (product 2.12): which one, and what it is asked.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Peer;

/// How many characters a template has.
const MAX_TEMPLATE: usize = 256;
/// How many characters a bot is asked: what Telegram passes on.
const MAX_QUERY: usize = 256;

/// The username of a bot, without `@`; empty: none is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BotName(String);

/// No username.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no username of a bot, such as @helper_bot")]
pub struct BotNameError(String);

impl BotName {
    /// The username; nothing if no bot is asked.
    pub fn get(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(self.0.as_str())
    }
}

impl FromStr for BotName {
    type Err = BotNameError;

    fn from_str(text: &str) -> Result<Self, BotNameError> {
        let text = text.trim();
        let name = text.strip_prefix('@').unwrap_or(text);
        if name.is_empty() || Peer::from_username(name).is_ok() {
            Ok(Self(name.to_owned()))
        } else {
            Err(BotNameError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for BotName {
    type Error = BotNameError;

    fn try_from(text: String) -> Result<Self, BotNameError> {
        text.parse()
    }
}

impl From<BotName> for String {
    fn from(name: BotName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for BotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            Some(name) => write!(f, "@{name}"),
            None => Ok(()),
        }
    }
}

/// What a template can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryTag {
    /// `{text}`: what was written.
    Text,
    /// `{userid}`: who wrote it, decimal.
    UserId,
    /// `{username}`: without `@`.
    Username,
    /// `{phone}`: digits, when Telegram reveals them.
    Phone,
    /// `{name}`: first and last name.
    Name,
    /// `{session}`: the session he wrote to.
    Session,
}

impl QueryTag {
    const ALL: [QueryTag; 6] = [
        QueryTag::Text,
        QueryTag::UserId,
        QueryTag::Username,
        QueryTag::Phone,
        QueryTag::Name,
        QueryTag::Session,
    ];

    fn word(self) -> &'static str {
        match self {
            QueryTag::Text => "text",
            QueryTag::UserId => "userid",
            QueryTag::Username => "username",
            QueryTag::Phone => "phone",
            QueryTag::Name => "name",
            QueryTag::Session => "session",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Tag(QueryTag),
}

/// What a bot is asked: text and tags; `{text}` unless said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueryTemplate(Vec<Piece>);

/// Why a template is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryTemplateError {
    /// A tag nobody has a value for.
    #[error(
        "unknown tag `{{{0}}}`; there are {{text}}, {{userid}}, {{username}}, {{phone}}, {{name}} and {{session}}"
    )]
    Tag(String),
    /// A brace without its partner.
    #[error("unbalanced brace; a tag is written as in `{{text}}`")]
    Brace,
    /// Longer than what can be asked.
    #[error("longer than {MAX_TEMPLATE} characters")]
    TooLong,
}

impl Default for QueryTemplate {
    fn default() -> Self {
        Self(vec![Piece::Tag(QueryTag::Text)])
    }
}

impl QueryTemplate {
    /// Fills it in; a tag without a value leaves nothing, and what is too long to be asked is cut.
    pub fn fill(&self, value: impl Fn(QueryTag) -> String) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Tag(tag) => value(*tag),
        });
        let filled: String = pieces.collect();
        filled.trim().chars().take(MAX_QUERY).collect()
    }
}

impl FromStr for QueryTemplate {
    type Err = QueryTemplateError;

    fn from_str(text: &str) -> Result<Self, QueryTemplateError> {
        if text.chars().count() > MAX_TEMPLATE {
            return Err(QueryTemplateError::TooLong);
        }
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let inside = from.strip_prefix('{').and_then(|from| from.split_once('}'));
            let (word, after) = inside.ok_or(QueryTemplateError::Brace)?;
            let tag = QueryTag::ALL.into_iter().find(|tag| tag.word() == word);
            let tag = tag.ok_or_else(|| QueryTemplateError::Tag(word.to_owned()))?;
            pieces.push(Piece::Tag(tag));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        if pieces.is_empty() {
            return Ok(Self::default());
        }
        Ok(Self(pieces))
    }
}

impl TryFrom<String> for QueryTemplate {
    type Error = QueryTemplateError;

    fn try_from(text: String) -> Result<Self, QueryTemplateError> {
        text.parse()
    }
}

impl From<QueryTemplate> for String {
    fn from(template: QueryTemplate) -> Self {
        template.to_string()
    }
}

impl fmt::Display for QueryTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Tag(tag) => write!(f, "{{{}}}", tag.word()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_in_and_read_back_as_written() {
        let template: QueryTemplate = "{session}: {userid} {phone} {text}".parse().unwrap();
        let value = |tag| match tag {
            QueryTag::Text => "opening hours?",
            QueryTag::UserId => "4242",
            QueryTag::Session => "main",
            QueryTag::Username | QueryTag::Phone | QueryTag::Name => "",
        };
        let fill = |template: &QueryTemplate| template.fill(|tag| value(tag).to_owned());
        assert_eq!(fill(&template), "main: 4242  opening hours?");
        assert_eq!(fill(&QueryTemplate::default()), "opening hours?");
        assert_eq!(template.to_string().parse(), Ok(template.clone()));
        let json = serde_json::to_string(&template).unwrap();
        assert_eq!(json, "\"{session}: {userid} {phone} {text}\"");
        assert_eq!("".parse(), Ok(QueryTemplate::default()));
        let long = template.fill(|_| "x".repeat(300));
        assert_eq!(long.chars().count(), 256);
    }

    #[test]
    fn what_is_no_template_and_no_bot_is_refused() {
        let table = [
            ("{txt}", QueryTemplateError::Tag("txt".to_owned())),
            ("{text", QueryTemplateError::Brace),
            ("text}", QueryTemplateError::Brace),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<QueryTemplate>(), Err(expected), "{text}");
        }
        let long = "x".repeat(257);
        let refused = long.parse::<QueryTemplate>();
        assert_eq!(refused, Err(QueryTemplateError::TooLong));
        let bot: BotName = " @helper_bot".parse().unwrap();
        assert_eq!(
            (bot.get(), bot.to_string().as_str()),
            (Some("helper_bot"), "@helper_bot")
        );
        assert_eq!("".parse::<BotName>().unwrap().get(), None);
        assert!("@x".parse::<BotName>().is_err());
        assert!("a bot".parse::<BotName>().is_err());
    }
}
