//! Loads of control registers: random values against the manual's rules, said a second time.

use crate::machine::{DATA, Machine, Mode, Random, cases};
use isa::control::{Cr0, Cr4, Efer};
use isa::cpu::{Stop, TranslationChange};
use isa::segment::{AccessRights, Segment};
use isa::state::Slot;
use isa::system::Interruptibility;

const LME: u64 = 1 << 8;
const LMA: u64 = 1 << 10;
const PAE: u64 = 1 << 5;
const PCIDE: u64 = 1 << 17;
const LA57: u64 = 1 << 12;

/// MOV CRn,RAX (or EAX).
fn mov_to(register: u8) -> Vec<u8> {
    if register == 8 { vec![0x44, 0x0f, 0x22, 0xc0] } else { vec![0x0f, 0x22, 0xc0 | register << 3] }
}

/// A processor in a random state of paging, at privilege level 0.
fn machine(random: &mut Random) -> (Machine, Mode) {
    let mode = random.pick(&[Mode::Long, Mode::Compatibility, Mode::Protected, Mode::Real]);
    let mut machine = Machine::new(mode, 0);
    let system = &mut machine.state.system;
    let ia32e = matches!(mode, Mode::Long | Mode::Compatibility);
    if ia32e {
        system.cr4.set(Cr4::PCIDE, random.below(2) == 0);
        system.cr4.set(Cr4::LA57, random.below(2) == 0);
    } else {
        system.efer.set(Efer::LME, random.below(2) == 0);
        system.cr4.set(Cr4::PAE, random.below(2) == 0);
        let paged = mode == Mode::Protected && !system.efer.contains(Efer::LME) && random.below(2) == 0;
        system.cr0.set(Cr0::PG, paged);
    }
    system.cr3 = random.pick(&[0, 0x1000, 0x1001]);
    system.features.cr4.set(Cr4::SMEP, random.below(2) == 0);
    system.features.physical_address_width = random.pick(&[36, 46, 52]);
    if random.below(4) == 0 {
        system.tr = Segment { rights: AccessRights::from_bits_retain(0x83), ..Segment::UNUSABLE };
    }
    (machine, mode)
}

/// The rules of SDM Vol. 2B, MOV to control registers, for a value that is the whole register.
fn is_allowed(machine: &Machine, mode: Mode, register: u8, value: u64) -> bool {
    let system = &machine.state.system;
    let (cr0, cr4, efer) = (system.cr0.bits(), system.cr4.bits(), system.efer.bits());
    let bit = |value: u64, number: u32| value >> number & 1 == 1;
    let ia32e = efer & LMA != 0;
    match register {
        0 => {
            let mut bad = value >> 32 != 0;
            bad |= bit(value, 31) && !bit(value, 0);
            bad |= bit(value, 29) && !bit(value, 30);
            if bit(value, 31) && !bit(cr0, 31) && efer & LME != 0 {
                let busy = system.tr.rights.bits() & 0xf;
                bad |= cr4 & PAE == 0 || mode == Mode::Long || busy == 1 || busy == 3;
            }
            bad |= !bit(value, 31) && bit(cr0, 31) && (mode == Mode::Long || cr4 & PCIDE != 0);
            !bad
        }
        3 => {
            let value = if cr4 & PCIDE != 0 { value & (u64::MAX >> 1) } else { value };
            value < 1 << system.features.physical_address_width
        }
        4 => {
            let mut offered: u64 = 0x0077_3fff; // bits 13:0, 18:16, 22:20
            if !system.features.cr4.contains(Cr4::SMEP) {
                offered &= !(1 << 20);
            }
            let mut bad = value & !offered != 0;
            bad |= ia32e && (value & PAE == 0 || (value ^ cr4) & LA57 != 0);
            bad |= value & !cr4 & PCIDE != 0 && (!ia32e || system.cr3 & 0xfff != 0);
            !bad
        }
        8 => value < 16,
        _ => true,
    }
}

fn random_value(random: &mut Random, machine: &Machine, register: u8) -> u64 {
    let system = &machine.state.system;
    let base = match register {
        0 => system.cr0.bits(),
        4 => system.cr4.bits(),
        _ => 0,
    };
    match register {
        0 => base ^ random.next() & 0xe005_003f ^ if random.below(8) == 0 { random.sparse() } else { 0 },
        4 => {
            base ^ random.next() & 0x0077_3fff & random.next()
                ^ if random.below(4) == 0 { random.sparse() } else { 0 }
        }
        3 => random.next() >> random.below(40) | random.sparse(),
        _ => random.next() >> random.below(64),
    }
}

