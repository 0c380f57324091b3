//! Posts over HTTP/1.1 (RFC 9112) to somebody else's server: what is sent is small, what comes back is not trusted.
//!
//! Blocks its thread, for as long as [`PATIENCE`] at most. No redirect is followed, no proxy used, no cookie kept.

use std::fmt;
use std::io::{ErrorKind, Read as _};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Error};

/// How long one post may take: the name, the connection, TLS, the request, and the head of the answer.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How much is read of the body of an answer, octets; a connection with more of it is closed.
const LONGEST_ANSWER: u64 = 4096;
/// How much the head of an answer may have, octets.
const LONGEST_HEAD: usize = 16 * 1024;
/// How many octets of the answer are told.
const TOLD: usize = 256;
/// How many connections wait for the next post, of all servers and of one.
const IDLE: usize = 32;
const IDLE_OF_ONE: usize = 4;

/// What came of a post.
#[derive(Debug)]
pub struct Posted {
    /// The status of the answer, or why there is none.
    pub status: Result<u16, PostError>,
    /// How long that took.
    pub took: Duration,
    /// The beginning of the answer's body: 256 printable characters at most.
    pub said: String,
}

impl Posted {
    /// Whether the answer is of the class 2xx.
    pub fn is_good(&self) -> bool {
        matches!(self.status, Ok(200..=299))
    }
}

/// Why a post has no answer. Says nothing of the URL, which may have a secret in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// No connection, or no answer.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Timeout,
    /// The name of the server is not known.
    #[error("there is no such host")]
    NoHost,
    /// The connection is refused, cut, or cannot be made.
    #[error("{0}")]
    Connection(ErrorKind),
    /// The certificate is not trusted, or TLS is not spoken.
    #[error("TLS failed: {0}")]
    Tls(TlsFault),
    /// The answer is not HTTP, or has too long a head.
    #[error("the answer is not HTTP")]
    Protocol,
    /// Such a request cannot be made.
    #[error("this cannot be posted")]
    Request,
}

/// What is wrong with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// The certificate.
    Certificate,
    /// Something else.
    Other,
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsFault::Certificate => "the certificate is not trusted",
            TlsFault::Other => "no common language",
        })
    }
}

/// Posts, and keeps connections for the next time.
pub struct Poster {
    plain: Agent,
    /// Made when it is needed first: the roots of the system are read then.
    tls: OnceLock<Agent>,
    user_agent: String,
}

impl Poster {
    /// A poster that calls itself so.
    pub fn new(user_agent: &str) -> Self {
        Self {
            plain: agent(user_agent, Vec::new()),
            tls: OnceLock::new(),
            user_agent: user_agent.to_owned(),
        }
    }

    /// Posts JSON with these headers. Blocks.
    pub fn post(&self, url: &str, headers: &[(&str, &str)], json: &str) -> Posted {
        let begun = Instant::now();
        let agent = if url.starts_with("https:") {
            self.tls
                .get_or_init(|| agent(&self.user_agent, system_roots()))
        } else {
            &self.plain
        };
        let mut request = agent.post(url).header("Content-Type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match request.send(json) {
            Ok(mut answer) => {
                let took = begun.elapsed();
                let mut body = Vec::new();
                // The head has said it all; what becomes of the body changes nothing.
                let mut reader = answer.body_mut().as_reader().take(LONGEST_ANSWER);
                let _ = reader.read_to_end(&mut body);
                Posted {
                    status: Ok(answer.status().as_u16()),
                    took,
                    said: printable(&body),
                }
            }
            Err(error) => Posted {
                status: Err(error.into()),
                took: begun.elapsed(),
                said: String::new(),
            },
        }
    }
}

fn agent(user_agent: &str, roots: Vec<Certificate<'static>>) -> Agent {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .max_response_header_size(LONGEST_HEAD)
        .max_idle_connections(IDLE)
        .max_idle_connections_per_host(IDLE_OF_ONE)
        .user_agent(user_agent)
        .build()
        .new_agent()
}

/// The roots of the system, or of `SSL_CERT_FILE`; some may be of no use.
fn system_roots() -> Vec<Certificate<'static>> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        tracing::warn!(errors = ?found.errors, "no root certificates: nothing can be posted over https; install ca-certificates");
    }
    let certs = found.certs.iter();
    certs
        .map(|cert| Certificate::from_der(cert).to_owned())
        .collect()
}

/// What a stranger has said, so that it can be shown.
fn printable(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let shown = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(TOLD);
    shown.collect::<String>().trim().to_owned()
}

impl From<Error> for PostError {
    fn from(error: Error) -> Self {
        match error {
            Error::Timeout(_) => Self::Timeout,
            Error::HostNotFound => Self::NoHost,
            Error::Io(error) if error.kind() == ErrorKind::TimedOut => Self::Timeout,
            Error::Io(error) => match error.get_ref().and_then(|it| it.downcast_ref()) {
                Some(tls) => Self::Tls(fault(tls)),
                None => Self::Connection(error.kind()),
            },
            Error::ConnectionFailed => Self::Connection(ErrorKind::NotConnected),
            Error::Rustls(error) => Self::Tls(fault(&error)),
            Error::Tls(_) => Self::Tls(TlsFault::Other),
            Error::Protocol(_) | Error::LargeResponseHeader(..) => Self::Protocol,
            // New kinds may come; so far the others are about requests.
            _ => Self::Request,
        }
    }
}

