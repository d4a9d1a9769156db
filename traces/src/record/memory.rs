//! What the recorder knows of the traced process's memory.
//!
//! For each page that the program has touched there is a copy that is exact as far as the program itself writes.
//! The kernel (and other processes) write behind its back. Such writes happen at system calls and signals: each
//! starts an epoch, and a page that is touched for the first time in an epoch is read again and compared. What
//! differs becomes a patch. So nothing has to be known about any system call.

use super::error::RecordError;
use super::maps::{Mapping, Maps};
use super::tracee::Tracee;
use crate::format::{PageBytes, Permissions, Sink, TraceWriter};
use isa::address::{LinearAddress, PAGE_SIZE};
use rustc_hash::FxHashMap;

/// A page that the program has touched.
struct Page {
    content: Box<PageBytes>,
    permissions: Permissions,
    /// Others may write it at any time, so it is compared at every touch.
    shared: bool,
    epoch: u32,
    /// Counts changes of the content.
    generation: u32,
    maps_version: u32,
}

/// All pages that the program has touched since it started.
pub(crate) struct Memory {
    pages: Vec<Page>,
    by_number: FxHashMap<u64, u32>,
    /// The pages last looked up.
    recent: [(u64, u32); RECENT],
    epoch: u32,
    maps: Maps,
    maps_version: u32,
    maps_stale: bool,
    /// Another thread runs in the same address space.
    has_company: bool,
}

const RECENT: usize = 256;

/// More changed bytes than this, and the whole page is recorded again.
const MOST: usize = PAGE_SIZE as usize / 2;

