//! Determinism, rates, limits, refusals, and the checker over whole streams.

use super::checker::check;
use super::*;
use isa::address::{AccessKind, LinearAddress, PAGE_SIZE};
use mmu::PageSize;
use proptest::prelude::*;
use std::collections::BTreeMap;
use traces::{Touch, TouchKind, open_any};

#[test]
fn equal_options_give_equal_work_and_another_seed_another() {
    let options = lively(&["sort", "hash", "json"]);
    let first = blocks(&options);
    assert!(first == blocks(&options));
    assert!(first != blocks(&WorkOptions { seed: 2, ..options }));
}

#[test]
fn recycled_memory_does_not_change_the_work() {
    let options = lively(&["btree", "hash"]);
    let mut work = Work::new(&options).unwrap();
    let mut block = Block::default();
    for expected in blocks(&options) {
        block = work.next_block(block).unwrap().unwrap();
        assert!(block == expected);
    }
    assert_eq!(work.next_block(block).unwrap(), None);
}

fn options() -> impl Strategy<Value = WorkOptions> {
    let guest_pages = prop_oneof![
        Just(GuestPages::Size4K),
        Just(GuestPages::Size2M),
        Just(GuestPages::Size1G),
        (0u16..40).prop_map(GuestPages::Transparent),
    ];
    let host_pages = prop::sample::select(&PageSize::ALL[..]);
    let sizes = (guest_pages, host_pages);
    let shape = (1u8..4, 1u16..4, 1u16..3, 500u64..9000);
    (sizes, shape, prop::array::uniform6(0.0..1500f64), 1u32..6, any::<u64>()).prop_map(
        |((guest_pages, host_pages), (processors, guests, threads, quantum), rates, batch, seed)| {
            let [unmap, protect, copy_on_write, migrate, host_migrate, host_cut] = rates;
            WorkOptions {
                guest_pages,
                host_pages,
                processors,
                guests,
                threads,
                quantum,
                churn: Churn { unmap, protect, copy_on_write, migrate, host_migrate, host_cut, batch },
                seed,
                limit: Some(30_000),
                ..lively(&["hash", "pointer_chase", "json"])
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_work_obeys_its_own_tables(options in options()) {
        let work = Work::new(&options).unwrap();
        let blocks = blocks(&options);
        check(work.topology(), &blocks);
        let instructions: u64 = blocks.iter().map(|block| block.instructions).sum();
        prop_assert_eq!(instructions, u64::from(options.threads) * 3 * 30_000);
    }
}

/// VMXSIM_CASES asks for more.
fn cases() -> u32 {
    std::env::var("VMXSIM_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(24)
}

#[test]
fn frames_that_were_given_back_are_used_again() {
    let options = WorkOptions { churn: Churn { unmap: 2000.0, ..Churn::default() }, ..lively(&["sort"]) };
    let checker = check(Work::new(&options).unwrap().topology(), &blocks(&options));
    assert!(checker.reused > 50, "{}", checker.reused);
}

/// The process on each processor, and what it runs.
fn runs(blocks: &[Block], mut see: impl FnMut(u16, &[Access])) {
    let mut current = BTreeMap::new();
    for block in blocks {
        for event in &block.events {
            match event {
                Event::Dispatch { processor, process } => drop(current.insert(*processor, *process)),
                Event::Run { processor, accesses } => {
                    see(current[processor], &block.accesses[accesses.start as usize..accesses.end as usize])
                }
                _ => {}
            }
        }
    }
}

/// Pieces of data within pages: first address, bytes, kind.
type Data = (u64, u16, AccessKind);

/// What the trace says: its data, and for each line in a row of fetches the instructions that begin there.
fn expected(touches: &[Touch]) -> (Vec<Data>, Vec<(u64, u64)>) {
    let (mut data, mut lines) = (Vec::new(), Vec::<(u64, u64)>::new());
    for touch in touches {
        let (first, end) = (touch.address.0, touch.address.0 + u64::from(touch.bytes.max(1)));
        let unit = if matches!(touch.kind, TouchKind::Load | TouchKind::Store) { PAGE_SIZE } else { 64 };
        let mut at = first;
        while at < end {
            let stop = end.min((at / unit + 1) * unit);
            match touch.kind {
                TouchKind::Load => data.push((at, (stop - at) as u16, AccessKind::Read)),
                TouchKind::Store => data.push((at, (stop - at) as u16, AccessKind::Write)),
                TouchKind::Fetch | TouchKind::FetchOfSystemCall => {
                    add(&mut lines, at / 64, u64::from(at == first));
                }
            }
            at = stop;
        }
    }
    (data, lines)
}

/// Fetches of a line in a row are one.
fn add(lines: &mut Vec<(u64, u64)>, line: u64, instructions: u64) {
    match lines.last_mut() {
        Some((last, sum)) if *last == line => *sum += instructions,
        _ => lines.push((line, instructions)),
    }
}

#[test]
fn the_accesses_of_a_process_are_those_of_its_trace() {
    let names = ["hash", "json", "pointer_chase"];
    let options = WorkOptions { processors: 2, ..lively(&names) };
    let mut found = vec![(Vec::new(), Vec::new()); 3];
    runs(&blocks(&options), |process, accesses| {
        let (data, lines) = &mut found[usize::from(process)];
        for access in accesses {
            match access.kind {
                AccessKind::Execute => add(lines, access.address.0 / 64, access.instructions.into()),
                kind => data.push((access.address.0, access.bytes, kind)),
            }
        }
    });
    for (name, found) in names.iter().zip(found) {
        let mut touches = Vec::new();
        open_any(&bundled(name)).unwrap().touches().fill(&mut touches, 100_000).unwrap();
        assert!(found == expected(&touches), "{name}");
    }
}

#[test]
fn churn_and_exits_happen_as_often_as_asked() {
    let options = lively(&["sort", "btree", "json", "hash"]);
    let blocks = blocks(&options);
    let millions = 0.4;
    let count = |fits: &dyn Fn(&Change) -> bool| {
        let mut ids: Vec<u64> =
            edits(&blocks).filter(|edit| fits(&edit.change)).map(|edit| edit.id).collect();
        ids.dedup();
        ids.len() as f64
    };
    let near = |found: f64, rate: f64| (found - rate * millions).abs() <= 2.0;
    let Churn { unmap, protect, copy_on_write, migrate, host_migrate, host_cut, .. } = options.churn;
    let cut = |change: &Change| {
        matches!(change, Change::Protect { permissions, .. }
            if !permissions.contains(mmu::tables::PagePermissions::WRITE))
    };
    let moved = |change: &Change| matches!(change, Change::Remap { why: Remap::Migration, .. });
    assert!(near(count(&|change| matches!(change, Change::Unmap { .. })), unmap));
    assert!(near(count(&cut), protect + copy_on_write));
    assert!(near(count(&moved), migrate));
    assert!(near(count(&|change| matches!(change, Change::MigrateHost { .. })), host_migrate));
    assert!(near(count(&|change| matches!(change, Change::CutHost { .. })), host_cut));
    let exits = |wanted| {
        events(&blocks).filter(|event| matches!(event, Event::Exit { cause, .. } if *cause == wanted)).count()
    };
    assert!(exits(ExitCause::Rate).abs_diff(400_000 / 5000) <= 2);
    assert!(exits(ExitCause::Timer).abs_diff(400_000 / 7000) <= 2);
    assert!(exits(ExitCause::SystemCall) > 0);
}

#[test]
fn system_calls_exit_right_after_their_fetch_and_only_where_asked() {
    let options = WorkOptions { limit: None, ..WorkOptions::default() };
    let options = WorkOptions { traces: vec![bundled("json")], ..options };
    let mut touches = Vec::new();
    open_any(&bundled("json")).unwrap().touches().fill(&mut touches, usize::MAX).unwrap();
    let calls = touches.iter().filter(|touch| touch.kind == TouchKind::FetchOfSystemCall);
    let calls: Vec<LinearAddress> = calls.map(|touch| touch.address).collect();
    let count = |blocks: &[Block]| events(blocks).filter(|event| matches!(event, Event::Exit { .. })).count();
    assert_eq!(count(&blocks(&options)), calls.len());
    let exits = Exits { system_calls: false, ..Exits::default() };
    assert_eq!(count(&blocks(&WorkOptions { exits, ..options.clone() })), 0);
    let mut lines = Vec::new();
    for block in blocks(&options) {
        for pair in block.events.windows(2) {
            if let [Event::Run { accesses, .. }, Event::Exit { .. }] = pair {
                let run = &block.accesses[accesses.start as usize..accesses.end as usize];
                let last = run.iter().rev().find(|access| access.kind == AccessKind::Execute);
                lines.push(last.unwrap().address.0 / 64);
            }
        }
    }
    // The line of its last byte.
    assert!(lines.into_iter().eq(calls.iter().map(|call| (call.0 + 1) / 64)));
}

#[test]
fn a_thread_ends_at_its_limit_or_with_its_trace_and_progress_tells() {
    let options = WorkOptions { limit: Some(12_345), threads: 2, ..lively(&["sort", "hash"]) };
    let mut work = Work::new(&options).unwrap();
    assert_eq!(work.progress(), WorkProgress { instructions: 0, total: Some(49_380) });
    while work.next_block(Block::default()).unwrap().is_some() {}
    assert_eq!(work.progress(), WorkProgress { instructions: 49_380, total: Some(49_380) });
    let whole = WorkOptions { limit: None, threads: 1, churn: Churn::default(), ..lively(&["matrix"]) };
    let instructions: u64 = blocks(&whole).iter().map(|block| block.instructions).sum();
    assert_eq!(instructions, 635_608);
    assert_eq!(Work::new(&whole).unwrap().progress().total, Some(635_608));
}

#[test]
fn traces_are_dealt_to_guests_and_named_apart() {
    let options = lively(&["sort", "hash", "sort"]);
    let work = Work::new(&options).unwrap();
    let spec = |name: &str, guest, number| ProcessSpec { name: name.to_owned(), guest, number };
    let expected = [spec("sort", 0, 0), spec("hash", 1, 0), spec("sort-2", 0, 1)];
    assert_eq!(work.topology().processes, expected);
    assert_eq!((work.topology().processors, work.topology().guests.len()), (2, 2));
}
