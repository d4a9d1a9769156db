//! A second, plain model of all tables, which knows nothing but the events.

use super::super::*;
use isa::address::AccessKind;
use mmu::PageSize;
use mmu::tables::PagePermissions;
use std::collections::{BTreeMap, BTreeSet};

/// Pages of one address space: start and size, frame and whether they can be written.
type Table = BTreeMap<u64, (PageSize, u64, bool)>;

pub(super) struct Checker {
    topology: Topology,
    linear: Vec<Table>,
    ept: Vec<Table>,
    current: Vec<Option<u16>>,
    /// A fault that was not yet followed by its access.
    faulted: Option<(u8, u64, AccessKind)>,
    /// The action whose last edit has not come.
    open: Option<u64>,
    next_id: u64,
    /// Frames that some page had before, by guest, and how often one of them was used again.
    used: BTreeSet<(u16, u64)>,
    pub(super) reused: u64,
    pub(super) faults: u64,
}

/// The page that holds an address, and its frame at that address.
fn find(table: &Table, address: u64) -> Option<(u64, bool)> {
    let (start, (size, frame, writable)) = table.range(..=address).next_back()?;
    (address - start < size.bytes()).then_some((frame + (address - start), *writable))
}

fn insert(table: &mut Table, start: u64, size: PageSize, frame: u64, writable: bool) {
    assert_eq!((start % size.bytes(), frame % size.bytes()), (0, 0), "aligned");
    let before = table.range(..start + size.bytes()).next_back();
    assert!(before.is_none_or(|(at, (size, ..))| at + size.bytes() <= start), "{start:#x} is mapped already");
    let frames = |(size, frame, _): &(PageSize, u64, bool)| *frame..frame + size.bytes();
    let shared = table.values().map(frames).any(|used| used.start < frame + size.bytes() && frame < used.end);
    assert!(!shared, "the frame {frame:#x} has two pages");
    table.insert(start, (size, frame, writable));
}

fn change(table: &mut Table, start: u64, size: PageSize) -> &mut (PageSize, u64, bool) {
    let entry = table.get_mut(&start).expect("an edit of a page that is mapped");
    assert_eq!(entry.0, size);
    entry
}

impl Checker {
    pub(super) fn new(topology: &Topology) -> Self {
        Self {
            linear: vec![Table::new(); topology.processes.len()],
            ept: vec![Table::new(); topology.guests.len()],
            current: vec![None; topology.processors.into()],
            topology: topology.clone(),
            faulted: None,
            open: None,
            next_id: 0,
            used: BTreeSet::new(),
            reused: 0,
            faults: 0,
        }
    }

    pub(super) fn block(&mut self, block: &Block) {
        let mut next = 0;
        for event in &block.events {
            if !matches!(event, Event::Edit(_)) {
                assert_eq!(self.open, None, "the edits of an action stand together");
            }
            match event {
                Event::Dispatch { processor, process } => {
                    assert!(usize::from(*process) < self.linear.len());
                    self.current[usize::from(*processor)] = Some(*process);
                }
                Event::Exit { processor, .. } | Event::Reload { processor } => {
                    assert!(usize::from(*processor) < self.current.len());
                    assert_eq!(self.faulted, None);
                }
                Event::Run { processor, accesses } => {
                    assert_eq!(accesses.start, next, "every access is in one run");
                    assert!(accesses.start < accesses.end);
                    next = accesses.end;
                    self.run(*processor, &block.accesses[accesses.start as usize..accesses.end as usize]);
                }
                Event::Fault { processor, process, address, kind } => {
                    assert_eq!(self.current[usize::from(*processor)], Some(*process));
                    assert!(!self.permits(*process, address.0, *kind), "a fault that is none");
                    let fault = (*processor, address.0, *kind);
                    assert!(self.faulted.is_none_or(|before| before == fault));
                    self.faulted = Some(fault);
                    self.faults += 1;
                }
                Event::Edit(edit) => self.edit(edit),
            }
        }
        assert_eq!(next as usize, block.accesses.len());
        assert_eq!(
            block.instructions,
            block.accesses.iter().map(|access| u64::from(access.instructions)).sum::<u64>()
        );
    }

    fn permits(&self, process: u16, address: u64, kind: AccessKind) -> bool {
        let guest = usize::from(self.topology.processes[usize::from(process)].guest);
        let Some((guest_physical, writable)) = find(&self.linear[usize::from(process)], address) else {
            return false;
        };
        let Some((_, host_writable)) = find(&self.ept[guest], guest_physical) else { return false };
        kind != AccessKind::Write || (writable && host_writable)
    }

