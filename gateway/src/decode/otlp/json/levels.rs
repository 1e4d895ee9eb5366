//! The levels above the records: a JSON request in, protobuf and the JSON of each record out.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::JSON;
use super::encode::{Encoder, KeySeed, camel_case, shortened};
use super::kept::{Budget, Levels, Place};
use super::schema::{FieldDef, Kind, Message};
use crate::decode::any_value::within;
use crate::decode::otlp::envelope::RequestTypes;
use crate::decode::otlp::outcome::too_many;
use crate::decode::{DecodeError, DecodeLimits, Decoded, FieldError, RejectedRecord};

/// Top-level fields of the three kinds of request, and the address that takes each.
const ADDRESSES: [(&str, &str); 3] =
    [("resourceLogs", "/v1/logs"), ("resourceMetrics", "/v1/metrics"), ("resourceSpans", "/v1/traces")];

/// A kind of request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) message: &'static Message,
    /// The table that a refusal names when it cannot be told better.
    pub(super) table: &'static str,
    /// The media types of a request that holds one record.
    pub(super) types: RequestTypes,
}

/// Rewrites one body.
#[derive(Debug)]
pub(super) struct Rewriter<'a> {
    text: &'a str,
    /// Places of bytes that were not UTF-8 and are in no record read so far.
    damage: &'a [usize],
    request: &'static Request,
    most: usize,
    encoder: Encoder,
    levels: Levels<'a>,
    count: usize,
    /// Records in `encoder`, in order.
    records: Vec<Source<'a>>,
    refused: Vec<(Source<'a>, FieldError)>,
    /// Ends the whole request, whatever serde_json says.
    fatal: Option<DecodeError>,
}

/// Where a record comes from.
#[derive(Debug, Clone, Copy)]
struct Source<'a> {
    index: usize,
    table: &'static str,
    json: &'a str,
    /// None for what is no record.
    place: Option<Place>,
}

/// A request as protobuf.
#[derive(Debug)]
pub(super) struct Rewritten<'a> {
    pub(super) protobuf: Vec<u8>,
    text: &'a str,
    types: RequestTypes,
    levels: Levels<'a>,
    records: Vec<Source<'a>>,
    refused: Vec<(Source<'a>, FieldError)>,
    snake_case: usize,
}

impl<'a> Rewriter<'a> {
    pub(super) fn new(text: &'a str, damage: &'a [usize], request: &'static Request, most: usize) -> Self {
        Self {
            text,
            damage,
            request,
            most,
            encoder: Encoder::default(),
            levels: Levels::default(),
            count: 0,
            records: Vec::new(),
            refused: Vec::new(),
            fatal: None,
        }
    }

    /// Rewrites a request, an array of requests, or several of either one after the other.
    pub(super) fn rewrite(mut self) -> Result<Rewritten<'a>, DecodeError> {
        let malformed = |reason: String| DecodeError::Malformed(format!("the request {reason}"));
        if self.text.trim_ascii().is_empty() {
            return Err(malformed("has no body: an empty request in JSON is {}".to_owned()));
        }
        let mut json = serde_json::Deserializer::from_str(self.text);
        while json.end().is_err() {
            if let Err(error) = json.deserialize_any(BodyVisitor { rewriter: &mut self, in_array: false }) {
                let fatal = self.fatal.take();
                return Err(fatal.unwrap_or_else(|| {
                    malformed(format!("is not OTLP/JSON: {}", shortened(&error.to_string())))
                }));
            }
        }
        if let Some(place) = self.damage.first() {
            return Err(malformed(format!("is not valid UTF-8 at byte {place}")));
        }
        let Self { encoder, levels, request, text, records, refused, .. } = self;
        let (protobuf, types, snake_case) = (encoder.out, request.types, encoder.snake_case);
        Ok(Rewritten { protobuf, text, types, levels, records, refused, snake_case })
    }

    fn record<E: Error>(
        &mut self,
        def: &'static FieldDef,
        message: &'static Message,
        table: &'static str,
        json: &'a str,
    ) -> Result<(), E> {
        let source = Source { place: self.levels.place(def), ..self.source(table, json)? };
        let begun = self.encoder.out.len();
        let start = self.encoder.begin(def.number);
        let result = if self.take_damage(json) {
            Err(FieldError::new("", "is not valid UTF-8"))
        } else {
            self.encoder.message(message, json)
        };
        match result {
            Ok(()) => {
                self.encoder.end(start);
                self.records.push(source);
            }
            Err(error) => {
                self.encoder.out.truncate(begun);
                self.refused.push((source, error));
            }
        }
        Ok(())
    }

    fn begun(&self) -> Begun {
        Begun { out: self.encoder.out.len(), records: self.records.len(), count: self.count }
    }

    fn source<E: Error>(&mut self, table: &'static str, json: &'a str) -> Result<Source<'a>, E> {
        let source = Source { index: self.count, table, json, place: None };
        self.count += 1;
        if self.count > self.most {
            return Err(self.fail(too_many(self.most)));
        }
        Ok(source)
    }

    /// Whether this record holds bytes that were not UTF-8; they are accounted for with it.
    fn take_damage(&mut self, json: &str) -> bool {
        let place = place_in(self.text, json);
        match self.damage.first() {
            Some(first) if place.contains(first) => {
                let inside = self.damage.partition_point(|at| *at < place.end);
                self.damage = self.damage.get(inside..).unwrap_or_default();
                true
            }
            _ => false,
        }
    }

    /// Refuses the records of a level that began at `begun`: something that they share cannot be read.
    fn refuse_since<E: Error>(&mut self, begun: Begun, wrong: Wrong<'a>) -> Result<(), E> {
        self.encoder.out.truncate(begun.out);
        for source in self.records.drain(begun.records..) {
            self.refused.push((source, wrong.error.clone()));
        }
        if self.count == begun.count {
            // No record could tell of the damage, so that it is told of as one.
            let source = self.source(self.request.table, wrong.json)?;
            self.refused.push((source, wrong.error));
        }
        Ok(())
    }

    fn fail<E: Error>(&mut self, error: DecodeError) -> E {
        let text = E::custom(&error);
        self.fatal = Some(error);
        text
    }
}

