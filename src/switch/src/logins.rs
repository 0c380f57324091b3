//! Accounts that are logged in, logged out, hardened and adopted while the switch runs.
//!
//! A login has a thread of its own, because the proof of a cloud password is some tenths of a second of computing, and ends after ten
//! minutes, or when nobody has asked after it for three. Codes and passwords pass through and are kept nowhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix_web::http::StatusCode;
use actors::{House, SessionState};
use model::{PhoneNumber, Secret, SessionName, SessionSpec};
use net::telegram::{
    Action, Ask, HardenError, Hardened, LogOutError, LoggedOut, LoginConnection, LoginError,
    LoginFailed, LoginInput, Params, Step, Storage, StorageError, User,
};
use store::{Change, Space, Store, StoreError};
use tokio::sync::{Notify, mpsc, watch};

use crate::keys::Keys;
use crate::login_view::{LoginStep, LoginView};
use crate::office::{InForce, Office};
use crate::problem::Problem;

/// A login is given up after this.
const LONGEST: Duration = Duration::from_secs(600);
/// The same when nobody has asked after it for so long.
const IDLE: Duration = Duration::from_secs(180);
/// How many there can be at once, each with a thread.
const MOST: usize = 16;
/// How long a request waits for what comes next; Telegram may take 30 s for each of two questions.
const ANSWER_WITHIN: Duration = Duration::from_secs(50);
/// How long the connection of a session that is logged out may take to close: its calls end, and say their last words.
const QUIET_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks whether it is closed.
const CLOSED_YET: Duration = Duration::from_millis(100);

/// What somebody answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// The code, whichever was asked for.
    Code(Secret<String>),
    /// The cloud password.
    Password(Secret<String>),
    /// An address for login codes.
    Email(Secret<String>),
    /// Send the code again.
    Resend,
    /// Mail a code in place of the cloud password.
    Recover,
}

impl Answer {
    fn fits(&self, step: LoginStep) -> bool {
        use LoginStep::{Code, Done, Email, EmailCode, Password, RecoveryCode, Scan};
        match step {
            Scan | Done => false,
            Code | EmailCode | RecoveryCode => matches!(self, Answer::Code(_) | Answer::Resend),
            Email => matches!(self, Answer::Email(_)),
            Password => matches!(self, Answer::Password(_) | Answer::Recover),
        }
    }

    fn input(self) -> LoginInput {
        match self {
            Answer::Code(code) => LoginInput::Code(code),
            Answer::Password(password) => LoginInput::Password(password),
            Answer::Email(email) => LoginInput::Email(email),
            Answer::Resend => LoginInput::Resend,
            Answer::Recover => LoginInput::Recover,
        }
    }
}

/// What a login shows; `turn` counts.
#[derive(Clone)]
struct Shown {
    turn: u64,
    since: Instant,
    now: Option<Result<LoginView, Problem>>,
}

/// A login that goes on, or has just ended.
struct Running {
    answers: mpsc::Sender<LoginInput>,
    shown: watch::Receiver<Shown>,
    /// When somebody asked after it last.
    asked: Mutex<Instant>,
    cancelled: Notify,
    /// One answer after the other.
    alone: tokio::sync::Mutex<()>,
}

impl Running {
    fn is_over(&self) -> bool {
        match &self.shown.borrow().now {
            Some(Ok(view)) => view.step == LoginStep::Done,
            Some(Err(_)) => true,
            None => self.shown.has_changed().is_err(),
        }
    }

    fn touch(&self) {
        *lock(&self.asked) = Instant::now();
    }

