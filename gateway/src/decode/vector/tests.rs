//! Requests as Vector encodes them, read back from the rows; and requests that no Vector would send.

mod messages;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};
use proptest::prelude::*;
use prost::Message as _;

use self::messages::{
    AggregatedHistogram1, AggregatedHistogram3, AggregatedSummary3, Counted, Distribution1, Distribution2,
    Event as Sent, Kind as Of, Log, Metric, MetricValue, PushEventsRequest, Quantile, Scalar, Set, TagValue,
    TagValues, Timestamp, Trace, Value, ValueArray, ValueMap, log, map, request, text, value,
};
use super::*;
use crate::decode::DecodeLimits;
use crate::registry::builtin::METRICS_HISTOGRAMS;
use crate::registry::{Snapshot, Tenant, builtin};

const NOW: i64 = 1_700_000_000_000_000_000;
const TIME: Timestamp = Timestamp { seconds: 1_700_000_000, nanos: 123_456_789 };

fn decode_within(body: &[u8], limits: DecodeLimits) -> Result<Decoded, DecodeError> {
    let tenant = Tenant::default();
    let tables = Snapshot::new(builtin::tables(&tenant).unwrap());
    push_events(body, &DecodeContext { tables: &tables, tenant: &tenant, now_nanos: NOW, limits })
}

fn decode(request: &PushEventsRequest) -> Decoded {
    decode_within(&request.encode_to_vec(), DecodeLimits::default()).unwrap()
}

fn column(decoded: &Decoded, table: &str, name: &str) -> arrow::array::ArrayRef {
    let batch = decoded.batches.iter().find(|batch| batch.table().name().as_str() == table);
    std::sync::Arc::clone(batch.expect(table).rows().column_by_name(name).unwrap())
}

fn texts(decoded: &Decoded, table: &str, name: &str) -> Vec<String> {
    column(decoded, table, name).as_string::<i32>().iter().flatten().map(str::to_owned).collect()
}

/// The JSON of the first event.
fn json_of(event: Sent) -> serde_json::Value {
    let body = request(vec![event]).encode_to_vec();
    let tenant = Tenant::default();
    let tables = Snapshot::default();
    let limits = DecodeLimits::default();
    let context = DecodeContext { tables: &tables, tenant: &tenant, now_nanos: NOW, limits };
    let mut events = events(&body, &context).unwrap();
    serde_json::from_str(&events.remove(0).json.unwrap()).unwrap()
}

fn metric(value: MetricValue) -> Metric {
    Metric { name: "m".to_owned(), timestamp: Some(TIME), kind: 1, value: Some(value), ..Metric::default() }
}

#[test]
fn every_kind_of_value_is_what_vectors_json_has() {
    let json = json_of(log([
        ("text", text("a\"\u{e4}\n")),
        ("time", value(Of::Timestamp(TIME))),
        ("int", value(Of::Integer(i64::MIN))),
        ("float", value(Of::Float(1.0))),
        ("nan", value(Of::Float(f64::NAN))),
        ("bool", value(Of::Boolean(true))),
        ("null", value(Of::Null(0))),
        ("none", Value::default()),
        ("list", value(Of::Array(ValueArray { items: vec![text("x"), value(Of::Integer(1))] }))),
        ("map", value(Of::Map(ValueMap { fields: map([("inner", text("y"))]) }))),
        ("empty", value(Of::Map(ValueMap::default()))),
    ]));
    assert_eq!(
        json,
        serde_json::json!({
            "text": "a\"\u{e4}\n", "time": "2023-11-14T22:13:20.123456789Z", "int": i64::MIN, "float": 1.0,
            "nan": "NaN", "bool": true, "null": null, "none": null, "list": ["x", 1], "map": {"inner": "y"},
            "empty": {},
        })
    );
}

#[test]
fn logs_of_all_versions_become_rows() {
    let old = Sent::Log(Log { fields: map([("message", text("old")), ("host", text("h"))]), value: None });
    let new = log([
        ("message", text("new")),
        ("timestamp", value(Of::Timestamp(TIME))),
        ("pid", value(Of::Integer(7))),
    ]);
    let bare = Sent::Log(Log { value: Some(text("bare")), ..Log::default() });
    let decoded = decode(&request(vec![old, new, bare]));
    assert_eq!((decoded.accepted, decoded.rejected.len()), (3, 0));
    assert_eq!(texts(&decoded, LOGS_EVENTS, "message"), ["old", "new", "bare"]);
    assert_eq!(texts(&decoded, LOGS_EVENTS, "host"), ["h", "", ""]);
    let times = column(&decoded, LOGS_EVENTS, "timestamp");
    let times = times.as_primitive::<arrow::datatypes::TimestampNanosecondType>();
    assert_eq!(times.value(1), NOW + 123_456_789);
}

