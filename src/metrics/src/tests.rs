use std::collections::BTreeSet;
use std::time::Duration;

use model::{CallId, CallRecord, Cause, Direction, Outcome, Reason, Side, TrunkName};

use super::*;

fn record(answered: bool) -> CallRecord {
    CallRecord {
        id: CallId::new(1, 1),
        direction: Direction::SipToTg,
        trunk: "office".into(),
        session: "main".into(),
        from: String::new(),
        to: String::new(),
        started_ms: 1,
        ringing_after_ms: None,
        answered_after_ms: answered.then_some(1000),
        ended_after_ms: Some(4000),
        ended_by: None,
        outcome: Some(if answered {
            Outcome::Answered
        } else {
            Outcome::Declined
        }),
        legs: Vec::new(),
    }
}

fn value(text: &str, series: &str) -> String {
    let line = text
        .lines()
        .find(|line| line.starts_with(series))
        .unwrap_or_else(|| panic!("no series {series}"));
    line.rsplit_once(' ').unwrap().1.to_owned()
}

#[test]
fn every_family_is_there_before_anything_happened() {
    let metrics = Metrics::new("0.1.0");
    metrics.add_trunk(&"office".parse().unwrap(), 3);
    metrics.add_session(&"main".parse().unwrap());
    let text = metrics.render();
    let families: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next())
        .collect();
    assert!(
        families.iter().all(|name| name.starts_with("strowger_")),
        "{families:?}"
    );
    assert!(families.len() >= 50, "{} families", families.len());
    for family in &families {
        let has_series = text
            .lines()
            .any(|line| !line.starts_with('#') && line.starts_with(family));
        assert!(has_series, "{family} has no series");
    }
    assert_eq!(
        value(&text, "strowger_trunk_lines_limit{trunk=\"office\"}"),
        "3"
    );
}

#[test]
fn an_outcome_is_counted_once() {
    let metrics = Metrics::new("0.1.0");
    let trunk: TrunkName = "office".parse().unwrap();
    metrics.add_trunk(&trunk, 0);
    metrics.call_over(
        &record(true),
        &Cause::new(Reason::NormalClearing),
        Side::Telegram,
    );
    metrics.call_over(
        &record(false),
        &Cause::new(Reason::UserDeclined),
        Side::Telegram,
    );
    let text = metrics.render();
    let completed = |result: &str| {
        value(
            &text,
            &format!(
                "strowger_calls_completed_total{{direction=\"sip_to_tg\",result=\"{result}\",trunk=\"office\"}}"
            ),
        )
    };
    assert_eq!(
        (
            completed("answered"),
            completed("declined"),
            completed("failed")
        ),
        ("1".into(), "1".into(), "0".into())
    );
    assert_eq!(
        value(
            &text,
            "strowger_call_talk_seconds_total{direction=\"sip_to_tg\",trunk=\"office\"}"
        ),
        "3"
    );
    assert_eq!(
        value(
            &text,
            "strowger_call_teardown_total{cause=\"normal\",side=\"telegram\"}"
        ),
        "1"
    );
    let failure = "strowger_call_failures_total{code=\"486\",direction=\"sip_to_tg\",reason=\"user_declined\",side=\"telegram\",trunk=\"office\"}";
    assert_eq!(value(&text, failure), "1");
}

#[test]
fn strangers_make_no_new_series() {
    let metrics = Metrics::new("0.1.0");
    for n in 0..300 {
        metrics.add_trunk(&format!("trunk{n}").parse().unwrap(), 0);
    }
    let before = metrics.render().lines().count();
    metrics.sip_request(Flow::In, "X-INVENTED");
    metrics.sip_response(Flow::Out, "X-INVENTED", 699);
    metrics.call_attempt(Direction::SipToTg, &"never-configured".parse().unwrap());
    metrics.http("/../../etc/passwd", "BREW", 418);
    metrics.call_protocol("99.0.0");
    let after = metrics.render().lines().count();
    assert!(after - before <= 2, "{before} -> {after}");
}

#[test]
fn the_series_of_a_deleted_trunk_and_session_are_gone() {
    let metrics = Metrics::new("0.1.0");
    metrics.add_trunk(&"office".parse().unwrap(), 0);
    metrics.add_session(&"main".parse().unwrap());
    metrics.flood_wait(
        &"main".parse().unwrap(),
        "requestCall",
        Duration::from_secs(9),
        1.0,
    );
    metrics.remove_trunk(&"office".parse().unwrap());
    metrics.remove_session(&"main".parse().unwrap());
    let text = metrics.render();
    assert!(!text.contains("\"office\"") && !text.contains("\"main\""));
}
