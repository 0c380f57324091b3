//! How a command reaches the switch that runs: HTTP on a Unix socket in the folder of its data. Whoever may write to the socket may command.
//! Beside `/api/v1`, without tokens, there is what no token can be had for:
//!
//! | request | does |
//! |---|---|
//! | `GET /v1/bans` | who is banned |
//! | `PUT /v1/bans?prefix=P&seconds=N` | bans |
//! | `DELETE /v1/bans?prefix=P` | lifts a ban; 404 when there is none |
//! | `GET /v1/sessions` | every session, its state and what it waits for; 503 when the switch does not know just now |
//! | `GET /v1/ping` | nothing: the switch runs |
//! | `GET /v1/records` | all records, with their secrets |
//! | `POST /v1/records` with `{"expected": G, "changes": [..]}` | makes all changes or none; 412 when the generation is another |
//! | `GET /v1/cdr?count=N&before=ID` | call records as they are kept, newest first, 1,000 at most |
//! | `GET /v1/keys` | the ids of the master keys that open the store |
//! | `PUT /v1/keys` with the digits of a master key | lets it open the store too |
//! | `DELETE /v1/keys?id=I` | lets it open the store no more; 404 when it does not, 409 when it is the last |

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpResponse, HttpServer, web};
use actors::House;
use model::{CallId, IpPrefix, Secret};
use serde::{Deserialize, Serialize};
use store::{Change, MasterKey, Store, StoreError};
use utoipa_actix_web::AppExt;

use crate::admin::Desk;
use crate::api;
use crate::api::access::Access;
use crate::office::Office;
use crate::problem::Problem;

/// The name of the socket in the folder of the data.
pub(crate) const SOCKET: &str = "control.sock";
/// How long a command waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a stream of events may be silent, which says every 15 s that it is there.
const SILENCE: Duration = Duration::from_secs(45);
/// How long it waits for a change: ten thousand trunks at once take their time.
const LONG_PATIENCE: Duration = Duration::from_secs(60);
/// The longest answer that is read: 65,536 bans are some 5 MB, 10,000 trunks some 9 MB.
const LONGEST: u64 = 64 << 20;
/// The longest commit that is read: 10,000 trunks at once.
const LONGEST_COMMIT: usize = 32 << 20;

/// Whom a request is about.
#[derive(Deserialize)]
struct Wanted {
    prefix: IpPrefix,
    #[serde(default)]
    seconds: u64,
}

/// The socket in an open folder, by a name that is short however deep the folder lies: the system takes no more than 107 octets
/// (unix(7)).
fn inside(folder: &File) -> PathBuf {
    Path::new("/proc/self/fd")
        .join(folder.as_raw_fd().to_string())
        .join(SOCKET)
}

/// Listens in the folder of the data; the server runs when its future is spawned. A socket that an earlier process left is replaced: only one switch can hold
/// the store beside it.
pub(crate) fn start(data: &Path, desk: Desk) -> io::Result<(Server, ServerHandle)> {
    let folder = File::open(data)?;
    let path = inside(&folder);
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
            .app_data(web::JsonConfig::default().limit(LONGEST_COMMIT))
            .service(
                web::resource("/v1/bans")
                    .route(web::get().to(list))
                    .route(web::put().to(ban))
                    .route(web::delete().to(lift)),
            )
            .service(
                web::resource("/v1/keys")
                    .route(web::get().to(keys))
                    .route(web::put().to(add_key))
                    .route(web::delete().to(remove_key)),
            )
            .route("/v1/ping", web::get().to(ping))
            .route("/v1/cdr", web::get().to(cdr))
            .service(web::resource("/v1/sessions").route(web::get().to(sessions)))
            .service(
                web::resource("/v1/records")
                    .route(web::get().to(records))
                    .route(web::post().to(commit)),
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

async fn ping() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

async fn list(house: web::Data<House>) -> HttpResponse {
    HttpResponse::Ok().json(house.bans())
}

async fn sessions(house: web::Data<House>) -> HttpResponse {
    match house.sessions().await {
        Some(sessions) => HttpResponse::Ok().json(sessions),
        None => HttpResponse::ServiceUnavailable().finish(),
    }
}

async fn records(office: web::Data<Office>) -> HttpResponse {
    HttpResponse::Ok().json(office.current().await.whole())
}

/// How many call records are given at once.
pub(crate) const RECORDS: usize = 1000;

/// Which call records.
#[derive(Deserialize)]
struct Part {
    count: usize,
    before: Option<CallId>,
}

async fn cdr(store: web::Data<dyn Store>, part: web::Query<Part>) -> HttpResponse {
    let Part { count, before } = part.into_inner();
    let records = off_the_thread(move || store.calls_before(before, count.min(RECORDS))).await;
    records.map_or_else(refused, |records| HttpResponse::Ok().json(records))
}

/// A commit as a command asks for it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Commit {
    /// The generation that was read.
    pub(crate) expected: u64,
    /// What is to be changed.
    pub(crate) changes: Vec<Change>,
}

/// What became of it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Committed {
    /// The generation that there is now.
    pub(crate) generation: u64,
}

