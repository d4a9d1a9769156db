//! Everything that was ever put into a TLB, as a list, and the tables of SDM 5.10.4.1 and 31.4.3.1 as sentences.

use super::Numbers;
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::ept::{Dirty, EptMapping, EptPermissions};
use mmu::tlb::{Globals, Invalidation, Pcids, Structures, Tlb};
use mmu::translation::{Rights, Scope};
use mmu::walk::{EntryWidth, EptStructure, Structure, WalkCaches};
use mmu::{Class, Context, EptContext, GuestPageSize, Mapping, PageSize, PagingMode, Space, Translation};

/// Something that was put into a TLB. Its host-physical address tells it apart from all others.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Item {
    Translation { translation: Translation, kind: AccessKind },
    Structure { linear: LinearAddress, structure: Structure },
    GuestPhysical { guest_physical: GuestPhysicalAddress, mapping: EptMapping },
    EptStructure { guest_physical: GuestPhysicalAddress, structure: EptStructure },
}

/// One entry of the list, and whether it may still be used.
#[derive(Clone, Copy, Debug)]
pub struct Inserted {
    pub space: Space,
    pub item: Item,
    pub live: bool,
}

const ROOTS: [u64; 2] = [0x1000, 0x2000];

pub fn context(numbers: &mut Numbers) -> Context {
    let root = HostPhysicalAddress(numbers.pick(&ROOTS));
    let ept = numbers.one_in(2).then(|| EptContext::four_level(root));
    let (vpid, pcid) = (numbers.below(3) as u16, numbers.below(3) as u16);
    let tag_word = if numbers.one_in(4) { numbers.below(4) as u32 } else { 0 };
    Context { vpid, pcid, ept, tag_word, ..Context::user(PagingMode::FourLevel) }
}

/// A few pages, some of them in other regions of each level.
pub fn linear(numbers: &mut Numbers) -> LinearAddress {
    let high = numbers.pick(&[0, 1 << 39, 1 << 48, 0xffff_8000_0000_0000]);
    LinearAddress(high | low(numbers))
}

pub fn guest_physical(numbers: &mut Numbers) -> GuestPhysicalAddress {
    let high = numbers.pick(&[0, 1 << 39, 1 << 48]);
    GuestPhysicalAddress(high | low(numbers))
}

fn low(numbers: &mut Numbers) -> u64 {
    numbers.below(3) << 30 | numbers.below(3) << 21 | numbers.below(4) << 12 | numbers.below(1 << 12)
}

pub fn item(numbers: &mut Numbers, serial: u64) -> Item {
    let mut level = 2 + numbers.below(4) as u8;
    let table = HostPhysicalAddress(serial << 30);
    match numbers.below(6) {
        0..=2 => {
            let kind = numbers.pick(&[AccessKind::Read, AccessKind::Write, AccessKind::Execute]);
            Item::Translation { translation: translation(numbers, serial), kind }
        }
        3 => {
            let guest_table = guest_physical(numbers).page();
            let (rights, ept_permissions) = (Rights::WRITE, EptPermissions::READ);
            let width = numbers.pick(&[EntryWidth::Eight, EntryWidth::Eight, EntryWidth::Four]);
            if width == EntryWidth::Four {
                level = 2;
            }
            let structure = Structure { level, width, table, guest_table, rights, ept_permissions };
            Item::Structure { linear: linear(numbers), structure }
        }
        4 => {
            let guest_physical = guest_physical(numbers);
            let size = numbers.pick(&PageSize::ALL);
            let permissions = EptPermissions::WRITE;
            let mapping = EptMapping { host_physical: table, size, permissions, dirty: Dirty::Clear };
            Item::GuestPhysical { guest_physical, mapping }
        }
        _ => {
            let structure = EptStructure { level, table, permissions: EptPermissions::EXECUTE };
            Item::EptStructure { guest_physical: guest_physical(numbers), structure }
        }
    }
}

