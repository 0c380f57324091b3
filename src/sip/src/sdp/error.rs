//! What can be wrong with a description, and what to answer.

use thiserror::Error;

/// Why a description cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SdpError {
    /// Nothing but line ends.
    #[error("the description is empty")]
    Empty,
    /// More octets than we read.
    #[error("the description has {0} octets: at most 16384 are read")]
    TooLarge(usize),
    /// More media lines than we read.
    #[error("more than 32 media lines")]
    TooManyMedia,
    /// More attributes than we read.
    #[error("more than 1000 attributes")]
    TooManyAttributes,
    /// More formats in one media line than we read.
    #[error("more than 128 formats in line {0}")]
    TooManyFormats(usize),
    /// A line that is not `letter=value`.
    #[error("line {0} is not of the form letter=value")]
    BadLine(usize),
    /// A protocol version other than 0.
    #[error("only version 0 of the protocol exists")]
    BadVersion,
    /// A media line without a port of 0 to 65535, a protocol and a format.
    #[error("line {0} is not a media line with port, protocol and formats")]
    BadMedia(usize),
}

/// Why an offer or an answer cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OfferError {
    /// The description itself.
    #[error(transparent)]
    Sdp(#[from] SdpError),
    /// No audio line with a port and RTP.
    #[error("no audio over RTP/AVP or RTP/SAVP is offered")]
    NoAudio,
    /// SRTP is demanded of an end that has none.
    #[error("the offer demands SRTP, and there is none here")]
    Encrypted,
    /// Plain RTP for an end that wants SRTP.
    #[error("there are no keys for SRTP, and there is no call without")]
    NotEncrypted,
    /// Keys, but none of a kind that we know.
    #[error("no line a=crypto can be used")]
    NoUsableKey,
    /// No codec in common.
    #[error("no common codec")]
    NoCommonCodec,
    /// No connection line for the audio.
    #[error("no usable c= line")]
    NoConnection,
    /// An address of one family under the name of the other.
    #[error("the c= line names one address family and holds another")]
    AddressFamily,
    /// A host name where we want an address.
    #[error("the c= line holds a host name: addresses only")]
    HostName,
    /// An answer with fewer media lines than its offer, or with the audio refused.
    #[error("the answer refuses the audio")]
    Refused,
}

impl OfferError {
    /// The status code for the peer that sent it: 400, 413 or 488.
    pub fn status(&self) -> u16 {
        match self {
            OfferError::Sdp(SdpError::TooLarge(_)) => 413,
            OfferError::Sdp(_) | OfferError::NoConnection | OfferError::AddressFamily => 400,
            OfferError::NoAudio
            | OfferError::Encrypted
            | OfferError::NotEncrypted
            | OfferError::NoUsableKey
            | OfferError::NoCommonCodec
            | OfferError::HostName
            | OfferError::Refused => 488,
        }
    }
}
