//! A SIP phone on loopback: registers with digest, dials, answers, hangs up, talks.
//!
//! It speaks the house's own `sip` room in the opposite role, over a UDP socket of its own. That others are understood
//! too is proven elsewhere, against phones nobody here wrote.

mod conversation;
mod desk;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use model::Codec;
use tokio::net::UdpSocket;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::line::{Board, Line};
use desk::Desk;

/// Which phone.
#[derive(Debug, Clone)]
pub struct PhoneSettings {
    /// Where the house listens.
    pub house: SocketAddr,
    /// The login of its trunk, also its number.
    pub login: String,
    /// The password for its calls; for registrations it is given each time.
    pub password: String,
    /// What it speaks, best first.
    pub codecs: Vec<Codec>,
    /// What it does with calls.
    pub manner: PhoneManner,
    /// Its voice.
    pub voice: u64,
}

/// What a phone does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhoneManner {
    /// Answers so long after it began to ring.
    Answer {
        /// How long.
        after: Duration,
    },
    /// Rings on.
    Ring,
    /// Refuses with this status.
    Refuse {
        /// 300 to 699.
        status: u16,
    },
}

/// The answer to a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The status.
    pub status: u16,
    /// Its phrase.
    pub phrase: String,
    /// The seconds granted.
    pub expires: Option<u32>,
}

/// A SIP phone; it is switched off when this is dropped.
pub struct Phone {
    address: SocketAddr,
    orders: mpsc::UnboundedSender<Order>,
    calls: Mutex<mpsc::UnboundedReceiver<Line>>,
}

/// What a phone is told to do.
pub(super) enum Order {
    Register {
        password: String,
        expires: u32,
        answer: oneshot::Sender<Registered>,
    },
    Dial {
        id: u64,
        number: String,
        board: Board,
    },
    HangUp {
        id: u64,
    },
    Manner(PhoneManner),
}

impl Phone {
    /// Switches a phone on. Needs a tokio runtime.
    pub async fn start(settings: PhoneSettings) -> std::io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = socket.local_addr()?;
        let (orders, orders_rx) = mpsc::unbounded_channel();
        let (calls, calls_rx) = mpsc::unbounded_channel();
        let desk = Desk::new(settings, socket, address, orders.downgrade(), calls);
        tokio::spawn(desk.run(orders_rx));
        Ok(Self {
            address,
            orders,
            calls: Mutex::new(calls_rx),
        })
    }

    /// Its SIP address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Registers for so many seconds; 0 takes the registration back. Status 408 when nobody answers.
    pub async fn register(&self, password: &str, expires: u32) -> Registered {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::Register {
            password: password.to_owned(),
            expires,
            answer,
        });
        answered.await.unwrap_or(Registered {
            status: 408,
            phrase: "Request Timeout".to_owned(),
            expires: None,
        })
    }

    /// Calls a number.
    pub fn dial(&self, number: &str) -> Line {
        let id = rand::random();
        let orders = self.orders.downgrade();
        let (line, board) = Line::new(move || hang_up(&orders, id));
        let _ = self.orders.send(Order::Dial {
            id,
            number: number.to_owned(),
            board,
        });
        line
    }

    /// Waits for the next call that comes in; nothing after that time.
    pub async fn next_call(&self, within: Duration) -> Option<Line> {
        let mut calls = self.calls.lock().await;
        tokio::time::timeout(within, calls.recv()).await.ok()?
    }

    /// Changes what it does with calls from now on.
    pub fn set_manner(&self, manner: PhoneManner) {
        let _ = self.orders.send(Order::Manner(manner));
    }
}

/// Tells the phone, if it is still on, to hang up.
fn hang_up(orders: &mpsc::WeakUnboundedSender<Order>, id: u64) {
    if let Some(orders) = orders.upgrade() {
        let _ = orders.send(Order::HangUp { id });
    }
}
