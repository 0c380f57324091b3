//! A fault in a file or a variable of the operator: where it is, what it is, and what was probably meant.

use std::fmt;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// Something that has to be corrected before the program can go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) place: Place,
    pub(crate) kind: FaultKind,
}

/// Where a fault is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a file; line and column count from 1, the column in characters.
    File {
        file: String,
        line: usize,
        column: usize,
    },
    /// In an environment variable.
    Variable(String),
    /// Given on the command line, or the default itself.
    Nowhere,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// Not TOML; the key of the line, if there is one.
    Syntax { what: String, near: Option<String> },
    /// A key or section nobody reads.
    UnknownKey {
        key: String,
        section: String,
        meant: Option<String>,
    },
    /// A variable nobody reads.
    UnknownVariable { meant: Option<String> },
    /// A single value where a section belongs.
    NotASection { key: String },
    /// A value that cannot be used.
    Value { key: String, what: String },
    /// The file cannot be read.
    Unreadable { what: String },
}

impl Place {
    /// Line and column, to sort faults by; those outside of files come last.
    pub(crate) fn line(&self) -> (usize, usize) {
        match self {
            Place::File { line, column, .. } => (*line, *column),
            Place::Variable(_) | Place::Nowhere => (usize::MAX, 0),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File { file, line, column } => write!(f, "{file}:{line}:{column}: ")?,
            Place::Variable(name) => write!(f, "{name}: ")?,
            Place::Nowhere => {}
        }
        let meant = |f: &mut fmt::Formatter<'_>, meant: &Option<String>| match meant {
            Some(meant) => write!(f, "; did you mean `{meant}`?"),
            None => Ok(()),
        };
        match &self.kind {
            FaultKind::Syntax { what, near: None } => write!(f, "{what}"),
            FaultKind::Syntax {
                what,
                near: Some(near),
            } => write!(f, "{what}, near `{near}`"),
            FaultKind::UnknownKey {
                key,
                section,
                meant: key_meant,
            } => {
                write!(f, "unknown key `{key}`")?;
                if !section.is_empty() {
                    write!(f, " in [{section}]")?;
                }
                meant(f, key_meant)
            }
            FaultKind::UnknownVariable { meant: name } => {
                write!(f, "unknown setting")?;
                meant(f, name)
            }
            FaultKind::NotASection { key } => write!(
                f,
                "`{key}` is a section of settings, not a value; write [{key}] and its keys below"
            ),
            FaultKind::Value { key, what } => write!(f, "`{key}`: {what}"),
            FaultKind::Unreadable { what } => write!(f, "{what}"),
        }
    }
}

/// Turns offsets in a text into places.
pub(crate) struct Source<'a> {
    file: &'a str,
    text: &'a str,
    /// Where each line begins: a file of ten thousand records is not read again for each of them.
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    /// A file and what it says.
    pub(crate) fn new(file: &'a str, text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        Self { file, text, lines }
    }

    /// Returns the place of a byte offset.
    pub(crate) fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = self.lines.partition_point(|start| *start <= before.len());
        let line_start = self.lines.get(line.wrapping_sub(1)).copied();
        let in_line = before.get(line_start.unwrap_or_default()..);
        Place::File {
            file: self.file.to_owned(),
            line,
            column: in_line.unwrap_or("").chars().count() + 1,
        }
    }

    /// Returns the fault that the TOML reader found.
    pub(crate) fn syntax(&self, error: &toml::de::Error) -> Fault {
        let span = error.span().unwrap_or(0..0);
        Fault {
            place: self.place(span.start),
            kind: FaultKind::Syntax {
                what: error.message().trim().replace('\n', ", "),
                near: self.near(&span),
            },
        }
    }

    /// Returns a fault of the value at `span`.
    pub(crate) fn value(&self, span: &Range<usize>, key: String, what: impl Into<String>) -> Fault {
        Fault {
            place: self.place(span.start),
            kind: FaultKind::Value {
                key,
                what: what.into(),
            },
        }
    }

    /// The key of the line: never its value, which may be a secret.
    fn near(&self, span: &Range<usize>) -> Option<String> {
        let start = self
            .text
            .get(..span.start)?
            .rfind('\n')
            .map_or(0, |at| at + 1);
        let line = self.text.get(start..)?.lines().next()?;
        let key = line.split('=').next()?.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.[]".contains(c);
        (!key.is_empty() && key.chars().all(plain)).then(|| key.to_owned())
    }
}

/// Keys whose values are never shown.
pub(crate) const SECRETS: [&str; 2] = ["api_hash", "password"];

/// Reads one value, under its key and the sections around it, and nothing else; an error in the words of an operator.
pub(crate) fn alone<T: DeserializeOwned>(
    path: &[String],
    value: Spanned<DeValue<'_>>,
) -> Result<T, String> {
    let whole = path.iter().rev().fold(value, |value, key| {
        let mut table = DeTable::new();
        table.insert(Spanned::new(0..0, key.clone().into()), value);
        Spanned::new(0..0, DeValue::Table(table))
    });
    T::deserialize(ValueDeserializer::from(whole)).map_err(|error| {
        let secret = path
            .last()
            .is_some_and(|key| SECRETS.contains(&key.as_str()));
        // The decoder repeats what it found.
        if secret {
            "expected a text in quotes".into()
        } else {
            plain(error.message())
        }
    })
}

/// Finds what is wrong with a value that does not read: in a list the elements to blame, otherwise the value itself.
pub(crate) fn blame<T: DeserializeOwned>(
    source: &Source<'_>,
    path: &[String],
    value: &Spanned<DeValue<'_>>,
) -> Vec<Fault> {
    let Err(what) = alone::<T>(path, value.clone()) else {
        return Vec::new();
    };
    let key = path.join(".");
    let elements = value.get_ref().as_array().into_iter().flatten();
    let mut blamed: Vec<Fault> = elements
        .filter_map(|element| {
            let single = DeValue::Array(std::iter::once(element.clone()).collect());
            let what = alone::<T>(path, Spanned::new(element.span(), single)).err()?;
            Some(source.value(&element.span(), key.clone(), what))
        })
        .collect();
    match blamed.first_mut() {
        // What was said of the list as a whole is said of its first bad element, and knows its place in the list.
        Some(first) => {
            first.kind = FaultKind::Value { key, what };
            blamed
        }
        None => vec![source.value(&value.span(), key, what)],
    }
}

/// The words of the decoder, as an operator would say them.
pub(crate) fn plain(message: &str) -> String {
    let message = message
        .trim()
        .replace("invalid type: ", "found ")
        .replace("invalid value: ", "found ");
    let message = ["i64", "u32", "u16"]
        .iter()
        .fold(message, |message, number| {
            message.replace(&format!("expected {number}"), "expected a whole number")
        });
    message
        .replace("expected a string", "expected a text in quotes")
        .replace('\n', ", ")
}

/// Returns the candidate that was probably meant.
pub(crate) fn meant<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    let word = word.to_ascii_lowercase();
    candidates
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&word, &candidate.to_ascii_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}
