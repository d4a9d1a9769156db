//! Floating-point comparisons (SDM Vol. 1, 5.5.1.3 and 5.6.1.4): CMPcc, COMIS, UCOMIS.

use super::float_arithmetic::frequent;
use super::{Unaligned, VectorSource, Xmm, xmm};
use crate::cpu::{Cpu, Stopped};
use crate::decode::{Form, Kind};
use crate::flags::Rflags;
use crate::float::{Body, Mode, handle, operations as of};
use crate::operand::Memory;
use crate::record::{Handler, Record};
use crate::width::Scalar;
use core::marker::PhantomData;
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Comiss => with_flags::<C, of::Comiss>(form),
        Mnemonic::Comisd => with_flags::<C, of::Comisd>(form),
        Mnemonic::Ucomiss => with_flags::<C, of::Ucomiss>(form),
        Mnemonic::Ucomisd => with_flags::<C, of::Ucomisd>(form),
        _ => predicate(form),
    }
}

/// CMPPS CMPPD CMPSS CMPSD: bits 7:3 of the immediate are reserved, and ignored without VEX prefix. The string
/// instruction CMPSD has no XMM operand.
fn predicate<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    macro_rules! predicates {
        ($name:ident: $($predicate:literal)*) => {
            match form.instruction.immediate8() & 7 {
                $($predicate => frequent::<C, of::$name<$predicate>>(form),)*
                _ => None,
            }
        };
    }
    match (form.mnemonic(), form.kinds[0]) {
        (Mnemonic::Cmpps, _) => predicates!(Cmpps: 0 1 2 3 4 5 6 7),
        (Mnemonic::Cmppd, _) => predicates!(Cmppd: 0 1 2 3 4 5 6 7),
        (Mnemonic::Cmpss, _) => predicates!(Cmpss: 0 1 2 3 4 5 6 7),
        (Mnemonic::Cmpsd, Kind::Xmm) => predicates!(Cmpsd: 0 1 2 3 4 5 6 7),
        _ => None,
    }
}

fn with_flags<C: Cpu, O: of::Operation>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match (form.kinds[0], form.kinds[1]) {
        (Kind::Xmm, Kind::Xmm) => handle::<C, Compare<O, Xmm>>,
        (Kind::Xmm, Kind::Flat | Kind::Memory) => handle::<C, Compare<O, Unaligned<Memory>>>,
        _ => return None,
    })
}

/// ZF, PF and CF are the result; OF, SF and AF become 0.
struct Compare<O, S>(PhantomData<(O, S)>);

impl<O: of::Operation, S: VectorSource> Body for Compare<O, S> {
    #[inline(always)]
    fn run<C: Cpu, M: Mode>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
        let source = S::load::<C, O::Source>(cpu, record)?.to_u128();
        let state = cpu.state_mut();
        let destination = xmm(state, record.destination);
        let status = u64::from_u128(M::apply::<O>(state, destination, source, 0)?);
        state.flags.set_status(Rflags::from_bits_truncate(status));
        Ok(())
    }
}
