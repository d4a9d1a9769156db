//! RFLAGS, with the six status flags kept lazily.
//!
//! An arithmetic instruction leaves what the flags can be computed from: the result (ZF, SF, PF), the carries
//! between its bits (AF), and CF and OF as the host delivers them. Only an instruction that reads a flag pays
//! for it. ZF and SF/PF have separate words, because POPF can set combinations that no result has.

use crate::width::Width;
use bitflags::bitflags;

bitflags! {
    /// The bits of RFLAGS (SDM Vol. 1, 3.4.3).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Rflags: u64 {
        /// Carry.
        const CF = 1 << 0;
        /// Always 1.
        const RESERVED_1 = 1 << 1;
        /// Parity.
        const PF = 1 << 2;
        /// Auxiliary carry.
        const AF = 1 << 4;
        /// Zero.
        const ZF = 1 << 6;
        /// Sign.
        const SF = 1 << 7;
        /// Trap.
        const TF = 1 << 8;
        /// Interrupt enable.
        const IF = 1 << 9;
        /// Direction.
        const DF = 1 << 10;
        /// Overflow.
        const OF = 1 << 11;
        /// I/O privilege level.
        const IOPL = 3 << 12;
        /// Nested task.
        const NT = 1 << 14;
        /// Resume.
        const RF = 1 << 16;
        /// Virtual-8086 mode.
        const VM = 1 << 17;
        /// Alignment check or access control.
        const AC = 1 << 18;
        /// Virtual interrupt flag.
        const VIF = 1 << 19;
        /// Virtual interrupt pending.
        const VIP = 1 << 20;
        /// CPUID can be used.
        const ID = 1 << 21;
    }
}

impl Rflags {
    /// CF, PF, AF, ZF, SF and OF.
    pub const STATUS: Self =
        Self::CF.union(Self::PF).union(Self::AF).union(Self::ZF).union(Self::SF).union(Self::OF);
}

/// Which way string instructions go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// DF = 0: addresses grow.
    Up,
    /// DF = 1: addresses shrink.
    Down,
}

/// Whether an instruction's status flags are read by anyone before they are overwritten.
pub trait FlagUse {
    /// False when the handler may leave the flags alone.
    const LIVE: bool;
}

/// The flags are needed.
pub struct Live;
/// Later instructions of the same block overwrite the flags before anything can look at them.
pub struct Dead;
impl FlagUse for Live {
    const LIVE: bool = true;
}
impl FlagUse for Dead {
    const LIVE: bool = false;
}

/// RFLAGS as the engine keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags {
    /// SF is bit 63, PF the parity of the low byte.
    sign: u64,
    /// ZF is "equals 0".
    zero: u64,
    /// AF is bit 4.
    adjust: u8,
    carry: bool,
    overflow: bool,
    /// Everything but the status flags.
    rest: u64,
}

impl Flags {
    /// Flags with this value of RFLAGS.
    #[must_use]
    pub fn new(rflags: u64) -> Self {
        let mut flags = Self { sign: 0, zero: 1, adjust: 0, carry: false, overflow: false, rest: 0 };
        flags.set(rflags);
        flags
    }

