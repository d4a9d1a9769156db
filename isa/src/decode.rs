//! From instruction bytes to records.
//!
//! iced-x86 decodes; this module resolves operands into a [`Record`] and asks the instruction families for the
//! handler. What a family must know to choose one is in [`Form`].

use crate::cpu::{Cpu, Stop, Stopped};
use crate::instruction;
use crate::mode::{AlignmentCheck, CodeMode, CodeSize};
use crate::record::{Handler, Modifiers, Record};
use crate::state::Slot;
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// The size of a general-purpose operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// 8 bits.
    B8,
    /// 16 bits.
    B16,
    /// 32 bits.
    B32,
    /// 64 bits.
    B64,
}

impl Size {
    /// The size with this many bytes.
    #[must_use]
    pub fn from_bytes(bytes: usize) -> Option<Self> {
        match bytes {
            1 => Some(Self::B8),
            2 => Some(Self::B16),
            4 => Some(Self::B32),
            8 => Some(Self::B64),
            _ => None,
        }
    }
}

/// The kind of one operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A general-purpose register.
    Register,
    /// An XMM register.
    Xmm,
    /// An MMX register.
    Mmx,
    /// Another register (segment, x87, ...).
    OtherRegister,
    /// Memory with segment base 0 and 64-bit address.
    Flat,
    /// Any other memory operand.
    Memory,
    /// An immediate.
    Immediate,
    /// A branch target.
    Target,
    /// There is no such operand.
    None,
}

impl Kind {
    /// Whether the operand is in memory.
    #[must_use]
    pub fn is_memory(self) -> bool {
        matches!(self, Self::Flat | Self::Memory)
    }
}

/// Whether the flags that an instruction writes are needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlagsNeeded {
    /// Someone may read them.
    Yes,
    /// They are overwritten before anyone can.
    No,
}

/// What an instruction family needs to know to choose a handler.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    /// The decoded instruction.
    pub instruction: &'a Instruction,
    /// Kinds of the first four operands.
    pub kinds: [Kind; 4],
    /// Whether the flags matter.
    pub flags: FlagsNeeded,
    /// The mode that it was decoded for.
    pub mode: CodeMode,
}

impl<'a> Form<'a> {
    /// The form of an instruction in 64-bit mode.
    #[must_use]
    pub fn new(instruction: &'a Instruction, flags: FlagsNeeded) -> Self {
        Self::in_mode(CodeMode::LONG, instruction, flags)
    }

    /// The form of an instruction.
    #[must_use]
    pub fn in_mode(mode: CodeMode, instruction: &'a Instruction, flags: FlagsNeeded) -> Self {
        let mut kinds = [Kind::None; 4];
        for (operand, kind) in (0..instruction.op_count().min(4)).zip(&mut kinds) {
            *kind = kind_of(instruction, operand);
            if mode.checks_references() && *kind == Kind::Flat {
                *kind = Kind::Memory;
            }
        }
        Self { instruction, kinds, flags, mode }
    }

    /// The mnemonic.
    #[must_use]
    pub fn mnemonic(&self) -> Mnemonic {
        self.instruction.mnemonic()
    }

    /// The size of operand `operand`, from its register or its memory access.
    #[must_use]
    pub fn size_of(&self, operand: u32) -> Option<Size> {
        let bytes = match self.instruction.try_op_kind(operand).ok()? {
            OpKind::Register => self.instruction.op_register(operand).size(),
            _ => self.instruction.memory_size().size(),
        };
        Size::from_bytes(bytes)
    }
}

fn kind_of(instruction: &Instruction, operand: u32) -> Kind {
    match instruction.op_kind(operand) {
        OpKind::Register => kind_of_register(instruction.op_register(operand)),
        OpKind::Memory if is_flat(instruction) => Kind::Flat,
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => Kind::Target,
        OpKind::FarBranch16 | OpKind::FarBranch32 => Kind::None,
        OpKind::Immediate8
        | OpKind::Immediate8_2nd
        | OpKind::Immediate16
        | OpKind::Immediate32
        | OpKind::Immediate64
        | OpKind::Immediate8to16
        | OpKind::Immediate8to32
        | OpKind::Immediate8to64
        | OpKind::Immediate32to64 => Kind::Immediate,
        _ => Kind::Memory,
    }
}

