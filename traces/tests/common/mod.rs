//! Random traces: what was pushed, and what a reader returns, in the same form.

use isa::address::LinearAddress;
use isa::registers::Registers;
use proptest::prelude::*;
use std::io::Cursor;
use std::path::Path;
use traces::{
    Content, EndReason, Event, Header, Item, Permissions, Sections, StepKind, StepRecord, Store, TraceError,
    TraceReader, TraceWriter, WriteOptions,
};

/// One thing in a trace, owned.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Thing {
    Page(u64, u8, Vec<u8>),
    Patch(u64, Vec<u8>),
    Permissions(u64, u8),
    Effect(Box<Registers>),
    Exec(Box<Registers>),
    Step { kind: StepKind, bytes: Vec<u8>, after: Box<Registers>, stores: Vec<(u64, Stored)> },
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Stored {
    Bytes(Vec<u8>),
    Checksum(u32, u32),
}

impl Stored {
    fn of(content: Content<'_>) -> Self {
        match content {
            Content::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            Content::Checksum { size, crc32 } => Self::Checksum(size, crc32),
        }
    }

    fn view(&self) -> Content<'_> {
        match self {
            Self::Bytes(bytes) => Content::Bytes(bytes),
            Self::Checksum(size, crc32) => Content::Checksum { size: *size, crc32: *crc32 },
        }
    }
}

/// Writes `things` after a first exec with default registers.
pub(crate) fn write(things: &[Thing], options: WriteOptions) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = TraceWriter::new(&mut file, Path::new("memory"), &Header::default(), options).unwrap();
    writer.push_exec(&Registers::default()).unwrap();
    for thing in things {
        push(&mut writer, thing).unwrap();
    }
    writer.finish(EndReason::Exited(3)).unwrap();
    file
}

fn push<S: traces::Sink>(writer: &mut TraceWriter<S>, thing: &Thing) -> Result<(), TraceError> {
    let permissions = Permissions::from_bits_truncate;
    match thing {
        Thing::Page(number, bits, bytes) => writer.push_page(
            LinearAddress(number << 12),
            permissions(*bits),
            bytes.as_slice().try_into().unwrap(),
        ),
        Thing::Patch(address, bytes) => writer.push_patch(LinearAddress(*address), bytes),
        Thing::Permissions(number, bits) => {
            writer.push_permissions(LinearAddress(number << 12), permissions(*bits))
        }
        Thing::Effect(registers) => writer.push_effect(registers),
        Thing::Exec(registers) => writer.push_exec(registers),
        Thing::Step { kind, bytes, after, stores } => {
            let stores: Vec<_> = stores
                .iter()
                .map(|(address, stored)| Store { address: *address, content: stored.view() })
                .collect();
            writer.push_step(&StepRecord { kind: *kind, bytes, after, stores: &stores })
        }
    }
}

/// Everything after the first exec, by walking all chunks.
pub(crate) fn read_all(file: &[u8]) -> Result<Vec<(u64, Thing)>, TraceError> {
    let mut reader = TraceReader::new(Cursor::new(file), Path::new("memory"))?;
    let mut things = Vec::new();
    while let Some(chunk) = reader.next_chunk(Sections::All)? {
        let mut walk = chunk.walk().unwrap();
        while let Some(item) = walk.next()? {
            things.push(match item {
                Item::Event(index, event) => (index, thing_of(event)),
                Item::Step(step) => (
                    step.index,
                    Thing::Step {
                        kind: step.kind,
                        bytes: step.bytes.to_vec(),
                        after: Box::new(*step.after),
                        stores: step.stores.iter().map(|s| (s.address, Stored::of(s.content))).collect(),
                    },
                ),
            });
        }
    }
    Ok(things)
}

/// Everything that a replay without verification reads; a taken step has the registers that it changed only.
pub(crate) fn read_events(file: &[u8]) -> Result<Vec<(u64, Thing)>, TraceError> {
    let mut reader = TraceReader::new(Cursor::new(file), Path::new("memory"))?;
    let mut things = Vec::new();
    while let Some(chunk) = reader.next_chunk(Sections::EventsOnly)? {
        assert!(chunk.walk().is_none());
        let mut events = chunk.events();
        while let Some((index, event)) = events.next()? {
            things.push((index, thing_of(event)));
        }
    }
    Ok(things)
}

