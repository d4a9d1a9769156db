//! A small machine: two guest page tables, each usable with and without EPT, and two EPTs that put the same pages
//! elsewhere. All sizes of pages, global and not, whole and in pieces.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use super::common::Numbers;
use super::random::Universe;
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::ept::{EptLevels, EptPermissions};
use mmu::operation::{Operation, Paging, Performed, Registers, VmxOperation};
use mmu::tables::{EptTables, FrameAllocator, Home, PagePermissions, PageTables};
use mmu::tlb::{ArrayGeometry, Geometry, StructureArray, StructureGeometry};
use mmu::{Mapping, PageSize, PagingMode, Privilege, Ram, Translator};
use std::collections::HashSet;

pub const RAM: u64 = 0x100_0000;
/// The frames of guest tables, which EPT maps to themselves.
pub const TABLES: u64 = 0x10_0000;
pub const TABLES_END: u64 = 0x14_0000;
pub const KINDS: [AccessKind; 3] = [AccessKind::Read, AccessKind::Write, AccessKind::Execute];

const ALL: PagePermissions = PagePermissions::WRITE.union(PagePermissions::USER);
const GLOBAL: PagePermissions = ALL.union(PagePermissions::GLOBAL);

/// Linear page, guest-physical page, size, permissions.
const PAGES: [(u64, u64, PageSize, PagePermissions); 11] = [
    (0x40_0000, 0x20_0000, PageSize::Size4K, ALL),
    (0x40_1000, 0x20_1000, PageSize::Size4K, GLOBAL),
    (0x40_2000, 0x20_2000, PageSize::Size4K, ALL),
    (0x60_0000, 0x20_8000, PageSize::Size4K, ALL),
    (0x4000_1000, 0x20_9000, PageSize::Size4K, ALL),
    (0x80_0000_1000, 0x20_a000, PageSize::Size4K, ALL),
    (0xffff_8000_0000_0000, 0x20_b000, PageSize::Size4K, GLOBAL),
    (0xc0_0000, 0x40_0000, PageSize::Size2M, ALL),
    (0xe0_0000, 0x60_0000, PageSize::Size2M, GLOBAL),
    (0x1_4000_0000, 0x4000_0000, PageSize::Size1G, ALL),
    (0x1_8000_0000, 0x4000_0000, PageSize::Size1G, GLOBAL),
];

/// Guest-physical page, host-physical page in each EPT, bytes, and the size of page in each.
const EPT_PAGES: [(u64, [u64; 2], u64, [PageSize; 2]); 5] = [
    (TABLES, [TABLES; 2], TABLES_END - TABLES, [PageSize::Size4K; 2]),
    (0x20_0000, [0x80_0000, 0x90_0000], 0x2_0000, [PageSize::Size4K; 2]),
    (0x40_0000, [0xa0_0000, 0xc0_0000], 0x20_0000, [PageSize::Size4K, PageSize::Size2M]),
    (0x60_0000, [0xc0_0000, 0xe0_0000], 0x20_0000, [PageSize::Size2M, PageSize::Size4K]),
    (0x4000_0000, [0x8000_0000, 0xc000_0000], 0x4000_0000, [PageSize::Size1G, PageSize::Size2M]),
];

pub struct World {
    pub ram: Ram,
    pub guests: [PageTables; 2],
    pub epts: [EptTables; 2],
}

impl World {
    pub fn new() -> Self {
        let ram = Ram::new(RAM).unwrap();
        let epts = [0, 1].map(|number| ept(&ram, number));
        let guests = [0, 1].map(|number| guest(&ram, number));
        Self { ram, guests, epts }
    }

    /// EPTP with the memory type, 4 levels and, in the last one, accessed and dirty flags.
    pub fn eptps(&self) -> Vec<u64> {
        let [first, second] = [0, 1].map(|number: usize| self.epts[number].context().root.0);
        vec![first | 0x1e, second | 0x1e, first | 0x5e]
    }

    pub fn universe(&self) -> Universe {
        let mut linear = vec![];
        for (page, _, size, _) in PAGES {
            let offsets: &[u64] = if size == PageSize::Size4K { &[0] } else { &[0, 0x1000, 0x20_1000] };
            linear.extend(offsets.iter().map(|offset| LinearAddress(page + (offset & size.offset_mask()))));
        }
        let guest_physical = EPT_PAGES.iter().flat_map(|&(page, ..)| [page, page + 0x1000, page + 0xb000]);
        Universe {
            roots: self.guests.iter().map(|tables| tables.root().0).collect(),
            eptps: self.eptps(),
            linear,
            guest_physical: guest_physical.map(GuestPhysicalAddress).collect(),
            legacy: false,
        }
    }

    /// The guest-physical addresses that the guests' tables give to a linear one.
    pub fn targets(&self, address: LinearAddress) -> [u64; 2] {
        let holds = |&&(linear, _, size, _): &&(u64, u64, PageSize, PagePermissions)| {
            linear >> size.shift() == address.0 >> size.shift()
        };
        let &(_, page, size, _) = PAGES.iter().find(holds).unwrap();
        [0, 1].map(|number| target(page, size, number) | address.0 & size.offset_mask())
    }

