//! A call: owns its state, its legs, its media task and its record.
//!
//! Any number of legs; leg 0 is the caller's. Facts come up from legs and media, orders go down. When it dies, its legs end
//! their own sides (crash group) and the registry closes its record.

mod audio;
mod callback;
#[cfg(feature = "chaos")]
pub(crate) mod chaos;
#[cfg(test)]
pub(crate) mod crash;
mod ending;
mod hunt;
mod keys;
mod owner;
mod plan;
mod quality;
mod tell;
mod transfer;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler, MessageResult, WrapFuture};
use media::Tone;
use model::{
    CallId, CallRecord, Cause, Codec, Direction, DtmfMethod, EventKind, Farewell, LegEnd, LegId,
    OpenCall, Reason, Side, TrunkName, TrunkSpec,
};
use net::media::{MediaCommand, MediaEvent, MediaHandle, RtpReservation};
use sip::Hop;

pub(crate) use self::plan::{CallSpec, Held, Origin, Plan, SipTarget, trunks};
pub(crate) use self::tell::tell_over;

use crate::house::{CallReport, Common};
use crate::leg::LegAddr;
use crate::leg::sip::{SipLeg, SipLegSpec, Way as SipWay};
use crate::leg::telegram::{TelegramLeg, TelegramLegSpec, Way as TelegramWay};
use crate::message::{
    Adopt, Answered, CallAnswered, DescribeCall, EndCall, FromMedia, InviteArrived, LegFact,
    LegOrder, LegReport, OpenRecord, SipMedia, UserMet,
};
use crate::session::Session;
use crate::supervise::{CrashGroup, Door, Down, Parent, Unit, Watch, at_each_return};
use crate::unwritten::Unwritten;

/// The caller's leg.
const CALLER: LegId = LegId(0);
/// Whoever was not heard this long after the answer is missing.
const ONE_WAY_AFTER: Duration = Duration::from_secs(5);
/// How long the record of a beginning waits: it may be a second old after a crash (decision 13), and most calls that are refused are
/// over by then, and then only their end is written.
const BEGINNING: Duration = Duration::from_millis(250);
/// How long the legs have to say what would end them, before that is written.
const FAREWELLS: Duration = Duration::from_millis(20);

/// Where a call is. Each state carries only what is true in it.
#[derive(Debug, Clone, PartialEq)]
enum CallState {
    /// The caller's leg is being checked.
    Routing,
    /// Who wrote a number is being called back.
    CallingBack,
    /// He has answered; his media is missing.
    PickedUp,
    /// The other side is being called.
    Calling,
    /// A device rings.
    Ringing,
    /// The called side answered; media or the ACK is still missing.
    Answering,
    /// Both hear each other.
    Bridged,
    /// Nobody takes the call, and who was called back hears so.
    Failing,
    /// The legs are saying their last words.
    Ending,
}

impl CallState {
    /// The value of the metric label `state`.
    fn label(&self) -> metrics::CallState {
        match self {
            CallState::Routing
            | CallState::CallingBack
            | CallState::PickedUp
            | CallState::Calling
            | CallState::Failing => metrics::CallState::Setup,
            CallState::Ringing => metrics::CallState::Ringing,
            CallState::Answering | CallState::Bridged | CallState::Ending => {
                metrics::CallState::Established
            }
        }
    }
}

/// A leg as its call sees it.
struct Slot {
    address: LegAddr,
    /// The trunk or session it goes over.
    via: String,
    /// Where its PBX is; nothing for Telegram.
    peer: Option<Hop>,
    /// How keypad digits travel on it, best first; nothing for Telegram.
    dtmf: Vec<DtmfMethod>,
    /// It takes digits as RTP events.
    events: bool,
    /// Its media listens for tones.
    listens: bool,
    /// Keys that are to be pressed on it.
    keys: keys::Keys,
    end: Option<LegEnd>,
}

