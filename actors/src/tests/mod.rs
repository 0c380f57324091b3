//! The whole house with a phone and Telegram users in this process.

mod callback;
pub(crate) mod crash;
mod gate;
mod house;
mod hunt;
mod keys;
mod limits;
mod pbx;
mod records;
mod refusals;
mod scene;
mod transit;
