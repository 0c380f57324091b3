//! The description, and that every operation in it asks for its scope.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::ServiceResponse;
use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
use actix_web::web::Data;
use actix_web::{App, web};
use actors::{House, Parts};
use model::Scope;
use net::media::MediaConfig;
use serde_json::{Value, json};
use store::{MasterKey, SledStore, Store};
use utoipa_actix_web::AppExt;

use super::access::{self, Access, Keyring};
use super::*;
use crate::admin::Desk;
use crate::backups::Backups;
use crate::logins::Logins;
use crate::measured::Measured;
use crate::office::Office;
use crate::scraped::Scraped;
use crate::settings::Settings;
use crate::veil::Veil;
use crate::webhooks::Webhooks;
use crate::{boot, logging};

/// A house without a trunk, and everything that the interface works with.
pub(crate) async fn desk(
    folder: &std::path::Path,
    metrics: &metrics::Metrics,
) -> (Arc<House>, Desk) {
    let mut settings = Settings::default();
    settings.data.dir = folder.to_owned();
    settings.sip.udp = vec![std::net::SocketAddr::from(([127, 0, 0, 1], 0))];
    let key = MasterKey::from_octets([7; 32]);
    let store = SledStore::open(folder, &key).unwrap();
    let store: Arc<dyn Store> = Arc::new(Measured::new(store, metrics.clone(), Veil::default()));
    let house = House::start(Parts {
        settings: boot::house_settings(&settings),
        media: MediaConfig {
            threads: 1,
            ..MediaConfig::default()
        },
        store: Arc::clone(&store),
        metrics: metrics.clone(),
        accounts: Vec::new(),
    });
    let house = Arc::new(house.unwrap());
    while house.trunks().await.is_none() {
        // Its actors have not begun.
        tokio::task::yield_now().await;
    }
    let connect = Arc::new(|_: &model::SessionName| None);
    let office = Office::new(Arc::clone(&store), Arc::clone(&house), connect).unwrap();
    let backups = Backups::new(
        &settings,
        Arc::clone(&store),
        Box::new(key),
        metrics.clone(),
    );
    let office = Arc::new(office);
    let logins = Logins::new(
        boot::telegram_params(&settings),
        false,
        Arc::clone(&store),
        Arc::clone(&office),
        Arc::clone(&house),
    );
    let table = office.current().await.table;
    let webhooks = Webhooks::start(
        Arc::clone(&store),
        Arc::clone(&house),
        "here".to_owned(),
        Veil::default(),
        &table,
    );
    let (webhooks, _) = webhooks.unwrap();
    let desk = Desk {
        webhooks: Data::new(webhooks),
        settings: Data::new(settings.clone()),
        logins: Data::new(logins),
        backups: Data::new(backups),
        process: Data::new(Process {
            node: "here".to_owned(),
            started: Instant::now(),
            schema: 2,
            migration: None,
            scraped: Scraped::default(),
        }),
        house: Data::from(Arc::clone(&house)),
        keyring: Data::new(Keyring::open(Arc::clone(&store)).unwrap()),
        levels: Data::new(logging::start(&settings.log, metrics)),
        veil: Data::default(),
        alerts: Data::default(),
        orders: Data::default(),
        listeners: Data::default(),
        store: Data::from(store),
        office: Data::from(office),
    };
    (house, desk)
}

/// Runs a test at a desk of its own, and stops the house behind it afterwards.
pub(crate) fn at_a_desk(metrics: &metrics::Metrics, test: impl AsyncFnOnce(&Desk)) {
    let folder = tempfile::tempdir().unwrap();
    actix::System::new().block_on(async {
        let (house, desk) = desk(folder.path(), metrics).await;
        test(&desk).await;
        house.stop(Duration::from_secs(1)).await;
    });
}

/// The database of a store that was closed just now: its lock may be there for some milliseconds more.
pub(crate) fn bare(folder: &std::path::Path) -> sled::Db {
    for _ in 0..500 {
        match sled::open(folder) {
            Err(sled::Error::Io(error)) if error.to_string().contains("lock") => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            opened => return opened.unwrap(),
        }
    }
    panic!("{} is locked", folder.display());
}

/// The application of a desk, by one door.
macro_rules! app {
    ($desk:expr, $access:expr) => {
        init_service(
            App::new()
                .configure(|app: &mut web::ServiceConfig| $desk.give($access, app))
                .into_utoipa_app()
                .service(service())
                .into_app(),
        )
        .await
    };
}

const TOKENS: Access = Access::Tokens {
    behind_proxy: false,
};

