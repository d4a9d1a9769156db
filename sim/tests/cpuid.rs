//! Processor models: every flag where the manual has it, nothing that is not offered, and files refused with a reason.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use vmxsim::cpuid::{Dynamic, Feature, Model, ModelError, Offered, Register};

#[path = "cpuid/flags.rs"]
mod flags;

use flags::FLAGS;

/// A processor that runs a 64-bit operating system.
const RUNNING: Dynamic = Dynamic {
    apic_id: 2,
    processors: 4,
    apic_enabled: true,
    osxsave: true,
    ospke: true,
    xcr0: 0x203,
    in_64_bit_mode: true,
};

fn model(name: &str) -> Model {
    Model::select(name).unwrap()
}

fn models() -> impl Iterator<Item = Model> {
    Model::known().map(model)
}

fn place(feature: Feature) -> (u32, u32, Register, u32) {
    let bit = feature.bit();
    (bit.leaf, bit.subleaf, bit.register, bit.bit)
}

/// Every leaf that a model has, and what lies around.
fn leaves() -> impl Iterator<Item = (u32, u32)> {
    let leaves = (0..0x20).chain(0x4000_0000..0x4000_0002).chain(0x8000_0000..0x8000_000a);
    leaves.flat_map(|leaf| (0..12).map(move |subleaf| (leaf, subleaf)))
}

/// The bits that differ between two states, as (leaf, subleaf, register, mask).
fn differences(model: &Model, before: &Dynamic, after: &Dynamic) -> Vec<(u32, u32, usize, u32)> {
    let differences = |(leaf, subleaf)| {
        let (before, after) = (model.cpuid(leaf, subleaf, before), model.cpuid(leaf, subleaf, after));
        (0..4).map(move |register| (leaf, subleaf, register, before[register] ^ after[register]))
    };
    // Above the highest leaves, and where the subleaf does not matter, the same bits show again.
    let own = |(leaf, subleaf): &(u32, u32)| {
        (*leaf <= 0x16 || *leaf >= 0x8000_0000 && *leaf <= 0x8000_0008)
            && (*subleaf == 0 || [4, 7, 0xb, 0xd].contains(leaf))
    };
    leaves().filter(own).flat_map(differences).filter(|(.., mask)| *mask != 0).collect()
}

#[test]
fn every_flag_is_where_the_manual_has_it() {
    let mut listed = Vec::new();
    for (leaf, subleaf, register, names) in FLAGS {
        for (bit, name) in (0..).zip(names.split(", ")).filter(|(_, name)| *name != "-") {
            let feature = Feature::named(name).unwrap_or_else(|| panic!("no feature {name}"));
            assert_eq!(place(feature), (leaf, subleaf, register, bit), "{name}");
            listed.push(feature);
        }
    }
    let wbnoinvd = Feature::named("WBNOINVD").unwrap();
    assert_eq!(place(wbnoinvd), (0x8000_0008, 0, Register::Ebx, 9));
    listed.push(wbnoinvd);
    listed.sort_unstable();
    assert_eq!(listed, Feature::all().collect::<Vec<_>>());
}

#[test]
fn names_and_places_are_unique() {
    let names: std::collections::HashSet<_> = Feature::all().map(Feature::name).collect();
    let bits: std::collections::HashSet<_> = Feature::all().map(Feature::bit).collect();
    assert_eq!((names.len(), bits.len()), (Feature::all().count(), Feature::all().count()));
}

#[test]
fn a_model_shows_the_features_that_it_has_and_no_other() {
    let follows = ["OSXSAVE", "OSPKE", "HTT"];
    for model in models() {
        for feature in Feature::all().filter(|feature| !follows.contains(&feature.name())) {
            let bit = feature.bit();
            let shown =
                model.cpuid(bit.leaf, bit.subleaf, &RUNNING)[bit.register as usize] >> bit.bit & 1 == 1;
            let counts = bit.leaf != 0xd || model.has(Feature::Xsave);
            assert_eq!(shown, counts && model.has(feature), "{} of {}", feature.name(), model.name());
        }
    }
}

