//! The labels of a record: what went into no column in, uniquely named entries of the label column out.
//!
//! | from | name |
//! |---|---|
//! | a field of the record | its own, wherever it stands |
//! | a member of `labels`, `tags` or `attributes` | its own, when no member before it and no field has it |
//! | any other such member | `OBJECT.key`: the `env` of `tags` is `tags.env` |
//!
//! A label that finds `tags.env` taken too is not stored: a warning counts these and names the first. Of a key that
//! comes twice in one object the last value counts, and an object that comes twice is one object.

use std::collections::HashMap;
use std::ops::Range;

use super::cell;
use super::plan::Target;
use super::record::RecordReader;
use super::value::{Member, Value, read_members};
use super::warnings::Warnings;
use crate::decode::{AttributesColumn, FieldError};

/// Which entries of the open row's labels are the members of an object; the others are fields of the record.
#[derive(Debug, Default)]
pub(super) struct LabelObjects {
    /// The index of the object among the record's members, and its entries.
    entries: Vec<(usize, Range<usize>)>,
}

/// Who has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner<'m> {
    /// A field of the record.
    Field,
    /// A member of the object of this name.
    Member(&'m str),
    /// A member of the object of this name, called after both.
    Qualified(&'m str),
}

impl LabelObjects {
    /// Forgets the record before.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Notes that the object at `member` gave these entries. Objects come in the order of their entries.
    pub(super) fn add(&mut self, member: usize, entries: Range<usize>) {
        if !entries.is_empty() {
            self.entries.push((member, entries));
        }
    }

    /// Gives the entries of the open row names that keep them apart.
    pub(super) fn name_apart(
        &self,
        attributes: &mut AttributesColumn,
        members: &[Member<'_>],
        warnings: &mut Warnings,
    ) {
        let has_one_origin = match self.entries.as_slice() {
            [] => true,
            [(_, only)] => only.len() == attributes.open_entries(),
            _ => false,
        };
        // Nearly all records end here.
        if has_one_origin || !attributes.has_repeated_keys() {
            return;
        }
        let names = self.names(attributes, members, warnings);
        attributes.rename_open_entries(&names);
    }

    /// The name of each entry; none for what has to go.
    fn names(
        &self,
        attributes: &AttributesColumn,
        members: &[Member<'_>],
        warnings: &mut Warnings,
    ) -> Vec<Option<Vec<u8>>> {
        let mut names: Vec<Option<Vec<u8>>> = attributes.open_keys().map(|key| Some(key.to_vec())).collect();
        let mut owners: HashMap<Vec<u8>, Owner<'_>> = HashMap::new();
        let mut field = 0;
        for (_, entries) in self.entries.iter().chain([&(0, names.len()..names.len())]) {
            let fields = names.get(field..entries.start).unwrap_or_default();
            owners.extend(fields.iter().flatten().map(|name| (name.clone(), Owner::Field)));
            field = entries.end;
        }
        for (member, entries) in &self.entries {
            let object = members.get(*member).map(|(key, _)| &**key).unwrap_or_default();
            for name in names.get_mut(entries.clone()).unwrap_or_default() {
                let Some(key) = name.take() else { continue };
                let qualified = [object.as_bytes(), b".", &key].concat();
                let candidates =
                    [(key, Owner::Member(object)), (qualified.clone(), Owner::Qualified(object))];
                *name = candidates.into_iter().find_map(|(candidate, owner)| {
                    let is_ours = *owners.entry(candidate.clone()).or_insert(owner) == owner;
                    is_ours.then_some(candidate)
                });
                if name.is_none() {
                    warnings.add_lost_label(&String::from_utf8_lossy(&qualified));
                }
            }
        }
        names
    }
}

impl<'b> RecordReader<'_, 'b> {
    /// Whatever went into no column becomes a label.
    pub(super) fn set_labels(&mut self) -> Result<(), FieldError> {
        self.label_objects.clear();
        for member in 0..self.members.len() {
            if self.taken[member] {
                continue;
            }
            let (key, text) = &self.members[member];
            let Some(column) = self.plan.label_column else {
                return Err(FieldError::new(
                    &**key,
                    "the table has neither this column nor a label column: register one, or leave the field out",
                ));
            };
            let value = Value::read(text).map_err(|reason| FieldError::new(&**key, reason))?;
            let is_label_object = self.plan.target(key) == Some(Target::LabelObject);
            let pushed = match (&value, self.rows.attributes(column)) {
                (_, None) => Err("the label column is not of type attributes".to_owned()),
                (Value::Object(object), Some(_)) if is_label_object => {
                    self.set_label_object(column, member, object)
                }
                (Value::Null, Some(_)) if is_label_object => Ok(()),
                (_, Some(attributes)) => cell::push(attributes, key, &value, &mut self.scratch),
            };
            pushed.map_err(|reason| FieldError::new(&*self.members[member].0, reason))?;
        }
        if let Some(attributes) = self.plan.label_column.and_then(|column| self.rows.attributes(column)) {
            self.label_objects.name_apart(attributes, &self.members, &mut self.scratch.warnings);
        }
        Ok(())
    }

    /// Members become labels; one that is called `host` or the like fills that column too, when nothing else did.
    fn set_label_object(&mut self, column: usize, member: usize, object: &'b str) -> Result<(), String> {
        let first = self.rows.attributes(column).map_or(0, |attributes| attributes.open_entries());
        let mut labels: Vec<Member<'b>> = Vec::new();
        read_members(object, &mut labels)?;
        for (key, text) in &labels {
            let value = Value::read(text).map_err(|reason| format!("{key}: {reason}"))?;
            if let Some(promoted) = self.plan.promoted(self.rows.table(), key)
                && let Value::String(text) = &value
                && !self.rows.is_set(promoted)
            {
                self.rows.set_text(promoted, text).map_err(|error| format!("{key}: {}", error.reason))?;
            }
            if let Some(attributes) = self.rows.attributes(column) {
                cell::push(attributes, key, &value, &mut self.scratch)
                    .map_err(|reason| format!("{key}: {reason}"))?;
            }
        }
        self.label_objects.add(member, first..first + labels.len());
        Ok(())
    }
}
