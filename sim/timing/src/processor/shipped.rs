//! The processor files that are part of the program.

use super::{Processor, UnknownProcessor};

/// Each shipped processor's name, which is that of its file, and the file's text.
const SHIPPED: [(&str, &str); 8] = [
    ("haswell", include_str!("../../../processors/haswell.toml")),
    ("skylake", include_str!("../../../processors/skylake.toml")),
    ("skylake-x", include_str!("../../../processors/skylake-x.toml")),
    ("ice-lake", include_str!("../../../processors/ice-lake.toml")),
    ("golden-cove", include_str!("../../../processors/golden-cove.toml")),
    ("zen2", include_str!("../../../processors/zen2.toml")),
    ("zen3", include_str!("../../../processors/zen3.toml")),
    ("zen4", include_str!("../../../processors/zen4.toml")),
];

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// The text of a shipped processor's file.
pub(super) fn text(name: &str) -> Result<&'static str, UnknownProcessor> {
    let found = SHIPPED.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, text)| *text)
        .ok_or_else(|| UnknownProcessor { name: name.to_owned(), known: names().collect() })
}

pub(super) fn find(name: &str) -> Result<Processor, UnknownProcessor> {
    let file = format!("{name}.toml");
    Ok(Processor::from_toml(text(name)?, &file).expect("a test reads every shipped file"))
}
