#![allow(clippy::unwrap_used, reason = "tests")]

use super::{Dump, DumpError, Part, lines};
use crate::cases::cases;
use crate::entry_rules::{check, lint};
use crate::field::{Encoding, Field};
use crate::sample::{Guest, Sample};
use crate::vmcs::FieldSet;
use proptest::prelude::*;

/// What KVM or Xen print for a sample: every pattern whose number is not left out, with its values.
fn printed(sample: &Sample, prefix: &str, leaves_out: impl Fn(&str) -> bool) -> String {
    let mut text = format!("{prefix}VMCS 000000001badb002, last attempted VM-entry on CPU 3\n");
    for (part, heading) in Part::ALL {
        text += &format!("{prefix}{heading}\n");
        for pattern in lines::of(part).iter().filter(|pattern| !leaves_out(pattern)) {
            let mut line = String::new();
            for (place, piece) in pattern.split(['{', '}']).enumerate() {
                match (place % 2, Field::by_name(piece)) {
                    (0, _) => line += piece,
                    (_, Some(field)) => line += &format!("0x{:08x}", sample.vmcs.read(field.encoding)),
                    (_, None) => line += "1f",
                }
            }
            text += &format!("{prefix}{line}\n");
        }
    }
    text
}

/// Patterns of one hypervisor only, of which KVM's come first.
fn is_of_xen(pattern: &str) -> bool {
    let rows =
        ["CS: {", "DS: {", "SS: {", "ES: {", "FS: {", "GS: {", "TR: {", "LDTR: {", "GDTR: {", "IDTR: {"];
    ["sel attr", "EFER(", "SM Base", "({"].iter().any(|word| pattern.contains(word))
        || pattern.starts_with("PDPTE")
        || rows.iter().any(|row| pattern.starts_with(row))
}

fn kvm(sample: &Sample) -> String {
    printed(sample, "[  673.850218] kvm_intel: ", is_of_xen)
}

#[test]
fn a_dump_gives_the_fields_that_it_prints_and_no_others() {
    for (guest, name) in Guest::ALL {
        let sample = Sample::of(guest);
        for text in [
            kvm(&sample),
            printed(&sample, "(XEN) ", |pattern| pattern.contains("sel=") || pattern.contains("PDPTR")),
        ] {
            let dump = Dump::parse(&(text + "\n(XEN) **************\n")).unwrap();
            assert_eq!(dump.ignored_lines, [0; 0], "{name}");
            for field in dump.given.iter() {
                assert_eq!(dump.vmcs.read(field), sample.vmcs.read(field), "{name}: {field}");
            }
            assert!(dump.given.contains(Encoding::GUEST_TR_BASE) && dump.given.contains(Encoding::EPTP));
            assert!(!dump.given.contains(Encoding::IO_BITMAP_A));
            for field in FieldSet::ALL.difference(dump.given).iter() {
                assert_eq!(dump.vmcs.read(field), 0, "{name}: {field}");
            }
        }
    }
}

#[test]
fn a_correct_dump_violates_nothing_and_a_broken_one_the_rule_that_is_broken() {
    let given = |sample: &Sample| {
        let dump = Dump::parse(&kvm(sample)).unwrap().with_inactive_controls();
        let subject = sample.subject();
        lint(&crate::entry_rules::Subject { vmcs: &dump.vmcs, ..subject }, dump.given)
    };
    let good = given(&Sample::of(Guest::Long));
    assert_eq!(good.violations, []);
    assert!(good.judged > 250, "{}", good.judged);
    assert!(good.missing.contains(Encoding::VMCS_LINK_PTR) && !good.missing.contains(Encoding::GUEST_RIP));
    for (change, rule) in [
        ("GUEST_CR0=0x80000011", "GUEST.CR.CR0_FIXED0"),
        ("GUEST_CR4=0x20", "GUEST.CR.CR4_FIXED0"),
        ("GUEST_CR3=0x400000000000", "GUEST.CR.CR3_WIDTH"),
        ("GUEST_RFLAGS=0x0", "GUEST.RIP.RFLAGS_BIT1"),
        ("GUEST_RIP=0x200000000001000", "GUEST.RIP.RIP_NBITS"),
        ("GUEST_DR7=0x100000400", "GUEST.DR.DR7_HI"),
        ("GUEST_SYSENTER_ESP=0x100000000000000", "GUEST.MSR.SYSENTER_ESP"),
        ("GUEST_CS_AR=0xe09b", "GUEST.SEG.CS_DB_L"),
        ("GUEST_DS_AR=0xc099", "GUEST.SEG.DS_READABLE"),
        ("GUEST_TR_AR=0x83", "GUEST.SEG.TR_TYPE_64"),
        ("GUEST_GDTR_LIMIT=0x1ffff", "GUEST.DT.GDTR_LIMIT"),
        ("GUEST_EFER=0x400", "GUEST.MSR.EFER_LME"),
        ("GUEST_PAT=0x2", "GUEST.MSR.PAT"),
        ("GUEST_ACTIVITY=0x4", "GUEST.NONREG.ACT_RANGE"),
        ("HOST_CS_SELECTOR=0x0", "HOST.SEG.CS_NONZERO"),
        ("HOST_CR4=0x2000", "HOST.ASZ.H64_PAE"),
        ("HOST_RIP=0x800000010000", "HOST.ASZ.H64_RIP"),
        ("INJECTED_EVENT_ID=0x80000203", "CTL.INJ.VEC_NMI"),
        ("EPTP=0x501f", "CTL.EXEC.EPTP.MEMTYPE"),
        ("VPID=0x0", "CTL.EXEC.VPID.NONZERO"),
        ("PIN_CONTROLS=0x7d", "CTL.EXEC.PIN.ALLOWED0"),
    ] {
        let sample: Sample = format!("long {change}").parse().unwrap();
        let found: Vec<_> = given(&sample).violations.iter().map(|violation| violation.rule.id).collect();
        assert_eq!(found, [rule]);
        assert_eq!(check(&sample.subject()).unwrap_err().rule.id, rule);
    }
}

