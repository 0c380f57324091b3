use super::*;

fn request() -> Request {
    let mut request = Request::new(Method::Invite, "sip:b@192.0.2.2".parse().unwrap());
    for (name, value) in [
        ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),
        ("Route", "<sip:p1;lr>"),
        ("Route", "<sip:p2;lr>"),
        ("From", "<sip:a@x>;tag=1"),
        ("To", "<sip:b@x>"),
        ("Call-ID", "c"),
        ("CSeq", "9 INVITE"),
        ("Contact", "<sip:a@192.0.2.1>"),
        ("Require", "timer"),
    ] {
        request.headers.push(name.into(), value);
    }
    request
}

fn response(status: u16) -> Response {
    crate::respond(&request(), status, "", Some("t"))
}

fn in_state(state: State) -> InviteClient {
    let request = request();
    InviteClient {
        state,
        bytes: request.encode(),
        request,
    }
}

const T1: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(32);

#[test]
fn figure_5_with_rfc_6026() {
    let ack = in_state(State::Accepted).ack(&response(486)).encode();
    let invite = request().encode();
    let calling = |cancel| State::Calling {
        interval: T1,
        cancel,
    };
    let proceeding = |cancelled| State::Proceeding { cancelled };
    let completed = || State::Completed { ack: ack.clone() };
    let stopped = || vec![Action::Stop(Timer::A), Action::Stop(Timer::B)];
    let with = |mut first: Vec<Action>, more: Vec<Action>| {
        first.extend(more);
        first
    };
    let deliver = |status| Action::Deliver(response(status));
    let cancelling = || vec![Action::Cancel, Action::Set(Timer::B, LONG)];
    let refused = || {
        with(
            stopped(),
            vec![
                Action::Send(ack.clone()),
                deliver(486),
                Action::Set(Timer::D, LONG),
            ],
        )
    };
    let accepted = || with(stopped(), vec![deliver(200), Action::Set(Timer::M, LONG)]);
    let failed = |why| vec![Action::Fail(why)];
    let repeat = vec![Action::Send(invite), Action::Set(Timer::A, T1 * 2)];
    let timer = Event::Timer;
    let heard = |status| Event::from(response(status));
    let table: Vec<(State, Event, State, Vec<Action>)> = vec![
        (
            calling(false),
            timer(Timer::A),
            State::Calling {
                interval: T1 * 2,
                cancel: false,
            },
            repeat.clone(),
        ),
        (
            calling(true),
            timer(Timer::A),
            State::Calling {
                interval: T1 * 2,
                cancel: true,
            },
            repeat,
        ),
        (
            calling(false),
            timer(Timer::B),
            State::Terminated,
            failed(Failure::TimedOut),
        ),
        (
            calling(false),
            Event::TransportError,
            State::Terminated,
            failed(Failure::Transport),
        ),
        (calling(false), Event::Cancel, calling(true), vec![]),
        (
            calling(false),
            heard(180),
            proceeding(false),
            with(stopped(), vec![deliver(180)]),
        ),
        (
            calling(true),
            heard(100),
            proceeding(true),
            with(with(stopped(), vec![deliver(100)]), cancelling()),
        ),
        (calling(false), heard(200), State::Accepted, accepted()),
        (calling(true), heard(200), State::Accepted, accepted()),
        (calling(false), heard(486), completed(), refused()),
        (
            proceeding(false),
            heard(183),
            proceeding(false),
            vec![deliver(183)],
        ),
        (
            proceeding(false),
            Event::Cancel,
            proceeding(true),
            cancelling(),
        ),
        (proceeding(true), Event::Cancel, proceeding(true), vec![]),
        (
            proceeding(true),
            timer(Timer::B),
            State::Terminated,
            failed(Failure::TimedOut),
        ),
        (
            proceeding(false),
            timer(Timer::A),
            proceeding(false),
            vec![],
        ),
        (
            proceeding(false),
            Event::TransportError,
            proceeding(false),
            vec![],
        ),
        (proceeding(false), heard(200), State::Accepted, accepted()),
        (proceeding(true), heard(486), completed(), refused()),
        (
            State::Accepted,
            heard(200),
            State::Accepted,
            vec![deliver(200)],
        ),
        (State::Accepted, heard(180), State::Accepted, vec![]),
        (State::Accepted, heard(486), State::Accepted, vec![]),
        (State::Accepted, Event::Cancel, State::Accepted, vec![]),
        (State::Accepted, timer(Timer::M), State::Terminated, vec![]),
        (
            completed(),
            heard(486),
            completed(),
            vec![Action::Send(ack.clone())],
        ),
        (completed(), heard(180), completed(), vec![]),
        (completed(), heard(200), completed(), vec![]),
        (
            completed(),
            Event::TransportError,
            State::Terminated,
            failed(Failure::Transport),
        ),
        (completed(), timer(Timer::D), State::Terminated, vec![]),
        (State::Terminated, heard(200), State::Terminated, vec![]),
    ];
    for (before, event, after, actions) in table {
        let label = format!("{before:?} + {event:?}");
        let mut machine = in_state(before);
        let mut out = Vec::new();
        machine.on(&Times::default(), event, &mut out);
        assert_eq!((machine.state, out), (after, actions), "{label}");
    }
}

#[test]
fn the_ack_to_a_failure_repeats_what_17_1_1_3_names() {
    assert_eq!(
        in_state(State::Accepted).ack(&response(486)).to_string(),
        "ACK sip:b@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\n\
         Call-ID: c\r\nRoute: <sip:p1;lr>\r\nRoute: <sip:p2;lr>\r\nCSeq: 9 ACK\r\nMax-Forwards: 70\r\n\
         To: <sip:b@x>;tag=t\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn the_cancel_has_the_to_of_the_invite() {
    let cancel = in_state(State::Accepted).cancel(Some("SIP;cause=200\r\nEvil: 1"));
    assert_eq!(cancel.headers.get(&HeaderName::To), Some("<sip:b@x>"));
    assert_eq!(cancel.headers.cseq().unwrap().to_string(), "9 CANCEL");
    assert!(!cancel.headers.has(&HeaderName::Require) && !cancel.to_string().contains("\nEvil"));
}
