//! The PBX's side: programs nobody here wrote.

mod asterisk;
mod baresip;
mod sipp;

pub(crate) use asterisk::Asterisk;
pub(crate) use baresip::{Baresip, Phone};
pub(crate) use sipp::{Sipp, Verdict};
