//! Users. Every change is one commit.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpRequest, HttpResponse, delete, get, put};
use model::UserName;
use store::Change;

use super::access::{Read, Write};
use super::records::changed;
use super::{Changed, Page, PageQuery, expected, of_generation};
use crate::office::Office;
use crate::problem::Problem;
use crate::records::UserDraft;

/// All users, by name
#[utoipa::path(tag = "users", params(PageQuery), security(("token" = ["read"])), responses((status = 200, body = Page<UserDraft>)))]
#[get("/users")]
pub(super) async fn list_users(
    _: Read,
    office: Data<Office>,
    query: Query<PageQuery>,
) -> HttpResponse {
    let current = office.current().await;
    let users = current.table.users().map(UserDraft::from);
    let page = Page::of(users, &query, |user| {
        user.name
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default()
    });
    of_generation(current.generation, StatusCode::OK, &page)
}

/// One user
#[utoipa::path(tag = "users", params(("name" = String, Path, description = "its name")), security(("token" = ["read"])), responses((status = 200, body = UserDraft), (status = 404, body = crate::problem::Body)))]
#[get("/users/{name}")]
pub(super) async fn show_user(
    _: Read,
    office: Data<Office>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let current = office.current().await;
    let missing = || Problem::not_found("user", &name);
    let wanted: UserName = name.parse().map_err(|_| missing())?;
    let user = current.table.user(&wanted).ok_or_else(missing)?;
    let user = UserDraft::from(user);
    Ok(of_generation(current.generation, StatusCode::OK, &user))
}

/// Makes a user, or brings it to what is said
///
/// What is absent has its default; `telegram_id` must be there.
#[utoipa::path(tag = "users", params(("name" = String, Path, description = "its name")), request_body = UserDraft, security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 201, body = Changed), (status = 412, body = crate::problem::Body), (status = 422, body = crate::problem::Body)))]
#[put("/users/{name}")]
pub(super) async fn put_user(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
    path: Path<String>,
    draft: Json<UserDraft>,
) -> Result<HttpResponse, Problem> {
    let wanted: UserName = path
        .parse()
        .map_err(|error: model::NameError| Problem::invalid(error.to_string()))?;
    if draft.name.as_ref().is_some_and(|name| *name != wanted) {
        return Err(Problem::invalid("`name` is another one than in the path"));
    }
    let spec = draft.spec(&wanted).map_err(Problem::invalid)?;
    let status = match office.current().await.table.user(&wanted) {
        Some(_) => StatusCode::OK,
        None => StatusCode::CREATED,
    };
    let seen = expected(request.headers())?;
    let generation = office.commit(seen, vec![Change::PutUser(spec)]).await?;
    Ok(of_generation(generation, status, &Changed { generation }))
}

/// Forgets a user; its calls go on
#[utoipa::path(tag = "users", params(("name" = String, Path, description = "its name")), security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 404, body = crate::problem::Body), (status = 412, body = crate::problem::Body)))]
#[delete("/users/{name}")]
pub(super) async fn remove_user(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let missing = || Problem::not_found("user", &path);
    let name: UserName = path.parse().map_err(|_| missing())?;
    let changes = vec![Change::RemoveUser(name)];
    changed(&office, &request, StatusCode::OK, changes).await
}
