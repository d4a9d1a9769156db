//! Access rights, and the page faults of those that do not suffice.

use super::walker::Walker;
use crate::context::{Controls, PagingMode, Privilege};
use crate::fault::{Fault, PageFault, PageFaultCode, PageFaultReason};
use crate::reference::ReferenceLog;
use crate::translation::Rights;
use crate::walk::WalkCaches;
use isa::address::AccessKind;

impl<C: WalkCaches, L: ReferenceLog> Walker<'_, C, L> {
    /// SDM 5.6.1 and 5.6.2.
    #[inline]
    pub(super) fn check_rights(&self, rights: Rights) -> Result<(), Fault> {
        let refused_keys = self.context.refused_keys(self.kind);
        let key = rights.key().filter(|key| refused_keys >> key & 1 == 1);
        let refusal = self.refusal(rights).or(key.map(|key| PageFaultReason::ProtectionKey { key }));
        let Some(reason) = refusal else { return Ok(()) };
        let code = if key.is_some() { PageFaultCode::PROTECTION_KEY } else { PageFaultCode::empty() };
        Err(self.page_fault_with(reason, code))
    }

    /// Which rule of SDM 5.6.1, "Determination of Access Rights", refuses the access.
    #[inline]
    fn refusal(&self, rights: Rights) -> Option<PageFaultReason> {
        let user_address = rights.contains(Rights::USER);
        let user_access = self.context.privilege == Privilege::User;
        if user_access && !user_address {
            return Some(PageFaultReason::SupervisorAddress);
        }
        if !user_access && user_address && self.context.refuses_user_pages(self.kind) {
            return Some(match self.kind {
                AccessKind::Execute => PageFaultReason::Smep,
                AccessKind::Read | AccessKind::Write => PageFaultReason::Smap,
            });
        }
        let protected = user_access || self.context.controls.contains(Controls::WRITE_PROTECT);
        match self.kind {
            AccessKind::Write if protected && !rights.contains(Rights::WRITE) => {
                Some(PageFaultReason::NotWritable)
            }
            AccessKind::Execute if !rights.contains(Rights::EXECUTE) => {
                Some(PageFaultReason::ExecuteDisabled)
            }
            _ => None,
        }
    }

    #[cold]
    pub(super) fn page_fault(&self, reason: PageFaultReason) -> Fault {
        self.page_fault_with(reason, PageFaultCode::empty())
    }

    #[cold]
    fn page_fault_with(&self, reason: PageFaultReason, code: PageFaultCode) -> Fault {
        let mut code = reason.code() | code;
        // NXE means nothing to 32-bit paging (SDM 5.7).
        let controls = match self.context.mode {
            PagingMode::ThirtyTwoBit => self.context.controls - Controls::EXECUTE_DISABLE,
            _ => self.context.controls,
        };
        let tells_fetch = controls.intersects(Controls::EXECUTE_DISABLE | Controls::SMEP);
        code.set(PageFaultCode::WRITE, self.kind == AccessKind::Write);
        code.set(PageFaultCode::USER, self.context.privilege == Privilege::User);
        code.set(PageFaultCode::INSTRUCTION, self.kind == AccessKind::Execute && tells_fetch);
        Fault::Page(PageFault { address: self.address, code, reason })
    }
}
