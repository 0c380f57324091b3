//! Commands that ask a switch elsewhere, with a token, over HTTP and through a proxy with TLS.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::house::{House, SESSION, STROWGER, TRUNK};
use crate::process::said;

/// Somebody at another host: an empty folder, a token, an address.
struct Afar {
    folder: tempfile::TempDir,
    url: String,
}

impl Afar {
    fn of(url: &str) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            url: url.to_owned(),
        }
    }

    /// Takes a token of these scopes from now on.
    fn take(&self, house: &House, scopes: &str) {
        let create = [
            "--output", "json", "token", "create", "x", "--scope", scopes,
        ];
        let made = house.expect_command(&create, "");
        let made: Value = serde_json::from_str(made.lines().next().unwrap()).unwrap();
        self.hold(made["token"].as_str().unwrap());
    }

    fn token(self, token: &str) -> Self {
        self.hold(token);
        self
    }

    fn hold(&self, token: &str) {
        fs::write(self.folder.path().join("token"), format!("{token}\n")).unwrap();
    }

    /// Exit code, results, and the rest.
    fn run_with(&self, variables: &[(&str, &str)], args: &[&str]) -> (i32, String, String) {
        let output = Command::new(STROWGER)
            .current_dir(self.folder.path())
            .env_remove("STROWGER_CONFIG")
            .envs(variables.iter().copied())
            .args(["--api", &self.url, "--token-file", "token"])
            .args(args)
            .output()
            .unwrap();
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let (results, rest) = (text(&output.stdout), text(&output.stderr));
        let code = output.status.code().unwrap_or(-1);
        assert!(!said(&output).contains("panicked"), "{results}{rest}");
        (code, results, rest)
    }

    fn run(&self, args: &[&str]) -> (i32, String) {
        let (code, results, rest) = self.run_with(&[], args);
        (code, results + &rest)
    }

    fn expect(&self, args: &[&str]) -> String {
        let (code, said) = self.run(args);
        assert_eq!(code, 0, "{}: {said}", args.join(" "));
        said
    }

    fn json(&self, args: &[&str]) -> Value {
        let said = self.expect(&[&["--output", "json"], args].concat());
        serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{said}"))
    }
}

