//! Finds out whether this machine's clock is why a server does not accept us.
//!
//! With a clock more than 30 s ahead every message is refused, and grammers repeats it for ever: the message numbers may
//! not go down. The first message of a key exchange is answered without a key, and the number of the answer tells the time.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What Telegram accepts of a clock that is ahead.
const TOLERANCE_SECONDS: i64 = 30;
const DEADLINE: Duration = Duration::from_secs(3);
/// `req_pq_multi#be7e8ef1 nonce:int128`.
const REQ_PQ_MULTI: u32 = 0xbe7e_8ef1;

/// Asks the server for the time; returns by how many seconds this machine's clock is ahead, if that is more than Telegram accepts.
pub(super) async fn ahead(server: SocketAddr) -> Option<i64> {
    match tokio::time::timeout(DEADLINE, server_time(server)).await {
        Ok(Ok(theirs)) => {
            let ahead = unix_seconds() - theirs;
            (ahead > TOLERANCE_SECONDS).then_some(ahead)
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "Telegram's clock cannot be read");
            None
        }
        Err(_) => {
            tracing::debug!("Telegram's clock cannot be read in time");
            None
        }
    }
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Returns the server's time in seconds since 1970.
async fn server_time(address: SocketAddr) -> io::Result<i64> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(&request(unix_seconds(), rand::random()))
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
    Ok(i64::from_le_bytes(id) >> 32)
}

/// A plain message in the frame of the full transport: length, number, message, CRC.
fn request(now: i64, nonce: [u8; 16]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(52);
    frame.extend_from_slice(&52u32.to_le_bytes());
    frame.extend_from_slice(&0u32.to_le_bytes());
    frame.extend_from_slice(&0i64.to_le_bytes());
    frame.extend_from_slice(&(now << 32).to_le_bytes());
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
            answer.extend_from_slice(&((1_700_000_000i64 << 32) | 1).to_le_bytes());
            answer.resize(104, 0);
            stream.write_all(&answer).await.unwrap();
            frame
        });
        assert_eq!(server_time(address).await.unwrap(), 1_700_000_000);
        let frame = server.await.unwrap();
        assert_eq!(frame.len(), request(1, [0; 16]).len());
    }
}
