//! The media plane: a few threads, one task for each call.

mod ports;

pub use ports::{NoRtpPorts, RtpPorts, RtpReservation};
