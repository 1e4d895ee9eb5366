//! Bad input: what is refused, with which words, and that neighbours do not notice.

use proptest::prelude::*;

use super::*;

fn logs_table() -> TableDef {
    builtin_table(builtin::LOGS_EVENTS)
}

fn indexes(decoded: &Decoded) -> Vec<usize> {
    decoded.rejected.iter().map(|bad| bad.index).collect()
}

#[test]
fn a_bad_line_spoils_that_line_only() {
    let body =
        b"{\"message\":\"a\"}\n{\"message\":\n\n{\"message\":\"b\xff\"}\nnonsense\n{\"message\":\"c\"}";
    let decoded = decode_into(&logs_table(), body, Framing::Lines, DecodeLimits::default()).unwrap();
    assert_eq!(decoded.accepted, 2);
    assert_eq!(indexes(&decoded), [1, 2, 3]);
    assert_eq!(decoded.rejected[1].error.reason, "the record is not UTF-8 at byte 13");
    assert_eq!(decoded.rejected[1].payload, b"{\"message\":\"b\xff\"}");
}

#[test]
fn a_bad_element_spoils_that_element_only() {
    let decoded = decode(
        &logs_table(),
        r#"[{"message":"a"},{"message":tru},7,{"message":"b","ts":"never"},{"message":NaN},{"message":"c"}]"#,
    );
    assert_eq!(decoded.accepted, 2);
    assert_eq!(indexes(&decoded), [1, 2, 3, 4]);
    assert!(decoded.rejected[3].error.reason.contains("JSON has no NaN"), "{:?}", decoded.rejected[3]);
    assert_eq!(decoded.rejected[2].payload, br#"{"message":"b","ts":"never"}"#);
    assert_eq!(decoded.rejected[2].table, "logs_events");
}

#[test]
fn a_body_that_is_no_json_is_refused_as_a_whole() {
    for body in ["", "  ", "hello", "<xml/>", "\"text\"", "1"] {
        let error =
            decode_into(&logs_table(), body.as_bytes(), Framing::Json, DecodeLimits::default()).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed(_)), "{body:?}: {error}");
    }
    assert_eq!(decode(&logs_table(), "[]").accepted, 0);
}

