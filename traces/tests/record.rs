//! The recorder, on real programs.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[path = "common/consistency.rs"]
mod consistency;

use consistency::{Checked, check};
use iced_x86::Mnemonic;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use traces::record::{Outcome, RecordError, RecordOptions, Recorder};
use traces::{Cpuid, EndReason, TraceReader, TraceWriter, WriteOptions};

struct Recorded {
    outcome: Outcome,
    checked: Checked,
    bytes: Vec<u8>,
}

fn record_to(
    path: &Path,
    program: &Path,
    arguments: &[&str],
    options: RecordOptions,
) -> Result<Outcome, RecordError> {
    let recorder = Recorder::new(program, arguments.iter().map(OsString::from), options)
        .environment([("PATH".into(), "/usr/bin:/bin".into())]);
    let options = WriteOptions { level: 1, chunk_steps: 1 << 14 };
    let mut writer = TraceWriter::create(path, &recorder.header(), options)?;
    let outcome = recorder.run(&mut writer, &mut |_| {})?;
    writer.finish(outcome.end)?;
    Ok(outcome)
}

fn record(program: &Path, arguments: &[&str], options: RecordOptions) -> Recorded {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.vmxt");
    let outcome = record_to(&path, program, arguments, options).unwrap();
    let checked = check(&path).unwrap();
    assert_eq!(checked.steps, outcome.steps);
    Recorded { outcome, checked, bytes: std::fs::read(&path).unwrap() }
}

fn limited(limit: u64) -> RecordOptions {
    RecordOptions { limit: Some(limit), ..RecordOptions::default() }
}

/// Without a C library, so that the program is the same everywhere.
const BARE: &[&str] = &["-nostdlib", "-static", "-fno-stack-protector", "-fno-pie", "-no-pie"];

/// Compiles a program.
fn build(folder: &Path, source: &str, flags: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(source);
    let program = folder.join("program");
    let status =
        Command::new("cc").arg("-O1").args(flags).arg("-o").arg(&program).arg(source).status().unwrap();
    assert!(status.success());
    program
}

#[test]
fn a_program_that_does_what_is_hard_to_record_runs_as_ever_and_its_trace_is_consistent() {
    let folder = tempfile::tempdir().unwrap();
    let program = build(folder.path(), "everything.c", BARE);
    let Recorded { outcome, checked, .. } = record(&program, &[], RecordOptions::default());
    assert_eq!(outcome.end, EndReason::Exited(42), "the number of the first check that failed");
    assert_eq!((outcome.programs, outcome.threads_not_recorded), (1, false));
    let count = |mnemonic| checked.mnemonics.get(&mnemonic).copied().unwrap_or(0);
    // Each repeated instruction is one step, however many iterations it has.
    assert_eq!((count(Mnemonic::Stosb), count(Mnemonic::Movsq), count(Mnemonic::Scasb)), (3, 1, 1));
    assert!(checked.repeats >= 5);
    assert_eq!((checked.effects, checked.execs), (3, 1));
    assert_eq!((count(Mnemonic::Cpuid), count(Mnemonic::Int3), count(Mnemonic::Pushfq)), (1, 1, 1));
    assert!(checked.patches > 0 && checked.loads > 0);
}

#[test]
fn signals_that_interrupt_repeated_instructions_and_system_calls_leave_them_whole() {
    let folder = tempfile::tempdir().unwrap();
    let program = build(folder.path(), "interrupted.c", &[]);
    let Recorded { outcome, checked, .. } = record(&program, &[], RecordOptions::default());
    assert_eq!(outcome.end, EndReason::Exited(0));
    assert!(checked.effects > 3);
    // Every iteration belongs to the one step of its instruction.
    assert!(checked.repeated_bytes >= 20 * ((1 << 20) + 300 + 512) + 5000);
}

#[test]
fn recording_a_static_program_twice_gives_the_same_steps() {
    let folder = tempfile::tempdir().unwrap();
    let program = build(folder.path(), "everything.c", BARE);
    let [first, second] = [(); 2].map(|()| record(&program, &[], RecordOptions::default()));
    assert_eq!(first.outcome, second.outcome);
    // The process id is in registers and in a signal frame; nothing else may differ.
    assert!(first.bytes.len().abs_diff(second.bytes.len()) < 100);
    assert_eq!(first.checked.mnemonics, second.checked.mnemonics);
}

#[test]
fn a_dynamic_program_is_recorded_to_its_end() {
    let Recorded { outcome, checked, bytes } = record(Path::new("true"), &[], RecordOptions::default());
    assert_eq!(outcome.end, EndReason::Exited(0));
    assert!(checked.steps > 10_000 && checked.loads > 1000);
    assert!(checked.taken * 1000 < checked.steps, "{} of {} steps are taken", checked.taken, checked.steps);
    assert!((bytes.len() as u64) < 8 * checked.steps);
}

