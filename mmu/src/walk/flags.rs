//! Accessed and dirty flags, and the page-modification log.

use crate::ept;
use crate::fault::Fault;
use crate::ram::Ram;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// Accessed and dirty flags that a walk must set, kept until the whole access is known to be permitted.
///
/// The SDM lets a processor set accessed flags for an access that then faults (5.8); this one sets none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FlagUpdates(SmallVec<[FlagUpdate; 8]>);

/// Bits to set in one paging-structure entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlagUpdate {
    /// Where the entry is.
    pub entry: HostPhysicalAddress,
    /// The bits.
    pub bits: u64,
    /// For flags of EPT, the address whose translation sets them.
    pub guest_physical: Option<GuestPhysicalAddress>,
}

/// The page-modification log of the current VMCS (SDM 31.3.6).
///
/// # Example
///
/// ```
/// use isa::address::HostPhysicalAddress;
/// use mmu::walk::PageModificationLog;
///
/// let log = PageModificationLog { address: HostPhysicalAddress(0x7000), index: 511 };
/// assert_eq!(log.next(), Some(HostPhysicalAddress(0x7ff8)));
/// assert_eq!(PageModificationLog { index: 0xffff, ..log }.next(), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct PageModificationLog {
    /// The PML address: a page that holds 512 guest-physical addresses.
    pub address: HostPhysicalAddress,
    /// The PML index: where the next one goes. It counts down, from 0 to FFFFH.
    pub index: u16,
}

impl PageModificationLog {
    /// Where the next address goes; `None` when the log is full.
    #[must_use]
    pub fn next(&self) -> Option<HostPhysicalAddress> {
        (self.index < 512).then(|| self.address.add(8 * u64::from(self.index)))
    }

    /// Whether the page of the log can be written.
    fn check(&self, ram: &Ram) -> Result<(), Fault> {
        ram.read::<u64>(self.address.add(8 * 511))?;
        Ok(ram.refuse_code(self.address, 8 * 512)?)
    }

    /// Sets flags of EPT, and logs the page when its dirty flag is among those that were clear.
    fn commit(
        &mut self,
        ram: &Ram,
        update: &FlagUpdate,
        accessed: GuestPhysicalAddress,
    ) -> Result<(), Fault> {
        let entry = u64::from(ram.read::<u16>(update.entry)?);
        if entry & update.bits == update.bits {
            return Ok(());
        }
        let full = Fault::PageModificationLogFull { guest_physical: accessed };
        let next = self.next().ok_or(full)?;
        set(ram, update)?;
        if update.bits & !entry & ept::DIRTY != 0 {
            ram.write(next, accessed.page().0)?;
            self.index = self.index.wrapping_sub(1);
        }
        Ok(())
    }
}

impl FlagUpdates {
    /// The updates, in the order of the walk.
    #[must_use]
    pub fn as_slice(&self) -> &[FlagUpdate] {
        &self.0
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds flags of a guest paging-structure entry.
    pub(crate) fn push(&mut self, entry: HostPhysicalAddress, bits: u64) {
        self.0.push(FlagUpdate { entry, bits, guest_physical: None });
    }

    /// Adds flags of an EPT entry that translates an address.
    pub(crate) fn push_ept(&mut self, entry: HostPhysicalAddress, bits: u64, address: GuestPhysicalAddress) {
        self.0.push(FlagUpdate { entry, bits, guest_physical: Some(address) });
    }

    /// Sets the flags in memory: all, or none on an error.
    ///
    /// # Errors
    ///
    /// [`Fault::CodePage`] when an entry is on a page that holds decoded code.
    #[inline]
    pub fn commit(&self, ram: &Ram) -> Result<(), Fault> {
        if self.0.is_empty() { Ok(()) } else { self.commit_all(ram) }
    }

    /// Sets the flags in memory and logs the pages that EPT marks dirty for the first time.
    ///
    /// The flags of EPT are set in the order of the walk's accesses, each after a look at the index; those of the
    /// guest's own structures come last.
    ///
    /// # Errors
    ///
    /// Those of [`commit`](Self::commit), also about the page of the log, and [`Fault::OutsideRam`] for that; then
    /// nothing has been set. [`Fault::PageModificationLogFull`] when an access must set a flag of EPT while the index
    /// is above 511: then that access and those after it have set nothing, while those before it are in the log.
    #[inline]
    pub fn commit_logging(&self, ram: &Ram, log: &mut Option<PageModificationLog>) -> Result<(), Fault> {
        match log {
            None => self.commit(ram),
            Some(_) if self.0.is_empty() => Ok(()),
            Some(log) => self.commit_to(ram, log),
        }
    }

    #[cold]
    fn commit_all(&self, ram: &Ram) -> Result<(), Fault> {
        self.refuse_code(ram)?;
        self.0.iter().try_for_each(|update| set(ram, update))
    }

    #[cold]
    fn commit_to(&self, ram: &Ram, log: &mut PageModificationLog) -> Result<(), Fault> {
        self.refuse_code(ram)?;
        log.check(ram)?;
        for update in &self.0 {
            if let Some(accessed) = update.guest_physical {
                log.commit(ram, update, accessed)?;
            }
        }
        let own = self.0.iter().filter(|update| update.guest_physical.is_none());
        own.into_iter().try_for_each(|update| set(ram, update))
    }

    fn refuse_code(&self, ram: &Ram) -> Result<(), Fault> {
        Ok(self.0.iter().try_for_each(|update| ram.refuse_code(update.entry, 2))?)
    }
}

/// The flags are in the low two bytes of entries of either width.
fn set(ram: &Ram, update: &FlagUpdate) -> Result<(), Fault> {
    let entry = ram.read::<u16>(update.entry)?;
    Ok(ram.write(update.entry, entry | update.bits as u16)?)
}
