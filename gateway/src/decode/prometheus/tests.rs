//! Requests as generated clients encode them, read back from the rows; and requests that no client would send.

mod corpus;
mod hostile;
mod messages;
mod native;
mod rows;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampNanosecondType};
use prost::Message as _;

use self::messages::*;
use super::*;
use crate::decode::DecodeLimits;
use crate::registry::builtin::{METRICS_EVENTS, METRICS_EXEMPLARS, METRICS_HISTOGRAMS};
use crate::registry::{Snapshot, Tenant, builtin};

const NOW: i64 = 1_700_000_000_000_000_000;
/// [`NOW`] as Prometheus writes it.
const NOW_MS: i64 = NOW / 1_000_000;

fn decode_within(
    body: &[u8],
    version: Version,
    limits: DecodeLimits,
) -> Result<(Decoded, Written), DecodeError> {
    let tenant = Tenant::default();
    let tables = Snapshot::new(builtin::tables(&tenant).unwrap());
    write_request(body, version, &DecodeContext { tables: &tables, tenant: &tenant, now_nanos: NOW, limits })
}

fn decode_bytes(body: &[u8], version: Version) -> Result<(Decoded, Written), DecodeError> {
    decode_within(body, version, DecodeLimits::default())
}

fn decode_v1(request: &RequestV1) -> (Decoded, Written) {
    decode_bytes(&request.encode_to_vec(), Version::V1).unwrap()
}

fn decode_v2(request: &RequestV2) -> (Decoded, Written) {
    decode_bytes(&request.encode_to_vec(), Version::V2).unwrap()
}

fn column(decoded: &Decoded, table: &str, name: &str) -> ArrayRef {
    let batch = decoded.batches.iter().find(|batch| batch.table().name().as_str() == table);
    Arc::clone(batch.expect(table).rows().column_by_name(name).unwrap())
}

fn texts(decoded: &Decoded, table: &str, name: &str) -> Vec<Option<String>> {
    column(decoded, table, name).as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

fn doubles(decoded: &Decoded, table: &str, name: &str) -> Vec<Option<f64>> {
    column(decoded, table, name).as_primitive::<Float64Type>().iter().collect()
}

fn bigints(decoded: &Decoded, table: &str, name: &str) -> Vec<Option<i64>> {
    column(decoded, table, name).as_primitive::<Int64Type>().iter().collect()
}

fn times(decoded: &Decoded, table: &str, name: &str) -> Vec<Option<i64>> {
    column(decoded, table, name).as_primitive::<TimestampNanosecondType>().iter().collect()
}

/// The labels of one row.
fn labels_of(decoded: &Decoded, table: &str, name: &str, row: usize) -> Vec<(String, String)> {
    let row = column(decoded, table, name).as_map().value(row);
    let keys = row.column(0).as_string::<i32>();
    let values = row.column(1).as_struct();
    let values = values.column(0).as_string::<i32>();
    (0..row.len()).map(|at| (keys.value(at).to_owned(), values.value(at).to_owned())).collect()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

fn sample(value: f64, timestamp: i64) -> Sample {
    Sample { value, timestamp, start_timestamp: 0 }
}

/// A refused record decodes as it did before when it is sent alone, and says the same.
fn assert_kept_alone(decoded: &Decoded, version: Version) {
    for rejected in &decoded.rejected {
        assert_eq!(rejected.content_type, version.kept_content_type());
        let (again, _) = decode_bytes(&rejected.payload, version).unwrap();
        let [same] = again.rejected.as_slice() else { panic!("{again:?}") };
        assert_eq!((same.index, &same.error, again.accepted), (0, &rejected.error, 0));
        assert_eq!((&same.table, &same.payload), (&rejected.table, &rejected.payload));
    }
}
