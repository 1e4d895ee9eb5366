//! Batches into templates, one module per format.
//!
//! Each encoder writes a [`Field`]'s marker where a request gets a value of its own; the functions here say which
//! records have which fields, in the order in which all encoders write them: that of the batch.

pub mod flight;
pub mod otlp;
pub mod otlp_json;
pub mod own;
pub mod rest;

use crate::telemetry::{Batch, Sample, SampleKind, Span};
use crate::template::Field;

/// The OTLP scope of everything that is generated.
const SCOPE: (&str, &str) = ("tidewell-loadtest", env!("CARGO_PKG_VERSION"));

/// A field that every record has.
fn every<T>(field: Field, batch: &Batch<T>) -> (Field, Vec<usize>) {
    (field, (0..batch.records().count()).collect())
}

/// A field of the spans that have a parent.
fn children(field: Field, batch: &Batch<Span>) -> (Field, Vec<usize>) {
    (field, positions(batch, |span| !span.root))
}

/// A field of the samples of this kind.
fn of_kind(field: Field, batch: &Batch<Sample>, kind: SampleKind) -> (Field, Vec<usize>) {
    (field, positions(batch, |sample| sample.kind == kind))
}

fn positions<T>(batch: &Batch<T>, which: impl Fn(&T) -> bool) -> Vec<usize> {
    let records = batch.records().enumerate();
    records.filter(|(_, (_, record))| which(record)).map(|(position, _)| position).collect()
}

#[cfg(test)]
mod tests;
