//! The transport and transaction layers: RFC 3261 17 and 18, RFC 6026 (Accepted), RFC 3581 (rport).
//!
//! One file a machine, named after the RFC's figure; `table` holds them, matches messages to them and runs their timers.
//! Not here: dialogs, the ACK to a success and the repeats of a success (RFC 3261 13), the framing of streams, DNS.

mod action;
mod client;
mod driver;
mod invite_client;
mod invite_server;
mod matching;
mod repeats;
mod server;
mod table;
mod timer;

pub use action::Failure;
pub use driver::{ClientKey, Input, Output, SentBy, ServerKey, TRANSACTIONS, TransactionsConfig};
pub use repeats::Repeats;
pub use table::Transactions;
pub use timer::Times;
