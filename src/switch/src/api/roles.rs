//! Manager, Worker and Storage: how they are, and the switch that two of them have.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse, get, post};
use actors::{House, MANAGER, RoleReport};
use model::{LOCAL_WORKER, Role, RoleSpec};
use serde::{Deserialize, Serialize};
use store::Change;
use utoipa::ToSchema;

use super::access::{Read, Write};
use super::records::changed;
use super::{Changed, Page, PageQuery, of_generation};
use crate::office::{InForce, Office};
use crate::problem::Problem;

/// A part of the switch.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct RoleView {
    /// `manager`, `worker` or `storage`.
    pub(crate) role: String,
    /// Which one: `local` is this process.
    pub(crate) name: String,
    /// Whether it is switched on; one that is off takes no new call and no registration.
    pub(crate) enabled: bool,
    /// `not_ready`, `running` or `unavailable`, on or off.
    pub(crate) state: String,
}

/// How they are; whether they are on is what the records say.
pub(super) fn views(reports: &[RoleReport], current: &InForce) -> Vec<RoleView> {
    let wanted = |name: &str| {
        let role = Role::ALL.into_iter().find(|role| role.label() == name);
        role.is_none_or(|role| current.table.has_role(role))
    };
    let views = reports.iter().map(|report| RoleView {
        role: report.name.clone(),
        name: LOCAL_WORKER.to_owned(),
        enabled: report.name == MANAGER || wanted(&report.name),
        state: report.state.label().to_owned(),
    });
    views.collect()
}

async fn view(role: Role, house: &House, current: &InForce) -> Result<RoleView, Problem> {
    let reports = house.report().await.roles;
    let mut views = views(&reports, current).into_iter();
    views
        .find(|view| view.role == role.label())
        .ok_or_else(super::records::silent)
}

async fn show(role: Role, house: &House, office: &Office) -> Result<HttpResponse, Problem> {
    let current = office.current().await;
    let view = view(role, house, &current).await?;
    Ok(of_generation(current.generation, StatusCode::OK, &view))
}

async fn switch(
    office: &Arc<Office>,
    request: &HttpRequest,
    role: Role,
    enabled: bool,
) -> Result<HttpResponse, Problem> {
    let change = Change::PutRole(RoleSpec { role, enabled });
    changed(office, request, StatusCode::OK, vec![change]).await
}

/// There is one worker, this process.
fn must_be_local(name: &str) -> Result<(), Problem> {
    if name == LOCAL_WORKER {
        Ok(())
    } else {
        Err(Problem::not_found("worker", name))
    }
}

/// All workers, by name
#[utoipa::path(tag = "roles", params(PageQuery), security(("token" = ["read"])), responses((status = 200, body = Page<RoleView>)))]
#[get("/workers")]
pub(super) async fn list_workers(
    _: Read,
    house: Data<House>,
    office: Data<Office>,
    query: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let current = office.current().await;
    let view = view(Role::Worker, &house, &current).await?;
    let page = Page::of([view].into_iter(), &query, |view| view.name.clone());
    Ok(of_generation(current.generation, StatusCode::OK, &page))
}

/// One worker
#[utoipa::path(tag = "roles", params(("name" = String, Path, description = "its name")), security(("token" = ["read"])), responses((status = 200, body = RoleView), (status = 404, body = crate::problem::Body)))]
#[get("/workers/{name}")]
pub(super) async fn show_worker(
    _: Read,
    house: Data<House>,
    office: Data<Office>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    must_be_local(&name)?;
    show(Role::Worker, &house, &office).await
}

/// Lets a worker take calls and registrations again
#[utoipa::path(tag = "roles", params(("name" = String, Path, description = "its name")), security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 404, body = crate::problem::Body), (status = 412, body = crate::problem::Body)))]
#[post("/workers/{name}/enable")]
pub(super) async fn enable_worker(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    must_be_local(&name)?;
    switch(&office, &request, Role::Worker, true).await
}

/// Lets a worker take no further call and no registration; calls that are up go on
#[utoipa::path(tag = "roles", params(("name" = String, Path, description = "its name")), security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 404, body = crate::problem::Body), (status = 412, body = crate::problem::Body)))]
#[post("/workers/{name}/disable")]
pub(super) async fn disable_worker(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    must_be_local(&name)?;
    switch(&office, &request, Role::Worker, false).await
}

/// The storage of Telegram sessions
#[utoipa::path(tag = "roles", security(("token" = ["read"])), responses((status = 200, body = RoleView)))]
#[get("/storage")]
pub(super) async fn show_storage(
    _: Read,
    house: Data<House>,
    office: Data<Office>,
) -> Result<HttpResponse, Problem> {
    show(Role::Storage, &house, &office).await
}

/// Lets Telegram accounts be used again
#[utoipa::path(tag = "roles", security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 412, body = crate::problem::Body)))]
#[post("/storage/enable")]
pub(super) async fn enable_storage(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    switch(&office, &request, Role::Storage, true).await
}

/// Lets Telegram accounts place and take no further call; those that are up go on
#[utoipa::path(tag = "roles", security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 412, body = crate::problem::Body)))]
#[post("/storage/disable")]
pub(super) async fn disable_storage(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    switch(&office, &request, Role::Storage, false).await
}
