//! Instructions and the memory they touch, as a flat list that is quick to make and to read.

use crate::access::{Access, AccessStep};
use crate::champsim::{ChampSimReader, ChampSimRecord};
use crate::error::TraceError;
use crate::format::{Chunk, Event, Item, PausedWalk, Sections, Step, TraceReader};
use crate::lackey::LackeyReader;
use crate::open::AnyTrace;
use crate::operand::{AddressRegisters, Operand, Repeat, operands_of, repeat_of};
use iced_x86::{Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic};
use isa::address::LinearAddress;

/// One access of an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Touch {
    /// The lowest linear address.
    pub address: LinearAddress,
    /// How many bytes; 0 where the trace does not tell.
    pub bytes: u32,
    /// What it is.
    pub kind: TouchKind,
}

/// What a [`Touch`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TouchKind {
    /// The fetch of an instruction; its loads and then its stores follow.
    Fetch,
    /// The fetch of an instruction that calls the kernel. Only traces of the project's own format tell.
    FetchOfSystemCall,
    /// A load.
    Load,
    /// A store.
    Store,
}

/// Goes through the instructions of any trace.
///
/// # Example
///
/// ```no_run
/// # fn main() -> Result<(), traces::TraceError> {
/// let mut trace = traces::open_any("sort.vmxt".as_ref())?.touches();
/// let mut touches = Vec::new();
/// let mut instructions = 0;
/// while let more @ 1.. = trace.fill(&mut touches, 4096)? {
///     instructions += more;
///     touches.clear();
/// }
/// # Ok(())
/// # }
/// ```
pub struct Touches {
    trace: Trace,
}

enum Trace {
    Own(Box<Own>),
    ChampSim(ChampSimReader),
    Lackey(LackeyReader),
}

impl Touches {
    pub(crate) fn new(trace: AnyTrace) -> Self {
        let trace = match trace {
            AnyTrace::Own(reader) => Trace::Own(Box::new(Own::new(*reader))),
            AnyTrace::ChampSim(reader) => Trace::ChampSim(reader),
            AnyTrace::Lackey(reader) => Trace::Lackey(reader),
        };
        Self { trace }
    }

    /// Appends the next instructions, at most `most`; how many there were, 0 at the end.
    ///
    /// # Errors
    ///
    /// [`TraceError`] as the reader of the format gives it.
    pub fn fill(&mut self, touches: &mut Vec<Touch>, most: usize) -> Result<usize, TraceError> {
        match &mut self.trace {
            Trace::Own(own) => own.fill(touches, most),
            Trace::ChampSim(reader) => {
                repeat(most, || Ok(reader.next_record()?.map(|record| push_record(&record, touches))))
            }
            Trace::Lackey(reader) => {
                repeat(most, || Ok(reader.next_step()?.map(|step| push_step(&step, touches))))
            }
        }
    }
}

/// Calls `next` until it has nothing more, at most `most` times; how often it had.
fn repeat(
    most: usize,
    mut next: impl FnMut() -> Result<Option<()>, TraceError>,
) -> Result<usize, TraceError> {
    for done in 0..most {
        if next()?.is_none() {
            return Ok(done);
        }
    }
    Ok(most)
}

fn push_record(record: &ChampSimRecord, touches: &mut Vec<Touch>) {
    let mut push =
        |address: u64, kind| touches.push(Touch { address: LinearAddress(address), bytes: 0, kind });
    push(record.ip.get(), TouchKind::Fetch);
    let used = |address: &u64| *address != 0;
    for address in record.source_memory.iter().map(|address| address.get()).filter(used) {
        push(address, TouchKind::Load);
    }
    for address in record.destination_memory.iter().map(|address| address.get()).filter(used) {
        push(address, TouchKind::Store);
    }
}

fn push_step(step: &AccessStep, touches: &mut Vec<Touch>) {
    touches.push(Touch { address: step.ip, bytes: step.length.into(), kind: TouchKind::Fetch });
    let data = |access: &Access, kind| {
        let bytes = access.size.map_or(0, std::num::NonZeroU32::get);
        Touch { address: access.address, bytes, kind }
    };
    touches.extend(step.loads.iter().map(|access| data(access, TouchKind::Load)));
    touches.extend(step.stores.iter().map(|access| data(access, TouchKind::Store)));
}

/// A trace of the project's own format.
struct Own {
    reader: TraceReader,
    chunk: Option<(Chunk, PausedWalk)>,
    before: AddressRegisters,
    plans: Plans,
}

impl Own {
    fn new(reader: TraceReader) -> Self {
        Self { reader, chunk: None, before: AddressRegisters::default(), plans: Plans::new() }
    }

    fn fill(&mut self, touches: &mut Vec<Touch>, most: usize) -> Result<usize, TraceError> {
        let mut done = 0;
        while done < most {
            let Some((chunk, paused)) = self.next_chunk()? else { break };
            let Some(mut walk) = chunk.resume(paused) else { break };
            loop {
                if done == most {
                    let paused = walk.pause();
                    self.chunk = Some((chunk, paused));
                    break;
                }
                match walk.next()? {
                    None => break,
                    Some(Item::Event(_, Event::Effect(registers) | Event::Exec(registers))) => {
                        self.before = AddressRegisters::of(registers);
                    }
                    Some(Item::Event(..)) => {}
                    Some(Item::Step(step)) => {
                        self.plans.push(&step, &self.before, touches);
                        self.before = AddressRegisters::of(step.after);
                        done += 1;
                    }
                }
            }
        }
        Ok(done)
    }

