//! Requests without the price of encoding: an encoded batch with placeholders in, a request with its own times and ids
//! out.
//!
//! A batch is encoded once, with a [`Field`]'s marker wherever a request needs a value of its own. Every marker is as
//! long as each value that takes its place, so that a request is a copy of the bytes with some of them overwritten;
//! lengths, offsets and checks of the encoding stay right. What the gateway has to do for it is the same.

use anyhow::{Result, bail};
use bytes::Bytes;
use chrono::DateTime;

use crate::identity::{self, FIRST_SEQUENCE, RECORDS_PER_TRACE, RunId};

/// A place in a record that is stamped anew for every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Time, nanoseconds, 8 bytes little endian.
    Time,
    /// Time at which a log was collected, as [`Field::Time`].
    ObservedTime,
    /// Time at which a span ended, as [`Field::Time`].
    EndTime,
    /// Time, nanoseconds, 19 decimal digits.
    TimeDigits,
    /// Time at which a log was collected, as [`Field::TimeDigits`].
    ObservedTimeDigits,
    /// Time at which a span ended, as [`Field::TimeDigits`].
    EndTimeDigits,
    /// Time, RFC 3339 in UTC with nine digits after the point, 30 characters.
    TimeText,
    /// Trace id, 16 bytes.
    TraceId,
    /// Span id, 8 bytes.
    SpanId,
    /// Span id of the first span of the trace, 8 bytes.
    ParentId,
    /// Trace id, 32 hex digits.
    TraceIdHex,
    /// Span id, 16 hex digits.
    SpanIdHex,
    /// Span id of the first span of the trace, 16 hex digits.
    ParentIdHex,
    /// Sequence number, a double, 8 bytes little endian.
    ValueDouble,
    /// Sequence number, an integer, 8 bytes little endian.
    ValueInt,
    /// Sequence number, 13 decimal digits.
    ValueDigits,
}

/// The bytes of an encoded batch and where to stamp them.
#[derive(Debug)]
pub struct Template {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    records: u64,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    offset: usize,
    /// Which record of the batch.
    position: u64,
    field: Field,
}

impl Field {
    /// The time marker as a number, for encoders that take one.
    pub const TIME: u64 = 1_777_777_777_123_456_781;
    /// The marker of [`Field::ObservedTime`] as a number.
    pub const OBSERVED_TIME: u64 = 1_777_777_777_123_456_782;
    /// The marker of [`Field::EndTime`] as a number.
    pub const END_TIME: u64 = 1_777_777_777_123_456_783;
    /// The value marker as a number.
    pub const VALUE: u64 = 8_123_456_789_871;
    /// The marker of [`Field::TimeText`].
    pub const TIME_TEXT: &'static str = "2177-07-17T17:17:17.171717171Z";
    /// The marker of [`Field::TraceId`].
    pub const TRACE_ID: [u8; 16] = *b"\xf1\x7e\x5c\xa1trace-marker";
    /// The marker of [`Field::SpanId`].
    pub const SPAN_ID: [u8; 8] = *b"\xf2\x7e\x5c\xa2span";
    /// The marker of [`Field::ParentId`].
    pub const PARENT_ID: [u8; 8] = *b"\xf3\x7e\x5c\xa3prnt";

    /// What an encoder writes in its place.
    pub fn marker(self) -> Vec<u8> {
        match self {
            Self::Time => Self::TIME.to_le_bytes().to_vec(),
            Self::ObservedTime => Self::OBSERVED_TIME.to_le_bytes().to_vec(),
            Self::EndTime => Self::END_TIME.to_le_bytes().to_vec(),
            Self::TimeDigits => Self::TIME.to_string().into_bytes(),
            Self::ObservedTimeDigits => Self::OBSERVED_TIME.to_string().into_bytes(),
            Self::EndTimeDigits => Self::END_TIME.to_string().into_bytes(),
            Self::TimeText => Self::TIME_TEXT.as_bytes().to_vec(),
            Self::TraceId => Self::TRACE_ID.to_vec(),
            Self::SpanId => Self::SPAN_ID.to_vec(),
            Self::ParentId => Self::PARENT_ID.to_vec(),
            Self::TraceIdHex => hex(&Self::TRACE_ID).into_bytes(),
            Self::SpanIdHex => hex(&Self::SPAN_ID).into_bytes(),
            Self::ParentIdHex => hex(&Self::PARENT_ID).into_bytes(),
            Self::ValueDouble => (Self::VALUE as f64).to_le_bytes().to_vec(),
            Self::ValueInt => Self::VALUE.to_le_bytes().to_vec(),
            Self::ValueDigits => Self::VALUE.to_string().into_bytes(),
        }
    }