/// A leg that rings.
struct Ringing {
    trunk: TrunkName,
    number: String,
    rule: String,
}

/// The call.
pub(crate) struct Call {
    common: Common,
    id: CallId,
    held: Held,
    plan: Plan,
    session: Option<Door<Session>>,
    state: CallState,
    legs: BTreeMap<LegId, Slot>,
    group: CrashGroup,
    media: Option<MediaHandle>,
    /// Ports that stand in the SDP of a leg whose media has not begun.
    reserved: BTreeMap<LegId, RtpReservation>,
    record: CallRecord,
    /// The keeper knows that the call began.
    begun: bool,
    /// What would end each leg if this process were gone (REL-P4).
    farewells: BTreeMap<LegId, Farewell>,
    /// These are about to be written.
    remembering: bool,
    started: Instant,
    answered_at: Option<Instant>,
    /// Legs that audio has come from.
    heard: BTreeSet<LegId>,
    /// Legs that may be silent: muted, or holding us.
    excused: BTreeSet<LegId>,
    /// The first cause of the end, and who was behind it.
    ended: Option<(Cause, Side)>,
    /// Of a hunt: the legs that ring now.
    ringing: BTreeMap<LegId, Ringing>,
    /// Legs that rang for nothing, because another one answered first.
    lost: BTreeSet<LegId>,
    /// The trunk that answered.
    answered_by: Option<TrunkName>,
    /// What the caller of another trunk can speak; empty for a Telegram user.
    caller_codecs: Vec<Codec>,
    /// A leg that is to be replaced.
    transfer: Option<transfer::Transfer>,
    /// The legs that an owner holds.
    on_hold: BTreeSet<LegId>,
    /// The legs whose PBX does not want to hear us.
    holding: BTreeSet<LegId>,
    /// What the call is counted under.
    shown: metrics::CallState,
    /// What is special about a call back.
    callback: callback::Callback,
    /// A group that the registry was asked for and has not answered.
    wanted: Option<Vec<TrunkName>>,
    /// How it sounds.
    ears: quality::Ears,
    /// Its end has been told.
    is_told: bool,
    /// It holds no lines any more, and its record is not written.
    unwritten: Option<Unwritten>,
    watch: Watch,
}

impl Call {
    pub(crate) fn new(common: Common, spec: CallSpec) -> Self {
        let record = CallRecord {
            id: spec.id,
            direction: spec.held.direction,
            trunk: spec.held.trunk.to_string(),
            session: spec.held.session_name().to_owned(),
            from: spec.from,
            to: spec.to,
            diverted_from: diverted_from(&spec.plan),
            started_ms: spec.id.unix_ms(),
            ringing_after_ms: None,
            answered_after_ms: None,
            ended_after_ms: None,
            ended_by: None,
            outcome: None,
            legs: Vec::new(),
            to_trunk: spec.plan.first_trunk(),
            details: model::CallDetails {
                node: common.settings.node.clone(),
                rule: spec.rule,
                ..model::CallDetails::default()
            },
        };
        Self {
            common,
            id: spec.id,
            held: spec.held,
            plan: spec.plan,
            session: spec.session,
            state: CallState::Routing,
            legs: BTreeMap::new(),
            group: CrashGroup::new(),
            media: None,
            reserved: BTreeMap::new(),
            record,
            begun: false,
            farewells: BTreeMap::new(),
            remembering: false,
            started: Instant::now(),
            answered_at: None,
            heard: BTreeSet::new(),
            excused: BTreeSet::new(),
            ended: None,
            ringing: BTreeMap::new(),
            lost: BTreeSet::new(),
            answered_by: None,
            caller_codecs: Vec::new(),
            transfer: None,
            on_hold: BTreeSet::new(),
            holding: BTreeSet::new(),
            shown: CallState::Routing.label(),
            callback: callback::Callback::default(),
            wanted: None,
            ears: quality::Ears::default(),
            is_told: false,
            unwritten: None,
            watch: spec.watch,
        }
    }
}

