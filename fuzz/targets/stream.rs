//! The octets of a connection: read the same in whatever pieces they come; the first octet of the input says in which.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use sip::{Limits, Parsed, StreamFramer, StreamInput, StreamOutput, parse};

fuzz_target!(|data: &[u8]| {
    let Some((size, octets)) = data.split_first() else {
        return;
    };
    let now = Instant::now();
    let whole = framed(now, octets, usize::MAX);
    assert_eq!(framed(now, octets, usize::from(*size) + 1), whole);
    for output in whole {
        if let StreamOutput::Message(bytes) = output {
            assert!(!matches!(parse(&bytes), Parsed::KeepAlive));
        }
    }
});

fn framed(now: Instant, octets: &[u8], size: usize) -> Vec<StreamOutput> {
    let mut framer = StreamFramer::new(Limits::default());
    let mut outputs = Vec::new();
    for piece in octets.chunks(size) {
        framer.handle_input(now, StreamInput::Octets(piece));
        loop {
            match framer.poll_output() {
                StreamOutput::Timeout(_) => break,
                output => outputs.push(output),
            }
        }
    }
    outputs
}
