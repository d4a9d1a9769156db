//! A machine for the system level: memory from address 0 without paging, in which any access can be made to fail.
#![allow(clippy::unwrap_used, clippy::field_reassign_with_default, dead_code, reason = "tests")]

use isa::address::{HostPhysicalAddress, LinearAddress};
use isa::control::{Cr0, Cr4, Efer};
use isa::cpu::{Cpu, Level, Stop, Stopped};
use isa::engine::CodeCache;
use isa::event::Exception;
use isa::segment::{AccessRights, DescriptorTable, Segment, SegmentRegister};
use isa::state::{Slot, State};
use isa::system::System;
use isa::width::Scalar;

/// Where things are in memory.
pub(crate) const GDT: u64 = 0x1000;
pub(crate) const LDT: u64 = 0x1800;
pub(crate) const IDT: u64 = 0x2000;
pub(crate) const TSS: u64 = 0x3000;
pub(crate) const OTHER_TSS: u64 = 0x3400;
pub(crate) const CODE: u64 = 0x8000;
/// Tops of stacks: of the program, and of the levels and interrupts that switch.
pub(crate) const STACK: u64 = 0x9100;
pub(crate) const INNER_STACK: u64 = 0xa100;
pub(crate) const INTERRUPT_STACK: u64 = 0xb108;
const SIZE: usize = 0x2_0000;

#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) state: State,
    pub(crate) memory: Vec<u8>,
    pub(crate) accesses: usize,
    pub(crate) fail_at: Option<usize>,
}

/// What an instruction or a delivery came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Completes,
    Faults(&'static str, u16),
}
pub(crate) use Outcome::{Completes, Faults};

pub(crate) fn outcome_of(stop: Option<&Stop>) -> Outcome {
    match stop {
        None | Some(Stop::Done) => Completes,
        Some(Stop::Exception(e) | Stop::AfterTaskSwitch(e)) => Faults(name(e), e.error_code.unwrap_or(0)),
        Some(other) => panic!("{other:?}"),
    }
}

fn name(exception: &Exception) -> &'static str {
    match exception.vector as u8 {
        1 => "#DB",
        6 => "#UD",
        10 => "#TS",
        11 => "#NP",
        12 => "#SS",
        13 => "#GP",
        14 => "#PF",
        _ => "other",
    }
}

/// A segment or system descriptor of 8 bytes: `access` is its byte 5, `flags` its bits 55:52.
pub(crate) fn descriptor(base: u64, limit: u64, access: u64, flags: u64) -> u64 {
    limit & 0xffff
        | (base & 0xff_ffff) << 16
        | access << 40
        | (limit >> 16 & 0xf) << 48
        | flags << 52
        | (base >> 24 & 0xff) << 56
}

/// A gate: the lower 8 bytes.
pub(crate) fn gate(selector: u64, offset: u64, access: u64, count: u64) -> u64 {
    offset & 0xffff | selector << 16 | count << 32 | access << 40 | (offset >> 16 & 0xffff) << 48
}

impl Machine {
    fn new() -> Self {
        let mut state = State::default();
        state.system = System::reset();
        Self { state, memory: vec![0; SIZE], accesses: 0, fail_at: None }
    }

    fn flat(selector: u16, access: u32, flags: u32) -> Segment {
        let rights = AccessRights::from_bits_retain(access | flags << 12);
        Segment { selector, base: 0, limit: u32::MAX, rights }
    }

    /// After reset, with CS:IP at the code and a stack.
    pub(crate) fn real() -> Self {
        let mut machine = Self::new();
        let code = u16::try_from(CODE >> 4).unwrap();
        for register in SegmentRegister::ALL {
            machine.state.set_segment(register, Segment::real(code));
        }
        machine.state.set_segment(SegmentRegister::Ss, Segment::real(0));
        machine.state.set_slot(Slot::Rsp, STACK);
        machine.state.system.idtr = DescriptorTable { base: 0, limit: 0x3ff };
        machine
    }

