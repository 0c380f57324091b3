//! Who sends what: the offers and answers of NegotiateChannels (telegram-calls 7.4), one offer for each direction.

use rand::RngCore;

use super::DYNAMIC;
use crate::crypt::Role;
use crate::messages::{self, Audio, OPUS};

/// The offers of one call.
pub(super) struct Negotiation {
    role: Role,
    /// The stream we send.
    ssrc: u32,
    /// Our offer, while unanswered.
    pending: Option<u32>,
    /// Whether the peer will hear us.
    answered: bool,
}

/// What a NegotiateChannels message of the peer leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Ignore,
    /// Our offer was answered; false if our stream was refused.
    Answered(bool),
    /// Send these messages; from now on the peer sends this stream.
    Answer {
        /// The stream and the payload type of Opus in it.
        stream: Option<(u32, u8)>,
        /// The answer, and our own offer if it is due.
        messages: Vec<String>,
    },
}

impl Negotiation {
    pub(super) fn new(role: Role, ssrc: u32) -> Negotiation {
        Negotiation {
            role,
            ssrc,
            pending: None,
            answered: false,
        }
    }

    /// Returns our offer.
    pub(super) fn offer(&mut self, rng: &mut impl RngCore) -> String {
        let exchange = rng.next_u32();
        self.pending = Some(exchange);
        messages::negotiate(exchange, self.ssrc, OPUS)
    }

    /// Takes a message of the peer.
    pub(super) fn on_message(
        &mut self,
        exchange: u32,
        audio: Option<Audio>,
        rng: &mut impl RngCore,
    ) -> Step {
        if self.pending == Some(exchange) {
            self.pending = None;
            self.answered =
                audio.is_some_and(|audio| audio.ssrc == self.ssrc && audio.opus.is_some());
            return Step::Answered(self.answered);
        }
        match (self.pending, self.role) {
            // The caller's offer wins: the callee drops its own, answers, and offers again.
            (Some(_), Role::Caller) => return Step::Ignore,
            (Some(_), Role::Callee) => self.pending = None,
            (None, _) => {}
        }
        let stream = audio.and_then(|audio| {
            let opus = audio.opus.filter(|number| DYNAMIC.contains(number))?;
            let usable = audio.ssrc != 0 && audio.ssrc != self.ssrc;
            usable.then_some((audio.ssrc, opus))
        });
        let answer = match stream {
            Some((ssrc, opus)) => messages::negotiate(exchange, ssrc, opus),
            None => messages::refuse(exchange),
        };
        let mut messages = vec![answer];
        if !self.answered {
            messages.push(self.offer(rng));
        }
        Step::Answer { stream, messages }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::messages::Message;

    fn exchange(text: &str) -> (u32, Option<Audio>) {
        match messages::parse(text.as_bytes()) {
            Some(Message::Negotiate { exchange, audio }) => (exchange, audio),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_end_hears_of_the_others_stream() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut caller = Negotiation::new(Role::Caller, 11);
        let mut callee = Negotiation::new(Role::Callee, 22);
        let (id, audio) = exchange(&caller.offer(&mut rng));
        let Step::Answer { stream, messages } = callee.on_message(id, audio, &mut rng) else {
            panic!()
        };
        assert_eq!((stream, messages.len()), (Some((11, 111)), 2));
        let (id, audio) = exchange(&messages[0]);
        assert_eq!(caller.on_message(id, audio, &mut rng), Step::Answered(true));
        let (id, audio) = exchange(&messages[1]);
        let Step::Answer { stream, messages } = caller.on_message(id, audio, &mut rng) else {
            panic!()
        };
        assert_eq!((stream, messages.len()), (Some((22, 111)), 1));
        let (id, audio) = exchange(&messages[0]);
        assert_eq!(callee.on_message(id, audio, &mut rng), Step::Answered(true));
    }

    #[test]
    fn the_callers_offer_wins_a_crossing() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut caller = Negotiation::new(Role::Caller, 11);
        let mut callee = Negotiation::new(Role::Callee, 22);
        let (from_caller, caller_audio) = exchange(&caller.offer(&mut rng));
        let (from_callee, callee_audio) = exchange(&callee.offer(&mut rng));
        assert_eq!(
            caller.on_message(from_callee, callee_audio, &mut rng),
            Step::Ignore
        );
        let step = callee.on_message(from_caller, caller_audio, &mut rng);
        let Step::Answer { messages, .. } = step else {
            panic!()
        };
        assert_eq!(messages.len(), 2, "an answer, and the offer again");
        let (again, _) = exchange(&messages[1]);
        assert_ne!(again, from_callee);
    }

    #[test]
    fn a_second_offer_with_video_is_answered_with_audio_only() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut callee = Negotiation::new(Role::Callee, 22);
        callee.answered = true;
        let audio = Some(Audio {
            ssrc: 11,
            opus: Some(111),
        });
        let Step::Answer { messages, .. } = callee.on_message(5, audio.clone(), &mut rng) else {
            panic!()
        };
        assert_eq!(messages.len(), 1);
        assert_eq!(exchange(&messages[0]), (5, audio));
    }

    #[test]
    fn an_answer_with_another_stream_than_ours_is_a_refusal() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut caller = Negotiation::new(Role::Caller, 11);
        let (id, _) = exchange(&caller.offer(&mut rng));
        let wrong = Some(Audio {
            ssrc: 12,
            opus: Some(111),
        });
        assert_eq!(
            caller.on_message(id, wrong, &mut rng),
            Step::Answered(false)
        );
    }

    #[test]
    fn an_offer_without_opus_is_refused_but_answered() {
        let mut rng = SmallRng::seed_from_u64(1);
        for audio in [
            None,
            Some(Audio {
                ssrc: 11,
                opus: None,
            }),
            Some(Audio {
                ssrc: 11,
                opus: Some(0),
            }),
            Some(Audio {
                ssrc: 0,
                opus: Some(111),
            }),
            Some(Audio {
                ssrc: 22,
                opus: Some(111),
            }),
        ] {
            let mut callee = Negotiation::new(Role::Callee, 22);
            let Step::Answer { stream, messages } = callee.on_message(5, audio, &mut rng) else {
                panic!()
            };
            assert_eq!(stream, None);
            assert_eq!(exchange(&messages[0]), (5, None));
        }
    }
}
