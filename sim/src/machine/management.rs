//! System-management mode on a processor of the machine (SDM Vol. 3C, chapter 34): what an SMI does, and what RSM brings back
//! beside the saved state.

use super::logical::{Core, Logical};
use isa::address::HostPhysicalAddress;
use isa::cpu::Cpu as _;
use isa::engine::CodeCache;
use isa::system::{Activity, Interruptibility, smm};
use mmu::ram::AccessError;
use vmx::operation::Mode;

impl Logical {
    /// SMI: saves the state and begins the handler. Where there is no RAM nothing is saved.
    pub(super) fn manage_system(&mut self, code: &mut CodeCache<Core>) {
        self.core.outside.take(|signals| signals.smi = false);
        let system = &mut self.core.state.system;
        if self.wait.is_some() {
            // An SMI ends the wait of MWAIT for good.
            system.activity = Activity::Active;
        }
        let at = HostPhysicalAddress(u64::from(system.smbase) + smm::IMAGE);
        let image = smm::image(&self.core.state);
        while let Err(AccessError::CodePage { page }) = self.core.memory.ram().copy_in(at, &image) {
            code.drop_page(page);
            self.core.code_dropped(page);
        }
        self.suspend_vmx();
        self.core.enter_system_management();
    }

    /// An SMI under the default treatment leaves VMX operation until RSM (34.14.1).
    fn suspend_vmx(&mut self) {
        let Some(vmx) = &mut self.core.outside.vmx else { return };
        let view = core::mem::take(&mut self.core.state.system.view);
        self.guest.suspended = Some((vmx.mode(), view));
        vmx.set_mode(Mode::Outside);
    }

    /// After RSM VMX operation goes on (34.14.2).
    pub(super) fn resume_vmx(&mut self) {
        let is_inside = self.core.state.system.interruptibility.contains(Interruptibility::SMI);
        let suspended = if is_inside { None } else { self.guest.suspended.take() };
        if let (Some(vmx), Some((mode, view))) = (&mut self.core.outside.vmx, suspended) {
            vmx.set_mode(mode);
            self.core.state.system.view = view;
        }
    }
}