crate::supervise::watched!(Call);

impl Actor for Call {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(256);
        crate::supervise::probe(ctx);
        self.common.metrics.call_state(
            self.record.direction,
            &self.held.trunk,
            None,
            Some(self.shown),
        );
        self.introduce();
        self.tell(EventKind::CallStarted);
        ctx.run_later(BEGINNING, Self::prepare_farewells);
        at_each_return(ctx, &self.common.registry, Call::tell_registry);
        let (media, mut events) = self.common.media.open_call(self.id);
        self.media = Some(media);
        let me = ctx.address();
        ctx.spawn(
            async move {
                while let Some(event) = events.recv().await {
                    // The only sender is one media task, and its channel is bounded.
                    me.do_send(FromMedia(Some(event)));
                }
                me.do_send(FromMedia(None));
            }
            .into_actor(self),
        );
        self.route(ctx);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.has_died();
        self.common.metrics.call_state(
            self.record.direction,
            &self.held.trunk,
            Some(self.shown),
            None,
        );
    }
}

impl Call {
    /// Counts and tells the end of a call that nobody has ended. One that dies has begun, however young, and has gone on until now: the
    /// registry has its record closed.
    fn has_died(&mut self) {
        if self.record.outcome.is_some() {
            return;
        }
        let now = self.elapsed_ms();
        self.record.ended_after_ms.get_or_insert(now);
        self.write_open();
        let cause = Cause::new(Reason::InternalError);
        let closed = crate::keeper::close(self.record.clone(), &cause, None);
        self.common.metrics.call_over(&closed, &cause, Side::Here);
        tell_over(&self.common.events, &closed);
    }

    /// Tells the keeper how the call stands, unless it is over.
    fn write_open(&mut self) {
        if self.record.outcome.is_some() {
            return;
        }
        self.begun = true;
        self.common.to_keeper(OpenRecord {
            call: Box::new(OpenCall {
                record: self.record.clone(),
                farewells: self.farewells.values().cloned().collect(),
            }),
        });
    }

    /// Asks the legs what would end them if this process were gone, and has it written a moment later.
    fn prepare_farewells(&mut self, ctx: &mut Context<Self>) {
        if self.ended.is_some() || std::mem::replace(&mut self.remembering, true) {
            return;
        }
        for leg in self.legs.keys() {
            self.order(*leg, LegOrder::SayFarewell);
        }
        ctx.run_later(FAREWELLS, |call, _| {
            call.remembering = false;
            call.write_open();
        });
    }

    /// There is a new registry, which knows nothing of this call until it is told.
    fn tell_registry(&mut self, ctx: &mut Context<Self>) {
        // One that has given its lines back must not be given them again.
        if self.record.outcome.is_some() {
            return;
        }
        self.common.to_registry(Adopt {
            call: self.id,
            held: Box::new(self.held.clone()),
            answered: self.answered_at.map(|at| Answered {
                ago: at.elapsed(),
                by: self.answered_by.clone(),
            }),
            address: ctx.address(),
        });
        self.ask_again(ctx);
        self.ask_for_transfer(ctx);
    }

    /// Starts the first leg, or both.
    fn route(&mut self, ctx: &mut Context<Self>) {
        match &self.plan {
            Plan::ToTelegram { trunk, invite, .. } => {
                let (trunk, invite) = (trunk.clone(), invite.clone());
                self.take_invite(*trunk, *invite, false, ctx);
            }
            Plan::ToSip { origin, .. } => match origin {
                Origin::Trunk { trunk, invite } => {
                    let (trunk, invite) = (trunk.clone(), invite.clone());
                    self.take_invite(*trunk, *invite, true, ctx);
                }
                Origin::Callback | Origin::Ordered => self.call_back(ctx),
                Origin::Telegram {
                    requested,
                    settings,
                } => {
                    let way = TelegramWay::Incoming {
                        requested: requested.clone(),
                        settings: settings.clone(),
                    };
                    self.add_telegram(CALLER, way, ctx);
                    self.ring_first(ctx);
                }
            },
        }
    }

