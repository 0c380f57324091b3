//! What is done with a trunk without changing its record: unblock it, begin anew with it, try it, and show its other side.

use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpResponse, get, post};
use actors::House;
use model::{HostPort, TrunkName, TrunkSpec};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::access::Write;
use crate::cli::{self, Pbx};
use crate::office::Office;
use crate::problem::Problem;
use crate::settings::Settings;

fn silent() -> Problem {
    Problem::busy(actors::SILENT)
}

fn unknown(path: &str) -> Problem {
    Problem::not_found("trunk", path)
}

async fn trunk(office: &Office, path: &str) -> Result<TrunkSpec, Problem> {
    let name: TrunkName = path.parse().map_err(|_| unknown(path))?;
    let spec = office.current().await.trunk(&name).cloned();
    spec.ok_or_else(|| unknown(path))
}

/// Places calls on a trunk again at once that was blocked because too many failed
#[utoipa::path(tag = "trunks", params(("name" = String, Path, description = "its name")), security(("token" = ["write"])), responses((status = 204), (status = 404, body = crate::problem::Body)))]
#[post("/trunks/{name}/unblock")]
pub(super) async fn unblock_trunk(
    _: Write,
    house: Data<House>,
    office: Data<Office>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let spec = trunk(&office, &path).await?;
    match house.unblock(spec.name).await {
        Some(true) => Ok(HttpResponse::NoContent().finish()),
        Some(false) => Err(unknown(&path)),
        None => Err(silent()),
    }
}

/// Begins anew with a trunk: registers, or asks whether the peer is there, at once; its calls go on, and who is registered stays so
#[utoipa::path(tag = "trunks", params(("name" = String, Path, description = "its name")), security(("token" = ["write"])), responses((status = 204), (status = 404, body = crate::problem::Body), (status = 409, body = crate::problem::Body)))]
#[post("/trunks/{name}/reconnect")]
pub(super) async fn reconnect_trunk(
    _: Write,
    house: Data<House>,
    office: Data<Office>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let spec = trunk(&office, &path).await?;
    if !spec.enabled {
        return Err(Problem::new(
            actix_web::http::StatusCode::CONFLICT,
            "trunk_off",
            format!("trunk {} is off", spec.name),
            "switch it on: `strowger trunk enable NAME`",
        ));
    }
    match house.reconnect(spec.name).await {
        Some(true) => Ok(HttpResponse::NoContent().finish()),
        Some(false) => Err(unknown(&path)),
        None => Err(silent()),
    }
}

/// Whether the other end of a trunk is there.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TrunkTest {
    /// The trunk.
    pub(crate) trunk: String,
    /// Whether calls can be expected to work.
    pub(crate) ok: bool,
    /// What was tried, in order.
    pub(crate) steps: Vec<TrunkTestStep>,
    /// What to do next.
    pub(crate) next: String,
}

/// Something that was tried.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TrunkTestStep {
    /// What: `resolve`, `OPTIONS`, `connect`, `registered`.
    pub(crate) step: String,
    /// What came of it.
    pub(crate) said: String,
    /// How long it took, in milliseconds.
    pub(crate) ms: Option<u64>,
}

/// Tries whether the PBX is there, from another port than calls use; takes up to 10 s
#[utoipa::path(tag = "trunks", params(("name" = String, Path, description = "its name")), security(("token" = ["write"])), responses((status = 200, body = TrunkTest), (status = 404, body = crate::problem::Body)))]
#[post("/trunks/{name}/test")]
pub(super) async fn test_trunk(
    _: Write,
    house: Data<House>,
    office: Data<Office>,
    settings: Data<Settings>,
    path: Path<String>,
) -> Result<Json<TrunkTest>, Problem> {
    let spec = trunk(&office, &path).await?;
    let mut reports = house.trunks().await.ok_or_else(silent)?.into_iter();
    let report = reports.find(|report| report.name == spec.name);
    Ok(Json(cli::test_trunk(&settings, &spec, report).await))
}

/// For which PBX a text is.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WantedSnippet {
    /// asterisk-pjsip, freepbx, 3cx, fusionpbx, freeswitch, kamailio or mikopbx
    #[serde(rename = "for")]
    #[param(rename = "for")]
    pbx: String,
    /// Where the PBX finds this switch, HOST or HOST:PORT, if that is not the address it listens on
    server: Option<String>,
}

/// The other side of a trunk: text for the files of a PBX, or the fields of its forms, with the password
#[utoipa::path(tag = "trunks", params(("name" = String, Path, description = "its name"), WantedSnippet), security(("token" = ["write"])), responses((status = 200, body = Object), (status = 400, body = crate::problem::Body), (status = 404, body = crate::problem::Body), (status = 422, body = crate::problem::Body)))]
#[get("/trunks/{name}/snippet")]
pub(super) async fn show_snippet(
    _: Write,
    office: Data<Office>,
    settings: Data<Settings>,
    path: Path<String>,
    wanted: Query<WantedSnippet>,
) -> Result<HttpResponse, Problem> {
    let spec = trunk(&office, &path).await?;
    let pbx = <Pbx as clap::ValueEnum>::from_str(&wanted.pbx, false)
        .map_err(|_| Problem::bad_request("there is no text for such a PBX"))?;
    let server = wanted.server.as_deref().map(str::parse::<HostPort>);
    let server = server
        .transpose()
        .map_err(|error| Problem::bad_request(error.to_string()))?;
    let snippet = cli::snippet(&spec, &settings, pbx, server);
    let snippet = snippet.map_err(|failure| Problem::invalid(failure.to_string()))?;
    Ok(HttpResponse::Ok().json(snippet))
}
