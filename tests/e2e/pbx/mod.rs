//! The PBX's side: programs nobody here wrote.

mod asterisk;
mod baresip;
mod ear;
mod kamailio;
mod sipp;

pub(crate) use asterisk::Asterisk;
pub(crate) use baresip::{Baresip, Phone};
pub(crate) use ear::Ear;
pub(crate) use kamailio::Kamailio;
pub(crate) use sipp::{SipMessage, Sipp, Verdict};
