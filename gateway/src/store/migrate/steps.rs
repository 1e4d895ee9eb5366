//! The numbered steps of both stores: the files of `schemas/timescale` and `schemas/clickhouse`, compiled in.

use crate::registry::StoreKind;

/// One step. Its text never changes once it was released; a change is a new step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) store: StoreKind,
    /// The number that the file's name begins with.
    pub(super) number: i32,
    /// The file's name without its ending.
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
    /// Run as the user of the URL, because it makes what the role for DDL needs.
    pub(super) as_administrator: bool,
}

macro_rules! step {
    ($store:ident, $folder:literal, $number:literal, $name:literal, administrator: $administrator:literal) => {
        Step {
            store: StoreKind::$store,
            number: $number,
            name: $name,
            sql: include_str!(concat!("../../../../schemas/", $folder, "/", $name, ".sql")),
            as_administrator: $administrator,
        }
    };
}

/// The steps of Postgres, in order.
pub(super) const TIMESCALE: &[Step] = &[
    step!(Timescale, "timescale", 1, "0001_database", administrator: true),
    step!(Timescale, "timescale", 2, "0002_roles", administrator: true),
    step!(Timescale, "timescale", 3, "0003_registry", administrator: false),
    step!(Timescale, "timescale", 4, "0004_metrics", administrator: false),
    step!(Timescale, "timescale", 5, "0005_traces", administrator: false),
    step!(Timescale, "timescale", 6, "0006_dead_letters", administrator: false),
    step!(Timescale, "timescale", 7, "0007_grants", administrator: false),
    step!(Timescale, "timescale", 8, "0008_progress", administrator: false),
    step!(Timescale, "timescale", 9, "0009_dead_letter_states", administrator: false),
    step!(Timescale, "timescale", 10, "0010_tiering", administrator: false),
    step!(Timescale, "timescale", 11, "0011_observability_events", administrator: false),
    step!(Timescale, "timescale", 12, "0012_registry_notices", administrator: false),
    step!(Timescale, "timescale", 13, "0013_routes", administrator: false),
];

/// The steps of ClickHouse, in order.
pub(super) const CLICKHOUSE: &[Step] = &[
    step!(ClickHouse, "clickhouse", 1, "0001_logs", administrator: false),
    step!(ClickHouse, "clickhouse", 2, "0002_provenance", administrator: false),
    step!(ClickHouse, "clickhouse", 3, "0003_logs_as_others_name_them", administrator: false),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::migrate::script;

    #[test]
    fn steps_are_numbered_without_gaps_as_their_files_are() {
        for steps in [TIMESCALE, CLICKHOUSE] {
            for (at, step) in steps.iter().enumerate() {
                assert_eq!(usize::try_from(step.number).unwrap(), at + 1, "{}", step.name);
                assert!(step.name.starts_with(&format!("{:04}_", step.number)), "{}", step.name);
                assert!(!script::statements(step.sql).is_empty(), "{}", step.name);
            }
        }
    }

    #[test]
    fn every_file_is_a_step() {
        let schemas = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
        for (folder, steps) in [("timescale", TIMESCALE), ("clickhouse", CLICKHOUSE)] {
            let files = std::fs::read_dir(schemas.join(folder)).unwrap().count();
            assert_eq!(files, steps.len(), "schemas/{folder}");
        }
    }

    #[test]
    fn statements_that_have_no_transaction_may_run_twice() {
        for step in CLICKHOUSE {
            for statement in script::statements(step.sql) {
                assert!(
                    statement.contains(" IF NOT EXISTS ") || statement.contains(" IF EXISTS "),
                    "{statement}"
                );
            }
        }
    }
}
