//! Tag words: the control word, the stack of masks, the allocation of values, and what operations remove.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Numbers, cases};
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress};
use mmu::operation::{Operation, Paging, Registers};
use mmu::tag_word::{TagWordCounters, TagWordError, TagWordShape, TagWordUnit, VmTag, WordOperation};
use mmu::tlb::{ArrayGeometry, Geometry, Globals, Invalidation, Lookup, Tlb};
use mmu::translation::{Requirement, Rights, Scope, Translation};
use mmu::{Context, PageSize, PagingMode, Ram};
use proptest::prelude::*;

const SHAPE: TagWordShape = TagWordShape { bits: 6, guest_bits: 2, depth: 3 };
const WORDS: u32 = 1 << 6;
const INSIDE: u32 = 1 << 5;
const PAGE: LinearAddress = LinearAddress(0x7000);

/// Every operation.
fn operations() -> [WordOperation; 5] {
    use WordOperation as W;
    [W::PageTableBase, W::TaskSwitch, W::Page(PAGE), W::ProtectionOrPaging, W::PageSizes]
}

/// Whether a mapping with this word is covered, as far as the word decides.
fn covers(invalidation: Invalidation, with: u32) -> bool {
    let Invalidation::Word { word, compare, .. } = invalidation else { panic!("{invalidation:?}") };
    (word ^ with) & compare == 0
}

/// The bookkeeping once more, as a list of levels from the outermost to the running one.
struct Model {
    levels: Vec<(u32, u32)>,
    counters: TagWordCounters,
}

impl Model {
    fn running(&self) -> (u32, u32) {
        *self.levels.last().unwrap()
    }

    /// Every word that a level may have.
    fn words((control, mask): (u32, u32)) -> Vec<u32> {
        (0..WORDS).filter(|word| (0..6).all(|bit| (word ^ control) & !mask & 1 << bit == 0)).collect()
    }

    fn write(&mut self, value: u32) {
        let (control, mask) = self.running();
        self.counters.writes += 1;
        self.counters.ignored_writes +=
            u64::from((0..32).any(|bit| (value ^ control) & !mask & 1 << bit != 0));
        *self.levels.last_mut().unwrap() = (control & !mask | value & mask, mask);
    }

    fn enter(&mut self, tag: &VmTag) -> Result<(), TagWordError> {
        if self.levels.len() > 3 {
            self.counters.overflows += 1;
            return Err(TagWordError::Overflow);
        }
        let (control, mask) = self.running();
        let inner = Self::words((tag.value, tag.mask));
        let nested = self.levels.len() > 1;
        let outer = Self::words((control, mask));
        let possible = tag.value < WORDS
            && tag.mask < INSIDE
            && inner.iter().all(|word| word & INSIDE != 0 && *word != control)
            && (!nested || inner.iter().all(|word| outer.contains(word)))
            && tag.mask & !mask == 0;
        if !possible {
            self.counters.refused_tags += 1;
            return Err(TagWordError::Tag);
        }
        self.counters.entries += 1;
        self.levels.push((tag.value, tag.mask));
        Ok(())
    }

    fn exit(&mut self) -> Result<(), TagWordError> {
        if self.levels.len() == 1 {
            self.counters.underflows += 1;
            return Err(TagWordError::Underflow);
        }
        self.counters.exits += 1;
        self.levels.pop();
        Ok(())
    }
}

