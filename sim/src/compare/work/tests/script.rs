//! Scripts, and options and traces that are refused.

use super::checker::check;
use super::*;
use isa::address::{AccessKind, LinearAddress};
use mmu::PageSize;
use traces::TraceError;

fn one_process() -> Topology {
    let (guests, processes) = (vec![GuestSpec::default()], vec![ProcessSpec::default()]);
    Topology { processors: 2, guests, processes }
}

const DATA: LinearAddress = LinearAddress(0x40_0000);

#[test]
fn a_script_touches_its_pages_in_order_and_maps_each_once() {
    let topology = one_process();
    let mut script = Script::new(&topology);
    for _ in 0..3 {
        script.dispatch(0, 0).unwrap().touch(0, DATA, 64, AccessKind::Read).unwrap();
        script.exit(0, ExitCause::Rate).unwrap();
    }
    let blocks = [script.finish()];
    check(&topology, &blocks);
    assert_eq!(blocks[0].accesses.len(), 192);
    assert_eq!(edits(&blocks).filter(|edit| matches!(edit.change, Change::Map { .. })).count(), 64);
    let last: Vec<&Event> = blocks[0].events.iter().rev().take(3).collect();
    assert!(matches!(last[0], Event::Exit { processor: 0, cause: ExitCause::Rate }));
    assert_eq!(*last[1], Event::Run { processor: 0, accesses: 128..192 });
    assert_eq!(*last[2], Event::Dispatch { processor: 0, process: 0 });
    assert_eq!(script.finish(), Block::default());
}

#[test]
fn edits_of_a_script_are_answered_by_the_next_touch() {
    let topology = one_process();
    let mut script = Script::new(&topology);
    script.dispatch(0, 0).unwrap().dispatch(1, 0).unwrap();
    script.touch(0, DATA, 1, AccessKind::Write).unwrap();
    let mut blocks = vec![script.finish()];
    type Edit = fn(&mut Script) -> Result<&mut Script, WorkError>;
    let steps: [(Edit, AccessKind, usize); 8] = [
        (|script| script.unmap(0, DATA), AccessKind::Read, 1),
        (|script| script.protect(0, DATA), AccessKind::Read, 0),
        (|script| script.protect(0, DATA), AccessKind::Write, 1),
        (|script| script.share(0, DATA), AccessKind::Write, 1),
        (|script| script.migrate(0, DATA), AccessKind::Write, 0),
        (|script| script.migrate_host(1, DATA), AccessKind::Write, 0),
        (|script| script.cut_host(1, DATA), AccessKind::Execute, 0),
        (|script| script.cut_host(1, DATA), AccessKind::Write, 1),
    ];
    for (edit, kind, faults) in steps {
        edit(&mut script).unwrap().touch(0, DATA, 1, kind).unwrap();
        let block = script.finish();
        let found = block.events.iter().filter(|event| matches!(event, Event::Fault { .. })).count();
        assert_eq!(found, faults, "{block:?}");
        blocks.push(block);
    }
    check(&topology, &blocks);
}

#[test]
fn steps_of_a_script_that_cannot_be_are_refused() {
    let mut script = Script::new(&one_process());
    let refused = |result: Result<&mut Script, WorkError>| result.map(|_| ()).unwrap_err().to_string();
    assert_eq!(refused(script.dispatch(2, 0)), "processor is 2, expected a processor below 2");
    assert_eq!(refused(script.dispatch(0, 1)), "process is 1, expected a process below 1");
    let idle = "processor is 1, expected a processor that runs a process";
    assert_eq!(refused(script.exit(1, ExitCause::Timer)), idle);
    script.dispatch(1, 0).unwrap();
    assert_eq!(refused(script.unmap(1, DATA)), "address is 0x400000, expected an address that is mapped");
    let error = script.touch(1, LinearAddress(1 << 47), 1, AccessKind::Read).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "script: instruction 0 touches 0x800000000000, which is not canonical");
}

