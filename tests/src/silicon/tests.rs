//! The tests themselves.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::agreement::{Sides, Tally};
use super::draft::{Case, Draft};
use super::generate::{self, Generator};
use super::mode::Mode;
use super::outcome::End;
use super::shared::{BASE, BATCH};
use iced_x86::{Code, Instruction};
use isa::registers::Registers;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::RefCell;

/// Cases of the quick share.
const QUICK: u64 = 30_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Both sides, or a word about why this host has only one.
fn sides() -> Option<Sides> {
    match Sides::new() {
        Ok(mut sides) => {
            sides.set_pristine(generate::pristine(0));
            Some(sides)
        }
        Err(reason) => {
            println!("skipped, instructions cannot be executed natively here: {reason}");
            None
        }
    }
}

#[test]
fn random_sequences_agree_with_the_processor() {
    compare(Mode::Bits64);
}

#[test]
fn random_sequences_of_32_bit_code_agree_with_the_processor() {
    compare(Mode::Bits32);
}

#[test]
fn random_sequences_of_16_bit_code_agree_with_the_processor() {
    compare(Mode::Bits16);
}

/// Whether the host executes code of this mode.
fn runs(sides: &mut Sides, mode: Mode) -> bool {
    let program = Case { mode, start: mode.base(), ..case_of(&[(Instruction::with(Code::Cld), None)]) };
    let end = sides.processor.run(&[&program.lay_out().unwrap()]).remove(0).end;
    if end != End::Completed {
        println!("skipped, this host does not execute code of {mode:?} in a process: {end:?}");
    }
    end == End::Completed
}

fn compare(mode: Mode) {
    let Some(mut sides) = sides() else { return };
    if !runs(&mut sides, mode) {
        return;
    }
    let batches = number("VMXSIM_CASES").unwrap_or(QUICK).div_ceil(BATCH as u64);
    let config = Config {
        cases: u32::try_from(batches).unwrap_or(u32::MAX),
        failure_persistence: None,
        ..Config::default()
    };
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number("VMXSIM_SEED").unwrap_or(0).to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let everything = RefCell::new((sides, Generator::new(mode), Tally::default()));
    // A batch shrinks its own cases, so proptest is to choose the seeds only.
    let result = TestRunner::new_with_rng(config, rng).run(&any::<u64>().no_shrink(), |seed| {
        let (sides, generator, tally) = &mut *everything.borrow_mut();
        if !tally.is_enough() {
            tally.batch(sides, generator, seed);
        }
        Ok(())
    });
    assert_eq!(result, Ok(()));
    let (_, generator, tally) = everything.into_inner();
    describe(&generator, &tally);
    assert!(tally.reports.is_empty(), "{} divergences:\n{}", tally.reports.len(), tally.reports.join("\n"));
    let set_aside = tally.empty + tally.excused.values().sum::<u64>();
    assert!(set_aside * 50 < tally.cases, "{set_aside} cases were not compared");
    let missing: Vec<_> =
        generator.catalogue.forms.iter().filter(|form| !tally.covered.contains(form)).collect();
    assert!(missing.is_empty(), "never executed: {missing:?}");
}

fn describe(generator: &Generator, tally: &Tally) {
    let rate = |duration: std::time::Duration| tally.cases as f64 / duration.as_secs_f64().max(1e-9);
    let all = tally.native + tally.generation + tally.engine;
    println!("{} cases, {} instructions, {} faults", tally.cases, tally.executed, tally.faults);
    println!("{} cases with nothing defined in them, excused: {:?}", tally.empty, tally.excused);
    println!(
        "{:.0} cases/s; natively {:.0}, generated {:.0}, in the engine {:.0}",
        rate(all),
        rate(tally.native),
        rate(tally.generation),
        rate(tally.engine)
    );
    let forms = &generator.catalogue.forms;
    let codes: std::collections::BTreeSet<_> = forms.iter().map(|form| form.code).collect();
    println!("{} forms of {} codes, {} completed", forms.len(), codes.len(), tally.completed.len());
    let never: Vec<_> = codes.difference(&tally.completed).collect();
    println!("executed and never completed: {never:?}");
    println!("left out: {:?}", generator.catalogue.left_out);
}

