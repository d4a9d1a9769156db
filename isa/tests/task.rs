//! Switches of tasks.
#![allow(clippy::unwrap_used, reason = "tests")]

mod system_machine;

use isa::cpu::Stop;
use isa::engine::CodeCache;
use isa::event::{Event, Exception, Vector};
use isa::segment::SegmentRegister;
use isa::state::Slot;
use isa::system::{Interruptibility, deliver};
use system_machine::*;

const TSS_SELECTOR: u16 = 0xa0;
const ENTRY: u32 = 0xc000;
/// Selectors of the task that runs, and of its segments.
const OLD: u16 = 0x60;
const CS: SegmentRegister = SegmentRegister::Cs;

/// A machine at level 0 with an available 32-bit task at the selector, at level 3 if asked.
fn machine(level: u32) -> Machine {
    let mut machine = Machine::protected(0);
    machine.set_descriptor(20, descriptor(OTHER_TSS, 0x67, 0x89, 0));
    machine.state.system.dr7 = 0x455;
    machine.state.flags.set(0x202);
    let data = 16 * level + 16 + level;
    let fields = [
        (0x20, ENTRY),
        (0x24, 0x3000),
        (0x28, 0xa1),
        (0x2c, 0xa2),
        (0x38, 0x9800),
        (0x44, 0xa8),
        (0x48, data),
        (0x4c, data - 8),
        (0x50, data),
        (0x54, data),
        (0x58, 0),
        (0x5c, data),
    ];
    for (offset, value) in fields {
        machine.put(OTHER_TSS + offset, value);
    }
    machine
}

fn far(opcode: u8, selector: u16) -> Vec<u8> {
    let mut code = vec![opcode, 0, 0, 0, 0];
    code.extend(selector.to_le_bytes());
    code
}

fn busy(machine: &Machine, index: u64) -> bool {
    machine.get::<u8>(GDT + 8 * index + 5) & 2 != 0
}

fn run_at(machine: &mut Machine, rip: u64, code: &[u8]) -> Option<Stop> {
    let at = usize::try_from(rip).unwrap();
    machine.memory[at..at + code.len()].copy_from_slice(code);
    CodeCache::new().run(machine, 1).stop
}

#[test]
fn a_jump_saves_the_old_task_and_loads_the_new_one() {
    for level in [0, 3] {
        let mut machine = machine(level);
        machine.state.set_slot(Slot::Rbx, 0x1234_5678);
        assert_eq!(machine.execute(&far(0xea, TSS_SELECTOR)), Completes);
        let state = &machine.state;
        assert_eq!((state.rip(), state.slot(Slot::Rsp), state.flags.get()), (0xc000, 0x9800, 0x3002));
        assert_eq!((state.slot(Slot::Rax), state.slot(Slot::Rcx), state.slot(Slot::Rdi)), (0xa1, 0xa2, 0xa8));
        assert_eq!(u32::from(state.system.cpl), level);
        assert_eq!(u32::from(state.selector(CS)), 16 * level + 8 + level);
        assert_eq!(state.selector(SegmentRegister::Fs), 0);
        assert_eq!((state.system.tr.selector, state.system.tr.base), (TSS_SELECTOR, OTHER_TSS));
        assert_eq!((state.system.dr7, state.system.cr0.bits() & 8), (0x400, 8), "TS is set");
        assert_eq!((busy(&machine, 12), busy(&machine, 20)), (false, true));
        let saved = machine.words::<u32>(TSS + 0x20, 6);
        assert_eq!(saved, [u128::from(CODE + 7), 0x202, 0, 0, 0, 0x1234_5678]);
        assert_eq!(machine.get::<u32>(TSS + 0x38), u32::try_from(STACK).unwrap());
        assert_eq!(machine.words::<u32>(TSS + 0x48, 6), [16, 8, 16, 16, 16, 16]);
    }
}

