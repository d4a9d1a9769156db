//! The seam between the meaning of instructions and the machine that runs them.
//!
//! Handlers are written against [`Cpu`] and know nothing else. A machine of a few lines ([`crate::flat`]) is
//! enough to run any instruction, which is how they are tested.

use crate::address::{HostPhysicalAddress, LinearAddress};
use crate::control::Cr4;
use crate::event::{EventKind, Exception, Vector};
use crate::record::Record;
use crate::state::State;
use crate::system::{Intercepted, System, TaskSwitch, VmxInstruction, VmxOutcome, VmxRequest};
use crate::width::Scalar;

/// Why an instruction did not simply complete.
///
/// A handler returns it before it has changed anything, so that the instruction can be started again. (String
/// instructions with a repeat prefix are the exception the manual makes: their registers say how far they came.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// An exception is to be delivered; faults leave RIP at the instruction.
    Exception(Exception),
    /// SYSCALL.
    SystemCall,
    /// INT n, INT1, INT3 or INTO: a trap, RIP is to move past the instruction.
    SoftwareInterrupt {
        /// The vector.
        vector: u8,
        /// Which of these instructions it was.
        kind: EventKind,
    },
    /// HLT.
    Halt,
    /// MWAIT: RIP is to move past the instruction. The processor waits for a store to the line at
    /// [`System::monitored`](crate::system::System::monitored) or for what ends HLT; where nothing is monitored it does
    /// not wait.
    Wait,
    /// An instruction that the engine knows and does not model.
    Unmodelled,
    /// A store to a page that holds decoded code: the engine drops the code and starts the instruction again.
    CodeWrite(HostPhysicalAddress),
    /// The machine has recorded something of its own and wants control.
    Machine,
    /// The instruction has completed, RIP is at its successor, and the machine is to look at what it changed before it
    /// goes on.
    Done,
    /// The processor has switched tasks, and the exception is to be delivered in the new task, whose registers are all
    /// there, before its first instruction (SDM Vol. 3A, 9.3).
    AfterTaskSwitch(Exception),
}

impl Stop {
    /// An exception without error code.
    #[must_use]
    pub const fn exception(vector: Vector) -> Self {
        Self::Exception(Exception::plain(vector))
    }

    /// Whether the instruction has completed, so that RIP is where execution goes on.
    #[must_use]
    pub const fn has_completed(&self) -> bool {
        matches!(self, Self::Done | Self::AfterTaskSwitch(_))
    }

    /// The stop as the machine is to see it: of a reference to a non-canonical address #GP(0) is left, and #XM is #UD
    /// unless CR4.OSXMMEXCPT is 1 (SDM Vol. 3A, 2.5).
    #[must_use]
    pub fn settled(self, system: &System) -> Self {
        match self {
            Self::Exception(exception) if exception.is_non_canonical() => Self::GENERAL_PROTECTION,
            Self::Exception(Exception { vector: Vector::SimdFloatingPoint, .. })
                if !system.cr4.contains(Cr4::OSXMMEXCPT) =>
            {
                Self::INVALID_OPCODE
            }
            stop => stop,
        }
    }

    /// INT3.
    pub const BREAKPOINT: Self =
        Self::SoftwareInterrupt { vector: Vector::Breakpoint as u8, kind: EventKind::SoftwareException };
    /// INTO, when OF is 1.
    pub const OVERFLOW: Self =
        Self::SoftwareInterrupt { vector: Vector::Overflow as u8, kind: EventKind::SoftwareException };
    /// INT1.
    pub const DEBUG_TRAP: Self =
        Self::SoftwareInterrupt { vector: Vector::Debug as u8, kind: EventKind::PrivilegedSoftwareException };
    /// #GP(0).
    pub const GENERAL_PROTECTION: Self = Self::Exception(Exception::with_code(Vector::GeneralProtection, 0));
    /// #UD.
    pub const INVALID_OPCODE: Self = Self::exception(Vector::InvalidOpcode);
}

