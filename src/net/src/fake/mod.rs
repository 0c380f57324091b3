//! Stand-ins for the outside, in this process: Telegram with its users, and a SIP phone. For tests and the demo.
//!
//! Only the far ends are played here. What passes between them and the house is real: the key agreement, the signalling
//! and the encrypted media of a Telegram call, SIP with digest and RTP over UDP on loopback. A player sends a signal like
//! speech and keeps what it hears, so that [`measure`] can say how well it came through.
//!
//! * `telegram`, `server`, `user`: Telegram above MTProto.
//! * `phone`, `digest`: the phone.
//! * `keys`: what the phone is sent as telephone-events.
//! * `talk`, `coder`, `g711`: the voice of both. `speech`, `recording`: what is said and heard.
//! * `pace`: whether the machine kept time meanwhile.
//! * `line`: one call of a player, as seen from outside.

mod coder;
mod config;
mod digest;
mod g711;
mod keys;
mod line;
mod pace;
mod phone;
mod recording;
mod server;
mod speech;
mod talk;
mod telegram;
#[cfg(test)]
mod tests;
mod user;

pub use line::{End, Line, Phase, Status};
pub use pace::Pace;
pub use phone::{Phone, PhoneManner, PhoneSettings, Registered};
pub use recording::{Measured, Recording, measure, measure_where};
pub use speech::{Said, Speech};
pub use talk::Audio;
pub use telegram::{Simulation, Telegram};
pub use user::{Manner, Person};
