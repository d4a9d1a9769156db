#![allow(unsafe_code, reason = "the interpreter that checks unsafe code has no anonymous mappings")]
//! The host memory behind RAM.

use core::ptr::NonNull;

/// An anonymous mapping without reserved host memory, also of the holes, which nobody touches.
#[cfg(not(miri))]
pub(crate) struct Backing(memmap2::MmapMut);

/// RAM up to this size is expected to be used densely, so that large host pages cost little memory; they save most
/// of the host's own TLB misses. Larger RAM stays sparse.
#[cfg(not(miri))]
const DENSE: u64 = 4 << 30;

#[cfg(not(miri))]
impl Backing {
    /// A mapping from address 0 to `end`, of which `bytes` are memory.
    pub(super) fn new(bytes: u64, end: u64) -> std::io::Result<Self> {
        let length = usize::try_from(end).map_err(std::io::Error::other)?;
        let mapping = memmap2::MmapOptions::new().len(length).no_reserve_swap().map_anon()?;
        if bytes <= DENSE {
            // Advice only: a host that has no large pages runs slower, not differently.
            let _ = mapping.advise(memmap2::Advice::HugePage);
        }
        Ok(Self(mapping))
    }

    pub(super) fn base(&mut self) -> NonNull<u8> {
        NonNull::from(self.0.as_mut()).cast()
    }
}

/// Zeroed heap memory: the interpreter that checks `unsafe` code has no anonymous mappings without reserve.
#[cfg(miri)]
pub(crate) struct Backing(NonNull<u8>, core::alloc::Layout);

#[cfg(miri)]
impl Backing {
    pub(super) fn new(_: u64, end: u64) -> std::io::Result<Self> {
        let layout = core::alloc::Layout::from_size_align(end as usize, isa::address::PAGE_SIZE as usize)
            .map_err(std::io::Error::other)?;
        // SAFETY: the size is not 0, which `Extents::of` has checked.
        let pointer = unsafe { std::alloc::alloc_zeroed(layout) };
        NonNull::new(pointer)
            .map(|pointer| Self(pointer, layout))
            .ok_or(std::io::ErrorKind::OutOfMemory.into())
    }

    pub(super) fn base(&mut self) -> NonNull<u8> {
        self.0
    }
}

#[cfg(miri)]
impl Drop for Backing {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { std::alloc::dealloc(self.0.as_ptr(), self.1) };
    }
}