fn thing_of(event: Event<'_>) -> Thing {
    match event {
        Event::Page { address, permissions, content } => {
            Thing::Page(address.page_number(), permissions.bits(), content.to_vec())
        }
        Event::Patch { address, bytes } => Thing::Patch(address.0, bytes.to_vec()),
        Event::Permissions { address, permissions } => {
            Thing::Permissions(address.page_number(), permissions.bits())
        }
        Event::Effect(registers) => Thing::Effect(Box::new(*registers)),
        Event::Exec(registers) => Thing::Exec(Box::new(*registers)),
        Event::Taken(taken) => Thing::Step {
            kind: StepKind::Taken,
            bytes: taken.bytes.to_vec(),
            after: Box::new(*taken.after),
            stores: taken.stores.iter().map(|s| (s.address, Stored::of(s.content))).collect(),
        },
    }
}

/// How a random step changes a register.
#[derive(Clone, Debug)]
enum Change {
    Gpr(usize, u64),
    /// What the instruction always adds to the register that it always adds to.
    Add,
    Move(usize, usize),
    Flags(u64),
    Xmm(usize, u128),
    XmmLow(usize, u64),
    XmmFromGpr(usize, usize),
    FsBase(u64),
    GsBase(u64),
    Mxcsr(u32),
    St(usize, u128),
}

#[derive(Clone, Debug)]
enum Plan {
    Step { jump: Option<u64>, version: u8, taken: bool, changes: Vec<Change>, stores: Vec<PlannedStore> },
    Event(Thing),
    Effect(u64),
    Exec(u64),
}

#[derive(Clone, Debug)]
enum PlannedStore {
    Raw(u64, Vec<u8>),
    Push(usize, usize),
    Xmm(usize, usize),
    Checksum(u64, u32),
}

fn change() -> impl Strategy<Value = Change> {
    let r = 0usize..16;
    prop_oneof![
        1 => (r.clone(), any::<u64>()).prop_map(|(r, v)| Change::Gpr(r, v)),
        2 => Just(Change::Add),
        1 => (r.clone(), r.clone()).prop_map(|(a, b)| Change::Move(a, b)),
        1 => prop_oneof![0u64..0x1000, any::<u64>()].prop_map(Change::Flags),
        1 => (r.clone(), prop_oneof![any::<u128>(), any::<u64>().prop_map(|v| u128::from(v) * (1 << 64 | 1))])
            .prop_map(|(r, v)| Change::Xmm(r, v)),
        1 => (r.clone(), any::<u32>(), any::<bool>())
            .prop_map(|(r, v, wide)| { Change::XmmLow(r, u64::from(v) << if wide { 7 } else { 0 }) }),
        1 => (r.clone(), r.clone()).prop_map(|(a, b)| Change::XmmFromGpr(a, b)),
        1 => any::<u64>().prop_map(Change::FsBase),
        1 => any::<u64>().prop_map(Change::GsBase),
        1 => any::<u32>().prop_map(Change::Mxcsr),
        1 => (0usize..8, any::<u128>()).prop_map(|(r, v)| Change::St(r, v & u128::MAX >> 48)),
    ]
}