/// A page of a [`Memory`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PageId(u32);

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            pages: Vec::new(),
            by_number: FxHashMap::default(),
            recent: [(u64::MAX, 0); RECENT],
            epoch: 0,
            maps: Maps::default(),
            maps_version: 0,
            maps_stale: true,
            has_company: false,
        }
    }

    /// Somebody else may have written memory.
    pub(crate) fn start_epoch(&mut self) {
        self.epoch += 1;
    }

    /// Mappings may have changed.
    pub(crate) fn remap(&mut self) {
        self.maps_stale = true;
    }

    /// From now on another thread may write at any time.
    pub(crate) fn expect_company(&mut self) {
        self.has_company = true;
    }

    pub(crate) fn generation(&self, page: PageId) -> u32 {
        self.pages[page.0 as usize].generation
    }

    pub(crate) fn content(&self, page: PageId) -> &PageBytes {
        &self.pages[page.0 as usize].content
    }

    #[inline]
    fn find(&mut self, number: u64) -> Option<PageId> {
        let slot = number as usize % RECENT;
        if self.recent[slot].0 == number {
            return Some(PageId(self.recent[slot].1));
        }
        let id = *self.by_number.get(&number)?;
        self.recent[slot] = (number, id);
        Some(PageId(id))
    }

    /// The program is about to touch page `number`: records what a replay must know about it first.
    ///
    /// `None` when the page cannot be read; touching it faults, or extends the stack.
    #[inline]
    pub(crate) fn touch<S: Sink>(
        &mut self,
        number: u64,
        tracee: &mut Tracee,
        writer: &mut TraceWriter<S>,
    ) -> Result<Option<PageId>, RecordError> {
        if let Some(id) = self.find(number) {
            let page = &self.pages[id.0 as usize];
            if page.epoch == self.epoch && !page.shared && !self.has_company {
                return Ok(Some(id));
            }
            return self.compare(number, id, tracee, writer);
        }
        let mut content = Box::new([0; PAGE_SIZE as usize]);
        if tracee.read(number * PAGE_SIZE, &mut content[..]) != content.len() {
            return Ok(None);
        }
        self.add(number, content, tracee, writer).map(Some)
    }

    /// Records page `number`, which did not exist before the step that touched it, as zeros.
    pub(crate) fn add_zeros<S: Sink>(
        &mut self,
        number: u64,
        tracee: &Tracee,
        writer: &mut TraceWriter<S>,
    ) -> Result<(), RecordError> {
        self.maps_stale = true;
        if self.find(number).is_none() {
            self.add(number, Box::new([0; PAGE_SIZE as usize]), tracee, writer)?;
        }
        Ok(())
    }

    fn add<S: Sink>(
        &mut self,
        number: u64,
        content: Box<PageBytes>,
        tracee: &Tracee,
        writer: &mut TraceWriter<S>,
    ) -> Result<PageId, RecordError> {
        let mapping = self.mapping(number, tracee);
        let permissions = mapping.map_or(Permissions::empty(), |mapping| mapping.permissions);
        writer.push_page(LinearAddress(number * PAGE_SIZE), permissions, &content)?;
        let id = self.pages.len() as u32;
        self.pages.push(Page {
            content,
            permissions,
            shared: mapping.is_some_and(|mapping| mapping.shared),
            epoch: self.epoch,
            generation: 0,
            maps_version: self.maps_version,
        });
        self.by_number.insert(number, id);
        Ok(PageId(id))
    }

    fn mapping(&mut self, number: u64, tracee: &Tracee) -> Option<Mapping> {
        if self.maps_stale {
            self.maps = Maps::parse(&tracee.proc("maps").unwrap_or_default());
            self.maps_version += 1;
            self.maps_stale = false;
        }
        self.maps.find(number * PAGE_SIZE)
    }

    /// Reads a known page again and records how it differs from its copy.
    fn compare<S: Sink>(
        &mut self,
        number: u64,
        id: PageId,
        tracee: &mut Tracee,
        writer: &mut TraceWriter<S>,
    ) -> Result<Option<PageId>, RecordError> {
        let mut now = [0; PAGE_SIZE as usize];
        if tracee.read(number * PAGE_SIZE, &mut now) != now.len() {
            return Ok(None);
        }
        self.compare_permissions(number, id, tracee, writer)?;
        let page = &mut self.pages[id.0 as usize];
        page.epoch = self.epoch;
        if *page.content == now {
            return Ok(Some(id));
        }
        page.generation += 1;
        let address = LinearAddress(number * PAGE_SIZE);
        let ranges = differences(&page.content, &now);
        if ranges.iter().map(|(from, to)| to - from).sum::<usize>() > MOST {
            writer.push_page(address, page.permissions, &now)?;
        } else {
            for (from, to) in ranges {
                writer.push_patch(address.add(from as u64), &now[from..to])?;
            }
        }
        *page.content = now;
        Ok(Some(id))
    }

    fn compare_permissions<S: Sink>(
        &mut self,
        number: u64,
        id: PageId,
        tracee: &Tracee,
        writer: &mut TraceWriter<S>,
    ) -> Result<(), RecordError> {
        if !self.maps_stale && self.pages[id.0 as usize].maps_version == self.maps_version {
            return Ok(());
        }
        let mapping = self.mapping(number, tracee);
        let page = &mut self.pages[id.0 as usize];
        page.maps_version = self.maps_version;
        let Some(mapping) = mapping else { return Ok(()) };
        page.shared = mapping.shared;
        if page.permissions != mapping.permissions {
            page.permissions = mapping.permissions;
            writer.push_permissions(LinearAddress(number * PAGE_SIZE), mapping.permissions)?;
        }
        Ok(())
    }

    /// The program itself wrote `bytes` at `address`.
    #[inline]
    pub(crate) fn write(&mut self, address: u64, bytes: &[u8]) {
        let (mut address, mut bytes) = (LinearAddress(address), bytes);
        while !bytes.is_empty() {
            let at = address.page_offset();
            let (here, rest) = bytes.split_at(bytes.len().min(PAGE_SIZE as usize - at));
            if let Some(id) = self.find(address.page_number()) {
                let page = &mut self.pages[id.0 as usize];
                page.content[at..at + here.len()].copy_from_slice(here);
                page.generation += 1;
            }
            (address, bytes) = (address.add(here.len() as u64), rest);
        }
    }
}

/// Ranges in which two pages differ; a short stretch of equal bytes does not end one.
fn differences(before: &PageBytes, now: &PageBytes) -> Vec<(usize, usize)> {
    const SHORT: usize = 8;
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for at in (0..before.len()).filter(|&at| before[at] != now[at]) {
        match ranges.last_mut() {
            Some((_, end)) if at - *end < SHORT => *end = at + 1,
            _ => ranges.push((at, at + 1)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_cover_what_changed_and_join_what_lies_close() {
        let before = [0; PAGE_SIZE as usize];
        let mut now = before;
        for at in [0, 5, 100, 4095] {
            now[at] = 1;
        }
        assert_eq!(differences(&before, &now), [(0, 6), (100, 101), (4095, 4096)]);
        assert_eq!(differences(&now, &now), []);
    }
}
