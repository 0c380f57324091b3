//! The HTTP interface, `/api/v1`: on the control socket for whoever may open it, on the admin listener for tokens.
//!
//! * `access`: tokens, their scopes, and who guesses.
//! * `accounts`: logins and logouts of sessions.
//! * `trunks`: what is done with a trunk beside changing its record; `backups`.
//! * `quotas`: profiles, and what of them is used.
//! * `records`: trunks, sessions, routes; everything that changes them is one commit of `office`.
//! * `roles`: workers and the storage.
//! * `survey`: the store, how large it is, and whether it can be read.
//! * `users`: Telegram users known by name; `webhooks`.
//! * `whole`: all records, and changes of several as one.
//! * `calls`: those that go on; `cdr`: the records of those that are over.
//! * `dial`: what an owner does with calls.
//! * `events`: what happens, as it happens.
//! * `house`: how the switch is, bans, tokens, the log.
//!
//! `docs/openapi.json` is made from the handlers; a test compares the two.

pub(crate) mod access;
mod accounts;
mod backups;
mod calls;
mod cdr;
mod dial;
mod events;
mod house;
mod quality;
mod quotas;
mod records;
mod roles;
mod survey;
#[cfg(test)]
pub(crate) mod tests;
mod trunks;
mod users;
mod webhooks;
mod whole;

use actix_web::dev::HttpServiceFactory;
use actix_web::http::StatusCode;
use actix_web::http::header::{ETAG, HeaderMap, IF_MATCH};
use actix_web::{App, HttpResponse, get, web};
use serde::{Deserialize, Serialize};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoParams, Modify, OpenApi, ToSchema};
use utoipa_actix_web::{AppExt, OpenApiFactory, scope};

use crate::problem::Problem;

pub(crate) use accounts::{Adoption, LoggedOutView, WantedAdoption, WantedHardening};
pub(crate) use backups::BackupView;
pub(crate) use calls::CallView;
pub(crate) use cdr::CallPage;
pub(crate) use dial::{Dialling, Orders, WantedDial, WantedHold, WantedKeys, WantedTransfer};
pub(crate) use events::{Envelope, Listeners};
pub(crate) use house::{
    Ban, LONGEST_BAN, Level, Load, Made, Process, Status, StoreState, TokenView, WantedBan,
    WantedToken,
};
pub(crate) use quality::QualityView;
pub(crate) use quotas::QuotaView;
pub(crate) use records::{SessionView, Tried, TrunkFacts, WantedCall};
pub(crate) use roles::RoleView;
pub(crate) use trunks::{TrunkTest, TrunkTestStep};
pub(crate) use webhooks::{DeliveryView, WebhookTest, moment};
pub(crate) use whole::WantedCommit;

/// Where everything lies.
pub(crate) const BASE: &str = "/api/v1";
/// How many items a page has unless said.
const PAGE: usize = 100;
/// How many it can have.
pub(crate) const LONGEST_PAGE: usize = 1000;
/// The longest body that is read, octets.
const LONGEST_BODY: usize = 256 * 1024;

/// Which part of a list is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PageQuery {
    /// How many items, 1 to 1000; 100 unless said
    limit: Option<usize>,
    /// `next` of the page before
    cursor: Option<String>,
}

impl PageQuery {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE).clamp(1, LONGEST_PAGE)
    }
}

/// A part of a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The items, in order.
    pub(crate) items: Vec<T>,
    /// The cursor of the next page; null when this is the last.
    pub(crate) next: Option<String>,
}

impl<T> Page<T> {
    /// The items behind the cursor; `key` is what a cursor is made of, and the order of the items.
    fn of(items: impl Iterator<Item = T>, query: &PageQuery, key: impl Fn(&T) -> String) -> Self {
        let is_behind = |item: &T| {
            let cursor = query.cursor.as_ref();
            cursor.is_none_or(|cursor| key(item) > *cursor)
        };
        let mut items: Vec<T> = items.filter(is_behind).take(query.limit() + 1).collect();
        Self::cut(&mut items, query, key)
    }

    /// A page of one item too many, if there is a next one.
    fn cut(items: &mut Vec<T>, query: &PageQuery, key: impl Fn(&T) -> String) -> Self {
        let is_more = items.len() > query.limit();
        items.truncate(query.limit());
        let last = items.last().map(key).filter(|_| is_more);
        Self {
            items: std::mem::take(items),
            next: last,
        }
    }
}

/// What became of a change.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Changed {
    /// The generation of the records that there is now.
    pub(crate) generation: u64,
}

/// The generation that whoever asks has seen, of `If-Match`.
fn expected(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let generation = text.trim_matches('"').parse();
    generation.map(Some).map_err(|_| {
        let what = format!("If-Match is a generation such as \"12\", not `{text}`");
        Problem::bad_request(what)
    })
}

