//! Checks of the VM-exit and VM-entry controls, and of the event to be injected (SDM 29.2.1.2, 29.2.1.3).

use super::execution::{ones, zeros};
use super::{Entry, predicates};
use crate::controls::{
    ControlBit, ControlWord, EntryControls as Entered, PinBasedControls as Pin, PrimaryExitControls as Exit,
};
use crate::entry_rules::Subject;
use crate::entry_rules::question::event_type::{HARDWARE_EXCEPTION, NMI, OTHER, RESERVED};
use crate::field::{Condition, Encoding as E};

/// Bit 11 of injected-event identification.
const DELIVERS_ERROR_CODE: u64 = 1 << 11;

/// The processor has the monitor trap flag.
const fn monitor_trap_flag(s: &Subject) -> bool {
    s.capabilities.offers(ControlBit { word: ControlWord::PrimaryProcessor, bit: 27 })
}

/// An exception is injected where exceptions have error codes, on a processor that insists on them.
const fn injects_protected_exception(s: &Subject) -> bool {
    s.injects(HARDWARE_EXCEPTION)
        && !s.injects_in_real_mode()
        && !s.capabilities.basic().error_code_for_any_vector()
}

/// Which vectors an event of type 7 may have.
const fn other_event(s: &Subject) -> bool {
    match s.vector() {
        0 => monitor_trap_flag(s),
        1 | 2 => s.guest_fred(),
        _ => false,
    }
}

