//! Who talks to whom, and how requests find the other end (RFC 3261 12).

use super::{Local, Target};
use crate::Hop;
use crate::message::{CSeq, HeaderName, Method, NameAddr, Request, Response, Uri};

/// RFC 3261 8.1.1.6.
const MAX_FORWARDS: u8 = 70;

/// What a request inside a dialog is matched by at our end; the peer's tag is checked by the call itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DialogId {
    /// The Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
}

impl DialogId {
    /// The dialog a request belongs to, if it belongs to one.
    pub fn of(request: &Request) -> Option<Self> {
        Some(Self {
            call_id: request.headers.call_id()?.to_owned(),
            local_tag: request.headers.to()?.tag()?.to_owned(),
        })
    }
}

/// The state of a dialog, early or confirmed.
#[derive(Debug, Clone)]
pub(super) struct Dialog {
    call_id: String,
    local_tag: String,
    /// Our From.
    local: NameAddr,
    /// The peer as we write it in To; its tag comes with its first response. Old peers have none (RFC 2543).
    remote: NameAddr,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    max_forwards: u8,
    routes: Vec<NameAddr>,
    target: Uri,
    /// Where the peer's last request came from; before the first one, where we sent ours.
    peer: Hop,
}

impl Dialog {
    /// The callee's end (RFC 3261 12.1.1).
    pub(super) fn uas(invite: &Request, source: Hop, local_tag: &str) -> Option<Self> {
        let headers = &invite.headers;
        Some(Self {
            call_id: headers.call_id()?.to_owned(),
            local_tag: local_tag.to_owned(),
            local: headers.to()?.with_tag(local_tag),
            remote: headers.from()?,
            local_cseq: 0,
            remote_cseq: Some(headers.cseq()?.number),
            max_forwards: MAX_FORWARDS,
            routes: headers.record_routes(),
            target: headers.contacts().into_iter().next()?.uri,
            peer: source,
        })
    }

    /// The caller's end before any response.
    pub(super) fn uac(target: &Target, call_id: String, local_tag: String) -> Self {
        let mut remote = target.to.clone();
        remote.params.remove("tag");
        Self {
            call_id,
            local: target.from.clone().with_tag(&local_tag),
            local_tag,
            remote,
            local_cseq: 0,
            remote_cseq: None,
            max_forwards: target.max_forwards,
            routes: Vec::new(),
            target: target.uri.clone(),
            peer: target.send_to,
        }
    }

    /// Takes the peer's side from a response to the first INVITE (RFC 3261 12.1.2, 13.2.2.4).
    pub(super) fn adopt(&mut self, response: &Response) {
        let headers = &response.headers;
        if let Some(to) = headers.to() {
            if to.tag() != self.remote.tag() {
                // Another branch counts its requests for itself.
                self.remote_cseq = None;
            }
            self.remote = to;
        }
        self.routes = headers.record_routes();
        self.routes.reverse();
        self.refresh(headers.contacts());
    }

    /// The INVITE goes to another place.
    pub(super) fn go_to(&mut self, place: Hop) {
        self.peer = place;
    }

    /// The INVITE goes out once more, outside all dialogs: its final response has ended the early ones (RFC 3261 12.3).
    pub(super) fn begin_again(&mut self, target: Uri, place: Hop) {
        self.remote.params.remove("tag");
        self.remote_cseq = None;
        self.routes.clear();
        self.target = target;
        self.peer = place;
    }

    /// Moves the remote target (RFC 3261 12.2).
    pub(super) fn refresh(&mut self, contacts: Vec<NameAddr>) {
        if let Some(contact) = contacts.into_iter().next() {
            self.target = contact.uri;
        }
    }

    pub(super) fn call_id(&self) -> &str {
        &self.call_id
    }

    pub(super) fn local_tag(&self) -> &str {
        &self.local_tag
    }

    pub(super) fn remote_tag(&self) -> Option<&str> {
        self.remote.tag()
    }

