//! Who may ask for what: tokens with scopes on the admin listener, everybody on the control socket, whose rights are those of its file.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Scope;
use store::{Store, StoreError, TokenRecord};

use crate::problem::{Problem, WRONG_TOKENS};

/// How many wrong tokens an address may show in a minute.
const GUESSES: u32 = 5;
const MINUTE: Duration = Duration::from_secs(60);
/// Addresses of which that is remembered; the list begins anew when it is full of those of the last minute.
const REMEMBERED: usize = 4096;
/// How many tokens there can be.
pub(crate) const MOST_TOKENS: usize = 1000;

/// By which door a request comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// The control socket.
    Owner,
    /// The admin listener.
    Tokens {
        /// The address of whoever asks stands in X-Forwarded-For.
        behind_proxy: bool,
    },
    /// An admin listener that others than this host can reach, without encryption.
    Closed,
}

/// The tokens.
pub(crate) struct Keyring {
    store: Arc<dyn Store>,
    tokens: RwLock<Vec<TokenRecord>>,
    /// One change at a time. Who asks for something does not wait for the disk on which one is written.
    changing: Mutex<()>,
    guesses: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

/// A new token: its record, and its text, which nobody sees again.
pub(crate) fn make(name: String, scopes: Vec<Scope>, created: u64) -> (TokenRecord, String) {
    let id = format!("{:016x}", rand::random::<u64>());
    let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let text = format!("strowger_{id}_{secret}");
    let record = TokenRecord {
        hash: store::token_hash(&text),
        id,
        name,
        scopes,
        created,
    };
    (record, text)
}

impl Keyring {
    /// Those of the store.
    pub(crate) fn open(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let tokens = RwLock::new(store::read_tokens(&*store)?);
        Ok(Self {
            store,
            tokens,
            changing: Mutex::default(),
            guesses: Mutex::default(),
        })
    }

    /// All tokens.
    pub(crate) fn list(&self) -> Vec<TokenRecord> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        tokens.clone()
    }

    /// Changes the tokens, durably; waits for the disk.
    pub(crate) fn change<T>(
        &self,
        how: impl FnOnce(&mut Vec<TokenRecord>) -> T,
    ) -> Result<T, StoreError> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = self.list();
        let done = how(&mut next);
        store::write_tokens(&*self.store, &next)?;
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        *tokens = next;
        Ok(done)
    }

    /// The scopes of a token.
    fn scopes(&self, now: Instant, from: IpAddr, token: &str) -> Result<Vec<Scope>, Problem> {
        if self.has_guessed(now, from) {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                WRONG_TOKENS,
                "too many wrong tokens from this address",
                "wait a minute, and use a token of `strowger token create`",
            ));
        }
        if let Some(scopes) = self.scopes_of(&store::token_hash(token)) {
            return Ok(scopes);
        }
        self.guessed(now, from);
        tracing::warn!(source = %from, "a wrong token");
        Err(Problem::unauthorized("this token is not known"))
    }

    fn scopes_of(&self, hash: &[u8; 32]) -> Option<Vec<Scope>> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let record = tokens.iter().find(|record| record.is(hash))?;
        Some(record.scopes.clone())
    }

    fn has_guessed(&self, now: Instant, from: IpAddr) -> bool {
        let guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        guesses.get(&from).is_some_and(|(since, count)| {
            *count >= GUESSES && now.saturating_duration_since(*since) < MINUTE
        })
    }

    fn guessed(&self, now: Instant, from: IpAddr) {
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |since: Instant| now.saturating_duration_since(since) >= MINUTE;
        if guesses.len() >= REMEMBERED && !guesses.contains_key(&from) {
            guesses.retain(|_, (since, _)| !is_old(*since));
            if guesses.len() >= REMEMBERED {
                guesses.clear();
            }
        }
        let guess = guesses.entry(from).or_insert((now, 0));
        if is_old(guess.0) {
            *guess = (now, 0);
        }
        guess.1 += 1;
    }
}

/// The token that a request shows.
fn token(request: &HttpRequest) -> Option<&str> {
    let header = request.headers().get(AUTHORIZATION)?;
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Who was let in to something that lasts.
pub(super) struct Guest(Option<(web::Data<Keyring>, [u8; 32])>);

impl Guest {
    /// The one of a request that was let through.
    pub(super) fn of(request: &HttpRequest) -> Self {
        let access = request.app_data::<web::Data<Access>>();
        let is_owner = access.is_some_and(|access| ***access == Access::Owner);
        let keyring = request.app_data::<web::Data<Keyring>>();
        let shown = keyring.zip(token(request)).filter(|_| !is_owner);
        Self(shown.map(|(keyring, token)| (keyring.clone(), store::token_hash(token))))
    }

    /// Whether he would still be let in: his token may have been revoked.
    pub(super) fn may_stay(&self) -> bool {
        let Self(holder) = self;
        let holder = holder.as_ref();
        holder.is_none_or(|(keyring, hash)| keyring.scopes_of(hash).is_some())
    }
}

/// Lets a request through that may have what it asks for.
fn check(request: &HttpRequest, scope: Scope) -> Result<(), Problem> {
    let access = request.app_data::<web::Data<Access>>();
    let behind_proxy = match access.map(|access| ***access) {
        Some(Access::Owner) => return Ok(()),
        Some(Access::Tokens { behind_proxy }) => behind_proxy,
        Some(Access::Closed) | None => {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "not_on_loopback",
                "tokens are not taken where everybody on the way could read them",
                "let admin.listen be a loopback address, or put a proxy with TLS before it and set admin.behind_proxy",
            ));
        }
    };
    let Some(keyring) = request.app_data::<web::Data<Keyring>>() else {
        return Err(Problem::busy("the switch is starting"));
    };
    let Some(token) = token(request) else {
        return Err(Problem::unauthorized("there is no token"));
    };
    let scopes = keyring.scopes(Instant::now(), address(request, behind_proxy), token)?;
    if scopes.contains(&scope) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "insufficient_scope",
        format!("this token has not the scope `{scope}`"),
        "make one that has it: `strowger token create NAME --scope SCOPE`",
    ))
}

