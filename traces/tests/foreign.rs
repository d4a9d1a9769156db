//! Traces of other tools: what they say is read, and what is damaged is refused.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use isa::address::LinearAddress;
use isa::registers::Registers;
use proptest::prelude::*;
use std::io::Write;
use std::path::{Path, PathBuf};
use traces::champsim::{ChampSimReader, ChampSimRecord, ChampSimWriter};
use traces::lackey::LackeyReader;
use traces::{
    Access, AccessStep, AnyTrace, Branch, EndReason, Header, StepKind, StepRecord, TraceError, TraceWriter,
    WriteOptions, open_any,
};
use zerocopy::FromBytes;

#[path = "common/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of the format")]
mod common;

use common::cases;

fn file(folder: &tempfile::TempDir, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("trace");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    liblzma::encode_all(bytes, 1).unwrap()
}

/// Two records: a load and store, and a taken branch.
fn records() -> Vec<u8> {
    let mut bytes = vec![0; 128];
    bytes[..8].copy_from_slice(&0x40_1000u64.to_le_bytes());
    bytes[16..24].copy_from_slice(&0x7000u64.to_le_bytes());
    bytes[32..40].copy_from_slice(&0x8000u64.to_le_bytes());
    bytes[40..48].copy_from_slice(&0x9000u64.to_le_bytes());
    bytes[64..72].copy_from_slice(&0x40_1004u64.to_le_bytes());
    bytes[72..74].copy_from_slice(&[1, 1]);
    bytes
}

fn steps(path: &Path) -> Result<Vec<AccessStep>, TraceError> {
    let mut steps = open_any(path)?.access_steps();
    let mut all = Vec::new();
    while let Some(step) = steps.next_step()? {
        all.push(step);
    }
    Ok(all)
}

fn step(ip: u64, loads: &[(u64, u32)], stores: &[(u64, u32)], branch: Branch) -> AccessStep {
    let access = |&(address, size): &(u64, u32)| Access::new(address, size);
    AccessStep {
        ip: LinearAddress(ip),
        loads: loads.iter().map(access).collect(),
        stores: stores.iter().map(access).collect(),
        branch,
        length: 0,
    }
}

#[test]
fn records_of_champsim_are_read_whether_plain_gzip_or_xz() {
    let folder = tempfile::tempdir().unwrap();
    let expected = [
        step(0x40_1000, &[(0x8000, 0), (0x9000, 0)], &[(0x7000, 0)], Branch::None),
        step(0x40_1004, &[], &[], Branch::Taken),
    ];
    for bytes in [records(), gzip(&records()), xz(&records())] {
        assert_eq!(steps(&file(&folder, &bytes)).unwrap(), expected);
    }
}

#[test]
fn records_of_champsim_that_are_cut_off_are_refused_with_the_offset() {
    let folder = tempfile::tempdir().unwrap();
    for cut in [65, 100, 127] {
        let error = steps(&file(&folder, &records()[..cut])).unwrap_err();
        assert!(matches!(error, TraceError::Truncated { offset, .. } if offset == cut as u64), "{error}");
    }
    let gzip = gzip(&records());
    let error = steps(&file(&folder, &gzip[..gzip.len() - 10])).unwrap_err();
    assert!(matches!(error, TraceError::Truncated { .. }), "{error}");
}

#[test]
fn text_of_lackey_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let text = "==12== Lackey\nI  04001000,3\n L 1ffe,8\n S 2000,4\nI  04001003,5\n M 7f00,8\n==12== done\n";
    let expected = [
        AccessStep { length: 3, ..step(0x400_1000, &[(0x1ffe, 8)], &[(0x2000, 4)], Branch::None) },
        AccessStep { length: 5, ..step(0x400_1003, &[(0x7f00, 8)], &[(0x7f00, 8)], Branch::None) },
    ];
    let path = file(&folder, text.as_bytes());
    assert!(matches!(open_any(&path).unwrap(), AnyTrace::Lackey(_)));
    assert_eq!(steps(&path).unwrap(), expected);
    assert_eq!(steps(&file(&folder, &xz(text.as_bytes()))).unwrap(), expected);
}

#[test]
fn a_line_of_lackey_that_cannot_be_read_is_refused_with_its_number() {
    let folder = tempfile::tempdir().unwrap();
    for bad in
        ["I  zz,3", " X 10,4", " L 10", " L 10,", " L 10,-4", "I", " L +10,4", " L 11112222333344445,4"]
    {
        let error = steps(&file(&folder, format!("I  1000,3\n{bad}\n").as_bytes())).unwrap_err();
        assert!(matches!(error, TraceError::Line { line: 2, .. }), "{bad}: {error}");
    }
    let error = steps(&file(&folder, b"==1== x\n L 10,4\n")).unwrap_err();
    assert!(matches!(error, TraceError::Line { line: 2, .. }), "{error}");
}

