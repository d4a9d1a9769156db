//! Checks of the VM-execution controls (SDM 29.2.1.1).

use super::{Entry, predicates};
use crate::controls::ControlWord;
use crate::controls::{
    EntryControls as Entered, PinBasedControls as Pin, PrimaryExitControls as Exit,
    PrimaryProcessorControls as Primary, SecondaryProcessorControls as Secondary,
    TertiaryProcessorControls as Tertiary,
};
use crate::entry_rules::Subject;
use crate::field::Encoding as E;

/// Bits of a word of controls that must be 1 are 1.
pub(super) const fn ones(s: &Subject, word: ControlWord) -> bool {
    s.capabilities.settings(word).must_be_1 & !s.field(word.field()) == 0
}

/// Bits of a word of controls that must be 0 are 0.
pub(super) const fn zeros(s: &Subject, word: ControlWord) -> bool {
    s.field(word.field()) & !s.capabilities.settings(word).may_be_1 == 0
}

/// EPTP switching can be used.
const fn eptp_switching(s: &Subject) -> bool {
    s.secondary(Secondary::ENABLE_VM_FUNCTIONS) && s.is_set(E::VMFUNC_CONTROLS, 1)
}

/// The TPR threshold is compared with VTPR at once, because no later VM exit does it (29.7.7).
const fn threshold_counts(s: &Subject) -> bool {
    s.primary(Primary::USE_TPR_SHADOW)
        && !s.secondary(Secondary::VIRTUALIZE_APIC_ACCESSES)
        && !s.secondary(Secondary::VIRTUAL_INTERRUPT_DELIVERY)
}

