//! The shape of a TLB, as plain data.

use crate::translation::PageSize;
use serde::{Deserialize, Serialize};

/// The arrays of a TLB.
///
/// # Example
///
/// ```
/// use mmu::tlb::{ArrayGeometry, Geometry, Index};
/// use mmu::PageSize::{Size2M, Size4K};
///
/// let mut geometry = Geometry {
///     level1_instruction: vec![ArrayGeometry::new(&[Size4K], 16, 8), ArrayGeometry::new(&[Size2M], 1, 8)],
///     level1_data: vec![ArrayGeometry::new(&[Size4K], 16, 4), ArrayGeometry::new(&[Size2M], 8, 4)],
///     level1_store: vec![],
///     level2: vec![ArrayGeometry { index: Index::XorOfTwoSlices, ..ArrayGeometry::new(&[Size4K, Size2M], 128, 12) }],
///     ..Geometry::default()
/// };
/// assert!(geometry.validate().is_ok());
/// geometry.level2[0].sets = 100;
/// assert_eq!(geometry.validate().unwrap_err().to_string(), "level2[0].sets: 100 is not a power of two up to 65536");
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Geometry {
    /// First level for instruction fetches.
    pub level1_instruction: Vec<ArrayGeometry>,
    /// First level for data.
    pub level1_data: Vec<ArrayGeometry>,
    /// First level for stores, where a processor has one; then `level1_data` is for loads.
    #[serde(default)]
    pub level1_store: Vec<ArrayGeometry>,
    /// Second level for instructions and data.
    #[serde(default)]
    pub level2: Vec<ArrayGeometry>,
    /// Paging-structure caches for linear addresses (linear and combined mappings).
    #[serde(default)]
    pub structures: StructureGeometry,
    /// The TLB of guest-physical mappings, which the walks of guest paging structures use; none when empty.
    #[serde(default)]
    pub guest_physical: Vec<ArrayGeometry>,
    /// Paging-structure caches for guest-physical addresses.
    #[serde(default)]
    pub ept_structures: StructureGeometry,
}

/// Paging-structure caches (SDM 5.10.3, 31.4.1): one for the entries of each level, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StructureGeometry {
    /// PML5Es or EPT PML5Es.
    pub pml5e: Option<StructureArray>,
    /// PML4Es or EPT PML4Es.
    pub pml4e: Option<StructureArray>,
    /// PDPTEs or EPT PDPTEs that reference a page directory.
    pub pdpte: Option<StructureArray>,
    /// PDEs or EPT PDEs that reference a page table.
    pub pde: Option<StructureArray>,
}

/// The shape of one paging-structure cache, which is indexed by low bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StructureArray {
    /// Sets; 1 is fully associative.
    pub sets: u32,
    /// Ways of a set.
    pub ways: u32,
}

/// One set-associative array.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArrayGeometry {
    /// The page sizes that the array can hold. A larger page is cached in pieces.
    pub page_sizes: Vec<PageSize>,
    /// Sets; 1 is fully associative.
    pub sets: u32,
    /// Ways of a set.
    pub ways: u32,
    /// How a page number selects the set.
    #[serde(default)]
    pub index: Index,
    /// Which way of a set is given up.
    #[serde(default)]
    pub replacement: Replacement,
    /// Whether the first levels hold nothing that this array of the second level has lost: what it evicts, they lose
    /// too. Without the property the levels lose entries on their own.
    #[serde(default)]
    pub inclusive: bool,
}

/// How a page number, in units of its own page size, selects a set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Index {
    /// The low bits.
    #[default]
    LowBits,
    /// The low bits XOR the next as many.
    XorOfTwoSlices,
}

/// Which way of a full set is given up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Replacement {
    /// The least recently used.
    #[default]
    Lru,
    /// The one inserted first.
    Fifo,
    /// The one that a binary tree over the ways points at, whose nodes point away from the ways used last.
    TreePlru,
    /// Any, by a generator of the array's own.
    Random {
        /// Where the generator starts. Equal seeds make equal choices.
        seed: u64,
    },
}

/// A field of a [`Geometry`] that cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct GeometryError {
    /// The field, as a path.
    pub field: String,
    /// What is wrong with it.
    pub problem: GeometryProblem,
}

/// What can be wrong with a field of a [`Geometry`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GeometryProblem {
    /// A number of sets.
    #[error("{0} is not a power of two up to 65536")]
    Sets(u32),
    /// A number of ways.
    #[error("{0} is not between 1 and 128")]
    Ways(u32),
    /// An array without page sizes.
    #[error("an array must hold at least one page size")]
    NoPageSize,
    /// A page size listed twice.
    #[error("a page size is listed twice")]
    RepeatedPageSize,
    /// A level that cannot hold the smallest page.
    #[error("some array of the level must hold 4K pages")]
    No4K,
    /// More arrays than the simulator has names for.
    #[error("{0} arrays are more than 8")]
    Arrays(usize),
    /// A number of ways that a tree cannot decide between.
    #[error("tree_plru needs a power of two of ways, not {0}")]
    WaysOfTree(u32),
    /// An inclusive array that is not of the second level.
    #[error("only arrays of level2 include others")]
    Inclusive,
}