fn planned_store() -> impl Strategy<Value = PlannedStore> {
    let r = 0usize..16;
    prop_oneof![
        (any::<u64>(), prop::collection::vec(any::<u8>(), 0..80)).prop_map(|(a, b)| PlannedStore::Raw(a, b)),
        (r.clone(), r.clone()).prop_map(|(a, b)| PlannedStore::Push(a, b)),
        (r.clone(), r).prop_map(|(a, b)| PlannedStore::Xmm(a, b)),
        (any::<u64>(), any::<u32>()).prop_map(|(a, s)| PlannedStore::Checksum(a, s)),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let page = 0u64..1 << 52;
    let step = (
        prop_oneof![3 => Just(None), 1 => (0u64..12).prop_map(Some)],
        prop_oneof![9 => Just(0u8), 1 => 0u8..3],
        prop::bool::weighted(0.1),
        prop::collection::vec(change(), 0..4),
        prop::collection::vec(planned_store(), 0..3),
    );
    prop_oneof![
        20 => step.prop_map(|(jump, version, taken, changes, stores)| Plan::Step {
            jump, version, taken, changes, stores
        }),
        1 => (page.clone(), 0u8..8, any::<u8>(), any::<bool>()).prop_map(|(number, bits, seed, zero)| {
            let byte = |i: usize| if zero { 0 } else { (i as u8).wrapping_mul(seed) };
            Plan::Event(Thing::Page(number, bits, (0..4096).map(byte).collect()))
        }),
        1 => (page.clone(), prop::collection::vec(any::<u8>(), 0..100), 0u64..3996)
            .prop_map(|(number, bytes, at)| Plan::Event(Thing::Patch((number << 12) + at, bytes))),
        1 => (page, 0u8..8).prop_map(|(number, bits)| Plan::Event(Thing::Permissions(number, bits))),
        1 => any::<u64>().prop_map(Plan::Effect),
        1 => any::<u64>().prop_map(Plan::Exec),
    ]
}

/// Traces in which a few instructions run again and again, with every kind of change, store and event.
pub(crate) fn things(length: usize) -> impl Strategy<Value = Vec<Thing>> {
    prop::collection::vec(plan(), 0..length).prop_map(|plans| {
        let mut state = Registers::default();
        plans.into_iter().map(|plan| carry_out(&mut state, plan)).collect()
    })
}

fn carry_out(state: &mut Registers, plan: Plan) -> Thing {
    match plan {
        Plan::Event(thing) => thing,
        Plan::Effect(seed) => {
            scramble(state, seed);
            Thing::Effect(Box::new(*state))
        }
        Plan::Exec(seed) => {
            scramble(state, seed);
            Thing::Exec(Box::new(*state))
        }
        Plan::Step { jump, version, taken, changes, stores } => {
            let length = 1 + (state.rip % 15) as usize;
            let bytes: Vec<u8> = (0..length).map(|i| (state.rip as u8) ^ (i as u8) ^ version).collect();
            let stores = stores.into_iter().map(|store| stored(state, store, taken)).collect();
            changes.into_iter().for_each(|change| apply(state, change));
            state.rip = jump.map_or(state.rip.wrapping_add(length as u64), |slot| 0x1000 + slot * 7);
            let kind = if taken { StepKind::Taken } else { StepKind::Computed };
            Thing::Step { kind, bytes, after: Box::new(*state), stores }
        }
    }
}

fn scramble(state: &mut Registers, seed: u64) {
    state.gpr[(seed % 16) as usize] = seed;
    state.rip = 0x1000 + seed % 12 * 7;
    state.xmm[(seed >> 4 & 15) as usize] = u128::from(seed);
    state.mxcsr = seed as u32;
}

fn stored(state: &Registers, store: PlannedStore, taken: bool) -> (u64, Stored) {
    match store {
        PlannedStore::Raw(address, bytes) => (address, Stored::Bytes(bytes)),
        PlannedStore::Push(base, value) => {
            (state.gpr[base].wrapping_sub(8), Stored::Bytes(state.gpr[value].to_le_bytes().to_vec()))
        }
        PlannedStore::Xmm(base, value) => {
            (state.gpr[base].wrapping_add(16), Stored::Bytes(state.xmm[value].to_le_bytes().to_vec()))
        }
        PlannedStore::Checksum(address, size) if !taken => (address, Stored::Checksum(size, size ^ 1)),
        PlannedStore::Checksum(address, _) => (address, Stored::Bytes(vec![7; 600])),
    }
}

fn apply(state: &mut Registers, change: Change) {
    match change {
        Change::Gpr(r, value) => state.gpr[r] = value,
        Change::Add => {
            let r = (state.rip % 16) as usize;
            state.gpr[r] = state.gpr[r].wrapping_add(state.rip);
        }
        Change::Move(to, from) => state.gpr[to] = state.gpr[from],
        Change::Flags(value) => state.rflags = value,
        Change::Xmm(r, value) => state.xmm[r] = value,
        Change::XmmLow(r, value) => state.xmm[r] = state.xmm[r] >> 64 << 64 | u128::from(value),
        Change::XmmFromGpr(r, from) => state.xmm[r] = u128::from(state.gpr[from]),
        Change::FsBase(value) => state.fs_base = value,
        Change::GsBase(value) => state.gs_base = value,
        Change::Mxcsr(value) => state.mxcsr = value,
        Change::St(r, value) => state.x87.st[r] = value,
    }
}

/// The number of cases of a property test: `VMXSIM_CASES`, or `usual`.
pub(crate) fn cases(usual: u32) -> ProptestConfig {
    let cases = std::env::var("VMXSIM_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}