#[test]
fn nesting_is_bounded_by_depth_and_costs_nothing() {
    let nested =
        |levels: usize| format!(r#"{{"message":"m","x":{}1{}}}"#, "[".repeat(levels), "]".repeat(levels));
    assert_eq!(decode(&logs_table(), &nested(16)).accepted, 1);
    assert_eq!(bad(&logs_table(), &nested(17)).0, "x");
    let bomb = format!("[{},{{\"message\":\"m\"}}]", nested(2_000_000));
    let decoded = decode(&logs_table(), &bomb);
    assert_eq!((decoded.accepted, indexes(&decoded)), (1, vec![0]));
    assert_eq!(decoded.rejected[0].payload.len(), MAX_PAYLOAD_BYTES);
    let open = "[".repeat(2_000_000);
    assert_eq!(decode(&logs_table(), &open).accepted, 0);
}

#[test]
fn numbers_of_any_length_are_survived() {
    let digits = "9".repeat(1_000_000);
    let row = logs(&format!(r#"{{"message":"m","x":{digits},"y":-{digits}.5e{digits}}}"#));
    assert!(attributes(&row, "labels", 0).starts_with("x=999"));
    assert_eq!(bad(&logs_table(), &format!(r#"{{"ts":{digits}}}"#)).0, "ts");
    let metrics = builtin_table(builtin::METRICS_EVENTS);
    assert_eq!(bad(&metrics, &format!(r#"{{"metric":"m","value":{digits}}}"#)).0, "value");
    let wide = format!(r#"{{"metric":"m","value":1{}}}"#, "0".repeat(300));
    assert_eq!(value(&good(&metrics, &wide), "value", 0), "1e300");
}

#[test]
fn nul_is_refused_where_postgres_would_refuse_it() {
    let metrics = builtin_table(builtin::METRICS_EVENTS);
    for body in [
        r#"{"metric":"a\u0000b","value":1}"#,
        r#"{"metric":"m","value":1,"k":"a\u0000"}"#,
        r#"{"metric":"m","value":1,"k\u0000":"a"}"#,
        r#"{"metric":"m","value":1,"k":{"x":["\u0000"]}}"#,
    ] {
        assert!(bad(&metrics, body).1.contains("NUL"), "{body}");
    }
    assert_eq!(attributes(&logs(r#"{"message":"m","k":"\u0000"}"#), "labels", 0), "k=\0:string");
}

#[test]
fn hostile_keys_are_data() {
    let row = logs(r#"{"message":"m","\"; DROP TABLE x; --":1,"":2,"$bytes":3,"a.b":{"$double":"NaN"}}"#);
    assert_eq!(
        attributes(&row, "labels", 0),
        "\"; DROP TABLE x; --=1:int =2:int $bytes=3:int a.b={\"$$double\":\"NaN\"}:map"
    );
    let strict = table(serde_json::json!({"table_name": "t", "labels": {"on_excess": "dead_letter"},
        "columns": [{"name": "time", "type": "timestamp"}, {"name": "labels", "type": "attributes"}]}));
    assert_eq!(bad(&strict, &format!(r#"{{"{}":1}}"#, "k".repeat(257))).0, "labels");
    let keys: Vec<String> = (0..129).map(|key| format!("\"k{key}\":1")).collect();
    assert_eq!(bad(&strict, &format!("{{{}}}", keys.join(","))).0, "labels");
}

#[test]
fn what_is_split_is_bounded_before_it_takes_memory() {
    let keys = "\"\":0,".repeat(2_000_000);
    assert_eq!(
        bad(&logs_table(), &format!("{{{keys}\"message\":\"m\"}}")).1,
        "the object has more than 4096 keys at line 1 column 20485"
    );
    assert_eq!(bad(&logs_table(), &format!("{{\"message\":\"m\",\"x\":{{{keys}\"\":0}}}}")).0, "x");
    let list = table(serde_json::json!({"table_name": "t", "columns":
        [{"name": "time", "type": "timestamp"}, {"name": "ds", "type": "double[]"}]}));
    assert_eq!(bad(&list, &format!("{{\"ds\":[{}0]}}", "0,".repeat(2_000_000))).0, "ds");
    let (field, _) = bad(&logs_table(), &format!("{{\"{}\":\"\\ud800\"}}", "k".repeat(1_000_000)));
    assert_eq!(field.len(), 1026);
}

#[test]
fn lone_surrogates_are_no_text() {
    assert_eq!(bad(&logs_table(), r#"{"message":"\ud800"}"#).0, "message");
    assert_eq!(bad(&logs_table(), r#"{"message":"m","k":["\udc00"]}"#).0, "k");
    assert_eq!(bad(&logs_table(), r#"{"message":"m","\ud800":1}"#).0, "");
}

#[test]
fn too_many_records_are_refused_as_a_whole() {
    let limits = DecodeLimits { records: 3, ..DecodeLimits::default() };
    let body = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    assert!(decode_into(&logs_table(), body(3).as_bytes(), Framing::Json, limits).is_ok());
    let error = decode_into(&logs_table(), body(4).as_bytes(), Framing::Json, limits).unwrap_err();
    assert!(matches!(error, DecodeError::TooLarge(_)));
    let limits = DecodeLimits { decoded_bytes: 100_000, ..DecodeLimits::default() };
    let error = decode_into(&logs_table(), body(1000).as_bytes(), Framing::Json, limits).unwrap_err();
    assert!(matches!(error, DecodeError::TooLarge(_)));
}

#[test]
fn warnings_count_records_that_were_stored_only() {
    let decoded = decode(&logs_table(), r#"{"message":"m","x":18446744073709551616,"k":"\ud800"}"#);
    assert_eq!(decoded.warnings, [""; 0]);
}

/// A record's JSON, valid or nearly so.
fn record() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        Just("message".to_owned()),
        Just("ts".to_owned()),
        Just("labels".to_owned()),
        Just("level".to_owned()),
        Just("host".to_owned()),
        Just("trace_id".to_owned()),
        Just("value".to_owned()),
        Just("name".to_owned()),
        Just("counter".to_owned()),
        Just("kind".to_owned()),
        Just("status".to_owned()),
        "[a-z\\\\\"$.]{0,6}",
    ];
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("1700000000".to_owned()),
        Just("-0.0".to_owned()),
        Just("1e400".to_owned()),
        Just("{\"name\":1,\"value\":2}".to_owned()),
        Just("[[1],{}]".to_owned()),
        Just("\"\\u0000\"".to_owned()),
        "\"[a-z0-9:TZ.-]{0,12}\"",
        "[0-9]{1,25}",
        "[ -~]{0,6}",
    ];
    proptest::collection::vec((key, value), 0..6).prop_map(|members| {
        let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    })
}

proptest! {
    /// Whatever comes in, each record is accepted or refused, and all rows of a table have all of its columns.
    #[test]
    fn every_record_has_one_outcome(records in proptest::collection::vec(record(), 0..6), array: bool) {
        for table in [builtin::LOGS_EVENTS, builtin::METRICS_EVENTS, builtin::TRACES_SPANS] {
            let (body, framing) = if array {
                (format!("[{}]", records.join(",")), Framing::Json)
            } else {
                (records.join("\n"), Framing::Lines)
            };
            let decoded =
                decode_into(&builtin_table(table), body.as_bytes(), framing, DecodeLimits::default()).unwrap();
            let rows: usize = decoded.batches.iter().map(TableBatch::len).sum();
            prop_assert_eq!(decoded.accepted, rows);
            if !array {
                prop_assert_eq!(decoded.accepted + decoded.rejected.len(), records.len());
            }
        }
    }

    /// A record among others reads as it does alone.
    #[test]
    fn neighbours_do_not_matter(records in proptest::collection::vec(record(), 1..6)) {
        let table = logs_table();
        let lines = |body: &str| decode_into(&table, body.as_bytes(), Framing::Lines, DecodeLimits::default()).unwrap();
        let together = lines(&records.join("\n"));
        let alone: Vec<Decoded> = records.iter().map(|record| lines(record)).collect();
        let rows: Vec<TableBatch> = alone.into_iter().flat_map(|decoded| decoded.batches).collect();
        prop_assert_eq!(together.accepted, rows.len());
        if let Some(batch) = together.batches.first() {
            let wanted = TableBatch::concat(Arc::new(table.clone()), &rows).unwrap();
            prop_assert_eq!(batch.rows(), wanted.rows());
        }
    }

    #[test]
    fn any_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        for framing in [Framing::Json, Framing::Lines] {
            let decoded = decode_into(&logs_table(), &body, framing, DecodeLimits::default()).unwrap_or_default();
            prop_assert!(decoded.accepted + decoded.rejected.len() <= body.len() + 1);
        }
    }
}
