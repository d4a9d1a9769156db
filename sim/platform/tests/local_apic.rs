//! The local APIC (SDM chapter 13).

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{CPU, Pc, XAPIC};
use platform::local_apic::{Mode, MsrDirection};
use platform::{MsrRefusal, PendingInterrupt, PlatformOptions, ProcessorIndex, Time};
use proptest::prelude::*;

const DISABLED: u64 = 0xfee0_0100;
const ENABLED: u64 = 0xfee0_0900;
const X2APIC: u64 = 0xfee0_0d00;

#[test]
fn the_modes_change_only_as_the_state_diagram_allows() {
    let transition = |from, to| Err(MsrRefusal::Transition { from, to });
    let invalid = Err(MsrRefusal::InvalidMode);
    let rows = [
        (DISABLED, DISABLED, Ok(())),
        (DISABLED, ENABLED, Ok(())),
        (DISABLED, X2APIC, transition(Mode::Disabled, Mode::X2apic)),
        (ENABLED, DISABLED, Ok(())),
        (ENABLED, ENABLED, Ok(())),
        (ENABLED, X2APIC, Ok(())),
        (X2APIC, DISABLED, Ok(())),
        (X2APIC, ENABLED, transition(Mode::X2apic, Mode::Xapic)),
        (X2APIC, X2APIC, Ok(())),
    ];
    for (from, to, expected) in rows {
        let mut pc = Pc::new(1);
        let enter = |pc: &mut Pc| pc.wrmsr(0, 0x1b, from);
        enter(&mut pc).unwrap();
        assert_eq!(pc.wrmsr(0, 0x1b, to), expected, "{from:#x} to {to:#x}");
        assert_eq!(pc.rdmsr(0, 0x1b), Ok(if expected.is_ok() { to } else { from }));
        assert_eq!(pc.wrmsr(0, 0x1b, DISABLED | 0x400), invalid);
    }
}

#[test]
fn the_base_takes_no_reserved_bits_and_no_mode_that_is_not_offered() {
    let mut options = PlatformOptions::default();
    options.local_apic.physical_address_bits = 36;
    options.local_apic.x2apic = false;
    let mut pc = Pc::with(&options);
    for bad in [ENABLED | 1, ENABLED | 1 << 36, ENABLED | 1 << 9, X2APIC] {
        assert!(matches!(pc.wrmsr(0, 0x1b, bad), Err(MsrRefusal::Reserved(_))), "{bad:#x}");
    }
    assert_eq!(pc.wrmsr(0, 0x1b, 0xf_fed4_0900), Ok(()));
    assert!(!pc.platform.claims_page(CPU, XAPIC));
    let version = pc.platform.memory_read(CPU, Time(0), 0xf_fed4_0030, 4);
    assert_eq!(version, Some(0x0005_0014));
}

#[test]
fn registers_are_in_memory_in_xapic_mode_only() {
    let mut pc = Pc::new(1);
    assert_eq!(pc.apic(0, 0x30), Some(0x0005_0014));
    assert_eq!(pc.rdmsr(0, 0x803), Err(MsrRefusal::NotInX2apicMode));
    pc.wrmsr(0, 0x1b, X2APIC).unwrap();
    assert_eq!(pc.apic(0, 0x30), None);
    assert_eq!(pc.rdmsr(0, 0x803), Ok(0x0005_0014));
    pc.wrmsr(0, 0x1b, DISABLED).unwrap();
    assert_eq!(pc.apic(0, 0x30), None);
    assert_eq!(pc.rdmsr(0, 0x803), Err(MsrRefusal::NotInX2apicMode));
}

#[test]
fn task_priority_stays_reachable_without_the_apic() {
    let mut pc = Pc::new(1);
    pc.platform.set_task_priority(CPU, 5);
    assert_eq!(pc.apic(0, 0x80), Some(0x50));
    pc.wrmsr(0, 0x1b, DISABLED).unwrap();
    assert_eq!(pc.platform.task_priority(CPU), 5);
    pc.platform.set_task_priority(CPU, 0xf);
    assert_eq!(pc.platform.task_priority(CPU), 0xf);
}

