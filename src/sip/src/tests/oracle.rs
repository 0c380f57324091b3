//! What we write is read the same by another implementation (rsip), as far as that one can read it.

use rsip::prelude::*;

use super::torture::corpus;
use crate::{Message, Parsed, parse};

/// Returns whether rsip 0.4 knows everything in the message: it has no IPv6 and no other schemes.
fn is_within_its_reach(text: &str) -> bool {
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    !["[", "isbn:", "name:", "tel:"]
        .iter()
        .any(|word| head.contains(word))
        && head.is_ascii()
}

#[test]
fn another_parser_reads_what_we_write() {
    let (mut read, mut beyond) = (0, Vec::new());
    for case in corpus()
        .into_iter()
        .filter(|case| !case.file.starts_with("protos"))
    {
        let Parsed::Message(message) = parse(&case.bytes) else {
            continue;
        };
        let bytes = message.encode();
        if !is_within_its_reach(&String::from_utf8_lossy(&bytes)) {
            continue;
        }
        let Ok(theirs) = rsip::SipMessage::try_from(bytes.to_vec()) else {
            beyond.push(case.file);
            continue;
        };
        let (Ok(from), Ok(via)) = (
            theirs.from_header().unwrap().typed(),
            theirs.via_header().unwrap().typed(),
        ) else {
            beyond.push(case.file);
            continue;
        };
        let headers = message.headers();
        let cseq = headers.cseq().unwrap();
        assert_eq!(
            theirs.cseq_header().unwrap().seq().ok(),
            Some(cseq.number),
            "{}",
            case.file
        );
        assert_eq!(
            from.tag().map(ToString::to_string).as_deref(),
            headers.from().unwrap().tag(),
            "{}",
            case.file
        );
        assert_eq!(
            via.branch().map(ToString::to_string).as_deref(),
            headers.via().unwrap().branch(),
            "{}",
            case.file
        );
        assert_eq!(
            theirs.call_id_header().unwrap().value(),
            headers.call_id().unwrap()
        );
        let body = match &message {
            Message::Request(request) => &request.body,
            Message::Response(response) => &response.body,
        };
        assert_eq!(theirs.body(), &body[..]);
        read += 1;
    }
    assert!(
        read > 35 && beyond.len() < 5,
        "{read} read, beyond its reach: {beyond:?}"
    );
}
