//! Everything a replay needs besides computing: memory, asynchronous changes, and steps taken from the record.

use super::bytes::{Cursor, put_varint};
use super::registers::{Written, get_changes, get_registers, put_changes, put_registers};
use super::step::{Content, MAX_INSTRUCTION, Place, Store, StoreAt, Stores};
use crate::error::Malformed;
use bitflags::bitflags;
use isa::address::{LinearAddress, PAGE_SIZE};
use isa::registers::Registers;

/// The content of a 4-KByte page.
pub type PageBytes = [u8; PAGE_SIZE as usize];

/// A page of zeros.
pub(crate) static ZERO_PAGE: PageBytes = [0; PAGE_SIZE as usize];

/// The most bytes that one store or patch of a trace holds.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// The most stores of one step.
pub(crate) const MAX_STORES: usize = 64;

bitflags! {
    /// What the operating system allowed the program to do with a page.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Permissions: u8 {
        /// Loads.
        const READ = 1 << 0;
        /// Stores.
        const WRITE = 1 << 1;
        /// Instruction fetches.
        const EXECUTE = 1 << 2;
    }
}

/// Something that happens right before the step with the same index.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The content of a page that the program is about to touch for the first time since it started, or of which
    /// the kernel changed most.
    Page {
        /// The first address of the page.
        address: LinearAddress,
        /// What the program may do with it.
        permissions: Permissions,
        /// Its bytes.
        content: &'a PageBytes,
    },
    /// Bytes that the kernel or another process changed in a page that the trace has already given.
    Patch {
        /// The first address; the bytes lie within one page.
        address: LinearAddress,
        /// What is there now.
        bytes: &'a [u8],
    },
    /// A page that the trace has already given is allowed other accesses from now on.
    Permissions {
        /// The first address of the page.
        address: LinearAddress,
        /// What the program may do with it now.
        permissions: Permissions,
    },
    /// A signal was delivered: all registers are replaced.
    Effect(&'a Registers),
    /// A program starts: the address space is empty and these are its registers. A trace starts with one.
    Exec(&'a Registers),
    /// The step with this index has this effect, whatever the engine would compute.
    Taken(TakenStep<'a>),
}

/// A step that is taken from the record.
#[derive(Clone, Copy, Debug)]
pub struct TakenStep<'a> {
    /// The address of the instruction.
    pub rip: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The registers that changed besides RIP.
    pub written: Written,
    /// RIP and the changed registers after the step; the others have no meaning.
    pub after: &'a Registers,
    /// The memory that it wrote, with all bytes.
    pub stores: Stores<'a>,
}

impl TakenStep<'_> {
    /// Gives `registers`, which are those before the step, the values after it.
    pub fn apply(&self, registers: &mut Registers) {
        let after = self.after;
        registers.rip = after.rip;
        for i in 0..16 {
            if self.written.gpr >> i & 1 != 0 {
                registers.gpr[i] = after.gpr[i];
            }
            if self.written.xmm >> i & 1 != 0 {
                registers.xmm[i] = after.xmm[i];
            }
        }
        apply_groups(self.written, after, registers);
    }
}

fn apply_groups(written: Written, after: &Registers, registers: &mut Registers) {
    use super::registers::Groups;
    let has = |group| written.groups.contains(group);
    if has(Groups::RFLAGS) {
        registers.rflags = after.rflags;
    }
    if has(Groups::FS_BASE) {
        registers.fs_base = after.fs_base;
    }
    if has(Groups::GS_BASE) {
        registers.gs_base = after.gs_base;
    }
    if has(Groups::MXCSR) {
        registers.mxcsr = after.mxcsr;
    }
    if has(Groups::X87) {
        registers.x87 = after.x87;
    }
}

const PAGE: u8 = 1;
const ZEROS: u8 = 2;
const PATCH: u8 = 3;
const PERMISSIONS: u8 = 4;
const EFFECT: u8 = 5;
const EXEC: u8 = 6;
const TAKEN: u8 = 7;

/// The `events` section of a chunk while it is written.
#[derive(Default)]
pub(crate) struct EventEncoder {
    pub(crate) bytes: Vec<u8>,
    last: u64,
}

impl EventEncoder {
    pub(crate) fn start(&mut self, first_index: u64) {
        self.bytes.clear();
        self.last = first_index;
    }

