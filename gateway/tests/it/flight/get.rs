//! `DoGet` and what leads to it: schemas, tickets, bounded queries.

use arrow::array::*;
use arrow::compute::concat_batches;
use arrow_flight::{Action, FlightDescriptor, Ticket};
use serde_json::json;
use tonic::Code;

use super::*;

async fn get(gateway: &TestGateway, ticket: &Value) -> Result<RecordBatch, Status> {
    let mut rows =
        client(gateway).await.do_get(Ticket::new(ticket.to_string())).await.map_err(Status::from)?;
    let mut batches = Vec::new();
    while let Some(batch) = rows.next().await {
        batches.push(batch.map_err(Status::from)?);
    }
    let schema = rows.schema().cloned().expect("a schema, with or without rows");
    Ok(concat_batches(&schema, &batches).unwrap())
}

/// A definition with a column of every type.
fn definition(name: &str, store: &str) -> Value {
    let kinds = [
        "timestamp_ns",
        "timestamp",
        "timestamp_ms",
        "double",
        "bigint",
        "integer",
        "boolean",
        "text",
        "low_cardinality_text",
        "bytes",
        "uuid",
        "attributes",
        "jsonb",
        "double[]",
        "bigint[]",
        "text[]",
    ];
    let column = |(at, kind): (usize, &&str)| json!({"name": format!("c{at}"), "type": kind});
    let columns: Vec<Value> = kinds.iter().enumerate().map(column).collect();
    json!({"table_name": name, "store": store, "columns": columns, "time_column": "c0", "label_column": "c11"})
}

