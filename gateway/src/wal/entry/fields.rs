//! Fields of a body, one after the other: written into a buffer, and read back within its bounds.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::EntryError;

/// The version of a layout that says nothing else.
const LAYOUT: u8 = 1;

/// Begins a body.
pub(super) fn begin(capacity: usize) -> BytesMut {
    begin_layout(LAYOUT, capacity)
}

/// Begins a body of a later layout.
pub(super) fn begin_layout(layout: u8, capacity: usize) -> BytesMut {
    let mut body = BytesMut::with_capacity(capacity);
    body.put_u8(layout);
    body
}

/// Writes a text of at most 255 bytes.
pub(super) fn put_text(body: &mut BytesMut, what: &'static str, text: &str) -> Result<(), EntryError> {
    body.put_u8(length(what, text.len())?);
    body.put_slice(text.as_bytes());
    Ok(())
}

/// A length as the format's integer, if it fits.
pub(super) fn length<N: TryFrom<usize> + TryInto<usize> + Max>(
    what: &'static str,
    length: usize,
) -> Result<N, EntryError> {
    N::try_from(length).map_err(|_| EntryError::TooLong {
        what,
        length,
        most: N::MAX.try_into().unwrap_or(usize::MAX),
    })
}

/// The greatest value of an integer.
pub(super) trait Max {
    const MAX: Self;
}

impl Max for u8 {
    const MAX: Self = Self::MAX;
}

impl Max for u16 {
    const MAX: Self = Self::MAX;
}

impl Max for u32 {
    const MAX: Self = Self::MAX;
}

/// Reads a body from its beginning to its end.
#[derive(Debug)]
pub(super) struct Fields {
    rest: Bytes,
    /// Bytes read so far.
    at: usize,
}

impl Fields {
    /// Checks the layout's version.
    pub(super) fn new(kind: u8, body: &Bytes) -> Result<Self, EntryError> {
        Ok(Self::up_to_layout(LAYOUT, kind, body)?.0)
    }

    /// Reads the layout's version, which may be up to `newest`.
    pub(super) fn up_to_layout(newest: u8, kind: u8, body: &Bytes) -> Result<(Self, u8), EntryError> {
        let mut fields = Self { rest: body.clone(), at: 0 };
        match fields.u8()? {
            layout if (LAYOUT..=newest).contains(&layout) => Ok((fields, layout)),
            layout => Err(EntryError::Layout { kind, layout, newest }),
        }
    }

    /// The next `length` bytes, without copying.
    pub(super) fn take(&mut self, length: usize) -> Result<Bytes, EntryError> {
        if length > self.rest.len() {
            return Err(malformed(format!(
                "{length} bytes are announced at byte {} and {} are there",
                self.at,
                self.rest.len()
            )));
        }
        self.at += length;
        Ok(self.rest.split_to(length))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        let bytes = self.take(N)?;
        bytes.first_chunk().copied().ok_or_else(|| malformed("it is cut off".to_owned()))
    }

    pub(super) fn u8(&mut self) -> Result<u8, EntryError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, EntryError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, EntryError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, EntryError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64, EntryError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(super) fn u128(&mut self) -> Result<u128, EntryError> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    /// A length of bytes or items as the machine counts.
    pub(super) fn length(&mut self) -> Result<usize, EntryError> {
        Ok(usize::try_from(self.u32()?).unwrap_or(usize::MAX))
    }

    /// A text of at most 255 bytes.
    pub(super) fn text(&mut self) -> Result<String, EntryError> {
        let length = usize::from(self.u8()?);
        let bytes = self.take(length)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| malformed("a text is not UTF-8".to_owned()))?;
        Ok(text.to_owned())
    }

    /// A list whose items take at least `least` bytes each, so that no memory is taken for what cannot be there.
    pub(super) fn list<T>(
        &mut self,
        count: usize,
        least: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, EntryError>,
    ) -> Result<Vec<T>, EntryError> {
        if count > self.rest.len() / least {
            return Err(malformed(format!(
                "{count} items are announced at byte {} and {} bytes are there",
                self.at,
                self.rest.len()
            )));
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// Skips the zeros up to a multiple of `alignment`.
    pub(super) fn align(&mut self, alignment: usize) -> Result<(), EntryError> {
        let padding = self.take(self.at.next_multiple_of(alignment) - self.at)?;
        if padding.iter().any(|&byte| byte != 0) {
            return Err(malformed(format!("the filling before byte {} is not zero", self.at)));
        }
        Ok(())
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), EntryError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(malformed(format!("{} bytes follow its end", self.rest.len())))
    }
}

pub(super) fn malformed(reason: String) -> EntryError {
    EntryError::Malformed(reason)
}
