//! A processor with all of the system level, 64 KiB of memory at address 0 without paging, and a log of what it was asked.

use isa::address::{HostPhysicalAddress, LinearAddress};
use isa::control::{Cr0, Cr4, Efer};
use isa::cpu::{Cpu, Level, Stop, Stopped, TranslationChange};
use isa::engine::{CodeCache, Run};
use isa::event::Exception;
use isa::flags::Rflags;
use isa::segment::{AccessRights, Segment, SegmentRegister};
use isa::state::{Slot, State};
use isa::system::{Intercepted, VmxInstruction, VmxOutcome};
use isa::width::Scalar;

/// Where the code is.
pub(crate) const CODE: u64 = 0x1000;
/// Where RBX points.
pub(crate) const DATA: u64 = 0x2000;
/// The end of memory.
pub(crate) const END: u64 = 0x1_0000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Long,
    Compatibility,
    Protected,
    Real,
    Virtual8086,
}

impl Mode {
    pub(crate) const ALL: [Self; 5] =
        [Self::Long, Self::Compatibility, Self::Protected, Self::Real, Self::Virtual8086];

    /// The privilege levels that it has.
    pub(crate) fn levels(self) -> &'static [u8] {
        match self {
            Self::Real => &[0],
            Self::Virtual8086 => &[3],
            _ => &[0, 1, 2, 3],
        }
    }

    /// The r/m field for a memory operand at RBX, EBX or BX.
    pub(crate) fn memory(self) -> u8 {
        if matches!(self, Self::Real | Self::Virtual8086) { 7 } else { 3 }
    }
}

pub(crate) struct Machine {
    pub(crate) state: State,
    pub(crate) memory: Vec<u8>,
    pub(crate) changes: Vec<TranslationChange>,
    pub(crate) intercepted: Vec<Intercepted>,
    /// Instructions of VMX that have asked whether they may go on; all are told that they have succeeded.
    pub(crate) begun: Vec<VmxInstruction>,
    /// Whether interceptions exit.
    pub(crate) exits: bool,
    /// Accesses to ports: port, bytes, what was written.
    pub(crate) ports: Vec<(u16, u8, Option<u32>)>,
    /// MSRs that were asked for, and written values.
    pub(crate) msrs: Vec<(u32, Option<u64>)>,
    pub(crate) priority: u8,
}

/// What ports read as.
pub(crate) const PORT_VALUE: u32 = 0x8765_4321;
/// What the machine's MSRs read as.
pub(crate) const MSR_VALUE: u64 = 0x1122_3344_5566_7788;

impl Machine {
    pub(crate) fn new(mode: Mode, cpl: u8) -> Self {
        let mut state = State::default();
        let system = &mut state.system;
        system.cpl = cpl;
        system.cr4 = Cr4::PAE | Cr4::OSFXSR | Cr4::OSXMMEXCPT;
        if !matches!(mode, Mode::Long | Mode::Compatibility) {
            system.efer = Efer::empty();
            system.cr4 = Cr4::OSFXSR;
            system.cr0 = if mode == Mode::Real { Cr0::ET } else { Cr0::ET | Cr0::PE };
        }
        let dpl = AccessRights::from_bits_retain(u32::from(cpl) << 5);
        for register in SegmentRegister::ALL {
            let code =
                if register == SegmentRegister::Cs { AccessRights::CODE } else { AccessRights::empty() };
            let segment = match mode {
                Mode::Long if register == SegmentRegister::Cs => {
                    Segment::flat(8, dpl | code | AccessRights::LONG)
                }
                Mode::Real | Mode::Virtual8086 => {
                    let real = Segment::real(0);
                    Segment { rights: real.rights | dpl, ..real }
                }
                _ => Segment::flat(8, dpl | code | AccessRights::DEFAULT_BIG),
            };
            state.set_segment(register, segment);
        }
        let vm = if mode == Mode::Virtual8086 { Rflags::VM } else { Rflags::empty() };
        state.flags.set((vm | Rflags::RESERVED_1).bits());
        state.set_rip(CODE);
        for (number, slot) in [Slot::Rax, Slot::Rcx, Slot::Rdx, Slot::Rsi, Slot::Rdi].into_iter().enumerate()
        {
            state.set_slot(slot, 0x100 * number as u64);
        }
        state.set_slot(Slot::Rbx, DATA);
        state.set_slot(Slot::Rsp, 0x8000);
        Self {
            state,
            memory: vec![0; usize::try_from(END).unwrap()],
            changes: Vec::new(),
            intercepted: Vec::new(),
            begun: Vec::new(),
            exits: false,
            ports: Vec::new(),
            msrs: Vec::new(),
            priority: 5,
        }
    }

    /// One instruction.
    pub(crate) fn step(&mut self, code: &[u8]) -> Run {
        let at = usize::try_from(CODE).unwrap();
        self.memory[at..at + code.len()].copy_from_slice(code);
        self.state.set_rip(CODE);
        CodeCache::new().run(self, 1)
    }

