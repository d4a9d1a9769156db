//! Steps to columns.

use super::bytes::{put_low, put_varint, significant, zigzag};
use super::columns::{self as col, COLUMNS, tag};
use super::model::{GprSlot, Model, NONE, RARE, StoreKind, StoreSlot, WHOLE_FLAGS, flags_to_byte};
use super::registers::{Groups, Written, bits, put_rare};
use super::step::{Content, MAX_INSTRUCTION, StepKind, Store, StoreAt, Stores};
use isa::registers::Registers;
use rustc_hash::FxHashMap;

/// A step that waits until it is known what follows it.
pub(crate) struct Pending {
    pub(crate) kind: StepKind,
    pub(crate) bytes: [u8; MAX_INSTRUCTION],
    pub(crate) length: u8,
    pub(crate) before: Registers,
    pub(crate) after: Registers,
    pub(crate) list: Vec<StoreAt>,
    pub(crate) content: Vec<u8>,
}

impl Pending {
    pub(crate) fn new() -> Self {
        Self {
            kind: StepKind::Computed,
            bytes: [0; MAX_INSTRUCTION],
            length: 0,
            before: Registers::default(),
            after: Registers::default(),
            list: Vec::new(),
            content: Vec::new(),
        }
    }

    pub(crate) fn code(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    pub(crate) fn stores(&self) -> Stores<'_> {
        Stores { list: &self.list, bytes: &self.content }
    }
}

/// The step after the one that is encoded.
#[derive(Clone, Copy)]
pub(crate) struct Successor<'a> {
    pub(crate) rip: u64,
    pub(crate) code: &'a [u8],
}

/// The `steps` section of a chunk while it is written.
pub(crate) struct StepEncoder {
    pub(crate) columns: [Vec<u8>; COLUMNS],
    pub(crate) model: Model,
    ids: FxHashMap<u64, u32>,
    current: u32,
    run: u64,
    last_end: u64,
}

impl StepEncoder {
    pub(crate) fn new() -> Self {
        Self {
            columns: Default::default(),
            model: Model::default(),
            ids: FxHashMap::default(),
            current: NONE,
            run: 0,
            last_end: 0,
        }
    }

    /// Starts a chunk.
    pub(crate) fn start(&mut self) {
        self.columns.iter_mut().for_each(Vec::clear);
        self.model.clear();
        self.ids.clear();
        (self.current, self.run, self.last_end) = (NONE, 0, 0);
    }

    /// Bytes in all columns.
    pub(crate) fn size(&self) -> usize {
        self.columns.iter().map(Vec::len).sum()
    }

    /// Adds `step`; `next` is the one that follows in the same chunk.
    pub(crate) fn encode(&mut self, step: &Pending, next: Option<Successor<'_>>) {
        if self.current == NONE {
            self.current = self.define(step.before.rip, step.code());
        }
        let id = self.current;
        let written = Written::between(&step.before, &step.after);
        let reshape = step.kind == StepKind::Computed && !self.fits(id, written, step);
        let (op, following) = self.control(id, step, next, reshape);
        if op == 0 {
            self.run += 1;
        } else {
            self.put_control(op, following, next);
        }
        if reshape {
            self.reshape(id, written, step);
        }
        if step.kind == StepKind::Computed {
            self.values(id, step);
        }
        if op & col::BREAK != 0 {
            put_low(&mut self.columns[col::RARE_VALUES], step.after.rip, 8);
        }
        self.follow(id, next);
    }

    /// What is unexpected about the step, and the instruction that follows if it is known.
    fn control(&self, id: u32, step: &Pending, next: Option<Successor<'_>>, reshape: bool) -> (u8, u32) {
        let mut op = if reshape { col::SHAPE } else { 0 };
        if step.kind == StepKind::Taken {
            op |= col::TAKEN;
        }
        let Some(next) = next else {
            return (op | col::BREAK | col::LAST, NONE);
        };
        if next.rip != step.after.rip {
            op |= col::BREAK;
        }
        let known = self.known(next);
        if known == NONE || known != self.model.predict(id) {
            let second = known != NONE && known == self.model.second(id);
            op |= if second { col::SECOND } else { col::GIVEN };
        }
        (op, known)
    }

