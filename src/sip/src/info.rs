//! Keypad digits in SIP INFO: `application/dtmf-relay` and `application/dtmf`, which no RFC describes (RFC 6086 section 2
//! calls them legacy). Both are read, the first is written.

use std::time::Duration;

use bytes::Bytes;

/// The content type of what [`body`] writes.
pub const DTMF_RELAY: &str = "application/dtmf-relay";
/// The events of RFC 4733, by whose number some devices write `*`, `#` and A to D.
const EVENTS: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D',
];

/// Writes one press.
pub fn body(digit: char, duration: Duration) -> Bytes {
    let ms = duration.as_millis();
    format!("Signal={digit}\r\nDuration={ms}\r\n").into()
}

/// Reads the digit: `Signal=5` of either type, or the bare digit of `application/dtmf`.
pub fn digit(content_type: &str, body: &[u8]) -> Option<char> {
    let text = std::str::from_utf8(body).ok()?;
    let signal = text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        let is_signal = name.trim().eq_ignore_ascii_case("signal");
        is_signal.then(|| value.trim())
    });
    let value = match content_type {
        DTMF_RELAY => signal?,
        "application/dtmf" => signal.unwrap_or_else(|| text.trim()),
        _ => return None,
    };
    let mut characters = value.chars();
    match (characters.next()?, characters.next()) {
        (digit, None) => {
            let digit = digit.to_ascii_uppercase();
            EVENTS.contains(&digit).then_some(digit)
        }
        ('1', Some('0'..='5')) => EVENTS.get(value.parse::<usize>().ok()?).copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_in_every_form() {
        let table: [(&str, &[u8], Option<char>); 14] = [
            (DTMF_RELAY, b"Signal=5\r\nDuration=160\r\n", Some('5')),
            (DTMF_RELAY, b"Signal= #\nDuration= 100", Some('#')),
            (DTMF_RELAY, b"Duration=100\r\nsignal = d\r\n", Some('D')),
            (DTMF_RELAY, b"Signal=10\r\nDuration=250\r\n", Some('*')),
            (DTMF_RELAY, b"Signal=11", Some('#')),
            (DTMF_RELAY, b"Signal=16", None),
            (DTMF_RELAY, b"Signal=100", None),
            (DTMF_RELAY, b"Signal=\r\n", None),
            (DTMF_RELAY, b"5", None),
            ("application/dtmf", b"*", Some('*')),
            ("application/dtmf", b"Signal=7\r\n", Some('7')),
            ("application/dtmf", b"123", None),
            ("application/dtmf", b"\xff", None),
            ("text/plain", b"1", None),
        ];
        for (content_type, body, expected) in table {
            assert_eq!(digit(content_type, body), expected, "{body:?}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for wanted in EVENTS {
            let body = body(wanted, Duration::from_millis(160));
            assert_eq!(digit(DTMF_RELAY, &body), Some(wanted));
            assert!(body.ends_with(b"Duration=160\r\n"));
        }
    }
}
