use std::net::IpAddr;

use super::credentials::Credentials;
use super::nonce::{MAX_COUNTS, Nonces};
use super::*;
use crate::message::{HeaderName, Method};

const REALM: &str = "strowger";
const PASSWORD: &str = "Circle of Life";

fn here() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

fn digest() -> Digest {
    Digest::new(REALM, [7; 32])
}

fn register(authorization: &str) -> Request {
    let mut request = Request::new(Method::Register, "sip:192.0.2.9".parse().unwrap());
    request
        .headers
        .push(HeaderName::Authorization, authorization);
    request
}

/// The client's side of it, for one of our challenges.
fn answer(challenge: &str, password: &str, uri: &str, nc: u32) -> String {
    let part = |name: &str| {
        let (_, rest) = challenge.split_once(&format!("{name}=")).unwrap();
        rest.split(',').next().unwrap().trim_matches('"').to_owned()
    };
    let (nonce, name) = (part("nonce"), part("algorithm"));
    let mut credentials = Credentials {
        username: "alice".into(),
        realm: part("realm"),
        nonce: nonce.clone(),
        uri: uri.into(),
        response: String::new(),
        algorithm: if name == "MD5" {
            Algorithm::Md5
        } else {
            Algorithm::Sha256
        },
        cnonce: "c".into(),
        nc,
    };
    credentials.response = credentials.expected("REGISTER", password);
    let response = credentials.response;
    format!(
        "Digest username=\"alice\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", \
         algorithm={name}, cnonce=\"c\", qop=auth, nc={nc:08x}"
    )
}

