//! Random machines: a few frames that serve as tables of every level, with entries that are mostly well-formed.

use super::Numbers;
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::PageSize;
use mmu::Ram;
use mmu::context::{Context, Controls, PagingMode, Privilege};
use mmu::ept::{EptContext, EptControls, EptLevels};
use mmu::tlb::{ArrayGeometry, Geometry, StructureArray, StructureGeometry};

/// Frames of guest tables and pages.
pub const GUEST_FRAMES: u64 = 8;
/// Frames of EPT tables, behind those.
pub const EPT_FRAMES: u64 = 8;
/// The entries of a table that addresses use.
pub const INDEXES: [u64; 4] = [0, 1, 256, 511];
/// The same under 32-bit paging, which has 1024.
pub const NARROW_INDEXES: [u64; 4] = [0, 1, 512, 1023];
/// Bytes of RAM.
pub const RAM: u64 = 0x40_0000;

pub const PRIVILEGES: [Privilege; 3] =
    [Privilege::User, Privilege::Supervisor, Privilege::ImplicitSupervisor];

pub const KINDS: [AccessKind; 3] = [AccessKind::Read, AccessKind::Write, AccessKind::Execute];

pub fn machine(numbers: &mut Numbers) -> (Ram, Context) {
    let ram = Ram::new(RAM).unwrap();
    let context = context(numbers);
    let disorder = numbers.pick(&[0, 6, 40]);
    let keys = context.controls.contains(Controls::PROTECTION_KEYS) && numbers.one_in(2);
    for frame in 0..GUEST_FRAMES {
        for index in INDEXES {
            let entry = guest_entry(numbers, disorder) | if keys { numbers.below(16) << 59 } else { 0 };
            ram.write(HostPhysicalAddress(frame * 4096 + index * 8), entry).unwrap();
        }
        if context.mode == PagingMode::ThirtyTwoBit {
            for index in NARROW_INDEXES {
                let entry = narrow_entry(numbers, disorder);
                ram.write(HostPhysicalAddress(frame * 4096 + index * 4), entry).unwrap();
            }
        }
    }
    for frame in GUEST_FRAMES..GUEST_FRAMES + EPT_FRAMES {
        // Guest-physical addresses are small: entries 0 to 15 are in use at every level.
        for index in (0..16).chain([511]) {
            let entry = ept_entry(numbers, disorder);
            ram.write(HostPhysicalAddress(frame * 4096 + index * 8), entry).unwrap();
        }
    }
    (ram, context)
}

pub fn context(numbers: &mut Numbers) -> Context {
    let ept_frame = GUEST_FRAMES + numbers.below(EPT_FRAMES);
    let ept = numbers.one_in(2).then(|| EptContext {
        root: HostPhysicalAddress(ept_frame * 4096),
        tagged_with: None,
        levels: numbers.pick(&[EptLevels::Four, EptLevels::Five]),
        controls: EptControls::from_bits_truncate(numbers.next() as u8 | numbers.pick(&[0, 0x1c])),
    });
    let some = numbers.next() as u16;
    Context {
        mode: numbers.pick(&[
            PagingMode::FourLevel,
            PagingMode::FiveLevel,
            PagingMode::FourLevel,
            PagingMode::Pae,
            PagingMode::ThirtyTwoBit,
            PagingMode::None,
        ]),
        cr3: GuestPhysicalAddress(numbers.below(GUEST_FRAMES) * 4096),
        pdptes: [(); 4].map(|()| numbers.below(GUEST_FRAMES) << 12 | u64::from(!numbers.one_in(8))),
        controls: Controls::from_bits_truncate(some | numbers.pick(&[0, 0x42])),
        privilege: numbers.pick(&PRIVILEGES),
        pkru: if numbers.one_in(3) { (numbers.next() & numbers.next()) as u32 } else { 0 },
        physical_address_width: numbers.pick(&[36, 46, 52]),
        pcid: numbers.below(2) as u16,
        vpid: numbers.below(2) as u16,
        tag_word: 0,
        ept,
    }
}