#[test]
fn disabling_restores_the_initial_id_and_the_reset_state() {
    let mut pc = Pc::xapic(2);
    pc.apic_write(1, 0x20, 7 << 24);
    pc.apic_write(1, 0x320, 0xee);
    assert_eq!(pc.apic(1, 0x20), Some(7 << 24));
    pc.wrmsr(1, 0x1b, 0xfee0_0000).unwrap();
    pc.wrmsr(1, 0x1b, 0xfee0_0800).unwrap();
    assert_eq!(pc.apic(1, 0x20), Some(1 << 24));
    assert_eq!(pc.apic(1, 0x320), Some(0x1_0000));
    assert_eq!(pc.apic(1, 0xf0), Some(0xff));
}

#[test]
fn x2apic_registers_keep_their_direction_and_their_reserved_bits() {
    let mut pc = Pc::x2apic(1);
    let write = Err(MsrRefusal::Direction(MsrDirection::Write));
    for read_only in [0x802, 0x803, 0x80a, 0x80d, 0x810, 0x818, 0x820, 0x839] {
        assert_eq!(pc.wrmsr(0, read_only, 0), write, "{read_only:#x}");
    }
    for write_only in [0x80b, 0x83f] {
        assert_eq!(pc.rdmsr(0, write_only), Err(MsrRefusal::Direction(MsrDirection::Read)));
    }
    for absent in [0x800, 0x809, 0x80c, 0x80e, 0x82f, 0x831, 0x83a, 0x8ff, 0x900] {
        assert_eq!(pc.rdmsr(0, absent), Err(MsrRefusal::Absent), "{absent:#x}");
        assert_eq!(pc.wrmsr(0, absent, 0), Err(MsrRefusal::Absent), "{absent:#x}");
    }
    let reserved =
        [(0x808, 0x100), (0x80f, 0x400), (0x830, 1 << 20), (0x832, 1 << 32), (0x837, 0x700), (0x83e, 4)];
    for (msr, value) in reserved {
        assert_eq!(pc.wrmsr(0, msr, value), Err(MsrRefusal::Reserved(value)), "{msr:#x}");
    }
    assert_eq!(pc.wrmsr(0, 0x80b, 1), Err(MsrRefusal::OnlyZero(1)));
    assert_eq!(pc.wrmsr(0, 0x828, 1), Err(MsrRefusal::OnlyZero(1)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(common::cases(128)))]

    #[test]
    fn interrupts_are_taken_by_class_and_nest_above_the_processor_priority(
        vectors in proptest::collection::vec(16_u8..=255, 1..12),
        class in 0_u8..16,
    ) {
        let mut pc = Pc::x2apic(1);
        pc.platform.set_task_priority(CPU, class);
        for vector in &vectors {
            pc.wrmsr(0, 0x83f, u64::from(*vector)).unwrap();
        }
        // An independent account of what is requested and in service.
        let mut requested = vectors.clone();
        requested.sort_unstable();
        requested.dedup();
        let mut in_service: Vec<u8> = Vec::new();
        for step in 0..4 * vectors.len() {
            let priority = in_service.iter().map(|vector| vector >> 4).max().unwrap_or(0).max(class);
            let highest = requested.last().copied().filter(|vector| vector >> 4 > priority);
            prop_assert_eq!(pc.pending(0), highest.map(PendingInterrupt::Vector));
            if let Some(vector) = highest {
                prop_assert_eq!(pc.take(0), Some(vector));
                requested.pop();
                in_service.push(vector);
            }
            if step % 2 == 1 || highest.is_none() {
                pc.wrmsr(0, 0x80b, 0).unwrap();
                in_service.pop();
            }
        }
    }

    #[test]
    fn a_logical_destination_selects_whom_its_format_says(
        ids in proptest::collection::vec(any::<u8>(), 3),
        flat: bool,
        destination in 0_u8..255,
    ) {
        let mut pc = Pc::xapic(3);
        for (cpu, id) in (0..).zip(&ids) {
            pc.apic_write(cpu, 0xe0, if flat { u32::MAX } else { 0x0fff_ffff });
            pc.apic_write(cpu, 0xd0, u32::from(*id) << 24);
        }
        let selected = |id: u8| if flat { id & destination != 0 } else {
            id >> 4 == destination >> 4 && id & destination & 15 != 0
        };
        let expected: Vec<u32> = (0..).zip(&ids).filter(|(_, id)| selected(**id)).map(|(cpu, _)| cpu).collect();
        pc.ipi(0, u32::from(destination), 0x0800 | 0xf1);
        prop_assert_eq!(pc.takers(3), expected);
    }
}

