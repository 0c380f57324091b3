//! Dial rules, as an owner writes them: how a number is rewritten, and which numbers are taken at all.
//!
//! Here is what the text says (the grammar); the regular expressions in it are compiled and applied in `routing`. The same type
//! serves every setting that holds such rules.
//!
//! ```text
//! ruleset   = "" / "=" / rule *( 1*WSP rule )
//! rule      = [ "`" ] ( replace / condition ) [ "`" ]
//! replace   = regex "=" template            ; split at the last "=" outside (...) and [...]
//! condition = [ "!" ] regex                 ; has no such "="
//! template  = *( literal / "\" DIGIT / "\\" / "\." ) [ "." ]   ; a final dot that is not escaped ends it and is dropped
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many characters all rules of a setting have together.
const MAX_LENGTH: usize = 1024;
/// How many rules a setting holds.
const MAX_RULES: usize = 32;

/// The rules of one setting, in the order in which they are applied; none leaves every number as it is.
#[derive(Clone, Debug, Default, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DialRules {
    /// The rules with one space between them.
    text: String,
    rules: Vec<DialRule>,
}

/// Where a rule stands does not make it another one.
impl PartialEq for DialRules {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialRule {
    /// Where its regular expression begins, in characters of the text it was read from, the first being 1.
    pub at: usize,
    /// The regular expression.
    pub regex: String,
    /// What is done with it.
    pub kind: DialRuleKind,
}

/// The two kinds of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialRuleKind {
    /// Every match is replaced; a number without a match stays as it is.
    Replace(Vec<DialPiece>),
    /// A number without a match is not taken; with `negated`, a number with one.
    Condition {
        /// Whether `!` stands before it.
        negated: bool,
    },
}

/// A piece of a replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialPiece {
    /// Stands as it is.
    Text(String),
    /// `\1` to `\9`: what that group matched, nothing if it did not; `\0`: the whole match.
    Group(u8),
}

impl DialRules {
    /// `.*=`: nothing is left of any text, so that none is a number (product 4.5).
    pub fn dial_nothing() -> Self {
        let rule = DialRule {
            at: 1,
            regex: ".*".to_owned(),
            kind: DialRuleKind::Replace(Vec::new()),
        };
        Self {
            text: ".*=".to_owned(),
            rules: vec![rule],
        }
    }

    /// The rules in order.
    pub fn rules(&self) -> &[DialRule] {
        &self.rules
    }

    /// Whether every number stays as it is.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

/// Prints what `from_str` reads: the rules with a space between them.
impl fmt::Display for DialRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<DialRules> for String {
    fn from(rules: DialRules) -> Self {
        rules.text
    }
}

impl TryFrom<String> for DialRules {
    type Error = DialRuleError;

    fn try_from(text: String) -> Result<Self, DialRuleError> {
        text.parse()
    }
}

impl FromStr for DialRules {
    type Err = DialRuleError;

