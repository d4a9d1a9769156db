//! The VMCS region in memory; the format is described at the head of [`vmcs`](super).

use super::{FieldSet, LaunchState, Vmcs, VmcsType};
use crate::field::Encoding;

/// The bytes of a VMCS region that this processor uses: what IA32_VMX_BASIC\[44:32\] reports (SDM A.1).
pub const REGION_SIZE: usize = 4096;

/// The VMCS revision identifier of the format (SDM 27.2): IA32_VMX_BASIC\[30:0\].
pub const REVISION_IDENTIFIER: u32 = 0x766d_7801;

/// The bytes of a VMCS region.
pub type Region = [u8; REGION_SIZE];

/// Where the doubleword with the launch state is.
pub const LAUNCH_STATE_AT: u64 = 8;

/// Where the first field is.
const FIELDS_AT: usize = 64;

const _: () = assert!(FIELDS_AT + 8 * Encoding::ALL.len() <= REGION_SIZE, "the fields fit the region");

/// The bytes of the field at a position.
fn place(position: usize) -> std::ops::Range<usize> {
    FIELDS_AT + 8 * position..FIELDS_AT + 8 * position + 8
}

fn doubleword(region: &Region, at: usize) -> u32 {
    u32::from_le_bytes([region[at], region[at + 1], region[at + 2], region[at + 3]])
}

impl Vmcs {
    /// Its region in memory.
    ///
    /// ```
    /// use vmx::vmcs::Vmcs;
    /// let vmcs = Vmcs::new(0x1d);
    /// let region = vmcs.to_region();
    /// assert_eq!(region[..4], [0x1d, 0, 0, 0]);
    /// assert_eq!(Vmcs::from_region(&region), vmcs);
    /// ```
    #[must_use]
    pub fn to_region(&self) -> Region {
        let mut region = [0; REGION_SIZE];
        let indicator = u32::from(self.vmcs_type == VmcsType::Shadow) << 31;
        region[0..4].copy_from_slice(&(self.revision_identifier | indicator).to_le_bytes());
        region[4..8].copy_from_slice(&self.abort_indicator.to_le_bytes());
        region[8] = u8::from(self.launch_state == LaunchState::Launched);
        for position in 0..Encoding::ALL.len() {
            region[place(position)].copy_from_slice(&self.values[position].to_le_bytes());
        }
        region
    }

    /// The VMCS that a region holds, whatever its bytes; all fields count as changed.
    #[must_use]
    pub fn from_region(region: &Region) -> Self {
        let mut vmcs = Self::new(doubleword(region, 0));
        if doubleword(region, 0) >> 31 == 1 {
            vmcs.vmcs_type = VmcsType::Shadow;
        }
        vmcs.abort_indicator = doubleword(region, 4);
        if region[8] & 1 == 1 {
            vmcs.launch_state = LaunchState::Launched;
        }
        for (position, encoding) in Encoding::ALL.iter().enumerate() {
            let bytes = &region[place(position)];
            let value = bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
            vmcs.values[position] = value & encoding.width().mask();
        }
        vmcs.changed = FieldSet::ALL;
        vmcs
    }
}
