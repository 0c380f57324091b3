//! One call of the phone: its dialog, its ports, its voice.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::{LegAudio, PlainConfig, PlainRtp, Remote};
use model::LegKind;
use sip::call::{Call, CallEvent, CallInput, CallOutput, DialogId, Local, Target};
use sip::sdp::{self, Agreed, LocalMedia};
use sip::transaction::Input;
use sip::{HeaderName, NameAddr, Request, Response, ServerKey, Uri, respond};
use tokio::net::UdpSocket;

use super::desk::{Invited, RING, answer_challenge};
use super::{PhoneManner, PhoneSettings};
use crate::fake::coder::Coder;
use crate::fake::keys::Keys;
use crate::fake::line::{Board, End};
use crate::fake::speech::Speech;
use crate::fake::talk::{Carrier, Talk};

/// How often a pair of ports is looked for.
const TRIES: usize = 100;

/// What a conversation wants of the phone.
pub(super) enum Wish {
    Send { target: sip::Hop, request: Request },
    Dismiss { target: sip::Hop, request: Request },
    Input(Box<Input>),
}

pub(super) struct Conversation {
    call: Call,
    board: Board,
    /// The RTP socket and the one that keeps the port after it.
    sockets: Vec<UdpSocket>,
    local: LocalMedia,
    codecs: Vec<model::Codec>,
    /// Our last description.
    described: Bytes,
    agreed: Option<Agreed>,
    voice: u64,
    talk: Option<Talk>,
    timeout: Option<Instant>,
    answer_at: Option<Instant>,
    /// Our INVITE, to cancel it; the peer's, to be cancelled.
    invite: Option<Invited>,
    served: Option<ServerKey>,
    /// How to call again once the house has asked for a password.
    target: Option<Target>,
    again: Option<Call>,
    /// The last final refusal, for its phrase and headers.
    refusal: Option<Response>,
    /// Inputs and outputs between two polls.
    inputs: Vec<CallInput>,
    ended: bool,
}

impl Conversation {
    /// Calls a number; nothing when this machine has no ports left.
    pub(super) async fn dial(
        settings: &PhoneSettings,
        address: SocketAddr,
        number: &str,
        board: Board,
    ) -> Option<Self> {
        let (sockets, local) = ports().await?;
        let to = Uri::at(Some(number), settings.house);
        let target = Target {
            uri: to.clone(),
            others: Vec::new(),
            send_to: sip::Hop::udp(settings.house),
            from: NameAddr::new(Uri::at(Some(&settings.login), settings.house)),
            to: NameAddr::new(to),
            headers: Vec::new(),
            max_forwards: 70,
            ring_timeout: RING,
            account: None,
        };
        let offer = sdp::offer(&local, &settings.codecs);
        let own = own_end(settings, address);
        let call = Call::outgoing(
            Instant::now(),
            own,
            target.clone(),
            offer.clone(),
            rand::random(),
        );
        Some(Self {
            target: Some(target),
            ..Self::new(call, board, sockets, local, settings, offer)
        })
    }

    /// Takes a call; an error is the refusal.
    pub(super) async fn take(
        settings: &PhoneSettings,
        address: SocketAddr,
        (tx, source, request): (ServerKey, sip::Hop, Request),
        board: Board,
    ) -> Result<Self, Box<Response>> {
        let refuse = |status| Box::new(respond(&request, status, "", Some("phone")));
        let (sockets, local) = ports().await.ok_or_else(|| refuse(503))?;
        let own = own_end(settings, address);
        let now = Instant::now();
        let call = Call::incoming(now, own, request.clone(), tx, source, rand::random());
        let call = call.map_err(|refusal| Box::new(refusal.response))?;
        let offer = call.offer().ok_or_else(|| refuse(488))?;
        let answered = sdp::answer(&offer, &local, &settings.codecs);
        let (answer, agreed) = answered.map_err(|_| refuse(488))?;
        let mut taken = Self::new(call, board, sockets, local, settings, answer);
        taken.agreed = Some(agreed);
        taken.served = Some(tx);
        if !matches!(settings.manner, PhoneManner::Refuse { .. }) {
            taken.input(CallInput::Ring { sdp: None });
            taken.board.ringing();
        }
        if let PhoneManner::Answer { after } = settings.manner {
            taken.answer_at = Some(now + after);
        }
        Ok(taken)
    }

