//! The XSAVE family: what is saved comes back, headers are checked, and the rest of the area is left alone.

use crate::machine::{DATA, Machine, Mode, Random, cases};
use isa::control::{Cr0, Cr4};
use isa::cpu::Stop;
use isa::event::Vector;
use isa::registers::X87;
use isa::state::Slot;

const PKRU: usize = 0x2000 + 2688;
const HEADER: usize = 0x2000 + 512;
const XSAVE: [u8; 4] = [0x48, 0x0f, 0xae, 0x23];
const XRSTOR: [u8; 4] = [0x48, 0x0f, 0xae, 0x2b];
const XSAVEOPT: [u8; 4] = [0x48, 0x0f, 0xae, 0x33];
const XSAVEC: [u8; 4] = [0x48, 0x0f, 0xc7, 0x23];

fn machine(xcr0: u64) -> Machine {
    let mut machine = Machine::new(Mode::Long, 0);
    machine.state.system.cr4 |= Cr4::OSXSAVE | Cr4::PKE;
    machine.state.system.xcr0 = xcr0;
    machine
}

fn ask(machine: &mut Machine, components: u64) {
    machine.state.set_slot(Slot::Rax, components & 0xffff_ffff);
    machine.state.set_slot(Slot::Rdx, components >> 32);
}

fn fill(machine: &mut Machine, random: &mut Random) {
    let state = &mut machine.state;
    state.xmm = std::array::from_fn(|_| u128::from(random.next()) << 64 | u128::from(random.next()));
    state.mxcsr = 0x1f80 | random.next() as u32 & 0x3f;
    state.x87 = X87 {
        control: 0x27f,
        tag: 0xf0,
        opcode: 0x123,
        instruction_pointer: random.next(),
        ..X87::default()
    };
    state.x87.st[2] = u128::from(random.next());
    state.system.pkru = random.next() as u32 | 1;
}

fn components(machine: &Machine) -> (X87, u32, [u128; 16], u32) {
    let state = &machine.state;
    (state.x87, state.mxcsr, state.xmm, state.system.pkru)
}

fn word(machine: &Machine, at: usize) -> u64 {
    u64::from_le_bytes(machine.memory[at..at + 8].try_into().unwrap())
}

#[test]
fn what_is_saved_comes_back_and_what_is_not_asked_for_stays() {
    let mut random = Random(10);
    for _ in 0..cases(400) {
        let xcr0 = random.pick(&[1, 3, 0x201, 0x203]);
        let code = random.pick(&[XSAVE, XSAVEOPT, XSAVEC]);
        let mut machine = machine(xcr0);
        fill(&mut machine, &mut random);
        let initial = random.below(8);
        if initial & 1 == 0 {
            machine.state.x87 = X87::default();
        }
        if initial & 2 == 0 {
            machine.state.xmm = [0; 16];
            machine.state.mxcsr = 0x1f80;
        }
        let saved = components(&machine);
        let asked = random.next() & 0x203;
        ask(&mut machine, asked);
        machine.completes(&code);
        let present = word(&machine, HEADER);
        let in_use = (initial & 1) | (initial & 2) | 0x200;
        assert_eq!(present, asked & xcr0 & in_use);
        assert_eq!(word(&machine, HEADER + 8), if code == XSAVEC { asked & xcr0 | 1 << 63 } else { 0 });
        fill(&mut machine, &mut random);
        let other = components(&machine);
        let back = random.next() & 0x203;
        ask(&mut machine, back);
        machine.completes(&XRSTOR);
        let loads = |bit: u64| back & xcr0 & bit != 0;
        // What was not asked for when it was saved comes back in its initial configuration.
        let kept = |bit: u64| asked & xcr0 & bit != 0;
        let found = components(&machine);
        let x87 = if !loads(1) {
            other.0
        } else if kept(1) {
            saved.0
        } else {
            X87::default()
        };
        assert_eq!(found.0, x87);
        assert_eq!(
            found.2,
            if !loads(2) {
                other.2
            } else if kept(2) {
                saved.2
            } else {
                [0; 16]
            }
        );
        if !loads(2) || kept(2) {
            assert_eq!(found.1, if loads(2) { saved.1 } else { other.1 });
        }
        assert_eq!(
            found.3,
            if !loads(0x200) {
                other.3
            } else if kept(0x200) {
                saved.3
            } else {
                0
            }
        );
    }
}

