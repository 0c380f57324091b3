//! The phone's one task: its socket, its transactions, its calls.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip::call::{CallInput, DialogId};
use sip::transaction::{Input, Output};
use sip::{
    CSeq, ClientKey, HeaderName, Host, Method, NameAddr, Request, Response, ServerKey,
    Transactions, TransactionsConfig, Uri, respond,
};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

use super::conversation::{Conversation, Wish};
use super::{Order, PhoneManner, PhoneSettings, Registered, hang_up};
use crate::fake::digest::authorization;
use crate::fake::line::{Board, Line};
use crate::fake::talk::until;

/// The largest datagram read.
const DATAGRAM: usize = 65_535;
/// Who a registration and whatever nobody waits for belong to; calls have random numbers.
const REGISTRATION: u64 = 0;
const NOBODY: u64 = 1;

/// A registration on its way.
struct Registering {
    password: String,
    expires: u32,
    answer: oneshot::Sender<Registered>,
    authorized: bool,
}

pub(super) struct Desk {
    settings: PhoneSettings,
    socket: UdpSocket,
    address: SocketAddr,
    orders: mpsc::WeakUnboundedSender<Order>,
    calls: mpsc::UnboundedSender<Line>,
    transactions: Transactions,
    conversations: HashMap<u64, Conversation>,
    registering: Option<Registering>,
    cseq: u32,
    registration_id: String,
}

