//! What the process needs before it can do anything: addresses, folders, limits. Read once.
//!
//! Layers, later ones over earlier ones: the defaults here, the file, the environment (`STROWGER__SIP__UDP`). Every key has
//! a default, an empty file is valid, and a key nobody reads is a fault. What owners edit (trunks, sessions, routes) are
//! records in the store, not settings. `config/strowger.toml` documents each key; a test compares it with the defaults.

mod cdr;
mod check;
mod load;
#[cfg(test)]
mod tests;
mod values;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;

use model::{Secret, VerboseRejects};
use serde::{Deserialize, Serialize};

pub(crate) use cdr::{Cdr, Keep, Privacy};
pub(crate) use load::{Loaded, Sources, load};
pub(crate) use values::{LibraryVersion, Listen, LogLevel, PortRange, Text, ValueError};

/// The commented default file.
pub(crate) const DEFAULT_FILE: &str = include_str!("../../../../config/strowger.toml");

/// All settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub(crate) node: Node,
    pub(crate) data: Data,
    pub(crate) backup: Backup,
    pub(crate) cdr: Cdr,
    pub(crate) log: Log,
    pub(crate) admin: Admin,
    pub(crate) sip: Sip,
    pub(crate) rtp: Rtp,
    pub(crate) media: Media,
    pub(crate) telegram: Telegram,
    pub(crate) overload: Overload,
    pub(crate) shutdown: Shutdown,
}

/// Who this is among several switches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Node {
    /// Its name, in the log and in `/readyz`.
    pub(crate) name: Text,
}

/// Where things are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Data {
    /// The folder of the store; made at the first start.
    pub(crate) dir: PathBuf,
    /// The key of the secrets in it; empty = `strowger.key` beside the settings.
    pub(crate) key_file: PathBuf,
}

/// Copies of the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Backup {
    /// Where they are; empty = `backups` in the folder of the data.
    pub(crate) dir: PathBuf,
    /// The hour after which one is made each day, UTC.
    #[serde(deserialize_with = "values::within::<_, _, 0, 23>")]
    pub(crate) hour_utc: u8,
    /// How many of these are kept; 0 = none is made.
    #[serde(deserialize_with = "values::within::<_, _, 0, 366>")]
    pub(crate) keep: u16,
}

/// How it logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    pub(crate) level: LogLevel,
    pub(crate) format: LogFormat,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Probes and metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Admin {
    #[serde(with = "values::one")]
    pub(crate) listen: SocketAddr,
    /// A proxy with TLS stands before it: tokens are taken, and whoever asks is who X-Forwarded-For says last.
    pub(crate) behind_proxy: bool,
}

/// The SIP side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sip {
    /// Addresses to listen on.
    #[serde(with = "values::list")]
    pub(crate) udp: Vec<SocketAddr>,
    /// The same for TCP.
    pub(crate) tcp: Listen,
    /// The same for TLS, once there is a certificate.
    pub(crate) tls: Listen,
    /// PEM files; empty = none.
    pub(crate) tls_certificate: PathBuf,
    pub(crate) tls_key: PathBuf,
    /// Roots that are trusted instead of the system's; empty = none.
    pub(crate) tls_ca: PathBuf,
    /// Whom to ask for the names of registrars and providers; empty = those of this host.
    #[serde(with = "values::any_list")]
    pub(crate) name_servers: Vec<SocketAddr>,
    /// What Contact and SDP say; otherwise the address that the route to the peer uses.
    #[serde(with = "values::optional")]
    pub(crate) public_address: Option<IpAddr>,
    pub(crate) realm: Text,
    pub(crate) user_agent: Text,
    /// T1 of RFC 3261 section 17.1.1.1, milliseconds.
    #[serde(deserialize_with = "values::within::<_, _, 100, 4000>")]
    pub(crate) t1_ms: u16,
    /// The interval of session timers to ask for, seconds; 0: none (RFC 4028).
    #[serde(deserialize_with = "values::within::<_, _, 0, 86400>")]
    pub(crate) session_expires_s: u32,
    /// The smallest that is accepted.
    #[serde(deserialize_with = "values::within::<_, _, 90, 86400>")]
    pub(crate) min_se_s: u32,
    pub(crate) verbose_rejects: VerboseRejects,
    pub(crate) limits: SipLimits,
    pub(crate) guard: SipGuard,
}

