//! Random values, mostly at the corners of their ranges.

/// A small generator (SplitMix64): one number repeats a whole case.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// An index below `bound`.
    pub(crate) fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or(0)
    }

    /// True in `percent` of a hundred cases.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    /// A number at or near a corner of some width, or any.
    pub(crate) fn integer(&mut self) -> u64 {
        match self.below(8) {
            0 => self.below(20),
            1 => self.below(20).wrapping_neg(),
            2 => self.pick(&[0, 1, u64::MAX]),
            3 | 4 => {
                let bits = self.pick(&[7_u64, 8, 15, 16, 31, 32, 63]);
                (1_u64 << bits).wrapping_add(self.below(3)).wrapping_sub(1)
            }
            5 => self.next() >> self.below(64),
            _ => self.next(),
        }
    }

    /// A double-precision value of any class.
    fn double(&mut self) -> u64 {
        let sign = self.next() & 1 << 63;
        let fraction = self.fraction(52);
        let exponent = match self.below(10) {
            0 => 0,
            1 => 0x7ff,
            2 => self.pick(&[1, 2, 0x7fe, 0x7fd, 0x3fe + 31, 0x3fe + 32, 0x3fe + 63, 0x3fe + 64]),
            3 => self.below(0x800),
            _ => 0x3ff - 8 + self.below(16),
        };
        sign | exponent << 52 | fraction
    }

    /// A single-precision value of any class.
    fn single(&mut self) -> u64 {
        let sign = self.next() & 1 << 31;
        let fraction = self.fraction(23);
        let exponent = match self.below(10) {
            0 => 0,
            1 => 0xff,
            2 => self.pick(&[1, 2, 0xfe, 0xfd, 0x7e + 31, 0x7e + 32, 0x7e + 63, 0x7e + 64]),
            3 => self.below(0x100),
            _ => 0x7f - 8 + self.below(16),
        };
        sign | exponent << 23 | fraction
    }

    fn fraction(&mut self, bits: u32) -> u64 {
        let all = (1 << bits) - 1;
        match self.below(6) {
            0 | 1 => 0,
            2 => self.pick(&[1, all, 1 << (bits - 1), (1 << (bits - 1)) + 1]),
            3 => self.next() & all & all << (bits - 4),
            _ => self.next() & all,
        }
    }

    /// 64 bits of a vector: numbers or text.
    pub(crate) fn lanes(&mut self) -> u64 {
        match self.below(8) {
            0 | 1 => self.double(),
            2 | 3 => self.single() | self.single() << 32,
            4 => self.integer(),
            5 => self.integer() & 0xffff_ffff | self.integer() << 32,
            6 => (0..8).fold(0, |text, i| text | self.pick(&[0, 0x61, 0x61, 0x62, 0x63, 0xe1]) << (8 * i)),
            _ => self.next(),
        }
    }

    /// An XMM register.
    pub(crate) fn vector(&mut self) -> u128 {
        u128::from(self.lanes()) | u128::from(self.lanes()) << 64
    }
}