#[test]
fn shorthands_and_broadcasts_reach_whom_they_name() {
    let mut pc = Pc::xapic(3);
    let rows: [(u32, u32, &[u32]); 6] = [
        (1, 0x0_00f1, &[1]),
        (0xff, 0x0_00f1, &[0, 1, 2]),
        (0xff, 0x0_08f1, &[0, 1, 2]),
        (0, 0x4_00f1, &[0]),
        (0, 0x8_00f1, &[0, 1, 2]),
        (0, 0xc_00f1, &[1, 2]),
    ];
    for (destination, low, expected) in rows {
        pc.ipi(0, destination, low);
        assert_eq!(pc.takers(3), expected, "{destination:#x} {low:#x}");
    }
}

#[test]
fn x2apic_logical_ids_are_clusters_of_sixteen() {
    let mut pc = Pc::x2apic(18);
    assert_eq!(pc.rdmsr(17, 0x80d), Ok(0x1_0002));
    pc.wrmsr(0, 0x830, 0x0001_0003 << 32 | 0x8f1).unwrap();
    let takers: Vec<u32> = (0..18).filter(|cpu| pc.pending(*cpu).is_some()).collect();
    assert_eq!(takers, [16, 17]);
}

#[test]
fn lowest_priority_goes_to_the_processor_of_the_lowest_priority() {
    let mut pc = Pc::xapic(3);
    for (cpu, class) in [(0, 4), (1, 2), (2, 3)] {
        pc.platform.set_task_priority(ProcessorIndex(cpu), class);
    }
    pc.ipi(0, 0xff, 0x1f1);
    assert_eq!(pc.takers(3), [1]);
}

#[test]
fn signals_wait_for_the_processor_and_init_comes_before_start_up() {
    let mut pc = Pc::new(2);
    pc.ipi(0, 1, 0x4500);
    pc.ipi(0, 1, 0x4612);
    pc.ipi(0, 1, 0x4400);
    pc.ipi(0, 1, 0x4200);
    let signals = pc.platform.signals(ProcessorIndex(1));
    assert_eq!((signals.init, signals.start_up, signals.nmi, signals.smi), (true, Some(0x12), true, true));
    // A further INIT makes an earlier start-up IPI void; its de-assertion is nothing.
    pc.ipi(0, 1, 0x4500);
    assert_eq!(pc.platform.signals(ProcessorIndex(1)).start_up, None);
    pc.platform.signals_mut(ProcessorIndex(1)).unwrap().init = false;
    pc.ipi(0, 1, 0x8500);
    assert!(!pc.platform.signals(ProcessorIndex(1)).init);
    assert!(pc.platform.signals(CPU).is_empty());
}

#[test]
fn a_software_disabled_apic_takes_signals_only_and_masks_its_table() {
    let mut pc = Pc::new(2);
    pc.ipi(0, 1, 0x00f1);
    pc.ipi(0, 1, 0x0400);
    assert_eq!(pc.pending(1), None);
    assert!(pc.platform.signals(ProcessorIndex(1)).nmi);
    pc.apic_write(1, 0x320, 0x30);
    assert_eq!(pc.apic(1, 0x320), Some(0x1_0030));
    pc.apic_write(1, 0xf0, 0x1ff);
    pc.apic_write(1, 0x320, 0x30);
    assert_eq!(pc.apic(1, 0x320), Some(0x30));
    pc.apic_write(1, 0xf0, 0xff);
    assert_eq!(pc.apic(1, 0x320), Some(0x1_0030));
}

#[test]
fn errors_are_latched_by_a_write_and_interrupt() {
    let mut pc = Pc::xapic(1);
    pc.apic_write(0, 0x370, 0x44);
    pc.ipi(0, 0, 0x4_0003);
    assert_eq!(pc.apic(0, 0x280), Some(0));
    assert_eq!(pc.take(0), Some(0x44));
    pc.apic_write(0, 0x40, 0);
    pc.apic_write(0, 0x280, 0);
    assert_eq!(pc.apic(0, 0x280), Some(0xa0), "illegal vector sent, illegal register");
    pc.apic_write(0, 0x280, 0);
    assert_eq!(pc.apic(0, 0x280), Some(0));
}

