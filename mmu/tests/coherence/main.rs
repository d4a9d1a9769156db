//! Coherence: a translation that a processor uses is that of the tables as they are, or of entries as they were at a
//! time since which no operation on that processor had to remove what was made from them.
//!
//! One to four processors share tables that change under them. Each is held against a model of its own that knows
//! no TLB.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod edits;
mod model;
#[path = "../tlb_rules/random.rs"]
mod random;
#[path = "../tlb_rules/world.rs"]
mod world;

use common::Numbers;
use edits::Edits;
use mmu::operation::{Operation, Paging, Performed, Registers, VmxOperation};
use mmu::tlb::{ArrayGeometry, Geometry, StructureArray, StructureGeometry};
use mmu::{Fault, PageSize, Privilege, Translator};
use model::{Model, Outcome};
use random::Universe;
use std::collections::HashSet;
use world::{KINDS, World, ample, in_pieces};

/// What is left undone, for the tests that must notice it.
type Forget = fn(&Performed) -> bool;

/// A translation that could not have been used.
#[derive(Debug)]
#[expect(dead_code, reason = "printed")]
struct Incoherence {
    step: u64,
    processor: usize,
    registers: Registers,
    found: Outcome,
    possible: HashSet<Outcome>,
}

struct Processor {
    registers: Registers,
    translator: Translator,
    model: Model,
}

/// Few entries, so that all caches evict.
fn tight() -> Geometry {
    use PageSize::{Size1G, Size2M, Size4K};
    let array = Some(StructureArray { sets: 1, ways: 2 });
    let structures = StructureGeometry { pml5e: None, pml4e: None, pdpte: array, pde: array };
    Geometry {
        level1_instruction: vec![ArrayGeometry::new(&[Size4K], 1, 2)],
        level1_data: vec![ArrayGeometry::new(&[Size4K], 1, 2), ArrayGeometry::new(&[Size2M], 1, 1)],
        level2: vec![ArrayGeometry::new(&[Size4K, Size2M, Size1G], 2, 4)],
        guest_physical: vec![ArrayGeometry::new(&[Size4K, Size2M], 2, 2)],
        structures,
        ept_structures: structures,
        ..Geometry::default()
    }
}

/// A processor after RESET has booted: each step is an operation.
fn boot(universe: &Universe, numbers: &mut Numbers) -> Vec<Operation> {
    let Paging { cr0, cr3, cr4, efer } = Paging::four_level(universe.cr3(numbers, false));
    vec![
        Operation::MovToCr4(cr4),
        Operation::WrmsrEfer(efer),
        Operation::MovToCr3(cr3),
        Operation::MovToCr0(cr0),
    ]
}

/// Into VMX operation, into a guest, or out of it.
fn transition(numbers: &mut Numbers, universe: &Universe, registers: &Registers) -> Operation {
    match registers.vmx {
        VmxOperation::Outside => Operation::VmxOnOff,
        VmxOperation::Root => Operation::VmEntry(universe.entry(numbers)),
        VmxOperation::NonRoot { .. } => Operation::VmExit(universe.exit(numbers)),
    }
}

impl Processor {
    fn new(numbers: &mut Numbers, universe: &Universe) -> Self {
        let geometry = [ample(), in_pieces(), tight()][numbers.below(3) as usize].clone();
        let paging = Paging::four_level(universe.cr3(numbers, false));
        let registers = Registers::outside(paging);
        Self { registers, translator: Translator::new(&geometry).unwrap(), model: Model::default() }
    }

    fn perform(&mut self, world: &World, operation: &Operation, forget: Forget) {
        let performed = self.registers.perform(&world.ram, operation);
        if !forget(&performed) {
            for &invalidation in &performed.invalidations {
                self.translator.invalidate(invalidation);
            }
        }
        self.model.perform(&performed);
    }

