//! What the registry and the store do for each call, with ten thousand trunks: a decision, a record written, a page of records read.

use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use model::{
    CallDetails, CallId, CallRecord, Codec, Direction, MediaPath, Outcome, Peer, Quality,
    RouteSpec, SessionName, SessionSpec, Side, SipSide, TelegramSide, TrunkKind, TrunkName,
    TrunkSpec,
};
use routing::{SessionState, SipOffer, Table, TelegramOffer, World};
use serde_json::{Map, Value};
use store::{MasterKey, SledStore, Store};

use crate::report::{quantile, rounded};

const TRUNKS: usize = 10_000;
const ROUTES: usize = 1_000;
const SESSIONS: usize = 100;
/// Decisions that are timed one by one.
const DECISIONS: usize = 20_000;
/// Records that are written: so many to a flush, as the keeper of a busy switch gathers them.
const RECORDS: usize = 100_000;
const GATHERED: usize = 500;
/// Records on a page.
const PAGE: usize = 100;

const DECIDE_BAR_US: f64 = 20.0;
const WRITE_BAR_PER_S: f64 = 10_000.0;
const PAGE_BAR_MS: f64 = 50.0;

/// Everybody is there and nobody calls.
struct Quiet;

impl World for Quiet {
    fn is_reachable(&self, _: &TrunkName) -> bool {
        true
    }
    fn is_blocked(&self, _: &TrunkName) -> bool {
        false
    }
    fn session_state(&self, _: &SessionName) -> SessionState {
        SessionState::Running
    }
    fn is_starting(&self, _: &SessionName) -> bool {
        false
    }
    fn is_talking(&self, _: &SessionName, _: &Peer) -> bool {
        false
    }
    fn last_used(&self, _: &SessionName) -> u64 {
        0
    }
    fn knows(&self, _: &SessionName, _: &Peer) -> bool {
        false
    }
    fn calls_of(&self, _: &SessionName) -> u32 {
        0
    }
    fn is_own_account(&self, _: i64) -> bool {
        false
    }
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Found {
    /// Microseconds a decision, both ways in turns: median and p99.
    decide_us: (f64, f64),
    /// Records written in a second, flushes in it.
    written_per_s: f64,
    /// Milliseconds a page: median and the longest.
    page_ms: (f64, f64),
}

fn trunk(n: usize) -> TrunkName {
    format!("trunk-{n}").parse().unwrap()
}

fn session(n: usize) -> SessionName {
    format!("session-{}", n % SESSIONS).parse().unwrap()
}

fn table() -> Table {
    let trunks = (0..TRUNKS).map(|n| {
        let [high, low] = u16::try_from(n).unwrap().to_be_bytes();
        let address = SocketAddr::from(([10, 1, high, low], 5060));
        TrunkSpec::new(trunk(n), TrunkKind::Peer { address })
    });
    let sessions = (0..SESSIONS).map(|n| SessionSpec::new(session(n)));
    let routes = (0..ROUTES).map(|n| RouteSpec {
        trunk: trunk(n * (TRUNKS / ROUTES)),
        session: session(n),
        priority: 100,
        terms: model::RouteTerms::default(),
    });
    Table::new(trunks.collect(), sessions.collect(), routes.collect())
}

fn decide() -> (f64, f64) {
    let table = table();
    let mut took = Vec::with_capacity(DECISIONS);
    for n in 0..DECISIONS {
        let route = n % ROUTES;
        let name = trunk(route * (TRUNKS / ROUTES));
        let number = format!("+1555{n:07}");
        let (is_from_pbx, account) = (n % 2 == 0, session(route));
        let began = Instant::now();
        if is_from_pbx {
            let trunk = table.trunk(&name).expect("it is there");
            let offer = SipOffer {
                trunk,
                source: SocketAddr::from(([10, 1, 0, 1], 5060)),
                request_user: &number,
                to_user: &number,
            };
            black_box(routing::decide_sip(&table, &Quiet, &offer)).expect("it goes somewhere");
        } else {
            let offer = TelegramOffer {
                session: &account,
                user_id: 7,
                dialled: None,
            };
            black_box(routing::decide_telegram(&table, &Quiet, &offer)).expect("it rings");
        }
        took.push(began.elapsed().as_secs_f64() * 1e6);
    }
    took.sort_by(f64::total_cmp);
    (quantile(&took, 0.5), quantile(&took, 0.99))
}

fn record(n: usize) -> CallRecord {
    let id = CallId::new(1_700_000_000_000 + n as u64, n as u128);
    CallRecord {
        id,
        direction: Direction::SipToTg,
        trunk: "office".to_owned(),
        session: "gateway".to_owned(),
        from: "600".to_owned(),
        to: format!("+1555{n:07}"),
        diverted_from: None,
        started_ms: id.unix_ms(),
        ringing_after_ms: Some(900),
        answered_after_ms: Some(4_000),
        ended_after_ms: Some(64_000),
        ended_by: Some(Side::Sip),
        outcome: Some(Outcome::Answered),
        legs: Vec::new(),
        to_trunk: String::new(),
        details: details(n),
    }
}

/// What is known of an answered call.
fn details(n: usize) -> CallDetails {
    let quality = Quality {
        loss_ppm: Some(1_234),
        jitter_us: Some(2_345),
        rtt_us: Some(34_567),
        mos_centi: Some(438),
    };
    CallDetails {
        node: "strowger".to_owned(),
        sip: SipSide {
            call_id: format!("{n}-1-8af2c3@192.0.2.7"),
            from: "sip:600@192.0.2.7".to_owned(),
            to: format!("sip:+1555{n:07}@192.0.2.1"),
            peer: "udp:192.0.2.7:5060".to_owned(),
            codec: Some(Codec::Alaw),
            quality,
        },
        telegram: TelegramSide {
            user_id: Some(5_000_000_000),
            username: Some("somebody".to_owned()),
            phone: Some(format!("1555{n:07}")),
            codec: Some(Codec::Opus),
            protocol: Some("13.0.0".to_owned()),
            path: Some(MediaPath::Reflector),
            quality,
            error: None,
        },
        ..CallDetails::default()
    }
}

/// Measures all three; the store lies in `dir`.
pub(crate) fn measure(dir: &Path) -> Found {
    let key = MasterKey::from_octets([7; 32]);
    let store = SledStore::open(&dir.join("store"), &key).expect("the store opens");
    let records: Vec<CallRecord> = (0..RECORDS).map(record).collect();
    let began = Instant::now();
    for some in records.chunks(GATHERED) {
        let some: Vec<&CallRecord> = some.iter().collect();
        store.close_calls(&some).expect("records are written");
    }
    let written_per_s = RECORDS as f64 / began.elapsed().as_secs_f64();
    let (mut before, mut pages) = (None, Vec::new());
    loop {
        let began = Instant::now();
        let page = store.calls_before(before, PAGE).expect("a page is read");
        let Some(last) = page.last else { break };
        before = Some(last);
        pages.push(began.elapsed().as_secs_f64() * 1e3);
    }
    assert_eq!(pages.len(), RECORDS / PAGE);
    pages.sort_by(f64::total_cmp);
    Found {
        decide_us: decide(),
        written_per_s,
        page_ms: (quantile(&pages, 0.5), quantile(&pages, 1.0)),
    }
}

impl Found {
    pub(crate) fn is_good(&self) -> bool {
        self.decide_us.1 <= DECIDE_BAR_US
            && self.written_per_s >= WRITE_BAR_PER_S
            && self.page_ms.1 <= PAGE_BAR_MS
    }

