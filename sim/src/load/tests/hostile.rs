use super::*;
use proptest::prelude::*;

fn refused(segments: &[Segment]) -> LoadError {
    let mut segments = segments.to_vec();
    segments.push(pvh_note(0x100_0002));
    load(&image(elf64(0, &segments)), &options(Protocol::Pvh)).unwrap_err()
}

#[test]
fn a_segment_outside_ram_or_over_another_is_named() {
    let kernel = code(16 * MEBIBYTE, b"kernel", 0);
    for address in [64 * MEBIBYTE - 1, 0xa_0000, 0xf_0000, u64::MAX, u64::MAX - 5] {
        let error = refused(&[kernel.clone(), code(address, b"xx", 4)]);
        assert_eq!(error.place, Place::Segment(1));
        assert!(matches!(*error.problem, Problem::OutsideRam { .. }), "{error}");
    }
    let error = refused(&[kernel.clone(), code(16 * MEBIBYTE + 5, b"xx", 0)]);
    assert_eq!(
        error.to_string(),
        "test.img: segment 1: 0x2 bytes at 0x1000005 overlap segment 0 at 0x1000000"
    );
    let error = refused(&[kernel, code(17 * MEBIBYTE, b"", u64::MAX)]);
    assert!(matches!(*error.problem, Problem::OutsideRam { .. }), "{error}");
}

#[test]
fn a_segment_larger_in_the_file_than_in_memory_is_refused() {
    let mut segment = code(16 * MEBIBYTE, b"kernel", 0);
    segment.memory = 5;
    let error = refused(&[segment]);
    assert!(error.to_string().contains("p_filesz that is at most p_memsz"), "{error}");
}

#[test]
fn segments_that_share_bytes_of_the_file_cannot_fill_memory() {
    let segments: Vec<_> = (0..200).map(|n| code((16 + n / 8) * MEBIBYTE + n % 8 * 4096, b"", 0)).collect();
    let mut file = elf64(0, &[&[code(2 * MEBIBYTE, b"x", 0)], &segments[..], &[pvh_note(2 << 20)]].concat());
    for row in 1..=200 {
        let at = 64 + 56 * row;
        file[at + 8..at + 16].copy_from_slice(&0u64.to_le_bytes());
        file[at + 32..at + 40].copy_from_slice(&4096u64.to_le_bytes());
        file[at + 40..at + 48].copy_from_slice(&4096u64.to_le_bytes());
    }
    let error = load(&image(file), &options(Protocol::Pvh)).unwrap_err();
    assert!(error.to_string().contains("no other segment loads from"), "{error}");
}

#[test]
fn what_a_protocol_has_no_place_for_is_refused() {
    let flat = Protocol::Flat { address: 0x7c00, mode: FlatMode::Real };
    let with_module = |protocol| LoadOptions { modules: vec![module(b"x", "")], ..options(protocol) };
    let with_initrd = |protocol| LoadOptions { initrd: Some(image(vec![1])), ..options(protocol) };
    for (file, options, place) in [
        (bzimage(b""), with_module(Protocol::Linux64), Place::Module(0)),
        (multiboot_image(), with_initrd(Protocol::Multiboot), Place::Initrd),
        (vec![1], with_module(flat), Place::Module(0)),
        (vec![1], with_initrd(flat), Place::Initrd),
    ] {
        let error = load(&image(file), &options).unwrap_err();
        assert_eq!(error.place, place);
        assert!(matches!(*error.problem, Problem::Unsupported(_)), "{error}");
    }
}

#[test]
fn a_command_line_or_module_without_room_is_refused() {
    let long = LoadOptions { command_line: "x".repeat(1 << 20), ..options(Protocol::Auto) };
    let large = LoadOptions { modules: vec![module(&vec![0; 63 << 20], "")], ..options(Protocol::Auto) };
    for options in [long, large] {
        for file in [multiboot_image(), pvh_image()] {
            let error = load(&image(file), &options).unwrap_err();
            assert!(matches!(*error.problem, Problem::NoRoom { .. }), "{error}");
        }
    }
}

#[test]
fn every_cut_of_an_image_is_refused_or_sound() {
    for file in [multiboot_image(), pvh_image(), bzimage(&pvh_image())] {
        for length in 0..file.len() {
            let options = options(Protocol::Auto);
            if let Ok(loaded) = load(&image(file[..length].to_vec()), &options) {
                assert_sound(&loaded, &options.memory);
            }
        }
    }
}

#[test]
fn a_flat_binary_starts_at_its_first_byte_in_each_mode() {
    let start = |address, mode| {
        let options = options(Protocol::Flat { address, mode });
        let loaded = load(&image(vec![0xf4]), &options)?;
        assert_sound(&loaded, &options.memory);
        assert_eq!(Seen(&loaded).bytes(address, 1), [0xf4]);
        Ok::<_, LoadError>(loaded.start)
    };
    assert_eq!(start(0x7c00, FlatMode::Real).unwrap(), Start::Real { cs: 0, ip: 0x7c00 });
    assert_eq!(start(0xf_fff0, FlatMode::Real).unwrap(), Start::Real { cs: 0xf000, ip: 0xfff0 });
    assert!(matches!(start(0x10_0000, FlatMode::Protected), Ok(Start::Protected { eip: 0x10_0000, .. })));
    assert!(matches!(start(0x10_0000, FlatMode::Long), Ok(Start::Long { rip: 0x10_0000, .. })));
    assert!(start(0x10_0000, FlatMode::Real).is_err());
    assert!(start(0xa_0000, FlatMode::Real).is_err());
}

fn protocols() -> impl Strategy<Value = Protocol> {
    prop_oneof![
        Just(Protocol::Auto),
        Just(Protocol::Multiboot),
        Just(Protocol::Pvh),
        Just(Protocol::Linux64),
        Just(Protocol::Linux32),
    ]
}

/// How many cases a property is tried with.
fn cases() -> u32 {
    std::env::var("VMXSIM_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256)
}

/// Values that headers are broken with.
fn values() -> impl Strategy<Value = u32> {
    prop_oneof![any::<u32>(), 0..64u32, Just(u32::MAX), Just(1 << 31), Just(0x10_0000), Just(0x100_0000)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn a_mutated_image_never_panics_and_never_leaves_ram(
        base in 0..4usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), values()), 0..6),
        protocol in protocols(),
        mebibytes in prop_oneof![Just(2u64), Just(20), Just(64), Just(3073)],
        initrd in prop::option::of(0..100_000usize),
    ) {
        let lz4 = [words(&[0x184c_2102, 4]), b"junk".to_vec()].concat();
        let mut file = [multiboot_image(), pvh_image(), bzimage(&pvh_image()), bzimage(&lz4)][base].clone();
        // Headers first: that is where a change matters.
        let reach = file.len().min(0x270) - 4;
        for (at, value) in &changes {
            let at = at.index(reach);
            file[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let mut options = options(protocol);
        options.memory = MemoryMap::new(mebibytes * MEBIBYTE).unwrap();
        options.initrd = initrd.map(|size| image(vec![1; size]));
        if let Ok(loaded) = load(&image(file), &options) {
            assert_sound(&loaded, &options.memory);
        }
    }
}
