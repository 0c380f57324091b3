//! Transfer: REFER of the peer and its implicit subscription (RFC 3515, RFC 4488), and which dialog an INVITE replaces (RFC 3891).
//!
//! ```text
//!  REFER --> Asked --AcceptRefer: 202, NOTIFY 100--> Told --ReferProgress of 1xx: NOTIFY--> Told
//!               `--RefuseRefer: 4xx-6xx                `--ReferProgress of 2xx-6xx: the last NOTIFY
//! ```
//!
//! Off unless [`Local::refer`](super::Local::refer): then REFER gets 405, and nothing names it. With the BYE of the peer the
//! subscription ends as well; RFC 3515 2.4.4 would keep it, but who has hung up does not listen any more.

use super::dialog::DialogId;
use super::state::{Exchange, State};
use super::{Call, CallEvent, CallOutput, check};
use crate::message::{HeaderName, Headers, Method, NameAddr, Request, Uri, reason_phrase};
use crate::parse::ALLOW;
use crate::transaction::ServerKey;

/// Allow of a call that can be transferred.
const ALLOW_REFER: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, INFO, UPDATE, PRACK, REFER";
/// Supported of such a call.
const SUPPORTED_REFER: &str = "100rel, timer, replaces, norefersub";
/// How long the subscription is said to last, in seconds: longer than anybody rings.
const SUBSCRIPTION: u32 = 180;

/// A REFER that is being served.
#[derive(Debug)]
pub(super) enum Referring {
    /// The owner has to decide.
    Asked {
        tx: ServerKey,
        request: Box<Request>,
    },
    /// Its sender hears how it goes; nothing, if it wants so (RFC 4488).
    Told { id: u32, is_silent: bool },
}

/// The dialog that the INVITE shall take the place of (RFC 3891 6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The dialog, as its own end knows it.
    pub dialog: DialogId,
    /// Only while nobody has answered.
    pub early_only: bool,
}

/// Reads Replaces. `None` where the header is absent or malformed, or stands twice.
pub fn replaced(headers: &Headers) -> Option<Replaced> {
    if headers.count(&HeaderName::Replaces) != 1 {
        return None;
    }
    let mut parts = headers.get(&HeaderName::Replaces)?.split(';');
    let call_id = parts.next()?.trim();
    let (mut local_tag, mut remote_tag, mut early_only) = (None, None, false);
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "to-tag" => local_tag = Some(value.trim()),
            "from-tag" => remote_tag = Some(value.trim()),
            "early-only" => early_only = true,
            _ => {}
        }
    }
    let dialog = DialogId {
        call_id: call_id.to_owned(),
        local_tag: local_tag?.to_owned(),
    };
    // RFC 3891 3: both tags must be there. Ours cannot be guessed, so that it alone finds the dialog.
    remote_tag.map(|_| Replaced { dialog, early_only })
}

