//! Settles on one audio stream (RFC 3264 sections 6 to 8).

use std::net::SocketAddr;

use bytes::Bytes;
use model::{Codec, PayloadTypes};

use super::crypto;
use super::parse::rtcp;
use super::write::{
    is_live_audio, push_answer, push_refused, session, settle_version, usual_ptime,
};
use super::{
    Agreed, Audio, Connection, Crypto, Direction, LocalMedia, Media, OfferError, Sdp, Security,
    parse,
};

/// Answers an offer with the first codec of our list that is in it. Returns the answer and what was agreed.
pub fn answer(
    offer: &[u8],
    local: &LocalMedia,
    codecs: &[Codec],
) -> Result<(Bytes, Agreed), OfferError> {
    let offer = parse(offer)?;
    let (index, agreed) = choose(&offer, local, codecs, None)?;
    Ok((write_answer(&offer, index, &agreed, local).into(), agreed))
}

/// Returns those of our codecs that an offer can be answered with, in our order; an error where [`answer`] has one.
pub fn common(
    offer: &[u8],
    local: &LocalMedia,
    codecs: &[Codec],
) -> Result<Vec<Codec>, OfferError> {
    let offer = parse(offer)?;
    let (index, _) = choose(&offer, local, codecs, None)?;
    let formats = offer.media.get(index).map(Formats::of);
    let is_there = |codec: &Codec| {
        let formats = formats.as_ref();
        formats.is_some_and(|formats| formats.payload_type(*codec).is_some())
    };
    Ok(codecs.iter().copied().filter(is_there).collect())
}

/// Answers a later offer of the same dialog. Returns the answer, what was agreed, and the version of the answer.
///
/// The codec in use stays when it is still offered, and so does our key when the peer keeps its own; `local.version` is the version of `previous`, the last description we
/// sent, and grows by one only if the new one differs (RFC 3264 section 8).
pub fn reanswer(
    offer: &[u8],
    local: &LocalMedia,
    codecs: &[Codec],
    previous: &[u8],
    current: &Agreed,
) -> Result<(Bytes, Agreed, u64), OfferError> {
    let offer = parse(offer)?;
    let mut ours = vec![current.audio.codec];
    ours.extend(codecs);
    let (index, agreed) = choose(&offer, local, &ours, current.crypto.as_ref())?;
    let (body, version) = settle_version(previous, local, |local| {
        write_answer(&offer, index, &agreed, local)
    });
    Ok((body, agreed, version))
}

/// Reads the answer to `our_offer`; the peer's order decides among the codecs we offered.
pub fn accept_answer(
    our_offer: &[u8],
    answer: &[u8],
    codecs: &[Codec],
) -> Result<Agreed, OfferError> {
    let ours = parse(our_offer)?;
    let theirs = parse(answer)?;
    let mut lines = ours.media.iter().zip(&theirs.media);
    let Some((offered, media)) = lines
        .find(|(offered, _)| is_live_audio(offered))
        .filter(|(_, media)| is_live_audio(media))
    else {
        return Err(OfferError::Refused);
    };
    let crypto = crypto::accept(offered, media)?;
    let formats = Formats::of(media);
    // RFC 3264 section 7: the first format of the answer is the one to send.
    let format = formats.first(codecs).ok_or(OfferError::NoCommonCodec)?;
    let mut agreed = agree(&theirs, media, &formats, format, crypto)?;
    let offered = Formats::of(offered);
    agreed.audio.received = received(&offered, &agreed.audio);
    let others = codecs.iter().filter(|codec| **codec != agreed.audio.codec);
    let others = others.filter_map(|&codec| {
        offered.payload_type(codec)?;
        let mut audio = audio_of(media, &formats, (codec, formats.payload_type(codec)?));
        audio.received = received(&offered, &audio);
        Some(audio)
    });
    agreed.others = others.collect();
    Ok(agreed)
}

/// What the peer sends with, where that is not what it receives.
fn received(offered: &Formats, audio: &Audio) -> Option<PayloadTypes> {
    let event = audio.dtmf_payload_type;
    let ours = PayloadTypes {
        // What was not offered is not understood otherwise either.
        audio: offered
            .payload_type(audio.codec)
            .unwrap_or(audio.payload_type),
        event: event.and_then(|event| {
            let at = offered.telephone_event(audio.dtmf_clock);
            at.map_or(Some(event), |(ours, _)| Some(ours))
        }),
    };
    let theirs = PayloadTypes {
        audio: audio.payload_type,
        event,
    };
    (ours != theirs).then_some(ours)
}

