//! VMX from the inside: what a VMM of a few instructions sees of its guest.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::vmm::{EPT, GUEST, NOT_ENTERED, Outcome, Vmm, advance, send, stop, tell};
use iced_x86::IcedError;
use iced_x86::code_asm::*;
use vmx::controls::{
    PinBasedControls, PrimaryExitControls, PrimaryProcessorControls as Primary,
    SecondaryProcessorControls as Secondary,
};
use vmx::error_number::InstructionError;
use vmx::exit_reason::BasicExitReason as Reason;
use vmx::field::Encoding;

const LIMIT: u64 = 1_000_000;

/// What most tests want to know of an exit.
const OF_EXIT: [Encoding; 4] = [
    Encoding::EXIT_REASON,
    Encoding::EXIT_QUALIFICATION,
    Encoding::GUEST_RIP,
    Encoding::EXIT_INSTRUCTION_LENGTH,
];

fn tell_exit(a: &mut CodeAssembler) -> Result<(), IcedError> {
    OF_EXIT.into_iter().try_for_each(|field| tell(a, field))
}

/// Tells the first exit, and stops.
fn first_exit(a: &mut CodeAssembler) -> Result<(), IcedError> {
    tell_exit(a)?;
    stop(a, 0)
}

fn run(vmm: &Vmm) -> Outcome {
    let outcome = vmm.run(LIMIT).unwrap();
    assert!(outcome.report.stop.code.is_some(), "{:?}", outcome.report);
    outcome
}

fn told(vmm: &Vmm) -> Vec<u64> {
    run(vmm).told
}

/// Adds primary controls.
fn with(vmm: &mut Vmm, controls: Primary) {
    vmm.vmcs.set_controls(vmm.vmcs.primary_processor() | controls);
}

#[test]
fn cpuid_leaves_every_guest_and_tells_its_length() {
    let vmm = Vmm::new(|a| a.cpuid(), first_exit).unwrap();
    assert_eq!(told(&vmm), [Reason::Cpuid.number().into(), 0, GUEST, 2]);
}

#[test]
fn a_guest_that_is_resumed_goes_on_where_the_vmm_says() {
    let guest = |a: &mut CodeAssembler| {
        a.mov(esi, 7)?;
        a.cpuid()?;
        a.inc(esi)?;
        a.cpuid()?;
        a.hlt()
    };
    let after = |a: &mut CodeAssembler| {
        let mut last = a.create_label();
        a.cmp(esi, 8)?;
        a.je(last)?;
        advance(a, Encoding::GUEST_RIP, 2)?;
        a.vmresume()?;
        stop(a, NOT_ENTERED)?;
        a.set_label(&mut last)?;
        tell(a, Encoding::GUEST_RIP)?;
        stop(a, 0)
    };
    let vmm = Vmm::new(guest, after).unwrap();
    let outcome = run(&vmm);
    // mov, cpuid and inc are 5, 2 and 2 bytes.
    assert_eq!((outcome.told, outcome.report.stop.code), (vec![GUEST + 9], Some(0)));
    assert_eq!(outcome.report.exits["CPUID"].count, 2);
}

#[test]
fn a_refused_entry_says_which_rule_refuses_it() {
    let mut vmm = Vmm::new(|a| a.cpuid(), first_exit).unwrap();
    vmm.vmcs.write(Encoding::VPID, 0);
    let outcome = run(&vmm);
    let error = InstructionError::InvalidControlFields.number();
    assert_eq!((outcome.told, outcome.report.stop.code), (vec![error.into()], Some(NOT_ENTERED)));
    assert_eq!(outcome.report.entry_failures["CTL.EXEC.VPID.NONZERO"], 1);
}

#[test]
fn an_invalid_guest_state_loads_the_host_and_leaves_other_information() {
    let mut vmm = Vmm::new(|a| a.cpuid(), first_exit).unwrap();
    vmm.vmcs.write(Encoding::GUEST_RFLAGS, 0);
    vmm.vmcs.write(Encoding::EXIT_INSTRUCTION_LENGTH, 0x77);
    let reason = u64::from(Reason::VmEntryFailureInvalidGuestState.number()) | 1 << 31;
    let outcome = run(&vmm);
    assert_eq!(outcome.told, [reason, 0, GUEST, 0x77]);
    assert_eq!(outcome.report.entry_failures["GUEST.RIP.RFLAGS_BIT1"], 1);
}

