//! The model files that are part of the program.

/// Each model's name, which is that of its file, and the file's text.
const SHIPPED: [(&str, &str); 4] = [
    ("minimal", include_str!("../../cpus/minimal.toml")),
    ("kvm-unit", include_str!("../../cpus/kvm-unit.toml")),
    ("server", include_str!("../../cpus/server.toml")),
    ("amd", include_str!("../../cpus/amd.toml")),
];

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// The text of a model's file.
pub(super) fn text(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
