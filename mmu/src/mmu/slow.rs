//! Everything that the fast map does not answer.

use super::Mmu;
use super::noting::Noting;
use super::observe::Access;
use super::views::Epochs;
use crate::fast::Allowed;
use crate::fault::Fault;
use crate::paging;
use crate::translation::Translation;
use crate::translator::Hit;
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress, PAGE_SIZE};
use isa::width::Scalar;

impl<const OBSERVED: bool> Mmu<OBSERVED> {
    /// Translates an address as an access does, flags, TLB and report included, without touching data.
    ///
    /// `bytes`, which are reported, must be in one page.
    ///
    /// # Errors
    ///
    /// Any [`Fault`] but those about data: [`Fault::CodePage`] and [`Fault::OutsideRam`] are for paging structures.
    pub fn translate(
        &mut self,
        address: LinearAddress,
        kind: AccessKind,
        bytes: u16,
    ) -> Result<HostPhysicalAddress, Fault> {
        Ok(self.resolve(Access { kind, linear: address, bytes })?.host(address))
    }

    /// Translates an address without any effect: no flag is set, nothing is cached, counted or reported.
    ///
    /// # Errors
    ///
    /// Those of the access.
    pub fn probe(&self, address: LinearAddress, kind: AccessKind) -> Result<HostPhysicalAddress, Fault> {
        let context = self.context();
        if !context.mode.is_canonical(address) {
            return Err(Fault::NonCanonical { address });
        }
        let translation = match self.tlb().peek(address, kind, self.translator.requirement(kind)) {
            Some(translation) => translation,
            None => paging::walk(&self.ram, context, address, kind, &mut ())?.translation,
        };
        Ok(translation.host(address))
    }

    #[inline(never)]
    pub(super) fn read_slow<W: Scalar>(&mut self, address: LinearAddress) -> Result<W, Fault> {
        if crosses::<W>(address) {
            return self.read_crossing(address);
        }
        let translation = self.resolve(access::<W>(address, AccessKind::Read))?;
        let value = self.ram.read(translation.host(address))?;
        self.fill(address, &translation);
        Ok(value)
    }

    #[inline(never)]
    pub(super) fn write_slow<W: Scalar>(&mut self, address: LinearAddress, value: W) -> Result<(), Fault> {
        if crosses::<W>(address) {
            return self.write_crossing(address, value);
        }
        let translation = self.resolve(access::<W>(address, AccessKind::Write))?;
        self.ram.write(translation.host(address), value)?;
        self.fill(address, &translation);
        Ok(())
    }

    #[inline(never)]
    pub(super) fn modify_slow<W: Scalar>(
        &mut self,
        address: LinearAddress,
        change: impl FnOnce(W) -> W,
    ) -> Result<W, Fault> {
        if crosses::<W>(address) {
            return self.modify_crossing(address, change);
        }
        let translation = self.resolve(access::<W>(address, AccessKind::Write))?;
        let host = translation.host(address);
        let old = self.ram.read(host)?;
        self.ram.refuse_code(host, W::BYTES as u64)?;
        self.ram.write(host, change(old))?;
        self.fill(address, &translation);
        Ok(old)
    }

    #[cold]
    fn read_crossing<W: Scalar>(&mut self, address: LinearAddress) -> Result<W, Fault> {
        let parts = self.resolve_crossing::<W>(address, AccessKind::Read)?;
        self.read_parts(parts)
    }

    #[cold]
    fn write_crossing<W: Scalar>(&mut self, address: LinearAddress, value: W) -> Result<(), Fault> {
        let parts = self.resolve_crossing::<W>(address, AccessKind::Write)?;
        self.write_parts(parts, value)
    }

    #[cold]
    fn modify_crossing<W: Scalar>(
        &mut self,
        address: LinearAddress,
        change: impl FnOnce(W) -> W,
    ) -> Result<W, Fault> {
        let parts = self.resolve_crossing::<W>(address, AccessKind::Write)?;
        let old = self.read_parts(parts)?;
        parts.iter().try_for_each(|part| self.ram.refuse_code(part.host, part.bytes as u64))?;
        self.write_parts(parts, change(old))?;
        Ok(old)
    }

