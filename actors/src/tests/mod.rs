//! The whole house with a phone and Telegram users in this process.

mod accounts;
mod callback;
pub(crate) mod crash;
mod crossing;
mod dial;
mod faulty;
mod gate;
mod house;
mod hunt;
mod inline;
mod keys;
mod limits;
mod pbx;
mod records;
mod refusals;
mod roles;
mod scene;
mod transfer;
mod transit;
mod users;
