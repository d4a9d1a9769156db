//! Little-endian integers and variable-length integers in byte buffers.

use crate::error::Malformed;

/// Appends `value` in groups of seven bits, lowest first; the top bit of a byte says that another follows.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Appends the `length` low bytes of `value`.
#[inline]
pub(crate) fn put_low(out: &mut Vec<u8>, value: u64, length: usize) {
    out.extend_from_slice(&value.to_le_bytes()[..length]);
}

/// Maps small positive and negative differences to small numbers.
#[inline]
pub(crate) const fn zigzag(difference: u64) -> u64 {
    (difference << 1) ^ ((difference.cast_signed() >> 63).cast_unsigned())
}

/// The inverse of [`zigzag`].
#[inline]
pub(crate) const fn unzigzag(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

/// The number of bytes that hold `value` without its leading zero bytes (0 for 0).
#[inline]
pub(crate) const fn significant(value: u64) -> usize {
    (64 - value.leading_zeros() as usize).div_ceil(8)
}

/// A position in a decompressed section or column.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Starts at byte `at`, which lies within `bytes`.
    pub(crate) const fn starting(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Goes to byte `at`, or to the end where there are fewer.
    pub(crate) fn go_to(&mut self, at: usize) {
        self.at = at.min(self.bytes.len());
    }

    /// Bytes read so far.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The error that something else was expected at this place.
    #[cold]
    pub(crate) const fn expected(&self, expected: &'static str) -> Malformed {
        Malformed { at: self.at, expected }
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.expected("another byte"))?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..length).ok_or_else(|| self.expected("more bytes"))?;
        self.at += length;
        Ok(taken)
    }

    /// An integer in `length` bytes, at most 8.
    #[inline]
    pub(crate) fn low(&mut self, length: usize) -> Result<u64, Malformed> {
        debug_assert!(length <= 8);
        if let Some(eight) = self.bytes[self.at..].first_chunk::<8>() {
            self.at += length;
            let mask = if length == 0 { 0 } else { u64::MAX >> (64 - 8 * length) };
            return Ok(u64::from_le_bytes(*eight) & mask);
        }
        let mut eight = [0; 8];
        eight[..length].copy_from_slice(self.take(length)?);
        Ok(u64::from_le_bytes(eight))
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let rest = &self.bytes[self.at..];
        let array = *rest.first_chunk::<N>().ok_or_else(|| self.expected("more bytes"))?;
        self.at += N;
        Ok(array)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.expected("an integer of at most ten bytes"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_integer_returns_from_its_variable_length_form(value: u64, small in 0u64..300) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            put_varint(&mut out, small);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.varint().unwrap(), value);
            prop_assert_eq!(cursor.varint().unwrap(), small);
            prop_assert!(cursor.is_empty());
        }

        #[test]
        fn a_difference_returns_from_its_zigzag_form(value: u64) {
            prop_assert_eq!(unzigzag(zigzag(value)), value);
        }

        #[test]
        fn the_significant_bytes_of_an_integer_hold_it(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_low(&mut out, value, significant(value));
            prop_assert_eq!(Cursor::new(&out).low(out.len()).unwrap(), value);
        }
    }
}