impl Call {
    /// The methods we take.
    pub(super) fn allow(&self) -> &'static str {
        if self.local.refer { ALLOW_REFER } else { ALLOW }
    }

    /// The extensions we have.
    pub(super) fn supported(&self) -> &'static str {
        supported(self.local.refer)
    }

    /// Those that a re-INVITE names. Nothing rings any more, and no PRACK of ours would follow: without the tag nobody waits for one
    /// (RFC 3262 3).
    pub(super) fn supported_within(&self) -> &'static str {
        let all = self.supported();
        all.strip_prefix("100rel, ").unwrap_or(all)
    }

    /// A REFER in the confirmed dialog.
    pub(super) fn refer_received(&mut self, s: Exchange, tx: ServerKey, request: Request) -> State {
        let target = target_of(&request.headers);
        let refusal = if !self.local.refer {
            Some(405)
        } else if self.referring.is_some() {
            let response = self.later(&request);
            self.respond(tx, response);
            return State::Established(s);
        } else {
            target.as_ref().err().copied()
        };
        match (refusal, target) {
            (None, Ok(target)) => {
                let referred_by = request.headers.get(&HeaderName::ReferredBy);
                let referred_by = referred_by.map(str::to_owned);
                let request = Box::new(request);
                self.referring = Some(Referring::Asked { tx, request });
                self.emit(CallEvent::Referred {
                    target: Box::new(target),
                    referred_by,
                });
            }
            (status, _) => {
                let response = self.response(&request, status.unwrap_or(400), "");
                self.respond(tx, response);
            }
        }
        State::Established(s)
    }

    /// The owner places the call that the peer wants.
    pub(super) fn accept_refer(&mut self) {
        let Some(Referring::Asked { tx, request }) = self.referring.take() else {
            return;
        };
        let wish = request.headers.get(&HeaderName::from("Refer-Sub"));
        let is_silent = wish.is_some_and(|wish| wish.trim().eq_ignore_ascii_case("false"));
        let mut response = self.response(&request, 202, "");
        response
            .headers
            .push(HeaderName::Contact, format!("<{}>", self.local.contact));
        if is_silent {
            response
                .headers
                .push(HeaderName::from("Refer-Sub"), "false");
        }
        self.respond(tx, response);
        let id = request.headers.cseq().map_or(0, |cseq| cseq.number);
        self.referring = Some(Referring::Told { id, is_silent });
        self.refer_progress(100, "");
    }

    /// The owner does not.
    pub(super) fn refuse_refer(&mut self, status: u16, reason: &str) {
        let Some(Referring::Asked { tx, request }) = self.referring.take() else {
            return;
        };
        let status = if (300..700).contains(&status) {
            status
        } else {
            603
        };
        let response = self.response(&request, status, reason);
        self.respond(tx, response);
    }

    /// Tells the peer how the call that it wanted goes (RFC 3515 2.4.5).
    pub(super) fn refer_progress(&mut self, status: u16, reason: &str) {
        let Some(Referring::Told { id, is_silent }) = self.referring else {
            return;
        };
        let is_last = status >= 200;
        if is_last {
            self.referring = None;
        }
        if is_silent {
            return;
        }
        let (target, mut request) = self.dialog.request(&self.local, Method::Notify);
        let headers = &mut request.headers;
        headers.push(HeaderName::Contact, format!("<{}>", self.local.contact));
        headers.push(HeaderName::Event, format!("refer;id={id}"));
        let state = if is_last {
            "terminated;reason=noresource".to_owned()
        } else {
            format!("active;expires={SUBSCRIPTION}")
        };
        headers.push(HeaderName::SubscriptionState, state);
        headers.push(HeaderName::ContentType, "message/sipfrag;version=2.0");
        let usual = reason_phrase(status);
        let reason = if reason.is_empty() { usual } else { reason };
        let reason: String = reason.chars().filter(|c| !c.is_control()).collect();
        request.body = format!("SIP/2.0 {status} {reason}\r\n").into();
        self.push(CallOutput::Send { target, request });
    }

    /// What a call that ends leaves of a REFER.
    pub(super) fn drop_refer(&mut self) {
        if matches!(self.referring, Some(Referring::Asked { .. })) {
            self.refuse_refer(487, "");
        }
        self.referring = None;
    }
}

/// What an end supports that can be transferred, or cannot.
pub(super) fn supported(refer: bool) -> &'static str {
    if refer {
        SUPPORTED_REFER
    } else {
        check::SUPPORTED
    }
}

/// Whom a REFER names; or the status that refuses it (RFC 3515 2.4.2, 2.4.6).
fn target_of(headers: &Headers) -> Result<NameAddr, u16> {
    if headers.count(&HeaderName::ReferTo) != 1 {
        return Err(400);
    }
    let target = headers.get(&HeaderName::ReferTo).unwrap_or_default();
    let target: NameAddr = target.parse().map_err(|_| 400_u16)?;
    match &target.uri {
        Uri::Sip(_) => {}
        Uri::Tel { .. } | Uri::Other { .. } => return Err(416),
    }
    match target.uri.param("method") {
        // Anything but a call would let a peer use us to send what it likes.
        Some(method) if !method.eq_ignore_ascii_case("INVITE") => Err(403),
        Some(_) | None => Ok(target),
    }
}
