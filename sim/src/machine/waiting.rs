//! MONITOR and MWAIT on a processor of the machine: what it waits for, and when that is over.

use super::logical::Logical;
use isa::state::Slot;
use isa::system::Activity;

/// What ends the wait of MWAIT beside an interrupt that is taken (SDM Vol. 2B, MWAIT).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wait {
    /// A store to what is monitored.
    ForStore,
    /// That, or an interrupt that is masked: ECX\[0\] was 1.
    ForStoreOrMaskedInterrupt,
}

impl Logical {
    /// Whether MWAIT waits no longer, though no event has been delivered.
    pub(super) fn wait_is_over(&self) -> bool {
        let masked = || self.pending().external;
        self.wait.is_some_and(|wait| {
            !self.core.outside.monitors() || wait == Wait::ForStoreOrMaskedInterrupt && masked()
        })
    }

    /// Goes on after MWAIT when its wait is over.
    pub(super) fn end_wait(&mut self) {
        if self.wait_is_over() && self.activity() == Activity::Halted {
            self.core.state.system.activity = Activity::Active;
        }
        if self.wait.is_some() && self.activity() != Activity::Halted {
            self.wait = None;
            self.core.state.system.monitored = None;
            self.core.outside.stop_monitoring();
        }
    }

    /// MWAIT: without a monitored line it does not wait.
    pub(super) fn wait_for_store(&mut self) {
        let state = &mut self.core.state;
        if state.system.monitored.is_some() && self.core.outside.monitors() {
            let masked = state.get::<u32>(Slot::Rcx) & 1 != 0;
            self.wait = Some(if masked { Wait::ForStoreOrMaskedInterrupt } else { Wait::ForStore });
            state.system.activity = Activity::Halted;
        }
    }
}
