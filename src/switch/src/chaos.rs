//! `POST /chaos`: harm on purpose, for the end-to-end tests. No release has it: see the feature `chaos`.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use actors::{Harm, House, Victim};
use model::LegKind;
use serde::Deserialize;

/// What is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// `registry`, `endpoint`, `keeper`, `trunk`, `session`, `call`, `sip_leg`, `telegram_leg` or `media`.
    victim: String,
    /// Which trunk or session.
    #[serde(default)]
    name: String,
    /// For how many milliseconds its thread stalls; it dies when nothing is said.
    stall_ms: Option<u64>,
}

impl Wish {
    fn victim(&self) -> Option<Victim> {
        let victim = match self.victim.as_str() {
            "registry" => Victim::Registry,
            "endpoint" => Victim::Endpoint,
            "keeper" => Victim::Keeper,
            "trunk" => Victim::Trunk(self.name.parse().ok()?),
            "session" => Victim::Session(self.name.parse().ok()?),
            "call" => Victim::Call,
            "sip_leg" => Victim::Leg(LegKind::Sip),
            "telegram_leg" => Victim::Leg(LegKind::Telegram),
            "media" => Victim::Media,
            _ => return None,
        };
        Some(victim)
    }
}

async fn harm(wish: web::Json<Wish>, house: web::Data<House>) -> HttpResponse {
    let Some(victim) = wish.victim() else {
        return HttpResponse::BadRequest().finish();
    };
    let what = wish
        .stall_ms
        .map_or(Harm::Dies, |ms| Harm::Stalls(Duration::from_millis(ms)));
    tracing::warn!(?victim, ?what, "harm is done on purpose");
    match house.harm(victim, what).await {
        Some(()) => HttpResponse::Ok().json(serde_json::json!({})),
        None => HttpResponse::NotFound().finish(),
    }
}

/// Serves it.
pub(crate) fn serve(app: &mut web::ServiceConfig) {
    app.route("/chaos", web::post().to(harm));
}
