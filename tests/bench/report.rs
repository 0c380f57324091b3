//! What is printed, and `target/bench.json`.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::options::Options;
use crate::run::Outcome;

/// At most this many times what libopus alone costs.
const RATIO: f64 = 1.4;
const KB_PER_CALL: f64 = 500.0;
const DELAY_MS: f64 = 25.0;

impl Outcome {
    /// CPU-seconds of the switch's process, user and system, for each minute of a call.
    fn cost(&self) -> f64 {
        self.cpu / self.call_minutes
    }

    /// To libopus in a loop, which never sleeps: the bar, whatever the processors do.
    pub(crate) fn ratio(&self) -> f64 {
        self.cost() / self.floor.sum()
    }

    /// To libopus at the pace of the calls, which sleeps as often as the switch must: for information.
    pub(crate) fn pace_ratio(&self) -> f64 {
        self.cost() / self.floor_in_step
    }

    pub(crate) fn kb_per_call(&self) -> f64 {
        (self.held_kb - self.idle_kb) / self.calls as f64
    }

    /// Whether every bar is met.
    pub(crate) fn is_good(&self) -> bool {
        self.bars().iter().all(|(_, good)| *good)
    }

    fn bars(&self) -> Vec<(String, bool)> {
        let (ratio, kb) = (self.ratio(), self.kb_per_call());
        let delay = quantile(&self.to_telegram, 0.5);
        let lost = self.loss.total();
        let cpu = (
            format!("CPU {ratio:.2} x libopus alone in a loop, bar {RATIO}"),
            ratio <= RATIO,
        );
        let others = [
            (
                format!("memory {kb:.0} kB a call, bar {KB_PER_CALL:.0}"),
                kb <= KB_PER_CALL,
            ),
            (
                format!("delay SIP to Telegram {delay:.1} ms median, bar {DELAY_MS:.0}"),
                delay <= DELAY_MS,
            ),
            (format!("{lost} packets lost, bar 0"), lost == 0),
        ];
        std::iter::once(cpu).chain(others).collect()
    }

    /// Prints everything about a run.
    pub(crate) fn print(&self, options: &Options) {
        let per_minute = |seconds: f64| seconds / self.call_minutes;
        println!(
            "\n{} calls PBX alaw <-> Telegram Opus for {:.0} s ({:.1} call-minutes); Telegram sends {} ms frames, the switch {} ms; processors {}",
            self.calls,
            self.call_minutes * 60.0 / self.calls as f64,
            self.call_minutes,
            options.tg_frame,
            options.switch_frame,
            if self.slept {
                "asleep between two packets"
            } else {
                "kept awake"
            }
        );
        println!(
            "  CPU of the switch      {:.4} CPU-s per call-minute ({:.4} in the median second)",
            self.cost(),
            self.median_second
        );
        println!(
            "  libopus alone          {:.4} CPU-s per call-minute at the pace of the calls: the switch costs {:.2} x that",
            self.floor_in_step,
            self.pace_ratio()
        );
        println!(
            "  libopus and packets    {:.4} CPU-s per call-minute, received and sent by UDP at that pace and nothing else: {:.2} x the loop",
            self.floor_with_packets,
            self.floor_with_packets / self.floor.sum()
        );
        println!(
            "  libopus in a loop      {:.4} CPU-s per call-minute (encode {:.4}, decode {:.4}), never asleep: {:.2} x that",
            self.floor.sum(),
            self.floor.encode,
            self.floor.decode,
            self.ratio()
        );
        println!(
            "  after a nap of 10 ms   a processor here needs {:.2} x the time to read 1 MiB, {:.2} x for arithmetic without memory",
            self.nap.memory, self.nap.arithmetic
        );
        println!(
            "  memory                 {:.0} kB a call ({:.0} kB resident idle, {:.0} kB during; {:.0} kB a call without the pages of the program's file)",
            self.kb_per_call(),
            self.idle_kb,
            self.held_kb,
            self.added_anonymous_kb / self.calls as f64
        );
        println!(
            "  delay SIP to Telegram  {} beyond the frame; the codec's own is {:.1} ms",
            spread(&self.to_telegram),
            self.codec_delay
        );
        println!("  delay Telegram to SIP  {}", spread(&self.to_sip));
        println!("  answered after         {}", spread(&self.set_up_ms));
        let loss = self.loss;
        println!(
            "  lost                   {} packets: {} of {} missing at Telegram, {} gaps at SIP, {} in the switch ({} repeated, {} of Telegram's {} not counted in, {} socket overruns)",
            loss.total(),
            loss.missing_at_telegram,
            loss.sent_by_pbx,
            loss.missing_at_sip,
            loss.in_switch,
            loss.repeated,
            loss.at_sip,
            loss.sent_by_telegram,
            loss.overruns
        );
        println!(
            "  of all sent, not received before the end: {} packets of the PBX",
            loss.at_telegram
        );
        let chirps = self.chirps;
        println!(
            "  chirps heard           {} of {} by Telegram, {} of {} by the PBX",
            chirps.heard_by_telegram,
            chirps.said_by_pbx,
            chirps.heard_by_pbx,
            chirps.said_by_telegram
        );
        if self.slept {
            println!("  machine                {:.0} % busy", self.busy * 100.0);
        }
        for (name, work) in &self.threads {
            if work.cpu > 0.005 * self.cpu {
                println!(
                    "    thread {name:<18} {:.4} CPU-s per call-minute, {:.0} waits a second",
                    per_minute(work.cpu),
                    work.waits * self.calls as f64 / (self.call_minutes * 60.0)
                );
            }
        }
        for (bar, good) in self.bars() {
            println!("  {} {bar}", if good { "ok    " } else { "MISSED" });
        }
        for note in &self.notes {
            println!("  note: {note}");
        }
    }

