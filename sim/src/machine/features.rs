//! What a processor model lets system instructions do.

use crate::cpuid::{Feature, Model, Vendor};
use isa::control::{Cr4, Efer};
use isa::system::{Behaviours, Features, Offers};

/// The bits of CR4 that need a feature.
const CR4: &[(Feature, Cr4)] = &[
    (Feature::Vme, Cr4::VME.union(Cr4::PVI)),
    (Feature::De, Cr4::DE),
    (Feature::Pse, Cr4::PSE),
    (Feature::Pae, Cr4::PAE),
    (Feature::Mce, Cr4::MCE),
    (Feature::Pge, Cr4::PGE),
    (Feature::Fxsr, Cr4::OSFXSR),
    (Feature::Sse, Cr4::OSXMMEXCPT),
    (Feature::Umip, Cr4::UMIP),
    (Feature::La57, Cr4::LA57),
    (Feature::Vmx, Cr4::VMXE),
    (Feature::Fsgsbase, Cr4::FSGSBASE),
    (Feature::Pcid, Cr4::PCIDE),
    (Feature::Xsave, Cr4::OSXSAVE),
    (Feature::Smep, Cr4::SMEP),
    (Feature::Smap, Cr4::SMAP),
    (Feature::Pku, Cr4::PKE),
];

/// The bits of IA32_EFER that need a feature.
const EFER: &[(Feature, Efer)] =
    &[(Feature::Syscall, Efer::SCE), (Feature::Lm, Efer::LME.union(Efer::LMA)), (Feature::Nx, Efer::NXE)];

/// Instructions and MSRs that need a feature.
const OFFERS: &[(Feature, Offers)] = &[
    (Feature::Lm, Offers::LONG_MODE),
    (Feature::Sep, Offers::SYSENTER),
    (Feature::Mtrr, Offers::MTRR),
    (Feature::Pat, Offers::PAT),
    (Feature::Mca, Offers::MACHINE_CHECK),
    (Feature::Monitor, Offers::MONITOR),
    (Feature::X2apic, Offers::X2APIC),
    (Feature::TscDeadline, Offers::TSC_DEADLINE),
    (Feature::Vmx, Offers::VMX),
    (Feature::Xsave, Offers::XSAVE),
    (Feature::Xsaveopt, Offers::XSAVEOPT),
    (Feature::Rdtscp, Offers::RDTSCP),
    (Feature::Rdpid, Offers::RDPID),
    (Feature::Invpcid, Offers::INVPCID),
    (Feature::TscAdjust, Offers::TSC_ADJUST),
];

/// x87, SSE and, with protection keys, PKRU.
const X87_AND_SSE: u64 = 3;
const PKRU: u64 = 1 << 9;

/// What system instructions may do on a model.
pub(super) fn of(model: &Model) -> Features {
    let all = Features::default();
    let pkru = if model.has(Feature::Pku) { PKRU } else { 0 };
    Features {
        cr4: union(model, CR4) | Cr4::TSD | Cr4::PCE,
        efer: union(model, EFER),
        offers: union(model, OFFERS) | configuration(model.vendor()),
        behaviours: behaviours(model.vendor()),
        physical_address_width: model.physical_address_width(),
        linear_address_width: model.linear_address_width(),
        xcr0: if model.has(Feature::Xsave) { X87_AND_SSE | pkru } else { 0 },
        machine_check_banks: if model.has(Feature::Mca) { all.machine_check_banks } else { 0 },
        variable_mtrrs: if model.has(Feature::Mtrr) { all.variable_mtrrs } else { 0 },
        ..all
    }
}

/// In what a vendor's processors differ from the SDM.
const fn behaviours(vendor: Vendor) -> Behaviours {
    match vendor {
        Vendor::Intel => Behaviours::empty(),
        Vendor::Amd => Behaviours::all(),
    }
}

/// The MSRs that every processor of a vendor has.
const fn configuration(vendor: Vendor) -> Offers {
    match vendor {
        Vendor::Intel => Offers::empty(),
        Vendor::Amd => Offers::AMD_CONFIGURATION,
    }
}

/// The bits of all rows whose feature the model has.
fn union<F: bitflags::Flags + Copy>(model: &Model, rows: &[(Feature, F)]) -> F {
    let has = rows.iter().filter(|(feature, _)| model.has(*feature));
    has.fold(F::empty(), |bits, (_, more)| bits.union(*more))
}