/// With whose rights the processor makes an access (SDM Vol. 3A, 5.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Privilege {
    /// An explicit access at privilege level 3.
    User,
    /// An explicit access at a lower privilege level: CR4.SMAP applies unless EFLAGS.AC is 1.
    Supervisor,
    /// An access to a descriptor table or a task-state segment, at whatever level: CR4.SMAP applies.
    Implicit,
}

impl Privilege {
    /// The rights of an explicit access at a privilege level.
    #[must_use]
    pub const fn of_level(cpl: u8) -> Self {
        if cpl == 3 { Self::User } else { Self::Supervisor }
    }
}

/// A change of what linear addresses are translated with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TranslationChange {
    /// MOV to CR0, LMSW, CLTS: the value that CR0 is to have.
    Cr0(u64),
    /// MOV to CR3, with bit 63 as it was in the source operand.
    Cr3(u64),
    /// MOV to CR4: the value that CR4 is to have.
    Cr4(u64),
    /// WRMSR to IA32_EFER: the value that it is to have.
    Efer(u64),
    /// A task switch that loads CR3.
    TaskSwitch(u64),
    /// INVLPG.
    Page(LinearAddress),
    /// INVPCID of a type with a descriptor.
    Pcid {
        /// The type, 0 to 3.
        kind: u8,
        /// The PCID.
        pcid: u16,
        /// The address.
        address: LinearAddress,
    },
}

/// What part of a processor a machine has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Level {
    /// Programs at privilege level 3: system calls and HLT stop, and the engine does not model system instructions.
    User,
    /// All of it.
    System,
}

/// How a [`Stop`] travels: boxed, so that the result of a handler is one word and success costs one comparison.
pub type Stopped = Box<Stop>;

/// What handlers ask of the machine.
///
/// The state is plain data and always there; memory and everything outside the processor core can refuse.
///
/// A machine that is not observed must not compute with floating point in these methods: while it runs, the host's MXCSR
/// gathers the guest's exception flags ([`crate::float`]).
pub trait Cpu: Sized {
    /// Whether [`before`](Self::before) and [`after`](Self::after) are called for each instruction. The plain
    /// machine carries nothing of it.
    const OBSERVED: bool;

    /// Whether system instructions execute as on a processor.
    const LEVEL: Level = Level::User;

    /// The registers.
    fn state(&self) -> &State;
    /// The registers, to change.
    fn state_mut(&mut self) -> &mut State;

    /// Loads a scalar.
    ///
    /// # Errors
    /// What the translation refuses; nothing has been changed.
    fn read<S: Scalar>(&mut self, at: LinearAddress) -> Result<S, Stopped>;

    /// Stores a scalar.
    ///
    /// # Errors
    /// What the translation refuses; nothing has been written.
    fn write<S: Scalar>(&mut self, at: LinearAddress, value: S) -> Result<(), Stopped>;

    /// Loads, computes and stores with one translation for writing; `compute` may change registers and flags.
    ///
    /// # Errors
    /// What the translation refuses; `compute` has not been called.
    fn modify<S: Scalar>(
        &mut self,
        at: LinearAddress,
        compute: impl FnOnce(&mut State, S) -> S,
    ) -> Result<(), Stopped>;

    /// Loads a scalar with other rights than those of the current privilege level.
    ///
    /// # Errors
    /// What the translation refuses.
    fn read_as<S: Scalar>(&mut self, privilege: Privilege, at: LinearAddress) -> Result<S, Stopped> {
        let _ = privilege;
        self.read(at)
    }

    /// Stores a scalar with other rights than those of the current privilege level.
    ///
    /// # Errors
    /// What the translation refuses; nothing has been written.
    fn write_as<S: Scalar>(
        &mut self,
        privilege: Privilege,
        at: LinearAddress,
        value: S,
    ) -> Result<(), Stopped> {
        let _ = privilege;
        self.write(at, value)
    }

