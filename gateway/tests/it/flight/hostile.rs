//! Flight messages that no client would send.

use arrow::array::*;
use tonic::Code;

use super::*;

fn logs() -> RecordBatch {
    let messages: DictionaryArray<arrow::datatypes::Int32Type> = vec!["a", "b"].into_iter().collect();
    batch(vec![
        ("timestamp", Arc::new(TimestampNanosecondArray::from(vec![now_nanos(); 2]))),
        ("message", Arc::new(messages)),
    ])
}

/// Scenario: headers and bodies that are cut off, swapped or overwritten, each on a stream of its own.
/// Guarantees: every one is refused as INVALID_ARGUMENT or taken whole, and the gateway goes on.
#[tokio::test(flavor = "multi_thread")]
async fn broken_messages_are_refused_and_the_gateway_goes_on() {
    let gateway = TestGateway::start().await;
    // Dictionaries as they are, so that there is a message of each kind.
    let sent: Vec<FlightData> = FlightDataEncoderBuilder::new()
        .with_dictionary_handling(arrow_flight::encode::DictionaryHandling::Resend)
        .with_flight_descriptor(Some(FlightDescriptor::new_path(vec!["logs".to_owned()])))
        .build(futures::stream::iter([Ok(logs())]))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(sent.len(), 3, "schema, dictionary, batch");
    for at in 0..sent.len() {
        let breaks: [&dyn Fn(&mut FlightData); 5] = [
            &|message| message.data_header = message.data_header.slice(..message.data_header.len() / 2),
            &|message| message.data_body = message.data_body.slice(..message.data_body.len() / 2),
            &|message| message.data_header = vec![0xff; 64].into(),
            &|message| message.data_body = Vec::new().into(),
            &|message| {
                let mut header = message.data_header.to_vec();
                header.iter_mut().step_by(7).for_each(|byte| *byte ^= 0x55);
                message.data_header = header.into();
            },
        ];
        for (number, break_it) in breaks.iter().enumerate() {
            let mut broken = sent.clone();
            break_it(&mut broken[at]);
            let (_, status) = put(&gateway, broken).await;
            if let Some(status) = status {
                assert_eq!(status.code(), Code::InvalidArgument, "message {at}, break {number}: {status:?}");
            } else {
                assert_eq!(at, 0, "only a schema has no body to lose: break {number}");
            }
        }
    }
    let (answers, status) = put(&gateway, sent).await;
    assert!(status.is_none() && answers[0]["accepted"] == 2, "{status:?}");
    gateway.stop().await;
}

/// Scenario: a message over the limit.
/// Guarantees: RESOURCE_EXHAUSTED, never OUT_OF_RANGE, which senders repeat.
#[tokio::test(flavor = "multi_thread")]
async fn oversize_messages_are_refused_for_good() {
    let gateway = TestGateway::start_with(|config| config.ingest.max_request_bytes = 16 * 1024).await;
    let long = batch(vec![
        ("timestamp", Arc::new(TimestampNanosecondArray::from(vec![now_nanos()]))),
        ("message", Arc::new(StringArray::from(vec!["x".repeat(100_000)]))),
    ]);
    let (_, status) = put(&gateway, messages(&["logs"], vec![long]).await).await;
    assert_eq!(status.unwrap().code(), Code::ResourceExhausted);
    gateway.stop().await;
}
