//! PAE paging: 32-bit addresses and PDPTE registers (SDM 5.4).
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::guest::{Behind, HOME, Machine, PAGE, all_caches, data, page};
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::ept::EptTarget;
use mmu::fault::PageFaultReason;
use mmu::paging::{PdpteError, load_pdptes};
use mmu::tables::{PagePermissions, TablesError};
use mmu::{Context, Controls, Fault, PageSize, PagingMode};

const KINDS: [Behind; 3] =
    [Behind::Nothing, Behind::Ept(PageSize::Size4K), Behind::EptWithFlags(PageSize::Size4K)];

fn machine(behind: Behind) -> Machine {
    Machine::new(PagingMode::Pae, behind, &all_caches())
}

fn reason(fault: Fault) -> PageFaultReason {
    match fault {
        Fault::Page(fault) => fault.reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn addresses_have_32_bits() {
    let mut machine = machine(Behind::Nothing);
    assert_eq!(machine.read(PAGE), Ok(data(Behind::Nothing, 0)));
    for high in [1_u64 << 32, 1 << 63, 0xffff_ffff_0000_0000] {
        let address = LinearAddress(PAGE.0 | high);
        assert_eq!(machine.read(address), Err(Fault::NonCanonical { address }));
    }
    let last = LinearAddress(0xffff_ffff);
    assert_eq!(reason(machine.read(last).unwrap_err()), PageFaultReason::NotPresent { level: 3 });
}

#[test]
fn a_pdpte_in_memory_means_nothing_before_it_is_loaded() {
    for behind in KINDS {
        let mut machine = machine(behind);
        let root = machine.tables.root();
        let home = if behind == Behind::Nothing { 0 } else { HOME };
        let at = HostPhysicalAddress(home + root.0 + 8);
        let pdpte = machine.load(at);
        machine.store(at, 0);
        assert_eq!(machine.read(PAGE), Ok(data(behind, 0)));
        assert_eq!(machine.load(at), 0, "a PDPTE has no accessed flag");
        let pdptes = load_pdptes(&machine.ram, &machine.context(), root.0).unwrap();
        machine.translator.set_context(Context { pdptes, ..machine.context() });
        assert_eq!(machine.read(PAGE), Ok(data(behind, 0)), "still cached");
        let fault = machine.read(page(1024)).unwrap_err();
        assert_eq!(reason(fault), PageFaultReason::NotPresent { level: 3 });
        machine.translator.invalidate(mmu::tlb::Invalidation::Everything);
        assert_eq!(reason(machine.read(PAGE).unwrap_err()), PageFaultReason::NotPresent { level: 3 });
        machine.store(at, pdpte);
        assert!(machine.read(PAGE).is_err(), "not loaded yet");
        let pdptes = load_pdptes(&machine.ram, &machine.context(), root.0 | 0x18).unwrap();
        assert_eq!(pdptes, [0, pdpte, 0, 0], "CR3 bits 4:0 are not part of the address");
        machine.translator.set_context(Context { pdptes, ..machine.context() });
        assert_eq!(machine.read(PAGE), Ok(data(behind, 0)));
    }
}

#[test]
fn a_load_refuses_reserved_bits_of_present_entries() {
    let machine = machine(Behind::Nothing);
    let (root, context) = (machine.tables.root(), machine.context());
    let at = HostPhysicalAddress(root.0 + 8);
    let good = machine.load(at);
    for bit in 1..64 {
        let entry = good ^ 1 << bit;
        machine.store(at, entry);
        // MAXPHYADDR is 46; PWT, PCD and bits 11:9 are ignored.
        let reserved = matches!(bit, 1 | 2 | 5..=8 | 46..);
        let expected =
            if reserved { Err(PdpteError::ReservedBit { number: 1, entry }) } else { Ok([0, entry, 0, 0]) };
        assert_eq!(load_pdptes(&machine.ram, &context, root.0), expected, "bit {bit}");
        machine.store(at, entry & !1);
        assert_eq!(load_pdptes(&machine.ram, &context, root.0), Ok([0, entry & !1, 0, 0]), "not present");
    }
}

#[test]
fn a_load_behind_ept_is_a_read_without_a_linear_address() {
    let mut machine = machine(Behind::EptWithFlags(PageSize::Size4K));
    let root = machine.tables.root();
    let ept = machine.ept.as_mut().unwrap();
    let leaf = ept.leaf(&machine.ram, root).unwrap().unwrap().entry;
    let value = machine.load(leaf);
    assert_eq!(value & 0x300, 0x100, "loaded once: accessed, not dirty");
    machine.store(leaf, value & !2);
    load_pdptes(&machine.ram, &machine.context(), root.0).unwrap();
    machine.store(leaf, 0);
    let fault = load_pdptes(&machine.ram, &machine.context(), root.0).unwrap_err();
    let PdpteError::Memory(Fault::EptViolation(violation)) = fault else { panic!("{fault:?}") };
    assert_eq!((violation.guest_physical, violation.linear), (root, None));
    assert_eq!(violation.target, EptTarget::Physical);
    let outside = load_pdptes(&machine.ram, &Context { ept: None, ..machine.context() }, 0xffff_f000);
    assert_eq!(
        outside,
        Err(PdpteError::Memory(Fault::OutsideRam { address: HostPhysicalAddress(0xffff_f000) }))
    );
}

#[test]
fn bits_62_to_52_of_the_other_entries_are_reserved() {
    for level in [1, 2] {
        for bit in 52..63 {
            let mut machine = machine(Behind::Nothing);
            let at = machine.guest_entry(PAGE, level);
            machine.store(at, machine.load(at) | 1 << bit);
            let fault = machine.read(PAGE).unwrap_err();
            assert_eq!(reason(fault), PageFaultReason::ReservedBit { level });
        }
        let mut machine = machine(Behind::Nothing);
        let at = machine.guest_entry(PAGE, level);
        machine.store(at, machine.load(at) | 1 << 63);
        machine.read(PAGE).unwrap();
        let fault = machine.access(PAGE, AccessKind::Execute).unwrap_err();
        assert_eq!(reason(fault), PageFaultReason::ExecuteDisabled);
        let controls = machine.context().controls - Controls::EXECUTE_DISABLE;
        machine.translator.set_context(Context { controls, pcid: 1, ..machine.context() });
        assert_eq!(reason(machine.read(PAGE).unwrap_err()), PageFaultReason::ReservedBit { level });
    }
}

#[test]
fn pages_are_of_4_kbyte_and_2_mbyte() {
    let mut machine = machine(Behind::Nothing);
    let all = PagePermissions::WRITE | PagePermissions::USER;
    let (at, to) = (LinearAddress(0xffe0_0000), GuestPhysicalAddress(0x40_0000));
    machine.tables.map(&machine.ram, at, to, 0x20_0000, PageSize::Size2M, all).unwrap();
    let pdptes = load_pdptes(&machine.ram, &machine.context(), machine.tables.root().0).unwrap();
    machine.translator.set_context(Context { pdptes, ..machine.context() });
    let found = machine.access(at.add(0x1f_ffff), AccessKind::Write).unwrap().translation;
    assert_eq!((found.size, found.host_physical), (PageSize::Size2M, HostPhysicalAddress(0x40_0000)));
    let (gigabyte, size) = (LinearAddress(0xc000_0000), PageSize::Size1G);
    let refused =
        machine.tables.map(&machine.ram, gigabyte, GuestPhysicalAddress(0), size.bytes(), size, all);
    assert!(matches!(refused, Err(TablesError::NoPages { mode: PagingMode::Pae, .. })));
}
