//! Prints the rules of cached translations: all, or those whose id begins with the argument.
//!
//! `cargo run -p vmxsim-mmu --example tlb_rules -- TLB.OP`

use std::process::ExitCode;

fn main() -> ExitCode {
    let prefix = std::env::args().nth(1).unwrap_or_default().to_ascii_uppercase();
    let mut found = false;
    for rule in mmu::rules::RULES.iter().filter(|rule| rule.id.starts_with(&prefix)) {
        println!("{rule}\n");
        found = true;
    }
    if found {
        ExitCode::SUCCESS
    } else {
        eprintln!("no rule has an id that begins with {prefix:?}");
        ExitCode::FAILURE
    }
}
