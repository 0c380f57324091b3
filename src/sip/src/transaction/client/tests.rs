use super::*;

#[test]
fn figure_6() {
    let t1 = Duration::from_millis(500);
    let octets = Bytes::from_static(b"request");
    let trying = |interval| State::Trying { interval };
    let response = |status| Response::new(status, "");
    let deliver = |status| Action::Deliver(response(status));
    let heard = |status| Event::from(response(status));
    let timer = Event::Timer;
    let repeat = |after| vec![Action::Send(octets.clone()), Action::Set(Timer::E, after)];
    let done = |status| {
        vec![
            Action::Stop(Timer::E),
            Action::Stop(Timer::F),
            deliver(status),
            Action::Set(Timer::K, Duration::from_secs(5)),
        ]
    };
    let table: Vec<(State, Event, State, Vec<Action>)> = vec![
        (trying(t1), timer(Timer::E), trying(t1 * 2), repeat(t1 * 2)),
        (
            trying(t1 * 8),
            timer(Timer::E),
            trying(t1 * 8),
            repeat(t1 * 8),
        ),
        (
            trying(t1),
            timer(Timer::F),
            State::Terminated,
            vec![Action::Fail(Failure::TimedOut)],
        ),
        (
            trying(t1),
            Event::TransportError,
            State::Terminated,
            vec![Action::Fail(Failure::Transport)],
        ),
        (
            trying(t1),
            heard(100),
            State::Proceeding,
            vec![deliver(100)],
        ),
        (trying(t1), heard(200), State::Completed, done(200)),
        (trying(t1), heard(404), State::Completed, done(404)),
        (
            State::Proceeding,
            timer(Timer::E),
            State::Proceeding,
            repeat(t1 * 8),
        ),
        (
            State::Proceeding,
            timer(Timer::F),
            State::Terminated,
            vec![Action::Fail(Failure::TimedOut)],
        ),
        (
            State::Proceeding,
            Event::TransportError,
            State::Terminated,
            vec![Action::Fail(Failure::Transport)],
        ),
        (
            State::Proceeding,
            heard(100),
            State::Proceeding,
            vec![deliver(100)],
        ),
        (State::Proceeding, heard(200), State::Completed, done(200)),
        (State::Completed, heard(200), State::Completed, vec![]),
        (State::Completed, heard(100), State::Completed, vec![]),
        (State::Completed, timer(Timer::E), State::Completed, vec![]),
        (State::Completed, timer(Timer::K), State::Terminated, vec![]),
        (State::Terminated, heard(200), State::Terminated, vec![]),
    ];
    for (before, event, after, actions) in table {
        let label = format!("{before:?} + {event:?}");
        let mut machine = Client {
            state: before,
            bytes: octets.clone(),
        };
        let mut out = Vec::new();
        machine.on(&Times::default(), event, &mut out);
        assert_eq!((machine.state, out), (after, actions), "{label}");
    }
}