#[test]
fn spans_of_the_opentelemetry_source_become_rows() {
    let end = Timestamp { seconds: TIME.seconds + 1, ..TIME };
    let span = Sent::Trace(Trace {
        fields: map([
            ("trace_id", text("0af7651916cd43dd8448eb211c80319c")),
            ("span_id", text("00f067aa0ba902b7")),
            ("name", text("GET /")),
            ("kind", value(Of::Integer(2))),
            ("start_time_unix_nano", value(Of::Timestamp(TIME))),
            ("end_time_unix_nano", value(Of::Timestamp(end))),
            (
                "attributes",
                value(Of::Map(ValueMap { fields: map([("http.status", value(Of::Integer(200)))]) })),
            ),
            (
                "resources",
                value(Of::Map(ValueMap {
                    fields: map([("service.name", text("shop")), ("host.name", text("web-1"))]),
                })),
            ),
        ]),
    });
    let decoded = decode(&request(vec![span]));
    assert_eq!(decoded.rejected, []);
    assert_eq!(texts(&decoded, TRACES_SPANS, "app"), ["shop"]);
    assert_eq!(texts(&decoded, TRACES_SPANS, "host"), ["web-1"]);
    assert_eq!(texts(&decoded, TRACES_SPANS, "kind"), ["server"]);
    assert_eq!(
        column(&decoded, TRACES_SPANS, "duration_ns").as_primitive::<Int64Type>().value(0),
        1_000_000_000
    );
    assert_eq!(column(&decoded, TRACES_SPANS, "resource").as_map().value(0).len(), 2);
}

#[test]
fn metrics_are_what_vectors_json_has() {
    let tag = |values: &[Option<&str>]| TagValues {
        values: values.iter().map(|value| TagValue { value: value.map(str::to_owned) }).collect(),
    };
    let counter = Metric {
        namespace: "web".to_owned(),
        interval_ms: 1000,
        kind: 0,
        tags_v1: [("old".to_owned(), "x".to_owned())].into(),
        tags_v2: [
            ("host".to_owned(), tag(&[Some("h")])),
            ("many".to_owned(), tag(&[Some("a"), None])),
            ("bare".to_owned(), tag(&[None])),
        ]
        .into(),
        ..metric(MetricValue::Counter(Scalar { value: 3.0 }))
    };
    assert_eq!(
        json_of(Sent::Metric(counter)),
        serde_json::json!({
            "name": "m", "namespace": "web", "interval_ms": 1000, "timestamp": "2023-11-14T22:13:20.123456789Z",
            "kind": "incremental", "tags": {"host": "h", "many": ["a", null], "bare": null},
            "counter": {"value": 3.0},
        })
    );
    let old = Metric {
        tags_v1: [("old".to_owned(), "x".to_owned())].into(),
        ..metric(MetricValue::Distribution1(Distribution1 {
            values: vec![1.0, 2.5],
            sample_rates: vec![3, 4],
            statistic: 1,
        }))
    };
    let json = json_of(Sent::Metric(old));
    assert_eq!(json["tags"], serde_json::json!({"old": "x"}));
    assert_eq!(
        json["distribution"],
        serde_json::json!({"samples": [{"value": 1.0, "rate": 3}, {"value": 2.5, "rate": 4}], "statistic": "summary"})
    );
}

#[test]
fn every_shape_of_metric_becomes_a_row() {
    let buckets = vec![Counted { value: 0.1, count: 2 }, Counted { value: f64::INFINITY, count: 1 }];
    let quantiles = vec![Quantile { quantile: 0.5, value: 7.0 }];
    let samples = vec![Counted { value: 1.0, count: 2 }];
    let (count, sum) = (3, 0.7);
    let shapes = [
        MetricValue::Counter(Scalar { value: 1.0 }),
        MetricValue::Gauge(Scalar { value: f64::NAN }),
        MetricValue::Set(Set { values: vec!["a".to_owned(), "b".to_owned()] }),
        MetricValue::AggregatedHistogram1(AggregatedHistogram1 {
            buckets: vec![0.1],
            counts: vec![2],
            count: 3,
            sum,
        }),
        MetricValue::AggregatedHistogram3(AggregatedHistogram3 { buckets, count, sum }),
        MetricValue::AggregatedSummary3(AggregatedSummary3 { quantiles, count, sum }),
        MetricValue::Distribution2(Distribution2 { samples, statistic: 0 }),
    ];
    let decoded = decode(&request(shapes.map(|shape| Sent::Metric(metric(shape))).into()));
    assert_eq!((decoded.accepted, &decoded.rejected), (7, &Vec::new()));
    assert_eq!(texts(&decoded, METRICS_EVENTS, "type"), ["sum", "gauge", "set"]);
    let values = column(&decoded, METRICS_EVENTS, "value");
    assert!(values.as_primitive::<Float64Type>().value(1).is_nan());
    let types = texts(&decoded, METRICS_HISTOGRAMS, "type");
    assert_eq!(types, ["histogram", "histogram", "summary", "distribution"]);
    let counts = column(&decoded, METRICS_HISTOGRAMS, "counts");
    let counts: Vec<Vec<i64>> = (0..4)
        .map(|row| counts.as_list::<i32>().value(row).as_primitive::<Int64Type>().values().to_vec())
        .collect();
    assert_eq!(counts, [vec![2, 1], vec![2, 1], vec![], vec![2, 0]]);
}

