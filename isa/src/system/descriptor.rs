//! Descriptors: what they are, and how they are read from the GDT and the LDT (SDM Vol. 3A, 3.4.5, 3.5, 6.8.3, 7.11, 7.14
//! and 9.2).

use super::selector::{Selector, Table};
use crate::address::LinearAddress;
use crate::cpu::{Cpu, Privilege, Stopped};
use crate::segment::{AccessRights, Segment};
use crate::state::State;

/// The size of the code that a gate leads to, and of what a transfer through it pushes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OperandSize {
    /// 16 bits.
    Word,
    /// 32 bits.
    Doubleword,
    /// 64 bits.
    Quadword,
}

impl OperandSize {
    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Word => 2,
            Self::Doubleword => 4,
            Self::Quadword => 8,
        }
    }

    /// `value` in this size.
    #[must_use]
    pub const fn truncate(self, value: u64) -> u64 {
        match self {
            Self::Word => value & 0xffff,
            Self::Doubleword => value & 0xffff_ffff,
            Self::Quadword => value,
        }
    }
}

/// Whether a task is running or waiting for its return.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TaskState {
    /// It may be switched to.
    Available,
    /// It may only be returned to.
    Busy,
}

/// The kind of a descriptor (SDM Vol. 3A, tables 3-1 and 3-2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DescriptorKind {
    /// A data segment.
    Data,
    /// A code segment.
    Code,
    /// A local descriptor table.
    Ldt,
    /// A task-state segment.
    Tss(OperandSize, TaskState),
    /// A call gate.
    CallGate(OperandSize),
    /// A task gate.
    TaskGate,
    /// An interrupt gate.
    InterruptGate(OperandSize),
    /// A trap gate.
    TrapGate(OperandSize),
    /// A type that has no meaning in the mode.
    Reserved,
}

/// Which of the two encodings of system-descriptor types applies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Encoding {
    /// Outside IA-32e mode.
    Legacy,
    /// In IA-32e mode, 64-bit and compatibility mode alike.
    Ia32e,
}

impl State {
    /// The encoding of system descriptors.
    #[must_use]
    pub fn descriptor_encoding(&self) -> Encoding {
        if self.is_ia32e() { Encoding::Ia32e } else { Encoding::Legacy }
    }

    /// Whether an address is canonical under the paging mode (SDM Vol. 1, 3.3.7.1).
    #[must_use]
    pub fn is_canonical(&self, address: u64) -> bool {
        super::is_canonical(address, self.current_linear_address_width())
    }
}

/// A descriptor as it stands in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Descriptor {
    /// The first 8 bytes.
    pub low: u64,
    /// The second 8 bytes, of one that has 16.
    pub high: u64,
}

#[allow(clippy::cast_possible_truncation, reason = "fields are cut out of the descriptor")]
impl Descriptor {
    /// What it describes.
    #[must_use]
    pub const fn kind(self, encoding: Encoding) -> DescriptorKind {
        use DescriptorKind as Kind;
        use OperandSize::{Doubleword, Quadword, Word};
        use TaskState::{Available, Busy};
        let rights = self.rights();
        if rights.contains(AccessRights::CODE_OR_DATA) {
            return if rights.contains(AccessRights::CODE) { Kind::Code } else { Kind::Data };
        }
        match (encoding, rights.segment_type()) {
            (_, 2) => Kind::Ldt,
            (Encoding::Legacy, 1) => Kind::Tss(Word, Available),
            (Encoding::Legacy, 3) => Kind::Tss(Word, Busy),
            (Encoding::Legacy, 4) => Kind::CallGate(Word),
            (Encoding::Legacy, 5) => Kind::TaskGate,
            (Encoding::Legacy, 6) => Kind::InterruptGate(Word),
            (Encoding::Legacy, 7) => Kind::TrapGate(Word),
            (Encoding::Legacy, 9) => Kind::Tss(Doubleword, Available),
            (Encoding::Legacy, 11) => Kind::Tss(Doubleword, Busy),
            (Encoding::Legacy, 12) => Kind::CallGate(Doubleword),
            (Encoding::Legacy, 14) => Kind::InterruptGate(Doubleword),
            (Encoding::Legacy, 15) => Kind::TrapGate(Doubleword),
            (Encoding::Ia32e, 9) => Kind::Tss(Quadword, Available),
            (Encoding::Ia32e, 11) => Kind::Tss(Quadword, Busy),
            (Encoding::Ia32e, 12) => Kind::CallGate(Quadword),
            (Encoding::Ia32e, 14) => Kind::InterruptGate(Quadword),
            (Encoding::Ia32e, 15) => Kind::TrapGate(Quadword),
            _ => Kind::Reserved,
        }
    }

    /// The access rights.
    #[must_use]
    pub const fn rights(self) -> AccessRights {
        AccessRights::from_bits_retain((self.low >> 40) as u32 & 0xf0ff)
    }

    /// The descriptor privilege level.
    #[must_use]
    pub const fn dpl(self) -> u8 {
        self.rights().dpl()
    }

    /// Whether it is present.
    #[must_use]
    pub const fn is_present(self) -> bool {
        self.rights().contains(AccessRights::PRESENT)
    }

    /// The base of a segment; of a system segment in IA-32e mode with its upper half.
    #[must_use]
    pub const fn base(self) -> u64 {
        self.low >> 16 & 0xff_ffff | self.low >> 56 << 24 | self.high << 32
    }

