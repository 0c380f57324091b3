//! The SIP leg of a call: drives one `sip::call::Call`.
//!
//! Owns the dialog and the SDP of its side. Talks to the Endpoint (packets) and to its Call (facts and orders). Its death
//! ends the dialog from `Drop`, and its call ends the other legs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, SpawnHandle,
    WrapFuture,
};
use bytes::Bytes;
use model::{Cause, Codec, HeaderField, LegId, LegKind, Reason, Srtp, Transport, TrunkSpec};
use rand::RngCore as _;
use sip::Hop;
use sip::call::{CallEvent, CallInput, CallOutput, EndCause, Party};
use sip::{Request, ServerKey, sdp};

use crate::alarm::Alarm;
use crate::call::Call;
use crate::house::Common;
use crate::message::{
    Bind, CancelInvite, FromWire, LegFact, LegOrder, LegPlace, LegReport, Owner, Respond,
    SayCancel, SendAck, SendRequest, SipMedia, Unbind, Wish,
};
use crate::supervise::{Member, Watch, at_each_return};
use crate::{farewell, leg, refusal};

/// How long a key is said to be pressed in an INFO.
const KEY: Duration = Duration::from_millis(160);

/// What a SIP leg is made from.
pub(crate) struct SipLegSpec {
    pub(crate) leg: LegId,
    pub(crate) call: Addr<Call>,
    pub(crate) watch: Watch,
    pub(crate) group: Member,
    pub(crate) trunk: TrunkSpec,
    /// Where we receive RTP.
    pub(crate) media: SocketAddr,
    /// Somebody hears what the PBX plays before it answers.
    pub(crate) early_media: bool,
    pub(crate) way: Way,
}

/// Who calls whom.
pub(crate) enum Way {
    /// The PBX called us.
    Incoming {
        request: Arc<Request>,
        tx: ServerKey,
        source: Hop,
        /// The answer waits for what another SIP party agrees on.
        waits: bool,
    },
    /// We call the PBX.
    Outgoing { target: Box<sip::call::Target> },
}

/// The leg.
pub(crate) struct SipLeg {
    common: Common,
    leg: LegId,
    call: Addr<Call>,
    /// The trunk, for the record.
    via: String,
    way: Way,
    codecs: Vec<Codec>,
    header: Option<HeaderField>,
    /// Whether to encrypt; nothing where that is required and the keys could be read on their way.
    srtp: Option<Srtp>,
    refer: bool,
    early_media: bool,
    group: Option<Member>,
    owner: Owner,
    core: Option<sip::call::Call>,
    local: sdp::LocalMedia,
    /// The PBX is held by an owner: nobody hears anybody, whatever is agreed on.
    holding: bool,
    /// A hold or its end that the PBX has not answered, and our description before it.
    asked: Option<(bool, Option<Bytes>)>,
    /// The last description we sent, or are about to send with the answer.
    described: Option<Bytes>,
    agreed: Option<sdp::Agreed>,
    /// The Reason header with which the peer ended it.
    peer_reason: Option<String>,
    /// The peer that signals.
    peer: Hop,
    alarm: Alarm,
    /// Until it is over, the leg looks at its own mailbox.
    probe: Option<SpawnHandle>,
    /// The caller has its final response, or the called party has given it.
    answered: bool,
    over: bool,
    watch: Watch,
}

impl SipLeg {
    pub(crate) fn new(common: Common, spec: SipLegSpec) -> Self {
        let session_id = u64::from(rand::random::<u32>());
        let peer = match &spec.way {
            Way::Incoming { source, .. } => *source,
            Way::Outgoing { target } => target.send_to,
        };
        Self {
            common,
            leg: spec.leg,
            call: spec.call,
            via: spec.trunk.name.to_string(),
            way: spec.way,
            srtp: srtp_of(&spec.trunk, peer.transport),
            codecs: spec.trunk.codecs,
            header: spec.trunk.header,
            refer: spec.trunk.refer,
            early_media: spec.early_media,
            group: Some(spec.group),
            owner: Owner(rand::random_range(1..u64::MAX)),
            core: None,
            local: sdp::LocalMedia {
                address: spec.media,
                session_id,
                version: 1,
                security: sdp::Security::Plain,
            },
            holding: false,
            asked: None,
            described: None,
            agreed: None,
            peer_reason: None,
            peer,
            alarm: Alarm::default(),
            probe: None,
            answered: false,
            over: false,
            watch: spec.watch,
        }
    }