    fn read_parts<W: Scalar>(&self, [first, second]: [Part; 2]) -> Result<W, Fault> {
        let mut bytes = [0; 16];
        self.ram.copy_out(first.host, &mut bytes[..first.bytes])?;
        self.ram.copy_out(second.host, &mut bytes[first.bytes..W::BYTES])?;
        Ok(W::from_bytes(bytes))
    }

    fn write_parts<W: Scalar>(&self, [first, second]: [Part; 2], value: W) -> Result<(), Fault> {
        let bytes = value.to_bytes();
        for part in [first, second] {
            self.ram.read::<u8>(part.host)?;
            self.ram.refuse_code(part.host, part.bytes as u64)?;
        }
        self.ram.copy_in(first.host, &bytes[..first.bytes])?;
        self.ram.copy_in(second.host, &bytes[first.bytes..W::BYTES])?;
        Ok(())
    }

    /// Translates both pages of an access. No flag is set unless both are permitted.
    fn resolve_crossing<W: Scalar>(
        &mut self,
        address: LinearAddress,
        kind: AccessKind,
    ) -> Result<[Part; 2], Fault> {
        let bytes = PAGE_SIZE as usize - address.page_offset();
        let rest = W::BYTES - bytes;
        let next = address.add(bytes as u64);
        let first = Access { kind, linear: address, bytes: bytes as u16 };
        let second = Access { kind, linear: next, bytes: rest as u16 };
        for access in [first, second] {
            if self.probe(access.linear, kind).is_err() {
                // The fault once more, now with its effects on the TLB and its report.
                self.resolve(access)?;
            }
        }
        let host = self.resolve(first)?.host(address);
        let next_host = self.resolve(second)?.host(next);
        Ok([Part { host, bytes }, Part { host: next_host, bytes: rest }])
    }

    #[inline(always)]
    pub(super) fn resolve(&mut self, access: Access) -> Result<Translation, Fault> {
        if !OBSERVED && self.noting == Noting::On {
            self.note(access);
        }
        let Self { ram, translator, views, observations, .. } = self;
        let Access { kind, linear, .. } = access;
        if !OBSERVED {
            let found = translator.resolve::<false, _, _>(ram, linear, kind, &mut (), views)?.translation;
            if kind == AccessKind::Execute {
                views.fetches.note(linear, found.guest_size);
            }
            return Ok(found);
        }
        if let Some(&translation) = translator.hinted(linear, kind) {
            observations.hit(Hit::L1, access, translation.host(linear));
            return Ok(translation);
        }
        let start = observations.mark();
        let found = translator.resolve::<true, _, _>(ram, linear, kind, observations, &mut Epochs(views));
        observations.report(access, &found, start);
        Ok(found?.translation)
    }

    #[inline]
    pub(super) fn fill(&mut self, address: LinearAddress, translation: &Translation) {
        if OBSERVED || self.noting == Noting::On {
            return;
        }
        let host = translation.host(address);
        let view = &self.views.view;
        if view.write.allows(translation.rights) && self.ram.is_plain(host) {
            self.views.fast.fill(&self.ram, address, host, Allowed::ReadWrite);
        } else if view.read.allows(translation.rights) {
            self.views.fast.fill(&self.ram, address, host, Allowed::Read);
        }
    }
}

/// One page's part of an access.
#[derive(Clone, Copy)]
struct Part {
    host: HostPhysicalAddress,
    bytes: usize,
}

const fn access<W: Scalar>(linear: LinearAddress, kind: AccessKind) -> Access {
    Access { kind, linear, bytes: W::BYTES as u16 }
}

#[inline(always)]
const fn crosses<W: Scalar>(address: LinearAddress) -> bool {
    address.page_offset() + W::BYTES > PAGE_SIZE as usize
}
