//! Where a trace is written: a file that appears under its name only when it is whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A destination that can be told that everything has been written.
pub trait Sink: Write {
    /// Makes what was written visible under its final name.
    ///
    /// # Errors
    ///
    /// Whatever the operating system reports, a full disk for example.
    fn commit(self) -> io::Result<()>;
}

/// A file beside its final place, renamed by [`Sink::commit`] and removed when it is dropped before.
pub struct TraceFile {
    writer: BufWriter<NamedTempFile>,
    target: PathBuf,
}

impl TraceFile {
    /// Creates a temporary file beside `target`.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written, or `target` is something else than a regular file.
    pub fn create(target: &Path) -> io::Result<Self> {
        if fs::metadata(target).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it exists and is not a regular file"));
        }
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let temporary =
            readable_by_others(&mut tempfile::Builder::new()).prefix(".vmxt-").tempfile_in(folder)?;
        Ok(Self { writer: BufWriter::with_capacity(1 << 16, temporary), target: target.to_owned() })
    }
}

/// A trace is no secret: the umask decides who may read it.
#[cfg(unix)]
fn readable_by_others<'a, 'b, 'c>(
    builder: &'c mut tempfile::Builder<'a, 'b>,
) -> &'c mut tempfile::Builder<'a, 'b> {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(fs::Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn readable_by_others<'a, 'b, 'c>(
    builder: &'c mut tempfile::Builder<'a, 'b>,
) -> &'c mut tempfile::Builder<'a, 'b> {
    builder
}

impl Write for TraceFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Sink for TraceFile {
    fn commit(self) -> io::Result<()> {
        let temporary = self.writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        temporary.persist(&self.target).map_err(|error| error.error)?;
        Ok(())
    }
}

impl Sink for &mut Vec<u8> {
    fn commit(self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for File {
    fn commit(mut self) -> io::Result<()> {
        self.flush()
    }
}
