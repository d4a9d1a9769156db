//! What the recorder must know about an instruction before it executes.

use crate::format::MAX_INSTRUCTION;
use crate::operand::{Operand, Repeat, operands_of, repeat_of, writes};
use iced_x86::{
    CpuidFeature, Instruction, InstructionInfo, InstructionInfoFactory, Mnemonic, OpAccess, UsedMemory,
};
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
