//! The kinds of guests.

use super::{ParseSampleError, Sample, Setting};
use crate::controls::{
    ControlWord, EntryControls as Entry, PinBasedControls as Pin, PrimaryExitControls as Exit,
    PrimaryProcessorControls as Primary, SecondaryProcessorControls as Secondary,
};
use crate::field::Encoding as E;
use crate::vmcs::REVISION_IDENTIFIER;
use isa::address::HostPhysicalAddress;
use std::str::FromStr;

/// A kind of guest, with the controls that it needs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Guest {
    /// 64-bit mode behind EPT.
    Long,
    /// PAE paging behind EPT.
    Pae,
    /// PAE paging without EPT.
    PaeShadow,
    /// 32-bit paging without EPT.
    Protected,
    /// Virtual-8086 mode behind EPT.
    Virtual8086,
    /// Real-address mode: an unrestricted guest.
    Real,
    /// As [`Guest::Protected`], under a VMM that is not in IA-32e mode.
    Legacy,
}

impl Guest {
    /// All of them, with their words in the notation.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Long, "long"),
        (Self::Pae, "pae"),
        (Self::PaeShadow, "pae-shadow"),
        (Self::Protected, "protected"),
        (Self::Virtual8086, "virtual-8086"),
        (Self::Real, "real"),
        (Self::Legacy, "legacy"),
    ];
}

impl FromStr for Guest {
    type Err = ParseSampleError;

    fn from_str(word: &str) -> Result<Self, ParseSampleError> {
        let guest = Self::ALL.into_iter().find(|(_, name)| *name == word);
        guest.map(|(guest, _)| guest).ok_or_else(|| ParseSampleError::Guest(word.to_owned()))
    }
}

/// Fields of every sample.
const COMMON: &[(E, u64)] = &[
    (E::VPID, 1),
    (E::EPTP, 0x5000 | 3 << 3 | 6),
    (E::IO_BITMAP_A, 0x6000),
    (E::IO_BITMAP_B, 0x7000),
    (E::MSR_BITMAP, 0x4000),
    (E::VIRTUAL_APIC_ADDR, 0x8000),
    (E::EXIT_MSR_STORE_ADDR, 0x3000),
    (E::EXIT_MSR_LOAD_ADDR, 0x3000),
    (E::ENTRY_MSR_LOAD_ADDR, 0x3000),
    (E::EXIT_MSR_STORE_COUNT, 1),
    (E::EXIT_MSR_LOAD_COUNT, 1),
    (E::ENTRY_MSR_LOAD_COUNT, 1),
    (E::VMCS_LINK_PTR, u64::MAX),
    (E::HOST_CR0, 0x8000_0031),
    (E::HOST_CR3, 0x2000),
    (E::HOST_CR4, 0x2020),
    (E::HOST_CS_SELECTOR, 0x8),
    (E::HOST_SS_SELECTOR, 0x10),
    (E::HOST_DS_SELECTOR, 0x10),
    (E::HOST_ES_SELECTOR, 0x10),
    (E::HOST_FS_SELECTOR, 0x10),
    (E::HOST_GS_SELECTOR, 0x10),
    (E::HOST_TR_SELECTOR, 0x18),
    (E::HOST_PAT, 0x0007_0406_0007_0406),
    (E::HOST_EFER, 0x500),
    (E::HOST_RIP, 0x1_0000),
    (E::HOST_RSP, 0x2_0000),
    (E::GUEST_CR0, 0x8000_0031),
    (E::GUEST_CR4, 0x2020),
    (E::GUEST_PAT, 0x0007_0406_0007_0406),
    (E::GUEST_DR7, 0x400),
    (E::GUEST_RFLAGS, 2),
    (E::GUEST_RIP, 0x1000),
    (E::GUEST_CS_SELECTOR, 0x8),
    (E::GUEST_SS_SELECTOR, 0x10),
    (E::GUEST_DS_SELECTOR, 0x10),
    (E::GUEST_ES_SELECTOR, 0x10),
    (E::GUEST_FS_SELECTOR, 0x10),
    (E::GUEST_GS_SELECTOR, 0x10),
    (E::GUEST_TR_SELECTOR, 0x18),
    (E::GUEST_LDTR_SELECTOR, 0x20),
    (E::GUEST_CS_LIMIT, 0xffff_ffff),
    (E::GUEST_SS_LIMIT, 0xffff_ffff),
    (E::GUEST_DS_LIMIT, 0xffff_ffff),
    (E::GUEST_ES_LIMIT, 0xffff_ffff),
    (E::GUEST_FS_LIMIT, 0xffff_ffff),
    (E::GUEST_GS_LIMIT, 0xffff_ffff),
    (E::GUEST_TR_LIMIT, 0x67),
    (E::GUEST_LDTR_LIMIT, 0xf),
    (E::GUEST_GDTR_LIMIT, 0xffff),
    (E::GUEST_IDTR_LIMIT, 0xffff),
    (E::GUEST_CS_AR, 0xc09b),
    (E::GUEST_SS_AR, 0xc093),
    (E::GUEST_DS_AR, 0xc093),
    (E::GUEST_ES_AR, 0xc093),
    (E::GUEST_FS_AR, 0xc093),
    (E::GUEST_GS_AR, 0xc093),
    (E::GUEST_TR_AR, 0x8b),
    (E::GUEST_LDTR_AR, 0x82),
];

