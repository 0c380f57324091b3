//! Speaks a Telegram call from request to discard.
