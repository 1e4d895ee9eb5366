//! Vector's `Metric`s: protobuf in, the JSON of its own encoding out.
//!
//! | field | number | | value | number |
//! |---|---|---|---|---|
//! | `name`, `namespace` | 1, 11 | | `counter`, `gauge` (1 `value`) | 5, 6 |
//! | `timestamp` | 2 | | `set` (1 `values`) | 7 |
//! | `tags_v1` (text to text) | 3 | | `distribution1` (1 `values`, 2 `sample_rates`, 3 `statistic`) | 8 |
//! | `tags_v2` (text to values) | 20 | | `distribution2` (1 `samples`, 2 `statistic`) | 12 |
//! | `kind` (0 incremental, 1 absolute) | 4 | | `aggregated_histogram1` (1 `buckets`, 2 `counts`, 3 `count`, 4 `sum`) | 9 |
//! | `interval_ms` | 18 | | `aggregated_histogram2`, `3` (1 `buckets`, 2 `count`, 3 `sum`) | 13, 16 |
//! | | | | `aggregated_summary1` (1 `quantiles`, 2 `values`, 3 `count`, 4 `sum`) | 10 |
//! | | | | `aggregated_summary2`, `3` (1 `quantiles`, 2 `count`, 3 `sum`) | 14, 17 |
//! | | | | `sketch` | 15 |
//!
//! Old senders fill `tags_v1` and the values with the lower numbers; of tags the newer ones count. A tag with several
//! values is an array, one without a value is `null`.

use super::value::{write_number, write_timestamp};
use crate::decode::FieldError;
use crate::decode::any_value::within;
use crate::decode::wire::{Field, Reader};
use crate::registry::attributes::write_json_string;

/// Most elements of one list.
const MAX_LIST: usize = 1 << 17;

/// Lists of a value, whichever of its messages holds them.
#[derive(Default)]
struct Lists {
    first: Vec<f64>,
    second: Vec<u64>,
    /// The second list of a summary, whose values are doubles.
    values: Vec<f64>,
    count: u64,
    sum: f64,
    statistic: i32,
}

/// Appends the metric in `message`.
pub(super) fn write(message: &[u8], out: &mut String) -> Result<(), FieldError> {
    let (mut kind, mut value) = (0, None);
    let (mut tags_v1, mut tags_v2) = (String::new(), String::new());
    out.push('{');
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => member(out, "name", |out| text(&field, "name", out))?,
            2 => member(out, "timestamp", |out| write_timestamp(field.bytes("timestamp")?, out))?,
            3 => write_tag(field.bytes("tags_v1")?, &mut tags_v1, |value, out| text(value, "tags", out))?,
            4 => kind = field.int32("kind")?,
            11 => match field.text("namespace")? {
                "" => {}
                namespace => member(out, "namespace", |out| {
                    write_json_string(out, namespace);
                    Ok(())
                })?,
            },
            18 => match field.uint32("interval_ms")? {
                0 => {}
                interval => member(out, "interval_ms", |out| {
                    out.push_str(itoa::Buffer::new().format(interval));
                    Ok(())
                })?,
            },
            20 => write_tag(field.bytes("tags_v2")?, &mut tags_v2, write_tag_values)?,
            5..=10 | 12..=17 => value = Some(field),
            _ => {}
        }
    }
    let tags = if tags_v2.is_empty() { tags_v1 } else { tags_v2 };
    member(out, "tags", |out| {
        out.push('{');
        out.push_str(&tags);
        out.push('}');
        Ok(())
    })?;
    let kind = match kind {
        0 => "incremental",
        1 => "absolute",
        other => return Err(FieldError::new("kind", format!("is {other}: 0 and 1 are known"))),
    };
    member(out, "kind", |out| {
        write_json_string(out, kind);
        Ok(())
    })?;
    let Some(value) = value else { return Err(FieldError::new("value", "is missing")) };
    write_value(&value, out)?;
    out.push('}');
    Ok(())
}

fn member(
    out: &mut String,
    name: &str,
    write: impl FnOnce(&mut String) -> Result<(), FieldError>,
) -> Result<(), FieldError> {
    if !out.ends_with('{') {
        out.push(',');
    }
    write_json_string(out, name);
    out.push(':');
    write(out)
}

fn text(field: &Field<'_>, name: &str, out: &mut String) -> Result<(), FieldError> {
    write_json_string(out, field.text(name)?);
    Ok(())
}

