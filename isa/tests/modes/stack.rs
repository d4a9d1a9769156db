//! The stack: which register moves, by how much, and what refuses it.

use crate::machine::{BASE, END, Mode, completes, machine, refuses, store, stored};
use isa::address::LinearAddress;
use isa::cpu::Stop;
use isa::event::{Exception, Vector};
use isa::segment::SegmentRegister;
use isa::state::Slot;

const STACK_FAULT: Stop = Stop::Exception(Exception::with_code(Vector::StackFault, 0));

#[test]
fn a_push_moves_the_stack_pointer_of_the_stack_size_by_the_operand_size() {
    // push ax; with the operand-size prefix push eax, and the other way round.
    let rows: [(Mode, &[u8], u64); 9] = [
        (Mode::Bits16, &[0x50], 2),
        (Mode::Bits16, &[0x66, 0x50], 4),
        (Mode::Bits16Stack32, &[0x50], 2),
        (Mode::Bits16Stack32, &[0x66, 0x50], 4),
        (Mode::Bits32, &[0x50], 4),
        (Mode::Bits32, &[0x66, 0x50], 2),
        (Mode::Bits32Stack16, &[0x50], 4),
        (Mode::Bits64, &[0x50], 8),
        (Mode::Bits64, &[0x66, 0x50], 2),
    ];
    for (mode, code, bytes) in rows {
        let mut machine = machine(mode, code, 0x8000);
        machine.state.set_slot(Slot::Rax, 0x8877_6655_4433_2211);
        let before = machine.state.slot(Slot::Rsp);
        completes(&mut machine);
        assert_eq!(machine.state.slot(Slot::Rsp), before - bytes, "{mode:?} {code:02x?}");
        let expected = &0x8877_6655_4433_2211_u64.to_le_bytes()[..usize::try_from(bytes).unwrap()];
        let offset = 0x8000 - usize::try_from(bytes).unwrap();
        assert_eq!(stored(&machine, offset, expected.len()), expected, "{mode:?} {code:02x?}");
    }
}

#[test]
fn a_16_bit_stack_pointer_wraps_and_keeps_the_bits_above() {
    let mut machine = machine(Mode::Bits16, &[0x50], 0); // push ax
    machine.state.set_slot(Slot::Rsp, 0x1234_0000);
    machine.state.set_slot(Slot::Rax, 0xabcd);
    completes(&mut machine);
    assert_eq!(machine.state.slot(Slot::Rsp), 0x1234_fffe);
    assert_eq!(stored(&machine, 0xfffe, 2), [0xcd, 0xab]);
}

#[test]
fn a_stack_access_beyond_the_limit_is_a_stack_fault_and_changes_nothing() {
    // push eax with SP = 2 / pop ax with SP = FFFFh / pop eax / enter 0,0 / leave / pushad / ret
    let rows: [(&[u8], u64, u64); 7] = [
        (&[0x66, 0x50], 2, 0),
        (&[0x58], 0xffff, 0),
        (&[0x66, 0x58], 0xfffd, 0),
        (&[0xc8, 0, 0, 0], 1, 0),
        (&[0xc9], 0x8000, 0xffff),
        (&[0x66, 0x60], 2, 0),
        (&[0xc3], 0xffff, 0),
    ];
    for (code, stack, frame) in rows {
        let mut machine = machine(Mode::Bits16, code, stack);
        machine.state.set_slot(Slot::Rbp, frame);
        refuses(&mut machine, STACK_FAULT);
    }
}

#[test]
fn a_segment_that_expands_down_gives_the_stack_what_is_above_its_limit() {
    for (stack, allowed) in [(0x8002, true), (0x8001, true), (0x8000, false), (0x7000, false)] {
        let mut machine = machine(Mode::Bits16, &[0x58], stack); // pop ax
        let mut segment = machine.state.segment(SegmentRegister::Ss);
        segment.limit = 0x8000;
        segment.rights = isa::segment::AccessRights::from_bits_retain(0xf7);
        machine.state.set_segment(SegmentRegister::Ss, segment);
        if allowed {
            completes(&mut machine);
        } else {
            refuses(&mut machine, STACK_FAULT);
        }
    }
}

