//! The widths in which memory is read and written.

mod sealed {
    pub trait Sealed {}
}

/// An unsigned integer that a single access can read or write, little-endian in memory.
///
/// Sealed: every bit pattern of an implementor is a valid value, which the raw accesses of [`ram`](crate::ram) and
/// [`fast`](crate::fast) rely on.
pub trait Scalar: sealed::Sealed + Copy + PartialEq + core::fmt::Debug + 'static {
    /// Bytes in memory.
    const BYTES: usize;

    /// The value whose bytes in memory, read in the host's order, are `raw`.
    #[must_use]
    fn from_le(raw: Self) -> Self;

    /// The value to store in the host's order so that memory holds `self` little-endian.
    #[must_use]
    fn to_le(self) -> Self;

    /// The value of the first [`BYTES`](Self::BYTES) bytes of `bytes`.
    #[must_use]
    fn from_bytes(bytes: [u8; 16]) -> Self;

    /// The bytes of the value, followed by zeros.
    #[must_use]
    fn to_bytes(self) -> [u8; 16];
}

macro_rules! scalar {
    ($($integer:ty),*) => {$(
        impl sealed::Sealed for $integer {}

        impl Scalar for $integer {
            const BYTES: usize = size_of::<$integer>();

            #[inline(always)]
            fn from_le(raw: Self) -> Self {
                <$integer>::from_le(raw)
            }

            #[inline(always)]
            fn to_le(self) -> Self {
                <$integer>::to_le(self)
            }

            #[inline]
            fn from_bytes(bytes: [u8; 16]) -> Self {
                let mut low = [0; size_of::<$integer>()];
                low.copy_from_slice(&bytes[..Self::BYTES]);
                <$integer>::from_le_bytes(low)
            }

            #[inline]
            fn to_bytes(self) -> [u8; 16] {
                let mut bytes = [0; 16];
                bytes[..Self::BYTES].copy_from_slice(&self.to_le_bytes());
                bytes
            }
        }
    )*};
}

scalar!(u8, u16, u32, u64, u128);
