//! 32-bit paging: entries of 4 bytes, and pages of 4 MByte (SDM 5.3).
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::guest::all_caches;
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::fault::{PageFaultCode, PageFaultReason};
use mmu::oracle::{Actor, Change, Oracle, Verdict, What};
use mmu::ram::MemoryRange;
use mmu::tlb::{ArrayGeometry, Geometry, Globals, Invalidation, Pcids, Structures};
use mmu::translator::{Hit, Translator};
use mmu::{Context, Controls, Fault, GuestPageSize, Mmu, PageSize, PagingMode, Ram};

const MEGABYTE: u64 = 1 << 20;
const FOUR_GIGABYTE: u64 = 1 << 32;
/// The page directory, two page tables, and the first of the data frames.
const DIRECTORY: u64 = 0x1000;
const TABLE: u64 = 0x2000;
const OTHER: u64 = 0x3000;
const DATA: u64 = 0x10_0000;
const PRESENT: u32 = 0b111;
const LARGE: u32 = 1 << 7;

/// 16 MByte of RAM, a hole, and 4 MByte behind 4 GByte.
fn ram() -> Ram {
    let low = MemoryRange::ram(HostPhysicalAddress(0), 16 * MEGABYTE);
    let high = MemoryRange::ram(HostPhysicalAddress(FOUR_GIGABYTE), 4 * MEGABYTE);
    Ram::with_ranges(&[low, high]).unwrap()
}

fn store(ram: &Ram, table: u64, index: u64, entry: u64) {
    ram.write(HostPhysicalAddress(table + 4 * index), entry as u32).unwrap();
}

fn load(ram: &Ram, table: u64, index: u64) -> u32 {
    ram.read(HostPhysicalAddress(table + 4 * index)).unwrap()
}

fn context() -> Context {
    Context { cr3: GuestPhysicalAddress(DIRECTORY), ..Context::user(PagingMode::ThirtyTwoBit) }
}

fn invlpg(address: LinearAddress) -> Invalidation {
    let (pcids, globals, structures) = (Pcids::One(0), Globals::Drop, Structures::All);
    Invalidation::Address { vpid: 0, pcids, globals, structures, address }
}

/// Geometries that cache 4 MByte in two pieces and in many.
fn geometries() -> [Geometry; 2] {
    let small = vec![ArrayGeometry::new(&[PageSize::Size4K], 64, 8)];
    let pieces = Geometry { level1_instruction: small.clone(), level1_data: small, ..Geometry::default() };
    [Geometry::functional(), pieces]
}

/// Two addresses of one page of 4 MByte, in different halves.
const HALVES: [LinearAddress; 2] = [LinearAddress(0x40_0123), LinearAddress(0x60_0123)];

#[test]
fn invlpg_removes_every_piece_of_a_page_of_4_mbyte() {
    for geometry in geometries() {
        let mut mmu = Mmu::<false>::new(ram(), &geometry).unwrap();
        mmu.set_context(context());
        for (invalidated, other) in [(HALVES[0], HALVES[1]), (HALVES[1], HALVES[0])] {
            store(mmu.ram(), DIRECTORY, 1, 0x40_0000 | u64::from(PRESENT | LARGE));
            mmu.invalidate(Invalidation::Everything);
            for half in HALVES {
                mmu.ram().write(HostPhysicalAddress(half.0), 1_u8).unwrap();
                mmu.ram().write(HostPhysicalAddress(half.0 + 0x40_0000), 2_u8).unwrap();
                assert_eq!(mmu.read(half), Ok(1_u8));
            }
            store(mmu.ram(), DIRECTORY, 1, 0x80_0000 | u64::from(PRESENT | LARGE));
            assert_eq!((mmu.read(invalidated), mmu.read(other)), (Ok(1_u8), Ok(1_u8)), "stale");
            mmu.invalidate(invlpg(invalidated));
            assert_eq!((mmu.read(other), mmu.read(invalidated)), (Ok(2_u8), Ok(2_u8)));
        }
    }
}

