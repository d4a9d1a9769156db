//! Compares what the engine computed with what the real processor did.

use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter};
use isa::flags::Rflags;
use isa::registers::{Gpr, Registers};
use isa::undefined::{self, Destination};
use serde::Serialize;
use traces::{Content, Step};

/// The first place where the engine and the record part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Divergence {
    /// Instructions before it.
    pub index: u64,
    /// Its address.
    pub rip: String,
    /// The instruction, in Intel syntax.
    pub instruction: String,
    /// Its bytes.
    pub bytes: String,
    /// The register that differs, or `memory` with the address, or `execution` when the engine could not go on.
    pub register: String,
    /// What the record says.
    pub expected: String,
    /// What the engine has.
    pub actual: String,
    /// Registers before the instruction, where the instruction reads or writes them.
    pub before: Vec<(String, String)>,
}

/// A difference in one register.
struct Difference {
    register: String,
    expected: String,
    actual: String,
}

/// Compares all registers; flags and results that the manual leaves undefined are left out, and `actual` takes them
/// from the record, so that they do not show up later in other registers.
pub(super) fn registers(
    step: &Step<'_>,
    before: &Registers,
    actual: &mut Registers,
) -> Option<(String, String, String)> {
    let expected = step.after;
    if *actual == *expected {
        return None;
    }
    let instruction = decode(step.bytes, step.rip);
    let undefined = undefined::after_with(&instruction, before);
    let ignored = undefined.flags.bits();
    actual.rflags = actual.rflags & !ignored | expected.rflags & ignored;
    if undefined.destination == Destination::Undefined
        && let Some(gpr) = destination(&instruction)
    {
        actual.gpr[gpr] = expected.gpr[gpr];
    }
    first_difference(expected, actual).map(|d| (d.register, d.expected, d.actual))
}

fn destination(instruction: &Instruction) -> Option<usize> {
    let register = instruction.op_register(0);
    register.is_gpr().then(|| register.full_register().number())
}

fn first_difference(expected: &Registers, actual: &Registers) -> Option<Difference> {
    let hex = |register: &str, expected: u64, actual: u64| {
        (expected != actual).then(|| Difference {
            register: register.to_owned(),
            expected: format!("{expected:#x}"),
            actual: format!("{actual:#x}"),
        })
    };
    Gpr::ALL
        .into_iter()
        .find_map(|gpr| hex(gpr.name(), expected.gpr[gpr as usize], actual.gpr[gpr as usize]))
        .or_else(|| hex("rip", expected.rip, actual.rip))
        .or_else(|| flags(expected.rflags, actual.rflags))
        .or_else(|| hex("fs_base", expected.fs_base, actual.fs_base))
        .or_else(|| hex("gs_base", expected.gs_base, actual.gs_base))
        .or_else(|| hex("mxcsr", expected.mxcsr.into(), actual.mxcsr.into()))
        .or_else(|| (0..16).find_map(|i| xmm(i, expected.xmm[i], actual.xmm[i])))
        .or_else(|| {
            (expected.x87 != actual.x87).then(|| Difference {
                register: "x87".to_owned(),
                expected: format!("{:x?}", expected.x87),
                actual: format!("{:x?}", actual.x87),
            })
        })
}

fn flags(expected: u64, actual: u64) -> Option<Difference> {
    let text = |value| format!("{value:#x} ({})", flag_names(value));
    (expected != actual).then(|| Difference {
        register: "rflags".to_owned(),
        expected: text(expected),
        actual: text(actual),
    })
}

fn flag_names(value: u64) -> String {
    let names = Rflags::from_bits_truncate(value & !Rflags::RESERVED_1.bits());
    names.iter_names().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
}

fn xmm(number: usize, expected: u128, actual: u128) -> Option<Difference> {
    (expected != actual).then(|| Difference {
        register: format!("xmm{number}"),
        expected: format!("{expected:#034x}"),
        actual: format!("{actual:#034x}"),
    })
}