#[test]
fn the_vectors_of_rfc_7616_hold() {
    for (algorithm, response) in [
        (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
        (
            Algorithm::Sha256,
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
    ] {
        let credentials = Credentials {
            username: "Mufasa".into(),
            realm: "http-auth@example.org".into(),
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v".into(),
            uri: "/dir/index.html".into(),
            response: String::new(),
            algorithm,
            cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ".into(),
            nc: 1,
        };
        assert_eq!(credentials.expected("GET", PASSWORD), response);
    }
}

#[test]
fn sha_256_stands_before_md5() {
    let challenges = digest().challenge(1_000, here(), true);
    assert_eq!(challenges.len(), 2);
    assert!(challenges[0].starts_with("Digest realm=\"strowger\", nonce=\""));
    assert!(challenges[0].ends_with(", algorithm=SHA-256, qop=\"auth\", stale=true"));
    assert!(challenges[1].ends_with(", algorithm=MD5, qop=\"auth\", stale=true"));
    let md5_only = digest()
        .with_algorithms(&[Algorithm::Md5])
        .challenge(1_000, here(), false);
    assert!(md5_only.len() == 1 && md5_only[0].ends_with("algorithm=MD5, qop=\"auth\""));
}

#[test]
fn the_right_password_is_right_once_for_each_count() {
    let mut digest = digest();
    for challenge in digest.challenge(1_000, here(), false) {
        let mut check = |nc| {
            let request = register(&answer(&challenge, PASSWORD, "sip:192.0.2.9", nc));
            digest.check(1_010, here(), &request, PASSWORD)
        };
        let base = if challenge.contains("MD5") { 10 } else { 0 };
        assert_eq!(check(base + 2), Verdict::Ok);
        assert_eq!(check(base + 2), Verdict::Stale);
        assert_eq!(check(base + 1), Verdict::Stale);
        assert_eq!(check(base + 10), Verdict::Ok);
    }
}

#[test]
fn a_nonce_is_stale_after_300_seconds_elsewhere_and_after_a_restart() {
    let mut digest = digest();
    let challenge = digest.challenge(1_000, here(), false).remove(1);
    let request = register(&answer(&challenge, PASSWORD, "sip:192.0.2.9", 1));
    let elsewhere = "192.0.2.2".parse().unwrap();
    let mut restarted = Digest::new(REALM, [8; 32]);
    assert_eq!(
        digest.check(1_301, here(), &request, PASSWORD),
        Verdict::Stale
    );
    assert_eq!(
        digest.check(1_001, elsewhere, &request, PASSWORD),
        Verdict::Stale
    );
    assert_eq!(
        restarted.check(1_001, here(), &request, PASSWORD),
        Verdict::Stale
    );
    // A clock that was set back does not lock anybody out.
    assert_eq!(digest.check(990, here(), &request, PASSWORD), Verdict::Ok);
}

#[test]
fn a_password_is_looked_at_only_with_a_nonce_that_is_ours_and_young() {
    let mut digest = digest();
    let challenge = digest.challenge(1_000, here(), false).remove(0);
    let request = register(&answer(&challenge, "guess", "sip:192.0.2.9", 1));
    assert_eq!(
        digest.check(1_001, here(), &request, PASSWORD),
        Verdict::WrongPassword
    );
    let elsewhere = "192.0.2.2".parse().unwrap();
    for (now, source) in [(9_000, here()), (1_001, elsewhere)] {
        assert_eq!(
            digest.check(now, source, &request, PASSWORD),
            Verdict::Stale
        );
        assert_eq!(digest.check_unknown(now, source, &request), Verdict::Stale);
    }
    let right = register(&answer(&challenge, PASSWORD, "sip:192.0.2.9", 1));
    assert_eq!(
        digest.check_unknown(1_001, here(), &right),
        Verdict::WrongPassword
    );
    assert_eq!(digest.check(1_001, here(), &right, PASSWORD), Verdict::Ok);
}

#[test]
fn credentials_for_another_target_are_refused() {
    let table = [
        ("sip:100@192.0.2.9:5060", "sip:100@192.0.2.9", true),
        ("sip:192.0.2.9:5060", "sip:100@192.0.2.9", true),
        ("sip:192.0.2.9;transport=udp", "sip:192.0.2.9", true),
        ("sip:%31%30%30@Host.example", "sip:100@hOST.example", true),
        ("sip:101@192.0.2.9", "sip:100@192.0.2.9", false),
        ("sip:100@192.0.2.9", "sip:192.0.2.9", false),
        ("sip:100@192.0.2.9:5061", "sip:100@192.0.2.9", false),
        ("sip:100@192.0.2.8", "sip:100@192.0.2.9", false),
        ("sips:100@192.0.2.9", "sip:100@192.0.2.9", false),
        ("tel:+1555", "tel:+1555", true),
        ("tel:+1556", "tel:+1555", false),
        ("/index", "sip:192.0.2.9", false),
    ];
    for (uri, target, expected) in table {
        assert_eq!(
            names_target(uri, &target.parse().unwrap()),
            expected,
            "{uri} {target}"
        );
    }
}

#[test]
fn broken_credentials_are_malformed_and_foreign_ones_missing() {
    let good = "Digest username=\"100\", realm=\"strowger\", nonce=\"x\", uri=\"sip:192.0.2.9\", \
                response=\"00000000000000000000000000000000\", qop=auth, cnonce=\"c\", nc=00000001";
    let long = good.replace("\"100\"", &format!("\"{}\"", "1".repeat(257)));
    let many = (0..40).fold(String::new(), |all, n| all + &format!(", p{n}=1"));
    let cases = [
        (good.to_owned(), Verdict::Stale),
        (good.replace("strowger", "other"), Verdict::Missing),
        (good.replace("Digest", "Basic"), Verdict::Missing),
        ("Digest".to_owned(), Verdict::Malformed),
        (good.replace("00000001", "zzzzzzzz"), Verdict::Malformed),
        (good.replace("00000001", "1"), Verdict::Malformed),
        (good.replace("qop=auth", "qop=auth-int"), Verdict::Malformed),
        (good.replace(", qop=auth", ""), Verdict::Malformed),
        (good.replace("cnonce", "dnonce"), Verdict::Malformed),
        (good.replace("response", "request"), Verdict::Malformed),
        (format!("{good}, algorithm=AKAv1-MD5"), Verdict::Malformed),
        (format!("{good}, username=\"101\""), Verdict::Malformed),
        (format!("{good}, \"x"), Verdict::Malformed),
        (format!("{good}, x=\"y\" z"), Verdict::Malformed),
        (
            format!("{good},, algorithm = \"md5\" ,opaque=\"\" ,"),
            Verdict::Stale,
        ),
        (format!("{good}{many}"), Verdict::Malformed),
        (long, Verdict::Malformed),
    ];
    for (authorization, expected) in cases {
        let request = register(&authorization);
        assert_eq!(
            digest().check(1_000, here(), &request, PASSWORD),
            expected,
            "{authorization}"
        );
        let named = digest().username(&request);
        assert_eq!(
            named.is_some(),
            expected == Verdict::Stale,
            "{authorization}"
        );
    }
}

#[test]
fn the_credentials_of_our_realm_are_found_among_others() {
    let mut digest = digest();
    let challenge = digest.challenge(1_000, here(), false).remove(1);
    let mut request = register("Digest username=\"bob\", realm=\"elsewhere\"");
    request.headers.push(
        HeaderName::Authorization,
        answer(&challenge, PASSWORD, "sip:192.0.2.9", 1),
    );
    assert_eq!(digest.username(&request).as_deref(), Some("alice"));
    assert_eq!(digest.check(1_000, here(), &request, PASSWORD), Verdict::Ok);
}

#[test]
fn the_table_of_counts_forgets_the_oldest_and_never_believes_it_again() {
    let mut nonces = Nonces::new(REALM, [1; 32]);
    let made: Vec<String> = (0..=MAX_COUNTS as u64)
        .map(|n| nonces.issue(1_000 + n / 1_000, here()))
        .collect();
    let now = 1_020;
    for nonce in &made {
        let fresh = nonces.verify(now, here(), nonce).unwrap();
        assert!(nonces.count(now, fresh, 1));
    }
    let accepted = made
        .iter()
        .filter(|nonce| {
            let fresh = nonces.verify(now, here(), nonce).unwrap();
            nonces.count(now, fresh, 2)
        })
        .count();
    assert_eq!(accepted, MAX_COUNTS);
    assert!(format!("{nonces:?}").contains("20000"));
}
