//! The rows that oblige an operation to remove something. Each test fills a processor with mappings of every class,
//! size and tag, performs the operation of its row, and finds that what the row demands is gone, and nothing that no
//! row demands.

use super::common::{Numbers, cases};
use super::random::Universe;
use super::world::{World, ample, held, in_pieces};
use mmu::operation::{
    Entry, Exit, Invept, Invpcid, Invvpid, MsrLoads, Operation, Paging, Performed, Registers, Smm,
    VmxOperation,
};
use mmu::{Class, Mapping, Translator, rules};
use std::collections::HashSet;

/// What a case starts from and does.
type Choose = fn(&mut Numbers, &Universe) -> (Registers, Operation);

/// A case that was carried out: what was cached before and after.
struct Case {
    performed: Performed,
    before: HashSet<Mapping>,
    after: HashSet<Mapping>,
}

fn run(seed: u64, world: &World, choose: Choose) -> Case {
    let mut numbers = Numbers(seed);
    let geometry = if numbers.one_in(2) { ample() } else { in_pieces() };
    let mut translator = Translator::new(&geometry).unwrap();
    world.fill(&mut numbers, &mut translator);
    let before = held(&translator);
    let (mut registers, operation) = choose(&mut numbers, &world.universe());
    let performed = registers.perform(&world.ram, &operation);
    for &invalidation in &performed.invalidations {
        translator.invalidate(invalidation);
    }
    Case { performed, before, after: held(&translator) }
}

/// Holds the row against many cases of its operation.
fn check(id: &str, choose: Choose) {
    let rule = rules::rule(id).unwrap();
    let world = World::new();
    let mut demanded = 0;
    for seed in 0..u64::from(cases().div_ceil(8)) {
        let Case { performed, before, after } = run(seed, &world, choose);
        assert_eq!(performed.refusal, None, "{performed:?}");
        assert!(after.is_subset(&before));
        for mapping in &before {
            let gone = !after.contains(mapping);
            if (rule.requires)(&performed, mapping) {
                assert!(gone, "{id}: {performed:?} leaves {mapping:?}");
                demanded += 1;
            }
            let demanded = rules::required(&performed, mapping).is_some();
            let may = is_beyond_reach(&performed, mapping) || world.is_piece(&performed, mapping);
            assert!(!gone || demanded || may, "{id}: {performed:?} removes {mapping:?}");
        }
    }
    assert!(demanded > 0, "{id} was never put to the test");
}

/// What may go although no row demands it, because it cannot be there: linear mappings of VPID 0000H in a guest
/// without a VPID, whose VM entry has removed them.
pub(super) fn is_beyond_reach(performed: &Performed, mapping: &Mapping) -> bool {
    let switched = matches!(performed.operation, Operation::EptpSwitch { .. });
    let vpid = match mapping {
        Mapping::Translation { space, .. } | Mapping::Structure { space, .. } => space.vpid,
        _ => return false,
    };
    switched && performed.before.vpid() == 0 && vpid == 0 && mapping.class() == Class::Linear
}

fn anywhere(numbers: &mut Numbers, universe: &Universe) -> Registers {
    universe.registers(numbers)
}

fn paging(numbers: &mut Numbers, universe: &Universe, with: u64, without: u64) -> Registers {
    let mut registers = universe.registers(numbers);
    registers.paging.cr4 = registers.paging.cr4 & !without | with;
    if with & Paging::PCIDE != 0 {
        registers.paging.cr3 = universe.cr3(numbers, true);
    }
    if without & Paging::PCIDE != 0 {
        registers.paging.cr3 = universe.cr3(numbers, false);
    }
    registers
}

/// Outside VMX operation and SMM, in PAE or without paging: where INIT and task switches happen.
fn legacy(numbers: &mut Numbers, universe: &Universe) -> Registers {
    let mut paging = universe.paging(numbers);
    paging.cr4 &= !Paging::PCIDE;
    paging.efer = 0;
    paging.cr3 = 0xf_f000;
    Registers::outside(paging)
}

fn root(numbers: &mut Numbers, universe: &Universe) -> Registers {
    Registers::root(universe.paging(numbers))
}

fn guest(numbers: &mut Numbers, universe: &Universe, vpid: Option<u16>) -> Registers {
    let eptp = numbers.one_in(2).then(|| numbers.pick(&universe.eptps));
    let paging = universe.paging(numbers);
    Registers { vmx: VmxOperation::NonRoot { vpid, eptp }, ..Registers::outside(paging) }
}

fn guest_with_ept(numbers: &mut Numbers, universe: &Universe, vpid: Option<u16>) -> Registers {
    let eptp = Some(numbers.pick(&universe.eptps));
    let paging = universe.paging(numbers);
    Registers { vmx: VmxOperation::NonRoot { vpid, eptp }, ..Registers::outside(paging) }
}

fn any_vpid(numbers: &mut Numbers) -> Option<u16> {
    numbers.pick(&[None, Some(1), Some(2)])
}

fn flip_cr4(numbers: &mut Numbers, registers: Registers, bit: u64) -> (Registers, Operation) {
    let other = numbers.pick(&[0, Paging::PSE]);
    (registers, Operation::MovToCr4(registers.paging.cr4 ^ bit ^ other))
}

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

