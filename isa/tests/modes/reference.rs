//! References that must be aligned, and the order of their checks.

use crate::machine::{BASE, Mode, completes, machine, refuses};
use isa::control::Cr0;
use isa::cpu::Stop;
use isa::event::{Exception, Vector};
use isa::flags::Rflags;
use isa::state::Slot;

const ALIGNMENT_CHECK: Stop = Stop::Exception(Exception::with_code(Vector::AlignmentCheck, 0));

/// Instructions with an operand at BX, EBX or RBX, or on the stack, and the alignment that they ask for.
const ROWS: [(Mode, &[u8], u64); 14] = [
    (Mode::Bits64, &[0x48, 0x8b, 0x03], 8),       // mov rax,[rbx]
    (Mode::Bits64, &[0x01, 0x03], 4),             // add [rbx],eax
    (Mode::Bits64, &[0x66, 0x39, 0x03], 2),       // cmp [rbx],ax
    (Mode::Bits64, &[0x8a, 0x03], 1),             // mov al,[rbx]
    (Mode::Bits64, &[0xf2, 0x0f, 0x10, 0x03], 8), // movsd xmm0,[rbx]
    (Mode::Bits64, &[0x48, 0x87, 0x03], 8),       // xchg [rbx],rax
    (Mode::Bits64, &[0x89, 0xdf, 0xab], 4),       // mov edi,ebx / stosd
    (Mode::Bits64, &[0xff, 0x33], 8),             // push qword [rbx]
    (Mode::Bits64, &[0xdd, 0x03], 8),             // fld qword [rbx]
    (Mode::Bits64, &[0xdb, 0x2b], 8),             // fld tbyte [rbx]
    (Mode::Bits32, &[0x8b, 0x03], 4),             // mov eax,[ebx]
    (Mode::Bits16, &[0x8b, 0x07], 2),             // mov ax,[bx]
    (Mode::Bits16, &[0x66, 0x8b, 0x07], 4),       // mov eax,[bx]
    (Mode::Bits64, &[0x48, 0x89, 0xdc, 0x51], 8), // mov rsp,rbx / push rcx
];

#[test]
fn references_are_checked_at_level_3_with_am_and_ac_alone() {
    for (mode, code, alignment) in ROWS {
        for distance in 0..8 {
            for (am, ac, cpl) in (0..16).map(|bits| (bits & 1 != 0, bits & 2 != 0, bits as u8 >> 2)) {
                let mut machine = machine(mode, code, 0x8000);
                let base = if mode == Mode::Bits16 { 0 } else { BASE };
                machine.state.set_slot(Slot::Rbx, base + 0x9000 + distance);
                machine.state.system.cr0.set(Cr0::AM, am);
                machine.state.system.cpl = cpl;
                let flags = if ac { Rflags::AC.bits() } else { 0 };
                machine.state.flags.set(2 | flags);
                if am && ac && cpl == 3 && distance % alignment != 0 {
                    let run = crate::machine::run(&mut machine);
                    assert_eq!(run.stop, Some(ALIGNMENT_CHECK), "{mode:?} {code:02x?} {distance}");
                } else {
                    completes(&mut machine);
                }
            }
        }
    }
}

#[test]
fn a_misaligned_reference_changes_nothing() {
    let mut machine = machine(Mode::Bits64, &[0x01, 0x03], 0x8000); // add [rbx],eax
    machine.state.set_slot(Slot::Rbx, BASE + 0x9001);
    machine.state.flags.set(2 | Rflags::AC.bits());
    refuses(&mut machine, ALIGNMENT_CHECK);
}
