//! Loading the control registers and IA32_EFER: what is refused, and what changes with them (SDM Vol. 2B, MOV to and from
//! control registers; Vol. 3A, 2.5 and 11.8.5).

use crate::control::{Cr0, Cr4, Efer};
use crate::cpu::{Cpu, Stop, Stopped, TranslationChange};
use crate::mode::CodeSize;
use crate::state::State;

/// Why a value is refused. All are #GP(0).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// It sets bits that are reserved.
    Reserved(u64),
    /// It clears bits that VMX operation fixes to 1.
    Fixed(u64),
    /// CR0.PG = 1 with CR0.PE = 0.
    PagingWithoutProtection,
    /// CR0.NW = 1 with CR0.CD = 0.
    NotWriteThroughWithCache,
    /// CR0.PG becomes 1 with IA32_EFER.LME = 1 and CR4.PAE = 0.
    PagingWithoutPae,
    /// CR0.PG becomes 1 with IA32_EFER.LME = 1 and CS.L = 1.
    LongCodeSegment,
    /// CR0.PG becomes 1 with IA32_EFER.LME = 1 and TR holds a 16-bit TSS.
    SmallTaskState,
    /// CR0.PG becomes 0 in 64-bit mode.
    NoPagingIn64BitMode,
    /// CR0.PG becomes 0 with CR4.PCIDE = 1.
    NoPagingWithPcids,
    /// CR4.PAE becomes 0 in IA-32e mode.
    NoPaeInIa32e,
    /// CR4.LA57 changes in IA-32e mode.
    La57InIa32e,
    /// CR4.PCIDE becomes 1 outside IA-32e mode.
    PcidsOutsideIa32e,
    /// CR4.PCIDE becomes 1 with bits 11:0 of CR3 not 0.
    PcidsWithPcid,
    /// IA32_EFER.LME changes with CR0.PG = 1.
    LongModeWhilePaging,
}

impl From<Refusal> for Stopped {
    fn from(_: Refusal) -> Self {
        Stop::GENERAL_PROTECTION.into()
    }
}

pub(crate) fn refuse_if(condition: bool, refusal: Refusal) -> Result<(), Refusal> {
    if condition { Err(refusal) } else { Ok(()) }
}

/// CR0 as `value` makes it: CR0.ET stays 1, and reserved bits of the low half stay 0.
///
/// # Errors
///
/// Why the value is refused.
pub fn cr0(state: &State, value: u64) -> Result<Cr0, Refusal> {
    refuse_if(value >> 32 != 0, Refusal::Reserved(value >> 32 << 32))?;
    let new = Cr0::from_bits_truncate(value) | Cr0::ET;
    refuse_cleared(new.bits(), state.system.view.cr0_ones)?;
    let paging = new.contains(Cr0::PG);
    refuse_if(paging && !new.contains(Cr0::PE), Refusal::PagingWithoutProtection)?;
    refuse_if(new.contains(Cr0::NW) && !new.contains(Cr0::CD), Refusal::NotWriteThroughWithCache)?;
    match (state.system.cr0.contains(Cr0::PG), paging) {
        (false, true) if state.system.efer.contains(Efer::LME) => activate(state)?,
        (true, false) => {
            refuse_if(state.code_size() == CodeSize::Bits64, Refusal::NoPagingIn64BitMode)?;
            refuse_if(state.system.cr4.contains(Cr4::PCIDE), Refusal::NoPagingWithPcids)?;
        }
        _ => {}
    }
    Ok(new)
}

/// Whether all bits that VMX operation fixes to 1 are 1 (SDM A.7, A.8).
fn refuse_cleared(value: u64, ones: u64) -> Result<(), Refusal> {
    refuse_if(value & ones != ones, Refusal::Fixed(ones & !value))
}

/// What must hold to activate IA-32e mode (SDM Vol. 3A, 11.8.5).
fn activate(state: &State) -> Result<(), Refusal> {
    let cs = state.rights(crate::segment::SegmentRegister::Cs);
    refuse_if(!state.system.cr4.contains(Cr4::PAE), Refusal::PagingWithoutPae)?;
    refuse_if(cs.contains(crate::segment::AccessRights::LONG), Refusal::LongCodeSegment)?;
    refuse_if(state.system.tr.rights.segment_type() & 0xd == 1, Refusal::SmallTaskState)
}

