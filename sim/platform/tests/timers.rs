//! The 8254, the real-time clock, the HPET and the ACPI timer.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{CPU, Pc};
use platform::time::{Clock, TICKS_PER_SECOND};
use platform::{PlatformOptions, Stop, Time};
use proptest::prelude::*;

/// The moment of a tick of the 8254.
fn tick(ticks: u64) -> Time {
    Clock::COUNTER.time_of(ticks).unwrap()
}

/// Latches and reads the count of a channel at a tick.
fn count(pc: &mut Pc, channel: u16, at: u64) -> u16 {
    pc.now = tick(at);
    pc.out(0x43, (channel as u8) << 6);
    let low = pc.read(0x40 + channel);
    u16::from_le_bytes([low, pc.read(0x40 + channel)])
}

/// The output of channel 2 at a tick.
fn output(pc: &mut Pc, at: u64) -> bool {
    pc.now = tick(at);
    pc.read(0x61) & 0x20 != 0
}

/// Programs channel 2 at tick 0 in a mode with a count, its gate open.
fn channel2(mode: u8, count: u16) -> Pc {
    let mut pc = Pc::new(1);
    let [low, high] = count.to_le_bytes();
    pc.outs(&[(0x61, 1), (0x43, 0xb0 | mode << 1), (0x42, low), (0x42, high)]);
    pc
}

/// At which of the first ticks the output is high.
fn wave(pc: &mut Pc, ticks: std::ops::RangeInclusive<u64>) -> String {
    ticks.map(|at| if output(pc, at) { '1' } else { '0' }).collect()
}

#[test]
fn outputs_follow_the_timing_diagrams_of_the_data_sheet() {
    // The count is loaded at tick 1.
    let rows = [
        (0, 4, "0000011111"),
        (2, 3, "1110110110"),
        (3, 4, "1110011001"),
        (3, 5, "1111001110"),
        (4, 3, "1111011111"),
    ];
    for (mode, count, expected) in rows {
        assert_eq!(wave(&mut channel2(mode, count), 0..=9), expected, "mode {mode}");
    }
}

#[test]
fn counts_follow_the_timing_diagrams_of_the_data_sheet() {
    let rows: [(u8, u16, [u16; 7]); 5] = [
        (0, 4, [4, 3, 2, 1, 0, 0xffff, 0xfffe]),
        (2, 3, [3, 2, 1, 3, 2, 1, 3]),
        (3, 4, [4, 2, 4, 2, 4, 2, 4]),
        (3, 5, [4, 2, 0, 4, 2, 4, 2]),
        (4, 3, [3, 2, 1, 0, 0xffff, 0xfffe, 0xfffd]),
    ];
    for (mode, initial, expected) in rows {
        let mut pc = channel2(mode, initial);
        let counts: Vec<u16> = (1..8).map(|at| count(&mut pc, 2, at)).collect();
        assert_eq!(counts, expected, "mode {mode}");
    }
}

#[test]
fn a_rising_gate_starts_the_hardware_modes_and_starts_the_periodic_ones_over() {
    for (mode, expected) in [(1, "1000111111"), (5, "1111011111"), (2, "1110110110")] {
        let mut pc = channel2(mode, 3);
        pc.out(0x61, 0);
        pc.now = tick(3);
        pc.out(0x61, 1);
        assert_eq!(wave(&mut pc, 3..=12), expected, "mode {mode}");
    }
    // A closed gate holds the count of mode 0.
    let mut pc = channel2(0, 10);
    pc.now = tick(4);
    pc.out(0x61, 0);
    assert_eq!((count(&mut pc, 2, 5), count(&mut pc, 2, 500)), (7, 7));
    pc.now = tick(600);
    pc.out(0x61, 1);
    assert_eq!(count(&mut pc, 2, 602), 5);
}

#[test]
fn a_new_count_waits_for_the_end_of_the_period() {
    let mut pc = channel2(2, 10);
    pc.now = tick(5);
    pc.outs(&[(0x42, 4), (0x42, 0)]);
    let counts: Vec<u16> = (5..18).map(|at| count(&mut pc, 2, at)).collect();
    assert_eq!(counts, [6, 5, 4, 3, 2, 1, 4, 3, 2, 1, 4, 3, 2]);
}

