//! Quotas and failure counters: calls that are cut, calls that are refused, trunks that are left alone, and that all of it outlives the process.

use std::time::Instant;

use crate::deadline::s;
use crate::house::{BRANCH, House, SESSION, TRUNK};
use crate::pbx::{Sipp, Verdict};
use crate::telegram::Behaviour;

/// A PBX known by its address whose calls leave by another, with a quota profile.
fn house(quota: &str) -> House {
    House::new()
        .quota(quota)
        .saying("quota = \"small\"")
        .peer_trunk(&["alaw"])
        .branch_saying("failure_limit = 2\nfailure_wait_seconds = 8")
        .leaves_by(&["alaw"])
        .start()
}

/// The second PBX, which answers and waits for the end.
fn answers(house: &House, name: &str) -> Sipp {
    let branch = Sipp::on(house.dir(), name, house.branch_port());
    branch.start("uas")
}

/// The first PBX calls and is refused.
fn refused(house: &House, name: &str, code: &str) -> Verdict {
    let pbx = Sipp::on(house.dir(), name, house.peer_port());
    let pbx = pbx.to(house.sip()).number("6001").key("code", code);
    pbx.run("uac_refused")
}

fn start_line(verdict: &Verdict) -> String {
    verdict.expect_ok().last_final().start().to_owned()
}

/// The first PBX calls, and is hung up on.
fn is_cut(house: &House, name: &str) -> f64 {
    let pbx = Sipp::on(house.dir(), name, house.peer_port());
    let began = Instant::now();
    let pbx = pbx.to(house.sip()).number("6001").limit(s(20));
    pbx.run("uac_peer_hangs_up").expect_ok();
    began.elapsed().as_secs_f64()
}

#[test]
fn a_call_is_cut_after_the_longest_that_its_quota_allows() {
    let mut house = house("call_seconds = 2");
    let branch = answers(&house, "branch");
    let took = is_cut(&house, "pbx");
    // How long it was exactly says the record; sipp has to be started, too.
    assert!(took >= 2.0, "{took} s");
    branch.wait(s(10)).expect_ok();
    house.wait_metric(
        "strowger_quota_refusals_total",
        &[("limit", "call_duration")],
        1.0,
    );
    house.wait_metric(
        "strowger_call_teardown_total",
        &[("cause", "max_duration")],
        1.0,
    );
    house.assert_clean(&[]);
    house.stop();
    let record = &house.records()[0];
    assert_eq!(
        (&record["outcome"], &record["ended_by"]),
        (&"answered".into(), &"here".into())
    );
    let ms =
        record["ended_after_ms"].as_u64().unwrap() - record["answered_after_ms"].as_u64().unwrap();
    assert!((2000..2500).contains(&ms), "{record:#}");
    let leg = &record["legs"][0];
    assert_eq!(leg["reason"], "call_duration", "{record:#}");
}