fn kind_of_register(register: Register) -> Kind {
    if register.is_gpr() {
        Kind::Register
    } else if register.is_xmm() {
        Kind::Xmm
    } else if register.is_mm() {
        Kind::Mmx
    } else {
        Kind::OtherRegister
    }
}

fn is_flat(instruction: &Instruction) -> bool {
    !matches!(instruction.memory_segment(), Register::FS | Register::GS) && !has_32_bit_address(instruction)
}

fn has_32_bit_address(instruction: &Instruction) -> bool {
    let register = |r: Register| r.is_gpr32() || r == Register::EIP;
    let no_register =
        instruction.memory_base() == Register::None && instruction.memory_index() == Register::None;
    let string = |kind| matches!(kind, OpKind::MemorySegESI | OpKind::MemoryESEDI | OpKind::MemorySegEDI);
    register(instruction.memory_base())
        || register(instruction.memory_index())
        || (instruction.memory_displ_size() == 4 && no_register)
        || instruction.op_kinds().any(string)
}

/// Slot of a general-purpose register of any size.
#[must_use]
pub(crate) fn slot_of(register: Register) -> Slot {
    match register {
        Register::None => Slot::Zero,
        Register::RIP | Register::EIP => Slot::Rip,
        _ if register.is_xmm() || register.is_mm() || register.is_st() => Slot::ALL[register.number() & 15],
        _ if register.is_gpr() => Slot::ALL[register.full_register().number() & 15],
        _ => Slot::Zero,
    }
}

fn is_high_byte(register: Register) -> bool {
    matches!(register, Register::AH | Register::CH | Register::DH | Register::BH)
}

/// Decodes one instruction of 64-bit mode into a record at `offset` from the start of its block, which iced-x86 was told to be at
/// linear address 0.
#[must_use]
pub fn record<C: Cpu>(instruction: &Instruction, offset: u16, flags: FlagsNeeded) -> Record<C> {
    record_in(CodeMode::LONG, instruction, offset, flags)
}

/// As [`record()`], in any mode.
#[must_use]
pub fn record_in<C: Cpu>(
    mode: CodeMode,
    instruction: &Instruction,
    offset: u16,
    flags: FlagsNeeded,
) -> Record<C> {
    let form = Form::in_mode(mode, instruction, flags);
    let mut record = operands(mode, instruction, unmodelled::<C>);
    record.offset = offset;
    if !is_out_of_reach(instruction) {
        record.handler = instruction::select(&form).unwrap_or(unmodelled::<C>);
    }
    record
}

/// Whether the engine models an instruction; what it does not model stops with
/// [`Stop::Unmodelled`].
#[must_use]
pub fn is_modelled(instruction: &Instruction) -> bool {
    is_modelled_in(CodeMode::LONG, instruction)
}

/// As [`is_modelled`], in any mode.
#[must_use]
pub fn is_modelled_in(mode: CodeMode, instruction: &Instruction) -> bool {
    let form = Form::in_mode(mode, instruction, FlagsNeeded::Yes);
    instruction::select::<crate::flat::FlatMachine>(&form).is_some()
}

fn unmodelled<C: Cpu>(_: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    Err(Stop::Unmodelled.into())
}

fn operands<C: Cpu>(mode: CodeMode, instruction: &Instruction, handler: Handler<C>) -> Record<C> {
    let mut record = Record {
        handler,
        immediate: 0,
        displacement: 0,
        destination: Slot::Zero,
        source: Slot::Zero,
        base: Slot::Zero,
        index: Slot::Zero,
        segment: Slot::Zero,
        third: Slot::Zero,
        scale: 0,
        modifiers: Modifiers::default(),
        offset: 0,
        length: u8::try_from(instruction.len()).unwrap_or(15),
    };
    if instruction.is_stack_instruction() {
        record.modifiers = record.modifiers.with_stack();
    }
    for operand in 0..instruction.op_count() {
        resolve(&mut record, mode, instruction, operand);
    }
    record
}

