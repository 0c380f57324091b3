//! Two people talking through the switch: the start of most tests.

use serde_json::json;

use crate::deadline::s;
use crate::house::{HEARD, House, SESSION, TELEGRAM_TONE};
use crate::pbx::{Baresip, Phone, Sipp};
use crate::telegram::{Behaviour, Talker};

/// Who called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    Pbx,
    Telegram,
}

/// Who hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    Pbx,
    Telegram,
}

/// A call that is up; the Telegram user has heard the PBX for long enough.
#[derive(Debug)]
pub(crate) struct Talk {
    pub(crate) house: House,
    pub(crate) phone: Baresip,
    pub(crate) talker: Talker,
    /// The call's id at Telegram.
    pub(crate) call: String,
}

/// Names of a codec: ours, baresip's, the metric label's.
pub(crate) const ALAW: [&str; 3] = ["alaw", "pcma", "pcma"];
pub(crate) const MULAW: [&str; 3] = ["mulaw", "pcmu", "pcmu"];
pub(crate) const OPUS: [&str; 3] = ["opus", "opus", "opus"];
pub(crate) const G722: [&str; 3] = ["g722", "g722", "g722"];

impl Talk {
    /// Builds a house and lets one side call the other.
    pub(crate) fn start(caller: Caller, version: &str, codec: [&str; 3]) -> Self {
        let house = House::new().registering_trunk(&[codec[0]]).start();
        Self::start_in(house, caller, version, codec)
    }

    /// The same in a house that stands already.
    pub(crate) fn start_in(house: House, caller: Caller, version: &str, codec: [&str; 3]) -> Self {
        let phone = house.phone_settings(codec[1]);
        Self::start_with(house, &phone, caller, version)
    }

    /// The same with such a phone.
    pub(crate) fn start_with(house: House, phone: &Phone, caller: Caller, version: &str) -> Self {
        Self::start_late(house, phone, caller, version, 0.0)
    }

    /// The same with a Telegram user whose media begins so many seconds after the answer.
    pub(crate) fn start_late(
        house: House,
        phone: &Phone,
        caller: Caller,
        version: &str,
        late: f64,
    ) -> Self {
        house.wait_session_up();
        let known = house.telegram.calls();
        let mut phone = Baresip::start(house.dir(), "phone", phone);
        let behaviour = Behaviour::accepts().speaking(version);
        house.telegram.user("bobby", "15550002", &behaviour);
        let mut talker = house.late_talker("bobby", late);
        let call = match caller {
            Caller::Pbx => {
                phone.dial("bobby");
                house.telegram.next_call(known, s(10))
            }
            Caller::Telegram => house.telegram.call("bobby", SESSION, version),
        };
        let up = house.telegram.wait_call(&call, "established", s(15));
        let versions = &up["protocol"]["library_versions"];
        assert_eq!(versions, &json!([version]), "{up}");
        phone.wait_established();
        talker.wait_heard(s(20));
        Self {
            house,
            phone,
            talker,
            call,
        }
    }

    /// One side hangs up; both legs must end, and both people must have heard each other.
    pub(crate) fn end(mut self, ends: Ends) -> House {
        match ends {
            Ends::Pbx => self.phone.hang_up(),
            Ends::Telegram => self.house.telegram.discard("bobby", &self.call, "hangup"),
        }
        let ended = self.house.telegram.wait_call(&self.call, "discarded", s(5));
        assert_eq!(ended["reason"], "hangup", "{ended}");
        if ends == Ends::Telegram {
            self.phone.wait_closed();
        }
        self.talker.finish();
        self.phone.assert_heard(TELEGRAM_TONE, HEARD);
        self.house.assert_clean(&[]);
        self.house
    }
}

/// bobby calls a PBX with an echo, hears himself, and hangs up; the script of the PBX ends well.
pub(crate) fn hears_himself(house: &mut House, pbx: Sipp) {
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    talker.wait_heard(s(20));
    talker.hang_up(&house.telegram, "bobby", &call);
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}