/// Who asks. Behind a proxy the last address of X-Forwarded-For, which the proxy wrote; those before it anybody can write.
fn address(request: &HttpRequest, behind_proxy: bool) -> IpAddr {
    // There may be several lines, which are one list (RFC 9110 5.3): some proxies add one of their own behind those of the client.
    let forwarded = request.headers().get_all("x-forwarded-for").last();
    let forwarded = forwarded
        .filter(|_| behind_proxy)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.rsplit(',').next())
        .and_then(|last| last.trim().parse().ok());
    let peer = request.peer_addr().map(|peer| peer.ip());
    forwarded
        .or(peer)
        .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// A request that has shown this scope; the first argument of a handler, so that nothing else of the request is read before.
macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        pub(super) struct $name;

        impl FromRequest for $name {
            type Error = Problem;
            type Future = std::future::Ready<Result<Self, Problem>>;

            fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
                std::future::ready(check(request, Scope::$name).map(|()| $name))
            }
        }
    )*};
}

scopes! {
    /// May look.
    Read
    /// May end calls.
    Calls
    /// May change records and bans.
    Write
    /// May make tokens and backups, log accounts in and out, and see the log.
    Admin
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use store::{MasterKey, SledStore};

    use super::*;

    #[test]
    fn five_wrong_tokens_a_minute_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let key = MasterKey::from_octets([7; 32]);
        let store = Arc::new(SledStore::open(folder.path(), &key).unwrap());
        let keyring = Keyring::open(store).unwrap();
        let (record, text) = make("a".to_owned(), vec![Scope::Read], 0);
        keyring.change(|tokens| tokens.push(record)).unwrap();
        let (now, from) = (Instant::now(), IpAddr::from([192, 0, 2, 1]));
        let other = IpAddr::from([192, 0, 2, 2]);
        let status = |at, from, token: &str| match keyring.scopes(at, from, token) {
            Ok(_) => 200,
            Err(problem) => problem.status(),
        };
        for _ in 0..GUESSES {
            assert_eq!(status(now, from, &text), 200);
            assert_eq!(status(now, from, "strowger_1_x"), 401);
        }
        assert_eq!(status(now, from, "strowger_1_x"), 429);
        assert_eq!(status(now, from, &text), 429, "it might have been guessed");
        assert_eq!(status(now, other, &text), 200);
        assert_eq!(status(now + MINUTE, from, &text), 200);
        assert_eq!(status(now + MINUTE, from, "strowger_1_x"), 401);
    }

    #[test]
    fn who_asks_does_not_wait_for_a_token_that_is_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let key = MasterKey::from_octets([7; 32]);
        let store = Arc::new(SledStore::open(folder.path(), &key).unwrap());
        let keyring = Arc::new(Keyring::open(store).unwrap());
        let (done, asked) = std::sync::mpsc::channel();
        let other = Arc::clone(&keyring);
        let is_answered = keyring.change(|_| {
            std::thread::spawn(move || done.send(other.list()));
            asked.recv_timeout(Duration::from_secs(5)).is_ok()
        });
        assert!(is_answered.unwrap());
    }

    #[test]
    fn behind_a_proxy_the_last_address_counts_in_whichever_line_it_stands() {
        let from = |lines: &[&str]| {
            let peer = "127.0.0.1:9".parse().unwrap();
            let mut request = TestRequest::default().peer_addr(peer);
            for line in lines {
                request = request.append_header(("X-Forwarded-For", *line));
            }
            address(&request.to_http_request(), true).to_string()
        };
        assert_eq!(from(&[]), "127.0.0.1");
        assert_eq!(from(&["192.0.2.1"]), "192.0.2.1");
        assert_eq!(from(&["198.51.100.7, 192.0.2.1"]), "192.0.2.1");
        // Some proxies add a line of their own behind what the client has sent.
        assert_eq!(from(&["198.51.100.7", "192.0.2.1"]), "192.0.2.1");
    }

    #[test]
    fn the_memory_of_guesses_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let key = MasterKey::from_octets([7; 32]);
        let store = Arc::new(SledStore::open(folder.path(), &key).unwrap());
        let keyring = Keyring::open(store).unwrap();
        let now = Instant::now();
        for n in 0..10_000_u32 {
            keyring.guessed(now, IpAddr::from(n.to_be_bytes()));
        }
        assert!(keyring.guesses.lock().unwrap().len() <= REMEMBERED);
    }
}
