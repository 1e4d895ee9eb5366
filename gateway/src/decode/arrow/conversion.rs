//! What the conversion of one column knows and finds: rules in, bad rows and warnings out.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::ipc::{malformed, too_large};
use crate::decode::rules::RowRules;
use crate::decode::{DecodeError, DecodeLimits, FieldError};
use crate::registry::LabelChanges;

/// The first thing that is wrong with each bad row of a batch.
#[derive(Debug, Default)]
pub(super) struct BadRows(pub(super) BTreeMap<usize, FieldError>);

/// The conversion of one column of one batch.
pub(super) struct Conversion<'a> {
    /// The table's column.
    pub(super) name: &'a str,
    /// Whether it is the table's time column, which has an accepted window.
    pub(super) is_record_time: bool,
    /// The table's column by its place.
    pub(super) column: usize,
    pub(super) rules: &'a RowRules,
    pub(super) limits: DecodeLimits,
    pub(super) bad: &'a mut BadRows,
    pub(super) warnings: &'a mut Vec<String>,
    pub(super) label_changes: &'a mut LabelChanges,
}

impl BadRows {
    /// Notes that `row` is bad. What was found first is what its sender hears of.
    pub(super) fn reject(&mut self, row: usize, error: FieldError) {
        self.0.entry(row).or_insert(error);
    }
}

impl Conversion<'_> {
    /// Notes that `row` is bad. It is cut out of the batch later; until then any value may stand in its place.
    pub(super) fn reject(&mut self, row: usize, reason: impl Into<String>) {
        if let std::collections::btree_map::Entry::Vacant(entry) = self.bad.0.entry(row) {
            entry.insert(FieldError::new(self.name, reason));
        }
    }

    /// Notes that `row` is bad because of a field inside of the column.
    pub(super) fn reject_field(&mut self, row: usize, error: FieldError) {
        self.bad.reject(row, error);
    }

    /// Tells the sender something, once per request.
    pub(super) fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// The error for a column whose type cannot become the table's.
    pub(super) fn unsupported(&self, given: &DataType, wanted: &str) -> DecodeError {
        malformed(format!(
            "column {:?} is {given} and cannot become {wanted}: convert it before sending",
            self.name
        ))
    }

    /// Checks the size of something before it is made.
    pub(super) fn check_bytes(&self, bytes: usize) -> Result<(), DecodeError> {
        if bytes > self.limits.decoded_bytes { Err(too_large(self.limits)) } else { Ok(()) }
    }

    /// Casts; a value that does not fit becomes NULL, which the caller compares with the source.
    pub(super) fn cast(&self, source: &ArrayRef, to: &DataType) -> Result<ArrayRef, DecodeError> {
        cast_with_options(source, to, &CastOptions { safe: true, ..CastOptions::default() }).map_err(internal)
    }

    /// The plain form of a dictionary or view, checked before it is made: either lets a few bytes stand for many.
    pub(super) fn plain(&self, source: &ArrayRef) -> Result<ArrayRef, DecodeError> {
        let Some(dictionary) = source.as_any_dictionary_opt() else {
            return self.without_views(source);
        };
        if dictionary.values().is_empty() {
            // Sent without its dictionary, which is allowed when all values are NULL.
            let kind = dictionary.values().data_type();
            return self.without_views(&new_null_array(kind, source.len()));
        }
        let lengths = byte_lengths(dictionary.values());
        if let Some(lengths) = lengths {
            let keys = dictionary.normalized_keys();
            let bytes = keys
                .iter()
                .enumerate()
                .filter(|&(row, _)| dictionary.is_valid(row))
                .map(|(_, &key)| lengths.get(key).copied().unwrap_or(0))
                .fold(0, usize::saturating_add);
            self.check_bytes(bytes)?;
        }
        let taken = take(dictionary.values(), dictionary.keys(), None).map_err(internal)?;
        self.without_views(&taken)
    }

    fn without_views(&self, source: &ArrayRef) -> Result<ArrayRef, DecodeError> {
        let to = match source.data_type() {
            DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
            DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => DataType::Binary,
            _ => return Ok(std::sync::Arc::clone(source)),
        };
        let bytes = byte_lengths(source).into_iter().flatten().fold(0, usize::saturating_add);
        self.check_bytes(bytes)?;
        cast_with_options(source, &to, &CastOptions { safe: false, ..CastOptions::default() })
            .map_err(|_| too_large(self.limits))
    }

    /// Rejects the rows that had a value before a cast and have none after it.
    pub(super) fn reject_lost<T: ArrowPrimitiveType>(
        &mut self,
        source: &ArrayRef,
        cast: &PrimitiveArray<T>,
        reason: &str,
    ) {
        if cast.null_count() == source.null_count() {
            return;
        }
        for row in (0..source.len()).filter(|&row| source.is_valid(row) && cast.is_null(row)) {
            let value = super::value::display(source, row);
            self.reject(row, format!("{value} {reason}"));
        }
    }
}

/// The length of each value of a text or binary array; none for other types.
fn byte_lengths(array: &ArrayRef) -> Option<Vec<usize>> {
    fn ends<T: Copy + TryInto<usize>>(offsets: &[T]) -> Vec<usize> {
        let at = |end: T| end.try_into().unwrap_or(0);
        offsets.windows(2).map(|pair| at(pair[1]) - at(pair[0])).collect()
    }
    // The low 32 bits of a view are the value's length.
    let views = |views: &[u128]| {
        views.iter().map(|&view| usize::try_from(view & u128::from(u32::MAX)).unwrap_or(0)).collect()
    };
    Some(match array.data_type() {
        DataType::Utf8 => ends(array.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => ends(array.as_string::<i64>().value_offsets()),
        DataType::Utf8View => views(array.as_string_view().views()),
        DataType::Binary => ends(array.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => ends(array.as_binary::<i64>().value_offsets()),
        DataType::BinaryView => views(array.as_binary_view().views()),
        _ => return None,
    })
}

pub(super) fn internal(error: ArrowError) -> DecodeError {
    DecodeError::Internal(error.to_string())
}
