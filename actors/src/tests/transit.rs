//! Calls from trunk to trunk: who is called, what is heard, how they end, and who may die.

use std::time::Duration;

use model::{
    CallRecord, Codec, Direction, LegId, LegKind, Outcome, Secret, TransitSpec, TrunkKind,
    TrunkSpec,
};
use net::fake::{Line, Phase, Phone, PhoneManner, PhoneSettings, Simulation};
use sip::{HeaderName, Method};
use store::Change;

use super::crash::{Crash, kill};
use super::pbx::{Habit, Pbx};
use super::scene::{LOGIN, PASSWORD, PATIENCE, Scene, play, reaches, trunk};
use crate::call::crash::{CrashLeg, CrashOne};
use crate::registry::crash::Supervised;

const BRANCH: &str = "branch9876";

/// The way from the phone's trunk to another, before its session.
fn way(to: &TrunkSpec) -> [Change; 2] {
    let way = TransitSpec {
        trunk: trunk(),
        to: to.name.clone(),
        priority: 1,
        terms: model::RouteTerms::default(),
    };
    [
        Change::PutTrunk(Box::new(to.clone())),
        Change::PutTransit(way),
    ]
}

/// A house in which the phone's calls leave by the trunk of a PBX. There is one more at that address, so that the phone, which has no
/// address of its own, is not taken for the only one there.
async fn to_pbx(trunk: &TrunkSpec) -> Scene {
    let address = "127.0.0.1:1".parse().unwrap();
    let spare = TrunkSpec::new("spare".parse().unwrap(), TrunkKind::Peer { address });
    let mut records = way(trunk).to_vec();
    records.push(Change::PutTrunk(Box::new(spare)));
    Scene::with(Simulation::default(), &records).await
}

/// A trunk that a second phone registers on.
fn branch() -> TrunkSpec {
    let kind = TrunkKind::InboundRegister {
        login: BRANCH.to_owned(),
        password: Secret::new(PASSWORD.to_owned()),
    };
    TrunkSpec::new("branch".parse().unwrap(), kind)
}

/// A house in which the calls of the usual phone leave by the trunk of another one.
struct Two {
    scene: Scene,
    other: Phone,
}

impl Two {
    async fn speaking(codec: Codec) -> Self {
        Self::of(branch(), codec).await
    }

    async fn of(branch: TrunkSpec, codec: Codec) -> Self {
        let scene = Scene::with(Simulation::default(), &way(&branch)).await;
        let other = Phone::start(PhoneSettings {
            house: scene
                .house
                .common
                .sip_address(sip::Hop::udp(scene.phone.address()))
                .address,
            login: BRANCH.to_owned(),
            password: PASSWORD.to_owned(),
            codecs: vec![codec],
            manner: PhoneManner::Answer {
                after: Duration::from_millis(100),
            },
            voice: 5,
        })
        .await
        .unwrap();
        assert_eq!(other.register(PASSWORD, 3600).await.status, 200);
        Self { scene, other }
    }

    /// The usual phone calls the other one; both ends, talking.
    async fn call(&self) -> (Line, Line) {
        let from = self.scene.phone.dial("6001");
        let to = self
            .other
            .next_call(PATIENCE)
            .await
            .expect("it should ring");
        reaches(&from, Phase::Talking).await;
        reaches(&to, Phase::Talking).await;
        (from, to)
    }

    async fn assert_heard(&self, speaker: &Line, listener: &Line) {
        let speaker = reaches(speaker, Phase::Over).await;
        let listener = reaches(listener, Phase::Over).await;
        let measured = self.scene.heard(&speaker, &listener);
        assert!(measured.similarity > 0.75, "{measured:?}");
        assert_eq!(measured.skips, 0, "{measured:?}");
    }

    async fn ended(&self, count: usize) -> CallRecord {
        self.scene.settles_at(0).await;
        self.scene.records(count).await.pop().unwrap()
    }
}

