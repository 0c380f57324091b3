//! What can be wrong with the text of a message or of one of its parts.

use thiserror::Error;

/// Why a header value or a URI cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ParseError {
    /// The URI breaks RFC 3261 19.1.
    #[error("malformed URI")]
    Uri,
    /// Neither a name nor an address.
    #[error("malformed host")]
    Host,
    /// Not a number from 0 to 65535.
    #[error("malformed port")]
    Port,
    /// An empty or illegal `;name=value`.
    #[error("malformed parameter")]
    Parameter,
    /// A quoted string without its end.
    #[error("unbalanced quotes")]
    Quote,
    /// An unquoted display name with other characters than tokens and blanks.
    #[error("malformed display name")]
    DisplayName,
    /// Neither `name-addr` nor `addr-spec`.
    #[error("malformed address")]
    Address,
    /// A Via that is not `SIP/2.0/transport sent-by`.
    #[error("malformed Via")]
    Via,
    /// A CSeq that is not a 32-bit number and a method.
    #[error("malformed CSeq")]
    CSeq,
}