impl Rewritten<'_> {
    /// Tells of the records in the sender's terms: `decoded` counts those that were rewritten only, and shows them as
    /// protobuf.
    pub(super) fn account(self, mut decoded: Decoded, body: &[u8], limits: DecodeLimits) -> Decoded {
        let refused_by_decoder = std::mem::take(&mut decoded.rejected).into_iter().filter_map(|rejected| {
            let source = self.records.get(rejected.index)?;
            Some((*source, in_camel_case(rejected.error)))
        });
        let mut refused: Vec<_> = self.refused.iter().cloned().chain(refused_by_decoder).collect();
        refused.sort_by_key(|(source, _)| source.index);
        // What was not UTF-8 is kept as it was sent.
        let bytes_of = |json: &str| body.get(place_in(self.text, json)).unwrap_or_default().to_vec();
        let mut budget = Budget::of(limits.decoded_bytes);
        decoded.rejected = refused
            .into_iter()
            .map(|(source, error)| {
                let record = bytes_of(source.json);
                let request =
                    source.place.and_then(|place| self.levels.request(place, &record, &mut budget, bytes_of));
                let (payload, content_type) = match request {
                    Some(request) => (request, self.types.json),
                    None => (record, JSON),
                };
                let table = source.table.to_owned();
                RejectedRecord { index: source.index, table, error, payload, content_type }
            })
            .collect();
        if self.snake_case > 0 {
            decoded.warnings.push(format!(
                "{} field names were in snake case, which OTLP/JSON does not allow: they were read as lowerCamelCase",
                self.snake_case
            ));
        }
        decoded
    }
}

/// Where the slice `part` of `text` lies in it.
fn place_in(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    start..start + part.len()
}

/// The field of an error as JSON names it; keys of attributes stay as they are.
fn in_camel_case(error: FieldError) -> FieldError {
    let mut in_keys = false;
    let segments: Vec<String> = error
        .field
        .split('.')
        .map(|segment| {
            let shown = if in_keys { segment.to_owned() } else { camel_case(segment) };
            in_keys |= matches!(segment, "attributes" | "filtered_attributes" | "metadata");
            shown
        })
        .collect();
    FieldError { field: segments.join("."), reason: error.reason }
}

/// How much there was when a level began.
#[derive(Debug, Clone, Copy)]
struct Begun {
    out: usize,
    records: usize,
    count: usize,
}

/// What is wrong with something that the records of a level share.
#[derive(Debug)]
struct Wrong<'a> {
    error: FieldError,
    /// The value at fault.
    json: &'a str,
}