    /// One instruction must complete.
    pub(crate) fn completes(&mut self, code: &[u8]) {
        let run = self.step(code);
        assert!(matches!(run.stop, None | Some(Stop::Done)), "{code:x?}: {run:?}");
        assert_eq!((run.executed, self.state.rip()), (1, CODE + code.len() as u64), "{code:x?}");
    }

    /// One instruction must be refused and change no register.
    pub(crate) fn refuses(&mut self, code: &[u8], stop: Stop) {
        self.state.set_rip(CODE);
        let before = format!("{:?}", (&self.state.registers(), &self.state.system));
        let run = self.step(code);
        assert_eq!((run.stop, run.executed), (Some(stop), 0), "{code:x?}");
        assert_eq!(format!("{:?}", (&self.state.registers(), &self.state.system)), before, "{code:x?}");
    }

    pub(crate) fn store(&mut self, at: u64, bytes: &[u8]) {
        let at = usize::try_from(at).unwrap();
        self.memory[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn locate(&self, at: LinearAddress, bytes: usize, code: u16) -> Result<usize, Stopped> {
        if at.0 >= END || at.0 + bytes as u64 > END {
            let missing = LinearAddress(at.0.max(END));
            return Err(Stop::Exception(Exception::page_fault(missing, code)).into());
        }
        Ok(usize::try_from(at.0).unwrap())
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
        let at = self.locate(at, S::BYTES, 0)?;
        Ok(S::from_le_slice(&self.memory[at..at + S::BYTES]))
    }
    fn write<S: Scalar>(&mut self, at: LinearAddress, value: S) -> Result<(), Stopped> {
        let at = self.locate(at, S::BYTES, 2)?;
        value.to_le_slice(&mut self.memory[at..at + S::BYTES]);
        Ok(())
    }
    fn modify<S: Scalar>(
        &mut self,
        at: LinearAddress,
        compute: impl FnOnce(&mut State, S) -> S,
    ) -> Result<(), Stopped> {
        let at = self.locate(at, S::BYTES, 2)?;
        let old = S::from_le_slice(&self.memory[at..at + S::BYTES]);
        compute(&mut self.state, old).to_le_slice(&mut self.memory[at..at + S::BYTES]);
        Ok(())
    }
    fn port_read(&mut self, port: u16, bytes: u8) -> Result<u32, Stopped> {
        self.ports.push((port, bytes, None));
        Ok(PORT_VALUE)
    }
    fn port_write(&mut self, port: u16, bytes: u8, value: u32) -> Result<(), Stopped> {
        self.ports.push((port, bytes, Some(value)));
        Ok(())
    }
    fn read_msr(&mut self, index: u32) -> Result<u64, Stopped> {
        self.msrs.push((index, None));
        Ok(MSR_VALUE)
    }
    fn write_msr(&mut self, index: u32, value: u64) -> Result<(), Stopped> {
        self.msrs.push((index, Some(value)));
        Ok(())
    }
    fn task_priority(&self) -> u8 {
        self.priority
    }
    fn set_task_priority(&mut self, priority: u8) {
        self.priority = priority;
    }
    fn change_translation(&mut self, change: &TranslationChange) -> Result<(), Stopped> {
        self.changes.push(*change);
        Ok(())
    }
    fn intercept(&mut self, intercepted: &Intercepted) -> Result<(), Stopped> {
        self.intercepted.push(*intercepted);
        if self.exits { Err(Stop::Machine.into()) } else { Ok(()) }
    }
    fn vmx_begin(&mut self, instruction: VmxInstruction, _: u64) -> Result<Option<VmxOutcome>, Stopped> {
        self.begun.push(instruction);
        if self.exits { Err(Stop::Machine.into()) } else { Ok(Some(VmxOutcome::Succeed)) }
    }
    fn translate_fetch(&mut self, at: LinearAddress) -> Result<HostPhysicalAddress, Stopped> {
        self.locate(at, 1, 0x10).map(|_| HostPhysicalAddress(at.0))
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
        Ok(0x1234_5678_9abc)
    }
    fn time_stamp_auxiliary(&mut self) -> Result<u32, Stopped> {
        Ok(0)
    }
    fn random(&mut self) -> Result<u64, Stopped> {
        Ok(4)
    }
}

/// A small generator of reproducible values (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    /// Few bits set or few clear, so that single rules decide.
    pub(crate) fn sparse(&mut self) -> u64 {
        let mut bits = 0;
        for _ in 0..self.below(4) {
            bits |= 1 << self.below(64);
        }
        bits
    }
}

/// How many random cases: more with `VMXSIM_CASES`.
pub(crate) fn cases(usual: usize) -> usize {
    std::env::var("VMXSIM_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}
