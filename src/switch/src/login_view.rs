//! What whoever logs an account in is asked next, as `/api/v1` shows it and the command line reads it back.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Secret;
use net::telegram::{Again, Ask, CodeWay, PasswordAgain, User};
use qrcode::render::svg;
use qrcode::types::QrError;
use qrcode::{EcLevel, QrCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How wide and high the picture of a QR code is at least, in its own units.
const PICTURE: u32 = 240;

/// What comes next in a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LoginStep {
    /// A device of the account scans the QR code; it is another one when this one expires.
    Scan,
    /// The login code.
    Code,
    /// An e-mail address for login codes.
    Email,
    /// The code that was mailed to that address.
    EmailCode,
    /// The cloud password.
    Password,
    /// The code that was mailed to recover the cloud password.
    RecoveryCode,
    /// Nothing: the account is logged in.
    Done,
}

/// Where a login is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct LoginView {
    /// What comes next.
    pub(crate) step: LoginStep,
    /// When the login is given up, in seconds since 1970.
    pub(crate) ends: u64,
    /// The QR code, of a scan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) qr_svg: Option<String>,
    /// The link that the QR code stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) qr_url: Option<String>,
    /// When it is worth nothing any more by Telegram's clock, in seconds since 1970; there is another one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<i32>,
    /// How the code travels: `app`, `sms`, `call`, `missed_call`, `email` or `fragment`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) way: Option<String>,
    /// How it can be sent next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// How long after this answer, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resend_after_s: Option<u64>,
    /// How many characters it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) length: Option<u32>,
    /// The address that it went to, with stars in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    /// The owner's own hint at the cloud password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// Whether a code can be mailed in place of the cloud password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recovery: Option<bool>,
    /// Why it is asked for again: `wrong`, `expired`, `resent`, `no_other_way`, `changed`, `no_recovery` or `refused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) again: Option<String>,
    /// Who is logged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<AccountView>,
}

/// Who is logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct AccountView {
    /// The user id.
    pub(crate) id: i64,
    /// The username, without `@`.
    pub(crate) username: Option<String>,
    /// The number, with `+`.
    pub(crate) phone: Option<String>,
    /// Whether it is a bot, which cannot call.
    pub(crate) is_bot: bool,
}

/// What an app takes as the token of a login.
pub(crate) fn link(token: &[u8]) -> String {
    format!("tg://login?token={}", URL_SAFE_NO_PAD.encode(token))
}

/// The QR code of a link.
pub(crate) fn code(link: &str) -> Result<QrCode, QrError> {
    QrCode::with_error_correction_level(link, EcLevel::L)
}

const WAYS: [(CodeWay, &str); 6] = [
    (CodeWay::App, "app"),
    (CodeWay::Sms, "sms"),
    (CodeWay::Call, "call"),
    (CodeWay::MissedCall, "missed_call"),
    (CodeWay::Email, "email"),
    (CodeWay::Fragment, "fragment"),
];
const AGAIN: [(Again, &str); 4] = [
    (Again::Wrong, "wrong"),
    (Again::Expired, "expired"),
    (Again::Resent, "resent"),
    (Again::NoOtherWay, "no_other_way"),
];
const PASSWORD_AGAIN: [(PasswordAgain, &str); 3] = [
    (PasswordAgain::Wrong, "wrong"),
    (PasswordAgain::Changed, "changed"),
    (PasswordAgain::NoRecovery, "no_recovery"),
];

fn word<T: Copy + PartialEq>(table: &[(T, &str)], of: Option<T>) -> Option<String> {
    let found = table.iter().find(|(known, _)| Some(*known) == of);
    found.map(|(_, word)| (*word).to_owned())
}

fn meant<T: Copy>(table: &[(T, &str)], word: Option<&String>) -> Option<T> {
    let found = table
        .iter()
        .find(|(_, known)| word.is_some_and(|word| word == known));
    found.map(|(meant, _)| *meant)
}

impl LoginView {
    fn bare(step: LoginStep, ends: u64) -> Self {
        Self {
            step,
            ends,
            qr_svg: None,
            qr_url: None,
            expires: None,
            way: None,
            next: None,
            resend_after_s: None,
            length: None,
            email: None,
            hint: None,
            recovery: None,
            again: None,
            account: None,
        }
    }

