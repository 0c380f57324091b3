//! Addresses: what is written can be read, and is then written the same. Not everything that is read is written: control
//! characters and the end of a long display name are left out.
#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use sip::{NameAddr, Uri, Via};

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    reads_back::<Uri>(&text);
    reads_back::<NameAddr>(&text);
    reads_back::<Via>(&text);
    if let Ok(uri) = text.parse::<Uri>() {
        let _ = uri.user();
    }
});

fn reads_back<T: FromStr + Display>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        let written = read.to_string();
        let again = written.parse::<T>().ok().map(|again| again.to_string());
        assert_eq!(again.as_ref(), Some(&written));
    }
}
