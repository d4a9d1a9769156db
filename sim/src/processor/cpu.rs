//! The processor as the meaning of instructions sees it.

use super::translation::of_request;
use super::{Outside, Processor, SHORT_RUN};
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress};
use isa::cpu::{Cpu, Level, Stopped, TranslationChange};
use isa::record::Record;
use isa::state::State;
use isa::system::{Intercepted, TaskSwitch, VmxInstruction, VmxOutcome, VmxRequest};
use isa::width::Scalar;

impl<const OBSERVED: bool, O: Outside> Cpu for Processor<OBSERVED, O> {
    const OBSERVED: bool = OBSERVED;
    const LEVEL: Level = if O::SYSTEM { Level::System } else { Level::User };

    #[inline(always)]
    fn state(&self) -> &State {
        &self.state
    }

    #[inline(always)]
    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    #[inline(always)]
    fn read<S: Scalar>(&mut self, at: LinearAddress) -> Result<S, Stopped> {
        match self.memory.read(at) {
            Ok(value) => Ok(value),
            Err(fault) => self.read_elsewhere(at, fault),
        }
    }

    #[inline(always)]
    fn write<S: Scalar>(&mut self, at: LinearAddress, value: S) -> Result<(), Stopped> {
        match self.memory.write(at, value) {
            Ok(()) => Ok(()),
            Err(fault) => self.write_elsewhere(at, value, fault),
        }
    }

    #[inline(always)]
    fn modify<S: Scalar>(
        &mut self,
        at: LinearAddress,
        compute: impl FnOnce(&mut State, S) -> S,
    ) -> Result<(), Stopped> {
        let mut compute = Some(compute);
        let state = &mut self.state;
        match self.memory.modify(at, |old| match compute.take() {
            Some(compute) => compute(state, old),
            None => old,
        }) {
            Ok(_) => Ok(()),
            Err(fault) => match compute {
                Some(compute) => self.modify_elsewhere(at, compute, fault),
                None => Err(self.refused(fault)),
            },
        }
    }

    fn translate_fetch(&mut self, at: LinearAddress) -> Result<HostPhysicalAddress, Stopped> {
        let found = if OBSERVED {
            // The access is made and reported when the instruction executes.
            self.memory.probe(at, AccessKind::Execute)
        } else {
            self.memory.fetch(at).map(|window| window.host_physical)
        };
        found.map_err(|fault| self.refused(fault))
    }

    fn code_bytes(&mut self, at: HostPhysicalAddress, into: &mut [u8]) {
        // A fetch to this page has been translated, so it is in RAM.
        let copied = self.memory.ram().copy_out(at, into);
        debug_assert!(copied.is_ok(), "{copied:?}");
    }

    #[inline(always)]
    fn fetch_epoch(&self) -> u64 {
        self.memory.epoch()
    }

    fn code_cached(&mut self, page: HostPhysicalAddress) {
        self.memory.mark_code(page);
    }

    fn code_dropped(&mut self, page: HostPhysicalAddress) {
        self.memory.unmark_code(page);
        self.outside.page_written(page);
    }

    fn copy_run(&mut self, from: LinearAddress, to: LinearAddress, count: u64, element: u64) -> u64 {
        if count < SHORT_RUN { 0 } else { self.memory.copy_run(from, to, count, element) }
    }

    fn fill_run<S: Scalar>(&mut self, to: LinearAddress, count: u64, pattern: S) -> u64 {
        if count < SHORT_RUN { 0 } else { self.memory.fill_run(to, count, pattern) }
    }

    fn read_as<S: Scalar>(
        &mut self,
        privilege: isa::cpu::Privilege,
        at: LinearAddress,
    ) -> Result<S, Stopped> {
        self.with(privilege, |cpu| cpu.read(at))
    }

    fn write_as<S: Scalar>(
        &mut self,
        privilege: isa::cpu::Privilege,
        at: LinearAddress,
        value: S,
    ) -> Result<(), Stopped> {
        self.with(privilege, |cpu| cpu.write(at, value))
    }

