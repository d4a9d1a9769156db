//! Changes of tables: every entry of guest tables and EPT, leaf or not, with the values that it takes in turn.

use super::common::Numbers;
use super::random::Universe;
use super::world::{TABLES, TABLES_END, World};
use isa::address::HostPhysicalAddress;
use mmu::Ram;

const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const LARGE: u64 = 1 << 7;

/// An entry and what may stand in it.
struct Entry {
    at: u64,
    values: Vec<u64>,
}

pub(crate) struct Edits {
    entries: Vec<Entry>,
}

/// Which kind of tables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Guest,
    Ept,
}

/// The addresses that matter: entries for others are left alone.
struct Wanted {
    linear: Vec<u64>,
    guest_physical: Vec<u64>,
}

impl Wanted {
    fn wants(&self, kind: Kind, start: u64, shift: u32) -> bool {
        let addresses = match kind {
            Kind::Guest => &self.linear,
            Kind::Ept => &self.guest_physical,
        };
        addresses.iter().any(|address| (address & 0xffff_ffff_ffff) >> shift == start >> shift)
    }
}

/// Where a table is and what it translates.
#[derive(Clone, Copy)]
struct Table {
    at: u64,
    level: u8,
    start: u64,
}

/// Takes frames from a range.
struct Spare {
    next: u64,
    end: u64,
}

impl Spare {
    fn take(&mut self) -> Option<u64> {
        let frame = self.next;
        self.next += 0x1000;
        (frame < self.end).then_some(frame)
    }
}

impl Edits {
    /// Edits of entries that serve these addresses.
    pub(crate) fn new(world: &World, universe: &Universe) -> Self {
        let mut edits = Self { entries: vec![] };
        let linear = universe.linear.iter().map(|address| address.0).collect();
        let guest_physical = universe.linear.iter().flat_map(|&address| world.targets(address));
        let tables = [TABLES, TABLES + 0x1000, TABLES + 0x3000, TABLES + 0x2_0000, TABLES + 0x2_2000];
        let wanted = Wanted { linear, guest_physical: guest_physical.chain(tables).collect() };
        let mut spare = Spare { next: TABLES + 0x1_0000, end: TABLES + 0x2_0000 };
        for &root in &universe.roots {
            let table = Table { at: root, level: 4, start: 0 };
            edits.collect(&world.ram, Kind::Guest, table, &wanted, &mut spare);
            spare = Spare { next: TABLES + 0x3_0000, end: TABLES_END };
        }
        let mut spare = Spare { next: 0x4_0000, end: 0x8_0000 };
        for ept in &world.epts {
            let table = Table { at: ept.context().root.0, level: 4, start: 0 };
            edits.collect(&world.ram, Kind::Ept, table, &wanted, &mut spare);
            spare = Spare { next: 0xc_0000, end: 0x10_0000 };
        }
        edits
    }

    fn collect(&mut self, ram: &Ram, kind: Kind, table: Table, wanted: &Wanted, spare: &mut Spare) {
        let Table { at, level, start } = table;
        let shift = 3 + 9 * u32::from(level);
        for index in 0..512 {
            let (at, start) = (at + 8 * index, start | index << shift);
            let value = read(ram, at);
            if value & 7 == 0 || !wanted.wants(kind, start, shift) {
                continue;
            }
            let leaf = level == 1 || value & LARGE != 0;
            let values = values(ram, kind, value, level, spare);
            self.entries.push(Entry { at, values });
            if !leaf {
                let table = Table { at: value & ADDRESS, level: level - 1, start };
                self.collect(ram, kind, table, wanted, spare);
            }
        }
    }

    /// Changes one entry; accessed and dirty flags begin anew.
    pub(crate) fn make(&self, numbers: &mut Numbers, ram: &Ram) {
        let entry = &self.entries[numbers.below(self.entries.len() as u64) as usize];
        let value = numbers.pick(&entry.values);
        // Most of the tables are whole, or every access would fault.
        let value = if numbers.below(4) > 0 { entry.values[0] } else { value };
        ram.write(HostPhysicalAddress(entry.at), value).unwrap();
    }
}

/// What may stand in an entry; first what stands there.
fn values(ram: &Ram, kind: Kind, value: u64, level: u8, spare: &mut Spare) -> Vec<u64> {
    let leaf = level == 1 || value & LARGE != 0;
    let mut values = vec![value, value & !7];
    match kind {
        Kind::Guest => values.extend([value & !2, value & !4, value | 1 << 63]),
        // The guest's tables stay accessible, so that flags can be set in them.
        Kind::Ept if leaf && !is_for_tables(value) => values.extend([value & !2, value & !4]),
        Kind::Ept => {}
    }
    if kind == Kind::Ept && leaf && is_for_tables(value) {
        values.push(value ^ 0x1_0000);
    } else if leaf {
        values.push(moved(value, level));
    } else if let Some(copy) = spare.take() {
        shallow_copy(ram, value & ADDRESS, copy, level - 1);
        values.push(value & !ADDRESS | copy);
    }
    values
}

fn read(ram: &Ram, at: u64) -> u64 {
    ram.read::<u64>(HostPhysicalAddress(at)).unwrap()
}

const fn is_for_tables(value: u64) -> bool {
    let frame = value & ADDRESS;
    frame >= TABLES && frame < TABLES_END
}

/// The page, elsewhere.
const fn moved(value: u64, level: u8) -> u64 {
    value ^ 0x4000 << (9 * (level - 1))
}

/// A table whose entries that map pages map others.
fn shallow_copy(ram: &Ram, from: u64, to: u64, level: u8) {
    for index in 0..512 {
        let value = read(ram, from + 8 * index);
        let leaf = level == 1 || value & LARGE != 0;
        let value = if value & 7 != 0 && leaf && !is_for_tables(value) { moved(value, level) } else { value };
        ram.write(HostPhysicalAddress(to + 8 * index), value).unwrap();
    }
}
