//! Registration: here the registrar's side (RFC 3261 10.3), in [`Outbound`] the client's.
//!
//! ```text
//!            REGISTER with a contact
//!   Absent ---------------------------> Bound --+ refresh, more contacts (4 at most)
//!      ^                                  |  ^--+
//!      +----------------------------------+
//!         expires=0, "*", or time
//! ```
//!
//! [`Inbound`] keeps the bindings of one trunk. Who may register is decided before: see [`crate::digest`]. Requests go to where
//! the REGISTER came from, whatever its Contact says (SEC-A8).

mod binding;
mod outbound;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};
use thiserror::Error;

pub use self::binding::Binding;
use self::binding::{Wish, same_address};
pub use self::outbound::{
    Outbound, OutboundConfig, OutboundError, OutboundEvent, OutboundInput, OutboundOutput, Place,
    Places, Series,
};
use crate::Hop;
use crate::message::{HeaderName, Request, Response, Uri, respond};

/// The shortest lifetime granted.
pub const MIN_EXPIRES: Duration = Duration::from_secs(60);
/// The longest lifetime granted, and the one of those who ask for none.
pub const MAX_EXPIRES: Duration = Duration::from_secs(3_600);
/// How many bindings a trunk has at most.
pub const MAX_BINDINGS: usize = 4;
/// How many contacts one request may name.
pub const MAX_CONTACTS: usize = 10;

/// The bindings of one trunk that registers with us.
#[derive(Debug)]
pub struct Inbound {
    state: State,
    rng: SmallRng,
}

#[derive(Debug)]
enum State {
    Absent,
    /// At least one binding, in the order of their last update.
    Bound {
        bindings: Vec<Binding>,
    },
}

/// A REGISTER that was carried out.
#[derive(Debug)]
pub struct Registered {
    /// The 200, with every binding that holds now.
    pub response: Response,
    /// What it did.
    pub change: Change,
    /// Bindings that had to make room.
    pub replaced: Vec<Uri>,
}

/// What a REGISTER did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// There was no binding, now there is.
    Registered,
    /// There still is one.
    Refreshed,
    /// The last binding is gone.
    Removed,
    /// Nothing: the request named no contact, or nothing that was there.
    None,
}

/// Why a REGISTER is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RegisterError {
    /// A lifetime below [`MIN_EXPIRES`].
    #[error("the lifetime is shorter than 60 s")]
    IntervalTooBrief,
    /// `*` beside another contact, or without `Expires: 0`.
    #[error("a contact of * stands alone and with Expires: 0")]
    Star,
    /// More than [`MAX_CONTACTS`] contacts.
    #[error("more than 10 contacts")]
    TooManyContacts,
    /// A contact that is no SIP address.
    #[error("a contact is not a SIP address")]
    Contact,
    /// A To that is no SIP address.
    #[error("the address of record is not a SIP address")]
    AddressOfRecord,
    /// A CSeq that is not higher than the one before in the same Call-ID.
    #[error("the CSeq is not higher than the last one")]
    OutOfOrder,
    /// No Call-ID or CSeq.
    #[error("no Call-ID or CSeq")]
    Malformed,
}

impl RegisterError {
    /// The status code: 400, 423 or 513.
    pub fn status(self) -> u16 {
        match self {
            RegisterError::IntervalTooBrief => 423,
            RegisterError::TooManyContacts => 513,
            RegisterError::Star
            | RegisterError::Contact
            | RegisterError::AddressOfRecord
            | RegisterError::OutOfOrder
            | RegisterError::Malformed => 400,
        }
    }

    /// The refusal, with Min-Expires where it belongs.
    pub fn respond(self, request: &Request, to_tag: &str) -> Response {
        let mut response = respond(request, self.status(), "", Some(to_tag));
        if self == RegisterError::IntervalTooBrief {
            response
                .headers
                .push(HeaderName::MinExpires, MIN_EXPIRES.as_secs());
        }
        response
    }
}

/// Looks at what no password mends: whom the request registers (RFC 3261 10.2, RFC 4475 3.3.4).
pub fn inspect(request: &Request) -> Result<(), RegisterError> {
    match request.headers.to().map(|to| to.uri) {
        Some(Uri::Sip(_)) => Ok(()),
        Some(Uri::Tel { .. } | Uri::Other { .. }) | None => Err(RegisterError::AddressOfRecord),
    }
}

