//! Correct software of every kind, at random: the oracle accuses nobody, and is right about every use.

use crate::common::{Numbers, cases};
use crate::world::{Edit, PAGES, Reach, World};
use isa::address::{AccessKind, LinearAddress};
use mmu::operation::{Entry, Invept, Invpcid, Invvpid, Operation, Paging, VmxOperation};
use mmu::oracle::{ChangeId, Verdict};
use std::collections::BTreeMap;

const KINDS: [AccessKind; 3] = [AccessKind::Read, AccessKind::Write, AccessKind::Execute];

/// A change on its way through the processors.
struct Pending {
    id: ChangeId,
    edit: Edit,
    left: Vec<usize>,
}

/// Whether software does all it has to.
#[derive(Clone, Copy, PartialEq)]
enum Software {
    Correct,
    /// One in so many invalidations is forgotten.
    Forgetful(u64),
}

struct Run {
    world: World,
    pending: Vec<Pending>,
    /// The space that each processor runs; on the machine itself where it is not in a guest.
    current: Vec<usize>,
    software: Software,
    seen: BTreeMap<Verdict, u64>,
}

impl Run {
    fn new(seed: u64, software: Software) -> (Self, Numbers) {
        let mut numbers = Numbers(seed);
        let world = World::new(&mut numbers);
        let current = vec![0; world.machine.processors.len()];
        let mut run = Self { world, pending: vec![], current, software, seen: BTreeMap::new() };
        for processor in 0..run.current.len() {
            run.go(&mut numbers, processor, 0);
        }
        (run, numbers)
    }

    fn step(&mut self, numbers: &mut Numbers) {
        let processor = numbers.below(self.current.len() as u64) as usize;
        match numbers.below(32) {
            0..=19 => self.access(numbers, processor),
            20..=22 => {
                let space = numbers.below(6) as usize;
                self.go(numbers, processor, space);
            }
            23..=24 => self.any_operation(numbers, processor),
            25..=27 if self.pending.len() < 4 => self.make(numbers, processor),
            _ => self.settle(numbers),
        }
    }

    fn access(&mut self, numbers: &mut Numbers, processor: usize) {
        let page = numbers.pick(&PAGES);
        let (address, kind) = (page.add(numbers.below(4096)), numbers.pick(&KINDS));
        let Some(verdict) = self.world.machine.access(processor, address, kind) else { return };
        *self.seen.entry(verdict).or_default() += 1;
        if self.software == Software::Correct {
            assert!(verdict <= Verdict::InWindow, "{:#?}", self.world.machine.oracle.findings());
            assert!(
                verdict == Verdict::Coherent || !self.pending.is_empty(),
                "nobody is changing anything at {address}"
            );
        }
    }

    /// Makes a space the current one of a processor.
    fn go(&mut self, numbers: &mut Numbers, processor: usize, space: usize) {
        let machine = &mut self.world.machine;
        let (root, pcid) = (self.world.spaces[space].tables.root(), self.world.spaces[space].pcid);
        match self.world.spaces[space].guest {
            None => {
                machine.exit(processor);
                machine.load(processor, root, pcid, numbers.one_in(2));
            }
            Some(guest) if numbers.one_in(2) && self.runs_guest(processor, guest) => {
                self.world.machine.load(processor, root, pcid, numbers.one_in(2));
            }
            Some(guest) => self.enter(processor, guest, root.0 | u64::from(pcid)),
        }
        self.current[processor] = space;
        self.world.spaces[space].context = Some(self.world.machine.context(processor));
    }

    fn runs_guest(&self, processor: usize, guest: usize) -> bool {
        let space = &self.world.spaces[self.current[processor]];
        space.guest == Some(guest) && self.world.machine.is_in_guest(processor)
    }

    fn enter(&mut self, processor: usize, guest: usize, cr3: u64) {
        self.exit(processor);
        let paging = Paging { cr3, ..Paging::four_level(0).with_pcids() };
        let (vpid, eptp) = (self.world.guests[guest].vpid, Some(self.world.eptp(guest)));
        let entry = Entry { vpid, eptp, paging, ..Entry::default() };
        self.world.machine.perform(processor, Operation::VmEntry(entry));
    }

    /// A VM exit, to the first space of the machine itself.
    fn exit(&mut self, processor: usize) {
        if self.world.machine.is_in_guest(processor) {
            let cr3 = self.world.spaces[0].tables.root().0 | u64::from(self.world.spaces[0].pcid);
            let paging = Paging { cr3, ..Paging::four_level(0).with_pcids() };
            let exit = mmu::operation::Exit { paging, ..Default::default() };
            self.world.machine.perform(processor, Operation::VmExit(exit));
            self.current[processor] = 0;
        }
    }

