//! B-tree: inserts, searches, deletions and a range scan, on nodes of about one page.
//!
//! Stresses the binary search inside a node, a dependent load from each level to the next, and the move of half a
//! node for an insertion, which is one repeated string instruction. A search touches three unrelated pages, the root
//! among them; the leaves fill more pages than a first-level TLB holds. This is what databases and file systems ask
//! of a TLB: hot upper levels that should survive an invalidation, and cold leaves.
//!
//! Prints `btree 4a8994691728d3ba`.

const KEYS: u64 = 1600;

/// Each node but the root has at least this many children (Cormen et al., Introduction to Algorithms, ch. 18).
const DEGREE: usize = 16;
const FULL: usize = 2 * DEGREE - 1;

/// A key and what it stands for, 128 bytes: a full node takes 31 of the 32 that fit in a page.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    key: u64,
    value: Value,
}

type Value = [u64; 15];

/// Knuth's MMIX linear congruential generator; the high bits are the good ones.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }
}

/// A leaf has no children; any other node has one more than it has entries.
struct Node {
    entries: Vec<Entry>,
    children: Vec<Node>,
}

impl Node {
    fn new(children: Vec<Node>) -> Self {
        Self { entries: Vec::with_capacity(FULL), children }
    }

    fn is_leaf(&self) -> bool {
        self.children.is_empty()
    }

    /// `Ok` with the place of `key`, or `Err` with the child that would hold it.
    fn locate(&self, key: u64) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&key, |entry| entry.key)
    }

    fn get(&self, key: u64) -> Option<&Value> {
        match self.locate(key) {
            Ok(place) => Some(&self.entries[place].value),
            Err(child) => self.children.get(child)?.get(key),
        }
    }

    /// Inserts below this node, which is not full.
    fn insert(&mut self, entry: Entry) {
        match self.locate(entry.key) {
            Ok(place) => self.entries[place] = entry,
            Err(place) if self.is_leaf() => self.entries.insert(place, entry),
            Err(child) if self.children[child].entries.len() == FULL => {
                self.split_child(child);
                self.insert(entry);
            }
            Err(child) => self.children[child].insert(entry),
        }
    }

    /// Moves the upper half of a full child to a new right neighbour, and the entry between them up.
    fn split_child(&mut self, child: usize) {
        let left = &mut self.children[child];
        let mut right = Node::new(Vec::new());
        right.entries.extend(left.entries.drain(DEGREE..));
        if !left.is_leaf() {
            right.children = left.children.split_off(DEGREE);
        }
        let middle = left.entries.remove(DEGREE - 1);
        self.entries.insert(child, middle);
        self.children.insert(child + 1, right);
    }

    /// Removes below this node, which has at least `DEGREE` entries or is the root.
    fn remove(&mut self, key: u64) -> Option<Entry> {
        match self.locate(key) {
            Ok(place) if self.is_leaf() => Some(self.entries.remove(place)),
            Ok(place) => Some(self.remove_inner(place)),
            Err(_) if self.is_leaf() => None,
            Err(child) => {
                let child = self.fill_child(child);
                self.children[child].remove(key)
            }
        }
    }

    /// Replaces an entry by its neighbour in order, from the child that can spare one.
    fn remove_inner(&mut self, place: usize) -> Entry {
        let removed = self.entries[place];
        if self.children[place].entries.len() >= DEGREE {
            self.entries[place] = self.children[place].remove_last();
        } else if self.children[place + 1].entries.len() >= DEGREE {
            self.entries[place] = self.children[place + 1].remove_first();
        } else {
            self.merge_children(place);
            self.children[place].remove(removed.key);
        }
        removed
    }

    fn remove_last(&mut self) -> Entry {
        if self.is_leaf() {
            return self.entries.remove(self.entries.len() - 1);
        }
        let child = self.fill_child(self.entries.len());
        self.children[child].remove_last()
    }

    fn remove_first(&mut self) -> Entry {
        if self.is_leaf() {
            return self.entries.remove(0);
        }
        let child = self.fill_child(0);
        self.children[child].remove_first()
    }

    /// Gives a child at least `DEGREE` entries, from a neighbour or by a merge; returns where it is afterwards.
    fn fill_child(&mut self, child: usize) -> usize {
        let has_spare = |node: &Node| node.entries.len() >= DEGREE;
        if has_spare(&self.children[child]) {
            return child;
        }
        if child > 0 && has_spare(&self.children[child - 1]) {
            self.rotate_right(child - 1);
            return child;
        }
        if child < self.entries.len() && has_spare(&self.children[child + 1]) {
            self.rotate_left(child);
            return child;
        }
        let left = child.min(self.entries.len() - 1);
        self.merge_children(left);
        left
    }

    /// Moves the last entry of the left child through `place` to the right child.
    fn rotate_right(&mut self, place: usize) {
        let [left, right] = &mut self.children[place..place + 2] else { return };
        if let Some(last) = left.entries.pop() {
            right.entries.insert(0, std::mem::replace(&mut self.entries[place], last));
        }
        if let Some(last) = left.children.pop() {
            right.children.insert(0, last);
        }
    }

    /// Moves the first entry of the right child through `place` to the left child.
    fn rotate_left(&mut self, place: usize) {
        let [left, right] = &mut self.children[place..place + 2] else { return };
        let first = right.entries.remove(0);
        left.entries.push(std::mem::replace(&mut self.entries[place], first));
        if !right.is_leaf() {
            left.children.push(right.children.remove(0));
        }
    }

    /// Joins two neighbours and the entry between them.
    fn merge_children(&mut self, place: usize) {
        let right = self.children.remove(place + 1);
        let left = &mut self.children[place];
        left.entries.push(self.entries.remove(place));
        left.entries.extend(right.entries);
        left.children.extend(right.children);
    }

    /// Calls `visit` for the entries with keys from `from` up to but not including `to`, in order.
    fn scan(&self, from: u64, to: u64, visit: &mut impl FnMut(&Entry)) {
        let start = self.entries.partition_point(|entry| entry.key < from);
        for place in start..=self.entries.len() {
            if let Some(child) = self.children.get(place) {
                child.scan(from, to, visit);
            }
            match self.entries.get(place) {
                Some(entry) if entry.key < to => visit(entry),
                _ => return,
            }
        }
    }
}

