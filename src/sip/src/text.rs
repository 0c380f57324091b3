//! Texts by MESSAGE (RFC 3428), outside any dialog: reading one, and sending one.
//!
//! ```text
//!  Sent --401, 407--> Sent with credentials --2xx--> Done
//!    `------- refused, or nobody answers ------------^
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};

use crate::Hop;
use crate::call::{Account, DialogId};
use crate::digest::{Answerer, Rounds};
use crate::message::{CSeq, HeaderName, Method, NameAddr, Request, Response, Uri, reason_phrase};
use crate::transaction::Failure;

/// The longest text that is taken, in characters: what Telegram takes in one message.
pub const MAX_TEXT: usize = 4096;
/// What is taken.
pub const TEXT_PLAIN: &str = "text/plain";
/// Longer than any transaction: whoever carries our request may have lost it.
const PATIENCE: Duration = Duration::from_secs(40);

/// Why a text is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextFault {
    /// Not `text/plain` in UTF-8, or packed (415).
    #[error("the body is no text/plain in UTF-8")]
    OtherType,
    /// More than [`MAX_TEXT`] characters (413).
    #[error("more than {MAX_TEXT} characters")]
    TooLong,
    /// Octets that are no UTF-8, or nothing that could be read (400).
    #[error("no text in UTF-8")]
    NoText,
}

/// Reads the text of a MESSAGE: plain, in UTF-8 or its part ASCII, with bare line feeds and without other control characters and
/// blanks around it.
pub fn read(request: &Request) -> Result<String, TextFault> {
    let headers = &request.headers;
    let is_plain = headers.content_type().as_deref() == Some(TEXT_PLAIN);
    let is_packed = headers
        .get(&HeaderName::ContentEncoding)
        .is_some_and(|coding| !coding.trim().eq_ignore_ascii_case("identity"));
    let charset = headers.get(&HeaderName::ContentType).and_then(charset);
    let is_known = charset.is_none_or(|charset| {
        let known = ["utf-8", "us-ascii", "ascii"];
        known.iter().any(|name| charset.eq_ignore_ascii_case(name))
    });
    if !is_plain || is_packed || !is_known {
        return Err(TextFault::OtherType);
    }
    let text = std::str::from_utf8(&request.body).map_err(|_| TextFault::NoText)?;
    let shown = |c: &char| *c == '\n' || *c == '\t' || !c.is_control();
    let text: String = text.trim().chars().filter(shown).collect();
    if text.is_empty() {
        return Err(TextFault::NoText);
    }
    if text.chars().count() > MAX_TEXT {
        return Err(TextFault::TooLong);
    }
    Ok(text)
}

fn charset(content_type: &str) -> Option<String> {
    let (_, params) = content_type.split_once(';')?;
    let mut params = params.split(';').filter_map(|param| param.split_once('='));
    let found = params.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    found.map(|(_, value)| value.trim().trim_matches('"').to_owned())
}

/// A text to be sent.
#[derive(Debug, Clone)]
pub struct TextConfig {
    /// The Request-URI.
    pub uri: Uri,
    /// Where to send it.
    pub send_to: Hop,
    /// Who writes; its tag is made here.
    pub from: NameAddr,
    /// To whom.
    pub to: NameAddr,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The account there, for a 401 or 407.
    pub account: Option<Account>,
    /// The value of User-Agent.
    pub agent: Option<String>,
    /// What.
    pub text: String,
}

/// What sending is told.
#[derive(Debug, Clone)]
pub enum TextInput {
    /// A response to the request.
    Response(Response),
    /// The request ended without a response.
    Failed(Failure),
    /// The time of [`TextOutput::Timeout`] has come.
    Timeout,
}

/// What sending wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextOutput {
    /// Send the request in a client transaction.
    Send {
        /// Where to.
        target: Hop,
        /// The request, without Via.
        request: Box<Request>,
    },
    /// It is over; nothing follows.
    Done(TextEnd),
    /// Nothing more to do before this time, or before the next input.
    Timeout(Option<Instant>),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextEnd {
    /// Taken (2xx).
    Taken,
    /// Refused; a challenge that cannot be answered is one too.
    Refused {
        /// 300 to 699.
        status: u16,
        /// Its phrase.
        phrase: String,
    },
    /// Nobody answered.
    TimedOut,
    /// The network does not reach them.
    Unreachable,
}

/// A text on its way.
#[derive(Debug)]
pub struct OutgoingText {
    config: TextConfig,
    answerer: Option<Answerer>,
    rounds: Rounds,
    call_id: String,
    tag: String,
    cseq: u32,
    /// When it is given up; nothing when it is over.
    until: Option<Instant>,
    outputs: VecDeque<TextOutput>,
    rng: SmallRng,
}

