//! Every socket, every await on the outside, every media thread.
//!
//! * [`udp`]: the SIP socket.
//! * [`telegram`]: the connection of one Telegram account.
//! * [`media`]: the threads that carry the calls.

pub mod media;
pub mod telegram;
pub mod udp;
