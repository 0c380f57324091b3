use super::*;

const LOOK: Duration = Duration::from_millis(100);
const CALM: Seen = Seen {
    elapsed: LOOK,
    delay: Duration::from_millis(1),
    cpu: 0.2,
    free: Some(1 << 30),
    refused: false,
    filled: 0.0,
    offered: 0,
    admitted: 0,
};

/// A clock, and whoever looks.
struct World {
    now: Instant,
    overload: Overload,
    turns: Vec<(Duration, Turn)>,
    began: Instant,
}

impl World {
    fn new(limits: LoadLimits) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the first moment of a test's own clock"
        )]
        let now = Instant::now();
        Self {
            now,
            overload: Overload::new(limits),
            turns: Vec::new(),
            began: now,
        }
    }

    fn look(&mut self, seen: Seen) -> Admitted {
        self.now += seen.elapsed;
        let (admitted, turn) = self.overload.look(self.now, seen);
        self.turns
            .extend(turn.map(|turn| (self.now - self.began, turn)));
        admitted
    }

    fn looks(&mut self, seen: Seen, span: Duration) -> Admitted {
        let mut admitted = Admitted::ALL;
        for _ in 0..span.as_millis() / LOOK.as_millis() {
            admitted = self.look(seen);
        }
        admitted
    }
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn every_sign_begins_it_when_its_limit_says_and_not_before() {
    let ms = Duration::from_millis;
    let cases = [
        (
            Sign::Delay,
            Seen {
                delay: ms(101),
                ..CALM
            },
            ms(100),
        ),
        (Sign::Cpu, Seen { cpu: 0.86, ..CALM }, s(2)),
        (
            Sign::Memory,
            Seen {
                free: Some((64 << 20) - 1),
                ..CALM
            },
            ms(100),
        ),
        (
            Sign::Mailbox,
            Seen {
                refused: true,
                ..CALM
            },
            ms(1200),
        ),
    ];
    for (sign, seen, after) in cases {
        let mut world = World::new(LoadLimits::default());
        world.looks(CALM, s(5));
        let begun = world.now;
        world.looks(seen, s(3));
        let [(at, turn)] = world.turns[..] else {
            panic!("{sign:?}: {:?}", world.turns)
        };
        let least = after.saturating_sub(ms(200));
        assert_eq!(turn, Turn::Begins(sign));
        let took = (world.began + at).saturating_duration_since(begun);
        assert!(took >= least && took <= after, "{sign:?} {took:?}");
        assert_eq!(world.overload.why(), Some(sign));
        assert_eq!(world.overload.signs(), [sign]);
        // The limit itself is no overload, and zero is none at all.
        for (limits, seen) in [
            (
                LoadLimits::default(),
                Seen {
                    delay: ms(100),
                    cpu: 0.85,
                    free: Some(64 << 20),
                    ..CALM
                },
            ),
            (
                LoadLimits {
                    delay: Duration::ZERO,
                    cpu: 0.0,
                    memory: 0,
                    mailbox: Duration::ZERO,
                },
                seen,
            ),
        ] {
            let mut world = World::new(limits);
            assert_eq!(world.looks(seen, s(5)), Admitted::ALL);
            assert!(world.turns.is_empty(), "{sign:?} {:?}", world.turns);
        }
    }
}

#[test]
fn a_processor_that_is_busy_for_a_moment_is_no_overload() {
    let mut world = World::new(LoadLimits::default());
    for _ in 0..10 {
        world.looks(Seen { cpu: 1.0, ..CALM }, Duration::from_millis(1500));
        world.looks(CALM, s(1));
    }
    assert!(world.turns.is_empty(), "{:?}", world.turns);
}

#[test]
fn without_memory_nobody_is_let_in_and_five_seconds_after_everybody() {
    let mut world = World::new(LoadLimits::default());
    let short = Seen {
        free: Some(1),
        ..CALM
    };
    let admitted = world.looks(short, s(10));
    assert_eq!((admitted.share, admitted.within(s(1))), (0.0, 0));
    let over = world.now - world.began;
    // A little more than the limit is not enough to leave.
    world.looks(
        Seen {
            free: Some(65 << 20),
            ..CALM
        },
        s(10),
    );
    assert_eq!(world.turns.len(), 1, "{:?}", world.turns);
    let before = world.now - world.began;
    assert_eq!(world.looks(CALM, s(5)), Admitted::ALL);
    let (at, turn) = world.turns[1];
    assert!(matches!(turn, Turn::Over(lasted) if lasted >= over));
    assert!(at <= before + s(3), "{at:?} {before:?}");
}

#[test]
fn one_stall_of_a_busy_switch_refuses_nobody_and_one_after_the_other_do() {
    let mut world = World::new(LoadLimits::default());
    let busy = Seen {
        offered: 10,
        admitted: 10,
        ..CALM
    };
    let stalled = Seen {
        delay: Duration::from_millis(300),
        ..busy
    };
    world.looks(busy, s(5));
    for (seen, span) in [(stalled, 1000), (busy, 3000)] {
        for _ in 0..span / 100 {
            let admitted = world.look(seen);
            assert!(admitted.share > 0.99, "{admitted:?}");
        }
    }
    assert_eq!(world.turns.len(), 2, "{:?}", world.turns);
    assert!(world.looks(stalled, s(4)).share < 0.5);
}

