//! A PBX without phones: a socket that does with INVITEs what it was told, and remembers every request.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use model::{RouteSpec, TrunkKind, TrunkSpec};
use sip::{HeaderName, Message, Method, Parsed, Request, Response, respond};
use store::Change;
use tokio::net::UdpSocket;

use super::scene::{PATIENCE, session};

/// What a PBX does with calls.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Habit {
    /// Refuses with this status.
    Refuse(u16),
    /// Rings until it is cancelled.
    Ring,
    /// Answers after so many milliseconds.
    Answer(u64),
    /// Answers the first call at once; others ring, and are answered after so many milliseconds.
    RingSecond(u64),
    /// Answers, and refuses INFO with this status.
    NoInfo(u16),
    /// Answers, but says so only when it is cancelled, as if the two had crossed.
    AnswerLate,
    /// Says reliably, while it rings, that it hears at the first of these ports, then by UPDATE that at the second, and answers without a
    /// description.
    Moves(u16, u16),
    /// Says nothing.
    Silent,
    /// Refuses its first REGISTER and its first INVITE with this status, and answers from then on.
    RefuseFirst(u16),
}

/// A PBX that is known by its address; it is switched off when this is dropped.
pub(crate) struct Pbx {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Pbx {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pbx {
    pub(crate) async fn start(habit: Habit) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(serve(socket, habit, Arc::clone(&requests)));
        Self {
            address,
            requests,
            task,
        }
    }

    /// Its trunk, with every default.
    pub(crate) fn trunk(&self, name: &str) -> TrunkSpec {
        let kind = TrunkKind::Peer {
            address: self.address,
        };
        TrunkSpec::new(name.parse().unwrap(), kind)
    }

    /// The methods of all requests so far, without repeats.
    pub(crate) fn methods(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        let methods = requests.iter().map(|request| request.method.to_string());
        methods.collect()
    }

    /// The times that registrations asked for so far.
    pub(crate) fn registered(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        let registers = requests.iter().filter(|it| it.method == Method::Register);
        let expires = |it: &Request| it.headers.get(&HeaderName::Expires).map(str::to_owned);
        registers.filter_map(expires).collect()
    }

    /// Call-ID and CSeq of the registrations so far.
    pub(crate) fn series(&self) -> Vec<(String, u32)> {
        let requests = self.requests.lock().unwrap();
        let registers = requests.iter().filter(|it| it.method == Method::Register);
        let place =
            |it: &Request| Some((it.headers.call_id()?.to_owned(), it.headers.cseq()?.number));
        registers.filter_map(place).collect()
    }

    /// The keys that came by INFO so far.
    pub(crate) fn keys(&self) -> String {
        let requests = self.requests.lock().unwrap();
        let infos = requests.iter().filter(|info| info.method == Method::Info);
        infos
            .filter_map(|info| {
                sip::info::digit(info.headers.get(&HeaderName::ContentType)?, &info.body)
            })
            .collect()
    }

