//! The control socket: HTTP in the folder of the data, for commands on the host of the switch. Whoever may write to the socket may command.
//!
//! It has `/api/v1`, without tokens, and beside it what no token can be had for:
//!
//! | request | does |
//! |---|---|
//! | `GET /api/v1/keys` | the ids of the master keys that open the store |
//! | `PUT /api/v1/keys` with the digits of a master key | lets it open the store too |
//! | `DELETE /api/v1/keys?id=I` | lets it open the store no more; 404 when it does not, 409 when it is the last |
//!
//! `reach` is the other end.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpResponse, HttpServer, web};
use model::Secret;
use serde::Deserialize;
use store::{MasterKey, Store, StoreError};
use utoipa_actix_web::AppExt;

use crate::admin::Desk;
use crate::api;
use crate::api::access::Access;
use crate::problem::Problem;
use crate::reach::inside;

/// The name of the socket in the folder of the data.
pub(crate) const SOCKET: &str = "control.sock";

/// Listens in the folder of the data; the server runs when its future is spawned. A socket that an earlier process left is replaced: only one switch can hold
/// the store beside it.
pub(crate) fn start(data: &Path, desk: Desk) -> io::Result<(Server, ServerHandle)> {
    let folder = File::open(data)?;
    let path = inside(&folder, Path::new(SOCKET));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    // Its owner and his group may command, nobody else.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660))?;
    let server = HttpServer::new(move || {
        App::new()
            .configure(|app| desk.give(Access::Owner, app))
            .service(
                web::resource("/api/v1/keys")
                    .route(web::get().to(keys))
                    .route(web::put().to(add_key))
                    .route(web::delete().to(remove_key)),
            )
            .into_utoipa_app()
            .service(api::service())
            .into_app()
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(1)
    .listen_uds(listener)?;
    let server = server.run();
    let handle = server.handle();
    Ok((server, handle))
}

/// Which key a request is about.
#[derive(Deserialize)]
struct Which {
    id: String,
}

async fn keys(store: web::Data<dyn Store>) -> Result<HttpResponse, Problem> {
    let ids = off_the_thread(move || store.master_keys()).await?;
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    Ok(HttpResponse::Ok().json(ids))
}

async fn add_key(store: web::Data<dyn Store>, digits: String) -> Result<HttpResponse, Problem> {
    let digits = Secret::new(digits);
    let key = MasterKey::parse(digits.expose());
    let key = key.map_err(|_| Problem::bad_request("these are not the digits of a key"))?;
    tracing::info!(id = %key.id(), "another key opens the store too");
    off_the_thread(move || store.add_master_key(&key)).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn remove_key(
    store: web::Data<dyn Store>,
    which: web::Query<Which>,
) -> Result<HttpResponse, Problem> {
    let missing = || Problem::not_found("key", &which.id);
    let id = which.id.parse().map_err(|_| missing())?;
    tracing::info!(%id, "a key opens the store no more");
    off_the_thread(move || store.remove_master_key(id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The disk may take its time, and this thread has others to serve.
async fn off_the_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Problem> {
    let done = web::block(work).await;
    Ok(done.map_err(|_| Problem::busy("the switch is stopping"))??)
}
