//! The I/O APIC (82093AA), the two 8259A and the routes between them.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{CPU, IO_APIC, Pc};
use platform::fabric::{Level, Line, Message, Source};
use platform::{PendingInterrupt, Time};
use proptest::prelude::*;

const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;

#[test]
fn the_io_apic_has_its_id_in_four_bits_and_its_version_read_only() {
    let mut pc = Pc::new(1);
    assert_eq!(pc.io_apic(1), 0x0017_0020);
    pc.io_apic_write(1, u32::MAX);
    assert_eq!(pc.io_apic(1), 0x0017_0020);
    pc.io_apic_write(0, u32::MAX);
    assert_eq!((pc.io_apic(0), pc.io_apic(2)), (0x0f00_0000, 0x0f00_0000));
    pc.io_apic_write(2, 0);
    assert_eq!(pc.io_apic(2), 0x0f00_0000);
}

#[test]
fn redirection_entries_keep_what_is_writable() {
    let mut pc = Pc::new(1);
    assert_eq!((pc.io_apic(0x10), pc.io_apic(0x11)), (MASKED, 0));
    pc.io_apic_write(0x3f, u32::MAX);
    pc.io_apic_write(0x3e, u32::MAX);
    assert_eq!((pc.io_apic(0x3e), pc.io_apic(0x3f)), (0x1_afff, 0xff00_0000));
    pc.io_apic_write(0x40, u32::MAX);
    assert_eq!(pc.io_apic(0x40), 0);
}

#[test]
fn an_edge_interrupts_once_and_shows_no_trigger_mode() {
    let mut pc = Pc::xapic(1);
    pc.redirect(14, 0x76, 0);
    pc.line(14, 1);
    pc.line(14, 0);
    assert_eq!(pc.take(0), Some(0x76));
    assert_eq!((pc.remote_irr(14), pc.apic(0, 0x1b0)), (false, Some(0)));
    pc.apic_write(0, 0xb0, 0);
    assert_eq!(pc.pending(0), None);
}

#[test]
fn a_level_interrupts_again_after_its_end_until_it_is_released() {
    let mut pc = Pc::xapic(1);
    pc.redirect(14, LEVEL | 0x77, 0);
    pc.line(14, 1);
    assert_eq!(pc.take(0), Some(0x77));
    assert_eq!((pc.remote_irr(14), pc.apic(0, 0x1b0)), (true, Some(1 << 0x17)));
    // While it is under way further changes are not seen.
    pc.line(14, 0);
    pc.line(14, 1);
    assert_eq!(pc.pending(0), None);
    pc.apic_write(0, 0xb0, 0);
    assert_eq!(pc.take(0), Some(0x77));
    pc.line(14, 0);
    pc.apic_write(0, 0xb0, 0);
    assert_eq!((pc.pending(0), pc.remote_irr(14)), (None, false));
}

#[test]
fn the_trigger_mode_register_shows_how_the_last_request_came() {
    let mut pc = Pc::xapic(1);
    for (trigger, shown) in [(LEVEL, 1 << 0x19), (0, 0), (LEVEL, 1 << 0x19)] {
        pc.redirect(14, trigger | 0x79, 0);
        pc.line(14, 1);
        assert_eq!((pc.take(0), pc.apic(0, 0x1b0)), (Some(0x79), Some(shown)));
        pc.line(14, 0);
        pc.apic_write(0, 0xb0, 0);
    }
}

#[test]
fn a_masked_edge_is_lost_and_a_masked_level_waits() {
    let mut pc = Pc::xapic(1);
    pc.redirect(14, MASKED | 0x81, 0);
    pc.line(14, 1);
    pc.redirect(14, 0x81, 0);
    assert_eq!(pc.pending(0), None);
    pc.redirect(14, MASKED | LEVEL | 0x82, 0);
    assert_eq!(pc.pending(0), None);
    pc.redirect(14, LEVEL | 0x82, 0);
    assert_eq!(pc.take(0), Some(0x82));
}

#[test]
fn the_end_of_an_interrupt_finds_its_pin_by_the_vector_alone() {
    let mut pc = Pc::xapic(2);
    pc.redirect(13, LEVEL | 0x64, 0);
    pc.line(13, 1);
    assert_eq!(pc.take(0), Some(0x64));
    pc.line(13, 0);
    pc.io_apic_write(0x11 + 26, 1 << 24);
    assert!(pc.remote_irr(13));
    pc.apic_write(0, 0xb0, 0);
    assert!(!pc.remote_irr(13));
    // The register of later versions does the same without a local APIC.
    pc.line(13, 1);
    assert!(pc.remote_irr(13));
    pc.platform.memory_write(CPU, Time(0), IO_APIC + 0x40, 4, 0x64);
    assert!(pc.remote_irr(13), "the line is still asserted");
    pc.line(13, 0);
    pc.platform.memory_write(CPU, Time(0), IO_APIC + 0x40, 4, 0x64);
    assert!(!pc.remote_irr(13));
}

