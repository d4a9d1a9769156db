//! Where a level of a TLB looks for pages, and where it puts them.

use super::array::{Array, Entry};
use super::geometry::ArrayGeometry;
use super::key::Region;
use crate::translation::PageSize;
use smallvec::SmallVec;

/// An array that may hold pages of a size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    pub(super) array: u8,
    pub(super) size: PageSize,
}

impl Probe {
    #[inline(always)]
    pub(super) const fn region(self) -> Region {
        Region::page(self.size)
    }

    #[inline(always)]
    pub(super) const fn index(self) -> usize {
        self.array as usize
    }
}

/// Adds the arrays of a level to those of a TLB; the smallest size is looked for first.
pub(super) fn build<E: Entry>(level: &[ArrayGeometry], arrays: &mut Vec<Array<E>>) -> Vec<Probe> {
    let mut probes = Vec::new();
    for shape in level {
        let array = arrays.len() as u8;
        arrays.push(Array::new(shape));
        probes.extend(shape.page_sizes.iter().map(|&size| Probe { array, size }));
    }
    probes.sort_by_key(|probe| probe.size);
    probes
}

/// Where a level puts pages of a size.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The size of the pieces: the largest that some array of the level can hold.
    pub(super) size: PageSize,
    /// The arrays that can hold it; none in a geometry without the level.
    pub(super) arrays: SmallVec<[u8; 4]>,
}

impl Plan {
    /// The plans of a level, by page size.
    pub(super) fn all(probes: &[Probe]) -> [Self; 3] {
        PageSize::ALL.map(|size| Self::new(probes, size))
    }

    fn new(probes: &[Probe], size: PageSize) -> Self {
        let held = probes.iter().map(|probe| probe.size).filter(|&held| held <= size).max().unwrap_or(size);
        let arrays = probes.iter().filter(|probe| probe.size == held).map(|probe| probe.array).collect();
        Self { size: held, arrays }
    }

    /// The array that takes an entry, with the way: of several arrays, that with the more expendable way.
    #[inline]
    pub(super) fn place<W, R: Ord>(
        &self,
        candidate: impl Fn(usize) -> W,
        rank: impl Fn(&W) -> R,
    ) -> Option<(usize, W)> {
        let candidate = |&array: &u8| (usize::from(array), candidate(usize::from(array)));
        match self.arrays.as_slice() {
            [] => None,
            [array] => Some(candidate(array)),
            several => several.iter().map(candidate).min_by_key(|(_, way)| rank(way)),
        }
    }
}
