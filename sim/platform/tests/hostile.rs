//! Guests that touch everything: nothing panics, and time has the same effects in one step as in many.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::Pc;
use platform::{ProcessorIndex, Time};
use proptest::prelude::*;

/// One thing that a guest does.
#[derive(Clone, Debug)]
enum Touch {
    PortRead(u16, u8),
    PortWrite(u16, u8, u32),
    MemoryRead(u64, u8),
    MemoryWrite(u64, u8, u64),
    MsrRead(u32),
    MsrWrite(u32, u64),
    TaskPriority(u8),
    Acknowledge,
    Receive(u8),
    Wait(u64),
}

/// A port, mostly one where something is.
fn port() -> impl Strategy<Value = u16> {
    let known = [
        0x20_u16, 0x21, 0xa0, 0xa1, 0x4d0, 0x40, 0x41, 0x42, 0x43, 0x61, 0x60, 0x64, 0x70, 0x71, 0x80, 0x92,
        0xe0, 0xf4, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x510, 0x511, 0x600, 0x602, 0x604, 0x608,
        0x60b, 0xcf8, 0xcf9, 0xcfc, 0xcfe, 0xcff, 0x2000, 0x200e, 0x2017, 0xfffe, 0xffff,
    ];
    prop_oneof![8 => proptest::sample::select(known.to_vec()), 1 => any::<u16>()]
}

/// A width in bytes.
fn width() -> impl Strategy<Value = u8> {
    proptest::sample::select(vec![1_u8, 2, 4])
}

/// An address, mostly one where something is, and mostly aligned.
fn address() -> impl Strategy<Value = u64> {
    let base = proptest::sample::select(vec![0xfee0_0000_u64, 0xfec0_0000, 0xfed0_0000, 0xff00_0000]);
    let offset = prop_oneof![4 => (0_u64..0x40).prop_map(|number| number << 4), 2 => (0_u64..0x40).prop_map(|number| number << 3), 1 => 0_u64..0x1_0000];
    prop_oneof![8 => (base, offset).prop_map(|(base, offset)| base + offset), 1 => any::<u64>()]
}

/// A value, often small or all ones.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0_u64..0x1000, 1 => any::<u64>(), 1 => Just(u64::MAX), 2 => (0_u64..64).prop_map(|bit| 1 << bit), 2 => 0_u64..0x8_0000]
}

/// An MSR of the local APIC.
fn msr() -> impl Strategy<Value = u32> {
    prop_oneof![1 => Just(0x1b_u32), 1 => Just(0x6e0), 4 => 0x800_u32..0x840, 1 => any::<u32>()]
}

fn touch() -> impl Strategy<Value = Touch> {
    prop_oneof![
        3 => (port(), width()).prop_map(|(port, bytes)| Touch::PortRead(port, bytes)),
        6 => (port(), width(), value()).prop_map(|(port, bytes, value)| Touch::PortWrite(port, bytes, value as u32)),
        3 => (address(), 0_u8..=9).prop_map(|(address, bytes)| Touch::MemoryRead(address, bytes)),
        6 => (address(), proptest::sample::select(vec![1_u8, 2, 4, 4, 4, 8]), value())
            .prop_map(|(address, bytes, value)| Touch::MemoryWrite(address, bytes, value)),
        2 => msr().prop_map(Touch::MsrRead),
        4 => (msr(), prop_oneof![value(), Just(0xfee0_0900), Just(0xfee0_0d00), Just(0xfee0_0100)])
            .prop_map(|(msr, value)| Touch::MsrWrite(msr, value)),
        1 => any::<u8>().prop_map(Touch::TaskPriority),
        4 => Just(Touch::Acknowledge),
        1 => any::<u8>().prop_map(Touch::Receive),
        6 => prop_oneof![3 => 0_u64..3000, 2 => 0_u64..3_000_000, 1 => 0_u64..2_000_000_000].prop_map(Touch::Wait),
    ]
}

/// Lets every clocked device interrupt the first processor.
fn run_clocks(pc: &mut Pc) {
    pc.apic_write(0, 0xf0, 0x1ff);
    for (pin, vector) in [(2, 0x42), (8, 0x58), (9, 0x59), (20, 0x65)] {
        pc.redirect(pin, vector, 0);
    }
    pc.outs(&[(0x43, 0x36), (0x40, 0), (0x40, 4), (0x70, 0x0b), (0x71, 0x42), (0x602, 1)]);
    pc.apic_write(0, 0x320, 0x2_00ee);
    pc.apic_write(0, 0x380, 100_000);
}

/// What each processor sees: its pending interrupt and its signals.
fn seen(pc: &Pc) -> String {
    let processor = |cpu| format!("{:?} {:?} ", pc.pending(cpu), pc.platform.signals(ProcessorIndex(cpu)));
    format!("{}{}{:?}", processor(0), processor(1), pc.platform.stop())
}