#[test]
fn the_timer_counts_down_by_its_divider_and_reloads_in_periodic_mode() {
    let mut pc = Pc::xapic(1);
    pc.apic_write(0, 0x3e0, 0);
    pc.apic_write(0, 0x320, 0x2_00ee);
    pc.apic_write(0, 0x380, 1000);
    assert_eq!(pc.platform.local_apic(CPU).map(|apic| apic.mode()), Some(Mode::Xapic));
    pc.wait(1998);
    assert_eq!((pc.apic(0, 0x390), pc.pending(0)), (Some(1), None));
    pc.wait(2);
    assert_eq!(pc.apic(0, 0x390), Some(1000));
    assert_eq!(pc.take(0), Some(0xee));
    // Periods that end while the interrupt is in service are one interrupt.
    pc.wait(7500);
    assert_eq!(pc.apic(0, 0x390), Some(250));
    pc.apic_write(0, 0xb0, 0);
    assert_eq!(pc.take(0), Some(0xee));
    pc.apic_write(0, 0xb0, 0);
    assert_eq!(pc.pending(0), None);
}

#[test]
fn a_change_between_one_shot_and_periodic_lets_the_count_go_on() {
    let mut pc = Pc::xapic(1);
    pc.apic_write(0, 0x3e0, 0xb);
    pc.apic_write(0, 0x320, 0x1_00ee);
    pc.apic_write(0, 0x380, 1000);
    pc.wait(600);
    pc.apic_write(0, 0x320, 0x3_00ee);
    assert_eq!(pc.apic(0, 0x390), Some(400));
    pc.wait(500);
    assert_eq!(pc.apic(0, 0x390), Some(900));
    pc.apic_write(0, 0x320, 0x1_00ee);
    pc.wait(1000);
    assert_eq!(pc.apic(0, 0x390), Some(0));
    pc.apic_write(0, 0x320, 0x3_00ee);
    pc.wait(1);
    assert_eq!((pc.apic(0, 0x380), pc.apic(0, 0x390)), (Some(1000), Some(0)), "a count that ended stays");
    assert_eq!(pc.pending(0), None, "masked all the time");
}

#[test]
fn a_deadline_in_the_past_fires_at_once_and_disarms() {
    let mut pc = Pc::x2apic(1);
    pc.wait(5000);
    pc.platform.set_time_stamp_offset(CPU, 100_u64.wrapping_neg());
    pc.wrmsr(0, 0x832, 0x4_00ef).unwrap();
    pc.wrmsr(0, 0x6e0, 4901).unwrap();
    assert_eq!((pc.pending(0), pc.rdmsr(0, 0x6e0)), (None, Ok(4901)));
    assert_eq!(pc.platform.next_event().map(|event| event.0), Some(5001));
    pc.wait(1);
    assert_eq!((pc.take(0), pc.rdmsr(0, 0x6e0)), (Some(0xef), Ok(0)));
    pc.wrmsr(0, 0x80b, 0).unwrap();
    pc.wrmsr(0, 0x6e0, 1).unwrap();
    assert_eq!((pc.take(0), pc.rdmsr(0, 0x6e0)), (Some(0xef), Ok(0)));
    // Leaving the mode disarms; outside it the MSR reads 0 and ignores writes.
    pc.wrmsr(0, 0x6e0, u64::MAX).unwrap();
    pc.wrmsr(0, 0x832, 0xef).unwrap();
    pc.wrmsr(0, 0x6e0, 7).unwrap();
    assert_eq!(pc.rdmsr(0, 0x6e0), Ok(0));
}

#[test]
fn an_acknowledge_without_a_request_gives_the_spurious_vector() {
    let mut pc = Pc::xapic(1);
    assert_eq!(pc.platform.acknowledge_interrupt(CPU), 0xff);
    assert_eq!(pc.apic(0, 0x170), Some(0), "nothing is in service");
}
