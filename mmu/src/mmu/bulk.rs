//! Accesses to many bytes.

use super::Mmu;
use crate::context::{Context, Controls, Privilege};
use crate::fault::Fault;
use crate::paging;
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress, PAGE_SIZE};

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
    /// String instructions with a repeat prefix go from run to run; each is one access to the TLB.
    ///
    /// # Errors
    ///
    /// Those of an access of one byte.
    pub fn run(&mut self, address: LinearAddress, kind: AccessKind, wanted: u64) -> Result<Run, Fault> {
        let rest = PAGE_SIZE - address.page_offset() as u64;
        let length = wanted.clamp(1, rest);
        let host_physical = self.translate(address, kind, length as u16)?;
        self.ram.read::<u8>(host_physical)?;
        if kind == AccessKind::Write {
            self.ram.refuse_code(host_physical, length)?;
        }
        Ok(Run { host_physical, length })
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

/// The context with every access right.
fn unrestricted(context: &Context) -> Context {
    let controls = (context.controls | Controls::SMAP_OVERRIDE) - Controls::PROTECTION_KEYS;
    Context { privilege: Privilege::Supervisor, controls, ..*context }
}
