//! What an operator meets: configuration, command line, admin listener.

use std::fs;

use crate::deadline::{s, until};
use crate::house::{House, SESSION, TRUNK};
use crate::talk::{ALAW, Caller, Ends, Talk};

#[test]
fn an_unknown_setting_is_named_with_its_line_and_a_suggestion() {
    let house = House::new().not_logged_in().build();
    let path = house.dir().join("strowger.toml");
    let mut text = fs::read_to_string(&path).unwrap();
    let line = text.lines().count() + 1;
    text.push_str("rtp.rnage = \"1-2\"\n");
    fs::write(&path, text).unwrap();
    let (code, said) = house.command(&["run"], "");
    assert_eq!(code, 3, "{said}");
    assert!(said.contains(&format!("strowger.toml:{line}")), "{said}");
    assert!(said.contains("rnage") && said.contains("range"), "{said}");
}

#[test]
fn a_bad_record_is_refused_and_changes_nothing() {
    let house = House::new()
        .registering_trunk(&["alaw"])
        .not_logged_in()
        .build();
    let records = house.dir().join("records.toml");
    let good = fs::read_to_string(&records).unwrap();
    fs::write(&records, good.replace("[\"alaw\"]", "[]")).unwrap();
    let (code, said) = house.command(&["apply", "records.toml"], "");
    assert_ne!(code, 0, "{said}");
    assert!(said.contains(TRUNK) && said.contains("codec"), "{said}");
    let exported = house.dir().join("exported.toml");
    house.expect_command(&["export", exported.to_str().unwrap()], "");
    assert!(fs::read_to_string(exported).unwrap().contains("alaw"));
}

#[test]
fn the_three_probes_answer() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(
            house.admin().text(path).map(|answer| answer.0),
            Some(200),
            "{path}"
        );
    }
    assert_eq!(
        house.admin().text("/nothing").map(|answer| answer.0),
        Some(404)
    );
    house.assert_clean(&[]);
}

/// The families of which every series exists before anything has happened.
const AT_START: &[(&str, &[(&str, &str)])] = &[
    ("strowger_build_info", &[]),
    ("strowger_ready", &[]),
    ("strowger_panics_total", &[]),
    (
        "strowger_call_attempts_total",
        &[("direction", "sip_to_tg"), ("trunk", TRUNK)],
    ),
    (
        "strowger_calls_completed_total",
        &[
            ("direction", "tg_to_sip"),
            ("trunk", TRUNK),
            ("result", "busy"),
        ],
    ),
    (
        "strowger_call_failures_total",
        &[("trunk", TRUNK), ("reason", "flood_wait")],
    ),
    (
        "strowger_calls_active",
        &[
            ("direction", "sip_to_tg"),
            ("trunk", TRUNK),
            ("state", "established"),
        ],
    ),
    ("strowger_call_talk_seconds_total", &[("trunk", TRUNK)]),
    (
        "strowger_call_teardown_total",
        &[("side", "sip"), ("cause", "normal")],
    ),
    ("strowger_trunk_up", &[("trunk", TRUNK)]),
    ("strowger_trunk_lines_in_use", &[("trunk", TRUNK)]),
    ("strowger_registrar_bindings", &[("trunk", TRUNK)]),
    (
        "strowger_sip_messages_total",
        &[
            ("direction", "in"),
            ("kind", "request"),
            ("method", "INVITE"),
        ],
    ),
    ("strowger_sip_parse_errors_total", &[("transport", "udp")]),
    ("strowger_telegram_session_up", &[("session", SESSION)]),
    (
        "strowger_telegram_session_state",
        &[("session", SESSION), ("state", "running")],
    ),
    (
        "strowger_telegram_rpc_total",
        &[("method", "requestCall"), ("result", "ok")],
    ),
    (
        "strowger_rtp_packets_total",
        &[("leg", "telegram"), ("direction", "in"), ("codec", "opus")],
    ),
    ("strowger_rtp_ports", &[("state", "free")]),
    ("strowger_actors", &[("actor", "registry")]),
    (
        "strowger_actor_restarts_total",
        &[("actor", "session"), ("cause", "panic")],
    ),
    ("strowger_actor_messages_total", &[("actor", "keeper")]),
    (
        "strowger_sip_retransmissions_total",
        &[("direction", "out"), ("method", "INVITE")],
    ),
    (
        "strowger_calls_one_way_total",
        &[("direction", "tg_to_sip"), ("missing", "both")],
    ),
    (
        "strowger_telegram_resolves_total",
        &[("source", "cache"), ("result", "ok")],
    ),
    (
        "strowger_telegram_call_paths_total",
        &[("path", "relay_tcp")],
    ),
    (
        "strowger_transcodings_active",
        &[("from", "pcma"), ("to", "opus")],
    ),
    ("strowger_store_size_bytes", &[]),
    ("process_cpu_seconds_total", &[]),
    ("process_resident_memory_bytes", &[]),
];

