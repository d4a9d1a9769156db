//! Code segments as the targets of transfers.

use super::descriptor::{self, Encoding, Located};
use super::fault::{self, require};
use super::selector::Selector;
use crate::cpu::{Cpu, Stopped};
use crate::mode::CodeSize;
use crate::segment::{AccessRights, Segment, SegmentRegister};
use crate::state::State;

/// Whether a transfer keeps the privilege level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Level {
    /// It stays at the current one.
    Same,
    /// It goes to a more privileged one, which has a stack of its own.
    Inner(u8),
}

/// Reads the descriptor of a code segment.
///
/// # Errors
///
/// #GP(0) for a null selector, else #GP(selector): outside the table, or no code segment.
pub(crate) fn read<C: Cpu>(cpu: &mut C, selector: Selector) -> Result<Located, Stopped> {
    require(!selector.is_null(), fault::general_protection, Selector(0))?;
    let located = descriptor::read(cpu, selector, fault::general_protection)?;
    require(located.is_code(), fault::general_protection, selector)?;
    Ok(located)
}

/// In IA-32e mode L and D are not both 1; elsewhere L has no meaning.
pub(crate) fn check_size(state: &State, code: &Located) -> Result<(), Stopped> {
    let both = AccessRights::LONG | AccessRights::DEFAULT_BIG;
    let refused = state.is_ia32e() && code.has(both);
    require(!refused, fault::general_protection, code.selector)
}

/// Reads the code segment that a gate names: it is at least as privileged as the current level, present, and in IA-32e
/// mode 64-bit code.
///
/// # Errors
///
/// #GP or #NP that names it.
pub(crate) fn behind_gate<C: Cpu>(cpu: &mut C, selector: Selector) -> Result<Located, Stopped> {
    let code = read(cpu, selector)?;
    let state = cpu.state();
    require(code.descriptor.dpl() <= state.system.cpl, fault::general_protection, selector)?;
    if state.descriptor_encoding() == Encoding::Ia32e {
        let long = code.has(AccessRights::LONG) && !code.has(AccessRights::DEFAULT_BIG);
        require(long, fault::general_protection, selector)?;
    }
    require(code.descriptor.is_present(), fault::not_present, selector)?;
    Ok(code)
}

/// The privilege level that a gate to `code` leads to.
pub(crate) fn level_behind_gate(state: &State, code: &Located) -> Level {
    let dpl = code.descriptor.dpl();
    if code.is_conforming() || dpl == state.system.cpl { Level::Same } else { Level::Inner(dpl) }
}

/// Whether a code segment is 64-bit code under the mode of `state`.
pub(crate) fn is_long(state: &State, rights: AccessRights) -> bool {
    state.is_ia32e() && rights.contains(AccessRights::LONG)
}

/// The size of the code in a segment with these rights.
pub(crate) fn size_of(state: &State, rights: AccessRights) -> CodeSize {
    if is_long(state, rights) {
        CodeSize::Bits64
    } else if rights.contains(AccessRights::DEFAULT_BIG) {
        CodeSize::Bits32
    } else {
        CodeSize::Bits16
    }
}

/// #GP(0) unless an instruction may start at `rip` in the segment.
pub(crate) fn check_rip(state: &State, segment: &Segment, rip: u64) -> Result<(), Stopped> {
    let inside = if is_long(state, segment.rights) {
        state.is_canonical(rip)
    } else {
        rip <= u64::from(segment.limit)
    };
    if inside { Ok(()) } else { Err(fault::general_protection_0()) }
}

/// Goes to `rip` in a code segment at privilege level `cpl`, which becomes its RPL.
pub(crate) fn enter(state: &mut State, mut segment: Segment, rip: u64, cpl: u8) {
    segment.selector = Selector(segment.selector).with_rpl(cpl).0;
    state.set_segment(SegmentRegister::Cs, segment);
    state.system.cpl = cpl;
    state.set_rip(rip);
}
