#![allow(clippy::unwrap_used, reason = "tests")]

use super::{Capabilities, CapabilitiesError, NAMES};
use crate::capability::CapabilityMsr as Msr;
use crate::controls::{CONTROLS, ControlBit, ControlWord, DefaultClass};
use crate::field::{Encoding, FIELDS};
use isa::system::{Features, Offers};

fn tier1() -> Capabilities {
    Capabilities::tier1(&Features::default())
}

#[test]
fn tier_1_reports_what_processors_report_for_the_same_controls() {
    let values: Vec<_> = Msr::ALL.iter().filter_map(|msr| tier1().read(*msr)).collect();
    let expected = [
        0x00d8_1000_766d_7801, // BASIC: 4096 bytes, write-back, INS/OUTS information, TRUE MSRs
        0x0000_007f_0000_0016,
        0xfff9_fffe_0401_e172,
        0x007f_efff_0003_6dff,
        0x0000_d3ff_0000_11ff,
        0x0000_0000_0004_01e0, // MISC: 4 CR3-target values, three activity states, LMA stored, TSC bit 0
        0x0000_0000_8000_0021,
        0x0000_0000_ffff_ffff,
        0x0000_0000_0000_2000,
        (Features::default().cr4 | isa::control::Cr4::VMXE).bits(),
        0x0000_0000_0000_002e, // VMCS_ENUM: index 23, the VMX-preemption timer value
        0x0000_10ee_0000_0000,
        0x0000_0f01_0633_41c1,
        0x0000_007f_0000_0016,
        0xfff9_fffe_0400_6172,
        0x007f_efff_0003_6dfb,
        0x0000_d3ff_0000_11fb,
    ];
    assert_eq!(values, expected, "{values:x?}");
}

#[test]
fn the_pairs_of_entry_and_exit_controls_are_offered_together() {
    let offers = |word, bit| tier1().offers(ControlBit { word, bit });
    for (entry, exits) in [(2, vec![2]), (9, vec![9]), (14, vec![18, 19]), (15, vec![20, 21])] {
        assert!(offers(ControlWord::Entry, entry));
        for exit in exits {
            assert!(offers(ControlWord::PrimaryExit, exit), "exit:{exit}");
        }
    }
}

#[test]
fn default1_controls_must_be_1_unless_the_true_msr_says_otherwise() {
    for control in CONTROLS.iter().filter(|control| control.default == DefaultClass::Default1) {
        let value = |msr| tier1().value(msr) >> control.bit & 1;
        assert_eq!(value(control.word.capability()), 1, "{}", control.id);
        let named = !control.name.starts_with("default1");
        assert_eq!(value(control.word.true_capability()), u64::from(!named), "{}", control.id);
    }
}

#[test]
fn fields_exist_where_their_controls_are_offered() {
    let fields = tier1().fields();
    for present in [Encoding::VPID, Encoding::EPTP, Encoding::GUEST_PDPTE3, Encoding::CR3_TARGET3] {
        assert!(fields.contains(present));
    }
    for absent in [Encoding::PML_INDEX, Encoding::INJECTED_EVENT_DATA, Encoding::HOST_PKRS] {
        assert!(!fields.contains(absent));
    }
    assert_eq!(fields.iter().count(), 131);
    let none = tier1().with(Msr::Basic, 0).with(Msr::ProcbasedCtls, 0).with(Msr::ProcbasedCtls2, 0);
    assert!(!none.has_field(Encoding::EPTP) && none.has_field(Encoding::GUEST_RIP));
    for field in FIELDS.iter().filter(|field| tier1().has_field(field.encoding)) {
        let high = field.encoding.high();
        assert!(high.is_none_or(|high| tier1().has_field(high)), "{}", field.name);
    }
}

#[test]
fn instructions_that_the_processor_lacks_are_not_offered() {
    let mut features = Features::default();
    features.offers -= Offers::RDTSCP | Offers::INVPCID;
    let without = Capabilities::tier1(&features);
    for bit in [3, 12] {
        let control = ControlBit { word: ControlWord::SecondaryProcessor, bit };
        assert!(tier1().offers(control) && !without.offers(control));
    }
}

#[test]
fn every_named_model_is_there_and_no_other() {
    for name in NAMES {
        assert!(Capabilities::named(name, &Features::default()).is_some(), "{name}");
    }
    assert_eq!(Capabilities::named("tier4", &Features::default()), None);
}

#[test]
fn a_dump_needs_the_msrs_that_it_says_exist_and_takes_no_others() {
    let dump = |without: Msr| {
        let all = Msr::ALL.iter().filter(move |msr| **msr != without);
        all.filter_map(|msr| Some((*msr, tier1().read(*msr)?))).collect::<Vec<_>>()
    };
    assert_eq!(Capabilities::from_msrs(dump(Msr::Vmfunc)), Ok(tier1()));
    for needed in [Msr::Basic, Msr::TrueExitCtls, Msr::EptVpidCap, Msr::Cr4Fixed1] {
        assert_eq!(Capabilities::from_msrs(dump(needed)), Err(CapabilitiesError::Missing(needed)));
    }
    let writable = [(Msr::FeatureControl, 5)];
    assert_eq!(Capabilities::from_msrs(writable), Err(CapabilitiesError::NoCapability(Msr::FeatureControl)));
}
