//! The row of one of Vector's metrics: its tags and its value in, the columns of the open row out.

use super::super::cell;
use super::super::value::{Member, Value, read_items, read_members};
use super::MetricShape;
use crate::decode::{AttributesColumn, FieldError, TableBuilder};

/// The open row, by column name.
pub(super) struct Row<'r> {
    pub(super) rows: &'r mut TableBuilder,
}

/// Why a metric's value was refused: what is wrong in the sender's object, or what the column says.
pub(super) enum ValueError {
    Reason(String),
    Column(FieldError),
}

impl From<String> for ValueError {
    fn from(reason: String) -> Self {
        Self::Reason(reason)
    }
}

impl From<FieldError> for ValueError {
    fn from(error: FieldError) -> Self {
        Self::Column(error)
    }
}

impl Row<'_> {
    fn column(&self, name: &str) -> Result<usize, FieldError> {
        self.rows.column(name).ok_or_else(|| FieldError::new(name, "the table has no such column"))
    }

    pub(super) fn time(&mut self, name: &str, nanos: i64) -> Result<(), FieldError> {
        let column = self.column(name)?;
        self.rows.set_time(column, nanos)
    }

    pub(super) fn text(&mut self, name: &str, text: &str) -> Result<(), FieldError> {
        let column = self.column(name)?;
        self.rows.set_text(column, text)
    }

    fn double(&mut self, name: &str, value: f64) -> Result<(), FieldError> {
        let column = self.column(name)?;
        self.rows.set_double(column, value)
    }

    fn int(&mut self, name: &str, value: i64) -> Result<(), FieldError> {
        let column = self.column(name)?;
        self.rows.set_int(column, value)
    }

    fn bool(&mut self, name: &str, value: bool) -> Result<(), FieldError> {
        let column = self.column(name)?;
        self.rows.set_bool(column, value)
    }

    pub(super) fn labels(&mut self) -> Option<&mut AttributesColumn> {
        let labels = self.rows.column("labels")?;
        self.rows.attributes(labels)
    }

    /// The number of labels of the open row.
    pub(super) fn open_labels(&mut self) -> usize {
        self.labels().map_or(0, |labels| labels.open_entries())
    }

    pub(super) fn label(
        &mut self,
        key: &str,
        value: &Value<'_>,
        scratch: &mut cell::Scratch,
    ) -> Result<(), String> {
        let labels = self.column("labels").map_err(|error| error.reason)?;
        match self.rows.attributes(labels) {
            Some(attributes) => cell::push(attributes, key, value, scratch),
            None => Err("the label column is not of type attributes".to_owned()),
        }
    }

    /// Tags are labels; those that Vector's own sources give a host and an app by fill these columns as well.
    pub(super) fn tags(&mut self, text: &str, scratch: &mut cell::Scratch) -> Result<(), String> {
        let tags = match Value::read(text)? {
            Value::Null => return Ok(()),
            Value::Object(tags) => tags,
            other => return Err(format!("is {} and not an object", other.kind())),
        };
        let mut members = Vec::new();
        read_members(tags, &mut members)?;
        for (key, text) in &members {
            let value = Value::read(text)?;
            let column = match &**key {
                "host" => Some("host"),
                "app" | "service" => Some("app"),
                _ => None,
            };
            if let (Some(column), Value::String(text)) = (column, &value) {
                self.text(column, text).map_err(|error| error.reason)?;
            }
            self.label(key, &value, scratch)?;
        }
        Ok(())
    }

    pub(super) fn value(
        &mut self,
        shape: MetricShape,
        text: &str,
        scratch: &mut cell::Scratch,
    ) -> Result<(), ValueError> {
        let mut members = Vec::new();
        read_members(text, &mut members)?;
        match shape {
            MetricShape::Counter | MetricShape::Gauge => {
                self.double("value", number(&members, "value", scratch)?)?;
                if shape == MetricShape::Counter {
                    self.bool("monotonic", true)?;
                }
                Ok(())
            }
            MetricShape::Set => {
                let values = array(&members, "values")?;
                #[expect(clippy::cast_precision_loss, reason = "a body has far fewer than 2^52 elements")]
                self.double("value", read_items(values)?.len() as f64)?;
                self.envelope(&format!("{{\"values\":{values}}}"), scratch)
            }
            MetricShape::Distribution => self.distribution(&members, scratch),
            MetricShape::AggregatedHistogram => self.histogram(&members, scratch),
            MetricShape::AggregatedSummary => self.summary(&members, scratch),
            MetricShape::Sketch => Err(ValueError::Reason("cannot be stored".to_owned())),
        }
    }

    fn envelope(&mut self, json: &str, scratch: &mut cell::Scratch) -> Result<(), ValueError> {
        let column = self.column("envelope")?;
        cell::write_json(&Value::Object(json), scratch)?;
        Ok(self.rows.set_text(column, &scratch.text)?)
    }

    /// `samples` of `value` and `rate`: a histogram with a bucket that ends at each distinct value.
    fn distribution(
        &mut self,
        members: &[Member<'_>],
        scratch: &mut cell::Scratch,
    ) -> Result<(), ValueError> {
        let mut samples: Vec<(f64, i64)> = Vec::new();
        for sample in read_items(array(members, "samples")?)? {
            let mut members = Vec::new();
            read_members(sample, &mut members)?;
            samples.push((number(&members, "value", scratch)?, count(&members, "rate", scratch)?));
        }
        samples.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let (mut total, mut sum) = (0i64, 0.0);
        let mut buckets: Vec<(f64, i64)> = Vec::new();
        for &(value, rate) in &samples {
            total = total.checked_add(rate).ok_or_else(|| "the rates exceed 64 bits".to_owned())?;
            #[expect(clippy::cast_precision_loss, reason = "the sum is a double whatever it is made from")]
            {
                sum += value * rate as f64;
            }
            match buckets.last_mut() {
                Some((bound, count)) if bound.to_bits() == value.to_bits() => *count += rate,
                _ => buckets.push((value, rate)),
            }
        }
        self.int("count", total)?;
        self.double("sum", sum)?;
        if let (Some(&(min, _)), Some(&(max, _))) = (samples.first(), samples.last()) {
            self.double("min", min)?;
            self.double("max", max)?;
        }
        self.buckets(&buckets, 0)?;
        match members.iter().find(|(key, _)| key == "statistic") {
            Some((_, statistic)) => self.envelope(&format!("{{\"statistic\":{statistic}}}"), scratch),
            None => Ok(()),
        }
    }

    /// `buckets` of `upper_limit` and `count`, each bucket counted for itself.
    fn histogram(&mut self, members: &[Member<'_>], scratch: &mut cell::Scratch) -> Result<(), ValueError> {
        let mut buckets: Vec<(f64, i64)> = Vec::new();
        for bucket in read_items(array(members, "buckets")?)? {
            let mut members = Vec::new();
            read_members(bucket, &mut members)?;
            // serde_json writes infinity as null.
            let open = members.iter().any(|(key, text)| key == "upper_limit" && *text == "null");
            let limit = if open { f64::INFINITY } else { number(&members, "upper_limit", scratch)? };
            if buckets.last().is_some_and(|&(before, _)| before.total_cmp(&limit).is_ge()) {
                return Err(ValueError::Reason("the buckets' upper limits do not ascend".to_owned()));
            }
            buckets.push((limit, count(&members, "count", scratch)?));
        }
        let total = count(members, "count", scratch)?;
        self.int("count", total)?;
        self.double("sum", number(members, "sum", scratch)?)?;
        let counted = buckets.iter().fold(0i64, |counted, &(_, count)| counted.saturating_add(count));
        let above = match buckets.last() {
            Some(&(limit, count)) if limit.is_infinite() => {
                buckets.pop();
                count
            }
            _ => total.saturating_sub(counted).max(0),
        };
        Ok(self.buckets(&buckets, above)?)
    }

    fn summary(&mut self, members: &[Member<'_>], scratch: &mut cell::Scratch) -> Result<(), ValueError> {
        let (mut quantiles, mut values) = (Vec::new(), Vec::new());
        for quantile in read_items(array(members, "quantiles")?)? {
            let mut members = Vec::new();
            read_members(quantile, &mut members)?;
            quantiles.push(number(&members, "quantile", scratch)?);
            values.push(number(&members, "value", scratch)?);
        }
        self.int("count", count(members, "count", scratch)?)?;
        self.double("sum", number(members, "sum", scratch)?)?;
        let column = self.column("quantiles")?;
        self.rows.set_doubles(column, quantiles)?;
        let column = self.column("quantile_values")?;
        Ok(self.rows.set_doubles(column, values)?)
    }

    /// Buckets by upper bound, and how many are above the last one.
    fn buckets(&mut self, buckets: &[(f64, i64)], above: i64) -> Result<(), FieldError> {
        let column = self.column("bounds")?;
        self.rows.set_doubles(column, buckets.iter().map(|&(bound, _)| bound))?;
        let column = self.column("counts")?;
        self.rows.set_ints(column, buckets.iter().map(|&(_, count)| count).chain([above]))
    }
}

fn member<'b>(members: &[Member<'b>], name: &str) -> Result<Value<'b>, String> {
    let member = members.iter().rev().find(|(key, _)| key == name);
    let (_, text) = member.ok_or_else(|| format!("{name} is missing"))?;
    Value::read(text)
}

fn number(members: &[Member<'_>], name: &str, scratch: &mut cell::Scratch) -> Result<f64, String> {
    let number = cell::read_double(&member(members, name)?, scratch);
    number.unwrap_or_else(|| Err("is not a number".to_owned())).map_err(|reason| format!("{name} {reason}"))
}

fn count(members: &[Member<'_>], name: &str, scratch: &mut cell::Scratch) -> Result<i64, String> {
    let count = cell::read_int(&member(members, name)?, scratch).and_then(Result::ok);
    count.filter(|&count| count >= 0).ok_or_else(|| format!("{name} is not a count of 63 bits"))
}

fn array<'b>(members: &[Member<'b>], name: &str) -> Result<&'b str, String> {
    match member(members, name)? {
        Value::Array(text) => Ok(text),
        other => Err(format!("{name} is {} and not an array", other.kind())),
    }
}
