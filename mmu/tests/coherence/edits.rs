//! Changes of tables: every entry of guest tables and EPT, leaf or not, with the values that it takes in turn.

use super::common::Numbers;
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

pub struct Edits {
    entries: Vec<Entry>,
}

/// Which kind of tables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Guest,
    Ept,
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
    pub fn new(world: &World) -> Self {
        let mut edits = Self { entries: vec![] };
        let universe = world.universe();
        let mut guest_spare = Spare { next: TABLES + 0x1_0000, end: TABLES + 0x2_0000 };
        for &root in &universe.roots {
            edits.collect(&world.ram, Kind::Guest, root, 4, &mut guest_spare);
            guest_spare = Spare { next: TABLES + 0x3_0000, end: TABLES_END };
        }
        let mut ept_spare = Spare { next: 0x4_0000, end: 0x8_0000 };
        for ept in &world.epts {
            edits.collect(&world.ram, Kind::Ept, ept.context().root.0, 4, &mut ept_spare);
            ept_spare = Spare { next: 0xc_0000, end: 0x10_0000 };
        }
        edits
    }

    fn collect(&mut self, ram: &Ram, kind: Kind, table: u64, level: u8, spare: &mut Spare) {
        for index in 0..512 {
            let at = table + 8 * index;
            let value = read(ram, at);
            if value & 7 == 0 {
                continue;
            }
            let leaf = level == 1 || value & LARGE != 0;
            let mut values = vec![value, value & !7];
            match (kind, leaf) {
                (Kind::Guest, _) => values.extend([value & !2, value & !4, value | 1 << 63]),
                // The guest's tables stay accessible, so that flags can be set in them.
                (Kind::Ept, true) if !is_for_tables(value) => values.extend([value & !2, value & !4]),
                (Kind::Ept, _) => {}
            }
            match (leaf, spare.take()) {
                (true, _) if kind == Kind::Ept && is_for_tables(value) => {
                    let copy = value & ADDRESS ^ 0x1_0000;
                    values.push(value & !ADDRESS | copy);
                }
                (true, _) => values.push(moved(value, level)),
                (false, Some(copy)) => {
                    shallow_copy(ram, value & ADDRESS, copy, level - 1);
                    values.push(value & !ADDRESS | copy);
                }
                (false, None) => {}
            }
            self.entries.push(Entry { at, values });
            if !leaf {
                self.collect(ram, kind, value & ADDRESS, level - 1, spare);
            }
        }
    }

    /// Changes one entry; accessed and dirty flags begin anew.
    pub fn make(&self, numbers: &mut Numbers, ram: &Ram) {
        let entry = &self.entries[numbers.below(self.entries.len() as u64) as usize];
        let value = numbers.pick(&entry.values);
        // Mostly, and in the end always, the tables are whole.
        let value = if numbers.one_in(2) { entry.values[0] } else { value };
        ram.write(HostPhysicalAddress(entry.at), value).unwrap();
    }
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
