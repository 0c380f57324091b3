//! Writes descriptions.

use std::fmt::Write as _;
use std::net::IpAddr;

use bytes::Bytes;
use model::Codec;

use super::crypto::{self, Security};
use super::{Agreed, Direction, LocalMedia, Media, parse};

/// The packet time of our offers, in ms.
const PTIME: u8 = 20;
/// The same when L16 leads our list: 20 ms of it are more than a packet of the Ethernet holds.
const PTIME_L16: u8 = 10;
/// The payload types we offer Opus and L16 at.
const OPUS: u8 = 107;
const L16: u8 = 108;
/// The payload types we offer telephone-event at, by clock rate.
const DTMF_8K: u8 = 101;
const DTMF_48K: u8 = 110;

/// RTP as it is (RFC 3551), and encrypted (RFC 3711).
const AVP: &str = "RTP/AVP";
const SAVP: &str = "RTP/SAVP";

/// Writes an offer of one audio line, codecs in the given order.
///
/// Where SRTP is a matter of choice it is RTP/AVP with keys (RFC 8643): two media lines, one of each kind, are refused or half
/// understood by most, and a peer without SRTP passes over the attribute.
pub fn offer(local: &LocalMedia, codecs: &[Codec]) -> Bytes {
    let mut text = session(local);
    push_offer(&mut text, local, codecs, Direction::SendRecv);
    text.into()
}

/// Writes a further offer of the same session: `previous` is the last description we sent. Returns it with its version.
///
/// RFC 3264 section 8: media lines never go away, and the version grows when anything else changed.
pub fn reoffer(
    previous: &[u8],
    local: &LocalMedia,
    codecs: &[Codec],
    direction: Direction,
) -> (Bytes, u64) {
    let before = parse(previous).unwrap_or_default();
    settle_version(previous, local, |local| {
        let mut text = session(local);
        let mut written = false;
        for media in &before.media {
            if is_live_audio(media) && !written {
                push_offer(&mut text, local, codecs, direction);
                written = true;
            } else {
                push_refused(&mut text, media);
            }
        }
        if !written {
            push_offer(&mut text, local, codecs, direction);
        }
        text
    })
}

/// Writes with the current version, and once more with the next one when that differs from what was sent before.
pub(super) fn settle_version(
    previous: &[u8],
    local: &LocalMedia,
    write: impl Fn(&LocalMedia) -> String,
) -> (Bytes, u64) {
    let same = write(local);
    if same.as_bytes() == previous {
        return (same.into(), local.version);
    }
    let next = LocalMedia {
        version: local.version.wrapping_add(1),
        ..local.clone()
    };
    (write(&next).into(), next.version)
}

pub(super) fn is_live_audio(media: &Media) -> bool {
    media.port != 0
        && media.kind.eq_ignore_ascii_case("audio")
        && (media.protocol.eq_ignore_ascii_case(AVP) || media.protocol.eq_ignore_ascii_case(SAVP))
}

pub(super) fn session(local: &LocalMedia) -> String {
    let address = local.address.ip().to_canonical();
    let family = match address {
        IpAddr::V4(_) => "IP4",
        IpAddr::V6(_) => "IP6",
    };
    let (id, version) = (local.session_id, local.version);
    format!(
        "v=0\r\no=- {id} {version} IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n"
    )
}

fn push_offer(text: &mut String, local: &LocalMedia, codecs: &[Codec], direction: Direction) {
    let mut formats: Vec<(u8, String)> = Vec::new();
    let mut events: Vec<(u8, String)> = Vec::new();
    for &codec in codecs {
        let dynamic = if codec == Codec::L16 { L16 } else { OPUS };
        let payload_type = codec.static_payload_type().unwrap_or(dynamic);
        if formats.iter().any(|(pt, _)| *pt == payload_type) {
            continue;
        }
        formats.push((payload_type, codec_lines(codec, payload_type)));
        let event = match codec.clock_rate() {
            48_000 => DTMF_48K,
            _ => DTMF_8K,
        };
        if events.iter().all(|(pt, _)| *pt != event) {
            events.push((event, event_lines(event, codec.clock_rate())));
        }
    }
    formats.append(&mut events);
    let ptime = codecs.first().map_or(PTIME, |codec| usual_ptime(*codec));
    let protocol = match local.security {
        Security::Srtp { required: true, .. } => SAVP,
        Security::Srtp {
            required: false, ..
        }
        | Security::Plain => AVP,
    };
    push_audio(text, local.address.port(), protocol, &formats);
    crypto::push_offer(text, &local.security);
    push_times(text, ptime, direction);
}

/// The packet time where nobody asks for another, in ms.
pub(super) fn usual_ptime(codec: Codec) -> u8 {
    match codec {
        Codec::L16 => PTIME_L16,
        Codec::Alaw | Codec::Mulaw | Codec::Opus | Codec::G722 => PTIME,
    }
}

/// Writes the answer to an audio line, with its protocol.
pub(super) fn push_answer(text: &mut String, local: &LocalMedia, offered: &Media, agreed: &Agreed) {
    let audio = &agreed.audio;
    let mut formats = vec![(
        audio.payload_type,
        codec_lines(audio.codec, audio.payload_type),
    )];
    if let Some(event) = audio.dtmf_payload_type {
        formats.push((event, event_lines(event, audio.dtmf_clock)));
    }
    let protocol = if crypto::is_savp(offered) { SAVP } else { AVP };
    push_audio(text, local.address.port(), protocol, &formats);
    if let Some(crypto) = &agreed.crypto {
        crypto::push_answer(text, crypto);
    }
    push_times(text, agreed.ptime, agreed.direction);
}

/// Writes a media line with port 0; the formats are the offer's, because one must stand there.
pub(super) fn push_refused(text: &mut String, media: &Media) {
    let (kind, protocol) = (&media.kind, &media.protocol);
    let formats = media.formats.join(" ");
    let _ = write!(text, "m={kind} 0 {protocol} {formats}\r\n");
}

fn push_audio(text: &mut String, port: u16, protocol: &str, formats: &[(u8, String)]) {
    let _ = write!(text, "m=audio {port} {protocol}");
    for (payload_type, _) in formats {
        let _ = write!(text, " {payload_type}");
    }
    text.push_str("\r\n");
    for (_, lines) in formats {
        text.push_str(lines);
    }
}

fn push_times(text: &mut String, ptime: u8, direction: Direction) {
    let _ = write!(text, "a=ptime:{ptime}\r\na={}\r\n", direction.attribute());
}

fn codec_lines(codec: Codec, payload_type: u8) -> String {
    let (name, clock) = (codec.encoding_name(), codec.clock_rate());
    match codec {
        Codec::Alaw | Codec::Mulaw | Codec::G722 | Codec::L16 => {
            format!("a=rtpmap:{payload_type} {name}/{clock}\r\n")
        }
        // RFC 7587 section 7: always two channels on paper, whatever is sent.
        Codec::Opus => format!(
            "a=rtpmap:{payload_type} {name}/{clock}/2\r\na=fmtp:{payload_type} useinbandfec=1\r\n"
        ),
    }
}

fn event_lines(payload_type: u8, clock: u32) -> String {
    // 0-9, *, #, A-D; 16 (flash) is offered by many and means nothing here.
    format!("a=rtpmap:{payload_type} telephone-event/{clock}\r\na=fmtp:{payload_type} 0-15\r\n")
}
