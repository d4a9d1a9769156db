//! Where an instruction touches memory.

use iced_x86::{Instruction, InstructionInfo, Mnemonic, OpAccess, OpKind, Register, UsedMemory};
use isa::registers::Registers;
use smallvec::SmallVec;

/// The registers on which addresses depend.
pub(crate) trait AddressState {
    /// A general-purpose register by its encoding, at most 15.
    fn gpr(&self, number: usize) -> u64;
    /// RFLAGS.
    fn rflags(&self) -> u64;
    /// The base of FS.
    fn fs_base(&self) -> u64;
    /// The base of GS.
    fn gs_base(&self) -> u64;
}

impl AddressState for Registers {
    fn gpr(&self, number: usize) -> u64 {
        self.gpr[number]
    }
    fn rflags(&self) -> u64 {
        self.rflags
    }
    fn fs_base(&self) -> u64 {
        self.fs_base
    }
    fn gs_base(&self) -> u64 {
        self.gs_base
    }
}

/// A copy of the registers on which addresses depend: much smaller than [`Registers`].
#[derive(Clone, Copy, Default)]
pub(crate) struct AddressRegisters {
    gpr: [u64; 16],
    rflags: u64,
    fs_base: u64,
    gs_base: u64,
}

impl AddressRegisters {
    #[inline]
    pub(crate) const fn of(registers: &Registers) -> Self {
        let Registers { gpr, rflags, fs_base, gs_base, .. } = *registers;
        Self { gpr, rflags, fs_base, gs_base }
    }
}

impl AddressState for AddressRegisters {
    #[inline]
    fn gpr(&self, number: usize) -> u64 {
        self.gpr[number]
    }
    fn rflags(&self) -> u64 {
        self.rflags
    }
    fn fs_base(&self) -> u64 {
        self.fs_base
    }
    fn gs_base(&self) -> u64 {
        self.gs_base
    }
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

    #[inline]
    pub(crate) fn base(self, registers: &impl AddressState) -> u64 {
        match self {
            Self::Flat => 0,
            Self::Fs => registers.fs_base(),
            Self::Gs => registers.gs_base(),
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

    #[inline]
    fn value(self, registers: &impl AddressState) -> u64 {
        registers.gpr(usize::from(self.number & 15)) & self.mask
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
    pub(crate) loads: bool,
    pub(crate) stores: bool,
}

impl Operand {
    /// Its linear address, with the registers before the instruction.
    #[inline]
    pub(crate) fn address(&self, registers: &impl AddressState) -> u64 {
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

/// `instruction` as a repeated string instruction; it has a repeat prefix.
pub(crate) fn repeat_of(instruction: &Instruction) -> Option<Repeat> {
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

/// The memory operands of `instruction`, those of its use of the stack among them.
pub(crate) fn operands_of(instruction: &Instruction, info: &InstructionInfo) -> SmallVec<[Operand; 2]> {
    let used = info.used_memory().iter().filter(|memory| memory.access() != OpAccess::NoMemAccess);
    used.map(|memory| operand_of(instruction, memory)).collect()
}

fn operand_of(instruction: &Instruction, memory: &UsedMemory) -> Operand {
    let size = memory.memory_size().size();
    Operand {
        base: Part::of(memory.base()),
        index: Part::of(memory.index()),
        scale: u64::from(memory.scale()),
        // For POP to memory with RSP as base this already counts RSP as raised.
        displacement: memory.displacement(),
        mask: if memory.address_size() == iced_x86::CodeSize::Code32 { 0xffff_ffff } else { u64::MAX },
        segment: Segment::of(memory.segment()),
        bit_offset: bit_offset_of(instruction),
        size: size as u32,
        loads: !matches!(memory.access(), OpAccess::Write | OpAccess::CondWrite),
        stores: writes(memory.access()),
    }
}

fn bit_offset_of(instruction: &Instruction) -> Option<Part> {
    use Mnemonic as M;
    let bits = matches!(instruction.mnemonic(), M::Bt | M::Bts | M::Btr | M::Btc);
    (bits && instruction.op1_kind() == OpKind::Register).then(|| Part::of(instruction.op1_register()))
}

/// Whether an access may write.
pub(crate) const fn writes(access: OpAccess) -> bool {
    use OpAccess as A;
    matches!(access, A::Write | A::CondWrite | A::ReadWrite | A::ReadCondWrite)
}

/// The direction flag of RFLAGS.
const DF: u64 = 1 << 10;

impl Repeat {
    /// The iterations that are left according to RCX.
    pub(crate) fn count(&self, registers: &impl AddressState) -> u64 {
        registers.gpr(1) & self.mask
    }

    /// The lowest address and the size of what `count` iterations read at RSI.
    pub(crate) fn source(&self, registers: &impl AddressState, count: u64) -> (u64, u64) {
        let first = (registers.gpr(6) & self.mask).wrapping_add(self.segment.base(registers));
        self.range(first, registers.rflags(), count)
    }

    /// The lowest address and the size of what `count` iterations read or write at RDI.
    pub(crate) fn destination(&self, registers: &impl AddressState, count: u64) -> (u64, u64) {
        self.range(registers.gpr(7) & self.mask, registers.rflags(), count)
    }

    const fn range(&self, first: u64, rflags: u64, count: u64) -> (u64, u64) {
        let size = count.wrapping_mul(self.element);
        let back = if rflags & DF != 0 { size.wrapping_sub(self.element) } else { 0 };
        (first.wrapping_sub(back), size)
    }
}
