//! Memory with holes and with ranges that are only read.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Numbers, cases};
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::fast::Allowed;
use mmu::ram::{AccessError, MemoryKind, MemoryRange, RamError};
use mmu::tables::{FrameAllocator, Home, PagePermissions, PageTables};
use mmu::{Context, Fault, Geometry, Mmu, PageSize, PagingMode, Ram};
use proptest::prelude::*;

/// Tables in the first MByte, a hole of two pages, RAM, a ROM of two pages, RAM, and nothing behind it.
const HOLE: u64 = 0x10_0000;
const ROM: u64 = 0x10_4000;
const END: u64 = 0x10_8000;
/// Linear addresses of the page before the hole and of those that follow.
const BEFORE: LinearAddress = LinearAddress(0x40_0000);

fn ram() -> Ram {
    Ram::with_ranges(&[
        MemoryRange::ram(HostPhysicalAddress(HOLE + 0x2000), ROM - HOLE - 0x2000),
        MemoryRange::rom(HostPhysicalAddress(ROM), 0x2000),
        MemoryRange::ram(HostPhysicalAddress(ROM + 0x2000), END - ROM - 0x2000),
        MemoryRange::ram(HostPhysicalAddress(0), HOLE),
    ])
    .unwrap()
}

fn machine<const OBSERVED: bool>() -> Mmu<OBSERVED> {
    let ram = ram();
    let frames = FrameAllocator::new(GuestPhysicalAddress(0x1_0000), 64);
    let mut tables = PageTables::new(&ram, PagingMode::FourLevel, frames, Home::Identity).unwrap();
    let all = PagePermissions::USER | PagePermissions::WRITE;
    let to = GuestPhysicalAddress(HOLE - 0x1000);
    tables.map(&ram, BEFORE, to, 0xb000, PageSize::Size4K, all).unwrap();
    let mut mmu = Mmu::new(ram, &Geometry::functional()).unwrap();
    mmu.set_context(Context { cr3: tables.root(), ..Context::user(PagingMode::FourLevel) });
    mmu
}

/// The linear address that is mapped to a host-physical one.
const fn at(host: u64) -> LinearAddress {
    LinearAddress(BEFORE.0 + host - (HOLE - 0x1000))
}

fn every_access_to_the_hole<const OBSERVED: bool>() {
    let mut mmu = machine::<OBSERVED>();
    for (host, outside) in [
        (HOLE - 3, HOLE),
        (HOLE, HOLE),
        (HOLE + 0xffd, HOLE + 0xffd),
        (HOLE + 0x1ff8, HOLE + 0x1ff8),
        (HOLE + 0x1fff, HOLE + 0x1fff),
        (END - 1, END),
        (END + 0x10, END + 0x10),
    ] {
        let fault = Fault::OutsideRam { address: HostPhysicalAddress(outside) };
        // Twice: what the TLB and the fast map have learned changes nothing.
        for _ in 0..2 {
            assert_eq!(mmu.read::<u64>(at(host)), Err(fault));
            assert_eq!(mmu.write(at(host), u64::MAX), Err(fault));
            assert_eq!(mmu.modify(at(host), |_: u64| panic!("called before the refusal")), Err(fault));
        }
        assert_eq!(mmu.translate(at(host), AccessKind::Read, 1).unwrap(), HostPhysicalAddress(host));
        if host == outside {
            assert_eq!(mmu.fetch(at(host)), Err(fault));
            assert_eq!(mmu.run(at(host), AccessKind::Write, 8), Err(fault));
        }
    }
    assert_eq!(mmu.read::<u32>(at(HOLE - 4)), Ok(0), "nothing was written");
    assert_eq!(mmu.read::<u64>(at(HOLE + 0x2000)), Ok(0), "nothing was written");
    assert_eq!(mmu.read::<u64>(at(END - 8)), Ok(0), "nothing was written");
}

#[test]
fn an_access_that_touches_a_hole_names_its_first_byte_there_and_writes_nothing() {
    every_access_to_the_hole::<false>();
    every_access_to_the_hole::<true>();
}