    /// Starts the leg of a caller in a PBX.
    fn take_invite(
        &mut self,
        trunk: TrunkSpec,
        invite: InviteArrived,
        waits: bool,
        ctx: &mut Context<Self>,
    ) {
        let (source, tx) = (invite.source, invite.tx);
        let request = invite.request;
        if self.reserve(CALLER, source.address).is_err() {
            let cause = Cause::new(Reason::NoRtpPorts);
            self.common.refuse(tx, &request, &cause, true);
            return self.begin_end(cause, Side::Here, ctx);
        }
        let way = SipWay::Incoming {
            request,
            tx,
            source,
            waits,
        };
        self.add_sip(CALLER, trunk, way, ctx);
    }

    fn reserve(&mut self, leg: LegId, peer: SocketAddr) -> Result<(), net::media::NoRtpPorts> {
        let rtp = self.common.media.reserve_rtp(peer)?;
        self.reserved.insert(leg, rtp);
        Ok(())
    }

    fn next_leg(&self) -> LegId {
        LegId(self.legs.keys().next_back().map_or(0, |last| last.0 + 1))
    }

    fn add_sip(&mut self, leg: LegId, trunk: TrunkSpec, way: SipWay, ctx: &mut Context<Self>) {
        let Some(media) = self.reserved.get(&leg).map(RtpReservation::address) else {
            return;
        };
        let via = trunk.name.to_string();
        let dtmf = trunk.dtmf.clone();
        let peer = match &way {
            SipWay::Incoming { source, .. } => *source,
            SipWay::Outgoing { target } => target.send_to,
        };
        let spec = SipLegSpec {
            leg,
            call: ctx.address(),
            watch: self.watch_leg(leg, ctx),
            group: self.group.member(),
            trunk,
            media,
            early_media: self.is_callback(),
            way,
        };
        let address = SipLeg::new(self.common.clone(), spec).start();
        self.legs.insert(
            leg,
            Slot {
                address: LegAddr::Sip(address),
                via,
                peer: Some(peer),
                dtmf,
                events: false,
                listens: false,
                keys: keys::Keys::default(),
                end: None,
            },
        );
    }

    fn add_telegram(&mut self, leg: LegId, way: TelegramWay, ctx: &mut Context<Self>) {
        let Some(session) = self.session.clone() else {
            return;
        };
        let spec = TelegramLegSpec {
            id: self.id,
            registry: self.common.registry.clone(),
            leg,
            call: ctx.address(),
            watch: self.watch_leg(leg, ctx),
            group: self.group.member(),
            via: self.held.session_name().to_owned(),
            session,
            way,
        };
        let address = TelegramLeg::new(spec).start();
        self.legs.insert(
            leg,
            Slot {
                address: LegAddr::Telegram(address),
                via: self.held.session_name().to_owned(),
                peer: None,
                dtmf: Vec::new(),
                events: false,
                listens: false,
                keys: keys::Keys::default(),
                end: None,
            },
        );
    }

    fn watch_leg(&self, leg: LegId, ctx: &mut Context<Self>) -> Watch {
        let parent = Parent::Actor(ctx.address().recipient());
        Watch::new(Unit::Leg(self.id, leg), parent, self.common.metrics.clone())
    }