/// Does one thing; what it shows.
fn apply(pc: &mut Pc, cpu: u32, touch: &Touch) -> String {
    let processor = ProcessorIndex(cpu);
    let now = pc.now;
    let platform = &mut pc.platform;
    match *touch {
        Touch::PortRead(port, bytes) => format!("{:x}", platform.port_read(processor, now, port, bytes)),
        Touch::PortWrite(port, bytes, value) => {
            platform.port_write(processor, now, port, bytes, value);
            String::new()
        }
        Touch::MemoryRead(address, bytes) => {
            format!("{:x?}", platform.memory_read(processor, now, address, bytes))
        }
        Touch::MemoryWrite(address, bytes, value) => {
            format!("{:?}", platform.memory_write(processor, now, address, bytes, value))
        }
        Touch::MsrRead(msr) => format!("{:x?}", platform.msr_read(processor, now, msr)),
        Touch::MsrWrite(msr, value) => format!("{:?}", platform.msr_write(processor, now, msr, value)),
        Touch::TaskPriority(class) => {
            platform.set_task_priority(processor, class);
            String::new()
        }
        Touch::Acknowledge => format!("{:x}", platform.acknowledge_interrupt(processor)),
        Touch::Receive(byte) => {
            platform.serial_receive(now, &[byte]);
            String::new()
        }
        Touch::Wait(ticks) => {
            pc.wait(ticks);
            String::new()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(common::cases(256)))]

    #[test]
    fn nothing_that_a_guest_touches_panics_and_steps_of_time_do_not_matter(
        touches in proptest::collection::vec((0_u32..3, touch()), 1..60),
        pieces in 1_u64..6,
        clocks: bool,
    ) {
        let (mut whole, mut pieced) = (Pc::new(2), Pc::new(2));
        if clocks {
            run_clocks(&mut whole);
            run_clocks(&mut pieced);
        }
        for (cpu, touch) in &touches {
            let expected = apply(&mut whole, *cpu, touch);
            let found = if let Touch::Wait(ticks) = touch {
                for _ in 0..pieces {
                    pieced.wait(ticks / pieces);
                }
                pieced.wait(ticks % pieces);
                String::new()
            } else {
                apply(&mut pieced, *cpu, touch)
            };
            prop_assert_eq!(found, expected, "{:?}", touch);
            prop_assert_eq!(seen(&pieced), seen(&whole), "{:?}", touch);
            let event = whole.platform.next_event();
            prop_assert!(event.is_none_or(|event| event > whole.platform.now()), "{event:?}");
        }
    }

    #[test]
    fn no_interrupt_is_lost_in_a_long_step(waits in proptest::collection::vec(1_u64..5_000_000, 1..10), pieces in 1_u64..9) {
        let (mut whole, mut pieced) = (Pc::new(1), Pc::new(1));
        run_clocks(&mut whole);
        run_clocks(&mut pieced);
        let taken = |pc: &mut Pc| {
            let vectors = std::iter::from_fn(|| {
                let vector = pc.take(0)?;
                pc.apic_write(0, 0xb0, 0);
                Some(vector)
            });
            vectors.collect::<Vec<u8>>()
        };
        for wait in waits {
            whole.wait(wait);
            (0..pieces).for_each(|_| pieced.wait(wait / pieces));
            pieced.wait(wait % pieces);
            prop_assert_eq!(taken(&mut pieced), taken(&mut whole));
        }
    }

    #[test]
    fn a_snapshot_goes_on_as_the_original_does(
        before in proptest::collection::vec((0_u32..2, touch()), 1..30),
        after in proptest::collection::vec((0_u32..2, touch()), 1..30),
    ) {
        let mut pc = Pc::new(2);
        for (cpu, touch) in &before {
            apply(&mut pc, *cpu, touch);
        }
        let (snapshot, now) = (pc.platform.snapshot(), pc.now);
        let mut run = || {
            pc.platform.restore(snapshot.clone());
            pc.now = now;
            let shown = after.iter().map(|(cpu, touch)| apply(&mut pc, *cpu, touch)).collect::<Vec<_>>();
            (shown, seen(&pc))
        };
        prop_assert_eq!(run(), run());
    }
}

#[test]
fn the_end_of_time_is_no_end_of_the_devices() {
    let mut pc = Pc::xapic(1);
    // Nothing ticks: channel 0 waits for a count.
    pc.outs(&[(0x43, 0x30)]);
    pc.apic_write(0, 0x320, 0x2_00ee);
    pc.apic_write(0, 0x380, u32::MAX);
    pc.now = Time(u64::MAX - 5);
    pc.platform.advance(Time(u64::MAX - 5));
    for port in [0x40, 0x61, 0x71, 0x3fd] {
        pc.read(port);
    }
    pc.wait(5);
    assert_eq!(pc.platform.now(), Time(u64::MAX));
    // An earlier moment changes nothing.
    pc.now = Time(3);
    pc.read(0x40);
    assert_eq!(pc.platform.now(), Time(u64::MAX));
}
