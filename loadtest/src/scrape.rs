//! What a gateway says of itself: its HTTP address in, readiness and metrics out. The one place that knows their names.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The metrics of one moment, by name and labels as they are written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scrape(HashMap<String, f64>);

impl Scrape {
    fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(samples.collect())
    }

    /// The samples of a metric, by their labels as they are written.
    fn of(&self, metric: &str) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().filter_map(move |(name, value)| {
            let labels = name.strip_prefix(metric)?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, *value))
        })
    }

    /// The sum over all labels of a metric; none when there is no such metric.
    fn sum(&self, metric: &str) -> Option<f64> {
        let mut values = self.of(metric).map(|(_, value)| value).peekable();
        values.peek()?;
        Some(values.sum())
    }

    /// Frames of the logs that are durable and not settled; none when it does not say.
    pub(crate) fn frames_waiting(&self) -> Option<f64> {
        self.sum("tidewell_log_frames_waiting")
    }

    /// Bytes that its settings allow to requests under way and to rows on their way; none when it does not say.
    pub(crate) fn memory_limit(&self) -> Option<f64> {
        Some(self.sum("tidewell_in_flight_limit_bytes")? + self.sum("tidewell_log_window_bytes")?)
    }

    /// Rows and frames of the log that have not been seen committed.
    pub(crate) fn undelivered(&self) -> Result<f64> {
        let rows =
            self.sum("tidewell_queue_rows").context("the gateway has no metric tidewell_queue_rows")?;
        Ok(rows + self.frames_waiting().unwrap_or_default())
    }

    /// What does not add up, when nothing is under way: by protocol, records that were read have a disposition; by protocol
    /// and table, rows that are accepted or restored are settled or in the log.
    pub(crate) fn imbalances(&self) -> Vec<String> {
        let records = self.differences(
            &[("tidewell_request_records_sum", 1.0), ("tidewell_records_total", -1.0)],
            |labels| (label(labels, "disposition") != "suppressed").then(|| (label(labels, "protocol"), "")),
        );
        let rows = self.differences(
            &[
                ("tidewell_rows_accepted_total", 1.0),
                ("tidewell_rows_restored_total", 1.0),
                ("tidewell_rows_settled_total", -1.0),
                ("tidewell_rows_in_log", -1.0),
            ],
            |labels| Some((label(labels, "protocol"), label(labels, "table"))),
        );
        let records = records.into_iter().map(|((protocol, _), sum)| {
            format!("{sum} records over {protocol} were read and have no disposition")
        });
        let rows = rows.into_iter().map(|((protocol, table), sum)| {
            format!("{sum} rows of {table} over {protocol} are accepted or restored and neither settled nor in the log")
        });
        records.chain(rows).collect()
    }

    /// The sums of these metrics with their signs, by the labels that `key` names, where they are not zero. Samples without
    /// a key do not count.
    fn differences<'s>(
        &'s self,
        metrics: &[(&str, f64)],
        key: impl Fn(&'s str) -> Option<(&'s str, &'s str)>,
    ) -> BTreeMap<(&'s str, &'s str), f64> {
        let mut sums: BTreeMap<(&str, &str), f64> = BTreeMap::new();
        for (metric, sign) in metrics {
            for (name, value) in &self.0 {
                let labels =
                    name.strip_prefix(metric).filter(|labels| labels.is_empty() || labels.starts_with('{'));
                if let Some(of) = labels.and_then(&key) {
                    *sums.entry(of).or_default() += sign * value;
                }
            }
        }
        sums.retain(|_, sum| *sum != 0.0);
        sums
    }

    /// Bytes of the log that were found damaged and put aside.
    pub(crate) fn quarantined(&self) -> f64 {
        self.sum("tidewell_log_quarantined_bytes").unwrap_or_default()
    }

    /// Records that are kept as dead letters.
    pub(crate) fn dead_letters(&self) -> f64 {
        self.sum("tidewell_dead_letters_total").unwrap_or_default()
    }
}

/// The value of a label; empty when there is none.
fn label<'l>(labels: &'l str, name: &str) -> &'l str {
    let value = labels.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split_once('"'));
    value.map_or("", |(value, _)| value)
}

