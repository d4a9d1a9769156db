//! The operations on linear addresses, of any processor.

use super::check::{Case, Choose, any_vpid, anywhere, check, flip_cr4, guest, legacy, paging, root, run};
use super::common::{Numbers, cases};
use super::random::Universe;
use super::world::World;
use mmu::Mapping;
use mmu::operation::{Entry, Exit, Invpcid, MsrLoads, Operation, Paging, Registers};
use std::collections::HashSet;

/// The operations that act on the current VPID.
fn scoped(numbers: &mut Numbers, universe: &Universe) -> (Registers, Operation) {
    let choices: [Choose; 12] = [
        |n, u| (anywhere(n, u), Operation::Invlpg(u.address(n))),
        |n, u| (anywhere(n, u), Operation::PageFault(u.address(n))),
        invpcid_address,
        invpcid_context,
        |n, u| (anywhere(n, u), Operation::Invpcid(Invpcid::AllWithGlobals)),
        |n, u| (anywhere(n, u), Operation::Invpcid(Invpcid::AllButGlobals)),
        cr0_pg,
        cr3_without_pcids,
        cr3_flushing,
        |n, u| {
            let registers = anywhere(n, u);
            flip_cr4(n, registers, Paging::PGE)
        },
        cr4_pcide,
        cr4_smep,
    ];
    let choose = numbers.pick(&choices);
    choose(numbers, universe)
}

fn invpcid_address(numbers: &mut Numbers, universe: &Universe) -> (Registers, Operation) {
    let registers = paging(numbers, universe, Paging::PCIDE, 0);
    let (pcid, address) = (numbers.below(3) as u16, universe.address(numbers));
    (registers, Operation::Invpcid(Invpcid::Address { pcid, address }))
}

fn invpcid_context(numbers: &mut Numbers, universe: &Universe) -> (Registers, Operation) {
    let registers = paging(numbers, universe, Paging::PCIDE, 0);
    (registers, Operation::Invpcid(Invpcid::Context { pcid: numbers.below(3) as u16 }))
}

fn cr0_pg(numbers: &mut Numbers, universe: &Universe) -> (Registers, Operation) {
    let registers = paging(numbers, universe, 0, Paging::PCIDE);
    (registers, Operation::MovToCr0(registers.paging.cr0 & !Paging::PG))
}

fn cr3_without_pcids(numbers: &mut Numbers, universe: &Universe) -> (Registers, Operation) {
    let registers = paging(numbers, universe, 0, Paging::PCIDE);
    // Bits 4:3 are memory types, no PCID.
    (registers, Operation::MovToCr3(universe.cr3(numbers, false) | numbers.pick(&[0, 0x18])))
}

fn cr3_flushing(numbers: &mut Numbers, universe: &Universe) -> (Registers, Operation) {
    let registers = paging(numbers, universe, Paging::PCIDE, 0);
    (registers, Operation::MovToCr3(universe.cr3(numbers, true)))
}

fn cr4_pcide(numbers: &mut Numbers, universe: &Universe) -> (Registers, Operation) {
    let registers = paging(numbers, universe, Paging::PCIDE, 0);
    (registers, Operation::MovToCr4(registers.paging.cr4 & !Paging::PCIDE))
}

fn cr4_smep(numbers: &mut Numbers, universe: &Universe) -> (Registers, Operation) {
    let registers = paging(numbers, universe, 0, Paging::SMEP);
    (registers, Operation::MovToCr4(registers.paging.cr4 | Paging::SMEP))
}

/// Whether a mapping has, or stands beside, one of the other class with the same tag otherwise.
fn twins(mapping: &Mapping, of: &HashSet<Mapping>) -> Vec<Mapping> {
    let same = |other: &&Mapping| match (mapping, other) {
        (
            Mapping::Structure { space: a, level, linear, .. },
            Mapping::Structure { space: b, level: other_level, linear: other_linear, .. },
        ) => (a.vpid, a.pcid, level, linear) == (b.vpid, b.pcid, other_level, other_linear),
        (
            Mapping::Translation { space: a, translation: x },
            Mapping::Translation { space: b, translation: y },
        ) => {
            let (a_key, b_key) = ((a.vpid, a.pcid, x.linear, x.scope), (b.vpid, b.pcid, y.linear, y.scope));
            a_key == b_key && x.guest_size == y.guest_size
        }
        _ => false,
    };
    of.iter().filter(same).copied().collect()
}

