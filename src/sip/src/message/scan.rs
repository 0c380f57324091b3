//! Small scanners shared by the header types: quotes, lists, tokens. All of them are linear in the input.

/// Returns whether `c` may stand in a token (RFC 3261 25.1).
pub(crate) fn is_token_byte(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&c)
}

/// Returns whether `text` is a non-empty token (RFC 3261 25.1).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Returns `text` without the blanks around it.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Tracks whether a scan stands inside a quoted string or angle brackets.
#[derive(Default)]
struct Scanner {
    quoted: bool,
    escaped: bool,
    angled: bool,
}

impl Scanner {
    /// Takes one octet and returns whether it stands in the open.
    fn step(&mut self, c: u8) -> bool {
        if self.quoted {
            match c {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.quoted = false,
                _ => {}
            }
            return false;
        }
        match c {
            b'"' if !self.angled => {
                self.quoted = true;
                false
            }
            b'<' if !self.angled => {
                self.angled = true;
                false
            }
            b'>' if self.angled => {
                self.angled = false;
                false
            }
            _ => !self.angled,
        }
    }
}

/// Splits at every `separator` outside quotes and angle brackets; the parts are trimmed.
pub(crate) fn split_open(text: &str, separator: u8) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut scanner = Scanner::default();
    let mut start = 0;
    for (at, c) in text.bytes().enumerate() {
        if scanner.step(c) && c == separator {
            parts.push(trim(text.get(start..at).unwrap_or_default()));
            start = at + 1;
        }
    }
    parts.push(trim(text.get(start..).unwrap_or_default()));
    parts
}

/// Returns the offset of the first `wanted` outside quotes and angle brackets.
pub(crate) fn find_open(text: &str, wanted: u8) -> Option<usize> {
    let mut scanner = Scanner::default();
    text.bytes().position(|c| scanner.step(c) && c == wanted)
}

/// Reads a quoted string at the start of `text`; returns its unescaped content and what follows.
pub(crate) fn quoted_string(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut content = String::new();
    let mut escaped = false;
    for (at, c) in inner.char_indices() {
        match c {
            _ if escaped => {
                escaped = false;
                content.push(c);
            }
            '\\' => escaped = true,
            '"' => return Some((content, inner.get(at + 1..)?)),
            _ => content.push(c),
        }
    }
    None
}

/// Returns `text` as a quoted string: control characters dropped, quotes and backslashes escaped (SEC-P7).
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// Returns `text` with line ends replaced by blanks, so that it can never open a new header line (SEC-P7).
pub(crate) fn one_line(text: String) -> String {
    if text.bytes().any(|c| c == b'\r' || c == b'\n') {
        text.replace(['\r', '\n'], " ")
    } else {
        text
    }
}

/// Decodes `%XX` once (RFC 3261 19.1.2); a broken escape is kept as text, broken UTF-8 becomes U+FFFD.
pub(crate) fn percent_decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&c, tail)) = rest.split_first() {
        if c == b'%'
            && let [high, low, after @ ..] = tail
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push(high * 16 + low);
            rest = after;
        } else {
            out.push(c);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Encodes everything outside `allowed` and the unreserved characters as `%XX` (RFC 3261 19.1.2).
pub(crate) fn percent_encode(text: &str, allowed: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.bytes() {
        if c.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&c) || allowed.contains(&c) {
            out.push(char::from(c));
        } else {
            out.push('%');
            for digit in [c >> 4, c & 15] {
                out.push(
                    char::from_digit(u32::from(digit), 16)
                        .unwrap_or('0')
                        .to_ascii_uppercase(),
                );
            }
        }
    }
    out
}

/// Returns the value of a hexadecimal digit.
fn hex(c: u8) -> Option<u8> {
    char::from(c)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}
