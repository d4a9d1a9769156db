//! What a run may be told, by options and by a configuration file.

use crate::cli::replay::memory_size;
use clap::Args;
use miette::Result;
use serde::{Deserialize, Deserializer};
use std::path::{Path, PathBuf};
use vmxsim::load::Protocol;
use vmxsim::machine::{Hypercalls, MachineOptions, OnReset};

/// What may be chosen; what is not has a default. A configuration file has the same keys.
#[derive(Args, Deserialize, Clone, PartialEq, Debug, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Settings {
    /// The image
    #[arg(value_name = "IMAGE", required_unless_present = "config")]
    pub(super) image: Option<PathBuf>,
    /// A module of a multiboot image; may be given again
    #[arg(long = "module", value_name = "FILE")]
    #[serde(rename = "module")]
    modules: Option<Vec<PathBuf>>,
    /// The initial RAM disk of Linux
    #[arg(long, value_name = "FILE")]
    pub(super) initrd: Option<PathBuf>,
    /// How the image is started [default: auto]
    #[arg(long, value_enum, hide_default_value = true)]
    protocol: Option<ProtocolName>,
    /// The command line, for a multiboot image what follows its name
    #[arg(long, value_name = "STRING")]
    append: Option<String>,
    /// RAM, such as 512M [default: 256M]
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    #[serde(deserialize_with = "memory_from_text")]
    mem: Option<u64>,
    /// Processors [default: 1]
    #[arg(long, value_name = "N")]
    cpus: Option<u32>,
    /// Processor model: minimal, kvm-unit, server, amd, or a file of your own that ends in .toml [default: kvm-unit]
    #[arg(long, value_name = "MODEL")]
    cpu: Option<String>,
    /// Who answers VMCALL and VMMCALL outside VMX operation; KVM's interface is what guests that know KVM expect
    /// [default: none]
    #[arg(long, value_enum)]
    hypercalls: Option<Hypercalls>,
    /// What a reset does that the guest asks for [default: stop]
    #[arg(long, value_enum)]
    on_reset: Option<OnReset>,
    /// Name addresses by the symbols of this ELF file when the guest has died
    #[arg(long, value_name = "ELF")]
    pub(super) symbols: Option<PathBuf>,
    /// Where the serial port goes [default: stdio]
    #[arg(long, value_name = "stdio|FILE")]
    serial: Option<PathBuf>,
    /// Stop after N instructions
    #[arg(long, value_name = "N")]
    pub(super) max_insns: Option<u64>,
    /// Stop after N ticks of the simulated clock, of which there are 10^9 in a second
    #[arg(long, value_name = "N")]
    pub(super) max_ticks: Option<u64>,
    /// Stop when the serial port has sent this text
    #[arg(long, value_name = "TEXT")]
    pub(super) until: Option<String>,
    /// Ticks that a processor runs before the next one has its turn [default: 1000]
    #[arg(long, value_name = "TICKS")]
    quantum: Option<u64>,
}

/// A boot protocol by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ProtocolName {
    /// The first that the image has
    #[default]
    Auto,
    /// Multiboot 1
    Multiboot,
    /// Xen's PVH, also of the kernel packed in a bzImage
    Pvh,
    /// Linux, 64-bit
    Linux64,
    /// Linux, 32-bit
    Linux32,
}

impl From<ProtocolName> for Protocol {
    fn from(name: ProtocolName) -> Self {
        match name {
            ProtocolName::Auto => Self::Auto,
            ProtocolName::Multiboot => Self::Multiboot,
            ProtocolName::Pvh => Self::Pvh,
            ProtocolName::Linux64 => Self::Linux64,
            ProtocolName::Linux32 => Self::Linux32,
        }
    }
}

fn memory_from_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(from)?;
    memory_size(&text).map(Some).map_err(serde::de::Error::custom)
}

impl Settings {
    /// These settings, and where they say nothing those below.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            image: self.image.or(below.image),
            modules: self.modules.or(below.modules),
            initrd: self.initrd.or(below.initrd),
            protocol: self.protocol.or(below.protocol),
            append: self.append.or(below.append),
            mem: self.mem.or(below.mem),
            cpus: self.cpus.or(below.cpus),
            cpu: self.cpu.or(below.cpu),
            hypercalls: self.hypercalls.or(below.hypercalls),
            on_reset: self.on_reset.or(below.on_reset),
            symbols: self.symbols.or(below.symbols),
            serial: self.serial.or(below.serial),
            max_insns: self.max_insns.or(below.max_insns),
            max_ticks: self.max_ticks.or(below.max_ticks),
            until: self.until.or(below.until),
            quantum: self.quantum.or(below.quantum),
        }
    }

    /// The machine, with everything resolved.
    pub(super) fn machine(&self, seed: u64) -> MachineOptions {
        let defaults = MachineOptions::default();
        MachineOptions {
            memory: self.mem.unwrap_or(defaults.memory),
            processors: self.cpus.unwrap_or(defaults.processors),
            model: self.cpu.clone().unwrap_or(defaults.model),
            hypercalls: self.hypercalls.unwrap_or(defaults.hypercalls),
            on_reset: self.on_reset.unwrap_or(defaults.on_reset),
            quantum: self.quantum.unwrap_or(defaults.quantum).max(1),
            seed,
            ..defaults
        }
    }

    pub(super) fn modules(&self) -> &[PathBuf] {
        self.modules.as_deref().unwrap_or_default()
    }

    pub(super) fn command_line(&self) -> &str {
        self.append.as_deref().unwrap_or_default()
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol.unwrap_or_default().into()
    }

    /// The file that the serial port writes to; none when it is the terminal.
    pub(super) fn serial_file(&self) -> Option<&Path> {
        self.serial.as_deref().filter(|path| *path != Path::new("stdio"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_file_says_what_options_say_and_options_have_the_last_word() {
        let text = r#"
            image = "test.flat"
            module = ["a", "b"]
            mem = "1G"
            cpus = 3
            hypercalls = "kvm"
            protocol = "linux64"
        "#;
        let file: Settings = toml::from_str(text).unwrap();
        let settings = Settings { cpus: Some(2), ..Settings::default() }.over(file);
        let machine = settings.machine(7);
        assert_eq!((machine.memory, machine.processors, machine.seed), (1 << 30, 2, 7));
        assert_eq!(machine.hypercalls, Hypercalls::Kvm);
        assert_eq!((settings.modules().len(), settings.protocol()), (2, Protocol::Linux64));
        assert!(toml::from_str::<Settings>("hypercall = 'kvm'").is_err(), "unknown keys are refused");
        assert!(toml::from_str::<Settings>("mem = 'much'").is_err());
    }
}
