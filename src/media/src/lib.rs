//! Turns packets into frames and frames into packets, on time.

mod transport;

pub use transport::{RtpIn, RtpOut, Transport, TransportEvent, TransportOutput};
