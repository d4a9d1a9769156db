//! What an SMI saves, RSM restores; and what RSM refuses.
#![allow(clippy::unwrap_used, reason = "tests")]

use isa::control::{Cr0, Cr4, Efer};
use isa::segment::{AccessRights, DescriptorTable, Segment, SegmentRegister};
use isa::state::{Slot, State};
use isa::system::smm::{self, Refusal};
use isa::system::{Activity, Interruptibility, System};
use proptest::prelude::*;

fn segment() -> impl Strategy<Value = Segment> {
    let rights = prop_oneof![Just(AccessRights::from_bits_retain(0xc093)), Just(AccessRights::UNUSABLE)];
    (any::<u16>(), any::<u64>(), any::<u32>(), rights).prop_map(|(selector, base, limit, rights)| Segment {
        selector,
        base,
        limit,
        rights,
    })
}

fn state() -> impl Strategy<Value = State> {
    let segments = proptest::array::uniform8(segment());
    let general = proptest::array::uniform16(any::<u64>());
    let tables = (any::<u64>(), any::<u16>(), any::<u64>(), any::<u16>());
    let rest = (any::<u64>(), any::<u64>(), 0..4_u8, any::<u32>(), any::<bool>(), any::<bool>());
    (segments, general, tables, rest).prop_map(|(segments, general, tables, rest)| {
        let mut state = State::default();
        for (slot, value) in Slot::GENERAL.into_iter().zip(general) {
            state.set_slot(slot, value);
        }
        for (register, segment) in SegmentRegister::ALL.into_iter().zip(segments) {
            state.set_segment(register, segment);
        }
        let (rip, cr3, cpl, smbase, halted, nmi) = rest;
        state.set_rip(rip);
        let system = &mut state.system;
        (system.ldtr, system.tr) = (segments[6], segments[7]);
        system.gdtr = DescriptorTable { base: tables.0, limit: tables.1 };
        system.idtr = DescriptorTable { base: tables.2, limit: tables.3 };
        (system.cr3, system.cpl, system.smbase) = (cr3, cpl, smbase);
        system.activity = if halted { Activity::Halted } else { Activity::Active };
        system.interruptibility = if nmi { Interruptibility::NMI } else { Interruptibility::empty() };
        state
    })
}

/// Everything that the image holds, for comparison.
fn visible(state: &State) -> (Vec<u64>, Vec<Segment>, String) {
    let general = Slot::GENERAL.map(|slot| state.slot(slot));
    let segments = SegmentRegister::ALL.map(|register| state.segment(register));
    let System { ldtr, tr, gdtr, idtr, cpl, cr0, cr3, cr4, efer, dr6, dr7, smbase, .. } = state.system;
    let (flags, rip) = (state.flags.get(), state.rip());
    let (blocked, activity) = (state.system.interruptibility, state.system.activity);
    let rest = format!(
        "{ldtr:?} {tr:?} {gdtr:?} {idtr:?} {cpl} {cr0:?} {cr3:x} {cr4:?} {efer:?} {dr6:x} {dr7:x} {smbase:x} \
         {flags:x} {rip:x} {blocked:?} {activity:?}"
    );
    (general.to_vec(), segments.to_vec(), rest)
}

proptest! {
    #[test]
    fn rsm_brings_back_what_an_smi_has_saved(before in state()) {
        let mut state = before.clone();
        let image = smm::image(&state);
        smm::enter(&mut state);
        prop_assert_eq!(state.segment(SegmentRegister::Cs).base, u64::from(before.system.smbase));
        prop_assert_eq!((state.rip(), state.flags.get(), state.system.cpl), (0x8000, 2, 0));
        prop_assert!(!state.system.cr0.intersects(Cr0::PE | Cr0::PG) && state.system.efer.is_empty());
        let blocked = Interruptibility::SMI | Interruptibility::NMI;
        prop_assert!(state.system.interruptibility.contains(blocked));
        for slot in Slot::GENERAL {
            state.set_slot(slot, 7);
        }
        smm::restore(&mut state, &image).unwrap();
        prop_assert_eq!(visible(&state), visible(&before));
    }

    #[test]
    fn any_image_is_taken_or_refused_and_then_nothing_has_changed(
        bytes in proptest::collection::vec(any::<u8>(), smm::IMAGE_BYTES),
    ) {
        let mut state = State::default();
        smm::enter(&mut state);
        let before = visible(&state);
        if smm::restore(&mut state, &bytes.try_into().unwrap()).is_err() {
            prop_assert_eq!(visible(&state), before);
        }
    }
}

#[test]
fn fields_are_where_the_manual_has_them() {
    let mut state = State::default();
    state.set_slot(Slot::Rax, 0x1122_3344_5566_7788);
    state.set_rip(0x1234_5678_9abc);
    state.system.gdtr.base = 0xffff_8000_1234_5678;
    state.system.activity = Activity::Halted;
    let image = smm::image(&state);
    let at = |offset: usize| u64::from_le_bytes(image[offset - 0x7c00..][..8].try_into().unwrap());
    assert_eq!(smm::IMAGE, 0xfc00);
    assert_eq!((at(0x7f5c), at(0x7fd8)), (0x1122_3344_5566_7788, 0x1234_5678_9abc));
    assert_eq!((at(0x7e8c) as u32, at(0x7dd0) as u32), (0x1234_5678, 0xffff_8000));
    assert_eq!((at(0x7ef8) as u32, at(0x7efc) as u32, at(0x7f02) as u16), (0x3_0000, 0x2_0064, 1));
    assert_eq!((at(0x7ff8), at(0x7fe0)), (state.system.cr0.bits(), state.system.efer.bits()));
}

#[test]
fn rsm_refuses_control_registers_that_cannot_be() {
    let state = State::default();
    let refusal = |offset: usize, value: u64| {
        let mut image = smm::image(&state);
        image[offset - 0x7c00..][..8].copy_from_slice(&value.to_le_bytes());
        smm::restore(&mut state.clone(), &image).unwrap_err()
    };
    let (cr0, cr4, efer) = (state.system.cr0.bits(), state.system.cr4, state.system.efer.bits());
    for wrong in [cr0 & !1, cr0 | Cr0::NW.bits(), cr0 | 1 << 32] {
        assert_eq!(refusal(0x7ff8, wrong), Refusal::Cr0(wrong));
    }
    let reserved = cr4.bits() | 1 << 31;
    assert_eq!(refusal(0x7e40, reserved), Refusal::Cr4(reserved));
    assert_eq!(refusal(0x7e40, (cr4 - Cr4::PAE).bits()), Refusal::NoPaeInIa32e);
    for wrong in [efer | 1 << 40, efer & !Efer::LMA.bits(), efer & !Efer::LME.bits()] {
        assert_eq!(refusal(0x7fe0, wrong), Refusal::Efer(wrong));
    }
}
