//! What an owner does with the accounts of sessions: log in, log out, harden, adopt. Codes and passwords are in bodies alone, and no
//! answer repeats them.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpResponse, delete, get, post};
use model::{Secret, SessionName};
use net::telegram::{LoggedOut, LoginInput};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::Admin;
use super::{Changed, of_generation};
use crate::hardening::{self, Row, Setting};
use crate::login_view::{LoginView, Method, WantedLogin};
use crate::logins::{Answer, Beginning, Logins};
use crate::problem::Problem;

/// The longest code, password or address, octets.
const LONGEST_SECRET: usize = 1024;

fn session(path: &str) -> Result<SessionName, Problem> {
    path.parse()
        .map_err(|_| Problem::not_found("session", path))
}

/// Reads a body that may hold a secret: what is wrong with it is not repeated, as an error of the reader would.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|_| Problem::bad_request("the body is not the JSON that is asked for"))
}

/// A secret that somebody typed.
fn typed(secret: Secret<String>) -> Result<Secret<String>, Problem> {
    let length = secret.expose().len();
    if length == 0 || length > LONGEST_SECRET {
        return Err(Problem::bad_request("it has 1 to 1024 octets"));
    }
    Ok(secret)
}

/// Begins to log an account in, and says what is asked first
///
/// By QR code: GET shows the next one before one expires, and what is asked when it was scanned. The session is made when there is
/// none, and connected as soon as the account is logged in. A login ends after ten minutes, or when nobody has asked after it for three.
#[utoipa::path(tag = "sessions", params(("name" = String, Path, description = "its name")), request_body = WantedLogin, security(("token" = ["admin"])), responses((status = 200, body = LoginView), (status = 400, body = crate::problem::Body), (status = 409, body = crate::problem::Body), (status = 422, body = crate::problem::Body), (status = 502, body = crate::problem::Body)))]
#[post("/sessions/{name}/login")]
pub(super) async fn begin_login(
    _: Admin,
    logins: Data<Logins>,
    path: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let wanted: WantedLogin = read(&body)?;
    let name: SessionName = path
        .parse()
        .map_err(|error: model::NameError| Problem::invalid(error.to_string()))?;
    let input = match wanted.method {
        Method::Qr => LoginInput::Scan,
        Method::Bot => {
            let token = wanted
                .token
                .ok_or_else(|| Problem::bad_request("a bot logs in by its `token`"))?;
            LoginInput::Bot(typed(token)?)
        }
        Method::Phone => {
            let phone = match wanted.phone {
                Some(phone) => Some(phone.parse().map_err(|_| {
                    Problem::bad_request("`phone` has its country code, as in +15551234567")
                })?),
                None => logins.phone(&name).await,
            };
            let phone = phone.ok_or_else(|| {
                Problem::bad_request("`phone` is needed: the session has no number yet")
            })?;
            LoginInput::Phone(phone)
        }
    };
    let beginning = Beginning {
        input,
        test_keys: wanted.test_keys,
    };
    let view = logins.into_inner().begin(name, beginning).await?;
    Ok(HttpResponse::Ok().json(view))
}

/// Where a login is
#[utoipa::path(tag = "sessions", params(("name" = String, Path, description = "its name")), security(("token" = ["admin"])), responses((status = 200, body = LoginView), (status = 404, body = crate::problem::Body), (status = 410, body = crate::problem::Body)))]
#[get("/sessions/{name}/login")]
pub(super) async fn show_login(
    _: Admin,
    logins: Data<Logins>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let view = logins.show(&session(&path)?)?;
    Ok(HttpResponse::Ok().json(view))
}

/// Gives a login up
#[utoipa::path(tag = "sessions", params(("name" = String, Path, description = "its name")), security(("token" = ["admin"])), responses((status = 204), (status = 404, body = crate::problem::Body)))]
#[delete("/sessions/{name}/login")]
pub(super) async fn cancel_login(
    _: Admin,
    logins: Data<Logins>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    if logins.cancel(&session(&path)?) {
        return Ok(HttpResponse::NoContent().finish());
    }
    Err(Problem::new(
        StatusCode::NOT_FOUND,
        "no_login",
        format!("nobody is logging session {path} in"),
        "there is nothing to cancel",
    ))
}

/// A code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TypedCode {
    /// The code, as text.
    #[schema(value_type = String)]
    code: Secret<String>,
}

/// A cloud password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TypedPassword {
    /// The password.
    #[schema(value_type = String)]
    password: Secret<String>,
}

/// An address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TypedEmail {
    /// The address.
    #[schema(value_type = String)]
    email: Secret<String>,
}

async fn answer(logins: &Logins, path: &str, what: Answer) -> Result<HttpResponse, Problem> {
    let view = logins.answer(&session(path)?, what).await?;
    Ok(HttpResponse::Ok().json(view))
}

/// Gives the code that is asked for: of the login, of an e-mail address, or of a password recovery
#[utoipa::path(tag = "sessions", params(("name" = String, Path, description = "its name")), request_body = TypedCode, security(("token" = ["admin"])), responses((status = 200, body = LoginView), (status = 404, body = crate::problem::Body), (status = 409, body = crate::problem::Body), (status = 422, body = crate::problem::Body)))]
#[post("/sessions/{name}/login/code")]
pub(super) async fn give_code(
    _: Admin,
    logins: Data<Logins>,
    path: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let TypedCode { code } = read(&body)?;
    answer(&logins, &path, Answer::Code(typed(code)?)).await
}

