//! Hashing: a table with open addressing and strings as keys, under FNV-1a and under SipHash-1-3.
//!
//! Stresses integer multiplies, rotates and byte loads (the two hash functions), and then one load at an
//! unpredictable place for each operation. That load is what the TLB sees: the slots of a table fill 128 pages, more
//! than a first-level TLB has entries and fewer than a second-level one. Misses of the first level are frequent and
//! cheap as long as the second level keeps its entries; an invalidation that drops everything is paid for in walks.
//!
//! Prints `hash 546043932d4a1532`.

const KEYS: usize = 350;
const SLOTS: usize = 8192;

/// Knuth's MMIX linear congruential generator; the high bits are the good ones.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// SipHash with one round for each word and three at the end, under a fixed key.
fn siphash13(bytes: &[u8]) -> u64 {
    let (key0, key1) = (0x0706_0504_0302_0100_u64, 0x0f0e_0d0c_0b0a_0908_u64);
    let mut state = [
        key0 ^ 0x736f_6d65_7073_6575,
        key1 ^ 0x646f_7261_6e64_6f6d,
        key0 ^ 0x6c79_6765_6e65_7261,
        key1 ^ 0x7465_6462_7974_6573,
    ];
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        absorb(&mut state, word.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte)));
    }
    let rest = words.remainder().iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
    absorb(&mut state, (bytes.len() as u64) << 56 | rest);
    state[2] ^= 0xff;
    (0..3).for_each(|_| sip_round(&mut state));
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

fn absorb(state: &mut [u64; 4], word: u64) {
    state[3] ^= word;
    sip_round(state);
    state[0] ^= word;
}

fn sip_round([a, b, c, d]: &mut [u64; 4]) {
    *a = a.wrapping_add(*b);
    *c = c.wrapping_add(*d);
    *b = b.rotate_left(13) ^ *a;
    *d = d.rotate_left(16) ^ *c;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*b);
    *a = a.wrapping_add(*d);
    *b = b.rotate_left(17) ^ *c;
    *d = d.rotate_left(21) ^ *a;
    *c = c.rotate_left(32);
}

/// The longest key that a slot holds.
const LONGEST: usize = 48;

/// One slot, one cache line. A free slot has no length, and no key is empty.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Slot {
    hash: u64,
    value: u32,
    length: u8,
    key: [u8; LONGEST],
}

const FREE: Slot = Slot { hash: 0, value: 0, length: 0, key: [0; LONGEST] };

impl Slot {
    fn new(hash: u64, key: &[u8], value: u32) -> Self {
        let mut slot = Self { hash, value, length: key.len() as u8, ..FREE };
        slot.key[..key.len()].copy_from_slice(key);
        slot
    }

    fn is_free(&self) -> bool {
        self.length == 0
    }

    fn holds(&self, hash: u64, key: &[u8]) -> bool {
        self.hash == hash && &self.key[..usize::from(self.length)] == key
    }

    /// Where its key would lie in an empty table.
    fn home(&self) -> usize {
        home(self.hash)
    }
}

/// The low bits of FNV-1a are poor: the high half is folded in.
fn home(hash: u64) -> usize {
    (hash ^ hash >> 32) as usize % SLOTS
}

/// Linear probing; removal moves later entries back, so that there are no tombstones.
struct Table {
    hash: fn(&[u8]) -> u64,
    slots: Vec<Slot>,
}

impl Table {
    fn new(hash: fn(&[u8]) -> u64) -> Self {
        Self { hash, slots: vec![FREE; SLOTS] }
    }

    /// The slot of `key`, or the free one where it belongs.
    fn find(&self, key: &[u8]) -> (usize, u64) {
        let hash = (self.hash)(key);
        let mut place = home(hash);
        while !self.slots[place].is_free() && !self.slots[place].holds(hash, key) {
            place = (place + 1) % SLOTS;
        }
        (place, hash)
    }

    fn add(&mut self, key: &[u8], amount: u32) {
        let (place, hash) = self.find(key);
        let slot = &mut self.slots[place];
        if slot.is_free() {
            *slot = Slot::new(hash, key, amount);
        } else {
            slot.value += amount;
        }
    }

    fn get(&self, key: &[u8]) -> Option<u32> {
        let slot = &self.slots[self.find(key).0];
        (!slot.is_free()).then_some(slot.value)
    }

    fn remove(&mut self, key: &[u8]) {
        let (mut hole, _) = self.find(key);
        let mut next = hole;
        loop {
            next = (next + 1) % SLOTS;
            let slot = self.slots[next];
            if slot.is_free() {
                break;
            }
            // An entry fills the hole unless its home lies behind the hole.
            if (next + SLOTS - slot.home()) % SLOTS >= (next + SLOTS - hole) % SLOTS {
                self.slots[hole] = slot;
                hole = next;
            }
        }
        self.slots[hole] = FREE;
    }
}

/// Words of four to twenty-three letters, each of which shows four bits of one random number.
fn words(random: &mut Random) -> Vec<Vec<u8>> {
    let mut word = || {
        let (length, bits) = (4 + random.below(20), random.below(1 << 31));
        (0..length).map(|place| b'a' + (bits >> place) as u8 % 16).collect()
    };
    (0..KEYS).map(|_| word()).collect()
}

/// Adds every key, some twice; removes every third; looks all of them up.
fn exercise(table: &mut Table, keys: &[Vec<u8>], random: &mut Random) -> u64 {
    for (key, amount) in keys.iter().zip(0..) {
        table.add(key, amount);
    }
    for _ in 0..KEYS / 2 {
        table.add(&keys[random.below(KEYS as u64) as usize], 1);
    }
    for key in keys.iter().step_by(3) {
        table.remove(key);
    }
    keys.iter().fold(0, |sum, key| {
        let found = table.get(key).map_or(u64::MAX, u64::from);
        fnv1a(&(sum ^ found).to_le_bytes())
    })
}

fn main() {
    let mut random = Random(2);
    let keys = words(&mut random);
    let by_fnv = exercise(&mut Table::new(fnv1a), &keys, &mut random);
    let by_siphash = exercise(&mut Table::new(siphash13), &keys, &mut random);
    println!("hash {:016x}", by_fnv ^ by_siphash.rotate_left(1));
}
