//! The audio of a call: what a SIP leg agreed on goes to its media task, and whether all are heard is told.

use std::time::Duration;

use model::{DtmfMethod, LegId, LegKind, Missing};
use net::media::MediaCommand;

use super::Call;
use crate::message::SipMedia;

impl Call {
    /// Audio came from a leg for the first time; from both, the call is what it should be.
    pub(super) fn first_audio(&mut self, leg: LegId) {
        let both = !self.heard.contains(&leg) && self.heard.len() == 1;
        self.heard.insert(leg);
        if both {
            let waited = self.answered_at.map_or(Duration::ZERO, |at| at.elapsed());
            self.common
                .metrics
                .media_setup(self.record.direction, waited);
        }
    }

    /// Counts the call if somebody should have been heard by now and was not.
    pub(super) fn count_one_way(&mut self) {
        if self.ended.is_some() {
            return;
        }
        let missing = |kind: LegKind| {
            self.legs.iter().any(|(leg, slot)| {
                let expected = slot.end.is_none() && !self.excused.contains(leg);
                slot.address.kind() == kind && expected && !self.heard.contains(leg)
            })
        };
        let missing = match (missing(LegKind::Sip), missing(LegKind::Telegram)) {
            (true, true) => Missing::Both,
            (true, false) => Missing::Sip,
            (false, true) => Missing::Telegram,
            (false, false) => return,
        };
        tracing::warn!(call = %self.id, ?missing, "answered, but not heard");
        self.record.details.one_way = Some(missing);
        self.common.metrics.one_way(self.record.direction, missing);
    }

    pub(super) fn excuse(&mut self, leg: LegId, silent: bool) {
        if silent {
            self.excused.insert(leg);
        } else {
            self.excused.remove(&leg);
        }
    }

    /// What a SIP leg agreed on reaches its media task: the first time with the reserved ports.
    pub(super) fn sip_media(&mut self, leg: LegId, media: &SipMedia) {
        self.leg_speaks(leg, media);
        let agreed = Box::new(media.agreed.clone());
        let events = agreed.audio.dtmf_payload_type.is_some();
        self.excuse(leg, !agreed.direction.receives());
        self.pbx_holds(leg, !agreed.direction.sends());
        match self.reserved.remove(&leg) {
            Some(rtp) => {
                self.tell_media(MediaCommand::AddSip {
                    leg,
                    rtp,
                    media: agreed,
                    signalling: media.signalling,
                });
                // One whose ports are still reserved joins them itself when its media begins.
                let partner = self.partner(leg);
                if let Some(b) = partner.filter(|partner| !self.reserved.contains_key(partner)) {
                    self.tell_media(MediaCommand::Connect { a: leg, b });
                }
            }
            None => self.tell_media(MediaCommand::UpdateSip { leg, media: agreed }),
        }
        let mut changed = None;
        if let Some(slot) = self.legs.get_mut(&leg) {
            slot.events = events;
            let on = DtmfMethod::listens_for_tones(&slot.dtmf, events);
            changed = (on != slot.listens).then_some(on);
            slot.listens = on;
        }
        if let Some(on) = changed {
            self.tell_media(MediaCommand::ListenForTones { leg, on });
        }
    }
}