#[test]
fn two_phones_talk_through_the_house_in_one_codec_and_in_two() {
    for codec in [Codec::Alaw, Codec::Mulaw, Codec::Opus] {
        play(async {
            let two = Two::speaking(codec).await;
            let (from, to) = two.call().await;
            two.scene.talk(Duration::from_secs(3)).await;
            two.scene.settles_at(1).await;
            let frames = "transcode_frames_total{from=\"pcma\",to=\"pcmu\"}";
            to.hang_up();
            two.assert_heard(&from, &to).await;
            two.assert_heard(&to, &from).await;
            let record = two.ended(1).await;
            assert_eq!(record.direction, Direction::SipToSip);
            assert_eq!(record.outcome, Some(Outcome::Answered));
            assert_eq!(
                (record.trunk.as_str(), record.session.as_str()),
                ("office", "")
            );
            assert_eq!(
                (record.to_trunk.as_str(), record.to.as_str()),
                ("branch", "6001")
            );
            assert_eq!(record.from, LOGIN);
            let legs: Vec<(&str, u16)> = record
                .legs
                .iter()
                .map(|leg| (leg.via.as_str(), leg.code))
                .collect();
            assert_eq!(legs, [("office", 200), ("branch", 200)]);
            let transcoded = two.scene.number(frames) > 0.0;
            assert_eq!(
                transcoded,
                codec == Codec::Mulaw,
                "the same codec passes untouched"
            );
            let completed = "calls_completed_total{direction=\"sip_to_sip\",result=\"answered\",trunk=\"office\"}";
            assert!((two.scene.number(completed) - 1.0).abs() < 1e-9);
        });
    }
}

#[test]
fn digits_are_passed_on() {
    play(async {
        let answers = Pbx::start(Habit::Answer(0)).await;
        let mut trunk = answers.trunk("branch");
        trunk.dtmf = vec![model::DtmfMethod::Rfc2833, model::DtmfMethod::Info];
        let scene = to_pbx(&trunk).await;
        let line = scene.phone.dial("6001");
        reaches(&line, Phase::Talking).await;
        let registry = scene.house.common.registry.open().unwrap();
        let call = registry.send(Supervised).await.unwrap().calls.remove(0);
        call.send(crate::message::LegReport {
            leg: LegId(0),
            fact: crate::message::LegFact::Digit { digit: '7' },
        })
        .await
        .unwrap();
        // This PBX agreed on no events, so the digit goes by the next method.
        let info = answers.got(Method::Info).await;
        assert!(info.body.starts_with(b"Signal=7\r\n"), "{info:?}");
        line.hang_up();
        reaches(&line, Phase::Over).await;
        scene.settles_at(0).await;
    });
}

#[test]
fn the_other_pbx_sees_who_calls_and_what_was_dialled() {
    play(async {
        let pbx = Pbx::start(Habit::Refuse(486)).await;
        let scene = to_pbx(&pbx.trunk("branch")).await;
        let line = scene.phone.dial("00493012345");
        let end = reaches(&line, Phase::Over).await.end.unwrap();
        assert_eq!(
            (end.code, end.phrase.as_str()),
            (486, "Busy Here"),
            "passed on"
        );
        let invite = pbx.got(Method::Invite).await;
        assert_eq!(invite.uri.user().as_deref(), Some("00493012345"));
        let from = invite.headers.from().unwrap();
        assert_eq!(from.uri.user().as_deref(), Some(LOGIN));
        assert_eq!(
            invite.headers.max_forwards(),
            Some(69),
            "one hop nearer its end"
        );
        let header = |name: &str| invite.headers.get(&HeaderName::from(name));
        assert!(header("P-Asserted-Identity").unwrap().contains(LOGIN));
        let ours = invite.headers.iter().map(|(name, _)| name.as_str());
        assert_eq!(ours.filter(|name| name.starts_with("X-TG")).count(), 0);
        scene.settles_at(0).await;
        let record = scene.records(1).await.remove(0);
        assert_eq!(record.outcome, Some(Outcome::Busy));
        let codes: Vec<u16> = record.legs.iter().map(|leg| leg.code).collect();
        assert_eq!(codes, [486, 486]);
    });
}

#[test]
fn a_caller_who_gives_up_stops_the_ringing() {
    play(async {
        let pbx = Pbx::start(Habit::Ring).await;
        let scene = to_pbx(&pbx.trunk("branch")).await;
        let line = scene.phone.dial("6001");
        reaches(&line, Phase::Ringing).await;
        line.hang_up();
        pbx.got(Method::Cancel).await;
        let end = reaches(&line, Phase::Over).await.end.unwrap();
        assert_eq!(end.code, 487);
        scene.settles_at(0).await;
        let record = scene.records(1).await.remove(0);
        assert_eq!(record.outcome, Some(Outcome::Cancelled));
    });
}

