//! Changes of what linear addresses are translated with.

use super::{Outside, Processor};
use isa::address::{HostPhysicalAddress, LinearAddress};
use isa::cpu::{Stop, Stopped, TranslationChange};
use isa::system::{Activity, VmxRequest, smm};
use mmu::operation::{Invept, Invpcid, Invvpid, Operation, Paging, Refusal};

impl<const OBSERVED: bool, O: Outside> Processor<OBSERVED, O> {
    /// Does what hardware does at a change of control registers or at an invalidation.
    pub(super) fn change(&mut self, change: &TranslationChange) -> Result<(), Stopped> {
        self.perform(&operation(change)).map_err(|_| Stop::GENERAL_PROTECTION.into())
    }

    /// After INIT, which nothing refuses outside VMX operation: nothing is translated, and nothing is cached.
    pub fn reset_translation(&mut self) {
        let outcome = self.perform(&Operation::Init);
        debug_assert!(outcome.is_ok(), "{outcome:?}");
        self.select_context();
    }

    /// An SMI whose state has been saved: begins the handler (SDM Vol. 3C, 34.5).
    pub fn enter_system_management(&mut self) {
        let outcome = self.perform(&Operation::Smi);
        debug_assert!(outcome.is_ok(), "{outcome:?}");
        smm::enter(&mut self.state);
        self.select_context();
    }

    /// RSM: the state that is saved at SMBASE, or the shutdown state when that is none.
    pub(super) fn leave_system_management(&mut self) {
        let mut image = [u8::MAX; smm::IMAGE_BYTES];
        let at = HostPhysicalAddress(u64::from(self.state.system.smbase) + smm::IMAGE);
        // A bus without memory reads as ones.
        let _nowhere = self.memory.ram().copy_out(at, &mut image);
        let mut state = self.state.clone();
        let restored = smm::restore(&mut state, &image).is_ok();
        let system = &state.system;
        let (cr0, cr4, efer) = (system.cr0.bits(), system.cr4.bits(), system.efer.bits());
        let paging = Paging { cr0, cr3: system.cr3, cr4, efer };
        if restored && self.perform(&Operation::Rsm(paging)).is_ok() {
            self.state = state;
        } else {
            self.state.system.activity = Activity::Shutdown;
        }
        self.select_context();
    }

    /// Carries an operation out on the registers of translation, and removes from the TLB what it removes.
    ///
    /// # Errors
    ///
    /// Why nothing was carried out.
    pub fn perform(&mut self, operation: &Operation) -> Result<(), Refusal> {
        let performed = self.translation.perform(self.memory.ram(), operation);
        for invalidation in performed.invalidations {
            self.memory.invalidate(invalidation);
        }
        performed.refusal.map_or(Ok(()), Err)
    }
}

/// What an instruction of VMX that has succeeded means for translation.
pub(super) fn of_request(request: &VmxRequest) -> Option<Operation> {
    Some(match *request {
        VmxRequest::On(_) | VmxRequest::Off => Operation::VmxOnOff,
        VmxRequest::Invept { kind: 1, descriptor: [eptp, _] } => Operation::Invept(Invept::Context { eptp }),
        VmxRequest::Invept { .. } => Operation::Invept(Invept::All),
        VmxRequest::Invvpid { kind, descriptor: [vpid, address] } => {
            let [low, high, ..] = vpid.to_le_bytes();
            let vpid = u16::from_le_bytes([low, high]);
            Operation::Invvpid(match kind {
                0 => Invvpid::Address { vpid, address: LinearAddress(address) },
                1 => Invvpid::Context { vpid },
                2 => Invvpid::All,
                _ => Invvpid::ContextButGlobals { vpid },
            })
        }
        _ => return None,
    })
}

/// The operation of the manual that a change is.
fn operation(change: &TranslationChange) -> Operation {
    match *change {
        TranslationChange::Cr0(value) => Operation::MovToCr0(value),
        TranslationChange::Cr3(value) => Operation::MovToCr3(value),
        TranslationChange::Cr4(value) => Operation::MovToCr4(value),
        TranslationChange::Efer(value) => Operation::WrmsrEfer(value),
        TranslationChange::TaskSwitch(cr3) => Operation::TaskSwitch { cr3 },
        TranslationChange::Page(address) => Operation::Invlpg(address),
        TranslationChange::Pcid { kind, pcid, address } => Operation::Invpcid(match kind {
            0 => Invpcid::Address { pcid, address },
            1 => Invpcid::Context { pcid },
            2 => Invpcid::AllWithGlobals,
            _ => Invpcid::AllButGlobals,
        }),
    }
}
