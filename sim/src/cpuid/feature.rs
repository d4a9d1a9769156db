//! Feature flags: where CPUID shows each, and whether a model may have it.

use super::table::ROWS;

pub use super::table::Feature;

/// A register that CPUID writes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Register {
    /// EAX.
    Eax,
    /// EBX.
    Ebx,
    /// ECX.
    Ecx,
    /// EDX.
    Edx,
}

/// Where CPUID shows a feature.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Bit {
    /// The initial EAX.
    pub leaf: u32,
    /// The initial ECX; 0 where the leaf does not look at it.
    pub subleaf: u32,
    /// The register.
    pub register: Register,
    /// The number of the bit, 0 to 31.
    pub bit: u32,
}

/// Whether a model may have a feature.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Offered {
    /// It may.
    Yes,
    /// It may not, for this reason.
    No(&'static str),
}

/// What the table says of a feature.
pub(super) struct Row {
    pub(super) feature: Feature,
    pub(super) name: &'static str,
    pub(super) bit: Bit,
    pub(super) offered: Offered,
    pub(super) text: &'static str,
}

impl Feature {
    /// Every feature of the table.
    ///
    /// ```
    /// use vmxsim::cpuid::{Feature, Offered};
    /// let offered = Feature::all().filter(|feature| feature.offered() == Offered::Yes);
    /// assert!(offered.count() > 50);
    /// ```
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.feature)
    }

    /// The feature of this name, as a model file writes it.
    ///
    /// ```
    /// use vmxsim::cpuid::Feature;
    /// assert_eq!(Feature::named("x2APIC"), Some(Feature::X2apic));
    /// assert_eq!(Feature::named("x3APIC"), None);
    /// ```
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        ROWS.iter().find(|row| row.name == name).map(|row| row.feature)
    }

    /// The name, as the SDM and a model file write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// What the processor has when the flag is 1.
    #[must_use]
    pub const fn text(self) -> &'static str {
        self.row().text
    }

    /// Where CPUID shows it.
    #[must_use]
    pub const fn bit(self) -> Bit {
        self.row().bit
    }

    /// Whether a model may have it.
    #[must_use]
    pub const fn offered(self) -> Offered {
        self.row().offered
    }

    const fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }
}

/// A set of features.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Features([u64; ROWS.len().div_ceil(64)]);

impl Features {
    pub(super) const fn insert(&mut self, feature: Feature) {
        self.0[feature as usize / 64] |= 1 << (feature as usize % 64);
    }

    pub(super) const fn remove(&mut self, feature: Feature) {
        self.0[feature as usize / 64] &= !(1 << (feature as usize % 64));
    }

    pub(super) const fn contains(&self, feature: Feature) -> bool {
        self.0[feature as usize / 64] >> (feature as usize % 64) & 1 != 0
    }

    /// The flags of this leaf and subleaf, from EAX to EDX.
    pub(super) fn flags(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let mut registers = [0; 4];
        let here = |row: &&Row| row.bit.leaf == leaf && row.bit.subleaf == subleaf;
        for row in ROWS.iter().filter(here).filter(|row| self.contains(row.feature)) {
            registers[row.bit.register as usize] |= 1 << row.bit.bit;
        }
        registers
    }
}
