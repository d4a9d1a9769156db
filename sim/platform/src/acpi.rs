//! The ACPI tables that describe the platform (ACPI 6.5, chapter 5).

use crate::hpet;
use crate::io_apic;
use crate::options::{Acpi, PlatformOptions};
use crate::power;
use acpi_tables::Aml;
use acpi_tables::aml;
use acpi_tables::facs::FACS;
use acpi_tables::fadt::{FADT, FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;

/// The address of the root pointer, where software looks for it.
pub const ROOT_POINTER: u64 = 0xe_0000;

const OEM: [u8; 6] = *b"VMXSIM";
const OEM_TABLE: [u8; 8] = *b"PLATFORM";
/// The system control interrupt.
const SYSTEM_CONTROL: u8 = 9;
/// MADT entry flags: active high and level-triggered.
const HIGH_LEVEL: u16 = 0xd;

/// A table and its physical address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// Where it belongs.
    pub address: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// All tables of a platform, between E0000h and F8000h; the first is the root pointer at [`ROOT_POINTER`]. None without
/// ACPI.
///
/// ```
/// use platform::{PlatformOptions, acpi};
///
/// let tables = acpi::tables(&PlatformOptions::default());
/// assert_eq!(tables[0].address, acpi::ROOT_POINTER);
/// assert!(tables[0].bytes.starts_with(b"RSD PTR "));
/// ```
#[must_use]
pub fn tables(options: &PlatformOptions) -> Vec<Table> {
    if options.acpi == Acpi::Absent {
        return Vec::new();
    }
    let mut placed = Placed { tables: Vec::new(), end: ROOT_POINTER + 0x40 };
    let facs = placed.put(bytes_of(&FACS::new()));
    let dsdt = placed.put(differentiated());
    let described = [fixed(facs, dsdt), interrupts(options), event_timer()].map(|table| placed.put(table));
    let mut directory = XSDT::new(OEM, OEM_TABLE, 1);
    for address in described {
        directory.add_entry(u64::from(address));
    }
    let directory = placed.put(bytes_of(&directory));
    let root = bytes_of(&Rsdp::new(OEM, u64::from(directory)));
    placed.tables.insert(0, Table { address: ROOT_POINTER, bytes: root });
    placed.tables
}

/// The tables that have their place, and where the next one goes.
struct Placed {
    tables: Vec<Table>,
    end: u64,
}

impl Placed {
    /// Places a table at the next multiple of 64, and returns its address.
    #[allow(clippy::cast_possible_truncation, reason = "the tables lie below 1 MiB")]
    fn put(&mut self, bytes: Vec<u8>) -> u32 {
        let address = self.end;
        self.end = (address + bytes.len() as u64).next_multiple_of(64);
        self.tables.push(Table { address, bytes });
        address as u32
    }
}

/// The bytes of a table.
fn bytes_of(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

/// The FADT: where the fixed hardware is.
fn fixed(facs: u32, dsdt: u32) -> Vec<u8> {
    let mut table = FADTBuilder::new(OEM, OEM_TABLE, 1).firmware_ctrl_32(facs).dsdt_32(dsdt);
    for flag in [Flags::Wbinvd, Flags::ProcC1, Flags::SlpButton, Flags::TmrValExt, Flags::ResetRegSup] {
        table = table.flag(flag);
    }
    table.sci_int = u16::from(SYSTEM_CONTROL).into();
    table.pm1a_evt_blk = u32::from(power::EVENT_BLOCK).into();
    table.pm1a_cnt_blk = u32::from(power::CONTROL_BLOCK).into();
    table.pm_tmr_blk = u32::from(power::TIMER).into();
    (table.pm1_evt_len, table.pm1_cnt_len, table.pm_tmr_len) = (4, 2, 4);
    // Latencies above 100 and 1000 microseconds mean that there is no C2 and no C3.
    table.p_lvl2_lat = 101.into();
    table.p_lvl3_lat = 1001.into();
    table.century = 0x32;
    // Devices on the ISA bus; no VGA; a keyboard controller with nothing plugged in is not worth probing.
    table.iapc_boot_arch = 5.into();
    let reset = u64::from(power::RESET_CONTROL);
    table.reset_reg = GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, reset);
    table.reset_value = power::RESET_VALUE;
    let table: FADT = table.finalize();
    bytes_of(&table)
}

/// The MADT: the interrupt controllers. IDs from 255 on are those of x2APIC mode only.
fn interrupts(options: &PlatformOptions) -> Vec<u8> {
    let mut table = Sdt::new(*b"APIC", 36, 5, OEM, OEM_TABLE, 1);
    let mut body = Vec::new();
    body.extend(0xfee0_0000_u32.to_le_bytes());
    // There are two 8259s as well.
    body.extend(1_u32.to_le_bytes());
    for id in 0..options.processors {
        body.extend(local_apic(id));
    }
    #[allow(clippy::cast_possible_truncation, reason = "the I/O APIC lies below 4 GiB")]
    let io_apic = acpi_tables::madt::IoApic::new(0, io_apic::ADDRESS as u32, 0);
    body.extend(bytes_of(&io_apic));
    body.extend(source_override(0, 2, 0));
    body.extend(source_override(SYSTEM_CONTROL, u32::from(SYSTEM_CONTROL), HIGH_LEVEL));
    // LINT1 of every processor is NMI.
    body.extend([4, 6, 0xff, 0, 0, 1]);
    if options.processors > 255 {
        body.extend([10, 12, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0]);
    }
    table.append_slice(&body);
    table.as_slice().to_vec()
}

/// The MADT entry of an enabled processor.
fn local_apic(id: u32) -> Vec<u8> {
    match u8::try_from(id) {
        Ok(id) if id < 255 => vec![0, 8, id, id, 1, 0, 0, 0],
        _ => [[9, 16, 0, 0], id.to_le_bytes(), [1, 0, 0, 0], id.to_le_bytes()].concat(),
    }
}

/// The MADT entry that leads an ISA interrupt elsewhere, or says how it is triggered.
fn source_override(interrupt: u8, global: u32, flags: u16) -> Vec<u8> {
    let mut entry = vec![2, 10, 0, interrupt];
    entry.extend(global.to_le_bytes());
    entry.extend(flags.to_le_bytes());
    entry
}

/// The HPET table.
fn event_timer() -> Vec<u8> {
    let mut table = Sdt::new(*b"HPET", 36, 1, OEM, OEM_TABLE, 1);
    let mut body = Vec::new();
    #[allow(clippy::cast_possible_truncation, reason = "the table holds the low half")]
    body.extend((hpet::CAPABILITIES as u32).to_le_bytes());
    body.extend([0, 64, 0, 0]);
    body.extend(hpet::ADDRESS.to_le_bytes());
    // Number 0, a smallest period of 128 ticks, no page protection.
    body.extend([0, 0x80, 0, 0]);
    table.append_slice(&body);
    table.as_slice().to_vec()
}

/// The DSDT: soft-off, the host bridge and the serial port.
fn differentiated() -> Vec<u8> {
    let mut table = Sdt::new(*b"DSDT", 36, 2, OEM, OEM_TABLE, 1);
    let soft_off = aml::Package::new(vec![&power::SOFT_OFF, &power::SOFT_OFF, &0_u8, &0_u8]);
    table.append_slice(&bytes_of(&aml::Name::new("_S5_".into(), &soft_off)));
    table.append_slice(&bytes_of(&aml::Scope::new("_SB_".into(), vec![&HostBridge, &SerialPort])));
    table.as_slice().to_vec()
}

/// The host bridge, with the windows of its bus.
struct HostBridge;

impl Aml for HostBridge {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        let identity = aml::EISAName::new("PNP0A03");
        let buses = aml::AddressSpace::<u16>::new_bus_number(0, 0xff);
        let configuration = aml::IO::new(0xcf8, 0xcf8, 1, 8);
        let ports = aml::AddressSpace::<u16>::new_io(0xd00, 0xffff, None);
        let uncached = aml::AddressSpaceCacheable::NotCacheable;
        let memory = aml::AddressSpace::<u32>::new_memory(uncached, true, 0xf000_0000, 0xfebf_ffff, None);
        let resources = aml::ResourceTemplate::new(vec![&buses, &configuration, &ports, &memory]);
        let children: [aml::Name; 2] =
            [aml::Name::new("_HID".into(), &identity), aml::Name::new("_CRS".into(), &resources)];
        aml::Device::new("PCI0".into(), vec![&children[0], &children[1]]).to_aml_bytes(sink);
    }
}

