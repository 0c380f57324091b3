//! What the PBX dials.

use model::{BareDigits, CallerIdRules, PhoneNumber};

use super::*;

fn phone(digits: &str) -> Option<Peer> {
    digits.parse::<PhoneNumber>().ok().map(Peer::Phone)
}

fn username(name: &str) -> Option<Peer> {
    Peer::from_username(name).ok()
}

fn read(rules: Option<&str>, bare_digits: BareDigits, dialled: &str) -> Option<Peer> {
    let trunk = TrunkSpec {
        caller_id: rules.map_or_else(CallerIdRules::default, |rules| rules.parse().unwrap()),
        bare_digits,
        ..peer("peer", "192.0.2.1:5060")
    };
    called_peer(&trunk, None, None, dialled, "600").ok()
}

#[test]
fn dialled_numbers_are_read_as_the_worked_table_says() {
    let table = [
        ("+79261234567", phone("79261234567")),
        ("ann", username("ann")),
        ("tg#ann", username("ann")),
        ("@ann", username("ann")),
        ("04242", Some(Peer::UserId(4242))),
        ("79261234567", phone("79261234567")),
        ("0079261234567", phone("79261234567")),
        ("09261234567", Some(Peer::UserId(9_261_234_567))),
        // And what is no number at all.
        ("", None),
        ("12", None),
        ("a b", None),
        ("+", None),
        ("++79261234567", None),
        ("+0926", None),
        ("00123456", None),
        ("tg#79261234567", None),
        ("1234567890123456", None),
        ("099999999999999999999999", None),
    ];
    for (dialled, expected) in table {
        assert_eq!(
            read(None, BareDigits::Phone, dialled),
            expected,
            "{dialled}"
        );
    }
}

#[test]
fn bare_digits_mean_what_the_trunk_says() {
    let read = |dialled| read(None, BareDigits::UserId, dialled);
    assert_eq!(read("79261234567"), Some(Peer::UserId(79_261_234_567)));
    assert_eq!(read("0079261234567"), phone("79261234567"));
    assert_eq!(read("+79261234567"), phone("79261234567"));
    assert_eq!(read("4242"), None, "7 digits at least");
}

#[test]
fn a_trunk_with_rules_of_its_own_reads_by_them_first() {
    let read = |rules, dialled| read(Some(rules), BareDigits::Phone, dialled);
    let rules = "8{phone}\ntg-{username}.x\n{phone}/{userid}\n600\n7{userid}";
    assert_eq!(read(rules, "879261234567"), phone("79261234567"));
    assert_eq!(read(rules, "tg-ann_b.x"), username("ann_b"));
    assert_eq!(read(rules, "7123"), Some(Peer::UserId(123)));
    assert_eq!(
        read(rules, "79261234567"),
        Some(Peer::UserId(9_261_234_567))
    );
    assert_eq!(read(rules, "79261/42"), None, "two tags name nobody");
    assert_eq!(read(rules, "600"), None, "no tag names nobody");
    assert_eq!(read(rules, "09261234567"), None, "no rule for it any more");
    assert_eq!(read("", "ann_b"), username("ann_b"));
    // Where the text before and the text after overlap there is nothing between them.
    assert_eq!(read("4242{userid}242", "424242"), None);
    // A rule that the number looks like, but cannot be.
    assert_eq!(read("{userid}", "99999999999999999999"), None);
}

#[test]
fn only_a_login_of_its_own_makes_to_the_called_number() {
    let office = registering("office", "login1");
    let called = |trunk: &TrunkSpec, request_user| {
        called_peer(trunk, None, None, request_user, "ann_b").unwrap()
    };
    assert_eq!(called(&office, "login1"), Peer::Username("ann_b".into()));
    assert_eq!(called(&office, "other1"), Peer::Username("other1".into()));
    let peer = peer("peer", "192.0.2.1:5060");
    assert_eq!(called(&peer, "login1"), Peer::Username("login1".into()));
}

/// Whoever calls can be called back at the number that was shown, by each of the default rules.
#[test]
fn what_a_caller_is_shown_as_dials_back_to_the_same_person() {
    let trunk = peer("peer", "192.0.2.1:5060");
    let mut state = 7u64;
    let mut dice = |sides: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    };
    let mut text = |first: &str, rest: &str, length: u64| {
        let mut pick = |from: &str| {
            let at = usize::try_from(dice(from.len() as u64)).unwrap();
            char::from(from.as_bytes()[at])
        };
        let rest: String = (1..length).map(|_| pick(rest)).collect();
        format!("{}{rest}", pick(first))
    };
    let letters = "abcxyzABCXYZ";
    let all = "abcxyzABCXYZ0189_";
    for round in 0..20_000 {
        let digits = text("123456789", "0123456789", 5 + round % 11);
        let name = text(letters, all, 4 + round % 29);
        let user_id = text("123456789", "0123456789", 1 + round % 18)
            .parse()
            .unwrap();
        let cases = [
            (Some(&digits), Some(&name), phone(&digits)),
            (None, Some(&name), username(&name)),
            (None, None, Some(Peer::UserId(user_id))),
        ];
        for (phone, username, expected) in cases {
            let caller = CallerIdentity {
                phone: phone.map(String::as_str),
                username: username.map(String::as_str),
                user_id,
                ..CallerIdentity::default()
            };
            let shown = caller_id(&trunk.caller_id, &caller).unwrap();
            assert_eq!(
                called_peer(&trunk, None, None, &shown, "").ok(),
                expected,
                "{shown}"
            );
        }
    }
}
