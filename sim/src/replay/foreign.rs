//! Replay of traces that hold addresses and no registers: ChampSim's and lackey's.
//!
//! Nothing is executed. Each fetch, load and store goes through page tables, TLB and caches like those of a program
//! of our own; pages come into being, with all permissions, when they are first touched.

use super::machine::Machine;
use super::options::{ReplayOptions, Verify};
use super::report::ReplayReport;
use super::{ReplayError, SpaceError};
use isa::address::{AccessKind, LinearAddress, PAGE_SIZE};
use isa::engine::CodeCache;
use std::time::Instant;
use traces::{Access, AccessStep, AccessSteps, Permissions};

/// Instructions between two reports of progress.
const PROGRESS_EVERY: u64 = 1 << 16;

pub(super) fn replay(
    options: &ReplayOptions,
    mut trace: AccessSteps,
    mut progress: impl FnMut(u64),
) -> Result<ReplayReport, ReplayError> {
    if options.verify == Verify::EachInstruction {
        return Err(ReplayError::Option("--verify needs registers, and this trace holds only addresses"));
    }
    let mut machine = Machine::new(options, CodeCache::new())?;
    let started = Instant::now();
    let mut index = 0;
    while index < options.limit.unwrap_or(u64::MAX) {
        let Some(step) = trace.next_step()? else { break };
        touch_all(&mut machine, &step).map_err(|source| ReplayError::Step { index, source })?;
        index += 1;
        if index.is_multiple_of(PROGRESS_EVERY) {
            progress(index);
        }
    }
    Ok(ReplayReport::of_addresses(&machine, index, started.elapsed()))
}

fn touch_all(machine: &mut Machine, step: &AccessStep) -> Result<(), SpaceError> {
    machine.charge_instruction();
    touch(machine, &Access::new(step.ip.0, 1), AccessKind::Execute)?;
    for access in &step.loads {
        touch(machine, access, AccessKind::Read)?;
    }
    for access in &step.stores {
        touch(machine, access, AccessKind::Write)?;
    }
    Ok(())
}

/// An access of unknown size is one byte.
fn touch(machine: &mut Machine, access: &Access, kind: AccessKind) -> Result<(), SpaceError> {
    let mut at = access.address;
    let mut left = access.size.map_or(1, |size| u64::from(size.get()));
    while left > 0 {
        let here = left.min(PAGE_SIZE - at.page_offset() as u64);
        touch_page(machine, at, kind, here)?;
        at = at.add(here);
        left -= here;
    }
    Ok(())
}

fn touch_page(
    machine: &mut Machine,
    at: LinearAddress,
    kind: AccessKind,
    bytes: u64,
) -> Result<(), SpaceError> {
    if !machine.is_mapped(at) {
        machine.permit(at, Permissions::all())?;
    }
    machine.access(at, kind, u16::try_from(bytes).unwrap_or(u16::MAX))
}
