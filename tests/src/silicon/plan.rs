//! How operands are chosen: registers that hold addresses, memory operands that reach the data, prefixes.

use super::forms::Form;
use super::mode::Mode;
use super::random::Random;
use iced_x86::{Code, Instruction, Mnemonic, OpCodeOperandKind as K, OpKind, Register};
use isa::registers::{Gpr, Registers};

/// Registers that can be an address: all that few instructions write without naming them.
const POINTERS: [Gpr; 11] = [
    Gpr::Rbx,
    Gpr::Rbp,
    Gpr::R8,
    Gpr::R9,
    Gpr::R10,
    Gpr::R11,
    Gpr::R12,
    Gpr::R13,
    Gpr::R14,
    Gpr::R15,
    Gpr::Rsi,
];

/// The same where there are eight registers, as far as 16-bit addresses can have them.
const FEW_POINTERS: [Gpr; 4] = [Gpr::Rbx, Gpr::Rbp, Gpr::Rsi, Gpr::Rdi];

/// The choices of one case.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) random: Random,
    pub(crate) mode: Mode,
    pub(crate) registers: Registers,
    /// Registers that hold addresses of data.
    pointers: Vec<usize>,
    /// A register with a small value.
    index: usize,
    /// The number of instructions, and of the one that is built.
    length: usize,
    current: usize,
    form: Option<Form>,
    /// Where the last memory operand is, and its size.
    pub(crate) operand: Option<(u64, u64)>,
}

impl Plan {
    /// The plan with which a form is tried once.
    pub(crate) fn simple(seed: u64, mode: Mode) -> Self {
        Self::new(Random(seed), mode, Registers::default(), 1)
    }

    /// A plan for `length` instructions.
    pub(crate) fn new(mut random: Random, mode: Mode, registers: Registers, length: usize) -> Self {
        let (pointers, indices): (&[Gpr], &[Gpr]) = match mode {
            Mode::Bits64 => (&POINTERS, &POINTERS),
            Mode::Bits32 => (&FEW_POINTERS, &FEW_POINTERS),
            Mode::Bits16 => (&FEW_POINTERS, &[Gpr::Rsi, Gpr::Rdi]),
        };
        let index = random.pick(indices) as usize;
        let mut plan = Self {
            random,
            mode,
            registers,
            pointers: Vec::new(),
            index,
            length,
            current: 0,
            form: None,
            operand: None,
        };
        plan.registers.gpr[index] = plan.random.below(24).wrapping_sub(8) & mode.mask();
        for _ in 0..2 {
            let pointer = plan.random.pick(pointers) as usize;
            if pointer != index {
                plan.point(pointer);
            }
        }
        plan.registers.gpr[Gpr::Rsp as usize] = plan.stack();
        plan
    }

    /// Makes values that were chosen for 64-bit registers those of 32-bit ones outside 64-bit mode.
    pub(crate) fn narrow(&mut self) {
        if self.mode != Mode::Bits64 {
            self.registers.gpr.iter_mut().for_each(|value| *value &= 0xffff_ffff);
        }
    }

    /// Lets a register point to data.
    pub(crate) fn point(&mut self, register: usize) {
        self.registers.gpr[register] = self.address(16);
        self.pointers.push(register);
    }

    fn stack(&mut self) -> u64 {
        let middle = self.mode.data() + 0x1000 + 8 * self.random.below(0x1600);
        match self.random.below(20) {
            0 => self.mode.end() - 8 * self.random.below(4),
            1 | 2 => middle + self.random.below(8),
            _ => middle,
        }
    }

    /// Where an operand of `bytes` bytes is: mostly aligned data, sometimes not, at a boundary, or outside.
    fn address(&mut self, bytes: u64) -> u64 {
        let (base, data, end) = (self.mode.base(), self.mode.data(), self.mode.end());
        let any = data + self.random.below(end - data - 64);
        let alignment = bytes.next_power_of_two().clamp(1, 64);
        let address = match self.random.below(100) {
            0 => end - self.random.below(bytes + 1),
            1 => end + self.random.below(0x1000),
            2 => base.wrapping_sub(1 + self.random.below(0x1000)),
            3 => base + self.random.below(0x2000),
            4..8 => data + 0x1000 * (1 + self.random.below(12)) - self.random.below(bytes + 1),
            8..20 => any,
            _ => any & !(alignment - 1),
        };
        address & self.mode.mask()
    }

