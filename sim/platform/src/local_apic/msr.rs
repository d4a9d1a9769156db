//! The MSRs of a local APIC: IA32_APIC_BASE, IA32_TSC_DEADLINE, and in x2APIC mode 800H-8FFH (SDM 13.12.1).

use super::command::RESERVED_X2APIC;
use super::local_vector::{Entry, READ_ONLY};
use super::registers::Register;
use super::{Effects, LocalApic, Mode};
use crate::time::Time;

/// IA32_APIC_BASE.
const APIC_BASE: u32 = 0x1b;
/// IA32_TSC_DEADLINE.
const TSC_DEADLINE: u32 = 0x6e0;

/// RDMSR or WRMSR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MsrDirection {
    /// RDMSR.
    Read,
    /// WRMSR.
    Write,
}

/// Why RDMSR or WRMSR of a local APIC's MSR is a general-protection exception.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MsrRefusal {
    /// No such MSR.
    #[error("there is no such MSR")]
    Absent,
    /// 800H-8FFH outside x2APIC mode.
    #[error("MSRs 800H-8FFH exist in x2APIC mode only")]
    NotInX2apicMode,
    /// A read-only register was written, or a write-only one read.
    #[error("the register does not allow {0:?}")]
    Direction(MsrDirection),
    /// Reserved bits were set.
    #[error("reserved bits {0:#x} are set")]
    Reserved(u64),
    /// The EOI or error status register takes only 0.
    #[error("only 0 may be written, not {0:#x}")]
    OnlyZero(u64),
    /// IA32_APIC_BASE with the x2APIC bit but not the enable bit.
    #[error("x2APIC mode without the enable bit is no valid state")]
    InvalidMode,
    /// A transition that IA32_APIC_BASE does not allow.
    #[error("the local APIC cannot go from {from:?} to {to:?}")]
    Transition {
        /// The mode it is in.
        from: Mode,
        /// The mode asked for.
        to: Mode,
    },
}

/// What may be done with a register in x2APIC mode, and which bits of the low half software may write.
fn permission(register: Register) -> Result<(bool, u64), MsrRefusal> {
    Ok(match register {
        Register::TaskPriority => (true, 0xff),
        Register::SpuriousVector => (true, 0x3ff),
        Register::EndOfInterrupt | Register::ErrorStatus => (true, u64::MAX),
        Register::CommandLow => (true, u64::MAX ^ u64::from(RESERVED_X2APIC)),
        Register::LocalVector(entry) => (true, u64::from(entry.writable() | READ_ONLY)),
        Register::InitialCount => (true, 0xffff_ffff),
        Register::DivideConfiguration => (true, 0xb),
        Register::SelfInterrupt => (true, 0xff),
        Register::Id
        | Register::Version
        | Register::ProcessorPriority
        | Register::LogicalDestination
        | Register::InService(_)
        | Register::TriggerMode(_)
        | Register::Requested(_)
        | Register::CurrentCount => (false, 0),
        Register::ArbitrationPriority
        | Register::RemoteRead
        | Register::DestinationFormat
        | Register::CommandHigh => return Err(MsrRefusal::Absent),
    })
}

impl LocalApic {
    /// IA32_APIC_BASE.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base.bits()
    }

    /// The mode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.base.mode()
    }

    /// The register behind an MSR in x2APIC mode.
    fn register_of(&self, msr: u32) -> Result<Register, MsrRefusal> {
        if !(0x800..0x900).contains(&msr) {
            return Err(MsrRefusal::Absent);
        }
        if self.base.mode() != Mode::X2apic {
            return Err(MsrRefusal::NotInX2apicMode);
        }
        Register::numbered(msr - 0x800).ok_or(MsrRefusal::Absent)
    }

    /// Reads an MSR.
    ///
    /// # Errors
    /// Why it is a general-protection exception.
    pub fn msr_read(&self, now: Time, msr: u32) -> Result<u64, MsrRefusal> {
        match msr {
            APIC_BASE => return Ok(self.base.bits()),
            TSC_DEADLINE if self.features.tsc_deadline => return Ok(self.timer.deadline()),
            _ => {}
        }
        let register = self.register_of(msr)?;
        permission(register)?;
        match register {
            Register::EndOfInterrupt | Register::SelfInterrupt => {
                Err(MsrRefusal::Direction(MsrDirection::Read))
            }
            Register::CommandLow => Ok(u64::from(self.command_high) << 32 | u64::from(self.command_low)),
            _ => Ok(u64::from(self.read(now, register))),
        }
    }

    /// Writes an MSR.
    ///
    /// # Errors
    /// Why it is a general-protection exception; nothing was changed.
    pub(crate) fn msr_write(&mut self, now: Time, msr: u32, value: u64) -> Result<Effects, MsrRefusal> {
        match msr {
            APIC_BASE => return self.write_base(value).map(|()| Effects::default()),
            TSC_DEADLINE if self.features.tsc_deadline => {
                let mode = self.table.get(Entry::Timer).timer_mode();
                self.timer.set_deadline(value, mode);
                return Ok(Effects::default());
            }
            _ => {}
        }
        let register = self.register_of(msr)?;
        self.check_write(register, value)?;
        #[allow(clippy::cast_possible_truncation, reason = "the upper half was checked, or is taken first")]
        let low = value as u32;
        if register == Register::CommandLow {
            self.command_high = (value >> 32) as u32;
        }
        Ok(self.write(now, register, low))
    }

    /// Whether a register takes `value` in x2APIC mode.
    fn check_write(&self, register: Register, value: u64) -> Result<(), MsrRefusal> {
        let (writable, allowed) = permission(register)?;
        if !writable {
            return Err(MsrRefusal::Direction(MsrDirection::Write));
        }
        let only_zero = matches!(register, Register::EndOfInterrupt | Register::ErrorStatus);
        if only_zero && value != 0 {
            return Err(MsrRefusal::OnlyZero(value));
        }
        let allowed = match register {
            Register::LocalVector(entry) => allowed & u64::from(self.writable(entry) | READ_ONLY),
            _ => allowed,
        };
        let reserved = value & !allowed;
        if reserved == 0 { Ok(()) } else { Err(MsrRefusal::Reserved(reserved)) }
    }

    /// Writes IA32_APIC_BASE. A disabled local APIC loses all its state but the task priority, which stays reachable as CR8;
    /// it comes back with its initial APIC ID.
    fn write_base(&mut self, value: u64) -> Result<(), MsrRefusal> {
        let before = self.base.mode();
        self.base = self.base.written(value, self.features)?;
        if self.base.mode() == Mode::Disabled && before != Mode::Disabled {
            let task_priority = self.task_priority;
            self.reset_registers();
            self.id = (self.processor.0 & 0xff) as u8;
            self.task_priority = task_priority;
        }
        Ok(())
    }
}
