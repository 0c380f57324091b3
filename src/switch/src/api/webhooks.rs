//! Webhooks. Every change is one commit.

use std::time::{Duration, UNIX_EPOCH};

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpRequest, HttpResponse, delete, get, post, put};
use model::{WebhookName, WebhookSpec};
use serde::{Deserialize, Serialize};
use store::Change;
use utoipa::ToSchema;

use super::access::Write;
use super::records::changed;
use super::{Changed, Page, PageQuery, expected, of_generation};
use crate::office::{InForce, Office};
use crate::problem::Problem;
use crate::records::WebhookDraft;
use crate::webhooks::Webhooks;

/// A webhook.
#[derive(Debug, Serialize, ToSchema)]
struct WebhookView {
    /// Its record, without its secret.
    record: WebhookDraft,
    /// Why the switch has disabled it; null where its owner has, or it is enabled.
    disabled_because: Option<String>,
    /// How many deliveries wait, or are being posted.
    waiting: usize,
}

impl WebhookView {
    fn of(spec: &WebhookSpec, webhooks: &Webhooks) -> Self {
        Self {
            record: WebhookDraft::from(spec).without_secret(),
            disabled_because: spec.disabled_because.clone(),
            waiting: webhooks.waiting(&spec.name),
        }
    }

    fn name(&self) -> String {
        let name = self.record.name.as_ref();
        name.map(ToString::to_string).unwrap_or_default()
    }
}

/// What became of a webhook.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct WebhookPut {
    /// The generation of the records that there is now.
    generation: u64,
    /// Its secret, where one was made just now; nobody is shown it here again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// An event that is, was or will be posted to a webhook.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct DeliveryView {
    /// Its id, `X-Strowger-Delivery` of each of its posts.
    pub(crate) id: String,
    /// What kind of event it is.
    pub(crate) event: String,
    /// `queued`: not posted yet; `retry`: posted without success, and posted again; `ok`; `dropped`.
    pub(crate) state: String,
    /// How often it was posted.
    pub(crate) tries: u8,
    /// When the last post began.
    pub(crate) at: Option<String>,
    /// How long it took, in milliseconds.
    pub(crate) ms: Option<u64>,
    /// The status of its answer.
    pub(crate) status: Option<u16>,
    /// Why there was none, in words.
    pub(crate) error: Option<String>,
    /// When it is posted again.
    pub(crate) next: Option<String>,
}

/// What a receiver said to a test.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct WebhookTest {
    /// Whether it was taken: a status of 200 to 299.
    pub(crate) ok: bool,
    /// The status of the answer.
    pub(crate) status: Option<u16>,
    /// Why there is none, in words.
    pub(crate) error: Option<String>,
    /// How long it took, in milliseconds.
    pub(crate) ms: u64,
    /// The beginning of the answer, 256 characters at most.
    pub(crate) said: String,
}

/// A time in milliseconds since 1970 as all of this interface writes it.
pub(crate) fn moment(unix_ms: u64) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms));
    humantime::format_rfc3339_millis(at.unwrap_or(UNIX_EPOCH)).to_string()
}

fn unknown(path: &str) -> Problem {
    Problem::not_found("webhook", path)
}

fn find<'a>(current: &'a InForce, path: &str) -> Result<&'a WebhookSpec, Problem> {
    let name: WebhookName = path.parse().map_err(|_| unknown(path))?;
    let found = current.table.webhook(&name).map(AsRef::as_ref);
    found.ok_or_else(|| unknown(path))
}

/// All webhooks, by name, without their secrets
#[utoipa::path(tag = "webhooks", params(PageQuery), security(("token" = ["write"])), responses((status = 200, body = Page<WebhookView>)))]
#[get("/webhooks")]
pub(super) async fn list_webhooks(
    _: Write,
    office: Data<Office>,
    webhooks: Data<Webhooks>,
    query: Query<PageQuery>,
) -> HttpResponse {
    let current = office.current().await;
    let views = current.table.webhooks();
    let views = views.map(|spec| WebhookView::of(spec, &webhooks));
    let page = Page::of(views, &query, WebhookView::name);
    of_generation(current.generation, StatusCode::OK, &page)
}

/// One webhook, without its secret
#[utoipa::path(tag = "webhooks", params(("name" = String, Path, description = "its name")), security(("token" = ["write"])), responses((status = 200, body = WebhookView), (status = 404, body = crate::problem::Body)))]
#[get("/webhooks/{name}")]
pub(super) async fn show_webhook(
    _: Write,
    office: Data<Office>,
    webhooks: Data<Webhooks>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let current = office.current().await;
    let view = WebhookView::of(find(&current, &name)?, &webhooks);
    Ok(of_generation(current.generation, StatusCode::OK, &view))
}

