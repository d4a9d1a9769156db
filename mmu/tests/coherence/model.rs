//! What a processor may have cached, as a set without order or capacity, and what an access may find by it.
//!
//! Everything that an access could have made is put into the set, and taken out only where a rule demands it. An
//! access may use any of it, and mix it with what the tables hold now.

use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::operation::{Operation, Paging, Performed, Registers};
use mmu::translation::{Rights, Scope, Translation};
use mmu::{Mapping, PageSize, Ram, Space, rules};
use std::collections::HashSet;

const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const READ: u64 = 1;
const WRITE: u64 = 2;
const EXECUTE: u64 = 4;
/// Bits of a guest entry.
const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const USER: u64 = 4;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;

/// A mapping and what else is cached with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Cached {
    mapping: Mapping,
    /// W, U and XD of guest entries, with W and U of all and XD of any; or R, W and X of EPT entries.
    rights: u64,
    /// Where the table of a structure is before EPT.
    guest_table: u64,
}

/// What an access came to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Outcome {
    Host(u64),
    PageFault,
    EptViolation(u64),
    OutsideRam,
}

/// One way through the tables.
#[derive(Clone)]
struct Path {
    made: Vec<Cached>,
    rights: u64,
}

/// One way to translate a guest-physical address.
#[derive(Clone)]
struct Translated {
    host: u64,
    size: PageSize,
    rights: u64,
    made: Vec<Cached>,
}

#[derive(Default)]
pub(crate) struct Model {
    cached: HashSet<Cached>,
}

/// An access, and what it may come to.
struct Access<'a> {
    ram: &'a Ram,
    registers: &'a Registers,
    space: Space,
    linear: LinearAddress,
    kind: AccessKind,
    cached: &'a HashSet<Cached>,
    outcomes: HashSet<Outcome>,
    made: HashSet<Cached>,
}

impl Model {
    /// Everything that a user-mode access may come to now.
    pub(crate) fn access(
        &mut self,
        ram: &Ram,
        registers: &Registers,
        linear: LinearAddress,
        kind: AccessKind,
    ) -> HashSet<Outcome> {
        let (space, outcomes, made) = (registers.space(), HashSet::new(), HashSet::new());
        let cached = &self.cached;
        let mut access = Access { ram, registers, space, linear, kind, cached, outcomes, made };
        access.by_translations();
        access.by_walks();
        let Access { outcomes, made, .. } = access;
        self.cached.extend(made);
        outcomes
    }

    /// Takes out what must be gone.
    pub(crate) fn perform(&mut self, performed: &Performed) {
        self.cached.retain(|cached| rules::required(performed, &cached.mapping).is_none());
    }

    /// What the fault of an access removes.
    pub(crate) fn fault(
        &mut self,
        ram: &Ram,
        registers: &Registers,
        linear: LinearAddress,
        outcome: Outcome,
    ) {
        let operation = match outcome {
            Outcome::Host(_) | Outcome::OutsideRam => return,
            Outcome::PageFault => Operation::PageFault(linear),
            Outcome::EptViolation(address) => {
                let guest_physical = GuestPhysicalAddress(address);
                Operation::EptViolation { guest_physical, linear: Some(linear) }
            }
        };
        let performed = registers.clone().perform(ram, &operation);
        self.perform(&performed);
    }
}

const fn covers(start: u64, shift: u32, address: u64) -> bool {
    start >> shift == address >> shift
}

fn shift_of(level: u8) -> u32 {
    12 + 9 * (u32::from(level) - 1)
}

