//! VMCS fields: names, encodings, widths, and which feature makes each of them exist (SDM chapter 27, appendix B).
//!
//! The rows are `vmx/data/vmcs_fields.csv`. Revision 092 renamed interruption and IDT-vectoring information to
//! injected-, exiting- and original-event identification; the older names are aliases.
//!
//! What the manual leaves open: the text of revision 092 describes APIC-timer virtualization (fields `0000000AH`,
//! `0000204EH`, `00002830H`) and the guest and host IA32_SPEC_CTRL fields (`0000282EH`, `00002C1AH`), but the editions
//! of appendix B that were at hand (up to February 2026) do not list them. Two implementations agree on the first
//! three, one of them written by the vendor; the other two are known from one implementation. [`Field::standing`] tells
//! them apart. `00002036H` (ENCLV-exiting bitmap) was listed by older editions only. Some implementations also know
//! `00002406H`, `0000282AH`, `0000282CH` and `00002C18H`; no edition describes those fields, and they are not here.

mod constants;
mod encoding;
mod existence;
#[cfg(test)]
mod tests;

use crate::Standing;
use crate::table::{self, Text};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::LazyLock;

pub use encoding::{AccessType, Encoding, EncodingError, FieldType, Width};
pub use existence::{Condition, Existence, ParseConditionError};

/// Whether VMWRITE may write a field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// VMREAD and VMWRITE.
    ReadWrite,
    /// VMREAD; VMWRITE only on processors that report 1 in IA32_VMX_MISC\[29\] (appendix A.6).
    ReadOnly,
}

/// A row of the table of VMCS fields.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Field {
    /// A short name that is a valid identifier and never changes.
    #[serde(deserialize_with = "table::text")]
    pub symbol: Text,
    /// The manual's name.
    #[serde(deserialize_with = "table::text")]
    pub name: Text,
    /// Abbreviations and names of older editions.
    #[serde(deserialize_with = "table::names")]
    pub aliases: Vec<Text>,
    /// The encoding of the whole field.
    #[serde(deserialize_with = "encoding_cell")]
    pub encoding: Encoding,
    /// Its width.
    pub width: Width,
    /// Its function.
    #[serde(rename = "type")]
    pub field_type: FieldType,
    /// What distinguishes it from others of the same width and type.
    pub index: u16,
    /// Whether VMWRITE may write it.
    pub access: Access,
    /// Which processors have it.
    #[serde(deserialize_with = "table::parsed")]
    pub exists_if: Existence,
    /// What the encoding rests on.
    pub standing: Standing,
    /// What else there is to know.
    #[serde(deserialize_with = "table::text")]
    pub notes: Text,
}

fn encoding_cell<'de, D: serde::Deserializer<'de>>(cell: D) -> Result<Encoding, D::Error> {
    Encoding::try_from(u64::from(table::hexadecimal(cell)?)).map_err(serde::de::Error::custom)
}

/// Every VMCS field, in the order of appendix B (by encoding).
pub static FIELDS: LazyLock<Vec<Field>> =
    LazyLock::new(|| table::rows("vmcs_fields.csv", include_str!("../data/vmcs_fields.csv")));

/// Every name of every field in the form in which names are compared.
static NAMES: LazyLock<HashMap<String, &'static Field>> = LazyLock::new(|| {
    let named =
        FIELDS.iter().flat_map(|field| field.names().map(move |name| (table::normalized(name), field)));
    named.collect()
});

impl Field {
    /// The field that an encoding names, in whole or in part.
    #[must_use]
    pub fn by_encoding(encoding: Encoding) -> Option<&'static Self> {
        FIELDS.get(usize::from(encoding.position()))
    }

    /// The field and the part of it that the operand of a VMREAD or VMWRITE names.
    ///
    /// Whether the processor has the field is not decided here; see [`Field::exists_if`].
    ///
    /// # Errors
    /// Why the operand names no field.
    ///
    /// ```
    /// use vmx::field::{AccessType, Field};
    /// let (field, access) = Field::lookup(0x201b)?;
    /// assert_eq!((field.name, access), ("EPT pointer", AccessType::High));
    /// assert!(Field::lookup(0x6803).is_err());
    /// # Ok::<(), vmx::field::EncodingError>(())
    /// ```
    pub fn lookup(operand: u64) -> Result<(&'static Self, AccessType), EncodingError> {
        let encoding = Encoding::try_from(operand)?;
        let field = Self::by_encoding(encoding).ok_or(EncodingError::Unknown(encoding))?;
        Ok((field, encoding.access_type()))
    }

    /// The field with this name, symbol or older name; case and punctuation do not matter.
    ///
    /// ```
    /// use vmx::field::{Encoding, Field};
    /// let field = Field::by_name("IDT-vectoring information").unwrap();
    /// assert_eq!(field.name, "original-event identification");
    /// assert_eq!(Field::by_name("guest_cr3").unwrap().encoding, Encoding::GUEST_CR3);
    /// ```
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        NAMES.get(&table::normalized(name)).copied()
    }

    /// The manual's name, the symbol and the aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.name, self.symbol].into_iter().chain(self.aliases.iter().copied())
    }
}
