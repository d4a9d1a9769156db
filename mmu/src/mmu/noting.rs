//! Data accesses noted for whoever compares them with breakpoints.

use super::Mmu;
use super::observe::Access;
use isa::address::{AccessKind, LinearAddress};

/// Whether data accesses are noted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Noting {
    /// They are not, and cost nothing.
    #[default]
    Off,
    /// They are, and each takes the slow way. (An observed memory notes nothing: it has its reports.)
    On,
}

/// A read or write, or one page's part of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Noted {
    /// What it did: the access of a read-modify-write is a write.
    pub kind: AccessKind,
    /// Its linear address.
    pub linear: LinearAddress,
    /// Its bytes, all in one page.
    pub bytes: u16,
}

impl<const OBSERVED: bool> Mmu<OBSERVED> {
    /// Begins or ends to note data accesses; those noted before are forgotten.
    ///
    /// # Example
    ///
    /// ```
    /// use isa::address::{AccessKind, LinearAddress};
    /// use mmu::mmu::{Noted, Noting};
    /// use mmu::{Geometry, Mmu, Ram};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut mmu = Mmu::<false>::new(Ram::new(1 << 20)?, &Geometry::functional())?;
    /// mmu.write(LinearAddress(0x1000), 7_u8)?;
    /// mmu.note_accesses(Noting::On);
    /// mmu.write(LinearAddress(0x1004), 7_u32)?;
    /// let write = Noted { kind: AccessKind::Write, linear: LinearAddress(0x1004), bytes: 4 };
    /// assert_eq!(mmu.noted(), [write]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn note_accesses(&mut self, noting: Noting) {
        self.forget_noted();
        if noting != self.noting {
            self.noting = noting;
            // The fast map notes nothing. It stays empty while accesses are noted.
            self.views.clear();
        }
    }

    /// The accesses since [`forget_noted`](Self::forget_noted), in order. One that was refused may be among them.
    #[must_use]
    pub fn noted(&self) -> &[Noted] {
        &self.noted
    }

    /// Forgets what was noted.
    pub fn forget_noted(&mut self) {
        self.noted.clear();
    }

    #[cold]
    pub(super) fn note(&mut self, access: Access) {
        let Access { kind, linear, bytes } = access;
        if kind != AccessKind::Execute {
            self.noted.push(Noted { kind, linear, bytes });
        }
    }
}
