//! One run: so many calls, held so long, measured.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::awake::Awake;
use crate::floor::{self, Floor};
use crate::house::{House, Peer};
use crate::metrics::Metrics;
use crate::nap::{self, Nap};
use crate::options::Options;
use crate::pbx::{Pbx, Plan};
use crate::peer::Orders;
use crate::proc::{self, Work};
use crate::signal;
use crate::track::CallReport;

/// From one call to the next.
const PACE: Duration = Duration::from_millis(100);
/// Calls that are listened to, at most about this many.
const LISTENED: usize = 20;
/// After the last call is up, until measuring begins: jitter buffers have settled, keys are forgotten.
const SETTLE: Duration = Duration::from_secs(3);
/// Seconds for which the floor is measured at the pace of the calls, before and again after them.
const IN_STEP: usize = 5;
/// What is on its way arrives within this.
const DRAIN: Duration = Duration::from_millis(500);

/// What a run found.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) calls: usize,
    /// The processors slept between two packets, as they do on a machine with little to do.
    pub(crate) slept: bool,
    pub(crate) call_minutes: f64,
    /// CPU-seconds of the switch while the calls were held.
    pub(crate) cpu: f64,
    /// CPU-seconds of the switch for each minute of a call in the median of the seconds in which the calls were held: what a neighbour of the
    /// machine took in some of them is not in it, nor what the switch does every few seconds.
    pub(crate) median_second: f64,
    pub(crate) idle_kb: f64,
    pub(crate) held_kb: f64,
    /// What was added that is no page of the program's file, kB.
    pub(crate) added_anonymous_kb: f64,
    pub(crate) floor: Floor,
    /// The same at the pace of the calls: the median of some seconds before and after them.
    pub(crate) floor_in_step: f64,
    /// The same with a packet received and sent for each frame.
    pub(crate) floor_with_packets: f64,
    /// What a nap costs on these processors.
    pub(crate) nap: Nap,
    pub(crate) codec_delay: f64,
    /// One-way delays, ms, sorted.
    pub(crate) to_telegram: Vec<f64>,
    pub(crate) to_sip: Vec<f64>,
    pub(crate) set_up_ms: Vec<f64>,
    pub(crate) loss: Loss,
    /// Share of all processors that was busy.
    pub(crate) busy: f64,
    pub(crate) threads: BTreeMap<String, Work>,
    pub(crate) chirps: Chirps,
    pub(crate) notes: Vec<String>,
}

/// Packets that were sent and not received, by where they are missed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Loss {
    pub(crate) sent_by_pbx: u64,
    pub(crate) at_telegram: u64,
    pub(crate) sent_by_telegram: u64,
    pub(crate) at_sip: u64,
    /// Of these, gaps in the sequence numbers that the peers saw.
    pub(crate) missing_at_telegram: u64,
    pub(crate) missing_at_sip: u64,
    pub(crate) repeated: u64,
    /// Given up as lost, or thrown away as late, by the switch.
    pub(crate) in_switch: u64,
    /// Datagrams the kernel threw away because a program did not read in time.
    pub(crate) overruns: u64,
}

impl Loss {
    pub(crate) fn total(self) -> u64 {
        self.missing_at_telegram + self.missing_at_sip + self.in_switch
    }
}

/// Chirps said and heard on the calls that were listened to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Chirps {
    pub(crate) said_by_pbx: usize,
    pub(crate) heard_by_telegram: usize,
    pub(crate) said_by_telegram: usize,
    pub(crate) heard_by_pbx: usize,
}

