use std::time::Duration;

use super::*;

#[test]
fn figure_8() {
    let long = Duration::from_secs(32);
    let octets = |text: &'static str| Bytes::from_static(text.as_bytes());
    let proceeding = || State::Proceeding {
        last: octets("100"),
    };
    let completed = || State::Completed {
        last: octets("200"),
    };
    let send = |text| Action::Send(octets(text));
    let timer = Event::Timer;
    let done = vec![
        Action::Stop(Timer::Late),
        send("200"),
        Action::Set(Timer::J, long),
    ];
    let table: Vec<(State, Event, State, Vec<Action>)> = vec![
        (State::Trying, Event::Request, State::Trying, vec![]),
        (
            State::Trying,
            Event::Provisional(octets("100")),
            proceeding(),
            vec![send("100")],
        ),
        (
            State::Trying,
            Event::Final(octets("200")),
            completed(),
            done.clone(),
        ),
        (State::Trying, timer(Timer::Late), State::Terminated, vec![]),
        (State::Trying, timer(Timer::J), State::Trying, vec![]),
        (
            proceeding(),
            Event::Request,
            proceeding(),
            vec![send("100")],
        ),
        (
            proceeding(),
            Event::Provisional(octets("100")),
            proceeding(),
            vec![send("100")],
        ),
        (proceeding(), Event::Final(octets("200")), completed(), done),
        (proceeding(), timer(Timer::Late), State::Terminated, vec![]),
        (completed(), Event::Request, completed(), vec![send("200")]),
        (
            completed(),
            Event::Final(octets("500")),
            completed(),
            vec![],
        ),
        (completed(), timer(Timer::Late), completed(), vec![]),
        (completed(), timer(Timer::J), State::Terminated, vec![]),
        (State::Terminated, Event::Request, State::Terminated, vec![]),
    ];
    for (before, event, after, actions) in table {
        let label = format!("{before:?} + {event:?}");
        let mut machine = Server { state: before };
        let mut out = Vec::new();
        machine.on(&Times::default(), event, &mut out);
        assert_eq!((machine.state, out), (after, actions), "{label}");
    }
}
