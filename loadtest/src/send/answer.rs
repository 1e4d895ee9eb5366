//! What a successful answer says: its body in, the numbers of accepted and rejected records out.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;
use serde::Deserialize;
use serde_json::Value as Json;
use tidewell_proto::v1;

use super::Failure;
use crate::tally::Answer;
use crate::workload::Protocol;

/// The key under which the gateway names the level of its acknowledgement, in headers and metadata.
pub(crate) const LEVEL_KEY: &str = "tidewell-ack";

#[derive(Deserialize)]
struct RestAnswer {
    accepted: u64,
    rejected: u64,
}

/// Reads the answer to a request of this many records.
pub(super) fn read(protocol: Protocol, body: &Bytes, records: u64, level: String) -> Result<Answer, Failure> {
    let unreadable = || Failure::refused("unreadable answer");
    let (accepted, rejected) = match protocol {
        Protocol::OtlpGrpc | Protocol::OtlpHttpProtobuf => {
            // The responses of all three signals have this shape: field 1 with the rejected records in field 1.
            let response = ExportLogsServiceResponse::decode(body.as_ref()).map_err(|_| unreadable())?;
            let rejected = response.partial_success.map_or(0, |partial| partial.rejected_log_records);
            all_but(records, u64::try_from(rejected).map_err(|_| unreadable())?)
        }
        Protocol::OtlpHttpJson => {
            let response: Json = serde_json::from_slice(body).map_err(|_| unreadable())?;
            all_but(records, rejected_in_json(&response).ok_or_else(unreadable)?)
        }
        Protocol::RestNdjson | Protocol::RestArray => {
            let answer: RestAnswer = serde_json::from_slice(body).map_err(|_| unreadable())?;
            (answer.accepted, answer.rejected)
        }
        Protocol::Grpc => {
            let answer = v1::WriteResponse::decode(body.as_ref()).map_err(|_| unreadable())?;
            let count = |count| u64::try_from(count).map_err(|_| unreadable());
            (count(answer.accepted)?, count(answer.rejected)?)
        }
        // A stream: see `flight.rs`.
        Protocol::Flight => return Err(unreadable()),
    };
    if accepted + rejected != records {
        return Err(Failure::refused("answer counts other records than were sent"));
    }
    Ok(Answer::Acknowledged { accepted, rejected, level })
}

fn all_but(records: u64, rejected: u64) -> (u64, u64) {
    (records.saturating_sub(rejected), rejected)
}

/// The count in `partialSuccess`, whatever the signal; a number or, as JSON has 64-bit integers, a string.
fn rejected_in_json(response: &Json) -> Option<u64> {
    let Some(partial) = response.get("partialSuccess") else { return Some(0) };
    let names = ["rejectedLogRecords", "rejectedDataPoints", "rejectedSpans"];
    match names.iter().find_map(|name| partial.get(name)) {
        None => Some(0),
        Some(Json::String(text)) => text.parse().ok(),
        Some(number) => number.as_u64(),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceResponse,
    };

    use super::*;

    fn accepted(protocol: Protocol, body: impl Into<Bytes>) -> Result<(u64, u64), String> {
        match read(protocol, &body.into(), 10, String::new()) {
            Ok(Answer::Acknowledged { accepted, rejected, .. }) => Ok((accepted, rejected)),
            Ok(Answer::Failed(kind)) => Err(kind),
            Err(failure) => Err(failure.kind),
        }
    }

    #[test]
    fn otlp_accepts_everything_but_what_it_names() {
        assert_eq!(accepted(Protocol::OtlpGrpc, ""), Ok((10, 0)));
        assert_eq!(accepted(Protocol::OtlpHttpJson, "{}"), Ok((10, 0)));
        let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "bad".to_owned() };
        let response = ExportTraceServiceResponse { partial_success: Some(partial) };
        assert_eq!(accepted(Protocol::OtlpHttpProtobuf, response.encode_to_vec()), Ok((7, 3)));
        let json = r#"{"partialSuccess":{"rejectedDataPoints":"4"}}"#;
        assert_eq!(accepted(Protocol::OtlpHttpJson, json), Ok((6, 4)));
    }

    #[test]
    fn the_gateways_own_answers_name_both_numbers() {
        assert_eq!(
            accepted(Protocol::RestNdjson, r#"{"accepted":8,"rejected":2,"ack":"stored"}"#),
            Ok((8, 2))
        );
        let answer = v1::WriteResponse { accepted: 10, ..Default::default() };
        assert_eq!(accepted(Protocol::Grpc, answer.encode_to_vec()), Ok((10, 0)));
    }

    #[test]
    fn an_answer_that_does_not_add_up_is_a_failure() {
        let short = accepted(Protocol::RestArray, r#"{"accepted":8,"rejected":0}"#);
        assert_eq!(short, Err("answer counts other records than were sent".to_owned()));
        assert_eq!(accepted(Protocol::RestArray, "<html>"), Err("unreadable answer".to_owned()));
        let more = r#"{"partialSuccess":{"rejectedSpans":11}}"#;
        assert!(accepted(Protocol::OtlpHttpJson, more).is_err());
    }
}
