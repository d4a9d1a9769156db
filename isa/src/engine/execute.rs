//! The execution of decoded instructions.

use super::StoppedAt;
use crate::block::{self, Block, Ending};
use crate::cpu::{Cpu, Stopped};
use crate::mode::CodeContext;
use crate::record::Record;
use crate::stack::stack_fault;

/// Executes `count` instructions of straight-line code without keeping their decoded form.
pub(super) fn run_uncached<C: Cpu>(
    cpu: &mut C,
    count: usize,
    context: &CodeContext,
) -> Result<(), StoppedAt> {
    let rip = cpu.state().rip();
    let block = cpu
        .translate_fetch(context.linear(rip))
        .and_then(|physical| block::build(cpu, rip, physical, count, context))
        .map_err(|stop| (stop, rip))?;
    run_block(cpu, &block)
}

/// Runs a whole block.
#[inline(always)]
pub(super) fn run_block<C: Cpu>(cpu: &mut C, block: &Block<C>) -> Result<(), StoppedAt> {
    if C::OBSERVED {
        return run_observed(cpu, &block.records, block.ending);
    }
    for record in &block.records {
        if let Err(stop) = (record.handler)(cpu, record) {
            return Err(stopped(cpu, &block.records, record, stop));
        }
    }
    cpu.state_mut().remaining -= block.instructions;
    if block.ending == Ending::FallThrough {
        let rip = cpu.state().rip().wrapping_add(u64::from(block.bytes));
        cpu.state_mut().set_rip(rip);
    }
    Ok(())
}

/// Runs the first instructions of a block that has more than the budget allows. In the plain machine they are decoded
/// again as a block of their own: in the whole one a later instruction may be why the last of them computes no flags.
#[cold]
pub(super) fn run_part<C: Cpu>(
    cpu: &mut C,
    block: &Block<C>,
    context: &CodeContext,
) -> Result<(), StoppedAt> {
    let count = usize::try_from(cpu.state().remaining).unwrap_or(0);
    if C::OBSERVED {
        run_observed(cpu, &block.records[..count], Ending::FallThrough)
    } else {
        run_uncached(cpu, count, context)
    }
}

/// Moves RIP to the instruction that stopped and counts those before it.
#[cold]
fn stopped<C: Cpu>(cpu: &mut C, records: &[Record<C>], record: &Record<C>, stop: Stopped) -> StoppedAt {
    let stop = stack_fault(stop, |address| record.refers_to_stack(cpu.state(), address));
    let completed = records.iter().take_while(|earlier| earlier.offset < record.offset).count();
    cpu.state_mut().remaining -= completed as i64;
    if stop.has_completed() {
        cpu.state_mut().remaining -= 1;
        return (stop, cpu.state().rip());
    }
    let rip = cpu.state().rip().wrapping_add(u64::from(record.offset));
    cpu.state_mut().set_rip(rip);
    (stop, rip.wrapping_add(u64::from(record.length)))
}

/// Runs records one at a time, with the observer before and after each.
fn run_observed<C: Cpu>(cpu: &mut C, records: &[Record<C>], ending: Ending) -> Result<(), StoppedAt> {
    let start = cpu.state().rip();
    for (number, record) in records.iter().enumerate() {
        let rip = start.wrapping_add(u64::from(record.offset));
        let next = rip.wrapping_add(u64::from(record.length));
        let branches = ending == Ending::Branch && number + 1 == records.len();
        cpu.state_mut().set_rip(start);
        if let Err(stop) = cpu.before(record, rip).and_then(|()| (record.handler)(cpu, record)) {
            if stop.has_completed() {
                cpu.state_mut().remaining -= 1;
                let done = cpu.after(record).err().unwrap_or(stop);
                return Err((done, cpu.state().rip()));
            }
            let stop = stack_fault(stop, |address| record.refers_to_stack(cpu.state(), address));
            cpu.state_mut().set_rip(rip);
            return Err((stop, next));
        }
        if !branches {
            cpu.state_mut().set_rip(next);
        }
        cpu.state_mut().remaining -= 1;
        cpu.after(record).map_err(|stop| (stop, next))?;
    }
    Ok(())
}
