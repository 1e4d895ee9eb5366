//! Records whose fields are columns: a message and a plan in, a row out.
//!
//! A plan says for each field number which column it fills and how. proto3 leaves out what has its default value, so
//! a plan also says what to put into columns that stayed empty.

use super::span_parts;
use crate::decode::any_value::{Values, within};
use crate::decode::outcome::Outcome;
use crate::decode::wire::{Field, Merged, Reader};
use crate::decode::{DecodeContext, DecodeError, FieldError, MAX_PAYLOAD_BYTES, TableBuilder};
use crate::registry::ValueType;

/// How a field becomes a column's value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// `string`.
    Text,
    /// `string`: an identifier, stored in lower case when it is hex.
    Id,
    /// `sfixed64`: nanoseconds since 1970.
    Time,
    /// `int64`, `int32` or `uint32`.
    Int,
    /// `double`.
    Double,
    /// `bool`.
    Bool,
    /// An enum whose values have these words; a value without a word is stored as digits.
    Word(&'static [&'static str]),
    /// `map<string, Value>`.
    Attributes,
    /// `Scope`: columns `scope_name`, `scope_version` and `scope`.
    Scope,
    /// `Value`: its canonical text, and its type in column `message_type`.
    Message,
    /// `repeated SpanEvent`: a JSON array.
    Events,
    /// `repeated SpanLink`: a JSON array.
    Links,
}

/// One field of a plan: its number, its name, the column and how it is filled.
pub(super) type PlannedField = (u32, &'static str, &'static str, Kind);

/// A plan with the columns found in a table.
#[derive(Debug)]
pub(super) struct Plan {
    /// By field number.
    fields: Vec<Option<Planned>>,
    scope: Option<ScopeColumns>,
    message_type: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Planned {
    name: &'static str,
    column: usize,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
struct ScopeColumns {
    name: usize,
    version: usize,
    attributes: usize,
}

/// Parts of a record that may come in pieces and are written at its end.
#[derive(Debug, Default)]
struct Pending<'a> {
    scope: Merged<'a>,
    message: Option<(usize, Merged<'a>)>,
    events: Option<(usize, String)>,
    links: Option<(usize, String)>,
}

impl Plan {
    /// Finds the columns of `fields` in `table`.
    pub(super) fn new(table: &TableBuilder, fields: &[PlannedField]) -> Result<Self, DecodeError> {
        let most = fields.iter().map(|&(number, ..)| number).max().unwrap_or(0);
        let mut plan = Self { fields: vec![None; index(most) + 1], scope: None, message_type: None };
        for &(number, name, column, kind) in fields {
            match kind {
                Kind::Scope => {
                    plan.scope = Some(ScopeColumns {
                        name: find(table, "scope_name")?,
                        version: find(table, "scope_version")?,
                        attributes: find(table, "scope")?,
                    });
                }
                Kind::Message => plan.message_type = Some(find(table, "message_type")?),
                _ => {}
            }
            let column = find(table, column)?;
            plan.fields[index(number)] = Some(Planned { name, column, kind });
        }
        Ok(plan)
    }

    /// Writes the fields of `message` into the open row of `table`, and leaves it open.
    pub(super) fn fill(
        &self,
        table: &mut TableBuilder,
        message: &[u8],
        values: &mut Values,
    ) -> Result<(), FieldError> {
        let mut pending = Pending::default();
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            if let Some(planned) = self.fields.get(index(field.number)).copied().flatten() {
                planned
                    .fill(table, &field, values, &mut pending)
                    .map_err(|error| renamed(error, table, planned))?;
            }
        }
        if let (Some(columns), Some(scope)) = (self.scope, pending.scope.get()) {
            columns.fill(table, scope, values).map_err(|error| within("scope", error))?;
        }
        if let (Some(column), Some((text_column, message))) = (self.message_type, &pending.message) {
            let mut text = String::new();
            let kind =
                values.text_and_type(message.get(), &mut text).map_err(|error| within("message", error))?;
            table.set_text(*text_column, &text)?;
            table.set_text(column, if kind == ValueType::String { "" } else { kind.name() })?;
        } else if let Some(column) = self.message_type {
            table.set_text(column, ValueType::Empty.name())?;
        }
        for (column, items) in [pending.events, pending.links].into_iter().flatten() {
            table.set_text(column, &format!("[{items}]"))?;
        }
        Ok(())
    }
}

impl Planned {
    fn fill<'a>(
        self,
        table: &mut TableBuilder,
        field: &Field<'a>,
        values: &mut Values,
        pending: &mut Pending<'a>,
    ) -> Result<(), FieldError> {
        let (name, column) = (self.name, self.column);
        match self.kind {
            Kind::Text => set_unless_empty(table, column, field.text(name)?),
            Kind::Id => set_id(table, column, field.text(name)?),
            Kind::Time => table.set_time(column, field.fixed64(name)?.cast_signed()),
            Kind::Int => table.set_int(column, field.varint(name)?.cast_signed()),
            Kind::Double => table.set_double(column, field.double(name)?),
            Kind::Bool => table.set_bool(column, field.bool(name)?),
            Kind::Word(words) => {
                let number = field.int32(name)?;
                match usize::try_from(number).ok().and_then(|at| words.get(at)) {
                    Some(word) => set_unless_empty(table, column, word),
                    None => table.set_text(column, itoa::Buffer::new().format(number)),
                }
            }
            Kind::Attributes => {
                let entry = field.bytes(name)?;
                table.attributes(column).map_or(Ok(()), |column| values.push_attribute(column, name, entry))
            }
            Kind::Scope => {
                pending.scope.push(field.bytes(name)?);
                Ok(())
            }
            Kind::Message => {
                pending.message.get_or_insert((column, Merged::default())).1.push(field.bytes(name)?);
                Ok(())
            }
            Kind::Events => {
                let (_, items) = pending.events.get_or_insert((column, String::new()));
                span_parts::write_event(items, field.bytes(name)?, values)
                    .map_err(|error| within(name, error))
            }
            Kind::Links => {
                let (_, items) = pending.links.get_or_insert((column, String::new()));
                span_parts::write_link(items, field.bytes(name)?, values).map_err(|error| within(name, error))
            }
        }
    }
}

