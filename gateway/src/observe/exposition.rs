//! The text of `/metrics`: a registry in, OpenMetrics or the older Prometheus format out, as the `Accept` header asks.

use std::fmt;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;

/// A format of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus 0.0.4, which every scraper reads.
    Prometheus,
}

impl Format {
    /// The format that an `Accept` header asks for: OpenMetrics if it is named at all, as Prometheus does by default.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The value of the `Content-Type` header.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The metrics of these registries, one after the other.
pub fn text(registries: &[&Registry], format: Format) -> Result<String, fmt::Error> {
    let mut text = String::new();
    for registry in registries {
        encode_registry(&mut text, registry)?;
    }
    match format {
        Format::OpenMetrics => {
            encode_eof(&mut text)?;
            Ok(text)
        }
        Format::Prometheus => Ok(prometheus(&text)),
    }
}

/// OpenMetrics as Prometheus 0.0.4. The samples are the same; the older format names a counter with its `_total` in
/// `HELP` and `TYPE`, and knows neither `info` nor `UNIT`.
fn prometheus(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len() + 1024);
    // HELP comes before the TYPE that decides on its name.
    let mut help: Option<(&str, &str)> = None;
    for line in openmetrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), said) => help = Some((name, said.unwrap_or_default())),
            (Some("#"), Some("UNIT"), ..) => {}
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    other => ("", other),
                };
                if let Some((_, said)) = help.take().filter(|(of, _)| *of == name) {
                    text += &format!("# HELP {name}{suffix} {said}\n");
                }
                text += &format!("# TYPE {name}{suffix} {kind}\n");
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::histogram::Histogram;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::Unit;

    use super::*;

    fn registry() -> Registry {
        let mut registry = Registry::with_prefix("tidewell");
        registry.register("requests", "Requests answered", Counter::<u64>::default());
        registry.register("queue_rows", "Rows that wait", Gauge::<i64>::default());
        registry.register_with_unit("wait", "How long", Unit::Seconds, Histogram::new([0.5]));
        registry.register("build", "The version", Info::new([("version", "1")]));
        registry
    }

    #[test]
    fn both_formats_carry_the_same_samples() {
        let open = text(&[&registry()], Format::OpenMetrics).unwrap();
        let old = text(&[&registry()], Format::Prometheus).unwrap();
        let samples = |text: &str| -> Vec<String> {
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
        };
        assert_eq!(samples(&open), samples(&old));
        assert!(open.ends_with("# EOF\n"));
        insta::assert_snapshot!(old);
    }

    #[test]
    fn the_accept_header_decides() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                            text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert_eq!(Format::accepted(prometheus_3), Format::OpenMetrics);
        assert_eq!(Format::accepted("text/plain"), Format::Prometheus);
        assert_eq!(Format::accepted("*/*"), Format::Prometheus);
        assert_eq!(Format::accepted(""), Format::Prometheus);
    }
}
