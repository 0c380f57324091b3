//! G.722 at 64 kbit/s (ITU-T G.722, mode 1), exact to the bit: two bands of 8000 samples a second, each an ADPCM of its
//! own. The names of the blocks are the Recommendation's; its 16-bit arithmetic saturates where it says so.
//!
//! At 16 kHz both bands are used; at 8 kHz the lower one alone, which is what G.711 and our tones need.

/// How many samples an octet stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// One, at 8 kHz: what is above 4 kHz is neither heard nor said.
    Narrow,
    /// Two, at 16 kHz.
    Wide,
}

impl Width {
    /// Returns the width of audio at this rate, if there is one.
    pub(crate) fn of(rate: u32) -> Option<Self> {
        match rate {
            8_000 => Some(Self::Narrow),
            16_000 => Some(Self::Wide),
            _ => None,
        }
    }

    /// Returns the samples of an octet.
    pub(crate) fn samples(self) -> usize {
        match self {
            Self::Narrow => 1,
            Self::Wide => 2,
        }
    }
}

/// Turns samples into octets.
#[derive(Debug)]
pub(crate) struct Encoder {
    width: Width,
    lower: Band,
    higher: Band,
    delay: Delay,
}

impl Encoder {
    pub(crate) fn new(width: Width) -> Self {
        Self {
            width,
            lower: Band::lower(),
            higher: Band::higher(),
            delay: Delay::default(),
        }
    }

    /// Writes the octets of the samples; the shorter slice decides, half an octet is left out.
    pub(crate) fn encode(&mut self, samples: &[i16], octets: &mut [u8]) {
        let frames = samples.chunks_exact(self.width.samples());
        for (octet, frame) in octets.iter_mut().zip(frames) {
            let (low, high) = self.delay.split(frame);
            *octet = self.higher.encode_higher(high) << 6 | self.lower.encode_lower(low);
        }
    }
}

/// Turns octets into samples.
#[derive(Debug)]
pub(crate) struct Decoder {
    width: Width,
    lower: Band,
    higher: Band,
    delay: Delay,
    /// What was guessed, on its way back into the bands.
    guessed: Delay,
}

impl Decoder {
    pub(crate) fn new(width: Width) -> Self {
        Self {
            width,
            lower: Band::lower(),
            higher: Band::higher(),
            delay: Delay::default(),
            guessed: Delay::default(),
        }
    }

    /// Writes the samples of the octets; the shorter slice decides.
    pub(crate) fn decode(&mut self, octets: &[u8], samples: &mut [i16]) {
        let frames = samples.chunks_exact_mut(self.width.samples());
        for (frame, octet) in frames.zip(octets) {
            let low = self.lower.decode_lower(octet & 0x3f);
            match frame {
                [first, second] => {
                    let high = self.higher.decode_higher(octet >> 6);
                    (*first, *second) = self.join(low, high);
                }
                [only] => *only = narrow(low << 1),
                _ => {}
            }
        }
    }

    /// Lets the state follow audio that was guessed at, as if it had come: that of the sender has gone on as well, and a
    /// state left behind would spoil the next 100 ms.
    pub(crate) fn follow(&mut self, samples: &[i16]) {
        for frame in samples.chunks_exact(self.width.samples()) {
            let (low, high) = self.guessed.split(frame);
            self.lower.encode_lower(low);
            self.higher.encode_higher(high);
        }
    }

    /// The receive quadrature mirror filter (section 4.4).
    fn join(&mut self, low: i32, high: i32) -> (i16, i16) {
        self.delay.push(low + high, low - high);
        let (even, odd) = self.delay.sums();
        (narrow(odd >> 11), narrow(even >> 11))
    }
}

/// The last 24 values of a quadrature mirror filter.
#[derive(Debug, Default)]
struct Delay([i32; 24]);

impl Delay {
    fn push(&mut self, first: i32, second: i32) {
        self.0.copy_within(2.., 0);
        let [.., before_last, last] = &mut self.0;
        (*before_last, *last) = (first, second);
    }

    /// The transmit quadrature mirror filter (section 3.1): two samples become one of each band, one is the lower band.
    fn split(&mut self, frame: &[i16]) -> (i32, i32) {
        match *frame {
            [first, second] => {
                self.push(i32::from(first), i32::from(second));
                let (odd, even) = self.sums();
                (limit((even + odd) >> 14), limit((even - odd) >> 14))
            }
            [only] => (i32::from(only) >> 1, 0),
            _ => (0, 0),
        }
    }

