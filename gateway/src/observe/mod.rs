//! What the gateway tells about itself: metrics, health, logs.

pub mod logging;
mod metrics;

pub use metrics::Metrics;