    fn from_str(text: &str) -> Result<Self, DialRuleError> {
        let length = text.chars().count();
        if length > MAX_LENGTH {
            return Err(DialRuleError::TooLong(length));
        }
        let (mut rules, mut written) = (Vec::new(), Vec::new());
        for (at, word) in words(text) {
            // A rule of nothing but `=` replaces nothing by nothing.
            if word == "=" {
                continue;
            }
            if rules.len() == MAX_RULES {
                return Err(DialRuleError::TooMany);
            }
            rules.push(rule(at, &word)?);
            written.push(word);
        }
        let text = written.join(" ");
        Ok(Self { text, rules })
    }
}

/// The rules of a text with their places, without the back quotes around them.
fn words(text: &str) -> Vec<(usize, String)> {
    let mut words: Vec<(usize, String)> = Vec::new();
    let mut inside = false;
    for (c, at) in text.chars().zip(1..) {
        if c.is_whitespace() {
            inside = false;
        } else if inside && let Some((_, word)) = words.last_mut() {
            word.push(plain(c));
        } else {
            inside = true;
            words.push((at, plain(c).to_string()));
        }
    }
    let bare = |(at, word): (usize, String)| match word.strip_prefix('`') {
        Some(rest) => (at + 1, rest.to_owned()),
        None => (at, word),
    };
    let bare = words.into_iter().map(bare).map(|(at, word)| {
        let word = word.strip_suffix('`').map(str::to_owned).unwrap_or(word);
        (at, word)
    });
    bare.filter(|(_, word)| !word.is_empty()).collect()
}

/// Manuals and messengers print a hyphen as one of its relatives.
fn plain(c: char) -> char {
    match c {
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => '-',
        other => other,
    }
}

fn rule(at: usize, word: &str) -> Result<DialRule, DialRuleError> {
    if let Some((regex, template)) = split(word) {
        if regex.is_empty() {
            return Err(DialRuleError::NothingToReplace(at));
        }
        let template = pieces(at + regex.chars().count() + 1, template)?;
        return Ok(DialRule {
            at,
            regex: regex.to_owned(),
            kind: DialRuleKind::Replace(template),
        });
    }
    let (negated, regex) = match word.strip_prefix('!') {
        Some(regex) => (true, regex),
        None => (false, word),
    };
    if regex.is_empty() {
        return Err(DialRuleError::NoCondition(at));
    }
    Ok(DialRule {
        at: at + usize::from(negated),
        regex: regex.to_owned(),
        kind: DialRuleKind::Condition { negated },
    })
}

/// Splits at the last `=` that stands outside of every group and class.
fn split(word: &str) -> Option<(&str, &str)> {
    let (mut groups, mut classes) = (0usize, 0usize);
    let mut last = None;
    let mut signs = word.char_indices().peekable();
    while let Some((at, sign)) = signs.next() {
        match sign {
            // Whatever is escaped neither opens nor closes; but an `=` is written `[=]`.
            '\\' => {
                signs.next_if(|(_, escaped)| *escaped != '=');
            }
            '[' => {
                classes += 1;
                signs.next_if(|(_, next)| *next == '^');
                // The first sign of a class stands for itself, also when it is `]`.
                signs.next_if(|(_, next)| *next == ']');
            }
            ']' => classes = classes.saturating_sub(1),
            '(' if classes == 0 => groups += 1,
            ')' if classes == 0 => groups = groups.saturating_sub(1),
            '=' if classes == 0 && groups == 0 => last = Some(at),
            _ => {}
        }
    }
    let (regex, template) = word.split_at(last?);
    Some((regex, template.strip_prefix('=')?))
}

fn pieces(at: usize, template: &str) -> Result<Vec<DialPiece>, DialRuleError> {
    let (mut pieces, mut text) = (Vec::new(), String::new());
    let mut signs = template.chars().zip(at..).peekable();
    while let Some((sign, at)) = signs.next() {
        match (sign, signs.peek()) {
            ('.', None) => break,
            ('\\', Some((digit @ '0'..='9', _))) => {
                if !text.is_empty() {
                    pieces.push(DialPiece::Text(std::mem::take(&mut text)));
                }
                let group = digit
                    .to_digit(10)
                    .and_then(|digit| u8::try_from(digit).ok());
                pieces.push(DialPiece::Group(group.unwrap_or_default()));
                signs.next();
            }
            ('\\', Some((sign @ ('\\' | '.'), _))) => {
                text.push(*sign);
                signs.next();
            }
            ('\\', _) => return Err(DialRuleError::Escape(at)),
            (other, _) => text.push(other),
        }
    }
    if !text.is_empty() {
        pieces.push(DialPiece::Text(text));
    }
    Ok(pieces)
}

/// Why dial rules are refused when they are read; places are counted in characters from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DialRuleError {
    /// Longer than anybody needs.
    #[error("dial rules of {0} characters, but at most {MAX_LENGTH} are allowed")]
    TooLong(usize),
    /// More rules than anybody needs.
    #[error("more than {MAX_RULES} dial rules; white space divides them, write \\s for a space")]
    TooMany,
    /// Something would be put between any two characters.
    #[error(
        "character {0}: nothing stands before `=`; write ^= to put something in front of the number"
    )]
    NothingToReplace(usize),
    /// `!` alone.
    #[error("character {0}: an expression must follow `!`")]
    NoCondition(usize),
    /// A backslash in a replacement before something that has no special meaning there.
    #[error(
        "character {0}: after `=` a backslash stands before a digit, a backslash or a dot; a literal `=` is written [=]"
    )]
    Escape(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let rules: DialRules = text.parse().unwrap();
        let shown = rules.rules().iter().map(|rule| match &rule.kind {
            DialRuleKind::Replace(pieces) => {
                let pieces = pieces.iter().map(|piece| match piece {
                    DialPiece::Text(text) => format!("<{text}>"),
                    DialPiece::Group(group) => format!("#{group}"),
                });
                let pieces: String = pieces.collect();
                format!("{} {} -> {pieces}", rule.at, rule.regex)
            }
            DialRuleKind::Condition { negated } => {
                format!(
                    "{} {}{}",
                    rule.at,
                    if *negated { "not " } else { "" },
                    rule.regex
                )
            }
        });
        shown.collect()
    }

    #[test]
    fn rules_are_divided_by_white_space_and_back_quotes_are_no_part_of_them() {
        assert_eq!(shown("  `^8=7` \t\n `!^0`"), ["4 ^8 -> <7>", "15 not ^0"]);
        assert_eq!(
            shown("`[^+*#\\w]= ^8=7`"),
            ["2 [^+*#\\w] -> ", "12 ^8 -> <7>"]
        );
        for nothing in ["", " ", "=", "` `", "``", "`=`", "= ="] {
            let rules: DialRules = nothing.parse().unwrap();
            assert!(
                rules.is_empty() && rules.to_string().is_empty(),
                "{nothing}"
            );
        }
    }

    #[test]
    fn a_rule_is_divided_at_the_last_equals_sign_outside_of_brackets() {
        let table = [
            (r"^(8|\+7)(?=\d{10})=7.", r"1 ^(8|\+7)(?=\d{10}) -> <7>"),
            (r"(?=1)", r"1 (?=1)"),
            (r"[=]", r"1 [=]"),
            (r"a[=]=b", r"1 a[=] -> <b>"),
            (r"a=b=c", r"1 a=b -> <c>"),
            (r"[]=]=x", r"1 []=] -> <x>"),
            (r"[^]=]=x", r"1 [^]=] -> <x>"),
            (r"[(]=x", r"1 [(] -> <x>"),
            (r"\(=x", r"1 \( -> <x>"),
            (r"\[=x", r"1 \[ -> <x>"),
            (r"[[:alpha:]=]=x", r"1 [[:alpha:]=] -> <x>"),
            (r"x=(7)", r"1 x -> <(7)>"),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text), [expected], "{text}");
        }
    }

    #[test]
    fn a_replacement_has_back_references_and_drops_one_final_dot() {
        let table = [
            (r"a=7\2", "<7>#2"),
            (r"a=\0\1x", "#0#1<x>"),
            (r"a=7.", "<7>"),
            (r"a=7..", "<7.>"),
            (r"a=7\.", "<7.>"),
            (r"a=.", ""),
            (r"a=\\", r"<\>"),
            (r"a=\\1.", r"<\1>"),
            (r"a=$1", "<$1>"),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text), [format!("1 a -> {expected}")], "{text}");
        }
    }

    #[test]
    fn a_wrong_rule_is_refused_with_its_place() {
        let table = [
            ("a=b  =7", DialRuleError::NothingToReplace(6)),
            ("`!`", DialRuleError::NoCondition(2)),
            (r"abc=7\x", DialRuleError::Escape(6)),
            (r"abc=7\", DialRuleError::Escape(6)),
            (&"a=b ".repeat(33), DialRuleError::TooMany),
            (&"a".repeat(1025), DialRuleError::TooLong(1025)),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<DialRules>(), Err(expected), "{text}");
        }
        assert_eq!(
            "a=b "
                .repeat(32)
                .parse::<DialRules>()
                .unwrap()
                .rules()
                .len(),
            32
        );
        assert!("a".repeat(1024).parse::<DialRules>().is_ok());
    }

    #[test]
    fn the_rule_that_dials_nothing_is_what_an_owner_would_write() {
        let written: DialRules = ".*=".parse().unwrap();
        let made = DialRules::dial_nothing();
        assert_eq!((made.rules(), &made), (written.rules(), &written));
    }

    #[test]
    fn rules_are_kept_as_one_text_with_plain_hyphens() {
        let rules: DialRules = "`^([0\u{2212}9]{10})$=7\\1`\n ^8=7 =".parse().unwrap();
        assert_eq!(rules.to_string(), r"^([0-9]{10})$=7\1 ^8=7");
        let json = serde_json::to_string(&rules).unwrap();
        assert_eq!(json, r#""^([0-9]{10})$=7\\1 ^8=7""#);
        assert_eq!(serde_json::from_str::<DialRules>(&json).unwrap(), rules);
        assert!(serde_json::from_str::<DialRules>(r#""!""#).is_err());
    }
}
