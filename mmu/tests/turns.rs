//! Processors of one machine that take turns on its RAM.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Numbers, cases};
use isa::address::{HostPhysicalAddress, LinearAddress};
use mmu::fast::Allowed;
use mmu::tlb::{Globals, Invalidation, Pcids};
use mmu::{Context, Fault, Geometry, Mmu, PagingMode, Ram};
use proptest::prelude::*;
use std::collections::BTreeSet;

const BYTES: u64 = 0x1_0000;
const EVERYTHING: Invalidation = Invalidation::Everything;

const fn page(number: u64) -> LinearAddress {
    LinearAddress(number * 0x1000)
}

const fn frame(number: u64) -> HostPhysicalAddress {
    HostPhysicalAddress(number * 0x1000)
}

fn pair() -> [Mmu<false>; 2] {
    let geometry = Geometry::functional();
    [Mmu::new(Ram::new(BYTES).unwrap(), &geometry).unwrap(), Mmu::waiting(&geometry).unwrap()]
}

fn hand_on<const OBSERVED: bool>(from: &mut Mmu<OBSERVED>, to: &mut Mmu<OBSERVED>) {
    to.begin_turn(from.end_turn());
}

/// Contexts without paging that are views of their own.
fn views() -> [Context; 3] {
    let user = Context::user(PagingMode::None);
    [user, Context { vpid: 1, ..user }, Context { pcid: 1, ..user }]
}

#[test]
fn memory_moves_between_threads_with_who_owns_it() {
    const fn is_send<T: Send>() {}
    is_send::<Ram>();
    is_send::<Mmu<false>>();
    is_send::<Mmu<true>>();
}

#[test]
fn a_page_marked_in_the_turn_of_another_is_written_through_no_view() {
    let [mut first, mut second] = pair();
    for context in views() {
        first.set_context(context);
        first.write(page(1), 1_u8).unwrap();
        first.write(page(2), 2_u8).unwrap();
        assert!(first.fast().holds(page(1), Allowed::ReadWrite));
    }
    hand_on(&mut first, &mut second);
    second.mark_code(frame(1));
    hand_on(&mut second, &mut first);
    for context in views() {
        first.set_context(context);
        assert_eq!(first.write(page(1), 9_u8), Err(Fault::CodePage { page: frame(1) }));
        assert_eq!(first.read(page(1)), Ok(1_u8));
        assert!(first.fast().holds(page(2), Allowed::ReadWrite), "other pages stay");
    }
    first.unmark_code(frame(1));
    first.write(page(1), 3_u8).unwrap();
    hand_on(&mut first, &mut second);
    assert_eq!(second.read(page(1)), Ok(3_u8));
}

#[test]
fn a_processor_that_waits_reaches_no_memory_and_forgets_nothing() {
    let [mut first, mut second] = pair();
    for context in views() {
        first.set_context(context);
        first.write(page(1), 1_u8).unwrap();
    }
    hand_on(&mut first, &mut second);
    second.write(page(1), 2_u8).unwrap();
    let outside = Fault::OutsideRam { address: frame(1).add(5) };
    for context in views().into_iter().chain(views()) {
        first.set_context(context);
        assert_eq!(first.read::<u8>(page(1).add(5)), Err(outside));
        assert_eq!(first.write(page(1).add(5), 9_u8), Err(outside));
        assert_eq!(first.modify(page(1).add(5), |_: u8| panic!("no memory")), Err(outside));
    }
    let epoch = first.epoch();
    hand_on(&mut second, &mut first);
    assert_eq!(first.epoch(), epoch, "fetches may go on");
    for context in views() {
        first.set_context(context);
        assert!(first.fast().holds(page(1), Allowed::ReadWrite));
        assert_eq!(first.read(page(1)), Ok(2_u8));
        assert_eq!(first.read(page(1).add(5)), Ok(0_u8));
    }
}

#[test]
fn with_other_ram_no_pointer_into_the_former_is_used() {
    let [mut first, mut second] = pair();
    for context in views() {
        first.set_context(context);
        first.write(page(1), 1_u8).unwrap();
    }
    let other = Ram::new(BYTES).unwrap();
    other.write(frame(1), 7_u8).unwrap();
    second.begin_turn(first.end_turn());
    first.begin_turn(other);
    for context in views() {
        first.set_context(context);
        assert_eq!(first.read(page(1)), Ok(7_u8));
    }
    assert_eq!(second.read(page(1)), Ok(1_u8));
}

