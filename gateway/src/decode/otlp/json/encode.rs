//! One JSON value in, the protobuf of one field out, by the tables of `schema`.
//!
//! No tree is built: serde_json's events become bytes at once. Its recursion limit of 128 levels ends a nesting bomb.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::numbers;
use super::schema::{FieldDef, Kind, Message};
use crate::decode::FieldError;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
/// Base64 of the standard alphabet, padded or not.
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
/// Base64 of the alphabet for URLs, padded or not.
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Wire types, see [`crate::decode::wire`].
#[derive(Clone, Copy)]
enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
    Fixed32 = 5,
}

/// Protobuf under construction.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    pub(super) out: Vec<u8>,
    /// Field names that came in snake case.
    pub(super) snake_case: usize,
    /// The fields around an error, innermost first.
    path: Vec<&'static str>,
    /// What is wrong, in our words; serde_json's own words apply when it is none.
    reason: Option<String>,
}

impl Encoder {
    /// Appends the fields of `message` that the object `json` has. After an error nothing is left of them.
    pub(super) fn message(&mut self, message: &'static Message, json: &str) -> Result<(), FieldError> {
        self.guarded(json, |encoder, json| {
            json.deserialize_map(MessageVisitor { encoder, message }).map(|_present| ())
        })
    }

    /// Appends the field `def` with the value `json`. After an error nothing is left of it.
    pub(super) fn field(&mut self, def: &'static FieldDef, json: &str) -> Result<(), FieldError> {
        self.guarded(json, |encoder, json| FieldSeed { encoder, def }.deserialize(json))
            .map_err(|error| crate::decode::any_value::within(def.name, error))
    }

    fn guarded<'de>(
        &mut self,
        json: &'de str,
        encode: impl FnOnce(
            &mut Self,
            &mut serde_json::Deserializer<serde_json::de::StrRead<'de>>,
        ) -> Result<(), serde_json::Error>,
    ) -> Result<(), FieldError> {
        let start = self.out.len();
        let mut json = serde_json::Deserializer::from_str(json);
        encode(self, &mut json).and_then(|()| json.end()).map_err(|error| {
            self.out.truncate(start);
            let path: Vec<&str> = self.path.drain(..).rev().collect();
            FieldError::new(
                path.join("."),
                self.reason.take().unwrap_or_else(|| shortened(&error.to_string())),
            )
        })
    }

    /// The field that a key of `message` names.
    pub(super) fn lookup(&mut self, message: &'static Message, key: &str) -> Option<&'static FieldDef> {
        message.field(key).or_else(|| {
            let def = message.field(&camel_case(key))?;
            self.snake_case += 1;
            Some(def)
        })
    }

    /// Begins a message; the place to hand to [`Encoder::end`].
    pub(super) fn begin(&mut self, number: u32) -> usize {
        self.key(number, WireType::Bytes);
        self.out.push(0);
        self.out.len()
    }

    /// Ends a message: writes its length where it began.
    pub(super) fn end(&mut self, start: usize) {
        let length = self.out.len().saturating_sub(start);
        let mut encoded = Vec::new();
        push_varint(&mut encoded, u64::try_from(length).unwrap_or(u64::MAX));
        if let ([byte], Some(place)) = (encoded.as_slice(), self.out.get_mut(start - 1)) {
            *place = *byte;
        } else {
            self.out.splice(start - 1..start, encoded);
        }
    }

    fn key(&mut self, number: u32, wire_type: WireType) {
        push_varint(&mut self.out, u64::from(number) << 3 | wire_type as u64);
    }

    fn bytes(&mut self, number: u32, bytes: &[u8]) {
        let start = self.begin(number);
        self.out.extend_from_slice(bytes);
        self.end(start);
    }

    fn fail<E: Error>(&mut self, reason: impl Into<String>) -> E {
        let reason = reason.into();
        let error = E::custom(&reason);
        self.reason = Some(reason);
        error
    }

    fn number<E: Error>(&mut self, def: &FieldDef, json: &str) -> Result<(), E> {
        let text = numbers::unquoted(json);
        match def.kind {
            Kind::Double => {
                let Some(value) = numbers::double(text) else {
                    return Err(self.fail(format!("{} is not a double", shown(json))));
                };
                self.key(def.number, WireType::Fixed64);
                self.out.extend_from_slice(&value.to_le_bytes());
                return Ok(());
            }
            // Enums and 32-bit integers as strings: proto3 allows the latter, OTLP forbids the former.
            Kind::Int32 if json.starts_with('"') && numbers::integer(text).is_none() => {
                return Err(self.fail(format!(
                    "{} is not an integer: OTLP/JSON has enums as integers only",
                    shown(json)
                )));
            }
            _ => {}
        }
        let Some(value) = numbers::integer(text) else {
            return Err(self.fail(format!("{} is not an integer", shown(json))));
        };
        match self.integer(def, value) {
            Some(()) => Ok(()),
            None => Err(self.fail(format!("{value} is out of range"))),
        }
    }

    fn integer(&mut self, def: &FieldDef, value: i128) -> Option<()> {
        match def.kind {
            Kind::Int32 => {
                let value = i64::from(i32::try_from(value).ok()?);
                self.varint(def, value.cast_unsigned());
            }
            Kind::Sint32 => {
                let value = i32::try_from(value).ok()?;
                self.varint(def, u64::from((value << 1 ^ value >> 31).cast_unsigned()));
            }
            Kind::Uint32 => self.varint(def, u64::from(u32::try_from(value).ok()?)),
            Kind::Int64 => self.varint(def, i64::try_from(value).ok()?.cast_unsigned()),
            Kind::Uint64 => self.varint(def, u64::try_from(value).ok()?),
            Kind::Fixed32 => {
                let value = u32::try_from(value).ok()?;
                self.key(def.number, WireType::Fixed32);
                self.out.extend_from_slice(&value.to_le_bytes());
            }
            Kind::Fixed64 => {
                let value = u64::try_from(value).ok()?;
                self.key(def.number, WireType::Fixed64);
                self.out.extend_from_slice(&value.to_le_bytes());
            }
            _ => {
                let value = i64::try_from(value).ok()?;
                self.key(def.number, WireType::Fixed64);
                self.out.extend_from_slice(&value.to_le_bytes());
            }
        }
        Some(())
    }

    fn varint(&mut self, def: &FieldDef, value: u64) {
        self.key(def.number, WireType::Varint);
        push_varint(&mut self.out, value);
    }

    fn text<E: Error>(&mut self, def: &FieldDef, text: &str) -> Result<(), E> {
        let decoded = match def.kind {
            Kind::Hex => hex(text).ok_or("hexadecimal digits"),
            Kind::Base64 => {
                let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
                engine.decode(text).map_err(|_| "base64")
            }
            _ => {
                self.bytes(def.number, text.as_bytes());
                return Ok(());
            }
        };
        match decoded {
            Ok(bytes) => {
                self.bytes(def.number, &bytes);
                Ok(())
            }
            Err(wanted) => Err(self.fail(format!("{} is not {wanted}", shown(text)))),
        }
    }
}

