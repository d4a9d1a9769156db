//! One VMCS: its fields as the processor holds them while it is current, and its region in memory (SDM 27.1, 27.2, 27.11).
//!
//! The fields lie side by side, each as 64 bits at its [position](Encoding::position), so that a read or a write with a
//! constant encoding is one access to an array. A [`Vmcs`] also records which of its fields have changed since the last
//! [`accept_changes`](Vmcs::accept_changes): VM entry needs to check only the rules that read one of those.
//!
//! The manual leaves the format of a VMCS region to the processor, but for its first 8 bytes. Ours:
//!
//! | bytes | holds |
//! |---|---|
//! | 0 to 3 | bits 30:0 VMCS revision identifier, bit 31 shadow-VMCS indicator (27.2) |
//! | 4 to 7 | VMX-abort indicator (27.2, 30.7) |
//! | 8 to 11 | bit 0: the launch state is launched |
//! | 64 + 8n to 71 + 8n | the field at position n |
//!
//! Numbers are little-endian; all other bytes are written as 0 and ignored. A field narrower than 64 bits uses the low
//! bits. Any bytes are a VMCS region: what a field cannot hold is dropped. The positions of fields follow the table, so
//! that another table is another format, with another [`REVISION_IDENTIFIER`].

mod field_set;
mod region;
#[cfg(test)]
mod tests;

use crate::controls::{
    Controls, EntryControls, PinBasedControls, PrimaryExitControls, PrimaryProcessorControls,
    SecondaryExitControls, SecondaryProcessorControls, TertiaryProcessorControls,
};
use crate::field::{AccessType, Encoding};
use std::fmt;

pub use field_set::FieldSet;
pub use region::{LAUNCH_STATE_AT, REGION_SIZE, REVISION_IDENTIFIER, Region};

/// The launch state of a VMCS (SDM 27.1): VMLAUNCH needs `Clear`, VMRESUME needs `Launched`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum LaunchState {
    /// After VMCLEAR.
    #[default]
    Clear,
    /// After a successful VMLAUNCH.
    Launched,
}

/// Whether a VMCS is an ordinary or a shadow VMCS (SDM 27.10): bit 31 of its first doubleword.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum VmcsType {
    /// It can be used for VM entry.
    #[default]
    Ordinary,
    /// VMREAD and VMWRITE in VMX non-root operation may access it; VM entry fails.
    Shadow,
}

/// The slots for fields: any [`Encoding::position`] is one of them, and none needs a check.
const SLOTS: usize = 256;

/// The fields of one VMCS and the state that belongs to it (SDM 27.1 to 27.9).
///
/// Any field can hold any value of its width; VM entry is what refuses values. Whether the processor has a field, and
/// whether VMWRITE may write it, is not decided here.
///
/// ```
/// use vmx::field::Encoding;
/// use vmx::vmcs::{FieldSet, Vmcs};
/// let mut vmcs = Vmcs::new(1);
/// vmcs.accept_changes();
/// vmcs.write(Encoding::GUEST_CS_SELECTOR, 0x1_0008); // 16 bits wide
/// assert_eq!(vmcs.read(Encoding::GUEST_CS_SELECTOR), 8);
/// vmcs.write(Encoding::GUEST_RIP, 0); // the value that it had
/// assert_eq!(vmcs.changed(), FieldSet::of(&[Encoding::GUEST_CS_SELECTOR]));
/// ```
#[derive(Clone)]
pub struct Vmcs {
    values: [u64; SLOTS],
    changed: FieldSet,
    /// Bits 30:0 only.
    revision_identifier: u32,
    vmcs_type: VmcsType,
    launch_state: LaunchState,
    abort_indicator: u32,
}

impl Vmcs {
    /// A clear ordinary VMCS with this revision identifier (bits 30:0) whose fields are 0, all of them changed.
    #[must_use]
    pub const fn new(revision_identifier: u32) -> Self {
        Self {
            values: [0; SLOTS],
            changed: FieldSet::ALL,
            revision_identifier: revision_identifier & 0x7fff_ffff,
            vmcs_type: VmcsType::Ordinary,
            launch_state: LaunchState::Clear,
            abort_indicator: 0,
        }
    }

    /// What an encoding names: a field, or bits 63:32 of one (27.11.2). 0 if no field has this encoding.
    #[must_use]
    #[inline]
    pub const fn read(&self, encoding: Encoding) -> u64 {
        let value = self.values[encoding.position() as usize];
        match encoding.access_type() {
            AccessType::Full => value,
            AccessType::High => value >> 32,
        }
    }

    /// Bits 31:0 of a field.
    #[must_use]
    #[inline]
    pub const fn read32(&self, encoding: Encoding) -> u32 {
        self.read(encoding) as u32 // the name says it
    }

    /// Bits 15:0 of a field.
    #[must_use]
    #[inline]
    pub const fn read16(&self, encoding: Encoding) -> u16 {
        self.read(encoding) as u16 // the name says it
    }

    /// Writes what an encoding names; bits that the field does not have are dropped (33.3, VMWRITE).
    ///
    /// A write to bits 63:32 leaves bits 31:0. Nothing happens if no field has this encoding.
    #[inline]
    pub const fn write(&mut self, encoding: Encoding, value: u64) {
        if !encoding.names_a_field() {
            return;
        }
        let slot = encoding.position() as usize;
        let old = self.values[slot];
        let new = match encoding.access_type() {
            AccessType::Full => value & encoding.width().mask(),
            AccessType::High => value << 32 | old & 0xffff_ffff,
        };
        if new != old {
            self.values[slot] = new;
            self.changed.insert(encoding);
        }
    }

