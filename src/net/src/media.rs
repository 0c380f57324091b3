//! The media plane: a few threads, one task for each call.
//!
//! ```text
//! Call (actor) --MediaCommand--> task of the call --MediaEvent--> Call
//!                                 | Sockets: what the call listens on
//!                                 | Exchange: transports and bridge, drained after each input
//! ```
//!
//! A packet is handled by the task whose socket received it: no mailbox, no lock, nothing allocated once warm.

mod books;
mod config;
mod exchange;
mod message;
mod outlet;
mod plane;
mod port;
mod ports;
mod rehearsal;
mod rtc;
mod sockets;
mod streams;
mod task;
#[cfg(test)]
mod tests;

pub use config::{MediaConfig, StartError};
pub use message::{LegReport, MediaCommand, MediaEvent, Stuck};
pub use plane::{MediaHandle, MediaPlane};
pub use ports::{NoRtpPorts, RtpPorts, RtpReservation};
