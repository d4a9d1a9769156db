#![allow(clippy::unwrap_used, reason = "tests")]

use super::canvas::{Weight, elided, escaped, text_width, wrap};
use super::series::{ink_on, luminance, stacked};
use super::*;
use crate::compare::example;
use crate::compare::sweep::{Sweep, SweepRange};
use proptest::prelude::*;
use roxmltree::{Document, Node};
use std::num::NonZeroUsize;

/// The rectangle that a text takes, or more.
#[derive(Debug)]
struct Box {
    text: String,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

fn number(node: Node<'_, '_>, attribute: &str) -> f64 {
    node.attribute(attribute).unwrap().parse().unwrap()
}

/// The rectangle of a `text` element, from its attributes alone.
fn text_box(node: Node<'_, '_>) -> Box {
    let (x, y, size) = (number(node, "x"), number(node, "y"), number(node, "font-size"));
    assert!(size >= 11.0, "{node:?}");
    let weight = if node.attribute("font-weight") == Some("bold") { Weight::Bold } else { Weight::Normal };
    let text = node.text().unwrap_or_default().to_owned();
    let width = text_width(&text, size, weight);
    let before = match node.attribute("text-anchor").unwrap() {
        "start" => 0.0,
        "middle" => width / 2.0,
        _ => width,
    };
    let (above, below) = (0.76 * size, 0.24 * size);
    if node.attribute("transform").is_some() {
        return Box {
            text,
            left: x - above,
            right: x + below,
            top: y - (width - before),
            bottom: y + before,
        };
    }
    Box { text, left: x - before, right: x - before + width, top: y - above, bottom: y + below }
}

/// The rectangle of a swatch of a legend, which must cover no text either.
fn swatch(node: Node<'_, '_>) -> Option<Box> {
    let is_swatch = node.attribute("width") == Some("12") && node.attribute("height") == Some("12");
    let (x, y) = is_swatch.then(|| (number(node, "x"), number(node, "y")))?;
    Some(Box { text: String::new(), left: x, right: x + 12.0, top: y, bottom: y + 12.0 })
}

/// Parses the picture, and checks that its texts lie inside it and do not overlap. The texts.
fn checked(svg: &str) -> Vec<String> {
    let document = Document::parse(svg).unwrap_or_else(|error| panic!("{error}:\n{svg}"));
    let root = document.root_element();
    let (width, height) = (number(root, "width"), number(root, "height"));
    let mut boxes: Vec<_> =
        document.descendants().filter(|node| node.has_tag_name("text")).map(text_box).collect();
    boxes.extend(document.descendants().filter_map(swatch));
    for (at, one) in boxes.iter().enumerate() {
        let inside = one.left >= 0.0 && one.right <= width && one.top >= 0.0 && one.bottom <= height;
        assert!(inside, "{one:?} is not inside of {width} x {height}");
        for other in &boxes[at + 1..] {
            let apart = one.right <= other.left
                || other.right <= one.left
                || one.bottom <= other.top
                || other.bottom <= one.top;
            assert!(apart, "{one:?} and {other:?} overlap");
        }
    }
    shapes_inside(&document, width, height);
    boxes.into_iter().map(|one| one.text).collect()
}

fn shapes_inside(document: &Document<'_>, width: f64, height: f64) {
    let inside = |x: f64, y: f64| (0.0..=width).contains(&x) && (0.0..=height).contains(&y);
    for node in document.descendants() {
        if let Some(points) = node.attribute("points") {
            for point in points.split(' ') {
                let (x, y) = point.split_once(',').unwrap();
                assert!(inside(x.parse().unwrap(), y.parse().unwrap()), "{point}");
            }
        }
        if node.has_tag_name("rect") && node.has_attribute("x") {
            let (x, y) = (number(node, "x"), number(node, "y"));
            assert!(number(node, "width") >= 0.0 && inside(x, y), "{node:?}");
            assert!(inside(x + number(node, "width"), y + number(node, "height")), "{node:?}");
        }
    }
}

/// A comparison of so many strategies with so many tags.
fn comparison(strategies: u64, tags: u64, name: &str) -> Comparison {
    let mut comparison = example::three();
    comparison.strategies = (0..strategies)
        .map(|at| {
            let mut strategy = example::strategy(&format!("{name}-{at}"), "", at % 4);
            strategy.occupancy = example::occupancy(tags, at % 4);
            strategy
        })
        .collect();
    comparison.relate();
    comparison
}

#[test]
fn a_picture_is_well_formed_and_no_two_texts_overlap_for_any_number_of_strategies_and_tags() {
    for strategies in 0..=12 {
        for tags in [0, 1, 2, 9, 10, 20] {
            for name in
                ["s", "deferred-to-the-next-entry-of-the-guest", "MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM"]
            {
                checked(&picture(&comparison(strategies, tags, name)));
            }
        }
    }
}

#[test]
fn a_picture_names_every_strategy_cause_and_tag() {
    let texts = checked(&picture(&example::three()));
    for expected in
        ["flush-all", "forgetful", "guest 2", "data walk EPT", "base", "entries", "instructions of the work"]
    {
        assert!(texts.iter().any(|text| text == expected), "{expected} is not in {texts:?}");
    }
    assert!(!texts.iter().any(|text| text == "fetch cache"), "a cause without cycles is left out");
    assert_eq!(texts.iter().filter(|text| text.ends_with("unsound")).count(), 1);
}

#[test]
fn names_are_escaped_and_cannot_break_the_picture() {
    let mut comparison = example::three();
    comparison.strategies[0].name = "<script>\"a\" & 'b'\u{0}\u{7}</script>".to_owned();
    comparison.strategies[0].occupancy[3].entries[0].0 = "]]>&amp;\u{ffff}".to_owned();
    comparison.processor = "x < y\n& z".to_owned();
    let texts = checked(&picture(&comparison));
    assert!(texts.iter().any(|text| text.starts_with("<script>\"a\" & 'b'")), "{texts:?}");
    assert!(texts.iter().any(|text| text == "]]>&amp;\u{fffd}"), "{texts:?}");
}

#[test]
fn the_smallest_of_many_series_are_one_and_nothing_is_lost() {
    let weights: Vec<_> = (0..20u64).map(|at| (format!("tag {at}"), (at * 7) % 20)).collect();
    let series = stacked(&weights);
    assert_eq!(series.len(), 10);
    assert_eq!(series[9].label, "10 others", "a tag without entries is left out");
    let sum =
        |series: &series::Series| series.sum(weights.iter().map(|(name, weight)| (name.as_str(), *weight)));
    assert_eq!(series.iter().map(sum).sum::<u64>(), weights.iter().map(|(_, weight)| weight).sum::<u64>());
    let smallest = series[..9].iter().map(sum).min().unwrap();
    assert!(weights.iter().filter(|(_, weight)| *weight > smallest).count() < 9);
    let colours: std::collections::BTreeSet<_> = series.iter().map(|series| series.colour).collect();
    assert_eq!(colours.len(), 10);
}

#[test]
fn numbers_on_every_colour_have_the_contrast_that_accessibility_asks_for() {
    let contrast = |one: f64, other: f64| (one.max(other) + 0.05) / (one.min(other) + 0.05);
    for colour in (0..9).map(series::colour).chain([series::BACKGROUND, series::OTHERS]) {
        let contrast = contrast(luminance(colour), luminance(ink_on(colour)));
        assert!(contrast >= 4.5, "{colour}: {contrast}");
    }
}

#[test]
fn bars_are_as_long_as_their_cycles() {
    let comparison = example::three();
    let svg = picture(&comparison);
    let document = Document::parse(&svg).unwrap();
    // Bars are higher than the swatches of legends.
    let pieces: Vec<_> =
        document.descendants().filter(|node| node.attribute("height") == Some("19")).collect();
    let mut rows: Vec<f64> = pieces.iter().map(|piece| number(*piece, "y")).collect();
    rows.dedup();
    assert_eq!(rows.len(), 3);
    let length = |row: f64| -> f64 {
        pieces.iter().filter(|piece| number(**piece, "y") == row).map(|piece| number(*piece, "width")).sum()
    };
    let scale = length(rows[0]) / comparison.strategies[0].cycles as f64;
    let axis = document.descendants().find(|node| node.attribute("stroke") == Some(axis::LINE)).unwrap();
    let longest = rows.iter().map(|&row| length(row)).fold(0.0, f64::max);
    let whole = number(axis, "x2") - number(axis, "x1");
    assert!(
        (longest - whole).abs() < 1.0,
        "the longest bar is as long as the axis, which ends at its cycles"
    );
    for (&row, strategy) in rows.iter().zip(&comparison.strategies) {
        assert!((length(row) - strategy.cycles as f64 * scale).abs() < 1.0, "{}", strategy.name);
    }
}

/// A sweep in which the strategies cross.
fn sweep(range: &str, strategies: u64) -> Sweep {
    let range: SweepRange = range.parse().unwrap();
    let run = |value: u64| -> Result<_, ()> {
        let mut comparison = comparison(strategies, 0, "a-strategy");
        for (at, strategy) in comparison.strategies.iter_mut().enumerate() {
            strategy.cycles = 9_000_000 + 1_000_000 * at as u64 + value * 20_000 * (strategies - at as u64);
        }
        comparison.relate();
        Ok(comparison)
    };
    Sweep::run(&range, NonZeroUsize::MIN, run, |_| ()).unwrap()
}

#[test]
fn a_picture_of_a_sweep_is_well_formed_and_no_two_texts_overlap() {
    for range in
        ["threshold=1..64", "quantum=1000..100000:500", "unmap=0..2000", "batch=1,2", "threshold=0,1,9"]
    {
        for strategies in 1..=12 {
            checked(&sweep_picture(&sweep(range, strategies)));
        }
    }
}

#[test]
fn a_ring_stands_where_lines_cross() {
    let svg = sweep_picture(&sweep("threshold=1..64", 2));
    let document = Document::parse(&svg).unwrap();
    let rings: Vec<_> = document.descendants().filter(|node| node.has_tag_name("circle")).collect();
    let [ring] = rings[..] else { panic!("{rings:?}") };
    let (x, y) = (number(ring, "cx"), number(ring, "cy"));
    let lines = document.descendants().filter(|node| node.has_tag_name("polyline"));
    let mut passed = 0;
    for line in lines {
        let points: Vec<(f64, f64)> = line
            .attribute("points")
            .unwrap()
            .split(' ')
            .map(|point| {
                point.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).unwrap()
            })
            .collect();
        let around = points.windows(2).find(|pair| pair[0].0 <= x && x < pair[1].0);
        if let Some(&[(x0, y0), (x1, y1)]) = around.filter(|_| points.len() > 2) {
            assert!((y0 + (y1 - y0) * (x - x0) / (x1 - x0) - y).abs() < 0.5, "{points:?} {x},{y}");
            passed += 1;
        }
    }
    assert_eq!(passed, 2);
}

