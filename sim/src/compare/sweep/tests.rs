#![allow(clippy::unwrap_used, reason = "tests")]

use super::crossing::Rank;
use super::range::RangeError;
use super::*;
use crate::compare::example;
use crate::compare::options::CompareOptions;
use crate::compare::result::{Standing, StrategyResult};
use crate::compare::work::WorkOptions;
use proptest::prelude::*;

const TWO: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

fn parsed(text: &str) -> Result<(Scale, Vec<u64>), RangeError> {
    text.parse::<SweepRange>().map(|range| (range.scale, range.values))
}

#[test]
fn each_form_of_a_range_gives_its_values() {
    use Scale::{Linear, Logarithmic};
    for (text, scale, values) in [
        ("threshold=1..64", Logarithmic, &[1, 2, 4, 8, 16, 32, 64][..]),
        ("quantum=1000..100000", Logarithmic, &[1000, 2000, 4000, 8000, 16000, 32000, 64000, 100_000]),
        ("batch=1..1000000", Logarithmic, &[1, 6, 32, 178, 1000, 5623, 31623, 177_828, 1_000_000]),
        ("unmap=0..2000", Linear, &[0, 250, 500, 750, 1000, 1250, 1500, 1750, 2000]),
        ("threshold=0..3", Linear, &[0, 1, 2, 3]),
        ("threshold=1..10:4", Linear, &[1, 5, 9]),
        ("unmap=1..100*10", Logarithmic, &[1, 10, 100]),
        ("threshold=1..9*1.5", Logarithmic, &[1, 2, 3, 5, 8]),
        ("guests=1, 2,16", Linear, &[1, 2, 16]),
        ("timer=1_000,2_000", Logarithmic, &[1000, 2000]),
    ] {
        assert_eq!(parsed(text), Ok((scale, values.to_vec())), "{text}");
    }
}

