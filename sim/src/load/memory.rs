//! Where RAM is, as the firmware would tell it.

use super::error::{Place, Problem, Refusal};
use isa::address::{HostPhysicalAddress, PAGE_SIZE};

/// Where the hole for devices below 4 GiB begins; RAM beyond this size continues at 4 GiB.
pub const HOLE_START: u64 = 0xc000_0000;
/// Where the hole for devices ends.
pub const HOLE_END: u64 = 1 << 32;
/// Where conventional memory ends and the extended BIOS data area begins.
const CONVENTIONAL_END: u64 = 0x9_fc00;
/// Where the frame buffer of the display adapter begins.
const DISPLAY: u64 = 0xa_0000;
/// Where the firmware begins; a guest looks for ACPI tables here.
const FIRMWARE: u64 = 0xe_0000;
/// Where memory continues behind the firmware.
const EXTENDED: u64 = 0x10_0000;
/// The least and the most RAM.
const SIZES: core::ops::RangeInclusive<u64> = (2 * EXTENDED)..=(1 << 45);

/// What a region is for, by its number in an e820 map.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RegionKind {
    /// RAM that the guest may use.
    Usable = 1,
    /// Not for the guest.
    Reserved = 2,
    /// ACPI tables; usable when they have been read.
    AcpiReclaimable = 3,
    /// Memory that ACPI keeps.
    AcpiNonVolatile = 4,
}

/// A region of a memory map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// Where it begins.
    pub start: HostPhysicalAddress,
    /// How many bytes it has.
    pub bytes: u64,
    /// What it is for.
    pub kind: RegionKind,
}

impl Region {
    /// The address behind its last byte.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start.0 + self.bytes
    }

    const fn between(start: u64, end: u64, kind: RegionKind) -> Self {
        Self { start: HostPhysicalAddress(start), bytes: end - start, kind }
    }
}

/// Where RAM is and what each part of it is for: an e820 map as data.
///
/// RAM lies from 0 to [`HOLE_START`], the rest from [`HOLE_END`]. The 128 KiB at A0000H are no RAM; the 128 KiB
/// at E0000H are RAM that is reserved for firmware and its tables.
///
/// ```
/// use vmxsim::load::{MemoryMap, RegionKind};
/// let map = MemoryMap::new(4 << 30)?; // 4 GiB
/// let usable = map.regions().iter().filter(|region| region.kind == RegionKind::Usable);
/// assert_eq!(usable.map(|region| region.end()).collect::<Vec<_>>(), [0x9_fc00, 0xc000_0000, 0x1_4000_0000]);
/// # Ok::<(), vmxsim::load::LoadError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryMap {
    bytes: u64,
    regions: Vec<Region>,
}

impl MemoryMap {
    /// The map of a machine with `bytes` of RAM.
    ///
    /// # Errors
    ///
    /// The size is no multiple of 4096, or below 2 MiB or above 32 TiB.
    pub fn new(bytes: u64) -> Result<Self, super::LoadError> {
        Self::of_size(bytes).map_err(|refusal| refusal.of("RAM"))
    }

    fn of_size(bytes: u64) -> Result<Self, Refusal> {
        if !SIZES.contains(&bytes) || !bytes.is_multiple_of(PAGE_SIZE) {
            return Err(Place::Memory.unexpected(bytes, "a multiple of 1000h between 2 MiB and 32 TiB"));
        }
        let mut regions = vec![
            Region::between(0, CONVENTIONAL_END, RegionKind::Usable),
            Region::between(CONVENTIONAL_END, DISPLAY, RegionKind::Reserved),
            Region::between(FIRMWARE, EXTENDED, RegionKind::Reserved),
            Region::between(EXTENDED, bytes.min(HOLE_START), RegionKind::Usable),
        ];
        if let Some(above) = bytes.checked_sub(HOLE_START).filter(|above| *above > 0) {
            regions.push(Region::between(HOLE_END, HOLE_END + above, RegionKind::Usable));
        }
        Ok(Self { bytes, regions })
    }

    /// The same RAM, with `region` taken out for another purpose.
    ///
    /// What was there before gives way. A region outside RAM (of a device) may be named too.
    ///
    /// # Errors
    ///
    /// The region is empty or reaches beyond 2^64.
    pub fn with(mut self, region: Region) -> Result<Self, super::LoadError> {
        let end = region.start.0.checked_add(region.bytes).filter(|end| *end > region.start.0);
        let Some(end) = end else {
            let refusal =
                Place::Memory.unexpected(region.bytes, "a region that is not empty and ends below 2^64");
            return Err(refusal.of("RAM"));
        };
        let mut left = Vec::with_capacity(self.regions.len() + 2);
        for old in self.regions {
            let pieces = [(old.start.0, old.end().min(region.start.0)), (old.start.0.max(end), old.end())];
            let pieces = pieces.into_iter().filter(|(from, to)| from < to);
            left.extend(pieces.map(|(from, to)| Region::between(from, to, old.kind)));
        }
        left.push(region);
        left.sort_by_key(|region| region.start);
        self.regions = left;
        Ok(self)
    }

    /// The regions in ascending order.
    #[must_use]
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The amount of RAM in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The address behind the last byte of RAM.
    #[must_use]
    pub const fn end(&self) -> u64 {
        if self.bytes > HOLE_START { HOLE_END + (self.bytes - HOLE_START) } else { self.bytes }
    }

    /// Where RAM ends below the hole for devices.
    #[must_use]
    pub fn low_end(&self) -> u64 {
        self.bytes.min(HOLE_START)
    }

    /// Whether all of `bytes` from `start` is RAM, whatever it is for.
    #[must_use]
    pub fn is_ram(&self, start: u64, bytes: u64) -> bool {
        let Some(end) = start.checked_add(bytes) else { return false };
        let banks = [(0, DISPLAY), (FIRMWARE, self.low_end()), (HOLE_END, self.end())];
        banks.iter().any(|(from, to)| start >= *from && end <= *to)
    }

    /// Whether all of `bytes` from `start` is in one region that the guest may use.
    pub(super) fn usable(&self, start: u64, bytes: u64) -> bool {
        let Some(end) = start.checked_add(bytes) else { return false };
        let usable = self.regions.iter().filter(|region| region.kind == RegionKind::Usable);
        self.is_ram(start, bytes)
            && usable.clone().any(|region| start >= region.start.0 && end <= region.end())
    }

    /// RAM in words, for messages.
    pub(super) fn in_words(&self) -> String {
        let usable = self.regions.iter().filter(|region| region.kind == RegionKind::Usable);
        let parts: Vec<_> =
            usable.map(|region| format!("{:#x} to {:#x}", region.start.0, region.end())).collect();
        format!("usable: {}", parts.join(", "))
    }

    /// The map is refused if it has more regions than the protocol takes.
    pub(super) fn at_most(&self, most: usize, limit: &'static str) -> Result<&[Region], Refusal> {
        if self.regions.len() > most {
            let (given, most) = (self.regions.len() as u64, most as u64);
            return Err(Place::Information("the memory map").refused(Problem::TooMany {
                given,
                most,
                limit,
            }));
        }
        Ok(&self.regions)
    }
}
