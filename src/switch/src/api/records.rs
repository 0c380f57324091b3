//! Trunks, sessions and routes. Every change is one commit.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpRequest, HttpResponse, delete, get, post, put};
use actors::{House, RouteReport, TrunkReport, TryCall, Via};
use model::{
    RouteSpec, RouteTerms, Secret, SessionName, SessionSpec, TransitSpec, TrunkKind, TrunkName,
    TrunkSpec,
};
use serde::{Deserialize, Serialize};
use store::Change;
use utoipa::{IntoParams, ToSchema};

use super::access::{Read, Write};
use super::house::{SessionState, TrunkState};
use super::{Changed, Page, PageQuery, expected, of_generation};
use crate::credentials;
use crate::office::{InForce, Office};
use crate::problem::Problem;
use crate::records::{PRIORITY, RouteDraft, SessionDraft, TrunkDraft};
use crate::settings::Settings;

/// The longest number that can be tried, octets.
const LONGEST_NUMBER: usize = 256;

/// A trunk.
#[derive(Debug, Serialize, ToSchema)]
struct TrunkView {
    /// Its record, without its password.
    record: TrunkDraft,
    /// How it is.
    state: Option<TrunkState>,
    /// What is entered in the PBX beside its login.
    #[serde(flatten)]
    facts: TrunkFacts,
}

/// Where the PBX finds this switch.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct TrunkFacts {
    /// Address and port, as far as the settings say them.
    pub(crate) server: String,
    /// The realm of its password.
    pub(crate) realm: String,
}

impl From<&Settings> for TrunkFacts {
    fn from(settings: &Settings) -> Self {
        Self {
            server: server(settings),
            realm: settings.sip.realm.as_str().to_owned(),
        }
    }
}

/// Where a PBX finds us.
fn server(settings: &Settings) -> String {
    let Some(listen) = settings.sip.udp.first() else {
        return "-".to_owned();
    };
    match settings.sip.public_address {
        Some(address) => SocketAddr::new(address, listen.port()).to_string(),
        None if listen.ip().is_unspecified() => {
            format!("the address of this host, port {}, UDP", listen.port())
        }
        None => listen.to_string(),
    }
}

/// A session.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SessionView {
    /// Its record.
    pub(crate) record: SessionDraft,
    /// How it is.
    pub(crate) state: Option<SessionState>,
}

/// A name, or the problem that nothing can have it.
fn name<T: std::str::FromStr>(kind: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::not_found(kind, text))
}

fn trunk_of(current: &InForce, text: &str) -> Result<TrunkSpec, Problem> {
    let spec = current.trunk(&name("trunk", text)?).cloned();
    spec.ok_or_else(|| Problem::not_found("trunk", text))
}

fn session_of(current: &InForce, text: &str) -> Result<SessionSpec, Problem> {
    let spec = current.session(&name("session", text)?).cloned();
    spec.ok_or_else(|| Problem::not_found("session", text))
}

pub(super) fn silent() -> Problem {
    Problem::busy(actors::SILENT)
}

pub(super) async fn changed(
    office: &Arc<Office>,
    request: &HttpRequest,
    status: StatusCode,
    changes: Vec<Change>,
) -> Result<HttpResponse, Problem> {
    let generation = office.commit(expected(request.headers())?, changes).await?;
    Ok(of_generation(generation, status, &Changed { generation }))
}

/// The same for what is made from the records as they are then.
async fn changed_from(
    office: &Arc<Office>,
    request: &HttpRequest,
    from: impl Fn(&InForce) -> Result<Vec<Change>, Problem> + Send + Sync + 'static,
) -> Result<HttpResponse, Problem> {
    let generation = office.change(expected(request.headers())?, from).await?;
    let status = StatusCode::OK;
    Ok(of_generation(generation, status, &Changed { generation }))
}

// ---------------------------------------------------------------- trunks

