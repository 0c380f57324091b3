//! Remembers across restarts.