    /// Accesses under every tag, as if no transition ever removed anything: each mapping has twins of the other
    /// classes and tags.
    pub fn fill(&self, numbers: &mut Numbers, translator: &mut Translator) {
        let universe = self.universe();
        for _ in 0..12 {
            let address = universe.address(numbers);
            let (root, pcid) = (numbers.pick(&universe.roots), numbers.below(3));
            let kind = numbers.pick(&KINDS);
            for (eptp, vpid) in [None, Some(universe.eptps[0]), Some(universe.eptps[1])]
                .into_iter()
                .flat_map(|eptp| [None, Some(1), Some(2)].map(|vpid| (eptp, vpid)))
            {
                let mut registers = Registers::outside(Paging::four_level(root | pcid).with_pcids());
                registers.vmx = VmxOperation::NonRoot { vpid, eptp };
                translator.set_context(registers.context(Privilege::User));
                translator.translate(&self.ram, address, kind, &mut ()).unwrap();
            }
        }
    }

    /// Whether a mapping is a piece of the page of EPT around the address of an EPT violation: with the piece that
    /// holds the address the others may go.
    pub fn is_piece(&self, performed: &Performed, mapping: &Mapping) -> bool {
        let Operation::EptViolation { guest_physical: address, .. } = performed.operation else {
            return false;
        };
        let Mapping::GuestPhysical { ept, guest_physical, .. } = *mapping else { return false };
        let Some(tables) = self.epts.iter().find(|tables| tables.context().root == ept) else { return false };
        let leaf = tables.clone().leaf(&self.ram, address).unwrap();
        let same = |size: PageSize| guest_physical.0 >> size.shift() == address.0 >> size.shift();
        performed.before.space().ept == Some(ept) && leaf.is_some_and(|leaf| same(leaf.size))
    }
}

fn ept(ram: &Ram, number: usize) -> EptTables {
    let frames = FrameAllocator::new(HostPhysicalAddress(0x8_0000 * number as u64), 64);
    let mut tables = EptTables::new(ram, EptLevels::Four, frames).unwrap();
    for (page, host, bytes, size) in EPT_PAGES {
        let (host, size) = (host[number], size[number]);
        // Large pages in 4-KByte pieces: the first and a few more are enough.
        let whole = size != PageSize::Size4K || page < 0x40_0000;
        let bytes = if whole { bytes } else { 0x10_000 };
        let bytes = if size == PageSize::Size2M { bytes.min(0x40_0000) } else { bytes };
        let (page, host) = (GuestPhysicalAddress(page), HostPhysicalAddress(host));
        tables.map(ram, page, host, bytes, size, EptPermissions::all()).unwrap();
    }
    tables
}

fn guest(ram: &Ram, number: u64) -> PageTables {
    let frames = FrameAllocator::new(GuestPhysicalAddress(TABLES + 0x2_0000 * number), 32);
    let mut tables = PageTables::new(ram, PagingMode::FourLevel, frames, Home::Identity).unwrap();
    for (linear, page, size, permissions) in PAGES {
        let (linear, page) = (LinearAddress(linear), GuestPhysicalAddress(target(page, size, number)));
        tables.map(ram, linear, page, size.bytes(), size, permissions).unwrap();
    }
    tables
}

/// Where a guest has a page: the guests share the large ones.
const fn target(page: u64, size: PageSize, number: u64) -> u64 {
    if matches!(size, PageSize::Size4K) { page + 0x1_0000 * number } else { page }
}

/// Room for everything that the tests make. `sizes` of the last array are what large pages are cached in.
pub fn ample() -> Geometry {
    let array = |size| ArrayGeometry::new(&[size], 4, 128);
    let level: Vec<ArrayGeometry> = PageSize::ALL.map(array).to_vec();
    Geometry { guest_physical: level.clone(), ..with_levels(level) }
}

/// The same for 4-KByte pages alone: large pages are cached in pieces.
pub fn in_pieces() -> Geometry {
    let level = vec![ArrayGeometry::new(&[PageSize::Size4K], 16, 128)];
    Geometry { guest_physical: level.clone(), ..with_levels(level) }
}

fn with_levels(level: Vec<ArrayGeometry>) -> Geometry {
    let array = Some(StructureArray { sets: 1, ways: 128 });
    let structures = StructureGeometry { pml5e: array, pml4e: array, pdpte: array, pde: array };
    Geometry {
        level1_instruction: level.clone(),
        level1_data: level,
        structures,
        ept_structures: structures,
        ..Geometry::default()
    }
}

pub fn held(translator: &Translator) -> HashSet<Mapping> {
    let mut held = HashSet::new();
    translator.tlb().for_each_mapping(|mapping| {
        held.insert(mapping);
    });
    held
}
