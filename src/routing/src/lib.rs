//! Decides: which trunk, which number, or which refusal.