    pub(crate) fn begin(&mut self, form: Form) {
        self.form = Some(form);
        self.operand = None;
    }

    /// The following instruction is built next.
    pub(crate) fn advance(&mut self) {
        self.current += 1;
    }

    /// An instruction after the current one, or the end.
    pub(crate) fn target(&mut self) -> usize {
        let after = self.length - self.current;
        self.current + 1 + self.random.index(after).min(self.random.index(after))
    }

    /// One of `count` registers from `first`; results mostly go elsewhere than to address registers.
    pub(crate) fn register(&mut self, operand: u32, first: Register, count: u32) -> Register {
        let bit_offset =
            operand == 1 && self.form.is_some_and(|form| form.in_memory && is_bit_test(form.code));
        if bit_offset && self.random.chance(70) {
            return first + u32::try_from(self.index).unwrap_or(0);
        }
        let tries = if operand == 0 && self.random.chance(90) { 8 } else { 1 };
        let mut chosen = first;
        for _ in 0..tries {
            chosen = first + u32::try_from(self.random.below(count.into())).unwrap_or(0);
            if !self.is_address(chosen) {
                break;
            }
        }
        chosen
    }

    fn is_address(&self, register: Register) -> bool {
        let number = register.full_register().number();
        register.is_gpr()
            && (number == Gpr::Rsp as usize || number == self.index || self.pointers.contains(&number))
    }

    pub(crate) fn immediate(&mut self) -> u64 {
        match self.random.below(4) {
            0 => self.random.pick(&[0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 255]),
            1 => self.random.integer(),
            _ => self.random.next(),
        }
    }

    /// Gives `instruction` a memory operand.
    pub(crate) fn memory(&mut self, instruction: &mut Instruction, offset_only: bool) {
        let bytes = match instruction.code().op_code().memory_size().size() {
            0 => 512,
            bytes => bytes as u64,
        };
        let mut address = self.address(bytes);
        self.operand = Some((address, bytes));
        if self.random.chance(6) && !self.registers_are_plain() {
            let (segment, base) = self
                .random
                .pick(&[(Register::FS, self.registers.fs_base), (Register::GS, self.registers.gs_base)]);
            instruction.set_segment_prefix(segment);
            address = address.wrapping_sub(base);
        } else if self.random.chance(2) {
            let segment = self.random.pick(&[Register::ES, Register::CS, Register::SS, Register::DS]);
            instruction.set_segment_prefix(segment);
        }
        if offset_only {
            instruction.set_memory_displ_size(self.mode.bits() / 8);
            instruction.set_memory_displacement64(address);
        } else if self.mode == Mode::Bits16 && self.random.chance(70) {
            self.short_addressing(instruction, address);
        } else {
            self.addressing(instruction, address);
        }
    }

    fn registers_are_plain(&self) -> bool {
        self.registers.fs_base == 0 && self.registers.gs_base == 0
    }

    fn addressing(&mut self, instruction: &mut Instruction, address: u64) {
        let way = self.random.below(100);
        if way < 8 {
            let long = self.mode == Mode::Bits64;
            instruction.set_memory_base(if long { Register::RIP } else { Register::None });
            instruction.set_memory_displ_size(if long { 8 } else { 4 });
            instruction.set_memory_displacement64(address);
            return;
        }
        let narrow = way > 92 || self.mode != Mode::Bits64;
        let (first, displacement_size) = if narrow { (Register::EAX, 4) } else { (Register::RAX, 8) };
        let mut rest = address;
        if way > 14 {
            let base = self.pick_pointer();
            instruction.set_memory_base(first + u32::try_from(base).unwrap_or(0));
            rest = rest.wrapping_sub(self.registers.gpr[base]);
        }
        if way.is_multiple_of(3) {
            let scale = self.random.pick(&[1, 2, 4, 8]);
            instruction.set_memory_index(first + u32::try_from(self.index).unwrap_or(0));
            instruction.set_memory_index_scale(scale);
            rest = rest.wrapping_sub(self.registers.gpr[self.index].wrapping_mul(scale.into()));
        }
        let rest = if narrow { rest & 0xffff_ffff } else { rest };
        let byte = i8::try_from(rest.cast_signed()).is_ok();
        instruction.set_memory_displ_size(if byte { 1 } else { displacement_size });
        instruction.set_memory_displacement64(rest);
    }