    /// What is shown after this turn.
    async fn after(&self, turn: u64) -> Result<LoginView, Problem> {
        let mut shown = self.shown.clone();
        let next = shown.wait_for(|shown| shown.turn > turn);
        let Ok(next) = tokio::time::timeout(ANSWER_WITHIN, next).await else {
            return Err(Problem::busy(
                "Telegram has not answered yet: ask again where the login is",
            ));
        };
        let now = next.ok().and_then(|shown| shown.now.clone());
        now.unwrap_or_else(|| Err(Problem::busy("the switch is stopping")))
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a login begins with.
pub(crate) struct Beginning {
    /// A number, the wish to scan, or the token of a bot.
    pub(crate) input: LoginInput,
    /// Keys of a private server.
    pub(crate) test_keys: Vec<Secret<String>>,
}

/// The accounts of the switch that runs.
pub(crate) struct Logins {
    params: Params,
    /// Whether there are telegram.api_id and api_hash.
    is_application: bool,
    store: Arc<dyn Store>,
    office: Arc<Office>,
    house: Arc<House>,
    running: Mutex<HashMap<SessionName, Arc<Running>>>,
    /// Sessions that are just being logged out.
    leaving: Mutex<Vec<SessionName>>,
}

/// Takes a session out of those that are being logged out, however that ends.
struct Leaving<'a> {
    logins: &'a Logins,
    session: SessionName,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        lock(&self.logins.leaving).retain(|session| *session != self.session);
    }
}

/// A refusal that a change of circumstances would undo.
fn conflict(cause: &str, detail: impl Into<String>, hint: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, cause, detail, hint)
}

fn gone(cause: &str, detail: &str) -> Problem {
    let hint = "begin anew: `strowger session login NAME`";
    Problem::new(StatusCode::GONE, cause, detail, hint)
}

impl Logins {
    pub(crate) fn new(
        params: Params,
        is_application: bool,
        store: Arc<dyn Store>,
        office: Arc<Office>,
        house: Arc<House>,
    ) -> Self {
        Self {
            params,
            is_application,
            store,
            office,
            house,
            running: Mutex::default(),
            leaving: Mutex::default(),
        }
    }

    fn storage(&self, session: &SessionName) -> Arc<dyn Storage> {
        Arc::new(Keys::new(Arc::clone(&self.store), session.clone()))
    }

    async fn spec(&self, session: &SessionName) -> Result<SessionSpec, Problem> {
        spec_of(&self.office.current().await, session)
    }

    /// Refuses what would connect a session whose login may be in use elsewhere.
    fn must_be_ours(&self, session: &SessionName) -> Result<(), Problem> {
        if self.store.is_restored(session)? {
            let session = session.clone();
            return Err(StoreError::NotAdopted { session }.into());
        }
        Ok(())
    }

    /// The number with which a session was logged in last.
    pub(crate) async fn phone(&self, session: &SessionName) -> Option<PhoneNumber> {
        let current = self.office.current().await;
        current.session(session)?.phone.parse().ok()
    }

    /// Begins a login, and says what is asked first. The session is made when there is none; one that can carry calls is left alone.
    pub(crate) async fn begin(
        self: Arc<Self>,
        session: SessionName,
        beginning: Beginning,
    ) -> Result<LoginView, Problem> {
        if !self.is_application {
            return Err(conflict(
                "no_application",
                "telegram.api_id and telegram.api_hash are needed to log in",
                "get them at https://my.telegram.org, and restart the switch",
            ));
        }
        if !beginning.test_keys.is_empty() && self.params.test_dc.is_none() {
            return Err(Problem::bad_request("there is no telegram.test_dc"));
        }
        self.must_be_ours(&session)?;
        let reports = self.house.sessions().await;
        let reports = reports.ok_or_else(|| Problem::busy(actors::SILENT))?;
        let state = reports.iter().find(|report| report.spec.name == session);
        let has_login = state.is_some_and(|report| {
            let out = [SessionState::Unauthorized, SessionState::Offline];
            !out.iter().any(|state| state.label() == report.state)
        });
        if has_login && self.house.is_connected(&session) {
            return Err(conflict(
                "logged_in",
                format!("session {session} is logged in already"),
                "log it out first: `strowger session logout NAME`",
            ));
        }
        let running = self.start(&session, beginning)?;
        running.after(0).await
    }