pub(super) const RULES: &[Entry] = predicates! { s;
    "CTL.EXEC.PIN.ALLOWED0", true => ones(s, ControlWord::PinBased);
    "CTL.EXEC.PIN.ALLOWED1", true => zeros(s, ControlWord::PinBased);
    "CTL.EXEC.PRI.ALLOWED0", true => ones(s, ControlWord::PrimaryProcessor);
    "CTL.EXEC.PRI.ALLOWED1", true => zeros(s, ControlWord::PrimaryProcessor);
    "CTL.EXEC.SEC.RSVD", s.primary(Primary::ACTIVATE_SECONDARY_CONTROLS) => zeros(s, ControlWord::SecondaryProcessor);
    "CTL.EXEC.TER.RSVD", s.primary(Primary::ACTIVATE_TERTIARY_CONTROLS) => zeros(s, ControlWord::TertiaryProcessor);
    "CTL.EXEC.CR3_TARGET.COUNT", true
        => s.field(E::CR3_TARGET_COUNT) <= u64::from(s.capabilities.misc().cr3_target_values());
    "CTL.EXEC.TPR.THRESHOLD_RSVD",
        s.primary(Primary::USE_TPR_SHADOW) && !s.secondary(Secondary::VIRTUAL_INTERRUPT_DELIVERY)
        => s.is_clear(E::TPR_THRESHOLD, !0xf);
    "CTL.EXEC.TPR.THRESHOLD_VTPR",
        threshold_counts(s) && s.is_clear(E::VIRTUAL_APIC_ADDR, 0xfff) && s.in_width(E::VIRTUAL_APIC_ADDR)
        => s.bits(E::TPR_THRESHOLD, 3, 0) <= s.virtual_task_priority_class();
    "CTL.EXEC.NMI.VNMI_NEEDS_NMI_EXIT", !s.pin(Pin::NMI_EXITING) => !s.pin(Pin::VIRTUAL_NMIS);
    "CTL.EXEC.NMI.WINDOW_NEEDS_VNMI", !s.pin(Pin::VIRTUAL_NMIS) => !s.primary(Primary::NMI_WINDOW_EXITING);
    "CTL.EXEC.TPR_SHADOW0.X2APIC", !s.primary(Primary::USE_TPR_SHADOW)
        => !s.secondary(Secondary::VIRTUALIZE_X2APIC_MODE);
    "CTL.EXEC.TPR_SHADOW0.APIC_REG", !s.primary(Primary::USE_TPR_SHADOW)
        => !s.secondary(Secondary::APIC_REGISTER_VIRTUALIZATION);
    "CTL.EXEC.TPR_SHADOW0.VID", !s.primary(Primary::USE_TPR_SHADOW)
        => !s.secondary(Secondary::VIRTUAL_INTERRUPT_DELIVERY);
    "CTL.EXEC.TPR_SHADOW0.IPIV", !s.primary(Primary::USE_TPR_SHADOW) => !s.tertiary(Tertiary::IPI_VIRTUALIZATION);
    "CTL.EXEC.X2APIC.NOT_WITH_APIC_ACCESS", s.secondary(Secondary::VIRTUALIZE_X2APIC_MODE)
        => !s.secondary(Secondary::VIRTUALIZE_APIC_ACCESSES);
    "CTL.EXEC.VID.NEEDS_EXTINT", s.secondary(Secondary::VIRTUAL_INTERRUPT_DELIVERY)
        => s.pin(Pin::EXTERNAL_INTERRUPT_EXITING);
    "CTL.EXEC.PI.VID", s.pin(Pin::PROCESS_POSTED_INTERRUPTS) => s.secondary(Secondary::VIRTUAL_INTERRUPT_DELIVERY);
    "CTL.EXEC.PI.ACK", s.pin(Pin::PROCESS_POSTED_INTERRUPTS) => s.exit(Exit::ACKNOWLEDGE_INTERRUPT_ON_EXIT);
    "CTL.EXEC.PI.NV", s.pin(Pin::PROCESS_POSTED_INTERRUPTS) => s.is_clear(E::POSTED_INT_NV, 0xff00);
    "CTL.EXEC.VPID.NONZERO", s.secondary(Secondary::ENABLE_VPID) => s.field(E::VPID) != 0;
    "CTL.EXEC.EPTP.MEMTYPE", s.ept() => s.capabilities.ept_vpid().permits_memory_type(s.bits(E::EPTP, 2, 0));
    "CTL.EXEC.EPTP.WALK", s.ept() => s.capabilities.ept_vpid().permits_walk(s.bits(E::EPTP, 5, 3));
    "CTL.EXEC.EPTP.AD", s.ept() && !s.capabilities.ept_vpid().accessed_and_dirty() => s.is_clear(E::EPTP, 1 << 6);
    "CTL.EXEC.EPTP.SSS", s.ept() && !s.capabilities.ept_vpid().supervisor_shadow_stack()
        => s.is_clear(E::EPTP, 1 << 7);
    "CTL.EXEC.EPTP.RSVD", s.ept() => s.is_clear(E::EPTP, 0xf00);
    "CTL.EXEC.EPTP.WIDTH", s.ept() => s.in_width(E::EPTP);
    "CTL.EXEC.NEEDS_EPT.PML", s.secondary(Secondary::ENABLE_PML) => s.ept();
    "CTL.EXEC.NEEDS_EPT.URG", s.unrestricted() => s.ept();
    "CTL.EXEC.NEEDS_EPT.MBEC", s.secondary(Secondary::MODE_BASED_EXECUTE_CONTROL_FOR_EPT) => s.ept();
    "CTL.EXEC.NEEDS_EPT.SPP", s.secondary(Secondary::SUB_PAGE_WRITE_PERMISSIONS_FOR_EPT) => s.ept();
    "CTL.EXEC.NEEDS_EPT.PT_GPA", s.secondary(Secondary::INTEL_PT_USES_GUEST_PHYSICAL_ADDRESSES) => s.ept();
    "CTL.EXEC.NEEDS_EPT.PEBS_GPA", s.tertiary(Tertiary::PEBS_USES_GUEST_PHYSICAL_ADDRESSES) => s.ept();
    "CTL.EXEC.NEEDS_EPT.HLAT", s.tertiary(Tertiary::ENABLE_HLAT) => s.ept();
    "CTL.EXEC.NEEDS_EPT.EPT_PW", s.tertiary(Tertiary::EPT_PAGING_WRITE_CONTROL) => s.ept();
    "CTL.EXEC.NEEDS_EPT.GPV", s.tertiary(Tertiary::GUEST_PAGING_VERIFICATION) => s.ept();
    "CTL.EXEC.VMFUNC.RSVD", s.secondary(Secondary::ENABLE_VM_FUNCTIONS)
        => s.is_clear(E::VMFUNC_CONTROLS, !s.capabilities.value(crate::capability::CapabilityMsr::Vmfunc));
    "CTL.EXEC.VMFUNC.EPTP_SWITCH_EPT", eptp_switching(s) => s.ept();
    "CTL.EXEC.PT.GPA_LOAD", s.secondary(Secondary::INTEL_PT_USES_GUEST_PHYSICAL_ADDRESSES)
        => s.entry(Entered::LOAD_IA32_RTIT_CTL);
    "CTL.EXEC.PT.GPA_CLEAR", s.secondary(Secondary::INTEL_PT_USES_GUEST_PHYSICAL_ADDRESSES)
        => s.exit(Exit::CLEAR_IA32_RTIT_CTL);
    "CTL.EXEC.TSC.MULTIPLIER", s.secondary(Secondary::USE_TSC_SCALING) => s.field(E::TSC_MULTIPLIER) != 0;
    "CTL.EXEC.APIC_TIMER.VID", s.tertiary(Tertiary::APIC_TIMER_VIRTUALIZATION)
        => s.secondary(Secondary::VIRTUAL_INTERRUPT_DELIVERY);
    "CTL.EXEC.APIC_TIMER.RDTSC", s.tertiary(Tertiary::APIC_TIMER_VIRTUALIZATION)
        => !s.primary(Primary::RDTSC_EXITING);
    "CTL.EXEC.APIC_TIMER.VECTOR", s.tertiary(Tertiary::APIC_TIMER_VIRTUALIZATION)
        => s.is_clear(E::VIRTUAL_TIMER_VECTOR, 0xff00);
};

