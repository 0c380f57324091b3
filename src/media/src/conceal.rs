//! What to play when a packet is missing and the codec itself has no answer: the last period of the waveform again, fading
//! (in the manner of G.711 appendix I), at any rate.

use crate::pcm::{best_match, blend};

/// The past a guess is made from, in milliseconds.
const HISTORY: usize = 30;
/// What the guess must fit to, in milliseconds.
const TEMPLATE: usize = 10;
/// A guess fades to silence within so many milliseconds.
const FADE: usize = 100;
/// The rate at which a period is looked for first; at higher rates it is then placed exactly.
const COARSE: usize = 8000;

/// Guesses at missing audio of one stream.
#[derive(Debug)]
pub(crate) struct Concealer {
    rate: usize,
    history: Vec<i16>,
    /// Samples guessed in a row, and the period they repeat.
    guessed: usize,
    period: usize,
}

impl Concealer {
    pub(crate) fn new(rate: u32) -> Self {
        let rate = usize::try_from(rate).unwrap_or(COARSE).max(COARSE);
        Self {
            rate,
            history: vec![0; rate * HISTORY / 1000],
            guessed: 0,
            period: rate / 400,
        }
    }

    /// Takes audio that came; its beginning is blended with the guess before it.
    pub(crate) fn heard(&mut self, samples: &mut [i16]) {
        if self.guessed > 0 {
            let blended = self.shortest();
            let mut tail = vec![0; blended];
            self.guess(&mut tail);
            blend(&tail, samples, blended);
            self.guessed = 0;
        }
        self.remember(samples);
    }

    /// Writes a guess.
    pub(crate) fn conceal(&mut self, out: &mut [i16]) {
        if self.guessed == 0 {
            self.period = self.find_period();
        }
        self.guess(out);
        self.guessed = self.guessed.saturating_add(out.len());
    }

    fn remember(&mut self, samples: &[i16]) {
        let new = samples.len().min(self.history.len());
        self.history.copy_within(new.., 0);
        let recent = samples.get(samples.len() - new..).unwrap_or_default();
        let kept = self.history.len() - new;
        if let Some(end) = self.history.get_mut(kept..) {
            end.copy_from_slice(recent);
        }
    }

    /// Goes on repeating the last period, fading.
    fn guess(&self, out: &mut [i16]) {
        let (period, fade) = (self.period.max(1), self.rate * FADE / 1000);
        let begin = self.history.len().saturating_sub(period);
        let cycle = self.history.get(begin..).unwrap_or_default();
        let repeated = cycle.iter().cycle().skip(self.guessed % period);
        let whole = i64::try_from(fade).unwrap_or(1);
        for ((sample, past), at) in out.iter_mut().zip(repeated).zip(self.guessed..) {
            let left = i64::try_from(fade.saturating_sub(at)).unwrap_or(0);
            *sample = i16::try_from(i64::from(*past) * left / whole).unwrap_or(0);
        }
    }

    fn find_period(&self) -> usize {
        let step = (self.rate / COARSE).max(1);
        if step == 1 {
            return self.period_in(&self.history, COARSE / 400, usize::MAX);
        }
        // Aligned to the newest sample, so that a period found here is one of the whole.
        let coarse: Vec<i16> = self.history.iter().rev().step_by(step).copied().collect();
        let coarse: Vec<i16> = coarse.into_iter().rev().collect();
        let about = self.period_in(&coarse, COARSE / 400, usize::MAX) * step;
        let shortest = about.saturating_sub(step).max(self.shortest());
        self.period_in(&self.history, shortest, about + step)
    }

    /// The period between `shortest` and `longest` after which the last 10 ms of `past` repeat best.
    fn period_in(&self, past: &[i16], shortest: usize, longest: usize) -> usize {
        let template = past.len() * TEMPLATE / HISTORY;
        let longest = longest.min(past.len() - template);
        let begin = past.len() - template - longest;
        let range = past.get(begin..past.len().saturating_sub(shortest));
        let wanted = past.get(past.len() - template..);
        let (Some(range), Some(wanted)) = (range, wanted) else {
            return self.shortest();
        };
        longest - best_match(wanted, range)
    }

    /// The shortest period looked for, and the length of a blend: 2.5 ms.
    fn shortest(&self) -> usize {
        self.rate / 400
    }
}