/// All trunks, by name
#[utoipa::path(tag = "trunks", params(PageQuery), security(("token" = ["read"])), responses((status = 200, body = Page<TrunkView>)))]
#[get("/trunks")]
pub(super) async fn list_trunks(
    _: Read,
    house: Data<House>,
    office: Data<Office>,
    settings: Data<Settings>,
    query: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let current = office.current().await;
    let facts = TrunkFacts::from(&**settings);
    let states = house.trunks().await.ok_or_else(silent)?;
    let states = states.into_iter().map(|state| (state.name.clone(), state));
    let mut states: HashMap<TrunkName, TrunkReport> = states.collect();
    let views = current.table.trunks().map(|spec| TrunkView {
        record: TrunkDraft::from(spec).without_password(),
        state: states
            .remove(&spec.name)
            .map(|state| TrunkState::of(state, &house)),
        facts: facts.clone(),
    });
    let page = Page::of(views, &query, |view| {
        view.record
            .name
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default()
    });
    Ok(of_generation(current.generation, StatusCode::OK, &page))
}

/// One trunk
#[utoipa::path(tag = "trunks", params(("name" = String, Path, description = "its name")), security(("token" = ["read"])), responses((status = 200, body = TrunkView), (status = 404, body = crate::problem::Body)))]
#[get("/trunks/{name}")]
pub(super) async fn show_trunk(
    _: Read,
    house: Data<House>,
    office: Data<Office>,
    settings: Data<Settings>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let current = office.current().await;
    let spec = trunk_of(&current, &name)?;
    let mut states = house.trunks().await.ok_or_else(silent)?.into_iter();
    let view = TrunkView {
        record: TrunkDraft::from(&spec).without_password(),
        state: states
            .find(|state| state.name == spec.name)
            .map(|state| TrunkState::of(state, &house)),
        facts: TrunkFacts::from(&**settings),
    };
    Ok(of_generation(current.generation, StatusCode::OK, &view))
}