/// How much of everything one SIP message may have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SipLimits {
    /// Octets of the start line and the headers together.
    #[serde(deserialize_with = "values::within::<_, _, 1024, 1048576>")]
    pub(crate) head: u32,
    /// Octets of one line, with what continues it.
    #[serde(deserialize_with = "values::within::<_, _, 256, 1048576>")]
    pub(crate) line: u32,
    #[serde(deserialize_with = "values::within::<_, _, 16, 10000>")]
    pub(crate) headers: u32,
    #[serde(deserialize_with = "values::within::<_, _, 1, 1000>")]
    pub(crate) vias: u32,
    #[serde(deserialize_with = "values::within::<_, _, 1, 1000>")]
    pub(crate) routes: u32,
    /// Contacts of one REGISTER.
    #[serde(deserialize_with = "values::within::<_, _, 1, 10>")]
    pub(crate) contacts: u32,
    /// Octets.
    #[serde(deserialize_with = "values::within::<_, _, 1024, 1048576>")]
    pub(crate) body: u32,
}

/// How much of whom is listened to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SipGuard {
    /// Whether OPTIONS of strangers is answered.
    pub(crate) pings: bool,
    /// Datagrams a second; 0 = any number.
    #[serde(deserialize_with = "values::within::<_, _, 0, 1000000>")]
    pub(crate) stranger_rate: u32,
    #[serde(deserialize_with = "values::within::<_, _, 1, 1000000>")]
    pub(crate) stranger_burst: u32,
    #[serde(deserialize_with = "values::within::<_, _, 0, 1000000>")]
    pub(crate) strangers_rate: u32,
    /// Requests a second; 0 = any number.
    #[serde(deserialize_with = "values::within::<_, _, 0, 1000000>")]
    pub(crate) peer_rate: u32,
    /// Failures that ban; 0 = never.
    #[serde(deserialize_with = "values::within::<_, _, 0, 1000>")]
    pub(crate) ban_failures: u32,
    #[serde(deserialize_with = "values::within::<_, _, 1, 86400>")]
    pub(crate) ban_window_s: u32,
    /// Seconds of the first ban.
    #[serde(deserialize_with = "values::within::<_, _, 1, 604800>")]
    pub(crate) ban_s: u32,
    #[serde(deserialize_with = "values::within::<_, _, 1, 604800>")]
    pub(crate) ban_longest_s: u32,
    /// Failures that close an account to new sources; 0 = never.
    #[serde(deserialize_with = "values::within::<_, _, 0, 10000>")]
    pub(crate) account_failures: u32,
    #[serde(deserialize_with = "values::within::<_, _, 1, 86400>")]
    pub(crate) account_window_s: u32,
    /// One banned address or network a line; empty = none.
    pub(crate) ban_file: PathBuf,
}

/// Audio of the SIP side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rtp {
    pub(crate) range: PortRange,
    /// The address to bind; otherwise the address that the route to the peer uses.
    #[serde(with = "values::optional")]
    pub(crate) address: Option<IpAddr>,
    /// Seconds of silence that end a call; 0 = never.
    #[serde(deserialize_with = "values::within::<_, _, 0, 3600>")]
    pub(crate) timeout_s: u16,
}

/// The threads that move audio.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Media {
    /// 0 = one less than there are processors.
    #[serde(deserialize_with = "values::within::<_, _, 0, 256>")]
    pub(crate) threads: u16,
}

/// The Telegram side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Telegram {
    /// From my.telegram.org; 0 = none.
    #[serde(deserialize_with = "values::within::<_, _, 0, 2147483647>")]
    pub(crate) api_id: i32,
    /// From my.telegram.org; empty = none.
    pub(crate) api_hash: Secret<String>,
    #[serde(with = "values::list")]
    pub(crate) library_versions: Vec<LibraryVersion>,
    /// Length of the frames sent, milliseconds.
    #[serde(deserialize_with = "values::frame_ms")]
    pub(crate) frame_ms: u8,
    pub(crate) p2p: bool,
    pub(crate) notify_errors: bool,
    /// The address to bind; otherwise the one that the default route uses.
    #[serde(with = "values::optional")]
    pub(crate) media_address: Option<IpAddr>,
    /// The address that Telegram users see in its place (1:1 NAT); otherwise that of SIP.
    #[serde(with = "values::optional")]
    pub(crate) public_address: Option<IpAddr>,
    /// Ports of the media towards Telegram; otherwise any.
    #[serde(with = "values::optional")]
    pub(crate) media_range: Option<PortRange>,
    #[serde(deserialize_with = "values::within::<_, _, 1, 300>")]
    pub(crate) rpc_timeout_s: u16,
    /// Whether loopback addresses may be candidates, for tests on one machine.
    pub(crate) allow_loopback: bool,
    pub(crate) pace: Pace,
    pub(crate) test_dc: TestDc,
}

