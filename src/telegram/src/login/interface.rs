//! What a login takes, what it asks for, and why it fails.

use std::time::Duration;

use model::{PhoneNumber, Secret};

use crate::call::RequestKey;
use crate::rpc::{Reply, Rpc, RpcError, User};

/// Who logs in: the application's identity at Telegram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// The number from my.telegram.org.
    pub api_id: i32,
    /// The secret beside it.
    pub api_hash: Secret<String>,
}

/// What happens to a login.
#[derive(Debug, Clone, PartialEq)]
pub enum LoginInput {
    /// Begin, or begin anew, with this number.
    Phone(PhoneNumber),
    /// Begin, or begin anew, with the token of a bot.
    Bot(Secret<String>),
    /// Begin, or begin anew, with a token that another device of the account scans.
    Scan,
    /// The token shown was scanned (`updateLoginToken`), or its time is nearly over.
    Renew,
    /// The code the user read: of a login, of an e-mail address, or of a password recovery, whatever was asked for.
    Code(Secret<String>),
    /// Send the code again, by the next way there is.
    Resend,
    /// The e-mail address that is to get login codes from now on.
    Email(Secret<String>),
    /// The cloud password. The proof takes some tenths of a second of computing.
    Password(Secret<String>),
    /// Mail a code that takes the place of the cloud password, and removes it.
    Recover,
    /// Stop.
    Cancel,
    /// The result of a request.
    Reply(RequestKey, Result<Reply, RpcError>),
}

/// What a login wants.
#[derive(Debug, Clone, PartialEq)]
pub enum LoginOutput {
    /// Make this data centre the account's home before the next request.
    UseDc(i32),
    /// Ask Telegram this.
    Invoke(RequestKey, Rpc),
    /// Ask the user this.
    Ask(Ask),
    /// Logged in.
    Done {
        /// The account.
        user: User,
    },
    /// The login is over; another beginning begins another one.
    Failed(LoginError),
}

/// What the user is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// The login code; answered by [`LoginInput::Code`] or [`LoginInput::Resend`].
    Code {
        /// How it was sent.
        way: CodeWay,
        /// The e-mail address it went to, with stars in it.
        email: Option<String>,
        /// How many characters it has, if Telegram says.
        length: Option<u32>,
        /// How it can be sent next, if at all.
        next: Option<CodeWay>,
        /// How long to wait before [`LoginInput::Resend`].
        resend_after: Option<Duration>,
        /// Why it is asked for again, if it is.
        again: Option<Again>,
    },
    /// To scan `tg://login?token=` and this in base64url with a device that is logged in; then, or after
    /// [`renew_after`], [`LoginInput::Renew`].
    Scan {
        /// Whoever scans it gives the account to us.
        token: Secret<Vec<u8>>,
        /// When it is worth nothing any more, Unix time in seconds.
        expires: i32,
    },
    /// An address for login codes; answered by [`LoginInput::Email`].
    Email {
        /// Whether Telegram did not take the last one.
        refused: bool,
    },
    /// The code that was mailed to that address; answered by [`LoginInput::Code`].
    EmailCode {
        /// The address, with stars in it.
        email: String,
        /// How many characters it has.
        length: Option<u32>,
        /// Why it is asked for again, if it is.
        again: Option<Again>,
    },
    /// The cloud password; answered by [`LoginInput::Password`] or [`LoginInput::Recover`].
    Password {
        /// The owner's own hint, may be empty.
        hint: String,
        /// Whether there is an address to which a recovery code can be mailed.
        recovery: bool,
        /// Why it is asked for again, if it is.
        again: Option<PasswordAgain>,
    },
    /// The code that was mailed to recover the password; answered by [`LoginInput::Code`] or [`LoginInput::Resend`].
    RecoveryCode {
        /// The address, with stars in it.
        email: String,
        /// Why it is asked for again, if it is.
        again: Option<Again>,
    },
}

/// How a login code travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeWay {
    /// As a message in the user's other Telegram apps.
    App,
    /// As a text message.
    Sms,
    /// Read out in a phone call.
    Call,
    /// In the number of a call that rings only shortly.
    MissedCall,
    /// By e-mail.
    Email,
    /// As a message of the Fragment platform.
    Fragment,
}

/// Why a code is asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// The last one was wrong.
    Wrong,
    /// The last one came too late; another one was sent.
    Expired,
    /// The user asked for it to be sent again.
    Resent,
    /// There is no other way to send it.
    NoOtherWay,
}

/// Why the cloud password is asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordAgain {
    /// The last one was wrong.
    Wrong,
    /// The password has changed meanwhile.
    Changed,
    /// The account has no address to recover it by.
    NoRecovery,
}

/// Why a login failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// Three wrong codes.
    #[error("too many wrong codes: begin again")]
    WrongCodes,
    /// Three wrong passwords.
    #[error("the cloud password was wrong three times: begin again")]
    WrongPasswords,
    /// The number is not one.
    #[error(
        "Telegram does not take this number: write it with its country code, as in +15551234567"
    )]
    BadNumber,
    /// The number is banned.
    #[error("Telegram has banned this number")]
    Banned,
    /// There is no account; the switch makes none.
    #[error(
        "there is no Telegram account with this number: make one with an app, this program never does"
    )]
    NoAccount,
    /// No bot has this token.
    #[error("no bot has this token: ask @BotFather for it")]
    BadToken,
    /// Nobody scanned any of the tokens.
    #[error("nobody has scanned the code: begin again when a device is at hand")]
    NotScanned,
    /// Telegram wants to be paid for the code.
    #[error("Telegram wants a payment to send the code: use its own app for the first login")]
    PaymentNeeded,
    /// The cloud password uses an unknown or unsafe algorithm.
    #[error("the cloud password uses an algorithm that is unknown or not safe")]
    PasswordAlgorithm,
    /// Too many tries.
    #[error("Telegram asks to wait {} s before the next try", .0.as_secs())]
    Wait(Duration),
    /// No answer.
    #[error("Telegram could not be reached: {0}")]
    Unreachable(RpcError),
    /// The key is that of a login which Telegram has ended.
    #[error(
        "Telegram has ended the former login of this session ({0}): delete its keys with `strowger session logout`, then log in"
    )]
    OldKey(RpcError),
    /// Telegram refused with a reason of its own.
    #[error("Telegram refuses: {0}")]
    Refused(RpcError),
    /// Telegram answered something that fits no question.
    #[error("Telegram answered something unexpected")]
    Unexpected,
    /// The user stopped it.
    #[error("cancelled")]
    Cancelled,
}

/// Returns how long a token is shown that ends at `expires` by Telegram's clock, when ours says `now`; both Unix time in
/// seconds. Our clock may be wrong, so that this is never longer than a token lives, 30 s, and never so short that
/// Telegram would be flooded.
pub fn renew_after(expires: i32, now: i64) -> Duration {
    const EARLY: i64 = 3;
    let left = i64::from(expires).saturating_sub(now).saturating_sub(EARLY);
    Duration::from_secs(left.clamp(5, 27).unsigned_abs())
}
