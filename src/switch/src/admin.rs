//! What the operator asks over HTTP: `/metrics`, `/livez`, `/readyz`.

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::dev::{Server, ServerHandle};
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use actors::House;
use serde_json::json;

/// What the pages show.
#[derive(Clone)]
struct Shown {
    node: String,
    house: Arc<House>,
    metrics: metrics::Metrics,
}

/// The listener cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for HTTP on {address} (admin.listen): {source}")]
pub(crate) struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Listens; the server runs when its future is spawned.
pub(crate) fn start(
    address: SocketAddr,
    node: String,
    house: Arc<House>,
    metrics: metrics::Metrics,
) -> Result<(Server, ServerHandle), BindError> {
    let shown = web::Data::new(Shown {
        node,
        house,
        metrics,
    });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shown.clone())
            .route("/metrics", web::get().to(show_metrics))
            .route("/livez", web::get().to(livez))
            .route("/healthz", web::get().to(livez))
            .route("/readyz", web::get().to(readyz))
            .default_service(web::route().to(nothing))
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

fn answer(
    shown: &Shown,
    request: &HttpRequest,
    status: StatusCode,
    body: &serde_json::Value,
) -> HttpResponse {
    shown
        .metrics
        .http(request.path(), request.method().as_str(), status.as_u16());
    HttpResponse::build(status).json(body)
}

async fn show_metrics(shown: web::Data<Shown>, request: HttpRequest) -> HttpResponse {
    shown.metrics.http(request.path(), "GET", 200);
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(shown.metrics.render())
}

/// Alive is whoever answers; the registry must answer too.
async fn livez(shown: web::Data<Shown>, request: HttpRequest) -> HttpResponse {
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
    answer(&shown, &request, status, &json!({ "alive": !silent }))
}

async fn readyz(shown: web::Data<Shown>, request: HttpRequest) -> HttpResponse {
    let report = shown.house.report().await;
    let ready = report.missing.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({ "ready": ready, "node": shown.node, "missing": report.missing, "calls": report.calls, "lines": report.lines });
    answer(&shown, &request, status, &body)
}

async fn nothing(shown: web::Data<Shown>, request: HttpRequest) -> HttpResponse {
    let body =
        json!({ "error": "there is nothing here", "see": ["/metrics", "/livez", "/readyz"] });
    answer(&shown, &request, StatusCode::NOT_FOUND, &body)
}