    /// The fields whose value may differ from the one at the last [`accept_changes`](Self::accept_changes).
    #[must_use]
    #[inline]
    pub const fn changed(&self) -> FieldSet {
        self.changed
    }

    /// Begins a new record of changes.
    #[inline]
    pub const fn accept_changes(&mut self) {
        self.changed = FieldSet::EMPTY;
    }

    /// Adds fields to the record of changes, whatever their values.
    #[inline]
    pub const fn mark_changed(&mut self, fields: FieldSet) {
        self.changed = self.changed.union(fields);
    }

    /// The VMCS revision identifier: 31 bits (27.2).
    #[must_use]
    pub const fn revision_identifier(&self) -> u32 {
        self.revision_identifier
    }

    /// Whether it is a shadow VMCS.
    #[must_use]
    pub const fn vmcs_type(&self) -> VmcsType {
        self.vmcs_type
    }

    /// Makes it an ordinary or a shadow VMCS. Software does this in memory, before VMPTRLD.
    pub const fn set_vmcs_type(&mut self, vmcs_type: VmcsType) {
        self.vmcs_type = vmcs_type;
    }

    /// Its launch state.
    #[must_use]
    #[inline]
    pub const fn launch_state(&self) -> LaunchState {
        self.launch_state
    }

    /// Sets its launch state, as VMCLEAR and VMLAUNCH do.
    #[inline]
    pub const fn set_launch_state(&mut self, state: LaunchState) {
        self.launch_state = state;
    }

    /// The VMX-abort indicator: 0, or the number of the reason (30.7).
    #[must_use]
    pub const fn abort_indicator(&self) -> u32 {
        self.abort_indicator
    }

    /// Records a VMX abort.
    pub const fn set_abort_indicator(&mut self, indicator: u32) {
        self.abort_indicator = indicator;
    }

    /// The pin-based VM-execution controls (27.6.1).
    #[must_use]
    #[inline]
    pub const fn pin_based(&self) -> PinBasedControls {
        PinBasedControls::from_bits_retain(self.read32(Encoding::PIN_CONTROLS))
    }

    /// The primary processor-based VM-execution controls (27.6.2).
    #[must_use]
    #[inline]
    pub const fn primary_processor(&self) -> PrimaryProcessorControls {
        PrimaryProcessorControls::from_bits_retain(self.read32(Encoding::PRIMARY_PROC_CONTROLS))
    }

    /// The secondary processor-based VM-execution controls in force: none unless the primary ones activate them (27.6.2).
    #[must_use]
    #[inline]
    pub const fn secondary_processor(&self) -> SecondaryProcessorControls {
        let active = self.primary_processor().contains(PrimaryProcessorControls::ACTIVATE_SECONDARY_CONTROLS);
        let bits = if active { self.read32(Encoding::SECONDARY_PROC_CONTROLS) } else { 0 };
        SecondaryProcessorControls::from_bits_retain(bits)
    }

    /// The tertiary processor-based VM-execution controls in force: none unless the primary ones activate them (27.6.2).
    #[must_use]
    #[inline]
    pub const fn tertiary_processor(&self) -> TertiaryProcessorControls {
        let active = self.primary_processor().contains(PrimaryProcessorControls::ACTIVATE_TERTIARY_CONTROLS);
        let bits = if active { self.read(Encoding::TERTIARY_PROC_CONTROLS) } else { 0 };
        TertiaryProcessorControls::from_bits_retain(bits)
    }

    /// The primary VM-exit controls (27.7.1).
    #[must_use]
    #[inline]
    pub const fn primary_exit(&self) -> PrimaryExitControls {
        PrimaryExitControls::from_bits_retain(self.read32(Encoding::PRIMARY_EXIT_CONTROLS))
    }

    /// The secondary VM-exit controls in force: none unless the primary ones activate them (27.7.1).
    #[must_use]
    #[inline]
    pub const fn secondary_exit(&self) -> SecondaryExitControls {
        let active = self.primary_exit().contains(PrimaryExitControls::ACTIVATE_SECONDARY_CONTROLS);
        let bits = if active { self.read(Encoding::SECONDARY_EXIT_CONTROLS) } else { 0 };
        SecondaryExitControls::from_bits_retain(bits)
    }

    /// The VM-entry controls (27.8.1).
    #[must_use]
    #[inline]
    pub const fn entry(&self) -> EntryControls {
        EntryControls::from_bits_retain(self.read32(Encoding::ENTRY_CONTROLS))
    }

    /// Writes the field of a word of controls; whether the word is in force is up to the word that activates it.
    pub fn set_controls<C: Controls>(&mut self, controls: C) {
        self.write(C::WORD.field(), controls.bits().into());
    }
}

impl PartialEq for Vmcs {
    /// Whether all state is equal; the record of changes is not part of it.
    fn eq(&self, other: &Self) -> bool {
        let state =
            |vmcs: &Self| (vmcs.revision_identifier, vmcs.vmcs_type, vmcs.launch_state, vmcs.abort_indicator);
        self.values == other.values && state(self) == state(other)
    }
}

impl Eq for Vmcs {}

impl fmt::Debug for Vmcs {
    /// The state, and the fields that are not 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Vmcs");
        text.field("revision_identifier", &self.revision_identifier);
        text.field("vmcs_type", &self.vmcs_type);
        text.field("launch_state", &self.launch_state);
        text.field("abort_indicator", &self.abort_indicator);
        for field in crate::field::FIELDS.iter().filter(|field| self.read(field.encoding) != 0) {
            text.field(field.symbol, &format_args!("{:#x}", self.read(field.encoding)));
        }
        text.finish()
    }
}
