//! The state that VM entries load and VM exits save and load (SDM 29.3.2, 30.3, 30.5), element by element.
//!
//! What belongs to a register of its own is a row of a table ([`ELEMENTS`]): where the guest's and the host's
//! value are in the VMCS, and under which control each is loaded or saved. Segments, and what depends on more than
//! itself, have functions.
//!
//! Nothing here touches memory or the TLB: the caller carries out the [`mmu::Operation`] that goes with the transition.

mod elements;
mod guest;
mod host;
mod information;
mod lists;
mod segments;

pub use elements::{ELEMENTS, Element, Load, Save};
pub use guest::{PDPTES, has_virtual_nmis, load_guest, save_guest};
pub use host::{load_host, root_view};
pub use information::{Injected, injected_event, record_exit, record_original_event};
pub use lists::{MsrEntry, MsrList, may_be_loaded, may_be_stored};
