//! `DoPut`: acknowledgements in both conventions, and what ends a stream.

use arrow::array::*;
use arrow_flight::FlightDescriptor;
use serde_json::json;
use tonic::Code;

use super::*;

fn logs(range: std::ops::Range<i64>) -> RecordBatch {
    let time = now_nanos();
    let times: Vec<i64> = range.clone().map(|number| time + number).collect();
    let messages: Vec<String> = range.map(|number| number.to_string()).collect();
    batch(vec![
        ("timestamp", Arc::new(TimestampNanosecondArray::from(times))),
        ("message", Arc::new(StringArray::from(messages))),
    ])
}

/// Scenario: 20 batches without metadata; then with `offset_id`s; then with `request_id`s.
/// Guarantees: offsets are counted or taken over and rise, a client of the offset convention is told that the stream is
/// ready, and every `request_id` has an answer of its own.
#[tokio::test(flavor = "multi_thread")]
async fn batches_are_acknowledged_in_both_conventions() {
    let gateway = TestGateway::start().await;
    let batches: Vec<_> = (0..20).map(|at| logs(at * 10..at * 10 + 10)).collect();
    let answer = put_all(&gateway, &["logs"], batches.clone()).await;
    assert_eq!((&answer["ack_up_to_offset"], &answer["ack_up_to_records"]), (&json!(19), &json!(200)));

    let mut sent = messages(&["logs"], batches.clone()).await;
    for (at, message) in sent.iter_mut().enumerate() {
        let offset = i64::try_from(at).unwrap() * 5 - 5;
        message.app_metadata = json!({"offset_id": offset}).to_string().into();
    }
    let (answers, status) = put(&gateway, sent).await;
    assert!(status.is_none(), "{status:?}");
    let offsets: Vec<i64> =
        answers.iter().map(|answer| answer["ack_up_to_offset"].as_i64().unwrap()).collect();
    assert_eq!((offsets[0], *offsets.last().unwrap()), (-1, 95), "ready, then up to the last");
    assert!(offsets.is_sorted(), "{offsets:?}");

    let mut sent = messages(&["logs"], batches).await;
    for (at, message) in sent.iter_mut().enumerate().skip(1) {
        message.app_metadata = json!({"request_id": at}).to_string().into();
    }
    let (answers, status) = put(&gateway, sent).await;
    assert!(status.is_none(), "{status:?}");
    let answered: Vec<_> =
        answers.iter().map(|answer| (&answer["request_id"], &answer["affected_rows"])).collect();
    let wanted: Vec<_> = (1..=20).map(|at| (json!(at), json!(10))).collect();
    assert_eq!(answered, wanted.iter().map(|(id, rows)| (id, rows)).collect::<Vec<_>>());
    assert!(answers[0]["elapsed_secs"].as_f64().unwrap() > 0.0);
    assert_eq!(gateway.databases.clickhouse("SELECT count() FROM logs_events").await, "600");
    gateway.stop().await;
}

/// Scenario: a client sends 300 batches and reads nothing until it has sent all.
/// Guarantees: neither side comes to a stop, with one answer for all as with one for each.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_not_stopped() {
    let gateway = TestGateway::start().await;
    for with_ids in [false, true] {
        let mut sent = messages(&["logs"], (0..300).map(|at| logs(at..at + 1)).collect()).await;
        if with_ids {
            sent.iter_mut().skip(1).for_each(|message| message.app_metadata = r#"{"request_id":"x"}"#.into());
        }
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let receiver = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut answers = client(&gateway).await.do_put(receiver.map(Ok)).await.unwrap();
        let send_all = async {
            for message in sent {
                sender.send(message).await.unwrap();
            }
            drop(sender);
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), send_all).await.expect("sending goes on");
        let (mut records, mut count) = (0, 0);
        while let Some(answer) = answers.next().await {
            let answer: Value = serde_json::from_slice(&answer.unwrap().app_metadata).unwrap();
            records = answer["ack_up_to_records"].as_u64().unwrap();
            count += 1;
        }
        assert_eq!(records, 300);
        assert_eq!(count == 300, with_ids, "{count} answers");
    }
    gateway.stop().await;
}

