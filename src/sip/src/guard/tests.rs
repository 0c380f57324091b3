use std::net::Ipv4Addr;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[allow(clippy::disallowed_methods)] // an arbitrary start of virtual time
fn start() -> Instant {
    Instant::now()
}

fn guard(now: Instant) -> Guard {
    Guard::new(GuardConfig::default(), now, 7)
}

/// How many of `count` datagrams, spread evenly over `time`, get through.
fn passed(guard: &mut Guard, from: Instant, time: Duration, source: IpAddr, count: u32) -> u32 {
    let times = (0..count).map(|n| from + time * n / count);
    let pass = times.filter(|at| guard.admit(*at, source, true) == Admission::Pass);
    u32::try_from(pass.count()).unwrap()
}

#[test]
fn a_stranger_may_send_40_at_once_and_20_a_second() {
    let now = start();
    let mut guard = guard(now);
    let (noisy, quiet) = (ip("192.0.2.1"), ip("192.0.2.2"));
    assert_eq!(passed(&mut guard, now, Duration::ZERO, noisy, 100), 40);
    let after = now + SECOND / 1_000;
    assert_eq!(passed(&mut guard, after, SECOND, noisy, 2_000), 20);
    // Somebody else notices nothing of it.
    assert_eq!(passed(&mut guard, now + SECOND, SECOND, quiet, 20), 20);
    // Who was silent for two seconds has everything again.
    let later = now + 10 * SECOND;
    assert_eq!(passed(&mut guard, later, Duration::ZERO, noisy, 41), 40);
}

#[test]
fn what_one_network_of_ipv6_sends_is_counted_together() {
    let now = start();
    let mut guard = guard(now);
    let addresses = (0..100).map(|n| ip(&format!("2001:db8::{n:x}")));
    let pass = addresses.filter(|ip| guard.admit(now, *ip, true) == Admission::Pass);
    assert_eq!(pass.count(), 40);
    assert_eq!(
        guard.admit(now, ip("2001:db8:0:1::1"), true),
        Admission::Pass
    );
}

#[test]
fn all_strangers_together_may_send_1000_a_second() {
    let now = start();
    let mut guard = guard(now);
    let mut pass = 0;
    for n in 0..50_000_u32 {
        let source = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + n));
        let at = now + 10 * SECOND * n / 50_000;
        if guard.admit(at, source, true) == Admission::Pass {
            pass += 1;
        }
    }
    assert!((10_000..=10_200).contains(&pass), "{pass} in ten seconds");
}

#[test]
fn the_known_have_their_own_budget_and_only_requests_count() {
    let now = start();
    let mut guard = guard(now);
    let (peer, mapped) = (ip("192.0.2.1"), ip("::ffff:192.0.2.1"));
    guard.know(now, peer);
    assert!(guard.is_known(mapped));
    for n in 0..20_000_u32 {
        // Strangers use up everything of theirs.
        guard.admit(now, IpAddr::from(Ipv4Addr::from(0x0a00_0000 + n)), true);
    }
    assert_eq!(passed(&mut guard, now, Duration::ZERO, peer, 1_300), 1_000);
    assert_eq!(guard.admit(now, mapped, true), Admission::OverBudget);
    assert_eq!(guard.admit(now, peer, false), Admission::Pass);
    // Being told again that it is known does not give it more.
    guard.know(now, peer);
    assert_eq!(guard.admit(now, peer, true), Admission::OverBudget);
    assert_eq!(
        passed(&mut guard, now + SECOND / 100, SECOND, peer, 5_000),
        1_009
    );
    guard.forget(peer);
    assert!(guard.is_known(peer), "it was told twice");
    guard.forget(mapped);
    assert!(!guard.is_known(peer));
}

#[test]
fn ten_failures_in_a_minute_are_a_ban_and_the_next_one_is_twice_as_long() {
    let mut now = start();
    let mut guard = guard(now);
    let source = ip("192.0.2.1");
    // Nine, and again nine a minute later, are none.
    for _ in 0..2 {
        for _ in 0..9 {
            assert_eq!(guard.failed(now, source, None), None);
        }
        now += 60 * SECOND;
    }
    for length in [
        600, 1_200, 2_400, 4_800, 9_600, 19_200, 38_400, 76_800, 86_400, 86_400,
    ] {
        for _ in 0..9 {
            assert_eq!(guard.failed(now, source, None), None);
        }
        let ban = guard.failed(now, source, None).unwrap();
        assert_eq!(ban.until - now, length * SECOND);
        assert_eq!(guard.admit(now, source, true), Admission::Banned);
        let last = now + (length - 1) * SECOND;
        assert_eq!(guard.admit(last, source, false), Admission::Banned);
        assert_eq!(guard.bans(last), [ban]);
        now = ban.until;
        assert_eq!(guard.admit(now, source, true), Admission::Pass);
        assert_eq!(guard.bans(now), []);
    }
    // A day without any, and it begins anew.
    now += 86_400 * SECOND;
    let ban = (0..10).find_map(|_| guard.failed(now, source, None));
    assert_eq!(ban.unwrap().until - now, 600 * SECOND);
}