#[test]
fn pop_sees_the_stack_pointer_already_moved_and_push_not_yet() {
    // push esp / pop esp / pop dword [esp+4] / push dword [esp+4]
    let mut push = machine(Mode::Bits32, &[0x54], 0x8000);
    let top = push.state.slot(Slot::Rsp);
    completes(&mut push);
    assert_eq!(stored(&push, 0x7ffc, 4), u32::try_from(top).unwrap().to_le_bytes());

    let mut pop = machine(Mode::Bits32, &[0x5c], 0x8000);
    store(&mut pop, 0x8000, &[0, 0x90, 0x10, 0]);
    completes(&mut pop);
    assert_eq!(pop.state.slot(Slot::Rsp), 0x10_9000);

    let mut pop = machine(Mode::Bits32, &[0x8f, 0x44, 0x24, 4], 0x8000);
    store(&mut pop, 0x8000, &[1, 2, 3, 4]);
    completes(&mut pop);
    assert_eq!(stored(&pop, 0x8008, 4), [1, 2, 3, 4]);

    let mut push = machine(Mode::Bits32, &[0xff, 0x74, 0x24, 4], 0x8000);
    store(&mut push, 0x8004, &[5, 6, 7, 8]);
    completes(&mut push);
    assert_eq!(stored(&push, 0x7ffc, 4), [5, 6, 7, 8]);
}

#[test]
fn a_pop_to_memory_that_is_refused_leaves_the_stack_pointer_alone() {
    let at = u32::try_from(END).unwrap().to_le_bytes();
    let code = [&[0x8f, 0x05][..], &at].concat(); // pop dword [END]
    let fault = Stop::Exception(Exception::page_fault(LinearAddress(END), 6));
    refuses(&mut machine(Mode::Bits32, &code, 0x8000), fault);
}

#[test]
fn a_segment_selector_is_stored_in_16_bits_whatever_the_32_bit_operand_size() {
    let mut machine = machine(Mode::Bits32, &[0x0e], 0x8000); // push cs
    store(&mut machine, 0x7ffc, &[0xff; 4]);
    completes(&mut machine);
    assert_eq!(stored(&machine, 0x7ffc, 4), [0x1b, 0, 0xff, 0xff]);
    assert_eq!(machine.state.slot(Slot::Rsp), BASE + 0x7ffc);
}

#[test]
fn pusha_stores_the_stack_pointer_of_before_and_popa_skips_it() {
    for (mode, size) in [(Mode::Bits16, 2), (Mode::Bits32, 4)] {
        let mut machine = machine(mode, &[0x60, 0x61], 0x8000); // pusha / popa
        let slots = [Slot::Rax, Slot::Rcx, Slot::Rdx, Slot::Rbx, Slot::Rsp, Slot::Rbp, Slot::Rsi, Slot::Rdi];
        for (number, slot) in slots.into_iter().enumerate().filter(|&(number, _)| number != 4) {
            machine.state.set_slot(slot, 0x1111_1111 * (number as u64 + 1));
        }
        let before = machine.state.registers().gpr;
        completes(&mut machine);
        assert_eq!(machine.state.registers().gpr, before);
        for (number, slot) in slots.into_iter().enumerate() {
            let value = before[slot as usize].to_le_bytes();
            assert_eq!(stored(&machine, 0x8000 - size * (number + 1), size), value[..size], "{slot:?}");
        }
    }
}

/// What ENTER leaves, as the manual's steps say.
fn naive_enter(memory: &mut [u8], top: usize, frame: usize, size: usize, level: usize) -> (usize, usize) {
    let mut put = |at: usize, value: &[u8]| memory[at..at + size].copy_from_slice(&value[..size]);
    let mut top = top - size;
    put(top, &(BASE + frame as u64).to_le_bytes());
    let new_frame = top;
    let mut display = frame;
    for _ in 1..level {
        display -= size;
        top -= size;
        memory.copy_within(display..display + size, top);
    }
    if level > 0 {
        top -= size;
        memory[top..top + size].copy_from_slice(&(BASE + new_frame as u64).to_le_bytes()[..size]);
    }
    (top, new_frame)
}

