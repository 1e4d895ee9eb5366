//! Prometheus remote write: a `prometheus.WriteRequest` (1.0) or an `io.prometheus.write.v2.Request` (2.0) in, rows of
//! `metrics_events`, `metrics_histograms`, `metrics_exemplars` and `metrics_metadata` out.
//!
//! | message | 1.0 | 2.0 |
//! |---|---|---|
//! | request | 1 `timeseries`, 3 `metadata` | 4 `symbols`, 5 `timeseries` |
//! | `TimeSeries` | 1 `labels`, 2 `samples`, 3 `exemplars`, 4 `histograms` | 1 `labels_refs`, 2 `samples`, 3 `histograms`, 4 `exemplars`, 5 `metadata`, 6 `created_timestamp` (withdrawn before 2.0 was final) |
//! | `Sample` | 1 `value`, 2 `timestamp` | the same, and 3 `start_timestamp` |
//! | `Exemplar` | 1 `labels`, 2 `value`, 3 `timestamp` | 1 `labels_refs`, 2 `value`, 3 `timestamp` |
//! | metadata | 1 `type`, 2 `metric_family_name`, 4 `help`, 5 `unit` | 1 `type`, 3 `help_ref`, 4 `unit_ref` |
//!
//! Each sample, histogram, exemplar and, in 1.0, each metadata is a record of its own: one that is bad is refused alone,
//! and kept in a request of its own. What is wrong with a series' labels is wrong with each record of the series.
//!
//! | column | from |
//! |---|---|
//! | `metric` | the label `__name__` |
//! | `labels` | all other labels |
//! | `app`, `host` | the labels `job` and `instance`, which stay among the labels |
//! | `type`, `temporality`, `monotonic` | the metadata's type, as [`metadata`] says; NULL in 1.0, which sends them apart |
//! | `flags` | 1 (no recorded value) and no `value` for a stale marker, else NULL |
//!
//! Sources: Prometheus Remote-Write 1.0 and 2.0 specifications; field numbers from prometheus/prometheus, `prompb`.

mod dialect;
mod exemplars;
mod histogram;
mod histograms;
mod kept;
mod metadata;
mod samples;
mod series;

use self::dialect::Dialect;
use self::exemplars::Exemplars;
use self::histograms::Histograms;
use self::metadata::Metadata;
use self::samples::Samples;
use self::series::{Part, Series};
use super::outcome::Outcome;
use super::wire::{Field, Reader};
use super::{DecodeContext, DecodeError, Decoded, FieldError};
use crate::registry::builtin::METRICS_METADATA;

/// What a stale marker is: this NaN and no other (prometheus/prometheus, `model/value`).
const STALE_MARKER: u64 = 0x7ff0_0000_0000_0002;
/// The bit in `flags` that stands for a stale marker, as for OTLP's "no recorded value".
const NO_RECORDED_VALUE: i64 = 1;

/// Which message a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

impl Version {
    /// The name of the message.
    pub fn message(self) -> &'static str {
        match self {
            Self::V1 => "prometheus.WriteRequest",
            Self::V2 => "io.prometheus.write.v2.Request",
        }
    }

    /// The version whose message has this name.
    pub fn of_message(name: &str) -> Option<Self> {
        [Self::V1, Self::V2].into_iter().find(|version| version.message() == name)
    }

    /// The media type of a request that keeps a refused record.
    pub fn kept_content_type(self) -> &'static str {
        match self {
            Self::V1 => "application/x-protobuf; messageType=\"prometheus.WriteRequest\"",
            Self::V2 => "application/x-protobuf; messageType=\"io.prometheus.write.v2.Request\"",
        }
    }
}

/// How much of a request became rows, as the sender of a 2.0 request is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Samples.
    pub samples: usize,
    /// Native histograms.
    pub histograms: usize,
    /// Exemplars.
    pub exemplars: usize,
}

/// Decodes a request.
pub fn write_request(
    body: &[u8],
    version: Version,
    context: &DecodeContext<'_>,
) -> Result<(Decoded, Written), DecodeError> {
    Reader::new(body).check().map_err(|broken| malformed(&broken.into()))?;
    check_version(body, version)?;
    let dialect = Dialect::read(version, body).map_err(|error| malformed(&error))?;
    let mut decoder = Decoder {
        dialect: &dialect,
        samples: Samples::new(context)?,
        histograms: Histograms::new(context)?,
        exemplars: Exemplars::new(context)?,
        metadata: Metadata::new(context)?,
        outcome: Outcome::new(context),
        written: Written::default(),
    };
    let mut reader = Reader::new(body);
    while let Ok(Some(field)) = reader.field() {
        match (version, field.number) {
            (Version::V1, 1) | (Version::V2, 5) => decoder.series(&field)?,
            (Version::V1, 3) => decoder.family(&field)?,
            _ => {}
        }
    }
    decoder.finish()
}

/// What a request that can be read holds.
pub fn held(body: &[u8], version: Version) -> Written {
    let series = if version == Version::V1 { 1 } else { 5 };
    let mut held = Written::default();
    let mut reader = Reader::new(body);
    while let Ok(Some(field)) = reader.field() {
        let Ok(message) = field.bytes("") else { continue };
        if field.number != series {
            continue;
        }
        let mut parts = Reader::new(message);
        while let Ok(Some(field)) = parts.field() {
            if let Some(part) = Part::of(version, field.number) {
                *held.of(part) += 1;
            }
        }
    }
    held
}

