//! Address spaces for random runs: two on the machine itself, two in each of two guests.

use crate::common::Numbers;
use crate::machine::{DATA, GUEST, Machine, map};
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::oracle::What;
use mmu::tables::{EptTables, Leaf, PageTables};
use mmu::{Context, PageSize};

/// Pages that every space has: some under one PDE, one elsewhere, a large one, and a global one that the two spaces of
/// a pair share.
pub const PAGES: [LinearAddress; 6] = [
    LinearAddress(0x40_0000),
    LinearAddress(0x40_1000),
    LinearAddress(0x40_2000),
    LinearAddress(0x4000_0000),
    LinearAddress(0x8000_0000),
    LinearAddress(0xffff_8000_0000_0000),
];
pub const LARGE: usize = 4;
pub const GLOBAL: usize = 5;
/// Host-physical memory that nobody uses at first.
const SPARE: u64 = 48 << 20;
const ADDRESS: u64 = 0xf_ffff_f000;

/// An address space.
pub struct Space {
    /// Its guest, or `None` on the machine itself.
    pub guest: Option<usize>,
    pub pcid: u16,
    pub tables: PageTables,
    /// The context in which it runs last.
    pub context: Option<Context>,
}

/// A guest.
pub struct Guest {
    pub vpid: Option<u16>,
    pub ept: EptTables,
    /// Whether its EPT has accessed and dirty flags.
    pub flags: bool,
}

pub struct World {
    pub machine: Machine,
    pub spaces: Vec<Space>,
    pub guests: Vec<Guest>,
    spare: u64,
    free: Vec<(u64, u64)>,
}

/// How much an edit of an entry takes along.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Reach {
    Page,
    GlobalPage,
    Table,
    Ept,
}

/// An edit to be made.
#[derive(Clone, Copy, Debug)]
pub struct Edit {
    pub what: What,
    pub level: u8,
    pub entry: HostPhysicalAddress,
    pub new: u64,
    pub reach: Reach,
    pub space: usize,
    pub page: LinearAddress,
    /// Memory that is free when software relies on the edit, and its size.
    pub frees: Option<(u64, u64)>,
}

impl World {
    pub fn new(numbers: &mut Numbers) -> Self {
        let mut machine = Machine::new(1 + numbers.below(4) as usize);
        machine.with_pcids();
        let guests: Vec<_> = (1..3)
            .map(|number| {
                let size = numbers.pick(&[PageSize::Size4K, PageSize::Size4K, PageSize::Size2M]);
                let vpid = (!numbers.one_in(4)).then_some(4 + number);
                Guest { vpid, ept: machine.ept(u64::from(number), size), flags: numbers.one_in(2) }
            })
            .collect();
        let mut spaces = Vec::new();
        for number in 0..6 {
            let guest = (number >= 2).then(|| (number - 2) / 2);
            spaces.push(Self::space(&machine, &guests, number, guest));
        }
        for pair in 0..3 {
            Self::share(&machine, &mut spaces, pair);
        }
        Self { machine, spaces, guests, spare: SPARE, free: vec![] }
    }

    fn space(machine: &Machine, guests: &[Guest], number: usize, guest: Option<usize>) -> Space {
        let frames = 0x10_0000 + 0x8_0000 * (number as u64 % 2);
        let mut tables = match guest {
            None => machine.tables(frames),
            Some(guest) => machine.guest_tables(guests[guest].ept.context(), frames),
        };
        for (place, &page) in PAGES.iter().enumerate() {
            let frame = DATA + 0x10_0000 * (number as u64 % 2) + 0x1000 * place as u64;
            match place {
                LARGE => map(&machine.ram, &mut tables, page, 10 << 20, PageSize::Size2M),
                GLOBAL if number % 2 == 1 => {}
                _ => map(&machine.ram, &mut tables, page, frame, PageSize::Size4K),
            }
        }
        Space { guest, pcid: 1 + number as u16 % 2, tables, context: None }
    }