/// Fields of a guest in real-address or virtual-8086 mode.
const SMALL_SEGMENTS: &[(E, u64)] = &[
    (E::GUEST_CS_BASE, 0x80),
    (E::GUEST_SS_BASE, 0x100),
    (E::GUEST_DS_BASE, 0x100),
    (E::GUEST_ES_BASE, 0x100),
    (E::GUEST_FS_BASE, 0x100),
    (E::GUEST_GS_BASE, 0x100),
    (E::GUEST_CS_LIMIT, 0xffff),
    (E::GUEST_SS_LIMIT, 0xffff),
    (E::GUEST_DS_LIMIT, 0xffff),
    (E::GUEST_ES_LIMIT, 0xffff),
    (E::GUEST_FS_LIMIT, 0xffff),
    (E::GUEST_GS_LIMIT, 0xffff),
];

const RIGHTS: [E; 6] =
    [E::GUEST_CS_AR, E::GUEST_SS_AR, E::GUEST_DS_AR, E::GUEST_ES_AR, E::GUEST_FS_AR, E::GUEST_GS_AR];

/// Makes an empty sample a valid one.
pub(super) fn prepare(sample: &mut Sample, guest: Guest) {
    fill_memory(sample);
    set(sample, COMMON);
    set_controls(sample, guest);
    match guest {
        Guest::Long => set(sample, &[(E::GUEST_EFER, 0x500), (E::GUEST_CS_AR, 0xa09b)]),
        Guest::Pae | Guest::PaeShadow => {}
        Guest::Protected => sample.vmcs.write(E::GUEST_CR4, 0x2000),
        Guest::Virtual8086 => {
            set(sample, &[(E::GUEST_CR4, 0x2000), (E::GUEST_RFLAGS, 0x2_0002)]);
            set(sample, SMALL_SEGMENTS);
            RIGHTS.iter().for_each(|rights| sample.vmcs.write(*rights, 0xf3));
        }
        Guest::Real => {
            set(sample, &[(E::GUEST_CR0, 0x30), (E::GUEST_CR4, 0x2000)]);
            set(sample, SMALL_SEGMENTS);
            RIGHTS.iter().for_each(|rights| sample.vmcs.write(*rights, 0x93));
            sample.vmcs.write(E::GUEST_CS_AR, 0x9b);
        }
        Guest::Legacy => {
            Setting::LegacyMode.apply(sample);
            set(sample, &[(E::GUEST_CR4, 0x2000), (E::HOST_EFER, 0)]);
        }
    }
}

fn set(sample: &mut Sample, fields: &[(E, u64)]) {
    fields.iter().for_each(|(field, value)| sample.vmcs.write(*field, *value));
}

/// Shadow and other VMCSs that a link pointer may reference at `9000H` and `B000H`, and PDPTEs at `C000H` with a reserved
/// bit. The VMCS itself is at `1000H`.
fn fill_memory(sample: &mut Sample) {
    let revision = u64::from(REVISION_IDENTIFIER);
    for (address, value) in
        [(0x1000, revision), (0x9000, revision), (0xb000, revision | 1 << 31), (0xc000, 7)]
    {
        sample.memory.write(HostPhysicalAddress(address), value);
    }
}

/// The default1 controls that have no name, and the controls of tier 1 that change nothing that other fields must obey.
fn set_controls(sample: &mut Sample, guest: Guest) {
    let must = |word| sample.capabilities.settings(word).must_be_1 as u32; // of 32-bit words
    let [pin, primary] = [must(ControlWord::PinBased), must(ControlWord::PrimaryProcessor)];
    let [exit, entry] = [must(ControlWord::PrimaryExit), must(ControlWord::Entry)];
    let mut secondary = Secondary::ENABLE_VPID;
    let ept = !matches!(guest, Guest::Protected | Guest::PaeShadow | Guest::Legacy);
    secondary.set(Secondary::ENABLE_EPT, ept);
    secondary.set(Secondary::UNRESTRICTED_GUEST, guest == Guest::Real);
    let mut exits = Exit::SAVE_DEBUG_CONTROLS | Exit::LOAD_IA32_PAT | Exit::LOAD_IA32_EFER;
    exits |= Exit::ACKNOWLEDGE_INTERRUPT_ON_EXIT | Exit::SAVE_VMX_PREEMPTION_TIMER_VALUE;
    exits.set(Exit::HOST_ADDRESS_SPACE_SIZE, guest != Guest::Legacy);
    let mut entries = Entry::LOAD_DEBUG_CONTROLS | Entry::LOAD_IA32_PAT | Entry::LOAD_IA32_EFER;
    entries.set(Entry::IA_32E_MODE_GUEST, guest == Guest::Long);
    let vmcs = &mut sample.vmcs;
    vmcs.set_controls(
        Pin::from_bits_retain(pin)
            | Pin::EXTERNAL_INTERRUPT_EXITING
            | Pin::NMI_EXITING
            | Pin::VIRTUAL_NMIS
            | Pin::ACTIVATE_VMX_PREEMPTION_TIMER,
    );
    vmcs.set_controls(
        Primary::from_bits_retain(primary)
            | Primary::USE_I_O_BITMAPS
            | Primary::USE_MSR_BITMAPS
            | Primary::USE_TPR_SHADOW
            | Primary::NMI_WINDOW_EXITING
            | Primary::ACTIVATE_SECONDARY_CONTROLS,
    );
    vmcs.set_controls(secondary);
    vmcs.set_controls(Exit::from_bits_retain(exit) | exits);
    vmcs.set_controls(Entry::from_bits_retain(entry) | entries);
}