/// Holds `calls` calls and measures, on processors that may sleep or are kept awake.
pub(crate) fn hold(options: &Options, calls: usize, sleeps: bool, dir: &Path) -> Outcome {
    fs::create_dir_all(dir).unwrap();
    let mut awake = (!sleeps).then(Awake::keep);
    let before = floor::measure(options.tg_frame);
    let mut in_step = floor::in_step(calls, options.tg_frame, IN_STEP);
    let mut with_packets = floor::with_packets(calls, options.tg_frame, IN_STEP);
    let nap = nap::measure();
    let mut house = House::start(dir, calls, options.switch_frame);
    let names: Vec<String> = (0..calls).map(|n| format!("bench{n:03}")).collect();
    let users = house.users(&names);
    let listen = calls.div_ceil(LISTENED);
    let orders = Orders {
        control: house.telegram.control().to_owned(),
        users,
        frame_ms: options.tg_frame,
        listen,
        address: house.sip.ip(),
    };
    let mut peer = Peer::start(dir, &orders);
    house.wait_settled();
    let idle_kb = proc::resident_kb(house.pid());
    let idle_anonymous_kb = proc::anonymous_kb(house.pid());
    let pbx = Pbx::start(Plan {
        local: house.pbx,
        switch: house.sip,
        users: names,
        listen,
        pace: PACE,
    });
    wait_up(calls, &pbx, &mut peer, &mut house);
    thread::sleep(SETTLE);

    let overruns = proc::udp_overruns();
    let (busy, total) = proc::machine();
    let threads = proc::threads(house.pid());
    let (began, cpu) = (Instant::now(), proc::cpu(house.pid()));
    let since = proc::wall();
    let mut held_kb: f64 = 0.0;
    let mut costs = Vec::new();
    let mut last = (Instant::now(), proc::threads_cpu(house.pid()));
    while began.elapsed() < Duration::from_secs(options.seconds) {
        thread::sleep(Duration::from_secs(1));
        held_kb = held_kb.max(proc::resident_kb(house.pid()));
        let now = (Instant::now(), proc::threads_cpu(house.pid()));
        let minutes = (now.0 - last.0).as_secs_f64() * calls as f64 / 60.0;
        costs.push((now.1 - last.1) / minutes);
        last = now;
    }
    let (cpu, held) = (proc::cpu(house.pid()) - cpu, began.elapsed().as_secs_f64());
    let added_anonymous_kb = proc::anonymous_kb(house.pid()) - idle_anonymous_kb;
    let threads = worked(&threads, &proc::threads(house.pid()));
    let (busy, total) = (proc::machine().0 - busy, proc::machine().1 - total);
    let window = since..proc::wall();

    pbx.hush();
    thread::sleep(DRAIN);
    let faults = pbx.faults();
    let set_up_ms = pbx.set_up_ms();
    let telegram = peer.report();
    let sip = pbx.hang_up();
    // The last figures of a call are written when it closes.
    thread::sleep(DRAIN);
    let metrics = house.metrics().expect("/metrics answers");
    house.assert_running();
    let overruns = proc::udp_overruns() - overruns;
    let mut notes = faults;
    let log = house.stop();
    notes.extend(log.lines().take(5).map(|line| format!("switch: {line}")));
    drop(peer);
    in_step.extend(floor::in_step(calls, options.tg_frame, IN_STEP));
    with_packets.extend(floor::with_packets(calls, options.tg_frame, IN_STEP));
    let after = floor::measure(options.tg_frame);
    let still = awake.as_mut().is_none_or(Awake::is_so);
    assert!(still, "the processors could not be kept awake");
    drop(awake);

    let frames = f64::from(options.switch_frame) / 20.0;
    let (mut to_telegram, up) = delays(&sip, &telegram, &window);
    for delay in &mut to_telegram {
        *delay -= 20.0 * (frames - 1.0);
    }
    let (to_sip, down) = delays(&telegram, &sip, &window);
    Outcome {
        calls,
        slept: sleeps,
        call_minutes: held * calls as f64 / 60.0,
        cpu,
        median_second: median(costs),
        idle_kb,
        held_kb,
        added_anonymous_kb,
        floor: before.mean(after),
        floor_in_step: median(in_step),
        floor_with_packets: median(with_packets),
        nap,
        codec_delay: floor::codec_delay(),
        to_telegram,
        to_sip,
        set_up_ms: sorted(set_up_ms),
        loss: Loss {
            overruns,
            ..loss(&sip, &telegram, &metrics, frames)
        },
        busy: busy / total,
        threads,
        chirps: Chirps {
            said_by_pbx: up.0,
            heard_by_telegram: up.1,
            said_by_telegram: down.0,
            heard_by_pbx: down.1,
        },
        notes,
    }
}

