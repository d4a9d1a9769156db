//! The setup header of a bzImage.
//!
//! Linux, `Documentation/arch/x86/boot.rst`; offsets are those of the file and of the zero page, which agree.

use super::super::error::{Place, Problem, Refusal};
use super::super::read::slice;
use std::ops::Range;

const MAGIC: &[u8; 4] = b"HdrS";
const MAGIC_AT: usize = 0x202;
/// A sector of the real-mode part.
const SECTOR: u64 = 512;
/// `loadflags`: the kernel's protected-mode part is loaded at 1 MiB or above.
const LOADED_HIGH: u8 = 1;
/// `xloadflags`: there is a 64-bit entry.
const KERNEL_64: u16 = 1;
/// The earliest protocol that says where and how large the kernel is at run time.
const OLDEST: u16 = 0x020a;
/// The earliest protocol with `xloadflags`.
pub(super) const EXTENDED_FLAGS: u16 = 0x020c;
/// The earliest protocol with `acpi_rsdp_addr`.
pub(super) const RSDP: u16 = 0x020e;
/// The fields of the last known version end here.
const END: usize = 0x26c;

/// Offsets of fields.
mod at {
    pub(super) const SETUP_SECTS: usize = 0x1f1;
    pub(super) const BOOT_FLAG: usize = 0x1fe;
    pub(super) const JUMP: usize = 0x201;
    pub(super) const VERSION: usize = 0x206;
    pub(super) const LOADFLAGS: usize = 0x211;
    pub(super) const INITRD_ADDR_MAX: usize = 0x22c;
    pub(super) const KERNEL_ALIGNMENT: usize = 0x230;
    pub(super) const RELOCATABLE: usize = 0x234;
    pub(super) const XLOADFLAGS: usize = 0x236;
    pub(super) const CMDLINE_SIZE: usize = 0x238;
    pub(super) const PAYLOAD_OFFSET: usize = 0x248;
    pub(super) const PAYLOAD_LENGTH: usize = 0x24c;
    pub(super) const PREF_ADDRESS: usize = 0x258;
    pub(super) const INIT_SIZE: usize = 0x260;
}

/// The checked fields of a setup header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) struct SetupHeader {
    pub(super) version: u16,
    /// Bytes of the file before the protected-mode part.
    pub(super) setup_bytes: u64,
    /// The header in the file, to be copied into the zero page.
    pub(super) range: Range<usize>,
    pub(super) initrd_addr_max: u32,
    pub(super) alignment: Option<u64>,
    pub(super) entry64: bool,
    pub(super) cmdline_size: u32,
    pub(super) payload: (u32, u32),
    pub(super) preferred: u64,
    pub(super) init_size: u32,
}

pub(super) const fn field(field: &'static str) -> Place {
    Place::Field { header: "setup header", field }
}

/// Whether a file has a setup header.
pub(in super::super) fn is_one(file: &[u8]) -> bool {
    file.get(MAGIC_AT..MAGIC_AT + 4).is_some_and(|magic| magic == MAGIC)
}

fn number<const N: usize>(file: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&file[at..at + N]);
    bytes
}

impl SetupHeader {
    /// Reads and checks the header of a bzImage.
    pub(in super::super) fn read(file: &[u8]) -> Result<Self, Refusal> {
        // Each field that is read below lies in these bytes.
        let file = slice(file, field("header"), 0, END as u64)?;
        check(file)?;
        let u16_at = |at| u16::from_le_bytes(number(file, at));
        let u32_at = |at| u32::from_le_bytes(number(file, at));
        let version = u16_at(at::VERSION);
        let sectors = match file[at::SETUP_SECTS] {
            0 => 4,
            sectors => u64::from(sectors),
        };
        let extended = if version >= EXTENDED_FLAGS { u16_at(at::XLOADFLAGS) } else { 0 };
        Ok(Self {
            version,
            setup_bytes: (sectors + 1) * SECTOR,
            range: at::SETUP_SECTS..(MAGIC_AT + usize::from(file[at::JUMP])).min(END),
            initrd_addr_max: u32_at(at::INITRD_ADDR_MAX),
            alignment: alignment(file[at::RELOCATABLE], u32_at(at::KERNEL_ALIGNMENT))?,
            entry64: extended & KERNEL_64 != 0,
            cmdline_size: u32_at(at::CMDLINE_SIZE),
            payload: (u32_at(at::PAYLOAD_OFFSET), u32_at(at::PAYLOAD_LENGTH)),
            preferred: u64::from_le_bytes(number(file, at::PREF_ADDRESS)),
            init_size: u32_at(at::INIT_SIZE),
        })
    }

    /// The protected-mode part of the file.
    pub(super) fn kernel<'f>(&self, file: &'f [u8]) -> Result<&'f [u8], Refusal> {
        match file.get(self.setup_bytes as usize..) {
            Some(kernel) if !kernel.is_empty() => Ok(kernel),
            _ => {
                let problem =
                    Problem::Truncated { offset: self.setup_bytes, needs: 1, has: file.len() as u64 };
                Err(field("setup_sects").refused(problem))
            }
        }
    }
}

fn check(file: &[u8]) -> Result<(), Refusal> {
    let boot_flag = u16::from_le_bytes(number(file, at::BOOT_FLAG));
    if boot_flag != 0xaa55 {
        return Err(field("boot_flag").unexpected(boot_flag, "AA55H"));
    }
    if !is_one(file) {
        let found = u32::from_be_bytes(number(file, MAGIC_AT));
        return Err(field("header").unexpected(found, "'HdrS'"));
    }
    let version = u16::from_le_bytes(number(file, at::VERSION));
    if version < OLDEST {
        return Err(field("version").unexpected(version, "020AH (2.10) or later"));
    }
    if file[at::LOADFLAGS] & LOADED_HIGH == 0 {
        return Err(field("loadflags").unexpected(file[at::LOADFLAGS], "bit 0, LOADED_HIGH: a bzImage"));
    }
    Ok(())
}

/// The alignment of a relocatable kernel.
fn alignment(relocatable: u8, alignment: u32) -> Result<Option<u64>, Refusal> {
    if relocatable == 0 {
        return Ok(None);
    }
    if !alignment.is_power_of_two() {
        return Err(field("kernel_alignment").unexpected(alignment, "a power of two"));
    }
    Ok(Some(u64::from(alignment)))
}