/// An address whose index is in use at every level.
pub fn address(numbers: &mut Numbers, context: &Context) -> LinearAddress {
    if context.mode == PagingMode::None {
        return LinearAddress(numbers.below(16) * 4096 + numbers.below(4096));
    }
    let mut value = numbers.below(4096);
    if context.mode == PagingMode::Pae {
        value |= numbers.pick(&INDEXES) << 12 | numbers.pick(&INDEXES) << 21 | numbers.below(4) << 30;
        return LinearAddress(if numbers.one_in(32) { value | 1 << 32 } else { value });
    }
    if context.mode == PagingMode::ThirtyTwoBit {
        value |= numbers.pick(&NARROW_INDEXES) << 12 | numbers.pick(&NARROW_INDEXES) << 22;
        return LinearAddress(if numbers.one_in(32) { value | 1 << 32 } else { value });
    }
    for level in 0..context.mode.levels() {
        value |= numbers.pick(&INDEXES) << (12 + 9 * level);
    }
    let unused = if context.mode == PagingMode::FourLevel { 16 } else { 7 };
    let canonical = ((value << unused) as i64 >> unused) as u64;
    LinearAddress(if numbers.one_in(32) { canonical ^ 1 << numbers.below(64) } else { canonical })
}

/// One bit in `disorder` entries is out of order; 0 is never.
fn guest_entry(numbers: &mut Numbers, disorder: u64) -> u64 {
    let mut entry = numbers.below(GUEST_FRAMES) << 12 | 0b111 | numbers.next() & 0x160;
    if numbers.one_in(6) {
        // A large page: the frame must be aligned, or the entry has reserved bits set.
        entry = entry & !0xf_f000 | 0x80 | if numbers.one_in(8) { numbers.next() & 0xf_e000 } else { 0 };
    }
    disturb(numbers, disorder, &mut entry, 0b110);
    if disorder != 0 && numbers.one_in(disorder) {
        entry |= 1 << 63;
    }
    entry
}

fn narrow_entry(numbers: &mut Numbers, disorder: u64) -> u32 {
    let mut entry = numbers.below(GUEST_FRAMES) << 12 | 0b111 | numbers.next() & 0x160;
    if numbers.one_in(6) {
        // A page of 4 MByte: mostly the first, or one behind 4 GByte.
        entry = entry & !0x3f_f000 | 0x80 | if numbers.one_in(4) { numbers.next() & 0x3f_e000 } else { 0 };
    }
    disturb(numbers, disorder, &mut entry, 0b110);
    entry as u32
}

fn ept_entry(numbers: &mut Numbers, disorder: u64) -> u64 {
    let mut entry =
        (GUEST_FRAMES + numbers.below(EPT_FRAMES)) << 12 | 0b111 | 1 << 10 | numbers.next() & 0x300;
    match numbers.below(8) {
        0 => entry = entry & !0xf_f000 | 0x80 | 6 << 3,
        1 => entry |= numbers.below(8) << 3,
        2 => entry = numbers.below(GUEST_FRAMES) << 12 | 0b111 | 1 << 10 | 6 << 3,
        _ => {}
    }
    disturb(numbers, disorder, &mut entry, 0x407);
    entry
}

fn disturb(numbers: &mut Numbers, disorder: u64, entry: &mut u64, rights: u64) {
    if disorder == 0 {
        return;
    }
    if numbers.one_in(disorder) {
        *entry &= !(numbers.next() & rights);
    }
    if numbers.one_in(disorder * 2) {
        *entry ^= 1 << numbers.pick(&[0, 1, 2, 7, 12, 40, 46, 51, 62]);
    }
}

/// Caches for walks, some or none, small or not; no TLB.
pub fn caches(numbers: &mut Numbers) -> Geometry {
    let mut nested = vec![];
    if numbers.one_in(2) {
        let sizes = numbers.pick(&[&[PageSize::Size4K][..], &PageSize::ALL]);
        nested.push(ArrayGeometry::new(sizes, numbers.pick(&[1, 4]), numbers.pick(&[1, 4])));
    }
    Geometry {
        structures: structures(numbers),
        guest_physical: nested,
        ept_structures: structures(numbers),
        ..Geometry::default()
    }
}

fn structures(numbers: &mut Numbers) -> StructureGeometry {
    let mut array = || {
        let (sets, ways) = (numbers.pick(&[1, 2]), numbers.pick(&[1, 4]));
        numbers.one_in(2).then_some(StructureArray { sets, ways })
    };
    StructureGeometry { pml5e: array(), pml4e: array(), pdpte: array(), pde: array() }
}
