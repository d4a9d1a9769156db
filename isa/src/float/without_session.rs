//! The portable twin computes; nothing gathers outside the guest's MXCSR.

use super::operations::Operation;
use super::portable;
use crate::cpu::{Cpu, Stopped};
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

/// The result of an operation, with its exceptions.
///
/// # Errors
/// #XM; MXCSR has its flags.
pub(crate) fn apply<O: Operation>(
    state: &mut State,
    a: u128,
    b: u128,
    immediate: u8,
) -> Result<u128, Stopped> {
    portable::exact::<O>(&mut state.mxcsr, a, b, immediate)
}

impl State {
    /// [`State::mxcsr`] is always exact.
    pub(crate) fn collect_float_flags(&mut self) {
        let Collection::EachOperation = self.float_flags;
    }
}
