//! The little SIP that a caller needs, written by hand: the switch's own would hide its own mistakes.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

/// A received message.
#[derive(Debug)]
pub(crate) struct Message {
    start: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Message {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        Some(Self {
            start,
            headers,
            body: body.to_owned(),
        })
    }

    pub(crate) fn start(&self) -> &str {
        &self.start
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> Option<u16> {
        let rest = self.start.strip_prefix("SIP/2.0 ")?;
        rest.get(..3)?.parse().ok()
    }

    /// The method of a request.
    pub(crate) fn method(&self) -> Option<&str> {
        let word = self.start.split(' ').next()?;
        (!word.starts_with("SIP/")).then_some(word)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The 200 to a request other than ACK.
    pub(crate) fn answer(&self) -> Option<String> {
        if self.method()? == "ACK" {
            return None;
        }
        let mut text = "SIP/2.0 200 OK\r\n".to_owned();
        for (name, value) in &self.headers {
            if ["via", "from", "to", "call-id", "cseq", "record-route"]
                .contains(&name.to_ascii_lowercase().as_str())
            {
                write!(text, "{name}: {value}\r\n").unwrap();
            }
        }
        text.push_str("Content-Length: 0\r\n\r\n");
        Some(text)
    }

    /// Where SDP wants the audio.
    pub(crate) fn media(&self) -> Option<SocketAddr> {
        let line = |start: &str| self.body.lines().find_map(|line| line.strip_prefix(start));
        let ip = line("c=IN IP4 ")?.trim().parse().ok()?;
        let port = line("m=audio ")?.split(' ').next()?.parse().ok()?;
        Some(SocketAddr::new(ip, port))
    }
}

/// One call as its caller sees it.
#[derive(Debug)]
pub(crate) struct Dialog {
    fields: HashMap<&'static str, String>,
    call_id: String,
}

impl Dialog {
    pub(crate) fn new(index: usize, local: SocketAddr, switch: SocketAddr, user: &str) -> Self {
        let call_id = format!("bench-{index}-{}@pbx", local.port());
        let fields = HashMap::from([
            ("local", local.to_string()),
            ("target", format!("sip:{user}@{switch}")),
            ("from", format!("<sip:1000@{local}>;tag=caller-{index}")),
            ("to", format!("<sip:{user}@{switch}>")),
            ("branch", format!("z9hG4bK-bench-{index}")),
        ]);
        Self { fields, call_id }
    }

    pub(crate) fn call_id(&self) -> &str {
        &self.call_id
    }

    pub(crate) fn invite(&self, media: SocketAddr) -> String {
        let (ip, port) = (media.ip(), media.port());
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8 101\r\n\
             a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\na=sendrecv\r\n"
        );
        self.request("INVITE", 1, "1", &sdp)
    }

    /// Takes tag and target of the answer.
    pub(crate) fn established(&mut self, answer: &Message) {
        self.fields
            .insert("to", answer.header("To").unwrap_or_default().to_owned());
        let contact = answer.header("Contact").unwrap_or_default();
        if let Some((_, rest)) = contact.split_once('<')
            && let Some((target, _)) = rest.split_once('>')
        {
            self.fields.insert("target", target.to_owned());
        }
    }

    /// To a 200: a transaction of its own.
    pub(crate) fn ack(&self) -> String {
        self.request("ACK", 1, "ack", "")
    }

    /// To a refusal: part of the INVITE's transaction.
    pub(crate) fn ack_refusal(&mut self, refusal: &Message) -> String {
        self.fields
            .insert("to", refusal.header("To").unwrap_or_default().to_owned());
        self.request("ACK", 1, "1", "")
    }

    /// Gives an INVITE up: the branch is its own (RFC 3261 9.1).
    pub(crate) fn cancel(&self) -> String {
        self.request("CANCEL", 1, "1", "")
    }

    pub(crate) fn bye(&self) -> String {
        self.request("BYE", 2, "bye", "")
    }

    fn request(&self, method: &str, cseq: u32, branch: &str, sdp: &str) -> String {
        let field = |name| self.fields[name].as_str();
        let kind = if sdp.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch={}-{branch};rport\r\nMax-Forwards: 70\r\nFrom: {}\r\n\
             To: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nContact: <sip:1000@{}>\r\n{kind}Content-Length: {}\r\n\r\n{sdp}",
            field("target"),
            field("local"),
            field("branch"),
            field("from"),
            field("to"),
            self.call_id,
            field("local"),
            sdp.len(),
        )
    }
}
