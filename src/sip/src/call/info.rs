//! INFO of ours inside a dialog (RFC 6086, for keypad digits the older use of RFC 2976): sent, its challenge answered, its outcome told.

use bytes::Bytes;

use super::{Call, CallEvent, CallOutput};
use crate::digest::Rounds;
use crate::message::{HeaderName, Method, Response};

/// An INFO without a final response.
#[derive(Debug)]
pub(super) struct Info {
    cseq: u32,
    content_type: String,
    body: Bytes,
    rounds: Rounds,
}

impl Call {
    pub(super) fn send_info(&mut self, content_type: String, body: Bytes) {
        self.send_info_with(content_type, body, Rounds::default(), None);
    }

    fn send_info_with(
        &mut self,
        content_type: String,
        body: Bytes,
        rounds: Rounds,
        credentials: Option<(HeaderName, String)>,
    ) {
        let (target, mut request) = self.dialog.request(&self.local, Method::Info);
        let headers = &mut request.headers;
        headers.push(HeaderName::ContentType, content_type.as_str());
        if let Some((name, value)) = credentials {
            headers.push(name, value);
        }
        request.body = body.clone();
        let cseq = self.dialog.local_cseq();
        self.info = Some(Info {
            cseq,
            content_type,
            body,
            rounds,
        });
        self.push(CallOutput::Send { target, request });
    }

    /// A final response of the peer, other than 408 and 481, which end the call; one to another request is none of this one's business.
    pub(super) fn info_answered(&mut self, response: &Response) {
        let cseq = response.headers.cseq();
        let is_to = |info: &mut Info| {
            cseq.is_some_and(|cseq| cseq.method == Method::Info && cseq.number == info.cseq)
        };
        let Some(mut info) = self.info.take_if(is_to) else {
            return;
        };
        let status = response.status;
        if matches!(status, 401 | 407) {
            let (_, request) = self.dialog.clone().request(&self.local, Method::Info);
            let credentials =
                self.answer_challenge(&mut info.rounds, response, &Method::Info, &request.uri);
            if credentials.is_some() {
                return self.send_info_with(info.content_type, info.body, info.rounds, credentials);
            }
        }
        self.emit(CallEvent::InfoAnswered { status });
    }
}