    fn put_control(&mut self, op: u8, following: u32, next: Option<Successor<'_>>) {
        put_varint(&mut self.columns[col::CONTROL], self.run);
        self.run = 0;
        self.columns[col::CONTROL].push(op);
        if op & col::GIVEN == 0 {
            return;
        }
        put_varint(&mut self.columns[col::CONTROL], u64::from(following.wrapping_add(1)));
        if let (NONE, Some(next)) = (following, next) {
            self.define(next.rip, next.code);
        }
    }

    fn follow(&mut self, id: u32, next: Option<Successor<'_>>) {
        let Some(next) = next else { return };
        self.current = self.known(next);
        self.model.learn(id, self.current);
    }

    fn known(&self, next: Successor<'_>) -> u32 {
        let id = self.ids.get(&next.rip).copied().unwrap_or(NONE);
        if id != NONE && self.model.entries[id as usize].code() == next.code { id } else { NONE }
    }

    fn define(&mut self, rip: u64, code: &[u8]) -> u32 {
        let id = self.model.add(rip, code);
        self.ids.insert(rip, id);
        let column = &mut self.columns[col::DICTIONARY];
        put_varint(column, zigzag(rip.wrapping_sub(self.last_end)));
        column.push(code.len().to_le_bytes()[0]);
        column.extend_from_slice(code);
        self.last_end = rip.wrapping_add(code.len() as u64);
        id
    }

    /// Whether the step writes nothing that the entry does not expect, and stores exactly what it expects.
    fn fits(&self, id: u32, written: Written, step: &Pending) -> bool {
        let entry = &self.model.entries[id as usize];
        let first = entry.stores as usize;
        let slots = &self.model.stores[first..first + usize::from(entry.store_count)];
        entry.written.union(written) == entry.written
            && slots.len() == step.list.len()
            && slots
                .iter()
                .zip(step.stores().iter())
                .all(|(slot, store)| slot.size as usize == store.size() && slot.kind == kind_of(&store))
    }

    fn reshape(&mut self, id: u32, written: Written, step: &Pending) {
        let union = self.model.entries[id as usize].written.union(written);
        self.model.widen(id, union);
        let column = &mut self.columns[col::CONTROL];
        union.put(column);
        column.push(step.list.len().to_le_bytes()[0]);
        let first = self.model.stores.len();
        for store in step.stores().iter() {
            let kind = kind_of(&store);
            let base = nearest(&step.before.gpr, store.address);
            put_varint(column, store.size() as u64);
            column.push(base | if kind == StoreKind::Checksum { 0x80 } else { 0 });
            self.model.stores.push(StoreSlot::new(store.size() as u32, kind, base));
        }
        let entry = &mut self.model.entries[id as usize];
        entry.stores = first as u32;
        entry.store_count = step.list.len() as u8;
    }

    fn values(&mut self, id: u32, step: &Pending) {
        let entry = self.model.entries[id as usize];
        for (i, store) in step.stores().iter().enumerate() {
            let slot = &mut self.model.stores[entry.stores as usize + i];
            put_address(&mut self.columns, slot, &step.before, store.address);
            put_content(&mut self.columns, slot, &step.before, entry.sequential(), store.content);
        }
        let mut gpr = step.before.gpr;
        for (slot, i) in (entry.gprs as usize..).zip(bits(entry.written.gpr)) {
            put_gpr(&mut self.columns, &mut self.model.gprs[slot], &gpr, i, step.after.gpr[i]);
            gpr[i] = step.after.gpr[i];
        }
        if entry.written.groups.contains(Groups::RFLAGS) {
            self.flags(id, step.after.rflags);
        }
        put_rare(&mut self.columns[col::RARE_VALUES], entry.written.groups & RARE, &step.after);
        let mut xmm = step.before.xmm;
        for (slot, i) in (entry.xmms as usize..).zip(bits(entry.written.xmm)) {
            put_xmm(&mut self.columns, &mut self.model.xmms[slot], &xmm, &gpr, i, step.after.xmm[i]);
            xmm[i] = step.after.xmm[i];
        }
    }

