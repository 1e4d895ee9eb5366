//! Counts logs in ClickHouse over its HTTP interface: a question in, what is there per request out.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Found, Question};
use crate::identity::{FIRST_SEQUENCE, GATHER};

/// Where ClickHouse is.
#[derive(Debug, Clone)]
pub struct ClickHouse {
    /// `http://HOST:PORT`.
    pub url: Uri,
    /// The database of the tables.
    pub database: String,
    /// The user.
    pub user: String,
    /// The password; empty for none.
    pub password: String,
}

impl ClickHouse {
    /// What the store holds of the run, ordered by nothing.
    pub(super) async fn found(&self, question: &Question) -> Result<Vec<Found>> {
        let answer = self.query(statement(&self.database, question)).await?;
        answer.lines().map(read).collect()
    }

    /// The answer to a statement.
    pub(crate) async fn query(&self, statement: String) -> Result<String> {
        let answer = self.send("/", Bytes::from(statement)).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// The answer to a body that is sent to this path and query.
    pub(crate) async fn send(&self, path: &str, body: Bytes) -> Result<Bytes> {
        let authority = self.url.authority().context("the address of ClickHouse has no host")?;
        let address = (authority.host(), authority.port_u16().unwrap_or(8123));
        let socket = TcpStream::connect(address).await;
        let socket = socket.with_context(|| format!("cannot connect to ClickHouse at {}", self.url))?;
        let (mut sender, connection) = handshake(TokioIo::new(socket)).await?;
        // Ends with the sender; an error shows in the request that it broke.
        tokio::spawn(connection);
        let request = Request::post(path)
            .header("Host", authority.as_str())
            .header("X-ClickHouse-User", &self.user)
            .header("X-ClickHouse-Key", &self.password)
            .body(Full::new(body))?;
        let response = sender.send_request(request).await.context("ClickHouse does not answer")?;
        let status = response.status();
        let body =
            response.into_body().collect().await.context("ClickHouse broke off its answer")?.to_bytes();
        if status != http::StatusCode::OK {
            bail!("ClickHouse refuses: {status}: {}", String::from_utf8_lossy(&body).trim());
        }
        Ok(body)
    }
}

/// Undoes [`crate::identity::scatter`] first: products of `UInt64` are modulo 2^64 in ClickHouse.
fn statement(database: &str, question: &Question) -> String {
    let run = question.run.hex();
    let records = question.records_per_request;
    let (from, until) = (question.from, question.until);
    format!(
        "SELECT toInt64(intDiv(place, {records})) AS request, count(), uniqExact(sequence), min(sequence),
                max(sequence), sum(place % {records})
         FROM (SELECT reinterpretAsUInt64(reverse(unhex(span_id))) * toUInt64({GATHER}) AS sequence,
                      sequence - {FIRST_SEQUENCE} AS place
               FROM `{database}`.logs_events
               WHERE startsWith(trace_id, '{run}')
                 AND timestamp BETWEEN toDateTime64({from}, 9, 'UTC') AND toDateTime64({until}, 9, 'UTC'))
         GROUP BY request FORMAT TabSeparated"
    )
}

fn read(line: &str) -> Result<Found> {
    let mut columns = line.split('\t');
    let mut next =
        || columns.next().with_context(|| format!("ClickHouse answered an unexpected row: {line}"));
    Ok(Found {
        request: next()?.parse()?,
        rows: next()?.parse()?,
        distinct: next()?.parse()?,
        min: next()?.parse()?,
        max: next()?.parse()?,
        // Of numbers that were never sent the sum may be negative; they are foreign either way.
        places: next()?.parse().unwrap_or_default(),
    })
}