#[test]
fn every_model_has_only_what_is_offered_and_kvm_unit_has_all_of_it() {
    for model in models() {
        assert!(model.features().all(|feature| feature.offered() == Offered::Yes), "{}", model.name());
    }
    let offered: Vec<_> = Feature::all().filter(|feature| feature.offered() == Offered::Yes).collect();
    assert_eq!(model("kvm-unit").features().collect::<Vec<_>>(), offered);
    assert_eq!(model("server").features().collect::<Vec<_>>(), offered);
}

#[test]
fn every_model_is_known_by_the_name_in_its_file() {
    assert_eq!(Model::known().collect::<Vec<_>>(), ["minimal", "kvm-unit", "server", "amd"]);
    assert!(Model::known().zip(models()).all(|(name, model)| model.name() == name));
}

#[test]
fn the_minimal_model_has_what_a_64_bit_kernel_insists_on() {
    let needed = ["FPU", "MSR", "PAE", "CX8", "CMOV", "FXSR", "SSE", "SSE2", "LM", "SYSCALL"];
    let minimal = model("minimal");
    assert!(needed.iter().all(|name| minimal.has(Feature::named(name).unwrap())));
}

#[test]
fn what_would_promise_too_much_is_absent() {
    for model in models() {
        assert_eq!(model.cpuid(0xa, 0, &RUNNING), [0; 4]);
        for absent in ["PDCM", "LASS", "AVX", "LA57", "VMX", "XSAVES"] {
            assert!(!model.has(Feature::named(absent).unwrap()), "{absent}");
        }
    }
}

#[test]
fn the_leaves_of_kvm_unit_are_these() {
    let model = model("kvm-unit");
    let answer = |leaf, subleaf| model.cpuid(leaf, subleaf, &RUNNING);
    assert_eq!(answer(0, 0), [0x16, 0x756e_6547, 0x6c65_746e, 0x4965_6e69]);
    assert_eq!(answer(1, 0), [0x0008_06f8, 0x0204_0800, 0x4ffa_2203, 0x178b_fbff]);
    assert_eq!(answer(2, 0), [0xff01, 0, 0, 0]);
    assert_eq!(answer(3, 0), [0; 4]);
    assert_eq!(answer(4, 0), [0x0c00_0121, 0x01c0_003f, 63, 0]);
    assert_eq!(answer(4, 1), [0x0c00_0122, 0x01c0_003f, 63, 0]);
    assert_eq!(answer(4, 2), [0x0c00_0143, 0x03c0_003f, 2047, 0]);
    assert_eq!(answer(4, 3), [0x0c00_c163, 0x03c0_003f, 16383, 0]);
    assert_eq!(answer(4, 4), [0; 4]);
    assert_eq!(answer(5, 0), [0; 4]);
    assert_eq!(answer(6, 0), [4, 0, 0, 0]);
    assert_eq!(answer(7, 0), [0, 0x019c_078b, 0x0040_001c, 0x10]);
    assert_eq!(answer(7, 1), [0; 4]);
    assert_eq!(answer(0xb, 0), [0, 1, 0x100, 2]);
    assert_eq!(answer(0xb, 1), [2, 4, 0x201, 2]);
    assert_eq!(answer(0xb, 2), [0, 0, 2, 2]);
    assert_eq!(answer(0xb, 0x1_0003), [0, 0, 3, 2]);
    assert_eq!(answer(0xd, 0), [0x203, 2696, 2696, 0]);
    assert_eq!(answer(0xd, 1), [0; 4]);
    assert_eq!(answer(0xd, 2), [0; 4]);
    assert_eq!(answer(0xd, 9), [8, 2688, 0, 0]);
    assert_eq!(answer(0x15, 0), [1, 1, 1_000_000_000, 0]);
    assert_eq!(answer(0x16, 0), [1000, 1000, 1000, 0]);
    assert_eq!(answer(0x8000_0000, 0), [0x8000_0008, 0, 0, 0]);
    assert_eq!(answer(0x8000_0001, 0), [0, 0, 0x121, 0x2c10_0800]);
    assert_eq!(answer(0x8000_0005, 0), [0; 4]);
    assert_eq!(answer(0x8000_0006, 0), [0, 0, 0x0800_8040, 0]);
    assert_eq!(answer(0x8000_0007, 0), [0, 0, 0, 0x100]);
    assert_eq!(answer(0x8000_0008, 0), [0x302e, 0, 0, 0]);
    assert_eq!((model.physical_address_width(), model.linear_address_width()), (46, 48));
}

