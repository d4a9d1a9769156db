//! The serial port, the keyboard controller, PCI configuration, the firmware configuration, the test device and the ends of
//! a run.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{CPU, Pc};
use platform::{A20, Acpi, OptionsError, Platform, PlatformOptions, Stop, Time};
use std::io;

#[test]
fn the_serial_port_sends_at_once_and_is_always_ready() {
    let mut pc = Pc::new(1);
    for byte in *b"hello" {
        assert_eq!(pc.read(0x3fd), 0x60);
        pc.out(0x3f8, byte);
    }
    assert_eq!(pc.sent.0.lock().unwrap().as_slice(), b"hello");
    // With the divisor latch open nothing is sent.
    pc.outs(&[(0x3fb, 0x83), (0x3f8, 1), (0x3f9, 2)]);
    assert_eq!((pc.read(0x3f8), pc.read(0x3f9)), (1, 2));
    assert_eq!(pc.sent.0.lock().unwrap().len(), 5);
}

#[test]
fn serial_interrupts_come_by_priority_and_hold_their_line() {
    let mut pc = Pc::xapic(1);
    pc.redirect(4, 1 << 15 | 0x54, 0);
    pc.outs(&[(0x3fc, 8), (0x3f9, 3)]);
    assert_eq!(pc.take(0), Some(0x54), "the empty transmitter asks as soon as it may");
    pc.platform.serial_receive(Time(0), b"ab");
    assert_eq!((pc.read(0x3fa), pc.read(0x3f8)), (4, b'a'));
    assert_eq!((pc.read(0x3fa), pc.read(0x3f8)), (4, b'b'));
    assert_eq!((pc.read(0x3fa), pc.read(0x3fa)), (2, 1), "reading the cause answers the transmitter");
    pc.apic_write(0, 0xb0, 0);
    assert_eq!(pc.pending(0), None);
    // Without OUT2 the line is cut.
    pc.outs(&[(0x3fc, 0), (0x3f8, b'x')]);
    assert_eq!((pc.read(0x3fa), pc.pending(0)), (2, None));
}

#[test]
fn loop_back_connects_the_port_with_itself() {
    let mut pc = Pc::new(1);
    pc.outs(&[(0x3fc, 0x1a), (0x3f8, 0x5a)]);
    assert_eq!((pc.read(0x3fe) & 0xf0, pc.read(0x3fd), pc.read(0x3f8)), (0x90, 0x61, 0x5a));
    assert_eq!(pc.sent.0.lock().unwrap().len(), 0);
    pc.outs(&[(0x3f8, 1), (0x3f8, 2)]);
    assert_eq!((pc.read(0x3fd), pc.read(0x3fd)), (0x63, 0x61), "an overrun is told once");
}

#[test]
fn a_sink_that_fails_is_reported_and_harms_nothing() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut platform = Platform::new(&PlatformOptions::default(), Box::new(Full)).unwrap();
    platform.port_write(CPU, Time(0), 0x3f8, 1, 65);
    let error = platform.take_serial_error().map(|error| error.kind());
    assert_eq!(error, Some(io::ErrorKind::StorageFull));
    assert!(platform.take_serial_error().is_none());
}

#[test]
fn firmware_configuration_tells_the_size_of_the_machine() {
    let options = PlatformOptions { processors: 3, memory_above_4g: 1 << 30, ..PlatformOptions::default() };
    let mut pc = Pc::with(&options);
    let mut item = |key: u32, bytes: usize| {
        pc.out_wide(0x510, 2, key);
        (0..bytes).map(|_| pc.read(0x511)).collect::<Vec<u8>>()
    };
    assert_eq!(item(0, 5), b"QEMU\0");
    assert_eq!(item(3, 8), ((256_u64 << 20) + (1 << 30)).to_le_bytes());
    assert_eq!((item(5, 2), item(0xf, 2)), (vec![3, 0], vec![3, 0]));
    assert_eq!((item(1, 4), item(0x11, 4), item(0xffff, 4)), (vec![1, 0, 0, 0], vec![0; 4], vec![0; 4]));
}

#[test]
fn the_test_device_keeps_bytes_in_its_latch_and_its_memory() {
    let mut pc = Pc::new(1);
    pc.out_wide(0xe0, 4, 0x1122_3344);
    pc.out(0xe1, 0x55);
    assert_eq!((pc.read_wide(0xe0, 4), pc.read_wide(0xe2, 2), pc.read(0xe4)), (0x1122_5544, 0x1122, 0));
    let write = |pc: &mut Pc, address, bytes| {
        pc.platform.memory_write(CPU, Time(0), address, bytes, 0x8877_6655_4433_2211)
    };
    assert_eq!(write(&mut pc, 0xff00_fffe, 8), Some(()));
    assert_eq!(pc.platform.memory_read(CPU, Time(0), 0xff00_fffe, 8), Some(0x2211));
    assert_eq!(write(&mut pc, 0xff01_0000, 8), None);
}

