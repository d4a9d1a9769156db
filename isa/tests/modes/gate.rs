//! What CR0.EM, CR0.TS, CR0.MP and CR4.OSFXSR forbid, and what real-address mode does not have.

use crate::machine::{Mode, machine, real_address, refuses, run};
use isa::control::{Cr0, Cr4};
use isa::cpu::Stop;
use isa::event::Vector;
use isa::state::Slot;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    X87,
    Wait,
    Mmx,
    Sse,
    Neither,
}

const ROWS: [(&str, &[u8], Unit); 24] = [
    ("fld1", &[0xd9, 0xe8], Unit::X87),
    ("fninit", &[0xdb, 0xe3], Unit::X87),
    ("fnstsw ax", &[0xdf, 0xe0], Unit::X87),
    ("fisttp dword [ebx]", &[0xdb, 0x0b], Unit::X87),
    ("fcomi st0,st1", &[0xdb, 0xf1], Unit::X87),
    ("fxsave [ebx]", &[0x0f, 0xae, 0x03], Unit::X87),
    ("fxrstor [ebx]", &[0x0f, 0xae, 0x0b], Unit::X87),
    ("wait", &[0x9b], Unit::Wait),
    ("emms", &[0x0f, 0x77], Unit::Mmx),
    ("movups xmm0,[ebx]", &[0x0f, 0x10, 0x03], Unit::Sse),
    ("addsd xmm0,xmm1", &[0xf2, 0x0f, 0x58, 0xc1], Unit::Sse),
    ("ldmxcsr [ebx]", &[0x0f, 0xae, 0x13], Unit::Sse),
    ("stmxcsr [ebx]", &[0x0f, 0xae, 0x1b], Unit::Sse),
    ("pshufb xmm0,xmm1", &[0x66, 0x0f, 0x38, 0x00, 0xc1], Unit::Sse),
    ("aesenc xmm0,xmm1", &[0x66, 0x0f, 0x38, 0xdc, 0xc1], Unit::Sse),
    ("cvtsi2sd xmm0,eax", &[0xf2, 0x0f, 0x2a, 0xc0], Unit::Sse),
    ("prefetcht0 [ebx]", &[0x0f, 0x18, 0x0b], Unit::Neither),
    ("movnti [ebx],eax", &[0x0f, 0xc3, 0x03], Unit::Neither),
    ("clflush [ebx]", &[0x0f, 0xae, 0x3b], Unit::Neither),
    ("lfence", &[0x0f, 0xae, 0xe8], Unit::Neither),
    ("pause", &[0xf3, 0x90], Unit::Neither),
    ("popcnt eax,ecx", &[0xf3, 0x0f, 0xb8, 0xc1], Unit::Neither),
    ("crc32 eax,ecx", &[0xf2, 0x0f, 0x38, 0xf1, 0xc1], Unit::Neither),
    ("andn eax,ecx,edx", &[0xc4, 0xe2, 0x70, 0xf2, 0xc2], Unit::Neither),
];

/// SDM Vol. 3A, 2.5 and 14.1, as conditions.
fn expected(unit: Unit, cr0: Cr0, cr4: Cr4) -> Option<Stop> {
    let (em, ts) = (cr0.contains(Cr0::EM), cr0.contains(Cr0::TS));
    let unavailable = Stop::exception(Vector::DeviceNotAvailable);
    match unit {
        Unit::X87 if em || ts => Some(unavailable),
        Unit::Wait if ts && cr0.contains(Cr0::MP) => Some(unavailable),
        Unit::Mmx | Unit::Sse if em => Some(Stop::INVALID_OPCODE),
        Unit::Sse if !cr4.contains(Cr4::OSFXSR) => Some(Stop::INVALID_OPCODE),
        Unit::Mmx | Unit::Sse if ts => Some(unavailable),
        _ => None,
    }
}

#[test]
fn control_bits_forbid_units_before_an_operand_is_looked_at() {
    for (name, code, unit) in ROWS {
        for bits in 0..16_u64 {
            let mut machine = machine(Mode::Bits32, code, 0x8000);
            machine.state.set_slot(Slot::Rbx, crate::machine::BASE + 0x9000);
            let system = &mut machine.state.system;
            system.cr0 -= Cr0::EM | Cr0::TS | Cr0::MP;
            system.cr0 |= Cr0::from_bits_retain((bits & 7) << 1);
            system.cr4.set(Cr4::OSFXSR, bits & 8 != 0);
            let (cr0, cr4) = (system.cr0, system.cr4);
            let found = match expected(unit, cr0, cr4) {
                Some(stop) => {
                    // The operand has no memory: what is forbidden does not get there.
                    machine.state.set_slot(Slot::Rbx, 0);
                    refuses(&mut machine, stop);
                    continue;
                }
                None => run(&mut machine).stop,
            };
            assert_eq!(found, Some(Stop::Halt), "{name} with {cr0:?} {cr4:?}");
        }
    }
}

#[test]
fn vex_instructions_do_not_exist_in_real_address_mode() {
    // andn eax,ecx,edx
    let mut machine = machine(Mode::Bits16, &[0xc4, 0xe2, 0x70, 0xf2, 0xc2], 0x8000);
    real_address(&mut machine);
    refuses(&mut machine, Stop::INVALID_OPCODE);
}

#[test]
fn an_unmasked_simd_exception_is_undefined_without_osxmmexcpt() {
    for (allowed, stop) in [(true, Stop::exception(Vector::SimdFloatingPoint)), (false, Stop::INVALID_OPCODE)]
    {
        let mut machine = machine(Mode::Bits64, &[0xf2, 0x0f, 0x5e, 0xc1], 0x8000); // divsd xmm0,xmm1
        machine.state.system.cr4.set(Cr4::OSXMMEXCPT, allowed);
        machine.state.mxcsr = 0x1f80 & !(1 << 9); // #Z is not masked
        machine.state.xmm[0] = 1.0_f64.to_bits().into();
        let found = run(&mut machine);
        assert_eq!(found.stop, Some(stop));
        assert_eq!(machine.state.xmm[0], 1.0_f64.to_bits().into());
    }
}
