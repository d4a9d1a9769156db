//! Accesses that RAM does not answer: devices, and accesses of which a part is RAM.

use super::{Outside, Processor};
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress};
use isa::cpu::Stopped;
use isa::state::State;
use isa::width::Scalar;
use mmu::Fault;

/// The most bytes that a device is asked for at once.
const WIDEST: usize = 8;

impl<const OBSERVED: bool, O: Outside> Processor<OBSERVED, O> {
    /// Reads what RAM did not give.
    #[cold]
    pub(super) fn read_elsewhere<S: Scalar>(
        &mut self,
        at: LinearAddress,
        fault: Fault,
    ) -> Result<S, Stopped> {
        let Fault::OutsideRam { .. } = fault else { return Err(self.refused(fault)) };
        let mut bytes = [0; 16];
        for piece in pieces::<S>(at) {
            let from = self.place(piece.at, AccessKind::Read, piece.bytes)?;
            let part = &mut bytes[piece.first..piece.first + piece.bytes];
            if self.memory.ram().copy_out(from, part).is_err() {
                let Some(value) = self.outside.device_read(&mut self.state, from, piece.bytes) else {
                    return Err(self.refused(fault));
                };
                part.copy_from_slice(&value.to_le_bytes()[..piece.bytes]);
            }
        }
        Ok(S::from_le_slice(&bytes[..S::BYTES]))
    }

    /// Writes what RAM did not take.
    #[cold]
    pub(super) fn write_elsewhere<S: Scalar>(
        &mut self,
        at: LinearAddress,
        value: S,
        fault: Fault,
    ) -> Result<(), Stopped> {
        let Fault::OutsideRam { .. } = fault else { return Err(self.refused(fault)) };
        let mut bytes = [0; 16];
        value.to_le_slice(&mut bytes[..S::BYTES]);
        for piece in pieces::<S>(at) {
            self.place(piece.at, AccessKind::Write, piece.bytes)?;
        }
        for piece in pieces::<S>(at) {
            let to = self.place(piece.at, AccessKind::Write, piece.bytes)?;
            self.put(to, &bytes[piece.first..piece.first + piece.bytes], fault)?;
        }
        Ok(())
    }

    /// Replaces what RAM did not hold.
    #[cold]
    pub(super) fn modify_elsewhere<S: Scalar>(
        &mut self,
        at: LinearAddress,
        compute: impl FnOnce(&mut State, S) -> S,
        fault: Fault,
    ) -> Result<(), Stopped> {
        let Fault::OutsideRam { .. } = fault else { return Err(self.refused(fault)) };
        for piece in pieces::<S>(at) {
            self.place(piece.at, AccessKind::Write, piece.bytes)?;
        }
        let old = self.read_elsewhere(at, fault)?;
        let new = compute(&mut self.state, old);
        self.write_elsewhere(at, new, fault)
    }

    fn put(&mut self, to: HostPhysicalAddress, part: &[u8], fault: Fault) -> Result<(), Stopped> {
        match self.memory.ram().copy_in(to, part).map_err(Fault::from) {
            Ok(()) => Ok(()),
            Err(Fault::OutsideRam { .. }) => {
                let mut value = [0; WIDEST];
                value[..part.len()].copy_from_slice(part);
                let value = u64::from_le_bytes(value);
                let taken = self.outside.device_write(&mut self.state, to, part.len(), value);
                taken.ok_or_else(|| self.refused(fault))
            }
            Err(other) => Err(self.refused(other)),
        }
    }

    fn place(
        &mut self,
        at: LinearAddress,
        kind: AccessKind,
        bytes: usize,
    ) -> Result<HostPhysicalAddress, Stopped> {
        let translated = self.memory.translate(at, kind, bytes as u16);
        translated.map_err(|fault| self.not_translated(fault, at, kind))
    }
}

/// A part of an access.
#[derive(Clone, Copy)]
struct Piece {
    at: LinearAddress,
    /// Its first byte within the operand.
    first: usize,
    bytes: usize,
}

/// An aligned access of at most 8 bytes as a whole, any other in aligned pieces whose sizes are powers of 2, so that each
/// is on one page and either in RAM or not.
fn pieces<S: Scalar>(at: LinearAddress) -> impl Iterator<Item = Piece> {
    let mut first = 0;
    core::iter::from_fn(move || {
        let here = at.add(first as u64);
        let aligned = 1 << (here.0 | WIDEST as u64).trailing_zeros();
        let rest = S::BYTES - first;
        let bytes = if rest == 0 { 0 } else { aligned.min(1 << rest.ilog2()) };
        let piece = Piece { at: here, first, bytes };
        first += bytes;
        (bytes > 0).then_some(piece)
    })
}
