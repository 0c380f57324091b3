//! Calls that go on, and the records of all.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpResponse, delete, get, web};
use actors::{CallReport, House};
use model::{CallId, CallRecord, Outcome, Side};
use serde::{Deserialize, Serialize};
use store::Store;
use utoipa::ToSchema;

use super::access::{Calls, Read};
use super::{Page, PageQuery};
use crate::call_log::LogLine;
use crate::logging::Levels;
use crate::problem::Problem;
use crate::record_view::{RecordView, at};
use crate::veil::Veil;

/// A call.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CallView {
    /// Its id, a ULID.
    pub(crate) id: String,
    /// `setup`, `ringing`, `established`, `held` while it goes on, else `over`.
    pub(crate) state: String,
    /// `sip_to_tg`, `tg_to_sip` or `sip_to_sip`.
    pub(crate) direction: String,
    /// The trunk.
    pub(crate) trunk: String,
    /// The session; empty for a call from trunk to trunk.
    pub(crate) session: String,
    /// The trunk that such a call left by.
    pub(crate) to_trunk: String,
    /// Who called.
    pub(crate) from: String,
    /// Who was called.
    pub(crate) to: String,
    /// When it began, RFC 3339 in UTC.
    pub(crate) started_at: String,
    /// Milliseconds until it rang.
    pub(crate) ringing_after_ms: Option<u64>,
    /// Milliseconds until it was answered.
    pub(crate) answered_after_ms: Option<u64>,
    /// Milliseconds until it was over.
    pub(crate) ended_after_ms: Option<u64>,
    /// How it came out: `answered`, `busy`, `no_answer`, `declined`, `cancelled`, `rejected`, `limited`, `failed`.
    pub(crate) result: Option<String>,
    /// Which side ended it: `sip`, `telegram`, `here`.
    pub(crate) ended_by: Option<String>,
    /// How each leg ended.
    pub(crate) legs: Vec<LegView>,
    /// Everything else that is known of it.
    #[serde(flatten)]
    pub(crate) more: RecordView,
}

/// How a leg ended.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LegView {
    /// The trunk or session that it went over.
    pub(crate) via: String,
    /// The code.
    pub(crate) code: u16,
    /// Its phrase.
    pub(crate) phrase: String,
    /// The name of the cause, as in `docs/errors.md`.
    pub(crate) cause: String,
}

impl CallView {
    fn of(record: CallRecord, state: &str) -> Self {
        let more = RecordView::from(&record);
        let legs = record.legs.into_iter().map(|leg| LegView {
            via: leg.via,
            code: leg.code,
            phrase: leg.phrase,
            cause: leg.reason,
        });
        Self {
            id: bare(record.id),
            state: state.to_owned(),
            direction: record.direction.label().to_owned(),
            trunk: record.trunk,
            session: record.session,
            to_trunk: record.to_trunk,
            from: record.from,
            to: record.to,
            started_at: at(record.started_ms),
            ringing_after_ms: record.ringing_after_ms,
            answered_after_ms: record.answered_after_ms,
            ended_after_ms: record.ended_after_ms,
            result: record.outcome.map(Outcome::label).map(str::to_owned),
            ended_by: record.ended_by.map(Side::label).map(str::to_owned),
            legs: legs.collect(),
            more,
        }
    }
}

impl From<CallReport> for CallView {
    fn from(report: CallReport) -> Self {
        Self::of(report.record, &report.state)
    }
}

impl From<CallRecord> for CallView {
    fn from(record: CallRecord) -> Self {
        Self::of(record, "over")
    }
}

/// An id as programs write it.
pub(super) fn bare(id: CallId) -> String {
    let text = id.to_string();
    text.strip_prefix("call-").unwrap_or(&text).to_owned()
}

pub(super) fn id(text: &str) -> Result<CallId, Problem> {
    let id = text.parse();
    id.map_err(|_| Problem::not_found("call", text))
}

fn cursor(query: &PageQuery) -> Result<Option<CallId>, Problem> {
    let cursor = query.cursor.as_deref().map(str::parse).transpose();
    cursor.map_err(|_| Problem::bad_request("`cursor` is the `next` of another page"))
}

