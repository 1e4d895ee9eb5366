//! One record: the text of a JSON object in, one row of a table out.
//!
//! 1. split the object into its members, without reading their values;
//! 2. let each member bid for the column that its name means; the best name wins, see [`super::synonyms`];
//! 3. set the columns from the winners, the rest becomes labels, see [`super::labels`];
//! 4. fill in what follows from other fields, and end the row.

use std::borrow::Cow;

use super::cell::{self, Scratch};
use super::labels::LabelObjects;
use super::plan::{Plan, Role, Target};
use super::value::{Member, Number, Value, read_members};
use super::vocabulary::{normalised_id, span_kind, span_status};
use super::warnings::Warnings;
use crate::decode::decimal::Decimal;
use crate::decode::{DecodeContext, DecodeError, FieldError, TableBuilder};
use crate::registry::ValueType;

/// Reads the records of one request into rows.
#[derive(Debug)]
pub(super) struct RecordReader<'c, 'b> {
    pub(super) context: &'c DecodeContext<'c>,
    pub(super) rows: TableBuilder,
    /// Rows of `metrics_histograms`, once there are any.
    pub(super) histograms: Option<TableBuilder>,
    pub(super) plan: Plan,
    pub(super) scratch: Scratch,
    // The rest belongs to the record at hand and is kept for its memory.
    pub(super) members: Vec<Member<'b>>,
    /// Whether a member's value went into a column.
    pub(super) taken: Vec<bool>,
    /// The labels that are members of an object.
    pub(super) label_objects: LabelObjects,
    /// The best bid for each column.
    bids: Vec<Option<Bid<'b>>>,
}

/// A value that could go into a column.
#[derive(Debug)]
struct Bid<'b> {
    rank: u8,
    role: Role,
    value: Value<'b>,
    /// The index of the member it comes from.
    member: usize,
    /// The key within the member, when that is an object.
    inner: Option<Cow<'b, str>>,
}

/// What a row needs to know of its fields once all are set.
#[derive(Debug, Default)]
pub(super) struct Seen<'b> {
    pub(super) time: Option<i64>,
    pub(super) end: Option<(i64, usize)>,
    pub(super) level: Option<Value<'b>>,
    pub(super) severity_number: Option<i32>,
    pub(super) severity_text: Option<Value<'b>>,
    pub(super) no_recorded_value: bool,
}

impl<'c, 'b> RecordReader<'c, 'b> {
    pub(super) fn new(rows: TableBuilder, context: &'c DecodeContext<'c>) -> Self {
        let columns = rows.table().columns().len();
        Self {
            plan: Plan::new(rows.table()),
            scratch: Scratch {
                text: String::new(),
                warnings: Warnings::default(),
                max_depth: context.limits.depth,
            },
            context,
            rows,
            histograms: None,
            members: Vec::new(),
            taken: Vec::new(),
            label_objects: LabelObjects::default(),
            bids: std::iter::repeat_with(|| None).take(columns).collect(),
        }
    }

    /// Reads one record. On an error nothing of it is left.
    pub(super) fn read(&mut self, text: &'b str) -> Result<(), FieldError> {
        let warnings = self.scratch.warnings.clone();
        let read = self.read_row(text);
        if read.is_err() {
            self.scratch.warnings = warnings;
            self.rows.discard_row();
            if let Some(histograms) = &mut self.histograms {
                histograms.discard_row();
            }
        }
        read
    }

    /// The rows of all records, and what is to be said of them.
    pub(super) fn finish(self) -> Result<(Vec<crate::registry::TableBatch>, Vec<String>), DecodeError> {
        let mut batches = Vec::new();
        batches.extend(self.rows.finish()?);
        if let Some(histograms) = self.histograms {
            batches.extend(histograms.finish()?);
        }
        Ok((batches, self.scratch.warnings.sentences()))
    }

    fn read_row(&mut self, text: &'b str) -> Result<(), FieldError> {
        self.members.clear();
        read_members(text, &mut self.members).map_err(|reason| FieldError::new("", reason))?;
        if self.members.is_empty() {
            return Err(FieldError::new("", "the record has no fields"));
        }
        self.taken.clear();
        self.taken.resize(self.members.len(), false);
        self.bids.iter_mut().for_each(|bid| *bid = None);
        for member in 0..self.members.len() {
            let (key, text) = &self.members[member];
            match self.plan.target(key) {
                Some(Target::Column { column, rank, role }) => {
                    let value = Value::read(text).map_err(|reason| FieldError::new(&**key, reason))?;
                    self.bid(column, Bid { rank, role, value, member, inner: None });
                }
                Some(Target::VectorMetric(shape)) if text.starts_with('{') && self.is_vector_metric() => {
                    return self.read_vector_metric(shape, member);
                }
                _ => {}
            }
            self.bid_with_members_of(member)?;
        }
        let seen = self.set_columns()?;
        self.set_labels()?;
        self.fill_in(&seen)?;
        self.rows.end_row()
    }

