//! Which parameter is swept over which values: `NAME=RANGE` of the command line.

use super::Scale;
use crate::compare::options::CompareOptions;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// The most values of a sweep; each is a whole comparison.
const MOST: usize = 1000;

/// Values of a range that does not say how far apart they are: eight steps.
const STEPS: u32 = 8;

/// A parameter that can be swept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parameter {
    /// Pages up to which strategies invalidate by address.
    Threshold,
    /// Instructions until the next thread has its turn.
    Quantum,
    /// Logical processors.
    Processors,
    /// Guests.
    Guests,
    /// Threads of each process.
    Threads,
    /// Instructions between exits at moments that the seed chooses.
    ExitEvery,
    /// Instructions between exits of the timer.
    Timer,
    /// Pages unmapped in a million instructions.
    Unmap,
    /// Pages made read-only in a million instructions.
    Protect,
    /// Pages shared until they are written, in a million instructions.
    CopyOnWrite,
    /// Pages given other frames in a million instructions.
    Migrate,
    /// Guest-physical pages given other frames in a million instructions.
    HostMigrate,
    /// Guest-physical pages made read-only in a million instructions.
    HostCut,
    /// Pages of one such change.
    Batch,
}

impl Parameter {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Threshold,
        Self::Quantum,
        Self::Processors,
        Self::Guests,
        Self::Threads,
        Self::ExitEvery,
        Self::Timer,
        Self::Unmap,
        Self::Protect,
        Self::CopyOnWrite,
        Self::Migrate,
        Self::HostMigrate,
        Self::HostCut,
        Self::Batch,
    ];

    /// The name that a sweep gives it, which is that of the option.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Threshold => "threshold",
            Self::Quantum => "quantum",
            Self::Processors => "processors",
            Self::Guests => "guests",
            Self::Threads => "threads",
            Self::ExitEvery => "exit-every",
            Self::Timer => "timer",
            Self::Unmap => "unmap",
            Self::Protect => "protect",
            Self::CopyOnWrite => "copy-on-write",
            Self::Migrate => "migrate",
            Self::HostMigrate => "host-migrate",
            Self::HostCut => "host-cut",
            Self::Batch => "batch",
        }
    }

    /// What its values count, for axes and sentences.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Threshold => "pages invalidated one by one",
            Self::Quantum => "instructions between switches of threads",
            Self::Processors => "logical processors",
            Self::Guests => "guests",
            Self::Threads => "threads of a process",
            Self::ExitEvery => "instructions between exits",
            Self::Timer => "instructions between timer exits",
            Self::Unmap => "unmappings in a million instructions",
            Self::Protect => "write protections in a million instructions",
            Self::CopyOnWrite => "sharings in a million instructions",
            Self::Migrate => "migrations in a million instructions",
            Self::HostMigrate => "migrations by the host in a million instructions",
            Self::HostCut => "write protections by the host in a million instructions",
            Self::Batch => "pages of a change",
        }
    }

    /// How the values of a range lie that does not say it.
    const fn scale(self) -> Scale {
        match self {
            Self::Threshold | Self::Quantum | Self::ExitEvery | Self::Timer | Self::Batch => {
                Scale::Logarithmic
            }
            _ => Scale::Linear,
        }
    }

    /// The least value that means something.
    const fn least(self) -> u64 {
        match self {
            Self::Quantum
            | Self::Processors
            | Self::Guests
            | Self::Threads
            | Self::ExitEvery
            | Self::Timer
            | Self::Batch => 1,
            _ => 0,
        }
    }

    /// The greatest value that the option holds.
    const fn most(self) -> u64 {
        match self {
            Self::Processors => u8::MAX as u64,
            Self::Guests | Self::Threads => u16::MAX as u64,
            Self::Batch | Self::Threshold => u32::MAX as u64,
            // Rates are floating-point numbers, which hold integers up to here.
            _ => 1 << 53,
        }
    }

    /// Gives the parameter this value.
    #[allow(clippy::cast_possible_truncation, reason = "a range holds no value above `most`")]
    pub fn set(self, options: &mut CompareOptions, value: u64) {
        let work = &mut options.work;
        match self {
            Self::Threshold => options.strategy.threshold = value as u32,
            Self::Quantum => work.quantum = value,
            Self::Processors => work.processors = value as u8,
            Self::Guests => work.guests = value as u16,
            Self::Threads => work.threads = value as u16,
            Self::ExitEvery => work.exits.every = Some(value),
            Self::Timer => work.exits.timer = Some(value),
            Self::Unmap => work.churn.unmap = value as f64,
            Self::Protect => work.churn.protect = value as f64,
            Self::CopyOnWrite => work.churn.copy_on_write = value as f64,
            Self::Migrate => work.churn.migrate = value as f64,
            Self::HostMigrate => work.churn.host_migrate = value as f64,
            Self::HostCut => work.churn.host_cut = value as f64,
            Self::Batch => work.churn.batch = value as u32,
        }
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A parameter and its values, as `NAME=RANGE` says them.
///
/// A range is a list `a,b,c`; from `a` to `b` at equal distances, `a..b:step`, or at equal ratios, `a..b*factor`; or
/// `a..b` alone, which takes about eight steps, of whatever kind suits the parameter.
///
/// ```
/// use vmxsim::compare::sweep::SweepRange;
/// let values = |text: &str| text.parse::<SweepRange>().map(|range| range.values);
/// assert_eq!(values("threshold=1..64"), Ok(vec![1, 2, 4, 8, 16, 32, 64]));
/// assert_eq!(values("unmap=0..2000:500"), Ok(vec![0, 500, 1000, 1500, 2000]));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SweepRange {
    /// The parameter.
    pub parameter: Parameter,
    /// How its values lie.
    pub scale: Scale,
    /// The values: at least two, each greater than the one before.
    pub values: Vec<u64>,
}

