//! Results as data: the envelope that every JSON result of the command line has.

use serde::Serialize;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A result could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the result to {}: {source}", path.display())]
pub struct ResultError {
    path: PathBuf,
    source: std::io::Error,
}

/// What a run was asked to do, how long the host took, and what came out.
pub struct Envelope<'a, C: Serialize, R: Serialize> {
    /// Name of the schema, such as `vmxsim-replay`.
    pub schema: &'a str,
    /// Version of the schema; it grows when a key changes its meaning or goes away.
    pub schema_version: u32,
    /// The configuration with everything resolved.
    pub config: &'a C,
    /// The seed of whatever was random.
    pub seed: u64,
    /// Wall-clock time of the host.
    pub host_seconds: f64,
    /// The result itself, an object; its keys follow those of the envelope.
    pub result: &'a R,
}

impl<C: Serialize, R: Serialize> Envelope<'_, C, R> {
    /// The result as a JSON object.
    ///
    /// # Errors
    ///
    /// Those of serialization, which plain data does not have.
    pub fn to_json(&self) -> serde_json::Result<Value> {
        let config = serde_json::to_value(self.config)?;
        let mut object = Map::new();
        object.insert("schema".into(), json!({ "name": self.schema, "version": self.schema_version }));
        object.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        object.insert("config_hash".into(), hash(&config).into());
        object.insert("config".into(), config);
        object.insert("seed".into(), self.seed.into());
        object.insert("host_seconds".into(), json!(self.host_seconds));
        if let Value::Object(result) = serde_json::to_value(self.result)? {
            object.extend(result);
        }
        Ok(Value::Object(object))
    }
}

/// CRC-32 of the configuration as compact JSON: equal for equal configurations, across hosts and versions.
fn hash(config: &Value) -> String {
    format!("{:08x}", crc32fast::hash(config.to_string().as_bytes()))
}

/// Writes JSON to a file, whole or not at all, or to standard output when the path is `-`.
///
/// # Errors
///
/// [`ResultError`] names the file.
pub fn write_json(path: &Path, value: &Value) -> Result<(), ResultError> {
    write_file(path, format!("{value:#}\n").as_bytes())
}

/// Writes a file, whole or not at all, or to standard output when the path is `-`.
///
/// # Errors
///
/// [`ResultError`] names the file.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ResultError> {
    let error = |source| ResultError { path: path.to_path_buf(), source };
    if path == Path::new("-") {
        return std::io::stdout().write_all(bytes).map_err(error);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As readable as other files that the user makes, and not for the user alone, as temporary ones are.
    let ordinary = std::fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(ordinary).tempfile_in(folder).map_err(error)?;
    file.write_all(bytes).map_err(error)?;
    file.persist(path).map_err(|persist| error(persist.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_result_has_the_keys_of_the_envelope_before_its_own() {
        let envelope = Envelope {
            schema: "vmxsim-test",
            schema_version: 1,
            config: &json!({ "a": 1 }),
            seed: 7,
            host_seconds: 0.5,
            result: &json!({ "instructions": 3 }),
        };
        let value = envelope.to_json().unwrap();
        let keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            ["schema", "version", "config_hash", "config", "seed", "host_seconds", "instructions"]
        );
        assert_eq!(value["config_hash"], hash(&json!({ "a": 1 })));
    }

    #[test]
    fn a_result_can_be_read_by_those_who_can_read_other_new_files() {
        let folder = tempfile::tempdir().unwrap();
        let [result, other] = ["result.json", "other"].map(|name| folder.path().join(name));
        write_json(&result, &json!({})).unwrap();
        std::fs::write(&other, "").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&result), mode(&other));
    }

    #[test]
    fn a_result_that_cannot_be_written_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no/such/folder/result.json");
        let error = write_json(&path, &json!({})).unwrap_err().to_string();
        assert!(error.contains("no/such/folder/result.json"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
