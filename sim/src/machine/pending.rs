//! What is due before the next instruction: one table decides (SDM Vol. 3A, table 7-2).

use super::guest::GuestControls;
use isa::flags::Rflags;
use isa::state::State;
use isa::system::{Activity, Interruptibility};

/// What can be due between two instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// The virtual task priority is below the threshold after a VM entry.
    TprThreshold,
    /// SMI.
    SystemManagement,
    /// INIT.
    Init,
    /// A startup IPI.
    Startup,
    /// The monitor trap flag.
    MonitorTrap,
    /// A debug exception that the last instruction has left.
    DebugTrap,
    /// The VMX-preemption timer.
    PreemptionTimer,
    /// NMIs can be delivered, and the host wants to know.
    NmiWindow,
    /// NMI.
    NonMaskable,
    /// Interrupts can be delivered, and the host wants to know.
    InterruptWindow,
    /// An interrupt from the local APIC or the 8259.
    External,
}

/// What is there, whether or not it is blocked.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Pending {
    pub(super) system_management: bool,
    pub(super) init: bool,
    pub(super) startup: bool,
    pub(super) debug_trap: bool,
    pub(super) non_maskable: bool,
    pub(super) external: bool,
    pub(super) tpr_threshold: bool,
    pub(super) monitor_trap: bool,
    pub(super) timer: bool,
    pub(super) nmi_window: bool,
    pub(super) interrupt_window: bool,
    /// What VMX makes of blocking.
    pub(super) controls: GuestControls,
}

impl Pending {
    /// Whether nothing is there.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self { controls: self.controls, ..Self::default() }
    }
}

/// One row: what, whether it is there, and what blocks it.
struct Row {
    due: Due,
    is_there: fn(&Pending) -> bool,
    is_blocked: fn(&GuestControls, &State) -> bool,
}

/// In the order of priority (SDM Vol. 3A, table 7-2; Vol. 3C, 28.2, 29.7).
const ROWS: [Row; 11] = [
    Row {
        due: Due::TprThreshold,
        is_there: |pending| pending.tpr_threshold,
        is_blocked: |_, state| is_away(state),
    },
    Row {
        due: Due::SystemManagement,
        is_there: |pending| pending.system_management,
        is_blocked: |_, state| blocks_system_management(state),
    },
    Row { due: Due::Init, is_there: |pending| pending.init, is_blocked: blocks_init },
    Row {
        due: Due::Startup,
        is_there: |pending| pending.startup,
        is_blocked: |_, state| !waits_for_startup(state),
    },
    Row {
        due: Due::MonitorTrap,
        is_there: |pending| pending.monitor_trap,
        is_blocked: |_, state| is_away(state),
    },
    Row { due: Due::DebugTrap, is_there: |pending| pending.debug_trap, is_blocked: after_stack_load },
    Row {
        due: Due::PreemptionTimer,
        is_there: |pending| pending.timer,
        is_blocked: |_, state| waits_for_startup(state),
    },
    Row { due: Due::NmiWindow, is_there: |pending| pending.nmi_window, is_blocked: blocks_nmi_window },
    Row { due: Due::NonMaskable, is_there: |pending| pending.non_maskable, is_blocked: blocks_non_maskable },
    Row {
        due: Due::InterruptWindow,
        is_there: |pending| pending.interrupt_window,
        is_blocked: |_, state| masks_external(state),
    },
    Row { due: Due::External, is_there: |pending| pending.external, is_blocked: blocks_external },
];

/// What is due first, if anything.
pub(super) fn first(pending: &Pending, state: &State) -> Option<Due> {
    let due = |row: &&Row| (row.is_there)(pending) && !(row.is_blocked)(&pending.controls, state);
    ROWS.iter().find(due).map(|row| row.due)
}

/// VMX root operation blocks INIT; a guest that waits for a startup IPI does, too (SDM 26.8, 29.7.2).
fn blocks_init(controls: &GuestControls, state: &State) -> bool {
    in_system_management(state) || controls.is_root || controls.is_guest && waits_for_startup(state)
}

fn waits_for_startup(state: &State) -> bool {
    state.system.activity == Activity::WaitForSipi
}

/// INIT waits for RSM (SDM Vol. 3C, 34.3).
fn in_system_management(state: &State) -> bool {
    state.system.interruptibility.contains(Interruptibility::SMI)
}

/// An SMI also waits for the end of what shields one instruction, so that RSM has not to bring that back.
fn blocks_system_management(state: &State) -> bool {
    let blocking = Interruptibility::SMI | Interruptibility::MOV_SS | Interruptibility::STI;
    waits_for_startup(state) || state.system.interruptibility.intersects(blocking)
}

/// Whether the processor does not take NMIs and interrupts at all.
fn is_away(state: &State) -> bool {
    matches!(state.system.activity, Activity::WaitForSipi | Activity::Shutdown)
}

fn after_stack_load(_: &GuestControls, state: &State) -> bool {
    is_away(state) || state.system.interruptibility.contains(Interruptibility::MOV_SS)
}

