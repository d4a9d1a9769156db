//! Sorting: quicksort, merge sort and heapsort, each on integers and on strings.
//!
//! Stresses compare-and-branch code whose branches no predictor can learn, and, on strings, a second load behind
//! each compare. To the TLB it is tame: quicksort and merge sort stream through a few pages, and even the jumps of
//! heapsort from a parent to its children stay within the three pages of an array. After the first touches nothing
//! misses; an invalidation strategy that costs anything here costs it without reason.
//!
//! Prints `sort e7c0a020386379c2`.

const INTEGERS: usize = 1500;
const STRINGS: usize = 250;

/// Knuth's MMIX linear congruential generator; the high bits are the good ones.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }
}

/// Median of three as the pivot; runs of twelve or fewer are left to insertion.
fn quicksort<T: PartialOrd + Copy>(mut items: &mut [T]) {
    while items.len() > 12 {
        let middle = partition(items);
        let (low, high) = items.split_at_mut(middle);
        // The shorter side is recursed into, so that the stack stays logarithmic.
        items = if low.len() < high.len() {
            quicksort(low);
            high
        } else {
            quicksort(high);
            low
        };
    }
    insertion_sort(items);
}

/// Hoare's partition: nothing before the returned place is greater than anything from there on.
fn partition<T: PartialOrd + Copy>(items: &mut [T]) -> usize {
    let (first, last) = (0, items.len() - 1);
    let pivot = median(items[first], items[last / 2], items[last]);
    let (mut left, mut right) = (first, last);
    loop {
        while items[left] < pivot {
            left += 1;
        }
        while pivot < items[right] {
            right -= 1;
        }
        if left >= right {
            return left;
        }
        items.swap(left, right);
        left += 1;
        right -= 1;
    }
}

fn median<T: PartialOrd + Copy>(a: T, b: T, c: T) -> T {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if c < low {
        low
    } else if high < c {
        high
    } else {
        c
    }
}

fn insertion_sort<T: PartialOrd + Copy>(items: &mut [T]) {
    for end in 1..items.len() {
        let item = items[end];
        let mut hole = end;
        while hole > 0 && item < items[hole - 1] {
            items[hole] = items[hole - 1];
            hole -= 1;
        }
        items[hole] = item;
    }
}

/// Bottom-up: runs of one, two, four ... are merged between the slice and a buffer of the same length.
fn merge_sort<T: PartialOrd + Copy>(items: &mut [T]) {
    let mut buffer = items.to_vec();
    let mut run = 1;
    while run < items.len() {
        for (from, to) in items.chunks(2 * run).zip(buffer.chunks_mut(2 * run)) {
            let (left, right) = from.split_at(run.min(from.len()));
            merge(left, right, to);
        }
        items.copy_from_slice(&buffer);
        run *= 2;
    }
}

fn merge<'a, T: PartialOrd + Copy>(mut left: &'a [T], mut right: &'a [T], to: &mut [T]) {
    for place in to {
        let side = match (left.first(), right.first()) {
            (Some(l), Some(r)) if r < l => &mut right,
            (Some(_), _) => &mut left,
            (None, _) => &mut right,
        };
        *place = side[0];
        *side = &side[1..];
    }
}

fn heapsort<T: PartialOrd + Copy>(items: &mut [T]) {
    for root in (0..items.len() / 2).rev() {
        sift_down(items, root);
    }
    for end in (1..items.len()).rev() {
        items.swap(0, end);
        sift_down(&mut items[..end], 0);
    }
}

fn sift_down<T: PartialOrd + Copy>(heap: &mut [T], mut parent: usize) {
    loop {
        let mut child = 2 * parent + 1;
        if child >= heap.len() {
            return;
        }
        if child + 1 < heap.len() && heap[child] < heap[child + 1] {
            child += 1;
        }
        if heap[child] <= heap[parent] {
            return;
        }
        heap.swap(parent, child);
        parent = child;
    }
}

/// Sorts a copy of `items` in each of the three ways, and returns what all three agree on.
fn sort_thrice<T: PartialOrd + Copy>(items: &[T]) -> Vec<T> {
    let [mut quick, mut merged, mut heap] = [items.to_vec(), items.to_vec(), items.to_vec()];
    quicksort(&mut quick);
    merge_sort(&mut merged);
    heapsort(&mut heap);
    assert!(quick == merged && merged == heap, "the three sorts disagree");
    quick
}

/// Words of one to twelve letters out of six, so that many share a beginning.
fn words(random: &mut Random, count: usize) -> Vec<String> {
    let mut word = || {
        let length = 1 + random.below(12);
        (0..length).map(|_| (b'a' + random.below(6) as u8) as char).collect()
    };
    (0..count).map(|_| word()).collect()
}

/// Depends on the place of each byte (FNV-1a).
fn mix(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(sum, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

fn main() {
    let mut random = Random(1);
    let integers: Vec<u64> = (0..INTEGERS).map(|_| random.below(1 << 16)).collect();
    let words = words(&mut random, STRINGS);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();

    let sum = sort_thrice(&integers).iter().fold(0, |sum, integer| mix(sum, &integer.to_le_bytes()));
    let sum = sort_thrice(&words).iter().fold(sum, |sum, word| mix(sum, word.as_bytes()));
    println!("sort {sum:016x}");
}
