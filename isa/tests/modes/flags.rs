//! PUSHF and POPF in every mode and at every level.

use crate::machine::{Mode, machine, run, store, stored};
use isa::control::{Cr0, Cr4};
use isa::cpu::Stop;
use isa::engine::CodeCache;
use isa::flags::Rflags;
use isa::state::Slot;
use proptest::prelude::*;

/// Where a program stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    RealAddress,
    Virtual8086 { extensions: bool },
    Protected { cpl: u8 },
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        Just(Place::RealAddress),
        any::<bool>().prop_map(|extensions| Place::Virtual8086 { extensions }),
        (0..4_u8).prop_map(|cpl| Place::Protected { cpl }),
    ]
}

fn settle(machine: &mut isa::flat::FlatMachine, place: Place) {
    let system = &mut machine.state.system;
    match place {
        Place::RealAddress => crate::machine::real_address(machine),
        Place::Virtual8086 { extensions } => {
            system.cr4.set(Cr4::VME, extensions);
            let flags = machine.state.flags.get();
            machine.state.flags.set(flags | Rflags::VM.bits());
        }
        Place::Protected { cpl } => system.cpl = cpl,
    }
}

/// The table of SDM Vol. 2B, POPF: may the flag be changed? Nothing when the instruction is refused.
fn changeable(place: Place, iopl: u8, wide: bool) -> Option<Rflags> {
    let always = Rflags::STATUS | Rflags::TF | Rflags::DF | Rflags::NT | Rflags::AC | Rflags::ID;
    let privileged = match place {
        Place::RealAddress | Place::Protected { cpl: 0 } => Rflags::IF | Rflags::IOPL,
        Place::Protected { cpl } if cpl <= iopl => Rflags::IF,
        Place::Protected { .. } => Rflags::empty(),
        Place::Virtual8086 { .. } if iopl == 3 => Rflags::IF,
        Place::Virtual8086 { extensions } if extensions && !wide => Rflags::empty(),
        Place::Virtual8086 { .. } => return None,
    };
    let size = if wide { u64::MAX } else { 0xffff };
    Some((always | privileged) & Rflags::from_bits_retain(size))
}

proptest! {
    #[test]
    fn popf_changes_what_mode_and_level_allow(
        place in place(), iopl in 0..4_u8, wide: bool, old: u32, new: u32, alignment: bool,
    ) {
        let code: &[u8] = if wide { &[0x66, 0x9d] } else { &[0x9d] };
        let mut machine = machine(Mode::Bits16, code, 0x8000);
        let kept = Rflags::STATUS | Rflags::DF | Rflags::NT | Rflags::ID | Rflags::VIF | Rflags::VIP | Rflags::IF;
        let old = u64::from(old) & kept.bits() | u64::from(iopl) << 12 | 2;
        machine.state.flags.set(old);
        machine.state.system.cr0.set(Cr0::AM, alignment);
        settle(&mut machine, place);
        let before = Rflags::from_bits_retain(machine.state.flags.get());
        store(&mut machine, 0x8000, &new.to_le_bytes());
        let image = Rflags::from_bits_retain(if wide { new.into() } else { u64::from(new & 0xffff) });
        let virtualized = matches!(place, Place::Virtual8086 { .. }) && iopl < 3;

        let run = CodeCache::new().run(&mut machine, 1);
        let refused = changeable(place, iopl, wide).is_none()
            || virtualized && (image.contains(Rflags::TF) || image.contains(Rflags::IF) && before.contains(Rflags::VIP));
        if refused {
            prop_assert_eq!(run.stop, Some(Stop::GENERAL_PROTECTION));
            prop_assert_eq!(machine.state.flags.get(), before.bits());
            prop_assert_eq!(machine.state.slot(Slot::Rsp), 0x8000);
            return Ok(());
        }
        let changes = changeable(place, iopl, wide).unwrap();
        let mut expected = before - changes | image & changes;
        if virtualized {
            expected.set(Rflags::VIF, image.contains(Rflags::IF));
        }
        prop_assert_eq!(Rflags::from_bits_retain(machine.state.flags.get()), expected);
        prop_assert_eq!(machine.state.slot(Slot::Rsp), 0x8000 + if wide { 4 } else { 2 });
        // The machine looks at what it serves interrupts, traps and alignment by.
        let looks = (before ^ expected).intersects(Rflags::TF | Rflags::IF | Rflags::AC);
        prop_assert_eq!(run.stop, looks.then_some(Stop::Done));
        prop_assert_eq!((run.executed, machine.state.rip()), (1, code.len() as u64));
    }

    #[test]
    fn pushf_hides_what_a_program_may_not_see(place in place(), iopl in 0..4_u8, wide: bool, flags: u32) {
        let code: &[u8] = if wide { &[0x66, 0x9c] } else { &[0x9c] };
        let mut machine = machine(Mode::Bits16, code, 0x8000);
        let kept = 0x3f_7ed5 & !(Rflags::VM | Rflags::IOPL | Rflags::TF | Rflags::AC).bits();
        machine.state.flags.set(u64::from(flags) & kept | u64::from(iopl) << 12 | 2);
        settle(&mut machine, place);
        let before = Rflags::from_bits_retain(machine.state.flags.get());
        let stop = run(&mut machine).stop;
        if changeable(place, iopl, wide).is_none() {
            prop_assert_eq!(stop, Some(Stop::GENERAL_PROTECTION));
            return Ok(());
        }
        prop_assert_eq!(stop, Some(Stop::Halt));
        let mut image = before - Rflags::RF - Rflags::VM;
        if matches!(place, Place::Virtual8086 { .. }) && iopl < 3 {
            image |= Rflags::IOPL;
            image.set(Rflags::IF, before.contains(Rflags::VIF));
        }
        let size = if wide { 4 } else { 2 };
        prop_assert_eq!(stored(&machine, 0x8000 - size, size), image.bits().to_le_bytes()[..size].to_vec());
    }
}
