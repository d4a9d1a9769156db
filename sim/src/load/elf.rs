//! ELF images: what their program headers load, and their notes.
//!
//! System V ABI, chapter 5; physical addresses are used, as boot loaders do.

use super::error::{Place, Problem, Refusal};
use super::layout::{Layout, Ram};
use super::read::{header, slice};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout};

const MAGIC: [u8; 4] = *b"\x7fELF";
const CLASS_32: u8 = 1;
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const EXECUTABLE: u16 = 2;
const SHARED: u16 = 3;
const INTEL_386: u16 = 3;
const X86_64: u16 = 62;
const LOAD: u32 = 1;
const NOTE: u32 = 4;

#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Identification {
    magic: [u8; 4],
    class: u8,
    data: u8,
    rest: [u8; 10],
    kind: U16,
    machine: U16,
}

#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Header32 {
    identification: Identification,
    version: U32,
    entry: U32,
    program_offset: U32,
    section_offset: U32,
    flags: U32,
    header_size: U16,
    program_size: U16,
    program_count: U16,
}

#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Header64 {
    identification: Identification,
    version: U32,
    entry: U64,
    program_offset: U64,
    section_offset: U64,
    flags: U32,
    header_size: U16,
    program_size: U16,
    program_count: U16,
}

#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Program32 {
    kind: U32,
    offset: U32,
    virtual_address: U32,
    physical_address: U32,
    file_size: U32,
    memory_size: U32,
    flags: U32,
    align: U32,
}

#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Program64 {
    kind: U32,
    flags: U32,
    offset: U64,
    virtual_address: U64,
    physical_address: U64,
    file_size: U64,
    memory_size: U64,
    align: U64,
}

/// A program header of either class.
struct Program {
    number: usize,
    kind: u32,
    offset: u64,
    virtual_address: u64,
    physical_address: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

/// An ELF image for this architecture.
pub(super) struct Elf<'a> {
    file: &'a [u8],
    entry: u64,
    programs: Vec<Program>,
}

const fn field(field: &'static str) -> Place {
    Place::Field { header: "ELF header", field }
}

/// Whether a file begins as ELF images do.
pub(super) fn is_one(file: &[u8]) -> bool {
    file.starts_with(&MAGIC)
}

impl<'a> Elf<'a> {
    /// Reads the headers.
    pub(super) fn read(file: &'a [u8]) -> Result<Self, Refusal> {
        let id: Identification = header(file, field("e_ident"), 0)?;
        if id.magic != MAGIC {
            let found = u32::from_be_bytes(id.magic);
            return Err(field("e_ident").unexpected(found, "7F 'E' 'L' 'F'"));
        }
        if id.data != LITTLE_ENDIAN {
            return Err(field("e_ident[EI_DATA]").unexpected(id.data, "1, little endian"));
        }
        if ![EXECUTABLE, SHARED].contains(&id.kind.get()) {
            return Err(field("e_type").unexpected(id.kind.get(), "2, an executable file"));
        }
        match (id.class, id.machine.get()) {
            (CLASS_32, INTEL_386) => Self::read32(file),
            (CLASS_64, X86_64) => Self::read64(file),
            (CLASS_32 | CLASS_64, machine) => {
                Err(field("e_machine").unexpected(machine, "3 with ELFCLASS32 or 62 with ELFCLASS64"))
            }
            (class, _) => Err(field("e_ident[EI_CLASS]").unexpected(class, "1 or 2")),
        }
    }

    fn read32(file: &'a [u8]) -> Result<Self, Refusal> {
        let head: Header32 = header(file, field("e_entry"), 0)?;
        if usize::from(head.program_size.get()) != size_of::<Program32>() {
            return Err(field("e_phentsize").unexpected(head.program_size.get(), "32"));
        }
        let offset = u64::from(head.program_offset.get());
        let programs = programs(file, offset, head.program_count.get(), |number, p: Program32| Program {
            number,
            kind: p.kind.get(),
            offset: p.offset.get().into(),
            virtual_address: p.virtual_address.get().into(),
            physical_address: p.physical_address.get().into(),
            file_size: p.file_size.get().into(),
            memory_size: p.memory_size.get().into(),
            align: p.align.get().into(),
        })?;
        Ok(Self { file, entry: head.entry.get().into(), programs })
    }

    fn read64(file: &'a [u8]) -> Result<Self, Refusal> {
        let head: Header64 = header(file, field("e_entry"), 0)?;
        if usize::from(head.program_size.get()) != size_of::<Program64>() {
            return Err(field("e_phentsize").unexpected(head.program_size.get(), "56"));
        }
        let offset = head.program_offset.get();
        let programs = programs(file, offset, head.program_count.get(), |number, p: Program64| Program {
            number,
            kind: p.kind.get(),
            offset: p.offset.get(),
            virtual_address: p.virtual_address.get(),
            physical_address: p.physical_address.get(),
            file_size: p.file_size.get(),
            memory_size: p.memory_size.get(),
            align: p.align.get(),
        })?;
        Ok(Self { file, entry: head.entry.get(), programs })
    }

