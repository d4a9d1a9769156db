//! A walker written for obviousness: whole-path lists first, one rule after the other over them, no early flags.

use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::Ram;
use mmu::context::{Context, Controls, PagingMode, Privilege};
use mmu::ept::{
    EptContext, EptControls, EptLevels, EptMisconfiguration, EptMisconfigurationReason as Reason,
    EptPermissions, EptTarget, EptViolation, GuestPage,
};
use mmu::fault::{Fault, PageFault, PageFaultCode, PageFaultReason};
use mmu::translation::{PageSize, Rights};
use std::collections::BTreeMap;

const SIZES: [u64; 6] = [0, 1 << 12, 1 << 21, 1 << 30, 1 << 39, 1 << 48];

/// What the naive walker found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    pub host: HostPhysicalAddress,
    pub size: u64,
    pub guest_size: u64,
    pub global: bool,
    /// Bits that must be set, by entry.
    pub flags: BTreeMap<u64, u64>,
    /// Whether a write would have no flag left to set afterwards.
    pub dirty: bool,
    pub references: u32,
}

struct Mapped {
    host: u64,
    size: u64,
    permissions: EptPermissions,
    dirty: bool,
}

struct World<'a> {
    ram: &'a Ram,
    context: &'a Context,
    linear: LinearAddress,
    flags: BTreeMap<u64, u64>,
    references: u32,
}

pub fn walk(ram: &Ram, context: &Context, linear: LinearAddress, kind: AccessKind) -> Result<Found, Fault> {
    World { ram, context, linear, flags: BTreeMap::new(), references: 0 }.walk(kind)
}

fn bits(value: u64, high: u32, low: u32) -> u64 {
    (value >> low) & ((1_u64 << (high - low + 1)) - 1)
}

fn page_size(size: u64) -> PageSize {
    PageSize::ALL.into_iter().find(|candidate| candidate.bytes() == size).unwrap()
}

