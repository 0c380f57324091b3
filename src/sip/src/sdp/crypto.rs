//! The keys of SRTP in a description: `a=crypto` (SDES, RFC 4568), also in offers that leave the choice (RFC 8643).
//!
//! A line that asks for what we do not do is as good as none: an unknown suite or session parameter, packets without encryption or
//! tag, several keys, a key of the wrong length.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use model::{SrtpKey, SrtpKeys, SrtpSuite};
use zeroize::Zeroizing;

use super::{Media, OfferError};

/// Lines looked at in one media line; nobody has more suites.
const MAX_LINES: usize = 16;
/// The longest key identifier (RFC 4568 section 6.1), octets.
const MAX_MKI: u8 = 128;
/// The shortest replay window that may be asked for (RFC 4568 section 6.3.6).
const MIN_WINDOW: u32 = 64;

/// With padding, and without, as some devices write it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether our end encrypts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Security {
    /// RTP as it is: an offer that demands SRTP is refused, one that allows it is answered without.
    #[default]
    Plain,
    /// SRTP.
    Srtp {
        /// Whether there is no call without it.
        required: bool,
        /// What we would encrypt with, a key for each suite, in the order of our offers.
        keys: Box<[SrtpKey; SrtpSuite::ALL.len()]>,
    },
}

impl Security {
    /// SRTP with new keys; `fill` writes random octets from a source that nobody can guess.
    pub fn srtp(required: bool, mut fill: impl FnMut(&mut [u8])) -> Self {
        let keys = SrtpSuite::ALL.map(|suite| SrtpKey::generate(suite, &mut fill));
        let keys = Box::new(keys);
        Self::Srtp { required, keys }
    }
}

/// The keys that were agreed on, and the line they stand in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crypto {
    /// The tag of the line.
    pub tag: u32,
    /// The keys.
    pub keys: SrtpKeys,
}

/// One line that can be used.
pub(super) struct Line {
    tag: u32,
    key: SrtpKey,
    mki_len: u8,
}

/// Whether the media line demands SRTP by its protocol.
pub(super) fn is_savp(media: &Media) -> bool {
    media.protocol.eq_ignore_ascii_case("RTP/SAVP")
}

/// What an offered media line is answered with: keys, or none for plain RTP.
///
/// `current` are the keys in use. A peer that keeps its key keeps ours; one with a new key gets a new one.
pub(super) fn choose(
    media: &Media,
    security: &Security,
    current: Option<&Crypto>,
) -> Result<Option<Crypto>, OfferError> {
    let Security::Srtp { required, keys } = security else {
        let demanded = is_savp(media);
        return if demanded {
            Err(OfferError::Encrypted)
        } else {
            Ok(None)
        };
    };
    // RFC 4568 s.5.1.2: the first that we support, for the offerer's order is its preference.
    let Some(Line { tag, key, mki_len }) = lines(media).next() else {
        return match (is_savp(media), required) {
            (true, _) => Err(OfferError::NoUsableKey),
            (false, true) => Err(OfferError::NotEncrypted),
            (false, false) => Ok(None),
        };
    };
    let kept = current.filter(|current| current.keys.receive == key);
    let own = keys.iter().find(|own| own.suite() == key.suite());
    let send = kept.map(|current| &current.keys.send).or(own);
    let send = send.ok_or(OfferError::NoUsableKey)?.clone();
    Ok(Some(Crypto {
        tag,
        keys: SrtpKeys {
            send,
            receive: key,
            mki_len,
        },
    }))
}

