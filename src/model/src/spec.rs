//! What an owner edits: trunks and sessions, as records.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{
    AllowedCallers, BareDigits, BotName, CallerIdRules, CallerNameRules, Codec, DialRules,
    DtmfMethod, HeaderField, HostPort, QueryTemplate, QuotaName, Secret, SessionName, Srtp,
    SrtpOverPlain, Transport, TrunkName, TrustedIps, WorkerChoice,
};

/// One relation with a PBX.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrunkSpec {
    /// Its name.
    pub name: TrunkName,
    /// How the PBX and we know each other.
    pub kind: TrunkKind,
    /// Audio codecs in order of preference; the order of the offer is ignored.
    #[serde(default = "default_codecs")]
    pub codecs: Vec<Codec>,
    /// Where the account of a PBX that registers may be used from.
    #[serde(default)]
    pub trusted_ips: TrustedIps,
    /// A header that every request to a peer has, and that its requests have where several peers share an address.
    #[serde(default)]
    pub header: Option<HeaderField>,
    /// Whether a peer is asked now and then if it is there; while it is not, it is not called.
    #[serde(default)]
    pub qualify: bool,
    /// What carries SIP to the PBX; one that registers chooses for itself.
    #[serde(default)]
    pub transport: Transport,
    /// The SHA-256 of the PBX's certificate in hexadecimal digits, to be trusted instead of names and roots.
    #[serde(default)]
    pub tls_pin: Option<String>,
    /// Whether the audio is encrypted.
    #[serde(default)]
    pub srtp: Srtp,
    /// What becomes of that where SIP travels without TLS, keys and all.
    #[serde(default)]
    pub srtp_over_plain: SrtpOverPlain,
    /// Ways of keypad digits: the first usable one is used for sending, tones are listened for only if listed.
    #[serde(default = "default_dtmf")]
    pub dtmf: Vec<DtmfMethod>,
    /// Simultaneous calls, 0 = unlimited.
    #[serde(default)]
    pub lines: u32,
    /// The number dialled in the PBX when a Telegram user simply calls.
    #[serde(default)]
    pub number: Option<String>,
    /// What is made of a number that the PBX dials before it is understood, and which numbers are taken.
    #[serde(default)]
    pub inbound_rules: DialRules,
    /// What is made of a text that a Telegram user writes to the account, as a number to dial in the PBX; usually nothing.
    #[serde(default = "DialRules::dial_nothing")]
    pub dial_rules: DialRules,
    /// How a Telegram user is numbered in the PBX, and how the PBX's numbers are understood.
    #[serde(default)]
    pub caller_id: CallerIdRules,
    /// The name under which a Telegram user is shown in the PBX.
    #[serde(default)]
    pub caller_name: CallerNameRules,
    /// What bare digits that no Caller ID rule matches are taken for.
    #[serde(default)]
    pub bare_digits: BareDigits,
    /// Whether the PBX is told what is known of a Telegram caller in headers of its own.
    #[serde(default = "yes")]
    pub tg_headers: bool,
    /// Whether the PBX may transfer calls, by REFER and by INVITE with Replaces.
    #[serde(default)]
    pub refer: bool,
    /// Order among the trunks of a session whose routes have the same priority, lower first; equal ones ring at the same time.
    #[serde(default = "default_priority")]
    pub priority: u32,
    /// How long the PBX may ring, in seconds.
    #[serde(default = "default_ring_seconds")]
    pub ring_seconds: u32,
    /// What it may use over time; without a name the profile `default`, where there is one.
    #[serde(default)]
    pub quota: Option<QuotaName>,
    /// After so many calls in a row that failed because of the trunk itself, none is placed there for a while; 0 = never.
    #[serde(default = "default_failure_limit")]
    pub failure_limit: u32,
    /// How long that is the first time, in seconds; twice as long after each trial that fails.
    #[serde(default = "default_failure_wait_seconds")]
    pub failure_wait_seconds: u32,
    /// Which worker carries its calls.
    #[serde(default)]
    pub worker: WorkerChoice,
    /// A trunk that is off takes and places no calls.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// How the PBX and we know each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TrunkKind {
    /// The PBX registers here with a login and a password that we made.
    InboundRegister {
        /// The login, also the user part of its address of record.
        login: String,
        /// The password.
        password: Secret<String>,
    },
    /// We register at the PBX or provider, as a phone does.
    OutboundRegister {
        /// The user part of our address there.
        login: String,
        /// The password.
        password: Secret<String>,
        /// The host part of our address there, and of what we call.
        domain: HostPort,
        /// Where packets go, when that is not the domain.
        #[serde(default)]
        proxy: Option<HostPort>,
        /// The user name of our credentials, when it is not the login.
        #[serde(default)]
        auth_user: Option<String>,
    },
    /// IP⇿IP without registration, recognised by the source address of its packets.
    Peer {
        /// Where its requests come from and ours go to.
        address: SocketAddr,
    },
}