fn fault(error: &rustls::Error) -> TlsFault {
    if matches!(error, rustls::Error::InvalidCertificate(_)) {
        TlsFault::Certificate
    } else {
        TlsFault::Other
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// What a request says: its first line, its headers, its body.
    struct Heard {
        head: Vec<String>,
        body: String,
    }

    fn hear(stream: &TcpStream) -> Option<Heard> {
        let mut reader = BufReader::new(stream);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        let length = head
            .iter()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            })
            .unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        Some(Heard { head, body })
    }

    /// A server that answers each request so; says how many connections there were, and what it heard.
    fn server(answer: Vec<u8>) -> (String, mpsc::Receiver<(usize, Heard)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook?key=1", listener.local_addr().unwrap());
        let (said, heard) = mpsc::channel();
        thread::spawn(move || {
            for (count, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                while let Some(request) = hear(&stream) {
                    if said.send((count, request)).is_err() {
                        return;
                    }
                    // Whoever has heard enough has left.
                    let _ = stream.write_all(&answer);
                }
            }
        });
        (url, heard)
    }

    fn answer(status: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
    }

    #[test]
    fn a_post_has_its_headers_and_body_and_the_next_one_the_same_connection() {
        let (url, heard) = server(answer("200 OK", "fi\u{7}ne"));
        let poster = Poster::new("strowger/0");
        for _ in 0..2 {
            let posted = poster.post(&url, &[("X-One", "1")], "{\"a\":1}");
            assert!(posted.is_good(), "{posted:?}");
            assert_eq!(posted.said, "fi ne");
            let (connection, request) = heard.recv().unwrap();
            assert_eq!(connection, 0);
            assert_eq!(request.body, "{\"a\":1}");
            assert_eq!(request.head[0], "POST /hook?key=1 HTTP/1.1");
            for line in [
                "x-one: 1",
                "content-type: application/json",
                "user-agent: strowger/0",
            ] {
                let lower = |it: &String| it.to_ascii_lowercase() == line;
                assert!(request.head.iter().any(lower), "{:?}", request.head);
            }
        }
    }

    #[test]
    fn an_address_of_ipv6_stands_in_brackets() {
        let Ok(listener) = TcpListener::bind("[::1]:0") else {
            return; // a machine without IPv6
        };
        let url = format!("http://{}/", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let heard = hear(&stream).unwrap();
            let host = |line: &String| line.to_ascii_lowercase().starts_with("host: [::1]:");
            let status = if heard.head.iter().any(host) {
                200
            } else {
                400
            };
            stream
                .write_all(&answer(&format!("{status} x"), ""))
                .unwrap();
        });
        let posted = Poster::new("x").post(&url, &[], "{}");
        assert_eq!(posted.status, Ok(200));
    }

    #[test]
    fn a_redirect_is_an_answer_and_not_followed() {
        let (elsewhere, other) = server(answer("200 OK", ""));
        let moved =
            format!("HTTP/1.1 307 Moved\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n");
        let (url, heard) = server(moved.into_bytes());
        let posted = Poster::new("x").post(&url, &[], "{}");
        assert_eq!(posted.status, Ok(307));
        assert!(!posted.is_good());
        assert!(heard.recv().is_ok() && other.try_recv().is_err());
    }

    #[test]
    fn of_a_long_answer_only_the_beginning_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let wrote = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            hear(&stream).unwrap();
            let patience = Some(Duration::from_secs(10));
            stream.set_write_timeout(patience).unwrap();
            // More than the buffers of both ends hold.
            stream.write_all(&answer("500 No", &"x".repeat(64 << 20)))
        });
        let poster = Poster::new("x");
        let posted = poster.post(&url, &[], "{}");
        assert_eq!((posted.status, posted.said.len()), (Ok(500), TOLD));
        let why = wrote.join().unwrap().unwrap_err().kind();
        let is_closed = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&why);
        assert!(is_closed, "it is not read to its end: {why}");
        drop(poster);
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        head.extend(format!("X-Long: {}\r\n", "x".repeat(40_000)).into_bytes());
        head.extend(b"Content-Length: 0\r\n\r\n");
        let (url, _heard) = server(head);
        let posted = Poster::new("x").post(&url, &[], "{}");
        assert_eq!(posted.status, Err(PostError::Protocol));
    }

    #[test]
    fn why_there_is_no_answer_is_told_without_the_url() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let poster = Poster::new("x");
        let posted = poster.post(&format!("http://{address}/secret"), &[], "{}");
        let error = posted.status.unwrap_err();
        assert_eq!(error, PostError::Connection(ErrorKind::ConnectionRefused));
        assert_eq!(error.to_string(), "connection refused");
        let (url, _heard) = server(b"SSH-2.0-x\r\n\r\n".to_vec());
        assert_eq!(
            poster.post(&url, &[], "{}").status,
            Err(PostError::Protocol)
        );
        let tls = url.replace("http:", "https:");
        let posted = poster.post(&tls, &[], "{}");
        assert!(posted.status.is_err(), "{posted:?}");
    }
}
