use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use model::{
    CallId, CallRecord, Cause, Codec, Direction, LegKind, Missing, Outcome, Reason, SessionName,
    Side, TrunkName,
};

use super::*;

const THERE: Direction = Direction::SipToTg;

fn trunk(name: &str) -> TrunkName {
    name.parse().unwrap()
}

fn session(name: &str) -> SessionName {
    name.parse().unwrap()
}

fn record(direction: Direction, answered: bool, outcome: Outcome) -> CallRecord {
    CallRecord {
        id: CallId::new(1, 1),
        direction,
        trunk: "office".into(),
        session: "main".into(),
        from: String::new(),
        to: String::new(),
        diverted_from: None,
        started_ms: 1,
        ringing_after_ms: None,
        answered_after_ms: answered.then_some(1000),
        ended_after_ms: Some(4000),
        ended_by: None,
        outcome: Some(outcome),
        to_trunk: String::new(),
        details: model::CallDetails::default(),
        legs: Vec::new(),
    }
}

/// A house with one trunk and one session.
fn furnished() -> Metrics {
    let metrics = Metrics::new("0.1.0");
    metrics.add_trunk(&trunk("office"), 3);
    metrics.add_session(&session("main"));
    metrics
}

/// One line of the page: name, labels, value.
type Sample = (String, BTreeMap<String, String>, f64);

fn samples(metrics: &Metrics) -> Vec<Sample> {
    let text = metrics.render();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels
                .trim_end_matches('}')
                .split("\",")
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (label, value) = pair.split_once("=\"").unwrap();
                    (label.to_owned(), value.trim_end_matches('"').to_owned())
                })
                .collect();
            (name.to_owned(), labels, value.parse().unwrap())
        })
        .collect()
}

/// The family a line belongs to; none for the figures of the process.
fn family_of<'a>(metrics: &'a Metrics, sample: &str) -> Option<&'a Family> {
    metrics.families().iter().find(|family| {
        let parts = ["_bucket", "_sum", "_count"];
        sample == family.name
            || family.kind == FamilyKind::Histogram
                && parts
                    .iter()
                    .any(|end| sample.strip_suffix(end) == Some(&family.name))
    })
}

fn value(metrics: &Metrics, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let name = format!("strowger_{name}");
    samples(metrics)
        .into_iter()
        .find(|(sample, found, _)| {
            *sample == name
                && labels
                    .iter()
                    .all(|(label, value)| found.get(*label).is_some_and(|v| v == value))
        })
        .map(|(_, _, value)| value)
}