#[test]
fn the_known_are_never_banned_and_success_forgives() {
    let now = start();
    let mut guard = guard(now);
    let (peer, phone) = (ip("192.0.2.1"), ip("192.0.2.2"));
    guard.know(now, peer);
    for _ in 0..100 {
        assert_eq!(guard.failed(now, peer, None), None);
    }
    assert_eq!(guard.admit(now, peer, true), Admission::Pass);
    for _ in 0..9 {
        guard.failed(now, phone, Some("office"));
    }
    guard.succeeded(phone, "office");
    for _ in 0..9 {
        assert_eq!(guard.failed(now, phone, Some("office")), None);
    }
}

#[test]
fn an_account_that_is_guessed_at_stays_open_to_those_who_used_it() {
    let now = start();
    let mut guard = guard(now);
    let pbx = ip("192.0.2.1");
    guard.succeeded(pbx, "office");
    for n in 0..29_u32 {
        let source = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + n));
        guard.failed(now, source, Some("office"));
    }
    let new = ip("192.0.2.9");
    assert!(guard.is_open(now, new, "office"));
    guard.failed(now, ip("10.1.1.1"), Some("office"));
    assert!(!guard.is_open(now, new, "office"));
    assert!(guard.is_open(now, pbx, "office"));
    assert!(guard.is_open(now, new, "warehouse"));
    assert!(guard.is_open(now + 600 * SECOND, new, "office"));
}

#[test]
fn the_list_is_bounded_and_the_quietest_goes_first() {
    let now = start();
    let config = GuardConfig {
        failures: 1,
        sources: 100,
        ..GuardConfig::default()
    };
    let mut guard = Guard::new(config, now, 7);
    let source = |n: u32| IpAddr::from(Ipv4Addr::from(0x0a00_0000 + n));
    for n in 0..150 {
        assert!(guard.failed(now, source(n), None).is_some());
        // The first one goes on failing, so it stays.
        guard.failed(now, source(0), None);
    }
    let bans = guard.bans(now);
    assert_eq!(bans.len(), 100);
    assert_eq!(guard.admit(now, source(0), true), Admission::Banned);
    assert_eq!(guard.admit(now, source(1), true), Admission::Pass);
    assert_eq!(guard.admit(now, source(149), true), Admission::Banned);
}

#[test]
fn an_owner_bans_an_address_or_a_network_and_every_change_counts_up() {
    let now = start();
    let mut guard = guard(now);
    let before = guard.generation(now);
    guard.ban("192.0.2.1".parse().unwrap(), now + 60 * SECOND);
    guard.ban("198.51.100.0/24".parse().unwrap(), now + 90 * SECOND);
    assert_eq!(guard.generation(now), before + 2);
    for banned in ["192.0.2.1", "198.51.100.200"] {
        assert_eq!(guard.admit(now, ip(banned), true), Admission::Banned);
    }
    assert_eq!(guard.admit(now, ip("192.0.2.2"), true), Admission::Pass);
    let shown: Vec<String> = guard
        .bans(now)
        .iter()
        .map(|ban| ban.prefix.to_string())
        .collect();
    assert_eq!(shown, ["192.0.2.1", "198.51.100.0/24"]);
    assert_eq!(guard.generation(now + 60 * SECOND), before + 3);
    assert_eq!(guard.generation(now + 90 * SECOND), before + 4);
    assert_eq!(guard.bans(now + 90 * SECOND), []);
}

#[test]
fn a_ban_outlives_the_process_and_can_be_lifted() {
    let now = start();
    let source = ip("192.0.2.1");
    let mut first = guard(now);
    let ban = (0..10)
        .find_map(|_| first.failed(now, source, None))
        .unwrap();
    let network = "198.51.100.0/24".parse().unwrap();
    first.ban(network, now + 60 * SECOND);
    let mut second = guard(now);
    for ban in first.bans(now) {
        second.restore(ban);
    }
    assert_eq!(second.bans(now), first.bans(now));
    assert_eq!(second.admit(now, source, true), Admission::Banned);
    assert!(second.lift(ban.prefix) && second.lift(network));
    assert!(!second.lift(ban.prefix) && !second.lift(network));
    assert_eq!(second.bans(now), []);
    assert_eq!(second.admit(now, source, true), Admission::Pass);
    // What was lifted does not count for the next one; what was restored does.
    let again = |guard: &mut Guard, at| {
        let ban = (0..10).find_map(|_| guard.failed(at, source, None));
        ban.unwrap().until - at
    };
    assert_eq!(again(&mut second, now), 600 * SECOND);
    let mut third = guard(now);
    third.restore(ban);
    assert_eq!(again(&mut third, ban.until), 1_200 * SECOND);
}
