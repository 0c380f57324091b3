//! Why a command did not do what it should, and the exit code that says so.

use std::path::PathBuf;

use model::{RuleError, SpecError, TrunkName};
use routing::DialPlanError;
use store::{BackupError, OpenError, StoreError};

use crate::boot::BootError;
use crate::fault::Fault;
use crate::master_key::MasterKeyError;
use crate::problem::lister;
use crate::records::Refusal;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Settings or records that cannot be used.
    #[error("{}", lines(.0))]
    Faults(Vec<Fault>),
    /// The store belongs to a running switch.
    #[error(
        "the store {0} is in use, so a switch is running on it: stop it (systemctl stop strowger), repeat the command, start it again"
    )]
    Locked(PathBuf),
    /// The store does not open.
    #[error(transparent)]
    Open(OpenError),
    /// There is no usable key for the secrets of the store.
    #[error(transparent)]
    Key(#[from] MasterKeyError),
    /// The store does not do what it should.
    #[error(transparent)]
    Store(StoreError),
    /// There is no such record.
    #[error("there is no {kind} `{name}`: see `{}`", lister(.kind))]
    NotFound {
        /// Trunk, session or route.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// There is one already.
    #[error(
        "there is a {kind} `{name}` already: remove it first, or change it with `strowger apply`"
    )]
    Exists {
        /// Trunk, session or route.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A peer that could not be told from another one.
    #[error("trunk `{0}` has this address already: a peer is known by its address alone")]
    SameAddress(TrunkName),
    /// A change that cannot be made.
    #[error(transparent)]
    Commit(Refusal),
    /// The switch is somewhere else, and does not answer.
    #[error("the switch at {url} does not answer: {why}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// Why not.
        why: String,
    },
    /// What is there is no switch, or one of another time.
    #[error("what answers is no switch, or one of another version than this program: {0}")]
    Strange(serde_json::Error),
    /// Nobody can tell whether it is the switch.
    #[error(
        "TLS with {url} fails: {why}; the certificate must be one that this host trusts (SSL_CERT_FILE names others), and name that host"
    )]
    Tls {
        /// Where it should be.
        url: String,
        /// What is wrong with its certificate or its protocol.
        why: String,
    },
    /// Something in the store is no longer what it was.
    #[error(
        "the store cannot be read: {0}; stop the switch, move the store aside and bring a backup back"
    )]
    Unreadable(String),
    /// The same of call records only.
    #[error(
        "call records that cannot be read: {count}, all else can: {fault}; they are left out wherever records are asked for, and remain for a \
         newer program or until cdr.keep removes them"
    )]
    UnreadableCalls {
        /// How many.
        count: u64,
        /// What is wrong with the first, and which the others are.
        fault: String,
    },
    /// What cannot be done from afar.
    #[error("`strowger {0}` works on the host of the switch alone: run it there, without --api")]
    NotFromAfar(String),
    /// No switch runs.
    #[error("no switch runs on {0}: start it with `strowger run`, or give its folder with --data")]
    NoSwitch(PathBuf),
    /// The switch that runs does not do it.
    #[error("{said}")]
    Answered {
        /// The status it answers.
        status: u16,
        /// Its words.
        said: String,
    },
    /// The records have no form in TOML.
    #[error("the records cannot be written: {0}")]
    Write(#[from] toml::ser::Error),
    /// A backup that cannot be read back.
    #[error("{path}: {source}")]
    Backup {
        /// The backup, or the folder it goes to.
        path: PathBuf,
        /// What is wrong.
        source: BackupError,
    },
    /// A file that must not be overwritten.
    #[error("{0} exists already and is not overwritten: move it aside, or give another folder")]
    WouldOverwrite(PathBuf),
    /// A record that cannot be used.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// An option that is missing or has no place here.
    #[error("{0}")]
    Usage(&'static str),
    /// Caller ID or Caller Name rules that cannot be used.
    #[error("{0}: {1}")]
    Rule(&'static str, RuleError),
    /// Dial rules that cannot be used.
    #[error("{0}: {1}")]
    DialRules(&'static str, DialPlanError),
    /// The switch does not start.
    #[error(transparent)]
    Boot(BootError),
    /// A login that did not come to its end.
    #[error("session {0}: {1}")]
    Login(model::SessionName, crate::cli::LoginFailure),
    /// The other end of a trunk is not as it should be.
    #[error("trunk {0}: {1}")]
    TrunkTest(TrunkName, String),
    /// The receiver of a webhook does not take what is posted.
    #[error("webhook {0}: its receiver does not take what is posted to it")]
    WebhookTest(model::WebhookName),
    /// A record that could not work, in words.
    #[error("{0}")]
    Record(String),
    /// So many things keep the switch from carrying calls.
    #[error("failed checks: {0}")]
    Doctor(usize),
    /// Something that this record cannot be asked for.
    #[error("{0}")]
    Refused(String),
    /// The password of an account was not given.
    #[error(transparent)]
    Password(#[from] crate::cli::LoginFailure),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Locked { path } => Failure::Locked(path),
            other => Failure::Open(other),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Missing { kind, name } => Failure::NotFound { kind, name },
            other => Failure::Store(other),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Store(error) => error.into(),
            other => Failure::Commit(other),
        }
    }
}

impl Failure {
    /// The exit code (`docs/cli.md`).
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::File { .. }
            | Failure::Backup {
                source:
                    BackupError::File(_)
                    | BackupError::Damaged
                    | BackupError::NoRoom { .. }
                    | BackupError::Newer { .. },
                ..
            }
            | Failure::Write(_)
            | Failure::Login(..)
            | Failure::TrunkTest(..)
            | Failure::WebhookTest(_)
            | Failure::Doctor(_)
            | Failure::Password(_) => 1,
            Failure::Boot(error) => error.code(),
            Failure::Usage(_)
            | Failure::NotFromAfar(_)
            | Failure::Rule(..)
            | Failure::DialRules(..) => 2,
            Failure::Faults(_)
            | Failure::Spec(_)
            | Failure::Record(_)
            | Failure::Key(_)
            | Failure::Backup {
                source: BackupError::Key(_) | BackupError::WrongKey { .. },
                ..
            }
            | Failure::Open(OpenError::Key(_) | OpenError::WrongKey { .. }) => 3,
            Failure::Commit(refusal) if refusal.is_invalid() => 3,
            // What `/api/v1` answers is told in the same codes as what is done without a switch.
            Failure::Answered { status, .. } => match status {
                404 => 5,
                401 | 403 | 409 | 412 | 429 => 6,
                422 => 3,
                400 => 2,
                503 => 4,
                _ => 1,
            },
            Failure::Locked(_)
            | Failure::NoSwitch(_)
            | Failure::Unreachable { .. }
            | Failure::Strange(_)
            | Failure::Tls { .. } => 4,
            Failure::NotFound { .. } => 5,
            Failure::Commit(_)
            | Failure::Exists { .. }
            | Failure::Refused(_)
            | Failure::SameAddress(_)
            | Failure::WouldOverwrite(_)
            | Failure::Backup {
                source: BackupError::Present | BackupError::Taken,
                ..
            }
            | Failure::Store(
                StoreError::Conflict { .. }
                | StoreError::LastKey { .. }
                | StoreError::NotAdopted { .. },
            ) => 6,
            Failure::Open(_)
            | Failure::Unreadable(_)
            | Failure::UnreadableCalls { .. }
            | Failure::Store(_)
            | Failure::Backup {
                source: BackupError::Database(_),
                ..
            } => 74,
        }
    }
}

fn lines(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
