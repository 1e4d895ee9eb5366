//! What the gateway tells about itself: metrics, health, logs.

mod metrics;

pub use metrics::Metrics;
