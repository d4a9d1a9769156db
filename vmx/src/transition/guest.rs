//! Loading and saving the guest.

use super::elements::{ELEMENTS, Save};
use super::segments;
use crate::capabilities::Capabilities;
use crate::controls::{
    EntryControls, PinBasedControls, PrimaryExitControls, SecondaryProcessorControls as Secondary,
};
use crate::field::Encoding;
use crate::vmcs::Vmcs;
use isa::control::{Cr0, Cr4, Efer};
use isa::state::State;
use isa::system::{Activity, ControlRegisterView, Features, Interruptibility, Offers};

/// Bits of CR0 that VM entry leaves alone: ET, 15:6, 17, 28:19, NW and CD (29.3.2.1).
pub(super) const CR0_KEPT: u64 = 0x7ffa_ffd0;

/// Loads the guest's registers (29.3.2), and what VMX makes of CR0, CR4 and the instructions that exist (28.3).
///
/// Memory, MSR lists, the TLB and events are not touched. `features` are those of the processor outside the guest.
pub fn load_guest(vmcs: &Vmcs, capabilities: &Capabilities, features: &Features, state: &mut State) {
    control_registers(vmcs, state);
    segments::load_guest(vmcs, state);
    let entry = vmcs.entry();
    for element in ELEMENTS {
        if let Some(value) = element.entry.value(vmcs, entry) {
            (element.set)(state, value);
        }
    }
    non_register_state(vmcs, state);
    state.system.view = view(vmcs, capabilities);
    state.system.features = within(vmcs, features);
}

fn control_registers(vmcs: &Vmcs, state: &mut State) {
    let system = &mut state.system;
    let kept = system.cr0.bits() & CR0_KEPT;
    let cr0 = Cr0::from_bits_retain(vmcs.read(Encoding::GUEST_CR0) & !CR0_KEPT | kept);
    let entry = vmcs.entry();
    let ia32e = entry.contains(EntryControls::IA_32E_MODE_GUEST);
    if entry.contains(EntryControls::LOAD_IA32_EFER) {
        system.efer = Efer::from_bits_retain(vmcs.read(Encoding::GUEST_EFER));
    } else {
        system.efer.set(Efer::LMA, ia32e);
        if cr0.contains(Cr0::PG) {
            system.efer.set(Efer::LME, ia32e);
        }
    }
    system.cr0 = cr0;
    system.cr3 = vmcs.read(Encoding::GUEST_CR3);
    system.cr4 = Cr4::from_bits_retain(vmcs.read(Encoding::GUEST_CR4));
}

fn non_register_state(vmcs: &Vmcs, state: &mut State) {
    let system = &mut state.system;
    system.monitored = None;
    system.interruptibility =
        Interruptibility::from_bits_truncate(vmcs.read32(Encoding::GUEST_INTERRUPTIBILITY));
    system.activity = match vmcs.read32(Encoding::GUEST_ACTIVITY) {
        1 => Activity::Halted,
        2 => Activity::Shutdown,
        3 => Activity::WaitForSipi,
        _ => Activity::Active,
    };
}

/// An unrestricted guest may have PE and PG 0.
fn view(vmcs: &Vmcs, capabilities: &Capabilities) -> ControlRegisterView {
    let unrestricted = vmcs.secondary_processor().contains(Secondary::UNRESTRICTED_GUEST);
    let free = if unrestricted { (Cr0::PE | Cr0::PG).bits() } else { 0 };
    ControlRegisterView {
        cr0_mask: vmcs.read(Encoding::CR0_GUEST_HOST_MASK),
        cr0_shadow: vmcs.read(Encoding::CR0_READ_SHADOW),
        cr4_mask: vmcs.read(Encoding::CR4_GUEST_HOST_MASK),
        cr4_shadow: vmcs.read(Encoding::CR4_READ_SHADOW),
        cr0_ones: capabilities.cr0().must_be_1 & !free,
        cr4_ones: capabilities.cr4().must_be_1,
    }
}

/// RDTSCP, RDPID and INVPCID exist in the guest only where controls enable them.
fn within(vmcs: &Vmcs, features: &Features) -> Features {
    let secondary = vmcs.secondary_processor();
    let mut features = *features;
    if !secondary.contains(Secondary::ENABLE_RDTSCP) {
        features.offers -= Offers::RDTSCP | Offers::RDPID;
    }
    if !secondary.contains(Secondary::ENABLE_INVPCID) {
        features.offers -= Offers::INVPCID;
    }
    features
}

/// Saves the guest's registers (30.3). `pdptes` are those in use under EPT and PAE paging.
pub fn save_guest(state: &State, pdptes: Option<[u64; 4]>, capabilities: &Capabilities, vmcs: &mut Vmcs) {
    let exit = vmcs.primary_exit();
    let system = &state.system;
    vmcs.write(Encoding::GUEST_CR0, system.cr0.bits());
    vmcs.write(Encoding::GUEST_CR3, system.cr3);
    vmcs.write(Encoding::GUEST_CR4, system.cr4.bits());
    if exit.contains(PrimaryExitControls::SAVE_IA32_EFER) {
        vmcs.write(Encoding::GUEST_EFER, system.efer.bits());
    }
    segments::save_guest(state, vmcs);
    for element in ELEMENTS {
        let (field, save) = element.save;
        let saved = match save {
            Save::Always => true,
            Save::If(control) => exit.contains(control),
        };
        if saved {
            vmcs.write(field, (element.get)(state));
        }
    }
    save_non_register_state(state, capabilities, vmcs);
    for (field, pdpte) in PDPTES.into_iter().zip(pdptes.into_iter().flatten()) {
        vmcs.write(field, pdpte);
    }
}

/// The PDPTE fields.
pub const PDPTES: [Encoding; 4] =
    [Encoding::GUEST_PDPTE0, Encoding::GUEST_PDPTE1, Encoding::GUEST_PDPTE2, Encoding::GUEST_PDPTE3];

fn save_non_register_state(state: &State, capabilities: &Capabilities, vmcs: &mut Vmcs) {
    let system = &state.system;
    vmcs.write(Encoding::GUEST_INTERRUPTIBILITY, system.interruptibility.bits().into());
    vmcs.write(Encoding::GUEST_ACTIVITY, system.activity as u64);
    if capabilities.misc().stores_lma() {
        let mut entry = vmcs.entry();
        entry.set(EntryControls::IA_32E_MODE_GUEST, system.efer.contains(Efer::LMA));
        vmcs.set_controls(entry);
    }
}

/// Whether virtual NMIs are in use, so that blocking by NMI in the VMCS means that of virtual NMIs.
pub fn has_virtual_nmis(vmcs: &Vmcs) -> bool {
    vmcs.pin_based().contains(PinBasedControls::VIRTUAL_NMIS)
}
