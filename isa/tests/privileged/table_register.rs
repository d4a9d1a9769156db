//! LGDT LIDT SGDT SIDT SLDT STR, INVLPG INVPCID, segment bases and protection keys.

use crate::machine::{DATA, END, Machine, Mode, Random, cases};
use isa::address::LinearAddress;
use isa::control::Cr4;
use isa::cpu::{Stop, TranslationChange};
use isa::event::Exception;
use isa::segment::DescriptorTable;
use isa::state::Slot;

const BASE: u64 = 0xffff_8765_4321_0fed;

fn with_operand(mode: Mode) -> Machine {
    let mut machine = Machine::new(mode, 0);
    machine.store(DATA, &[0x34, 0x12]);
    machine.store(DATA + 2, &BASE.to_le_bytes());
    machine
}

#[test]
fn tables_are_loaded_with_as_much_base_as_the_operand_size_has() {
    for (mode, prefix, mask) in [
        (Mode::Long, &[][..], u64::MAX),
        (Mode::Long, &[0x66], u64::MAX),
        (Mode::Protected, &[], 0xffff_ffff),
        (Mode::Protected, &[0x66], 0xff_ffff),
        (Mode::Real, &[], 0xff_ffff),
        (Mode::Real, &[0x66], 0xffff_ffff),
    ] {
        let expected = DescriptorTable { base: BASE & mask, limit: 0x1234 };
        for (extension, store) in [(2, 0), (3, 1)] {
            let mut machine = with_operand(mode);
            machine.completes(&[prefix, &[0x0f, 0x01, extension << 3 | mode.memory()]].concat());
            let system = &machine.state.system;
            let found = if extension == 2 { system.gdtr } else { system.idtr };
            assert_eq!(found, expected, "{mode:?} {prefix:x?}");
            machine.store(DATA, &[0xee; 12]);
            machine.completes(&[prefix, &[0x0f, 0x01, store << 3 | mode.memory()]].concat());
            let bytes = if mode == Mode::Long { 8 } else { 4 };
            let mut image = [0xee; 12];
            image[..2].copy_from_slice(&[0x34, 0x12]);
            image[2..2 + bytes].copy_from_slice(&expected.base.to_le_bytes()[..bytes]);
            assert_eq!(machine.memory[0x2000..0x200c], image[..]);
        }
    }
}

#[test]
fn a_base_that_is_not_canonical_is_refused() {
    let mut machine = with_operand(Mode::Long);
    machine.store(DATA + 2, &0x0100_0000_0000_0000_u64.to_le_bytes());
    machine.refuses(&[0x0f, 0x01, 0x13], Stop::GENERAL_PROTECTION);
    machine.refuses(&[0x0f, 0x01, 0x1b], Stop::GENERAL_PROTECTION);
    // 57 bits are canonical whatever CR4.LA57 is.
    machine.store(DATA + 2, &0x0080_0000_0000_0000_u64.to_le_bytes());
    machine.completes(&[0x0f, 0x01, 0x13]);
}

#[test]
fn a_table_register_that_does_not_fit_is_not_stored_in_part() {
    let mut machine = Machine::new(Mode::Long, 0);
    machine.state.set_slot(Slot::Rbx, END - 4);
    machine.store(END - 4, &[0xee; 4]);
    let fault = Stop::Exception(Exception::page_fault(LinearAddress(END), 2));
    machine.refuses(&[0x0f, 0x01, 0x03], fault);
    assert_eq!(machine.memory[0xfffc..], [0xee; 4]);
}

#[test]
fn selectors_fill_registers_and_two_bytes_of_memory() {
    let mut machine = Machine::new(Mode::Long, 3);
    machine.state.system.ldtr.selector = 0x8018;
    machine.state.system.tr.selector = 0x8040;
    for (extension, selector) in [(0, 0x8018_u64), (1, 0x8040)] {
        for (prefix, after) in [(&[0x66][..], 0xffff_ffff_ffff_0000), (&[], 0), (&[0x48], 0)] {
            machine.state.set_slot(Slot::Rax, u64::MAX);
            machine.completes(&[prefix, &[0x0f, 0x00, 0xc0 | extension << 3]].concat());
            assert_eq!(machine.state.slot(Slot::Rax), after | selector);
        }
        machine.store(DATA, &[0xee; 4]);
        machine.completes(&[0x0f, 0x00, extension << 3 | 3]);
        assert_eq!(machine.memory[0x2000..0x2004], [selector.to_le_bytes()[0], 0x80, 0xee, 0xee]);
    }
}