impl Access<'_> {
    fn load(&self, table: u64, level: u8, address: u64) -> Option<u64> {
        let index = address >> shift_of(level) & 0x1ff;
        self.ram.read::<u64>(HostPhysicalAddress(table + 8 * index)).ok()
    }

    /// Whether guest rights and EPT rights let the access through; user-mode, so that W always counts.
    fn guest_allows(&self, rights: u64) -> bool {
        let kind = match self.kind {
            AccessKind::Read => true,
            AccessKind::Write => rights & WRITABLE != 0,
            AccessKind::Execute => rights & NO_EXECUTE == 0,
        };
        rights & USER != 0 && kind
    }

    fn ept_need(&self) -> u64 {
        match self.kind {
            AccessKind::Read => READ,
            AccessKind::Write => WRITE,
            AccessKind::Execute => EXECUTE,
        }
    }

    fn by_translations(&mut self) {
        for cached in self.cached {
            let Mapping::Translation { space, translation } = cached.mapping else { continue };
            let global = translation.scope == Scope::Global && space.shares_globals(self.space);
            let here = covers(translation.linear.0, translation.size.shift(), self.linear.0);
            let guest = self.guest_allows(cached.rights);
            if here && (space == self.space || global) && guest && cached.guest_table & self.ept_need() != 0 {
                self.outcomes.insert(Outcome::Host(translation.host(self.linear).0));
            }
        }
    }

    fn by_walks(&mut self) {
        if self.registers.paging.cr0 & Paging::PG == 0 {
            let rights = WRITABLE | USER;
            self.finish(&Path { made: vec![], rights }, self.linear.0, None, Scope::Pcid);
            return;
        }
        let root = self.registers.paging.cr3 & ADDRESS;
        self.enter_guest_table(Path { made: vec![], rights: WRITABLE | USER }, root, 4);
        for cached in self.cached {
            let Mapping::Structure { space, level, linear, table } = cached.mapping else { continue };
            if space == self.space && covers(linear.0, shift_of(level), self.linear.0) {
                self.through_guest_table(Path { made: vec![], rights: cached.rights }, table.0, level - 1);
            }
        }
    }

    /// Goes on in a table whose address is guest-physical; `level` is that of its entries.
    fn enter_guest_table(&mut self, path: Path, table: u64, level: u8) {
        let index = self.linear.0 >> shift_of(level) & 0x1ff;
        let accessed_dirty = self.registers.eptp().is_some_and(|eptp| eptp & 1 << 6 != 0);
        let need = if accessed_dirty { READ | WRITE } else { READ };
        for translated in self.through_ept(table + 8 * index, need) {
            let mut path = path.clone();
            path.made.extend(translated.made);
            let host = translated.host & ADDRESS;
            if level < 4 {
                let linear = LinearAddress(self.linear.0 >> shift_of(level + 1) << shift_of(level + 1));
                let (space, table) = (self.space, HostPhysicalAddress(host));
                let mapping = Mapping::Structure { space, level: level + 1, linear, table };
                path.made.push(Cached { mapping, rights: path.rights, guest_table: 0 });
            }
            self.through_guest_table(path, host, level);
        }
    }

    /// Goes on in a table whose address is host-physical.
    fn through_guest_table(&mut self, mut path: Path, table: u64, level: u8) {
        let Some(entry) = self.load(table, level, self.linear.0) else {
            self.outcomes.insert(Outcome::OutsideRam);
            return;
        };
        if entry & PRESENT == 0 || self.sets_reserved_bit(entry, level) {
            self.outcomes.insert(Outcome::PageFault);
            return;
        }
        let both = path.rights & entry & (WRITABLE | USER);
        path.rights = both | (path.rights | entry) & NO_EXECUTE;
        let size = match level {
            1 => PageSize::Size4K,
            2 if entry & LARGE != 0 => PageSize::Size2M,
            3 if entry & LARGE != 0 => PageSize::Size1G,
            _ => return self.enter_guest_table(path, entry & ADDRESS, level - 1),
        };
        if !self.guest_allows(path.rights) {
            self.outcomes.insert(Outcome::PageFault);
            return;
        }
        let global = entry & GLOBAL != 0 && self.registers.paging.cr4 & Paging::PGE != 0;
        let scope = if global { Scope::Global } else { Scope::Pcid };
        let page = entry & ADDRESS & !size.offset_mask() | self.linear.0 & size.offset_mask();
        self.finish(&path, page, Some(size), scope);
    }

    /// Tables are taken for tables of other levels when EPT puts another frame in their place.
    fn sets_reserved_bit(&self, entry: u64, level: u8) -> bool {
        let execute_disable = self.registers.paging.efer & Paging::NXE == 0;
        let in_address = match level {
            4 => LARGE,
            3 | 2 if entry & LARGE != 0 => (1 << shift_of(level)) - (1 << 13),
            _ => 0,
        };
        entry & in_address != 0 || (execute_disable && entry & NO_EXECUTE != 0)
    }

    fn finish(&mut self, path: &Path, page: u64, guest_size: Option<PageSize>, scope: Scope) {
        for translated in self.through_ept(page, self.ept_need()) {
            self.outcomes.insert(Outcome::Host(translated.host));
            self.made.extend(path.made.iter().copied());
            self.made.extend(translated.made);
            let guest_size = guest_size.unwrap_or(translated.size);
            let (whole, guest_size) = (translated.size.min(guest_size), guest_size.into());
            // In pieces of every size.
            for size in PageSize::ALL.into_iter().filter(|&size| size <= whole) {
                let mask = !size.offset_mask();
                let (linear, host_physical) =
                    (LinearAddress(self.linear.0 & mask), HostPhysicalAddress(translated.host & mask));
                let rights = Rights::empty();
                let translation = Translation { linear, host_physical, size, guest_size, rights, scope };
                let mapping = Mapping::Translation { space: self.space, translation };
                self.made.insert(Cached { mapping, rights: path.rights, guest_table: translated.rights });
            }
        }
    }

    /// Every way to translate a guest-physical address that has the rights; the ways that fail are outcomes.
    fn through_ept(&mut self, address: u64, need: u64) -> Vec<Translated> {
        let (Some(eptp), Some(ept)) = (self.registers.eptp(), self.space.ept) else {
            let (size, rights) = (PageSize::Size1G, READ | WRITE | EXECUTE);
            return vec![Translated { host: address, size, rights, made: vec![] }];
        };
        let mut found = vec![];
        let mut starts = vec![(eptp & ADDRESS, 4, READ | WRITE | EXECUTE)];
        for cached in self.cached {
            match cached.mapping {
                Mapping::GuestPhysical { ept: with, guest_physical, host_physical, size }
                    if with == ept
                        && covers(guest_physical.0, size.shift(), address)
                        && cached.rights & need == need =>
                {
                    let host = host_physical.0 | address & size.offset_mask();
                    found.push(Translated { host, size, rights: cached.rights, made: vec![] });
                }
                Mapping::EptStructure { ept: with, level, guest_physical, table }
                    if with == ept && covers(guest_physical.0, shift_of(level), address) =>
                {
                    starts.push((table.0, level - 1, cached.rights));
                }
                _ => {}
            }
        }
        for (table, level, rights) in starts {
            match self.walk_ept(ept, address, need, table, level, rights) {
                Some(translated) => found.push(translated),
                None => {
                    self.outcomes.insert(Outcome::EptViolation(address));
                }
            }
        }
        found
    }

    fn walk_ept(
        &self,
        ept: HostPhysicalAddress,
        address: u64,
        need: u64,
        mut table: u64,
        mut level: u8,
        mut rights: u64,
    ) -> Option<Translated> {
        let mut made = vec![];
        loop {
            let entry = self.load(table, level, address).unwrap();
            if entry & (READ | WRITE | EXECUTE) == 0 {
                return None;
            }
            rights &= entry;
            let size = match level {
                1 => Some(PageSize::Size4K),
                2 if entry & LARGE != 0 => Some(PageSize::Size2M),
                3 if entry & LARGE != 0 => Some(PageSize::Size1G),
                _ => None,
            };
            if let Some(size) = size {
                if rights & need != need {
                    return None;
                }
                let host = entry & ADDRESS & !size.offset_mask() | address & size.offset_mask();
                made.extend(pieces(ept, address, host, size, rights));
                return Some(Translated { host, size, rights, made });
            }
            table = entry & ADDRESS;
            let guest_physical = GuestPhysicalAddress(address >> shift_of(level) << shift_of(level));
            let mapping =
                Mapping::EptStructure { ept, level, guest_physical, table: HostPhysicalAddress(table) };
            made.push(Cached { mapping, rights, guest_table: 0 });
            level -= 1;
        }
    }
}

/// A guest-physical page, whole and in the pieces around an address.
fn pieces(
    ept: HostPhysicalAddress,
    address: u64,
    host: u64,
    whole: PageSize,
    rights: u64,
) -> impl Iterator<Item = Cached> {
    PageSize::ALL.into_iter().filter(move |&size| size <= whole).map(move |size| {
        let mask = !size.offset_mask();
        let (guest_physical, host_physical) =
            (GuestPhysicalAddress(address & mask), HostPhysicalAddress(host & mask));
        let mapping = Mapping::GuestPhysical { ept, guest_physical, host_physical, size };
        Cached { mapping, rights, guest_table: 0 }
    })
}
