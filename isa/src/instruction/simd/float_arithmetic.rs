//! Floating-point arithmetic on XMM registers (SDM Vol. 1, 5.5.1.2, 5.6.1.2, 5.7.2, 5.7.3, 5.10.2 and 5.10.4).
//!
//! What the instructions compute is in [`crate::float`]; here they get their operands.

use super::{Aligned, VectorSource, Xmm, immediate8, set_xmm, xmm};
use crate::cpu::{Cpu, Stopped};
use crate::decode::{Form, Kind};
use crate::float::{Body, Mode, handle, operations as of};
use crate::operand::{Flat, Memory};
use crate::record::{Handler, Record};
use crate::width::Scalar;
use core::marker::PhantomData;
use iced_x86::Mnemonic;

/// Maps mnemonics to operations of the same name.
macro_rules! same_name {
    ($form:ident, $choose:ident: $($name:ident)*) => {
        match $form.mnemonic() {
            $(Mnemonic::$name => $choose::<C, of::$name>($form),)*
            _ => None,
        }
    };
}

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    same_name!(form, frequent:
        Addps Addpd Addss Addsd Subps Subpd Subss Subsd Mulps Mulpd Mulss Mulsd Divps Divpd Divss Divsd
        Sqrtps Sqrtpd Sqrtss Sqrtsd Minps Minpd Minss Minsd Maxps Maxpd Maxss Maxsd)
    .or_else(|| {
        same_name!(form, with_xmm_result:
            Rcpps Rcpss Rsqrtps Rsqrtss Haddps Haddpd Hsubps Hsubpd Addsubps Addsubpd Dpps Dppd)
    })
    .or_else(|| rounding(form))
}

/// Replaces the destination register by the result of an operation.
pub(super) struct Update<O, S>(PhantomData<(O, S)>);

impl<O: of::Operation, S: VectorSource> Body for Update<O, S> {
    #[inline(always)]
    fn run<C: Cpu, M: Mode>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
        let source = S::load::<C, O::Source>(cpu, record)?.to_u128();
        let state = cpu.state_mut();
        let destination = xmm(state, record.destination);
        let result = M::apply::<O>(state, destination, source, immediate8(record))?;
        set_xmm(state, record.destination, result);
        Ok(())
    }
}

/// The handler of an operation from an XMM register or memory to an XMM register.
pub(super) fn with_xmm_result<C: Cpu, O: of::Operation>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match (form.kinds[0], form.kinds[1]) {
        (Kind::Xmm, Kind::Xmm) => handle::<C, Update<O, Xmm>>,
        (Kind::Xmm, Kind::Flat | Kind::Memory) => handle::<C, Update<O, Aligned<Memory>>>,
        _ => return None,
    })
}

/// As [`with_xmm_result`], for frequent instructions: memory without segment base has a handler of its own.
pub(super) fn frequent<C: Cpu, O: of::Operation>(form: &Form<'_>) -> Option<Handler<C>> {
    match (form.kinds[0], form.kinds[1]) {
        (Kind::Xmm, Kind::Flat) => Some(handle::<C, Update<O, Aligned<Flat>>>),
        _ => with_xmm_result::<C, O>(form),
    }
}

/// ROUNDPS ROUNDPD ROUNDSS ROUNDSD.
fn rounding<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    macro_rules! controls {
        ($name:ident: $($control:literal)*) => {
            match form.instruction.immediate8() & 15 {
                $($control => with_xmm_result::<C, of::$name<$control>>(form),)*
                _ => None,
            }
        };
    }
    match form.mnemonic() {
        Mnemonic::Roundps => controls!(Roundps: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
        Mnemonic::Roundpd => controls!(Roundpd: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
        Mnemonic::Roundss => controls!(Roundss: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
        Mnemonic::Roundsd => controls!(Roundsd: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
        _ => None,
    }
}
