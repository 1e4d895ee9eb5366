//! What is sent and how: a protocol and a signal in, a pool of request templates and their endpoint out.

use std::fmt;

use anyhow::{Result, bail};
use bytes::Bytes;
use clap::ValueEnum;
use serde::Serialize;

use crate::encode::rest::Layout;
use crate::encode::{flight, otlp, otlp_json, own, rest};
use crate::identity::RunId;
use crate::telemetry::{Generator, Shape};
use crate::template::Template;

/// How records are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP, protobuf.
    OtlpHttpProtobuf,
    /// OTLP over HTTP, JSON.
    OtlpHttpJson,
    /// REST, one JSON object a line.
    RestNdjson,
    /// REST, one JSON array.
    RestArray,
    /// The gateway's own `tidewell.v1.Ingest/Write`.
    Grpc,
    /// Arrow Flight `DoPut`.
    Flight,
}

/// What kind of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// Logs, which end in ClickHouse.
    Logs,
    /// Metrics, which end in TimescaleDB.
    Metrics,
    /// Spans, which end in TimescaleDB.
    Traces,
}

/// A kind of records over a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Workload {
    /// What is sent.
    pub signal: Signal,
    /// How.
    pub protocol: Protocol,
}

/// Where and in which framing requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST` of a body.
    Http {
        /// The path.
        path: &'static str,
        /// The body's content type.
        content_type: &'static str,
    },
    /// A unary gRPC call.
    Unary {
        /// `/package.Service/Method`.
        path: &'static str,
    },
    /// Arrow Flight `DoPut`, one stream a connection.
    DoPut {
        /// The encoded first message: descriptor and schema.
        opening: Bytes,
    },
}

/// Distinct request bodies of one workload, to be sent in turn.
#[derive(Debug)]
pub struct Pool {
    run: RunId,
    templates: Vec<Template>,
    endpoint: Endpoint,
    records: u64,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "otlp-grpc",
            Self::OtlpHttpProtobuf => "otlp-http-protobuf",
            Self::OtlpHttpJson => "otlp-http-json",
            Self::RestNdjson => "rest-ndjson",
            Self::RestArray => "rest-array",
            Self::Grpc => "grpc",
            Self::Flight => "flight",
        }
    }
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Metrics => "metrics",
            Self::Traces => "traces",
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} {}", self.signal.name(), self.protocol.name()))
    }
}

impl Endpoint {
    /// The endpoint of a workload; that of Flight is known once its schema is.
    fn of(workload: Workload) -> Self {
        use Protocol::{Flight, Grpc, OtlpGrpc, OtlpHttpJson, OtlpHttpProtobuf, RestArray, RestNdjson};
        use Signal::{Logs, Metrics, Traces};
        let Workload { signal, protocol } = workload;
        let http = |content_type| {
            let path = match (protocol, signal) {
                (RestNdjson | RestArray, Logs) => "/write/logs",
                (RestNdjson | RestArray, Metrics) => "/write/metrics",
                (RestNdjson | RestArray, Traces) => "/write/traces",
                (_, Logs) => "/v1/logs",
                (_, Metrics) => "/v1/metrics",
                (_, Traces) => "/v1/traces",
            };
            Self::Http { path, content_type }
        };
        match protocol {
            OtlpHttpProtobuf => http("application/x-protobuf"),
            OtlpHttpJson | RestArray => http("application/json"),
            RestNdjson => http("application/x-ndjson"),
            OtlpGrpc => Self::Unary {
                path: match signal {
                    Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
                    Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
                    Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                },
            },
            Grpc => Self::Unary { path: "/tidewell.v1.Ingest/Write" },
            Flight => Self::DoPut { opening: Bytes::new() },
        }
    }
}

impl Pool {
    /// Generates and encodes this many distinct requests of `records` records each.
    pub fn new(
        workload: Workload,
        shape: &Shape,
        run: RunId,
        requests: usize,
        records: usize,
    ) -> Result<Self> {
        if requests == 0 || records == 0 {
            bail!("a pool needs at least one request of at least one record");
        }
        let mut generator = Generator::new(shape.clone());
        let mut endpoint = Endpoint::of(workload);
        let mut templates = Vec::with_capacity(requests);
        for _ in 0..requests {
            templates.push(encode(workload, &mut generator, run, records, &mut endpoint)?);
        }
        Ok(Self { run, templates, endpoint, records: records as u64 })
    }

