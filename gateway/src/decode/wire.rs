//! Protobuf's wire format: bytes in, fields out, borrowed from the bytes.
//!
//! | wire type | what follows the tag |
//! |---|---|
//! | 0 | varint of 1 to 10 bytes |
//! | 1 | 8 bytes, little endian |
//! | 2 | varint length, then as many bytes |
//! | 3, 4 | start and end of a group, which no OTLP message has: skipped |
//! | 5 | 4 bytes, little endian |
//!
//! Nothing is allocated and nothing is read past the end, whatever a length claims. Source: the encoding page of
//! the Protocol Buffers documentation; where that leaves a choice, the strictness is prost's.

use std::borrow::Cow;

use crate::decode::FieldError;

/// Deepest nesting of groups that is skipped.
const MAX_GROUP_DEPTH: usize = 32;
/// Largest field number, 2^29 - 1.
const MAX_FIELD_NUMBER: u64 = (1 << 29) - 1;

/// Reads a message field by field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Field<'a> {
    /// The field's number in the message.
    pub(super) number: u32,
    value: Value<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Group,
    Fixed32(u32),
}

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("it ends in the middle of a field")]
    Truncated,
    #[error("a varint has more than 64 bits")]
    Varint,
    #[error("a field number is not between 1 and 536870911")]
    FieldNumber,
    #[error("a field has the unknown wire type {0}")]
    WireType(u64),
    #[error("a group ends that has not begun, or groups nest deeper than {MAX_GROUP_DEPTH} levels")]
    Group,
}

