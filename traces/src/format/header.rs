//! What a trace says about itself: the header in front, the trailer at the end.

use serde::{Deserialize, Serialize};

/// Which processor the recorded program saw when it executed CPUID.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cpuid {
    /// The host's, less everything beyond SSE4.2, AES, PCLMULQDQ, BMI1, BMI2 and ADX.
    #[default]
    ScopeOnly,
    /// The host's as it is.
    Host,
}

/// The description at the start of a trace.
///
/// It holds no time and no host name, so that recording a deterministic program twice gives the same file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The program as it was named to the recorder.
    pub program: String,
    /// Its arguments, without the program itself.
    pub arguments: Vec<String>,
    /// The brand string of the processor that executed it, when known.
    pub processor: Option<String>,
    /// What CPUID told the program.
    pub cpuid: Cpuid,
    /// The most steps that were to be recorded.
    pub limit: Option<u64>,
    /// What wrote the trace, with its version.
    pub writer: String,
    /// How this trace was made, for people: a command, a remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Why a trace ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The program exited with this code.
    Exited(i32),
    /// A signal with this number ended the program.
    Killed(i32),
    /// The most steps that were asked for have been recorded.
    Limit,
    /// The recorder was asked to stop.
    Stopped,
}

/// The end of a trace; a file without one was cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trailer {
    /// Steps in the trace.
    pub steps: u64,
    /// Of these, the steps that are taken from the record.
    pub taken: u64,
    /// Chunks in the trace.
    pub chunks: u64,
    /// Pages whose content is in the trace, counting a page again when it is there again.
    pub pages: u64,
    /// Why the trace ends.
    pub end: EndReason,
    /// Whether the program would have run on.
    pub unfinished: bool,
}
