//! Dial rules at work: regular expressions compiled, and numbers rewritten by them.
//!
//! The expressions are those of `fancy-regex`, with look-around and back-references, bounded in their backtracking. Classes are
//! those of ASCII (`\d` is 0 to 9), and so that they suffice a number is brought into its plain form first: NFKC, foreign digits
//! as ASCII digits. As in Rust, and other than in Perl, an empty match right after another match counts for nothing.

use deunicode::deunicode_char;
use fancy_regex::{Captures, CompileError, Error, Regex, RegexBuilder, RuntimeError};
use icu_normalizer::ComposingNormalizerBorrowed;
use model::{DialPiece, DialRule, DialRuleKind, DialRules};

/// The longest number, before, between and after the rules, in characters.
const LONGEST: usize = 256;
/// How often an expression may go back on one number.
const BACKTRACKS: usize = 10_000;
/// How much one expression may hold in memory, octets.
const SIZE: usize = 1 << 20;
/// How many steps its programme may have.
const STEPS: usize = 20_000;

/// Rules, ready to be applied.
#[derive(Debug, Clone, Default)]
pub struct DialPlan {
    steps: Vec<Step>,
    /// Takes no number, for its rules cannot be used.
    is_closed: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Replace(Regex, Vec<DialPiece>),
    Condition { regex: Regex, negated: bool },
}

/// Why rules are refused when they are saved; places are counted in characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialPlanError {
    /// No regular expression.
    #[error("character {at}: {what}")]
    Regex {
        /// Where.
        at: usize,
        /// What the engine says.
        what: String,
    },
    /// A replacement refers to a group that is not there.
    #[error("character {at}: \\{group} in the replacement, but the expression has {groups} groups")]
    Group {
        /// Where the rule begins.
        at: usize,
        /// The group.
        group: u8,
        /// How many there are.
        groups: usize,
    },
    /// Some number would keep it busy.
    #[error(
        "character {at}: this expression takes too long on some numbers, for one and the same text matches it in too many ways; \
         write it without one repetition inside another"
    )]
    Slow {
        /// Where the rule begins.
        at: usize,
    },
}

/// A number that became too long, or whose rewriting takes too long.
struct TooLong;

impl DialPlan {
    /// Compiles rules, and tries each on numbers that make a careless one slow.
    pub fn new(rules: &DialRules) -> Result<Self, DialPlanError> {
        let steps = rules.rules().iter().map(compile);
        Ok(Self {
            steps: steps.collect::<Result<_, _>>()?,
            is_closed: false,
        })
    }

    /// Says why rules cannot be used. Those that dial nothing, which nearly all trunks have, are not compiled for that.
    pub fn check(rules: &DialRules) -> Result<(), DialPlanError> {
        if *rules == DialRules::dial_nothing() {
            return Ok(());
        }
        Self::new(rules).map(|_| ())
    }

    /// The plan of rules that cannot be used: takes no number.
    pub fn closed() -> Self {
        Self {
            steps: Vec::new(),
            is_closed: true,
        }
    }

    /// Rewrites a number, or a text. `None` when it is not taken; who asks does not take an empty result either.
    pub fn apply(&self, number: &str) -> Option<String> {
        self.trace(number, |_| {})
    }

    /// The same, and tells the number after each rule, the last time with none where a rule does not take it.
    pub fn trace(&self, number: &str, mut told: impl FnMut(Option<&str>)) -> Option<String> {
        let mut number = plain(number).filter(|_| !self.is_closed)?;
        for step in &self.steps {
            let after = step.apply(number);
            told(after.as_deref());
            number = after?;
        }
        Some(number)
    }
}

impl Step {
    fn apply(&self, number: String) -> Option<String> {
        match self {
            Step::Replace(regex, template) => replace_all(regex, &number, template).ok(),
            Step::Condition { regex, negated } => {
                // An expression that takes too long, `!` or not, takes no number.
                let matches = regex.is_match(number.as_str()).ok()?;
                (matches != *negated).then_some(number)
            }
        }
    }
}

