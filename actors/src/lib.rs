//! Coordinates: owns the state that changes, and supervises.