proptest! {
    #[test]
    fn texts_are_cut_to_their_room_and_survive_escaping(text in "\\PC{0,40}", width in 0.0f64..400.0) {
        let short = elided(&text, TEXT, Weight::Normal, width);
        prop_assert!(text_width(&short, TEXT, Weight::Normal) <= width);
        let xml = format!("<a>{}</a>", escaped(&text));
        let document = Document::parse(&xml).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(document.root_element().text().unwrap_or_default(), text.as_str());
    }

    #[test]
    fn wrapped_lines_fit_and_hold_every_word(words in prop::collection::vec("[a-z]{1,9}", 0..40), width in 90.0f64..400.0) {
        let lines = wrap(&words.join(" "), TEXT, width);
        prop_assert!(lines.iter().all(|line| text_width(line, TEXT, Weight::Normal) <= width));
        prop_assert_eq!(lines.join(" "), words.join(" "));
    }
}

/// Writes the pictures to the folder that `VMXSIM_PICTURES` names, for people to look at.
#[test]
fn pictures_can_be_looked_at() {
    let Some(folder) = std::env::var_os("VMXSIM_PICTURES").map(std::path::PathBuf::from) else { return };
    let mut long = comparison(12, 20, "deferred-to-entry");
    long.strategies[3].missing = 4;
    std::fs::write(folder.join("three.svg"), picture(&example::three())).unwrap();
    std::fs::write(folder.join("twelve.svg"), picture(&long)).unwrap();
    std::fs::write(folder.join("eight.svg"), picture(&comparison(8, 6, "strategy"))).unwrap();
    std::fs::write(folder.join("sweep.svg"), sweep_picture(&sweep("threshold=1..64", 6))).unwrap();
}