/// The number without blanks around it, in compatibility form, with ASCII digits; nothing if it is too long.
fn plain(number: &str) -> Option<String> {
    let number = number.trim();
    let is_short = |text: &str| text.chars().count() <= LONGEST;
    if !is_short(number) {
        return None;
    }
    let number = ComposingNormalizerBorrowed::new_nfkc().normalize(number);
    let digit = |c: char| {
        let ascii = deunicode_char(c).filter(|_| c.is_numeric())?;
        let mut ascii = ascii.chars();
        let digit = ascii.next().filter(char::is_ascii_digit)?;
        ascii.next().is_none().then_some(digit)
    };
    let number: String = number
        .trim()
        .chars()
        .map(|c| digit(c).unwrap_or(c))
        .collect();
    is_short(&number).then_some(number)
}

fn replace_all(regex: &Regex, number: &str, template: &[DialPiece]) -> Result<String, TooLong> {
    let mut replaced = String::new();
    let (mut copied, mut from) = (0, 0);
    let mut last_end = None;
    while from <= number.len() {
        let found = regex.captures_from_pos(number, from).map_err(|_| TooLong)?;
        let Some(captures) = found else { break };
        let Some(whole) = captures.get(0).map(|whole| whole.range()) else {
            break;
        };
        if whole.is_empty() && last_end == Some(whole.end) {
            from = after(number, whole.end);
            continue;
        }
        replaced.push_str(number.get(copied..whole.start).unwrap_or_default());
        fill(&mut replaced, template, &captures);
        if replaced.chars().count() > LONGEST {
            return Err(TooLong);
        }
        copied = whole.end;
        last_end = Some(whole.end);
        from = if whole.is_empty() {
            after(number, whole.end)
        } else {
            whole.end
        };
    }
    replaced.push_str(number.get(copied..).unwrap_or_default());
    if replaced.chars().count() > LONGEST {
        return Err(TooLong);
    }
    Ok(replaced)
}

/// Where the character after the one at this place begins.
fn after(text: &str, at: usize) -> usize {
    let next = text.get(at..).and_then(|rest| rest.chars().next());
    at + next.map_or(1, char::len_utf8)
}

fn fill(text: &mut String, template: &[DialPiece], captures: &Captures<'_, str>) {
    for piece in template {
        text.push_str(match piece {
            DialPiece::Text(text) => text,
            DialPiece::Group(group) => captures
                .get(usize::from(*group))
                .map_or("", |group| group.as_str()),
        });
    }
}

// ---------------------------------------------------------------- compiling

fn compile(rule: &DialRule) -> Result<Step, DialPlanError> {
    let (translated, places) = with_ascii_classes(&rule.regex);
    let regex = RegexBuilder::new(&translated)
        .backtrack_limit(BACKTRACKS)
        .delegate_size_limit(SIZE)
        .delegate_dfa_size_limit(SIZE)
        .max_prog_size(STEPS)
        .build()
        .map_err(|error| refused(rule, &error, &places))?;
    if is_slow(&regex, &rule.regex) {
        return Err(DialPlanError::Slow { at: rule.at });
    }
    match &rule.kind {
        DialRuleKind::Condition { negated } => Ok(Step::Condition {
            regex,
            negated: *negated,
        }),
        DialRuleKind::Replace(template) => {
            let groups = regex.captures_len().saturating_sub(1);
            let missing = template.iter().find_map(|piece| match piece {
                DialPiece::Group(group) if usize::from(*group) > groups => Some(*group),
                DialPiece::Group(_) | DialPiece::Text(_) => None,
            });
            match missing {
                Some(group) => Err(DialPlanError::Group {
                    at: rule.at,
                    group,
                    groups,
                }),
                None => Ok(Step::Replace(regex, template.clone())),
            }
        }
    }
}

/// What the engine says, at the place where the owner wrote it.
fn refused(rule: &DialRule, error: &Error, places: &[usize]) -> DialPlanError {
    let (place, what) = if let Error::ParseError(at, error) = error {
        let last = places.last().map_or(0, |last| last + 1);
        (places.get(*at).copied().unwrap_or(last), error.to_string())
    } else if let Error::CompileError(error) = error
        && let CompileError::InnerError(error) = error.as_ref()
    {
        // The engine below draws a picture of the expression and puts what is wrong into the last line.
        let text = std::error::Error::source(error).map_or(error.to_string(), chain);
        let last = text.lines().last().unwrap_or_default();
        (0, last.trim_start_matches("error: ").to_owned())
    } else {
        (0, error.to_string())
    };
    DialPlanError::Regex {
        at: rule.at + place,
        what: in_a_sentence(&what),
    }
}