    /// What is asked, until `ends`.
    pub(crate) fn asking(ask: Ask, ends: u64) -> Result<Self, QrError> {
        Ok(match ask {
            Ask::Code {
                way,
                email,
                length,
                next,
                resend_after,
                again,
            } => Self {
                way: word(&WAYS, Some(way)),
                email,
                length,
                next: word(&WAYS, next),
                resend_after_s: resend_after.map(|wait| wait.as_secs()),
                again: word(&AGAIN, again),
                ..Self::bare(LoginStep::Code, ends)
            },
            Ask::Scan { token, expires } => {
                let link = link(token.expose());
                let code = code(&link)?;
                let mut picture = code.render::<svg::Color<'_>>();
                let svg = picture.min_dimensions(PICTURE, PICTURE).build();
                Self {
                    qr_svg: Some(svg),
                    qr_url: Some(link),
                    expires: Some(expires),
                    ..Self::bare(LoginStep::Scan, ends)
                }
            }
            Ask::Email { refused } => Self {
                again: refused.then(|| "refused".to_owned()),
                ..Self::bare(LoginStep::Email, ends)
            },
            Ask::EmailCode {
                email,
                length,
                again,
            } => Self {
                email: Some(email),
                length,
                again: word(&AGAIN, again),
                ..Self::bare(LoginStep::EmailCode, ends)
            },
            Ask::Password {
                hint,
                recovery,
                again,
            } => Self {
                hint: Some(hint),
                recovery: Some(recovery),
                again: word(&PASSWORD_AGAIN, again),
                ..Self::bare(LoginStep::Password, ends)
            },
            Ask::RecoveryCode { email, again } => Self {
                email: Some(email),
                again: word(&AGAIN, again),
                ..Self::bare(LoginStep::RecoveryCode, ends)
            },
        })
    }

    /// The account is logged in.
    pub(crate) fn done(user: &User, ends: u64) -> Self {
        Self {
            account: Some(AccountView {
                id: user.id,
                username: user.username.clone(),
                phone: user.phone.as_ref().map(|digits| format!("+{digits}")),
                is_bot: user.is_bot,
            }),
            ..Self::bare(LoginStep::Done, ends)
        }
    }

    /// The question again, for whoever answers it at a terminal; none where there is nothing to be typed.
    pub(crate) fn question(&self) -> Option<Ask> {
        let again = meant(&AGAIN, self.again.as_ref());
        let email = self.email.clone().unwrap_or_default();
        Some(match self.step {
            LoginStep::Scan | LoginStep::Done => return None,
            LoginStep::Code => Ask::Code {
                way: meant(&WAYS, self.way.as_ref())?,
                email: self.email.clone(),
                length: self.length,
                next: meant(&WAYS, self.next.as_ref()),
                resend_after: self.resend_after_s.map(Duration::from_secs),
                again,
            },
            LoginStep::Email => Ask::Email {
                refused: self.again.is_some(),
            },
            LoginStep::EmailCode => Ask::EmailCode {
                email,
                length: self.length,
                again,
            },
            LoginStep::Password => Ask::Password {
                hint: self.hint.clone().unwrap_or_default(),
                recovery: self.recovery.unwrap_or_default(),
                again: meant(&PASSWORD_AGAIN, self.again.as_ref()),
            },
            LoginStep::RecoveryCode => Ask::RecoveryCode { email, again },
        })
    }
}

/// How a login begins, as `/api/v1` is told.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedLogin {
    /// By which way.
    pub(crate) method: Method,
    /// The account's number with its country code; without, the one of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) phone: Option<String>,
    /// The token of a bot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) token: Option<Secret<String>>,
    /// Keys of a private server, as the command line takes them; only with `telegram.test_dc`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(ignore)]
    pub(crate) test_keys: Vec<Secret<String>>,
}

/// A way to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Method {
    /// A device of the account scans a QR code.
    Qr,
    /// Telegram sends a code.
    Phone,
    /// A bot has a token.
    Bot,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_read_back() {
        let asks = [
            Ask::Code {
                way: CodeWay::MissedCall,
                email: None,
                length: Some(5),
                next: Some(CodeWay::Fragment),
                resend_after: Some(Duration::from_secs(60)),
                again: Some(Again::Expired),
            },
            Ask::Email { refused: true },
            Ask::EmailCode {
                email: "a***@example.org".into(),
                length: None,
                again: Some(Again::Wrong),
            },
            Ask::Password {
                hint: "dog".into(),
                recovery: true,
                again: Some(PasswordAgain::Changed),
            },
            Ask::RecoveryCode {
                email: "a***@example.org".into(),
                again: None,
            },
        ];
        for ask in asks {
            let view = LoginView::asking(ask.clone(), 7).unwrap();
            let text = serde_json::to_string(&view).unwrap();
            let view: LoginView = serde_json::from_str(&text).unwrap();
            assert_eq!(view.question(), Some(ask));
        }
    }

    #[test]
    fn the_picture_of_a_scan_is_the_link() {
        let token = Secret::new(vec![0xfb; 32]);
        let view = LoginView::asking(Ask::Scan { token, expires: 9 }, 7).unwrap();
        let (svg, url) = (view.qr_svg.unwrap(), view.qr_url.unwrap());
        assert!(svg.starts_with("<?xml") && svg.contains("<svg"), "{svg}");
        assert!(!svg.contains("script"), "{svg}");
        assert_eq!(
            url,
            "tg://login?token=-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s"
        );
        assert_eq!(view.step, LoginStep::Scan);
        assert_eq!(
            LoginView::asking(Ask::Email { refused: false }, 7)
                .unwrap()
                .again,
            None
        );
    }
}
