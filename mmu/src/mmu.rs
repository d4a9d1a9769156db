//! The memory of one logical processor: RAM, translation and fast map.

mod bulk;
mod fetches;
mod noting;
mod observe;
mod slow;
mod views;

pub use crate::translator::Hit;
pub use bulk::Run;
pub use noting::{Noted, Noting};
pub use observe::AccessReport;

use crate::context::{Context, Privilege};
use crate::counters::Counters;
use crate::fault::Fault;
use crate::ram::{CodeMark, Ram};
use crate::tlb::{Dropped, Geometry, GeometryError, Invalidation, Selected, Tlb};
use crate::translation::Line20;
use crate::translator::Translator;
use crate::walk::PageModificationLog;
use fetches::NotedFetches;
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress, PAGE_SIZE};
use isa::width::Scalar;
use observe::Observations;
use views::{View, Views};

/// Guest memory as a logical processor sees it.
///
/// `OBSERVED` chooses between two instantiations. Plain (`false`): the fast map answers first, and nothing is counted
/// or reported. Observed (`true`): every access goes through the TLB, is counted and leaves an [`AccessReport`].
/// Both compute the same values and faults.
///
/// # Errors
///
/// Accesses return a [`Fault`], after which no data has been written.
pub struct Mmu<const OBSERVED: bool> {
    ram: Ram,
    translator: Translator,
    views: Views,
    observations: Observations,
    noting: Noting,
    noted: Vec<Noted>,
}

/// What a change of context meant for translations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContextChange {
    /// Every translation and right is as before.
    None,
    /// Translations or rights may differ.
    Translations,
}

/// Bytes of code that a fetch found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodeWindow {
    /// Where the first byte is.
    pub host_physical: HostPhysicalAddress,
    /// Bytes from there to the end of the 4-KByte page: 1 to 4096.
    pub length: usize,
}

impl<const OBSERVED: bool> Mmu<OBSERVED> {
    /// A memory without paging, whose TLB is empty.
    ///
    /// # Errors
    ///
    /// A [`GeometryError`] that names the field.
    pub fn new(ram: Ram, geometry: &Geometry) -> Result<Self, GeometryError> {
        let mut mmu = Self::waiting(geometry)?;
        mmu.begin_turn(ram);
        Ok(mmu)
    }

    /// The memory of a processor that waits for its first [turn](Self::begin_turn), without paging; its TLB is empty.
    ///
    /// # Errors
    ///
    /// A [`GeometryError`] that names the field.
    pub fn waiting(geometry: &Geometry) -> Result<Self, GeometryError> {
        let translator = Translator::new(geometry)?;
        // The caller of an observed memory may fetch without an access.
        let fetches = if OBSERVED { NotedFetches::Nothing } else { NotedFetches::All };
        let views = Views::new(View::of(&translator), fetches);
        let (ram, observations) = (Ram::none(), Observations::default());
        Ok(Self { ram, translator, views, observations, noting: Noting::Off, noted: Vec::new() })
    }

    /// Reads a value.
    #[inline(always)]
    pub fn read<W: Scalar>(&mut self, address: LinearAddress) -> Result<W, Fault> {
        if !OBSERVED && let Some(value) = self.views.fast.read(address) {
            return Ok(value);
        }
        self.read_slow(address)
    }

    /// Writes a value.
    #[inline(always)]
    pub fn write<W: Scalar>(&mut self, address: LinearAddress, value: W) -> Result<(), Fault> {
        if !OBSERVED && self.views.fast.write(address, value).is_some() {
            return Ok(());
        }
        self.write_slow(address, value)
    }

    /// Replaces a value by `change` of it and returns the old one. The address is translated once, for a write.
    #[inline(always)]
    pub fn modify<W: Scalar>(
        &mut self,
        address: LinearAddress,
        change: impl FnOnce(W) -> W,
    ) -> Result<W, Fault> {
        if OBSERVED {
            return self.modify_slow(address, change);
        }
        match self.views.fast.modify(address, change) {
            Ok(old) => Ok(old),
            Err(change) => self.modify_slow(address, change),
        }
    }