/// The first of our codecs in the first audio line that has one; where we know SRTP, in the first line with it.
fn choose(
    offer: &Sdp,
    local: &LocalMedia,
    codecs: &[Codec],
    current: Option<&Crypto>,
) -> Result<(usize, Agreed), OfferError> {
    let mut problem = OfferError::NoAudio;
    let mut plain = None;
    for (index, media) in offer
        .media
        .iter()
        .enumerate()
        .filter(|(_, m)| is_live_audio(m))
    {
        let crypto = match crypto::choose(media, &local.security, current) {
            Ok(crypto) => crypto,
            Err(why) => {
                problem = why;
                continue;
            }
        };
        let formats = Formats::of(media);
        let mut codecs = codecs.iter();
        let common = codecs.find_map(|&codec| Some((codec, formats.payload_type(codec)?)));
        let Some(format) = common else {
            problem = OfferError::NoCommonCodec;
            continue;
        };
        if crypto.is_some() || local.security == Security::Plain {
            return Ok((index, agree(offer, media, &formats, format, crypto)?));
        }
        if plain.is_none() {
            plain = Some((index, agree(offer, media, &formats, format, None)?));
        }
    }
    plain.ok_or(problem)
}

fn agree(
    sdp: &Sdp,
    media: &Media,
    formats: &Formats,
    format: (Codec, u8),
    crypto: Option<Crypto>,
) -> Result<Agreed, OfferError> {
    let address = match sdp.connection_of(media) {
        Some(Connection::Address(address)) => address,
        Some(Connection::Host) => return Err(OfferError::HostName),
        Some(Connection::WrongFamily) => return Err(OfferError::AddressFamily),
        Some(Connection::Malformed) | None => return Err(OfferError::NoConnection),
    };
    let audio = audio_of(media, formats, format);
    let codec = audio.codec;
    let ours = direction_of(sdp, media).reversed();
    Ok(Agreed {
        audio,
        others: Vec::new(),
        remote: SocketAddr::new(address, media.port),
        remote_rtcp: media
            .values("rtcp")
            .find_map(rtcp)
            .map(|(port, own)| SocketAddr::new(own.unwrap_or(address), port)),
        // RFC 3264 section 8.4: the hold of RFC 2543 is an address nobody can send to.
        direction: if address.is_unspecified() {
            ours.without_sending()
        } else {
            ours
        },
        ptime: usable_ptime(codec, audio.fmtp_ptime.unwrap_or(usual_ptime(codec)), media),
        crypto,
    })
}

/// A codec of a media line, and the keys that go with it.
fn audio_of(media: &Media, formats: &Formats, (codec, payload_type): (Codec, u8)) -> Audio {
    let event = formats.telephone_event(codec.clock_rate());
    Audio {
        codec,
        payload_type,
        fmtp_ptime: asked_ptime(media),
        dtmf_payload_type: event.map(|(payload_type, _)| payload_type),
        dtmf_clock: event.map_or(codec.clock_rate(), |(_, clock)| clock),
        received: None,
    }
}

fn write_answer(offer: &Sdp, index: usize, agreed: &Agreed, local: &LocalMedia) -> String {
    let mut text = session(local);
    for (position, media) in offer.media.iter().enumerate() {
        if position == index {
            push_answer(&mut text, local, media, agreed);
        } else {
            push_refused(&mut text, media);
        }
    }
    text
}

struct RtpMap<'a> {
    name: &'a str,
    clock: u32,
    channels: u8,
}

/// The formats of one media line, looked up once: a peer decides how many lines there are to look through.
struct Formats<'a> {
    /// In the order of the media line.
    list: Vec<(u8, Option<RtpMap<'a>>)>,
}