impl OutgoingText {
    /// Sends a text; the seed must be unpredictable to strangers.
    pub fn new(now: Instant, config: TextConfig, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut word = || format!("{:016x}", rng.next_u64());
        let (call_id, tag) = (word() + &word(), word());
        let account = config.account.as_ref();
        let answerer =
            account.map(|account| Answerer::new(&account.username, account.password.clone(), None));
        let mut text = Self {
            config,
            answerer,
            rounds: Rounds::default(),
            call_id,
            tag,
            cseq: 0,
            until: Some(now + PATIENCE),
            outputs: VecDeque::new(),
            rng,
        };
        text.send(None);
        text
    }

    /// What responses to its requests are matched by.
    pub fn id(&self) -> DialogId {
        DialogId {
            call_id: self.call_id.clone(),
            local_tag: self.tag.clone(),
        }
    }

    /// Takes one input.
    pub fn handle_input(&mut self, now: Instant, input: TextInput) {
        let Some(until) = self.until else { return };
        match input {
            TextInput::Response(response) if self.is_ours(&response) => self.response(&response),
            TextInput::Failed(Failure::TimedOut) => self.end(TextEnd::TimedOut),
            TextInput::Failed(Failure::Transport | Failure::Overload | Failure::HeldBack) => {
                self.end(TextEnd::Unreachable);
            }
            TextInput::Timeout if until <= now => self.end(TextEnd::TimedOut),
            TextInput::Response(_) | TextInput::Timeout => {}
        }
    }

    /// Returns the next output; [`TextOutput::Timeout`] when there is none left.
    pub fn poll_output(&mut self) -> TextOutput {
        let next = self.outputs.pop_front();
        next.unwrap_or(TextOutput::Timeout(self.until))
    }

    fn response(&mut self, response: &Response) {
        match response.status {
            ..200 => {}
            200..300 => self.end(TextEnd::Taken),
            401 | 407 => {
                let cnonce = format!("{:016x}", self.rng.next_u64());
                let (uri, rounds) = (&self.config.uri, &mut self.rounds);
                let answer = self.answerer.as_mut().and_then(|answerer| {
                    let method = Method::Message;
                    answerer
                        .answer(rounds, response, &method, uri, &cnonce)
                        .ok()
                });
                match answer {
                    Some(credentials) => self.send(Some(credentials)),
                    None => self.refused(response),
                }
            }
            _ => self.refused(response),
        }
    }

    fn refused(&mut self, response: &Response) {
        let status = response.status;
        let phrase = match response.reason.trim() {
            "" => reason_phrase(status),
            phrase => phrase,
        };
        let phrase = phrase.to_owned();
        self.end(TextEnd::Refused { status, phrase });
    }

    fn end(&mut self, end: TextEnd) {
        self.until = None;
        self.outputs.push_back(TextOutput::Done(end));
    }

    /// Whether the response is to our last request.
    fn is_ours(&self, response: &Response) -> bool {
        let cseq = response.headers.cseq();
        cseq.is_some_and(|cseq| cseq.number == self.cseq && cseq.method == Method::Message)
    }

    fn send(&mut self, credentials: Option<(HeaderName, String)>) {
        self.cseq += 1;
        let config = &self.config;
        let mut request = Request::new(Method::Message, config.uri.clone());
        let headers = &mut request.headers;
        headers.push(HeaderName::MaxForwards, 70);
        headers.push(HeaderName::From, config.from.clone().with_tag(&self.tag));
        headers.push(HeaderName::To, &config.to);
        headers.push(HeaderName::CallId, &self.call_id);
        let cseq = CSeq {
            number: self.cseq,
            method: Method::Message,
        };
        headers.push(HeaderName::CSeq, cseq);
        if let Some((name, value)) = credentials {
            headers.push(name, value);
        }
        for (name, value) in &config.headers {
            headers.push(HeaderName::from(name.as_str()), value);
        }
        if let Some(agent) = &config.agent {
            headers.push(HeaderName::UserAgent, agent);
        }
        headers.push(
            HeaderName::ContentType,
            format!("{TEXT_PLAIN};charset=UTF-8"),
        );
        request.body = Bytes::from(config.text.clone());
        self.outputs.push_back(TextOutput::Send {
            target: config.send_to,
            request: Box::new(request),
        });
    }
}

#[cfg(test)]
mod tests {
    use model::Secret;

    use super::*;
    use crate::message::respond;

    fn message(content_type: &str, body: &[u8]) -> Request {
        let uri: Uri = "sip:+15550002@192.0.2.1".parse().unwrap();
        let mut request = Request::new(Method::Message, uri);
        request.headers.push(HeaderName::ContentType, content_type);
        request.body = Bytes::copy_from_slice(body);
        request
    }