#[test]
fn a_paging_structure_in_a_hole_is_named() {
    let mut mmu = machine::<false>();
    mmu.set_context(Context { cr3: GuestPhysicalAddress(HOLE), ..*mmu.context() });
    let address = HostPhysicalAddress(HOLE + 8 * (BEFORE.0 >> 39));
    assert_eq!(mmu.read::<u8>(BEFORE), Err(Fault::OutsideRam { address }));
}

fn rom<const OBSERVED: bool>() {
    let mut mmu = machine::<OBSERVED>();
    mmu.ram().program(HostPhysicalAddress(ROM), &[0xaa; 0x2000]).unwrap();
    for _ in 0..2 {
        assert_eq!(mmu.read(at(ROM + 8)), Ok(0xaa_u8));
        mmu.write(at(ROM + 8), 0x55_u8).unwrap();
        assert_eq!(mmu.modify(at(ROM + 8), |old: u8| old + 1), Ok(0xaa));
        assert_eq!(mmu.read(at(ROM + 8)), Ok(0xaa_u8), "writes are ignored");
        assert!(!mmu.fast().holds(at(ROM), Allowed::ReadWrite));
    }
    // Into the ROM and out of it.
    mmu.write(at(ROM - 2), 0x1122_3344_u32).unwrap();
    mmu.write(at(ROM + 0x1ffe), 0x5566_7788_u32).unwrap();
    assert_eq!(mmu.read(at(ROM - 2)), Ok(0xaaaa_3344_u32));
    assert_eq!(mmu.read(at(ROM + 0x1ffe)), Ok(0x5566_aaaa_u32));
    // Code of a ROM is code, and a write to it is as harmless as before.
    mmu.mark_code(HostPhysicalAddress(ROM));
    assert!(mmu.holds_code(HostPhysicalAddress(ROM)));
    mmu.write(at(ROM + 8), 1_u8).unwrap();
    mmu.unmark_code(HostPhysicalAddress(ROM));
    assert!(!mmu.holds_code(HostPhysicalAddress(ROM)));
    mmu.write(at(ROM + 8), 1_u8).unwrap();
    assert_eq!(mmu.read(at(ROM + 8)), Ok(0xaa_u8));
}

#[test]
fn writes_to_a_rom_are_ignored_byte_by_byte() {
    rom::<false>();
    rom::<true>();
}

#[test]
fn ranges_that_cannot_be_are_refused() {
    let range = |start, bytes| MemoryRange::ram(HostPhysicalAddress(start), bytes);
    let size = |ranges: &[MemoryRange]| matches!(Ram::with_ranges(ranges), Err(RamError::Size { .. }));
    assert!(size(&[]));
    assert!(size(&[range(0, 0)]));
    assert!(size(&[range(0x800, 0x1000)]));
    assert!(size(&[range(0, 0x1000), range(0x2000, 0x800)]));
    assert!(size(&[range(1 << 46, 0x1000)]));
    assert!(size(&[range(!0xfff, 0x1000)]));
    let overlap = Ram::with_ranges(&[range(0x2000, 0x1000), range(0, 0x2000), range(0x1000, 0x1000)]);
    let Err(RamError::Overlap { address }) = overlap else { panic!("{overlap:?}") };
    assert_eq!(address, HostPhysicalAddress(0x1000));
    let ram = ram();
    assert_eq!((ram.bytes(), ram.end()), (END - 0x2000, HostPhysicalAddress(END)));
}

/// Memory as a list of pages, `None` in holes.
struct Model {
    kinds: Vec<Option<MemoryKind>>,
    code: Vec<bool>,
    bytes: Vec<u8>,
}

const PAGES: u64 = 12;

impl Model {
    fn new(numbers: &mut Numbers) -> (Self, Ram) {
        let kinds: Vec<_> = (0..PAGES)
            .map(|page| match numbers.below(4) {
                0 => None,
                1 if page != 0 => Some(MemoryKind::ReadOnly),
                _ => Some(MemoryKind::ReadWrite),
            })
            .chain([Some(MemoryKind::ReadWrite)])
            .collect();
        let range = |(page, kind): (u64, &Option<MemoryKind>)| {
            Some(MemoryRange { start: HostPhysicalAddress(page * 4096), bytes: 4096, kind: (*kind)? })
        };
        let mut ranges: Vec<_> = (0..).zip(&kinds).filter_map(range).collect();
        if numbers.one_in(2) {
            ranges.reverse();
        }
        let ram = Ram::with_ranges(&ranges).unwrap();
        let bytes = vec![0; kinds.len() * 4096];
        (Self { code: vec![false; kinds.len()], kinds, bytes }, ram)
    }

