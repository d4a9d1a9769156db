use super::*;

#[test]
fn an_elf32_image_starts_as_multiboot_defines_with_all_information() {
    let mut options = options(Protocol::Auto);
    options.command_line = "a b".to_owned();
    options.modules = vec![module(b"NR_CPUS=2\n", "env"), module(&[7; 5000], "")];
    let loaded = load(&image(multiboot_image()), &options).unwrap();
    assert_sound(&loaded, &options.memory);
    let Start::Protected { eip, eax, ebx, esi, code, data, gdt, task } = loaded.start else { panic!() };
    assert_eq!((eip, eax, esi, gdt, task), (0x10_000c, 0x2bad_b002, 0, None, None));
    assert_eq!((code.base, code.limit, code.access), (0, u32::MAX, 0xc09b));
    assert_eq!((data.base, data.limit, data.access), (0, u32::MAX, 0xc093));
    let seen = Seen(&loaded);
    assert_eq!(seen.bytes(0x10_000c, 0x1004), [vec![0x90, 0x90, 0x90, 0xf4], vec![0; 0x1000]].concat());
    let field = |at: u64| seen.u32(u64::from(ebx) + at);
    assert_eq!([field(0), field(4), field(8)], [0x24d, 639, 63 * 1024]);
    assert_eq!(seen.string(field(16).into()), "test.img a b");
    assert_eq!(seen.string(field(64).into()), "vmxsim");
    assert_eq!(field(20), 2);
    let entry = |number: u64, at: u64| seen.u32(u64::from(field(24)) + number * 16 + at).into();
    assert_eq!(seen.bytes(entry(0, 0), entry(0, 4) - entry(0, 0)), b"NR_CPUS=2\n");
    assert_eq!(seen.string(entry(0, 8)), "env");
    assert_eq!(entry(1, 4) - entry(1, 0), 5000);
    assert_eq!([entry(0, 0) % 4096, entry(1, 0) % 4096], [0, 0]);
    assert!(entry(0, 0) >= 0x10_1010, "a module lies behind the bss");
    let row = |number: u64| u64::from(field(48)) + number * 24;
    let map: Vec<_> = (0..u64::from(field(44)) / 24)
        .map(|n| (seen.u32(row(n)), seen.u64(row(n) + 4), seen.u64(row(n) + 12), seen.u32(row(n) + 20)))
        .collect();
    let expected = options.memory.regions().iter().map(|r| (20, r.start.0, r.bytes, r.kind as u32));
    assert_eq!(map, expected.collect::<Vec<_>>());
}

#[test]
fn an_entry_by_virtual_address_becomes_the_physical_one() {
    let mut file = multiboot_image();
    file[24..28].copy_from_slice(&0xc010_000cu32.to_le_bytes());
    file[52 + 8..52 + 12].copy_from_slice(&0xc010_0000u32.to_le_bytes());
    let loaded = load(&image(file), &options(Protocol::Multiboot)).unwrap();
    assert!(matches!(loaded.start, Start::Protected { eip: 0x10_000c, .. }), "{:?}", loaded.start);
}

/// A header with address fields: header, load, end of load, end of bss and entry.
fn with_addresses(fields: [u32; 5]) -> Vec<u8> {
    [vec![0xcc; 8], multiboot_header(1 << 16), words(&fields), vec![0xf4; 4]].concat()
}

#[test]
fn address_fields_say_what_is_loaded_where() {
    let file = with_addresses([0x20_0004, 0x20_0000, 0x20_0024, 0x20_0100, 0x20_0020]);
    let loaded = load(&image(file.clone()), &options(Protocol::Auto)).unwrap();
    let kernel = &loaded.pieces[0];
    assert_eq!((kernel.address.0, &kernel.bytes[..], kernel.zeros), (0x20_0000, &file[4..40], 0x100 - 0x24));
    assert!(matches!(loaded.start, Start::Protected { eip: 0x20_0020, .. }));
}

#[test]
fn impossible_address_fields_are_named() {
    for (fields, field) in [
        ([0x20_0004, 0x20_0010, 0, 0, 0x20_0010], "header_addr"),
        ([0x20_0014, 0x20_0000, 0, 0, 0x20_0010], "header_addr"),
        ([0x20_0008, 0x20_0000, 0x1f_0000, 0, 0x20_0010], "load_end_addr"),
        ([0x20_0008, 0x20_0000, 0x21_0000, 0, 0x20_0010], "load_end_addr"),
        ([0x20_0008, 0x20_0000, 0, 0x20_0001, 0x20_0010], "bss_end_addr"),
        ([0x20_0008, 0x20_0000, 0, 0, 0x21_0000], "entry_addr"),
    ] {
        let error = load(&image(with_addresses(fields)), &options(Protocol::Auto)).unwrap_err();
        assert_eq!(error.place, Place::Field { header: "multiboot header", field }, "{error}");
    }
}

#[test]
fn a_wrong_checksum_or_a_late_header_is_no_header() {
    let mut wrong = multiboot_image();
    wrong[84 + 8] ^= 1;
    let late = [vec![0; 8192], multiboot_header(1 << 16)].concat();
    for file in [wrong, late] {
        let error = load(&image(file), &options(Protocol::Multiboot)).unwrap_err();
        assert!(matches!(*error.problem, Problem::Missing(_)), "{error}");
        assert!(error.to_string().starts_with("test.img: the image: expected a multiboot header"), "{error}");
    }
}

#[test]
fn a_requirement_that_is_not_met_is_refused() {
    for flag in 2..16 {
        let bytes = [multiboot_header(1 << flag), vec![0xf4; 4]].concat();
        let file = elf32(0x10_000c, &[code(MEBIBYTE, &bytes, 0)]);
        let error = load(&image(file), &options(Protocol::Multiboot)).unwrap_err();
        assert_eq!(error.place, Place::Field { header: "multiboot header", field: "flags" }, "{error}");
    }
}
