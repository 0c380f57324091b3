//! The media plane on real sockets, on loopback.