/// Scenario: descriptors and schemas that fit no table.
/// Guarantees: each is refused before a row is taken, with a code and a reason.
#[tokio::test(flavor = "multi_thread")]
async fn descriptors_and_schemas_are_held_against_the_table() {
    let gateway = TestGateway::start().await;
    let wrong = batch(vec![("timestamp", Arc::new(BooleanArray::from(vec![true])))]);
    let incomplete = batch(vec![("message", Arc::new(StringArray::from(vec!["x"])))]);
    let cases: [(&[&str], RecordBatch, Code, &str); 6] = [
        (&["nowhere"], logs(0..1), Code::NotFound, "nowhere"),
        (&["metrics", "logs_events"], logs(0..1), Code::InvalidArgument, "kind"),
        (&["a", "b", "c"], logs(0..1), Code::InvalidArgument, "path"),
        (&["dead_letters"], logs(0..1), Code::PermissionDenied, "gateway itself"),
        (&["logs"], wrong, Code::InvalidArgument, "\"timestamp\" is Boolean"),
        (&["logs"], incomplete, Code::InvalidArgument, "\"timestamp\" is missing"),
    ];
    for (path, batch, code, reason) in cases {
        let (answers, status) = put(&gateway, messages(path, vec![batch]).await).await;
        let status = status.expect("a status");
        assert_eq!((answers.len(), status.code()), (0, code), "{status:?}");
        assert!(status.message().contains(reason), "{status:?}");
    }
    let mut nameless = messages(&["logs"], vec![logs(0..1)]).await;
    nameless[0].flight_descriptor = None;
    let (_, status) = put(&gateway, nameless).await;
    assert!(status.unwrap().message().contains("descriptor"));

    let mut command = messages(&["logs"], vec![logs(0..1)]).await;
    command[0].flight_descriptor = Some(FlightDescriptor::new_cmd(r#"{"table":"logs_events"}"#));
    let (answers, status) = put(&gateway, command).await;
    assert!(status.is_none() && answers[0]["accepted"] == 1, "a command names a table as well: {status:?}");
    gateway.stop().await;
}

/// Scenario: a stream whose schema changes after a good batch, and one whose offsets fall.
/// Guarantees: the batch before is acknowledged and stored, then the call ends with INVALID_ARGUMENT.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_good_batches_does_not_undo_them() {
    let gateway = TestGateway::start().await;
    let other = batch(vec![("timestamp", Arc::new(TimestampNanosecondArray::from(vec![now_nanos()])))]);
    let mut changed = messages(&["logs"], vec![logs(0..1)]).await;
    changed.extend(messages(&["logs"], vec![other]).await);
    let mut falling = messages(&["logs"], vec![logs(0..1), logs(1..2)]).await;
    for message in &mut falling[1..] {
        message.app_metadata = r#"{"offset_id":3}"#.into();
    }
    for (sent, reason) in [(changed, "schema changes"), (falling, "offset_id 3")] {
        let (answers, status) = put(&gateway, sent).await;
        let status = status.expect("a status");
        assert_eq!((answers.len(), status.code()), (1, Code::InvalidArgument), "{status:?}");
        assert!(status.message().contains(reason), "{status:?}");
    }
    assert_eq!(gateway.databases.clickhouse("SELECT count() FROM logs_events").await, "2");
    gateway.stop().await;
}

/// Scenario: a batch with bad rows among good ones.
/// Guarantees: the good ones are found, the bad ones are named by offset, index, field and reason and kept as JSON.
#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_spoil_nothing_else() {
    let gateway = TestGateway::start().await;
    let time = now_nanos();
    let given = batch(vec![
        (
            "time",
            Arc::new(TimestampNanosecondArray::from(vec![Some(time), Some(0), None, Some(time), Some(time)])),
        ),
        ("metric", Arc::new(StringArray::from(vec!["a", "b", "c", "d\0", "e"]))),
        ("value", Arc::new(Float64Array::from(vec![1.0; 5]))),
    ]);
    let answer = put_all(&gateway, &["metrics"], vec![given]).await;
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(2), &json!(3)));
    let errors: Vec<_> =
        answer["errors"].as_array().unwrap().iter().map(|e| (&e["index"], &e["field"])).collect();
    assert_eq!(
        errors,
        [(&json!(1), &json!("time")), (&json!(2), &json!("time")), (&json!(3), &json!("metric"))]
    );
    let stored = gateway.timescale("SELECT metric FROM metrics_events ORDER BY 1").await;
    assert_eq!(stored, [json!({"metric": "a"}), json!({"metric": "e"})]);
    let letters = gateway
        .timescale(
            "SELECT record_index, protocol, convert_from(payload, 'UTF8')::json->>'metric' AS metric \
             FROM dead_letters WHERE record_index < 3 ORDER BY record_index",
        )
        .await;
    let letter =
        |index: i32, metric: &str| json!({"record_index": index, "protocol": "flight", "metric": metric});
    assert_eq!(letters, [letter(1, "b"), letter(2, "c")]);
    gateway.stop().await;
}