    fn bid(&mut self, column: usize, bid: Bid<'b>) {
        // Of one key that came twice only the last value counts.
        let same_key = self.bids[column].as_ref().is_some_and(|best| {
            bid.inner.is_none()
                && best.inner.is_none()
                && self.members[bid.member].0 == self.members[best.member].0
        });
        if bid.value == Value::Null {
            // Under a column's own name null says "absent"; under any other it is a label.
            self.taken[bid.member] |= bid.rank == 0 && bid.inner.is_none();
            if same_key {
                self.bids[column] = None;
            }
            return;
        }
        let is_container = matches!(bid.value, Value::Array(_) | Value::Object(_));
        // `{"host":{"name":..}}` is no host name, though the object is called as the column.
        let may_be_container = bid.rank == 0 && !self.plan.is_prefix(&self.members[bid.member].0);
        if is_container && !may_be_container && bid.role != Role::SpanStatus {
            return;
        }
        if let Some(best) = self.bids[column].as_ref().filter(|_| !same_key) {
            if bid.rank >= best.rank {
                return;
            }
            // The loser becomes a label.
            if best.inner.is_none() {
                self.taken[best.member] = false;
            }
        }
        if bid.inner.is_none() {
            self.taken[bid.member] = true;
        }
        self.bids[column] = Some(bid);
    }

    /// Looks up `host.name` inside of `{"host": {"name": ..}}`. The object itself remains a label.
    fn bid_with_members_of(&mut self, member: usize) -> Result<(), FieldError> {
        let (key, text) = &self.members[member];
        if !text.starts_with('{') || !self.plan.is_prefix(key) {
            return Ok(());
        }
        let mut inner: Vec<Member<'b>> = Vec::new();
        read_members(text, &mut inner).map_err(|reason| FieldError::new(&**key, reason))?;
        for (name, text) in inner {
            let dotted = format!("{}.{name}", self.members[member].0);
            let Some(Target::Column { column, rank, role }) = self.plan.target(&dotted) else { continue };
            let value = Value::read(text).map_err(|reason| FieldError::new(dotted, reason))?;
            self.bid(column, Bid { rank, role, value, member, inner: Some(name) });
        }
        Ok(())
    }

    /// The name of a bid in the sender's words.
    fn sender_name(&self, bid: &Bid<'_>) -> String {
        let (key, _) = &self.members[bid.member];
        match &bid.inner {
            Some(inner) => format!("{key}.{inner}"),
            None => key.to_string(),
        }
    }