fn bad_events() -> Vec<Sent> {
    let mut deep = text("x");
    for _ in 0..40 {
        deep = value(Of::Array(ValueArray { items: vec![deep] }));
    }
    vec![
        log([("message", value(Of::RawBytes(vec![0xff])))]),
        log([("deep", deep)]),
        log([("timestamp", value(Of::Timestamp(Timestamp { seconds: i64::MAX, nanos: 0 })))]),
        log([]),
        Sent::Metric(Metric { value: None, ..metric(MetricValue::Set(Set::default())) }),
        Sent::Metric(metric(MetricValue::Sketch(Set::default()))),
        Sent::Metric(metric(MetricValue::Distribution1(Distribution1 {
            values: vec![1.0],
            ..Distribution1::default()
        }))),
        Sent::Metric(Metric { kind: 9, ..metric(MetricValue::Counter(Scalar { value: 1.0 })) }),
        Sent::Trace(Trace { fields: map([("resourceSpans", text("x"))]) }),
        Sent::Trace(Trace { fields: map([("name", text("no ids"))]) }),
    ]
}

#[test]
fn bad_events_are_refused_alone_and_kept_in_requests_of_their_own() {
    let good = || log([("message", text("good"))]);
    let events: Vec<Sent> = bad_events().into_iter().flat_map(|bad| [bad, good()]).collect();
    let decoded = decode(&request(events));
    let bad = bad_events().len();
    assert_eq!((decoded.accepted, decoded.rejected.len()), (bad, bad));
    for (at, rejected) in decoded.rejected.iter().enumerate() {
        assert_eq!((rejected.index, rejected.content_type), (2 * at, KEPT));
        let again = decode_within(&rejected.payload, DecodeLimits::default()).unwrap();
        assert_eq!((again.accepted, &again.rejected[0].error), (0, &rejected.error));
    }
    let fields: Vec<_> = decoded.rejected.iter().map(|rejected| rejected.error.field.as_str()).collect();
    assert_eq!(fields[0], "message");
    assert_eq!(fields[5], "sketch");
    assert_eq!(fields[8], "resourceSpans");
}

#[test]
fn a_wrapper_without_an_event_is_a_refused_record() {
    let decoded = decode_within(&[0x0a, 0, 0x0a, 2, 0x0a, 9], DecodeLimits::default()).unwrap();
    assert_eq!((decoded.accepted, decoded.rejected.len()), (0, 2));
    assert!(matches!(decode_within(&[0x0a, 9], DecodeLimits::default()), Err(DecodeError::Malformed(_))));
    assert_eq!(decode_within(&[], DecodeLimits::default()).unwrap().accepted, 0);
}

#[test]
fn requests_over_the_limits_are_refused() {
    let events = || request(vec![log([("message", text(&"\u{1}".repeat(1000)))]); 3]).encode_to_vec();
    for limits in [
        DecodeLimits { records: 2, ..DecodeLimits::default() },
        DecodeLimits { decoded_bytes: 10_000, ..DecodeLimits::default() },
    ] {
        assert!(matches!(decode_within(&events(), limits), Err(DecodeError::TooLarge(_))));
    }
}

#[test]
fn the_corpus_is_decoded_or_refused() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/vector");
    let mut accepted = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        match decode_within(&std::fs::read(file.unwrap().path()).unwrap(), DecodeLimits::default()) {
            Ok(decoded) => accepted += decoded.accepted,
            Err(error) => assert!(!matches!(error, DecodeError::Internal(_)), "{error}"),
        }
    }
    assert!(accepted > 5, "{accepted} good records");
}

proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(DecodeError::Internal(reason)) = decode_within(&body, DecodeLimits::default()) {
            prop_assert!(false, "{}", reason);
        }
    }

    #[test]
    fn no_damage_panics(at: usize, byte: u8) {
        let mut body = request(bad_events()).encode_to_vec();
        let at = at % body.len();
        body[at] = byte;
        if let Err(DecodeError::Internal(reason)) = decode_within(&body, DecodeLimits::default()) {
            prop_assert!(false, "{}", reason);
        }
    }
}
