//! Digest authentication, client side: answers the challenges of a registrar or proxy (RFC 3261 22.2, RFC 7616, RFC 8760).
//!
//! One [`Answerer`] for each account. Whether the challenge came from the peer the request was sent to is for the caller to
//! know; the realm, the number of rounds and the algorithm are watched here, so that a rogue peer learns nothing (SEC-A7).

use model::Secret;
use thiserror::Error;

use super::Algorithm;
use super::credentials::Parameters;
use crate::message::{HeaderName, Method, Response, Uri, scan};

/// Challenges answered for one request: one, and one more with a fresh nonce.
const MAX_ROUNDS: u8 = 2;
/// The longest nonce or opaque carried back, in octets.
const MAX_TEXT: usize = 512;

/// Why a challenge is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoAnswer {
    /// No challenge in the response, or none that RFC 7616 allows.
    #[error("the challenge cannot be read")]
    Malformed,
    /// A realm other than the one that is configured or was learned.
    #[error("the challenge is for another realm than before")]
    ForeignRealm,
    /// Neither SHA-256 nor MD5, or not `qop=auth`.
    #[error("the challenge asks for an algorithm or protection that is not supported")]
    Unsupported,
    /// MD5 from a peer that has used SHA-256 before.
    #[error("the peer wants MD5 after it has used SHA-256")]
    Downgrade,
    /// The same credentials were refused.
    #[error("login or password is wrong")]
    WrongPassword,
}

/// The account of a trunk at its registrar.
#[derive(Debug)]
pub struct Answerer {
    username: String,
    password: Secret<String>,
    realm: Option<String>,
    strongest: Option<Algorithm>,
    challenge: Option<Challenge>,
}

/// How often one request has been answered so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rounds(u8);

#[derive(Debug)]
struct Challenge {
    header: HeaderName,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    /// As the peer wrote it; old ones name none.
    names_algorithm: bool,
    has_qop: bool,
    count: u32,
}

impl Answerer {
    /// An account; without `realm` the one of the first success is kept.
    pub fn new(username: &str, password: Secret<String>, realm: Option<String>) -> Self {
        Self {
            username: username.to_owned(),
            password,
            realm,
            strongest: None,
            challenge: None,
        }
    }

    /// Answers a 401 or 407 to a request; `cnonce` is unpredictable text. Returns the header to add.
    pub fn answer(
        &mut self,
        rounds: &mut Rounds,
        response: &Response,
        method: &Method,
        uri: &Uri,
        cnonce: &str,
    ) -> Result<(HeaderName, String), NoAnswer> {
        let (found, is_stale) = self.choose(response)?;
        // A new nonce with every refusal must not keep us answering (CVE-2020-28242).
        if rounds.0 >= MAX_ROUNDS || rounds.0 > 0 && !is_stale {
            return Err(NoAnswer::WrongPassword);
        }
        rounds.0 += 1;
        self.challenge = Some(found);
        self.credentials(method, uri, cnonce)
            .ok_or(NoAnswer::Malformed)
    }

    /// Credentials for a next request by the last challenge, which saves a round trip; none before the first.
    pub fn credentials(
        &mut self,
        method: &Method,
        uri: &Uri,
        cnonce: &str,
    ) -> Option<(HeaderName, String)> {
        let challenge = self.challenge.as_mut()?;
        challenge.count += 1;
        let Challenge {
            realm,
            nonce,
            algorithm,
            count,
            ..
        } = &*challenge;
        let (username, password) = (&self.username, self.password.expose());
        let ha1 = algorithm.hash(&format!("{username}:{realm}:{password}"));
        let ha2 = algorithm.hash(&format!("{}:{uri}", method.as_str()));
        let response = if challenge.has_qop {
            algorithm.hash(&format!("{ha1}:{nonce}:{count:08x}:{cnonce}:auth:{ha2}"))
        } else {
            // RFC 2069, which some providers still speak.
            algorithm.hash(&format!("{ha1}:{nonce}:{ha2}"))
        };
        let mut value = format!(
            "Digest username={}, realm={}, nonce={}, uri=\"{uri}\", response=\"{response}\"",
            scan::quote(username),
            scan::quote(realm),
            scan::quote(nonce)
        );
        if challenge.names_algorithm {
            value.push_str(", algorithm=");
            value.push_str(algorithm.name());
        }
        if challenge.has_qop {
            let nc = format!("{count:08x}");
            value.extend([", cnonce=\"", cnonce, "\", qop=auth, nc=", &nc]);
        }
        if let Some(opaque) = &challenge.opaque {
            value.push_str(", opaque=");
            value.push_str(&scan::quote(opaque));
        }
        Some((challenge.header.clone(), value))
    }

    /// The last credentials were accepted: their realm and algorithm bind the peer from now on.
    pub fn accepted(&mut self) {
        if let Some(challenge) = &self.challenge {
            self.realm.get_or_insert_with(|| challenge.realm.clone());
            if challenge.algorithm == Algorithm::Sha256 {
                self.strongest = Some(Algorithm::Sha256);
            }
        }
    }