    /// An access; what it came to and what it could come to.
    fn access(
        &mut self,
        numbers: &mut Numbers,
        world: &World,
        universe: &Universe,
    ) -> (Outcome, HashSet<Outcome>) {
        let Self { registers, translator, model } = self;
        let (address, kind) = (universe.address(numbers), numbers.pick(&KINDS));
        let possible = model.access(&world.ram, registers, address, kind);
        translator.set_context(registers.context(Privilege::User));
        let outcome = match translator.translate(&world.ram, address, kind, &mut ()) {
            Ok(found) => Outcome::Host(found.translation.host(address).0),
            Err(Fault::Page(_)) => Outcome::PageFault,
            Err(Fault::EptViolation(violation)) => Outcome::EptViolation(violation.guest_physical.0),
            Err(Fault::OutsideRam { .. }) => Outcome::OutsideRam,
            Err(other) => panic!("{other:?}"),
        };
        model.fault(&world.ram, registers, address, outcome);
        (outcome, possible)
    }
}

/// A few of the addresses, so that accesses meet again.
fn some_of(numbers: &mut Numbers, all: Universe) -> Universe {
    let linear = (0..5).map(|_| numbers.pick(&all.linear)).collect();
    Universe { linear, ..all }
}

fn run(seed: u64, steps: u64, forget: Forget) -> Result<(), Box<Incoherence>> {
    let mut numbers = Numbers(seed);
    let world = World::new();
    let universe = some_of(&mut numbers, world.universe());
    let edits = Edits::new(&world, &universe);
    let mut processors: Vec<Processor> =
        (0..=numbers.below(4)).map(|_| Processor::new(&mut numbers, &universe)).collect();
    for step in 0..steps {
        let processor = numbers.below(processors.len() as u64) as usize;
        let chosen = &mut processors[processor];
        match numbers.below(16) {
            0..=8 => {
                let registers = chosen.registers;
                let (found, possible) = chosen.access(&mut numbers, &world, &universe);
                if !possible.contains(&found) {
                    return Err(Box::new(Incoherence { step, processor, registers, found, possible }));
                }
            }
            9 | 10 => edits.make(&mut numbers, &world.ram),
            11 => {
                let operation = transition(&mut numbers, &universe, &chosen.registers);
                chosen.perform(&world, &operation, forget);
            }
            _ if numbers.one_in(100) => {
                chosen.perform(&world, &Operation::Reset, forget);
                for operation in boot(&universe, &mut numbers) {
                    chosen.perform(&world, &operation, forget);
                }
            }
            _ => {
                let operation = universe.operation(&mut numbers, &chosen.registers);
                chosen.perform(&world, &operation, forget);
            }
        }
    }
    Ok(())
}

fn steps() -> u64 {
    std::env::var("VMXSIM_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

/// Steps of one machine.
const RUN: u64 = 2000;

#[test]
fn a_used_translation_is_one_that_no_operation_had_to_remove() {
    for seed in 0..steps().div_ceil(RUN) {
        if let Err(incoherence) = run(seed, RUN, |_| false) {
            panic!("seed {seed}: {incoherence:#?}");
        }
    }
}

/// Whether leaving something undone is noticed within some machines.
fn is_noticed(forget: Forget) -> bool {
    (0..40).any(|seed| run(seed, RUN, forget).is_err())
}

#[test]
fn an_invalidation_that_hardware_forgets_is_noticed() {
    let forgotten: [(&str, Forget); 9] = [
        ("INVLPG", |performed| matches!(performed.operation, Operation::Invlpg(_))),
        ("MOV to CR3", |performed| matches!(performed.operation, Operation::MovToCr3(_))),
        ("MOV to CR4", |performed| matches!(performed.operation, Operation::MovToCr4(_))),
        ("INVPCID", |performed| matches!(performed.operation, Operation::Invpcid(_))),
        ("INVVPID", |performed| matches!(performed.operation, Operation::Invvpid(_))),
        ("INVEPT", |performed| matches!(performed.operation, Operation::Invept(_))),
        ("VM entry", |performed| matches!(performed.operation, Operation::VmEntry(_))),
        ("VM exit", |performed| matches!(performed.operation, Operation::VmExit(_))),
        ("RSM", |performed| matches!(performed.operation, Operation::Rsm(_))),
    ];
    for (name, forget) in forgotten {
        assert!(is_noticed(forget), "{name}");
    }
}