    fn kind(&mut self, index: u64, kind: u8) {
        put_varint(&mut self.bytes, index - self.last);
        self.last = index;
        self.bytes.push(kind);
    }

    pub(crate) fn page(&mut self, index: u64, number: u64, permissions: Permissions, content: &PageBytes) {
        let zero = *content == ZERO_PAGE;
        self.kind(index, if zero { ZEROS } else { PAGE });
        put_varint(&mut self.bytes, number);
        self.bytes.push(permissions.bits());
        if !zero {
            self.bytes.extend_from_slice(content);
        }
    }

    pub(crate) fn patch(&mut self, index: u64, address: u64, bytes: &[u8]) {
        self.kind(index, PATCH);
        put_varint(&mut self.bytes, address);
        put_varint(&mut self.bytes, bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn permissions(&mut self, index: u64, number: u64, permissions: Permissions) {
        self.kind(index, PERMISSIONS);
        put_varint(&mut self.bytes, number);
        self.bytes.push(permissions.bits());
    }

    pub(crate) fn effect(&mut self, index: u64, registers: &Registers) {
        self.kind(index, EFFECT);
        put_registers(&mut self.bytes, registers);
    }

    pub(crate) fn exec(&mut self, index: u64, registers: &Registers) {
        self.kind(index, EXEC);
        put_registers(&mut self.bytes, registers);
    }

    pub(crate) fn taken(&mut self, index: u64, step: &TakenStep<'_>) {
        self.kind(index, TAKEN);
        put_varint(&mut self.bytes, step.rip);
        self.bytes.push(step.bytes.len().to_le_bytes()[0]);
        self.bytes.extend_from_slice(step.bytes);
        put_varint(&mut self.bytes, step.after.rip);
        step.written.put(&mut self.bytes);
        put_changes(&mut self.bytes, step.written, step.after);
        put_varint(&mut self.bytes, step.stores.len() as u64);
        for store in step.stores.iter() {
            put_varint(&mut self.bytes, store.address);
            put_varint(&mut self.bytes, store.size() as u64);
            match store.content {
                Content::Bytes(bytes) => {
                    self.bytes.push(0);
                    self.bytes.extend_from_slice(bytes);
                }
                Content::Checksum { crc32, .. } => {
                    self.bytes.push(1);
                    self.bytes.extend_from_slice(&crc32.to_le_bytes());
                }
            }
        }
    }
}

/// The events of a chunk, one after the other.
pub(crate) struct EventDecoder<'c> {
    section: &'c [u8],
    pub(super) cursor: Cursor<'c>,
    pub(super) index: u64,
    /// Past the last step of the chunk; an event may stand there.
    end: u64,
    registers: Registers,
    stores: Vec<StoreAt>,
}

impl<'c> EventDecoder<'c> {
    /// Decodes the events of `section` from byte `from` on.
    pub(crate) fn new(section: &'c [u8], from: usize, first_index: u64, steps: u64) -> Self {
        Self {
            section,
            cursor: Cursor::starting(section, from),
            index: first_index,
            end: first_index + steps,
            registers: Registers::default(),
            stores: Vec::new(),
        }
    }

    /// The place of the decoder in its section.
    pub(crate) const fn at(&self) -> usize {
        self.cursor.at()
    }

    /// The index of the next event and whether it is a taken step.
    pub(crate) fn peek(&self) -> Result<Option<(u64, bool)>, Malformed> {
        if self.cursor.is_empty() {
            return Ok(None);
        }
        let mut ahead = self.cursor;
        let index = self.index_at(&mut ahead)?;
        Ok(Some((index, ahead.byte()? == TAKEN)))
    }

    fn index_at(&self, cursor: &mut Cursor<'c>) -> Result<u64, Malformed> {
        let index = self.index.checked_add(cursor.varint()?);
        index.filter(|&index| index <= self.end).ok_or_else(|| cursor.expected("an index within the chunk"))
    }

    /// The next event with its index.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Event<'_>)>, Malformed> {
        if self.cursor.is_empty() {
            return Ok(None);
        }
        let mut cursor = self.cursor;
        self.index = self.index_at(&mut cursor)?;
        self.cursor = cursor;
        let index = self.index;
        Ok(Some((index, self.event()?)))
    }

