//! Turns packets into frames and frames into packets, on time.