    fn report(&self, fact: LegFact) {
        self.call.do_send(LegReport {
            leg: self.leg,
            fact,
        });
    }

    /// Notes what was agreed on, and returns it for the call.
    fn agree(&mut self, agreed: sdp::Agreed) -> SipMedia {
        let before = self.agreed.as_ref().map(|agreed| agreed.crypto.is_some());
        if agreed.crypto.is_some() && before != Some(true) {
            // SEC-M5: over anything but TLS the keys were there to be read.
            let private = self.peer.transport == Transport::Tls;
            tracing::info!(leg = %self.leg, trunk = self.via, private, "the audio of the leg is encrypted");
        }
        self.agreed = Some(agreed.clone());
        let mut agreed = agreed;
        if self.holding {
            agreed.direction = sdp::Direction::Inactive;
        }
        SipMedia {
            agreed,
            signalling: self.peer.ip(),
        }
    }

    /// Makes the keys that the next description may give away; one that stays as it was keeps its own.
    fn renew_keys(&mut self) {
        self.local.security = match self.srtp {
            None | Some(Srtp::Off) => sdp::Security::Plain,
            Some(srtp @ (Srtp::Optional | Srtp::Required)) => {
                sdp::Security::srtp(srtp == Srtp::Required, |room| rand::rng().fill_bytes(room))
            }
        };
    }

    /// Makes the core, and for an incoming call checks the offer before anybody is rung.
    fn begin(&mut self, now: Instant, ctx: &mut Context<Self>) {
        let mut local = self.common.sip_local(self.peer);
        local.header = self.header.as_ref().map(crate::trunk::pair);
        local.refer = self.refer;
        self.renew_keys();
        match &self.way {
            Way::Incoming {
                request,
                tx,
                source,
                ..
            } => {
                let (tx, source) = (*tx, *source);
                let (request, invite) = (Arc::clone(request), (**request).clone());
                match sip::call::Call::incoming(now, local, invite, tx, source, rand::random()) {
                    Ok(core) => {
                        let (from, to) = (request.headers.from(), request.headers.to());
                        self.name(core.call_id(), from.as_ref(), to.as_ref());
                        self.core = Some(core);
                        self.bind(ctx);
                        if self.srtp.is_none() {
                            return self.hang_up(now, &Cause::new(Reason::NotAcceptable), ctx);
                        }
                        self.take_offer(now, ctx);
                    }
                    Err(refusal) => {
                        let cause =
                            Cause::sip_refused(refusal.response.status, &refusal.response.reason);
                        self.common.to_endpoint(Respond {
                            tx,
                            response: refusal.response,
                        });
                        self.end(&cause, ctx);
                    }
                }
            }
            // Not even an offer is made that would be one of encryption in name only.
            Way::Outgoing { .. } if self.srtp.is_none() => {
                self.end(&Cause::new(Reason::NotAcceptable), ctx);
            }
            Way::Outgoing { target } => {
                let offer = sdp::offer(&self.local, &self.codecs);
                self.described = Some(offer.clone());
                let core = sip::call::Call::outgoing(
                    now,
                    local,
                    (**target).clone(),
                    offer,
                    rand::random(),
                );
                self.name(core.call_id(), Some(&target.from), Some(&target.to));
                self.core = Some(core);
                self.bind(ctx);
                self.drain(now, ctx);
            }
        }
    }

    /// Tells the call what its record says of the leg.
    fn name(&self, call_id: &str, from: Option<&sip::NameAddr>, to: Option<&sip::NameAddr>) {
        let side = Box::new(leg::sip_side(call_id, from, to, self.peer));
        self.report(LegFact::Named { side });
    }

