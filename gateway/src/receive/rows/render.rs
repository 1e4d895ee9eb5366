//! The rows of a query as the body of an answer: batches in, pieces of text or Arrow out, as they are taken.

use std::sync::Arc;

use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use axum::body::Body;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};

use super::{csv, json};
use crate::registry::TableDef;
use crate::rejection::Rejection;
use crate::store::read::RowStream;

/// Rows of one piece of text.
const PIECE_ROWS: usize = 512;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One object with all rows.
    Json,
    /// One object a row and line.
    Ndjson,
    /// RFC 4180.
    Csv,
    /// An IPC stream.
    Arrow,
}

impl Format {
    const ALL: [Self; 4] = [Self::Json, Self::Ndjson, Self::Csv, Self::Arrow];

    fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
        }
    }

    /// The media type of the answer.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// The format that the parameter names.
    pub(super) fn named(name: &str) -> Result<Self, Rejection> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| {
            Rejection::Malformed(format!("format={name:?} is unknown: json, ndjson, csv and arrow are known"))
        })
    }

    /// The first format that `Accept` names; JSON where it names none.
    pub(super) fn accepted(accept: &str) -> Self {
        let named = |range: &str| {
            let media = range.split(';').next().unwrap_or_default().trim();
            Some(match media {
                "application/json" => Self::Json,
                "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Self::Ndjson,
                "text/csv" => Self::Csv,
                "application/vnd.apache.arrow.stream" => Self::Arrow,
                _ => return None,
            })
        };
        accept.split(',').find_map(named).unwrap_or(Self::Json)
    }
}

/// Writes what comes before, between and after the rows.
enum Renderer {
    Json { before: String, rows: usize },
    Ndjson,
    Csv,
    Arrow(Box<StreamWriter<Vec<u8>>>),
}

/// The body of an answer. Warnings are part of JSON alone; other formats have them in a header.
pub(super) fn body(
    format: Format,
    table: Arc<TableDef>,
    rows: RowStream,
    warnings: &[String],
) -> Result<Body, Rejection> {
    let renderer = Renderer::new(format, &table, warnings).map_err(|error| internal(&error))?;
    let state = State { renderer, table, rows, batch: None, at: 0, phase: Phase::Begin };
    let pieces = stream::try_unfold(state, |mut state| async move {
        match state.next().await {
            Ok(piece) => Ok(piece.map(|piece| (Bytes::from(piece), state))),
            Err(error) => {
                tracing::warn!(table = %state.table.name(), %error, "an answer broke off");
                Err(error)
            }
        }
    });
    Ok(Body::from_stream(pieces.boxed()))
}

fn internal(error: &ArrowError) -> Rejection {
    Rejection::Internal(format!("rows cannot be written: {error}"))
}

#[derive(PartialEq, Eq)]
enum Phase {
    Begin,
    Rows,
    Ended,
}

struct State {
    renderer: Renderer,
    table: Arc<TableDef>,
    rows: RowStream,
    batch: Option<RecordBatch>,
    at: usize,
    phase: Phase,
}

impl State {
    /// The next piece; none at the end. After an error the body breaks off, so that nobody takes it for the whole.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, std::io::Error> {
        match self.phase {
            Phase::Begin => {
                self.phase = Phase::Rows;
                Ok(Some(self.renderer.begin(&self.table)))
            }
            Phase::Ended => Ok(None),
            Phase::Rows => {
                while self.batch.as_ref().is_none_or(|batch| self.at >= batch.num_rows()) {
                    match self.rows.next().await {
                        Some(batch) => {
                            self.batch = Some(batch.map_err(std::io::Error::other)?);
                            self.at = 0;
                        }
                        None => {
                            self.phase = Phase::Ended;
                            return self.renderer.end().map(Some).map_err(std::io::Error::other);
                        }
                    }
                }
                let Some(batch) = &self.batch else { return Ok(None) };
                let count = PIECE_ROWS.min(batch.num_rows() - self.at);
                let piece = batch.slice(self.at, count);
                self.at += count;
                self.renderer.rows(&self.table, &piece).map(Some).map_err(std::io::Error::other)
            }
        }
    }
}

impl Renderer {
    fn new(format: Format, table: &TableDef, warnings: &[String]) -> Result<Self, ArrowError> {
        Ok(match format {
            Format::Json => {
                let warnings = serde_json::Value::from(warnings);
                let before = format!("{{\"table\":\"{}\",\"warnings\":{warnings},\"rows\":[", table.name());
                Self::Json { before, rows: 0 }
            }
            Format::Ndjson => Self::Ndjson,
            Format::Csv => Self::Csv,
            Format::Arrow => Self::Arrow(Box::new(StreamWriter::try_new(Vec::new(), table.arrow())?)),
        })
    }

    fn begin(&mut self, table: &TableDef) -> Vec<u8> {
        match self {
            Self::Json { before, .. } => std::mem::take(before).into_bytes(),
            Self::Ndjson => Vec::new(),
            Self::Csv => {
                let mut names = String::new();
                csv::write_names(&mut names, table);
                names.into_bytes()
            }
            Self::Arrow(writer) => std::mem::take(writer.get_mut()),
        }
    }

    fn rows(&mut self, table: &TableDef, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let mut out = String::new();
        match self {
            Self::Json { rows, .. } => {
                for row in 0..batch.num_rows() {
                    out.push_str(if *rows > 0 { ",\n" } else { "\n" });
                    json::write_row(&mut out, table, batch, row);
                    *rows += 1;
                }
            }
            Self::Ndjson => {
                for row in 0..batch.num_rows() {
                    json::write_row(&mut out, table, batch, row);
                    out.push('\n');
                }
            }
            Self::Csv => (0..batch.num_rows()).for_each(|row| csv::write_row(&mut out, table, batch, row)),
            Self::Arrow(writer) => {
                writer.write(batch)?;
                return Ok(std::mem::take(writer.get_mut()));
            }
        }
        Ok(out.into_bytes())
    }

    fn end(&mut self) -> Result<Vec<u8>, ArrowError> {
        Ok(match self {
            Self::Json { rows, .. } => format!("\n],\"count\":{rows}}}\n").into_bytes(),
            Self::Ndjson | Self::Csv => Vec::new(),
            Self::Arrow(writer) => {
                writer.finish()?;
                std::mem::take(writer.get_mut())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_format_that_is_known_is_taken() {
        for (accept, format) in [
            ("", Format::Json),
            ("*/*", Format::Json),
            ("text/html, text/csv;q=0.9", Format::Csv),
            ("application/x-ndjson", Format::Ndjson),
            ("application/vnd.apache.arrow.stream, application/json", Format::Arrow),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept}");
        }
        assert_eq!(Format::named("csv").unwrap(), Format::Csv);
        assert!(Format::named("xml").unwrap_err().to_string().contains("ndjson"));
    }
}