impl From<Broken> for FieldError {
    fn from(broken: Broken) -> Self {
        Self::new("", format!("is not valid protobuf: {broken}"))
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The bytes that were not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next field; none at the end of the message.
    #[inline]
    pub(super) fn field(&mut self) -> Result<Option<Field<'a>>, Broken> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = self.tag()?;
        let value = match wire_type {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Broken::Truncated)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Broken::Truncated)?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            3 => {
                self.skip_group(number, MAX_GROUP_DEPTH)?;
                Value::Group
            }
            4 => return Err(Broken::Group),
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(Broken::WireType(other)),
        };
        Ok(Some(Field { number, value }))
    }

    /// Checks that the whole message can be read field by field.
    pub(super) fn check(mut self) -> Result<(), Broken> {
        while self.field()?.is_some() {}
        Ok(())
    }

    #[inline]
    fn tag(&mut self) -> Result<(u32, u64), Broken> {
        let key = self.varint()?;
        match (u32::try_from(key >> 3), key & 7) {
            (Ok(number), wire_type) if number != 0 && key >> 3 <= MAX_FIELD_NUMBER => Ok((number, wire_type)),
            _ => Err(Broken::FieldNumber),
        }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Broken> {
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            Some(_) => self.long_varint(),
            None => Err(Broken::Truncated),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Broken> {
        let mut value = 0;
        for (at, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                // The tenth byte holds the last of 64 bits.
                if at == 9 && byte > 1 {
                    return Err(Broken::Varint);
                }
                self.rest = self.rest.get(at + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { Broken::Truncated } else { Broken::Varint })
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(Broken::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn skip_group(&mut self, group: u32, depth: usize) -> Result<(), Broken> {
        if depth == 0 {
            return Err(Broken::Group);
        }
        loop {
            let before = *self;
            match self.tag()? {
                (number, 4) if number == group => return Ok(()),
                (number, 3) => self.skip_group(number, depth - 1)?,
                _ => {
                    *self = before;
                    self.field()?;
                }
            }
        }
    }
}

// === impl Field ===

impl<'a> Field<'a> {
    /// A message or bytes.
    #[inline]
    pub(super) fn bytes(&self, name: &str) -> Result<&'a [u8], FieldError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong_type(name, "length-delimited")),
        }
    }

    /// A string.
    #[inline]
    pub(super) fn text(&self, name: &str) -> Result<&'a str, FieldError> {
        std::str::from_utf8(self.bytes(name)?).map_err(|_| FieldError::new(name, "is not valid UTF-8"))
    }

    /// A `uint64`, or the bits of any other varint.
    #[inline]
    pub(super) fn varint(&self, name: &str) -> Result<u64, FieldError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(self.wrong_type(name, "varint")),
        }
    }

    /// An `int32` or an enum: the low 32 bits, as protobuf prescribes.
    pub(super) fn int32(&self, name: &str) -> Result<i32, FieldError> {
        Ok(low_bits(self.varint(name)?).cast_signed())
    }

    /// A `uint32`.
    pub(super) fn uint32(&self, name: &str) -> Result<u32, FieldError> {
        Ok(low_bits(self.varint(name)?))
    }

    /// A `sint32`.
    pub(super) fn sint32(&self, name: &str) -> Result<i32, FieldError> {
        let bits = self.uint32(name)?;
        Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed())
    }

    /// A `bool`.
    pub(super) fn bool(&self, name: &str) -> Result<bool, FieldError> {
        Ok(self.varint(name)? != 0)
    }

    /// A `fixed64`, or the bits of a `sfixed64`.
    #[inline]
    pub(super) fn fixed64(&self, name: &str) -> Result<u64, FieldError> {
        match self.value {
            Value::Fixed64(value) => Ok(value),
            _ => Err(self.wrong_type(name, "64 bits")),
        }
    }

    /// A `fixed32`.
    pub(super) fn fixed32(&self, name: &str) -> Result<u32, FieldError> {
        match self.value {
            Value::Fixed32(value) => Ok(value),
            _ => Err(self.wrong_type(name, "32 bits")),
        }
    }

    /// A `double`.
    #[inline]
    pub(super) fn double(&self, name: &str) -> Result<f64, FieldError> {
        self.fixed64(name).map(f64::from_bits)
    }

    /// Appends a `repeated fixed64` or the bits of a `repeated double`, packed or one by one; `most` elements in all.
    pub(super) fn extend_fixed64<T>(
        &self,
        name: &str,
        list: &mut Vec<T>,
        most: usize,
        convert: impl Fn(u64) -> Result<T, FieldError>,
    ) -> Result<(), FieldError> {
        let Value::Bytes(packed) = self.value else {
            check_count(name, list.len() + 1, most)?;
            list.push(convert(self.fixed64(name)?)?);
            return Ok(());
        };
        let (elements, rest) = packed.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(FieldError::new(name, "its packed length is not a multiple of 8"));
        }
        check_count(name, list.len() + elements.len(), most)?;
        for &element in elements {
            list.push(convert(u64::from_le_bytes(element))?);
        }
        Ok(())
    }

    /// Appends a `repeated uint64`, packed or one by one; `most` elements in all.
    pub(super) fn extend_varints<T>(
        &self,
        name: &str,
        list: &mut Vec<T>,
        most: usize,
        convert: impl Fn(u64) -> Result<T, FieldError>,
    ) -> Result<(), FieldError> {
        let Value::Bytes(packed) = self.value else {
            check_count(name, list.len() + 1, most)?;
            list.push(convert(self.varint(name)?)?);
            return Ok(());
        };
        let mut elements = Reader::new(packed);
        while !elements.rest.is_empty() {
            check_count(name, list.len() + 1, most)?;
            let element = elements
                .varint()
                .map_err(|broken| FieldError::new(name, format!("is not valid protobuf: {broken}")))?;
            list.push(convert(element)?);
        }
        Ok(())
    }

    fn wrong_type(&self, name: &str, wanted: &str) -> FieldError {
        let given = match self.value {
            Value::Varint(_) => "varint",
            Value::Fixed64(_) => "64 bits",
            Value::Bytes(_) => "length-delimited",
            Value::Group => "group",
            Value::Fixed32(_) => "32 bits",
        };
        FieldError::new(name, format!("has wire type {given} instead of {wanted}"))
    }
}

