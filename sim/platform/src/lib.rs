//! Everything outside the processors of a PC: interrupt controllers, timers, the serial port and what else software expects,
//! as deterministic state machines.
//!
//! Nothing here knows an instruction or a page table, a thread or the host's time. One simulated clock, [`Time`] in ticks
//! of the time-stamp counter, drives all; every other clock is derived from it exactly ([`time::Clock`]).
//!
//! The machine tells the [`Platform`] when a processor touches a port ([`Platform::port_read`]), a device's memory
//! ([`Platform::memory_read`]) or an MSR of its local APIC ([`Platform::msr_read`]). Between touches it need do nothing
//! until [`Platform::next_event`], when it calls [`Platform::advance`]. After either it asks what each processor has to
//! take: [`Platform::pending_interrupt`], [`Platform::signals`], and whether the run is to end, [`Platform::stop`].
//!
//! Reading order: [`platform`], which ties all together; [`fabric`], the way of an interrupt; [`local_apic`] and
//! [`io_apic`], [`pic`]; then any device.
//!
//! ```
//! use platform::{PendingInterrupt, Platform, PlatformOptions, ProcessorIndex, Time};
//!
//! let mut platform = Platform::new(&PlatformOptions::default(), Box::new(std::io::sink()))?;
//! let cpu = ProcessorIndex(0);
//! // Software initializes the master 8259 with vectors from 20h on, unmasks the timer and lets it run at 1193 Hz.
//! for (port, value) in [(0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0xfe)] {
//!     platform.port_write(cpu, Time(0), port, 1, value);
//! }
//! for (port, value) in [(0x43, 0x34), (0x40, 0xe8), (0x40, 3)] {
//!     platform.port_write(cpu, Time(0), port, 1, value);
//! }
//! // The machine runs to each event until an interrupt is pending.
//! while platform.pending_interrupt(cpu).is_none() {
//!     let event = platform.next_event().expect("the timer runs");
//!     platform.advance(event);
//! }
//! assert_eq!(platform.pending_interrupt(cpu), Some(PendingInterrupt::External));
//! assert_eq!(platform.acknowledge_interrupt(cpu), 0x20);
//! # Ok::<(), platform::OptionsError>(())
//! ```

pub mod acpi;
mod delivery;
mod devices;
pub mod fabric;
pub mod firmware_config;
pub mod hpet;
pub mod io_apic;
pub mod keyboard;
pub mod local_apic;
mod memory;
pub mod multiprocessor;
pub mod options;
pub mod pci;
pub mod pic;
pub mod pit;
pub mod platform;
pub mod ports;
pub mod power;
pub mod real_time_clock;
pub mod serial;
pub mod test_device;
pub mod time;

pub use devices::A20;
pub use local_apic::{LocalApic, MsrRefusal, PendingInterrupt, Signals};
pub use options::{
    Acpi, LocalApicFeatures, OptionsError, PlatformOptions, ProcessorIndex, SerialSink, Start, Stop, Stopped,
};
pub use platform::{Platform, Snapshot};
pub use time::Time;