/// The words of the engine without capital and full stop.
fn in_a_sentence(what: &str) -> String {
    let mut letters = what.trim_end_matches('.').chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// The innermost of errors.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    error.source().map_or_else(|| error.to_string(), chain)
}

/// Writes the classes and word boundaries of an expression as those of ASCII; also where each octet came from, in characters.
fn with_ascii_classes(regex: &str) -> (String, Vec<usize>) {
    let (mut text, mut places) = (String::new(), Vec::new());
    let mut classes = 0usize;
    let mut signs = regex.chars().enumerate().peekable();
    while let Some((at, sign)) = signs.next() {
        let inside = classes > 0;
        let mut put = |piece: &str| {
            text.push_str(piece);
            places.resize(text.len(), at);
        };
        match sign {
            '\\' => {
                let escaped = signs.next().map(|(_, escaped)| escaped);
                match (escaped, inside) {
                    (Some('d'), _) => put("[0-9]"),
                    (Some('D'), _) => put("[^0-9]"),
                    (Some('w'), _) => put("[0-9A-Za-z_]"),
                    (Some('W'), _) => put("[^0-9A-Za-z_]"),
                    (Some('s'), _) => put(r"[ \t\n\r\x0B\x0C]"),
                    (Some('S'), _) => put(r"[^ \t\n\r\x0B\x0C]"),
                    (Some('b'), false) => put(
                        "(?:(?<=[0-9A-Za-z_])(?![0-9A-Za-z_])|(?<![0-9A-Za-z_])(?=[0-9A-Za-z_]))",
                    ),
                    (Some('B'), false) => put(
                        "(?:(?<=[0-9A-Za-z_])(?=[0-9A-Za-z_])|(?<![0-9A-Za-z_])(?![0-9A-Za-z_]))",
                    ),
                    (Some(other), _) => {
                        put("\\");
                        put(other.encode_utf8(&mut [0; 4]));
                    }
                    (None, _) => put("\\"),
                }
            }
            '[' => {
                classes += 1;
                put("[");
                if signs.next_if(|(_, next)| *next == '^').is_some() {
                    put("^");
                }
                if signs.next_if(|(_, next)| *next == ']').is_some() {
                    put("\\]");
                }
            }
            ']' => {
                classes = classes.saturating_sub(1);
                put("]");
            }
            other => put(other.encode_utf8(&mut [0; 4])),
        }
    }
    (text, places)
}

/// Whether a number can be made that keeps the expression busy: long ones of what it speaks of, with an end that it does not expect.
fn is_slow(regex: &Regex, written: &str) -> bool {
    let long = |piece: &str| -> String { piece.chars().cycle().take(LONGEST - 1).collect() };
    let mut pieces: Vec<String> = [
        "8",
        "a",
        "A",
        "+",
        "0",
        " ",
        "-",
        "80",
        "1234567890",
        "8a",
        "a b",
        "+1 ",
        "8-",
    ]
    .map(str::to_owned)
    .into();
    let spoken: Vec<char> = written
        .chars()
        .filter(|c| !c.is_control() && !r"\()[]{}?|^$".contains(*c))
        .collect();
    for c in &spoken {
        if !pieces
            .iter()
            .any(|piece| piece.starts_with(*c) && piece.chars().count() == 1)
        {
            pieces.push(c.to_string());
        }
    }
    for pair in spoken.windows(2) {
        pieces.push(pair.iter().collect());
    }
    let all: String = spoken.iter().collect();
    // An engine looks ahead for what must come in any case, so the end has all of it as well.
    let everything = format!("!{all}");
    pieces.push(all);
    let mut pieces = pieces.iter().filter(|piece| !piece.is_empty());
    pieces.any(|piece| {
        let long = long(piece);
        ["", "!", "x", "0", "\u{416}", everything.as_str()]
            .iter()
            .any(|end| {
                let number = format!("{long}{end}");
                [number.as_str(), number.get(..24).unwrap_or_default()]
                    .iter()
                    .any(|number| {
                        matches!(
                            regex.captures_from_pos(*number, 0),
                            Err(Error::RuntimeError(
                                RuntimeError::BacktrackLimitExceeded | RuntimeError::StackOverflow
                            ))
                        )
                    })
            })
    })
}
