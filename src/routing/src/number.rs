//! Whom a number of the PBX means.
//!
//! The trunk's inbound rules bring the number into its form. Then its Caller ID rules say whom it means: a rule of one tag is read
//! backwards as a pattern. What no rule matches is read as people usually write it.

use model::{BareDigits, Cause, NumberError, Peer, Piece, Reason, Rule, Tag, TrunkKind, TrunkSpec};

use crate::DialPlan;

/// Returns whom the PBX dialled: the user part of the Request-URI, or of To when the Request-URI names the trunk's own login.
/// `inbound` are the trunk's inbound rules, and `rules` those of the route, if they have any.
pub fn called_peer(
    trunk: &TrunkSpec,
    inbound: Option<&DialPlan>,
    rules: Option<&DialPlan>,
    request_user: &str,
    to_user: &str,
) -> Result<Peer, Cause> {
    let dialled = dialled(trunk, request_user, to_user);
    let plans = [inbound, rules];
    let mut plans = plans.into_iter().flatten();
    let rewritten = plans.try_fold(dialled.to_owned(), |number, plan| {
        plan.apply(&number).filter(|number| !number.is_empty())
    });
    let dialled = rewritten.ok_or(Cause::new(Reason::NotFound))?;
    let dialled = dialled.as_str();
    let by_rule = trunk
        .caller_id
        .rules()
        .iter()
        .find_map(|rule| read_by(rule, dialled));
    match by_rule {
        Some(peer) => Ok(peer),
        None => {
            read_as_written(dialled, trunk.bare_digits).map_err(|_| Cause::new(Reason::NotFound))
        }
    }
}

/// What the PBX dialled: see [`called_peer`].
pub(crate) fn dialled<'a>(trunk: &TrunkSpec, request_user: &'a str, to_user: &'a str) -> &'a str {
    let is_login = match &trunk.kind {
        TrunkKind::InboundRegister { login, .. } | TrunkKind::OutboundRegister { login, .. } => {
            login == request_user
        }
        TrunkKind::Peer { .. } => false,
    };
    if is_login { to_user } else { request_user }.trim()
}

/// Reads a number by the rule that may have made it. A rule without a tag, or with several, names nobody in particular.
fn read_by(rule: &Rule, dialled: &str) -> Option<Peer> {
    let (before, tag, after) = match rule.pieces() {
        [Piece::Tag(tag)] => ("", *tag, ""),
        [Piece::Text(before), Piece::Tag(tag)] => (before.as_str(), *tag, ""),
        [Piece::Tag(tag), Piece::Text(after)] => ("", *tag, after.as_str()),
        [Piece::Text(before), Piece::Tag(tag), Piece::Text(after)] => {
            (before.as_str(), *tag, after.as_str())
        }
        _ => return None,
    };
    let value = dialled.strip_prefix(before)?.strip_suffix(after)?;
    match tag {
        Tag::Phone => phone(value).ok(),
        // The few names of three characters are left to what they look like.
        Tag::Username if value.len() > 3 => Peer::from_username(value).ok(),
        Tag::UserId => Peer::from_user_id(value).ok(),
        Tag::Username | Tag::Name | Tag::NameAscii => None,
    }
}

/// Reads a number that no rule matches.
fn read_as_written(dialled: &str, bare: BareDigits) -> Result<Peer, NumberError> {
    if let Some(name) = dialled
        .strip_prefix("tg#")
        .or_else(|| dialled.strip_prefix('@'))
    {
        return Peer::from_username(name);
    }
    if let Some(number) = dialled.strip_prefix('+') {
        return phone(number);
    }
    if !dialled.bytes().all(|b| b.is_ascii_digit()) {
        return Peer::from_username(dialled);
    }
    match (dialled.strip_prefix("00"), bare) {
        (Some(number), _) if number.len() >= 7 => phone(number),
        (None, BareDigits::Phone) if (7..=15).contains(&dialled.len()) => phone(dialled),
        (None, BareDigits::UserId) if (7..=15).contains(&dialled.len()) => {
            Peer::from_user_id(dialled)
        }
        _ => Err(NumberError),
    }
}

/// The digits of an international number, with nothing before them.
fn phone(digits: &str) -> Result<Peer, NumberError> {
    if digits.starts_with('+') {
        return Err(NumberError);
    }
    digits.parse().map(Peer::Phone)
}