fn translation(numbers: &mut Numbers, serial: u64) -> Translation {
    let small = [GuestPageSize::Size4K; 2];
    let guest_size = numbers.pick(&[&small[..], &GuestPageSize::ALL].concat());
    let size = numbers.pick(&PageSize::ALL).min(guest_size.cached());
    Translation {
        linear: LinearAddress(linear(numbers).0 & !size.offset_mask()),
        host_physical: HostPhysicalAddress(serial << 30),
        size,
        guest_size,
        rights: Rights::all(),
        scope: if numbers.one_in(4) { Scope::Global } else { Scope::Pcid },
    }
}

pub fn invalidation(numbers: &mut Numbers) -> Invalidation {
    let vpid = numbers.below(3) as u16;
    let pcids = if numbers.one_in(2) { Pcids::All } else { Pcids::One(numbers.below(3) as u16) };
    let globals = numbers.pick(&[Globals::Keep, Globals::Drop]);
    let structures = numbers.pick(&[Structures::OfAddress, Structures::All]);
    let root = HostPhysicalAddress(numbers.pick(&ROOTS) | numbers.below(1 << 12));
    match numbers.below(16) {
        0..=4 => Invalidation::Address { vpid, pcids, globals, structures, address: linear(numbers) },
        5..=6 => Invalidation::Vpid { vpid, pcids, globals },
        7 => Invalidation::NonzeroVpids,
        8 => Invalidation::Vpids,
        9 => Invalidation::Combined { space: Space::of(&context(numbers)), address: linear(numbers) },
        10..=11 => Invalidation::GuestPhysical { root, address: guest_physical(numbers) },
        12 => Invalidation::EptRoot { root },
        13 => Invalidation::EptRoots,
        14 => {
            let (word, compare) = (numbers.below(4) as u32, numbers.below(4) as u32);
            let address = numbers.one_in(2).then(|| linear(numbers));
            Invalidation::Word { word, compare, globals, address }
        }
        _ => Invalidation::Everything,
    }
}

impl Item {
    pub fn insert(&self, tlb: &mut Tlb) {
        match *self {
            Self::Translation { translation, kind } => tlb.insert(translation.linear, kind, translation),
            Self::Structure { linear, structure } => tlb.insert_structure(linear, structure),
            Self::GuestPhysical { guest_physical, mapping } => {
                tlb.insert_guest_physical(guest_physical, mapping);
            }
            Self::EptStructure { guest_physical, structure } => {
                tlb.insert_ept_structure(guest_physical, structure);
            }
        }
    }

    /// What tells it apart.
    pub fn identity(&self) -> u64 {
        let host = match *self {
            Self::Translation { translation, .. } => translation.host_physical,
            Self::Structure { structure, .. } => structure.table,
            Self::GuestPhysical { mapping, .. } => mapping.host_physical,
            Self::EptStructure { structure, .. } => structure.table,
        };
        host.0 >> 30
    }

    pub fn is_guest_physical(&self) -> bool {
        matches!(self, Self::GuestPhysical { .. } | Self::EptStructure { .. })
    }

    pub fn is_structure(&self) -> bool {
        matches!(self, Self::Structure { .. })
    }

    pub fn is_global(&self) -> bool {
        matches!(self, Self::Translation { translation, .. } if translation.scope == Scope::Global)
    }

    /// An address in it, and how many bytes of addresses it is used for.
    pub fn range(&self) -> (u64, u64) {
        match *self {
            Self::Translation { translation, .. } => (translation.linear.0, translation.size.bytes()),
            Self::Structure { linear, structure } => (linear.0, controlled(structure.level)),
            Self::GuestPhysical { guest_physical, mapping } => (guest_physical.0, mapping.size.bytes()),
            Self::EptStructure { guest_physical, structure } => {
                (guest_physical.0, controlled(structure.level))
            }
        }
    }