/// CR3 as `value` makes it; with CR4.PCIDE = 1 bit 63 is not part of it.
///
/// # Errors
///
/// Why the value is refused.
pub fn cr3(state: &State, value: u64) -> Result<u64, Refusal> {
    let kept = if state.system.cr4.contains(Cr4::PCIDE) { value & !(1 << 63) } else { value };
    let width = state.system.features.physical_address_width;
    let reserved = kept >> width << width;
    refuse_if(reserved != 0, Refusal::Reserved(reserved))?;
    Ok(kept)
}

/// CR4 as `value` makes it.
///
/// # Errors
///
/// Why the value is refused.
pub fn cr4(state: &State, value: u64) -> Result<Cr4, Refusal> {
    let system = &state.system;
    let reserved = value & !system.features.cr4.bits();
    refuse_if(reserved != 0, Refusal::Reserved(reserved))?;
    refuse_cleared(value, system.view.cr4_ones)?;
    let new = Cr4::from_bits_truncate(value);
    let set = new - system.cr4;
    let ia32e = state.is_ia32e();
    refuse_if(ia32e && !new.contains(Cr4::PAE), Refusal::NoPaeInIa32e)?;
    refuse_if(ia32e && (new ^ system.cr4).contains(Cr4::LA57), Refusal::La57InIa32e)?;
    refuse_if(set.contains(Cr4::PCIDE) && !ia32e, Refusal::PcidsOutsideIa32e)?;
    refuse_if(set.contains(Cr4::PCIDE) && system.cr3 & 0xfff != 0, Refusal::PcidsWithPcid)?;
    Ok(new)
}

/// IA32_EFER as `value` makes it: LMA is read-only, and what is written there is ignored.
///
/// # Errors
///
/// Why the value is refused.
pub fn efer(state: &State, value: u64) -> Result<Efer, Refusal> {
    let system = &state.system;
    let reserved = value & !(system.features.efer | Efer::LMA).bits();
    refuse_if(reserved != 0, Refusal::Reserved(reserved))?;
    let mut new = Efer::from_bits_truncate(value);
    let changes_lme = (new ^ system.efer).contains(Efer::LME);
    refuse_if(changes_lme && system.cr0.contains(Cr0::PG), Refusal::LongModeWhilePaging)?;
    new.set(Efer::LMA, system.efer.contains(Efer::LMA));
    Ok(new)
}

/// Loads CR0; IA32_EFER.LMA follows CR0.PG where IA32_EFER.LME is 1.
///
/// # Errors
///
/// #GP(0), also for PDPTEs; nothing has changed.
pub fn write_cr0<C: Cpu>(cpu: &mut C, value: u64) -> Result<(), Stopped> {
    let new = cr0(cpu.state(), value)?;
    cpu.change_translation(&TranslationChange::Cr0(new.bits()))?;
    let system = &mut cpu.state_mut().system;
    let active = new.contains(Cr0::PG) && system.efer.contains(Efer::LME);
    system.efer.set(Efer::LMA, active);
    system.cr0 = new;
    Ok(())
}

/// Loads CR3.
///
/// # Errors
///
/// #GP(0), also for PDPTEs; nothing has changed.
pub fn write_cr3<C: Cpu>(cpu: &mut C, value: u64) -> Result<(), Stopped> {
    let new = cr3(cpu.state(), value)?;
    cpu.change_translation(&TranslationChange::Cr3(value))?;
    cpu.state_mut().system.cr3 = new;
    Ok(())
}

/// Loads CR4.
///
/// # Errors
///
/// #GP(0), also for PDPTEs; nothing has changed.
pub fn write_cr4<C: Cpu>(cpu: &mut C, value: u64) -> Result<(), Stopped> {
    let new = cr4(cpu.state(), value)?;
    cpu.change_translation(&TranslationChange::Cr4(new.bits()))?;
    cpu.state_mut().system.cr4 = new;
    Ok(())
}

/// Loads CR8: bits 63:4 are reserved.
///
/// # Errors
///
/// #GP(0); nothing has changed.
pub fn write_cr8<C: Cpu>(cpu: &mut C, value: u64) -> Result<(), Stopped> {
    refuse_if(value >> 4 != 0, Refusal::Reserved(value & !0xf))?;
    cpu.set_task_priority(value.to_le_bytes()[0]);
    Ok(())
}

/// Loads IA32_EFER.
///
/// # Errors
///
/// #GP(0); nothing has changed.
pub fn write_efer<C: Cpu>(cpu: &mut C, value: u64) -> Result<(), Stopped> {
    let new = efer(cpu.state(), value)?;
    cpu.change_translation(&TranslationChange::Efer(new.bits()))?;
    cpu.state_mut().system.efer = new;
    Ok(())
}
