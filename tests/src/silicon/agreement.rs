//! Both sides of many cases, and what came of them.

use super::compare::{self, Excuse};
use super::defined::{self, Trimmed};
use super::draft::Case;
use super::forms::Form;
use super::generate::{self, Generator};
use super::model::Model;
use super::outcome::{End, Outcome};
use super::processor::Processor;
use super::random::Random;
use super::report;
use super::shared::BATCH;
use iced_x86::{Code, Mnemonic};
use isa::flat::{FlatMachine, Observed};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Divergences after which the rest is not tried.
const ENOUGH: usize = 12;

/// Three engines and the processor.
pub(crate) struct Sides {
    pub(crate) processor: Processor,
    stepper: Model<FlatMachine>,
    plain: Model<FlatMachine>,
    observed: Model<Observed<FlatMachine>>,
    pub(crate) pristine: Vec<u8>,
}

/// What has been compared so far.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) cases: u64,
    pub(crate) empty: u64,
    pub(crate) executed: u64,
    pub(crate) faults: u64,
    pub(crate) excused: BTreeMap<Excuse, u64>,
    /// Forms that were executed in a compared case.
    pub(crate) covered: BTreeSet<Form>,
    /// Codes that completed in a compared case.
    pub(crate) completed: BTreeSet<Code>,
    pub(crate) reports: Vec<String>,
    blamed: BTreeSet<Mnemonic>,
    pub(crate) native: Duration,
    pub(crate) generation: Duration,
    pub(crate) engine: Duration,
}

impl Sides {
    /// Starts the processor's side.
    ///
    /// # Errors
    /// Why this host cannot.
    pub(crate) fn new() -> Result<Self, String> {
        Ok(Self {
            processor: Processor::start()?,
            stepper: Model::of_single_instructions(),
            plain: Model::of_blocks(),
            observed: Model::of_blocks(),
            pristine: Vec::new(),
        })
    }

    pub(crate) fn set_pristine(&mut self, pristine: Vec<u8>) {
        self.processor.set_pristine(&pristine);
        self.stepper.set_pristine(&pristine);
        self.plain.set_pristine(&pristine);
        self.observed.set_pristine(&pristine);
        self.pristine = pristine;
    }

    pub(crate) fn trim(&mut self, case: Case) -> Option<Trimmed> {
        defined::trim(case, &mut self.stepper, &self.pristine)
    }

    /// In what the engine, in one of its modes, differs from the processor.
    pub(crate) fn differences(
        &mut self,
        trimmed: &Trimmed,
        expected: &Outcome,
    ) -> Result<Vec<String>, Excuse> {
        let plain = self.plain.run(&trimmed.program, &self.pristine);
        let observed = self.observed.run(&trimmed.program, &self.pristine);
        let mut all = Vec::new();
        for (mode, found) in [("plain", plain), ("observed", observed)] {
            let program = &trimmed.program;
            if let Some(excuse) = compare::excuse(program, expected, &found) {
                return Err(excuse);
            }
            let differences =
                compare::differences(program, &trimmed.undefined, expected, &found, &self.pristine);
            all.extend(differences.into_iter().map(|difference| format!("{mode}: {difference}")));
        }
        Ok(all)
    }

    /// As [`Self::differences`] for a case by itself.
    pub(crate) fn disagreement(&mut self, case: &Case) -> Option<(Trimmed, Vec<String>)> {
        let trimmed = self.trim(case.clone())?;
        let expected = self.processor.run(&[&trimmed.program]).pop()?;
        let differences = self.differences(&trimmed, &expected).ok()?;
        (!differences.is_empty()).then_some((trimmed, differences))
    }
}

impl Tally {
    /// Whether enough has gone wrong.
    pub(crate) fn is_enough(&self) -> bool {
        self.reports.len() >= ENOUGH
    }

    /// Compares one batch of random cases.
    pub(crate) fn batch(&mut self, sides: &mut Sides, generator: &mut Generator, seed: u64) {
        let started = Instant::now();
        sides.set_pristine(generate::pristine(seed));
        let mut random = Random(seed);
        let cases: Vec<Case> = (0..BATCH).map(|_| generator.case(Random(random.next()))).collect();
        let trimmed: Vec<Trimmed> = cases.into_iter().filter_map(|case| sides.trim(case)).collect();
        self.empty += (BATCH - trimmed.len()) as u64;
        self.generation += started.elapsed();

        let started = Instant::now();
        let programs: Vec<_> = trimmed.iter().map(|trimmed| &trimmed.program).collect();
        let outcomes = sides.processor.run(&programs);
        self.native += started.elapsed();

        let started = Instant::now();
        for (trimmed, outcome) in trimmed.iter().zip(&outcomes) {
            self.compare(sides, trimmed, outcome, seed);
        }
        self.engine += started.elapsed();
    }

    fn compare(&mut self, sides: &mut Sides, trimmed: &Trimmed, outcome: &Outcome, seed: u64) {
        match sides.differences(trimmed, outcome) {
            Err(excuse) => {
                *self.excused.entry(excuse).or_default() += 1;
                return;
            }
            Ok(differences) if differences.is_empty() => {}
            Ok(differences) => self.report(sides, trimmed, &differences, seed),
        }
        self.count(trimmed, outcome);
    }

    fn count(&mut self, trimmed: &Trimmed, outcome: &Outcome) {
        self.cases += 1;
        self.executed += trimmed.executed.len() as u64;
        self.faults += u64::from(outcome.end != End::Completed);
        let complete = trimmed.executed.len() - usize::from(outcome.end != End::Completed);
        for (number, instruction) in trimmed.executed.iter().enumerate() {
            let in_memory = super::report::names_memory(instruction);
            self.covered.insert(Form { code: instruction.code(), in_memory });
            if number < complete {
                self.completed.insert(instruction.code());
            }
        }
    }

    /// One report for each instruction to blame.
    fn report(&mut self, sides: &mut Sides, trimmed: &Trimmed, differences: &[String], seed: u64) {
        if self.is_enough() {
            return;
        }
        let small = report::shrink(sides, &trimmed.case);
        let (smallest, differences) = small.unwrap_or_else(|| {
            let again = sides.trim(trimmed.case.clone()).expect("it was trimmed before");
            (again, [&["not repeated by itself".to_owned()], differences].concat())
        });
        let last = smallest.executed.last().map_or(Mnemonic::INVALID, |instruction| instruction.mnemonic());
        if self.blamed.insert(last) {
            self.reports.push(report::text(&smallest, &differences, &sides.pristine, seed));
        }
    }
}
