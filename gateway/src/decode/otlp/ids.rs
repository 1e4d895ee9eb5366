//! Trace and span identifiers and times: what OTLP carries in, what the tables hold out.

use crate::decode::FieldError;

/// Bytes of a trace id.
pub(super) const TRACE_ID: usize = 16;
/// Bytes of a span id.
pub(super) const SPAN_ID: usize = 8;

/// Lower-case hexadecimal digits of an identifier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Hex {
    digits: [u8; 2 * TRACE_ID],
    length: usize,
}

impl Hex {
    /// The digits; none of them when the identifier is absent.
    pub(super) fn as_str(&self) -> &str {
        self.digits.get(..self.length).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default()
    }

    /// Whether the identifier is absent.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn write(bytes: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = Self::default();
        for (pair, byte) in hex.digits.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            hex.length += 2;
        }
        hex
    }
}

/// An identifier of `length` bytes that may be absent: empty, or all zeros as some senders put it.
pub(super) fn optional(field: &str, bytes: &[u8], length: usize) -> Result<Hex, FieldError> {
    if bytes.iter().all(|&byte| byte == 0) && (bytes.is_empty() || bytes.len() == length) {
        return Ok(Hex::default());
    }
    as_sent(field, bytes, length)
}

/// An identifier of `length` bytes that must be there.
pub(super) fn required(field: &str, bytes: &[u8], length: usize) -> Result<Hex, FieldError> {
    let hex = optional(field, bytes, length)?;
    if hex.is_empty() {
        let given = if bytes.is_empty() { "is missing" } else { "is all zeros" };
        return Err(FieldError::new(field, format!("{given}: it must have {length} bytes, not all zero")));
    }
    Ok(hex)
}

/// An identifier of `length` bytes that may be empty, with zeros kept.
pub(super) fn as_sent(field: &str, bytes: &[u8], length: usize) -> Result<Hex, FieldError> {
    if !bytes.is_empty() && bytes.len() != length {
        return Err(FieldError::new(field, format!("has {} bytes instead of {length}", bytes.len())));
    }
    Ok(Hex::write(bytes))
}

/// A time, a count or another unsigned number, as the signed one that the stores have.
pub(super) fn signed(field: &str, value: u64) -> Result<i64, FieldError> {
    i64::try_from(value).map_err(|_| {
        FieldError::new(field, format!("{value} is above {}, the stores' largest integer", i64::MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_lower_case_hex_of_the_right_length() {
        let id = [0xAB, 0, 1, 2, 3, 4, 5, 0xFF];
        assert_eq!(required("span_id", &id, SPAN_ID).unwrap().as_str(), "ab000102030405ff");
        assert_eq!(optional("span_id", &[], SPAN_ID).unwrap().as_str(), "");
        assert_eq!(optional("span_id", &[0; 8], SPAN_ID).unwrap().as_str(), "");
        assert_eq!(as_sent("span_id", &[0; 8], SPAN_ID).unwrap().as_str(), "0000000000000000");
        for bytes in [&id[..7], &[0; 7], &[1; 16]] {
            assert!(optional("span_id", bytes, SPAN_ID).is_err(), "{bytes:?}");
        }
        for bytes in [&[][..], &[0; 8]] {
            assert!(required("span_id", bytes, SPAN_ID).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn numbers_above_the_signed_range_are_refused() {
        assert_eq!(signed("count", i64::MAX.cast_unsigned()), Ok(i64::MAX));
        assert!(signed("count", 1 << 63).is_err());
    }
}
