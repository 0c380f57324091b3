//! Backups of the store, made while calls go on.

use std::path::Path;
use std::time::UNIX_EPOCH;

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Json};
use actix_web::{HttpResponse, get, post};
use serde::{Deserialize, Serialize};
use store::BackupError;
use utoipa::ToSchema;

use super::access::Admin;
use crate::backups::Backups;
use crate::problem::Problem;

/// A backup.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct BackupView {
    /// Where it is, on the host of the switch.
    pub(crate) file: String,
    /// Its size.
    pub(crate) octets: u64,
    /// When it was written, in seconds since 1970.
    pub(crate) made: Option<u64>,
}

impl BackupView {
    fn of(file: &Path) -> Option<Self> {
        let known = file.metadata().ok()?;
        let made = known.modified().ok();
        let made = made.and_then(|made| made.duration_since(UNIX_EPOCH).ok());
        Some(Self {
            file: file.display().to_string(),
            octets: known.len(),
            made: made.map(|made| made.as_secs()),
        })
    }
}

fn stopping() -> Problem {
    Problem::busy("the switch is stopping")
}

/// The backups in the folder of the backups, newest first
#[utoipa::path(tag = "backup", security(("token" = ["admin"])), responses((status = 200, body = [BackupView])))]
#[get("/backup")]
pub(super) async fn list_backups(
    _: Admin,
    backups: Data<Backups>,
) -> Result<Json<Vec<BackupView>>, Problem> {
    let listed = web::block(move || {
        let files = backups.newest_first();
        files
            .iter()
            .filter_map(|file| BackupView::of(file))
            .collect()
    });
    Ok(Json(listed.await.map_err(|_| stopping())?))
}

/// Writes all that is in the store to one sealed file, in the folder of the backups
///
/// `strowger backup restore` brings it back where no switch runs.
#[utoipa::path(tag = "backup", security(("token" = ["admin"])), responses((status = 201, body = BackupView), (status = 507, body = crate::problem::Body)))]
#[post("/backup")]
pub(super) async fn make_backup(_: Admin, backups: Data<Backups>) -> Result<HttpResponse, Problem> {
    let made = web::block(move || backups.create()).await;
    let file = made.map_err(|_| stopping())?.map_err(|error| {
        let (status, cause, hint) = match &error {
            BackupError::NoRoom { .. } => (
                StatusCode::INSUFFICIENT_STORAGE,
                "no_room",
                "make room on the disk of backup.dir",
            ),
            BackupError::Taken => (
                StatusCode::CONFLICT,
                "taken",
                "one of this second is there already: try again",
            ),
            _ => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "backup_failed",
                "check the disk and the log",
            ),
        };
        Problem::new(status, cause, error.to_string(), hint)
    })?;
    let gone = || Problem::busy("the backup is gone already");
    Ok(HttpResponse::Created().json(BackupView::of(&file).ok_or_else(gone)?))
}
