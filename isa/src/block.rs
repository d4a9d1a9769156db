//! Blocks: straight-line code on one page, decoded.

use crate::address::{HostPhysicalAddress, PAGE_SIZE};
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::{self, FlagsNeeded};
use crate::fusion;
use crate::liveness;
use crate::mode::{CodeContext, OperatingMode};
use crate::record::Record;
use iced_x86::{Decoder, DecoderError, DecoderOptions, FlowControl, Instruction, Mnemonic};

/// Longest instruction in bytes.
pub(crate) const LONGEST: usize = 15;
/// Most bytes that are looked at for one block.
const BLOCK_BYTES: usize = 256;

/// How RIP moves at the end of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// The last record sets it.
    Branch,
    /// It moves on by the bytes of the block.
    FallThrough,
}

/// A decoded block.
pub(crate) struct Block<C> {
    pub(crate) records: Box<[Record<C>]>,
    /// Bytes of code.
    pub(crate) bytes: u16,
    pub(crate) instructions: i64,
    pub(crate) ending: Ending,
    /// The page on which the last instruction ends, when it is not the one on which it starts.
    pub(crate) second_page: Option<HostPhysicalAddress>,
}

impl<C> Block<C> {
    /// What stands in the place of a block that was dropped: no budget suffices for it.
    pub(crate) fn dropped() -> Self {
        Self {
            records: Box::default(),
            bytes: 0,
            instructions: i64::MAX,
            ending: Ending::FallThrough,
            second_page: None,
        }
    }

    /// Whether it was dropped.
    pub(crate) const fn is_dropped(&self) -> bool {
        self.instructions == i64::MAX
    }
}

/// Decodes a block of at most `most` instructions at `rip`, which is at `physical`.
pub(crate) fn build<C: Cpu>(
    cpu: &mut C,
    rip: u64,
    physical: HostPhysicalAddress,
    most: usize,
    context: &CodeContext,
) -> Result<Block<C>, Stopped> {
    let mut bytes = [0; BLOCK_BYTES];
    let on_page = BLOCK_BYTES.min(PAGE_SIZE as usize - physical.page_offset());
    cpu.code_bytes(physical, &mut bytes[..on_page]);
    let in_segment = in_segment(rip, context).min(on_page);
    let instructions = decode_straight(&bytes[..in_segment], most, context);
    if !instructions.is_empty() {
        Ok(assemble(&instructions, None, context))
    } else if in_segment < on_page {
        Err(Stop::GENERAL_PROTECTION.into()) // behind the limit of CS
    } else {
        build_across(cpu, rip, &bytes[..on_page], context)
    }
}

/// Bytes of code from `rip` to the limit of CS, as far as a block looks.
pub(crate) fn in_segment(rip: u64, context: &CodeContext) -> usize {
    if rip > context.limit {
        return 0;
    }
    usize::try_from((context.limit - rip).saturating_add(1)).unwrap_or(usize::MAX).min(BLOCK_BYTES)
}

/// The only instruction of the block crosses the end of the page: decodes it with the bytes of the next one.
fn build_across<C: Cpu>(
    cpu: &mut C,
    rip: u64,
    first: &[u8],
    context: &CodeContext,
) -> Result<Block<C>, Stopped> {
    if first.len() >= LONGEST {
        return Err(Stop::GENERAL_PROTECTION.into()); // longer than any instruction may be
    }
    let mut bytes = [0; 2 * LONGEST];
    let length = first.len();
    bytes[..length].copy_from_slice(first);
    let most = in_segment(rip, context).min(LONGEST);
    if most <= length {
        return Err(Stop::GENERAL_PROTECTION.into());
    }
    let second = cpu.translate_fetch(context.linear(rip.wrapping_add(length as u64)))?;
    cpu.code_bytes(second, &mut bytes[length..most]);
    let instructions = decode_straight(&bytes[..most], 1, context);
    if instructions.is_empty() {
        return Err(Stop::GENERAL_PROTECTION.into());
    }
    Ok(assemble(&instructions, Some(second.page()), context))
}

/// Decodes up to and with the first branch, as far as the bytes hold whole instructions.
fn decode_straight(bytes: &[u8], most: usize, context: &CodeContext) -> Vec<Instruction> {
    let mut decoder = Decoder::with_ip(context.mode.size.bits(), bytes, 0, DecoderOptions::NONE);
    let mut instructions = Vec::with_capacity(most);
    while instructions.len() < most && decoder.can_decode() {
        let instruction = decoder.decode();
        if decoder.last_error() == DecoderError::NoMoreBytes {
            break;
        }
        instructions.push(instruction);
        if ends_block(&instruction) {
            break;
        }
    }
    instructions
}

/// Branches end a block, and so do instructions at which the count of executed instructions must be exact.
fn ends_block(instruction: &Instruction) -> bool {
    instruction.is_invalid()
        || instruction.flow_control() != FlowControl::Next
        || matches!(
            instruction.mnemonic(),
            Mnemonic::Syscall | Mnemonic::Cpuid | Mnemonic::Rdtsc | Mnemonic::Rdtscp | Mnemonic::Hlt
        )
}

fn assemble<C: Cpu>(
    instructions: &[Instruction],
    second_page: Option<HostPhysicalAddress>,
    context: &CodeContext,
) -> Block<C> {
    // Elsewhere than in protected mode an instruction with a VEX prefix stops.
    let all_flags = C::OBSERVED || context.mode.operating != OperatingMode::Protected;
    let mut records: Vec<Record<C>> = Vec::with_capacity(instructions.len());
    for (number, instruction) in instructions.iter().enumerate() {
        let flags = if all_flags { FlagsNeeded::Yes } else { liveness::of(&instructions[number..]) };
        records.push(decode::record_in(context.mode, instruction, instruction.ip16(), flags));
    }
    if !C::OBSERVED && !context.mode.checks_references() {
        fusion::fuse(instructions, &mut records);
    }
    Block {
        records: records.into_boxed_slice(),
        bytes: instructions.last().map_or(0, Instruction::next_ip16),
        instructions: instructions.len() as i64,
        ending: if instructions.last().is_some_and(sets_rip) { Ending::Branch } else { Ending::FallThrough },
        second_page,
    }
}

/// Whether the handler of an instruction leaves RIP at its successor itself.
fn sets_rip(instruction: &Instruction) -> bool {
    !matches!(instruction.flow_control(), FlowControl::Next | FlowControl::XbeginXabortXend)
}
