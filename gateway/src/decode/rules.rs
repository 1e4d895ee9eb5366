//! What every row must keep besides its types, so that its store takes it: ranges of time, sizes, NUL characters.
//!
//! [`super::TableBuilder`] checks value by value, [`super::arrow`] column by column; the limits and the words in which
//! a sender hears of them are the same.

use std::ops::RangeInclusive;

use super::{AttributesColumn, DecodeContext};
use crate::registry::{AcceptedWindow, LabelLimits, StoreKind, TableDef};

/// Earliest time that both stores hold, 1900-01-01T00:00:00Z in nanoseconds (ClickHouse `DateTime64(9)`).
pub const MIN_TIME_NANOS: i64 = -2_208_988_800_000_000_000;
/// Latest time that both stores hold, 2262-04-11T23:47:16Z in nanoseconds (end of the signed 64-bit range).
pub const MAX_TIME_NANOS: i64 = 9_223_372_036_000_000_000;

/// Longest single value in bytes.
pub const MAX_VALUE_BYTES: usize = 16 * 1024 * 1024;
/// Longest value in bytes of a column that Timescale indexes: an entry of a B-tree index ends at 2,704 bytes, and the
/// key of `metrics_metadata` has four texts.
pub const MAX_INDEXED_BYTES: usize = 512;
/// Longest attribute key in bytes.
pub const MAX_KEY_BYTES: usize = 1024;
/// Most attributes of one record and column.
pub const MAX_ATTRIBUTES: usize = 1024;
/// Most labels of one record that are read where those beyond their table's limit are folded or dropped.
pub const MAX_EXCESS_LABELS: usize = 16 * 1024;

/// Why a value with a NUL character is refused.
pub const NUL_REASON: &str = "contains a NUL character, which Postgres cannot store";

/// The rules of one table at one moment.
#[derive(Debug, Clone)]
pub struct RowRules {
    accepted: RangeInclusive<i64>,
    window: AcceptedWindow,
    /// Postgres text and jsonb cannot hold NUL.
    forbid_nul: bool,
    /// Most bytes of a value, by column.
    sizes: Vec<usize>,
    /// The column of labels and their limits.
    labels: Option<(usize, LabelLimits)>,
}

impl RowRules {
    /// The rules of `table` for a request that arrives at the context's time.
    pub fn new(table: &TableDef, context: &DecodeContext<'_>) -> Self {
        let window = table.accepted_window();
        let nanos = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
        let earliest = context.now_nanos.saturating_sub(nanos(window.past_seconds)).max(MIN_TIME_NANOS);
        let latest = context.now_nanos.saturating_add(nanos(window.future_seconds)).min(MAX_TIME_NANOS);
        let size = |column| if table.is_indexed(column) { MAX_INDEXED_BYTES } else { MAX_VALUE_BYTES };
        Self {
            accepted: earliest..=latest,
            window,
            forbid_nul: table.store() == StoreKind::Timescale,
            sizes: (0..table.columns().len()).map(size).collect(),
            labels: table.label_column().map(|column| (column, table.label_limits())),
        }
    }

    /// The rules of rows that a store gave: what it holds, it can hold.
    pub fn of_stored_rows(table: &TableDef) -> Self {
        Self {
            accepted: MIN_TIME_NANOS..=MAX_TIME_NANOS,
            window: table.accepted_window(),
            forbid_nul: false,
            sizes: Vec::new(),
            labels: None,
        }
    }

    /// A builder of the attributes of a column.
    pub fn attributes(&self, column: usize) -> AttributesColumn {
        match self.label_limits(column) {
            Some(limits) => AttributesColumn::limited(limits),
            None => AttributesColumn::new(),
        }
    }

    /// The limits of a column, if it is that of the labels.
    pub fn label_limits(&self, column: usize) -> Option<LabelLimits> {
        self.labels.filter(|(labels, _)| *labels == column).map(|(_, limits)| limits)
    }

    /// Whether text may not hold NUL characters.
    pub fn forbids_nul(&self) -> bool {
        self.forbid_nul
    }

    /// Checks the size of one value of a column; the error is the reason.
    pub fn check_size(&self, column: usize, bytes: usize) -> Result<(), String> {
        match self.sizes.get(column) {
            Some(&limit) if bytes > limit => {
                Err(format!("has {bytes} bytes: at most {limit} are allowed in this column"))
            }
            _ => check_size(bytes),
        }
    }

    /// The times that a column takes, in nanoseconds since 1970. `is_record_time`: the column is the table's time
    /// column, whose values must lie in the accepted window.
    pub fn times(&self, is_record_time: bool) -> RangeInclusive<i64> {
        if is_record_time { self.accepted.clone() } else { MIN_TIME_NANOS..=MAX_TIME_NANOS }
    }

    /// Checks one time against [`RowRules::times`]; the error is the reason.
    pub fn check_time(&self, nanos: i64, is_record_time: bool) -> Result<(), String> {
        if !(MIN_TIME_NANOS..=MAX_TIME_NANOS).contains(&nanos) {
            return Err("time is outside of 1900-01-01 to 2262-04-11, which the stores can hold".to_owned());
        }
        if is_record_time && !self.accepted.contains(&nanos) {
            return Err(format!(
                "time is outside of the table's accepted window: at most {} s in the past and {} s in the future",
                self.window.past_seconds, self.window.future_seconds
            ));
        }
        Ok(())
    }
}

/// Checks the size of one value; the error is the reason.
pub fn check_size(bytes: usize) -> Result<(), String> {
    if bytes > MAX_VALUE_BYTES {
        return Err(format!("has {bytes} bytes: at most {MAX_VALUE_BYTES} are allowed"));
    }
    Ok(())
}