/// The serial port at 3F8h.
struct SerialPort;

impl Aml for SerialPort {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        let identity = aml::EISAName::new("PNP0501");
        let ports = aml::IO::new(0x3f8, 0x3f8, 1, 8);
        let interrupt = aml::Interrupt::new(true, true, false, false, 4);
        let resources = aml::ResourceTemplate::new(vec![&ports, &interrupt]);
        let children: [aml::Name; 2] =
            [aml::Name::new("_HID".into(), &identity), aml::Name::new("_CRS".into(), &resources)];
        aml::Device::new("COM1".into(), vec![&children[0], &children[1]]).to_aml_bytes(sink);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A little-endian number in a table.
    fn number(bytes: &[u8], offset: usize, width: usize) -> u64 {
        bytes[offset..offset + width].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    /// The table at an address.
    fn at(tables: &[Table], address: u64) -> &[u8] {
        &tables.iter().find(|table| table.address == address).expect("a table is there").bytes
    }

    /// The table with this signature that the directory names.
    fn found<'a>(tables: &'a [Table], signature: &[u8]) -> &'a [u8] {
        let directory = at(tables, number(at(tables, ROOT_POINTER), 24, 8));
        assert!(directory.starts_with(b"XSDT"));
        let entries = directory[36..].chunks(8).map(|entry| at(tables, number(entry, 0, 8)));
        entries.into_iter().find(|table| table.starts_with(signature)).expect("the directory names it")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn tables_are_sound_and_lie_apart_below_those_for_multiprocessors(processors in 1_u32..=4096) {
            let options = PlatformOptions { processors, ..PlatformOptions::default() };
            let tables = tables(&options);
            for table in &tables {
                let sum = table.bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
                prop_assert!(sum == 0 || table.bytes.starts_with(b"FACS"));
                let length = if table.address == ROOT_POINTER { 20 } else { 4 };
                prop_assert_eq!(number(&table.bytes, length, 4), table.bytes.len() as u64);
            }
            let mut ranges: Vec<_> =
                tables.iter().map(|table| (table.address, table.address + table.bytes.len() as u64)).collect();
            ranges.sort_unstable();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
            prop_assert!(ranges.last().is_some_and(|last| last.1 <= crate::multiprocessor::FLOATING_POINTER));
            prop_assert!(ranges.iter().all(|range| range.0 % 64 == 0 && range.0 >= 0xe_0000));
        }