/// What it says now.
pub(crate) async fn scrape(http: SocketAddr) -> Result<Scrape> {
    let (status, body) = call(http, "GET", "/metrics", "").await?;
    if status != StatusCode::OK {
        bail!("/metrics answers {status}");
    }
    Ok(Scrape::read(&body))
}

/// Whether anything answers there.
pub(crate) async fn answers(http: SocketAddr) -> bool {
    call(http, "GET", "/healthz", "").await.is_ok_and(|(status, _)| status == StatusCode::OK)
}

/// Whether it says that it takes writes.
pub(crate) async fn is_ready(http: SocketAddr) -> bool {
    call(http, "GET", "/readyz", "").await.is_ok_and(|(status, _)| status == StatusCode::OK)
}

/// One request with an empty or a JSON body.
pub(crate) async fn call(
    http: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> Result<(StatusCode, String)> {
    let exchange = async {
        let socket = TcpStream::connect(http).await.context("no connection to the gateway")?;
        let (mut sender, connection) = handshake(TokioIo::new(socket)).await?;
        // Ends with the sender; an error shows in the request that it broke.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, http.to_string())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))?;
        let response = sender.send_request(request).await.context("the gateway does not answer")?;
        let status = response.status();
        let body =
            response.into_body().collect().await.context("the gateway broke off its answer")?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::time::timeout(PATIENCE, exchange).await.context("the gateway takes too long to answer")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_no_other() {
        let scrape = Scrape::read(
            "# TYPE tidewell_queue_rows gauge\ntidewell_queue_rows{store=\"timescale\"} 3\n\
             tidewell_queue_rows{store=\"clickhouse\"} 4\ntidewell_queue_rows_other 9\ntidewell_ready 1\n# EOF\n",
        );
        assert_eq!(scrape.undelivered().unwrap(), 7.0);
        assert_eq!(scrape.sum("tidewell_ready"), Some(1.0));
        assert!(Scrape::read("").undelivered().is_err());
    }

    #[test]
    fn samples_of_one_name_are_added_and_of_no_other() {
        let text = "# HELP a what\n# TYPE a gauge\na{log=\"x\"} 3\na{log=\"y\"} 4.5\na_total 100\nab 7\n";
        let scrape = Scrape::read(text);
        assert_eq!(scrape.sum("a"), Some(7.5));
        assert_eq!(scrape.sum("ab"), Some(7.0));
        assert_eq!(scrape.sum("c"), None);
    }

    #[test]
    fn records_without_a_disposition_are_named_by_protocol() {
        let text = |stored: u32| {
            format!(
                "tidewell_request_records_sum{{protocol=\"rest\"}} 5.0\n\
                 tidewell_records_total{{protocol=\"rest\",disposition=\"stored\"}} {stored}\n\
                 tidewell_records_total{{protocol=\"rest\",disposition=\"dead_lettered\"}} 1\n\
                 tidewell_records_total{{protocol=\"rest\",disposition=\"suppressed\"}} 7\n"
            )
        };
        assert!(Scrape::read(&text(4)).imbalances().is_empty());
        assert_eq!(
            Scrape::read(&text(3)).imbalances(),
            ["1 records over rest were read and have no disposition"]
        );
    }

    #[test]
    fn rows_that_do_not_add_up_are_named_by_protocol_and_table() {
        let text = |stored: u32| {
            format!(
                "tidewell_rows_accepted_total{{protocol=\"rest\",table=\"logs_events\"}} 5\n\
                 tidewell_rows_restored_total{{protocol=\"rest\",table=\"logs_events\"}} 2\n\
                 tidewell_rows_settled_total{{protocol=\"rest\",table=\"logs_events\",disposition=\"stored\"}} {stored}\n\
                 tidewell_rows_settled_total{{protocol=\"rest\",table=\"logs_events\",disposition=\"suppressed\"}} 1\n\
                 tidewell_rows_in_log{{protocol=\"rest\",table=\"logs_events\"}} 3\n"
            )
        };
        assert!(Scrape::read(&text(3)).imbalances().is_empty());
        let wrong = Scrape::read(&text(2)).imbalances();
        assert!(
            matches!(wrong.as_slice(), [one] if one.starts_with("1 rows of logs_events over rest")),
            "{wrong:?}"
        );
    }
}
