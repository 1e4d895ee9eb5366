//! What decoding alone costs with the reference decoder: the bytes of OTLP requests in, CPU seconds out.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use rustix::time::{ClockId, clock_gettime};

use crate::workload::{Pool, Signal};

/// CPU seconds of one thread per million records, over at least `time` of it. Frees what it decodes, as a gateway does.
pub fn cpu_s_per_million(signal: Signal, pool: &Pool, time: Duration) -> Result<f64> {
    let (mut spent, mut requests) = (Duration::ZERO, 0_u64);
    while spent < time {
        let body = pool.request(requests, 1_700_000_000_000_000_000);
        let begin = cpu();
        decode(signal, body)?;
        spent += cpu() - begin;
        requests += 1;
    }
    let records = (requests * pool.records()) as f64;
    Ok(spent.as_secs_f64() / records * 1e6)
}

fn decode(signal: Signal, body: Bytes) -> Result<()> {
    match signal {
        Signal::Logs => drop(std::hint::black_box(ExportLogsServiceRequest::decode(body)?)),
        Signal::Metrics => drop(std::hint::black_box(ExportMetricsServiceRequest::decode(body)?)),
        Signal::Traces => drop(std::hint::black_box(ExportTraceServiceRequest::decode(body)?)),
    }
    Ok(())
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}
