//! Finds out whether this machine's clock is why a server does not accept us.
//!
//! With a clock more than 30 s ahead every message is refused, and grammers repeats it for ever: the message numbers may
//! not go down. The first message of a key exchange is answered without a key, and the number of the answer tells the time.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use grammers_session::SessionData;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What Telegram accepts of a clock that is ahead.
const TOLERANCE: Duration = Duration::from_secs(30);
const DEADLINE: Duration = Duration::from_secs(3);
/// `req_pq_multi#be7e8ef1 nonce:int128`.
const REQ_PQ_MULTI: u32 = 0xbe7e_8ef1;

/// How this machine's clock stands to Telegram's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockOffset {
    /// It is ahead by so much. Past 30 s Telegram refuses every message, and says nothing of use.
    Ahead(Duration),
    /// It is behind by so much. Past 300 s the first message is refused, and numbered anew after what the refusal says of the time.
    Behind(Duration),
}

impl ClockOffset {
    fn between(ours: Duration, theirs: Duration) -> Self {
        ours.checked_sub(theirs)
            .map_or_else(|| Self::Behind(theirs.saturating_sub(ours)), Self::Ahead)
    }

    /// How far they are apart.
    pub fn abs(self) -> Duration {
        match self {
            Self::Ahead(by) | Self::Behind(by) => by,
        }
    }

    /// Whether Telegram accepts messages of this clock.
    pub fn is_accepted(self) -> bool {
        match self {
            Self::Ahead(by) => by <= TOLERANCE,
            Self::Behind(_) => true,
        }
    }
}

/// The server of Telegram that an account without a home is taken to first; one of those that every client knows.
pub fn first_server() -> Option<SocketAddrV4> {
    let known = SessionData::default();
    known
        .dc_options
        .get(&known.home_dc)
        .map(|option| option.ipv4)
}

/// Asks a server of Telegram for the time, without a key and without an account; takes 3 s at most.
pub async fn clock_offset(server: SocketAddr) -> io::Result<ClockOffset> {
    let before = unix_time();
    let theirs = tokio::time::timeout(DEADLINE, server_time(server)).await??;
    // It was right at some moment of the round trip: the middle is wrong by half of that at most.
    let ours = (before + unix_time()) / 2;
    Ok(ClockOffset::between(ours, theirs))
}

/// What a server says of this machine's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// Telegram accepts it.
    Accepted,
    /// It is ahead by so many seconds, more than Telegram accepts.
    Ahead(i64),
    /// The server does not answer, or nothing that can be read: so nothing is known.
    Unknown,
}

/// Asks a server of Telegram whether it accepts this machine's clock; takes 3 s at most.
pub(super) async fn look(server: SocketAddr) -> Clock {
    match clock_offset(server).await {
        Ok(offset) if offset.is_accepted() => Clock::Accepted,
        Ok(offset) => Clock::Ahead(i64::try_from(offset.abs().as_secs()).unwrap_or(i64::MAX)),
        Err(error) => {
            tracing::debug!(%error, "Telegram's clock cannot be read");
            Clock::Unknown
        }
    }
}

/// Since 1970.
fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Returns the server's time since 1970.
async fn server_time(address: SocketAddr) -> io::Result<Duration> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(&request(unix_time(), rand::random()))
        .await?;
    let mut head = [0; 8];
    stream.read_exact(&mut head).await?;
    let [a, b, c, d, ..] = head;
    let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if !(28..=4096).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // auth_key_id:int64 message_id:int64 ...
    let mut message = vec![0; length - 8];
    stream.read_exact(&mut message).await?;
    let id = message
        .get(8..16)
        .and_then(|id| <[u8; 8]>::try_from(id).ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok(time_of(u64::from_le_bytes(id)))
}

/// The time in a message's number: seconds, and below them the fraction.
fn time_of(id: u64) -> Duration {
    let nanos = ((id & u64::from(u32::MAX)) * 1_000_000_000) >> 32;
    Duration::from_secs(id >> 32) + Duration::from_nanos(nanos)
}

/// A plain message in the frame of the full transport: length, number, message, CRC.
fn request(now: Duration, nonce: [u8; 16]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(52);
    frame.extend_from_slice(&52u32.to_le_bytes());
    frame.extend_from_slice(&0u32.to_le_bytes());
    frame.extend_from_slice(&0i64.to_le_bytes());
    frame.extend_from_slice(&(now.as_secs() << 32).to_le_bytes());
    frame.extend_from_slice(&20u32.to_le_bytes());
    frame.extend_from_slice(&REQ_PQ_MULTI.to_le_bytes());
    frame.extend_from_slice(&nonce);
    let crc = crc32(&frame);
    frame.extend_from_slice(&crc.to_le_bytes());
    frame
}

/// CRC-32 as in IEEE 802.3; of one frame of 48 octets a minute, so without a table.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[tokio::test]
    async fn the_time_is_read_from_the_number_of_the_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut frame = [0; 52];
            stream.read_exact(&mut frame).await.unwrap();
            let mut answer = vec![];
            answer.extend_from_slice(&104u32.to_le_bytes());
            answer.extend_from_slice(&0u32.to_le_bytes());
            answer.extend_from_slice(&0i64.to_le_bytes());
            answer.extend_from_slice(&((1_700_000_000i64 << 32) | (1 << 31) | 1).to_le_bytes());
            answer.resize(104, 0);
            stream.write_all(&answer).await.unwrap();
            frame
        });
        assert_eq!(
            server_time(address).await.unwrap(),
            Duration::from_millis(1_700_000_000_500)
        );
        let frame = server.await.unwrap();
        assert_eq!(frame.len(), request(Duration::from_secs(1), [0; 16]).len());
    }

    /// A server whose clock says so, for one question.
    async fn server_at(time: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut frame = [0; 52];
            stream.read_exact(&mut frame).await.unwrap();
            let mut answer = vec![0; 104];
            answer[..4].copy_from_slice(&104u32.to_le_bytes());
            answer[16..24].copy_from_slice(&((time.as_secs() << 32) | 1).to_le_bytes());
            stream.write_all(&answer).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_does_not_say_that_the_clock_is_right() {
        let right = server_at(unix_time()).await;
        assert_eq!(look(right).await, Clock::Accepted);
        let behind = server_at(unix_time().saturating_sub(Duration::from_secs(300))).await;
        assert!(matches!(look(behind).await, Clock::Ahead(299..=310)));
        // Nobody listens there any more.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(look(gone).await, Clock::Unknown);
    }

    #[test]
    fn a_clock_is_ahead_or_behind_and_only_the_former_is_refused() {
        let seconds = Duration::from_secs;
        let offset = |ours, theirs| ClockOffset::between(seconds(ours), seconds(theirs));
        assert_eq!(offset(70, 60), ClockOffset::Ahead(seconds(10)));
        assert_eq!(offset(60, 70), ClockOffset::Behind(seconds(10)));
        assert!(offset(90, 60).is_accepted() && offset(60, 900).is_accepted());
        assert!(!offset(91, 60).is_accepted());
        assert!(first_server().is_some_and(|server| server.port() == 443));
    }
}
