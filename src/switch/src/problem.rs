//! How HTTP refuses: `application/problem+json` of RFC 9457, with the cause and what to do next.

use actix_web::http::StatusCode;
use actix_web::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::{Deserialize, Serialize};
use store::StoreError;
use utoipa::ToSchema;

use crate::records::Refusal;

/// Why a request is refused, as RFC 9457 section 3.1 writes it, with two members of our own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Body {
    /// What kind of problem it is; `about:blank` where the status says it all.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The kind in words.
    pub(crate) title: String,
    /// The status of the response.
    pub(crate) status: u16,
    /// What is wrong with this very request.
    pub(crate) detail: String,
    /// A name that does not change with the words.
    pub(crate) cause: String,
    /// What to do next.
    pub(crate) hint: String,
}

/// The command that shows which there are of a kind.
pub(crate) fn lister(kind: &str) -> String {
    match kind {
        "call" => "strowger calls list".to_owned(),
        "quota of" => "strowger quota show".to_owned(),
        kind => format!("strowger {kind} list"),
    }
}

/// The same as an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem(Box<Body>);

/// The cause of a refusal for wrong tokens.
pub(crate) const WRONG_TOKENS: &str = "too_many_wrong_tokens";

impl Problem {
    /// The name of what is wrong.
    pub(crate) fn cause(&self) -> &str {
        &self.0.cause
    }

    /// What to do next.
    pub(crate) fn hint(&self) -> &str {
        &self.0.hint
    }

    /// What is wrong, in words.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// A problem of this status.
    pub(crate) fn new(
        status: StatusCode,
        cause: &str,
        detail: impl Into<String>,
        hint: &str,
    ) -> Self {
        Self(Box::new(Body {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            cause: cause.to_owned(),
            hint: hint.to_owned(),
        }))
    }

    /// Whether somebody else has changed the records meanwhile.
    pub(crate) fn is_conflict(&self) -> bool {
        self.0.status == StatusCode::PRECONDITION_FAILED.as_u16()
    }

    /// The status.
    #[cfg(test)]
    pub(crate) fn status(&self) -> u16 {
        self.0.status
    }

    /// A request that cannot be understood.
    pub(crate) fn bad_request(what: impl Into<String>) -> Self {
        let hint = "see /api/v1/openapi.json";
        Self::new(StatusCode::BAD_REQUEST, "bad_request", what, hint)
    }

    /// A record that cannot be.
    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        let hint = "correct the record; nothing was changed";
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_record",
            what,
            hint,
        )
    }

    /// Whoever asks has not shown who he is.
    pub(crate) fn unauthorized(what: &str) -> Self {
        let hint = "send `Authorization: Bearer TOKEN`, with a token of `strowger token create`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", what, hint)
    }

    /// There is no such thing.
    pub(crate) fn not_found(kind: &str, name: &str) -> Self {
        let detail = format!("there is no {kind} `{name}`");
        let hint = format!("`{}` shows which there are", lister(kind));
        Self::new(StatusCode::NOT_FOUND, "not_found", detail, &hint)
    }

    /// The switch does not know just now.
    pub(crate) fn busy(what: &str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_ready",
            what,
            "try again in a second",
        )
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.content_type("application/problem+json");
        if self.status_code() == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer realm=\"strowger\""));
        }
        if self.status_code() == StatusCode::TOO_MANY_REQUESTS {
            response.insert_header((RETRY_AFTER, "60"));
        }
        response.json(self)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let detail = error.to_string();
        match &error {
            StoreError::Conflict { .. } => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "changed_meanwhile",
                detail,
                "read again, and send the generation that you read with If-Match",
            ),
            StoreError::Missing { kind, name } => Self::not_found(kind, name),
            StoreError::NotAdopted { .. } => Self::new(
                StatusCode::CONFLICT,
                "not_adopted",
                detail,
                "see `strowger session adopt --help`",
            ),
            StoreError::LastKey { .. } => Self::new(
                StatusCode::CONFLICT,
                "last_key",
                detail,
                "add another first",
            ),
            _ => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "database_error",
                detail,
                "check the disk and the log",
            ),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Store(error) => error.into(),
            Refusal::Connected(_) => Self::new(
                StatusCode::CONFLICT,
                "session_connected",
                detail,
                "switch it off first",
            ),
            Refusal::Spec(_)
            | Refusal::Rules(..)
            | Refusal::Terms(..)
            | Refusal::RouteRules(..)
            | Refusal::Conflict(_)
            | Refusal::NoWorker(..)
            | Refusal::User(_)
            | Refusal::SameUser(..)
            | Refusal::Webhook(_)
            | Refusal::ManyWebhooks
            | Refusal::NoWay(..)
            | Refusal::Quota(_)
            | Refusal::NoQuota(..)
            | Refusal::Circle(_) => Self::invalid(detail),
        }
    }
}