    fn loaded(&self) -> impl Iterator<Item = &Program> {
        self.programs.iter().filter(|program| program.kind == LOAD && program.memory_size > 0)
    }

    /// Puts the loaded segments into RAM, and returns the address behind the last.
    pub(super) fn place(&self, layout: &mut Layout<'_>) -> Result<u64, Refusal> {
        // Segments share no bytes of the file; otherwise a small file could fill any amount of memory.
        let mut left = self.file.len() as u64;
        let mut end = 0;
        for program in self.loaded() {
            let place = Place::Segment(program.number);
            let Some(zeros) = program.memory_size.checked_sub(program.file_size) else {
                return Err(place.unexpected(program.file_size, "a p_filesz that is at most p_memsz"));
            };
            let bytes = slice(self.file, place.clone(), program.offset, program.file_size)?;
            left = left.checked_sub(program.file_size).ok_or_else(|| {
                place.clone().unexpected(program.offset, "a p_offset that no other segment loads from")
            })?;
            layout.place(place, program.physical_address, bytes, zeros, Ram::Usable)?;
            end = end.max(program.physical_address + program.memory_size);
        }
        if end == 0 {
            return Err(field("e_phnum").refused(Problem::Missing("a segment to load")));
        }
        Ok(end)
    }

    /// Where it starts, as a physical address inside a loaded segment.
    pub(super) fn entry(&self) -> Result<u32, Refusal> {
        let inside = |from: u64, size: u64| self.entry >= from && self.entry - from < size;
        let by_virtual = self.loaded().find(|program| inside(program.virtual_address, program.memory_size));
        let moved = by_virtual.map(|p| p.physical_address.wrapping_add(self.entry - p.virtual_address));
        let by_physical = self.loaded().any(|program| inside(program.physical_address, program.memory_size));
        let entry = moved.or_else(|| by_physical.then_some(self.entry));
        let expected = "an address below 4 GiB inside a loaded segment";
        entry
            .and_then(|entry| u32::try_from(entry).ok())
            .ok_or_else(|| field("e_entry").unexpected(self.entry, expected))
    }

    /// Whether a physical address lies in a loaded segment.
    pub(super) fn loads(&self, address: u64) -> bool {
        let inside =
            |p: &Program| address >= p.physical_address && address - p.physical_address < p.memory_size;
        self.loaded().any(inside)
    }

    /// The contents of the first note of this owner and kind.
    pub(super) fn note(&self, owner: &[u8], kind: u32) -> Result<Option<&'a [u8]>, Refusal> {
        for program in self.programs.iter().filter(|program| program.kind == NOTE) {
            let place = Place::Segment(program.number);
            let notes = slice(self.file, place.clone(), program.offset, program.file_size)?;
            if let Some(found) = note_in(notes, owner, kind, program.align, &place)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// The program headers of a file.
fn programs<T: FromBytes>(
    file: &[u8],
    offset: u64,
    count: u16,
    read: impl Fn(usize, T) -> Program,
) -> Result<Vec<Program>, Refusal> {
    let place = field("e_phnum");
    let table = slice(file, place.clone(), offset, u64::from(count) * size_of::<T>() as u64)?;
    let rows = table.chunks_exact(size_of::<T>()).enumerate();
    rows.map(|(number, row)| Ok(read(number, header(row, place.clone(), 0)?))).collect()
}

#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct NoteHeader {
    name_size: U32,
    description_size: U32,
    kind: U32,
}

/// The first note of an owner and kind in a segment of notes. Names and descriptions are padded to 4 bytes, or to 8 in a
/// segment that is so aligned.
fn note_in<'n>(
    notes: &'n [u8],
    owner: &[u8],
    kind: u32,
    align: u64,
    place: &Place,
) -> Result<Option<&'n [u8]>, Refusal> {
    let padding: u64 = if align == 8 { 8 } else { 4 };
    let mut at = 0u64;
    while at < notes.len() as u64 {
        let head: NoteHeader = header(notes, place.clone(), at)?;
        let name_at = at + size_of::<NoteHeader>() as u64;
        let name = slice(notes, place.clone(), name_at, head.name_size.get().into())?;
        let description_at = (name_at + u64::from(head.name_size.get())).next_multiple_of(padding);
        let size = u64::from(head.description_size.get());
        let description = slice(notes, place.clone(), description_at, size)?;
        if name == owner && head.kind.get() == kind {
            return Ok(Some(description));
        }
        at = (description_at + size).next_multiple_of(padding);
    }
    Ok(None)
}