/// A token with these scopes.
fn token(desk: &Desk, scopes: &[Scope]) -> String {
    let (record, text) = access::make("test".to_owned(), scopes.to_vec(), 0);
    desk.keyring.change(|tokens| tokens.push(record)).unwrap();
    text
}

/// Method, path and scope of every operation; no scope where none is needed.
fn operations() -> Vec<(String, String, Option<Scope>)> {
    let document: Value = serde_json::from_str(&document()).unwrap();
    let mut found = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let scope = operation["security"][0]["token"][0].as_str();
            let scope = scope.map(|scope| scope.parse().unwrap());
            found.push((method.to_uppercase(), path.clone(), scope));
        }
    }
    found
}

fn request(method: &str, path: &str, token: Option<&str>) -> TestRequest {
    let path = path.replace("{kind}", "trunk");
    let path = path.replace("{name}", "nobody");
    let path = path.replace("{id}", "01J0000000000000000000000A");
    let peer = "127.0.0.1:9".parse().unwrap();
    let request = TestRequest::with_uri(&path).peer_addr(peer);
    let request = request.method(method.parse().unwrap());
    match token {
        Some(token) => request.insert_header(("Authorization", format!("Bearer {token}"))),
        None => request,
    }
}

/// Status and body of an answer: a refusal says why, in the form of all refusals.
async fn answered(response: ServiceResponse<impl MessageBody>) -> (u16, Value) {
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").cloned();
    let body = actix_web::test::read_body(response).await;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status >= 400 {
        assert_eq!(kind.unwrap(), "application/problem+json", "{body}");
        assert_eq!(body["status"], status);
        assert!(!body["hint"].as_str().unwrap().is_empty(), "{body}");
    }
    (status, body)
}

#[test]
fn the_description_is_in_the_documents() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let made = document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == made, "UPDATE_DOCS=1 cargo test -p switch");
    for (_, path, _) in operations() {
        assert!(
            metrics::Metrics::knows_route(&path),
            "{path} is counted as other"
        );
    }
    let document: Value = serde_json::from_str(&made).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[test]
fn every_operation_asks_for_its_scope() {
    at_a_desk(&metrics::Metrics::new("0"), async |desk| {
        let app = app!(desk, TOKENS);
        let operations = operations();
        assert!(operations.len() > 30, "{}", operations.len());
        for (method, path, scope) in &operations {
            let what = format!("{method} {path}");
            let without = call_service(&app, request(method, path, None).to_request()).await;
            let Some(scope) = scope else {
                assert_eq!(without.status(), 200, "{what}");
                continue;
            };
            assert_eq!(without.status(), 401, "{what}");
            assert!(without.headers().contains_key("www-authenticate"), "{what}");
            let others = Scope::ALL.into_iter().filter(|other| other != scope);
            let wrong = token(desk, &others.collect::<Vec<_>>());
            let refused = request(method, path, Some(&wrong)).to_request();
            let refused = call_service(&app, refused).await;
            assert_eq!(refused.status(), 403, "{what}");
            let problem: Value = read_body_json(refused).await;
            assert_eq!(problem["cause"], "insufficient_scope", "{what}");
            let right = token(desk, &[*scope]);
            let done = request(method, path, Some(&right)).to_request();
            let done = call_service(&app, done).await.status().as_u16();
            assert!(
                ![401, 403, 405, 429].contains(&done) && done < 500,
                "{what}: {done}"
            );
        }
    });
}

#[test]
fn what_was_logged_of_a_call_is_shown_to_who_may_read() {
    use tracing_subscriber::layer::SubscriberExt;
    at_a_desk(&metrics::Metrics::new("0"), async |desk| {
        let id = model::CallId::from_bytes([5; 16]);
        let subscriber = tracing_subscriber::registry().with(desk.levels.calls.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(call = %id, cause = "486", "call ended");
        });
        let app = app!(desk, TOKENS);
        let read = token(desk, &[Scope::Read]);
        let asked = async |id: &str| {
            let path = format!("/api/v1/calls/{id}/log");
            call_service(&app, request("GET", &path, Some(&read)).to_request()).await
        };
        let lines: Value = read_body_json(asked(&id.to_string()).await).await;
        assert_eq!(lines[0]["text"], "call ended cause=\"486\"", "{lines}");
        assert_eq!(lines[0]["level"], "INFO", "{lines}");
        assert_eq!(lines.as_array().unwrap().len(), 1);
        let other = model::CallId::from_bytes([6; 16]).to_string();
        for unknown in [&*other, "nonsense"] {
            assert_eq!(asked(unknown).await.status(), 404, "{unknown}");
        }
    });
}

