//! RDMSR WRMSR, counters, processor identification and XCR0 (SDM Vol. 2).

use super::{done, guard, pair, put_pair};
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::Form;
use crate::record::{Handler, Record};
use crate::state::Slot;
use crate::system::Intercepted;
use crate::system::guard::Guarded;
use crate::system::msr;
use crate::width::Width;
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.mnemonic() {
        Mnemonic::Rdmsr => rdmsr,
        Mnemonic::Wrmsr => wrmsr,
        Mnemonic::Rdtsc => rdtsc,
        Mnemonic::Rdtscp => rdtscp,
        Mnemonic::Rdpid => rdpid,
        Mnemonic::Rdpmc => rdpmc,
        _ => return None,
    })
}

fn rdmsr<C: Cpu>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Rdmsr)?;
    let index = cpu.state().get(Slot::Rcx);
    cpu.intercept(&Intercepted::Rdmsr(index))?;
    let value = msr::read(cpu, index)?;
    put_pair(cpu.state_mut(), value);
    Ok(())
}

fn wrmsr<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Wrmsr)?;
    let (index, value) = (cpu.state().get(Slot::Rcx), pair(cpu.state()));
    cpu.intercept(&Intercepted::Wrmsr { index, value })?;
    msr::write(cpu, index, value)?;
    done(cpu, record)
}

fn rdtsc<C: Cpu>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Rdtsc)?;
    cpu.intercept(&Intercepted::Rdtsc)?;
    let counter = cpu.time_stamp_counter()?;
    put_pair(cpu.state_mut(), counter);
    Ok(())
}

fn rdtscp<C: Cpu>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Rdtscp)?;
    cpu.intercept(&Intercepted::Rdtscp)?;
    let counter = cpu.time_stamp_counter()?;
    let state = cpu.state_mut();
    put_pair(state, counter);
    state.put(Slot::Rcx, u32::truncate(state.system.tsc_aux));
    Ok(())
}

fn rdpid<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Rdpid)?;
    cpu.intercept(&Intercepted::Rdpid)?;
    let state = cpu.state_mut();
    state.put(record.destination, u32::truncate(state.system.tsc_aux));
    Ok(())
}

/// Counters read as 0 as long as nothing counts; an index that there is not is #GP(0).
fn rdpmc<C: Cpu>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Rdpmc)?;
    cpu.intercept(&Intercepted::Rdpmc)?;
    let state = cpu.state_mut();
    let counter: u32 = state.get(Slot::Rcx);
    if counter >= state.system.features.performance_counters.into() {
        return Err(Stop::GENERAL_PROTECTION.into());
    }
    let value = msr::value(state, msr::table::PERFORMANCE_COUNTERS + counter).unwrap_or(0);
    put_pair(state, value);
    Ok(())
}