impl Inbound {
    /// Starts without bindings. The seed is for tags.
    pub fn new(seed: u64) -> Self {
        Self::restore(seed, Vec::new())
    }

    /// Starts with the bindings of an earlier life, as [`Inbound::contacts`] gave them.
    pub fn restore(seed: u64, mut bindings: Vec<Binding>) -> Self {
        bindings.reverse();
        let mut inbound = Self {
            state: State::Absent,
            rng: SmallRng::seed_from_u64(seed),
        };
        inbound.set(bindings);
        inbound
    }

    /// Carries out a REGISTER of the trunk, all of it or nothing (RFC 3261 10.3, steps 6 to 8).
    pub fn update(
        &mut self,
        now: Instant,
        request: &Request,
        source: Hop,
    ) -> Result<Registered, RegisterError> {
        self.expire(now);
        let headers = &request.headers;
        let (Some(call_id), Some(cseq)) = (headers.call_id(), headers.cseq()) else {
            return Err(RegisterError::Malformed);
        };
        let wishes = Wish::all(request)?;
        let mut bindings = self.bindings().to_vec();
        let before = bindings.len();
        let mut replaced = Vec::new();
        for wish in &wishes {
            let concerned = |binding: &Binding| match wish {
                Wish::RemoveAll => true,
                Wish::Remove { uri } | Wish::Bind { uri, .. } => same_address(&binding.uri, uri),
            };
            let is_late = |binding: &Binding| {
                concerned(binding) && binding.call_id == call_id && cseq.number <= binding.cseq
            };
            if self.bindings().iter().any(is_late) {
                return Err(RegisterError::OutOfOrder);
            }
            bindings.retain(|binding| !concerned(binding));
            if let Wish::Bind { uri, q, expires } = wish {
                bindings.push(Binding {
                    uri: uri.clone(),
                    send_to: source,
                    expires_at: now + *expires,
                    q: *q,
                    call_id: call_id.to_owned(),
                    cseq: cseq.number,
                });
            }
            while bindings.len() > MAX_BINDINGS {
                replaced.push(bindings.remove(0).uri);
            }
        }
        let change = match (before, bindings.len()) {
            (0, 0) => Change::None,
            (0, _) => Change::Registered,
            (_, 0) => Change::Removed,
            _ if wishes.is_empty() => Change::None,
            _ => Change::Refreshed,
        };
        self.set(bindings);
        Ok(Registered {
            response: self.ok(now, request),
            change,
            replaced,
        })
    }

    /// The bindings that hold, the preferred one first: highest `q`, then latest update.
    pub fn contacts(&self, now: Instant) -> Vec<Binding> {
        let mut contacts: Vec<Binding> = self
            .bindings()
            .iter()
            .rev()
            .filter(|binding| binding.expires_at > now)
            .cloned()
            .collect();
        contacts.sort_by_key(|binding| std::cmp::Reverse(binding.q));
        contacts
    }

    /// Whether there is a binding.
    pub fn is_bound(&self, now: Instant) -> bool {
        self.bindings()
            .iter()
            .any(|binding| binding.expires_at > now)
    }

    /// When the next binding runs out.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.bindings().iter().map(|b| b.expires_at).min()
    }

    /// Drops the bindings that ran out and returns them.
    pub fn expire(&mut self, now: Instant) -> Vec<Binding> {
        let (kept, gone) = self
            .bindings()
            .iter()
            .cloned()
            .partition(|binding| binding.expires_at > now);
        self.set(kept);
        gone
    }

    fn bindings(&self) -> &[Binding] {
        match &self.state {
            State::Absent => &[],
            State::Bound { bindings } => bindings,
        }
    }

    fn set(&mut self, bindings: Vec<Binding>) {
        self.state = if bindings.is_empty() {
            State::Absent
        } else {
            State::Bound { bindings }
        };
    }

    fn ok(&mut self, now: Instant, request: &Request) -> Response {
        let tag = format!("{:016x}", self.rng.next_u64());
        let mut response = respond(request, 200, "OK", Some(&tag));
        for binding in self.contacts(now) {
            response
                .headers
                .push(HeaderName::Contact, binding.to_contact(now));
        }
        response
    }
}
