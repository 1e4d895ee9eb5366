//! Traps of OTLP traces.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use serde_json::json;

use super::{TIME, TRACES, any, attribute, decode, refusal, rows, traces_of};
use crate::registry::builtin::TRACES_SPANS;

fn span() -> Span {
    Span {
        trace_id: vec![0xAB; 16],
        span_id: vec![0xCD; 8],
        start_time_unix_nano: TIME,
        end_time_unix_nano: TIME + 5,
        name: "s".to_owned(),
        ..Span::default()
    }
}

#[test]
fn a_span_may_end_before_it_starts_or_not_at_all() {
    let backwards = Span { end_time_unix_nano: TIME - 7, ..span() };
    let open = Span { end_time_unix_nano: 0, ..span() };
    let decoded = decode(TRACES, &traces_of(vec![span(), backwards, open])).unwrap();
    let rows = rows(&decoded, TRACES_SPANS);
    assert_eq!((&rows[0]["duration_ns"], &rows[1]["duration_ns"]), (&json!(5), &json!(-7)));
    assert_eq!((&rows[1]["time"], rows[2].get("duration_ns")), (&json!(TIME), None));
}

#[test]
fn spans_need_valid_identifiers_and_a_start() {
    let cases = [
        (
            Span { trace_id: vec![0; 16], ..span() },
            "trace_id: is all zeros: it must have 16 bytes, not all zero",
        ),
        (
            Span { trace_id: Vec::new(), ..span() },
            "trace_id: is missing: it must have 16 bytes, not all zero",
        ),
        (Span { span_id: vec![1; 16], ..span() }, "span_id: has 16 bytes instead of 8"),
        (Span { parent_span_id: vec![1; 3], ..span() }, "parent_span_id: has 3 bytes instead of 8"),
        (Span { start_time_unix_nano: 0, ..span() }, "start_time_unix_nano: is 0: a span must have a start"),
    ];
    for (bad, reason) in cases {
        let decoded = decode(TRACES, &traces_of(vec![span(), bad, span()])).unwrap();
        assert_eq!(refusal(&decoded), format!("1 {reason}"));
        assert_eq!(decoded.accepted, 2);
    }
}

#[test]
fn a_root_span_has_no_parent() {
    let zeros = Span { parent_span_id: vec![0; 8], ..span() };
    let child = Span { parent_span_id: vec![0xEF; 8], ..span() };
    let decoded = decode(TRACES, &traces_of(vec![span(), zeros, child])).unwrap();
    let rows = rows(&decoded, TRACES_SPANS);
    let parents: Vec<_> = rows.iter().map(|row| row.get("parent_span_id")).collect();
    assert_eq!(parents, [None, None, Some(&json!("efefefefefefefef"))]);
}

#[test]
fn kind_and_status_are_words_and_unknown_numbers_are_kept() {
    let with = |kind, code| Span { kind, status: Some(Status { code, message: String::new() }), ..span() };
    let decoded = decode(TRACES, &traces_of(vec![span(), with(2, 2), with(17, -1)])).unwrap();
    let rows = rows(&decoded, TRACES_SPANS);
    let words: Vec<_> = rows.iter().map(|row| (row["kind"].clone(), row["status"].clone())).collect();
    assert_eq!(
        words,
        [
            (json!("unspecified"), json!("unset")),
            (json!("server"), json!("error")),
            (json!("17"), json!("-1"))
        ]
    );
}

#[test]
fn events_and_links_lose_nothing() {
    let attributes = vec![attribute("i", any(Any::IntValue(1))), attribute("d", any(Any::DoubleValue(1.0)))];
    let event =
        Event { time_unix_nano: TIME + 1, name: "e".to_owned(), attributes, dropped_attributes_count: 3 };
    let link = Link {
        trace_id: vec![0x12; 16],
        span_id: vec![0; 8],
        trace_state: "a=b".to_owned(),
        attributes: vec![attribute("b", any(Any::BytesValue(b"hi".to_vec())))],
        dropped_attributes_count: 4,
        flags: 0x301,
    };
    let full = Span { events: vec![event, Event::default()], links: vec![link, Link::default()], ..span() };
    let decoded = decode(TRACES, &traces_of(vec![full, span()])).unwrap();
    let rows = rows(&decoded, TRACES_SPANS);
    let events = format!(
        r#"[{{"time_unix_nano":{},"name":"e","attributes":{{"i":1,"d":1.0}},"dropped_attributes_count":3}},{{"time_unix_nano":0,"name":""}}]"#,
        TIME + 1
    );
    assert_eq!(rows[0]["events"], json!(events));
    let links = concat!(
        r#"[{"trace_id":"12121212121212121212121212121212","span_id":"0000000000000000","trace_state":"a=b","#,
        r#""attributes":{"b":{"$bytes":"aGk="}},"dropped_attributes_count":4,"flags":769},"#,
        r#"{"trace_id":"","span_id":""}]"#
    );
    assert_eq!(rows[0]["links"], json!(links));
    assert!(!rows[1].contains_key("events") && !rows[1].contains_key("links"));
}

#[test]
fn nul_is_refused_with_its_place_since_postgres_cannot_hold_it() {
    let in_name = Span { name: "a\0b".to_owned(), ..span() };
    let in_event = Span { events: vec![Event { name: "\0".to_owned(), ..Event::default() }], ..span() };
    let in_label = Span { attributes: vec![attribute("k", super::text("\0"))], ..span() };
    for (bad, field) in [(in_name, "name"), (in_event, "events"), (in_label, "attributes.k")] {
        let decoded = decode(TRACES, &traces_of(vec![bad, span()])).unwrap();
        assert_eq!(
            refusal(&decoded),
            format!("0 {field}: contains a NUL character, which Postgres cannot store")
        );
        assert_eq!(decoded.accepted, 1);
    }
}

#[test]
fn a_span_far_outside_of_the_accepted_window_is_refused() {
    let future = Span { start_time_unix_nano: TIME + 3 * 86_400_000_000_000, ..span() };
    let decoded = decode(TRACES, &traces_of(vec![future])).unwrap();
    assert!(
        refusal(&decoded).starts_with("0 start_time_unix_nano: time is outside"),
        "{:?}",
        decoded.rejected
    );
}