/// A range that does not say what to sweep.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// There is no `=`.
    #[error("`{text}` is no sweep: expected NAME=RANGE, such as threshold=1..64")]
    NoName {
        /// The whole text.
        text: String,
    },
    /// Nothing of this name can be swept.
    #[error("`{name}` cannot be swept; these can: {}", known())]
    Unknown {
        /// The name.
        name: String,
    },
    /// A value is no number.
    #[error("`{text}` is not a whole number")]
    Number {
        /// Its text.
        text: String,
    },
    /// The range ends before it begins, or where it begins.
    #[error("the range from {from} to {to} has no values in between: the end must be greater")]
    Backwards {
        /// Where it begins.
        from: u64,
        /// Where it ends.
        to: u64,
    },
    /// The step is 0.
    #[error("a step of 0 never reaches the end")]
    NoStep,
    /// The factor is no number above 1.
    #[error("`{text}` is no factor: expected a number greater than 1, such as 2 or 1.5")]
    Factor {
        /// Its text.
        text: String,
    },
    /// No factor makes 0 grow.
    #[error("no factor leads away from 0; begin the range at 1")]
    FactorFromZero,
    /// A value is too small or too great for the parameter.
    #[error("{parameter} cannot be {value}; it is {least} to {most}")]
    Value {
        /// The parameter.
        parameter: Parameter,
        /// The value.
        value: u64,
        /// The least.
        least: u64,
        /// The greatest.
        most: u64,
    },
    /// A list does not ascend.
    #[error("{next} follows {value}: values ascend, and none stands twice")]
    Order {
        /// A value.
        value: u64,
        /// The one behind it, which is not greater.
        next: u64,
    },
    /// There are fewer than two values.
    #[error("a sweep needs at least two values")]
    TooFew,
    /// There are too many values.
    #[error("the range has more than {MOST} values, and each is a whole comparison; take a greater step")]
    TooMany,
}

fn known() -> String {
    Parameter::ALL.map(Parameter::name).join(", ")
}

impl FromStr for SweepRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let (name, range) =
            text.split_once('=').ok_or_else(|| RangeError::NoName { text: text.to_owned() })?;
        let name = name.trim();
        let parameter = Parameter::ALL.into_iter().find(|parameter| parameter.name() == name);
        let parameter = parameter.ok_or_else(|| RangeError::Unknown { name: name.to_owned() })?;
        let (scale, values) = match range.split_once("..") {
            Some((from, rest)) => span(parameter, number(from)?, rest)?,
            None => (parameter.scale(), list(range)?),
        };
        check(parameter, &values)?;
        Ok(Self { parameter, scale, values })
    }
}

