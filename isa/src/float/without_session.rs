//! The portable twin computes; nothing gathers outside the guest's MXCSR.

use super::operations::Operation;
use super::portable;
use super::{Body, Mode};
use crate::cpu::{Cpu, Stopped};
use crate::record::Record;
use crate::state::State;

/// Where exception flags go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Collection {
    /// Each operation adds its flags to the guest's MXCSR.
    EachOperation,
}

/// Nothing: flags do not gather.
pub(crate) struct Session;

impl Session {
    /// There is nothing to open.
    pub(crate) fn open<C: Cpu>(_: &mut C) -> Self {
        Self
    }

    /// Nothing has gathered.
    pub(crate) fn close(self, _: &mut State) {}
}

/// In software, with all flags in the guest's MXCSR afterwards.
struct Exact;

impl Mode for Exact {
    fn apply<O: Operation>(state: &mut State, a: u128, b: u128, immediate: u8) -> Result<u128, Stopped> {
        portable::exact::<O>(&mut state.mxcsr, a, b, immediate)
    }
}

/// The handler of an instruction.
pub(crate) fn handle<C: Cpu, B: Body>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    B::run::<C, Exact>(cpu, record)
}

impl State {
    /// [`State::mxcsr`] is always exact.
    pub(crate) fn collect_float_flags(&mut self) {
        let Collection::EachOperation = self.float_flags;
    }
}
