//! Call records, as they are looked for: JSON, JSON lines or comma-separated values.

use std::time::SystemTime;

use actix_web::http::header::{ACCEPT, HeaderName, LINK};
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse, get};
use model::CallId;
use serde::{Deserialize, Serialize};
use store::Store;
use utoipa::{IntoParams, ToSchema};

use super::access::Read;
use super::calls::{CallView, bare, from_store};
use super::{BASE, LONGEST_PAGE, PAGE};
use crate::cdr::{self, Words};
use crate::problem::Problem;
use crate::veil::Veil;

/// How many call records were met and cannot be read; only where there are any.
const UNREADABLE: HeaderName = HeaderName::from_static("strowger-unreadable");

/// A part of the call records.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CallPage<T> {
    /// The records, newest first.
    pub(crate) items: Vec<T>,
    /// The cursor of the next page; null when this is the last.
    pub(crate) next: Option<String>,
    /// The ids of those that were met on the way and cannot be read: whether they are wanted nobody knows. The next page may have some of
    /// them again.
    #[serde(default)]
    pub(crate) unreadable: Vec<String>,
}

/// Which call records are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// How many, 1 to 1000; 100 unless said. A page may hold fewer and have a next one all the same
    limit: Option<usize>,
    /// `next` of the page before
    cursor: Option<String>,
    /// Those that began then or later: `2026-01-31`, `2026-01-31T08:00:00Z`, or `2h` for two hours ago
    since: Option<String>,
    /// Those that began earlier
    until: Option<String>,
    /// The trunk, by which a call came or left
    trunk: Option<String>,
    /// The session
    session: Option<String>,
    /// A code with which a leg ended, such as 486
    code: Option<u16>,
    /// What stands anywhere in the number that called, or was called
    number: Option<String>,
    /// `sip_to_tg`, `tg_to_sip` or `sip_to_sip`
    direction: Option<String>,
    /// `answered`, `busy`, `no_answer`, `declined`, `cancelled`, `rejected`, `limited` or `failed`
    result: Option<String>,
    /// As they are kept, with all that is known of a call, instead of as calls are shown here; only as JSON
    whole: Option<bool>,
}

/// How the records are written.
#[derive(PartialEq, Eq)]
enum Form {
    Json,
    Lines,
    Csv,
}

/// The first form of `Accept` that is known here.
fn form(request: &HttpRequest) -> Form {
    let accept = request.headers().get(ACCEPT);
    let accept = accept.and_then(|value| value.to_str().ok());
    let mut kinds = accept.unwrap_or_default().split(',');
    let known = kinds.find_map(
        |kind| match kind.split(';').next().unwrap_or_default().trim() {
            "text/csv" => Some(Form::Csv),
            "application/jsonl" | "application/x-ndjson" | "application/json-lines" => {
                Some(Form::Lines)
            }
            "application/json" => Some(Form::Json),
            _ => None,
        },
    );
    known.unwrap_or(Form::Json)
}

/// The records of calls that are over, newest first. `Accept: text/csv` and `application/jsonl` are answered so, with the next page in `Link`
/// and in `Strowger-Unreadable` how many were met that cannot be read
#[utoipa::path(tag = "cdr", params(Wanted), security(("token" = ["read"])), responses((status = 200, body = CallPage<CallView>), (status = 400, body = crate::problem::Body)))]
#[get("/cdr")]
pub(super) async fn list_records(
    _: Read,
    request: HttpRequest,
    store: Data<dyn Store>,
    wanted: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    let query = request.query_string().to_owned();
    let form = form(&request);
    let wanted = wanted.into_inner();
    let cursor = wanted
        .cursor
        .as_deref()
        .map(str::parse::<CallId>)
        .transpose();
    let cursor =
        cursor.map_err(|_| Problem::bad_request("`cursor` is the `next` of another page"))?;
    let whole = wanted.whole.unwrap_or_default();
    let limit = wanted.limit.unwrap_or(PAGE).clamp(1, LONGEST_PAGE);
    let words = Words {
        since: wanted.since,
        until: wanted.until,
        trunk: wanted.trunk,
        session: wanted.session,
        code: wanted.code,
        number: wanted.number,
        direction: wanted.direction,
        result: wanted.result,
    };
    let filter = words.read(SystemTime::now());
    let filter = filter.map_err(|error| Problem::bad_request(error.to_string()))?;
    // The store of a switch that runs has the veil over all that it gives.
    let open = Veil::default();
    let search = move |store: &dyn Store| filter.search(store, &open, cursor, limit);
    let found = from_store(store, search).await?;
    let (records, next) = (found.records, found.next.map(bare));
    let unreadable: Vec<String> = found.unreadable.iter().map(|it| bare(it.id)).collect();
    let mut response = HttpResponse::Ok();
    if let Some(next) = &next {
        let kept = query.split('&').filter(|part| !part.starts_with("cursor="));
        let mut kept: Vec<&str> = kept.filter(|part| !part.is_empty()).collect();
        let cursor = format!("cursor={next}");
        kept.push(&cursor);
        let link = format!("<{BASE}/cdr?{}>; rel=\"next\"", kept.join("&"));
        response.insert_header((LINK, link));
    }
    if form != Form::Json && !unreadable.is_empty() {
        response.insert_header((UNREADABLE, unreadable.len()));
    }
    Ok(match form {
        Form::Json if whole => response.json(CallPage {
            items: records,
            next,
            unreadable,
        }),
        Form::Json => response.json(CallPage {
            items: records.into_iter().map(CallView::from).collect(),
            next,
            unreadable,
        }),
        Form::Lines => {
            let views = records.into_iter().map(CallView::from);
            let lines = views.filter_map(|view| serde_json::to_string(&view).ok());
            let body: String = lines.map(|line| line + "\n").collect();
            response.content_type("application/jsonl").body(body)
        }
        Form::Csv => {
            let rows = records.iter().map(cdr::row);
            let lines = std::iter::once(cdr::HEAD.to_owned()).chain(rows);
            let body: String = lines.map(|line| line + "\r\n").collect();
            response.content_type("text/csv; charset=utf-8").body(body)
        }
    })
}