#[test]
fn a_region_becomes_one_page_when_more_of_its_pages_are_mapped_than_allowed() {
    let topology = one_process();
    let mut script = Script::with_pages(&topology, GuestPages::Transparent(3), PageSize::Size4K);
    script.dispatch(0, 0).unwrap().touch(0, DATA, 4, AccessKind::Write).unwrap();
    script.touch(0, DATA, 4, AccessKind::Write).unwrap();
    let blocks = [script.finish()];
    check(&topology, &blocks);
    let sizes: Vec<PageSize> = edits(&blocks)
        .filter_map(|edit| if let Change::Map { size, .. } = edit.change { Some(size) } else { None })
        .collect();
    assert_eq!(sizes, [PageSize::Size4K, PageSize::Size4K, PageSize::Size4K, PageSize::Size2M]);
    let collapse: Vec<&Edit> = edits(&blocks).filter(|edit| edit.by == Editor::Kernel).skip(3).collect();
    assert_eq!(collapse.iter().map(|edit| edit.last).collect::<Vec<_>>(), [false, false, false, true]);
    assert!(collapse.iter().all(|edit| edit.id == collapse[0].id));
}

#[test]
fn pages_that_were_unmapped_do_not_count_for_their_region() {
    let mut script = Script::with_pages(&one_process(), GuestPages::Transparent(3), PageSize::Size4K);
    script.dispatch(0, 0).unwrap().touch(0, DATA, 3, AccessKind::Write).unwrap();
    for _ in 0..3 {
        script.unmap(0, DATA).unwrap().touch(0, DATA, 1, AccessKind::Write).unwrap();
    }
    let blocks = [script.finish()];
    let large = |edit: &&Edit| matches!(edit.change, Change::Map { size: PageSize::Size2M, .. });
    assert_eq!(edits(&blocks).filter(large).count(), 0);
}

#[test]
fn options_that_cannot_be_are_refused_by_name() {
    let good = lively(&["sort"]);
    let churn = |churn| WorkOptions { churn, ..good.clone() };
    let base = good.churn;
    let exits = |every, timer| Exits { system_calls: true, every, timer };
    let cases = [
        (WorkOptions { traces: vec![], ..good.clone() }, "traces is 0, expected 1 to 1024"),
        (WorkOptions { processors: 0, ..good.clone() }, "processors is 0, expected 1 to 64"),
        (WorkOptions { guests: 65, ..good.clone() }, "guests is 65, expected 1 to 64"),
        (WorkOptions { threads: 0, ..good.clone() }, "threads is 0, expected 1 to 64"),
        (WorkOptions { quantum: 0, ..good.clone() }, "quantum is 0, expected 1 to 18446744073709551615"),
        (WorkOptions { limit: Some(0), ..good.clone() }, "limit is 0, expected 1 to 18446744073709551615"),
        (
            WorkOptions { exits: exits(Some(0), None), ..good.clone() },
            "exits.every is 0, expected 1 to 18446744073709551615",
        ),
        (
            WorkOptions { exits: exits(None, Some(0)), ..good.clone() },
            "exits.timer is 0, expected 1 to 18446744073709551615",
        ),
        (
            WorkOptions { guest_pages: GuestPages::Transparent(512), ..good.clone() },
            "guest-pages.transparent is 512, expected 0 to 511",
        ),
        (churn(Churn { unmap: -1.0, ..base }), "churn.unmap is -1, expected 0 to 1000000"),
        (churn(Churn { host_cut: f64::NAN, ..base }), "churn.host-cut is NaN, expected 0 to 1000000"),
        (churn(Churn { batch: 0, ..base }), "churn.batch is 0, expected 1 to 65536"),
    ];
    for (options, expected) in cases {
        assert_eq!(Work::new(&options).map(|_| ()).unwrap_err().to_string(), expected);
    }
}