/// Reports every fact at least once.
fn tell_everything(metrics: &Metrics) {
    let (trunk, session) = (trunk("office"), session("main"));
    let second = Duration::from_secs(1);
    metrics.call_attempt(THERE, &trunk);
    metrics.role("worker", true, true);
    metrics.role("storage", true, true);
    metrics.role("manager", true, true);
    metrics.call_state(THERE, &trunk, None, Some(CallState::Setup));
    let answered = record(THERE, true, Outcome::Answered);
    metrics.call_over(&answered, &Cause::new(Reason::NormalClearing), Side::Sip);
    let refused = record(THERE, false, Outcome::Limited);
    metrics.call_over(&refused, &Cause::new(Reason::LinesLimit), Side::Here);
    metrics.post_dial_delay(THERE, second);
    metrics.farewell(LegKind::Telegram);
    metrics.answer_delay(THERE, second);
    metrics.media_setup(THERE, second);
    metrics.one_way(THERE, Missing::Telegram);
    metrics.dtmf(LegKind::Sip, DtmfMethod::Rfc4733);
    metrics.transfer(TransferKind::Blind, true);
    metrics.update_lost();
    metrics.transfer(TransferKind::Attended, false);
    metrics.trunk_enabled(&trunk, true);
    metrics.session_enabled(&session, true);
    metrics.trunk_state(&trunk, true, 1);
    metrics.registration(&trunk, RegistrationState::Registered, Some(1_700_000_000));
    metrics.registration_attempt(&trunk, "ok");
    metrics.options_answered(&trunk, second);
    metrics.trunk_lines_in_use(&trunk, 2);
    metrics.trunk_lines_rejected(&trunk);
    metrics.trunk_failure_limit(&trunk, 10);
    metrics.trunk_failures(&trunk, 10, true);
    metrics.quota_refused(Reason::FailCalls);
    metrics.trunk_last_error(&trunk, 503);
    assert_eq!(metrics.last_error_of(&trunk), Some(503));
    metrics.sip_request(Flow::In, "INVITE");
    metrics.sip_response(Flow::Out, "INVITE", 200);
    metrics.sip_retransmitted(Flow::Out, "BYE", 2);
    metrics.sip_request_answered("INVITE", second);
    metrics.sip_parse_error(model::Transport::Udp);
    metrics.sip_connections(model::Transport::Tls, 2);
    metrics.sip_transactions(1, 2);
    metrics.sip_auth_failure("wrong_password");
    metrics.sip_dropped(3);
    metrics.sip_over_limit("head");
    metrics.sip_banned_addresses(1);
    metrics.sip_ping_ignored();
    metrics.sip_over_budget();
    metrics.sip_banned();
    metrics.sip_malformed();
    metrics.session_state(&session, SessionState("running"));
    let flood = Some("FLOOD_WAIT");
    metrics.rpc(&session, "requestCall", RpcResult::Flood, flood, second);
    metrics.flood_wait(&session, "requestCall", Duration::from_secs(17));
    metrics.waits(&session, Some(1_700_000_000), Some(1_700_000_000));
    metrics.local_refusal(&session, "call", LocalRefusal::FloodWait);
    metrics.reconnected(&session);
    metrics.caller_left_alone(&session);
    metrics.clock_ahead(300);
    metrics.update("phone_call");
    metrics.resolved(ResolveSource::Network, ResolveResult::Ok);
    metrics.call_protocol("13.0.0");
    let media = metrics.media();
    media.tick_lateness.observe(0.0003);
    media.ports_used.set(4);
    media.ports_free.set(96);
    let leg = media.leg(LegKind::Telegram);
    leg.received(Codec::Opus).inc();
    leg.sent(Codec::Opus).inc();
    leg.received_event().inc();
    leg.sent_event().inc();
    leg.bytes_in.inc_by(160);
    leg.bytes_out.inc_by(160);
    leg.lost.inc();
    leg.concealed.inc();
    leg.discarded(Discard::Late).inc();
    leg.jitter.observe(0.003);
    leg.depth.observe(0.06);
    leg.round_trip.observe(0.08);
    leg.loss_ratio.observe(0.002);
    leg.mos.observe(4.2);
    media.signaling_dropped_in.inc();
    media.path_p2p.inc();
    media.path_relay_udp.inc();
    media.path_relay_tcp.inc();
    media.ice_restarts.inc();
    let turned = media.transcoding(Codec::Opus, Codec::Alaw).unwrap();
    turned.active.inc();
    turned.frames.inc();
    turned.seconds.inc_by(0.5);
    assert!(media.transcoding(Codec::Alaw, Codec::Alaw).is_none());
    metrics.ready(true);
    metrics.panicked();
    metrics.config_applied(1.7e9);
    metrics.log_event("warn");
    metrics.actor_started("call");
    metrics.mailbox_full("endpoint");
    metrics.actor_died("trunk", true);
    metrics.actor_messages("call").inc();
    std::mem::forget(metrics.telegram_connection(2));
    metrics.actor_waited("call", 1, Duration::from_millis(2), 3);
    metrics.store(500_000, [1, 2, 3, 4]);
    metrics.store_operation(StoreOp::Put, Duration::from_millis(1));
    metrics.unreadable_record();
    metrics.data_disk_free(1 << 30);
    metrics.flushed(Duration::from_millis(1), true, 1.7e9);
    metrics.flushed(Duration::from_millis(1), false, 1.7e9);
    metrics.backups_nightly(true);
    metrics.backup(Some(4096), 1.7e9);
    metrics.backup(None, 1.7e9);
    metrics.stores_set_aside(1);
    metrics.thread_stalled("keeper");
    metrics.load(true, &["cpu", "transactions"], 0.5);
    metrics.call_shed("sip", "cpu");
    metrics.sip_stale();
    assert_eq!((metrics.calls_shed(), metrics.mailboxes_refused()), (1, 1));
    for kind in model::EventKind::ALL {
        metrics.event(*kind);
    }
    metrics.event_listeners(1);
    metrics.event_listener_dropped();
    metrics.webhook_delivery(model::EventKind::CallEnded, DeliveryResult::Ok);
    metrics.webhook_posted(model::EventKind::ConfigChanged, second);
    metrics.webhook_queue(3);
    metrics.webhook_events_missed(2);
    metrics.record_written(true);
    metrics.record_passed_on("csv", true);
    metrics.records_waiting("json", 3);
    metrics.http("/metrics", "GET", 200, second);
}