#[test]
fn a_call_nests_and_iret_comes_back() {
    let mut machine = machine(0);
    let before = machine.clone();
    assert_eq!(machine.execute(&far(0x9a, TSS_SELECTOR)), Completes);
    assert_eq!(machine.state.flags.get(), 0x7002, "NT");
    assert_eq!(machine.get::<u16>(OTHER_TSS), OLD);
    assert_eq!((busy(&machine, 12), busy(&machine, 20)), (true, true));
    assert_eq!(run_at(&mut machine, ENTRY.into(), &[0xcf]), Some(Stop::Done));
    let state = &machine.state;
    assert_eq!((state.rip(), state.flags.get()), (CODE + 7, 0x202));
    for register in SegmentRegister::ALL {
        assert_eq!(state.segment(register), before.state.segment(register));
    }
    assert_eq!(state.slot(Slot::Rsp), STACK);
    assert_eq!((state.system.tr.selector, state.system.cpl), (OLD, 0));
    assert_eq!((busy(&machine, 12), busy(&machine, 20)), (true, false));
    assert_eq!(machine.get::<u32>(OTHER_TSS + 0x20), ENTRY + 1);
    assert_eq!(machine.get::<u32>(OTHER_TSS + 0x24), 0x3002, "without NT");
}

#[test]
fn an_exception_through_a_task_gate_leaves_its_error_code_on_the_new_stack() {
    let mut machine = machine(0);
    machine.put(IDT + 13 * 8, gate(TSS_SELECTOR.into(), 0, 0x85, 0));
    let event = Event::exception(&Exception::with_code(Vector::GeneralProtection, 0x123));
    assert_eq!(deliver(&mut machine, &event), Ok(()));
    let state = &machine.state;
    assert_eq!((state.rip(), state.slot(Slot::Rsp)), (0xc000, 0x97fc));
    assert_eq!(machine.get::<u32>(0x97fc), 0x123);
    assert_eq!(machine.get::<u32>(TSS + 0x20), u32::try_from(CODE).unwrap());
    assert_eq!(machine.get::<u32>(TSS + 0x24), 0x1_0202, "RF");
    assert_eq!(machine.get::<u16>(OTHER_TSS), OLD);
}

#[test]
fn a_fault_in_the_new_task_during_delivery_has_ext_and_ends_the_shadow() {
    let mut machine = machine(0);
    machine.put(IDT + 13 * 8, gate(TSS_SELECTOR.into(), 0, 0x85, 0));
    machine.put(OTHER_TSS + 0x50, 8_u32);
    machine.state.system.interruptibility = Interruptibility::STI;
    let stopped = deliver(&mut machine, &Event::external(13)).unwrap_err();
    let expected = Exception::with_code(Vector::InvalidTss, 9);
    assert_eq!(*stopped, Stop::AfterTaskSwitch(expected));
    assert_eq!(machine.state.system.interruptibility, Interruptibility::empty());
    assert_eq!(machine.state.rip(), 0xc000);
}

/// The access byte of the task at the selector, the limit, the selector of the jump.
#[test]
fn what_is_wrong_with_the_task_is_found_in_the_old_one() {
    let rows = [
        (0x89, 0x67, TSS_SELECTOR, Completes),
        (0x8b, 0x67, TSS_SELECTOR, Faults("#GP", TSS_SELECTOR)),
        (0x09, 0x67, TSS_SELECTOR, Faults("#NP", TSS_SELECTOR)),
        (0x89, 0x66, TSS_SELECTOR, Faults("#TS", TSS_SELECTOR)),
        (0x89, 0x67, TSS_SELECTOR | 1, Faults("#GP", TSS_SELECTOR)),
        (0x82, 0x67, TSS_SELECTOR, Faults("#GP", TSS_SELECTOR)),
        (0x81, 0x2b, TSS_SELECTOR, Completes),
        (0x81, 0x2a, TSS_SELECTOR, Faults("#TS", TSS_SELECTOR)),
    ];
    for (access, limit, selector, outcome) in rows {
        let mut machine = machine(0);
        machine.set_descriptor(20, descriptor(OTHER_TSS, limit, access, 0));
        if access & 8 == 0 {
            for (offset, selector) in [(0x22, 16_u16), (0x24, 8), (0x26, 16), (0x28, 16), (0x2a, 0)] {
                machine.put(OTHER_TSS + offset, selector);
            }
        }
        let before = machine.registers();
        assert_eq!(machine.execute(&far(0xea, selector)), outcome, "{access:#x} {limit:#x}");
        assert_eq!(machine.registers() == before, outcome != Completes);
    }
}

