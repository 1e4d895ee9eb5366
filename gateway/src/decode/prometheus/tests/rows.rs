//! Samples, exemplars and metadata, column by column.

use super::*;

fn request_v1() -> RequestV1 {
    let stale = f64::from_bits(STALE_MARKER);
    let series = SeriesV1 {
        labels: labels(&[("__name__", "up"), ("instance", "a:9090"), ("job", "node"), ("empty", "")]),
        samples: vec![sample(1.5, NOW_MS), sample(stale, NOW_MS + 1), sample(f64::NAN, NOW_MS + 2)],
        exemplars: vec![ExemplarV1 {
            labels: labels(&[
                ("trace_id", "0AF7651916CD43DD8448EB211C80319C"),
                ("span_id", "not an id"),
                ("user", "u"),
            ]),
            value: 0.25,
            timestamp: NOW_MS - 5,
        }],
        histograms: Vec::new(),
    };
    let family = MetadataV1 {
        kind: 1,
        metric_family_name: "up".to_owned(),
        help: "is it up?".to_owned(),
        unit: "1".to_owned(),
    };
    RequestV1 { timeseries: vec![series], metadata: vec![family] }
}

#[test]
fn a_request_of_1_0_reads_back() {
    let (decoded, written) = decode_v1(&request_v1());
    assert_eq!(written, Written { samples: 3, histograms: 0, exemplars: 1 });
    assert_eq!((decoded.accepted, decoded.rejected.len()), (5, 0));
    assert_eq!(held(&request_v1().encode_to_vec(), Version::V1), written);

    let table = METRICS_EVENTS;
    assert_eq!(texts(&decoded, table, "metric"), some(&["up"; 3]));
    assert_eq!(texts(&decoded, table, "app"), some(&["node"; 3]));
    assert_eq!(texts(&decoded, table, "host"), some(&["a:9090"; 3]));
    let wanted = [("instance", "a:9090"), ("job", "node"), ("empty", "")];
    assert_eq!(labels_of(&decoded, table, "labels", 0), wanted.map(|(k, v)| (k.to_owned(), v.to_owned())));
    let values = doubles(&decoded, table, "value");
    assert_eq!(values[..2], [Some(1.5), None]);
    assert!(values[2].is_some_and(f64::is_nan));
    assert_eq!(bigints(&decoded, table, "flags"), [None, Some(1), None]);
    assert_eq!(times(&decoded, table, "time"), [0, 1, 2].map(|ms| Some((NOW_MS + ms) * 1_000_000)));
    assert_eq!(texts(&decoded, table, "type"), [None, None, None]);

    let table = METRICS_EXEMPLARS;
    assert_eq!(texts(&decoded, table, "trace_id"), some(&["0af7651916cd43dd8448eb211c80319c"]));
    assert_eq!(texts(&decoded, table, "span_id"), [None]);
    let wanted = [("span_id", "not an id"), ("user", "u")];
    assert_eq!(
        labels_of(&decoded, table, "filtered_labels", 0),
        wanted.map(|(k, v)| (k.to_owned(), v.to_owned()))
    );
    assert_eq!(doubles(&decoded, table, "value"), [Some(0.25)]);
    assert_eq!(times(&decoded, table, "time"), [Some((NOW_MS - 5) * 1_000_000)]);

    let table = METRICS_METADATA;
    assert_eq!(texts(&decoded, table, "metric"), some(&["up"]));
    assert_eq!(texts(&decoded, table, "type"), some(&["sum"]));
    assert_eq!(texts(&decoded, table, "unit"), some(&["1"]));
    assert_eq!(texts(&decoded, table, "temporality"), some(&["cumulative"]));
    assert_eq!(texts(&decoded, table, "description"), some(&["is it up?"]));
}

#[test]
fn a_request_of_2_0_reads_back() {
    let mut request = RequestV2::new();
    let labels_refs = request.places(&["__name__", "requests_total", "job", "web"]);
    let [help_ref, unit_ref] = request.places(&["how many", "requests"])[..] else { panic!() };
    let exemplar_refs = request.places(&["span_id", "00f067aa0ba902b7"]);
    let started = Sample { start_timestamp: NOW_MS - 100, ..sample(3.0, NOW_MS) };
    request.timeseries.push(SeriesV2 {
        labels_refs,
        samples: vec![started, sample(4.0, NOW_MS + 1)],
        exemplars: vec![ExemplarV2 { labels_refs: exemplar_refs, value: 9.0, timestamp: NOW_MS }],
        metadata: Some(MetadataV2 { kind: 1, help_ref, unit_ref }),
        created_timestamp: NOW_MS - 200,
        histograms: Vec::new(),
    });
    let (decoded, written) = decode_v2(&request);
    assert_eq!(written, Written { samples: 2, histograms: 0, exemplars: 1 });
    assert_eq!(held(&request.encode_to_vec(), Version::V2), written);
    assert_eq!((decoded.accepted, decoded.rejected.len()), (3, 0));
    let table = METRICS_EVENTS;
    assert_eq!(doubles(&decoded, table, "value"), [Some(3.0), Some(4.0)]);
    assert_eq!(texts(&decoded, table, "type"), some(&["sum"; 2]));
    assert_eq!(texts(&decoded, table, "unit"), some(&["requests"; 2]));
    assert_eq!(texts(&decoded, table, "temporality"), some(&["cumulative"; 2]));
    assert!(column(&decoded, table, "monotonic").as_boolean().value(0));
    let starts = [NOW_MS - 100, NOW_MS - 200].map(|ms| Some(ms * 1_000_000));
    assert_eq!(times(&decoded, table, "start_time"), starts);
    assert_eq!(texts(&decoded, METRICS_EXEMPLARS, "span_id"), some(&["00f067aa0ba902b7"]));
    assert_eq!(texts(&decoded, METRICS_METADATA, "description"), some(&["how many"]));
}