    fn set_state(&mut self, next: CallState) {
        tracing::debug!(call = %self.id, from = ?self.state, to = ?next, "call state");
        self.state = next;
        self.show_state();
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn order(&self, leg: LegId, order: LegOrder) {
        if let Some(slot) = self.legs.get(&leg).filter(|slot| slot.end.is_none()) {
            slot.address.order(order);
        }
    }

    fn tell_media(&mut self, command: MediaCommand) {
        // A media task that does not take commands is dead or stuck; its end is noticed by its events.
        if let Some(media) = &mut self.media
            && media.command(command).is_err()
        {
            tracing::error!(call = %self.id, "the media task takes no commands");
        }
    }

    /// The other leg of a two-party call; not one that is about to take a place, with whom nobody talks yet.
    fn partner(&self, leg: LegId) -> Option<LegId> {
        let newcomer = self.newcomer();
        self.legs
            .iter()
            .filter(|(id, _)| **id != leg && Some(**id) != newcomer)
            .find(|(id, slot)| slot.end.is_none() && !self.lost.contains(*id))
            .map(|(id, _)| *id)
    }
}

impl Handler<LegReport> for Call {
    type Result = ();

    fn handle(&mut self, report: LegReport, ctx: &mut Self::Context) {
        self.watch.handled();
        let leg = report.leg;
        // Whatever a loser says crossed the order to end; only that it has done so is of interest.
        if self.lost.contains(&leg) && !matches!(report.fact, LegFact::Ended { .. }) {
            return;
        }
        // So did what the legs of a call that ends say: nobody rings or answers any more. Who was there belongs into the record all the same.
        let is_late = !matches!(
            report.fact,
            LegFact::Ended { .. }
                | LegFact::Named { .. }
                | LegFact::Met { .. }
                | LegFact::Farewell { .. }
        );
        if self.ended.is_some() && is_late {
            return;
        }
        match report.fact {
            LegFact::Offered { audio, codecs } => self.leg_offered(leg, audio, codecs, ctx),
            LegFact::Named { side } => self.leg_named(leg, *side),
            LegFact::Met { person } => self.met(*person),
            LegFact::Ringing => self.leg_rings(leg, ctx),
            LegFact::Agreed { start } => self.leg_agreed(leg, start),
            LegFact::Answered { audio } => self.leg_answered(leg, audio, ctx),
            LegFact::Confirmed => self.leg_confirmed(leg, ctx),
            LegFact::Changed { audio } => {
                self.sip_media(leg, &audio);
                // The PBX may be reached elsewhere from now on.
                if self.state == CallState::Bridged {
                    self.prepare_farewells(ctx);
                }
            }
            LegFact::Farewell { farewell } => {
                if let Some(farewell) = farewell {
                    self.farewells.insert(leg, farewell);
                } else {
                    self.farewells.remove(&leg);
                }
            }
            LegFact::Signaling { bytes } => self.tell_media(MediaCommand::Signal { leg, bytes }),
            LegFact::TransferWanted { wish } => self.transfer_wanted(leg, wish, ctx),
            LegFact::Digit { digit } => self.digit(leg, digit, DtmfMethod::Info, ctx),
            LegFact::Wrote { text } => self.wrote(leg, &text, ctx),
            LegFact::Early { audio } => self.leg_early(leg, &audio),
            LegFact::Held { on, done } => self.held(leg, on, done),
            LegFact::InfoAnswered { accepted } => self.info_answered(leg, accepted, ctx),
            LegFact::Ended { cause, end } => {
                self.farewells.remove(&leg);
                self.leg_ended(leg, cause, end, ctx);
            }
        }
    }
}

impl Call {
    /// The caller's offer is acceptable: now, and not before, somebody is rung.
    fn leg_offered(
        &mut self,
        leg: LegId,
        audio: Option<SipMedia>,
        codecs: Vec<Codec>,
        ctx: &mut Context<Self>,
    ) {
        if self.transfer_done(leg, audio.as_ref(), ctx) {
            return;
        }
        if let Some(audio) = audio {
            self.sip_media(leg, &audio);
        }
        if self.state != CallState::Routing {
            return;
        }
        match &self.plan {
            Plan::ToTelegram { peer, .. } => {
                let way = TelegramWay::Outgoing { peer: peer.clone() };
                let callee = self.next_leg();
                self.set_state(CallState::Calling);
                self.add_telegram(callee, way, ctx);
            }
            Plan::ToSip { .. } => {
                self.caller_codecs = codecs;
                self.ring_first(ctx);
            }
        }
    }

