//! What came of a run.

use serde::Serialize;
use std::collections::BTreeMap;

/// Why a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopKind {
    /// The guest wrote to the debug-exit port.
    DebugExit,
    /// The guest switched the machine off.
    Shutdown,
    /// The guest asked for a reset.
    Reset,
    /// Every processor waits, and nothing is left that could wake one.
    Halt,
    /// A processor could not deliver a double fault.
    TripleFault,
    /// As many instructions as were asked for have been executed.
    Limit,
    /// The user stopped it.
    Interrupted,
}

/// Why a run ended, and with what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct StopReport {
    /// Why.
    pub kind: StopKind,
    /// The value that was written to the debug-exit port.
    pub code: Option<u32>,
    /// The processor that caused it, where one did.
    pub processor: Option<usize>,
}

/// Counts of the TLBs of all processors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct TlbReport {
    /// Entries at the end.
    pub entries: u64,
}

/// What came of a run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RunReport {
    /// Instructions of all processors.
    pub instructions: u64,
    /// Ticks of the time-stamp counter from power-on.
    pub cycles: u64,
    /// Million instructions a second of the host.
    pub mips: f64,
    /// Why it ended.
    pub stop: StopReport,
    /// How often the machine began again.
    pub resets: u64,
    /// Instructions of each processor.
    pub processors: Vec<u64>,
    /// Instructions that the engine does not model, each of which was #UD for the guest, by mnemonic.
    pub unmodelled: BTreeMap<String, u64>,
    /// VM exits by reason.
    pub exits: BTreeMap<String, ExitCount>,
    /// VM entries that failed, by rule.
    pub entry_failures: BTreeMap<String, u64>,
    /// The TLBs.
    pub tlb: TlbReport,
}

/// How often an exit happened, and what it took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ExitCount {
    /// How often.
    pub count: u64,
    /// Cycles.
    pub cycles: u64,
}

impl StopReport {
    pub(super) const fn of(kind: StopKind) -> Self {
        Self { kind, code: None, processor: None }
    }
}

impl From<platform::Stop> for StopReport {
    fn from(stop: platform::Stop) -> Self {
        match stop {
            platform::Stop::DebugExit(code) => Self { code: Some(code), ..Self::of(StopKind::DebugExit) },
            platform::Stop::PowerOff => Self::of(StopKind::Shutdown),
            platform::Stop::Reset => Self::of(StopKind::Reset),
        }
    }
}

impl std::fmt::Display for StopKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::DebugExit => "debug exit",
            Self::Shutdown => "switched off",
            Self::Reset => "reset",
            Self::Halt => "all processors wait, and nothing will wake them",
            Self::TripleFault => "triple fault",
            Self::Limit => "limit",
            Self::Interrupted => "stopped",
        })
    }
}

impl RunReport {
    /// The exit status of the command line, which follows the guest: (code << 1) | 1 after a write to the debug-exit
    /// port, as other machines with that device have it; 0 after an orderly end; 1 after one that is none.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "an exit status has 8 bits")]
    pub const fn status(&self) -> u8 {
        match (self.stop.kind, self.stop.code) {
            (StopKind::DebugExit, Some(code)) => (code << 1 | 1) as u8,
            (StopKind::Shutdown | StopKind::Reset, _) => 0,
            _ => 1,
        }
    }
}
