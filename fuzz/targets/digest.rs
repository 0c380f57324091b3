//! The value of an Authorization header: nobody gets in without the password.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip::digest::{Digest, Verdict};
use sip::{HeaderName, Method, Request};

fuzz_target!(|data: &[u8]| {
    let mut request = Request::new(Method::Register, "sip:192.0.2.2".parse().expect("a URI"));
    for value in String::from_utf8_lossy(data).split('\n') {
        request.headers.push(HeaderName::Authorization, value);
    }
    let source = "192.0.2.1".parse().expect("an address");
    let mut digest = Digest::new("strowger", [7; 32]);
    let challenges = digest.challenge(1_700_000_000, source, false);
    assert_eq!(challenges.len(), 2);
    let _ = digest.username(&request);
    let verdict = digest.check(1_700_000_000, source, &request, "8Zq2v!xKw0");
    assert!(!matches!(verdict, Verdict::Ok | Verdict::Stale));
    digest.check_unknown(1_700_000_000, source, &request);
});
