//! Small guests on a whole machine: how runs end, what they report, and that they repeat.
#![allow(clippy::unwrap_used, reason = "tests")]

mod debugging;
mod platform;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use vmxsim::load::{FlatMode, Image, LoadOptions, Protocol, load};
use vmxsim::machine::report::{RunReport, StopKind};
use vmxsim::machine::{Go, Hypercalls, Machine, MachineOptions, OnReset};

const START: u64 = 0x7c00;

#[derive(Clone, Default)]
struct Serial(Arc<Mutex<Vec<u8>>>);

impl Write for Serial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A machine with 16-bit code at 0:7C00H.
fn machine(code: &[u8], options: &MachineOptions) -> (Machine, Serial) {
    machine_in(FlatMode::Real, code, options)
}

/// A machine with code at 7C00H.
fn machine_in(mode: FlatMode, code: &[u8], options: &MachineOptions) -> (Machine, Serial) {
    let image = Image { name: "guest".to_owned(), bytes: code.to_vec() };
    let load_options = LoadOptions {
        protocol: Protocol::Flat { address: START, mode },
        ..LoadOptions::new(options.memory_map().unwrap())
    };
    let serial = Serial::default();
    let loaded = load(&image, &load_options).unwrap();
    (Machine::new(options, &loaded, Box::new(serial.clone())).unwrap(), serial)
}

fn run(code: &[u8], limit: u64) -> (RunReport, Vec<u8>) {
    let (mut machine, serial) = machine(code, &MachineOptions::default());
    let report = machine.run(Some(limit), |_, _| Go::On);
    let sent = serial.0.lock().unwrap().clone();
    (report, sent)
}

#[test]
fn a_guest_that_writes_to_the_debug_exit_port_ends_the_run_with_its_code() {
    // mov dx,3f8h / mov al,'A' / out dx,al / mov al,5 / out f4h,al / jmp $
    let (report, sent) = run(&[0xba, 0xf8, 3, 0xb0, b'A', 0xee, 0xb0, 5, 0xe6, 0xf4, 0xeb, 0xfe], 1000);
    assert_eq!((report.stop.kind, report.stop.code, report.status()), (StopKind::DebugExit, Some(5), 11));
    assert_eq!(sent, b"A");
    assert_eq!(report.instructions, 5);
}

#[test]
fn a_guest_that_waits_for_good_ends_the_run_as_halted() {
    let (report, _) = run(&[0xfa, 0xf4], 1000); // cli / hlt
    assert_eq!((report.stop.kind, report.status()), (StopKind::Halt, 1));
}

#[test]
fn a_guest_without_vectors_dies_of_a_triple_fault_that_is_explained() {
    // lidt [7c08h] / ud2 / nop / a table with a limit of 0
    let code = [0x0f, 0x01, 0x1e, 8, 0x7c, 0x0f, 0x0b, 0x90, 0, 0, 0, 0, 0, 0];
    let (mut machine, _) = machine(&code, &MachineOptions::default());
    let report = machine.run(Some(1000), |_, _| Go::On);
    assert_eq!(
        (report.stop.kind, report.stop.processor, report.status()),
        (StopKind::TripleFault, Some(0), 1)
    );
    let death = machine.death(0);
    for expected in [
        "exception 6 (InvalidOpcode) at 0x0:0x7c05, whose delivery failed",
        "exception 13 (GeneralProtection)",
        "exception 8 (DoubleFault)",
        "at 7c05: ud2",
    ] {
        assert!(death.contains(expected), "{expected} is missing in {death}");
    }
}

#[test]
fn a_limit_is_kept_to_the_instruction() {
    let (report, _) = run(&[0xeb, 0xfe], 12_345); // jmp $
    assert_eq!((report.stop.kind, report.instructions, report.cycles), (StopKind::Limit, 12_345, 12_345));
}

#[test]
fn an_instruction_that_is_not_modelled_is_undefined_for_the_guest_and_counted() {
    // A handler for #UD that exits with code 7, then RDPRU.
    // mov word [18h],7c20h / mov word [1ah],0 / rdpru; at 20h: mov al,7 / out f4h,al
    let mut code = vec![0xc7, 0x06, 0x18, 0, 0x20, 0x7c, 0xc7, 0x06, 0x1a, 0, 0, 0, 0x0f, 0x01, 0xfd];
    code.resize(0x20, 0x90);
    code.extend([0xb0, 7, 0xe6, 0xf4]);
    let (report, _) = run(&code, 1000);
    assert_eq!(report.stop.code, Some(7));
    assert_eq!(report.unmodelled.get("rdpru"), Some(&1));
}

#[test]
fn interrupts_of_the_timer_reach_a_halted_guest_and_the_same_run_is_the_same() {
    // Vector 8 counts in BX; the guest halts until it has counted 10.
    let main = [
        0xfa, // cli
        0xc7, 0x06, 0x20, 0, 0x40, 0x7c, // mov word [20h],7c40h
        0xc7, 0x06, 0x22, 0, 0, 0, // mov word [22h],0
        0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x08, 0xe6, 0x21, 0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6,
        0x21, // 8259
        0xb0, 0xfe, 0xe6, 0x21, // interrupt 0 alone
        0xb0, 0x34, 0xe6, 0x43, 0xb0, 0xa9, 0xe6, 0x40, 0xb0, 0x04, 0xe6,
        0x40, // 8254: every 1193 counts
        0xfb, 0xf4, // sti / hlt
        0x83, 0xfb, 0x0a, 0x72, 0xfa, // cmp bx,10 / jb sti
        0xb0, 0x03, 0xe6, 0xf4, // mov al,3 / out f4h,al
    ];
    let mut code = main.to_vec();
    code.resize(0x40, 0x90);
    code.extend([0x43, 0xb0, 0x20, 0xe6, 0x20, 0xcf]); // inc bx / EOI / iret
    let [(first, _), (second, _)] = [run(&code, 100_000), run(&code, 100_000)];
    assert_eq!(first.stop.code, Some(3), "{first:?}");
    // Ten milliseconds, less the time before the timer ran.
    assert!((9_900_000..10_100_000).contains(&first.cycles), "{first:?}");
    assert_eq!((first.instructions, first.cycles), (second.instructions, second.cycles));
}

