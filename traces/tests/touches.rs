//! The flat list of touches says what the steps say, for traces of every format.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use isa::address::LinearAddress;
use isa::registers::Registers;
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use traces::{
    AccessStep, EndReason, Header, Item, Sections, StepKind, StepRecord, Touch, TouchKind, TraceReader,
    TraceWriter, WriteOptions, open_any,
};

fn bundled(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name).with_extension("vmxt")
}

fn flat(step: &AccessStep) -> Vec<Touch> {
    let data = |access: &traces::Access, kind| {
        let bytes = access.size.map_or(0, std::num::NonZeroU32::get);
        Touch { address: access.address, bytes, kind }
    };
    let mut touches = vec![Touch { address: step.ip, bytes: step.length.into(), kind: TouchKind::Fetch }];
    touches.extend(step.loads.iter().map(|access| data(access, TouchKind::Load)));
    touches.extend(step.stores.iter().map(|access| data(access, TouchKind::Store)));
    touches
}

/// The touches, read in portions of these sizes in turn.
fn touches(path: &Path, portions: &[usize]) -> (usize, Vec<Touch>) {
    let mut trace = open_any(path).unwrap().touches();
    let (mut instructions, mut touches) = (0, Vec::new());
    for portion in portions.iter().cycle() {
        match trace.fill(&mut touches, *portion).unwrap() {
            0 => break,
            more => instructions += more,
        }
    }
    (instructions, touches)
}

fn touches_of_steps(path: &Path) -> (usize, Vec<Touch>) {
    let mut trace = open_any(path).unwrap().access_steps();
    let (mut instructions, mut touches) = (0, Vec::new());
    while let Some(step) = trace.next_step().unwrap() {
        instructions += 1;
        touches.extend(flat(&step));
    }
    (instructions, touches)
}

/// What traces of other tools cannot tell, taken away.
fn without_calls(mut touches: Vec<Touch>) -> Vec<Touch> {
    for touch in &mut touches {
        if touch.kind == TouchKind::FetchOfSystemCall {
            touch.kind = TouchKind::Fetch;
        }
    }
    touches
}

#[test]
fn touches_are_those_of_the_steps_in_every_bundled_trace() {
    for name in ["btree", "hash", "json", "matrix", "pointer_chase", "sort"] {
        let path = bundled(name);
        let (instructions, found) = touches(&path, &[4096]);
        let expected = touches_of_steps(&path);
        assert_eq!(instructions, expected.0, "{name}");
        assert!(without_calls(found) == expected.1, "{name}");
    }
}

#[test]
fn fetches_of_system_calls_are_the_taken_steps_that_call_the_kernel() {
    let path = bundled("json");
    let mut expected = Vec::new();
    let mut reader = TraceReader::open(&path).unwrap();
    while let Some(chunk) = reader.next_chunk(Sections::All).unwrap() {
        let mut walk = chunk.walk().unwrap();
        while let Some(item) = walk.next().unwrap() {
            if let Item::Step(step) = item
                && step.kind == StepKind::Taken
                && step.bytes == [0x0f, 5]
            {
                expected.push(LinearAddress(step.rip));
            }
        }
    }
    let (_, found) = touches(&path, &[4096]);
    let calls = found.iter().filter(|touch| touch.kind == TouchKind::FetchOfSystemCall);
    let calls: Vec<LinearAddress> = calls.map(|touch| touch.address).collect();
    assert!(expected.len() > 10);
    assert_eq!(calls, expected);
}

#[test]
fn text_of_lackey_tells_how_long_instructions_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    std::fs::write(&path, "I  1000,3\n L 7000,8\n M 8000,4\nI  1003,7\n S 9000,1\n").unwrap();
    let touch = |address, bytes, kind| Touch { address: LinearAddress(address), bytes, kind };
    let expected = [
        touch(0x1000, 3, TouchKind::Fetch),
        touch(0x7000, 8, TouchKind::Load),
        touch(0x8000, 4, TouchKind::Load),
        touch(0x8000, 4, TouchKind::Store),
        touch(0x1003, 7, TouchKind::Fetch),
        touch(0x9000, 1, TouchKind::Store),
    ];
    assert_eq!(touches(&path, &[1]), (2, expected.to_vec()));
    assert_eq!(touches_of_steps(&path), (2, expected.to_vec()));
}

#[test]
fn records_of_champsim_give_the_touches_of_their_steps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    let mut bytes = vec![0; 128];
    for (at, address) in [(0, 0x40_1000u64), (16, 0x7000), (40, 0x9000), (32, 0x8000), (64, 0x40_1004)] {
        bytes[at..at + 8].copy_from_slice(&address.to_le_bytes());
    }
    std::fs::write(&path, bytes).unwrap();
    let (instructions, found) = touches(&path, &[1]);
    assert_eq!((instructions, found.len()), (2, 5));
    assert_eq!((instructions, found), touches_of_steps(&path));
}

#[test]
fn addresses_follow_registers_that_a_signal_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    let options = WriteOptions { level: 1, chunk_steps: 10 };
    let mut writer = TraceWriter::create(&path, &Header::default(), options).unwrap();
    let mut state = Registers { rip: 0x1000, ..Registers::default() };
    state.gpr[3] = 0x5000;
    writer.push_exec(&state).unwrap();
    for base in [0x6000, 0x7000] {
        // mov [rbx],rax
        state.rip += 3;
        let kind = StepKind::Computed;
        let record = StepRecord { kind, bytes: &[0x48, 0x89, 0x03], after: &state, stores: &[] };
        writer.push_step(&record).unwrap();
        state.gpr[3] = base;
        writer.push_effect(&state).unwrap();
    }
    writer.finish(EndReason::Limit).unwrap();
    let (instructions, found) = touches(&path, &[1]);
    let stores = found.iter().filter(|touch| touch.kind == TouchKind::Store);
    assert!(stores.map(|touch| touch.address.0).eq([0x5000, 0x6000]));
    assert_eq!((instructions, found), touches_of_steps(&path));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn portions_do_not_change_what_is_read(portions in prop::collection::vec(1usize..3000, 1..8)) {
        let path = bundled("pointer_chase");
        prop_assert!(touches(&path, &portions) == touches(&path, &[1 << 20]));
    }
}