    /// RFLAGS with all flags computed.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.rest | self.status().bits()
    }

    /// The six status flags.
    #[must_use]
    pub fn status(&self) -> Rflags {
        let mut status = Rflags::empty();
        status.set(Rflags::CF, self.cf());
        status.set(Rflags::PF, self.pf());
        status.set(Rflags::AF, self.af());
        status.set(Rflags::ZF, self.zf());
        status.set(Rflags::SF, self.sf());
        status.set(Rflags::OF, self.of());
        status
    }

    /// Replaces all of RFLAGS; bit 1 reads as 1 whatever is written.
    pub fn set(&mut self, rflags: u64) {
        self.rest = rflags & !Rflags::STATUS.bits() | Rflags::RESERVED_1.bits();
        self.set_status(Rflags::from_bits_truncate(rflags));
    }

    /// Clears flags other than the six status flags.
    pub const fn clear(&mut self, flags: Rflags) {
        self.rest &= !flags.difference(Rflags::STATUS).bits() | Rflags::RESERVED_1.bits();
    }

    /// Replaces the six status flags.
    pub fn set_status(&mut self, status: Rflags) {
        self.carry = status.contains(Rflags::CF);
        self.overflow = status.contains(Rflags::OF);
        self.adjust = if status.contains(Rflags::AF) { 0x10 } else { 0 };
        self.zero = u64::from(!status.contains(Rflags::ZF));
        let parity = u64::from(!status.contains(Rflags::PF));
        self.sign = parity | u64::from(status.contains(Rflags::SF)) << 63;
    }

    /// The bits other than the status flags.
    #[inline(always)]
    #[must_use]
    pub fn rest(&self) -> u64 {
        self.rest
    }

    /// Which way string instructions go: DF.
    #[inline(always)]
    #[must_use]
    pub fn direction(&self) -> Direction {
        if self.rest & Rflags::DF.bits() == 0 { Direction::Up } else { Direction::Down }
    }

    /// Sets DF.
    #[inline(always)]
    pub fn set_direction(&mut self, direction: Direction) {
        let df = Rflags::DF.bits();
        self.rest = if direction == Direction::Down { self.rest | df } else { self.rest & !df };
    }

    /// Carry flag.
    #[inline(always)]
    #[must_use]
    pub fn cf(&self) -> bool {
        self.carry
    }

    /// Parity flag: the low byte of the result has an even number of ones.
    #[inline(always)]
    #[must_use]
    pub fn pf(&self) -> bool {
        (self.sign & 0xff).count_ones() & 1 == 0
    }

    /// Auxiliary carry flag.
    #[inline(always)]
    #[must_use]
    pub fn af(&self) -> bool {
        self.adjust & 0x10 != 0
    }

    /// Zero flag.
    #[inline(always)]
    #[must_use]
    pub fn zf(&self) -> bool {
        self.zero == 0
    }

    /// Sign flag.
    #[inline(always)]
    #[must_use]
    pub fn sf(&self) -> bool {
        self.sign >> 63 != 0
    }

    /// Overflow flag.
    #[inline(always)]
    #[must_use]
    pub fn of(&self) -> bool {
        self.overflow
    }

    /// Sets CF alone.
    #[inline(always)]
    pub fn set_cf(&mut self, value: bool) {
        self.carry = value;
    }

    /// Sets OF alone.
    #[inline(always)]
    pub fn set_of(&mut self, value: bool) {
        self.overflow = value;
    }

    /// Sets ZF alone.
    #[inline(always)]
    pub fn set_zf(&mut self, value: bool) {
        self.zero = u64::from(!value);
    }

    /// Sets ZF, SF and PF from a result.
    #[inline(always)]
    pub fn set_result<W: Width>(&mut self, result: W) {
        self.sign = result.sign_extend();
        self.zero = self.sign;
    }

    /// Sets all six from an addition `a + b (+ carry) = sum`.
    #[inline(always)]
    pub fn set_add<W: Width>(&mut self, a: W, b: W, sum: W, carry: bool) {
        self.set_result(sum);
        self.set_adjust(a ^ b ^ sum);
        self.carry = carry;
        self.overflow = ((a ^ sum) & (b ^ sum)).is_negative();
    }

    /// Sets all six from a subtraction `a - b (- borrow) = difference`.
    #[inline(always)]
    pub fn set_sub<W: Width>(&mut self, a: W, b: W, difference: W, borrow: bool) {
        self.set_result(difference);
        self.set_adjust(a ^ b ^ difference);
        self.carry = borrow;
        self.overflow = ((a ^ b) & (a ^ difference)).is_negative();
    }

    /// Sets all six from a logical operation: CF, OF and AF are 0. The manual leaves AF undefined; processors of
    /// both vendors clear it.
    #[inline(always)]
    pub fn set_logic<W: Width>(&mut self, result: W) {
        self.set_result(result);
        self.adjust = 0;
        self.carry = false;
        self.overflow = false;
    }

    /// Sets AF from the carries into each bit.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "AF is bit 4")]
    pub fn set_adjust<W: Width>(&mut self, carries: W) {
        self.adjust = carries.zero_extend() as u8;
    }
}

/// A condition of Jcc, SETcc and CMOVcc (SDM Vol. 1, appendix B).
pub trait Condition {
    /// Whether the flags meet it.
    fn holds(flags: &Flags) -> bool;
}

macro_rules! conditions {
    ($($(#[$meta:meta])* $name:ident: $holds:expr;)*) => {$(
        $(#[$meta])*
        pub struct $name;
        impl Condition for $name {
            #[inline(always)]
            fn holds(flags: &Flags) -> bool {
                let holds: fn(&Flags) -> bool = $holds;
                holds(flags)
            }
        }
    )*};
}
conditions! {
    /// Overflow.
    O: |f| f.of();
    /// Not overflow.
    No: |f| !f.of();
    /// Below.
    B: |f| f.cf();
    /// Above or equal.
    Ae: |f| !f.cf();
    /// Equal.
    E: |f| f.zf();
    /// Not equal.
    Ne: |f| !f.zf();
    /// Below or equal.
    Be: |f| f.cf() | f.zf();
    /// Above.
    A: |f| !(f.cf() | f.zf());
    /// Sign.
    S: |f| f.sf();
    /// Not sign.
    Ns: |f| !f.sf();
    /// Parity even.
    P: |f| f.pf();
    /// Parity odd.
    Np: |f| !f.pf();
    /// Less.
    L: |f| f.sf() != f.of();
    /// Greater or equal.
    Ge: |f| f.sf() == f.of();
    /// Less or equal.
    Le: |f| f.zf() | (f.sf() != f.of());
    /// Greater.
    G: |f| !(f.zf() | (f.sf() != f.of()));
}
