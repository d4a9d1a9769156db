//! Why a processor file is refused.

use std::path::PathBuf;

use thiserror::Error;

/// A processor file that is refused. Each variant names the file as its reader gave it.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ProcessorError {
    /// The text is not TOML, or a key is unknown or of another type.
    #[error("{file}:{line}:{column}: {reason}")]
    Shape {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What was found there and what was expected.
        reason: String,
    },
    /// A key that every processor has.
    #[error("{file}: {key} is missing")]
    Missing {
        /// The file.
        file: String,
        /// The key.
        key: String,
    },
    /// The base that the file names is no shipped processor.
    #[error("{file}: base = \"{}\": {unknown}", unknown.name)]
    Base {
        /// The file.
        file: String,
        /// The name and those that are known.
        unknown: UnknownProcessor,
    },
    /// A value is out of range or contradicts another.
    #[error("{file}: {key} = {value}: {problem}")]
    Value {
        /// The file.
        file: String,
        /// The key, with its tables, joined by dots.
        key: String,
        /// The value as it stands in the file.
        value: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A value that no `[[source]]` covers.
    #[error("{file}: {key} = {value}: no [[source]] covers this value")]
    NoSource {
        /// The file.
        file: String,
        /// The key of the value.
        key: String,
        /// The value as it stands in the file.
        value: String,
    },
    /// A key of a `[[source]]` that covers no value, or none that a longer key does not cover already.
    #[error("{file}: a [[source]] lists {key}, but no value needs it")]
    SourceOfNothing {
        /// The file.
        file: String,
        /// The key that the source lists.
        key: String,
    },
    /// A key that two sources list.
    #[error("{file}: {key} has two sources")]
    TwoSources {
        /// The file.
        file: String,
        /// The key that both list.
        key: String,
    },
}

/// What is wrong with a value.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Problem {
    /// Outside of the range.
    #[error("expected {least} to {most}")]
    OutOfRange {
        /// The least value allowed.
        least: u64,
        /// The greatest value allowed.
        most: u64,
    },
    /// Not the one value that is supported.
    #[error("only {only} is supported")]
    Unsupported {
        /// The value that is.
        only: u64,
    },
    /// Parts that do not make up the whole.
    #[error("does not divide into {ways} ways")]
    NotDivisible {
        /// The number of ways.
        ways: u64,
    },
    /// A latency that is not above that of the level before.
    #[error("must be greater than {key} = {value}")]
    NotAbove {
        /// The key of the other latency.
        key: &'static str,
        /// Its value.
        value: u64,
    },
    /// A text that is empty.
    #[error("must not be empty")]
    Empty,
}

/// A name that no shipped processor has.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("no processor is named `{name}`; known are {}", known.join(", "))]
pub struct UnknownProcessor {
    /// The name asked for.
    pub name: String,
    /// The names that exist.
    pub known: Vec<&'static str>,
}

/// A name or path that gives no processor.
#[derive(Debug, Error)]
pub enum SelectError {
    /// It is no path of a `.toml` file, and no shipped processor has this name.
    #[error("{0}, or a file that ends in .toml")]
    Unknown(#[from] UnknownProcessor),
    /// The file cannot be read.
    #[error("{}: {reason}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// The file is refused.
    #[error(transparent)]
    File(#[from] ProcessorError),
}