    pub(crate) fn print(&self) {
        let bar = |is_met: bool| if is_met { "ok    " } else { "MISSED" };
        println!("\n{TRUNKS} trunks, {ROUTES} routes, {RECORDS} records");
        let (median, p99) = self.decide_us;
        let met = bar(p99 <= DECIDE_BAR_US);
        println!("  {met} a decision {median:.2} us median, {p99:.2} p99, bar {DECIDE_BAR_US}");
        let (per_s, met) = (self.written_per_s, self.written_per_s >= WRITE_BAR_PER_S);
        let met = bar(met);
        println!(
            "  {met} {per_s:.0} records written a second, {GATHERED} to a flush, bar {WRITE_BAR_PER_S}"
        );
        let (median, most) = self.page_ms;
        let met = bar(most <= PAGE_BAR_MS);
        println!(
            "  {met} a page of {PAGE} records {median:.2} ms median, {most:.2} at most, bar {PAGE_BAR_MS}"
        );
    }

    pub(crate) fn figures(&self, all: &mut Map<String, Value>) {
        let mut add = |key: &str, value| all.insert(format!("records.{key}"), rounded(value, 2));
        add("decide_us.median", self.decide_us.0);
        add("decide_us.p99", self.decide_us.1);
        add("written_per_s", self.written_per_s);
        add("page_ms.median", self.page_ms.0);
        add("page_ms.most", self.page_ms.1);
    }
}
