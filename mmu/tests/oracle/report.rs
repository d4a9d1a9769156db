//! The text of findings, word by word.

use crate::bugs::PAGE;
use crate::machine::{DATA, Machine, map};
use isa::address::GuestPhysicalAddress;
use mmu::PageSize;
use mmu::operation::{Invvpid, Operation};

#[test]
fn a_missing_shootdown_reads_well() {
    let mut machine = Machine::new(2);
    let mut tables = machine.tables(0x10_0000);
    map(&machine.ram, &mut tables, PAGE, DATA, PageSize::Size4K);
    for processor in 0..2 {
        machine.perform(processor, Operation::MovToCr3(tables.root().0));
        machine.read(processor, PAGE);
    }
    let context = machine.context(0);
    let id = machine.edit_leaf((0, "munmap"), &mut tables, context, PAGE, |_| 0);
    machine.perform(0, Operation::Invlpg(PAGE));
    machine.completed(id);
    machine.read(1, PAGE.add(0x10));
    machine.read(1, PAGE.add(0x18));
    assert_eq!(
        machine.oracle.findings()[0].to_string(),
        "Missing invalidation on processor 1: at instruction 50 munmap on processor 0 unmapped 4 KByte at linear \
         address 0x400000 (PTE at host-physical 0x103000: 0x800027 -> 0x0), and software relies on it. At instruction \
         80 processor 1 still read linear address 0x400010 at host-physical address 0x800010 (VPID 0, PCID 0; held by \
         the first level of the TLB). Needed on processor 1 in between: INVLPG 0x400010; no invalidation was \
         performed there. SDM 5.10.4.2, 5.10.5. It was used 2 times."
    );
}

#[test]
fn an_invvpid_in_place_of_invept_reads_well() {
    let mut machine = Machine::new(1);
    let mut ept = machine.ept(1, PageSize::Size2M);
    let mut tables = machine.guest_tables(ept.context(), 0x10_0000);
    map(&machine.ram, &mut tables, PAGE, DATA, PageSize::Size4K);
    let cr3 = tables.root().0;
    machine.enter(0, Some(5), Some(ept.context()), cr3);
    machine.write(0, PAGE);
    machine.exit(0);
    let by = (0, "the balloon of guest 1");
    let id = machine.edit_ept_leaf(by, &mut ept, GuestPhysicalAddress(DATA), |_| 0);
    machine.perform(0, Operation::Invvpid(Invvpid::Context { vpid: 6 }));
    machine.completed(id);
    machine.enter(0, Some(5), Some(ept.context()), cr3);
    machine.write(0, PAGE.add(8));
    assert_eq!(
        machine.oracle.findings()[0].to_string(),
        "Missing invalidation on processor 0: at instruction 40 the balloon of guest 1 on processor 0 unmapped 2 MByte \
         at guest-physical address 0x800000 (EPT PDE at host-physical 0x1e02020: 0x18004b7 -> 0x0), and software \
         relies on it. At instruction 80 processor 0 still wrote linear address 0x400008 at host-physical address \
         0x1800008 (VPID 5, PCID 0, EPTRTA 0x1e00000; held by the first level of the TLB). Needed on processor 0 in \
         between: INVEPT type 1 of EPTP 0x1e00000; performed there was INVVPID type 1 of VPID 6. SDM 31.4.3.4."
    );
}