    fn new(
        call: Call,
        board: Board,
        sockets: Vec<UdpSocket>,
        local: LocalMedia,
        settings: &PhoneSettings,
        described: Bytes,
    ) -> Self {
        Self {
            call,
            board,
            sockets,
            local,
            codecs: settings.codecs.clone(),
            described,
            agreed: None,
            voice: settings.voice,
            talk: None,
            timeout: None,
            answer_at: None,
            invite: None,
            served: None,
            target: None,
            again: None,
            refusal: None,
            inputs: Vec::new(),
            ended: false,
        }
    }

    pub(super) fn is_dialog(&self, dialog: &DialogId) -> bool {
        self.call.dialog_id() == *dialog
    }

    pub(super) fn is_over(&self) -> bool {
        self.ended && self.call.is_over()
    }

    /// When something is due.
    pub(super) fn next(&self) -> Option<Instant> {
        [self.timeout, self.answer_at].into_iter().flatten().min()
    }

    pub(super) fn on_time(&mut self, now: Instant) {
        if self.answer_at.is_some_and(|at| at <= now) {
            self.answer_at = None;
            self.input(CallInput::Answer {
                sdp: self.described.clone(),
            });
        }
        if self.timeout.is_some_and(|at| at <= now) {
            self.timeout = None;
            self.input(CallInput::Timeout);
        }
    }

    pub(super) fn input(&mut self, input: CallInput) {
        self.inputs.push(input);
    }

    pub(super) fn invited(&mut self, tx: Invited) {
        self.invite = Some(tx);
    }

    pub(super) fn cancelled(&mut self, tx: ServerKey, reason: Option<&str>) {
        if self.served == Some(tx) {
            self.input(CallInput::Cancelled {
                tx,
                reason: reason.map(str::to_owned),
            });
        }
    }

    /// Takes a response; a first request for the password is answered by calling again.
    pub(super) fn on_response(
        &mut self,
        response: Response,
        settings: &PhoneSettings,
        address: SocketAddr,
    ) {
        if response.status >= 300 {
            self.refusal = Some(response.clone());
        }
        if response.status == 401
            && let Some(mut target) = self.target.take()
        {
            let uri = target.uri.to_string();
            let (login, password) = (&settings.login, &settings.password);
            let answer = answer_challenge(&response, "INVITE", &uri, login, password);
            if let Some(value) = answer {
                target.headers.push(("Authorization".to_owned(), value));
                let (own, offer) = (own_end(settings, address), self.described.clone());
                let now = Instant::now();
                self.again = Some(Call::outgoing(now, own, target, offer, rand::random()));
            }
        }
        self.input(CallInput::Response { response });
    }

    /// Feeds what has come and collects what is wanted.
    pub(super) async fn drain(&mut self, wishes: &mut Vec<(u64, Wish)>, id: u64) {
        loop {
            self.poll(wishes, id).await;
            if self.inputs.is_empty() {
                return;
            }
            let input = self.inputs.remove(0);
            self.call.handle_input(Instant::now(), input);
        }
    }

    async fn poll(&mut self, wishes: &mut Vec<(u64, Wish)>, id: u64) {
        loop {
            let wish = match self.call.poll_output() {
                CallOutput::Send { target, request } => Wish::Send { target, request },
                CallOutput::Dismiss { target, request } => Wish::Dismiss { target, request },
                CallOutput::SendAck { target, request } => {
                    Wish::Input(Box::new(Input::Ack { target, request }))
                }
                CallOutput::CancelInvite { reason } => match self.invite {
                    Some(tx) => Wish::Input(Box::new(Input::Cancel { tx, reason })),
                    None => continue,
                },
                CallOutput::Respond { tx, response } => {
                    Wish::Input(Box::new(Input::Respond { tx, response }))
                }
                CallOutput::Event(event) => {
                    self.on_event(event).await;
                    continue;
                }
                CallOutput::Timeout(at) => {
                    self.timeout = at;
                    return;
                }
            };
            wishes.push((id, wish));
        }
    }

