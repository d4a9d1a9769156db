//! Which instructions exit from VMX non-root operation (SDM 28.1.2, 28.1.3).

mod bitmaps;

use crate::controls::{PrimaryProcessorControls as Primary, SecondaryProcessorControls as Secondary};
use crate::exit::Exit;
use crate::exit_reason::BasicExitReason as Reason;
use crate::field::Encoding;
use crate::vmcs::Vmcs;
use isa::control::Cr0;
use isa::registers::Gpr;
use isa::state::State;
use isa::system::{Intercepted, Io, IoDirection, PortOperand, Repetition, TableRegister};
use isa::system::{TaskSwitch, TaskSwitchSource};
use mmu::Ram;

/// The VM exit that an instruction causes, if it causes one.
#[must_use]
pub fn intercept(vmcs: &Vmcs, state: &State, ram: &Ram, what: &Intercepted) -> Option<Exit> {
    let primary = vmcs.primary_processor();
    let when = |controls: Primary, reason| primary.contains(controls).then(|| Exit::of_instruction(reason));
    let secondary = |controls: Secondary| vmcs.secondary_processor().contains(controls);
    match *what {
        Intercepted::MovToCr { register, gpr, value } => mov_to_cr(vmcs, register, gpr, value),
        Intercepted::MovFromCr { register, gpr } => {
            let control = if register == 3 { Primary::CR3_STORE_EXITING } else { Primary::CR8_STORE_EXITING };
            primary.contains(control).then(|| control_register(register, CrAccess::MovFrom, gpr))
        }
        Intercepted::Clts => clts(vmcs),
        Intercepted::Lmsw { source, memory } => lmsw(vmcs, source, memory.map(|address| address.0)),
        Intercepted::MovToDr { register, gpr } => when(Primary::MOV_DR_EXITING, Reason::MovDr)
            .map(|exit| exit.with(debug_register(register, gpr, 0))),
        Intercepted::MovFromDr { register, gpr } => when(Primary::MOV_DR_EXITING, Reason::MovDr)
            .map(|exit| exit.with(debug_register(register, gpr, 1))),
        Intercepted::Invlpg(at) => when(Primary::INVLPG_EXITING, Reason::Invlpg).map(|exit| exit.with(at.0)),
        Intercepted::Invpcid { .. } => {
            let exits = primary.contains(Primary::INVLPG_EXITING);
            exits.then(|| Exit::of_operands(Reason::Invpcid))
        }
        Intercepted::Io(io) => bitmaps::intercepts_io(vmcs, ram, &io).then(|| input_output(&io)),
        Intercepted::Rdmsr(index) => bitmaps::intercepts_msr(vmcs, ram, index, bitmaps::Direction::Read)
            .then(|| Exit::of_instruction(Reason::Rdmsr)),
        Intercepted::Wrmsr { index, .. } => {
            bitmaps::intercepts_msr(vmcs, ram, index, bitmaps::Direction::Write)
                .then(|| Exit::of_instruction(Reason::WrmsrOrWrmsrns))
        }
        Intercepted::Hlt => when(Primary::HLT_EXITING, Reason::Hlt),
        Intercepted::Pause => when(Primary::PAUSE_EXITING, Reason::Pause),
        Intercepted::Monitor => when(Primary::MONITOR_EXITING, Reason::Monitor),
        Intercepted::Mwait => {
            let armed = u64::from(state.system.monitored.is_some());
            when(Primary::MWAIT_EXITING, Reason::Mwait).map(|exit| exit.with(armed))
        }
        Intercepted::Rdtsc => when(Primary::RDTSC_EXITING, Reason::Rdtsc),
        Intercepted::Rdtscp => when(Primary::RDTSC_EXITING, Reason::Rdtscp),
        Intercepted::Rdpid => None,
        Intercepted::Rdpmc => when(Primary::RDPMC_EXITING, Reason::Rdpmc),
        Intercepted::Invd => Some(Exit::of_instruction(Reason::Invd)),
        Intercepted::Wbinvd => {
            secondary(Secondary::WBINVD_EXITING).then(|| Exit::of_instruction(Reason::WbinvdOrWbnoinvd))
        }
        Intercepted::Xsetbv { .. } => Some(Exit::of_instruction(Reason::Xsetbv)),
        Intercepted::TableRegister(register) => {
            secondary(Secondary::DESCRIPTOR_TABLE_EXITING).then(|| table_register(register))
        }
    }
}

/// The VM exit of a task switch: all of them exit (28.2, 30.2.1).
#[must_use]
pub fn task_switch(switch: &TaskSwitch) -> Exit {
    let source = match switch.source {
        TaskSwitchSource::Call => 0,
        TaskSwitchSource::Iret => 1,
        TaskSwitchSource::Jump => 2,
        TaskSwitchSource::Event(_) => 3,
    };
    let exit = match switch.source {
        TaskSwitchSource::Event(event) if !event.kind.is_software() => Exit::new(Reason::TaskSwitch),
        _ => Exit::of_instruction(Reason::TaskSwitch),
    };
    exit.with(u64::from(switch.selector.0) | source << 30)
}

