//! Debug exceptions of a processor: which breakpoints it meets, and when the exception comes (SDM Vol. 3B, 19.2 and 19.3).
//!
//! A breakpoint for an instruction is a fault before it. Data and I/O breakpoints and single steps are traps: their
//! reasons gather until the next instruction boundary where nothing blocks them.
//!
//! # Choices
//!
//! - Traps that a load of SS blocks are lost when the instruction behind it faults or is INT1, and are delivered before
//!   the first instruction of the handler when it is INT n, INT3 or INTO.
//! - Accesses that the processor makes by itself, to descriptor tables, task-state segments and the stack of a handler,
//!   meet data breakpoints as well.

use super::logical::{Core, Logical};
use isa::address::AccessKind;
use isa::cpu::Stop;
use isa::engine::CodeCache;
use isa::event::{EventKind, Exception};
use isa::system::Interruptibility;
use isa::system::debug::{self, Access, Dr6};
use mmu::mmu::Noting;

impl Logical {
    /// Has data accesses noted exactly while a breakpoint waits for some.
    pub(super) fn watch(&mut self) {
        let watches = debug::watches_data(&self.core.state.system);
        self.core.memory.note_accesses(if watches { Noting::On } else { Noting::Off });
    }

    /// A breakpoint at the instruction that comes next is a fault before it, except right behind a load of SS.
    pub(super) fn meets_breakpoint(&mut self, code: &mut CodeCache<Core>) -> bool {
        let system = &self.core.state.system;
        if system.interruptibility.contains(Interruptibility::MOV_SS) {
            return false;
        }
        let at = self.core.state.code_context().linear(self.core.state.rip());
        let reasons = debug::on_execution(system, at);
        if !reasons.is_empty() {
            self.raise(&Exception::debug(reasons), code);
        }
        !reasons.is_empty()
    }

    /// The data and I/O breakpoints that have been met since the last look become due.
    pub(super) fn gather(&mut self) {
        let system = &self.core.state.system;
        let noted = self.core.memory.noted().iter();
        let data = noted.map(|noted| {
            let access = if noted.kind == AccessKind::Write { Access::Write } else { Access::Read };
            debug::on_access(system, noted.linear, noted.bytes.into(), access)
        });
        self.debug_trap |= data.collect::<Dr6>() | self.core.outside.take_breakpoints();
        self.core.memory.forget_noted();
    }

    /// What was due behind the instruction before is lost.
    pub(super) fn drop_traps_before(&mut self, stop: &Stop) {
        let int1 = EventKind::PrivilegedSoftwareException;
        if matches!(stop, Stop::Exception(_))
            || matches!(stop, Stop::SoftwareInterrupt { kind, .. } if *kind == int1)
        {
            self.debug_trap = Dr6::empty();
        }
    }
}
