//! A machine with one address space, natively or behind EPT, and every cache that a walk can use.

use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::ept::{EptControls, EptLevels, EptPermissions};
use mmu::tables::{EptTables, FrameAllocator, Home, PagePermissions, PageTables};
use mmu::tlb::{
    ArrayGeometry, Geometry, Globals, Invalidation, Pcids, StructureArray, StructureGeometry, Structures,
};
use mmu::translator::{Found, Translator};
use mmu::{Context, Dimension, EptContext, Fault, PageSize, PagingMode, Ram, Reference};

/// Guest-physical memory: tables from 1 MByte on, data from 2 MByte to 16 MByte.
pub const TABLES: u64 = 0x10_0000;
pub const DATA: u64 = 0x20_0000;
pub const GUEST: u64 = 0x100_0000;
/// Where EPT has its tables, behind the guest.
pub const EPT_TABLES: u64 = 2 * GUEST;
pub const RAM: u64 = EPT_TABLES + 0x10_0000;
/// Where the guest is in host-physical memory.
pub const HOME: u64 = GUEST;

/// Under PAE paging, 4-level and 5-level paging alike.
pub const PAGE: LinearAddress = LinearAddress(0x4000_0000);

pub const fn page(number: u64) -> LinearAddress {
    LinearAddress(PAGE.0 + number * 0x1000)
}

pub struct Machine {
    pub ram: Ram,
    pub tables: PageTables,
    pub ept: Option<EptTables>,
    pub translator: Translator,
    pub references: Vec<Reference>,
}

/// Every cache of the walk, with room for all.
pub fn all_caches() -> Geometry {
    let array = Some(StructureArray { sets: 1, ways: 64 });
    let structures = StructureGeometry { pml5e: array, pml4e: array, pdpte: array, pde: array };
    Geometry {
        structures,
        guest_physical: vec![ArrayGeometry::new(&PageSize::ALL, 1, 128)],
        ept_structures: structures,
        ..Geometry::functional()
    }
}

/// Which tables there are besides the guest's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behind {
    Nothing,
    /// EPT with pages of a size, without or with accessed and dirty flags.
    Ept(PageSize),
    EptWithFlags(PageSize),
}

impl Machine {
    /// 1024 pages of 4 KByte at [`PAGE`] map to `DATA` and what follows, writable by the user.
    pub fn new(mode: PagingMode, behind: Behind, geometry: &Geometry) -> Self {
        let ram = Ram::new(RAM).unwrap();
        let ept = match behind {
            Behind::Nothing => None,
            Behind::Ept(size) | Behind::EptWithFlags(size) => {
                let frames = FrameAllocator::new(HostPhysicalAddress(EPT_TABLES), 128);
                let mut ept = EptTables::new(&ram, EptLevels::Four, frames).unwrap();
                let (from, to) = (GuestPhysicalAddress(0), HostPhysicalAddress(HOME));
                ept.map(&ram, from, to, GUEST, size, EptPermissions::all()).unwrap();
                Some(ept)
            }
        };
        let mut ept_context = ept.as_ref().map(EptTables::context);
        if let (Some(context), Behind::EptWithFlags(_)) = (&mut ept_context, behind) {
            context.controls |= EptControls::ACCESSED_DIRTY;
        }
        let frames = FrameAllocator::new(GuestPhysicalAddress(TABLES), 128);
        let home = ept_context.map_or(Home::Identity, Home::Ept);
        let mut tables = PageTables::new(&ram, mode, frames, home).unwrap();
        let all = PagePermissions::WRITE | PagePermissions::USER;
        tables.map(&ram, PAGE, GuestPhysicalAddress(DATA), 0x40_0000, PageSize::Size4K, all).unwrap();
        let mut context = Context { cr3: tables.root(), ept: ept_context, ..Context::user(mode) };
        if mode == PagingMode::Pae {
            context.pdptes = mmu::paging::load_pdptes(&ram, &context, tables.root().0).unwrap();
        }
        let mut translator = Translator::new(geometry).unwrap();
        translator.set_context(context);
        Self { ram, tables, ept, translator, references: vec![] }
    }

    pub fn context(&self) -> Context {
        *self.translator.context()
    }

    pub fn ept_context(&self) -> EptContext {
        self.context().ept.unwrap()
    }

    /// An access; its references are kept until the next.
    pub fn access(&mut self, address: LinearAddress, kind: AccessKind) -> Result<Found, Fault> {
        self.references.clear();
        self.translator.translate(&self.ram, address, kind, &mut self.references)
    }

    /// Where a read goes.
    pub fn read(&mut self, address: LinearAddress) -> Result<HostPhysicalAddress, Fault> {
        Ok(self.access(address, AccessKind::Read)?.translation.host(address))
    }

    /// Where a write goes.
    pub fn write(&mut self, address: LinearAddress) -> Result<HostPhysicalAddress, Fault> {
        Ok(self.access(address, AccessKind::Write)?.translation.host(address))
    }

    /// The references of the last access to guest and to EPT structures.
    pub fn counts(&self) -> (usize, usize) {
        let guest = self.references.iter().filter(|r| r.dimension == Dimension::Guest).count();
        (guest, self.references.len() - guest)
    }

    /// Where the guest entry of a level for an address is, by the tables as they are.
    pub fn guest_entry(&self, address: LinearAddress, level: u8) -> HostPhysicalAddress {
        self.entry(address, Dimension::Guest, level)
    }

    /// Where the EPT entry of a level for the page itself is, by the tables as they are.
    pub fn ept_entry(&self, address: LinearAddress, level: u8) -> HostPhysicalAddress {
        self.entry(address, Dimension::Ept, level)
    }

    fn entry(&self, address: LinearAddress, dimension: Dimension, level: u8) -> HostPhysicalAddress {
        let mut references = Vec::<Reference>::new();
        let _ = mmu::paging::walk(&self.ram, &self.context(), address, AccessKind::Read, &mut references);
        let wanted = |r: &&Reference| r.dimension == dimension && r.level == level;
        references.iter().rev().find(wanted).unwrap().host_physical
    }

    pub fn load(&self, at: HostPhysicalAddress) -> u64 {
        self.ram.read(at).unwrap()
    }

    pub fn store(&self, at: HostPhysicalAddress, value: u64) {
        self.ram.write(at, value).unwrap();
    }

    /// Copies the page that a table is in to a free one; returns the table's new address before EPT.
    pub fn copy_table(&mut self, entry: u64) -> GuestPhysicalAddress {
        let home = |address: u64| if self.ept.is_some() { HOME + address } else { address };
        let to = self.tables.frames().allocate().unwrap();
        let from = entry & 0x000f_ffff_ffff_f000;
        let hosts = [home(from), home(to.0)].map(HostPhysicalAddress);
        self.ram.copy_within(hosts[0], hosts[1], 0x1000).unwrap();
        to
    }
}

/// The address of page `number` in host-physical memory.
pub fn data(behind: Behind, number: u64) -> HostPhysicalAddress {
    let home = if behind == Behind::Nothing { 0 } else { HOME };
    HostPhysicalAddress(home + DATA + number * 0x1000)
}

/// INVLPG.
pub fn invlpg(address: LinearAddress) -> Invalidation {
    let (pcids, globals) = (Pcids::One(0), Globals::Drop);
    Invalidation::Address { vpid: 0, pcids, globals, structures: Structures::All, address }
}