/// mov [rbx+8],rax; rep movsb of 5; jz to itself, twice; as a trace of our own.
fn own(path: &Path) {
    let options = WriteOptions { level: 1, chunk_steps: 2 };
    let mut writer = TraceWriter::create(path, &Header::default(), options).unwrap();
    let mut state = Registers { rip: 0x1000, ..Registers::default() };
    (state.gpr[3], state.gpr[1], state.gpr[6], state.gpr[7]) = (0x5000, 5, 0x6000, 0x7000);
    writer.push_exec(&state).unwrap();
    let mut push = |bytes: &[u8], state: &Registers| {
        writer.push_step(&StepRecord { kind: StepKind::Computed, bytes, after: state, stores: &[] }).unwrap();
    };
    state.rip += 4;
    push(&[0x48, 0x89, 0x43, 0x08], &state);
    state.rip += 2;
    (state.gpr[1], state.gpr[6], state.gpr[7]) = (0, 0x6005, 0x7005);
    push(&[0xf3, 0xa4], &state);
    push(&[0x74, 0xfe], &state);
    state.rip += 2;
    push(&[0x74, 0xfe], &state);
    writer.finish(EndReason::Limit).unwrap();
}

#[test]
fn a_trace_of_our_own_shows_the_same_view() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own");
    own(&path);
    let expected = [
        AccessStep { length: 4, ..step(0x1000, &[], &[(0x5008, 8)], Branch::None) },
        AccessStep { length: 2, ..step(0x1004, &[(0x6000, 5)], &[(0x7000, 5)], Branch::None) },
        AccessStep { length: 2, ..step(0x1006, &[], &[], Branch::Taken) },
        AccessStep { length: 2, ..step(0x1006, &[], &[], Branch::NotTaken) },
    ];
    assert_eq!(steps(&path).unwrap(), expected);
}

#[test]
fn a_trace_of_our_own_becomes_records_of_champsim() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own");
    own(&path);
    let mut bytes = Vec::new();
    let mut writer = ChampSimWriter::new(&mut bytes, Path::new("memory"));
    let mut reader = traces::TraceReader::open(&path).unwrap();
    while let Some(chunk) = reader.next_chunk(traces::Sections::All).unwrap() {
        writer.replace(chunk.start());
        let mut walk = chunk.walk().unwrap();
        while let Some(item) = walk.next().unwrap() {
            match item {
                traces::Item::Step(step) => writer.push_step(&step).unwrap(),
                traces::Item::Event(_, traces::Event::Exec(registers)) => writer.replace(registers),
                traces::Item::Event(..) => {}
            }
        }
    }
    writer.finish().unwrap();
    let first = ChampSimRecord::read_from_prefix(&bytes).unwrap().0;
    assert_eq!((first.ip.get(), first.is_branch, first.destination_memory[0].get()), (0x1000, 0, 0x5008));
    assert_eq!(first.source_registers, [7, 10, 0, 0], "rbx and rax");
    let known = file(&folder, &bytes);
    let read = steps(&known).unwrap();
    assert_eq!(read.len(), 4);
    assert_eq!(read[1], step(0x1004, &[(0x6000, 0)], &[(0x7000, 0)], Branch::None));
    assert_eq!([read[2].branch, read[3].branch], [Branch::Taken, Branch::NotTaken]);
}

#[test]
fn a_file_that_is_no_trace_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for bytes in
        [&b""[..], b"short", b"#!/bin/sh\n# A script that is longer than a record of sixty-four bytes is.\n"]
    {
        let error = steps(&file(&folder, bytes)).unwrap_err();
        assert!(matches!(error, TraceError::Foreign { .. }), "{error}");
    }
    let error = steps(Path::new("/no/such/file")).unwrap_err();
    assert!(matches!(error, TraceError::Io { action: "open", .. }), "{error}");
}

fn read_as_everything(path: &Path) {
    let _ = steps(path);
    if let Ok(mut reader) = LackeyReader::open(path) {
        while let Ok(Some(_)) = reader.next_step() {}
    }
    if let Ok(mut reader) = ChampSimReader::open(path) {
        while let Ok(Some(_)) = reader.next_record() {}
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn random_bytes_never_panic_a_reader(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let folder = tempfile::tempdir().unwrap();
        read_as_everything(&file(&folder, &bytes));
    }

    #[test]
    fn a_damaged_file_never_panics_a_reader(
        kind in 0usize..4,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in any::<prop::sample::Index>(),
        cuts: bool,
    ) {
        let text = b"==12== Lackey\nI  04001000,3\n L 1ffe,8\n S 2000,4\nI  04001003,5\n M 7f00,8\n".to_vec();
        let mut bytes = [gzip(&records()), xz(&records()), text.clone(), xz(&text)][kind].clone();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        let folder = tempfile::tempdir().unwrap();
        read_as_everything(&file(&folder, &bytes));
    }

    #[test]
    fn records_return_from_their_bytes(bytes in prop::collection::vec(any::<[u8; 64]>(), 0..10)) {
        let folder = tempfile::tempdir().unwrap();
        let bytes = bytes.concat();
        let mut reader = ChampSimReader::open(&file(&folder, &xz(&bytes))).unwrap();
        let mut written = Vec::new();
        let mut writer = ChampSimWriter::new(&mut written, Path::new("memory"));
        while let Some(record) = reader.next_record().unwrap() {
            writer.push(&record).unwrap();
        }
        writer.finish().unwrap();
        prop_assert_eq!(written, bytes);
    }
}
