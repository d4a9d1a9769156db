//! Why a processor died, for a reader.

use super::Machine;
use super::history::Taken;
use super::logical::Logical;
use super::symbols::Symbols;
use isa::event::{EventKind, Vector};
use isa::registers::Gpr;
use isa::segment::SegmentRegister;
use std::fmt::{self, Write as _};

impl Machine {
    /// The last events of a processor, its registers, and the instruction that it could not get past.
    #[must_use]
    pub fn death(&mut self, processor: usize) -> String {
        let mut text = String::new();
        if let Some(logical) = self.processors.get_mut(processor) {
            logical.core.memory.begin_turn(core::mem::take(&mut self.ram));
            // Writing to a string cannot fail.
            let _infallible = write(&mut text, processor, logical, &self.symbols);
            self.ram = logical.core.memory.end_turn();
        }
        text
    }
}

fn write(out: &mut String, number: usize, logical: &Logical, symbols: &Symbols) -> fmt::Result {
    writeln!(out, "\nprocessor {number}, its last events, oldest first:")?;
    for taken in logical.history.iter() {
        writeln!(out, "  {}", describe(taken, symbols))?;
    }
    let state = &logical.core.state;
    let system = &state.system;
    writeln!(out, "registers:")?;
    for row in Gpr::ALL.chunks(4) {
        for gpr in row {
            write!(out, "  {:>3} {:016x}", gpr.name(), state.slot((*gpr).into()))?;
        }
        writeln!(out)?;
    }
    writeln!(out, "  rip {:016x}  rflags {:x}  cpl {}", state.rip(), state.flags.get(), system.cpl)?;
    let (cr0, cr4, efer) = (system.cr0.bits(), system.cr4.bits(), system.efer.bits());
    writeln!(out, "  cr0 {cr0:x}  cr2 {:x}  cr3 {:x}  cr4 {cr4:x}  efer {efer:x}", system.cr2, system.cr3)?;
    for register in SegmentRegister::ALL {
        let segment = state.segment(register);
        write!(out, "  {register:?} {:04x} {:x}+{:x}", segment.selector, segment.base, segment.limit)?;
    }
    let (gdtr, idtr) = (system.gdtr, system.idtr);
    writeln!(out, "\n  gdtr {:x}+{:x}  idtr {:x}+{:x}", gdtr.base, gdtr.limit, idtr.base, idtr.limit)?;
    let name = symbols.suffix(state.code_context().linear(state.rip()).0);
    match logical.instruction_at_rip() {
        Some(instruction) => writeln!(out, "at {:x}{name}: {instruction}", state.rip()),
        None => writeln!(out, "at {:x}{name}: there is no code", state.rip()),
    }
}

/// An event in words.
fn describe(taken: &Taken, symbols: &Symbols) -> String {
    let vector = taken.event.vector;
    let mut text = match taken.event.kind {
        EventKind::ExternalInterrupt => format!("interrupt {vector:#x}"),
        EventKind::NonMaskableInterrupt => "NMI".to_owned(),
        EventKind::HardwareException => format!("exception {vector}{}", name(vector)),
        EventKind::SoftwareInterrupt => format!("INT {vector:#x}"),
        EventKind::PrivilegedSoftwareException => "INT1".to_owned(),
        EventKind::SoftwareException => format!("INT3 or INTO ({vector})"),
    };
    if let Some(code) = taken.event.error_code {
        text += &format!(", error code {code:#x}");
    }
    if let Some(address) = taken.address {
        text += &format!(", address {address:#x}");
    }
    text += &format!(" at {:#x}:{:#x}{}", taken.at.0, taken.at.1, symbols.suffix(taken.at.1));
    if taken.failed {
        text += ", whose delivery failed";
    }
    text
}

fn name(vector: u8) -> String {
    Vector::from_number(vector).map_or(String::new(), |vector| format!(" ({vector:?})"))
}
