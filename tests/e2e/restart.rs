//! What survives the end of the process.

use crate::deadline::s;
use crate::house::{House, SESSION, TRUNK};
use crate::pbx::Phone;
use crate::talk::{ALAW, Caller, Ends, Talk};
use crate::telegram::Behaviour;

#[test]
fn kill_9_keeps_sessions_trunks_and_records_and_both_ends_hear_that_the_call_is_over() {
    for caller in [Caller::Pbx, Caller::Telegram] {
        let talk = Talk::start(caller, "9.0.0", ALAW);
        let (mut house, mut phone, talker) = (talk.house, talk.phone, talk.talker);
        house.wait_flushed();
        house.kill();
        house.start();
        phone.wait_closed();
        let ended = house.telegram.wait_call(&talk.call, "discarded", s(10));
        assert_ne!(ended["discarded_by"], "server", "{ended}");
        phone.vanish();
        drop(talker);
        for leg in ["sip", "telegram"] {
            house.wait_metric("strowger_farewells_total", &[("leg", leg)], 1.0);
        }

        house.wait_session_up();
        assert!(
            house
                .metrics()
                .value("strowger_trunk_lines_limit", &[("trunk", TRUNK)])
                .is_some()
        );
        let mut house = {
            let mut talk = Talk::start_in(house, Caller::Pbx, "9.0.0", ALAW);
            talk.house.assert_running();
            talk.end(Ends::Pbx)
        };
        house.stop();
        let records = house.records();
        assert_eq!(records.len(), 2, "{records:#?}");
        let first = &records[0];
        assert_eq!(first["outcome"], "answered", "{first}");
        assert!(first["ended_after_ms"].is_u64(), "not closed: {first}");
        let legs = first["legs"].as_array().unwrap();
        assert_eq!(legs.len(), 2, "{first}");
        assert!(legs.iter().all(|leg| leg["reason"] == "crashed"), "{first}");
        assert_eq!(records[1]["outcome"], "answered");
        // What was said is not said again.
        house.start();
        assert!(house.metrics().sum("strowger_farewells_total") < 0.5);
    }
}

#[test]
fn kill_9_while_it_rings_leaves_nobody_waiting() {
    for caller in [Caller::Pbx, Caller::Telegram] {
        let mut house = House::new().registering_trunk(&["alaw"]).start();
        house
            .telegram
            .user("bobby", "15550002", &Behaviour::rings());
        house.wait_session_up();
        let mut phone = house.phone_at(&Phone {
            answers: false,
            ..house.phone_settings("pcma")
        });
        let call = match caller {
            Caller::Pbx => {
                phone.dial("bobby");
                phone.wait("CALL_RINGING", s(10));
                house.telegram.next_call(0, s(10))
            }
            Caller::Telegram => {
                let call = house.telegram.call("bobby", SESSION, "9.0.0");
                phone.wait("CALL_INCOMING", s(10));
                call
            }
        };
        house.wait_flushed();
        house.kill();
        house.start();
        phone.wait_closed();
        let ended = house.telegram.wait_call(&call, "discarded", s(10));
        assert_ne!(ended["discarded_by"], "server", "{ended}");
        house.assert_clean(&[]);
    }
}

#[test]
fn kill_9_at_any_moment_keeps_what_was_acknowledged() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    for _ in 0..5 {
        house.wait_session_up();
        house.kill();
        house.start();
    }
    house.wait_session_up();
    house.sipp("pbx").run("register").expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn sigterm_ends_calls_politely_and_the_process_with_0() {
    let mut talk = Talk::start(Caller::Telegram, "9.0.0", ALAW);
    talk.house.stop();
    talk.phone.wait_closed();
    let ended = talk.house.telegram.wait_call(&talk.call, "discarded", s(5));
    assert_ne!(ended["discarded_by"], "server", "{ended}");
    assert_eq!(talk.house.records()[0]["session"], SESSION);
}
