//! INVEPT and INVVPID: what their descriptors must be (SDM 33.3). What they remove is the business of whoever has the TLB.

use super::{Answer, Vmx};
use crate::error_number::InstructionError;
use isa::state::State;
use isa::system::is_canonical;

impl Vmx {
    /// Whether VM entry would accept an EPTP (29.2.1.1).
    #[must_use]
    pub fn accepts_eptp(&self, physical_address_width: u8, eptp: u64) -> bool {
        let capability = self.capabilities.ept_vpid();
        let flags = eptp & 1 << 6 == 0 || capability.accessed_and_dirty();
        let permitted = capability.permits_memory_type(eptp & 7) && capability.permits_walk(eptp >> 3 & 7);
        permitted && flags && eptp & 0xf80 == 0 && eptp >> physical_address_width == 0
    }

    pub(super) fn invept(&mut self, state: &State, kind: u64, [eptp, _]: [u64; 2]) -> Answer {
        if kind == 1 && !self.accepts_eptp(state.system.features.physical_address_width, eptp) {
            return self.failed(InstructionError::InvalidOperandToInveptInvvpid);
        }
        Answer::SUCCEED
    }

    pub(super) fn invvpid(&mut self, state: &State, kind: u64, [low, address]: [u64; 2]) -> Answer {
        let reserved = low >> 16 != 0;
        let no_vpid = kind != 2 && low & 0xffff == 0;
        let not_canonical = kind == 0 && !is_canonical(address, state.current_linear_address_width());
        if reserved || no_vpid || not_canonical {
            return self.failed(InstructionError::InvalidOperandToInveptInvvpid);
        }
        Answer::SUCCEED
    }
}