impl Written {
    fn of(&mut self, part: Part) -> &mut usize {
        match part {
            Part::Sample => &mut self.samples,
            Part::Histogram => &mut self.histograms,
            Part::Exemplar => &mut self.exemplars,
        }
    }
}

/// The other version's message reads as an empty one, and what it holds would be lost in silence.
fn check_version(body: &[u8], version: Version) -> Result<(), DecodeError> {
    let (own, others) = match version {
        Version::V1 => ([1, 3], [4, 5]),
        Version::V2 => ([4, 5], [1, 3]),
    };
    let mut reader = Reader::new(body);
    let mut has_others = false;
    while let Ok(Some(field)) = reader.field() {
        if own.contains(&field.number) {
            return Ok(());
        }
        has_others |= others.contains(&field.number);
    }
    if has_others {
        return Err(DecodeError::Malformed(format!(
            "the request is not a {}: name its message in the content-type (application/x-protobuf;proto=..)",
            version.message()
        )));
    }
    Ok(())
}

fn malformed(error: &FieldError) -> DecodeError {
    let separator = if error.field.is_empty() { "" } else { " " };
    DecodeError::Malformed(format!("the request {}{separator}{}", error.field, error.reason))
}

struct Decoder<'a, 'c> {
    dialect: &'a Dialect<'a>,
    samples: Samples,
    histograms: Histograms,
    exemplars: Exemplars,
    metadata: Metadata<'a>,
    outcome: Outcome<'c>,
    written: Written,
}

impl<'a> Decoder<'a, '_> {
    fn series(&mut self, field: &Field<'a>) -> Result<(), DecodeError> {
        let message = match field.bytes("timeseries").and_then(|message| {
            Reader::new(message).check()?;
            Ok(message)
        }) {
            Ok(message) => message,
            Err(error) => {
                let kept = field.bytes("").map(|message| kept::whole(self.dialect.version(), message));
                return self.refuse(Part::Sample, error, kept.unwrap_or_default());
            }
        };
        let series = Series::read(message, self.dialect);
        if let Ok(series) = &series {
            self.metadata.note(series.name(), series.metadata);
        }
        let mut reader = Reader::new(message);
        while let Ok(Some(field)) = reader.field() {
            let Some(part) = Part::of(self.dialect.version(), field.number) else { continue };
            let written = match &series {
                Ok(series) => self.write(part, series, &field),
                Err(error) => Err(error.clone()),
            };
            match written {
                Ok(()) => {
                    self.outcome.accept()?;
                    *self.written.of(part) += 1;
                }
                Err(error) => {
                    let kept = match &series {
                        Ok(series) => kept::record(series, part, &field, self.dialect),
                        Err(_) => kept::whole(self.dialect.version(), message),
                    };
                    self.refuse(part, error, kept)?;
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, part: Part, series: &Series<'a>, field: &Field<'a>) -> Result<(), FieldError> {
        let written = match part {
            Part::Sample => self.samples.write(series, field),
            Part::Histogram => self.histograms.write(series, field),
            Part::Exemplar => self.exemplars.write(series, field, self.dialect),
        };
        written.map_err(in_senders_words)
    }

    fn refuse(&mut self, part: Part, error: FieldError, kept: Vec<u8>) -> Result<(), DecodeError> {
        self.outcome.refuse(part.table(), error, kept, self.dialect.version().kept_content_type())
    }

    /// One metadata of a 1.0 request.
    fn family(&mut self, field: &Field<'a>) -> Result<(), DecodeError> {
        let read = field.bytes("metadata").and_then(metadata::read_family).and_then(|(name, known)| {
            self.metadata.check(name, known)?;
            Ok((name, known))
        });
        match read {
            Ok((name, known)) => {
                self.metadata.note_family(name, known);
                self.outcome.accept()
            }
            Err(error) => {
                let kept = field.bytes("").map(kept::family).unwrap_or_default();
                self.outcome.refuse(METRICS_METADATA, error, kept, Version::V1.kept_content_type())
            }
        }
    }

    fn finish(mut self) -> Result<(Decoded, Written), DecodeError> {
        let metadata = self.metadata.finish(&mut self.outcome.decoded.warnings);
        let tables = [self.samples.table, self.histograms.table, self.exemplars.table, metadata];
        Ok((self.outcome.finish(tables)?, self.written))
    }
}

/// The sender's words for columns with names of their own.
fn in_senders_words(error: FieldError) -> FieldError {
    const WORDS: [(&str, &str); 8] = [
        ("time", "timestamp"),
        ("start_time", "start_timestamp"),
        ("metric", "__name__"),
        ("app", "job"),
        ("host", "instance"),
        ("scale", "schema"),
        ("filtered_labels", "exemplar.labels"),
        ("bounds", "custom_values"),
    ];
    match WORDS.iter().find(|(column, _)| *column == error.field) {
        Some((_, word)) => FieldError { field: (*word).to_owned(), ..error },
        None => error,
    }
}

/// Milliseconds as nanoseconds.
fn nanos(field: &str, milliseconds: i64) -> Result<i64, FieldError> {
    milliseconds.checked_mul(1_000_000).ok_or_else(|| {
        FieldError::new(field, format!("{milliseconds} ms is beyond what the stores can hold"))
    })
}

/// The index of a column that the decoder needs.
fn column(table: &super::TableBuilder, name: &str) -> Result<usize, DecodeError> {
    table.column(name).ok_or_else(|| {
        DecodeError::Internal(format!("table {} has no column {name:?}", table.table().name()))
    })
}

#[cfg(test)]
mod tests;
