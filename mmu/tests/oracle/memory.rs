//! The oracle forgets what nobody can be wrong about any more, and nothing else.

use crate::machine::{DATA, Machine, map};
use isa::address::LinearAddress;
use mmu::PageSize;
use mmu::operation::Operation;
use mmu::oracle::Verdict;

const PAGES: u64 = 1500;

fn page(number: u64) -> LinearAddress {
    LinearAddress(0x40_0000 + 0x1000 * number)
}

/// Many pages that are read and unmapped one after the other, with a shootdown for all but the first.
fn unmap_many() -> (Machine, usize) {
    let mut machine = Machine::new(2);
    let mut tables = machine.tables(0x10_0000);
    for processor in 0..2 {
        machine.perform(processor, Operation::MovToCr3(tables.root().0));
    }
    let context = machine.context(0);
    let mut most = 0;
    for number in 0..PAGES {
        map(&machine.ram, &mut tables, page(number), DATA + 0x1000 * number, PageSize::Size4K);
        for processor in 0..2 {
            machine.read(processor, page(number));
            // The first page stays in use, and so in the TLB.
            machine.read(processor, page(0));
        }
        let id = machine.edit_leaf((0, "munmap"), &mut tables, context, page(number), |_| 0);
        for processor in 0..2 {
            if number > 0 {
                machine.perform(processor, Operation::Invlpg(page(number)));
            }
        }
        if number > 0 {
            machine.completed(id);
        }
        most = most.max(machine.oracle.changes());
    }
    (machine, most)
}

#[test]
fn changes_that_nobody_holds_are_forgotten_and_those_that_somebody_holds_are_not() {
    let (mut machine, most) = unmap_many();
    assert!(most <= 600, "{most} changes are remembered");
    assert!(machine.is_silent());
    for processor in 0..2 {
        assert_eq!(machine.read(processor, page(0)), Some(Verdict::InWindow));
    }
}
