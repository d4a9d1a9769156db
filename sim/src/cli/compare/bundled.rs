//! The traces that come with the program: whoever has the program has them, wherever it runs.

use super::report;
use miette::{Result, miette};
use std::path::PathBuf;
use tempfile::TempDir;
use vmxsim::compare::CompareOptions;

/// What stands before the name of a bundled trace.
const PREFIX: &str = "bundled:";

macro_rules! traces {
    ($($name:literal),*) => {
        [$(($name, include_bytes!(concat!("../../../../traces/", $name, ".vmxt")))),*]
    };
}

/// The recordings of folder `traces`.
const TRACES: [(&str, &[u8]); 6] = traces!["btree", "hash", "json", "matrix", "pointer_chase", "sort"];

/// The names of all bundled traces, as `compare` takes them.
pub(super) fn all() -> Vec<PathBuf> {
    TRACES.iter().map(|(name, _)| PathBuf::from(format!("{PREFIX}{name}"))).collect()
}

/// Options whose bundled traces lie in files for as long as this lives.
pub(super) struct Unpacked {
    /// The options, with the paths of these files.
    pub(super) options: CompareOptions,
    /// Removes them.
    _folder: Option<TempDir>,
}

impl Unpacked {
    /// Writes the bundled traces that are named into a folder of their own.
    pub(super) fn of(options: &CompareOptions) -> Result<Self> {
        let mut options = options.clone();
        let mut folder = None;
        for trace in &mut options.work.traces {
            if let Some(name) = trace.to_str().and_then(|path| path.strip_prefix(PREFIX)) {
                let bytes = bytes(name)?;
                let folder = match &mut folder {
                    Some(folder) => folder,
                    none => none.insert(tempfile::tempdir().map_err(report)?),
                };
                let path = folder.path().join(format!("{name}.vmxt"));
                std::fs::write(&path, bytes).map_err(|e| miette!("cannot write {}: {e}", path.display()))?;
                *trace = path;
            }
        }
        Ok(Self { options, _folder: folder })
    }
}

fn bytes(name: &str) -> Result<&'static [u8]> {
    let found = TRACES.into_iter().find(|(known, _)| *known == name);
    let names = TRACES.map(|(name, _)| name).join(", ");
    found
        .map(|(_, bytes)| bytes)
        .ok_or_else(|| miette!("no bundled trace is named `{name}`; there are {names}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use vmxsim::compare::work::WorkOptions;

    #[test]
    fn every_trace_of_the_project_is_bundled_and_can_be_read() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../traces");
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| {
                name.strip_suffix(".vmxt").map(|name| PathBuf::from(format!("{PREFIX}{name}")))
            })
            .collect();
        names.sort();
        assert_eq!(all(), names);

        let work = WorkOptions { traces: all(), ..WorkOptions::default() };
        let unpacked = Unpacked::of(&CompareOptions::new(work)).unwrap();
        for trace in &unpacked.options.work.traces {
            assert!(traces::TraceReader::open(trace).unwrap().summary().unwrap().trailer.steps > 0);
        }
        let folder = unpacked.options.work.traces[0].parent().unwrap().to_owned();
        drop(unpacked);
        assert!(!folder.exists(), "nothing stays behind");
    }

    #[test]
    fn other_traces_stay_where_they_are() {
        let traces = vec![PathBuf::from("a/b.vmxt"), PathBuf::from("bundle")];
        let options = CompareOptions::new(WorkOptions { traces: traces.clone(), ..WorkOptions::default() });
        assert_eq!(Unpacked::of(&options).unwrap().options.work.traces, traces);
    }
}