    /// Reads from an I/O port; the permission has been checked.
    ///
    /// # Errors
    /// The machine may intercept it. Without I/O: #GP(0).
    fn port_read(&mut self, port: u16, bytes: u8) -> Result<u32, Stopped> {
        let _ = (port, bytes);
        Err(Stop::GENERAL_PROTECTION.into())
    }

    /// Writes to an I/O port; the permission has been checked.
    ///
    /// # Errors
    /// The machine may intercept it. Without I/O: #GP(0).
    fn port_write(&mut self, port: u16, bytes: u8, value: u32) -> Result<(), Stopped> {
        let _ = (port, bytes, value);
        Err(Stop::GENERAL_PROTECTION.into())
    }

    /// Reads an MSR that is not part of [`State`].
    ///
    /// # Errors
    /// #GP(0) when there is none; the machine may intercept it.
    fn read_msr(&mut self, index: u32) -> Result<u64, Stopped> {
        let _ = index;
        Err(Stop::GENERAL_PROTECTION.into())
    }

    /// Writes an MSR that is not part of [`State`].
    ///
    /// # Errors
    /// #GP(0) when there is none or the value is refused; the machine may intercept it.
    fn write_msr(&mut self, index: u32, value: u64) -> Result<(), Stopped> {
        let _ = (index, value);
        Err(Stop::GENERAL_PROTECTION.into())
    }

    /// The task priority, as CR8 shows it.
    fn task_priority(&self) -> u8 {
        0
    }

    /// Changes the task priority: 0 to 15.
    fn set_task_priority(&mut self, priority: u8) {
        let _ = priority;
    }

    /// What linear addresses are translated with is about to change: removes from the TLB what must go and, where that
    /// is due, loads the PDPTE registers. The registers in [`State`] still have their old values; when this succeeds
    /// they get the new ones.
    ///
    /// # Errors
    /// #GP(0) when the PDPTEs are refused.
    fn change_translation(&mut self, change: &TranslationChange) -> Result<(), Stopped> {
        let _ = change;
        Ok(())
    }

    /// An instruction that VMX non-root operation can intercept is about to have an effect. The faults that come first
    /// have been checked.
    ///
    /// # Errors
    /// The VM exit.
    #[inline(always)]
    fn intercept(&mut self, intercepted: &Intercepted) -> Result<(), Stopped> {
        let _ = intercepted;
        Ok(())
    }

    /// An instruction of VMX that the mode permits is about to read its operands. `operand` is its register operand: the
    /// encoding of VMREAD and VMWRITE, the type of INVEPT and INVVPID; else 0.
    ///
    /// Returns how it has failed when it fails before operands in memory are read.
    ///
    /// # Errors
    /// #UD outside VMX operation, the VM exit in VMX non-root operation, #GP(0) above privilege level 0.
    fn vmx_begin(
        &mut self,
        instruction: VmxInstruction,
        operand: u64,
    ) -> Result<Option<VmxOutcome>, Stopped> {
        let _ = (instruction, operand);
        Err(Stop::INVALID_OPCODE.into())
    }

    /// Carries out an instruction of VMX whose operands have been read.
    ///
    /// # Errors
    /// #GP(0) of VMXON; a VM entry, for which the machine takes over.
    fn vmx(&mut self, request: &VmxRequest) -> Result<VmxOutcome, Stopped> {
        let _ = request;
        Err(Stop::INVALID_OPCODE.into())
    }

    /// MONITOR of the line at an address that has been read.
    ///
    /// # Errors
    /// What the translation refuses.
    fn monitor(&mut self, at: LinearAddress) -> Result<(), Stopped> {
        self.state_mut().system.monitored = Some(at);
        Ok(())
    }

    /// PAUSE: the program waits for another processor.
    fn pause(&mut self) {}

