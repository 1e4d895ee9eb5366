//! Tables over gRPC, health and reflection.

use arrow_flight::IpcMessage;
use serde_json::json;
use tidewell_proto::v1;
use tidewell_proto::v1::value::Kind;
use tidewell_proto::v1::write_request::Records;
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::{client, map, now_nanos, string, value, write};
use crate::harness::TestGateway;

fn definition(columns: &[(&str, &str)]) -> v1::RegisterTableRequest {
    let columns = columns.iter().map(|(name, kind)| v1::ColumnDefinition {
        name: (*name).to_owned(),
        r#type: (*kind).to_owned(),
        nullable: None,
    });
    let table = v1::TableDefinition {
        table_name: "rooms".to_owned(),
        columns: columns.collect(),
        ..Default::default()
    };
    v1::RegisterTableRequest { table: Some(table) }
}

/// Scenario: a table is registered, again, with one more column, and with a narrower one; a row is written to it.
/// Guarantees: created, unchanged, extended, refused; the description gives types and the Arrow schema; the row is
/// found with the types it was sent with.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_registered_extended_described_and_written() {
    let gateway = TestGateway::start().await;
    let mut client = client(&gateway).await;
    let columns =
        [("time", "timestamp_ns"), ("room", "text"), ("temperature", "double"), ("labels", "jsonb")];
    let created = client.register_table(definition(&columns)).await.unwrap().into_inner();
    assert!(created.changed);
    assert!(!client.register_table(definition(&columns)).await.unwrap().into_inner().changed);
    let more = [&columns[..], &[("tags", "text[]")]].concat();
    let extended = client.register_table(definition(&more)).await.unwrap().into_inner();
    assert_eq!((extended.changed, extended.table.unwrap().version), (true, 2));
    let narrower = [("time", "timestamp_ns"), ("room", "integer")];
    let refused = client.register_table(definition(&narrower)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    let hostile =
        client.register_table(definition(&[("time", "timestamp"), ("a\"; DROP TABLE x", "text")])).await;
    assert_eq!(hostile.unwrap_err().code(), Code::InvalidArgument);

    let request = v1::DescribeTableRequest { table_name: "rooms".to_owned() };
    let table = client.describe_table(request).await.unwrap().into_inner().table.unwrap();
    let definition = table.definition.unwrap();
    assert_eq!((definition.store.as_str(), definition.label_column.as_str()), ("timescale", "labels"));
    let types: Vec<&str> = definition.columns.iter().map(|column| column.r#type.as_str()).collect();
    assert_eq!(types, ["timestamp_ns", "text", "double", "attributes", "text[]"]);
    let schema: arrow::datatypes::Schema = IpcMessage(table.arrow_schema.into()).try_into().unwrap();
    assert_eq!(schema.fields().len(), 5);
    let all = client.list_tables(v1::ListTablesRequest {}).await.unwrap().into_inner().tables;
    assert_eq!(all.len(), 8, "the built-in tables and this one");

    let time = now_nanos();
    let tags = v1::ListValue { values: vec![string("a"), string("b")] };
    let values = map([
        ("time", value(Kind::TimeUnixNano(time))),
        ("room", string("cellar")),
        ("temperature", value(Kind::IntValue(12))),
        ("tags", value(Kind::ListValue(tags))),
        ("sensor", value(Kind::IntValue(7))),
    ]);
    let rows = v1::Rows { table: "rooms".to_owned(), rows: vec![v1::Row { values }] };
    let answer = client.write(write(Records::Rows(rows))).await.unwrap().into_inner();
    assert_eq!((answer.accepted, answer.rejected), (1, 0), "{answer:?}");
    let rows = gateway.timescale("SELECT time_nanos, room, temperature::text, labels, tags FROM rooms").await;
    let wanted = json!({"time_nanos": 789, "room": "cellar", "temperature": "12", "labels": {"sensor": 7},
                        "tags": ["a", "b"]});
    assert_eq!(rows, [wanted]);
    gateway.stop().await;
}

/// Scenario: a client asks for health, once and as a stream, and for the services by reflection.
/// Guarantees: serving while ready, unknown names say so, the stream tells of the end; the service is described.
#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_answer() {
    let gateway = TestGateway::start().await;
    let channel = gateway.channel().await;
    let mut health = HealthClient::new(channel.clone());
    let ask = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for service in ["", "tidewell.v1.Ingest", "arrow.flight.protocol.FlightService"] {
        let answer = health.check(ask(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    assert_eq!(health.check(ask("nothing")).await.unwrap_err().code(), Code::NotFound);
    let mut changes = health.watch(ask("")).await.unwrap().into_inner();
    assert_eq!(changes.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let mut unknown = health.watch(ask("nothing")).await.unwrap().into_inner();
    assert_eq!(unknown.next().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    drop(unknown);

    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let symbol = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol("tidewell.v1.Ingest".to_owned())),
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let answers = reflection.server_reflection_info(tokio_stream::iter([list, symbol])).await.unwrap();
    let answers: Vec<_> =
        answers.into_inner().map(|answer| answer.unwrap().message_response.unwrap()).collect().await;
    let [MessageResponse::ListServicesResponse(services), MessageResponse::FileDescriptorResponse(file)] =
        answers.as_slice()
    else {
        panic!("{answers:?}")
    };
    assert!(services.service.iter().any(|service| service.name == "tidewell.v1.Ingest"), "{services:?}");
    assert!(!file.file_descriptor_proto.is_empty());
    gateway.stop().await;
    assert_eq!(changes.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
}