#[test]
fn a_range_that_cannot_be_says_why() {
    for (text, message) in [
        ("threshold", "`threshold` is no sweep: expected NAME=RANGE, such as threshold=1..64"),
        ("speed=1..2", "`speed` cannot be swept; these can: threshold, quantum, "),
        ("threshold=1..many", "`many` is not a whole number"),
        ("threshold=", "`` is not a whole number"),
        ("threshold=-1,2", "`-1` is not a whole number"),
        ("threshold=8..8", "the range from 8 to 8 has no values in between: the end must be greater"),
        ("threshold=9..8:1", "the range from 9 to 8 has no values in between: the end must be greater"),
        ("threshold=1..8:0", "a step of 0 never reaches the end"),
        ("threshold=1..8*1", "`1` is no factor: expected a number greater than 1, such as 2 or 1.5"),
        ("threshold=1..8*NaN", "`NaN` is no factor"),
        ("threshold=1..8*inf", "`inf` is no factor"),
        ("unmap=0..8*2", "no factor leads away from 0; begin the range at 1"),
        ("quantum=0,1", "quantum cannot be 0; it is 1 to 9007199254740992"),
        ("processors=1,256", "processors cannot be 256; it is 1 to 255"),
        ("guests=1,3,3", "3 follows 3: values ascend, and none stands twice"),
        ("guests=3", "a sweep needs at least two values"),
        ("unmap=0..18446744073709551615:1", "the range has more than 1000 values"),
        ("unmap=1..9007199254740992*1.000000001", "the range has more than 1000 values"),
    ] {
        let error = parsed(text).unwrap_err().to_string();
        assert!(error.starts_with(message), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn values_ascend_from_the_beginning_to_at_most_the_end(
        from in 0u64..1 << 40, more in 1u64..1 << 40, step in 1u64..1 << 40, factor in 1.0f64..9.0,
        name in prop::sample::select(vec!["threshold", "unmap", "quantum"]),
    ) {
        let to = from + more;
        for text in [format!("{from}..{to}"), format!("{from}..{to}:{step}"), format!("{from}..{to}*{factor}")] {
            // Values may be too many or too few; then the error says so.
            let Ok((_, values)) = parsed(&format!("{name}={text}")) else { continue };
            prop_assert_eq!(values[0], from);
            prop_assert!(values.windows(2).all(|pair| pair[0] < pair[1]), "{values:?}");
            prop_assert!(values.iter().all(|value| *value <= to));
            if !text.contains([':', '*']) {
                prop_assert_eq!(values[values.len() - 1], to);
                prop_assert!(values.len() <= 12, "{values:?}");
            }
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(name in "threshold|unmap|[a-z]*", range in "[0-9.:*,_ a-z-]{0,24}") {
        let _ = parsed(&format!("{name}={range}"));
    }
}

#[test]
fn each_parameter_changes_the_options_to_its_value_and_no_other_parameter_changes_the_same() {
    let before = serde_json::to_value(CompareOptions::new(WorkOptions::default())).unwrap();
    let mut seen = Vec::new();
    for parameter in Parameter::ALL {
        let mut options = CompareOptions::new(WorkOptions::default());
        parameter.set(&mut options, 77);
        let after = serde_json::to_value(&options).unwrap();
        let change = format!("{after}");
        assert_ne!(after, before, "{parameter}");
        assert!(!seen.contains(&change), "{parameter}");
        assert!(change.contains("77"), "{parameter}");
        seen.push(change);
    }
}

/// A sweep of unmappings in which each strategy has these cycles at 0, 10, 20 ...
fn sweep(cycles: &[&[u64]]) -> Sweep {
    let steps = cycles[0].len();
    let values = (0..steps).map(|at| (at * 10).to_string()).collect::<Vec<_>>().join(",");
    run(&format!("unmap={values}"), |value| cycles.iter().map(|of| of[value as usize / 10]).collect())
}

fn run(range: &str, cycles: impl Fn(u64) -> Vec<u64> + Sync) -> Sweep {
    let comparison = |value| -> Result<Comparison, ()> {
        let names = ["a", "b", "c"];
        let strategies = cycles(value).into_iter().zip(names).map(|(cycles, name)| StrategyResult {
            name: name.to_owned(),
            cycles,
            ..StrategyResult::default()
        });
        let workload = [("changes", "some".to_owned()), ("unmap", value.to_string())];
        Ok(Comparison {
            processor: "a processor".to_owned(),
            workload: workload.map(|(label, value)| (label.to_owned(), value)).into(),
            strategies: strategies.collect(),
            ..Comparison::default()
        })
    };
    Sweep::run(&range.parse().unwrap(), TWO, comparison, |_| ()).unwrap()
}

fn crossings(sweep: &Sweep) -> Vec<(f64, &str, &str, Rank)> {
    sweep.crossings.iter().map(|c| (c.at, c.below.as_str(), c.above.as_str(), c.of_the_best)).collect()
}

#[test]
fn two_straight_lines_cross_exactly_where_they_meet() {
    // 100 + 3 v and 130 + v meet at 15.
    assert_eq!(
        crossings(&sweep(&[&[100, 130, 160, 190], &[130, 140, 150, 160]])),
        [(15.0, "a", "b", Rank::First)]
    );
    let there_and_back = sweep(&[&[1, 5, 1], &[3, 3, 3]]);
    assert_eq!(crossings(&there_and_back), [(5.0, "a", "b", Rank::First), (15.0, "b", "a", Rank::First)]);
}

#[test]
fn strategies_that_touch_or_start_equal_do_not_cross() {
    assert_eq!(crossings(&sweep(&[&[1, 3, 1], &[3, 3, 3]])), []);
    assert_eq!(crossings(&sweep(&[&[3, 4, 5], &[3, 3, 3]])), []);
    assert_eq!(crossings(&sweep(&[&[3, 3, 3], &[3, 3, 3]])), []);
}

#[test]
fn strategies_that_are_equal_in_between_cross_where_they_become_equal() {
    assert_eq!(crossings(&sweep(&[&[1, 3, 3, 4], &[3, 3, 3, 3]])), [(10.0, "a", "b", Rank::First)]);
}

#[test]
fn a_crossing_behind_the_best_is_no_change_of_the_best() {
    assert_eq!(crossings(&sweep(&[&[1, 1], &[3, 5], &[4, 4]])), [(5.0, "b", "c", Rank::Later)]);
}

#[test]
fn on_a_logarithmic_axis_the_crossing_is_interpolated_along_it() {
    // From 1 to 16 by a factor of 4: halfway between 4 and 16 lies 8.
    let sweep = run("threshold=1..16*4", |value| if value <= 4 { vec![1, 3] } else { vec![3, 1] });
    let [(at, "a", "b", Rank::First)] = crossings(&sweep)[..] else { panic!("{sweep:?}") };
    assert!((at - 8.0).abs() < 1e-9, "{at}");
}

#[test]
fn a_bound_is_never_the_best() {
    let mut sweep = sweep(&[&[1, 5], &[3, 3], &[0, 0]]);
    for point in &mut sweep.points {
        point.comparison.strategies[2].standing = Standing::Bound;
    }
    let crossings = crossing::all(&sweep.points, sweep.scale);
    assert_eq!(crossings.iter().map(|crossing| crossing.of_the_best).collect::<Vec<_>>(), [Rank::First]);
}

proptest! {
    #[test]
    fn two_lines_cross_where_the_formula_says(
        low in 0u64..1000, gap in 1u64..1000, steep in 1u64..100, values in 3u64..30,
    ) {
        // low + steep v and low + gap: equal at gap / steep.
        let range = format!("unmap=0..{values}:1");
        let sweep = run(&range, |value| vec![low + steep * value, low + gap]);
        let expected = gap as f64 / steep as f64;
        match crossings(&sweep)[..] {
            [(at, "a", "b", _)] => prop_assert!((at - expected).abs() < 1e-9, "{at} {expected}"),
            [] => prop_assert!(expected >= values as f64),
            ref other => prop_assert!(false, "{other:?}"),
        }
    }
}

#[test]
fn the_first_value_that_fails_is_the_error() {
    let run = |value: u64| if value >= 2 { Err(value) } else { Ok(Comparison::default()) };
    assert_eq!(Sweep::run(&"guests=1,2,3,4".parse().unwrap(), TWO, run, |_| ()), Err(2));
}

#[test]
fn a_sweep_is_told_in_a_table_and_in_sentences() {
    let text = report::report(&sweep(&[&[100, 130, 160, 190], &[130, 140, 150, 160]]), 80);
    assert_eq!(
        text,
        "processor  a processor
changes    some

cycles by unmap (unmappings in a million instructions):

unmap    a    b
---------------
0      100  130
10     130  140
20     160  150
30     190  160

At unmap=15 the best strategy changes: below it a takes fewer cycles, above it
b.
"
    );
    let same = report::report(&sweep(&[&[1, 2], &[3, 3]]), 80);
    assert!(
        same.ends_with("\nThe order of the strategies is the same for every value of unmap.\n"),
        "{same}"
    );
}

#[test]
fn a_sweep_names_each_strategy_that_is_not_sound_and_where_first() {
    let mut sweep = sweep(&[&[1, 2, 3], &[3, 3, 3]]);
    sweep.points[1].comparison.strategies[1].missing = 1;
    sweep.points[2].comparison.strategies[1].missing = 1;
    let sentences = report::sentences(&sweep);
    assert_eq!(sentences.last().unwrap(), "b is not sound, first at unmap=10.");
    assert!(sweep.finds_something());
}

#[test]
fn a_sweep_as_csv_and_json_has_a_record_for_each_value_and_strategy() {
    let run = |_| -> Result<_, ()> { Ok(example::three()) };
    let sweep = Sweep::run(&"unmap=0..20:10".parse().unwrap(), TWO, run, |_| ()).unwrap();
    let bytes = report::to_csv(&sweep).unwrap();
    let mut reader = csv::Reader::from_reader(&bytes[..]);
    let header = reader.headers().unwrap().clone();
    assert_eq!(header.iter().take(4).collect::<Vec<_>>(), ["parameter", "value", "name", "accesses"]);
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 9);
    assert_eq!(records[5].iter().take(3).collect::<Vec<_>>(), ["unmap", "10", "forgetful"]);

    let json = serde_json::to_value(&sweep).unwrap();
    assert_eq!(json["parameter"], "unmap");
    assert_eq!(json["points"][1]["value"], 10);
    assert_eq!(json["points"][1]["strategies"][0]["name"], "flush-all");
    assert_eq!(json["points"][1]["strategies"][0]["occupancy"], serde_json::json!([]));
}
