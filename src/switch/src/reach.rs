//! How a command reaches the switch that runs: over the control socket in the folder of its data, or over HTTP with a token.
//!
//! Both speak `/api/v1`. Over the socket whoever may write to it may command; everywhere else a token says what may be asked. Without TLS a token goes to
//! a loopback address alone, where the other end of an SSH tunnel may be.

mod stream;

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use actix_web::http::Uri;
use model::Secret;
use ureq::Agent;
use ureq::http::Request;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use self::stream::Stream;
use crate::control::SOCKET;
use crate::failure::Failure;
use crate::print;

/// How long a command waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How long it waits for a change: ten thousand trunks at once take their time.
const LONG_PATIENCE: Duration = Duration::from_secs(60);
/// How long it waits until a host far away takes its connection.
const FAR: Duration = Duration::from_secs(10);
/// How long a stream of events may be silent, which says every 15 s that it is there.
const SILENCE: Duration = Duration::from_secs(45);
/// The longest answer that is read: 65,536 bans are some 5 MB, 10,000 trunks some 9 MB.
const LONGEST: u64 = 64 << 20;
/// The longest token that is read, octets.
const LONGEST_TOKEN: u64 = 4096;
/// Lines of a stream that wait to be printed.
const AHEAD: usize = 64;

/// Status and body.
pub(crate) type Answer = (u16, String);

/// Where the switch is.
#[derive(Debug, Clone)]
pub(crate) enum Reach {
    /// On this host.
    Socket {
        /// Its control socket.
        path: PathBuf,
        /// Whether somebody named it: then a switch must be there.
        is_named: bool,
    },
    /// Anywhere.
    Api(Api),
}

impl Reach {
    /// The socket in the folder of the data.
    pub(crate) fn of_data(data: &Path) -> Self {
        Self::Socket {
            path: data.join(SOCKET),
            is_named: false,
        }
    }

    /// Whether a switch is there, as far as that is known without asking it.
    pub(crate) fn is_there(&self) -> Result<bool, Failure> {
        match self {
            Reach::Socket { path, is_named } => match (connect(path), is_named) {
                (Ok(_), _) => Ok(true),
                (Err(error), false) if is_absent(&error) => Ok(false),
                (Err(error), true) if is_absent(&error) => Err(self.nobody()),
                (Err(error), _) => Err(failed(path, error)),
            },
            Reach::Api(_) => Ok(true),
        }
    }

    /// That no switch is there.
    pub(crate) fn nobody(&self) -> Failure {
        match self {
            Reach::Socket { path, is_named } => {
                let folder = path.parent().filter(|_| !is_named);
                Failure::NoSwitch(folder.unwrap_or(path).to_owned())
            }
            Reach::Api(api) => api.unreachable("it is gone"),
        }
    }

    /// Asks the switch; none when none is there, where that is not a failure.
    pub(crate) fn ask(
        &self,
        method: &str,
        target: &str,
        body: &str,
    ) -> Result<Option<Answer>, Failure> {
        let is_long = method == "POST";
        let patience = if is_long { LONG_PATIENCE } else { PATIENCE };
        self.ask_within(patience, method, target, body)
    }

    /// The same for what may take as long as this.
    pub(crate) fn ask_within(
        &self,
        patience: Duration,
        method: &str,
        target: &str,
        body: &str,
    ) -> Result<Option<Answer>, Failure> {
        let begun = Instant::now();
        let answer = match self {
            Reach::Socket { path, .. } => match over_socket(path, patience, method, target, body) {
                Ok(answer) => Ok(Some(answer)),
                Err(error) if is_absent(&error) => self.is_there().map(|_| None),
                Err(error) => Err(failed(path, error)),
            },
            Reach::Api(api) => api.ask(patience, method, target, body).map(Some),
        };
        let (took, at) = (begun.elapsed(), self.name());
        match &answer {
            Ok(Some((status, body))) => print::detail(format_args!(
                "{method} {at}{target}: {status}, {} octets, {took:.1?}",
                body.len()
            )),
            Ok(None) => print::detail(format_args!("{method} {at}{target}: no switch runs")),
            Err(failure) => print::detail(format_args!("{method} {at}{target}: {failure}")),
        }
        answer
    }

