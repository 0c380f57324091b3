//! Methods (RFC 3261 7.1 and the extensions we know).

use std::fmt;

/// A request method. Methods are case-sensitive (RFC 3261 7.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Method {
    /// RFC 3261 13.
    Invite,
    /// RFC 3261 13.2.2.4 and 17.1.1.3.
    Ack,
    /// RFC 3261 15.
    Bye,
    /// RFC 3261 9.
    Cancel,
    /// RFC 3261 10.
    Register,
    /// RFC 3261 11.
    Options,
    /// RFC 6086.
    Info,
    /// RFC 3515.
    Refer,
    /// RFC 6665.
    Notify,
    /// RFC 3262.
    Prack,
    /// RFC 3311.
    Update,
    /// RFC 3428.
    Message,
    /// RFC 6665.
    Subscribe,
    /// RFC 3903.
    Publish,
    /// A method we do not know, spelled as it arrived.
    Other(String),
}

impl Method {
    /// Returns the method as it is written on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Register => "REGISTER",
            Self::Options => "OPTIONS",
            Self::Info => "INFO",
            Self::Refer => "REFER",
            Self::Notify => "NOTIFY",
            Self::Prack => "PRACK",
            Self::Update => "UPDATE",
            Self::Message => "MESSAGE",
            Self::Subscribe => "SUBSCRIBE",
            Self::Publish => "PUBLISH",
            Self::Other(name) => name,
        }
    }

    /// Returns whether the method is one we have a name for.
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

impl From<&str> for Method {
    fn from(name: &str) -> Self {
        match name {
            "INVITE" => Self::Invite,
            "ACK" => Self::Ack,
            "BYE" => Self::Bye,
            "CANCEL" => Self::Cancel,
            "REGISTER" => Self::Register,
            "OPTIONS" => Self::Options,
            "INFO" => Self::Info,
            "REFER" => Self::Refer,
            "NOTIFY" => Self::Notify,
            "PRACK" => Self::Prack,
            "UPDATE" => Self::Update,
            "MESSAGE" => Self::Message,
            "SUBSCRIBE" => Self::Subscribe,
            "PUBLISH" => Self::Publish,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