fn low_bits(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn check_count(name: &str, count: usize, most: usize) -> Result<(), FieldError> {
    if count > most {
        return Err(FieldError::new(
            name,
            format!("has {count} or more elements: at most {most} are allowed"),
        ));
    }
    Ok(())
}

/// A message field that should come once. Protobuf merges one that comes again, and merging two messages is the
/// same as reading their bytes one after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Merged<'a>(Option<Cow<'a, [u8]>>);

impl<'a> Merged<'a> {
    /// One more occurrence.
    #[inline]
    pub(super) fn push(&mut self, bytes: &'a [u8]) {
        match &mut self.0 {
            None => self.0 = Some(Cow::Borrowed(bytes)),
            Some(earlier) => earlier.to_mut().extend_from_slice(bytes),
        }
    }

    /// The message; none when it never came.
    #[inline]
    pub(super) fn get(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &[u8]) -> Result<Vec<Field<'_>>, Broken> {
        let mut reader = Reader::new(message);
        let mut fields = Vec::new();
        while let Some(field) = reader.field()? {
            fields.push(field);
        }
        Ok(fields)
    }

    #[test]
    fn every_wire_type_is_read() {
        let message = [
            0x08, 0x96, 0x01, // 1: varint 150
            0x11, 1, 0, 0, 0, 0, 0, 0, 0, // 2: 64 bits
            0x1a, 2, b'h', b'i', // 3: bytes
            0x23, 0x2b, 0x2c, 0x30, 1, 0x24, // 4: group with a group and a varint inside
            0x3d, 2, 0, 0, 0, // 7: 32 bits
        ];
        let fields = fields(&message).unwrap();
        assert_eq!(fields.iter().map(|field| field.number).collect::<Vec<_>>(), [1, 2, 3, 4, 7]);
        assert_eq!(fields[0].varint("a"), Ok(150));
        assert_eq!(fields[1].fixed64("b"), Ok(1));
        assert_eq!(fields[2].text("c"), Ok("hi"));
        assert_eq!(fields[4].fixed32("e"), Ok(2));
        assert_eq!(
            fields[3].bytes("d").unwrap_err().to_string(),
            "d: has wire type group instead of length-delimited"
        );
    }

    #[test]
    fn broken_messages_are_named() {
        let eleven_bytes = [0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
        let too_large = [0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2];
        for (message, broken) in [
            (&[0x08][..], Broken::Truncated),
            (&[0x08, 0x80], Broken::Truncated),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1], Broken::Truncated),
            (&[0x09, 1, 2, 3], Broken::Truncated),
            (&[0x0b, 0x08, 1], Broken::Truncated),
            (&eleven_bytes, Broken::Varint),
            (&too_large, Broken::Varint),
            (&[0x00, 1], Broken::FieldNumber),
            (&[0x0e], Broken::WireType(6)),
            (&[0x0c], Broken::Group),
            (&[0x0b, 0x14], Broken::Group),
            (&[0x0b; 100], Broken::Group),
        ] {
            assert_eq!(fields(message).unwrap_err(), broken, "{message:x?}");
        }
    }

    #[test]
    fn signed_integers_follow_their_encoding() {
        let field = |value| Field { number: 1, value: Value::Varint(value) };
        assert_eq!(field(u64::MAX).int32("a"), Ok(-1));
        assert_eq!(field(0).sint32("a"), Ok(0));
        assert_eq!(field(1).sint32("a"), Ok(-1));
        assert_eq!(field(0xffff_fffe).sint32("a"), Ok(i32::MAX));
        assert_eq!(field(0xffff_ffff).sint32("a"), Ok(i32::MIN));
    }

    #[test]
    fn repeated_scalars_may_be_packed_or_not() {
        let message = [0x0a, 3, 1, 2, 0x80, 0x08, 5, 0x0a, 1, 9];
        let mut list = Vec::new();
        let fields = fields(&message).unwrap();
        assert!(fields[0].extend_varints("a", &mut list, 9, Ok).is_err(), "the last element is cut off");
        list.clear();
        for field in &fields[1..] {
            field.extend_varints("a", &mut list, 9, Ok).unwrap();
        }
        assert_eq!(list, [5, 9]);
        assert!(fields[1].extend_varints("a", &mut list, 2, Ok).is_err(), "one more than allowed");
    }
}