#[test]
fn a_page_of_4_mbyte_is_one_in_the_tables_and_two_in_the_tlb() {
    let ram = ram();
    store(&ram, DIRECTORY, 1, 0x40_0000 | u64::from(PRESENT | LARGE));
    let mut translator = Translator::new(&Geometry::functional()).unwrap();
    translator.set_context(context());
    let found = translator.translate(&ram, HALVES[0], AccessKind::Read, &mut ()).unwrap();
    let translation = found.translation;
    assert_eq!((translation.size, translation.guest_size), (PageSize::Size2M, GuestPageSize::Size4M));
    let near = LinearAddress(0x5f_ffff);
    assert_eq!(translator.translate(&ram, near, AccessKind::Read, &mut ()).unwrap().hit, Hit::L1);
    assert_eq!(translator.translate(&ram, HALVES[1], AccessKind::Read, &mut ()).unwrap().hit, Hit::Walk);
    assert_eq!(translator.tlb().entries(), 2);
}

#[test]
fn bits_20_to_13_of_a_large_pde_are_address_bits_39_to_32() {
    let mut mmu = Mmu::<false>::new(ram(), &Geometry::functional()).unwrap();
    let pse_36 = Context { physical_address_width: 36, ..context() };
    mmu.set_context(pse_36);
    mmu.ram().write(HostPhysicalAddress(FOUR_GIGABYTE + 0x12_3456), 7_u8).unwrap();
    let address = LinearAddress(0x12_3456);
    store(mmu.ram(), DIRECTORY, 0, u64::from(PRESENT | LARGE | 1 << 13));
    assert_eq!(mmu.read(address), Ok(7_u8));
    for bit in 13..22 {
        store(mmu.ram(), DIRECTORY, 0, u64::from(PRESENT | LARGE | 1 << bit));
        for (width, controls, last) in [
            (36, pse_36.controls, 16),
            (39, pse_36.controls, 19),
            (52, pse_36.controls, 20),
            (36, pse_36.controls - Controls::PSE_36, 12),
        ] {
            mmu.invalidate(Invalidation::Everything);
            mmu.set_context(Context { physical_address_width: width, controls, ..pse_36 });
            let found = mmu.probe(address, AccessKind::Read);
            if bit <= last {
                assert_eq!(found, Ok(HostPhysicalAddress(1 << (bit + 19) | address.0)));
            } else {
                assert_eq!(page_fault(found.unwrap_err()).0, PageFaultReason::ReservedBit { level: 2 });
            }
        }
    }
}