    /// Also after the endpoint was restarted, whose new incarnation knows no dialogs.
    fn bind(&self, ctx: &mut Context<Self>) {
        let Some(core) = &self.core else { return };
        let invite = match &self.way {
            Way::Incoming { tx, .. } => Some(*tx),
            Way::Outgoing { .. } => None,
        };
        let leg = ctx.address().recipient();
        self.common.to_endpoint(Bind {
            owner: self.owner,
            dialog: core.dialog_id(),
            invite,
            leg,
            place: Some(LegPlace {
                call: self.call.clone(),
                leg: self.leg,
            }),
        });
    }

    /// The offer of an incoming call decides whether there can be a call at all.
    fn take_offer(&mut self, now: Instant, ctx: &mut Context<Self>) {
        let Some(offer) = self.core.as_ref().and_then(sip::call::Call::offer) else {
            // A late offer: ours goes out with the 200, the answer comes with the ACK.
            self.described = Some(sdp::offer(&self.local, &self.codecs));
            self.report(LegFact::Offered {
                audio: None,
                codecs: self.codecs.clone(),
            });
            self.drain(now, ctx);
            return;
        };
        if matches!(self.way, Way::Incoming { waits: true, .. }) {
            return self.take_waiting_offer(now, &offer, ctx);
        }
        match sdp::answer(&offer, &self.local, &self.codecs) {
            Ok((answer, agreed)) => {
                self.described = Some(answer);
                let codecs = vec![agreed.audio.codec];
                let audio = Some(self.agree(agreed));
                self.report(LegFact::Offered { audio, codecs });
                self.drain(now, ctx);
            }
            Err(error) => self.refuse_offer(now, &error, ctx),
        }
    }

    /// Whether there can be a call is known now; in which codec, when the other side has answered.
    fn take_waiting_offer(&mut self, now: Instant, offer: &[u8], ctx: &mut Context<Self>) {
        match sdp::common(offer, &self.local, &self.codecs) {
            Ok(codecs) => {
                self.report(LegFact::Offered {
                    audio: None,
                    codecs,
                });
                self.drain(now, ctx);
            }
            Err(error) => self.refuse_offer(now, &error, ctx),
        }
    }

    fn refuse_offer(&mut self, now: Instant, error: &sdp::OfferError, ctx: &mut Context<Self>) {
        tracing::info!(leg = %self.leg, trunk = self.via, %error, "an offer cannot be answered");
        self.hang_up(now, &Cause::new(Reason::NotAcceptable), ctx);
    }

    /// Answers the caller, now that everything about the other side is known.
    fn answer(&mut self, now: Instant, partner: Option<Codec>, ctx: &mut Context<Self>) {
        if let Some(partner) = partner {
            self.codecs = fitting(&self.codecs, partner);
            let Some(offer) = self.core.as_ref().and_then(sip::call::Call::offer) else {
                // A late offer: the caller chooses among what fits.
                let sdp = sdp::offer(&self.local, &self.codecs);
                return self.say_answer(now, sdp, ctx);
            };
            match sdp::answer(&offer, &self.local, &self.codecs) {
                Ok((answer, agreed)) => {
                    self.described = Some(answer);
                    let audio = self.agree(agreed);
                    self.report(LegFact::Changed { audio });
                }
                Err(error) => return self.refuse_offer(now, &error, ctx),
            }
        }
        let sdp = self.described.clone().unwrap_or_default();
        self.say_answer(now, sdp, ctx);
    }

    fn say_answer(&mut self, now: Instant, sdp: Bytes, ctx: &mut Context<Self>) {
        self.described = Some(sdp.clone());
        self.answered = true;
        self.input(now, CallInput::Answer { sdp }, ctx);
    }

    fn input(&mut self, now: Instant, input: CallInput, ctx: &mut Context<Self>) {
        if let Some(core) = &mut self.core {
            core.handle_input(now, input);
            self.drain(now, ctx);
        }
    }

    fn drain(&mut self, now: Instant, ctx: &mut Context<Self>) {
        while let Some(core) = &mut self.core {
            match core.poll_output() {
                CallOutput::Event(event) => self.event(now, event, ctx),
                CallOutput::Timeout(at) => {
                    self.arm(now, at, ctx);
                    break;
                }
                packet => send(&self.common, self.owner, packet),
            }
        }
        self.leave_when_done(ctx);
    }

