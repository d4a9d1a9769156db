//! Which instructions the control registers and the operating mode forbid, decided when an instruction is decoded.
//!
//! | | CR0.EM = 1 | CR0.TS = 1 | CR4.OSFXSR = 0 |
//! |---|---|---|---|
//! | x87, FXSAVE, FXRSTOR | #NM | #NM | |
//! | WAIT | | #NM, with CR0.MP = 1 | |
//! | MMX | #UD | #NM | |
//! | SSE | #UD | #NM | #UD |
//!
//! (SDM Vol. 3A, 2.5, tables 12-1 and 14-1; Vol. 1, 9.5 and 11.6.) #UD comes before #NM. XSAVE and its like are gated by
//! their own handlers. Instructions with VEX prefixes do not exist in real-address and virtual-8086 mode (SDM Vol. 2A,
//! 2.3.1).

use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::Form;
use crate::event::Vector;
use crate::mode::{FloatControls, OperatingMode};
use crate::record::{Handler, Record};
use iced_x86::{Code, CpuidFeature, EncodingKind, Mnemonic};

/// The units that the control bits are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    /// x87, and FXSAVE and FXRSTOR, which save it.
    X87,
    /// WAIT.
    Wait,
    /// MMX registers alone.
    Mmx,
    /// XMM registers and MXCSR.
    Sse,
}

/// A handler that raises what forbids the instruction; none when nothing does.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    if form.mode.operating != OperatingMode::Protected
        && form.instruction.code().encoding() != EncodingKind::Legacy
    {
        return Some(undefined);
    }
    let float = form.mode.float;
    if float - FloatControls::MP == FloatControls::OSFXSR {
        return None; // Nothing is forbidden.
    }
    match (unit(form)?, float) {
        (Unit::X87, float) if float.intersects(FloatControls::EM | FloatControls::TS) => Some(unavailable),
        (Unit::Wait, float) if float.contains(FloatControls::MP | FloatControls::TS) => Some(unavailable),
        (Unit::X87 | Unit::Wait, _) => None,
        (_, float) if float.contains(FloatControls::EM) => Some(undefined),
        (Unit::Sse, float) if !float.contains(FloatControls::OSFXSR) => Some(undefined),
        (_, float) if float.contains(FloatControls::TS) => Some(unavailable),
        _ => None,
    }
}

fn undefined<C: Cpu>(_: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    Err(Stop::INVALID_OPCODE.into())
}

fn unavailable<C: Cpu>(_: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    Err(Stop::exception(Vector::DeviceNotAvailable).into())
}

fn unit(form: &Form<'_>) -> Option<Unit> {
    let instruction = form.instruction;
    match instruction.mnemonic() {
        Mnemonic::Wait => return Some(Unit::Wait),
        Mnemonic::Fxsave | Mnemonic::Fxsave64 | Mnemonic::Fxrstor | Mnemonic::Fxrstor64 => {
            return Some(Unit::X87);
        }
        // They touch neither registers nor control words of these units.
        Mnemonic::Pause
        | Mnemonic::Prefetchnta
        | Mnemonic::Prefetcht0
        | Mnemonic::Prefetcht1
        | Mnemonic::Prefetcht2
        | Mnemonic::Lfence
        | Mnemonic::Mfence
        | Mnemonic::Sfence
        | Mnemonic::Movnti
        | Mnemonic::Crc32
        | Mnemonic::Popcnt
        | Mnemonic::Monitor
        | Mnemonic::Mwait => return None,
        _ => {}
    }
    instruction.cpuid_features().iter().find_map(|&feature| unit_of(feature)).map(|unit| match unit {
        Unit::Sse if has_mmx_only(form) => Unit::Mmx,
        unit => unit,
    })
}

fn unit_of(feature: CpuidFeature) -> Option<Unit> {
    Some(match feature {
        CpuidFeature::FPU | CpuidFeature::FPU287 | CpuidFeature::FPU387 | CpuidFeature::FPU287XL_ONLY => {
            Unit::X87
        }
        CpuidFeature::MMX => Unit::Mmx,
        CpuidFeature::SSE
        | CpuidFeature::SSE2
        | CpuidFeature::SSE3
        | CpuidFeature::SSSE3
        | CpuidFeature::SSE4_1
        | CpuidFeature::SSE4_2
        | CpuidFeature::AES
        | CpuidFeature::PCLMULQDQ
        | CpuidFeature::SHA
        | CpuidFeature::GFNI => Unit::Sse,
        _ => return None,
    })
}

/// Whether an instruction of the SSE generations works on MMX registers and no others; conversions of packed
/// floating-point numbers in memory read MXCSR.
fn has_mmx_only(form: &Form<'_>) -> bool {
    let instruction = form.instruction;
    let registers = || (0..instruction.op_count()).map(|operand| instruction.op_register(operand));
    let converts = matches!(
        instruction.code(),
        Code::Cvtps2pi_mm_xmmm64
            | Code::Cvttps2pi_mm_xmmm64
            | Code::Cvtpd2pi_mm_xmmm128
            | Code::Cvttpd2pi_mm_xmmm128
    );
    registers().any(|register| register.is_mm())
        && !registers().any(|register| register.is_xmm())
        && !converts
}