/// Makes a trunk, or brings it to what is said
///
/// What is absent has its default; login and password are those of before, or new ones.
#[utoipa::path(tag = "trunks", params(("name" = String, Path, description = "its name")), request_body = TrunkDraft, security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 201, body = Changed), (status = 412, body = crate::problem::Body), (status = 422, body = crate::problem::Body)))]
#[put("/trunks/{name}")]
pub(super) async fn put_trunk(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
    path: Path<String>,
    draft: Json<TrunkDraft>,
) -> Result<HttpResponse, Problem> {
    let invalid = |what: String| Problem::invalid(what);
    let wanted: TrunkName = path
        .parse()
        .map_err(|error: model::NameError| invalid(error.to_string()))?;
    if draft.name.as_ref().is_some_and(|name| *name != wanted) {
        return Err(invalid("`name` is another one than in the path".to_owned()));
    }
    let current = office.current().await;
    let before = current.trunk(&wanted);
    let spec = draft.spec(&wanted, before);
    let spec = spec.map_err(|(key, what)| invalid(format!("`{key}`: {what}")))?;
    let status = if before.is_some() {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    // What it was completed from must still be true.
    let seen = expected(request.headers())?.unwrap_or(current.generation);
    let generation = office
        .commit(Some(seen), vec![Change::PutTrunk(Box::new(spec))])
        .await?;
    Ok(of_generation(generation, status, &Changed { generation }))
}

/// Removes a trunk and its routes
#[utoipa::path(tag = "trunks", params(("name" = String, Path, description = "its name")), security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 404, body = crate::problem::Body), (status = 412, body = crate::problem::Body)))]
#[delete("/trunks/{name}")]
pub(super) async fn remove_trunk(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let path = path.into_inner();
    changed_from(&office, &request, move |current| {
        let spec = trunk_of(current, &path)?;
        Ok(current.remove_trunk(&spec.name))
    })
    .await
}

async fn switch_trunk(
    office: &Arc<Office>,
    request: &HttpRequest,
    path: &str,
    enabled: bool,
) -> Result<HttpResponse, Problem> {
    let path = path.to_owned();
    changed_from(office, request, move |current| {
        let spec = TrunkSpec {
            enabled,
            ..trunk_of(current, &path)?
        };
        Ok(vec![Change::PutTrunk(Box::new(spec))])
    })
    .await
}

/// Lets a trunk take and place calls
#[utoipa::path(tag = "trunks", params(("name" = String, Path, description = "its name")), security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 404, body = crate::problem::Body)))]
#[post("/trunks/{name}/enable")]
pub(super) async fn enable_trunk(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    switch_trunk(&office, &request, &path, true).await
}

/// Lets a trunk neither take nor place further calls
#[utoipa::path(tag = "trunks", params(("name" = String, Path, description = "its name")), security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 404, body = crate::problem::Body)))]
#[post("/trunks/{name}/disable")]
pub(super) async fn disable_trunk(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    switch_trunk(&office, &request, &path, false).await
}

/// New credentials.
#[derive(Debug, Serialize, ToSchema)]
struct NewPassword {
    /// The login, which stays.
    login: String,
    /// The password; nobody is shown it here again.
    password: String,
    /// The generation of the records that there is now.
    generation: u64,
}

/// Makes a new password for a PBX that registers here, and forgets who registered with the old one
#[utoipa::path(tag = "trunks", params(("name" = String, Path, description = "its name")), security(("token" = ["write"])), responses((status = 200, body = NewPassword), (status = 404, body = crate::problem::Body), (status = 422, body = crate::problem::Body)))]
#[post("/trunks/{name}/reset-password")]
pub(super) async fn reset_password(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let current = office.current().await;
    let spec = trunk_of(&current, &path)?;
    let TrunkKind::InboundRegister { login, .. } = spec.kind else {
        let what = "only a PBX that registers here has a password of ours";
        return Err(Problem::invalid(what));
    };
    let password = credentials::password();
    let kind = TrunkKind::InboundRegister {
        login: login.clone(),
        password: Secret::new(password.clone()),
    };
    let spec = TrunkSpec { kind, ..spec };
    let changes = vec![Change::PutTrunk(Box::new(spec))];
    // The rest of the trunk must still be as it was read.
    let seen = expected(request.headers())?.unwrap_or(current.generation);
    let generation = office.commit(Some(seen), changes).await?;
    let made = NewPassword {
        login,
        password,
        generation,
    };
    Ok(of_generation(generation, StatusCode::OK, &made))
}

// ---------------------------------------------------------------- sessions

async fn session_states(house: &House) -> Result<Vec<SessionState>, Problem> {
    let reports = house.sessions().await.ok_or_else(silent)?;
    Ok(reports.iter().map(SessionState::from).collect())
}

/// All sessions, by name
#[utoipa::path(tag = "sessions", params(PageQuery), security(("token" = ["read"])), responses((status = 200, body = Page<SessionView>)))]
#[get("/sessions")]
pub(super) async fn list_sessions(
    _: Read,
    house: Data<House>,
    office: Data<Office>,
    query: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let current = office.current().await;
    let mut states = session_states(&house).await?;
    let views = current.table.sessions().map(|spec| SessionView {
        record: SessionDraft::from(spec),
        state: {
            let at = states
                .iter()
                .position(|state| state.name == spec.name.as_str());
            at.map(|at| states.swap_remove(at))
        },
    });
    let page = Page::of(views, &query, |view| {
        view.record
            .name
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default()
    });
    Ok(of_generation(current.generation, StatusCode::OK, &page))
}

/// One session
#[utoipa::path(tag = "sessions", params(("name" = String, Path, description = "its name")), security(("token" = ["read"])), responses((status = 200, body = SessionView), (status = 404, body = crate::problem::Body)))]
#[get("/sessions/{name}")]
pub(super) async fn show_session(
    _: Read,
    house: Data<House>,
    office: Data<Office>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let current = office.current().await;
    let spec = session_of(&current, &path)?;
    let mut states = session_states(&house).await?.into_iter();
    let view = SessionView {
        record: SessionDraft::from(&spec),
        state: states.find(|state| state.name == spec.name.as_str()),
    };
    Ok(of_generation(current.generation, StatusCode::OK, &view))
}

/// Makes a session, or brings it to what is said; what is absent has its default
#[utoipa::path(tag = "sessions", params(("name" = String, Path, description = "its name")), request_body = SessionDraft, security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 201, body = Changed), (status = 412, body = crate::problem::Body), (status = 422, body = crate::problem::Body)))]
#[put("/sessions/{name}")]
pub(super) async fn put_session(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
    path: Path<String>,
    draft: Json<SessionDraft>,
) -> Result<HttpResponse, Problem> {
    let wanted: SessionName = path
        .parse()
        .map_err(|error: model::NameError| Problem::invalid(error.to_string()))?;
    if draft.name.as_ref().is_some_and(|name| *name != wanted) {
        return Err(Problem::invalid("`name` is another one than in the path"));
    }
    let is_new = office.current().await.session(&wanted).is_none();
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let changes = vec![Change::PutSession(draft.spec(wanted))];
    changed(&office, &request, status, changes).await
}

/// Removes a session, its keys and its routes; one that is connected has to be disabled first
#[utoipa::path(tag = "sessions", params(("name" = String, Path, description = "its name")), security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 404, body = crate::problem::Body), (status = 409, body = crate::problem::Body)))]
#[delete("/sessions/{name}")]
pub(super) async fn remove_session(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let path = path.into_inner();
    changed_from(&office, &request, move |current| {
        Ok(current.remove_session(&session_of(current, &path)?.name))
    })
    .await
}

async fn switch_session(
    office: &Arc<Office>,
    request: &HttpRequest,
    path: &str,
    enabled: bool,
) -> Result<HttpResponse, Problem> {
    let path = path.to_owned();
    changed_from(office, request, move |current| {
        let mut spec = session_of(current, &path)?;
        spec.enabled = enabled;
        Ok(vec![Change::PutSession(spec)])
    })
    .await
}

/// Connects a session
#[utoipa::path(tag = "sessions", params(("name" = String, Path, description = "its name")), security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 404, body = crate::problem::Body)))]
#[post("/sessions/{name}/enable")]
pub(super) async fn enable_session(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    switch_session(&office, &request, &path, true).await
}

/// Lets a session take no further call, and disconnects it when its last one has ended
#[utoipa::path(tag = "sessions", params(("name" = String, Path, description = "its name")), security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 404, body = crate::problem::Body)))]
#[post("/sessions/{name}/disable")]
pub(super) async fn disable_session(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    switch_session(&office, &request, &path, false).await
}

// ---------------------------------------------------------------- routes

/// All routes: those to sessions by trunk, then those between trunks
#[utoipa::path(tag = "routes", params(PageQuery), security(("token" = ["read"])), responses((status = 200, body = Page<RouteDraft>)))]
#[get("/routes")]
pub(super) async fn list_routes(
    _: Read,
    office: Data<Office>,
    query: Query<PageQuery>,
) -> HttpResponse {
    let current = office.current().await;
    let routes = current.table.routes().map(RouteDraft::from);
    let routes = routes.chain(current.table.transits().map(RouteDraft::from));
    let key = |route: &RouteDraft| {
        let trunk = route.trunk.as_ref().map_or("", TrunkName::as_str);
        match (&route.session, &route.to) {
            (Some(session), _) => format!("{trunk} {session}"),
            (None, to) => format!("{trunk} --to {}", to.as_ref().map_or("", TrunkName::as_str)),
        }
    };
    let mut routes: Vec<RouteDraft> = routes.collect();
    routes.sort_by_key(key);
    let page = Page::of(routes.into_iter(), &query, key);
    of_generation(current.generation, StatusCode::OK, &page)
}

/// Pairs a trunk with a session, or lets its calls leave by another trunk
#[utoipa::path(tag = "routes", request_body = RouteDraft, security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 422, body = crate::problem::Body)))]
#[put("/routes")]
pub(super) async fn put_route(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
    draft: Json<RouteDraft>,
) -> Result<HttpResponse, Problem> {
    let priority = draft.priority.unwrap_or(PRIORITY);
    let terms = RouteTerms::from(&*draft);
    let change = match (&draft.trunk, &draft.session, &draft.to) {
        (Some(trunk), Some(session), None) => Change::PutRoute(RouteSpec {
            trunk: trunk.clone(),
            session: session.clone(),
            priority,
            terms,
        }),
        (Some(trunk), None, Some(to)) => Change::PutTransit(TransitSpec {
            trunk: trunk.clone(),
            to: to.clone(),
            priority,
            terms,
        }),
        _ => return Err(which()),
    };
    changed(&office, &request, StatusCode::OK, vec![change]).await
}

fn which() -> Problem {
    Problem::invalid(
        "a route has a trunk and a session, or a trunk and `to`, the trunk its calls leave by",
    )
}

/// Which route.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WhichRoute {
    /// The trunk
    trunk: String,
    /// The session
    session: Option<String>,
    /// The trunk that its calls leave by
    to: Option<String>,
}