    #[test]
    fn plain_text_in_utf_8_is_read_and_nothing_else() {
        let read = |content_type: &str, body: &[u8]| read(&message(content_type, body));
        assert_eq!(read("text/plain", b" Hello\r\n").unwrap(), "Hello");
        let utf8 = "TEXT/Plain ; charset=\"UTF-8\"";
        let text = "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442}\r\n\u{1f44b}\u{7}\0";
        let expected = "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442}\n\u{1f44b}";
        assert_eq!(read(utf8, text.as_bytes()).unwrap(), expected);
        for other in ["message/cpim", "text/html", "text/plain;charset=koi8-r", ""] {
            assert_eq!(read(other, b"Hello"), Err(TextFault::OtherType), "{other}");
        }
        assert_eq!(read("text/plain", b"\xc3\x28"), Err(TextFault::NoText));
        assert_eq!(read("text/plain", b" \r\n\0"), Err(TextFault::NoText));
        let long = "\u{416}".repeat(MAX_TEXT);
        assert!(read("text/plain", long.as_bytes()).is_ok());
        let longer = long + "x";
        let refused = read("text/plain", longer.as_bytes());
        assert_eq!(refused, Err(TextFault::TooLong));
        let mut packed = message("text/plain", b"Hello");
        packed.headers.push(HeaderName::ContentEncoding, "gzip");
        assert_eq!(super::read(&packed), Err(TextFault::OtherType));
    }

    #[allow(clippy::disallowed_methods)] // an arbitrary start of virtual time
    fn text(account: bool) -> (Instant, OutgoingText) {
        let now = Instant::now();
        let address = "192.0.2.1:5060".parse().unwrap();
        let uri: Uri = "sip:600@192.0.2.1".parse().unwrap();
        let config = TextConfig {
            send_to: Hop::udp(address),
            from: NameAddr::new("sip:+15550002@192.0.2.9".parse().unwrap()),
            to: NameAddr::new(uri.clone()),
            uri,
            headers: Vec::new(),
            account: account.then(|| Account {
                username: "1001".into(),
                password: Secret::new("correct-horse-9".into()),
            }),
            agent: None,
            text: "Hello \u{1f44b}".into(),
        };
        (now, OutgoingText::new(now, config, 7))
    }

    fn sent(text: &mut OutgoingText) -> Request {
        match text.poll_output() {
            TextOutput::Send { request, .. } => *request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_text_is_sent_and_its_fate_told_once() {
        let (now, mut text) = text(false);
        let request = sent(&mut text);
        assert_eq!(request.body, "Hello \u{1f44b}".as_bytes());
        assert_eq!(read(&request).unwrap(), "Hello \u{1f44b}");
        assert!(matches!(text.poll_output(), TextOutput::Timeout(Some(_))));
        let taken = respond(&request, 202, "", Some("x"));
        text.handle_input(now, TextInput::Response(taken.clone()));
        assert_eq!(text.poll_output(), TextOutput::Done(TextEnd::Taken));
        text.handle_input(now, TextInput::Response(taken));
        assert_eq!(text.poll_output(), TextOutput::Timeout(None));
    }

    #[test]
    fn a_challenge_is_answered_where_there_is_an_account() {
        for account in [true, false] {
            let (now, mut text) = text(account);
            let request = sent(&mut text);
            let mut challenge = respond(&request, 401, "", Some("x"));
            let value = "Digest realm=\"pbx\", nonce=\"n\", algorithm=MD5, qop=\"auth\"";
            challenge.headers.push(HeaderName::WwwAuthenticate, value);
            text.handle_input(now, TextInput::Response(challenge.clone()));
            if account {
                let again = sent(&mut text);
                assert!(again.headers.has(&HeaderName::Authorization));
                assert_eq!(again.headers.cseq().unwrap().number, 2);
                // An answer to the first is none to the second.
                text.handle_input(now, TextInput::Response(challenge));
                assert!(matches!(text.poll_output(), TextOutput::Timeout(Some(_))));
            } else {
                let end = TextOutput::Done(TextEnd::Refused {
                    status: 401,
                    phrase: "Unauthorized".into(),
                });
                assert_eq!(text.poll_output(), end);
            }
        }
    }

    #[test]
    fn silence_ends_by_itself() {
        let (now, mut text) = text(false);
        let _request = sent(&mut text);
        text.handle_input(now + PATIENCE / 2, TextInput::Timeout);
        assert!(matches!(text.poll_output(), TextOutput::Timeout(Some(_))));
        text.handle_input(now + PATIENCE, TextInput::Timeout);
        assert_eq!(text.poll_output(), TextOutput::Done(TextEnd::TimedOut));
        let (now, mut text) = self::text(false);
        let _request = sent(&mut text);
        text.handle_input(now, TextInput::Failed(Failure::Transport));
        assert_eq!(text.poll_output(), TextOutput::Done(TextEnd::Unreachable));
    }
}
