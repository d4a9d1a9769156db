//! Loads of the PDPTE registers (SDM 5.4.1).

use super::{Paging, Refusal, Registers};
use crate::context::Privilege;
use crate::paging::{self, PdpteError};
use crate::ram::Ram;

/// The bits of CR0 of which a change by MOV to CR0 loads the registers.
const CR0: u64 = Paging::CD | Paging::NW | Paging::PG;
/// The bits of CR4 of which a change by MOV to CR4 loads the registers.
const CR4: u64 = Paging::PAE | Paging::PGE | Paging::PSE | Paging::SMEP;

/// Whether MOV to CR0 or MOV to CR4 loads the registers when it brings about `after`.
pub(super) const fn loaded_by_change(before: &Paging, after: &Paging) -> bool {
    after.is_pae() && ((before.cr0 ^ after.cr0) & CR0 != 0 || (before.cr4 ^ after.cr4) & CR4 != 0)
}

/// The four entries that CR3 of `registers` references, in memory or behind EPT.
///
/// # Errors
///
/// [`Refusal::Pdpte`] and [`Refusal::PdpteLoad`]; then no flag of EPT has been set.
pub(super) fn load(ram: &Ram, registers: &Registers) -> Result<[u64; 4], Refusal> {
    let context = registers.context(Privilege::Supervisor);
    paging::load_pdptes(ram, &context, registers.paging.cr3).map_err(|error| match error {
        PdpteError::ReservedBit { number, .. } => Refusal::Pdpte { number },
        PdpteError::Memory(fault) => Refusal::PdpteLoad(fault),
    })
}
