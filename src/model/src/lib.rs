//! The words of the trade, shared by all rooms: identifiers, numbers, codecs, causes, records.
//!
//! No behaviour beyond parse, print and compare; depends on no other room.

// A new state must be thought of everywhere: no wildcard hides it.
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

mod alert;
mod callers;
mod cause;
mod codec;
mod dial_rules;
mod dtmf;
mod event;
mod header_field;
mod host_port;
mod id;
mod inline;
mod number;
mod prefix;
mod quality;
mod quota;
mod record;
mod role;
mod route;
mod rule;
mod scope;
mod secret;
mod spec;
mod srtp;
mod transport;
mod user;
mod webhook;

pub use alert::Alert;
pub use callers::{AllowedCallers, CallerError};
pub use cause::{Cause, Reason, Row, Side};
pub use codec::{Codec, PayloadTypes, UnknownCodec};
pub use dial_rules::{DialPiece, DialRule, DialRuleError, DialRuleKind, DialRules};
pub use dtmf::{DtmfMethod, Key, MAX_KEYS, UnknownDtmfMethod};
pub use event::{EventId, EventKind, NoEventId, UnknownEvent};
pub use header_field::{HeaderField, HeaderFieldError};
pub use host_port::{HostPort, HostPortError};
pub use id::{
    CallId, LegId, NameError, QuotaName, SessionName, TrunkName, UserName, WebhookName, WorkerName,
};
pub use inline::{BotName, BotNameError, QueryTag, QueryTemplate, QueryTemplateError};
pub use number::{NumberError, Peer, PhoneNumber};
pub use prefix::{IpPrefix, IpPrefixError, TrustedIps};
pub use quality::{CallDetails, MediaPath, Missing, Quality, SipSide, TelegramSide, recorded};
pub use quota::{DEFAULT_QUOTA, QuotaError, QuotaSpec};
pub use record::{BanRecord, CallRecord, Direction, Farewell, LegEnd, LegKind, OpenCall, Outcome};
pub use role::{LOCAL_WORKER, Role, RoleSpec, RoleState, WorkerChoice};
pub use route::{RouteSpec, RouteTerms, TermsError, TransitSpec};
pub use rule::{
    BareDigits, BareDigitsError, CallerIdRules, CallerNameRules, Piece, Rule, RuleError, Tag,
};
pub use scope::{Scope, ScopeError};
pub use secret::Secret;
pub use spec::{SessionSpec, SpecError, TrunkKind, TrunkSpec, VerboseRejects};
pub use srtp::{Srtp, SrtpKey, SrtpKeys, SrtpOverPlain, SrtpSuite, UnknownSrtp};
pub use transport::{Transport, UnknownTransport};
pub use user::{UserError, UserSpec};
pub use webhook::{DeliveryId, WebhookError, WebhookSpec, WebhookUrl, WebhookUrlError};
