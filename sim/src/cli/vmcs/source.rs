//! Where a VMCS comes from.

use super::entries::{Entries, Key, number};
use miette::{Result, miette};
use serde::Serialize;
use std::io::Read;
use std::path::Path;
use vmx::dump::Dump;
use vmx::field::{AccessType, Encoding, Field};
use vmx::vmcs::FieldSet;

/// How a VMCS is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Form {
    /// Names or encodings with values.
    Json,
    /// What KVM and Xen print.
    Dump,
}

/// The fields that are known of a VMCS.
pub(super) struct Source {
    pub(super) form: Form,
    /// What the file gives.
    pub(super) given: FieldSet,
    /// What follows from it.
    pub(super) dump: Dump,
}

impl Source {
    /// Reads a file, or standard input for `-`.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let mut bytes = Vec::new();
        let (name, read) = match path.to_str() {
            Some("-") => ("standard input".to_owned(), std::io::stdin().read_to_end(&mut bytes)),
            _ => {
                let read = std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
                (path.display().to_string(), read)
            }
        };
        read.map_err(|e| miette!("{name}: cannot read: {e}"))?;
        // A log may hold anything between the lines that matter.
        Self::parse(&String::from_utf8_lossy(&bytes)).map_err(|e| miette!("{name}: {e}"))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (form, dump) = if text.trim_start().starts_with('{') {
            (Form::Json, from_json(text)?)
        } else if text.contains("***") {
            (Form::Dump, Dump::parse(text).map_err(|e| e.to_string())?)
        } else {
            return Err("expected a JSON object, or the lines from `*** Guest State ***` on that KVM (dump_vmcs) or Xen \
                        (vmcs_dump_vcpu) prints; found neither"
                .to_owned());
        };
        let given = dump.given;
        Ok(Self { form, given, dump: dump.with_inactive_controls() })
    }
}

fn from_json(text: &str) -> Result<Dump, String> {
    let Entries(entries) = serde_json::from_str::<Entries<Encoding>>(text).map_err(|e| e.to_string())?;
    let mut dump = Dump::default();
    for (field, value) in entries {
        dump.give(field, value).map_err(|bits| too_wide(field, value, bits))?;
    }
    Ok(dump)
}

fn too_wide(field: Encoding, value: u64, bits: u32) -> String {
    let name = Field::by_encoding(field).map_or("a field", |field| field.name);
    format!("{value:#x} does not fit {name}, which has {bits} bits")
}

impl Key for Encoding {
    const EXPECTED: &'static str =
        "an object of VMCS fields with values, such as {\"guest RIP\": \"0x1000\"}";

    fn parse(text: &str) -> Result<Self, String> {
        if let Some(field) = Field::by_name(text) {
            return Ok(field.encoding);
        }
        let Some(number) = number(text) else {
            return Err(format!(
                "`{text}` is no VMCS field; expected a name (guest RIP), a symbol (GUEST_RIP) or an encoding (0x681e)"
            ));
        };
        match Field::lookup(number) {
            Ok((field, AccessType::Full)) => Ok(field.encoding),
            Ok((field, AccessType::High)) => {
                Err(format!("`{text}` is the upper half of {0}; give the whole field, {0}", field.name))
            }
            Err(error) => Err(format!("`{text}`: {error}")),
        }
    }

    fn accept(&self, value: u64) -> Result<(), String> {
        match value & !self.width().mask() {
            0 => Ok(()),
            _ => Err(too_wide(*self, value, self.width().mask().count_ones())),
        }
    }
}