/// A shutdown ends with an NMI. Virtual NMIs leave NMIs alone. Blocking by STI holds one back as well, which the manual
/// leaves to the processor: a program that says STI and HLT is then not woken between the two.
fn blocks_non_maskable(controls: &GuestControls, state: &State) -> bool {
    let mut blocking = Interruptibility::NMI | Interruptibility::MOV_SS | Interruptibility::STI;
    if controls.virtual_nmis {
        blocking -= Interruptibility::NMI;
    }
    waits_for_startup(state) || state.system.interruptibility.intersects(blocking)
}

/// The window opens with virtual NMIs, and neither STI nor MOV SS holds it shut.
fn blocks_nmi_window(_: &GuestControls, state: &State) -> bool {
    let blocking = Interruptibility::NMI | Interruptibility::MOV_SS | Interruptibility::STI;
    waits_for_startup(state) || state.system.interruptibility.intersects(blocking)
}

fn masks_external(state: &State) -> bool {
    is_away(state) || state.flags.get() & Rflags::IF.bits() == 0 || is_shadowed(state)
}

fn is_shadowed(state: &State) -> bool {
    state.system.interruptibility.intersects(Interruptibility::STI | Interruptibility::MOV_SS)
}

/// An interrupt that exits is not held back by RFLAGS.IF (SDM 28.4.1).
fn blocks_external(controls: &GuestControls, state: &State) -> bool {
    if controls.external_exits { is_away(state) || is_shadowed(state) } else { masks_external(state) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> State {
        let mut state = State::default();
        state.flags.set(0x202);
        state
    }

    const NOTHING: GuestControls =
        GuestControls { is_root: false, is_guest: false, external_exits: false, virtual_nmis: false };
    const ALL: Pending = Pending {
        system_management: true,
        init: true,
        startup: true,
        debug_trap: true,
        non_maskable: true,
        external: true,
        tpr_threshold: true,
        monitor_trap: true,
        timer: true,
        nmi_window: true,
        interrupt_window: true,
        controls: NOTHING,
    };

    #[test]
    fn events_come_in_the_order_of_the_manual() {
        let mut pending = ALL;
        let mut order = Vec::new();
        while let Some(due) = first(&pending, &ready()) {
            order.push(due);
            match due {
                Due::TprThreshold => pending.tpr_threshold = false,
                Due::SystemManagement => pending.system_management = false,
                Due::Init => pending.init = false,
                Due::Startup => pending.startup = false,
                Due::MonitorTrap => pending.monitor_trap = false,
                Due::DebugTrap => pending.debug_trap = false,
                Due::PreemptionTimer => pending.timer = false,
                Due::NmiWindow => pending.nmi_window = false,
                Due::NonMaskable => pending.non_maskable = false,
                Due::InterruptWindow => pending.interrupt_window = false,
                Due::External => pending.external = false,
            }
        }
        let expected = [
            Due::TprThreshold,
            Due::SystemManagement,
            Due::Init,
            Due::MonitorTrap,
            Due::DebugTrap,
            Due::PreemptionTimer,
            Due::NmiWindow,
            Due::NonMaskable,
            Due::InterruptWindow,
            Due::External,
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn each_blocking_holds_back_what_the_manual_says_and_nothing_else() {
        let after = |blocking: Interruptibility, rflags| {
            let mut state = ready();
            state.flags.set(rflags);
            state.system.interruptibility = blocking;
            let one = |pending| first(&pending, &state).is_some();
            [
                one(Pending { debug_trap: true, ..Pending::default() }),
                one(Pending { non_maskable: true, ..Pending::default() }),
                one(Pending { external: true, ..Pending::default() }),
                one(Pending { system_management: true, ..Pending::default() }),
                one(Pending { init: true, ..Pending::default() }),
            ]
        };
        assert_eq!(after(Interruptibility::empty(), 0x202), [true; 5]);
        assert_eq!(after(Interruptibility::empty(), 0x2), [true, true, false, true, true]);
        assert_eq!(after(Interruptibility::STI, 0x202), [true, false, false, false, true]);
        assert_eq!(after(Interruptibility::MOV_SS, 0x202), [false, false, false, false, true]);
        assert_eq!(after(Interruptibility::NMI, 0x202), [true, false, true, true, true]);
        assert_eq!(after(Interruptibility::SMI, 0x202), [true, true, true, false, false]);
    }

    #[test]
    fn a_processor_that_waits_for_startup_takes_init_and_nothing_else() {
        let mut state = ready();
        state.system.activity = Activity::WaitForSipi;
        assert_eq!(first(&ALL, &state), Some(Due::Init));
        let after_init = Pending { init: false, ..ALL };
        assert_eq!(first(&after_init, &state), Some(Due::Startup));
        assert_eq!(first(&Pending { startup: false, ..after_init }, &state), None);
    }

    #[test]
    fn a_shutdown_ends_with_init_or_an_nmi() {
        let mut state = ready();
        state.system.activity = Activity::Shutdown;
        let waits = Pending { init: false, system_management: false, timer: false, nmi_window: false, ..ALL };
        assert_eq!(first(&waits, &state), Some(Due::NonMaskable));
        assert_eq!(first(&Pending { non_maskable: false, ..waits }, &state), None);
    }
}
