//! What would happen to a request: its bytes and a decode function in, the tables of its rows and the refused records out.
//! Nothing is kept of it, and it is not known afterwards.

use std::collections::BTreeMap;

use super::{BadRecords, Caller, Ingest, MAX_LISTED_ERRORS, Payload, RecordError, RequestOptions};
use crate::decode::{DecodeContext, DecodeError, Decoded};
use crate::registry::TableBatch;
use crate::rejection::Rejection;

/// What would become of a request.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Preview {
    /// Records that would be stored.
    pub accepted: usize,
    /// Records that would be refused.
    pub rejected: usize,
    /// The first [`MAX_LISTED_ERRORS`] of these.
    pub errors: Vec<RecordError>,
    /// What would be stored otherwise than sent, or in spite of a doubt.
    pub warnings: Vec<String>,
    /// Where rows would go, by table.
    pub tables: Vec<PreviewTable>,
}

/// Rows of one table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PreviewTable {
    /// The table.
    pub table: String,
    /// Its store.
    pub store: &'static str,
    /// Its version.
    pub version: u32,
    /// How many rows.
    pub rows: usize,
    /// The rules that sent rows there; none for rows that no rule matched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

impl Ingest {
    /// Decodes a request and sends its records where the routes say, and stores nothing.
    pub async fn preview<F>(
        &self,
        caller: &Caller,
        options: RequestOptions,
        payload: Payload,
        decode: F,
    ) -> Result<Preview, Rejection>
    where
        F: FnOnce(&DecodeContext<'_>) -> Result<Decoded, DecodeError> + Send + 'static,
    {
        self.check_ready()?;
        let memory = self.admit(caller, payload.len())?;
        drop(payload);
        let (decoded, _memory) = self.decode(caller, &options, memory, decode).await?;
        caller.rights.require_decoded(&decoded)?;
        let refuses_all = options.bad_records == BadRecords::RefuseAll && !decoded.rejected.is_empty();
        Ok(preview(&decoded, refuses_all))
    }
}

fn preview(decoded: &Decoded, refuses_all: bool) -> Preview {
    let mut tables: BTreeMap<&str, (&TableBatch, usize)> = BTreeMap::new();
    for batch in decoded.batches.iter().filter(|_| !refuses_all) {
        tables.entry(batch.table().name().as_str()).or_insert((batch, 0)).1 += batch.len();
    }
    let rules = |table: &str| -> Vec<String> {
        let mut rules: Vec<String> = Vec::new();
        for routed in decoded.routed.iter().filter(|routed| routed.table == table) {
            if !rules.contains(&routed.rule) {
                rules.push(routed.rule.clone());
            }
        }
        rules
    };
    let errors = decoded.rejected.iter().take(MAX_LISTED_ERRORS).map(RecordError::of);
    Preview {
        accepted: if refuses_all { 0 } else { decoded.accepted },
        rejected: decoded.rejected.len(),
        errors: errors.collect(),
        warnings: decoded.warnings.clone(),
        tables: tables
            .into_iter()
            .map(|(name, (batch, rows))| PreviewTable {
                table: name.to_owned(),
                store: batch.table().store().name(),
                version: batch.table().version,
                rows,
                rules: rules(name),
            })
            .collect(),
    }
}