pub(super) const RULES: &[Entry] = predicates! { s;
    "CTL.EXIT.PRI.ALLOWED0", true => ones(s, ControlWord::PrimaryExit);
    "CTL.EXIT.PRI.ALLOWED1", true => zeros(s, ControlWord::PrimaryExit);
    "CTL.EXIT.SEC.RSVD", s.exit(Exit::ACTIVATE_SECONDARY_CONTROLS) => zeros(s, ControlWord::SecondaryExit);
    "CTL.EXIT.PREEMPT.SAVE", !s.pin(Pin::ACTIVATE_VMX_PREEMPTION_TIMER)
        => !s.exit(Exit::SAVE_VMX_PREEMPTION_TIMER_VALUE);
    "CTL.EXIT.MSR_STORE.ALIGN", s.field(E::EXIT_MSR_STORE_COUNT) != 0 => s.is_clear(E::EXIT_MSR_STORE_ADDR, 0xf);
    "CTL.EXIT.MSR_STORE.WIDTH", s.field(E::EXIT_MSR_STORE_COUNT) != 0 => s.in_width(E::EXIT_MSR_STORE_ADDR);
    "CTL.EXIT.MSR_STORE.LAST", s.field(E::EXIT_MSR_STORE_COUNT) != 0 && s.in_width(E::EXIT_MSR_STORE_ADDR)
        => s.list_in_width(E::EXIT_MSR_STORE_ADDR, E::EXIT_MSR_STORE_COUNT);
    "CTL.EXIT.MSR_LOAD.ALIGN", s.field(E::EXIT_MSR_LOAD_COUNT) != 0 => s.is_clear(E::EXIT_MSR_LOAD_ADDR, 0xf);
    "CTL.EXIT.MSR_LOAD.WIDTH", s.field(E::EXIT_MSR_LOAD_COUNT) != 0 => s.in_width(E::EXIT_MSR_LOAD_ADDR);
    "CTL.EXIT.MSR_LOAD.LAST", s.field(E::EXIT_MSR_LOAD_COUNT) != 0 && s.in_width(E::EXIT_MSR_LOAD_ADDR)
        => s.list_in_width(E::EXIT_MSR_LOAD_ADDR, E::EXIT_MSR_LOAD_COUNT);
    "CTL.ENTRY.ALLOWED0", true => ones(s, ControlWord::Entry);
    "CTL.ENTRY.ALLOWED1", true => zeros(s, ControlWord::Entry);
    "CTL.INJ.TYPE1", s.injects_any() => s.event_type() != RESERVED;
    "CTL.INJ.TYPE7",
        s.injects_any() && !monitor_trap_flag(s) && !s.capabilities.supports(Condition::FredTransitions)
        => s.event_type() != OTHER;
    "CTL.INJ.VEC_NMI", s.injects(NMI) => s.vector() == 2;
    "CTL.INJ.VEC_HWEXC", s.injects(HARDWARE_EXCEPTION) => s.vector() <= 31;
    "CTL.INJ.VEC_OTHER",
        s.injects(OTHER) && (monitor_trap_flag(s) || s.capabilities.supports(Condition::FredTransitions))
        => other_event(s);
    "CTL.INJ.EC_MUST_1", injects_protected_exception(s) && s.vector_has_error_code()
        => s.is_set(E::INJECTED_EVENT_ID, DELIVERS_ERROR_CODE);
    "CTL.INJ.EC_MUST_0_TYPE", s.injects_any() && s.event_type() != HARDWARE_EXCEPTION
        => s.is_clear(E::INJECTED_EVENT_ID, DELIVERS_ERROR_CODE);
    "CTL.INJ.EC_MUST_0_REAL", s.injects(HARDWARE_EXCEPTION) && s.injects_in_real_mode()
        => s.is_clear(E::INJECTED_EVENT_ID, DELIVERS_ERROR_CODE);
    "CTL.INJ.EC_MUST_0_VEC", injects_protected_exception(s) && s.vector_has_no_error_code()
        => s.is_clear(E::INJECTED_EVENT_ID, DELIVERS_ERROR_CODE);
    "CTL.INJ.NESTED_TYPE", s.injects_any() && s.event_type() != HARDWARE_EXCEPTION
        => s.is_clear(E::INJECTED_EVENT_ID, 1 << 13);
    "CTL.INJ.NESTED_CAP", s.injects_any() && !s.capabilities.basic().nested_exception()
        => s.is_clear(E::INJECTED_EVENT_ID, 1 << 13);
    "CTL.INJ.RSVD", s.injects_any() => s.is_clear(E::INJECTED_EVENT_ID, 0x7fff_d000);
    "CTL.INJ.ERRCODE_HI", s.injects_any() && s.is_set(E::INJECTED_EVENT_ID, DELIVERS_ERROR_CODE)
        => s.is_clear(E::INJECTED_EVENT_ERROR, 0xffff_0000);
    "CTL.INJ.ILEN_MAX", s.injects_software() => s.field(E::ENTRY_INSTRUCTION_LENGTH) <= 15;
    "CTL.INJ.ILEN_ZERO", s.injects_software() && !s.capabilities.misc().zero_instruction_length()
        => s.field(E::ENTRY_INSTRUCTION_LENGTH) != 0;
    "CTL.INJ.ILEN_MAX_OTHER", s.injects_fred() => s.field(E::ENTRY_INSTRUCTION_LENGTH) <= 15;
    "CTL.INJ.ILEN_ZERO_OTHER", s.injects_fred() && !s.capabilities.misc().zero_instruction_length()
        => s.field(E::ENTRY_INSTRUCTION_LENGTH) != 0;
    "CTL.ENTRY.MSR_LOAD.ALIGN", s.field(E::ENTRY_MSR_LOAD_COUNT) != 0 => s.is_clear(E::ENTRY_MSR_LOAD_ADDR, 0xf);
    "CTL.ENTRY.MSR_LOAD.WIDTH", s.field(E::ENTRY_MSR_LOAD_COUNT) != 0 => s.in_width(E::ENTRY_MSR_LOAD_ADDR);
    "CTL.ENTRY.MSR_LOAD.LAST", s.field(E::ENTRY_MSR_LOAD_COUNT) != 0 && s.in_width(E::ENTRY_MSR_LOAD_ADDR)
        => s.list_in_width(E::ENTRY_MSR_LOAD_ADDR, E::ENTRY_MSR_LOAD_COUNT);
    "CTL.ENTRY.SMM_OUTSIDE", !s.in_smm() => !s.entry(Entered::ENTRY_TO_SMM);
    "CTL.ENTRY.DEACT_OUTSIDE", !s.in_smm() => !s.entry(Entered::DEACTIVATE_DUAL_MONITOR_TREATMENT);
    "CTL.ENTRY.SMM_BOTH", true
        => !(s.entry(Entered::ENTRY_TO_SMM) && s.entry(Entered::DEACTIVATE_DUAL_MONITOR_TREATMENT));
};
