//! Tag words: the profile `extended`, in which entries of the TLB carry a word that software partly chooses.
//!
//! The control word holds the value that new entries get. Its highest bit is 0 outside and 1 inside a virtual machine,
//! so that the values inside are a proper subset of all. A mask says which of its bits the running level may alter;
//! a VM entry pushes the mask of the virtual machine, a VM exit pops it. An invalidation removes only entries whose
//! word the running level could have given to them, so that the same operation removes different entries inside and
//! outside a virtual machine.
//!
//! This is no part of the SDM.
//!
//! # Example
//!
//! ```
//! use mmu::tag_word::{TagWordShape, TagWordUnit, WordOperation};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut unit = TagWordUnit::new(TagWordShape { bits: 8, guest_bits: 3, depth: 2 })?;
//! let allocated = unit.allocate()?;
//! unit.enter(&allocated.tag)?;
//! // The guest may choose the low three bits; its attempt at the others is ignored.
//! let written = unit.write(0x05);
//! assert_eq!((written.control, written.ignored), (0x85, 0x80));
//! let load = unit.invalidation(WordOperation::PageTableBase);
//! unit.exit()?;
//! assert_ne!(unit.invalidation(WordOperation::PageTableBase), load);
//! # Ok(())
//! # }
//! ```

use crate::operation::{Operation, Paging, Performed};
use crate::tlb::{Globals, Invalidation};
use isa::address::LinearAddress;
use serde::{Deserialize, Serialize};

/// The size of the words and of the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagWordShape {
    /// Bits of a tag word, 1 to 32; with 1 there is a bit for "in a virtual machine" and nothing else.
    pub bits: u8,
    /// The low bits that [`TagWordUnit::allocate`] leaves to each virtual machine; fewer than `bits`.
    pub guest_bits: u8,
    /// How deep virtual machines may be nested; at least 1.
    pub depth: u8,
}

/// Why the unit refused. Nothing has changed but a counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TagWordError {
    /// A unit of this shape cannot be.
    #[error("a tag word has 1 to 32 bits, virtual machines get fewer, and the stack holds at least one mask")]
    Shape,
    /// The stack of masks is full.
    #[error("the stack of masks is full")]
    Overflow,
    /// There is no virtual machine to leave.
    #[error("the stack of masks is empty")]
    Underflow,
    /// The value is none of a virtual machine that this level may run, or the virtual machine could take the value
    /// of this level.
    #[error("the tag is not one that this level may give to a virtual machine")]
    Tag,
    /// The tag is from before the values were used up, and may be that of another virtual machine by now.
    #[error("the tag has been taken back")]
    Stale,
    /// Values are allocated outside of virtual machines only.
    #[error("values are allocated outside of virtual machines only")]
    InVirtualMachine,
}

/// What a virtual machine runs with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct VmTag {
    /// The control word at entry.
    pub value: u32,
    /// The bits of it that the virtual machine may alter.
    pub mask: u32,
    /// The round of allocation that it is from.
    pub generation: u64,
}

/// An allocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allocated {
    /// The tag.
    pub tag: VmTag,
    /// When the values were used up and begin anew: what must be removed before the tag is used.
    pub flush: Option<Invalidation>,
}

/// What a write to the control word did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// The control word now.
    pub control: u32,
    /// Protected bits that the write would have changed.
    pub ignored: u32,
}

/// Counts of a [`TagWordUnit`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TagWordCounters {
    /// VM entries.
    pub entries: u64,
    /// VM exits.
    pub exits: u64,
    /// Writes to the control word.
    pub writes: u64,
    /// Writes that tried to change protected bits.
    pub ignored_writes: u64,
    /// VM entries that found the stack full.
    pub overflows: u64,
    /// VM exits that found the stack empty.
    pub underflows: u64,
    /// VM entries with a tag that the level may not give, or that has been taken back.
    pub refused_tags: u64,
    /// Allocated values.
    pub allocations: u64,
    /// How often the values were used up.
    pub wraps: u64,
}