    fn run(&mut self, processor: u8, accesses: &[Access]) {
        let process = self.current[usize::from(processor)].expect("a processor that runs has a process");
        if let Some(fault) = self.faulted.take() {
            assert_eq!(
                fault,
                (processor, accesses[0].address.0, accesses[0].kind),
                "the access is made again"
            );
        }
        for access in accesses {
            assert!(access.bytes > 0 && access.address.page_offset() + usize::from(access.bytes) <= 4096);
            assert!(access.kind == AccessKind::Execute || access.instructions == 0);
            assert!(self.permits(process, access.address.0, access.kind), "{access:?} is not permitted");
        }
    }

    fn edit(&mut self, edit: &Edit) {
        assert_eq!(edit.id, self.next_id);
        assert!(usize::from(edit.processor) < self.current.len());
        self.open = (!edit.last).then_some(edit.id);
        self.next_id += u64::from(edit.last);
        let guest = self.topology.processes[usize::from(edit.process)].guest;
        let linear = &mut self.linear[usize::from(edit.process)];
        let ept = &mut self.ept[usize::from(guest)];
        let write = |permissions: PagePermissions| {
            assert!(permissions.contains(PagePermissions::USER));
            permissions.contains(PagePermissions::WRITE)
        };
        let by_kernel = matches!(
            edit.change,
            Change::Map { .. } | Change::Unmap { .. } | Change::Protect { .. } | Change::Remap { .. }
        );
        assert_eq!(edit.by == Editor::Kernel, by_kernel);
        match edit.change {
            Change::Map { page, size, frame, permissions } => {
                insert(linear, page.0, size, frame.0, write(permissions));
                self.reused += u64::from(!self.used.insert((guest, frame.0)));
            }
            Change::Unmap { page, size } => {
                change(linear, page.0, size);
                linear.remove(&page.0);
            }
            Change::Protect { page, size, permissions } => {
                change(linear, page.0, size).2 = write(permissions)
            }
            Change::Remap { page, size, frame, permissions, .. } => {
                assert_ne!(change(linear, page.0, size).1, frame.0);
                linear.remove(&page.0);
                insert(linear, page.0, size, frame.0, write(permissions));
                self.reused += u64::from(!self.used.insert((guest, frame.0)));
            }
            Change::MapHost { guest_physical, size, frame } => {
                assert_eq!(frame.0, Topology::guest_base(guest) + guest_physical.0);
                assert!(guest_physical.0 >= FIRST_FRAME && guest_physical.0 < GUEST_MEMORY);
                insert(ept, guest_physical.0, size, frame.0, true);
            }
            Change::MigrateHost { guest_physical, size, frame } => {
                let writable = change(ept, guest_physical.0, size).2;
                ept.remove(&guest_physical.0);
                insert(ept, guest_physical.0, size, frame.0, writable);
                assert!(frame.0 < self.topology.host_memory());
            }
            Change::CutHost { guest_physical, size } => change(ept, guest_physical.0, size).2 = false,
            Change::RestoreHost { guest_physical, size } => change(ept, guest_physical.0, size).2 = true,
        }
        self.frames_have_one_page(guest, &edit.change);
    }

    /// No two processes of a guest have a frame together, and no two guests.
    fn frames_have_one_page(&self, guest: u16, change: &Change) {
        let pages: Vec<&Table> = match change {
            Change::Map { .. } | Change::Remap { .. } => {
                let processes = self.topology.processes.iter().zip(&self.linear);
                processes.filter(|(spec, _)| spec.guest == guest).map(|(_, table)| table).collect()
            }
            Change::MigrateHost { .. } => self.ept.iter().collect(),
            _ => return,
        };
        let mut frames: Vec<(u64, u64)> = pages
            .iter()
            .flat_map(|table| table.values())
            .map(|(size, frame, _)| (*frame, size.bytes()))
            .collect();
        frames.sort_unstable();
        assert!(frames.is_sorted_by(|a, b| a.0 + a.1 <= b.0), "a frame has two pages");
    }
}

/// Checks all blocks.
pub(super) fn check(topology: &Topology, blocks: &[Block]) -> Checker {
    let mut checker = Checker::new(topology);
    blocks.iter().for_each(|block| checker.block(block));
    assert_eq!(checker.faulted, None);
    checker
}
