//! G.711 as the tables of the recommendation have it, written apart from the room `media` so that it can prove it wrong.

/// The ends of the segments of A-law, in steps of 8.
const SEGMENTS: [i32; 8] = [0x1f, 0x3f, 0x7f, 0xff, 0x1ff, 0x3ff, 0x7ff, 0xfff];

pub(super) fn encode_alaw(sample: i16) -> u8 {
    let mut value = i32::from(sample) >> 3;
    let mask = if value >= 0 {
        0xd5
    } else {
        value = -value - 1;
        0x55
    };
    let (segment, _) = (0_u8..)
        .zip(SEGMENTS)
        .find(|(_, end)| value <= *end)
        .unwrap_or((7, 0));
    let step = (value >> segment.max(1)) & 0x0f;
    ((segment << 4) | u8::try_from(step).unwrap_or(0)) ^ mask
}

pub(super) fn decode_alaw(octet: u8) -> i16 {
    let octet = octet ^ 0x55;
    let step = i16::from(octet & 0x0f) << 4;
    let value = match (octet & 0x70) >> 4 {
        0 => step + 8,
        segment => (step + 0x108) << (segment - 1),
    };
    if octet & 0x80 == 0 { -value } else { value }
}

pub(super) fn encode_mulaw(sample: i16) -> u8 {
    let (value, sign) = match i32::from(sample) {
        value if value < 0 => (-value, 0x80),
        value => (value, 0),
    };
    let value = value.min(32_635) + 0x84;
    let segment = (value.ilog2()).saturating_sub(7).min(7);
    let step = (value >> (segment + 3)) & 0x0f;
    let octet = u8::try_from(step).unwrap_or(0) | u8::try_from(segment << 4).unwrap_or(0);
    !(octet | sign)
}

pub(super) fn decode_mulaw(octet: u8) -> i16 {
    let octet = !octet;
    let step = (i32::from(octet & 0x0f) << 3) + 0x84;
    let value = (step << ((octet & 0x70) >> 4)) - 0x84;
    let value = i16::try_from(value).unwrap_or(i16::MAX);
    if octet & 0x80 == 0 { value } else { -value }
}