    /// 32-bit protected mode at a privilege level, with flat segments: code of level l is at selector 8 + 16 * l in the
    /// GDT and data behind it; a 32-bit task-state segment.
    pub(crate) fn protected(cpl: u8) -> Self {
        let mut machine = Self::new();
        machine.set_tables();
        for level in 0..4 {
            machine.set_descriptor(1 + 2 * level, descriptor(0, 0xf_ffff, 0x9b | level << 5, 0xc));
            machine.set_descriptor(2 + 2 * level, descriptor(0, 0xf_ffff, 0x93 | level << 5, 0xc));
        }
        let (level, selector) = (u32::from(cpl), u16::from(cpl) << 4 | u16::from(cpl));
        let data = Self::flat(selector + 16, 0x93 | level << 5, 0xc);
        for register in SegmentRegister::ALL {
            machine.state.set_segment(register, data);
        }
        machine.state.set_segment(SegmentRegister::Cs, Self::flat(selector + 8, 0x9b | level << 5, 0xc));
        machine.state.system.cr0 = Cr0::PE | Cr0::ET;
        machine.state.system.cpl = cpl;
        machine.state.set_rip(CODE);
        machine.state.set_slot(Slot::Rsp, STACK);
        let rights = AccessRights::from_bits_retain(0x8b);
        machine.state.system.tr = Segment { selector: 0x60, base: TSS, limit: 0x67, rights };
        machine.set_descriptor(12, descriptor(TSS, 0x67, 0x8b, 0));
        for level in 0..3 {
            machine.put(TSS + 4 + 8 * level, u32::try_from(INNER_STACK).unwrap());
            machine.put(TSS + 8 + 8 * level, u32::try_from(16 + 16 * level + level).unwrap());
        }
        machine
    }

    /// 64-bit mode at a privilege level, with the selectors of [`Self::protected`].
    pub(crate) fn long(cpl: u8) -> Self {
        let mut machine = Self::protected(cpl);
        for level in 0..4 {
            machine.set_descriptor(1 + 2 * level, descriptor(0, 0xf_ffff, 0x9b | level << 5, 0xa));
        }
        let mut code = machine.state.segment(SegmentRegister::Cs);
        code.rights = (code.rights - AccessRights::DEFAULT_BIG) | AccessRights::LONG;
        machine.state.set_segment(SegmentRegister::Cs, code);
        machine.state.system.cr0 |= Cr0::PG;
        machine.state.system.cr4 |= Cr4::PAE;
        machine.state.system.efer |= Efer::LME | Efer::LMA;
        for level in 0..3 {
            machine.put(TSS + 4 + 8 * level, INNER_STACK);
        }
        machine.put(TSS + 0x24, INTERRUPT_STACK);
        machine
    }

    /// Virtual-8086 mode under the tables of [`Self::protected`].
    pub(crate) fn virtual_8086(iopl: u64) -> Self {
        let mut machine = Self::protected(3);
        machine.state.flags.set(0x2_0202 | iopl << 12);
        let code = u16::try_from(CODE >> 4).unwrap();
        for (number, register) in (0..).zip(SegmentRegister::ALL) {
            let mut segment = Segment::real(code + number);
            segment.rights |= AccessRights::DPL;
            machine.state.set_segment(register, segment);
        }
        let mut segment = Segment::real(code);
        segment.rights |= AccessRights::DPL;
        machine.state.set_segment(SegmentRegister::Cs, segment);
        machine.state.set_segment(SegmentRegister::Ss, Segment { selector: 0, base: 0, ..segment });
        machine.state.set_rip(0);
        machine
    }

    fn set_tables(&mut self) {
        self.state.system.gdtr = DescriptorTable { base: GDT, limit: 0x7ff };
        self.state.system.idtr = DescriptorTable { base: IDT, limit: 0xfff };
    }

    pub(crate) fn set_descriptor(&mut self, index: u64, value: u64) {
        self.put(GDT + 8 * index, value);
    }

    pub(crate) fn put<S: Scalar>(&mut self, at: u64, value: S) {
        let at = usize::try_from(at).unwrap();
        value.to_le_slice(&mut self.memory[at..at + S::BYTES]);
    }

    pub(crate) fn get<S: Scalar>(&self, at: u64) -> S {
        let at = usize::try_from(at).unwrap();
        S::from_le_slice(&self.memory[at..at + S::BYTES])
    }

