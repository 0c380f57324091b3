//! The answer of a client to a challenge (RFC 2617 3.2.2, MD5, qop=auth), written apart from the room `sip`.

/// Returns the value of Authorization for a challenge; nothing when it is no Digest challenge by MD5.
pub(super) fn authorization(
    challenge: &str,
    method: &str,
    uri: &str,
    login: &str,
    password: &str,
) -> Option<String> {
    let list = challenge.trim().strip_prefix("Digest ")?;
    let algorithm = parameter(list, "algorithm").unwrap_or("MD5");
    if !algorithm.eq_ignore_ascii_case("MD5") {
        return None;
    }
    let (realm, nonce) = (parameter(list, "realm")?, parameter(list, "nonce")?);
    let cnonce = format!("{:016x}", rand::random::<u64>());
    let ha1 = md5(&format!("{login}:{realm}:{password}"));
    let ha2 = md5(&format!("{method}:{uri}"));
    let response = md5(&format!("{ha1}:{nonce}:00000001:{cnonce}:auth:{ha2}"));
    let mut value = format!(
        "Digest username=\"{login}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", \
         algorithm=MD5, cnonce=\"{cnonce}\", qop=auth, nc=00000001"
    );
    if let Some(opaque) = parameter(list, "opaque") {
        value.push_str(", opaque=\"");
        value.push_str(opaque);
        value.push('"');
    }
    Some(value)
}

fn md5(text: &str) -> String {
    format!("{:x}", md5::compute(text.as_bytes()))
}

/// The value of a parameter; quoted values hold no commas in the challenges met here.
fn parameter<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    list.split(',').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        key.trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_carries_the_parts_the_server_checks() {
        let challenge = "Digest realm=\"strowger\", nonce=\"abc\", algorithm=MD5, qop=\"auth\"";
        let value = authorization(challenge, "REGISTER", "sip:pbx", "login", "secret").unwrap();
        assert!(value.contains("username=\"login\""), "{value}");
        let cnonce = parameter(value.strip_prefix("Digest ").unwrap(), "cnonce")
            .unwrap()
            .to_owned();
        let (ha1, ha2) = (md5("login:strowger:secret"), md5("REGISTER:sip:pbx"));
        let response = md5(&format!("{ha1}:abc:00000001:{cnonce}:auth:{ha2}"));
        assert!(
            value.contains(&format!("response=\"{response}\"")),
            "{value}"
        );
    }

    #[test]
    fn other_algorithms_are_left_to_others() {
        let challenge = "Digest realm=\"a\", nonce=\"b\", algorithm=SHA-256, qop=\"auth\"";
        assert_eq!(authorization(challenge, "INVITE", "sip:a", "l", "p"), None);
    }
}
