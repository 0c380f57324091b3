use super::*;

#[test]
fn figure_7_with_rfc_6026() {
    let t1 = Duration::from_millis(500);
    let long = t1 * 64;
    let octets = |text: &'static str| Bytes::from_static(text.as_bytes());
    let fresh = || State::Proceeding { last: None };
    let ringing = || State::Proceeding {
        last: Some(octets("180")),
    };
    let completed = |interval| State::Completed {
        response: octets("486"),
        interval,
    };
    let send = |text| Action::Send(octets(text));
    let quiet = Action::Stop(Timer::Trying);
    let timer = Event::Timer;
    let refused = vec![
        quiet.clone(),
        send("486"),
        Action::Set(Timer::G, t1),
        Action::Set(Timer::H, long),
    ];
    let accepted = vec![quiet.clone(), send("200"), Action::Set(Timer::L, long)];
    let table: Vec<(State, Event, State, Vec<Action>)> = vec![
        (fresh(), Event::Invite, fresh(), vec![]),
        (
            fresh(),
            timer(Timer::Trying),
            State::Proceeding {
                last: Some(octets("100")),
            },
            vec![send("100")],
        ),
        (
            fresh(),
            Event::Provisional(octets("180")),
            ringing(),
            vec![quiet, send("180")],
        ),
        (
            fresh(),
            Event::Success(octets("200")),
            State::Accepted,
            accepted.clone(),
        ),
        (
            fresh(),
            Event::Failure(octets("486")),
            completed(t1),
            refused.clone(),
        ),
        (fresh(), Event::Ack, fresh(), vec![]),
        (ringing(), Event::Invite, ringing(), vec![send("180")]),
        (ringing(), timer(Timer::Trying), ringing(), vec![]),
        (
            ringing(),
            Event::Success(octets("200")),
            State::Accepted,
            accepted,
        ),
        (
            ringing(),
            Event::Failure(octets("486")),
            completed(t1),
            refused,
        ),
        (State::Accepted, Event::Invite, State::Accepted, vec![]),
        (
            State::Accepted,
            Event::Ack,
            State::Accepted,
            vec![Action::DeliverAck],
        ),
        (
            State::Accepted,
            Event::Success(octets("200")),
            State::Accepted,
            vec![send("200")],
        ),
        (
            State::Accepted,
            Event::Failure(octets("486")),
            State::Accepted,
            vec![],
        ),
        (State::Accepted, timer(Timer::L), State::Terminated, vec![]),
        (
            completed(t1),
            Event::Invite,
            completed(t1),
            vec![send("486")],
        ),
        (
            completed(t1),
            timer(Timer::G),
            completed(t1 * 2),
            vec![send("486"), Action::Set(Timer::G, t1 * 2)],
        ),
        (
            completed(t1 * 6),
            timer(Timer::G),
            completed(t1 * 8),
            vec![send("486"), Action::Set(Timer::G, t1 * 8)],
        ),
        (
            completed(t1),
            Event::Ack,
            State::Confirmed,
            vec![
                Action::Stop(Timer::G),
                Action::Stop(Timer::H),
                Action::Set(Timer::I, Duration::from_secs(5)),
            ],
        ),
        (completed(t1), timer(Timer::H), State::Terminated, vec![]),
        (
            completed(t1),
            Event::Success(octets("200")),
            completed(t1),
            vec![],
        ),
        (State::Confirmed, Event::Ack, State::Confirmed, vec![]),
        (State::Confirmed, Event::Invite, State::Confirmed, vec![]),
        (State::Confirmed, timer(Timer::I), State::Terminated, vec![]),
        (State::Terminated, Event::Invite, State::Terminated, vec![]),
    ];
    for (before, event, after, actions) in table {
        let label = format!("{before:?} + {event:?}");
        let mut machine = InviteServer {
            state: before,
            trying: octets("100"),
        };
        let mut out = Vec::new();
        machine.on(&Times::default(), event, &mut out);
        assert_eq!((machine.state, out), (after, actions), "{label}");
    }
}