/// Ends a pairing, or closes the way between two trunks
#[utoipa::path(tag = "routes", params(WhichRoute), security(("token" = ["write"])), responses((status = 200, body = Changed), (status = 404, body = crate::problem::Body)))]
#[delete("/routes")]
pub(super) async fn remove_route(
    _: Write,
    office: Data<Office>,
    request: HttpRequest,
    route: Query<WhichRoute>,
) -> Result<HttpResponse, Problem> {
    let trunk = name("trunk", &route.trunk)?;
    let change = match (&route.session, &route.to) {
        (Some(session), None) => Change::RemoveRoute(trunk, name("session", session)?),
        (None, Some(to)) => Change::RemoveTransit(trunk, name("trunk", to)?),
        _ => return Err(which()),
    };
    changed(&office, &request, StatusCode::OK, vec![change]).await
}

/// A call that might be.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedCall {
    /// Who calls: a number of the PBX; of a Telegram user his id, `@username` or `+phone`.
    #[serde(default)]
    pub(crate) from: String,
    /// Who is called by the PBX; a Telegram user calls the account.
    #[serde(default)]
    pub(crate) to: String,
    /// The trunk or the session that the call comes over.
    pub(crate) via: String,
}

/// What would become of a call.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Tried {
    /// What is looked at, in order.
    pub(crate) steps: Vec<TriedStep>,
    /// What is decided, in words.
    pub(crate) decision: String,
    /// The session that places or takes the call.
    pub(crate) session: Option<String>,
    /// The trunks that ring, those of a group at the same time.
    pub(crate) trunks: Vec<Vec<String>>,
    /// Who is called then.
    pub(crate) number: Option<String>,
    /// What the caller is told instead.
    pub(crate) refusal: Option<Refused>,
}