#[test]
fn the_leaves_of_amd_are_those_of_its_manual() {
    let model = model("amd");
    let answer = |leaf| model.cpuid(leaf, 0, &RUNNING);
    for leaf in [0, 0x8000_0000] {
        let [_, ebx, ecx, edx] = answer(leaf);
        assert_eq!([ebx, edx, ecx].map(u32::to_le_bytes).concat(), b"AuthenticAMD");
    }
    assert_eq!((answer(2), answer(4)), ([0; 4], [0; 4]), "caches are told elsewhere");
    assert_eq!((answer(1)[0], answer(0x8000_0001)[0]), (0x00a0_0f11, 0x00a0_0f11));
    // SYSCALL is shown in every mode, and the flags of leaf 1 are repeated.
    let outside = Dynamic { in_64_bit_mode: false, ..RUNNING };
    assert_eq!(model.cpuid(0x8000_0001, 0, &outside), answer(0x8000_0001));
    assert_eq!(answer(0x8000_0001)[3] & 0x0183_f3ff, answer(1)[3] & 0x0183_f3ff);
    assert_eq!(answer(0x8000_0005)[2..], [0x2008_0140, 0x2008_0140]);
}

#[test]
fn a_vendor_without_a_processor_is_refused() {
    let text = "base = \"server\"\nname = \"mine\"\ndescription = \"x\"\nvendor = \"GenuineAMD\"\n";
    let expected = "file.toml: vendor = \"GenuineAMD\": no vendor has this name; \
                    known are GenuineIntel, AuthenticAMD";
    assert_eq!(Model::from_toml(text, "file.toml").unwrap_err().to_string(), expected);
}

#[test]
fn the_brand_string_of_the_server_ends_in_zeros() {
    let parts = (0x8000_0002..=0x8000_0004).flat_map(|leaf| model("server").cpuid(leaf, 0, &RUNNING));
    let bytes: Vec<u8> = parts.flat_map(u32::to_le_bytes).collect();
    let mut expected = b"Intel(R) Xeon(R) Platinum 8480+".to_vec();
    expected.resize(48, 0);
    assert_eq!(bytes, expected);
}

#[test]
fn a_processor_without_xsave_or_clock_has_fewer_leaves() {
    let text = file("features = [\"FPU\", \"CLFSH\"]");
    let model = Model::from_toml(&text, "small.toml").unwrap();
    let answer = |leaf| model.cpuid(leaf, 0, &RUNNING);
    assert_eq!(answer(0)[0], 0xb);
    assert_eq!(answer(0xd), answer(0xb));
    assert_eq!(answer(0x8000_0008), [32 << 8 | 39, 0, 0, 0]);
    assert_eq!(answer(1), [0x001a_0fb7, 0x0204_0800, 0, 1 << 28 | 1 << 19 | 1]);
}

