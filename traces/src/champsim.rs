//! ChampSim's traces: records of 64 bytes, one an instruction, often compressed with gzip or xz.

use crate::access::{Access, AccessStep, Branch, is_branch};
use crate::error::TraceError;
use crate::format::{Sink, Step};
use crate::source::Source;
use crate::{AccessFinder, access};
use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, OpAccess, Register,
};
use isa::address::LinearAddress;
use isa::registers::Registers;
use smallvec::SmallVec;
use std::path::{Path, PathBuf};
use zerocopy::byteorder::little_endian::U64;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a record.
pub const RECORD: usize = size_of::<ChampSimRecord>();

/// The number that ChampSim gives the stack pointer.
pub const STACK_POINTER: u8 = 6;
/// The number that ChampSim gives the flags.
pub const FLAGS: u8 = 25;
/// The number that ChampSim gives the instruction pointer.
pub const INSTRUCTION_POINTER: u8 = 26;

/// A record as it stands in the file (`input_instr` of ChampSim). A register or address of 0 is unused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ChampSimRecord {
    /// The address of the instruction.
    pub ip: U64,
    /// Not 0 for a branch.
    pub is_branch: u8,
    /// Not 0 for a branch that was taken.
    pub branch_taken: u8,
    /// Registers that it writes.
    pub destination_registers: [u8; 2],
    /// Registers that it reads.
    pub source_registers: [u8; 4],
    /// Addresses to which it stores.
    pub destination_memory: [U64; 2],
    /// Addresses from which it loads.
    pub source_memory: [U64; 4],
}

impl ChampSimRecord {
    /// The part of the record that all traces have.
    #[must_use]
    pub fn access_step(&self) -> AccessStep {
        let used = |address: &U64| (address.get() != 0).then(|| Access::new(address.get(), 0));
        let branch = match (self.is_branch, self.branch_taken) {
            (0, _) => Branch::None,
            (_, 0) => Branch::NotTaken,
            _ => Branch::Taken,
        };
        AccessStep {
            ip: LinearAddress(self.ip.get()),
            loads: self.source_memory.iter().filter_map(used).collect(),
            stores: self.destination_memory.iter().filter_map(used).collect(),
            branch,
            length: 0,
        }
    }
}

/// Reads ChampSim records from a file that may be compressed.
pub struct ChampSimReader {
    source: Source,
}

impl ChampSimReader {
    /// Opens the file at `path`.
    ///
    /// The format has no magic number: any file whose length is a multiple of 64 is one.
    ///
    /// # Errors
    ///
    /// [`TraceError`] when it cannot be read.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        Source::open(path).map(Self::from_source)
    }

    pub(crate) const fn from_source(source: Source) -> Self {
        Self { source }
    }

    /// The next record, `None` at the end.
    ///
    /// # Errors
    ///
    /// [`TraceError::Truncated`] when the file ends within a record; others when it cannot be decompressed.
    pub fn next_record(&mut self) -> Result<Option<ChampSimRecord>, TraceError> {
        let mut record = ChampSimRecord::new_zeroed();
        match self.source.fill(record.as_mut_bytes())? {
            0 => Ok(None),
            RECORD => Ok(Some(record)),
            _ => Err(TraceError::Truncated {
                file: self.source.file.clone(),
                offset: self.source.offset,
                expected: "the rest of a record of 64 bytes",
            }),
        }
    }
}

/// Writes ChampSim records, uncompressed.
pub struct ChampSimWriter<S: Sink> {
    sink: S,
    name: PathBuf,
    finder: AccessFinder,
    factory: InstructionInfoFactory,
}

impl<S: Sink> ChampSimWriter<S> {
    /// Writes to `sink`, which errors call `name`.
    pub fn new(sink: S, name: &Path) -> Self {
        let finder = AccessFinder::new(&Registers::default());
        Self { sink, name: name.to_owned(), finder, factory: InstructionInfoFactory::new() }
    }

    /// All registers were replaced, by an event or because a chunk starts.
    pub const fn replace(&mut self, registers: &Registers) {
        self.finder.replace(registers);
    }

    /// Writes what `step` does. Steps come in order.
    ///
    /// # Errors
    ///
    /// [`TraceError::Io`] when it cannot be written.
    pub fn push_step(&mut self, step: &Step<'_>) -> Result<(), TraceError> {
        let found = self.finder.find(step);
        let instruction = Decoder::with_ip(64, step.bytes, step.rip, DecoderOptions::NONE).decode();
        let record = record_of(&instruction, &found, &mut self.factory);
        self.push(&record)
    }