    /// The eight ways of 16-bit addresses: BX or BP, with or without SI or DI, one of these alone, or none.
    fn short_addressing(&mut self, instruction: &mut Instruction, address: u64) {
        let mut rest = address;
        let base = if self.pointers.is_empty() { None } else { Some(self.random.pick(&self.pointers)) };
        if let Some(base) = base {
            instruction.set_memory_base(Register::AX + u32::try_from(base).unwrap_or(0));
            rest = rest.wrapping_sub(self.registers.gpr[base]);
        }
        let takes_index = base.is_some_and(|base| base == Gpr::Rbx as usize || base == Gpr::Rbp as usize);
        if takes_index && self.random.chance(50) {
            instruction.set_memory_index(Register::AX + u32::try_from(self.index).unwrap_or(0));
            rest = rest.wrapping_sub(self.registers.gpr[self.index]);
        }
        let rest = rest & 0xffff;
        let byte = !(0x80..0xff80).contains(&rest);
        let is_absolute = base.is_none();
        instruction.set_memory_displ_size(if byte && !is_absolute { 1 } else { 2 });
        instruction.set_memory_displacement64(rest);
    }

    fn pick_pointer(&mut self) -> usize {
        let stack = Gpr::Rsp as usize;
        if self.pointers.is_empty() || self.random.chance(8) {
            stack
        } else {
            self.random.pick(&self.pointers)
        }
    }

    /// Gives `instruction` an operand at RSI, RDI or RBX; all of them have one address size.
    pub(crate) fn string_memory(&mut self, instruction: &mut Instruction, operand: u32, kind: K) {
        let bits = match operand.checked_sub(1).map(|before| instruction.op_kind(before)) {
            Some(OpKind::MemoryESDI | OpKind::MemorySegSI) => 16,
            Some(OpKind::MemoryESEDI | OpKind::MemorySegESI) => 32,
            Some(OpKind::MemoryESRDI | OpKind::MemorySegRSI) => 64,
            _ if self.random.chance(12) => 32,
            _ => self.mode.bits(),
        };
        let op_kind = match (kind, bits) {
            (K::seg_rSI, 64) => OpKind::MemorySegRSI,
            (K::seg_rSI, 32) => OpKind::MemorySegESI,
            (K::seg_rSI, _) => OpKind::MemorySegSI,
            (K::es_rDI, 64) => OpKind::MemoryESRDI,
            (K::es_rDI, 32) => OpKind::MemoryESEDI,
            (K::es_rDI, _) => OpKind::MemoryESDI,
            (K::seg_rDI, 64) => OpKind::MemorySegRDI,
            (K::seg_rDI, 32) => OpKind::MemorySegEDI,
            (K::seg_rDI, _) => OpKind::MemorySegDI,
            _ => OpKind::Memory,
        };
        instruction.set_op_kind(operand, op_kind);
        if op_kind == OpKind::Memory {
            instruction.set_memory_base(match bits {
                64 => Register::RBX,
                32 => Register::EBX,
                _ => Register::BX,
            });
            instruction.set_memory_index(Register::AL);
        }
    }

    /// Adds LOCK and REP where they are allowed.
    pub(crate) fn prefixes(&mut self, instruction: &mut Instruction, in_memory: bool) {
        let op_code = instruction.code().op_code();
        if in_memory && op_code.can_use_lock_prefix() && self.random.chance(40) {
            instruction.set_has_lock_prefix(true);
        }
        if !instruction.is_string_instruction() || matches!(instruction.code(), Code::Movsd_xmm_xmmm64) {
            return;
        }
        if op_code.can_use_rep_prefix() && self.random.chance(45) {
            instruction.set_has_rep_prefix(true);
        } else if op_code.can_use_repne_prefix() && self.random.chance(60) {
            instruction.set_has_repne_prefix(true);
        }
    }
}

fn is_bit_test(code: Code) -> bool {
    matches!(code.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc)
}