    async fn on_event(&mut self, event: CallEvent) {
        match event {
            CallEvent::Ringing { .. } => self.board.ringing(),
            CallEvent::Answered { sdp } => {
                // Whoever offers something before it answers is refused here, so that there is a description.
                let sdp = sdp.unwrap_or_default();
                match sdp::accept_answer(&self.described, &sdp, &self.codecs) {
                    Ok(agreed) => {
                        self.agreed = Some(agreed);
                        self.start_talking();
                    }
                    Err(_) => self.input(CallInput::HangUp {
                        reason_header: None,
                    }),
                }
            }
            CallEvent::Confirmed => self.start_talking(),
            CallEvent::Offer { .. } => self.input(CallInput::RefuseOffer { status: 488 }),
            CallEvent::OfferWanted => {
                let sdp = self.described.clone();
                self.input(CallInput::AnswerOffer { sdp });
            }
            CallEvent::OfferAnswered { .. }
            | CallEvent::OfferRefused { .. }
            | CallEvent::OfferOvertaken
            | CallEvent::NobodyThere { .. }
            | CallEvent::Referred { .. }
            | CallEvent::Info { .. }
            | CallEvent::InfoAnswered { .. } => {}
            CallEvent::Ended { status, phrase, .. } => match self.again.take() {
                Some(call) => {
                    self.refusal = None;
                    self.call = call;
                }
                None => self.end(status, phrase).await,
            },
        }
    }

    async fn end(&mut self, code: u16, phrase: String) {
        let audio = match self.talk.take() {
            Some(talk) => talk.stop().await,
            None => None,
        };
        let header = |response: &Response| {
            response
                .headers
                .get(&HeaderName::RetryAfter)
                .map(str::to_owned)
        };
        let retry_after = self.refusal.as_ref().and_then(header);
        self.board.over(
            End {
                code,
                phrase,
                retry_after,
            },
            audio,
        );
        self.ended = true;
    }

    fn start_talking(&mut self) {
        let Some(agreed) = self.agreed.clone().filter(|_| self.talk.is_none()) else {
            return;
        };
        let frame = Duration::from_millis(agreed.ptime.into());
        let Some(coder) = Coder::new(agreed.audio.codec, frame) else {
            return;
        };
        let audio = LegAudio {
            codec: agreed.audio.codec,
            payload_type: agreed.audio.payload_type,
            dtmf_payload_type: agreed.audio.dtmf_payload_type,
            received: None,
            dtmf_clock: agreed.audio.dtmf_clock,
            send_ptime: frame,
            kind: LegKind::Sip,
        };
        let remote = Remote {
            rtp: agreed.remote,
            rtcp: agreed.remote_rtcp,
            signalling: IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let config = PlainConfig {
            report_interval: Duration::ZERO,
            ..PlainConfig::default()
        };
        let plain = PlainRtp::new(Instant::now(), config, audio, Some(remote), rand::random());
        let keys = audio
            .dtmf_payload_type
            .map(|payload_type| Keys::new(payload_type, self.board.clone()));
        let sockets = std::mem::take(&mut self.sockets);
        let (carrier, speech) = (Carrier::Plain(Box::new(plain)), Speech::new(self.voice));
        self.talk = Some(Talk::start(
            carrier,
            sockets,
            coder,
            audio.payload_type,
            speech,
            false,
            keys,
        ));
        self.board.talking(audio.codec);
        self.local.version += 1;
    }
}

fn own_end(settings: &PhoneSettings, address: SocketAddr) -> Local {
    Local::new(Uri::at(Some(&settings.login), address))
}

/// An even port for RTP, and the next one, which nobody shall use.
async fn ports() -> Option<(Vec<UdpSocket>, LocalMedia)> {
    for _ in 0..TRIES {
        let rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.ok()?;
        let address = rtp.local_addr().ok()?;
        if address.port() % 2 == 1 {
            continue;
        }
        let next = SocketAddr::new(address.ip(), address.port() + 1);
        if let Ok(rtcp) = UdpSocket::bind(next).await {
            let local = LocalMedia {
                address,
                session_id: rand::random::<u32>().into(),
                version: 1,
                security: sdp::Security::Plain,
            };
            return Some((vec![rtp, rtcp], local));
        }
    }
    None
}