/// What changes, the state with the change, and the bits that may differ.
type Change = (&'static str, Dynamic, Vec<(u32, u32, usize, u32)>);

#[test]
fn each_dynamic_bit_changes_alone() {
    let changes: [Change; 6] = [
        ("APIC disabled", Dynamic { apic_enabled: false, ..RUNNING }, vec![(1, 0, 3, 1 << 9)]),
        ("OSXSAVE", Dynamic { osxsave: false, ..RUNNING }, vec![(1, 0, 2, 1 << 27)]),
        ("OSPKE", Dynamic { ospke: false, ..RUNNING }, vec![(7, 0, 2, 1 << 4)]),
        ("XCR0", Dynamic { xcr0: 3, ..RUNNING }, vec![(0xd, 0, 1, 2696 ^ 576)]),
        ("64-bit mode", Dynamic { in_64_bit_mode: false, ..RUNNING }, vec![(0x8000_0001, 0, 3, 1 << 11)]),
        (
            "APIC ID",
            Dynamic { apic_id: 3, ..RUNNING },
            [(1, 0, 1, 1 << 24)]
                .into_iter()
                .chain((0..12).map(|subleaf| (0xb, subleaf, 3, 1)))
                .collect::<Vec<_>>(),
        ),
    ];
    for (what, changed, expected) in changes {
        assert_eq!(differences(&model("kvm-unit"), &RUNNING, &changed), expected, "{what}");
    }
}

#[test]
fn dynamic_bits_stay_0_without_their_feature() {
    let minimal = model("minimal");
    let off = Dynamic { osxsave: false, ospke: false, xcr0: 0, ..RUNNING };
    assert_eq!(differences(&minimal, &off, &RUNNING), []);
    let without = file("features = [\"FPU\"]");
    let without = Model::from_toml(&without, "small.toml").unwrap();
    let off = Dynamic { apic_enabled: false, in_64_bit_mode: false, ..RUNNING };
    assert_eq!(differences(&without, &off, &RUNNING), []);
}

#[test]
fn one_processor_is_no_multithreading() {
    for processors in [0, 1] {
        let alone = Dynamic { processors, apic_id: 0, ..RUNNING };
        let [_, ebx, _, edx] = model("kvm-unit").cpuid(1, 0, &alone);
        assert_eq!((ebx, edx >> 28 & 1), (0x0001_0800, 0));
        assert_eq!(model("kvm-unit").cpuid(0xb, 1, &alone), [0, 1, 0x201, 0]);
        assert_eq!(model("kvm-unit").cpuid(4, 3, &alone)[0], 0x163);
    }
}

/// A file that lacks nothing but features.
fn file(rest: &str) -> String {
    format!(
        "name = \"x\"\ndescription = \"x\"\nbrand = \"x\"\n{rest}\n\
         [signature]\nfamily = 16\nmodel = 171\nstepping = 7\n[address-widths]\nphysical = 39\n"
    )
}

fn refusal(text: &str) -> String {
    Model::from_toml(text, "user.toml").unwrap_err().to_string()
}

#[test]
fn a_file_is_refused_with_file_key_value_and_reason() {
    let known = "known are minimal, kvm-unit, server, amd";
    let refusals = [
        ("features = [\"FPU\", \"SSE9\"]", "user.toml: features = SSE9: no feature has this name".into()),
        ("features = [\"FPU\", \"FPU\"]", "user.toml: features = FPU: already there".into()),
        (
            "features = [\"AVX\"]",
            "user.toml: features = AVX: not offered: registers wider than 128 bits are not modelled".into(),
        ),
        (
            "features = [\"OSPKE\"]",
            "user.toml: features = OSPKE: not offered: it follows CR4 and is not a property of the processor"
                .into(),
        ),
        ("features = [\"SSE\"]", "user.toml: features = SSE: needs FXSR, which the model lacks".into()),
        (
            "features = []\nadd-features = [\"LM\"]\n",
            "user.toml: features = LM: needs PAE, which the model lacks".into(),
        ),
        ("base = \"minimal\"\nadd-features = [\"LM\"]", "user.toml: add-features = LM: already there".into()),
        (
            "base = \"minimal\"\nremove-features = [\"XSAVE\"]",
            "user.toml: remove-features = XSAVE: not there".into(),
        ),
        ("base = \"maximal\"", format!("user.toml: base = maximal: no model of the program; {known}")),
        ("", "user.toml: features is missing".into()),
    ];
    for (rest, expected) in refusals {
        assert_eq!(refusal(&file(rest)), expected);
    }
}

#[test]
fn values_out_of_range_and_unknown_keys_are_refused() {
    let good = file("features = []\n");
    assert!(Model::from_toml(&good, "user.toml").is_ok());
    let long = format!("brand = \"{}\"", "b".repeat(48));
    let changes = [
        ("brand = \"x\"", "brand = \"\"", "user.toml: brand = \"\": must not be empty"),
        ("brand = \"x\"", "brand = \"é\"", "expected at most 47 printable ASCII characters"),
        ("brand = \"x\"", &long, "expected at most 47 printable ASCII characters"),
        ("name = \"x\"\n", "", "user.toml: name is missing"),
        ("family = 16", "family = 271", "user.toml: signature.family = 271: expected 0 to 270"),
        ("family = 16", "family = 5", "user.toml: signature.model = 171: expected 0 to 15"),
        ("stepping = 7", "stepping = 16", "user.toml: signature.stepping = 16: expected 0 to 15"),
        ("stepping = 7", "", "user.toml: signature.stepping is missing"),
        ("physical = 39", "physical = 53", "user.toml: address-widths.physical = 53: expected 36 to 52"),
        ("physical = 39", "physical = 35", "user.toml: address-widths.physical = 35: expected 36 to 52"),
        ("physical = 39", "virtual = 39", "user.toml:11:1: unknown field `virtual`"),
        ("features = []", "feature = []", "user.toml:4:1: unknown field `feature`"),
        ("features = []", "features = [1]", "user.toml:4:13: invalid type"),
        ("[signature]", "[clock]\ntsc-hz = 1\n[signature]", "user.toml: clock.core-crystal-hz is missing"),
        ("[signature]", "[clock]\ncore-crystal-hz = 0\n[signature]", "core-crystal-hz = 0: expected 1 to"),
    ];
    for (from, to, expected) in changes {
        assert!(good.contains(from));
        let refusal = refusal(&good.replacen(from, to, 1));
        assert!(refusal.contains(expected), "{refusal} does not say {expected}");
    }
}

#[test]
fn a_file_of_the_user_is_read_and_an_unknown_name_lists_the_known() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mine.toml");
    let text = "base = \"server\"\nname = \"mine\"\ndescription = \"x\"\nadd-features = []\n\
                remove-features = [\"PCID\"]\n[signature]\nstepping = 3\n[clock]\ncore-crystal-hz = 24000000\n\
                tsc-hz = 2100000000\n";
    std::fs::write(&path, text).unwrap();
    let mine = model(path.to_str().unwrap());
    let server = model("server");
    assert_eq!(mine.features().count() + 1, server.features().count());
    assert_eq!((mine.signature().model, mine.signature().stepping), (143, 3));
    assert_eq!(mine.cpuid(0x15, 0, &RUNNING), [2, 175, 24_000_000, 0]);
    assert_eq!(mine.cpuid(0x16, 0, &RUNNING), [2100, 2100, 24, 0]);
    assert_eq!(mine.cpuid(0x8000_0002, 0, &RUNNING), server.cpuid(0x8000_0002, 0, &RUNNING));

    std::fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(matches!(Model::select(path.to_str().unwrap()), Err(ModelError::Read { .. })));
    let unknown = Model::select("none").unwrap_err().to_string();
    assert_eq!(
        unknown,
        "no processor model is named `none`; known are minimal, kvm-unit, server, amd, or a file that ends in .toml"
    );
}