#[test]
fn decimal_counts_are_decimal() {
    let mut pc = Pc::new(1);
    pc.outs(&[(0x61, 1), (0x43, 0xb1), (0x42, 0x00), (0x42, 0x01)]);
    let counts: Vec<u16> = [1, 2, 101, 102].iter().map(|at| count(&mut pc, 2, *at)).collect();
    assert_eq!(counts, [0x100, 0x99, 0, 0x9999]);
}

#[test]
fn read_back_latches_status_and_count_of_several_channels() {
    let mut pc = channel2(3, 1000);
    pc.out(0x43, 0xe8);
    assert_eq!(pc.read(0x42), 0xf6, "output high, count not loaded yet, both bytes, mode 3");
    pc.now = tick(11);
    pc.outs(&[(0x43, 0xc8), (0x43, 0xc8)]);
    pc.now = tick(50);
    assert_eq!(pc.read(0x42), 0xb6);
    assert_eq!(u16::from_le_bytes([pc.read(0x42), pc.read(0x42)]), 980);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(common::cases(64)))]

    #[test]
    fn channel_zero_interrupts_once_each_period(reload in 2_u16..2000, square: bool, periods in 1_u64..20) {
        let mut pc = Pc::xapic(1);
        pc.redirect(2, 0x42, 0);
        let [low, high] = reload.to_le_bytes();
        pc.outs(&[(0x43, if square { 0x36 } else { 0x34 }), (0x40, low), (0x40, high)]);
        let mut taken = Vec::new();
        let end = tick(1 + u64::from(reload) * periods);
        while let Some(event) = pc.platform.next_event().filter(|event| *event <= end) {
            pc.now = event;
            pc.platform.advance(event);
            if pc.take(0).is_some() {
                taken.push(event);
                pc.apic_write(0, 0xb0, 0);
            }
        }
        let expected: Vec<Time> = (1..=periods).map(|period| tick(1 + u64::from(reload) * period)).collect();
        prop_assert_eq!(taken, expected);
    }
}

/// Reads a register of the real-time clock.
fn cmos(pc: &mut Pc, register: u8) -> u8 {
    pc.out(0x70, register);
    pc.read(0x71)
}

fn set_cmos(pc: &mut Pc, register: u8, value: u8) {
    pc.outs(&[(0x70, register), (0x71, value)]);
}

#[test]
fn the_clock_shows_the_date_of_the_options_and_goes_on() {
    // 2026-02-28 23:59:58, a Saturday.
    let mut pc = Pc::with(&PlatformOptions { date: 1_772_323_198, ..PlatformOptions::default() });
    let shown = |pc: &mut Pc| [0x32, 9, 8, 7, 6, 4, 2, 0].map(|register| cmos(pc, register));
    assert_eq!(shown(&mut pc), [0x20, 0x26, 2, 0x28, 7, 0x23, 0x59, 0x58]);
    pc.wait(2 * TICKS_PER_SECOND);
    assert_eq!(shown(&mut pc), [0x20, 0x26, 3, 1, 1, 0, 0, 0]);
    // While it is being set it stands still.
    set_cmos(&mut pc, 0x0b, 0x82);
    set_cmos(&mut pc, 4, 0x11);
    pc.wait(5 * TICKS_PER_SECOND);
    assert_eq!(shown(&mut pc), [0x20, 0x26, 3, 1, 1, 0x11, 0, 0]);
    set_cmos(&mut pc, 0x0b, 0x02);
    pc.wait(TICKS_PER_SECOND);
    assert_eq!(cmos(&mut pc, 0), 1);
}

#[test]
fn an_update_is_announced_before_it_happens() {
    let mut pc = Pc::new(1);
    assert_eq!(cmos(&mut pc, 0x0a), 0x26);
    pc.wait(TICKS_PER_SECOND - 300_000);
    assert_eq!(cmos(&mut pc, 0x0a), 0xa6);
    pc.wait(300_000);
    assert_eq!((cmos(&mut pc, 0x0a), cmos(&mut pc, 0)), (0x26, 1));
}

