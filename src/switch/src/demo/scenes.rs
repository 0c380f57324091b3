//! What is played.

use std::time::{Duration, Instant};

use model::{CallRecord, LegKind};
use net::fake::{End, Line, Measured, Phase, Status, measure};

use super::checks::{Checks, ms};
use super::stage::{DELIBERATION, FLOOD_SECONDS, PASSWORD, Stage};
use crate::print::{self, Output, Table};

/// How long people talk: enough to compare three seconds.
const TALK: Duration = Duration::from_millis(4200);
/// More than any step takes, except on a machine that stands still.
const PATIENCE: Duration = Duration::from_secs(5);
/// What must be recognised of a voice that went through A-law and Opus; 0.89 to 0.95 is usual.
const SIMILARITY: f64 = 0.8;
/// What a stranger's voice resembles at most.
const STRANGE: f64 = 0.6;
/// The delay that nobody notices; 8 to 25 ms is usual here.
const DELAY: Duration = Duration::from_millis(100);
/// From the order to ringing, and from the answer to audio; usually 50 to 250 ms, of which the stand-in takes 30 a request.
const SET_UP: Duration = Duration::from_secs(1);

/// The number of the phone that a Telegram user writes.
const WRITTEN: &str = "601";
/// The keys she types when she is through.
const TYPED: &str = "42#";

/// Scene 1.
pub(super) async fn registration(stage: &Stage, checks: &mut Checks) {
    print::line(format!(
        "1  The phone registers at {} with digest, first with a wrong password.",
        stage.sip
    ));
    let wrong = stage.phone.register("not the password", 3600).await;
    let begun = Instant::now();
    let right = stage.phone.register(PASSWORD, 3600).await;
    let took = begun.elapsed();
    let told = |status: u16, phrase: &str| format!("{status} {phrase}");
    let expires = right.expires.unwrap_or_default();
    print::line(format!(
        "   {}, then {} in {}, expires in {expires} s",
        told(wrong.status, &wrong.phrase),
        told(right.status, &right.phrase),
        ms(took)
    ));
    checks.same(
        "1 wrong password",
        "403 Wrong password",
        &told(wrong.status, &wrong.phrase),
    );
    checks.same(
        "1 right password",
        "200 OK",
        &told(right.status, &right.phrase),
    );
    checks.same("1 seconds granted", "3600", &expires.to_string());
}

/// Scene 2.
pub(super) async fn phone_calls_user(stage: &Stage, checks: &mut Checks) {
    print::line("2  The phone calls tg:alice; the phone hangs up.");
    let phone = stage.phone.dial("alice");
    let Some(alice) = stage.telegram.next_call("alice", PATIENCE).await else {
        return checks.missing("2 tg:alice is rung", &ending(&phone.status()));
    };
    let meanwhile = second_call(stage, checks);
    let Some((phone, alice)) = talk(&phone, &alice, &phone, meanwhile).await else {
        return checks.missing("2 both talk", &ending(&phone.status()));
    };
    let ringing = phone
        .ringing
        .map(|at| at - phone.started)
        .unwrap_or_default();
    let names = ["2 ringing (PDD)", "2 audio after the answer"];
    set_up(checks, names, ringing, connecting(&phone, ringing));
    let names = [
        "2 alice hears the phone",
        "2 delay to alice",
        "2 packets lost to alice",
        "2 no echo to the phone",
    ];
    hears(checks, names, "phone to alice", &phone, &alice);
    let names = [
        "2 the phone hears alice",
        "2 delay to the phone",
        "2 packets lost to the phone",
        "2 no echo to alice",
    ];
    hears(checks, names, "alice to phone", &alice, &phone);
}

/// Scene 3.
pub(super) async fn user_calls_phone(stage: &Stage, checks: &mut Checks) {
    print::line("3  tg:robert calls the account, the phone rings; tg:robert hangs up.");
    let Some(robert) = stage.telegram.call_account("robert") else {
        return checks.missing("3 tg:robert calls", "nobody of this name");
    };
    let Some(phone) = stage.phone.next_call(PATIENCE).await else {
        return checks.missing("3 the phone rings", &ending(&robert.status()));
    };
    let meanwhile = std::future::ready(());
    let Some((phone, robert)) = talk(&phone, &robert, &robert, meanwhile).await else {
        return checks.missing("3 both talk", &ending(&robert.status()));
    };
    let rang = phone
        .ringing
        .unwrap_or(phone.started)
        .saturating_duration_since(robert.started);
    let names = ["3 the phone rings after", "3 audio after the answer"];
    set_up(checks, names, rang, connecting(&robert, rang));
    let names = [
        "3 robert hears the phone",
        "3 delay to robert",
        "3 packets lost to robert",
        "3 no echo to the phone",
    ];
    hears(checks, names, "phone to robert", &phone, &robert);
    let names = [
        "3 the phone hears robert",
        "3 delay to the phone",
        "3 packets lost to the phone",
        "3 no echo to robert",
    ];
    hears(checks, names, "robert to phone", &robert, &phone);
}

