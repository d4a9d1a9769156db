//! Event delivery in every mode, and the way back.
#![allow(clippy::unwrap_used, reason = "tests")]

mod system_machine;

use isa::control::Cr4;
use isa::event::{Event, EventKind, EventOrigin, Exception, Vector};
use isa::segment::{AccessRights, SegmentRegister};
use isa::state::Slot;
use isa::system::{Interruptibility, deliver};
use system_machine::*;

const HANDLER: u64 = 0xc000;
const SS: SegmentRegister = SegmentRegister::Ss;
const CS: SegmentRegister = SegmentRegister::Cs;

fn act(machine: &mut Machine, event: &Event) -> Outcome {
    outcome_of(deliver(machine, event).err().as_deref())
}

fn general_protection() -> Event {
    Event::exception(&Exception::with_code(Vector::GeneralProtection, 0x1234))
}

fn position(machine: &Machine) -> (u16, u64, u16, u64, u8) {
    let state = &machine.state;
    (state.selector(CS), state.rip(), state.selector(SS), state.slot(Slot::Rsp), state.system.cpl)
}

/// A machine whose vector 13 has this gate, and RFLAGS with all that delivery may clear.
fn with_gate(mut machine: Machine, selector: u64, access: u64, stack: u64) -> Machine {
    let size = if machine.state.is_ia32e() { 16 } else { 8 };
    machine.put(IDT + 13 * size, gate(selector, HANDLER, access, stack));
    if !machine.state.is_virtual_8086() {
        machine.state.flags.set(0x4_4f02);
    }
    machine
}

#[test]
fn real_address_mode_pushes_three_words_and_no_error_code() {
    let mut machine = Machine::real();
    machine.put(13 * 4, 0x0c00_0010_u32);
    machine.state.flags.set(0x4_0b02);
    machine.state.set_rip(0x77);
    is_atomic(&machine, |machine| act(machine, &general_protection()));
    assert_eq!(act(&mut machine, &general_protection()), Completes);
    assert_eq!(position(&machine), (0xc00, 0x10, 0, STACK - 6, 0));
    assert_eq!(machine.state.segment(CS).base, 0xc000);
    assert_eq!(machine.words::<u16>(STACK - 6, 3), [0x77, 0x800, 0x0b02]);
    assert_eq!(machine.state.flags.get(), 0x802, "IF, TF and AC are clear");
}

#[test]
fn a_vector_behind_the_limit_is_refused() {
    let mut machine = Machine::real();
    machine.state.system.idtr.limit = 13 * 4 + 2;
    assert_eq!(act(&mut machine, &general_protection()), Faults("#GP", 13 * 8 + 3));
    for (machine, bytes) in [(Machine::protected(0), 8), (Machine::long(0), 16)] {
        for (limit, outcome) in [(14 * bytes - 1, Completes), (14 * bytes - 2, Faults("#GP", 13 * 8 + 3))] {
            let mut machine = with_gate(machine.clone(), 8, 0x8e, 0);
            machine.state.system.idtr.limit = limit;
            assert_eq!(act(&mut machine, &general_protection()), outcome);
        }
    }
}

#[test]
fn the_same_level_keeps_its_stack_and_pushes_in_the_size_of_the_gate() {
    for (access, trap) in [(0x8e, 0), (0x8f, 0x200)] {
        let mut machine = with_gate(Machine::protected(0), 8, access, 0);
        is_atomic(&machine, |machine| act(machine, &general_protection()));
        assert_eq!(act(&mut machine, &general_protection()), Completes);
        assert_eq!(position(&machine), (8, HANDLER, 16, STACK - 16, 0));
        assert_eq!(machine.words::<u32>(STACK - 16, 4), [0x1234, CODE.into(), 8, 0x5_4f02], "RF is set");
        assert_eq!(machine.state.flags.get(), 0x4_0c02 | trap);
    }
    let mut machine = with_gate(Machine::protected(0), 8, 0x86, 0);
    assert_eq!(act(&mut machine, &general_protection()), Completes);
    assert_eq!(position(&machine), (8, HANDLER, 16, STACK - 8, 0));
    assert_eq!(machine.words::<u16>(STACK - 8, 4), [0x1234, CODE.into(), 8, 0x4f02]);
}

