//! Why a processor model is refused.

use std::path::PathBuf;

use thiserror::Error;

/// A name or path that gives no processor model. Each variant that concerns a file names it as its reader gave it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// It is no path of a `.toml` file, and no model of the program has this name.
    #[error(
        "no processor model is named `{name}`; known are {}, or a file that ends in .toml",
        known.join(", ")
    )]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names that exist.
        known: Vec<&'static str>,
    },
    /// The file cannot be read.
    #[error("{}: {reason}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
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
    /// A key that every model has.
    #[error("{file}: {key} is missing")]
    Missing {
        /// The file.
        file: String,
        /// The key, with its tables, joined by dots.
        key: &'static str,
    },
    /// A value that no processor can have, or not together with the others.
    #[error("{file}: {key} = {value}: {problem}")]
    Value {
        /// The file.
        file: String,
        /// The key, with its tables, joined by dots.
        key: &'static str,
        /// The value as it stands in the file.
        value: String,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// What is wrong with a value.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum Problem {
    /// No feature has this name.
    #[error("no feature has this name")]
    UnknownFeature,
    /// A feature that no model may have.
    #[error("not offered: {0}")]
    NotOffered(&'static str),
    /// A feature that is listed or added and already there.
    #[error("already there")]
    Twice,
    /// A feature that is removed and not there.
    #[error("not there")]
    NotThere,
    /// A feature without another that every processor with it has.
    #[error("needs {0}, which the model lacks")]
    Needs(&'static str),
    /// The base is no model of the program.
    #[error("no model of the program; known are {}", .0.join(", "))]
    NotABase(Vec<&'static str>),
    /// Nobody makes processors under this name.
    #[error("no vendor has this name; known are {}", .0.join(", "))]
    UnknownVendor(Vec<&'static str>),
    /// Outside of the range.
    #[error("expected {least} to {most}")]
    OutOfRange {
        /// The least value allowed.
        least: u64,
        /// The greatest value allowed.
        most: u64,
    },
    /// The brand string has 48 bytes, of which the last is 0.
    #[error("expected at most 47 printable ASCII characters")]
    NotABrand,
    /// A text that is empty.
    #[error("must not be empty")]
    Empty,
}
