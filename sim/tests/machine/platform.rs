//! What the platform does to a running guest: address line 20, monitored memory, system management.

use super::{machine, run};
use vmxsim::machine::report::{RunReport, StopKind};
use vmxsim::machine::{Go, MachineOptions};

/// Switches x2APIC mode on and starts the second processor at 0:8000H.
const START_SECOND: [u8; 49] = [
    0x66, 0xb9, 0x1b, 0, 0, 0, 0x0f, 0x32, 0x80, 0xcc, 0x0c, 0x0f,
    0x30, // IA32_APIC_BASE: enabled, x2APIC
    0x66, 0xb9, 0x30, 8, 0, 0, 0x66, 0xba, 1, 0, 0, 0, // the command register, for APIC ID 1
    0x66, 0xb8, 0, 0x45, 0, 0, 0x0f, 0x30, // INIT
    0x66, 0xb8, 0x08, 0x46, 0, 0, 0x0f, 0x30, // startup at page 8
    0x66, 0x31, 0xc0, 0x66, 0x31, 0xc9, 0x66, 0x31, // xor eax,eax / xor ecx,ecx / xor e..
];

/// Two processors: the first executes `first` after it has started the second, which executes `second`.
fn run_two(first: &[u8], second: &[u8], limit: u64) -> RunReport {
    let mut code = START_SECOND.to_vec();
    code.push(0xd2); // .. dx,edx
    code.extend(first);
    code.resize(0x400, 0x90);
    code.extend(second);
    let (mut machine, _) = machine(&code, &MachineOptions { processors: 2, ..MachineOptions::default() });
    machine.run(Some(limit), |_, _| Go::On)
}

#[test]
fn address_line_20_is_held_at_0_while_it_is_masked() {
    let code = [
        0xc6, 0x06, 0x00, 0x05, 1, // mov byte [500h],1
        0xb8, 0xff, 0xff, 0x8e, 0xd8, // mov ax,ffffh / mov ds,ax
        0xb0, 0x00, 0xe6, 0x92, // mov al,0 / out 92h,al
        0xc6, 0x06, 0x10, 0x05, 7, // mov byte [510h],7: at 100500h
        0xb0, 0x02, 0xe6, 0x92, // mov al,2 / out 92h,al
        0x8a, 0x1e, 0x10, 0x05, // mov bl,[510h]
        0x31, 0xc0, 0x8e, 0xd8, // xor ax,ax / mov ds,ax
        0xa0, 0x00, 0x05, // mov al,[500h]
        0xc0, 0xe3, 0x04, 0x08, 0xd8, 0xe6, 0xf4, // shl bl,4 / or al,bl / out f4h,al
    ];
    assert_eq!(run(&code, 1000).0.stop.code, Some(7));
}

#[test]
fn a_store_of_another_processor_ends_a_wait_for_it() {
    let first = [
        0xb8, 0x00, 0x90, 0x0f, 0x01, 0xc8, // mov ax,9000h / monitor
        0x31, 0xc0, 0x0f, 0x01, 0xc9, // xor ax,ax / mwait
        0xa0, 0x00, 0x90, 0xe6, 0xf4, // mov al,[9000h] / out f4h,al
    ];
    // mov cx,20000 / loop $ / mov byte [9000h],5 / cli / hlt
    let second = [0xb9, 0x20, 0x4e, 0xe2, 0xfe, 0xc6, 0x06, 0x00, 0x90, 5, 0xfa, 0xf4];
    let report = run_two(&first, &second, 1_000_000);
    assert_eq!(report.stop.code, Some(5), "{report:?}");
    assert!(report.processors[0] < 100, "it waits: {report:?}");
    // Without a store nobody ends it.
    let report = run_two(&first, &[0xfa, 0xf4], 1_000_000);
    assert_eq!(report.stop.kind, StopKind::Halt);
}

#[test]
fn a_wait_that_nothing_is_monitored_for_is_none() {
    let monitor = [0xb8, 0x00, 0x90, 0x31, 0xc9, 0x31, 0xd2, 0x0f, 0x01, 0xc8]; // mov ax,9000h / monitor
    let rest = [0x31, 0xc9, 0x0f, 0x01, 0xc9, 0xb0, 9, 0xe6, 0xf4]; // mwait / mov al,9 / out f4h,al
    let store = [0xc6, 0x06, 0x00, 0x90, 5]; // mov byte [9000h],5
    assert_eq!(run(&rest, 1000).0.stop.code, Some(9));
    assert_eq!(run(&[&monitor[..], &store, &rest].concat(), 1000).0.stop.code, Some(9));
    assert_eq!(run(&[&monitor[..], &rest].concat(), 1000).0.stop.kind, StopKind::Halt);
}

