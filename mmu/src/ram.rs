#![allow(unsafe_code, reason = "guest memory is reached through raw pointers that the fast map shares")]
//! Guest RAM: sparse ranges of host-physical addresses, with holes between them.
//!
//! An access that is not in memory as a whole is refused with the first address that is not, for whoever knows the
//! devices there. Host memory is taken only where the guest touches it. Nothing hands out a reference into RAM: bytes
//! are copied in and out, so that the host pointers in the [fast map](crate::fast) never alias a Rust reference. Like
//! a [`Cell`](core::cell::Cell), RAM is written through `&self` and cannot be shared between threads.
//!
//! There is one [`Ram`] for a memory and never a second: the processors of one machine, which take turns, hand it on
//! by value ([`Mmu::end_turn`](crate::Mmu::end_turn), [`Mmu::begin_turn`](crate::Mmu::begin_turn)). Who has it may
//! follow pointers into the memory, and nobody else.

mod backing;
mod error;
mod guarded;
mod layout;

pub(crate) use backing::Backing;
pub use error::{AccessError, RamError};
pub(crate) use guarded::CodeMark;
pub use layout::{MemoryKind, MemoryRange};

use core::{marker::PhantomData, ptr::NonNull};
use guarded::{GuardedPages, Writing};
use isa::address::{HostPhysicalAddress, PAGE_SIZE};
use isa::width::Scalar;
use layout::{Extent, Extents};
use std::sync::Arc;

/// Behind which address there is no RAM.
const LIMIT: u64 = 1 << 46;

/// Guest RAM.
///
/// # Example
///
/// ```
/// use isa::address::HostPhysicalAddress;
/// let ram = mmu::Ram::new(1 << 36)?; // 64 GB of address space, nothing of it in use
/// ram.write(HostPhysicalAddress(0x1234), 0xdead_beef_u32)?;
/// assert_eq!(ram.read::<u16>(HostPhysicalAddress(0x1236))?, 0xdead);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Ram {
    /// `None` where there is no memory.
    backing: Option<Arc<Backing>>,
    /// Of host-physical address 0.
    base: NonNull<u8>,
    largest: Extent,
    extents: Extents,
    guarded: GuardedPages,
    /// The last number that stands for a view of this memory.
    epochs: u64,
    /// RAM is written through `&self`.
    not_sync: PhantomData<core::cell::Cell<u8>>,
}

// SAFETY: `base` points into `backing`, which does not move. There is one `Ram` for each `Backing`, and beside it only
// fast maps use the memory, while the `Mmu` that they are in owns this `Ram`.
unsafe impl Send for Ram {}

impl Ram {
    /// Reserves `bytes` of zeroed RAM from address 0 on.
    ///
    /// # Errors
    ///
    /// [`RamError::Size`] when the size is no multiple of the page size, 0, or too large;
    /// [`RamError::Host`] when the host refuses the address space.
    pub fn new(bytes: u64) -> Result<Self, RamError> {
        Self::with_ranges(&[MemoryRange::ram(HostPhysicalAddress(0), bytes)])
    }