    pub(crate) fn words<S: Scalar>(&self, at: u64, count: u64) -> Vec<u128> {
        (0..count).map(|i| self.get::<S>(at + i * S::BYTES as u64).to_u128()).collect()
    }

    /// Executes one instruction, whose bytes are put at the code.
    pub(crate) fn execute(&mut self, code: &[u8]) -> Outcome {
        let at = usize::try_from(CODE).unwrap();
        self.memory[at..at + code.len()].copy_from_slice(code);
        outcome_of(CodeCache::new().run(self, 1).stop.as_ref())
    }

    /// All registers, to compare.
    pub(crate) fn registers(&self) -> String {
        let mut state = self.state.clone();
        state.remaining = 0;
        format!("{state:?}")
    }

    /// Clears the accessed bits of the flat segments.
    fn forget_accesses(&mut self) {
        for index in 1..9 {
            let at = GDT + 8 * index + 5;
            self.put(at, self.get::<u8>(at) & !1);
        }
    }

    fn at(&mut self, at: LinearAddress, bytes: usize) -> Result<usize, Stopped> {
        self.accesses += 1;
        let start = usize::try_from(at.0).unwrap_or(SIZE);
        if self.fail_at == Some(self.accesses - 1) || start.saturating_add(bytes) > SIZE {
            return Err(Stop::Exception(Exception::page_fault(at, 0)).into());
        }
        Ok(start)
    }
}

/// Makes each access of `act` fail in turn, those that set accessed bits as well: every time it stops with that page fault and leaves all registers alone.
pub(crate) fn is_atomic(machine: &Machine, act: impl Fn(&mut Machine) -> Outcome) {
    let mut machine = machine.clone();
    machine.forget_accesses();
    let mut whole = machine.clone();
    assert_eq!(act(&mut whole), Completes);
    assert!(whole.accesses > 0);
    for failing in 0..whole.accesses {
        let mut machine = machine.clone();
        machine.fail_at = Some(failing);
        let before = machine.registers();
        assert_eq!(act(&mut machine), Faults("#PF", 0), "access {failing}");
        assert_eq!(machine.registers(), before, "access {failing}");
    }
}

impl Cpu for Machine {
    const OBSERVED: bool = false;
    const LEVEL: Level = Level::System;

    fn state(&self) -> &State {
        &self.state
    }
    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }
    fn read<S: Scalar>(&mut self, at: LinearAddress) -> Result<S, Stopped> {
        let start = self.at(at, S::BYTES)?;
        Ok(S::from_le_slice(&self.memory[start..start + S::BYTES]))
    }
    fn write<S: Scalar>(&mut self, at: LinearAddress, value: S) -> Result<(), Stopped> {
        let start = self.at(at, S::BYTES)?;
        value.to_le_slice(&mut self.memory[start..start + S::BYTES]);
        Ok(())
    }
    fn modify<S: Scalar>(
        &mut self,
        at: LinearAddress,
        compute: impl FnOnce(&mut State, S) -> S,
    ) -> Result<(), Stopped> {
        let old = self.read(at)?;
        let new = compute(&mut self.state, old);
        self.write(at, new)
    }
    fn translate_fetch(&mut self, at: LinearAddress) -> Result<HostPhysicalAddress, Stopped> {
        Ok(HostPhysicalAddress(at.0))
    }
    fn code_bytes(&mut self, at: HostPhysicalAddress, into: &mut [u8]) {
        let at = usize::try_from(at.0).unwrap();
        into.copy_from_slice(&self.memory[at..at + into.len()]);
    }
    fn fetch_epoch(&self) -> u64 {
        0
    }
    fn code_cached(&mut self, _: HostPhysicalAddress) {}
    fn code_dropped(&mut self, _: HostPhysicalAddress) {}
    fn cpuid(&mut self, _: u32, _: u32) -> Result<[u32; 4], Stopped> {
        Ok([0; 4])
    }
    fn time_stamp_counter(&mut self) -> Result<u64, Stopped> {
        Ok(0)
    }
    fn time_stamp_auxiliary(&mut self) -> Result<u32, Stopped> {
        Ok(0)
    }
    fn random(&mut self) -> Result<u64, Stopped> {
        Ok(0)
    }
}
