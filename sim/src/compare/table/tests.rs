#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::compare::example;
use textwrap::core::display_width;

#[test]
fn a_comparison_is_readable_at_full_width() {
    assert_eq!(report(&example::three(), 120), include_str!("wide.txt"));
}

#[test]
fn a_comparison_is_readable_on_a_narrow_terminal() {
    assert_eq!(report(&example::three(), 80), include_str!("narrow.txt"));
}

#[test]
fn no_line_is_wider_than_the_terminal_and_none_has_control_characters() {
    for width in 40..160 {
        for line in report(&example::three(), width).lines() {
            assert!(display_width(line) <= width, "{width}: {line}");
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}

#[test]
fn the_best_is_praised_for_what_it_does_better_only() {
    let mut comparison = example::three();
    comparison.strategies.truncate(1);
    assert_eq!(best(&comparison), None, "there is nothing to compare");
    comparison = example::three();
    comparison.strategies.swap(0, 1);
    assert_eq!(best(&comparison).unwrap(), "No sound strategy takes fewer cycles than per-address.");
    comparison.strategies.swap(0, 1);
    comparison.strategies[1].ipis = 1_000;
    let text = best(&comparison).unwrap();
    assert!(!text.contains("IPIs"), "{text}");
}
