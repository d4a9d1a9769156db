//! Pointer chasing: a cyclic list in random order with one element on each of 8192 pages (32 MiB).
//!
//! Stresses address translation and nothing else. Each load gives the address of the next, so that nothing overlaps,
//! and each is on another page: more pages than the TLBs of today have entries, in an order that no prefetcher
//! guesses. Nearly every load is a page walk, and behind EPT a walk in two dimensions. Only larger pages help: sixteen
//! of 2 MiB hold the list. Elements lie on different lines of their pages, so that they do not all compete for
//! the same set of a data cache.
//!
//! Prints `pointer_chase 0000001800134d60`.

const PAGES: usize = 8192;
const LAPS: usize = 6;

/// Elements of eight bytes on a page, and on a line.
const PAGE: usize = 4096 / 8;
const LINE: usize = 64 / 8;

/// Knuth's MMIX linear congruential generator; the high bits are the good ones.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }
}

/// Where in the memory the element of a page lies.
fn element(page: usize) -> usize {
    page * PAGE + page % (PAGE / LINE) * LINE
}

/// Each element holds the place of the next one: a single cycle through all pages (Sattolo's algorithm).
fn cycle(random: &mut Random) -> Vec<usize> {
    let mut order: Vec<u16> = (0..PAGES).map(|page| page as u16).collect();
    for last in (1..PAGES).rev() {
        order.swap(last, random.below(last as u64) as usize);
    }
    // Zeroed memory comes from the kernel untouched: only the lines of the elements are ever written.
    let mut memory = vec![0; PAGES * PAGE];
    for (page, next) in order.iter().enumerate() {
        memory[element(page)] = element(usize::from(*next));
    }
    memory
}

fn main() {
    let memory = cycle(&mut Random(3));
    let (mut place, mut sum) = (element(0), 0_u64);
    for step in 0..LAPS * PAGES {
        place = memory[place];
        sum += (step ^ place) as u64;
    }
    assert!(place == element(0), "the list is not one cycle");
    println!("pointer_chase {sum:016x}");
}