#[test]
fn an_inner_level_has_its_own_stack() {
    for level in 0..3_u64 {
        let selector = 8 + 16 * level;
        let mut machine = with_gate(Machine::protected(3), selector, 0x8e, 0);
        is_atomic(&machine, |machine| act(machine, &general_protection()));
        assert_eq!(act(&mut machine, &general_protection()), Completes);
        let (cs, ss) =
            (u16::try_from(selector + level).unwrap(), u16::try_from(selector + 8 + level).unwrap());
        let cpl = u8::try_from(level).unwrap();
        assert_eq!(position(&machine), (cs, HANDLER, ss, INNER_STACK - 24, cpl));
        let pushed = [0x1234, CODE.into(), 0x3b, 0x5_4f02, STACK.into(), 0x43];
        assert_eq!(machine.words::<u32>(INNER_STACK - 24, 6), pushed);
        assert_eq!(machine.state.selector(SegmentRegister::Ds), 0x43, "data segments stay");
    }
}

#[test]
fn virtual_8086_mode_goes_to_level_0_with_all_segments() {
    let mut machine = with_gate(Machine::virtual_8086(0), 8, 0x8e, 0);
    machine.state.set_rip(0x55);
    is_atomic(&machine, |machine| act(machine, &general_protection()));
    assert_eq!(act(&mut machine, &general_protection()), Completes);
    assert_eq!(position(&machine), (8, HANDLER, 16, INNER_STACK - 40, 0));
    let pushed = [0x1234, 0x55, 0x800, 0x3_0202, STACK.into(), 0, 0x800, 0x803, 0x804, 0x805];
    assert_eq!(machine.words::<u32>(INNER_STACK - 40, 10), pushed);
    assert_eq!(machine.state.flags.get(), 2);
    for register in [SegmentRegister::Ds, SegmentRegister::Es, SegmentRegister::Fs, SegmentRegister::Gs] {
        assert_eq!(machine.state.selector(register), 0);
        assert!(machine.state.rights(register).contains(AccessRights::UNUSABLE));
    }
    for level in 1..3 {
        let mut machine = with_gate(Machine::virtual_8086(3), 8 + 16 * level, 0x8e, 0);
        let code = u16::try_from(8 + 16 * level).unwrap() | 1;
        assert_eq!(act(&mut machine, &general_protection()), Faults("#GP", code));
    }
}

#[test]
fn long_mode_aligns_the_stack_and_pushes_everything() {
    let rows = [
        (0, 0, STACK + 8, STACK, 16, 0),
        (3, 0, STACK + 8, INNER_STACK, 0, 0),
        (3, 1, STACK + 8, INTERRUPT_STACK - 8, 0, 0),
        (0, 1, STACK, INTERRUPT_STACK - 8, 16, 0),
    ];
    for (cpl, interrupt_stack, rsp, top, ss, new_cpl) in rows {
        let mut machine = with_gate(Machine::long(cpl), 8, 0x8e, interrupt_stack);
        machine.put(IDT + 13 * 16 + 8, 0_u64);
        machine.state.set_slot(Slot::Rsp, rsp);
        let (old_ss, old_cs) = (machine.state.selector(SS), machine.state.selector(CS));
        let top = top & !15;
        is_atomic(&machine, |machine| act(machine, &general_protection()));
        assert_eq!(act(&mut machine, &general_protection()), Completes);
        assert_eq!(position(&machine), (8, HANDLER, ss, top - 48, new_cpl));
        let pushed = [0x1234, CODE.into(), old_cs.into(), 0x5_4f02, rsp.into(), old_ss.into()];
        assert_eq!(machine.words::<u64>(top - 48, 6), pushed);
        assert_eq!(machine.state.flags.get(), 0x4_0c02);
    }
}

/// Vector 13, gate of DPL 0, program at level 3.
#[test]
fn only_software_looks_at_the_privilege_of_the_gate_and_leaves_ext_clear() {
    let rows = [
        (Event::software(13, EventKind::SoftwareInterrupt, 2), Faults("#GP", 13 * 8 + 2)),
        (Event::software(13, EventKind::SoftwareException, 1), Faults("#GP", 13 * 8 + 2)),
        (Event::software(13, EventKind::PrivilegedSoftwareException, 1), Completes),
        (Event::external(13), Completes),
        (general_protection(), Completes),
    ];
    for (event, outcome) in rows {
        for machine in [Machine::protected(3), Machine::long(3)] {
            let mut machine = with_gate(machine, 8, 0x8e, 0);
            let before = machine.registers();
            assert_eq!(act(&mut machine, &event), outcome, "{event:?}");
            assert_eq!(outcome == Completes, machine.registers() != before);
            let mut absent = with_gate(Machine::protected(0), 8, 0x0e, 0);
            let ext = u16::from(!event.kind.is_asked_by_program());
            assert_eq!(act(&mut absent, &event), Faults("#NP", 13 * 8 + 2 + ext));
        }
    }
}

