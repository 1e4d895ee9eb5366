//! The partitions of cold tables: what each holds, and dropping them.
//!
//! `DROP PARTITION` of several parts is not atomic across a crash of the server, hence it is repeated until nothing is
//! left.

use clickhouse::Row;
use serde::Deserialize;

use super::{LATE, table_name};
use crate::registry::TableDef;
use crate::store::StoreError;
use crate::store::clickhouse::ClickHouse;
use crate::store::clickhouse::error::{STORE, schema_error};

/// How often a drop is repeated before somebody else must be writing there.
const ATTEMPTS: usize = 10;
const NANOS_PER_DAY: i64 = 86_400_000_000_000;

/// The partitions of a table, by the catalogue, which costs the same however many rows there are.
const PARTITIONS: &str = "SELECT partition_id AS id, \
    toInt64(toInt32(toDate32(extract(partition, '\\\\d{4}-\\\\d{2}-\\\\d{2}')))) AS day, \
    toUInt64(extract(partition, ',\\\\s*(\\\\d+)\\\\)$')) AS move, \
    sum(rows) AS rows, sum(bytes_on_disk) AS bytes \
    FROM system.parts WHERE database = ? AND table = ? AND active \
    GROUP BY partition_id, partition ORDER BY day, move";

/// The rows of one day that one move brought.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct ColdPartition {
    id: String,
    /// The day, in days since 1970.
    pub day: i64,
    /// The move, [`LATE`] for rows that came without one.
    #[serde(rename = "move")]
    pub move_: u64,
    /// Its rows.
    pub rows: u64,
    /// Its size on disk.
    pub bytes: u64,
}

impl ClickHouse {
    /// The partitions of the cold table of `table`, oldest first; none when there is no such table.
    pub async fn cold_partitions(&self, table: &TableDef) -> Result<Vec<ColdPartition>, StoreError> {
        let query =
            self.outside.0.query(PARTITIONS).bind(self.database.as_str()).bind(table_name(table).as_str());
        self.in_time(query.fetch_all()).await
    }

    /// The partitions of a table that is partitioned by a day and a number: id, day since 1970, number.
    pub(crate) async fn numbered_partitions(
        &self,
        table: &str,
    ) -> Result<Vec<(String, i64, u64)>, StoreError> {
        let query = self.outside.0.query(PARTITIONS).bind(self.database.as_str()).bind(table);
        let partitions: Vec<ColdPartition> = self.in_time(query.fetch_all()).await?;
        Ok(partitions.into_iter().map(|partition| (partition.id, partition.day, partition.move_)).collect())
    }

    /// Drops all rows that a move brought, and returns when none is left. Rows that the move inserts afterwards, since
    /// one of its INSERTs was on the way, stay: they go by the next call.
    pub async fn drop_move(&self, table: &TableDef, move_: u64) -> Result<(), StoreError> {
        if move_ == LATE {
            return Err(schema_error(
                "rows that arrived late belong to no move and are not dropped with one",
            ));
        }
        self.drop_partitions(table, |partition| partition.move_ == move_).await
    }

    /// Drops the days of the cold table that lie wholly before `before` (nanoseconds since 1970), but for the rows of the
    /// moves `but`.
    pub async fn drop_cold_before(
        &self,
        table: &TableDef,
        before: i64,
        but: &[u64],
    ) -> Result<(), StoreError> {
        let first_kept = before.div_euclid(NANOS_PER_DAY);
        self.drop_partitions(table, |partition| partition.day < first_kept && !but.contains(&partition.move_))
            .await
    }

    async fn drop_partitions(
        &self,
        table: &TableDef,
        mut goes: impl FnMut(&ColdPartition) -> bool,
    ) -> Result<(), StoreError> {
        let name = table_name(table);
        for _ in 0..ATTEMPTS {
            let mut partitions = self.cold_partitions(table).await?;
            partitions.retain(|partition| goes(partition));
            if partitions.is_empty() {
                return Ok(());
            }
            for partition in partitions {
                // The id comes from the server: a hash, or digits with a hyphen.
                self.execute(&format!("ALTER TABLE `{name}` DROP PARTITION ID '{}'", partition.id)).await?;
            }
        }
        Err(StoreError::Busy {
            store: STORE,
            reason: format!("partitions of {name} are there again whenever they are dropped"),
        })
    }
}