#[test]
fn a_stall_of_a_quiet_switch_refuses_nobody() {
    let mut world = World::new(LoadLimits::default());
    let one = Seen {
        offered: 1,
        admitted: 1,
        ..CALM
    };
    world.looks(CALM, s(5));
    let stall = Seen {
        delay: Duration::from_millis(150),
        ..CALM
    };
    world.looks(stall, s(1));
    let admitted = world.look(one);
    assert!(world.overload.why().is_some());
    assert!(admitted.share > 0.999);
    assert!(admitted.within(LOOK) >= 1);
    // A stall that does not end is another matter.
    let admitted = world.looks(Seen { delay: s(5), ..one }, s(20));
    assert!(admitted.share < 0.05, "{admitted:?}");
}

/// A switch that carries so many calls a second with all its processors, where refusing a call costs a fortieth of carrying it.
fn carried(capacity: f64, offered: f64, span: Duration) -> (Vec<f64>, World) {
    let mut world = World::new(LoadLimits::default());
    let mut admitted = Admitted::ALL;
    let mut each = Vec::new();
    let mut backlog = 0.0;
    for _ in 0..span.as_millis() / LOOK.as_millis() {
        let come = offered * LOOK.as_secs_f64();
        let most = admitted.within(LOOK) as f64;
        let in_now = (come * admitted.share).min(most).round();
        let refusing = (come - in_now) / 40.0;
        let room = (capacity * LOOK.as_secs_f64() - refusing).max(0.0);
        let wanted = in_now + backlog;
        let done = wanted.min(room);
        backlog = (wanted - done).min(capacity);
        each.push(done / LOOK.as_secs_f64());
        admitted = world.look(Seen {
            cpu: (done + refusing) / (capacity * LOOK.as_secs_f64()),
            delay: Duration::from_secs_f64(backlog / capacity),
            offered: whole(come.round()),
            admitted: whole(in_now),
            ..CALM
        });
    }
    (each, world)
}

#[test]
fn goodput_holds_at_ten_times_of_what_can_be_carried() {
    // With what the limit leaves of it, and what refusing costs.
    let (capacity, peak) = (1000.0, 850.0);
    for (times, least) in [(1.0, 0.9), (2.0, 0.9), (5.0, 0.8), (10.0, 0.65)] {
        let (each, world) = carried(capacity, capacity * times, s(20));
        let settled = &each[50..];
        let mean = settled.iter().sum::<f64>() / settled.len() as f64;
        assert!(mean >= least * peak, "{times}: {mean}");
        assert_eq!(world.turns.len(), 1, "{times}: {:?}", world.turns);
    }
    // Below its limit nobody is refused, ever.
    let (each, world) = carried(capacity, 800.0, s(20));
    assert!(world.turns.is_empty() && each.iter().all(|each| *each >= 790.0));
}

/// A table with so much room where each call leaves so many entries for 6.4 s, and calls that come at such a rate for such a time, and
/// then no more: what was let in at each look, how full the table was at the most, and who looked.
fn tabled(of_a_call: u64, offered: f64, span: Duration) -> (Vec<f64>, f64, World) {
    const ROOM: usize = 20_000;
    let kept = Duration::from_millis(6_400);
    let mut world = World::new(LoadLimits::default());
    world.overload = Overload::new(LoadLimits::default()).with_table(ROOM, kept);
    let mut admitted = Admitted::ALL;
    let mut entries: VecDeque<(Instant, u64)> = VecDeque::new();
    let (mut each, mut fullest) = (Vec::new(), 0.0_f64);
    let looks = span.as_millis() / LOOK.as_millis();
    for look in 0..looks + 100 {
        let come = if look < looks {
            offered * LOOK.as_secs_f64()
        } else {
            0.0
        };
        while entries
            .front()
            .is_some_and(|(at, _)| world.now.saturating_duration_since(*at) >= kept)
        {
            entries.pop_front();
        }
        let mut in_now = 0;
        let most = whole((come * admitted.share).round()).min(admitted.within(LOOK));
        let taken: u64 = entries.iter().map(|(_, count)| count).sum();
        let filled = |in_now| (taken + in_now * of_a_call) as f64 / ROOM as f64;
        while in_now < most && !is_closed(filled(in_now)) {
            in_now += 1;
        }
        entries.push_back((world.now, in_now * of_a_call));
        fullest = fullest.max(filled(in_now));
        each.push(in_now as f64 / LOOK.as_secs_f64());
        admitted = world.look(Seen {
            offered: whole(come.round()),
            admitted: in_now,
            filled: filled(in_now),
            ..CALM
        });
    }
    (each, fullest, world)
}