#[test]
fn what_is_pushed_as_rip_and_rf_depends_on_the_event() {
    let injected = Event { origin: EventOrigin::VmEntry, ..general_protection() };
    let rows = [
        (Event::external(13), 0, 0),
        (Event::software(13, EventKind::SoftwareInterrupt, 2), 2, 0),
        (general_protection(), 0, 0x1_0000),
        (injected, 0, 0),
    ];
    for (event, beyond, resume) in rows {
        let mut machine = with_gate(Machine::long(0), 8, 0xee, 0);
        assert_eq!(act(&mut machine, &Event { error_code: None, ..event }), Completes);
        let pushed = machine.words::<u64>(STACK - 40, 3);
        assert_eq!(pushed, [u128::from(CODE + beyond), 8, 0x4_4f02 | resume]);
    }
}

/// The code segment behind a gate at level 3: its access byte and flags, and what comes of it.
#[test]
fn the_code_segment_behind_a_gate_is_checked() {
    let rows = [
        (0x9b, 0xc, Completes),
        (0x9f, 0xc, Completes),
        (0x1b, 0xc, Faults("#NP", 0xa1)),
        (0x93, 0xc, Faults("#GP", 0xa1)),
        (0x8b, 0xc, Faults("#GP", 0xa1)),
    ];
    for (access, flags, outcome) in rows {
        let mut machine = with_gate(Machine::protected(3), 0xa0, 0x8e, 0);
        machine.set_descriptor(20, descriptor(0, 0xf_ffff, access, flags));
        assert_eq!(act(&mut machine, &general_protection()), outcome, "{access:#x}");
    }
    for (flags, outcome) in [(0xa, Completes), (0xe, Faults("#GP", 0xa1)), (0xc, Faults("#GP", 0xa1))] {
        let mut machine = with_gate(Machine::long(3), 0xa0, 0x8e, 0);
        machine.set_descriptor(20, descriptor(0, 0xf_ffff, 0x9b, flags));
        assert_eq!(act(&mut machine, &general_protection()), outcome, "{flags:#x}");
    }
    let mut machine = with_gate(Machine::protected(3), 3, 0x8e, 0);
    assert_eq!(act(&mut machine, &general_protection()), Faults("#GP", 1));
}

/// SS0 of the task-state segment and its descriptor at selector 0xa0.
#[test]
fn the_stack_of_an_inner_level_is_checked() {
    let rows = [
        (0xa0, 0x93, Completes),
        (0xa1, 0x93, Faults("#TS", 0xa1)),
        (0xa0, 0xb3, Faults("#TS", 0xa1)),
        (0xa0, 0x91, Faults("#TS", 0xa1)),
        (0xa0, 0x9b, Faults("#TS", 0xa1)),
        (0xa0, 0x13, Faults("#SS", 0xa1)),
        (0x800, 0x93, Faults("#TS", 0x801)),
        (0, 0x93, Faults("#TS", 1)),
    ];
    for (selector, access, outcome) in rows {
        let mut machine = with_gate(Machine::protected(3), 8, 0x8e, 0);
        machine.put(TSS + 8, selector);
        machine.set_descriptor(20, descriptor(0, 0xf_ffff, access, 0xc));
        let before = machine.registers();
        assert_eq!(act(&mut machine, &general_protection()), outcome, "{selector:#x} {access:#x}");
        assert_eq!(outcome == Completes, machine.registers() != before);
        let _: u32 = selector;
    }
    for (limit, outcome) in [(9, Completes), (8, Faults("#TS", 0x61))] {
        let mut machine = with_gate(Machine::protected(3), 8, 0x8e, 0);
        machine.state.system.tr.limit = limit;
        assert_eq!(act(&mut machine, &general_protection()), outcome);
    }
    let mut machine = with_gate(Machine::long(3), 8, 0x8e, 0);
    machine.put(TSS + 4, 0x8000_0000_0000_u64);
    assert_eq!(act(&mut machine, &general_protection()), Faults("#SS", 1));
    let mut machine = with_gate(Machine::protected(3), 8, 0x8e, 0);
    machine.put(TSS + 8, 0xa0_u32);
    machine.set_descriptor(20, descriptor(0, 0x100, 0x93, 4));
    assert_eq!(act(&mut machine, &general_protection()), Faults("#SS", 0xa1), "too small");
}