#[test]
fn clock_interrupts_hold_their_line_until_status_c_is_read() {
    let mut pc = Pc::xapic(1);
    pc.redirect(8, 0x70, 0);
    cmos(&mut pc, 0x0c);
    set_cmos(&mut pc, 0x0b, 0x42);
    // Rate 6 is 1024 Hz.
    assert_eq!(pc.platform.next_event().map(|event| event.0 <= 976_563), Some(true));
    pc.wait(976_563);
    assert_eq!(pc.take(0), Some(0x70));
    pc.apic_write(0, 0xb0, 0);
    pc.wait(976_563);
    assert_eq!(pc.pending(0), None, "no new edge");
    assert_eq!((cmos(&mut pc, 0x0c), cmos(&mut pc, 0x0c)), (0xc0, 0));
    pc.wait(976_563);
    assert_eq!(pc.take(0), Some(0x70));
    pc.apic_write(0, 0xb0, 0);
    // Alarm at second 5 of any minute.
    set_cmos(&mut pc, 0x0b, 0x22);
    cmos(&mut pc, 0x0c);
    for (register, value) in [(1, 5), (3, 0xff), (5, 0xc0)] {
        set_cmos(&mut pc, register, value);
    }
    pc.wait(4 * TICKS_PER_SECOND);
    assert_eq!(pc.pending(0), None);
    pc.wait(TICKS_PER_SECOND);
    assert_eq!((pc.take(0), cmos(&mut pc, 0x0c) & 0xa0, cmos(&mut pc, 0)), (Some(0x70), 0xa0, 5));
}

#[test]
fn memory_sizes_are_written_down() {
    let options = PlatformOptions {
        memory_below_4g: 3 << 30,
        memory_above_4g: 5 << 30,
        processors: 4,
        ..PlatformOptions::default()
    };
    let mut pc = Pc::with(&options);
    let word = |pc: &mut Pc, register| u32::from(cmos(pc, register)) | u32::from(cmos(pc, register + 1)) << 8;
    assert_eq!((word(&mut pc, 0x15), word(&mut pc, 0x17), word(&mut pc, 0x30)), (640, 0xffff, 0xffff));
    assert_eq!((word(&mut pc, 0x34), word(&mut pc, 0x5b)), (0xbf00, 0x4000));
    assert_eq!((cmos(&mut pc, 0x5d), cmos(&mut pc, 0x5f)), (1, 3));
}

const HPET: u64 = 0xfed0_0000;

fn hpet(pc: &mut Pc, offset: u64) -> u64 {
    pc.platform.memory_read(CPU, pc.now, HPET + offset, 8).unwrap()
}

fn set_hpet(pc: &mut Pc, offset: u64, value: u64) {
    pc.platform.memory_write(CPU, pc.now, HPET + offset, 8, value).unwrap();
}

#[test]
fn the_hpet_counts_every_ten_nanoseconds_while_it_is_enabled() {
    let mut pc = Pc::new(1);
    assert_eq!(hpet(&mut pc, 0), 0x0098_9680_8086_a201);
    pc.wait(1000);
    assert_eq!(hpet(&mut pc, 0xf0), 0);
    set_hpet(&mut pc, 0xf0, u64::MAX);
    set_hpet(&mut pc, 0x10, 1);
    pc.wait(1000);
    assert_eq!(hpet(&mut pc, 0xf0), 99);
    assert_eq!(pc.platform.memory_read(CPU, pc.now, HPET + 0xf4, 4), Some(0));
    set_hpet(&mut pc, 0x10, 0);
    pc.wait(1000);
    assert_eq!(hpet(&mut pc, 0xf0), 99);
}

#[test]
fn a_periodic_hpet_timer_takes_the_place_of_the_8254() {
    let mut pc = Pc::xapic(1);
    pc.redirect(2, 0x42, 0);
    // Enabled, periodic, the next write sets the comparator: then the period.
    set_hpet(&mut pc, 0x100, 0x4c);
    set_hpet(&mut pc, 0x108, 500);
    set_hpet(&mut pc, 0x108, 200);
    set_hpet(&mut pc, 0x10, 3);
    let mut taken = Vec::new();
    while pc.now < Time(9500) {
        pc.wait(10);
        if pc.take(0).is_some() {
            taken.push(pc.now.0);
            pc.apic_write(0, 0xb0, 0);
        }
    }
    assert_eq!(taken, [5000, 7000, 9000]);
    assert_eq!(hpet(&mut pc, 0x108), 1100);
}

