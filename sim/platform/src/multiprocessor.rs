//! The tables of Intel's MultiProcessor Specification (version 1.4, chapter 4), which name the processors and how their
//! interrupts are wired where ACPI does not.

use crate::acpi::Table;
use crate::fabric::{Endpoint, Fabric, Line};
use crate::io_apic;
use crate::options::PlatformOptions;

/// The address of the floating pointer structure, in the ROM where software looks for it.
pub const FLOATING_POINTER: u64 = 0xf_8000;

const CONFIGURATION: u32 = 0xf_8010;
/// Version 1.4.
const REVISION: u8 = 4;
/// The version register of the local APICs.
const LOCAL_APIC_VERSION: u8 = 0x14;
/// The version register of the I/O APIC.
const IO_APIC_VERSION: u8 = 0x11;
/// Identifiers that are for all local APICs, and the one I/O APIC's.
const ALL: u8 = 0xff;
const IO_APIC: u8 = 0;
/// The ISA bus.
const BUS: u8 = 0;

/// Interrupt types.
const VECTORED: u8 = 0;
const NON_MASKABLE: u8 = 1;
const EXTERNAL: u8 = 3;

/// The floating pointer structure at [`FLOATING_POINTER`], and the configuration table behind it. Processors whose APIC ID
/// has more than eight bits have no place in it.
///
/// ```
/// use platform::{PlatformOptions, multiprocessor};
///
/// let [pointer, table] = multiprocessor::tables(&PlatformOptions::default());
/// assert_eq!(pointer.address, multiprocessor::FLOATING_POINTER);
/// assert!(pointer.bytes.starts_with(b"_MP_") && table.bytes.starts_with(b"PCMP"));
/// ```
#[must_use]
pub fn tables(options: &PlatformOptions) -> [Table; 2] {
    let mut pointer = b"_MP_".to_vec();
    pointer.extend(CONFIGURATION.to_le_bytes());
    // One paragraph; the checksum; a configuration table; virtual wire mode.
    pointer.extend([1, REVISION, 0, 0, 0, 0, 0, 0]);
    seal(&mut pointer, 10);
    let configuration = Table { address: CONFIGURATION.into(), bytes: configuration(options) };
    [Table { address: FLOATING_POINTER, bytes: pointer }, configuration]
}

/// Sets the byte at `place`, which is 0, so that all bytes add up to 0.
fn seal(bytes: &mut [u8], place: usize) {
    let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    bytes[place] = sum.wrapping_neg();
}

#[allow(clippy::cast_possible_truncation, reason = "at most 255 processors, and 16 lines, fit in 64 KiB")]
fn configuration(options: &PlatformOptions) -> Vec<u8> {
    let entries = entries(options);
    let length = 44 + entries.iter().map(Vec::len).sum::<usize>();
    let mut table = b"PCMP".to_vec();
    table.extend((length as u16).to_le_bytes());
    table.extend([REVISION, 0]);
    table.extend(b"VMXSIM  PLATFORM    ");
    // No table of the manufacturer.
    table.extend([0; 6]);
    table.extend((entries.len() as u16).to_le_bytes());
    table.extend(0xfee0_0000_u32.to_le_bytes());
    // No extended entries.
    table.extend([0; 4]);
    table.extend(entries.concat());
    seal(&mut table, 7);
    table
}

/// The entries, in the order of their types.
fn entries(options: &PlatformOptions) -> Vec<Vec<u8>> {
    let processors = (0..options.processors.min(u8::MAX.into())).map(|id| processor(id as u8));
    let mut entries: Vec<_> = processors.collect();
    entries.push([&[1, BUS][..], b"ISA   "].concat());
    #[allow(clippy::cast_possible_truncation, reason = "the I/O APIC lies below 4 GiB")]
    let address = (io_apic::ADDRESS as u32).to_le_bytes();
    entries.push([&[2, IO_APIC, IO_APIC_VERSION, 1][..], &address].concat());
    // The 8259s stand behind pin 0.
    entries.push(interrupt(3, EXTERNAL, 0, IO_APIC, 0));
    entries.extend((0..16).filter_map(|line| Some(interrupt(3, VECTORED, line, IO_APIC, pin(line)?))));
    entries.push(interrupt(4, EXTERNAL, 0, ALL, 0));
    entries.push(interrupt(4, NON_MASKABLE, 0, ALL, 1));
    entries
}

/// An enabled processor; the first is the bootstrap processor. Its signature is that of its family alone, and of its
/// features FPU and APIC are told.
fn processor(id: u8) -> Vec<u8> {
    let flags = if id == 0 { 3 } else { 1 };
    let mut entry = vec![0, id, LOCAL_APIC_VERSION, flags];
    entry.extend(0x600_u32.to_le_bytes());
    entry.extend(0x201_u32.to_le_bytes());
    entry.extend([0; 8]);
    entry
}

/// An entry that assigns an interrupt of the ISA bus, with its polarity and trigger, to a pin of the I/O APIC (type 3) or of
/// local APICs (type 4).
fn interrupt(entry: u8, kind: u8, line: u8, controller: u8, pin: u8) -> Vec<u8> {
    vec![entry, kind, 0, 0, BUS, line, controller, pin]
}

/// The pin of the I/O APIC that a line of the ISA bus leads to.
fn pin(line: u8) -> Option<u8> {
    let fabric = Fabric::default();
    fabric.routes(Line::global(line)?).iter().find_map(|endpoint| match endpoint {
        Endpoint::IoApic(pin) => Some(*pin),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The entries of a table, by their lengths.
    fn split(mut rest: &[u8]) -> Vec<&[u8]> {
        let mut entries = Vec::new();
        while let [kind, ..] = *rest {
            let (entry, after) = rest.split_at(if kind == 0 { 20 } else { 8 });
            entries.push(entry);
            rest = after;
        }
        entries
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn tables_are_sound_and_name_every_processor_with_an_eight_bit_id(processors in 1_u32..=600) {
            let options = PlatformOptions { processors, ..PlatformOptions::default() };
            let [pointer, table] = tables(&options);
            for bytes in [&pointer.bytes, &table.bytes] {
                prop_assert_eq!(bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
            }
            prop_assert_eq!(pointer.bytes[4..8].to_vec(), (table.address as u32).to_le_bytes());
            prop_assert_eq!(pointer.bytes.len(), 16);
            prop_assert!(table.address + table.bytes.len() as u64 <= 0x10_0000);
            let number = |at: usize| usize::from(u16::from_le_bytes([table.bytes[at], table.bytes[at + 1]]));
            let entries = split(&table.bytes[44..]);
            prop_assert_eq!((number(4), number(34)), (table.bytes.len(), entries.len()));
            let ids: Vec<_> = entries.iter().filter(|entry| entry[0] == 0).map(|entry| u32::from(entry[1])).collect();
            prop_assert_eq!(ids, (0..processors.min(255)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn interrupts_are_told_as_they_are_wired() {
        let [_, table] = tables(&PlatformOptions::default());
        let entries = split(&table.bytes[44..]);
        let wired: Vec<_> =
            entries.iter().filter(|entry| entry[..2] == [3, 0]).map(|e| (e[5], e[7])).collect();
        assert_eq!(wired[..3], [(0, 2), (1, 1), (3, 3)]);
        assert_eq!(wired.len(), 15);
        assert!(entries.contains(&&[4, 1, 0, 0, 0, 0, 0xff, 1][..]), "LINT1 is NMI");
    }
}
