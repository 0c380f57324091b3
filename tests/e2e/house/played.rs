//! PBXs and people as many tests need them.

use super::House;
use crate::pbx::Sipp;

impl House {
    /// The PBX of a peer trunk, which refuses its next call with this status.
    pub(crate) fn pbx_that_refuses(&self, name: &str, code: &str, reason: &str) -> Sipp {
        Sipp::on(self.dir(), name, self.peer_port())
            .key("code", code)
            .key("reason", reason)
            .start("uas_reject")
    }

    /// The same, because it is busy: 486.
    pub(crate) fn busy_pbx(&self) -> Sipp {
        self.pbx_that_refuses("pbx", "486", "Busy Here")
    }
}
