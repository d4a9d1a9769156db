//! What a processor core needs from its surroundings.

use isa::address::HostPhysicalAddress;
use isa::cpu::{Stop, Stopped};
use isa::state::State;
use isa::system::{Intercepted, TaskSwitch, VmxInstruction, VmxOutcome, VmxRequest};
use mmu::mmu::AccessReport;
use mmu::{Context, Ram};

/// What is outside of a processor: who watches it, and what answers where registers and RAM do not.
///
/// The defaults are those of a processor at user level that is alone with its memory.
pub trait Outside {
    /// Whether the processor runs a whole system. If not, what needs one is handed over as a [`Stop`].
    const SYSTEM: bool = false;

    /// One instruction of an observed processor has completed, with its fetches and data accesses in order, made in
    /// `context`.
    fn executed<'a>(
        &mut self,
        ram: &Ram,
        context: &Context,
        accesses: impl Iterator<Item = AccessReport<'a>>,
    ) {
        let _ = (ram, context, accesses);
    }

    /// A read of at most 8 bytes at an address without RAM; `None` when nobody answers such reads at all.
    fn device_read(&mut self, state: &mut State, at: HostPhysicalAddress, bytes: usize) -> Option<u64> {
        let _ = (state, at, bytes);
        None
    }

    /// A write of at most 8 bytes at an address without RAM.
    fn device_write(
        &mut self,
        state: &mut State,
        at: HostPhysicalAddress,
        bytes: usize,
        value: u64,
    ) -> Option<()> {
        let _ = (state, at, bytes, value);
        None
    }

    /// CPUID.
    ///
    /// # Errors
    ///
    /// The instruction is left to someone else.
    fn cpuid(&mut self, state: &State, leaf: u32, subleaf: u32) -> Result<[u32; 4], Stopped> {
        let _ = (state, leaf, subleaf);
        Err(Stop::Machine.into())
    }

    /// The time-stamp counter.
    ///
    /// # Errors
    ///
    /// The instruction is left to someone else.
    fn time_stamp_counter(&mut self, state: &State) -> Result<u64, Stopped> {
        let _ = state;
        Err(Stop::Machine.into())
    }

    /// IA32_TSC_AUX.
    ///
    /// # Errors
    ///
    /// The instruction is left to someone else.
    fn time_stamp_auxiliary(&mut self, state: &State) -> Result<u32, Stopped> {
        let _ = state;
        Err(Stop::Machine.into())
    }

    /// Random bits.
    ///
    /// # Errors
    ///
    /// The instruction is left to someone else.
    fn random(&mut self) -> Result<u64, Stopped> {
        Err(Stop::Machine.into())
    }

    /// Reads from an I/O port.
    ///
    /// # Errors
    ///
    /// #GP(0) without I/O.
    fn port_read(&mut self, state: &mut State, port: u16, bytes: u8) -> Result<u32, Stopped> {
        let _ = (state, port, bytes);
        Err(Stop::GENERAL_PROTECTION.into())
    }

    /// Writes to an I/O port.
    ///
    /// # Errors
    ///
    /// #GP(0) without I/O.
    fn port_write(&mut self, state: &mut State, port: u16, bytes: u8, value: u32) -> Result<(), Stopped> {
        let _ = (state, port, bytes, value);
        Err(Stop::GENERAL_PROTECTION.into())
    }

    /// Reads an MSR that is not part of the state.
    ///
    /// # Errors
    ///
    /// #GP(0) when there is none.
    fn read_msr(&mut self, state: &mut State, index: u32) -> Result<u64, Stopped> {
        let _ = (state, index);
        Err(Stop::GENERAL_PROTECTION.into())
    }

    /// Writes an MSR that is not part of the state.
    ///
    /// # Errors
    ///
    /// #GP(0) when there is none or it refuses the value.
    fn write_msr(&mut self, state: &mut State, index: u32, value: u64) -> Result<(), Stopped> {
        let _ = (state, index, value);
        Err(Stop::GENERAL_PROTECTION.into())
    }

    /// The processor monitors a page of RAM, or nothing any more. The page is marked as one with decoded code.
    fn monitor(&mut self, page: Option<HostPhysicalAddress>) {
        let _ = page;
    }

    /// A marked page is about to be written, or its decoded code has been dropped.
    fn page_written(&mut self, page: HostPhysicalAddress) {
        let _ = page;
    }

    /// The program waits for another processor.
    fn pause(&mut self, state: &mut State) {
        let _ = state;
    }

    /// VMCALL or VMMCALL outside VMX operation.
    ///
    /// # Errors
    ///
    /// #UD when nobody stands in for a monitor.
    fn hypercall(&mut self, state: &mut State) -> Result<(), Stopped> {
        let _ = state;
        Err(Stop::INVALID_OPCODE.into())
    }

    /// The task priority: 0 to 15.
    fn task_priority(&self, ram: &Ram) -> u8 {
        let _ = ram;
        0
    }

    /// Changes the task priority.
    fn set_task_priority(&mut self, state: &mut State, ram: &Ram, priority: u8) {
        let _ = (state, ram, priority);
    }

    /// An instruction that VMX non-root operation can intercept is about to have an effect.
    ///
    /// # Errors
    ///
    /// The VM exit.
    #[inline(always)]
    fn intercept(&mut self, state: &State, ram: &Ram, what: &Intercepted) -> Result<(), Stopped> {
        let _ = (state, ram, what);
        Ok(())
    }

    /// The processor is about to switch tasks.
    ///
    /// # Errors
    ///
    /// The VM exit.
    fn task_switch(&mut self, switch: &TaskSwitch) -> Result<(), Stopped> {
        let _ = switch;
        Ok(())
    }

    /// An instruction of VMX is about to read its operands.
    ///
    /// # Errors
    ///
    /// #UD, #GP(0) or the VM exit.
    fn vmx_begin(
        &mut self,
        state: &State,
        instruction: VmxInstruction,
        operand: u64,
    ) -> Result<Option<VmxOutcome>, Stopped> {
        let _ = (state, instruction, operand);
        Err(Stop::INVALID_OPCODE.into())
    }

    /// Carries out an instruction of VMX, except for what it means to translation.
    ///
    /// # Errors
    ///
    /// An exception, or a VM entry.
    fn vmx(&mut self, state: &mut State, ram: &Ram, request: &VmxRequest) -> Result<VmxOutcome, Stopped> {
        let _ = (state, ram, request);
        Err(Stop::INVALID_OPCODE.into())
    }
}

/// Nobody watches, and nothing answers.
impl Outside for () {}