#[test]
fn a_level_that_nobody_accepts_waits_for_a_taker() {
    let mut pc = Pc::new(2);
    pc.redirect(14, LEVEL | 0x77, 1);
    pc.line(14, 1);
    assert!(!pc.remote_irr(14));
    pc.apic_write(1, 0xf0, 0x1ff);
    assert_eq!((pc.pending(1), pc.remote_irr(14)), (Some(PendingInterrupt::Vector(0x77)), true));
}

#[test]
fn an_active_low_pin_is_asserted_by_a_released_line() {
    let mut pc = Pc::xapic(1);
    pc.redirect(20, LEVEL | 1 << 13 | 0x55, 0);
    assert_eq!(pc.take(0), Some(0x55));
    pc.line(20, 1);
    pc.apic_write(0, 0xb0, 0);
    assert_eq!(pc.pending(0), None);
}

#[test]
fn several_sources_hold_a_line_until_the_last_releases_it() {
    let mut pc = Pc::xapic(1);
    pc.redirect(20, 0x55, 0);
    let line = Line::global(20).unwrap();
    let level = |pc: &mut Pc, level| {
        pc.platform.with_fabric(Time(0), |fabric| fabric.set(Source::Embedder, line, level));
    };
    level(&mut pc, Level::Asserted);
    assert_eq!(pc.take(0), Some(0x55));
    pc.apic_write(0, 0xb0, 0);
    pc.line(20, 1);
    level(&mut pc, Level::Released);
    assert_eq!((pc.pending(0), pc.platform.fabric().level(line)), (None, Level::Asserted));
    pc.line(20, 0);
    assert_eq!(pc.platform.fabric().level(line), Level::Released);
}

#[test]
fn a_message_signalled_interrupt_says_all_in_address_and_data() {
    let mut pc = Pc::xapic(2);
    let message = Message::signalled(0xfee0_1000, 0x41).unwrap();
    pc.platform.with_fabric(Time(0), |fabric| fabric.send(message));
    assert_eq!((pc.pending(0), pc.take(1)), (None, Some(0x41)));
    assert_eq!(Message::signalled(0xfed0_1000, 0x41), None);
    assert_eq!(Message::signalled(0xfee0_1000, 0x341), None);
}

#[test]
fn timer_interrupts_reach_pin_two_and_the_master() {
    let mut pc = Pc::xapic(1);
    pc.initialize_pics(1, [0xfe, 0xff]);
    pc.redirect(2, 0x42, 0);
    pc.apic_write(0, 0x350, 0x700);
    pc.outs(&[(0x43, 0x30), (0x40, 1), (0x40, 0)]);
    assert_eq!(pc.pending(0), None);
    pc.wait(3000);
    assert_eq!((pc.take(0), pc.take(0)), (Some(0x20), Some(0x42)));
}

#[test]
fn the_8259_reaches_the_processor_by_lint0_by_pin_zero_and_without_a_local_apic() {
    let mut pc = Pc::xapic(1);
    pc.initialize_pics(1, [0xef, 0xff]);
    pc.apic_write(0, 0x350, 0x1_0700);
    pc.line(4, 1);
    assert_eq!(pc.pending(0), None);
    pc.apic_write(0, 0x350, 0x700);
    assert_eq!(pc.pending(0), Some(PendingInterrupt::External));
    // No task priority holds it back.
    pc.platform.set_task_priority(CPU, 15);
    assert_eq!(pc.take(0), Some(0x24));
    pc.out(0x20, 0x20);
    pc.line(4, 0);
    pc.apic_write(0, 0x350, 0x1_0700);
    pc.redirect(0, 0x700, 0);
    pc.line(4, 1);
    assert_eq!(pc.take(0), Some(0x24));
    pc.out(0x20, 0x20);
    pc.line(4, 0);
    pc.wrmsr(0, 0x1b, 0xfee0_0100).unwrap();
    pc.line(4, 1);
    assert_eq!(pc.take(0), Some(0x24));
}

/// A machine whose 8259s interrupt the processor directly.
fn pics(icw4: u8) -> Pc {
    let mut pc = Pc::new(1);
    pc.wrmsr(0, 0x1b, 0xfee0_0100).unwrap();
    pc.initialize_pics(icw4, [0, 0]);
    pc
}

#[test]
fn lower_priorities_wait_for_the_end_of_higher_ones() {
    let mut pc = pics(1);
    pc.line(5, 1);
    pc.line(3, 1);
    assert_eq!((pc.take(0), pc.take(0)), (Some(0x23), None));
    pc.line(1, 1);
    assert_eq!(pc.take(0), Some(0x21));
    pc.outs(&[(0x20, 0x20), (0x20, 0x0b)]);
    assert_eq!(pc.read(0x20), 0x08, "the non-specific EOI ended the highest");
    pc.out(0x20, 0x63);
    assert_eq!(pc.take(0), Some(0x25));
}

