//! Logging an account in (product 2.1): by phone number and code, by a token that another device scans, or as a bot;
//! with the cloud password or its recovery, and an e-mail address where Telegram wants one. Never signs up.
//!
//! ```text
//!  SignedOut --phone--> AskingCode --> CodeNeeded --code--> SigningIn --> Done
//!      |                 |      ^          ^  wrong, expired  |       (CodeNeeded --resend--> Resending --> CodeNeeded)
//!      |   e-mail wanted v      |          +------------------+ SESSION_PASSWORD_NEEDED
//!      |          EmailNeeded --> SendingEmail --> EmailCodeNeeded --> VerifyingEmail --> CodeNeeded
//!      |
//!      +--scan--> AskingToken <--renew--> TokenShown      AskingToken --> Done, or SESSION_PASSWORD_NEEDED
//!      +--bot---> SigningInBot --> Done
//!
//!  SESSION_PASSWORD_NEEDED: AskingPassword --> PasswordNeeded --password--> CheckingPassword --> Done
//!                                                  |  ^ wrong                    |
//!                                          recover |  +--------------------------+
//!                                                  v
//!                                            AskingRecovery --> RecoveryCodeNeeded --code--> Recovering --> Done
//! ```
//!
//! The contract is that of every core: [`Login::handle_input`], then [`Login::poll_output`] until `None`. Codes, tokens and
//! passwords are wiped after use and never printed.

mod interface;
mod sent;
mod srp;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use grammers_tl_types as tl;
use model::Secret;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tl::enums::auth::{Authorization, LoginToken, SentCode};

use crate::call::RequestKey;
use crate::error;
use crate::rpc::{Reply, Rpc, RpcError, User};

pub use interface::{
    Again, Application, Ask, CodeWay, LoginError, LoginInput, LoginOutput, PasswordAgain,
    renew_after,
};
use sent::{Delivery, Sent};

/// Wrong codes until the login starts over.
const WRONG_CODES: u32 = 3;
/// Wrong passwords until the login starts over.
const WRONG_PASSWORDS: u32 = 3;
/// How often one login is sent to another data centre, or told to start again.
const MOVES: u32 = 4;
/// Tokens that are shown one after the other; at 30 s each some ten minutes.
const TOKENS: u32 = 20;

/// The login of one account.
pub struct Login {
    application: Application,
    rng: StdRng,
    state: State,
    beginning: Beginning,
    wrong_codes: u32,
    wrong_passwords: u32,
    moves: u32,
    tokens: u32,
    next_key: u32,
    /// The one request on its way, to be repeated elsewhere if need be.
    pending: Option<(RequestKey, Rpc)>,
    outputs: VecDeque<LoginOutput>,
}

/// How it began, to begin again when Telegram says so.
#[derive(Debug, Clone, PartialEq)]
enum Beginning {
    /// Digits without `+`.
    Phone(String),
    Scan,
    Bot(Secret<String>),
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
    /// Another way is asked for; the last code still holds.
    Resending {
        code: Sent,
    },
    SigningIn {
        code: Sent,
    },
    EmailNeeded {
        hash: String,
    },
    SendingEmail {
        hash: String,
    },
    EmailCodeNeeded {
        mail: Mail,
    },
    VerifyingEmail {
        mail: Mail,
    },
    AskingToken,
    TokenShown,
    SigningInBot,
    AskingPassword {
        again: Option<PasswordAgain>,
    },
    PasswordNeeded {
        password: Box<tl::types::account::Password>,
    },
    CheckingPassword,
    AskingRecovery {
        again: Option<Again>,
    },
    RecoveryCodeNeeded {
        email: String,
    },
    Recovering {
        email: String,
    },
    Done,
}

/// A code that was mailed to a new address.
#[derive(Debug, Clone, PartialEq)]
struct Mail {
    /// Names the login.
    hash: String,
    email: String,
    length: Option<u32>,
}

