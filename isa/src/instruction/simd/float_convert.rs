//! Conversions (SDM Vol. 1, 5.5.1.6, 5.6.1.6 and 5.6.3). Forms on MMX registers are not modelled.

use super::float_arithmetic::{Update, with_xmm_result};
use super::{Unaligned, VectorSource, Xmm};
use crate::cpu::{Cpu, Stopped};
use crate::decode::{Form, Kind, Size};
use crate::float::{Body, Mode, handle, operations as of};
use crate::operand::Memory;
use crate::record::{Handler, Record};
use crate::width::{Scalar, Width};
use core::marker::PhantomData;
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Cvtdq2ps => with_xmm_result::<C, of::Cvtdq2ps>(form),
        Mnemonic::Cvtdq2pd => with_xmm_result::<C, of::Cvtdq2pd>(form),
        Mnemonic::Cvtps2dq => with_xmm_result::<C, of::Cvtps2dq>(form),
        Mnemonic::Cvtpd2dq => with_xmm_result::<C, of::Cvtpd2dq>(form),
        Mnemonic::Cvttps2dq => with_xmm_result::<C, of::Cvttps2dq>(form),
        Mnemonic::Cvttpd2dq => with_xmm_result::<C, of::Cvttpd2dq>(form),
        Mnemonic::Cvtps2pd => with_xmm_result::<C, of::Cvtps2pd>(form),
        Mnemonic::Cvtpd2ps => with_xmm_result::<C, of::Cvtpd2ps>(form),
        Mnemonic::Cvtss2sd => with_xmm_result::<C, of::Cvtss2sd>(form),
        Mnemonic::Cvtsd2ss => with_xmm_result::<C, of::Cvtsd2ss>(form),
        Mnemonic::Cvtsi2ss => from_general::<C, of::Cvtsi32ss, of::Cvtsi64ss>(form),
        Mnemonic::Cvtsi2sd => from_general::<C, of::Cvtsi32sd, of::Cvtsi64sd>(form),
        Mnemonic::Cvtss2si => to_general::<C, of::Cvtss32, of::Cvtss64>(form),
        Mnemonic::Cvtsd2si => to_general::<C, of::Cvtsd32, of::Cvtsd64>(form),
        Mnemonic::Cvttss2si => to_general::<C, of::Cvttss32, of::Cvttss64>(form),
        Mnemonic::Cvttsd2si => to_general::<C, of::Cvttsd32, of::Cvttsd64>(form),
        _ => None,
    }
}

/// The general-purpose register in [`Record::source`].
struct General;

impl VectorSource for General {
    #[inline(always)]
    fn load<C: Cpu, S: Scalar>(cpu: &mut C, record: &Record<C>) -> Result<S, Stopped> {
        Ok(S::from_u128(u128::from(cpu.state().slot(record.source))))
    }
}

/// CVTSI2SS CVTSI2SD, by the size of the integer.
fn from_general<C: Cpu, O32: of::Operation, O64: of::Operation>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match (form.size_of(1)?, form.kinds[1]) {
        (Size::B32, Kind::Register) => handle::<C, Update<O32, General>>,
        (Size::B32, Kind::Flat | Kind::Memory) => handle::<C, Update<O32, Unaligned<Memory>>>,
        (Size::B64, Kind::Register) => handle::<C, Update<O64, General>>,
        (Size::B64, Kind::Flat | Kind::Memory) => handle::<C, Update<O64, Unaligned<Memory>>>,
        _ => return None,
    })
}

/// CVTSS2SI CVTSD2SI CVTTSS2SI CVTTSD2SI, by the size of the integer.
fn to_general<C: Cpu, O32: of::Operation, O64: of::Operation>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match (form.size_of(0)?, form.kinds[1]) {
        (Size::B32, Kind::Xmm) => handle::<C, ToGeneral<O32, Xmm, u32>>,
        (Size::B32, Kind::Flat | Kind::Memory) => handle::<C, ToGeneral<O32, Unaligned<Memory>, u32>>,
        (Size::B64, Kind::Xmm) => handle::<C, ToGeneral<O64, Xmm, u64>>,
        (Size::B64, Kind::Flat | Kind::Memory) => handle::<C, ToGeneral<O64, Unaligned<Memory>, u64>>,
        _ => return None,
    })
}

/// Replaces a general-purpose register by the result of an operation.
struct ToGeneral<O, S, W>(PhantomData<(O, S, W)>);

impl<O: of::Operation, S: VectorSource, W: Width> Body for ToGeneral<O, S, W> {
    #[inline(always)]
    fn run<C: Cpu, M: Mode>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
        let source = S::load::<C, O::Source>(cpu, record)?.to_u128();
        let state = cpu.state_mut();
        let result = M::apply::<O>(state, 0, source, 0)?;
        state.put(record.destination, W::from_u128(result));
        Ok(())
    }
}
