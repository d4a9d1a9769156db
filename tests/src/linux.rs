//! Debian's Linux boots on the machine to a shell, runs a script, and leaves in order.
//!
//! The kernel and busybox are those of Debian packages: VMXSIM_KERNEL names the first (`vmlinuz-*`), VMXSIM_BUSYBOX the
//! second (statically linked). Without them the test says so and ends.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::serial::Serial;
use std::path::PathBuf;
use vmxsim::load::{Image, LoadOptions, load};
use vmxsim::machine::report::{RunReport, StopKind};
use vmxsim::machine::{Go, Machine, MachineOptions};

const SCRIPT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
echo "processors: $(nproc)"
ls / | sort -r | head -2
echo hello | sha256sum
seq 1 1000 | awk '{ sum += $1 } END { print "sum", sum }'
i=0; while [ $i -lt 500 ]; do i=$((i+1)); done; echo "loop $i"
case "$(cat /proc/cmdline)" in *acpi=off*) reboot -f;; *) poweroff -f;; esac
"#;

/// Far more than a boot needs.
const LIMIT: u64 = 3_000_000_000;

struct Guest {
    kernel: Image,
    initrd: Image,
}

impl Guest {
    fn of_environment() -> Option<Self> {
        let path = |name| std::env::var_os(name).map(PathBuf::from);
        let kernel = Image::read(&path("VMXSIM_KERNEL")?).unwrap();
        let busybox = std::fs::read(path("VMXSIM_BUSYBOX")?).unwrap();
        let files: [(&str, u32, &[u8]); 5] = [
            ("bin", 0o040_755, &[]),
            ("proc", 0o040_755, &[]),
            ("bin/busybox", 0o100_755, &busybox),
            ("init", 0o100_755, SCRIPT.as_bytes()),
            ("TRAILER!!!", 0, &[]),
        ];
        let bytes = files.iter().flat_map(|(name, mode, content)| member(name, *mode, content)).collect();
        Some(Self { kernel, initrd: Image { name: "initrd".to_owned(), bytes } })
    }

    fn boot(&self, arguments: &str, processors: u32) -> (RunReport, String) {
        let options =
            MachineOptions { processors, acpi: !arguments.contains("acpi=off"), ..MachineOptions::default() };
        let load_options = LoadOptions {
            command_line: format!("console=ttyS0 quiet tsc_early_khz=1000000 cryptomgr.notests {arguments}"),
            initrd: Some(self.initrd.clone()),
            rsdp: options.root_pointer(),
            ..LoadOptions::new(options.memory_map().unwrap())
        };
        let serial = Serial::default();
        let loaded = load(&self.kernel, &load_options).unwrap();
        let mut machine = Machine::new(&options, &loaded, Box::new(serial.clone())).unwrap();
        let report = machine.run(Some(LIMIT), |_, _| Go::On);
        (report, serial.text())
    }
}

/// A member of a cpio archive in the new ASCII format.
pub(crate) fn member(name: &str, mode: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = b"070701".to_vec();
    let size = u32::try_from(content.len()).unwrap();
    let name_size = u32::try_from(name.len() + 1).unwrap();
    for field in [1, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0] {
        bytes.extend(format!("{field:08x}").into_bytes());
    }
    bytes.extend(name.as_bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn expected(processors: u32) -> String {
    format!(
        "processors: {processors}\nroot\nproc\n\
         5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03  -\nsum 500500\nloop 500\n"
    )
}

#[test]
fn linux_boots_to_a_shell_and_leaves_in_order() {
    let Some(guest) = Guest::of_environment() else {
        println!("not run: VMXSIM_KERNEL and VMXSIM_BUSYBOX do not name a kernel and a busybox");
        return;
    };
    for processors in [1, 2] {
        let (report, text) = guest.boot("", processors);
        assert!(text.contains(&expected(processors)), "{text}");
        assert_eq!((report.stop.kind, report.status()), (StopKind::Shutdown, 0), "{text}");
        // Without ACPI no table names the second processor, and the keyboard controller's reset ends the run.
        let (report, text) = guest.boot("acpi=off reboot=k", processors);
        assert!(text.contains(&expected(1)), "{text}");
        assert_eq!((report.stop.kind, report.status()), (StopKind::Reset, 0), "{text}");
    }
}

#[test]
fn the_same_boot_twice_is_the_same() {
    let Some(guest) = Guest::of_environment() else { return };
    let [(first, one), (second, other)] = [guest.boot("", 2), guest.boot("", 2)];
    assert_eq!((first.instructions, first.cycles), (second.instructions, second.cycles));
    assert_eq!(one, other);
}