    /// Starts the thread of a login, unless there is one.
    fn start(
        self: &Arc<Self>,
        session: &SessionName,
        beginning: Beginning,
    ) -> Result<Arc<Running>, Problem> {
        if lock(&self.leaving).contains(session) {
            return Err(conflict(
                "logging_out",
                format!("session {session} is just being logged out"),
                "try again in a minute",
            ));
        }
        let mut all = lock(&self.running);
        all.retain(|_, login| !login.is_over() || lock(&login.asked).elapsed() < IDLE);
        if all.get(session).is_some_and(|login| !login.is_over()) {
            return Err(conflict(
                "login_running",
                format!("session {session} is just being logged in"),
                "cancel that first, or wait: a login that nobody goes on with ends after three minutes",
            ));
        }
        if all.values().filter(|login| !login.is_over()).count() >= MOST {
            return Err(Problem::busy("too many accounts are just being logged in"));
        }
        let (answers, received) = mpsc::channel(1);
        let (shown, watched) = watch::channel(Shown {
            turn: 0,
            since: Instant::now(),
            now: None,
        });
        let running = Arc::new(Running {
            answers,
            shown: watched,
            asked: Mutex::new(Instant::now()),
            cancelled: Notify::new(),
            alone: tokio::sync::Mutex::default(),
        });
        let login = Login {
            logins: Arc::clone(self),
            session: session.clone(),
            running: Arc::downgrade(&running),
            answers: received,
            shown,
            ends: unix() + LONGEST.as_secs(),
        };
        let thread = std::thread::Builder::new().name("login".to_owned());
        let begun = thread.spawn(move || login.run(beginning));
        begun.map_err(|error| Problem::busy(&format!("no thread for it: {error}")))?;
        all.retain(|known, _| known != session);
        all.insert(session.clone(), Arc::clone(&running));
        Ok(running)
    }

    fn find(&self, session: &SessionName) -> Result<Arc<Running>, Problem> {
        let found = lock(&self.running).get(session).cloned();
        let found = found.ok_or_else(|| {
            Problem::new(
                StatusCode::NOT_FOUND,
                "no_login",
                format!("nobody is logging session {session} in"),
                "begin with a POST to its `login`, or `strowger session login NAME`",
            )
        })?;
        found.touch();
        Ok(found)
    }

    /// Where a login is.
    pub(crate) fn show(&self, session: &SessionName) -> Result<LoginView, Problem> {
        let shown = self.find(session)?.shown.borrow().now.clone();
        shown.unwrap_or_else(|| Err(Problem::busy("Telegram has not answered yet")))
    }

    /// Gives an answer, and says what is asked next.
    pub(crate) async fn answer(
        &self,
        session: &SessionName,
        answer: Answer,
    ) -> Result<LoginView, Problem> {
        let running = self.find(session)?;
        let _alone = running.alone.lock().await;
        let shown = running.shown.borrow().clone();
        let view = shown.now.unwrap_or_else(|| {
            let what = "Telegram has not answered yet";
            Err(Problem::busy(what))
        })?;
        if !answer.fits(view.step) {
            return Err(conflict(
                "not_asked",
                "something else is asked just now",
                "GET its `login` says what",
            ));
        }
        let wait = Duration::from_secs(view.resend_after_s.unwrap_or_default());
        let left = wait.saturating_sub(shown.since.elapsed());
        if matches!(answer, Answer::Resend) && !left.is_zero() {
            let detail = format!("it can be sent again in {} s", left.as_secs() + 1);
            return Err(conflict("too_early", detail, "wait that long"));
        }
        let sent = running.answers.send(answer.input()).await;
        sent.map_err(|_| gone("login_over", "this login is over"))?;
        running.after(shown.turn).await
    }

    /// Gives a login up; false when there is none.
    pub(crate) fn cancel(&self, session: &SessionName) -> bool {
        let found = lock(&self.running).remove(session);
        let Some(running) = found else {
            return false;
        };
        let was_running = !running.is_over();
        running.cancelled.notify_one();
        was_running
    }

    /// Whoever was logged in is the account of a session from now on; it is connected at once, if it is on.
    async fn logged_in(
        &self,
        session: &SessionName,
        phone: Option<String>,
        user: &User,
    ) -> Result<(), Problem> {
        // Whoever scans a code has not typed his number.
        let phone = phone.or_else(|| user.phone.as_ref().map(|digits| format!("+{digits}")));
        let name = session.clone();
        let made = self.office.change_unplugged(session, move |current| {
            let known = current.session(&name).cloned();
            let spec = known.unwrap_or_else(|| SessionSpec::new(name.clone()));
            let phone = phone.clone().unwrap_or_else(|| spec.phone.clone());
            Ok(vec![Change::PutSession(SessionSpec { phone, ..spec })])
        });
        made.await?;
        tracing::info!(%session, "the account is logged in");
        Ok(())
    }