    /// An operation for no reason.
    fn any_operation(&mut self, numbers: &mut Numbers, processor: usize) {
        let space = numbers.below(6) as usize;
        let page = numbers.pick(&PAGES);
        let reach = numbers.pick(&[Reach::Page, Reach::Table, Reach::Ept]);
        let choices = self.choices(processor, space, page, reach);
        if !choices.is_empty() {
            self.perform(processor, numbers.pick(&choices));
        }
    }

    /// An operation; where it changes CR4, the change is undone by another.
    fn perform(&mut self, processor: usize, operation: Operation) {
        let cr4 = self.world.machine.processors[processor].registers.paging.cr4;
        self.world.machine.perform(processor, operation);
        if matches!(operation, Operation::MovToCr4(_)) {
            self.world.machine.perform(processor, Operation::MovToCr4(cr4));
        }
    }

    fn make(&mut self, numbers: &mut Numbers, processor: usize) {
        let Some(edit) = self.world.edit(numbers) else { return };
        let by = (processor, "software");
        let id = self.world.machine.edit(by, edit.what, edit.level, edit.entry, edit.new);
        let left = (0..self.current.len()).collect();
        self.pending.push(Pending { id, edit, left });
    }

    /// Takes one change a step further.
    fn settle(&mut self, numbers: &mut Numbers) {
        if self.pending.is_empty() {
            return;
        }
        let place = numbers.below(self.pending.len() as u64) as usize;
        let Pending { edit, left, .. } = &mut self.pending[place];
        let edit = *edit;
        let processor = left.swap_remove(numbers.below(left.len() as u64) as usize);
        let forgets = match self.software {
            Software::Correct => false,
            Software::Forgetful(one_in) => numbers.one_in(one_in),
        };
        if !forgets {
            self.invalidate(numbers, processor, &edit);
        }
        if self.pending[place].left.is_empty() {
            let done = self.pending.swap_remove(place);
            self.world.machine.completed(done.id);
            if let Some(memory) = edit.frees.filter(|_| self.software == Software::Correct) {
                self.world.release(memory);
            }
        }
    }

    /// An operation that suffices, chosen among all that do, after a change of mode where that is needed.
    fn invalidate(&mut self, numbers: &mut Numbers, processor: usize, edit: &Edit) {
        if numbers.one_in(2) {
            self.exit(processor);
        } else if let Some(guest) = self.world.spaces[edit.space].guest {
            let root = self.world.spaces[edit.space].tables.root().0;
            self.enter(processor, guest, root | u64::from(self.world.spaces[edit.space].pcid));
            self.current[processor] = edit.space;
        }
        let mut choices = self.choices(processor, edit.space, edit.page, edit.reach);
        if choices.is_empty() {
            self.exit(processor);
            choices = self.choices(processor, edit.space, edit.page, edit.reach);
        }
        // Without a VPID everything of a guest went with the VM exit.
        if !choices.is_empty() {
            self.perform(processor, numbers.pick(&choices));
        }
    }

    /// The operations that a processor can perform now and that remove what an edit of a space makes stale.
    fn choices(&self, processor: usize, space: usize, page: LinearAddress, reach: Reach) -> Vec<Operation> {
        let registers = &self.world.machine.processors[processor].registers;
        let mut choices = Vec::new();
        let in_root = matches!(registers.vmx, VmxOperation::Root);
        if in_root && let Some(guest) = self.world.spaces[space].guest {
            let eptp = self.world.eptp(guest);
            choices.extend([Invept::All, Invept::Context { eptp }].map(Operation::Invept));
        }
        if reach == Reach::Ept {
            return choices;
        }
        let vpid = self.world.vpid(space);
        if in_root && vpid != 0 {
            let mut invvpids = vec![Invvpid::Context { vpid }, Invvpid::All];
            match reach {
                Reach::Page | Reach::GlobalPage => invvpids.push(Invvpid::Address { vpid, address: page }),
                Reach::Table | Reach::Ept => {}
            }
            if reach != Reach::GlobalPage {
                invvpids.push(Invvpid::ContextButGlobals { vpid });
            }
            choices.extend(invvpids.into_iter().map(Operation::Invvpid));
        }
        if registers.vpid() == vpid {
            choices.extend(self.choices_of_vpid(processor, space, page, reach));
        }
        choices
    }

