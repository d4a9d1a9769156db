//! Exception flags gather in the host's MXCSR while a session is open.

use super::host::{self, Masked};
use super::mxcsr::Mxcsr;
use super::operations::Operation;
use super::{Body, Mode};
use crate::cpu::{Cpu, Stopped};
use crate::record::Record;
use crate::state::State;

/// Where the exception flags of an operation under the default control go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Collection {
    /// Each operation adds its flags to the guest's MXCSR.
    EachOperation,
    /// They stay in the host's MXCSR until somebody looks.
    Host,
}

/// The time in which the host's MXCSR gathers the guest's exception flags.
///
/// Dropping it without [`close`](Self::close) gives the host its MXCSR back and loses flags.
#[must_use = "flags are lost unless the session is closed"]
pub(crate) struct Session {
    /// The host's MXCSR, when the session is not empty.
    before: Option<u32>,
}

impl Session {
    /// Opens a session unless the machine is observed: an observer may compute with floating point itself.
    pub(crate) fn open<C: Cpu>(cpu: &mut C) -> Self {
        if C::OBSERVED {
            return Self { before: None };
        }
        let before = host::mxcsr();
        host::set_mxcsr(Masked::DEFAULT);
        cpu.state_mut().float_flags = Collection::Host;
        Self { before: Some(before) }
    }

    /// Moves the flags to the guest's MXCSR; the host gets its own back.
    pub(crate) fn close(self, state: &mut State) {
        state.collect_float_flags();
        state.float_flags = Collection::EachOperation;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            host::restore_mxcsr(before);
        }
    }
}

/// Under the default control of the host, where flags gather.
struct Gathering;

impl Mode for Gathering {
    #[inline(always)]
    fn apply<O: Operation>(_: &mut State, a: u128, b: u128, immediate: u8) -> Result<u128, Stopped> {
        Ok(O::native(a, b, immediate))
    }
}

/// Under the guest's control, with all flags in the guest's MXCSR afterwards.
struct Exact;

impl Mode for Exact {
    fn apply<O: Operation>(state: &mut State, a: u128, b: u128, immediate: u8) -> Result<u128, Stopped> {
        host::exact::<O>(&mut state.mxcsr, a, b, immediate)
    }
}

/// The handler of an instruction. The modes share no code, so that vectors stay in vector registers.
pub(crate) fn handle<C: Cpu, B: Body>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let state = cpu.state();
    let default = state.mxcsr & Mxcsr::CONTROL.bits() == Mxcsr::DEFAULT.bits();
    if state.float_flags == Collection::Host && default {
        B::run::<C, Gathering>(cpu, record)
    } else {
        handle_exactly::<C, B>(cpu, record)
    }
}

#[cold]
#[inline(never)]
fn handle_exactly<C: Cpu, B: Body>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    B::run::<C, Exact>(cpu, record)
}

impl State {
    /// Moves exception flags from the host's MXCSR to [`State::mxcsr`], which is exact afterwards.
    pub(crate) fn collect_float_flags(&mut self) {
        if self.float_flags == Collection::Host {
            self.mxcsr |= host::flags();
            host::set_mxcsr(Masked::DEFAULT);
        }
    }
}
