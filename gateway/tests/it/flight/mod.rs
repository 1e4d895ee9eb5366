//! Arrow Flight over the wire, from arrow-rs and from pyarrow.

mod get;
mod hostile;
mod put;
mod pyarrow;
mod round_trip;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::{FlightClient, FlightData, FlightDescriptor, PutResult};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use tonic::Status;

use crate::harness::TestGateway;

async fn client(gateway: &TestGateway) -> FlightClient {
    FlightClient::new(gateway.channel().await)
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// A time of now with all nine digits of its fraction.
fn now_nanos() -> i64 {
    tidewell_gateway::ingest::now() / 1_000_000_000 * 1_000_000_000 + 123_456_789
}

/// The messages that put `batches` to a table: the schema first.
async fn messages(path: &[&str], batches: Vec<RecordBatch>) -> Vec<FlightData> {
    let path = path.iter().map(|&element| element.to_owned()).collect();
    let schema = batches[0].schema();
    FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .with_flight_descriptor(Some(FlightDescriptor::new_path(path)))
        .build(futures::stream::iter(batches.into_iter().map(Ok)))
        .try_collect()
        .await
        .unwrap()
}

/// Sends messages and reads all answers; the status when the call ends with one.
async fn put(gateway: &TestGateway, messages: Vec<FlightData>) -> (Vec<Value>, Option<Status>) {
    let answers = client(gateway).await.do_put(futures::stream::iter(messages.into_iter().map(Ok))).await;
    let mut answers = match answers {
        Ok(answers) => answers,
        Err(error) => return (Vec::new(), Some(error.into())),
    };
    let mut read = Vec::new();
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(PutResult { app_metadata }) => read.push(serde_json::from_slice(&app_metadata).unwrap()),
            Err(error) => return (read, Some(error.into())),
        }
    }
    (read, None)
}

/// Puts batches that are all taken; the last answer.
async fn put_all(gateway: &TestGateway, path: &[&str], batches: Vec<RecordBatch>) -> Value {
    let (answers, status) = put(gateway, messages(path, batches).await).await;
    assert!(status.is_none(), "{status:?}");
    answers.last().expect("an answer").clone()
}
