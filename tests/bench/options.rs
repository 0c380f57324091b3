//! The options of the benchmark.

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Reading an INVITE.
    Parse,
    /// Decisions and records with ten thousand trunks.
    Records,
    /// A change of records until calls are decided by it.
    Commit,
    /// Calls a second between two trunks.
    Signalling,
    /// Registrations a second.
    Registration,
    /// Calls at ten times the rate that can be carried.
    Overload,
    /// Calls held between a PBX and Telegram.
    Transcode,
    /// How fast calls to Telegram are set up, and what accounts cost that do nothing.
    Telegram,
}

impl Workload {
    fn read(word: &str) -> Option<Self> {
        match word {
            "parse" => Some(Workload::Parse),
            "records" => Some(Workload::Records),
            "commit" => Some(Workload::Commit),
            "signalling" => Some(Workload::Signalling),
            "registration" => Some(Workload::Registration),
            "overload" => Some(Workload::Overload),
            "transcode" => Some(Workload::Transcode),
            "telegram" => Some(Workload::Telegram),
            _ => None,
        }
    }
}

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The one workload to run; without, all of them.
    pub(crate) only: Option<Workload>,
    pub(crate) calls: usize,
    pub(crate) seconds: u64,
    /// Calls between two trunks, and how many a second.
    pub(crate) sip_calls: usize,
    pub(crate) per_second: f64,
    /// Registrations, and how many a second.
    pub(crate) registrations: usize,
    pub(crate) registrations_per_second: f64,
    /// Calls to a Telegram user that are timed until Telegram is asked, and others until there is media.
    pub(crate) dials: usize,
    pub(crate) answered: usize,
    /// Accounts that are logged in at once, and for how long they are watched doing nothing, seconds.
    pub(crate) accounts: usize,
    pub(crate) idle: u64,
    /// Audio in a packet of the Telegram peer, ms.
    pub(crate) tg_frame: u32,
    /// Audio in a packet that the switch sends to Telegram, ms.
    pub(crate) switch_frame: u32,
    pub(crate) sweep: bool,
    pub(crate) floor: bool,
    /// Ends with 1 when a bar is missed.
    pub(crate) strict: bool,
    /// Keeps the folder with the logs.
    pub(crate) keep: bool,
}

const HELP: &str = "\
What a call costs: make bench [ARGS=\"...\"]
  --only WORKLOAD    parse, records, commit, signalling, registration, overload, transcode or telegram alone
  --sip-calls N      signalling: calls between two trunks (20000)
  --per-second N     signalling: how many a second (200)
  --registrations N  registration: how many (3000), 100 a second
  --dials N          telegram: calls that are timed until Telegram is asked (100)
  --answered N       telegram: calls that are timed until there is media (30)
  --accounts N       telegram: accounts logged in at once (100)
  --idle N           telegram: seconds for which they are watched (60)
  --calls N          transcode, like all that follow: calls held at once (20)
  --seconds N        how long they are held (20)
  --sweep            5, 20, 60 and 120 calls, one after the other
  --tg-frame MS      length of the Telegram peer's frames: 20, 40 or 60 (60, as official apps)
  --switch-frame MS  length of the switch's frames towards Telegram (20)
  --floor            only libopus alone
  --strict           exit with 1 when a bar is missed
  --keep             keep the logs in target/bench";

impl Options {
    /// Reads the command line; `None` when only help was wanted.
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self {
            only: None,
            sip_calls: 20_000,
            per_second: 200.0,
            registrations: 3_000,
            registrations_per_second: 100.0,
            dials: 100,
            answered: 30,
            accounts: 100,
            idle: 60,
            calls: 20,
            seconds: 20,
            tg_frame: 60,
            switch_frame: 20,
            sweep: false,
            floor: false,
            strict: false,
            keep: false,
        };
        while let Some(word) = words.next() {
            if word == "--only" {
                let named = words.next().and_then(|word| Workload::read(&word));
                options.only = Some(named.unwrap_or_else(|| panic!("--only what?\n{HELP}")));
                continue;
            }
            let mut number = || {
                let value = words.next().and_then(|value| value.parse().ok());
                value.unwrap_or_else(|| panic!("{word} needs a number\n{HELP}"))
            };
            match word.as_str() {
                "--calls" => options.calls = number(),
                "--sip-calls" => options.sip_calls = number(),
                "--per-second" => options.per_second = number() as f64,
                "--registrations" => options.registrations = number(),
                "--dials" => options.dials = number(),
                "--answered" => options.answered = number(),
                "--accounts" => options.accounts = number(),
                "--idle" => options.idle = number() as u64,
                "--seconds" => options.seconds = number() as u64,
                "--tg-frame" => options.tg_frame = number() as u32,
                "--switch-frame" => options.switch_frame = number() as u32,
                "--sweep" => options.sweep = true,
                "--floor" => options.floor = true,
                "--strict" => options.strict = true,
                "--keep" => options.keep = true,
                // What cargo adds.
                "--bench" => {}
                "--help" | "-h" => {
                    println!("{HELP}");
                    return None;
                }
                other => panic!("unknown option {other}\n{HELP}"),
            }
        }
        assert!(options.calls > 0 && options.seconds > 0, "{HELP}");
        Some(options)
    }

    /// Whether a workload is wanted.
    pub(crate) fn does(&self, workload: Workload) -> bool {
        self.only.is_none_or(|only| only == workload)
    }
}
