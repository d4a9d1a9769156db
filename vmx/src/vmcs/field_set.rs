//! Sets of VMCS fields as bitmaps over their positions.

use crate::field::Encoding;
use std::fmt;

const WORDS: usize = 4;

/// A set of VMCS fields.
///
/// ```
/// use vmx::field::Encoding;
/// use vmx::vmcs::FieldSet;
/// const SELECTORS: FieldSet = FieldSet::of(&[Encoding::GUEST_CS_SELECTOR, Encoding::GUEST_SS_SELECTOR]);
/// assert!(SELECTORS.contains(Encoding::GUEST_SS_SELECTOR));
/// assert_eq!(SELECTORS.iter().next(), Some(Encoding::GUEST_CS_SELECTOR));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FieldSet([u64; WORDS]);

impl FieldSet {
    /// No field.
    pub const EMPTY: Self = Self([0; WORDS]);

    /// Every field.
    pub const ALL: Self = Self::of(Encoding::ALL);

    /// These fields; the high part of a field counts as the field.
    #[must_use]
    pub const fn of(encodings: &[Encoding]) -> Self {
        let mut set = Self::EMPTY;
        let mut next = 0;
        while next < encodings.len() {
            set.insert(encodings[next]);
            next += 1;
        }
        set
    }

    /// Adds a field. An encoding that no field has adds nothing.
    #[inline]
    pub const fn insert(&mut self, encoding: Encoding) {
        if encoding.names_a_field() {
            self.0[(encoding.position() >> 6) as usize] |= 1 << (encoding.position() & 63);
        }
    }

    /// Whether a field is one of them.
    #[must_use]
    #[inline]
    pub const fn contains(self, encoding: Encoding) -> bool {
        self.0[(encoding.position() >> 6) as usize] >> (encoding.position() & 63) & 1 == 1
    }

    /// Whether there is none.
    #[must_use]
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0[0] | self.0[1] | self.0[2] | self.0[3] == 0
    }

    /// The fields of either set.
    #[must_use]
    #[inline]
    pub const fn union(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([a | e, b | f, c | g, d | h])
    }

    /// The fields of both sets.
    #[must_use]
    #[inline]
    pub const fn intersection(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([a & e, b & f, c & g, d & h])
    }

    /// The fields of this set that the other lacks.
    #[must_use]
    #[inline]
    pub const fn difference(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([a & !e, b & !f, c & !g, d & !h])
    }

    /// The fields, by position.
    pub fn iter(self) -> impl Iterator<Item = Encoding> {
        self.0.into_iter().zip([0_usize, 64, 128, 192]).flat_map(|(word, from)| {
            let rest = |word: &u64| Some(word & (word - 1)).filter(|word| *word != 0);
            std::iter::successors(Some(word).filter(|word| *word != 0), rest)
                .map(move |word| Encoding::ALL[from + word.trailing_zeros() as usize])
        })
    }
}

impl FromIterator<Encoding> for FieldSet {
    fn from_iter<I: IntoIterator<Item = Encoding>>(encodings: I) -> Self {
        let mut set = Self::EMPTY;
        encodings.into_iter().for_each(|encoding| set.insert(encoding));
        set
    }
}

impl fmt::Debug for FieldSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let symbol =
            |encoding: Encoding| crate::field::Field::by_encoding(encoding).map(|field| field.symbol);
        f.debug_set().entries(self.iter().filter_map(symbol)).finish()
    }
}