#[test]
fn hlt_exits_only_when_it_is_asked_for() {
    let guest = |a: &mut CodeAssembler| {
        a.hlt()?;
        a.cpuid()
    };
    let mut vmm = Vmm::new(guest, first_exit).unwrap();
    with(&mut vmm, Primary::HLT_EXITING);
    assert_eq!(told(&vmm), [Reason::Hlt.number().into(), 0, GUEST, 1]);
    // Without the control the guest waits, until its timer ends that.
    let mut vmm = Vmm::new(guest, |a| {
        tell(a, Encoding::GUEST_ACTIVITY)?;
        first_exit(a)
    })
    .unwrap();
    vmm.vmcs.set_controls(vmm.vmcs.pin_based() | PinBasedControls::ACTIVATE_VMX_PREEMPTION_TIMER);
    vmm.vmcs.write(Encoding::PREEMPTION_TIMER_VALUE, 10_000);
    let halted = 1;
    let timer = Reason::VmxPreemptionTimerExpired.number();
    assert_eq!(told(&vmm), [halted, timer.into(), 0, GUEST + 1, 0]);
}

#[test]
fn control_registers_are_shown_and_guarded_through_masks() {
    // The host owns CR4.PSE, which is 0 and reads as 1; setting it to what it reads as does not exit.
    let guest = |a: &mut CodeAssembler| {
        a.mov(rax, cr4)?;
        a.mov(rsi, rax)?;
        a.mov(cr4, rax)?;
        a.and(eax, !0x10_i32)?;
        a.mov(cr4, rax)
    };
    let mut vmm = Vmm::new(guest, |a| {
        a.mov(rbx, rsi)?;
        send(a)?;
        tell(a, Encoding::GUEST_CR4)?;
        first_exit(a)
    })
    .unwrap();
    vmm.vmcs.write(Encoding::CR4_GUEST_HOST_MASK, 0x10);
    vmm.vmcs.write(Encoding::CR4_READ_SHADOW, 0x10);
    let field = vmm.vmcs.read(Encoding::GUEST_CR4);
    let told = told(&vmm);
    assert_eq!(told[..2], [field | 0x10, field]);
    // MOV to CR4 from RAX.
    assert_eq!(told[2..4], [Reason::ControlRegisterAccess.number().into(), 4]);
}

#[test]
fn an_access_that_ept_does_not_permit_tells_both_addresses_and_why() {
    let mut vmm = Vmm::new(
        |a| {
            a.mov(edi, 0x8000_0008_u32)?;
            a.mov(dword_ptr(rdi), eax)
        },
        |a| {
            tell(a, Encoding::GUEST_LINEAR_ADDR)?;
            tell(a, Encoding::GUEST_PHYSICAL_ADDR)?;
            first_exit(a)
        },
    )
    .unwrap();
    vmm.with_ept(&[(EPT + 0x1010, 2 << 30 | 0xb1)]); // the third gigabyte is for reading
    let told = told(&vmm);
    assert_eq!(told[..3], [0x8000_0008, 0x8000_0008, Reason::EptViolation.number().into()]);
    // A write; reading is permitted; the linear address is valid, and the access is the translation of it.
    assert_eq!(told[3] & 0x1ff, 0b1_1000_1010);
    assert_eq!(told[4], GUEST + 5);
}

#[test]
fn a_malformed_ept_entry_is_a_misconfiguration() {
    let guest = |a: &mut CodeAssembler| {
        a.mov(edi, 0x8000_0000_u32)?;
        a.mov(eax, dword_ptr(rdi))
    };
    let mut vmm = Vmm::new(guest, |a| {
        tell(a, Encoding::GUEST_PHYSICAL_ADDR)?;
        first_exit(a)
    })
    .unwrap();
    vmm.with_ept(&[(EPT + 0x1010, 2 << 30 | 0xb2)]); // writable and not readable
    assert_eq!(told(&vmm)[..2], [0x8000_0000, Reason::EptMisconfiguration.number().into()]);
}

