//! Logs, spans and user tables: names, types, defaults.

use super::*;

#[test]
fn the_example_of_the_manual_is_taken_as_it_is() {
    let row = logs(r#"{"app":"auth","trace_id":"t-1","message":"log","ts":1700000000000}"#);
    assert_eq!(value(&row, "timestamp", 0), "2023-11-14T22:13:20Z");
    assert_eq!(value(&row, "app", 0), "auth");
    assert_eq!(value(&row, "trace_id", 0), "t-1");
    assert_eq!(value(&row, "message", 0), "log");
    assert_eq!(attributes(&row, "labels", 0), "");
}

#[test]
fn a_log_event_of_vector_is_taken_as_it_is() {
    let row = logs(
        r#"[{"file":"/var/log/syslog","host":"web-1","message":"Started.","source_type":"file",
             "timestamp":"2023-11-14T22:13:20.123456789Z"}]"#,
    );
    assert_eq!(value(&row, "timestamp", 0), "2023-11-14T22:13:20.123456789Z");
    assert_eq!(value(&row, "host", 0), "web-1");
    assert_eq!(value(&row, "message", 0), "Started.");
    assert_eq!(attributes(&row, "labels", 0), "file=/var/log/syslog:string source_type=file:string");
}

#[test]
fn labels_keep_the_types_of_their_values() {
    let row = logs(
        r#"{"message":"m","i":9007199254740993,"d":1.0,"e":1e3,"s":"1","b":true,"n":null,"a":[1, 2.50],
            "o":{"x":{"y":"z"}},"big":18446744073709551616,"u":"\u00e9"}"#,
    );
    assert_eq!(
        attributes(&row, "labels", 0),
        "i=9007199254740993:int d=1.0:double e=1000.0:double s=1:string b=true:bool n=:null a=[1,2.5]:array \
         o={\"x\":{\"y\":\"z\"}}:map big=18446744073709551616:string u=\u{e9}:string"
    );
    let decoded =
        decode(&builtin_table(builtin::LOGS_EVENTS), r#"{"message":"m","big":18446744073709551616}"#);
    assert!(
        decoded.warnings.iter().any(|warning| warning.starts_with("numbers that fit neither")),
        "{decoded:?}"
    );
}