    fn leg_rings(&mut self, leg: LegId, ctx: &mut Context<Self>) {
        if self.transfer_rings(leg)
            || leg == CALLER
            || !matches!(self.state, CallState::Calling | CallState::Ringing)
        {
            return;
        }
        if self.record.ringing_after_ms.is_none() {
            self.record.ringing_after_ms = Some(self.elapsed_ms());
            self.tell(EventKind::CallRinging);
            let waited = self.dialled_at().elapsed();
            self.common
                .metrics
                .post_dial_delay(self.record.direction, waited);
            if self.begun {
                // Telegram has named the call since.
                self.prepare_farewells(ctx);
            }
        }
        self.set_state(CallState::Ringing);
        self.order(CALLER, LegOrder::Ring);
    }

    /// A Telegram leg has its key: its media starts, joined with the other leg's.
    fn leg_agreed(&mut self, leg: LegId, start: Box<telegram::MediaStart>) {
        self.common.metrics.call_protocol(&start.version);
        let protocol = model::recorded(&start.version);
        self.record.details.telegram.protocol = Some(protocol);
        self.tell_media(MediaCommand::AddTelegram { leg, start });
        if let Some(partner) = self.partner(leg) {
            self.tell_media(MediaCommand::Connect { a: leg, b: partner });
        }
        self.set_state(if self.state == CallState::CallingBack {
            CallState::PickedUp
        } else {
            CallState::Answering
        });
    }

    fn leg_answered(&mut self, leg: LegId, audio: Option<SipMedia>, ctx: &mut Context<Self>) {
        if self.transfer_done(leg, audio.as_ref(), ctx) {
            return;
        }
        self.win(leg);
        self.leg_chosen(leg);
        let codec = audio.as_ref().map(|audio| audio.agreed.audio.codec);
        if let Some(audio) = audio {
            self.sip_media(leg, &audio);
        }
        if leg == CALLER && self.is_callback() {
            self.put_through(ctx);
        } else if leg == CALLER {
            self.bridged(ctx);
        } else if self.is_callback() {
            self.tone(None);
            self.bridged(ctx);
        } else {
            self.set_state(CallState::Answering);
            let partner = codec.filter(|_| self.held.direction == Direction::SipToSip);
            self.order(CALLER, LegOrder::Answer { partner });
        }
    }

    fn leg_confirmed(&mut self, leg: LegId, ctx: &mut Context<Self>) {
        if leg == CALLER && self.state == CallState::Answering {
            self.bridged(ctx);
        }
    }

    fn bridged(&mut self, ctx: &mut Context<Self>) {
        if self.record.answered_after_ms.is_none() {
            self.record.answered_after_ms = Some(self.elapsed_ms());
            self.tell(EventKind::CallAnswered);
            self.answered_at = Some(Instant::now());
            let waited = self.dialled_at().elapsed();
            self.common
                .metrics
                .answer_delay(self.record.direction, waited);
            ctx.run_later(ONE_WAY_AFTER, |call, _| call.count_one_way());
            self.common.to_registry(CallAnswered {
                call: self.id,
                by: self.answered_by.clone(),
            });
            self.prepare_farewells(ctx);
        }
        self.set_state(CallState::Bridged);
        tracing::info!(call = %self.id, trunk = %self.held.trunk, session = self.held.session_name(), "call bridged");
    }
}

/// Who was called in the PBX before the call came to us.
fn diverted_from(plan: &Plan) -> Option<String> {
    match plan {
        Plan::ToTelegram { invite, .. } => {
            let first = sip::identity::first_called(&invite.request.headers)?;
            first.uri.user().map(std::borrow::Cow::into_owned)
        }
        Plan::ToSip { .. } => None,
    }
}

impl Handler<FromMedia> for Call {
    type Result = ();

