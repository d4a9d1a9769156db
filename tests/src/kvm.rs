//! Debian's KVM runs guests on the machine: `kvm-intel.ko` is loaded, and a program of ours makes guests by `/dev/kvm`.
//!
//! Beside what the test that boots Linux needs, VMXSIM_MODULES names the directory of the kernel's modules
//! (`lib/modules/*/kernel`), and gcc compiles the program, which needs no C library. Without them the test says so and
//! ends.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::linux::member;
use crate::serial::Serial;
use std::path::PathBuf;
use std::process::Command;
use vmxsim::load::{Image, LoadOptions, load};
use vmxsim::machine::report::{RunReport, StopKind};
use vmxsim::machine::{Go, Machine, MachineOptions};

const SCRIPT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
insmod /irqbypass.ko
insmod /kvm.ko
for parameter in "" ept=0 unrestricted_guest=0 vpid=0; do
    echo "parameters: $parameter"
    insmod /kvm-intel.ko $parameter
    /smoke
    rmmod kvm_intel
done
poweroff -f
"#;

/// What the program prints: the vendor's first four letters are the last number.
const GUESTS: &str = "\
real-address mode
out 1016 = 82
write 852259 = 90
halt
64-bit mode
out 1016 = 500500
out 1016 = 1970169159
halt
";

const PARAMETERS: [&str; 4] = ["", "ept=0", "unrestricted_guest=0", "vpid=0"];

const MODULES: [(&str, &str); 3] = [
    ("irqbypass.ko", "virt/lib/irqbypass.ko"),
    ("kvm.ko", "arch/x86/kvm/kvm.ko"),
    ("kvm-intel.ko", "arch/x86/kvm/kvm-intel.ko"),
];

/// Far more than the run needs.
const LIMIT: u64 = 4_000_000_000;

/// A program of `tests/guests`, compiled; nothing without a compiler.
fn compiled(name: &str) -> Option<Vec<u8>> {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("guests").join(name).with_extension("c");
    let program = std::env::temp_dir().join(format!("vmxsim-{name}-{}", std::process::id()));
    let options =
        "-static -Os -s -nostdlib -ffreestanding -fno-stack-protector -fno-pie -no-pie -Wall -Werror";
    let made =
        Command::new("gcc").args(options.split(' ')).arg("-o").arg(&program).arg(source).status().ok()?;
    assert!(made.success(), "gcc refuses {name}");
    let bytes = std::fs::read(&program).unwrap();
    std::fs::remove_file(&program).unwrap();
    Some(bytes)
}

fn guest() -> Option<(Image, Image)> {
    let path = |name| std::env::var_os(name).map(PathBuf::from);
    let kernel = Image::read(&path("VMXSIM_KERNEL")?).unwrap();
    let busybox = std::fs::read(path("VMXSIM_BUSYBOX")?).unwrap();
    let modules = path("VMXSIM_MODULES")?;
    let smoke = compiled("smoke")?;
    let mut bytes = [member("bin", 0o040_755, &[]), member("dev", 0o040_755, &[])].concat();
    for (name, path) in MODULES {
        bytes.extend(member(name, 0o100_644, &std::fs::read(modules.join(path)).unwrap()));
    }
    for (name, content) in [("bin/busybox", &*busybox), ("smoke", &smoke), ("init", SCRIPT.as_bytes())] {
        bytes.extend(member(name, 0o100_755, content));
    }
    bytes.extend(member("TRAILER!!!", 0, &[]));
    Some((kernel, Image { name: "initrd".to_owned(), bytes }))
}

fn boot(kernel: &Image, initrd: Image) -> (RunReport, String) {
    let options = MachineOptions::default();
    let load_options = LoadOptions {
        command_line: "console=ttyS0 quiet tsc_early_khz=1000000 cryptomgr.notests".to_owned(),
        initrd: Some(initrd),
        rsdp: options.root_pointer(),
        ..LoadOptions::new(options.memory_map().unwrap())
    };
    let serial = Serial::default();
    let loaded = load(kernel, &load_options).unwrap();
    let mut machine = Machine::new(&options, &loaded, Box::new(serial.clone())).unwrap();
    let report = machine.run(Some(LIMIT), |_, _| Go::On);
    (report, serial.text())
}

#[test]
fn kvm_runs_guests_with_and_without_ept_unrestricted_guests_and_vpids() {
    let Some((kernel, initrd)) = guest() else {
        println!(
            "not run: VMXSIM_KERNEL, VMXSIM_BUSYBOX and VMXSIM_MODULES do not name their files, or gcc is missing"
        );
        return;
    };
    let (report, text) = boot(&kernel, initrd);
    let expected: String =
        PARAMETERS.iter().map(|parameter| format!("parameters: {parameter}\n{GUESTS}")).collect();
    assert!(text.contains(&expected), "{text}");
    assert_eq!((report.stop.kind, report.status()), (StopKind::Shutdown, 0), "{text}");
    assert!(report.entry_failures.is_empty(), "{:?}", report.entry_failures);
    // Each of the four runs has its own loop's CPUID, at least; MMIO outside the memory needs EPT or shadow paging.
    for (reason, least) in
        [("CPUID", 4), ("EPT violation", 1), ("I/O instruction", 8), ("exception or NMI", 1)]
    {
        let count = report.exits.get(reason).map_or(0, |exits| exits.count);
        assert!(count >= least, "{reason}: {count}, {:?}", report.exits);
    }
}
