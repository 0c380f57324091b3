//! The store of the switch that runs: how large it is, and whether it can be read.

use actix_web::web::{self, Data, Json};
use actix_web::{get, post};
use store::Store;

use super::access::{Admin, Read};
use crate::problem::Problem;
use crate::survey::{StoreCheck, StoreSize};

fn stopping() -> Problem {
    Problem::busy("the switch is stopping")
}

/// How large the store is, and what is in it
#[utoipa::path(tag = "store", security(("token" = ["read"])), responses((status = 200, body = StoreSize)))]
#[get("/store")]
pub(super) async fn show_store(
    _: Read,
    store: Data<dyn Store>,
) -> Result<Json<StoreSize>, Problem> {
    let size = web::block(move || StoreSize::of(&**store)).await;
    Ok(Json(size.map_err(|_| stopping())??))
}

/// Reads all of the store, and says what cannot be read; calls go on meanwhile
#[utoipa::path(tag = "store", security(("token" = ["admin"])), responses((status = 200, body = StoreCheck)))]
#[post("/store/check")]
pub(super) async fn check_store(
    _: Admin,
    store: Data<dyn Store>,
) -> Result<Json<StoreCheck>, Problem> {
    let check = web::block(move || StoreCheck::of(&**store)).await;
    Ok(Json(check.map_err(|_| stopping())?))
}