/// Reads a field's value.
struct FieldSeed<'e> {
    encoder: &'e mut Encoder,
    def: &'static FieldDef,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        let Self { encoder, def } = self;
        if def.repeated {
            return json.deserialize_any(ListVisitor { encoder, def });
        }
        value(encoder, def, json, false)
    }
}

/// Reads one value of a field; `null` means that the field is absent, but an element of a list is always there.
fn value<'de, D: Deserializer<'de>>(
    encoder: &mut Encoder,
    def: &'static FieldDef,
    json: D,
    in_list: bool,
) -> Result<(), D::Error> {
    match def.kind {
        Kind::Text | Kind::Hex | Kind::Base64 => json.deserialize_any(TextVisitor { encoder, def }),
        Kind::Bool => json.deserialize_any(BoolVisitor { encoder, def }),
        Kind::Message(message) => {
            let begun = encoder.out.len();
            let start = encoder.begin(def.number);
            if json.deserialize_any(MessageVisitor { encoder, message })? || in_list {
                encoder.end(start);
            } else {
                encoder.out.truncate(begun);
            }
            Ok(())
        }
        _ => match <&RawValue as serde::Deserialize>::deserialize(json)?.get() {
            "null" if !in_list => Ok(()),
            number => encoder.number(def, number),
        },
    }
}

struct ListVisitor<'e> {
    encoder: &'e mut Encoder,
    def: &'static FieldDef,
}

impl<'de> Visitor<'de> for ListVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(ElementSeed { encoder: self.encoder, def: self.def })?.is_some() {}
        Ok(())
    }
}

struct ElementSeed<'e> {
    encoder: &'e mut Encoder,
    def: &'static FieldDef,
}

impl<'de> DeserializeSeed<'de> for ElementSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        value(self.encoder, self.def, json, true)
    }
}

/// Reads an object; false for `null`.
struct MessageVisitor<'e> {
    encoder: &'e mut Encoder,
    message: &'static Message,
}

impl<'de> Visitor<'de> for MessageVisitor<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<bool, A::Error> {
        let Self { encoder, message } = self;
        while let Some(def) = object.next_key_seed(KeySeed { encoder, message })? {
            let Some(def) = def else {
                object.next_value::<IgnoredAny>()?;
                continue;
            };
            if let Err(error) = object.next_value_seed(FieldSeed { encoder, def }) {
                encoder.path.push(def.name);
                return Err(error);
            }
        }
        Ok(true)
    }
}

/// Reads a key: the field it names, or none when it is unknown, which is to be ignored.
pub(super) struct KeySeed<'e> {
    pub(super) encoder: &'e mut Encoder,
    pub(super) message: &'static Message,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Option<&'static FieldDef>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed<'_> {
    type Value = Option<&'static FieldDef>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.encoder.lookup(self.message, key))
    }
}

struct TextVisitor<'e> {
    encoder: &'e mut Encoder,
    def: &'static FieldDef,
}

impl<'de> Visitor<'de> for TextVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.encoder.text(self.def, text)
    }
}

struct BoolVisitor<'e> {
    encoder: &'e mut Encoder,
    def: &'static FieldDef,
}

impl<'de> Visitor<'de> for BoolVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.encoder.varint(self.def, u64::from(value));
        Ok(())
    }
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [byte, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(byte & 0x7f);
            return;
        }
        out.push(byte | 0x80);
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

/// `trace_id` as `traceId`.
pub(super) fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for letter in name.chars() {
        match letter {
            '_' => upper = true,
            _ if upper => {
                camel.push(letter.to_ascii_uppercase());
                upper = false;
            }
            _ => camel.push(letter),
        }
    }
    camel
}

/// The beginning of a value, for an error.
fn shown(json: &str) -> String {
    beginning(json, 64)
}

/// An error of serde_json, which may show a value of the sender's at any length.
pub(super) fn shortened(error: &str) -> String {
    beginning(error, 200)
}

fn beginning(text: &str, chars: usize) -> String {
    let mut beginning: String = text.chars().take(chars).collect();
    if beginning.len() < text.len() {
        beginning.push_str("..");
    }
    beginning
}
