//! The two laws of G.711, exact to the bit, by arithmetic instead of tables of 64 kB.

/// Which curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Law {
    /// A-law, Europe and most of the world.
    A,
    /// Mu-law, North America and Japan.
    Mu,
}

/// Mu-law's shift of the curve away from zero, in 14 bits.
const BIAS: u16 = 33;

impl Law {
    /// Writes the sample of each octet; the shorter slice decides.
    pub(crate) fn decode(self, octets: &[u8], samples: &mut [i16]) {
        let table = match self {
            Self::A => &ALAW,
            Self::Mu => &MULAW,
        };
        for (sample, octet) in samples.iter_mut().zip(octets) {
            *sample = table.get(usize::from(*octet)).copied().unwrap_or(0);
        }
    }

    /// Writes the octet of each sample; the shorter slice decides.
    pub(crate) fn encode(self, samples: &[i16], octets: &mut [u8]) {
        let pairs = octets.iter_mut().zip(samples);
        match self {
            Self::A => pairs.for_each(|(octet, sample)| *octet = encode_alaw(*sample)),
            Self::Mu => pairs.for_each(|(octet, sample)| *octet = encode_mulaw(*sample)),
        }
    }
}

/// G.711 table 1: 13 bits, segments of 16 steps, even bits inverted.
fn encode_alaw(sample: i16) -> u8 {
    let value = sample >> 3;
    let (magnitude, mask) = if value < 0 {
        (!value, 0x55)
    } else {
        (value, 0xd5)
    };
    let magnitude = magnitude.unsigned_abs();
    let segment = (16 - magnitude.leading_zeros()).max(5) - 5;
    let step = magnitude >> segment.max(1);
    (((segment & 7) as u8) << 4 | (step & 0x0f) as u8) ^ mask
}

/// G.711 table 2: 14 bits, biased, all bits inverted.
fn encode_mulaw(sample: i16) -> u8 {
    let value = sample >> 2;
    let mask = if value < 0 { 0x7f } else { 0xff };
    let magnitude = (value.unsigned_abs() + BIAS).min(0x1fff);
    let segment = (16 - magnitude.leading_zeros()).max(6) - 6;
    let step = magnitude >> (segment + 1);
    (((segment & 7) as u8) << 4 | (step & 0x0f) as u8) ^ mask
}

const ALAW: [i16; 256] = table(true);
const MULAW: [i16; 256] = table(false);

#[allow(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler; the index runs over the array"
)]
const fn table(alaw: bool) -> [i16; 256] {
    let mut table = [0; 256];
    let mut octet = 0_u8;
    loop {
        table[octet as usize] = if alaw {
            decode_alaw(octet)
        } else {
            decode_mulaw(octet)
        };
        if octet == u8::MAX {
            return table;
        }
        octet += 1;
    }
}

const fn decode_alaw(octet: u8) -> i16 {
    let value = octet ^ 0x55;
    let (segment, step) = (value >> 4 & 7, (value & 0x0f) as i16 * 16);
    let magnitude = match segment {
        0 => step + 8,
        _ => (step + 0x108) << (segment - 1),
    };
    if value & 0x80 == 0 {
        -magnitude
    } else {
        magnitude
    }
}

const fn decode_mulaw(octet: u8) -> i16 {
    let value = !octet;
    let magnitude = (((value & 0x0f) as i16 * 8 + 0x84) << (value >> 4 & 7)) - 0x84;
    if value & 0x80 == 0 {
        magnitude
    } else {
        -magnitude
    }
}
