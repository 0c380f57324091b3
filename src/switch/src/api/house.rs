//! How the switch is, whom it does not listen to, who may ask, and what it logs.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpResponse, delete, get, post, put, web};
use actors::{House, LoadReport, SessionReport, TrunkReport};
use model::{BanRecord, IpPrefix, Scope};
use serde::{Deserialize, Serialize};
use store::{Migration, TokenRecord};
use utoipa::{IntoParams, ToSchema};

use super::access::{self, Admin, Keyring, MOST_TOKENS, Read, Write};
use super::roles::{RoleView, views};
use super::{Page, PageQuery};
use crate::alerts::{AlertView, Alerts};
use crate::logging::Levels;
use crate::office::Office;
use crate::problem::Problem;
use crate::scraped::Scraped;

/// The longest name of a token, octets.
const LONGEST_NAME: usize = 64;
/// The longest ban by hand: a year.
pub(crate) const LONGEST_BAN: u64 = 366 * 24 * 3600;

/// What does not change while the process runs.
#[derive(Clone)]
pub(crate) struct Process {
    /// The name of this node.
    pub(crate) node: String,
    /// When it began.
    pub(crate) started: Instant,
    /// The schema of the store.
    pub(crate) schema: u8,
    /// How the store came to that.
    pub(crate) migration: Option<Migration>,
    /// When `/metrics` was read.
    pub(crate) scraped: Scraped,
}

/// How the switch is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Status {
    /// The version of the program.
    pub(crate) version: String,
    /// The name of this node.
    pub(crate) node: String,
    /// Seconds since it began.
    pub(crate) uptime_s: u64,
    /// Whether everything runs that should.
    pub(crate) ready: bool,
    /// What does not, in words.
    pub(crate) missing: Vec<String>,
    /// What is amiss, 200 at most.
    #[serde(default)]
    pub(crate) alerts: Vec<AlertView>,
    /// The generation of the records.
    pub(crate) generation: u64,
    /// The store.
    pub(crate) store: StoreState,
    /// Calls that go on.
    pub(crate) calls: u64,
    /// Whether there is too much to do.
    pub(crate) load: Load,
    /// Seconds since somebody last read `/metrics`; nothing: nobody has since the start.
    #[serde(default)]
    pub(crate) scraped_s_ago: Option<u64>,
    /// Manager, Worker and Storage.
    pub(crate) roles: Vec<RoleView>,
    /// The trunks.
    pub(crate) trunks: Vec<TrunkState>,
    /// The sessions.
    pub(crate) sessions: Vec<SessionState>,
}

/// How the store is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct StoreState {
    /// Whether it takes what is written to it: not while its disk is full.
    pub(crate) works: bool,
    /// Its layout.
    pub(crate) schema: u8,
    /// How it came to that; nothing where it was made with it.
    pub(crate) migration: Option<MigrationView>,
}

/// A store that came from an older layout.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct MigrationView {
    /// The schema it had.
    pub(crate) from: u8,
    /// The schema it got.
    pub(crate) to: u8,
    /// When that was done, in seconds since 1970.
    pub(crate) at: u64,
}

impl From<Migration> for MigrationView {
    fn from(migration: Migration) -> Self {
        let Migration { from, to, at } = migration;
        Self { from, to, at }
    }
}

/// How the load is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Load {
    /// What is short while new calls are refused for it: `delay`, `cpu`, `memory`, `mailbox` or `transactions`.
    pub(crate) overloaded: Option<String>,
    /// The share of new calls that is let in, 0 to 1.
    pub(crate) admitted: f64,
    /// New calls that were refused for overload since the start.
    pub(crate) shed: u64,
}

impl From<LoadReport> for Load {
    fn from(report: LoadReport) -> Self {
        Self {
            overloaded: report.reason.map(str::to_owned),
            admitted: report.admitted,
            shed: report.shed,
        }
    }
}

/// How a trunk is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TrunkState {
    /// Its name.
    pub(crate) name: String,
    /// Whether it is switched on.
    pub(crate) enabled: bool,
    /// Whether it can be called: registered, or a peer that is there.
    pub(crate) up: bool,
    /// Where, as `udp:192.0.2.7:5060`.
    pub(crate) contacts: Vec<String>,
    /// How many of its lines are taken.
    pub(crate) lines_in_use: u32,
    /// The last SIP error on it; nothing while it works.
    #[serde(default)]
    pub(crate) last_error: Option<u16>,
}