#[test]
fn a_level_triggered_hpet_timer_holds_its_line_until_its_status_is_cleared() {
    let mut pc = Pc::xapic(1);
    pc.redirect(20, 1 << 15 | 0x55, 0);
    set_hpet(&mut pc, 0x140, 20 << 9 | 6);
    set_hpet(&mut pc, 0x148, 100);
    set_hpet(&mut pc, 0x10, 1);
    pc.wait(1000);
    assert_eq!((pc.take(0), hpet(&mut pc, 0x20)), (Some(0x55), 4));
    pc.apic_write(0, 0xb0, 0);
    assert_eq!(pc.take(0), Some(0x55));
    set_hpet(&mut pc, 0x20, 4);
    pc.apic_write(0, 0xb0, 0);
    assert_eq!(pc.pending(0), None);
}

#[test]
fn the_power_management_timer_carries_into_the_system_control_interrupt() {
    let mut pc = Pc::xapic(1);
    pc.redirect(9, 1 << 15 | 0x59, 0);
    pc.wait(TICKS_PER_SECOND);
    assert_eq!(pc.read_wide(0x608, 4), 3_579_545);
    pc.out_wide(0x602, 2, 1);
    let carry = Clock::POWER_MANAGEMENT.time_of(1 << 31).unwrap();
    pc.wait(carry.0 - TICKS_PER_SECOND - 1);
    assert_eq!(pc.pending(0), None);
    pc.wait(1);
    assert_eq!((pc.take(0), pc.read_wide(0x600, 2), pc.read_wide(0x604, 2)), (Some(0x59), 1, 1));
    pc.out_wide(0x600, 2, 1);
    pc.apic_write(0, 0xb0, 0);
    assert_eq!((pc.pending(0), pc.read_wide(0x600, 2)), (None, 0));
}

#[test]
fn soft_off_needs_its_sleep_type() {
    let mut pc = Pc::new(1);
    pc.out_wide(0x604, 2, 1 << 13 | 1 << 10);
    assert_eq!(pc.platform.stop(), None);
    pc.wait(7);
    pc.out_wide(0x604, 2, 1 << 13 | 5 << 10);
    let stopped = pc.platform.stop().unwrap();
    assert_eq!((stopped.stop, stopped.at), (Stop::PowerOff, Time(7)));
}

#[test]
fn an_alarm_inside_a_long_wait_is_noticed() {
    let mut pc = Pc::new(1);
    // With channel 0 waiting for a count nothing divides the wait.
    pc.out(0x43, 0x30);
    for (register, value) in [(1, 5), (3, 0xff), (5, 0xff)] {
        set_cmos(&mut pc, register, value);
    }
    pc.wait(8 * TICKS_PER_SECOND);
    assert_eq!(cmos(&mut pc, 0x0c), 0x70, "update, alarm and periodic, none of them asked for");
    pc.wait(8 * TICKS_PER_SECOND);
    assert_eq!(cmos(&mut pc, 0x0c), 0x50);
}

#[test]
fn setting_the_halted_hpet_counter_reaches_no_comparator() {
    let mut pc = Pc::new(1);
    set_hpet(&mut pc, 0x140, 20 << 9 | 6);
    set_hpet(&mut pc, 0x148, 50);
    set_hpet(&mut pc, 0xf0, 100);
    assert_eq!(hpet(&mut pc, 0x20), 0);
}

#[test]
fn a_masked_periodic_hpet_timer_keeps_its_phase() {
    let mut pc = Pc::new(1);
    set_hpet(&mut pc, 0x100, 0x48);
    set_hpet(&mut pc, 0x108, 500);
    set_hpet(&mut pc, 0x108, 200);
    set_hpet(&mut pc, 0x10, 1);
    pc.wait(15_010);
    // 1501 counts: 500, 700 ... 1500 have passed.
    assert_eq!(hpet(&mut pc, 0xf0), 1501);
    set_hpet(&mut pc, 0x20, 0);
    assert_eq!(hpet(&mut pc, 0x108), 1700);
}

#[test]
fn the_power_button_is_told_until_its_status_is_cleared() {
    let mut pc = Pc::xapic(1);
    pc.redirect(9, 1 << 15 | 0x59, 0);
    pc.out_wide(0x602, 2, 0x100);
    pc.platform.press_power_button(Time(0));
    assert_eq!((pc.take(0), pc.read_wide(0x600, 2)), (Some(0x59), 0x100));
    pc.out(0x600, 0xff);
    assert_eq!(pc.read_wide(0x600, 2), 0x100);
    pc.out(0x601, 1);
    pc.apic_write(0, 0xb0, 0);
    assert_eq!((pc.read_wide(0x600, 2), pc.pending(0)), (0, None));
}
