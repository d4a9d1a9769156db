//! Loading the host (SDM 30.5).

use super::elements::ELEMENTS;
use super::guest::CR0_KEPT;
use super::segments;
use crate::capabilities::Capabilities;
use crate::controls::PrimaryExitControls;
use crate::field::Encoding;
use crate::vmcs::Vmcs;
use isa::control::{Cr0, Cr4, Efer};
use isa::state::State;
use isa::system::{Activity, ControlRegisterView, Features, Interruptibility};

/// Loads the host's registers. Blocking by NMI stays as it is; the caller adds that of an exit due to an NMI.
pub fn load_host(vmcs: &Vmcs, capabilities: &Capabilities, features: &Features, state: &mut State) {
    control_registers(vmcs, capabilities, state);
    segments::load_host(vmcs, state);
    let exit = vmcs.primary_exit();
    for element in ELEMENTS {
        if let Some(value) = element.host.value(vmcs, exit) {
            (element.set)(state, value);
        }
    }
    let system = &mut state.system;
    system.interruptibility -= Interruptibility::STI | Interruptibility::MOV_SS;
    system.activity = Activity::Active;
    system.monitored = None;
    system.features = *features;
    system.view = root_view(capabilities);
}

/// What VMX root operation makes of CR0 and CR4 (A.7, A.8).
#[must_use]
pub fn root_view(capabilities: &Capabilities) -> ControlRegisterView {
    ControlRegisterView {
        cr0_ones: capabilities.cr0().must_be_1,
        cr4_ones: capabilities.cr4().must_be_1,
        ..ControlRegisterView::default()
    }
}

/// CR0 keeps also its upper half and the bits that VMX operation fixes; CR4 has PAE in a 64-bit host, and neither PCIDE
/// in another (30.5.1).
fn control_registers(vmcs: &Vmcs, capabilities: &Capabilities, state: &mut State) {
    let exit = vmcs.primary_exit();
    let is_64_bit = exit.contains(PrimaryExitControls::HOST_ADDRESS_SPACE_SIZE);
    let width = state.system.features.physical_address_width;
    let system = &mut state.system;
    let cr0 = vmcs.read(Encoding::HOST_CR0) & !CR0_KEPT & 0xffff_ffff | system.cr0.bits() & CR0_KEPT;
    system.cr0 = Cr0::from_bits_retain(cr0 | capabilities.cr0().must_be_1);
    system.cr3 = vmcs.read(Encoding::HOST_CR3) & !(u64::MAX << width);
    let mut cr4 = Cr4::from_bits_retain(vmcs.read(Encoding::HOST_CR4) | capabilities.cr4().must_be_1);
    if is_64_bit {
        cr4 |= Cr4::PAE;
    } else {
        cr4 -= Cr4::PCIDE;
    }
    system.cr4 = cr4;
    if exit.contains(PrimaryExitControls::LOAD_IA32_EFER) {
        system.efer = Efer::from_bits_retain(vmcs.read(Encoding::HOST_EFER));
    } else {
        system.efer.set(Efer::LMA | Efer::LME, is_64_bit);
    }
}