/// How a control register is accessed: bits 5:4 of the qualification (table 30-3).
#[derive(Clone, Copy)]
enum CrAccess {
    MovTo = 0,
    MovFrom = 1,
    Clts = 2,
    Lmsw = 3,
}

fn control_register(register: u8, access: CrAccess, gpr: Gpr) -> Exit {
    let qualification = u64::from(register) | (access as u64) << 4 | (gpr as u64) << 8;
    Exit::of_instruction(Reason::ControlRegisterAccess).with(qualification)
}

fn mov_to_cr(vmcs: &Vmcs, register: u8, gpr: Gpr, value: u64) -> Option<Exit> {
    let differs = |mask, shadow| vmcs.read(mask) & (value ^ vmcs.read(shadow)) != 0;
    let primary = vmcs.primary_processor();
    let exits = match register {
        0 => differs(Encoding::CR0_GUEST_HOST_MASK, Encoding::CR0_READ_SHADOW),
        3 => primary.contains(Primary::CR3_LOAD_EXITING) && !is_cr3_target(vmcs, value),
        4 => differs(Encoding::CR4_GUEST_HOST_MASK, Encoding::CR4_READ_SHADOW),
        _ => primary.contains(Primary::CR8_LOAD_EXITING),
    };
    exits.then(|| control_register(register, CrAccess::MovTo, gpr))
}

const CR3_TARGETS: [Encoding; 4] =
    [Encoding::CR3_TARGET0, Encoding::CR3_TARGET1, Encoding::CR3_TARGET2, Encoding::CR3_TARGET3];

fn is_cr3_target(vmcs: &Vmcs, value: u64) -> bool {
    let count = vmcs.read32(Encoding::CR3_TARGET_COUNT) as usize;
    CR3_TARGETS.iter().take(count).any(|&target| vmcs.read(target) == value)
}

fn clts(vmcs: &Vmcs) -> Option<Exit> {
    let ts = Cr0::TS.bits();
    let both = vmcs.read(Encoding::CR0_GUEST_HOST_MASK) & vmcs.read(Encoding::CR0_READ_SHADOW);
    let exit = Exit::of_instruction(Reason::ControlRegisterAccess).with((CrAccess::Clts as u64) << 4);
    (both & ts != 0).then_some(exit)
}

/// LMSW exits when it would set a PE that the host owns and shows as 0, or change MP, EM or TS where the host owns them.
fn lmsw(vmcs: &Vmcs, source: u16, memory: Option<u64>) -> Option<Exit> {
    let (mask, shadow) = (vmcs.read(Encoding::CR0_GUEST_HOST_MASK), vmcs.read(Encoding::CR0_READ_SHADOW));
    let (wanted, pe) = (u64::from(source), Cr0::PE.bits());
    let sets_pe = mask & wanted & !shadow & pe != 0;
    let others = (Cr0::MP | Cr0::EM | Cr0::TS).bits();
    if !sets_pe && mask & (wanted ^ shadow) & others == 0 {
        return None;
    }
    let kind = u64::from(memory.is_some()) << 6;
    let qualification = (CrAccess::Lmsw as u64) << 4 | kind | wanted << 16;
    let exit = Exit::of_instruction(Reason::ControlRegisterAccess).with(qualification);
    Some(Exit { guest_linear: memory.unwrap_or(0), ..exit })
}

/// Table 30-4: bits 2:0 the register, 4 the direction, 11:8 the general-purpose register.
const fn debug_register(register: u8, gpr: Gpr, direction: u64) -> u64 {
    register as u64 | direction << 4 | (gpr as u64) << 8
}

/// Table 30-5.
fn input_output(io: &Io) -> Exit {
    let bit = |condition: bool, position: u32| u64::from(condition) << position;
    let repeated = io.string.is_some_and(|string| string.repetition == Repetition::Repeated);
    let qualification = u64::from(io.bytes - 1)
        | bit(io.direction == IoDirection::In, 3)
        | bit(io.string.is_some(), 4)
        | bit(repeated, 5)
        | bit(io.operand == PortOperand::Immediate, 6)
        | u64::from(io.port) << 16;
    let exit = match io.string {
        None => Exit::of_instruction(Reason::IoInstruction),
        Some(_) => Exit::of_operands(Reason::IoInstruction),
    };
    let guest_linear = io.string.map_or(0, |string| string.address.0);
    Exit { guest_linear, ..exit.with(qualification) }
}

fn table_register(register: TableRegister) -> Exit {
    use TableRegister as T;
    Exit::of_operands(match register {
        T::Sgdt | T::Sidt | T::Lgdt | T::Lidt => Reason::AccessToGdtrOrIdtr,
        T::Sldt | T::Str | T::Lldt | T::Ltr => Reason::AccessToLdtrOrTr,
    })
}
