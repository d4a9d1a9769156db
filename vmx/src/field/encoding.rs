//! The structure of a VMCS field's encoding (SDM 27.11.2, table 27-22).

use super::constants::RAW;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bits of an encoding that must be 0: bit 12 and everything above bit 14.
const RESERVED: u64 = !0x6fff;

/// How many combinations of bits 14:13, 11:10 and 9:1 there are.
const SLOTS: usize = 1 << 13;

/// The position of the field in each slot.
const POSITIONS: [u8; SLOTS] = {
    let mut positions = [Encoding::NOWHERE; SLOTS];
    let mut position = 0;
    while position < RAW.len() {
        positions[slot(RAW[position] as u16)] = position as u8; // a constant below says that it fits
        position += 1;
    }
    positions
};

const _: () = assert!(RAW.len() <= Encoding::NOWHERE as usize, "a position is an u8");

/// Bits 14:13, 11:10 and 9:1 of an encoding, side by side.
const fn slot(raw: u16) -> usize {
    ((raw >> 13 & 3) << 11 | (raw >> 10 & 3) << 9 | raw >> 1 & 0x1ff) as usize
}

/// The width of a VMCS field: bits 14:13 of its encoding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Width {
    /// 16 bits.
    #[serde(rename = "16")]
    Bits16,
    /// 64 bits on every processor; the upper half has an encoding of its own.
    #[serde(rename = "64")]
    Bits64,
    /// 32 bits.
    #[serde(rename = "32")]
    Bits32,
    /// 64 bits on processors that support Intel 64 architecture.
    #[serde(rename = "natural")]
    Natural,
}

impl Width {
    /// The four widths in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Bits16, Self::Bits64, Self::Bits32, Self::Natural];

    /// The bits that a field of this width holds on a processor that supports Intel 64 architecture.
    #[must_use]
    pub const fn mask(self) -> u64 {
        match self {
            Self::Bits16 => 0xffff,
            Self::Bits32 => 0xffff_ffff,
            Self::Bits64 | Self::Natural => u64::MAX,
        }
    }
}

/// The function of a VMCS field: bits 11:10 of its encoding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldType {
    /// VM-execution, VM-exit and VM-entry control fields.
    Control,
    /// VM-exit information; appendix B calls it read-only data. The VM-instruction error is one of them.
    ExitInformation,
    /// The guest-state area.
    GuestState,
    /// The host-state area.
    HostState,
}

impl FieldType {
    /// The four types in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Control, Self::ExitInformation, Self::GuestState, Self::HostState];
}

/// Which part of a field an encoding names: bit 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessType {
    /// The whole field.
    Full,
    /// Bits 63:32 of a 64-bit field.
    High,
}

/// The number with which VMREAD and VMWRITE name a VMCS field.
///
/// A value of this type has the structure of table 27-22; whether a field has this encoding is another question, which
/// [`Field::by_encoding`](super::Field::by_encoding) answers. The encodings of all fields are constants of this type.
///
/// ```
/// use vmx::field::{Encoding, FieldType, Width};
/// let encoding = Encoding::try_from(0x6802)?;
/// assert_eq!(encoding, Encoding::GUEST_CR3);
/// assert_eq!((encoding.width(), encoding.field_type()), (Width::Natural, FieldType::GuestState));
/// # Ok::<(), vmx::field::EncodingError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Encoding {
    raw: u16,
    /// Follows from `raw`; kept beside it, so that the position of a constant is a constant.
    position: u8,
}

impl Encoding {
    /// Indexes are below this number: bits 9:1.
    pub const INDEXES: u16 = 512;

    /// The encoding of a part of the field with this width, type and index.
    ///
    /// # Errors
    /// An index that does not fit bits 9:1, and the high part of a field that is not 64 bits wide.
    pub fn compose(
        width: Width,
        field_type: FieldType,
        index: u16,
        access: AccessType,
    ) -> Result<Self, EncodingError> {
        if index >= Self::INDEXES {
            return Err(EncodingError::Index(index));
        }
        let raw = (width as u64) << 13 | (field_type as u64) << 10 | u64::from(index) << 1 | access as u64;
        Self::try_from(raw)
    }