    /// Those that act on the current VPID, which is that of the space.
    fn choices_of_vpid(
        &self,
        processor: usize,
        space: usize,
        page: LinearAddress,
        reach: Reach,
    ) -> Vec<Operation> {
        let registers = &self.world.machine.processors[processor].registers;
        let pcid = self.world.spaces[space].pcid;
        let mut choices = vec![
            Operation::Invpcid(Invpcid::AllWithGlobals),
            Operation::MovToCr4(registers.paging.cr4 ^ Paging::PGE),
        ];
        if reach == Reach::GlobalPage {
            choices.push(Operation::Invlpg(page));
            return choices;
        }
        choices.push(Operation::Invpcid(Invpcid::Context { pcid }));
        choices.push(Operation::Invpcid(Invpcid::AllButGlobals));
        let current = registers.pcid() == pcid;
        if current {
            choices.push(Operation::MovToCr3(registers.paging.cr3));
        }
        if reach == Reach::Page {
            choices.push(Operation::Invpcid(Invpcid::Address { pcid, address: page }));
            if current {
                choices.push(Operation::Invlpg(page.add(0x123)));
            }
        }
        choices
    }
}

fn run(seed: u64, steps: u64, software: Software) -> Run {
    let (mut run, mut numbers) = Run::new(seed, software);
    for _ in 0..steps {
        run.step(&mut numbers);
    }
    run
}

/// Steps of one machine.
const STEPS: u64 = 2000;

#[test]
fn correct_software_is_not_accused() {
    let machines = (u64::from(cases()) / STEPS).max(32);
    let mut seen = BTreeMap::<Verdict, u64>::new();
    let mut required = 0;
    for seed in 0..machines {
        let run = run(seed, STEPS, Software::Correct);
        let oracle = &run.world.machine.oracle;
        assert!(run.world.machine.is_silent(), "seed {seed}: {:#?}", oracle.findings());
        run.seen.iter().for_each(|(verdict, count)| *seen.entry(*verdict).or_default() += count);
        required += oracle.summary().required;
    }
    assert!(seen[&Verdict::Coherent] > 100 * machines && seen[&Verdict::InWindow] > machines, "{seen:?}");
    assert!(required > 5 * machines);
}

#[test]
fn forgetful_software_is_found_out() {
    let mut found = 0;
    for seed in 0..32 {
        let run = run(seed, STEPS, Software::Forgetful(4));
        let oracle = &run.world.machine.oracle;
        assert_eq!(
            oracle.summary().incoherent,
            0,
            "the processors do what they must: {:#?}",
            oracle.findings()
        );
        found += u64::from(oracle.summary().missing > 0);
    }
    assert!(found >= 8, "{found} of 32");
}

#[test]
fn a_coherent_use_equals_a_walk() {
    for seed in 100..116 {
        let (mut run, mut numbers) = Run::new(seed, Software::Forgetful(3));
        for _ in 0..STEPS {
            run.step(&mut numbers);
            let processor = numbers.below(run.current.len() as u64) as usize;
            let (address, kind) = (numbers.pick(&PAGES), numbers.pick(&KINDS));
            compare(&mut run, processor, address, kind);
        }
    }
}

/// Holds the verdict on one use against a walk.
fn compare(run: &mut Run, processor: usize, address: LinearAddress, kind: AccessKind) {
    let machine = &mut run.world.machine;
    let context = machine.context(processor);
    let translator = &mut machine.processors[processor].translator;
    translator.set_context(context);
    let Ok(found) = translator.translate(&machine.ram, address, kind, &mut ()) else { return };
    let walked = mmu::paging::walk(&machine.ram, &context, address, kind, &mut ());
    let equal = walked.is_ok_and(|walk| {
        let host = walk.translation.host(address) == found.translation.host(address);
        // Accessed flags are no part of it.
        let dirty = walk.updates.as_slice().iter().all(|update| {
            let entry: u64 = machine.ram.read(update.entry).unwrap();
            let flag = if update.guest_physical.is_some() { 0x200 } else { 0x40 };
            update.bits & flag == 0 || entry & flag != 0
        });
        host && (dirty || kind != AccessKind::Write)
    });
    let verdict = machine.oracle.used(&machine.ram, processor, &context, address, kind, &found, 0);
    assert_eq!(verdict == Verdict::Coherent, equal, "{verdict:?} {address} {kind:?}");
}
