//! Coordinates: owns the state that changes, and supervises.
//!
//! * [`house`]: the assembled house, for `switch`.
//! * `message`: what the actors say to each other.
//! * `supervise`: who notices a death, and what follows.
//! * `farewell`: what is said after a crash.
//! * `gate`: who is listened to, and which trunk that is.
//! * `overload`: whether there is too much to do, and which new calls are refused meanwhile.
//! * `registry`, `endpoint`, `keeper`, `trunk`, `session`, `call`, `leg`, `text`: one file an actor.

mod alarm;
mod call;
#[cfg(any(test, feature = "chaos"))]
mod chaos;
mod endpoint;
mod events;
mod farewell;
mod gate;
pub mod house;
mod keeper;
mod leg;
mod message;
mod overload;
mod refusal;
mod registry;
mod session;
mod supervise;
#[cfg(test)]
mod tests;
mod text;
mod trunk;
mod unwritten;
mod watchdog;

#[cfg(feature = "chaos")]
pub use chaos::{Harm, Victim};
pub use events::{Again, Event, Listener, Missed};
pub use house::{
    Account, CallOrder, CallPage, CallReport, DialOrder, EXIT_REGISTRY_LOST, EXIT_STORE_LOST,
    House, LegSound, MANAGER, NoSuch, Ordered, Parts, RefusalReport, Report, RoleReport,
    RouteReport, SILENT, SessionReport, Settings, SipSettings, Sound, StartError, TelegramSettings,
    TrunkReport, TryCall, Via,
};
pub use overload::LoadReport;
pub use registry::QuotaReport;
pub use routing::{LoadLimits, Pace, Paces, SessionState, Step, Subject, Table, Waits};
pub use session::{LIMITS, kept_limits};
pub use sip::Limits;
pub use sip::call::SessionTimes;
pub use sip::guard::GuardConfig;
pub use trunk::{KeptBinding, kept_bindings};
