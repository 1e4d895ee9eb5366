//! Tidewell.
