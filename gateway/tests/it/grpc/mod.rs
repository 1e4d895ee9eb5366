//! `tidewell.v1.Ingest` over the wire, from generated clients and from worse.

mod bad_input;
mod round_trip;
mod streams;
mod tables;

use std::collections::BTreeMap;

use tidewell_proto::v1;
use tidewell_proto::v1::ingest_client::IngestClient;
use tidewell_proto::v1::value::Kind;
use tidewell_proto::v1::write_request::Records;
use tonic::transport::Channel;

use crate::harness::TestGateway;

async fn client(gateway: &TestGateway) -> IngestClient<Channel> {
    IngestClient::new(gateway.channel().await)
}

fn write(records: Records) -> v1::WriteRequest {
    v1::WriteRequest { records: Some(records), ..Default::default() }
}

fn value(kind: Kind) -> v1::Value {
    v1::Value { kind: Some(kind) }
}

fn string(text: &str) -> v1::Value {
    value(Kind::StringValue(text.to_owned()))
}

fn map<const N: usize>(fields: [(&str, v1::Value); N]) -> BTreeMap<String, v1::Value> {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Labels with a value of every type.
fn labels() -> BTreeMap<String, v1::Value> {
    let list = v1::ListValue { values: vec![value(Kind::IntValue(1)), string("1"), v1::Value::default()] };
    let nested = v1::MapValue { fields: map([("k", value(Kind::DoubleValue(1.0)))]) };
    map([
        ("bool", value(Kind::BoolValue(true))),
        ("bytes", value(Kind::BytesValue(b"hi".to_vec()))),
        ("double", value(Kind::DoubleValue(1.0))),
        ("int", value(Kind::IntValue(1))),
        ("list", value(Kind::ListValue(list))),
        ("map", value(Kind::MapValue(nested))),
        ("null", v1::Value::default()),
        ("string", string("1")),
    ])
}

/// A time of now with all nine digits of its fraction.
fn now_nanos() -> i64 {
    tidewell_gateway::ingest::now() / 1_000_000_000 * 1_000_000_000 + 123_456_789
}

/// Log records whose messages are the numbers of `range`.
fn numbered_logs(range: std::ops::Range<usize>) -> Records {
    let record = |number: usize| v1::LogRecord {
        time_unix_nano: Some(now_nanos()),
        app: "numbered".to_owned(),
        message: Some(string(&number.to_string())),
        ..Default::default()
    };
    Records::Logs(v1::LogRecords { records: range.map(record).collect() })
}