    fn set_columns(&mut self) -> Result<Seen<'b>, FieldError> {
        let mut seen = Seen::default();
        for column in 0..self.bids.len() {
            let Some(bid) = self.bids[column].take() else { continue };
            if let Err(reason) = self.set_column(column, &bid, &mut seen) {
                if bid.role != Role::Plain || !self.leave_as_label(column, &bid) {
                    return Err(FieldError::new(self.sender_name(&bid), reason));
                }
                continue;
            }
            if bid.role == Role::Level {
                seen.level = Some(bid.value);
            }
        }
        Ok(seen)
    }

    /// Lets a value that its column does not take become a label, if the table's policy says so. A value within an object is
    /// in a label already.
    fn leave_as_label(&mut self, column: usize, bid: &Bid<'b>) -> bool {
        let table = self.rows.table();
        let label_column = table.label_column().filter(|_| table.takes_as_label(column));
        let Some(labels) = label_column.and_then(|labels| self.rows.attributes(labels)) else { return false };
        labels.count_retyped();
        if bid.inner.is_none() {
            self.taken[bid.member] = false;
        }
        true
    }

    fn set_column(&mut self, column: usize, bid: &Bid<'b>, seen: &mut Seen<'b>) -> Result<(), String> {
        let (rows, scratch, value) = (&mut self.rows, &mut self.scratch, &bid.value);
        let set = match bid.role {
            Role::Plain => {
                if self.plan.known.flags == Some(column) {
                    let flags = cell::read_int(value, scratch).and_then(Result::ok);
                    seen.no_recorded_value = flags.is_some_and(|flags| flags & 1 == 1);
                }
                if self.plan.known.severity_number == Some(column)
                    && let Value::Number(text) = value
                {
                    seen.severity_number = text.parse().ok();
                }
                if self.plan.known.severity_text == Some(column)
                    && let Value::String(_) = value
                {
                    seen.severity_text = Some(value.clone());
                }
                return cell::set(rows, column, value, scratch);
            }
            Role::Time => {
                let nanos = cell::read_time(value, scratch)?;
                seen.time = Some(nanos);
                rows.set_time(column, nanos)
            }
            Role::Message => return self.set_message(column, value),
            Role::Level => return Ok(()),
            Role::HexId(bytes) => {
                let text = text_of(value, scratch)?;
                rows.set_text(column, &normalised_id(text, bytes))
            }
            Role::SampleValue => return self.set_sample(column, value),
            Role::SpanKind => rows.set_text(column, &span_kind(text_of(value, scratch)?)),
            Role::SpanStatus => return self.set_span_status(column, value),
            Role::SpanEnd => {
                seen.end = Some((cell::read_time(value, scratch)?, column));
                return Ok(());
            }
            Role::SpanDuration(power) => {
                let text = text_of(value, scratch)?;
                let nanos = Decimal::parse(text).and_then(|duration| duration.scaled(power));
                let nanos = nanos.ok_or("is not a number, or does not fit in 64 bits of nanoseconds")?;
                rows.set_int(column, nanos)
            }
        };
        set.map_err(|error| error.reason)
    }

    fn set_message(&mut self, column: usize, value: &Value<'b>) -> Result<(), String> {
        let (text, kind) = match value {
            Value::Null => return Ok(()),
            Value::String(text) => (text.as_ref(), ValueType::String),
            Value::Bool(value) => (if *value { "true" } else { "false" }, ValueType::Bool),
            Value::Number(text) => match Number::read(text) {
                Number::Int(_) => (*text, ValueType::Int),
                Number::Double(_) => (*text, ValueType::Double),
                Number::Beyond(_) => (*text, ValueType::String),
            },
            Value::Array(_) | Value::Object(_) => {
                cell::write_json(value, &mut self.scratch)?;
                let is_array = matches!(value, Value::Array(_));
                (self.scratch.text.as_str(), if is_array { ValueType::Array } else { ValueType::Map })
            }
        };
        self.rows.set_text(column, text).map_err(|error| error.reason)?;
        match self.plan.known.message_type {
            Some(column) if kind != ValueType::String => {
                self.rows.set_text(column, kind.name()).map_err(|error| error.reason)
            }
            _ => Ok(()),
        }
    }

    fn set_sample(&mut self, column: usize, value: &Value<'b>) -> Result<(), String> {
        cell::set(&mut self.rows, column, value, &mut self.scratch)?;
        if let (Value::Number(text), Some(exact)) = (value, self.plan.known.value_int)
            && let Ok(integer) = text.parse()
        {
            self.rows.set_int(exact, integer).map_err(|error| error.reason)?;
        }
        Ok(())
    }

    /// A word, a number, or an object with `code` and `message`.
    fn set_span_status(&mut self, column: usize, value: &Value<'b>) -> Result<(), String> {
        let Value::Object(text) = value else {
            let status = span_status(text_of(value, &mut self.scratch)?);
            return self.rows.set_text(column, &status).map_err(|error| error.reason);
        };
        let mut members = Vec::new();
        read_members(text, &mut members)?;
        for (key, text) in &members {
            let value = Value::read(text)?;
            match (&**key, self.plan.known.status_message) {
                ("code", _) => {
                    let status = span_status(text_of(&value, &mut self.scratch)?);
                    self.rows.set_text(column, &status).map_err(|error| error.reason)?;
                }
                ("message", Some(message)) if value != Value::Null => {
                    cell::set(&mut self.rows, message, &value, &mut self.scratch)?;
                }
                _ => {
                    return Err(format!("is an object with {key:?}: it may hold code and message"));
                }
            }
        }
        Ok(())
    }
}

pub(super) fn text_of<'v>(value: &'v Value<'_>, scratch: &mut Scratch) -> Result<&'v str, String> {
    let converted = scratch.warnings.converted;
    let text = cell::read_text(value, scratch).ok_or_else(|| format!("is {} and not text", value.kind()));
    // Numeric levels, ids and codes are as usual as their names.
    scratch.warnings.converted = converted;
    text
}