    fn readable(&self, at: u64, bytes: u64) -> Result<(), AccessError> {
        let is_hole = |address: &u64| self.kinds.get((address / 4096) as usize).is_none_or(Option::is_none);
        match (at..at + bytes).find(is_hole) {
            Some(address) => Err(AccessError::Outside { address: HostPhysicalAddress(address) }),
            None => Ok(()),
        }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), AccessError> {
        self.readable(at, bytes.len() as u64)?;
        let writable = |page: u64| self.kinds[page as usize] == Some(MemoryKind::ReadWrite);
        for page in at / 4096..=(at + bytes.len() as u64 - 1) / 4096 {
            if writable(page) && self.code[page as usize] {
                return Err(AccessError::CodePage { page: HostPhysicalAddress(page * 4096) });
            }
        }
        for (address, byte) in (at..).zip(bytes) {
            if writable(address / 4096) {
                self.bytes[address as usize] = *byte;
            }
        }
        Ok(())
    }

    fn slice(&self, at: u64, bytes: u64) -> &[u8] {
        &self.bytes[at as usize..(at + bytes) as usize]
    }
}

fn step(numbers: &mut Numbers, model: &mut Model, ram: &mut Ram) {
    let edge = numbers.below(PAGES + 2) * 4096;
    let at = (edge + numbers.below(32)).saturating_sub(16);
    let host = HostPhysicalAddress(at);
    let value = numbers.next();
    match numbers.below(7) {
        0 => {
            let expected =
                model.readable(at, 8).map(|()| u64::from_le_bytes(model.slice(at, 8).try_into().unwrap()));
            assert_eq!(ram.read::<u64>(host), expected);
        }
        1 => assert_eq!(ram.write(host, value), model.write(at, &value.to_le_bytes())),
        2 => {
            let bytes = vec![value as u8; 1 + numbers.below(9000) as usize];
            assert_eq!(ram.copy_in(host, &bytes), model.write(at, &bytes));
        }
        3 => {
            let count = 1 + numbers.below(2000);
            let bytes = value.to_le_bytes()[..4].repeat(count as usize);
            assert_eq!(ram.fill(host, value as u32, count), model.write(at, &bytes));
        }
        4 => {
            let to = (at + numbers.below(9000)).saturating_sub(4000);
            let length = 1 + numbers.below(6000);
            let copied = ram.copy_within(host, HostPhysicalAddress(to), length);
            let expected = model.readable(at, length).and_then(|()| {
                let bytes = model.slice(at, length).to_vec();
                model.write(to, &bytes)
            });
            assert_eq!(copied, expected);
        }
        5 => {
            let page = edge / 4096;
            if numbers.one_in(2) && model.readable(edge, 1).is_ok() {
                let mut mmu = Mmu::<false>::new(core::mem::take(ram), &Geometry::functional()).unwrap();
                mmu.mark_code(HostPhysicalAddress(edge));
                *ram = mmu.into_ram();
                model.code[page as usize] = true;
            } else if let Some(code) = model.code.get_mut(page as usize) {
                ram.unmark_code(HostPhysicalAddress(edge));
                *code = false;
            }
        }
        _ => {
            let mut bytes = vec![0; 1 + numbers.below(9000) as usize];
            let expected = model.readable(at, bytes.len() as u64);
            assert_eq!(ram.copy_out(host, &mut bytes), expected);
            if expected.is_ok() {
                assert_eq!(bytes, model.slice(at, bytes.len() as u64));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn memory_with_holes_equals_a_list_of_pages(seed: u64) {
        let mut numbers = Numbers(seed);
        let (mut model, mut ram) = Model::new(&mut numbers);
        for _ in 0..60 {
            step(&mut numbers, &mut model, &mut ram);
        }
        for page in 0..=PAGES {
            let mut bytes = [0; 4096];
            if ram.copy_out(HostPhysicalAddress(page * 4096), &mut bytes).is_ok() {
                assert_eq!(bytes, model.slice(page * 4096, 4096));
            }
        }
    }
}
