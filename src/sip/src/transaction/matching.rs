//! Which transaction a message belongs to (RFC 3261 17.1.3, 17.2.3, 8.2.2.2).

use crate::message::{DEFAULT_PORT, Headers, Method, Request, Via};

/// What two arrivals of the same request have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ServerMatch {
    id: String,
    method: Method,
}

impl ServerMatch {
    /// Returns what identifies the transaction of the request; an ACK belongs to its INVITE.
    pub(super) fn of(request: &Request, via: &Via) -> Self {
        let method = if request.method == Method::Ack {
            Method::Invite
        } else {
            request.method.clone()
        };
        let id = match via.branch() {
            // RFC 3261 17.2.3: branch, sent-by and method.
            Some(branch) if via.has_cookie() => format!(
                "{branch}\n{}\n{}",
                via.host,
                via.port.unwrap_or(DEFAULT_PORT)
            )
            .to_ascii_lowercase(),
            // RFC 2543 peers: From tag, Call-ID, CSeq number and the top Via. Without the To tag, which the ACK has and
            // the INVITE has not, and the Request-URI, which the ACK to a success may have changed.
            Some(_) | None => {
                let headers = &request.headers;
                let from = headers.from();
                let tag = from
                    .as_ref()
                    .and_then(|from| from.tag())
                    .unwrap_or_default();
                let number = headers.cseq().map_or(0, |cseq| cseq.number);
                let branch = via.branch().unwrap_or_default();
                let sent_by = format!("{}:{}", via.host, via.port.unwrap_or(DEFAULT_PORT));
                format!(
                    "\n{}\n{tag}\n{number}\n{sent_by}\n{branch}",
                    headers.call_id().unwrap_or_default()
                )
            }
        };
        Self { id, method }
    }

    /// Returns the method of the request that began it.
    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the INVITE that a CANCEL with this identity is for (RFC 3261 9.2).
    pub(super) fn cancelled_invite(&self) -> Self {
        Self {
            id: self.id.clone(),
            method: Method::Invite,
        }
    }
}

/// What two ways of one forked request have in common (RFC 3261 8.2.2.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct MergeMatch {
    from_tag: String,
    call_id: String,
    cseq: u32,
    method: Method,
}

impl MergeMatch {
    /// Returns the identity of a request outside a dialog; `None` where the rule does not apply.
    pub(super) fn of(request: &Request) -> Option<Self> {
        if matches!(request.method, Method::Ack | Method::Cancel)
            || request.headers.to()?.tag().is_some()
        {
            return None;
        }
        Some(Self {
            from_tag: request.headers.from()?.tag()?.to_owned(),
            call_id: request.headers.call_id()?.to_owned(),
            cseq: request.headers.cseq()?.number,
            method: request.method.clone(),
        })
    }
}

/// What a response has in common with its request (RFC 3261 17.1.3): the branch and the method in CSeq.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ClientMatch {
    branch: String,
    method: Method,
}

impl ClientMatch {
    /// Returns the method of the request.
    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the identity in a request of ours or in a response to it.
    pub(super) fn of(headers: &Headers) -> Option<Self> {
        Some(Self {
            branch: headers.via()?.branch()?.to_owned(),
            method: headers.cseq()?.method,
        })
    }
}