    fn event(&mut self, now: Instant, event: CallEvent, ctx: &mut Context<Self>) {
        match event {
            CallEvent::NobodyThere { place } => {
                tracing::warn!(leg = %self.leg, trunk = self.via, %place, "nobody there: the call goes to the next place");
                self.common.resolver.avoid(place);
            }
            // Early media of the PBX is not passed on to who called: he hears the ringing of his app until the answer.
            CallEvent::Ringing { sdp } => {
                self.report(LegFact::Ringing);
                if let Some(sdp) = sdp {
                    self.take_early(&sdp);
                }
            }
            CallEvent::Answered { sdp } => {
                self.answered = true;
                self.take_answer(now, sdp.as_deref(), ctx);
            }
            CallEvent::Confirmed => self.report(LegFact::Confirmed),
            CallEvent::Offer { sdp } => self.take_reoffer(now, &sdp, ctx),
            CallEvent::OfferWanted => {
                // RFC 6337 5.3: whoever holds us may want to resume so; what we would have is a conversation.
                let previous = self.described.clone().unwrap_or_default();
                let way = wanted_direction(self.holding);
                let (sdp, version) = sdp::reoffer(&previous, &self.local, &self.codecs, way);
                self.local.version = version;
                self.described = Some(sdp.clone());
                self.input(now, CallInput::AnswerOffer { sdp }, ctx);
            }
            CallEvent::OfferAnswered { sdp } => {
                let asked = self.asked.take();
                if let Some((on, _)) = asked {
                    self.holding = on;
                    self.report(LegFact::Held { on, done: true });
                }
                self.take_late_answer(now, &sdp, ctx);
            }
            CallEvent::OfferRefused { .. } => {
                // RFC 3261 14.1: the session goes on as it was.
                if let Some((on, described)) = self.asked.take() {
                    self.described = described;
                    self.report(LegFact::Held { on, done: false });
                }
            }
            CallEvent::OfferOvertaken => {
                if let Some((on, _)) = self.asked.take() {
                    self.hold(now, on, ctx);
                }
            }
            CallEvent::InfoAnswered { status } => {
                let accepted = (200..300).contains(&status);
                self.report(LegFact::InfoAnswered { accepted });
            }
            CallEvent::Info { content_type, body } => {
                if let Some(digit) = sip::info::digit(&content_type, &body) {
                    self.report(LegFact::Digit { digit });
                }
            }
            CallEvent::Referred {
                target,
                referred_by,
            } => {
                let target = Box::new(target.uri);
                let wish = Wish {
                    target,
                    referred_by,
                };
                self.report(LegFact::TransferWanted { wish });
            }
            CallEvent::Ended {
                by,
                status,
                phrase,
                reason,
                retry_after,
                cause,
            } => {
                let mut cause = self.cause_of(by, status, &phrase, cause);
                if let Some(wait) = retry_after {
                    cause = cause.with_retry_after(wait);
                }
                self.peer_reason = reason.filter(|_| by == Party::Remote);
                self.end(&cause, ctx);
            }
        }
    }

    /// What the PBX plays before it answers; one that cannot be understood is not heard.
    fn take_early(&mut self, answer: &[u8]) {
        let offer = self.described.clone().unwrap_or_default();
        match sdp::accept_answer(&offer, answer, &self.codecs) {
            Ok(agreed) => {
                let audio = self.agree(agreed);
                self.report_early(audio);
            }
            Err(error) => {
                tracing::info!(leg = %self.leg, trunk = self.via, %error, "early media cannot be used");
            }
        }
    }

    /// Only where somebody hears it.
    fn report_early(&self, audio: SipMedia) {
        if self.early_media {
            self.report(LegFact::Early { audio });
        }
    }

