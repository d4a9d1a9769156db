//! Both sides of the edges that a single counterexample does not show.

use crate::entry_rules::{AcceptedEntry, explain};
use crate::field::Encoding;
use crate::sample::{Guest, Sample};
use isa::address::HostPhysicalAddress;

fn violated(sample: &Sample) -> Vec<&'static str> {
    explain(&sample.subject()).iter().map(|violation| violation.rule.id).collect()
}

#[test]
fn what_is_just_allowed_is_accepted_and_what_is_just_not_is_refused() {
    let cases: &[(&str, &[&str])] = &[
        ("long CR3_TARGET_COUNT=0x4", &[]),
        ("long CR3_TARGET_COUNT=0x5", &["CTL.EXEC.CR3_TARGET.COUNT"]),
        ("long IO_BITMAP_A=0x3ffffffff000", &[]),
        ("long EPTP=0x5018", &[]), // uncacheable
        ("long EPTP=0x505e", &[]), // accessed and dirty flags
        ("long EPTP=0x5026", &[]), // five levels
        ("long EPTP=0x502e", &["CTL.EXEC.EPTP.WALK"]),
        ("long short-addresses MSR_BITMAP=0xfffff000", &[]),
        ("long short-addresses MSR_BITMAP=0x100000000", &["CTL.EXEC.MSR_BITMAP.WIDTH"]),
        ("long EXIT_MSR_LOAD_ADDR=0x3ffffffffff0", &[]), // the last 16 bytes there are
        ("long EXIT_MSR_LOAD_ADDR=0x3ffffffffff0 EXIT_MSR_LOAD_COUNT=0x2", &["CTL.EXIT.MSR_LOAD.LAST"]),
        ("long EXIT_MSR_LOAD_COUNT=0xffffffff", &[]), // beyond the recommended number
        ("long EXIT_MSR_LOAD_COUNT=0x0 EXIT_MSR_LOAD_ADDR=0xffffffffffffffff", &[]),
        ("long PRIMARY_PROC_CONTROLS-=0x80000000 SECONDARY_PROC_CONTROLS=0xffffffff", &[]),
        ("long INJECTED_EVENT_ID=0x80000b08", &[]), // #DF with its error code
        ("long INJECTED_EVENT_ID=0x80000309", &[]),
        ("long INJECTED_EVENT_ID=0x80000b09", &["CTL.INJ.EC_MUST_0_VEC"]),
        ("real INJECTED_EVENT_ID=0x8000030d", &[]), // #GP in real-address mode
        ("long INJECTED_EVENT_ID=0x80000700", &[]), // a pending MTF VM exit
        ("long INJECTED_EVENT_ID=0x80000480 ENTRY_INSTRUCTION_LENGTH=0xf", &[]),
        ("long INJECTED_EVENT_ID=0x80000480 ENTRY_INSTRUCTION_LENGTH=0x10", &["CTL.INJ.ILEN_MAX"]),
        ("long INJECTED_EVENT_ID=0x7fffffff", &[]),    // not valid
        ("long HOST_FS_BASE=0xff00000000000000", &[]), // 57 bits
        ("long HOST_FS_BASE=0xfe00000000000000", &["HOST.SEG.FS_BASE"]),
        ("long HOST_CR4=0x3020 HOST_RIP=0xff00000000000000", &[]), // host CR4.LA57
        ("long HOST_RIP=0xff00000000000000", &["HOST.ASZ.H64_RIP"]),
        ("long GUEST_CR0=0xe0000031", &[]),                  // CD and NW
        ("long GUEST_RIP=0x1ffffffffffffff", &[]),           // not canonical, and 57 bits
        ("long GUEST_CS_AR=0xa093", &["GUEST.SEG.CS_TYPE"]), // a data segment
        ("real GUEST_CS_AR=0x93", &[]),
        ("real GUEST_CS_AR=0xb3", &["GUEST.SEG.CS_DPL_TYPE3"]),
        ("long GUEST_CS_AR=0xc09b", &[]), // compatibility mode
        ("long GUEST_DS_AR=0x10000 GUEST_DS_BASE=0xffffffffffffffff", &[]),
        ("long GUEST_LDTR_AR=0x10000 GUEST_LDTR_SELECTOR=0xffff", &[]),
        ("long GUEST_SS_AR=0x10000", &[]),
        ("protected GUEST_TR_AR=0x83", &[]), // a 16-bit TSS
        ("long GUEST_TR_LIMIT=0xfffff GUEST_TR_AR=0x808b", &[]),
        ("long GUEST_TR_LIMIT=0xffffe GUEST_TR_AR=0x808b", &["GUEST.SEG.TR_G0"]),
        ("long GUEST_ACTIVITY=0x1 INJECTED_EVENT_ID=0x80000301", &[]),
        ("long GUEST_ACTIVITY=0x2 INJECTED_EVENT_ID=0x80000312", &[]),
        ("long GUEST_ACTIVITY=0x2 INJECTED_EVENT_ID=0x80000301", &["GUEST.NONREG.ACT_INJ_SHUTDOWN"]),
        // Single-stepping over STI: BS must be pending, but for BTF.
        ("long GUEST_RFLAGS=0x302 GUEST_INTERRUPTIBILITY=0x1 GUEST_PENDING_DEBUG=0x4000", &[]),
        ("long GUEST_RFLAGS=0x302 GUEST_INTERRUPTIBILITY=0x1", &["GUEST.NONREG.PDBG_BS_1"]),
        ("long GUEST_RFLAGS=0x302 GUEST_INTERRUPTIBILITY=0x1 GUEST_DEBUGCTL=0x2", &[]),
        (
            "long GUEST_RFLAGS=0x302 GUEST_INTERRUPTIBILITY=0x1 GUEST_DEBUGCTL=0x2 GUEST_PENDING_DEBUG=0x4000",
            &["GUEST.NONREG.PDBG_BS_0"],
        ),
        ("long VMCS_LINK_PTR=0x9000", &[]),
        ("pae-shadow GUEST_CR3=0xc000", &["GUEST.PDPTE.MEM"]),
        ("pae GUEST_CR3=0xc000", &[]), // behind EPT the fields count
        ("pae GUEST_PDPTE0=0x1001", &[]),
        ("pae GUEST_PDPTE0=0x6", &[]), // not present
        ("long vmresume launched", &[]),
    ];
    for (text, rules) in cases {
        assert_eq!(violated(&text.parse().unwrap()), *rules, "{text}");
    }
}

