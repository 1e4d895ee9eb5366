//! When cold rows go by themselves: a span of time in, the TTL of a cold table and of its trace ids kept in step with it.
//!
//! A day goes as a whole, so long after its end: the same day that [`ClickHouse::drop_cold_before`] would take. The TTL is for
//! the time when no gateway runs. ClickHouse knows nothing of the ledger: whoever does takes the TTL away while rows are as
//! old as that and must not go.

use super::{ddl, definition, trace_ids};
use crate::registry::TableDef;
use crate::store::StoreError;
use crate::store::clickhouse::ClickHouse;

const DAY_SECONDS: u64 = 86_400;
/// Stands before the number of seconds wherever a TTL of ours is written.
const SPAN: &str = "toIntervalSecond(";

/// The TTL of rows whose day is that of the column `time`. Times that a `DateTime` cannot tell count as its ends.
pub(super) fn expression(time: &str, keep: u64) -> String {
    format!(
        "toDateTime(least(greatest(toDate32(`{time}`), toDate32('1970-01-01')), toDate32('2070-01-01')), 'UTC') + {SPAN}{})",
        keep + DAY_SECONDS
    )
}

/// What an engine clause says of a TTL.
#[derive(Debug, PartialEq, Eq)]
enum Ttl {
    None,
    /// Ours, with its span.
    Keep(u64),
    /// Another one.
    Other,
}

impl Ttl {
    fn read(engine: &str) -> Self {
        let Some((_, clause)) = engine.split_once(" TTL ") else { return Self::None };
        let clause = clause.split(" SETTINGS ").next().unwrap_or_default();
        let span = clause.strip_prefix("toDateTime(least(greatest(").and_then(|rest| rest.split_once(SPAN));
        let seconds = span.and_then(|(_, rest)| rest.strip_suffix(')')?.parse::<u64>().ok());
        seconds.and_then(|seconds| seconds.checked_sub(DAY_SECONDS)).map_or(Self::Other, Self::Keep)
    }
}

impl ClickHouse {
    /// Lets rows of the cold table of `table`, and the trace ids that go with them, go by themselves when they are `keep`
    /// seconds old, by whole days; never when there is no such time.
    pub async fn keep_cold_for(&self, table: &TableDef, keep: Option<u64>) -> Result<(), StoreError> {
        let cold = definition::table_name(table);
        let time = ddl::time_column(table);
        let ids = trace_ids::exist_for(table).then(|| (trace_ids::table_name(table), trace_ids::DAY));
        for (name, column) in std::iter::once((cold, time)).chain(ids) {
            let query = self
                .outside
                .0
                .query("SELECT engine_full FROM system.tables WHERE database = ? AND name = ?")
                .bind(self.database.as_str())
                .bind(name.as_str());
            let Some(engine) = self.in_time(query.fetch_optional::<String>()).await? else { continue };
            let statements = match (Ttl::read(&engine), keep) {
                (Ttl::None, None) => Vec::new(),
                (Ttl::Keep(now), Some(keep)) if now == keep => Vec::new(),
                (_, None) => vec!["REMOVE TTL".to_owned()],
                // Rows that are there already get the new time, without being written again.
                (_, Some(keep)) => vec![
                    "MODIFY SETTING materialize_ttl_recalculate_only = 1".to_owned(),
                    format!("MODIFY TTL {}", expression(column, keep)),
                ],
            };
            for statement in statements {
                self.execute(&format!("ALTER TABLE `{name}` {statement}")).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_known_again_in_the_words_of_the_server() {
        let ours = "MergeTree PARTITION BY (toDate32(time), tidewell_move) ORDER BY (app, time) TTL \
                    toDateTime(least(greatest(toDate32(time), toDate32('1970-01-01')), toDate32('2070-01-01')), 'UTC') + \
                    toIntervalSecond(172800) SETTINGS ttl_only_drop_parts = 1, index_granularity = 8192";
        assert_eq!(Ttl::read(ours), Ttl::Keep(86_400));
        assert_eq!(Ttl::read("MergeTree ORDER BY time SETTINGS index_granularity = 8192"), Ttl::None);
        assert_eq!(Ttl::read("MergeTree ORDER BY time TTL time + toIntervalSecond(172800)"), Ttl::Other);
        assert_eq!(
            Ttl::read("MergeTree ORDER BY time TTL toDateTime(time) + toIntervalDay(3) SETTINGS a = 1"),
            Ttl::Other
        );
        assert!(expression("time", 86_400).ends_with("+ toIntervalSecond(172800)"));
    }
}