    fn flags(&mut self, id: u32, rflags: u64) {
        let entry = &mut self.model.entries[id as usize];
        let column = &mut self.columns[col::FLAGS];
        if let Some(byte) = flags_to_byte(rflags) {
            column.push(byte ^ entry.flags);
            entry.flags = byte;
        } else {
            column.push(WHOLE_FLAGS);
            put_low(column, rflags, 8);
        }
    }
}

const fn kind_of(store: &Store<'_>) -> StoreKind {
    match store.content {
        Content::Bytes(_) => StoreKind::Bytes,
        Content::Checksum { .. } => StoreKind::Checksum,
    }
}

/// The register whose value lies nearest to `address`.
fn nearest(gpr: &[u64; 16], address: u64) -> u8 {
    let mut best = (u64::MAX, 0);
    for (i, value) in (0u8..).zip(gpr) {
        best = best.min((zigzag(address.wrapping_sub(*value)), i));
    }
    best.1
}

/// The shortest of three forms of a value that nothing predicts.
fn put_unexpected(
    columns: &mut [Vec<u8>; COLUMNS],
    [tags, values]: [usize; 2],
    value: u64,
    former: u64,
    last: u64,
) {
    let forms = [
        (tag::GIVEN, value),
        (tag::FROM_FORMER, zigzag(value.wrapping_sub(former))),
        (tag::FROM_LAST, zigzag(value.wrapping_sub(last))),
    ];
    let mut best = forms[0];
    for form in forms {
        if significant(form.1) < significant(best.1) {
            best = form;
        }
    }
    let length = significant(best.1);
    columns[tags].push(best.0 | length as u8);
    put_low(&mut columns[values], best.1, length);
}

fn put_gpr(columns: &mut [Vec<u8>; COLUMNS], slot: &mut GprSlot, gpr: &[u64; 16], i: usize, value: u64) {
    let former = gpr[i];
    if value == former.wrapping_add(slot.stride) {
        columns[col::GPR_TAGS].push(tag::STRIDE);
    } else if value == slot.last {
        columns[col::GPR_TAGS].push(tag::SAME);
    } else if value == gpr[usize::from(slot.source)] {
        columns[col::GPR_TAGS].push(tag::SOURCE);
    } else if let Some(r) = (0..16u8).find(|&r| gpr[usize::from(r)] == value) {
        columns[col::GPR_TAGS].push(tag::GPR | r);
        slot.source = r;
    } else {
        put_unexpected(columns, [col::GPR_TAGS, col::GPR_VALUES], value, former, slot.last);
    }
    slot.update(former, value);
}

fn put_address(columns: &mut [Vec<u8>; COLUMNS], slot: &mut StoreSlot, before: &Registers, address: u64) {
    let base = before.gpr[usize::from(slot.base)];
    if address == base.wrapping_add(slot.offset) {
        columns[col::ADDRESS_TAGS].push(tag::SOURCE);
    } else if address == slot.address.wrapping_add(slot.stride) {
        columns[col::ADDRESS_TAGS].push(tag::STRIDE);
    } else {
        put_unexpected(columns, [col::ADDRESS_TAGS, col::ADDRESS_VALUES], address, base, slot.address);
    }
    slot.update_address(base, address);
}

