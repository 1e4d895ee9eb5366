//! Arrow streams in and out.

use crate::http::encode;
use crate::server::Server;
use arrow::array::{Array, StringArray, TimestampNanosecondArray, UInt64Array};
use arrow::ipc::{reader::StreamReader, writer::StreamWriter};
use arrow::record_batch::RecordBatch;
use std::sync::Arc;

pub(crate) fn batch(first: u64, rows: u64) -> RecordBatch {
    let numbers = UInt64Array::from_iter_values(first..first + rows);
    let texts =
        StringArray::from_iter((first..first + rows).map(|n| (n % 3 != 0).then(|| format!("row {n}"))));
    let times: TimestampNanosecondArray =
        (0..rows).map(|n| Some(1_700_000_000_123_456_789 + i64::try_from(n).unwrap())).collect();
    let columns: Vec<(&str, Arc<dyn Array>)> =
        vec![("n", Arc::new(numbers)), ("s", Arc::new(texts)), ("t", Arc::new(times.with_timezone("UTC")))];
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, name == "s")),
    )
    .unwrap()
}

/// The stream of `batches`, and where its end-of-stream mark starts.
pub(crate) fn stream(batches: &[RecordBatch]) -> (Vec<u8>, usize) {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    let end = writer.get_ref().len();
    writer.finish().unwrap();
    (writer.into_inner().unwrap(), end)
}

/// Scenario: a stream of several batches in, and the same rows out.
/// Guarantees: values, nulls and nanoseconds survive; the result is one stream.
#[test]
fn an_arrow_stream_survives_the_round_trip() {
    let server = Server::start();
    server.query(
        "CREATE TABLE t (n UInt64, s Nullable(String), t DateTime64(9, 'UTC')) ENGINE = MergeTree ORDER BY n",
    );
    let sent = batch(0, 300_000);
    let (bytes, _) = stream(&[sent.slice(0, 100_000), sent.slice(100_000, 200_000)]);
    let insert = format!("/?async_insert=0&query={}", encode("INSERT INTO t (n, s, t) FORMAT ArrowStream"));
    assert_eq!(server.post(&insert, &bytes).status, 200);
    let sql = "SELECT n, s, t FROM t ORDER BY n SETTINGS output_format_arrow_compression_method = 'none' FORMAT ArrowStream";
    let answer = server.post("/", sql);
    assert_eq!(answer.header("Content-Type"), Some("application/octet-stream"));
    let received: Vec<RecordBatch> =
        StreamReader::try_new(answer.body.as_slice(), None).unwrap().map(Result::unwrap).collect();
    let received = arrow::compute::concat_batches(&received[0].schema(), &received).unwrap();
    assert_eq!(received.num_rows(), sent.num_rows());
    for name in ["n", "s", "t"] {
        assert!(received.column_by_name(name) == sent.column_by_name(name), "{name}");
    }
}

/// Scenario: a stream that ends between two batches, so that every message in it is whole.
/// Guarantees: it is refused and nothing is inserted.
#[test]
fn a_stream_without_its_end_inserts_nothing() {
    let server = Server::start();
    server.query(
        "CREATE TABLE t (n UInt64, s Nullable(String), t DateTime64(9, 'UTC')) ENGINE = MergeTree ORDER BY n",
    );
    let insert = format!("/?query={}", encode("INSERT INTO t FORMAT ArrowStream"));
    let (bytes, end) = stream(&[batch(0, 1000), batch(1000, 1000)]);
    for cut in [end, end - 1, end / 2, bytes.len() - 1] {
        let response = server.post(&insert, &bytes[..cut]);
        assert_eq!(response.header("X-ClickHouse-Exception-Code"), Some("33"), "{cut}: {}", response.text());
    }
    assert_eq!(server.query("SELECT count() FROM t"), "0");
    assert_eq!(server.post(&insert, &bytes).status, 200);
    assert_eq!(server.query("SELECT count() FROM t"), "2000");
}
