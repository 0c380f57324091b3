//! The value of Authorization (RFC 7616 3.4, RFC 3261 25.1 `credentials`).

use super::Algorithm;
use crate::message::{HeaderName, Request, scan};

/// The longest user name we look at, in octets.
const MAX_USERNAME: usize = 256;
/// The most parameters we look at.
const MAX_PARAMETERS: usize = 32;

/// Well-formed credentials with `qop=auth`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) realm: String,
    pub(super) nonce: String,
    pub(super) uri: String,
    /// In lower case.
    pub(super) response: String,
    pub(super) algorithm: Algorithm,
    pub(super) cnonce: String,
    pub(super) nc: u32,
}

/// The credentials break RFC 7616, or use what we do not offer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Credentials {
    /// The first Digest credentials for the realm; others are never hashed, however many there are.
    pub(super) fn find(request: &Request, realm: &str) -> Option<Result<Self, Malformed>> {
        request
            .headers
            .all(&HeaderName::Authorization)
            .filter_map(Parameters::parse)
            .find(|parameters| match parameters {
                Ok(parameters) => parameters.get("realm").is_none_or(|have| have == realm),
                Err(Malformed) => true,
            })
            .map(|parameters| Self::read(&parameters?))
    }

    fn read(parameters: &Parameters) -> Result<Self, Malformed> {
        let text = |name| parameters.get(name).map(str::to_owned).ok_or(Malformed);
        let algorithm = match parameters.get("algorithm") {
            None => Algorithm::Md5,
            Some(name) => [Algorithm::Sha256, Algorithm::Md5]
                .into_iter()
                .find(|algorithm| name.eq_ignore_ascii_case(algorithm.name()))
                .ok_or(Malformed)?,
        };
        let qop = parameters.get("qop").ok_or(Malformed)?;
        let nc = parameters.get("nc").ok_or(Malformed)?;
        if !qop.eq_ignore_ascii_case("auth") || nc.len() != 8 {
            return Err(Malformed);
        }
        if !nc.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Malformed);
        }
        let credentials = Self {
            username: text("username")?,
            realm: text("realm")?,
            nonce: text("nonce")?,
            uri: text("uri")?,
            response: text("response")?.to_ascii_lowercase(),
            algorithm,
            cnonce: text("cnonce")?,
            nc: u32::from_str_radix(nc, 16).map_err(|_| Malformed)?,
        };
        if credentials.username.is_empty() || credentials.username.len() > MAX_USERNAME {
            return Err(Malformed);
        }
        Ok(credentials)
    }

    /// The response of somebody who knows the password (RFC 7616 3.4.1).
    pub(super) fn expected(&self, method: &str, password: &str) -> String {
        let Self {
            username,
            realm,
            nonce,
            uri,
            cnonce,
            nc,
            algorithm,
            ..
        } = self;
        let ha1 = algorithm.hash(&format!("{username}:{realm}:{password}"));
        let ha2 = algorithm.hash(&format!("{method}:{uri}"));
        algorithm.hash(&format!("{ha1}:{nonce}:{nc:08x}:{cnonce}:auth:{ha2}"))
    }
}

/// The `name=value` list behind `Digest`.
pub(super) struct Parameters {
    list: Vec<(String, String)>,
}

impl Parameters {
    /// `None` for other schemes.
    pub(super) fn parse(value: &str) -> Option<Result<Self, Malformed>> {
        let value = scan::trim(value);
        let (scheme, rest) = value.split_once([' ', '\t']).unwrap_or((value, ""));
        scheme
            .eq_ignore_ascii_case("Digest")
            .then(|| Self::parse_list(rest))
    }

    fn parse_list(mut rest: &str) -> Result<Self, Malformed> {
        let mut list: Vec<(String, String)> = Vec::new();
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                return Ok(Self { list });
            }
            let (name, after) = rest.split_once('=').ok_or(Malformed)?;
            let name = scan::trim(name).to_ascii_lowercase();
            let after = after.trim_start_matches([' ', '\t']);
            let (value, after) = if after.starts_with('"') {
                scan::quoted_string(after).ok_or(Malformed)?
            } else {
                let end = after.find(',').unwrap_or(after.len());
                let (value, after) = after.split_at(end);
                (scan::trim(value).to_owned(), after)
            };
            rest = after.trim_start_matches([' ', '\t']);
            let ends = rest.is_empty() || rest.starts_with(',');
            // A name that stands twice could mean one thing here and another thing behind us.
            let twice = list.iter().any(|(have, _)| *have == name);
            if !ends || twice || !scan::is_token(&name) || list.len() == MAX_PARAMETERS {
                return Err(Malformed);
            }
            list.push((name, value));
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.list
            .iter()
            .find(|(have, _)| have == name)
            .map(|(_, value)| value.as_str())
    }
}