#[test]
fn every_series_exists_from_the_start() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    let metrics = house.metrics();
    for (name, labels) in AT_START {
        assert!(
            metrics.value(name, labels).is_some(),
            "{name}{labels:?} is missing; there are {:?}",
            metrics.names()
        );
    }
    assert_eq!(metrics.value("strowger_ready", &[]), Some(1.0));
    assert!(metrics.sum_of("strowger_disk_free_bytes", &[("dir", "data")]) > 0.0);
    let read = [("op", "scan")];
    assert!(metrics.sum_of("strowger_store_operation_seconds_count", &read) > 0.0);
    house.assert_clean(&[]);
}

#[test]
fn a_call_is_counted_once_everywhere() {
    let house = Talk::start(Caller::Pbx, "9.0.0", ALAW).end(Ends::Pbx);
    let log = house.log();
    let id = log.split_once(" call=").unwrap().1;
    let id = id.split_whitespace().next().unwrap();
    let said = house.expect_command(&["log", "call", id], "");
    for line in ["call begins", "call bridged", "call over"] {
        assert!(said.contains(line), "{line} is missing: {said}");
    }
    let metrics = house.metrics();
    let trunk = [("direction", "sip_to_tg"), ("trunk", TRUNK)];
    assert_eq!(
        metrics.value("strowger_call_attempts_total", &trunk),
        Some(1.0)
    );
    assert!((metrics.sum_of("strowger_calls_completed_total", &trunk) - 1.0).abs() < 0.1);
    assert!(metrics.sum("strowger_call_failures_total").abs() < 0.1);
    assert!(metrics.sum_of("strowger_call_talk_seconds_total", &trunk) > 1.0);
    assert_eq!(
        metrics.value(
            "strowger_call_teardown_total",
            &[("side", "sip"), ("cause", "normal")]
        ),
        Some(1.0)
    );
    let dc = house.telegram.dc().to_string();
    let connections = metrics.value("strowger_telegram_connections", &[("dc", &dc)]);
    assert_eq!(connections, Some(1.0));
    assert!(metrics.sum("strowger_transcode_cpu_seconds_total") > 0.0);
    until("an actor to have looked at its mailbox", s(15), || {
        let looks = house.metrics().sum("strowger_actor_wait_seconds_count");
        (looks >= 1.0).then_some(())
    });
    for leg in ["sip", "telegram"] {
        for direction in ["in", "out"] {
            let packets = metrics.sum_of(
                "strowger_rtp_packets_total",
                &[("leg", leg), ("direction", direction)],
            );
            // Telegram's apps put 60 ms into a packet.
            assert!(packets > 25.0, "{leg} {direction}: {packets} packets");
        }
    }
    assert_eq!(
        metrics.value(
            "strowger_telegram_rpc_total",
            &[("method", "requestCall"), ("result", "ok")]
        ),
        Some(1.0)
    );
    assert_eq!(
        metrics.value(
            "strowger_telegram_rpc_total",
            &[("method", "discardCall"), ("result", "ok")]
        ),
        Some(1.0)
    );
    assert!(metrics.sum("strowger_trunk_lines_in_use").abs() < 0.1);
}