/// Reads the fields of a level. What is wrong with those that its records share is returned.
fn read_level<'a, A: MapAccess<'a>>(
    rewriter: &mut Rewriter<'a>,
    message: &'static Message,
    mut object: A,
) -> Result<Option<Wrong<'a>>, A::Error> {
    let mut wrong: Option<Wrong<'a>> = None;
    while let Some(def) = object.next_key_seed(KeySeed { encoder: &mut rewriter.encoder, message })? {
        let Some(def) = def else {
            object.next_value::<IgnoredAny>()?;
            continue;
        };
        match def.kind {
            Kind::Record(message, table) => {
                object.next_value_seed(ListSeed { rewriter, def, item: Item::Record(message, table) })?;
            }
            Kind::Level(message) if def.repeated => {
                object.next_value_seed(ListSeed { rewriter, def, item: Item::Level(message) })?;
            }
            Kind::Level(message) => {
                let inner = object.next_value_seed(LevelSeed { rewriter, def, message })?;
                wrong = wrong
                    .or(inner.map(|Wrong { error, json }| Wrong { error: within(def.name, error), json }));
            }
            _ => {
                let json = object.next_value::<&RawValue>()?.get();
                rewriter.levels.shared(def.name, json);
                let result = if rewriter.take_damage(json) {
                    Err(FieldError::new(def.name, "is not valid UTF-8"))
                } else {
                    rewriter.encoder.field(def, json)
                };
                wrong = wrong.or(result.err().map(|error| Wrong { error, json }));
            }
        }
    }
    Ok(wrong)
}

/// Reads a request or an array of them.
struct BodyVisitor<'r, 'a> {
    rewriter: &'r mut Rewriter<'a>,
    in_array: bool,
}

impl<'a> DeserializeSeed<'a> for BodyVisitor<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for BodyVisitor<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an export request")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut requests: A) -> Result<(), A::Error> {
        let Self { rewriter, in_array } = self;
        if in_array {
            return Err(A::Error::custom("an array inside an array: expected an export request"));
        }
        while requests.next_element_seed(BodyVisitor { rewriter, in_array: true })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(self, mut request: A) -> Result<(), A::Error> {
        let Self { rewriter, .. } = self;
        while let Some(key) = request.next_key::<Cow<'a, str>>()? {
            match rewriter.encoder.lookup(rewriter.request.message, &key) {
                Some(def) => {
                    let Kind::Level(message) = def.kind else { continue };
                    let item = Item::Level(message);
                    request.next_value_seed(ListSeed { rewriter, def, item })?;
                }
                None => {
                    // Fields of newer versions are to be ignored, but another signal's data must not vanish.
                    let camel = camel_case(&key);
                    if let Some((name, address)) = ADDRESSES.iter().find(|(name, _)| *name == camel) {
                        let reason = format!("the request has {name}: send it to {address}");
                        return Err(rewriter.fail(DecodeError::Malformed(reason)));
                    }
                    request.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// What a list on the way to the records holds.
#[derive(Clone, Copy)]
enum Item {
    Record(&'static Message, &'static str),
    Level(&'static Message),
}

/// Reads a list of records or of levels.
struct ListSeed<'r, 'a> {
    rewriter: &'r mut Rewriter<'a>,
    def: &'static FieldDef,
    item: Item,
}

impl<'a> DeserializeSeed<'a> for ListSeed<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for ListSeed<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { rewriter, def, item } = self;
        match item {
            Item::Record(message, table) => {
                while let Some(json) = list.next_element::<&RawValue>()? {
                    rewriter.record(def, message, table, json.get())?;
                }
            }
            Item::Level(message) => loop {
                let begun = rewriter.begun();
                match list.next_element_seed(LevelSeed { rewriter, def, message })? {
                    None => break,
                    Some(None) => {}
                    Some(Some(wrong)) => rewriter.refuse_since(begun, wrong)?,
                }
            },
        }
        Ok(())
    }
}

/// Reads one level and everything below it.
struct LevelSeed<'r, 'a> {
    rewriter: &'r mut Rewriter<'a>,
    def: &'static FieldDef,
    message: &'static Message,
}

impl<'a> DeserializeSeed<'a> for LevelSeed<'_, 'a> {
    type Value = Option<Wrong<'a>>;

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for LevelSeed<'_, 'a> {
    type Value = Option<Wrong<'a>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'a>>(self, object: A) -> Result<Self::Value, A::Error> {
        let Self { rewriter, def, message } = self;
        let (level, count) = (rewriter.levels.begin(def), rewriter.count);
        let start = rewriter.encoder.begin(def.number);
        let wrong = read_level(rewriter, message, object)?;
        rewriter.encoder.end(start);
        rewriter.levels.end(level, rewriter.count > count);
        Ok(wrong)
    }
}