/// A tag that the running level may give in most cases.
fn tag(numbers: &mut Numbers, unit: &TagWordUnit) -> VmTag {
    let wild = numbers.one_in(4);
    let mask = numbers.below(32) as u32 & if wild { u32::MAX } else { unit.mask() };
    let value = numbers.below(128) as u32;
    let base = if unit.depth() == 0 { INSIDE } else { unit.control() };
    let value = if wild { value } else { base ^ value & unit.mask() };
    VmTag { value, mask, generation: unit.generation() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn the_unit_does_what_a_list_of_levels_does(seed: u64) {
        let mut numbers = Numbers(seed);
        let mut unit = TagWordUnit::new(SHAPE).unwrap();
        let mut model = Model { levels: vec![(0, INSIDE - 1)], counters: TagWordCounters::default() };
        for _ in 0..60 {
            match numbers.below(5) {
                0 | 1 => {
                    let tag = tag(&mut numbers, &unit);
                    prop_assert_eq!(unit.enter(&tag), model.enter(&tag), "{:?}", tag);
                }
                2 => prop_assert_eq!(unit.exit(), model.exit()),
                _ => {
                    let value = numbers.below(256) as u32;
                    let (control, _) = model.running();
                    model.write(value);
                    let written = unit.write(value);
                    prop_assert_eq!(written.control, model.running().0);
                    prop_assert_eq!(written.ignored, value ^ written.control, "bits that did not change");
                    prop_assert_eq!(written.control & INSIDE, control & INSIDE);
                }
            }
            prop_assert_eq!((unit.control(), unit.mask()), model.running());
            prop_assert_eq!(unit.depth(), model.levels.len() - 1);
            prop_assert_eq!(unit.control() & INSIDE != 0, unit.depth() > 0);
            prop_assert_eq!(*unit.counters(), model.counters);
            for word in 0..WORDS {
                prop_assert_eq!(unit.owns(word), Model::words(model.running()).contains(&word));
            }
        }
    }

    /// Levels below are never concerned, and the level's own word always is.
    #[test]
    fn an_operation_concerns_words_of_the_level_that_runs_and_of_none_below(seed: u64) {
        let mut numbers = Numbers(seed);
        let mut unit = TagWordUnit::new(SHAPE).unwrap();
        let mut below = vec![];
        for _ in 0..30 {
            let control = unit.control();
            match numbers.below(4) {
                0 | 1 => {
                    let tag = tag(&mut numbers, &unit);
                    if unit.enter(&tag).is_ok() {
                        below.push(control);
                    }
                }
                2 => {
                    if unit.exit().is_ok() {
                        prop_assert_eq!(Some(unit.control()), below.pop());
                    }
                }
                _ => {
                    unit.write(numbers.below(256) as u32);
                }
            }
            for operation in operations() {
                let removed = unit.invalidation(operation);
                let words: Vec<u32> = (0..WORDS).filter(|&word| covers(removed, word)).collect();
                let whole_level = matches!(operation, WordOperation::ProtectionOrPaging | WordOperation::PageSizes);
                let expected = if whole_level { (0..WORDS).filter(|&word| unit.owns(word)).collect() } else { vec![unit.control()] };
                prop_assert_eq!(&words, &expected, "{:?}", operation);
                prop_assert!(below.iter().all(|word| !words.contains(word)));
            }
        }
    }

    /// With allocated tags no virtual machine, whatever it writes, reaches a word of another or of the outside.
    #[test]
    fn allocated_virtual_machines_are_out_of_each_others_reach(seed: u64, guest_bits in 0_u8..5) {
        let mut numbers = Numbers(seed);
        let mut unit = TagWordUnit::new(TagWordShape { guest_bits, ..SHAPE }).unwrap();
        let number = 1_u32 << (5 - guest_bits);
        let tags: Vec<VmTag> = (0..number).map(|_| {
            let allocated = unit.allocate().unwrap();
            assert_eq!(allocated.flush, None);
            allocated.tag
        }).collect();
        let outside: Vec<u32> = (0..WORDS).filter(|&word| unit.owns(word)).collect();
        let mut seen: Vec<u32> = outside.clone();
        for tag in &tags {
            unit.enter(tag).unwrap();
            unit.write(numbers.next() as u32);
            let own: Vec<u32> = (0..WORDS).filter(|&word| unit.owns(word)).collect();
            prop_assert_eq!(own.len(), 1 << guest_bits);
            prop_assert!(own.iter().all(|word| !seen.contains(word)));
            for operation in operations() {
                let removed = unit.invalidation(operation);
                prop_assert!((0..WORDS).all(|word| !covers(removed, word) || own.contains(&word)));
            }
            seen.extend(own);
            unit.exit().unwrap();
        }
        prop_assert_eq!(seen.len() as u32, WORDS, "no word is lost");
        // The next one finds the values used up: everything of virtual machines goes and nothing else.
        let again = unit.allocate().unwrap();
        let flush = again.flush.unwrap();
        prop_assert!((0..WORDS).all(|word| covers(flush, word) == (word & INSIDE != 0)));
        let globals_too = matches!(flush, Invalidation::Word { globals: Globals::Drop, address: None, .. });
        prop_assert!(globals_too);
        prop_assert_eq!(VmTag { generation: 0, ..again.tag }, tags[0]);
        prop_assert_eq!(unit.enter(&tags[1 % tags.len()]), Err(TagWordError::Stale));
        prop_assert_eq!(unit.enter(&again.tag), Ok(()));
        prop_assert_eq!(unit.counters().wraps, 1);
        prop_assert_eq!(unit.counters().allocations, u64::from(number) + 1);
        prop_assert_eq!(unit.allocate(), Err(TagWordError::InVirtualMachine));
    }
}

#[test]
fn a_unit_that_cannot_be_is_refused() {
    let refused = |bits, guest_bits, depth| {
        TagWordUnit::new(TagWordShape { bits, guest_bits, depth }) == Err(TagWordError::Shape)
    };
    assert_eq!([refused(0, 0, 1), refused(33, 0, 1), refused(4, 4, 1), refused(4, 3, 0)], [true; 4]);
    assert_eq!([refused(1, 0, 1), refused(32, 31, 1), refused(32, 0, 255)], [false; 3]);
}

#[test]
fn a_full_and_an_empty_stack_refuse_and_change_nothing() {
    let mut unit = TagWordUnit::new(TagWordShape { bits: 1, guest_bits: 0, depth: 1 }).unwrap();
    assert_eq!(unit.exit(), Err(TagWordError::Underflow));
    let tag = unit.allocate().unwrap().tag;
    unit.enter(&tag).unwrap();
    assert_eq!((unit.control(), unit.mask()), (1, 0));
    assert_eq!(unit.enter(&tag), Err(TagWordError::Overflow));
    assert_eq!((unit.control(), unit.depth()), (1, 1));
    let counters = *unit.counters();
    let expected =
        TagWordCounters { entries: 1, overflows: 1, underflows: 1, allocations: 1, ..Default::default() };
    assert_eq!(counters, expected);
    unit.exit().unwrap();
    assert_eq!((unit.control(), unit.depth()), (0, 0));
}

#[test]
fn a_word_of_32_bits_works() {
    let mut unit = TagWordUnit::new(TagWordShape { bits: 32, guest_bits: 31, depth: 1 }).unwrap();
    let tag = unit.allocate().unwrap().tag;
    assert_eq!((tag.value, tag.mask), (1 << 31, (1 << 31) - 1));
    unit.enter(&tag).unwrap();
    assert_eq!(unit.write(u32::MAX).control, u32::MAX);
    unit.exit().unwrap();
    assert!(unit.allocate().unwrap().flush.is_some());
}

#[test]
fn operations_are_recognized_by_what_they_change() {
    let ram = Ram::new(0x10000).unwrap();
    let start = Registers::outside(Paging::four_level(0x1000));
    let of = |operation: Operation| WordOperation::of(&start.clone().perform(&ram, &operation));
    let Paging { cr0, cr3, cr4, .. } = start.paging;
    assert_eq!(of(Operation::MovToCr3(cr3)), Some(WordOperation::PageTableBase));
    assert_eq!(of(Operation::MovToCr3(1 << 63)), None, "refused");
    assert_eq!(of(Operation::Invlpg(PAGE)), Some(WordOperation::Page(PAGE)));
    assert_eq!(of(Operation::PageFault(PAGE)), Some(WordOperation::Page(PAGE)));
    assert_eq!(of(Operation::MovToCr0(cr0 & !Paging::PG)), Some(WordOperation::ProtectionOrPaging));
    assert_eq!(of(Operation::MovToCr0(cr0 & !Paging::PE)), Some(WordOperation::ProtectionOrPaging));
    assert_eq!(of(Operation::MovToCr0(cr0 & !Paging::WP)), None);
    assert_eq!(of(Operation::MovToCr4(cr4 ^ Paging::PGE)), Some(WordOperation::PageSizes));
    assert_eq!(of(Operation::MovToCr4(cr4 ^ Paging::PSE)), Some(WordOperation::PageSizes));
    assert_eq!(of(Operation::MovToCr4(cr4 | Paging::SMAP)), None);
    assert_eq!(of(Operation::VmxOnOff), None);
    let legacy = Registers::outside(Paging { cr0: Paging::PE, ..Paging::default() });
    let paged = |cr4| legacy.clone().perform(&ram, &Operation::MovToCr4(cr4));
    assert_eq!(WordOperation::of(&paged(Paging::PAE)), Some(WordOperation::PageSizes));
    let switch = |cr3| WordOperation::of(&legacy.clone().perform(&ram, &Operation::TaskSwitch { cr3 }));
    assert_eq!([switch(0x2000), switch(0)], [Some(WordOperation::TaskSwitch), None]);
}

// ---- With a TLB ----

fn tlb() -> Tlb {
    let level = vec![ArrayGeometry::new(&PageSize::ALL, 1, 64)];
    Tlb::new(&Geometry { level1_instruction: level.clone(), level1_data: level, ..Geometry::default() })
        .unwrap()
}

fn context(word: u32) -> Context {
    Context { tag_word: word, ..Context::user(PagingMode::FourLevel) }
}

fn translation(page: LinearAddress, scope: Scope) -> Translation {
    let (size, rights) = (PageSize::Size4K, Rights::all());
    Translation {
        linear: page,
        host_physical: HostPhysicalAddress(0x9000),
        size,
        guest_size: size.into(),
        rights,
        scope,
    }
}

/// The pages of the tests: one that operations name and one beside, and whether they are global.
const PAGES: [(LinearAddress, Scope); 3] =
    [(PAGE, Scope::Pcid), (LinearAddress(0x8000), Scope::Pcid), (LinearAddress(0x9000), Scope::Global)];

fn fill(tlb: &mut Tlb, word: u32) {
    tlb.select(&context(word));
    for (page, scope) in PAGES {
        tlb.insert(page, AccessKind::Read, translation(page, scope));
    }
}

fn held(tlb: &mut Tlb, word: u32) -> [bool; 3] {
    let context = context(word);
    tlb.select(&context);
    let requirement = Requirement::of(&context, AccessKind::Read);
    PAGES.map(|(page, _)| tlb.lookup(page, AccessKind::Read, requirement) != Lookup::Miss)
}

#[test]
fn the_same_operation_removes_different_entries_inside_and_outside() {
    let mut unit = TagWordUnit::new(SHAPE).unwrap();
    let tags = [unit.allocate().unwrap().tag, unit.allocate().unwrap().tag];
    let [mine, other] = tags;
    // The outside, the running virtual machine with two of its words, and another virtual machine.
    let words = [0, mine.value, mine.value | 1, other.value];
    let after = |inside: bool, operation: WordOperation| {
        let mut tlb = tlb();
        words.into_iter().for_each(|word| fill(&mut tlb, word));
        let mut unit = unit.clone();
        if inside {
            unit.enter(&mine).unwrap();
        }
        tlb.invalidate(unit.invalidation(operation));
        words.map(|word| held(&mut tlb, word))
    };
    let (all, none, global, others) = ([true; 3], [false; 3], [false, false, true], [false, true, true]);
    for load in [WordOperation::PageTableBase, WordOperation::TaskSwitch] {
        assert_eq!(after(true, load), [all, global, all, all]);
        assert_eq!(after(false, load), [global, all, all, all]);
    }
    assert_eq!(after(true, WordOperation::Page(PAGE)), [all, others, all, all]);
    assert_eq!(after(false, WordOperation::Page(PAGE)), [others, all, all, all]);
    for change in [WordOperation::ProtectionOrPaging, WordOperation::PageSizes] {
        assert_eq!(after(true, change), [all, none, none, all]);
        assert_eq!(after(false, change), [none, all, all, all]);
    }
}

#[test]
fn a_reused_value_finds_nothing_of_its_former_virtual_machine() {
    let mut unit = TagWordUnit::new(TagWordShape { bits: 3, guest_bits: 1, depth: 1 }).unwrap();
    let mut tlb = tlb();
    fill(&mut tlb, 0);
    for round in 0..10 {
        let allocated = unit.allocate().unwrap();
        assert_eq!(allocated.flush.is_some(), round > 0 && round % 2 == 0);
        if let Some(flush) = allocated.flush {
            tlb.invalidate(flush);
        }
        unit.enter(&allocated.tag).unwrap();
        assert_eq!(held(&mut tlb, unit.control()), [false; 3]);
        fill(&mut tlb, unit.control());
        unit.exit().unwrap();
        assert_eq!(held(&mut tlb, unit.control()), [true; 3], "the outside keeps its own");
    }
}
