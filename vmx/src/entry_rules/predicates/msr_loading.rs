//! Checks of an entry of the VM-entry MSR-load area (SDM 29.4).

use super::{Entry, EntryHalf, Predicate};

const IA32_BIOS_UPDT_TRIG: u32 = 0x79;
const IA32_BIOS_SIGN_ID: u32 = 0x8b;
const IA32_SMM_MONITOR_CTL: u32 = 0x9b;
const IA32_FS_BASE: u32 = 0xc000_0100;
const IA32_GS_BASE: u32 = 0xc000_0101;

const fn entry(id: &'static str, must: EntryHalf) -> Entry {
    (id, Predicate::Entry(must))
}

pub(super) const RULES: &[Entry] = &[
    entry("MSRLOAD.FS_BASE", |it| it.entry.index != IA32_FS_BASE),
    entry("MSRLOAD.GS_BASE", |it| it.entry.index != IA32_GS_BASE),
    entry("MSRLOAD.X2APIC", |it| it.entry.index >> 8 != 8),
    entry("MSRLOAD.SMM_ONLY", |it| it.subject.in_smm() || it.entry.index != IA32_SMM_MONITOR_CTL),
    entry("MSRLOAD.MODEL", |it| !matches!(it.entry.index, IA32_BIOS_UPDT_TRIG | IA32_BIOS_SIGN_ID)),
    entry("MSRLOAD.RSVD", |it| it.entry.reserved == 0),
    ("MSRLOAD.WRMSR_GP", Predicate::Wrmsr),
    entry("MSRLOAD.COUNT", |it| it.number <= it.subject.capabilities.misc().recommended_msr_list_entries()),
];
