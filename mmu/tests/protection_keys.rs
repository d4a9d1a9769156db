//! Protection keys of user-mode addresses (SDM 5.6.2), and supervisor accesses at CPL 3.
#![allow(clippy::unwrap_used, reason = "tests")]

use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::fast::Allowed;
use mmu::fault::{PageFault, PageFaultCode, PageFaultReason};
use mmu::oracle::{Actor, Change, Oracle, Verdict, What};
use mmu::tables::{FrameAllocator, Home, PagePermissions, PageTables};
use mmu::translator::Translator;
use mmu::{Context, Controls, Fault, Geometry, Mmu, PageSize, PagingMode, Privilege, Ram};

/// Page `key` has that protection key; page 16 is for the supervisor, page 17 is read-only; both have key 3.
const BASE: LinearAddress = LinearAddress(0x40_0000);
const FRAME: u64 = 0x40_0000;
const SUPERVISOR: u64 = 16;
const READ_ONLY: u64 = 17;
const CODE: PageFaultCode = PageFaultCode::PRESENT.union(PageFaultCode::PROTECTION_KEY);

const fn page(number: u64) -> LinearAddress {
    LinearAddress(BASE.0 + number * 0x1000)
}

fn tables() -> (Ram, PageTables, Context) {
    let ram = Ram::new(0x80_0000).unwrap();
    let frames = FrameAllocator::new(GuestPhysicalAddress(0x10_0000), 64);
    let mut tables = PageTables::new(&ram, PagingMode::FourLevel, frames, Home::Identity).unwrap();
    for number in 0..18 {
        let permissions = match number {
            SUPERVISOR => PagePermissions::WRITE,
            READ_ONLY => PagePermissions::USER,
            _ => PagePermissions::WRITE | PagePermissions::USER,
        };
        let to = GuestPhysicalAddress(FRAME + number * 0x1000);
        tables.map(&ram, page(number), to, 0x1000, PageSize::Size4K, permissions).unwrap();
        let leaf = tables.leaf(&ram, page(number)).unwrap().unwrap();
        let key = if number < 16 { number } else { 3 };
        ram.write(leaf.entry, leaf.value | key << 59).unwrap();
    }
    let user = Context::user(PagingMode::FourLevel);
    let controls = user.controls | Controls::PROTECTION_KEYS;
    let context = Context { cr3: tables.root(), controls, ..user };
    (ram, tables, context)
}

fn machine() -> Mmu<false> {
    let (ram, _, context) = tables();
    let mut mmu = Mmu::new(ram, &Geometry::functional()).unwrap();
    mmu.set_context(context);
    mmu
}

fn refused(fault: Fault) -> (PageFaultReason, PageFaultCode) {
    match fault {
        Fault::Page(PageFault { reason, code, .. }) => (reason, code),
        other => panic!("{other:?}"),
    }
}

const fn access_disable(key: u64) -> u32 {
    1 << (2 * key)
}

const fn write_disable(key: u64) -> u32 {
    2 << (2 * key)
}

#[test]
fn pkru_is_asked_at_each_use_of_what_is_cached() {
    let mut mmu = machine();
    let free = *mmu.context();
    for key in 0..16 {
        let reason = PageFaultReason::ProtectionKey { key: key as u8 };
        mmu.write(page(key), 1_u8).unwrap();
        mmu.set_context(Context { pkru: write_disable(key), ..free });
        assert_eq!(mmu.read(page(key)), Ok(1_u8));
        let code = CODE | PageFaultCode::WRITE | PageFaultCode::USER;
        assert_eq!(refused(mmu.write(page(key), 2_u8).unwrap_err()), (reason, code));
        mmu.set_context(Context { pkru: access_disable(key), ..free });
        assert_eq!(refused(mmu.read::<u8>(page(key)).unwrap_err()), (reason, CODE | PageFaultCode::USER));
        assert_eq!(mmu.fetch(page(key)).map(|window| window.length), Ok(4096), "fetches are not asked");
        // The keys of all other pages.
        mmu.set_context(Context { pkru: !(access_disable(key) | write_disable(key)), ..free });
        mmu.write(page(key), 1_u8).unwrap();
        mmu.set_context(free);
    }
}

#[test]
fn a_return_to_a_former_pkru_brings_back_its_fast_map() {
    let mut mmu = machine();
    let free = *mmu.context();
    let closed = Context { pkru: access_disable(5), ..free };
    mmu.write(page(5), 1_u8).unwrap();
    let epoch = mmu.epoch();
    mmu.set_context(closed);
    assert!(!mmu.fast().holds(page(5), Allowed::Read));
    assert_ne!(mmu.epoch(), epoch);
    mmu.set_context(free);
    assert!(mmu.fast().holds(page(5), Allowed::ReadWrite));
    assert_eq!(mmu.epoch(), epoch);
}

#[test]
fn a_supervisor_write_is_refused_with_wp_alone() {
    let mut mmu = machine();
    let user = *mmu.context();
    let supervisor = Context { privilege: Privilege::Supervisor, pkru: write_disable(7), ..user };
    mmu.set_context(supervisor);
    let fault = refused(mmu.write(page(7), 1_u8).unwrap_err());
    assert_eq!(fault, (PageFaultReason::ProtectionKey { key: 7 }, CODE | PageFaultCode::WRITE));
    let controls = supervisor.controls - Controls::WRITE_PROTECT;
    mmu.set_context(Context { controls, ..supervisor });
    mmu.write(page(7), 1_u8).unwrap();
    mmu.set_context(Context { controls, pkru: access_disable(7), ..supervisor });
    assert!(mmu.read::<u8>(page(7)).is_err(), "AD is for every mode");
}

