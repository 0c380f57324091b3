//! What dial rules make of numbers.

use model::DialRules;

use super::*;

fn plan(rules: &str) -> DialPlan {
    DialPlan::new(&rules.parse::<DialRules>().unwrap()).unwrap()
}

fn refused(rules: &str) -> String {
    let rules: DialRules = rules.parse().unwrap();
    DialPlan::new(&rules).unwrap_err().to_string()
}

/// The vectors of the specification (4.6).
#[test]
fn the_vectors_of_the_specification_hold() {
    let clean = r"[^+*#\w]= ^8=7";
    let country = r"^(8|\+7)([0-9]{10})$=7\2";
    let ahead = r"^(8|\+7)(?=\d{10})=7.";
    let number = r"[^+*#\w]= ^\+?\d{2,15}$";
    let only = r"^\+?\d{3,15}$";
    let table = [
        (clean, "8 (926) 123-45-67", Some("79261234567")),
        (clean, "+7 926 123-45-67", Some("+79261234567")),
        (clean, "*21#", Some("*21#")),
        (clean, "8_ab", Some("7_ab")),
        (country, "89261234567", Some("79261234567")),
        (country, "+79261234567", Some("79261234567")),
        (country, "79261234567", Some("79261234567")),
        (ahead, "89261234567", Some("79261234567")),
        (ahead, "+79261234567", Some("79261234567")),
        (ahead, "8926", Some("8926")),
        (".*=", "hello", Some("")),
        ("=", "abc 1", Some("abc 1")),
        (number, "8 (926) 123-45-67", Some("89261234567")),
        (number, "hello", None),
        (number, "hi 12", None),
        (only, "+7926", Some("+7926")),
        (only, "hello", None),
    ];
    for (rules, input, expected) in table {
        assert_eq!(
            plan(rules).apply(input).as_deref(),
            expected,
            "{rules} on {input}"
        );
    }
}

#[test]
fn classes_are_those_of_ascii_and_foreign_digits_are_digits() {
    let table = [
        (r"[^+*#\w]=", "Привет 8 926", Some("8926")),
        (r"\W=", "é8ü", Some("8")),
        (r"\D=", "٨-9", Some("89")),
        (r"^\d+$", "٠١٢٣٤٥٦٧٨٩", Some("0123456789")),
        (r"^\d+$", "０１２９", Some("0129")),
        (r"^\d+$", "१२३", Some("123")),
        (r"^\d+$", "½", None),
        (r"\s=", "8\u{a0}9 2\t6", Some("8926")),
        (r"\S=", "8 9", Some(" ")),
        (r"[\D]=", "8ж9", Some("89")),
        (r"[\w-]+=x", "a-b", Some("x")),
        (r"\bab\b=x", "ab жab", Some("x жx")),
        (r"\Bb=x", "ab b", Some("ax b")),
        (r"[[:digit:]]=x", "a1", Some("ax")),
        (r"[]x]=-", "a]x", Some("a--")),
        (r"(?i)ann=bob", "ANN", Some("bob")),
    ];
    for (rules, input, expected) in table {
        assert_eq!(
            plan(rules).apply(input).as_deref(),
            expected,
            "{rules} on {input}"
        );
    }
}