#[test]
fn every_family_is_on_the_page_with_its_help_before_anything_happened() {
    let metrics = furnished();
    let text = metrics.render();
    let samples = samples(&metrics);
    for family in metrics.families() {
        let help = format!("# HELP {} {}", family.name, family.help);
        assert!(text.lines().any(|line| line == help), "{}", family.name);
        assert!(family.name.starts_with("strowger_") && family.help.ends_with('.'));
        let counts = family.kind == FamilyKind::Counter;
        assert_eq!(counts, family.name.ends_with("_total"), "{}", family.name);
        let series = samples
            .iter()
            .filter_map(|(name, _, _)| family_of(&metrics, name));
        assert!(
            series.into_iter().any(|found| found.name == family.name),
            "{} has no series",
            family.name
        );
    }
    let described: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next())
        .collect();
    let (process, ours): (Vec<&str>, Vec<&str>) = described
        .into_iter()
        .partition(|name| name.starts_with("process_"));
    assert_eq!(ours.len(), metrics.families().len());
    assert!(process.contains(&"process_cpu_seconds_total"));
    assert!(process.contains(&"process_resident_memory_bytes"));
}

#[test]
fn every_family_is_moved_by_some_fact() {
    let metrics = furnished();
    tell_everything(&metrics);
    let samples = samples(&metrics);
    for family in metrics.families() {
        let moved = samples.iter().any(|(name, _, value)| {
            *value != 0.0 && family_of(&metrics, name).is_some_and(|f| f.name == family.name)
        });
        assert!(moved, "{} never moves", family.name);
    }
}

#[test]
fn every_label_value_is_from_a_closed_list_or_configured() {
    let metrics = furnished();
    tell_everything(&metrics);
    metrics.sip_request(Flow::In, "FROBNICATE");
    metrics.sip_response(Flow::In, "SUBSCRIBE", 489);
    metrics.sip_response(Flow::In, "INVITE", 65_535);
    let (nobody, main) = (trunk("nobody"), session("main"));
    let error = Some("NEVER_SEEN");
    let second = Duration::from_secs(1);
    metrics.rpc(&main, "frobnicate", RpcResult::Error, error, second);
    metrics.call_protocol("99.0.0");
    metrics.http("/wp-login.php", "BREW", 418, second);
    metrics.call_attempt(Direction::SipToSip, &nobody);
    metrics.trunk_state(&nobody, true, 1);
    metrics.session_state(&session("nobody"), SessionState("running"));
    metrics.actor_started("stranger");
    let mut odd = record(Direction::TgToSip, false, Outcome::Failed);
    odd.trunk = "\"} 1\n".into();
    metrics.call_over(&odd, &Cause::sip_refused(699, "Go away"), Side::Sip);
    for (name, labels, _) in samples(&metrics) {
        let Some(family) = family_of(&metrics, &name) else {
            assert!(name.starts_with("process_"), "{name}");
            continue;
        };
        for (label, value) in labels.iter().filter(|(label, _)| *label != "le") {
            let list = family.labels.iter().find(|l| l.name == label).unwrap();
            let allowed = match &list.values {
                LabelValues::Closed(values) => values.contains(&value.as_str()),
                LabelValues::Trunk => ["office", "other"].contains(&value.as_str()),
                LabelValues::Session => ["main", "other"].contains(&value.as_str()),
                LabelValues::Build => true,
            };
            assert!(allowed, "{name} {label}={value}");
        }
    }
}

