//! Columns to steps.

use super::bytes::{Cursor, unzigzag};
use super::columns::{self as col, COLUMNS, tag};
use super::event::{MAX_BYTES, MAX_STORES};
use super::model::{Entry, MAX_SLOTS, Model, NONE, RARE, StoreKind, StoreSlot, WHOLE_FLAGS, byte_to_flags};
use super::registers::{Groups, Written, bits, get_rare};
use super::step::{MAX_INSTRUCTION, Place, StepKind, StoreAt, Stores};
use crate::error::Malformed;
use isa::registers::Registers;

/// A step as decoded; the registers after it are in the decoder.
#[derive(Clone, Copy)]
pub(crate) struct Decoded {
    pub(crate) entry: u32,
    pub(crate) kind: StepKind,
}

/// The `steps` section of a chunk while it is read.
pub(crate) struct StepDecoder<'c> {
    pub(super) columns: [Cursor<'c>; COLUMNS],
    pub(crate) model: Model,
    pub(crate) registers: Registers,
    pub(super) current: u32,
    pub(super) run: u64,
    pub(super) run_known: bool,
    pub(super) last_end: u64,
    stores: Vec<StoreAt>,
    bytes: Vec<u8>,
}

impl<'c> StepDecoder<'c> {
    pub(crate) fn new(columns: [&'c [u8]; COLUMNS], registers: Registers) -> Self {
        let mut model = Model::default();
        model.clear();
        Self::with_model(columns, registers, model)
    }

    /// Goes on with what is known of the instructions before.
    pub(super) fn with_model(columns: [&'c [u8]; COLUMNS], registers: Registers, model: Model) -> Self {
        Self {
            columns: columns.map(Cursor::new),
            model,
            registers,
            current: NONE,
            run: 0,
            run_known: false,
            last_end: 0,
            stores: Vec::new(),
            bytes: Vec::new(),
        }
    }

    pub(crate) fn stores(&self) -> Stores<'_> {
        Stores { list: &self.stores, bytes: &self.bytes }
    }

    /// Decodes the next step. The caller applies a taken step's record to the registers itself.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Decoded, Malformed> {
        if self.current == NONE {
            self.current = self.define()?;
        }
        let id = self.current;
        self.stores.clear();
        self.bytes.clear();
        if !self.run_known {
            self.run = self.columns[col::CONTROL].varint()?;
            self.run_known = true;
        }
        if self.run == 0 {
            return self.unexpected(id);
        }
        self.run -= 1;
        self.values(id)?;
        let next = self.model.predict(id);
        self.follow(id, next)?;
        self.registers.rip = self.model.entries[next as usize].rip;
        Ok(Decoded { entry: id, kind: StepKind::Computed })
    }

    fn unexpected(&mut self, id: u32) -> Result<Decoded, Malformed> {
        self.run_known = false;
        let op = self.columns[col::CONTROL].byte()?;
        if op & !col::KNOWN != 0 {
            return Err(self.columns[col::CONTROL].expected("a known control byte"));
        }
        let next = self.given(id, op)?;
        if op & col::SHAPE != 0 {
            self.reshape(id)?;
        }
        let kind = if op & col::TAKEN != 0 { StepKind::Taken } else { StepKind::Computed };
        if kind == StepKind::Computed {
            self.values(id)?;
        }
        if op & col::LAST == 0 {
            self.follow(id, next)?;
            self.registers.rip = self.model.entries[next as usize].rip;
        }
        if op & col::BREAK != 0 {
            self.registers.rip = self.columns[col::RARE_VALUES].low(8)?;
        }
        Ok(Decoded { entry: id, kind })
    }

    /// The number of the instruction that follows.
    fn given(&mut self, id: u32, op: u8) -> Result<u32, Malformed> {
        if op & col::GIVEN == 0 {
            return Ok(if op & col::SECOND != 0 { self.model.second(id) } else { self.model.predict(id) });
        }
        let number = self.columns[col::CONTROL].varint()?;
        if number == 0 {
            return self.define();
        }
        Ok(u32::try_from(number - 1).unwrap_or(NONE))
    }

    #[inline]
    fn follow(&mut self, id: u32, next: u32) -> Result<(), Malformed> {
        if next as usize >= self.model.entries.len() {
            return Err(self.columns[col::CONTROL].expected("a known instruction"));
        }
        self.model.learn(id, next);
        self.current = next;
        Ok(())
    }