#[test]
fn a_request_that_goes_away_gives_the_spurious_interrupt() {
    let mut pc = pics(1);
    pc.line(3, 1);
    assert_eq!(pc.pending(0), Some(PendingInterrupt::External));
    pc.line(3, 0);
    assert_eq!(pc.pending(0), None);
    assert_eq!(
        pc.platform.acknowledge_interrupt(CPU),
        0xff,
        "the local APIC is asked when the 8259 is silent"
    );
    // The slave's request vanishes between the master's and its own answer.
    pc.outs(&[(0xa0, 0x68), (0xa1, 0xff)]);
    pc.out(0x20, 0x0b);
    assert_eq!(pc.read(0x20), 0, "nothing is in service");
}

#[test]
fn the_slave_interrupts_through_the_cascade_and_both_must_be_ended() {
    let mut pc = pics(1);
    pc.line(12, 1);
    assert_eq!(pc.take(0), Some(0x2c));
    pc.outs(&[(0x20, 0x0b), (0xa0, 0x0b)]);
    assert_eq!((pc.read(0x20), pc.read(0xa0)), (4, 0x10));
    // The slave's higher priority waits for the master, unless that is specially fully nested.
    pc.line(9, 1);
    assert_eq!(pc.pending(0), None);
    pc.outs(&[(0xa0, 0x20), (0x20, 0x20)]);
    assert_eq!(pc.take(0), Some(0x29));
    let mut pc = pics(0x11);
    pc.line(12, 1);
    assert_eq!(pc.take(0), Some(0x2c));
    pc.line(9, 1);
    assert_eq!(pc.take(0), Some(0x29));
}

#[test]
fn a_slave_with_a_further_request_interrupts_again() {
    let mut pc = pics(3);
    pc.line(9, 1);
    pc.line(12, 1);
    assert_eq!((pc.take(0), pc.take(0), pc.take(0)), (Some(0x29), Some(0x2c), None));
}

#[test]
fn automatic_end_and_rotation_let_all_inputs_have_their_turn() {
    let mut pc = pics(3);
    pc.out(0x20, 0x80);
    pc.line(3, 1);
    pc.line(4, 1);
    assert_eq!(pc.take(0), Some(0x23));
    pc.line(3, 0);
    pc.line(3, 1);
    assert_eq!((pc.take(0), pc.take(0), pc.take(0)), (Some(0x24), Some(0x23), None));
}

#[test]
fn special_mask_mode_lets_lower_priorities_through() {
    let mut pc = pics(1);
    pc.line(3, 1);
    assert_eq!(pc.take(0), Some(0x23));
    pc.line(5, 1);
    assert_eq!(pc.pending(0), None);
    pc.outs(&[(0x21, 0x08), (0x20, 0x68)]);
    assert_eq!(pc.take(0), Some(0x25));
}

#[test]
fn a_poll_acknowledges_without_a_vector() {
    let mut pc = pics(1);
    pc.line(6, 1);
    pc.out(0x20, 0x0c);
    assert_eq!(pc.read(0x20), 0x86);
    assert_eq!(pc.pending(0), None);
    pc.out(0x20, 0x0c);
    assert_eq!(pc.read(0x20), 0);
}

#[test]
fn a_level_triggered_input_requests_as_long_as_it_is_asserted() {
    let mut pc = pics(1);
    pc.outs(&[(0x4d0, 0xff), (0x4d1, 0xff)]);
    assert_eq!((pc.read(0x4d0), pc.read(0x4d1)), (0xf8, 0xde));
    pc.line(11, 1);
    assert_eq!(pc.take(0), Some(0x2b));
    pc.outs(&[(0xa0, 0x20), (0x20, 0x20)]);
    assert_eq!(pc.take(0), Some(0x2b));
    pc.line(11, 0);
    pc.outs(&[(0xa0, 0x20), (0x20, 0x20)]);
    assert_eq!(pc.pending(0), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(common::cases(128)))]

    #[test]
    fn requests_come_in_the_order_of_their_priority(lines in proptest::sample::subsequence((3..16).collect::<Vec<u16>>(), 1..10)) {
        let mut pc = pics(1);
        for line in &lines {
            pc.line(*line, 1);
        }
        // The slave's inputs stand where the cascade does, before 3 to 7 of the master.
        let mut expected = lines.clone();
        expected.sort_by_key(|line| (*line < 8, *line));
        let mut taken = Vec::new();
        while let Some(vector) = pc.take(0) {
            taken.push(u16::from(vector) - 0x20);
            if vector >= 0x28 {
                pc.out(0xa0, 0x20);
            }
            pc.out(0x20, 0x20);
        }
        prop_assert_eq!(taken, expected);
    }
}