    /// Of the floor beside it.
    fn floor_figures(&self, prefix: &str) -> Map<String, Value> {
        let figures = json!({
            "cpu_s_per_call_minute": rounded(self.floor.sum(), 4),
            "at_pace_cpu_s_per_call_minute": rounded(self.floor_in_step, 4),
            "with_packets_cpu_s_per_call_minute": rounded(self.floor_with_packets, 4),
            "codec_delay_ms": rounded(self.codec_delay, 2),
            "memory_after_nap_ratio": rounded(self.nap.memory, 2),
            "arithmetic_after_nap_ratio": rounded(self.nap.arithmetic, 2),
        });
        named(prefix, figures)
    }

    fn figures(&self, prefix: &str) -> Map<String, Value> {
        let figures = json!({
            "calls": self.calls,
            "cpu_s_per_call_minute": rounded(self.cost(), 4),
            "median_second_cpu_s_per_call_minute": rounded(self.median_second, 4),
            "kb_per_call": rounded(self.kb_per_call(), 1),
            "added_delay_ms.median": rounded(quantile(&self.to_telegram, 0.5), 2),
            "added_delay_ms.p99": rounded(quantile(&self.to_telegram, 0.99), 2),
            "to_sip_delay_ms.median": rounded(quantile(&self.to_sip, 0.5), 2),
            "to_sip_delay_ms.p99": rounded(quantile(&self.to_sip, 0.99), 2),
            "set_up_ms.median": rounded(quantile(&self.set_up_ms, 0.5), 1),
            "lost_packets": self.loss.total(),
            "to_floor_ratio": rounded(self.ratio(), 3),
            "to_floor_at_pace_ratio": rounded(self.pace_ratio(), 3),
        });
        named(prefix, figures)
    }
}

fn named(prefix: &str, figures: Value) -> Map<String, Value> {
    let Value::Object(figures) = figures else {
        unreachable!("an object")
    };
    figures
        .into_iter()
        .map(|(name, value)| (format!("{prefix}.{name}"), value))
        .collect()
}

/// How it is measured, once.
pub(crate) fn explain() {
    println!(
        "\nCPU: of the switch's process, user and system time, while all calls are held, by minutes of calls. In the median second:\n\
         without what other tenants of the machine took of some of them.\n\
         Floor: the same codec work by libopus in one thread at the pace of the calls, before and after the run: a frame of each\n\
         call every 20 ms, then asleep, as a program in real time must be; the median second. In a loop: without sleeping,\n\
         the best of three, all in the cache; the bar is set against this one. With packets: at the pace of the calls again, and\n\
         for each frame one packet received and one sent by UDP, which no switch can do without. Measured twice: on processors that sleep between two\n\
         packets, and on such as are kept awake.\n\
         The peers look at their sockets every 2 ms instead of being woken by each datagram, which the kernel would do in the\n\
         time of the switch.\n\
         Memory: the most resident while the calls are held, less what was resident before the first, by calls.\n\
         Delay: a chirp begins with the first sample of a packet. It is said when that packet leaves and heard when the packet\n\
         of the other side arrives in which it begins, plus its place in that packet; what is longer in our frames than in the\n\
         PBX's is taken off. So the codec's own delay is in it, the time to fill a frame is not. One figure for each chirp.\n\
         Lost: gaps in the sequence numbers at either peer, and what the switch itself missed or threw away as late."
    );
}

