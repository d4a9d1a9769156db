//! The instructions of VMX (SDM Vol. 3C, 33.3).
//!
//! The order of their checks: what the mode forbids (#UD), then VMX operation and privilege ([`Cpu::vmx_begin`]: #UD, VM
//! exit, #GP(0), and what fails before an operand is read), then the faults of operands in memory, then all that the
//! request itself may fail for.

use super::{done, guard, is_memory};
use crate::address::AccessKind;
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::Form;
use crate::flags::Rflags;
use crate::mode::CodeSize;
use crate::operand::{Destination, Memory, Register, Source, SourceRegister};
use crate::record::{Handler, Record};
use crate::state::{Slot, State};
use crate::system::guard::Guarded;
use crate::system::{VmxInstruction, VmxOutcome, VmxRequest};
use iced_x86::{Code, Mnemonic};

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.instruction.code() {
        Code::Vmread_rm64_r64 if is_memory(form) => vmread::<C, Memory, u64>,
        Code::Vmread_rm64_r64 => vmread::<C, Register, u64>,
        Code::Vmread_rm32_r32 if is_memory(form) => vmread::<C, Memory, u32>,
        Code::Vmread_rm32_r32 => vmread::<C, Register, u32>,
        Code::Vmwrite_r64_rm64 if is_memory(form) => vmwrite::<C, Memory, u64>,
        Code::Vmwrite_r64_rm64 => vmwrite::<C, SourceRegister, u64>,
        Code::Vmwrite_r32_rm32 if is_memory(form) => vmwrite::<C, Memory, u32>,
        Code::Vmwrite_r32_rm32 => vmwrite::<C, SourceRegister, u32>,
        _ => return by_mnemonic(form),
    })
}

fn by_mnemonic<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.mnemonic() {
        Mnemonic::Invept => |cpu, record| {
            invalidate(cpu, record, VmxInstruction::Invept, |kind, descriptor| VmxRequest::Invept {
                kind,
                descriptor,
            })
        },
        Mnemonic::Invvpid => |cpu, record| {
            invalidate(cpu, record, VmxInstruction::Invvpid, |kind, descriptor| VmxRequest::Invvpid {
                kind,
                descriptor,
            })
        },
        Mnemonic::Vmcall => vmcall,
        Mnemonic::Vmfunc => vmfunc,
        Mnemonic::Vmclear => |cpu, record| pointer(cpu, record, VmxInstruction::Vmclear, VmxRequest::Clear),
        Mnemonic::Vmptrld => |cpu, record| pointer(cpu, record, VmxInstruction::Vmptrld, VmxRequest::Load),
        Mnemonic::Vmxon => |cpu, record| pointer(cpu, record, VmxInstruction::Vmxon, VmxRequest::On),
        Mnemonic::Vmptrst => vmptrst,
        Mnemonic::Vmlaunch => |cpu, record| plain(cpu, record, VmxInstruction::Vmlaunch, VmxRequest::Launch),
        Mnemonic::Vmresume => |cpu, record| plain(cpu, record, VmxInstruction::Vmresume, VmxRequest::Resume),
        Mnemonic::Vmxoff => |cpu, record| plain(cpu, record, VmxInstruction::Vmxoff, VmxRequest::Off),
        _ => return None,
    })
}

/// The width of a register operand: 64 bits in 64-bit mode, else 32.
fn register(state: &State, slot: Slot) -> u64 {
    match state.code_size() {
        CodeSize::Bits64 => state.slot(slot),
        CodeSize::Bits16 | CodeSize::Bits32 => state.get::<u32>(slot).into(),
    }
}

/// Sets the flags as the outcome says; for a value that has arrived as for success.
fn conclude<C: Cpu>(cpu: &mut C, outcome: VmxOutcome) {
    cpu.state_mut().flags.set_status(match outcome {
        VmxOutcome::Succeed | VmxOutcome::Value(_) => Rflags::empty(),
        VmxOutcome::FailInvalid => Rflags::CF,
        VmxOutcome::FailValid => Rflags::ZF,
    });
}

