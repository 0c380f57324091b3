//! Lines and quotas under random interleavings of start, answer, end, crash and change of the records: never more than the limit, never
//! a leak. What must be true is kept beside them the plain way.

use std::collections::BTreeMap;

use model::{CallId, QuotaSpec, Reason, SessionName, TrunkName, UserName};

use super::*;

/// Longer than the test.
const WINDOW_S: u32 = 1_000_000;

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// A call as it must be.
#[derive(Clone)]
struct Up {
    trunk: usize,
    session: usize,
    user: Option<usize>,
    /// Those for whom it counts, with what they might use when it began.
    subjects: Vec<(Subject, QuotaSpec)>,
    answered: bool,
}

/// The records: limits of lines, and of failed calls.
struct Records {
    trunks: [u32; 3],
    sessions: [u32; 2],
    users: [u32; 3],
    fail_calls: u32,
}

impl Records {
    fn draw(dice: &mut Dice) -> Self {
        let mut limit = |most: usize| u32::try_from(dice.roll(most)).unwrap();
        Self {
            trunks: [limit(4), limit(5), 0],
            sessions: [limit(7), limit(5)],
            users: [limit(3), limit(4), 0],
            fail_calls: limit(400),
        }
    }
}

struct Names {
    trunks: [TrunkName; 3],
    sessions: [SessionName; 2],
    users: [UserName; 3],
}

impl Names {
    fn subjects(&self, records: &Records, up: &Up) -> Vec<(Subject, QuotaSpec)> {
        let quota = QuotaSpec {
            call_seconds: WINDOW_S,
            fail_calls: records.fail_calls,
            fail_window_seconds: WINDOW_S,
            ..QuotaSpec::new("all".parse().unwrap())
        };
        let trunk = Subject::Trunk(self.trunks[up.trunk].clone());
        let session = Subject::Session(self.sessions[up.session].clone());
        let user = up.user.map(|user| Subject::User(self.users[user].clone()));
        let all = [trunk, session].into_iter().chain(user);
        all.map(|subject| (subject, quota.clone())).collect()
    }
}

/// What the registry has of them, and what it must have.
struct House {
    names: Names,
    records: Records,
    lines: Lines,
    quotas: Quotas,
    /// What is on disk of the quotas.
    kept: BTreeMap<Subject, Usage>,
    up: BTreeMap<usize, Up>,
    failed: BTreeMap<Subject, u32>,
    now: u64,
}

impl House {
    fn new(dice: &mut Dice) -> Self {
        Self {
            names: Names {
                trunks: ["a", "b", "c"].map(|name| name.parse().unwrap()),
                sessions: ["s", "t"].map(|name| name.parse().unwrap()),
                users: ["x", "y", "z"].map(|name| name.parse().unwrap()),
            },
            records: Records::draw(dice),
            lines: Lines::default(),
            quotas: Quotas::default(),
            kept: BTreeMap::new(),
            up: BTreeMap::new(),
            failed: BTreeMap::new(),
            now: 1_000_000,
        }
    }

    fn id(n: usize) -> CallId {
        CallId::new(1, n as u128)
    }

    fn count(&self, what: impl Fn(&Up) -> bool) -> u32 {
        u32::try_from(self.up.values().filter(|up| what(up)).count()).unwrap()
    }

    /// A call begins, or is refused, exactly as it must; a user may become known only when it has begun.
    fn start(&mut self, n: usize, dice: &mut Dice) {
        if self.up.contains_key(&n) {
            return;
        }
        let (trunk, session) = (dice.roll(3), dice.roll(2));
        let (user, is_late) = (
            Some(dice.roll(4)).filter(|user| *user < 3),
            dice.roll(2) == 0,
        );
        let mut up = Up {
            trunk,
            session,
            user: user.filter(|_| !is_late),
            subjects: Vec::new(),
            answered: false,
        };
        up.subjects = self.names.subjects(&self.records, &up);
        let id = Self::id(n);
        if !self.admits(&up.subjects) {
            return;
        }
        let is_full = |limit: u32, used: u32| limit != 0 && used >= limit;
        let session_full = is_full(
            self.records.sessions[session],
            self.count(|up| up.session == session),
        );
        let trunk_full = is_full(
            self.records.trunks[trunk],
            self.count(|up| up.trunk == trunk),
        );
        let user_full = |house: &Self, user: usize| {
            is_full(
                house.records.users[user],
                house.count(|up| up.user == Some(user)),
            )
        };
        let user_is_full = up.user.is_some_and(|user| user_full(self, user));
        let opened = self.lines.open(
            id,
            Some(&self.names.sessions[session]),
            self.records.sessions[session],
        );
        let taken = opened.and_then(|()| {
            let limit = self.records.trunks[trunk];
            self.lines.take(id, &self.names.trunks[trunk], limit)
        });
        let taken = taken.and_then(|()| match up.user {
            Some(user) => {
                let limit = self.records.users[user];
                self.lines.take_user(id, &self.names.users[user], limit)
            }
            None => Ok(()),
        });
        let expected = if session_full {
            Err(Full::Session)
        } else if trunk_full {
            Err(Full::Trunk)
        } else if user_is_full {
            Err(Full::User)
        } else {
            Ok(())
        };
        assert_eq!(taken, expected);
        if taken.is_err() {
            self.lines.release(id);
            return;
        }
        self.quotas.begin(id, up.subjects.clone());
        self.up.insert(n, up);
        if let Some(user) = user.filter(|_| is_late) {
            self.meet(n, user, user_full(self, user));
        }
    }