#[test]
fn replacements_are_made_everywhere_and_know_their_groups() {
    let table = [
        (".*=x", "abc", Some("x")),
        ("b*=x", "abc", Some("xaxcx")),
        (r"(\d)(\d)=\2\1", "1234", Some("2143")),
        (r"(a)|(b)=<\1\2>", "ab", Some("<a><b>")),
        (r"\d+=[\0]", "12 34", Some("[12] [34]")),
        (r"a=$1\\", "a", Some(r"$1\")),
        (r"(\d)\1=\1", "1123", Some("123")),
        ("^=00", "7926", Some("007926")),
        (r"ж=\0\0", "жaж", Some("жжaжж")),
        ("!^0", "0926", None),
        ("!^0", "926", Some("926")),
        (r"^\+= ^7= !^0 ^\d+$", " +7926 ", Some("926")),
        ("^a$", "a", Some("a")),
        ("", " as it is ", Some("as it is")),
    ];
    for (rules, input, expected) in table {
        assert_eq!(
            plan(rules).apply(input).as_deref(),
            expected,
            "{rules} on {input}"
        );
    }
}

#[test]
fn numbers_have_an_end() {
    let same = plan("");
    assert!(same.apply(&"8".repeat(256)).is_some());
    assert_eq!(same.apply(&"8".repeat(257)), None);
    assert_eq!(
        same.apply(&"\u{fdfa}".repeat(100)),
        None,
        "18 characters each in their plain form"
    );
    let twice = plan(r"^.*$=\0\0");
    assert_eq!(twice.apply(&"8".repeat(128)).unwrap().len(), 256);
    assert_eq!(twice.apply(&"8".repeat(129)), None);
    let bomb = format!(r".={} ", r"\0".repeat(20)).repeat(20);
    assert_eq!(plan(&bomb).apply(&"8".repeat(256)), None);
    assert_eq!(DialPlan::closed().apply("8"), None);
}

#[test]
fn a_wrong_expression_is_refused_with_its_place() {
    for (rules, place) in [
        (r"^8=7 (\d=1", 6),
        (r"\d\d\d(=1", 1),
        (r"\d\d\d*)=1", 8),
        (r"^8=7 +x", 6),
        (r"^8=7 \d[z-a]", 6),
        (r"^8=7 (?<n", 6),
        (r"(?P<n>a)\k<m>", 1),
        (r"a{99999999999}", 1),
        (r"(?:\w{500}){500}", 1),
    ] {
        let said = refused(rules);
        let found = said
            .strip_prefix("character ")
            .and_then(|rest| rest.split_once(':'));
        let (at, what) = found.unwrap_or_else(|| panic!("{rules}: {said}"));
        assert!(at.parse::<usize>().unwrap() >= place, "{rules}: {said}");
        assert!(what.len() > 5 && !said.contains('\n'), "{rules}: {said}");
    }
    assert_eq!(
        refused(r"^8=7 (a)(b)=\3"),
        "character 6: \\3 in the replacement, but the expression has 2 groups"
    );
}

#[test]
fn catastrophic_expressions_are_refused_when_they_are_saved() {
    for rules in [
        r"^(\d|\d\d)+(?!\d)x",
        r"(.*)(.*)(.*)(.*)\1x",
        r"(?<!1)(\d+)+(?!\d)z$",
        r"(?<!1)(\w+\s?)*(?=!!)",
        r"^(x|x|xx)*\1y=z",
        r"(?:(?:(?:(?=a)|b){900}){900}){900}",
    ] {
        let said = refused(rules);
        assert!(
            said.starts_with("character 1: this expression takes too long"),
            "{rules}: {said}"
        );
    }
    // What the engine does without going back is no matter, however it looks.
    for rules in [
        r"^(\d+)+$",
        r"(a*)*b=c",
        r"^(a|aa)+$",
        r"^(\d+)+(?=x)",
        r"(?=8)(\d*)*$=7",
        r"^((ab)*(ab)*)*(?=c)",
    ] {
        let _ = plan(rules).apply(&"8".repeat(256));
    }
}

#[test]
fn the_numbers_of_a_trunk_go_through_its_inbound_rules_first() {
    let called = |rules: &str, kind: TrunkSpec, request_user: &str| {
        let trunk = TrunkSpec {
            inbound_rules: rules.parse().unwrap(),
            ..kind
        };
        let name = trunk.name.clone();
        let session = SessionSpec::new("main".parse().unwrap());
        let route = RouteSpec {
            trunk: name.clone(),
            session: session.name.clone(),
            priority: 1,
            terms: model::RouteTerms::default(),
        };
        let table = Table::new(vec![trunk], vec![session], vec![route]);
        let offer = SipOffer {
            trunk: table.trunk(&name).unwrap(),
            source: "192.0.2.1:5060".parse().unwrap(),
            request_user,
            to_user: "08005550001",
        };
        let world = Now {
            reachable: HashSet::from(["peer", "office"]),
            ..now()
        };
        decide_sip(&table, &world, &offer)
            .map(|to| format!("{:?}", to.peer))
            .map_err(|cause| cause.to_string())
    };
    let phone = |digits: &str| Ok(format!("{:?}", Peer::Phone(digits.parse().unwrap())));
    let peer = || peer("peer", "192.0.2.1:5060");
    let national = r"^0(?=[1-9])=+49 ^\+\d{7,15}$";
    assert_eq!(
        called(national, peer(), "08005550001"),
        phone("498005550001")
    );
    assert_eq!(
        called(national, peer(), "+498005550001"),
        phone("498005550001")
    );
    let not_found = || Err("404 Not Found".to_owned());
    assert_eq!(called(national, peer(), "ann"), not_found(), "no match");
    assert_eq!(
        called(".*=", peer(), "+498005550001"),
        not_found(),
        "nothing left"
    );
    assert_eq!(
        called("^9=", peer(), "9+498005550001"),
        phone("498005550001")
    );
    let office = registering("office", "login1");
    assert_eq!(
        called(national, office, "login1"),
        phone("498005550001"),
        "the number in To"
    );
    // A record of another version, whose rules this one cannot compile: no call rather than a wrong one.
    assert_eq!(called(r"(?<x", peer(), "+498005550001"), not_found());
}
