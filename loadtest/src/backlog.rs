//! What a gateway has acknowledged and not yet delivered: its metrics in, the time until nothing is left out.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The gauge that counts what its logs hold and no store has, one sample per log.
const WAITING: &str = "tidewell_log_frames_waiting";
/// How often it is read.
const EVERY: Duration = Duration::from_millis(20);

/// Waits until the gateway has delivered all that it holds. An error when it has not within `patience`; false when it does
/// not say.
pub async fn drained(http: SocketAddr, patience: Duration) -> Result<bool> {
    let begin = Instant::now();
    loop {
        // A gateway that is gone or silent is found out by what it does not acknowledge.
        let Ok(exposition) = exposition(http).await else { return Ok(false) };
        match sum_of(&exposition, WAITING) {
            None => return Ok(false),
            Some(waiting) if waiting < 0.5 => return Ok(true),
            Some(waiting) if begin.elapsed() > patience => {
                bail!("{waiting} frames are not delivered after {patience:?}")
            }
            Some(_) => tokio::time::sleep(EVERY).await,
        }
    }
}

/// The sum of a metric's samples in the Prometheus text format; none when it has none.
pub(crate) fn sum_of(exposition: &str, name: &str) -> Option<f64> {
    let samples = exposition.lines().filter_map(|line| {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
        rest.rsplit(' ').next()?.parse::<f64>().ok()
    });
    samples.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

/// What the gateway says of itself at `/metrics`.
pub(crate) async fn exposition(http: SocketAddr) -> Result<String> {
    let socket =
        TcpStream::connect(http).await.with_context(|| format!("cannot connect to http://{http}"))?;
    let (mut sender, connection) = handshake(TokioIo::new(socket)).await?;
    // Ends with the sender; an error shows in the request that it broke.
    tokio::spawn(connection);
    let request = Request::get("/metrics").header("Host", http.to_string()).body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await.context("the gateway does not answer")?;
    let body = answer.into_body().collect().await.context("the gateway broke off its answer")?.to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}

#[cfg(test)]
mod tests {
    use super::sum_of;

    #[test]
    fn samples_of_one_name_are_added_and_of_no_other() {
        let text = "# HELP a what\n# TYPE a gauge\na{log=\"x\"} 3\na{log=\"y\"} 4.5\na_total 100\nab 7\n";
        assert_eq!(sum_of(text, "a"), Some(7.5));
        assert_eq!(sum_of(text, "ab"), Some(7.0));
        assert_eq!(sum_of(text, "c"), None);
    }
}
