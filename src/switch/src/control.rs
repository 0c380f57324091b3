//! How a command reaches the switch that runs: HTTP on a Unix socket in the folder of its data. Whoever may write to the socket may command.
//!
//! | request | does |
//! |---|---|
//! | `GET /v1/bans` | who is banned |
//! | `PUT /v1/bans?prefix=P&seconds=N` | bans |
//! | `DELETE /v1/bans?prefix=P` | lifts a ban; 404 when there is none |
//! | `GET /v1/sessions` | every session, its state and what it waits for; 503 when the switch does not know just now |

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpResponse, HttpServer, web};
use actors::House;
use model::IpPrefix;
use serde::Deserialize;

/// The name of the socket in the folder of the data.
pub(crate) const SOCKET: &str = "control.sock";
/// How long a command waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer that is read: 65,536 bans are some 5 MB.
const LONGEST: u64 = 16 << 20;

/// Whom a request is about.
#[derive(Deserialize)]
struct Wanted {
    prefix: IpPrefix,
    #[serde(default)]
    seconds: u64,
}

/// Listens; the server runs when its future is spawned. A socket that an earlier process left is replaced: only one switch can hold
/// the store beside it.
pub(crate) fn start(path: &Path, house: Arc<House>) -> io::Result<(Server, ServerHandle)> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let house = web::Data::from(house);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(house.clone())
            .service(
                web::resource("/v1/bans")
                    .route(web::get().to(list))
                    .route(web::put().to(ban))
                    .route(web::delete().to(lift)),
            )
            .service(web::resource("/v1/sessions").route(web::get().to(sessions)))
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(1)
    .bind_uds(path)?;
    // Its owner and his group may command, nobody else.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    let server = server.run();
    let handle = server.handle();
    Ok((server, handle))
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

/// Asks the switch that runs on this folder; status and body, or none when no switch runs.
pub(crate) fn ask(data: &Path, method: &str, target: &str) -> io::Result<Option<(u16, String)>> {
    let mut stream = match UnixStream::connect(data.join(SOCKET)) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: strowger\r\nConnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.take(LONGEST).read_to_string(&mut text)?;
    let strange = || io::Error::new(ErrorKind::InvalidData, "the switch answers something else");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(strange)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok(Some((status.ok_or_else(strange)?, body.to_owned())))
}
