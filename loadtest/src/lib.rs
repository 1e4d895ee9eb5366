//! A load generator for the gateway, and an auditor of what it acknowledged.
//!
//! It shares no code with the gateway, only the published protocols. The way of a measurement:
//!
//! 1. [`telemetry`] generates realistic records from a seed.
//! 2. [`encode`] turns batches of them into the protocols' bytes, once, as [`template`]s; [`workload`] keeps a pool.
//! 3. [`pacing`] says when each request is due, [`drive`] stamps new times and ids ([`identity`]) into a template and
//!    sends it ([`send`]); [`tally`] keeps latencies, failures and the fate of every request.
//! 4. [`processes`] measures what gateway, stores and generator itself used meanwhile.
//! 5. [`audit`] counts in the stores and holds the result against the fates.
//! 6. [`backlog`] waits until the gateway has delivered everything, [`limits`] measures what the machine would allow
//!    without it, [`sync_probe`] what the disk takes, and [`ratios`] puts them together.
//! 7. [`measure`] does all this for one workload, [`suite`] lists the workloads behind the project's figures,
//!    [`idle`] measures the gateway at rest; [`floors`] and [`report`] say what came of it. [`scratch`] makes the
//!    databases for it.
//!
//! [`faults`] is a tester of its own: it kills and disturbs gateways and stores and asks whether anything
//! acknowledged was lost, doubled or changed.
#![forbid(unsafe_code)]

pub mod audit;
pub mod backlog;
pub mod cli;
pub mod drive;
pub mod encode;
pub mod faults;
pub mod floors;
pub mod identity;
pub mod idle;
pub mod limits;
pub mod measure;
pub mod pacing;
pub mod processes;
pub mod ratios;
pub mod report;
pub(crate) mod scrape;
pub mod scratch;
pub mod send;
pub mod suite;
pub mod sync_probe;
pub mod tally;
pub mod telemetry;
pub mod template;
pub mod tiering;
pub mod workload;