/// One Telegram account that is logged in here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSpec {
    /// Its name.
    pub name: SessionName,
    /// The phone number it was logged in with, for people to recognise it by.
    #[serde(default)]
    pub phone: String,
    /// Simultaneous calls, 0 = unlimited.
    #[serde(default)]
    pub lines: u32,
    /// Whether a hunt of its trunks ends with the first that answers 6xx (RFC 3261 section 21.6: nobody anywhere will take the call).
    #[serde(default)]
    pub stop_on_6xx: bool,
    /// Who may call it; others ring on the account's other devices alone.
    #[serde(default)]
    pub allowed_callers: AllowedCallers,
    /// Whether texts that people write to the account are looked at: they may be numbers to dial, by the dial rules of its trunks; if
    /// not, a bot may be asked, and `autoreply` is the answer.
    #[serde(default)]
    pub messages_processing: bool,
    /// Whether who wrote a number is called back and then put through, instead of being asked to call.
    #[serde(default)]
    pub callback: bool,
    /// Whether texts pass between the account and the PBXs of its trunks, by SIP MESSAGE.
    #[serde(default)]
    pub text_bridge: bool,
    /// A bot that is asked about what people write, if it is no number; its first result is what they are answered.
    #[serde(default)]
    pub inline_bot: BotName,
    /// What that bot is asked.
    #[serde(default)]
    pub inline_query: QueryTemplate,
    /// With `messages_processing`, what people are answered who write to the account and are in no call with it; empty = nothing.
    #[serde(default)]
    pub autoreply: String,
    /// What it may use over time; without a name the profile `default`, where there is one.
    #[serde(default)]
    pub quota: Option<QuotaName>,
    /// A session that is off stays logged in but connects no more.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// Who is told in plain words why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerboseRejects {
    /// Everybody: logins are generated, so nothing can be guessed from it.
    All,
    /// Only sources that are trusted by address or have authenticated.
    Trusted,
    /// Nobody; the log has it.
    None,
}

/// Why a record is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A trunk without codecs cannot talk.
    #[error(
        "trunk {0}: the codec list is empty; write for example codecs = [\"opus\", \"alaw\", \"mulaw\"]"
    )]
    NoCodecs(TrunkName),
    /// No SHA-256.
    #[error(
        "trunk {0}: tls_pin is the SHA-256 of a certificate: 64 hexadecimal digits, with or without colons, as \
         `openssl x509 -noout -fingerprint -sha256` prints them"
    )]
    Pin(TrunkName),
    /// The login or password cannot be used.
    #[error(
        "trunk {0}: login and password need at least 4 and 12 characters, without spaces, quotes or control characters"
    )]
    Credentials(TrunkName),
    /// The account at the PBX cannot be used.
    #[error(
        "trunk {0}: login, password and auth_user are those that the PBX or provider has given you: not empty, without control characters"
    )]
    Account(TrunkName),
    /// SRTP that could never be.
    #[error(
        "trunk {0}: with srtp = \"{1}\" the keys of the audio travel in SIP, which over {2} everybody on the way can read: \
         write transport = \"tls\", or srtp_over_plain = \"allow\" if that is good enough"
    )]
    SrtpOverPlain(TrunkName, Srtp, Transport),
    /// An address that cannot be called.
    #[error("trunk {0}: address {1} cannot be sent to")]
    Address(TrunkName, SocketAddr),
}