#[test]
fn tlb_op_scope() {
    check_scope(scoped);
}

fn check_scope(choose: Choose) {
    let world = World::new();
    let mut crossings = 0;
    for seed in 0..u64::from(cases()) {
        let Case { performed, before, after } = run(seed, &world, choose);
        assert_eq!(performed.refusal, None, "{performed:?}");
        let current = performed.before.vpid();
        for mapping in before.difference(&after) {
            let (Mapping::Translation { space, .. } | Mapping::Structure { space, .. }) = mapping else {
                panic!("{performed:?} removes {mapping:?}");
            };
            assert_eq!(space.vpid, current, "{performed:?} removes {mapping:?}");
            for twin in twins(mapping, &before) {
                assert!(!after.contains(&twin), "{performed:?} removes {mapping:?} and leaves {twin:?}");
                crossings += u64::from(mapping.ept() != twin.ept());
            }
        }
    }
    assert!(crossings > 0);
}

#[test]
fn tlb_op_invlpg() {
    check("TLB.OP.INVLPG", |n, u| (anywhere(n, u), Operation::Invlpg(u.address(n))));
}

#[test]
fn tlb_op_invlpg_large() {
    check("TLB.OP.INVLPG_LARGE", |n, u| (anywhere(n, u), Operation::Invlpg(u.address(n))));
}

#[test]
fn tlb_op_invpcid0() {
    check("TLB.OP.INVPCID0", invpcid_address);
}

#[test]
fn tlb_op_invpcid1() {
    check("TLB.OP.INVPCID1", invpcid_context);
}

#[test]
fn tlb_op_invpcid2() {
    check("TLB.OP.INVPCID2", |n, u| (anywhere(n, u), Operation::Invpcid(Invpcid::AllWithGlobals)));
}

#[test]
fn tlb_op_invpcid3() {
    check("TLB.OP.INVPCID3", |n, u| (anywhere(n, u), Operation::Invpcid(Invpcid::AllButGlobals)));
}

#[test]
fn tlb_op_cr0_pg() {
    check("TLB.OP.CR0_PG", cr0_pg);
}

#[test]
fn tlb_op_cr3_nopcid() {
    check("TLB.OP.CR3_NOPCID", cr3_without_pcids);
}

#[test]
fn tlb_op_cr3_pcid_flush() {
    check("TLB.OP.CR3_PCID_FLUSH", cr3_flushing);
}

#[test]
fn tlb_op_cr4_pge() {
    check("TLB.OP.CR4_PGE", |n, u| {
        let registers = anywhere(n, u);
        flip_cr4(n, registers, Paging::PGE)
    });
}

#[test]
fn tlb_op_cr4_pcide() {
    check("TLB.OP.CR4_PCIDE", cr4_pcide);
}

#[test]
fn tlb_op_cr4_pae_smep() {
    check("TLB.OP.CR4_PAE_SMEP", cr4_smep);
    check("TLB.OP.CR4_PAE_SMEP", |n, u| {
        let registers = legacy(n, u);
        flip_cr4(n, registers, Paging::PAE)
    });
}

#[test]
fn tlb_op_task_switch() {
    check("TLB.OP.TASK_SWITCH", |n, u| {
        (legacy(n, u), Operation::TaskSwitch { cr3: n.pick(&[0xf_f000, 0xf_e000]) })
    });
}

#[test]
fn tlb_op_pf() {
    check("TLB.OP.PF", |n, u| (anywhere(n, u), Operation::PageFault(u.address(n))));
}

#[test]
fn tlb_op_msrload() {
    let entry: Choose = |n, u| {
        let registers = root(n, u);
        (registers, Operation::VmEntry(Entry { msr_loads: MsrLoads::Flushing, ..u.entry(n) }))
    };
    let exit: Choose = |n, u| {
        let vpid = any_vpid(n);
        let registers = guest(n, u, vpid);
        (registers, Operation::VmExit(Exit { msr_loads: MsrLoads::Flushing, ..u.exit(n) }))
    };
    check("TLB.OP.MSRLOAD", entry);
    check("TLB.OP.MSRLOAD", exit);
}

#[test]
fn tlb_op_reset() {
    check("TLB.OP.RESET", |n, u| (anywhere(n, u), Operation::Reset));
}

#[test]
fn tlb_op_init() {
    check("TLB.OP.INIT", |n, u| (Registers::outside(u.paging(n)), Operation::Init));
}
