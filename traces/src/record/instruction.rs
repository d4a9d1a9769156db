//! What the recorder must know about an instruction before it executes.

use crate::format::MAX_INSTRUCTION;
use iced_x86::{
    CpuidFeature, Instruction, InstructionInfo, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
    UsedMemory,
};
use isa::registers::Registers;
use smallvec::SmallVec;
use std::cell::Cell;

/// A decoded instruction, kept by its address.
pub(crate) struct Decoded {
    pub(crate) bytes: [u8; MAX_INSTRUCTION],
    pub(crate) length: u8,
    pub(crate) class: Class,
    /// Its effect is taken from the record on replay.
    pub(crate) taken: bool,
    /// It may change XMM, MXCSR or x87 registers.
    pub(crate) vector: bool,
    pub(crate) operands: SmallVec<[Operand; 2]>,
    /// The generations of the pages from which it was decoded.
    pub(crate) generations: Cell<[u32; 2]>,
}

impl Decoded {
    pub(crate) fn code(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// How the recorder executes an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    /// One single-step.
    Plain,
    /// A string instruction with a repeat prefix: one step for all iterations.
    Repeated(Repeat),
    /// Into the kernel.
    SystemCall,
    /// Answered by the recorder.
    Cpuid,
    /// Stores RFLAGS, in which single-stepping shows.
    PushFlags,
    /// Raises SIGTRAP after it has executed.
    Breakpoint,
    /// Which memory it writes is not known.
    Unbounded,
}

/// A repeated string instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Repeat {
    pub(crate) kind: RepeatKind,
    /// Bytes of an element.
    pub(crate) element: u64,
    /// The bits of RCX, RSI and RDI that are used.
    pub(crate) mask: u64,
    /// The base that is added to RSI.
    pub(crate) segment: Segment,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RepeatKind {
    Move,
    Store,
    Load,
    Compare,
    Scan,
}

impl RepeatKind {
    /// Whether it reads at RSI.
    pub(crate) const fn uses_source(self) -> bool {
        matches!(self, Self::Move | Self::Load | Self::Compare)
    }

    /// Whether it reads or writes at RDI.
    pub(crate) const fn uses_destination(self) -> bool {
        !matches!(self, Self::Load)
    }

    /// Whether it always does as many iterations as RCX says.
    pub(crate) const fn is_counted(self) -> bool {
        matches!(self, Self::Move | Self::Store | Self::Load)
    }

    pub(crate) const fn stores(self) -> bool {
        matches!(self, Self::Move | Self::Store)
    }
}

/// A segment base that is not 0 in 64-bit mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Segment {
    Flat,
    Fs,
    Gs,
}

impl Segment {
    const fn of(register: Register) -> Self {
        match register {
            Register::FS => Self::Fs,
            Register::GS => Self::Gs,
            _ => Self::Flat,
        }
    }

    pub(crate) const fn base(self, registers: &Registers) -> u64 {
        match self {
            Self::Flat => 0,
            Self::Fs => registers.fs_base,
            Self::Gs => registers.gs_base,
        }
    }
}

/// A register in an address: its number and the bits that count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Part {
    number: u8,
    mask: u64,
}

impl Part {
    fn of(register: Register) -> Self {
        let mask = match register.size() {
            1 => 0xff,
            2 => 0xffff,
            4 => 0xffff_ffff,
            8 => u64::MAX,
            _ => 0,
        };
        if mask == 0 || !register.is_gpr() {
            return Self { number: 0, mask: 0 };
        }
        Self { number: register.full_register().number() as u8, mask }
    }

    const fn value(self, registers: &Registers) -> u64 {
        registers.gpr[self.number as usize] & self.mask
    }
}

/// A memory operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Operand {
    base: Part,
    index: Part,
    scale: u64,
    displacement: u64,
    /// The bits of an offset, by the address size.
    mask: u64,
    segment: Segment,
    /// The register whose bits, from bit 0 of the operand on, choose the bit (BT and its like).
    bit_offset: Option<Part>,
    pub(crate) size: u32,
    pub(crate) stores: bool,
}

impl Operand {
    /// Its linear address, with the registers before the instruction.
    #[inline]
    pub(crate) fn address(&self, registers: &Registers) -> u64 {
        let index = self.index.value(registers).wrapping_mul(self.scale);
        let mut offset = self.base.value(registers).wrapping_add(index).wrapping_add(self.displacement);
        if let Some(bits) = self.bit_offset {
            offset = offset.wrapping_add(bit_string_offset(bits.value(registers), self.size));
        }
        (offset & self.mask).wrapping_add(self.segment.base(registers))
    }
}

/// Bytes from the start of a bit string to the operand that holds the bit (SDM Vol. 2A, 3.1.1.9).
fn bit_string_offset(bit: u64, size: u32) -> u64 {
    let unused = 64 - 8 * size;
    let bit = (bit << unused).cast_signed() >> unused;
    ((bit >> (8 * size).trailing_zeros()) * i64::from(size)).cast_unsigned()
}

/// Looks at `instruction`, whose bytes are `code`.
pub(crate) fn describe(
    instruction: &Instruction,
    code: &[u8],
    factory: &mut InstructionInfoFactory,
    taken: fn(&Instruction) -> bool,
) -> Decoded {
    let info = factory.info(instruction);
    let mut bytes = [0; MAX_INSTRUCTION];
    bytes[..code.len()].copy_from_slice(code);
    let class = class_of(instruction, info);
    let operands = match class {
        Class::Plain | Class::PushFlags => operands_of(instruction, info),
        _ => SmallVec::new(),
    };
    Decoded {
        bytes,
        length: code.len() as u8,
        class,
        taken: taken(instruction),
        vector: changes_vector_registers(instruction, info),
        operands,
        generations: Cell::new([0; 2]),
    }
}

