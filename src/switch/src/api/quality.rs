//! How a call sounds while it goes on.

use actix_web::get;
use actix_web::web::{Data, Json, Path};
use actors::{CallReport, House, LegSound};
use model::{MediaPath, Missing};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::Read;
use super::calls::{bare, id};
use crate::problem::Problem;
use crate::record_view::at;

/// How a call sounded in the last 10 s: estimates from what the network did, nobody has listened.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct QualityView {
    /// The call, a ULID.
    pub(crate) call: String,
    /// When the 10 s were over, RFC 3339 in UTC; null before the first of them.
    pub(crate) at: Option<String>,
    /// Who was not heard within 5 s after the answer: `sip`, `telegram`, `both`.
    pub(crate) one_way: Option<String>,
    /// What came from each leg; none before the first 10 s.
    pub(crate) legs: Vec<LegQuality>,
}

/// How what came from a leg sounded; null is what was not measured.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LegQuality {
    /// Its number; 0 is the caller's.
    pub(crate) leg: u16,
    /// `sip` or `telegram`.
    pub(crate) kind: String,
    /// The trunk or session that it goes over.
    pub(crate) via: String,
    /// `pcma`, `pcmu`, `opus`, `g722`, `l16`.
    pub(crate) codec: String,
    /// How the media of a Telegram leg goes: `direct`, `turn`, `reflector`, `reflector_tcp`.
    pub(crate) path: Option<String>,
    /// The share of packets that were lost, 0 to 1.
    pub(crate) loss: Option<f64>,
    /// Interarrival jitter (RFC 3550), milliseconds.
    pub(crate) jitter_ms: Option<f64>,
    /// The round trip, milliseconds: by RTCP, or by the checks of ICE.
    pub(crate) rtt_ms: Option<f64>,
    /// The estimated mean opinion score, 1 to 4.5 (E-model, ITU-T G.107, simplified).
    pub(crate) mos: Option<f64>,
}

impl From<LegSound> for LegQuality {
    fn from(leg: LegSound) -> Self {
        Self {
            leg: leg.leg.0,
            kind: leg.kind.label().to_owned(),
            via: leg.via,
            codec: leg.codec.label().to_owned(),
            path: leg.path.map(MediaPath::label).map(str::to_owned),
            loss: leg.quality.loss(),
            jitter_ms: leg.quality.jitter_ms(),
            rtt_ms: leg.quality.rtt_ms(),
            mos: leg.quality.mos(),
        }
    }
}

impl From<CallReport> for QualityView {
    fn from(report: CallReport) -> Self {
        let one_way = report.record.details.one_way;
        let sound = report.sound;
        Self {
            call: bare(report.record.id),
            at: sound.as_ref().map(|sound| at(sound.at_ms)),
            one_way: one_way.map(Missing::label).map(str::to_owned),
            legs: sound.map_or_else(Vec::new, |sound| {
                sound.legs.into_iter().map(LegQuality::from).collect()
            }),
        }
    }
}

/// How a call that goes on sounded in the last 10 s
#[utoipa::path(tag = "calls", params(("id" = String, Path, description = "its id")), security(("token" = ["read"])), responses((status = 200, body = QualityView), (status = 404, body = crate::problem::Body)))]
#[get("/calls/{id}/quality")]
pub(super) async fn show_quality(
    _: Read,
    house: Data<House>,
    name: Path<String>,
) -> Result<Json<QualityView>, Problem> {
    let call = house.call(id(&name)?).await;
    let call = call.ok_or_else(|| Problem::not_found("call", &name))?;
    Ok(Json(call.into()))
}