    /// The sums over the values at even and at odd places.
    fn sums(&self) -> (i32, i32) {
        let (mut even, mut odd) = (0, 0);
        let (pairs, _) = self.0.as_chunks::<2>();
        for (([first, second], forth), back) in pairs.iter().zip(QMF).zip(QMF.iter().rev()) {
            even += first * forth;
            odd += second * back;
        }
        (even, odd)
    }
}

/// The state of one band: adaptive quantiser and predictor.
#[derive(Debug)]
struct Band {
    /// NB, the logarithm of the quantiser's scale, and DET, the scale.
    nb: i32,
    det: i32,
    /// S and SZ: the prediction, and the part of it from the zeros.
    s: i32,
    sz: i32,
    /// The last two reconstructed signals RLT and partial ones PLT, newest first.
    r: [i32; 2],
    p: [i32; 2],
    /// Poles AL, zeros BL, and the last six differences DLT, newest first.
    a: [i32; 2],
    b: [i32; 6],
    d: [i32; 6],
}

impl Band {
    fn lower() -> Self {
        Self::new(32)
    }

    fn higher() -> Self {
        Self::new(8)
    }

    fn new(det: i32) -> Self {
        Self {
            nb: 0,
            det,
            s: 0,
            sz: 0,
            r: [0; 2],
            p: [0; 2],
            a: [0; 2],
            b: [0; 6],
            d: [0; 6],
        }
    }

    /// SUBTRA, QUANTL, and the adaptation.
    fn encode_lower(&mut self, low: i32) -> u8 {
        let difference = saturate(low - self.s);
        let magnitude = if difference < 0 {
            !difference
        } else {
            difference
        };
        let level = Q6.partition_point(|step| (step * self.det) >> 12 <= magnitude);
        let codes = if difference < 0 { &ILN } else { &ILP };
        let code = codes.get(level).copied().unwrap_or(0);
        self.adapt_lower(code);
        code
    }

    /// SUBTRA, QUANTH, and the adaptation.
    fn encode_higher(&mut self, high: i32) -> u8 {
        let difference = saturate(high - self.s);
        let (magnitude, sign) = if difference < 0 {
            (!difference, 0)
        } else {
            (difference, 2)
        };
        let outer = (564 * self.det) >> 12 <= magnitude;
        let code = sign | u8::from(!outer);
        self.adapt_higher(code);
        code
    }

    /// INVQBL, RECONS, LIMIT, and the adaptation.
    fn decode_lower(&mut self, code: u8) -> i32 {
        let out = limit(saturate(self.s + self.scaled(pick(&QM6, code))));
        self.adapt_lower(code);
        out
    }

    /// INVQAH, RECONS, LIMIT, and the adaptation.
    fn decode_higher(&mut self, code: u8) -> i32 {
        let out = limit(saturate(self.s + self.scaled(pick(&QM2, code))));
        self.adapt_higher(code);
        out
    }

    /// INVQAL, LOGSCL, SCALEL: the two lowest bits of the code are left out.
    fn adapt_lower(&mut self, code: u8) {
        let code = code >> 2;
        let difference = self.scaled(pick(&QM4, code));
        self.nb = (((self.nb * 127) >> 7) + pick(&WL, code)).clamp(0, 18_432);
        self.set_scale(8);
        self.predict(difference);
    }

    /// INVQAH, LOGSCH, SCALEH.
    fn adapt_higher(&mut self, code: u8) {
        let difference = self.scaled(pick(&QM2, code));
        self.nb = (((self.nb * 127) >> 7) + pick(&WH, code)).clamp(0, 22_528);
        self.set_scale(10);
        self.predict(difference);
    }

    fn scaled(&self, level: i32) -> i32 {
        (self.det * level) >> 15
    }

    fn set_scale(&mut self, octaves: i32) {
        let fraction = usize::try_from(self.nb >> 6 & 31).unwrap_or(0);
        let mantissa = ILB.get(fraction).copied().unwrap_or(0);
        let shift = octaves - (self.nb >> 11);
        let scale = if shift < 0 {
            mantissa << -shift
        } else {
            mantissa >> shift
        };
        self.det = scale << 2;
    }