#[test]
fn iret_undoes_delivery() {
    let event = Event::external(13);
    let machines = [
        (with_gate(Machine::protected(0), 8, 0x8e, 0), &[0xcf][..]),
        (with_gate(Machine::protected(3), 8, 0x8f, 0), &[0xcf]),
        (with_gate(Machine::protected(3), 8, 0x86, 0), &[0x66, 0xcf]),
        (with_gate(Machine::virtual_8086(1), 8, 0x8e, 0), &[0xcf]),
        (with_gate(Machine::long(0), 8, 0x8e, 0), &[0x48, 0xcf]),
        (with_gate(Machine::long(3), 8, 0x8e, 1), &[0x48, 0xcf]),
    ];
    for (number, (machine, iret)) in machines.into_iter().enumerate() {
        let mut machine = machine;
        machine.state.flags.set(machine.state.flags.get() & !0x4_4000);
        let before = machine.registers();
        assert_eq!(act(&mut machine, &event), Completes);
        let at = usize::try_from(HANDLER).unwrap();
        machine.memory[at..at + iret.len()].copy_from_slice(iret);
        machine.accesses = 0;
        let run =
            |machine: &mut Machine| outcome_of(isa::engine::CodeCache::new().run(machine, 1).stop.as_ref());
        is_atomic(&machine, run);
        assert_eq!(run(&mut machine), Completes, "{number}");
        assert_eq!(machine.registers(), before, "{number}");
    }
}

#[test]
fn an_nmi_blocks_others_until_iret_and_delivery_ends_the_shadow() {
    let mut machine = with_gate(Machine::long(0), 8, 0x8e, 0);
    machine.put(IDT + 2 * 16, gate(8, CODE, 0x8e, 0));
    machine.state.system.interruptibility = Interruptibility::MOV_SS;
    assert_eq!(act(&mut machine, &Event::NON_MASKABLE), Completes);
    assert_eq!(machine.state.system.interruptibility, Interruptibility::NMI);
    assert_eq!(machine.execute(&[0x48, 0xcf]), Completes);
    assert_eq!(machine.state.system.interruptibility, Interruptibility::empty());
}

/// CR4.VME, the bit of vector 13 in the redirection bitmap, IOPL, who asks: where it goes.
#[test]
fn int_n_in_virtual_8086_mode_follows_iopl_and_the_redirection_bitmap() {
    let rows = [
        (Cr4::empty(), 0, 3, EventOrigin::Processor, Some(HANDLER)),
        (Cr4::empty(), 0, 2, EventOrigin::Processor, None),
        (Cr4::empty(), 0, 2, EventOrigin::VmEntry, Some(HANDLER)),
        (Cr4::VME, 1, 3, EventOrigin::Processor, Some(HANDLER)),
        (Cr4::VME, 1, 0, EventOrigin::Processor, None),
        (Cr4::VME, 0, 3, EventOrigin::Processor, Some(0x10)),
        (Cr4::VME, 0, 0, EventOrigin::Processor, Some(0x10)),
    ];
    for (cr4, bit, iopl, origin, rip) in rows {
        let mut machine = with_gate(Machine::virtual_8086(iopl), 8, 0xee, 0);
        machine.put(13 * 4, 0x0c00_0010_u32);
        machine.state.system.cr4 = cr4;
        machine.state.system.tr.limit = 0xff;
        machine.put(TSS + 0x66, 0x88_u16);
        machine.put(TSS + 0x68 + 1, u8::from(bit == 1) << 5);
        let event = Event { origin, ..Event::software(13, EventKind::SoftwareInterrupt, 2) };
        let outcome = if rip.is_some() { Completes } else { Faults("#GP", 0) };
        if outcome == Completes {
            is_atomic(&machine, |machine| act(machine, &event));
        }
        assert_eq!(act(&mut machine, &event), outcome, "{cr4:?} {bit} {iopl}");
        assert_eq!(machine.state.rip(), rip.unwrap_or(0));
        if rip == Some(0x10) {
            let image = if iopl == 3 { 0x3202 } else { 0x3002 };
            assert_eq!(machine.words::<u16>(STACK - 6, 3), [2, 0x800, image]);
            assert_eq!(machine.state.flags.get() & 0x200, if iopl == 3 { 0 } else { 0x200 });
        }
    }
}