    /// Waits for the first request with this method.
    pub(crate) async fn got(&self, method: Method) -> Request {
        let step = Duration::from_millis(20);
        for _ in 0..PATIENCE.as_millis() / step.as_millis() {
            let requests = self.requests.lock().unwrap().clone();
            if let Some(request) = requests.iter().find(|request| request.method == method) {
                return request.clone();
            }
            tokio::time::sleep(step).await;
        }
        panic!("no {method}: {:?}", self.methods());
    }
}

/// The changes that add a trunk to the scene's session.
pub(crate) fn added(trunk: TrunkSpec, priority: u32) -> [Change; 2] {
    let route = RouteSpec {
        trunk: trunk.name.clone(),
        session: session(),
        priority,
        terms: model::RouteTerms::default(),
    };
    [Change::PutTrunk(Box::new(trunk)), Change::PutRoute(route)]
}

async fn serve(socket: UdpSocket, habit: Habit, requests: Arc<Mutex<Vec<Request>>>) {
    let (address, socket) = (socket.local_addr().unwrap(), Arc::new(socket));
    let mut buffer = vec![0; 65_535];
    let mut invite: Option<Request> = None;
    loop {
        let Ok((length, house)) = socket.recv_from(&mut buffer).await else {
            return;
        };
        let Parsed::Message(Message::Request(request)) = sip::parse(&buffer[..length]) else {
            continue;
        };
        let is_first = {
            let mut requests = requests.lock().unwrap();
            if requests.contains(&request) {
                continue;
            }
            let mut others = requests.iter();
            let is_first = !others.any(|other| other.method == request.method);
            requests.push(request.clone());
            is_first
        };
        let mut responses = Vec::new();
        let mut say = |request: &Request, status| {
            responses.push(respond(request, status, "", Some("pbx")));
        };
        match (&request.method, habit) {
            (Method::Invite, Habit::Refuse(status)) => say(&request, status),
            (Method::Invite | Method::Register, Habit::RefuseFirst(status)) if is_first => {
                say(&request, status);
            }
            (Method::Invite, Habit::RefuseFirst(_)) => responses.push(answer(&request, address)),
            (Method::Invite, Habit::Ring) => say(&request, 180),
            (Method::Invite, Habit::AnswerLate) => say(&request, 180),
            (Method::Invite, Habit::Answer(after)) => {
                tokio::time::sleep(Duration::from_millis(after)).await;
                responses.push(answer(&request, address));
            }
            (Method::Invite, Habit::Moves(first, _)) => {
                let mut ringing =
                    described(respond(&request, 183, "", Some("pbx")), address, first);
                ringing.headers.push(HeaderName::Require, "100rel");
                ringing.headers.push(HeaderName::RSeq, 1);
                responses.push(ringing);
            }
            (Method::Prack, Habit::Moves(_, second)) => {
                let prack = respond(&request, 200, "", None).encode();
                let _ = socket.send_to(&prack, house).await;
                let update = update(invite.as_ref().unwrap(), address, second).encode();
                let _ = socket.send_to(&update, house).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
                let mut answer = respond(invite.as_ref().unwrap(), 200, "", Some("pbx"));
                let contact = format!("<sip:{address}>");
                answer.headers.push(HeaderName::Contact, contact);
                responses.push(answer);
            }
            (Method::Invite, Habit::RingSecond(after)) if invite.is_some() => {
                say(&request, 180);
                let (answer, socket) = (answer(&request, address), Arc::clone(&socket));
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(after)).await;
                    let _ = socket.send_to(&answer.encode(), house).await;
                });
            }
            (Method::Invite, Habit::NoInfo(_) | Habit::RingSecond(_)) => {
                responses.push(answer(&request, address));
            }
            (Method::Info, Habit::NoInfo(status)) => say(&request, status),
            (Method::Info, _) => say(&request, 200),
            (Method::Cancel, Habit::AnswerLate) => {
                say(&request, 200);
                responses.extend(invite.as_ref().map(|invite| answer(invite, address)));
            }
            (Method::Cancel, _) => {
                say(&request, 200);
                if let Some(invite) = &invite {
                    say(invite, 487);
                }
            }
            (Method::Bye, _) => say(&request, 200),
            (Method::Register, _) => {
                let mut response = respond(&request, 200, "", Some("pbx"));
                for name in [HeaderName::Contact, HeaderName::Expires] {
                    let value = request.headers.get(&name).unwrap_or_default().to_owned();
                    response.headers.push(name, value);
                }
                responses.push(response);
            }
            (Method::Options, Habit::Silent) => {}
            (Method::Options, _) => say(&request, 200),
            _ => {}
        }
        if request.method == Method::Invite {
            invite = Some(request);
        }
        for response in responses {
            let _ = socket.send_to(&response.encode(), house).await;
        }
    }
}

/// A 200 with an answer to the offer; no audio follows.
fn answer(invite: &Request, address: SocketAddr) -> Response {
    described(respond(invite, 200, "", Some("pbx")), address, 9)
}

/// The response with a description: A-law, at this port.
fn described(mut response: Response, address: SocketAddr, port: u16) -> Response {
    let headers = &mut response.headers;
    headers.push(HeaderName::Contact, format!("<sip:{address}>"));
    headers.push(HeaderName::ContentType, "application/sdp");
    response.body = description(1, port);
    response
}

fn description(version: u8, port: u16) -> Bytes {
    format!(
        "v=0\r\no=- 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n"
    )
    .into()
}

/// An offer of the called side before it answers (RFC 3311).
fn update(invite: &Request, address: SocketAddr, port: u16) -> Request {
    let (from, to) = (invite.headers.to().unwrap(), invite.headers.from().unwrap());
    let target = invite.headers.contacts().remove(0).uri;
    let mut update = Request::new(Method::Update, target);
    let headers = &mut update.headers;
    let via = format!("SIP/2.0/UDP {address};branch=z9hG4bKupdate");
    headers.push(HeaderName::Via, via);
    headers.push(HeaderName::MaxForwards, 70);
    headers.push(HeaderName::From, from.with_tag("pbx"));
    headers.push(HeaderName::To, to);
    let call_id = invite.headers.call_id().unwrap();
    headers.push(HeaderName::CallId, call_id);
    headers.push(HeaderName::CSeq, "1 UPDATE");
    headers.push(HeaderName::Contact, format!("<sip:{address}>"));
    headers.push(HeaderName::ContentType, "application/sdp");
    update.body = description(2, port);
    update
}