    /// Listens to `target`, and hands over each line of the answer until there is none left. Status, or none when no switch runs.
    pub(crate) fn listen(
        &self,
        target: &str,
        told: impl FnMut(&str),
    ) -> Result<Option<u16>, Failure> {
        match self {
            Reach::Socket { path, .. } => match listen_to_socket(path, target, told) {
                Ok(status) => Ok(Some(status)),
                Err(error) if is_absent(&error) => self.is_there().map(|_| None),
                Err(error) => Err(failed(path, error)),
            },
            Reach::Api(api) => api.listen(target, told).map(Some),
        }
    }

    fn name(&self) -> String {
        match self {
            Reach::Socket { path, .. } => path.display().to_string() + " ",
            Reach::Api(api) => api.base.clone(),
        }
    }
}

// ---------------------------------------------------------------- the socket

/// A socket by the name of an open folder, which is short however deep the folder lies: the system takes no more than 107 octets (unix(7)).
pub(crate) fn inside(folder: &File, name: &Path) -> PathBuf {
    Path::new("/proc/self/fd")
        .join(folder.as_raw_fd().to_string())
        .join(name)
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    let name = path.file_name().ok_or(ErrorKind::NotFound)?;
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = File::open(folder.unwrap_or(Path::new(".")))?;
    UnixStream::connect(inside(&folder, Path::new(name)))
}

/// Whether this means that no switch runs.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory
    )
}

/// A switch that hangs, or what is none, is not there; everything else is a matter of the file.
fn failed(path: &Path, source: io::Error) -> Failure {
    let why = match source.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "it says nothing in time".to_owned(),
        ErrorKind::InvalidData => source.to_string(),
        ErrorKind::BrokenPipe
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::UnexpectedEof => "it closes the connection".to_owned(),
        _ => {
            return Failure::File {
                path: path.to_owned(),
                source,
            };
        }
    };
    Failure::Unreachable {
        url: path.display().to_string(),
        why,
    }
}

fn strange() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the switch answers something else")
}

fn over_socket(
    path: &Path,
    patience: Duration,
    method: &str,
    target: &str,
    body: &str,
) -> io::Result<Answer> {
    let mut stream = connect(path)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let json = if body.starts_with(['{', '[']) {
        "Content-Type: application/json\r\n"
    } else {
        ""
    };
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: strowger\r\nConnection: close\r\n{json}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut text = String::new();
    stream.take(LONGEST).read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(strange)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.ok_or_else(strange)?, body.to_owned()))
}

fn listen_to_socket(path: &Path, target: &str, mut told: impl FnMut(&str)) -> io::Result<u16> {
    let mut stream = connect(path)?;
    stream.set_read_timeout(Some(SILENCE))?;
    // Of HTTP/1.0 the end of the connection is the end of the answer, and nothing stands between its lines.
    write!(stream, "GET {target} HTTP/1.0\r\nHost: strowger\r\n\r\n")?;
    let mut lines = stream::lines(BufReader::new(stream));
    let first = lines.next().ok_or_else(strange)??;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(strange)?;
    let mut content_type = String::new();
    for line in lines.by_ref() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("Content-Type") => {
                value.trim().clone_into(&mut content_type);
            }
            Some(_) | None => {}
        }
    }
    let mut answer = Stream::new(status, &content_type);
    for line in lines {
        if !answer.take(&line?, &mut told) {
            break;
        }
    }
    answer
        .end(told)
        .map_err(|what| io::Error::new(ErrorKind::InvalidData, what))
}

// ---------------------------------------------------------------- HTTP

/// A switch behind an address, and the token that it is asked with.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    base: String,
    token: Secret<String>,
    agent: Agent,
}