#[test]
fn xsaveopt_leaves_memory_of_initial_components_alone() {
    let mut machine = machine(0x203);
    machine.memory[0x2000..0x2b00].fill(0xee);
    machine.memory[HEADER..HEADER + 64].fill(0);
    ask(&mut machine, u64::MAX);
    machine.completes(&XSAVEOPT);
    let touched = machine.memory[0x2000..0x2b00].iter().enumerate().filter(|(_, byte)| **byte != 0xee);
    // MXCSR, its mask, and the header, which was 0 before.
    assert!(touched.into_iter().all(|(at, _)| (24..32).contains(&at) || (512..576).contains(&at)));
    machine.memory[HEADER..HEADER + 8].copy_from_slice(&[0; 8]);
    machine.completes(&XSAVE);
    assert_eq!((machine.memory[0x2000], machine.memory[PKRU]), (0x7f, 0));
    assert_eq!(machine.memory[0x2000 + 416..HEADER], [0xee; 96]);
}

#[test]
fn headers_are_checked_before_anything_is_loaded() {
    let rows: [(usize, u64, bool); 8] = [
        (HEADER, 0x203, true),
        (HEADER, 1 << 2, false),
        (HEADER, 1 << 63, false),
        (HEADER + 8, 1, false),
        (HEADER + 8, 1 << 63 | 3, true),
        (HEADER + 8, 1 << 63 | 1 << 2, false),
        (HEADER + 16, 1, false),
        (0x2000 + 24, 1 << 16, false), // a reserved bit of MXCSR
    ];
    for (at, value, allowed) in rows {
        let mut machine = machine(0x203);
        fill(&mut machine, &mut Random(11));
        ask(&mut machine, 0x203);
        machine.memory[at..at + 8].copy_from_slice(&value.to_le_bytes());
        if allowed {
            assert!(matches!(machine.step(&XRSTOR).stop, Some(Stop::Done)), "{at:#x} {value:#x}");
        } else {
            machine.refuses(&XRSTOR, Stop::GENERAL_PROTECTION);
        }
    }
    // A component that the compacted form does not have.
    let mut machine = machine(0x203);
    ask(&mut machine, 0x203);
    machine.memory[HEADER] = 2;
    machine.memory[HEADER + 8..HEADER + 16].copy_from_slice(&(1_u64 << 63 | 1).to_le_bytes());
    machine.refuses(&XRSTOR, Stop::GENERAL_PROTECTION);
}

#[test]
fn areas_are_aligned_and_ts_is_device_not_available() {
    for code in [XSAVE, XRSTOR, XSAVEOPT, XSAVEC] {
        let mut machine = machine(3);
        machine.state.set_slot(Slot::Rbx, DATA + 16);
        machine.refuses(&code, Stop::GENERAL_PROTECTION);
        machine.state.system.cr0 |= Cr0::TS;
        machine.refuses(&code, Stop::exception(Vector::DeviceNotAvailable));
    }
}

#[test]
fn xcr0_takes_what_is_offered_with_x87_always() {
    for value in (0..0x400).chain([1 << 32 | 1, 1 << 63 | 1]) {
        for index in [0, 1] {
            let mut machine = machine(1);
            ask(&mut machine, value);
            machine.state.set_slot(Slot::Rcx, index);
            if index == 0 && value & 1 == 1 && value & !0x203 == 0 {
                machine.completes(&[0x0f, 0x01, 0xd1]);
                assert_eq!(machine.state.system.xcr0, value);
                machine.completes(&[0x0f, 0x01, 0xd0]);
                assert_eq!(machine.state.slot(Slot::Rax), value);
            } else {
                machine.refuses(&[0x0f, 0x01, 0xd1], Stop::GENERAL_PROTECTION);
            }
        }
    }
}
