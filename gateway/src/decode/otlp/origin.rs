//! Where records come from: `Resource` and `InstrumentationScope` in, the columns that their records share out.
//!
//! `service.name` becomes `app` and `host.name` becomes `host`; both stay in `resource` as well. What has no column
//! of its own goes to the JSON object in `envelope`:
//!
//! | member | from |
//! |---|---|
//! | `resource_schema_url`, `scope_schema_url` | the `schema_url` beside the resource and beside the scope |
//! | `resource_dropped_attributes_count`, `scope_dropped_attributes_count` | the same, unless 0 |
//! | `entity_refs` | the resource's `entity_refs`, field by field |
//! | `dropped_attributes_count`, `dropped_events_count`, `dropped_links_count` | the record, unless 0 |

use crate::decode::any_value::{Values, within};
use crate::decode::wire::Reader;
use crate::decode::{AttributesColumn, DecodeError, FieldError, TableBuilder};
use crate::registry::attributes::write_json_string;

/// What the records of one `ResourceLogs`, `ResourceMetrics` or `ResourceSpans` share.
#[derive(Debug)]
pub(super) struct Resource {
    app: String,
    host: String,
    /// One row.
    attributes: AttributesColumn,
    envelope: String,
}

/// What the records of one `ScopeLogs`, `ScopeMetrics` or `ScopeSpans` share.
#[derive(Debug)]
pub(super) struct Scope {
    name: String,
    version: String,
    /// One row.
    attributes: AttributesColumn,
    envelope: String,
}

/// Both.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) resource: &'a Resource,
    pub(super) scope: &'a Scope,
}

impl<'a> Origin<'a> {
    /// The resource's `service.name`.
    pub(super) fn app(self) -> &'a str {
        &self.resource.app
    }

    /// The resource's `host.name`.
    pub(super) fn host(self) -> &'a str {
        &self.resource.host
    }
}

impl Resource {
    /// Reads a `Resource`; one that is absent is an empty one.
    pub(super) fn read(message: &[u8], schema_url: &str, values: &mut Values) -> Result<Self, FieldError> {
        let mut resource = Self {
            app: String::new(),
            host: String::new(),
            attributes: AttributesColumn::new(),
            envelope: String::new(),
        };
        let mut dropped = 0;
        let mut entity_refs = String::new();
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => {
                    let pair = field.bytes("attributes")?;
                    values.push_attribute(&mut resource.attributes, "attributes", pair)?;
                    if let Some(app) = values.text_of("service.name", pair)? {
                        resource.app = app;
                    } else if let Some(host) = values.text_of("host.name", pair)? {
                        resource.host = host;
                    }
                }
                2 => dropped = field.uint32("dropped_attributes_count")?,
                3 => write_entity_ref(&mut entity_refs, field.bytes("entity_refs")?)
                    .map_err(|error| within("entity_refs", error))?,
                _ => {}
            }
        }
        resource.attributes.end_row();
        let envelope = &mut resource.envelope;
        push_text(envelope, "resource_schema_url", schema_url);
        push_count(envelope, "resource_dropped_attributes_count", dropped);
        if !entity_refs.is_empty() {
            push_member(envelope, "entity_refs", &format!("[{entity_refs}]"));
        }
        Ok(resource)
    }
}

impl Scope {
    /// Reads an `InstrumentationScope`; one that is absent is an empty one.
    pub(super) fn read(message: &[u8], schema_url: &str, values: &mut Values) -> Result<Self, FieldError> {
        let mut scope = Self {
            name: String::new(),
            version: String::new(),
            attributes: AttributesColumn::new(),
            envelope: String::new(),
        };
        let mut dropped = 0;
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => field.text("name")?.clone_into(&mut scope.name),
                2 => field.text("version")?.clone_into(&mut scope.version),
                3 => {
                    values.push_attribute(&mut scope.attributes, "attributes", field.bytes("attributes")?)?;
                }
                4 => dropped = field.uint32("dropped_attributes_count")?,
                _ => {}
            }
        }
        scope.attributes.end_row();
        push_text(&mut scope.envelope, "scope_schema_url", schema_url);
        push_count(&mut scope.envelope, "scope_dropped_attributes_count", dropped);
        Ok(scope)
    }
}

/// Where a table keeps what its records share.
#[derive(Debug)]
pub(super) struct OriginColumns {
    app: usize,
    host: usize,
    resource: usize,
    scope_name: usize,
    scope_version: usize,
    scope: usize,
    envelope: usize,
}

