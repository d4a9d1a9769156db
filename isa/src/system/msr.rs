//! Model-specific registers (SDM Vol. 4): a [table] of what exists, who keeps it and what may be written to it, and the
//! two functions that RDMSR and WRMSR are.
//!
//! Indices that the table does not have are #GP(0). Values that change with time, belong to the local APIC or say what
//! VMX can do are the machine's: for them [`Cpu::read_msr`] and [`Cpu::write_msr`] are asked.

pub mod rule;
pub mod table;

pub use rule::Rule;
pub use table::{MSRS, find};

use super::{Offers, control_register};
use crate::cpu::{Cpu, Stop, Stopped};
use crate::state::{Slot, State};

/// What programs may do with an MSR.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// RDMSR and WRMSR.
    ReadWrite,
    /// RDMSR.
    ReadOnly,
    /// WRMSR: a command.
    WriteOnly,
}

/// Who keeps the value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Home {
    /// A field of the registers.
    Field(Field),
    /// [`Stored`].
    Stored,
    /// Nobody: it follows from the features, or is gone when it has been written.
    Computed,
    /// The machine.
    Machine,
}

/// An MSR that has a field of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "the names are the manual's")]
pub enum Field {
    Efer,
    Star,
    Lstar,
    Cstar,
    Fmask,
    FsBase,
    GsBase,
    KernelGsBase,
    TscAux,
    SysenterCs,
    SysenterEsp,
    SysenterEip,
}

impl Field {
    fn get(self, state: &State) -> u64 {
        let system = &state.system;
        match self {
            Self::Efer => system.efer.bits(),
            Self::Star => system.system_call.star,
            Self::Lstar => system.system_call.lstar,
            Self::Cstar => system.system_call.cstar,
            Self::Fmask => system.system_call.sfmask,
            Self::FsBase => state.slot(Slot::FsBase),
            Self::GsBase => state.slot(Slot::GsBase),
            Self::KernelGsBase => system.kernel_gs_base,
            Self::TscAux => system.tsc_aux,
            Self::SysenterCs => system.system_call.sysenter_cs,
            Self::SysenterEsp => system.system_call.sysenter_esp,
            Self::SysenterEip => system.system_call.sysenter_eip,
        }
    }

    fn set<C: Cpu>(self, cpu: &mut C, value: u64) -> Result<(), Stopped> {
        let state = cpu.state_mut();
        let system = &mut state.system;
        match self {
            Self::Efer => return control_register::write_efer(cpu, value),
            Self::FsBase => state.set_slot(Slot::FsBase, value),
            Self::GsBase => state.set_slot(Slot::GsBase, value),
            Self::Star => system.system_call.star = value,
            Self::Lstar => system.system_call.lstar = value,
            Self::Cstar => system.system_call.cstar = value,
            Self::Fmask => system.system_call.sfmask = value,
            Self::KernelGsBase => system.kernel_gs_base = value,
            Self::TscAux => system.tsc_aux = value,
            Self::SysenterCs => system.system_call.sysenter_cs = value & 0xffff_ffff,
            Self::SysenterEsp => system.system_call.sysenter_esp = value & system.features.sysenter_mask(),
            Self::SysenterEip => system.system_call.sysenter_eip = value & system.features.sysenter_mask(),
        }
        Ok(())
    }
}

/// The values of MSRs that have no field of their own, where they are not those of reset.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stored(Vec<(u32, u64)>);

impl Stored {
    /// The value of an MSR that was written.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<u64> {
        self.0.iter().find(|(stored, _)| *stored == index).map(|&(_, value)| value)
    }

    /// Replaces a value, without checks.
    pub fn set(&mut self, index: u32, value: u64) {
        match self.0.iter_mut().find(|(stored, _)| *stored == index) {
            Some((_, old)) => *old = value,
            None => self.0.push((index, value)),
        }
    }
}