    /// Records of each request.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Where requests go.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Mean bytes of a record as it is sent.
    pub fn bytes_per_record(&self) -> f64 {
        let bytes: usize = self.templates.iter().map(Template::len).sum();
        bytes as f64 / (self.templates.len() as u64 * self.records) as f64
    }

    /// The request with this number of the run, its records beginning at this time.
    pub fn request(&self, number: u64, now_nanos: u64) -> Bytes {
        let at = usize::try_from(number).unwrap_or_default() % self.templates.len();
        self.templates[at].stamp(self.run, number, now_nanos)
    }
}

fn encode(
    workload: Workload,
    generator: &mut Generator,
    run: RunId,
    records: usize,
    endpoint: &mut Endpoint,
) -> Result<Template> {
    use Protocol::{Flight, Grpc, OtlpGrpc, OtlpHttpJson, OtlpHttpProtobuf, RestArray, RestNdjson};
    let layout = if workload.protocol == RestArray { Layout::Array } else { Layout::Ndjson };
    match (workload.signal, workload.protocol) {
        (Signal::Logs, OtlpGrpc | OtlpHttpProtobuf) => otlp::logs(&generator.logs(records)),
        (Signal::Logs, OtlpHttpJson) => otlp_json::logs(&generator.logs(records)),
        (Signal::Logs, RestNdjson | RestArray) => rest::logs(&generator.logs(records), layout),
        (Signal::Logs, Grpc) => own::logs(&generator.logs(records)),
        (Signal::Logs, Flight) => {
            let (opening, template) = flight::logs(&generator.logs(records), "logs_events")?;
            *endpoint = Endpoint::DoPut { opening };
            Ok(template)
        }
        (Signal::Metrics, OtlpGrpc | OtlpHttpProtobuf) => otlp::metrics(&generator.samples(records), run),
        (Signal::Metrics, OtlpHttpJson) => otlp_json::metrics(&generator.samples(records), run),
        (Signal::Metrics, RestNdjson | RestArray) => rest::metrics(&generator.samples(records), run, layout),
        (Signal::Metrics, Grpc) => own::metrics(&generator.samples(records), run),
        (Signal::Traces, OtlpGrpc | OtlpHttpProtobuf) => otlp::traces(&generator.spans(records)),
        (Signal::Traces, OtlpHttpJson) => otlp_json::traces(&generator.spans(records)),
        (Signal::Traces, RestNdjson | RestArray) => rest::traces(&generator.spans(records), layout),
        (Signal::Traces, Grpc) => own::traces(&generator.spans(records)),
        (Signal::Metrics | Signal::Traces, Flight) => {
            bail!("{workload} is not there yet: Arrow Flight is generated for logs only")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_a_pool_differ_in_content_and_in_ids() {
        let workload = Workload { signal: Signal::Logs, protocol: Protocol::RestNdjson };
        let pool = Pool::new(workload, &Shape::default(), RunId::new(1), 3, 10).unwrap();
        let (one, two, again) = (pool.request(0, 1), pool.request(1, 1), pool.request(3, 1));
        assert_ne!(one, two);
        assert_ne!(one, again);
        assert_eq!(one.len(), again.len());
        assert_eq!(one, pool.request(0, 1));
    }

    #[test]
    fn a_log_has_about_230_bytes_as_otlp() {
        let workload = Workload { signal: Signal::Logs, protocol: Protocol::OtlpGrpc };
        let pool = Pool::new(workload, &Shape::default(), RunId::new(1), 4, 1_000).unwrap();
        let bytes = pool.bytes_per_record();
        assert!((215.0..245.0).contains(&bytes), "{bytes} bytes");
    }

    #[test]
    fn an_impossible_workload_is_an_error() {
        let workload = Workload { signal: Signal::Metrics, protocol: Protocol::Flight };
        let error = Pool::new(workload, &Shape::default(), RunId::new(1), 1, 1).unwrap_err();
        assert!(error.to_string().contains("for logs only"), "{error}");
    }
}
