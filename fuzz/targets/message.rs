//! One datagram: what is read is written back the same, what is refused is refused in good order, and the transactions
//! never send anything but answers.
#![no_main]

use std::time::Instant;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sip::transaction::{Input, Output};
use sip::{HeaderName, Hop, Message, Parsed, Transactions, TransactionsConfig, parse, respond};

fuzz_target!(|data: &[u8]| {
    match parse(data) {
        Parsed::Message(message) => reads_back(&message),
        Parsed::Reject { response, .. } => {
            assert!((400..600).contains(&response.status));
            assert!(response.headers.has(&HeaderName::Via));
            let again = parse(&response.encode());
            assert!(!matches!(again, Parsed::Reject { .. } | Parsed::KeepAlive));
        }
        Parsed::Drop(_) | Parsed::KeepAlive => {}
    }
    transact(data);
});

/// Long names for short ones can make a message too long, and nothing else may change.
fn reads_back(message: &Message) {
    let bytes = message.encode();
    match parse(&bytes) {
        Parsed::Message(again) => assert_eq!(&again, message),
        other => assert!(bytes.len() > 8 * 1024, "{message:?}\n{other:?}"),
    }
}

fn transact(data: &[u8]) {
    let now = Instant::now();
    let source = Hop::udp("192.0.2.1:5060".parse().expect("an address"));
    let host = "192.0.2.2".parse().expect("a host");
    let mut transactions = Transactions::new(TransactionsConfig::new(host, Some(5060)), 1);
    let bytes = Bytes::copy_from_slice(data);
    transactions.handle_input(now, Input::Received { source, bytes });
    loop {
        match transactions.poll_output() {
            Output::Transmit { target, bytes } => {
                assert_eq!(target, source);
                assert!(bytes.starts_with(b"SIP/2.0 "));
            }
            Output::Request { tx, request, .. } => {
                let response = respond(&request, 404, "", Some("t"));
                transactions.handle_input(now, Input::Respond { tx, response });
            }
            Output::Timeout(_) => return,
            _ => {}
        }
    }
}
