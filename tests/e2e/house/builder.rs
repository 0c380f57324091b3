//! What a house is built from, and how.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::rc::Rc;

use serde_json::json;

use super::{
    BRANCH, House, HouseBuilder, LOGIN, MEDIA_ADDRESS, PASSWORD, SESSION, TRUNK, certificate,
    folder,
};
use crate::http::Http;
use crate::ports;
use crate::telegram::Server;

impl HouseBuilder {
    /// A PBX that registers here, with `LOGIN` and `PASSWORD`.
    pub(crate) fn registering_trunk(self, codecs: &[&str]) -> Self {
        let kind =
            format!("kind = \"inbound_register\"\nlogin = \"{LOGIN}\"\npassword = \"{PASSWORD}\"");
        self.trunk(&kind, codecs)
    }

    /// A PBX known by its address, without registration; its port is `House::peer_port`.
    pub(crate) fn peer_trunk(mut self, codecs: &[&str]) -> Self {
        let port = ports::one();
        self.peer_port = Some(port);
        let host = if self.six { "[::1]" } else { "127.0.0.1" };
        self.trunk(
            &format!("kind = \"peer\"\naddress = \"{host}:{port}\""),
            codecs,
        )
    }

    /// A PBX at this port that we register at, as 1001 with `PASSWORD`.
    pub(crate) fn outbound_trunk(self, port: u16, codecs: &[&str]) -> Self {
        let host = if self.six { "[::1]" } else { "127.0.0.1" };
        self.account_at(&format!("{host}:{port}"), codecs)
    }

    /// The same at a PBX of this name.
    pub(crate) fn account_at(self, domain: &str, codecs: &[&str]) -> Self {
        let kind = format!(
            "kind = \"outbound_register\"\nlogin = \"1001\"\npassword = \"{PASSWORD}\"\ndomain = \"{domain}\""
        );
        self.trunk(&kind, codecs)
    }

    fn trunk(mut self, kind: &str, codecs: &[&str]) -> Self {
        write!(
            self.records,
            "[[trunk]]\nname = \"{TRUNK}\"\n{kind}\ncodecs = {codecs:?}\nnumber = \"{}\"\nring_seconds = 20\ntransport = \"{}\"\n{}\n\
             [[session]]\nname = \"{SESSION}\"\nphone = \"+{}\"\n{}\n\
             [[route]]\ntrunk = \"{TRUNK}\"\nsession = \"{SESSION}\"\n",
            self.number, self.transport, self.more, self.account[1], self.session_more
        )
        .unwrap();
        self
    }

    /// A further line of the record of the second PBX; before it.
    pub(crate) fn branch_saying(mut self, line: &str) -> Self {
        self.branch_more.push_str(line);
        self.branch_more.push('\n');
        self
    }

    /// Further records; after the trunk.
    pub(crate) fn records(mut self, text: &str) -> Self {
        self.records.push_str(text);
        self
    }

    /// A second PBX, known by its address, to which the calls of the first one go.
    pub(crate) fn leaves_by(mut self, codecs: &[&str]) -> Self {
        let port = ports::one();
        self.branch_port = Some(port);
        write!(
            self.records,
            "\n[[trunk]]\nname = \"{BRANCH}\"\nkind = \"peer\"\naddress = \"127.0.0.1:{port}\"\ncodecs = {codecs:?}\nring_seconds = 20\n{}\n\
             [[route]]\ntrunk = \"{TRUNK}\"\nto = \"{BRANCH}\"\npriority = 1\n",
            self.branch_more
        )
        .unwrap();
        self
    }

    /// A second PBX, known by its address, that Telegram users call too: with the first one when its priority is 100, else before or
    /// after it.
    pub(crate) fn second_pbx(mut self, priority: u16) -> Self {
        let port = ports::one();
        self.branch_port = Some(port);
        write!(
            self.records,
            "\n[[trunk]]\nname = \"{BRANCH}\"\nkind = \"peer\"\naddress = \"127.0.0.1:{port}\"\ncodecs = [\"alaw\"]\nring_seconds = 20\npriority = {priority}\n\n\
             [[route]]\ntrunk = \"{BRANCH}\"\nsession = \"{SESSION}\"\n"
        )
        .unwrap();
        self
    }

    /// A further account that places calls of the trunk, in turn with the first; with further lines of its record.
    pub(crate) fn pooled_session(mut self, name: &str, phone: &str, more: &str) -> Self {
        write!(
            self.records,
            "\n[[session]]\nname = \"{name}\"\nphone = \"+{phone}\"\n{more}\n\n[[route]]\ntrunk = \"{TRUNK}\"\nsession = \"{name}\"\n"
        )
        .unwrap();
        self.sessions.push((name.to_owned(), phone.to_owned()));
        self
    }

    /// The number that is dialled in the PBX, 600 unless said; before the trunk.
    pub(crate) fn number(mut self, number: &str) -> Self {
        number.clone_into(&mut self.number);
        self
    }

    /// The port of the PBX of a peer trunk.
    pub(crate) fn peer_port(&self) -> u16 {
        self.peer_port.expect("a peer trunk")
    }

    /// What carries SIP between the trunk and us, udp unless said; before the trunk.
    pub(crate) fn by(mut self, transport: &'static str) -> Self {
        self.transport = transport;
        self
    }

    /// The switch listens by IPv6 beside IPv4, and the PBX of a peer trunk speaks IPv6 alone; before the trunk.
    pub(crate) fn by_ipv6(mut self) -> Self {
        self.six = true;
        self
    }

    /// A further line of the settings.
    pub(crate) fn setting(mut self, line: &str) -> Self {
        self.settings.push_str(line);
        self.settings.push('\n');
        self
    }