    fn handle(&mut self, FromMedia(event): FromMedia, ctx: &mut Self::Context) {
        self.watch.handled();
        match event {
            Some(MediaEvent::Connected { leg }) => self.order(leg, LegOrder::MediaConnected),
            Some(MediaEvent::Signal { leg, bytes }) => self.order(leg, LegOrder::Signal { bytes }),
            Some(MediaEvent::Failed { leg, why }) => self.order(leg, LegOrder::MediaFailed { why }),
            Some(MediaEvent::Dtmf { leg, digit, method }) => self.digit(leg, digit, method, ctx),
            // Who rings need not play anything.
            Some(MediaEvent::Silent { leg, .. }) if self.ringing.contains_key(&leg) => {
                self.tone(Some(Tone::Ringback));
            }
            Some(MediaEvent::Silent { leg, .. }) => {
                tracing::warn!(call = %self.id, %leg, "no RTP from the PBX");
                self.begin_end(Cause::new(Reason::RtpTimeout), Side::Sip, ctx);
            }
            Some(MediaEvent::FirstPacket { leg }) => self.first_audio(leg),
            Some(MediaEvent::Muted { leg, on }) => self.excuse(leg, on),
            Some(MediaEvent::Quality { legs }) => self.heard_legs(&legs),
            Some(MediaEvent::Closed { legs }) if self.ended.is_some() => {
                self.media_closed(&legs, ctx);
            }
            Some(MediaEvent::Closed { .. }) => {}
            // The task ended by itself, for it panicked: without media there is no call.
            None if self.ended.is_none() => {
                self.begin_end(Cause::new(Reason::InternalError), Side::Here, ctx)
            }
            None if !self.has_figures() => self.media_closed(&[], ctx),
            None => {}
        }
    }
}

impl Handler<Down> for Call {
    type Result = ();

    /// A leg that stopped without a report has died: the other legs end.
    fn handle(&mut self, down: Down, ctx: &mut Self::Context) {
        self.watch.handled();
        let Unit::Leg(_, leg) = down.who else { return };
        let slot = self.legs.get(&leg).filter(|slot| slot.end.is_none());
        // One that has reported its end stops in good order.
        if slot.is_some() || down.panicked {
            self.common.metrics.actor_died("leg", down.panicked);
        }
        let Some(slot) = slot else { return };
        let kind = slot.address.kind();
        let cause = Cause::new(Reason::InternalError);
        let end = crate::leg::end(kind, slot.via.clone(), &cause);
        self.leg_ended(leg, cause, end, ctx);
    }
}

impl Handler<DescribeCall> for Call {
    type Result = MessageResult<DescribeCall>;

    fn handle(&mut self, _: DescribeCall, _: &mut Self::Context) -> Self::Result {
        self.watch.handled();
        MessageResult(Box::new(CallReport {
            record: self.record.clone(),
            sound: self.sound(),
            state: self.shown.label().to_owned(),
        }))
    }
}

impl Handler<UserMet> for Call {
    type Result = ();

    fn handle(&mut self, UserMet { user }: UserMet, _: &mut Self::Context) {
        self.watch.handled();
        self.held.user = Some(user);
    }
}

impl Handler<EndCall> for Call {
    type Result = ();

    fn handle(&mut self, EndCall { cause }: EndCall, ctx: &mut Self::Context) {
        self.watch.handled();
        let side = cause.side();
        // Whoever still waits is not told that his call was cleared, nor is it counted as one that was answered.
        let is_early = self.answered_at.is_none() && cause.reason() == Reason::NormalClearing;
        let cause = if is_early {
            Cause::new(Reason::Cancelled)
        } else {
            cause
        };
        self.begin_end(cause, side, ctx);
    }
}