/// A step of a decision.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TriedStep {
    /// What was looked at, and what was found.
    pub(crate) what: String,
    /// The number after it, where it is about the number.
    pub(crate) number: Option<String>,
}

/// A refusal as it goes over the wire.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Refused {
    /// The code.
    pub(crate) code: u16,
    /// The exact phrase.
    pub(crate) phrase: String,
    /// The name of the cause, as in `docs/errors.md`.
    pub(crate) cause: String,
    /// What can be done about it.
    pub(crate) hint: String,
}

impl From<RouteReport> for Tried {
    fn from(report: RouteReport) -> Self {
        let steps = report.steps.into_iter().map(|step| TriedStep {
            what: step.what,
            number: step.number,
        });
        let words = |group: Vec<TrunkName>| group.iter().map(ToString::to_string).collect();
        Self {
            steps: steps.collect(),
            decision: report.decision,
            session: report.session.map(String::from),
            trunks: report.trunks.into_iter().map(words).collect(),
            number: report.number,
            refusal: report.refusal.map(|refusal| Refused {
                code: refusal.code,
                phrase: refusal.phrase,
                cause: refusal.cause,
                hint: refusal.hint,
            }),
        }
    }
}

/// Says what would become of a call, step by step; no call is made
#[utoipa::path(tag = "routes", request_body = WantedCall, security(("token" = ["read"])), responses((status = 200, body = Tried), (status = 404, body = crate::problem::Body)))]
#[post("/routes/test")]
pub(super) async fn try_route(
    _: Read,
    house: Data<House>,
    wanted: Json<WantedCall>,
) -> Result<Json<Tried>, Problem> {
    let WantedCall { from, to, via } = wanted.into_inner();
    if from.len() > LONGEST_NUMBER || to.len() > LONGEST_NUMBER {
        return Err(Problem::bad_request("a number has 256 octets at most"));
    }
    let unknown = || Problem::not_found("trunk", &via);
    let trunk: TrunkName = via.parse().map_err(|_| unknown())?;
    let session: SessionName = via.parse().map_err(|_| unknown())?;
    for way in [Via::Trunk(trunk), Via::Session(session)] {
        let call = TryCall {
            from: from.clone(),
            to: to.clone(),
            via: way,
        };
        let tried = house.try_call(call).await.ok_or_else(silent)?;
        if let Ok(report) = tried {
            return Ok(Json(report.into()));
        }
    }
    Err(unknown())
}
