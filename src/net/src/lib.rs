//! Every socket, every await on the outside, every media thread.
//!
//! * [`udp`]: the SIP socket for datagrams; [`stream`]: SIP over TCP and TLS.
//! * [`telegram`]: the connection of one Telegram account.
//! * [`media`]: the threads that carry the calls.
//! * [`load`]: what the system says of this process and its memory.
//! * [`post`]: one POST over HTTP, to whom an owner has named.
//! * [`probe`]: one OPTIONS, outside of a running switch.
//! * [`Resolver`]: where the SIP servers of a domain are.
//! * [`Pace`]: the beat of a busy thread.
//! * [`fake`]: stand-ins for Telegram and for a phone, in this process.

pub mod fake;
pub mod load;
pub mod media;
mod pace;
pub mod post;
pub mod probe;
mod resolve;
pub mod stream;
pub mod telegram;
pub mod udp;

pub use pace::{Held, Pace, Work};
pub use resolve::{LocateError, Resolver};
