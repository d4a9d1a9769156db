//! When a processor does not carry out an operation.

use super::{Entry, Invpcid, Invvpid, Operation, Paging, Registers, Smm, VmxOperation};
use crate::fault::Fault;
use isa::address::LinearAddress;

/// Why an operation did not happen.
///
/// Not looked at: privilege, CR0.PE, the fixed bits of VMX operation, reserved bits other than those named here, and
/// the checks of VM entry beyond the VPID. Controls that make an operation exit are for the caller to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// It does not exist in this part of VMX operation or SMM: it exits, is held back or is undefined.
    #[error("the operation is not possible in the present part of VMX operation and SMM")]
    Mode,
    /// A bit of the operand that is reserved or does not fit the other registers: #GP.
    #[error("the operand sets or clears a bit that the other registers do not permit")]
    Operand,
    /// The VPID is 0: VMfail, or a VM entry that fails.
    #[error("VPID 0000H is not for guests")]
    VpidZero,
    /// The address is not canonical: #GP, VMfail or, for INVLPG, no effect.
    #[error("the linear address is not canonical")]
    NonCanonical,
    /// A PDPTE that would be loaded sets a reserved bit: #GP.
    #[error("PDPTE {number} sets a reserved bit")]
    Pdpte {
        /// Its number.
        number: u8,
    },
    /// The PDPTEs cannot be read.
    #[error("the PDPTEs cannot be read: {0}")]
    PdpteLoad(Fault),
}

/// Whether a processor with these registers carries the operation out, as far as registers decide.
///
/// # Errors
///
/// Why not.
pub(super) fn check(registers: &Registers, operation: &Operation) -> Result<(), Refusal> {
    check_mode(registers, operation)?;
    match *operation {
        Operation::MovToCr0(cr0) => check_cr0(&registers.paging, cr0),
        Operation::MovToCr3(source) => check_cr3(registers, source),
        Operation::MovToCr4(cr4) => check_cr4(&registers.paging, cr4),
        Operation::WrmsrEfer(efer) => check_efer(&registers.paging, efer),
        Operation::Invlpg(address) => check_canonical(registers, address),
        Operation::Invpcid(invpcid) => check_invpcid(registers, invpcid),
        Operation::Invvpid(invvpid) => check_invvpid(registers, invvpid),
        Operation::VmEntry(Entry { vpid: Some(0), .. }) => Err(Refusal::VpidZero),
        Operation::SmmReturn(Entry { vpid: Some(0), .. }) => Err(Refusal::VpidZero),
        _ => Ok(()),
    }
}

fn check_mode(registers: &Registers, operation: &Operation) -> Result<(), Refusal> {
    let Registers { vmx, smm, .. } = *registers;
    let non_root = matches!(vmx, VmxOperation::NonRoot { .. });
    let possible = match operation {
        // SDM 28.1.2, 33.3: these exit in VMX non-root operation and are undefined outside VMX operation.
        Operation::Invvpid(_) | Operation::Invept(_) | Operation::VmEntry(_) => vmx == VmxOperation::Root,
        Operation::VmExit(_) => non_root,
        Operation::EptViolation { .. } | Operation::EptMisconfiguration(_) | Operation::EptpSwitch { .. } => {
            registers.eptp().is_some()
        }
        // SDM 8.6, 28.2: no task switch in IA-32e mode; in VMX non-root operation it exits.
        Operation::TaskSwitch { .. } => !registers.paging.is_ia32e() && !non_root,
        // SDM 26.8: INIT is blocked in VMX root operation and exits in VMX non-root operation; SMM holds it back.
        Operation::Init => vmx == VmxOperation::Outside && smm == Smm::Outside,
        Operation::VmxOnOff => !non_root && smm == Smm::Outside,
        Operation::Smi => smm == Smm::Outside,
        Operation::Rsm(_) => matches!(smm, Smm::Default { .. }),
        Operation::SmmVmExit(_) => smm == Smm::Outside && vmx != VmxOperation::Outside,
        Operation::SmmActivate(_) => smm == Smm::Outside && vmx == VmxOperation::Root,
        Operation::SmmReturn(_) => matches!(smm, Smm::Monitor { .. }) && vmx == VmxOperation::Root,
        _ => true,
    };
    if possible { Ok(()) } else { Err(Refusal::Mode) }
}

/// SDM Vol. 2B, MOV to control registers.
fn check_cr0(paging: &Paging, cr0: u64) -> Result<(), Refusal> {
    let Paging { cr4, efer, .. } = *paging;
    let paged = cr0 & Paging::PG != 0;
    let bad =
        if paged { efer & Paging::LME != 0 && cr4 & Paging::PAE == 0 } else { cr4 & Paging::PCIDE != 0 };
    if bad { Err(Refusal::Operand) } else { Ok(()) }
}

fn check_cr3(registers: &Registers, source: u64) -> Result<(), Refusal> {
    let pcids = registers.paging.cr4 & Paging::PCIDE != 0;
    let value = if pcids { source & !(1 << 63) } else { source };
    if value >> registers.physical_address_width == 0 { Ok(()) } else { Err(Refusal::Operand) }
}

fn check_cr4(paging: &Paging, cr4: u64) -> Result<(), Refusal> {
    let changed = paging.cr4 ^ cr4;
    let set = changed & cr4;
    let ia32e = paging.is_ia32e();
    let bad = ia32e && (changed & Paging::LA57 != 0 || cr4 & Paging::PAE == 0)
        || set & Paging::PCIDE != 0 && (!ia32e || paging.cr3 & 0xfff != 0);
    if bad { Err(Refusal::Operand) } else { Ok(()) }
}

const fn check_efer(paging: &Paging, efer: u64) -> Result<(), Refusal> {
    let bad = paging.cr0 & Paging::PG != 0 && (paging.efer ^ efer) & Paging::LME != 0;
    if bad { Err(Refusal::Operand) } else { Ok(()) }
}

fn check_invpcid(registers: &Registers, invpcid: Invpcid) -> Result<(), Refusal> {
    let (Invpcid::Address { pcid, .. } | Invpcid::Context { pcid }) = invpcid else { return Ok(()) };
    let pcids = registers.paging.cr4 & Paging::PCIDE != 0;
    if pcid >= 1 << 12 || (pcid != 0 && !pcids) {
        return Err(Refusal::Operand);
    }
    match invpcid {
        Invpcid::Address { address, .. } => check_canonical(registers, address),
        _ => Ok(()),
    }
}

fn check_invvpid(registers: &Registers, invvpid: Invvpid) -> Result<(), Refusal> {
    match invvpid {
        Invvpid::Address { vpid: 0, .. }
        | Invvpid::Context { vpid: 0 }
        | Invvpid::ContextButGlobals { vpid: 0 } => Err(Refusal::VpidZero),
        Invvpid::Address { address, .. } => check_canonical(registers, address),
        _ => Ok(()),
    }
}

fn check_canonical(registers: &Registers, address: LinearAddress) -> Result<(), Refusal> {
    let mode = registers.paging.mode();
    if mode.is_canonical(address) { Ok(()) } else { Err(Refusal::NonCanonical) }
}
