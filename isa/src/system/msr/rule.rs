//! What may be written to an MSR.

use crate::system::Features;

/// Which values WRMSR accepts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rule {
    /// All of them, or the owner decides.
    Any,
    /// Those with no bit outside this mask.
    Bits(u64),
    /// All of them, and only the bits of this mask are kept; the others stay.
    Keeps(u64),
    /// Canonical addresses.
    Canonical,
    /// 0 and all ones.
    AllOrNone,
    /// Eight memory types, UC- (7) among them (SDM Vol. 3A, table 13-10).
    PageAttributes,
    /// Eight memory types (SDM Vol. 3A, table 13-8).
    MemoryTypes,
    /// IA32_MTRR_DEF_TYPE: a memory type, FE and E.
    DefaultType,
    /// IA32_MTRR_PHYSBASEn: a memory type and a physical address.
    RangeBase,
    /// IA32_MTRR_PHYSMASKn: V and a physical address.
    RangeMask,
    /// IA32_FEATURE_CONTROL: lock, and VMX outside SMX; nothing once it is locked.
    FeatureControl,
    /// IA32_SPEC_CTRL: the bits that are offered.
    SpeculationControl,
}

impl Rule {
    /// What an MSR with the value `old` has after `value` is written; `None` when it is refused.
    #[must_use]
    pub fn accept(self, features: &Features, old: u64, value: u64) -> Option<u64> {
        let accepted = match self {
            Self::Any => true,
            Self::Bits(mask) => value & !mask == 0,
            Self::Keeps(mask) => return Some(old & !mask | value & mask),
            Self::Canonical => features.is_canonical(value),
            Self::AllOrNone => matches!(value, 0 | u64::MAX),
            Self::PageAttributes => value.to_le_bytes().into_iter().all(|t| is_memory_type(t) || t == 7),
            Self::MemoryTypes => value.to_le_bytes().into_iter().all(is_memory_type),
            Self::DefaultType => value & !0xcff == 0 && is_memory_type(value.to_le_bytes()[0]),
            Self::RangeBase => {
                value & !(page_mask(features) | 0xff) == 0 && is_memory_type(value.to_le_bytes()[0])
            }
            Self::RangeMask => value & !(page_mask(features) | 0x800) == 0,
            Self::FeatureControl => old & 1 == 0 && value & !5 == 0,
            Self::SpeculationControl => value & !speculation_bits(features) == 0,
        };
        accepted.then_some(value)
    }
}

/// UC, WC, WT, WP and WB (SDM Vol. 3A, table 13-8).
const fn is_memory_type(encoding: u8) -> bool {
    matches!(encoding, 0 | 1 | 4 | 5 | 6)
}

/// The bits of a physical address above a page.
const fn page_mask(features: &Features) -> u64 {
    ((1 << features.physical_address_width) - 1) & !0xfff
}

fn speculation_bits(features: &Features) -> u64 {
    use crate::system::Offers;
    [Offers::SPEC_CTRL, Offers::STIBP, Offers::SSBD]
        .into_iter()
        .enumerate()
        .filter(|(_, offer)| features.offers.contains(*offer))
        .map(|(bit, _)| 1 << bit)
        .sum()
}

/// IA32_MTRRCAP.
pub(super) const MTRR_CAPABILITIES: u32 = 0xfe;
/// IA32_MCG_CAP.
pub(super) const MACHINE_CHECK_CAPABILITIES: u32 = 0x179;

/// The value of an MSR that follows from the features.
pub(super) fn computed(features: &Features, index: u32) -> u64 {
    match index {
        // Fixed ranges and write combining.
        MTRR_CAPABILITIES => u64::from(features.variable_mtrrs) | 1 << 8 | 1 << 10,
        // IA32_MCG_CTL is present.
        MACHINE_CHECK_CAPABILITIES => u64::from(features.machine_check_banks) | 1 << 8,
        _ => 0,
    }
}
