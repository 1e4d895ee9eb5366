//! Traps of OTLP/JSON.

use serde_json::{Value, json};

use super::{LOGS_JSON, METRICS_JSON, TIME, TRACES_JSON, decode, double, refusal, rows};
use crate::decode::DecodeError;
use crate::decode::otlp::envelope;
use crate::registry::builtin::{LOGS_EVENTS, METRICS_EVENTS, TRACES_SPANS};

fn logs(records: &Value) -> Value {
    json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]})
}

fn log_row(record: &Value) -> super::Row {
    let decoded = decode(LOGS_JSON, logs(&json!([record])).to_string().as_bytes()).unwrap();
    assert_eq!(decoded.rejected, []);
    rows(&decoded, LOGS_EVENTS).remove(0)
}

fn log_refusal(record: &str) -> String {
    let good = r#"{"body":{"stringValue":"good"}}"#;
    let body = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{good},{record},{good}]}}]}}]}}"#);
    let decoded = decode(LOGS_JSON, body.as_bytes()).unwrap();
    assert_eq!(decoded.accepted, 2, "{record}");
    let alone = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{record}]}}]}}]}}"#);
    assert_eq!(String::from_utf8_lossy(&decoded.rejected[0].payload), alone);
    assert_eq!(decoded.rejected[0].content_type, envelope::LOGS.json);
    refusal(&decoded)
}

#[test]
fn identifiers_are_hex_of_either_case_and_other_bytes_are_base64() {
    let row = log_row(&json!({
        "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174",
        "attributes": [{"key": "padded", "value": {"bytesValue": "aGk="}},
                       {"key": "bare", "value": {"bytesValue": "aGk"}},
                       {"key": "url", "value": {"bytesValue": "-_8="}}],
    }));
    assert_eq!(row["trace_id"], json!("5b8efff798038103d269b633813fc60c"));
    assert_eq!(row["span_id"], json!("eee19b7ec3c1b174"));
    assert_eq!(row["labels"], json!([["padded", "aGk=", 4], ["bare", "aGk=", 4], ["url", "+/8=", 4]]));
    // Base64 of 16 bytes, as a sender with protobuf's own JSON mapping writes it.
    assert_eq!(
        log_refusal(r#"{"traceId":"W47/95gDgQPSabYzgT/GDA=="}"#),
        "1 traceId: W47/95gDgQPSabYzgT/GDA== is not hexadecimal digits"
    );
    assert_eq!(log_refusal(r#"{"traceId":"abcd"}"#), "1 traceId: has 2 bytes instead of 16");
}

#[test]
fn integers_may_be_strings_numbers_and_floats_without_loss() {
    for time in [
        "\"1699999999123456789\"",
        "1699999999123456789",
        "1.699999999123456789e18",
        "\"1699999999123456789.0\"",
    ] {
        let body =
            format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"timeUnixNano":{time}}}]}}]}}]}}"#);
        let decoded = decode(LOGS_JSON, body.as_bytes()).unwrap();
        assert_eq!(rows(&decoded, LOGS_EVENTS)[0]["timestamp"], json!(TIME), "{time}");
    }
    assert_eq!(log_refusal(r#"{"timeUnixNano":1.5}"#), "1 timeUnixNano: 1.5 is not an integer");
    assert_eq!(log_refusal(r#"{"timeUnixNano":-1}"#), "1 timeUnixNano: -1 is out of range");
    assert_eq!(log_refusal(r#"{"timeUnixNano":"now"}"#), r#"1 timeUnixNano: "now" is not an integer"#);
    let row = log_row(&json!({"attributes": [{"key": "i", "value": {"intValue": "-9223372036854775808"}},
                                             {"key": "n", "value": {"intValue": 7}}]}));
    assert_eq!(row["labels"], json!([["i", "-9223372036854775808", 1], ["n", "7", 1]]));
}

#[test]
fn enums_are_integers_only() {
    assert!(
        log_refusal(r#"{"severityNumber":"SEVERITY_NUMBER_INFO"}"#)
            .ends_with("is not an integer: OTLP/JSON has enums as integers only")
    );
    assert_eq!(log_row(&json!({"severityNumber": 9}))["level"], json!("info"));
}

#[test]
fn doubles_may_be_strings_and_the_three_names() {
    let points = json!([
        {"timeUnixNano": TIME, "asDouble": 0.1}, {"timeUnixNano": TIME, "asDouble": "NaN"},
        {"timeUnixNano": TIME, "asDouble": "-Infinity"}, {"timeUnixNano": TIME, "asDouble": 3},
        {"timeUnixNano": TIME, "asInt": "12"}, {"timeUnixNano": TIME, "asInt": 12},
        {"timeUnixNano": TIME, "asDouble": "nan"},
    ]);
    let body = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "m", "gauge": {"dataPoints": points}}]}]}]});
    let decoded = decode(METRICS_JSON, body.to_string().as_bytes()).unwrap();
    assert_eq!(refusal(&decoded), r#"6 asDouble: "nan" is not a double"#);
    let values: Vec<Value> = rows(&decoded, METRICS_EVENTS).iter().map(|row| row["value"].clone()).collect();
    let wanted = [0.1, f64::NAN, f64::NEG_INFINITY, 3.0, 12.0, 12.0].map(double);
    assert_eq!(values, wanted);
}