impl Login {
    /// Begins signed out. `seed` comes from the operating system: the proof of the password depends on it.
    pub fn new(application: Application, seed: [u8; 32]) -> Login {
        Login {
            application,
            rng: StdRng::from_seed(seed),
            state: State::SignedOut,
            beginning: Beginning::Scan,
            wrong_codes: 0,
            wrong_passwords: 0,
            moves: 0,
            tokens: 0,
            next_key: 0,
            pending: None,
            outputs: VecDeque::new(),
        }
    }

    /// Takes one input; then [`Login::poll_output`] until `None`.
    pub fn handle_input(&mut self, input: LoginInput) {
        match input {
            LoginInput::Phone(number) => self.begin(Beginning::Phone(number.digits().to_owned())),
            LoginInput::Scan => self.begin(Beginning::Scan),
            LoginInput::Bot(token) => {
                let token = Secret::new(token.expose().trim().to_owned());
                self.begin(Beginning::Bot(token));
            }
            LoginInput::Cancel => self.cancel(),
            LoginInput::Reply(key, result) => self.on_reply(key, result),
            LoginInput::Renew
            | LoginInput::Code(_)
            | LoginInput::Resend
            | LoginInput::Email(_)
            | LoginInput::Password(_)
            | LoginInput::Recover => self.on_user(input),
        }
    }

    /// Returns the next output.
    pub fn poll_output(&mut self) -> Option<LoginOutput> {
        self.outputs.pop_front()
    }

    fn begin(&mut self, beginning: Beginning) {
        self.beginning = beginning;
        (self.wrong_codes, self.wrong_passwords) = (0, 0);
        (self.moves, self.tokens) = (0, 0);
        self.restart(None);
    }

    /// Asks Telegram what the login begins with.
    fn restart(&mut self, again: Option<Again>) {
        match &self.beginning {
            Beginning::Phone(phone) => {
                let rpc = Rpc::SendCode {
                    phone: phone.clone(),
                    api_id: self.application.api_id,
                    api_hash: self.application.api_hash.clone(),
                };
                self.state = State::AskingCode { again };
                self.invoke(rpc);
            }
            Beginning::Scan => self.ask_token(),
            Beginning::Bot(token) => {
                let rpc = Rpc::ImportBotAuthorization {
                    api_id: self.application.api_id,
                    api_hash: self.application.api_hash.clone(),
                    token: token.clone(),
                };
                self.state = State::SigningInBot;
                self.invoke(rpc);
            }
        }
    }

    fn cancel(&mut self) {
        if !matches!(self.state, State::SignedOut | State::Done) {
            self.fail(LoginError::Cancelled);
        }
    }