/// Gives the cloud password
#[utoipa::path(tag = "sessions", params(("name" = String, Path, description = "its name")), request_body = TypedPassword, security(("token" = ["admin"])), responses((status = 200, body = LoginView), (status = 404, body = crate::problem::Body), (status = 409, body = crate::problem::Body), (status = 422, body = crate::problem::Body)))]
#[post("/sessions/{name}/login/password")]
pub(super) async fn give_password(
    _: Admin,
    logins: Data<Logins>,
    path: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let TypedPassword { password } = read(&body)?;
    answer(&logins, &path, Answer::Password(typed(password)?)).await
}

/// Gives an e-mail address for login codes, where Telegram demands one
#[utoipa::path(tag = "sessions", params(("name" = String, Path, description = "its name")), request_body = TypedEmail, security(("token" = ["admin"])), responses((status = 200, body = LoginView), (status = 404, body = crate::problem::Body), (status = 409, body = crate::problem::Body)))]
#[post("/sessions/{name}/login/email")]
pub(super) async fn give_email(
    _: Admin,
    logins: Data<Logins>,
    path: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let TypedEmail { email } = read(&body)?;
    answer(&logins, &path, Answer::Email(typed(email)?)).await
}

/// Lets the code be sent again, by the next way there is
#[utoipa::path(tag = "sessions", params(("name" = String, Path, description = "its name")), security(("token" = ["admin"])), responses((status = 200, body = LoginView), (status = 404, body = crate::problem::Body), (status = 409, body = crate::problem::Body)))]
#[post("/sessions/{name}/login/resend")]
pub(super) async fn resend_code(
    _: Admin,
    logins: Data<Logins>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    answer(&logins, &path, Answer::Resend).await
}

/// Lets a code be mailed that takes the place of the cloud password, and removes it
#[utoipa::path(tag = "sessions", params(("name" = String, Path, description = "its name")), security(("token" = ["admin"])), responses((status = 200, body = LoginView), (status = 404, body = crate::problem::Body), (status = 409, body = crate::problem::Body)))]
#[post("/sessions/{name}/login/recover")]
pub(super) async fn recover_password(
    _: Admin,
    logins: Data<Logins>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    answer(&logins, &path, Answer::Recover).await
}

/// What became of a logout.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LoggedOutView {
    /// `now`, or `already` when Telegram had ended the login before, or `never`.
    pub(crate) done: String,
}

/// Ends the calls of a session, logs its account out at Telegram and deletes its keys; the session and its routes stay
#[utoipa::path(tag = "sessions", params(("name" = String, Path, description = "its name")), security(("token" = ["admin"])), responses((status = 200, body = LoggedOutView), (status = 404, body = crate::problem::Body), (status = 409, body = crate::problem::Body), (status = 502, body = crate::problem::Body)))]
#[post("/sessions/{name}/logout")]
pub(super) async fn log_out(
    _: Admin,
    logins: Data<Logins>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let name = session(&path)?;
    let logins: Arc<Logins> = logins.into_inner();
    // To its end, also when whoever asked does not wait for it.
    let done = actix_web::rt::spawn(async move { logins.log_out(&name).await }).await;
    let done = done.map_err(|_| Problem::busy("the switch is stopping"))??;
    let done = match done {
        LoggedOut::Now => "now",
        LoggedOut::Already => "already",
        LoggedOut::Never => "never",
    };
    let done = done.to_owned();
    Ok(HttpResponse::Ok().json(LoggedOutView { done }))
}

/// What is to be hardened.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedHardening {
    /// Only these; without, all four.
    #[serde(default)]
    pub(crate) settings: Vec<Setting>,
    /// The second try comes so many seconds later instead of a day; only with `telegram.test_dc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub(crate) test_retry: Option<u64>,
}

/// Makes the account's settings at Telegram suit a switch, over the connection of the session
///
/// What Telegram refuses to a login that is not a day old is done later by the switch itself.
#[utoipa::path(tag = "sessions", params(("name" = String, Path, description = "its name")), request_body = WantedHardening, security(("token" = ["admin"])), responses((status = 200, body = [Row]), (status = 404, body = crate::problem::Body), (status = 409, body = crate::problem::Body), (status = 502, body = crate::problem::Body)))]
#[post("/sessions/{name}/harden")]
pub(super) async fn harden(
    _: Admin,
    logins: Data<Logins>,
    path: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let wanted = if body.is_empty() {
        WantedHardening::default()
    } else {
        read(&body)?
    };
    let name = session(&path)?;
    let actions = Setting::actions(&wanted.settings);
    let retry = wanted.test_retry.map(Duration::from_secs);
    let done = logins.harden(&name, actions, retry).await?;
    Ok(HttpResponse::Ok().json(hardening::rows(&done)))
}

/// Why no other switch can be in the way of a session that came from a backup.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Adoption {
    /// No other switch runs this session, now or later.
    OldIsGone,
    /// The other switch goes on: the keys are deleted here, and the account is logged in anew.
    NewLogin,
}

/// How a session is adopted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedAdoption {
    /// Why no other switch can be in the way.
    pub(crate) because: Adoption,
}

/// Connects a session that came from a backup: its login must not be in use elsewhere, or Telegram voids it for good
#[utoipa::path(tag = "sessions", params(("name" = String, Path, description = "its name")), request_body = WantedAdoption, security(("token" = ["admin"])), responses((status = 200, body = Changed), (status = 404, body = crate::problem::Body), (status = 409, body = crate::problem::Body)))]
#[post("/sessions/{name}/adopt")]
pub(super) async fn adopt(
    _: Admin,
    logins: Data<Logins>,
    path: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let name = session(&path)?;
    let WantedAdoption { because } = read(&body)?;
    let is_new = matches!(because, Adoption::NewLogin);
    let generation = logins.adopt(&name, is_new).await?;
    Ok(of_generation(
        generation,
        StatusCode::OK,
        &Changed { generation },
    ))
}