#[test]
fn an_exception_that_the_host_wants_leaves_before_it_has_an_effect() {
    let guest = |a: &mut CodeAssembler| {
        a.mov(rdi, 0x7fff_ffff_f000_u64)?;
        a.mov(eax, dword_ptr(rdi + 8))
    };
    let mut vmm = Vmm::new(guest, |a| {
        a.mov(rbx, cr2)?;
        send(a)?;
        tell(a, Encoding::EXITING_EVENT_ID)?;
        tell(a, Encoding::EXITING_EVENT_ERROR)?;
        first_exit(a)
    })
    .unwrap();
    vmm.vmcs.write(Encoding::EXCEPTION_BITMAP, 1 << 14);
    // CR2 stays; a hardware exception with an error code of 0: the page is not present.
    let page_fault = 1 << 31 | 1 << 11 | 3 << 8 | 14;
    let reason = Reason::ExceptionOrNmi.number().into();
    assert_eq!(told(&vmm), [0, page_fault, 0, reason, 0x7fff_ffff_f008, GUEST + 10, 0]);
}

#[test]
fn a_fault_while_an_event_is_delivered_is_recorded_with_that_event() {
    // There is no IDT: INT 80H faults with #GP, which the host wants.
    let mut vmm = Vmm::new(
        |a| a.int(0x80),
        |a| {
            tell(a, Encoding::EXITING_EVENT_ID)?;
            tell(a, Encoding::EXITING_EVENT_ERROR)?;
            tell(a, Encoding::ORIGINAL_EVENT_ID)?;
            first_exit(a)
        },
    )
    .unwrap();
    vmm.vmcs.write(Encoding::GUEST_IDTR_LIMIT, 0);
    vmm.vmcs.write(Encoding::EXCEPTION_BITMAP, 1 << 13);
    let fault = 1 << 31 | 1 << 11 | 3 << 8 | 13;
    let original = 1 << 31 | 4 << 8 | 0x80;
    let code = 0x80 << 3 | 2;
    let reason = Reason::ExceptionOrNmi.number().into();
    assert_eq!(told(&vmm), [fault, code, original, reason, 0, GUEST, 2]);
}

#[test]
fn a_guest_that_cannot_deliver_a_double_fault_leaves_with_a_triple_fault() {
    let mut vmm = Vmm::new(|a| a.ud2(), first_exit).unwrap();
    vmm.vmcs.write(Encoding::GUEST_IDTR_LIMIT, 0);
    assert_eq!(told(&vmm), [Reason::TripleFault.number().into(), 0, GUEST, 0]);
}

#[test]
fn an_injected_event_reaches_the_handler_of_the_guest() {
    const IDT: u64 = 0x15_0000;
    const HANDLER: u64 = GUEST + 0x100;
    let guest = |a: &mut CodeAssembler| {
        a.cpuid()?;
        while a.instructions().len() < 2 {
            a.nop()?;
        }
        Ok(())
    };
    let mut vmm = Vmm::new(guest, |a| {
        tell(a, Encoding::INJECTED_EVENT_ID)?;
        first_exit(a)
    })
    .unwrap();
    let gate = HANDLER & 0xffff | 0x10 << 16 | 0x8e00 << 32 | (HANDLER >> 16 & 0xffff) << 48;
    let mut idt = vec![0; 0x1000];
    idt[0x300..0x308].copy_from_slice(&gate.to_le_bytes());
    vmm.pieces.push((IDT, idt));
    vmm.pieces.push((HANDLER, vec![0x0f, 0xa2])); // cpuid
    vmm.vmcs.write(Encoding::GUEST_IDTR_BASE, IDT);
    vmm.vmcs.write(Encoding::GUEST_IDTR_LIMIT, 0xfff);
    vmm.vmcs.write(Encoding::GUEST_RFLAGS, 0x202);
    vmm.vmcs.write(Encoding::INJECTED_EVENT_ID, 1 << 31 | 0x30); // an external interrupt
    let outcome = run(&vmm);
    // The exit clears the valid bit.
    assert_eq!(outcome.told[0], 0x30);
    assert!(outcome.told[1] == u64::from(Reason::Cpuid.number()), "{:x?}", outcome.told);
    assert_eq!(outcome.told[3], HANDLER);
}