#[test]
fn no_fact_makes_a_series_that_was_not_there_before() {
    let metrics = furnished();
    let before = samples(&metrics).len();
    tell_everything(&metrics);
    for row in Reason::TABLE {
        let cause = match row.reason {
            Reason::SipRefused => Cause::sip_refused(486, "Busy"),
            reason => Cause::new(reason),
        };
        for direction in [Direction::SipToTg, Direction::TgToSip] {
            let labels = [
                ("direction", direction.label()),
                ("trunk", "office"),
                ("reason", row.name),
            ];
            if value(&metrics, "call_failures_total", &labels).is_some() {
                let over = record(direction, false, row.outcome);
                metrics.call_over(&over, &cause, row.side);
            }
        }
    }
    assert_eq!(samples(&metrics).len(), before);
}

#[test]
fn who_ended_an_answered_call_and_why_is_told_apart() {
    let metrics = furnished();
    let answered = record(THERE, true, Outcome::Answered);
    for (reason, side, cause) in [
        (Reason::NormalClearing, Side::Sip, "normal"),
        (Reason::NormalClearing, Side::Here, "operator"),
        (Reason::SessionExpired, Side::Sip, "session_timer"),
        (Reason::CallDuration, Side::Here, "max_duration"),
        (Reason::TotalDuration, Side::Here, "max_duration"),
        (Reason::RtpTimeout, Side::Sip, "media_timeout"),
        (Reason::WorkerNotReady, Side::Here, "shutdown"),
        (Reason::InternalError, Side::Here, "error"),
    ] {
        let labels = [("side", side.label()), ("cause", cause)];
        let count = || value(&metrics, "call_teardown_total", &labels).unwrap();
        let before = count();
        metrics.call_over(&answered, &Cause::new(reason), side);
        assert!(count() > before, "{reason:?} by {side:?} is no {cause}");
    }
}

#[test]
fn every_reason_of_a_failed_call_is_touched() {
    let metrics = furnished();
    // Ends of registrations, of answered calls, and of single legs.
    let never = [
        "normal_clearing",
        "answered_by_another",
        "session_inactive",
        "worker_address_not_set",
        "interval_too_brief",
        "too_many_hops",
        "rtp_timeout",
        "media_lost",
        "call_duration",
        // Of texts.
        "no_text",
        "text_too_long",
        "unsupported_text",
    ];
    for row in Reason::TABLE {
        let labels = [("trunk", "office"), ("reason", row.name)];
        let touched = value(&metrics, "call_failures_total", &labels).is_some();
        assert_eq!(touched, !never.contains(&row.name), "{}", row.name);
    }
}

#[test]
fn a_reason_is_touched_in_the_direction_in_which_calls_fail_for_it() {
    let metrics = furnished();
    let touched = |direction: Direction, reason: Reason| {
        let name = Cause::new(reason).name();
        let labels = [
            ("direction", direction.label()),
            ("trunk", "office"),
            ("reason", name),
        ];
        value(&metrics, "call_failures_total", &labels).is_some()
    };
    // A PBX asks for fewer calls of those that go there.
    let fewer = Reason::SipHeldBack;
    assert!(touched(Direction::TgToSip, fewer) && !touched(Direction::SipToTg, fewer));
    // An ordered call, and who is called back, is a person called first.
    for person in [
        Reason::UserDeclined,
        Reason::UserPrivacyRestricted,
        Reason::UsernameNotOccupied,
        Reason::TemporarilyUnavailable,
        Reason::PeerFlood,
    ] {
        assert!(touched(Direction::SipToTg, person), "{person:?}");
        assert!(touched(Direction::TgToSip, person), "{person:?}");
    }
}

