//! What a replay found out.

use super::machine::Machine;
use super::verify::Divergence;
use super::watch::{OracleReport, Watch};
use crate::number::grouped;
use mmu::Counters;
use mmu::counters::HitsMisses;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use timing::stack::WholeCycles;

/// The result of a replay.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ReplayReport {
    /// Instructions replayed.
    pub instructions: u64,
    /// Instructions whose registers were compared and agree.
    pub verified: u64,
    /// Instructions after which the engine and the record differed.
    pub divergences: u64,
    /// The first of them.
    pub first_divergence: Option<Divergence>,
    /// Instructions that the engine does not model and that took their recorded effect, by mnemonic.
    pub unmodelled: BTreeMap<String, u64>,
    /// Instructions whose result silicon or the kernel chose (SYSCALL, CPUID, RDTSC ...), by mnemonic.
    pub recorded: BTreeMap<String, u64>,
    /// Simulated cycles.
    pub cycles: u64,
    /// Cycles by cause; they sum to `cycles`.
    pub cycle_stack: WholeCycles,
    /// Million instructions a second of host time.
    pub mips: f64,
    /// The TLB.
    pub tlb: TlbReport,
    /// Page walks.
    pub walk: WalkReport,
    /// What the oracle has to say, if it watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oracle: Option<OracleReport>,
}

/// Hits and misses of the TLB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct TlbReport {
    /// First level, instruction fetches: one for each 64-byte line that is fetched.
    pub l1_instruction: HitsMisses,
    /// First level, data.
    pub l1_data: HitsMisses,
    /// Second level.
    pub l2: HitsMisses,
}

/// Page walks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct WalkReport {
    /// Walks.
    pub count: u64,
    /// References to memory.
    pub references: u64,
    /// Those to the program's own paging structures.
    pub guest_references: u64,
    /// Those to EPT paging structures.
    pub ept_references: u64,
    /// The most references of one walk.
    pub most_references: u64,
}

impl ReplayReport {
    /// What `instructions` instructions cost on a machine; nothing was compared or taken from a record.
    pub(super) fn of_addresses(machine: &Machine, instructions: u64, elapsed: Duration) -> Self {
        let meter = &machine.cpu.outside;
        let cycle_stack = meter.model.stack().whole_cycles();
        let counters = machine.cpu.memory.counters();
        Self {
            instructions,
            verified: 0,
            divergences: 0,
            first_divergence: None,
            unmodelled: BTreeMap::new(),
            recorded: BTreeMap::new(),
            cycles: cycle_stack.total(),
            cycle_stack,
            mips: instructions as f64 / elapsed.as_secs_f64() / 1e6,
            tlb: TlbReport::of(counters),
            walk: WalkReport::of(counters, meter.most_references),
            oracle: meter.watch.as_ref().map(Watch::report),
        }
    }
}

impl ReplayReport {
    /// Whether the replay and the record agree, and nothing is wrong with what was used.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.divergences == 0 && self.oracle.as_ref().is_none_or(OracleReport::is_clean)
    }
}

impl fmt::Display for OracleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = &self.summary;
        let wrong = grouped(summary.missing + summary.incoherent);
        write!(
            f,
            "oracle         {wrong:>14}   translations that should not have been used; invalidations: {} required, {} \
             redundant",
            grouped(summary.required),
            grouped(summary.redundant)
        )?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n\n{finding}"))
    }
}

impl TlbReport {
    fn of(counters: &Counters) -> Self {
        Self {
            l1_instruction: counters.level1_instruction,
            l1_data: counters.level1_data,
            l2: counters.level2,
        }
    }
}

impl WalkReport {
    fn of(counters: &Counters, most_references: u64) -> Self {
        Self {
            count: counters.walks,
            references: counters.guest_references + counters.ept_references,
            guest_references: counters.guest_references,
            ept_references: counters.ept_references,
            most_references,
        }
    }
}

impl fmt::Display for ReplayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thousand = self.instructions.max(1) as f64 / 1000.0;
        let per_thousand = |count: u64| count as f64 / thousand;
        writeln!(f, "instructions   {:>14}   {:.1} MIPS", grouped(self.instructions), self.mips)?;
        if self.verified > 0 || self.divergences > 0 {
            let agree =
                if self.divergences == 0 { "all agree with the processor that was recorded" } else { "" };
            writeln!(f, "verified       {:>14}   {agree}", grouped(self.verified))?;
            writeln!(f, "divergences    {:>14}", grouped(self.divergences))?;
        }
        list(f, "from the record", &self.recorded)?;
        list(f, "unmodelled", &self.unmodelled)?;
        writeln!(
            f,
            "cycles         {:>14}   {:.2} an instruction",
            grouped(self.cycles),
            self.cycles as f64 / self.instructions.max(1) as f64
        )?;
        for (cause, cycles) in self.cycle_stack.iter().filter(|&(_, cycles)| cycles > 0) {
            let share = 100.0 * cycles as f64 / self.cycles.max(1) as f64;
            writeln!(f, "  {:<16} {:>11} {share:>7.1} %", cause.name(), grouped(cycles))?;
        }
        for (name, level) in [
            ("L1 TLB, fetches", self.tlb.l1_instruction),
            ("L1 TLB, data", self.tlb.l1_data),
            ("L2 TLB", self.tlb.l2),
        ] {
            let (hits, misses) = (grouped(level.hits), grouped(level.misses));
            let rate = per_thousand(level.misses);
            writeln!(
                f,
                "{name:<16} {hits:>12} hits {misses:>12} misses   {rate:.3} misses in 1000 instructions"
            )?;
        }
        let walk = &self.walk;
        let average = walk.references as f64 / walk.count.max(1) as f64;
        write!(
            f,
            "walks          {:>14}   {} references ({} guest, {} EPT), {average:.1} a walk, at most {}",
            grouped(walk.count),
            grouped(walk.references),
            grouped(walk.guest_references),
            grouped(walk.ept_references),
            walk.most_references
        )?;
        self.oracle.iter().try_for_each(|oracle| write!(f, "\n{oracle}"))
    }
}

fn list(f: &mut fmt::Formatter<'_>, title: &str, counts: &BTreeMap<String, u64>) -> fmt::Result {
    if counts.is_empty() {
        return Ok(());
    }
    let total = counts.values().sum::<u64>();
    let mut rows: Vec<_> = counts.iter().collect();
    rows.sort_by_key(|&(name, &count)| (std::cmp::Reverse(count), name));
    let shown: Vec<_> = rows.iter().take(8).map(|(name, count)| format!("{name} {count}")).collect();
    let more = if rows.len() > 8 { format!(", {} more", rows.len() - 8) } else { String::new() };
    writeln!(f, "{title:<15}{:>14}   {}{more}", grouped(total), shown.join(", "))
}