    /// The limit of a segment in bytes, granularity applied.
    #[must_use]
    pub const fn limit(self) -> u32 {
        let limit = (self.low & 0xffff | self.low >> 32 & 0xf_0000) as u32;
        if self.rights().contains(AccessRights::GRANULARITY) { limit << 12 | 0xfff } else { limit }
    }

    /// The segment register that it makes.
    #[must_use]
    pub const fn segment(self, selector: Selector) -> Segment {
        Segment { selector: selector.0, base: self.base(), limit: self.limit(), rights: self.rights() }
    }

    /// Of a gate: the selector.
    #[must_use]
    pub const fn gate_selector(self) -> Selector {
        Selector((self.low >> 16) as u16)
    }

    /// Of a gate: the offset.
    #[must_use]
    pub const fn gate_offset(self, size: OperandSize) -> u64 {
        size.truncate(self.low & 0xffff | self.low >> 48 << 16 | self.high << 32)
    }

    /// Of a call gate outside IA-32e mode: how many parameters are copied.
    #[must_use]
    pub const fn parameters(self) -> u64 {
        self.low >> 32 & 0x1f
    }

    /// Of an interrupt or trap gate in IA-32e mode: the entry of the interrupt stack table, 0 for none.
    #[must_use]
    pub const fn interrupt_stack(self) -> u8 {
        (self.low >> 32 & 7) as u8
    }
}

/// A descriptor, and where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Located {
    pub(crate) selector: Selector,
    pub(crate) at: LinearAddress,
    pub(crate) descriptor: Descriptor,
}

impl Located {
    /// What it describes under the mode of `state`.
    pub(crate) fn kind(&self, state: &State) -> DescriptorKind {
        self.descriptor.kind(state.descriptor_encoding())
    }

    /// Whether it is a code segment of which `wanted` holds for the rights.
    pub(crate) fn has(&self, wanted: AccessRights) -> bool {
        self.descriptor.rights().contains(wanted)
    }

    pub(crate) fn is_code(&self) -> bool {
        self.has(AccessRights::CODE_OR_DATA | AccessRights::CODE)
    }

    pub(crate) fn is_conforming(&self) -> bool {
        self.is_code() && self.has(AccessRights::CONFORMING)
    }

    pub(crate) fn is_data(&self) -> bool {
        self.has(AccessRights::CODE_OR_DATA) && !self.has(AccessRights::CODE)
    }

    pub(crate) fn is_writable_data(&self) -> bool {
        self.is_data() && self.has(AccessRights::WRITABLE)
    }

    /// Sets the accessed bit in memory where it is not set, and returns the segment with it.
    pub(crate) fn access<C: Cpu>(&self, cpu: &mut C) -> Result<Segment, Stopped> {
        let mut segment = self.descriptor.segment(self.selector);
        if !self.has(AccessRights::ACCESSED) {
            segment.rights |= AccessRights::ACCESSED;
            self.write_type(cpu, segment.rights)?;
        }
        Ok(segment)
    }

    /// Replaces type, S, DPL and P in memory.
    #[allow(clippy::cast_possible_truncation, reason = "bits 7:0 are one byte of the descriptor")]
    pub(crate) fn write_type<C: Cpu>(&self, cpu: &mut C, rights: AccessRights) -> Result<(), Stopped> {
        cpu.write_as(Privilege::Implicit, self.at.add(5), rights.bits() as u8)
    }
}

/// The base and the limit of the table that a selector points into; none when there is no LDT.
fn table_of(state: &State, selector: Selector) -> Option<(u64, u64)> {
    match selector.table() {
        Table::Gdt => Some((state.system.gdtr.base, state.system.gdtr.limit.into())),
        Table::Ldt => {
            let ldtr = state.system.ldtr;
            let usable = !ldtr.rights.contains(AccessRights::UNUSABLE);
            usable.then_some((ldtr.base, ldtr.limit.into()))
        }
    }
}

/// Where an address of a system table is: outside IA-32e mode linear addresses have 32 bits.
pub(crate) fn table_address(state: &State, base: u64, offset: u64) -> LinearAddress {
    let at = base.wrapping_add(offset);
    LinearAddress(if state.is_ia32e() { at } else { at & 0xffff_ffff })
}

/// Reads the descriptor of a selector; of a system descriptor in IA-32e mode both halves.
///
/// # Errors
///
/// What `outside` makes of the selector when the table ends before the descriptor does.
pub(crate) fn read<C: Cpu>(
    cpu: &mut C,
    selector: Selector,
    outside: fn(Selector) -> Stopped,
) -> Result<Located, Stopped> {
    find(cpu, selector)?.ok_or_else(|| outside(selector))
}

/// As [`read`], with none where the table ends before the descriptor does.
pub(crate) fn find<C: Cpu>(cpu: &mut C, selector: Selector) -> Result<Option<Located>, Stopped> {
    let Some((base, limit)) = table_of(cpu.state(), selector) else { return Ok(None) };
    if selector.offset() + 7 > limit {
        return Ok(None);
    }
    let at = table_address(cpu.state(), base, selector.offset());
    let mut descriptor = Descriptor { low: cpu.read_as(Privilege::Implicit, at)?, high: 0 };
    if cpu.state().is_ia32e() && !descriptor.rights().contains(AccessRights::CODE_OR_DATA) {
        if selector.offset() + 15 > limit {
            return Ok(None);
        }
        descriptor.high = cpu.read_as(Privilege::Implicit, at.add(8))?;
    }
    Ok(Some(Located { selector, at, descriptor }))
}
