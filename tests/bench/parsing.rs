//! What reading one INVITE costs, beside rsip on the same text.

use std::hint::black_box;
use std::time::Instant;

use rsip::headers::ToTypedHeader as _;
use rsip::prelude::HeadersExt as _;
use serde_json::{Map, Value};

use crate::report::{quantile, rounded};

/// Messages read between two looks at the clock, and how many such rounds the median is of.
const ROUND: usize = 200;
const ROUNDS: usize = 501;

/// An INVITE as an Asterisk writes it.
const INVITE: &str = "INVITE sip:+79261234567@192.0.2.10:5060 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 198.51.100.7:5060;rport;branch=z9hG4bKPjb1c1a51c-8a44-4a14-9f1f-0f0a3b6e7d10\r\n\
    From: \"Ann Example\" <sip:600@198.51.100.7>;tag=5f2c7d1e-3b8a-4c49-8d1c-6f3f8f1f2b77\r\n\
    To: <sip:+79261234567@192.0.2.10>\r\n\
    Contact: <sip:asterisk@198.51.100.7:5060>\r\n\
    Call-ID: 7c4a1f0e-5c0e-4a0f-b6ef-2b5a55f5d3c1\r\n\
    CSeq: 21184 INVITE\r\n\
    Allow: OPTIONS, REGISTER, SUBSCRIBE, NOTIFY, PUBLISH, INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, MESSAGE, INFO, REFER\r\n\
    Supported: 100rel, timer, replaces, norefersub, histinfo\r\n\
    Session-Expires: 1800\r\n\
    Min-SE: 90\r\n\
    P-Asserted-Identity: \"Ann Example\" <sip:600@198.51.100.7>\r\n\
    Max-Forwards: 70\r\n\
    User-Agent: Asterisk PBX 20.6.0\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 233\r\n\r\n\
    v=0\r\no=- 1037418262 1037418262 IN IP4 198.51.100.7\r\ns=Asterisk\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n\
    m=audio 12034 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-16\r\na=ptime:20\r\n";

/// Microseconds a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parsing {
    /// Framed, checked, kept; then Via, From, To, CSeq, Contact and the Request-URI as types.
    ours: f64,
    /// The same read by rsip, which checks nothing.
    rsip: f64,
}

/// Measures both in turns, so that whatever else the machine does is in both.
pub(crate) fn measure() -> Parsing {
    let bytes = INVITE.as_bytes();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(round(|| read(bytes)));
        theirs.push(round(|| read_by_rsip(bytes)));
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        quantile(&values, 0.5)
    };
    Parsing {
        ours: median(ours),
        rsip: median(theirs),
    }
}

fn round(mut work: impl FnMut()) -> f64 {
    let began = Instant::now();
    for _ in 0..ROUND {
        work();
    }
    began.elapsed().as_secs_f64() * 1e6 / ROUND as f64
}

fn read(bytes: &[u8]) {
    let sip::Parsed::Message(sip::Message::Request(request)) = sip::parse(black_box(bytes)) else {
        panic!("it is an INVITE");
    };
    let headers = &request.headers;
    let via = headers.via().expect("Via");
    let (from, to) = (headers.from().expect("From"), headers.to().expect("To"));
    let (cseq, contacts) = (headers.cseq().expect("CSeq"), headers.contacts());
    black_box((via.branch(), from.tag(), to.uri.user(), cseq.number));
    black_box((contacts.len(), request.uri.user()));
}

fn read_by_rsip(bytes: &[u8]) {
    let message = rsip::SipMessage::try_from(black_box(bytes)).expect("rsip reads it");
    let rsip::SipMessage::Request(request) = &message else {
        panic!("it is an INVITE");
    };
    let via = request.via_header().expect("Via").typed().expect("Via");
    let from = request.from_header().expect("From").typed().expect("From");
    let to = request.to_header().expect("To").typed().expect("To");
    let cseq = request.cseq_header().expect("CSeq").typed().expect("CSeq");
    let contact = request.contact_header().expect("Contact");
    let contact = contact.typed().expect("Contact");
    black_box((
        via.branch().is_some(),
        from.tag().is_some(),
        to.uri.auth.is_some(),
        cseq.seq,
    ));
    black_box((contact.uri.auth.is_some(), request.uri.auth.is_some()));
}

impl Parsing {
    pub(crate) fn print(self) {
        println!(
            "\nOne INVITE of {} octets read, with its Via, From, To, CSeq, Contact and Request-URI",
            INVITE.len()
        );
        println!(
            "  ours                   {:.2} us (median of {ROUNDS} rounds of {ROUND})",
            self.ours
        );
        println!(
            "  rsip                   {:.2} us: ours needs {:.2} x that",
            self.rsip,
            self.ours / self.rsip
        );
    }

    pub(crate) fn figures(self, all: &mut Map<String, Value>) {
        all.insert("parse.invite_us".into(), rounded(self.ours, 2));
        all.insert("parse.rsip_invite_us".into(), rounded(self.rsip, 2));
    }
}
