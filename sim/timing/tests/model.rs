//! Costs computed by hand, and the property that nothing is lost between clock and stack.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use isa::address::{AccessKind, HostPhysicalAddress};
use proptest::prelude::*;
use timing::model::{LevelCounts, Model, ServedCounts};
use timing::processor::Processor;
use timing::stack::{Cause, CycleStack};
use timing::step::{Access, Dimension, Step, Translation, WalkReference};
use timing::units::SubCycles;

fn skylake() -> Model {
    Model::new(&Processor::named("skylake").unwrap())
}

fn access(kind: AccessKind, address: u64, bytes: u16, translation: Translation<'_>) -> Access<'_> {
    Access { kind, address: HostPhysicalAddress(address), bytes, translation }
}

fn reference(dimension: Dimension, level: u8, address: u64) -> WalkReference {
    WalkReference { dimension, level, address: HostPhysicalAddress(address) }
}

/// The four references of a native walk, in four lines of four pages.
fn native_walk() -> [WalkReference; 4] {
    [4, 3, 2, 1].map(|level| reference(Dimension::Guest, level, 0x10_0000 + u64::from(level) * 0x1040))
}

fn charge(model: &mut Model, access: Access<'_>) -> SubCycles {
    model.charge(&Step { instructions: 0, accesses: &[access] })
}

/// A stack that holds these whole cycles and nothing else.
fn cycles(causes: &[(Cause, u64)]) -> CycleStack {
    let mut stack = CycleStack::default();
    causes.iter().for_each(|&(cause, cycles)| stack.add(cause, SubCycles::from_cycles(cycles)));
    stack
}

#[test]
fn four_instructions_that_only_hit_cost_one_cycle_on_skylake() {
    let mut model = skylake();
    let fetch = access(AccessKind::Execute, 0x1000, 4, Translation::L1);
    charge(&mut model, fetch);
    let cold = *model.stack();
    for _ in 0..4 {
        assert_eq!(model.charge(&Step { instructions: 1, accesses: &[fetch] }), SubCycles(210));
    }
    assert_eq!(model.stack().since(&cold), Some(cycles(&[(Cause::Base, 1)])));
}

#[test]
fn a_hit_in_the_l2_tlb_costs_exactly_the_adder() {
    let mut model = skylake();
    for (kind, cause) in [
        (AccessKind::Read, Cause::DataTlbL2),
        (AccessKind::Write, Cause::DataTlbL2),
        (AccessKind::Execute, Cause::FetchTlbL2),
    ] {
        charge(&mut model, access(kind, 0x1000, 8, Translation::L1));
        let before = *model.stack();
        assert_eq!(charge(&mut model, access(kind, 0x1000, 8, Translation::L2)), SubCycles::from_cycles(9));
        assert_eq!(model.stack().since(&before), Some(cycles(&[(cause, 9)])));
    }
}

#[test]
fn a_cold_native_walk_costs_four_times_memory_and_a_warm_one_four_times_l1() {
    let mut model = skylake();
    let references = native_walk();
    // Nothing is accessed behind the walk, so the stack holds the walk alone.
    let walk = access(AccessKind::Read, 0, 0, Translation::Walk { references: &references });
    assert_eq!(charge(&mut model, walk), SubCycles::from_cycles(9 + 4 * 169));
    let cold = cycles(&[(Cause::DataTlbL2, 9), (Cause::DataWalkGuest, 4 * 169)]);
    assert_eq!(*model.stack(), cold);
    assert_eq!(charge(&mut model, walk), SubCycles::from_cycles(9 + 4 * 4));
    let warm = cycles(&[(Cause::DataTlbL2, 9), (Cause::DataWalkGuest, 4 * 4)]);
    assert_eq!(model.stack().since(&cold), Some(warm));
}

#[test]
fn a_cold_two_dimensional_walk_is_split_between_guest_and_ept() {
    let mut model = skylake();
    let references: Vec<_> = (0..24)
        .map(|step| {
            // Four EPT references before each guest reference, and four for the final address.
            let dimension = if step % 5 == 4 { Dimension::Guest } else { Dimension::Ept };
            reference(dimension, 1, step * 0x1040)
        })
        .collect();
    charge(&mut model, access(AccessKind::Execute, 0, 0, Translation::Walk { references: &references }));
    let expected =
        [(Cause::FetchTlbL2, 9), (Cause::FetchWalkGuest, 4 * 169), (Cause::FetchWalkEpt, 20 * 169)];
    assert_eq!(*model.stack(), cycles(&expected));
}

#[test]
fn a_walk_goes_through_the_data_cache_also_for_a_fetch() {
    let mut model = skylake();
    let references = native_walk();
    let walk = Translation::Walk { references: &references };
    charge(&mut model, access(AccessKind::Execute, 0, 0, walk));
    let before = *model.stack();
    charge(&mut model, access(AccessKind::Write, references[0].address.0, 8, Translation::L1));
    assert_eq!(model.stack().since(&before), Some(CycleStack::default()));
}

#[test]
fn a_data_access_pays_what_it_takes_beyond_an_l1_hit() {
    let mut model = skylake();
    let load = access(AccessKind::Read, 0x1000, 8, Translation::L1);
    assert_eq!(charge(&mut model, load), SubCycles::from_cycles(169 - 4));
    assert_eq!(charge(&mut model, load), SubCycles::ZERO);
    // The same line as an instruction comes from L2.
    let fetch = access(AccessKind::Execute, 0x1000, 1, Translation::L1);
    assert_eq!(charge(&mut model, fetch), SubCycles::from_cycles(12 - 4));
    assert_eq!(*model.stack(), cycles(&[(Cause::DataCache, 165), (Cause::FetchCache, 8)]));
}

#[test]
fn an_access_touches_every_line_that_it_spans_and_no_other() {
    let lines = |address, bytes| {
        let mut model = skylake();
        charge(&mut model, access(AccessKind::Write, address, bytes, Translation::None));
        model.report().served.data.memory
    };
    assert_eq!(lines(0x1000, 0), 0);
    assert_eq!(lines(0x103f, 1), 1);
    assert_eq!(lines(0x1000, 64), 1);
    assert_eq!(lines(0x103f, 2), 2);
    assert_eq!(lines(0x1001, 512), 9);
    assert_eq!(lines(u64::MAX, u16::MAX), 1);
}

#[test]
fn a_report_lists_instructions_cycles_stack_and_who_served() {
    let mut model = skylake();
    let references = [reference(Dimension::Ept, 1, 0x1000)];
    let accesses = [
        access(AccessKind::Execute, 0x2000, 4, Translation::L2),
        access(AccessKind::Write, 0x1000, 8, Translation::Walk { references: &references }),
    ];
    model.charge(&Step { instructions: 5, accesses: &accesses });
    let report = model.report();
    assert_eq!(
        report.served,
        ServedCounts {
            fetch: LevelCounts { memory: 1, ..LevelCounts::default() },
            data: LevelCounts { l1: 1, ..LevelCounts::default() },
            walk: LevelCounts { memory: 1, ..LevelCounts::default() },
        }
    );
    assert_eq!((report.instructions, report.lines_written_to_memory), (5, 0));
    // 5/4 cycles of instructions, two L2 TLB lookups, one fetch and one reference from memory.
    assert_eq!(report.cycles, 1 + 9 + 165 + 9 + 169);
    let text = toml::to_string(&report).unwrap();
    assert!(text.contains("cycles = 353\n"), "{text}");
    assert!(text.contains("\n[stack]\nbase = 1\nfetch_tlb_l2 = 9\n"), "{text}");
    assert!(text.contains("\n[served.walk]\nl1 = 0\nl2 = 0\nl3 = 0\nmemory = 1\n"), "{text}");
}

#[test]
fn what_is_spent_is_charged_to_its_cause_and_to_nothing_else() {
    for cause in Cause::ALL {
        let mut model = skylake();
        model.charge_instructions(3);
        let before = *model.stack();
        model.spend(cause, 0);
        assert_eq!(*model.stack(), before);
        model.spend(cause, 1913);
        assert_eq!(model.stack().since(&before), Some(cycles(&[(cause, 1913)])));
        assert_eq!(model.stack().total(), model.clock());
        let report = model.report();
        assert_eq!((report.instructions, report.cycles, report.stack.total()), (3, 1913, 1913));
    }
}

/// An access as plain data, so that it can be made at random.
#[derive(Clone, Debug)]
struct RandomAccess {
    kind: AccessKind,
    address: u64,
    bytes: u16,
    translation: u8,
    references: Vec<(bool, u64)>,
}

fn any_access() -> impl Strategy<Value = RandomAccess> {
    let kind = prop_oneof![Just(AccessKind::Read), Just(AccessKind::Write), Just(AccessKind::Execute)];
    let address = prop_oneof![0..0x8000_u64, any::<u64>()];
    let references = prop::collection::vec((any::<bool>(), 0..0x8000_u64), 0..24);
    (kind, address, 0..200_u16, 0..4_u8, references).prop_map(
        |(kind, address, bytes, translation, references)| RandomAccess {
            kind,
            address,
            bytes,
            translation,
            references,
        },
    )
}

fn charge_random(model: &mut Model, instructions: u32, accesses: &[RandomAccess]) -> SubCycles {
    let walks: Vec<Vec<WalkReference>> = accesses
        .iter()
        .map(|access| {
            let dimension = |ept| if ept { Dimension::Ept } else { Dimension::Guest };
            access.references.iter().map(|&(ept, address)| reference(dimension(ept), 1, address)).collect()
        })
        .collect();
    let accesses: Vec<_> = accesses
        .iter()
        .zip(&walks)
        .map(|(random, references)| {
            let translation = match random.translation {
                0 => Translation::None,
                1 => Translation::L1,
                2 => Translation::L2,
                _ => Translation::Walk { references },
            };
            access(random.kind, random.address, random.bytes, translation)
        })
        .collect();
    model.charge(&Step { instructions, accesses: &accesses })
}

proptest! {
    #![proptest_config(common::cases())]

    #[test]
    fn the_stack_sums_exactly_to_the_clock_and_to_the_costs_of_the_steps(
        width in 1..=8_u32,
        steps in prop::collection::vec((0..9_u32, prop::collection::vec(any_access(), 0..4)), 1..60),
    ) {
        let text = common::SMALL.replace("issue-width = 4", &format!("issue-width = {width}"));
        let mut model = Model::new(&Processor::from_toml(&text, "small.toml").unwrap());
        let mut again = model.clone();
        let (mut costs, mut instructions) = (SubCycles::ZERO, 0);
        for (count, accesses) in &steps {
            costs += charge_random(&mut model, *count, accesses);
            instructions += u64::from(*count);
            prop_assert_eq!(model.stack().total(), model.clock());
        }
        prop_assert_eq!(model.clock(), costs);
        prop_assert_eq!(model.stack()[Cause::Base], SubCycles(840 / u64::from(width) * instructions));
        let report = model.report();
        prop_assert_eq!(report.stack.total(), report.cycles);
        prop_assert_eq!((report.instructions, report.cycles), (instructions, costs.cycles()));
        // The same steps cost the same again.
        for (count, accesses) in &steps {
            charge_random(&mut again, *count, accesses);
        }
        prop_assert_eq!(again.report(), report);
    }
}
