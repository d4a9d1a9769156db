#![allow(unsafe_code, reason = "a hit is one compare and one access through a host pointer")]
//! The fast map: linear page to host pointer, direct-mapped.
//!
//! An access indexes by the page of its first byte and compares with the page of its last byte: one compare decides
//! hit, page and page crossing at once. Reads and writes have tags of their own, so that a page which may be read but
//! not written, or whose dirty flag is not set, or that holds decoded code, hits for reads only.
//!
//! The map holds for one *view*: one TLB tag and one set of access rights. Its owner empties or swaps it when either
//! changes, and drops what the TLB drops.

use crate::ram::{Backing, Ram};
use crate::translation::PageSize;
use core::ptr::NonNull;
use isa::address::{HostPhysicalAddress, LinearAddress, PAGE_SIZE};
use isa::width::Scalar;
use std::sync::Arc;

/// Pages that the map can hold: 128 MByte. Memory of the host is used where it has held some.
pub const SLOTS: usize = 1 << 15;

/// The tag of no page.
const EMPTY: u64 = 0;

/// The tag of a page: its last address.
#[inline(always)]
const fn tag(address: LinearAddress) -> u64 {
    address.0 | (PAGE_SIZE - 1)
}

#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Slot {
    /// The tag of the linear page that may be read.
    read: u64,
    /// The tag of the linear page that may be written.
    write: u64,
    /// The host pointer of the page, less the linear page: adding the linear address gives the byte.
    offset: *mut u8,
    /// Whether the index is on the list of filled slots.
    listed: Listed,
}

#[repr(u64)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    No = 0,
    Yes = 1,
}

impl Slot {
    /// All bytes are 0.
    const EMPTY: Self = Self { read: EMPTY, write: EMPTY, offset: core::ptr::null_mut(), listed: Listed::No };

    /// The tag of the page in the slot, if there is one.
    const fn tag(&self) -> u64 {
        self.read | self.write
    }

    const fn forget(&mut self) {
        self.read = EMPTY;
        self.write = EMPTY;
    }

    /// The host pointer of the page that may be written.
    fn written(&self) -> *mut u8 {
        self.offset.wrapping_add((self.write - (PAGE_SIZE - 1)) as usize)
    }
}

/// Hashes of pages of the host that may be written through the map.
struct Written(Box<[u64; 512]>);

impl Written {
    fn bit(page: *mut u8) -> usize {
        ((page.addr() as u64 / PAGE_SIZE).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 49) as usize
    }

    fn insert(&mut self, page: *mut u8) {
        let bit = Self::bit(page);
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    fn may_hold(&self, page: *mut u8) -> bool {
        let bit = Self::bit(page);
        self.0[bit / 64] >> (bit % 64) & 1 != 0
    }
}

/// What a page in the map may be used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Allowed {
    /// Reads.
    Read,
    /// Reads and writes.
    ReadWrite,
}

/// The map of one view.
pub struct FastMap {
    slots: Box<[Slot; SLOTS]>,
    /// Indexes of the slots that may not be empty, each once.
    filled: Vec<u16>,
    written: Written,
    /// The memory that the pointers lead into.
    ram: Option<Arc<Backing>>,
}

// SAFETY: only the map that answers accesses follows its pointers. Its `Mmu` has an empty map answer while it does not
// own the RAM that the pointers of the others lead into, and there is one `Ram` for that: where the `Mmu` is, or nowhere.
unsafe impl Send for FastMap {}

impl Default for FastMap {
    fn default() -> Self {
        // SAFETY: 0 is a value of every field of a slot.
        let slots = unsafe { Box::<[Slot; SLOTS]>::new_zeroed().assume_init() };
        Self { slots, filled: Vec::new(), written: Written(Box::new([0; 512])), ram: None }
    }
}

impl FastMap {
    /// The value at `address`, if its page is in the map.
    #[inline(always)]
    #[must_use]
    pub fn read<W: Scalar>(&self, address: LinearAddress) -> Option<W> {
        let slot = self.slot(address);
        if slot.read != last_tag::<W>(address) {
            return None;
        }
        // SAFETY: the tag equals the page of the last byte, and the slot was chosen by the page of the first, which
        // maps to another slot when it differs: all bytes are in the one page whose pointer `fill` found in RAM, and
        // `self.ram` keeps that memory alive. No reference into it exists.
        Some(W::from_le(unsafe { pointer::<W>(slot, address).read_unaligned() }))
    }

