//! Patterns of lines: text, and values in it.
//!
//! A blank stands for any number of blanks, also none. `{SYMBOL}` is the hexadecimal value of a field, with or without
//! `0x`; `{}` is a value that is no field; `{?}` is any text up to a closing parenthesis.

use super::Item;
use crate::field::Field;

/// Where a text stops being what a pattern describes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mismatch<'a> {
    /// The text from there.
    pub(super) rest: &'a str,
    /// What should be there.
    pub(super) expected: String,
}

/// Reads a pattern at the start of a text: the fields, and what follows.
///
/// The error is nothing if the text does not even begin like the pattern.
pub(super) fn read<'a>(pattern: &str, text: &'a str) -> Result<Item<'a>, Option<Mismatch<'a>>> {
    let mut values = Vec::new();
    let mut rest = text;
    // Whether some text of the pattern was there: a value alone is no beginning.
    let mut begun = false;
    let mut pieces = pattern.split(['{', '}']);
    // Text and values take turns.
    while let Some(words) = pieces.next() {
        rest = literal(words, rest)
            .map_err(|rest| begun.then(|| Mismatch { rest, expected: format!("`{}`", words.trim()) }))?;
        let Some(slot) = pieces.next() else { break };
        begun |= !words.trim().is_empty();
        rest = match slot {
            "?" => skip_to_parenthesis(rest),
            _ => {
                let what = format!("a hexadecimal value after `{}`", words.trim());
                let (value, after) = number(rest)
                    .ok_or_else(|| begun.then(|| Mismatch { rest: rest.trim_start(), expected: what }))?;
                if let Some(field) = Field::by_name(slot) {
                    values.push((field.encoding, value));
                }
                after
            }
        };
    }
    Ok((values, rest))
}

/// The text after some words; or the whole text, if it begins differently.
fn literal<'a>(words: &str, text: &'a str) -> Result<&'a str, &'a str> {
    let mut rest = text;
    for letter in words.chars() {
        rest = if letter.is_whitespace() {
            rest.trim_start()
        } else {
            rest.trim_start().strip_prefix(letter).ok_or_else(|| text.trim_start())?
        };
    }
    Ok(rest)
}

/// The text from the closing parenthesis that ends what `{?}` stands for.
fn skip_to_parenthesis(text: &str) -> &str {
    text.find(')').map_or("", |at| &text[at..])
}

/// A hexadecimal value, and what follows.
fn number(text: &str) -> Option<(u64, &str)> {
    let text = text.trim_start();
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
    // A letter right after the digits belongs to the word, which then is no number.
    let goes_on = digits[end..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let value = u64::from_str_radix(&digits[..end], 16).ok().filter(|_| !goes_on)?;
    Some((value, &digits[end..]))
}
