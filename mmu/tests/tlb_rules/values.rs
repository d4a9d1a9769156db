//! What hardware removes, as values, against what the rules demand: over every kind of mapping, those that no access
//! can make among them.

use super::common::{Numbers, cases};
use super::random::Universe;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::operation::Performed;
use mmu::tlb::{Globals, Invalidation, Pcids, Structures};
use mmu::translation::{Rights, Scope, Translation};
use mmu::{GuestPageSize, Mapping, Operation, PageSize, Ram, Space, rules};
use proptest::prelude::*;

fn universe() -> Universe {
    let linear = |number: u64| {
        LinearAddress((number % 3) << 39 | (number % 5) << 30 | (number % 7) << 21 | number << 12)
    };
    Universe {
        roots: vec![0, 0x1000, 0x2000],
        eptps: vec![0x1_001e, 0x1_005e, 0x2_001e],
        linear: (0..12).map(linear).collect(),
        guest_physical: (0..12).map(|number| GuestPhysicalAddress(linear(number).0)).collect(),
        legacy: true,
    }
}

fn mapping(numbers: &mut Numbers, universe: &Universe) -> Mapping {
    let ept = HostPhysicalAddress(numbers.pick(&[0x1_0000, 0x2_0000]));
    let (vpid, pcid) = (numbers.below(3) as u16, numbers.below(3) as u16);
    let space = Space { vpid, pcid, ept: numbers.one_in(2).then_some(ept), word: 0 };
    let level = 2 + numbers.below(4) as u8;
    let region = u64::MAX << (3 + 9 * u32::from(level));
    let size = numbers.pick(&PageSize::ALL);
    let table = HostPhysicalAddress(0x3000);
    match numbers.below(6) {
        0 => {
            let guest_physical =
                GuestPhysicalAddress(numbers.pick(&universe.guest_physical).0 & !size.offset_mask());
            Mapping::GuestPhysical { ept, guest_physical, host_physical: HostPhysicalAddress(1 << 30), size }
        }
        1 => {
            let guest_physical = GuestPhysicalAddress(numbers.pick(&universe.guest_physical).0 & region);
            Mapping::EptStructure { ept, level, guest_physical, table }
        }
        2 | 3 => {
            let linear = LinearAddress(universe.address(numbers).0 & region);
            Mapping::Structure { space, level, linear, table }
        }
        _ => {
            let guest_size = numbers.pick(&GuestPageSize::ALL);
            let size = size.min(guest_size.cached());
            let translation = Translation {
                linear: LinearAddress(universe.address(numbers).0 & !size.offset_mask()),
                host_physical: HostPhysicalAddress(1 << 30),
                size,
                guest_size,
                rights: Rights::all(),
                scope: numbers.pick(&[Scope::Pcid, Scope::Global]),
            };
            Mapping::Translation { space, translation }
        }
    }
}

/// The documentation of [`Invalidation`] as sentences.
fn removes(invalidation: &Invalidation, mapping: &Mapping) -> bool {
    let (space, global) = match mapping {
        Mapping::Translation { space, translation } => (Some(*space), translation.scope == Scope::Global),
        Mapping::Structure { space, .. } => (Some(*space), false),
        Mapping::GuestPhysical { .. } | Mapping::EptStructure { .. } => (None, false),
    };
    let structure = matches!(mapping, Mapping::Structure { .. });
    let by_vpid = |vpid: u16, pcids: Pcids, globals: Globals| {
        space.is_some_and(|space| {
            let pcid = pcids == Pcids::All || pcids == Pcids::One(space.pcid);
            space.vpid == vpid && if global { globals == Globals::Drop } else { pcid }
        })
    };
    match *invalidation {
        Invalidation::Address { vpid, pcids, globals, structures, address } => {
            let here = holds(mapping, address.0) || (structure && structures == Structures::All);
            by_vpid(vpid, pcids, globals) && here
        }
        Invalidation::Vpid { vpid, pcids, globals } => by_vpid(vpid, pcids, globals),
        Invalidation::NonzeroVpids => space.is_some_and(|space| space.vpid != 0),
        Invalidation::Vpids => space.is_some(),
        Invalidation::Combined { space: named, address } => {
            let mine = space.is_some_and(|space| space == named || (global && space.shares_globals(named)));
            mine && holds(mapping, address.0)
        }
        Invalidation::GuestPhysical { root, address } => {
            space.is_none() && mapping.ept() == Some(root) && holds(mapping, address.0)
        }
        Invalidation::EptRoot { root } => mapping.ept() == Some(root),
        Invalidation::EptRoots => mapping.ept().is_some(),
        Invalidation::Word { .. } => panic!("no operation of the manual"),
        Invalidation::Everything => true,
    }
}

/// Whether an address is in what software made one entry for.
fn holds(mapping: &Mapping, address: u64) -> bool {
    let entry = |level: u8| 1_u64 << (12 + 9 * (u32::from(level) - 1));
    let (start, bytes) = match mapping {
        Mapping::Translation { translation, .. } => (translation.linear.0, translation.guest_size.bytes()),
        Mapping::Structure { linear, level, .. } => (linear.0, entry(*level)),
        Mapping::GuestPhysical { guest_physical, size, .. } => (guest_physical.0, size.bytes()),
        Mapping::EptStructure { guest_physical, level, .. } => (guest_physical.0, entry(*level)),
    };
    start / bytes == address / bytes
}

/// What may go although no rule demands it: EPTP switching without a VPID finds no linear mappings of VPID 0000H,
/// because the VM entry has removed them.
fn is_beyond_reach(performed: &Performed, mapping: &Mapping) -> bool {
    let switch = matches!(performed.operation, Operation::EptpSwitch { .. });
    let vpid_zero = matches!(mapping, Mapping::Translation { space, .. } | Mapping::Structure { space, .. } if space.vpid == 0);
    switch
        && performed.refusal.is_none()
        && performed.before.vpid() == 0
        && vpid_zero
        && mapping.ept().is_none()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn hardware_removes_what_the_rules_demand_and_nothing_else(seed: u64) {
        let mut numbers = Numbers(seed);
        let (universe, ram) = (universe(), Ram::new(0x4000).unwrap());
        for _ in 0..200 {
            let mut registers = universe.registers(&mut numbers);
            let before = registers;
            let operation = universe.operation(&mut numbers, &registers);
            let performed = registers.perform(&ram, &operation);
            prop_assert_eq!(performed.before, before);
            prop_assert_eq!(performed.after, registers);
            if performed.refusal.is_some() {
                prop_assert_eq!(before, registers);
            }
            for _ in 0..20 {
                let mapping = mapping(&mut numbers, &universe);
                let removed = performed.invalidations.iter().any(|invalidation| removes(invalidation, &mapping));
                let rule = rules::required(&performed, &mapping);
                let expected = rule.is_some() || is_beyond_reach(&performed, &mapping);
                prop_assert_eq!(removed, expected, "{:?} {:?} {:?}", performed, mapping, rule);
            }
        }
    }
}