/// Makes a webhook, or brings it to what is said
///
/// What is absent has its default; `url` must be there. The secret is that of before, or a new one, which is answered this once.
#[utoipa::path(tag = "webhooks", params(("name" = String, Path, description = "its name")), request_body = WebhookDraft, security(("token" = ["write"])), responses((status = 200, body = WebhookPut), (status = 201, body = WebhookPut), (status = 412, body = crate::problem::Body), (status = 422, body = crate::problem::Body)))]
#[put("/webhooks/{name}")]
pub(super) async fn put_webhook(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
    path: Path<String>,
    draft: Json<WebhookDraft>,
) -> Result<HttpResponse, Problem> {
    let wanted: WebhookName = path
        .parse()
        .map_err(|error: model::NameError| Problem::invalid(error.to_string()))?;
    if draft.name.as_ref().is_some_and(|name| *name != wanted) {
        return Err(Problem::invalid("`name` is another one than in the path"));
    }
    let current = office.current().await;
    let before = current.table.webhook(&wanted).map(AsRef::as_ref);
    let spec = draft.spec(&wanted, before).map_err(Problem::invalid)?;
    let is_made = draft.secret.is_none() && before.is_none();
    let secret = is_made.then(|| spec.secret.expose().clone());
    let status = match before {
        Some(_) => StatusCode::OK,
        None => StatusCode::CREATED,
    };
    // What it was completed from must still be true.
    let seen = expected(request.headers())?.unwrap_or(current.generation);
    let changes = vec![Change::PutWebhook(Box::new(spec))];
    let generation = office.commit(Some(seen), changes).await?;
    let put = WebhookPut { generation, secret };
    Ok(of_generation(generation, status, &put))
}

/// Removes a webhook; what waits for it is dropped
#[utoipa::path(tag = "webhooks", params(("name" = String, Path, description = "its name")), security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 404, body = crate::problem::Body), (status = 412, body = crate::problem::Body)))]
#[delete("/webhooks/{name}")]
pub(super) async fn remove_webhook(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let name: WebhookName = path.parse().map_err(|_| unknown(&path))?;
    let changes = vec![Change::RemoveWebhook(name)];
    changed(&office, &request, StatusCode::OK, changes).await
}

/// Posts an event `webhook.test` now and once, also to one that is disabled, and says what the receiver said; takes up to 10 s
#[utoipa::path(tag = "webhooks", params(("name" = String, Path, description = "its name")), security(("token" = ["write"])), responses((status = 200, body = WebhookTest), (status = 404, body = crate::problem::Body), (status = 503, body = crate::problem::Body)))]
#[post("/webhooks/{name}/test")]
pub(super) async fn test_webhook(
    _: Write,
    office: Data<Office>,
    webhooks: Data<Webhooks>,
    path: Path<String>,
) -> Result<Json<WebhookTest>, Problem> {
    let current = office.current().await;
    let tested = webhooks.test(find(&current, &path)?).await;
    let tested = tested.ok_or_else(|| Problem::busy("too many webhooks are being tested"))?;
    Ok(Json(tested))
}

/// What is, was or will be posted to a webhook, the newest first: all that waits, and the last 200 that are over since the start
#[utoipa::path(tag = "webhooks", params(("name" = String, Path, description = "its name"), PageQuery), security(("token" = ["write"])), responses((status = 200, body = Page<DeliveryView>), (status = 404, body = crate::problem::Body)))]
#[get("/webhooks/{name}/deliveries")]
pub(super) async fn list_deliveries(
    _: Write,
    office: Data<Office>,
    webhooks: Data<Webhooks>,
    path: Path<String>,
    query: Query<PageQuery>,
) -> Result<Json<Page<DeliveryView>>, Problem> {
    let current = office.current().await;
    let deliveries = webhooks.deliveries(&find(&current, &path)?.name);
    let is_behind = |view: &DeliveryView| {
        let cursor = query.cursor.as_ref();
        cursor.is_none_or(|cursor| view.id < *cursor)
    };
    let behind = deliveries.into_iter().filter(is_behind);
    let mut items: Vec<DeliveryView> = behind.take(query.limit() + 1).collect();
    Ok(Json(Page::cut(&mut items, &query, |view| view.id.clone())))
}