    /// Writes a value, if its page is in the map for writes; says whether it did.
    #[inline(always)]
    pub fn write<W: Scalar>(&mut self, address: LinearAddress, value: W) -> Option<()> {
        let slot = self.slot(address);
        if slot.write != last_tag::<W>(address) {
            return None;
        }
        // SAFETY: as in `read`; the write tag was set by `fill` for a page that may be written.
        unsafe { pointer::<W>(slot, address).write_unaligned(value.to_le()) };
        Some(())
    }

    /// Replaces the value at `address` by `change` of it and returns the old one, if its page is in the map for
    /// writes.
    #[inline(always)]
    pub fn modify<W: Scalar, F: FnOnce(W) -> W>(
        &mut self,
        address: LinearAddress,
        change: F,
    ) -> Result<W, F> {
        let slot = self.slot(address);
        if slot.write != last_tag::<W>(address) {
            return Err(change);
        }
        let pointer = pointer::<W>(slot, address);
        // SAFETY: as in `write`; a page that may be written may be read.
        let old = W::from_le(unsafe { pointer.read_unaligned() });
        let new = change(old).to_le();
        // SAFETY: as above.
        unsafe { pointer.write_unaligned(new) };
        Ok(old)
    }

    /// Copies bytes upward, of one page to another or the same, as copying element by element would, as far as that can
    /// be done at once; returns how many. It copies none unless the first page is in the map for reads and the second for
    /// writes.
    pub(crate) fn copy(&mut self, from: LinearAddress, to: LinearAddress, bytes: u64, element: u64) -> u64 {
        let (source, target) = (self.slot(from), self.slot(to));
        let last = bytes.wrapping_sub(1);
        if source.read != tag(from.add(last)) || target.write != tag(to.add(last)) {
            return 0;
        }
        let (source, target) = (pointer::<u8>(source, from), pointer::<u8>(target, to));
        let bytes = without_repetition(source.addr() as u64, target.addr() as u64, bytes, element);
        // SAFETY: as in `read` and `write`: the tags equal the pages of the last bytes. `copy_to` allows overlap.
        unsafe { source.copy_to(target, bytes as usize) };
        bytes
    }

    /// Writes `value` to `count` consecutive places in one page, if it is in the map for writes; says whether it did.
    pub(crate) fn repeat<W: Scalar>(&mut self, to: LinearAddress, value: W, count: u64) -> Option<()> {
        let slot = self.slot(to);
        if slot.write != tag(to.add((count * W::BYTES as u64).wrapping_sub(1))) {
            return None;
        }
        // SAFETY: as in `write`: the tag equals the page of the last byte.
        unsafe { repeat(pointer::<W>(slot, to), value, count as usize) };
        Some(())
    }

    /// Whether an access of one byte would hit.
    #[must_use]
    pub fn holds(&self, address: LinearAddress, wanted: Allowed) -> bool {
        let slot = self.slot(address);
        let held = match wanted {
            Allowed::Read => slot.read,
            Allowed::ReadWrite => slot.write,
        };
        held == tag(address)
    }

    /// Puts the page of `address`, which is at `host` in `ram`, into the map, unless it is outside RAM.
    pub(crate) fn fill(
        &mut self,
        ram: &Ram,
        address: LinearAddress,
        host: HostPhysicalAddress,
        allowed: Allowed,
    ) {
        let Some(host) = ram.host_pointer(host) else { return };
        self.keep(ram);
        let index = index(address);
        if self.slots[index].listed == Listed::No {
            self.filled.push(index as u16);
        }
        let mut write = EMPTY;
        if allowed == Allowed::ReadWrite {
            write = tag(address);
            self.written.insert(host.as_ptr());
        }
        let offset = host.as_ptr().wrapping_sub(address.page().0 as usize);
        self.slots[index] = Slot { read: tag(address), write, offset, listed: Listed::Yes };
    }

    /// Keeps the memory alive that the pointers will lead to.
    fn keep(&mut self, ram: &Ram) {
        if !ram.is_behind(self.ram.as_ref()) {
            self.clear();
            self.ram = ram.keep_alive();
        }
    }