/// An operation that invalidates, as the tag words see it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WordOperation {
    /// A load of the page-table base; global pages stay.
    PageTableBase,
    /// A task switch that changes the paging registers; global pages stay.
    TaskSwitch,
    /// The invalidation of one page.
    Page(LinearAddress),
    /// A change of CR0.PE or CR0.PG.
    ProtectionOrPaging,
    /// A change of CR4.PSE, CR4.PGE or CR4.PAE.
    PageSizes,
}

impl WordOperation {
    /// What an operation that was carried out is for the tag words, if it invalidates.
    ///
    /// INVPCID, INVVPID and INVEPT have their own tags; transitions switch the control word instead.
    #[must_use]
    pub fn of(performed: &Performed) -> Option<Self> {
        let Performed { operation, before, after, refusal: None, .. } = performed else { return None };
        let (before, after) = (before.paging, after.paging);
        let cr4 = Paging::PSE | Paging::PGE | Paging::PAE;
        match *operation {
            Operation::MovToCr3(_) => Some(Self::PageTableBase),
            Operation::TaskSwitch { .. } if before.cr3 != after.cr3 => Some(Self::TaskSwitch),
            Operation::Invlpg(address) | Operation::PageFault(address) => Some(Self::Page(address)),
            Operation::MovToCr0(_) if (before.cr0 ^ after.cr0) & (Paging::PE | Paging::PG) != 0 => {
                Some(Self::ProtectionOrPaging)
            }
            Operation::MovToCr4(_) if (before.cr4 ^ after.cr4) & cr4 != 0 => Some(Self::PageSizes),
            _ => None,
        }
    }
}

/// What the level below was doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Interrupted {
    control: u32,
    mask: u32,
}

/// The control word, the stack of masks and the allocation of values of one logical processor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TagWordUnit {
    shape: TagWordShape,
    control: u32,
    mask: u32,
    stack: Vec<Interrupted>,
    next: u32,
    generation: u64,
    counters: TagWordCounters,
}

impl TagWordUnit {
    /// A unit outside of virtual machines, with control word 0.
    ///
    /// # Errors
    ///
    /// [`TagWordError::Shape`].
    pub fn new(shape: TagWordShape) -> Result<Self, TagWordError> {
        let TagWordShape { bits, guest_bits, depth } = shape;
        if !(1..=32).contains(&bits) || guest_bits >= bits || depth == 0 {
            return Err(TagWordError::Shape);
        }
        let mask = low_bits(bits - 1);
        let counters = TagWordCounters::default();
        Ok(Self { shape, control: 0, mask, stack: Vec::new(), next: 0, generation: 0, counters })
    }

    /// The control word: the tag word of new entries and of lookups.
    #[must_use]
    pub const fn control(&self) -> u32 {
        self.control
    }

    /// The bits of the control word that the running level may alter.
    #[must_use]
    pub const fn mask(&self) -> u32 {
        self.mask
    }

