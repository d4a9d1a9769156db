//! Changes the sources of a crate, one small mistake at a time, and tells which mistakes its tests do not notice.
//!
//! `cargo run -p vmxsim-tests --bin mutate -- PACKAGE TEST[,TEST..] FILE..`
//!
//! PACKAGE is a package of the workspace, each TEST one of its integration tests (`lib` for its unit tests), in the
//! order in which they run, and each FILE a path from the root of the workspace. The work is done in a copy of the
//! workspace in the system's directory of temporary files. MUTATE_FROM and MUTATE_UPTO in the environment choose a
//! part of the mutants by number, MUTATE_LIST only lists them.

mod mutants;
mod source;

use mutants::mutants;
use source::Source;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// What the command line asks for.
struct Plan {
    package: String,
    tests: Vec<String>,
    files: Vec<String>,
}

/// What became of a mutant.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Fate {
    /// Tests failed: their names.
    Caught(Vec<String>),
    /// A test did not end.
    Hung,
    /// It does not compile.
    Unviable,
    /// No test noticed.
    Survived,
}

/// How a run of cargo ended.
enum Ended {
    Well,
    Failed(String),
    TooLate,
}

/// Counts by fate.
#[derive(Default)]
struct Counts {
    caught: usize,
    hung: usize,
    unviable: usize,
    survived: usize,
}

impl Counts {
    fn add(&mut self, fate: &Fate) {
        match fate {
            Fate::Caught(_) => self.caught += 1,
            Fate::Hung => self.hung += 1,
            Fate::Unviable => self.unviable += 1,
            Fate::Survived => self.survived += 1,
        }
    }
}

impl std::fmt::Display for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Caught(tests) => write!(f, "caught by {}", tests.join(", ")),
            Self::Hung => f.write_str("hung"),
            Self::Unviable => f.write_str("does not compile"),
            Self::Survived => f.write_str("SURVIVED"),
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [package, tests, files @ ..] = arguments.as_slice() else {
        eprintln!("usage: mutate PACKAGE TEST[,TEST..] FILE..");
        return ExitCode::from(2);
    };
    let tests = tests.split(',').map(str::to_owned).collect();
    let plan = Plan { package: package.clone(), tests, files: files.to_vec() };
    match run(&plan) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

/// Tries all mutants; returns the number of those that survived.
fn run(plan: &Plan) -> io::Result<usize> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let only_list = std::env::var_os("MUTATE_LIST").is_some();
    let copy = std::env::temp_dir().join("vmxsim-mutants");
    if !only_list {
        prepare(plan, &root, &copy)?;
    }
    let chosen = number("MUTATE_FROM").unwrap_or(0)..number("MUTATE_UPTO").unwrap_or(usize::MAX);
    let (mut next, mut counts) = (0, Counts::default());
    for file in &plan.files {
        let text = fs::read_to_string(root.join(file))?;
        let source = Source::new(&text);
        for mutant in mutants(&source) {
            let what = format!("{next} {file}:{}", mutant.describe(&source));
            let skipped = !chosen.contains(&next);
            next += 1;
            if skipped || only_list {
                if only_list {
                    println!("{what}");
                }
                continue;
            }
            fs::write(copy.join(file), mutant.apply(&text))?;
            let fate = fate(&copy, plan, Duration::from_secs(180))?;
            println!("{what}: {fate}");
            counts.add(&fate);
        }
        if !only_list {
            fs::write(copy.join(file), &text)?;
        }
    }
    let Counts { caught, hung, unviable, survived } = counts;
    println!("{caught} caught, {hung} hung, {unviable} do not compile, {survived} survived");
    Ok(survived)
}

/// Makes the copy, and sees that the tests pass there.
fn prepare(plan: &Plan, root: &Path, copy: &Path) -> io::Result<()> {
    copy_workspace(root, copy)?;
    let start = Instant::now();
    let fate = fate(copy, plan, Duration::from_secs(3600))?;
    if fate != Fate::Survived {
        return Err(io::Error::other(format!("without a mutant: {fate}")));
    }
    println!("unchanged: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Copies what git knows, so that the copy builds.
fn copy_workspace(from: &Path, to: &Path) -> io::Result<()> {
    let listing = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(from)
        .output()?;
    for path in String::from_utf8_lossy(&listing.stdout).split_terminator('\0') {
        let target: PathBuf = to.join(path);
        let Ok(text) = fs::read(from.join(path)) else { continue };
        // Untouched files keep their time, and need not be built again.
        if fs::read(&target).is_ok_and(|old| old == text) {
            continue;
        }
        if let Some(directory) = target.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(target, text)?;
    }
    Ok(())
}

/// Builds and runs the tests one after the other, until one notices.
fn fate(copy: &Path, plan: &Plan, limit: Duration) -> io::Result<Fate> {
    for test in &plan.tests {
        if !matches!(cargo(copy, plan, test, &["--no-run"], Duration::from_secs(3600))?, Ended::Well) {
            return Ok(Fate::Unviable);
        }
        match cargo(copy, plan, test, &[], limit)? {
            Ended::Well => {}
            Ended::Failed(output) => return Ok(Fate::Caught(failed_tests(&output))),
            Ended::TooLate => return Ok(Fate::Hung),
        }
    }
    Ok(Fate::Survived)
}

/// The names of the tests that the output of a run calls failed.
fn failed_tests(output: &str) -> Vec<String> {
    let name = |line: &str| Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned());
    output.lines().filter_map(name).collect()
}

/// Runs cargo for one test.
fn cargo(copy: &Path, plan: &Plan, test: &str, more: &[&str], limit: Duration) -> io::Result<Ended> {
    let mut command = Command::new("cargo");
    command.args(["test", "--package", &plan.package]).args(more);
    if test == "lib" {
        command.arg("--lib")
    } else {
        command.args(["--test", test])
    };
    command.current_dir(copy).env("CARGO_TARGET_DIR", copy.join("target"));
    command.env("CARGO_PROFILE_DEV_DEBUG", "none").env("RUST_BACKTRACE", "0");
    let log = copy.join("target").join("mutate.log");
    fs::create_dir_all(copy.join("target"))?;
    command.stdout(fs::File::create(&log)?).stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn()?;
    let start = Instant::now();
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(Ended::Well),
            Some(_) => return Ok(Ended::Failed(fs::read_to_string(&log)?)),
            None if start.elapsed() > limit => {
                // The test is a child of cargo, and of its process group.
                Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status()?;
                child.wait()?;
                return Ok(Ended::TooLate);
            }
            None => thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn failed_tests_are_known_by_name() {
        let output = "running 2 tests\ntest a::b ... ok\ntest a::c ... FAILED\n\nfailures:\n";
        assert_eq!(super::failed_tests(output), ["a::c"]);
    }
}