#[test]
fn an_outcome_is_counted_once() {
    let metrics = furnished();
    let answered = record(THERE, true, Outcome::Answered);
    let cause = Cause::new(Reason::NormalClearing);
    metrics.call_over(&answered, &cause, Side::Telegram);
    let declined = record(THERE, false, Outcome::Declined);
    let cause = Cause::new(Reason::UserDeclined);
    metrics.call_over(&declined, &cause, Side::Telegram);
    let completed = |result: &str| {
        value(
            &metrics,
            "calls_completed_total",
            &[("trunk", "office"), ("result", result)],
        )
    };
    assert_eq!(completed("answered"), Some(1.0));
    assert_eq!(completed("declined"), Some(1.0));
    assert_eq!(completed("failed"), Some(0.0));
    let office = [("trunk", "office")];
    assert_eq!(
        value(&metrics, "call_talk_seconds_total", &office),
        Some(3.0)
    );
    let normal = [("side", "telegram"), ("cause", "normal")];
    assert_eq!(value(&metrics, "call_teardown_total", &normal), Some(1.0));
    let failure = [
        ("code", "486"),
        ("reason", "user_declined"),
        ("trunk", "office"),
    ];
    assert_eq!(value(&metrics, "call_failures_total", &failure), Some(1.0));
}

#[test]
fn a_deleted_trunk_and_session_leave_nothing_behind() {
    let metrics = Metrics::new("0.1.0");
    let before = samples(&metrics).len();
    metrics.add_trunk(&trunk("office"), 3);
    metrics.add_session(&session("main"));
    tell_everything(&metrics);
    // A code and a direction that no row foresaw.
    let odd = record(Direction::SipToSip, false, Outcome::Failed);
    metrics.call_over(&odd, &Cause::sip_refused(699, "?"), Side::Sip);
    metrics.remove_trunk(&trunk("office"));
    metrics.remove_session(&session("main"));
    let text = metrics.render();
    assert!(!text.contains("\"office\"") && !text.contains("\"main\""));
    assert_eq!(samples(&metrics).len(), before);
    // The call that was up when its trunk was deleted neither brings it back nor counts below zero.
    metrics.call_state(THERE, &trunk("office"), Some(CallState::Setup), None);
    let active: f64 = samples(&metrics)
        .iter()
        .filter(|(name, _, _)| name == "strowger_calls_active")
        .map(|(_, _, value)| value)
        .sum();
    assert!(active.abs() < f64::EPSILON, "{active}");
    assert_eq!(samples(&metrics).len(), before);
}

#[test]
fn a_call_on_hold_is_counted_as_such() {
    let metrics = Metrics::new("0.1.0");
    metrics.add_trunk(&trunk("office"), 1);
    let now = |state: &str| {
        let labels = [
            ("trunk", "office"),
            ("direction", THERE.label()),
            ("state", state),
        ];
        value(&metrics, "calls_active", &labels)
    };
    assert_eq!(now("held"), Some(0.0), "touched before there was one");
    let office = trunk("office");
    let (talks, held) = (Some(CallState::Established), Some(CallState::Held));
    metrics.call_state(THERE, &office, None, talks);
    metrics.call_state(THERE, &office, talks, held);
    assert_eq!((now("established"), now("held")), (Some(0.0), Some(1.0)));
    metrics.call_state(THERE, &office, held, None);
    assert_eq!(now("held"), Some(0.0));
}

#[test]
fn more_than_200_trunks_share_one_name() {
    let metrics = Metrics::new("0.1.0");
    for number in 0..NAMES_MAX + 5 {
        metrics.add_trunk(&trunk(&format!("trunk-{number}")), 1);
    }
    let last = trunk("trunk-204");
    metrics.call_attempt(THERE, &last);
    let attempts = |name: &str| {
        let labels = [("trunk", name), ("direction", THERE.label())];
        value(&metrics, "call_attempts_total", &labels)
    };
    assert_eq!(attempts("trunk-199"), Some(0.0));
    assert_eq!(attempts("trunk-204"), None);
    assert_eq!(attempts("other"), Some(1.0));
    metrics.remove_trunk(&trunk("trunk-0"));
    metrics.add_trunk(&last, 1);
    assert_eq!(attempts("trunk-204"), Some(0.0));
}

#[test]
fn a_session_is_in_one_state_at_a_time() {
    let metrics = furnished();
    metrics.session_state(&session("main"), SessionState("running"));
    metrics.session_state(&session("main"), SessionState("flood_wait"));
    let states: Vec<Sample> = samples(&metrics)
        .into_iter()
        .filter(|(name, labels, value)| {
            name == "strowger_telegram_session_state"
                && labels.get("session").is_some_and(|s| s == "main")
                && *value > 0.0
        })
        .collect();
    assert_eq!(states.len(), 1, "{states:?}");
    let up = value(&metrics, "telegram_session_up", &[("session", "main")]);
    assert_eq!(up, Some(0.0));
}

