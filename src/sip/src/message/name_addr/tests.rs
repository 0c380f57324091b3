use super::*;

fn parse(text: &str) -> Result<NameAddr, ParseError> {
    text.parse()
}

#[test]
fn all_forms_are_read() {
    let full = parse("\"Quoted \\\"x\\\"\"  <sip:a@b;lr> ; tag = 1 ;q=0.3").unwrap();
    assert_eq!(full.display.as_deref(), Some("Quoted \"x\""));
    assert_eq!((full.tag(), full.params.get("Q")), (Some("1"), Some("0.3")));
    assert!(full.uri.params().unwrap().has("LR"));
    let bare = parse("sip:a@b;unknown").unwrap();
    assert!(bare.params.has("unknown") && bare.uri.params().unwrap().is_empty());
    assert_eq!(
        parse("caller<sip:a@b>").unwrap().display.as_deref(),
        Some("caller")
    );
    assert_eq!(parse("isbn:2983792873").unwrap().uri.scheme(), "isbn");
}

#[test]
fn broken_addresses_are_refused() {
    for text in [
        "\"Mr. J. User <sip:a@b>",
        "Bell, Alexander <sip:a@b>",
        "sip:a@b?Route=%3Csip:x%3E",
        "sip:a,c@b",
        "\"x\" sip:a@b",
        "<sip:a@b> x",
        "<sip:a@b>;;tag=1",
        "<sip:a@b>;tag=",
        "<sip:a@b",
        "",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_display_name_cannot_open_a_line() {
    let made =
        NameAddr::new("sip:a@b".parse().unwrap()).with_display("E\r\nvil: \"x\\\u{7f}\u{85}é");
    assert_eq!(made.to_string(), "\"Evil: \\\"x\\\\é\" <sip:a@b>");
    assert_eq!(parse(&made.to_string()).unwrap(), made);
    let long = NameAddr::new("sip:a@b".parse().unwrap()).with_display(&"ä".repeat(500));
    assert_eq!(
        parse(&long.to_string())
            .unwrap()
            .display
            .unwrap()
            .chars()
            .count(),
        128
    );
}
