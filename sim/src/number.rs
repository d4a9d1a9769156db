//! Numbers as people read them.

/// A number with a comma every three digits.
///
/// ```
/// assert_eq!(vmxsim::number::grouped(1_234_567), "1,234,567");
/// ```
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number in at most five characters: below 10,000 as it is, above rounded to three digits with k, M, G, T, P or E
/// for each thousand.
///
/// ```
/// assert_eq!(vmxsim::number::short(9_999), "9999");
/// assert_eq!(vmxsim::number::short(1_234_567), "1.23M");
/// ```
#[must_use]
pub fn short(number: u64) -> String {
    if number < 10_000 {
        return number.to_string();
    }
    let mut scaled = number as f64;
    let mut unit = "";
    for next in ["k", "M", "G", "T", "P", "E"] {
        // What three digits cannot show without becoming 1000 belongs to the next unit.
        if scaled < 999.5 {
            break;
        }
        (scaled, unit) = (scaled / 1000.0, next);
    }
    let decimals = if scaled < 9.995 { 2 } else { usize::from(scaled < 99.95) };
    format!("{scaled:.decimals$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(
            ["0", "12", "999", "1,000", "1,234,567"],
            [0, 12, 999, 1000, 1_234_567].map(grouped).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn numbers_are_shortened_at_every_boundary() {
        for (number, text) in [
            (0, "0"),
            (9_999, "9999"),
            (10_000, "10.0k"),
            (99_949, "99.9k"),
            (99_950, "100k"),
            (999_499, "999k"),
            (999_500, "1.00M"),
            (9_994_999, "9.99M"),
            (9_995_000, "10.0M"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(short(number), text, "{number}");
        }
    }

    proptest! {
        #[test]
        fn a_shortened_number_takes_five_characters_and_is_right_to_half_a_percent(number: u64) {
            let text = short(number);
            prop_assert!(text.len() <= 5, "{text}");
            let unit = "kMGTPE".find(|unit| text.ends_with(unit)).map_or(0, |_| 1);
            let (digits, unit) = text.split_at(text.len() - unit);
            let power = "kMGTPE".find(unit).filter(|_| !unit.is_empty()).map_or(0, |at| at as i32 + 1);
            let value = digits.parse::<f64>().map_err(|e| TestCaseError::fail(e.to_string()))? * 1000f64.powi(power);
            prop_assert!((value - number as f64).abs() <= number as f64 / 200.0 + 0.5, "{text} {number}");
        }
    }
}
