//! The VMX capability MSRs, and which settings of the controls they allow (SDM appendix A).
//!
//! The rows are `vmx/data/capability_msrs.csv`, one for each bit or group of bits. [`allowed`] decides whether a word of
//! controls may be used; [`registers`] names the fields of the MSRs that report other things.
//!
//! What the manual leaves open: bits 53:48 of IA32_VMX_EPT_VPID_CAP are the maximum HLAT prefix size. The text of
//! appendix A.10 was not at hand; independent implementations agree on the position and the width.

mod allowed;
pub mod registers;
#[cfg(test)]
mod tests;

use crate::Standing;
use crate::field::Field;
use crate::table::{self, Text};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use std::sync::LazyLock;

pub use allowed::{NotAllowed, Setting, Settings, allowed};

macro_rules! capability_msrs {
    ($($(#[$meta:meta])* $variant:ident = $index:literal, $name:literal;)*) => {
        /// An MSR that reports or controls what a processor supports of VMX.
        #[repr(u32)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum CapabilityMsr {
            $(
                #[doc = concat!($name, ", `", stringify!($index), "`.")]
                $(#[$meta])*
                $variant = $index,
            )*
        }

        impl CapabilityMsr {
            /// All of them, by index.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The MSR with this index.
            #[must_use]
            pub const fn from_index(index: u32) -> Option<Self> {
                match index {
                    $($index => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The manual's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

capability_msrs! {
    FeatureControl = 0x3a, "IA32_FEATURE_CONTROL";
    SmmMonitorCtl = 0x9b, "IA32_SMM_MONITOR_CTL";
    Smbase = 0x9e, "IA32_SMBASE";
    Basic = 0x480, "IA32_VMX_BASIC";
    PinbasedCtls = 0x481, "IA32_VMX_PINBASED_CTLS";
    ProcbasedCtls = 0x482, "IA32_VMX_PROCBASED_CTLS";
    ExitCtls = 0x483, "IA32_VMX_EXIT_CTLS";
    EntryCtls = 0x484, "IA32_VMX_ENTRY_CTLS";
    Misc = 0x485, "IA32_VMX_MISC";
    Cr0Fixed0 = 0x486, "IA32_VMX_CR0_FIXED0";
    Cr0Fixed1 = 0x487, "IA32_VMX_CR0_FIXED1";
    Cr4Fixed0 = 0x488, "IA32_VMX_CR4_FIXED0";
    Cr4Fixed1 = 0x489, "IA32_VMX_CR4_FIXED1";
    VmcsEnum = 0x48a, "IA32_VMX_VMCS_ENUM";
    ProcbasedCtls2 = 0x48b, "IA32_VMX_PROCBASED_CTLS2";
    EptVpidCap = 0x48c, "IA32_VMX_EPT_VPID_CAP";
    TruePinbasedCtls = 0x48d, "IA32_VMX_TRUE_PINBASED_CTLS";
    TrueProcbasedCtls = 0x48e, "IA32_VMX_TRUE_PROCBASED_CTLS";
    TrueExitCtls = 0x48f, "IA32_VMX_TRUE_EXIT_CTLS";
    TrueEntryCtls = 0x490, "IA32_VMX_TRUE_ENTRY_CTLS";
    Vmfunc = 0x491, "IA32_VMX_VMFUNC";
    ProcbasedCtls3 = 0x492, "IA32_VMX_PROCBASED_CTLS3";
    ExitCtls2 = 0x493, "IA32_VMX_EXIT_CTLS2";
}

impl CapabilityMsr {
    /// The operand with which RDMSR names it.
    #[must_use]
    pub const fn index(self) -> u32 {
        self as u32
    }

    /// Its rows, from the lowest bit.
    pub fn rows(self) -> impl Iterator<Item = &'static CapabilityBits> {
        CAPABILITY_BITS.iter().filter(move |row| row.msr == self)
    }
}

/// A row of the table of capability MSRs: a bit, or bits that mean something together.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct CapabilityBits {
    /// An identifier that never changes: the MSR and its bits.
    #[serde(deserialize_with = "table::text")]
    pub id: Text,
    /// The MSR.
    #[serde(rename = "index", deserialize_with = "msr_cell")]
    pub msr: CapabilityMsr,
    /// The MSR's name.
    #[serde(rename = "msr", deserialize_with = "table::text")]
    pub name: Text,
    /// The highest bit.
    pub high: u8,
    /// The lowest bit.
    pub low: u8,
    /// What they report.
    #[serde(deserialize_with = "table::text")]
    pub meaning: Text,
    /// What the position rests on.
    pub standing: Standing,
    /// What else there is to know.
    #[serde(deserialize_with = "table::text")]
    pub notes: Text,
}

/// Every bit of every capability MSR.
pub static CAPABILITY_BITS: LazyLock<Vec<CapabilityBits>> =
    LazyLock::new(|| table::rows("capability_msrs.csv", include_str!("../data/capability_msrs.csv")));

fn msr_cell<'de, D: Deserializer<'de>>(cell: D) -> Result<CapabilityMsr, D::Error> {
    let index = table::hexadecimal(cell)?;
    CapabilityMsr::from_index(index).ok_or_else(|| D::Error::custom(format!("no capability MSR {index:X}H")))
}

/// What IA32_VMX_VMCS_ENUM reports on a processor that has these fields (appendix A.9).
///
/// Bits 9:1 are the highest index of any of them; everything else is 0.
#[must_use]
pub fn vmcs_enum<'a>(fields: impl IntoIterator<Item = &'a Field>) -> u64 {
    let highest = fields.into_iter().map(|field| field.encoding.index()).max();
    u64::from(highest.unwrap_or(0)) << 1
}
