//! The table of who may execute what, against the handlers and against the manual's words.

use crate::machine::{Machine, Mode, Random, cases};
use isa::control::{Cr0, Cr4, Efer};
use isa::cpu::Stop;
use isa::system::Offers;
use isa::system::guard::{Guarded, Refused, Rule};

/// Encodings of an instruction; a memory operand is where RBX points.
fn codes(guarded: Guarded, mode: Mode) -> Vec<Vec<u8>> {
    let m = mode.memory();
    let slash = |n: u8| n << 3 | m;
    let all: &[&[u8]] = match guarded {
        Guarded::Clac => &[&[0x0f, 0x01, 0xca]],
        Guarded::Clts => &[&[0x0f, 0x06]],
        Guarded::Hlt => &[&[0xf4]],
        Guarded::Invd => &[&[0x0f, 0x08]],
        Guarded::Invlpg => &[&[0x0f, 0x01, slash(7)]],
        Guarded::Invpcid => &[&[0x66, 0x0f, 0x38, 0x82, slash(0)]],
        Guarded::Lgdt => &[&[0x0f, 0x01, slash(2)]],
        Guarded::Lidt => &[&[0x0f, 0x01, slash(3)]],
        Guarded::Lmsw => &[&[0x0f, 0x01, slash(6)], &[0x0f, 0x01, 0xf0]],
        Guarded::Monitor => &[&[0x0f, 0x01, 0xc8]],
        Guarded::MovControl => &[
            &[0x0f, 0x22, 0xc0],
            &[0x0f, 0x20, 0xc0],
            &[0x0f, 0x22, 0xd0],
            &[0x0f, 0x20, 0xd0],
            &[0x0f, 0x22, 0xd8],
            &[0x0f, 0x20, 0xd8],
            &[0x0f, 0x22, 0xe0],
            &[0x0f, 0x20, 0xe0],
        ],
        Guarded::MovDebug => &[&[0x0f, 0x23, 0xc0], &[0x0f, 0x21, 0xf8]],
        Guarded::Mwait => &[&[0x0f, 0x01, 0xc9]],
        Guarded::Rdfsbase => &[&[0xf3, 0x0f, 0xae, 0xc0], &[0xf3, 0x0f, 0xae, 0xd8]],
        Guarded::Rdmsr => &[&[0x0f, 0x32]],
        Guarded::Rdpid => &[&[0xf3, 0x0f, 0xc7, 0xf8]],
        Guarded::Rdpkru => &[&[0x0f, 0x01, 0xee], &[0x0f, 0x01, 0xef]],
        Guarded::Rdpmc => &[&[0x0f, 0x33]],
        Guarded::Rdtsc => &[&[0x0f, 0x31]],
        Guarded::Rdtscp => &[&[0x0f, 0x01, 0xf9]],
        Guarded::Sgdt => &[&[0x0f, 0x01, slash(0)]],
        Guarded::Sidt => &[&[0x0f, 0x01, slash(1)]],
        Guarded::Sldt => &[&[0x0f, 0x00, slash(0)], &[0x0f, 0x00, 0xc0]],
        Guarded::Smsw => &[&[0x0f, 0x01, slash(4)], &[0x0f, 0x01, 0xe0]],
        Guarded::Stac => &[&[0x0f, 0x01, 0xcb]],
        Guarded::Str => &[&[0x0f, 0x00, slash(1)], &[0x0f, 0x00, 0xc8]],
        Guarded::Swapgs => &[&[0x0f, 0x01, 0xf8]],
        Guarded::Syscall => &[&[0x0f, 0x05]],
        Guarded::Sysenter => &[&[0x0f, 0x34]],
        Guarded::Sysexit => &[&[0x0f, 0x35]],
        Guarded::Sysret => &[&[0x0f, 0x07]],
        Guarded::Vmx => &[
            &[0x0f, 0x01, 0xc2],
            &[0x0f, 0x01, 0xc3],
            &[0x0f, 0x01, 0xc4],
            &[0x0f, 0xc7, slash(6)],
            &[0x0f, 0xc7, slash(7)],
            &[0x66, 0x0f, 0xc7, slash(6)],
            &[0xf3, 0x0f, 0xc7, slash(6)],
            &[0x0f, 0x78, slash(0)],
            &[0x0f, 0x79, slash(0)],
            &[0x66, 0x0f, 0x38, 0x80, slash(0)],
            &[0x66, 0x0f, 0x38, 0x81, slash(0)],
        ],
        Guarded::Wbinvd => &[&[0x0f, 0x09], &[0xf3, 0x0f, 0x09]],
        Guarded::Wrmsr => &[&[0x0f, 0x30]],
        Guarded::Xgetbv => &[&[0x0f, 0x01, 0xd0]],
        Guarded::Xsave => &[&[0x0f, 0xae, slash(4)], &[0x0f, 0xae, slash(5)]],
        Guarded::Xsavec => &[&[0x0f, 0xc7, slash(4)]],
        Guarded::Xsaveopt => &[&[0x0f, 0xae, slash(6)]],
        Guarded::Xsetbv => &[&[0x0f, 0x01, 0xd1]],
    };
    all.iter().map(|code| code.to_vec()).collect()
}

