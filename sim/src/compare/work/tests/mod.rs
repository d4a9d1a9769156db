//! The work holds what its options and its traces say, and obeys its own tables.
#![allow(clippy::unwrap_used, reason = "tests")]

mod checker;
mod merging;
mod script;
mod stream;

use super::*;
use std::path::{Path, PathBuf};

fn bundled(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces").join(name).with_extension("vmxt")
}

/// Every kind of churn and exit.
fn lively(names: &[&str]) -> WorkOptions {
    let churn = Churn {
        unmap: 400.0,
        protect: 300.0,
        copy_on_write: 250.0,
        migrate: 200.0,
        host_migrate: 150.0,
        host_cut: 350.0,
        batch: 3,
    };
    WorkOptions {
        traces: names.iter().map(|name| bundled(name)).collect(),
        exits: Exits { system_calls: true, every: Some(5000), timer: Some(7000) },
        quantum: 3000,
        limit: Some(100_000),
        churn,
        ..WorkOptions::default()
    }
}

fn blocks(options: &WorkOptions) -> Vec<Block> {
    let mut work = Work::new(options).unwrap();
    std::iter::from_fn(|| work.next_block(Block::default()).unwrap()).collect()
}

fn events(blocks: &[Block]) -> impl Iterator<Item = &Event> {
    blocks.iter().flat_map(|block| &block.events)
}

fn edits(blocks: &[Block]) -> impl Iterator<Item = &Edit> {
    events(blocks).filter_map(|event| if let Event::Edit(edit) = event { Some(edit) } else { None })
}