#[test]
fn a_switch_elsewhere_is_commanded_by_what_the_token_may() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    let admin = format!("http://{}", house.admin_address());
    let afar = Afar::of(&admin);

    // Whoever may only look.
    afar.take(&house, "read");
    for look in [
        &["status"][..],
        &["calls", "list"],
        &["trunk", "list"],
        &["trunk", "show", TRUNK],
        &["session", "list"],
        &["session", "show", SESSION],
        &["route", "list"],
        &["route", "test", "--from", "1", "--to", "+15550001"],
        &["quota", "list"],
        &["quota", "show"],
        &["user", "list"],
        &["worker", "list"],
        &["storage", "show"],
        &["ban", "list"],
        &["cdr", "list"],
        &["cdr", "search", "--since", "2h", "--number", "+1"],
        &["cdr", "export", "--format", "csv"],
        &["export"],
    ] {
        let said = afar.expect(look);
        assert!(!said.is_empty(), "{look:?}");
    }
    let kept = house.expect_command(&["trunk", "show", TRUNK, "--secrets"], "");
    let password = kept
        .lines()
        .find_map(|line| line.strip_prefix("password  "));
    let password = password.unwrap().trim();
    let shown = afar.expect(&["trunk", "show", TRUNK]);
    assert!(!shown.contains(password), "{shown}");
    assert!(
        shown.contains(&house.sip().to_string()),
        "where it is: {shown}"
    );
    for refused in [
        &["trunk", "disable", TRUNK][..],
        &["trunk", "show", TRUNK, "--secrets"],
        &["trunk", "snippet", TRUNK, "--for", "asterisk-pjsip"],
        &["export", "--secrets"],
        &["ban", "add", "192.0.2.7"],
        &["token", "list"],
        &["log", "level"],
        &["backup", "create"],
        &["store", "check"],
        &["session", "logout", SESSION, "--yes"],
        &["calls", "hangup", "01J0000000000000000000000A"],
    ] {
        let (code, said) = afar.run(refused);
        assert_eq!(code, 6, "{refused:?}: {said}");
        assert!(said.contains("strowger token create"), "{said}");
    }
    assert_eq!(afar.run(&["trunk", "show", "nobody"]).0, 5);

    // Whoever may change records, without ever seeing a password.
    afar.take(&house, "read,write");
    afar.expect(&["trunk", "set", TRUNK, "--lines", "7", "--number", "600"]);
    let still = house.expect_command(&["trunk", "show", TRUNK, "--secrets"], "");
    assert!(still.contains(password) && still.contains("600"), "{still}");
    let file = "[[trunk]]\nname = \"second\"\nkind = \"peer\"\naddress = \"192.0.2.1:5060\"\n";
    fs::write(afar.folder.path().join("records.toml"), file).unwrap();
    afar.expect(&["apply", "records.toml"]);
    let made = afar.json(&["trunk", "add", "third"]);
    assert_eq!(made["password"].as_str().unwrap().len(), 24, "{made}");
    let snippet = afar.expect(&["trunk", "snippet", "third", "--for", "asterisk-pjsip"]);
    assert!(
        snippet.contains("==== /etc/asterisk/pjsip.conf ===="),
        "{snippet}"
    );
    assert!(
        snippet.contains(made["password"].as_str().unwrap()),
        "{snippet}"
    );
    afar.expect(&["trunk", "remove", "third"]);
    let (code, said) = afar.run(&["trunk", "remove", "third"]);
    assert_eq!(code, 5, "{said}");
    afar.expect(&["quota", "add", "small", "--call-seconds", "60"]);
    let quotas = afar.expect(&["--output", "csv", "quota", "list"]);
    assert_eq!(
        quotas,
        "quota,one call,talk time,failed calls\nsmall,1m,unlimited,unlimited\n"
    );
    afar.expect(&["ban", "add", "192.0.2.0/24", "--for", "1h"]);
    assert!(afar.expect(&["ban", "list"]).contains("192.0.2.0/24"));
    afar.expect(&["ban", "remove", "192.0.2.0/24"]);
    assert_eq!(afar.run(&["ban", "remove", "192.0.2.0/24"]).0, 5);
    afar.expect(&["worker", "disable", "local"]);
    afar.expect(&["worker", "enable", "local"]);
    afar.expect(&["user", "add", "ann", "--telegram-id", "4242"]);
    afar.expect(&["session", "set", SESSION, "--lines", "3"]);
    assert_eq!(afar.json(&["session", "show", SESSION])["lines"], 3);

    // Whoever may do everything.
    afar.take(&house, "read,calls,write,admin");
    let shown = afar.expect(&["trunk", "show", TRUNK, "--secrets"]);
    assert!(shown.contains(password), "{shown}");
    assert_eq!(afar.json(&["store", "stats"])["trunks"], 2);
    let said = afar.expect(&["store", "check"]);
    assert!(said.contains("all of it can be read"), "{said}");
    let said = afar.expect(&["backup", "create"]);
    assert!(said.contains("on the host of the switch"), "{said}");
    assert_eq!(afar.json(&["token", "list"]).as_array().unwrap().len(), 3);
    afar.expect(&["log", "level", "sip=debug"]);
    assert_eq!(
        afar.run(&["calls", "hangup", "01J0000000000000000000000A"])
            .0,
        5
    );
    for here in [
        &["run"][..],
        &["doctor"],
        &["init"],
        &["check-config"],
        &["key", "list"],
        &["key", "rotate"],
        &["backup", "create", "x"],
        &["backup", "verify", "x"],
        &["store", "compact"],
        &["demo"],
    ] {
        let (code, said) = afar.run(here);
        assert_eq!(code, 2, "{here:?}: {said}");
        assert!(said.contains("on the host of the switch"), "{said}");
    }
    let (_, results, rest) = afar.run_with(&[], &["-v", "status"]);
    assert!(rest.contains("/api/v1/status: 200, "), "{rest}");
    assert!(results.starts_with("strowger "), "{results}");
    let (_, results, rest) = afar.run_with(&[], &["-q", "calls", "list"]);
    assert_eq!((&*results, &*rest), ("", ""), "no call, and no hint");

    // Nothing of this host was made or asked.
    let left: Vec<_> = fs::read_dir(afar.folder.path())
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");

    // Whoever may nothing; his guesses end with a refusal as well.
    afar.hold("strowger_1_nothing");
    for _ in 0..7 {
        let (code, said) = afar.run(&["status"]);
        assert_eq!(code, 6, "{said}");
    }
    house.assert_clean(&[]);
    house.stop();
    let (code, said) = Afar::of(&admin).token("x").run(&["status"]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("does not answer"), "{said}");
}

