//! What an operation does to the registers.

use super::{
    Entry, Exit, Operation, Paging, Performed, Refusal, Registers, Smm, VmxOperation, invalidations, pdptes,
    refusal,
};
use crate::ram::Ram;

/// CR0 after power-up, RESET and INIT, as far as INIT does not keep CD and NW (SDM table 12-1).
const CR0_RESET: u64 = 0x6000_0010;

impl Registers {
    /// Carries an operation out: changes the registers and says what hardware removes.
    ///
    /// Memory is read where PDPTE registers are loaded, and written there only for accessed flags of EPT. An
    /// operation that the processor refuses changes and removes nothing, and says why in
    /// [`Performed::refusal`].
    pub fn perform(&mut self, ram: &Ram, operation: &Operation) -> Performed {
        let (before, operation) = (*self, *operation);
        match before.then(ram, &operation) {
            Ok(after) => {
                *self = after;
                let invalidations = invalidations::of(&operation, &before, &after);
                Performed { operation, before, after, invalidations, refusal: None }
            }
            Err(refusal) => {
                let (after, invalidations) = (before, invalidations::none());
                Performed { operation, before, after, invalidations, refusal: Some(refusal) }
            }
        }
    }

    /// The registers after an operation.
    fn then(&self, ram: &Ram, operation: &Operation) -> Result<Self, Refusal> {
        refusal::check(self, operation)?;
        match *operation {
            Operation::MovToCr0(_) | Operation::MovToCr4(_) => self.with_controls(ram, operation),
            Operation::MovToCr3(source) => self.with_cr3(ram, source & !(1 << 63)),
            Operation::TaskSwitch { cr3 } if cr3 == self.paging.cr3 => Ok(*self),
            Operation::TaskSwitch { cr3 } => self.with_cr3(ram, cr3),
            Operation::WrmsrEfer(efer) => Ok(self.with_efer(efer)),
            Operation::VmEntry(entry) => self.entered(ram, &entry),
            Operation::VmExit(Exit { paging, .. }) => self.exited(ram, paging, self.smm),
            Operation::EptpSwitch { eptp } => {
                let vmx = match self.vmx {
                    VmxOperation::NonRoot { vpid, .. } => VmxOperation::NonRoot { vpid, eptp: Some(eptp) },
                    other => other,
                };
                Ok(Self { vmx, ..*self })
            }
            Operation::Smi => Ok(self.interrupted_by_smi()),
            Operation::Rsm(paging) => self.resumed(ram, paging),
            Operation::SmmVmExit(paging) | Operation::SmmActivate(paging) => {
                self.exited(ram, paging, Smm::Monitor { executive: self.vmx })
            }
            Operation::SmmReturn(entry) => self.returned_from_smm(ram, &entry),
            Operation::Reset | Operation::Init => Ok(self.reset()),
            Operation::VmxOnOff => {
                let outside = self.vmx == VmxOperation::Outside;
                let vmx = if outside { VmxOperation::Root } else { VmxOperation::Outside };
                Ok(Self { vmx, ..*self })
            }
            _ => Ok(*self),
        }
    }

    /// MOV to CR0 or CR4 (SDM 5.4.1, 5.10.4.1); CR0.PG and IA32_EFER.LME make IA32_EFER.LMA.
    fn with_controls(&self, ram: &Ram, operation: &Operation) -> Result<Self, Refusal> {
        let mut after = *self;
        match *operation {
            Operation::MovToCr0(cr0) => after.paging.cr0 = cr0,
            Operation::MovToCr4(cr4) => after.paging.cr4 = cr4,
            _ => {}
        }
        after.paging.efer &= !Paging::LMA;
        if after.paging.is_ia32e() {
            after.paging.efer |= Paging::LMA;
        }
        if pdptes::loaded_by_change(&self.paging, &after.paging) { after.with_pdptes(ram) } else { Ok(after) }
    }

    fn with_cr3(&self, ram: &Ram, cr3: u64) -> Result<Self, Refusal> {
        Self { paging: Paging { cr3, ..self.paging }, ..*self }.with_pdptes(ram)
    }

    const fn with_efer(&self, efer: u64) -> Self {
        let lma = self.paging.efer & Paging::LMA;
        Self { paging: Paging { efer: efer & !Paging::LMA | lma, ..self.paging }, ..*self }
    }

    /// Loads the PDPTE registers from memory if PAE paging is in use.
    fn with_pdptes(self, ram: &Ram) -> Result<Self, Refusal> {
        let pdptes = if self.paging.is_pae() { pdptes::load(ram, &self)? } else { self.pdptes };
        Ok(Self { pdptes, ..self })
    }

    /// With EPT the guest's PDPTEs come from the VMCS, without it from memory (SDM 29.3.2.4).
    fn entered(&self, ram: &Ram, entry: &Entry) -> Result<Self, Refusal> {
        let Entry { vpid, eptp, paging, pdptes, .. } = *entry;
        let after = Self { paging, vmx: VmxOperation::NonRoot { vpid, eptp }, ..*self };
        match eptp {
            Some(_) if paging.is_pae() => Ok(Self { pdptes, ..after }),
            _ => after.with_pdptes(ram),
        }
    }

    /// A VM exit; under PAE paging it loads the PDPTEs of the host (SDM 30.5.4).
    fn exited(&self, ram: &Ram, paging: Paging, smm: Smm) -> Result<Self, Refusal> {
        Self { paging, vmx: VmxOperation::Root, smm, ..*self }.with_pdptes(ram)
    }

    /// SDM 34.3.1 and 34.14.1: paging is off, and the processor leaves VMX operation.
    const fn interrupted_by_smi(&self) -> Self {
        let Paging { cr0, cr3, .. } = self.paging;
        let paging = Paging { cr0: cr0 & !(Paging::PG | Paging::PE), cr3, cr4: 0, efer: 0 };
        let smm = Smm::Default { interrupted: self.vmx, pdptes: self.pdptes };
        Self { paging, vmx: VmxOperation::Outside, smm, ..*self }
    }

    /// SDM 34.14.2.
    fn resumed(&self, ram: &Ram, paging: Paging) -> Result<Self, Refusal> {
        let Smm::Default { interrupted: vmx, pdptes } = self.smm else { return Err(Refusal::Mode) };
        let after = Self { paging, vmx, smm: Smm::Outside, ..*self };
        if after.eptp().is_some() { Ok(Self { pdptes, ..after }) } else { after.with_pdptes(ram) }
    }

    /// SDM 34.15.4.
    fn returned_from_smm(&self, ram: &Ram, entry: &Entry) -> Result<Self, Refusal> {
        let Smm::Monitor { executive } = self.smm else { return Err(Refusal::Mode) };
        let outside = Self { smm: Smm::Outside, ..*self };
        match executive {
            VmxOperation::NonRoot { .. } => outside.entered(ram, entry),
            _ => Self { paging: entry.paging, vmx: VmxOperation::Root, ..outside }.with_pdptes(ram),
        }
    }

    const fn reset(&self) -> Self {
        let paging = Paging { cr0: CR0_RESET, cr3: 0, cr4: 0, efer: 0 };
        Self { physical_address_width: self.physical_address_width, ..Self::outside(paging) }
    }
}