async fn commit(
    office: web::Data<Office>,
    wanted: web::Json<Commit>,
) -> Result<web::Json<Committed>, Problem> {
    let Commit { expected, changes } = wanted.into_inner();
    let generation = office.commit(Some(expected), changes).await?;
    Ok(web::Json(Committed { generation }))
}

async fn ban(house: web::Data<House>, wanted: web::Query<Wanted>) -> HttpResponse {
    house.ban(wanted.prefix, Duration::from_secs(wanted.seconds));
    HttpResponse::NoContent().finish()
}

async fn lift(house: web::Data<House>, wanted: web::Query<Wanted>) -> HttpResponse {
    if house.lift_ban(wanted.prefix) {
        HttpResponse::NoContent().finish()
    } else {
        HttpResponse::NotFound().finish()
    }
}

/// Which key a request is about.
#[derive(Deserialize)]
struct Which {
    id: String,
}

async fn keys(store: web::Data<dyn Store>) -> HttpResponse {
    let ids = off_the_thread(move || store.master_keys()).await;
    ids.map_or_else(refused, |ids| {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        HttpResponse::Ok().json(ids)
    })
}

async fn add_key(store: web::Data<dyn Store>, digits: String) -> HttpResponse {
    let digits = Secret::new(digits);
    let Ok(key) = MasterKey::parse(digits.expose()) else {
        return HttpResponse::BadRequest().finish();
    };
    tracing::info!(id = %key.id(), "another key opens the store too");
    let added = off_the_thread(move || store.add_master_key(&key)).await;
    added.map_or_else(refused, |()| HttpResponse::NoContent().finish())
}

async fn remove_key(store: web::Data<dyn Store>, which: web::Query<Which>) -> HttpResponse {
    let Ok(id) = which.id.parse() else {
        return HttpResponse::NotFound().finish();
    };
    tracing::info!(%id, "a key opens the store no more");
    let removed = off_the_thread(move || store.remove_master_key(id)).await;
    removed.map_or_else(refused, |()| HttpResponse::NoContent().finish())
}

/// The disk may take its time, and this thread has others to serve.
async fn off_the_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Option<StoreError>> {
    match web::block(work).await {
        Ok(done) => done.map_err(Some),
        Err(_) => Err(None),
    }
}

fn refused(error: Option<StoreError>) -> HttpResponse {
    match error {
        Some(StoreError::Missing { .. }) => HttpResponse::NotFound().finish(),
        Some(error @ StoreError::LastKey { .. }) => {
            HttpResponse::Conflict().body(error.to_string())
        }
        Some(error) => HttpResponse::InternalServerError().body(error.to_string()),
        None => HttpResponse::InternalServerError().finish(),
    }
}

/// Asks the switch that runs on this folder; status and body, or none when no switch runs.
pub(crate) fn ask(
    data: &Path,
    method: &str,
    target: &str,
    body: &str,
) -> io::Result<Option<(u16, String)>> {
    let patience = if method == "POST" {
        LONG_PATIENCE
    } else {
        PATIENCE
    };
    ask_within(patience, data, method, target, body)
}

/// Listens to `target` of the switch that runs, and hands over each line of its answer until there is none left, or `told` wants no more. Status, or none when no
/// switch runs.
pub(crate) fn listen(
    data: &Path,
    target: &str,
    mut told: impl FnMut(&str) -> io::Result<()>,
) -> io::Result<Option<u16>> {
    let way = File::open(data).and_then(|folder| UnixStream::connect(inside(&folder)));
    let mut stream = match way {
        Ok(stream) => stream,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(SILENCE))?;
    // Of HTTP/1.0 the end of the connection is the end of the answer, and nothing stands between its lines.
    write!(stream, "GET {target} HTTP/1.0\r\nHost: strowger\r\n\r\n")?;
    let mut lines = BufReader::new(stream).lines();
    let strange = || io::Error::new(ErrorKind::InvalidData, "the switch answers something else");
    let first = lines.next().ok_or_else(strange)??;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(strange)?;
    for line in lines.by_ref() {
        if line?.is_empty() {
            break;
        }
    }
    for line in lines {
        told(&line?)?;
    }
    Ok(Some(status))
}

/// Whether this means that no switch runs.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory
    )
}

/// [`ask`] for what may take as long as this.
pub(crate) fn ask_within(
    patience: Duration,
    data: &Path,
    method: &str,
    target: &str,
    body: &str,
) -> io::Result<Option<(u16, String)>> {
    let way = File::open(data).and_then(|folder| UnixStream::connect(inside(&folder)));
    let mut stream = match way {
        Ok(stream) => stream,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let json = if body.starts_with(['{', '[']) {
        "Content-Type: application/json\r\n"
    } else {
        ""
    };
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: strowger\r\nConnection: close\r\n{json}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut text = String::new();
    stream.take(LONGEST).read_to_string(&mut text)?;
    let strange = || io::Error::new(ErrorKind::InvalidData, "the switch answers something else");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(strange)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok(Some((status.ok_or_else(strange)?, body.to_owned())))
}