impl ScopeColumns {
    fn fill(self, table: &mut TableBuilder, scope: &[u8], values: &mut Values) -> Result<(), FieldError> {
        let mut reader = Reader::new(scope);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => table.set_text(self.name, field.text("name")?)?,
                2 => table.set_text(self.version, field.text("version")?)?,
                3 => {
                    let entry = field.bytes("attributes")?;
                    if let Some(column) = table.attributes(self.attributes) {
                        values.push_attribute(column, "attributes", entry)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The index of a column that the plan needs.
pub(super) fn find(table: &TableBuilder, name: &str) -> Result<usize, DecodeError> {
    table.column(name).ok_or_else(|| {
        DecodeError::Internal(format!("table {} has no column {name:?}", table.table().name()))
    })
}

/// Goes through the records that `message` holds in its field `number`, and ends their rows.
pub(super) fn each_record<'a>(
    message: &'a [u8],
    number: u32,
    outcome: &mut Outcome<'_>,
    content_type: &'static str,
    table: &mut TableBuilder,
    mut fill: impl FnMut(&mut TableBuilder, &'a [u8]) -> Result<(), FieldError>,
) -> Result<(), DecodeError> {
    let malformed = |error: FieldError| DecodeError::Malformed(format!("the request {}", error.reason));
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field().map_err(|broken| malformed(broken.into()))? {
        if field.number != number {
            continue;
        }
        let record = field.bytes("records").map_err(malformed)?;
        let result = fill(table, record).and_then(|()| table.end_row());
        if result.is_err() {
            table.discard_row();
        }
        match result {
            Ok(()) => outcome.accept()?,
            Err(error) => {
                let kept = record.get(..MAX_PAYLOAD_BYTES).unwrap_or(record).to_vec();
                outcome.refuse(table.table().name().as_str(), error, kept, content_type)?;
            }
        }
    }
    Ok(())
}

/// What a context's limits are for values.
pub(super) fn values(context: &DecodeContext<'_>) -> Values {
    Values::with_times(context.limits.depth)
}

/// What is empty is absent in proto3, and NULL where the column has one.
fn set_unless_empty(table: &mut TableBuilder, column: usize, text: &str) -> Result<(), FieldError> {
    if text.is_empty() { Ok(()) } else { table.set_text(column, text) }
}

/// Sets an identifier: hex in lower case, anything else as it is.
fn set_id(table: &mut TableBuilder, column: usize, text: &str) -> Result<(), FieldError> {
    let upper_hex = text.bytes().any(|byte| byte.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if upper_hex {
        table.set_text(column, &text.to_ascii_lowercase())
    } else {
        set_unless_empty(table, column, text)
    }
}

/// Names a field as the sender does, where the table named its column.
fn renamed(error: FieldError, table: &TableBuilder, planned: Planned) -> FieldError {
    let column = table.table().columns()[planned.column].name.as_str();
    match error.field.strip_prefix(column) {
        Some("") => FieldError::new(planned.name, error.reason),
        Some(rest) if rest.starts_with('.') => {
            FieldError::new(format!("{}{rest}", planned.name), error.reason)
        }
        _ => error,
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
