//! A small machine under the eyes of the oracle: processors that share RAM and tables.

use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::ept::EptPermissions;
use mmu::operation::{Entry, Exit, Operation, Paging, Registers, VmxOperation};
use mmu::oracle::{Actor, Change, ChangeId, Judgement, Oracle, Verdict, What};
use mmu::tables::{EptTables, FrameAllocator, Home, Leaf, PagePermissions, PageTables};
use mmu::tlb::{ArrayGeometry, Geometry, StructureArray, StructureGeometry};
use mmu::translator::Translator;
use mmu::{Context, EptContext, PageSize, PagingMode, Privilege, Ram};

pub const RAM: u64 = 1 << 30;
/// Where EPT of a guest puts guest-physical address 0, per guest.
pub const GUEST: u64 = 16 << 20;
/// Pages that programs have, in guest-physical memory.
pub const DATA: u64 = 8 << 20;

/// One logical processor.
pub struct Processor {
    pub translator: Translator,
    pub registers: Registers,
}

pub struct Machine {
    pub ram: Ram,
    pub oracle: Oracle,
    pub processors: Vec<Processor>,
    /// Instructions so far, ten for each event.
    pub now: u64,
}

/// A geometry with every kind of cache, small enough that entries are evicted too.
pub fn geometry() -> Geometry {
    let array = |sets, ways| vec![ArrayGeometry::new(&PageSize::ALL, sets, ways)];
    let each = Some(StructureArray { sets: 1, ways: 4 });
    let structures = StructureGeometry { pml5e: each, pml4e: each, pdpte: each, pde: each };
    Geometry {
        level1_instruction: array(4, 2),
        level1_data: array(4, 4),
        level1_store: vec![],
        level2: array(16, 4),
        structures,
        guest_physical: array(4, 4),
        ept_structures: structures,
    }
}

impl Machine {
    pub fn new(processors: usize) -> Self {
        let processor = || Processor {
            translator: Translator::new(&geometry()).unwrap(),
            registers: Registers::root(Paging::four_level(0)),
        };
        Self {
            ram: Ram::new(RAM).unwrap(),
            oracle: Oracle::new(processors),
            processors: core::iter::repeat_with(processor).take(processors).collect(),
            now: 0,
        }
    }

    fn tick(&mut self) -> u64 {
        self.now += 10;
        self.now
    }

    /// Native tables, with frames from `frames` on.
    pub fn tables(&self, frames: u64) -> PageTables {
        let frames = FrameAllocator::new(GuestPhysicalAddress(frames), 64);
        PageTables::new(&self.ram, PagingMode::FourLevel, frames, Home::Identity).unwrap()
    }

    /// EPT that maps the first 14 MByte of guest `number` and nothing else, in pages of a size.
    pub fn ept(&self, number: u64, size: PageSize) -> EptTables {
        let (start, rights) = (HostPhysicalAddress(GUEST * number), EptPermissions::all());
        let frames = FrameAllocator::new(start.add(14 << 20), 128);
        let mut ept = EptTables::new(&self.ram, mmu::ept::EptLevels::Four, frames).unwrap();
        ept.map(&self.ram, GuestPhysicalAddress(0), start, 14 << 20, size, rights).unwrap();
        ept
    }

    /// Tables of a guest.
    pub fn guest_tables(&self, ept: EptContext, frames: u64) -> PageTables {
        let frames = FrameAllocator::new(GuestPhysicalAddress(frames), 64);
        PageTables::new(&self.ram, PagingMode::FourLevel, frames, Home::Ept(ept)).unwrap()
    }

    pub fn context(&self, processor: usize) -> Context {
        self.processors[processor].registers.context(Privilege::User)
    }

    /// One access; `None` when it faults.
    pub fn access(&mut self, processor: usize, address: LinearAddress, kind: AccessKind) -> Option<Verdict> {
        let (at, context) = (self.tick(), self.context(processor));
        let Self { ram, oracle, processors, .. } = self;
        let translator = &mut processors[processor].translator;
        translator.set_context(context);
        let found = translator.translate(ram, address, kind, &mut ()).ok()?;
        Some(oracle.used(ram, processor, &context, address, kind, &found, at))
    }

    pub fn read(&mut self, processor: usize, address: LinearAddress) -> Option<Verdict> {
        self.access(processor, address, AccessKind::Read)
    }

    pub fn write(&mut self, processor: usize, address: LinearAddress) -> Option<Verdict> {
        self.access(processor, address, AccessKind::Write)
    }