    /// What the user typed or scanned; out of place, it is ignored.
    fn on_user(&mut self, input: LoginInput) {
        match (self.state.clone(), input) {
            (State::CodeNeeded { code }, LoginInput::Code(typed)) => {
                let rpc = Rpc::SignIn {
                    phone: self.phone(),
                    phone_code_hash: code.hash.clone(),
                    code: trimmed(&typed),
                    by_email: code.way == CodeWay::Email,
                };
                self.state = State::SigningIn { code };
                self.invoke(rpc);
            }
            (State::CodeNeeded { code }, LoginInput::Resend) => {
                if code.next.is_none() {
                    return self.need_code(code, Some(Again::NoOtherWay));
                }
                let rpc = Rpc::ResendCode {
                    phone: self.phone(),
                    phone_code_hash: code.hash.clone(),
                };
                self.state = State::Resending { code };
                self.invoke(rpc);
            }
            (State::EmailNeeded { hash }, LoginInput::Email(address)) => {
                let rpc = Rpc::SendVerifyEmailCode {
                    phone: self.phone(),
                    phone_code_hash: hash.clone(),
                    email: trimmed(&address),
                };
                self.state = State::SendingEmail { hash };
                self.invoke(rpc);
            }
            (State::EmailCodeNeeded { mail }, LoginInput::Code(typed)) => {
                let rpc = Rpc::VerifyEmail {
                    phone: self.phone(),
                    phone_code_hash: mail.hash.clone(),
                    code: trimmed(&typed),
                };
                self.state = State::VerifyingEmail { mail };
                self.invoke(rpc);
            }
            // Another address, or the same for another mail.
            (State::EmailCodeNeeded { mail }, LoginInput::Resend) => {
                self.need_email(mail.hash, false);
            }
            (State::TokenShown, LoginInput::Renew) => self.ask_token(),
            (State::PasswordNeeded { password }, LoginInput::Password(typed)) => {
                match srp::prove(&password, &typed, &mut self.rng) {
                    Some(rpc) => {
                        self.state = State::CheckingPassword;
                        self.invoke(rpc);
                    }
                    None => self.fail(LoginError::PasswordAlgorithm),
                }
            }
            (State::PasswordNeeded { password }, LoginInput::Recover) => {
                if password.has_recovery {
                    self.ask_recovery(None);
                } else {
                    self.need_password(password, Some(PasswordAgain::NoRecovery));
                }
            }
            (State::RecoveryCodeNeeded { email }, LoginInput::Code(typed)) => {
                self.state = State::Recovering { email };
                self.invoke(Rpc::RecoverPassword {
                    code: trimmed(&typed),
                });
            }
            (State::RecoveryCodeNeeded { .. }, LoginInput::Resend) => {
                self.ask_recovery(Some(Again::Resent));
            }
            (
                State::SignedOut
                | State::AskingCode { .. }
                | State::CodeNeeded { .. }
                | State::Resending { .. }
                | State::SigningIn { .. }
                | State::EmailNeeded { .. }
                | State::SendingEmail { .. }
                | State::EmailCodeNeeded { .. }
                | State::VerifyingEmail { .. }
                | State::AskingToken
                | State::TokenShown
                | State::SigningInBot
                | State::AskingPassword { .. }
                | State::PasswordNeeded { .. }
                | State::CheckingPassword
                | State::AskingRecovery { .. }
                | State::RecoveryCodeNeeded { .. }
                | State::Recovering { .. }
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
            (State::Resending { .. }, Reply::SentCode(sent)) => {
                self.on_sent_code(*sent, Some(Again::Resent));
            }
            (State::VerifyingEmail { .. }, Reply::SentCode(sent)) => self.on_sent_code(*sent, None),
            (State::SendingEmail { hash }, Reply::MailedCode { email, length }) => {
                let mail = Mail {
                    hash,
                    email,
                    length,
                };
                self.need_email_code(mail, None);
            }
            (State::AskingToken, Reply::LoginToken(token)) => self.on_token(*token),
            (
                State::SigningIn { .. }
                | State::SigningInBot
                | State::CheckingPassword
                | State::Recovering { .. },
                Reply::Authorization(authorization),
            ) => self.on_authorization(*authorization),
            (State::AskingPassword { again }, Reply::Password(password)) => {
                self.need_password(password, again);
            }
            (State::AskingRecovery { again }, Reply::MailedCode { email, .. }) => {
                self.need_recovery_code(email, again);
            }
            (
                State::SignedOut
                | State::AskingCode { .. }
                | State::CodeNeeded { .. }
                | State::Resending { .. }
                | State::SigningIn { .. }
                | State::EmailNeeded { .. }
                | State::SendingEmail { .. }
                | State::EmailCodeNeeded { .. }
                | State::VerifyingEmail { .. }
                | State::AskingToken
                | State::TokenShown
                | State::SigningInBot
                | State::AskingPassword { .. }
                | State::PasswordNeeded { .. }
                | State::CheckingPassword
                | State::AskingRecovery { .. }
                | State::RecoveryCodeNeeded { .. }
                | State::Recovering { .. }
                | State::Done,
                _,
            ) => self.fail(LoginError::Unexpected),
        }
    }

    fn on_sent_code(&mut self, sent: SentCode, again: Option<Again>) {
        match sent {
            SentCode::Code(code) => match Delivery::read(code) {
                Delivery::Sent(code) => self.need_code(code, again),
                Delivery::EmailFirst(hash) => self.need_email(hash, false),
            },
            SentCode::Success(success) => self.on_authorization(success.authorization),
            SentCode::PaymentRequired(_) => self.fail(LoginError::PaymentNeeded),
        }
    }

    fn on_token(&mut self, token: LoginToken) {
        match token {
            LoginToken::Token(shown) => {
                self.state = State::TokenShown;
                let token = Secret::new(shown.token);
                let expires = shown.expires;
                self.ask(Ask::Scan { token, expires });
            }
            // Accepted, by an account that lives elsewhere.
            LoginToken::MigrateTo(to) if self.moves < MOVES => {
                self.moves += 1;
                self.outputs.push_back(LoginOutput::UseDc(to.dc_id));
                let token = Secret::new(to.token);
                self.invoke(Rpc::ImportLoginToken { token });
            }
            LoginToken::MigrateTo(_) => self.fail(LoginError::Unexpected),
            LoginToken::Success(success) => self.on_authorization(success.authorization),
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
            return self.restart(None);
        }
        match (
            self.state.clone(),
            error.name_and_number().map(|(name, _)| name),
        ) {
            (
                State::SigningIn { .. } | State::AskingToken | State::VerifyingEmail { .. },
                Some("SESSION_PASSWORD_NEEDED"),
            ) => self.ask_password(None),
            (
                State::SigningIn { code },
                Some("PHONE_CODE_INVALID" | "PHONE_CODE_EMPTY" | "CODE_INVALID"),
            ) => self.wrong_code(|login| login.need_code(code, Some(Again::Wrong))),
            (
                State::SigningIn { .. } | State::Resending { .. },
                Some("PHONE_CODE_EXPIRED" | "EMAIL_VERIFY_EXPIRED"),
            ) => self.restart(Some(Again::Expired)),
            (State::Resending { code }, Some("SEND_CODE_UNAVAILABLE")) => {
                self.need_code(code, Some(Again::NoOtherWay));
            }
            (
                State::SendingEmail { hash },
                Some("EMAIL_INVALID" | "EMAIL_NOT_ALLOWED" | "EMAIL_NOT_SETUP"),
            ) => self.need_email(hash, true),
            (State::VerifyingEmail { mail }, Some("EMAIL_INVALID" | "EMAIL_NOT_ALLOWED")) => {
                self.need_email(mail.hash, true);
            }
            (State::VerifyingEmail { mail }, Some("CODE_INVALID" | "CODE_EMPTY")) => {
                self.wrong_code(|login| login.need_email_code(mail, Some(Again::Wrong)));
            }
            (State::VerifyingEmail { mail }, Some("EMAIL_VERIFY_EXPIRED")) => {
                self.need_email(mail.hash, false);
            }
            // Too late, or taken already: another one is made.
            (
                State::AskingToken,
                Some("AUTH_TOKEN_EXPIRED" | "AUTH_TOKEN_INVALID" | "AUTH_TOKEN_ALREADY_ACCEPTED"),
            ) => self.ask_token(),
            (
                State::SigningInBot,
                Some("ACCESS_TOKEN_INVALID" | "ACCESS_TOKEN_EXPIRED" | "BOT_TOKEN_INVALID"),
            ) => self.fail(LoginError::BadToken),
            (State::CheckingPassword, Some("PASSWORD_HASH_INVALID")) => {
                self.wrong_passwords += 1;
                if self.wrong_passwords == WRONG_PASSWORDS {
                    return self.fail(LoginError::WrongPasswords);
                }
                self.ask_password(Some(PasswordAgain::Wrong));
            }
            // The parameters of the proof are used up or outdated.
            (State::CheckingPassword, Some("SRP_ID_INVALID" | "SRP_PASSWORD_CHANGED")) => {
                self.ask_password(Some(PasswordAgain::Changed));
            }
            (
                State::AskingRecovery { .. } | State::Recovering { .. },
                Some("PASSWORD_RECOVERY_NA" | "PASSWORD_EMPTY"),
            ) => self.ask_password(Some(PasswordAgain::NoRecovery)),
            (State::Recovering { email }, Some("CODE_INVALID" | "CODE_EMPTY")) => {
                self.wrong_code(|login| login.need_recovery_code(email, Some(Again::Wrong)));
            }
            (State::Recovering { .. }, Some("PASSWORD_RECOVERY_EXPIRED")) => {
                self.ask_recovery(Some(Again::Expired));
            }
            (_, Some("PHONE_NUMBER_INVALID")) => self.fail(LoginError::BadNumber),
            (_, Some("PHONE_NUMBER_BANNED" | "USER_DEACTIVATED_BAN")) => {
                self.fail(LoginError::Banned);
            }
            (_, Some("USER_DEACTIVATED")) => self.fail(LoginError::Refused(error)),
            (_, Some("PHONE_NUMBER_UNOCCUPIED")) => self.fail(LoginError::NoAccount),
            (_, None) => self.fail(LoginError::Unreachable(error)),
            _ if error::is_unauthorized(&error) => self.fail(LoginError::OldKey(error)),
            _ => match error::flood_wait(&error) {
                Some(wait) => self.fail(LoginError::Wait(wait)),
                None => self.fail(LoginError::Refused(error)),
            },
        }
    }

    fn ask_token(&mut self) {
        if self.tokens == TOKENS {
            return self.fail(LoginError::NotScanned);
        }
        self.tokens += 1;
        self.state = State::AskingToken;
        self.invoke(Rpc::ExportLoginToken {
            api_id: self.application.api_id,
            api_hash: self.application.api_hash.clone(),
        });
    }

    fn ask_password(&mut self, again: Option<PasswordAgain>) {
        self.state = State::AskingPassword { again };
        self.invoke(Rpc::GetPassword);
    }

    fn ask_recovery(&mut self, again: Option<Again>) {
        self.state = State::AskingRecovery { again };
        self.invoke(Rpc::RequestPasswordRecovery);
    }

    /// Counts a wrong code: the third ends the login, else it is asked for again.
    fn wrong_code(&mut self, ask_again: impl FnOnce(&mut Self)) {
        self.wrong_codes += 1;
        if self.wrong_codes == WRONG_CODES {
            return self.fail(LoginError::WrongCodes);
        }
        ask_again(self);
    }

    fn need_code(&mut self, code: Sent, again: Option<Again>) {
        let ask = code.ask(again);
        self.state = State::CodeNeeded { code };
        self.ask(ask);
    }

    fn need_email(&mut self, hash: String, refused: bool) {
        self.state = State::EmailNeeded { hash };
        self.ask(Ask::Email { refused });
    }

    fn need_email_code(&mut self, mail: Mail, again: Option<Again>) {
        let ask = Ask::EmailCode {
            email: mail.email.clone(),
            length: mail.length,
            again,
        };
        self.state = State::EmailCodeNeeded { mail };
        self.ask(ask);
    }

    fn need_password(
        &mut self,
        password: Box<tl::types::account::Password>,
        again: Option<PasswordAgain>,
    ) {
        let ask = Ask::Password {
            hint: password.hint.clone().unwrap_or_default(),
            recovery: password.has_recovery,
            again,
        };
        self.state = State::PasswordNeeded { password };
        self.ask(ask);
    }

    fn need_recovery_code(&mut self, email: String, again: Option<Again>) {
        let ask = Ask::RecoveryCode {
            email: email.clone(),
            again,
        };
        self.state = State::RecoveryCodeNeeded { email };
        self.ask(ask);
    }

    fn ask(&mut self, ask: Ask) {
        self.outputs.push_back(LoginOutput::Ask(ask));
    }

    fn phone(&self) -> String {
        match &self.beginning {
            Beginning::Phone(phone) => phone.clone(),
            Beginning::Scan | Beginning::Bot(_) => String::new(),
        }
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

fn trimmed(typed: &Secret<String>) -> Secret<String> {
    Secret::new(typed.expose().trim().to_owned())
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