impl TrunkState {
    /// Puts together what is known of a trunk of this house.
    pub(crate) fn of(report: TrunkReport, house: &House) -> Self {
        Self {
            last_error: house.metrics().last_error_of(&report.name),
            name: report.name.to_string(),
            enabled: report.enabled,
            up: report.up,
            contacts: report.contacts,
            lines_in_use: report.lines_in_use,
        }
    }
}

/// How a session is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SessionState {
    /// Its name.
    pub(crate) name: String,
    /// Whether it is switched on.
    pub(crate) enabled: bool,
    /// `offline`, `connecting`, `running`, `flood_wait`, `restricted` or `unauthorized`.
    pub(crate) state: String,
    /// When that ends by itself, in seconds since 1970.
    pub(crate) until: Option<u64>,
    /// The trunks that it is paired with.
    pub(crate) trunks: Vec<String>,
    /// Until when Telegram lets it place no calls, in seconds since 1970.
    #[serde(default)]
    pub(crate) calls_until: Option<u64>,
    /// Until when it may look nobody up, in seconds since 1970.
    #[serde(default)]
    pub(crate) look_ups_until: Option<u64>,
    /// Until when the account is limited for spam, in seconds since 1970.
    #[serde(default)]
    pub(crate) restricted_until: Option<u64>,
}

impl From<&SessionReport> for SessionState {
    fn from(report: &SessionReport) -> Self {
        Self {
            name: report.spec.name.to_string(),
            enabled: report.spec.enabled,
            state: report.state.clone(),
            until: report.until,
            trunks: report.trunks.iter().map(ToString::to_string).collect(),
            calls_until: report.waits.calls_until,
            look_ups_until: report.waits.look_ups_until,
            restricted_until: report.waits.restricted_until,
        }
    }
}

/// How the switch is
#[utoipa::path(tag = "house", security(("token" = ["read"])), responses((status = 200, body = Status)))]
#[get("/status")]
pub(super) async fn show_status(
    _: Read,
    process: Data<Process>,
    house: Data<House>,
    office: Data<Office>,
    alerts: Data<Alerts>,
) -> Result<Json<Status>, Problem> {
    let report = house.report().await;
    let silent = || Problem::busy(actors::SILENT);
    let trunks = house.trunks().await.ok_or_else(silent)?;
    let sessions = house.sessions().await.ok_or_else(silent)?;
    let current = office.current().await;
    Ok(Json(Status {
        roles: views(&report.roles, &current),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: process.node.clone(),
        uptime_s: process.started.elapsed().as_secs(),
        ready: report.missing.is_empty(),
        missing: report.missing,
        alerts: alerts.firing(),
        generation: current.generation,
        store: StoreState {
            works: report.stores,
            schema: process.schema,
            migration: process.migration.map(MigrationView::from),
        },
        calls: u64::try_from(report.calls).unwrap_or(u64::MAX),
        load: house.load().into(),
        scraped_s_ago: process.scraped.ago().map(|ago| ago.as_secs()),
        trunks: trunks
            .into_iter()
            .map(|trunk| TrunkState::of(trunk, &house))
            .collect(),
        sessions: sessions.iter().map(SessionState::from).collect(),
    }))
}

/// An actor.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Actor {
    /// Its kind: `registry`, `endpoint`, `keeper`, `trunk`, `session`, `call`.
    kind: &'static str,
    /// Which one, where there are several.
    name: String,
    /// Whether it lives, or what it says of itself.
    state: String,
}

/// The permanent actors, and how many calls there are
#[utoipa::path(tag = "house", security(("token" = ["admin"])), responses((status = 200, body = [Actor])))]
#[get("/actors")]
pub(super) async fn list_actors(_: Admin, house: Data<House>) -> Result<Json<Vec<Actor>>, Problem> {
    let silent = || Problem::busy(actors::SILENT);
    let core = house.core().into_iter().map(|(kind, lives)| Actor {
        kind,
        name: String::new(),
        state: if lives { "lives" } else { "is being restarted" }.to_owned(),
    });
    let mut list: Vec<Actor> = core.collect();
    list.extend(
        house
            .trunks()
            .await
            .ok_or_else(silent)?
            .into_iter()
            .map(|trunk| Actor {
                kind: "trunk",
                name: trunk.name.to_string(),
                state: match (trunk.enabled, trunk.up) {
                    (false, _) => "off",
                    (true, false) => "down",
                    (true, true) => "up",
                }
                .to_owned(),
            }),
    );
    list.extend(
        house
            .sessions()
            .await
            .ok_or_else(silent)?
            .into_iter()
            .map(|it| Actor {
                kind: "session",
                name: it.spec.name.to_string(),
                state: it.state,
            }),
    );
    list.push(Actor {
        kind: "call",
        name: String::new(),
        state: format!("{} of them", house.report().await.calls),
    });
    Ok(Json(list))
}