    /// Whether the entry, with all other pieces of the same page of the tables, is around an address.
    fn is_around(&self, address: u64) -> bool {
        let (start, bytes) = self.range();
        let whole = match self {
            Self::Translation { translation, .. } => translation.guest_size.bytes(),
            Self::Structure { structure, .. } if structure.width == EntryWidth::Four => 1 << 22,
            _ => bytes,
        };
        start / whole == address / whole
    }
}

/// Bytes of addresses that one entry of a level controls.
pub fn controlled(level: u8) -> u64 {
    1 << (12 + 9 * (u32::from(level) - 1))
}

impl Inserted {
    /// Whether it is cached under the tag of `space`.
    pub fn is_used_in(&self, space: Space) -> bool {
        if self.item.is_guest_physical() {
            self.space.ept == space.ept
        } else {
            self.space == space || (self.item.is_global() && self.space.shares_globals(space))
        }
    }

    pub fn is_covered(&self, by: &Invalidation) -> bool {
        let guest_physical = self.item.is_guest_physical();
        let through = |root: HostPhysicalAddress| self.space.ept == Some(root.page());
        match *by {
            Invalidation::Everything => true,
            Invalidation::EptRoots => self.space.ept.is_some(),
            Invalidation::EptRoot { root } => through(root),
            Invalidation::GuestPhysical { root, address } => {
                guest_physical && through(root) && self.item.is_around(address.0)
            }
            _ if guest_physical => false,
            Invalidation::Vpids => true,
            Invalidation::NonzeroVpids => self.space.vpid != 0,
            Invalidation::Vpid { vpid, pcids, globals } => self.is_of(vpid, pcids, globals),
            Invalidation::Address { vpid, pcids, globals, structures, address } => {
                let whole = structures == Structures::All && self.item.is_structure();
                self.is_of(vpid, pcids, globals) && (whole || self.item.is_around(address.0))
            }
            Invalidation::Combined { space, address } => {
                space.class() == Class::Combined && self.is_used_in(space) && self.item.is_around(address.0)
            }
            Invalidation::Word { word, compare, globals, address } => {
                (self.space.word & compare == word & compare)
                    && (!self.item.is_global() || globals == Globals::Drop)
                    && address.is_none_or(|at| self.item.is_structure() || self.item.is_around(at.0))
            }
        }
    }

    fn is_of(&self, vpid: u16, pcids: Pcids, globals: Globals) -> bool {
        if self.space.vpid != vpid {
            false
        } else if self.item.is_global() {
            globals == Globals::Drop
        } else {
            pcids == Pcids::All || pcids == Pcids::One(self.space.pcid)
        }
    }

    /// Whether the TLB may tell of it as `mapping`.
    pub fn is_told_by(&self, mapping: &Mapping) -> bool {
        let (address, bytes) = self.item.range();
        match (self.item, *mapping) {
            (Item::Translation { translation: made, .. }, Mapping::Translation { space, translation }) => {
                let here = if self.item.is_global() {
                    space.pcid == 0 && space.shares_globals(self.space)
                } else {
                    space == self.space
                };
                here && translation == made.narrowed(translation.linear, translation.size)
                    && translation.linear.0 / bytes == address / bytes
            }
            (Item::Structure { structure, .. }, Mapping::Structure { space, level, linear, table }) => {
                space == self.space
                    && (level, table) == (structure.level, structure.table)
                    && linear.0 == address / bytes * bytes
            }
            (
                Item::GuestPhysical { mapping, .. },
                Mapping::GuestPhysical { ept, guest_physical, host_physical, size },
            ) => {
                Some(ept) == self.space.ept
                    && size <= mapping.size
                    && guest_physical.0 == address / size.bytes() * size.bytes()
                    && host_physical.0 == mapping.host(guest_physical).0
            }
            (
                Item::EptStructure { structure, .. },
                Mapping::EptStructure { ept, level, guest_physical, table },
            ) => {
                Some(ept) == self.space.ept
                    && (level, table) == (structure.level, structure.table)
                    && guest_physical.0 == address / bytes * bytes
            }
            _ => false,
        }
    }
}