/// Compares the memory that a step stored to with what the engine left there; `read` gives bytes by linear address.
pub(super) fn stores(
    step: &Step<'_>,
    mut read: impl FnMut(u64, &mut [u8]) -> bool,
    buffer: &mut Vec<u8>,
) -> Option<(String, String, String)> {
    step.stores.iter().find_map(|store| {
        buffer.clear();
        buffer.resize(store.size(), 0);
        let place = format!("memory at {:#x}", store.address);
        if !read(store.address, buffer) {
            return Some((place, "a mapped page".to_owned(), "not mapped".to_owned()));
        }
        match store.content {
            Content::Bytes(bytes) if bytes == buffer.as_slice() => None,
            Content::Bytes(bytes) => Some((place, hex(bytes), hex(buffer))),
            Content::Checksum { crc32, .. } => {
                let actual = crc32fast::hash(buffer);
                (crc32 != actual)
                    .then(|| (place, format!("crc32 {crc32:08x}"), format!("crc32 {actual:08x}")))
            }
        }
    })
}

/// Describes a difference with everything needed to understand it.
pub(super) fn describe(
    step: &Step<'_>,
    before: &Registers,
    (register, expected, actual): (String, String, String),
) -> Divergence {
    let instruction = decode(step.bytes, step.rip);
    Divergence {
        index: step.index,
        rip: format!("{:#x}", step.rip),
        instruction: format_instruction(&instruction),
        bytes: hex(step.bytes),
        register,
        expected,
        actual,
        before: inputs(&instruction, before),
    }
}

/// Describes an instruction that the engine could not execute although the processor did.
pub(super) fn describe_stop(
    index: u64,
    rip: u64,
    bytes: &[u8],
    before: &Registers,
    reason: &str,
) -> Divergence {
    let instruction = decode(bytes, rip);
    Divergence {
        index,
        rip: format!("{rip:#x}"),
        instruction: format_instruction(&instruction),
        bytes: hex(bytes),
        register: "execution".to_owned(),
        expected: "the instruction completes".to_owned(),
        actual: reason.to_owned(),
        before: inputs(&instruction, before),
    }
}

/// The instruction at an address.
pub(super) fn decode(bytes: &[u8], rip: u64) -> Instruction {
    Decoder::with_ip(64, bytes, rip, DecoderOptions::NONE).decode()
}

/// The instruction in Intel syntax.
pub(super) fn format_instruction(instruction: &Instruction) -> String {
    let mut text = String::new();
    IntelFormatter::new().format(instruction, &mut text);
    text
}

/// The mnemonic in lower case.
pub(super) fn mnemonic(instruction: &Instruction) -> String {
    format!("{:?}", instruction.mnemonic()).to_lowercase()
}

fn hex(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(32).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    if bytes.len() > 32 { format!("{shown} ... ({} bytes)", bytes.len()) } else { shown }
}

/// The registers that an instruction uses, with their values before it.
fn inputs(instruction: &Instruction, before: &Registers) -> Vec<(String, String)> {
    let mut factory = iced_x86::InstructionInfoFactory::new();
    let info = factory.info(instruction);
    let mut inputs =
        vec![("rflags".to_owned(), format!("{:#x} ({})", before.rflags, flag_names(before.rflags)))];
    for used in info.used_registers() {
        let register = used.register();
        let full = register.full_register();
        let row = if full.is_gpr() {
            let gpr = Gpr::ALL[full.number() & 15];
            (gpr.name().to_owned(), format!("{:#x}", before.gpr[gpr as usize]))
        } else if register.is_xmm() {
            (format!("xmm{}", register.number()), format!("{:#034x}", before.xmm[register.number() & 15]))
        } else {
            continue;
        };
        if !inputs.contains(&row) {
            inputs.push(row);
        }
    }
    inputs
}