    /// How many virtual machines are nested: 0 outside.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.stack.len()
    }

    /// The round of allocation: how often the values have been used up.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// What has been counted.
    #[must_use]
    pub const fn counters(&self) -> &TagWordCounters {
        &self.counters
    }

    /// The bit that is 1 inside virtual machines.
    #[must_use]
    pub const fn virtual_machine_bit(&self) -> u32 {
        1 << (self.shape.bits - 1)
    }

    /// Whether the running level may give entries this word.
    #[must_use]
    pub const fn owns(&self, word: u32) -> bool {
        (word ^ self.control) & !self.mask == 0
    }

    /// Writes the control word. Only bits of the mask change.
    pub const fn write(&mut self, value: u32) -> Written {
        let ignored = (value ^ self.control) & !self.mask;
        self.control ^= (value ^ self.control) & self.mask;
        self.counters.writes += 1;
        self.counters.ignored_writes += (ignored != 0) as u64;
        Written { control: self.control, ignored }
    }

    /// Enters a virtual machine: pushes what the running level was doing and takes the mask and the value.
    ///
    /// # Errors
    ///
    /// [`TagWordError::Overflow`], [`TagWordError::Tag`] and [`TagWordError::Stale`].
    pub fn enter(&mut self, tag: &VmTag) -> Result<(), TagWordError> {
        if self.stack.len() >= usize::from(self.shape.depth) {
            self.counters.overflows += 1;
            return Err(TagWordError::Overflow);
        }
        if let Err(error) = self.check(tag) {
            self.counters.refused_tags += 1;
            return Err(error);
        }
        self.counters.entries += 1;
        self.stack.push(Interrupted { control: self.control, mask: self.mask });
        (self.control, self.mask) = (tag.value, tag.mask);
        Ok(())
    }

    /// Leaves the virtual machine: pops what the level below was doing.
    ///
    /// # Errors
    ///
    /// [`TagWordError::Underflow`].
    pub fn exit(&mut self) -> Result<(), TagWordError> {
        let Some(Interrupted { control, mask }) = self.stack.pop() else {
            self.counters.underflows += 1;
            return Err(TagWordError::Underflow);
        };
        self.counters.exits += 1;
        (self.control, self.mask) = (control, mask);
        Ok(())
    }

    /// A value of its own for a virtual machine. When all are used up they begin anew, and every earlier tag is stale.
    ///
    /// # Errors
    ///
    /// [`TagWordError::InVirtualMachine`].
    pub fn allocate(&mut self) -> Result<Allocated, TagWordError> {
        if !self.stack.is_empty() {
            return Err(TagWordError::InVirtualMachine);
        }
        let inside = self.virtual_machine_bit();
        let TagWordShape { bits, guest_bits, .. } = self.shape;
        let used_up = u64::from(self.next) >= 1 << (bits - 1 - guest_bits);
        if used_up {
            self.next = 0;
            self.generation += 1;
            self.counters.wraps += 1;
        }
        let value = inside | self.next << guest_bits;
        let tag = VmTag { value, mask: low_bits(guest_bits), generation: self.generation };
        self.next += 1;
        self.counters.allocations += 1;
        let all = Invalidation::Word { word: inside, compare: inside, globals: Globals::Drop, address: None };
        Ok(Allocated { tag, flush: used_up.then_some(all) })
    }

    /// What an operation of the running level removes.
    ///
    /// Loads of the page-table base, task switches and single pages concern the control word alone; changes of a
    /// paging mode concern every word that the level could have had, those of virtual machines that it runs among
    /// them. No operation concerns the level below or a virtual machine beside.
    #[must_use]
    pub const fn invalidation(&self, operation: WordOperation) -> Invalidation {
        let every_bit = low_bits(self.shape.bits);
        let (compare, globals, address) = match operation {
            WordOperation::PageTableBase | WordOperation::TaskSwitch => (every_bit, Globals::Keep, None),
            WordOperation::Page(address) => (every_bit, Globals::Drop, Some(address)),
            WordOperation::ProtectionOrPaging | WordOperation::PageSizes => {
                (every_bit & !self.mask, Globals::Drop, None)
            }
        };
        Invalidation::Word { word: self.control, compare, globals, address }
    }

    fn check(&self, tag: &VmTag) -> Result<(), TagWordError> {
        let VmTag { value, mask, generation } = *tag;
        let fits = value & !low_bits(self.shape.bits) == 0 && value & self.virtual_machine_bit() != 0;
        // A virtual machine gets what this level has to give, and cannot take the value of the level itself.
        let granted = mask & !self.mask == 0 && (self.stack.is_empty() || self.owns(value));
        let apart = (value ^ self.control) & !mask != 0;
        if !(fits && granted && apart) {
            Err(TagWordError::Tag)
        } else if generation != self.generation {
            Err(TagWordError::Stale)
        } else {
            Ok(())
        }
    }
}

/// A mask of the `count` lowest bits, at most 32.
const fn low_bits(count: u8) -> u32 {
    ((1_u64 << count) - 1) as u32
}