    fn define(&mut self) -> Result<u32, Malformed> {
        let column = &mut self.columns[col::DICTIONARY];
        let rip = self.last_end.wrapping_add(unzigzag(column.varint()?));
        let length = usize::from(column.byte()?);
        if length == 0 || length > MAX_INSTRUCTION {
            return Err(column.expected("an instruction of 1 to 15 bytes"));
        }
        let code = column.take(length)?;
        if self.model.entries.len() > MAX_SLOTS {
            return Err(column.expected("fewer instructions in one chunk"));
        }
        self.last_end = rip.wrapping_add(length as u64);
        Ok(self.model.add(rip, code))
    }

    fn reshape(&mut self, id: u32) -> Result<(), Malformed> {
        if !self.model.has_room() {
            return Err(self.columns[col::CONTROL].expected("fewer different effects in one chunk"));
        }
        let column = &mut self.columns[col::CONTROL];
        let former = self.model.entries[id as usize].written;
        let written = Written::get(column)?;
        if former.union(written) != written {
            return Err(column.expected("a larger set of registers"));
        }
        let count = column.byte()?;
        if usize::from(count) > MAX_STORES {
            return Err(column.expected("at most 64 stores"));
        }
        let first = self.model.stores.len() as u32;
        for _ in 0..count {
            self.model.stores.push(store_slot(column)?);
        }
        self.model.widen(id, written);
        let entry = &mut self.model.entries[id as usize];
        (entry.stores, entry.store_count) = (first, count);
        Ok(())
    }

    #[inline]
    fn values(&mut self, id: u32) -> Result<(), Malformed> {
        let entry = &self.model.entries[id as usize];
        let Entry { written, gprs, xmms, stores, store_count, .. } = *entry;
        let sequential = entry.sequential();
        for slot in stores as usize..stores as usize + usize::from(store_count) {
            self.store(slot, sequential)?;
        }
        let mut slot = gprs as usize;
        let mut mask = written.gpr;
        while mask != 0 {
            let i = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            self.gpr(slot, i)?;
            slot += 1;
        }
        if written.groups.contains(Groups::RFLAGS) {
            self.flags(id)?;
        }
        if written.groups.intersects(RARE) {
            let column = &mut self.columns[col::RARE_VALUES];
            get_rare(column, written.groups & RARE, &mut self.registers)?;
        }
        for (slot, i) in (xmms as usize..).zip(bits(written.xmm)) {
            self.xmm(slot, i)?;
        }
        Ok(())
    }

    #[inline]
    fn gpr(&mut self, slot: usize, i: usize) -> Result<(), Malformed> {
        let slot = &mut self.model.gprs[slot];
        let gpr = &mut self.registers.gpr;
        let former = gpr[i];
        let tag = self.columns[col::GPR_TAGS].byte()?;
        let value = match tag {
            tag::STRIDE => former.wrapping_add(slot.stride),
            tag::SAME => slot.last,
            tag::SOURCE => gpr[usize::from(slot.source & 15)],
            _ if tag & 0xf0 == tag::GPR => {
                slot.source = tag & 15;
                gpr[usize::from(tag & 15)]
            }
            _ => unexpected(&mut self.columns, [col::GPR_TAGS, col::GPR_VALUES], tag, former, slot.last)?,
        };
        slot.update(former, value);
        gpr[i] = value;
        Ok(())
    }

    fn flags(&mut self, id: u32) -> Result<(), Malformed> {
        let column = &mut self.columns[col::FLAGS];
        let byte = column.byte()?;
        if byte & WHOLE_FLAGS != 0 {
            self.registers.rflags = column.low(8)?;
            return Ok(());
        }
        let entry = &mut self.model.entries[id as usize];
        entry.flags ^= byte;
        self.registers.rflags = byte_to_flags(entry.flags);
        Ok(())
    }

    fn store(&mut self, slot: usize, sequential: u64) -> Result<(), Malformed> {
        let address = self.address(slot)?;
        let slot = &mut self.model.stores[slot];
        let (size, start) = (slot.size as usize, self.bytes.len() as u32);
        let place = match slot.kind {
            StoreKind::Checksum => Place::Checksum(self.columns[col::STORE_VALUES].low(4)? as u32),
            StoreKind::Bytes if size <= 8 => {
                let value = word(&mut self.columns, slot, &self.registers, sequential)?;
                self.bytes.extend_from_slice(&value.to_le_bytes()[..size]);
                Place::From(start)
            }
            StoreKind::Bytes => {
                long(&mut self.columns, slot, &self.registers, &mut self.bytes)?;
                Place::From(start)
            }
        };
        self.stores.push(StoreAt { address, size: slot.size, place });
        Ok(())
    }