    /// Block 4: from the quantised difference to the next prediction.
    fn predict(&mut self, difference: i32) {
        // RECONS and PARREC.
        let r = saturate(self.s + difference);
        let p = saturate(self.sz + difference);
        let [p1, p2] = self.p;
        let same1 = (p < 0) == (p1 < 0);
        let same2 = (p < 0) == (p2 < 0);
        let [a1, a2] = self.a;
        // UPPOL2.
        let slope = saturate(a1 << 2);
        let slope = if same1 { saturate(-slope) } else { slope };
        let a2 = ((a2 * 32_512) >> 15) + (slope >> 7) + if same2 { 128 } else { -128 };
        let a2 = a2.clamp(-12_288, 12_288);
        // UPPOL1.
        let a1 = saturate(((a1 * 32_640) >> 15) + if same1 { 192 } else { -192 });
        let most = saturate(15_360 - a2);
        let a1 = a1.clamp(-most, most);
        self.a = [a1, a2];
        // UPZERO.
        let step = if difference == 0 { 0 } else { 128 };
        for (b, d) in self.b.iter_mut().zip(self.d) {
            let same = (d < 0) == (difference < 0);
            *b = saturate(((*b * 32_640) >> 15) + if same { step } else { -step });
        }
        // DELAYA.
        let [r1, _] = self.r;
        self.r = [r, r1];
        self.p = [p, p1];
        self.d.copy_within(..5, 1);
        let [newest, ..] = &mut self.d;
        *newest = difference;
        // FILTEP and FILTEZ; the sums saturate one by one, the oldest first.
        let part = |coefficient: i32, value: i32| (coefficient * saturate(value << 1)) >> 15;
        let poles = saturate(part(a1, r) + part(a2, r1));
        self.sz = self
            .b
            .iter()
            .zip(self.d)
            .rev()
            .fold(0, |sum, (b, d)| saturate(sum + part(*b, d)));
        // PREDIC.
        self.s = saturate(poles + self.sz);
    }
}

fn pick(table: &[i32], code: u8) -> i32 {
    table.get(usize::from(code)).copied().unwrap_or(0)
}

/// To 16 bits.
fn saturate(value: i32) -> i32 {
    value.clamp(-32_768, 32_767)
}

/// To 15 bits, the width of a band.
fn limit(value: i32) -> i32 {
    value.clamp(-16_384, 16_383)
}

#[allow(clippy::cast_possible_truncation, reason = "saturated just before")]
fn narrow(value: i32) -> i16 {
    saturate(value) as i16
}

/// Half of the filter's coefficients; the other half is the same backwards.
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Decision levels of the 60-level quantiser.
const Q6: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023,
    1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];

/// Codes of the intervals, for negative and for other differences.
const ILN: [u8; 30] = [
    63, 62, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10,
    9, 8, 7, 6, 5, 4,
];
const ILP: [u8; 30] = [
    61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38,
    37, 36, 35, 34, 33, 32,
];

/// Output levels by code: 2 bits of the higher band, 4 and 6 bits of the lower.
const QM2: [i32; 4] = [-7_408, -1_616, 7_408, 1_616];
const QM4: [i32; 16] = [
    0, -20_456, -12_896, -8_968, -6_288, -4_240, -2_584, -1_200, 20_456, 12_896, 8_968, 6_288,
    4_240, 2_584, 1_200, 0,
];
const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24_808, -21_904, -19_008, -16_704, -14_984, -13_512, -12_280, -11_192,
    -10_232, -9_360, -8_576, -7_856, -7_192, -6_576, -6_000, -5_456, -4_944, -4_464, -4_008,
    -3_576, -3_168, -2_776, -2_400, -2_032, -1_688, -1_360, -1_040, -728, 24_808, 21_904, 19_008,
    16_704, 14_984, 13_512, 12_280, 11_192, 10_232, 9_360, 8_576, 7_856, 7_192, 6_576, 6_000,
    5_456, 4_944, 4_464, 4_008, 3_576, 3_168, 2_776, 2_400, 2_032, 1_688, 1_360, 1_040, 728, 432,
    136, -432, -136,
];

/// What a code adds to the scale's logarithm (WL through RL42, WH through IH2).
const WL: [i32; 16] = [
    -60, 3_042, 1_198, 538, 334, 172, 58, -30, 3_042, 1_198, 538, 334, 172, 58, -30, -60,
];
const WH: [i32; 4] = [798, -214, 798, -214];

/// Powers of two in steps of 1/32.
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];