    /// A constant of the table of encodings; a malformed one does not compile.
    pub(super) const fn constant(raw: u32) -> Self {
        assert!(raw as u64 & (RESERVED | 1) == 0, "reserved bits and the access type are 0");
        Self::placed(raw as u16)
    }

    /// A number whose reserved bits are 0 (so that 16 bits hold it), with the position of its field.
    const fn placed(raw: u16) -> Self {
        Self { raw, position: POSITIONS[slot(raw)] }
    }

    /// The row of the field that this names, in whole or in part, counted from 0; or [`Encoding::NOWHERE`].
    ///
    /// It is the index of the field in [`FIELDS`](super::FIELDS), in a [`Vmcs`](crate::vmcs::Vmcs) and in a
    /// [`FieldSet`](crate::vmcs::FieldSet).
    #[must_use]
    pub const fn position(self) -> u8 {
        self.position
    }

    /// The position of an encoding that no field has.
    pub const NOWHERE: u8 = u8::MAX;

    /// Whether a field has this encoding.
    #[must_use]
    pub const fn names_a_field(self) -> bool {
        self.position != Self::NOWHERE
    }

    /// The number itself.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.raw as u32
    }

    /// Bit 0.
    #[must_use]
    pub const fn access_type(self) -> AccessType {
        if self.raw & 1 == 0 { AccessType::Full } else { AccessType::High }
    }

    /// Bits 9:1.
    #[must_use]
    pub const fn index(self) -> u16 {
        self.raw >> 1 & 0x1ff
    }

    /// Bits 11:10.
    #[must_use]
    pub const fn field_type(self) -> FieldType {
        FieldType::ALL[(self.raw >> 10 & 3) as usize]
    }

    /// Bits 14:13.
    #[must_use]
    pub const fn width(self) -> Width {
        Width::ALL[(self.raw >> 13 & 3) as usize]
    }

    /// The encoding of the whole field.
    #[must_use]
    pub const fn full(self) -> Self {
        Self { raw: self.raw & !1, position: self.position }
    }

    /// The encoding of bits 63:32, which only a 64-bit field has.
    #[must_use]
    pub const fn high(self) -> Option<Self> {
        match self.width() {
            Width::Bits64 => Some(Self { raw: self.raw | 1, position: self.position }),
            _ => None,
        }
    }
}

impl TryFrom<u64> for Encoding {
    type Error = EncodingError;

    /// The operand of VMREAD or VMWRITE; in 64-bit mode all of its 64 bits count.
    fn try_from(operand: u64) -> Result<Self, EncodingError> {
        if operand & RESERVED != 0 {
            return Err(EncodingError::ReservedBits { operand, set: operand & RESERVED });
        }
        let encoding = Self::placed(operand as u16); // the bits above 14 were reserved, and are 0
        match (encoding.access_type(), encoding.width()) {
            (AccessType::High, width) if width != Width::Bits64 => {
                Err(EncodingError::HighPart { operand, width })
            }
            _ => Ok(encoding),
        }
    }
}

impl From<Encoding> for u64 {
    fn from(encoding: Encoding) -> Self {
        Self::from(encoding.raw)
    }
}

impl fmt::Display for Encoding {
    /// As the manual writes it: `00006802H`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}H", self.raw)
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoding({self})")
    }
}

/// Why a number names no VMCS field. VMREAD and VMWRITE answer each of them with VM-instruction error 12 (33.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EncodingError {
    /// Bit 12 or a bit above 14 is 1.
    #[error("{operand:X}H is no encoding of a VMCS field: reserved bits {set:X}H are 1 (SDM 27.11.2)")]
    ReservedBits {
        /// The number.
        operand: u64,
        /// Those of its bits that must be 0.
        set: u64,
    },
    /// The access type is high, and the width is not 64 bits.
    #[error(
        "{operand:X}H names the high part of a field of width {width:?}: only 64-bit fields have one (SDM 27.11.2)"
    )]
    HighPart {
        /// The number.
        operand: u64,
        /// The width in its bits 14:13.
        width: Width,
    },
    /// The structure is right, and no field has this encoding.
    #[error("no VMCS field has the encoding {0} (SDM appendix B)")]
    Unknown(Encoding),
    /// An index does not fit bits 9:1.
    #[error("a VMCS field's index is below 512, not {0} (SDM 27.11.2)")]
    Index(u16),
}