#[test]
fn enter_copies_the_frames_of_every_nesting_level_and_leave_takes_the_frame_away() {
    for (mode, size) in [(Mode::Bits32, 4), (Mode::Bits64, 8)] {
        for level in 0..32_u8 {
            let mut machine = machine(mode, &[0xc8, 0x20, 0, level | 0xe0], 0x8000); // enter 20h,level
            for (number, byte) in machine.memory_mut()[0x7000..0xa000].iter_mut().enumerate() {
                *byte = u8::try_from(number % 251).unwrap();
            }
            machine.state.set_slot(Slot::Rbp, BASE + 0x9000);
            let mut expected = machine.memory().to_vec();
            let (top, frame) = naive_enter(&mut expected, 0x8000, 0x9000, size, level.into());
            completes(&mut machine);
            assert_eq!(machine.state.slot(Slot::Rsp), BASE + top as u64 - 0x20, "{mode:?} {level}");
            assert_eq!(machine.state.slot(Slot::Rbp), BASE + frame as u64, "{mode:?} {level}");
            assert!(machine.memory() == expected, "{mode:?} {level}");
        }
    }
    let mut machine = machine(Mode::Bits32, &[0xc8, 0x20, 0, 3, 0xc9], 0x8000); // enter 20h,3 / leave
    machine.state.set_slot(Slot::Rbp, BASE + 0x9000);
    completes(&mut machine);
    assert_eq!(machine.state.slot(Slot::Rsp), BASE + 0x8000);
    assert_eq!(machine.state.slot(Slot::Rbp), BASE + 0x9000);
}

#[test]
fn a_non_canonical_reference_is_a_stack_fault_only_in_the_stack_segment() {
    const AWAY: u64 = 1 << 62;
    let general = Stop::GENERAL_PROTECTION;
    // The stack pointer, RBP and RAX are away from all canonical addresses.
    let rows: [(&str, &[u8], Stop); 13] = [
        ("push rcx", &[0x51], STACK_FAULT),
        ("pop rcx", &[0x59], STACK_FAULT),
        ("call $+5", &[0xe8, 0, 0, 0, 0], STACK_FAULT),
        ("ret", &[0xc3], STACK_FAULT),
        ("enter 0,0", &[0xc8, 0, 0, 0], STACK_FAULT),
        ("leave", &[0xc9], STACK_FAULT),
        ("pushfq", &[0x9c], STACK_FAULT),
        ("mov rcx,[rbp]", &[0x48, 0x8b, 0x4d, 0], STACK_FAULT),
        ("add [rsp],ecx", &[0x01, 0x0c, 0x24], STACK_FAULT),
        ("movups xmm0,[rbp]", &[0x0f, 0x10, 0x45, 0], STACK_FAULT),
        ("mov rcx,[rax]", &[0x48, 0x8b, 0x08], general),
        ("mov rcx,fs:[rbp]", &[0x64, 0x48, 0x8b, 0x4d, 0], general),
        ("mov rcx,[rax+rbp]", &[0x48, 0x8b, 0x0c, 0x28], general),
    ];
    for (name, code, stop) in rows {
        println!("{name}");
        let mut machine = machine(Mode::Bits64, code, 0);
        for slot in [Slot::Rsp, Slot::Rbp] {
            machine.state.set_slot(slot, AWAY);
        }
        machine.state.set_slot(Slot::Rax, AWAY + 0x100);
        refuses(&mut machine, stop);
    }
    // push qword [rax]: the operand is refused first, as what it is.
    let mut machine = machine(Mode::Bits64, &[0xff, 0x30], 0x8000);
    machine.state.set_slot(Slot::Rax, AWAY);
    refuses(&mut machine, general);
}