#[test]
fn pause_gives_the_turn_away() {
    let forever = [0xeb, 0xfe]; // jmp $
    let patient = [0xf3, 0x90, 0xeb, 0xfc]; // pause / jmp pause
    let share = |second: &[u8]| run_two(&forever, second, 200_000).processors[1];
    assert!((90_000..110_000).contains(&share(&forever)));
    assert!(share(&patient) < 2_000);
    let (alone, _) = run(&patient, 10_000);
    assert_eq!((alone.instructions, alone.cycles), (10_000, 10_000), "alone it has nobody to wait for");
}

/// Copies what follows at 7C30H to 3000H:8000H, where an SMI begins.
const INSTALL: [u8; 19] = [
    0xb8, 0x00, 0x30, 0x8e, 0xc0, // mov ax,3000h / mov es,ax
    0xbf, 0x00, 0x80, 0xbe, 0x30, 0x7c, 0xb9, 0x20, 0, // mov di,8000h / mov si,7c30h / mov cx,32
    0xf3, 0xa4, // rep movsb
    0xbb, 1, 0, // mov bx,1
];

#[test]
fn an_smi_runs_its_handler_and_rsm_returns_to_the_state_before() {
    let mut code = INSTALL.to_vec();
    // out b2h,al / mov al,[9000h] / shl al,4 / or al,bl / out f4h,al
    code.extend([0xe6, 0xb2, 0xa0, 0x00, 0x90, 0xc0, 0xe0, 4, 0x08, 0xd8, 0xe6, 0xf4]);
    code.resize(0x30, 0x90);
    code.extend([0xfe, 0x06, 0x00, 0x90, 0xbb, 0x77, 0, 0x0f, 0xaa]); // inc byte [9000h] / mov bx,77h / rsm
    assert_eq!(run(&code, 1000).0.stop.code, Some(0x11));
}

/// What waits beside the registers is not in the saved state, so it is delivered first.
#[test]
fn a_single_step_that_is_due_comes_before_an_smi() {
    let mut code = INSTALL.to_vec();
    code.extend([0xc7, 0x06, 0x04, 0, 0x60, 0x7c, 0xc7, 0x06, 0x06, 0, 0, 0]); // the vector of #DB: 0:7c60h
    code.extend([0x9c, 0x58, 0x0d, 0x00, 0x01, 0x50, 0x9d, 0xe6, 0xb2]); // set TF / out b2h,al
    code.resize(0x30, 0x90);
    code.extend([0x2e, 0xa1, 0xd8, 0xff, 0xa3, 0x00, 0x90, 0x0f, 0xaa]); // mov ax,cs:[saved RIP] / mov [9000h],ax / rsm
    code.resize(0x60, 0x90);
    code.extend([0xa0, 0x00, 0x90, 0xe6, 0xf4]); // mov al,[9000h] / out f4h,al
    assert_eq!(run(&code, 1000).0.stop.code, Some(0x60));
}

#[test]
fn smis_and_init_wait_for_rsm_and_smbase_may_be_moved() {
    // The handler counts, asks for another SMI, moves SMBASE to 40000H and returns; there an RSM waits.
    let mut code = INSTALL.to_vec();
    code.extend([0xb8, 0x00, 0x40, 0x8e, 0xc0, 0x26, 0xc7, 0x06, 0x00, 0x80, 0x0f, 0xaa]); // [4000h:8000h] = rsm
    code.extend([0xe6, 0xb2, 0xa0, 0x00, 0x90, 0xe6, 0xf4]); // out b2h,al / mov al,[9000h] / out f4h,al
    code.resize(0x30, 0x90);
    code.extend([0xfe, 0x06, 0x00, 0x90, 0xe6, 0xb2, 0xfe, 0x06, 0x00, 0x90]); // inc / out b2h,al / inc
    code.extend([0x2e, 0x66, 0xc7, 0x06, 0xf8, 0xfe, 0, 0, 4, 0, 0x0f, 0xaa]); // mov dword cs:[fef8h],40000h / rsm
    assert_eq!(run(&code, 1000).0.stop.code, Some(2));
}

#[test]
fn rsm_outside_system_management_is_undefined() {
    // mov word [18h],7c20h / mov word [1ah],0 / rsm; at 20h: mov al,7 / out f4h,al
    let mut code = vec![0xc7, 0x06, 0x18, 0, 0x20, 0x7c, 0xc7, 0x06, 0x1a, 0, 0, 0, 0x0f, 0xaa];
    code.resize(0x20, 0x90);
    code.extend([0xb0, 7, 0xe6, 0xf4]);
    assert_eq!(run(&code, 1000).0.stop.code, Some(7));
}