        #[test]
        fn every_processor_has_one_entry_of_the_kind_that_its_id_needs(processors in 1_u32..=600) {
            let options = PlatformOptions { processors, ..PlatformOptions::default() };
            let tables = tables(&options);
            let mut rest = &found(&tables, b"APIC")[44..];
            let mut ids = Vec::new();
            while let [kind, length, ..] = *rest {
                match kind {
                    0 if rest[3] < 255 => ids.push(u64::from(rest[3])),
                    9 if number(rest, 4, 4) >= 255 => ids.push(number(rest, 4, 4)),
                    _ => {}
                }
                rest = &rest[usize::from(length)..];
            }
            prop_assert_eq!(ids, (0..u64::from(processors)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_fixed_table_names_the_registers_that_are_there() {
        let tables = tables(&PlatformOptions::default());
        let fixed = found(&tables, b"FACP");
        assert!(at(&tables, number(fixed, 36, 4)).starts_with(b"FACS"));
        assert!(at(&tables, number(fixed, 40, 4)).starts_with(b"DSDT"));
        assert_eq!((number(fixed, 56, 4), number(fixed, 64, 4), number(fixed, 76, 4)), (0x600, 0x604, 0x608));
        assert_eq!(number(fixed, 46, 2), 9, "the system control interrupt");
        assert_eq!(number(fixed, 112, 4) >> 20 & 1, 0, "not hardware-reduced");
        assert_eq!((fixed[116], number(fixed, 120, 8), fixed[128]), (1, 0xcf9, 6));
    }

    #[test]
    fn soft_off_is_a_package_of_the_sleep_type() {
        let tables = tables(&PlatformOptions::default());
        let fixed = found(&tables, b"FACP");
        let code = &at(&tables, number(fixed, 40, 4))[36..];
        // Name (_S5_, Package (4) {5, 5, 0, 0}).
        assert!(code.starts_with(&[0x08, b'_', b'S', b'5', b'_', 0x12]), "{code:02x?}");
        assert!(code[6..].starts_with(&[8, 4, 0x0a, 5, 0x0a, 5]), "{code:02x?}");
    }

    #[test]
    fn without_acpi_there_are_no_tables() {
        let options = PlatformOptions { acpi: Acpi::Absent, ..PlatformOptions::default() };
        assert_eq!(tables(&options), Vec::new());
    }
}
