//! Every message between the actors: what happened, or what is wanted. The doc line names sender -> receiver.

mod call;
mod house;
mod keeper;
mod sip;
mod telegram;

pub(crate) use self::call::*;
pub(crate) use self::house::*;
pub(crate) use self::keeper::*;
pub(crate) use self::sip::*;
pub(crate) use self::telegram::*;
