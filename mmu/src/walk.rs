//! What a walk has found and has yet to write.

use crate::fault::Fault;
use crate::ram::Ram;
use crate::translation::Translation;
use isa::address::HostPhysicalAddress;
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

    pub(crate) fn push(&mut self, entry: HostPhysicalAddress, bits: u64) {
        self.0.push(FlagUpdate { entry, bits });
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

    #[cold]
    fn commit_all(&self, ram: &Ram) -> Result<(), Fault> {
        for update in &self.0 {
            ram.refuse_code(update.entry, 8)?;
        }
        for update in &self.0 {
            let entry = ram.read::<u64>(update.entry)?;
            ram.write(update.entry, entry | update.bits)?;
        }
        Ok(())
    }
}

/// A walk that permits its access.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Walk {
    /// What it found.
    pub translation: Translation,
    /// The flags to set before the access is made or the translation is cached.
    pub updates: FlagUpdates,
}