/// A processor with random permissions.
fn machine(random: &mut Random, mode: Mode, cpl: u8) -> Machine {
    let mut machine = Machine::new(mode, cpl);
    let system = &mut machine.state.system;
    let optional =
        Cr4::TSD | Cr4::PCE | Cr4::UMIP | Cr4::FSGSBASE | Cr4::OSXSAVE | Cr4::PKE | Cr4::SMAP | Cr4::DE;
    system.cr4 |= Cr4::from_bits_truncate(random.next()) & optional;
    system.cr0.set(Cr0::TS, random.below(4) == 0);
    system.efer.set(Efer::SCE, random.below(2) == 0);
    system.system_call.sysenter_cs = random.pick(&[0, 3, 8, 0x10000]);
    let missing = Offers::from_bits_truncate(1 << random.below(32) | 1 << random.below(32));
    system.features.offers -= missing;
    system.features.cr4.set(Cr4::SMAP, random.below(4) > 0);
    machine
}

#[test]
fn an_instruction_is_refused_for_the_first_condition_that_holds_and_for_no_other() {
    let mut random = Random(1);
    for &guarded in Guarded::ALL {
        for mode in Mode::ALL {
            for code in codes(guarded, mode) {
                for _ in 0..cases(60) {
                    let cpl = random.pick(mode.levels());
                    let mut machine = machine(&mut random, mode, cpl);
                    let rule = guarded.rules().iter().find(|rule| rule.0.holds(&machine.state));
                    if let Some(&Rule(_, refused)) = rule {
                        machine.refuses(&code, refused.stop());
                        // MOV DR alone leaves a guest before its privilege is looked at (SDM Vol. 3C, 28.1.3).
                        let tells = guarded != Guarded::MovDebug && !machine.intercepted.is_empty();
                        assert!(!tells && machine.begun.is_empty(), "{guarded:?} tells before it checks");
                    } else {
                        let run = machine.step(&code);
                        assert!(
                            run.stop != Some(Stop::INVALID_OPCODE) && run.stop != Some(Stop::Unmodelled),
                            "{guarded:?} in {mode:?} at {cpl}: {run:?}"
                        );
                    }
                }
            }
        }
    }
}