#[test]
fn a_load_is_refused_exactly_when_the_manual_says_so_and_tells_of_the_change() {
    let mut random = Random(2);
    let mut outcomes = [[0; 2]; 9];
    for _ in 0..cases(6000) {
        let (mut machine, mode) = machine(&mut random);
        let registers: &[u8] = if mode == Mode::Long { &[0, 2, 3, 4, 8] } else { &[0, 2, 3, 4] };
        let register = random.pick(registers);
        let source = random_value(&mut random, &machine, register);
        machine.state.set_slot(Slot::Rax, source);
        let value = if mode == Mode::Long { source } else { source & 0xffff_ffff };
        let code = mov_to(register);
        let allowed = is_allowed(&machine, mode, register, value);
        outcomes[usize::from(register)][usize::from(allowed)] += 1;
        if !allowed {
            machine.refuses(&code, Stop::GENERAL_PROTECTION);
            assert!(machine.changes.is_empty());
            continue;
        }
        let before = machine.state.system.clone();
        let run = machine.step(&code);
        assert_eq!(run.executed, 1);
        assert_eq!(run.stop, if register == 2 { None } else { Some(Stop::Done) });
        assert_eq!(machine.state.rip(), 0x1000 + code.len() as u64);
        let system = &machine.state.system;
        let kept = if before.cr4.contains(Cr4::PCIDE) { value & !(1 << 63) } else { value };
        let cr0 = value & 0xe005_003f | 0x10;
        let (found, expected, change) = match register {
            0 => (system.cr0.bits(), cr0, Some(TranslationChange::Cr0(cr0))),
            2 => (system.cr2, value, None),
            3 => (system.cr3, kept, Some(TranslationChange::Cr3(value))),
            4 => (system.cr4.bits(), value, Some(TranslationChange::Cr4(value))),
            _ => (machine.priority.into(), value, None),
        };
        assert_eq!(found, expected, "CR{register}");
        assert_eq!(machine.changes, Vec::from_iter(change));
        if register == 0 {
            let active = system.efer.contains(Efer::LME) && value >> 31 & 1 == 1;
            assert_eq!(system.efer.contains(Efer::LMA), active);
        }
    }
    for register in [0, 3, 4, 8] {
        assert!(outcomes[register].iter().all(|&count| count > 20), "CR{register}: {outcomes:?}");
    }
}

#[test]
fn a_load_reads_back_in_the_width_of_the_mode() {
    for (mode, mask) in [(Mode::Long, u64::MAX), (Mode::Protected, 0xffff_ffff)] {
        let mut machine = Machine::new(mode, 0);
        machine.state.set_slot(Slot::Rax, 0x9234_5678_9abc_def0);
        machine.completes(&[0x0f, 0x22, 0xd0]); // mov cr2,rax
        machine.completes(&[0x0f, 0x20, 0xd1]); // mov rcx,cr2
        assert_eq!(machine.state.slot(Slot::Rcx), 0x9234_5678_9abc_def0 & mask);
        machine.completes(&[0x0f, 0x20, 0xc1]); // mov rcx,cr0
        assert_eq!(machine.state.slot(Slot::Rcx), machine.state.system.cr0.bits());
    }
    let mut machine = Machine::new(Mode::Long, 0);
    machine.completes(&[0x44, 0x0f, 0x20, 0xc1]); // mov rcx,cr8
    assert_eq!(machine.state.slot(Slot::Rcx), 5);
}

#[test]
fn what_does_not_exist_is_undefined() {
    for register in [1, 5, 6, 7] {
        let mut machine = Machine::new(Mode::Long, 0);
        machine.refuses(&mov_to(register), Stop::INVALID_OPCODE);
        machine.refuses(&[0x0f, 0x20, 0xc0 | register << 3], Stop::INVALID_OPCODE);
    }
    Machine::new(Mode::Long, 0).refuses(&[0x0f, 0xaa], Stop::INVALID_OPCODE); // rsm
}