#[test]
fn records_change_by_generation_and_refusals_say_why() {
    at_a_desk(&metrics::Metrics::new("0"), async |desk| {
        let app = app!(desk, Access::Owner);
        let send = async |request: TestRequest| {
            answered(call_service(&app, request.to_request()).await).await
        };
        let put = |name: &str, body: Value| {
            request("PUT", &format!("/api/v1/trunks/{name}"), None).set_json(body)
        };
        let peer = json!({"kind": "peer", "address": "192.0.2.1:5060"});
        let (status, made) = send(put("office", peer.clone())).await;
        assert_eq!((status, &made["generation"]), (201, &json!(1)), "{made}");
        let stale = put("office", peer.clone()).insert_header(("If-Match", "\"0\""));
        assert_eq!(send(stale).await.0, 412);
        let fresh = put(
            "office",
            json!({"kind": "peer", "address": "192.0.2.1:5060", "lines": 3}),
        );
        let fresh = fresh.insert_header(("If-Match", "\"1\""));
        assert_eq!(send(fresh).await, (200, json!({"generation": 2})));
        let (status, problem) = send(put("branch", peer)).await;
        assert_eq!(status, 422, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("same address"));
        assert_eq!(send(put("branch", json!({"knd": "peer"}))).await.0, 400);
        assert_eq!(send(put("a%20b", json!({}))).await.0, 422);
        let get = |path: &str| request("GET", path, None);
        let (_, shown) = send(get("/api/v1/trunks/office")).await;
        assert_eq!(shown["record"]["lines"], 3, "{shown}");
        assert_eq!(shown["record"]["password"], Value::Null);
        assert_eq!(send(put("phones", json!({}))).await.0, 201);
        let (_, page) = send(get("/api/v1/trunks?limit=1")).await;
        assert_eq!(page["items"][0]["record"]["name"], "office");
        let next = page["next"].as_str().unwrap();
        let (_, page) = send(get(&format!("/api/v1/trunks?limit=1&cursor={next}"))).await;
        assert_eq!(page["items"][0]["record"]["name"], "phones");
        assert_eq!(page["next"], Value::Null);
        assert_eq!(send(get("/api/v1/calls?cursor=x")).await.0, 400);
        let reset = request("POST", "/api/v1/trunks/phones/reset-password", None);
        assert_eq!(send(reset).await.1["password"].as_str().unwrap().len(), 24);
        let test = request("POST", "/api/v1/routes/test", None);
        let test = test.set_json(json!({"from": "1", "to": "@alice", "via": "office"}));
        let (status, tried) = send(test).await;
        assert_eq!(status, 200, "{tried}");
        assert_eq!(
            tried["refusal"]["phrase"], "Route is not permitted",
            "{tried}"
        );
        let status = send(get("/api/v1/status")).await.1;
        assert_eq!(status["generation"], 4, "{status}");
        let removed = request("DELETE", "/api/v1/trunks/office", None);
        assert_eq!(send(removed).await.0, 200);
        assert_eq!(send(get("/api/v1/trunks/office")).await.0, 404);
        let user = |body: Value| request("PUT", "/api/v1/users/ann", None).set_json(body);
        assert_eq!(send(user(json!({"lines": 1}))).await.0, 422);
        let ann = json!({"telegram_id": 4242, "lines": 1});
        let stale = user(ann.clone()).insert_header(("If-Match", "\"1\""));
        assert_eq!(send(stale).await.0, 412);
        assert_eq!(send(user(ann)).await, (201, json!({"generation": 6})));
        let (_, shown) = send(get("/api/v1/users/ann")).await;
        assert_eq!(shown["telegram_id"], 4242, "{shown}");
        let (_, page) = send(get("/api/v1/users")).await;
        assert_eq!(page["items"][0]["name"], "ann", "{page}");
        let gone = request("DELETE", "/api/v1/users/ann", None);
        assert_eq!(send(gone).await, (200, json!({"generation": 7})));
        assert_eq!(send(get("/api/v1/users/ann")).await.0, 404);
        let off = |part: &str| request("POST", &format!("/api/v1/{part}/disable"), None);
        let stale = off("storage").insert_header(("If-Match", "\"1\""));
        assert_eq!(send(stale).await.0, 412);
        let fresh = off("storage").insert_header(("If-Match", "\"7\""));
        assert_eq!(send(fresh).await, (200, json!({"generation": 8})));
        let shown = send(get("/api/v1/storage")).await.1;
        assert_eq!(
            (&shown["enabled"], &shown["state"]),
            (&json!(false), &json!("running"))
        );
        assert_eq!(send(off("workers/far")).await.0, 404);
        assert_eq!(send(off("workers/local")).await.0, 200);
        let (_, page) = send(get("/api/v1/workers")).await;
        assert_eq!(page["items"][0]["name"], "local", "{page}");
        assert_eq!(page["items"][0]["enabled"], false, "{page}");
        let status = send(get("/api/v1/status")).await.1;
        let parts = status["roles"].as_array().unwrap();
        let parts = parts.iter().map(|part| part["role"].as_str().unwrap());
        let parts: Vec<&str> = parts.collect();
        assert_eq!(parts, ["manager", "worker", "storage"], "{status}");
        let unknown = json!({"kind": "peer", "address": "192.0.2.9:5060", "worker": "far"});
        let (status, problem) = send(put("far", unknown)).await;
        assert_eq!(status, 422, "{problem}");
    });
}

