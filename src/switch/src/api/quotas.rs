//! Who has a quota, and what of it is used.

use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpResponse, get, post};
use actors::{House, QuotaReport, Subject};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{Read, Write};
use super::{Page, PageQuery};
use crate::office::Office;
use crate::problem::Problem;

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
