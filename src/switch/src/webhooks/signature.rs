//! The signature of a post: HMAC-SHA256 (RFC 2104, FIPS 180-4) of the time, a dot and the body, under the secret's octets.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use model::Secret;

/// The value of `X-Strowger-Signature`: when it was signed, in seconds since 1970, and the signature in hexadecimal digits.
pub(super) fn signature(secret: &Secret<String>, unix: u64, body: &str) -> String {
    let key = Key::new(HMAC_SHA256, secret.expose().as_bytes());
    let tag = sign(&key, format!("{unix}.{body}").as_bytes());
    let mut text = format!("t={unix},v1=");
    for octet in tag.as_ref() {
        for half in [octet >> 4, octet & 15] {
            text.push(char::from_digit(half.into(), 16).unwrap_or('0'));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(secret: &str, unix: u64, body: &str) -> String {
        signature(&Secret::new(secret.to_owned()), unix, body)
    }

    #[test]
    fn what_the_documents_show_is_what_the_test_peer_does() {
        let shown = include_str!("../../../../docs/events.md");
        let peer = include_str!("../../../../tests/peers/webhook_receiver.py");
        let (_, code) = shown.split_once("```python\n").unwrap();
        let (code, _) = code.split_once("```").unwrap();
        assert!(code.contains("hmac.new") && peer.contains(code), "{code}");
    }

    /// `printf '%s' '1700000000.{"id":"01J"}' | openssl dgst -sha256 -hmac 'correct-horse-battery'`
    #[test]
    fn a_post_is_signed_as_openssl_signs_it() {
        assert_eq!(
            hex("correct-horse-battery", 1_700_000_000, r#"{"id":"01J"}"#),
            "t=1700000000,v1=2762d90511605ba6efa7d3cefcc8440d76a7d7aedcb6a6450067cb91f3e3b72c"
        );
        let other = hex("correct-horse-batterY", 1_700_000_000, r#"{"id":"01J"}"#);
        assert!(
            !other.ends_with("2762d90511605ba6efa7d3cefcc8440d76a7d7aedcb6a6450067cb91f3e3b72c"),
            "{other}"
        );
    }
}