    /// Ends the calls of a session, logs its account out at Telegram, and deletes its keys; its record and its routes stay.
    pub(crate) async fn log_out(&self, session: &SessionName) -> Result<LoggedOut, Problem> {
        let spec = self.spec(session).await?;
        self.must_be_ours(session)?;
        if self
            .store
            .scan(Space::Telegram(session), b"dc/")?
            .is_empty()
        {
            return Err(not_logged_in(session));
        }
        let _leaving = self.leave(session)?;
        let switch = async |enabled| {
            let name = session.clone();
            let made = self.office.change(None, move |current| {
                let spec = SessionSpec {
                    enabled,
                    ..spec_of(current, &name)?
                };
                Ok(vec![Change::PutSession(spec)])
            });
            made.await
        };
        // Off, it takes no new calls, and its connection closes when the last one has said goodbye: from then on the keys are ours alone.
        if spec.enabled {
            switch(false).await?;
        }
        let done = match self.quiet(session).await {
            Ok(()) => {
                let done = net::telegram::log_out(&self.params, self.storage(session)).await;
                done.map_err(Problem::from)
            }
            Err(problem) => Err(problem),
        };
        let done = match done {
            Ok(done) => done,
            Err(problem) => {
                if spec.enabled {
                    switch(true).await?;
                }
                return Err(problem);
            }
        };
        let (name, enabled) = (session.clone(), spec.enabled);
        // In one commit: the keys go, the record stays.
        let made = self.office.change(None, move |current| {
            let spec = SessionSpec {
                enabled,
                ..spec_of(current, &name)?
            };
            Ok(vec![
                Change::RemoveSession(name.clone()),
                Change::PutSession(spec),
            ])
        });
        made.await?;
        tracing::info!(%session, "the account is logged out, its keys are deleted");
        Ok(done)
    }

    /// Ends the calls of a session that is off, and waits until its connection is closed.
    async fn quiet(&self, session: &SessionName) -> Result<(), Problem> {
        let begun = Instant::now();
        while self.house.is_connected(session) {
            if begun.elapsed() > QUIET_WITHIN {
                return Err(Problem::busy(
                    "its calls do not end, so the account stays logged in",
                ));
            }
            // Again and again: one may just have begun.
            self.house.end_calls_of(session).await;
            tokio::time::sleep(CLOSED_YET).await;
        }
        Ok(())
    }

    fn leave(&self, session: &SessionName) -> Result<Leaving<'_>, Problem> {
        let running = lock(&self.running);
        let is_running = running.get(session).is_some_and(|login| !login.is_over());
        let mut leaving = lock(&self.leaving);
        if is_running || leaving.contains(session) {
            return Err(conflict(
                "busy",
                format!("session {session} is just being logged in or out"),
                "try again in a minute",
            ));
        }
        leaving.push(session.clone());
        Ok(Leaving {
            logins: self,
            session: session.clone(),
        })
    }

    /// Makes settings of the account, over the connection that the session has.
    pub(crate) async fn harden(
        &self,
        session: &SessionName,
        actions: Vec<Action>,
        retry_after: Option<Duration>,
    ) -> Result<Hardened, Problem> {
        if retry_after.is_some() && self.params.test_dc.is_none() {
            return Err(Problem::bad_request("there is no telegram.test_dc"));
        }
        self.spec(session).await?;
        self.must_be_ours(session)?;
        let reports = self.house.sessions().await;
        let reports = reports.ok_or_else(|| Problem::busy(actors::SILENT))?;
        let mut reports = reports.into_iter();
        let report = reports.find(|report| report.spec.name == *session);
        let out = SessionState::Unauthorized.label();
        if report.is_some_and(|report| report.state == out) {
            return Err(not_logged_in(session));
        }
        let over = self.house.harden(session, actions.clone(), retry_after);
        let done = if let Some(done) = over.await {
            done
        } else {
            // It is off, so that nobody else uses its keys.
            let _leaving = self.leave(session)?;
            let storage = self.storage(session);
            net::telegram::harden(&self.params, storage, &actions, retry_after).await
        };
        done.map_err(|error| match error {
            HardenError::LoggedOut => not_logged_in(session),
            HardenError::Unreachable => unreachable(error.to_string()),
            HardenError::Storage(error) => error.into(),
        })
    }

    /// Connects a session that came from a backup, with the keys it has, or deletes those so that it is logged in anew.
    pub(crate) async fn adopt(
        &self,
        session: &SessionName,
        new_login: bool,
    ) -> Result<u64, Problem> {
        self.spec(session).await?;
        if !self.store.is_restored(session)? {
            return Err(conflict(
                "not_restored",
                format!("session {session} did not come from a backup, or was adopted"),
                "`strowger session enable NAME` switches it on",
            ));
        }
        let name = session.clone();
        let made = self.office.change(None, move |current| {
            let spec = SessionSpec {
                enabled: true,
                ..spec_of(current, &name)?
            };
            let mut changes = vec![Change::AdoptSession(name.clone()), Change::PutSession(spec)];
            if new_login {
                changes.insert(0, Change::RemoveSession(name.clone()));
            }
            Ok(changes)
        });
        made.await
    }
}