    /// No more RTP ports than these.
    pub(crate) fn rtp_ports(mut self, count: u16) -> Self {
        self.rtp_ports = count;
        self
    }

    /// A further line of the trunk's record; before the trunk.
    pub(crate) fn saying(mut self, line: &str) -> Self {
        self.more.push_str(line);
        self.more.push('\n');
        self
    }

    /// A further line of the session's record; before the trunk.
    pub(crate) fn session_saying(mut self, line: &str) -> Self {
        self.session_more.push_str(line);
        self.session_more.push('\n');
        self
    }

    /// The quota profile `small` with these keys.
    pub(crate) fn quota(mut self, keys: &str) -> Self {
        write!(self.records, "[[quota]]\nname = \"small\"\n{keys}\n\n").unwrap();
        self
    }

    /// Whether the audio is encrypted, over whatever SIP travels; before the trunk.
    pub(crate) fn srtp(self, srtp: &str) -> Self {
        self.saying(&format!("srtp = \"{srtp}\""))
            .saying("srtp_over_plain = \"allow\"")
    }

    /// How often the session may call and look people up, as often as it likes unless said.
    pub(crate) fn paced(mut self, pace: &'static str) -> Self {
        self.pace = pace;
        self
    }

    /// A variable of the environment of the switch.
    pub(crate) fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    /// What is logged, `info` unless said.
    pub(crate) fn logging(mut self, filter: &'static str) -> Self {
        self.log = filter;
        self
    }

    /// Another account, of the same Telegram as another house; before the trunk. The session has the same name.
    pub(crate) fn beside(mut self, other: &House, username: &'static str) -> Self {
        self.world = Some(Rc::clone(&other.telegram));
        self.account = [username, "15550099"];
        self
    }

    /// Leaves the session without a login.
    pub(crate) fn not_logged_in(mut self) -> Self {
        self.logged_in = false;
        self
    }

    /// Builds everything and leaves the switch stopped.
    pub(crate) fn build(self) -> House {
        assert!(
            std::net::UdpSocket::bind((MEDIA_ADDRESS, 0)).is_ok(),
            "no address {MEDIA_ADDRESS}: start the end-to-end tests by `make e2e`"
        );
        let dir = folder();
        let telegram = self.world.unwrap_or_else(|| Rc::new(Server::start(&dir)));
        let [username, phone] = self.account;
        telegram.account(json!({"username": username, "first_name": "Gate", "phone": phone}));
        for (name, phone) in &self.sessions {
            telegram.account(json!({"username": name, "first_name": name, "phone": phone}));
        }
        let (sip, admin, rtp) = (ports::one(), ports::one(), ports::block(self.rtp_ports));
        let six = if self.six {
            format!(", \"[::]:{sip}\"")
        } else {
            String::new()
        };
        let settings = [
            (
                "data.dir".to_owned(),
                format!("\"{}\"", dir.join("data").display()),
            ),
            ("sip.udp".to_owned(), format!("[\"127.0.0.1:{sip}\"{six}]")),
            ("rtp.address".to_owned(), "\"127.0.0.1\"".to_owned()),
            (
                "rtp.range".to_owned(),
                format!("\"{rtp}-{}\"", rtp + self.rtp_ports - 1),
            ),
            ("shutdown.drain_s".to_owned(), "2".to_owned()),
            ("telegram.api_id".to_owned(), "1".to_owned()),
            (
                "telegram.api_hash".to_owned(),
                "\"0123456789abcdef0123456789abcdef\"".to_owned(),
            ),
            (
                "telegram.media_address".to_owned(),
                format!("\"{MEDIA_ADDRESS}\""),
            ),
            (
                "telegram.test_dc".to_owned(),
                format!(
                    "{{ id = {}, address = \"{}\" }}",
                    telegram.dc(),
                    telegram.address()
                ),
            ),
            ("telegram.pace".to_owned(), format!("{{ {} }}", self.pace)),
            ("admin.listen".to_owned(), format!("\"127.0.0.1:{admin}\"")),
            ("log.level".to_owned(), format!("\"{}\"", self.log)),
        ];
        let lines = settings.map(|(key, value)| format!("{key} = {value}\n"));
        let mut text = lines.concat() + &self.settings;
        // A machine that is busy with something else is no overload of the switch, where that is not the subject.
        if !self.settings.contains("overload.") {
            text.push_str("overload.delay_ms = 0\noverload.cpu_percent = 0\n");
        }
        let tls = ports::one();
        if self.transport == "tls" {
            certificate(&dir);
            write!(
                text,
                "sip.tls = \"127.0.0.1:{tls}\"\nsip.tls_certificate = \"cert.pem\"\nsip.tls_key = \"key.pem\"\n\
                 sip.tls_ca = \"cert.pem\"\n"
            )
            .unwrap();
        }
        fs::write(dir.join("strowger.toml"), text).unwrap();
        fs::write(dir.join("records.toml"), &self.records).unwrap();
        let house = House {
            sip: SocketAddr::from(([127, 0, 0, 1], sip)),
            tls: SocketAddr::from(([127, 0, 0, 1], tls)),
            admin: Http::new(format!("http://127.0.0.1:{admin}")),
            telegram,
            phone,
            process: None,
            peer_port: self.peer_port,
            branch_port: self.branch_port,
            variables: self.variables,
            credentials: None,
            runs: 0,
            dir,
        };
        if !self.records.is_empty() {
            house.expect_command(&["apply", "records.toml"], "");
        }
        if self.logged_in {
            house.log_in();
            for (name, phone) in &self.sessions {
                house.log_in_as(name, phone);
            }
        }
        house
    }

    /// Builds everything and starts the switch; it is ready when this returns.
    pub(crate) fn start(self) -> House {
        let mut house = self.build();
        house.start();
        house
    }
}