/// The bound is for a release build on an idle machine (50 ms); here it only catches what grows out of hand.
#[test]
fn a_page_with_100_trunks_stays_small() {
    let metrics = Metrics::new("0.1.0");
    for number in 0..100 {
        metrics.add_trunk(&trunk(&format!("trunk-{number}")), 1);
    }
    for number in 0..20 {
        metrics.add_session(&session(&format!("session-{number}")));
    }
    let started = Instant::now();
    let text = metrics.render();
    let took = started.elapsed();
    let series = samples(&metrics).len();
    println!("{series} series, {} kB, {took:?}", text.len() / 1024);
    assert!(text.len() < 2 << 20, "{} bytes", text.len());
    // Each reason is a series of each trunk, and their table grows by what an operator can be told.
    let reasons = samples(&metrics)
        .iter()
        .filter(|(name, ..)| name == "strowger_call_failures_total")
        .count();
    assert!(
        series - reasons < 7_500,
        "{series} series, {reasons} of reasons"
    );
}

/// `docs/metrics.md` lists what there is; `UPDATE_DOCS=1 cargo test -p metrics` writes it.
#[test]
fn the_page_of_metrics_lists_every_family() {
    let page = crate::page(Metrics::new("0.0.0").families());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap_or_default(),
        page,
        "run UPDATE_DOCS=1 cargo test -p metrics"
    );
}

/// `strowger_trunk_up == 0` would be true for ever of a trunk that nobody has.
#[test]
fn what_is_told_of_each_trunk_and_session_alone_is_not_told_of_others() {
    let metrics = furnished();
    let (nobody, no_session) = (trunk("nobody"), session("nobody"));
    metrics.trunk_state(&nobody, true, 1);
    metrics.session_state(&no_session, SessionState("running"));
    metrics.waits(&no_session, Some(1_700_000_000), None);
    let of_others: BTreeSet<String> = samples(&metrics)
        .into_iter()
        .filter(|(name, labels, _)| {
            let other = |label| labels.get(label).is_some_and(|name| name == "other");
            let gauge = family_of(&metrics, name).is_some_and(|it| it.kind == FamilyKind::Gauge);
            gauge && (other("trunk") || other("session"))
        })
        .map(|(name, ..)| name)
        .collect();
    // The one that is counted up and down, so that theirs add up.
    let counted = BTreeSet::from(["strowger_calls_active".to_owned()]);
    assert_eq!(of_others, counted);
    let office = [("trunk", "office")];
    assert_eq!(value(&metrics, "trunk_up", &office), Some(0.0));
}

/// Rules and dashboards may name only what exists: families, their labels, and values of these.
#[test]
fn the_alert_rules_name_only_what_exists() {
    let rules = include_str!("../../../dashboards/strowger.rules.yml");
    let metrics = Metrics::new("0.0.0");
    let (mut named, mut matched) = (0, 0);
    for (at, _) in rules.match_indices("strowger_") {
        let rest = &rules[at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let (name, rest) = rest.split_at(end.unwrap());
        let family = family_of(&metrics, name).unwrap_or_else(|| panic!("no family {name}"));
        named += 1;
        let Some((matchers, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'))
        else {
            continue;
        };
        for matcher in matchers.split(',') {
            let (label, values) = matcher.split_once('=').unwrap();
            let label = label.trim_end_matches('!');
            let known = family.labels.iter().find(|known| known.name == label);
            let known = known.unwrap_or_else(|| panic!("{name} has no {label}"));
            let values = values.trim_start_matches('~').trim_matches('"');
            if let LabelValues::Closed(list) = &known.values {
                for value in values.split('|') {
                    assert!(list.contains(&value), "{name}{{{matcher}}}");
                    matched += 1;
                }
            }
        }
    }
    assert!(named > 5 && matched > 5, "{named} {matched}");
}
