//! Segment selectors (SDM Vol. 3A, 3.4.2).

/// A segment selector.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Selector(pub u16);

/// The table that a selector points into.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Table {
    /// The global descriptor table.
    Gdt,
    /// The local descriptor table.
    Ldt,
}

impl Selector {
    /// Whether it is a null selector: index 0 of the GDT, with any RPL.
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.0 & !3 == 0
    }

    /// The requested privilege level.
    #[must_use]
    pub const fn rpl(self) -> u8 {
        (self.0 & 3) as u8
    }

    /// The same descriptor with another RPL.
    #[must_use]
    pub const fn with_rpl(self, rpl: u8) -> Self {
        Self(self.0 & !3 | (rpl & 3) as u16)
    }

    /// The table, from TI.
    #[must_use]
    pub const fn table(self) -> Table {
        if self.0 & 4 == 0 { Table::Gdt } else { Table::Ldt }
    }

    /// The offset of its descriptor in the table.
    #[must_use]
    pub const fn offset(self) -> u64 {
        (self.0 & !7) as u64
    }

    /// The error code that names it: index and TI, EXT and IDT being 0 (SDM Vol. 3A, 7.13).
    #[must_use]
    pub const fn error_code(self) -> u16 {
        self.0 & !3
    }
}
