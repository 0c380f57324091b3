//! All records at once, and several changes of them as one commit: what the command line works with.
//!
//! They are as they are kept, not as a file for `apply` has them. Who may only read finds [`KEPT`] in the place of the passwords of trunks and of the secrets of webhooks, and of
//! what follows the host in the URL of a webhook; what is put with that keeps the one it has.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Payload};
use actix_web::{HttpResponse, get, post};
use model::{Secret, TrunkKind, TrunkSpec, WebhookSpec};
use serde::{Deserialize, Serialize};
use store::Change;
use utoipa::ToSchema;

use super::access::{Admin, Read, Write};
use super::{Changed, of_generation};
use crate::office::{InForce, Office};
use crate::problem::Problem;
use crate::records::{Current, KEPT, is_kept, unveiled, veiled};

/// The longest commit that is read: 10,000 trunks at once.
const LONGEST_COMMIT: usize = 32 << 20;

/// Several changes that are made as one, or not at all.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedCommit {
    /// The generation that was read.
    pub(crate) expected: u64,
    /// What is to be changed, as in `{"put_trunk": {…}}`, `{"remove_route": ["TRUNK", "SESSION"]}`.
    #[schema(value_type = Vec<Object>)]
    pub(crate) changes: Vec<Change>,
}

/// All records, without the passwords of trunks and the secrets of webhooks, in whose place `***kept-by-the-switch***` stands
///
/// It also stands in the place of path and query of the URL of a webhook, which are shown to a token that has the scope `write` too.
#[utoipa::path(tag = "records", security(("token" = ["read"])), responses((status = 200, body = Object)))]
#[get("/records")]
pub(super) async fn show_records(
    _: Read,
    may_write: Option<Write>,
    office: Data<Office>,
) -> HttpResponse {
    let mut whole = office.current().await.whole();
    for trunk in &mut whole.trunks {
        if let Some(password) = password_of(&mut trunk.kind) {
            *password = Secret::new(KEPT.to_owned());
        }
    }
    whole.webhooks.retain_mut(|webhook| {
        webhook.secret = Secret::new(KEPT.to_owned());
        if may_write.is_some() {
            return true;
        }
        // As `/webhooks`, which needs `write` for that.
        let shown = veiled(&webhook.url);
        let is_shown = shown.is_some();
        webhook.url = shown.unwrap_or_else(|| webhook.url.clone());
        is_shown
    });
    shown(&whole)
}

/// All records, with the passwords of trunks and the secrets of webhooks
#[utoipa::path(tag = "records", security(("token" = ["admin"])), responses((status = 200, body = Object)))]
#[get("/records/secrets")]
pub(super) async fn show_secrets(_: Admin, office: Data<Office>) -> HttpResponse {
    shown(&office.current().await.whole())
}

fn shown(whole: &Current) -> HttpResponse {
    of_generation(whole.generation, StatusCode::OK, whole)
}

/// Makes all changes or none
///
/// A trunk that is put with the password `***kept-by-the-switch***` keeps the one it has, and a webhook its secret, and its URL if that leads to the same host.
#[utoipa::path(tag = "records", request_body = WantedCommit, security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 400, body = crate::problem::Body), (status = 404, body = crate::problem::Body), (status = 409, body = crate::problem::Body), (status = 412, body = crate::problem::Body), (status = 422, body = crate::problem::Body)))]
#[post("/records")]
pub(super) async fn commit(
    _: Write,
    office: Data<Office>,
    body: Payload,
) -> Result<Json<Changed>, Problem> {
    let too_long = |_| Problem::bad_request("a commit has 32 MiB at most");
    let body = body.to_bytes_limited(LONGEST_COMMIT).await;
    let body = body.map_err(too_long)?;
    let body = body.map_err(|error| Problem::bad_request(error.to_string()))?;
    let wanted: WantedCommit =
        serde_json::from_slice(&body).map_err(|error| Problem::bad_request(error.to_string()))?;
    let WantedCommit { expected, changes } = wanted;
    let current = office.current().await;
    let changes = changes.into_iter().map(|change| kept(&current, change));
    let changes = changes.collect::<Result<Vec<Change>, Problem>>()?;
    // What was kept is kept of this generation, so it must be the one that is changed.
    let generation = office.commit(Some(expected), changes).await?;
    Ok(Json(Changed { generation }))
}

/// The change with the password that a trunk has, where it brings none.
fn kept(current: &InForce, change: Change) -> Result<Change, Problem> {
    match change {
        Change::PutTrunk(spec) => with_password(current, *spec)
            .map(Box::new)
            .map(Change::PutTrunk),
        Change::PutWebhook(spec) => with_secret(current, *spec)
            .map(Box::new)
            .map(Change::PutWebhook),
        // Somebody has to say that the login runs nowhere else.
        Change::AdoptSession(_) => Err(Problem::invalid(
            "a session of a backup is adopted by /api/v1/sessions/NAME/adopt",
        )),
        Change::RemoveTrunk(_)
        | Change::PutSession(_)
        | Change::RemoveSession(_)
        | Change::PutRoute(_)
        | Change::RemoveRoute(..)
        | Change::PutTransit(_)
        | Change::RemoveTransit(..)
        | Change::PutQuota(_)
        | Change::RemoveQuota(_)
        | Change::PutUser(_)
        | Change::RemoveUser(_)
        | Change::RemoveWebhook(_)
        | Change::PutRole(_) => Ok(change),
    }
}

/// The secret signs and is not sent: it may stay where the webhook leads elsewhere.
fn with_secret(current: &InForce, mut spec: WebhookSpec) -> Result<WebhookSpec, Problem> {
    let before = current.table.webhook(&spec.name);
    let needs = |what: &str| Problem::invalid(format!("webhook {} needs a {what}", spec.name));
    let url = unveiled(&spec.url, before.map(|before| &before.url));
    let url = url.ok_or_else(|| needs("url"))?.clone();
    if is_kept(&spec.secret) {
        let before = before.ok_or_else(|| needs("secret"))?;
        spec.secret.clone_from(&before.secret);
    }
    spec.url = url;
    Ok(spec)
}

fn with_password(current: &InForce, mut spec: TrunkSpec) -> Result<TrunkSpec, Problem> {
    let password = password_of(&mut spec.kind);
    if password.is_none_or(|password| !is_kept(password)) {
        return Ok(spec);
    }
    let before = current.trunk(&spec.name).map(|before| &before.kind);
    match (&mut spec.kind, before) {
        (
            TrunkKind::InboundRegister { password, .. },
            Some(TrunkKind::InboundRegister { password: kept, .. }),
        ) => password.clone_from(kept),
        // The password of another account is nobody's business there.
        (
            TrunkKind::OutboundRegister {
                login,
                password,
                domain,
                ..
            },
            Some(TrunkKind::OutboundRegister {
                login: old_login,
                password: kept,
                domain: old_domain,
                ..
            }),
        ) if login == old_login && domain == old_domain => password.clone_from(kept),
        (
            TrunkKind::InboundRegister { .. }
            | TrunkKind::OutboundRegister { .. }
            | TrunkKind::Peer { .. },
            _,
        ) => {
            let what = format!("trunk {} needs a password", spec.name);
            return Err(Problem::invalid(what));
        }
    }
    Ok(spec)
}

fn password_of(kind: &mut TrunkKind) -> Option<&mut Secret<String>> {
    match kind {
        TrunkKind::InboundRegister { password, .. }
        | TrunkKind::OutboundRegister { password, .. } => Some(password),
        TrunkKind::Peer { .. } => None,
    }
}