impl Api {
    /// Checks the address and reads the token; connects to nobody yet.
    pub(crate) fn new(url: &str, token_file: Option<&Path>) -> Result<Self, Failure> {
        let base = base(url)?;
        let Some(token_file) = token_file else {
            return Err(Failure::Usage(
                "--api needs --token-file, a file with a token of `strowger token create NAME`",
            ));
        };
        let token = token(token_file)?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Whoever sends it elsewhere would be sent the token.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(FAR))
            .timeout_send_request(Some(LONG_PATIENCE))
            .timeout_send_body(Some(LONG_PATIENCE))
            .user_agent(concat!("strowger/", env!("CARGO_PKG_VERSION")));
        let agent = if base.starts_with("https") {
            let found = rustls_native_certs::load_native_certs();
            let roots = found.certs.iter();
            let roots: Vec<Certificate<'static>> = roots
                .map(|root| Certificate::from_der(root).to_owned())
                .collect();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let tls = TlsConfig::builder()
                .unversioned_rustls_crypto_provider(provider)
                .root_certs(RootCerts::Specific(Arc::new(roots)))
                .build();
            config.tls_config(tls).build()
        } else {
            // The other end of this is here.
            config.proxy(None).build()
        };
        Ok(Self {
            base,
            token,
            agent: agent.into(),
        })
    }

    fn ask(
        &self,
        patience: Duration,
        method: &str,
        target: &str,
        body: &str,
    ) -> Result<Answer, Failure> {
        let request = Request::builder().method(method);
        let request = self.request(request, target);
        let request = if body.starts_with(['{', '[']) {
            request.header("Content-Type", "application/json")
        } else {
            request
        };
        // Also one without a body says so where others have one.
        let response = if body.is_empty() && matches!(method, "GET" | "DELETE") {
            let request = request.body(()).map_err(|error| self.strange(&error))?;
            let asked = self.agent.configure_request(request);
            let asked = asked
                .timeout_recv_response(Some(patience))
                .timeout_recv_body(Some(LONG_PATIENCE));
            self.agent.run(asked.build())
        } else {
            let request = request
                .body(body.to_owned())
                .map_err(|error| self.strange(&error))?;
            let asked = self.agent.configure_request(request);
            let asked = asked
                .timeout_recv_response(Some(patience))
                .timeout_recv_body(Some(LONG_PATIENCE));
            self.agent.run(asked.build())
        };
        let mut response = response.map_err(|error| self.failed(&error))?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(LONGEST);
        let body = body.read_to_string().map_err(|error| self.failed(&error))?;
        if is_of_somebody_else(status, &body) {
            return Err(self.unreachable(&format!("it answers {status}, as no switch does")));
        }
        Ok((status, body))
    }

    fn listen(&self, target: &str, mut told: impl FnMut(&str)) -> Result<u16, Failure> {
        let request = self.request(Request::builder().method("GET"), target);
        let request = request.body(()).map_err(|error| self.strange(&error))?;
        let asked = self.agent.configure_request(request);
        let asked = asked.timeout_recv_response(Some(PATIENCE)).build();
        let response = self.agent.run(asked).map_err(|error| self.failed(&error))?;
        let content_type = response.headers().get("Content-Type");
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let status = response.status().as_u16();
        let mut answer = Stream::new(status, content_type.unwrap_or_default());
        let (lines, read) = mpsc::sync_channel(AHEAD);
        // Reading knows no end of its patience, waiting for what was read does.
        thread::spawn(move || {
            let reader = BufReader::new(response.into_body().into_reader());
            for line in stream::lines(reader) {
                let is_over = line.is_err();
                if lines.send(line).is_err() || is_over {
                    break;
                }
            }
        });
        loop {
            match read.recv_timeout(SILENCE) {
                Ok(Ok(line)) if answer.take(&line, &mut told) => {}
                Ok(Ok(_)) => break,
                Ok(Err(error)) => return Err(self.unreachable(&error.to_string())),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(self.unreachable("it has fallen silent"));
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        answer.end(told).map_err(|what| self.unreachable(&what))
    }

    fn request(
        &self,
        request: ureq::http::request::Builder,
        target: &str,
    ) -> ureq::http::request::Builder {
        let token = format!("Bearer {}", self.token.expose());
        request
            .uri(format!("{}{target}", self.base))
            .header("Authorization", token)
    }

    fn unreachable(&self, why: &str) -> Failure {
        Failure::Unreachable {
            url: self.base.clone(),
            why: why.to_owned(),
        }
    }

    fn strange(&self, error: &ureq::http::Error) -> Failure {
        self.unreachable(&error.to_string())
    }

    /// What became of the connection, in words, and whether TLS is to blame.
    fn failed(&self, error: &ureq::Error) -> Failure {
        let tls = match error {
            ureq::Error::Rustls(error) => Some(error.to_string()),
            ureq::Error::Tls(what) => Some((*what).to_owned()),
            ureq::Error::Io(error) => {
                let inner = error.get_ref();
                let inner = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
                inner.map(ToString::to_string)
            }
            _ => None,
        };
        match (tls, error) {
            (Some(why), _) => Failure::Tls {
                url: self.base.clone(),
                why,
            },
            (None, ureq::Error::Io(error)) => self.unreachable(&error.to_string()),
            (None, ureq::Error::HostNotFound) => self.unreachable("its name is not known"),
            (None, ureq::Error::Timeout(_)) => self.unreachable("it does not answer in time"),
            (None, error) => self.unreachable(&error.to_string()),
        }
    }
}

/// Whether it is a proxy that answers, or a server of something else: all that a switch refuses with is JSON.
fn is_of_somebody_else(status: u16, body: &str) -> bool {
    status >= 300 && serde_json::from_str::<serde_json::Map<_, _>>(body).is_err()
}

/// The address without what follows it, if a token may be sent there.
fn base(url: &str) -> Result<String, Failure> {
    let wrong = Failure::Usage(
        "--api is an address such as https://switch.example.org or http://127.0.0.1:8080",
    );
    let Ok(uri) = url.parse::<Uri>() else {
        return Err(wrong);
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(wrong);
    };
    // A name before an @ would be taken for a credential.
    if authority.as_str().contains('@') || uri.query().is_some() {
        return Err(wrong);
    }
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let is_here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    match scheme {
        "https" => {}
        "http" if is_here => {}
        "http" => {
            return Err(Failure::Usage(
                "http would show the token to everybody on the way: use https, or an SSH tunnel and http://127.0.0.1:PORT",
            ));
        }
        _ => return Err(wrong),
    }
    // What a proxy puts before our own paths stays.
    let path = uri.path().trim_end_matches('/');
    let path = path.strip_suffix(crate::api::BASE).unwrap_or(path);
    Ok(format!("{scheme}://{authority}{path}"))
}

fn token(file: &Path) -> Result<Secret<String>, Failure> {
    let failed = |source| Failure::File {
        path: file.to_owned(),
        source,
    };
    let mut text = String::new();
    File::open(file)
        .and_then(|file| file.take(LONGEST_TOKEN).read_to_string(&mut text))
        .map_err(failed)?;
    let text = Secret::new(text);
    let token = text.expose().trim();
    // Anything else could not stand in a header.
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let what = "it holds no token: one line of `strowger token create NAME`";
        return Err(failed(io::Error::new(ErrorKind::InvalidData, what)));
    }
    Ok(Secret::new(token.to_owned()))
}

