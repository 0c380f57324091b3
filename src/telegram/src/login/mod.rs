//! Logging an account in by phone number, code and cloud password (product 2.1); never signs up.
//!
//! ```text
//!  SignedOut --phone--> AskingCode --> CodeNeeded --code--> SigningIn --> Done
//!                                          ^  wrong, expired  |  SESSION_PASSWORD_NEEDED
//!                                          +------------------+          v
//!                          Done <-- CheckingPassword <--password-- PasswordNeeded
//! ```
//!
//! The contract is that of every core: [`Login::handle_input`], then [`Login::poll_output`] until `None`. Codes and
//! passwords are wiped after use and never printed.

mod srp;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use grammers_tl_types as tl;
use model::{PhoneNumber, Secret};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tl::enums::auth::{Authorization, CodeType, SentCode, SentCodeType};

use crate::call::RequestKey;
use crate::error;
use crate::rpc::{Reply, Rpc, RpcError, User};

/// Wrong codes until the login starts over.
const WRONG_CODES: u32 = 3;
/// How often one login is sent to another data centre, or told to start again.
const MOVES: u32 = 4;

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
    /// The code the user read.
    Code(Secret<String>),
    /// Send the code again, by the next way there is.
    Resend,
    /// The cloud password. The proof takes some tenths of a second of computing.
    Password(Secret<String>),
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
    /// Ask the user for the code.
    NeedCode {
        /// How it was sent.
        way: CodeWay,
        /// How many characters it has, if Telegram says.
        length: Option<u32>,
        /// How it can be sent next, if at all.
        next: Option<CodeWay>,
        /// How long to wait before [`LoginInput::Resend`].
        resend_after: Option<Duration>,
        /// Why it is asked for again, if it is.
        again: Option<Again>,
    },
    /// Ask the user for the cloud password.
    NeedPassword {
        /// The owner's own hint, may be empty.
        hint: String,
        /// Whether the last one was wrong.
        wrong: bool,
    },
    /// Logged in.
    Done {
        /// The account.
        user: User,
    },
    /// The login is over; a new number begins another one.
    Failed(LoginError),
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

/// Why a login failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// Three wrong codes.
    #[error("too many wrong codes: begin again with the phone number")]
    WrongCodes,
    /// The number is not one.
    #[error("Telegram does not take this number: write it with its country code")]
    BadNumber,
    /// The number is banned.
    #[error("Telegram has banned this number")]
    Banned,
    /// There is no account; the switch makes none.
    #[error("there is no Telegram account with this number: make one with an app first")]
    NoAccount,
    /// Telegram wants an e-mail address, or a code sent there.
    #[error(
        "Telegram wants to send login codes by e-mail, which is not supported: change it in an app"
    )]
    EmailNeeded,
    /// Telegram wants to be paid for the code.
    #[error("Telegram wants a payment to send the code: use its own app for the first login")]
    PaymentNeeded,
    /// The cloud password uses an unknown or unsafe algorithm.
    #[error("the cloud password uses an algorithm that is unknown or not safe")]
    PasswordAlgorithm,
    /// Too many tries.
    #[error("Telegram asks to wait {} s before the next try", .0.as_secs())]
    Wait(Duration),
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

/// The login of one account.
pub struct Login {
    application: Application,
    rng: StdRng,
    state: State,
    phone: String,
    wrong_codes: u32,
    moves: u32,
    next_key: u32,
    /// The one request on its way, to be repeated elsewhere if need be.
    pending: Option<(RequestKey, Rpc)>,
    outputs: VecDeque<LoginOutput>,
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    SignedOut,
    AskingCode {
        again: Option<Again>,
    },
    CodeNeeded {
        code: Sent,
    },
    SigningIn {
        code: Sent,
    },
    AskingPassword {
        wrong: bool,
    },
    PasswordNeeded {
        password: Box<tl::types::account::Password>,
    },
    CheckingPassword,
    Done,
}

/// A code that was sent.
#[derive(Debug, Clone, PartialEq)]
struct Sent {
    hash: String,
    way: CodeWay,
    length: Option<u32>,
    next: Option<CodeWay>,
    resend_after: Option<Duration>,
}

impl Login {
    /// Begins signed out. `seed` comes from the operating system: the proof of the password depends on it.
    pub fn new(application: Application, seed: [u8; 32]) -> Login {
        Login {
            application,
            rng: StdRng::from_seed(seed),
            state: State::SignedOut,
            phone: String::new(),
            wrong_codes: 0,
            moves: 0,
            next_key: 0,
            pending: None,
            outputs: VecDeque::new(),
        }
    }

    /// Takes one input; then [`Login::poll_output`] until `None`.
    pub fn handle_input(&mut self, input: LoginInput) {
        match input {
            LoginInput::Phone(number) => self.begin(number.digits()),
            LoginInput::Cancel => self.cancel(),
            LoginInput::Reply(key, result) => self.on_reply(key, result),
            LoginInput::Code(_) | LoginInput::Resend | LoginInput::Password(_) => {
                self.on_user(input);
            }
        }
    }

