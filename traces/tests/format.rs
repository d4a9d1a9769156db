//! The trace format: what is written is read, and what is damaged is refused.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod common;

use common::{Stored, Thing, cases, read_all, read_events, things, write};
use isa::registers::Registers;
use proptest::prelude::*;
use std::io::Cursor;
use std::path::Path;
use traces::{EndReason, Header, StepKind, TraceError, TraceReader, TraceWriter, WriteOptions};

fn options(chunk_steps: u32) -> WriteOptions {
    WriteOptions { level: 1, chunk_steps }
}

/// `things` with the index that each has in a trace, after the first exec.
fn indexed(things: &[Thing]) -> Vec<(u64, Thing)> {
    let mut index = 0;
    let mut all = vec![(0, Thing::Exec(Box::default()))];
    for thing in things {
        all.push((index, thing.clone()));
        index += u64::from(matches!(thing, Thing::Step { .. }));
    }
    all
}

fn summary(file: &[u8]) -> Result<traces::Summary, TraceError> {
    TraceReader::new(Cursor::new(file), Path::new("memory"))?.summary()
}

/// Reads `file` in every way; the first error that any of them gives.
fn read_every_way(file: &[u8]) -> Result<(), TraceError> {
    let results = [read_all(file).map(drop), read_events(file).map(drop), summary(file).map(drop)];
    results.into_iter().collect()
}

/// A trace of several chunks with a bit of everything.
fn sample() -> Vec<u8> {
    let mut state = Registers::default();
    let mut things = vec![Thing::Page(7, 5, vec![3; 4096]), Thing::Page(8, 3, vec![0; 4096])];
    for i in 0..200u64 {
        state.rip = 0x7000 + i % 10 * 3;
        state.gpr[(i % 5) as usize] = i * i;
        state.xmm[1] = u128::from(i) << 77;
        let kind = if i % 17 == 0 { StepKind::Taken } else { StepKind::Computed };
        let stores = vec![(0x8000 + i * 8, Stored::Bytes(vec![i as u8; 8]))];
        things.push(Thing::Step { kind, bytes: vec![i as u8 % 10; 3], after: Box::new(state), stores });
        if i == 100 {
            things.push(Thing::Patch(0x7010, vec![1, 2, 3]));
            things.push(Thing::Effect(Box::new(state)));
        }
    }
    write(&things, options(64))
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn what_is_written_is_read(things in things(120), chunk_steps in 1u32..50) {
        let file = write(&things, options(chunk_steps));
        prop_assert_eq!(read_all(&file).unwrap(), indexed(&things));
    }

    #[test]
    fn a_replay_that_reads_events_only_gets_every_event_and_the_effect_of_every_taken_step(
        things in things(120), chunk_steps in 1u32..50,
    ) {
        let file = write(&things, options(chunk_steps));
        let mut expected = indexed(&things);
        expected.retain(|(_, thing)| !matches!(thing, Thing::Step { kind: StepKind::Computed, .. }));
        let read = read_events(&file).unwrap();
        prop_assert_eq!(read.len(), expected.len());
        for (read, expected) in read.into_iter().zip(expected) {
            prop_assert_eq!(read.0, expected.0);
            match (read.1, expected.1) {
                (Thing::Step { bytes: a, stores: b, after: c, .. }, Thing::Step { bytes, stores, after, .. }) => {
                    prop_assert_eq!((a, b, c.rip), (bytes, stores, after.rip));
                }
                (read, expected) => prop_assert_eq!(read, expected),
            }
        }
    }

    #[test]
    fn a_summary_counts_what_was_written(things in things(60), chunk_steps in 1u32..50) {
        let file = write(&things, options(chunk_steps));
        let summary = summary(&file).unwrap();
        let count = |kind| things.iter().filter(|t| matches!(t, Thing::Step { kind: k, .. } if *k == kind)).count();
        let taken = count(StepKind::Taken) as u64;
        prop_assert_eq!(summary.trailer.taken, taken);
        prop_assert_eq!(summary.trailer.steps, taken + count(StepKind::Computed) as u64);
        prop_assert_eq!(summary.trailer.end, EndReason::Exited(3));
        prop_assert_eq!(summary.file_bytes, file.len() as u64);
    }

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read_every_way(&bytes).is_err());
    }

    #[test]
    fn a_trace_with_a_flipped_bit_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut file = sample();
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        prop_assert!(read_every_way(&file).is_err());
    }

    #[test]
    fn a_trace_that_was_cut_off_is_refused(at in any::<prop::sample::Index>()) {
        let file = sample();
        let cut = &file[..at.index(file.len())];
        let error = read_every_way(cut).unwrap_err();
        prop_assert!(matches!(error, TraceError::Truncated { .. } | TraceError::Foreign { .. }), "{error}");
    }
}

#[test]
fn a_trace_with_something_after_its_trailer_is_refused() {
    let mut file = sample();
    let end = file.len() as u64;
    file.push(0);
    let error = read_every_way(&file).unwrap_err();
    assert!(matches!(error, TraceError::Corrupt { offset, .. } if offset == end), "{error}");
}

#[test]
fn a_trace_of_another_version_is_refused_by_name() {
    let mut file = sample();
    file[8] = 2;
    let error = read_every_way(&file).unwrap_err();
    assert!(matches!(error, TraceError::Version { found: 2, supported: 1, .. }), "{error}");
}

#[test]
fn an_absurd_size_is_refused_before_anything_is_allocated() {
    let mut file = sample();
    file[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = read_every_way(&file).unwrap_err();
    assert!(matches!(error, TraceError::TooLarge { offset: 12, claimed: 0xffff_ffff, .. }), "{error}");
}

#[test]
fn an_error_names_the_file_the_offset_and_what_was_expected() {
    let file = sample();
    let error = read_every_way(&file[..file.len() - 1]).unwrap_err().to_string();
    assert_eq!(error, format!("memory: the file ends at offset {}, expected trailer", file.len() - 1));
}

#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let writer = TraceWriter::new(full, Path::new("/dev/full"), &Header::default(), options(64));
    let error = writer.err().unwrap();
    assert!(
        matches!(&error, TraceError::Io { action: "write", source, .. }
        if source.kind() == std::io::ErrorKind::StorageFull),
        "{error}"
    );
}

#[test]
fn a_file_appears_under_its_name_only_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.vmxt");
    let mut writer = TraceWriter::create(&path, &Header::default(), options(64)).unwrap();
    writer.push_exec(&Registers::default()).unwrap();
    assert!(!path.exists());
    writer.finish(EndReason::Limit).unwrap();
    assert!(TraceReader::open(&path).unwrap().summary().unwrap().trailer.unfinished);

    let other = folder.path().join("other.vmxt");
    drop(TraceWriter::create(&other, &Header::default(), options(64)).unwrap());
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [path]);
}

#[test]
fn a_trace_is_not_written_over_a_device() {
    let error = TraceWriter::create(Path::new("/dev/null"), &Header::default(), options(64)).err().unwrap();
    assert!(matches!(error, TraceError::Io { action: "create the file", .. }), "{error}");
}

#[test]
fn a_trace_without_a_program_is_refused() {
    let mut file = Vec::new();
    let writer = TraceWriter::new(&mut file, Path::new("memory"), &Header::default(), options(64)).unwrap();
    let error = writer.finish(EndReason::Exited(0)).unwrap_err();
    assert!(matches!(error, TraceError::Refused { .. }), "{error}");
}