    /// Writes a record.
    ///
    /// # Errors
    ///
    /// [`TraceError::Io`] when it cannot be written.
    pub fn push(&mut self, record: &ChampSimRecord) -> Result<(), TraceError> {
        let written = self.sink.write_all(record.as_bytes());
        written.map_err(|source| TraceError::io(&self.name, "write", source))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    ///
    /// [`TraceError::Io`]; then no file appears.
    pub fn finish(mut self) -> Result<(), TraceError> {
        let flushed = self.sink.flush().and_then(|()| self.sink.commit());
        flushed.map_err(|source| TraceError::io(&self.name, "give the file its name", source))
    }
}

/// The record of an instruction, as ChampSim's own tracer writes it.
fn record_of(
    instruction: &Instruction,
    found: &access::AccessStep,
    factory: &mut InstructionInfoFactory,
) -> ChampSimRecord {
    let (reads, writes) = registers_of(instruction, factory);
    let address = |access: &Access| U64::new(access.address.0);
    ChampSimRecord {
        ip: U64::new(found.ip.0),
        is_branch: u8::from(found.branch != Branch::None),
        branch_taken: u8::from(found.branch == Branch::Taken),
        destination_registers: first(writes.into_iter()),
        source_registers: first(reads.into_iter()),
        destination_memory: first(found.stores.iter().map(address)),
        source_memory: first(found.loads.iter().map(address)),
    }
}

fn first<T: Copy + FromZeros, const N: usize>(values: impl Iterator<Item = T>) -> [T; N] {
    let mut array = [T::new_zeroed(); N];
    array.iter_mut().zip(values).for_each(|(place, value)| *place = value);
    array
}

type Numbers = SmallVec<[u8; 8]>;

/// The registers that the instruction reads and writes, special ones first: ChampSim tells kinds of branches
/// apart by them.
fn registers_of(instruction: &Instruction, factory: &mut InstructionInfoFactory) -> (Numbers, Numbers) {
    let (mut reads, mut writes) = (Numbers::new(), Numbers::new());
    let add = |list: &mut Numbers, number: u8| {
        if !list.contains(&number) {
            list.push(number);
        }
    };
    if is_branch(instruction) {
        add(&mut writes, INSTRUCTION_POINTER);
        if reads_instruction_pointer(instruction) {
            add(&mut reads, INSTRUCTION_POINTER);
        }
    }
    if instruction.rflags_read() != 0 {
        add(&mut reads, FLAGS);
    }
    for used in factory.info(instruction).used_registers() {
        let Some(number) = number_of(used.register()) else { continue };
        if !matches!(used.access(), OpAccess::Write | OpAccess::CondWrite) {
            add(&mut reads, number);
        }
        if crate::operand::writes(used.access()) {
            add(&mut writes, number);
        }
    }
    if instruction.rflags_modified() != 0 {
        add(&mut writes, FLAGS);
    }
    (reads, writes)
}

/// A return and an indirect jump take the new address from elsewhere; a call pushes the old one.
fn reads_instruction_pointer(instruction: &Instruction) -> bool {
    !matches!(instruction.flow_control(), FlowControl::Return | FlowControl::IndirectBranch)
}

/// The number of a register: that of Pin, from which ChampSim's special numbers come; XMM registers from 64 on.
fn number_of(register: Register) -> Option<u8> {
    /// RAX RCX RDX RBX RSP RBP RSI RDI R8 to R15.
    const GPR: [u8; 16] = [10, 9, 8, 7, STACK_POINTER, 5, 4, 3, 11, 12, 13, 14, 15, 16, 17, 18];
    if register.is_gpr() {
        return GPR.get(register.full_register().number()).copied();
    }
    register.is_vector_register().then(|| 64 + register.number().to_le_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registers(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let instruction = Decoder::with_ip(64, bytes, 0x1000, DecoderOptions::NONE).decode();
        let (mut reads, mut writes) = registers_of(&instruction, &mut InstructionInfoFactory::new());
        reads.sort_unstable();
        writes.sort_unstable();
        (reads.to_vec(), writes.to_vec())
    }

    #[test]
    fn branches_have_the_registers_by_which_champsim_tells_them_apart() {
        let (sp, flags, ip, rax) = (STACK_POINTER, FLAGS, INSTRUCTION_POINTER, 10);
        assert_eq!(registers(&[0xeb, 0]), (vec![ip], vec![ip]), "direct jump");
        assert_eq!(registers(&[0xff, 0xe0]), (vec![rax], vec![ip]), "indirect jump");
        assert_eq!(registers(&[0x74, 0]), (vec![flags, ip], vec![ip]), "conditional");
        assert_eq!(registers(&[0xe8, 0, 0, 0, 0]), (vec![sp, ip], vec![sp, ip]), "direct call");
        assert_eq!(registers(&[0xff, 0xd0]), (vec![sp, rax, ip], vec![sp, ip]), "indirect call");
        assert_eq!(registers(&[0xc3]), (vec![sp], vec![sp, ip]), "return");
        assert_eq!(registers(&[0x48, 0x01, 0xc8]), (vec![9, rax], vec![rax, flags]), "add rax,rcx");
    }
}
