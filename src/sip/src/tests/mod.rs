//! Dialogues in virtual time, the torture corpora, and mutants of them.

mod mutants;
pub(crate) mod pair;
mod torture;