fn invvpid(numbers: &mut Numbers, universe: &Universe) -> (Registers, Operation) {
    let registers = root(numbers, universe);
    (registers, Operation::Invvpid(universe.invvpid(numbers)))
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

#[test]
fn tlb_vmx_entry_novpid() {
    check("TLB.VMX.ENTRY_NOVPID", |n, u| {
        (root(n, u), Operation::VmEntry(Entry { vpid: None, ..u.entry(n) }))
    });
}

#[test]
fn tlb_vmx_exit_novpid() {
    check("TLB.VMX.EXIT_NOVPID", |n, u| (guest(n, u, None), Operation::VmExit(u.exit(n))));
}

#[test]
fn tlb_invvpid_0() {
    check("TLB.INVVPID.0", |n, u| {
        let (vpid, address) = (1 + n.below(2) as u16, u.address(n));
        (root(n, u), Operation::Invvpid(Invvpid::Address { vpid, address }))
    });
}

#[test]
fn tlb_invvpid_1() {
    check("TLB.INVVPID.1", |n, u| {
        (root(n, u), Operation::Invvpid(Invvpid::Context { vpid: 1 + n.below(2) as u16 }))
    });
}

#[test]
fn tlb_invvpid_2() {
    check("TLB.INVVPID.2", |n, u| (root(n, u), Operation::Invvpid(Invvpid::All)));
}

#[test]
fn tlb_invvpid_3() {
    check("TLB.INVVPID.3", |n, u| {
        (root(n, u), Operation::Invvpid(Invvpid::ContextButGlobals { vpid: 1 + n.below(2) as u16 }))
    });
}

#[test]
fn tlb_invvpid_psc() {
    check("TLB.INVVPID.PSC", invvpid);
}

#[test]
fn tlb_invept_1() {
    check("TLB.INVEPT.1", |n, u| {
        let eptp = n.pick(&u.eptps) ^ n.below(1 << 12);
        (root(n, u), Operation::Invept(Invept::Context { eptp }))
    });
}

#[test]
fn tlb_invept_2() {
    check("TLB.INVEPT.2", |n, u| (root(n, u), Operation::Invept(Invept::All)));
}

fn violation(numbers: &mut Numbers, universe: &Universe) -> (Registers, Operation) {
    let vpid = any_vpid(numbers);
    let registers = guest_with_ept(numbers, universe, vpid);
    let guest_physical = numbers.pick(&universe.guest_physical);
    let linear = (numbers.below(4) > 0).then(|| universe.address(numbers));
    (registers, Operation::EptViolation { guest_physical, linear })
}

#[test]
fn tlb_eptv_gphys() {
    check("TLB.EPTV.GPHYS", violation);
}

#[test]
fn tlb_eptv_combined() {
    check("TLB.EPTV.COMBINED", violation);
}

#[test]
fn tlb_vmfunc_eptp_novpid() {
    check("TLB.VMFUNC.EPTP_NOVPID", |n, u| {
        let eptp = n.pick(&u.eptps);
        (guest_with_ept(n, u, None), Operation::EptpSwitch { eptp })
    });
}

#[test]
fn tlb_smm_smi_default() {
    check("TLB.SMM.SMI_DEFAULT", |n, u| {
        let vpid = any_vpid(n);
        let registers = guest(n, u, vpid);
        (n.pick(&[registers, Registers::root(registers.paging)]), Operation::Smi)
    });
}

#[test]
fn tlb_smm_rsm_default() {
    check("TLB.SMM.RSM_DEFAULT", |n, u| {
        let interrupted = u.guest(n);
        let smm = Smm::Default { interrupted, pdptes: [0; 4] };
        let registers = Registers { smm, ..Registers::outside(Paging::default()) };
        (registers, Operation::Rsm(u.paging(n)))
    });
}

#[test]
fn tlb_smm_smm_exit() {
    check("TLB.SMM.SMM_EXIT", |n, u| {
        let vpid = any_vpid(n);
        (guest(n, u, vpid), Operation::SmmVmExit(u.paging(n)))
    });
}

#[test]
fn tlb_smm_return() {
    check("TLB.SMM.RETURN", |n, u| {
        let executive = n.pick(&[VmxOperation::Root, VmxOperation::NonRoot { vpid: Some(1), eptp: None }]);
        let registers = Registers { smm: Smm::Monitor { executive }, ..root(n, u) };
        (registers, Operation::SmmReturn(u.entry(n)))
    });
}

#[test]
fn tlb_smm_activate() {
    check("TLB.SMM.ACTIVATE", |n, u| {
        let registers = root(n, u);
        let Paging { cr3, cr4, efer, .. } = registers.paging;
        let changed = [
            registers.paging,
            Paging { cr3: cr3 ^ 0x3000, ..registers.paging },
            Paging { cr3: cr3 ^ 0x18, ..registers.paging },
            Paging { cr4: cr4 ^ Paging::PSE, ..registers.paging },
            Paging { cr4: cr4 ^ Paging::PAE, efer: efer ^ Paging::LME ^ Paging::LMA, ..registers.paging },
        ];
        (registers, Operation::SmmActivate(n.pick(&changed)))
    });
}