#[test]
fn an_invalidation_while_a_processor_waits_counts_when_it_runs() {
    let [mut first, mut second] = pair();
    first.write(page(1), 1_u8).unwrap();
    let (before, other) = (first.epoch(), Context { vpid: 1, ..*first.context() });
    hand_on(&mut first, &mut second);
    let during = second.epoch();
    first.invalidate(Invalidation::Vpid { vpid: 0, pcids: Pcids::All, globals: Globals::Drop });
    first.set_context(other);
    first.set_context(Context { vpid: 0, ..other });
    hand_on(&mut second, &mut first);
    assert!(![0, before, during].contains(&first.epoch()));
    assert!(!first.fast().holds(page(1), Allowed::Read));
}

/// What three processors over one RAM do, against one array of bytes and a set of pages.
fn history(seed: u64) -> BTreeSet<&'static str> {
    let mut numbers = Numbers(seed);
    let geometry = Geometry::functional();
    let mut processors: [Mmu<false>; 3] = [(); 3].map(|()| Mmu::waiting(&geometry).unwrap());
    let mut running = 0;
    processors[0].begin_turn(Ram::new(BYTES).unwrap());
    let (mut bytes, mut code) = ([0_u8; 8], BTreeSet::new());
    // Who had an epoch, in which view, after how many invalidations.
    let mut epochs = std::collections::HashMap::new();
    let (mut views, mut invalidations) = ([0; 3], [0; 3]);
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        let number = numbers.below(8);
        let processor = &mut processors[running];
        match numbers.below(10) {
            0..=2 => assert_eq!(processor.read(page(number)), Ok(bytes[number as usize])),
            3..=5 => {
                let value = numbers.next() as u8;
                let written = processor.write(page(number), value);
                if code.contains(&number) {
                    assert_eq!(written, Err(Fault::CodePage { page: frame(number) }));
                    seen.insert("refused");
                } else {
                    assert_eq!(written, Ok(()));
                    bytes[number as usize] = value;
                }
            }
            6 => {
                processor.mark_code(frame(number));
                code.insert(number);
            }
            7 => {
                processor.unmark_code(frame(number));
                code.remove(&number);
            }
            8 => {
                let next = numbers.below(3) as usize;
                let ram = processors[running].end_turn();
                processors[next].begin_turn(ram);
                running = next;
            }
            _ => {
                // Of any processor, also one that waits.
                let any = numbers.below(3) as usize;
                if numbers.one_in(2) {
                    processors[any].invalidate(EVERYTHING);
                    invalidations[any] += 1;
                } else {
                    views[any] = numbers.below(8) as u16;
                    let user = Context::user(PagingMode::None);
                    processors[any].set_context(Context { vpid: views[any], ..user });
                }
            }
        }
        assert_eq!(code.contains(&number), processors[running].holds_code(frame(number)));
        let whose = (running, views[running], invalidations[running]);
        assert_eq!(*epochs.entry(processors[running].epoch()).or_insert(whose), whose, "an epoch came back");
        if processors[running].fast().holds(page(number), Allowed::ReadWrite) {
            seen.insert("writable");
        }
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn turns_are_as_if_one_processor_did_everything_and_epochs_tell_them_apart(seed: u64) {
        history(seed);
    }
}

#[test]
fn the_histories_write_fast_and_are_refused() {
    let seen: BTreeSet<_> = (0..20).flat_map(history).collect();
    assert_eq!(seen, BTreeSet::from(["refused", "writable"]));
}

#[test]
fn an_observed_memory_takes_turns_too() {
    let geometry = Geometry::functional();
    let mut first = Mmu::<true>::new(Ram::new(BYTES).unwrap(), &geometry).unwrap();
    let mut second = Mmu::<true>::waiting(&geometry).unwrap();
    first.write(page(1), 1_u8).unwrap();
    hand_on(&mut first, &mut second);
    assert_eq!(second.read(page(1)), Ok(1_u8));
    second.mark_code(frame(1));
    assert_eq!(first.read::<u8>(page(1)), Err(Fault::OutsideRam { address: frame(1) }));
    hand_on(&mut second, &mut first);
    assert_eq!(first.write(page(1), 9_u8), Err(Fault::CodePage { page: frame(1) }));
}