/// An answer that goes with a generation.
fn of_generation(generation: u64, status: StatusCode, body: &impl Serialize) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((ETAG, format!("\"{generation}\"")))
        .json(body)
}

/// The description of this interface
#[utoipa::path(tag = "house", security(()), responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
#[get("/openapi.json")]
async fn describe() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(document())
}

/// What is there nowhere.
async fn nothing() -> Result<HttpResponse, Problem> {
    Err(Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing here",
        "/api/v1/openapi.json says what there is",
    ))
}

/// All of it, to be put into an application that has [`access::Access`], [`access::Keyring`], the house, the store and the office.
pub(crate) fn service() -> impl HttpServiceFactory + OpenApiFactory {
    let json = web::JsonConfig::default()
        .limit(LONGEST_BODY)
        .error_handler(|error, _| Problem::bad_request(error.to_string()).into());
    let query = web::QueryConfig::default()
        .error_handler(|error, _| Problem::bad_request(error.to_string()).into());
    scope::scope(BASE)
        .app_data(json)
        .app_data(query)
        .service(describe)
        .service(house::show_status)
        .service(house::list_actors)
        .service(calls::list_calls)
        .service(calls::show_call)
        .service(quality::show_quality)
        .service(calls::hang_up)
        .service(dial::dial)
        .service(dial::press)
        .service(dial::hold)
        .service(dial::transfer)
        .service(events::listen)
        .service(cdr::list_records)
        .service(calls::show_record)
        .service(records::list_trunks)
        .service(records::show_trunk)
        .service(records::put_trunk)
        .service(records::remove_trunk)
        .service(records::enable_trunk)
        .service(records::disable_trunk)
        .service(records::reset_password)
        .service(records::list_sessions)
        .service(records::show_session)
        .service(records::put_session)
        .service(records::remove_session)
        .service(records::enable_session)
        .service(records::disable_session)
        .service(trunks::unblock_trunk)
        .service(trunks::reconnect_trunk)
        .service(trunks::test_trunk)
        .service(trunks::show_snippet)
        .service(quotas::list_quotas)
        .service(quotas::reset_quota)
        .service(quotas::show_quota)
        .service(quotas::put_quota)
        .service(quotas::remove_quota)
        .service(backups::list_backups)
        .service(backups::make_backup)
        .service(accounts::begin_login)
        .service(accounts::show_login)
        .service(accounts::cancel_login)
        .service(accounts::give_code)
        .service(accounts::give_password)
        .service(accounts::give_email)
        .service(accounts::resend_code)
        .service(accounts::recover_password)
        .service(accounts::log_out)
        .service(accounts::harden)
        .service(accounts::adopt)
        .service(records::try_route)
        .service(records::list_routes)
        .service(records::put_route)
        .service(records::remove_route)
        .service(users::list_users)
        .service(users::show_user)
        .service(users::put_user)
        .service(users::remove_user)
        .service(whole::show_records)
        .service(whole::show_secrets)
        .service(whole::commit)
        .service(webhooks::list_webhooks)
        .service(webhooks::show_webhook)
        .service(webhooks::put_webhook)
        .service(webhooks::remove_webhook)
        .service(webhooks::test_webhook)
        .service(webhooks::list_deliveries)
        .service(roles::list_workers)
        .service(roles::show_worker)
        .service(roles::enable_worker)
        .service(roles::disable_worker)
        .service(roles::show_storage)
        .service(roles::enable_storage)
        .service(roles::disable_storage)
        .service(survey::show_store)
        .service(survey::check_store)
        .service(house::list_bans)
        .service(house::add_ban)
        .service(house::lift_ban)
        .service(house::list_tokens)
        .service(house::make_token)
        .service(house::revoke_token)
        .service(house::show_log_level)
        .service(calls::show_call_log)
        .service(house::set_log_level)
        .default_service(web::route().to(nothing))
}

/// The head of the description.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Strowger",
        description = "Trunks, sessions, routes and calls of a telephony switch between Telegram and SIP. Errors are those of RFC 9457. A change of records \
                       answers their new generation; with `If-Match` it is made only if nobody has changed them meanwhile (412)."
    ),
    modifiers(&Token)
)]
struct Head;

struct Token;

impl Modify for Token {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "A token of `strowger token create`; the scopes that an operation needs stand beside it.",
            ))
            .build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The description, as it is served.
pub(crate) fn document() -> String {
    let app = App::new().into_utoipa_app().openapi(Head::openapi());
    let (_, document) = app.service(service()).split_for_parts();
    document.to_pretty_json().unwrap_or_default() + "\n"
}
