//! `NumberDataPoint`s in, rows of `metrics_events` out.
//!
//! | value | `value` | `value_int` | `flags` |
//! |---|---|---|---|
//! | `as_double` | the value | NULL | NULL when 0 |
//! | `as_int` | the nearest double | the value | NULL when 0 |
//! | none, with the flag "no recorded value" | NULL | NULL | the flags |
//! | none, without it | refused | | |

use super::exemplars::Point;
use super::{Head, NO_RECORDED_VALUE, in_senders_words};
use crate::decode::any_value::Values;
use crate::decode::otlp::ids;
use crate::decode::otlp::origin::{self, Origin, OriginColumns};
use crate::decode::wire::Reader;
use crate::decode::{DecodeContext, DecodeError, FieldError, TableBuilder};
use crate::registry::builtin::METRICS_EVENTS;

/// The builder of `metrics_events`.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) table: TableBuilder,
    columns: Columns,
    origin: OriginColumns,
}

#[derive(Debug)]
struct Columns {
    time: usize,
    metric: usize,
    labels: usize,
    value: usize,
    value_int: usize,
    kind: usize,
    unit: usize,
    temporality: usize,
    monotonic: usize,
    start_time: usize,
    flags: usize,
}

#[derive(Debug, Clone, Copy)]
enum Value {
    Double(f64),
    Int(i64),
}

/// The fields of a `NumberDataPoint` other than its attributes and exemplars.
#[derive(Debug, Default)]
struct NumberPoint {
    start_time: u64,
    time: u64,
    value: Option<Value>,
    has_exemplars: bool,
    flags: u32,
}

impl Numbers {
    pub(super) fn new(context: &DecodeContext<'_>) -> Result<Self, DecodeError> {
        let table = context.builder(METRICS_EVENTS)?;
        let column = |name| origin::column(&table, name);
        let columns = Columns {
            time: column("time")?,
            metric: column("metric")?,
            labels: column("labels")?,
            value: column("value")?,
            value_int: column("value_int")?,
            kind: column("type")?,
            unit: column("unit")?,
            temporality: column("temporality")?,
            monotonic: column("monotonic")?,
            start_time: column("start_time")?,
            flags: column("flags")?,
        };
        let origin = OriginColumns::of(&table)?;
        Ok(Self { table, columns, origin })
    }

    /// Fills the open row with the point in `bytes` and leaves it open.
    pub(super) fn write<'p>(
        &mut self,
        head: &Head<'_>,
        origin: Origin<'_>,
        bytes: &'p [u8],
        values: &mut Values,
    ) -> Result<Point<'p>, FieldError> {
        let mut point = self.read(bytes, values)?;
        if point.flags & NO_RECORDED_VALUE != 0 {
            point.value = None;
        } else if point.value.is_none() {
            return Err(FieldError::new(
                "value",
                "is missing: set as_double or as_int, or the flag for no recorded value",
            ));
        }
        let time = super::time(point.time)?;
        self.write_row(head, origin, &point, time).map_err(in_senders_words)?;
        let exemplars = if point.has_exemplars { Some(5) } else { None };
        Ok(Point { bytes, time, attributes: 7, exemplars })
    }

    fn read(&mut self, bytes: &[u8], values: &mut Values) -> Result<NumberPoint, FieldError> {
        let mut point = NumberPoint::default();
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.field()? {
            match field.number {
                2 => point.start_time = field.fixed64("start_time_unix_nano")?,
                3 => point.time = field.fixed64("time_unix_nano")?,
                4 => point.value = Some(Value::Double(field.double("as_double")?)),
                5 => {
                    field.bytes("exemplars")?;
                    point.has_exemplars = true;
                }
                6 => point.value = Some(Value::Int(field.fixed64("as_int")?.cast_signed())),
                7 => {
                    let pair = field.bytes("attributes")?;
                    if let Some(labels) = self.table.attributes(self.columns.labels) {
                        values.push_attribute(labels, "attributes", pair)?;
                    }
                }
                8 => point.flags = field.uint32("flags")?,
                _ => {}
            }
        }
        Ok(point)
    }

    fn write_row(
        &mut self,
        head: &Head<'_>,
        origin: Origin<'_>,
        point: &NumberPoint,
        time: i64,
    ) -> Result<(), FieldError> {
        let (row, columns) = (&mut self.table, &self.columns);
        row.set_time(columns.time, time)?;
        row.set_text(columns.metric, head.name)?;
        match point.value {
            Some(Value::Double(value)) => row.set_double(columns.value, value)?,
            Some(Value::Int(value)) => {
                row.set_double(columns.value, value as f64)?;
                row.set_int(columns.value_int, value)?;
            }
            None => {}
        }
        row.set_text(columns.kind, head.kind.name())?;
        row.set_text(columns.unit, head.unit)?;
        if let Some(temporality) = head.temporality {
            row.set_text(columns.temporality, temporality)?;
        }
        if let Some(monotonic) = head.monotonic {
            row.set_bool(columns.monotonic, monotonic)?;
        }
        if point.start_time != 0 {
            row.set_time(columns.start_time, ids::signed("start_time", point.start_time)?)?;
        }
        if point.flags != 0 {
            row.set_int(columns.flags, i64::from(point.flags))?;
        }
        self.origin.write(row, origin, "")
    }
}