/// The calls that go on, oldest first
#[utoipa::path(tag = "calls", params(PageQuery), security(("token" = ["read"])), responses((status = 200, body = Page<CallView>)))]
#[get("/calls")]
pub(super) async fn list_calls(
    _: Read,
    house: Data<House>,
    veil: Data<Veil>,
    query: Query<PageQuery>,
) -> Result<Json<Page<CallView>>, Problem> {
    let found = house.calls(cursor(&query)?, query.limit()).await;
    let found = found.ok_or_else(|| Problem::busy(actors::SILENT))?;
    let calls = found.calls.into_iter().map(|call| veiled(call, &veil));
    Ok(Json(Page {
        items: calls.map(CallView::from).collect(),
        next: found.next.map(bare),
    }))
}

/// One call that goes on
#[utoipa::path(tag = "calls", params(("id" = String, Path, description = "its id")), security(("token" = ["read"])), responses((status = 200, body = CallView), (status = 404, body = crate::problem::Body)))]
#[get("/calls/{id}")]
pub(super) async fn show_call(
    _: Read,
    house: Data<House>,
    veil: Data<Veil>,
    name: Path<String>,
) -> Result<Json<CallView>, Problem> {
    let call = house.call(id(&name)?).await;
    let call = call.ok_or_else(|| Problem::not_found("call", &name))?;
    Ok(Json(veiled(call, &veil).into()))
}

/// A call that goes on, as it may be shown; records come so from the store.
fn veiled(call: CallReport, veil: &Veil) -> CallReport {
    CallReport {
        record: veil.over(call.record),
        ..call
    }
}

/// What was logged of a call, oldest first, as far as it is still in memory
#[utoipa::path(tag = "log", params(("id" = String, Path, description = "its id")), security(("token" = ["read"])), responses((status = 200, body = [LogLine]), (status = 404, body = crate::problem::Body)))]
#[get("/calls/{id}/log")]
pub(super) async fn show_call_log(
    _: Read,
    levels: Data<Levels>,
    name: Path<String>,
) -> Result<Json<Vec<LogLine>>, Problem> {
    let lines = levels.calls.of(id(&name)?);
    if lines.is_empty() {
        return Err(Problem::not_found("call in the log", &name));
    }
    Ok(Json(lines))
}

/// Ends a call
#[utoipa::path(tag = "calls", params(("id" = String, Path, description = "its id")), security(("token" = ["calls"])), responses((status = 204), (status = 404, body = crate::problem::Body)))]
#[delete("/calls/{id}")]
pub(super) async fn hang_up(
    _: Calls,
    house: Data<House>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    if house.hang_up(id(&name)?).await {
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(Problem::not_found("call", &name))
    }
}

/// The record of one call that is over
#[utoipa::path(tag = "cdr", params(("id" = String, Path, description = "its id")), security(("token" = ["read"])), responses((status = 200, body = CallView), (status = 404, body = crate::problem::Body)))]
#[get("/cdr/{id}")]
pub(super) async fn show_record(
    _: Read,
    store: Data<dyn Store>,
    name: Path<String>,
) -> Result<Json<CallView>, Problem> {
    let id = id(&name)?;
    let record = from_store(store, move |store| store.call(id)).await?;
    let record = record.ok_or_else(|| Problem::not_found("call", &name))?;
    // What is written at its beginning is for the case of a crash.
    if record.ended_after_ms.is_none() {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "not_over",
            format!("call {} has not ended yet", *name),
            "`GET /api/v1/calls/{id}` says how it goes",
        ));
    }
    Ok(Json(record.into()))
}

/// The disk may take its time, and this thread has others to serve.
pub(super) async fn from_store<T: Send + 'static>(
    store: Data<dyn Store>,
    work: impl FnOnce(&dyn Store) -> Result<T, store::StoreError> + Send + 'static,
) -> Result<T, Problem> {
    let store: Arc<dyn Store> = store.into_inner();
    let done = web::block(move || work(&*store)).await;
    Ok(done.map_err(|_| Problem::busy("the switch is stopping"))??)
}
