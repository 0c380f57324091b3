//! What the switch finds amiss with itself, by name: one list for whoever listens, asks, or looks it up in `docs/events.md`.

use std::fmt;

macro_rules! alerts {
    ($($(#[$doc:meta])* $alert:ident = $label:literal;)*) => {
        /// Something is amiss, and somebody should look.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Alert { $($(#[$doc])* $alert,)* }

        impl Alert {
            /// Every one.
            pub const ALL: &'static [Alert] = &[$(Alert::$alert,)*];

            /// Its name, which does not change.
            pub fn label(self) -> &'static str {
                match self { $(Alert::$alert => $label,)* }
            }
        }
    };
}

alerts! {
    /// The registry does not answer: no call can begin.
    RegistrySilent = "registry_silent";
    /// The store takes nothing.
    StoreFails = "store_fails";
    /// A damaged store lies beside the backup that is in use.
    StoreSetAside = "store_set_aside";
    /// Call records cannot be written to files.
    RecordsNotWritten = "records_not_written";
    /// The last backup failed, or there is none of the last two days.
    BackupFailed = "backup_failed";
    /// New calls are refused because there is too much to do.
    Overload = "overload";
    /// This machine's clock is so far ahead that Telegram refuses it.
    ClockAhead = "clock_ahead";
    /// A trunk cannot be called: it is not registered, or its peer does not answer.
    TrunkDown = "trunk_down";
    /// No call is placed on a trunk for a while: too many failed, or its PBX has said so.
    TrunkBlocked = "trunk_blocked";
    /// A session has no connection to Telegram.
    SessionDown = "session_down";
    /// A session has to be logged in.
    SessionLogin = "session_login";
    /// Telegram lets a session place no calls for a while.
    SessionLimited = "session_limited";
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_alert_has_a_name_of_its_own_and_is_described() {
        let text = include_str!("../../../docs/events.md");
        let mut names = BTreeSet::new();
        for alert in Alert::ALL {
            let row = format!("| `{alert}` |");
            assert!(text.contains(&row), "docs/events.md has no {row}");
            assert!(names.insert(alert.label()), "{alert} is there twice");
        }
    }
}