/// A field of the new task-state segment, its selector, and the fault.
#[test]
fn what_is_wrong_with_its_segments_is_found_in_the_new_task() {
    let rows = [
        (0x4c, 0, "#TS", 0),
        (0x4c, 16, "#TS", 16),
        (0x4c, 0x18, "#TS", 0x18),
        (0x4c, 0xa8, "#NP", 0xa8),
        (0x50, 0, "#TS", 0),
        (0x50, 8, "#TS", 8),
        (0x50, 0xb0, "#SS", 0xb0),
        (0x54, 0xb0, "#NP", 0xb0),
        (0x54, 0x800, "#TS", 0x800),
        (0x60, 8, "#TS", 8),
    ];
    for (offset, selector, fault, code) in rows {
        let mut machine = machine(0);
        machine.set_descriptor(21, descriptor(0, 0xf_ffff, 0x1b, 0xc));
        machine.set_descriptor(22, descriptor(0, 0xf_ffff, 0x13, 0xc));
        machine.put(OTHER_TSS + offset, u32::from(selector));
        let stop = run_at(&mut machine, CODE, &far(0xea, TSS_SELECTOR));
        assert_eq!(outcome_of(stop.as_ref()), Faults(fault, code), "{offset:#x} {selector:#x}");
        assert!(matches!(stop, Some(Stop::AfterTaskSwitch(_))));
        assert_eq!((machine.state.rip(), machine.state.system.tr.selector), (0xc000, TSS_SELECTOR));
        let _: u16 = selector;
    }
}

#[test]
fn the_trap_flag_of_a_task_raises_a_debug_exception_in_it() {
    let mut machine = machine(0);
    machine.put(OTHER_TSS + 0x64, 1_u16);
    let stop = run_at(&mut machine, CODE, &far(0xea, TSS_SELECTOR));
    assert_eq!(stop, Some(Stop::AfterTaskSwitch(Exception::plain(Vector::Debug))));
    assert_eq!(machine.state.rip(), 0xc000);
    assert_eq!(machine.state.system.dr6 & 0x8000, 0x8000, "BT");
}

/// In 64-bit mode there are no switches.
#[test]
fn ia_32e_mode_switches_no_tasks() {
    let mut machine = Machine::long(0);
    machine.set_descriptor(20, descriptor(OTHER_TSS, 0x67, 0x89, 0));
    machine.put(CODE + 0x100, 0x00a0_0000_0000_u64);
    machine.state.set_slot(Slot::Rbx, CODE + 0x100);
    assert_eq!(machine.execute(&[0xff, 0x2b]), Faults("#GP", TSS_SELECTOR));
    machine.state.flags.set(0x4002);
    assert_eq!(machine.execute(&[0x48, 0xcf]), Faults("#GP", 0), "NT");
}

/// LTR marks the task busy; neither it nor LLDT takes what is something else.
#[test]
fn table_registers_take_what_is_theirs() {
    let rows = [
        (0xd8, 0x89, TSS_SELECTOR, Completes),
        (0xd8, 0x8b, TSS_SELECTOR, Faults("#GP", TSS_SELECTOR)),
        (0xd8, 0x09, TSS_SELECTOR, Faults("#NP", TSS_SELECTOR)),
        (0xd8, 0x89, 0, Faults("#GP", 0)),
        (0xd8, 0x89, TSS_SELECTOR | 4, Faults("#GP", TSS_SELECTOR | 4)),
        (0xd0, 0x82, TSS_SELECTOR, Completes),
        (0xd0, 0x82, 0, Completes),
        (0xd0, 0x89, TSS_SELECTOR, Faults("#GP", TSS_SELECTOR)),
        (0xd0, 0x02, TSS_SELECTOR, Faults("#NP", TSS_SELECTOR)),
    ];
    for (modrm, access, selector, outcome) in rows {
        let mut machine = machine(0);
        machine.set_descriptor(20, descriptor(OTHER_TSS, 0x67, access, 0));
        machine.state.set_slot(Slot::Rax, selector.into());
        assert_eq!(machine.execute(&[0x0f, 0x00, modrm]), outcome, "{modrm:#x} {access:#x} {selector:#x}");
        let ltr = modrm == 0xd8 && outcome == Completes;
        assert_eq!(busy(&machine, 20), ltr || access & 2 != 0);
        if ltr {
            assert_eq!(machine.state.system.tr.base, OTHER_TSS);
            assert_eq!(machine.state.system.tr.rights.bits(), 0x8b);
        }
    }
    let mut machine = Machine::protected(3);
    assert_eq!(machine.execute(&[0x0f, 0x00, 0xd8]), Faults("#GP", 0));
    assert_eq!(Machine::real().execute(&[0x0f, 0x00, 0xd8]), Faults("#UD", 0));
}
