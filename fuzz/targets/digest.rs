//! The value of an Authorization header: nobody gets in without the password. The placeholder of a nonce becomes one that we made
//! for the source, so that what lies behind the look at the nonce is reached as well.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip::digest::{Digest, Verdict};
use sip::{HeaderName, Method, Request};

/// What stands for our nonce in the input.
const PLACEHOLDER: &str = "0123456789abcdef";

fuzz_target!(|data: &[u8]| {
    let source = "192.0.2.1".parse().expect("an address");
    let mut digest = Digest::new("strowger", [7; 32]);
    let challenges = digest.challenge(1_700_000_000, source, false);
    assert_eq!(challenges.len(), 2);
    let nonce = challenges[0]
        .split_once("nonce=\"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(nonce, _)| nonce)
        .expect("a nonce");
    let mut request = Request::new(Method::Register, "sip:192.0.2.2".parse().expect("a URI"));
    let text = String::from_utf8_lossy(data).replace(PLACEHOLDER, nonce);
    for value in text.split('\n') {
        request.headers.push(HeaderName::Authorization, value);
    }
    let _ = digest.username(&request);
    let verdict = digest.check(1_700_000_000, source, &request, "8Zq2v!xKw0");
    assert_ne!(verdict, Verdict::Ok);
    digest.check_unknown(1_700_000_000, source, &request);
});