#[test]
fn the_monitor_trap_flag_leaves_after_each_instruction() {
    let guest = |a: &mut CodeAssembler| {
        a.nop()?;
        a.inc(esi)?;
        a.nop()
    };
    let after = |a: &mut CodeAssembler| {
        let mut last = a.create_label();
        tell(a, Encoding::EXIT_REASON)?;
        tell(a, Encoding::GUEST_RIP)?;
        a.inc(edi)?;
        a.cmp(edi, 3)?;
        a.je(last)?;
        a.vmresume()?;
        a.set_label(&mut last)?;
        stop(a, 0)
    };
    let mut vmm = Vmm::new(guest, after).unwrap();
    with(&mut vmm, Primary::MONITOR_TRAP_FLAG);
    let trap = u64::from(Reason::MonitorTrapFlag.number());
    assert_eq!(told(&vmm), [trap, GUEST + 1, trap, GUEST + 3, trap, GUEST + 4]);
}

#[test]
fn an_open_window_leaves_before_the_next_instruction() {
    let guest = |a: &mut CodeAssembler| {
        a.nop()?;
        a.sti()?;
        a.nop()?;
        a.nop()
    };
    let mut vmm = Vmm::new(guest, first_exit).unwrap();
    with(&mut vmm, Primary::INTERRUPT_WINDOW_EXITING);
    // STI shields one instruction.
    assert_eq!(told(&vmm), [Reason::InterruptWindow.number().into(), 0, GUEST + 3, 0]);
}

#[test]
fn bitmaps_choose_ports_and_msrs() {
    let guest = |a: &mut CodeAssembler| {
        a.mov(ecx, 0x174)?;
        a.rdmsr()?;
        a.mov(edx, 0x1234)?;
        a.in_(al, dx)?;
        a.inc(edx)?;
        a.in_(al, dx)
    };
    const BITMAPS: u64 = 0x16_0000;
    let mut vmm = Vmm::new(guest, first_exit).unwrap();
    with(&mut vmm, Primary::USE_I_O_BITMAPS | Primary::USE_MSR_BITMAPS);
    for (field, page) in [(Encoding::IO_BITMAP_A, 0), (Encoding::IO_BITMAP_B, 1), (Encoding::MSR_BITMAP, 2)] {
        vmm.vmcs.write(field, BITMAPS + 0x1000 * page);
    }
    let mut pages = vec![0; 0x3000];
    pages[0x1235 / 8] = 1 << (0x1235 % 8);
    vmm.pieces.push((BITMAPS, pages.clone()));
    let told_of_port = told(&vmm);
    assert_eq!(told_of_port[..2], [Reason::IoInstruction.number().into(), 0x1235 << 16 | 8]);
    pages[0x2000 + 0x174 / 8] = 1 << (0x174 % 8);
    vmm.pieces = vec![(BITMAPS, pages)];
    assert_eq!(told(&vmm)[..3], [Reason::Rdmsr.number().into(), 0, GUEST + 5]);
}

#[test]
fn what_controls_do_not_enable_is_undefined_in_the_guest() {
    let mut vmm = Vmm::new(
        |a| a.rdtscp(),
        |a| {
            tell(a, Encoding::EXITING_EVENT_ID)?;
            first_exit(a)
        },
    )
    .unwrap();
    vmm.vmcs.write(Encoding::EXCEPTION_BITMAP, 1 << 6);
    assert_eq!(told(&vmm)[0], 1 << 31 | 3 << 8 | 6);
    vmm.vmcs.set_controls(vmm.vmcs.secondary_processor() | Secondary::ENABLE_RDTSCP);
    with(&mut vmm, Primary::RDTSC_EXITING);
    assert_eq!(told(&vmm)[1], u64::from(Reason::Rdtscp.number()));
}

#[test]
fn an_exit_saves_what_is_left_of_the_preemption_timer() {
    let mut vmm = Vmm::new(
        |a| {
            a.nop()?;
            a.nop()?;
            a.cpuid()
        },
        |a| {
            tell(a, Encoding::PREEMPTION_TIMER_VALUE)?;
            first_exit(a)
        },
    )
    .unwrap();
    vmm.vmcs.set_controls(vmm.vmcs.pin_based() | PinBasedControls::ACTIVATE_VMX_PREEMPTION_TIMER);
    vmm.vmcs.set_controls(vmm.vmcs.primary_exit() | PrimaryExitControls::SAVE_VMX_PREEMPTION_TIMER_VALUE);
    vmm.vmcs.write(Encoding::PREEMPTION_TIMER_VALUE, 1000);
    let told = told(&vmm);
    assert_eq!(told[1], u64::from(Reason::Cpuid.number()));
    assert!((990..1000).contains(&told[0]), "{told:?}");
}
