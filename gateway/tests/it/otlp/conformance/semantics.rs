//! What a receiver makes of records: which are valid, and that a bad one leaves its neighbours alone.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value::AsInt;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    NumberDataPoint, Sum, Summary, SummaryDataPoint,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::super::recent;
use super::requests::{PROTOBUF, logs, metrics, record, span, spans};
use super::{Finding, Rule, Target, ensure};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "all_attribute_values_on_all_signals",
        says: "since 1.9 attributes may hold any AnyValue on any signal",
        check: |target| Box::pin(attribute_values(target)),
    },
    Rule {
        name: "a_bad_span_is_refused_alone",
        says: "a request of which a part is bad is 200 with the number of refused spans and a message",
        check: |target| Box::pin(bad_span(target)),
    },
    Rule {
        name: "log_without_a_time",
        says: "time_unix_nano 0 means unknown: the record is taken",
        check: |target| Box::pin(undated_log(target)),
    },
    Rule {
        name: "span_that_ends_before_it_starts",
        says: "a receiver does not lose spans of clocks that went back",
        check: |target| Box::pin(backward_span(target)),
    },
    Rule {
        name: "point_without_a_value",
        says: "a number point without a value and without the flag for it is not valid",
        check: |target| Box::pin(point_without_value(target)),
    },
    Rule {
        name: "no_recorded_value",
        says: "a point with the flag for no recorded value has none",
        check: |target| Box::pin(no_recorded_value(target)),
    },
    Rule {
        name: "unspecified_temporality",
        says: "AGGREGATION_TEMPORALITY_UNSPECIFIED must not be used",
        check: |target| Box::pin(unspecified_temporality(target)),
    },
    Rule {
        name: "histogram_buckets",
        says: "there is one bucket count more than bounds, or none of both",
        check: |target| Box::pin(histogram_buckets(target)),
    },
    Rule {
        name: "every_kind_of_metric",
        says: "gauges, sums, histograms, exponential histograms and summaries of both temporalities are taken",
        check: |target| Box::pin(every_kind(target)),
    },
];

async fn rejected_points(target: &Target, data: Data) -> Result<i64, String> {
    let answer = target.post("/v1/metrics", PROTOBUF, "", metrics(data).encode_to_vec()).await?;
    ensure(answer.status() == 200, || answer.status().to_string())?;
    let response = ExportMetricsServiceResponse::decode(answer.bytes().await.unwrap_or_default());
    let partial = response.map_err(|error| error.to_string())?.partial_success;
    Ok(partial.map_or(0, |partial| partial.rejected_data_points))
}

async fn expect_points(target: &Target, data: Data, wanted: i64) -> Finding {
    let found = rejected_points(target, data.clone()).await?;
    ensure(found == wanted, || format!("{found} points are refused instead of {wanted}: {data:?}"))
}

async fn rejected_logs(target: &Target, records: Vec<LogRecord>) -> Result<i64, String> {
    let answer = target.post("/v1/logs", PROTOBUF, "", logs(records).encode_to_vec()).await?;
    ensure(answer.status() == 200, || answer.status().to_string())?;
    let response = ExportLogsServiceResponse::decode(answer.bytes().await.unwrap_or_default());
    let partial = response.map_err(|error| error.to_string())?.partial_success;
    Ok(partial.map_or(0, |partial| partial.rejected_log_records))
}

async fn rejected_spans(target: &Target, all: Vec<Span>) -> Result<(i64, String), String> {
    let answer = target.post("/v1/traces", PROTOBUF, "", spans(all).encode_to_vec()).await?;
    ensure(answer.status() == 200, || answer.status().to_string())?;
    let response = ExportTraceServiceResponse::decode(answer.bytes().await.unwrap_or_default());
    let partial = response.map_err(|error| error.to_string())?.partial_success;
    Ok(partial.map_or((0, String::new()), |partial| (partial.rejected_spans, partial.error_message)))
}

