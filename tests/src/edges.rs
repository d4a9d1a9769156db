//! The crates of the workspace depend on each other in one direction only.

use cargo_metadata::{Metadata, MetadataCommand};

/// What a crate may depend on, for whatever purpose: in its code, its tests or its build.
enum May {
    /// Nothing else of the workspace.
    Nothing,
    /// These.
    Only(&'static [&'static str]),
    /// Anything: nothing depends on this crate.
    Anything,
}

/// The table of allowed edges, by package. `isa` knows no page tables, no VMCS and no time; `mmu` knows no VMCS; timing
/// sees steps, never the machine.
const ALLOWED: &[(&str, May)] = &[
    ("vmxsim-isa", May::Nothing),
    ("vmxsim-mmu", May::Only(&["vmxsim-isa"])),
    ("vmxsim-vmx", May::Only(&["vmxsim-isa", "vmxsim-mmu"])),
    ("vmxsim-traces", May::Only(&["vmxsim-isa"])),
    ("vmxsim-platform", May::Nothing),
    ("vmxsim-timing", May::Only(&["vmxsim-isa", "vmxsim-traces"])),
    (
        "vmxsim",
        May::Only(&[
            "vmxsim-isa",
            "vmxsim-mmu",
            "vmxsim-vmx",
            "vmxsim-traces",
            "vmxsim-platform",
            "vmxsim-timing",
        ]),
    ),
    ("vmxsim-benches", May::Anything),
    ("vmxsim-tests", May::Anything),
];

/// A package and one that it depends on.
type Edge = (String, String);

/// What is wrong with the members and the edges between them.
fn complaints(members: &[String], edges: &[Edge]) -> Vec<String> {
    let rule = |member: &str| ALLOWED.iter().find(|(name, _)| *name == member).map(|(_, may)| may);
    let unknown = members.iter().filter(|member| rule(member).is_none());
    let unknown = unknown.map(|member| format!("{member} is not in the table of allowed edges"));
    let gone = ALLOWED.iter().filter(|(name, _)| !members.iter().any(|member| member == name));
    let gone =
        gone.map(|(name, _)| format!("{name} is in the table of allowed edges and not in the workspace"));
    let forbidden = edges.iter().filter(|(from, to)| match rule(from) {
        Some(May::Anything) => false,
        Some(May::Only(allowed)) => !allowed.contains(&to.as_str()),
        Some(May::Nothing) | None => true,
    });
    let forbidden = forbidden.map(|(from, to)| format!("{from} must not depend on {to}"));
    unknown.chain(gone).chain(forbidden).collect()
}

/// The names of the members, and the edges between them that their manifests declare.
fn graph(metadata: &Metadata) -> (Vec<String>, Vec<Edge>) {
    let packages = metadata.workspace_packages();
    let members: Vec<String> = packages.iter().map(|package| package.name.to_string()).collect();
    let edges = packages.iter().flat_map(|package| {
        let inside = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
        inside.map(|dependency| (package.name.to_string(), dependency.name.clone()))
    });
    let edges = edges.collect();
    (members, edges)
}

#[test]
fn crates_depend_on_each_other_only_where_the_table_allows() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec();
    let (members, edges) = graph(&metadata.expect("cargo describes the workspace"));
    assert!(edges.len() > 5, "the workspace has edges: {edges:?}");
    assert_eq!(complaints(&members, &edges), Vec::<String>::new());
}

#[test]
fn an_edge_against_the_direction_and_a_crate_without_a_rule_are_named() {
    let mut members: Vec<String> = ALLOWED.iter().map(|(name, _)| (*name).to_owned()).collect();
    members.push("vmxsim-new".to_owned());
    members.retain(|member| member != "vmxsim-traces");
    let edge = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let edges = [
        edge("vmxsim-mmu", "vmxsim-isa"),
        edge("vmxsim-isa", "vmxsim-mmu"),
        edge("vmxsim-timing", "vmxsim"),
        edge("vmxsim-tests", "vmxsim"),
    ];
    assert_eq!(
        complaints(&members, &edges),
        [
            "vmxsim-new is not in the table of allowed edges",
            "vmxsim-traces is in the table of allowed edges and not in the workspace",
            "vmxsim-isa must not depend on vmxsim-mmu",
            "vmxsim-timing must not depend on vmxsim",
        ]
    );
}
