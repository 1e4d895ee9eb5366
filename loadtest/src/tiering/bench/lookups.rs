//! How long it takes to find a trace.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::figures::Times;
use super::stage::Stage;

/// Traces that are looked up in each tier.
const TRACES: usize = 20;
/// Spans of a trace, and its log records.
const SPANS: usize = 8;

/// Ids of traces by where their spans will be.
pub(super) struct Traces {
    pub(super) hot: Vec<String>,
    pub(super) cold: Vec<String>,
}

impl Traces {
    /// Chooses some of the days that are to move and some of those that are not.
    pub(super) async fn choose(stage: &Stage) -> Result<Self> {
        let days = stage.days();
        let (cold, hot) = days.split_at(days.len() * 3 / 4);
        Ok(Self { hot: ids(stage, hot).await?, cold: ids(stage, cold).await? })
    }
}

async fn ids(stage: &Stage, days: &[i64]) -> Result<Vec<String>> {
    let client = stage.scene.postgres().await?;
    let mut ids = Vec::new();
    for at in 0..TRACES {
        // At different times of different days.
        let time = days[at % days.len()] + 3_600 * i64::try_from(at).unwrap_or_default() + 137;
        let statement = format!(
            "SELECT trace_id FROM traces_spans WHERE time >= to_timestamp({time}) ORDER BY time LIMIT 1"
        );
        ids.push(client.query_one(&statement, &[]).await?.get(0));
    }
    Ok(ids)
}

/// Each of these traces over HTTP, the first answer included.
pub(super) async fn traces(stage: &Stage, ids: &[String]) -> Result<Times> {
    let address = stage.gateway.setup.address.http;
    let mut millis = Vec::new();
    for id in ids {
        let begun = Instant::now();
        let socket = TcpStream::connect(address).await.context("the gateway does not answer")?;
        let (mut sender, connection) = handshake(TokioIo::new(socket)).await?;
        tokio::spawn(connection);
        let request = Request::get(format!("/traces/{id}")).header("Host", address.to_string());
        let answer = sender.send_request(request.body(Full::new(Bytes::new()))?).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        millis.push(begun.elapsed().as_secs_f64() * 1_000.0);
        let trace: serde_json::Value =
            serde_json::from_slice(&body).with_context(|| format!("{status} for trace {id}"))?;
        for part in ["spans", "logs"] {
            let found = trace[part].as_array().map_or(0, Vec::len);
            if found != SPANS {
                bail!("{status}: {found} {part} of trace {id} instead of {SPANS}");
            }
        }
    }
    Ok(Times::of(millis))
}

/// Each of these traces with its log records, in SQL.
pub(super) async fn with_logs(stage: &Stage, ids: &[String]) -> Result<Times> {
    let mut millis = Vec::new();
    for id in ids {
        let sql = format!(
            "SELECT * FROM tidewell.trace_with_logs(trace_id = '{id}') ORDER BY time FORMAT JSONEachRow"
        );
        let begun = Instant::now();
        let answer = stage.scene.clickhouse.query(sql).await?;
        millis.push(begun.elapsed().as_secs_f64() * 1_000.0);
        let found = answer.lines().count();
        if found != 2 * SPANS {
            bail!("{found} spans and log records of trace {id} instead of {}", 2 * SPANS);
        }
    }
    Ok(Times::of(millis))
}