fn wait_up(calls: usize, pbx: &Pbx, peer: &mut Peer, house: &mut House) {
    let limit = Duration::from_secs(40) + PACE * calls as u32 * 3;
    let began = Instant::now();
    while pbx.talking() < calls || peer.connected() < calls {
        house.assert_running();
        let faults = pbx.faults();
        assert!(
            faults.is_empty() && began.elapsed() < limit,
            "{} of {calls} calls answered, {} with media: {faults:#?}\nlogs in {}",
            pbx.talking(),
            peer.connected(),
            house.dir().display()
        );
        thread::sleep(Duration::from_millis(50));
    }
}

fn worked(
    before: &BTreeMap<String, Work>,
    after: &BTreeMap<String, Work>,
) -> BTreeMap<String, Work> {
    after
        .iter()
        .map(|(name, work)| {
            let was = before.get(name).copied().unwrap_or_default();
            let work = Work {
                cpu: work.cpu - was.cpu,
                waits: work.waits - was.waits,
            };
            (name.clone(), work)
        })
        .collect()
}

/// For each chirp that was said in the window: from the moment its packet left until it was there, ms, sorted; and how many were said and
/// heard.
fn delays(
    speakers: &[CallReport],
    listeners: &[CallReport],
    window: &Range<u64>,
) -> (Vec<f64>, (usize, usize)) {
    let mut found = Vec::new();
    let (mut said, mut heard) = (0, 0);
    for listener in listeners {
        let Some(chirps) = &listener.heard else {
            continue;
        };
        let Some(speaker) = speakers.iter().find(|end| end.call == listener.call) else {
            continue;
        };
        for left in speaker.said.iter().filter(|left| window.contains(left)) {
            said += 1;
            // The next chirp of the speaker is a whole period later.
            let next = chirps.partition_point(|chirp| chirp < left);
            let late = chirps.get(next).map(|chirp| (chirp - left) as f64 / 1e6);
            if let Some(late) = late.filter(|late| *late < f64::from(signal::PERIOD_MS) * 0.8) {
                heard += 1;
                found.push(late);
            }
        }
    }
    (sorted(found), (said, heard))
}

fn loss(sip: &[CallReport], telegram: &[CallReport], metrics: &Metrics, frames: f64) -> Loss {
    let sum = |ends: &[CallReport], of: fn(&CallReport) -> u64| ends.iter().map(of).sum::<u64>();
    let late = metrics.sum_of(
        "strowger_rtp_packets_discarded_total",
        &[("reason", "late")],
    ) + metrics.sum_of(
        "strowger_rtp_packets_discarded_total",
        &[("reason", "overflow")],
    );
    let sent_by_pbx = sum(sip, |end| end.sent);
    let wanted = (sent_by_pbx as f64 / frames) as u64;
    let sent_by_telegram = sum(telegram, |end| end.sent);
    let reached = metrics.sum_of(
        "strowger_rtp_packets_total",
        &[("leg", "telegram"), ("direction", "in")],
    );
    Loss {
        sent_by_pbx,
        at_telegram: wanted.saturating_sub(sum(telegram, |end| end.received)),
        sent_by_telegram,
        at_sip: sent_by_telegram.saturating_sub(reached as u64),
        missing_at_telegram: sum(telegram, |end| end.missing),
        missing_at_sip: sum(sip, |end| end.missing),
        repeated: sum(telegram, |end| end.repeated) + sum(sip, |end| end.repeated),
        in_switch: (metrics.sum("strowger_rtp_packets_lost_total") + late) as u64,
        overruns: 0,
    }
}

/// One second in which a neighbour of the machine took the processor does not move it.
fn median(values: Vec<f64>) -> f64 {
    let values = sorted(values);
    values[values.len() / 2]
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}
