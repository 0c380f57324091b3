//! Every socket, every await on the outside, every media thread.