#[test]
fn absent_fields_nulls_and_empty_values_take_their_defaults() {
    let row = log_row(&json!({
        "timeUnixNano": null, "body": null, "severityNumber": null, "traceId": "", "flags": null,
        "attributes": [{"key": "a", "value": {"arrayValue": {}}}, {"key": "m", "value": {"kvlistValue": {}}},
                       {"key": "e", "value": {}}, {"key": "n", "value": null}, {"key": "u"},
                       {"key": "l", "value": {"arrayValue": {"values": [null, {}, {"boolValue": false}]}}}],
    }));
    assert_eq!(
        row["labels"],
        json!([
            ["a", "[]", 5],
            ["m", "{}", 6],
            ["e", "", 7],
            ["n", "", 7],
            ["u", "", 7],
            ["l", "[null,null,false]", 5]
        ])
    );
    assert_eq!((&row["severity_number"], &row["trace_id"]), (&json!(0), &json!("")));
    let body = json!({"resourceSpans": [{"scopeSpans": [{"spans": [{
        "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174",
        "startTimeUnixNano": TIME.to_string()}]}]}]});
    let decoded = decode(TRACES_JSON, body.to_string().as_bytes()).unwrap();
    assert_eq!(rows(&decoded, TRACES_SPANS)[0]["kind"], json!("unspecified"));
}

#[test]
fn unknown_fields_are_ignored_at_every_level() {
    let body = json!({"next": 1, "resourceLogs": [{"new": {}, "scopeLogs": [{"more": [], "logRecords": [
        {"body": {"stringValue": "b", "futureValue": [{}]}, "profile": {"a": [1]}}]}]}]});
    let decoded = decode(LOGS_JSON, body.to_string().as_bytes()).unwrap();
    assert_eq!((decoded.accepted, decoded.warnings.len()), (1, 1), "the warning is that of the missing time");
}

#[test]
fn snake_case_is_read_and_counted() {
    let body = json!({"resource_logs": [{"scope_logs": [{"log_records": [
        {"time_unix_nano": TIME.to_string(), "body": {"string_value": "b"}}]}]}]});
    let decoded = decode(LOGS_JSON, body.to_string().as_bytes()).unwrap();
    assert_eq!(rows(&decoded, LOGS_EVENTS)[0]["message"], json!("b"));
    assert!(decoded.warnings[0].starts_with("5 field names were in snake case"), "{:?}", decoded.warnings);
}

#[test]
fn arrays_and_sequences_of_requests_are_read_as_one() {
    let one = logs(&json!([{"timeUnixNano": TIME}])).to_string();
    for body in [
        format!("[{one},{one}]"),
        format!("{one}\n{one}\n"),
        format!("[{one}]\n[{one}]"),
        format!(" {one}{one}"),
    ] {
        assert_eq!(decode(LOGS_JSON, body.as_bytes()).unwrap().accepted, 2, "{body}");
    }
    assert_eq!(decode(LOGS_JSON, b"{}").unwrap().accepted, 0);
    assert_eq!(decode(LOGS_JSON, b"[]").unwrap().accepted, 0);
}

