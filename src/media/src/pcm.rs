//! A queue of samples in one reused buffer, and the search for a waveform that repeats.

/// Samples waiting, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Pcm {
    samples: Vec<i16>,
    start: usize,
}

impl Pcm {
    /// Returns the number of samples waiting.
    pub(crate) fn len(&self) -> usize {
        self.samples.len() - self.start
    }

    /// Returns everything that waits.
    pub(crate) fn all(&self) -> &[i16] {
        self.samples.get(self.start..).unwrap_or_default()
    }

    /// Returns the oldest samples, at most `count`.
    pub(crate) fn front(&self, count: usize) -> &[i16] {
        let all = self.all();
        all.get(..count).unwrap_or(all)
    }

    /// Forgets the oldest samples.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.samples.len());
        if self.start == self.samples.len() {
            self.clear();
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.samples.clear();
        self.start = 0;
    }

    /// Appends `count` zeros and returns them to be written over.
    pub(crate) fn grow(&mut self, count: usize) -> &mut [i16] {
        if self.start > 0 && self.samples.len() + count > self.samples.capacity() {
            self.samples.copy_within(self.start.., 0);
            self.samples.truncate(self.samples.len() - self.start);
            self.start = 0;
        }
        let end = self.samples.len();
        self.samples.resize(end + count, 0);
        self.samples.get_mut(end..).unwrap_or_default()
    }

    /// Takes back the last `count` samples.
    pub(crate) fn shrink(&mut self, count: usize) {
        let kept = self.samples.len().saturating_sub(count).max(self.start);
        self.samples.truncate(kept);
    }

    /// Takes out one period between `shortest` and `longest` samples, blended over `overlap`; returns how many.
    pub(crate) fn squeeze(&mut self, shortest: usize, longest: usize, overlap: usize) -> usize {
        let all = self.all();
        let (Some(template), Some(later)) =
            (all.get(..overlap), all.get(shortest..longest + overlap))
        else {
            return 0;
        };
        let lag = shortest + best_match(template, later);
        let (first, second) = self.samples.split_at_mut(self.start + lag);
        let first = first.get(self.start..).unwrap_or_default();
        // A period shorter than the blend runs into the second part; there the blend is over before it matters.
        blend(first, second, overlap.min(lag));
        self.consume(lag);
        lag
    }
}

/// Fades from `old` to `new` over `count` samples, in place of the latter.
pub(crate) fn blend(old: &[i16], new: &mut [i16], count: usize) {
    let whole = i32::try_from(count).unwrap_or(i32::MAX).max(1);
    for ((old, new), step) in old.iter().zip(new.iter_mut()).take(count).zip(0..) {
        let mixed = (i32::from(*old) * (whole - step) + i32::from(*new) * step) / whole;
        *new = i16::try_from(mixed).unwrap_or(*new);
    }
}

/// Returns the offset into `range` where `template` fits best (normalised cross-correlation).
pub(crate) fn best_match(template: &[i16], range: &[i16]) -> usize {
    let mut best = (0, f32::MIN);
    for (offset, window) in range.windows(template.len().max(1)).enumerate() {
        let (mut product, mut energy) = (0.0_f32, 1.0_f32);
        for (a, b) in template.iter().zip(window) {
            product += f32::from(*a) * f32::from(*b);
            energy += f32::from(*b) * f32::from(*b);
        }
        let score = product.abs() * product / energy;
        // Of equals the last: of silence as much as possible goes.
        if score >= best.1 {
            best = (offset, score);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{sine, tone_share};

    #[test]
    fn samples_come_out_in_order_and_the_buffer_stays_small() {
        let mut pcm = Pcm::default();
        let (mut wrote, mut read) = (0_i16, 0_i16);
        for _ in 0..1000 {
            for sample in pcm.grow(30) {
                *sample = wrote;
                wrote = wrote.wrapping_add(1);
            }
            while pcm.len() >= 20 {
                for sample in pcm.front(20) {
                    assert_eq!(*sample, read);
                    read = read.wrapping_add(1);
                }
                pcm.consume(20);
            }
        }
        assert!(pcm.samples.capacity() <= 128, "{}", pcm.samples.capacity());
    }

    #[test]
    fn a_squeezed_tone_is_shorter_and_still_a_tone() {
        let mut pcm = Pcm::default();
        pcm.grow(1600).copy_from_slice(&sine(8000, 425.0, 1600));
        let mut removed = 0;
        for _ in 0..8 {
            removed += pcm.squeeze(20, 120, 80);
            let played = pcm.front(20).len();
            assert_eq!(played, 20);
        }
        assert!(removed >= 160, "{removed}");
        assert_eq!(pcm.len(), 1600 - removed);
        assert!(tone_share(pcm.all(), 8000, 425.0) > 0.95);
    }

    #[test]
    fn too_little_audio_is_left_alone() {
        let mut pcm = Pcm::default();
        pcm.grow(100);
        assert_eq!(pcm.squeeze(20, 120, 80), 0);
        assert_eq!(pcm.len(), 100);
    }
}
