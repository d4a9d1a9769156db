//! LAR LSL VERR VERW (SDM Vol. 2): what a selector would give, without a fault.

use super::{require_descriptors, selector};
use crate::cpu::{Cpu, Stopped};
use crate::decode::{Form, Kind, Size};
use crate::operand::{Memory, Register, Source, SourceRegister};
use crate::record::{Handler, Record};
use crate::segment::AccessRights;
use crate::state::State;
use crate::system::descriptor::{self, DescriptorKind, Located};
use crate::system::load;
use crate::width::Width;
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Lar => load_query::<C, Lar>(form),
        Mnemonic::Lsl => load_query::<C, Lsl>(form),
        Mnemonic::Verr => verify::<C, Verr>(form),
        Mnemonic::Verw => verify::<C, Verw>(form),
        _ => None,
    }
}

/// A question about a descriptor that can be reached.
trait Query {
    /// The answer, or none, which clears ZF.
    fn ask(state: &State, located: &Located) -> Option<u64>;
}
struct Lar;
struct Lsl;
struct Verr;
struct Verw;

impl Query for Lar {
    fn ask(state: &State, located: &Located) -> Option<u64> {
        use DescriptorKind as Kind;
        let answers =
            !matches!(located.kind(state), Kind::InterruptGate(_) | Kind::TrapGate(_) | Kind::Reserved);
        answers.then_some(located.descriptor.low >> 32 & 0x00f0_ff00)
    }
}

impl Query for Lsl {
    fn ask(state: &State, located: &Located) -> Option<u64> {
        use DescriptorKind as Kind;
        let answers = matches!(located.kind(state), Kind::Code | Kind::Data | Kind::Ldt | Kind::Tss(..));
        answers.then_some(located.descriptor.limit().into())
    }
}

impl Query for Verr {
    fn ask(_: &State, located: &Located) -> Option<u64> {
        let readable = located.is_data() || located.is_code() && located.has(AccessRights::READABLE);
        readable.then_some(0)
    }
}

impl Query for Verw {
    fn ask(_: &State, located: &Located) -> Option<u64> {
        located.is_writable_data().then_some(0)
    }
}

/// The answer for a selector: none where there is no descriptor, or its privilege level is out of reach.
fn answer<C: Cpu, Q: Query, S: Source>(cpu: &mut C, record: &Record<C>) -> Result<Option<u64>, Stopped> {
    require_descriptors(cpu)?;
    let selector = selector::<C, S>(cpu, record)?;
    if selector.is_null() {
        return Ok(None);
    }
    let Some(located) = descriptor::find(cpu, selector)? else { return Ok(None) };
    let state = cpu.state();
    Ok(load::is_in_reach(&located, state.system.cpl).then(|| Q::ask(state, &located)).flatten())
}

fn load_query<C: Cpu, Q: Query>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match (form.size_of(0)?, form.kinds[1]) {
        (Size::B16, Kind::Register) => load_answer::<C, Q, SourceRegister, u16>,
        (Size::B32, Kind::Register) => load_answer::<C, Q, SourceRegister, u32>,
        (Size::B64, Kind::Register) => load_answer::<C, Q, SourceRegister, u64>,
        (Size::B16, _) => load_answer::<C, Q, Memory, u16>,
        (Size::B32, _) => load_answer::<C, Q, Memory, u32>,
        (Size::B64, _) => load_answer::<C, Q, Memory, u64>,
        (Size::B8, _) => return None,
    })
}

fn load_answer<C: Cpu, Q: Query, S: Source, W: Width>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let answer = answer::<C, Q, S>(cpu, record)?;
    let state = cpu.state_mut();
    if let Some(value) = answer {
        state.put(record.destination, W::truncate(value));
    }
    state.flags.set_zf(answer.is_some());
    Ok(())
}

fn verify<C: Cpu, Q: Query>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(if form.kinds[0] == Kind::Register { verified::<C, Q, Register> } else { verified::<C, Q, Memory> })
}

fn verified<C: Cpu, Q: Query, S: Source>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let answer = answer::<C, Q, S>(cpu, record)?;
    cpu.state_mut().flags.set_zf(answer.is_some());
    Ok(())
}
