//! Loads of the PDPTE registers (SDM 5.4.1).

use super::registers::ept_context;
use super::{Paging, Refusal, Registers};
use crate::ept::{self, EptAccess, EptPermissions, EptTarget};
use crate::fault::Fault;
use crate::ram::Ram;
use crate::walk::FlagUpdates;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress};

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
    let table = GuestPhysicalAddress(registers.paging.cr3 & 0xffff_ffe0);
    let mut updates = FlagUpdates::default();
    let host = locate(ram, registers, table, &mut updates).map_err(Refusal::PdpteLoad)?;
    let mut pdptes = [0; 4];
    for (number, pdpte) in pdptes.iter_mut().enumerate() {
        let at = host.add(8 * number as u64);
        *pdpte = ram.read(at).map_err(|error| Refusal::PdpteLoad(error.into()))?;
        if *pdpte & 1 != 0 && *pdpte & reserved_bits(registers) != 0 {
            return Err(Refusal::Pdpte { number: number as u8 });
        }
    }
    updates.commit(ram).map_err(Refusal::PdpteLoad)?;
    Ok(pdptes)
}

/// SDM table 5-8.
const fn reserved_bits(registers: &Registers) -> u64 {
    0x1e6 | !((1 << registers.physical_address_width) - 1)
}

/// A load of PDPTEs by MOV is a read for EPT, also with accessed and dirty flags (SDM 31.3.3.2).
fn locate(
    ram: &Ram,
    registers: &Registers,
    table: GuestPhysicalAddress,
    updates: &mut FlagUpdates,
) -> Result<HostPhysicalAddress, Fault> {
    let Some(eptp) = registers.eptp() else { return Ok(table.without_ept()) };
    let access = EptAccess { needs: EptPermissions::READ, target: EptTarget::Physical, linear: None };
    let width = registers.physical_address_width;
    let mapping = ept::translate(ram, &ept_context(eptp), width, table, access, &mut (), updates)?;
    Ok(mapping.host_physical)
}
