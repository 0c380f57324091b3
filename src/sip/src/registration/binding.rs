//! One binding, and what a REGISTER wants of it.

use std::time::{Duration, Instant};

use super::{MAX_CONTACTS, MAX_EXPIRES, MIN_EXPIRES, RegisterError};
use crate::Hop;
use crate::message::{HeaderName, NameAddr, Request, SipUri, Uri, delta_seconds};

/// Where a trunk can be reached for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The address it gave: the Request-URI of calls to it.
    pub uri: Uri,
    /// Where its REGISTER came from: the target of the packets.
    pub send_to: Hop,
    /// When it ends.
    pub expires_at: Instant,
    /// The preference it gave, in thousandths; 1000 when it gave none.
    pub q: u16,
    /// The Call-ID of its last REGISTER.
    pub call_id: String,
    /// The CSeq of its last REGISTER.
    pub cseq: u32,
}

impl Binding {
    /// The Contact of a 200 (RFC 3261 10.3, step 8); a started second counts whole.
    pub(super) fn to_contact(&self, now: Instant) -> NameAddr {
        let left = self.expires_at.saturating_duration_since(now);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let mut contact = NameAddr::new(self.uri.clone());
        if self.q < 1_000 {
            contact.params.set("q", Some(&format!("0.{:03}", self.q)));
        }
        contact.params.set("expires", Some(&seconds.to_string()));
        contact
    }
}

/// One thing a REGISTER asks for.
#[derive(Debug)]
pub(super) enum Wish {
    RemoveAll,
    Remove { uri: Uri },
    Bind { uri: Uri, q: u16, expires: Duration },
}

impl Wish {
    /// Reads every contact before anything is changed.
    pub(super) fn all(request: &Request) -> Result<Vec<Self>, RegisterError> {
        let headers = &request.headers;
        let count = headers.count(&HeaderName::Contact);
        if count > MAX_CONTACTS {
            return Err(RegisterError::TooManyContacts);
        }
        if headers.contact_is_star() {
            return if count == 1 && headers.expires() == Some(0) {
                Ok(vec![Wish::RemoveAll])
            } else {
                Err(RegisterError::Star)
            };
        }
        let contacts = headers.contacts();
        if contacts.len() != count {
            return Err(RegisterError::Contact);
        }
        contacts
            .iter()
            .map(|contact| Self::read(contact, headers.expires()))
            .collect()
    }

    fn read(contact: &NameAddr, header: Option<u32>) -> Result<Self, RegisterError> {
        let uri = match &contact.uri {
            uri @ Uri::Sip(_) => uri.clone(),
            Uri::Tel { .. } | Uri::Other { .. } => return Err(RegisterError::Contact),
        };
        let own = contact.params.get("expires").and_then(delta_seconds);
        let asked = own
            .or(header)
            .map_or(MAX_EXPIRES, |seconds| Duration::from_secs(seconds.into()));
        if asked.is_zero() {
            return Ok(Wish::Remove { uri });
        }
        if asked < MIN_EXPIRES {
            return Err(RegisterError::IntervalTooBrief);
        }
        Ok(Wish::Bind {
            uri,
            q: contact.params.get("q").map_or(1_000, thousandths),
            expires: asked.min(MAX_EXPIRES),
        })
    }
}

/// Reads a `qvalue` (RFC 3261 25.1); what is none counts as 1.
fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    match (whole, digits.parse()) {
        ("0", Ok(thousandths)) if fraction.len() <= 3 => thousandths,
        _ => 1_000,
    }
}

/// Whether two contacts are the same binding (RFC 3261 19.1.4).
pub(super) fn same_address(a: &Uri, b: &Uri) -> bool {
    let (Uri::Sip(left), Uri::Sip(right)) = (a, b) else {
        return a == b;
    };
    left.secure == right.secure
        && a.user() == b.user()
        && left.password == right.password
        && left
            .host
            .to_string()
            .eq_ignore_ascii_case(&right.host.to_string())
        && left.port == right.port
        && same_params(left, right)
}

/// These must stand in both or in neither; the others only have to agree where both have them.
const DECISIVE: [&str; 5] = ["transport", "user", "ttl", "method", "maddr"];

/// Above this many parameters, addresses are the same only when they are written the same.
const MAX_PARAMS: usize = 32;

fn same_params(left: &SipUri, right: &SipUri) -> bool {
    if left.params.iter().count().max(right.params.iter().count()) > MAX_PARAMS {
        return left.params == right.params;
    }
    let agrees = |name: &str| match (left.params.get(name), right.params.get(name)) {
        (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
        (None, None) => true,
        _ => DECISIVE.iter().all(|d| !d.eq_ignore_ascii_case(name)),
    };
    let mut names = left.params.iter().chain(right.params.iter());
    names.all(|(name, _)| agrees(name))
}
