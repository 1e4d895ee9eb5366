//! The levels that the three signals share: a request in, its items with their resource and scope out.
//!
//! | message | 1 | 2 | 3 |
//! |---|---|---|---|
//! | `ExportLogsServiceRequest` and its like | `resource_logs`, repeated | | |
//! | `ResourceLogs` and its like | `resource` | `scope_logs`, repeated | `schema_url` |
//! | `ScopeLogs` and its like | `scope` | `log_records`, `metrics` or `spans`, repeated | `schema_url` |
//!
//! Damage is confined to the smallest level that holds it: a bad resource or scope refuses each record below it, a
//! level whose fields cannot be told apart is refused as one record, and only a request whose own fields cannot be
//! told apart is an error. Fields may come in any order, so that each level is read twice: first what its records
//! share, then the records.

use super::envelope::RequestTypes;
use super::origin::{Origin, Resource, Scope};
use super::outcome::{Kept, Outcome, Warning};
use crate::decode::any_value::{Values, within};
use crate::decode::wire::{Merged, Reader};
use crate::decode::{DecodeContext, DecodeError, Decoded, FieldError, TableBuilder};

/// What becomes of the items of one signal: log records, metrics or spans.
pub(super) trait Items<'a> {
    /// The table that a refusal names when it cannot be told better.
    const TABLE: &'static str;

    /// Takes the next item. Its origin is an error when the item's resource or scope cannot be read.
    fn item(
        &mut self,
        origin: Result<Origin<'_>, &FieldError>,
        bytes: &'a [u8],
        state: &mut State,
    ) -> Result<(), DecodeError>;
}

/// What decoding one request needs besides the builders of its tables.
#[derive(Debug)]
pub(super) struct State {
    pub(super) values: Values,
    pub(super) outcome: Outcome,
}

impl State {
    pub(super) fn new(context: &DecodeContext<'_>, types: RequestTypes) -> Self {
        Self { values: Values::new(context.limits.depth), outcome: Outcome::new(context, types) }
    }

    /// The rows of `tables` with what became of the records.
    pub(super) fn finish(
        mut self,
        tables: impl IntoIterator<Item = TableBuilder>,
    ) -> Result<Decoded, DecodeError> {
        self.outcome.warn(Warning::StringIndex, self.values.string_indexes);
        self.outcome.finish(tables)
    }
}

/// Hands every item of the request to `items`.
pub(super) fn walk<'a, I: Items<'a>>(
    request: &'a [u8],
    items: &mut I,
    state: &mut State,
) -> Result<(), DecodeError> {
    let malformed = |error: FieldError| DecodeError::Malformed(format!("the request {}", error.reason));
    Reader::new(request).check().map_err(|broken| malformed(broken.into()))?;
    let mut reader = Reader::new(request);
    while let Some(field) = reader.field().map_err(|broken| malformed(broken.into()))? {
        if field.number == 1 {
            walk_resource(field.bytes("").map_err(malformed)?, items, state)?;
        }
    }
    Ok(())
}

/// The fields of a level that its records share.
struct Shared<'a> {
    /// Field 1: the resource or the scope.
    origin: Merged<'a>,
    /// Whether there is any field 2.
    has_records: bool,
    /// Field 3.
    schema_url: Result<&'a str, FieldError>,
}

impl<'a> Shared<'a> {
    /// Reads them, and checks that everything between them can be told apart.
    fn read(message: &'a [u8]) -> Result<Self, FieldError> {
        let mut shared = Self { origin: Merged::default(), has_records: false, schema_url: Ok("") };
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => shared.origin.push(field.bytes("resource or scope")?),
                2 => {
                    field.bytes("records")?;
                    shared.has_records = true;
                }
                3 => shared.schema_url = field.text("schema_url"),
                _ => {}
            }
        }
        Ok(shared)
    }

    /// The schema URL, empty when there is none that can be read.
    fn url(&self) -> &'a str {
        self.schema_url.as_ref().copied().unwrap_or_default()
    }

    /// Makes of them what the records below need.
    fn origin<T>(
        &self,
        name: &str,
        values: &mut Values,
        read: impl Fn(&[u8], &str, &mut Values) -> Result<T, FieldError>,
    ) -> Result<T, FieldError> {
        let schema_url = self.schema_url.clone()?;
        read(self.origin.get().unwrap_or_default(), schema_url, values).map_err(|error| within(name, error))
    }
}

fn walk_resource<'a, I: Items<'a>>(
    message: &'a [u8],
    items: &mut I,
    state: &mut State,
) -> Result<(), DecodeError> {
    let shared = match Shared::read(message) {
        Ok(shared) if shared.has_records => shared,
        Ok(_) => return Ok(()),
        Err(error) => return state.outcome.record_in(I::TABLE, Err(error), Kept::Resource(message)),
    };
    state.outcome.resource.set(shared.origin.get().unwrap_or_default(), shared.url());
    let resource = shared.origin("resource", &mut state.values, Resource::read);
    let mut reader = Reader::new(message);
    while let Ok(Some(field)) = reader.field() {
        if let (2, Ok(message)) = (field.number, field.bytes("")) {
            walk_scope(message, resource.as_ref(), items, state)?;
        }
    }
    Ok(())
}

fn walk_scope<'a, I: Items<'a>>(
    message: &'a [u8],
    resource: Result<&Resource, &FieldError>,
    items: &mut I,
    state: &mut State,
) -> Result<(), DecodeError> {
    let shared = match Shared::read(message) {
        Ok(shared) if shared.has_records => shared,
        Ok(_) => return Ok(()),
        Err(error) => return state.outcome.record_in(I::TABLE, Err(error), Kept::Scope(message)),
    };
    state.outcome.scope.set(shared.origin.get().unwrap_or_default(), shared.url());
    let scope = shared.origin("scope", &mut state.values, Scope::read);
    let origin = match (resource, &scope) {
        (Ok(resource), Ok(scope)) => Ok(Origin { resource, scope }),
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    let mut reader = Reader::new(message);
    while let Ok(Some(field)) = reader.field() {
        if let (2, Ok(item)) = (field.number, field.bytes("")) {
            items.item(origin, item, state)?;
        }
    }
    Ok(())
}