#[test]
fn a_word_of_controls_is_known_without_being_given_only_if_the_one_that_activates_it_is() {
    let words = [Encoding::SECONDARY_PROC_CONTROLS, Encoding::SECONDARY_EXIT_CONTROLS];
    let known = |given: &[(Encoding, u64)]| {
        let mut dump = Dump::default();
        given.iter().for_each(|(field, value)| dump.give(*field, *value).unwrap());
        let dump = dump.with_inactive_controls();
        words.map(|word| dump.given.contains(word))
    };
    let (processor, exits) = (Encoding::PRIMARY_PROC_CONTROLS, Encoding::PRIMARY_EXIT_CONTROLS);
    assert_eq!(known(&[]), [false, false]);
    assert_eq!(known(&[(processor, 0)]), [true, false]);
    assert_eq!(known(&[(exits, 0)]), [false, true]);
    assert_eq!(known(&[(processor, 1 << 31), (exits, 1 << 31)]), [false, false]);
}

#[test]
fn what_is_wrong_with_a_text_is_said_with_its_place() {
    let good = kvm(&Sample::of(Guest::Long));
    let number_of = |words: &str| good.lines().position(|line| line.contains(words)).unwrap() + 1;
    let number = number_of("CR3 =");
    let error = |from: &str, to: &str| Dump::parse(&good.replacen(from, to, 1)).unwrap_err().to_string();
    assert_eq!(
        error("CR3 = 0x00000000", "CR3 = zero"),
        format!("line {number}, column 33: expected a hexadecimal value after `CR3 =`, found `zero`")
    );
    assert_eq!(
        error("shadow=0x00000000,", "shade=0x00000000,"),
        format!("line {}, column 49: expected `, shadow=`, found `,`", number - 2)
    );
    assert_eq!(
        error("sel=0x00000008", "sel=0x00010008"),
        format!("line {}: 0x10008 does not fit guest CS selector, which has 16 bits", number_of("CS: sel="))
    );
    assert_eq!(Dump::parse("nothing of the kind"), Err(DumpError::NoHeading("*** Guest State ***")));
    let cut = &good[..good.find("*** Control").unwrap()];
    assert_eq!(Dump::parse(cut), Err(DumpError::NoHeading("*** Control State ***")));
    let lines = good.lines().count();
    assert_eq!(Dump::parse(&(good.clone() + &good)), Err(DumpError::Second { line: lines + 2 }));
}

#[test]
fn lines_of_others_are_ignored_and_counted() {
    let text =
        kvm(&Sample::of(Guest::Long)).replacen("[  673.850218] kvm_intel: CR3", "eth0: link is up\nCR3", 1);
    let dump = Dump::parse(&text).unwrap();
    assert_eq!(dump.ignored_lines, [5]);
    assert!(dump.given.contains(Encoding::GUEST_CR3));
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn garbage_is_refused_or_read_without_a_panic(text in "\\PC{0,200}", cut in 0..6000_usize, letter: char) {
        let _ = Dump::parse(&text);
        let mut good: Vec<char> = kvm(&Sample::of(Guest::Long)).chars().collect();
        let place = cut % good.len();
        good[place] = letter;
        let _ = Dump::parse(&good.iter().collect::<String>());
        let _ = Dump::parse(&good[..place].iter().collect::<String>());
    }
}