/// What an answer makes of the keys in our offer.
pub(super) fn accept(ours: &Media, theirs: &Media) -> Result<Option<Crypto>, OfferError> {
    let mut answered = theirs.values("crypto").peekable();
    let offers_keys = ours.values("crypto").next().is_some();
    if !offers_keys || answered.peek().is_none() {
        // RFC 8643 s.3: an answer without keys is one for plain RTP, where we left the choice.
        let plain = !is_savp(ours) && !is_savp(theirs);
        return if plain {
            Ok(None)
        } else {
            Err(OfferError::NotEncrypted)
        };
    }
    let found = lines(theirs).find_map(|line| {
        let same = |own: &Line| own.tag == line.tag && own.key.suite() == line.key.suite();
        let own = lines(ours).find(same)?;
        Some(Crypto {
            tag: line.tag,
            keys: SrtpKeys {
                send: own.key,
                receive: line.key,
                mki_len: line.mki_len,
            },
        })
    });
    found.map(Some).ok_or(OfferError::NoUsableKey)
}

/// Writes the lines of an offer, tags from 1.
pub(super) fn push_offer(text: &mut String, security: &Security) {
    if let Security::Srtp { keys, .. } = security {
        for (key, tag) in keys.iter().zip(1..) {
            push(text, tag, key);
        }
    }
}

/// Writes the line of an answer.
pub(super) fn push_answer(text: &mut String, crypto: &Crypto) {
    push(text, crypto.tag, &crypto.keys.send);
}

fn push(text: &mut String, tag: u32, key: &SrtpKey) {
    let secret = Zeroizing::new(BASE64.encode(key.octets()));
    let (suite, secret) = (key.suite().name(), secret.as_str());
    let _ = write!(text, "a=crypto:{tag} {suite} inline:{secret}\r\n");
}

/// The lines of a media line that can be used, in order.
fn lines(media: &Media) -> impl Iterator<Item = Line> + '_ {
    media.values("crypto").take(MAX_LINES).filter_map(line)
}

/// `tag suite inline:key||salt[|lifetime][|MKI:length] [parameter ...]` (RFC 4568 section 9.2)
fn line(value: &str) -> Option<Line> {
    let mut words = value.split_ascii_whitespace();
    let tag = number(words.next()?).filter(|tag| *tag < 1_000_000_000)?;
    let name = words.next()?;
    let mut suites = SrtpSuite::ALL.into_iter();
    let suite = suites.find(|suite| suite.name() == name)?;
    let (key, mki_len) = key(suite, words.next()?)?;
    let fine = words.all(is_harmless);
    fine.then_some(Line { tag, key, mki_len })
}

fn key(suite: SrtpSuite, parameters: &str) -> Option<(SrtpKey, u8)> {
    // With a second key, behind a `;`, one would have to watch which of them is meant.
    let mut fields = parameters.strip_prefix("inline:")?.split('|');
    let secret = Zeroizing::new(BASE64.decode(fields.next()?).ok()?);
    let key = SrtpKey::new(suite, &secret)?;
    let mut rest = fields.next();
    if let Some(lifetime) = rest.filter(|field| !field.contains(':')) {
        // No call of ours outlives a key: 2^31 packets are more than a year.
        let exponent = lifetime.strip_prefix("2^").unwrap_or(lifetime);
        exponent.parse::<u64>().ok().filter(|number| *number > 0)?;
        rest = fields.next();
    }
    let mki_len = match rest {
        Some(mki) => {
            let (_, length) = mki.split_once(':')?;
            let length = number(length)?;
            u8::try_from(length)
                .ok()
                .filter(|length| (1..=MAX_MKI).contains(length))?
        }
        None => 0,
    };
    fields.next().is_none().then_some((key, mki_len))
}

/// Whether a session parameter may be passed over (RFC 4568 section 6.3).
fn is_harmless(parameter: &str) -> bool {
    match parameter.split_once('=') {
        Some(("KDR", rate)) => number(rate) == Some(0),
        // A hint; our window is as large as any.
        Some(("WSH", window)) => number(window).is_some_and(|window| window >= MIN_WINDOW),
        // RFC 4568 s.6.3.7: what begins so may be ignored by those who do not know it.
        _ => parameter.starts_with('-'),
    }
}

/// Digits without leading zeros.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let leading = text.len() > 1 && text.starts_with('0');
    text.parse().ok().filter(|_| digits && !leading)
}