#[test]
fn the_timer_of_firmware_wakes_a_guest_that_programs_nothing() {
    // sti / hlt / hlt / mov al,[46ch] / out f4h,al
    let (report, _) = run(&[0xfb, 0xf4, 0xf4, 0xa0, 0x6c, 0x04, 0xe6, 0xf4], 1000);
    // One tick was there from the start, the next comes at 18.2 Hz.
    assert_eq!(report.stop.code, Some(2), "{report:?}");
    assert!((54_000_000..56_000_000).contains(&report.cycles), "{report:?}");
}

#[test]
fn a_fetch_sets_the_accessed_flag_of_its_page() {
    let code = [
        &[0xbc, 0x00, 0x70, 0, 0][..],                           // mov esp,7000h
        &[0x0f, 0x20, 0xd8, 0x48, 0x8b, 0x00],                   // mov rax,cr3 / mov rax,[rax]
        &[0x48, 0x25, 0x00, 0xf0, 0xff, 0xff, 0x48, 0x8b, 0x00], // and rax,-1000h / mov rax,[rax]
        &[0x48, 0x25, 0x00, 0xf0, 0xff, 0xff],                   // and rax,-1000h: the page directory
        &[0xc6, 0x04, 0x25, 0x00, 0x00, 0x00, 0x01, 0xc3],       // mov byte [1000000h],0c3h: ret
        &[0x80, 0x60, 0x40, 0xdf],                               // and byte [rax+40h],~20h
        &[0x0f, 0x01, 0x3c, 0x25, 0x00, 0x00, 0x00, 0x01],       // invlpg [1000000h]
        &[0xbb, 0x00, 0x00, 0x00, 0x01, 0xff, 0xd3],             // mov ebx,1000000h / call rbx
        &[0x8a, 0x40, 0x40, 0xe6, 0xf4],                         // mov al,[rax+40h] / out f4h,al
    ]
    .concat();
    let (mut machine, _) = machine_in(FlatMode::Long, &code, &MachineOptions::default());
    let report = machine.run(Some(1000), |_, _| Go::On);
    // Large, dirty, accessed, writable, present.
    assert_eq!((report.stop.kind, report.stop.code), (StopKind::DebugExit, Some(0xe3)));
}

#[test]
fn a_call_of_a_monitor_is_undefined_unless_the_machine_answers_it() {
    // A handler for #UD that exits with code 7, then VMCALL for a call that does not exist, and its answer to the port.
    let mut code = vec![0xc7, 0x06, 0x18, 0, 0x30, 0x7c, 0xc7, 0x06, 0x1a, 0, 0, 0];
    code.extend([0x66, 0xb8, 99, 0, 0, 0, 0x0f, 0x01, 0xc1]); // mov eax,99 / vmcall
    code.extend([0xf7, 0xd8, 0xc1, 0xe8, 3, 0xe6, 0xf4]); // neg ax / shr ax,3 / out f4h,al
    code.resize(0x30, 0x90);
    code.extend([0xb0, 7, 0xe6, 0xf4]);
    for (hypercalls, expected) in [(Hypercalls::None, 7), (Hypercalls::Kvm, 125)] {
        let (mut machine, _) = machine(&code, &MachineOptions { hypercalls, ..MachineOptions::default() });
        assert_eq!(machine.run(Some(1000), |_, _| Go::On).stop.code, Some(expected));
    }
}

#[test]
fn a_reset_ends_the_run_or_begins_it_again_as_at_power_on() {
    // Counts in RAM, sends the count, and resets by the keyboard controller.
    let code = [
        0xff, 0x06, 0x00, 0x90, // inc word [9000h]
        0xba, 0xf8, 3, 0xa0, 0x00, 0x90, 0xee, // mov dx,3f8h / mov al,[9000h] / out dx,al
        0xb0, 0xfe, 0xe6, 0x64, // mov al,feh / out 64h,al
        0xeb, 0xfe, // jmp $
    ];
    let (report, sent) = run(&code, 1000);
    assert_eq!((report.stop.kind, report.resets, report.instructions), (StopKind::Reset, 0, 6));
    assert_eq!(sent, [1]);
    let options = MachineOptions { on_reset: OnReset::Restart, ..MachineOptions::default() };
    let (mut machine, serial) = machine(&code, &options);
    let report = machine.run(Some(21), |_, _| Go::On);
    assert_eq!((report.stop.kind, report.resets, report.instructions), (StopKind::Limit, 3, 21));
    assert_eq!(report.cycles, 21);
    assert_eq!(*serial.0.lock().unwrap(), [1, 1, 1], "RAM is as it was in the beginning");
}