    /// Reserves zeroed memory in some ranges, in any order. What is between them is no memory.
    ///
    /// # Errors
    ///
    /// [`RamError::Size`], also when there are no ranges; [`RamError::Overlap`]; [`RamError::Host`].
    ///
    /// # Example
    ///
    /// ```
    /// use isa::address::HostPhysicalAddress;
    /// use mmu::ram::{AccessError, MemoryRange, Ram};
    ///
    /// const FOUR_GIB: u64 = 1 << 32;
    /// let ram = Ram::with_ranges(&[
    ///     MemoryRange::ram(HostPhysicalAddress(0), 0xa_0000),
    ///     MemoryRange::ram(HostPhysicalAddress(0xc_0000), 0x3_0000),
    ///     MemoryRange::rom(HostPhysicalAddress(0xf_0000), 0x1_0000),
    ///     MemoryRange::ram(HostPhysicalAddress(0x10_0000), 0xbff0_0000),
    ///     MemoryRange::ram(HostPhysicalAddress(FOUR_GIB), 1 << 30),
    /// ])?;
    /// ram.write(HostPhysicalAddress(FOUR_GIB), 1_u8)?;
    /// let vga = AccessError::Outside { address: HostPhysicalAddress(0xa_0000) };
    /// assert_eq!(ram.read::<u32>(HostPhysicalAddress(0x9_fffe)), Err(vga));
    /// ram.write(HostPhysicalAddress(0xf_0000), 1_u8)?;
    /// assert_eq!(ram.read::<u8>(HostPhysicalAddress(0xf_0000))?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_ranges(ranges: &[MemoryRange]) -> Result<Self, RamError> {
        let extents = Extents::of(ranges, LIMIT)?;
        let (bytes, end) = (extents.bytes(), extents.end());
        let mut backing = Backing::new(bytes, end).map_err(|source| RamError::Host { bytes, source })?;
        let base = backing.base();
        Ok(Self {
            backing: Some(Arc::new(backing)),
            base,
            largest: extents.largest(),
            extents,
            guarded: GuardedPages::new(ranges, end),
            epochs: 0,
            not_sync: PhantomData,
        })
    }

    /// No memory: every access is outside it.
    #[must_use]
    pub fn none() -> Self {
        let extents = Extents::default();
        Self {
            backing: None,
            base: NonNull::dangling(),
            largest: extents.largest(),
            extents,
            guarded: GuardedPages::default(),
            epochs: 0,
            not_sync: PhantomData,
        }
    }

    /// Bytes of memory, without the holes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.extents.bytes()
    }

    /// The first address behind all memory.
    #[must_use]
    pub fn end(&self) -> HostPhysicalAddress {
        HostPhysicalAddress(self.extents.end())
    }

    /// Reads a value.
    ///
    /// # Errors
    ///
    /// [`AccessError::Outside`].
    #[inline]
    pub fn read<W: Scalar>(&self, address: HostPhysicalAddress) -> Result<W, AccessError> {
        let pointer = self.pointer(address, W::BYTES as u64)?;
        // SAFETY: `pointer` checked that all bytes are in the mapping, and every bit pattern is a `W`.
        Ok(W::from_le(unsafe { pointer.cast::<W>().read_unaligned() }))
    }

    /// Writes a value. Bytes in read-only memory stay as they are, here and in all other writes.
    ///
    /// # Errors
    ///
    /// [`AccessError::Outside`]; [`AccessError::CodePage`] when bytes are on a page that can be written and holds
    /// decoded code. In both cases nothing has been written.
    #[inline]
    pub fn write<W: Scalar>(&self, address: HostPhysicalAddress, value: W) -> Result<(), AccessError> {
        let pointer = self.pointer(address, W::BYTES as u64)?;
        if self.is_guarded(address, W::BYTES as u64) {
            return self.write_guarded(address, &value.to_bytes()[..W::BYTES]);
        }
        // SAFETY: `pointer` checked that all bytes are in the mapping; no reference into it exists.
        unsafe { pointer.cast::<W>().write_unaligned(value.to_le()) };
        Ok(())
    }

    /// Copies RAM to `bytes`.
    ///
    /// # Errors
    ///
    /// [`AccessError::Outside`]; then nothing has been copied.
    pub fn copy_out(&self, address: HostPhysicalAddress, bytes: &mut [u8]) -> Result<(), AccessError> {
        let pointer = self.pointer(address, bytes.len() as u64)?;
        // SAFETY: `pointer` checked the source; `bytes` is a reference and so does not overlap it.
        unsafe { pointer.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    /// Copies `bytes` to RAM.
    ///
    /// # Errors
    ///
    /// [`AccessError::Outside`], [`AccessError::CodePage`]; then nothing has been written.
    pub fn copy_in(&self, address: HostPhysicalAddress, bytes: &[u8]) -> Result<(), AccessError> {
        let pointer = self.pointer(address, bytes.len() as u64)?;
        if self.is_guarded(address, bytes.len() as u64) {
            return self.write_guarded(address, bytes);
        }
        // SAFETY: `pointer` checked the destination; `bytes` is a reference and so does not overlap it.
        unsafe { pointer.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    /// Copies `bytes` to memory, also to memory that is read-only: what its maker does to a ROM.
    ///
    /// # Errors
    ///
    /// [`AccessError::Outside`], and [`AccessError::CodePage`], also of read-only pages; then nothing has been
    /// written.
    pub fn program(&self, address: HostPhysicalAddress, bytes: &[u8]) -> Result<(), AccessError> {
        let pointer = self.pointer(address, bytes.len() as u64)?;
        let code = pages(address, bytes.len() as u64).find(|&page| self.guarded.holds_code(page));
        if let Some(page) = code {
            return Err(AccessError::CodePage { page: HostPhysicalAddress(page * PAGE_SIZE) });
        }
        // SAFETY: as in `copy_in`.
        unsafe { pointer.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    /// Copies within RAM as if through a buffer: the ranges may overlap.
    ///
    /// # Errors
    ///
    /// [`AccessError::Outside`], [`AccessError::CodePage`]; then nothing has been written.
    pub fn copy_within(
        &self,
        from: HostPhysicalAddress,
        to: HostPhysicalAddress,
        bytes: u64,
    ) -> Result<(), AccessError> {
        let source = self.pointer(from, bytes)?;
        let destination = self.pointer(to, bytes)?;
        if self.is_guarded(to, bytes) {
            return self.copy_to_guarded(from, to, bytes);
        }
        // SAFETY: `pointer` checked both ranges; `copy_to` allows overlap.
        unsafe { source.copy_to(destination, bytes as usize) };
        Ok(())
    }

    /// Writes `value` to `count` consecutive places.
    ///
    /// # Errors
    ///
    /// [`AccessError::Outside`], [`AccessError::CodePage`]; then nothing has been written.
    pub fn fill<W: Scalar>(&self, to: HostPhysicalAddress, value: W, count: u64) -> Result<(), AccessError> {
        let bytes = count.saturating_mul(W::BYTES as u64);
        let pointer = self.pointer(to, bytes)?.cast::<W>();
        if self.is_guarded(to, bytes) {
            self.refuse_code(to, bytes)?;
            return (0..count).try_for_each(|index| self.write(to.add(index * W::BYTES as u64), value));
        }
        // SAFETY: `pointer` checked `count` times `W::BYTES` bytes.
        unsafe { crate::fast::repeat(pointer, value, count as usize) };
        Ok(())
    }

    /// Whether decoded code of this page exists.
    #[inline]
    #[must_use]
    pub fn holds_code(&self, page: HostPhysicalAddress) -> bool {
        self.guarded.holds_code(page.page_number())
    }

    /// Records that decoded code of this page exists; says whether that is news.
    pub(crate) fn mark_code(&mut self, page: HostPhysicalAddress) -> CodeMark {
        self.guarded.mark_code(page.page_number())
    }

    /// Records that no decoded code of this page exists any more.
    pub fn unmark_code(&mut self, page: HostPhysicalAddress) {
        self.guarded.unmark_code(page.page_number());
    }

    /// How often a page was marked as holding code that was not marked before.
    #[inline]
    pub(crate) const fn code_marks(&self) -> u64 {
        self.guarded.marks()
    }

    /// The last number that stands for a view of this memory; each is given out once.
    #[inline]
    pub(crate) const fn epochs(&mut self) -> &mut u64 {
        &mut self.epochs
    }

    /// A share in the memory, which lives as long; `None` where there is no memory.
    pub(crate) fn keep_alive(&self) -> Option<Arc<Backing>> {
        self.backing.clone()
    }

    /// Whether this memory is the one behind this RAM.
    #[inline]
    pub(crate) fn is_behind(&self, backing: Option<&Arc<Backing>>) -> bool {
        match (&self.backing, backing) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        }
    }

    /// Whether writes to a page may go past [`write`](Self::write).
    #[inline]
    pub(crate) fn is_plain(&self, page: HostPhysicalAddress) -> bool {
        !self.guarded.contains(page.page_number())
    }

    /// The same of the page behind a pointer of [`host_pointer`](Self::host_pointer).
    #[inline]
    pub(crate) fn is_plain_behind(&self, page: *mut u8) -> bool {
        !self.guarded.contains(page.addr().wrapping_sub(self.base.addr().get()) as u64 / PAGE_SIZE)
    }

    /// A pointer to the page that holds `address`, valid for reads and writes of the page while the
    /// memory lives.
    #[inline]
    pub(crate) fn host_pointer(&self, address: HostPhysicalAddress) -> Option<NonNull<u8>> {
        let pointer = self.pointer(address.page(), PAGE_SIZE).ok()?;
        NonNull::new(pointer)
    }

    /// The error of a write to `bytes` bytes at `address` of which some are on a code page.
    #[inline]
    pub(crate) fn refuse_code(&self, address: HostPhysicalAddress, bytes: u64) -> Result<(), AccessError> {
        if self.is_guarded(address, bytes) { self.refuse_guarded(address, bytes) } else { Ok(()) }
    }

    #[cold]
    fn refuse_guarded(&self, address: HostPhysicalAddress, bytes: u64) -> Result<(), AccessError> {
        match pages(address, bytes).find(|&page| self.guarded.writing(page) == Writing::Refused) {
            Some(page) => Err(AccessError::CodePage { page: HostPhysicalAddress(page * PAGE_SIZE) }),
            None => Ok(()),
        }
    }

    #[inline]
    fn is_guarded(&self, address: HostPhysicalAddress, bytes: u64) -> bool {
        pages(address, bytes).any(|page| self.guarded.contains(page))
    }

    /// Writes to the pages that can be written. All bytes are in memory.
    #[cold]
    fn write_guarded(&self, address: HostPhysicalAddress, bytes: &[u8]) -> Result<(), AccessError> {
        self.refuse_guarded(address, bytes.len() as u64)?;
        let mut done = 0;
        while done < bytes.len() {
            let at = address.add(done as u64);
            let length = (bytes.len() - done).min(PAGE_SIZE as usize - at.page_offset());
            if self.guarded.writing(at.page_number()) == Writing::Allowed {
                self.program(at, &bytes[done..done + length])?;
            }
            done += length;
        }
        Ok(())
    }

    #[cold]
    fn copy_to_guarded(
        &self,
        from: HostPhysicalAddress,
        to: HostPhysicalAddress,
        bytes: u64,
    ) -> Result<(), AccessError> {
        self.refuse_guarded(to, bytes)?;
        let mut buffer = vec![0; bytes as usize];
        self.copy_out(from, &mut buffer)?;
        self.write_guarded(to, &buffer)
    }

    #[inline]
    fn pointer(&self, address: HostPhysicalAddress, bytes: u64) -> Result<*mut u8, AccessError> {
        if !self.largest.contains(address.0, bytes) {
            self.check(address, bytes)?;
        }
        // SAFETY: the bytes are in an extent, and `base` points to a mapping that reaches to the end of the last.
        Ok(unsafe { self.base.as_ptr().add(address.0 as usize) })
    }

    #[cold]
    fn check(&self, address: HostPhysicalAddress, bytes: u64) -> Result<(), AccessError> {
        self.extents.check(address, bytes).map_err(|address| AccessError::Outside { address })
    }
}

/// The pages that bytes are on; that of the address when there are no bytes.
#[inline(always)]
fn pages(address: HostPhysicalAddress, bytes: u64) -> core::ops::RangeInclusive<u64> {
    address.page_number()..=address.add(bytes.saturating_sub(1)).page_number()
}

impl Default for Ram {
    /// [`Ram::none`].
    fn default() -> Self {
        Self::none()
    }
}

impl core::fmt::Debug for Ram {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ram").field("extents", &self.extents).finish_non_exhaustive()
    }
}