/// A proxy with TLS before the switch: one request a connection.
fn proxy(config: Arc<ServerConfig>, switch: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            // A client that trusts nobody hangs up.
            std::thread::spawn(move || pass(config, stream, switch).ok());
        }
    });
    address
}

fn pass(config: Arc<ServerConfig>, stream: TcpStream, switch: SocketAddr) -> std::io::Result<()> {
    let tls = ServerConnection::new(config).unwrap();
    let mut client = BufReader::new(StreamOwned::new(tls, stream));
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        client.read_line(&mut line)?;
        if line == "\r\n" || line.is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head += &line;
    }
    let mut body = vec![0; length];
    client.read_exact(&mut body)?;
    let mut behind = TcpStream::connect(switch)?;
    write!(behind, "{head}Connection: close\r\n\r\n")?;
    behind.write_all(&body)?;
    let mut answer = Vec::new();
    behind.read_to_end(&mut answer)?;
    let client = client.get_mut();
    client.write_all(&answer)?;
    client.conn.send_close_notify();
    client.flush()
}

#[test]
fn tls_is_checked_and_what_is_wrong_with_it_is_said() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.pem();
    let key = made.signing_key.serialize_pem();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    let address = proxy(Arc::new(config), house.admin_address());
    let named = format!("https://localhost:{}", address.port());
    let afar = Afar::of(&named);
    afar.take(&house, "read,write");
    fs::write(afar.folder.path().join("ca.pem"), &certificate).unwrap();
    let trusting = [("SSL_CERT_FILE", "ca.pem")];
    let (code, results, rest) = afar.run_with(&trusting, &["--output", "json", "status"]);
    assert_eq!(code, 0, "{rest}");
    let status: Value = serde_json::from_str(&results).unwrap();
    assert_eq!(status["ready"], json!(true), "{status}");
    let change = ["trunk", "set", TRUNK, "--lines", "2"];
    let (code, _, rest) = afar.run_with(&trusting, &change);
    assert_eq!(code, 0, "{rest}");

    let (code, said) = afar.run(&["status"]);
    assert_eq!(code, 4, "{said}");
    assert!(
        said.contains("TLS with") && said.contains("UnknownIssuer"),
        "{said}"
    );
    let other = Afar::of(&format!("https://{address}")).token("x");
    fs::write(other.folder.path().join("ca.pem"), &certificate).unwrap();
    let (code, _, rest) = other.run_with(&trusting, &["status"]);
    assert_eq!(code, 4, "{rest}");
    assert!(rest.contains("not valid for name"), "{rest}");

    // Something else than TLS behind https, and something else than a switch behind the address.
    let plain = Afar::of(&format!("https://{}", house.admin_address())).token("x");
    let (code, said) = plain.run(&["status"]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("TLS with"), "{said}");
    let far = Afar::of("http://192.0.2.1:8080").token("x");
    let (code, said) = far.run(&["status"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("would show the token"), "{said}");
    house.assert_clean(&[]);
}

#[test]
fn a_socket_by_its_name_is_one_that_must_be_there() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    let socket = house.dir().join("data/control.sock");
    let socket = socket.to_str().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let run = |socket: &str| {
        let output = Command::new(STROWGER)
            .current_dir(elsewhere.path())
            .args(["--socket", socket, "trunk", "list"])
            .output()
            .unwrap();
        (output.status.code(), said(&output))
    };
    let (code, shown) = run(socket);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains(TRUNK), "{shown}");
    house.assert_clean(&[]);
    house.stop();
    let (code, shown) = run(socket);
    assert_eq!(code, Some(4), "{shown}");
    let (code, shown) = run("nowhere/control.sock");
    assert_eq!(code, Some(4), "{shown}");
}