    fn address(&mut self, slot: usize) -> Result<u64, Malformed> {
        let slot = &mut self.model.stores[slot];
        let base = self.registers.gpr[usize::from(slot.base & 15)];
        let tag = self.columns[col::ADDRESS_TAGS].byte()?;
        let address = match tag {
            tag::SOURCE => base.wrapping_add(slot.offset),
            tag::STRIDE => slot.address.wrapping_add(slot.stride),
            _ => unexpected(
                &mut self.columns,
                [col::ADDRESS_TAGS, col::ADDRESS_VALUES],
                tag,
                base,
                slot.address,
            )?,
        };
        slot.update_address(base, address);
        Ok(address)
    }

    fn xmm(&mut self, slot: usize, i: usize) -> Result<(), Malformed> {
        let Registers { xmm, gpr, .. } = &mut self.registers;
        let tag = self.columns[col::XMM_TAGS].byte()?;
        let column = &mut self.columns[col::XMM_VALUES];
        let former = xmm[i];
        let value = match tag {
            tag::SAME => self.model.xmms[slot],
            tag::ZERO => 0,
            tag::LOW_4 => former >> 32 << 32 | u128::from(column.low(4)?),
            tag::LOW_8 => former >> 64 << 64 | u128::from(column.low(8)?),
            tag::ONLY_4 => u128::from(column.low(4)?),
            tag::ONLY_8 => u128::from(column.low(8)?),
            tag::TWICE_8 => u128::from(column.low(8)?) * (1 << 64 | 1),
            tag::ALL => u128::from_le_bytes(column.array()?),
            _ if tag & 0xf0 == tag::XMM => xmm[usize::from(tag & 15)],
            _ if tag & 0xf0 == tag::GPR => u128::from(gpr[usize::from(tag & 15)]),
            _ => return Err(self.columns[col::XMM_TAGS].expected("a known tag")),
        };
        self.model.xmms[slot] = value;
        xmm[i] = value;
        Ok(())
    }
}

fn store_slot(column: &mut Cursor<'_>) -> Result<StoreSlot, Malformed> {
    let size = column.varint()?;
    let kind_and_base = column.byte()?;
    let kind = if kind_and_base & 0x80 != 0 { StoreKind::Checksum } else { StoreKind::Bytes };
    let limit = if kind == StoreKind::Bytes { MAX_BYTES as u64 } else { u64::from(u32::MAX) };
    if kind_and_base & 0x70 != 0 || size > limit {
        return Err(column.expected("a store"));
    }
    Ok(StoreSlot::new(size as u32, kind, kind_and_base & 15))
}

fn unexpected(
    columns: &mut [Cursor<'_>; COLUMNS],
    [tags, values]: [usize; 2],
    tag: u8,
    former: u64,
    last: u64,
) -> Result<u64, Malformed> {
    let length = usize::from(tag & 15);
    if length > 8 {
        return Err(columns[tags].expected("a length of at most 8"));
    }
    let value = columns[values].low(length)?;
    match tag & 0xf0 {
        tag::GIVEN => Ok(value),
        tag::FROM_FORMER => Ok(former.wrapping_add(unzigzag(value))),
        tag::FROM_LAST => Ok(last.wrapping_add(unzigzag(value))),
        _ => Err(columns[tags].expected("a known tag")),
    }
}

fn word(
    columns: &mut [Cursor<'_>; COLUMNS],
    slot: &mut StoreSlot,
    before: &Registers,
    sequential: u64,
) -> Result<u64, Malformed> {
    let tag = columns[col::STORE_TAGS].byte()?;
    let value = match tag {
        tag::SOURCE => slot.source_value(before) as u64,
        tag::SAME => slot.value,
        tag::RETURN => sequential,
        _ if tag & 0xf0 == tag::GPR => {
            slot.source = tag & 15;
            slot.source_value(before) as u64
        }
        _ if tag & 0xf0 == tag::XMM => {
            slot.source = 16 | tag & 15;
            slot.source_value(before) as u64
        }
        _ => unexpected(columns, [col::STORE_TAGS, col::STORE_VALUES], tag, slot.value, slot.value)?,
    };
    slot.value = value & slot.mask();
    Ok(slot.value)
}

fn long(
    columns: &mut [Cursor<'_>; COLUMNS],
    slot: &mut StoreSlot,
    before: &Registers,
    bytes: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let size = slot.size as usize;
    let tag = columns[col::STORE_TAGS].byte()?;
    if tag == tag::ALL {
        bytes.extend_from_slice(columns[col::STORE_VALUES].take(size)?);
        return Ok(());
    }
    if tag & 0xf0 == tag::XMM {
        slot.source = 16 | tag & 15;
    } else if tag != tag::SOURCE {
        return Err(columns[col::STORE_TAGS].expected("a known tag"));
    }
    if size != 16 {
        return Err(columns[col::STORE_TAGS].expected("a store of 16 bytes"));
    }
    bytes.extend_from_slice(&slot.source_value(before).to_le_bytes());
    Ok(())
}
