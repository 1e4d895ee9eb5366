//! What the gateway tells about itself: metrics, health, its own log.
//!
//! - [`metrics`] counts, [`gauges`] and [`process`] tell the moment, [`exposition`] writes both for scrapers;
//! - [`health`] watches the stores, [`letters`] the dead letters;
//! - [`logging`] writes the gateway's own log, [`problems`] keeps the last of its warnings.

pub mod accounts;
pub mod exposition;
pub mod gauges;
pub mod health;
pub mod letters;
pub mod logging;
mod metrics;
pub mod problems;
pub mod process;
mod tiering;

pub use health::Health;
pub use letters::LetterWatch;
pub use metrics::{Metrics, ProtocolTotals, Received};
pub use tiering::{Measured, TierMetrics};