#[test]
fn types_have_the_words_of_the_table() {
    let mut request = RequestV2::new();
    for kind in 0..=8 {
        let labels_refs = request.places(&["__name__", &format!("m{kind}")]);
        request.timeseries.push(SeriesV2 {
            labels_refs,
            samples: vec![sample(0.0, NOW_MS)],
            metadata: Some(MetadataV2 { kind, help_ref: 0, unit_ref: 0 }),
            ..SeriesV2::default()
        });
    }
    let (decoded, _) = decode_v2(&request);
    let words = ["sum", "gauge", "histogram", "gauge_histogram", "summary", "info", "state_set"];
    let wanted: Vec<_> = [vec![None], some(&words), vec![None]].concat();
    assert_eq!(texts(&decoded, METRICS_EVENTS, "type"), wanted);
}

#[test]
fn bad_records_are_refused_alone_and_kept_in_requests_of_their_own() {
    let mut request = request_v1();
    request.timeseries[0].samples[1].timestamp = i64::MAX;
    request.timeseries[0].exemplars[0].timestamp = i64::MIN;
    request.metadata[0].metric_family_name = "a\0b".to_owned();
    let (decoded, written) = decode_v1(&request);
    assert_eq!(written, Written { samples: 2, histograms: 0, exemplars: 0 });
    let rejected: Vec<_> = decoded
        .rejected
        .iter()
        .map(|rejected| (rejected.index, rejected.table.as_str(), rejected.error.field.as_str()))
        .collect();
    assert_eq!(
        rejected,
        [
            (1, METRICS_EVENTS, "timestamp"),
            (3, METRICS_EXEMPLARS, "exemplar.timestamp"),
            (4, METRICS_METADATA, "metadata.metric"),
        ]
    );
    assert_kept_alone(&decoded, Version::V1);

    let mut request = RequestV2::new();
    let labels_refs = request.places(&["__name__", "m", "long", "value"]);
    let exemplar_refs = request.places(&["trace_id", "t"]);
    let [help_ref, unit_ref] = request.places(&["help", "unit"])[..] else { panic!() };
    request.timeseries.push(SeriesV2 {
        labels_refs,
        samples: vec![sample(1.0, i64::MAX), sample(1.0, NOW_MS)],
        exemplars: vec![ExemplarV2 { labels_refs: exemplar_refs, value: 1.0, timestamp: i64::MAX }],
        metadata: Some(MetadataV2 { kind: 2, help_ref, unit_ref }),
        created_timestamp: NOW_MS,
        histograms: vec![Histogram { schema: 99, timestamp: NOW_MS, ..Histogram::default() }],
    });
    let (decoded, written) = decode_v2(&request);
    assert_eq!(written, Written { samples: 1, histograms: 0, exemplars: 0 });
    assert_eq!(decoded.rejected.len(), 3);
    assert_kept_alone(&decoded, Version::V2);
    let kept = RequestV2::decode(decoded.rejected[0].payload.as_slice()).unwrap();
    assert_eq!(kept.symbols.len(), 7, "{kept:?}");
    assert_eq!((kept.timeseries[0].samples.len(), kept.timeseries[0].created_timestamp), (1, NOW_MS));
}

#[test]
fn bad_labels_refuse_every_record_of_their_series_and_no_other() {
    let many: Vec<_> = (0..20_000).map(|at| format!("l{at}")).collect();
    let mut bad: Vec<Vec<(&str, &str)>> = vec![
        vec![("job", "j")],
        vec![("__name__", "")],
        vec![("__name__", "m"), ("", "v")],
        vec![("__name__", "m"), ("a", "1"), ("a", "1")],
        vec![("__name__", "m"), ("nul", "\0")],
    ];
    bad.push([("__name__", "m")].into_iter().chain(many.iter().map(|name| (name.as_str(), ""))).collect());
    for pairs in bad {
        let series = |pairs: &[(&str, &str)]| SeriesV1 {
            labels: labels(pairs),
            samples: vec![sample(1.0, NOW_MS), sample(2.0, NOW_MS)],
            ..SeriesV1::default()
        };
        let timeseries = vec![series(&pairs), series(&[("__name__", "good")])];
        let (decoded, written) = decode_v1(&RequestV1 { timeseries, metadata: Vec::new() });
        assert_eq!((written.samples, decoded.rejected.len()), (2, 2), "{:?}", &pairs[..2.min(pairs.len())]);
        assert!(decoded.rejected[0].error.field.starts_with("labels"), "{:?}", decoded.rejected[0].error);
    }
}
