use crate::entry_rules::{MsrLoad, Refusal, SystemManagementMode, load_msrs};
use crate::exit_reason::BasicExitReason;
use crate::field::Encoding;
use crate::sample::{Guest, Sample};
use isa::address::HostPhysicalAddress;

/// An entry whose MSR-load area holds these entries: index, bits 63:32, value.
fn with_list(entries: &[(u32, u32, u64)]) -> Sample {
    let mut sample = Sample::of(Guest::Long);
    sample.vmcs.write(Encoding::ENTRY_MSR_LOAD_COUNT, entries.len() as u64);
    for ((index, reserved, value), at) in entries.iter().zip((0x3000..).step_by(16)) {
        let first = u64::from(*index) | u64::from(*reserved) << 32;
        sample.memory.write(HostPhysicalAddress(at), first);
        sample.memory.write(HostPhysicalAddress(at + 8), *value);
    }
    sample
}

/// Nothing, or the violated rule and the exit qualification.
type Answer = Result<(), (&'static str, u64)>;

/// Loads the list on a processor where MSR 10H takes no value above 9; the answer, and what was loaded.
fn load(sample: &Sample) -> (Answer, Vec<(u32, u64)>) {
    let mut loaded = Vec::new();
    let answer = load_msrs(&sample.subject(), |index, value| {
        if index == 0x10 && value > 9 {
            return MsrLoad::Faults;
        }
        loaded.push((index, value));
        MsrLoad::Loaded
    });
    let answer = answer.map_err(|violation| match violation.refused_as {
        Refusal::EntryFailure { reason: BasicExitReason::VmEntryFailureMsrLoading, qualification } => {
            (violation.rule.id, qualification)
        }
        other => panic!("{other}"),
    });
    (answer, loaded)
}

#[test]
fn a_good_list_is_loaded_in_order() {
    let sample = with_list(&[(0x10, 0, 1), (0xc000_0102, 0, 2), (0x10, 0, 3)]);
    assert_eq!(load(&sample), (Ok(()), vec![(0x10, 1), (0xc000_0102, 2), (0x10, 3)]));
}

#[test]
fn each_rule_refuses_the_entry_that_breaks_it_and_the_ones_before_stay_loaded() {
    for (rule, entry) in [
        ("MSRLOAD.FS_BASE", (0xc000_0100, 0, 0)),
        ("MSRLOAD.GS_BASE", (0xc000_0101, 0, 0)),
        ("MSRLOAD.X2APIC", (0x800, 0, 0)),
        ("MSRLOAD.X2APIC", (0x8ff, 0, 0)),
        ("MSRLOAD.SMM_ONLY", (0x9b, 0, 0)),
        ("MSRLOAD.MODEL", (0x79, 0, 0)),
        ("MSRLOAD.MODEL", (0x8b, 0, 0)),
        ("MSRLOAD.RSVD", (0x10, 1, 0)),
        ("MSRLOAD.WRMSR_GP", (0x10, 0, 10)),
    ] {
        let sample = with_list(&[(0x10, 0, 1), entry, (0x10, 0, 3)]);
        assert_eq!(load(&sample), (Err((rule, 2)), vec![(0x10, 1)]));
    }
    for good in [(0x7ff, 0, 0), (0x900, 0, 0), (0xc000_0102, 0, 0)] {
        assert_eq!(load(&with_list(&[good])).0, Ok(()));
    }
}

#[test]
fn smm_may_load_the_msr_that_only_smm_may_write() {
    let mut sample = with_list(&[(0x9b, 0, 0)]);
    sample.processor.smm = SystemManagementMode::Inside;
    assert_eq!(load(&sample).0, Ok(()));
}

#[test]
fn the_first_entry_beyond_the_recommended_number_fails() {
    let limit = Sample::of(Guest::Long).capabilities.misc().recommended_msr_list_entries();
    for (count, answer) in [(limit, Ok(())), (limit + 1, Err(("MSRLOAD.COUNT", u64::from(limit) + 1)))] {
        let list = vec![(0x10, 0, 1); count as usize];
        let (found, loaded) = load(&with_list(&list));
        assert_eq!((found, loaded.len()), (answer, limit as usize));
    }
}

#[test]
fn a_list_that_runs_into_the_end_of_the_address_space_is_read_without_a_panic() {
    let mut sample = Sample::of(Guest::Long);
    sample.vmcs.write(Encoding::ENTRY_MSR_LOAD_ADDR, u64::MAX - 15);
    sample.vmcs.write(Encoding::ENTRY_MSR_LOAD_COUNT, 0xffff_ffff);
    assert_eq!(load(&sample).0, Err(("MSRLOAD.COUNT", 513)));
}
