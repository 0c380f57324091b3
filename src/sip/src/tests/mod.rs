//! Dialogues in virtual time, the torture corpora, and mutants of them.

mod mutants;
mod oracle;
pub(crate) mod pair;
mod torture;