    /// The answer to our offer, or none where what was agreed on since holds.
    fn take_answer(&mut self, now: Instant, answer: Option<&[u8]>, ctx: &mut Context<Self>) {
        let agreed = match (answer, self.agreed.clone()) {
            (None, Some(agreed)) => Ok(agreed),
            (answer, _) => {
                let offer = self.described.clone().unwrap_or_default();
                sdp::accept_answer(&offer, answer.unwrap_or_default(), &self.codecs)
            }
        };
        match agreed {
            Ok(agreed) => {
                let audio = Some(self.agree(agreed));
                self.report(LegFact::Answered { audio });
            }
            // RFC 3264 section 6: an answer we cannot use ends the dialog.
            Err(error) => {
                tracing::warn!(leg = %self.leg, trunk = self.via, %error, "an answer cannot be used");
                self.hang_up(now, &Cause::new(Reason::NotAcceptable), ctx);
            }
        }
    }

    /// The answer that came with the ACK.
    fn take_late_answer(&mut self, now: Instant, answer: &[u8], ctx: &mut Context<Self>) {
        let offer = self.described.clone().unwrap_or_default();
        match sdp::accept_answer(&offer, answer, &self.codecs) {
            Ok(agreed) => {
                let audio = self.agree(agreed);
                self.report(LegFact::Changed { audio });
            }
            Err(_) => self.hang_up(now, &Cause::new(Reason::NotAcceptable), ctx),
        }
    }

    /// A re-INVITE or UPDATE with an offer: hold, resume, another address.
    fn take_reoffer(&mut self, now: Instant, offer: &[u8], ctx: &mut Context<Self>) {
        let previous = self.described.clone().unwrap_or_default();
        self.renew_keys();
        let answered = match &self.agreed {
            Some(agreed) => sdp::reanswer(offer, &self.local, &self.codecs, &previous, agreed),
            None => sdp::answer(offer, &self.local, &self.codecs)
                .map(|(body, agreed)| (body, agreed, self.local.version)),
        };
        match answered {
            Ok((answer, agreed, version)) => {
                self.local.version = version;
                self.described = Some(answer.clone());
                let audio = self.agree(agreed);
                if matches!(self.way, Way::Outgoing { .. }) && !self.answered {
                    self.report_early(audio);
                } else {
                    self.report(LegFact::Changed { audio });
                }
                self.input(now, CallInput::AnswerOffer { sdp: answer }, ctx);
            }
            Err(_) => self.input(now, CallInput::RefuseOffer { status: 488 }, ctx),
        }
    }

    /// Holds the PBX by a re-INVITE (RFC 3264 8.4), or lets it go on.
    fn hold(&mut self, now: Instant, on: bool, ctx: &mut Context<Self>) {
        if self.asked.is_some() || on == self.holding {
            let done = on == self.holding && self.asked.is_none();
            return self.report(LegFact::Held { on, done });
        }
        let previous = self.described.clone().unwrap_or_default();
        let way = wanted_direction(on);
        let (sdp, version) = sdp::reoffer(&previous, &self.local, &self.codecs, way);
        self.local.version = version;
        self.asked = Some((on, self.described.replace(sdp.clone())));
        self.input(now, CallInput::Offer { sdp }, ctx);
    }

    /// What the end of the dialog means for the call.
    fn cause_of(&self, by: Party, status: u16, phrase: &str, cause: EndCause) -> Cause {
        let called = matches!(self.way, Way::Outgoing { .. });
        match cause {
            EndCause::Cancelled => Cause::new(Reason::Cancelled),
            EndCause::Bye => Cause::new(Reason::NormalClearing),
            EndCause::Refused if by == Party::Remote => Cause::sip_refused(status, phrase),
            EndCause::Refused | EndCause::NoSdp => Cause::new(Reason::NotAcceptable),
            EndCause::NoAck => Cause::new(Reason::AckTimeout),
            EndCause::Expired => Cause::new(Reason::SessionExpired),
            EndCause::NoPrack => Cause::new(Reason::PrackTimeout),
            EndCause::NoAnswer if called => Cause::new(Reason::SipNoAnswer),
            EndCause::NoAnswer => Cause::new(Reason::Cancelled),
            EndCause::HeldBack => Cause::new(Reason::SipHeldBack),
            EndCause::TimedOut | EndCause::Unreachable | EndCause::DialogLost => {
                Cause::new(Reason::SipTimeout)
            }
        }
    }