/// A guest whose virtual-APIC page has this VTPR, with this TPR threshold.
fn with_vtpr(vtpr: u64, threshold: u64) -> Sample {
    let mut sample = Sample::of(Guest::Long);
    sample.memory.write(HostPhysicalAddress(0x8080), vtpr);
    sample.vmcs.write(Encoding::TPR_THRESHOLD, threshold);
    sample
}

#[test]
fn the_tpr_threshold_is_compared_with_bits_7_to_4_of_vtpr() {
    for (vtpr, threshold, rules) in [
        (0x50, 5, vec![]),
        (0x5f, 6, vec!["CTL.EXEC.TPR.THRESHOLD_VTPR"]),
        (0x0f, 1, vec!["CTL.EXEC.TPR.THRESHOLD_VTPR"]),
        (0xffff_fff0, 15, vec![]),
    ] {
        assert_eq!(violated(&with_vtpr(vtpr, threshold)), rules, "{vtpr:#x} {threshold}");
    }
}

#[test]
fn memory_is_read_at_each_entry_though_no_field_has_changed() {
    let mut sample = with_vtpr(0x50, 5);
    let mut accepted = AcceptedEntry::none();
    assert_eq!(accepted.check(&sample.subject()), Ok(()));
    sample.vmcs.accept_changes();
    sample.memory.write(HostPhysicalAddress(0x8080), 0x40);
    let refused = accepted.check(&sample.subject()).unwrap_err();
    assert_eq!(refused.rule.id, "CTL.EXEC.TPR.THRESHOLD_VTPR");
}