#[test]
fn a_way_is_hunted_through_and_lines_of_both_sides_are_kept() {
    play(async {
        let busy = Pbx::start(Habit::Refuse(503)).await;
        let small = Pbx::start(Habit::Answer(0)).await;
        let mut records = way(&busy.trunk("first")).to_vec();
        let mut spec = small.trunk("second");
        spec.lines = 1;
        let [put, Change::PutTransit(mut second)] = way(&spec) else {
            unreachable!("a way")
        };
        second.priority = 2;
        records.extend([put, Change::PutTransit(second)]);
        let scene = Scene::with(Simulation::default(), &records).await;
        let line = scene.phone.dial("6001");
        reaches(&line, Phase::Talking).await;
        let used = |trunk: &str| scene.number(&format!("trunk_lines_in_use{{trunk=\"{trunk}\"}}"));
        let lines = [used("office"), used("first"), used("second")];
        assert_eq!(lines.map(|lines| lines > 0.5), [true, false, true]);
        // The only line of the second is taken.
        let refused = scene.phone.dial("6002");
        let end = reaches(&refused, Phase::Over).await.end.unwrap();
        assert_eq!(end.code, 503, "the most telling of 503 and 402");
        line.hang_up();
        reaches(&line, Phase::Over).await;
        scene.settles_at(0).await;
        let lines = [used("office"), used("first"), used("second")];
        assert_eq!(lines.map(|lines| lines > 0.5), [false; 3]);
        let records = scene.records(2).await;
        assert_eq!(records[0].to_trunk, "second");
    });
}

#[test]
fn codecs_that_cannot_meet_are_not_acceptable() {
    play(async {
        let pbx = Pbx::start(Habit::Answer(0)).await;
        let mut spec = pbx.trunk("branch");
        spec.codecs = vec![Codec::L16];
        let scene = to_pbx(&spec).await;
        let line = scene.phone.dial("6001");
        let end = reaches(&line, Phase::Over).await.end.unwrap();
        assert_eq!(
            (end.code, end.phrase.as_str()),
            (488, "Not Acceptable Here")
        );
        assert!(pbx.methods().is_empty(), "nobody was rung for nothing");
        scene.settles_at(0).await;
    });
}

/// Two calls are up; after `death` both go on and end well.
async fn outlives<F: Future<Output = ()>>(death: impl FnOnce(&Two) -> F) {
    let two = Two::speaking(Codec::Alaw).await;
    let (from, to) = two.call().await;
    death(&two).await;
    two.scene.talk(Duration::from_secs(2)).await;
    two.scene.settles_at(1).await;
    assert_eq!(from.status().phase, Phase::Talking);
    from.hang_up();
    two.assert_heard(&from, &to).await;
    two.assert_heard(&to, &from).await;
    let record = two.ended(1).await;
    assert_eq!(record.outcome, Some(Outcome::Answered));
    // Lines and doors are as they were.
    let (from, to) = two.call().await;
    to.hang_up();
    reaches(&from, Phase::Over).await;
    two.ended(2).await;
}

#[test]
fn the_death_of_whoever_is_not_in_it_ends_no_call() {
    play(outlives(|two| {
        let registry = two.scene.house.common.registry.open().unwrap();
        async move { kill(&registry).await }
    }));
    play(outlives(|two| {
        let endpoint = two.scene.house.common.endpoint.open().unwrap();
        async move { kill(&endpoint).await }
    }));
    play(outlives(|two| {
        let keeper = two.scene.house.common.keeper.open().unwrap();
        async move { kill(&keeper).await }
    }));
    play(outlives(|two| {
        let registry = two.scene.house.common.registry.open().unwrap();
        async move {
            for trunk in registry.send(Supervised).await.unwrap().trunks {
                kill(&trunk).await;
            }
        }
    }));
}

#[test]
fn the_death_of_the_call_or_of_either_leg_ends_both_sides() {
    for victim in [None, Some(LegId(0)), Some(LegId(1))] {
        for rings in [true, false] {
            play(async {
                let two = Two::speaking(Codec::Alaw).await;
                if rings {
                    two.other.set_manner(PhoneManner::Ring);
                }
                let from = two.scene.phone.dial("6001");
                let to = two.other.next_call(PATIENCE).await.unwrap();
                let phase = if rings {
                    Phase::Ringing
                } else {
                    Phase::Talking
                };
                reaches(&from, phase).await;
                let registry = two.scene.house.common.registry.open().unwrap();
                let call = registry.send(Supervised).await.unwrap().calls.remove(0);
                match victim {
                    None => {
                        assert!(call.send(Crash).await.is_err());
                    }
                    Some(leg) => call.do_send(CrashOne(leg)),
                }
                let end = reaches(&from, Phase::Over).await.end.unwrap();
                assert!(!rings || end.code == 500, "{victim:?} {end:?}");
                reaches(&to, Phase::Over).await;
                let record = two.ended(1).await;
                let outcome = if rings {
                    Outcome::Failed
                } else {
                    Outcome::Answered
                };
                // A call that dies knows no more of its record than was open.
                if victim.is_some() {
                    assert_eq!(record.outcome, Some(outcome), "{victim:?} {record:?}");
                }
                assert_eq!(record.legs.len(), 2, "{record:?}");
                assert_eq!(record.legs[1].via, "branch");
            });
        }
    }
}