impl<'a> Formats<'a> {
    fn of(media: &'a Media) -> Self {
        let mut maps: [Option<RtpMap<'a>>; 128] = [const { None }; 128];
        // The first well-formed map of a payload type counts.
        for (payload_type, map) in media.values("rtpmap").filter_map(rtpmap) {
            if let Some(place) = maps.get_mut(usize::from(payload_type)) {
                place.get_or_insert(map);
            }
        }
        let mut map_of = |pt: u8| maps.get_mut(usize::from(pt)).and_then(Option::take);
        Self {
            list: media.payload_types().map(|pt| (pt, map_of(pt))).collect(),
        }
    }

    /// The first format that is this codec.
    fn payload_type(&self, codec: Codec) -> Option<u8> {
        let mut list = self.list.iter();
        list.find(|(pt, map)| is_codec(*pt, map.as_ref(), codec))
            .map(|(pt, _)| *pt)
    }

    /// The first format that is one of these codecs.
    fn first(&self, codecs: &[Codec]) -> Option<(Codec, u8)> {
        self.list.iter().find_map(|(pt, map)| {
            let mut codecs = codecs.iter().copied();
            let codec = codecs.find(|codec| is_codec(*pt, map.as_ref(), *codec))?;
            Some((codec, *pt))
        })
    }

    /// The telephone-event at the codec's clock, else at 8000 Hz: payload type and clock.
    fn telephone_event(&self, clock: u32) -> Option<(u8, u32)> {
        let at = |wanted: u32| {
            let is_event = |map: &RtpMap| {
                map.name.eq_ignore_ascii_case("telephone-event") && map.clock == wanted
            };
            let mut list = self.list.iter();
            list.find(|(_, map)| map.as_ref().is_some_and(is_event))
                .map(|(pt, _)| (*pt, wanted))
        };
        at(clock).or_else(|| at(8_000))
    }
}

fn is_codec(payload_type: u8, map: Option<&RtpMap>, codec: Codec) -> bool {
    let Some(map) = map else {
        return codec.static_payload_type() == Some(payload_type);
    };
    // RFC 3551 s.4.5.2: G.722 has a clock of 8000; some devices write the rate of its samples all the same.
    let clock_is_right = map.clock == codec.clock_rate()
        || (codec == Codec::G722 && map.clock == codec.sample_rate());
    map.name.eq_ignore_ascii_case(codec.encoding_name())
        && clock_is_right
        && match codec {
            Codec::Alaw | Codec::Mulaw | Codec::G722 | Codec::L16 => map.channels == 1,
            // RFC 7587 wants `/2`; some devices leave it out.
            Codec::Opus => map.channels <= 2,
        }
}

/// Reads `<payload type> <name>/<clock>[/<channels>]`.
fn rtpmap(value: &str) -> Option<(u8, RtpMap<'_>)> {
    let (number, encoding) = value.split_once(|c: char| c.is_ascii_whitespace())?;
    let mut parts = encoding.trim().split('/');
    let name = parts.next().filter(|name| !name.is_empty())?;
    let clock = parts.next()?.parse().ok().filter(|&clock| clock > 0)?;
    let channels = parts.next().map_or(Some(1), |text| text.parse().ok())?;
    let map = RtpMap {
        name,
        clock,
        channels,
    };
    Some((number.parse().ok()?, map))
}

fn direction_of(sdp: &Sdp, media: &Media) -> Direction {
    sdp.attributes_of(media)
        .find_map(|attribute| {
            [
                Direction::SendRecv,
                Direction::SendOnly,
                Direction::RecvOnly,
                Direction::Inactive,
            ]
            .into_iter()
            .find(|direction| attribute.name.eq_ignore_ascii_case(direction.attribute()))
        })
        .unwrap_or_default()
}

/// `a=ptime`, whole milliseconds of whatever stands there; 0 is nothing asked.
fn asked_ptime(media: &Media) -> Option<u8> {
    media.values("ptime").find_map(milliseconds)
}

fn milliseconds(value: &str) -> Option<u8> {
    let whole = value.split('.').next().unwrap_or_default().trim();
    let whole: u64 = whole.parse().ok()?;
    match u8::try_from(whole) {
        Ok(0) => None,
        Ok(ms) => Some(ms),
        Err(_) => Some(u8::MAX),
    }
}

/// The nearest duration we can send that is not longer than what was asked and allowed, from 10 to 60 ms.
fn usable_ptime(codec: Codec, asked: u8, media: &Media) -> u8 {
    let longest = media
        .values("maxptime")
        .find_map(milliseconds)
        .unwrap_or(u8::MAX);
    let possible: &[u8] = match codec {
        Codec::Alaw | Codec::Mulaw | Codec::G722 => &[60, 50, 40, 30, 20],
        Codec::L16 => &[],
        // RFC 6716 section 2.1.4: no frames of 30 or 50 ms.
        Codec::Opus => &[60, 40, 20],
    };
    let wanted = asked.min(longest);
    possible
        .iter()
        .copied()
        .find(|&ms| ms <= wanted)
        .unwrap_or(10)
}