/// Register operands fill `destination`, then `source`, then `third`, whatever stands between them, except that a
/// first operand in memory leaves `destination` free: `add [rbx],rax` has RAX in `source`.
fn resolve<C>(record: &mut Record<C>, mode: CodeMode, instruction: &Instruction, operand: u32) {
    match instruction.op_kind(operand) {
        OpKind::Register => resolve_register(record, instruction.op_register(operand), operand),
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
            record.immediate = instruction.near_branch_target();
        }
        OpKind::FarBranch16 => record.immediate = far(instruction, instruction.far_branch16().into()),
        OpKind::FarBranch32 => record.immediate = far(instruction, instruction.far_branch32().into()),
        kind if kind_of(instruction, operand) == Kind::Immediate => {
            let value = instruction.immediate(operand);
            // ENTER and EXTRQ have a second immediate: it goes above the first.
            record.immediate =
                if kind == OpKind::Immediate8_2nd { record.immediate | value << 32 } else { value };
        }
        _ => resolve_memory(record, mode, instruction),
    }
}

/// A far pointer: the selector above the 32 bits of the offset.
fn far(instruction: &Instruction, offset: u64) -> u64 {
    u64::from(instruction.far_branch_selector()) << 32 | offset
}

fn resolve_register<C>(record: &mut Record<C>, register: Register, operand: u32) {
    let slot = slot_of(register);
    let high = is_high_byte(register);
    match operand {
        0 => {
            record.destination = slot;
            if high {
                record.modifiers = record.modifiers.with_high_destination();
            }
        }
        _ if record.source == Slot::Zero => {
            record.source = slot;
            if high {
                record.modifiers = record.modifiers.with_high_source();
            }
        }
        _ => record.third = slot,
    }
}

fn resolve_memory<C>(record: &mut Record<C>, mode: CodeMode, instruction: &Instruction) {
    record.modifiers = record.modifiers.with_memory_operand();
    if has_32_bit_address(instruction) {
        record.modifiers = record.modifiers.with_32_bit_address();
    }
    if has_16_bit_address(instruction) {
        record.modifiers = record.modifiers.with_16_bit_address();
    }
    if mode.size.is_segmented() {
        record.modifiers = record.modifiers.with_segment();
    }
    if mode.alignment == AlignmentCheck::On {
        record.modifiers = record.modifiers.with_alignment_check();
    }
    record.segment = segment_base(mode.size, instruction.memory_segment());
    if instruction.op_kinds().any(|kind| kind == OpKind::Memory) {
        record.base = slot_of(instruction.memory_base());
        record.index = slot_of(instruction.memory_index());
        record.scale = u8::try_from(instruction.memory_index_scale().trailing_zeros()).unwrap_or(0);
        resolve_displacement(record, instruction.memory_displacement64());
    }
}

fn segment_base(size: CodeSize, segment: Register) -> Slot {
    match segment {
        Register::FS => Slot::FsBase,
        Register::GS => Slot::GsBase,
        _ if !size.is_segmented() => Slot::Zero,
        Register::ES => Slot::EsBase,
        Register::CS => Slot::CsBase,
        Register::SS => Slot::SsBase,
        _ => Slot::DsBase,
    }
}

fn has_16_bit_address(instruction: &Instruction) -> bool {
    let no_register =
        instruction.memory_base() == Register::None && instruction.memory_index() == Register::None;
    let string = |kind| matches!(kind, OpKind::MemorySegSI | OpKind::MemoryESDI | OpKind::MemorySegDI);
    instruction.memory_base().is_gpr16()
        || instruction.memory_index().is_gpr16()
        || (instruction.memory_displ_size() == 2 && no_register)
        || instruction.op_kinds().any(string)
}

/// MOVABS has a 64-bit displacement, which stands in `immediate`; all others fit in 32 bits with sign. (A
/// RIP-relative one that does not, because it is relative to the block, is [refused](record).)
#[allow(clippy::cast_possible_truncation, reason = "a 32-bit address has 32 bits of displacement")]
fn resolve_displacement<C>(record: &mut Record<C>, displacement: u64) {
    if record.modifiers.has_32_bit_address() || record.modifiers.has_16_bit_address() {
        record.displacement = (displacement as u32).cast_signed();
    } else if let Ok(displacement) = i32::try_from(displacement.cast_signed()) {
        record.displacement = displacement;
    } else {
        record.immediate = displacement;
    }
}

fn is_out_of_reach(instruction: &Instruction) -> bool {
    instruction.is_ip_rel_memory_operand()
        && i32::try_from(instruction.memory_displacement64().cast_signed()).is_err()
        && !has_32_bit_address(instruction)
}
