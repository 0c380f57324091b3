//! Header names: compared without case, short forms included (RFC 3261 7.3.1, 7.3.3).

use std::fmt;
use std::hash::{Hash, Hasher};

use super::scan;

macro_rules! header_names {
    ($($variant:ident $text:literal $($short:literal)?),* $(,)?) => {
        /// The name of a header field.
        #[derive(Debug, Clone)]
        #[allow(missing_docs)] // each variant is its own explanation
        pub enum HeaderName {
            $($variant,)*
            /// A name without a variant of its own, spelled as it arrived.
            Other(String),
        }

        impl HeaderName {
            /// Returns the name in its usual spelling.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(name) => name,
                }
            }

            /// Returns the short form, or the usual spelling where there is none (RFC 3261 7.3.3).
            pub fn shortest(&self) -> &str {
                match self {
                    $(Self::$variant => shorter!($text $($short)?),)*
                    Self::Other(name) => name,
                }
            }

            fn known(name: &str) -> Option<Self> {
                $(
                    if name.eq_ignore_ascii_case($text) $(|| name.eq_ignore_ascii_case($short))? {
                        return Some(Self::$variant);
                    }
                )*
                None
            }
        }
    };
}

/// The short form where there is one.
macro_rules! shorter {
    ($text:literal $short:literal) => {
        $short
    };
    ($text:literal) => {
        $text
    };
}

header_names! {
    Via "Via" "v",
    From "From" "f",
    To "To" "t",
    CallId "Call-ID" "i",
    CSeq "CSeq",
    Contact "Contact" "m",
    MaxForwards "Max-Forwards",
    ContentLength "Content-Length" "l",
    ContentType "Content-Type" "c",
    ContentEncoding "Content-Encoding" "e",
    ContentDisposition "Content-Disposition",
    ContentLanguage "Content-Language",
    Route "Route",
    RecordRoute "Record-Route",
    Path "Path",
    ServiceRoute "Service-Route",
    Accept "Accept",
    AcceptEncoding "Accept-Encoding",
    AcceptLanguage "Accept-Language",
    AlertInfo "Alert-Info",
    Allow "Allow",
    AllowEvents "Allow-Events" "u",
    Authorization "Authorization",
    AuthenticationInfo "Authentication-Info",
    CallInfo "Call-Info",
    Date "Date",
    Diversion "Diversion",
    ErrorInfo "Error-Info",
    Event "Event" "o",
    Expires "Expires",
    HistoryInfo "History-Info",
    Identity "Identity" "y",
    InReplyTo "In-Reply-To",
    Join "Join",
    MimeVersion "MIME-Version",
    MinExpires "Min-Expires",
    MinSe "Min-SE",
    Organization "Organization",
    PAssertedIdentity "P-Asserted-Identity",
    PPreferredIdentity "P-Preferred-Identity",
    Priority "Priority",
    Privacy "Privacy",
    ProxyAuthenticate "Proxy-Authenticate",
    ProxyAuthorization "Proxy-Authorization",
    ProxyRequire "Proxy-Require",
    RAck "RAck",
    RSeq "RSeq",
    Reason "Reason",
    ReferTo "Refer-To" "r",
    ReferredBy "Referred-By" "b",
    RemotePartyId "Remote-Party-ID",
    Replaces "Replaces",
    ReplyTo "Reply-To",
    Require "Require",
    RetryAfter "Retry-After",
    Server "Server",
    SessionExpires "Session-Expires" "x",
    SipEtag "SIP-ETag",
    SipIfMatch "SIP-If-Match",
    Subject "Subject" "s",
    SubscriptionState "Subscription-State",
    Supported "Supported" "k",
    Timestamp "Timestamp",
    Unsupported "Unsupported",
    UserAgent "User-Agent",
    Warning "Warning",
    WwwAuthenticate "WWW-Authenticate",
}

impl From<&str> for HeaderName {
    fn from(name: &str) -> Self {
        Self::known(name).unwrap_or_else(|| {
            // A name is a token and nothing else may reach the wire (SEC-P6, SEC-P7).
            Self::Other(
                name.chars()
                    .filter(|c| u8::try_from(*c).is_ok_and(scan::is_token_byte))
                    .collect(),
            )
        })
    }
}

impl PartialEq for HeaderName {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Other(_), _) | (_, Self::Other(_)) => {
                self.as_str().eq_ignore_ascii_case(other.as_str())
            }
            // Each search through a message compares names, and nearly all are of these.
            (known, other) => std::mem::discriminant(known) == std::mem::discriminant(other),
        }
    }
}

impl Eq for HeaderName {}

impl Hash for HeaderName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for c in self.as_str().bytes() {
            state.write_u8(c.to_ascii_lowercase());
        }
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
