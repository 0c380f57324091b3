//! New calls that are refused before anything is made for them (RFC 3261 21.5.4, SEC-D6): read, answered once, forgotten.

use bytes::Bytes;

use crate::message::{HeaderName, Message, Method, Request, Response};
use crate::parse::{Limits, Parsed, parse_with};
use crate::{Hop, MAGIC_COOKIE};

/// The request, where these octets are an INVITE that begins a call: one without a To tag (RFC 3261 12.2.2). Everything else, what
/// cannot be read included, is `None`: others see to it.
pub fn new_call(octets: &[u8], limits: &Limits) -> Option<Request> {
    // To read every message twice would cost what shedding saves.
    if !octets.starts_with(b"INVITE ") {
        return None;
    }
    match parse_with(octets, limits) {
        Parsed::Message(Message::Request(request)) => is_new_call(&request).then_some(request),
        Parsed::Message(Message::Response(_))
        | Parsed::Reject { .. }
        | Parsed::Drop(_)
        | Parsed::KeepAlive => None,
    }
}

/// Whether a request begins a call.
pub fn is_new_call(request: &Request) -> bool {
    request.method == Method::Invite && request.headers.to().is_some_and(|to| to.tag().is_none())
}

/// What a request and its repetitions have in common, and no other request: branch, Call-ID and the number of CSeq
/// (RFC 3261 17.2.3; the latter two for a peer of RFC 2543).
pub fn identity(request: &Request) -> (String, String, u32) {
    let headers = &request.headers;
    let branch = headers.via().and_then(|via| {
        let branch = via.branch()?;
        branch.starts_with(MAGIC_COOKIE).then(|| branch.to_owned())
    });
    (
        branch.unwrap_or_default(),
        headers.call_id().unwrap_or_default().to_owned(),
        headers.cseq().map_or(0, |cseq| cseq.number),
    )
}

/// The octets of a response without a transaction: its Via says where the request came from (RFC 3261 18.2.1, RFC 3581 4), and there it
/// goes.
pub fn encode(mut response: Response, source: Hop) -> Bytes {
    if let Some(mut via) = response.headers.via() {
        via.stamp(source.address);
        response.headers.set_first(HeaderName::Via, via);
    }
    response.encode()
}

/// Whether these octets are the ACK to a response with a To tag that begins like this. Only for tags that nobody else could have: the
/// ACK is not read, only searched.
pub fn is_ack_to(octets: &[u8], tag: &str) -> bool {
    const PARAM: &[u8] = b";tag=";
    if !octets.starts_with(b"ACK ") {
        return false;
    }
    let wanted = PARAM.len() + tag.len();
    octets.windows(wanted).any(|window| {
        window
            .strip_prefix(PARAM)
            .is_some_and(|found| found == tag.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use model::Transport;

    use super::*;
    use crate::message::respond;

    const INVITE: &str = "INVITE sip:600@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;rport;branch=z9hG4bKa\r\n\
        Via: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bKb\r\nMax-Forwards: 70\r\nFrom: <sip:1@192.0.2.7>;tag=1\r\n\
        To: <sip:600@192.0.2.1>\r\nCall-ID: c@x\r\nCSeq: 7 INVITE\r\nContact: <sip:1@192.0.2.7>\r\nContent-Length: 0\r\n\r\n";

    #[test]
    fn only_what_begins_a_call_is_taken() {
        let limits = Limits::default();
        let read = |text: &str| new_call(text.as_bytes(), &limits);
        assert!(read(INVITE).is_some());
        let inside = INVITE.replace("To: <sip:600@192.0.2.1>", "To: <sip:600@192.0.2.1>;tag=2");
        assert!(read(&inside).is_none(), "it is of a call that is up");
        for method in ["BYE", "CANCEL", "ACK", "REGISTER", "OPTIONS"] {
            assert!(
                read(&INVITE.replace("INVITE", method)).is_none(),
                "{method}"
            );
        }
        assert!(read(&INVITE.replace("Call-ID: c@x\r\n", "")).is_none());
        assert!(read("SIP/2.0 200 OK\r\n\r\n").is_none());
    }

    #[test]
    fn a_repetition_is_the_same_and_the_answer_to_a_challenge_another() {
        let read = |text: &str| identity(&new_call(text.as_bytes(), &Limits::default()).unwrap());
        assert_eq!(read(INVITE), read(INVITE));
        let again = INVITE.replace("7 INVITE", "8 INVITE").replace("bKa", "bKc");
        assert_ne!(read(INVITE), read(&again));
        let old = INVITE.replace("z9hG4bKa", "1");
        assert_eq!(read(&old).0, "", "a branch of RFC 2543 says nothing");
    }

    #[test]
    fn the_answer_goes_back_through_every_proxy_and_its_ack_is_known() {
        let request = new_call(INVITE.as_bytes(), &Limits::default()).unwrap();
        let source = Hop::new(Transport::Udp, "203.0.113.9:4444".parse().unwrap());
        let response = encode(respond(&request, 503, "", Some("sabc123")), source);
        let text = String::from_utf8(response.to_vec()).unwrap();
        assert!(
            text.contains("received=203.0.113.9") && text.contains("rport=4444"),
            "{text}"
        );
        assert!(text.contains("branch=z9hG4bKb") && text.contains("CSeq: 7 INVITE"));
        assert!(text.contains(";tag=sabc123\r\n"));
        let ack = INVITE.replace("INVITE", "ACK").replace(
            "To: <sip:600@192.0.2.1>",
            "To: <sip:600@192.0.2.1>;tag=sabc123",
        );
        assert!(is_ack_to(ack.as_bytes(), "sabc"));
        assert!(!is_ack_to(ack.as_bytes(), "sabd"));
        assert!(!is_ack_to(INVITE.as_bytes(), "1"), "no ACK");
    }
}