/// Scene 4.
pub(super) async fn texts(stage: &Stage, checks: &mut Checks) {
    print::line(format!(
        "4  tg:alice writes {WRITTEN} and is called back, then the phone; she types {TYPED}."
    ));
    let begun = Instant::now();
    stage.telegram.write("alice", WRITTEN);
    let Some(alice) = stage.telegram.next_call("alice", PATIENCE).await else {
        return checks.missing("4 tg:alice is called back", "nobody called");
    };
    let rung = begun.elapsed();
    let Some(phone) = stage.phone.next_call(PATIENCE).await else {
        alice.hang_up();
        return checks.missing("4 the phone rings", &ending(&alice.status()));
    };
    for line in [&alice, &phone] {
        reaches(line, Phase::Talking).await;
    }
    stage.telegram.write("alice", TYPED);
    let (Ok(got) | Err(got)) = phone
        .gets_keys(TYPED.len(), PATIENCE)
        .await
        .map_err(|got| *got);
    alice.hang_up();
    for line in [&alice, &phone] {
        reaches(line, Phase::Over).await;
    }
    print::line(format!(
        "   called back after {}, the phone gets {} as telephone-events",
        ms(rung),
        got.keys
    ));
    checks.within("4 tg:alice is called back", SET_UP, rung);
    checks.same("4 keys at the phone", TYPED, &got.keys);
    checks.same(
        "4 texts in the chat",
        "0",
        &stage.telegram.texts().len().to_string(),
    );
}

/// Scene 5.
pub(super) async fn refusals(stage: &Stage, checks: &mut Checks) {
    print::line("5  Calls that Telegram refuses, with the exact answers the PBX gets.");
    // The flood comes last: after it the session asks nothing until the wait is over.
    let flood = format!("503 Too Many Requests: retry after {FLOOD_SECONDS}");
    let cases = [
        ("5 declined", "david", "486 User declined the call"),
        ("5 privacy", "ellen", "403 USER_PRIVACY_RESTRICTED"),
        ("5 unknown", "nobody_at_all", "404 USERNAME_NOT_OCCUPIED"),
        ("5 flood", "frank", flood.as_str()),
    ];
    for (what, name, expected) in cases {
        let call = stage.phone.dial(name);
        let status = reaches(&call, Phase::Over).await;
        let got = ending(&status);
        let retry = status.end.and_then(|end| end.retry_after);
        let shown = retry
            .as_ref()
            .map(|seconds| format!(", Retry-After: {seconds}"));
        print::line(format!("   tg:{name}: {got}{}", shown.unwrap_or_default()));
        checks.same(what, expected, &got);
        if name == "frank" {
            let seconds = retry
                .and_then(|seconds| seconds.parse().ok())
                .unwrap_or(0.0);
            checks.at_least(
                "5 Retry-After of the flood",
                f64::from(FLOOD_SECONDS),
                seconds,
            );
        }
    }
}

