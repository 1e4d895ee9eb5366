//! `Exemplar`s in, rows of `metrics_exemplars` out.
//!
//! An exemplar belongs to its point: one that cannot be stored refuses the point, so that a point is stored whole or
//! kept whole as a dead letter. An exemplar without a time has its point's.

use super::{Head, in_senders_words};
use crate::decode::any_value::{Values, within};
use crate::decode::otlp::ids::{self, SPAN_ID, TRACE_ID};
use crate::decode::otlp::origin::{self, Origin};
use crate::decode::wire::Reader;
use crate::decode::{DecodeContext, DecodeError, FieldError, TableBuilder};
use crate::registry::builtin::METRICS_EXEMPLARS;

/// The builder of `metrics_exemplars`.
#[derive(Debug)]
pub(super) struct Exemplars {
    pub(super) table: TableBuilder,
    columns: Columns,
    most: usize,
}

#[derive(Debug)]
struct Columns {
    time: usize,
    metric: usize,
    app: usize,
    host: usize,
    labels: usize,
    point_time: usize,
    value: usize,
    value_int: usize,
    trace_id: usize,
    span_id: usize,
    filtered_labels: usize,
}

/// What the exemplars of a point need to know of it.
#[derive(Debug)]
pub(super) struct Point<'p> {
    pub(super) bytes: &'p [u8],
    pub(super) time: i64,
    /// The number of the field that holds the point's attributes.
    pub(super) attributes: u32,
    /// The number of the field that holds its exemplars; none when there are none.
    pub(super) exemplars: Option<u32>,
}

impl Exemplars {
    pub(super) fn new(context: &DecodeContext<'_>) -> Result<Self, DecodeError> {
        let table = context.builder(METRICS_EXEMPLARS)?;
        let column = |name| origin::column(&table, name);
        let columns = Columns {
            time: column("time")?,
            metric: column("metric")?,
            app: column("app")?,
            host: column("host")?,
            labels: column("labels")?,
            point_time: column("point_time")?,
            value: column("value")?,
            value_int: column("value_int")?,
            trace_id: column("trace_id")?,
            span_id: column("span_id")?,
            filtered_labels: column("filtered_labels")?,
        };
        Ok(Self { table, columns, most: context.limits.records })
    }

    /// Adds a row for each exemplar of `point`. After an error some rows may be left to the caller to take back.
    pub(super) fn write(
        &mut self,
        head: &Head<'_>,
        origin: Origin<'_>,
        point: &Point<'_>,
        values: &mut Values,
    ) -> Result<(), FieldError> {
        let Some(exemplars) = point.exemplars else { return Ok(()) };
        let mut reader = Reader::new(point.bytes);
        while let Some(field) = reader.field()? {
            if field.number != exemplars {
                continue;
            }
            if self.table.rows() == self.most {
                let reason =
                    format!("the request has more than {} exemplars: send smaller requests", self.most);
                return Err(FieldError::new("exemplars", reason));
            }
            self.write_one(head, origin, point, field.bytes("exemplars")?, values)
                .map_err(|error| within("exemplars", error))?;
        }
        Ok(())
    }

    fn write_one(
        &mut self,
        head: &Head<'_>,
        origin: Origin<'_>,
        point: &Point<'_>,
        exemplar: &[u8],
        values: &mut Values,
    ) -> Result<(), FieldError> {
        let (row, columns) = (&mut self.table, &self.columns);
        let mut time = 0;
        let mut value = None;
        let (mut trace_id, mut span_id) = (&[][..], &[][..]);
        let mut reader = Reader::new(exemplar);
        while let Some(field) = reader.field()? {
            match field.number {
                2 => time = field.fixed64("time_unix_nano")?,
                3 => value = Some((field.double("as_double")?, None)),
                4 => span_id = field.bytes("span_id")?,
                5 => trace_id = field.bytes("trace_id")?,
                6 => {
                    let exact = field.fixed64("as_int")?.cast_signed();
                    value = Some((exact as f64, Some(exact)));
                }
                7 => {
                    let pair = field.bytes("filtered_attributes")?;
                    if let Some(labels) = row.attributes(columns.filtered_labels) {
                        values.push_attribute(labels, "filtered_attributes", pair)?;
                    }
                }
                _ => {}
            }
        }
        if let Some(labels) = row.attributes(columns.labels) {
            values.push_attributes(labels, "attributes", point.bytes, point.attributes)?;
        }
        let trace_id = ids::optional("trace_id", trace_id, TRACE_ID)?;
        let span_id = ids::optional("span_id", span_id, SPAN_ID)?;
        let time = if time == 0 { point.time } else { ids::signed("time_unix_nano", time)? };
        let mut write = || {
            row.set_time(columns.time, time)?;
            row.set_text(columns.metric, head.name)?;
            row.set_text(columns.app, origin.app())?;
            row.set_text(columns.host, origin.host())?;
            row.set_time(columns.point_time, point.time)?;
            if let Some((value, exact)) = value {
                row.set_double(columns.value, value)?;
                if let Some(exact) = exact {
                    row.set_int(columns.value_int, exact)?;
                }
            }
            for (column, id) in [(columns.trace_id, trace_id), (columns.span_id, span_id)] {
                if !id.is_empty() {
                    row.set_text(column, id.as_str())?;
                }
            }
            row.end_row()
        };
        write().map_err(in_senders_words)
    }
}
