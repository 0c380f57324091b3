//! Who calls, and who was called in the first place, as the headers of an INVITE say it.
//!
//! Only of use from a peer that is known: a stranger may write anything (RFC 3325 section 5).

use std::time::Duration;

use crate::message::{HeaderName, Headers, NameAddr, Uri, delta_seconds};

/// Returns the caller: the first P-Asserted-Identity (RFC 3325), else Remote-Party-ID of the calling party
/// (draft-ietf-sip-privacy-04, which many PBXs still write), else From. `None` only where From cannot be read.
pub fn caller(headers: &Headers) -> Option<NameAddr> {
    let asserted = addresses(headers, &HeaderName::PAssertedIdentity).find(has_user);
    let is_calling = |address: &NameAddr| {
        let party = address.params.get("party").unwrap_or("calling");
        party.eq_ignore_ascii_case("calling")
    };
    let remote = || {
        addresses(headers, &HeaderName::RemotePartyId)
            .find(|address| has_user(address) && is_calling(address))
    };
    asserted.or_else(remote).or_else(|| headers.from())
}

/// Returns who was called and passed the call on: the oldest Diversion, which stands last (RFC 5806 section 4).
pub fn first_called(headers: &Headers) -> Option<NameAddr> {
    addresses(headers, &HeaderName::Diversion)
        .filter(has_user)
        .last()
}

/// Returns how long a peer that refused wants to be left alone (RFC 3261 20.33), a day at most.
pub fn retry_after(headers: &Headers) -> Option<Duration> {
    let value = headers.get(&HeaderName::RetryAfter)?;
    let seconds = value.split([' ', '\t', '(', ';']).next()?;
    let seconds = delta_seconds(seconds)?.min(86_400);
    Some(Duration::from_secs(seconds.into()))
}

fn addresses<'a>(
    headers: &'a Headers,
    name: &'a HeaderName,
) -> impl Iterator<Item = NameAddr> + 'a {
    headers.all(name).filter_map(|value| value.parse().ok())
}

fn has_user(address: &NameAddr) -> bool {
    let is_address = matches!(address.uri, Uri::Sip(_) | Uri::Tel { .. });
    is_address && address.uri.user().is_some_and(|user| !user.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        headers.push(HeaderName::From, "<sip:from@192.0.2.1>;tag=1");
        for (name, value) in fields {
            headers.push(HeaderName::from(*name), value);
        }
        headers
    }

    #[test]
    fn the_caller_is_who_is_asserted_else_who_is_written() {
        let table: [(&[(&str, &str)], &str); 8] = [
            (&[], "from"),
            (
                &[
                    (
                        "Remote-Party-ID",
                        "\"A\" <sip:rpid@x>;party=calling;screen=yes",
                    ),
                    ("P-Asserted-Identity", "\"A\" <sip:pai@x>"),
                    ("P-Asserted-Identity", "<tel:+15550001>"),
                ],
                "pai",
            ),
            (&[("P-Asserted-Identity", "tel:+15550001")], "+15550001"),
            (&[("P-Asserted-Identity", "<sip:x>")], "from"),
            (&[("P-Asserted-Identity", "nonsense<")], "from"),
            (&[("Remote-Party-ID", "<sip:rpid@x>")], "rpid"),
            (&[("Remote-Party-ID", "<sip:rpid@x>;party=called")], "from"),
            (&[("P-Asserted-Identity", "<urn:x:y>")], "from"),
        ];
        for (fields, expected) in table {
            let caller = caller(&headers(fields)).unwrap();
            assert_eq!(caller.uri.user().unwrap(), expected, "{fields:?}");
        }
        assert_eq!(caller(&Headers::new()), None);
    }

    #[test]
    fn the_first_called_is_the_oldest_diversion() {
        let fields = [
            ("Diversion", "<sip:second@x>;reason=no-answer;counter=1"),
            ("Diversion", "\"First\" <sip:first@x>;reason=user-busy"),
        ];
        let first = first_called(&headers(&fields)).unwrap();
        assert_eq!(first.uri.user().unwrap(), "first");
        assert_eq!(first_called(&headers(&[])), None);
        assert_eq!(first_called(&headers(&[("Diversion", "x y")])), None);
    }

    #[test]
    fn a_peer_says_how_long_to_wait() {
        for (value, seconds) in [
            ("18000;duration=3600", Some(18_000)),
            ("120 (I'm in a meeting)", Some(120)),
            ("120(x)", Some(120)),
            ("99999999999", Some(86_400)),
            ("soon", None),
            ("", None),
        ] {
            let found = retry_after(&headers(&[("Retry-After", value)]));
            assert_eq!(found, seconds.map(Duration::from_secs), "{value}");
        }
    }
}