#[test]
fn the_best_name_wins_and_the_others_become_labels() {
    let row = logs(r#"{"body":"b","msg":"m","service":"s","app":"a","event":"e","hostname":"h"}"#);
    assert_eq!(value(&row, "message", 0), "m");
    assert_eq!(value(&row, "app", 0), "a");
    assert_eq!(value(&row, "host", 0), "h");
    assert_eq!(attributes(&row, "labels", 0), "body=b:string service=s:string event=e:string");
    let row = logs(r#"{"message":null,"log":"taken","event":{"id":7}}"#);
    assert_eq!(value(&row, "message", 0), "taken");
    assert_eq!(attributes(&row, "labels", 0), "event={\"id\":7}:map");
}

#[test]
fn names_with_a_dot_are_found_flat_and_nested() {
    for body in [
        r#"{"message":"m","service.name":"s","host.name":"h","trace.id":"t","log.level":"WARN"}"#,
        r#"{"message":"m","service":{"name":"s"},"host":{"name":"h","ip":"::1"},"trace":{"id":"t"},"log":{"level":"WARN"}}"#,
    ] {
        let row = logs(body);
        let of = |column: &str| value(&row, column, 0);
        assert_eq!([of("app"), of("trace_id"), of("level")], ["s", "t", "warn"], "{body}");
    }
}

#[test]
fn label_objects_are_merged_and_give_host_and_app() {
    let row =
        logs(r#"{"message":"m","tags":{"host":"h","k":1},"labels":{"k":2},"attributes":{"x":true},"k":3}"#);
    assert_eq!(value(&row, "host", 0), "h");
    assert_eq!(
        attributes(&row, "labels", 0),
        "host=h:string tags.k=1:int labels.k=2:int x=true:bool k=3:int"
    );
    let row = logs(r#"{"message":"m","tags":["a","b"],"labels":null}"#);
    assert_eq!(attributes(&row, "labels", 0), "tags=[\"a\",\"b\"]:array");
}

#[test]
fn of_a_key_that_comes_twice_the_last_value_counts() {
    let row = logs(r#"{"message":"first","x":1,"message":"last","x":2,"ts":1,"ts":1700000000}"#);
    assert_eq!(value(&row, "message", 0), "last");
    assert_eq!(attributes(&row, "labels", 0), "x=2:int");
    let row = logs(r#"{"message":"first","message":null,"msg":"other"}"#);
    assert_eq!(value(&row, "message", 0), "other");
    assert_eq!(attributes(&row, "labels", 0), "");
}

#[test]
fn ids_are_lower_case_when_they_are_hex_and_kept_otherwise() {
    let row =
        logs(r#"{"message":"m","traceId":"4BF92F3577B34DA6A3CE929D0E0E4736","spanId":"00F067AA0BA902B7"}"#);
    assert_eq!(value(&row, "trace_id", 0), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(value(&row, "span_id", 0), "00f067aa0ba902b7");
    let row = logs(r#"{"message":"m","trace_id":"T-1","span_id":1234567890123456789}"#);
    assert_eq!(value(&row, "trace_id", 0), "T-1");
    assert_eq!(value(&row, "span_id", 0), "1234567890123456789");
}

#[test]
fn levels_become_severities() {
    for (body, expected) in [
        (r#"{"message":"m","level":"WARNING"}"#, ["warn", "13", "WARNING"]),
        (r#"{"message":"m","severity":30}"#, ["info", "9", "30"]),
        (r#"{"message":"m","lvl":"audit"}"#, ["audit", "0", "audit"]),
        (
            r#"{"message":"m","level":"error","severity_number":18,"severity_text":"CRIT"}"#,
            ["error", "18", "CRIT"],
        ),
        (r#"{"message":"m","severityText":"Error"}"#, ["error", "17", "Error"]),
        (r#"{"message":"m","severityNumber":14}"#, ["warn", "14", ""]),
        (r#"{"message":"m"}"#, ["", "0", ""]),
    ] {
        let row = logs(body);
        let found = ["level", "severity_number", "severity_text"].map(|column| value(&row, column, 0));
        assert_eq!(found, expected, "{body}");
    }
}

#[test]
fn a_message_that_is_no_string_keeps_its_type() {
    for (message, text, kind) in [
        ("\"1\"", "1", ""),
        ("1", "1", "int"),
        ("1.50", "1.50", "double"),
        ("true", "true", "bool"),
        ("[1, 2]", "[1,2]", "array"),
        ("{\"a\" : 1}", "{\"a\":1}", "map"),
    ] {
        let row = logs(&format!("{{\"message\":{message}}}"));
        assert_eq!([value(&row, "message", 0), value(&row, "message_type", 0)], [text, kind]);
    }
    assert_eq!(value(&logs(r#"{"x":1}"#), "message_type", 0), "null");
}

#[test]
fn times_are_read_from_any_form_and_default_to_the_arrival() {
    for (field, expected) in [
        (r#""ts":1699999999.123456789"#, "2023-11-14T22:13:19.123456789Z"),
        (r#""@timestamp":"2023-11-14T23:13:19.5+01:00""#, "2023-11-14T22:13:19.500Z"),
        (r#""time":"1699999999123456789""#, "2023-11-14T22:13:19.123456789Z"),
        (r#""datetime":"2023-11-14 22:13:19""#, "2023-11-14T22:13:19Z"),
        (r#""x":0"#, "2023-11-14T22:13:20Z"),
    ] {
        assert_eq!(value(&logs(&format!("{{\"message\":\"m\",{field}}}")), "timestamp", 0), expected);
    }
    let logs = builtin_table(builtin::LOGS_EVENTS);
    let decoded = decode(&logs, r#"[{"message":"m"},{"message":"m","ts":"2023-11-14 22:13:19"}]"#);
    assert_eq!(
        decoded.warnings,
        [
            "records without a time, stored with the time of arrival: 1",
            "timestamps without a zone, read as UTC: 1"
        ]
    );
    assert_eq!(bad(&logs, r#"{"ts":"soon"}"#).0, "ts");
    assert_eq!(bad(&logs, r#"{"ts":1}"#).0, "ts", "outside of the accepted window");
    assert_eq!(bad(&logs, r#"{"timestamp":[1]}"#).0, "timestamp");
}

#[test]
fn spans_get_their_duration_from_wherever_it_is() {
    let spans = builtin_table(builtin::TRACES_SPANS);
    for (fields, nanos) in [
        (r#""ts":1700000000,"duration_ns":1500000"#, "1500000"),
        (r#""ts":1700000000,"duration_ms":1.5"#, "1500000"),
        (r#""ts":1700000000,"duration_us":1500"#, "1500000"),
        (r#""start":1700000000000000001,"end":1700000000001500001"#, "1500000"),
        (
            r#""startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1699999999000000000""#,
            "-1000000000",
        ),
        (r#""ts":1700000000,"duration_ms":1.5,"end":1700000009"#, "1500000"),
    ] {
        let row = good(&spans, &format!(r#"{{"trace_id":"t-1","span_id":"s-1","name":"n",{fields}}}"#));
        assert_eq!(value(&row, "duration_ns", 0), nanos, "{fields}");
    }
    let row = good(
        &spans,
        r#"{"traceId":"t","spanId":"s","parentSpanId":"p","operationName":"op","kind":"SPAN_KIND_SERVER",
            "status":{"code":2,"message":"broken"},"service":"shop","events":[{"name":"e","n":1.0}],"duration":5}"#,
    );
    let found = ["parent_span_id", "name", "kind", "status", "status_message", "app", "events"];
    assert_eq!(
        found.map(|column| value(&row, column, 0)),
        ["p", "op", "server", "error", "broken", "shop", r#"[{"name":"e","n":1.0}]"#]
    );
    assert_eq!(attributes(&row, "labels", 0), "duration=5:int");
    let bare = good(&spans, r#"{"trace_id":"t"}"#);
    assert_eq!(["kind", "status"].map(|column| value(&bare, column, 0)), ["unspecified", "unset"]);
    assert_eq!(bad(&spans, r#"{"span_id":"s","name":"n"}"#).0, "trace_id");
    assert_eq!(bad(&spans, r#"{"trace_id":"t","end":1700000000}"#).0, "time");
    assert_eq!(bad(&spans, r#"{"trace_id":"t","duration_ms":"1h"}"#).0, "duration_ms");
}

fn every_type() -> TableDef {
    table(serde_json::json!({"table_name": "t", "columns": [
        {"name": "time", "type": "timestamp_ns"}, {"name": "ms", "type": "timestamp_ms"},
        {"name": "d", "type": "double"}, {"name": "l", "type": "bigint"}, {"name": "i", "type": "integer"},
        {"name": "b", "type": "boolean"}, {"name": "s", "type": "text"}, {"name": "raw", "type": "bytes"},
        {"name": "id", "type": "uuid"}, {"name": "j", "type": "jsonb"}, {"name": "m", "type": "attributes"},
        {"name": "ds", "type": "double[]"}, {"name": "ls", "type": "bigint[]"}, {"name": "ss", "type": "text[]"},
    ]}))
}

#[test]
fn every_column_type_is_filled() {
    let row = good(
        &every_type(),
        r#"{"time":1700000000000000001,"ms":"2023-11-14T22:13:20.5Z","d":1,"l":-9223372036854775808,"i":2.0,"b":false,
            "s":"x","raw":"aGk=","id":"{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}","j":[1, {"a": 1.0}],"m":{"k":1},
            "ds":[1,2.5,"NaN"],"ls":[1,-2],"ss":["a","b"]}"#,
    );
    for (column, expected) in [
        ("time", "2023-11-14T22:13:20.000000001Z"),
        ("ms", "2023-11-14T22:13:20.500Z"),
        ("d", "1.0"),
        ("l", "-9223372036854775808"),
        ("i", "2"),
        ("b", "false"),
        ("s", "x"),
        ("raw", "6869"),
        ("id", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("j", r#"[1,{"a":1.0}]"#),
        ("ds", "[1.0, 2.5, NaN]"),
        ("ls", "[1, -2]"),
        ("ss", "[a, b]"),
    ] {
        assert_eq!(value(&row, column, 0), expected, "{column}");
    }
    assert_eq!(attributes(&row, "m", 0), "k=1:int");
    let empty = good(&every_type(), r#"{"time":1700000000,"d":null,"m":null}"#);
    for column in ["ms", "d", "l", "i", "b", "s", "raw", "id", "j"] {
        assert_eq!(value(&empty, column, 0), "NULL", "{column}");
    }
    assert_eq!(value(&empty, "ds", 0), "[]");
}

#[test]
fn values_that_do_not_fit_their_column_are_named() {
    for (field, body) in [
        ("d", r#"{"d":"abc"}"#),
        ("d", r#"{"d":true}"#),
        ("d", r#"{"d":1e999}"#),
        ("l", r#"{"l":1.5}"#),
        ("l", r#"{"l":9223372036854775808}"#),
        ("i", r#"{"i":2147483648}"#),
        ("b", r#"{"b":"yes"}"#),
        ("b", r#"{"b":1}"#),
        ("s", r#"{"s":{"a":1}}"#),
        ("raw", r#"{"raw":"%%%"}"#),
        ("id", r#"{"id":"1234"}"#),
        ("m", r#"{"m":[1]}"#),
        ("ds", r#"{"ds":[1,null]}"#),
        ("ds", r#"{"ds":1}"#),
        ("ls", r#"{"ls":[1.5]}"#),
        ("ss", r#"{"ss":[[]]}"#),
        ("j", r#"{"j":"\ud800"}"#),
        ("unknown", r#"{"unknown":1}"#),
        ("", "{}"),
        ("", "[5]"),
        ("", "[\"text\"]"),
    ] {
        assert_eq!(bad(&every_type(), body).0, field, "{body}");
    }
}

#[test]
fn near_misses_are_converted_and_counted() {
    let decoded =
        decode(&every_type(), r#"{"time":1700000000,"d":"1.5","l":"7","b":"true","s":5,"ls":["1"]}"#);
    assert_eq!(decoded.rejected, []);
    assert_eq!(decoded.warnings, ["values converted to the type of their column: 5"]);
}