    /// Returns the next output.
    pub fn poll_output(&mut self) -> Option<LoginOutput> {
        self.outputs.pop_front()
    }

    fn begin(&mut self, digits: &str) {
        digits.clone_into(&mut self.phone);
        self.wrong_codes = 0;
        self.moves = 0;
        self.ask_for_code(None);
    }

    fn cancel(&mut self) {
        if !matches!(self.state, State::SignedOut | State::Done) {
            self.fail(LoginError::Cancelled);
        }
    }

    /// What the user typed; out of place, it is ignored.
    fn on_user(&mut self, input: LoginInput) {
        match (&self.state, input) {
            (State::CodeNeeded { code }, LoginInput::Code(typed)) => {
                let rpc = Rpc::SignIn {
                    phone: self.phone.clone(),
                    phone_code_hash: code.hash.clone(),
                    code: Secret::new(typed.expose().trim().to_owned()),
                };
                self.state = State::SigningIn { code: code.clone() };
                self.invoke(rpc);
            }
            (State::CodeNeeded { code }, LoginInput::Resend) => {
                if code.next.is_none() {
                    let code = code.clone();
                    return self.need_code(code, Some(Again::NoOtherWay));
                }
                let rpc = Rpc::ResendCode {
                    phone: self.phone.clone(),
                    phone_code_hash: code.hash.clone(),
                };
                self.state = State::AskingCode {
                    again: Some(Again::Resent),
                };
                self.invoke(rpc);
            }
            (State::PasswordNeeded { password }, LoginInput::Password(typed)) => {
                match srp::prove(password, &typed, &mut self.rng) {
                    Some(rpc) => {
                        self.state = State::CheckingPassword;
                        self.invoke(rpc);
                    }
                    None => self.fail(LoginError::PasswordAlgorithm),
                }
            }
            (
                State::SignedOut
                | State::AskingCode { .. }
                | State::CodeNeeded { .. }
                | State::SigningIn { .. }
                | State::AskingPassword { .. }
                | State::PasswordNeeded { .. }
                | State::CheckingPassword
                | State::Done,
                _,
            ) => {}
        }
    }

    fn on_reply(&mut self, key: RequestKey, result: Result<Reply, RpcError>) {
        let Some((_, rpc)) = self.pending.take_if(|(pending, _)| *pending == key) else {
            return; // of a login that was begun anew
        };
        match result {
            Ok(reply) => self.on_result(reply),
            Err(error) => self.on_error(rpc, error),
        }
    }

    fn on_result(&mut self, reply: Reply) {
        match (self.state.clone(), reply) {
            (State::AskingCode { again }, Reply::SentCode(sent)) => self.on_sent_code(*sent, again),
            (
                State::SigningIn { .. } | State::CheckingPassword,
                Reply::Authorization(authorization),
            ) => self.on_authorization(*authorization),
            (State::AskingPassword { wrong }, Reply::Password(password)) => {
                let hint = password.hint.clone().unwrap_or_default();
                self.state = State::PasswordNeeded { password };
                self.outputs
                    .push_back(LoginOutput::NeedPassword { hint, wrong });
            }
            (
                State::SignedOut
                | State::AskingCode { .. }
                | State::CodeNeeded { .. }
                | State::SigningIn { .. }
                | State::AskingPassword { .. }
                | State::PasswordNeeded { .. }
                | State::CheckingPassword
                | State::Done,
                _,
            ) => self.fail(LoginError::Unexpected),
        }
    }

    fn on_sent_code(&mut self, sent: SentCode, again: Option<Again>) {
        match sent {
            SentCode::Code(code) => match Sent::read(code) {
                Ok(code) => self.need_code(code, again),
                Err(error) => self.fail(error),
            },
            SentCode::Success(success) => self.on_authorization(success.authorization),
            SentCode::PaymentRequired(_) => self.fail(LoginError::PaymentNeeded),
        }
    }

    fn on_authorization(&mut self, authorization: Authorization) {
        match authorization {
            Authorization::Authorization(authorization) => match authorization.user {
                tl::enums::User::User(user) => {
                    self.state = State::Done;
                    let user = User::from(&user);
                    self.outputs.push_back(LoginOutput::Done { user });
                }
                tl::enums::User::Empty(_) => self.fail(LoginError::Unexpected),
            },
            Authorization::SignUpRequired(_) => self.fail(LoginError::NoAccount),
        }
    }