/// `target/bench.json`: the figures beside those that are there of other workloads, written as soon as they are known. One object a workload;
/// here they are known by their path, `transcode.added_delay_ms.p99`.
pub(crate) struct Figures {
    path: std::path::PathBuf,
    all: Map<String, Value>,
}

/// Every figure by its path.
fn flat(prefix: &str, value: Value, into: &mut Map<String, Value>) {
    let Value::Object(inner) = value else {
        into.insert(prefix.to_owned(), value);
        return;
    };
    for (name, value) in inner {
        let path = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        flat(&path, value, into);
    }
}

/// Every figure at its path.
fn nested(all: &Map<String, Value>) -> Value {
    let mut whole = Value::Object(Map::new());
    for (path, value) in all {
        let mut place = &mut whole;
        for name in path.split('.') {
            place = &mut place[name];
        }
        *place = value.clone();
    }
    whole
}

impl Figures {
    pub(crate) fn read(path: &Path) -> Self {
        let old = fs::read_to_string(path).ok();
        let mut all = Map::new();
        if let Some(old) = old.and_then(|text| serde_json::from_str(&text).ok()) {
            flat("", old, &mut all);
        }
        Self {
            path: path.to_owned(),
            all,
        }
    }

    pub(crate) fn add(&mut self, figures: impl FnOnce(&mut Map<String, Value>)) {
        figures(&mut self.all);
        let text = serde_json::to_string_pretty(&nested(&self.all)).unwrap() + "\n";
        fs::write(&self.path, text).unwrap();
        println!("  figures in {}", self.path.display());
    }
}

/// The figures of calls that were held: those on processors that slept are the plain ones.
pub(crate) fn outcomes(all: &mut Map<String, Value>, outcomes: &[Outcome], sweep: bool) {
    for outcome in outcomes {
        let state = if outcome.slept { "" } else { "_awake" };
        if sweep {
            all.extend(outcome.figures(&format!("transcode{state}_{}_calls", outcome.calls)));
        }
        if !sweep || outcome.calls == 20 {
            all.extend(outcome.figures(&format!("transcode{state}")));
            all.extend(outcome.floor_figures(&format!("floor{state}")));
        }
    }
}

/// Prints whether the cost of a call depends on how many there are.
pub(crate) fn compare(outcomes: &[Outcome]) {
    println!("\ncalls  CPU-s/call-minute  x floor  kB/call  delay ms (p99)  lost");
    for outcome in outcomes {
        println!(
            "{:>5}  {:>17.4}  {:>7.2}  {:>7.0}  {:>6.1} ({:>5.1})  {:>4}",
            outcome.calls,
            outcome.cost(),
            outcome.ratio(),
            outcome.kb_per_call(),
            quantile(&outcome.to_telegram, 0.5),
            quantile(&outcome.to_telegram, 0.99),
            outcome.loss.total()
        );
    }
    let costs = outcomes.iter().map(Outcome::cost);
    let (least, most) = costs.fold((f64::MAX, 0.0_f64), |(least, most), cost| {
        (least.min(cost), most.max(cost))
    });
    println!(
        "the dearest call costs {:.0} % more than the cheapest: {}",
        (most / least - 1.0) * 100.0,
        if most / least < 1.25 {
            "flat"
        } else {
            "not flat"
        }
    );
}

pub(crate) fn spread(sorted: &[f64]) -> String {
    format!(
        "{:.1} ms median, {:.1} p99, {:.1} most ({} samples)",
        quantile(sorted, 0.5),
        quantile(sorted, 0.99),
        quantile(sorted, 1.0),
        sorted.len()
    )
}

pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let last = sorted.len().saturating_sub(1) as f64;
    let found = sorted.get((last * q).round() as usize);
    found.copied().unwrap_or(f64::NAN)
}

pub(crate) fn rounded(value: f64, digits: i32) -> Value {
    let unit = 10_f64.powi(digits);
    json!((value * unit).round() / unit)
}
