//! LDTR and the segment registers of a new task (SDM Vol. 3A, table 9-1).

use super::super::descriptor::{self, DescriptorKind};
use super::super::fault::{self, require};
use super::super::load;
use super::super::selector::{Selector, Table};
use super::tss::Image;
use crate::cpu::{Cpu, Stopped};
use crate::mode::CodeSize;
use crate::segment::{Segment, SegmentRegister};
use crate::state::State;

/// The visible parts. Until a descriptor has been loaded there is no segment.
pub(super) fn set_selectors(state: &mut State, image: &Image) {
    for (register, selector) in super::SEGMENTS.into_iter().zip(image.segments) {
        state.set_segment(register, load::null(selector));
    }
    state.system.ldtr = load::null(image.ldtr);
    state.system.cpl = if state.is_virtual_8086() { 3 } else { image.segments[1].rpl() };
}

/// The hidden parts.
///
/// # Errors
///
/// #TS, #NP or #SS, for the first that is refused.
pub(super) fn load<C: Cpu>(cpu: &mut C, image: &Image) -> Result<(), Stopped> {
    let ldtr = local_descriptor_table(cpu, image.ldtr, fault::invalid_tss, fault::invalid_tss)?;
    cpu.state_mut().system.ldtr = ldtr;
    if cpu.state().is_virtual_8086() {
        for (register, selector) in super::SEGMENTS.into_iter().zip(image.segments) {
            cpu.state_mut().set_segment(register, load::virtual_8086(selector));
        }
        return Ok(());
    }
    let [es, cs, ss, ds, fs, gs] = image.segments;
    let segment = code_segment(cpu, cs)?;
    cpu.state_mut().set_segment(SegmentRegister::Cs, segment);
    let segment = load::stack_segment(cpu, ss, cs.rpl(), CodeSize::Bits32, fault::invalid_tss)?;
    cpu.state_mut().set_segment(SegmentRegister::Ss, segment);
    let data = [
        (SegmentRegister::Ds, ds),
        (SegmentRegister::Es, es),
        (SegmentRegister::Fs, fs),
        (SegmentRegister::Gs, gs),
    ];
    for (register, selector) in data {
        let segment = load::data_segment(cpu, selector, cs.rpl(), fault::invalid_tss)?;
        cpu.state_mut().set_segment(register, segment);
    }
    Ok(())
}

fn code_segment<C: Cpu>(cpu: &mut C, selector: Selector) -> Result<Segment, Stopped> {
    require(!selector.is_null(), fault::invalid_tss, selector)?;
    let located = descriptor::read(cpu, selector, fault::invalid_tss)?;
    let (rpl, dpl) = (selector.rpl(), located.descriptor.dpl());
    let privileged = if located.is_conforming() { dpl <= rpl } else { dpl == rpl };
    require(located.is_code() && privileged, fault::invalid_tss, selector)?;
    require(located.descriptor.is_present(), fault::not_present, selector)?;
    located.access(cpu)
}

/// What a selector leaves in LDTR.
///
/// # Errors
///
/// `refusal` when it is in no GDT or no LDT, `absent` when it is not present.
pub(crate) fn local_descriptor_table<C: Cpu>(
    cpu: &mut C,
    selector: Selector,
    refusal: load::Refusal,
    absent: load::Refusal,
) -> Result<Segment, Stopped> {
    if selector.is_null() {
        return Ok(load::null(selector));
    }
    require(selector.table() == Table::Gdt, refusal, selector)?;
    let located = descriptor::read(cpu, selector, refusal)?;
    require(located.kind(cpu.state()) == DescriptorKind::Ldt, refusal, selector)?;
    require(located.descriptor.is_present(), absent, selector)?;
    Ok(located.descriptor.segment(selector))
}