impl World<'_> {
    fn load(&mut self, host: u64, guest: bool) -> Result<u64, Fault> {
        self.references += 1;
        let address = HostPhysicalAddress(host);
        let read = match self.context.mode {
            PagingMode::ThirtyTwoBit if guest => self.ram.read::<u32>(address).map(u64::from),
            _ => self.ram.read::<u64>(address),
        };
        read.map_err(|_| Fault::OutsideRam { address })
    }

    fn walk(mut self, kind: AccessKind) -> Result<Found, Fault> {
        let context = *self.context;
        let user = context.privilege == Privilege::User;
        let (write, fetch) = (kind == AccessKind::Write, kind == AccessKind::Execute);
        let on = |control| context.controls.contains(control);
        let high = match context.mode {
            PagingMode::None => return self.unpaged(kind),
            PagingMode::ThirtyTwoBit | PagingMode::Pae => 31,
            PagingMode::FourLevel => 47,
            _ => 56,
        };
        let narrow = context.mode == PagingMode::ThirtyTwoBit;
        let top = bits(self.linear.0, 63, high + 1);
        let ones = (1_u64 << (63 - high)) - 1;
        let sign = if high == 31 { 0 } else { bits(self.linear.0, high, high) };
        if top != if sign == 1 { ones } else { 0 } {
            return Err(Fault::NonCanonical { address: self.linear });
        }
        let linear = self.linear;
        let fault = |reason, present: bool, reserved: bool| {
            let mut code = PageFaultCode::empty();
            if present {
                code |= PageFaultCode::PRESENT;
            }
            if write {
                code |= PageFaultCode::WRITE;
            }
            if user {
                code |= PageFaultCode::USER;
            }
            if reserved {
                code |= PageFaultCode::RESERVED;
            }
            if fetch && ((!narrow && on(Controls::EXECUTE_DISABLE)) || on(Controls::SMEP)) {
                code |= PageFaultCode::INSTRUCTION;
            }
            Fault::Page(PageFault { address: linear, code, reason })
        };

        // The entries, from the root to the one that maps the page.
        let mut path: Vec<(u64, Mapped, u64)> = vec![];
        let (mut next, mut level) = match high {
            31 if narrow => (bits(context.cr3.0, 31, 12) << 12, 2),
            31 => {
                let pdpte = context.pdptes[bits(self.linear.0, 31, 30) as usize];
                if pdpte.is_multiple_of(2) {
                    return Err(fault(PageFaultReason::NotPresent { level: 3 }, false, false));
                }
                (bits(pdpte, 51, 12) << 12, 2_u8)
            }
            47 => (bits(context.cr3.0, 51, 12) << 12, 4),
            _ => (bits(context.cr3.0, 51, 12) << 12, 5),
        };
        let guest_size = loop {
            let index = (self.linear.0 / SIZES[level as usize]) % 512;
            let narrow_index =
                if level == 2 { bits(self.linear.0, 31, 22) } else { bits(self.linear.0, 21, 12) };
            let gpa = next + if narrow { narrow_index * 4 } else { index * 8 };
            let table = self.structure(gpa)?;
            let entry = self.load(table.host, true)?;
            if entry % 2 == 0 {
                return Err(fault(PageFaultReason::NotPresent { level }, false, false));
            }
            let large = bits(entry, 7, 7) == 1 && (!narrow || on(Controls::PAGE_SIZE_EXTENSIONS));
            let mut wrong = context.physical_address_width < 52
                && bits(entry, 51, u32::from(context.physical_address_width)) != 0;
            wrong |= bits(entry, 63, 63) == 1 && !on(Controls::EXECUTE_DISABLE);
            wrong |= high == 31 && !narrow && bits(entry, 62, 52) != 0;
            wrong |= level >= 4 && large;
            wrong |= level == 3 && large && (!on(Controls::PAGES_1G) || bits(entry, 29, 13) != 0);
            wrong |= level == 2 && large && !narrow && bits(entry, 20, 13) != 0;
            if narrow && level == 2 && large {
                let width = if on(Controls::PSE_36) { context.physical_address_width.min(40) } else { 32 };
                // Bit 13 stands for address bit 32, and so on; bit 21 stands for none.
                wrong |= (13..22).any(|bit| bits(entry, bit, bit) == 1 && bit + 19 >= u32::from(width));
            }
            if wrong {
                return Err(fault(PageFaultReason::ReservedBit { level }, true, true));
            }
            path.push((gpa, table, entry));
            if level == 1 || (large && level <= 3) {
                break if narrow && level == 2 { 1 << 22 } else { SIZES[level as usize] };
            }
            next = bits(entry, 51, 12) << 12;
            level -= 1;
        };

        let every = |bit: u32| path.iter().all(|(_, _, entry)| bits(*entry, bit, bit) == 1);
        let any = |bit: u32| path.iter().any(|(_, _, entry)| bits(*entry, bit, bit) == 1);
        let user_page = every(2);
        let may_override = context.privilege != Privilege::ImplicitSupervisor && on(Controls::SMAP_OVERRIDE);
        let leaf = path.last().unwrap().2;
        let long = matches!(context.mode, PagingMode::FourLevel | PagingMode::FiveLevel);
        let key = bits(leaf, 62, 59) as u8;
        let pkru = u64::from(context.pkru);
        let (access_disable, write_disable) = (pkru >> (2 * key) & 1 == 1, pkru >> (2 * key + 1) & 1 == 1);
        let protected = user || on(Controls::WRITE_PROTECT);
        let key_refuses = long
            && on(Controls::PROTECTION_KEYS)
            && !fetch
            && user_page
            && (access_disable || (write && write_disable && protected));
        let refused = if user && !user_page {
            Some(PageFaultReason::SupervisorAddress)
        } else if !user && user_page && fetch && on(Controls::SMEP) {
            Some(PageFaultReason::Smep)
        } else if !user && user_page && !fetch && on(Controls::SMAP) && !may_override {
            Some(PageFaultReason::Smap)
        } else if write && !every(1) && (user || on(Controls::WRITE_PROTECT)) {
            Some(PageFaultReason::NotWritable)
        } else if fetch && any(63) {
            Some(PageFaultReason::ExecuteDisabled)
        } else if key_refuses {
            Some(PageFaultReason::ProtectionKey { key })
        } else {
            None
        };
        if let Some(reason) = refused {
            let Fault::Page(mut refusal) = fault(reason, true, false) else { unreachable!() };
            if key_refuses {
                refusal.code |= PageFaultCode::PROTECTION_KEY;
            }
            return Err(Fault::Page(refusal));
        }

        let mut rights = Rights::empty();
        rights.set(Rights::WRITE, every(1));
        rights.set(Rights::USER, user_page);
        rights.set(Rights::EXECUTE, !any(63));
        rights.set(Rights::DIRTY, write || bits(leaf, 6, 6) == 1);
        let last = path.len() - 1;
        for (position, (gpa, table, entry)) in path.iter().enumerate() {
            let wanted = if write && position == last { 0x60 } else { 0x20 };
            if entry & wanted != wanted {
                if !table.permissions.contains(EptPermissions::WRITE) {
                    return Err(Fault::EptViolation(EptViolation {
                        guest_physical: GuestPhysicalAddress(*gpa),
                        linear: Some(self.linear),
                        access: EptPermissions::READ | EptPermissions::WRITE,
                        permissions: table.permissions,
                        target: EptTarget::PagingStructure,
                    }));
                }
                *self.flags.entry(table.host).or_default() |= wanted;
            }
        }

        let high_frame = if narrow && guest_size == 1 << 22 { bits(leaf, 20, 13) << 32 } else { 0 };
        let frame = bits(leaf, 51, 12) * 4096;
        let gpa = high_frame + frame - frame % guest_size + self.linear.0 % guest_size;
        let page = self.page(gpa, kind, rights)?;
        Ok(Found {
            host: HostPhysicalAddress(page.host),
            size: page.size.min(guest_size).min(if narrow { 1 << 21 } else { u64::MAX }),
            guest_size,
            global: bits(leaf, 8, 8) == 1 && on(Controls::GLOBAL_PAGES),
            dirty: rights.contains(Rights::DIRTY) && page.dirty,
            flags: self.flags,
            references: self.references,
        })
    }

    fn unpaged(mut self, kind: AccessKind) -> Result<Found, Fault> {
        let rights = Rights::WRITE | Rights::USER | Rights::EXECUTE | Rights::DIRTY;
        let page = self.page(self.linear.0, kind, rights)?;
        let size = if self.context.ept.is_some() { page.size } else { 4096 };
        let (host, dirty) = (HostPhysicalAddress(page.host), page.dirty);
        let (flags, references) = (self.flags, self.references);
        Ok(Found { host, size, guest_size: size, global: false, flags, dirty, references })
    }

    fn structure(&mut self, gpa: u64) -> Result<Mapped, Fault> {
        let needs = match self.context.ept {
            Some(ept) if ept.controls.contains(EptControls::ACCESSED_DIRTY) => {
                EptPermissions::READ | EptPermissions::WRITE
            }
            _ => EptPermissions::READ,
        };
        self.ept(gpa, needs, EptTarget::PagingStructure)
    }

    fn page(&mut self, gpa: u64, kind: AccessKind, rights: Rights) -> Result<Mapped, Fault> {
        let mode_based =
            self.context.ept.is_some_and(|ept| ept.controls.contains(EptControls::MODE_BASED_EXECUTE));
        let needs = match kind {
            AccessKind::Read => EptPermissions::READ,
            AccessKind::Write => EptPermissions::WRITE,
            AccessKind::Execute if mode_based && rights.contains(Rights::USER) => {
                EptPermissions::USER_EXECUTE
            }
            AccessKind::Execute => EptPermissions::EXECUTE,
        };
        self.ept(gpa, needs, EptTarget::Final(GuestPage { rights }))
    }

    fn ept(&mut self, gpa: u64, needs: EptPermissions, target: EptTarget) -> Result<Mapped, Fault> {
        let Some(ept) = self.context.ept else {
            return Ok(Mapped { host: gpa, size: 1 << 40, permissions: EptPermissions::all(), dirty: true });
        };
        let guest_physical = GuestPhysicalAddress(gpa);
        let linear = Some(self.linear);
        let violation = |permissions| {
            Fault::EptViolation(EptViolation { guest_physical, linear, access: needs, permissions, target })
        };
        if ept.levels == EptLevels::Four && gpa >= 1 << 48 {
            return Err(violation(EptPermissions::empty()));
        }
        let mode_based = ept.controls.contains(EptControls::MODE_BASED_EXECUTE);
        let mut path: Vec<(u64, u64)> = vec![];
        let mut next = bits(ept.root.0, 51, 12) << 12;
        let mut level = if ept.levels == EptLevels::Four { 4_u8 } else { 5 };
        loop {
            let at = next + (gpa / SIZES[level as usize]) % 512 * 8;
            let entry = self.load(at, false)?;
            let present = bits(entry, 2, 0) != 0 || (mode_based && bits(entry, 10, 10) == 1);
            if !present {
                return Err(violation(EptPermissions::empty()));
            }
            if let Some(reason) = self.malformed(&ept, entry, level) {
                return Err(Fault::EptMisconfiguration(EptMisconfiguration {
                    guest_physical,
                    linear,
                    level,
                    entry,
                    reason,
                }));
            }
            path.push((at, entry));
            if level == 1 || (level <= 3 && bits(entry, 7, 7) == 1) {
                break;
            }
            next = bits(entry, 51, 12) << 12;
            level -= 1;
        }
        let mut permissions = EptPermissions::empty();
        for (bit, permission) in [
            (0, EptPermissions::READ),
            (1, EptPermissions::WRITE),
            (2, EptPermissions::EXECUTE),
            (10, EptPermissions::USER_EXECUTE),
        ] {
            let meaningful = bit != 10 || mode_based;
            permissions
                .set(permission, meaningful && path.iter().all(|(_, entry)| bits(*entry, bit, bit) == 1));
        }
        if !permissions.contains(needs) {
            return Err(violation(permissions));
        }
        let size = SIZES[level as usize];
        let writes = needs.contains(EptPermissions::WRITE);
        let (_, leaf) = *path.last().unwrap();
        let flags = ept.controls.contains(EptControls::ACCESSED_DIRTY);
        if flags {
            for (position, (at, entry)) in path.iter().enumerate() {
                let wanted = if writes && position + 1 == path.len() { 0x300 } else { 0x100 };
                if entry & wanted != wanted {
                    *self.flags.entry(*at).or_default() |= wanted;
                }
            }
        }
        let frame = bits(leaf, 51, 12) * 4096;
        let host = frame - frame % size + gpa % size;
        Ok(Mapped { host, size, permissions, dirty: !flags || writes || bits(leaf, 9, 9) == 1 })
    }

    fn malformed(&self, ept: &EptContext, entry: u64, level: u8) -> Option<Reason> {
        let has = |control| ept.controls.contains(control);
        let (read, write) = (bits(entry, 0, 0) == 1, bits(entry, 1, 1) == 1);
        let execute =
            bits(entry, 2, 2) == 1 || (has(EptControls::MODE_BASED_EXECUTE) && bits(entry, 10, 10) == 1);
        if write && !read {
            return Some(Reason::WriteWithoutRead);
        }
        if execute && !read && !has(EptControls::EXECUTE_ONLY) {
            return Some(Reason::ExecuteOnlyUnsupported);
        }
        let width = u32::from(self.context.physical_address_width);
        let large = bits(entry, 7, 7) == 1;
        let reserved = (width < 52 && bits(entry, 51, width) != 0)
            || match level {
                5 | 4 => bits(entry, 7, 3) != 0,
                3 if large => !has(EptControls::PAGES_1G) || bits(entry, 29, 12) != 0,
                2 if large => !has(EptControls::PAGES_2M) || bits(entry, 20, 12) != 0,
                3 | 2 => bits(entry, 6, 3) != 0,
                _ => false,
            };
        if reserved {
            return Some(Reason::ReservedBit);
        }
        let maps = level == 1 || (level <= 3 && large);
        (maps && [2, 3, 7].contains(&bits(entry, 5, 3))).then_some(Reason::MemoryType)
    }
}

/// The size as the type of the crate.
pub fn size_of(size: u64) -> PageSize {
    page_size(size)
}
