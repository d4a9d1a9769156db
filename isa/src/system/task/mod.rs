//! Switches of tasks (SDM Vol. 3A, chapter 9).
//!
//! Everything that can be refused in the old task is checked first. Then the old task is saved, and the rest happens in
//! the new one: a fault there is a [`Stop::AfterTaskSwitch`].

mod segments;
mod tss;

use super::descriptor::{self, DescriptorKind, Located, OperandSize, TaskState};
use super::fault::{self, require};
use super::inner_stack::tss_size;
use super::load::Refusal;
use super::selector::{Selector, Table};
use super::stack::Stack;
use crate::control::Cr0;
use crate::cpu::{Cpu, Privilege, Stop, Stopped, TranslationChange};
use crate::event::{Event, Exception, Vector};
use crate::flags::Rflags;
use crate::segment::{AccessRights, Segment, SegmentRegister};
use crate::state::{Slot, State};
use tss::Image;

/// What makes the processor switch tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskSwitchSource {
    /// CALL.
    Call,
    /// IRET in a nested task.
    Iret,
    /// JMP.
    Jump,
    /// A task gate in the IDT.
    Event(Event),
}

impl TaskSwitchSource {
    /// Whether the new task is nested in the old one and will return to it.
    const fn nests(self) -> bool {
        matches!(self, Self::Call | Self::Event(_))
    }
}

/// A switch of tasks that is about to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskSwitch {
    /// The task-state segment of the new task.
    pub selector: Selector,
    /// What asks for it.
    pub source: TaskSwitchSource,
}

/// Where the old task goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Return {
    pub(crate) rip: u64,
    pub(crate) flags: u64,
}

/// The bit of DR6 that says that a switch of tasks raised #DB.
const DR6_BT: u64 = 1 << 15;
/// The bits of DR7 that belong to a task: L0 to L3 and LE.
const DR7_LOCAL: u64 = 0x155;

/// JMP or CALL to what is neither code nor a call gate: a task gate, a task-state segment, or nothing that may be its
/// target.
pub(crate) fn transfer<C: Cpu>(
    cpu: &mut C,
    target: &Located,
    kind: DescriptorKind,
    source: TaskSwitchSource,
    next: u64,
) -> Result<(), Stopped> {
    let (cpl, dpl) = (cpu.state().system.cpl, target.descriptor.dpl());
    let is_task = match kind {
        DescriptorKind::TaskGate => true,
        DescriptorKind::Tss(size, _) => size != OperandSize::Quadword,
        _ => false,
    };
    let privileged = dpl >= cpl && dpl >= target.selector.rpl();
    require(is_task && privileged, fault::general_protection, target.selector)?;
    let back = Return { rip: next, flags: cpu.state().flags.get() };
    if kind != DescriptorKind::TaskGate {
        switch(cpu, target.selector, source, back)?;
        return Err(Stop::Done.into());
    }
    require(target.descriptor.is_present(), fault::not_present, target.selector)?;
    switch(cpu, target.descriptor.gate_selector(), source, back)?;
    Err(Stop::Done.into())
}

/// IRET in a nested task: goes on with the task that the back link names.
pub(crate) fn return_to_previous<C: Cpu>(cpu: &mut C, next: u64) -> Result<(), Stopped> {
    let at = descriptor::table_address(cpu.state(), cpu.state().system.tr.base, 0);
    let link = Selector(cpu.read_as(Privilege::Implicit, at)?);
    let new = read_task(cpu, link, TaskState::Busy, fault::invalid_tss)?;
    let flags = cpu.state().flags.get() & !Rflags::NT.bits();
    change(cpu, &new, TaskSwitchSource::Iret, Return { rip: next, flags })?;
    Err(Stop::Done.into())
}

/// Switches to the available task that a selector names.
///
/// # Errors
///
/// #GP, #NP or #TS in the old task, a [`Stop::AfterTaskSwitch`] in the new one.
pub(crate) fn switch<C: Cpu>(
    cpu: &mut C,
    selector: Selector,
    source: TaskSwitchSource,
    back: Return,
) -> Result<(), Stopped> {
    let new = read_task(cpu, selector, TaskState::Available, fault::general_protection)?;
    change(cpu, &new, source, back)
}

/// What LTR leaves in TR; the task is marked busy in memory.
///
/// # Errors
///
/// #GP(0), or #GP and #NP for the selector.
pub(crate) fn load_tr<C: Cpu>(cpu: &mut C, selector: Selector) -> Result<Segment, Stopped> {
    let located = read_task(cpu, selector, TaskState::Available, fault::general_protection)?;
    let mut tr = located.descriptor.segment(selector);
    require(cpu.state().is_canonical(tr.base), fault::general_protection, selector)?;
    tr.rights |= AccessRights::from_bits_retain(2);
    located.write_type(cpu, tr.rights)?;
    Ok(tr)
}

/// What LLDT leaves in LDTR.
///
/// # Errors
///
/// #GP and #NP for the selector.
pub(crate) fn load_ldtr<C: Cpu>(cpu: &mut C, selector: Selector) -> Result<Segment, Stopped> {
    let ldtr =
        segments::local_descriptor_table(cpu, selector, fault::general_protection, fault::not_present)?;
    require(cpu.state().is_canonical(ldtr.base), fault::general_protection, selector)?;
    Ok(ldtr)
}