fn spec_of(current: &InForce, session: &SessionName) -> Result<SessionSpec, Problem> {
    let spec = current.session(session).cloned();
    spec.ok_or_else(|| Problem::not_found("session", session.as_str()))
}

fn not_logged_in(session: &SessionName) -> Problem {
    let hint = "log it in first: `strowger session login NAME`";
    let detail = format!("session {session} is not logged in");
    conflict("not_logged_in", detail, hint)
}

fn unreachable(detail: String) -> Problem {
    let hint = "try again later; the log says how the session is";
    Problem::new(
        StatusCode::BAD_GATEWAY,
        "telegram_unreachable",
        detail,
        hint,
    )
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "database_error",
            error.to_string(),
            "check the disk and the log",
        )
    }
}

impl From<LogOutError> for Problem {
    fn from(error: LogOutError) -> Self {
        let detail = error.to_string();
        match error {
            LogOutError::Unreachable => unreachable(detail),
            LogOutError::Refused(_) => {
                conflict("telegram_refuses", detail, "end it in the Telegram app")
            }
            LogOutError::Storage(error) => error.into(),
        }
    }
}

impl From<LoginFailed> for Problem {
    fn from(failed: LoginFailed) -> Self {
        let detail = failed.to_string();
        let error = match failed {
            LoginFailed::Login(error) => error,
            LoginFailed::Storage(error) => return error.into(),
        };
        match error {
            LoginError::Unreachable(_) => unreachable(detail),
            LoginError::Cancelled => gone("login_cancelled", "the login was cancelled"),
            LoginError::Wait(_) => Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "flood_wait",
                detail,
                "wait as long as Telegram orders",
            ),
            LoginError::WrongCodes
            | LoginError::WrongPasswords
            | LoginError::BadNumber
            | LoginError::Banned
            | LoginError::NoAccount
            | LoginError::BadToken
            | LoginError::NotScanned
            | LoginError::PaymentNeeded
            | LoginError::PasswordAlgorithm
            | LoginError::OldKey(_)
            | LoginError::Refused(_)
            | LoginError::Unexpected => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "login_failed",
                detail,
                "begin anew: `strowger session login NAME`",
            ),
        }
    }
}

/// One login, in its thread.
struct Login {
    logins: Arc<Logins>,
    session: SessionName,
    running: Weak<Running>,
    answers: mpsc::Receiver<LoginInput>,
    shown: watch::Sender<Shown>,
    /// When it is given up, in seconds since 1970.
    ends: u64,
}