/// A ban.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Ban {
    /// An address or a network.
    pub(crate) prefix: String,
    /// When it ends, in seconds since 1970.
    pub(crate) until: u64,
    /// How often the address was banned for its failures; 0 for a ban by hand.
    pub(crate) times: u32,
}

impl From<&BanRecord> for Ban {
    fn from(ban: &BanRecord) -> Self {
        Self {
            prefix: ban.prefix.to_string(),
            until: ban.until,
            times: ban.times,
        }
    }
}

/// Which ban.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// An address or a network, such as 192.0.2.0/24
    prefix: String,
}

/// A ban that is wanted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedBan {
    /// An address or a network, such as 192.0.2.0/24.
    pub(crate) prefix: String,
    /// For how long, a year at most; a day unless said.
    pub(crate) seconds: Option<u64>,
}

fn prefix(text: &str) -> Result<IpPrefix, Problem> {
    let prefix = text.parse();
    prefix.map_err(|error: model::IpPrefixError| Problem::bad_request(error.to_string()))
}

/// Which bans.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WantedBans {
    /// Only the ban of this address or network, if there is one
    prefix: Option<String>,
    /// How many items, 1 to 1000; 100 unless said
    limit: Option<usize>,
    /// `next` of the page before
    cursor: Option<String>,
}

/// Who is banned, all or one
#[utoipa::path(tag = "bans", params(WantedBans), security(("token" = ["read"])), responses((status = 200, body = Page<Ban>), (status = 400, body = crate::problem::Body)))]
#[get("/bans")]
pub(super) async fn list_bans(
    _: Read,
    house: Data<House>,
    query: Query<WantedBans>,
) -> Result<Json<Page<Ban>>, Problem> {
    let WantedBans {
        prefix: only,
        limit,
        cursor,
    } = query.into_inner();
    let only = only.as_deref().map(prefix).transpose()?;
    let wanted = |ban: &BanRecord| only.is_none_or(|only| ban.prefix == only);
    let bans = house.bans().into_iter().filter(wanted);
    let mut bans: Vec<Ban> = bans.map(|ban| Ban::from(&ban)).collect();
    bans.sort_by(|a, b| a.prefix.cmp(&b.prefix));
    let query = PageQuery { limit, cursor };
    let page = Page::of(bans.into_iter(), &query, |ban| ban.prefix.clone());
    Ok(Json(page))
}

/// Listens no more to an address or network
#[utoipa::path(tag = "bans", request_body = WantedBan, security(("token" = ["write"])), responses((status = 204), (status = 400, body = crate::problem::Body)))]
#[put("/bans")]
pub(super) async fn add_ban(
    _: Write,
    house: Data<House>,
    wanted: Json<WantedBan>,
) -> Result<HttpResponse, Problem> {
    let seconds = wanted.seconds.unwrap_or(24 * 3600).min(LONGEST_BAN);
    house.ban(prefix(&wanted.prefix)?, Duration::from_secs(seconds));
    Ok(HttpResponse::NoContent().finish())
}

/// Lifts a ban
#[utoipa::path(tag = "bans", params(Which), security(("token" = ["write"])), responses((status = 204), (status = 404, body = crate::problem::Body)))]
#[delete("/bans")]
pub(super) async fn lift_ban(
    _: Write,
    house: Data<House>,
    which: Query<Which>,
) -> Result<HttpResponse, Problem> {
    if house.lift_ban(prefix(&which.prefix)?) {
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(Problem::not_found("ban", &which.prefix))
    }
}

/// A token, without what proves it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TokenView {
    /// Its id.
    pub(crate) id: String,
    /// What its owner calls it.
    pub(crate) name: String,
    /// What it may be used for: `read`, `calls`, `write`, `admin`.
    pub(crate) scopes: Vec<String>,
    /// When it was made, in seconds since 1970.
    pub(crate) created: u64,
}

impl From<&TokenRecord> for TokenView {
    fn from(record: &TokenRecord) -> Self {
        Self {
            id: record.id.clone(),
            name: record.name.clone(),
            scopes: record.scopes.iter().map(ToString::to_string).collect(),
            created: record.created,
        }
    }
}