impl SessionSpec {
    /// A session with every default.
    pub fn new(name: SessionName) -> Self {
        Self {
            name,
            phone: String::new(),
            lines: 0,
            stop_on_6xx: false,
            allowed_callers: AllowedCallers::default(),
            messages_processing: false,
            callback: false,
            text_bridge: false,
            inline_bot: BotName::default(),
            inline_query: QueryTemplate::default(),
            autoreply: String::new(),
            quota: None,
            enabled: true,
        }
    }
}

impl TrunkSpec {
    /// A trunk with every default.
    pub fn new(name: TrunkName, kind: TrunkKind) -> Self {
        Self {
            name,
            kind,
            codecs: default_codecs(),
            trusted_ips: TrustedIps::default(),
            header: None,
            qualify: false,
            transport: Transport::Udp,
            tls_pin: None,
            srtp: Srtp::Off,
            srtp_over_plain: SrtpOverPlain::Refuse,
            dtmf: default_dtmf(),
            lines: 0,
            number: None,
            inbound_rules: DialRules::default(),
            dial_rules: DialRules::dial_nothing(),
            caller_id: CallerIdRules::default(),
            caller_name: CallerNameRules::default(),
            bare_digits: BareDigits::default(),
            tg_headers: true,
            refer: false,
            priority: default_priority(),
            ring_seconds: default_ring_seconds(),
            quota: None,
            failure_limit: default_failure_limit(),
            failure_wait_seconds: default_failure_wait_seconds(),
            worker: WorkerChoice::Auto,
            enabled: true,
        }
    }

    /// The digest that `tls_pin` writes; `None` when there is none, or it is none.
    pub fn tls_digest(&self) -> Option<[u8; 32]> {
        let digits: Vec<u8> = self
            .tls_pin
            .as_deref()?
            .bytes()
            .filter(|c| *c != b':')
            .map(|c| {
                char::from(c)
                    .to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
            })
            .collect::<Option<_>>()?;
        let octets: Vec<u8> = digits
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |octet, digit| octet << 4 | digit))
            .collect();
        (digits.len() == 64).then(|| octets.try_into().ok())?
    }

    /// What holds for a call whose SIP travels so; nothing where SRTP is wished for and its keys could be read on the way.
    pub fn srtp_by(&self, transport: Transport) -> Option<Srtp> {
        match (self.srtp, transport, self.srtp_over_plain) {
            (Srtp::Off, _, _) => Some(Srtp::Off),
            (srtp, Transport::Tls, _) | (srtp, _, SrtpOverPlain::Allow) => Some(srtp),
            (_, Transport::Udp | Transport::Tcp, SrtpOverPlain::Refuse) => None,
        }
    }

    /// Checks what the types cannot say.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.codecs.is_empty() {
            return Err(SpecError::NoCodecs(self.name.clone()));
        }
        if self.tls_pin.is_some() && self.tls_digest().is_none() {
            return Err(SpecError::Pin(self.name.clone()));
        }
        // A PBX that registers chooses the transport, so that it shows with the call.
        let chooses = matches!(self.kind, TrunkKind::InboundRegister { .. });
        if !chooses && self.srtp != Srtp::Off && self.srtp_by(self.transport).is_none() {
            let (name, srtp) = (self.name.clone(), self.srtp);
            return Err(SpecError::SrtpOverPlain(name, srtp, self.transport));
        }
        match &self.kind {
            TrunkKind::InboundRegister { login, password } => {
                let clean = |text: &str| {
                    text.chars()
                        .all(|c| !c.is_control() && !c.is_whitespace() && c != '"')
                };
                let password = password.expose();
                if login.len() < 4 || password.len() < 12 || !clean(login) || !clean(password) {
                    return Err(SpecError::Credentials(self.name.clone()));
                }
            }
            TrunkKind::OutboundRegister {
                login,
                password,
                auth_user,
                ..
            } => {
                let fine = |text: &str| {
                    (1..=128).contains(&text.len()) && !text.chars().any(char::is_control)
                };
                let auth_user = auth_user.as_ref().is_none_or(|user| fine(user));
                if !fine(login) || !fine(password.expose()) || !auth_user {
                    return Err(SpecError::Account(self.name.clone()));
                }
            }
            TrunkKind::Peer { address } => {
                let ip = address.ip();
                if ip.is_unspecified() || ip.is_multicast() || address.port() == 0 {
                    return Err(SpecError::Address(self.name.clone(), *address));
                }
            }
        }
        Ok(())
    }
}

