//! Quota profiles, which are records, and who has one and what of it is used, which is the registry's.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpRequest, HttpResponse, delete, get, post, put};
use actors::{House, QuotaReport, Subject};
use model::QuotaName;
use serde::{Deserialize, Serialize};
use store::Change;
use utoipa::ToSchema;

use super::access::{Read, Write};
use super::records::changed;
use super::{Changed, Page, PageQuery, of_generation};
use crate::office::Office;
use crate::problem::Problem;
use crate::records::QuotaDraft;

/// What somebody with a quota profile has used.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct QuotaView {
    /// Whose it is: `trunk/NAME` or `session/NAME`.
    pub(crate) subject: String,
    /// The profile.
    pub(crate) quota: String,
    /// Milliseconds that were talked in the window.
    pub(crate) talked_ms: u64,
    /// How many may be talked, 0 = unlimited.
    pub(crate) talk_limit_ms: u64,
    /// When the window of the talk time ends, in milliseconds since 1970; null before it has begun.
    pub(crate) talk_until: Option<u64>,
    /// Calls that failed in the window.
    pub(crate) failed: u64,
    /// How many may fail, 0 = unlimited.
    pub(crate) fail_limit: u32,
    /// When the window of the failed calls ends, in milliseconds since 1970; null before it has begun.
    pub(crate) fail_until: Option<u64>,
}

impl From<QuotaReport> for QuotaView {
    fn from(report: QuotaReport) -> Self {
        Self {
            subject: report.subject,
            quota: report.quota.to_string(),
            talked_ms: report.talked_ms,
            talk_limit_ms: report.talk_limit_ms,
            talk_until: report.talk_until,
            failed: report.failed,
            fail_limit: report.fail_limit,
            fail_until: report.fail_until,
        }
    }
}

/// Who has a quota, and what of it is used, by subject
#[utoipa::path(tag = "quotas", params(PageQuery), security(("token" = ["read"])), responses((status = 200, body = Page<QuotaView>), (status = 503, body = crate::problem::Body)))]
#[get("/quotas")]
pub(super) async fn list_quotas(
    _: Read,
    house: Data<House>,
    query: Query<PageQuery>,
) -> Result<Json<Page<QuotaView>>, Problem> {
    let reports = house.quotas().await;
    let reports = reports.ok_or_else(|| Problem::busy(actors::SILENT))?;
    let mut views: Vec<QuotaView> = reports.into_iter().map(QuotaView::from).collect();
    views.sort_by(|a, b| a.subject.cmp(&b.subject));
    let key = |view: &QuotaView| view.subject.clone();
    Ok(Json(Page::of(views.into_iter(), &query, key)))
}

/// Forgets what a trunk, a session, a user or a route has used
#[utoipa::path(tag = "quotas", params(("kind" = String, Path, description = "`trunk`, `session`, `user`, `route` or `transit`"), ("name" = String, Path, description = "its name; of a route both ends, with `/` between them")), security(("token" = ["write"])), responses((status = 204), (status = 404, body = crate::problem::Body), (status = 503, body = crate::problem::Body)))]
#[post("/quotas/{kind}/{name:.+}/reset")]
pub(super) async fn reset_quota(
    _: Write,
    house: Data<House>,
    office: Data<Office>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (kind, name) = path.into_inner();
    let subject: Option<Subject> = format!("{kind}/{name}").parse().ok();
    let current = office.current().await;
    let is_there = match &subject {
        Some(Subject::Trunk(name)) => current.trunk(name).is_some(),
        Some(Subject::Session(name)) => current.session(name).is_some(),
        Some(Subject::User(name)) => current.table.user(name).is_some(),
        Some(Subject::Route(trunk, session)) => current.table.route(trunk, session).is_some(),
        Some(Subject::Transit(trunk, to)) => current.table.transit(trunk, to).is_some(),
        None => {
            return Err(Problem::bad_request(
                "a subject is trunk/NAME, session/NAME, user/NAME, route/TRUNK/SESSION or transit/TRUNK/TRUNK",
            ));
        }
    };
    let Some(subject) = subject.filter(|_| is_there) else {
        return Err(Problem::not_found(&kind, &name));
    };
    let done = house.reset_quota(subject).await;
    done.ok_or_else(|| Problem::busy(actors::SILENT))?;
    Ok(HttpResponse::NoContent().finish())
}

/// One quota profile
#[utoipa::path(tag = "quotas", params(("name" = String, Path, description = "its name")), security(("token" = ["read"])), responses((status = 200, body = QuotaDraft), (status = 404, body = crate::problem::Body)))]
#[get("/quotas/{name}")]
pub(super) async fn show_quota(
    _: Read,
    office: Data<Office>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let current = office.current().await;
    let missing = || Problem::not_found("quota", &name);
    let wanted: QuotaName = name.parse().map_err(|_| missing())?;
    let quota = current.table.quota(&wanted).ok_or_else(missing)?;
    let quota = QuotaDraft::from(quota);
    Ok(of_generation(current.generation, StatusCode::OK, &quota))
}

/// Makes a quota profile, or brings it to what is said; calls that are up keep what they began with
///
/// What is absent is not limited.
#[utoipa::path(tag = "quotas", params(("name" = String, Path, description = "its name")), request_body = QuotaDraft, security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 201, body = Changed), (status = 412, body = crate::problem::Body), (status = 422, body = crate::problem::Body)))]
#[put("/quotas/{name}")]
pub(super) async fn put_quota(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
    path: Path<String>,
    draft: Json<QuotaDraft>,
) -> Result<HttpResponse, Problem> {
    let wanted: QuotaName = path
        .parse()
        .map_err(|error: model::NameError| Problem::invalid(error.to_string()))?;
    if draft.name.as_ref().is_some_and(|name| *name != wanted) {
        return Err(Problem::invalid("`name` is another one than in the path"));
    }
    let status = match office.current().await.table.quota(&wanted) {
        Some(_) => StatusCode::OK,
        None => StatusCode::CREATED,
    };
    let changes = vec![Change::PutQuota(draft.spec(&wanted))];
    changed(&office, &request, status, changes).await
}

/// Removes a quota profile that nobody has
#[utoipa::path(tag = "quotas", params(("name" = String, Path, description = "its name")), security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 404, body = crate::problem::Body), (status = 412, body = crate::problem::Body), (status = 422, body = crate::problem::Body)))]
#[delete("/quotas/{name}")]
pub(super) async fn remove_quota(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let missing = || Problem::not_found("quota", &path);
    let name: QuotaName = path.parse().map_err(|_| missing())?;
    let changes = vec![Change::RemoveQuota(name)];
    changed(&office, &request, StatusCode::OK, changes).await
}