/// How often a session asks Telegram for something; 0 = as often as it is called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Pace {
    #[serde(deserialize_with = "values::within::<_, _, 0, 100000>")]
    pub(crate) calls_per_minute: u32,
    /// How many of them at once after a pause.
    #[serde(deserialize_with = "values::within::<_, _, 1, 100000>")]
    pub(crate) calls_burst: u32,
    #[serde(deserialize_with = "values::within::<_, _, 0, 100000>")]
    pub(crate) phones_per_hour: u32,
    #[serde(deserialize_with = "values::within::<_, _, 0, 100000>")]
    pub(crate) usernames_per_hour: u32,
    /// Texts of PBXs.
    #[serde(deserialize_with = "values::within::<_, _, 0, 100000>")]
    pub(crate) texts_per_minute: u32,
}

/// A private server of the Telegram protocol; its key comes with the login.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TestDc {
    /// The number of the data centre; 0 = none.
    #[serde(deserialize_with = "values::within::<_, _, 0, 10000>")]
    pub(crate) id: i32,
    #[serde(with = "values::optional")]
    pub(crate) address: Option<SocketAddrV4>,
}

/// When there is too much to do, so that new calls are refused; 0 = this is not looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Overload {
    /// How long work may wait for its thread, milliseconds at the 99th percentile of a second.
    #[serde(deserialize_with = "values::within::<_, _, 0, 60000>")]
    pub(crate) delay_ms: u32,
    /// How busy the process may be for two seconds, of all processors that it may use.
    #[serde(deserialize_with = "values::within::<_, _, 0, 100>")]
    pub(crate) cpu_percent: u8,
    /// How much memory is to be free.
    #[serde(deserialize_with = "values::within::<_, _, 0, 16777216>")]
    pub(crate) memory_mib: u32,
    /// How long a mailbox may refuse messages.
    #[serde(deserialize_with = "values::within::<_, _, 0, 60000>")]
    pub(crate) mailbox_ms: u32,
    /// How long requests of strangers may wait; older ones are dropped.
    #[serde(deserialize_with = "values::within::<_, _, 0, 60000>")]
    pub(crate) stranger_wait_ms: u32,
}

/// The way out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Shutdown {
    /// Seconds that calls may go on after SIGTERM.
    #[serde(deserialize_with = "values::within::<_, _, 0, 3600>")]
    pub(crate) drain_s: u16,
}

impl Settings {
    /// Every key with the value that holds, secrets hidden, as TOML.
    pub(crate) fn effective(&self) -> String {
        let mut shown = self.clone();
        if !shown.telegram.api_hash.expose().is_empty() {
            shown.telegram.api_hash = Secret::new("***".to_owned());
        }
        toml::to_string(&shown).unwrap_or_default()
    }
}

impl Telegram {
    /// The application, when both halves are there.
    pub(crate) fn application(&self) -> Option<(i32, &Secret<String>)> {
        (self.api_id != 0 && !self.api_hash.expose().is_empty())
            .then_some((self.api_id, &self.api_hash))
    }
}

impl TestDc {
    /// Number and address, when there is such a server.
    pub(crate) fn server(&self) -> Option<(i32, SocketAddrV4)> {
        self.address
            .filter(|_| self.id != 0)
            .map(|address| (self.id, address))
    }
}

impl Settings {
    /// The folder of the backups.
    pub(crate) fn backups(&self) -> PathBuf {
        if self.backup.dir.as_os_str().is_empty() {
            self.data.dir.join("backups")
        } else {
            self.backup.dir.clone()
        }
    }
}

