//! The rounds experiment, figure by figure.
#![allow(clippy::unwrap_used, reason = "tests")]

use timing::processor::Processor;
use vmxsim::compare::result::{Comparison, StrategyResult};
use vmxsim::compare::{Bench, Rounds, compare_on, named};

const NAMES: [&str; 6] = ["flush-on-transition", "mode-bit", "tag-word", "vpid", "per-address", "coherent"];

fn run(rounds: &Rounds) -> Comparison {
    let processor = Processor::named("skylake").unwrap();
    let bench = Bench::new(processor, rounds.monitor_pages).unwrap();
    let strategies = named(&NAMES.map(str::to_owned)).unwrap();
    compare_on(&mut rounds.script(), &strategies, &bench, |_| ()).unwrap()
}

fn result<'a>(comparison: &'a Comparison, name: &str) -> &'a StrategyResult {
    comparison.strategies.iter().find(|strategy| strategy.name == name).unwrap()
}

#[test]
fn without_tags_every_page_misses_in_every_round() {
    let comparison = run(&Rounds::default());
    assert_eq!(Rounds::walks(result(&comparison, "flush-on-transition")), [64 + 32; 100]);
}

#[test]
fn with_tags_nothing_misses_but_what_a_load_of_cr3_removes() {
    let comparison = run(&Rounds::default());
    for name in &NAMES[1..] {
        let walks = Rounds::walks(result(&comparison, name));
        for (round, &walks) in walks.iter().enumerate() {
            let expected = match round {
                // The first round fills both, each later one follows a load of CR3 or misses nothing.
                0 => 64 + 32,
                round if round % 10 == 0 => 64,
                _ => 0,
            };
            assert_eq!(walks, expected, "{name}, round {round}");
        }
    }
}

#[test]
fn loads_of_cr3_in_the_guest_never_cost_the_monitor_a_page() {
    let comparison = run(&Rounds::default());
    for name in &NAMES[1..] {
        assert_eq!(result(&comparison, name).tags["monitor"].walks, 32, "{name}");
    }
    assert_eq!(result(&comparison, "flush-on-transition").tags["monitor"].walks, 32 * 100);
}

#[test]
fn the_figures_follow_the_numbers_of_pages_and_rounds() {
    let rounds = Rounds { rounds: 20, guest_pages: 40, monitor_pages: 8, reload_every: 5 };
    let comparison = run(&rounds);
    assert_eq!(Rounds::walks(result(&comparison, "flush-on-transition")), [48; 20]);
    let tagged = result(&comparison, "vpid");
    assert_eq!(tagged.walks, 40 * 4 + 8);
    assert_eq!(tagged.accesses, 20 * 48);
}

#[path = "../examples/tag_policies.rs"]
#[expect(dead_code, reason = "the example has a main function, and this test prints by itself")]
mod tag_policies;

#[test]
fn the_example_prints_the_figures_that_stand_beside_it() {
    let beside = include_str!("../examples/tag_policies.txt");
    assert_eq!(tag_policies::report().unwrap(), beside);
}
