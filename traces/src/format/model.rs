//! What encoder and decoder of steps know about the instructions of a chunk.
//!
//! Both sides keep the same model and change it in the same way, so that a step which does what the model
//! expects costs next to nothing. For each instruction the model keeps which registers it wrote so far, what it
//! stored, which instruction followed, and for each value how it came about last time.

use super::registers::{Groups, Written};
use super::step::MAX_INSTRUCTION;
use isa::registers::Registers;

/// No instruction yet.
pub(crate) const NONE: u32 = u32::MAX;

/// The most instructions and the most slots of one chunk; the writer starts a new chunk before it needs more.
pub(crate) const MAX_SLOTS: usize = 1 << 20;

/// An instruction that was executed in this chunk.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) rip: u64,
    pub(crate) bytes: [u8; MAX_INSTRUCTION],
    pub(crate) length: u8,
    /// The registers that it wrote so far; a step gives the values of all of them.
    pub(crate) written: Written,
    pub(crate) flags: u8,
    pub(crate) store_count: u8,
    /// Where its slots start.
    pub(crate) gprs: u32,
    pub(crate) xmms: u32,
    pub(crate) stores: u32,
    /// The instruction that followed last time, and the different one before.
    pub(crate) next: u32,
    pub(crate) other: u32,
}

impl Entry {
    pub(crate) fn code(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    pub(crate) const fn sequential(&self) -> u64 {
        self.rip.wrapping_add(self.length as u64)
    }
}

/// How a value of a general-purpose register came about.
#[derive(Clone, Copy, Default)]
pub(crate) struct GprSlot {
    pub(crate) last: u64,
    pub(crate) stride: u64,
    pub(crate) source: u8,
}

/// What a store of an instruction did last time.
#[derive(Clone, Copy)]
pub(crate) struct StoreSlot {
    pub(crate) size: u32,
    pub(crate) kind: StoreKind,
    /// The register from which the address lay `offset` away.
    pub(crate) base: u8,
    pub(crate) source: u8,
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) stride: u64,
    pub(crate) value: u64,
}

/// Whether a store is recorded with its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StoreKind {
    Bytes,
    Checksum,
}

impl GprSlot {
    #[inline]
    pub(crate) const fn update(&mut self, former: u64, value: u64) {
        self.stride = value.wrapping_sub(former);
        self.last = value;
    }
}

impl StoreSlot {
    pub(crate) const fn new(size: u32, kind: StoreKind, base: u8) -> Self {
        Self { size, kind, base, source: 0, offset: 0, address: 0, stride: 0, value: 0 }
    }

    /// The bits of a value of at most eight bytes.
    #[inline]
    pub(crate) const fn mask(&self) -> u64 {
        if self.size == 0 { 0 } else { u64::MAX >> (64 - 8 * self.size) }
    }

    #[inline]
    pub(crate) fn source_value(&self, before: &Registers) -> u128 {
        let i = usize::from(self.source & 15);
        if self.source & 16 == 0 { u128::from(before.gpr[i]) } else { before.xmm[i] }
    }

    #[inline]
    pub(crate) const fn update_address(&mut self, base: u64, address: u64) {
        self.offset = address.wrapping_sub(base);
        self.stride = address.wrapping_sub(self.address);
        self.address = address;
    }
}

/// The model of one chunk.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) entries: Vec<Entry>,
    pub(crate) gprs: Vec<GprSlot>,
    pub(crate) xmms: Vec<u128>,
    pub(crate) stores: Vec<StoreSlot>,
    /// Which instruction followed a branch after the same branches before it.
    paths: Vec<(u32, u32)>,
    history: u32,
}

const PATHS: usize = 1 << 14;