    fn event(&mut self) -> Result<Event<'_>, Malformed> {
        let cursor = &mut self.cursor;
        match cursor.byte()? {
            ZEROS => {
                let (address, permissions) = page_head(cursor)?;
                Ok(Event::Page { address, permissions, content: &ZERO_PAGE })
            }
            PAGE => {
                let (address, permissions) = page_head(cursor)?;
                let bytes = cursor.take(ZERO_PAGE.len())?;
                let content = bytes.try_into().map_err(|_| cursor.expected("4096 bytes"))?;
                Ok(Event::Page { address, permissions, content })
            }
            PATCH => {
                let address = LinearAddress(cursor.varint()?);
                let within = (PAGE_SIZE as usize) - address.page_offset();
                let length = length(cursor, within, "a patch within one page")?;
                Ok(Event::Patch { address, bytes: cursor.take(length)? })
            }
            PERMISSIONS => {
                let (address, permissions) = page_head(cursor)?;
                Ok(Event::Permissions { address, permissions })
            }
            EFFECT => {
                self.registers = get_registers(cursor)?;
                Ok(Event::Effect(&self.registers))
            }
            EXEC => {
                self.registers = get_registers(cursor)?;
                Ok(Event::Exec(&self.registers))
            }
            TAKEN => self.taken().map(Event::Taken),
            _ => Err(cursor.expected("a known kind of event")),
        }
    }

    fn taken(&mut self) -> Result<TakenStep<'_>, Malformed> {
        let cursor = &mut self.cursor;
        if self.index >= self.end {
            return Err(cursor.expected("a taken step within the chunk"));
        }
        let rip = cursor.varint()?;
        let length = usize::from(cursor.byte()?);
        if length == 0 || length > MAX_INSTRUCTION {
            return Err(cursor.expected("an instruction of 1 to 15 bytes"));
        }
        let bytes = cursor.take(length)?;
        self.registers.rip = cursor.varint()?;
        let written = Written::get(cursor)?;
        get_changes(cursor, written, &mut self.registers)?;
        self.stores()?;
        let stores = Stores { list: &self.stores, bytes: self.section };
        Ok(TakenStep { rip, bytes, written, after: &self.registers, stores })
    }

    fn stores(&mut self) -> Result<(), Malformed> {
        let cursor = &mut self.cursor;
        let count = length(cursor, MAX_STORES, "at most 64 stores")?;
        self.stores.clear();
        for _ in 0..count {
            let address = cursor.varint()?;
            let size = length(cursor, MAX_BYTES, "a store of at most a megabyte")?;
            let place = match cursor.byte()? {
                0 => {
                    let start = cursor.at();
                    cursor.take(size)?;
                    Place::From(u32::try_from(start).map_err(|_| cursor.expected("a small section"))?)
                }
                1 => Place::Checksum(u32::from_le_bytes(cursor.array()?)),
                _ => return Err(cursor.expected("a kind of store")),
            };
            let size = u32::try_from(size).map_err(|_| cursor.expected("a small store"))?;
            self.stores.push(StoreAt { address, size, place });
        }
        Ok(())
    }
}

fn length(cursor: &mut Cursor<'_>, limit: usize, expected: &'static str) -> Result<usize, Malformed> {
    let value = cursor.varint()?;
    usize::try_from(value).ok().filter(|&length| length <= limit).ok_or_else(|| cursor.expected(expected))
}

fn page_head(cursor: &mut Cursor<'_>) -> Result<(LinearAddress, Permissions), Malformed> {
    let number = cursor.varint()?;
    if number > u64::MAX / PAGE_SIZE {
        return Err(cursor.expected("the number of a page"));
    }
    let permissions =
        Permissions::from_bits(cursor.byte()?).ok_or_else(|| cursor.expected("permissions of a page"))?;
    Ok((LinearAddress(number * PAGE_SIZE), permissions))
}

/// Copies `stores` into `list` and `bytes`, so that they outlive the step.
pub(crate) fn keep_stores(stores: &[Store<'_>], list: &mut Vec<StoreAt>, bytes: &mut Vec<u8>) {
    list.clear();
    bytes.clear();
    for store in stores {
        let (size, place) = match store.content {
            Content::Bytes(content) => {
                let start = bytes.len() as u32;
                bytes.extend_from_slice(content);
                (content.len() as u32, Place::From(start))
            }
            Content::Checksum { size, crc32 } => (size, Place::Checksum(crc32)),
        };
        list.push(StoreAt { address: store.address, size, place });
    }
}
