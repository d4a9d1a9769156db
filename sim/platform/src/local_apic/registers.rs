//! What the registers of a local APIC read and do, by their number: the offset in the page divided by 16, or the MSR's
//! number less 800H (SDM 13.4.1, 13.12.1.2).

use super::acceptance::errors;
use super::command::MEANINGFUL;
use super::local_vector::Entry;
use super::{Effects, LocalApic, Mode, SOFTWARE_ENABLE};
use crate::time::Time;

/// A register of the local APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Register {
    Id,
    Version,
    TaskPriority,
    ArbitrationPriority,
    ProcessorPriority,
    EndOfInterrupt,
    RemoteRead,
    LogicalDestination,
    DestinationFormat,
    SpuriousVector,
    InService(u8),
    TriggerMode(u8),
    Requested(u8),
    ErrorStatus,
    CommandLow,
    CommandHigh,
    LocalVector(Entry),
    InitialCount,
    CurrentCount,
    DivideConfiguration,
    SelfInterrupt,
}

impl Register {
    /// The register with this number.
    pub(super) fn numbered(number: u32) -> Option<Self> {
        let word = (number & 7) as u8;
        Some(match number {
            0x02 => Self::Id,
            0x03 => Self::Version,
            0x08 => Self::TaskPriority,
            0x09 => Self::ArbitrationPriority,
            0x0a => Self::ProcessorPriority,
            0x0b => Self::EndOfInterrupt,
            0x0c => Self::RemoteRead,
            0x0d => Self::LogicalDestination,
            0x0e => Self::DestinationFormat,
            0x0f => Self::SpuriousVector,
            0x10..=0x17 => Self::InService(word),
            0x18..=0x1f => Self::TriggerMode(word),
            0x20..=0x27 => Self::Requested(word),
            0x28 => Self::ErrorStatus,
            0x30 => Self::CommandLow,
            0x31 => Self::CommandHigh,
            0x32..=0x37 => Self::LocalVector(Entry::ALL[(number - 0x32) as usize]),
            0x38 => Self::InitialCount,
            0x39 => Self::CurrentCount,
            0x3e => Self::DivideConfiguration,
            0x3f => Self::SelfInterrupt,
            _ => return None,
        })
    }
}

/// Version 14H (an integrated APIC of the xAPIC generation) with six entries in the local vector table.
const VERSION: u32 = 0x0005_0014;

impl LocalApic {
    /// Reads a register; the self-IPI register exists in x2APIC mode only and is write-only there.
    pub(super) fn read(&self, now: Time, register: Register) -> u32 {
        match register {
            Register::Id if self.base.mode() == Mode::X2apic => self.processor.0,
            Register::Id => u32::from(self.id) << 24,
            Register::Version => VERSION,
            Register::TaskPriority => u32::from(self.task_priority),
            Register::ProcessorPriority => u32::from(self.processor_priority()),
            Register::LogicalDestination if self.base.mode() == Mode::X2apic => self.x2apic_logical_id(),
            Register::LogicalDestination => u32::from(self.logical_destination) << 24,
            Register::DestinationFormat => u32::from(self.destination_format) << 28 | 0x0fff_ffff,
            Register::SpuriousVector => self.spurious,
            Register::InService(word) => self.in_service.word(word),
            Register::TriggerMode(word) => self.trigger_mode.word(word),
            Register::Requested(word) => self.requested.word(word),
            Register::ErrorStatus => self.error_status,
            Register::CommandLow => self.command_low,
            Register::CommandHigh => self.command_high,
            Register::LocalVector(entry) => self.table.get(entry).0,
            Register::InitialCount => self.timer.initial,
            Register::CurrentCount => self.timer.current(now),
            Register::DivideConfiguration => self.timer.divide,
            Register::ArbitrationPriority
            | Register::RemoteRead
            | Register::EndOfInterrupt
            | Register::SelfInterrupt => 0,
        }
    }

    /// Writes a register; a read-only one ignores it.
    pub(super) fn write(&mut self, now: Time, register: Register, value: u32) -> Effects {
        let top = (value >> 24) as u8;
        match register {
            Register::Id => self.id = top,
            Register::TaskPriority => self.task_priority = (value & 0xff) as u8,
            Register::EndOfInterrupt => {
                return Effects { ended: self.end_of_interrupt().0, message: None };
            }
            Register::LogicalDestination => self.logical_destination = top,
            Register::DestinationFormat => self.destination_format = top >> 4,
            Register::SpuriousVector => self.write_spurious(value),
            Register::ErrorStatus => self.error_status = std::mem::take(&mut self.errors),
            Register::CommandHigh => self.command_high = value,
            Register::CommandLow => {
                self.command_low = value & MEANINGFUL;
                return Effects { message: self.command(), ended: None };
            }
            Register::LocalVector(entry) => self.write_local_vector(entry, value),
            Register::InitialCount => {
                let mode = self.table.get(Entry::Timer).timer_mode();
                self.timer.start(now, value, mode);
            }
            Register::DivideConfiguration => self.timer.set_divide(now, value),
            Register::SelfInterrupt => {
                let message = self.self_interrupt((value & 0xff) as u8);
                return Effects { message, ended: None };
            }
            Register::Version
            | Register::ArbitrationPriority
            | Register::ProcessorPriority
            | Register::RemoteRead
            | Register::InService(_)
            | Register::TriggerMode(_)
            | Register::Requested(_)
            | Register::CurrentCount => {}
        }
        Effects::default()
    }

    /// Writes the spurious-interrupt vector register; disabling masks the local vector table.
    fn write_spurious(&mut self, value: u32) {
        self.spurious = value & 0x3ff;
        if value & SOFTWARE_ENABLE == 0 {
            self.table.mask_all();
        }
    }

    /// Whether this local APIC has its registers at `address`.
    #[must_use]
    pub(crate) fn claims(&self, address: u64) -> bool {
        self.base.mode() == Mode::Xapic && address & !0xfff == self.base.address()
    }

    /// The register at an offset in the page, when it exists in xAPIC mode; else the error is noted.
    fn register_at(&mut self, offset: u64) -> Option<Register> {
        let number = u32::try_from(offset >> 4).ok()?;
        let register = Register::numbered(number).filter(|register| *register != Register::SelfInterrupt);
        if register.is_none() {
            self.record_error(errors::ILLEGAL_REGISTER);
        }
        register
    }

    /// Reads the register at `address` in xAPIC mode. Four bytes on a 16-byte boundary are defined; other bytes of those
    /// four are read as they stand in the register, and the rest is 0.
    pub(crate) fn memory_read(&mut self, now: Time, address: u64, bytes: u8) -> u64 {
        let Some(register) = self.register_at(address & 0xfff) else { return 0 };
        let value = u64::from(self.read(now, register));
        crate::memory::part(value, address & 15, bytes)
    }

    /// Writes the register at `address` in xAPIC mode. Accesses that are not four bytes on a 16-byte boundary are undefined
    /// and ignored here.
    pub(crate) fn memory_write(&mut self, now: Time, address: u64, bytes: u8, value: u64) -> Effects {
        let register = self.register_at(address & 0xfff);
        match register {
            #[allow(clippy::cast_possible_truncation, reason = "four bytes were written")]
            Some(register) if bytes == 4 && address & 15 == 0 => self.write(now, register, value as u32),
            _ => Effects::default(),
        }
    }
}