struct Tree {
    root: Node,
}

impl Tree {
    fn insert(&mut self, entry: Entry) {
        if self.root.entries.len() == FULL {
            let old = std::mem::replace(&mut self.root, Node::new(Vec::new()));
            self.root.children.push(old);
            self.root.split_child(0);
        }
        self.root.insert(entry);
    }

    fn remove(&mut self, key: u64) -> Option<Entry> {
        let removed = self.root.remove(key);
        if self.root.entries.is_empty() && !self.root.is_leaf() {
            self.root = self.root.children.remove(0);
        }
        removed
    }
}

/// The entry number `index`; an odd factor has an inverse modulo a power of two, so that no key comes twice.
fn entry(index: u64) -> Entry {
    Entry { key: index.wrapping_mul(0x9e37_79b1) % (1 << 32), value: [index; 15] }
}

fn main() {
    let mut random = Random(5);
    let mut tree = Tree { root: Node::new(Vec::new()) };
    (0..KEYS).for_each(|index| tree.insert(entry(index)));

    let mut sum = 0_u64;
    let mut add = |value: u64| sum = (sum ^ value).wrapping_mul(0x100_0000_01b3);
    for _ in 0..KEYS {
        // Half of these were never inserted.
        let found = tree.root.get(entry(random.below(2 * KEYS)).key);
        add(found.map_or(u64::MAX, |value| value[7]));
    }
    for index in (0..KEYS).step_by(2) {
        assert!(tree.remove(entry(index).key) == Some(entry(index)), "entry {index} was lost");
    }
    let mut last = None;
    tree.root.scan(1 << 30, 3 << 30, &mut |entry| {
        assert!(last < Some(entry.key), "the scan is out of order");
        last = Some(entry.key);
        add(entry.value[14]);
    });
    println!("btree {sum:016x}");
}
