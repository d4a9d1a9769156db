#![allow(unsafe_code, reason = "guest memory is reached through raw pointers that the fast map shares")]
//! Guest RAM: one sparse range of host-physical addresses from 0.
//!
//! Host memory is taken only where the guest touches it. Nothing hands out a reference into RAM: bytes are copied
//! in and out, so that the host pointers in the [fast map](crate::fast) never alias a Rust reference. Like a
//! [`Cell`](core::cell::Cell), RAM is written through `&self` and cannot be shared between threads.
//!
//! There is one [`Ram`] for a memory and never a second: the processors of one machine, which take turns, hand it on
//! by value ([`Mmu::end_turn`](crate::Mmu::end_turn), [`Mmu::begin_turn`](crate::Mmu::begin_turn)). Who has it may
//! follow pointers into the memory, and nobody else.

mod backing;
mod code;

pub(crate) use backing::Backing;
pub(crate) use code::CodeMark;

use code::CodePages;
use core::{marker::PhantomData, ptr::NonNull};
use isa::address::{HostPhysicalAddress, PAGE_SIZE};
use isa::width::Scalar;
use std::sync::Arc;

/// Why RAM could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RamError {
    /// The size is 0, not a multiple of the page size, or more than 2^46 bytes.
    #[error("RAM of {bytes:#x} bytes: the size must be a multiple of 4096 between 4096 and 2^46")]
    Size {
        /// The size asked for.
        bytes: u64,
    },
    /// The host refused the address space.
    #[error("the host refused {bytes:#x} bytes of address space for RAM: {source}")]
    Host {
        /// The size asked for.
        bytes: u64,
        /// What the host said.
        source: std::io::Error,
    },
}

/// Why an access to RAM was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AccessError {
    /// Part of the access lies behind the end of RAM.
    #[error("{bytes} bytes at host-physical {address} are outside RAM")]
    Outside {
        /// Where the access starts.
        address: HostPhysicalAddress,
        /// How many bytes it covers.
        bytes: u64,
    },
    /// The access would write a page that holds decoded code.
    #[error("the page at host-physical {page} holds decoded code")]
    CodePage {
        /// The page.
        page: HostPhysicalAddress,
    },
}

/// The largest size of RAM, in bytes.
const MAXIMUM_BYTES: u64 = 1 << 46;

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
    base: NonNull<u8>,
    bytes: u64,
    code: CodePages,
    /// The last number that stands for a view of this memory.
    epochs: u64,
    /// RAM is written through `&self`.
    not_sync: PhantomData<core::cell::Cell<u8>>,
}

// SAFETY: `base` points into `backing`, which does not move. There is one `Ram` for each `Backing`, and beside it only
// fast maps use the memory, while the `Mmu` that they are in owns this `Ram`.
unsafe impl Send for Ram {}

impl Ram {
    /// Reserves `bytes` of zeroed RAM.
    ///
    /// # Errors
    ///
    /// [`RamError::Size`] when the size is no multiple of the page size, 0, or too large;
    /// [`RamError::Host`] when the host refuses the address space.
    pub fn new(bytes: u64) -> Result<Self, RamError> {
        if bytes == 0 || !bytes.is_multiple_of(PAGE_SIZE) || bytes > MAXIMUM_BYTES {
            return Err(RamError::Size { bytes });
        }
        let mut backing = Backing::new(bytes).map_err(|source| RamError::Host { bytes, source })?;
        let base = backing.base();
        Ok(Self {
            backing: Some(Arc::new(backing)),
            base,
            bytes,
            code: CodePages::new(bytes),
            epochs: 0,
            not_sync: PhantomData,
        })
    }

    /// No memory: every access is outside it.
    #[must_use]
    pub fn none() -> Self {
        let (backing, base, code) = (None, NonNull::dangling(), CodePages::default());
        Self { backing, base, bytes: 0, code, epochs: 0, not_sync: PhantomData }
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
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

    /// Writes a value.
    ///
    /// # Errors
    ///
    /// [`AccessError::Outside`]; [`AccessError::CodePage`] when the bytes are on a page that holds decoded code. In
    /// both cases nothing has been written.
    #[inline]
    pub fn write<W: Scalar>(&self, address: HostPhysicalAddress, value: W) -> Result<(), AccessError> {
        let pointer = self.pointer(address, W::BYTES as u64)?;
        self.refuse_code(address, W::BYTES as u64)?;
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
        self.refuse_code(address, bytes.len() as u64)?;
        // SAFETY: `pointer` checked the destination; `bytes` is a reference and so does not overlap it.
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
        self.refuse_code(to, bytes)?;
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
        let outside = AccessError::Outside { address: to, bytes: u64::MAX };
        let bytes = count.checked_mul(W::BYTES as u64).ok_or(outside)?;
        let pointer = self.pointer(to, bytes)?.cast::<W>();
        self.refuse_code(to, bytes)?;
        for index in 0..count as usize {
            // SAFETY: `pointer` checked `count` times `W::BYTES` bytes.
            unsafe { pointer.add(index).write_unaligned(value.to_le()) };
        }
        Ok(())
    }

    /// Whether decoded code of this page exists.
    #[inline]
    #[must_use]
    pub fn holds_code(&self, page: HostPhysicalAddress) -> bool {
        self.code.contains(page.page_number())
    }

    /// Records that decoded code of this page exists; says whether that is news.
    pub(crate) fn mark_code(&mut self, page: HostPhysicalAddress) -> CodeMark {
        self.code.insert(page.page_number())
    }

    /// Records that no decoded code of this page exists any more.
    pub fn unmark_code(&mut self, page: HostPhysicalAddress) {
        self.code.remove(page.page_number());
    }

    /// How often a page was marked as holding code that was not marked before.
    #[inline]
    pub(crate) const fn code_marks(&self) -> u64 {
        self.code.marks()
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

    /// Whether decoded code exists of the page behind a pointer of [`host_pointer`](Self::host_pointer).
    #[inline]
    pub(crate) fn holds_code_behind(&self, page: *mut u8) -> bool {
        self.code.contains(page.addr().wrapping_sub(self.base.addr().get()) as u64 / PAGE_SIZE)
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
        let last = address.add(bytes.saturating_sub(1)).page_number();
        match (address.page_number()..=last).find(|&page| self.code.contains(page)) {
            Some(page) => Err(AccessError::CodePage { page: HostPhysicalAddress(page * PAGE_SIZE) }),
            None => Ok(()),
        }
    }

    #[inline]
    fn pointer(&self, address: HostPhysicalAddress, bytes: u64) -> Result<*mut u8, AccessError> {
        match address.0.checked_add(bytes) {
            // SAFETY: the offset is at most `self.bytes`, the length of the mapping that `base` points to.
            Some(end) if end <= self.bytes => Ok(unsafe { self.base.as_ptr().add(address.0 as usize) }),
            _ => Err(AccessError::Outside { address, bytes }),
        }
    }
}

impl Default for Ram {
    /// [`Ram::none`].
    fn default() -> Self {
        Self::none()
    }
}

impl core::fmt::Debug for Ram {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ram").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
