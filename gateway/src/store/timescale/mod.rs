//! TimescaleDB: metrics, traces and every table registered with `"store": "timescale"`.

mod error;
mod table_registry;

pub use table_registry::{RegistryRow, TableLock, TableRegistry};