    /// Telegram has said who is called; who may not have another call ends this one.
    fn meet(&mut self, n: usize, user: usize, is_full: bool) {
        let id = Self::id(n);
        let Some(mut up) = self.up.get(&n).cloned() else {
            return;
        };
        up.user = Some(user);
        let subject = self.names.subjects(&self.records, &up).pop();
        let is_admitted = self.admits(subject.as_slice());
        if !is_admitted {
            return self.end(n, CallEnd::Other);
        }
        let limit = self.records.users[user];
        for _ in 0..2 {
            // What it has it has, however often it is asked for.
            let taken = self.lines.take_user(id, &self.names.users[user], limit);
            assert_eq!(taken.is_err(), is_full);
        }
        if is_full {
            return self.end(n, CallEnd::Other);
        }
        self.quotas.join(id, subject.clone());
        up.subjects.extend(subject);
        self.up.insert(n, up);
    }

    fn admits(&mut self, subjects: &[(Subject, QuotaSpec)]) -> bool {
        let used = |subject: &Subject| self.failed.get(subject).copied().unwrap_or(0);
        let is_used_up = |(subject, quota): &(Subject, QuotaSpec)| {
            quota.fail_calls != 0 && used(subject) >= quota.fail_calls
        };
        let expected = !subjects.iter().any(is_used_up);
        let admitted = self.quotas.admit(self.now, subjects);
        assert_eq!(admitted.is_ok(), expected, "{subjects:?}");
        if let Err(cause) = &admitted {
            assert_eq!(cause.reason(), Reason::FailCalls);
        }
        expected
    }

    fn answer(&mut self, n: usize) {
        if let Some(up) = self.up.get_mut(&n) {
            up.answered = true;
            self.quotas.answered(self.now, self.now, Self::id(n), None);
        }
    }

    /// A call is over, which may be told twice: it says so itself, and its supervisor notices.
    fn end(&mut self, n: usize, end: CallEnd) {
        let up = self.up.remove(&n);
        for _ in 0..2 {
            let released = self.lines.release(Self::id(n));
            self.quotas.over(self.now, Self::id(n), end);
            if let Some(trunks) = released {
                let up = up.as_ref().expect("a line of no call");
                assert_eq!(trunks, [self.names.trunks[up.trunk].clone()]);
            }
        }
        let counts = |(_, quota): &&(Subject, QuotaSpec)| quota.fail_calls != 0;
        for (subject, _) in up.iter().flat_map(|up| up.subjects.iter().filter(counts)) {
            if end == CallEnd::Failed {
                *self.failed.entry(subject.clone()).or_default() += 1;
            }
        }
    }

    /// Half a second after it was counted it is on disk.
    fn write(&mut self) {
        for (subject, usage) in self.quotas.changed() {
            match usage {
                Some(usage) => self.kept.insert(subject, usage),
                None => self.kept.remove(&subject),
            };
        }
    }

    /// The registry dies; the next one hears from the calls that live, in whatever order, and perhaps twice.
    fn crash(&mut self) {
        self.write();
        (self.lines, self.quotas) = (Lines::default(), Quotas::default());
        for (subject, usage) in &self.kept {
            self.quotas.restore(subject.clone(), *usage);
        }
        for (n, up) in self.up.iter().chain(self.up.iter().take(2)) {
            let id = Self::id(*n);
            let user = up.user.map(|user| &self.names.users[user]);
            let trunk = std::slice::from_ref(&self.names.trunks[up.trunk]);
            self.lines
                .adopt(id, trunk, Some(&self.names.sessions[up.session]), user);
            self.quotas.begin(id, up.subjects.clone());
            if up.answered {
                self.quotas.answered(self.now, self.now, id, None);
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.lines.calls(), self.up.len());
        let sums = (self.count(|_| true), self.count(|up| up.user.is_some()));
        assert_eq!(self.lines.beside_trunks(), sums);
        assert_eq!(self.lines.of_trunks(), sums.0);
        for (n, name) in self.names.trunks.iter().enumerate() {
            let up = self.count(|up| up.trunk == n);
            assert_eq!(self.lines.trunk_in_use(name), up);
        }
        for (n, name) in self.names.sessions.iter().enumerate() {
            let up = self.count(|up| up.session == n);
            assert_eq!(self.lines.session_in_use(name), up);
        }
        for (n, name) in self.names.users.iter().enumerate() {
            let up = self.count(|up| up.user == Some(n));
            assert_eq!(self.lines.user_in_use(name), up);
        }
        assert_eq!(self.quotas.calls(), self.up.len());
        // Whoever talks is watched, and nobody else.
        let talks = self.up.values().any(|up| up.answered);
        assert_eq!(self.quotas.next(self.now).is_some(), talks);
    }
}

#[test]
fn leases_and_quotas_never_exceed_a_limit_and_never_leak() {
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let mut house = House::new(&mut dice);
        for _ in 0..2000 {
            let n = dice.roll(14);
            house.now += u64::try_from(dice.roll(3)).unwrap();
            match dice.roll(20) {
                0..=8 => house.start(n, &mut dice),
                9..=12 => house.answer(n),
                13..=14 => house.end(n, CallEnd::Other),
                15..=17 => house.end(n, CallEnd::Failed),
                18 => house.crash(),
                // What is up keeps what it has, also when less is allowed from now on.
                _ => house.records = Records::draw(&mut dice),
            }
            house.check();
        }
        for n in 0..14 {
            house.end(n, CallEnd::Other);
        }
        house.check();
        assert_eq!((house.lines.calls(), house.up.len()), (0, 0));
    }
}