    /// Translates an instruction fetch. The bytes are read with [`Ram::copy_out`].
    ///
    /// An instruction that continues behind the window needs a second fetch there.
    pub fn fetch(&mut self, address: LinearAddress) -> Result<CodeWindow, Fault> {
        let host_physical = self.translate(address, AccessKind::Execute, 1)?;
        let length = PAGE_SIZE as usize - host_physical.page_offset();
        // The page exists as a whole or not at all.
        self.ram.read::<u8>(host_physical)?;
        Ok(CodeWindow { host_physical, length })
    }

    /// Guest RAM, for reads and writes by host-physical address.
    #[must_use]
    pub const fn ram(&self) -> &Ram {
        &self.ram
    }

    /// Gives the RAM back; translations are forgotten.
    #[must_use]
    pub fn into_ram(mut self) -> Ram {
        self.end_turn()
    }

    /// Gives the processor RAM, in place of any that it has.
    ///
    /// Several processors of one machine take turns on it. What each has cached is kept while it waits; writes to pages
    /// that were [marked](Self::mark_code) in the turns of others are refused from here on. With other RAM than in the
    /// turn before, the TLB stays as it is: its addresses then are of that RAM.
    ///
    /// # Example
    ///
    /// ```
    /// use isa::address::{HostPhysicalAddress, LinearAddress};
    /// use mmu::{Fault, Geometry, Mmu, Ram};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut first = Mmu::<false>::new(Ram::new(1 << 20)?, &Geometry::functional())?;
    /// let mut second = Mmu::<false>::waiting(&Geometry::functional())?;
    /// first.write(LinearAddress(0x1000), 7_u8)?;
    /// second.begin_turn(first.end_turn());
    /// assert_eq!(second.read::<u8>(LinearAddress(0x1000))?, 7);
    /// let outside = Fault::OutsideRam { address: HostPhysicalAddress(0x1000) };
    /// assert_eq!(first.read::<u8>(LinearAddress(0x1000)), Err(outside), "it is not its turn");
    /// # Ok(())
    /// # }
    /// ```
    pub fn begin_turn(&mut self, mut ram: Ram) {
        drop(self.end_turn());
        self.views.begin_turn(&mut ram);
        self.ram = ram;
    }

    /// Takes the RAM from the processor, for the next one. Until its next turn every address is outside RAM.
    #[must_use]
    pub fn end_turn(&mut self) -> Ram {
        let mut ram = core::mem::take(&mut self.ram);
        self.views.end_turn(&mut ram);
        ram
    }

    /// The current context.
    #[must_use]
    pub const fn context(&self) -> &Context {
        self.translator.context()
    }

    /// Changes the context. Nothing in the TLB is invalidated: which loads of which register do that is for the
    /// caller to say with [`invalidate`](Self::invalidate).
    pub fn set_context(&mut self, context: Context) -> ContextChange {
        if context == *self.context() {
            return ContextChange::None;
        }
        if self.translator.set_context(context) == Selected::AfterLoss {
            self.views.clear();
        }
        self.views.select(View::of(&self.translator))
    }

    /// Makes accesses with another privilege than that of the context, which is as before afterwards.
    ///
    /// Deliveries of events, segment loads and task switches do so at CPL 3, with
    /// [`Privilege::ImplicitSupervisor`]. The accesses have a [view](Self::epoch) of their own: what the user's has
    /// cached stays there. A change of the context's privilege by `accesses` does not last.
    ///
    /// # Example
    ///
    /// ```
    /// use isa::address::LinearAddress;
    /// use mmu::{Geometry, Mmu, Privilege, Ram};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut mmu = Mmu::<false>::new(Ram::new(1 << 20)?, &Geometry::functional())?;
    /// let descriptor: u64 =
    ///     mmu.with_privilege(Privilege::ImplicitSupervisor, |mmu| mmu.read(LinearAddress(0x1008)))?;
    /// assert_eq!((descriptor, mmu.context().privilege), (0, Privilege::User));
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_privilege<T>(&mut self, privilege: Privilege, accesses: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.context().privilege;
        self.set_privilege(privilege);
        let result = accesses(self);
        self.set_privilege(before);
        result
    }

