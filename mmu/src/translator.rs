//! The translation of one logical processor: TLB, caches of the walk and walks, under a context.

use crate::context::{Context, PagingMode, Privilege};
use crate::fault::Fault;
use crate::mapping::Space;
use crate::paging;
use crate::ram::Ram;
use crate::reference::ReferenceLog;
use crate::tlb::{
    Dropped, Evicted, Geometry, GeometryError, Globals, Invalidation, Level, Lookup, Pcids, Selected,
    Structures, Tlb,
};
use crate::translation::{Line20, PageSize, Requirement, Translation};
use crate::walk::{Fresh, Notes, PageModificationLog, Reliance};
use isa::address::{AccessKind, LinearAddress};
use serde::{Deserialize, Serialize};

/// Where a translation came from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hit {
    /// The first level of the TLB.
    L1,
    /// The second level.
    L2,
    /// A walk.
    Walk,
}

impl From<Level> for Hit {
    fn from(level: Level) -> Self {
        match level {
            Level::L1 => Self::L1,
            Level::L2 => Self::L2,
        }
    }
}

/// A translation that permits the access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// The translation.
    pub translation: Translation,
    /// Where it came from.
    pub hit: Hit,
}

/// Who must hear what the TLB no longer holds.
pub(crate) trait Watcher {
    /// An entry has lost its way to another one.
    fn evicted(&mut self, evicted: Evicted, tlb: &Tlb);
    /// Entries of the page of `reach` around an address have been dropped under the current tag, without an
    /// invalidation.
    fn forgotten(&mut self, address: LinearAddress, reach: PageSize);
    /// An invalidation has dropped what it covers; of an address, at most the page of `reach` around it.
    fn invalidated(&mut self, invalidation: Invalidation, reach: PageSize);
}

impl Watcher for () {
    #[inline(always)]
    fn evicted(&mut self, _: Evicted, _: &Tlb) {}
    #[inline(always)]
    fn forgotten(&mut self, _: LinearAddress, _: PageSize) {}
    #[inline(always)]
    fn invalidated(&mut self, _: Invalidation, _: PageSize) {}
}

/// The translation of one logical processor over RAM that it borrows, so that several processors can share RAM.
///
/// It does what hardware does: what is cached is used until an [`Invalidation`] covers it; accessed and dirty flags
/// are set before a translation is used; before a fault that something cached may have caused the tables are walked
/// from the root; and page faults and EPT violations remove what is cached of their address (SDM 5.10.4.1, 31.4.3.1).
///
/// # Example
///
/// ```
/// use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
/// use mmu::translator::{Hit, Translator};
/// use mmu::{tables::*, Context, Geometry, PageSize, PagingMode, Ram};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ram = Ram::new(16 << 20)?;
/// let frames = FrameAllocator::new(GuestPhysicalAddress(0x10_0000), 64);
/// let mut tables = PageTables::new(&ram, PagingMode::FourLevel, frames, Home::Identity)?;
/// let page = LinearAddress(0x40_0000);
/// tables.map(&ram, page, GuestPhysicalAddress(0x20_0000), 0x1000, PageSize::Size4K, PagePermissions::USER)?;
///
/// let mut translator = Translator::new(&Geometry::functional())?;
/// translator.set_context(Context { cr3: tables.root(), ..Context::user(PagingMode::FourLevel) });
/// let mut references = vec![];
/// let found = translator.translate(&ram, page.add(8), AccessKind::Read, &mut references)?;
/// assert_eq!(found.translation.host(page.add(8)), HostPhysicalAddress(0x20_0008));
/// assert_eq!((found.hit, references.len()), (Hit::Walk, 4));
/// assert_eq!(translator.translate(&ram, page, AccessKind::Read, &mut ())?.hit, Hit::L1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Translator {
    tlb: Tlb,
    context: Context,
    /// What each kind of access needs in the context.
    requirements: [Requirement; 3],
    /// The same with each other privilege, as far as it was asked for since the context changed.
    others: [Option<[Requirement; 3]>; 3],
    notes: Notes,
    log: Option<PageModificationLog>,
    line20: Line20,
}

impl Translator {
    /// A translator without paging, whose TLB is empty.
    ///
    /// # Errors
    ///
    /// A [`GeometryError`] that names the field.
    pub fn new(geometry: &Geometry) -> Result<Self, GeometryError> {
        let context = Context::user(PagingMode::None);
        let mut tlb = Tlb::new(geometry)?;
        tlb.select(&context);
        let (requirements, notes) = (requirements(&context), Notes::default());
        Ok(Self { tlb, context, requirements, others: [None; 3], notes, log: None, line20: Line20::Through })
    }