fn dynamics() -> impl Strategy<Value = Dynamic> {
    let switches = any::<[bool; 4]>();
    (any::<u32>(), any::<u32>(), switches, any::<u64>()).prop_map(|(apic_id, processors, switches, xcr0)| {
        let [apic_enabled, osxsave, ospke, in_64_bit_mode] = switches;
        Dynamic { apic_id, processors, apic_enabled, osxsave, ospke, xcr0, in_64_bit_mode }
    })
}

/// Leaves, most of them near those that exist.
fn any_leaf() -> impl Strategy<Value = u32> {
    prop_oneof![0_u32..0x20, 0x8000_0000_u32..0x8000_0010, any::<u32>()]
}

proptest! {
    #[test]
    fn every_leaf_answers_and_those_beyond_as_the_highest_basic_one(
        leaf in any_leaf(),
        subleaf in prop_oneof![0_u32..16, any::<u32>()],
        dynamic in dynamics(),
    ) {
        for model in models() {
            let highest = model.cpuid(0, subleaf, &dynamic)[0];
            let answer = model.cpuid(leaf, subleaf, &dynamic);
            let beyond = leaf > 0x8000_0008 || (highest + 1..0x8000_0000).contains(&leaf);
            if beyond {
                prop_assert_eq!(answer, model.cpuid(highest, subleaf, &dynamic));
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(base = \"server\"\n)?[a-z\\[\\]\"= \n.0-9-]{0,80}") {
        if let Err(error) = Model::from_toml(&text, "user.toml") {
            prop_assert!(error.to_string().starts_with("user.toml"));
        }
    }
}