/// Values of every type, NULL in every second row.
fn every_type(rows: usize) -> RecordBatch {
    let time = now_nanos();
    let some = |row: usize| row.is_multiple_of(2);
    let number = |row: usize| i64::try_from(row).unwrap();
    let nanos = |factor: i64| -> ArrayRef {
        let times = (0..rows)
            .map(|row| (factor == 1 || some(row)).then(|| time / factor * factor - number(row) * 1_000_000));
        Arc::new(times.collect::<TimestampNanosecondArray>())
    };
    let text = |row: usize| some(row).then(|| format!("text {row} \u{e9}"));
    let labels: StringArray = (0..rows)
        .map(|row| {
            Some(format!(r#"{{"i":{row},"d":1.5,"b":true,"s":"1","n":null,"a":[1,"x"],"m":{{"$k":1.0}}}}"#))
        })
        .collect();
    let docs: StringArray = (0..rows).map(|row| some(row).then(|| format!(r#"{{"a":{row}}}"#))).collect();
    let lists = |row: usize| Some(if some(row) { vec![Some(number(row)), Some(-1)] } else { Vec::new() });
    let mut texts = ListBuilder::new(StringBuilder::new());
    for row in 0..rows {
        texts.append_value(if some(row) { vec![Some("a"), Some("")] } else { Vec::new() });
    }
    batch(vec![
        ("c0", nanos(1)),
        ("c1", nanos(1_000)),
        ("c2", nanos(1_000_000)),
        (
            "c3",
            Arc::new(
                (0..rows).map(|row| some(row).then(|| number(row) as f64 + 0.5)).collect::<Float64Array>(),
            ),
        ),
        ("c4", Arc::new((0..rows).map(|row| some(row).then_some(i64::MAX)).collect::<Int64Array>())),
        ("c5", Arc::new((0..rows).map(|row| some(row).then_some(-5)).collect::<Int32Array>())),
        ("c6", Arc::new((0..rows).map(|row| some(row).then_some(true)).collect::<BooleanArray>())),
        ("c7", Arc::new((0..rows).map(text).collect::<StringArray>())),
        ("c8", Arc::new((0..rows).map(text).collect::<StringArray>())),
        ("c9", Arc::new((0..rows).map(|row| some(row).then_some([0_u8, 255])).collect::<BinaryArray>())),
        (
            "c10",
            Arc::new(
                (0..rows)
                    .map(|row| some(row).then_some("67e55044-10b1-426f-9247-bb680e5fe0c8"))
                    .collect::<StringArray>(),
            ),
        ),
        ("c11", Arc::new(labels)),
        ("c12", Arc::new(docs)),
        (
            "c13",
            Arc::new(ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>(
                (0..rows).map(lists),
            )),
        ),
        (
            "c14",
            Arc::new(ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>(
                (0..rows).map(lists),
            )),
        ),
        ("c15", Arc::new(texts.finish())),
    ])
}

/// Scenario: tables with a column of every type in both stores are registered, filled, read, and what was read is
/// written to a second table and read again.
/// Guarantees: what was read has the schema of `GetSchema`, newest rows first, and survives the second way unchanged.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_every_type_survive_being_read_and_written_again() {
    let gateway = TestGateway::start().await;
    for store in ["timescale", "clickhouse"] {
        for name in ["first", "second"] {
            let body = definition(&format!("{store}_{name}"), store).to_string();
            let answer =
                client(&gateway).await.do_action(Action::new("schema.register", body)).await.unwrap();
            let answer: Vec<_> = answer.try_collect().await.unwrap();
            let answer: Value = serde_json::from_slice(&answer[0]).unwrap();
            assert_eq!(answer["result"], "created");
        }
        let first = format!("{store}_first");
        let answer = put_all(&gateway, &[&first], vec![every_type(10_000)]).await;
        assert_eq!(
            (&answer["ack_up_to_records"], &answer["rejected"]),
            (&json!(10_000), &json!(0)),
            "{answer}"
        );
        let read = get(&gateway, &json!({"table": first, "limit": 20_000})).await.unwrap();
        assert_eq!(read.num_rows(), 10_000);
        let descriptor = FlightDescriptor::new_path(vec![first.clone()]);
        let schema = client(&gateway).await.get_schema(descriptor).await.unwrap();
        assert_eq!(read.schema().fields(), schema.fields(), "{store}");
        let times = read.column(0).as_primitive::<arrow::datatypes::TimestampNanosecondType>();
        assert!(times.values().is_sorted_by(|a, b| a >= b), "newest first");

        let second = format!("{store}_second");
        put_all(&gateway, &[&second], vec![read.clone()]).await;
        let again = get(&gateway, &json!({"table": second, "limit": 20_000})).await.unwrap();
        assert_eq!(again, read, "{store}");
    }
    let timescale = get(&gateway, &json!({"table": "timescale_first", "limit": 5})).await.unwrap();
    let clickhouse = get(&gateway, &json!({"table": "clickhouse_first", "limit": 5})).await.unwrap();
    // The two tables were filled at different moments, and Postgres writes the text of JSON in its own way; nothing else
    // differs.
    let documents = |read: &RecordBatch| -> Vec<Option<Value>> {
        let texts = read.column(12).as_string::<i32>();
        texts.iter().map(|text| text.map(|text| serde_json::from_str(text).unwrap())).collect()
    };
    assert_eq!(documents(&timescale), documents(&clickhouse));
    for column in (3..16).filter(|column| *column != 12) {
        assert_eq!(timescale.column(column), clickhouse.column(column), "c{column}");
    }
    gateway.stop().await;
}

/// Scenario: queries with a time range, filters and a limit, over 3 rows a nanosecond apart, in both stores.
/// Guarantees: bounds are exact to the nanosecond, `from` belongs to the range and `to` does not, values are compared
/// and never executed.
#[tokio::test(flavor = "multi_thread")]
async fn queries_are_bounded() {
    let gateway = TestGateway::start().await;
    let time = now_nanos();
    for store in ["timescale", "clickhouse"] {
        let table = format!("{store}_t");
        let columns = json!([{"name": "time", "type": "timestamp_ns"}, {"name": "name", "type": "text"},
                             {"name": "n", "type": "bigint"}]);
        let (status, answer) = gateway
            .post_json("/schema/register", &json!({"table_name": table, "store": store, "columns": columns}))
            .await;
        assert_eq!(status, 201, "{answer}");
        let given = batch(vec![
            ("time", Arc::new(TimestampNanosecondArray::from(vec![time, time + 1, time + 2]))),
            ("name", Arc::new(StringArray::from(vec![Some("a"), Some("it's"), None]))),
            ("n", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ]);
        put_all(&gateway, &[&table], vec![given]).await;
        let numbers = async |query: Value| -> Vec<i64> {
            let mut ticket = json!({"table": table});
            ticket.as_object_mut().unwrap().extend(query.as_object().unwrap().clone());
            let rows = get(&gateway, &ticket).await.unwrap();
            rows.column(2).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec()
        };
        assert_eq!(numbers(json!({})).await, [3, 2, 1], "{store}: newest first");
        assert_eq!(numbers(json!({"from": time + 1})).await, [3, 2], "{store}");
        assert_eq!(numbers(json!({"to": time + 1})).await, [1], "{store}");
        assert_eq!(numbers(json!({"from": time + 1, "to": time + 2})).await, [2], "{store}");
        assert_eq!(numbers(json!({"from": "2100-01-01T00:00:00Z"})).await, [0; 0], "{store}");
        assert_eq!(numbers(json!({"limit": 1})).await, [3], "{store}");
        assert_eq!(numbers(json!({"filters": {"name": "it's", "n": 2}})).await, [2], "{store}");
        assert_eq!(numbers(json!({"filters": {"name": null}})).await, [3], "{store}");
        assert_eq!(numbers(json!({"filters": {"name": "' OR 1=1 --"}})).await, [0; 0], "{store}");
        for wrong in [
            json!({"table": table, "limit": 1_000_001}),
            json!({"table": table, "filters": {"n; DROP TABLE t": 1}}),
            json!({"table": table, "from": "yesterday"}),
            json!({"table": table, "where": "1=1"}),
        ] {
            assert_eq!(get(&gateway, &wrong).await.unwrap_err().code(), Code::InvalidArgument, "{wrong}");
        }
    }
    let unknown = get(&gateway, &json!({"table": "nowhere"})).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    gateway.stop().await;
}

/// Scenario: a client discovers what there is.
/// Guarantees: every table is listed with its schema and a ticket that works; actions are listed and answer.
#[tokio::test(flavor = "multi_thread")]
async fn tables_and_actions_can_be_discovered() {
    let gateway = TestGateway::start().await;
    let mut client = client(&gateway).await;
    let flights: Vec<_> = client.list_flights("").await.unwrap().try_collect().await.unwrap();
    assert_eq!(flights.len(), 7);
    for flight in flights {
        let descriptor = flight.flight_descriptor.clone().unwrap();
        let info = client.get_flight_info(descriptor).await.unwrap();
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let rows: Vec<RecordBatch> = client.do_get(ticket).await.unwrap().try_collect().await.unwrap();
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
        let schema = info.try_decode_schema().unwrap();
        assert!(schema.fields().len() > 5);
    }
    let actions: Vec<_> = client.list_actions().await.unwrap().try_collect().await.unwrap();
    let names: Vec<&str> = actions.iter().map(|action| action.r#type.as_str()).collect();
    assert_eq!(names, ["schema.register", "healthcheck"]);
    let health: Vec<_> =
        client.do_action(Action::new("healthcheck", "")).await.unwrap().try_collect().await.unwrap();
    assert_eq!(health, [r#"{"status":"serving"}"#]);
    let refused = client.do_action(Action::new("schema.register", "{}")).await.err().expect("no definition");
    assert_eq!(Status::from(refused).code(), Code::InvalidArgument);
    gateway.stop().await;
}