    fn on_error(&mut self, rpc: Rpc, error: RpcError) {
        if let Some(dc) = migration(&error)
            && self.moves < MOVES
        {
            self.moves += 1;
            self.outputs.push_back(LoginOutput::UseDc(dc));
            return self.invoke(rpc);
        }
        if error.is("AUTH_RESTART") && self.moves < MOVES {
            self.moves += 1;
            return self.ask_for_code(None);
        }
        match (
            self.state.clone(),
            error.name_and_number().map(|(name, _)| name),
        ) {
            (State::SigningIn { code }, Some("PHONE_CODE_INVALID" | "PHONE_CODE_EMPTY")) => {
                self.wrong_codes += 1;
                if self.wrong_codes == WRONG_CODES {
                    return self.fail(LoginError::WrongCodes);
                }
                self.need_code(code, Some(Again::Wrong));
            }
            (State::SigningIn { .. }, Some("PHONE_CODE_EXPIRED")) => {
                self.ask_for_code(Some(Again::Expired));
            }
            (State::SigningIn { .. }, Some("SESSION_PASSWORD_NEEDED")) => self.ask_password(false),
            (State::CheckingPassword, Some("PASSWORD_HASH_INVALID")) => self.ask_password(true),
            // The parameters of the proof are used up or outdated.
            (State::CheckingPassword, Some("SRP_ID_INVALID" | "SRP_PASSWORD_CHANGED")) => {
                self.ask_password(false);
            }
            (_, Some("PHONE_NUMBER_INVALID")) => self.fail(LoginError::BadNumber),
            (_, Some("PHONE_NUMBER_BANNED")) => self.fail(LoginError::Banned),
            (_, Some("PHONE_NUMBER_UNOCCUPIED")) => self.fail(LoginError::NoAccount),
            _ => match error::flood_wait(&error) {
                Some(wait) => self.fail(LoginError::Wait(wait)),
                None => self.fail(LoginError::Refused(error)),
            },
        }
    }

    fn ask_for_code(&mut self, again: Option<Again>) {
        self.state = State::AskingCode { again };
        self.invoke(Rpc::SendCode {
            phone: self.phone.clone(),
            api_id: self.application.api_id,
            api_hash: self.application.api_hash.clone(),
        });
    }

    fn ask_password(&mut self, wrong: bool) {
        self.state = State::AskingPassword { wrong };
        self.invoke(Rpc::GetPassword);
    }

    fn need_code(&mut self, code: Sent, again: Option<Again>) {
        self.outputs.push_back(LoginOutput::NeedCode {
            way: code.way,
            length: code.length,
            next: code.next,
            resend_after: code.resend_after,
            again,
        });
        self.state = State::CodeNeeded { code };
    }

    fn invoke(&mut self, rpc: Rpc) {
        let key = RequestKey(self.next_key);
        self.next_key = self.next_key.wrapping_add(1);
        self.pending = Some((key, rpc.clone()));
        self.outputs.push_back(LoginOutput::Invoke(key, rpc));
    }

    fn fail(&mut self, error: LoginError) {
        self.state = State::SignedOut;
        self.pending = None;
        self.outputs.push_back(LoginOutput::Failed(error));
    }
}

impl Sent {
    fn read(code: tl::types::auth::SentCode) -> Result<Sent, LoginError> {
        let (way, length) = match &code.r#type {
            SentCodeType::App(kind) => (CodeWay::App, Some(kind.length)),
            SentCodeType::Sms(kind) => (CodeWay::Sms, Some(kind.length)),
            SentCodeType::FirebaseSms(kind) => (CodeWay::Sms, Some(kind.length)),
            SentCodeType::SmsWord(_) | SentCodeType::SmsPhrase(_) => (CodeWay::Sms, None),
            SentCodeType::Call(kind) => (CodeWay::Call, Some(kind.length)),
            SentCodeType::FlashCall(_) => (CodeWay::MissedCall, None),
            SentCodeType::MissedCall(kind) => (CodeWay::MissedCall, Some(kind.length)),
            SentCodeType::FragmentSms(kind) => (CodeWay::Fragment, Some(kind.length)),
            SentCodeType::EmailCode(_) | SentCodeType::SetUpEmailRequired(_) => {
                return Err(LoginError::EmailNeeded);
            }
        };
        let next = code.next_type.map(|next| match next {
            CodeType::Sms => CodeWay::Sms,
            CodeType::Call => CodeWay::Call,
            CodeType::FlashCall | CodeType::MissedCall => CodeWay::MissedCall,
            CodeType::FragmentSms => CodeWay::Fragment,
        });
        let seconds = code.timeout.and_then(|seconds| u64::try_from(seconds).ok());
        Ok(Sent {
            hash: code.phone_code_hash,
            way,
            length: length.and_then(|length| u32::try_from(length).ok()),
            next,
            resend_after: seconds.map(Duration::from_secs),
        })
    }
}

/// The data centre an error 303 sends us to.
fn migration(error: &RpcError) -> Option<i32> {
    let RpcError::Rpc { code: 303, .. } = error else {
        return None;
    };
    match error.name_and_number()? {
        ("PHONE_MIGRATE" | "USER_MIGRATE" | "NETWORK_MIGRATE", Some(dc)) => i32::try_from(dc).ok(),
        _ => None,
    }
}