fn class_of(instruction: &Instruction, info: &InstructionInfo) -> Class {
    match instruction.mnemonic() {
        Mnemonic::Syscall | Mnemonic::Int => Class::SystemCall,
        Mnemonic::Cpuid => Class::Cpuid,
        Mnemonic::Pushf | Mnemonic::Pushfq => Class::PushFlags,
        Mnemonic::Int1 | Mnemonic::Int3 => Class::Breakpoint,
        _ if instruction.has_rep_prefix() || instruction.has_repne_prefix() => {
            repeat_of(instruction).map_or_else(|| bounded(instruction, info), Class::Repeated)
        }
        _ => bounded(instruction, info),
    }
}

/// An operand whose size is not known, or whose address depends on a vector register, has no bounds.
fn bounded(instruction: &Instruction, info: &InstructionInfo) -> Class {
    let unknown = |memory: &UsedMemory| {
        memory.access() != OpAccess::NoMemAccess
            && (memory.memory_size().size() == 0 || memory.index().is_vector_register())
    };
    if !instruction.is_vsib() && !info.used_memory().iter().any(unknown) {
        return Class::Plain;
    }
    Class::Unbounded
}

fn repeat_of(instruction: &Instruction) -> Option<Repeat> {
    use Mnemonic as M;
    let kind = match instruction.mnemonic() {
        M::Movsb | M::Movsw | M::Movsd | M::Movsq => RepeatKind::Move,
        M::Stosb | M::Stosw | M::Stosd | M::Stosq => RepeatKind::Store,
        M::Lodsb | M::Lodsw | M::Lodsd | M::Lodsq => RepeatKind::Load,
        M::Cmpsb | M::Cmpsw | M::Cmpsd | M::Cmpsq => RepeatKind::Compare,
        M::Scasb | M::Scasw | M::Scasd | M::Scasq => RepeatKind::Scan,
        _ => return None,
    };
    if !instruction.is_string_instruction() {
        return None;
    }
    let wide = instruction.op_kinds().any(|kind| matches!(kind, OpKind::MemorySegRSI | OpKind::MemoryESRDI));
    Some(Repeat {
        kind,
        element: instruction.memory_size().size() as u64,
        mask: if wide { u64::MAX } else { 0xffff_ffff },
        segment: Segment::of(instruction.memory_segment()),
    })
}

fn operands_of(instruction: &Instruction, info: &InstructionInfo) -> SmallVec<[Operand; 2]> {
    let used = info.used_memory().iter().filter(|memory| memory.access() != OpAccess::NoMemAccess);
    used.map(|memory| operand_of(instruction, memory)).collect()
}

fn operand_of(instruction: &Instruction, memory: &UsedMemory) -> Operand {
    let size = memory.memory_size().size();
    let mut displacement = memory.displacement();
    // POP to memory computes the address after it has raised RSP (SDM Vol. 2B, POP).
    if instruction.mnemonic() == Mnemonic::Pop && memory.base() == Register::RSP && writes(memory.access()) {
        displacement = displacement.wrapping_add(size as u64);
    }
    Operand {
        base: Part::of(memory.base()),
        index: Part::of(memory.index()),
        scale: u64::from(memory.scale()),
        displacement,
        mask: if memory.address_size() == iced_x86::CodeSize::Code32 { 0xffff_ffff } else { u64::MAX },
        segment: Segment::of(memory.segment()),
        bit_offset: bit_offset_of(instruction),
        size: size as u32,
        stores: writes(memory.access()),
    }
}

fn bit_offset_of(instruction: &Instruction) -> Option<Part> {
    use Mnemonic as M;
    let bits = matches!(instruction.mnemonic(), M::Bt | M::Bts | M::Btr | M::Btc);
    (bits && instruction.op1_kind() == OpKind::Register).then(|| Part::of(instruction.op1_register()))
}

const fn writes(access: OpAccess) -> bool {
    use OpAccess as A;
    matches!(access, A::Write | A::CondWrite | A::ReadWrite | A::ReadCondWrite)
}

fn changes_vector_registers(instruction: &Instruction, info: &InstructionInfo) -> bool {
    use CpuidFeature as F;
    use Mnemonic as M;
    let by_feature = |feature: &F| {
        matches!(
            feature,
            F::FPU
                | F::FPU287
                | F::FPU287XL_ONLY
                | F::FPU387
                | F::FPU387SL_ONLY
                | F::MMX
                | F::FXSR
                | F::XSAVE
        )
    };
    // These write no vector register, but may raise flags in MXCSR.
    let sets_flags = matches!(
        instruction.mnemonic(),
        M::Comiss
            | M::Comisd
            | M::Ucomiss
            | M::Ucomisd
            | M::Cvtss2si
            | M::Cvtsd2si
            | M::Cvttss2si
            | M::Cvttsd2si
            | M::Ldmxcsr
            | M::Vcomiss
            | M::Vcomisd
            | M::Vucomiss
            | M::Vucomisd
            | M::Vcvtss2si
            | M::Vcvtsd2si
            | M::Vcvttss2si
            | M::Vcvttsd2si
            | M::Vldmxcsr
            | M::Vzeroall
    );
    sets_flags
        || instruction.cpuid_features().iter().any(by_feature)
        || info.used_registers().iter().any(|used| {
            let register = used.register();
            register.is_mm() || register.is_st() || (register.is_vector_register() && writes(used.access()))
        })
}