impl Model {
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.gprs.clear();
        self.xmms.clear();
        self.stores.clear();
        self.paths.clear();
        self.paths.resize(PATHS, (NONE, NONE));
        self.history = 0;
    }

    /// Whether one more step may still be added to the chunk.
    pub(crate) fn has_room(&self) -> bool {
        let used = self.entries.len().max(self.gprs.len()).max(self.xmms.len()).max(self.stores.len());
        used < MAX_SLOTS
    }

    /// Adds an instruction that has not been seen in this chunk, or not with these bytes.
    pub(crate) fn add(&mut self, rip: u64, code: &[u8]) -> u32 {
        let mut bytes = [0; MAX_INSTRUCTION];
        bytes[..code.len()].copy_from_slice(code);
        let id = self.entries.len() as u32;
        self.entries.push(Entry {
            rip,
            bytes,
            length: code.len() as u8,
            written: Written::default(),
            flags: 0,
            store_count: 0,
            gprs: 0,
            xmms: 0,
            stores: 0,
            next: NONE,
            other: NONE,
        });
        id
    }

    /// Gives entry `id` slots for the registers of `written`, keeping what is known of those it has.
    pub(crate) fn widen(&mut self, id: u32, written: Written) {
        let entry = &mut self.entries[id as usize];
        let (old, gprs, xmms) = (entry.written, entry.gprs, entry.xmms);
        entry.written = written;
        if old.gpr != written.gpr {
            entry.gprs = widen(&mut self.gprs, gprs, old.gpr, written.gpr);
        }
        if old.xmm != written.xmm {
            entry.xmms = widen(&mut self.xmms, xmms, old.xmm, written.xmm);
        }
    }

    /// The instruction that is expected after `id`.
    #[inline]
    pub(crate) fn predict(&self, id: u32) -> u32 {
        let entry = &self.entries[id as usize];
        if entry.other == NONE {
            return entry.next;
        }
        let (tag, next) = self.paths[self.path(id)];
        if tag == id { next } else { entry.next }
    }

    /// The instruction that follows `id` if the expected one does not and a second one is known.
    #[inline]
    pub(crate) fn second(&self, id: u32) -> u32 {
        let entry = &self.entries[id as usize];
        if self.predict(id) == entry.next { entry.other } else { entry.next }
    }

    fn path(&self, id: u32) -> usize {
        (id.wrapping_mul(0x9e37_79b1) ^ self.history.wrapping_mul(0x85eb_ca6b)) as usize >> 8 & (PATHS - 1)
    }

    /// Notes that `next` followed `id`.
    #[inline]
    pub(crate) fn learn(&mut self, id: u32, next: u32) {
        let entry = &self.entries[id as usize];
        if entry.next == next && entry.other == NONE {
            return;
        }
        self.learn_branch(id, next);
    }

    fn learn_branch(&mut self, id: u32, next: u32) {
        let path = self.path(id);
        let entry = &mut self.entries[id as usize];
        if entry.next == NONE {
            entry.next = next;
            return;
        }
        if entry.next != next {
            entry.other = entry.next;
            entry.next = next;
        }
        self.paths[path] = (id, next);
        self.history = (self.history << 3 ^ next) & 0x3_ffff;
    }
}

/// Appends slots for the bits of `new` and copies those that `old` has; returns where they start.
fn widen<T: Copy + Default>(slots: &mut Vec<T>, start: u32, old: u16, new: u16) -> u32 {
    let begin = slots.len() as u32;
    let mut from = start as usize;
    for bit in super::registers::bits(new) {
        let known = old >> bit & 1 != 0;
        let slot = if known { slots[from] } else { T::default() };
        from += usize::from(known);
        slots.push(slot);
    }
    begin
}

/// The arithmetic flags and DF in seven bits; `None` when another flag differs from its usual value.
#[inline]
pub(crate) const fn flags_to_byte(rflags: u64) -> Option<u8> {
    if rflags & !FLAG_MASK != 0x202 {
        return None;
    }
    let low = rflags & 1 | (rflags >> 1 & 2) | (rflags >> 2 & 4) | (rflags >> 3 & 0x18);
    Some((low | (rflags >> 5 & 0x60)) as u8)
}

/// CF, PF, AF, ZF, SF, DF, OF.
const FLAG_MASK: u64 = 0b1100_1101_0101;

/// The inverse of [`flags_to_byte`].
#[inline]
pub(crate) const fn byte_to_flags(byte: u8) -> u64 {
    let byte = byte as u64;
    0x202 | byte & 1 | (byte & 2) << 1 | (byte & 4) << 2 | (byte & 0x18) << 3 | (byte & 0x60) << 5
}

/// Marks a flags byte that is followed by the whole of RFLAGS.
pub(crate) const WHOLE_FLAGS: u8 = 0x80;

/// Groups whose values go into the column of rare values.
pub(crate) const RARE: Groups = Groups::RFLAGS.complement();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_flags_return_from_their_byte() {
        for byte in 0..0x80u8 {
            assert_eq!(flags_to_byte(byte_to_flags(byte)), Some(byte));
        }
        assert_eq!(flags_to_byte(0x202 | 1 << 18), None);
    }
}