/// What the manual says of each at privilege levels 1 to 3, in virtual-8086 mode and in real-address mode, with everything
/// offered and enabled: G is #GP(0), U is #UD, + executes.
#[test]
fn programs_are_refused_what_the_manual_refuses_them() {
    let rows: [(Guarded, &str); 37] = [
        (Guarded::Clac, "UU+"),
        (Guarded::Clts, "GG+"),
        (Guarded::Hlt, "GG+"),
        (Guarded::Invd, "GG+"),
        (Guarded::Invlpg, "GG+"),
        (Guarded::Invpcid, "GG+"),
        (Guarded::Lgdt, "GG+"),
        (Guarded::Lidt, "GG+"),
        (Guarded::Lmsw, "GG+"),
        (Guarded::Monitor, "UU+"),
        (Guarded::MovControl, "GG+"),
        (Guarded::MovDebug, "GG+"),
        (Guarded::Mwait, "UU+"),
        (Guarded::Rdfsbase, "+UU"),
        (Guarded::Rdmsr, "GG+"),
        (Guarded::Rdpkru, "+++"),
        (Guarded::Rdpmc, "+++"),
        (Guarded::Rdtsc, "GG+"),
        (Guarded::Rdtscp, "GG+"),
        (Guarded::Sgdt, "GG+"),
        (Guarded::Sidt, "GG+"),
        (Guarded::Sldt, "GUU"),
        (Guarded::Smsw, "GG+"),
        (Guarded::Stac, "UU+"),
        (Guarded::Str, "GUU"),
        (Guarded::Swapgs, "GUU"),
        (Guarded::Syscall, "+UU"),
        (Guarded::Sysenter, "++G"),
        (Guarded::Sysexit, "GGG"),
        (Guarded::Sysret, "GUU"),
        (Guarded::Vmx, "+UU"),
        (Guarded::Wbinvd, "GG+"),
        (Guarded::Wrmsr, "GG+"),
        (Guarded::Xgetbv, "+++"),
        (Guarded::Xsave, "+++"),
        (Guarded::Xsaveopt, "+++"),
        (Guarded::Xsetbv, "GG+"),
    ];
    for (guarded, expected) in rows {
        for (mode, letter) in [Mode::Long, Mode::Virtual8086, Mode::Real].into_iter().zip(expected.chars()) {
            for &cpl in mode.levels().iter().filter(|&&cpl| mode == Mode::Real || cpl > 0) {
                let mut machine = Machine::new(mode, cpl);
                let system = &mut machine.state.system;
                system.cr4 = Cr4::all() - Cr4::LA57;
                system.system_call.sysenter_cs = 8;
                let found = match guarded.check(&machine.state) {
                    Ok(()) => '+',
                    Err(stop) if *stop == Stop::INVALID_OPCODE => 'U',
                    Err(stop) if *stop == Stop::GENERAL_PROTECTION => 'G',
                    Err(_) => '?',
                };
                assert_eq!(found, letter, "{guarded:?} in {mode:?} at {cpl}");
            }
        }
    }
}

/// SDM Vol. 3A, table 7-2: #UD and #NM come with decoding, #GP with execution.
#[test]
fn what_does_not_exist_is_undefined_whatever_the_privilege() {
    for &guarded in Guarded::ALL {
        let order = guarded.rules().iter().map(|rule| u8::from(rule.1 == Refused::GeneralProtection));
        assert!(order.is_sorted(), "{guarded:?}");
    }
    let mut machine = Machine::new(Mode::Long, 3);
    machine.state.system.features.offers -= Offers::INVPCID;
    machine.refuses(&codes(Guarded::Invpcid, Mode::Long)[0], Stop::INVALID_OPCODE);
}

#[test]
fn what_vmx_intercepts_is_told_before_it_has_an_effect() {
    let never = [
        Guarded::Clac,
        Guarded::Stac,
        Guarded::Rdfsbase,
        Guarded::Rdpkru,
        Guarded::Smsw,
        Guarded::Swapgs,
        Guarded::Syscall,
        Guarded::Sysenter,
        Guarded::Sysexit,
        Guarded::Sysret,
        Guarded::Xgetbv,
        Guarded::Xsave,
        Guarded::Xsavec,
        Guarded::Xsaveopt,
    ];
    for &guarded in Guarded::ALL {
        for code in codes(guarded, Mode::Long) {
            let mut machine = Machine::new(Mode::Long, 0);
            machine.exits = true;
            machine.state.system.cr4 |= Cr4::OSXSAVE | Cr4::VMXE;
            let told_never = never.contains(&guarded)
                || matches!(code[..], [0x0f, 0x20, 0xc0 | 0xd0 | 0xe0] | [0x0f, 0x22, 0xd0]);
            if told_never {
                machine.step(&code);
                assert!(machine.intercepted.is_empty(), "{guarded:?} {code:x?}");
            } else {
                machine.refuses(&code, Stop::Machine);
                let told = machine.intercepted.len() + machine.begun.len();
                assert_eq!(told, 1, "{guarded:?} {code:x?}");
                assert!(machine.changes.is_empty() && machine.memory[0x2000..0x3000].iter().all(|&b| b == 0));
            }
        }
    }
}
