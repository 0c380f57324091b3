//! What the PBX is shown.

use model::{CallId, CallerIdRules, CallerNameRules};

use super::*;

const ANN: CallerIdentity<'_> = CallerIdentity {
    phone: Some("79261234567"),
    username: Some("ann"),
    user_id: 4242,
    first_name: "Анна",
    last_name: "Б.",
};
const HIDDEN: CallerIdentity<'_> = CallerIdentity { phone: None, ..ANN };
const BARE: CallerIdentity<'_> = CallerIdentity {
    username: None,
    ..HIDDEN
};

fn id(rules: &str, caller: &CallerIdentity<'_>) -> Option<String> {
    caller_id(&rules.parse().unwrap(), caller)
}

fn name(rules: &str, caller: &CallerIdentity<'_>) -> Option<String> {
    caller_name(&rules.parse().unwrap(), caller)
}

#[test]
fn callers_are_shown_as_the_worked_table_says() {
    let table = [
        (ANN, "+79261234567", "+79261234567 (Anna B.)"),
        (HIDDEN, "ann", "@ann (Anna B.)"),
        (BARE, "04242", "Anna B."),
    ];
    for (caller, number, shown) in table {
        let id = caller_id(&CallerIdRules::default(), &caller);
        let name = caller_name(&CallerNameRules::default(), &caller);
        assert_eq!(
            (id.as_deref(), name.as_deref()),
            (Some(number), Some(shown))
        );
    }
}

#[test]
fn the_first_rule_whose_tags_all_have_a_value_is_used() {
    let rules = "{phone}-{username}\n9{userid}";
    assert_eq!(id(rules, &ANN).as_deref(), Some("79261234567-ann"));
    assert_eq!(id(rules, &HIDDEN).as_deref(), Some("94242"));
    assert_eq!(id("600", &BARE).as_deref(), Some("600"), "always the same");
    assert_eq!(id("{phone}\n{username}", &BARE), None, "anonymous");
    assert_eq!(id("", &ANN), None);
    assert_eq!(
        name("{name} {userid}", &ANN).as_deref(),
        Some("Анна Б. 4242")
    );
    assert_eq!(name("", &ANN), None);
}

#[test]
fn values_are_fit_for_a_header() {
    let odd = CallerIdentity {
        phone: Some("+7 (926) 123"),
        username: Some("@Ann_B"),
        user_id: 1,
        first_name: "  \"A\\nn\"\r\nX: y",
        last_name: "\u{7}☎ ",
    };
    assert_eq!(
        name("{phone} {username}", &odd).as_deref(),
        Some("7926123 Ann_B")
    );
    assert_eq!(name("{name}", &odd).as_deref(), Some("\"A\\nn\"X: y ☎"));
    let ascii = name("{name_ascii}", &odd).unwrap();
    assert!(ascii.starts_with("AnnX: y"), "{ascii}");
    assert!(
        ascii
            .bytes()
            .all(|b| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\')
    );
    let nameless = CallerIdentity {
        phone: Some("hidden"),
        username: Some(" "),
        first_name: "\u{202e}\"\\\r\n",
        last_name: "",
        ..odd
    };
    assert_eq!(name("{name_ascii}\n{phone}\n{username}", &nameless), None);
    let endless = "x".repeat(10_000);
    let endless = CallerIdentity {
        first_name: &endless,
        ..BARE
    };
    assert_eq!(name("{name}{name}", &endless).unwrap().len(), 128);
}

#[test]
fn a_dialplan_finds_what_is_known_in_headers() {
    let call = CallId::new(1, 2);
    let headers = |caller: &CallerIdentity<'_>| {
        let headers = caller_headers(caller, call).into_iter();
        headers
            .map(|(name, value)| format!("{name}: {value}"))
            .collect::<Vec<_>>()
    };
    let context = format!("X-GW-Context: {call}");
    assert_eq!(
        headers(&ANN),
        [
            "X-TG-ID: 4242",
            "X-TG-FirstName: Анна",
            "X-TG-LastName: Б.",
            "X-TG-Username: ann",
            "X-TG-Phone: 79261234567",
            &context,
        ]
    );
    let unknown = CallerIdentity {
        user_id: 7,
        first_name: "A\r\nX-Evil: 1\u{0}",
        ..CallerIdentity::default()
    };
    assert_eq!(
        headers(&unknown),
        ["X-TG-ID: 7", "X-TG-FirstName: AX-Evil: 1", &context]
    );
    let endless = "я".repeat(10_000);
    let endless = CallerIdentity {
        first_name: &endless,
        last_name: &endless,
        username: Some(&endless),
        phone: Some("123456789012345"),
        user_id: i64::MAX,
    };
    for (name, value) in caller_headers(&endless, call) {
        assert!(value.chars().count() <= 128, "{name}");
    }
}