impl Login {
    fn run(mut self, beginning: Beginning) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let done = match runtime {
            Ok(runtime) => runtime.block_on(self.carry_out(beginning)),
            Err(error) => Err(Problem::busy(&format!("there is no room for it: {error}"))),
        };
        if let Err(problem) = &done {
            tracing::info!(session = %self.session, %problem, "the account is not logged in");
        }
        self.show(done);
    }

    fn show(&self, now: Result<LoginView, Problem>) {
        self.shown.send_modify(|shown| {
            shown.turn += 1;
            shown.since = Instant::now();
            shown.now = Some(now);
        });
    }

    async fn carry_out(&mut self, beginning: Beginning) -> Result<LoginView, Problem> {
        let (logins, session) = (Arc::clone(&self.logins), self.session.clone());
        let phone = match &beginning.input {
            LoginInput::Phone(phone) => Some(phone.to_string()),
            _ => None,
        };
        let running = Weak::clone(&self.running);
        let user = tokio::select! {
            user = self.converse(beginning) => user?,
            () = tokio::time::sleep(LONGEST) => {
                return Err(gone("login_expired", "the login took longer than ten minutes"));
            }
            why = abandoned(running) => return Err(why),
        };
        logins.logged_in(&session, phone, &user).await?;
        Ok(LoginView::done(&user, self.ends))
    }

    /// Speaks with Telegram and with whoever logs in. The connection has ended when this returns.
    async fn converse(&mut self, beginning: Beginning) -> Result<User, Problem> {
        let (params, storage) = (&self.logins.params, self.logins.storage(&self.session));
        let keys = beginning.test_keys.iter().map(|key| key.expose().as_str());
        provision(keys, params, &storage).await?;
        let mut connection = net::telegram::begin_login(params, storage)?;
        if let Some(user) = connection.who().await {
            return Ok(user);
        }
        let mut input = beginning.input;
        loop {
            let ask = match connection.step(input).await? {
                Step::Done(user) => return Ok(*user),
                Step::Ask(ask) => ask,
            };
            let expires = match &ask {
                Ask::Scan { expires, .. } => Some(*expires),
                Ask::Code { .. }
                | Ask::Email { .. }
                | Ask::EmailCode { .. }
                | Ask::Password { .. }
                | Ask::RecoveryCode { .. } => None,
            };
            let view = LoginView::asking(ask, self.ends);
            let view = view.map_err(|error| Problem::busy(&error.to_string()))?;
            self.show(Ok(view));
            input = self.answered(&mut connection, expires).await;
        }
    }

    /// What comes next: an answer, or that a token was scanned or has expired.
    async fn answered(
        &mut self,
        connection: &mut LoginConnection,
        expires: Option<i32>,
    ) -> LoginInput {
        match expires {
            Some(expires) => {
                connection.scanned(expires).await;
                LoginInput::Renew
            }
            None => self.answers.recv().await.unwrap_or(LoginInput::Cancel),
        }
    }
}

/// Returns when somebody has cancelled the login, or nobody cares for it any more.
async fn abandoned(running: Weak<Running>) -> Problem {
    loop {
        let Some(running) = running.upgrade() else {
            return gone("login_cancelled", "the login was cancelled");
        };
        let left = IDLE.saturating_sub(lock(&running.asked).elapsed());
        if left.is_zero() {
            return gone(
                "login_abandoned",
                "nobody has asked after the login for three minutes",
            );
        }
        tokio::select! {
            () = running.cancelled.notified() => {
                return gone("login_cancelled", "the login was cancelled");
            }
            () = tokio::time::sleep(left) => {}
        }
    }
}

/// A test key that is none, or without a test server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TestKeyError {
    /// It is not one.
    #[error("a test key is 512 hex digits, and only with telegram.test_dc")]
    Key,
    /// It cannot be kept.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<TestKeyError> for Problem {
    fn from(error: TestKeyError) -> Self {
        match error {
            TestKeyError::Key => Problem::bad_request(error.to_string()),
            TestKeyError::Storage(error) => error.into(),
        }
    }
}

/// Keeps the keys of a private server: each 512 hex digits, for another data centre than the first as in 4:HEX.
pub(crate) async fn provision(
    keys: impl DoubleEndedIterator<Item = &str>,
    params: &Params,
    storage: &Arc<dyn Storage>,
) -> Result<(), TestKeyError> {
    // The first data centre comes last: it is the home then.
    for text in keys.rev() {
        let mut dc = params.test_dc.ok_or(TestKeyError::Key)?;
        let hex = match text.split_once(':') {
            Some((id, hex)) => {
                dc.id = id.parse().map_err(|_| TestKeyError::Key)?;
                hex
            }
            None => text,
        };
        let key = key(hex).ok_or(TestKeyError::Key)?;
        net::telegram::provision(storage, dc, key).await?;
    }
    Ok(())
}

/// 256 bytes in hex.
fn key(hex: &str) -> Option<[u8; 256]> {
    let digits = hex.as_bytes();
    let mut key = [0; 256];
    if digits.len() != 2 * key.len() {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}

/// Seconds since 1970.
fn unix() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