    fn port_read(&mut self, port: u16, bytes: u8) -> Result<u32, Stopped> {
        self.outside.port_read(&mut self.state, port, bytes)
    }

    fn port_write(&mut self, port: u16, bytes: u8, value: u32) -> Result<(), Stopped> {
        self.outside.port_write(&mut self.state, port, bytes, value)
    }

    fn read_msr(&mut self, index: u32) -> Result<u64, Stopped> {
        self.outside.read_msr(&mut self.state, index)
    }

    fn write_msr(&mut self, index: u32, value: u64) -> Result<(), Stopped> {
        self.outside.write_msr(&mut self.state, index, value)
    }

    fn task_priority(&self) -> u8 {
        self.outside.task_priority(self.memory.ram())
    }

    fn set_task_priority(&mut self, priority: u8) {
        self.outside.set_task_priority(&mut self.state, self.memory.ram(), priority);
    }

    #[inline(always)]
    fn intercept(&mut self, intercepted: &Intercepted) -> Result<(), Stopped> {
        self.outside.intercept(&self.state, self.memory.ram(), intercepted)
    }

    fn task_switch(&mut self, switch: &TaskSwitch) -> Result<(), Stopped> {
        self.outside.task_switch(switch)
    }

    fn vmx_begin(
        &mut self,
        instruction: VmxInstruction,
        operand: u64,
    ) -> Result<Option<VmxOutcome>, Stopped> {
        self.outside.vmx_begin(&self.state, instruction, operand)
    }

    fn vmx(&mut self, request: &VmxRequest) -> Result<VmxOutcome, Stopped> {
        let outcome = self.outside.vmx(&mut self.state, self.memory.ram(), request)?;
        if outcome == VmxOutcome::Succeed
            && let Some(operation) = of_request(request)
        {
            let performed = self.perform(&operation);
            debug_assert!(performed.is_ok(), "{performed:?}");
        }
        Ok(outcome)
    }

    fn change_translation(&mut self, change: &TranslationChange) -> Result<(), Stopped> {
        self.change(change)
    }

    /// What is not RAM is not monitored.
    fn monitor(&mut self, at: LinearAddress) -> Result<(), Stopped> {
        let byte = self.memory.translate(at, AccessKind::Read, 1).map_err(|fault| self.refused(fault))?;
        let page = byte.page();
        let is_ram = self.memory.ram().read::<u8>(byte).is_ok();
        if is_ram {
            self.memory.mark_code(page);
        }
        self.outside.monitor(is_ram.then_some(page));
        self.state.system.monitored = is_ram.then_some(at);
        Ok(())
    }

    fn pause(&mut self) {
        self.outside.pause(&mut self.state);
    }

    fn resume(&mut self) -> Result<(), Stopped> {
        self.leave_system_management();
        Ok(())
    }

    fn hypercall(&mut self) -> Result<(), Stopped> {
        self.outside.hypercall(&mut self.state)
    }

    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> Result<[u32; 4], Stopped> {
        self.outside.cpuid(&self.state, leaf, subleaf)
    }

    fn time_stamp_counter(&mut self) -> Result<u64, Stopped> {
        self.outside.time_stamp_counter(&self.state)
    }

    fn time_stamp_auxiliary(&mut self) -> Result<u32, Stopped> {
        self.outside.time_stamp_auxiliary(&self.state)
    }

    fn random(&mut self) -> Result<u64, Stopped> {
        self.outside.random()
    }

    #[inline(always)]
    fn before(&mut self, record: &Record<Self>, rip: u64) -> Result<(), Stopped> {
        self.memory.clear_reports();
        self.fetch_lines(rip, record.length)
    }

    #[inline(always)]
    fn after(&mut self, _: &Record<Self>) -> Result<(), Stopped> {
        let Self { memory, outside, .. } = self;
        outside.executed(memory.ram(), memory.context(), memory.reports());
        Ok(())
    }
}