impl OriginColumns {
    pub(super) fn of(table: &TableBuilder) -> Result<Self, DecodeError> {
        Ok(Self {
            app: column(table, "app")?,
            host: column(table, "host")?,
            resource: column(table, "resource")?,
            scope_name: column(table, "scope_name")?,
            scope_version: column(table, "scope_version")?,
            scope: column(table, "scope")?,
            envelope: column(table, "envelope")?,
        })
    }

    /// Sets the columns of the open row. `envelope` has the members of the record's own.
    pub(super) fn write(
        &self,
        row: &mut TableBuilder,
        origin: Origin<'_>,
        envelope: &str,
    ) -> Result<(), FieldError> {
        let Origin { resource, scope } = origin;
        row.check_room(resource.attributes.bytes() + scope.attributes.bytes())?;
        row.set_text(self.app, &resource.app)?;
        row.set_text(self.host, &resource.host)?;
        row.set_text(self.scope_name, &scope.name)?;
        row.set_text(self.scope_version, &scope.version)?;
        for (column, attributes) in [(self.resource, &resource.attributes), (self.scope, &scope.attributes)] {
            if let Some(column) = row.attributes(column) {
                column.end_row_as(attributes, 0);
            }
        }
        let members = [&resource.envelope, &scope.envelope, envelope];
        if members.iter().any(|members| !members.is_empty()) {
            let members = members.into_iter().filter(|members| !members.is_empty());
            let mut object = String::from("{");
            for (at, members) in members.enumerate() {
                if at > 0 {
                    object.push(',');
                }
                object.push_str(members);
            }
            object.push('}');
            row.set_text(self.envelope, &object)?;
        }
        Ok(())
    }
}

/// The index of a column that the decoders need.
pub(super) fn column(table: &TableBuilder, name: &str) -> Result<usize, DecodeError> {
    table.column(name).ok_or_else(|| {
        DecodeError::Internal(format!("table {} has no column {name:?}", table.table().name()))
    })
}

/// Renames the column in a table's error to what OTLP calls it: by `words`, or by the words of shared columns.
pub(super) fn in_senders_words(error: FieldError, words: &[(&str, &str)]) -> FieldError {
    const SHARED: [(&str, &str); 7] = [
        ("labels", "attributes"),
        ("app", "resource.attributes.service.name"),
        ("host", "resource.attributes.host.name"),
        ("resource", "resource.attributes"),
        ("scope", "scope.attributes"),
        ("scope_name", "scope.name"),
        ("scope_version", "scope.version"),
    ];
    let (column, rest) = error.field.split_once('.').map_or((error.field.as_str(), ""), |(column, _)| {
        (column, error.field.get(column.len()..).unwrap_or_default())
    });
    match words.iter().chain(&SHARED).find(|(name, _)| *name == column) {
        Some((_, word)) => FieldError { field: format!("{word}{rest}"), reason: error.reason },
        None => error,
    }
}

/// Appends a member to the members of an envelope.
pub(super) fn push_member(members: &mut String, name: &str, json: &str) {
    if !members.is_empty() {
        members.push(',');
    }
    write_json_string(members, name);
    members.push(':');
    members.push_str(json);
}

/// Appends a count, unless it is 0.
pub(super) fn push_count(members: &mut String, name: &str, count: u32) {
    if count != 0 {
        push_member(members, name, itoa::Buffer::new().format(count));
    }
}

/// Appends a text, unless it is empty.
pub(super) fn push_text(members: &mut String, name: &str, text: &str) {
    if !text.is_empty() {
        let mut json = String::new();
        write_json_string(&mut json, text);
        push_member(members, name, &json);
    }
}

fn write_entity_ref(list: &mut String, message: &[u8]) -> Result<(), FieldError> {
    let (mut schema_url, mut kind) = ("", "");
    let (mut id_keys, mut description_keys) = (String::new(), String::new());
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => schema_url = field.text("schema_url")?,
            2 => kind = field.text("type")?,
            3 => push_item(&mut id_keys, field.text("id_keys")?),
            4 => push_item(&mut description_keys, field.text("description_keys")?),
            _ => {}
        }
    }
    let mut members = String::new();
    push_text(&mut members, "schema_url", schema_url);
    push_text(&mut members, "type", kind);
    for (name, keys) in [("id_keys", id_keys), ("description_keys", description_keys)] {
        if !keys.is_empty() {
            push_member(&mut members, name, &format!("[{keys}]"));
        }
    }
    if !list.is_empty() {
        list.push(',');
    }
    list.push('{');
    list.push_str(&members);
    list.push('}');
    Ok(())
}

fn push_item(list: &mut String, text: &str) {
    if !list.is_empty() {
        list.push(',');
    }
    write_json_string(list, text);
}
