//! A PBX without phones: a socket that does with INVITEs what it was told, and remembers every request.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{RouteSpec, TrunkKind, TrunkSpec};
use sip::{Message, Method, Parsed, Request, respond};
use store::Change;
use tokio::net::UdpSocket;

use super::scene::{PATIENCE, session};

/// What a PBX does with calls.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Habit {
    /// Refuses with this status.
    Refuse(u16),
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
    };
    [Change::PutTrunk(Box::new(trunk)), Change::PutRoute(route)]
}

async fn serve(socket: UdpSocket, habit: Habit, requests: Arc<Mutex<Vec<Request>>>) {
    let mut buffer = vec![0; 65_535];
    loop {
        let Ok((length, house)) = socket.recv_from(&mut buffer).await else {
            return;
        };
        let Parsed::Message(Message::Request(request)) = sip::parse(&buffer[..length]) else {
            continue;
        };
        {
            let mut requests = requests.lock().unwrap();
            if requests.contains(&request) {
                continue;
            }
            requests.push(request.clone());
        }
        let mut responses = Vec::new();
        let mut say = |request: &Request, status| {
            responses.push(respond(request, status, "", Some("pbx")));
        };
        if let (Method::Invite, Habit::Refuse(status)) = (&request.method, habit) {
            say(&request, status);
        }
        for response in responses {
            let _ = socket.send_to(&response.encode(), house).await;
        }
    }
}