    /// RSM in system-management mode: replaces the registers by what [`smm`](crate::system::smm) has saved.
    ///
    /// # Errors
    /// #UD: the machine has no such mode.
    fn resume(&mut self) -> Result<(), Stopped> {
        Err(Stop::INVALID_OPCODE.into())
    }

    /// VMCALL or VMMCALL outside VMX operation, answered in the registers by whoever stands in for a monitor.
    ///
    /// # Errors
    /// #UD: nobody does.
    fn hypercall(&mut self) -> Result<(), Stopped> {
        Err(Stop::INVALID_OPCODE.into())
    }

    /// The processor is about to switch tasks; the faults of the old task that come first have been checked.
    ///
    /// # Errors
    /// The VM exit, which VMX non-root operation makes of every one.
    fn task_switch(&mut self, switch: &TaskSwitch) -> Result<(), Stopped> {
        let _ = switch;
        Ok(())
    }

    /// Where the code at `at` is.
    ///
    /// # Errors
    /// What the translation for execution refuses.
    fn translate_fetch(&mut self, at: LinearAddress) -> Result<HostPhysicalAddress, Stopped>;

    /// Copies code bytes for decoding; they are within one page to which a fetch has just been translated.
    fn code_bytes(&mut self, at: HostPhysicalAddress, into: &mut [u8]);

    /// A number of the translations for execution: under one number, an address always has the same translation.
    fn fetch_epoch(&self) -> u64;

    /// The engine keeps decoded code of this page: a later store to it must return [`Stop::CodeWrite`].
    fn code_cached(&mut self, page: HostPhysicalAddress);

    /// The engine has dropped all decoded code of this page, so that it may be written again.
    fn code_dropped(&mut self, page: HostPhysicalAddress);

    /// Copies `count` bytes upward from `from` to `to` (REP MOVS with DF = 0) as far as that can be done at once,
    /// and returns how many were copied, a multiple of `element`; 0 asks for element by element, which also finds
    /// any fault. The result must be what copying byte by byte gives when the ranges overlap.
    fn copy_run(&mut self, from: LinearAddress, to: LinearAddress, count: u64, element: u64) -> u64 {
        let _ = (from, to, count, element);
        0
    }

    /// Fills `count` bytes upward from `to` by repeating `pattern`, as far as that can be done at once in whole
    /// elements, and returns how many bytes were written; 0 asks for element by element.
    fn fill_run<S: Scalar>(&mut self, to: LinearAddress, count: u64, pattern: S) -> u64 {
        let _ = (to, count, pattern);
        0
    }

    /// CPUID of a leaf and subleaf: EAX, EBX, ECX, EDX.
    ///
    /// # Errors
    /// The machine may intercept it.
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> Result<[u32; 4], Stopped>;

    /// The time-stamp counter.
    ///
    /// # Errors
    /// The machine may intercept it.
    fn time_stamp_counter(&mut self) -> Result<u64, Stopped>;

    /// IA32_TSC_AUX, as RDTSCP and RDPID return it.
    ///
    /// # Errors
    /// The machine may intercept it.
    fn time_stamp_auxiliary(&mut self) -> Result<u32, Stopped>;

    /// 64 random bits for RDRAND and RDSEED.
    ///
    /// # Errors
    /// The machine may intercept it.
    fn random(&mut self) -> Result<u64, Stopped>;

    /// An instruction is about to execute at `rip`.
    ///
    /// # Errors
    /// The observer may stop the run before the instruction.
    #[inline(always)]
    fn before(&mut self, record: &Record<Self>, rip: u64) -> Result<(), Stopped> {
        let _ = (record, rip);
        Ok(())
    }

    /// An instruction has completed; RIP already points to its successor.
    ///
    /// # Errors
    /// The observer may stop the run after the instruction.
    #[inline(always)]
    fn after(&mut self, record: &Record<Self>) -> Result<(), Stopped> {
        let _ = record;
        Ok(())
    }
}