fn page_fault(fault: Fault) -> (PageFaultReason, PageFaultCode) {
    match fault {
        Fault::Page(fault) => (fault.reason, fault.code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_cr4_pse_bit_7_of_a_pde_is_ignored() {
    let ram = ram();
    store(&ram, DIRECTORY, 1, TABLE | u64::from(PRESENT | LARGE));
    store(&ram, TABLE, 0, DATA | u64::from(PRESENT));
    let mut mmu = Mmu::<false>::new(ram, &Geometry::functional()).unwrap();
    let controls = context().controls - Controls::PAGE_SIZE_EXTENSIONS;
    // Only bits 31:12 of CR3 count.
    let cr3 = GuestPhysicalAddress(DIRECTORY | 0x7_0000_0fff);
    mmu.set_context(Context { controls, cr3, ..context() });
    assert_eq!(mmu.probe(HALVES[0], AccessKind::Read), Ok(HostPhysicalAddress(DATA + 0x123)));
    mmu.set_context(context());
    // With it the same entry maps a page: bit 13 is address bit 32.
    assert_eq!(mmu.probe(HALVES[0], AccessKind::Read), Ok(HostPhysicalAddress(FOUR_GIGABYTE | 0x123)));
}

#[test]
fn flags_are_set_in_the_entry_and_in_nothing_beside_it() {
    // The last page before the hole is a table, and its last entry is used.
    let last = 16 * MEGABYTE - 0x1000;
    let ram = ram();
    store(&ram, DIRECTORY, 1023, last | u64::from(PRESENT));
    store(&ram, last, 1023, DATA | u64::from(PRESENT));
    store(&ram, last, 1022, 0xffff_ff9f);
    let mut mmu = Mmu::<false>::new(ram, &Geometry::functional()).unwrap();
    mmu.set_context(context());
    let address = LinearAddress(0xffff_f000);
    assert_eq!(mmu.read(address), Ok(0_u8));
    assert_eq!(load(mmu.ram(), last, 1023), DATA as u32 | PRESENT | 0x20);
    mmu.write(address, 1_u8).unwrap();
    assert_eq!(load(mmu.ram(), last, 1023), DATA as u32 | PRESENT | 0x60);
    assert_eq!(load(mmu.ram(), DIRECTORY, 1023), last as u32 | PRESENT | 0x20);
    assert_eq!(load(mmu.ram(), last, 1022), 0xffff_ff9f);
}

#[test]
fn a_fetch_is_told_under_smep_alone() {
    let mut mmu = Mmu::<false>::new(ram(), &Geometry::functional()).unwrap();
    let fetch = |mmu: &mut Mmu<false>, controls| {
        mmu.set_context(Context { controls, ..context() });
        page_fault(mmu.fetch(HALVES[0]).unwrap_err()).1
    };
    let on = context().controls | Controls::EXECUTE_DISABLE;
    assert_eq!(fetch(&mut mmu, on - Controls::SMEP), PageFaultCode::USER);
    assert_eq!(fetch(&mut mmu, on | Controls::SMEP), PageFaultCode::USER | PageFaultCode::INSTRUCTION);
}

#[test]
fn a_pde_is_cached_for_4_mbyte_and_a_fault_forgets_it_whole() {
    let ram = ram();
    for (index, table, frame) in [(0, TABLE, 0), (512, TABLE, 1), (0, OTHER, 2), (512, OTHER, 3)] {
        for page in 0..4 {
            store(&ram, table, index + page, (DATA + frame * 0x1_0000 + page * 0x1000) | u64::from(PRESENT));
        }
    }
    let read = |translator: &mut Translator, half: usize, page: u64| {
        let address = HALVES[half].add(page * 0x1000);
        translator
            .translate(&ram, address, AccessKind::Read, &mut ())
            .map(|found| found.translation.host(address))
    };
    let frame = |table: u64, half: u64, page: u64| {
        Ok(HostPhysicalAddress(DATA + (2 * table + half) * 0x1_0000 + page * 0x1000 + 0x123))
    };
    for faulting in 0..2 {
        let mut translator = Translator::new(&all_caches()).unwrap();
        translator.set_context(context());
        store(&ram, DIRECTORY, 1, TABLE | u64::from(PRESENT));
        assert_eq!(read(&mut translator, 0, 0), frame(0, 0, 0));
        assert_eq!(read(&mut translator, 1, 0), frame(0, 1, 0));
        store(&ram, DIRECTORY, 1, OTHER | u64::from(PRESENT));
        assert_eq!(read(&mut translator, 0, 1), frame(0, 0, 1), "the PDE is cached");
        assert_eq!(read(&mut translator, 1, 1), frame(0, 1, 1), "the PDE is cached");
        assert!(read(&mut translator, faulting, 9).is_err());
        assert_eq!(read(&mut translator, 0, 2), frame(1, 0, 2));
        assert_eq!(read(&mut translator, 1, 2), frame(1, 1, 2));
    }
}

#[test]
fn a_cached_pde_is_not_used_under_another_paging_mode() {
    let ram = ram();
    store(&ram, DIRECTORY, 1, TABLE | u64::from(PRESENT));
    store(&ram, TABLE, 0, DATA | u64::from(PRESENT));
    // PAE tables behind 0x8000: a PDE of the same address references a table with another page.
    let wide = |at: u64, entry: u64| ram.write(HostPhysicalAddress(at), entry).unwrap();
    wide(0x8000 + 2 * 8, 0x9000 | u64::from(PRESENT));
    wide(0x9000 + 8, (DATA + 0x5000) | u64::from(PRESENT));
    let mut translator = Translator::new(&all_caches()).unwrap();
    translator.set_context(context());
    translator.translate(&ram, LinearAddress(0x40_0000), AccessKind::Read, &mut ()).unwrap();
    let pae = Context { mode: PagingMode::Pae, pdptes: [0x8001, 0, 0, 0], ..context() };
    translator.set_context(pae);
    let address = LinearAddress(0x40_1000);
    let found = translator.translate(&ram, address, AccessKind::Read, &mut ()).unwrap();
    assert_eq!(found.translation.host(address), HostPhysicalAddress(DATA + 0x5000));
    translator.set_context(context());
    let address = LinearAddress(0x40_2000);
    store(&ram, TABLE, 2, (DATA + 0x7000) | u64::from(PRESENT));
    let found = translator.translate(&ram, address, AccessKind::Read, &mut ()).unwrap();
    assert_eq!(found.translation.host(address), HostPhysicalAddress(DATA + 0x7000));
}

#[test]
fn the_oracle_undoes_a_change_of_an_entry_without_its_neighbour() {
    let ram = ram();
    // The last entry of the last page before the hole.
    let table = 16 * MEGABYTE - 0x1000;
    store(&ram, DIRECTORY, 1, table | u64::from(PRESENT));
    store(&ram, table, 1023, DATA | u64::from(PRESENT));
    store(&ram, table, 1022, 0xdead_be00);
    let page = LinearAddress(0x7f_f000);
    let mut translator = Translator::new(&Geometry::functional()).unwrap();
    translator.set_context(context());
    let mut oracle = Oracle::new(1);
    // The oracle has seen the processor, and not the page.
    let other = LinearAddress(0x80_0000);
    store(&ram, DIRECTORY, 2, TABLE | u64::from(PRESENT));
    store(&ram, TABLE, 0, DATA | u64::from(PRESENT));
    let found = translator.translate(&ram, other, AccessKind::Read, &mut ()).unwrap();
    assert_eq!(oracle.used(&ram, 0, &context(), other, AccessKind::Read, &found, 1), Verdict::Coherent);
    translator.translate(&ram, page, AccessKind::Read, &mut ()).unwrap();
    let old = load(&ram, table, 1023);
    let new = (DATA + 0x1000) | u64::from(PRESENT);
    store(&ram, table, 1023, new);
    oracle.changed(Change {
        by: Actor { processor: 0, who: "test".into() },
        at: 2,
        what: What::GuestEntry { context: context(), page, size: 0x1000 },
        entry: HostPhysicalAddress(table + 4 * 1023),
        level: 1,
        old: u64::from(old),
        new,
    });
    let mut used = |translator: &mut Translator, at| {
        let found = translator.translate(&ram, page, AccessKind::Read, &mut ()).unwrap();
        oracle.used(&ram, 0, &context(), page, AccessKind::Read, &found, at)
    };
    assert_eq!(used(&mut translator, 3), Verdict::InWindow);
    assert_eq!(load(&ram, table, 1022), 0xdead_be00);
    assert_eq!(load(&ram, table, 1023), new as u32, "what stood there is put back");
    translator.invalidate(invlpg(page));
    assert_eq!(used(&mut translator, 4), Verdict::Coherent);
}

#[test]
fn addresses_have_32_bits() {
    let mut mmu = Mmu::<false>::new(ram(), &Geometry::functional()).unwrap();
    mmu.set_context(context());
    for high in [1_u64 << 32, 1 << 63] {
        let address = LinearAddress(HALVES[0].0 | high);
        assert_eq!(mmu.read::<u8>(address), Err(Fault::NonCanonical { address }));
    }
}
