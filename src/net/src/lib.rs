//! Every socket, every await on the outside, every media thread.
//!
//! * [`udp`]: the SIP socket.

pub mod udp;