#[test]
fn what_is_no_request_is_malformed() {
    let one = logs(&json!([{"timeUnixNano": TIME}])).to_string();
    for body in [
        "",
        "  ",
        "[[{}]]",
        "1",
        "null",
        "\"a\"",
        "{",
        "{}]",
        "{\"resourceLogs\":5}",
        one.trim_end_matches("]}"),
    ] {
        let error = decode(LOGS_JSON, body.as_bytes()).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed(_)), "{body}: {error}");
    }
    let wrong_address = decode(LOGS_JSON, br#"{"resourceMetrics":[]}"#).unwrap_err();
    assert_eq!(wrong_address.to_string(), "the request has resourceMetrics: send it to /v1/metrics");
}

#[test]
fn a_record_of_the_wrong_shape_is_refused_alone() {
    for (record, reason) in [
        ("5", "1 : invalid type: integer `5`, expected an object at line 1 column 1"),
        ("null", "1 : invalid type: null, expected an object at line 1 column 4"),
        (
            r#"{"body":"text"}"#,
            "1 body: invalid type: string \"text\", expected an object at line 1 column 14",
        ),
        (
            r#"{"body":{"boolValue":"true"}}"#,
            "1 body.boolValue: invalid type: string \"true\", expected true or false at line 1 column 27",
        ),
        (
            r#"{"attributes":{"a":1}}"#,
            "1 attributes: invalid type: map, expected an array at line 1 column 15",
        ),
    ] {
        assert_eq!(log_refusal(record), reason);
    }
}

#[test]
fn what_records_share_refuses_them_and_no_others() {
    let good = json!({"scopeLogs": [{"logRecords": [{}]}]});
    let bad_resource = json!({"scopeLogs": [{"logRecords": [{}, {}]}], "resource": {"attributes": 1}});
    let bad_scope = json!({"scopeLogs": [{"logRecords": [{}], "scope": {"name": 1}}, {"logRecords": [{}]}]});
    let body = json!({"resourceLogs": [good, bad_resource, bad_scope]});
    let decoded = decode(LOGS_JSON, body.to_string().as_bytes()).unwrap();
    assert_eq!(decoded.accepted, 2);
    let refused: Vec<(usize, &str)> =
        decoded.rejected.iter().map(|record| (record.index, record.error.field.as_str())).collect();
    assert_eq!(refused, [(1, "resource.attributes"), (2, "resource.attributes"), (3, "scope.name")]);

    let metric = json!({"name": "m", "sum": {"dataPoints": [{}, {}], "aggregationTemporality": "delta"}});
    let nameless = json!({"name": 5, "gauge": {}});
    let body = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric, nameless]}]}]});
    let decoded = decode(METRICS_JSON, body.to_string().as_bytes()).unwrap();
    let refused: Vec<(usize, &str)> =
        decoded.rejected.iter().map(|record| (record.index, record.error.field.as_str())).collect();
    assert_eq!(refused, [(0, "sum.aggregationTemporality"), (1, "sum.aggregationTemporality"), (2, "name")]);
    assert_eq!(decoded.rejected[2].payload, b"5");
}

#[test]
fn bytes_that_are_not_utf8_refuse_their_record_only() {
    let mut body = Vec::new();
    body.extend_from_slice(
        br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"good"}},"#,
    );
    let bad = b"{\"body\":{\"stringValue\":\"a\xff\xc3\"}}";
    body.extend_from_slice(bad);
    body.extend_from_slice(br#",{"body":{"stringValue":"good"}}]}]}]}"#);
    let decoded = decode(LOGS_JSON, &body).unwrap();
    assert_eq!(refusal(&decoded), "1 : is not valid UTF-8");
    let payload = &decoded.rejected[0].payload;
    assert_eq!((decoded.accepted, payload.windows(bad.len()).any(|part| part == bad)), (2, true));
    let outside = b"{\"resourceLogs\":[],\"\xff\":1}";
    assert_eq!(
        decode(LOGS_JSON, outside).unwrap_err().to_string(),
        "the request is not valid UTF-8 at byte 20"
    );
}

#[test]
fn a_repeated_member_counts_as_protobuf_counts_a_repeated_field() {
    let body = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityText":"a","severityText":"b",
        "body":{"stringValue":"x","intValue":1}}],"logRecords":[{}]}]}]}"#;
    let decoded = decode(LOGS_JSON, body.as_bytes()).unwrap();
    let rows = rows(&decoded, LOGS_EVENTS);
    assert_eq!(
        (rows.len(), &rows[0]["severity_text"], &rows[0]["message_type"]),
        (2, &json!("b"), &json!("int"))
    );
}
