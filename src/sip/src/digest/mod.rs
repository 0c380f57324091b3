//! Digest authentication (RFC 3261 22, RFC 7616, RFC 8760); [`Answerer`] is the client's side of it.
//!
//! One [`Digest`] for the process: it challenges without remembering anything about the challenged, and remembers the last
//! `nc` of those who answered right. Deliberately absent: `auth-int`, `-sess`, AKA, requests without `qop` (RFC 2069).

mod client;
mod credentials;
mod nonce;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use sha2::{Digest as _, Sha256};

pub use self::client::{Answerer, NoAnswer, Rounds};
use self::credentials::Credentials;
use self::nonce::Nonces;
use crate::message::{Request, SipUri, Uri, scan};

/// A hash of RFC 7616.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256 (RFC 8760).
    Sha256,
    /// MD5, the only one many telephones know.
    Md5,
}

impl Algorithm {
    /// The value of `algorithm`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Md5 => "MD5",
        }
    }

    /// The hash of a text, in lower case hexadecimal.
    fn hash(self, text: &str) -> String {
        match self {
            Algorithm::Sha256 => hex(&Sha256::digest(text)),
            Algorithm::Md5 => hex(&md5::compute(text).0),
        }
    }
}

/// What the credentials of a request are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Right and fresh.
    Ok,
    /// No credentials for our realm.
    Missing,
    /// An old, foreign or used-up nonce: challenge with `stale=true`. Whether the password is right was not looked at, unless the
    /// nonce was used before.
    Stale,
    /// The wrong password, by somebody who got our challenge at this very address.
    WrongPassword,
    /// Credentials that break RFC 7616, or for another Request-URI.
    Malformed,
}

/// Challenges requests and checks what comes back.
#[derive(Debug)]
pub struct Digest {
    realm: String,
    algorithms: Vec<Algorithm>,
    nonces: Nonces,
}

impl Digest {
    /// Starts with a key that nobody else knows; challenges for SHA-256 and then for MD5.
    pub fn new(realm: &str, key: [u8; 32]) -> Self {
        Self {
            realm: realm.to_owned(),
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            nonces: Nonces::new(realm, key),
        }
    }

    /// Challenges for these algorithms only, in this order, and accepts no others.
    ///
    /// Old peers give up on a challenge they do not know instead of taking the next one: sipp 3.6.1 when SHA-256 stands
    /// first, baresip 1.0.0 wherever it stands.
    pub fn with_algorithms(self, algorithms: &[Algorithm]) -> Self {
        Self {
            algorithms: algorithms.to_vec(),
            ..self
        }
    }

    /// Returns the values of WWW-Authenticate for a 401, one for each algorithm.
    pub fn challenge(&mut self, now_unix: u64, source: IpAddr, stale: bool) -> Vec<String> {
        let nonce = self.nonces.issue(now_unix, source);
        let realm = scan::quote(&self.realm);
        let stale = if stale { ", stale=true" } else { "" };
        self.algorithms
            .iter()
            .map(|algorithm| {
                let algorithm = algorithm.name();
                format!(
                    "Digest realm={realm}, nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"{stale}"
                )
            })
            .collect()
    }

    /// Returns the user name in the credentials for our realm, when they are well formed.
    pub fn username(&self, request: &Request) -> Option<String> {
        let credentials = Credentials::find(request, &self.realm)?.ok()?;
        Some(credentials.username)
    }

    /// Checks the credentials of a request against the password of its user.
    pub fn check(
        &mut self,
        now_unix: u64,
        source: IpAddr,
        request: &Request,
        password: &str,
    ) -> Verdict {
        let credentials = match Credentials::find(request, &self.realm) {
            None => return Verdict::Missing,
            Some(Err(_)) => return Verdict::Malformed,
            Some(Ok(credentials)) => credentials,
        };
        let known = self.algorithms.contains(&credentials.algorithm);
        if !known || !names_target(&credentials.uri, &request.uri) {
            return Verdict::Malformed;
        }
        // First of all: a forged source cannot have got the nonce, so it neither costs a hash nor counts as a guess.
        let Some(nonce) = self.nonces.verify(now_unix, source, &credentials.nonce) else {
            return Verdict::Stale;
        };
        let expected = credentials.expected(request.method.as_str(), password);
        if !same(&expected, &credentials.response) {
            return Verdict::WrongPassword;
        }
        // Only those who know a password fill the table of counts.
        if self.nonces.count(now_unix, nonce, credentials.nc) {
            Verdict::Ok
        } else {
            Verdict::Stale
        }
    }

    /// Does the work of [`Digest::check`] for a user that does not exist, so that the time tells nothing. Never `Ok`.
    pub fn check_unknown(&mut self, now_unix: u64, source: IpAddr, request: &Request) -> Verdict {
        // A response that fits by chance would have to be the hash of this very text.
        match self.check(now_unix, source, request, "\0no such user\0") {
            Verdict::Ok | Verdict::WrongPassword => Verdict::WrongPassword,
            Verdict::Stale => Verdict::Stale,
            Verdict::Missing => Verdict::Missing,
            Verdict::Malformed => Verdict::Malformed,
        }
    }
}

/// Whether the `uri` of the credentials means the Request-URI (RFC 3261 22.4, RFC 7616 3.4.6).
///
/// Parameters do not matter; a `uri` without user stands for its host, as sipp and some PBXs write it.
fn names_target(uri: &str, target: &Uri) -> bool {
    let Ok(uri) = uri.parse::<Uri>() else {
        return false;
    };
    match (&uri, target) {
        (Uri::Sip(named), Uri::Sip(wanted)) => {
            same_host(named, wanted) && uri.user().is_none_or(|user| target.user() == Some(user))
        }
        _ => uri == *target,
    }
}

fn same_host(a: &SipUri, b: &SipUri) -> bool {
    let default = |uri: &SipUri| if uri.secure { 5061 } else { 5060 };
    a.secure == b.secure
        && a.host.to_string().eq_ignore_ascii_case(&b.host.to_string())
        && a.port.unwrap_or(default(a)) == b.port.unwrap_or(default(b))
}

/// Compares in a time that depends on the length alone.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes()
            .zip(b.bytes())
            .fold(0, |all, (a, b)| all | (a ^ b))
            == 0
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        for digit in [octet >> 4, octet & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
        text
    })
}