/// MSRs of one kind: those with the indices `first`, `first + step`, ...
#[derive(Clone, Copy, Debug)]
pub struct Msr {
    /// The manual's name; of several the index follows.
    pub name: &'static str,
    /// The first index.
    pub first: u32,
    /// How many.
    pub count: Count,
    /// From one to the next.
    pub step: u32,
    /// What programs may do.
    pub access: Access,
    /// Who keeps it.
    pub home: Home,
    /// What may be written; of those of the machine it decides.
    pub rule: Rule,
    /// The value after reset, for those that are [`Home::Stored`].
    pub reset: u64,
    /// What the processor must offer for it to exist: one of these, or nothing.
    pub needs: Offers,
}

/// How many MSRs a row stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Count {
    /// So many.
    Fixed(u32),
    /// One for each pair of variable-range MTRRs.
    VariableRanges,
    /// One for each machine-check bank.
    Banks,
}

impl Msr {
    /// How many there are on this processor.
    #[must_use]
    pub fn count(&self, state: &State) -> u32 {
        let features = &state.system.features;
        match self.count {
            Count::Fixed(count) => count,
            Count::VariableRanges => features.variable_mtrrs.into(),
            Count::Banks => features.machine_check_banks.into(),
        }
    }

    /// Whether one of them has this index on this processor.
    #[must_use]
    pub fn has(&self, state: &State, index: u32) -> bool {
        let offered = self.needs.is_empty() || state.system.features.offers.intersects(self.needs);
        let distance = index.wrapping_sub(self.first);
        offered && distance.is_multiple_of(self.step) && distance / self.step < self.count(state)
    }

    /// The value that this processor keeps; `None` for those of the machine.
    fn value(&self, state: &State, index: u32) -> Option<u64> {
        match self.home {
            Home::Field(field) => Some(field.get(state)),
            Home::Stored => Some(state.system.msrs.get(index).unwrap_or(self.reset)),
            Home::Computed => Some(rule::computed(&state.system.features, index)),
            Home::Machine => None,
        }
    }
}

/// The value of an MSR that is not the machine's; `None` when there is none.
///
/// ```
/// use isa::state::State;
/// use isa::system::msr;
///
/// let state = State::default();
/// assert_eq!(msr::value(&state, 0x277), Some(0x0007_0406_0007_0406)); // IA32_PAT
/// assert_eq!(msr::value(&state, 0x4000_0000), None);
/// ```
#[must_use]
pub fn value(state: &State, index: u32) -> Option<u64> {
    find(state, index).and_then(|msr| msr.value(state, index))
}

/// RDMSR, after the check of privilege.
///
/// # Errors
///
/// #GP(0) when there is none or it cannot be read.
pub fn read<C: Cpu>(cpu: &mut C, index: u32) -> Result<u64, Stopped> {
    let msr = find(cpu.state(), index).filter(|msr| msr.access != Access::WriteOnly);
    let Some(msr) = msr else { return Err(Stop::GENERAL_PROTECTION.into()) };
    match msr.value(cpu.state(), index) {
        Some(value) => Ok(value),
        None => cpu.read_msr(index),
    }
}

/// WRMSR, after the check of privilege.
///
/// # Errors
///
/// #GP(0) when there is none, it cannot be written or the value is refused; nothing has changed.
pub fn write<C: Cpu>(cpu: &mut C, index: u32, value: u64) -> Result<(), Stopped> {
    let msr = find(cpu.state(), index).filter(|msr| msr.access != Access::ReadOnly);
    let Some(msr) = msr else { return Err(Stop::GENERAL_PROTECTION.into()) };
    let old = msr.value(cpu.state(), index).unwrap_or(0);
    let Some(value) = msr.rule.accept(&cpu.state().system.features, old, value) else {
        return Err(Stop::GENERAL_PROTECTION.into());
    };
    match msr.home {
        Home::Field(field) => field.set(cpu, value)?,
        Home::Stored => cpu.state_mut().system.msrs.set(index, value),
        Home::Computed => {}
        Home::Machine => cpu.write_msr(index, value)?,
    }
    Ok(())
}