#[test]
fn a_table_of_transactions_never_fills_and_what_it_has_room_for_is_carried() {
    for of_a_call in 1..=3 {
        // What goes in when three quarters of it are taken, for ever.
        let room = 20_000.0 * TABLE_MEANT / (of_a_call as f64 * 6.4);
        for (times, least_soon) in [(2.0, 0.9), (5.0, 0.8), (10.0, 0.7), (50.0, 0.5)] {
            let (each, fullest, world) = tabled(of_a_call, room * times, s(60));
            let what = format!("{of_a_call} entries, {times}x");
            assert!(fullest < 0.95, "{what}: {fullest}");
            let mean =
                |from: usize, to: usize| each[from..to].iter().sum::<f64>() / (to - from) as f64;
            let long = mean(100, 600) / room;
            // Who leaves one entry only is taken for one who leaves two.
            let least = if of_a_call == 1 { 0.5 } else { 0.7 };
            assert!(long > least, "{what}: {long} in the long run");
            if of_a_call == 2 {
                assert!(long > 0.95, "{what}: {long} in the long run");
                let soon = mean(30, 80) / room;
                assert!(soon >= least_soon, "{what}: {soon} after 3 s");
            }
            let [(begun, Turn::Begins(sign)), (over, Turn::Over(_))] = world.turns[..] else {
                panic!("{what}: {:?}", world.turns)
            };
            assert_eq!(sign, Sign::Transactions, "{what}");
            assert!(begun < s(15) && over <= s(65), "{what}: {begun:?} {over:?}");
        }
    }
}

#[test]
fn behind_a_wave_of_calls_there_is_no_hole() {
    let room = 20_000.0 * TABLE_MEANT / (OF_A_CALL * 6.4);
    for (times, least) in [(2.0, 0.9), (5.0, 0.7), (10.0, 0.6), (20.0, 0.45)] {
        let (each, _, _) = tabled(2, room * times, s(20));
        // From a second on, which is long before the wave is gone.
        let fewest = each[10..200].iter().copied().fold(MOST, f64::min) / room;
        assert!(fewest > least, "{times}x: {fewest} of what can be carried");
    }
}

/// What a processor sees of ten times the calls that it can carry, of which each costs 0.27 ms and each refused one 24 us: all of it is busy
/// until what was let in at first is done, the mailbox is full and keeps nearly everybody out, and then a quarter goes to refusals.
#[test]
fn what_can_be_carried_is_carried_again_soon_after_a_wave_has_filled_the_mailbox() {
    let limits = LoadLimits {
        cpu: 0.5,
        delay: Duration::ZERO,
        ..LoadLimits::default()
    };
    let mut world = World::new(limits);
    world.overload = Overload::new(limits).with_table(20_000, Duration::from_millis(6_400));
    world.looks(CALM, s(5));
    let mut admitted = Admitted::ALL;
    let mut rates = Vec::new();
    for look in 0..80 {
        let is_wave = look < 23;
        let most = match look {
            0..8 => 300,
            8..23 => 15,
            _ => 1_100,
        };
        let in_now = most.min(whole(admitted.rate.unwrap_or(MOST) * LOOK.as_secs_f64()));
        let cpu = 0.24 + in_now as f64 * 10.0 * 0.000_27;
        admitted = world.look(Seen {
            cpu: if is_wave { 1.0 } else { cpu },
            refused: is_wave,
            // With the table to be looked at nothing is quiet.
            filled: f64::from(look.min(8)) * 0.035,
            offered: 1_100,
            admitted: in_now,
            ..CALM
        });
        rates.push(admitted.rate.unwrap_or(MOST));
    }
    // From half of the processor less what refusing costs: 963.
    let back = rates[23..].iter().position(|rate| *rate > 0.8 * 963.0);
    assert!(back.is_some_and(|looks| looks <= 20), "{rates:?}");
    assert!(
        rates[60..].iter().all(|rate| *rate < 1.2 * 963.0),
        "{rates:?}"
    );
}

#[test]
fn a_table_that_fills_no_faster_than_it_empties_is_no_overload() {
    let (_, fullest, world) = tabled(2, 1_100.0, s(60));
    assert!(fullest > 0.65 && world.turns.is_empty(), "{fullest}");
    // With the usual T1, and a switch that talks with two trunks.
    assert!((Table::new(20_000, s(32)).sustained() - 234.4).abs() < 0.1);
    let mut world = World::new(LoadLimits::default());
    world.overload = Overload::new(LoadLimits::default()).with_table(20_000, s(32));
    let full = Seen {
        filled: 1.0,
        ..CALM
    };
    assert_eq!(world.looks(full, s(30)), Admitted::ALL);
    let one = Seen { offered: 1, ..full };
    assert_eq!(world.look(one).within(LOOK), 0, "there is no room at all");
}

#[test]
fn calls_that_come_all_at_once_are_cut_to_the_rate() {
    let rate = |rate| Admitted {
        share: 1.0,
        rate: Some(rate),
    };
    assert_eq!(rate(100.0).within(LOOK), 15);
    assert_eq!(rate(0.1).within(LOOK), 1);
    assert_eq!(rate(0.0).within(LOOK), 0);
    assert_eq!(Admitted::ALL.within(LOOK), u64::MAX);
}
