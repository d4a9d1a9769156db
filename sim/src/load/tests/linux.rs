use super::*;

fn all() -> LoadOptions {
    let mut options = options(Protocol::Linux64);
    options.command_line = "quiet".to_owned();
    options.initrd = Some(image(vec![9; 10_000]));
    options.rsdp = Some(HostPhysicalAddress(0xe_1230));
    options
}

fn assert_zero_page(seen: &Seen<'_>, page: u64, file: &[u8], options: &LoadOptions) {
    // Fields that the loader leaves as they are in the file.
    for range in [0x1f1..0x1fa_u64, 0x1fc..0x210, 0x211..0x214, 0x22c..0x26c] {
        let in_file = &file[range.start as usize..range.end as usize];
        assert_eq!(seen.bytes(page + range.start, range.end - range.start), in_file);
    }
    assert_eq!(seen.bytes(page + 0x210, 1), [0xff]);
    assert_eq!(seen.u64(page + 0x70), 0xe_1230);
    assert_eq!(seen.string(seen.u32(page + 0x228).into()), "quiet");
    let disk = u64::from(seen.u32(page + 0x218));
    assert_eq!((disk, seen.u32(page + 0x21c)), ((64 * MEBIBYTE - 10_000) & !0xfff, 10_000));
    assert_eq!(seen.bytes(disk, 10_000), [9; 10_000]);
    let rows = (0..u64::from(seen.bytes(page + 0x1e8, 1)[0])).map(|row| page + 0x2d0 + 20 * row);
    let rows = rows.map(|at| (seen.u64(at), seen.u64(at + 8), seen.u32(at + 16)));
    let expected = options.memory.regions().iter().map(|r| (r.start.0, r.bytes, r.kind as u32));
    assert_eq!(rows.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn the_64_bit_protocol_starts_behind_the_32_bit_entry_on_identity_tables() {
    let (file, options) = (bzimage(b""), all());
    let loaded = load(&image(file.clone()), &options).unwrap();
    assert_sound(&loaded, &options.memory);
    let Start::Long { rip, rsi, cr3, code, data, gdt } = loaded.start else { panic!() };
    assert_eq!((rip, code.selector, data.selector, code.access), (0x100_0200, 0x10, 0x18, 0xa09b));
    let seen = Seen(&loaded);
    assert_zero_page(&seen, rsi, &file, &options);
    assert_eq!(gdt.limit, 31);
    assert_eq!(seen.u64(gdt.base.0 + 0x10), 0x00af_9b00_0000_ffff);
    assert_eq!(seen.u64(gdt.base.0 + 0x18), 0x00cf_9300_0000_ffff);
    for address in [0, 0x1234_5678, 0xffff_ffff_u64] {
        let table = |table: u64, shift: u64| seen.u64((table & !0xfff) + (address >> shift & 511) * 8);
        let page = table(table(table(cr3.0, 39), 30), 21);
        assert_eq!(page, address >> 21 << 21 | 0x83);
    }
    let control = loaded.start.control();
    assert_eq!((control.cr0, control.cr3, control.cr4, control.efer), (0x8000_0011, cr3.0, 0x20, 0x500));
}

#[test]
fn the_32_bit_protocol_starts_at_the_kernel_with_paging_off() {
    let (file, mut options) = (bzimage(b""), all());
    options.protocol = Protocol::Linux32;
    let loaded = load(&image(file.clone()), &options).unwrap();
    assert_sound(&loaded, &options.memory);
    let Start::Protected { eip, eax, ebx, esi, code, data, gdt, .. } = loaded.start else { panic!() };
    assert_eq!((eip, eax, ebx, code.selector, data.selector), (0x100_0000, 0, 0, 0x10, 0x18));
    let seen = Seen(&loaded);
    assert_zero_page(&seen, esi.into(), &file, &options);
    assert_eq!(seen.u32(u64::from(esi) + 0x214), eip);
    assert_eq!(seen.u64(gdt.unwrap().base.0 + 0x10), 0x00cf_9b00_0000_ffff);
    assert_eq!(loaded.start.control().cr0, 0x11);
}

#[test]
fn a_relocatable_kernel_goes_lower_where_the_preferred_place_is_not_ram_and_another_does_not() {
    let mut file = bzimage(b"");
    let small = LoadOptions { memory: MemoryMap::new(8 * MEBIBYTE).unwrap(), ..options(Protocol::Linux64) };
    let loaded = load(&image(file.clone()), &small).unwrap();
    assert!(matches!(loaded.start, Start::Long { rip: 0x20_0200, .. }), "{:?}", loaded.start);
    file[0x234] = 0;
    let error = load(&image(file), &small).unwrap_err();
    assert_eq!(error.place, Place::Kernel);
    assert!(matches!(*error.problem, Problem::OutsideRam { .. }), "{error}");
}

#[test]
fn automatic_loading_takes_the_entry_that_a_kernel_has() {
    let file = bzimage(b"no ELF");
    let loaded = load(&image(file.clone()), &options(Protocol::Auto)).unwrap();
    assert!(matches!(loaded.start, Start::Long { .. }));
    let mut old = file;
    old[0x236] = 0;
    let loaded = load(&image(old.clone()), &options(Protocol::Auto)).unwrap();
    assert!(matches!(loaded.start, Start::Protected { .. }));
    let error = load(&image(old), &options(Protocol::Linux64)).unwrap_err();
    assert_eq!(error.place, Place::Field { header: "setup header", field: "xloadflags" });
}

#[test]
fn impossible_setup_headers_are_named() {
    for (at, value, field) in [
        (0x1fe, 0, "boot_flag"),
        (0x202, 0, "header"),
        (0x207, 1, "version"),
        (0x211, 0, "loadflags"),
        (0x1f1, 200, "setup_sects"),
        (0x230, 3, "kernel_alignment"),
    ] {
        let mut file = bzimage(b"");
        file[at] = value;
        let error = load(&image(file), &options(Protocol::Linux64)).unwrap_err();
        assert_eq!(error.place, Place::Field { header: "setup header", field }, "{error}");
    }
}

#[test]
fn a_command_line_may_be_as_long_as_the_kernel_says_and_no_longer() {
    let mut options = options(Protocol::Linux64);
    options.command_line = "x".repeat(255);
    load(&image(bzimage(b"")), &options).unwrap();
    options.command_line.push('x');
    let error = load(&image(bzimage(b"")), &options).unwrap_err();
    assert!(matches!(*error.problem, Problem::TooMany { given: 256, most: 255, .. }), "{error}");
    options.command_line = "a\0b".to_owned();
    let error = load(&image(bzimage(b"")), &options).unwrap_err();
    assert!(matches!(*error.problem, Problem::Nul(1)), "{error}");
}