impl Desk {
    pub(super) fn new(
        settings: PhoneSettings,
        socket: UdpSocket,
        address: SocketAddr,
        orders: mpsc::WeakUnboundedSender<Order>,
        calls: mpsc::UnboundedSender<Line>,
    ) -> Self {
        let config = TransactionsConfig::new(Host::from(address.ip()), Some(address.port()));
        Self {
            settings,
            socket,
            address,
            orders,
            calls,
            transactions: Transactions::new(config, rand::random()),
            conversations: HashMap::new(),
            registering: None,
            cseq: 0,
            registration_id: format!("{:032x}", rand::random::<u128>()),
        }
    }

    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let timeout = self.drain().await;
            let waiting = self.conversations.values().filter_map(Conversation::next);
            let wake = waiting.chain(timeout).min();
            tokio::select! {
                got = self.socket.recv_from(&mut buffer) => if let Ok((length, source)) = got {
                    let bytes = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
                    let source = sip::Hop::udp(source);
                    let input = Input::Received { source, bytes };
                    self.transactions.handle_input(Instant::now(), input);
                },
                order = orders.recv() => match order {
                    Some(order) => self.order(order).await,
                    None => return,
                },
                () = until(wake) => self.on_time(timeout),
            }
        }
    }

    fn on_time(&mut self, timeout: Option<Instant>) {
        let now = Instant::now();
        if timeout.is_some_and(|at| at <= now) {
            self.transactions.handle_input(now, Input::Timeout);
        }
        for conversation in self.conversations.values_mut() {
            conversation.on_time(now);
        }
    }

    async fn order(&mut self, order: Order) {
        match order {
            Order::Register {
                password,
                expires,
                answer,
            } => {
                self.registering = Some(Registering {
                    password,
                    expires,
                    answer,
                    authorized: false,
                });
                self.send_register(None);
            }
            Order::Dial { id, number, board } => self.dial(id, &number, board).await,
            Order::HangUp { id } => {
                if let Some(conversation) = self.conversations.get_mut(&id) {
                    conversation.input(CallInput::HangUp {
                        reason_header: None,
                    });
                }
            }
            Order::Manner(manner) => self.settings.manner = manner,
        }
    }

    // -- registration ------------------------------------------------------------------------------------------------

    fn send_register(&mut self, authorization: Option<String>) {
        let Some(registering) = &self.registering else {
            return;
        };
        self.cseq += 1;
        let house = self.settings.house;
        let own = NameAddr::new(Uri::at(Some(&self.settings.login), house));
        let mut request = Request::new(Method::Register, Uri::at(None, house));
        let headers = &mut request.headers;
        headers.push(HeaderName::MaxForwards, 70);
        headers.push(HeaderName::From, own.clone().with_tag("phone"));
        headers.push(HeaderName::To, own);
        headers.push(HeaderName::CallId, &self.registration_id);
        headers.push(
            HeaderName::CSeq,
            CSeq {
                number: self.cseq,
                method: Method::Register,
            },
        );
        let contact = NameAddr::new(Uri::at(Some(&self.settings.login), self.address));
        headers.push(HeaderName::Contact, contact);
        headers.push(HeaderName::Expires, registering.expires);
        if let Some(value) = authorization {
            headers.push(HeaderName::Authorization, value);
        }
        self.transactions
            .request(Instant::now(), sip::Hop::udp(house), request, REGISTRATION);
    }

    fn on_registered(&mut self, response: &Response) {
        let Some(mut registering) = self.registering.take() else {
            return;
        };
        if response.is_provisional() {
            self.registering = Some(registering);
            return;
        }
        if response.status == 401 && !registering.authorized {
            let uri = Uri::at(None, self.settings.house).to_string();
            let (login, password) = (&self.settings.login, &registering.password);
            let answer = answer_challenge(response, "REGISTER", &uri, login, password);
            if answer.is_some() {
                registering.authorized = true;
                self.registering = Some(registering);
                self.send_register(answer);
                return;
            }
        }
        let contacts = response.headers.contacts();
        let granted = contacts
            .first()
            .and_then(|contact| contact.params.get("expires")?.parse().ok());
        let _ = registering.answer.send(Registered {
            status: response.status,
            phrase: response.reason.clone(),
            expires: granted.or(response.headers.expires()),
        });
    }

    // -- calls -------------------------------------------------------------------------------------------------------

    async fn dial(&mut self, id: u64, number: &str, board: Board) {
        if let Some(conversation) =
            Conversation::dial(&self.settings, self.address, number, board).await
        {
            self.conversations.insert(id, conversation);
        }
    }

    async fn on_request(&mut self, tx: ServerKey, source: sip::Hop, request: Request) {
        if let Some(conversation) = self.conversation_of(&request) {
            conversation.input(CallInput::Request {
                tx,
                source,
                request,
            });
            return;
        }
        let has_dialog = DialogId::of(&request).is_some();
        if request.method == Method::Invite && !has_dialog {
            self.on_invite(tx, source, request).await;
            return;
        }
        let status = match request.method {
            Method::Options => 200,
            _ if has_dialog => 481,
            _ => 405,
        };
        let response = respond(&request, status, "", Some("phone"));
        self.transactions
            .handle_input(Instant::now(), Input::Respond { tx, response });
    }

    async fn on_invite(&mut self, tx: ServerKey, source: sip::Hop, request: Request) {
        let id = rand::random();
        let orders = self.orders.clone();
        let (line, board) = Line::new(move || hang_up(&orders, id));
        let taken =
            Conversation::take(&self.settings, self.address, (tx, source, request), board).await;
        match taken {
            Ok(mut conversation) => {
                if let PhoneManner::Refuse { status } = self.settings.manner {
                    let (reason, headers) = (String::new(), Vec::new());
                    conversation.input(CallInput::Refuse {
                        status,
                        reason,
                        headers,
                    });
                }
                self.conversations.insert(id, conversation);
                let _ = self.calls.send(line);
            }
            Err(response) => {
                let response = *response;
                self.transactions
                    .handle_input(Instant::now(), Input::Respond { tx, response });
            }
        }
    }

    fn conversation_of(&mut self, request: &Request) -> Option<&mut Conversation> {
        let dialog = DialogId::of(request)?;
        self.conversations
            .values_mut()
            .find(|conversation| conversation.is_dialog(&dialog))
    }

    // -- everything that is due --------------------------------------------------------------------------------------

    async fn drain(&mut self) -> Option<Instant> {
        loop {
            let timeout = self.drain_transactions().await;
            let mut wishes = Vec::new();
            for (id, conversation) in &mut self.conversations {
                conversation.drain(&mut wishes, *id).await;
            }
            self.conversations
                .retain(|_, conversation| !conversation.is_over());
            if wishes.is_empty() {
                return timeout;
            }
            for (id, wish) in wishes {
                self.grant(id, wish);
            }
        }
    }

    fn grant(&mut self, id: u64, wish: Wish) {
        let now = Instant::now();
        match wish {
            Wish::Send { target, request } => {
                let is_invite = request.method == Method::Invite;
                let tx = self.transactions.request(now, target, request, id);
                if let Some(conversation) = self.conversations.get_mut(&id).filter(|_| is_invite) {
                    conversation.invited(tx);
                }
            }
            Wish::Dismiss { target, request } => {
                self.transactions.request(now, target, request, NOBODY);
            }
            Wish::Input(input) => self.transactions.handle_input(now, *input),
        }
    }

    async fn drain_transactions(&mut self) -> Option<Instant> {
        loop {
            match self.transactions.poll_output() {
                Output::Transmit { target, bytes } => {
                    // What the system does not take is repeated by SIP.
                    let _ = self.socket.send_to(&bytes, target.address).await;
                }
                Output::Request {
                    tx,
                    source,
                    request,
                } => self.on_request(tx, source, request).await,
                Output::Arrived { .. } => unreachable!("a phone answers everybody"),
                Output::Ack { request, .. } => {
                    if let Some(conversation) = self.conversation_of(&request) {
                        conversation.input(CallInput::Ack { request });
                    }
                }
                Output::Cancelled { tx, reason } => {
                    for conversation in self.conversations.values_mut() {
                        conversation.cancelled(tx, reason.as_deref());
                    }
                }
                Output::Response { user, response, .. } => self.on_response(user, response),
                Output::Failed { user, why, .. } => match self.conversations.get_mut(&user) {
                    Some(conversation) => conversation.input(CallInput::Failed { why }),
                    // Dropping the answer tells that there was none.
                    None if user == REGISTRATION => self.registering = None,
                    None => {}
                },
                Output::Malformed { source, why } => tracing::warn!(%source, why, "to a phone"),
                Output::Timeout(at) => return at,
            }
        }
    }

    fn on_response(&mut self, user: u64, response: Response) {
        if user == REGISTRATION {
            self.on_registered(&response);
        } else if let Some(conversation) = self.conversations.get_mut(&user) {
            conversation.on_response(response, &self.settings, self.address);
        }
    }
}

/// Answers the first challenge of a response that can be answered.
pub(super) fn answer_challenge(
    response: &Response,
    method: &str,
    uri: &str,
    login: &str,
    password: &str,
) -> Option<String> {
    let challenges = response.headers.all(&HeaderName::WwwAuthenticate);
    challenges
        .into_iter()
        .find_map(|value| authorization(value, method, uri, login, password))
}

/// How long a phone lets a called party ring.
pub(super) const RING: Duration = Duration::from_secs(60);

/// The key of an INVITE of ours.
pub(super) type Invited = ClientKey;