#[test]
fn options_are_read_from_a_file_and_unknown_fields_are_named() {
    let text = "traces = ['a.vmxt']\nguest-pages = { transparent = 64 }\n[exits]\nsystem-calls = false\n\
                [churn]\ncopy-on-write = 2.5\n";
    let options: WorkOptions = toml::from_str(text).unwrap();
    let expected = WorkOptions {
        traces: vec!["a.vmxt".into()],
        guest_pages: GuestPages::Transparent(64),
        exits: Exits { system_calls: false, ..Exits::default() },
        churn: Churn { copy_on_write: 2.5, ..Churn::default() },
        ..WorkOptions::default()
    };
    assert_eq!(options, expected);
    let error = toml::from_str::<WorkOptions>("[churn]\nremap = 3").unwrap_err();
    assert!(error.to_string().contains("remap"), "{error}");
}

#[test]
fn traces_that_cannot_be_read_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    let options = WorkOptions { traces: vec![path.clone()], ..WorkOptions::default() };
    let error = || Work::new(&options).map(|_| ()).unwrap_err();
    assert!(matches!(error(), WorkError::Trace(TraceError::Io { file, .. }) if file == path));
    std::fs::write(&path, "no trace").unwrap();
    assert!(matches!(error(), WorkError::Trace(TraceError::Foreign { file, .. }) if file == path));
    let whole = std::fs::read(bundled("sort")).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(matches!(error(), WorkError::Trace(TraceError::Truncated { file, .. }) if file == path));
}

#[test]
fn a_trace_that_is_damaged_later_or_touches_what_cannot_be_gives_an_error_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    let options = WorkOptions { traces: vec![path.clone()], ..WorkOptions::default() };
    let run = || {
        let mut work = Work::new(&options).unwrap();
        loop {
            match work.next_block(Block::default()) {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    };
    std::fs::write(&path, "I  1000,3\nI  1003,3\n L 800000000000,8\n").unwrap();
    let Some(WorkError::Address { instruction: 1, address, .. }) = run() else { panic!("an error") };
    assert_eq!(address, LinearAddress(1 << 47));
    std::fs::write(&path, "I  1000,3\n L zz,8\n").unwrap();
    assert!(matches!(run(), Some(WorkError::Trace(TraceError::Line { line: 2, .. }))));
}

#[test]
fn accesses_are_cut_at_pages_and_fetches_at_cache_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    std::fs::write(&path, "I  107e,3\n L 1ffd,8200\nI  1081,3\nI  10bf,1\nI  10c0,2\n").unwrap();
    let options = WorkOptions { traces: vec![path], ..WorkOptions::default() };
    let access = |address, bytes, kind, instructions| {
        let address = LinearAddress(address);
        Access { address, bytes, kind, instructions }
    };
    let expected = [
        access(0x107e, 2, AccessKind::Execute, 1),
        access(0x1080, 1, AccessKind::Execute, 0),
        access(0x1ffd, 3, AccessKind::Read, 0),
        access(0x2000, 4096, AccessKind::Read, 0),
        access(0x3000, 4096, AccessKind::Read, 0),
        access(0x4000, 5, AccessKind::Read, 0),
        // The faults in between ended the row of fetches.
        access(0x1081, 3, AccessKind::Execute, 2),
        access(0x10c0, 2, AccessKind::Execute, 1),
    ];
    let blocks = blocks(&options);
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].instructions, 4);
    assert_eq!(blocks[0].accesses, expected);
}

#[test]
fn a_guest_without_memory_for_a_page_is_named() {
    let topology = one_process();
    let mut script = Script::with_pages(&topology, GuestPages::Size1G, PageSize::Size4K);
    script.dispatch(0, 0).unwrap();
    let gigabyte = |n: u64| LinearAddress(n << 30);
    for n in 0..63 {
        script.touch(0, gigabyte(n), 1, AccessKind::Read).unwrap();
    }
    let error = script.touch(0, gigabyte(63), 1, AccessKind::Read).map(|_| ()).unwrap_err();
    assert!(matches!(error, WorkError::Memory { guest: 0, .. }), "{error}");
}