fn case_of(instructions: &[(Instruction, Option<usize>)]) -> Case {
    Case {
        drafts: instructions.iter().map(|&(instruction, target)| Draft { instruction, target }).collect(),
        mode: Mode::Bits64,
        start: BASE,
        registers: Registers::default(),
        code_registers: Vec::new(),
        contents: Vec::new(),
    }
}

/// What 64-bit mode does not have and the engine does not model: loads of far pointers, and instructions of processors
/// that have no 64-bit mode.
const LEGACY: &str = "Lds Les Loadall Storeall Ibts Xbts Umov Jmpe Cl1invmb Altinst Rdshr Wrshr Smint Dmint Rdm Svdc Rsdc \
    Svldt Rsldt Svts Rsts Bb0_reset Bb1_reset Cpu_write Cpu_read Frstpm Fstdw Fstsg Fnstdw Fnstsg Ftstp Frint2 Frichop \
    Frinear Paveb Paddsiw Pmagw Pdistib Psubsiw Pmvzb Pmvnzb Pmvlzb Pmvgezb Pmulhriw Pmulhrw Pmachriw";

#[test]
fn other_modes_have_all_that_64_bit_mode_has_and_all_that_only_they_have() {
    let long = super::forms::unmodelled(Mode::Bits64);
    for mode in [Mode::Bits16, Mode::Bits32] {
        let unmodelled = super::forms::unmodelled(mode);
        println!("not modelled in code of {mode:?}: {unmodelled:?}");
        let missing: Vec<String> = unmodelled.difference(&long).map(|name| format!("{name:?}")).collect();
        let unlisted: Vec<_> =
            missing.iter().filter(|name| !LEGACY.split_whitespace().any(|listed| listed == **name)).collect();
        assert!(unlisted.is_empty(), "{mode:?}: {unlisted:?}");
    }
}

#[test]
fn the_end_of_the_child_is_an_outcome_and_the_next_case_is_executed() {
    let Some(mut sides) = sides() else { return };
    let nop = Instruction::with(Code::Nopd);
    let good = case_of(&[(nop, None)]).lay_out().unwrap();
    // exit(7), by system call 60.
    let mut exit = case_of(&[(Instruction::with(Code::Syscall), None)]).lay_out().unwrap();
    exit.registers.gpr[0] = 60;
    exit.registers.gpr[7] = 7;
    let endless = Instruction::with_branch(Code::Jmp_rel8_64, BASE).unwrap();
    let endless = case_of(&[(endless, None)]).lay_out().unwrap();
    let ends: Vec<_> =
        sides.processor.run(&[&good, &exit, &good, &endless, &good]).into_iter().map(|o| o.end).collect();
    let other = |text: &str| End::Other(text.to_owned());
    assert_eq!(
        ends,
        [
            End::Completed,
            other("the process ended with status 7"),
            End::Completed,
            other("the process was killed by signal 26"),
            End::Completed,
        ]
    );
}

#[test]
fn the_last_instruction_is_left_out_when_it_reads_an_undefined_flag() {
    let Some(mut sides) = sides() else { return };
    let multiply = Instruction::with1(Code::Mul_rm64, iced_x86::Register::RCX).unwrap();
    let read = |code| Instruction::with1(code, iced_x86::Register::BL).unwrap();
    let length = |sides: &mut Sides, code| {
        sides.trim(case_of(&[(multiply, None), (read(code), None)])).unwrap().case.drafts.len()
    };
    assert_eq!(length(&mut sides, Code::Setb_rm8), 2);
    assert_eq!(length(&mut sides, Code::Setp_rm8), 1);
}