/// Appends an entry of the tags; `write` appends its value.
fn write_tag(
    entry: &[u8],
    out: &mut String,
    write: impl FnOnce(&Field<'_>, &mut String) -> Result<(), FieldError>,
) -> Result<(), FieldError> {
    let (mut key, mut value) = ("", None);
    let mut reader = Reader::new(entry);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => key = field.text("tags")?,
            2 => value = Some(field),
            _ => {}
        }
    }
    if !out.is_empty() {
        out.push(',');
    }
    write_json_string(out, key);
    out.push(':');
    match value {
        Some(value) => write(&value, out).map_err(|error| within(key, error)),
        None => {
            out.push_str("\"\"");
            Ok(())
        }
    }
}

/// Appends the values of one tag: one is itself, several are an array.
fn write_tag_values(field: &Field<'_>, out: &mut String) -> Result<(), FieldError> {
    let (mut values, mut count) = (String::new(), 0);
    each(field.bytes("tags")?, |field| {
        if field.number != 1 {
            return Ok(());
        }
        if count > 0 {
            values.push(',');
        }
        count += 1;
        let mut is_bare = true;
        each(field.bytes("values")?, |field| {
            if field.number == 1 {
                is_bare = false;
                text(&field, "value", &mut values)?;
            }
            Ok(())
        })?;
        if is_bare {
            values.push_str("null");
        }
        Ok(())
    })?;
    if count == 1 {
        out.push_str(&values);
    } else {
        out.push('[');
        out.push_str(&values);
        out.push(']');
    }
    Ok(())
}

fn each<'a>(
    message: &'a [u8],
    mut take: impl FnMut(Field<'a>) -> Result<(), FieldError>,
) -> Result<(), FieldError> {
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        take(field)?;
    }
    Ok(())
}

fn write_value(field: &Field<'_>, out: &mut String) -> Result<(), FieldError> {
    let message = field.bytes("value")?;
    match field.number {
        5 => write_scalar("counter", message, out),
        6 => write_scalar("gauge", message, out),
        7 => member(out, "set", |out| {
            out.push_str("{\"values\":[");
            let mut first = true;
            each(message, |field| {
                if field.number == 1 {
                    if !std::mem::replace(&mut first, false) {
                        out.push(',');
                    }
                    text(&field, "values", out)?;
                }
                Ok(())
            })?;
            out.push_str("]}");
            Ok(())
        }),
        8 | 12 => {
            let lists = if field.number == 8 { Lists::flat(message, 0)? } else { Lists::paired(message, 2)? };
            let statistic = if lists.statistic == 0 { "histogram" } else { "summary" };
            member(out, "distribution", |out| {
                out.push_str("{\"samples\":");
                lists.write_counted("value", "rate", out)?;
                out.push_str(&format!(",\"statistic\":\"{statistic}\"}}"));
                Ok(())
            })
        }
        9 | 13 | 16 => {
            let lists = if field.number == 9 { Lists::flat(message, 3)? } else { Lists::paired(message, 2)? };
            member(out, "aggregated_histogram", |out| {
                out.push_str("{\"buckets\":");
                lists.write_counted("upper_limit", "count", out)?;
                lists.write_totals(out);
                Ok(())
            })
        }
        10 | 14 | 17 => {
            let lists =
                if field.number == 10 { Lists::flat_summary(message)? } else { Lists::quantiles(message)? };
            member(out, "aggregated_summary", |out| {
                out.push_str("{\"quantiles\":");
                lists.write_quantiles(out)?;
                lists.write_totals(out);
                Ok(())
            })
        }
        _ => member(out, "sketch", |out| {
            out.push_str("{}");
            Ok(())
        }),
    }
}

fn write_scalar(name: &str, message: &[u8], out: &mut String) -> Result<(), FieldError> {
    let mut value = 0.0;
    each(message, |field| {
        if field.number == 1 {
            value = field.double(name)?;
        }
        Ok(())
    })?;
    member(out, name, |out| {
        out.push_str("{\"value\":");
        write_number(value, out);
        out.push('}');
        Ok(())
    })
}

impl Lists {
    /// Doubles in field 1 and counts in field 2. The totals begin in field `totals`, unless that is 0; field 3 is then
    /// the statistic.
    fn flat(message: &[u8], totals: u32) -> Result<Self, FieldError> {
        let mut lists = Self::default();
        each(message, |field| {
            match field.number {
                1 => field
                    .extend_fixed64("value", &mut lists.first, MAX_LIST, |bits| Ok(f64::from_bits(bits)))?,
                2 => field.extend_varints("count", &mut lists.second, MAX_LIST, Ok)?,
                3 if totals == 0 => lists.statistic = field.int32("statistic")?,
                _ => lists.total(&field, totals)?,
            }
            Ok(())
        })?;
        Ok(lists)
    }

