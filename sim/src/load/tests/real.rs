use super::*;

/// The kernel that the environment variable `VMXSIM_KERNEL` names.
fn kernel() -> Option<Image> {
    let Some(path) = std::env::var_os("VMXSIM_KERNEL") else {
        eprintln!("skipped: VMXSIM_KERNEL names no bzImage of a real kernel");
        return None;
    };
    Some(Image::read(Path::new(&path)).unwrap())
}

#[test]
fn a_real_kernel_loads_by_all_three_protocols() {
    let Some(kernel) = kernel() else { return };
    for protocol in [Protocol::Pvh, Protocol::Linux64, Protocol::Linux32, Protocol::Auto] {
        let mut options = options(protocol);
        options.memory = MemoryMap::new(256 * MEBIBYTE).unwrap();
        options.command_line = "console=ttyS0".to_owned();
        options.initrd = Some(image(vec![0; 1 << 20]));
        let loaded = load(&kernel, &options).unwrap();
        assert_sound(&loaded, &options.memory);
        let entry = match loaded.start {
            Start::Protected { eip, .. } => u64::from(eip),
            Start::Long { rip, .. } => rip,
            Start::Real { .. } => panic!("{:?}", loaded.start),
        };
        assert_eq!(Seen(&loaded).bytes(entry, 1), [0xfc], "every entry of Linux begins with CLD");
    }
}
