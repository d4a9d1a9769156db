//! Physical memory, paging, EPT, and the TLB: everything between a linear address and a byte of the machine.
//!
//! The crate answers one question, *which byte is this, and may it be touched?*, in three places:
//!
//! 1. [`fast`]: a direct-mapped map of linear page to host pointer. A hit is one compare and one host access.
//! 2. [`tlb`]: the set-associative tagged TLB. Entries stay until the architecture removes them or a way is needed.
//! 3. [`paging`] and [`ept`]: the walks, in the manual's order, one named failure for each way to fail.
//!
//! [`Translator`] puts the TLB and the walks together, [`Mmu`] all three. They know no VMCS and no instruction: the
//! [`Context`] is plain data that the caller builds, and a failure is a [`Fault`], a value that the caller turns into
//! an exception or a VM exit.
//!
//! Section numbers are those of the Intel SDM, 326019-092US (June 2026).
//!
//! Not modelled: protection keys of supervisor-mode addresses, linear-address masking, shadow stacks, HLAT, sub-page permissions, memory types.
//!
//! # Example
//!
//! ```
//! use isa::address::{GuestPhysicalAddress, LinearAddress};
//! use mmu::{tables::*, Context, Geometry, Mmu, PageSize, PagingMode, Ram};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ram = Ram::new(16 << 20)?;
//! let frames = FrameAllocator::new(GuestPhysicalAddress(0x10_0000), 64);
//! let mut tables = PageTables::new(&ram, PagingMode::FourLevel, frames, Home::Identity)?;
//! let pages = PagePermissions::WRITE | PagePermissions::USER;
//! tables.map(&ram, LinearAddress(0x40_0000), GuestPhysicalAddress(0x20_0000), 0x2000, PageSize::Size4K, pages)?;
//!
//! let mut mmu = Mmu::<false>::new(ram, &Geometry::functional())?;
//! mmu.set_context(Context { cr3: tables.root(), ..Context::user(PagingMode::FourLevel) });
//! mmu.write(LinearAddress(0x40_0ffc), 0x1122_3344_5566_7788_u64)?;
//! assert_eq!(mmu.read::<u32>(LinearAddress(0x40_1000))?, 0x1122_3344);
//! # Ok(())
//! # }
//! ```

pub mod context;
pub mod counters;
pub mod ept;
pub mod fast;
pub mod fault;
pub mod mapping;
pub mod mmu;
pub mod operation;
pub mod oracle;
pub mod paging;
pub mod ram;
pub mod reference;
pub mod rules;
pub mod tables;
pub mod tag_word;
pub mod tlb;
pub mod translation;
pub mod translator;
pub mod walk;

pub use context::{Context, Controls, PagingMode, Privilege};
pub use counters::Counters;
pub use ept::EptContext;
pub use fault::{Fault, PageFault};
pub use isa::width::Scalar;
pub use mapping::{Class, Mapping, Space};
pub use mmu::Mmu;
pub use operation::Operation;
pub use ram::Ram;
pub use reference::{Cached, Dimension, Reference, ReferenceLog};
pub use tlb::Geometry;
pub use translation::{GuestPageSize, Line20, PageSize, Translation};
pub use translator::Translator;
