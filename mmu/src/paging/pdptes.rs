//! Loads of the PDPTE registers (SDM 5.4.1).

use super::entry::reserved_in_pdpte;
use crate::context::Context;
use crate::ept::{self, EptAccess, EptPermissions, EptTarget};
use crate::fault::Fault;
use crate::ram::Ram;
use crate::walk::FlagUpdates;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress};

/// Why the PDPTE registers cannot be loaded. They are as before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PdpteError {
    /// A present entry has a reserved bit set: #GP(0) from MOV to a control register.
    #[error("PDPTE {number} is {entry:#x}, with a reserved bit set")]
    ReservedBit {
        /// The number of the register, 0 to 3.
        number: u8,
        /// The entry.
        entry: u64,
    },
    /// The entries cannot be read.
    #[error(transparent)]
    Memory(#[from] Fault),
}

/// Reads the four entries of the table that CR3 bits 31:5 reference, and checks them as a load of the registers does.
///
/// Behind EPT the accesses are reads, also where EPT has accessed and dirty flags (SDM 31.3.3.2), and have no linear
/// address. Accessed flags of EPT are set.
///
/// # Errors
///
/// A [`PdpteError`]; then no flag has been set.
pub fn load_pdptes(ram: &Ram, context: &Context, cr3: u64) -> Result<[u64; 4], PdpteError> {
    let mut updates = FlagUpdates::default();
    let table = locate(ram, context, GuestPhysicalAddress(cr3 & 0xffff_ffe0), &mut updates)?;
    let mut pdptes = [0; 4];
    for (number, pdpte) in (0_u8..).zip(&mut pdptes) {
        let entry = ram.read(table.add(8 * u64::from(number))).map_err(Fault::from)?;
        if entry & 1 != 0 && entry & reserved_in_pdpte(context) != 0 {
            return Err(PdpteError::ReservedBit { number, entry });
        }
        *pdpte = entry;
    }
    updates.commit(ram)?;
    Ok(pdptes)
}

/// The table is in one page, since it is aligned on 32 bytes.
fn locate(
    ram: &Ram,
    context: &Context,
    table: GuestPhysicalAddress,
    updates: &mut FlagUpdates,
) -> Result<HostPhysicalAddress, Fault> {
    let Some(ept) = &context.ept else { return Ok(table.without_ept()) };
    let access = EptAccess { needs: EptPermissions::READ, target: EptTarget::Physical, linear: None };
    let width = context.physical_address_width;
    Ok(ept::translate(ram, ept, width, table, access, &mut (), updates)?.host(table))
}