    pub(super) fn id(&self) -> DialogId {
        DialogId {
            call_id: self.call_id.clone(),
            local_tag: self.local_tag.clone(),
        }
    }

    pub(super) fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// Whether the request comes from the peer of this dialog.
    pub(super) fn is_from_peer(&self, request: &Request) -> bool {
        let headers = &request.headers;
        let tag_of = |address: Option<NameAddr>| address.and_then(|a| a.tag().map(str::to_owned));
        headers.call_id() == Some(self.call_id.as_str())
            && tag_of(headers.to()).as_deref() == Some(self.local_tag.as_str())
            && tag_of(headers.from()).as_deref() == self.remote_tag()
    }

    /// Takes the number of a request; false when it is not higher than the last one (RFC 3261 12.2.2).
    pub(super) fn advance(&mut self, number: u32, source: Hop) -> bool {
        if self.remote_cseq.is_some_and(|last| number <= last) {
            return false;
        }
        self.remote_cseq = Some(number);
        self.peer = source;
        true
    }

    /// A new request inside the dialog, with the next number (RFC 3261 12.2.1.1).
    pub(super) fn request(&mut self, local: &Local, method: Method) -> (Hop, Request) {
        self.local_cseq += 1;
        self.build(local, method, self.local_cseq)
    }

    /// A BYE for somebody who does not know how many requests have been made since: its number leaves room for a thousand.
    pub(super) fn late_bye(&self, local: &Local) -> (Hop, Request) {
        const ROOM: u32 = 1000;
        self.build(local, Method::Bye, self.local_cseq.saturating_add(ROOM))
    }

    /// Where the peer's last request came from.
    pub(super) fn peer(&self) -> Hop {
        self.peer
    }

    /// The ACK to a 2xx, with the number of its INVITE (RFC 3261 13.2.2.4).
    pub(super) fn ack(&self, local: &Local, number: u32) -> (Hop, Request) {
        self.build(local, Method::Ack, number)
    }

    fn build(&self, local: &Local, method: Method, number: u32) -> (Hop, Request) {
        let (uri, routes, next_hop) = self.next_hop();
        let mut request = Request::new(method.clone(), request_uri(uri));
        let headers = &mut request.headers;
        headers.push(HeaderName::MaxForwards, self.max_forwards);
        for route in routes {
            headers.push(HeaderName::Route, route);
        }
        headers.push(HeaderName::From, &self.local);
        headers.push(HeaderName::To, &self.remote);
        headers.push(HeaderName::CallId, &self.call_id);
        headers.push(HeaderName::CSeq, CSeq { number, method });
        if let Some(agent) = &local.agent {
            headers.push(HeaderName::UserAgent, agent);
        }
        if let Some((name, value)) = &local.header {
            headers.push(HeaderName::from(name.as_str()), value);
        }
        let written = next_hop.filter(|_| !local.send_to_source);
        (written.unwrap_or(self.peer), request)
    }

    /// The Request-URI, the Route set, and the address of the first stop when it is a literal one.
    fn next_hop(&self) -> (Uri, Vec<NameAddr>, Option<Hop>) {
        let target = self.target.clone();
        match self.routes.split_first() {
            None => {
                let address = target.hop();
                (target, Vec::new(), address)
            }
            Some((first, _)) if first.uri.param("lr").is_some() => {
                (target, self.routes.clone(), first.uri.hop())
            }
            // RFC 3261 12.2.1.1: a strict router gets its own address as Request-URI, and the target stands last.
            Some((first, others)) => {
                let mut routes = others.to_vec();
                routes.push(NameAddr::new(target));
                (first.uri.clone(), routes, first.uri.hop())
            }
        }
    }
}

/// Removes what a Request-URI must not have (RFC 3261 19.1.1, table 1).
fn request_uri(mut uri: Uri) -> Uri {
    if let Uri::Sip(sip) = &mut uri {
        sip.headers = None;
        sip.params.remove("method");
    }
    uri
}
