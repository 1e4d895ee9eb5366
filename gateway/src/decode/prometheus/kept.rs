//! What a refused record is kept in: a request of its own version that holds it alone, so that it can be sent again as
//! it is.

use std::collections::HashMap;

use super::Version;
use super::dialect::Dialect;
use super::exemplars::Exemplar;
use super::series::{Part, Series};
use crate::decode::otlp::envelope::put;
use crate::decode::wire::Field;

/// The texts of a 2.0 request under construction.
struct Symbols<'a> {
    list: Vec<&'a str>,
    places: HashMap<&'a str, u32>,
}

impl<'a> Symbols<'a> {
    fn new() -> Self {
        Self { list: vec![""], places: HashMap::from([("", 0)]) }
    }

    fn place(&mut self, text: &'a str) -> u32 {
        let next = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        let Self { list, places } = self;
        *places.entry(text).or_insert_with(|| {
            list.push(text);
            next
        })
    }
}

/// A request with one record of a series.
pub(super) fn record<'a>(
    series: &Series<'a>,
    part: Part,
    field: &Field<'a>,
    dialect: &Dialect<'a>,
) -> Vec<u8> {
    let version = dialect.version();
    let mut symbols = Symbols::new();
    let mut message = Vec::new();
    put_labels(&mut message, &series.labels, version, &mut symbols);
    let exemplar = (part == Part::Exemplar).then(|| Exemplar::read(field, dialect).ok()).flatten();
    let record = match &exemplar {
        Some(exemplar) => {
            let mut bytes = Vec::new();
            put_labels(&mut bytes, &exemplar.labels, version, &mut symbols);
            prost::encoding::double::encode(2, &exemplar.value, &mut bytes);
            prost::encoding::int64::encode(3, &exemplar.timestamp, &mut bytes);
            bytes
        }
        None => field.bytes("").unwrap_or_default().to_vec(),
    };
    put(&mut message, part.number(version), &record);
    if version == Version::V1 {
        return whole(version, &message);
    }
    let known = &series.metadata;
    let mut metadata = Vec::new();
    prost::encoding::uint32::encode(1, &known.kind.map_or(0, |kind| u32::from(kind.number())), &mut metadata);
    prost::encoding::uint32::encode(3, &symbols.place(known.help), &mut metadata);
    prost::encoding::uint32::encode(4, &symbols.place(known.unit), &mut metadata);
    put(&mut message, 5, &metadata);
    if let Some(created) = series.created {
        prost::encoding::int64::encode(6, &(created / 1_000_000), &mut message);
    }
    let mut request = Vec::new();
    for symbol in &symbols.list {
        put(&mut request, 4, symbol.as_bytes());
    }
    put(&mut request, 5, &message);
    request
}

fn put_labels<'a>(
    message: &mut Vec<u8>,
    labels: &[(&'a str, &'a str)],
    version: Version,
    symbols: &mut Symbols<'a>,
) {
    if version == Version::V2 {
        let places: Vec<u32> =
            labels.iter().flat_map(|(name, value)| [symbols.place(name), symbols.place(value)]).collect();
        prost::encoding::uint32::encode_packed(1, &places, message);
        return;
    }
    for (name, value) in labels {
        let mut label = Vec::with_capacity(name.len() + value.len() + 8);
        put(&mut label, 1, name.as_bytes());
        put(&mut label, 2, value.as_bytes());
        put(message, 1, &label);
    }
}

/// A request with one series as it was sent. In 2.0 its labels are lost: they are bad, or somewhere else.
pub(super) fn whole(version: Version, series: &[u8]) -> Vec<u8> {
    let mut request = Vec::with_capacity(series.len() + 8);
    match version {
        Version::V1 => put(&mut request, 1, series),
        Version::V2 => put(&mut request, 5, series),
    }
    request
}

/// A 1.0 request with one metadata as it was sent.
pub(super) fn family(metadata: &[u8]) -> Vec<u8> {
    let mut request = Vec::with_capacity(metadata.len() + 8);
    put(&mut request, 3, metadata);
    request
}