#[test]
fn lmsw_loads_four_bits_and_cannot_clear_pe() {
    for source in 0..32_u64 {
        for (mode, old) in
            [(Mode::Protected, 0x11), (Mode::Protected, 0x1f), (Mode::Real, 0x10), (Mode::Real, 0x1e)]
        {
            let mut machine = Machine::new(mode, 0);
            machine.state.system.cr0 = Cr0::from_bits_truncate(old);
            machine.state.set_slot(Slot::Rax, source);
            let new = old & !0xe | source & 0xf;
            machine.completes(&[0x0f, 0x01, 0xf0]); // lmsw ax
            assert_eq!(machine.state.system.cr0.bits(), new);
            machine.state.system.cr0 = Cr0::from_bits_truncate(old);
            machine.store(DATA, &source.to_le_bytes());
            machine.completes(&[0x0f, 0x01, 6 << 3 | mode.memory()]);
            assert_eq!(machine.state.system.cr0.bits(), new);
            assert_eq!(machine.changes, [TranslationChange::Cr0(new); 2]);
        }
    }
}

#[test]
fn smsw_stores_as_much_of_cr0_as_its_operand_has() {
    let mut machine = Machine::new(Mode::Long, 3);
    let cr0 = machine.state.system.cr0.bits();
    for (code, kept) in [
        (&[0x66, 0x0f, 0x01, 0xe0][..], 0xffff_ffff_ffff_0000_u64),
        (&[0x0f, 0x01, 0xe0], 0),
        (&[0x48, 0x0f, 0x01, 0xe0], 0),
    ] {
        machine.state.set_slot(Slot::Rax, u64::MAX);
        machine.completes(code);
        assert_eq!(machine.state.slot(Slot::Rax), kept | cr0 & !kept);
    }
    machine.store(DATA, &[0xff; 8]);
    machine.completes(&[0x0f, 0x01, 0x23]); // smsw [rbx]
    let at = usize::try_from(DATA).unwrap();
    assert_eq!(machine.memory[at..at + 4], [cr0.to_le_bytes()[0], cr0.to_le_bytes()[1], 0xff, 0xff]);
}

#[test]
fn clts_clears_ts_alone() {
    let mut machine = Machine::new(Mode::Protected, 0);
    machine.state.system.cr0 |= Cr0::TS;
    let without = machine.state.system.cr0 - Cr0::TS;
    machine.completes(&[0x0f, 0x06]);
    assert_eq!(machine.state.system.cr0, without);
}

/// CLI and STI by mode, privilege level, IOPL and extension (SDM Vol. 2, tables 3-7 and 4-22).
#[test]
fn interrupt_flags_change_as_iopl_and_the_extensions_allow() {
    let flags = |machine: &Machine| machine.state.flags.get();
    for mode in Mode::ALL {
        for &cpl in mode.levels() {
            for setup in 0..32_u64 {
                let (iopl, extended, pending) = (setup & 3, setup & 4 != 0, setup & 8 != 0);
                let enabled = setup & 16 != 0;
                let mut machine = Machine::new(mode, cpl);
                let extension = if mode == Mode::Virtual8086 { Cr4::VME } else { Cr4::PVI };
                machine.state.system.cr4.set(extension, extended);
                let start = flags(&machine) | iopl << 12 | u64::from(pending) << 20 | u64::from(enabled) << 9;
                machine.state.flags.set(start);
                let direct = mode == Mode::Real || iopl >= u64::from(cpl);
                let virtually = !direct && cpl == 3 && extended;
                if direct || virtually && !pending {
                    let flag = if direct { 1 << 9 } else { 1 << 19 };
                    machine.completes(&[0xfb]);
                    assert_eq!(flags(&machine), start | flag);
                    let shadow = machine.state.system.interruptibility.contains(Interruptibility::STI);
                    assert_eq!(shadow, direct && !enabled);
                } else {
                    machine.refuses(&[0xfb], Stop::GENERAL_PROTECTION);
                }
                machine.state.flags.set(start | 1 << 19 | 1 << 9);
                if direct || virtually {
                    machine.completes(&[0xfa]);
                    let cleared = if direct { 1 << 9 } else { 1 << 19 };
                    assert_eq!(flags(&machine), (start | 1 << 19 | 1 << 9) & !cleared);
                } else {
                    machine.refuses(&[0xfa], Stop::GENERAL_PROTECTION);
                }
            }
        }
    }
}

#[test]
fn access_control_is_set_and_cleared() {
    let mut machine = Machine::new(Mode::Long, 0);
    let before = machine.state.flags.get();
    machine.completes(&[0x0f, 0x01, 0xcb]);
    assert_eq!(machine.state.flags.get(), before | 1 << 18);
    machine.completes(&[0x0f, 0x01, 0xca]);
    assert_eq!(machine.state.flags.get(), before);
}