#[test]
fn invlpg_names_the_address_and_ignores_one_that_is_not_canonical() {
    let mut machine = Machine::new(Mode::Long, 0);
    machine.state.set_slot(Slot::Rbx, 0xffff_8000_0000_1234);
    machine.completes(&[0x0f, 0x01, 0x3b]);
    assert_eq!(machine.changes, [TranslationChange::Page(LinearAddress(0xffff_8000_0000_1234))]);
    machine.state.set_slot(Slot::Rbx, 0x8000_0000_0000);
    machine.completes(&[0x0f, 0x01, 0x3b]);
    assert_eq!(machine.changes.len(), 1);
}

#[test]
fn invpcid_checks_type_pcid_and_address() {
    let mut random = Random(7);
    let mut outcomes = [0; 2];
    for _ in 0..cases(2000) {
        let mut machine = Machine::new(Mode::Long, 0);
        let pcids = random.below(2) == 0;
        machine.state.system.cr4.set(Cr4::PCIDE, pcids);
        let kind: u64 = random.pick(&[0, 1, 2, 3, 4, 1 << 32]);
        let low: u64 = random.pick(&[0, 0, 1, 0xfff, 0x1000, 1 << 63]);
        let high: u64 = random.pick(&[0, 0x7fff_ffff_ffff, 0x8000_0000_0000, u64::MAX]);
        machine.state.set_slot(Slot::Rax, kind);
        machine.store(DATA, &low.to_le_bytes());
        machine.store(DATA + 8, &high.to_le_bytes());
        let canonical = high != 0x8000_0000_0000;
        let allowed = match kind {
            0 => low < 0x1000 && (pcids || low == 0) && canonical,
            1 => low < 0x1000 && (pcids || low == 0),
            2 | 3 => low < 0x1000,
            _ => false,
        };
        outcomes[usize::from(allowed)] += 1;
        if allowed {
            machine.completes(&[0x66, 0x0f, 0x38, 0x82, 0x03]);
            let (kind, pcid, address) = (kind as u8, low as u16, LinearAddress(high));
            assert_eq!(machine.changes, [TranslationChange::Pcid { kind, pcid, address }]);
        } else {
            machine.refuses(&[0x66, 0x0f, 0x38, 0x82, 0x03], Stop::GENERAL_PROTECTION);
            assert!(machine.changes.is_empty());
        }
    }
    assert!(outcomes.iter().all(|&count| count > 300), "{outcomes:?}");
}

#[test]
fn segment_bases_are_moved_and_checked() {
    let mut machine = Machine::new(Mode::Long, 3);
    machine.state.system.cr4 |= Cr4::FSGSBASE;
    machine.state.set_slot(Slot::Rax, 0xffff_8000_1234_5678);
    machine.completes(&[0xf3, 0x48, 0x0f, 0xae, 0xd0]); // wrfsbase rax
    machine.completes(&[0xf3, 0x0f, 0xae, 0xd8]); // wrgsbase eax
    assert_eq!(machine.state.slot(Slot::FsBase), 0xffff_8000_1234_5678);
    assert_eq!(machine.state.slot(Slot::GsBase), 0x1234_5678);
    machine.completes(&[0xf3, 0x48, 0x0f, 0xae, 0xc1]); // rdfsbase rcx
    assert_eq!(machine.state.slot(Slot::Rcx), 0xffff_8000_1234_5678);
    machine.state.set_slot(Slot::Rax, 1 << 60);
    machine.refuses(&[0xf3, 0x48, 0x0f, 0xae, 0xd0], Stop::GENERAL_PROTECTION);
}

#[test]
fn protection_keys_need_registers_of_zero() {
    let mut machine = Machine::new(Mode::Long, 3);
    machine.state.system.cr4 |= Cr4::PKE;
    let set = |machine: &mut Machine, rcx, rdx| {
        machine.state.set_slot(Slot::Rax, 0x5555_1234);
        machine.state.set_slot(Slot::Rcx, rcx);
        machine.state.set_slot(Slot::Rdx, rdx);
    };
    for (rcx, rdx) in [(1, 0), (0, 1)] {
        set(&mut machine, rcx, rdx);
        machine.refuses(&[0x0f, 0x01, 0xef], Stop::GENERAL_PROTECTION);
    }
    set(&mut machine, 1 << 32, 0);
    machine.completes(&[0x0f, 0x01, 0xef]);
    assert_eq!(machine.state.system.pkru, 0x5555_1234);
    machine.state.set_slot(Slot::Rax, u64::MAX);
    machine.state.set_slot(Slot::Rdx, u64::MAX);
    machine.completes(&[0x0f, 0x01, 0xee]);
    assert_eq!((machine.state.slot(Slot::Rax), machine.state.slot(Slot::Rdx)), (0x5555_1234, 0));
    set(&mut machine, 1, 0);
    machine.refuses(&[0x0f, 0x01, 0xee], Stop::GENERAL_PROTECTION);
}