    /// The marker of a field that is text.
    pub fn marker_text(self) -> String {
        String::from_utf8_lossy(&self.marker()).into_owned()
    }
}

impl Template {
    /// Finds the markers of these fields. With each field come the places in the batch of the records that have it,
    /// in the order in which they were encoded; a marker that is missing or occurs too often is an error.
    pub fn new(bytes: Vec<u8>, records: usize, fields: &[(Field, Vec<usize>)]) -> Result<Self> {
        let mut slots = Vec::with_capacity(fields.iter().map(|(_, positions)| positions.len()).sum());
        for (field, positions) in fields {
            let offsets = find_all(&bytes, &field.marker());
            if offsets.len() != positions.len() {
                bail!(
                    "{field:?} occurs {} times in the encoded batch, not {}",
                    offsets.len(),
                    positions.len()
                );
            }
            let found = offsets.into_iter().zip(positions);
            slots.extend(found.map(|(offset, &position)| Slot {
                offset,
                position: position as u64,
                field: *field,
            }));
        }
        // The order of the bytes: stamping walks through memory once.
        slots.sort_unstable_by_key(|slot| slot.offset);
        Ok(Self { bytes, slots, records: records as u64 })
    }

    /// Records in a request.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Bytes of a request.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether a request is empty, which it is not.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The request with this number of a run. Its records are one nanosecond apart, the first at `now_nanos`.
    pub fn stamp(&self, run: RunId, request: u64, now_nanos: u64) -> Bytes {
        let mut bytes = self.bytes.clone();
        let first = FIRST_SEQUENCE + request * self.records;
        let mut text = TimeText::default();
        for slot in &self.slots {
            let sequence = first + slot.position;
            let root = sequence - slot.position % RECORDS_PER_TRACE;
            let time = now_nanos + slot.position;
            let end = time + identity::duration_nanos(slot.position);
            let into = &mut bytes[slot.offset..];
            match slot.field {
                Field::Time | Field::ObservedTime => put(into, &time.to_le_bytes()),
                Field::EndTime => put(into, &end.to_le_bytes()),
                Field::TimeDigits | Field::ObservedTimeDigits => put_digits::<19>(into, time),
                Field::EndTimeDigits => put_digits::<19>(into, end),
                Field::TimeText => put(into, text.of(time)),
                Field::TraceId => put(into, &identity::trace_id(run, root)),
                Field::SpanId => put(into, &identity::span_id(sequence)),
                Field::ParentId => put(into, &identity::span_id(root)),
                Field::TraceIdHex => put_hex(into, &identity::trace_id(run, root)),
                Field::SpanIdHex => put_hex(into, &identity::span_id(sequence)),
                Field::ParentIdHex => put_hex(into, &identity::span_id(root)),
                Field::ValueDouble => put(into, &(sequence as f64).to_le_bytes()),
                Field::ValueInt => put(into, &sequence.to_le_bytes()),
                Field::ValueDigits => put_digits::<13>(into, sequence),
            }
        }
        Bytes::from(bytes)
    }
}

/// Writes times as text; the seconds, which neighbours share, only when they change.
#[derive(Default)]
struct TimeText {
    seconds: u64,
    text: Vec<u8>,
}

impl TimeText {
    fn of(&mut self, nanos: u64) -> &[u8] {
        const SECOND: u64 = 1_000_000_000;
        let seconds = nanos / SECOND;
        if self.text.is_empty() || seconds != self.seconds {
            self.seconds = seconds;
            let time = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
            let text = time.unwrap_or_default().format("%Y-%m-%dT%H:%M:%S.000000000Z").to_string();
            self.text = text.into_bytes();
        }
        put_digits::<9>(&mut self.text[20..], nanos % SECOND);
        &self.text
    }
}

fn put(into: &mut [u8], bytes: &[u8]) {
    into[..bytes.len()].copy_from_slice(bytes);
}

fn put_digits<const WIDTH: usize>(into: &mut [u8], mut number: u64) {
    for digit in into[..WIDTH].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn put_hex(into: &mut [u8], bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in into.chunks_exact_mut(2).zip(bytes) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = vec![0; bytes.len() * 2];
    put_hex(&mut text, bytes);
    String::from_utf8_lossy(&text).into_owned()
}

fn find_all(bytes: &[u8], marker: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(marker.len()).enumerate();
    windows.filter(|(_, window)| *window == marker).map(|(offset, _)| offset).collect()
}

#[cfg(test)]
mod tests;