    /// Gives the second space of a pair the upper half of the first, and makes that global.
    fn share(machine: &Machine, spaces: &mut [Space], pair: usize) {
        let leaf = spaces[2 * pair].tables.leaf(&machine.ram, PAGES[GLOBAL]).unwrap().unwrap();
        machine.ram.write(leaf.entry, leaf.value | 1 << 8).unwrap();
        let host = |space: &Space| {
            let start = space.guest.map_or(0, |guest| GUEST * (guest as u64 + 1));
            HostPhysicalAddress(start + space.tables.root().0 + 8 * 256)
        };
        let upper: u64 = machine.ram.read(host(&spaces[2 * pair])).unwrap();
        machine.ram.write(host(&spaces[2 * pair + 1]), upper).unwrap();
    }

    /// The EPTP of a guest.
    pub fn eptp(&self, guest: usize) -> u64 {
        let Guest { ept, flags, .. } = &self.guests[guest];
        ept.context().root.0 | 3 << 3 | 6 | u64::from(*flags) << 6
    }

    pub fn vpid(&self, space: usize) -> u16 {
        self.spaces[space].guest.and_then(|guest| self.guests[guest].vpid).unwrap_or(0)
    }

    /// Memory that nobody uses, with the content of other memory.
    fn copy(&mut self, from: u64, bytes: u64) -> u64 {
        let kept = self.free.iter().position(|&(_, size)| size == bytes);
        let to = kept.map(|place| self.free.swap_remove(place).0).unwrap_or_else(|| {
            let to = self.spare.next_multiple_of(bytes);
            self.spare = to + bytes;
            to
        });
        let mut content = vec![0; bytes as usize];
        self.machine.ram.copy_out(HostPhysicalAddress(from), &mut content).unwrap();
        self.machine.ram.copy_in(HostPhysicalAddress(to), &content).unwrap();
        to
    }

    /// Gives memory to whoever wants it next, after filling it with what looks like entries.
    pub fn release(&mut self, (at, bytes): (u64, u64)) {
        self.machine.ram.fill(HostPhysicalAddress(at), DATA | 0x67, bytes / 8).unwrap();
        self.free.push((at, bytes));
    }

    /// An edit that some software may make. `None` where the entry is out of reach now.
    pub fn edit(&mut self, numbers: &mut Numbers) -> Option<Edit> {
        let space = numbers.below(6) as usize;
        match self.spaces[space].guest {
            Some(guest) if numbers.one_in(3) => self.ept_edit(numbers, space, guest),
            _ => self.guest_edit(numbers, space),
        }
    }

    fn leaf(&mut self, space: usize, page: LinearAddress) -> Option<Leaf> {
        let Self { machine, spaces, .. } = self;
        spaces[space].tables.leaf(&machine.ram, page).ok().flatten()
    }

    fn guest_edit(&mut self, numbers: &mut Numbers, space: usize) -> Option<Edit> {
        let place = numbers.below(6) as usize;
        let page = PAGES[place];
        let context = self.spaces[space].context?;
        let Some(leaf) = self.leaf(space, page) else { return self.map_again(space, place, context) };
        let (bytes, level) = (leaf.size.bytes(), leaf.size as u8 + 1);
        let what = What::GuestEntry { context, page, size: bytes };
        let reach = if place == GLOBAL { Reach::GlobalPage } else { Reach::Page };
        let edit = |new| Edit { what, level, entry: leaf.entry, new, reach, space, page, frees: None };
        Some(match numbers.below(8) {
            0..=1 => edit(leaf.value & !1),
            2 => edit(leaf.value ^ 2),
            3 => edit(leaf.value & !0x60),
            4 => edit(leaf.value ^ 1 << 63),
            // Within what the guest has, and far from its tables.
            5..=6 if bytes == 0x1000 => edit(leaf.value ^ 0x20_0000 & ADDRESS ^ 0x4_0000),
            7 if bytes == 0x1000 && place < 4 && self.spaces[space].guest.is_none() => {
                self.replace_table(space, page, context, &leaf)?
            }
            _ => edit(leaf.value | 0x20),
        })
    }