impl Data {
    /// The folder of the store.
    pub(crate) fn store(&self) -> PathBuf {
        self.dir.join("store")
    }
}

fn text(text: &str) -> Text {
    let Ok(text) = text.parse() else {
        unreachable!("a default is a valid text: a test reads them all")
    };
    text
}

impl Default for Node {
    fn default() -> Self {
        Self {
            name: text("strowger"),
        }
    }
}

impl Default for Data {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("/var/lib/strowger"),
            key_file: PathBuf::new(),
        }
    }
}

impl Default for Backup {
    fn default() -> Self {
        Self {
            dir: PathBuf::new(),
            hour_utc: 3,
            keep: 7,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        let Ok(level) = "info".parse() else {
            unreachable!("`info` is a level")
        };
        Self {
            level,
            format: LogFormat::Text,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            behind_proxy: false,
        }
    }
}

impl Sip {
    /// Where to listen for TCP.
    pub(crate) fn tcp(&self) -> Vec<SocketAddr> {
        match &self.tcp {
            Listen::AsUdp => self.udp.clone(),
            Listen::At(addresses) => addresses.clone(),
        }
    }

    /// Where to listen for TLS: nowhere without a certificate.
    pub(crate) fn tls(&self) -> Vec<SocketAddr> {
        if self.tls_certificate.as_os_str().is_empty() {
            return Vec::new();
        }
        let usual = |address: &SocketAddr| SocketAddr::new(address.ip(), 5061);
        match &self.tls {
            Listen::AsUdp => self.udp.iter().map(usual).collect(),
            Listen::At(addresses) => addresses.clone(),
        }
    }
}

impl Default for Sip {
    fn default() -> Self {
        Self {
            udp: vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5060))],
            tcp: Listen::AsUdp,
            tls: Listen::AsUdp,
            tls_certificate: PathBuf::new(),
            tls_key: PathBuf::new(),
            tls_ca: PathBuf::new(),
            name_servers: Vec::new(),
            public_address: None,
            realm: text("strowger"),
            user_agent: text("Strowger"),
            t1_ms: 500,
            session_expires_s: 1800,
            min_se_s: 90,
            verbose_rejects: VerboseRejects::All,
            limits: SipLimits::default(),
            guard: SipGuard::default(),
        }
    }
}

impl Default for SipLimits {
    fn default() -> Self {
        Self {
            head: 32_768,
            line: 8_192,
            headers: 256,
            vias: 70,
            routes: 32,
            contacts: 10,
            body: 65_536,
        }
    }
}

impl Default for SipGuard {
    fn default() -> Self {
        Self {
            pings: true,
            stranger_rate: 20,
            stranger_burst: 40,
            strangers_rate: 1_000,
            peer_rate: 1_000,
            ban_failures: 10,
            ban_window_s: 60,
            ban_s: 600,
            ban_longest_s: 86_400,
            account_failures: 30,
            account_window_s: 600,
            ban_file: PathBuf::new(),
        }
    }
}

impl Default for Rtp {
    fn default() -> Self {
        Self {
            range: PortRange {
                first: 16384,
                last: 32767,
            },
            address: None,
            timeout_s: 10,
        }
    }
}

impl Default for Telegram {
    fn default() -> Self {
        let versions = ["13.0.0", "12.0.0", "9.0.0", "8.0.0"];
        Self {
            api_id: 0,
            api_hash: Secret::default(),
            library_versions: versions
                .map(|version| LibraryVersion(version.to_owned()))
                .into(),
            frame_ms: 20,
            p2p: true,
            notify_errors: true,
            media_address: None,
            public_address: None,
            media_range: None,
            rpc_timeout_s: 10,
            allow_loopback: false,
            pace: Pace::default(),
            test_dc: TestDc::default(),
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            calls_per_minute: 6,
            calls_burst: 3,
            phones_per_hour: 10,
            usernames_per_hour: 30,
            texts_per_minute: 20,
        }
    }
}

impl Default for Overload {
    fn default() -> Self {
        Self {
            delay_ms: 100,
            cpu_percent: 85,
            memory_mib: 64,
            mailbox_ms: 1000,
            stranger_wait_ms: 500,
        }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { drain_s: 60 }
    }
}