    /// Empties the map.
    pub(crate) fn clear(&mut self) {
        if self.filled.is_empty() {
            return;
        }
        for index in self.filled.drain(..) {
            self.slots[usize::from(index)] = Slot::EMPTY;
        }
        self.written.0.fill(0);
    }

    /// Whether a part of a page may be in the map.
    #[inline]
    pub(crate) fn may_hold(&self, address: LinearAddress, size: PageSize) -> bool {
        size != PageSize::Size4K || self.slot(address).tag() == tag(address)
    }

    /// Drops the pages of a larger page.
    pub(crate) fn forget(&mut self, address: LinearAddress, size: PageSize) {
        if size == PageSize::Size4K {
            let slot = &mut self.slots[index(address)];
            if slot.tag() == tag(address) {
                slot.forget();
            }
            return;
        }
        for &index in &self.filled {
            let slot = &mut self.slots[usize::from(index)];
            if (slot.tag() ^ address.0) & !size.offset_mask() == 0 {
                slot.forget();
            }
        }
    }

    /// Makes the page behind a host pointer miss for writes, under every linear address.
    pub(crate) fn forbid_writes(&mut self, host: NonNull<u8>) {
        if !self.written.may_hold(host.as_ptr()) {
            return;
        }
        for &index in &self.filled {
            let slot = &mut self.slots[usize::from(index)];
            if slot.write != EMPTY && slot.written() == host.as_ptr() {
                slot.write = EMPTY;
            }
        }
    }

    /// Makes the pages that are not plain memory any more miss for writes. The map is of this RAM.
    pub(crate) fn forbid_guarded_writes(&mut self, ram: &Ram) {
        for &index in &self.filled {
            let slot = &mut self.slots[usize::from(index)];
            if slot.write != EMPTY && !ram.is_plain_behind(slot.written()) {
                slot.write = EMPTY;
            }
        }
    }

    /// The pages in the map.
    pub fn pages(&self) -> impl Iterator<Item = (LinearAddress, Allowed)> + '_ {
        self.filled.iter().filter_map(|&index| {
            let slot = &self.slots[usize::from(index)];
            let allowed = if slot.write == EMPTY { Allowed::Read } else { Allowed::ReadWrite };
            (slot.tag() != EMPTY).then_some((LinearAddress(slot.tag()).page(), allowed))
        })
    }

    #[inline(always)]
    fn slot(&self, address: LinearAddress) -> &Slot {
        &self.slots[index(address)]
    }
}

impl core::fmt::Debug for FastMap {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_map().entries(self.pages()).finish()
    }
}

#[inline(always)]
const fn index(address: LinearAddress) -> usize {
    (address.0 / PAGE_SIZE) as usize % SLOTS
}

/// How many of `bytes` bytes can be copied upward at once: what is read must not have been written by the same copy, since
/// copying element by element repeats what is in front of the target.
pub(crate) const fn without_repetition(from: u64, to: u64, bytes: u64, element: u64) -> u64 {
    let distance = to.wrapping_sub(from);
    let bytes = if distance == 0 || bytes < distance { bytes } else { distance };
    bytes - bytes % element
}

/// Writes a value to consecutive places.
///
/// # Safety
///
/// All of them must be valid for writes.
pub(crate) unsafe fn repeat<W: Scalar>(to: *mut W, value: W, count: usize) {
    let bytes = value.to_bytes();
    if bytes[1..W::BYTES].iter().all(|&byte| byte == bytes[0]) {
        // SAFETY: the caller's.
        return unsafe { to.cast::<u8>().write_bytes(bytes[0], count * W::BYTES) };
    }
    for index in 0..count {
        // SAFETY: the caller's.
        unsafe { to.add(index).write_unaligned(value.to_le()) };
    }
}

/// The tag of the page of the last byte of an access.
#[inline(always)]
const fn last_tag<W: Scalar>(address: LinearAddress) -> u64 {
    tag(LinearAddress(address.0.wrapping_add(W::BYTES as u64 - 1)))
}

#[inline(always)]
fn pointer<W>(slot: &Slot, address: LinearAddress) -> *mut W {
    slot.offset.wrapping_add(address.0 as usize).cast()
}
