//! How a row that obliges an operation to remove something is put to the test: a processor is filled with mappings of
//! every class, size and tag, it performs the operation of the row, and what the row demands is gone, and nothing that
//! no row demands.

use super::common::{Numbers, cases};
use super::random::Universe;
use super::world::{World, ample, held, in_pieces};
use mmu::operation::{Operation, Paging, Performed, Registers, VmxOperation};
use mmu::{Class, Mapping, Translator, rules};
use std::collections::HashSet;

/// What a case starts from and does.
pub(super) type Choose = fn(&mut Numbers, &Universe) -> (Registers, Operation);

/// A case that was carried out: what was cached before and after.
pub(super) struct Case {
    pub(super) performed: Performed,
    pub(super) before: HashSet<Mapping>,
    pub(super) after: HashSet<Mapping>,
}

pub(super) fn run(seed: u64, world: &World, choose: Choose) -> Case {
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
pub(super) fn check(id: &str, choose: Choose) {
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

pub(super) fn anywhere(numbers: &mut Numbers, universe: &Universe) -> Registers {
    universe.registers(numbers)
}

pub(super) fn paging(numbers: &mut Numbers, universe: &Universe, with: u64, without: u64) -> Registers {
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
pub(super) fn legacy(numbers: &mut Numbers, universe: &Universe) -> Registers {
    let mut paging = universe.paging(numbers);
    paging.cr4 &= !Paging::PCIDE;
    paging.efer = 0;
    paging.cr3 = 0xf_f000;
    Registers::outside(paging)
}

pub(super) fn root(numbers: &mut Numbers, universe: &Universe) -> Registers {
    Registers::root(universe.paging(numbers))
}

pub(super) fn guest(numbers: &mut Numbers, universe: &Universe, vpid: Option<u16>) -> Registers {
    let eptp = numbers.one_in(2).then(|| numbers.pick(&universe.eptps));
    let paging = universe.paging(numbers);
    Registers { vmx: VmxOperation::NonRoot { vpid, eptp }, ..Registers::outside(paging) }
}

pub(super) fn guest_with_ept(numbers: &mut Numbers, universe: &Universe, vpid: Option<u16>) -> Registers {
    let eptp = Some(numbers.pick(&universe.eptps));
    let paging = universe.paging(numbers);
    Registers { vmx: VmxOperation::NonRoot { vpid, eptp }, ..Registers::outside(paging) }
}

pub(super) fn any_vpid(numbers: &mut Numbers) -> Option<u16> {
    numbers.pick(&[None, Some(1), Some(2)])
}

pub(super) fn flip_cr4(numbers: &mut Numbers, registers: Registers, bit: u64) -> (Registers, Operation) {
    let other = numbers.pick(&[0, Paging::PSE]);
    (registers, Operation::MovToCr4(registers.paging.cr4 ^ bit ^ other))
}