fn default_codecs() -> Vec<Codec> {
    Codec::DEFAULT.to_vec()
}

fn default_dtmf() -> Vec<DtmfMethod> {
    DtmfMethod::ALL.to_vec()
}

fn default_failure_limit() -> u32 {
    10
}

fn default_failure_wait_seconds() -> u32 {
    60
}

fn default_ring_seconds() -> u32 {
    60
}

pub(crate) fn default_priority() -> u32 {
    100
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_written_by_an_earlier_version_reads_with_the_defaults() {
        let old = r#"{"name":"gateway","phone":"+15550001","lines":2,"enabled":true}"#;
        let expected = SessionSpec {
            phone: "+15550001".into(),
            lines: 2,
            ..SessionSpec::new("gateway".parse().unwrap())
        };
        assert_eq!(serde_json::from_str::<SessionSpec>(old).unwrap(), expected);
    }

    #[test]
    fn a_trunk_written_by_an_earlier_version_reads_with_the_defaults() {
        let old = r#"{"name":"office","kind":{"kind":"peer","address":"192.0.2.1:5060"},"codecs":["alaw"],"lines":2,
            "number":"600","ring_seconds":20,"enabled":true}"#;
        let kind = TrunkKind::Peer {
            address: "192.0.2.1:5060".parse().unwrap(),
        };
        let expected = TrunkSpec {
            codecs: vec![Codec::Alaw],
            lines: 2,
            number: Some("600".into()),
            ring_seconds: 20,
            ..TrunkSpec::new("office".parse().unwrap(), kind)
        };
        assert_eq!(serde_json::from_str::<TrunkSpec>(old).unwrap(), expected);
        let json = serde_json::to_string(&expected).unwrap();
        assert_eq!(serde_json::from_str::<TrunkSpec>(&json).unwrap(), expected);
    }

    #[test]
    fn keys_travel_in_the_clear_only_where_the_owner_says_so() {
        let address = "192.0.2.1:5060".parse().unwrap();
        let peer = TrunkSpec::new("office".parse().unwrap(), TrunkKind::Peer { address });
        let kind = TrunkKind::InboundRegister {
            login: "office".into(),
            password: Secret::new("correct-horse-9".into()),
        };
        let chooses = TrunkSpec::new("office".parse().unwrap(), kind);
        for srtp in Srtp::ALL {
            for transport in Transport::ALL {
                for srtp_over_plain in SrtpOverPlain::ALL {
                    let spec = |trunk: &TrunkSpec| TrunkSpec {
                        transport,
                        srtp,
                        srtp_over_plain,
                        ..trunk.clone()
                    };
                    let private = transport == Transport::Tls
                        || srtp_over_plain == SrtpOverPlain::Allow
                        || srtp == Srtp::Off;
                    assert_eq!(spec(&peer).srtp_by(transport), private.then_some(srtp));
                    assert_eq!(spec(&peer).check().is_ok(), private);
                    assert_eq!(spec(&chooses).check(), Ok(()));
                }
            }
        }
    }
}
