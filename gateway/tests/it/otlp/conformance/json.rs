//! OTLP/JSON: how its values are written.

use serde_json::{Value, json};

use super::super::recent;
use super::requests::JSON;
use super::{Finding, Rule, Target, ensure};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "json_ids_are_hex",
        says: "trace and span ids are hex, of either case",
        check: |target| Box::pin(hex_ids(target)),
    },
    Rule {
        name: "json_ids_are_not_base64",
        says: "trace and span ids are not base64: such a span is refused, alone or with its request",
        check: |target| Box::pin(base64_ids(target)),
    },
    Rule {
        name: "json_64_bit_integers",
        says: "64-bit integers are read from decimal strings and from numbers",
        check: |target| Box::pin(integers(target)),
    },
    Rule {
        name: "json_enums_are_integers",
        says: "enums are integers",
        check: |target| Box::pin(enums(target)),
    },
    Rule {
        name: "json_enum_names_are_refused",
        says: "names of enum values are not allowed",
        check: |target| Box::pin(enum_names(target)),
    },
    Rule {
        name: "json_missing_fields_have_defaults",
        says: "what is absent has its default, as in protobuf",
        check: |target| Box::pin(defaults(target)),
    },
    Rule {
        name: "json_special_doubles",
        says: "NaN and the infinities are strings (ProtoJSON)",
        check: |target| Box::pin(special_doubles(target)),
    },
    Rule {
        name: "json_any_values",
        says: "bytes are base64; arrays and maps may lack their values; a value may be empty",
        check: |target| Box::pin(any_values(target)),
    },
    Rule {
        name: "json_null_is_absent",
        says: "null is the same as absent (ProtoJSON)",
        check: |target| Box::pin(nulls(target)),
    },
];

/// What became of a span, a log record or a point.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Accepted,
    Refused,
    Unclear(String),
}

async fn send(target: &Target, path: &str, body: &Value) -> Result<Outcome, String> {
    let answer = target.post(path, JSON, "", body.to_string().into_bytes()).await?;
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.map_err(|error| format!("{status}: {error}"))?;
    Ok(match (status, body.get("partialSuccess")) {
        (200, None) => Outcome::Accepted,
        (200, Some(partial)) if partial.as_object().is_some_and(serde_json::Map::is_empty) => {
            Outcome::Accepted
        }
        (200, Some(_)) | (400, _) => Outcome::Refused,
        _ => Outcome::Unclear(format!("{status}: {body}")),
    })
}

fn span(fields: &Value) -> Value {
    let mut span = json!({"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "00f067aa0ba902b7", "name": "n",
        "startTimeUnixNano": recent().to_string(), "endTimeUnixNano": recent().to_string()});
    span.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
}

fn record(fields: &Value) -> Value {
    let mut record = json!({"timeUnixNano": recent().to_string()});
    record.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]})
}

fn gauge(point: &Value) -> Value {
    let mut whole = json!({"timeUnixNano": recent().to_string()});
    whole.as_object_mut().expect("an object").extend(point.as_object().expect("an object").clone());
    let metric = json!({"name": "m", "gauge": {"dataPoints": [whole]}});
    json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]})
}

async fn expect(target: &Target, path: &str, body: Value, wanted: Outcome) -> Finding {
    let found = send(target, path, &body).await?;
    ensure(found == wanted, || format!("{found:?}: {body}"))
}

async fn hex_ids(target: &Target) -> Finding {
    for id in ["0af7651916cd43dd8448eb211c80319c", "0AF7651916CD43DD8448EB211C80319C"] {
        expect(target, "/v1/traces", span(&json!({ "traceId": id })), Outcome::Accepted).await?;
    }
    Ok(())
}

async fn base64_ids(target: &Target) -> Finding {
    let ids = json!({"traceId": "CvdlGRbNQ92ESOshHIAxnA==", "spanId": "APBnqgupArc="});
    expect(target, "/v1/traces", span(&ids), Outcome::Refused).await
}

async fn integers(target: &Target) -> Finding {
    for value in [json!("9007199254740993"), json!(7), json!("-1")] {
        let body = gauge(&json!({ "asInt": value }));
        expect(target, "/v1/metrics", body, Outcome::Accepted).await?;
    }
    for time in [json!(recent().to_string()), json!(recent())] {
        expect(target, "/v1/logs", record(&json!({ "timeUnixNano": time })), Outcome::Accepted).await?;
    }
    Ok(())
}

async fn enums(target: &Target) -> Finding {
    expect(target, "/v1/traces", span(&json!({"kind": 2, "status": {"code": 2}})), Outcome::Accepted).await?;
    expect(target, "/v1/logs", record(&json!({"severityNumber": 9})), Outcome::Accepted).await
}

async fn enum_names(target: &Target) -> Finding {
    expect(target, "/v1/traces", span(&json!({"kind": "SPAN_KIND_SERVER"})), Outcome::Refused).await
}

async fn defaults(target: &Target) -> Finding {
    expect(target, "/v1/logs", record(&json!({})), Outcome::Accepted).await?;
    expect(target, "/v1/traces", span(&json!({})), Outcome::Accepted).await?;
    expect(target, "/v1/logs", json!({"resourceLogs": [{}]}), Outcome::Accepted).await?;
    expect(target, "/v1/logs", json!({"resourceLogs": [{"scopeLogs": [{}]}]}), Outcome::Accepted).await
}

async fn special_doubles(target: &Target) -> Finding {
    for value in [json!("NaN"), json!("Infinity"), json!("-Infinity"), json!(1), json!(1e300), json!("1.5")] {
        expect(target, "/v1/metrics", gauge(&json!({ "asDouble": value })), Outcome::Accepted).await?;
    }
    Ok(())
}

async fn any_values(target: &Target) -> Finding {
    for value in [
        json!({"bytesValue": "aGk="}),
        json!({"arrayValue": {}}),
        json!({"kvlistValue": {}}),
        json!({"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "x"}, {}]}}),
        json!({"kvlistValue": {"values": [{"key": "k", "value": {"doubleValue": 1.5}}]}}),
        json!({"boolValue": true}),
        json!({}),
    ] {
        let attributes = json!([{"key": "k", "value": value}]);
        expect(
            target,
            "/v1/logs",
            record(&json!({"body": value, "attributes": attributes})),
            Outcome::Accepted,
        )
        .await?;
        expect(target, "/v1/traces", span(&json!({ "attributes": attributes })), Outcome::Accepted).await?;
        let point = gauge(&json!({"asInt": "1", "attributes": attributes}));
        expect(target, "/v1/metrics", point, Outcome::Accepted).await?;
    }
    Ok(())
}

async fn nulls(target: &Target) -> Finding {
    let fields = json!({"attributes": null, "parentSpanId": null, "kind": null});
    expect(target, "/v1/traces", span(&fields), Outcome::Accepted).await
}