/// A token that is wanted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedToken {
    /// What its owner calls it, up to 64 octets.
    pub(crate) name: String,
    /// What it may be used for: `read`, `calls`, `write`, `admin`.
    pub(crate) scopes: Vec<String>,
}

/// A token that was made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Made {
    /// Its id.
    pub(crate) id: String,
    /// The token; nobody is shown it again.
    pub(crate) token: String,
}

/// The tokens
#[utoipa::path(tag = "tokens", security(("token" = ["admin"])), responses((status = 200, body = [TokenView])))]
#[get("/tokens")]
pub(super) async fn list_tokens(_: Admin, keyring: Data<Keyring>) -> Json<Vec<TokenView>> {
    Json(keyring.list().iter().map(TokenView::from).collect())
}

/// Makes a token
#[utoipa::path(tag = "tokens", request_body = WantedToken, security(("token" = ["admin"])), responses((status = 201, body = Made), (status = 400, body = crate::problem::Body)))]
#[post("/tokens")]
pub(super) async fn make_token(
    _: Admin,
    keyring: Data<Keyring>,
    wanted: Json<WantedToken>,
) -> Result<HttpResponse, Problem> {
    let WantedToken { name, scopes } = wanted.into_inner();
    if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(Problem::bad_request(
            "a name has 1 to 64 octets, without control characters",
        ));
    }
    let scopes: Result<Vec<Scope>, _> = scopes.iter().map(|scope| scope.parse()).collect();
    let scopes =
        scopes.map_err(|error: model::ScopeError| Problem::bad_request(error.to_string()))?;
    if scopes.is_empty() {
        return Err(Problem::bad_request("a token needs at least one scope"));
    }
    let created = SystemTime::now().duration_since(UNIX_EPOCH);
    let (record, token) = access::make(name, scopes, created.unwrap_or_default().as_secs());
    let id = record.id.clone();
    let is_made = change(keyring, move |tokens| {
        let has_room = tokens.len() < MOST_TOKENS;
        if has_room {
            tokens.push(record);
        }
        has_room
    })
    .await?;
    if !is_made {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "too_many_tokens",
            format!("there are {MOST_TOKENS} tokens already"),
            "revoke some that nobody uses",
        ));
    }
    tracing::info!(%id, "a token was made");
    Ok(HttpResponse::Created().json(Made { id, token }))
}

/// Makes a token worthless
#[utoipa::path(tag = "tokens", params(("id" = String, Path, description = "its id")), security(("token" = ["admin"])), responses((status = 204), (status = 404, body = crate::problem::Body)))]
#[delete("/tokens/{id}")]
pub(super) async fn revoke_token(
    _: Admin,
    keyring: Data<Keyring>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let wanted = id.clone();
    let is_gone = change(keyring, move |tokens| {
        let before = tokens.len();
        tokens.retain(|token| token.id != wanted);
        tokens.len() < before
    });
    if is_gone.await? {
        tracing::info!(id = %*id, "a token was revoked");
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(Problem::not_found("token", &id))
    }
}

async fn change<T: Send + 'static>(
    keyring: Data<Keyring>,
    how: impl FnOnce(&mut Vec<TokenRecord>) -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = web::block(move || keyring.change(how)).await;
    Ok(done.map_err(|_| Problem::busy("the switch is stopping"))??)
}

/// What is logged.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Level {
    /// A level, or a filter such as `info,sip=debug`; as `log.level` in the settings.
    pub(crate) level: String,
}

/// What is logged
#[utoipa::path(tag = "log", security(("token" = ["admin"])), responses((status = 200, body = Level)))]
#[get("/log/levels")]
pub(super) async fn show_log_level(_: Admin, levels: Data<Levels>) -> Json<Level> {
    let level = levels.now();
    Json(Level { level })
}

/// Changes what is logged, until the next start
#[utoipa::path(tag = "log", request_body = Level, security(("token" = ["admin"])), responses((status = 204), (status = 400, body = crate::problem::Body)))]
#[put("/log/levels")]
pub(super) async fn set_log_level(
    _: Admin,
    levels: Data<Levels>,
    wanted: Json<Level>,
) -> Result<HttpResponse, Problem> {
    let set = levels.set(&wanted.level);
    set.map_err(Problem::bad_request)?;
    Ok(HttpResponse::NoContent().finish())
}