/// What is left when all calls are over.
pub(super) async fn afterwards(stage: &Stage, checks: &mut Checks) {
    let settled = async {
        loop {
            let report = stage.house.report().await;
            let records = closed(stage);
            if report.calls == 0 && report.lines == 0 && records.len() == 8 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // Whether it settled in time is seen in what follows.
    let _ = tokio::time::timeout(PATIENCE, settled).await;
    let (report, records) = (stage.house.report().await, closed(stage));
    let left = format!("{} and {}", report.calls, report.lines);
    checks.same("calls and lines left", "0 and 0", &left);
    checks.same(
        "phone calls left at Telegram",
        "0",
        &stage.telegram.open_calls().to_string(),
    );
    checks.same("call records closed", "8", &records.len().to_string());
    print::line("");
    print_records(&records);
}

/// A call too many, while the trunk's one line is in use: first what is said of it, then what becomes of it.
async fn second_call(stage: &Stage, checks: &mut Checks) {
    let said = stage.rehearse("robert").await;
    let call = stage.phone.dial("robert");
    let got = ending(&reaches(&call, Phase::Over).await);
    print::line(format!(
        "   a second call, while the trunk's one line is in use: {got}; route test had said: {said}"
    ));
    checks.same("2 route test said so", &got, &said);
    checks.same("2 line limit", "402 Lines limit is exceeded", &got);
}

/// Lets both talk, then one hang up; returns what both went through, or nothing when they never talked.
async fn talk(
    phone: &Line,
    user: &Line,
    who_hangs_up: &Line,
    meanwhile: impl Future<Output = ()>,
) -> Option<(Status, Status)> {
    for line in [phone, user] {
        let status = reaches(line, Phase::Talking).await;
        if status.phase != Phase::Talking {
            who_hangs_up.hang_up();
            return None;
        }
    }
    tokio::join!(tokio::time::sleep(TALK), meanwhile);
    who_hangs_up.hang_up();
    Some((
        reaches(phone, Phase::Over).await,
        reaches(user, Phase::Over).await,
    ))
}

async fn reaches(line: &Line, phase: Phase) -> Status {
    match line.reaches(phase, PATIENCE).await {
        Ok(status) => status,
        Err(status) => *status,
    }
}

/// From the answer to audio at the caller.
fn connecting(caller: &Status, ringing: Duration) -> Duration {
    let talking = caller.talking.unwrap_or(caller.started) - caller.started;
    talking.saturating_sub(ringing + DELIBERATION)
}

fn set_up(checks: &mut Checks, names: [&'static str; 2], ringing: Duration, connecting: Duration) {
    print::line(format!(
        "   rings after {}, audio {} after the answer",
        ms(ringing),
        ms(connecting)
    ));
    let [rings, audio] = names;
    checks.within(rings, SET_UP, ringing);
    checks.within(audio, SET_UP, connecting);
}

/// Compares what one said with what the other heard.
fn hears(
    checks: &mut Checks,
    names: [&'static str; 4],
    way: &str,
    speaker: &Status,
    listener: &Status,
) {
    let [similarity, delay, lost, echo] = names;
    let (Some(said), Some(heard)) = (&speaker.audio, &listener.audio) else {
        return checks.missing(similarity, "nothing was heard");
    };
    let Some(measured) = measure(&said.said, &heard.heard) else {
        return checks.missing(similarity, "nothing was heard");
    };
    let codecs = [speaker.codec, listener.codec]
        .map(|codec| codec.map_or("none", |codec| codec.encoding_name()));
    print_way(way, codecs, &measured);
    checks.at_least(similarity, SIMILARITY, measured.similarity);
    checks.within(delay, DELAY, measured.delay);
    checks.same(lost, "0", &measured.lost.to_string());
    let own = measure(&said.said, &said.heard).map_or(0.0, |own| own.similarity);
    checks.below(echo, STRANGE, own);
}

fn print_way(way: &str, [from, to]: [&str; 2], measured: &Measured) {
    print::line(format!(
        "   {way}, {from} to {to}: similarity {:.2} (worst half second {:.2}), delay {} (1 in 100: {}), {} of {} packets lost",
        measured.similarity,
        measured.worst,
        ms(measured.delay),
        ms(measured.delay_p99),
        measured.lost,
        measured.packets + measured.lost
    ));
}

fn ending(status: &Status) -> String {
    match &status.end {
        Some(End { code, phrase, .. }) => format!("{code} {phrase}"),
        None => format!("{:?}", status.phase).to_lowercase(),
    }
}

/// The call records that are closed, oldest first.
fn closed(stage: &Stage) -> Vec<CallRecord> {
    let mut records = stage.store.recent_calls(100).unwrap_or_default();
    records.retain(|record| record.outcome.is_some());
    records.sort_by_key(|record| record.started_ms);
    records
}

fn print_records(records: &[CallRecord]) {
    let mut table = Table::new([
        "direction",
        "from",
        "to",
        "talk",
        "outcome",
        "ended by",
        "sip",
        "telegram",
    ]);
    for record in records {
        let leg = |kind: LegKind| {
            let end = record.legs.iter().find(|leg| leg.kind == kind);
            end.map_or_else(
                || "-".to_owned(),
                |end| format!("{} {}", end.code, end.phrase),
            )
        };
        table.row([
            record.direction.label().to_owned(),
            record.from.clone(),
            record.to.clone(),
            format!("{:.1} s", record.talk_seconds()),
            record.outcome.map_or("-", model::Outcome::label).to_owned(),
            record.ended_by.map_or("-", model::Side::label).to_owned(),
            leg(LegKind::Sip),
            leg(LegKind::Telegram),
        ]);
    }
    table.print(Output::Table, "there are no call records");
}
