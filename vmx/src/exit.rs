//! A VM exit as a value: why, and what it tells the host (SDM chapter 30).

use crate::exit_reason::BasicExitReason;
use isa::event::{Event, EventKind};
use mmu::ept::{EptMisconfiguration, EptPermissions, EptTarget, EptViolation};
use mmu::translation::Rights;

/// What a VM exit says of the instruction that caused it (30.2.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Told {
    /// Nothing.
    Nothing,
    /// Its length.
    Length,
    /// Its length and its operands.
    LengthAndInformation,
}

/// Why a VM exit happens, and what it tells the host.
///
/// What the machine alone knows is not here: the length and the operands of the instruction at RIP, and the event whose
/// delivery was under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exit {
    /// Bits 15:0 of the exit reason.
    pub reason: BasicExitReason,
    /// The exit qualification.
    pub qualification: u64,
    /// What is told of the instruction.
    pub told: Told,
    /// The guest-linear address.
    pub guest_linear: u64,
    /// The guest-physical address.
    pub guest_physical: u64,
    /// The event that the exit reports (30.2.2).
    pub event: Option<Event>,
}

impl Exit {
    /// An exit that tells nothing but its reason.
    #[must_use]
    pub const fn new(reason: BasicExitReason) -> Self {
        Self {
            reason,
            qualification: 0,
            told: Told::Nothing,
            guest_linear: 0,
            guest_physical: 0,
            event: None,
        }
    }

    /// The exit of an instruction that tells its length.
    #[must_use]
    pub const fn of_instruction(reason: BasicExitReason) -> Self {
        Self { told: Told::Length, ..Self::new(reason) }
    }

    /// The exit of an instruction that tells its length and its operands.
    #[must_use]
    pub const fn of_operands(reason: BasicExitReason) -> Self {
        Self { told: Told::LengthAndInformation, ..Self::new(reason) }
    }

    /// With this exit qualification.
    #[must_use]
    pub const fn with(self, qualification: u64) -> Self {
        Self { qualification, ..self }
    }

    /// The exit that an event causes by itself; software exceptions tell the length of their instruction (30.2.2,
    /// 30.2.5).
    #[must_use]
    pub const fn of_event(event: Event, qualification: u64) -> Self {
        let reason = match event.kind {
            EventKind::ExternalInterrupt => BasicExitReason::ExternalInterrupt,
            _ => BasicExitReason::ExceptionOrNmi,
        };
        let told = if event.kind.is_software_exception() { Told::Length } else { Told::Nothing };
        Self { told, event: Some(event), ..Self::new(reason).with(qualification) }
    }

    /// EPT does not permit an access (30.2.1, table 30-7).
    #[must_use]
    pub fn of_ept_violation(violation: &EptViolation) -> Self {
        let linear = violation.linear.map_or(0, |address| address.0);
        Self {
            guest_linear: linear,
            guest_physical: violation.guest_physical.0,
            ..Self::new(BasicExitReason::EptViolation).with(ept_qualification(violation))
        }
    }

    /// An EPT entry is malformed (30.2.1).
    #[must_use]
    pub const fn of_ept_misconfiguration(misconfiguration: &EptMisconfiguration) -> Self {
        let reason = BasicExitReason::EptMisconfiguration;
        Self { guest_physical: misconfiguration.guest_physical.0, ..Self::new(reason) }
    }
}

const FETCH: EptPermissions = EptPermissions::EXECUTE.union(EptPermissions::USER_EXECUTE);

/// Bits 2:0 what the access was, 5:3 and 6 what the entries permit, 7 and 8 what is known of the linear address, 11:9
/// what guest paging says of the page.
fn ept_qualification(violation: &EptViolation) -> u64 {
    let bit = |condition: bool, position: u32| u64::from(condition) << position;
    let access = violation.access;
    let permits = |permission| violation.permissions.contains(permission);
    let mut qualification = bit(access.contains(EptPermissions::READ), 0)
        | bit(access.contains(EptPermissions::WRITE), 1)
        | bit(access.intersects(FETCH), 2)
        | bit(permits(EptPermissions::READ), 3)
        | bit(permits(EptPermissions::WRITE), 4)
        | bit(permits(EptPermissions::EXECUTE), 5)
        | bit(permits(EptPermissions::USER_EXECUTE), 6)
        | bit(violation.linear.is_some(), 7);
    if let EptTarget::Final(page) = violation.target {
        qualification |= bit(violation.linear.is_some(), 8)
            | bit(page.rights.contains(Rights::USER), 9)
            | bit(page.rights.contains(Rights::WRITE), 10)
            | bit(!page.rights.contains(Rights::EXECUTE), 11);
    }
    qualification
}
