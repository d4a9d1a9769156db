//! Accesses to many bytes.

use super::Mmu;
use super::observe::Access;
use crate::context::{Context, Controls, Privilege};
use crate::fast::without_repetition;
use crate::fault::Fault;
use crate::paging;
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress, PAGE_SIZE};
use isa::width::Scalar;

/// Consecutive bytes that one translation makes accessible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// Where the first byte is.
    pub host_physical: HostPhysicalAddress,
    /// How many bytes, at least 1.
    pub length: u64,
}

impl<const OBSERVED: bool> Mmu<OBSERVED> {
    /// The longest run of bytes from `address` on, up to `wanted` and to the end of the 4-KByte page, that may be
    /// read or written directly with the methods of [`Ram`](crate::Ram).
    ///
    /// Each run is one access to the TLB.
    ///
    /// # Errors
    ///
    /// Those of an access of one byte.
    pub fn run(&mut self, address: LinearAddress, kind: AccessKind, wanted: u64) -> Result<Run, Fault> {
        let length = wanted.clamp(1, rest_of_page(address));
        let translation = self.resolve(Access { kind, linear: address, bytes: length as u16 })?;
        let host_physical = translation.host(address);
        self.ram.read::<u8>(host_physical)?;
        if kind == AccessKind::Write {
            self.ram.refuse_code(host_physical, length)?;
        }
        self.fill(address, &translation);
        Ok(Run { host_physical, length })
    }

    /// Copies whole elements upward, as REP MOVS does, as far as one page of each side reaches and copying element by
    /// element does the same; returns the number of bytes. Each side is one access to the TLB.
    ///
    /// 0 asks for element by element, which also finds the fault if there is one.
    pub fn copy_run(&mut self, from: LinearAddress, to: LinearAddress, wanted: u64, element: u64) -> u64 {
        let length = wanted.min(rest_of_page(from)).min(rest_of_page(to));
        if !OBSERVED && length != 0 {
            let done = self.views.fast.copy(from, to, length, element);
            if done != 0 {
                return done;
            }
        }
        self.copy_run_slow(from, to, length, element).unwrap_or(0)
    }

    #[inline(never)]
    fn copy_run_slow(
        &mut self,
        from: LinearAddress,
        to: LinearAddress,
        length: u64,
        element: u64,
    ) -> Result<u64, Fault> {
        let source = self.run(from, AccessKind::Read, length)?.host_physical;
        let target = self.run(to, AccessKind::Write, length)?.host_physical;
        let bytes = without_repetition(source.0, target.0, length, element);
        self.ram.copy_within(source, target, bytes)?;
        Ok(bytes)
    }

    /// Repeats a value upward, as REP STOS does, as far as one page reaches; returns the number of bytes. It is one
    /// access to the TLB.
    ///
    /// 0 asks for element by element, which also finds the fault if there is one.
    pub fn fill_run<W: Scalar>(&mut self, to: LinearAddress, wanted: u64, value: W) -> u64 {
        let elements = wanted.min(rest_of_page(to)) / W::BYTES as u64;
        if !OBSERVED && elements != 0 && self.views.fast.repeat(to, value, elements).is_some() {
            return elements * W::BYTES as u64;
        }
        self.fill_run_slow(to, value, elements).unwrap_or(0)
    }

    #[inline(never)]
    fn fill_run_slow<W: Scalar>(&mut self, to: LinearAddress, value: W, elements: u64) -> Result<u64, Fault> {
        let bytes = elements * W::BYTES as u64;
        let target = self.run(to, AccessKind::Write, bytes)?.host_physical;
        self.ram.fill(target, value, elements)?;
        Ok(bytes)
    }

    /// Copies guest memory out, whatever its access rights; for loaders, debuggers and tests.
    ///
    /// The tables are read as they are now, past the TLB. No flag is set, nothing is counted.
    ///
    /// # Errors
    ///
    /// The fault of the first page that is not mapped or not in RAM; then `bytes` is unspecified.
    pub fn copy_out(&self, address: LinearAddress, bytes: &mut [u8]) -> Result<(), Fault> {
        let mut done = 0;
        while done < bytes.len() {
            let (host, length) = self.piece(address.add(done as u64), bytes.len() - done)?;
            self.ram.copy_out(host, &mut bytes[done..done + length])?;
            done += length;
        }
        Ok(())
    }

    /// Copies bytes into guest memory, whatever its access rights; for loaders, debuggers and tests.
    ///
    /// The tables are read as they are now, past the TLB. No flag is set, nothing is counted.
    ///
    /// # Errors
    ///
    /// The fault of the first page that is not mapped or not in RAM, or [`Fault::CodePage`]; then nothing has been
    /// written.
    pub fn copy_in(&mut self, address: LinearAddress, bytes: &[u8]) -> Result<(), Fault> {
        self.check_pieces(address, bytes.len())?;
        let mut done = 0;
        while done < bytes.len() {
            let (host, length) = self.piece(address.add(done as u64), bytes.len() - done)?;
            self.ram.copy_in(host, &bytes[done..done + length])?;
            done += length;
        }
        Ok(())
    }

    fn check_pieces(&self, address: LinearAddress, bytes: usize) -> Result<(), Fault> {
        let mut done = 0;
        while done < bytes {
            let (host, length) = self.piece(address.add(done as u64), bytes - done)?;
            self.ram.read::<u8>(host)?;
            self.ram.refuse_code(host, length as u64)?;
            done += length;
        }
        Ok(())
    }

    fn piece(&self, address: LinearAddress, wanted: usize) -> Result<(HostPhysicalAddress, usize), Fault> {
        let translation =
            paging::walk(&self.ram, &unrestricted(self.context()), address, AccessKind::Read, &mut ())?;
        let length = wanted.min(PAGE_SIZE as usize - address.page_offset());
        Ok((translation.translation.host(address), length))
    }
}

fn rest_of_page(address: LinearAddress) -> u64 {
    PAGE_SIZE - address.page_offset() as u64
}

/// The context with every access right.
fn unrestricted(context: &Context) -> Context {
    let controls = (context.controls | Controls::SMAP_OVERRIDE) - Controls::PROTECTION_KEYS;
    Context { privilege: Privilege::Supervisor, controls, ..*context }
}