/// A value of a query, with everything escaped that has a meaning there (RFC 3986 section 2.3 says what has none).
pub(crate) fn escaped(value: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_sent_where_nobody_on_the_way_can_read_it() {
        for (url, kept) in [
            ("https://switch.example.org", "https://switch.example.org"),
            (
                "https://pbx.example.org:8443/tel/",
                "https://pbx.example.org:8443/tel",
            ),
            ("https://a.example.org/api/v1", "https://a.example.org"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://localhost:8080", "http://localhost:8080"),
        ] {
            assert_eq!(base(url).unwrap(), kept, "{url}");
        }
        for url in [
            "http://switch.example.org",
            "http://192.0.2.1:8080",
            "http://localhost.example.org",
            "http://127.0.0.1@192.0.2.1",
            "https://user:secret@a.example.org",
            "switch.example.org",
            "ftp://127.0.0.1",
            "https://a.example.org/?token=1",
            "",
        ] {
            assert_eq!(base(url).unwrap_err().code(), 2, "{url}");
        }
    }

    #[test]
    fn a_file_without_a_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        for (text, is_good) in [
            ("strowger_1_abc\n", true),
            ("", false),
            ("one\ntwo\n", false),
            ("caf\u{e9}", false),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(token(&file).is_ok(), is_good, "{text}");
        }
        assert_eq!(token(Path::new("/nowhere/token")).unwrap_err().code(), 1);
    }

    #[test]
    fn what_is_no_switch_or_says_nothing_is_not_there() {
        for (status, body, is_somebody_else) in [
            (200, "", false),
            (204, "", false),
            (404, "{\"type\": \"about:blank\"}", false),
            (503, " {}\n", false),
            (302, "", true),
            (401, "Unauthorized", true),
            (404, "<html>{}</html>", true),
            (500, "{", true),
            (503, "[]", true),
        ] {
            let is = is_of_somebody_else(status, body);
            assert_eq!(is, is_somebody_else, "{status} {body}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let reach = Reach::Socket {
            path,
            is_named: true,
        };
        let ask = || {
            let answer = reach.ask_within(Duration::from_millis(200), "GET", "/", "");
            answer.unwrap_err()
        };
        // Nobody takes the connection.
        let hangs = ask();
        assert_eq!(hangs.code(), 4, "{hangs}");
        thread::spawn(move || {
            drop(listener.accept().unwrap());
            for answer in [&b""[..], b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n\r\n\xff"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut heard = [0; 1024];
                let _ = stream.read(&mut heard).unwrap();
                stream.write_all(answer).unwrap();
            }
        });
        for _ in 0..3 {
            let strange = ask();
            assert_eq!(strange.code(), 4, "{strange}");
        }
    }

    /// What becomes of listening to somebody who answers so: the status, or the code to end with, and what was heard.
    fn listened(answer: &[u8]) -> (Result<u16, u8>, Vec<String>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = answer.to_owned();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = [0; 4096];
            let _ = stream.read(&mut heard).unwrap();
            // Who has heard enough closes the connection.
            let _ = stream.write_all(&answer);
        });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "strowger_1_abc").unwrap();
        let reach = Reach::Api(Api::new(&url, Some(&file)).unwrap());
        let mut lines = Vec::new();
        let status = reach.listen("/api/v1/events", |line| lines.push(line.to_owned()));
        server.join().unwrap();
        let status = status.map(Option::unwrap).map_err(|error| error.code());
        (status, lines)
    }

    #[test]
    fn who_listens_hears_a_switch_and_nobody_else() {
        let stream =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
        let events = [&stream[..], b"data: {}\r\n\n: here\nid: 7"].concat();
        let lines = ["data: {}", "", ": here", "id: 7"].map(str::to_owned);
        assert_eq!(listened(&events), (Ok(200), lines.to_vec()));
        let refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/problem+json\r\nContent-Length: 14\r\n\r\n{\"status\": 403";
        let refusal = [&refusal[..], b"}"].concat();
        let refusal = String::from_utf8(refusal).unwrap().replace(": 14", ": 15");
        let said = vec!["{\"status\": 403}".to_owned()];
        assert_eq!(listened(refusal.as_bytes()), (Ok(403), said));
        // The page of a proxy, whatever it says.
        for status in ["200 OK", "404 Not Found", "403 Forbidden", "302 Found"] {
            let page = format!(
                "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: 8\r\n\r\n<p>x</p>"
            );
            assert_eq!(listened(page.as_bytes()), (Err(4), Vec::new()), "{status}");
        }
        // A line without an end would be all there is room for.
        let endless = [&stream[..], &vec![b'x'; 4 << 20]].concat();
        assert_eq!(listened(&endless), (Err(4), Vec::new()));
    }

    #[test]
    fn values_of_queries_are_escaped() {
        assert_eq!(escaped("+1555 0001&x=é"), "%2B1555%200001%26x%3D%C3%A9");
        assert_eq!(escaped("2001:db8::/64"), "2001%3Adb8%3A%3A%2F64");
    }
}
