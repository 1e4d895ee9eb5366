//! How the two versions write labels: 1.0 as texts, 2.0 as places in a table of texts.

use super::Version;
use crate::decode::FieldError;
use crate::decode::rules::MAX_EXCESS_LABELS;
use crate::decode::wire::{Field, Reader};

/// Most texts of a 2.0 request: each takes 16 bytes of memory, and two on the wire.
const MAX_SYMBOLS: usize = 1 << 21;

/// A version, with what is needed to read its labels.
#[derive(Debug)]
pub(super) enum Dialect<'a> {
    /// 1.0.
    V1,
    /// 2.0, with its texts. A text that is not UTF-8 is bad where it is used.
    V2(Vec<&'a [u8]>),
}

/// Labels as they are gathered: names and values.
#[derive(Debug, Default)]
pub(super) struct Labels<'a> {
    pairs: Vec<(&'a str, &'a str)>,
    /// A name whose value is still to come.
    refs: Vec<u32>,
}

impl<'a> Dialect<'a> {
    /// Reads what `version` needs of the whole request.
    pub(super) fn read(version: Version, body: &'a [u8]) -> Result<Self, FieldError> {
        if version == Version::V1 {
            return Ok(Self::V1);
        }
        let mut symbols = Vec::new();
        let mut reader = Reader::new(body);
        while let Some(field) = reader.field()? {
            if field.number != 4 {
                continue;
            }
            if symbols.len() == MAX_SYMBOLS {
                return Err(FieldError::new("symbols", format!("has more than {MAX_SYMBOLS} texts")));
            }
            symbols.push(field.bytes("symbols")?);
        }
        if symbols.first().is_some_and(|first| !first.is_empty()) {
            return Err(FieldError::new("symbols", "does not begin with the empty text"));
        }
        Ok(Self::V2(symbols))
    }

    pub(super) fn version(&self) -> Version {
        match self {
            Self::V1 => Version::V1,
            Self::V2(_) => Version::V2,
        }
    }

    /// Adds what field 1 of a `TimeSeries` or an `Exemplar` holds to `labels`.
    pub(super) fn gather(&self, field: &Field<'a>, labels: &mut Labels<'a>) -> Result<(), FieldError> {
        if let Self::V2(_) = self {
            return field.extend_varints("labels_refs", &mut labels.refs, 2 * MAX_EXCESS_LABELS, |value| {
                u32::try_from(value).map_err(|_| FieldError::new("labels_refs", "is over 32 bits"))
            });
        }
        if labels.pairs.len() == MAX_EXCESS_LABELS {
            return Err(FieldError::new("labels", format!("has more than {MAX_EXCESS_LABELS} labels")));
        }
        let (mut name, mut value) = ("", "");
        let mut reader = Reader::new(field.bytes("labels")?);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => name = field.text("labels.name")?,
                2 => value = field.text("labels.value")?,
                _ => {}
            }
        }
        labels.pairs.push((name, value));
        Ok(())
    }

    /// The labels that were gathered.
    pub(super) fn labels(&self, gathered: Labels<'a>) -> Result<Vec<(&'a str, &'a str)>, FieldError> {
        let Labels { mut pairs, refs } = gathered;
        let (whole, rest) = refs.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(FieldError::new(
                "labels_refs",
                "has an odd number of places: a name is without a value",
            ));
        }
        for [name, value] in whole {
            pairs.push((self.symbol("labels_refs", *name)?, self.symbol("labels_refs", *value)?));
        }
        Ok(pairs)
    }

    /// The text at a place.
    pub(super) fn symbol(&self, field: &str, place: u32) -> Result<&'a str, FieldError> {
        let Self::V2(symbols) = self else { return Ok("") };
        let bytes = usize::try_from(place).ok().and_then(|place| symbols.get(place)).ok_or_else(|| {
            FieldError::new(field, format!("{place} is no place among the {} symbols", symbols.len()))
        })?;
        std::str::from_utf8(bytes).map_err(|_| FieldError::new(field, "is not valid UTF-8"))
    }
}
