use super::*;

#[test]
fn an_elf64_image_starts_at_the_note_with_all_information() {
    let mut options = options(Protocol::Auto);
    options.command_line = "console=ttyS0".to_owned();
    options.initrd = Some(image(vec![3; 4097]));
    options.modules = vec![module(b"second", "two")];
    options.rsdp = Some(HostPhysicalAddress(0xf_0000));
    let loaded = load(&image(pvh_image()), &options).unwrap();
    assert_sound(&loaded, &options.memory);
    let Start::Protected { eip, eax, ebx, gdt, task, .. } = loaded.start else { panic!() };
    assert_eq!((eip, eax, gdt), (0x100_0002, 0, None));
    assert_eq!(task.map(|task| (task.base, task.limit, task.access)), Some((0, 0x67, 0x8b)));
    let seen = Seen(&loaded);
    let ebx = u64::from(ebx);
    let head: Vec<_> = (0..4).map(|word| seen.u32(ebx + 4 * word)).collect();
    assert_eq!(head, [0x336e_c578, 1, 0, 2]);
    let (modules, map) = (seen.u64(ebx + 16), seen.u64(ebx + 40));
    assert_eq!(seen.string(seen.u64(ebx + 24)), "console=ttyS0");
    assert_eq!(seen.u64(ebx + 32), 0xf_0000);
    assert_eq!(seen.bytes(seen.u64(modules), seen.u64(modules + 8)), [3; 4097]);
    assert_eq!(seen.bytes(seen.u64(modules + 32), seen.u64(modules + 40)), b"second");
    assert_eq!(seen.string(seen.u64(modules + 48)), "two");
    let rows = (0..u64::from(seen.u32(ebx + 48))).map(|row| map + 24 * row);
    let rows = rows.map(|at| (seen.u64(at), seen.u64(at + 8), seen.u32(at + 16)));
    let expected = options.memory.regions().iter().map(|r| (r.start.0, r.bytes, r.kind as u32));
    assert_eq!(rows.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn a_kernel_in_a_bzimage_is_unpacked_from_every_format() {
    use std::io::Write;
    let kernel = pvh_image();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&kernel).unwrap();
    let block = lz4_flex::block::compress(&kernel);
    let lz4 = [words(&[0x184c_2102, block.len() as u32]), block].concat();
    let zstd = zstd::encode_all(&kernel[..], 1).unwrap();
    let direct = load(&image(kernel.clone()), &options(Protocol::Pvh)).unwrap();
    for packed in [gzip(&kernel), xz.finish().unwrap(), lz4, zstd, kernel.clone()] {
        // The build appends the unpacked size.
        let payload = [packed, words(&[kernel.len() as u32])].concat();
        for protocol in [Protocol::Auto, Protocol::Pvh] {
            let loaded = load(&image(bzimage(&payload)), &options(protocol)).unwrap();
            assert_eq!(loaded, direct);
        }
    }
}

#[test]
fn a_broken_payload_is_refused_by_its_format() {
    for (payload, format) in [
        (&b"\x1f\x8b\x08junk"[..], "gzip"),
        (b"\xfd7zXZ\0junk", "xz"),
        (b"\x28\xb5\x2f\xfdjunkjunk", "zstd"),
        (b"\x02\x21\x4c\x18\xff\xff\0\0junk", "LZ4"),
    ] {
        let error = load(&image(bzimage(payload)), &options(Protocol::Pvh)).unwrap_err();
        assert_eq!(error.place, Place::Payload);
        assert!(matches!(*error.problem, Problem::Compressed { format: f, .. } if f == format), "{error}");
    }
}

#[test]
fn an_image_without_the_note_or_with_an_entry_outside_is_refused() {
    let kernel = code(16 * MEBIBYTE, b"kernel", 0);
    let note = Place::Field { header: "PVH note", field: "XEN_ELFNOTE_PHYS32_ENTRY" };
    for segments in [vec![kernel.clone()], vec![kernel, pvh_note(0x100_0006)]] {
        let error = load(&image(elf64(0, &segments)), &options(Protocol::Auto)).unwrap_err();
        assert_eq!(error.place, note, "{error}");
    }
}
