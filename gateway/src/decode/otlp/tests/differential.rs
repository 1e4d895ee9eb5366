//! The walker against prost, JSON against protobuf, damaged requests against both.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;
use prost::Message;
use serde_json::Value;

use super::expected::{self, Expected};
use super::{
    Decode, LOGS, LOGS_JSON, METRICS, METRICS_JSON, TRACES, TRACES_JSON, all_rows, decode, generate,
    json_form,
};
use crate::decode::DecodeError;

/// The rows and counts are exactly those expected.
fn check_equal(decoder: Decode, body: &[u8], expected: &Expected) -> Result<(), TestCaseError> {
    let decoded = decode(decoder, body).unwrap();
    let rejected: Vec<usize> = decoded.rejected.iter().map(|rejected| rejected.index).collect();
    prop_assert_eq!(&rejected, &expected.rejected, "{:?}", decoded.rejected);
    prop_assert_eq!(decoded.accepted, expected.accepted);
    prop_assert_eq!(&all_rows(&decoded), &expected.tables);
    Ok(())
}

/// The request as protobuf and as JSON. The messages are those that arrive: prost sends no `-0.0` in fields where 0 is
/// the default.
fn check_request<M: Message + Default>(
    request: &M,
    decoders: [Decode; 2],
    expected: impl Fn(&M) -> Expected,
    json: impl Fn(&M) -> Value,
) -> Result<(), TestCaseError> {
    let body = request.encode_to_vec();
    let arrived = M::decode(body.as_slice()).unwrap();
    let expected = expected(&arrived);
    check_equal(decoders[0], &body, &expected)?;
    check_equal(decoders[1], json(&arrived).to_string().as_bytes(), &expected)
}

/// Damage to a request: bytes replaced, removed, inserted, the end cut off.
#[derive(Debug, Clone)]
enum Damage {
    Replace(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Insert(prop::sample::Index, u8),
    Truncate(prop::sample::Index),
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let at = any::<prop::sample::Index>;
    prop::collection::vec(
        prop_oneof![
            3 => (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
            3 => (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
            2 => at().prop_map(Damage::Remove),
            2 => (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
            1 => at().prop_map(Damage::Truncate),
        ],
        1..4,
    )
}

fn damaged(mut body: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if body.is_empty() {
            break;
        }
        let length = body.len();
        match damage {
            Damage::Replace(at, byte) => body[at.index(length)] = *byte,
            Damage::Flip(at, bit) => body[at.index(length)] ^= 1 << bit,
            Damage::Remove(at) => drop(body.remove(at.index(length))),
            Damage::Insert(at, byte) => body.insert(at.index(length), *byte),
            Damage::Truncate(at) => body.truncate(at.index(length)),
        }
    }
    body
}

/// A damaged request never panics and never yields more than is there. What prost can still read yields rows that
/// prost's reading yields as well.
fn check_damaged<M: Message + Default>(
    decoder: Decode,
    body: &[u8],
    expected: impl Fn(&M) -> Expected,
) -> Result<(), TestCaseError> {
    let reference = M::decode(body);
    match decode(decoder, body) {
        Ok(decoded) => {
            prop_assert!(decoded.accepted + decoded.rejected.len() <= body.len() / 2);
            if let Ok(reference) = &reference {
                let expected = expected(reference);
                prop_assert!(decoded.accepted <= expected.accepted);
                for (table, rows) in all_rows(&decoded) {
                    let mut wanted = expected.tables.get(&table).cloned().unwrap_or_default();
                    for row in rows {
                        let at = wanted.iter().position(|other| *other == row);
                        prop_assert!(at.is_some(), "{}: {:?} is none of {:?}", table, row, wanted);
                        wanted.swap_remove(at.unwrap());
                    }
                }
            }
        }
        Err(DecodeError::Malformed(_)) => prop_assert!(reference.is_err()),
        Err(other) => prop_assert!(false, "{}", other),
    }
    Ok(())
}

proptest! {
    #[test]
    fn logs_become_the_rows_that_prost_would_give(request in generate::logs()) {
        check_request(&request, [LOGS, LOGS_JSON], expected::logs, json_form::logs)?;
    }

    #[test]
    fn spans_become_the_rows_that_prost_would_give(request in generate::traces()) {
        check_request(&request, [TRACES, TRACES_JSON], expected::traces, json_form::traces)?;
    }

    #[test]
    fn metrics_become_the_rows_that_prost_would_give(request in generate::metrics()) {
        check_request(&request, [METRICS, METRICS_JSON], expected::metrics, json_form::metrics)?;
    }

    #[test]
    fn damaged_logs_are_confined(request in generate::logs(), damages in damages()) {
        let body = damaged(request.encode_to_vec(), &damages);
        check_damaged::<ExportLogsServiceRequest>(LOGS, &body, expected::logs)?;
    }

    #[test]
    fn damaged_spans_are_confined(request in generate::traces(), damages in damages()) {
        let body = damaged(request.encode_to_vec(), &damages);
        check_damaged::<ExportTraceServiceRequest>(TRACES, &body, expected::traces)?;
    }

    #[test]
    fn damaged_metrics_are_confined(request in generate::metrics(), damages in damages()) {
        let body = damaged(request.encode_to_vec(), &damages);
        check_damaged::<ExportMetricsServiceRequest>(METRICS, &body, expected::metrics)?;
    }

    /// Damaged JSON never panics and never yields more than was there.
    #[test]
    fn damaged_json_is_confined(request in generate::metrics(), damages in damages()) {
        let body = damaged(json_form::metrics(&request).to_string().into_bytes(), &damages);
        if let Ok(decoded) = decode(METRICS_JSON, &body) {
            prop_assert!(decoded.accepted + decoded.rejected.len() <= body.len() / 2);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for decoder in [LOGS, METRICS, TRACES, LOGS_JSON, METRICS_JSON, TRACES_JSON] {
            drop(decode(decoder, &body));
        }
    }
}
