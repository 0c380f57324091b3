//! Turns datagrams into requests, responses, dialogs, registrations and offers, and back.