impl ArrayGeometry {
    /// An array indexed by low bits, with least-recently-used replacement.
    #[must_use]
    pub fn new(page_sizes: &[PageSize], sets: u32, ways: u32) -> Self {
        let (index, replacement) = (Index::default(), Replacement::default());
        Self { page_sizes: page_sizes.to_vec(), sets, ways, index, replacement, inclusive: false }
    }

    fn validate(&self) -> Result<(), (&'static str, GeometryProblem)> {
        validate_shape(self.sets, self.ways)?;
        if self.replacement == Replacement::TreePlru && !self.ways.is_power_of_two() {
            return Err(("ways", GeometryProblem::WaysOfTree(self.ways)));
        }
        if self.page_sizes.is_empty() {
            return Err(("page_sizes", GeometryProblem::NoPageSize));
        }
        let repeated = |size| self.page_sizes.iter().filter(|&&other| other == size).count() > 1;
        if PageSize::ALL.into_iter().any(repeated) {
            return Err(("page_sizes", GeometryProblem::RepeatedPageSize));
        }
        Ok(())
    }
}

impl Geometry {
    /// A large TLB for runs in which nobody counts: one level, every page size.
    #[must_use]
    pub fn functional() -> Self {
        let level = |sets| {
            vec![
                ArrayGeometry::new(&[PageSize::Size4K], sets, 4),
                ArrayGeometry::new(&[PageSize::Size2M], 64, 4),
                ArrayGeometry::new(&[PageSize::Size1G], 8, 4),
            ]
        };
        Self { level1_instruction: level(512), level1_data: level(16384), ..Self::default() }
    }

    /// Checks every field.
    ///
    /// # Errors
    ///
    /// The first field that cannot be.
    pub fn validate(&self) -> Result<(), GeometryError> {
        for (name, level) in self.levels() {
            validate_level(name, level)?;
        }
        self.structures.validate("structures")?;
        self.ept_structures.validate("ept_structures")
    }

    fn levels(&self) -> [(&'static str, &[ArrayGeometry]); 5] {
        [
            ("level1_instruction", &self.level1_instruction),
            ("level1_data", &self.level1_data),
            ("level1_store", &self.level1_store),
            ("level2", &self.level2),
            ("guest_physical", &self.guest_physical),
        ]
    }
}

impl StructureGeometry {
    /// The caches that exist, with the level of their entries, the lowest level first.
    pub(super) fn levels(&self) -> impl Iterator<Item = (u8, StructureArray)> {
        self.named().into_iter().filter_map(|(level, _, array)| array.map(|array| (level, array)))
    }

    const fn named(&self) -> [(u8, &'static str, Option<StructureArray>); 4] {
        [(2, "pde", self.pde), (3, "pdpte", self.pdpte), (4, "pml4e", self.pml4e), (5, "pml5e", self.pml5e)]
    }

    fn validate(&self, name: &'static str) -> Result<(), GeometryError> {
        for (_, level, array) in self.named() {
            let Some(array) = array else { continue };
            validate_shape(array.sets, array.ways).map_err(|(field, problem)| GeometryError {
                field: format!("{name}.{level}.{field}"),
                problem,
            })?;
        }
        Ok(())
    }
}

fn validate_shape(sets: u32, ways: u32) -> Result<(), (&'static str, GeometryProblem)> {
    if !sets.is_power_of_two() || sets > 1 << 16 {
        return Err(("sets", GeometryProblem::Sets(sets)));
    }
    if !(1..=128).contains(&ways) {
        return Err(("ways", GeometryProblem::Ways(ways)));
    }
    Ok(())
}

fn validate_level(name: &'static str, level: &[ArrayGeometry]) -> Result<(), GeometryError> {
    let error = |problem| GeometryError { field: name.to_owned(), problem };
    if level.len() > 8 {
        return Err(error(GeometryProblem::Arrays(level.len())));
    }
    for (index, array) in level.iter().enumerate() {
        array.validate().map_err(|(field, problem)| GeometryError {
            field: format!("{name}[{index}].{field}"),
            problem,
        })?;
        if array.inclusive && name != "level2" {
            let field = format!("{name}[{index}].inclusive");
            return Err(GeometryError { field, problem: GeometryProblem::Inclusive });
        }
    }
    let optional = matches!(name, "level1_store" | "level2" | "guest_physical");
    let holds_4k = level.iter().any(|array| array.page_sizes.contains(&PageSize::Size4K));
    if holds_4k || (optional && level.is_empty()) { Ok(()) } else { Err(error(GeometryProblem::No4K)) }
}