fn put_content(
    columns: &mut [Vec<u8>; COLUMNS],
    slot: &mut StoreSlot,
    before: &Registers,
    sequential: u64,
    content: Content<'_>,
) {
    match content {
        Content::Checksum { crc32, .. } => {
            columns[col::STORE_VALUES].extend_from_slice(&crc32.to_le_bytes());
        }
        Content::Bytes(bytes) if bytes.len() <= 8 => {
            let mut eight = [0; 8];
            eight[..bytes.len()].copy_from_slice(bytes);
            put_word(columns, slot, before, sequential, u64::from_le_bytes(eight));
        }
        Content::Bytes(bytes) => put_long(columns, slot, before, bytes),
    }
}

fn put_word(
    columns: &mut [Vec<u8>; COLUMNS],
    slot: &mut StoreSlot,
    before: &Registers,
    sequential: u64,
    value: u64,
) {
    let mask = slot.mask();
    if value == slot.source_value(before) as u64 & mask {
        columns[col::STORE_TAGS].push(tag::SOURCE);
    } else if value == slot.value {
        columns[col::STORE_TAGS].push(tag::SAME);
    } else if value == sequential & mask {
        columns[col::STORE_TAGS].push(tag::RETURN);
    } else if let Some(r) = (0..16u8).find(|&r| before.gpr[usize::from(r)] & mask == value) {
        columns[col::STORE_TAGS].push(tag::GPR | r);
        slot.source = r;
    } else if let Some(r) = (0..16u8).find(|&r| before.xmm[usize::from(r)] as u64 & mask == value) {
        columns[col::STORE_TAGS].push(tag::XMM | r);
        slot.source = 16 | r;
    } else {
        put_unexpected(columns, [col::STORE_TAGS, col::STORE_VALUES], value, slot.value, slot.value);
    }
    slot.value = value;
}

/// More than eight bytes; sixteen may come from an XMM register.
fn put_long(columns: &mut [Vec<u8>; COLUMNS], slot: &mut StoreSlot, before: &Registers, bytes: &[u8]) {
    if let Ok(sixteen) = <[u8; 16]>::try_from(bytes) {
        let value = u128::from_le_bytes(sixteen);
        if slot.source & 16 != 0 && value == slot.source_value(before) {
            return columns[col::STORE_TAGS].push(tag::SOURCE);
        }
        if let Some(r) = (0..16u8).find(|&r| before.xmm[usize::from(r)] == value) {
            slot.source = 16 | r;
            return columns[col::STORE_TAGS].push(tag::XMM | r);
        }
    }
    columns[col::STORE_TAGS].push(tag::ALL);
    columns[col::STORE_VALUES].extend_from_slice(bytes);
}

fn put_xmm(
    columns: &mut [Vec<u8>; COLUMNS],
    last: &mut u128,
    xmm: &[u128; 16],
    gpr: &[u64; 16],
    i: usize,
    value: u128,
) {
    let (low, high) = (value as u64, (value >> 64) as u64);
    let changed = xmm[i] ^ value;
    let (tag, length) = if value == *last {
        (tag::SAME, 0)
    } else if value == 0 {
        (tag::ZERO, 0)
    } else if let Some(r) = (0..16u8).find(|&r| xmm[usize::from(r)] == value) {
        (tag::XMM | r, 0)
    } else if high == 0 {
        match (0..16u8).find(|&r| gpr[usize::from(r)] == low) {
            Some(r) => (tag::GPR | r, 0),
            None if low >> 32 == 0 => (tag::ONLY_4, 4),
            None => (tag::ONLY_8, 8),
        }
    } else if changed >> 32 == 0 {
        (tag::LOW_4, 4)
    } else if changed >> 64 == 0 {
        (tag::LOW_8, 8)
    } else if low == high {
        (tag::TWICE_8, 8)
    } else {
        (tag::ALL, 16)
    };
    columns[col::XMM_TAGS].push(tag);
    columns[col::XMM_VALUES].extend_from_slice(&value.to_le_bytes()[..length]);
    *last = value;
}
