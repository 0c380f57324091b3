//! Transfers by a PBX: whom it may have called, and which call an INVITE of it continues.

use std::net::IpAddr;

use actix::{AsyncContext, Handler};
use metrics::TransferKind;
use model::{Cause, Reason, TrunkKind, TrunkSpec};
use sip::{Hop, NameAddr, Uri};

use super::{ROLL_CALL, Registry};
use crate::call::SipTarget;
use crate::message::{Contact, InviteArrived, PlaceTransfer, Placed, TakePlace, TransferTo};
use crate::trunk::at_domain;

impl Registry {
    /// An INVITE with Replaces (RFC 3891 3): 481 when there is no such dialog.
    pub(super) fn replace(&self, trunk: TrunkSpec, invite: InviteArrived) {
        let Some(replaced) = invite.replaces.clone() else {
            let cause = Cause::new(Reason::NoSuchDialog);
            self.common.metrics.transfer(TransferKind::Attended, false);
            return self.refuse(invite.tx, &invite.request, &cause, true);
        };
        replaced.leg.call.do_send(TakePlace {
            leg: replaced.leg.leg,
            early_only: replaced.early_only,
            trunk: Box::new(trunk),
            invite: Box::new(invite),
        });
    }

    fn place(&self, place: &PlaceTransfer) -> Result<SipTarget, Cause> {
        let trunk = self.table.trunk(&place.trunk);
        let trunk = trunk.ok_or(Cause::new(Reason::AccountNotRunning))?;
        let unit = self.known.trunks.get(&place.trunk);
        let contacts = unit.map(|unit| unit.contacts.as_slice());
        let contacts = contacts.unwrap_or_default();
        let contact = place
            .peer
            .and_then(|peer| nearest(contacts, peer))
            .or(contacts.first())
            .ok_or(Cause::new(Reason::AccountNotRunning))?;
        let here = self.common.sip_address(contact.send_to).address;
        let number = match &place.to {
            TransferTo::Pbx(wish) => {
                let user = wish.target.user().unwrap_or_default();
                let host = wish.target.host().map(ToString::to_string);
                let host = host.unwrap_or_default();
                let reached: Vec<IpAddr> = contacts.iter().flat_map(addresses).collect();
                routing::decide_transfer(trunk, &user, &host, &reached, here.ip())?
            }
            TransferTo::Owner(number) => routing::decide_owner_transfer(trunk, number)?,
        };
        let mut target = self.target(trunk, &place.caller, place.call, contact);
        let called = match &trunk.kind {
            TrunkKind::Peer { .. } => Uri::reached(Some(&number), contact.send_to),
            TrunkKind::OutboundRegister { domain, .. } => at_domain(Some(&number), domain),
            TrunkKind::InboundRegister { .. } => at_contact(&number, contact),
        };
        target.target.to = NameAddr::new(called.clone());
        target.target.uri = called;
        let TransferTo::Pbx(wish) = &place.to else {
            return Ok(target);
        };
        let headers = &mut target.target.headers;
        if let Some(by) = &wish.referred_by {
            headers.push(("Referred-By".to_owned(), by.clone()));
        }
        // RFC 3891 2: a transfer with consultation leads into a call that is up already.
        for (name, value) in wish.target.headers() {
            if name.eq_ignore_ascii_case("Replaces") {
                headers.push((name, value));
            }
        }
        Ok(target)
    }
}

/// Of several that are registered, the one that the leg is with: what a PBX wants to be called is known to that one, and so is the call
/// that it may lead into. One that calls by another connection than it registered by is at the same address.
fn nearest(contacts: &[Contact], peer: Hop) -> Option<&Contact> {
    let same = contacts.iter().find(|contact| contact.send_to == peer);
    let near = |contact: &&Contact| contact.send_to.ip() == peer.ip();
    same.or_else(|| contacts.iter().find(near))
}

/// Where a contact is and where its packets go.
fn addresses(contact: &Contact) -> impl Iterator<Item = IpAddr> {
    let written = contact.uri.host().and_then(sip::Host::ip);
    written.into_iter().chain([contact.send_to.ip()])
}

/// Another number at the same contact.
fn at_contact(number: &str, contact: &Contact) -> Uri {
    let mut uri = Uri::reached(Some(number), contact.send_to);
    if let (Uri::Sip(uri), Uri::Sip(registered)) = (&mut uri, &contact.uri) {
        uri.host = registered.host.clone();
        uri.port = registered.port;
        uri.secure = registered.secure;
        uri.params = registered.params.clone();
    }
    uri
}

impl Handler<PlaceTransfer> for Registry {
    type Result = ();

    fn handle(&mut self, place: PlaceTransfer, ctx: &mut Self::Context) {
        self.watch.handled();
        // Where the trunk can be called is known when it has said so.
        if self.calling_roll {
            ctx.notify_later(place, ROLL_CALL);
            return;
        }
        let placed = self.place(&place).map(Box::new);
        place.answer.do_send(Placed(placed));
    }
}