#[test]
fn keys_mean_nothing_without_cr4_pke_and_to_supervisor_mode_addresses() {
    let mut mmu = machine();
    let closed = Context { pkru: u32::MAX, ..*mmu.context() };
    mmu.set_context(Context { controls: closed.controls - Controls::PROTECTION_KEYS, ..closed });
    mmu.write(page(3), 1_u8).unwrap();
    mmu.set_context(Context { privilege: Privilege::Supervisor, ..closed });
    mmu.write(page(SUPERVISOR), 1_u8).unwrap();
    mmu.set_context(closed);
    let fault = refused(mmu.read::<u8>(page(SUPERVISOR)).unwrap_err());
    let code = PageFaultCode::PRESENT | PageFaultCode::USER;
    assert_eq!(fault, (PageFaultReason::SupervisorAddress, code), "PK is about user-mode addresses");
}

#[test]
fn the_error_code_tells_of_the_key_beside_another_reason() {
    let mut mmu = machine();
    let context = *mmu.context();
    let code = PageFaultCode::PRESENT | PageFaultCode::WRITE | PageFaultCode::USER;
    for (pkru, key) in [(0, PageFaultCode::empty()), (write_disable(3), PageFaultCode::PROTECTION_KEY)] {
        mmu.set_context(Context { pkru, ..context });
        let fault = refused(mmu.write(page(READ_ONLY), 1_u8).unwrap_err());
        assert_eq!(fault, (PageFaultReason::NotWritable, code | key));
    }
}

#[test]
fn the_oracle_finds_a_key_that_was_changed_without_an_invalidation() {
    let (ram, mut tables, context) = tables();
    let context = Context { pkru: access_disable(9), ..context };
    let mut translator = Translator::new(&Geometry::functional()).unwrap();
    translator.set_context(context);
    let mut oracle = Oracle::new(1);
    let mut used = |oracle: &mut Oracle, at| {
        let found = translator.translate(&ram, page(1), AccessKind::Read, &mut ()).unwrap();
        oracle.used(&ram, 0, &context, page(1), AccessKind::Read, &found, at)
    };
    assert_eq!(used(&mut oracle, 1), Verdict::Coherent);
    let leaf = tables.leaf(&ram, page(1)).unwrap().unwrap();
    let new = leaf.value & !(0xf << 59) | 9 << 59;
    ram.write(leaf.entry, new).unwrap();
    let id = oracle.changed(Change {
        by: Actor { processor: 0, who: "pkey_mprotect".into() },
        at: 2,
        what: What::GuestEntry { context, page: page(1), size: 0x1000 },
        entry: leaf.entry,
        level: 1,
        old: leaf.value,
        new,
    });
    oracle.completed(id);
    assert_eq!(used(&mut oracle, 3), Verdict::Missing);
    let text = oracle.findings()[0].to_string();
    assert!(text.contains("pkey_mprotect on processor 0 gave another protection key to"), "{text}");
}

#[test]
fn an_implicit_access_at_cpl_3_is_a_supervisors_and_leaves_the_users_view_alone() {
    let mut mmu = machine();
    let user = *mmu.context();
    mmu.ram().write(HostPhysicalAddress(FRAME + SUPERVISOR * 0x1000), 7_u8).unwrap();
    mmu.write(page(0), 1_u8).unwrap();
    let epoch = mmu.epoch();
    let implicit = Privilege::ImplicitSupervisor;
    assert!(mmu.read::<u8>(page(SUPERVISOR)).is_err());
    mmu.write(page(0), 1_u8).unwrap();
    let after_fault = mmu.epoch();
    assert_eq!(after_fault, epoch, "no fetch was from there");
    for _ in 0..2 {
        let read = mmu.with_privilege(implicit, |mmu| mmu.read(page(SUPERVISOR)));
        assert_eq!(read, Ok(7_u8));
        assert_eq!((*mmu.context(), mmu.epoch()), (user, after_fault));
        assert!(mmu.fast().holds(page(0), Allowed::ReadWrite));
        assert!(!mmu.fast().holds(page(SUPERVISOR), Allowed::Read));
    }
    // A fault comes out of it like any other.
    let fault = mmu.with_privilege(implicit, |mmu| mmu.read::<u8>(page(20))).unwrap_err();
    assert_eq!(refused(fault), (PageFaultReason::NotPresent { level: 1 }, PageFaultCode::empty()));
    assert_eq!(*mmu.context(), user);
}

#[test]
fn smap_refuses_an_implicit_access_whatever_ac_is() {
    let mut mmu = machine();
    let user = *mmu.context();
    let smap = user.controls | Controls::SMAP;
    for (controls, privilege, allowed) in [
        (smap | Controls::SMAP_OVERRIDE, Privilege::User, true),
        (smap | Controls::SMAP_OVERRIDE, Privilege::Supervisor, true),
        (smap, Privilege::Supervisor, false),
        (smap | Controls::SMAP_OVERRIDE, Privilege::ImplicitSupervisor, false),
        (smap, Privilege::ImplicitSupervisor, false),
        (user.controls, Privilege::ImplicitSupervisor, true),
    ] {
        mmu.set_context(Context { controls, ..user });
        for _ in 0..2 {
            let read = mmu.with_privilege(privilege, |mmu| mmu.read::<u8>(page(0)));
            match read {
                Ok(_) => assert!(allowed, "{controls:?} {privilege:?}"),
                Err(fault) => {
                    assert!(!allowed, "{controls:?} {privilege:?}");
                    assert_eq!(refused(fault), (PageFaultReason::Smap, PageFaultCode::PRESENT));
                }
            }
        }
    }
}