fn point(value: Option<i64>, flags: u32) -> NumberDataPoint {
    NumberDataPoint {
        time_unix_nano: recent(),
        value: value.map(AsInt),
        flags,
        attributes: record().attributes,
        ..NumberDataPoint::default()
    }
}

fn gauge(points: Vec<NumberDataPoint>) -> Data {
    Data::Gauge(Gauge { data_points: points })
}

async fn attribute_values(target: &Target) -> Finding {
    let found = rejected_logs(target, vec![record()]).await?;
    ensure(found == 0, || "a log record is refused".to_owned())?;
    let (found, message) = rejected_spans(target, vec![span()]).await?;
    ensure(found == 0, || format!("a span is refused: {message}"))?;
    expect_points(target, gauge(vec![point(Some(1), 0)]), 0).await
}

async fn bad_span(target: &Target) -> Finding {
    let bad = Span { trace_id: vec![1; 15], ..span() };
    let (found, message) = rejected_spans(target, vec![span(), bad, span()]).await?;
    ensure(found == 1 && !message.is_empty(), || format!("{found} are refused, with the message {message:?}"))
}

async fn undated_log(target: &Target) -> Finding {
    let found = rejected_logs(target, vec![LogRecord { time_unix_nano: 0, ..record() }]).await?;
    ensure(found == 0, || "it is refused".to_owned())
}

async fn backward_span(target: &Target) -> Finding {
    let backward = Span { end_time_unix_nano: span().start_time_unix_nano - 1, ..span() };
    let (found, message) = rejected_spans(target, vec![backward]).await?;
    ensure(found == 0, || message)
}

async fn point_without_value(target: &Target) -> Finding {
    expect_points(target, gauge(vec![point(Some(1), 0), point(None, 0)]), 1).await
}

async fn no_recorded_value(target: &Target) -> Finding {
    expect_points(target, gauge(vec![point(None, 1)]), 0).await
}

fn sum(aggregation_temporality: i32) -> Data {
    Data::Sum(Sum { data_points: vec![point(Some(1), 0)], aggregation_temporality, is_monotonic: true })
}

async fn unspecified_temporality(target: &Target) -> Finding {
    expect_points(target, sum(0), 1).await
}

fn histogram(aggregation_temporality: i32, counts: &[u64], bounds: &[f64]) -> Data {
    let point = HistogramDataPoint {
        time_unix_nano: recent(),
        count: counts.iter().sum(),
        bucket_counts: counts.to_vec(),
        explicit_bounds: bounds.to_vec(),
        ..HistogramDataPoint::default()
    };
    Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality })
}

async fn histogram_buckets(target: &Target) -> Finding {
    expect_points(target, histogram(2, &[1, 2], &[0.5, 1.0]), 1).await?;
    expect_points(target, histogram(2, &[], &[]), 0).await
}

async fn every_kind(target: &Target) -> Finding {
    for temporality in [1, 2] {
        expect_points(target, sum(temporality), 0).await?;
        expect_points(target, histogram(temporality, &[1, 2], &[0.5]), 0).await?;
        for scale in [-10, 0, 20] {
            let buckets = Buckets { offset: -3, bucket_counts: vec![1, 0, 2] };
            let point = ExponentialHistogramDataPoint {
                time_unix_nano: recent(),
                count: 3,
                scale,
                zero_threshold: 1e-9,
                positive: Some(buckets),
                ..ExponentialHistogramDataPoint::default()
            };
            let data =
                ExponentialHistogram { data_points: vec![point], aggregation_temporality: temporality };
            expect_points(target, Data::ExponentialHistogram(data), 0).await?;
        }
    }
    let point =
        SummaryDataPoint { time_unix_nano: recent(), count: 1, sum: 2.0, ..SummaryDataPoint::default() };
    expect_points(target, Data::Summary(Summary { data_points: vec![point] }), 0).await
}