    /// The current context.
    #[inline]
    #[must_use]
    pub const fn context(&self) -> &Context {
        &self.context
    }

    /// Changes the context. Nothing is invalidated, unless there is no number left for the tag.
    pub fn set_context(&mut self, context: Context) -> Selected {
        if context == self.context {
            return Selected::AsBefore;
        }
        if context == (Context { privilege: context.privilege, ..self.context }) {
            self.set_privilege(context.privilege);
            return Selected::AsBefore;
        }
        let is_same_space = Space::of(&context) == Space::of(&self.context);
        self.context = context;
        self.requirements = requirements(&context);
        self.others = [None; 3];
        if is_same_space { Selected::AsBefore } else { self.tlb.select(&context) }
    }

    /// Changes the privilege of the accesses, and nothing else of the context.
    pub fn set_privilege(&mut self, privilege: Privilege) {
        if privilege != self.context.privilege {
            self.others[self.context.privilege as usize] = Some(self.requirements);
            self.context.privilege = privilege;
            let context = &self.context;
            self.requirements = *self.others[privilege as usize].get_or_insert_with(|| requirements(context));
        }
    }

    /// The page-modification log, and how far it is filled; `None` while the control "enable PML" is 0.
    #[must_use]
    pub const fn page_modification_log(&self) -> Option<PageModificationLog> {
        self.log
    }

    /// Changes the page-modification log. Only EPT with accessed and dirty flags writes to it (SDM 31.3.6).
    pub const fn set_page_modification_log(&mut self, log: Option<PageModificationLog>) {
        self.log = log;
    }

    /// What becomes of bit 20 of physical addresses.
    #[must_use]
    pub const fn line20(&self) -> Line20 {
        self.line20
    }

    /// Changes what becomes of bit 20 of physical addresses; what is cached stays as it is.
    pub(crate) const fn set_line20(&mut self, line: Line20) {
        self.line20 = line;
    }

    /// What is cached.
    #[inline]
    #[must_use]
    pub const fn tlb(&self) -> &Tlb {
        &self.tlb
    }

    /// What an access of this kind needs in the current context.
    #[inline(always)]
    #[must_use]
    pub const fn requirement(&self, kind: AccessKind) -> Requirement {
        self.requirements[kind as usize]
    }

    /// What accesses need in the current context, by kind.
    #[inline(always)]
    pub(crate) const fn requirements(&self) -> &[Requirement; 3] {
        &self.requirements
    }

    /// Removes what `invalidation` covers.
    pub fn invalidate(&mut self, invalidation: Invalidation) -> Dropped {
        self.tlb.invalidate(invalidation)
    }

    /// Translates the address of an access, with all its effects on flags and on what is cached. The references of
    /// a walk go to `log`; those of the walk before a repeated one are among them.
    ///
    /// # Errors
    ///
    /// Any [`Fault`]; [`Fault::CodePage`] and [`Fault::OutsideRam`] are about paging structures and the
    /// page-modification log.
    #[inline(always)]
    pub fn translate<L: ReferenceLog>(
        &mut self,
        ram: &Ram,
        address: LinearAddress,
        kind: AccessKind,
        log: &mut L,
    ) -> Result<Found, Fault> {
        if let Some(&translation) = self.hinted(address, kind) {
            return Ok(Found { translation, hit: Hit::L1 });
        }
        self.resolve::<true, _, _>(ram, address, kind, log, &mut ())
    }

    /// The translation of a page that was found in the first level lately, if it permits the access.
    #[inline(always)]
    pub(crate) fn hinted(&mut self, address: LinearAddress, kind: AccessKind) -> Option<&Translation> {
        let requirement = self.requirement(kind);
        self.tlb.lookup_hinted(address, kind).filter(|held| requirement.allows(held.rights))
    }

    /// As [`translate`](Self::translate) past the hints, with a watcher. `HINT` takes note of where pages are found.
    #[inline]
    pub(crate) fn resolve<const HINT: bool, L: ReferenceLog, W: Watcher>(
        &mut self,
        ram: &Ram,
        address: LinearAddress,
        kind: AccessKind,
        log: &mut L,
        watcher: &mut W,
    ) -> Result<Found, Fault> {
        if !self.context.mode.is_canonical(address) {
            return Err(Fault::NonCanonical { address });
        }
        let requirement = self.requirement(kind);
        match self.tlb.lookup_level1::<HINT>(address, kind).copied() {
            Some(translation) if requirement.allows(translation.rights) => {
                Ok(Found { translation, hit: Hit::L1 })
            }
            Some(_) => self.walk_again(ram, address, kind, log, watcher),
            None => self.resolve_past_level1(ram, address, kind, log, watcher),
        }
    }

