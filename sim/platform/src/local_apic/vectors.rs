//! Sets of interrupt vectors: IRR, ISR and TMR (SDM 13.8.4).

/// A set of vectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Vectors([u32; 8]);

impl Vectors {
    /// The word of the register that holds `vector`, and its bit.
    fn place(vector: u8) -> (usize, u32) {
        (usize::from(vector >> 5), 1 << (vector & 31))
    }

    /// Puts `vector` in.
    pub(super) fn insert(&mut self, vector: u8) {
        let (word, bit) = Self::place(vector);
        self.0[word] |= bit;
    }

    /// Takes `vector` out.
    pub(super) fn remove(&mut self, vector: u8) {
        let (word, bit) = Self::place(vector);
        self.0[word] &= !bit;
    }

    /// Whether `vector` is in.
    pub(super) fn contains(&self, vector: u8) -> bool {
        let (word, bit) = Self::place(vector);
        self.0[word] & bit != 0
    }

    /// The vector of the highest priority: the largest.
    pub(super) fn highest(&self) -> Option<u8> {
        let word = (0_u8..8).rev().find(|word| self.0[usize::from(*word)] != 0)?;
        let bit = self.0[usize::from(word)].ilog2() as u8;
        Some(word << 5 | bit)
    }

    /// The `index`-th of the eight registers that show the set.
    pub(super) fn word(&self, index: u8) -> u32 {
        self.0[usize::from(index & 7)]
    }
}