#[test]
fn configuration_mechanism_one_shows_a_host_bridge_and_nothing_else() {
    let mut pc = Pc::new(1);
    let mut config = |address: u32, port, bytes| {
        pc.out_wide(0xcf8, 4, address);
        pc.read_wide(port, bytes)
    };
    assert_eq!(config(0x8000_0000, 0xcfc, 4), 0x1237_8086);
    assert_eq!((config(0x8000_0000, 0xcfe, 2), config(0x8000_0008, 0xcff, 1)), (0x1237, 6));
    assert_eq!((config(0x8000_0800, 0xcfc, 4), config(0x8001_0000, 0xcfc, 2)), (u32::MAX, 0xffff));
    assert_eq!((config(0, 0xcfc, 4), config(0x8000_0000, 0xcf8, 4)), (u32::MAX, 0x8000_0000));
    // The address register takes four bytes only.
    pc.out_wide(0xcf8, 2, 0);
    assert_eq!(pc.read_wide(0xcf8, 4), 0x8000_0000);
}

#[test]
fn the_keyboard_controller_answers_its_probe() {
    let mut pc = Pc::new(1);
    pc.out(0x64, 0xaa);
    assert_eq!((pc.read(0x64) & 1, pc.read(0x60), pc.read(0x64) & 1), (1, 0x55, 0));
    pc.outs(&[(0x64, 0x60), (0x60, 0x44), (0x64, 0x20)]);
    assert_eq!(pc.read(0x60), 0x44);
    // The second device's loop shows where the byte comes from; a byte for a device is not answered by one.
    pc.outs(&[(0x64, 0xd3), (0x60, 0x5a)]);
    assert_eq!((pc.read(0x64) & 0x21, pc.read(0x60)), (0x21, 0x5a));
    pc.out(0x60, 0xf2);
    assert_eq!((pc.read(0x64) & 0x41, pc.read(0x60)), (0x41, 0xfe));
}

#[test]
fn address_line_twenty_has_two_gates_and_one_state() {
    let mut pc = Pc::new(1);
    assert_eq!((pc.platform.a20(), pc.read(0x92)), (A20::Enabled, 2));
    pc.outs(&[(0x64, 0xd1), (0x60, 0xdd)]);
    assert_eq!((pc.platform.a20(), pc.read(0x92)), (A20::Masked, 0));
    pc.out(0x92, 2);
    pc.out(0x64, 0xd0);
    assert_eq!((pc.platform.a20(), pc.read(0x60)), (A20::Enabled, 3));
}

#[test]
fn every_way_to_end_a_run_is_told_once_and_the_first_counts() {
    type Writes = &'static [(u16, u8, u32)];
    let rows: [(Writes, Stop); 6] = [
        (&[(0xf4, 4, 0x1234_5678)], Stop::DebugExit(0x1234_5678)),
        (&[(0xf4, 1, 0x101)], Stop::DebugExit(1)),
        (&[(0x64, 1, 0xfe)], Stop::Reset),
        (&[(0xcf9, 1, 2), (0xcf9, 1, 6)], Stop::Reset),
        (&[(0x92, 1, 3)], Stop::Reset),
        (&[(0x604, 2, 0x3400), (0xf4, 1, 0)], Stop::PowerOff),
    ];
    for (writes, expected) in rows {
        let mut pc = Pc::new(1);
        for (port, bytes, value) in writes {
            assert_eq!(pc.platform.stop().filter(|_| *port != 0xf4), None);
            pc.out_wide(*port, *bytes, *value);
        }
        assert_eq!(pc.platform.take_stop().map(|stopped| stopped.stop), Some(expected));
        assert_eq!(pc.platform.take_stop(), None);
    }
}

#[test]
fn where_nothing_is_there_are_ones() {
    let mut options = PlatformOptions::default();
    let mut pc = Pc::with(&options);
    for port in [0x0, 0x300, 0xcf0, 0xffff] {
        assert_eq!((pc.read(port), pc.read_wide(port, 2)), (0xff, 0xffff), "{port:#x}");
    }
    assert_eq!(pc.read_wide(0x300, 4), u32::MAX);
    assert_eq!(pc.platform.memory_read(CPU, Time(0), 0xfed4_0000, 4), None);
    options.acpi = Acpi::Absent;
    assert_eq!(Pc::with(&options).read_wide(0x608, 4), u32::MAX);
}

#[test]
fn impossible_options_are_refused_by_name() {
    let good = PlatformOptions::default();
    let refused = |options: PlatformOptions| Platform::new(&options, Box::new(io::sink())).err();
    let mut narrow = PlatformOptions { memory_above_4g: 1 << 36, ..good };
    narrow.local_apic.physical_address_bits = 36;
    let mut xapic = PlatformOptions { processors: 256, ..good };
    xapic.local_apic.x2apic = false;
    let rows = [
        (PlatformOptions { processors: 0, ..good }, OptionsError::Processors(0)),
        (PlatformOptions { processors: 5000, ..good }, OptionsError::Processors(5000)),
        (PlatformOptions { memory_below_4g: 1 << 32, ..good }, OptionsError::MemoryBelow4G(1 << 32)),
        (PlatformOptions { memory_above_4g: u64::MAX, ..good }, OptionsError::MemoryAbove4G(u64::MAX, 46)),
        (narrow, OptionsError::MemoryAbove4G(1 << 36, 36)),
        (xapic, OptionsError::IdsNeedX2apic(256)),
    ];
    for (options, expected) in rows {
        assert_eq!(refused(options), Some(expected));
    }
    assert_eq!(refused(good), None);
}
