//! Telegram's side: its servers, and people with a voice.

mod relay;
mod server;
mod talker;

pub(crate) use relay::Relay;
pub(crate) use server::{Behaviour, Server};
pub(crate) use talker::{Talker, Voice};
