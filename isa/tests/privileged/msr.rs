//! The MSR table against RDMSR and WRMSR, and against the manual's rules.

use crate::machine::{MSR_VALUE, Machine, Mode, Random, cases};
use isa::control::Efer;
use isa::cpu::Stop;
use isa::state::Slot;
use isa::system::Offers;
use isa::system::msr::{self, Access, Home, MSRS};

fn rdmsr(machine: &mut Machine, index: u32) -> Option<u64> {
    machine.state.set_slot(Slot::Rcx, 0xffff_ffff_0000_0000 | u64::from(index));
    let run = machine.step(&[0x0f, 0x32]);
    if run.stop == Some(Stop::GENERAL_PROTECTION) {
        return None;
    }
    assert_eq!(run.stop, None);
    let (high, low) = (machine.state.slot(Slot::Rdx), machine.state.slot(Slot::Rax));
    assert!(high >> 32 == 0 && low >> 32 == 0);
    Some(high << 32 | low)
}

fn wrmsr(machine: &mut Machine, index: u32, value: u64) -> bool {
    machine.state.set_slot(Slot::Rcx, index.into());
    machine.state.set_slot(Slot::Rax, 0xaaaa_aaaa_0000_0000 | value & 0xffff_ffff);
    machine.state.set_slot(Slot::Rdx, value >> 32);
    let run = machine.step(&[0x0f, 0x30]);
    assert!(matches!(run.stop, Some(Stop::Done | Stop::GENERAL_PROTECTION)), "{run:?}");
    run.stop == Some(Stop::Done)
}

/// All indices that rows stand for.
fn indices(machine: &Machine) -> Vec<(u32, &'static msr::Msr)> {
    MSRS.iter()
        .flat_map(|row| {
            (0..row.count(&machine.state)).map(move |number| (row.first + number * row.step, row))
        })
        .collect()
}

#[test]
fn no_index_belongs_to_two_rows() {
    let mut all: Vec<u32> =
        indices(&Machine::new(Mode::Long, 0)).into_iter().map(|(index, _)| index).collect();
    all.sort_unstable();
    assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
    assert!(MSRS.windows(2).all(|pair| pair[0].first < pair[1].first), "in order of the index");
}

#[test]
fn instructions_do_with_each_msr_what_its_row_says() {
    let mut random = Random(3);
    let mut machine = Machine::new(Mode::Long, 0);
    machine.state.system.features.offers = Offers::all();
    for (index, row) in indices(&machine) {
        machine.msrs.clear();
        let read = rdmsr(&mut machine, index);
        match (row.access, row.home) {
            (Access::WriteOnly, _) => assert_eq!(read, None),
            (_, Home::Machine) => {
                assert_eq!((read, &machine.msrs[..]), (Some(MSR_VALUE), &[(index, None)][..]));
            }
            (_, Home::Stored) => assert_eq!(read, Some(row.reset), "{}", row.name),
            _ => assert_eq!(read, msr::value(&machine.state, index), "{}", row.name),
        }
        if row.home == Home::Machine {
            let written = wrmsr(&mut machine, index, 9);
            assert_eq!(written, row.access != Access::ReadOnly);
            assert_eq!(machine.msrs.last() == Some(&(index, Some(9))), written);
        } else if row.access == Access::ReadOnly {
            assert!(!wrmsr(&mut machine, index, 0), "{}", row.name);
        } else if row.name != "IA32_EFER" && row.name != "IA32_FEATURE_CONTROL" {
            for _ in 0..20 {
                let (old, value) =
                    (msr::value(&machine.state, index).unwrap(), random.next() & random.sparse());
                let accepted = row.rule.accept(&machine.state.system.features, old, value);
                assert_eq!(wrmsr(&mut machine, index, value), accepted.is_some(), "{} {value:#x}", row.name);
                let kept = accepted.unwrap_or(old) & if index == 0x174 { 0xffff_ffff } else { u64::MAX };
                let command = row.access == Access::WriteOnly;
                assert!(command || rdmsr(&mut machine, index) == Some(kept), "{}", row.name);
            }
        }
    }
}

#[test]
fn an_index_that_is_not_in_the_table_is_refused() {
    let mut random = Random(4);
    let mut machine = Machine::new(Mode::Protected, 0);
    let known: Vec<u32> = indices(&machine).into_iter().map(|(index, _)| index).collect();
    for _ in 0..cases(500) {
        let index = random.pick(&[0, 0x400, 0x1000, 0xc000_0080, 0xc001_0000]) + random.below(0x90) as u32;
        if !known.contains(&index) {
            assert_eq!(
                (rdmsr(&mut machine, index), wrmsr(&mut machine, index, 0)),
                (None, false),
                "{index:#x}"
            );
        }
    }
    assert!(machine.msrs.is_empty());
}

#[test]
fn an_msr_exists_only_where_it_is_offered() {
    for row in MSRS.iter().filter(|row| !row.needs.is_empty()) {
        let mut machine = Machine::new(Mode::Long, 0);
        machine.state.system.features.offers -= row.needs;
        assert_eq!(rdmsr(&mut machine, row.first), None, "{}", row.name);
        assert!(!wrmsr(&mut machine, row.first, 0), "{}", row.name);
    }
}

fn is_canonical(value: u64) -> bool {
    let upper = value >> 56;
    upper == 0 || upper == 0xff
}

fn is_type(byte: u8) -> bool {
    [0, 1, 4, 5, 6].contains(&byte)
}