/// What the mode forbids, what comes before the operands, the operands themselves, and the request.
fn carry_out<C: Cpu>(
    cpu: &mut C,
    instruction: VmxInstruction,
    register: u64,
    operands: impl FnOnce(&mut C) -> Result<VmxRequest, Stopped>,
) -> Result<VmxOutcome, Stopped> {
    guard(cpu, Guarded::Vmx)?;
    if let Some(failed) = cpu.vmx_begin(instruction, register)? {
        return Ok(failed);
    }
    let request = operands(cpu)?;
    cpu.vmx(&request)
}

/// An instruction without operands.
fn plain<C: Cpu>(
    cpu: &mut C,
    record: &Record<C>,
    instruction: VmxInstruction,
    request: VmxRequest,
) -> Result<(), Stopped> {
    let outcome = carry_out(cpu, instruction, 0, |_| Ok(request))?;
    conclude(cpu, outcome);
    done(cpu, record)
}

/// VMCALL exits from VMX non-root operation in every mode, so the machine is asked first. It is #UD outside VMX operation
/// alone, where whoever stands in for a monitor may answer.
fn vmcall<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let begun = match cpu.vmx_begin(VmxInstruction::Vmcall, 0) {
        Err(stop) if *stop == Stop::INVALID_OPCODE => {
            cpu.hypercall()?;
            return done(cpu, record);
        }
        begun => begun?,
    };
    let outcome = match begun {
        Some(failed) => failed,
        None => cpu.vmx(&VmxRequest::Call)?,
    };
    conclude(cpu, outcome);
    done(cpu, record)
}

/// VMFUNC works at every privilege level and changes no flags.
fn vmfunc<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    cpu.vmx_begin(VmxInstruction::Vmfunc, 0)?;
    let function = cpu.state().get(Slot::Rax);
    cpu.vmx(&VmxRequest::Function(function))?;
    done(cpu, record)
}

/// An instruction whose operand is a physical address in memory.
fn pointer<C: Cpu>(
    cpu: &mut C,
    record: &Record<C>,
    instruction: VmxInstruction,
    request: fn(u64) -> VmxRequest,
) -> Result<(), Stopped> {
    let outcome = carry_out(cpu, instruction, 0, |cpu| Ok(request(Memory::load(cpu, record)?)))?;
    conclude(cpu, outcome);
    done(cpu, record)
}

fn vmptrst<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let outcome = carry_out(cpu, VmxInstruction::Vmptrst, 0, |_| Ok(VmxRequest::Store))?;
    if let VmxOutcome::Value(pointer) = outcome {
        Memory::store(cpu, record, pointer)?;
    }
    conclude(cpu, outcome);
    Ok(())
}

/// The encoding is in the second operand, which is always a register. Faults of the destination come last.
fn vmread<C: Cpu, D: Destination, W: crate::width::Width>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let encoding = register(cpu.state(), record.source);
    let outcome = carry_out(cpu, VmxInstruction::Vmread, encoding, |_| Ok(VmxRequest::Read(encoding)))?;
    if let VmxOutcome::Value(value) = outcome {
        D::store(cpu, record, W::truncate(value))?;
    }
    conclude(cpu, outcome);
    Ok(())
}

/// The encoding is in the first operand, which is always a register. Faults of the source come before the field is
/// looked for.
fn vmwrite<C: Cpu, S: Source, W: crate::width::Width>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let encoding = register(cpu.state(), record.destination);
    let outcome = carry_out(cpu, VmxInstruction::Vmwrite, encoding, |cpu| {
        let value = S::load::<C, W>(cpu, record)?.zero_extend();
        Ok(VmxRequest::Write { encoding, value })
    })?;
    conclude(cpu, outcome);
    Ok(())
}

/// INVEPT and INVVPID: the type is in the register; the descriptor is read only when the type exists.
fn invalidate<C: Cpu>(
    cpu: &mut C,
    record: &Record<C>,
    instruction: VmxInstruction,
    request: fn(u64, [u64; 2]) -> VmxRequest,
) -> Result<(), Stopped> {
    let kind = register(cpu.state(), record.destination);
    let outcome = carry_out(cpu, instruction, kind, |cpu| {
        let at = record.linear_address(cpu.state(), 16, AccessKind::Read)?;
        let bits: u128 = cpu.read(at)?;
        Ok(request(kind, [bits, bits >> 64].map(super::translation::low_half)))
    })?;
    conclude(cpu, outcome);
    done(cpu, record)
}
