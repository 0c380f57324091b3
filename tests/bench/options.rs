//! The options of the benchmark.

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) calls: usize,
    pub(crate) seconds: u64,
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
  --calls N          calls held at once (20)
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
            let mut number = || {
                let value = words.next().and_then(|value| value.parse().ok());
                value.unwrap_or_else(|| panic!("{word} needs a number\n{HELP}"))
            };
            match word.as_str() {
                "--calls" => options.calls = number(),
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
}