    /// Ends the dialog from our side: with the cause's code before the answer, with its reason after.
    fn hang_up(&mut self, now: Instant, cause: &Cause, ctx: &mut Context<Self>) {
        let input = self.last_word(cause);
        // What the dialog says of its own end is only an echo of this.
        self.end(cause, ctx);
        self.input(now, input, ctx);
    }

    /// What ends the dialog: a caller who waits is refused, everybody else is hung up on.
    fn last_word(&self, cause: &Cause) -> CallInput {
        if matches!(self.way, Way::Incoming { .. }) && !self.answered {
            CallInput::Refuse {
                status: cause.code(),
                reason: cause.phrase().into_owned(),
                headers: refusal::headers(cause)
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
            }
        } else {
            CallInput::HangUp {
                reason_header: Some(refusal::reason(cause)),
            }
        }
    }

    /// Tells the call once; the leg stays until the dialog has said its last word.
    fn end(&mut self, cause: &Cause, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.over, true) {
            let mut end = leg::end(LegKind::Sip, self.via.clone(), cause);
            end.peer_reason.clone_from(&self.peer_reason);
            self.report(LegFact::Ended {
                cause: cause.clone(),
                end,
            });
        }
        // What is left is to wait, for 32 s, for answers that come again (RFC 3261 13.2.2.4). There are thousands of such legs
        // at some hundred calls a second; their mailboxes are of no interest.
        if let Some(probe) = self.probe.take() {
            ctx.cancel_future(probe);
        }
        self.leave_when_done(ctx);
    }

    fn leave_when_done(&self, ctx: &mut Context<Self>) {
        if self.over && self.core.as_ref().is_none_or(sip::call::Call::is_over) {
            ctx.stop();
        }
    }

    fn arm(&mut self, now: Instant, at: Option<Instant>, ctx: &mut Context<Self>) {
        self.alarm.set(now, at, ctx, |leg, ctx| {
            leg.alarm = Alarm::default();
            leg.input(Instant::now(), CallInput::Timeout, ctx);
        });
    }
}

/// Those of a trunk's codecs in which a party can talk with another that speaks `partner`: the same first, so that packets pass
/// untouched.
pub(crate) fn fitting(codecs: &[Codec], partner: Codec) -> Vec<Codec> {
    let same = codecs.iter().filter(|codec| **codec == partner);
    let others = codecs
        .iter()
        .filter(|codec| **codec != partner && media::can_join(**codec, partner));
    same.chain(others).copied().collect()
}

/// What we offer to a PBX that is held, and to one that talks.
fn wanted_direction(holding: bool) -> sdp::Direction {
    if holding {
        sdp::Direction::SendOnly
    } else {
        sdp::Direction::SendRecv
    }
}

/// What a trunk's wish for SRTP comes to where SIP travels so; nothing where there is no call.
fn srtp_of(trunk: &TrunkSpec, transport: Transport) -> Option<Srtp> {
    let srtp = trunk.srtp_by(transport);
    if srtp.is_none() {
        tracing::warn!(trunk = %trunk.name, srtp = %trunk.srtp, %transport,
            "no SRTP: its keys could be read on the way; let the PBX use TLS, or set srtp_over_plain = \"allow\"");
    }
    srtp.or_else(|| (trunk.srtp == Srtp::Optional).then_some(Srtp::Off))
}

/// Hands a packet of the core to the endpoint.
fn send(common: &Common, owner: Owner, packet: CallOutput) {
    match packet {
        CallOutput::Send { target, request } => {
            common.to_endpoint(SendRequest {
                owner: Some(owner),
                target,
                request,
            });
        }
        CallOutput::Dismiss { target, request } => common.to_endpoint(SendRequest {
            owner: None,
            target,
            request,
        }),
        CallOutput::SendAck { target, request } => common.to_endpoint(SendAck { target, request }),
        CallOutput::CancelInvite { reason } => common.to_endpoint(CancelInvite { owner, reason }),
        CallOutput::Respond { tx, response } => common.to_endpoint(Respond { tx, response }),
        CallOutput::Event(_) | CallOutput::Timeout(_) => {}
    }
}