#[test]
fn who_has_talked_enough_calls_no_more_also_after_kill_9() {
    let mut house = house("total_seconds = 4\ntotal_window_seconds = 600");
    let branch = answers(&house, "branch-1");
    let pbx = Sipp::on(house.dir(), "pbx-1", house.peer_port());
    let pbx = pbx.to(house.sip()).number("6001").pause(s(2));
    pbx.run("uac").expect_ok();
    branch.wait(s(10)).expect_ok();
    // The rest of it.
    let branch = answers(&house, "branch-2");
    is_cut(&house, "pbx-2");
    branch.wait(s(10)).expect_ok();
    house.wait_metric(
        "strowger_quota_refusals_total",
        &[("limit", "total_duration")],
        1.0,
    );
    let phrase = "402 Total calls duration is exceeded";
    let shown = house.expect_command(&["--output", "json", "quota", "show", "trunk/office"], "");
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let talked = shown[0]["talked_ms"].as_u64().unwrap();
    assert!((3900..=4300).contains(&talked), "{shown:#}");
    assert_eq!(start_line(&refused(&house, "pbx-3", "402")), phrase);
    // The records of all three, and what was counted before, are on disk.
    let written = [("sink", "store"), ("result", "ok")];
    house.wait_metric("strowger_cdr_records_total", &written, 3.0);
    house.assert_clean(&[]);
    house.kill();
    house.start();
    assert_eq!(start_line(&refused(&house, "pbx-4", "402")), phrase);
    let said = house.expect_command(&["quota", "reset", "trunk/office"], "");
    assert_eq!(said.trim(), "trunk/office begins anew");
    let branch = answers(&house, "branch-5");
    let pbx = Sipp::on(house.dir(), "pbx-5", house.peer_port());
    let pbx = pbx.to(house.sip()).number("6001").pause(s(1));
    pbx.run("uac").expect_ok();
    branch.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn too_many_failed_calls_are_refused() {
    let mut house = house("fail_calls = 2");
    for n in 1..=2 {
        let branch = Sipp::on(house.dir(), &format!("branch-{n}"), house.branch_port());
        let branch = branch.key("code", "404").key("reason", "Not Found");
        let branch = branch.start("uas_reject");
        let refused = refused(&house, &format!("pbx-{n}"), "404");
        assert_eq!(start_line(&refused), "404 Not Found");
        branch.wait(s(10)).expect_ok();
    }
    let again = refused(&house, "pbx-3", "402");
    let phrase = "402 Amount of fail calls is exceeded";
    assert_eq!(start_line(&again), phrase);
    house.wait_metric(
        "strowger_quota_refusals_total",
        &[("limit", "fail_calls")],
        1.0,
    );
    house.assert_clean(&[]);
}

#[test]
fn a_trunk_that_fails_again_and_again_is_left_alone_for_a_while_and_then_tried() {
    let mut house = house("");
    let blocked = [("trunk", BRANCH)];
    let fails = |house: &House, n: u32| {
        let branch = Sipp::on(house.dir(), &format!("branch-{n}"), house.branch_port());
        let branch = branch.key("code", "503").key("reason", "Out of Order");
        let branch = branch.start("uas_reject");
        let refused = refused(house, &format!("pbx-{n}"), "503");
        assert_eq!(start_line(&refused), "503 Out of Order");
        branch.wait(s(10)).expect_ok();
    };
    fails(&house, 1);
    fails(&house, 2);
    house.wait_metric("strowger_trunk_blocked", &blocked, 1.0);
    house.wait_metric("strowger_trunk_consecutive_failures", &blocked, 2.0);
    // Nobody is asked.
    let phrase = "503 SIP account is unavailable";
    assert_eq!(start_line(&refused(&house, "pbx-3", "503")), phrase);
    house.wait_metric("strowger_trunk_blocked", &blocked, 0.0);
    // One trial, which fails, blocks it for twice as long.
    fails(&house, 4);
    house.wait_metric("strowger_trunk_blocked", &blocked, 1.0);
    let said = house.expect_command(&["trunk", "unblock", BRANCH], "");
    assert_eq!(said.trim(), "calls are placed on trunk branch again");
    house.wait_metric("strowger_trunk_blocked", &blocked, 0.0);
    let branch = answers(&house, "branch-5");
    let pbx = Sipp::on(house.dir(), "pbx-5", house.peer_port());
    let pbx = pbx.to(house.sip()).number("6001").pause(s(1));
    pbx.run("uac").expect_ok();
    branch.wait(s(10)).expect_ok();
    house.wait_metric("strowger_trunk_consecutive_failures", &blocked, 0.0);
    house.assert_clean(&[]);
}

#[test]
fn a_telegram_user_is_told_that_the_call_was_cut() {
    let mut house = House::new()
        .quota("call_seconds = 2")
        .session_saying("quota = \"small\"")
        .peer_trunk(&["alaw"])
        .start();
    house.wait_session_up();
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port()).echo();
    let pbx = pbx.start("uas");
    let talker = house.talker_of_own_tone("bobby", "9.0.0");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    pbx.wait(s(20)).expect_ok();
    let ended = house.telegram.wait_call(&call, "discarded", s(10));
    assert_eq!(ended["reason"], "hangup", "{ended}");
    let told = house.telegram.texts("bobby", 1, s(5));
    assert_eq!(told, ["402 The call was limited to 2 seconds"]);
    talker.finish();
    house.assert_clean(&[]);
    let metrics = house.metrics();
    let labels = [("trunk", TRUNK), ("result", "answered")];
    assert!(metrics.sum_of("strowger_calls_completed_total", &labels) > 0.5);
}

#[test]
fn a_user_has_so_many_calls_at_a_time_whoever_calls_whom() {
    let mut house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    for (user, phone) in [("bobby", "15550002"), ("dora", "15550005")] {
        house.telegram.user(user, phone, &Behaviour::declines());
    }
    let id = house.telegram.http().get("/accounts/bobby")["id"].to_string();
    let add = ["user", "add", "bob", "--telegram-id", &id, "--lines", "1"];
    house.expect_command(&add, "");
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port()).start("uas_noanswer");
    let first = house.telegram.call("bobby", SESSION, "9.0.0");
    house.telegram.wait_call(&first, "received", s(5));
    let calls = |name: &str, number: &str, code: &str| {
        let caller = Sipp::new(house.dir(), name).to(house.sip());
        let caller = caller.number(number).key("code", code);
        start_line(&caller.run("uac_refused"))
    };
    // By his number, which says who he is when Telegram has been asked; somebody else is free.
    let full = "402 Lines limit is exceeded";
    assert_eq!(calls("second", "+15550002", "402"), full);
    assert_eq!(calls("other", "dora", "486"), "486 User declined the call");
    let list = house.expect_command(&["user", "list"], "");
    assert!(list.contains("bob") && list.contains(&id), "{list}");
    house.telegram.discard("bobby", &first, "missed");
    pbx.wait(s(10)).expect_ok();
    house.wait_no_lines();
    assert_eq!(
        calls("third", "+15550002", "486"),
        "486 User declined the call"
    );
    house.assert_clean(&[]);
}