    /// Changes the privilege of the accesses, and nothing else of the context: cheaper than
    /// [`set_context`](Self::set_context).
    pub fn set_privilege(&mut self, privilege: Privilege) -> ContextChange {
        if privilege == self.context().privilege {
            return ContextChange::None;
        }
        let before = *self.translator.requirements();
        self.translator.set_privilege(privilege);
        if *self.translator.requirements() == before {
            return ContextChange::None;
        }
        self.views.select(View::of(&self.translator))
    }

    /// Removes translations from the TLB and from everything derived from it.
    pub fn invalidate(&mut self, invalidation: Invalidation) -> Dropped {
        self.translator.invalidate_watched(invalidation, &mut self.views)
    }

    /// Changes what becomes of bit 20 of physical addresses, and forgets every translation if it does.
    pub fn set_line20(&mut self, line: Line20) {
        if line != self.translator.line20() {
            self.translator.set_line20(line);
            self.invalidate(Invalidation::Vpids);
        }
    }

    /// The page-modification log, and how far it is filled; `None` while the control "enable PML" is 0.
    #[must_use]
    pub const fn page_modification_log(&self) -> Option<PageModificationLog> {
        self.translator.page_modification_log()
    }

    /// Changes the page-modification log.
    pub const fn set_page_modification_log(&mut self, log: Option<PageModificationLog>) {
        self.translator.set_page_modification_log(log);
    }

    /// A number that stands for the current view and what has been invalidated in it.
    ///
    /// While it is the same, a translation that a fetch ([`fetch`](Self::fetch), [`translate`](Self::translate)) has
    /// used may be used again: no invalidation of it, page faults among them, and no change of tag or rights lies
    /// between. (In an observed memory, no invalidation that covers the current tag at all; so there
    /// [`probe`](Self::probe) is as good as a fetch.) A context that comes back brings back its number, unless it was
    /// invalidated meanwhile. Views of several processors that take turns on one RAM never have the same number, now or
    /// later; it is 0 while a view that was invalidated waits for a turn.
    #[inline(always)]
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.views.fetches.epoch
    }

    /// Records that decoded code of a page exists. Until [`unmark_code`](Self::unmark_code), writes to it are
    /// refused with [`Fault::CodePage`].
    pub fn mark_code(&mut self, page: HostPhysicalAddress) {
        if self.ram.mark_code(page) == CodeMark::New {
            self.views.marked(&self.ram, page);
        }
    }

    /// Records that no decoded code of a page exists any more.
    pub fn unmark_code(&mut self, page: HostPhysicalAddress) {
        self.ram.unmark_code(page);
    }

    /// Whether decoded code of a page exists.
    #[must_use]
    pub fn holds_code(&self, page: HostPhysicalAddress) -> bool {
        self.ram.holds_code(page)
    }

    /// The counters; all 0 in a plain memory.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.observations.counters
    }

    /// The accesses since the last [`clear_reports`](Self::clear_reports), in order; empty in a plain memory.
    pub fn reports(&self) -> impl ExactSizeIterator<Item = AccessReport<'_>> {
        self.observations.reports()
    }

    /// Forgets the reports, not the counters.
    #[inline]
    pub fn clear_reports(&mut self) {
        self.observations.clear();
    }

    /// The TLB.
    #[must_use]
    pub const fn tlb(&self) -> &Tlb {
        self.translator.tlb()
    }

    /// The fast map of the current view.
    #[must_use]
    pub const fn fast(&self) -> &crate::fast::FastMap {
        &self.views.fast
    }
}

impl<const OBSERVED: bool> core::fmt::Debug for Mmu<OBSERVED> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut debug = f.debug_struct("Mmu");
        debug.field("observed", &OBSERVED).field("ram", &self.ram).field("context", self.context());
        debug.finish_non_exhaustive()
    }
}