    /// Makes a page present that an edit has made not present.
    fn map_again(&mut self, space: usize, place: usize, context: Context) -> Option<Edit> {
        let page = PAGES[place];
        let Self { machine, .. } = self;
        let size = if place == LARGE { PageSize::Size2M } else { PageSize::Size4K };
        let path = path(machine, &context, page);
        let (level, entry) = path.last().copied()?;
        let value: u64 = machine.ram.read(entry).unwrap();
        if value & 1 != 0 || level != size as u8 + 1 {
            return None;
        }
        let what = What::GuestEntry { context, page, size: size.bytes() };
        let reach = if place == GLOBAL { Reach::GlobalPage } else { Reach::Page };
        Some(Edit { what, level, entry, new: value | 1, reach, space, page, frees: None })
    }

    /// Another page table for a page, in which it is mapped to another frame.
    fn replace_table(
        &mut self,
        space: usize,
        page: LinearAddress,
        context: Context,
        leaf: &Leaf,
    ) -> Option<Edit> {
        let table = self.copy(leaf.entry.page().0, 0x1000);
        let at = HostPhysicalAddress(table + (leaf.entry.0 & 0xfff));
        self.machine.ram.write(at, leaf.value ^ 0x4_0000).unwrap();
        let path = path(&self.machine, &context, page);
        let (level, entry) = path.into_iter().find(|(level, _)| *level == 2)?;
        let what = What::GuestEntry { context, page: LinearAddress(page.0 & !0x1f_ffff), size: 2 << 20 };
        let new = self.machine.ram.read::<u64>(entry).unwrap() & !ADDRESS | table;
        let frees = Some((leaf.entry.page().0, 0x1000));
        Some(Edit { what, level, entry, new, reach: Reach::Table, space, page, frees })
    }

    fn ept_edit(&mut self, numbers: &mut Numbers, space: usize, guest: usize) -> Option<Edit> {
        let tables = self.spaces[space].tables.root().0;
        let data = DATA + 0x10_0000 * (space as u64 % 2);
        // The fourth frame of the tables holds the first page table.
        let frame = numbers.pick(&[data, data + 0x1000, data + 0x3000, 10 << 20, tables + 0x3000, tables]);
        let Self { machine, guests, .. } = self;
        let ept = guests[guest].ept.context();
        let leaf = guests[guest].ept.leaf(&machine.ram, GuestPhysicalAddress(frame)).ok().flatten();
        let Leaf { entry, value, size } = leaf?;
        let frame = GuestPhysicalAddress(frame & !size.offset_mask());
        let what = What::EptEntry { ept, page: frame, size: size.bytes() };
        let (level, page) = (size as u8 + 1, PAGES[0]);
        let edit = |new| Edit { what, level, entry, new, reach: Reach::Ept, space, page, frees: None };
        let is_data = frame.0 >= DATA;
        Some(match numbers.below(5) {
            0 if is_data => edit(value ^ 2),
            1 if is_data => edit(value ^ 4),
            2 => edit(value & !0x300),
            // Taken away and given back: a pending edit keeps it from being found absent.
            3 if is_data => edit(value ^ 2 ^ 4),
            _ => {
                let host = value & ADDRESS & !size.offset_mask();
                let to = self.copy(host, size.bytes());
                let moved = edit(value & !(ADDRESS & !size.offset_mask()) | to);
                Edit { frees: Some((host, size.bytes())), ..moved }
            }
        })
    }
}

/// The guest entries of a walk: level and place.
fn path(machine: &Machine, context: &Context, page: LinearAddress) -> Vec<(u8, HostPhysicalAddress)> {
    let mut references = Vec::<mmu::Reference>::new();
    let _ = mmu::paging::walk(&machine.ram, context, page, isa::address::AccessKind::Read, &mut references);
    let guest = references.iter().filter(|reference| reference.dimension == mmu::Dimension::Guest);
    guest.map(|reference| (reference.level, reference.host_physical)).collect()
}
