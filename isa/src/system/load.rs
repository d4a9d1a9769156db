//! Loading of segment registers (SDM Vol. 3A, 3.4.2, 6.5 to 6.7; Vol. 2B, MOV).

use super::descriptor::{self, Located};
use super::fault::{self, require};
use super::selector::Selector;
use crate::cpu::{Cpu, Stopped};
use crate::mode::CodeSize;
use crate::segment::{AccessRights, Segment, SegmentRegister};
use crate::state::State;

/// What a fault in a segment descriptor is called: #GP, or #TS during a switch of tasks.
pub(crate) type Refusal = fn(Selector) -> Stopped;

/// What loading a segment register other than CS leaves in it, at the current privilege level. The accessed bit has been
/// set in memory; the register has not changed.
///
/// # Errors
///
/// #GP(0) or #GP, #NP and #SS for the selector.
pub(crate) fn segment<C: Cpu>(
    cpu: &mut C,
    register: SegmentRegister,
    selector: Selector,
) -> Result<Segment, Stopped> {
    let state = cpu.state();
    if state.is_real_address() || state.is_virtual_8086() {
        return Ok(without_descriptor(state, register, selector));
    }
    let cpl = state.system.cpl;
    if register == SegmentRegister::Ss {
        let size = state.code_size();
        return stack_segment(cpu, selector, cpl, size, fault::general_protection);
    }
    data_segment(cpu, selector, cpl, fault::general_protection)
}

/// What a selector is in real-address and virtual-8086 mode: a paragraph number. Real-address mode leaves limit and
/// rights as they are, which programs use to reach 4 GiB (SDM Vol. 3A, 22.1.1).
pub(crate) fn without_descriptor(state: &State, register: SegmentRegister, selector: Selector) -> Segment {
    let fresh = Segment::real(selector.0);
    if state.is_virtual_8086() {
        return virtual_8086(selector);
    }
    let old = state.segment(register);
    if old.rights.contains(AccessRights::UNUSABLE) || !old.rights.contains(AccessRights::PRESENT) {
        return fresh;
    }
    // Without descriptors every segment may be read, written and executed: CS is no code segment by its type.
    let rights = match register {
        SegmentRegister::Cs => old.rights - AccessRights::CODE - AccessRights::CONFORMING - AccessRights::DPL,
        _ => old.rights,
    };
    let rights = if register == SegmentRegister::Cs { rights | AccessRights::WRITABLE } else { rights };
    Segment { rights, limit: old.limit, ..fresh }
}

/// A segment of virtual-8086 mode (SDM Vol. 3A, 22.2.2).
pub(crate) fn virtual_8086(selector: Selector) -> Segment {
    let real = Segment::real(selector.0);
    Segment { rights: real.rights | AccessRights::DPL, ..real }
}

/// What a null selector leaves in a segment register.
pub(crate) fn null(selector: Selector) -> Segment {
    Segment { selector: selector.0, ..Segment::UNUSABLE }
}

/// Whether neither CPL nor RPL exceeds the DPL; conforming code may be read by every level.
pub(crate) fn is_in_reach(located: &Located, cpl: u8) -> bool {
    let dpl = located.descriptor.dpl();
    located.is_conforming() || located.selector.rpl() <= dpl && cpl <= dpl
}

/// Whether a data segment register may have this segment at a privilege level: data or readable code in its reach.
fn may_be_read(located: &Located, cpl: u8) -> bool {
    let readable = located.is_data() || located.is_code() && located.has(AccessRights::READABLE);
    readable && is_in_reach(located, cpl)
}

/// DS, ES, FS or GS.
pub(crate) fn data_segment<C: Cpu>(
    cpu: &mut C,
    selector: Selector,
    cpl: u8,
    refusal: Refusal,
) -> Result<Segment, Stopped> {
    if selector.is_null() {
        return Ok(null(selector));
    }
    let located = descriptor::read(cpu, selector, refusal)?;
    require(may_be_read(&located, cpl), refusal, selector)?;
    require(located.descriptor.is_present(), fault::not_present, selector)?;
    located.access(cpu)
}

/// SS at privilege level `cpl`, for code of a size: 64-bit code may have a null selector except at level 3.
pub(crate) fn stack_segment<C: Cpu>(
    cpu: &mut C,
    selector: Selector,
    cpl: u8,
    size: CodeSize,
    refusal: Refusal,
) -> Result<Segment, Stopped> {
    if selector.is_null() {
        let allowed = size == CodeSize::Bits64 && cpl < 3 && selector.rpl() == cpl;
        require(allowed, refusal, Selector(0))?;
        return Ok(super::inner_stack::null_stack_segment(cpl));
    }
    let located = descriptor::read(cpu, selector, refusal)?;
    let privileged = selector.rpl() == cpl && located.descriptor.dpl() == cpl;
    require(privileged && located.is_writable_data(), refusal, selector)?;
    require(located.descriptor.is_present(), fault::stack, selector)?;
    located.access(cpu)
}

/// The data segment registers that a return to an outer level looks at.
pub(crate) const DATA_REGISTERS: [SegmentRegister; 4] =
    [SegmentRegister::Es, SegmentRegister::Fs, SegmentRegister::Gs, SegmentRegister::Ds];

/// Makes the selectors null of the data segment registers that an outer level `cpl` may not use (SDM Vol. 2B, RET and
/// IRET). Their bases stay, as on processors: 64-bit code goes on to use those of FS and GS.
pub(crate) fn drop_privileged(state: &mut State, cpl: u8) {
    for register in DATA_REGISTERS {
        let rights = state.rights(register);
        let conforming = rights.contains(AccessRights::CODE | AccessRights::CONFORMING);
        if !rights.contains(AccessRights::UNUSABLE) && !conforming && rights.dpl() < cpl {
            let base = state.slot(register.base());
            state.set_segment(register, Segment { base, ..Segment::UNUSABLE });
        }
    }
}
