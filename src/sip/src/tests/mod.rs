//! Dialogues in virtual time, and the torture corpora.

pub(crate) mod pair;