    /// The first challenge in the peer's order that can be answered (RFC 8760 2.4), and whether it says `stale=true`.
    fn choose(&self, response: &Response) -> Result<(Challenge, bool), NoAnswer> {
        let (asks, answers) = if response.status == 407 {
            (
                HeaderName::ProxyAuthenticate,
                HeaderName::ProxyAuthorization,
            )
        } else {
            (HeaderName::WwwAuthenticate, HeaderName::Authorization)
        };
        let mut why = NoAnswer::Malformed;
        for parameters in response
            .headers
            .all(&asks)
            .filter_map(Parameters::parse)
            .flatten()
        {
            match self.read(&answers, &parameters) {
                Ok(challenge) => {
                    let stale = parameters.get("stale");
                    let is_stale = stale.is_some_and(|stale| stale.eq_ignore_ascii_case("true"));
                    return Ok((challenge, is_stale));
                }
                Err(refusal) => why = refusal,
            }
        }
        Err(why)
    }

    fn read(&self, answers: &HeaderName, parameters: &Parameters) -> Result<Challenge, NoAnswer> {
        let realm = parameters.get("realm").ok_or(NoAnswer::Malformed)?;
        let nonce = parameters.get("nonce").ok_or(NoAnswer::Malformed)?;
        let opaque = parameters.get("opaque");
        if [Some(realm), Some(nonce), opaque]
            .into_iter()
            .flatten()
            .any(|text| text.len() > MAX_TEXT || text.chars().any(char::is_control))
        {
            return Err(NoAnswer::Malformed);
        }
        if self.realm.as_ref().is_some_and(|known| known != realm) {
            return Err(NoAnswer::ForeignRealm);
        }
        let named = parameters.get("algorithm");
        let algorithm = match named {
            None => Algorithm::Md5,
            Some(name) => [Algorithm::Sha256, Algorithm::Md5]
                .into_iter()
                .find(|known| name.eq_ignore_ascii_case(known.name()))
                .ok_or(NoAnswer::Unsupported)?,
        };
        if algorithm == Algorithm::Md5 && self.strongest == Some(Algorithm::Sha256) {
            return Err(NoAnswer::Downgrade);
        }
        let has_qop = match parameters.get("qop") {
            None => false,
            Some(list)
                if list
                    .split(',')
                    .any(|qop| qop.trim().eq_ignore_ascii_case("auth")) =>
            {
                true
            }
            Some(_) => return Err(NoAnswer::Unsupported),
        };
        Ok(Challenge {
            header: answers.clone(),
            realm: realm.to_owned(),
            nonce: nonce.to_owned(),
            opaque: opaque.map(str::to_owned),
            algorithm,
            names_algorithm: named.is_some(),
            has_qop,
            count: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URI: &str = "sip:pbx.example.com";

    fn answerer(realm: Option<&str>) -> Answerer {
        let password = Secret::new("Circle of Life".to_owned());
        Answerer::new("Mufasa", password, realm.map(str::to_owned))
    }

    fn challenged(status: u16, values: &[&str]) -> Response {
        let mut response = Response::new(status, "");
        let name = if status == 407 {
            HeaderName::ProxyAuthenticate
        } else {
            HeaderName::WwwAuthenticate
        };
        for value in values {
            response.headers.push(name.clone(), value);
        }
        response
    }

    fn ask(
        answerer: &mut Answerer,
        rounds: &mut Rounds,
        values: &[&str],
    ) -> Result<(HeaderName, String), NoAnswer> {
        let response = challenged(401, values);
        let uri: Uri = URI.parse().unwrap();
        answerer.answer(rounds, &response, &Method::Register, &uri, "0a4f113b")
    }

    #[test]
    fn our_own_server_side_accepts_what_is_answered() {
        let mut server = super::super::Digest::new("example", [7; 32]);
        let source = "192.0.2.1".parse().unwrap();
        for algorithms in [
            vec![Algorithm::Sha256, Algorithm::Md5],
            vec![Algorithm::Md5],
        ] {
            server = server.with_algorithms(&algorithms);
            let challenges = server.challenge(1_000, source, false);
            let challenges: Vec<&str> = challenges.iter().map(String::as_str).collect();
            let mut client = answerer(None);
            let (name, value) = ask(&mut client, &mut Rounds::default(), &challenges).unwrap();
            assert_eq!(name, HeaderName::Authorization);
            assert!(value.contains(algorithms[0].name()), "{value}");
            let mut request = crate::message::Request::new(Method::Register, URI.parse().unwrap());
            request.headers.push(name, value);
            let verdict = server.check(1_000, source, &request, "Circle of Life");
            assert_eq!(verdict, super::super::Verdict::Ok);
            // The next request needs no new challenge.
            let again = client.credentials(&Method::Register, &URI.parse().unwrap(), "c2");
            request
                .headers
                .set(HeaderName::Authorization, again.unwrap().1);
            let verdict = server.check(1_000, source, &request, "Circle of Life");
            assert_eq!(verdict, super::super::Verdict::Ok);
            let verdict = server.check(1_000, source, &request, "Circle of Death");
            assert_eq!(verdict, super::super::Verdict::WrongPassword);
        }
    }

    #[test]
    fn an_unnamed_algorithm_is_md5_and_the_opaque_comes_back() {
        let password = Secret::new("Circle Of Life".to_owned());
        let mut client = Answerer::new("Mufasa", password, None);
        let response = challenged(
            401,
            &[
                "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
               nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
            ],
        );
        let uri: Uri = "sip:x.example".parse().unwrap();
        let method = Method::from("GET");
        let answered = client.answer(&mut Rounds::default(), &response, &method, &uri, "0a4f113b");
        let value = answered.unwrap().1;
        for part in [
            "realm=\"testrealm@host.com\"",
            "qop=auth, nc=00000001",
            "opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
        ] {
            assert!(value.contains(part), "{value}");
        }
        assert!(!value.contains("algorithm"), "{value}");
    }

    #[test]
    fn a_proxy_is_answered_in_its_own_header_and_old_ones_without_qop() {
        let mut client = answerer(None);
        let response = challenged(407, &["Digest realm=\"p\", nonce=\"n\""]);
        let uri: Uri = URI.parse().unwrap();
        let (name, value) = client
            .answer(
                &mut Rounds::default(),
                &response,
                &Method::Invite,
                &uri,
                "c",
            )
            .unwrap();
        assert_eq!(name, HeaderName::ProxyAuthorization);
        assert!(!value.contains("qop") && !value.contains("cnonce"));
        let ha1 = Algorithm::Md5.hash("Mufasa:p:Circle of Life");
        let ha2 = Algorithm::Md5.hash(&format!("INVITE:{URI}"));
        let expected = Algorithm::Md5.hash(&format!("{ha1}:n:{ha2}"));
        assert!(value.contains(&expected), "{value}");
    }

    #[test]
    fn a_second_refusal_is_a_wrong_password_unless_the_nonce_was_stale() {
        let mut client = answerer(None);
        let fresh = |n: u8| format!("Digest realm=\"r\", nonce=\"{n}\", qop=\"auth\"");
        let mut rounds = Rounds::default();
        assert!(ask(&mut client, &mut rounds, &[&fresh(1)]).is_ok());
        let again = ask(&mut client, &mut rounds, &[&fresh(2)]);
        assert_eq!(again, Err(NoAnswer::WrongPassword));

        let mut rounds = Rounds::default();
        assert!(ask(&mut client, &mut rounds, &[&fresh(1)]).is_ok());
        let stale = |n| format!("{}, stale=TRUE", fresh(n));
        assert!(ask(&mut client, &mut rounds, &[&stale(2)]).is_ok());
        // Two rounds, whatever it says.
        let third = ask(&mut client, &mut rounds, &[&stale(3)]);
        assert_eq!(third, Err(NoAnswer::WrongPassword));
    }

    #[test]
    fn a_foreign_realm_a_downgrade_and_the_unknown_get_no_credentials() {
        let mut client = answerer(Some("home"));
        let refused = |client: &mut Answerer, value: &str| {
            ask(client, &mut Rounds::default(), &[value]).unwrap_err()
        };
        let foreign = "Digest realm=\"other\", nonce=\"n\", qop=\"auth\"";
        assert_eq!(refused(&mut client, foreign), NoAnswer::ForeignRealm);
        for (value, why) in [
            ("Basic realm=\"home\"", NoAnswer::Malformed),
            ("Digest nonce=\"n\"", NoAnswer::Malformed),
            ("Digest realm=\"home\"", NoAnswer::Malformed),
            (
                "Digest realm=\"home\", nonce=\"n\", qop=\"auth-int\"",
                NoAnswer::Unsupported,
            ),
            (
                "Digest realm=\"home\", nonce=\"n\", algorithm=AKAv1-MD5",
                NoAnswer::Unsupported,
            ),
        ] {
            assert_eq!(refused(&mut client, value), why, "{value}");
        }
        let strong = "Digest realm=\"home\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"";
        let weak = "Digest realm=\"home\", nonce=\"n\", algorithm=MD5, qop=\"auth\"";
        assert!(ask(&mut client, &mut Rounds::default(), &[weak, strong]).is_ok());
        let mut rounds = Rounds::default();
        let (_, value) = ask(&mut client, &mut rounds, &[strong]).unwrap();
        assert!(value.contains("SHA-256"));
        client.accepted();
        assert_eq!(refused(&mut client, weak), NoAnswer::Downgrade);
        assert!(ask(&mut client, &mut Rounds::default(), &[weak, strong]).is_ok());
    }

    #[test]
    fn the_realm_of_the_first_success_is_kept() {
        let mut client = answerer(None);
        let first = "Digest realm=\"a\", nonce=\"n\", qop=\"auth\"";
        let other = "Digest realm=\"b\", nonce=\"n\", qop=\"auth\"";
        assert!(ask(&mut client, &mut Rounds::default(), &[other]).is_ok());
        assert!(ask(&mut client, &mut Rounds::default(), &[first]).is_ok());
        client.accepted();
        let foreign = ask(&mut client, &mut Rounds::default(), &[other]);
        assert_eq!(foreign, Err(NoAnswer::ForeignRealm));
    }
}
