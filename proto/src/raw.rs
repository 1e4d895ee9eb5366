//! A message as it came: bytes in, the same bytes out.
//!
//! A generated message takes a few hundred bytes of memory for two bytes on the wire, and one bad string in it spoils
//! the whole. Whoever reads large messages of strangers reads the bytes instead.

use bytes::{Buf, BufMut, Bytes};
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType};

/// The bytes of a message of any type, in place of the message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawMessage(pub Bytes);

impl prost::Message for RawMessage {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        _tag: u32,
        _wire_type: WireType,
        _buf: &mut impl Buf,
        _context: DecodeContext,
    ) -> Result<(), DecodeError> {
        // Only a message inside of another message is read field by field.
        Ok(())
    }

    fn merge(&mut self, mut buf: impl Buf) -> Result<(), DecodeError> {
        self.0 = buf.copy_to_bytes(buf.remaining());
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn any_bytes_come_back_as_they_are() {
        let bytes = Bytes::from_static(&[0xff, 0, 1]);
        let message = RawMessage::decode(bytes.clone()).unwrap();
        assert_eq!(message.0, bytes);
        assert_eq!(message.encode_to_vec(), bytes);
    }
}
