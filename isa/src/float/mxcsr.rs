//! MXCSR: the control of a floating-point operation and the flags it raises (SDM Vol. 1, 10.2.3).

use crate::cpu::{Stop, Stopped};
use crate::event::Vector;
use bitflags::bitflags;

bitflags! {
    /// The bits of MXCSR (SDM Vol. 1, figure 10-3).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Mxcsr: u32 {
        /// Invalid operation.
        const IE = 1 << 0;
        /// Denormal operand.
        const DE = 1 << 1;
        /// Divide by zero.
        const ZE = 1 << 2;
        /// Overflow.
        const OE = 1 << 3;
        /// Underflow.
        const UE = 1 << 4;
        /// Precision: the result was rounded.
        const PE = 1 << 5;
        /// Denormals are zeros.
        const DAZ = 1 << 6;
        /// Invalid operation is masked.
        const IM = 1 << 7;
        /// Denormal operand is masked.
        const DM = 1 << 8;
        /// Divide by zero is masked.
        const ZM = 1 << 9;
        /// Overflow is masked.
        const OM = 1 << 10;
        /// Underflow is masked.
        const UM = 1 << 11;
        /// Precision is masked.
        const PM = 1 << 12;
        /// Rounding control.
        const RC = 3 << 13;
        /// Flush to zero.
        const FTZ = 1 << 15;
    }
}

impl Mxcsr {
    /// The six exception flags.
    pub const FLAGS: Self =
        Self::IE.union(Self::DE).union(Self::ZE).union(Self::OE).union(Self::UE).union(Self::PE);
    /// The six exception masks.
    pub const MASKS: Self =
        Self::IM.union(Self::DM).union(Self::ZM).union(Self::OM).union(Self::UM).union(Self::PM);
    /// What controls operations: everything but the flags.
    pub const CONTROL: Self = Self::MASKS.union(Self::DAZ).union(Self::RC).union(Self::FTZ);
    /// The value after reset: all exceptions masked, round to nearest.
    pub const DEFAULT: Self = Self::MASKS;
    /// Flags of exceptions that are found before the operation is computed (SDM Vol. 1, 11.5.1).
    const PRE_COMPUTATION: Self = Self::IE.union(Self::DE).union(Self::ZE);
    /// From a flag to its mask.
    const MASK_SHIFT: u32 = 7;

    /// How results are rounded.
    #[must_use]
    pub fn rounding(self) -> Rounding {
        Rounding::from_control(self.bits() >> 13)
    }

    /// Those of the flags `raised` whose exception is not masked.
    #[must_use]
    pub fn unmasked(self, raised: Self) -> Self {
        let masked = Self::from_bits_truncate((self & Self::MASKS).bits() >> Self::MASK_SHIFT);
        raised & Self::FLAGS & !masked
    }
}

/// Rounding control (SDM Vol. 1, table 4-8).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rounding {
    /// To the nearest value, to the even one of two.
    Nearest,
    /// Toward minus infinity.
    Down,
    /// Toward plus infinity.
    Up,
    /// Toward zero.
    Zero,
}

impl Rounding {
    /// All four, by encoding.
    pub const ALL: [Self; 4] = [Self::Nearest, Self::Down, Self::Up, Self::Zero];

    /// From the low two bits of an RC field.
    #[must_use]
    pub fn from_control(bits: u32) -> Self {
        Self::ALL[(bits & 3) as usize]
    }
}

/// What an operation computes under, and what it has raised so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Environment {
    control: Mxcsr,
    /// By the current step.
    raised: Mxcsr,
    /// By completed steps.
    settled: Mxcsr,
}

/// Whether an operation can go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Progress {
    /// No unmasked exception has been raised.
    Continues,
    /// An unmasked exception is to be delivered.
    Stops,
}

impl Environment {
    /// The environment of a guest whose MXCSR is `mxcsr`; nothing is raised yet.
    #[must_use]
    pub fn new(mxcsr: u32) -> Self {
        let control = Mxcsr::from_bits_truncate(mxcsr) & Mxcsr::CONTROL;
        Self { control, raised: Mxcsr::empty(), settled: Mxcsr::empty() }
    }

    /// The control bits.
    #[must_use]
    pub fn control(&self) -> Mxcsr {
        self.control
    }

    /// Raises flags.
    pub fn raise(&mut self, flags: Mxcsr) {
        self.raised |= flags;
    }

    /// Whether an exception among `flags` would be delivered.
    #[must_use]
    pub fn unmasks(&self, flags: Mxcsr) -> bool {
        !self.control.unmasked(flags).is_empty()
    }

    /// Ends a step: the operation, or a part of it that is computed for all elements before the next part.
    ///
    /// An unmasked exception that is found before the computation keeps those found after it from being raised, in
    /// all elements (SDM Vol. 1, 11.5.1 and 11.5.3).
    pub fn settle(&mut self) -> Progress {
        let raised = core::mem::replace(&mut self.raised, Mxcsr::empty());
        let before = raised & Mxcsr::PRE_COMPUTATION;
        self.settled |= if self.unmasks(before) { before } else { raised };
        if self.unmasks(self.settled) { Progress::Stops } else { Progress::Continues }
    }

    /// Adds the raised flags to the guest's MXCSR, and decides whether the operation completes.
    ///
    /// # Errors
    /// #XM when an unmasked exception was raised.
    pub fn complete(mut self, mxcsr: &mut u32) -> Result<(), Stopped> {
        let progress = self.settle();
        *mxcsr |= self.settled.bits();
        match progress {
            Progress::Continues => Ok(()),
            Progress::Stops => Err(Stop::exception(Vector::SimdFloatingPoint).into()),
        }
    }
}