    /// The chunk that was left, or the next one.
    fn next_chunk(&mut self) -> Result<Option<(Chunk, PausedWalk)>, TraceError> {
        if let Some(left) = self.chunk.take() {
            return Ok(Some(left));
        }
        let Some(chunk) = self.reader.next_chunk(Sections::All)? else { return Ok(None) };
        let Some(walk) = chunk.walk() else { return Ok(None) };
        let paused = walk.pause();
        self.before = AddressRegisters::of(chunk.start());
        self.plans.forget();
        Ok(Some((chunk, paused)))
    }
}

/// What the instructions of a chunk touch, found once for each of them.
struct Plans {
    /// By the number of the instruction in its chunk.
    of_entry: Vec<Plan>,
    operands: Vec<(Operand, TouchKind)>,
    repeats: Vec<Repeat>,
    factory: InstructionInfoFactory,
}

#[derive(Clone, Copy, Default)]
struct Plan {
    kind: PlanKind,
    count: u8,
    first: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum PlanKind {
    #[default]
    Unknown,
    /// `operands[first..][..count]`.
    Plain,
    /// The same, and it calls the kernel.
    SystemCall,
    /// `repeats[first]`.
    Repeat,
}

impl Plans {
    fn new() -> Self {
        let (of_entry, operands, repeats) = (Vec::new(), Vec::new(), Vec::new());
        Self { of_entry, operands, repeats, factory: InstructionInfoFactory::new() }
    }

    /// Another chunk starts.
    fn forget(&mut self) {
        self.of_entry.clear();
        self.operands.clear();
        self.repeats.clear();
    }

    /// What `step` touches.
    #[inline]
    fn push(&mut self, step: &Step<'_>, before: &AddressRegisters, touches: &mut Vec<Touch>) {
        let plan = match self.of_entry.get(step.entry as usize) {
            Some(plan) if plan.kind != PlanKind::Unknown => *plan,
            _ => self.plan(step),
        };
        let (address, bytes) = (LinearAddress(step.rip), step.bytes.len() as u32);
        let system_call = plan.kind == PlanKind::SystemCall;
        let kind = if system_call { TouchKind::FetchOfSystemCall } else { TouchKind::Fetch };
        touches.push(Touch { address, bytes, kind });
        if plan.kind == PlanKind::Repeat {
            return push_repeat(&self.repeats[plan.first as usize], before, step, touches);
        }
        for (operand, kind) in &self.operands[plan.first as usize..][..usize::from(plan.count)] {
            let address = LinearAddress(operand.address(before));
            touches.push(Touch { address, bytes: operand.size, kind: *kind });
        }
    }

    #[cold]
    fn plan(&mut self, step: &Step<'_>) -> Plan {
        let instruction = Decoder::with_ip(64, step.bytes, step.rip, DecoderOptions::NONE).decode();
        let plan = self.plan_of(&instruction);
        let entry = step.entry as usize;
        if self.of_entry.len() <= entry {
            self.of_entry.resize(entry + 1, Plan::default());
        }
        self.of_entry[entry] = plan;
        plan
    }

    fn plan_of(&mut self, instruction: &Instruction) -> Plan {
        let repeated = instruction.has_rep_prefix() || instruction.has_repne_prefix();
        if let Some(repeat) = repeated.then(|| repeat_of(instruction)).flatten() {
            self.repeats.push(repeat);
            return Plan { kind: PlanKind::Repeat, count: 0, first: self.repeats.len() as u32 - 1 };
        }
        let first = self.operands.len();
        let operands = operands_of(instruction, self.factory.info(instruction));
        let loads = operands.iter().filter(|operand| operand.loads);
        self.operands.extend(loads.map(|operand| (*operand, TouchKind::Load)));
        let stores = operands.iter().filter(|operand| operand.stores);
        self.operands.extend(stores.map(|operand| (*operand, TouchKind::Store)));
        let system_call = matches!(instruction.mnemonic(), Mnemonic::Syscall | Mnemonic::Int);
        let kind = if system_call { PlanKind::SystemCall } else { PlanKind::Plain };
        Plan { kind, count: (self.operands.len() - first) as u8, first: first as u32 }
    }
}

#[cold]
fn push_repeat(repeat: &Repeat, before: &AddressRegisters, step: &Step<'_>, touches: &mut Vec<Touch>) {
    let count = repeat.count(before).wrapping_sub(repeat.count(step.after));
    if count == 0 {
        return;
    }
    let touch = |(address, size): (u64, u64), kind| {
        let bytes = u32::try_from(size).unwrap_or(u32::MAX);
        Touch { address: LinearAddress(address), bytes, kind }
    };
    let kind = if repeat.kind.stores() { TouchKind::Store } else { TouchKind::Load };
    if repeat.kind.uses_source() {
        touches.push(touch(repeat.source(before, count), TouchKind::Load));
    }
    if repeat.kind.uses_destination() {
        touches.push(touch(repeat.destination(before, count), kind));
    }
}
