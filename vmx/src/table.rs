//! Reads the tables under `vmx/data`, which are compiled into the program.

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error};
use std::str::FromStr;

/// A cell of a table. (A name of its own, because serde would borrow a `&'static str` from the reader.)
pub(crate) type Text = &'static str;

/// Every row of a table, in the table's order.
///
/// # Panics
/// When a row is malformed. The text is part of the program and the tests of each table read all of it, so that this
/// is a defect of the build and not an answer to any input.
pub(crate) fn rows<Row: DeserializeOwned>(name: &str, text: &str) -> Vec<Row> {
    csv::Reader::from_reader(text.as_bytes())
        .into_deserialize()
        .map(|row| row.unwrap_or_else(|error| panic!("vmx/data/{name}: {error}")))
        .collect()
}

/// A cell that lives as long as the program; each table is read once.
pub(crate) fn text<'de, D: Deserializer<'de>>(cell: D) -> Result<Text, D::Error> {
    Ok(&*String::deserialize(cell)?.leak())
}

/// A cell of names separated by `|`.
pub(crate) fn names<'de, D: Deserializer<'de>>(cell: D) -> Result<Vec<Text>, D::Error> {
    Ok(text(cell)?.split('|').filter(|name| !name.is_empty()).collect())
}

/// A hexadecimal cell.
pub(crate) fn hexadecimal<'de, D: Deserializer<'de>>(cell: D) -> Result<u32, D::Error> {
    u32::from_str_radix(text(cell)?, 16).map_err(D::Error::custom)
}

/// A cell that a type parses by itself.
pub(crate) fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: std::fmt::Display>>(
    cell: D,
) -> Result<T, D::Error> {
    text(cell)?.parse().map_err(D::Error::custom)
}

/// A cell of such words separated by blanks.
pub(crate) fn list<'de, D: Deserializer<'de>, T: FromStr<Err: std::fmt::Display>>(
    cell: D,
) -> Result<Vec<T>, D::Error> {
    text(cell)?.split_whitespace().map(|word| word.parse().map_err(D::Error::custom)).collect()
}

/// The form in which names are compared: `guest CR3` and `GUEST_CR3` are the same name.
pub(crate) fn normalized(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_").to_ascii_uppercase()
}