#[test]
fn a_program_that_a_program_executes_starts_with_an_empty_address_space() {
    let options = RecordOptions::default();
    let Recorded { outcome, checked, .. } = record(Path::new("/bin/sh"), &["-c", "exec /bin/true"], options);
    assert_eq!((outcome.end, outcome.programs, checked.execs), (EndReason::Exited(0), 2, 2));
}

#[test]
fn a_program_that_starts_processes_is_recorded_through_their_signals() {
    let options = RecordOptions::default();
    let script = "trap 'x=1' USR1; (kill -USR1 $$); /bin/true; exit $((x + 4))";
    let Recorded { outcome, checked, .. } = record(Path::new("/bin/sh"), &["-c", script], options);
    assert_eq!(outcome.end, EndReason::Exited(5));
    assert!(checked.effects > 0);
}

#[test]
fn a_program_that_a_signal_kills_leaves_a_trace_up_to_there() {
    let options = RecordOptions::default();
    let Recorded { outcome, checked, .. } = record(Path::new("/bin/sh"), &["-c", "kill -KILL $$"], options);
    assert_eq!(outcome.end, EndReason::Killed(9));
    assert!(checked.steps > 10_000);
}

#[test]
fn a_limit_ends_the_trace_and_the_program() {
    let Recorded { outcome, checked, .. } = record(Path::new("/bin/sleep"), &["1000"], limited(1234));
    assert_eq!((outcome.end, checked.steps), (EndReason::Limit, 1234));
}

#[test]
fn vector_code_beyond_the_scope_is_avoided_unless_cpuid_is_the_hosts() {
    let host = RecordOptions { cpuid: Cpuid::Host, ..RecordOptions::default() };
    let vex = |recorded: &Recorded| {
        let wide =
            [Mnemonic::Vmovdqu, Mnemonic::Vpcmpeqb, Mnemonic::Vmovdqu64, Mnemonic::Xsavec, Mnemonic::Xgetbv];
        wide.iter().filter(|mnemonic| recorded.checked.mnemonics.contains_key(mnemonic)).count()
    };
    let scoped = record(Path::new("/bin/true"), &[], RecordOptions::default());
    assert_eq!(vex(&scoped), 0);
    if std::arch::is_x86_feature_detected!("avx2") {
        assert_ne!(vex(&record(Path::new("/bin/true"), &[], host)), 0);
    }
}

#[test]
fn what_cannot_be_recorded_is_refused_by_name_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.vmxt");
    let text = folder.path().join("text");
    std::fs::write(&text, "no program").unwrap();
    let run = |program: &Path| record_to(&path, program, &[], RecordOptions::default()).unwrap_err();

    let error = run(Path::new("/no/such/program"));
    assert!(
        matches!(&error, RecordError::NotFound { source, .. } if source.raw_os_error() == Some(2)),
        "{error}"
    );
    assert!(error.to_string().starts_with("/no/such/program: "), "{error}");
    let error = run(&text);
    assert!(
        matches!(&error, RecordError::NotExecutable { source, .. } if source.raw_os_error() == Some(13)),
        "{error}"
    );
    assert!(!path.exists());
}

#[test]
fn a_disk_that_fills_up_while_recording_is_an_error_and_ends_the_program() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let recorder = Recorder::new("/bin/true", [], RecordOptions::default());
    // A buffer large enough for the header lets the failure happen in the middle.
    let sink = Late(std::io::BufWriter::with_capacity(4096, full));
    let options = WriteOptions { level: 1, chunk_steps: 1 << 12 };
    let mut writer = TraceWriter::new(sink, Path::new("/dev/full"), &recorder.header(), options).unwrap();
    let error = recorder.run(&mut writer, &mut |_| {}).unwrap_err();
    assert!(matches!(&error, RecordError::Trace(traces::TraceError::Io { .. })), "{error}");
}

struct Late(std::io::BufWriter<std::fs::File>);

impl std::io::Write for Late {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl traces::Sink for Late {
    fn commit(self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_recorded_trace_tells_what_it_is_without_being_decompressed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.vmxt");
    record_to(&path, Path::new("/bin/sleep"), &["1000"], limited(100)).unwrap();
    let summary = TraceReader::open(&path).unwrap().summary().unwrap();
    assert_eq!(
        (summary.header.program.as_str(), summary.header.arguments),
        ("/bin/sleep", vec!["1000".to_owned()])
    );
    assert_eq!(
        (summary.header.limit, summary.trailer.steps, summary.trailer.unfinished),
        (Some(100), 100, true)
    );
}