/// Reads the descriptor of a task-state segment, which is in the GDT and in a certain state.
fn read_task<C: Cpu>(
    cpu: &mut C,
    selector: Selector,
    wanted: TaskState,
    refusal: Refusal,
) -> Result<Located, Stopped> {
    require(!selector.is_null() && selector.table() == Table::Gdt, refusal, selector)?;
    let located = descriptor::read(cpu, selector, refusal)?;
    let kind = located.kind(cpu.state());
    let fits = matches!(kind, DescriptorKind::Tss(_, state) if state == wanted);
    require(fits, refusal, selector)?;
    require(located.descriptor.is_present(), fault::not_present, selector)?;
    Ok(located)
}

fn size_of<C: Cpu>(cpu: &C, task: &Located) -> OperandSize {
    match task.kind(cpu.state()) {
        DescriptorKind::Tss(size, _) => size,
        _ => OperandSize::Doubleword,
    }
}

/// The switch itself, in the order of SDM Vol. 3A, 9.3.
fn change<C: Cpu>(cpu: &mut C, new: &Located, source: TaskSwitchSource, back: Return) -> Result<(), Stopped> {
    let size = size_of(cpu, new);
    let enough = u64::from(new.descriptor.limit()) >= tss::last_byte(size);
    require(enough, fault::invalid_tss, new.selector)?;
    cpu.task_switch(&TaskSwitch { selector: new.selector, source })?;
    let mut image = Image::read(cpu, size, new.descriptor.base())?;
    if source.nests() {
        image.flags |= Rflags::NT.bits();
    }
    leave(cpu, new, source, back)?;
    if let Some(cr3) = image.cr3.filter(|_| cpu.state().system.cr0.contains(Cr0::PG)) {
        cpu.change_translation(&TranslationChange::TaskSwitch(cr3))?;
        cpu.state_mut().system.cr3 = cr3;
    }
    enter(cpu.state_mut(), new, &image);
    finish(cpu, &image, source).map_err(in_new_task)
}

/// Writes all that the switch leaves in memory: the old task, the busy bits and the back link.
fn leave<C: Cpu>(cpu: &mut C, new: &Located, source: TaskSwitchSource, back: Return) -> Result<(), Stopped> {
    let old = cpu.state().system.tr;
    tss::save(cpu, tss_size(cpu.state()), old.base, back)?;
    let busy = new.descriptor.rights() | AccessRights::from_bits_retain(2);
    if source.nests() {
        let at = descriptor::table_address(cpu.state(), new.descriptor.base(), 0);
        cpu.write_as(Privilege::Implicit, at, old.selector)?;
    } else {
        clear_busy(cpu, Selector(old.selector))?;
    }
    if source == TaskSwitchSource::Iret { Ok(()) } else { new.write_type(cpu, busy) }
}

fn clear_busy<C: Cpu>(cpu: &mut C, selector: Selector) -> Result<(), Stopped> {
    let old = descriptor::read(cpu, selector, fault::invalid_tss)?;
    old.write_type(cpu, old.descriptor.rights() - AccessRights::from_bits_retain(2))
}

/// Loads the registers that nothing is checked for: the new task begins.
fn enter(state: &mut State, new: &Located, image: &Image) {
    let mut tr = new.descriptor.segment(new.selector);
    tr.rights |= AccessRights::from_bits_retain(2);
    state.system.tr = tr;
    state.system.cr0 |= Cr0::TS;
    state.system.dr7 &= !DR7_LOCAL;
    state.flags.set(image.flags & (Rflags::all().bits()));
    for (slot, &value) in Slot::ALL.iter().zip(&image.registers) {
        state.set_slot(*slot, value);
    }
    state.set_rip(image.rip);
    segments::set_selectors(state, image);
}

/// LDTR and the segment registers, the error code, and the trap of the task.
fn finish<C: Cpu>(cpu: &mut C, image: &Image, source: TaskSwitchSource) -> Result<(), Stopped> {
    segments::load(cpu, image)?;
    if let TaskSwitchSource::Event(Event { error_code: Some(code), .. }) = source {
        let mut stack = Stack::current(cpu.state());
        stack.push(cpu, tss_size(cpu.state()), code.into())?;
        cpu.state_mut().set_slot(Slot::Rsp, stack.rsp());
    }
    if image.traps() {
        cpu.state_mut().system.dr6 |= DR6_BT;
        return Err(Stop::exception(Vector::Debug).into());
    }
    Ok(())
}

/// An exception that belongs to the new task.
fn in_new_task(mut stopped: Stopped) -> Stopped {
    if let Stop::Exception(exception) = *stopped {
        *stopped = Stop::AfterTaskSwitch(exception);
    }
    stopped
}

/// The exception in a stop, in whichever task.
#[must_use]
pub const fn exception_of(stop: &Stop) -> Option<Exception> {
    match stop {
        Stop::Exception(exception) | Stop::AfterTaskSwitch(exception) => Some(*exception),
        _ => None,
    }
}

/// The segment registers in the order of the task-state segment.
const SEGMENTS: [SegmentRegister; 6] = [
    SegmentRegister::Es,
    SegmentRegister::Cs,
    SegmentRegister::Ss,
    SegmentRegister::Ds,
    SegmentRegister::Fs,
    SegmentRegister::Gs,
];