    /// Doubles in field 1 and doubles in field 2.
    fn flat_summary(message: &[u8]) -> Result<Self, FieldError> {
        let mut lists = Self::default();
        each(message, |field| {
            let list = match field.number {
                1 => &mut lists.first,
                2 => &mut lists.values,
                _ => return lists.total(&field, 3),
            };
            field.extend_fixed64("quantiles", list, MAX_LIST, |bits| Ok(f64::from_bits(bits)))
        })?;
        Ok(lists)
    }

    /// Pairs of a double and a count in field 1. The totals begin in field `totals`.
    fn paired(message: &[u8], totals: u32) -> Result<Self, FieldError> {
        let mut lists = Self::default();
        each(message, |field| {
            if field.number != 1 {
                // A distribution has its statistic where others have their count.
                if field.number == 2 {
                    lists.statistic = field.int32("statistic")?;
                }
                return lists.total(&field, totals);
            }
            lists.check_room()?;
            let (mut value, mut count) = (0.0, 0);
            each(field.bytes("samples")?, |field| {
                match field.number {
                    1 => value = field.double("value")?,
                    2 => count = field.varint("count")?,
                    _ => {}
                }
                Ok(())
            })?;
            lists.first.push(value);
            lists.second.push(count);
            Ok(())
        })?;
        Ok(lists)
    }

    /// Pairs of doubles in field 1.
    fn quantiles(message: &[u8]) -> Result<Self, FieldError> {
        let mut lists = Self::default();
        each(message, |field| {
            if field.number != 1 {
                return lists.total(&field, 2);
            }
            lists.check_room()?;
            let (mut quantile, mut value) = (0.0, 0.0);
            each(field.bytes("quantiles")?, |field| {
                match field.number {
                    1 => quantile = field.double("quantile")?,
                    2 => value = field.double("value")?,
                    _ => {}
                }
                Ok(())
            })?;
            lists.first.push(quantile);
            lists.values.push(value);
            Ok(())
        })?;
        Ok(lists)
    }

    fn total(&mut self, field: &Field<'_>, totals: u32) -> Result<(), FieldError> {
        match field.number.checked_sub(totals) {
            Some(0) if totals > 0 => self.count = field.varint("count")?,
            Some(1) if totals > 0 => self.sum = field.double("sum")?,
            _ => {}
        }
        Ok(())
    }

    fn check_room(&self) -> Result<(), FieldError> {
        if self.first.len() == MAX_LIST {
            return Err(FieldError::new("value", format!("has more than {MAX_LIST} elements")));
        }
        Ok(())
    }

    fn write_counted(&self, value: &str, count: &str, out: &mut String) -> Result<(), FieldError> {
        self.check_lengths(self.second.len())?;
        for (at, (number, counted)) in self.first.iter().zip(&self.second).enumerate() {
            out.push_str(if at == 0 { "[{\"" } else { ",{\"" });
            out.push_str(value);
            out.push_str("\":");
            write_number(*number, out);
            out.push_str(&format!(",\"{count}\":{counted}}}"));
        }
        out.push_str(if self.first.is_empty() { "[]" } else { "]" });
        Ok(())
    }

    fn write_quantiles(&self, out: &mut String) -> Result<(), FieldError> {
        self.check_lengths(self.values.len())?;
        for (at, (quantile, value)) in self.first.iter().zip(&self.values).enumerate() {
            out.push_str(if at == 0 { "[{\"quantile\":" } else { ",{\"quantile\":" });
            write_number(*quantile, out);
            out.push_str(",\"value\":");
            write_number(*value, out);
            out.push('}');
        }
        out.push_str(if self.first.is_empty() { "[]" } else { "]" });
        Ok(())
    }

    fn check_lengths(&self, second: usize) -> Result<(), FieldError> {
        if self.first.len() != second {
            let reason = format!("has lists of {} and {second} elements", self.first.len());
            return Err(FieldError::new("value", reason));
        }
        Ok(())
    }

    fn write_totals(&self, out: &mut String) {
        out.push_str(&format!(",\"count\":{},\"sum\":", self.count));
        write_number(self.sum, out);
        out.push('}');
    }
}