    /// An operation with everything that belongs to it.
    pub fn perform(&mut self, processor: usize, operation: Operation) -> Judgement {
        self.tick();
        let Self { ram, oracle, processors, .. } = self;
        let Processor { translator, registers } = &mut processors[processor];
        let performed = registers.perform(ram, &operation);
        assert_eq!(performed.refusal, None, "{operation:?} under {registers:?}");
        let judgement = oracle.performing(ram, processor, &performed, translator.tlb());
        for &invalidation in &performed.invalidations {
            translator.invalidate(invalidation);
        }
        judgement
    }

    /// MOV to CR3 with PCIDs, bit 63 clear or set.
    pub fn load(&mut self, processor: usize, root: GuestPhysicalAddress, pcid: u16, keep: bool) {
        let source = root.0 | u64::from(pcid) | u64::from(keep) << 63;
        self.perform(processor, Operation::MovToCr3(source));
    }

    /// Turns PCIDs on, on a processor that has not translated yet.
    pub fn with_pcids(&mut self) {
        for processor in &mut self.processors {
            processor.registers.paging = processor.registers.paging.with_pcids();
        }
    }

    pub fn enter(&mut self, processor: usize, vpid: Option<u16>, ept: Option<EptContext>, cr3: u64) {
        let eptp = ept.map(|ept| ept.root.0 | 3 << 3 | 6);
        let paging = Paging { cr3, ..Paging::four_level(0).with_pcids() };
        let entry = Entry { vpid, eptp, paging, ..Entry::default() };
        self.perform(processor, Operation::VmEntry(entry));
    }

    pub fn exit(&mut self, processor: usize) {
        if self.is_in_guest(processor) {
            let paging = Paging::four_level(0).with_pcids();
            self.perform(processor, Operation::VmExit(Exit { paging, ..Exit::default() }));
        }
    }

    pub fn is_in_guest(&self, processor: usize) -> bool {
        matches!(self.processors[processor].registers.vmx, VmxOperation::NonRoot { .. })
    }

    /// Stores an entry and tells the oracle.
    pub fn edit(
        &mut self,
        by: (usize, &'static str),
        what: What,
        level: u8,
        entry: HostPhysicalAddress,
        new: u64,
    ) -> ChangeId {
        let at = self.tick();
        let old = self.ram.read(entry).unwrap();
        self.ram.write(entry, new).unwrap();
        let by = Actor { processor: by.0, who: by.1.into() };
        self.oracle.changed(Change { by, at, what, entry, level, old, new })
    }

    /// Edits the entry that maps a page of a native or guest table.
    pub fn edit_leaf(
        &mut self,
        by: (usize, &'static str),
        tables: &mut PageTables,
        context: Context,
        page: LinearAddress,
        change: impl Fn(u64) -> u64,
    ) -> ChangeId {
        let leaf = tables.leaf(&self.ram, page).unwrap().unwrap();
        let what = What::GuestEntry { context, page, size: leaf.size.bytes() };
        self.edit(by, what, level_of(&leaf), leaf.entry, change(leaf.value))
    }

    pub fn edit_ept_leaf(
        &mut self,
        by: (usize, &'static str),
        tables: &mut EptTables,
        page: GuestPhysicalAddress,
        change: impl Fn(u64) -> u64,
    ) -> ChangeId {
        let leaf = tables.leaf(&self.ram, page).unwrap().unwrap();
        let what = What::EptEntry { ept: tables.context(), page, size: leaf.size.bytes() };
        self.edit(by, what, level_of(&leaf), leaf.entry, change(leaf.value))
    }

    pub fn completed(&mut self, change: ChangeId) {
        self.tick();
        self.oracle.completed(change);
    }

    /// Whether the oracle has found nothing.
    pub fn is_silent(&self) -> bool {
        let summary = self.oracle.summary();
        self.oracle.findings().is_empty() && (summary.missing, summary.incoherent) == (0, 0)
    }
}

pub const fn level_of(leaf: &Leaf) -> u8 {
    leaf.size as u8 + 1
}

/// Maps a page, readable and writable in user mode.
pub fn map(ram: &Ram, tables: &mut PageTables, page: LinearAddress, frame: u64, size: PageSize) {
    let permissions = PagePermissions::WRITE | PagePermissions::USER;
    tables.map(ram, page, GuestPhysicalAddress(frame), size.bytes(), size, permissions).unwrap();
}