fn number(text: &str) -> Result<u64, RangeError> {
    let digits = text.trim().replace('_', "");
    digits.parse().map_err(|_| RangeError::Number { text: text.trim().to_owned() })
}

fn list(text: &str) -> Result<Vec<u64>, RangeError> {
    text.split(',').map(number).collect()
}

/// What stands behind `..`: the end, and perhaps a step or a factor.
fn span(parameter: Parameter, from: u64, rest: &str) -> Result<(Scale, Vec<u64>), RangeError> {
    if let Some((to, step)) = rest.split_once(':') {
        let (to, step) = (number(to)?, number(step)?);
        return Ok((Scale::Linear, linear(ordered(from, to)?, step)?));
    }
    if let Some((to, text)) = rest.split_once('*') {
        let wrong = || RangeError::Factor { text: text.trim().to_owned() };
        let (to, factor) = (number(to)?, text.trim().parse::<f64>().map_err(|_| wrong())?);
        if !(factor.is_finite() && factor > 1.0) {
            return Err(wrong());
        }
        return Ok((Scale::Logarithmic, logarithmic(ordered(from, to)?, factor)?));
    }
    let (from, to) = ordered(from, number(rest)?)?;
    match parameter.scale() {
        Scale::Logarithmic if from > 0 => {
            // Twice as much is a step that people expect, unless that makes too many of them.
            let factor = (to as f64 / from as f64).powf(1.0 / f64::from(STEPS)).max(2.0);
            let mut values = logarithmic((from, to), factor)?;
            end_at(&mut values, to);
            Ok((Scale::Logarithmic, values))
        }
        _ => {
            let mut values = linear((from, to), (to - from).div_ceil(u64::from(STEPS)))?;
            end_at(&mut values, to);
            Ok((Scale::Linear, values))
        }
    }
}

fn ordered(from: u64, to: u64) -> Result<(u64, u64), RangeError> {
    if from < to { Ok((from, to)) } else { Err(RangeError::Backwards { from, to }) }
}

fn linear((from, to): (u64, u64), step: u64) -> Result<Vec<u64>, RangeError> {
    if step == 0 {
        return Err(RangeError::NoStep);
    }
    if (to - from) / step >= MOST as u64 {
        return Err(RangeError::TooMany);
    }
    Ok((0..=(to - from) / step).map(|at| from + at * step).collect())
}

/// Values that grow by a factor; where rounding makes two equal, one.
fn logarithmic((from, to): (u64, u64), factor: f64) -> Result<Vec<u64>, RangeError> {
    if from == 0 {
        return Err(RangeError::FactorFromZero);
    }
    let steps = ((to as f64 / from as f64).ln() / factor.ln() + 1e-9).floor();
    if steps >= 1e6 {
        return Err(RangeError::TooMany);
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least 0 and below 1e6")]
    let steps = steps as u32;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
    let value = |at: u32| ((from as f64 * factor.powi(at.cast_signed())).round() as u64).min(to);
    let mut values: Vec<u64> = (0..=steps).map(value).collect();
    values.dedup();
    if values.len() > MOST { Err(RangeError::TooMany) } else { Ok(values) }
}

fn end_at(values: &mut Vec<u64>, to: u64) {
    if values.last() != Some(&to) {
        values.push(to);
    }
}

fn check(parameter: Parameter, values: &[u64]) -> Result<(), RangeError> {
    let (least, most) = (parameter.least(), parameter.most());
    if let Some(&value) = values.iter().find(|&&value| !(least..=most).contains(&value)) {
        return Err(RangeError::Value { parameter, value, least, most });
    }
    if let Some(pair) = values.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(RangeError::Order { value: pair[0], next: pair[1] });
    }
    match values.len() {
        0 | 1 => Err(RangeError::TooFew),
        2..=MOST => Ok(()),
        _ => Err(RangeError::TooMany),
    }
}
