//! The same messages over a connection: in one piece, octet by octet, in random pieces, one behind the other.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sip::{Limits, Parsed, StreamFramer, StreamInput, StreamOutput};

use crate::set::{Case, Outcome, Stream};
use crate::switch::{Switch, start};

const PROBE: &[u8] = b"OPTIONS sip:b@192.0.2.200 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.100;branch=z9hG4bKprobe\r\n\
    From: <sip:a@192.0.2.100>;tag=p\r\nTo: <sip:b@192.0.2.200>\r\nCall-ID: probe\r\nCSeq: 1 OPTIONS\r\n\
    Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n";

/// What a connection gave.
pub(crate) struct Read {
    pub(crate) outputs: Vec<StreamOutput>,
    /// It waits for the rest of a message.
    amid: bool,
}

impl Read {
    /// Feeds the octets in pieces that end where `cut` says.
    pub(crate) fn of(bytes: &[u8], mut cut: impl FnMut(&[u8]) -> usize) -> Self {
        let mut framer = StreamFramer::new(Limits::default());
        let (mut outputs, mut rest, now) = (Vec::new(), bytes, start());
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(cut(rest).clamp(1, rest.len()));
            framer.handle_input(now, StreamInput::Octets(piece));
            loop {
                match framer.poll_output() {
                    StreamOutput::Timeout(_) => break,
                    output => outputs.push(output),
                }
            }
            rest = more;
        }
        Self {
            outputs,
            amid: framer.is_amid(),
        }
    }

    fn closes(&self) -> bool {
        matches!(self.outputs.last(), Some(StreamOutput::Close(_)))
    }

    fn messages(&self) -> usize {
        let is_message = |output: &&StreamOutput| matches!(output, StreamOutput::Message(_));
        self.outputs.iter().filter(is_message).count()
    }

    /// What became of the first message.
    fn first(&self, switch: Switch) -> Outcome {
        let untaken = |answer| Outcome {
            read: false,
            answer,
            sends: false,
        };
        let is_message = |output: &&StreamOutput| {
            matches!(output, StreamOutput::Message(_) | StreamOutput::Refused(_))
        };
        match self.outputs.iter().find(is_message) {
            Some(StreamOutput::Message(bytes)) => switch.take(bytes),
            Some(StreamOutput::Refused(Parsed::Reject { response, .. })) => {
                untaken(Some(response.status))
            }
            _ => untaken(None),
        }
    }
}

/// What became of a message over a connection, and what is wrong with the connection.
pub(crate) fn judge(case: &Case, bytes: &[u8], switch: Switch) -> (Outcome, Option<String>) {
    let whole = Read::of(bytes, <[u8]>::len);
    let outcome = if whole.amid && whole.outputs.is_empty() {
        unfinished(bytes, switch)
    } else {
        whole.first(switch)
    };
    let wrong = match case.stream {
        Stream::Keep if whole.closes() => Some("closed".to_owned()),
        Stream::Keep if !whole.amid && !is_followed(bytes, &whole) => {
            Some("the next message is lost".to_owned())
        }
        Stream::Close if !whole.closes() => Some("kept".to_owned()),
        Stream::WaitThenClose if !whole.amid => Some("does not wait".to_owned()),
        Stream::TwoMessages if whole.messages() != 2 => {
            Some(format!("{} messages", whole.messages()))
        }
        _ => None,
    };
    (outcome, wrong.or_else(|| depends_on_pieces(bytes, &whole)))
}

/// What would become of a message whose end has not come: it lacks the blank line, or octets that only a datagram can be
/// known to lack.
fn unfinished(bytes: &[u8], switch: Switch) -> Outcome {
    let ended = Read::of(&[bytes, b"\r\n"].concat(), <[u8]>::len);
    if ended.amid {
        switch.take(bytes)
    } else {
        ended.first(switch)
    }
}

/// Whether a message behind these octets is read.
fn is_followed(bytes: &[u8], whole: &Read) -> bool {
    let both = Read::of(&[bytes, PROBE].concat(), <[u8]>::len);
    both.outputs.last() == Some(&StreamOutput::Message(PROBE.into()))
        && both.outputs.len() == whole.outputs.len() + 1
}

/// Says whether it matters in which pieces the octets come.
fn depends_on_pieces(bytes: &[u8], whole: &Read) -> Option<String> {
    let mut rng = StdRng::seed_from_u64(bytes.len() as u64);
    let octets = Read::of(bytes, |_| 1);
    if !is_same(&octets, whole) {
        return Some("reads otherwise octet by octet".to_owned());
    }
    for _ in 0..8 {
        let longest = rng.random_range(2..200);
        let pieces = Read::of(bytes, |_| rng.random_range(1..longest));
        if !is_same(&pieces, whole) {
            return Some("reads otherwise in pieces".to_owned());
        }
    }
    None
}

fn is_same(one: &Read, other: &Read) -> bool {
    one.outputs == other.outputs && one.amid == other.amid
}

/// All messages that leave a connection open, on one connection: returns how many there should be and how many were read,
/// in one piece and octet by octet.
pub(crate) fn merged(cases: &[(Vec<u8>, &Case)]) -> (usize, [usize; 2]) {
    let mut all = Vec::new();
    let mut wanted = 0;
    for (bytes, _) in cases {
        let alone = Read::of(bytes, <[u8]>::len);
        if !alone.closes() && !alone.amid && is_followed(bytes, &alone) {
            wanted += alone.messages();
            all.extend_from_slice(bytes);
        }
    }
    let read = [
        Read::of(&all, <[u8]>::len).messages(),
        Read::of(&all, |_| 1).messages(),
    ];
    (wanted, read)
}