#[test]
fn quota_profiles_change_by_generation_and_bans_by_their_prefix() {
    at_a_desk(&metrics::Metrics::new("0"), async |desk| {
        let app = app!(desk, Access::Owner);
        let send = async |request: TestRequest| {
            answered(call_service(&app, request.to_request()).await).await
        };
        let small =
            |method, body: Value| request(method, "/api/v1/quotas/small", None).set_json(body);
        let nothing = json!({});
        assert_eq!(send(small("GET", nothing.clone())).await.0, 404);
        assert_eq!(send(small("DELETE", nothing.clone())).await.0, 404);
        let (status, made) = send(small("PUT", json!({"call_seconds": 120}))).await;
        assert_eq!((status, made), (201, json!({"generation": 1})));
        let response = call_service(&app, small("GET", nothing.clone()).to_request()).await;
        assert_eq!(response.headers().get("etag").unwrap(), "\"1\"");
        let (status, shown) = answered(response).await;
        assert_eq!(status, 200);
        assert_eq!(
            (&shown["call_seconds"], &shown["fail_calls"]),
            (&json!(120), &json!(0)),
            "{shown}"
        );
        let stale = small("PUT", json!({"fail_calls": 9})).insert_header(("If-Match", "\"0\""));
        assert_eq!(send(stale).await.0, 412);
        let fresh = small("PUT", json!({"fail_calls": 9})).insert_header(("If-Match", "\"1\""));
        assert_eq!(send(fresh).await.1, json!({"generation": 2}));
        assert_eq!(send(small("PUT", json!({"calls": 9}))).await.0, 400);
        let other = send(small("PUT", json!({"name": "large"}))).await;
        assert_eq!(other.0, 422, "{}", other.1);
        // Windows of no length limit nothing, and would be refused by the record.
        let bad = json!({"fail_calls": 1, "fail_window_seconds": 0});
        assert_eq!(send(small("PUT", bad)).await.0, 422);
        let ann = request("PUT", "/api/v1/users/ann", None);
        let ann = ann.set_json(json!({"telegram_id": 4242, "quota": "small"}));
        assert_eq!(send(ann).await.0, 201);
        let refused = send(small("DELETE", nothing.clone())).await;
        assert_eq!(refused.0, 422, "ann has it: {}", refused.1);
        let gone = request("DELETE", "/api/v1/users/ann", None);
        assert_eq!(send(gone).await.0, 200);
        let stale = small("DELETE", nothing.clone()).insert_header(("If-Match", "\"1\""));
        assert_eq!(send(stale).await.0, 412);
        assert_eq!(send(small("DELETE", nothing.clone())).await.0, 200);
        assert_eq!(send(small("GET", nothing.clone())).await.0, 404);

        for prefix in ["192.0.2.0/24", "198.51.100.7"] {
            let ban = request("PUT", "/api/v1/bans", None);
            let ban = ban.set_json(json!({"prefix": prefix, "seconds": 60}));
            assert_eq!(send(ban).await.0, 204);
        }
        let bans = async |query: &str| {
            let list = request("GET", &format!("/api/v1/bans{query}"), None);
            let (status, page) = send(list).await;
            let items = page["items"].as_array().cloned().unwrap_or_default();
            let prefixes = items.iter().map(|ban| ban["prefix"].as_str().unwrap());
            (status, prefixes.map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(bans("").await.1.len(), 2);
        let one = bans("?prefix=192.0.2.0/24").await;
        assert_eq!(one, (200, vec!["192.0.2.0/24".to_owned()]));
        assert_eq!(bans("?prefix=203.0.113.1").await, (200, vec![]));
        assert_eq!(bans("?prefix=nobody").await.0, 400);
        let lift = || request("DELETE", "/api/v1/bans?prefix=192.0.2.0/24", None);
        assert_eq!(send(lift()).await.0, 204);
        assert_eq!(send(lift()).await.0, 404);
        assert_eq!(bans("").await.1, ["198.51.100.7"]);
    });
}

#[test]
fn passwords_are_kept_by_whoever_changes_trunks_without_seeing_them() {
    at_a_desk(&metrics::Metrics::new("0"), async |desk| {
        let app = app!(desk, TOKENS);
        let writer = token(desk, &[Scope::Read, Scope::Write]);
        let admin = token(desk, &[Scope::Admin]);
        let send = async |request: TestRequest| {
            answered(call_service(&app, request.to_request()).await).await
        };
        let commit = |expected: u64, changes: Value| {
            let post = request("POST", "/api/v1/records", Some(&writer));
            post.set_json(json!({"expected": expected, "changes": changes}))
        };
        let get = |path: &str, token: &str| request("GET", path, Some(token));
        for name in ["here", "there"] {
            let draft = if name == "here" {
                json!({})
            } else {
                json!({"kind": "outbound_register", "login": "600600", "password": "0123456789abcdef",
                    "domain": "pbx.example.org"})
            };
            let put = request("PUT", &format!("/api/v1/trunks/{name}"), Some(&writer));
            assert_eq!(send(put.set_json(draft)).await.0, 201);
        }
        let (_, before) = send(get("/api/v1/records/secrets", &admin)).await;
        let (_, seen) = send(get("/api/v1/records", &writer)).await;
        let text = seen.to_string();
        for trunk in before["trunks"].as_array().unwrap() {
            let kind = trunk["kind"].as_object().unwrap();
            let password = kind.values().next().unwrap()["password"].as_str();
            let password = password.or(trunk["kind"]["password"].as_str()).unwrap();
            assert!(!text.contains(password), "{text}");
        }
        // What was seen is put back, with another number of lines.
        let mut changes = Vec::new();
        for trunk in seen["trunks"].as_array().unwrap() {
            let mut trunk = trunk.clone();
            trunk["lines"] = json!(9);
            changes.push(json!({"put_trunk": trunk}));
        }
        assert_eq!(send(commit(1, json!(changes))).await.0, 412);
        assert_eq!(
            send(commit(2, json!(changes))).await,
            (200, json!({"generation": 3}))
        );
        let (_, mut after) = send(get("/api/v1/records/secrets", &admin)).await;
        for trunk in after["trunks"].as_array_mut().unwrap() {
            assert_eq!(trunk["lines"], 9);
            trunk["lines"] = json!(0);
        }
        assert_eq!(before["trunks"], after["trunks"]);
        // The password of another account, or of a trunk that is not there, is nobody's.
        let there = changes.last().unwrap().to_string();
        for (old, new) in [
            ("600600", "601601"),
            ("pbx.example.org", "192.0.2.66"),
            ("there", "new"),
        ] {
            let change: Value = serde_json::from_str(&there.replace(old, new)).unwrap();
            let (status, said) = send(commit(3, json!([change]))).await;
            assert_eq!(status, 422, "{said}");
            assert!(
                said["detail"]
                    .as_str()
                    .unwrap()
                    .contains("needs a password"),
                "{said}"
            );
        }
        // What stands for a password is none.
        let put = async |path: &str, draft: Value| {
            let put = request("PUT", &format!("/api/v1/{path}"), Some(&writer));
            send(put.set_json(draft)).await.0
        };
        let marked = json!({"lines": 9, "password": "***kept-by-the-switch***"});
        assert_eq!(put("trunks/new", marked.clone()).await, 422);
        assert_eq!(put("trunks/here", marked).await, 200);
        let (_, same) = send(get("/api/v1/records/secrets", &admin)).await;
        let here = |all: &Value| all["trunks"][0]["kind"].clone();
        assert_eq!(here(&same), here(&before));
        let adopt = send(commit(4, json!([{"adopt_session": "gateway"}]))).await;
        let (status, said) = adopt;
        assert_eq!(status, 422, "{said}");
        let refused = send(get("/api/v1/records/secrets", &writer)).await;
        assert_eq!(refused.0, 403, "{}", refused.1);
        let (status, said) = send(commit(4, json!([{"put_nothing": 1}]))).await;
        assert_eq!(status, 400, "{said}");
    });
}

#[test]
fn whoever_may_only_read_sees_no_path_of_a_webhook_and_what_comes_back_keeps_it() {
    const URL: &str = "https://crm.example.com/hooks/s3cret-path";
    at_a_desk(&metrics::Metrics::new("0"), async |desk| {
        let app = app!(desk, TOKENS);
        let reader = token(desk, &[Scope::Read]);
        let writer = token(desk, &[Scope::Read, Scope::Write]);
        let admin = token(desk, &[Scope::Admin]);
        let send = async |request: TestRequest| {
            answered(call_service(&app, request.to_request()).await).await
        };
        let get = |path: &str, token: &str| request("GET", path, Some(token));
        let put = async |name: &str, draft: Value| {
            let put = request("PUT", &format!("/api/v1/webhooks/{name}"), Some(&writer));
            send(put.set_json(draft)).await.0
        };
        assert_eq!(put("crm", json!({"url": URL})).await, 201);
        let before = send(get("/api/v1/records/secrets", &admin)).await.1;
        let before = &before["webhooks"][0];
        let whole = send(get("/api/v1/records", &writer)).await.1;
        assert_eq!(whole["webhooks"][0]["url"], URL);
        let seen = send(get("/api/v1/records", &reader)).await.1;
        assert!(!seen.to_string().contains("s3cret-path"), "{seen}");
        let mut hook = seen["webhooks"][0].clone();
        let commit = async |expected: u64, hook: &Value| {
            let post = request("POST", "/api/v1/records", Some(&writer));
            let changes = json!([{"put_webhook": hook}]);
            send(post.set_json(json!({"expected": expected, "changes": changes}))).await
        };
        assert_eq!(commit(1, &hook).await.0, 200);
        let veiled = hook["url"].clone();
        let draft = json!({"url": veiled, "secret": "***kept-by-the-switch***"});
        assert_eq!(put("crm", draft.clone()).await, 200);
        let after = send(get("/api/v1/records/secrets", &admin)).await.1;
        assert_eq!(&after["webhooks"][0], before);
        // Elsewhere it would be shown to somebody else.
        assert_eq!(put("new", draft).await, 422);
        let secret =
            json!({"url": "https://crm.example.com/", "secret": "***kept-by-the-switch***"});
        assert_eq!(put("new", secret).await, 422);
        hook["url"] = json!(
            veiled
                .as_str()
                .unwrap()
                .replace("example.com", "example.org")
        );
        let (status, said) = commit(3, &hook).await;
        assert_eq!(status, 422, "{said}");
    });
}

#[test]
fn tokens_are_made_and_revoked_and_taken_nowhere_in_the_clear() {
    at_a_desk(&metrics::Metrics::new("0"), async |desk| {
        let admin = token(desk, &[Scope::Admin]);
        let app = app!(desk, TOKENS);
        let wanted = request("POST", "/api/v1/tokens", Some(&admin));
        let wanted = wanted.set_json(json!({"name": "prometheus", "scopes": ["read"]}));
        let made = call_service(&app, wanted.to_request()).await;
        assert_eq!(made.status(), 201);
        let made: Value = read_body_json(made).await;
        let text = made["token"].as_str().unwrap();
        assert!(text.starts_with("strowger_"), "{text}");
        let kept = store::read_tokens(&**desk.store).unwrap();
        assert!(!serde_json::to_string(&kept).unwrap().contains(text));
        let ask = request("GET", "/api/v1/status", Some(text)).to_request();
        assert_eq!(call_service(&app, ask).await.status(), 200);
        let id = made["id"].as_str().unwrap();
        let revoke = request("DELETE", &format!("/api/v1/tokens/{id}"), Some(&admin));
        assert_eq!(call_service(&app, revoke.to_request()).await.status(), 204);
        for expected in [401, 401, 401, 401, 401, 429] {
            let ask = request("GET", "/api/v1/status", Some(text)).to_request();
            assert_eq!(call_service(&app, ask).await.status(), expected);
        }
        let open = app!(desk, Access::Closed);
        let ask = request("GET", "/api/v1/status", Some(&admin)).to_request();
        assert_eq!(call_service(&open, ask).await.status(), 403);
    });
}

#[test]
fn a_record_that_cannot_be_read_costs_itself_alone() {
    let folder = tempfile::tempdir().unwrap();
    let id = |n: u64| model::CallId::new(1_700_000_000_000 + n, 1);
    let record = |n: u64| {
        let record = json!({
            "id": id(n), "direction": "sip_to_tg", "trunk": "office", "session": "gateway", "from": "600", "to": "601",
            "started_ms": 1_700_000_000_000 + n, "ended_after_ms": 5, "legs": [],
        });
        [&[1][..], record.to_string().as_bytes()].concat()
    };
    drop(SledStore::open(folder.path(), &MasterKey::from_octets([7; 32])).unwrap());
    {
        let db = bare(folder.path());
        let calls = db.open_tree("cdr").unwrap();
        for n in 0..4 {
            calls.insert(id(n).to_bytes(), record(n)).unwrap();
        }
        // Damaged, and of a newer program.
        calls
            .insert(id(1).to_bytes(), &b"\x01{\"id\":"[..])
            .unwrap();
        calls.insert(id(3).to_bytes(), &b"\x09{}"[..]).unwrap();
        db.flush().unwrap();
    }
    let metrics = metrics::Metrics::new("0");
    actix::System::new().block_on(async {
        let (house, desk) = desk(folder.path(), &metrics).await;
        let app = app!(desk, Access::Owner);
        let ask = async |method: &str, path: &str| {
            let path = format!("/api/v1{path}");
            let answer = call_service(&app, request(method, &path, None).to_request()).await;
            let status = answer.status().as_u16();
            (status, read_body_json::<Value, _>(answer).await)
        };
        let bare = |n: u64| json!(id(n).to_string().replace("call-", ""));
        for _ in 0..3 {
            let (status, page) = ask("GET", "/cdr").await;
            assert_eq!(status, 200, "{page}");
            let ids: Vec<&Value> = page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| &it["id"])
                .collect();
            assert_eq!(ids, [&bare(2), &bare(0)], "{page}");
            assert_eq!(page["next"], Value::Null);
            assert_eq!(page["unreadable"], json!([bare(3), bare(1)]));
        }
        let lines = request("GET", "/api/v1/cdr", None).insert_header(("Accept", "text/csv"));
        let lines = call_service(&app, lines.to_request()).await;
        assert_eq!(lines.headers().get("strowger-unreadable").unwrap(), "2");
        let (_, page) = ask("GET", "/cdr?limit=1&since=2020-01-01").await;
        assert_eq!(
            (&page["items"][0]["id"], &page["next"]),
            (&bare(2), &bare(2)),
            "{page}"
        );
        let (_, page) = ask(
            "GET",
            &format!("/cdr?limit=1&cursor={}", bare(2).as_str().unwrap()),
        )
        .await;
        assert_eq!(
            (&page["items"][0]["id"], &page["next"]),
            (&bare(0), &Value::Null),
            "{page}"
        );
        let (status, problem) = ask("GET", &format!("/cdr/{}", bare(1).as_str().unwrap())).await;
        assert_eq!((status, &problem["cause"]), (500, &json!("database_error")));
        // Each was counted once, however often it was met.
        let rendered = metrics.render();
        let counted = "strowger_store_unreadable_records_total 2";
        assert!(rendered.lines().any(|line| line == counted), "{rendered}");
        let (_, check) = ask("POST", "/store/check").await;
        assert_eq!(
            (&check["calls"], &check["unreadable_calls"]),
            (&json!(2), &json!(2)),
            "{check}"
        );
        let fault = check["fault"].as_str().unwrap();
        for n in [1, 3] {
            assert!(fault.contains(&id(n).to_string()), "{fault}");
        }
        house.stop(std::time::Duration::from_secs(1)).await;
    });
}

/// The change of a session that is not there yet.
fn another(name: &str) -> Vec<store::Change> {
    let spec = model::SessionSpec::new(name.parse().unwrap());
    vec![store::Change::PutSession(spec)]
}

#[test]
fn a_change_is_made_to_its_end_also_when_whoever_asked_has_gone() {
    at_a_desk(&metrics::Metrics::new("0"), async |desk| {
        let office = desk.office.clone();
        {
            let commit = office.commit(None, another("gateway"));
            let mut commit = std::pin::pin!(commit);
            // It waits for the disk, and is dropped as when a connection is reset.
            assert!(futures_util::poll!(commit.as_mut()).is_pending());
        }
        let begun = Instant::now();
        while office.current().await.generation == 0 {
            assert!(begun.elapsed() < Duration::from_secs(10), "nobody follows");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let name = "gateway".parse().unwrap();
        assert!(office.current().await.session(&name).is_some());
        assert_eq!(office.commit(None, another("other")).await.unwrap(), 2);
    });
}

#[test]
fn a_change_that_failed_and_was_made_all_the_same_is_in_the_way_of_no_other() {
    at_a_desk(&metrics::Metrics::new("0"), async |desk| {
        // As when the last step, the sync, has failed: the store has it, and whoever asked was told that it has not.
        desk.store.commit(None, &another("gateway")).unwrap();
        let app = app!(desk, Access::Owner);
        let put = async |generation: &str| {
            let put = request("PUT", "/api/v1/sessions/other", None);
            let put = put.insert_header(("If-Match", generation));
            answered(call_service(&app, put.set_json(json!({})).to_request()).await).await
        };
        assert_eq!(put("\"0\"").await.0, 412, "the records are others");
        let shown = request("GET", "/api/v1/sessions/gateway", None).to_request();
        let shown = call_service(&app, shown).await;
        assert_eq!(shown.headers().get("etag").unwrap(), "\"1\"");
        assert_eq!(put("\"1\"").await, (201, json!({"generation": 2})));
        desk.store.commit(None, &another("third")).unwrap();
        let unconditional = desk.office.commit(None, another("fourth")).await;
        assert_eq!(unconditional.unwrap(), 4);
    });
}

#[test]
fn switching_a_trunk_on_or_off_undoes_no_other_change() {
    at_a_desk(&metrics::Metrics::new("0"), async |desk| {
        let app = app!(desk, Access::Owner);
        let send = async |request: TestRequest| {
            answered(call_service(&app, request.to_request()).await).await
        };
        let put = |kind: &str, name: &str, body: Value| {
            request("PUT", &format!("/api/v1/{kind}/{name}"), None).set_json(body)
        };
        send(put("trunks", "phones", json!({}))).await;
        send(put("sessions", "gateway", json!({}))).await;
        for (kind, name) in [("trunks", "phones"), ("sessions", "gateway")] {
            let off = format!("/api/v1/{kind}/{name}/disable");
            // Both wait for the first. One comes before the other, and is not undone by it; of a trunk the later one may be refused instead.
            let (first, put, switched) = futures_util::join!(
                send(put("users", name, json!({"telegram_id": name.len()}))),
                send(put(kind, name, json!({"lines": 7}))),
                send(request("POST", &off, None)),
            );
            assert_eq!((first.0, switched.0), (201, 200), "{put:?}");
            let (_, shown) = send(request("GET", &format!("/api/v1/{kind}/{name}"), None)).await;
            let lines = if put.0 == 200 { 7 } else { 0 };
            assert_eq!(shown["record"]["lines"], lines, "{put:?}, {shown}");
        }
    });
}

#[test]
fn a_token_that_is_revoked_listens_no_more() {
    at_a_desk(&metrics::Metrics::new("0"), async |desk| {
        let app = app!(desk, TOKENS);
        let read = token(desk, &[Scope::Read]);
        let asked = request("GET", "/api/v1/events", Some(&read)).to_request();
        let stream = call_service(&app, asked).await.into_body();
        let mut stream = std::pin::pin!(stream);
        let mut next = async || {
            let chunk = std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await;
            chunk.map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap())
        };
        assert_eq!(next().await.unwrap(), ": listening\n\n");
        desk.office.commit(None, another("first")).await.unwrap();
        assert!(next().await.unwrap().contains("config.changed"));
        desk.keyring.change(Vec::clear).unwrap();
        desk.office.commit(None, another("second")).await.unwrap();
        assert_eq!(next().await.unwrap(), ": the token was revoked\n\n");
        assert_eq!(next().await, None);
    });
}

#[test]
fn a_call_that_goes_on_has_no_record_yet_that_says_it_is_over() {
    at_a_desk(&metrics::Metrics::new("0"), async |desk| {
        let app = app!(desk, Access::Owner);
        let mut record = crate::cdr::tests::record(1_700_000_000_000, "office", 200);
        let path = format!("/api/v1/cdr/{}", record.id);
        let show = async || {
            let asked = request("GET", &path, None).to_request();
            answered(call_service(&app, asked).await).await
        };
        record.ended_after_ms = None;
        let call = model::OpenCall {
            record: record.clone(),
            farewells: Vec::new(),
        };
        desk.store.open_call(&call).unwrap();
        let (status, problem) = show().await;
        assert_eq!(status, 404, "{problem}");
        assert!(
            problem["hint"].as_str().unwrap().contains("calls"),
            "{problem}"
        );
        record.ended_after_ms = Some(5);
        desk.store.close_calls(&[&record]).unwrap();
        let (status, shown) = show().await;
        assert_eq!((status, &shown["state"]), (200, &json!("over")));
    });
}