/// What WRMSR accepts, by index, in the words of Vol. 4 (46 bits of physical address, 57 of linear address).
fn is_valid(index: u32, value: u64) -> bool {
    let bytes = value.to_le_bytes();
    match index {
        0x48 => value <= 7,
        0x175 | 0x176 | 0xc000_0082 | 0xc000_0083 | 0xc000_0100..=0xc000_0102 => is_canonical(value),
        0x17b | 0x400 | 0x404 => value == 0 || value == u64::MAX,
        0x401 => value == 0,
        0x200 | 0x20e => value >> 46 == 0 && value & 0xf00 == 0 && is_type(bytes[0]),
        0x201 | 0x20f => value >> 46 == 0 && value & 0x7ff == 0,
        0x250 | 0x259 | 0x26f => bytes.into_iter().all(is_type),
        0x277 => bytes.into_iter().all(|byte| is_type(byte) || byte == 7),
        0x2ff => value >> 12 == 0 && value & 0x300 == 0 && value & 0xf0 == 0 && is_type(bytes[0] & 0xf),
        0xc000_0084 | 0xc000_0103 => value >> 32 == 0,
        _ => true,
    }
}

#[test]
fn values_are_refused_exactly_when_the_manual_says_so() {
    let checked = [
        0x48,
        0x174,
        0x175,
        0x176,
        0x17b,
        0x200,
        0x20e,
        0x201,
        0x20f,
        0x250,
        0x259,
        0x26f,
        0x277,
        0x2ff,
        0x400,
        0x401,
        0x402,
        0x404,
        0xc000_0081,
        0xc000_0082,
        0xc000_0083,
        0xc000_0084,
        0xc000_0100,
        0xc000_0101,
        0xc000_0102,
        0xc000_0103,
    ];
    let mut random = Random(5);
    let mut machine = Machine::new(Mode::Long, 0);
    let mut outcomes = [0; 2];
    for _ in 0..cases(4000) {
        let index = random.pick(&checked);
        let value = match random.below(6) {
            0 => 0,
            1 => u64::MAX,
            2 => random.sparse(),
            3 => random.next() & 0x0f0f_0f0f_0f0f_0f0f & random.next(),
            4 => {
                u64::from_le_bytes(std::array::from_fn(|_| random.pick(&[0, 1, 4, 5, 6, 6, 7, 2])))
                    >> random.pick(&[0, 0, 56])
            }
            _ => (random.next().cast_signed() >> random.below(64)).cast_unsigned(),
        };
        let valid = is_valid(index, value);
        assert_eq!(wrmsr(&mut machine, index, value), valid, "{index:#x} {value:#x}");
        outcomes[usize::from(valid)] += 1;
    }
    assert!(outcomes.iter().all(|&count| count > 300), "{outcomes:?}");
}

#[test]
fn efer_changes_its_mode_only_while_paging_is_off_and_lma_never() {
    for (mode, paging) in [(Mode::Long, true), (Mode::Protected, false)] {
        for value in (0..1_u64 << 12).chain((12..64).map(|bit| 1 << bit)) {
            let mut machine = Machine::new(mode, 0);
            let old = machine.state.system.efer.bits();
            let reserved = value & !0xd01 != 0;
            let allowed = !(reserved || paging && (value ^ old) & 0x100 != 0);
            assert_eq!(wrmsr(&mut machine, 0xc000_0080, value), allowed, "{value:#x}");
            let new = if allowed { value & !0x400 | old & 0x400 } else { old };
            assert_eq!(machine.state.system.efer.bits(), new);
        }
    }
    let mut machine = Machine::new(Mode::Long, 0);
    machine.state.system.features.efer -= Efer::NXE;
    assert!(!wrmsr(&mut machine, 0xc000_0080, 0xd01));
}

#[test]
fn feature_control_is_locked_by_its_first_bit() {
    let mut machine = Machine::new(Mode::Long, 0);
    assert!(wrmsr(&mut machine, 0x3a, 4) && wrmsr(&mut machine, 0x3a, 0) && !wrmsr(&mut machine, 0x3a, 8));
    assert!(wrmsr(&mut machine, 0x3a, 5));
    assert!(!wrmsr(&mut machine, 0x3a, 5));
    assert_eq!(rdmsr(&mut machine, 0x3a), Some(5));
}

#[test]
fn capabilities_follow_the_features() {
    let mut machine = Machine::new(Mode::Long, 0);
    machine.state.system.features.variable_mtrrs = 3;
    machine.state.system.features.machine_check_banks = 2;
    assert_eq!(rdmsr(&mut machine, 0xfe), Some(0x503));
    assert_eq!(rdmsr(&mut machine, 0x179), Some(0x102));
    assert_eq!(rdmsr(&mut machine, 0x205), Some(0));
    for absent in [0x206, 0x207, 0x408] {
        assert_eq!(rdmsr(&mut machine, absent), None);
    }
}

#[test]
fn counters_are_read_into_their_registers() {
    let mut machine = Machine::new(Mode::Long, 3);
    machine.state.system.tsc_aux = 0x77;
    machine.completes(&[0x0f, 0x01, 0xf9]); // rdtscp
    let read = [Slot::Rax, Slot::Rdx, Slot::Rcx].map(|slot| machine.state.slot(slot));
    assert_eq!(read, [0x5678_9abc, 0x1234, 0x77]);
    machine.completes(&[0xf3, 0x0f, 0xc7, 0xf8]); // rdpid rax
    assert_eq!(machine.state.slot(Slot::Rax), 0x77);
    machine.state.system.cr4 |= isa::control::Cr4::PCE;
    machine.refuses(&[0x0f, 0x33], Stop::GENERAL_PROTECTION); // rdpmc without counters
    machine.state.system.features.performance_counters = 1;
    machine.state.set_slot(Slot::Rcx, 0);
    machine.completes(&[0x0f, 0x33]);
    assert_eq!((machine.state.slot(Slot::Rax), machine.state.slot(Slot::Rdx)), (0, 0));
}
