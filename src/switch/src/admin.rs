//! What the operator asks over HTTP: `/metrics`, `/livez`, `/readyz`, and `/api/v1` with a token.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use actix_web::dev::{Server, ServerHandle, Service};
use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, HttpServer, web};
use actors::House;
use serde_json::json;
use store::Store;
use utoipa_actix_web::AppExt;

use crate::alerts::Alerts;
use crate::api::access::{Access, Keyring};
use crate::api::{self, Listeners, Orders, Process};
use crate::backups::Backups;
#[cfg(feature = "chaos")]
use crate::chaos::serve as more;
use crate::logging::Levels;
use crate::logins::Logins;
use crate::office::Office;
use crate::settings::{self, Settings};
use crate::veil::Veil;
use crate::webhooks::Webhooks;

use crate::recovery;
use crate::scraped::Scraped;

/// What the pages show.
#[derive(Clone)]
struct Shown {
    node: String,
    house: Arc<House>,
    metrics: metrics::Metrics,
    scraped: Scraped,
    /// The folder of the store.
    store: PathBuf,
}

/// What is said while the store takes nothing.
pub(crate) const STORES_NOTHING: &str = "the store takes nothing: see whether its disk is full";

/// The listener cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for HTTP on {address} (admin.listen): {source}")]
pub(crate) struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

/// What `/api/v1` works with, on the admin listener and on the control socket.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) process: web::Data<Process>,
    pub(crate) settings: web::Data<Settings>,
    pub(crate) house: web::Data<House>,
    pub(crate) store: web::Data<dyn Store>,
    pub(crate) office: web::Data<Office>,
    pub(crate) backups: web::Data<Backups>,
    pub(crate) keyring: web::Data<Keyring>,
    pub(crate) levels: web::Data<Levels>,
    pub(crate) veil: web::Data<Veil>,
    pub(crate) alerts: web::Data<Alerts>,
    pub(crate) orders: web::Data<Orders>,
    pub(crate) listeners: web::Data<Listeners>,
    pub(crate) logins: web::Data<Logins>,
    pub(crate) webhooks: web::Data<Webhooks>,
}

impl Desk {
    /// Gives it to an application.
    pub(crate) fn give(&self, access: Access, app: &mut web::ServiceConfig) {
        app.app_data(web::Data::new(access))
            .app_data(self.process.clone())
            .app_data(self.settings.clone())
            .app_data(self.house.clone())
            .app_data(self.store.clone())
            .app_data(self.office.clone())
            .app_data(self.backups.clone())
            .app_data(self.keyring.clone())
            .app_data(self.levels.clone())
            .app_data(self.veil.clone())
            .app_data(self.alerts.clone())
            .app_data(self.orders.clone())
            .app_data(self.listeners.clone())
            .app_data(self.logins.clone())
            .app_data(self.webhooks.clone());
    }
}

/// Listens; the server runs when its future is spawned.
pub(crate) fn start(
    admin: &settings::Admin,
    metrics: metrics::Metrics,
    desk: Desk,
    store: PathBuf,
) -> Result<(Server, ServerHandle), BindError> {
    let address = admin.listen;
    let access = if admin.behind_proxy || address.ip().is_loopback() {
        let behind_proxy = admin.behind_proxy;
        Access::Tokens { behind_proxy }
    } else {
        Access::Closed
    };
    let (node, house) = (desk.process.node.clone(), Arc::clone(&desk.house));
    let scraped = desk.process.scraped.clone();
    let shown = web::Data::new(Shown {
        node,
        house,
        metrics,
        scraped,
        store,
    });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shown.clone())
            .configure(|app| desk.give(access, app))
            .configure(more)
            .wrap_fn(|request, next| {
                let shown = request.app_data::<web::Data<Shown>>().cloned();
                let method = request.method().clone();
                let began = Instant::now();
                let answer = next.call(request);
                async move {
                    let answer = answer.await?;
                    if let Some(shown) = shown {
                        let code = answer.status().as_u16();
                        let route = answer.request().match_pattern();
                        let route = label_of(&route.unwrap_or_default());
                        shown
                            .metrics
                            .http(&route, method.as_str(), code, began.elapsed());
                    }
                    Ok(answer)
                }
            })
            .route("/metrics", web::get().to(show_metrics))
            .route("/livez", web::get().to(livez))
            .route("/healthz", web::get().to(livez))
            .route("/readyz", web::get().to(readyz))
            .default_service(web::route().to(nothing))
            .into_utoipa_app()
            .service(api::service())
            .into_app()
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(1)
    .bind(address)
    .map_err(|source| BindError { address, source })?
    .run();
    let handle = server.handle();
    Ok((server, handle))
}