pub(super) const ADDRESSES: &[Entry] = predicates! { s;
    "CTL.EXEC.IO_BITMAP_A.ALIGN", s.primary(Primary::USE_I_O_BITMAPS) => s.is_clear(E::IO_BITMAP_A, 0xfff);
    "CTL.EXEC.IO_BITMAP_A.WIDTH", s.primary(Primary::USE_I_O_BITMAPS) => s.in_width(E::IO_BITMAP_A);
    "CTL.EXEC.IO_BITMAP_B.ALIGN", s.primary(Primary::USE_I_O_BITMAPS) => s.is_clear(E::IO_BITMAP_B, 0xfff);
    "CTL.EXEC.IO_BITMAP_B.WIDTH", s.primary(Primary::USE_I_O_BITMAPS) => s.in_width(E::IO_BITMAP_B);
    "CTL.EXEC.MSR_BITMAP.ALIGN", s.primary(Primary::USE_MSR_BITMAPS) => s.is_clear(E::MSR_BITMAP, 0xfff);
    "CTL.EXEC.MSR_BITMAP.WIDTH", s.primary(Primary::USE_MSR_BITMAPS) => s.in_width(E::MSR_BITMAP);
    "CTL.EXEC.VIRT_APIC.ALIGN", s.primary(Primary::USE_TPR_SHADOW) => s.is_clear(E::VIRTUAL_APIC_ADDR, 0xfff);
    "CTL.EXEC.VIRT_APIC.WIDTH", s.primary(Primary::USE_TPR_SHADOW) => s.in_width(E::VIRTUAL_APIC_ADDR);
    "CTL.EXEC.APIC_ACCESS.ALIGN", s.secondary(Secondary::VIRTUALIZE_APIC_ACCESSES)
        => s.is_clear(E::APIC_ACCESS_ADDR, 0xfff);
    "CTL.EXEC.APIC_ACCESS.WIDTH", s.secondary(Secondary::VIRTUALIZE_APIC_ACCESSES)
        => s.in_width(E::APIC_ACCESS_ADDR);
    "CTL.EXEC.PML.ALIGN", s.secondary(Secondary::ENABLE_PML) => s.is_clear(E::PML_ADDRESS, 0xfff);
    "CTL.EXEC.PML.WIDTH", s.secondary(Secondary::ENABLE_PML) => s.in_width(E::PML_ADDRESS);
    "CTL.EXEC.SPPTP.ALIGN", s.secondary(Secondary::SUB_PAGE_WRITE_PERMISSIONS_FOR_EPT)
        => s.is_clear(E::SPPTP, 0xfff);
    "CTL.EXEC.SPPTP.WIDTH", s.secondary(Secondary::SUB_PAGE_WRITE_PERMISSIONS_FOR_EPT) => s.in_width(E::SPPTP);
    "CTL.EXEC.EPTP_LIST.ALIGN", eptp_switching(s) => s.is_clear(E::EPTP_LIST_ADDR, 0xfff);
    "CTL.EXEC.EPTP_LIST.WIDTH", eptp_switching(s) => s.in_width(E::EPTP_LIST_ADDR);
    "CTL.EXEC.VMREAD_BITMAP.ALIGN", s.secondary(Secondary::VMCS_SHADOWING) => s.is_clear(E::VMREAD_BITMAP, 0xfff);
    "CTL.EXEC.VMREAD_BITMAP.WIDTH", s.secondary(Secondary::VMCS_SHADOWING) => s.in_width(E::VMREAD_BITMAP);
    "CTL.EXEC.VMWRITE_BITMAP.ALIGN", s.secondary(Secondary::VMCS_SHADOWING) => s.is_clear(E::VMWRITE_BITMAP, 0xfff);
    "CTL.EXEC.VMWRITE_BITMAP.WIDTH", s.secondary(Secondary::VMCS_SHADOWING) => s.in_width(E::VMWRITE_BITMAP);
    "CTL.EXEC.VE_INFO.ALIGN", s.secondary(Secondary::EPT_VIOLATION_VE) => s.is_clear(E::VE_INFO_ADDR, 0xfff);
    "CTL.EXEC.VE_INFO.WIDTH", s.secondary(Secondary::EPT_VIOLATION_VE) => s.in_width(E::VE_INFO_ADDR);
    "CTL.EXEC.PASID_LO.ALIGN", s.secondary(Secondary::PASID_TRANSLATION) => s.is_clear(E::PASID_DIR_LO, 0xfff);
    "CTL.EXEC.PASID_LO.WIDTH", s.secondary(Secondary::PASID_TRANSLATION) => s.in_width(E::PASID_DIR_LO);
    "CTL.EXEC.PASID_HI.ALIGN", s.secondary(Secondary::PASID_TRANSLATION) => s.is_clear(E::PASID_DIR_HI, 0xfff);
    "CTL.EXEC.PASID_HI.WIDTH", s.secondary(Secondary::PASID_TRANSLATION) => s.in_width(E::PASID_DIR_HI);
    "CTL.EXEC.PI.DESC_ALIGN", s.pin(Pin::PROCESS_POSTED_INTERRUPTS) => s.is_clear(E::POSTED_INT_DESC_ADDR, 0x3f);
    "CTL.EXEC.PI.DESC_WIDTH", s.pin(Pin::PROCESS_POSTED_INTERRUPTS) => s.in_width(E::POSTED_INT_DESC_ADDR);
    "CTL.EXEC.IPIV.TABLE_ALIGN", s.tertiary(Tertiary::IPI_VIRTUALIZATION) => s.is_clear(E::PID_POINTER_TABLE, 7);
    "CTL.EXEC.IPIV.TABLE_WIDTH", s.tertiary(Tertiary::IPI_VIRTUALIZATION) => s.in_width(E::PID_POINTER_TABLE);
    "CTL.EXEC.IPIV.LAST_WIDTH", s.tertiary(Tertiary::IPI_VIRTUALIZATION) && s.in_width(E::PID_POINTER_TABLE)
        => s.is_within_width(s.field(E::PID_POINTER_TABLE).saturating_add(8 * s.field(E::LAST_PID_POINTER_INDEX)));
    "CTL.EXEC.HLATP.LOW", s.tertiary(Tertiary::ENABLE_HLAT) => s.is_clear(E::HLATP, 7);
    "CTL.EXEC.HLATP.MID", s.tertiary(Tertiary::ENABLE_HLAT) => s.is_clear(E::HLATP, 0xfe0);
    "CTL.EXEC.HLATP.WIDTH", s.tertiary(Tertiary::ENABLE_HLAT) => s.in_width(E::HLATP);
};