crate::supervise::watched!(SipLeg);

impl Actor for SipLeg {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(256);
        self.probe = Some(crate::supervise::probe(ctx));
        at_each_return(ctx, &self.common.endpoint, |leg, ctx| {
            leg.bind(ctx);
            leg.input(Instant::now(), CallInput::Lost, ctx);
        });
        if let Some(group) = self.group.take() {
            ctx.spawn(group.abandoned().into_actor(self).map(|(), leg, ctx| {
                leg.hang_up(Instant::now(), &Cause::new(Reason::InternalError), ctx);
            }));
        }
        self.begin(Instant::now(), ctx);
    }
}

impl Drop for SipLeg {
    /// The last duty of a leg that dies: the peer must not be left in a call with nobody.
    fn drop(&mut self) {
        let input = self.last_word(&Cause::new(Reason::InternalError));
        if !self.over
            && let Some(core) = &mut self.core
        {
            core.handle_input(Instant::now(), input);
            loop {
                match core.poll_output() {
                    CallOutput::Timeout(_) => break,
                    packet => send(&self.common, self.owner, packet),
                }
            }
        }
        self.common.to_endpoint(Unbind { owner: self.owner });
    }
}

impl Handler<FromWire> for SipLeg {
    type Result = ();

    fn handle(&mut self, FromWire(input): FromWire, ctx: &mut Self::Context) {
        self.watch.handled();
        self.input(Instant::now(), input, ctx);
    }
}

impl Handler<LegOrder> for SipLeg {
    type Result = ();

    fn handle(&mut self, order: LegOrder, ctx: &mut Self::Context) {
        self.watch.handled();
        let now = Instant::now();
        match order {
            LegOrder::Ring => {
                // Whoever made no offer and takes every response reliably gets ours with the first (RFC 3262 5).
                let early = self
                    .core
                    .as_ref()
                    .is_some_and(sip::call::Call::offers_early);
                let sdp = self.described.clone().filter(|_| early);
                self.input(now, CallInput::Ring { sdp }, ctx);
            }
            LegOrder::Answer { partner } => self.answer(now, partner, ctx),
            LegOrder::Digit { digit } => {
                let input = CallInput::Info {
                    content_type: sip::info::DTMF_RELAY.to_owned(),
                    body: sip::info::body(digit, KEY),
                };
                self.input(now, input, ctx);
            }
            LegOrder::Hold { on } => self.hold(now, on, ctx),
            LegOrder::HangUp { cause } => self.hang_up(now, &cause, ctx),
            LegOrder::SayFarewell => {
                let cause = Cause::new(Reason::Crashed);
                let (phrase, reason) = (cause.phrase(), refusal::reason(&cause));
                let core = self.core.as_ref();
                let said = core.and_then(|core| core.farewell(cause.code(), &phrase, &reason));
                let farewell = said.map(|(hop, message)| farewell::of_sip(hop, message));
                let is_none = farewell.is_none();
                self.report(LegFact::Farewell { farewell });
                if is_none && !self.over && matches!(self.way, Way::Outgoing { .. }) {
                    // It may still ring there.
                    let owner = self.owner;
                    self.common.to_endpoint(SayCancel { owner, reason });
                }
            }
            LegOrder::AcceptTransfer => self.input(now, CallInput::AcceptRefer, ctx),
            LegOrder::RefuseTransfer { cause } => {
                let (status, reason) = (cause.code(), cause.phrase().into_owned());
                self.input(now, CallInput::RefuseRefer { status, reason }, ctx);
            }
            LegOrder::TransferProgress { code, phrase } => {
                let (status, reason) = (code, phrase);
                self.input(now, CallInput::ReferProgress { status, reason }, ctx);
            }
            // Plain RTP tells of itself only by silence, which the call handles.
            LegOrder::MediaConnected | LegOrder::Signal { .. } => {}
            LegOrder::MediaFailed { .. } => self.hang_up(now, &Cause::new(Reason::RtpTimeout), ctx),
        }
    }
}