/// Nothing more: only the end-to-end tests are served with harm.
#[cfg(not(feature = "chaos"))]
fn more(_: &mut web::ServiceConfig) {}

/// A route as the description of the interface writes it: a name that may have a `/` in it has a pattern where it is served.
fn label_of(pattern: &str) -> String {
    pattern.replace(":.+}", "}")
}

async fn show_metrics(shown: web::Data<Shown>) -> HttpResponse {
    shown.scraped.now();
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(shown.metrics.render())
}

/// Alive is whoever answers; the registry must answer too.
async fn livez(shown: web::Data<Shown>) -> HttpResponse {
    let report = shown.house.report().await;
    let silent = report
        .missing
        .iter()
        .any(|missing| missing == actors::SILENT);
    let status = if silent {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    HttpResponse::build(status).json(json!({ "alive": !silent }))
}

async fn readyz(shown: web::Data<Shown>) -> HttpResponse {
    let report = shown.house.report().await;
    let ready = report.missing.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    // Calls are possible all the same, but somebody should look.
    let mut notes = recovery::notes(&shown.store);
    if !report.stores {
        notes.push(STORES_NOTHING.to_owned());
    }
    let body = json!({
        "ready": ready, "node": shown.node, "missing": report.missing, "notes": notes, "calls": report.calls, "lines": report.lines,
        "session_lines": report.session_lines, "user_lines": report.user_lines,
    });
    HttpResponse::build(status).json(body)
}

async fn nothing() -> HttpResponse {
    let body = json!({ "error": "there is nothing here", "see": ["/metrics", "/livez", "/readyz", "/api/v1/openapi.json"] });
    HttpResponse::NotFound().json(body)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::api::tests::desk;

    /// Status and body of a page.
    async fn get(address: SocketAddr, path: &'static str) -> (u16, String) {
        ask(address, "GET", path).await
    }

    async fn ask(address: SocketAddr, method: &'static str, path: &'static str) -> (u16, String) {
        let fetch = move || {
            let mut stream = TcpStream::connect(address).unwrap();
            write!(
                stream,
                "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
            .unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        };
        let text = tokio::task::spawn_blocking(fetch).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    #[test]
    fn the_pages_say_how_the_house_is_and_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = metrics::Metrics::new("0");
        actix::System::new().block_on(async {
            let (house, desk) = desk(folder.path(), &metrics).await;
            let address = TcpListener::bind(("127.0.0.1", 0))
                .unwrap()
                .local_addr()
                .unwrap();
            let mut settings = Settings::default();
            settings.admin.listen = address;
            let (server, handle) =
                start(&settings.admin, metrics, desk, folder.path().join("store")).unwrap();
            tokio::spawn(server);

            let (status, body) = get(address, "/readyz").await;
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(
                (status, &body["ready"], &body["node"]),
                (200, &json!(true), &json!("here"))
            );
            assert_eq!(get(address, "/livez").await.0, 200);
            assert_eq!(get(address, "/healthz").await.0, 200);
            assert_eq!(get(address, "/api/v1/trunks/office").await.0, 401);
            let reset = "/api/v1/quotas/route/office/gateway/reset";
            assert_eq!(ask(address, "POST", reset).await.0, 401);
            let (status, body) = get(address, "/nothing").await;
            assert_eq!(status, 404);
            assert!(
                serde_json::from_str::<serde_json::Value>(&body).is_ok(),
                "{body}"
            );
            let (status, text) = get(address, "/metrics").await;
            assert_eq!(status, 200);
            for line in [
                "strowger_ready 1",
                "strowger_http_requests_total{code=\"404\",method=\"GET\",route=\"other\"} 1",
                "strowger_http_requests_total{code=\"401\",method=\"GET\",route=\"/api/v1/trunks/{name}\"} 1",
                "strowger_http_requests_total{code=\"401\",method=\"POST\",route=\"/api/v1/quotas/{kind}/{name}/reset\"} 1",
            ] {
                assert!(text.contains(line), "{line} is not in {text}");
            }

            house.drain().await;
            let (status, body) = get(address, "/readyz").await;
            assert_eq!(status, 503);
            assert!(body.contains("the switch is stopping"), "{body}");
            assert_eq!(get(address, "/livez").await.0, 200);
            handle.stop(false).await;
            house.stop(std::time::Duration::from_secs(1)).await;
        });
    }
}
