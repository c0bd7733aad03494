//! Reading integers and runs of bytes off a slice, with every length checked.

/// Byte order of the machine that made the dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Every architecture but s390.
    #[default]
    Little,
    /// s390.
    Big,
}

/// A read past the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} needs {needed} bytes, {left} left")]
pub struct CursorError {
    /// What was being read.
    pub what: &'static str,
    /// Offset in bytes at which it starts.
    pub offset: u64,
    /// Bytes it needs.
    pub needed: u64,
    /// Bytes that are left.
    pub left: u64,
}

/// A place in a slice of evidence, moving forward; no method panics.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    order: ByteOrder,
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8], order: ByteOrder) -> Cursor<'a> {
        Cursor { bytes, at: 0, order }
    }

    /// Offset in bytes from the start of the slice.
    pub fn offset(&self) -> u64 {
        self.at as u64
    }

    /// Bytes that are left.
    pub fn left(&self) -> u64 {
        self.rest().len() as u64
    }

    /// Whether the end is reached.
    pub fn is_empty(&self) -> bool {
        self.left() == 0
    }

    /// All that is left, without moving.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// Fewer than `len` bytes are left; the cursor stays where it was.
    pub fn take(&mut self, len: u64, what: &'static str) -> Result<&'a [u8], CursorError> {
        let rest = self.rest();
        let taken = usize::try_from(len).ok().and_then(|len| rest.get(..len));
        match taken {
            Some(taken) => {
                self.at = self.at.saturating_add(taken.len());
                Ok(taken)
            }
            None => Err(CursorError { what, offset: self.offset(), needed: len, left: rest.len() as u64 }),
        }
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], CursorError> {
        let taken = self.take(N as u64, what)?;
        let mut array = [0; N];
        array.copy_from_slice(taken);
        Ok(array)
    }

    /// One unsigned 16-bit number.
    ///
    /// # Errors
    /// Fewer bytes are left.
    pub fn u16(&mut self, what: &'static str) -> Result<u16, CursorError> {
        let array = self.array(what)?;
        Ok(match self.order {
            ByteOrder::Little => u16::from_le_bytes(array),
            ByteOrder::Big => u16::from_be_bytes(array),
        })
    }

    /// One unsigned 32-bit number.
    ///
    /// # Errors
    /// Fewer bytes are left.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, CursorError> {
        let array = self.array(what)?;
        Ok(match self.order {
            ByteOrder::Little => u32::from_le_bytes(array),
            ByteOrder::Big => u32::from_be_bytes(array),
        })
    }

    /// One unsigned 64-bit number.
    ///
    /// # Errors
    /// Fewer bytes are left.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, CursorError> {
        let array = self.array(what)?;
        Ok(match self.order {
            ByteOrder::Little => u64::from_le_bytes(array),
            ByteOrder::Big => u64::from_be_bytes(array),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_past_the_end_names_what_and_leaves_the_cursor() {
        let mut cursor = Cursor::new(&[1, 0, 0, 0, 9], ByteOrder::Little);
        assert_eq!(cursor.u32("magic"), Ok(1));
        let err = cursor.u32("record length").unwrap_err();
        assert_eq!(err.to_string(), "record length needs 4 bytes, 1 left");
        assert_eq!(err.offset, 4);
        assert_eq!(cursor.take(1, "tail"), Ok(&[9][..]));
        assert!(cursor.is_empty());
        assert!(cursor.take(u64::MAX, "tail").is_err());
    }

    #[test]
    fn big_endian_numbers_are_read_as_such() {
        let mut cursor = Cursor::new(&[0x54, 0x56, 0x43, 0x19], ByteOrder::Big);
        assert_eq!(cursor.u32("magic"), Ok(0x5456_4319));
    }
}
