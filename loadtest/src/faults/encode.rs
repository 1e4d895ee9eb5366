//! Records of one request into the bytes of a protocol.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValueKind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as PointValue;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::{Map, Value as Json, json};

use super::record::{Kind, Record, Run};

/// How records are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP, protobuf.
    OtlpHttp,
    /// A JSON array.
    Rest,
}

impl Protocol {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::OtlpGrpc, Self::OtlpHttp, Self::Rest];

    /// The address of the protocol for this kind of records: a path, or a method of gRPC.
    pub(super) fn path(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Self::OtlpGrpc, Kind::Log) => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            (Self::OtlpGrpc, Kind::Metric) => {
                "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
            }
            (Self::OtlpHttp, Kind::Log) => "/v1/logs",
            (Self::OtlpHttp, Kind::Metric) => "/v1/metrics",
            (Self::Rest, Kind::Log) => "/write/logs",
            (Self::Rest, Kind::Metric) => "/write/metrics",
        }
    }

    /// The content type of a body.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "application/grpc",
            Self::OtlpHttp => "application/x-protobuf",
            Self::Rest => "application/json",
        }
    }

    /// The body of a request with these records, all of one sender.
    pub(super) fn body(self, kind: Kind, run: Run, records: &[Record]) -> Vec<u8> {
        match (self, kind) {
            (Self::OtlpGrpc | Self::OtlpHttp, Kind::Log) => otlp_logs(run, records),
            (Self::OtlpGrpc | Self::OtlpHttp, Kind::Metric) => otlp_metrics(run, records),
            (Self::Rest, _) => rest(kind, run, records),
        }
    }
}

fn otlp_logs(run: Run, records: &[Record]) -> Vec<u8> {
    let log_records = records.iter().map(|record| LogRecord {
        time_unix_nano: nanos(record),
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(text(&record.text)),
        attributes: attributes(run, record),
        ..Default::default()
    });
    let scope_logs = vec![ScopeLogs { log_records: log_records.collect(), ..Default::default() }];
    let logs = ResourceLogs { resource: resource(records), scope_logs, ..Default::default() };
    ExportLogsServiceRequest { resource_logs: vec![logs] }.encode_to_vec()
}

fn otlp_metrics(run: Run, records: &[Record]) -> Vec<u8> {
    let metrics = records.iter().map(|record| {
        let point = NumberDataPoint {
            attributes: attributes(run, record),
            time_unix_nano: nanos(record),
            value: record.value.map(PointValue::AsDouble),
            ..Default::default()
        };
        let data = metric::Data::Gauge(Gauge { data_points: vec![point] });
        Metric { name: record.text.clone(), data: Some(data), ..Default::default() }
    });
    let scope_metrics = vec![ScopeMetrics { metrics: metrics.collect(), ..Default::default() }];
    let metrics = ResourceMetrics { resource: resource(records), scope_metrics, ..Default::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![metrics] }.encode_to_vec()
}

fn nanos(record: &Record) -> u64 {
    u64::try_from(record.time_nanos).unwrap_or_default()
}

fn resource(records: &[Record]) -> Option<Resource> {
    let first = records.first()?;
    let attributes = vec![key_value("service.name", &first.app), key_value("host.name", &first.host)];
    Some(Resource { attributes, ..Default::default() })
}

fn attributes(run: Run, record: &Record) -> Vec<KeyValue> {
    record.labels(run).iter().map(|(name, value)| key_value(name, value)).collect()
}

fn key_value(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(text(value)), ..Default::default() }
}

fn text(text: &str) -> AnyValue {
    AnyValue { value: Some(AnyValueKind::StringValue(text.to_owned())) }
}

fn rest(kind: Kind, run: Run, records: &[Record]) -> Vec<u8> {
    let records = records.iter().map(|record| {
        let time = chrono::DateTime::from_timestamp_nanos(record.time_nanos);
        let labels: Map<String, Json> =
            record.labels(run).into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        let text = match kind {
            Kind::Log => "message",
            Kind::Metric => "metric",
        };
        let mut event = json!({
            "timestamp": time.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true),
            "app": record.app,
            "host": record.host,
            text: record.text,
        });
        if let Some(event) = event.as_object_mut() {
            match kind {
                Kind::Log => event.extend(labels),
                Kind::Metric => {
                    event.insert("value".to_owned(), json!(record.value));
                    event.insert("labels".to_owned(), Json::Object(labels));
                }
            }
        }
        event
    });
    Json::Array(records.collect()).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::record::Identity;

    const RUN: Run = Run { number: 7, begin: 1_700_000_000_000_000_000 };

    #[test]
    fn a_request_carries_every_field_of_its_records() {
        let records: Vec<Record> = (0..3)
            .map(|sequence| RUN.record(Kind::Log, Identity { sender: 2, sequence }, sequence == 1))
            .collect();
        let body = Protocol::OtlpHttp.body(Kind::Log, RUN, &records);
        let decoded = ExportLogsServiceRequest::decode(body.as_slice()).unwrap();
        let logs = &decoded.resource_logs[0].scope_logs[0].log_records;
        assert_eq!(logs.len(), 3);
        assert_eq!(logs[1].time_unix_nano, 1_700_000_000_000_100_003);
        assert_eq!(logs[1].attributes.len(), 5);

        let json: Json = serde_json::from_slice(&Protocol::Rest.body(Kind::Log, RUN, &records)).unwrap();
        let second = &json[1];
        assert_eq!(second["timestamp"], "2023-11-14T22:13:20.000100003Z");
        assert_eq!(second["message"], records[1].text.as_str());
        assert_eq!(second["hash"], format!("{:016x}", records[1].fingerprint()));
        assert_eq!(second["poison"], "yes");
        assert_eq!(json[0]["poison"], Json::Null);
    }

    #[test]
    fn a_sample_keeps_its_value_and_series() {
        let records = [RUN.record(Kind::Metric, Identity { sender: 2, sequence: 5 }, false)];
        let json: Json = serde_json::from_slice(&Protocol::Rest.body(Kind::Metric, RUN, &records)).unwrap();
        assert_eq!(
            (json[0]["value"].as_f64(), json[0]["metric"].as_str()),
            (Some(5.5), Some("faults.series.1"))
        );
        let body = Protocol::OtlpGrpc.body(Kind::Metric, RUN, &records);
        let decoded = ExportMetricsServiceRequest::decode(body.as_slice()).unwrap();
        let metric = &decoded.resource_metrics[0].scope_metrics[0].metrics[0];
        assert_eq!(metric.name, "faults.series.1");
    }
}