    #[inline(never)]
    fn resolve_past_level1<L: ReferenceLog, W: Watcher>(
        &mut self,
        ram: &Ram,
        address: LinearAddress,
        kind: AccessKind,
        log: &mut L,
        watcher: &mut W,
    ) -> Result<Found, Fault> {
        let (found, evicted) = self.tlb.lookup_level2(address, kind, self.requirement(kind));
        if let Some(evicted) = evicted {
            watcher.evicted(evicted, &self.tlb);
        }
        match found {
            Lookup::Hit { level, translation } => Ok(Found { translation, hit: level.into() }),
            Lookup::Miss => self.walk(ram, address, kind, log, watcher),
            Lookup::Refused => self.walk_again(ram, address, kind, log, watcher),
        }
    }

    /// Walks after a translation was found whose rights do not suffice, and forgets that.
    #[inline(never)]
    fn walk_again<L: ReferenceLog, W: Watcher>(
        &mut self,
        ram: &Ram,
        address: LinearAddress,
        kind: AccessKind,
        log: &mut L,
        watcher: &mut W,
    ) -> Result<Found, Fault> {
        let reach = self.tlb.drop_current(address);
        watcher.forgotten(address, reach);
        self.walk(ram, address, kind, log, watcher)
    }

    #[inline(never)]
    fn walk<L: ReferenceLog, W: Watcher>(
        &mut self,
        ram: &Ram,
        address: LinearAddress,
        kind: AccessKind,
        log: &mut L,
        watcher: &mut W,
    ) -> Result<Found, Fault> {
        let Self { context, tlb, notes, log: modifications, .. } = self;
        let mut walked = paging::walk_from(ram, context, address, kind, tlb, log, notes);
        if walked.is_err() && notes.reliance == Reliance::Caches {
            // What is cached may be older than the tables, and only those may refuse an access.
            walked = paging::walk_from(ram, context, address, kind, &mut Fresh(tlb), log, notes);
        }
        let committed = walked.and_then(|translation| {
            notes.updates.commit_logging(ram, modifications)?;
            Ok(translation)
        });
        let translation = match committed {
            Ok(translation) => translation.behind(self.line20, address),
            Err(fault) => {
                self.forget_faulting(address, &fault, watcher);
                return Err(fault);
            }
        };
        notes.learned.insert_into(tlb, address);
        let evictions = tlb.insert_reporting(address, kind, translation);
        for evicted in evictions.into_iter().flatten() {
            watcher.evicted(evicted, tlb);
        }
        Ok(Found { translation, hit: Hit::Walk })
    }

    /// A page fault or an EPT violation removes what is cached of the page (SDM 5.10.4.1, 31.4.3.1).
    #[cold]
    fn forget_faulting<W: Watcher>(&mut self, address: LinearAddress, fault: &Fault, watcher: &mut W) {
        let Context { vpid, pcid, .. } = self.context;
        match fault {
            Fault::Page(_) => {
                let (pcids, globals, structures) = (Pcids::One(pcid), Globals::Drop, Structures::OfAddress);
                let invalidation = Invalidation::Address { vpid, pcids, globals, structures, address };
                self.invalidate_watched(invalidation, watcher);
            }
            Fault::EptViolation(violation) => {
                let space = Space::of(&self.context);
                if let Some(root) = space.ept {
                    let address = violation.guest_physical;
                    self.invalidate_watched(Invalidation::GuestPhysical { root, address }, watcher);
                }
                self.invalidate_watched(Invalidation::Combined { space, address }, watcher);
            }
            _ => {}
        }
    }

    /// Removes what `invalidation` covers, and tells.
    pub(crate) fn invalidate_watched<W: Watcher>(
        &mut self,
        invalidation: Invalidation,
        watcher: &mut W,
    ) -> Dropped {
        let (dropped, reach) = self.tlb.invalidate_reaching(invalidation);
        watcher.invalidated(invalidation, reach);
        dropped
    }
}

fn requirements(context: &Context) -> [Requirement; 3] {
    [AccessKind::Read, AccessKind::Write, AccessKind::Execute].map(|kind| Requirement::of(context, kind))
}
