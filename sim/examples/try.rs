use std::time::Instant;
use vmxsim::compare::*;
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let traces = ["btree", "hash", "json", "matrix", "pointer_chase", "sort"]
        .map(|t| format!("traces/{t}.vmxt").into())
        .to_vec();
    let limit = args.first().map(|a| a.parse().unwrap());
    let strategies: Vec<String> = args.iter().skip(2).cloned().collect();
    let r = |n: &str| std::env::var(n).map_or(0.0, |v| v.parse().unwrap());
    let churn = work::Churn {
        unmap: r("UNMAP"),
        protect: r("PROTECT"),
        copy_on_write: r("COW"),
        migrate: r("MIG"),
        host_migrate: r("HMIG"),
        host_cut: r("HCUT"),
        batch: 4,
    };
    let work = work::WorkOptions {
        traces,
        limit,
        churn,
        guest_pages: if std::env::var("THP").is_ok() {
            work::GuestPages::Transparent(16)
        } else {
            work::GuestPages::Size4K
        },
        host_pages: if std::env::var("H2M").is_ok() { mmu::PageSize::Size2M } else { mmu::PageSize::Size4K },
        exits: work::Exits { system_calls: true, every: Some(20000), timer: None },
        ..Default::default()
    };
    let mut o = CompareOptions::new(work);
    o.strategies = strategies;
    if args.get(1).is_some_and(|a| a == "off") {
        o.oracle = options::Oracle::Off;
    }
    let t = Instant::now();
    let c = compare(&o, |_| ()).unwrap();
    let s = t.elapsed().as_secs_f64();
    println!(
        "{} instr, {} accesses, {s:.2}s, {:.1} M accesses/s",
        c.instructions,
        c.accesses,
        c.strategies.iter().map(|s| s.accesses).sum::<u64>() as f64 / s / 1e6
    );
    for s in &c.strategies {
        println!(
            "{:20} l1m {:8} walks {:8} refs {:8} inv {:6} drop {:7} over {:6} miss {:3} inwin {:4} incoh {} ipis {:5} exits {:5} faults {:6} cyc {:11} {:.3}",
            s.name,
            s.l1_misses,
            s.walks,
            s.walk_refs,
            s.invalidations,
            s.entries_dropped,
            s.over_invalidated,
            s.missing,
            s.judgement.in_window,
            s.judgement.incoherent,
            s.ipis,
            s.exits,
            s.faults,
            s.cycles,
            s.cycles_relative
        );
        for f in s.findings.iter().take(2) {
            println!("   {f}");
        }
    }
}