/// Forty-eight calls from phone to phone, and two of Telegram users.
const MANY: usize = 50;

/// How many of the calls have ended for both, and how many go on for both; none may have ended for one alone.
fn over_and_up(calls: &[(Line, Line)]) -> (usize, usize) {
    let of = |phase| {
        let both =
            |(from, to): &&(Line, Line)| from.status().phase == phase && to.status().phase == phase;
        calls.iter().filter(both).count()
    };
    (of(Phase::Over), of(Phase::Talking))
}

/// Waits until so many have ended, and all the others go on, with a line each.
async fn settles_with(two: &Two, calls: &[(Line, Line)], over: usize) {
    let wanted = (over, calls.len() - over);
    for _ in 0..400 {
        if over_and_up(calls) == wanted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(over_and_up(calls), wanted);
    two.scene.settles_at(wanted.1).await;
}

#[test]
fn of_fifty_calls_only_what_depends_on_whoever_dies_ends_and_lines_are_as_many_as_calls() {
    play(async {
        let two = Two::speaking(Codec::Alaw).await;
        let mut calls = Vec::new();
        for user in ["alice", "bobby"] {
            calls.push(two.scene.user_calls(user).await);
        }
        while calls.len() < MANY {
            let batch = 6.min(MANY - calls.len());
            let from: Vec<Line> = (0..batch).map(|_| two.scene.phone.dial("6001")).collect();
            // Who is called by whom does not matter where all end well or none does; of two that end, both must be of one call.
            let mut pairs = Vec::new();
            for from in from {
                let to = two.other.next_call(PATIENCE).await.expect("it rings");
                pairs.push((from, to));
            }
            for (from, to) in &pairs {
                reaches(from, Phase::Talking).await;
                reaches(to, Phase::Talking).await;
            }
            calls.extend(pairs);
        }
        settles_with(&two, &calls, 0).await;
        let common = &two.scene.house.common;
        let children = || async {
            let registry = common.registry.open().expect("it lives");
            registry.send(Supervised).await.unwrap()
        };
        // Whoever only coordinates: no call ends, and none is forgotten.
        kill(&common.registry.open().unwrap()).await;
        settles_with(&two, &calls, 0).await;
        kill(&common.endpoint.open().unwrap()).await;
        settles_with(&two, &calls, 0).await;
        kill(&common.keeper.open().unwrap()).await;
        settles_with(&two, &calls, 0).await;
        for trunk in children().await.trunks {
            kill(&trunk).await;
            settles_with(&two, &calls, 0).await;
        }
        let link = common.sessions.get(&super::scene::session()).unwrap();
        kill(&link.door.door().open().unwrap()).await;
        settles_with(&two, &calls, 0).await;
        // Whoever is part of a call: that one ends, the others go on. The first two are those of the Telegram users.
        let alive = children().await.calls;
        alive[0].do_send(CrashLeg(LegKind::Telegram));
        settles_with(&two, &calls, 1).await;
        alive[1].do_send(CrashLeg(LegKind::Sip));
        settles_with(&two, &calls, 2).await;
        assert_eq!(over_and_up(&calls[..2]), (2, 0), "theirs, and no other");
        alive[2].do_send(CrashOne(LegId(1)));
        two.scene.settles_at(MANY - 3).await;
        kill(&alive[3]).await;
        two.scene.settles_at(MANY - 4).await;
        let over = |line: &Line| usize::from(line.status().phase == Phase::Over);
        let ended = || -> (usize, usize) {
            let froms = calls.iter().map(|(from, _)| over(from)).sum();
            (froms, calls.iter().map(|(_, to)| over(to)).sum())
        };
        for _ in 0..200 {
            if ended() == (4, 4) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(ended(), (4, 4), "both ends of each, and of no other");
        for (from, _) in &calls {
            from.hang_up();
        }
        settles_with(&two, &calls, MANY).await;
        let records = two.scene.records(MANY).await;
        let of = |outcome| {
            let same = records.iter().filter(|record| record.outcome == outcome);
            same.count()
        };
        assert_eq!(of(Some(Outcome::Answered)), MANY, "they had all talked");
        assert!(records.iter().all(|record| !record.legs.is_empty()));
        assert_eq!(two.scene.telegram.open_calls(), 0);
    });
}
